"""What the bench feeds the exporter: made, not captured, and as large as asked for."""

import base64
import socket
import struct
import threading
import time

# Shapes as the captures under fixtures/ have them; a tenth of an SA's bytes are its own.
IKE = (("version", "2"), ("state", "ESTABLISHED"), ("local-host", "192.0.2.1"), ("local-port", "4500"),
       ("local-id", "gw.example.org"))
CHILD = (("state", "INSTALLED"), ("mode", "TUNNEL"), ("protocol", "ESP"), ("encap", "yes"))
PROPOSAL = (("encr-alg", "AES_CBC"), ("encr-keysize", "128"), ("integ-alg", "HMAC_SHA2_256_128"))
VERSION = (("daemon", "charon"), ("version", "5.9.8"), ("sysname", "Linux"))
HEADER = """\
TITLE\tOpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)] [LZO] [LZ4] [EPOLL] [PKCS11] [MH/PKTINFO] [AEAD] [DCO]
TIME\tnow\t{now}
HEADER\tCLIENT_LIST\tCommon Name\tReal Address\tVirtual Address\tVirtual IPv6 Address\tBytes Received\tBytes Sent\t\
Connected Since\tConnected Since (time_t)\tUsername\tClient ID\tPeer ID\tData Channel Cipher
"""
ROUTES = "HEADER\tROUTING_TABLE\tVirtual Address\tCommon Name\tReal Address\tLast Ref\tLast Ref (time_t)\n"
END = "GLOBAL_STATS\tMax bcast/mcast queue length\t3\nGLOBAL_STATS\tdco_enabled\t0\nEND\n"


def name(text):
    return bytes([len(text)]) + text.encode()


def value(text):
    return struct.pack(">H", len(text)) + text.encode()


def pairs(items):
    return b"".join(b"\x03" + name(key) + value(text) for key, text in items)


def section(title, body):
    return b"\x01" + name(title) + body + b"\x02"


def items(title, texts):
    return b"\x04" + name(title) + b"".join(b"\x05" + value(text) for text in texts) + b"\x06"


def packet(kind, body):
    return struct.pack(">IB", len(body) + 1, kind) + body


def event(title, body):
    return packet(7, name(title) + body)


def ike(number, connection="roadwarrior", children=("net",)):
    """One IKE_SA with its CHILD_SAs, with one some 0.9 KB, as charon's list-sa event."""
    host = f"198.51.{number >> 8 & 255}.{number & 255}"
    child = pairs((("uniqueid", str(number)), ("reqid", str(number)), *CHILD,
                   ("spi-in", f"{number:08x}"), ("spi-out", f"{number ^ 0x5a5a5a5a:08x}"), *PROPOSAL,
                   ("bytes-in", str(number * 1021)), ("packets-in", str(number * 7)), ("use-in", str(number % 60)),
                   ("bytes-out", str(number * 4099)), ("packets-out", str(number * 9)),
                   ("use-out", str(number % 50)), ("rekey-time", "3397"), ("life-time", "3957"),
                   ("install-time", "3")))
    child += items("local-ts", ["10.1.0.0/16"]) + items("remote-ts", [f"10.{2 + (number >> 16)}.{number >> 8 & 255}."
                                                                      f"{number & 255}/32"])
    body = pairs((("uniqueid", str(number)), *IKE, ("remote-host", host), ("remote-port", "4500"),
                  ("remote-id", f"user{number}@example.org"), ("initiator-spi", f"{number:016x}"),
                  ("responder-spi", f"{number * 7919:016x}"), ("nat-remote", "yes"), ("nat-any", "yes"), *PROPOSAL,
                  ("prf-alg", "PRF_HMAC_SHA2_256"), ("dh-group", "CURVE_25519"), ("established", "3"),
                  ("rekey-time", "13773")))
    inner = b"".join(section(f"{each}-{number}", pairs((("name", each),)) + child) for each in children)
    return event("list-sa", section(connection, body + section("child-sas", inner)))


def capture(count, folder):
    """A capture of a charon with `count` IKE_SAs, for the replay; gives the bytes of its list."""
    folder.mkdir(exist_ok=True)
    connection = items("remote_addrs", ["%any"]) + section("children", section("net", pairs((("mode", "TUNNEL"),))))
    sas = b"".join(map(ike, range(1, count + 1))) + packet(1, b"")
    (folder / "version.vici").write_bytes(packet(1, pairs(VERSION)))
    (folder / "list-sas.vici").write_bytes(sas)
    (folder / "list-conns.vici").write_bytes(event("list-conn", section("roadwarrior", connection)) + packet(1, b""))
    return len(sas)


def statistics(count, folder):
    """What that charon answers to `stats`. Without it the exporter takes a list of more than 16 MiB for no charon's."""
    ikes = section("ikesas", pairs((("total", str(count)), ("half-open", "0"))))
    (folder / "stats.vici").write_bytes(packet(1, ikes))


