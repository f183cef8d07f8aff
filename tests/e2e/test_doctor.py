"""The doctor, and one scrape without a server: real daemons and real trouble, and the commands that the doctor names."""

import html
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import unittest
import unittest.mock

from charon import DAEMON, PLUGINS, Charon, runs, strongswan_conf
from exporter import ROOT, Exporter, binary, fetch, free_port, read_exposition, series
from host import Lab, stop, wait_for
from names import own_complaints
from openvpn import Site
from replay import FIXTURES, Replay

STATUS = FIXTURES / "openvpn" / "version-3" / "status"
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
WORDS = {"ok", "none", "check", "down"}


def without_plugin(name):
    """charons that are started meanwhile don't load it."""
    return unittest.mock.patch("charon.PLUGINS", PLUGINS.replace(f" {name}", ""))


class Findings:
    """What one run of the doctor printed."""

    def __init__(self, done):
        self.status, self.text, self.complaint = done.returncode, done.stdout, done.stderr
        self.all = []
        for line in done.stdout.splitlines()[2:]:
            if line.startswith("       to do: "):
                self.all[-1]["remedy"] = line.removeprefix("       to do: ")
            elif (words := line.split(None, 2)) and words[0] in WORDS:
                thing, _, what = words[2].partition(": ")
                self.all.append({"verdict": words[0], "source": words[1], "thing": thing, "words": what, "remedy": ""})

    def of(self, thing):
        found = [finding for finding in self.all if finding["thing"] == thing]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} findings for {thing}:\n{self.text}{self.complaint}")
        return found[0]

    def said(self, thing):
        return self.of(thing)["verdict"], self.of(thing)["words"]


class Laboratory(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        # The lab's folder is closed to others, and the tests want to be denied further inside.
        os.chmod(self.lab.folder, 0o755)
        self.binary = self.lab.path("gateway-exporter")
        shutil.copy(binary(), self.binary)

    def run_once(self, config, *flags, host=None, user=(), environment=None):
        path = self.lab.write("config.yaml", config)
        listen = () if any("listen" in flag for flag in flags) else ("--web.listen-address=127.0.0.1:0",)
        command = (*user, self.binary, "-c", path, *listen, *flags)
        command = host.command(*command) if host else command
        settings = {**os.environ, **(environment or {})}
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, env=settings)

    def doctor(self, config, *flags, **options):
        return Findings(self.run_once(config, "--doctor", *flags, **options))


