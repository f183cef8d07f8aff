#!/bin/sh
# Makes an OpenWrt package for apk without OpenWrt's build system: contrib/apk.sh [ARCHITECTURE...], as `apk --print-arch`
# says it on the router (mipsel_24kc, aarch64_cortex-a53); none is one for each target.
#
# Without a key, it installs with `apk add --allow-untrusted FILE`. With APK_KEY, a private RSA key in PEM, it is signed, and
# its public half belongs into /etc/apk/keys of the router under the name of that file with .pub.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh
. contrib/archive.sh
. contrib/openwrt.sh

stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT

# script LINE...: as OpenWrt's build system writes them; its functions know the package by `pkgname`.
script() {
    cat <<-'SCRIPT'
	#!/bin/sh
	[ "${IPKG_NO_SCRIPT}" != 1 ] || exit 0
	[ -s "${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
	. "${IPKG_INSTROOT}/lib/functions.sh"
	export root="${IPKG_INSTROOT}" pkgname=gateway-exporter
	SCRIPT
    printf '%s\n' "$@"
}

[ $# -gt 0 ] || eval "set -- $(first_architectures)"
mkdir -p "$DIST"
for architecture in "$@"; do
    rm -rf "${stage:?}"/*
    data="$stage/data" control="$stage/control"
    known="$data/lib/apk/packages/gateway-exporter"
    mkdir -p "$control" "${known%/*}"
    put_files "$architecture" "$data"
    (cd "$data" && find . -type f -printf '/%P\n' | sort) >"$stage/list"
    mv "$stage/list" "$known.list"
    echo gateway-exporter:gateway-exporter >"$known.rusers"
    echo /etc/config/gateway-exporter >"$known.conffiles"
    echo "/etc/config/gateway-exporter $(sha256sum <"$data/etc/config/gateway-exporter" | cut -d ' ' -f 1)" >"$known.conffiles_static"
    chmod 644 "$known".*
    cat >"$control/.PKGINFO" <<-INFO
	pkgname = gateway-exporter
	pkgver = $(version)-r$PKG_RELEASE
	pkgdesc = Prometheus exporter for VPN gateways
	arch = $architecture
	license = MIT
	builddate = $SOURCE_DATE_EPOCH
	INFO
    script add_group_and_user default_postinst >"$control/.post-install"
    script 'export PKG_UPGRADE=1' add_group_and_user default_postinst >"$control/.post-upgrade"
    script default_prerm >"$control/.pre-deinstall"
    package="$DIST/gateway-exporter-$(version)-r${PKG_RELEASE}_$architecture.apk"
    python3 contrib/apk.py "$stage" "$package" ${APK_KEY:+"$APK_KEY"}
    echo "$package: $(stat -c %s "$package") bytes"
done
checksums
