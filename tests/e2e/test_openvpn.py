"""OpenVPN: what the exporter says against the status files of real servers, read once more and naively."""

import calendar
import collections
import json
import os
import re
import sys
import time
import unittest

from exporter import Exporter, series
from host import Lab, wait_for
from openvpn import GATEWAY, GATEWAY_V6, HOME, OFFICE, OFFICE_V6, TRAIN, Site, await_rewrite, half_handshake

AWKWARD = ("Front Desk", "Smith, Ann", 'the "spare" one', "DOMAIN\\laptop", "Žofie Müller")
KEYS = (
    "server protocol p1uniqueid p2uniqueid state remotehost remoteport remoteid remotets established bytesin bytesout "
    "packetsin packetsout"
).split()

Row = collections.namedtuple("Row", "name address virtual received sent since client peer")

# Runs beside the exporter: rewrites a status file in place as OpenVPN does, one write(2) a line, truncated at the
# end. All clients of one writing have the same number of bytes, which is the writing's number; in odd writings one
# client is missing. Says at the end how long the longest silence within each writing was, and when that writing was.
WRITER = """
import json, os, sys, time
path, times = sys.argv[1], int(sys.argv[2])
HEADER = ("HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,"
    "Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher")
SINCE = "2026-11-20 13:20:20,1795180820,UNDEF"
said = []
file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
for number in range(10000, 10000 + times):
    lines = ["TITLE,OpenVPN 2.6.14 x86_64-pc-linux-gnu", f"TIME,now,{int(time.time())}", HEADER]
    lines += [
        f"CLIENT_LIST,client{client:02},192.0.2.2:{40000 + client},10.8.0.{client},,{number},{number},{SINCE},{client},{client},X"
        for client in range(10, 40 - number % 2)
    ]
    lines += ["GLOBAL_STATS,Max bcast/mcast queue length,0", "END"]
    begin = last = time.monotonic()
    silence = 0
    os.lseek(file, 0, os.SEEK_SET)
    for line in lines:
        os.write(file, line.encode() + b"\\n")
        time.sleep(0.0001)
        now = time.monotonic()
        silence, last = max(silence, now - last), now
    os.ftruncate(file, os.lseek(file, 0, os.SEEK_CUR))
    said.append((begin, time.monotonic(), silence))
    time.sleep(0.03)
print(json.dumps(said))
"""


def status_rows(text):
    """The clients of a whole status file of any version, by the positions that OpenVPN 2.6 gives its columns."""
    lines = text.decode().splitlines()
    if lines[0] == "OpenVPN CLIENT LIST":
        return old_rows(lines)
    separator = "\t" if lines[0].startswith("TITLE\t") else ","
    rows = []
    for line in lines:
        if line.startswith("CLIENT_LIST" + separator):
            name, *rest = line.removeprefix("CLIENT_LIST" + separator).rsplit(separator, 11)
            address, virtual, _, received, sent, _, since, _, client, peer, _ = rest
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(since)))
            rows.append(Row(name, address, virtual, int(received), int(sent), moment, client, peer))
    return rows


def old_rows(lines):
    """Version 1 has the tunnel's addresses in its routing table only."""
    routes = lines.index("ROUTING TABLE")
    addresses = {}
    for line in lines[routes + 2 : lines.index("GLOBAL STATS")]:
        virtual, rest = line.split(",", 1)
        if ":" not in virtual:
            addresses[rest.rsplit(",", 2)[1]] = virtual
    rows = []
    for line in lines[3:routes]:
        name, address, received, sent, since = line.rsplit(",", 4)
        rows.append(Row(name, address, addresses[address], int(received), int(sent), since, "", ""))
    return rows


