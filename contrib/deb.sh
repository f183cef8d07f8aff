#!/bin/sh
# Makes a Debian package in dist/, or in the folder that DIST names: contrib/deb.sh [TARGET...].
#
# Without a TARGET it is for this machine's own architecture: built by the `cargo` in PATH and linked against this system's libc,
# as Debian wants programs to be, in a minute and without the cross toolchain. It serves this release of Debian and later ones. A
# TARGET (see contrib/targets.sh) is a static binary, which serves every release.
#
# Who builds the package is its maintainer, as in Debian's own tools: DEBFULLNAME and DEBEMAIL. Without them it is the first
# of Cargo.toml's `authors`, who has no address.
set -eu
cd "$(dirname "$0")/.."
. contrib/targets.sh
. contrib/archive.sh

stage="$(mktemp -d)"
trap 'rm -rf "$stage"' EXIT
data="$stage/debian/gateway-exporter" doc="$stage/debian/gateway-exporter/usr/share/doc/gateway-exporter"

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

need() {
    command -v "$1" >/dev/null || { echo "$1 is missing: apt-get install $2" >&2; exit 1; }
}

# The paths of this machine stay out of binaries, so that two folders give the same bytes.
native() {
    RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$PWD=/source" \
        cargo build --release --locked --target-dir target/deb "$@" >&2
}

# What the binary is linked against, as Depends has it: the packages and the first versions that have its symbols.
libraries() {
    printf 'Source: gateway-exporter\n\nPackage: gateway-exporter\nArchitecture: any\n' >"$stage/debian/control"
    mkdir -p "$data/DEBIAN"
    (cd "$stage" && dpkg-shlibdeps -O debian/gateway-exporter/usr/bin/gateway-exporter) | sed -n 's/^shlibs:Depends=//p'
}

maintainer() {
    author="$(sed -n 's/^authors = \["\([^"]*\)".*/\1/p' Cargo.toml)"
    echo "${DEBFULLNAME:-${author%% <*}} <${DEBEMAIL:-none@gateway-exporter.invalid}>"
}

# The changelog in Debian's form, under the name that it has for a version without a Debian revision.
changelog() {
    cat <<-CHANGELOG
	gateway-exporter ($version) unstable; urgency=medium

	  * The changes are listed in CHANGELOG.md.gz.

	 -- $(maintainer)  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
	CHANGELOG
}

# documentation SOURCE DESTINATION: with .gz, where it is larger than 4 KiB, as debhelper does.
documentation() {
    put 644 "$1" "$2"
    case "$2" in *.png) return 0 ;; esac
    [ "$(stat -c %s "$2")" -le 4096 ] || gzip -9n "$2"
}

put_files() {
    put 644 contrib/gateway-exporter.yaml "$data/etc/gateway-exporter.yaml"
    put 644 contrib/debian/default "$data/etc/default/gateway-exporter"
    put 644 contrib/systemd/gateway-exporter.service "$data/usr/lib/systemd/system/gateway-exporter.service"
    put 644 contrib/systemd/wireguard.conf "$doc/examples/wireguard.conf"
    put 644 contrib/systemd/gateway-exporter.socket "$doc/examples/gateway-exporter.socket"
    put 644 contrib/completions/gateway-exporter.bash "$data/usr/share/bash-completion/completions/gateway-exporter"
    put 644 contrib/completions/_gateway-exporter "$data/usr/share/zsh/vendor-completions/_gateway-exporter"
    put 644 contrib/completions/gateway-exporter.fish "$data/usr/share/fish/vendor_completions.d/gateway-exporter.fish"
    put 644 LICENSE "$doc/copyright"
    for file in README.md CHANGELOG.md docs/* contrib/grafana/README.md contrib/prometheus/README.md; do
        documentation "$file" "$doc/$file"
    done
    changelog | gzip -9n >"$doc/changelog.gz"
    for file in contrib/grafana/*.json contrib/prometheus/alerts.yaml contrib/prometheus/recording.yaml; do
        put 644 "$file" "$data/usr/share/gateway-exporter/${file#contrib/}"
    done
    put 644 "$man" "$data/usr/share/man/man8/gateway-exporter.8"
    gzip -9n "$data/usr/share/man/man8/gateway-exporter.8"
    chmod 644 "$doc/changelog.gz"
}

# control ARCHITECTURE DEPENDS
control() {
    cat <<-CONTROL
	Package: gateway-exporter
	Version: $version
	Architecture: $1
	Section: net
	Priority: optional
	Maintainer: $(maintainer)
	Depends: adduser$2
	Installed-Size: $(du -sk --apparent-size "$data" | cut -f 1)
	Description: Prometheus exporter for VPN gateways
	 Tells Prometheus how a VPN gateway is doing: strongSwan, ipsec, OpenVPN,
	 WireGuard and the sockets that should be there.
	CONTROL
}

# package ARCHITECTURE BINARY: without a binary it is built here.
package() {
    rm -rf "$data"
    depends=''
    if [ -n "$2" ]; then
        put 755 "$2" "$data/usr/bin/gateway-exporter"
        put 644 contrib/debian/lintian-overrides "$data/usr/share/lintian/overrides/gateway-exporter"
    else
        native --bin gateway-exporter
        put 755 target/deb/release/gateway-exporter "$data/usr/bin/gateway-exporter"
        strip --remove-section=.comment "$data/usr/bin/gateway-exporter"
        depends="$(libraries)"
    fi
    put_files
    for script in postinst prerm postrm; do
        put 755 "contrib/debian/$script" "$data/DEBIAN/$script"
    done
    (cd "$data" && find etc -type f -printf '/%p\n' | sort) >"$data/DEBIAN/conffiles"
    (cd "$data" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$data/DEBIAN/md5sums"
    control "$1" "${depends:+, $depends}" >"$data/DEBIAN/control"
    find "$data" -type d -exec chmod 755 {} +
    chmod 644 "$data"/DEBIAN/md5sums "$data"/DEBIAN/conffiles "$data"/DEBIAN/control
    file="$DIST/gateway-exporter_${version}_$1.deb"
    dpkg-deb --root-owner-group -Zxz --build "$data" "$file" >/dev/null
    echo "$file: $(stat -c %s "$file") bytes"
}

need cargo 'cargo, or https://rustup.rs'
need dpkg-shlibdeps dpkg-dev
version="$(version)"
export GATEWAY_EXPORTER_REVISION="${GATEWAY_EXPORTER_REVISION-$(contrib/revision.sh)}"
mkdir -p "$DIST"
native --example man
man="$stage/gateway-exporter.8"
target/deb/release/examples/man >"$man"
[ $# -gt 0 ] || package "$(dpkg --print-architecture)" ''
for target in "$@"; do
    target="$(target_field "$target" 1)"
    architecture="$(debian_name "$target")"
    package "$architecture" "$(binary "$target")"
done
checksums