class StrongSwan(Laboratory):
    def test_from_nothing_to_a_charon_that_answers(self):
        host = self.lab.host("gw")
        place = self.lab.path(host.name, "vici")
        config = f"vici_socket: {place}\n"
        found = self.doctor(config, host=host)
        self.assertEqual((found.status, found.said(place)), (1, ("down", "not found: charon is not running")))
        self.assertIn("systemctl start strongswan", found.of(place)["remedy"])
        self.assertIn("1 of ", found.text)

        with without_plugin("vici"):
            bare = self.lab.write("bare.conf", strongswan_conf(f"unix://{place}", {}))
        charon = host.start(
            "unshare", "-m", "sh", "-c", f"mount -t tmpfs none /run && exec {DAEMON}",
            log="bare.log", env={**os.environ, "STRONGSWAN_CONF": bare},
        )
        wait_for("a charon without vici", lambda: runs(charon.pid, "charon"))
        verdict, words = self.doctor(config, host=host).said(place)
        self.assertEqual(verdict, "down")
        self.assertIn("not found, though charon is running: its plugin vici is not loaded", words)
        charon.terminate()
        charon.wait(10)

        charon = Charon(host)
        self.assertEqual(charon.socket, place)
        found = self.doctor(config, host=host)
        self.assertEqual((found.status, found.said(place)), (0, ("ok", "answers")), found.text)
        self.assertTrue(found.text.endswith("\nAll is well.\n"), found.text)

        charon.freeze()
        self.assertEqual(self.doctor(config, host=host).said(place), ("down", "no answer in time: charon hangs"))
        charon.thaw()
        charon.process.kill()
        charon.process.wait()
        found = self.doctor(config, host=host)
        words = "connection refused: charon is gone and left its socket behind"
        self.assertEqual((found.status, found.said(place)), (1, ("down", words)))

    def test_a_plugin_that_is_absent_is_named_and_costs_no_exit_status(self):
        host = self.lab.host("gw")
        with without_plugin("counters"):
            charon = Charon(host)
        found = self.doctor(f"vici_socket: {charon.socket}\n", host=host)
        self.assertEqual((found.status, found.said(charon.socket)[0]), (0, "check"), found.text)
        self.assertIn("not to get-counters", found.said(charon.socket)[1])
        self.assertIn("All is up, 1 to check", found.text)
        without = f"vici_socket: {charon.socket}\nmetrics: {{without: [events]}}\n"
        self.assertEqual(self.doctor(without, host=host).said(charon.socket), ("ok", "answers"))

    def test_the_command_for_a_socket_of_roots_helps(self):
        host = self.lab.host("gw")
        charon = Charon(host)
        os.chmod(os.path.dirname(charon.socket), 0o755)
        config = f"vici_socket: {charon.socket}\n"
        found = self.doctor(config, host=host, user=NOBODY)
        mode = stat.S_IMODE(os.stat(charon.socket).st_mode)
        words = f"permission denied to nobody: it belongs to root and group root, mode {mode:04o}"
        self.assertEqual((found.status, found.said(charon.socket)), (1, ("down", words)))
        command, lasting = found.of(charon.socket)["remedy"].split("; ")
        self.assertEqual(lasting, "to last, charon { group = nogroup } in strongswan.conf")
        subprocess.run(command, shell=True, check=True)
        self.assertEqual(self.doctor(config, host=host, user=NOBODY).said(charon.socket), ("ok", "answers"))

    def test_another_usual_place_is_named(self):
        host = self.lab.host("gw")
        charon = Charon(host)
        script = f"mount -t tmpfs none /run && mkdir /run/strongswan && ln -s {charon.socket} /run/strongswan/charon.vici && exec \"$@\""
        inside = ("unshare", "-m", "sh", "-c", script, "sh")
        found = self.doctor("vici_socket: /run/charon.vici\n", host=host, user=inside)
        finding = found.of("/run/charon.vici")
        self.assertEqual(finding["words"], "not found, but /run/strongswan/charon.vici is there")
        self.assertEqual(finding["remedy"], "write vici_socket: /run/strongswan/charon.vici")
        found = self.doctor(finding["remedy"].removeprefix("write ") + "\n", host=host, user=inside)
        self.assertEqual(found.said("/run/strongswan/charon.vici"), ("ok", "answers"))

    def test_what_does_not_speak_vici(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            def chatter():
                wire, _ = other.accept()
                with wire:
                    wire.sendall(b"\0\0\0\4\xff\xff\xff\xff" * 4)
                    wire.recv(4096)
            thread = threading.Thread(target=chatter)
            thread.start()
            place = "tcp://127.0.0.1:%d" % other.getsockname()[1]
            found = self.doctor(f"vici_socket: {place}\n")
            thread.join()
        verdict, words = found.said(place)
        self.assertEqual(verdict, "down")
        self.assertTrue(words.endswith("what answers there does not speak VICI"), words)


class OpenVpn(Laboratory):
    def test_a_real_server_is_fresh_and_then_stale(self):
        site = Site(self.lab, "office")
        server = site.server()
        server.await_words("END")
        config = f"openvpn: [{{status: {server.status}, stale_after: 3}}]\n"
        found = self.doctor(config)
        self.assertEqual((found.status, found.said(server.status)), (0, ("ok", "answers")), found.text)
        server.kill()
        time.sleep(4.5)
        found = self.doctor(config)
        self.assertEqual((found.status, found.said(server.status)[0]), (1, "down"))
        self.assertRegex(found.said(server.status)[1], r"^stale, not written for \d+ seconds: OpenVPN has ended")

    def test_files_that_are_none(self):
        strange = self.lab.write("strange", "OpenVPN STATUS VERSION 9\n")
        torn = self.lab.write("torn", STATUS.read_text().replace("END\n", ""))
        gone, pattern = self.lab.path("gone"), self.lab.path("no*match")
        config = "openvpn:\n" + "".join(f"  - {{status: '{path}', stale_after: 4000000000}}\n" for path in (strange, torn, gone, pattern))
        found = self.doctor(config)
        self.assertEqual(found.status, 1)
        for path, words, remedy in (
            (strange, "neither version 1, 2 nor 3, nor a client's statistics", "status-version 2"),
            (torn, "half written", "df says"),
            (gone, "not found: OpenVPN has not written it", f"with status {gone} in its configuration"),
            (pattern, "no file matches this pattern", "start OpenVPN"),
        ):
            self.assertEqual(found.said(path)[0], "down")
            self.assertIn(words, found.said(path)[1])
            self.assertIn(remedy, found.of(path)["remedy"])
        self.assertIn("4 of 5 down", found.text)

    def test_the_commands_for_closed_files_and_folders_help(self):
        path = self.lab.write("closed/office's status", STATUS.read_text(), mode=0o000)
        os.chmod(os.path.dirname(path), 0o700)
        config = f"openvpn: [{{status: \"{path}\", stale_after: 4000000000}}]\n"
        for words in (f"{os.path.dirname(path)} belongs to root and group root, mode 0700", "it belongs to root and group root, mode 0000"):
            found = self.doctor(config, user=NOBODY)
            self.assertEqual(found.said(path), ("down", f"permission denied to nobody: {words}"), found.text)
            subprocess.run(found.of(path)["remedy"], shell=True, check=True)
        found = self.doctor(config, user=NOBODY)
        self.assertEqual((found.status, found.said(path)), (0, ("ok", "answers")), found.text)
        self.assertIn("as nobody", found.text)


class Others(Laboratory):
    def test_ipsec(self):
        conf = self.lab.write("ipsec.conf", (FIXTURES / "ipsec/site-to-site/ipsec.conf").read_text())
        empty = os.path.dirname(self.lab.path("empty", "-"))
        found = self.doctor(f"ipsec_config: {conf}\n", environment={"PATH": empty})
        self.assertEqual(found.said("ipsec statusall"), ("down", f"not found: ipsec is not in PATH, which is {empty}"))
        self.assertIn("ipsec_command: [/usr/sbin/ipsec, statusall]", found.of("ipsec statusall")["remedy"])
        self.assertEqual(found.said(conf), ("ok", "answers"))
        # The real command, on a host without charon.
        script = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh")
        found = self.doctor(f"ipsec_config: {conf}\n", host=self.lab.host("none"), user=script)
        self.assertEqual(found.said("ipsec statusall"), ("down", "exit status: 3: charon is not running"))
        self.assertEqual(found.status, 1)
        found = self.doctor("ipsec_config: /no/such.conf\nipsec_command: [/no/such/ipsec, statusall]\n")
        self.assertEqual(found.said("/no/such.conf"), ("down", "not found"))
        self.assertEqual(found.said("/no/such/ipsec statusall"), ("down", "not found: there is no such command"))

    def test_rules(self):
        with socket.create_server(("127.0.0.1", 0)) as there:
            config = (
                f"sockets:\n  - {{name: fine, port: {there.getsockname()[1]}, status: listen}}\n"
                "  - {name: peer, port: 22, status: listen, dstHost: 192.0.2.1}\n"
                "  - {name: family, host: '::1', protocol: tcp}\n"
                "  - {name: lost, dstHost: no-such-host.invalid, dstPort: 1}\n"
                f"  - {{name: whose, port: {there.getsockname()[1]}, status: listen, process: python.*}}\n"
            )
            found = self.doctor(config, user=NOBODY)
            self.assertEqual(found.status, 1)
            for rule, words in (("peer", "a socket that listens has no far end"), ("family", "tcp and udp are for IPv4")):
                self.assertEqual(found.said(rule)[0], "down")
                self.assertIn(f"this rule can never match: {words}", found.said(rule)[1])
            self.assertEqual(found.said("no-such-host.invalid")[0], "down")
            self.assertEqual(found.of("no-such-host.invalid")["remedy"], "getent hosts no-such-host.invalid")
            verdict, words = found.said("/proc/*/fd")
            self.assertEqual((verdict, words), ("down", "permission denied: nobody may not see the processes of others"))
            self.assertEqual(self.doctor(config).said("/proc/*/fd"), ("ok", "answers"))
            checked = self.run_once(config, "--check-config")
            self.assertEqual(checked.returncode, 0)
            self.assertIn("peer: this rule can never match", checked.stderr)

    def test_nothing_is_watched(self):
        host = self.lab.host("bare")
        script = 'for folder in run etc var/log; do mount -t tmpfs none /$folder; done; PATH=/var/log exec "$@"'
        # Without a configuration: what stands in the working directory must not be found.
        command = host.command("unshare", "-m", "sh", "-c", script, "sh", self.binary, "--doctor")
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.lab.folder, check=False)
        found = Findings(done)
        self.assertEqual(found.status, 1, found.text + found.complaint)
        for source, tried in (
            ("strongswan", "/var/run/charon.vici"), ("ipsec", "/etc/ipsec.conf with a conn, and ipsec in PATH"),
            ("openvpn", "/var/run/openvpn*.status, /run/openvpn*/*status*, /var/log/openvpn/*status*"),
        ):
            self.assertEqual(found.of(tried), {
                "verdict": "none", "source": source, "thing": tried, "words": "not on this machine", "remedy": "",
            })
        self.assertIn("Nothing is watched.", found.text)


