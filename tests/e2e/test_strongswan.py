"""strongSwan over VICI, between real charons: what the exporter says is what `swanctl --list-sas` says."""

import calendar
import concurrent.futures
import contextlib
import datetime
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import unittest

import names
from charon import (
    ESP_PFS, Charon, Site, branches, certified, child, connect, connection, ikev1, ipv6, proves, road_warriors, secret, sites,
    swanctl_conf, traffic, wired_pair,
)
from exporter import Exporter, inside, read_exposition, series
from host import Lab, stop, wait_for
from swanctl import read_sas, still

KEYS = [
    "server", "protocol", "uniqueid", "state", "remotehost", "remoteport", "remoteid", "remotets", "localts", "established",
    "bytesin", "bytesout", "packetsin", "packetsout",
]

# Half an hour off, so that no mistake about the time zone can hide. POSIX counts the other way round.
ZONE, ZONE_OFFSET = "XST-5:30", datetime.timedelta(hours=5, minutes=30)

IKE_UP = ("ESTABLISHED", "REKEYING")
CHILD_UP = ("INSTALLED", "UPDATING", "REKEYING")


class Between:
    """Any value from `low` to `high`: an age that was read before and after."""

    def __init__(self, one, other):
        self.low, self.high = min(one, other), max(one, other)

    def __eq__(self, value):
        return self.low <= value <= self.high

    def __repr__(self):
        return f"{self.low}..{self.high}"


class Expected(dict):
    """{family: {series: value}} that swanctl's words, said before and after a scrape, come to."""

    def __init__(self, before, after):
        super().__init__()
        self.add("strongswan_sessions_total", {}, sum(sa.state in IKE_UP for sa in before))
        self.add("strongswan_number_of_ikes_connected", {}, len(before))
        for sa, later in zip(before, after):
            self.ike(sa, later)
            for child, later_child in zip(sa.children, later.children):
                self.child(sa, child, later_child)

    def add(self, family, labels, value):
        self.setdefault(family, {})[series(labels)] = value

    def maybe(self, family, labels, one, other):
        """A time that passes; absent where swanctl prints none."""
        if one is not None:
            self.add(family, labels, Between(one, other))

    def ike(self, sa, later):
        labels = {"name": sa.name, "uniqueid": sa.id}
        self.add("strongswan_ike_state", labels, int(sa.state in IKE_UP))
        self.add("strongswan_ike_version", labels, sa.version)
        self.add("strongswan_ike_initiator", labels, int(sa.initiator))
        self.add("strongswan_ike_children", labels, len(sa.children))
        self.maybe("strongswan_ike_established_second", labels, sa.age, later.age)
        self.maybe("strongswan_ike_rekey_second", labels, sa.rekey, later.rekey)
        self.maybe("strongswan_ike_reauth_second", labels, sa.reauth, later.reauth)
        encryption, integrity, _, group = sa.proposal.split("/")
        self.keysizes("strongswan_ike", labels, encryption, integrity, group)
        client = {"client": sa.ends["remote"]["id"]}
        for way in ("in", "out"):
            family = self.setdefault(f"strongswan_bytes_{way}_total", {})
            total = sum(child.counts[way].bytes for child in sa.children)
            family[series(client)] = family.get(series(client), 0) + total

    def child(self, sa, child, later):
        labels = {"child_id": child.id, "child_name": child.name, "ike_id": sa.id, "ike_name": sa.name}
        self.add("strongswan_sa_encap", labels, int(child.encap))
        self.maybe("strongswan_sa_established_second", labels, child.age, later.age)
        self.maybe("strongswan_sa_rekey_second", labels, child.rekey, later.rekey)
        self.maybe("strongswan_sa_lifetime_second", labels, child.life, later.life)
        encryption, integrity, *group = child.proposal.split("/")
        self.keysizes("strongswan_sa", labels, encryption, integrity, *group)
        selected = {**labels, "localTS": child.selectors["local"], "remoteTS": child.selectors["remote"]}
        self.add("strongswan_sa_state", selected, int(child.state in CHILD_UP))
        for way in ("in", "out"):
            count = child.counts[way]
            self.add(f"strongswan_sa_bytes_{way}bound", selected, count.bytes)
            self.add(f"strongswan_sa_packets_{way}bound", selected, count.packets)
            self.maybe(f"strongswan_sa_last_{way}bound_seconds", selected, count.used, later.counts[way].used)

    def keysizes(self, prefix, labels, encryption, integrity, group=""):
        algorithm, _, bits = encryption.rpartition("-")
        labels = {**labels, "dh_group": group}
        self.add(f"{prefix}_encryption_keysize", {**labels, "algorithm": algorithm}, int(bits))
        self.add(f"{prefix}_integrity_keysize", {**labels, "algorithm": integrity}, 0)


