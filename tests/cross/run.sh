#!/bin/sh
# Runs the cross-built binaries under qemu and compares what they say with what the native build says, and the functions of
# contrib/replaced.c with what they should do: tests/cross/run.sh [TARGET...], where none is all. Builds what is missing.
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

# The copies and comparisons of contrib/replaced.c, which these two have not.
tools="$(contrib/toolchain.sh)"
check="$(mktemp)"
trap 'rm -f "$check"' EXIT
for target in "$@"; do
    case "$(target_field "$target" 1)" in armv5te-* | riscv64gc-*) continue ;; esac
    object="target/cross/replaced/$(target_field "$target" 1).o"
    # shellcheck disable=SC2046 # a list of words
    "$tools/python3" -m ziglang cc -target $(target_field "$target" 3) -fno-builtin -fno-sanitize=all -Wall -Wextra -static \
        -o "$check" tests/cross/replaced.c "$object"
    "$(target_field "$target" 4)-static" -cpu "$(target_field "$target" 5)" "$check"
done

# A network of its own: what stands in /proc/net is then the test's and nobody else's.
lines="$(for target in "$@"; do
    target="$(target_field "$target" 1)"
    echo "$target" "$(target_field "$target" 4)-static" "$(target_field "$target" 5)"
done)"
debug="${CARGO_TARGET_DIR:-target}/debug"
echo "$lines" | unshare --user --map-root-user --net sh -c 'ip link set lo up && exec "$@"' - \
    python3 tests/cross/compare.py "$debug/gateway-exporter" "$debug/examples/replay"
