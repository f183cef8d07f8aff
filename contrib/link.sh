#!/bin/sh
# The Python that cargo-zigbuild runs zig with, for one option more. A program is linked a second time with --icf=all, by which
# functions of the same instructions become one: lld, which zig brings, knows it, and zig's own command refuses it.
#
# Different functions may have the same address then. Rust promises nothing else, and its lint
# unpredictable_function_pointer_comparisons, an error in `make check`, finds who counts on it.
set -eu

said="$(mktemp)"
trap 'rm -f "$said"' EXIT
status=0
ZIG_VERBOSE_LINK=1 "$ZIG_PYTHON" "$@" 2>"$said" || status=$?
grep -v '^ld\.lld ' "$said" >&2 || true
arguments="$(sed -n '/ --gc-sections /s/^ld\.lld //p' "$said")"
case " $* " in
    *--gc-sections*)
        [ "$status" -ne 0 ] || [ -n "$arguments" ] || { echo "link.sh: zig does not say how it links: $(cat "$said")" >&2; exit 1; }
        ;;
esac
# shellcheck disable=SC2086 # a list of words
[ "$status" -ne 0 ] || [ -z "$arguments" ] || "$ZIG_PYTHON" -m ziglang ld.lld $arguments --icf=all
exit "$status"