def one_moment(charon, ask):
    """swanctl's words before, what `ask` gave, and swanctl's words after, with nothing happening in between."""

    def agreed():
        before = read_sas(charon.swanctl("--list-sas"))
        answer = ask()
        after = read_sas(charon.swanctl("--list-sas"))
        return still(before) == still(after) and (before, answer, after)

    return wait_for("a moment in which nothing happens", agreed)


class Case(unittest.TestCase):
    """What all cases know to do; the lab of a class is gone when the class is done, whatever happened."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.prepare()

    def assert_metrics(self, exporter, charon, remembers=False):
        """Every sample that swanctl can vouch for is there, no other is, and none differs. Returns all families.

        Where the exporter remembers SAs that are over, a client's totals are what swanctl says and more.
        """
        before, families, after = one_moment(charon, exporter.metrics)
        expected = Expected(before, after)
        for name, family in families.items():
            if name.startswith(("strongswan_ike_", "strongswan_sa_", "strongswan_bytes_")) and name != "strongswan_ike_events_total":
                expected.setdefault(name, {})
        for left in ("strongswan_ike_nat_remote", "strongswan_ike_nat_fake"):
            expected.pop(left, None)
        for name, samples in expected.items():
            self.assertIn(name, families)
            self.assertEqual(set(families[name].samples), set(samples), name)
            for labels, value in samples.items():
                judge = self.assertLessEqual if remembers and name in CLIENT_TOTALS else self.assertEqual
                judge(value, families[name].samples[labels], f"{name}{dict(labels)}")
        self.assertIn(1, families["probe_success"].samples.values())
        return families

    def assert_sessions(self, exporter, charon, server="gate"):
        """The JSON array has one object for each of swanctl's CHILD_SAs, equal to it in every field."""
        asked = []

        def ask():
            status, headers, body = exporter.get("/sessions")
            asked[:] = [now()]
            self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=utf-8"))
            return json.loads(body, object_pairs_hook=list)

        before, rows, _ = one_moment(charon, ask)
        for row in rows:
            self.assertEqual([key for key, _ in row], KEYS)
        rows = [dict(row) for row in rows]
        for row, age in zip(rows, [sa.age for sa in before for _ in sa.children]):
            moment = datetime.datetime.strptime(row.pop("established"), "%Y-%m-%d %H:%M:%S")
            expected = asked[0] + ZONE_OFFSET - datetime.timedelta(seconds=age)
            self.assertLessEqual(abs((moment - expected).total_seconds()), 2, (moment, expected))
        self.assertEqual(rows, [session(server, sa, child) for sa in before for child in sa.children])
        return rows


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


def session(server, sa, child):
    remote = sa.ends["remote"]
    return {
        "server": server, "protocol": f"ikev{sa.version}", "uniqueid": f"{sa.name}[{sa.id}]", "state": sa.state,
        "remotehost": remote["host"], "remoteport": remote["port"], "remoteid": remote["id"],
        "remotets": child.selectors["remote"], "localts": child.selectors["local"],
        "bytesin": str(child.counts["in"].bytes), "bytesout": str(child.counts["out"].bytes),
        "packetsin": str(child.counts["in"].packets), "packetsout": str(child.counts["out"].packets),
    }


def watch(lab, charon, host=None, name="exporter", more=""):
    """An exporter for that charon; one that asks over TCP has to stand on charon's host."""
    config = f"vici_socket: '{charon.uri}'\nserver_name: gate\n{more}"
    return Exporter(lab, config, host=host, name=name, environment={"TZ": ZONE})


def tunnels(families):
    """{child: 0 or 1} of strongswan_tunnel_up."""
    return {dict(labels)["child"]: value for labels, value in families["strongswan_tunnel_up"].samples.items()}


def child_sums(families, name):
    """{child name: sum} of a family of CHILD_SAs."""
    sums = {}
    for labels, value in families[name].samples.items():
        child = dict(labels)["child_name"]
        sums[child] = sums.get(child, 0) + value
    return sums


