"""Sockets: what the rules see against what `ss` counts, in a namespace with known listeners and connections."""

import collections
import os
import shutil
import socket
import subprocess
import sys
import unittest

from exporter import Exporter, connect, inside, series
from host import Lab, wait_for

# Runs inside the gateway under the name of its program: one listener, until its stdin is closed.
LISTENER = """
import socket, sys
end = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
sys.stdin.read()
"""

RULES = """\
sockets:
  - {name: web, host: 192.0.2.1, port: 443, status: listen}
  - {name: web-clients, host: 192.0.2.1, port: 443, status: established}
  - {name: web-one-client, host: 192.0.2.1, port: "443", dstHost: 192.0.2.2, dstPort: 50001, status: established}
  - {name: far-clients, dstHost: 192.0.2.2, protocol: tcp, status: established}
  - {name: web6, srcHost: "2001:db8::1", srcPort: 443, protocol: tcp6, status: listen}
  - {name: web6-clients, srcHost: "2001:db8::1", srcPort: 443, protocol: tcp6, status: established}
  - {name: dual, port: 8443, protocol: tcp6, status: listen}
  - {name: dual-from-v4, port: 8443, protocol: tcp4, status: listen}
  - {name: dual-v4-clients, port: 8443, protocol: tcp4, status: established}
  - {name: dual-v6-clients, port: 8443, protocol: tcp6, status: established}
  - {name: dns, port: 53, protocol: udp, status: listen}
  - {name: dns-clients, dstHost: 192.0.2.2, dstPort: 53, protocol: udp4, status: established}
  - {name: dns6, port: 53, protocol: udp6, status: listen}
  - {name: any-on-443, port: 443}
  - {name: nobody, port: 4444, status: listen}
  - {name: by-process, port: 7001, process: "keeper.*", status: listen}
  - {name: by-half-a-name, port: 7001, process: keep, status: listen}
  - {name: by-another, port: 7001, process: nginx, status: listen}
"""


def near(address, port, kind=socket.SOCK_STREAM):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = socket.socket(family, kind)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
    end.bind((address, port))
    return end


def listening(address, port):
    end = near(address, port)
    end.listen(16)
    return end


