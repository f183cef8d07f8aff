#!/bin/sh
# Runs the cross-built binaries under qemu and compares what they say with what the native build says:
# tests/cross/run.sh [TARGET...], where none is all. Builds what is missing.
set -eu
cd "$(dirname "$0")/../.."
. contrib/targets.sh

[ $# -gt 0 ] || eval "set -- $(targets | awk '{ printf "%s ", $1 }')"

if ! command -v qemu-mips-static >/dev/null; then
    install='apt-get install -y --no-install-recommends qemu-user-static'
    if [ "$(id -u)" -ne 0 ] || ! { apt-get update -qq && $install -qq; } >/dev/null; then
        echo "needs: $install" >&2
        exit 1
    fi
fi

cargo build --quiet --locked --bin gateway-exporter --example replay
contrib/cross.sh "$@"

# A network of its own: what stands in /proc/net is then the test's and nobody else's.
lines="$(for target in "$@"; do
    target="$(target_field "$target" 1)"
    echo "$target" "$(target_field "$target" 4)-static" "$(target_field "$target" 5)"
done)"
debug="${CARGO_TARGET_DIR:-target}/debug"
echo "$lines" | unshare --user --map-root-user --net sh -c 'ip link set lo up && exec "$@"' - \
    python3 tests/cross/compare.py "$debug/gateway-exporter" "$debug/examples/replay"