class SiteToSite(Case):
    """A pair with two children: the left charon on a unix socket, the right one on tcp://."""

    @classmethod
    def prepare(cls):
        a, b = wired_pair(cls.lab)
        near, far = (["10.1.1.0/24", "10.1.2.0/24"], ["10.2.1.0/24", "10.2.2.0/24"])
        cls.left = Site(a, "192.0.2.1", "gw.example.org", near, Charon(a))
        cls.right = Site(b, "192.0.2.2", "branch.example.org", far, Charon(b, port=4502))
        connect(cls.left, cls.right, "branch", ("lan", "voice"))
        cls.exporter = watch(cls.lab, cls.left.charon)
        cls.over_tcp = watch(cls.lab, cls.right.charon, host=b, name="over-tcp")

    def send(self, size):
        traffic(self.left.host, self.right.host, "10.2.1.1", size, source="10.1.1.1")

    def test_counters_are_swanctls_and_grow_by_what_was_sent(self):
        before = self.assert_metrics(self.exporter, self.left.charon)
        self.send(50_000)
        after = self.assert_metrics(self.exporter, self.left.charon)
        grown = {
            name: {child: after_sum - child_sums(before, name)[child] for child, after_sum in child_sums(after, name).items()}
            for name in ("strongswan_sa_bytes_outbound", "strongswan_sa_bytes_inbound", "strongswan_sa_packets_outbound")
        }
        sent, packets = grown["strongswan_sa_bytes_outbound"]["lan"], grown["strongswan_sa_packets_outbound"]["lan"]
        # What was sent, the headers of IP and TCP with their options (40 to 60 bytes for each packet), and what
        # TCP sent twice, which a loaded machine makes it do.
        self.assertTrue(50_000 + 40 * packets <= sent <= 50_000 + 60 * packets + 5 * 1500, (sent, packets))
        self.assertTrue(0 < grown["strongswan_sa_bytes_inbound"]["lan"] < 50_000, grown)
        self.assertEqual({name: each["voice"] for name, each in grown.items()}, dict.fromkeys(grown, 0))
        self.assertEqual(tunnels(after), {"lan": 1, "voice": 1})
        self.assertEqual(after["strongswan_number_of_known_ikes"].samples, {(): 1})

    def test_tcp_says_what_the_unix_socket_says(self):
        self.send(3000)
        self.assert_metrics(self.over_tcp, self.right.charon)
        target = {"collector": "strongswan", "target": "tcp://127.0.0.1:4502"}
        self.assertEqual(self.over_tcp.value("gateway_exporter_target_up", **target), 1)

        def mirrored():
            """The two ends of one tunnel, asked in the two ways, count the same bytes in opposite directions."""
            here, there = self.exporter.metrics(), self.over_tcp.metrics()
            return all(
                child_sums(here, f"strongswan_sa_{what}_{one}bound") == child_sums(there, f"strongswan_sa_{what}_{other}bound")
                for what in ("bytes", "packets") for one, other in (("in", "out"), ("out", "in"))
            )

        wait_for("both ends to say the same", mirrored)
        families = set(self.exporter.metrics())
        self.assertEqual(families, set(self.over_tcp.metrics()))

    def test_sessions_are_swanctls(self):
        rows = self.assert_sessions(self.exporter, self.left.charon)
        self.assertEqual([row["remotets"] for row in rows], ["10.2.1.0/24", "10.2.2.0/24"])
        self.assert_sessions(self.over_tcp, self.right.charon)
        self.assertEqual(self.exporter.get("/sessions_local")[0], 200)

    def test_a_tunnel_that_was_taken_down_stays_and_is_down(self):
        self.left.charon.swanctl("--terminate", "--child", "voice")
        self.addCleanup(self.left.charon.initiate, "voice")
        families = self.assert_metrics(self.exporter, self.left.charon, remembers=True)
        self.assertEqual(tunnels(families), {"lan": 1, "voice": 0})
        self.assertNotIn("voice", child_sums(families, "strongswan_sa_state"))

    def test_promtool_finds_nothing_of_ours(self):
        for path in ("/metrics", "/prom"):
            self.assertEqual(names.own_complaints(self.exporter.get(path)[2]), [], path)


CLIENT_TOTALS = ("strongswan_bytes_in_total", "strongswan_bytes_out_total")
TOTALS = (
    *CLIENT_TOTALS, "strongswan_tunnel_bytes_in_total", "strongswan_tunnel_bytes_out_total",
    "strongswan_tunnel_packets_in_total", "strongswan_tunnel_packets_out_total",
)


