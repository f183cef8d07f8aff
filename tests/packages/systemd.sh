#!/bin/sh
# Installs the .deb into a minimal Debian that systemd-nspawn boots with systemd, and asks the service, reloads, restarts, upgrades,
# removes and purges it. The container has no network, and no procps.
set -eu
. tests/packages/check.sh

KEPT="${XDG_CACHE_HOME:-$HOME/.cache}/gateway-exporter/bookworm-systemd.tar"
REPLAY="${CARGO_TARGET_DIR:-target}/debug/examples/replay"
ROOT="$WORK/booted" LOG="$WORK/booted.log"
YAML=/etc/gateway-exporter.yaml KEY=/var/lib/gateway-exporter/identities.key

mkdir -p "$ROOT"
tar -xf "$KEPT" -C "$ROOT"
ln -s /dev/null "$ROOT/etc/systemd/system/systemd-firstboot.service"
# What the daemon reads: a charon that answers from a capture, and a status file that only root may read.
mkdir -p "$ROOT/opt/charon" "$ROOT/var/log/openvpn"
cp "$REPLAY" "$PACKAGE" "$ROOT/opt/"
cp -r fixtures/strongswan/two-children "$ROOT/opt/charon/"
cp fixtures/openvpn/version-2/status "$ROOT/var/log/openvpn/status-office.log"
chmod 600 "$ROOT/var/log/openvpn/status-office.log"

# In a PID namespace of the test's own: whatever happens, its end is the end of the container.
systemd-nspawn --quiet --directory="$ROOT" --boot --register=no --keep-unit --private-network --console=pipe \
    </dev/null >"$LOG" 2>&1 &
nspawn=$!

# inside COMMAND...: runs it in the container.
inside() {
    nsenter --target "$init" --all --root --wdns=/ env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
        DEBIAN_FRONTEND=noninteractive "$@"
}

# The container's systemd says that it is up, or `degraded` where a unit of Debian's failed.
booted() {
    init="$(ps -o pid= --ppid "$nspawn" | tr -d ' ')"
    [ -n "$init" ] && case "$(inside systemctl is-system-running 2>/dev/null)" in
        running | degraded) ;;
        *) return 1 ;;
    esac
}

for _ in $(seq 600); do
    ! booted || break
    kill -0 "$nspawn" 2>/dev/null || break
    sleep 0.2
done
booted || {
    echo "SKIPPED: systemd-nspawn can't boot a container here: $(tail -n 3 "$LOG")" >&2
    [ -z "${CI-}" ]
    exit
}

# get PATH: an answer of the service, by bash, since the minimal system has no client.
get() {
    # shellcheck disable=SC2016 # for the inner shell
    inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/9234 && printf "GET $0 HTTP/1.0\r\n\r\n" >&3 && cat <&3' "$1"
}

answers() {
    get /metrics >"$WORK/answer" && grep -q "$1" "$WORK/answer"
}

property() {
    inside systemctl show --property "$1" --value gateway-exporter
}

state() {
    echo "$(inside systemctl is-enabled gateway-exporter 2>/dev/null) $(inside systemctl is-active gateway-exporter)"
}

install_package() {
    inside dpkg --install "/opt/${PACKAGE##*/}" >"$WORK/dpkg.log" 2>&1 || fail "$(cat "$WORK/dpkg.log")"
}

journal() {
    inside journalctl --no-pager --unit gateway-exporter --output cat
}

[ -z "$(inside bash -c 'command -v ps pgrep; ls /bin/kill 2>/dev/null')" ] || fail 'the root is not minimal: it has procps'
inside systemd-run --quiet --unit=charon /opt/replay /run/charon.vici /opt/charon/two-children
eventually 'charon' inside test -S /run/charon.vici
inside chmod 700 /run/charon.vici
install_package
same 'after installation' 'enabled active' "$(state)"
same 'the configuration' '640 root gateway-exporter' "$(inside stat -c '%a %U %G' $YAML)"
eventually 'the service answers' answers '^gateway_exporter_build_info'
for collector in strongswan openvpn; do
    eventually "$collector" answers "^gateway_exporter_target_up{collector=\"$collector\".* 1\$"
