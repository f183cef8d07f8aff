#!/bin/sh
# Installs the .ipk into a root that has what OpenWrt offers to a package: busybox, and stand-ins for UCI and procd.
# Starts the init script with several configurations; the daemon runs in the jail that it asks for, and is asked.
set -eu
. tests/packages/check.sh

ROOT="$WORK/openwrt" JAIL="$WORK/jail"
INIT=/etc/init.d/gateway-exporter UCI=/etc/config/gateway-exporter YAML=/var/etc/gateway-exporter.yaml
REPLAY="${CARGO_TARGET_DIR:-target}/debug/examples/replay"
ADDRESS=192.0.2.1

ip link set lo up
ip address add "$ADDRESS/32" dev lo

make_root() {
    for folder in bin sbin usr/bin usr/sbin usr/lib etc/init.d etc/rc.d etc/config lib/functions tmp proc dev; do
        mkdir -p "$ROOT/$folder"
    done
    mkdir -p "$ROOT/tmp/run" "$ROOT/tmp/etc"
    ln -s tmp "$ROOT/var"
    cp "$(command -v busybox)" "$ROOT/bin/busybox"
    chroot "$ROOT" /bin/busybox --install -s
    rm -f "$ROOT/usr/bin/logger"
    # shellcheck disable=SC2016 # for the script
    printf '#!/bin/sh\nfor word; do :; done\necho "$word" >>/tmp/log\n' >"$ROOT/usr/bin/logger"
    chmod 755 "$ROOT/usr/bin/logger"
    : >"$ROOT/tmp/addresses"
    install -m 755 tests/packages/openwrt/rc.common "$ROOT/etc/rc.common"
    install -m 755 tests/packages/openwrt/opkg "$ROOT/bin/opkg"
    install -m 644 tests/packages/openwrt/functions.sh "$ROOT/lib/functions.sh"
    install -m 644 tests/packages/openwrt/network.sh "$ROOT/lib/functions/network.sh"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$ROOT/etc/passwd"
    echo 'root:x:0:' >"$ROOT/etc/group"
    echo 'CET-1CEST,M3.5.0,M10.5.0/3' >"$ROOT/tmp/TZ"
    mknod -m 666 "$ROOT/dev/null" c 1 3
    mknod -m 666 "$ROOT/dev/urandom" c 1 9
}

in_root() {
    chroot "$ROOT" /bin/sh "$@"
}

# start: what procd is told, what is logged, and the exit status of the init script.
start() {
    rm -f "$ROOT$YAML" "$ROOT/tmp/log" "$ROOT/tmp/procd"
    status=0
    in_root /etc/rc.common "$INIT" start || status=$?
    touch "$ROOT/tmp/log"
}

told() {
    grep "^$1" "$ROOT/tmp/procd" || true
}

yaml() {
    sed 1d "$ROOT$YAML"
}

installed() {
    for path in "$@"; do
        mkdir -p "$ROOT${path%/*}"
        [ -e "$ROOT$path" ] || { printf '#!/bin/sh\n' >"$ROOT$path" && chmod 755 "$ROOT$path"; }
    done
}

# serve: runs what procd was told to run, in the jail that it was told of, and leaves its answer in $WORK/answer.
serve() {
    credentials="${1:+$1@}"
    mkdir -p "$JAIL"
    mount -t tmpfs none "$JAIL"
    for path in /usr/bin/gateway-exporter $(told mount | cut -d ' ' -f 2); do
        if [ -d "$ROOT$path" ]; then
            mkdir -p "$JAIL$path"
        elif [ -e "$ROOT$path" ]; then
            mkdir -p "$JAIL${path%/*}"
            touch "$JAIL$path"
        else
            continue
        fi
        mount --bind "$ROOT$path" "$JAIL$path"
        mount -o remount,bind,ro "$JAIL$path"
    done
    mkdir -p "$JAIL/proc" "$JAIL/dev"
    mknod -m 666 "$JAIL/dev/null" c 1 3
    mount --bind /proc "$JAIL/proc"
    mount -o remount,ro "$JAIL"
    user="$(told user | cut -d ' ' -f 2)"
    # shellcheck disable=SC2046 # the command's words
    setpriv --no-new-privs chroot ${user:+--userspec=32768:32768} "$JAIL" $(told command | cut -d ' ' -f 2-) \
        $(told 'append command' | cut -d ' ' -f 3-) \
        2>"$WORK/serve.log" &
    daemon=$!
    eventually "the daemon in its jail" busybox wget -q -O "$WORK/answer" "http://$credentials$ADDRESS:9234/metrics"
    kill -TERM "$daemon"
    wait "$daemon" || fail "exit status $? after SIGTERM: $(cat "$WORK/serve.log")"
    umount --lazy "$JAIL"
}