class Rekeying(Case):
    """A pair whose CHILD_SA is rekeyed by itself every few seconds, and by hand."""

    @classmethod
    def prepare(cls):
        cls.left, cls.right = sites(cls.lab, ["10.1.1.0/24"], ["10.2.1.0/24"])
        soon = "rekey_time = 3s\n        life_time = 60s\n        rand_time = 0"
        connect(cls.left, cls.right, "branch", ("lan",), esp=ESP_PFS, child_extra=soon)
        cls.exporter = watch(cls.lab, cls.left.charon)

    def poll(self, until, seconds=30):
        """Scrapes as fast as it can, since charon is busy for milliseconds only; the strict reader judges each."""
        scrapes, end = [], time.monotonic() + seconds
        while not scrapes or not until(scrapes[-1]):
            self.assertLess(time.monotonic(), end, "no rekeying")
            scrapes.append(self.exporter.metrics())
        return scrapes

    def assert_always_up(self, scrapes):
        for scrape in scrapes:
            self.assertIn(1, scrape["probe_success"].samples.values())
            self.assertIn("strongswan_tunnel_up", scrape)
            self.assertEqual(tunnels(scrape), {"lan": 1})
        for before, after in zip(scrapes, scrapes[1:]):
            for name in TOTALS:
                for labels, value in before[name].samples.items():
                    self.assertGreaterEqual(after[name].samples[labels], value, f"{name}{dict(labels)} fell")

    def test_a_rekey_is_no_outage(self):
        first = installed(self.exporter.metrics())
        scrapes = self.poll(lambda scrape: installed(scrape) - first and not installed(scrape) & first)
        self.assert_always_up(scrapes)
        self.assertGreater(len(scrapes), 3)
        self.assert_metrics(self.exporter, self.left.charon, remembers=True)

    def test_a_rekey_under_traffic_is_counted_as_swanctl_counts_it(self):
        first = installed(self.exporter.metrics())
        end = threading.Event()

        def send():
            while not end.is_set():
                traffic(self.left.host, self.right.host, "10.2.1.1", 2000, source="10.1.1.1")

        with concurrent.futures.ThreadPoolExecutor() as threads:
            sender = threads.submit(send)
            try:
                self.left.charon.swanctl("--rekey", "--child", "lan")
                scrapes = self.poll(lambda scrape: installed(scrape) - first and not installed(scrape) & first)
            finally:
                end.set()
            sender.result()
        self.assert_always_up(scrapes)
        families = self.assert_metrics(self.exporter, self.left.charon, remembers=True)
        self.assertTrue(installed(families) - first)

    def test_the_rekey_of_an_ike_sa_is_no_outage(self):
        first = ike_ids(self.exporter.metrics())
        self.left.charon.swanctl("--rekey", "--ike", "branch")
        scrapes = self.poll(lambda scrape: ike_ids(scrape) - first and not ike_ids(scrape) & first)
        self.assert_always_up(scrapes)
        self.assert_metrics(self.exporter, self.left.charon, remembers=True)


def installed(families):
    """The ids of the CHILD_SAs that carry traffic."""
    samples = families["strongswan_sa_state"].samples
    return {dict(labels)["child_id"] for labels, value in samples.items() if value == 1}


def ike_ids(families):
    return {dict(labels)["uniqueid"] for labels in families["strongswan_ike_state"].samples}


# Its key exchanges keep both ends busy for longer than a scrape waits for an IKE_SA.
SLOW_ESP = "aes128-sha256-modp8192"


