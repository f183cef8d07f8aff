#!/bin/sh
# OpenWrt's CI runs this where the package is installed: $1 is its name, $2 its version.
set -e

[ "$1" = gateway-exporter ] || exit 0

gateway-exporter --version | grep -F "$2"

config="$(mktemp)"
trap 'rm -f "$config"' EXIT
cat >"$config" <<'YAML'
vici_socket: /var/run/charon.vici
openvpn:
  - status: '/var/run/openvpn.*.status'
sockets:
  - name: any
    status: listen
YAML
gateway-exporter --check-config --config.file="$config"

echo 'no_such_key: 1' >"$config"
if complaint="$(gateway-exporter --check-config --config.file="$config" 2>&1)"; then
	echo 'an unknown key is not refused'
	exit 1
fi
echo "$complaint" | grep -F no_such_key
