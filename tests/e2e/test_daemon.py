"""The binary itself: what it finds on a machine, its signals, its flags, its endpoints."""

import contextlib
import datetime
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest

from exporter import Exporter, binary, connect, fetch, free_port, read_exposition, series
from host import Lab, stop, wait_for
from hung import Hung
from openvpn import written_now
from replay import FIXTURES, Replay

STATUS = FIXTURES / "openvpn" / "version-3" / "status"
IPSEC = FIXTURES / "ipsec" / "site-to-site"
PROMPT = 1.0

# Puts the machine's own folders over those of the namespace; only the exporter sees them.
ENTER = """
root=$1; shift
for folder in run etc var/log; do mount --bind "$root/$folder" "/$folder" || exit 1; done
cd "$root/work" && PATH=$root/bin && export PATH && exec "$@"
"""


class Machine:
    """A host with a /run, an /etc, a /var/log and a PATH of its own: what the exporter finds, the test put there."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.host = lab.host(name)
        self.root = os.path.join(lab.folder, name)
        for folder in ("run", "etc", "var/log", "work", "bin"):
            os.makedirs(os.path.join(self.root, folder))
        for file in ("ld.so.cache", "localtime"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(f"/etc/{file}", os.path.join(self.root, "etc"))
        self.process = None
        self.port = free_port(self.host)

    def put(self, path, text, mode=0o644):
        return self.lab.write(os.path.join(self.name, path), text, mode)

    def place(self, path):
        """Where a file of the machine stands for the test."""
        return self.lab.path(self.name, path)

    def start(self, *flags):
        """Starts the exporter, which listens on 127.0.0.1, and waits for it."""
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        self.process = self.host.start(
            "unshare", "-m", "sh", "-c", ENTER, "sh", self.root, binary(), listen, *flags, log=f"{self.name}/log"
        )
        wait_for("the exporter to listen", self._listens)
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the exporter ended with {self.process.returncode}:\n{self.log()}")
        try:
            connect(self.host, "127.0.0.1", self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def log(self):
        return self.lab.log(f"{self.name}/log")

    def get(self, path):
        return fetch(self.host, "127.0.0.1", self.port, path)

    def targets(self):
        """{(collector, target): up} of a scrape."""
        samples = read_exposition(self.get("/metrics")[2]).get("gateway_exporter_target_up")
        named = ((dict(labels), value) for labels, value in samples.samples.items()) if samples else ()
        return {(labels["collector"], labels["target"]): value for labels, value in named}


def run_to_end(*flags, folder=None, seconds=20):
    """(exit status, stdout, stderr) of the binary."""
    done = subprocess.run(
        (binary(), *flags), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, cwd=folder
    )
    return done.returncode, done.stdout, done.stderr


# What the kernel says of IPsec is watched beside strongSwan and ipsec, where it says anything.
XFRM = "/proc/net/xfrm_stat"
KERNEL = {("kernel", XFRM): 1} if os.path.exists(XFRM) else {}


class Laboratory(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)


class Discovery(Laboratory):
    def test_without_a_configuration_it_watches_what_it_finds(self):
        machine = Machine(self.lab, "found")
        Replay(self.lab, "two-children", machine.place("run/charon.vici"))
        machine.put("etc/ipsec.conf", (IPSEC / "ipsec.conf").read_text())
        machine.put("bin/ipsec", f"#!/bin/sh\nexec /bin/cat '{IPSEC}/statusall'\n", 0o755)
        machine.put("run/openvpn.office.status", written_now(STATUS.read_text()))
        machine.put("var/log/openvpn/openvpn-status.log", written_now(STATUS.read_text()))
        machine.start()
        said = machine.log()
        for words in (
            "strongswan: /var/run/charon.vici",
            "ipsec: /etc/ipsec.conf, ipsec statusall",
            "openvpn: /var/run/openvpn*.status, /var/log/openvpn/*status*",
        ):
            self.assertIn(f"watching {words} (found on this machine)", said)
        self.assertEqual(
            machine.targets(),
            {
                ("strongswan", "/var/run/charon.vici"): 1,
                ("ipsec", "/etc/ipsec.conf"): 1,
                ("ipsec", "ipsec statusall"): 1,
                ("openvpn", "/var/run/openvpn.office.status"): 1,
                ("openvpn", "/var/log/openvpn/openvpn-status.log"): 1,
                **KERNEL,
            },
        )
        families = read_exposition(machine.get("/metrics")[2])
        self.assertEqual(families["ovpn_sessions_total"].samples, {(): 6})
        self.assertEqual(families["ipsec_tunnel_status"].samples[series({"tunnel": "branch-c"})], 2)
        self.assertEqual(families["strongswan_tunnel_up"].samples[series({"connection": "branch", "child": "lan"})], 1)

    def test_what_appears_later_is_watched_from_then_on(self):
        machine = Machine(self.lab, "later").start()
        wait_for("the log", lambda: "nothing to watch was found on this machine yet" in machine.log())
        self.assertEqual(machine.targets(), {})
        self.assertEqual(machine.get("/sessions")[2], b"[]")
        self.assertIn("Nothing is watched", machine.get("/")[2].decode())
        machine.put("run/openvpn.late.status", STATUS.read_text())
        self.assertEqual(machine.targets(), {("openvpn", "/var/run/openvpn.late.status"): 1})
        machine.put("run/openvpn.later.status", STATUS.read_text())
        Replay(self.lab, "ipv6", machine.place("run/charon.vici"))
        targets = machine.targets()
        self.assertEqual(targets.get(("openvpn", "/var/run/openvpn.later.status")), 1)
        self.assertEqual(targets.get(("strongswan", "/var/run/charon.vici")), 1)
        wait_for("the log", lambda: "found on this machine: openvpn" in machine.log())
        wait_for("the log", lambda: "found on this machine: strongswan" in machine.log())

    def test_a_configuration_in_its_usual_place_is_read(self):
        for place, origin in (
            ("etc/gateway-exporter.yaml", "/etc/gateway-exporter.yaml"),
            ("work/config/config.yml", "config/config.yml"),
            ("work/exporter.yaml", "exporter.yaml"),
        ):
            machine = Machine(self.lab, f"usual{len(origin)}")
            status = machine.put("work/status", STATUS.read_text())
            machine.put(place, f"ovpnudpstatus: {status}\n")
            machine.put("run/openvpn.other.status", STATUS.read_text())
            machine.start()
            self.assertEqual(machine.targets(), {("openvpn", status): 1}, place)
            wait_for("the log", lambda: f"watching openvpn: {status} ({origin})" in machine.log())


    def test_a_source_is_switched_off_and_on_by_its_flag(self):
        machine = Machine(self.lab, "switched")
        Replay(self.lab, "two-children", machine.place("run/charon.vici"))
        status = machine.put("work/status", written_now(STATUS.read_text()))
        machine.put("run/openvpn.office.status", written_now(STATUS.read_text()))
        machine.put("work/exporter.yaml", f"ovpnudpstatus: {status}\nsockets: [{{name: a, port: 1}}]\n")
        machine.start("--no-collector.sockets", "--collector.strongswan", "--collector.ipsec", "--no-collector.kernel")
        openvpn, charon = {("openvpn", status): 1}, {("strongswan", "/var/run/charon.vici"): 1}
        self.assertEqual(machine.targets(), {**openvpn, **charon}, "what is configured is not looked for")
        page = machine.get("/status?format=text")[2].decode()
        self.assertIn("\nnone   ipsec  ", page)
        self.assertNotIn("wireguard", page)
        machine.put("etc/ipsec.conf", (IPSEC / "ipsec.conf").read_text())
        machine.put("bin/ipsec", f"#!/bin/sh\nexec /bin/cat '{IPSEC}/statusall'\n", 0o755)
        ipsec = {("ipsec", "/etc/ipsec.conf"): 1, ("ipsec", "ipsec statusall"): 1}
        self.assertEqual(machine.targets(), {**openvpn, **charon, **ipsec}, "it is looked for again")
        machine.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: machine.log().count("watching strongswan") == 2)
        self.assertEqual(machine.targets(), {**openvpn, **charon, **ipsec}, "at a reload, too")

        machine = Machine(self.lab, "found-but-one")
        Replay(self.lab, "two-children", machine.place("run/charon.vici"))
        machine.put("run/openvpn.office.status", STATUS.read_text())
        machine.start("--no-collector.openvpn", "--collector.sockets")
        self.assertEqual(machine.targets(), {**charon, **KERNEL})
        self.assertIn(
            "[WARN] --collector.sockets: it is not looked for on this machine, and the configuration does not say what of it to watch\n",
            machine.log(),
        )

    def test_the_process_is_left_out(self):
        exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n", flags=["--web.disable-exporter-metrics"])
        whole = exporter.metrics("/prom")
        self.assertEqual(list(whole), list(exporter.metrics()))
        self.assertIn("gateway_exporter_build_info", whole)


class Signals(Laboratory):
    def hanging(self, name):
        """An exporter in the middle of a scrape that a silent charon holds up, and that charon's end of the wire."""
        path = self.lab.path(f"{name}.vici")
        silent = socket.socket(socket.AF_UNIX)
        self.addCleanup(silent.close)
        silent.bind(path)
        silent.listen(4)
        silent.settimeout(20)
        exporter = Exporter(self.lab, f"vici_socket: {path}\n", name=name)

        def scrape():
            with contextlib.suppress(OSError):
                exporter.get("/metrics")

        thread = threading.Thread(target=scrape)
        thread.start()
        self.addCleanup(thread.join)
        wire, _ = silent.accept()
        self.addCleanup(wire.close)
        return exporter

    def test_either_signal_ends_it_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n", name=number.name)
            exporter.process.send_signal(number)
            self.assertEqual(exporter.process.wait(PROMPT), 0, number.name)
            self.assertIn(f"{number.name}: ending", exporter.log())

    def test_either_signal_ends_it_also_while_a_scrape_hangs(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            exporter = self.hanging(f"hung-{number.name}")
            exporter.process.send_signal(number)
            self.assertEqual(exporter.process.wait(PROMPT), 0, number.name)

    def test_a_fault_is_said_and_ends_it(self):
        for number in (signal.SIGTRAP, signal.SIGILL, signal.SIGFPE):
            exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n", name=number.name)
            exporter.process.send_signal(number)
            self.assertEqual(exporter.process.wait(PROMPT), -number, number.name)
            words = f"gateway-exporter: ended by a fault in the program ({number.name}); please report it\n"
            self.assertEqual(exporter.log().count(words), 1, exporter.log())

    def test_a_scrape_that_hangs_stops_no_other(self):
        exporter = self.hanging("beside")
        self.assertEqual(exporter.get("/no-such-path")[0], 404)
        status, _, body = fetch(
            None, "127.0.0.1", exporter.port, "/metrics", {"X-Prometheus-Scrape-Timeout-Seconds": "0.5"}
        )
        self.assertEqual(status, 200)
        self.assertEqual(read_exposition(body)["probe_success"].samples, {(): 0})

    def test_a_reload_that_waits_does_not_stop_a_signal(self):
        hung = Hung(self.lab.path("hung"))
        self.addCleanup(hung.end)
        exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n", name="reload")
        os.remove(exporter.config)
        os.symlink(os.path.join(hung.path, "config.yaml"), exporter.config)
        for _ in range(3):
            exporter.process.send_signal(signal.SIGHUP)
            self.assertEqual(exporter.get("/metrics")[0], 200)
        self.assertNotIn("what was watched before", exporter.log(), "it does not wait")
        status, _, body = exporter.get("/-/reload", method="POST")
        self.assertEqual((status, b"is still being read; the log says how that ends\n" in body), (500, True), body)
        exporter.process.send_signal(signal.SIGTERM)
        self.assertEqual(exporter.process.wait(PROMPT), 0)

    def test_a_hangup_reads_the_configuration_again(self):
        first, second = (self.lab.write(name, STATUS.read_text()) for name in ("first", "second"))
        exporter = Exporter(self.lab, f"ovpnudpstatus: {first}\n")

        def targets():
            up = exporter.metrics()["gateway_exporter_target_up"].samples
            return {dict(labels)["target"]: value for labels, value in up.items()}

        def write(text):
            with open(exporter.config, "w", encoding="utf-8") as file:
                file.write(text)
            exporter.process.send_signal(signal.SIGHUP)

        self.assertEqual(targets(), {first: 1})
        write(f"ovpnudpstatus: {first}\novpntcpstatus: {second}\n")
        wait_for("the second file", lambda: targets() == {first: 1, second: 1})
        wait_for("the log", lambda: second in exporter.log())

        for text, complaint in (
            (f"ovpnudpstatus: {first}\novpntcpstatuz: {second}\n", r"unknown field `ovpntcpstatuz`.* line 2"),
            ("vici_socket: http://x\n", r'vici_socket: "http://x" is neither'),
            ("sockets:\n  - {name: a}\n  - {name: b, port: http}\n", r'sockets\[1\]\.port: "http" is not a port'),
        ):
            write(text)
            said = re.compile(re.escape(exporter.config) + ": " + complaint + ".*what was watched before is still watched")
            wait_for(f"a complaint like {said.pattern}", lambda: said.search(exporter.log()))
            self.assertEqual(targets(), {first: 1, second: 1})

        os.remove(exporter.config)
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("a complaint about no file", lambda: "No such file" in exporter.log() or "not found" in exporter.log())
        self.assertEqual(targets(), {first: 1, second: 1})
        exporter.lab.write("exporter/config.yaml", f"ovpntcpstatus: {second}\n")
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("only the second file", lambda: targets() == {second: 1})
        self.assertEqual(exporter.stop(), 0)


class PassedSockets(Laboratory):
    """Sockets that systemd has opened: --web.systemd-socket."""

    def start(self, *sockets, variables="LISTEN_PID=$$", count=None, flags=()):
        """The daemon with these sockets as its descriptors from 3 on; the shell knows the number of the process."""
        config = self.lab.write("config.yaml", f"ovpnudpstatus: {STATUS}\nweb: {{listen: ['127.0.0.1:1']}}\n")
        # First out of the way, so that none of them is overwritten.
        spare = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 100) for one in sockets]

        def place():
            for number, descriptor in enumerate(spare, 3):
                os.dup2(descriptor, number)

        count = len(sockets) if count is None else count
        line = f'{variables} LISTEN_FDS={count} exec "$@"'
        command = ("sh", "-c", line, "sh", binary(), "--web.systemd-socket", "-c", config, *flags)
        log = self.lab.path("log")
        with open(log, "w", encoding="utf-8") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, preexec_fn=place, pass_fds=range(3, 3 + len(sockets))
            )
        for descriptor in spare:
            os.close(descriptor)
        self.addCleanup(stop, process)
        return process

    def said(self):
        return self.lab.log("log")

    def test_they_are_listened_on_and_nothing_else(self):
        first, second = socket.create_server(("127.0.0.1", 0)), socket.create_server(("::1", 0), family=socket.AF_INET6)
        ports = [one.getsockname()[1] for one in (first, second)]
        process = self.start(first, second)
        for one in (first, second):
            self.addCleanup(one.close)
        asked = list(zip(("127.0.0.1", "::1"), ports))
        for address, port in asked:
            self.assertEqual(fetch(None, address, port, "/metrics")[0], 200)
        listening = [name for name in self.inodes(process, "/proc/net/tcp", "/proc/net/tcp6")]
        self.assertEqual(len(listening), 2, "the address of the configuration is not listened on")
        self.assertIn(f"listening on --web.systemd-socket (127.0.0.1:{ports[0]}, [::1]:{ports[1]})\n", self.said())
        for descriptor in (3, 4):
            with open(f"/proc/{process.pid}/fdinfo/{descriptor}", encoding="utf-8") as info:
                flags = int(next(line for line in info if line.startswith("flags:")).split()[1], 8)
            self.assertTrue(flags & os.O_CLOEXEC, "a command that it starts does not get it")
        process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: self.said().count("watching openvpn") == 2)
        for address, port in asked:
            self.assertEqual(fetch(None, address, port, "/-/reload", method="POST")[0], 200)
            self.assertEqual(fetch(None, address, port, "/metrics")[0], 200, "they stay over a reload")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PROMPT), 0)

    def inodes(self, process, *tables):
        """The listening sockets of the process, by their inodes."""
        folder = f"/proc/{process.pid}/fd"
        own = {os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
        for table in tables:
            with open(table, encoding="utf-8") as lines:
                for fields in map(str.split, list(lines)[1:]):
                    if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                        yield fields[9]

    def test_what_is_missing_is_said(self):
        none = (
            "--web.systemd-socket: systemd has passed no socket; start gateway-exporter.socket with ListenStream=9234, "
            "which starts the service\n"
        )
        other = none.replace("passed no socket", "passed something that is no listening TCP socket")
        listener, datagram = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        path = socket.socket(socket.AF_UNIX)
        path.bind(self.lab.path("socket"))
        path.listen()
        connected = socket.create_connection(listener.getsockname())
        for one in (listener, datagram, path, connected):
            self.addCleanup(one.close)
        for sockets, options, complaint in (
            ((), {}, none),
            ((listener,), {"count": 0}, none),
            ((listener,), {"count": "x"}, none),
            ((listener,), {"variables": "LISTEN_PID=1"}, none),
            ((listener,), {"variables": ""}, none),
            ((listener,), {"count": 2}, other),
            ((listener,), {"count": 4294967295}, other),
            ((listener, datagram), {}, other),
            ((path,), {}, other),
            ((connected,), {}, other),
        ):
            process = self.start(*sockets, **options)
            self.assertEqual(process.wait(20), 1, self.said())
            self.assertTrue(self.said().endswith(f"[ERROR] {complaint}"), self.said())

    def test_systemd_passes_them(self):
        tool = shutil.which("systemd-socket-activate")
        if not tool:
            self.assertNotIn("CI", os.environ, "systemd-socket-activate is not installed")
            self.skipTest("systemd-socket-activate is not installed")
        config = self.lab.write("config.yaml", f"ovpnudpstatus: {STATUS}\n")
        port = free_port()
        command = (tool, f"--listen=127.0.0.1:{port}", "--", binary(), "--web.systemd-socket", "-c", config)
        process = self.lab.start(command, log="log")
        wait_for("systemd to listen", lambda: f"Listening on 127.0.0.1:{port}" in self.said())
        self.assertNotIn("watching", self.said(), "the first connection starts it")
        self.assertEqual(fetch(None, "127.0.0.1", port, "/metrics")[0], 200)
        self.assertIn(f"listening on --web.systemd-socket (127.0.0.1:{port})", self.said())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PROMPT), 0)


