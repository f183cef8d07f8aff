#!/bin/sh
# Installs, upgrades and removes the packages for OpenWrt with the real apk and opkg, in roots with OpenWrt's own shell functions,
# and under the real procd looks whether an upgrade restarts the daemon.
#
# OPENWRT_PARTS names the folder with those tools (root.sh, live.sh, tools/); it is ../shared/openwrt where that is not set.
set -eu
. tests/packages/check.sh

TOOLS="${OPENWRT_PARTS:-../shared/openwrt}"
[ -x "$TOOLS/root.sh" ] || {
    echo "SKIPPED: the real apk, opkg and procd are not in $TOOLS; OPENWRT_PARTS names another folder" >&2
    [ -z "${CI-}" ]
    exit
}
UCI=/etc/config/gateway-exporter
PACKED="$WORK/packed"
mkdir -p "$PACKED"

# made NAME COMMAND...: the package that it makes, as file NAME of all the roots' /tmp.
made() {
    name="$1"
    shift
    file="$(env DIST="$PACKED" "$@" x86_64 2>"$WORK/log" | sed -n 's/^\(.*\): [0-9]* bytes$/\1/p')"
    [ -n "$file" ] || fail "$name: $(cat "$WORK/log")"
    mv "$file" "$PACKED/$name"
}

openssl genrsa -out "$WORK/ours.rsa" 2048 2>/dev/null
made signed.apk APK_KEY="$WORK/ours.rsa" contrib/apk.sh
made first.apk contrib/apk.sh
made first.ipk contrib/ipk.sh
# Another binary that does the same.
target=x86_64-unknown-linux-musl
mkdir -p "$WORK/bin/$target"
cp "${GATEWAY_EXPORTER_BINARIES:-target/cross/bin}/$target/gateway-exporter" "$WORK/bin/$target/"
echo >>"$WORK/bin/$target/gateway-exporter"
for kind in apk ipk; do
    made "second.$kind" PKG_RELEASE=2 GATEWAY_EXPORTER_BINARIES="$WORK/bin" "contrib/$kind.sh"