class Door(Laboratory):
    def test_each_door_is_as_open_as_it_is(self):
        host = self.lab.host("gw")
        for address in ("192.168.7.1/24", "203.0.113.1/24"):
            host.address(address)
        status = f"openvpn: [{{status: {STATUS}, stale_after: 4000000000}}]\n"
        for listen, extra, thing, verdict, words in (
            ("127.0.0.1:9234", "", "127.0.0.1:9234", "ok", "only this machine can connect"),
            ("192.168.7.1:9234", "", "192.168.7.1:9234", "ok", "anyone in its own network can connect"),
            ("203.0.113.1:9234", "", "203.0.113.1:9234", "check", "anyone who can reach this machine can connect"),
            (":9234", "", "[::]:9234", "check", "anyone who can reach this machine can connect"),
            (":9234", "web: {allow: [192.0.2.0/24]}\n", "[::]:9234", "ok", "only allowed networks or users can connect"),
        ):
            found = self.doctor(status + extra, f"--web.listen-address={listen}", host=host)
            self.assertEqual((found.status, found.said(thing)), (0, (verdict, words)), found.text)
        found = self.doctor(status, "--web.listen-address=198.51.100.1:9234", host=host)
        self.assertEqual((found.status, found.said("198.51.100.1:9234")[0]), (1, "down"))
        found = self.doctor(status, "--web.listen-address=127.0.0.1:80", host=host, user=NOBODY)
        self.assertEqual(found.said("127.0.0.1:80"), ("down", "permission denied: a port below 1024 needs a capability"))

    def test_a_taken_port_is_somebody_elses_or_ours(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            found = self.doctor("vici_socket: /no/such\n", f"--web.listen-address={address}")
            self.assertEqual(found.said(address), ("down", "address already in use: by something else"))
            self.assertIn("ss -ltnp", found.of(address)["remedy"])
        running = Exporter(self.lab, f"openvpn: [{{status: {STATUS}, stale_after: 4000000000}}]\nweb: {{allow: ['::1']}}\n")
        address = f"127.0.0.1:{running.port}"
        found = self.doctor(f"openvpn: [{{status: {STATUS}, stale_after: 4000000000}}]\n", f"--web.listen-address={address}")
        self.assertEqual((found.status, found.said(address)), (0, ("ok", "address already in use: by another gateway-exporter")))
        self.assertEqual(running.get("/metrics")[0], 403)

    def test_the_landing_page_has_the_same_words(self):
        gone, stale = self.lab.path("gone"), self.lab.write("stale", STATUS.read_text())
        config = (
            f"vici_socket: {gone}.vici\nopenvpn: [{{status: {gone}}}, {{status: {stale}}}]\n"
            "sockets:\n  - {name: peer, port: 22, status: listen, dstHost: 192.0.2.1}\n"
        )
        running = Exporter(self.lab, config)
        page = html.unescape(running.get("/")[2].decode())
        found = self.doctor(config, f"--web.listen-address=127.0.0.1:{running.port}")
        self.assertGreaterEqual(len([finding for finding in found.all if finding["verdict"] == "down"]), 4, found.text)
        for finding in found.all:
            self.assertIn(f"<code>{finding['thing']}</code>", page)
            if finding["verdict"] == "down":
                # The age of a file is not the same a second later.
                words = re.sub(r"\d+ (seconds|minutes|hours|days)", "@", finding["words"])
                self.assertIn(f">{words}<", re.sub(r"\d+ (seconds|minutes|hours|days)", "@", page))
                self.assertIn(f">To do: {finding['remedy']}<", page)
        self.assertIn(f">{found.text.splitlines()[-1].rstrip('.')}<", page)


class Status(Laboratory):
    CONFIG = "sockets:\n  - {name: nobody, port: 9, protocol: tcp, status: listen}\n"
    DOWN = "sockets     connection nobody: there is no such socket, since"

    def test_a_running_daemon_is_asked_for_what_it_knows(self):
        rule = "sockets:\n  - {name: late, port: PORT, protocol: tcp, status: listen}\n"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            running = Exporter(self.lab, rule.replace("PORT", str(listener.getsockname()[1])))
            address = f"--web.listen-address=127.0.0.1:{running.port}"
            fine = self.run_once("{}\n", "--status", address)
            self.assertEqual((fine.returncode, fine.stderr), (0, ""), fine.stdout)
            self.assertIn("connection late: up\n", fine.stdout)
        # That it was up before is known to the daemon only.
        down = self.run_once("{}\n", "--status", address)
        self.assertEqual(down.returncode, 1, down.stdout)
        self.assertRegex(down.stdout, r"^down   sockets     connection late: there is no such socket, since 2\d\d\d-")
        self.assertNotIn("\x1b", down.stdout, "colors are for terminals")
        report = json.loads(self.run_once("{}\n", "--status", "--json", address).stdout)
        self.assertEqual((report["state"], report["findings"][0]["subject"]), ("down", "connection late"))

    def test_without_a_daemon_the_sources_are_asked(self):
        for arguments in (["--status"], ["--status", "--json"]):
            done = self.run_once(self.CONFIG, *arguments)
            self.assertEqual((done.returncode, done.stderr), (1, ""), done.stdout)
            self.assertIn("there is no such socket", done.stdout)
        self.assertIn(f"{self.DOWN} at least 2", self.run_once(self.CONFIG, "--status").stdout)

    def test_one_that_lets_nobody_in_is_not_believed(self):
        running = Exporter(self.lab, self.CONFIG + "web: {allow: ['::1']}\n")
        done = self.run_once(self.CONFIG, "--status", f"--web.listen-address=127.0.0.1:{running.port}")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"{self.DOWN} at least 2", done.stdout)

    def test_a_terminal_gets_colors(self):
        config = self.lab.write("config.yaml", self.CONFIG)
        command = f"{self.binary} status -c {config} --web.listen-address=127.0.0.1:0"
        shown = {}
        for name, environment in (("colored", {}), ("plain", {"NO_COLOR": "1"})):
            # script(1) runs it on a terminal of its own.
            done = subprocess.run(
                ["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                env={**os.environ, **environment},
            )
            shown[name] = done.stdout
        self.assertIn("\x1b[31mdown\x1b[0m   sockets", shown["colored"])
        self.assertNotIn("\x1b", shown["plain"])

    def watch(self, *flags, config=None, **options):
        path = self.lab.write("config.yaml", config or self.CONFIG)
        command = (self.binary, "status", "--watch=1", "-c", path, "--web.listen-address=127.0.0.1:0", *flags)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **{"stdout": subprocess.PIPE, "text": True, **options})
        self.addCleanup(stop, process)
        return process

    def test_it_is_said_again_until_a_signal_and_ends_with_the_last_state(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            rule = f"sockets:\n  - {{name: late, port: {listener.getsockname()[1]}, protocol: tcp, status: listen}}\n"
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                with self.subTest(number.name):
                    process = self.watch(config=rule)
                    head = process.stdout.readline()
                    self.assertRegex(head, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, every 1 s\n$")
                    is_up = number != signal.SIGTERM
                    state = "ok     sockets     connection late: up\n" if is_up else "down   sockets     connection late: "
                    wait_for("the state", lambda: process.stdout.readline().startswith(state))
                    if number == signal.SIGTERM:
                        listener.listen()
                        wait_for("it to be up", lambda: process.stdout.readline() == "ok     sockets     connection late: up\n")
                        wait_for("the summary", lambda: process.stdout.readline().startswith("All is "))
                    process.send_signal(number)
                    self.assertEqual(process.wait(5), 0)

    def test_it_ends_when_nobody_reads_any_more(self):
        process = self.watch("--json")
        for _ in range(2):
            self.assertEqual(json.loads(process.stdout.readline())["state"], "down")
        process.stdout.close()
        self.assertEqual(process.wait(5), 1)
        process = self.watch()
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual(process.wait(5), 1)

    def test_a_source_that_hangs_does_not_hold_up_the_end(self):
        silent = socket.socket(socket.AF_UNIX)
        self.addCleanup(silent.close)
        silent.bind(self.lab.path("vici"))
        silent.listen()
        process = self.watch(config=f"vici_socket: {self.lab.path('vici')}\n")
        silent.accept()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(2), 1, "nothing is known to be well yet")

    def test_a_terminal_is_cleared_before_each(self):
        leader, terminal = os.openpty()
        process = self.watch(stdout=terminal, text=False)
        os.close(terminal)
        shown = b""
        while shown.count(b"\x1b[H\x1b[2J") < 3:
            shown += os.read(leader, 4096)
        first = shown.split(b"\x1b[H\x1b[2J")[1].decode()
        self.assertRegex(first, r"(?s)^2\d{3}-.*, every 1 s\r\n\r\n\x1b\[31mdown\x1b\[0m   sockets .*\r\n\r\nconnections: 1 down\r\n1 of \d down\.\r\n")
        os.close(leader)
        self.assertEqual(process.wait(5), 1, "the terminal is gone")

    def test_quiet_says_it_by_the_exit_status_alone(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        up = self.CONFIG.replace("port: 9", f"port: {listener.getsockname()[1]}")
        for config, expected in ((self.CONFIG, 1), (up, 0)):
            done = self.run_once(config, "--status", "--quiet")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (expected, "", ""))
        done = self.run_once("socket: []\n", "--status", "--quiet")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("unknown field `socket`", done.stderr)
        running = Exporter(self.lab, self.CONFIG)
        done = self.run_once("{}\n", "--status", "--quiet", f"--web.listen-address=127.0.0.1:{running.port}")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""), "the daemon is asked")


