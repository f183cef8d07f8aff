"""The old way, with `ipsec start`: what the exporter says of ipsec.conf's tunnels is what `ipsec statusall` says."""

import os
import re
import subprocess
import unittest

import names
from capture_ipsec import SECRETS
from charon import GATEWAY, PLUGINS, Site, Starter, Warrior, road_gateway, traffic
from exporter import Exporter, series
from host import Lab, run, wait_for

INSTALLED, ESTABLISHED, DOWN, UNKNOWN, IGNORED = range(5)
UP = ("INSTALLED", "UPDATING", "REKEYING", "REKEYED")

DEFAULTS = f"""\
config setup
	uniqueids=never

conn %default
	keyexchange=ikev2
	ike=aes128-sha256-x25519!
	esp=aes128-sha256!
	mobike=no
	left={GATEWAY}
	leftid=gw.example.org
	authby=secret
	auto=add

"""

# How a line of `Security Associations` begins, and the one with counters.
IKE_LINE = re.compile(r" *(\S+)\[(\d+)\]: ([A-Z]+)\b.*")
CHILD_LINE = re.compile(r" *(\S+)\{(\d+)\}: +([A-Z]+), .*")
COUNTER_LINE = re.compile(
    r" *\S+\{(\d+)\}: .* (\d+) bytes_i(?: \((\d+) pkts?, [^)]*\))?, (\d+) bytes_o(?: \((\d+) pkts?, [^)]*\))?.*"
)
COUNTERS = ("ipsec_in_bytes", "ipsec_in_packets", "ipsec_out_bytes", "ipsec_out_packets")


def conn(name, number, right, identity, extra=""):
    """A site-to-site conn between our network 10.1.N.0/24 and their 10.2.N.0/24."""
    return f"""\
conn {name}
	leftsubnet=10.1.{number}.0/24
	right={right}
	rightid={identity}
	rightsubnet=10.2.{number}.0/24
	{extra}

"""


def installed(statusall):
    """{child id: (conn, counters)} of the CHILD_SAs that carry traffic; no counters where none are printed."""
    children = {}
    for line in statusall.partition("Security Associations")[2].splitlines():
        if match := COUNTER_LINE.fullmatch(line):
            number, *counts = match.groups()
            if number in children:
                children[number] = (children[number][0], [int(count or 0) for count in counts])
        elif (match := CHILD_LINE.fullmatch(line)) and match[3] in UP:
            children[match[2]] = (match[1], None)
    return children


def established(statusall):
    """The conns that have an IKE_SA with a peer who proved his name."""
    lines = map(IKE_LINE.fullmatch, statusall.splitlines())
    return {match[1] for match in lines if match and match[3] == "ESTABLISHED"}


def still(statusall):
    """What does not change with time alone."""
    return installed(statusall), established(statusall)


def sums(statusall, tunnel):
    """The four counters of a conn over its CHILD_SAs, in the order of COUNTERS."""
    children = [counts for name, counts in installed(statusall).values() if name == tunnel]
    return [sum(column) for column in zip(*children)] if children else [0, 0, 0, 0]


class Case(unittest.TestCase):
    """A gateway that `ipsec` runs, an exporter, and a count of the commands that it starts."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.gateway = road_gateway(cls.lab)
        cls.prepare()

    @classmethod
    def begin(cls, text, **settings):
        """Starts the daemon on this ipsec.conf; the peers' addresses have to exist before."""
        folder = os.path.dirname(cls.lab.write("conf/ipsec.conf", text))
        cls.starter = Starter(cls.gateway, folder, SECRETS, **settings)
        cls.conf = cls.starter.folder + "ipsec.conf"
        cls.count = cls.lab.path("count")
        # The namespaces of the daemon stay when it ends, so that `ipsec` itself is asked then, too.
        keeper = cls.lab.start((*cls.starter.command, "sleep", "600"))
        wait_for("the keeper", lambda: os.readlink(f"/proc/{keeper.pid}/exe").endswith("sleep"))
        cls.enter = ("nsenter", "--target", str(keeper.pid), "--mount", "--net", "--")
        cls.command = cls.script("asks", f"echo x >> {cls.count}\nexec {' '.join(cls.enter)} ipsec statusall\n")
        cls.exporter = cls.watch()

    @classmethod
    def script(cls, name, text):
        return cls.lab.write(f"bin/{name}", f"#!/bin/sh\n{text}", mode=0o755)

    @classmethod
    def watch(cls, name="exporter", **options):
        config = f"ipsec_config: {cls.conf}\nipsec_command: [{cls.command}]\n"
        return Exporter(cls.lab, config, name=name, **options)

    def asked(self):
        """How many `ipsec` commands were started so far."""
        return len(self.lab.log("count").splitlines()) if os.path.exists(self.count) else 0

    def one_moment(self):
        """The families, and `ipsec statusall` at a moment in which nothing happens."""

        def agreed():
            before = self.starter.ipsec("statusall")
            families = self.exporter.metrics()
            return still(before) == still(self.starter.ipsec("statusall")) and (families, before)

        return wait_for("a moment in which nothing happens", agreed)

    def statuses(self, families):
        return {row(labels): value for labels, value in families["ipsec_tunnel_status"].samples.items()}

    def assert_counters(self, families, statusall, tunnels):
        for tunnel in tunnels:
            values = [families[name].samples.get(series({"tunnel": tunnel})) for name in COUNTERS]
            self.assertEqual(values, sums(statusall, tunnel), f"{tunnel}\n{statusall}")