# collector SOURCE: whether it could be read.
collector() {
    ! grep "^gateway_exporter_target_up{collector=\"$1\"" "$WORK/answer" | grep -qv ' 1$' ||
        fail "$1: $(grep "collector=\"$1\"" "$WORK/answer"; cat "$WORK/serve.log")"
    grep -q "^gateway_exporter_target_up{collector=\"$1\"" "$WORK/answer" || fail "$1 is not watched"
}

echo 'note: Debian 12, PyPI and npm have neither opkg nor apk-tools: a stand-in of ours installs, and no .apk is made'
make_root
cp "dist/gateway-exporter_$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-r1_x86_64.ipk" "$ROOT/tmp/package.ipk"
in_root /bin/opkg install /tmp/package.ipk
found="$(cd "$ROOT" && stat -c '%a %U:%G %n' usr/bin/gateway-exporter .$INIT .$UCI lib/upgrade/keep.d/gateway-exporter)"
same 'files and modes' "755 root:root usr/bin/gateway-exporter
755 root:root .$INIT
600 root:root .$UCI
644 root:root lib/upgrade/keep.d/gateway-exporter" "$found"
[ -L "$ROOT/etc/rc.d/S95gateway-exporter" ] || fail 'the service is not enabled'
grep -q '^gateway-exporter:' "$ROOT/etc/passwd" || fail 'there is no user'
same 'conffiles' "$UCI" "$(cat "$ROOT/usr/lib/opkg/info/gateway-exporter.conffiles")"
chroot "$ROOT" /usr/bin/gateway-exporter --version >/dev/null
ok 'the package installs'

start
same 'no address, no start' 'the interface to listen on has no address yet' "$(cat "$ROOT/tmp/log")"
same 'it starts when there is one' 'reload on gateway-exporter
reload on interface lan' "$(cat "$ROOT/tmp/procd")"
printf '%s\n' "lan 4 $ADDRESS" 'lan 6 2001:db8::1' 'guest 6 2001:db8::2' >"$ROOT/tmp/addresses"
start
same 'nothing installed, no start' 'reload on' "$(cut -c 1-9 "$ROOT/tmp/procd" | sort -u)"
ok 'as shipped, it waits for the interface and for something to watch'

installed /usr/lib/ipsec/plugins/libstrongswan-vici.so /usr/sbin/ipsec /usr/sbin/openvpn
start
same 'strongSwan and OpenVPN' "vici_socket: '/var/run/charon.vici'
openvpn:
  - status: '/var/run/openvpn.*.status'" "$(yaml)"
same 'the command' "command /usr/bin/gateway-exporter --web.listen-address=$ADDRESS:9234 --web.telemetry-path=/metrics --config.file=$YAML" \
    "$(told command)"
same 'what the jail shows' '/etc/localtime /var/etc/gateway-exporter.yaml /var/run' "$(told mount | cut -d ' ' -f 2 | tr '\n' ' ' | sed 's/ $//')"
same 'no more rights' 'no_new_privs 1' "$(told no_new_privs)"
same 'the zone' 'env TZ=CET-1CEST,M3.5.0,M10.5.0/3' "$(told env)"
same 'root, since the sources are' '' "$(told user)"
same 'the mode of the configuration' 600 "$(stat -c %a "$ROOT$YAML")"
"$REPLAY" "$ROOT/tmp/run/charon.vici" fixtures/strongswan/two-children &
cp fixtures/openvpn/version-3/status "$ROOT/tmp/run/openvpn.office.status"
chmod 600 "$ROOT/tmp/run/openvpn.office.status"
eventually 'charon' test -S "$ROOT/tmp/run/charon.vici"
serve
collector strongswan
collector openvpn
ok 'strongSwan and OpenVPN are read from the jail'

rm "$ROOT/usr/lib/ipsec/plugins/libstrongswan-vici.so" "$ROOT/usr/sbin/openvpn"
# shellcheck disable=SC2016 # for the script
printf '#!/bin/sh\n[ "$1" = statusall ] && cat /usr/lib/ipsec/statusall\n' >"$ROOT/usr/sbin/ipsec"
cp fixtures/ipsec/two-children/ipsec.conf "$ROOT/etc/ipsec.conf"
cp fixtures/ipsec/two-children/statusall "$ROOT/usr/lib/ipsec/statusall"
start
same 'ipsec alone' "ipsec_config: '/etc/ipsec.conf'" "$(yaml)"
serve
collector ipsec
ok 'strongSwan without VICI is asked through ipsec, from the jail'

cat >"$ROOT$UCI" <<'UCI'
config gateway-exporter 'main'
	option ipsec '0'
config socket 'dns'
	option port '53'
	option status 'listen'
config socket
	option name 'far side'
	option protocol 'tcp'
	option dstHost '198.51.100.7'
	option dstPort '443'
	option status 'established'
