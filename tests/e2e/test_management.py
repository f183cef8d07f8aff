"""OpenVPN's management interface: what the exporter says when it asks real servers and clients, and what they hear."""

import json
import os
import re
import socket
import time
import unittest

from exporter import Exporter, binary, inside, series
from host import Lab, run, wait_for
from openvpn import GATEWAY, Site
from test_openvpn import status_rows

ANN = series({"client": "ann_udp"})
GREETING = b">INFO:OpenVPN Management Interface"
COMMANDS = ["version", "state", "status 3", "quit"]


def commands_in(log):
    """What a daemon with `--verb 7` says that it was sent."""
    return re.findall(r"MANAGEMENT: CMD '(.*)'", log)


class Sitter:
    """A management client that connects and stays."""

    def __init__(self, path):
        self.wire = socket.socket(socket.AF_UNIX)
        self.wire.settimeout(20)
        self.wire.connect(path)
        greeting = b""
        while not greeting.startswith(GREETING):
            piece = self.wire.recv(4096)
            assert piece, greeting
            greeting += piece

    def close(self):
        self.wire.close()


class ManagementTest(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.site = Site(self.lab, "m")

    def socket(self, name):
        return self.lab.path("management", name)

    def password_file(self, text="a secret \"word\"\n"):
        return self.lab.write("management/password", text, mode=0o600)

    def exporter(self, *entries, **options):
        lines = [f"  - {json.dumps(entry)}" for entry in entries]
        return Exporter(self.lab, "openvpn:\n" + "\n".join(lines) + "\n", host=self.site.gateway, **options)

    def doctor(self, exporter):
        """What --doctor says in the exporter's place, whatever its exit status."""
        done = self.site.gateway.command(binary(), f"--config.file={exporter.config}", "--doctor")
        return run("sh", "-c", '"$@"; true', "sh", *done)

    def connect(self, **options):
        """A server and a client with some traffic."""
        server = self.site.server(**options)
        client = self.site.client("ann", proto=options.get("proto", "udp").replace("server", "client"))
        client.send(20)
        server.await_rewrite(2)
        return server, client

    def settled(self, server, exporter):
        """(families, row of the file) of a moment at which nobody sends: both say the same bytes."""

        def attempt():
            families = exporter.metrics()
            rows = status_rows(server.whole())
            protocol = server.proto
            found = [families["ovpn_bytes_in_total"].samples[series({"client": f"ann_{protocol}"})] == row.received for row in rows]
            return (families, rows) if found == [True] else None

        return wait_for("the file to say what the daemon says", attempt)

    def test_a_server_over_udp_is_asked_on_its_socket(self):
        path = self.socket("office.sock")
        server, _ = self.connect(extra=("--management", path, "unix", "--verb", "7"))
        exporter = self.exporter({"name": "office", "management": f"unix:{path}"})
        families, rows = self.settled(server, exporter)
        self.assertEqual(families["ovpn_sessions_total"].samples[()], 1)
        self.assertEqual(families["ovpn_bytes_out_total"].samples[ANN], rows[0].sent)
        self.assertEqual(families["ovpn_server_up"].samples[series({"server": "office"})], 1)
        version = re.search(r"OpenVPN (\S+)", server.read().decode())[1]
        self.assertEqual(families["ovpn_info"].samples, {series({"product": "OpenVPN", "version": version}): 1})
        started = families["ovpn_server_started_timestamp_seconds"].samples[series({"server": "office"})]
        self.assertTrue(0 <= time.time() - started < 600, started)
        _, _, body = exporter.get("/sessions")
        self.assertEqual([row["remoteid"] for row in json.loads(body)], ["ann"])
        self.assertIn("answers", self.doctor(exporter))
        heard = commands_in(self.lab.log(server.log))
        self.assertTrue(heard and len(heard) % 4 == 0, heard)
        self.assertEqual(heard, COMMANDS * (len(heard) // 4), "nothing else is ever sent")
        self.assertEqual(self.lab.log(server.log).count("MANAGEMENT: Client disconnected"), len(heard) // 4, "it is not held")

    def test_a_server_over_tcp_is_asked_on_a_port_with_a_password(self):
        password = self.password_file()
        server, _ = self.connect(proto="tcp-server", extra=("--management", "127.0.0.1", "7505", password, "--verb", "7"))
        entry = {"name": "office", "protocol": "tcp", "management": "127.0.0.1:7505"}
        exporter = self.exporter({**entry, "management_password_file": password})
        metrics = exporter.metrics()
        self.assertEqual(metrics["ovpn_sessions_total"].samples[()], 1)
        self.assertIn(series({"client": "ann_tcp"}), metrics["ovpn_bytes_in_total"].samples)
        self.assertEqual(commands_in(self.lab.log(server.log)), COMMANDS)
        wrong = self.exporter(
            {**entry, "management_password_file": self.lab.write("management/other", "another\n")}, name="wrong"
        )
        self.assertEqual(wrong.value("ovpn_server_up", server="office"), 0)
        self.assertIn("refuses the password", self.doctor(wrong))
        without = self.exporter(entry, name="without")
        self.assertEqual(without.value("ovpn_server_up", server="office"), 0)
        self.assertIn("asks for a password", self.doctor(without))
        for one in (exporter, wrong, without):
            for text in (one.log(), self.doctor(one)):
                self.assertFalse("secret" in text or "another" in text.replace("another client", ""), text)
        self.assertEqual(exporter.value("ovpn_server_up", server="office"), 1, "it still answers")

    def test_a_client_says_its_own_state(self):
        path = self.socket("home.sock")
        server = self.site.server()
        client = self.site.client("ann", extra=("--management", path, "unix"))
        client.send(20)
        exporter = Exporter(
            self.lab, f"openvpn:\n  - name: home\n    status: {client.status}\n    management: {path}\n", host=self.site.far
        )
        home = series({"server": "home"})
        metrics = exporter.metrics()
        self.assertEqual(metrics["ovpn_link_up"].samples, {home: 1})
        self.assertTrue(0 <= time.time() - metrics["ovpn_link_connected_timestamp_seconds"].samples[home] < 600)
        first = metrics["ovpn_link_tun_read_bytes_total"].samples[home]
        self.assertGreaterEqual(first, 20 * 1000)
        self.assertIn("2.", str(metrics["ovpn_info"].samples))
        client.send(5)
        sitter = Sitter(path)
        held = exporter.metrics()
        self.assertGreaterEqual(held["ovpn_link_tun_read_bytes_total"].samples[home], first, "the file is older, and no total falls")
        self.assertEqual(held["probe_success"].samples, metrics["probe_success"].samples)
        sitter.close()
        server.kill()
        wait_for("the client to notice", lambda: exporter.value("ovpn_link_up", server="home") == 0, seconds=90)
        self.assertIsNone(exporter.value("ovpn_link_connected_timestamp_seconds", server="home"))
        self.assertEqual(exporter.value("ovpn_server_up", server="home"), 1)

    def test_where_somebody_sits_on_the_socket_the_file_answers(self):
        path = self.socket("office.sock")
        server, _ = self.connect(extra=("--management", path, "unix"))
        both = self.exporter({"name": "office", "status": server.status, "management": path})
        alone = self.exporter({"name": "office", "management": path}, name="alone")
        before = both.metrics()
        self.assertIn("ovpn_server_started_timestamp_seconds", before)
        sitter = Sitter(path)
        held = both.metrics()
        self.assertEqual(held["ovpn_server_up"].samples, {series({"server": "office"}): 1})
        for name in ("ovpn_bytes_in_total", "ovpn_bytes_out_total"):
            self.assertEqual(held[name].samples.keys(), before[name].samples.keys())
            self.assertTrue(all(value >= before[name].samples[at] for at, value in held[name].samples.items()))
        words = self.doctor(both)
        self.assertIn("most likely another client holds it", words)
        self.assertIn("the status file is read instead", words)
        command = re.search(r"(ss -xp .*) says who", words)[1]
        self.assertIn(f"pid={os.getpid()}", self.says_who(command))
        # Without a file there is none to read; the whole scrape still ends in time.
        self.assertEqual(alone.value("ovpn_server_up", server="office"), 0)
        self.assertIn("no answer in time", self.doctor(alone))
        sitter.close()
        wait_for("the daemon to answer again", lambda: alone.value("ovpn_server_up", server="office") == 1)
        self.assertIn("ovpn_server_started_timestamp_seconds", both.metrics())

    @staticmethod
    def says_who(command):
        """What the command of the advice shows; sockets of this test are not in the gateway's namespace."""
        return run("sh", "-c", command)

    def test_a_daemon_in_hold_or_without_a_password_is_down_and_says_so(self):
        hold, asking = self.socket("hold.sock"), self.socket("asking.sock")
        common = (
            "openvpn", "--client", "--remote", GATEWAY, "--dev", "null", "--dev-type", "tun", "--disable-dco", "--ca",
            self.site.pki.authority, "--auth-user-pass", "--management-query-passwords",
        )
        certificate, key = self.site.pki.issue("ann")
        for path, extra in ((hold, ("--management-hold",)), (asking, ())):
            self.site.gateway.start(
                *common, "--cert", certificate, "--key", key, "--management", path, "unix", *extra, log=f"{path}.log"
            )
        wait_for("both to listen", lambda: os.path.exists(hold) and os.path.exists(asking))
        status = self.lab.write("management/status", "")
        exporter = self.exporter(
            {"name": "hold", "management": hold, "status": status}, {"name": "asking", "management": asking}
        )
        up = exporter.metrics()["ovpn_server_up"].samples
        self.assertEqual(up, {series({"server": "hold"}): 0, series({"server": "asking"}): 0})
        words = self.doctor(exporter)
        self.assertIn("waits for its hold to be released", words)
        self.assertIn("waits for a password", words)
        # It was asked and not released.
        self.assertIn("waits for its hold to be released", self.doctor(exporter))

    def test_no_total_falls_and_none_jumps_where_file_and_daemon_take_turns_under_traffic(self):
        for number, version in enumerate((1, 3)):
            with self.subTest(version=version), Lab() as lab:
                self.take_turns(lab, Site(lab, f"t{number}"), version)

    def take_turns(self, lab, site, version):
        path = lab.path("management", "office.sock")
        server = site.server(status_version=version, extra=("--management", path, "unix"))
        clients = [site.client(name) for name in ("ann", "bob")]
        config = f"openvpn:\n  - name: office\n    status: {server.status}\n    management: {path}\n"
        exporter = Exporter(lab, config, host=site.gateway)
        names = ("ovpn_bytes_in_total", "ovpn_bytes_out_total")
        last, sitter, seen = {}, None, set()
        for turn in range(12):
            for client in clients:
                client.send(10)
            if turn % 3 == 2:
                sitter = sitter.close() if sitter else Sitter(path)
            metrics = exporter.metrics()
            seen.add("ovpn_server_started_timestamp_seconds" in metrics)
            for name in names:
                for at, value in metrics[name].samples.items():
                    self.assertGreaterEqual(value, last.get((name, at), 0), f"{name} {at} in turn {turn}")
                    last[name, at] = value
        if sitter:
            sitter.close()
        self.assertEqual(seen, {True, False}, "both have answered")
        time.sleep(1)
        server.await_rewrite(2)

        def equal():
            metrics = exporter.metrics()
            rows = {row.name: (row.received, row.sent) for row in status_rows(server.whole())}
            found = {
                name: tuple(metrics[family].samples[series({"client": f"{name}_udp"})] for family in names) for name in rows
            }
            return found == rows and len(rows) == 2

        wait_for("totals that are the sessions' own bytes: nothing was counted twice", equal)


if __name__ == "__main__":
    unittest.main()