def row(labels):
    """`tunnel`, or `tunnel/user`."""
    return "/".join(value for _, value in sorted(labels))


class SiteToSite(Case):
    """Two tunnels that are up, one that nobody brought up, one that has keys and no networks, one that is ignored."""

    @classmethod
    def prepare(cls):
        cls.branches = [cls.branch(number) for number in (1, 2)]
        cls.stranger = cls.branch(4, network=7)
        text = DEFAULTS + "".join(
            conn(f"branch-{number}", number, site.address, site.identity) for number, site in enumerate(cls.branches, 1)
        )
        text += conn("idle", 3, "192.0.2.200", "idle.example.org")
        text += conn("keys-only", 4, cls.stranger.address, cls.stranger.identity)
        text += conn("ignored", 5, "192.0.2.201", "ignored.example.org", "auto=ignore")
        cls.begin(text)
        for number in (1, 2):
            cls.starter.ipsec("up", f"branch-{number}")
        cls.starter.ipsec("up", "keys-only")

    @classmethod
    def branch(cls, number, network=None):
        """A site that waits for the gateway to call; it knows the networks number `network`."""
        network = network or number
        spoke = Warrior(cls.lab, cls.gateway, number)
        near = Site(cls.gateway, GATEWAY, "gw.example.org", [f"10.1.{network}.0/24"])
        far = Site(spoke.host, spoke.address, f"branch-{number}.example.org", [f"10.2.{network}.0/24"], spoke.charon)
        far.charon.load(far.conf(near, "gateway", ["net"]))
        return far

    def send(self, size):
        traffic(self.gateway, self.branches[0].host, "10.2.1.1", size, source="10.1.1.1")

    def test_states_and_counters_are_statusalls(self):
        before, statusall = self.one_moment()
        self.assert_counters(before, statusall, ("branch-1", "branch-2", "idle", "keys-only"))
        self.assertEqual(established(statusall), {"branch-1", "branch-2", "keys-only"})
        self.assertEqual({name for name, _ in installed(statusall).values()}, {"branch-1", "branch-2"})
        states = self.statuses(before)
        states.pop("new", None)
        self.assertEqual(states, {
            "branch-1": INSTALLED, "branch-2": INSTALLED, "idle": DOWN, "keys-only": ESTABLISHED, "ignored": IGNORED,
        })
        self.assertNotIn(series({"tunnel": "ignored"}), before["ipsec_in_bytes"].samples)
        self.assertNotIn(series({"tunnel": "ignored"}), before["ipsec_up"].samples)
        self.assertEqual(set(before["ipsec_up"].samples.values()), {1})

        self.send(50_000)
        after, statusall = self.one_moment()
        self.assert_counters(after, statusall, ("branch-1", "branch-2", "idle", "keys-only"))
        first, second = series({"tunnel": "branch-1"}), series({"tunnel": "branch-2"})
        grown = {name: after[name].samples[first] - before[name].samples[first] for name in COUNTERS}
        packets = grown["ipsec_out_packets"]
        self.assertTrue(50_000 + 40 * packets <= grown["ipsec_out_bytes"] <= 50_000 + 60 * packets, grown)
        self.assertTrue(0 < grown["ipsec_in_bytes"] < 50_000 and grown["ipsec_in_packets"] > 0, grown)
        self.assertEqual([after[name].samples[second] for name in COUNTERS], [before[name].samples[second] for name in COUNTERS])

    def test_a_rekey_is_no_outage(self):
        old = {number for number, (name, _) in installed(self.starter.ipsec("statusall")).items() if name == "branch-2"}
        self.starter.ipsec("stroke", "rekey", "branch-2{}")
        states = []

        def rekeyed():
            states.append(self.statuses(self.exporter.metrics())["branch-2"])
            new = {number for number, (name, _) in installed(self.starter.ipsec("statusall")).items() if name == "branch-2"}
            return new and not new & old

        wait_for("the rekeying", rekeyed)
        self.assertEqual(set(states), {INSTALLED})
        traffic(self.gateway, self.branches[1].host, "10.2.2.1", 3000, source="10.1.2.1")
        families, statusall = self.one_moment()
        self.assert_counters(families, statusall, ("branch-1", "branch-2"))
        self.assertGreater(families["ipsec_out_bytes"].samples[series({"tunnel": "branch-2"})], 3000)

    def test_a_conn_that_is_added_is_seen_at_the_next_scrape(self):
        with open(self.conf, encoding="utf-8") as file:
            before = file.read()

        def restore():
            # In place: the daemon sees this very file through a bind mount.
            with open(self.conf, "w", encoding="utf-8") as file:
                file.write(before)

        self.assertNotIn("new", self.statuses(self.exporter.metrics()))
        self.addCleanup(restore)
        with open(self.conf, "a", encoding="utf-8") as file:
            file.write(conn("new", 6, "192.0.2.202", "new.example.org"))
        self.assertEqual(self.statuses(self.exporter.metrics())["new"], DOWN)
        restore()
        self.assertNotIn("new", self.statuses(self.exporter.metrics()))

    def test_one_command_for_a_whole_scrape(self):
        before = self.asked()
        for _ in range(3):
            self.assertGreater(len(self.statuses(self.exporter.metrics())), 4)
        self.assertEqual(self.asked(), before + 3)

    def test_the_kernels_errors_are_the_namespaces(self):
        lines = run(*self.enter, "cat", "/proc/net/xfrm_stat").splitlines()
        expected = {series({"error": line.split()[0]}): int(line.split()[1]) for line in lines}
        self.assertGreater(len(expected), 20)
        self.assertEqual(self.exporter.metrics()["xfrm_errors_total"].samples, expected)

    def test_sudo_is_put_in_front(self):
        said = self.lab.path("sudo.argv")
        stand_in = self.script("sudo", f'printf "%s\\n" "$@" >> {said}\nexec "$@"\n')
        path = f"{os.path.dirname(stand_in)}:{os.environ['PATH']}"
        exporter = self.watch(name="with-sudo", flags=("--enable.sudo",), environment={"PATH": path})
        states = self.statuses(exporter.metrics())
        self.assertEqual(self.lab.log("sudo.argv"), f"{self.command}\n")
        self.assertEqual(states["branch-1"], INSTALLED)
        target = {"collector": "ipsec", "target": f"sudo {self.command}"}
        self.assertEqual(exporter.value("gateway_exporter_target_up", **target), 1)

    def test_promtool_finds_nothing_of_ours(self):
        for path in ("/metrics", "/prom"):
            self.assertEqual(names.own_complaints(self.exporter.get(path)[2]), [], path)


