"""A real Prometheus scrapes all four sources, and holds what the fixtures say."""

import contextlib
import gzip
import http.client
import socket
import unittest

import names
from exporter import Exporter, connect, fetch, free_port, read_exposition, read_labels, read_number, series
from host import Lab, wait_for
from prometheus import Prometheus
from replay import FIXTURES, Replay
from test_siege import status_file

STRONGSWAN = FIXTURES / "strongswan" / "two-children"
IPSEC = FIXTURES / "ipsec" / "site-to-site"
UDP = FIXTURES / "openvpn" / "version-3"
TCP = FIXTURES / "openvpn" / "tcp-server"

CONFIG = """\
server_name: gw
vici_socket: {vici}
ipsec_config: {ipsec}/ipsec.conf
ipsec_command: [{command}]
openvpn:
  - {{status: {udp}/status, protocol: udp, stale_after: 4000000000}}
  - {{status: {tcp}/status, protocol: tcp, stale_after: 4000000000}}
sockets:
  - {{name: there, host: 127.0.0.1, port: {there}, status: listen}}
  - {{name: nobody, host: 127.0.0.1, port: {nobody}, status: listen}}
"""


def expected(folder):
    """{family: {series: value}} of a fixture, whose samples have no HELP or TYPE before them."""
    families = {}
    for line in (folder / "expected.prom").read_text().splitlines():
        name = line[: min(place for place in (line.find("{"), line.find(" ")) if place >= 0)]
        labels, value = read_labels(line[len(name):])
        families.setdefault(name, {})[series(labels)] = read_number(value.strip())
    return families


class Scraping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        charon = Replay(cls.lab, STRONGSWAN.name)
        command = cls.lab.write("ipsec", f"#!/bin/sh\nexec cat '{IPSEC}/statusall'\n", 0o755)
        there = cls.lab.enter_context(contextlib.closing(socket.create_server(("127.0.0.1", 0)))).getsockname()[1]
        config = CONFIG.format(
            vici=charon.socket, ipsec=IPSEC, command=command, udp=UDP, tcp=TCP, there=there, nobody=free_port()
        )
        cls.exporter = Exporter(cls.lab, config)
        target = f"127.0.0.1:{cls.exporter.port}"
        cls.prometheus = Prometheus(
            cls.lab,
            {
                "all": (target, "/metrics"),
                "own": (target, "/prom"),
                "narrow": (target, "/metrics", {"collect[]": ["openvpn", "sockets"]}),
            },
        )
        for job in ("all", "own", "narrow"):
            cls.prometheus.await_up(job)

    def held(self, name, job="all"):
        """{series: value} of one family as Prometheus holds it now, without the labels of the scrape."""
        rows = self.prometheus.await_rows(f'{name}{{job="{job}"}}')
        scrape = ("__name__", "instance", "job")
        return {
            series({label: text for label, text in labels.items() if label not in scrape}): float(value)
            for labels, value in rows
        }

    def test_the_target_is_up_and_every_source_answers(self):
        self.assertEqual(self.held("up"), {(): 1})
        up = self.held("gateway_exporter_target_up")
        self.assertEqual(set(up.values()), {1})
        sources = {dict(labels)["collector"] for labels in up}
        self.assertEqual(sources - {"kernel"}, {"strongswan", "ipsec", "openvpn", "sockets"})

    def test_prometheus_holds_what_the_fixtures_say(self):
        whole = {}
        for folder in (STRONGSWAN, IPSEC, UDP, TCP):
            for name, samples in expected(folder).items():
                whole.setdefault(name, {}).update(samples)
        whole["ovpn_sessions_total"] = {(): 5}
        # Both files are called "status" here, so what a server has is one series for the two.
        whole = {name: samples for name, samples in whole.items() if series({"server": "office"}) not in samples}
        for name in ("strongswan_tunnel_up", "ovpn_bytes_in_total", "ipsec_tunnel_status", "probe_success"):
            self.assertIn(name, whole)
        for name, samples in whole.items():
            self.assertEqual(self.held(name), samples, name)

    def test_two_sources_have_one_probe(self):
        versions = {dict(labels)["version"] for labels in self.held("probe_success")}
        self.assertEqual(versions, {"5.9.8", "2.6.14"})
        self.assertEqual(self.prometheus.query('count(probe_success{job="all"} == 1)')[0][1], "2")

    def test_sockets_are_up_or_down(self):
        up = {dict(labels)["name"]: value for labels, value in self.held("connection_status_up").items()}
        self.assertEqual(up, {"there": 1, "nobody": 0})

    def test_a_scrape_is_narrowed_by_its_parameters(self):
        self.held("ovpn_bytes_in_total", "narrow")
        self.held("connection_status_up", "narrow")
        found = {labels["__name__"] for labels, _ in self.prometheus.query('{job="narrow"}')}
        self.assertFalse({name for name in found if name.startswith(("strongswan_", "ipsec_"))}, found)
        sources = {dict(labels)["collector"] for labels in self.held("gateway_exporter_target_up", "narrow")}
        self.assertEqual(sources, {"openvpn", "sockets"})

    def test_no_scrape_of_several_fails(self):
        for job in ("all", "own", "narrow"):
            self.prometheus.await_rows(f'count_over_time(up{{job="{job}"}}[1m]) >= 4')
            self.assertEqual(self.prometheus.query(f'min_over_time(up{{job="{job}"}}[1m])')[0][1], "1", job)
            self.assertEqual(self.prometheus.targets()[job], ("up", ""))
        dropped = self.prometheus.query("sum(scrape_samples_scraped - scrape_samples_post_metric_relabeling)")
        self.assertEqual(dropped[0][1], "0")
        answered = 'promhttp_metric_handler_requests_total{job="own",code="200"}'
        self.prometheus.await_rows(f"increase({answered}[1m]) > 3")
        # A machine that stands still for a second makes a source late, which is no mistake; the captures are old.
        expected = ("[INFO]", "no answer in time", "/status: stale, ")
        complaints = self.exporter.log().splitlines()
        self.assertEqual([line for line in complaints if not any(words in line for words in expected)], [])

    def test_promtool_has_no_complaint_of_our_own(self):
        for path in ("/metrics", "/prom"):
            self.assertEqual(names.own_complaints(self.exporter.get(path)[2]), [], path)