class Watched:
    """An exporter and the servers it watches: [(server, protocol, name in the session list)]. `most_age` is for servers that
    write every second and of which several updates were seen: one that is late with three counts as down."""

    def __init__(self, exporter, servers, most_age=float("inf")):
        self.exporter, self.servers, self.most_age = exporter, servers, most_age

    def at_rest(self, ask):
        """(what `ask` brought, what the files said meanwhile), at a moment when nobody wrote to them."""

        def attempt():
            before = [server.read() for server, _, _ in self.servers]
            answer = ask()
            after = [server.read() for server, _, _ in self.servers]
            age = time.time() - min(os.stat(server.status).st_mtime for server, _, _ in self.servers)
            is_whole = age < self.most_age and before == after and all(map(Watched.is_whole, before))
            return (answer, before) if is_whole else None

        return wait_for("a scrape between two rewrites", attempt)

    @staticmethod
    def is_whole(text):
        return text.endswith(b"\nEND\n")

    def totals(self):
        """(families, sessions, {client: bytes in}, {client: bytes out}) of one moment, the last three as the files say."""
        families, files = self.at_rest(self.exporter.metrics)
        received, sent, sessions = collections.Counter(), collections.Counter(), 0
        for text, (_, protocol, _) in zip(files, self.servers):
            for row in status_rows(text):
                client = series({"client": f"{row.name}_{protocol}"})
                received[client] += row.received
                sent[client] += row.sent
                sessions += 1
        return families, sessions, dict(received), dict(sent)

    def target_up(self, server):
        return self.exporter.value("gateway_exporter_target_up", collector="openvpn", target=server.status)


