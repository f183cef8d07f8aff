"""WireGuard in user space: two real wireguard-go, and what `wg show all dump` says of them."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import wireguard
from exporter import Exporter, read_exposition
from host import Lab
from wireguard_go import SOCKETS, Tunnel, key

def skip_unless_there(test):
    missing = [tool for tool in ("wg", "wireguard-go", "busybox") if not shutil.which(tool)]
    if missing:
        test.skipTest(f"{', '.join(missing)} is not installed")
    if not os.path.exists("/dev/net/tun"):
        test.skipTest("there is no /dev/net/tun")


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
        self.assertRegex(done.stdout, rf"(?m)^down +wireguard +{SOCKETS}/{tunnel.names[1]}.sock: .*left the socket behind$")
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
