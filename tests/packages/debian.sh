#!/bin/sh
# Installs the .deb into a root made by debootstrap, runs the service's command as its user with the one capability that
# the unit leaves it, and removes the package. The root is kept for the next run.
set -eu
. tests/packages/check.sh

KEPT="${XDG_CACHE_HOME:-$HOME/.cache}/gateway-exporter/bookworm-systemd.tar"
REPLAY="${CARGO_TARGET_DIR:-target}/debug/examples/replay"
ROOT="$WORK/debian"
mkdir -p "$ROOT"
tar -xf "$KEPT" -C "$ROOT"
mount --bind /proc "$ROOT/proc"
ip link set lo up

export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive
in_root() {
    chroot "$ROOT" "$@"
}

modes() {
    (cd "$ROOT" && stat -c '%a %U %n' "$@")
}

# serve: what the unit's command answers, as the unit's user.
serve() {
    words="$(sed -n 's/^ExecStart=//p' "$ROOT/usr/lib/systemd/system/gateway-exporter.service")"
    flags="$(sed -n 's/^GATEWAY_EXPORTER_FLAGS="\(.*\)"$/\1/p' "$ROOT/etc/default/gateway-exporter")"
    # shellcheck disable=SC2016 # a variable of the unit
    words="${words%'$GATEWAY_EXPORTER_FLAGS'}$flags"
    # shellcheck disable=SC2086 # the command's words
    chroot "$ROOT" setpriv --reuid gateway-exporter --regid gateway-exporter --clear-groups --no-new-privs \
        --bounding-set -all,+dac_override --inh-caps -all,+dac_override --ambient-caps -all,+dac_override \
        $words 2>"$WORK/debian.log" &
    daemon=$!
    eventually 'the service answers' busybox wget -q -O "$WORK/answer" http://127.0.0.1:9234/metrics
    kill -TERM "$daemon"
    wait "$daemon" || fail "exit status $? after SIGTERM: $(cat "$WORK/debian.log")"
}

cp "$PACKAGE" "$ROOT/tmp/package.deb"
in_root dpkg --install /tmp/package.deb >/dev/null
same 'files and modes' '755 root usr/bin/gateway-exporter
640 root etc/gateway-exporter.yaml
644 root etc/default/gateway-exporter
644 root usr/lib/systemd/system/gateway-exporter.service
644 root usr/share/bash-completion/completions/gateway-exporter
644 root usr/share/zsh/vendor-completions/_gateway-exporter
644 root usr/share/fish/vendor_completions.d/gateway-exporter.fish' "$(modes usr/bin/gateway-exporter etc/gateway-exporter.yaml \
    etc/default/gateway-exporter usr/lib/systemd/system/gateway-exporter.service \
    usr/share/bash-completion/completions/gateway-exporter usr/share/zsh/vendor-completions/_gateway-exporter \
    usr/share/fish/vendor_completions.d/gateway-exporter.fish)"
same 'the group of the configuration' gateway-exporter "$(in_root stat -c %G /etc/gateway-exporter.yaml)"
# shellcheck disable=SC2016 # a variable of dpkg
same 'conffiles' '/etc/default/gateway-exporter
/etc/gateway-exporter.yaml' "$(in_root dpkg-query -W -f '${Conffiles}' gateway-exporter | awk 'NF { print $1 }')"
same 'the user' '/nonexistent /usr/sbin/nologin' "$(in_root getent passwd gateway-exporter | cut -d : -f 6,7 | tr : ' ')"
same 'what is installed is what was packed' '' "$(in_root dpkg --verify gateway-exporter)"
ok 'the package installs'

serve
grep -q 'nothing to watch was found' "$WORK/debian.log" || fail "the log: $(cat "$WORK/debian.log")"
"$REPLAY" "$ROOT/run/charon.vici" fixtures/strongswan/two-children &
mkdir -p "$ROOT/run/openvpn-server"
cp fixtures/openvpn/version-2/status "$ROOT/run/openvpn-server/status-office.log"
chmod 600 "$ROOT/run/openvpn-server/status-office.log"
[ -e "$ROOT/var/run/charon.vici" ] || eventually 'charon' test -S "$ROOT/run/charon.vici"
chmod 700 "$ROOT/run/charon.vici"
serve
for collector in strongswan openvpn; do
    grep "^gateway_exporter_target_up{collector=\"$collector\"" "$WORK/answer" | grep -q ' 1$' ||
        fail "$collector: $(cat "$WORK/debian.log")"
done
ok 'the service finds what is there, and reads what only root may with one capability'

echo 'vici_socket: /run/charon.vici' >"$ROOT/etc/gateway-exporter.yaml"
in_root dpkg --install --force-confold /tmp/package.deb >/dev/null
same 'an upgrade keeps the configuration' 'vici_socket: /run/charon.vici' "$(cat "$ROOT/etc/gateway-exporter.yaml")"
in_root dpkg --remove gateway-exporter >/dev/null
# The link is how Debian remembers that the service was enabled.
same 'what removal leaves' '/etc/default/gateway-exporter
/etc/gateway-exporter.yaml
/etc/systemd/system/multi-user.target.wants/gateway-exporter.service' "$(cd "$ROOT" && find . -name '*gateway-exporter*' ! -path './var/*' ! -path './proc/*' | sed 's/^.//' | sort)"
# As systemd makes it for the unit, with the key of the names.
mkdir -p "$ROOT/var/lib/gateway-exporter"
echo 00112233445566778899aabbccddeeff >"$ROOT/var/lib/gateway-exporter/identities.key"
in_root dpkg --purge gateway-exporter >/dev/null
same 'what purging leaves' '' "$(cd "$ROOT" && find . -name '*gateway-exporter*' ! -path './proc/*')"
ok 'removal leaves the configuration, and purging nothing'
umount --lazy "$ROOT/proc"
