# shellcheck shell=sh
# What the packages for OpenWrt share, be they for opkg or for apk: their files, and which target an architecture is.

# The package's release of this version: PKG_RELEASE as in OpenWrt's build system.
PKG_RELEASE="${PKG_RELEASE:-1}"

# target_of ARCHITECTURE: the target that makes it.
target_of() {
    targets | awk -v name="$1" '{ n = split($6, names, ","); for (i = 1; i <= n; i++) if (names[i] == name) { print $1; found = 1 } }
        END { exit !found }' || {
        echo "$1: no target makes this architecture; these are: $(targets | awk '{ printf "%s ", $6 }' | tr , ' ')" >&2
        return 1
    }
}

# One architecture for each target.
first_architectures() {
    targets | awk '{ sub(",.*", "", $6); printf "%s ", $6 }'
}

# put_files ARCHITECTURE FOLDER: what is installed, and nothing of the package manager's.
put_files() {
    target="$(target_of "$1")"
    binary="$(binary "$target")"
    put 755 "$binary" "$2/usr/bin/gateway-exporter"
    put 755 openwrt/files/gateway-exporter.init "$2/etc/init.d/gateway-exporter"
    put 600 openwrt/files/gateway-exporter.config "$2/etc/config/gateway-exporter"
    put 644 openwrt/files/gateway-exporter.keep "$2/lib/upgrade/keep.d/gateway-exporter"
}