class Busy(Case):
    """A gateway that is busy with the IKE_SA of one branch, while others come and go and the peer of one answers nothing."""

    BRANCHES = ("slow", "deaf", "coming", "down")

    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.flag = self.lab.path("hold")
        script = self.lab.write("updown", f"#!/bin/sh\ncase $PLUTO_VERB in down-*) while test -e {self.flag}; do sleep 0.1; done;; esac\n", 0o755)
        slow = {"esp": SLOW_ESP}
        self.hub, self.ends = branches(self.lab, self.BRANCHES, {"slow": slow, "down": {"child_extra": f"updown = {script}"}})
        self.charon = self.hub.charon
        self.charon.swanctl("--terminate", "--ike", "down")
        self.exporter = watch(self.lab, self.charon)
        self.assertEqual(tunnels(self.exporter.metrics()), self.expected(down=0))

    @classmethod
    def setUpClass(cls):
        """Every test has gateways of its own."""

    def expected(self, **others):
        return {f"{name}-lan": others.get(name, 1) for name in self.BRANCHES if others.get(name, 1) is not None}

    def sessions(self, families):
        return {dict(labels)["connection"]: value for labels, value in families["strongswan_connection_sessions"].samples.items()}

    def background(self, action):
        """Repeats an action until the test ends or says so."""
        end, threads = threading.Event(), self.enterContext(concurrent.futures.ThreadPoolExecutor())

        def repeat():
            while not end.is_set():
                action()

        running = threads.submit(repeat)
        self.addCleanup(running.result)
        self.addCleanup(end.set)
        return end, running

    def assert_no_total_falls(self, before, after):
        for name in TOTALS:
            for labels, value in before[name].samples.items():
                self.assertGreaterEqual(after[name].samples[labels], value, f"{name}{dict(labels)} fell")

    def test_an_ike_sa_that_is_busy_again_and_again_hides_nothing(self):
        self.ends["deaf"].charon.freeze()
        self.addCleanup(self.ends["deaf"].charon.thaw)

        def come_and_go():
            self.charon.swanctl("--terminate", "--ike", "coming")
            self.charon.initiate("coming-lan")

        rekeying = self.background(lambda: self.charon.swanctl("--rekey", "--child", "slow-lan"))
        coming = self.background(come_and_go)
        scrapes = []
        for _ in range(100):
            scrapes.append(self.exporter.metrics())
            time.sleep(0.1)
        for end, running in (rekeying, coming):
            end.set()
            running.result()
        busy = [scrape["strongswan_busy_ike_sas"].samples[()] for scrape in scrapes]
        seen = [tunnels(scrape).get("coming-lan") for scrape in scrapes]
        print(f"busy in {sum(map(bool, busy))} of 100 scrapes, coming-lan up in {seen.count(1)}", file=sys.stderr)
        self.assertGreater(sum(map(bool, busy)), 5, "nothing was busy")
        self.assertTrue(0 in seen and 1 in seen, seen)
        for scrape in scrapes:
            # What comes and goes is up, down, or, while charon works on it, what it was.
            self.assertEqual({**tunnels(scrape), "coming-lan": 1}, self.expected(down=0))
            sessions = self.sessions(scrape)
            self.assertEqual({**sessions, "coming": 1}, {"slow": 1, "deaf": 1, "coming": 1, "down": 0})
            self.assertGreaterEqual(scrape["strongswan_sessions_total"].samples[()], 2)
        for before, after in zip(scrapes, scrapes[1:]):
            self.assert_no_total_falls(before, after)

    def test_an_ike_sa_that_hangs_hides_nothing(self):
        self.charon.initiate("down-lan")
        self.charon.swanctl("--terminate", "--ike", "coming")
        before = self.exporter.metrics()
        self.assertEqual(tunnels(before), self.expected(coming=0))
        # From here on a script of the gateway hangs, and with it the IKE_SA that it is called for.
        self.lab.write("hold", "")
        with contextlib.suppress(RuntimeError):
            self.ends["down"].charon.swanctl("--terminate", "--child", "down-lan", "--timeout", "1")
        wait_for("the IKE_SA to hang", lambda: self.exporter.value("strongswan_busy_ike_sas"))
        scrapes, begun = [], time.monotonic()
        for number in range(100):
            scrapes.append((time.monotonic() - begun, self.exporter.metrics()))
            time.sleep(max(0, begun + 0.7 * (number + 1) - time.monotonic()))
        for moment, scrape in scrapes:
            # Its own tunnel is what it was for 60 s, and then not known.
            held = 1 if moment < 55 else None if moment > 65 else tunnels(scrape).get("down-lan")
            self.assertEqual(tunnels(scrape), self.expected(coming=0, down=held), moment)
            self.assertEqual(self.sessions(scrape), {"slow": 1, "deaf": 1, "coming": 0, "down": 1})
            self.assertEqual(scrape["strongswan_sessions_total"].samples[()], 3)
            self.assertEqual(scrape["strongswan_busy_ike_sas"].samples[()], 1)
            self.assert_no_total_falls(before, scrape)
        os.unlink(self.flag)
        wait_for("the script to end", lambda: self.exporter.value("strongswan_busy_ike_sas") == 0)
        self.assertEqual(tunnels(self.exporter.metrics()), self.expected(coming=0, down=0))


