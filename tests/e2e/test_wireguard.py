"""WireGuard in user space: two real wireguard-go in namespaces of their own, and what `wg show all dump` says of them."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import wireguard
from exporter import Exporter, read_exposition
from host import Lab, run, wait_for

# One folder for all namespaces, where wireguard-go puts its sockets and wg looks for them.
SOCKETS = pathlib.Path("/var/run/wireguard")


def key(name):
    return wireguard.private_key(hashlib.sha256(f"gateway-exporter {name}".encode()).digest())


def skip_unless_there(test):
    missing = [tool for tool in ("wg", "wireguard-go", "busybox") if not shutil.which(tool)]
    if missing:
        test.skipTest(f"{', '.join(missing)} is not installed")
    if not os.path.exists("/dev/net/tun"):
        test.skipTest("there is no /dev/net/tun")


class Tunnel:
    """Two hosts with an interface each; the names are this process's, for their sockets lie in one folder."""

    def __init__(self, lab):
        self.lab = lab
        self.left, self.right = lab.host("left"), lab.host("right")
        lab.wire(self.left, self.right, ["192.0.2.1/24"], ["192.0.2.2/24"])
        self.names = [f"gwx{os.getpid() % 100000}{side}" for side in "lr"]
        self.keys = [key("left"), key("right")]
        self.shared = lab.write("psk", key("shared"))
        self.processes = {}
        self.make(0)
        self.make(1)

    def make(self, side):
        """Starts one end anew, with the other as its peer and one that never comes."""
        host, name = (self.left, self.right)[side], self.names[side]
        other = self.lab.write(f"private{side}", self.keys[side])
        self.processes[side] = host.start("wireguard-go", "-f", name, log=f"{name}.log")
        wait_for("its socket", (SOCKETS / f"{name}.sock").is_socket)
        peer = wireguard.public_key(self.keys[1 - side])
        host.run("wg", "set", name, "private-key", other, "listen-port", "51820", "peer", peer, "preshared-key", self.shared,
                 "endpoint", f"192.0.2.{2 - side}:51820", "allowed-ips", f"10.0.{1 - side}.0/24,2001:db8:{1 - side}::/64",
                 "persistent-keepalive", "25" if side == 0 else "0")
        host.run("wg", "set", name, "fwmark", "0x42", "peer", wireguard.public_key(key("absent")), "allowed-ips", "10.9.0.0/24")
        host.run("ip", "address", "add", f"10.0.{side}.1/24", "dev", name)
        host.run("ip", "link", "set", name, "up")
        host.run("ip", "route", "add", f"10.0.{1 - side}.0/24", "dev", name)

    def end(self, side):
        """Ends one end as an operator does: its socket goes with it."""
        self.processes[side].terminate()
        self.processes[side].wait(10)
        wait_for("its socket to go", lambda: not (SOCKETS / f"{self.names[side]}.sock").exists())

    def send(self):
        """A handshake, and some traffic."""
        def answered():
            with contextlib.suppress(RuntimeError):
                return self.left.run("busybox", "ping", "-q", "-c", "2", "-W", "2", "10.0.1.1")
        wait_for("an answer through the tunnel", answered, 60)

    def dump(self):
        lines = run("wg", "show", "all", "dump").splitlines(keepends=True)
        return "".join(line for line in lines if line.split("\t")[0] in self.names)

    def config(self, more=""):
        return (f"wireguard:\n  interfaces: [{', '.join(self.names)}]\n"
                f"  name_files: [{self.lab.path('names', 'wg.conf')}, {self.lab.path('names', 'network')}]\n{more}")

    def compare(self, exporter, **options):
        """Until wg says the same before and after a scrape: keepalives come when they like."""
        def steady():
            before = self.dump()
            metrics = exporter.metrics()
            return (before, metrics) if self.dump() == before else None
        dump, metrics = wait_for("a scrape between two keepalives", steady)
        wireguard.compare(dump, metrics, in_user_space=True, **options)
        return dump


