"""Real OpenVPN servers and clients on the hosts of a Lab.

A test needs an authority (`Pki`), a `Server` on one host and a `Client` for each session on another; a `Site` has them
all. Everything is given on the command line, so what a test does not say is OpenVPN's own default.
"""

import os
import re
import sys
import time

from host import run, wait_for

GATEWAY, GATEWAY_V6 = "192.0.2.1", "2001:db8::1"
OFFICE, HOME, TRAIN = "192.0.2.2", "198.51.100.7", "203.0.113.19"
OFFICE_V6 = "2001:db8::2"
TUNNEL = "10.8.0.0"
TUNNEL_GATEWAY = "10.8.0.1"
TUNNEL_V6 = "fd00:8::/64"

CONTROL_HARD_RESET_CLIENT_V2 = 7 << 3
ACK_V1 = 5 << 3

# Runs inside a host's namespace: datagrams that leave through one tunnel device, whatever the routes say.
SEND_DATAGRAMS = """
import socket, sys, time
device, address, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
for _ in range(count):
    try:
        out.sendto(bytes(size), (address, 9))
    except ConnectionRefusedError:
        pass
    time.sleep(0.002)
"""

# Runs inside a host's namespace: opens a session, proves its address and then says no more, so that the server
# keeps a client it knows nothing about. (Since 2.6 a UDP server keeps no state before the second packet.)
HALF_HANDSHAKE = """
import os, socket, sys
local, local_port, remote, port, reset, acknowledge = sys.argv[1:]
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.bind((local, int(local_port)))
wire.connect((remote, int(port)))
wire.settimeout(5)
session = os.urandom(8)
wire.send(bytes([int(reset)]) + session + b"\\0" + bytes(4))
answer = wire.recv(2048)
wire.send(bytes([int(acknowledge)]) + session + b"\\1" + answer[-4:] + answer[1:9])
"""


class Pki:
    """A certificate authority of the test's own, with keys small enough to be made in a moment."""

    def __init__(self, lab, name="pki"):
        self.lab, self.name = lab, name
        self._issued = 0
        self.authority = lab.path(name, "ca.crt")
        self._authority_key = lab.path(name, "ca.key")
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=authority", "-days", "3650", "-keyout", self._authority_key, "-out", self.authority,
        )

    def issue(self, common_name):
        """Returns the paths of a certificate for `common_name`, whatever characters it has, and of its key."""
        self._issued += 1
        certificate, key, request = (
            self.lab.path(self.name, f"{self._issued}.{ending}") for ending in ("crt", "key", "csr")
        )
        run(
            "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-utf8", "-subj", "/CN=" + escaped_for_subject(common_name), "-keyout", key, "-out", request,
        )
        run(
            "openssl", "x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self._authority_key,
            "-set_serial", str(self._issued), "-days", "3650", "-out", certificate,
        )
        return certificate, key


def escaped_for_subject(name):
    """`openssl req -subj` reads `/` and `+` as separators and `\\` as its own escape."""
    return "".join("\\" + letter if letter in "\\/+" else letter for letter in name)


def written_now(text, age=0):
    """A status of version 2 or 3 as it would be had it been written `age` seconds ago: a server whose file is old has ended."""
    return re.sub(r"^TIME([\t,]).*", lambda row: f"TIME{row[1]}then{row[1]}{int(time.time()) - age}", text, count=1, flags=re.M)


def await_rewrite(path, times=1):
    """Waits until a status file was rewritten `times` times; servers and clients both do it each second."""
    for _ in range(times):
        seen = os.stat(path).st_mtime_ns
        wait_for("a new status file", lambda: os.stat(path).st_mtime_ns != seen)