class Policies(unittest.TestCase):
    """Policies that are installed without any SA: the kernel here has no ESP, so that nothing can come up."""

    def test_shunts_and_traps_are_what_swanctl_lists(self):
        lab = self.enterContext(Lab())
        a, _ = wired_pair(lab)
        charon = Charon(a, in_kernel=True)
        near, far = (Site(a, address, name, []) for address, name in (("192.0.2.1", "gw.example.org"), ("192.0.2.2", "branch")))
        children = "".join(
            child(name, "10.1.0.0/24", f"10.{number}.0.0/24", extra=f"mode = {mode}\n        start_action = {action}")
            for number, (name, mode, action) in enumerate([
                ("trapped", "tunnel", "trap"), ("by-hand", "tunnel", "none"), ("transport", "transport", "trap"),
                ("beet", "beet", "trap"), ("passed", "pass", "trap"), ("dropped", "drop", "trap"), ("absent", "pass", "none"),
            ], 2)
        )
        ends = [proves("psk", id=near.identity)], [proves("psk", id=far.identity)]
        charon.load(swanctl_conf(connection("gw", (near.address, far.address), *ends, children), secret("any")))
        families = watch(lab, charon).metrics()
        listed = re.findall(r"^gw/(\S+), (\w+)$", charon.swanctl("--list-pols"), re.MULTILINE)
        shunts = {name for name, mode in listed if mode in ("PASS", "DROP")}
        self.assertEqual(shunts, {"passed", "dropped"}, listed)
        traps = {name for name, _ in listed} - shunts
        self.assertEqual(traps, {"trapped", "transport", "beet"}, listed)
        self.assertEqual(tunnels(families), {**dict.fromkeys((*traps, "by-hand"), 0), **dict.fromkeys(shunts, 1)})
        told = families["strongswan_tunnel_trap_installed"].samples
        self.assertEqual({dict(labels)["child"]: value for labels, value in told.items()}, dict.fromkeys(traps, 1))


class RoadWarriors(Case):
    """One user with two devices, and another with one."""

    @classmethod
    def prepare(cls):
        users = ["carol@example.org", "dave@example.org", "carol@example.org"]
        cls.gateway, cls.charon, cls.warriors = road_warriors(cls.lab, users)
        cls.exporter = watch(cls.lab, cls.charon)
        for number, warrior in enumerate(cls.warriors, 1):
            warrior.sends(cls.gateway, 1000 * number)

    def test_one_client_has_one_series_with_the_sum(self):
        families = self.assert_metrics(self.exporter, self.charon)
        received = families["strongswan_bytes_in_total"].samples
        self.assertEqual({dict(labels)["client"] for labels in received}, {"carol@example.org", "dave@example.org"})
        self.assertGreater(received[series({"client": "carol@example.org"})], 1000 + 3000)
        self.assertEqual(families["strongswan_sessions_total"].samples, {(): 3})
        # Anybody may come from anywhere: nothing says that somebody should.
        self.assertNotIn("strongswan_tunnel_up", families)
        self.assertEqual(names.own_complaints(self.exporter.get("/metrics")[2]), [])

    def test_each_device_is_a_session(self):
        rows = self.assert_sessions(self.exporter, self.charon)
        self.assertEqual(sorted(row["remoteid"] for row in rows), ["carol@example.org"] * 2 + ["dave@example.org"])
        self.assertEqual({row["remotets"] for row in rows}, {"10.3.0.1/32", "10.3.0.2/32", "10.3.0.3/32"})