done
# One byte in the middle of the binary is another one.
python3 - "$PACKED" <<'PYTHON'
import pathlib, sys
packed = pathlib.Path(sys.argv[1])
content = bytearray((packed / "first.apk").read_bytes())
content[len(content) // 2] ^= 1
(packed / "broken.apk").write_bytes(content)
PYTHON

# make_root TOOL NAME: a new root with the package manager of that name, in $ROOT.
make_root() {
    ROOT="$WORK/$1"
    "$TOOLS/root.sh" "$ROOT" >"$WORK/log" 2>&1 || fail "$(cat "$WORK/log")"
    install -m 755 "$TOOLS/tools/$1" "$ROOT/usr/bin/$2"
    cp "$PACKED"/* "$ROOT/tmp/"
}

in_root() {
    chroot "$ROOT" "$@" >"$WORK/said" 2>&1
}

# refused WHY COMMAND...: it fails, and installs nothing.
refused() {
    why="$1"
    shift
    ! in_root "$@" || fail "not refused: $why"
    [ ! -e "$ROOT/usr/bin/gateway-exporter" ] || fail "refused and installed: $why"
}

installed() {
    same "files and modes ($1)" "755 root:root usr/bin/gateway-exporter
755 root:root etc/init.d/gateway-exporter
600 root:root etc/config/gateway-exporter
644 root:root lib/upgrade/keep.d/gateway-exporter" "$(cd "$ROOT" && stat -c '%a %U:%G %n' \
        usr/bin/gateway-exporter etc/init.d/gateway-exporter etc/config/gateway-exporter lib/upgrade/keep.d/gateway-exporter)"
    [ -L "$ROOT/etc/rc.d/S95gateway-exporter" ] || fail "the service is not enabled ($1)"
    same "the user ($1)" 1 "$(grep -c '^gateway-exporter:x:[0-9]*:[0-9]*:' "$ROOT/etc/passwd")"
    in_root /usr/bin/gateway-exporter --version || fail "$(cat "$WORK/said")"
}

# removed MANAGER: what is left, but for the packages themselves.
removed() {
    same "what removal leaves ($1)" "$2" "$(cd "$ROOT" && find . -name '*gateway-exporter*' ! -path './tmp/*' ! -path './proc/*' | sort)"
    [ ! -L "$ROOT/etc/rc.d/S95gateway-exporter" ] || fail "still enabled ($1)"
}

for apk in apk apk-openwrt; do
    make_root "$apk" apk
    mkdir -p "$ROOT/lib/apk/db" "$ROOT/etc/apk/keys"
    : >"$ROOT/etc/apk/world"
    echo mipsel_24kc >"$ROOT/etc/apk/arch"
    refused 'another architecture' apk add --allow-untrusted /tmp/first.apk
    echo x86_64 >"$ROOT/etc/apk/arch"
    refused 'without a signature' apk add /tmp/first.apk
    refused 'signed with a key that is not known' apk add /tmp/signed.apk
    refused 'a flipped bit' apk add --allow-untrusted /tmp/broken.apk
    in_root apk add --allow-untrusted /tmp/first.apk || fail "$(cat "$WORK/said")"
    installed "$apk"
    same "what apk knows ($apk)" "gateway-exporter-$VERSION-r1" "$(chroot "$ROOT" apk info -v 2>/dev/null)"
    same "what sysupgrade keeps ($apk)" "$UCI" "$(cat "$ROOT/lib/apk/packages/gateway-exporter.conffiles")"
    same "its checksum ($apk)" "$UCI $(sha256sum <"$ROOT$UCI" | cut -d ' ' -f 1)" \
        "$(cat "$ROOT/lib/apk/packages/gateway-exporter.conffiles_static")"
    echo '# mine' >>"$ROOT$UCI"
    in_root apk add --allow-untrusted /tmp/second.apk || fail "$(cat "$WORK/said")"
    same "an upgrade ($apk)" "gateway-exporter-$VERSION-r2" "$(chroot "$ROOT" apk info -v 2>/dev/null)"
    same "an upgrade keeps the configuration ($apk)" '# mine' "$(tail -n 1 "$ROOT$UCI")"
    [ -e "$ROOT$UCI.apk-new" ] || fail "the new configuration is not beside it ($apk)"
    installed "$apk"
    in_root apk del gateway-exporter || fail "$(cat "$WORK/said")"
    removed "$apk" ".$UCI"
    rm "$ROOT$UCI"
    openssl rsa -in "$WORK/ours.rsa" -pubout -out "$ROOT/etc/apk/keys/ours.rsa.pub" 2>/dev/null
    in_root apk add /tmp/signed.apk || fail "signed: $(cat "$WORK/said")"
    installed "$apk"
    in_root apk del gateway-exporter || fail "$(cat "$WORK/said")"
    removed "$apk" ''
    ok "$apk installs, upgrades and removes the package, and refuses what it must"
done

make_root opkg-cl opkg
mkdir -p "$ROOT/usr/lib/opkg/info"
printf 'dest root /\nlists_dir ext /var/opkg-lists\narch all 1\narch mipsel_24kc 10\n' >"$ROOT/etc/opkg.conf"
refused 'another architecture' opkg install /tmp/first.ipk
sed -i s/mipsel_24kc/x86_64/ "$ROOT/etc/opkg.conf"
in_root opkg install /tmp/first.ipk || fail "$(cat "$WORK/said")"
installed opkg
same 'what opkg knows' "gateway-exporter - $VERSION-r1" "$(chroot "$ROOT" opkg list-installed 2>/dev/null)"
echo '# mine' >>"$ROOT$UCI"
in_root opkg install /tmp/second.ipk || fail "$(cat "$WORK/said")"
same 'an upgrade' "gateway-exporter - $VERSION-r2" "$(chroot "$ROOT" opkg list-installed 2>/dev/null)"
same 'an upgrade keeps the configuration' '# mine' "$(tail -n 1 "$ROOT$UCI")"
installed opkg
in_root opkg remove gateway-exporter || fail "$(cat "$WORK/said")"
# As it leaves what apk calls .apk-new.
removed opkg ".$UCI
.$UCI-opkg"
ok 'opkg installs, upgrades and removes the package, and refuses another architecture'

# Both in a root where the real ubusd and procd run; the network interface `lan` is 127.0.0.1.
cat >"$WORK/upgrade.sh" <<'SCRIPT'
manager="$1"
pid() { pidof gateway-exporter; }
wait_for() { for _ in $(seq 100); do [ -z "$(pid)" ] || [ "$(pid)" = "$1" ] || return 0; sleep 0.2; done; echo "no new process: $2"; exit 1; }
: >/etc/apk/world
printf "config gateway-exporter 'main'\n\toption ipsec '0'\nconfig socket 'any'\n\toption status 'listen'\n" >/etc/config/gateway-exporter
for package in first second; do
    before="$(pid)"
    case "$manager" in
        apk) apk add --allow-untrusted /tmp/$package.apk ;;
        opkg) opkg install /tmp/$package.ipk ;;
    esac >/tmp/said 2>&1 || { cat /tmp/said; exit 1; }
    wait_for "$before" "$package $(cat /tmp/said)"
done
case "$(pid)" in *' '*) echo "two daemons: $(pid)"; exit 1 ;; esac
case "$manager" in
    apk) apk del gateway-exporter ;;
    opkg) opkg remove gateway-exporter ;;
esac >/tmp/said 2>&1
for _ in $(seq 50); do [ -n "$(pid)" ] || { echo done; exit 0; }; sleep 0.2; done
echo 'it runs after removal'
SCRIPT
for manager in apk opkg; do
    { echo "set -- $manager" && cat "$WORK/upgrade.sh"; } >"$WORK/$manager.sh"
    ARCH=x86_64 LIMIT=120 "$TOOLS/live.sh" "$WORK/live-$manager" "$WORK/$manager.sh" "$PACKED"/*.?pk >"$WORK/said" 2>&1 || true
    same "$manager under procd" 'done' "$(tail -n 1 "$WORK/said")"
    ok "under the real procd an upgrade by $manager restarts the daemon, and a removal ends it"
done
