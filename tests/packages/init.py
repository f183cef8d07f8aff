"""OpenWrt's init script over OpenWrt's own shell files, uci and jshn: `init.py BINARY`, as root, with a static binary.

These parts are not in the repository: they are looked for in $OPENWRT_PARTS and in ../shared/openwrt, which has `root.sh ROOT`
(makes a root of them, in which `ubus` writes what procd would get to /tmp/ubus.log) and `live.sh WORK SCRIPT [FILE...]` (runs a
script where real ubusd, procd and ujail run). Each case below is a configuration and what must come of it.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parents[2]
INIT = "/etc/init.d/gateway-exporter"
COPY = "/var/etc/gateway-exporter.uci"
LISTEN = "--web.listen-address=192.0.2.1:9234"
VICI = "/usr/lib/ipsec/plugins/libstrongswan-vici.so"

NETWORK = {"interface": [
    {"interface": "lan", "up": True, "ipv4-address": [{"address": "192.0.2.1", "mask": 24}], "ipv6-address": [],
     "ipv6-prefix-assignment": []},
    {"interface": "guest", "up": True, "ipv4-address": [], "ipv6-address": [{"address": "2001:db8::2", "mask": 64}],
     "ipv6-prefix-assignment": []},
    {"interface": "wan", "up": False, "ipv4-address": [], "ipv6-address": []},
]}

NOTHING = "nothing to watch: no daemon is installed, or all are switched off"
USERS = "basic_auth_users: {ann: $2y$04$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i}\n"
RULE = "config socket 'dns'\n\toption port 53\n\toption status listen\n"
MAIN = "config gateway-exporter 'main'\n"

# A name, a file, and what is logged: nothing is handed to procd, so that a daemon that runs goes on.
REFUSED = [
    ("a quote that does not end", MAIN + "\toption openvpn 1\n\toption server_name 'unclosed\n",
     "not used: [ERROR] /etc/config/gateway-exporter: the file ends within a text in quotes at line 3"),
    ("a quote that ends in another line", MAIN + "\tlist web_allow '192.0.2.0/24\n\toption identities 'hashed'\n" + RULE,
     "not used: [ERROR] /etc/config/gateway-exporter: the file ends within a text in quotes at line 4"),
    ("a quote that ends before another word", MAIN + "\tlist web_allow '192.0.2.0/24\n\toption server_name 'two words\n" + RULE,
     "not used: [ERROR] /etc/config/gateway-exporter: too many words: a value with spaces stands in quotes at line 2"),
    ("an unknown option", MAIN + "\tlist web_alow 192.0.2.0/24\n" + RULE,
     "not used: [ERROR] /etc/config/gateway-exporter: web: unknown field `alow` (known: listen, allow, hosts, basic_auth_users, "
     "open, sessions, tls_server_config, compress) at line 2"),
    ("a wrong value", MAIN + "config socket 'bad'\n\toption port http\n",
     'not used: [ERROR] /etc/config/gateway-exporter: sockets[0].port: "http" is not a port at line 3'),
    ("a switch that is none", MAIN + "\toption openvpn maybe\n",
     "not used: [ERROR] /etc/config/gateway-exporter: openvpn: expected auto, 1 or 0 at line 2"),
    ("no interface's name", MAIN + "\toption listen_interface \"lan'] @.x['\"\n" + RULE,
     "not used: [ERROR] /etc/config/gateway-exporter: listen_interface: expected the name of an interface, or * at line 2"),
    ("a section of no known type", MAIN + RULE + "config sockets 'x'\n",
     "not used: [ERROR] /etc/config/gateway-exporter: unknown section type `sockets` (known: gateway-exporter, openvpn, socket, "
     "peer) at line 5"),
    ("users that can't be read", MAIN + "\toption web_config_file /etc/none.yaml\n" + RULE,
     "not used: [ERROR] /etc/none.yaml: not found"),
]

# A name, a file, and what is logged: procd is told that nothing is to run.
NOT_STARTED = [
    ("switched off, whatever the section's name", "config gateway-exporter\n\toption enabled 0\n" + RULE, ""),
    ("nothing to watch", MAIN, NOTHING),
    ("an interface without an address", MAIN + "\toption listen_interface wan\n" + RULE,
     "waiting: the interface wan has no address yet"),
    ("no such interface", MAIN + "\toption listen_interface lann\n" + RULE,
     "not started: there is no interface lann in /etc/config/network"),
]

JAIL = {"name": "gateway-exporter", "procfs": True, "ronly": True}

# A name, a file, files that are there (with their text), and what procd gets: the daemon's flags behind --config.uci, what the
# jail shows besides the configuration (no jail where it is None), the rights of a user that is not root (root where it is None).
STARTED = [
    ("rules alone: a user without rights", MAIN + RULE, {}, [LISTEN], [], []),
    ("VICI is installed, charon does not run yet", MAIN, {VICI: ""}, [LISTEN], ["/usr/lib", "/var/run"], ["CAP_DAC_OVERRIDE"]),
    ("strongSwan without VICI: its command is a script of root's", MAIN, {"/usr/sbin/ipsec": ""}, [LISTEN],
     ["/bin", "/lib", "/sbin", "/usr/bin", "/usr/lib", "/usr/sbin", "/var/run"], None),
    ("OpenVPN is installed", MAIN, {"/usr/sbin/openvpn": ""}, [LISTEN], ["/usr/sbin/openvpn", "/var/run"],
     ["CAP_DAC_OVERRIDE"]),
    ("a section for a server names no file", "config openvpn 'office'\n", {}, [LISTEN], ["/var/run"],
     ["CAP_DAC_OVERRIDE"]),
    ("WireGuard", MAIN + "\toption wireguard 1\nconfig peer\n"
     "\toption public_key hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n\toption expected 1\n", {},
     [LISTEN], ["/etc/config/network", "/var/run"], ["CAP_DAC_OVERRIDE", "CAP_NET_ADMIN"]),
    ("IPv6", MAIN + "\toption listen_interface guest\n" + RULE, {}, ["--web.listen-address=[2001:db8::2]:9234"], [], []),
    ("every address", MAIN + "\toption listen_interface '*'\n" + RULE, {}, [], [], []),
    ("an address of one's own", MAIN + "\toption web_listen_address 127.0.0.1:1\n" + RULE, {}, [], [], []),
    ("processes: no jail, and root", MAIN + RULE + "\toption process dnsmasq\n", {}, [LISTEN], None, None),
    ("a path that no mount can have: no jail, and root",
     MAIN + "config openvpn\n\toption name x\n\toption status '/mnt/a b/*.status'\n", {}, [LISTEN], None, None),
    ("users of root's", MAIN + "\toption web_config_file /etc/users.yaml\n" + RULE,
     {"/etc/users.yaml": USERS}, [LISTEN],
     ["/etc/users.yaml"], ["CAP_DAC_OVERRIDE"]),
    ("a key that is made here", MAIN + "\toption identities hashed\n\toption identities_key_file /etc/exporter.key\n" + RULE, {},
     [LISTEN], ["/etc/exporter.key"], ["CAP_DAC_OVERRIDE"]),
    ("a configuration file", MAIN + "\toption config_file /etc/own.yaml\n", {"/etc/own.yaml": "vici_socket: /run/vici\n"}, [LISTEN],
     ["/etc/own.yaml", "/usr/lib"], ["CAP_DAC_OVERRIDE"]),
    ("a list as a list, an option with words, and one of several lines",
     MAIN + "\toption web_allow '192.0.2.0/24 ::1'\n\tlist metrics_without sas\n\tlist metrics_without pools\n"
     "\toption ipsec_command 'ipsec statusall'\n\toption server_name 'first\nvici_socket: /injected'\n", {"/etc/ipsec.conf": ""},
     [LISTEN], ["/etc/ipsec.conf", "/bin", "/lib", "/sbin", "/usr/bin", "/usr/lib", "/usr/sbin", "/var/run"], None),
]

# Runs in a root where real procd and ujail run; the daemon listens on 127.0.0.1.
LIVE = r"""
cd /tmp
cp gateway-exporter /usr/bin/gateway-exporter && cp gateway-exporter.init /etc/init.d/gateway-exporter
chmod 755 /usr/bin/gateway-exporter /etc/init.d/gateway-exporter
echo 'gateway-exporter:x:32768:32768::/var/run:/bin/false' >>/etc/passwd
echo 'gateway-exporter:x:32768:' >>/etc/group
printf "config interface 'lan'\n" >/etc/config/network
pid() { ubus call service list '{"name":"gateway-exporter"}' | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
write() { printf '%s\n' "$@" >/etc/config/gateway-exporter && chmod 600 /etc/config/gateway-exporter; }
# The jail's own process is procd's child, and the daemon is the jail's.
daemon() { grep -l "^PPid:.$(pid)$" /proc/[0-9]*/status; }
answers() {
	for i in $(seq 100); do
		wget -q -O /tmp/answer http://127.0.0.1:9234/metrics 2>/dev/null && grep -q "$1" /tmp/answer && return
		sleep 0.1
	done
	echo "no answer with $1: $(cat /tmp/answer)"; exit 1
}
fail() { echo "$1"; exit 1; }

write 'config gateway-exporter' 'config socket dns' ' option status listen' ' option port 9234'
/etc/init.d/gateway-exporter start
answers '^connection_status_up{.*name="dns".*} 1'
[ "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "$(daemon)")" = 32768 ] || fail 'it is not an ordinary user'
[ "$(sed -n 's/^Cap\(Eff\|Bnd\|Amb\):\t0*\([0-9a-f]\)/\2/p' "$(daemon)" | tr '\n' ' ')" = '0 0 0 ' ] || fail 'it has rights'
[ "$(sed -n 's/^NoNewPrivs:\t//p' "$(daemon)")" = 1 ] || fail 'it may get rights'
first="$(pid)"

write 'config gateway-exporter' ' option openvpn maybe'
/etc/init.d/gateway-exporter reload && fail 'a wrong value is no failure'
[ "$(pid)" = "$first" ] || fail 'a wrong value ended the daemon'
printf "config gateway-exporter\n\tlist web_allow '192.0.2.0/24\n" >/etc/config/gateway-exporter
/etc/init.d/gateway-exporter start && fail 'a syntax error is no failure'
[ "$(pid)" = "$first" ] || fail 'a syntax error ended the daemon'
answers '^connection_status_up{.*name="dns".*} 1'

# Killed, it is started again with what was valid.
kill -9 "$(basename "$(dirname "$(daemon)")")"
for i in $(seq 100); do [ "$(pid)" = "$first" ] || [ -z "$(pid)" ] || break; sleep 0.1; done
answers '^connection_status_up{.*name="dns".*} 1'

write 'config gateway-exporter' ' option strongswan 1' 'config socket dns' ' option status listen' ' option port 9234'
/etc/init.d/gateway-exporter reload
answers '^gateway_exporter_target_up{collector="strongswan"'
second="$(pid)"
[ "$second" != "$first" ] || fail 'what is new was not taken'
/etc/init.d/gateway-exporter reload
[ "$(pid)" = "$second" ] || fail 'what is the same started it again'

# An upgrade replaces the program and starts it.
cp /usr/bin/gateway-exporter /tmp/new && echo >>/tmp/new && mv /tmp/new /usr/bin/gateway-exporter
/etc/init.d/gateway-exporter start
for i in $(seq 100); do [ "$(pid)" = "$second" ] || break; sleep 0.1; done
[ "$(pid)" != "$second" ] || fail 'an upgrade left the old program running'
answers '^gateway_exporter_target_up{collector="strongswan"'

/etc/init.d/gateway-exporter stop
for i in $(seq 100); do [ -n "$(pid)" ] || break; sleep 0.1; done
[ -z "$(pid)" ] || fail 'it was not stopped'
echo 'all of it'
"""


def parts():
    """The folder with OpenWrt's parts; None where they are not there, which fails in continuous integration."""
    for folder in (os.environ.get("OPENWRT_PARTS"), HERE.parent / "shared/openwrt"):
        if folder and (pathlib.Path(folder) / "root.sh").exists():
            return pathlib.Path(folder)
    print("SKIPPED: OpenWrt's own shell files, uci and procd are not here; OPENWRT_PARTS names their folder", file=sys.stderr)
    if "CI" in os.environ:
        sys.exit(1)
    return None


class Root:
    """A root with OpenWrt's parts, the binary and the init script."""

    def __init__(self, path, binary, rig):
        self.path = path
        subprocess.run([rig / "root.sh", path], check=True)
        for source, target in ((binary, "/usr/bin/gateway-exporter"), (HERE / "openwrt/files/gateway-exporter.init", INIT)):
            shutil.copy(source, self.at(target))
            self.at(target).chmod(0o755)
        for name, line in (("passwd", "gateway-exporter:x:32768:32768::/var/run:/bin/false"), ("group", "gateway-exporter:x:32768:")):
            with self.at(f"/etc/{name}").open("a") as file:
                print(line, file=file)
        self.at("/tmp/network.json").write_text(json.dumps(NETWORK))
        self.at("/etc/config/network").write_text("config interface 'lan'\nconfig interface 'guest'\nconfig interface 'wan'\n")

    def at(self, path):
        return self.path / path.lstrip("/")

    def start(self, text, files):
        """What procd gets, or None; the log; and the exit status."""
        config = self.at("/etc/config/gateway-exporter")
        config.write_text(text)
        config.chmod(0o600)
        for name in ("/tmp/ubus.log", "/tmp/logger.txt"):
            self.at(name).unlink(missing_ok=True)
        for name, content in files.items():
            self.at(name).parent.mkdir(parents=True, exist_ok=True)
            self.at(name).write_text(content)
            self.at(name).chmod(0o600)
        run = subprocess.run(["chroot", self.path, "/bin/sh", "/etc/rc.common", INIT, "start"], capture_output=True, text=True)
        for name in files:
            self.at(name).unlink()
        said = self.at("/tmp/logger.txt")
        told = self.at("/tmp/ubus.log")
        calls = [json.loads(line.split(" ", 1)[1]) for line in told.read_text().splitlines()] if told.exists() else []
        if run.stdout or run.stderr:
            sys.exit(f"not silent: {run.stdout}{run.stderr}")
        return calls[-1] if calls else None, said.read_text().rstrip("\n") if said.exists() else "", run.returncode


def same(name, what, expected, found):
    if expected != found:
        sys.exit(f"{name}: {what}:\n  expected {expected!r}\n  found    {found!r}")


def check(root):
    for name, text, words in REFUSED:
        told, said, status = root.start(text, {})
        same(name, "what procd gets, the log, the status", (None, words, 1), (told, said, status))
    for name, text, words in NOT_STARTED:
        told, said, status = root.start(text, {})
        same(name, "instances, the log, the status", ({}, words, 0), (told["instances"], said, status))
    for name, text, files, flags, shown, rights in STARTED:
        told, said, status = root.start(text, files)
        same(name, "the log and the status", ("", 0), (said, status))
        instance = told["instances"]["instance1"]
        same(name, "command", ["/usr/bin/gateway-exporter", f"--config.uci={COPY}", *flags], instance["command"])
        same(name, "the program is looked at for changes", ["/usr/bin/gateway-exporter", COPY], instance["file"][:2])
        same(name, "no new rights", True, instance["no_new_privs"])
        same(name, "zone", {"TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}, instance["env"])
        jail = None if shown is None else {**JAIL, "mount": {path: "0" for path in sorted({COPY, *shown})}}
        found = instance.get("jail")
        if found:
            found["mount"] = {path: value for path, value in sorted(found["mount"].items())
                              if path not in ("/etc/hosts", "/etc/resolv.conf", "/tmp/resolv.conf")}
        same(name, "jail", jail, found)
        same(name, "user", None if rights is None else "gateway-exporter", instance.get("user"))
        if rights is not None:
            capabilities = json.loads(root.at(instance["capabilities"]).read_text())
            same(name, "rights", {kind: rights for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")},
                 capabilities)
        same(name, "the copy's mode and group", (0o640, 32768), (root.at(COPY).stat().st_mode & 0o777, root.at(COPY).stat().st_gid))
        triggers = {trigger[0] for trigger in told["triggers"]}
        by_interface = bool(flags)
        same(name, "triggers", {"config.change", *(["interface.*"] if by_interface else [])}, triggers)
    same("the key", "mode and length", (0o600, 32),
         (root.at("/etc/exporter.key").stat().st_mode & 0o777, root.at("/etc/exporter.key").stat().st_size))
    # As shipped, and with what stands behind a # but the file that would count instead.
    shipped = (HERE / "openwrt/files/gateway-exporter.config").read_text()
    told, said, status = root.start(shipped, {})
    same("as shipped", "instances, log, status", ({}, NOTHING, 0), (told["instances"], said, status))
    lines = [line if "config_file '/etc/gateway-exporter.yaml'" in line else line.replace("#", "", 1)
             if line.startswith(("#config", "#\t", "\t#option", "\t#list")) else line for line in shipped.splitlines()]
    needed = {"/etc/openvpn/office.pw": "secret\n", "/etc/gateway-exporter.users.yaml": USERS}
    told, said, status = root.start("\n".join(lines) + "\n", needed)
    same("the shipped examples", "log and status", ("", 0), (said, status))
    same("the shipped examples", "command", ["/usr/bin/gateway-exporter", f"--config.uci={COPY}"],
         told["instances"]["instance1"]["command"])


def main():
    rig = parts()
    if rig is None:
        return
    binary = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        check(Root(folder / "root", binary, rig))
        print(f"ok: {len(REFUSED) + len(NOT_STARTED) + len(STARTED)} configurations over OpenWrt's own uci and shell files")
        script = folder / "live"
        script.write_text(LIVE)
        run = subprocess.run([rig / "live.sh", folder, script, binary, HERE / "openwrt/files/gateway-exporter.init"],
                             capture_output=True, text=True)
        if run.returncode or not run.stdout.endswith("all of it\n"):
            sys.exit(f"with real procd and ujail: {run.stdout}{run.stderr}")
        print("ok: start, a wrong value, a syntax error, a kill, a change, an upgrade and the end with real procd and ujail")


main()