class Inside(Case):
    """A gateway with certificates, a pool and counters."""

    @classmethod
    def prepare(cls):
        cls.near, cls.far, cls.warriors = certified(cls.lab)
        cls.exporter = watch(cls.lab, cls.near.charon)

    def samples(self, name):
        return self.exporter.metrics()[name].samples

    def test_certificates_are_swanctls(self):
        text = self.near.charon.swanctl("--list-certs", "--utc")
        expected = {"not_before": {}, "not_after": {}}
        for part in text.split("List of X.509 ")[1:]:
            kind = "ca" if part.startswith("CA ") else "end-entity"
            for words in CERTIFICATE.finditer(part):
                labels = {"kind": kind, "serial": words["serial"].replace(":", ""), "subject": words["subject"]}
                # swanctl has question marks for what is not ASCII.
                labels["subject"] = labels["subject"].replace("Caf??, S??hne", "Café, Söhne")
                for end, samples in expected.items():
                    samples[series(labels)] = calendar.timegm(time.strptime(words[end], "%b %d %H:%M:%S UTC %Y"))
        self.assertEqual(len(expected["not_after"]), 5)
        for end, samples in expected.items():
            self.assertEqual(self.samples(f"strongswan_certificate_{end}_timestamp_seconds"), samples)

    def test_pools_are_swanctls(self):
        text = self.near.charon.swanctl("--list-pools")
        online, offline, size = re.search(r"^road .* (\d+) / (\d+) / (\d+)$", text, re.MULTILINE).groups()
        self.assertEqual((online, offline), ("2", "1"))
        leases = {series({"pool": "road", "state": "online"}): 2, series({"pool": "road", "state": "offline"}): 1}
        self.assertEqual(self.samples("strongswan_pool_leases"), leases)
        self.assertEqual(self.samples("strongswan_pool_addresses"), {series({"pool": "road"}): int(size)})

    def test_workers_jobs_and_sessions_are_swanctls(self):
        text = self.near.charon.swanctl("--stats")
        workers = re.search(r"worker threads: (\d+) total, (\d+) idle, working: (\d+)/(\d+)/(\d+)/(\d+)", text)
        total, idle, *active = map(int, workers.groups())
        queued = map(int, re.search(r"job queues: (\d+)/(\d+)/(\d+)/(\d+)", text).groups())
        scheduled, = re.search(r"jobs scheduled: (\d+)", text).groups()
        sas, half_open = re.search(r"IKE_SAs: (\d+) total, (\d+) half-open", text).groups()
        families = self.exporter.metrics()

        def said(name):
            return {dict(labels).get("priority", ""): value for labels, value in families[name].samples.items()}

        priorities = ("critical", "high", "medium", "low")
        self.assertEqual(said("strongswan_worker_threads"), {"": total})
        # Who asks keeps a thread or two busy.
        busy = said("strongswan_worker_threads_active")
        self.assertEqual(said("strongswan_worker_threads_idle"), {"": total - sum(busy.values())})
        self.assertEqual(idle, total - sum(active))
        for priority, count in zip(priorities, active):
            self.assertLessEqual(abs(busy[priority] - count), 2, priority)
        self.assertEqual(said("strongswan_jobs_queued"), dict(zip(priorities, queued)))
        self.assertLessEqual(abs(said("strongswan_jobs_scheduled")[""] - int(scheduled)), 2)
        self.assertEqual(said("strongswan_half_open_ike_sas"), {"": int(half_open)})
        sessions = {dict(labels)["connection"]: value for labels, value in families["strongswan_connection_sessions"].samples.items()}
        self.assertEqual(sessions, {"branch": 1, "road": 2})
        self.assertEqual(sum(sessions.values()), int(sas))

    def test_charon_started_when_swanctl_says(self):
        def told():
            since = re.search(r"since (.*)", self.near.charon.swanctl("--stats"))[1]
            # The exporter takes charon's date for one of its own zone.
            moment = calendar.timegm(time.strptime(since, "%b %d %H:%M:%S %Y")) - ZONE_OFFSET.total_seconds()
            return {(): moment}

        # It is the difference of two clocks that charon reads in whole seconds, so it says two seconds in turn.
        wait_for("the second that charon told first", lambda: told() == self.samples("strongswan_start_time_seconds"))


class Renewed(Case):
    """A gateway whose certificate is replaced."""

    @classmethod
    def prepare(cls):
        cls.near, cls.far, cls.warriors = certified(cls.lab)
        cls.exporter = watch(cls.lab, cls.near.charon)

    def test_a_certificate_that_was_renewed_is_told_when_it_was_loaded(self):
        def ours():
            samples = self.exporter.metrics()["strongswan_certificate_not_after_timestamp_seconds"].samples
            return {dict(labels)["serial"] for labels in samples if "CN=gw.example.org" in dict(labels)["subject"]}

        near = self.near
        self.assertEqual(ours(), {"80"})
        subject = "/C=DE/O=Example Works/OU=Net+OU=Ops/CN=gw.example.org"
        near.authority.issue(near.credentials, "gw", subject, near.identity, serial="0x81")
        self.assertEqual(ours(), {"80"}, "charon does not know it yet")
        near.charon.swanctl("--load-creds", "--clear", "--file", self.lab.path(near.credentials.name, "swanctl.conf"))
        self.assertIn("81", ours())


CERTIFICATE = re.compile(
    r'  subject:  "(?P<subject>.*)"\n.*\n  validity:  not before (?P<not_before>.*), .*\n'
    r" +not after  (?P<not_after>.*), .*\n  serial: +(?P<serial>\S+)"
)


class Ipv6(Case):
    @classmethod
    def prepare(cls):
        cls.left, cls.right = ipv6(cls.lab)
        cls.exporter = watch(cls.lab, cls.left.charon)

    def test_peers_and_networks_of_ipv6(self):
        self.assert_metrics(self.exporter, self.left.charon)
        traffic(self.left.host, self.right.host, "2001:db8:2::1", 3000, source="2001:db8:1::1")
        families = self.assert_metrics(self.exporter, self.left.charon)
        self.assertGreater(child_sums(families, "strongswan_sa_bytes_outbound")["lan6"], 3000)
        (row,) = self.assert_sessions(self.exporter, self.left.charon)
        self.assertEqual((row["remotehost"], row["remotets"]), ("2001:db8::2", "2001:db8:2::/64"))


