"""TLS: the binary that was built with the feature, its certificates made here by openssl."""

import contextlib
import os
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest
from unittest import mock

from exporter import ROOT, Exporter, binary, read_exposition
from host import Lab, wait_for
from prometheus import Prometheus
from test_siege import MOST_MEMORY_OF_TLS, Vital, hello_of_a_client

BINARY = ROOT / "target" / "debug" / "gateway-exporter-tls"
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
KEPT = REQUEST.replace(b"Connection: close\r\n", b"")
CONFIG = "sockets:\n  - {name: here, port: 1, protocol: tcp4}\n"
# What the server gives a head and all that must come before it.
HEAD_TIME = 5.0


class Authority:
    """Signs certificates for 127.0.0.1; its files are in the lab."""

    def __init__(self, lab, name="ca"):
        self.lab, self.key, self.certificate = lab, lab.path(f"{name}.key"), lab.path(f"{name}.crt")
        self.run("req", "-x509", "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    def run(self, *arguments):
        command = ("openssl", *arguments, "-noenc", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def sign(self, name):
        """(certificate, key)"""
        certificate, key = self.lab.path(f"{name}.crt"), self.lab.path(f"{name}.key")
        self.run(
            "req", "-x509", "-CA", self.certificate, "-CAkey", self.key, "-subj", f"/CN={name}", "-keyout", key,
            "-out", certificate, "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
        )
        return certificate, key


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not BINARY.exists():
            raise unittest.SkipTest("no binary with TLS: make e2e builds it")
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.authority = Authority(cls.lab)
        cls.authority.sign("gateway")
        cls.exporter = cls.start("exporter", "  cert_file: gateway.crt\n  key_file: gateway.key\n")

    @classmethod
    def start(cls, name, settings):
        web = cls.lab.write("web.yaml" if name == "exporter" else f"{name}.yaml", "tls_server_config:\n" + settings)
        with mock.patch.dict(os.environ, GATEWAY_EXPORTER=str(BINARY)):
            return Exporter(cls.lab, CONFIG, name=name, flags=(f"--web.config.file={web}",))

    def wire(self, exporter=None, **options):
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if "own" in options:
            context.load_cert_chain(*options["own"])
        context.maximum_version = options.get("most", ssl.TLSVersion.MAXIMUM_SUPPORTED)
        plain = socket.create_connection(("127.0.0.1", (exporter or self.exporter).port), timeout=20)
        wire = context.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        self.addCleanup(wire.close)
        return wire

    def ask(self, *arguments, request=REQUEST, **options):
        wire = self.wire(*arguments, **options)
        wire.sendall(request)
        return self.rest(wire)

    @staticmethod
    def rest(wire):
        said = b""
        while piece := wire.recv(65536):
            said += piece
        return said

    def assert_scrape(self, said):
        self.assertTrue(said.startswith(b"HTTP/1.1 200 OK\r\n"), said[:100])

    def test_a_scrape_is_whole(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            wire = self.wire(most=version)
            wire.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            # Read to the closing alert: without it this raises.
            head, body = self.rest(wire).split(b"\r\n\r\n", 1)
            self.assertTrue(head.startswith(b"HTTP/1.0 200 OK\r\n"), head)
            self.assertIn("gateway_exporter_target_up", read_exposition(body))

    def test_one_connection_serves_many_scrapes(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            wire = self.wire(most=version)
            for _ in range(30):
                wire.sendall(KEPT)
                self.assert_scrape(self.whole(wire))
            # In pieces, as records that are not complete.
            for byte in KEPT:
                wire.sendall(bytes([byte]))
            self.assert_scrape(self.whole(wire))
            wire.sendall(REQUEST)
            self.assert_scrape(self.rest(wire))

    def test_what_is_pipelined_or_has_a_body_ends_the_connection_with_its_alert(self):
        for words in (KEPT * 2, KEPT + b"x", KEPT[:-2] + b"Content-Length: 3\r\n\r\nabc"):
            wire = self.wire()
            wire.sendall(KEPT)
            self.assert_scrape(self.whole(wire))
            wire.sendall(words)
            said = self.rest(wire)
            self.assert_scrape(said)
            self.assertEqual(said.count(b"\r\nConnection: close\r\n"), 1)

    @staticmethod
    def whole(wire):
        """One answer in chunks."""
        said = b""
        while not said.endswith(b"\r\n0\r\n\r\n"):
            piece = wire.recv(65536)
            if not piece:
                raise ConnectionError("closed before the end of the answer")
            said += piece
        return said

    def test_a_head_may_come_in_pieces(self):
        wire = self.wire()
        for byte in REQUEST:
            wire.sendall(bytes([byte]))
            time.sleep(0.002)
        self.assert_scrape(self.rest(wire))

    def test_a_head_of_many_records_in_one_piece_is_heard(self):
        self.assert_scrape(self.ask(request=b"GET /metrics HTTP/1.1\r\nConnection: close\r\nX: " + b"x" * 7000 + b"\r\n\r\n"))
        said = self.ask(request=b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000)
        self.assertTrue(said.startswith(b"HTTP/1.1 431 "), said[:100])

    def test_refusals_are_sealed(self):
        self.assertTrue(self.ask(request=b"POST / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 405 "))
        self.assertTrue(self.ask(request=b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 "))

    def test_prometheus_scrapes(self):
        more = f"    scheme: https\n    tls_config: {{ca_file: '{self.authority.certificate}'}}\n"
        server = Prometheus(self.lab, {"tls": (f"127.0.0.1:{self.exporter.port}", "/metrics", {}, more)})
        server.await_up("tls")
        self.assertEqual(server.query('max(gateway_exporter_target_up{job="tls"})')[0][1], "1")

    def test_plain_http_is_told(self):
        said = self.exporter.say(REQUEST)
        self.assertTrue(said.startswith(b"HTTP/1.1 400 ") and b"TLS" in said, said)

    def test_garbage_costs_nothing(self):
        for words in (b"\x00" * 100, b"\xff" * 5000, b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\x16\x03\x01\x00\x05hello"):
            with socket.create_connection(("127.0.0.1", self.exporter.port), timeout=20) as wire:
                try:
                    wire.sendall(words)
                    wire.shutdown(socket.SHUT_WR)
                    said = self.rest(wire)
                except OSError:
                    continue
                self.assertNotIn(b" 200 ", said)
        self.assert_scrape(self.ask())

    def test_slow_handshakes_take_no_thread_and_are_shown_out(self):
        begin = time.monotonic()
        wires = [socket.create_connection(("127.0.0.1", self.exporter.port), timeout=20) for _ in range(200)]
        for wire in wires:
            self.addCleanup(wire.close)
        hello = hello_of_a_client()
        for wire in wires[:100]:
            wire.sendall(hello[:50])
        for wire in wires[100:150]:
            wire.sendall(hello)
        # A busy machine may be slow once, not three times.
        for _ in range(3):
            started = time.monotonic()
            self.assert_scrape(self.ask())
            taken = time.monotonic() - started
            if taken < 1.0:
                break
        self.assertLess(taken, 1.0)
        with open(f"/proc/{self.exporter.process.pid}/status", encoding="utf-8") as status:
            threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
        self.assertLess(threads, 10)
        for wire in wires:
            self.rest(wire)
        self.assertLess(time.monotonic() - begin, HEAD_TIME + 3)

    def test_handshakes_are_shared_out_by_peer(self):
        """200 clients of one peer want a handshake when another peer comes: it does not wait for theirs."""
        key, certificate = self.lab.path("rsa.key"), self.lab.path("rsa.crt")
        make = f"openssl req -x509 -noenc -newkey rsa:4096 -subj /CN=gateway -keyout {key} -out {certificate}"
        subprocess.run(make.split(), check=True, capture_output=True, timeout=120)
        exporter = self.start("rsa", "  cert_file: rsa.crt\n  key_file: rsa.key\n")
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        hello = hello_of_a_client()
        crowd = []
        for number in range(200):
            wire = socket.create_connection(("127.0.0.1", exporter.port), timeout=20, source_address=("127.0.0.2", 0))
            self.addCleanup(wire.close)
            crowd.append(wire)
        # While it stands still they all say hello, and the scraper comes last.
        exporter.process.send_signal(signal.SIGSTOP)
        for wire in crowd:
            wire.sendall(hello)
        plain = socket.create_connection(("127.0.0.1", exporter.port), timeout=20, source_address=("127.0.0.3", 0))
        wire = trusting.wrap_socket(plain, do_handshake_on_connect=False)
        self.addCleanup(wire.close)
        threading.Timer(0.2, exporter.process.send_signal, (signal.SIGCONT,)).start()
        wire.do_handshake()
        wire.sendall(REQUEST)
        said = self.rest(wire)
        exporter.process.send_signal(signal.SIGSTOP)
        before = len(select.select(crowd, (), (), 0)[0])
        exporter.process.send_signal(signal.SIGCONT)
        self.assert_scrape(said)
        self.assertLess(before, 50, "handshakes of the crowd were computed first")
        for wire in crowd:
            self.assertTrue(wire.recv(1), "and all of the crowd are answered")

    def test_handshakes_without_end_hold_little_memory(self):
        # A hello of 60,000 bytes, of which all but the last record comes.
        part = b"\x16\x03\x01\x40\x00"
        words = part + b"\x01\x00\xea\x60" + b"x" * 16380 + (part + b"x" * 16384) * 2
        vital = Vital(self.exporter.process.pid)
        for _ in range(400):
            wire = socket.create_connection(("127.0.0.1", self.exporter.port), timeout=20)
            self.addCleanup(wire.close)
            with contextlib.suppress(ConnectionError):
                wire.sendall(words)
        self.assert_scrape(self.ask())
        print(f"{vital.peak() >> 10} KiB", end=" ", flush=True)
        self.assertLess(vital.peak(), MOST_MEMORY_OF_TLS)

    def test_clients_are_asked_for_certificates(self):
        settings = "  cert_file: gateway.crt\n  key_file: gateway.key\n  client_ca_file: ca.crt\n"
        own = self.authority.sign("client")
        strange = Authority(self.lab, "strangers").sign("stranger")
        required = self.start("required", settings + "  client_auth_type: RequireAndVerifyClientCert\n")
        self.assert_scrape(self.ask(required, own=own))
        for options in ({}, {"own": strange}):
            with self.assertRaises(OSError):
                self.assertEqual(self.ask(required, **options), b"")
                raise OSError("not let in")
        given = self.start("given", settings + "  client_auth_type: VerifyClientCertIfGiven\n")
        self.assert_scrape(self.ask(given))
        self.assert_scrape(self.ask(given, own=own))

    def test_old_versions_are_refused_where_that_is_said(self):
        new = self.start("new", "  cert_file: gateway.crt\n  key_file: gateway.key\n  min_version: TLS13\n")
        self.assert_scrape(self.ask(new))
        with self.assertRaises(ssl.SSLError):
            self.ask(new, most=ssl.TLSVersion.TLSv1_2)

    def test_a_new_certificate_is_taken_at_a_reload_and_a_bad_one_is_not(self):
        self.authority.sign("renewed")
        exporter = self.start("renewing", "  cert_file: renewed.crt\n  key_file: renewed.key\n")
        before = self.wire(exporter).getpeercert()["serialNumber"]
        self.lab.write("renewed.crt", "nothing\n")
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("the complaint", lambda: "renewed.crt: contains no certificate in PEM" in exporter.log())
        self.assertEqual(self.wire(exporter).getpeercert()["serialNumber"], before)
        self.authority.sign("renewed")
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("the new one", lambda: self.wire(exporter).getpeercert()["serialNumber"] != before)

    def test_mistakes_are_named(self):
        self.lab.write("empty.pem", "")
        for settings, complaint in (
            ("{cert_file: nowhere.crt, key_file: gateway.key}", "nowhere.crt: not found"),
            ("{cert_file: empty.pem, key_file: gateway.key}", "empty.pem: contains no certificate in PEM"),
            ("{cert_file: gateway.crt, key_file: gateway.crt}", "gateway.crt: contains no unencrypted private key in PEM"),
            ("{cert_file: gateway.crt, key_file: ca.key}", "gateway.crt: "),
            ("{cert_file: gateway.crt, key_file: gateway.key, min_version: TLS10}", "min_version: \"TLS10\" is neither"),
            ("{cert_file: gateway.crt, key_file: gateway.key, client_ca_file: ca.crt}", "client_ca_file needs client_auth_type"),
            ("{cert_file: gateway.crt}", "missing field `key_file`"),
        ):
            config = self.lab.write("mistake.yaml", f"web:\n  tls_server_config: {settings}\n{CONFIG}")
            done = subprocess.run([BINARY, "-n", "-c", config], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 2, settings)
            self.assertIn(complaint, done.stderr)


class Without(unittest.TestCase):
    def test_a_build_without_tls_says_so(self):
        lab = Lab()
        self.addCleanup(lab.close)
        config = lab.write("config.yaml", "web:\n  tls_server_config: {cert_file: a, key_file: b}\n")
        done = subprocess.run([binary(), "-n", "-c", config], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        self.assertIn("web.tls_server_config: built without TLS", done.stderr)


if __name__ == "__main__":
    unittest.main()
