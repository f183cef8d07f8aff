#!/bin/sh
# Installs the packages into empty roots, starts what they installed, and removes them: tests/packages/run.sh [PART...]
# with the parts scripts, trust, init, managers, debian, systemd, container and archives; none is all. Needs root, for the
# roots and a network of its own.
set -eu
cd "$(dirname "$0")/../.."

PARTS='scripts trust init managers debian systemd container archives'
PACKAGES='busybox-static shellcheck debootstrap iproute2 procps systemd systemd-container lintian dpkg-dev python3 openssl zopfli podman runc'

if [ "$(id -u)" -ne 0 ]; then
    echo 'SKIPPED: the tests of the packages need root for the roots that they install into' >&2
    [ -z "${CI-}" ]
    exit
fi
missing=''
for program in busybox shellcheck debootstrap ip ps systemd-analyze systemd-nspawn lintian dpkg-shlibdeps python3 openssl zopfli podman runc; do
    command -v "$program" >/dev/null || missing=1
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # a list of words
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $PACKAGES; } >/dev/null ||
        { echo "needs: apt-get install $PACKAGES" >&2; exit 1; }
fi

# Built here, where the network still is the machine's.
cargo build --quiet --locked --example replay
contrib/ipk.sh x86_64
contrib/deb.sh

KEPT="${XDG_CACHE_HOME:-$HOME/.cache}/gateway-exporter/bookworm-systemd.tar"
case " ${*:-debian} " in
    *' debian '* | *' systemd '*)
        [ -e "$KEPT" ] || {
            root="$(mktemp -d)"
            debootstrap --variant=minbase --include=adduser,systemd-sysv bookworm "$root" >/dev/null
            tar -C "$root" --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' -cf "$KEPT.new" .
            mv "$KEPT.new" "$KEPT"
            rm -rf "$root"
        }
        ;;
esac

WORK="$(mktemp -d)"
export WORK
trap 'rm -rf "$WORK"' EXIT
[ $# -gt 0 ] || eval "set -- $PARTS"
for part in "$@"; do
    echo "# $part"
    begun="$(date +%s)"
    case "$part" in
        init) python3 tests/packages/init.py "${GATEWAY_EXPORTER_BINARIES:-target/cross/bin}/x86_64-unknown-linux-musl/gateway-exporter" ;;
        managers | debian | systemd | container)
            unshare --mount --net --pid --fork --kill-child --mount-proc "tests/packages/$part.sh" ;;
        *) "tests/packages/$part.sh" ;;
    esac
    echo "# $part: $(($(date +%s) - begun)) s"
done