def client(number):
    host = f"198.51.{number >> 8 & 255}.{number & 255}:{1024 + number % 60000}"
    four, six = f"10.{8 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", f"fd00:8::{number:x}"
    return f"client{number}@example.org", host, four, six


def status(count, path):
    """A status file in version 3 with `count` clients, one route each; gives its bytes."""
    with path.open("w") as out:
        # A file that was written minutes ago is one of a dead server.
        out.write(HEADER.format(now=int(time.time())))
        for number in range(count):
            who, host, four, six = client(number)
            out.write(f"CLIENT_LIST\t{who}\t{host}\t{four}\t{six}\t{number * 1021}\t{number * 4099}\t"
                      f"2026-11-20 15:43:07\t1795189387\tUNDEF\t{number}\t{number}\tAES-256-GCM\n")
        out.write(ROUTES)
        for number in range(count):
            who, host, address, _ = client(number)
            out.write(f"ROUTING_TABLE\t{address}\t{who}\t{host}\t2026-11-20 15:43:07\t1795189387\n")
        out.write(END)
    return path.stat().st_size


def tunnels(count, folder):
    """An ipsec.conf with `count` conns, all up, and what `ipsec statusall` prints for them."""
    folder.mkdir(exist_ok=True)
    names = [f"site{number}" for number in range(count)]
    conns = "".join(f"conn {conn}\n\tright=192.0.2.2\n\tauto=start\n\n" for conn in names)
    (folder / "ipsec.conf").write_text(conns)
    ups = "".join(
        f"{conn:>12}[{number}]: ESTABLISHED 2 seconds ago, 198.51.100.1[gw]...192.0.2.2[branch{number}]\n"
        f"{conn:>12}{{{number}}}:  INSTALLED, TUNNEL, reqid {number}, ESP in UDP SPIs: 585e2ca4_i 61c9e49e_o\n"
        f"{conn:>12}{{{number}}}:  AES_CBC_128/HMAC_SHA2_256_128, 320 bytes_i (6 pkts, 2s ago), 5424 bytes_o "
        f"(8 pkts, 2s ago), rekeying in 43 minutes\n"
        f"{conn:>12}{{{number}}}:   10.1.1.0/24 === 10.2.1.0/24\n" for number, conn in enumerate(names))
    (folder / "statusall").write_text(
        "Status of IKE charon daemon (strongSwan 5.9.8, Linux 6.1.0, x86_64):\n"
        f"Connections:\nSecurity Associations ({count} up, 0 connecting):\n{ups}")


def wireguard(count):
    """What a WireGuard in user space with `count` peers answers: some 0.4 KB each."""
    peers = "".join(
        f"public_key={number:064x}\npreshared_key={0:064x}\nprotocol_version=1\n"
        f"endpoint=198.51.{number >> 8 & 255}.{number & 255}:51820\nlast_handshake_time_sec=1795180765\n"
        f"last_handshake_time_nsec=103017888\ntx_bytes={number * 4099}\nrx_bytes={number * 1021}\n"
        f"persistent_keepalive_interval=25\nallowed_ip=10.{8 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/32\n"
        for number in range(1, count + 1))
    return f"private_key={1:064x}\nlisten_port=51820\n{peers}errno=0\n\n".encode()


class UserSpace:
    """A socket that answers as wireguard-go does, as fast as it can."""

    def __init__(self, path, answer):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, args=(answer,), daemon=True).start()

    def serve(self, answer):
        while True:
            client, _ = self.listener.accept()
            with client:
                client.recv(64)
                client.sendall(answer)


def wireguard_peers(count):
    """The same peers as `wg setconf` takes them."""
    return f"[Interface]\nPrivateKey = {base64.b64encode(bytes(31) + b'@').decode()}\n" + "".join(
        f"[Peer]\nPublicKey = {base64.b64encode(number.to_bytes(32, 'big')).decode()}\nPersistentKeepalive = 25\n"
        f"Endpoint = 198.51.{number >> 8 & 255}.{number & 255}:51820\n"
        f"AllowedIPs = 10.{8 + (number >> 16)}.{number >> 8 & 255}.{number & 255}/32\n" for number in range(1, count + 1))


def rules(status_word=None):
    """Twenty rules as operators write them: listeners, peers, and ports; or all of one status."""
    lines = ["sockets:"]
    for number in range(20):
        lines.append(f"  - name: rule {number}\n    protocol: {'tcp6' if number % 7 == 6 else 'tcp'}")
        if status_word:
            lines.append(f"    srcPort: {20000 + number}\n    status: {status_word}")
        elif number < 10:
            lines.append(f"    srcPort: {20000 + number}\n    status: listen")
        elif number < 15:
            lines.append(f"    dstHost: 127.0.0.{number}\n    dstPort: {20000 + number % 4}\n    status: established")
        else:
            lines.append(f"    srcHost: 127.0.0.1\n    srcPort: {20000 + number}")
    return "\n".join(lines) + "\n"