class OverTheNetwork(unittest.TestCase):
    """Prometheus on another host: its scrapes share a connection, and are compressed."""

    GATEWAY, SCRAPER, CLIENTS = "198.51.100.1", "198.51.100.2", 500

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.gateway, cls.scraper = cls.lab.host("gateway"), cls.lab.host("scraper")
        cls.lab.wire(cls.gateway, cls.scraper, (f"{cls.GATEWAY}/24",), (f"{cls.SCRAPER}/24",))
        status = cls.lab.write("udp.status", status_file(cls.CLIENTS))
        config = f"ovpnudpstatus: {status}\n"
        cls.exporter = Exporter(cls.lab, config, host=cls.gateway, address=cls.GATEWAY)
        target = f"{cls.GATEWAY}:{cls.exporter.port}"
        cls.prometheus = Prometheus(cls.lab, {"far": (target, "/metrics")}, host=cls.scraper)
        cls.prometheus.await_up("far")

    def connections(self):
        """{the peer's port: the bytes that were sent to it} of the connections that are open."""
        said = self.gateway.run("ss", "-tinHO", "state", "established", f"sport = :{self.exporter.port}")
        sent = lambda line: int(line.split("bytes_sent:")[1].split()[0]) if "bytes_sent:" in line else 0
        return {line.split()[3].rpartition(":")[2]: sent(line) for line in said.splitlines()}

    def scrapes(self):
        return int(self.prometheus.query('count_over_time(up{job="far"}[10m])')[0][1])

    def test_many_scrapes_are_one_connection_of_compressed_answers(self):
        _, _, body = fetch(self.scraper, self.GATEWAY, self.exporter.port, "/metrics", {"Connection": "close"})
        before = wait_for("a connection", self.connections)
        self.assertEqual(len(before), 1, before)
        counted = self.scrapes()
        wait_for("eight more scrapes", lambda: self.scrapes() >= counted + 8)
        more, after = self.scrapes() - counted, self.connections()
        self.assertEqual(set(after), set(before), "it is the same connection")
        (peer,) = after
        each = (after[peer] - before[peer]) / more
        print(f"{len(body)} bytes, {each:.0f} on the wire", end=" ", flush=True)
        self.assertLess(each, len(body) / 4)
        self.assertEqual(self.prometheus.query('min_over_time(up{job="far"}[10m])')[0][1], "1")
        held = self.prometheus.query('count(ovpn_bytes_in_total{job="far"})')[0][1]
        self.assertEqual(held, str(self.CLIENTS), "what was unpacked is whole")

    def test_what_a_client_accepts_is_sent(self):
        ask = lambda headers: fetch(self.scraper, self.GATEWAY, self.exporter.port, "/metrics", {"Connection": "close", **headers})
        for accepted, expected in (("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None)):
            status, headers, body = ask({"Accept-Encoding": accepted})
            self.assertEqual((status, headers["Content-Encoding"], headers["Vary"]), (200, expected, "Accept-Encoding"), accepted)
            text = gzip.decompress(body) if expected else body
            self.assertEqual(len(read_exposition(text)["ovpn_bytes_in_total"].samples), self.CLIENTS)
        connection = http.client.HTTPConnection(self.GATEWAY, self.exporter.port, timeout=20)
        connection.sock = connect(self.scraper, self.GATEWAY, self.exporter.port)
        self.addCleanup(connection.close)
        for method in ("HEAD", "GET"):
            connection.request(method, "/metrics", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.headers["Content-Encoding"]), (200, "gzip"), method)
            self.assertEqual(bool(answer.read()), method == "GET")

    def test_this_machine_itself_is_sent_what_is_not_compressed(self):
        for path in ("/metrics", "/style.css"):
            headers = {"Accept-Encoding": "gzip", "Connection": "close"}
            _, headers, _ = fetch(self.gateway, self.GATEWAY, self.exporter.port, path, headers)
            self.assertIsNone(headers["Content-Encoding"])


if __name__ == "__main__":
    unittest.main()
