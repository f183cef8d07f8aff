#!/bin/sh
# Makes the folder that is handed in to OpenWrt's feed, dist/feed/gateway-exporter: contrib/feed.sh ARCHIVE, the published archive
# of the sources that `make dist` made. The environment says what is known only when it is published:
#
#   SOURCE_URL   where the archive is, without its name
#   MAINTAINER   who answers for the package: Name <address>
#   HOMEPAGE     the project's page
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "feed.sh: $1" >&2
    exit 2
}

[ $# = 1 ] || refuse 'names one archive: contrib/feed.sh dist/gateway-exporter-VERSION.tar.gz'
[ -f "$1" ] || refuse "$1: there is no such file"
wanted="$(sed -n 's/^PKG_VERSION:=/gateway-exporter-/p' openwrt/Makefile).tar.gz"
[ "${1##*/}" = "$wanted" ] || refuse "$1: openwrt/Makefile wants $wanted"
case "${SOURCE_URL-} ${HOMEPAGE-}" in
    'https://'*' https://'*) ;;
    *) refuse 'SOURCE_URL and HOMEPAGE must be addresses with https://' ;;
esac
case "${MAINTAINER-}" in
    *' <'*@*'>') ;;
    *) refuse 'MAINTAINER must be a name and an address: Name <address>' ;;
esac

feed=dist/feed/gateway-exporter
rm -rf "$feed"
mkdir -p "$feed"
cp -r openwrt/files openwrt/test.sh "$feed/"
awk -v source="PKG_SOURCE_URL:=${SOURCE_URL%/}" -v hash="PKG_HASH:=$(sha256sum <"$1" | cut -d ' ' -f 1)" \
    -v maintainer="PKG_MAINTAINER:=$MAINTAINER" -v home="  URL:=$HOMEPAGE" '
    $0 == "PKG_HASH:=skip" { print source; print hash; print ""; print maintainer; getline; next }
    { print }
    /^  TITLE:=/ { print home }' openwrt/Makefile >"$feed/Makefile"
echo "$feed"
