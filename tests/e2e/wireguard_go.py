"""WireGuard in user space: a tunnel between two real wireguard-go in namespaces of their own."""

import contextlib
import hashlib
import os
import pathlib

import wireguard
from host import run, wait_for

# One folder for all namespaces, where wireguard-go puts its sockets and wg looks for them.
SOCKETS = pathlib.Path("/var/run/wireguard")


def key(name):
    return wireguard.private_key(hashlib.sha256(f"gateway-exporter {name}".encode()).digest())


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
