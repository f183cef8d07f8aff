#!/bin/sh
# Makes the archives of a release in dist/: contrib/dist.sh [TARGET...], where none is all, for each the list of its crates
# (CycloneDX), and SHA256SUMS. Two runs of the same commit in two folders give the same bytes.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh
. contrib/archive.sh

version="$(version)"
stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT
[ $# -gt 0 ] || eval "set -- $(targets | awk '{ printf "%s ", $1 }')"

rm -rf "$DIST"/gateway-exporter* "$DIST"/SHA256SUMS
mkdir -p "$DIST"
for target in "$@"; do
    target="$(target_field "$target" 1)"
    name="gateway-exporter-$version-$target"
    binary="$(binary "$target")"
    put 755 "$binary" "$stage/$name/gateway-exporter"
    for file in README.md CHANGELOG.md LICENSE docs/*; do
        [ ! -e "$file" ] || put 644 "$file" "$stage/$name/$file"
    done
    put 644 contrib/gateway-exporter.yaml "$stage/$name/gateway-exporter.yaml"
    put 644 contrib/systemd/gateway-exporter.service "$stage/$name/systemd/gateway-exporter.service"
    put 644 contrib/systemd/gateway-exporter.sysusers "$stage/$name/systemd/gateway-exporter.sysusers"
    put 644 contrib/systemd/wireguard.conf "$stage/$name/systemd/wireguard.conf"
    put 644 contrib/systemd/gateway-exporter.socket "$stage/$name/systemd/gateway-exporter.socket"
    for file in contrib/completions/*; do
        put 644 "$file" "$stage/$name/completions/${file##*/}"
    done
    put 755 contrib/openrc/gateway-exporter "$stage/$name/openrc/gateway-exporter"
    pack "$stage" "$DIST/$name.tar.gz" "$name"
    python3 contrib/crates.py sbom "$target" >"$DIST/$name.cdx.json"
done

# The sources, for OpenWrt's build system: what is committed, and nothing else.
if git rev-parse --git-dir >/dev/null 2>&1; then
    git archive --format=tar --prefix="gateway-exporter-$version/" HEAD | gzip -9n >"$DIST/gateway-exporter-$version.tar.gz"
fi
checksums
cat "$DIST/SHA256SUMS"
