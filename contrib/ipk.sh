#!/bin/sh
# Makes an OpenWrt package without OpenWrt's build system: contrib/ipk.sh [ARCHITECTURE...], as `opkg print-architecture`
# says it on the router (mipsel_24kc, aarch64_cortex-a53); none is one for each target.
#
# The binary is static, so that one package serves every release of OpenWrt with opkg.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh
. contrib/archive.sh
. contrib/openwrt.sh

stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT

script() {
    cat <<-SCRIPT
	#!/bin/sh
	[ "\${IPKG_NO_SCRIPT}" != 1 ] || exit 0
	[ -s "\${IPKG_INSTROOT}/lib/functions.sh" ] || exit 0
	. "\${IPKG_INSTROOT}/lib/functions.sh"
	default_$1 "\$0" "\$@"
	SCRIPT
}

[ $# -gt 0 ] || eval "set -- $(first_architectures)"
mkdir -p "$DIST"
for architecture in "$@"; do
    rm -rf "${stage:?}"/*
    data="$stage/data" control="$stage/control"
    mkdir -p "$control"
    put_files "$architecture" "$data"
    cat >"$control/control" <<-CONTROL
	Package: gateway-exporter
	Version: $(version)-r$PKG_RELEASE
	Section: net
	Architecture: $architecture
	Installed-Size: $(du -sb "$data" | cut -f 1)
	License: MIT
	Require-User: gateway-exporter:gateway-exporter
	Description:  Tells Prometheus how a VPN gateway is doing: strongSwan, ipsec, OpenVPN,
	 WireGuard and the sockets that should be there.
	CONTROL
    echo /etc/config/gateway-exporter >"$control/conffiles"
    script postinst >"$control/postinst"
    script prerm >"$control/prerm"
    chmod 644 "$control"/*
    chmod 755 "$control/postinst" "$control/prerm"
    echo 2.0 >"$stage/debian-binary"
    pack "$data" "$stage/data.tar.gz"
    pack "$control" "$stage/control.tar.gz"
    package="$DIST/gateway-exporter_$(version)-r${PKG_RELEASE}_$architecture.ipk"
    pack "$stage" "$package" ./debian-binary ./data.tar.gz ./control.tar.gz
    echo "$package: $(stat -c %s "$package") bytes"
done
checksums