class Gateway(unittest.TestCase):
    """Three servers: UDP with status version 3, TCP with version 2, and UDP with version 1, where one name comes twice."""

    @classmethod
    def setUpClass(cls):
        cls.lab = Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.udp, cls.tcp, cls.old = (Site(cls.lab, name) for name in ("udp", "tcp", "old"))
        udp, tcp, old = (
            cls.udp.server(),
            cls.tcp.server(proto="tcp-server", status_version=2),
            cls.old.server(status_version=1, duplicate_cn=True),
        )
        cls.servers = (udp, tcp, old)
        cls.clients = [cls.udp.begin(name, local=HOME, local_port=42000 + i) for i, name in enumerate(AWKWARD)]
        for name, local, port in (("alice@example.com", HOME, 41194), ("a,b,,c", TRAIN, 50222)):
            cls.clients.append(cls.tcp.begin(name, proto="tcp-client", local=local, local_port=port))
        for name, local, port in (("till", HOME, 40001), ("till", TRAIN, 40003), ("Smith, Ann", HOME, 40002)):
            cls.clients.append(cls.old.begin(name, local=local, local_port=port))
        for client in cls.clients:
            client.await_connected()
        udp.await_words(*AWKWARD)
        tcp.await_words("alice@example.com", "a,b,,c")
        old.await_words("till,198.51.100.7:40001", "till,203.0.113.19:40003", "Smith, Ann")
        exporter = Exporter(
            cls.lab,
            f"server_name: gw\novpnudpstatus: {udp.status}\novpntcpstatus: {tcp.status}\n"
            f"openvpn:\n  - status: {old.status}\n    name: old\n    protocol: udp\n",
        )
        cls.watched = Watched(exporter, [(udp, "udp", "gw"), (tcp, "tcp", "gw"), (old, "udp", "old")], most_age=2)

    def check(self):
        """Holds a scrape against the files and returns what the clients sent."""
        families, sessions, received, sent = self.watched.totals()
        self.assertEqual(of_present(families, "ovpn_bytes_in_total"), received)
        self.assertEqual(of_present(families, "ovpn_bytes_out_total"), sent)
        self.assertEqual(families["ovpn_sessions_total"].samples, {(): sessions})
        self.assertEqual(list(families["probe_success"].samples.values()), [1])
        for server in self.servers:
            self.assertEqual(self.watched.target_up(server), 1)
        return received

    def test_the_totals_are_those_of_the_files_before_and_after_traffic(self):
        before = self.check()
        names = [f"{name}_udp" for name in (*AWKWARD, "till")] + ["alice@example.com_tcp", "a,b,,c_tcp"]
        for name in names:
            self.assertIn(series({"client": name}), before)
        for number, client in enumerate(self.clients, 1):
            client.send(5 * number)
        for server in self.servers:
            server.await_rewrite(2)
        after = self.check()
        for number, client in enumerate(self.clients, 1):
            protocol = "tcp" if number in (6, 7) else "udp"
            name = series({"client": f"{client.common_name}_{protocol}"})
            self.assertGreater(after[name] - before[name], 5 * number * 1000, client.common_name)

    def test_the_version_is_that_of_the_daemon(self):
        version = self.udp.gateway.run("sh", "-c", "openvpn --version || true").split()[1]
        self.assertEqual(self.watched.exporter.value("ovpn_info", product="OpenVPN", version=version), 1)
        self.assertEqual(self.watched.exporter.value("probe_success", version=version), 1)

    def test_the_sessions_are_listed_in_json(self):
        for path in ("/sessions", "/sessions_local"):
            (status, headers, body), files = self.watched.at_rest(lambda: self.watched.exporter.get(path))
            self.assertEqual((status, headers["Content-Type"]), (200, "application/json; charset=utf-8"))
            sessions = json.loads(body, object_pairs_hook=list)
            expected = []
            for text, (_, protocol, server) in zip(files, self.watched.servers):
                for row in status_rows(text):
                    host, port = row.address.rsplit(":", 1)
                    values = (
                        server, protocol, row.client, row.peer, "ESTABLISHED", host, port, row.name, row.virtual,
                        row.since, str(row.received), str(row.sent), "0", "0",
                    )
                    expected.append(list(zip(KEYS, values)))
            self.assertEqual(sorted(map(repr, sessions)), sorted(map(repr, expected)))

    def test_a_servers_state_is_that_of_its_file(self):
        names = ("three", "two", "one")
        servers = "".join(f"  - {{name: {name}, status: {server.status}}}\n" for name, server in zip(names, self.servers))
        exporter = Exporter(self.lab, "openvpn:\n" + servers, name="states")
        families, files = self.watched.at_rest(exporter.metrics)
        first = {}
        for name, text in zip(names, files):
            lines = text.decode().splitlines()
            # Version 1 says no number of seconds: its dates are local time.
            (moment,) = [line for line in lines if line.startswith(("TIME", "Updated"))]
            moment = moment.replace("\t", ",").split(",")
            updated = int(moment[2]) if len(moment) > 2 else time.mktime(time.strptime(moment[1], "%Y-%m-%d %H:%M:%S"))
            queue, = [line for line in lines if "Max bcast/mcast queue length" in line]
            routes = [line for line in lines if line.startswith("ROUTING_TABLE")] or \
                lines[lines.index("ROUTING TABLE") + 2 : lines.index("GLOBAL STATS")]
            dco = [line[-1] for line in lines if "dco_enabled" in line]
            expected = {
                "ovpn_server_up": 1, "ovpn_status_updated_timestamp_seconds": updated, "ovpn_status_rows_skipped": 0,
                "ovpn_routes": len(routes), "ovpn_max_bcast_mcast_queue_length": int(re.split(r"[,\t]", queue)[-1]),
                "ovpn_dco_enabled": int(dco[0]) if dco else None,
            }
            said = {family: families[family].samples.get(series({"server": name})) for family in expected}
            self.assertEqual(said, expected, lines[0])
            for row in status_rows(text):
                client = series({"client": f"{row.name}_udp"})
                since = time.mktime(time.strptime(row.since, "%Y-%m-%d %H:%M:%S"))
                first[client] = min(since, first.get(client, since))
        self.assertEqual(families["ovpn_client_connected_timestamp_seconds"].samples, first)
        exporter.stop()

    def test_a_clients_statistics_are_those_of_its_file(self):
        """Under its own name, from the file that a client of OpenVPN writes."""
        client = self.clients[0]
        client.send(20)
        await_rewrite(client.status, 2)
        exporter = Exporter(self.lab, f"openvpn:\n  - {{name: uplink, status: {client.status}}}\n", name="statistics")

        def read():
            with open(client.status, encoding="utf-8") as file:
                return file.read()

        def attempt():
            before, families, after = read(), exporter.metrics(), read()
            return (families, before) if before == after and before.endswith("\nEND\n") else None

        families, text = wait_for("a scrape between two rewrites", attempt)
        counts = dict(line.split(",") for line in text.splitlines() if " bytes," in line)
        for family, words in {
            "tun_read": "TUN/TAP read", "tun_write": "TUN/TAP write", "transport_read": "TCP/UDP read",
            "transport_write": "TCP/UDP write", "auth_read": "Auth read",
        }.items():
            counted = int(counts[f"{words} bytes"])
            self.assertEqual(families[f"ovpn_link_{family}_bytes_total"].samples, {series({"server": "uplink"}): counted})
        self.assertGreater(int(counts["TUN/TAP read bytes"]), 20 * 1000)
        exporter.stop()

    def test_a_client_that_left_is_gone(self):
        guest = self.udp.begin("guest", local=TRAIN, local_port=43000, extra=("--explicit-exit-notify", "1"))
        guest.await_connected()
        client = series({"client": "guest_udp"})
        wait_for("the guest", lambda: client in self.watched.exporter.metrics()["ovpn_bytes_in_total"].samples)
        self.assertIn(client, self.check())
        guest.stop()
        had = self.watched.exporter.metrics()["ovpn_bytes_in_total"].samples[client]
        wait_for("the guest to go", lambda: client not in self.watched.exporter.metrics()["ovpn_client_sessions"].samples)
        self.assertNotIn(client, self.check())
        stays = self.watched.exporter.metrics()["ovpn_bytes_in_total"].samples[client]
        self.assertGreaterEqual(stays, had, "what it had stays in the total")