class EapUsers(Case):
    """Users whose name is the one that EAP proved, one of them with two devices; and then the daemon ends."""

    @classmethod
    def prepare(cls):
        carol, dave, phone = (Warrior(cls.lab, cls.gateway, number) for number in range(3))
        users = (
            "conn users\n\tleftsubnet=10.1.0.0/16\n\tright=%any\n\trightsourceip=10.3.0.0/24\n"
            "\tleftauth=psk\n\trightauth=eap-md5\n\teap_identity=%identity\n"
        )
        cls.begin(DEFAULTS + users)
        carol.dial("carol@laptop.example.org", "carol")
        dave.dial("dave@example.org", "dave@example.org")
        phone.dial("carol@phone.example.org", "carol")
        for size, warrior in ((3000, carol), (2000, dave), (1000, phone)):
            warrior.sends(cls.gateway, size)

    def test_1_a_row_for_each_user(self):
        families, statusall = self.one_moment()
        rows = {"users", "users/carol", "users/dave@example.org"}
        self.assertEqual(self.statuses(families), dict.fromkeys(rows, INSTALLED))
        self.assert_counters(families, statusall, ["users"])
        self.assertEqual(families["ipsec_tunnel_users"].samples, {series({"tunnel": "users"}): 2})
        for name in COUNTERS:
            samples = {row(labels): value for labels, value in families[name].samples.items()}
            self.assertEqual(set(samples), rows)
            self.assertEqual(samples["users/carol"] + samples["users/dave@example.org"], samples["users"])
        received = {row(labels): value for labels, value in families["ipsec_in_bytes"].samples.items()}
        self.assertTrue(4000 < received["users/carol"] < 5000, received)
        self.assertTrue(2000 < received["users/dave@example.org"] < 3000, received)
        self.assertEqual(names.own_complaints(self.exporter.get("/metrics")[2]), [])

    def test_2_a_daemon_that_was_stopped(self):
        run(*self.enter, "ipsec", "stop")

        def stopped():
            families = self.exporter.metrics()
            return self.statuses(families) == {"users": UNKNOWN} and families

        families = wait_for("the end of the daemon to be seen", stopped)
        self.assertEqual(families["ipsec_up"].samples, {series({"tunnel": "users"}): 0})
        targets = {dict(labels)["target"]: value for labels, value in families["gateway_exporter_target_up"].samples.items()
                   if dict(labels)["collector"] == "ipsec"}
        self.assertEqual(targets, {self.conf: 1, self.command: 0})
        self.assertIn(self.command, self.exporter.get("/")[2].decode())
        for name in COUNTERS:
            self.assertNotIn(name, families)


