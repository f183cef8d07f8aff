# shellcheck shell=sh
# What the parts share: checks that say what was wanted, and that fail at once.

VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
# The Debian package of this version; others may lie beside it.
# shellcheck disable=SC2034 # the parts use it
PACKAGE="dist/gateway-exporter_${VERSION}_amd64.deb"

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

ok() {
    echo "ok: $1"
}

# same WHAT WANTED FOUND
same() {
    [ "$2" = "$3" ] || {
        printf 'wanted:\n%s\nfound:\n%s\n' "$2" "$3" >&2
        fail "$1"
    }
}

# eventually WHAT COMMAND...: within ten seconds.
eventually() {
    what="$1"
    shift
    for _ in $(seq 100); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "$what"
}
