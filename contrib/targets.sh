# shellcheck shell=sh
# The machines that are built for, one a line: Rust's target, how people call it, what zig's compiler is told,
# the emulator that runs it and the processor it must run on, OpenWrt's names of the package architectures.

targets() {
    cat <<-'TABLE'
	x86_64-unknown-linux-musl      x86_64   x86_64-linux-musl                    qemu-x86_64  qemu64     x86_64
	aarch64-unknown-linux-musl     aarch64  aarch64-linux-musl                   qemu-aarch64 cortex-a53 aarch64_generic,aarch64_cortex-a53,aarch64_cortex-a72
	armv7-unknown-linux-musleabihf armv7    arm-linux-musleabihf,-mcpu=generic+v7a+vfp3d16+thumb2 qemu-arm cortex-a7 arm_cortex-a7_neon-vfpv4,arm_cortex-a9_vfpv3-d16,arm_cortex-a15_neon-vfpv4
	arm-unknown-linux-musleabi     arm      arm-linux-musleabi,-mcpu=generic+v6  qemu-arm     arm1176    arm_arm1176jzf-s_vfp
	armv5te-unknown-linux-musleabi armv5te  arm-linux-musleabi,-mcpu=generic+v5te qemu-arm    arm926     arm_arm926ej-s,arm_xscale
	mipsel-unknown-linux-musl      mipsel   mipsel-linux-musleabi                qemu-mipsel  24Kc       mipsel_24kc,mipsel_74kc
	mips-unknown-linux-musl        mips     mips-linux-musleabi                  qemu-mips    24Kc       mips_24kc
	i686-unknown-linux-musl        i686     x86-linux-musl                       qemu-i386    max        i386_pentium4
	riscv64gc-unknown-linux-musl   riscv64  riscv64-linux-musl                   qemu-riscv64 rv64       riscv64_generic,riscv64_riscv64
	TABLE
}

# target_field TARGET COLUMN: one field of that target's line, commas as spaces; TARGET may be the short name.
target_field() {
    targets | awk -v name="$1" -v column="$2" '$1 == name || $2 == name { gsub(",", " ", $column); print $column; found = 1 }
        END { exit !found }' || { echo "$1: not a target; these are: $(targets | awk '{ printf "%s ", $2 }')" >&2; return 1; }
}
