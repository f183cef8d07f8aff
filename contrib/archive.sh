# shellcheck shell=sh
# What archives of every kind share: the version, one time for all files, and bytes that depend on nothing else.

version() {
    sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1
}

# The time that files in archives bear: of the commit, unless SOURCE_DATE_EPOCH says another.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH

# put MODE SOURCE DESTINATION
put() {
    install -D -m "$1" "$2" "$3"
}

# pack FOLDER FILE [MEMBER...]: a tar archive of a folder that says nothing of who made it, when and where.
pack() {
    folder="$1" file="$2"
    shift 2
    [ $# -gt 0 ] || set -- .
    find "$folder" -type d -exec chmod 755 {} +
    tar --format=gnu --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        -C "$folder" -cf "$file.tar" "$@"
    # What gzip -9 makes is 3.5 % larger, and a router's flash holds it.
    zopfli --gzip -c "$file.tar" >"$file"
    rm "$file.tar"
}

# Where packages and archives are put.
DIST="${DIST:-dist}"

# Writes SHA256SUMS anew, for all that is there.
checksums() {
    sums="$(cd "$DIST" && find . -maxdepth 1 -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum)"
    echo "$sums" >"$DIST/SHA256SUMS"
}

# binary TARGET: the path of its binary, which is built first: cargo knows what has changed. Where GATEWAY_EXPORTER_BINARIES
# names a folder, as target/cross/bin is one, the binary of it is taken as it is.
binary() {
    if [ -z "${GATEWAY_EXPORTER_BINARIES-}" ]; then
        contrib/cross.sh "$1" >&2
    elif [ ! -x "$GATEWAY_EXPORTER_BINARIES/$1/gateway-exporter" ]; then
        echo "$GATEWAY_EXPORTER_BINARIES/$1/gateway-exporter: there is none" >&2
        return 1
    fi
    echo "${GATEWAY_EXPORTER_BINARIES:-target/cross/bin}/$1/gateway-exporter"
}
