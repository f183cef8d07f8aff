#!/usr/bin/env bash
# Serves demo data on :9234 until it is interrupted: captures of real daemons, and this machine's real sockets.
set -euo pipefail
cd "$(dirname "$0")/../.."

listen=${LISTEN:-:9234}
address=$listen
case $address in :*) address=localhost$address ;; esac

scratch=$(mktemp -d)
trap 'kill "${charon:-}" "${exporter:-}" 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT
trap 'exit 0' INT TERM

target/release/examples/replay "$scratch/charon.vici" fixtures/strongswan/same-identity-twice &
charon=$!
until [ -S "$scratch/charon.vici" ]; do sleep 0.05; done

cat > "$scratch/demo.yaml" <<YAML
server_name: demo-gateway
vici_socket: $scratch/charon.vici
ipsec_config: fixtures/ipsec/eap-users/ipsec.conf
ipsec_command: [cat, fixtures/ipsec/eap-users/statusall]
# The captures are old; they shall not count as stale.
openvpn:
  - {name: demo-udp, status: fixtures/openvpn/awkward-names/status, protocol: udp, stale_after: 4000000000}
  - {name: demo-tcp, status: fixtures/openvpn/tcp-server/status, protocol: tcp, stale_after: 4000000000}
sockets:
  - {name: this exporter, port: ${address##*:}, protocol: tcp, status: listen}
  - {name: nobody listens here, port: 9, protocol: tcp, status: listen}
YAML

target/release/gateway-exporter --config.file="$scratch/demo.yaml" --web.listen-address="$listen" &
exporter=$!
cat <<TEXT

  http://$address/          what is watched
  http://$address/static    the sessions
  http://$address/metrics   for Prometheus

  Ctrl-C ends it.

TEXT
wait "$exporter"
