"""Sick sources: each costs only itself, in time, with one line in the log, its reason on the page, no invented number.

The exporter runs as a user without rights, beside a charon, an `ipsec` and a status file that do what a test wants.
"""

import contextlib
import html
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
import unittest
from unittest import mock

from exporter import Exporter, binary, fetch, read_exposition, series
from host import Lab, wait_for
from hung import Hung
from openvpn import written_now
from replay import FIXTURES

CHARON = FIXTURES / "strongswan" / "two-children"
IPSEC = FIXTURES / "ipsec" / "site-to-site"
STATUS = FIXTURES / "openvpn" / "version-3" / "status"
TIME = 1.0
SCRAPES = 3


def segment(body):
    return struct.pack(">I", len(body)) + body


UNKNOWN_COMMAND, UNKNOWN_EVENT, CONFIRM = segment(b"\x02"), segment(b"\x06"), segment(b"\x05")
VERSION, CONNECTIONS, SAS = ((CHARON / f"{name}.vici").read_bytes() for name in ("version", "list-conns", "list-sas"))
UNASKED = segment(b"\x07\x03log\x03\x05level\x00\x011")
# What is asked for between the connections and the SAs, and behind them, is what this charon does not know: policies, then
# statistics; statistics again, pools, counters.
LACKS, LACKS_MORE = UNKNOWN_EVENT + UNKNOWN_COMMAND, UNKNOWN_COMMAND * 8
WELL = VERSION + CONNECTIONS + LACKS + SAS + LACKS_MORE
DEPTH = 170_000
# Sections in sections without a name: ten million elements in all.
NEST = segment(b"\x07\x09list-conn" + b"\x01\x00" * DEPTH + b"\x02" * DEPTH)
NESTS = NEST * (10_000_000 // (2 * DEPTH) + 1)
OPEN_NEST = segment(b"\x07\x09list-conn" + b"\x01\x00" * DEPTH)


class Charon:
    """Says the same bytes to whoever connects, and then hangs up or keeps silent."""

    def __init__(self, lab, name="charon.vici"):
        self.path, self.words, self.hangs_up = lab.path(name), WELL, False
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            wire, _ = self.listener.accept()
            threading.Thread(target=self.speak, args=(wire, self.words, self.hangs_up), daemon=True).start()

    @staticmethod
    def speak(wire, words, hangs_up):
        with contextlib.suppress(OSError), wire:
            wire.settimeout(10)
            wire.sendall(words)
            if hangs_up:
                wire.shutdown(socket.SHUT_WR)
            while wire.recv(4096):
                pass


class Sick(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        os.chmod(cls.lab.folder, 0o755)
        shutil.copy(binary(), cls.lab.path("gateway-exporter"))
        enter = f'exec setpriv --reuid=65534 --regid=65534 --clear-groups {cls.lab.path("gateway-exporter")} "$@"\n'
        as_nobody = cls.lab.write("as-nobody", "#!/bin/sh\n" + enter, 0o755)
        cls.charon = Charon(cls.lab)
        cls.status, cls.ipsec = cls.lab.path("server.status"), cls.lab.path("ipsec")
        shutil.copy(IPSEC / "ipsec.conf", cls.lab.path("ipsec.conf"))
        shutil.copy(IPSEC / "statusall", cls.lab.path("statusall"))
        config = f"vici_socket: {cls.charon.path}\nipsec_config: {cls.lab.path('ipsec.conf')}\n"
        config += f"ipsec_command: [{cls.ipsec}, statusall]\novpnudpstatus: {cls.status}\n"
        config += "sockets:\n  - {name: here, port: 1, protocol: tcp4}\n"
        cls.as_nobody, cls.config, cls.exporter = as_nobody, config, None

    @classmethod
    def fresh(cls):
        """All is well, and the log has not said anything: it has a line a minute for a target."""
        cls.heal()
        if cls.exporter:
            cls.exporter.stop()
            cls.started += 1
        else:
            cls.started = 0
        with mock.patch.dict(os.environ, GATEWAY_EXPORTER=cls.as_nobody):
            cls.exporter = Exporter(cls.lab, cls.config, name=f"exporter{cls.started}")

    @classmethod
    def heal(cls):
        cls.charon.words, cls.charon.hangs_up = WELL, False
        os.chmod(cls.charon.path, 0o777)
        cls.script(f"cat {cls.lab.path('statusall')}")
        cls.remove_status()
        shutil.copy(STATUS, cls.status)
        past = time.time() - 5
        os.utime(cls.status, (past, past))

    @classmethod
    def script(cls, words):
        path = cls.lab.write("ipsec.new", f"#!/bin/sh\n{words}\n", 0o755)
        os.rename(path, cls.ipsec)

    @classmethod
    def remove_status(cls):
        with contextlib.suppress(FileNotFoundError):
            if os.path.isdir(cls.status):
                os.rmdir(cls.status)
            else:
                os.remove(cls.status)

    def setUp(self):
        self.fresh()
        families = self.scrape()
        self.assertEqual(set(families["gateway_exporter_target_up"].samples.values()), {1}, self.exporter.log())

    def scrape(self):
        started = time.monotonic()
        status, _, body = self.exporter.get("/metrics", {"X-Prometheus-Scrape-Timeout-Seconds": str(TIME)})
        self.assertEqual(status, 200)
        # What hangs here does so for a minute or for ever; the rest is for a busy machine.
        self.assertLess(time.monotonic() - started, TIME + 10)
        return read_exposition(body)

    def suffer(self, collector, reason, *absent, logged=None):
        """The last of some scrapes, after all that must be so was held against it. `logged` is the reason that is said
        first, where another follows."""
        before = len(self.exporter.log())
        for _ in range(SCRAPES):
            families = self.scrape()
        for labels, up in families["gateway_exporter_target_up"].samples.items():
            labels = dict(labels)
            sick = labels["collector"] == collector and not labels["target"].endswith("ipsec.conf")
            self.assertEqual(up, 0 if sick else 1, labels)
        for name in absent:
            self.assertNotIn(name, families)
        page = html.unescape(self.exporter.get("/", {"X-Prometheus-Scrape-Timeout-Seconds": str(TIME)})[2].decode())
        self.assertIn(reason, page)

        def complaints():
            # A thread of its own writes the log: that the status file is old, which it is, may be said late.
            lines = self.exporter.log()[before:].splitlines()
            return [line for line in lines if line.startswith(f"[WARN] {collector}: ") and ": stale, " not in line]

        wait_for("a line of the log", complaints)
        [line] = complaints()
        self.assertIn(logged or reason, line)
        return families

    def test_charon(self):
        half = CONNECTIONS[: len(CONNECTIONS) // 2]
        for name, words, hangs_up, reason in (
            ("hangs before", b"", False, "no answer in time"),
            ("hangs in the stream", VERSION + half, False, "no answer in time"),
            ("closes at once", b"", True, "closed by the other side"),
            ("closes half way", VERSION + half, True, "closed by the other side"),
            ("2 GiB", b"\x7f\xff\xff\xff" + b"x" * 100000, False, "more than 524288 bytes"),
            ("4 GiB", VERSION + b"\xff\xff\xff\xff", False, "more than 524288 bytes"),
            ("nothing", segment(b"") * 1000, False, "expected a packet type at byte 0"),
            ("garbage", segment(b"\xff" * 1000), False, "expected a packet type that charon sends"),
            ("unknown command", UNKNOWN_COMMAND, False, "version: charon does not know it"),
            ("unknown event", VERSION + UNKNOWN_EVENT, False, "list-conn: charon does not know it"),
            ("nests", VERSION + CONFIRM + NESTS, False, "no answer in time"),
            ("nests for ever", VERSION + CONFIRM + OPEN_NEST, False, "expected the end of a section"),
        ):
            with self.subTest(name):
                self.fresh()
                self.scrape()
                self.charon.words, self.charon.hangs_up = words, hangs_up
                families = self.suffer("strongswan", reason, "strongswan_sessions_total", "strongswan_tunnel_up")
                self.assertIn("ovpn_sessions_total", families)

    def test_charon_says_what_nobody_asked_for(self):
        self.charon.words = UNASKED + VERSION + UNASKED * 3 + CONNECTIONS + LACKS + UNASKED + SAS + UNASKED + LACKS_MORE
        families = self.scrape()
        self.assertEqual(set(families["gateway_exporter_target_up"].samples.values()), {1}, self.exporter.log())
        self.assertEqual(families["strongswan_sessions_total"].samples, {(): 1})

    def test_charon_is_not_for_everybody(self):
        os.chmod(self.charon.path, 0o700)
        self.suffer("strongswan", "permission denied", "strongswan_sessions_total")

    def test_charon_is_not_there(self):
        os.rename(self.charon.path, self.charon.path + ".away")
        try:
            self.suffer("strongswan", "not found", "strongswan_sessions_total")
        finally:
            os.rename(self.charon.path + ".away", self.charon.path)

    def test_ipsec(self):
        for name, words, reason in (
            ("hangs", "sleep 60", "no answer in time"),
            ("prints too much", "head -c 100000000 /dev/zero", "more than 16777216 bytes"),
            ("fails", "echo 'no charon here' >&2; exit 1", "no charon here"),
            ("fails in silence", "exit 1", "exit status: 1"),
            ("is killed", "kill -9 $$", "signal: 9"),
            ("complains for ever", "yes wrong >&2", "no answer in time"),
        ):
            with self.subTest(name):
                self.fresh()
                self.scrape()
                self.script(words)
                families = self.suffer("ipsec", reason)
                self.assertIn("strongswan_sessions_total", families)

    def test_ipsec_leaves_a_child_behind(self):
        self.script(f"cat {self.lab.path('statusall')}; sleep 61 &")
        families = self.scrape()
        self.assertEqual(set(families["gateway_exporter_target_up"].samples.values()), {1}, self.exporter.log())

    def test_ipsec_is_not_ours_to_end(self):
        """Behind sudo it is root's: it hangs, is left alone, and is not started again beside itself."""
        source = self.lab.write("root.c", "#include <unistd.h>\nint main(void) { setuid(0); sleep(3600); return 1; }\n")
        subprocess.run(("gcc", "-o", self.lab.path("ipsec.new"), source), check=True)
        os.chmod(self.lab.path("ipsec.new"), 0o4755)
        os.rename(self.lab.path("ipsec.new"), self.ipsec)
        left = "still runs and can't be ended"
        families = self.suffer("ipsec", left, logged="no answer in time")
        self.assertIn("strongswan_sessions_total", families)
        page = html.unescape(self.exporter.get("/")[2].decode())
        [process] = set(re.findall(rf"process (\d+), which an earlier scrape started, {left}", page))
        self.assertEqual(os.readlink(f"/proc/{process}/exe"), self.ipsec)
        self.heal()
        self.scrape()
        os.kill(int(process), signal.SIGKILL)
        wait_for("ipsec", lambda: set(self.scrape()["gateway_exporter_target_up"].samples.values()) == {1})
        self.assertFalse(os.path.exists(f"/proc/{process}"), "a zombie")

    def test_ipsec_is_missing_or_denied(self):
        for spoil, reason in (
            (lambda: os.chmod(self.ipsec, 0o600), "permission denied"),
            (lambda: os.remove(self.ipsec), "not found"),
        ):
            with self.subTest(reason):
                self.fresh()
                self.scrape()
                spoil()
                self.suffer("ipsec", reason)

    def test_openvpn(self):
        def sparse():
            with open(self.status, "wb") as file:
                file.truncate(1 << 30)

        for name, spoil, reason in (
            ("missing", lambda: None, "not found"),
            ("denied", lambda: (shutil.copy(STATUS, self.status), os.chmod(self.status, 0)), "permission denied"),
            ("folder", lambda: os.mkdir(self.status), "not a regular file"),
            ("pipe", lambda: os.mkfifo(self.status, 0o666), "not a regular file"),
            ("device", lambda: os.mknod(self.status, stat.S_IFCHR | 0o666, os.makedev(1, 5)), "not a regular file"),
            ("1 GB", sparse, "more than 67108864 bytes"),
        ):
            with self.subTest(name):
                self.fresh()
                self.scrape()
                self.remove_status()
                spoil()
                # Without a file there is no server, and so no session; of a file that can't be read nothing is known.
                lost = () if name == "missing" else ("ovpn_sessions_total",)
                families = self.suffer("openvpn", reason, *lost)
                self.assertIn("strongswan_sessions_total", families)

    def test_openvpn_is_stale(self):
        def written(age):
            text = STATUS.read_text(encoding="utf-8")
            with open(self.lab.path("status.new"), "w", encoding="utf-8") as file:
                file.write(written_now(text, age))
            os.rename(file.name, self.status)
            with open(self.status, encoding="utf-8") as file:
                return int(re.search(r"^TIME\t.*\t(\d+)$", file.read(), re.M)[1])

        logged = len(self.exporter.log())
        # The first two say that it is written every ten seconds.
        for age, is_up in ((20, 1), (10, 1), (3600, 0), (5, 1)):
            moment = written(age)
            for _ in range(SCRAPES):
                families = self.scrape()
                self.assertEqual(list(families["ovpn_server_up"].samples.values()), [is_up])
                self.assertEqual(list(families["ovpn_status_updated_timestamp_seconds"].samples.values()), [moment])
                # An old file was read all the same: its clients' totals stand, but nobody is connected.
                self.assertEqual(set(families["gateway_exporter_target_up"].samples.values()), {1})
                self.assertEqual(families["ovpn_sessions_total"].samples, {(): 3 * is_up})
                self.assertEqual("ovpn_client_sessions" in families, bool(is_up))
                self.assertEqual(len(families["ovpn_bytes_in_total"].samples), 3)
        # Said when it changes, and not at each scrape.
        (line,) = self.exporter.log()[logged:].splitlines()
        self.assertIn(f"{self.status}: stale, ", line)

    def test_all_at_once(self):
        self.charon.words = b""
        self.script("sleep 60")
        self.remove_status()
        families = self.scrape()
        up = {dict(labels)["target"]: value for labels, value in families["gateway_exporter_target_up"].samples.items()}
        down = {target for target, value in up.items() if not value}
        self.assertEqual(down, {self.charon.path, f"{self.ipsec} statusall", self.status})
        self.heal()
        wait_for("all to answer again", lambda: set(self.scrape()["gateway_exporter_target_up"].samples.values()) == {1})


class SlowCharon(Charon):
    """Answers well, but its list of SAs takes a while; its version is the number of the connection."""

    def __init__(self, lab, pause):
        self.pause, self.connections = pause, 0
        super().__init__(lab, f"slow{pause}.vici")

    def speak(self, wire, words, hangs_up):
        self.connections += 1
        number = str(self.connections).encode()
        item = lambda key, value: b"\x03" + bytes([len(key)]) + key + struct.pack(">H", len(value)) + value
        version = segment(b"\x01" + item(b"daemon", b"charon") + item(b"version", number))
        with contextlib.suppress(OSError), wire:
            wire.sendall(version + CONNECTIONS + LACKS)
            time.sleep(self.pause)
            super().speak(wire, words, hangs_up)


class Slow(unittest.TestCase):
    """A charon that is healthy and slow, and a stranger: nobody says that it is down."""

    UP = {"collector": "strongswan"}

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)

    def start(self, pause):
        self.charon = SlowCharon(self.lab, pause)
        self.charon.words = SAS + LACKS_MORE
        self.exporter = Exporter(self.lab, f"vici_socket: {self.charon.path}\n", name=f"slow{pause}")

    def strangers(self, count):
        """So many connections from one other address that ask again and again."""
        over = threading.Event()
        request = b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"

        def ask():
            while not over.is_set():
                with contextlib.suppress(OSError):
                    address = ("127.0.0.1", self.exporter.port)
                    with socket.create_connection(address, 20, source_address=("127.0.0.2", 0)) as wire:
                        wire.sendall(request)
                        while wire.recv(65536):
                            pass

        threads = [threading.Thread(target=ask) for _ in range(count)]

        def end():
            over.set()
            for thread in threads:
                thread.join()

        for thread in threads:
            thread.start()
        return end

    def test_a_stranger_who_asks_again_and_again_makes_no_source_down(self):
        for pause, loops in ((0.3, 8), (0.7, 24)):
            with self.subTest(f"a list of {pause} s and {loops} loops"):
                self.start(pause)
                end = self.strangers(loops)
                try:
                    wait_for("the strangers", lambda: self.charon.connections > 1)
                    for _ in range(5):
                        before = self.charon.connections
                        families = self.exporter.metrics()
                        self.assertEqual(set(families["gateway_exporter_target_up"].samples.values()), {1})
                        self.assertEqual(families["strongswan_sessions_total"].samples, {(): 1})
                        [labels] = families["probe_success"].samples
                        number = int(dict(labels)["version"])
                        # It began after the scrape did, and only one ran before it; one more where this test is late.
                        self.assertGreater(number, before)
                        self.assertLessEqual(number, before + 3)
                finally:
                    end()
                self.assertNotIn("WARN", self.exporter.log())

    def test_a_stranger_who_can_not_wait_writes_no_log(self):
        """By turns it gives a scrape too little time and enough; one line a minute is what that may cost."""
        for pause, hasty, lines in ((0.4, "0.35", 0), (0.8, "0.75", 1)):
            with self.subTest(f"a list of {pause} s and {hasty} s for it"):
                self.start(pause)
                for _ in range(6):
                    for headers in ({"X-Prometheus-Scrape-Timeout-Seconds": hasty}, None):
                        status, _, body = self.exporter.get("/metrics", headers)
                        self.assertEqual(status, 200)
                    up = read_exposition(body)["gateway_exporter_target_up"].samples
                    self.assertEqual(set(up.values()), {1}, "whoever has time is told the truth")
                log = self.exporter.log()
                self.assertLessEqual(log.count("no answer in time") + log.count("answers again"), lines, log)


class Hanging(unittest.TestCase):
    """A file system that hangs costs the files on it, one thread each, and nothing else."""

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.hung = Hung(self.lab.path("hung"))
        self.addCleanup(self.hung.end)
        self.well = self.lab.path("well.status")
        shutil.copy(STATUS, self.well)
        past = time.time() - 5
        os.utime(self.well, (past, past))

    def scrape(self, exporter, address="127.0.0.1"):
        status, _, body = fetch(None, address, exporter.port, "/metrics", {"X-Prometheus-Scrape-Timeout-Seconds": "2"})
        self.assertEqual(status, 200)
        families = read_exposition(body)
        return {dict(labels)["target"]: up for labels, up in families["gateway_exporter_target_up"].samples.items()}

    def threads(self, exporter):
        return len(os.listdir(f"/proc/{exporter.process.pid}/task"))

    def test_it_costs_the_files_on_it_and_one_thread_each(self):
        # The first is read before the one that is well.
        first, last = (os.path.join(self.hung.path, name) for name in ("first.status", "last.status"))
        pattern, conf = os.path.join(self.hung.path, "*.log"), os.path.join(self.hung.path, "ipsec.conf")
        command = os.path.join(self.hung.path, "ipsec")
        config = "openvpn:\n" + "".join(
            f"  - {{name: {name}, status: '{path}'}}\n"
            for name, path in (("first", first), ("well", self.well), ("pattern", pattern), ("last", last))
        )
        config += f"ipsec_config: {conf}\nipsec_command: [{command}, statusall]\n"
        config += "sockets:\n  - {name: here, port: 1, protocol: tcp4}\n"
        exporter = Exporter(self.lab, config)
        expected = {first: 0, self.well: 1, pattern: 0, last: 0, conf: 0, f"{command} statusall": 0}
        # What the kernel has, it says.
        expected.update({target: 1 for target in self.scrape(exporter) if target.startswith("/proc/")})
        self.assertIn("/proc/net/tcp", expected)
        self.assertEqual(self.scrape(exporter), expected)
        threads = self.threads(exporter)
        for _ in range(40):
            self.assertEqual(self.scrape(exporter), expected)
        self.assertLessEqual(self.threads(exporter), threads + 2, "each scrape took one")
        page = html.unescape(exporter.get("/")[2].decode())
        self.assertIn("no answer in time", page)
        self.assertEqual(exporter.get("/sessions")[0], 200)
        lines = len(expected) - sum(expected.values())
        wait_for("a line of the log for each", lambda: exporter.log().count("no answer in time") >= lines)
        self.assertEqual(exporter.log().count("no answer in time"), lines, exporter.log())
        self.hung.end()

        def is_told():
            return "no answer in time" not in html.unescape(exporter.get("/")[2].decode())

        wait_for("what is not there to be told from what hangs", is_told)
        self.assertEqual(self.scrape(exporter)[self.well], 1)
        wait_for("the threads to be back", lambda: self.threads(exporter) < threads)

    def test_it_ends_at_once(self):
        config = f"ovpnudpstatus: {self.hung.path}/a.status\nipsec_config: {self.hung.path}/ipsec.conf\n"
        for number in (signal.SIGTERM, signal.SIGINT):
            exporter = Exporter(self.lab, config, name=f"ends{number}")
            self.scrape(exporter)
            exporter.process.send_signal(number)
            self.assertEqual(exporter.process.wait(1), 0, number)

    def test_the_daemon_starts_where_a_folder_hangs_in_which_it_looks_for_sources(self):
        hung = Hung(f"/run/openvpn-hung-{os.getpid()}")
        self.addCleanup(os.rmdir, hung.path)
        self.addCleanup(hung.end)
        exporter = Exporter(self.lab, "server_name: gw\n")
        self.assertEqual(exporter.get("/metrics")[0], 200)
        wait_for("a word of it", lambda: "what is on this machine: no answer in time" in exporter.log())
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: "what was watched before is still watched" in exporter.log())
        hung.end()

        def has_looked():
            exporter.process.send_signal(signal.SIGHUP)
            # A look has half a second. Looks that overlap would slow each other down, on a busy machine until none is in time.
            time.sleep(1)
            return exporter.log().count("nothing to watch was found") + exporter.log().count("[INFO] watching ") > 1

        wait_for("a whole look", has_looked, seconds=60)
        self.assertEqual(exporter.get("/metrics")[0], 200)

    def test_once_says_what_there_is(self):
        config = self.lab.write("once.yaml", f"openvpn:\n  - status: {self.hung.path}/a\n  - status: {self.well}\n")
        done = subprocess.run((binary(), "--once", f"--config.file={config}"), capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1, done.stderr)
        up = read_exposition(done.stdout.encode())["gateway_exporter_target_up"].samples
        label = lambda target: series({"collector": "openvpn", "target": target})
        self.assertEqual(up, {label(f"{self.hung.path}/a"): 0, label(self.well): 1})

    def test_what_is_a_pipe_is_refused_without_waiting(self):
        pipe = self.lab.path("pipe")
        os.mkfifo(pipe, 0o666)
        exporter = Exporter(self.lab, f"ovpnudpstatus: {pipe}\nipsec_config: {pipe}\nipsec_command: [{pipe}]\n")
        self.scrape(exporter)
        wait_for("a line for each source", lambda: exporter.log().count(f"{pipe}: not a regular file") == 2)


if __name__ == "__main__":
    unittest.main()
