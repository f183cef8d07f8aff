#!/bin/sh
# Builds the image of contrib/container and runs it as docs/install.md says: as nobody, and with the sockets and status files of the
# VPN daemons mounted.
set -eu
. tests/packages/check.sh

REPLAY="${CARGO_TARGET_DIR:-target}/debug/examples/replay"
ip link set lo up

# Limits of its own, since not every machine's root may raise them; no timers for health checks, which systemd would run.
ENGINE="podman --runtime runc --cgroup-manager cgroupfs --storage-driver vfs --root $WORK/podman/root --runroot $WORK/podman/run"
export ENGINE

engine() {
    # shellcheck disable=SC2086 # the engine and its flags
    $ENGINE "$@"
}

run() {
    engine run --detach --no-healthcheck --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network host "$@" >"$WORK/said" 2>&1
}

metrics() {
    busybox wget -q -O "$WORK/answer" http://127.0.0.1:9234/metrics && grep -q "$1" "$WORK/answer"
}

contrib/container/build.sh x86_64 >"$WORK/said" 2>&1 ||
    fail "the image: $(tail -n 5 "$WORK/said")"
engine image inspect --format '{{.Config.User}} {{range .Config.Healthcheck.Test}}{{.}} {{end}}' gateway-exporter >"$WORK/said"
health="$(sed -n 's/^65534:65534 CMD \(.*[^ ]\) *$/\1/p' "$WORK/said")"
[ -n "$health" ] || fail "no user or health check: $(cat "$WORK/said")"
ok 'the image is built, for an ordinary user and with a health check'

run --name plain --read-only gateway-exporter || {
    echo "SKIPPED: containers can't be run here: $(tail -n 1 "$WORK/said")" >&2
    [ -z "${CI-}" ]
    exit
}
eventually 'the container answers' metrics '^gateway_exporter_build_info'
pid="$(engine inspect --format '{{.State.Pid}}' plain)"
same 'an ordinary user without capabilities' '65534 0000000000000000' \
    "$(awk '/^Uid:/ { printf "%s ", $2 } /^CapEff:/ { print $2 }' "/proc/$pid/status")"
engine stop --time 5 plain >/dev/null 2>&1
same 'it ends by itself' 0 "$(engine inspect --format '{{.State.ExitCode}}' plain)"
ok 'it runs as nobody, without capabilities, in a file system that it can only read'

# What belongs to root and is closed to others, in folders, since sockets and files are made anew.
vpn="$WORK/vpn"
mkdir -p "$vpn/strongswan" "$vpn/openvpn"
"$REPLAY" "$vpn/strongswan/charon.vici" fixtures/strongswan/two-children &
charon=$!
cp fixtures/openvpn/version-2/status "$vpn/openvpn/status-office.log"
chmod 600 "$vpn/openvpn/status-office.log"
eventually 'charon' test -S "$vpn/strongswan/charon.vici"
chmod 700 "$vpn/strongswan/charon.vici"
cat >"$vpn/gateway-exporter.yaml" <<'YAML'
vici_socket: /run/strongswan/charon.vici
openvpn:
  - status: /var/log/openvpn/status-office.log
    # The capture is of a day of its own.
    stale_after: 36500d
web:
  listen: ["127.0.0.1:9234"]
YAML
run --name mounted --read-only --user 0:0 --cap-drop all --cap-add dac_override --security-opt no-new-privileges \
    --volume "$vpn/gateway-exporter.yaml:/etc/gateway-exporter.yaml:ro" --volume "$vpn/strongswan:/run/strongswan:ro" \
    --volume "$vpn/openvpn:/var/log/openvpn:ro" gateway-exporter || fail "$(cat "$WORK/said")"
for collector in strongswan openvpn; do
    eventually "$collector" metrics "^gateway_exporter_target_up{collector=\"$collector\".* 1\$"
done
ok 'with one capability it reads what is mounted and only root may read'

# shellcheck disable=SC2086 # the command's words
engine exec mounted $health || fail "unhealthy: $(engine exec mounted ${health%% *} status)"
kill "$charon"
# shellcheck disable=SC2086 # the command's words
! engine exec mounted $health || fail 'healthy without charon'
engine stop --time 5 mounted >/dev/null 2>&1
ok 'its health check says whether something is down'
