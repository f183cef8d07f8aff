#!/usr/bin/env bash
# Serves demo data on :9234 until it is interrupted: a capture of a real charon, this machine's real sockets, and an ipsec and two
# OpenVPN servers that move. Of every two minutes the tunnel branch-b is down for the second, and the server demo-tcp is
# dead for the last half minute. charon lacks a plugin, and one of its certificates ends in twelve days.
set -euo pipefail
cd "$(dirname "$0")/../.."

listen=${LISTEN:-:9234}
address=$listen
case $address in :*) address=localhost$address ;; esac

scratch=$(mktemp -d -t gateway-demo.XXX)
trap 'kill "${charon:-}" "${exporter:-}" "${life:-}" 2>/dev/null || true; wait; rm -rf "$scratch"' EXIT
trap 'exit 0' INT TERM

cp -r fixtures/strongswan/inside "$scratch/charon"
rm "$scratch"/charon/get-counters*
ends=$(date -u -d '12 days' +%y%m%d%H%M%SZ)
LC_ALL=C sed -i "s/271120174239Z/$ends/" "$scratch/charon/list-certs.vici"
target/release/examples/replay "$scratch/charon.vici" "$scratch/charon" &
charon=$!
until [ -S "$scratch/charon.vici" ]; do sleep 0.05; done

cat > "$scratch/ipsec.conf" <<CONF
conn branch-a
    left=198.51.100.1
    right=192.0.2.2
    auto=start
conn branch-b
    left=198.51.100.1
    right=192.0.2.6
    auto=start
CONF

# tunnel NAME PEER NUMBER BYTES
tunnel() {
    printf '    %s[%s]: ESTABLISHED 2 minutes ago, 198.51.100.1[gw]...%s[%s]\n' "$1" "$3" "$2" "$1"
    printf '    %s{%s}:  INSTALLED, TUNNEL, reqid %s, ESP SPIs: c000000%s_i c000010%s_o\n' "$1" "$3" "$3" "$3" "$3"
    printf '    %s{%s}:  AES_CBC_128/HMAC_SHA2_256_128, %s bytes_i (%s pkts, 1s ago), %s bytes_o (%s pkts, 1s ago), rekeying in 40 minutes\n' \
        "$1" "$3" "$4" $(($4 / 900)) $(($4 / 7)) $(($4 / 5000))
    printf '    %s{%s}:   10.0.0.0/24 === 10.%s.0.0/24\n' "$1" "$3" "$3"
}

# put FILE: replaces it in one step.
put() {
    cat > "$1.new"
    mv "$1.new" "$1"
}

# since SECONDS: the time so many seconds before the demo began, as OpenVPN writes it.
since() {
    printf '%s\t%s' "$(date -d "@$((now - second - $1))" '+%F %T')" $((now - second - $1))
}

# moment SECOND: what ipsec and the OpenVPN servers say then.
moment() {
    local second=$1 now up=2
    now=$(date +%s)
    [ $((second % 120)) -lt 60 ] || up=1
    {
        echo 'Status of IKE charon daemon (strongSwan 5.9.8, Linux 6.1.0, x86_64):'
        echo "Security Associations ($up up, 0 connecting):"
        tunnel branch-a 192.0.2.2 1 $((second * 1250000))
        [ $up = 1 ] || tunnel branch-b 192.0.2.6 2 $((second * 90000))
    } | put "$scratch/statusall"
    for server in udp tcp; do
        [ "$server" = udp ] || [ $((second % 120)) -lt 90 ] || continue
        {
            printf 'TITLE\tOpenVPN 2.6.14 x86_64-pc-linux-gnu\nTIME\t%s\t%s\n' "$(date -d "@$now" '+%F %T')" "$now"
            printf 'HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tBytes Received\tBytes Sent\tConnected Since\tConnected Since (time_t)\n'
            printf 'CLIENT_LIST\t%s\t%s\t%s\t%s\t%s\t%s\n' \
                "anna-$server" 203.0.113.7:41194 10.8.0.2 $((second * 41000)) $((second * 350000)) "$(since 273840)" \
                "ben-$server" 203.0.113.8:50222 10.8.0.3 $((second * 7000)) $((second * 9000)) "$(since 5400)"
            printf 'END\n'
        } | put "$scratch/$server.status"
    done
}

moment 1
for ((second = 2; ; second++)); do sleep 1; moment $second; done &
life=$!

cat > "$scratch/demo.yaml" <<YAML
server_name: demo-gateway
vici_socket: $scratch/charon.vici
ipsec_config: $scratch/ipsec.conf
ipsec_command: [cat, $scratch/statusall]
openvpn:
  - {name: demo-udp, status: $scratch/udp.status, protocol: udp, stale_after: 10}
  - {name: demo-tcp, status: $scratch/tcp.status, protocol: tcp, stale_after: 10}
sockets:
  - {name: this exporter, port: ${address##*:}, protocol: tcp, status: listen}
  - {name: nobody listens here, port: 9, protocol: tcp, status: listen}
YAML

target/release/gateway-exporter --config.file="$scratch/demo.yaml" --web.listen-address="$listen" &
exporter=$!
cat <<TEXT

  http://$address/          what is up and what is down
  http://$address/static    the sessions
  http://$address/metrics   for Prometheus
  target/release/gateway-exporter status --web.listen-address=$listen

  Ctrl-C ends it.

TEXT
wait "$exporter"
