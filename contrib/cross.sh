#!/bin/sh
# Builds static musl binaries: contrib/cross.sh [TARGET...], where none is all. See contrib/targets.sh for the names.
#
# The binary of TARGET is target/cross/bin/TARGET/gateway-exporter afterwards. The same sources give the same bytes in
# any folder and on any machine with these versions of compiler and linker. With --symbols first, the binary keeps its
# symbols and is put into target/cross/symbols/TARGET instead.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh

tools="$(contrib/toolchain.sh)"
build=target/cross
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
export GATEWAY_EXPORTER_REVISION="${GATEWAY_EXPORTER_REVISION-$(contrib/revision.sh)}"
export ZIG_PYTHON="$tools/python3" CARGO_ZIGBUILD_PYTHON_PATH="$PWD/contrib/link.sh"

# -Zbuild-std is why a stable compiler is told that it is not: Debian has no std for routers. std without backtraces
# is a third smaller.
#   link-self-contained=no    the C runtime comes from zig, not from a sysroot of rustup
#   relocation-model=static   a static-pie dies at start on mipsel
#   force-unwind-tables=no    nothing unwinds, since a panic ends the process
#   remap-path-prefix         paths of this machine stay out of the binary
#   thumb-mode                shorter instructions: a fifth less on ARMv7, which all have them
#   panic=immediate-abort     a panic is a trap without words, 62 KB less (28 in the package): sys/libc.rs says that there was
#                             one and at which address; docs/troubleshooting.md says how the place is found from that
#   location-detail=none      places in the code that nothing prints: 1 KB
#   mips_code                 LLVM's own defaults leave a third of the delay slots empty, never jump into the last call, copy
#                             up to 16 bytes in line, and keep in registers what a loop could as well load anew, for which
#                             others are saved and restored: 48 KB in all; a call costs more bytes than elsewhere, so that a
#                             few more functions are worth to be inlined, and what is saved is saved by size: 2.6 KB
#   enable-machine-outliner   sequences of instructions that come often are written once; LLVM has it for AArch64 by itself
compile() {
    # shellcheck disable=SC2046 # a word or none
    env -u RUSTC -u RUSTC_WRAPPER -u CARGO -u RUSTUP_TOOLCHAIN -u CARGO_BUILD_TARGET -u CARGO_TARGET_DIR \
        PATH="$tools:/usr/bin:/bin" RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS="-Clink-self-contained=no -Crelocation-model=static -Cforce-unwind-tables=no \
            -Zunstable-options -Cpanic=immediate-abort -Zlocation-detail=none $(thumb "$1") -Clink-arg=$build/replaced/$1.o --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/source" \
        cargo-zigbuild rustc --locked $(features "$1") --profile router --bin gateway-exporter --target "$1" --target-dir "$build" \
        -Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size -- -Cstrip="$2" $(outliner "$1") $(mips_code "$1")
}

# Without gzip a MIPS binary is 20,016 bytes smaller; compressing a scrape of 20 IKE_SAs takes twice as many instructions as
# the scrape itself (docs/performance.md).
features() {
    case "$1" in mips*) echo --no-default-features ;; esac
}

thumb() {
    case "$1" in armv7-*) echo -Ctarget-feature=+thumb-mode ;; esac
}

outliner() {
    case "$1" in x86_64-* | i686-* | arm*) echo -Cllvm-args=-enable-machine-outliner=always ;; esac
}

mips_code() {
    case "$1" in mips*) ;; *) return 0 ;; esac
    for option in inline-threshold=10 split-spill-mode=size \
        disable-mips-df-forward-search=false disable-mips-df-succbb-search=false mips-tail-calls=1 \
        max-store-memcpy=2 max-store-memset=2 min-jump-table-entries=8 apply-ext-tsp-for-size=true \
        disable-machine-licm disable-postra-machine-licm disable-machine-sink disable-lsr enable-pre=false enable-load-pre=false; do
        echo "-Cllvm-args=-$option"
    done
}

# Without -fno-builtin a loop that copies bytes becomes a call of memcpy, also in memcpy.
replace() {
    object="$build/replaced/$1.o"
    mkdir -p "$build/replaced"
    # shellcheck disable=SC2046 # a list of words
    "$tools/cargo-zigbuild" zig cc -- -target $(target_field "$1" 3) -Os -fno-builtin -fomit-frame-pointer -ffunction-sections -c -o "$object" contrib/replaced.c
}

# lld keeps a table for debuggers in MIPS binaries, a sixth of the file, that no strip knows to remove.
slim() {
    case "$1" in
        mips-*) mips-linux-gnu-objcopy -R .pdr -R .mdebug.abi32 -R .comment "$2" ;;
        mipsel-*) mipsel-linux-gnu-objcopy -R .pdr -R .mdebug.abi32 -R .comment "$2" ;;
    esac
}

folder=bin strip=symbols
[ "${1-}" != --symbols ] || { shift && folder=symbols strip=none; }
[ $# -gt 0 ] || eval "set -- $(targets | awk '{ printf "%s ", $1 }')"
for name in "$@"; do
    target="$(target_field "$name" 1)"
    replace "$target"
    compile "$target" "$strip"
    binary="$build/$folder/$target/gateway-exporter"
    mkdir -p "${binary%/*}"
    cp "$build/$target/router/gateway-exporter" "$binary"
    slim "$target" "$binary"
    echo "$binary: $(stat -c %s "$binary") bytes"
done