class Log(Laboratory):
    """A standard error that takes nothing: the daemon goes on, and ends when it is told to."""

    def full(self, ends):
        """A descriptor to write to that is full, the other end of which nobody reads."""
        read, write = ends
        self.addCleanup(os.close, read)
        os.set_blocking(write, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"x" * 4096)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write, b"x")
        os.set_blocking(write, True)
        return write

    def start(self, write):
        self.status = self.lab.write("status", STATUS.read_text())
        config = self.lab.write("config.yaml", f"ovpnudpstatus: {self.status}\n")
        self.port = free_port()
        command = (binary(), "--debug", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.port}")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write)
        os.close(write)
        self.addCleanup(stop, process)
        wait_for("the exporter to listen", self.listens)
        return process

    def listens(self):
        with contextlib.suppress(ConnectionRefusedError):
            connect(None, "127.0.0.1", self.port).close()
            return True
        return False

    def metrics(self):
        status, _, body = fetch(None, "127.0.0.1", self.port, "/metrics")
        self.assertEqual(status, 200)
        return read_exposition(body)

    def test_a_standard_error_that_nobody_reads_stops_nothing(self):
        def pair():
            left, right = socket.socketpair()
            return left.detach(), right.detach()

        for name, ends in (("pipe", os.pipe), ("terminal", os.openpty), ("socket", pair)):
            with self.subTest(name):
                process = self.start(self.full(ends()))
                target = series({"collector": "openvpn", "target": self.status})
                for up in (1, 0, 1):
                    if up:
                        self.lab.write("status", STATUS.read_text())
                    else:
                        os.remove(self.status)
                    families = self.metrics()
                    self.assertEqual(families["gateway_exporter_target_up"].samples, {target: up})
                # Each is refused with a line.
                for _ in range(400):
                    self.assertEqual(fetch(None, "127.0.0.1", self.port, "/", method="POST")[0], 405)
                dropped = self.metrics()["gateway_exporter_log_lines_dropped_total"].samples[()]
                self.assertGreater(dropped, 0)
                self.assertEqual(fetch(None, "127.0.0.1", self.port, "/")[0], 200)
                process.send_signal(signal.SIGHUP)
                self.metrics()
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(PROMPT), 0)

    def test_a_log_that_is_read_drops_nothing(self):
        exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n")
        self.assertEqual(exporter.value("gateway_exporter_log_lines_dropped_total"), 0)
        exporter.process.terminate()
        self.assertEqual(exporter.process.wait(PROMPT), 0)
        self.assertTrue(exporter.log().endswith("SIGTERM: ending\n"), exporter.log())


    def test_lines_are_written_as_programs_read_them(self):
        missing = self.lab.path("no-such-status")
        config = f"ovpnudpstatus: {missing}\n"
        exporter = Exporter(self.lab, config, name="json", flags=["--log.format=json"])
        exporter.metrics()
        self.assertEqual(exporter.stop(), 0)
        lines = [json.loads(line) for line in exporter.log().splitlines()]
        self.assertEqual({tuple(line) for line in lines}, {("time", "level", "msg")})
        self.assertEqual({line["level"] for line in lines}, {"info", "warn"})
        self.assertIn(missing, next(line["msg"] for line in lines if line["level"] == "warn"))
        for line in lines:
            written = datetime.datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S%z")
            self.assertLess(abs(time.time() - written.timestamp()), 3600)

        exporter = Exporter(self.lab, config, name="logfmt", flags=["--log.format=logfmt", "--log.level=warn"])
        exporter.metrics()
        self.assertEqual(exporter.stop(), 0)
        lines = exporter.log().splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertRegex(line, r'^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=warn msg="[^"]*"$')

        done = subprocess.run([binary(), "--log.level=all"], capture_output=True, text=True, timeout=20)
        complaint = 'gateway-exporter: --log.level: "all" is none of debug, info, warn, error\n'
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", complaint))