def of_present(families, name):
    """A family's samples of the clients that have a session: the totals of others stay, too."""
    present = families["ovpn_client_sessions"].samples
    return {labels: value for labels, value in families[name].samples.items() if labels in present}


class Crash(unittest.TestCase):
    """What becomes of a server's file, and of the others meanwhile."""

    def test_a_file_outlives_its_server_and_its_end_harms_no_other(self):
        with Lab() as lab:
            site, other = Site(lab, "dead"), Site(lab, "live")
            dead, live = site.server(), other.server(proto="tcp-server", status_version=2)
            client, peer = site.begin("alice@example.com"), other.begin("bob@example.com", proto="tcp-client")
            client.await_connected()
            peer.await_connected()
            dead.await_words("alice@example.com")
            live.await_words("bob@example.com")
            exporter = Exporter(lab, f"ovpnudpstatus: {dead.status}\novpntcpstatus: {live.status}\n")
            watched = Watched(exporter, [(dead, "udp", ""), (live, "tcp", "")])

            named = "".join(f"  - {{name: {n}, status: {s.status}, stale_after: 3}}\n" for n, s in (("dead", dead), ("live", live)))
            ages = Exporter(lab, "openvpn:\n" + named, name="ages")

            def up():
                return tuple(ages.value("ovpn_server_up", server=name) for name in ("dead", "live"))

            self.assertEqual(up(), (1, 1))
            dead.await_rewrite()
            dead.kill()
            dead.whole()
            wait_for("the file to be stale", lambda: up() == (0, 1))
            families, sessions, received, _ = watched.totals()
            self.assertEqual(sessions, 2)
            self.assertEqual(of_present(families, "ovpn_bytes_in_total"), received)
            self.assertEqual(watched.target_up(dead), 1)

            os.remove(dead.status)
            self.assertEqual((watched.target_up(dead), watched.target_up(live)), (0, 1))
            families = exporter.metrics()
            self.assertEqual(list(families["ovpn_client_sessions"].samples), [series({"client": "bob@example.com_tcp"})])
            self.assertEqual(families["ovpn_sessions_total"].samples, {(): 1})
            self.assertEqual(list(families["probe_success"].samples.values()), [1])
            wait_for("the log", lambda: f"{dead.status}: not found" in exporter.log())

            os.remove(live.status)
            live.kill()
            families = exporter.metrics()
            self.assertEqual(families["probe_success"].samples, {(): 0})
            self.assertEqual(families["ovpn_sessions_total"].samples, {(): 0})
            self.assertNotIn("ovpn_client_sessions", families)
            self.assertEqual(len(families["ovpn_bytes_in_total"].samples), 2, "what they had stays")
            self.assertEqual(json.loads(exporter.get("/sessions")[2]), [])

    def test_a_killed_server_has_no_sessions_and_keeps_its_totals(self):
        for version in (1, 2):
            with self.subTest(version=version), Lab() as lab:
                site = Site(lab, f"kill{version}")
                server = site.server(status_version=version)
                site.client("alice@example.com")
                server.await_words("alice@example.com")
                exporter = Exporter(lab, f"openvpn:\n  - {{name: office, status: {server.status}, stale_after: 3}}\n")
                client = {"client": "alice@example.com_udp"}
                wait_for("the session", lambda: exporter.value("ovpn_sessions_total") == 1)
                server.kill()
                text = server.whole()
                wait_for("the end to be noticed", lambda: exporter.value("ovpn_server_up", server="office") == 0)
                families = exporter.metrics()
                self.assertEqual(families["ovpn_sessions_total"].samples, {(): 0})
                self.assertEqual(list(families["probe_success"].samples.values()), [0])
                self.assertNotIn("ovpn_client_sessions", families)
                self.assertNotIn("ovpn_client_connected_timestamp_seconds", families)
                (row,) = status_rows(text)
                self.assertEqual(families["ovpn_bytes_in_total"].samples, {series(client): row.received})
                self.assertEqual(json.loads(exporter.get("/sessions")[2]), [])
                # A touched file is no live one.
                os.utime(server.status)
                self.assertEqual(exporter.value("ovpn_server_up", server="office"), 0)