class WireguardTest(unittest.TestCase):
    def setUp(self):
        skip_unless_there(self)
        self.lab = self.enterContext(Lab()) if hasattr(self, "enterContext") else Lab()
        if not hasattr(self, "enterContext"):
            self.addCleanup(self.lab.close)

    def test_every_figure_is_that_of_wg(self):
        tunnel = Tunnel(self.lab)
        tunnel.send()
        public = [wireguard.public_key(one) for one in tunnel.keys]
        absent = wireguard.public_key(key("absent"))
        self.lab.write("names/wg.conf", f"[Interface]\nPrivateKey = {tunnel.keys[0]}\n\n[Peer]\n# friendly_name = right side\n"
                                        f"PublicKey = {public[1]}\n")
        self.lab.write("names/network", f"config interface 'wg0'\n\toption private_key '{tunnel.keys[1]}'\n"
                                        f"config wireguard_wg0\n\toption description 'left \"side\"'\n"
                                        f"\toption preshared_key '{key('shared')}'\n\toption private_key '{tunnel.keys[0]}'\n"
                                        f"\toption public_key '{public[0]}'\n")
        exporter = Exporter(self.lab, tunnel.config(
            f"  peers:\n    - public_key: {absent}\n      name: absent\n      expected: true\n"))
        names = {public[0]: 'left "side"', public[1]: "right side", absent: "absent"}
        dump = tunnel.compare(exporter, names=names, expected={absent})
        # Made anew: its counters begin at 0 in the dump, and go on here.
        before = wireguard.totals(dump, tunnel.names[0])
        tunnel.end(0)
        gone = exporter.metrics()
        self.assertNotIn((("interface", tunnel.names[0]),), gone["wireguard_peers"].samples)
        self.assertEqual(exporter.value("gateway_exporter_target_up", collector="wireguard", target=tunnel.names[0]), 0)
        tunnel.make(0)
        tunnel.send()
        dump = tunnel.compare(exporter, names=names, expected={absent}, totals=before)
        self.assertLess(wireguard.totals(dump, tunnel.names[0])[tunnel.names[0], public[1]][0],
                        before[tunnel.names[0], public[1]][0] + 10_000, "it did begin anew")

        sessions = [row for row in json.loads(exporter.get("/sessions")[2]) if row["protocol"] == "wireguard"]
        self.assertEqual({(row["uniqueid"], row["remoteid"], row["remotehost"], row["state"]) for row in sessions},
                         {(tunnel.names[0], "right side", "192.0.2.2", "ESTABLISHED"),
                          (tunnel.names[1], 'left "side"', "192.0.2.1", "ESTABLISHED")})
        self.no_key_anywhere(exporter, [*tunnel.keys, key("shared")], public)

    def no_key_anywhere(self, exporter, secrets, public):
        """No answer, no log line and no byte of the process's memory has a private or preshared key."""
        answers = {path: exporter.get(path)[2] for path in ("/", "/metrics", "/prom", "/sessions", "/static")}
        self.assertIn(public[1].encode(), answers["/metrics"])
        memory = memory_of(exporter.process.pid)
        self.assertIn(wireguard.raw(public[1]), memory, "public keys are in it: the memory was read")
        for where, content in {**answers, "the log": exporter.log().encode(), "memory": memory}.items():
            for secret in secrets:
                wireguard.assert_absent(secret, content, where)

    def test_identities_are_hashed_or_off(self):
        tunnel = Tunnel(self.lab)
        tunnel.send()
        public = wireguard.public_key(tunnel.keys[1])
        for more, peers in ((f"identities: hashed\nidentities_key_file: {self.lab.path('key')}\n", True), ("identities: off\n", False)):
            exporter = Exporter(self.lab, tunnel.config() + more, name=f"exporter-{peers}")
            text = exporter.get("/prom")[2].decode() + exporter.get("/sessions")[2].decode()
            for telling in (public, "192.0.2.", "10.0.1.0", "2001:db8"):
                self.assertNotIn(telling, text)
            samples = read_exposition(exporter.get("/metrics")[2])
            self.assertEqual("wireguard_sent_bytes_total" in samples, peers)
            self.assertEqual(samples["wireguard_peers"].samples[(("interface", tunnel.names[0]),)], 2)

    def test_the_doctor_says_what_is_wrong(self):
        tunnel = Tunnel(self.lab)
        config = self.lab.write("doctor.yaml", tunnel.config().replace("]", ", gwx-none]", 1))
        binary = os.environ.get("GATEWAY_EXPORTER") or str(pathlib.Path(__file__).parents[2] / "target/debug/gateway-exporter")
        tunnel.processes[1].kill()
        tunnel.processes[1].wait(10)
        done = subprocess.run((binary, f"--config.file={config}", "--web.listen-address=127.0.0.1:0", "--doctor"),
                              capture_output=True, text=True, check=False)
        self.assertRegex(done.stdout, rf"(?m)^ok +wireguard +{SOCKETS}/{tunnel.names[0]}.sock: answers$")
        self.assertRegex(done.stdout, rf"(?m)^down +wireguard +{SOCKETS}/{tunnel.names[1]}.sock: .*left its socket behind$")
        self.assertRegex(done.stdout, r"(?m)^down +wireguard +gwx-none: (not found, and the kernel has no WireGuard"
                                      r"|there is no such WireGuard interface)$")
        (SOCKETS / f"{tunnel.names[1]}.sock").unlink()


def memory_of(pid):
    """All that a process may have written."""
    content = []
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match and "[v" not in line:
                start, end = (int(edge, 16) for edge in match.groups())
                memory.seek(start)
                with contextlib.suppress(OSError):
                    content.append(memory.read(end - start))
    return b"".join(content)


if __name__ == "__main__":
    unittest.main()
