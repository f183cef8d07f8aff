#!/bin/sh
# Prints how big the binaries and their packages are, which crates weigh most, and what an idle daemon holds of the memory;
# fails where a budget is exceeded or can't be looked at: contrib/size.sh [--brief] [TARGET...], where none is all. Brief
# is without crates, which ask for a build with symbols. Memory is looked at where x86_64 is among the targets.
#
# What a router's owner pays for is flash: the package as opkg fetches it, and the binary where the file system does not
# compress it. MIPS has wider instructions than the others.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh

PACKAGE_BUDGET=491520 # 480 KiB
FILE_BUDGET=900000
MIPS_BUDGET=1000000
IDLE_BUDGET=1228   # 1.2 MiB, in KiB

missed=0 detailed='x86_64-unknown-linux-musl mips-unknown-linux-musl'
[ "${1-}" != --brief ] || { shift && detailed=''; }
[ $# -gt 0 ] || eval "set -- $(targets | awk '{ printf "%s ", $1 }')"

file_budget() {
    case "$1" in
        mips*) echo "$MIPS_BUDGET" ;;
        *) echo "$FILE_BUDGET" ;;
    esac
}

# package TARGET: the bytes of its ipk, for the first of the architectures that it serves.
package() {
    architecture="$(target_field "$1" 6)"
    GATEWAY_EXPORTER_BINARIES=target/cross/bin contrib/ipk.sh "${architecture%% *}" | sed -n 's/^.*\.ipk: \([0-9]*\) bytes$/\1/p'
}

printf '%-32s %9s %9s\n' target bytes package
for target in "$@"; do
    target="$(target_field "$target" 1)"
    binary="target/cross/bin/$target/gateway-exporter"
    [ -e "$binary" ] || { printf '%-32s %s\n' "$target" 'not built: make cross first'; missed=1; continue; }
    size="$(stat -c %s "$binary")"
    packed="$(package "$target")"
    verdict='' budget="$(file_budget "$target")"
    [ "$size" -le "$budget" ] || { verdict="over the budget of $budget"; missed=1; }
    [ "$packed" -le "$PACKAGE_BUDGET" ] || { verdict="$verdict package over the budget of $PACKAGE_BUDGET"; missed=1; }
    printf '%-32s %9s %9s %s\n' "$target" "$size" "$packed" "$verdict"
done

# is_named TARGET NAME...: whether it is among these, which may be short names.
is_named() {
    named="$1" short="$(target_field "$1" 2)"
    shift
    case " $* " in
        *" $named "* | *" $short "*) ;;
        *) return 1 ;;
    esac
}

# crates TARGET: the symbols of the binary, added up by the first crate that their names speak of.
crates() {
    contrib/cross.sh --symbols "$1" >/dev/null
    printf '\n%s, bytes by crate:\n' "$1"
    nm -S -C "target/cross/symbols/$1/gateway-exporter" | LC_ALL=C awk '
        function value(hex,    i, n) {
            for (i = 1; i <= length(hex); i++) n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
            return n
        }
        NF > 3 && $3 ~ /^[tTrRdDwWV]$/ {
            size = value($2)
            name = $0
            sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", name)
            crate = "C library"
            while (match(name, /[a-z_][a-z_0-9]*::/)) {
                word = substr(name, RSTART, RLENGTH - 2)
                if (crate == "C library" || crate ~ /^(core|alloc|std)$/ && name ~ /^</) crate = word
                if (word !~ /^(core|alloc|std)$/) { crate = word; break }
                if (name !~ /^[<&]/) break
                name = substr(name, RSTART + RLENGTH)
                sub(/^[a-z_0-9:]*/, "", name)
            }
            sum[crate] += size
        }
        END { for (crate in sum) printf "%9d %s\n", sum[crate], crate }' | sort -rn | head -n 16
}

# Idle: started with one rule, and asked nothing.
idle() {
    binary=target/cross/bin/x86_64-unknown-linux-musl/gateway-exporter
    # That it is not built has been said.
    [ -e "$binary" ] || return 0
    folder="$(mktemp -d)"
    printf 'sockets:\n  - name: any\n    status: listen\n' >"$folder/config.yaml"
    "$binary" --web.listen-address=127.0.0.1:0 --config.file="$folder/config.yaml" 2>"$folder/log" &
    daemon=$!
    sleep 2
    resident="$(awk '/^VmRSS/ { print $2 }' "/proc/$daemon/status" 2>/dev/null)" || true
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" || { cat "$folder/log" >&2; missed=1; }
    rm -rf "$folder"
    if [ -z "$resident" ]; then
        printf '\nx86_64 idle: its memory could not be read: does this machine run x86_64?\n'
        missed=1
    elif printf '\nx86_64 idle: %s KiB resident\n' "$resident" && [ "$resident" -gt "$IDLE_BUDGET" ]; then
        echo "over the budget of $IDLE_BUDGET KiB"
        missed=1
    fi
}

for target in $detailed; do
    ! is_named "$target" "$@" || crates "$target"
done
! is_named x86_64-unknown-linux-musl "$@" || idle
exit "$missed"