class Daemons(unittest.TestCase):
    """What real daemons do that a status file without ids, zones or names says little about."""

    def exporter_of(self, lab, server, name="exporter", **options):
        return Exporter(lab, f"openvpn:\n  - {{name: office, status: {server.status}}}\n", name=name, **options)

    def held(self, exporter, server):
        """Waits for a scrape at rest and holds its totals against the file; returns the families."""
        families, sessions, received, sent = Watched(exporter, [(server, "udp", "office")]).totals()
        self.assertEqual(of_present(families, "ovpn_bytes_in_total"), received)
        self.assertEqual(of_present(families, "ovpn_bytes_out_total"), sent)
        self.assertEqual(families["ovpn_sessions_total"].samples, {(): sessions})
        return families

    def test_a_daemon_may_live_in_another_zone(self):
        for daemon, offset in (("NPT-5:45", 20700), ("UTC0", 0), ("NST3:30", -12600)):
            with self.subTest(daemon=daemon), Lab() as lab:
                site = Site(lab, "zone")
                server = site.server(status_version=1, zone=daemon)
                site.client("alice@example.com")
                server.await_words("alice@example.com")
                exporter = self.exporter_of(lab, server, environment={"TZ": "EST5"})
                families = self.held(exporter, server)
                self.assertEqual(list(families["ovpn_server_up"].samples.values()), [1])
                (row,) = status_rows(server.whole())
                wall = time.strptime(row.since + " UTC", "%Y-%m-%d %H:%M:%S %Z")
                since = calendar.timegm(wall) - offset
                self.assertEqual(list(families["ovpn_client_connected_timestamp_seconds"].samples.values()), [since])
                (updated,) = families["ovpn_status_updated_timestamp_seconds"].samples.values()
                self.assertLess(abs(updated - time.time()), 60)
                (session,) = json.loads(exporter.get("/sessions")[2])
                self.assertEqual(session["established"], time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(since - 5 * 3600)))
                server.kill()
                # Hours later its date would be that of now, to an exporter that lives elsewhere.
                written = os.stat(server.status).st_mtime
                for hours in (1, 5):
                    os.utime(server.status, (written - hours * 3600,) * 2)
                    late = self.exporter_of(lab, server, f"late{hours}", environment={"TZ": f"LATE{5 + hours}"})
                    self.assertEqual(late.value("ovpn_server_up", server="office"), 0, hours)
                    self.assertEqual(late.value("ovpn_sessions_total"), 0)

    def test_a_client_that_floats_is_the_same_session(self):
        for version in (1, 3):
            with self.subTest(version=version), Lab() as lab:
                site = Site(lab, f"float{version}")
                server = site.server(status_version=version)
                client = site.client("alice@example.com")
                client.send(50)
                server.await_words(f"alice@example.com{chr(9) if version == 3 else ','}{OFFICE}")
                exporter = self.exporter_of(lab, server)
                self.held(exporter, server)
                for address in (HOME, TRAIN):
                    site.move(address)
                    client.send(20)
                    server.await_words(f"alice@example.com{chr(9) if version == 3 else ','}{address}")
                    families = self.held(exporter, server)
                    self.assertEqual(list(families["ovpn_client_sessions"].samples.values()), [1])

    def test_clients_without_a_name_are_sessions_once_they_have_authenticated(self):
        with Lab() as lab:
            site = Site(lab, "undef")
            extra = ("--verify-client-cert", "none", "--auth-user-pass-optional", "--script-security", "3",
                     "--auth-user-pass-verify", "/bin/true", "via-env")
            server = site.server(status_version=1, extra=extra)
            exporter = self.exporter_of(lab, server)
            site.client(None, extra=("--auth-user-pass", lab.write("login", "ann\nsecret\n", 0o600)))
            half_handshake(site.far, TRAIN, 50222, GATEWAY)
            server.await_words("UNDEF," + TRAIN, "UNDEF," + OFFICE)
            families, files = Watched(exporter, [(server, "udp", "office")]).at_rest(exporter.metrics)
            rows = [line.split(",") for line in files[0].decode().splitlines() if line.startswith("UNDEF,")]
            received = {row[1].rsplit(":", 1)[0]: int(row[2]) for row in rows}
            self.assertEqual(families["ovpn_sessions_total"].samples, {(): 1})
            self.assertEqual(
                families["ovpn_bytes_in_total"].samples, {series({"client": "UNDEF_udp"}): received[OFFICE]}
            )
            states = {session["remotehost"]: session["state"] for session in json.loads(exporter.get("/sessions")[2])}
            self.assertEqual(states, {OFFICE: "ESTABLISHED", TRAIN: "CONNECTING"})

    def test_devices_with_one_certificate_behind_one_address_are_sessions_of_their_own(self):
        """OpenVPN 2.6 prints no ports of IPv6 clients, so that rows may differ in their bytes only."""
        with Lab() as lab:
            site = Site(lab, "twins")
            server = site.server(proto="udp6", status_version=1, duplicate_cn=True)
            options = {"remote": GATEWAY_V6, "proto": "udp6", "local": OFFICE_V6}
            tills = [site.begin("till", local_port=44000 + number, **options) for number in range(3)]
            for till in tills:
                till.await_connected()
            wait_for("three tills", lambda: server.read().count(f"till,{OFFICE_V6},".encode()) >= 3)
            exporter = self.exporter_of(lab, server)
            for till, count in zip(tills * 2, (30, 3, 12, 1, 40, 7)):
                till.send(count)
                server.await_rewrite(2)
                families = self.held_twins(exporter, server)
                self.assertEqual(list(families["ovpn_client_sessions"].samples.values()), [3])

    def held_twins(self, exporter, server):
        families, files = Watched(exporter, [(server, "udp", "office")]).at_rest(exporter.metrics)
        rows = [line.split(",") for line in files[0].decode().splitlines() if line.startswith("till,")]
        till = series({"client": "till_udp"})
        for family, column in (("ovpn_bytes_in_total", 2), ("ovpn_bytes_out_total", 3)):
            self.assertEqual(families[family].samples[till], sum(int(row[column]) for row in rows), rows)
        return families

    def test_a_rotated_file_is_that_of_its_server(self):
        with Lab() as lab:
            site = Site(lab, "rotated")
            server = site.server(status_version=1)
            client = site.client("alice@example.com")
            server.await_words("alice@example.com")
            folder = os.path.dirname(server.status)
            for copy in ("status.2", "status~", "status.bak"):
                with open(os.path.join(folder, copy), "wb") as file:
                    file.write(server.whole())
            os.utime(os.path.join(folder, "status.2"), (time.time() - 86400,) * 2)
            exporter = Exporter(lab, f"openvpn:\n  - status: {folder}/*status*\n")
            self.held(exporter, server)
            targets = exporter.metrics()["gateway_exporter_target_up"].samples
            self.assertEqual(list(targets), [series({"collector": "openvpn", "target": server.status})])
            server.rotate()
            client.send(20)
            moved = server.status + ".1"
            await_rewrite(moved, 2)
            server.status = moved
            self.held(exporter, server)
            self.assertEqual(exporter.metrics()["gateway_exporter_target_up"].samples, targets)