class Once(Laboratory):
    FINE = f"openvpn: [{{status: {STATUS}, stale_after: 4000000000}}]\n"
    SESSIONS = "ovpn_sessions_total 3\n"

    def test_one_scrape_is_printed(self):
        charon = Replay(self.lab, "two-children")
        config = f"vici_socket: {charon.socket}\n" + self.FINE
        for flag in ("--once", "--dry-run"):
            done = self.run_once(config, flag)
            self.assertEqual(done.returncode, 0, done.stderr)
            families = read_exposition(done.stdout)
            self.assertIn(self.SESSIONS, done.stdout)
            self.assertIn("strongswan_tunnel_up", families)
            self.assertEqual(own_complaints(done.stdout), [])
            self.assertEqual("watching" in done.stderr, flag == "--dry-run")
        served = set(Exporter(self.lab, config).metrics())
        self.assertEqual(set(families), served)

    def test_what_is_down_is_said_by_the_exit_status(self):
        done = self.run_once(self.FINE + "vici_socket: /no/such\n", "--once")
        self.assertEqual(done.returncode, 1)
        self.assertIn("strongswan: /no/such: not found", done.stderr)
        families = read_exposition(done.stdout)
        self.assertEqual(families["probe_success"].samples, {(): 0, series({"version": "2.6.14"}): 1})
        self.assertIn(self.SESSIONS, done.stdout)
        with open("/dev/full", "w", encoding="utf-8") as full:
            path = self.lab.write("config.yaml", self.FINE)
            done = subprocess.run((self.binary, "--once", "-c", path), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard output: ", done.stderr)

    def test_a_file_is_replaced_in_one_step(self):
        path = self.lab.path("text", "vpn.prom")
        self.assertEqual(self.run_once(self.FINE, "--once", f"--output={path}").returncode, 0)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o644)
        over, seen = threading.Event(), set()

        def watch():
            while not over.is_set():
                with open(path, "rb") as file:
                    text = file.read()
                    seen.add(os.fstat(file.fileno()).st_ino)
                read_exposition(text)
                if self.SESSIONS.encode() not in text or not text.endswith(b"\n"):
                    raise AssertionError(f"{len(text)} bytes")

        failure = []

        def watch_and_tell():
            try:
                watch()
            except BaseException as error:  # handed to the test
                failure.append(error)

        thread = threading.Thread(target=watch_and_tell)
        thread.start()
        for _ in range(40):
            done = self.run_once(self.FINE, "--once", "--output", path)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        over.set()
        thread.join()
        self.assertEqual(failure, [])
        self.assertGreater(len(seen), 1, "the file was not seen to change")
        self.assertEqual(os.listdir(os.path.dirname(path)), ["vpn.prom"])

    def test_what_is_no_file_is_not_replaced(self):
        folder, link = os.path.dirname(self.lab.path("folder", "-")), self.lab.path("link")
        os.symlink("/dev/null", link)
        for path, complaint in (
            (folder, "not a regular file"), ("/dev/null", "not a regular file"), (link, "not a regular file"),
            ("/no/such/folder/vpn.prom", "not found"),
        ):
            done = self.run_once(self.FINE, "--once", f"--output={path}")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"--output: {path}: {complaint}", done.stderr)
        self.assertTrue(stat.S_ISCHR(os.stat("/dev/null").st_mode) and os.path.islink(link))

    def test_node_exporter_takes_the_file(self):
        folder = os.path.dirname(self.lab.path("text", "-"))
        self.assertEqual(self.run_once(self.FINE, "--once", f"--output={folder}/vpn.prom").returncode, 0)
        port = free_port()
        self.lab.start(
            ("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
             f"--collector.textfile.directory={folder}", f"--web.listen-address=127.0.0.1:{port}"), log="node",
        )

        def scraped():
            try:
                return fetch(None, "127.0.0.1", port, "/metrics")[2].decode()
            except ConnectionError:
                return None

        text = wait_for("node_exporter", scraped)
        self.assertIn("\nnode_textfile_scrape_error 0\n", text)
        self.assertIn("\n" + self.SESSIONS, text)
        self.assertIn(f'gateway_exporter_target_up{{collector="openvpn",target={json.dumps(str(STATUS))}}} 1\n', text)


if __name__ == "__main__":
    unittest.main()
