#!/bin/sh
# Installs what cross builds need, where it is missing: Debian's Rust with the sources of std, and zig as the linker.
#
#   contrib/toolchain.sh          install what is missing, then print the folder of cargo-zigbuild
#   contrib/toolchain.sh --check  only say what is missing
#
# The packages are those of Debian 12. Its compiler stands beside one from rustup and does not disturb it. zig 0.15.2 is
# pinned: later ones can't link MIPS and bring an allocator that keeps twice the memory.
set -eu

PACKAGES="ca-certificates gcc libc6-dev python3-venv rustc-web cargo-web rust-web-src binutils-mipsel-linux-gnu binutils-mips-linux-gnu zopfli"
WHEELS="ziglang==0.15.2 cargo-zigbuild==0.24.0"
home="${XDG_CACHE_HOME:-$HOME/.cache}/gateway-exporter/zig"

missing_packages() {
    for package in $PACKAGES; do
        case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
            *" installed") ;;
            *) printf '%s ' "$package" ;;
        esac
    done
}

refuse() {
    echo "cross builds need $1" >&2
    echo "install it with: $2" >&2
    exit 1
}

missing="$(missing_packages)"
install="apt-get install -y --no-install-recommends $missing"
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || refuse "a Debian 12 with the packages $missing" "Debian, or a Debian container"
    [ "${1-}" != --check ] || refuse "the packages $missing of Debian 12" "$install"
    if [ "$(id -u)" -ne 0 ]; then
        refuse "the packages $missing of Debian 12" "sudo $install"
    fi
    echo "installing $missing" >&2
    # shellcheck disable=SC2086 # a list of words
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >&2 ||
        refuse "the packages $missing of Debian 12" "$install"
fi

if [ "$(cat "$home/wheels" 2>/dev/null)" != "$WHEELS" ]; then
    [ "${1-}" != --check ] || refuse "$WHEELS from PyPI in $home" "contrib/toolchain.sh"
    echo "installing $WHEELS in $home" >&2
    rm -rf "$home"
    # shellcheck disable=SC2086 # a list of words
    { /usr/bin/python3 -m venv "$home" && "$home/bin/pip" install --quiet --disable-pip-version-check $WHEELS; } >&2 ||
        refuse "$WHEELS from PyPI" "/usr/bin/python3 -m venv $home && $home/bin/pip install $WHEELS"
    echo "$WHEELS" >"$home/wheels"
fi

echo "$home/bin"