class Server:
    """One OpenVPN server that rewrites its status file every second."""

    def __init__(
        self, host, pki, name="server", proto="udp", port=1194, status_version=3, duplicate_cn=False, device="tun0", extra=(),
        zone=None,
    ):
        self.host, self.name, self.proto, self.port = host, name, proto, port
        self.status = host.lab.path(name, "status")
        self.log = f"{name}/log"
        certificate, key = pki.issue("gateway.example.org")
        environment = {**os.environ, **({"TZ": zone} if zone else {})}
        self._process = host.start(
            "openvpn", "--mode", "server", "--tls-server", "--proto", proto, "--port", str(port),
            "--dev", device, "--dev-type", "tun", "--topology", "subnet", "--disable-dco",
            "--server", TUNNEL, "255.255.255.0", "--server-ipv6", TUNNEL_V6, "--keepalive", "10", "60",
            "--ca", pki.authority, "--cert", certificate, "--key", key, "--dh", "none",
            "--status", self.status, "1", "--status-version", str(status_version),
            *(("--duplicate-cn",) if duplicate_cn else ()), *extra,
            log=self.log, env=environment,
        )
        wait_for("the OpenVPN server", lambda: "Initialization Sequence Completed" in host.lab.log(self.log))
        wait_for("the first status file", lambda: self.is_whole(self.read()))

    def read(self):
        """The status file as it stands now, b"" where there is none yet."""
        try:
            with open(self.status, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    @staticmethod
    def is_whole(text):
        return text.endswith(b"\nEND\n")

    def whole(self):
        """A status file that is not caught in the middle of a rewrite: read twice with the same words."""

        def settled():
            first = self.read()
            return first if self.is_whole(first) and first == self.read() else None

        return wait_for("a whole status file", settled)

    def await_words(self, *words):
        """Waits until the status file names all of `words` (common names, addresses)."""
        wanted = [word.encode() for word in words]
        wait_for(f"{words} in {self.name}'s status", lambda: all(word in self.read() for word in wanted))

    def await_rewrite(self, times=1):
        """Waits until the file was rewritten, so that it shows what has happened until now."""
        await_rewrite(self.status, times)

    def rotate(self):
        """Renames the status file as logrotate does; the daemon goes on writing to it under its new name."""
        os.rename(self.status, self.status + ".1")

    def stop(self):
        self._process.terminate()
        self._process.wait(10)

    def kill(self):
        """Ends the daemon as a crash does: the status file stays behind as it was."""
        self._process.kill()
        self._process.wait(10)


class Client:
    """One OpenVPN client with a tunnel device of its own."""

    def __init__(
        self, host, pki, common_name, remote, name, device, proto="udp", port=1194, local=None, local_port=None, extra=()
    ):
        self.host, self.device, self.common_name = host, device, common_name
        self.status = host.lab.path(name, "status")
        self.log = f"{name}/log"
        identity = ()
        if common_name is not None:
            certificate, key = pki.issue(common_name)
            identity = ("--cert", certificate, "--key", key)
        binding = ("--local", local, "--lport", str(local_port)) if local else ("--nobind",)
        self._process = host.start(
            "openvpn", "--client", "--proto", proto, "--remote", remote, str(port), *binding,
            "--dev", device, "--dev-type", "tun", "--route-nopull", "--disable-dco",
            "--ca", pki.authority, *identity, "--status", self.status, "1", *extra,
            log=self.log,
        )

    def await_connected(self):
        wait_for(
            f"client {self.common_name}",
            lambda: "Initialization Sequence Completed" in self.host.lab.log(self.log),
        )
        return self

    def send(self, count, size=1000):
        """Sends datagrams through the tunnel; the gateway answers some with an ICMP error, so bytes flow both ways."""
        self.host.run(sys.executable, "-c", SEND_DATAGRAMS, self.device, TUNNEL_GATEWAY, str(count), str(size))

    def stop(self):
        self._process.terminate()
        self._process.wait(10)


class Site:
    """A gateway, and one far host that has the addresses of all clients."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.gateway, self.far = lab.host(f"{name}g"), lab.host(f"{name}c")
        lab.wire(self.gateway, self.far, ("192.0.2.1/24", "2001:db8::1/64"), ("192.0.2.2/24", "2001:db8::2/64"))
        for address in (HOME, TRAIN):
            self.far.address(f"{address}/32")
            self.gateway.run("ip", "route", "add", f"{address}/32", "via", OFFICE)
        self.pki = Pki(lab, f"{name}/pki")
        self._clients = 0

    def move(self, address):
        """From now on clients that are bound to no address come from this one of the far host."""
        device = self.far.run("ip", "-o", "route", "get", GATEWAY).split(" dev ")[1].split()[0]
        self.far.run("ip", "route", "replace", f"{GATEWAY}/32", "dev", device, "src", address)

    def server(self, **options):
        return Server(self.gateway, self.pki, f"{self.name}/server", **options)

    def client(self, common_name, **options):
        return self.begin(common_name, **options).await_connected()

    def begin(self, common_name, remote=GATEWAY, **options):
        """A client that is still connecting, so that several do it side by side."""
        self._clients += 1
        name = f"{self.name}/client{self._clients}"
        return Client(self.far, self.pki, common_name, remote, name, f"tun{self._clients}", **options)


def half_handshake(host, local, local_port, remote, port=1194):
    """Leaves a client on a UDP server that has neither a name nor a user: `UNDEF`, for up to a minute."""
    host.run(
        sys.executable, "-c", HALF_HANDSHAKE, local, str(local_port), remote, str(port),
        str(CONTROL_HARD_RESET_CLIENT_V2), str(ACK_V1),
    )