class Kinds(Case):
    """A conn of each kind: what is not loaded, a shunt, who waits for anybody, who waits for a packet."""

    @classmethod
    def prepare(cls):
        cls.laptop, cls.asleep = (Warrior(cls.lab, cls.gateway, number) for number in (1, 2))
        text = DEFAULTS.replace("\tauto=add\n", "")
        # No auto=: a template.
        text += "conn base\n\tleftsubnet=10.1.1.0/24\n\n"
        text += conn("spare", 5, "192.0.2.201", "spare.example.org", "auto=ignore")
        text += (
            "conn bypass\n\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.1.0.0/16\n"
            "\tauthby=never\n\ttype=passthrough\n\tauto=route\n\n"
        )
        text += "conn anybody\n\talso=base\n\tright=%any\n\trightsubnet=10.2.1.0/24\n\tauto=add\n\n"
        # Our own end is the right one.
        text += (
            "conn turned\n\tleft=%any\n\tleftid=%any\n\tright=" + GATEWAY + "\n\trightid=gw.example.org\n"
            "\trightsubnet=10.1.6.0/24\n\tauto=add\n\n"
        )
        text += conn("asleep", 2, cls.asleep.address, "asleep.example.org", "auto=route")
        text += conn("broken", 3, "192.0.2.202", "broken.example.org", "auto=add")
        cls.begin(text)

    def answer(self, warrior, number, identity):
        """Lets a peer know the gateway, with networks of that number."""
        near = Site(self.gateway, GATEWAY, "gw.example.org", [f"10.1.{number}.0/24"])
        far = Site(warrior.host, warrior.address, identity, [f"10.2.{number}.0/24"], warrior.charon)
        far.charon.load(far.conf(near, "gateway", ["net"]))
        return far

    def test_1_nobody_is_there(self):
        families, statusall = self.one_moment()
        self.assertIn("Shunted Connections:\n", statusall)
        self.assertEqual(self.statuses(families), {
            "base": IGNORED, "spare": IGNORED, "bypass": INSTALLED, "asleep": DOWN, "broken": DOWN,
        })
        kinds = {dict(labels)["tunnel"]: dict(labels)["kind"] for labels in families["ipsec_tunnel_info"].samples}
        self.assertEqual(kinds, {
            "base": "not-loaded", "spare": "not-loaded", "bypass": "shunt", "anybody": "anybody", "turned": "anybody",
            "asleep": "on-demand", "broken": "always",
        })
        self.assertEqual(families["ipsec_tunnel_users"].samples, {
            series({"tunnel": "anybody"}): 0, series({"tunnel": "turned"}): 0,
        })
        self.assertEqual(families["ipsec_status_lines_skipped"].samples, {series({}): 0})
        up = {row(labels): value for labels, value in families["ipsec_up"].samples.items()}
        self.assertEqual(up, dict.fromkeys(("bypass", "anybody", "turned", "asleep", "broken"), 1))

    def test_2_somebody_connects(self):
        far = self.answer(self.laptop, 1, "laptop.example.org")
        far.charon.initiate("net")
        traffic(self.laptop.host, self.gateway, "10.1.1.1", 3000, source="10.2.1.1")
        families, statusall = self.one_moment()
        states = self.statuses(families)
        self.assertEqual((states["anybody"], states["anybody/laptop.example.org"]), (INSTALLED, INSTALLED), statusall)
        self.assertNotIn("turned", states)
        self.assertEqual(families["ipsec_tunnel_users"].samples[series({"tunnel": "anybody"})], 1)
        self.assert_counters(families, statusall, ["anybody"])
        user = series({"tunnel": "anybody", "user": "laptop.example.org"})
        self.assertGreater(families["ipsec_in_bytes"].samples[user], 3000)
        far.charon.swanctl("--terminate", "--ike", "gateway")

        def gone():
            families = self.exporter.metrics()
            return families["ipsec_tunnel_users"].samples[series({"tunnel": "anybody"})] == 0 and families

        states = self.statuses(wait_for("the end of the session", gone))
        self.assertEqual([name for name in states if name.startswith("anybody")], [])

    def test_3_the_one_on_demand_comes_up(self):
        self.answer(self.asleep, 2, "asleep.example.org")
        self.starter.ipsec("up", "asleep")
        families, _ = self.one_moment()
        self.assertEqual(self.statuses(families)["asleep"], INSTALLED)

    def test_4_starter_ends_and_charon_stays(self):
        self.starter.process.kill()
        self.starter.process.wait()
        asked = subprocess.run((*self.enter, "ipsec", "statusall"), capture_output=True, text=True, check=False)
        self.assertIn("Security Associations", asked.stdout)
        self.assertIn(asked.returncode, (1, 3), asked)
        families = self.exporter.metrics()
        self.assertEqual(self.statuses(families)["asleep"], INSTALLED)
        self.assertEqual(families["ipsec_up"].samples[series({"tunnel": "broken"})], 1)

    def test_5_without_conns_nothing_is_asked(self):
        conf = self.lab.write("without/ipsec.conf", "config setup\n\n# conn sample\n#\tauto=start\n")
        before = self.asked()
        exporter = Exporter(self.lab, f"ipsec_config: {conf}\nipsec_command: [{self.command}]\n", name="without")
        families = exporter.metrics()
        targets = {dict(labels)["target"]: value for labels, value in families["gateway_exporter_target_up"].samples.items()
                   if dict(labels)["collector"] == "ipsec"}
        self.assertEqual(targets, {conf: 1})
        self.assertEqual(self.asked(), before)


class Traps(Case):
    """The kernel's own policies, without ESP: a policy that waits for a packet, and one that nobody installed."""

    @classmethod
    def prepare(cls):
        text = DEFAULTS + conn("asleep", 2, "192.0.2.201", "asleep.example.org", "auto=route")
        text += conn("missing", 3, "192.0.2.202", "missing.example.org", "auto=route")
        cls.gateway.run("ip", "route", "add", "default", "dev", "lo")
        cls.begin(text, load=PLUGINS.replace("kernel-libipsec ", ""))
        wait_for("the policies", lambda: cls.starter.ipsec("status").count("ROUTED") == 2)
        cls.starter.ipsec("unroute", "missing")

    def test_an_alert_can_tell_the_one_that_waits(self):
        families, statusall = self.one_moment()
        self.assertIn("Routed Connections:\n", statusall)
        self.assertEqual(self.statuses(families), {"asleep": DOWN, "missing": DOWN})
        self.assertEqual(families["ipsec_tunnel_trap_installed"].samples, {
            series({"tunnel": "asleep"}): 1, series({"tunnel": "missing"}): 0,
        })
        self.assertEqual(families["ipsec_status_lines_skipped"].samples, {series({}): 0})


if __name__ == "__main__":
    unittest.main()