UCI
start
same 'rules' "sockets:
  - name: 'dns'
    port: '53'
    status: 'listen'
  - name: 'far side'
    dstHost: '198.51.100.7'
    dstPort: '443'
    protocol: 'tcp'
    status: 'established'" "$(yaml)"
same 'an ordinary user' 'user gateway-exporter' "$(told user)"
same 'whose configuration it is' '32768 600' "$(stat -c '%u %a' "$ROOT$YAML")"
serve
collector sockets
ok 'sockets alone are watched by an ordinary user'

cp "$ROOT$UCI" "$WORK/sockets"
cat >"$ROOT$UCI" <<'UCI'
config gateway-exporter 'main'
	option ipsec '0'
	option wireguard '1'
config peer 'office'
	option public_key 'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo='
	option name 'office'
	option expected '1'
config peer
	option public_key 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE='
UCI
start
same 'WireGuard' "wireguard:
  interfaces:
  - '*'
  peers:
    - public_key: 'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo='
      name: 'office'
      expected: 'true'
    - public_key: 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE='" "$(yaml)"
same 'root, who may ask the kernel' '' "$(told user)"
serve
ok 'WireGuard is watched by root in a jail'
mv "$WORK/sockets" "$ROOT$UCI"

# Where such a file is root's, nobody else gets at it.
printf "basic_auth_users: {ann: '%s'}\n" "$(echo secret | "$ROOT/usr/bin/gateway-exporter" --hash-password)" >"$ROOT/etc/users.yaml"
chmod 600 "$ROOT/etc/users.yaml"
cp "$ROOT$UCI" "$WORK/uci"
for option in "web_config_file '/etc/users.yaml'" "identities_key_file '/etc/exporter.key'"; do
    { cat "$WORK/uci" && printf "config gateway-exporter 'main'\n\toption ipsec '0'\n\toption %s\n" "$option"; } >"$ROOT$UCI"
    login=ann:secret
    case "$option" in identities*) login='' && printf "\toption identities 'hashed'\n" >>"$ROOT$UCI" ;; esac
    start
    same "root, since that may be root's: $option" '' "$(told user)"
    same 'in a jail all the same' 'jail gateway-exporter procfs ronly' "$(told jail)"
    serve "$login"
    collector sockets
done
rm "$ROOT/etc/users.yaml" "$ROOT/etc/exporter.key"
cp "$WORK/uci" "$ROOT$UCI"
ok 'files of users and keys are read, whose ever they are'

cat >"$ROOT$UCI" <<'UCI'
config gateway-exporter 'main'
	option ipsec '0'
config socket 'both'
	option srcHost '192.0.2.1'
	option srcPort '1194'
	option dstHost '198.51.100.7'
	option dstPort '443'
	option status 'established'
UCI
start
same "the keys' other names" "sockets:
  - name: 'both'
    srcHost: '192.0.2.1'
    srcPort: '1194'
    dstHost: '198.51.100.7'
    dstPort: '443'
    status: 'established'" "$(yaml)"
same 'started' 0 "$status"

for option in process processName; do
    { cat "$WORK/uci" && printf "config socket 'web'\n\toption %s 'uhttpd'\n" "$option"; } >"$ROOT$UCI"
    start
    same 'the name of a process' "    $option: 'uhttpd'" "$(yaml | tail -n 1)"
    same 'names of processes need root and no jail' '' "$(told user)$(told jail)"
    same 'still no more rights' 'no_new_privs 1' "$(told no_new_privs)"
done

echo secret >"$ROOT/etc/branch.pw"
cat >"$ROOT$UCI" <<'UCI'
config gateway-exporter 'main'
	option listen_interface 'guest'
	option listen_port '9999'
	option server_name "it's # a: \"name\""
	option vici_socket 'tcp://127.0.0.1:4502'
	option openvpn '1'
	option ovpntcpstatus '/tmp/status/tcp.status'
	option ipsec_config '/etc/ipsec-two.conf'
	list ipsec_command 'ipsec'
	list ipsec_command "two words: it's"
	option web_telemetry_path '/vpn'
	option web_config_file '/etc/users.yaml'
	option web_sessions 'false'
	list web_allow '192.0.2.0/24'
	list web_allow '::1'
	list web_hosts 'router.lan'
	list metrics_without 'sas'
	option metrics_max_clients '50'
	option max_series '20000'
	option identities 'hashed'
	option identities_key_file '/etc/exporter.key'
	option debug '1'
config openvpn 'office'
config openvpn
	option name 'home - [x]'
	option status '/mnt/a b/*.status'
	option protocol 'udp'
	option stale_after '60'
config openvpn 'branch'
	option management '/tmp/run/management/branch.sock'
	option management_password_file '/etc/branch.pw'