class Ikev1(Case):
    @classmethod
    def prepare(cls):
        cls.near, cls.far, cls.user = ikev1(cls.lab)
        cls.exporter = watch(cls.lab, cls.near.charon)

    def test_the_older_protocol(self):
        traffic(self.far.host, self.near.host, "10.1.1.1", 2000, source="10.2.1.1")
        self.user.sends(self.near.host, 4000)
        families = self.assert_metrics(self.exporter, self.near.charon)
        self.assertEqual(set(families["strongswan_ike_version"].samples.values()), {1})
        self.assertEqual(tunnels(families), {"lan": 1})
        rows = self.assert_sessions(self.exporter, self.near.charon)
        self.assertEqual({row["protocol"] for row in rows}, {"ikev1"})


class Outage(Case):
    """A charon that is killed, comes back, and hangs, beside a source that is well."""

    def setUp(self):
        self.host = self.lab.host(f"alone{self.id().rpartition('_')[2]}")
        self.site = Site(self.host, "192.0.2.1", "gw.example.org", ["10.1.1.0/24"])
        self.peer = Site(self.host, "192.0.2.2", "branch.example.org", ["10.2.1.0/24"])
        self.charon = self.begin()
        listener = inside(self.host, lambda: socket.create_server(("127.0.0.1", 0)))
        self.addCleanup(listener.close)
        rule = f"sockets:\n  - name: other\n    port: {listener.getsockname()[1]}\n    protocol: tcp\n    status: listen\n"
        self.exporter = watch(self.lab, self.charon, host=self.host, name=self.host.name, more=rule)
        self.addCleanup(stop, self.exporter.process)

    @classmethod
    def prepare(cls):
        """Every test breaks its own charon."""

    def begin(self):
        charon = Charon(self.host)
        self.addCleanup(charon.stop)
        self.site.charon = charon
        charon.load(self.site.conf(self.peer, "branch", ["lan"]))
        return charon

    def assert_down(self, families):
        """charon is reported as down, and the other source as it is."""
        self.assertEqual(families["probe_success"].samples, {(): 0})
        up = {dict(labels)["collector"]: value for labels, value in families["gateway_exporter_target_up"].samples.items()}
        self.assertEqual(up.pop("strongswan"), 0)
        self.assertEqual(set(up.values()), {1}, up)
        self.assertEqual(list(families["connection_status_up"].samples.values()), [1])
        self.assertNotIn("strongswan_sessions_total", families)

    def assert_well(self):
        families = self.exporter.metrics()
        self.assertIn(1, families["probe_success"].samples.values())
        self.assertEqual(tunnels(families), {"lan": 0})
        self.assertEqual(families["strongswan_sessions_total"].samples, {(): 0})
        self.assertEqual(self.exporter.get("/sessions")[2], b"[]")

    def front_page(self):
        status, _, body = self.exporter.get("/")
        self.assertEqual(status, 200)
        return body.decode()

    def test_a_charon_that_was_killed(self):
        self.assert_well()
        self.assertNotIn("refused", self.front_page())
        self.charon.process.send_signal(signal.SIGKILL)
        self.charon.process.wait(10)
        body = self.exporter.get("/metrics")[2]
        self.assertIn(b'\nprobe_success{version=""} 0\n', body)
        self.assert_down(read_exposition(body))
        page = self.front_page()
        self.assertIn(f"{self.charon.socket}", page)
        self.assertIn("refused", page)
        self.assertEqual(self.exporter.get("/sessions")[2], b"[]")
        self.begin()
        self.assert_well()
        self.assertNotIn("refused", self.front_page())

    def test_a_charon_that_hangs(self):
        self.charon.freeze()
        self.addCleanup(self.charon.thaw)
        # 5 s is what a scrape may take that names no time. A busy machine may be slow once, not three times.
        for _ in range(3):
            started = time.monotonic()
            status, _, body = self.exporter.get("/metrics", {"X-Prometheus-Scrape-Timeout-Seconds": "2"})
            taken = time.monotonic() - started
            self.assertEqual(status, 200)
            families = read_exposition(body)
            self.assert_down(families)
            durations = families["gateway_exporter_collector_duration_seconds"].samples
            hung, others = (durations[series({"collector": name})] for name in ("strongswan", "sockets"))
            self.assertGreater(hung, 1.5)
            if taken < 4 and hung < 2 and others < 1:
                break
        else:
            self.fail(f"{taken} s, of which charon {hung} s and the sockets {others} s")
        self.charon.thaw()
        wait_for("charon to answer", self.charon.answers)
        self.assert_well()


if __name__ == "__main__":
    unittest.main()