class Stage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.gateway, cls.far = cls.lab.host("a"), cls.lab.host("b")
        cls.lab.wire(cls.gateway, cls.far, ("192.0.2.1/24", "2001:db8::1/64"), ("192.0.2.2/24", "2001:db8::2/64"))
        cls.web = cls.hold(cls.gateway, lambda: listening("192.0.2.1", 443))
        cls.web6 = cls.hold(cls.gateway, lambda: listening("2001:db8::1", 443))
        cls.dual = cls.hold(cls.gateway, lambda: listening("::", 8443))
        cls.hold(cls.gateway, lambda: near("0.0.0.0", 53, socket.SOCK_DGRAM))
        cls.hold(cls.gateway, lambda: near("2001:db8::1", 53, socket.SOCK_DGRAM))
        for _ in range(3):
            cls.hold(cls.gateway, lambda: cls.joined(near("192.0.2.1", 0, socket.SOCK_DGRAM), ("192.0.2.2", 53)))
        for port in (50001, 50002, 50003):
            cls.dial("192.0.2.2", port, ("192.0.2.1", 443), cls.web)
        for port in (50001, 50002):
            cls.dial("2001:db8::2", port, ("2001:db8::1", 443), cls.web6)
            cls.dial("192.0.2.2", port, ("192.0.2.1", 8443), cls.dual)
        cls.dial("2001:db8::2", 50003, ("2001:db8::1", 8443), cls.dual)
        cls.keeper()
        cls.exporter = Exporter(cls.lab, RULES, host=cls.gateway)

    @classmethod
    def hold(cls, host, make):
        end = inside(host, make)
        cls.lab.callback(end.close)
        return end

    @classmethod
    def dial(cls, address, port, to, listener):
        """A connection from the far host to a listener, held open at both ends."""
        cls.hold(cls.far, lambda: cls.joined(near(address, port), to))
        end, _ = listener.accept()
        cls.lab.callback(end.close)

    @staticmethod
    def joined(end, address):
        end.settimeout(10)
        end.connect(address)
        return end

    @classmethod
    def keeper(cls):
        """A listener in a process of its own whose program is called `keeper-of-7001`."""
        program = cls.lab.path("bin", "keeper-of-7001")
        shutil.copy(os.path.realpath(sys.executable), program)
        process = subprocess.Popen(
            cls.gateway.command(program, "-c", LISTENER, "7001"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        cls.lab.callback(process.wait, 10)
        cls.lab.callback(process.stdout.close)
        cls.lab.callback(process.stdin.close)
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the keeper did not start")

    def rules(self):
        """{name: (up, count)} of one scrape."""
        families = self.exporter.metrics()
        up, count = (families[f"connection_status_{what}"].samples for what in ("up", "count"))
        self.assertEqual(up.keys(), count.keys())
        return {dict(labels)["name"]: (value, count[labels]) for labels, value in up.items()}

    def ss(self, *words):
        return self.gateway.run("ss", "-H", "-n", *words).splitlines()

    def test_every_rule_counts_what_ss_counts(self):
        rules = self.rules()
        for name, words in {
            "web": ("-tl", "src", "192.0.2.1:443"),
            "web-clients": ("-t", "state", "established", "src", "192.0.2.1:443"),
            "web-one-client": ("-t", "state", "established", "src", "192.0.2.1:443", "dst", "192.0.2.2:50001"),
            "web6": ("-tl", "src", "[2001:db8::1]:443"),
            "web6-clients": ("-t", "state", "established", "src", "[2001:db8::1]:443"),
            "dual": ("-tl", "sport", "=", ":8443"),
            "dual-from-v4": ("-tl", "sport", "=", ":8443"),
            "dual-v4-clients": ("-t", "state", "established", "src", "[::ffff:192.0.2.1]:8443"),
            "dual-v6-clients": ("-t", "state", "established", "src", "[2001:db8::1]:8443"),
            "dns": ("-4", "-ul", "sport", "=", ":53"),
            "dns-clients": ("-4", "-u", "state", "established", "dst", "192.0.2.2:53"),
            "dns6": ("-6", "-ul", "sport", "=", ":53"),
            "nobody": ("-tl", "sport", "=", ":4444"),
        }.items():
            count = len(self.ss(*words))
            self.assertEqual(rules[name], (int(count > 0), count), name)
        for name, count in {
            "web": 1, "web-clients": 3, "web-one-client": 1, "web6-clients": 2, "dual": 1, "dual-v4-clients": 2,
            "dual-v6-clients": 1, "dns": 1, "dns-clients": 3, "dns6": 1, "nobody": 0,
        }.items():
            self.assertEqual(rules[name][1], count, name)

    def test_a_rule_without_a_state_sees_all_states(self):
        lines = [line.split() for line in self.ss("-4", "-ta", "sport", "=", ":443")]
        self.assertEqual({fields[0] for fields in lines}, {"LISTEN", "ESTAB"})
        self.assertEqual(self.rules()["any-on-443"], (1, len(lines)))

    def test_a_wildcard_matches_in_every_field(self):
        """Also IPv4 peers of a listener for both families, which stand in the table of IPv6."""
        lines = [line.split() for line in self.ss("-ta", "state", "established")]
        from_far = [fields for fields in lines if fields[3].rsplit(":", 1)[0] in ("192.0.2.2", "[::ffff:192.0.2.2]")]
        self.assertEqual(self.rules()["far-clients"], (1, len(from_far)))

    def test_the_whole_table_is_ss_whole_table(self):
        """By one rule for each transport and family that asks for nothing else."""
        rules = "".join(f"  - {{name: {word}, protocol: {word}}}\n" for word in ("tcp6", "udp4", "udp6"))
        exporter = Exporter(self.lab, "sockets:\n" + rules, host=self.gateway, name="whole")
        lines = [line.split() for line in self.gateway.run("ss", "-tunaH").splitlines()]

        def six(fields):
            return fields[4].startswith("[") and not fields[4].startswith("[::ffff:") or fields[4].startswith("*:")

        counts = {
            "tcp6": sum(fields[0] == "tcp" and six(fields) for fields in lines),
            "udp6": sum(fields[0] == "udp" and six(fields) for fields in lines),
            "udp4": sum(fields[0] == "udp" and not six(fields) for fields in lines),
        }
        families = exporter.metrics()["connection_status_count"].samples
        self.assertEqual({dict(labels)["name"]: value for labels, value in families.items()}, counts)
        exporter.stop()

    def test_the_tables_have_as_many_sockets_of_a_state_as_ss_says(self):
        names = {"ESTAB": "established", "LISTEN": "listen", "UNCONN": "unconnected"}
        counts = self.exporter.metrics()["connection_table_sockets"].samples
        for table, words in {"tcp6": ("-6", "-ta"), "udp": ("-4", "-ua"), "udp6": ("-6", "-ua")}.items():
            expected = collections.Counter(names[line.split()[0]] for line in self.ss(*words))
            said = {dict(labels)["state"]: value for labels, value in counts.items() if ("protocol", table) in labels}
            self.assertEqual({state: value for state, value in said.items() if value}, expected, table)
        # The scrape is itself a connection of the table that is left, and earlier ones linger.
        listening = counts[series({"protocol": "tcp", "state": "listen"})]
        self.assertEqual(listening, len(self.ss("-4", "-tl")))

    def test_a_process_is_named_by_a_whole_pattern(self):
        said = "".join(self.ss("-tlp", "sport", "=", ":7001"))
        self.assertIn('(("keeper-of-7001",', said)
        rules = self.rules()
        self.assertEqual(rules["by-process"], (1, 1))
        self.assertEqual(rules["by-half-a-name"], (0, 0))
        self.assertEqual(rules["by-another"], (0, 0))

    def test_a_closed_listener_is_down_at_the_next_scrape(self):
        extra = inside(self.gateway, lambda: listening("192.0.2.1", 4444))
        self.assertEqual(self.rules()["nobody"], (1, 1))
        extra.close()
        self.assertEqual(self.rules()["nobody"], (0, 0))

    def test_a_connection_that_comes_and_goes_is_counted(self):
        before = self.rules()["web-clients"][1]
        with connect(self.far, "192.0.2.1", 443):
            guest, _ = self.web.accept()
            self.assertEqual(self.rules()["web-clients"], (1, before + 1))
        guest.close()
        wait_for("the connection to be gone", lambda: self.rules()["web-clients"] == (1, before))

    def test_what_is_watched_is_said_to_be_up(self):
        up = self.exporter.metrics()["gateway_exporter_target_up"].samples
        targets = {dict(labels)["target"]: value for labels, value in up.items()}
        tables = ("net/tcp", "net/tcp6", "net/udp", "net/udp6", "*/fd")
        self.assertEqual(targets, {f"/proc/{table}": 1 for table in tables})


if __name__ == "__main__":
    unittest.main()