class Rewriting(unittest.TestCase):
    TIMES = 1000 if os.environ.get("SIEGE") == "full" else 100
    # A writer that the machine held up for this long in mid-writing left a file that looks as if it rested.
    LONGEST_SILENCE = 0.015

    def test_a_scrape_in_the_middle_of_a_rewrite_says_nothing_wrong(self):
        with Lab() as lab:
            status = lab.path("status")
            writer = lab.start((sys.executable, "-c", WRITER, status, str(self.TIMES)), log="writer")
            wait_for("the first writing", lambda: os.path.exists(status))
            exporter = Exporter(lab, f"ovpnudpstatus: {status}\n")
            scrapes = []
            while writer.poll() is None:
                begin = time.monotonic()
                scrapes.append((begin, exporter.metrics(), time.monotonic()))
            self.assertEqual(writer.returncode, 0, lab.log("writer"))
            stalls = [(begin, end) for begin, end, silence in json.loads(lab.log("writer")) if silence > self.LONGEST_SILENCE]
            right = 0
            for begin, families, end in scrapes:
                if not any(begin < stall_end and stall_begin < end for stall_begin, stall_end in stalls):
                    right += self.judge(families)
            self.assertGreater(right, 0, f"none of {len(scrapes)} scrapes met the file at rest")
            self.assertTrue(self.judge(exporter.metrics()), "the file rests now")

    def judge(self, families):
        """Whether the scrape has totals; they must be those of one writing."""
        if "ovpn_sessions_total" not in families:
            self.assertEqual(list(families["gateway_exporter_target_up"].samples.values()), [0])
            self.assertNotIn("ovpn_client_sessions", families)
            return False
        received = of_present(families, "ovpn_bytes_in_total")
        self.assertEqual(received, of_present(families, "ovpn_bytes_out_total"))
        writings = set(received.values())
        self.assertEqual(len(writings), 1, received)
        self.assertEqual(len(received), 30 - writings.pop() % 2)
        self.assertEqual(families["ovpn_sessions_total"].samples, {(): len(received)})
        return True


if __name__ == "__main__":
    unittest.main()
