"""Who may ask, where, and what is said of clients: the binary with users, networks, interfaces and hidden names."""

import base64
import contextlib
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import time
import unittest

from exporter import ROOT, Exporter, binary, connect, fetch, free_port
from host import Lab, wait_for

STATUS = pathlib.Path(ROOT) / "fixtures" / "openvpn"
PASSWORD = "correct horse"


def hashed(password):
    done = subprocess.run([binary(), "--hash-password"], input=password + "\n", capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def version_2(clients):
    """A status file of version 2 with these common names, each with 10 bytes in and 20 out."""
    rows = "".join(
        f"CLIENT_LIST,{name},192.0.2.{number}:1194,10.8.0.{number},,10,20,2026-11-20 13:00:00,1795179600,UNDEF,{number},{number},x\n"
        for number, name in enumerate(clients, 1)
    )
    head = (
        "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,"
        "Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher\n"
    )
    return (
        f"TITLE,OpenVPN 2.6.3\nTIME,now,{int(time.time())}\n"
        + head + rows + "HEADER,ROUTING_TABLE,Virtual Address,Common Name,Real Address,Last Ref,Last Ref (time_t)\n"
        "GLOBAL_STATS,Max bcast/mcast queue length,0\nEND\n"
    )


class Access(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.status = self.lab.write("status", version_2(["carol", "dave"]))

    def exporter(self, more="", **options):
        return Exporter(self.lab, f"ovpnudpstatus: {self.status}\n{more}", **options)


class Users(Access):
    @classmethod
    def setUpClass(cls):
        cls.hash = hashed(PASSWORD)

    def judge(self, exporter):
        for path in ("/", "/metrics", "/prom", "/sessions", "/static", "/nowhere"):
            status, headers, body = exporter.get(path)
            self.assertEqual(status, 401, path)
            self.assertTrue(headers["WWW-Authenticate"].startswith("Basic "), path)
            self.assertNotIn(b"carol", body)
        self.assertEqual(exporter.get("/metrics", basic("ann", "wrong"))[0], 401)
        self.assertEqual(exporter.get("/metrics", basic("bob", PASSWORD))[0], 401)
        self.assertEqual(exporter.get("/metrics", {"Authorization": "Bearer x"})[0], 401)
        self.assertEqual(exporter.get("/metrics", basic("ann", PASSWORD))[0], 200)
        self.assertEqual(exporter.get("/nowhere", basic("ann", PASSWORD))[0], 404)
        for path in ("/-/healthy", "/-/ready"):
            self.assertEqual(exporter.get(path)[0], 200, path)
        self.assertNotIn(PASSWORD, exporter.log())

    def test_a_user_in_the_configuration(self):
        self.judge(self.exporter(f"web:\n  basic_auth_users:\n    ann: {self.hash}\n"))

    def test_headers_and_a_rate_limit_of_the_web_file(self):
        web = self.lab.write(
            "web.yaml",
            "http_server_config:\n  headers: {X-Frame-Options: deny, X-Content-Type-Options: nosniff, "
            "Content-Security-Policy: \"default-src 'none'\"}\n"
            f"basic_auth_users:\n  ann: {self.hash}\nrate_limit: {{interval: 1h, burst: 6}}\n",
        )
        exporter = self.exporter(flags=[f"--web.config.file={web}"])
        known = basic("ann", PASSWORD)
        for path, headers, expected in (
            ("/", known, 200), ("/metrics", known, 200), ("/static", known, 200), ("/nowhere", known, 404), ("/", None, 401),
            ("/", known, 200), ("/", known, 429), ("/metrics", None, 429),
        ):
            status, headers, body = exporter.get(path, headers)
            self.assertEqual(status, expected, path)
            for name, value in (
                ("X-Frame-Options", "deny"), ("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'"),
            ):
                self.assertEqual(headers.get_all(name), [value], path)
        self.assertEqual((headers["Retry-After"], body), ("3600", b"more requests than rate_limit allows, try again\n"))
        self.assertEqual(exporter.get("/-/healthy")[0], 200)
        pathlib.Path(web).write_text(f"basic_auth_users:\n  ann: {self.hash}\n")
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("the limit to be gone", lambda: exporter.get("/", known)[0] == 200)
        self.assertIsNone(exporter.get("/", known)[1]["X-Frame-Options"])

    def test_a_user_in_prometheus_own_web_file(self):
        web = self.lab.write("web.yaml", f"basic_auth_users:\n  ann: {self.hash}\n")
        self.judge(self.exporter(flags=(f"--web.config.file={web}",)))

    def test_a_password_is_computed_once(self):
        # Cost 12 is four times what --hash-password makes: the difference is plain also in a busy machine.
        costly = "$2a$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q"
        exporter = self.exporter(f"web:\n  basic_auth_users:\n    ann: {costly}\n")
        password = "abc"

        def cpu(headers):
            fields = pathlib.Path(f"/proc/{exporter.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            before = int(fields[11]) + int(fields[12])
            status = exporter.get("/-/healthy" if headers is None else "/metrics", headers)[0]
            fields = pathlib.Path(f"/proc/{exporter.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            return status, int(fields[11]) + int(fields[12]) - before

        status, first = cpu(basic("ann", password))
        self.assertEqual(status, 200)
        self.assertGreater(first, 5, "the first one is computed")
        for _ in range(3):
            status, later = cpu(basic("ann", password))
            self.assertEqual(status, 200)
            self.assertLess(later, first / 4, "it was computed again")
        self.assertGreater(cpu(basic("nobody", password))[1], first / 4, "a stranger costs as much")

    def test_who_guesses_does_not_keep_the_scraper_out(self):
        exporter = self.exporter(f"web:\n  basic_auth_users:\n    ann: {self.hash}\n")
        self.assertEqual(exporter.get("/metrics", basic("ann", PASSWORD))[0], 200)
        wires = []
        for number in range(50):
            wire = connect(None, "127.0.0.1", exporter.port)
            self.addCleanup(wire.close)
            credentials = basic("ann", f"guess{number}")["Authorization"]
            wire.sendall(f"GET /metrics HTTP/1.1\r\nAuthorization: {credentials}\r\n\r\n".encode())
            wires.append(wire)
        started = time.monotonic()
        self.assertEqual(exporter.get("/metrics", basic("ann", PASSWORD))[0], 200)
        # It waits for no guess: what waits for a computation does so for up to five seconds.
        self.assertLess(time.monotonic() - started, 5)
        answers = {wire.recv(12) for wire in wires}
        self.assertLessEqual(answers, {b"HTTP/1.1 401", b"HTTP/1.1 503"})

    def test_who_mistypes_may_try_again_at_once(self):
        exporter = self.exporter(f"web:\n  basic_auth_users:\n    ann: {self.hash}\n")
        self.assertEqual([exporter.get("/metrics", basic("ann", word))[0] for word in ("wrong", "worse", PASSWORD)], [401, 401, 200])

    def test_a_nul_in_a_password_is_refused(self):
        exporter = self.exporter(f"web:\n  basic_auth_users:\n    ann: {self.hash}\n")
        for password in (f"{PASSWORD}\0", f"{PASSWORD}\0{PASSWORD}", f"\0{PASSWORD}"):
            self.assertEqual(exporter.get("/metrics", basic("ann", password))[0], 401)
        self.assertEqual(exporter.get("/metrics", basic("ann", PASSWORD))[0], 200)

    def test_a_mistake_is_named_and_does_not_show_the_password(self):
        config = self.lab.write("bad.yaml", "web:\n  basic_auth_users:\n    ann: topsecret\n")
        done = subprocess.run([binary(), "-n", "-c", config], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        self.assertIn("web.basic_auth_users.ann: ", done.stderr)
        self.assertNotIn("topsecret", done.stderr)
        web = self.lab.write("tls.yaml", "tls_server_config:\n  cert_file: a\n  key_file: b\n")
        done = subprocess.run([binary(), "-n", f"--web.config.file={web}"], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 2)
        self.assertIn("tls_server_config", done.stderr)


class Hashing(unittest.TestCase):
    def test_a_hash_is_another_each_time(self):
        one, other = hashed("secret"), hashed("secret")
        self.assertNotEqual(one, other)
        self.assertRegex(one, r"^\$2b\$10\$[./A-Za-z0-9]{53}$")

    def test_what_can_not_be_a_password_is_refused(self):
        for password in ("", "a" * 73, "a\0b"):
            done = subprocess.run([binary(), "--hash-password"], input=password + "\n", capture_output=True, text=True, timeout=20)
            self.assertEqual((done.returncode, done.stdout), (1, ""))

    def test_a_terminal_does_not_show_it(self):
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(binary(), [binary(), "--hash-password"])
        shown = b""
        for prompt in (b"Password: ", b"Again: "):
            while prompt not in shown:
                shown += os.read(terminal, 1024)
            os.write(terminal, b"unseen\n")
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 1024):
                shown += piece
        os.close(terminal)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertNotIn(b"unseen", shown)
        self.assertRegex(shown.decode(), r"\$2b\$10\$[./A-Za-z0-9]{53}\r\n")


class Hosts(Access):
    PAGES = ("/", "/sessions", "/sessions_local", "/static", "/nowhere")
    ALWAYS = ("/metrics", "/prom", "/-/healthy", "/-/ready")

    def test_pages_answer_only_under_the_names_that_are_given(self):
        exporter = self.exporter("web: {hosts: [gateway.example.com, router.lan]}\n")
        for path in self.PAGES:
            status, _, body = exporter.get(path, {"Host": f"evil.example.com:{exporter.port}"})
            self.assertEqual(status, 421, path)
            self.assertIn(b"web.hosts", body)
            self.assertNotIn(b"carol", body)
        for path in self.ALWAYS:
            self.assertEqual(exporter.get(path, {"Host": "evil.example.com"})[0], 200, path)
        for host in ("gateway.example.com", "Router.LAN.:9234", "localhost:9234", "192.0.2.1", "[2001:db8::1]:9234", f"127.0.0.1:{exporter.port}"):
            self.assertEqual(exporter.get("/sessions", {"Host": host})[0], 200, host)
        self.assertTrue(exporter.say(b"GET /sessions HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200 "))
        said = exporter.say(b"GET http://evil.example.com/sessions HTTP/1.1\r\nHost: router.lan\r\n\r\n")
        self.assertTrue(said.startswith(b"HTTP/1.1 421 Misdirected Request\r\n"), said)

    def test_without_names_nothing_is_refused(self):
        exporter = self.exporter()
        for path in (*self.PAGES[:-1], *self.ALWAYS):
            self.assertEqual(exporter.get(path, {"Host": "evil.example.com"})[0], 200, path)

    def test_names_are_taken_at_a_reload(self):
        exporter = self.exporter()
        pathlib.Path(exporter.config).write_text(f"ovpnudpstatus: {self.status}\nweb: {{hosts: [router.lan]}}\n")
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("the new names", lambda: exporter.get("/", {"Host": "evil.example.com"})[0] == 421)
        self.assertEqual(exporter.get("/", {"Host": "router.lan"})[0], 200)

    def test_a_mistake_is_named(self):
        for hosts, complaint in (
            ("['http://gateway']", 'web.hosts[0]: "http://gateway" is no host name; write it without scheme and port'),
            ("['gateway:9234']", 'web.hosts[0]: "gateway:9234" is no host name'),
            ("[]", "web.hosts: "),
            ("", "hosts"),
        ):
            config = self.lab.write("hosts.yaml", f"web:\n  hosts: {hosts}\n")
            done = subprocess.run([binary(), "-n", "-c", config], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 2, hosts)
            self.assertIn(complaint, done.stderr)


class Networks(Access):
    def two_hosts(self):
        gateway, client = self.lab.host("gw"), self.lab.host("cl")
        self.lab.wire(gateway, client, ("192.0.2.1/24", "2001:db8::1/64"), ("192.0.2.2/24", "2001:db8::2/64"))
        return gateway, client

    def start(self, gateway, web, name="exporter"):
        config = self.lab.write(f"{name}/config.yaml", f"ovpnudpstatus: {self.status}\nweb:\n{web}")
        process = gateway.start(binary(), "-c", config, log=f"{name}/log")
        wait_for("the exporter to listen", lambda: "listening on" in self.lab.log(f"{name}/log"))
        return config, process

    def test_only_the_allowed_networks_may_ask(self):
        gateway, client = self.two_hosts()
        config, process = self.start(gateway, "  allow: [127.0.0.0/8, '2001:db8::/64']\n")
        self.assertEqual(fetch(gateway, "127.0.0.1", 9234, "/metrics")[0], 200)
        self.assertEqual(fetch(client, "2001:db8::1", 9234, "/metrics")[0], 200)
        with connect(client, "192.0.2.1", 9234) as wire:
            wire.settimeout(2)
            self.assertTrue(wire.recv(1024).startswith(b"HTTP/1.1 403 "), "at once, before anything is sent")
        for path in ("/-/healthy", "/-/ready"):
            self.assertEqual(fetch(client, "192.0.2.1", 9234, path)[0], 403, path)
        pathlib.Path(config).write_text(f"ovpnudpstatus: {self.status}\nweb: {{allow: [192.0.2.2]}}\n")
        process.send_signal(signal.SIGHUP)
        wait_for("the new list", lambda: fetch(client, "192.0.2.1", 9234, "/metrics")[0] == 200)
        self.assertEqual(fetch(gateway, "127.0.0.1", 9234, "/metrics")[0], 403)

    def test_a_tightened_list_is_in_force_also_where_an_address_is_wrong(self):
        gateway, client = self.two_hosts()
        config, process = self.start(gateway, "  listen: [':9234']\n")
        self.assertEqual(fetch(client, "192.0.2.1", 9234, "/metrics")[0], 200)
        pathlib.Path(config).write_text(
            f"ovpnudpstatus: {self.status}\nweb: {{listen: ['absent0:9234', ':9234'], allow: [127.0.0.0/8]}}\n"
        )
        process.send_signal(signal.SIGHUP)
        wait_for("the new list", lambda: fetch(client, "192.0.2.1", 9234, "/metrics")[0] == 403)
        self.assertEqual(fetch(gateway, "127.0.0.1", 9234, "/metrics")[0], 200)
        self.assertIn("absent0:9234: neither an interface of this machine nor a known host name", self.lab.log("exporter/log"))

    def test_a_reload_is_asked_for_on_the_gateway_itself_or_with_a_password(self):
        gateway, client = self.two_hosts()
        config, _ = self.start(gateway, "  open: true\n")

        def ask(host, headers=None, address="192.0.2.1", method="POST"):
            return fetch(host, address, 9234, "/-/reload", headers, method)

        status, headers, _ = ask(gateway, method="GET")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))
        for address in ("127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"):
            self.assertEqual(ask(gateway, address=address)[0], 200, address)
            self.assertEqual(ask(gateway, {"Origin": "http://evil.example.com"}, address)[0], 403, address)
        self.assertEqual(ask(gateway, {"Sec-Fetch-Site": "cross-site"})[0], 403)
        self.assertEqual(ask(gateway, {"Host": "evil.example.com:9234"})[0], 403)
        status, _, body = ask(client)
        self.assertEqual((status, b"web.basic_auth_users" in body), (403, True), body)

        pathlib.Path(config).write_text("vici_sockt: /x\n")
        status, headers, body = ask(gateway)
        expected = f"{config}: unknown field `vici_sockt`"
        self.assertEqual((status, headers["Content-Type"]), (500, "text/plain; charset=utf-8"))
        self.assertTrue(body.decode().startswith(expected), body)
        self.assertTrue(body.decode().endswith(" at line 1; what was watched before is still watched\n"), body)
        self.assertIn(f"[ERROR] {body.decode()}", self.lab.log("exporter/log"), "as SIGHUP says it")
        self.assertEqual(fetch(client, "192.0.2.1", 9234, "/metrics")[0], 200, "the old one is in force")

        pathlib.Path(config).write_text(
            f"ovpnudpstatus: {self.status}\nweb:\n  basic_auth_users: {{ann: {hashed(PASSWORD)}}}\n"
        )
        self.assertEqual(ask(gateway)[0], 200)
        self.assertEqual(ask(gateway)[0], 401, "once the answer is there, the new one is in force")
        known = basic("ann", PASSWORD)
        self.assertEqual(ask(client, known)[0], 200)
        self.assertEqual(ask(client, basic("ann", "wrong"))[0], 401)
        self.assertEqual(ask(client, {**known, "Origin": "http://192.0.2.1:9234"})[0], 200)
        self.assertEqual(ask(client, {**known, "Origin": "http://192.0.2.1"})[0], 403)

    def refuses(self, host, address):
        try:
            connect(host, address, 9234, 3).close()
        except OSError:
            return True
        return False

    def test_an_interface_by_name(self):
        gateway, client = self.two_hosts()
        interface = json.loads(gateway.run("ip", "-j", "address", "show", "to", "192.0.2.1"))
        name = next(link["ifname"] for link in interface if link.get("ifname"))
        _, process = self.start(gateway, f"  listen: ['{name}:9234']\n")
        self.assertEqual(fetch(client, "192.0.2.1", 9234, "/metrics")[0], 200)
        self.assertEqual(fetch(client, "2001:db8::1", 9234, "/metrics")[0], 200)
        self.assertTrue(self.refuses(gateway, "127.0.0.1"), "no other interface is listened on")
        gateway.run("ip", "address", "add", "192.0.2.9/24", "dev", name)
        self.assertTrue(self.refuses(client, "192.0.2.9"))
        process.send_signal(signal.SIGHUP)
        wait_for("the new address", lambda: not self.refuses(client, "192.0.2.9"))
        self.assertEqual(fetch(client, "192.0.2.1", 9234, "/metrics")[0], 200)

    def test_an_interface_without_an_address_is_said(self):
        gateway = self.lab.host("gw")
        gateway.run("ip", "link", "add", "empty0", "type", "veth", "peer", "name", "empty1")
        for place, complaint in (
            ("empty0:9234", "empty0:9234: the interface has no address"),
            ("absent0:9234", "absent0:9234: neither an interface of this machine nor a known host name"),
        ):
            command = gateway.command(binary(), "-c", self.lab.write("c.yaml", f"ovpnudpstatus: {self.status}\n"), "--web.listen-address", place)
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn(complaint, done.stderr)

    def test_several_addresses_by_flag(self):
        ports = free_port(), free_port()
        flags = [f"--web.listen-address=127.0.0.1:{port}" for port in ports]
        self.lab.start([binary(), "-c", self.lab.write("c.yaml", f"ovpnudpstatus: {self.status}\n"), *flags], log="several")
        wait_for("the exporter to listen", lambda: "listening on" in self.lab.log("several"))
        for port in ports:
            self.assertEqual(fetch(None, "127.0.0.1", port, "/metrics")[0], 200)

    def test_another_address_after_a_hangup(self):
        first, second = free_port(), free_port()
        config = self.lab.write("c.yaml", f"ovpnudpstatus: {self.status}\nweb: {{listen: ['127.0.0.1:{first}']}}\n")
        process = self.lab.start([binary(), "-c", config], log="moved")
        wait_for("the exporter to listen", lambda: "listening on" in self.lab.log("moved"))
        pathlib.Path(config).write_text(f"ovpnudpstatus: {self.status}\nweb: {{listen: [':{first}', '127.0.0.1:{second}']}}\n")
        process.send_signal(signal.SIGHUP)

        def answers(address, port):
            with contextlib.suppress(OSError):
                return fetch(None, address, port, "/metrics")[0] == 200
            return False

        for address, port in (("127.0.0.1", second), ("127.0.0.1", first), ("::1", first)):
            wait_for(f"an answer on {address} {port}", lambda a=address, p=port: answers(a, p))


class Privacy(Access):
    def said(self, exporter):
        return b"".join(exporter.get(path)[2] for path in ("/", "/metrics", "/prom", "/sessions", "/static")).decode()

    def test_hashed_names_are_stable_and_tell_nothing(self):
        key = self.lab.path("key")
        settings = f"identities: hashed\nidentities_key_file: {key}\n"
        first = self.exporter(settings, name="first")
        before = self.said(first)
        self.assertNotIn("carol", before)
        self.assertEqual(os.stat(key).st_mode & 0o777, 0o600)
        names = {session["remoteid"] for session in json.loads(first.get("/sessions")[2])}
        self.assertEqual(len(names), 2)
        for name in names:
            self.assertRegex(name, r"^[0-9a-f]{16}$")
            self.assertEqual(first.value("ovpn_bytes_in_total", client=f"{name}_udp"), 10)
        first.stop()
        second = self.exporter(settings, name="second")
        self.assertEqual({session["remoteid"] for session in json.loads(second.get("/sessions")[2])}, names)

    def test_off_leaves_only_counts(self):
        exporter = self.exporter("identities: off\n")
        said = self.said(exporter)
        for word in ("carol", "dave", "192.0.2.1", "10.8.0.1"):
            self.assertNotIn(word, said)
        self.assertEqual(exporter.value("ovpn_sessions_total"), 2)
        self.assertNotIn("ovpn_bytes_in_total", exporter.metrics())
        self.assertEqual(len(json.loads(exporter.get("/sessions")[2])), 2)

    def test_sessions_can_be_switched_off(self):
        exporter = self.exporter("web: {sessions: false}\n")
        for path in ("/sessions", "/sessions_local", "/static"):
            self.assertEqual(exporter.get(path)[0], 404, path)
        page = exporter.get("/")[2].decode()
        self.assertNotIn("/sessions", page)
        self.assertNotIn("/static", page)

    def test_more_clients_than_may_be_are_counted(self):
        pathlib.Path(self.status).write_text(version_2([f"client{number}" for number in range(250)]))
        exporter = self.exporter("max_series: 100\n")
        families = exporter.metrics()
        count = sum(len(family.samples) for family in families.values())
        self.assertLessEqual(count, 110)
        self.assertGreater(exporter.value("gateway_exporter_series_dropped", collector="openvpn"), 300)
        self.assertEqual(families["ovpn_sessions_total"].samples, {(): 250})
        self.assertEqual(list(families["probe_success"].samples.values()), [1])

    def test_evil_names_break_nothing(self):
        evil = ['"', "\\", "<b>x</b>", "\u202eabc", "\x1b[2J", "\x9b31m", "a" * 60000 + "1", "a" * 60000 + "2"]
        pathlib.Path(self.status).write_text(version_2(evil))
        exporter = self.exporter()
        samples = exporter.metrics()["ovpn_bytes_in_total"].samples
        self.assertEqual(sum(samples.values()), 10 * len(evil))
        self.assertEqual(len(samples), len(evil))
        said = self.said(exporter)
        for character in "\x1b\x9b\u202e":
            self.assertNotIn(character, said)
        self.assertNotIn("<b>x", exporter.get("/static")[2].decode())
        self.assertLess(max(map(len, exporter.get("/metrics")[2].decode().splitlines())), 1200)
        log = exporter.log()
        self.assertFalse(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", log), log)


class Pages(Access):
    def test_the_policy_lets_the_pages_own_script_run_and_no_other(self):
        exporter = self.exporter()
        for path in ("/", "/static"):
            _, headers, body = exporter.get(path)
            policy = headers["Content-Security-Policy"]
            self.assertEqual(headers["Cache-Control"], "no-store", path)
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff", path)
            for rule in ("default-src 'none'", "script-src 'self'", "connect-src 'self'"):
                self.assertIn(rule, policy)
            self.assertNotIn(b"<script>", body)
            self.assertIn(b'<script src="/app.js">', body)
        self.assertEqual(exporter.get("/sessions")[1]["Cache-Control"], "no-store")


if __name__ == "__main__":
    unittest.main()
