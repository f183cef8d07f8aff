#!/bin/sh
# The scripts themselves: no complaint of shellcheck and lintian, no fault in the unit, and the example is a valid configuration.
set -eu
. tests/packages/check.sh

shellcheck -x contrib/*.sh contrib/container/*.sh contrib/debian/p* contrib/openrc/gateway-exporter openwrt/files/gateway-exporter.init \
    openwrt/test.sh tests/packages/*.sh tests/cross/*.sh tests/steps.sh
ok 'shellcheck has nothing to say'

# shellcheck disable=SC2013 # names without blanks
for script in $(grep -l '^#!' contrib/*.sh contrib/container/*.sh contrib/debian/* contrib/openrc/* tests/cross/*.sh tests/packages/*.sh openwrt/test.sh); do
    [ -x "$script" ] || fail "$script: $(git ls-files --stage "$script" | cut -c 1-6), it can't be run"
done
ok 'scripts can be run'

binary=target/cross/bin/x86_64-unknown-linux-musl/gateway-exporter
"$binary" --check-config --config.file=contrib/gateway-exporter.yaml 2>/dev/null || fail 'the example is refused'
# Its hash of a password is none.
# shellcheck disable=SC2016 # nothing is to be expanded
hash='$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.'
sed "s/^#\([a-z]\|  \)/\1/; s|\\\$2b\\\$12.*|'$hash'|" contrib/gateway-exporter.yaml >"$WORK/all.yaml"
said="$("$binary" --check-config --config.file="$WORK/all.yaml" 2>&1)" || fail "the example without its # is refused: $said"
same 'the example names every source' 'strongswan ipsec openvpn sockets wireguard kernel' \
    "$(echo "$said" | sed -n 's/.*watching \([a-z]*\):.*/\1/p' | uniq | tr '\n' ' ' | sed 's/ $//')"
ok 'the example configuration is valid, with and without its comments'

# The service runs and its Documentation is there once the package is installed: tests/packages/systemd.sh.
systemd-analyze security --offline=true --threshold=15 contrib/systemd/gateway-exporter.service >"$WORK/security" 2>&1 ||
    fail "the unit: $(tail -n 1 "$WORK/security")"
sed "s|/usr/bin/gateway-exporter|$PWD/$binary|" contrib/systemd/gateway-exporter.service >"$WORK/gateway-exporter.service"
same 'the unit has no fault' '' "$(systemd-analyze verify --man=no "$WORK/gateway-exporter.service" 2>&1 | grep gateway-exporter || true)"
ok 'the unit is hardened and without a fault'

# What lintian has to say, but for notes: of a package that is linked against libc nothing.
lint() {
    lintian --allow-root --fail-on=none --show-overrides "$1" >"$WORK/lintian" || fail 'lintian failed'
    sed '/^N:/d' "$WORK/lintian"
}

DIST="$WORK/static" contrib/deb.sh x86_64 >"$WORK/log" 2>&1 || fail "$(tail -n 20 "$WORK/log")"
same 'the Debian package' '' "$(lint "$PACKAGE")"
same 'the static Debian package' 'O: gateway-exporter: statically-linked-binary [usr/bin/gateway-exporter]' \
    "$(lint "$WORK"/static/gateway-exporter_*_amd64.deb)"
ok 'lintian has nothing to say but that a binary for every release is static'

mkdir -p "$WORK/bin"
cp "$binary" "$WORK/bin/"
PATH="$WORK/bin:$PATH" openwrt/test.sh gateway-exporter "$VERSION" >/dev/null 2>&1 || fail "OpenWrt's test of the package"
if PATH="$WORK/bin:$PATH" openwrt/test.sh gateway-exporter 99.99 >/dev/null 2>&1; then
    fail "OpenWrt's test is content with another version"
fi
same "the version of OpenWrt's package" "$VERSION" "$(sed -n 's/^PKG_VERSION:=//p' openwrt/Makefile)"
ok "OpenWrt's test of the package"

# The feed's folder, with what is known only when a release is published.
archive="$WORK/gateway-exporter-$VERSION.tar.gz"
echo sources >"$archive"
! contrib/feed.sh "$archive" 2>/dev/null || fail "OpenWrt's feed: without address and maintainer"
SOURCE_URL=https://example.org/releases HOMEPAGE=https://example.org MAINTAINER='A Name <name@example.org>' \
    contrib/feed.sh "$archive" >/dev/null
same "OpenWrt's feed" "> PKG_SOURCE_URL:=https://example.org/releases
> PKG_HASH:=$(sha256sum <"$archive" | cut -d ' ' -f 1)
> PKG_MAINTAINER:=A Name <name@example.org>
>   URL:=https://example.org" "$(diff openwrt/Makefile dist/feed/gateway-exporter/Makefile | grep '^>' | grep -v '^> *$')"
rm -r dist/feed
ok "the folder for OpenWrt's feed"
