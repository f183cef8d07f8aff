#!/usr/bin/env bash
# Installs the Debian packages that are missing: `setup.sh build` to build, `setup.sh build test` to test, `setup.sh build package`
# to make a Debian package.
set -euo pipefail

build=(gcc libc6-dev)
package=(dpkg-dev)
test=(g++ python3 iproute2 socat openssl openvpn prometheus prometheus-node-exporter mandoc groff-base chromium chromium-driver
    strongswan strongswan-starter strongswan-swanctl libcharon-extra-plugins libcharon-extauth-plugins
    libstrongswan-standard-plugins libstrongswan-extra-plugins
    wireguard-go wireguard-tools busybox-static qemu-system-x86 valgrind strace systemd zsh fish)
# Debian's npm brings hundreds of packages; another one will do.
command -v npm >/dev/null || test+=(npm)

missing=()
for set in "$@"; do
    declare -n names=$set
    for name in "${names[@]}"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
done

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing: install Rust 1.88 or newer (https://rustup.rs)" >&2
    exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup: missing: ${missing[*]}" >&2
    echo "setup: as root on Debian this script installs them; here, install them by hand" >&2
    [ -n "${CI:-}" ] && exit 1
    # What can run without them still does; each test that can't says so.
    exit 0
fi
echo "setup: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# The daemons are for the tests' own namespaces; none of them shall start on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