done
same 'the user and its one capability' '0000000000000002 0000000000000002 gateway-exporter' "$(
    pid="$(property MainPID)"
    inside sed -n 's/^Cap\(Eff\|Bnd\):\t//p' "/proc/$pid/status" | tr '\n' ' '
    inside stat -c %U "/proc/$pid"
)"
ok 'installed, the unit starts in its sandbox and reads what only root may'

inside systemd-analyze verify --man=no /usr/lib/systemd/system/gateway-exporter.service >"$WORK/verify" 2>&1 ||
    fail "systemd-analyze verify: $(cat "$WORK/verify")"
same 'systemd-analyze verify' '' "$(cat "$WORK/verify")"
inside systemd-analyze security --threshold=15 gateway-exporter >"$WORK/security" || fail "$(tail -n 1 "$WORK/security")"
ok "systemd-analyze: $(tail -n 1 "$WORK/security" | grep -o '[0-9]\.[0-9]')"

pid="$(property MainPID)"
same 'names as they are' 0 "$(grep -c 'client="[0-9a-f]\{16\}_udp"' "$WORK/answer" || true)"
printf 'server_name: moved\nidentities: hashed\nidentities_key_file: %s\nopenvpn:\n  - status: /var/log/openvpn/status-office.log\n' \
    $KEY >"$ROOT$YAML"
inside systemctl reload gateway-exporter
eventually 'the file was read again' answers 'client="[0-9a-f]\{16\}_udp"'
same 'a reload is no restart' "$pid" "$(property MainPID)"
same 'the key' '600 gateway-exporter 33' "$(inside stat -c '%a %U %s' $KEY)"
! answers 'collector="strongswan"' || fail 'a source that is no longer named is still watched'
names="$(grep -o 'client="[^"]*"' "$WORK/answer" | sort -u)"
ok 'a reload reads the file again, and the key of hashed names is in the state directory'

cp "$ROOT$YAML" "$WORK/good.yaml"
echo 'no_such_key: 1' >>"$ROOT$YAML"
! inside systemctl reload gateway-exporter 2>/dev/null || fail 'a bad file is reloaded'
journal | grep -q 'no_such_key' || fail "the reason is not in the journal: $(journal)"
same 'the daemon goes on' "enabled active $pid" "$(state) $(property MainPID)"
answers 'client="[0-9a-f]\{16\}_udp"' || fail 'the daemon lost what it had'
cp "$WORK/good.yaml" "$ROOT$YAML"
inside systemctl reload gateway-exporter
ok 'a reload of a bad file fails, with the reason in the journal, and nothing changes'

inside systemctl restart gateway-exporter
eventually 'the names after a restart' answers 'client="[0-9a-f]\{16\}_udp"'
same 'names keep their hashes over a restart' "$names" "$(grep -o 'client="[^"]*"' "$WORK/answer" | sort -u)"
ok 'a restart keeps the key'

pid="$(property MainPID)"
install_package
same 'after an upgrade' 'enabled active' "$(state)"
[ "$(property MainPID)" != "$pid" ] || fail 'an upgrade leaves the old daemon running'
cmp -s "$WORK/good.yaml" "$ROOT$YAML" || fail 'an upgrade changes the configuration'
inside systemctl disable --quiet --now gateway-exporter
install_package
same 'a disabled one after an upgrade' 'disabled inactive' "$(state)"
inside systemctl enable --quiet --now gateway-exporter
ok 'an upgrade restarts the daemon, and keeps the configuration and whether it is enabled'

inside dpkg --remove gateway-exporter >/dev/null 2>&1
same 'no process is left' '' "$(inside bash -c 'cat /proc/[0-9]*/comm' | grep gateway || true)"
[ -e "$ROOT$YAML" ] || fail 'removal takes the configuration'
install_package
same 'removed and installed again' 'enabled active' "$(state)"
inside systemctl disable --quiet --now gateway-exporter
inside dpkg --remove gateway-exporter >/dev/null 2>&1
install_package
same 'what was disabled stays so over a removal' 'disabled inactive' "$(state)"
ok 'removed and installed again it is as before'

inside dpkg --purge gateway-exporter >/dev/null 2>&1
same 'what purging leaves' '' "$(inside find / -xdev -name '*gateway-exporter*' ! -path '/opt/*')"
ok 'purging leaves nothing'

kill "$nspawn"
wait "$nspawn" || true
