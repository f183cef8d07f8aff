#!/bin/sh
# Makes a Debian package in dist/: contrib/deb.sh [TARGET...], x86_64 where none is named. The binary is static, so the
# package serves every release.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh
. contrib/archive.sh

stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT

debian_name() {
    case "$1" in
        x86_64-*) echo amd64 ;;
        aarch64-*) echo arm64 ;;
        armv7-*) echo armhf ;;
        armv5te-*) echo armel ;;
        i686-*) echo i386 ;;
        mipsel-*) echo mipsel ;;
        riscv64gc-*) echo riscv64 ;;
        *) echo "$1: Debian has no such architecture" >&2 && return 1 ;;
    esac
}

[ $# -gt 0 ] || set -- x86_64
mkdir -p dist
for target in "$@"; do
    target="$(target_field "$target" 1)"
    architecture="$(debian_name "$target")"
    rm -rf "${stage:?}"/*
    binary="$(binary "$target")"
    put 755 "$binary" "$stage/usr/bin/gateway-exporter"
    put 640 contrib/gateway-exporter.yaml "$stage/etc/gateway-exporter.yaml"
    put 644 contrib/debian/default "$stage/etc/default/gateway-exporter"
    put 644 contrib/systemd/gateway-exporter.service "$stage/lib/systemd/system/gateway-exporter.service"
    put 644 contrib/systemd/wireguard.conf "$stage/usr/share/doc/gateway-exporter/examples/wireguard.conf"
    if [ -e dist/gateway-exporter.8 ]; then
        put 644 dist/gateway-exporter.8 "$stage/usr/share/man/man8/gateway-exporter.8"
        gzip -9n "$stage/usr/share/man/man8/gateway-exporter.8"
    fi
    put 644 contrib/completions/gateway-exporter.bash "$stage/usr/share/bash-completion/completions/gateway-exporter"
    put 644 contrib/completions/_gateway-exporter "$stage/usr/share/zsh/vendor-completions/_gateway-exporter"
    put 644 contrib/completions/gateway-exporter.fish "$stage/usr/share/fish/vendor_completions.d/gateway-exporter.fish"
    put 644 contrib/systemd/gateway-exporter.socket "$stage/usr/share/doc/gateway-exporter/examples/gateway-exporter.socket"
    put 644 LICENSE "$stage/usr/share/doc/gateway-exporter/copyright"
    for file in README.md docs/*; do
        [ ! -e "$file" ] || put 644 "$file" "$stage/usr/share/doc/gateway-exporter/$file"
    done
    for script in postinst prerm postrm; do
        put 755 "contrib/debian/$script" "$stage/DEBIAN/$script"
    done
    printf '%s\n' /etc/gateway-exporter.yaml /etc/default/gateway-exporter >"$stage/DEBIAN/conffiles"
    cat >"$stage/DEBIAN/control" <<-CONTROL
	Package: gateway-exporter
	Version: $(version)
	Architecture: $architecture
	Section: net
	Priority: optional
	Maintainer: gateway-exporter <root@localhost>
	Depends: adduser
	Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f 1)
	Description: Prometheus exporter for VPN gateways
	 Tells Prometheus how a VPN gateway is doing: strongSwan, ipsec, OpenVPN,
	 WireGuard and the sockets that should be there.
	CONTROL
    find "$stage" -type d -exec chmod 755 {} +
    (cd "$stage" && find usr lib etc -type f -print0 | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
    chmod 644 "$stage/DEBIAN/md5sums" "$stage/DEBIAN/conffiles" "$stage/DEBIAN/control"
    package="dist/gateway-exporter_$(version)_$architecture.deb"
    dpkg-deb --root-owner-group -Zxz --build "$stage" "$package" >/dev/null
    echo "$package: $(stat -c %s "$package") bytes"
done