UCI
start
same 'awkward values' "vici_socket: 'tcp://127.0.0.1:4502'
ipsec_config: '/etc/ipsec-two.conf'
ipsec_command:
  - 'ipsec'
  - 'two words: it''s'
ovpntcpstatus: '/tmp/status/tcp.status'
openvpn:
  - status: '/var/run/openvpn.office.status'
  - status: '/mnt/a b/*.status'
    name: 'home - [x]'
    protocol: 'udp'
    stale_after: '60'
  - status: '/var/run/openvpn.branch.status'
    management: '/tmp/run/management/branch.sock'
    management_password_file: '/etc/branch.pw'
server_name: 'it''s # a: \"name\"'
max_series: '20000'
identities: 'hashed'
identities_key_file: '/etc/exporter.key'
metrics:
  max_clients: '50'
  without:
  - 'sas'
web:
  sessions: 'false'
  allow:
  - '192.0.2.0/24'
  - '::1'
  hosts:
  - 'router.lan'" "$(yaml)"
same 'the key' '600 32' "$(stat -c '%a ' "$ROOT/etc/exporter.key")$(wc -c <"$ROOT/etc/exporter.key")"
same 'what the jail shows of them' '/etc/branch.pw /etc/exporter.key /etc/users.yaml /tmp/run/management' \
    "$(told mount | cut -d ' ' -f 2 | grep -E 'key$|users|branch.pw|management' | tr '\n' ' ' | sed 's/ $//')"
same 'IPv6, path' '--web.listen-address=[2001:db8::2]:9999 --web.telemetry-path=/vpn' "$(told command | cut -d ' ' -f 3,4)"
same 'users, debug' 'append command --web.config.file=/etc/users.yaml
append command --debug' "$(told append)"
same 'started' 0 "$status"

cat >"$ROOT$UCI" <<'UCI'
config gateway-exporter 'main'
	option listen_interface '*'
	option openvpn '0'
	option ipsec '0'
	option server_name 'first
vici_socket: /injected'
config socket 'bad'
	option port 'http'
UCI
start
same 'refused' 1 "$status"
grep -q '^not started: .*sockets\[0\].port: "http" is not a port' "$ROOT/tmp/log" || fail "the reason: $(cat "$ROOT/tmp/log")"
same 'nothing is started' '' "$(told instance)"
sed -i 's/http/80/' "$ROOT$UCI"
start
same 'a value that goes on does not become a key' 'sockets' \
    "$(chroot "$ROOT" /usr/bin/gateway-exporter --check-config --config.file="$YAML" 2>&1 | sed -n 's/.*watching \([a-z]*\):.*/\1/p')"
same 'every address' '--web.listen-address=:9234' "$(told command | cut -d ' ' -f 3)"

printf "config gateway-exporter 'main'\n\toption config_file '/etc/own.yaml'\n\toption web_listen_address '127.0.0.1:1'\n" >"$ROOT$UCI"
echo 'vici_socket: /elsewhere' >"$ROOT/etc/own.yaml"
start
same "a file of one's own" '--web.listen-address=127.0.0.1:1 --config.file=/etc/own.yaml' "$(told command | cut -d ' ' -f 3,5)"
same 'nothing is known of what it needs' '' "$(told jail)"

# As shipped, with what stands behind a # but a file of one's own.
mkdir -p "$ROOT/etc/openvpn"
echo secret >"$ROOT/etc/openvpn/office.pw"
sed '/option config_file/!s/^\(\t\{0,1\}\)#\([a-z]\|\t\)/\1\2/' \
    openwrt/files/gateway-exporter.config >"$ROOT$UCI"
start
[ "$status" = 0 ] || fail "the examples that are shipped: $(cat "$ROOT/tmp/log")"
same 'and the address is used' '--web.listen-address=127.0.0.1:9234' "$(told command | cut -d ' ' -f 3)"
rm -f "$ROOT/etc/gateway-exporter.key"

printf "config gateway-exporter 'main'\n\toption enabled '0'\n" >"$ROOT$UCI"
start
same 'off' '' "$(told instance)"
ok 'options become flags and YAML, and bad ones are refused with their reason'

in_root /bin/opkg install /tmp/package.ipk
same 'an upgrade keeps the configuration' "$(printf "config gateway-exporter 'main'\n\toption enabled '0'")" "$(cat "$ROOT$UCI")"
in_root /bin/opkg remove gateway-exporter
[ -e "$ROOT$UCI" ] || fail 'removal took the configuration that was changed'
same 'what removal leaves' "$ROOT$UCI
$ROOT$UCI-opkg" "$(find "$ROOT" -name '*gateway-exporter*' ! -path '*/var/etc/*' ! -path '*/tmp/etc/*' | sort)"
ok 'removal leaves the configuration and nothing else'