class CommandLine(Laboratory):
    def config(self, text):
        return self.lab.write("config.yaml", text)

    def test_a_dry_run_says_what_it_would_watch(self):
        config = self.config(
            "vici_socket: /run/no-such.vici\novpnudpstatus: /no/such/status\nipsec_config: /no/such.conf\n"
            "sockets:\n  - {name: ssh, port: 22, status: listen}\n"
        )
        for flag, expected in (("--dry-run", 1), ("-n", 1), ("-dry-run", 1), ("--check-config", 0)):
            status, _, said = run_to_end(flag, "--config.file", config)
            self.assertEqual(status, expected, said)
            self.assertIn("the configuration is valid", said)
            for words in ("strongswan: /run/no-such.vici", "openvpn: /no/such/status", "ipsec: /no/such.conf", "sockets: /proc/net/tcp"):
                self.assertIn(f"watching {words}", said)

    def test_a_dry_run_refuses_a_bad_configuration(self):
        for text, complaint in (
            ("vici_socket: /run/vici\nvici_sockets: x\n", r"unknown field `vici_sockets`.*line 2"),
            ("sockets:\n  - name: a\n    prot: tcp\n", r"sockets\[0\]: unknown field `prot`.*line 3"),
            ("sockets:\n  - {name: a, status: open}\n", r'sockets\[0\]\.status: "open"'),
            ("vici_socket: [\n", r"line \d"),
        ):
            config = self.config(text)
            for flag in ("--dry-run", "--check-config", "--doctor", "--once"):
                status, printed, said = run_to_end(flag, f"--config.file={config}")
                self.assertEqual((status, printed), (2, ""), said)
                self.assertRegex(said, re.escape(config) + ": .*" + complaint)
        status, _, said = run_to_end("-n", "-c", "/no/such/config.yaml")
        self.assertEqual(status, 2)
        self.assertIn("/no/such/config.yaml: ", said)

    def test_an_address_in_use_is_said(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            config = self.config(f"ovpnudpstatus: {STATUS}\n")
            status, _, said = run_to_end(f"--web.listen-address={address}", "-c", config)
        self.assertEqual(status, 1)
        self.assertIn(f"{address}: address already in use: by something else; ss -ltnp says what", said)

    def test_help_and_version_are_on_stdout(self):
        for flag in ("--help", "-h", "-help", "--help-all", "-help-all"):
            status, said, complaint = run_to_end(flag)
            self.assertEqual((status, complaint), (0, ""))
            for known in ("--web.listen-address", "--config.file", "--dry-run", "--help-all"):
                self.assertIn(known, said)
            for known in ("--web.telemetry-path", "--config-path", "--enable.sudo", "--status"):
                self.assertEqual(known in said, flag.endswith("all"), f"{flag} {known}")
        for flag in ("--version", "-version"):
            status, said, complaint = run_to_end(flag)
            self.assertEqual((status, complaint), (0, ""))
            self.assertRegex(said, r"^gateway-exporter \d+\.\d+\.\d+ \(.*\)\n$")

    def test_what_is_not_understood_is_named(self):
        for flags in (("--no-such-flag",), ("stray",), ("--web.telemetry-path=metrics",), ("--config.file",)):
            status, _, said = run_to_end(*flags)
            self.assertEqual(status, 2, flags)
            self.assertIn(flags[0].split("=")[0], said)

    def test_one_dash_and_gos_spelling_serve(self):
        config = self.config(f"ovpnudpstatus: {STATUS}\n")
        for flags in (
            ("-web.listen-address", "127.0.0.1:{port}", "-web.telemetry-path", "/m", "-config.file", config),
            ("-web.listen-address=127.0.0.1:{port}", "-web.telemetry-path=/m", "-config-file=" + config, "-debug=true"),
            ("--web.listen-address", "127.0.0.1:{port}", "--web.telemetry-path=/m", "-c", config, "-enable.sudo=false"),
        ):
            port = free_port()
            command = [binary(), *(flag.format(port=port) for flag in flags)]
            self.lab.start(command, log=f"spelling{port}")

            def answer():
                with contextlib.suppress(ConnectionError):
                    return fetch(None, "127.0.0.1", port, "/m")
                return None

            status, _, body = wait_for(f"an answer with {flags}", answer)
            self.assertEqual(status, 200, flags)
            targets = read_exposition(body)["gateway_exporter_target_up"].samples
            self.assertEqual(targets, {series({"collector": "openvpn", "target": str(STATUS)}): 1}, flags)

    def test_every_address_is_listened_on(self):
        host = self.lab.host("all")
        host.start(binary(), "--web.listen-address=:9234", "-c", self.config(f"ovpnudpstatus: {STATUS}\n"), log="all")

        def answers(address):
            with contextlib.suppress(ConnectionError):
                return fetch(host, address, 9234, "/metrics")[0] == 200
            return False

        for address in ("127.0.0.1", "::1"):
            wait_for(f"an answer on {address}", lambda: answers(address))


class Endpoints(unittest.TestCase):
    TEXT = "text/plain; version=0.0.4; charset=utf-8"

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        charon = Replay(cls.lab, "two-children")
        cls.config = f"vici_socket: {charon.socket}\novpnudpstatus: {STATUS}\n"
        cls.exporter = Exporter(cls.lab, cls.config)

    def test_each_path_has_its_type(self):
        for path, expected in (
            ("/", "text/html; charset=utf-8"),
            ("/static", "text/html; charset=utf-8"),
            ("/metrics", self.TEXT),
            ("/prom", self.TEXT),
            ("/sessions", "application/json; charset=utf-8"),
            ("/sessions_local", "application/json; charset=utf-8"),
        ):
            status, headers, body = self.exporter.get(path)
            self.assertEqual((status, headers.get_all("Content-Type")), (200, [expected]), path)
            self.assertTrue(body, path)
            head_status, head_headers, head_body = self.exporter.get(path, method="HEAD")
            self.assertEqual((head_status, head_headers["Content-Type"], head_body), (200, expected, b""), path)

    def test_head_sends_no_body_on_the_wire(self):
        for path in ("/metrics", "/", "/sessions", "/nowhere"):
            answer = self.exporter.say(f"HEAD {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode())
            self.assertTrue(answer.startswith(b"HTTP/1.1 "), answer)
            self.assertEqual(answer.index(b"\r\n\r\n") + 4, len(answer), path)

    def test_other_paths_are_not_found(self):
        for path in ("/metrics/", "/prom/x", "/favicon.png", "/../metrics", "//metrics", "/Metrics", "/%6detrics"):
            self.assertEqual(self.exporter.get(path)[0], 404, path)

    def test_other_methods_are_refused_with_those_that_are_allowed(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            for path in ("/metrics", "/", "/sessions"):
                status, headers, _ = self.exporter.get(path, method=method)
                self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"), f"{method} {path}")

    def test_prom_adds_the_process_and_the_scrapes(self):
        for _ in range(2):
            plain = self.exporter.metrics("/metrics")
        whole = self.exporter.metrics("/prom")
        self.assertLess(set(plain), set(whole))
        self.assertFalse([name for name in plain if name.startswith(("process_", "promhttp_"))])
        for name in (
            "cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "virtual_memory_bytes",
            "start_time_seconds", "threads",
        ):
            self.assertIn(f"process_{name}", whole)
        with open(f"/proc/{self.exporter.process.pid}/limits", encoding="utf-8") as limits:
            most = int(next(line for line in limits if line.startswith("Max open files")).split()[3])
        self.assertEqual(whole["process_max_fds"].samples, {(): most})
        answered = whole["promhttp_metric_handler_requests_total"].samples[series({"code": "200"})]
        self.assertGreaterEqual(answered, 2)
        self.assertEqual(whole["promhttp_metric_handler_requests_in_flight"].samples, {(): 1})
        again = self.exporter.metrics("/prom")["promhttp_metric_handler_requests_total"].samples
        self.assertEqual(again[series({"code": "200"})], answered + 1)

    def test_collect_narrows_to_the_named_sources(self):
        for query, expected in (
            ("", {"strongswan", "openvpn", *(source for source, _ in KERNEL)}),
            ("?collect[]=openvpn", {"openvpn"}),
            ("?collect%5B%5D=strongswan", {"strongswan"}),
            ("?collect[]=openvpn&collect[]=strongswan", {"strongswan", "openvpn"}),
        ):
            up = self.exporter.metrics("/metrics" + query)["gateway_exporter_target_up"].samples
            self.assertEqual({dict(labels)["collector"] for labels in up}, expected, query)
        status, _, body = self.exporter.get("/metrics?collect[]=nothing")
        self.assertEqual(status, 400)
        self.assertIn(b"collect[]", body)

    def test_a_telemetry_path_of_ones_own(self):
        exporter = Exporter(self.lab, self.config, flags=("--web.telemetry-path=/probe/vpn",), name="path")
        self.assertIn("ovpn_info", exporter.metrics("/probe/vpn"))
        self.assertEqual(exporter.get("/metrics")[0], 404)
        self.assertIn('href="/probe/vpn"', exporter.get("/")[2].decode())
        self.assertEqual(exporter.get("/prom")[0], 200)


if __name__ == "__main__":
    unittest.main()
