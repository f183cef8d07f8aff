"""How many series a gateway has: measured from the binary, for each kind of thing that it watches.

`python3 tests/fleet/series.py` prints the table of docs/fleet.md; tests/e2e/test_fleet.py compares the two.
"""

import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE.parent / "bench")]

import inputs  # noqa: E402
from charon import EVENT, decode  # noqa: E402
from exporter import Exporter  # noqa: E402
from host import Lab, wait_for  # noqa: E402
from replay import FIXTURES, PLAYER  # noqa: E402

INSIDE = FIXTURES / "strongswan" / "inside"
COUNTS = (1, 2, 10, 100)
WITHOUT = "metrics:\n  without: [sas]\n"


class Gateway:
    """What one exporter is asked to watch."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.folder = pathlib.Path(lab.path(name, "capture", "x")).parent

    def charon(self, connections=b"", sas=b"", **answers):
        """A charon that has these connections and IKE_SAs, and knows these other answers."""
        files = {"version": inputs.packet(1, inputs.pairs(inputs.VERSION)), "list-conns": connections + inputs.packet(1, b"")}
        files |= {"list-sas": sas + inputs.packet(1, b""), **{name.replace("_", "-"): text for name, text in answers.items()}}
        for name, text in files.items():
            (self.folder / f"{name}.vici").write_bytes(text)
        socket = pathlib.Path(self.lab.path(self.name, "vici"))
        self.lab.start((str(PLAYER), str(socket), str(self.folder)), log=f"{self.name}/replay.log")
        wait_for("the replayed charon", socket.exists)
        return f"vici_socket: '{socket}'\n"

    def ipsec(self, count):
        inputs.tunnels(count, self.folder)
        return f"ipsec_config: '{self.folder}/ipsec.conf'\nipsec_command: [cat, '{self.folder}/statusall']\n"

    def openvpn(self, clients, servers=1):
        lines = ["openvpn:"]
        for number in range(servers):
            path = self.folder / f"status{number}"
            inputs.status(clients, path)
            lines.append(f"  - {{name: server{number}, status: '{path}', protocol: udp}}")
        return "\n".join(lines) + "\n"

    def series(self, config):
        """How many series a scrape has with this configuration."""
        exporter = Exporter(self.lab, config, name=f"{self.name}/exporter")
        count = sum(len(family.samples) for family in exporter.metrics().values())
        exporter.stop()
        return count


def connection(name, children, remote="192.0.2.2"):
    inner = b"".join(inputs.section(child, inputs.pairs((("mode", "TUNNEL"),))) for child in children)
    return inputs.event("list-conn", inputs.section(name, inputs.items("remote_addrs", [remote]) + inputs.section("children", inner)))


def sites(count):
    """Connections of one tunnel each, all up."""
    names = [f"site{number}" for number in range(count)]
    return (b"".join(connection(name, ["lan"]) for name in names),
            b"".join(inputs.ike(number, name, ["lan"]) for number, name in enumerate(names, 1)))


def children(count):
    """One connection with several tunnels."""
    names = [f"net{number}" for number in range(count)]
    return connection("site", names), inputs.ike(1, "site", names)


def users(count):
    return connection("roadwarrior", ["net"], "%any"), b"".join(map(inputs.ike, range(1, count + 1)))


def down(count):
    """Connections of one tunnel each, all down."""
    return b"".join(connection(f"site{number}", ["lan"]) for number in range(count)), b""


def pools(count):
    usage = inputs.pairs((("base", "10.3.0.1"), ("size", "254"), ("online", "1"), ("offline", "2")))
    return inputs.packet(1, b"".join(inputs.section(f"pool{number}", usage) for number in range(count)))


def captured(name):
    """The segments of a real charon's answer, with their lengths."""
    data, found = (INSIDE / name).read_bytes(), []
    while data:
        (length,) = struct.unpack_from(">I", data)
        found.append(data[: 4 + length])
        data = data[4 + length :]
    return found


def certificates(count):
    listed = [segment for segment in captured("list-certs.vici") if segment[4] == EVENT]
    return b"".join(listed[:count]) + inputs.packet(1, b"")


def counters(count):
    """What charon's counters plugin says of so many connections, under the names that a real one has."""
    (answer,) = captured("get-counters.vici")
    (names, *_) = decode(answer[5:])["counters"].values()
    each = inputs.pairs([(name, "0") for name in names])
    sections = b"".join(inputs.section(f"site{number}", each) for number in range(count))
    return inputs.packet(1, inputs.section("counters", sections))


def rules(count):
    lines = [f"  - {{name: rule{number}, port: {20000 + number}, status: listen}}\n" for number in range(count)]
    return "sockets:\n" + "".join(lines)


# What is counted: its name in docs/fleet.md, its counts, and what makes so many of them for a gateway.
KINDS = (
    ("IPsec tunnel in swanctl.conf that is up, with an IKE_SA of its own", COUNTS, lambda gw, n: gw.charon(*sites(n))),
    ("the same without the group `sas`", COUNTS, lambda gw, n: gw.charon(*sites(n)) + WITHOUT),
    ("the same while it is down", COUNTS, lambda gw, n: gw.charon(*down(n))),
    ("further child of a connection, up", COUNTS, lambda gw, n: gw.charon(*children(n))),
    ("the same without the group `sas`", COUNTS, lambda gw, n: gw.charon(*children(n)) + WITHOUT),
    ("road warrior of strongSwan", (*COUNTS, 1000), lambda gw, n: gw.charon(*users(n))),
    ("the same without the group `sas`", (*COUNTS, 1000), lambda gw, n: gw.charon(*users(n)) + WITHOUT),
    ("connection, where charon has its counters plugin", COUNTS, lambda gw, n: gw.charon(get_counters=counters(n))),
    ("address pool", COUNTS, lambda gw, n: gw.charon(get_pools=pools(n))),
    ("certificate", (1, 2, 5), lambda gw, n: gw.charon(list_certs=certificates(n))),
    ("tunnel in ipsec.conf", COUNTS, lambda gw, n: gw.ipsec(n)),
    ("OpenVPN server", COUNTS, lambda gw, n: gw.openvpn(0, n)),
    ("OpenVPN client", (*COUNTS, 1000), lambda gw, n: gw.openvpn(n)),
    ("rule for sockets", COUNTS, lambda gw, n: rules(n)),
)


def measure(lab):
    """[(kind, series for each, series of a gateway with the most that was tried, that count)]; grows by the same each time."""
    rows = []
    for number, (kind, counts, make) in enumerate(KINDS):
        found = [(count, Gateway(lab, f"{number}-{count}")) for count in counts]
        found = [(count, gateway.series(make(gateway, count))) for count, gateway in found]
        each = {(more - fewer) / (many - few) for (few, fewer), (many, more) in zip(found, found[1:])}
        if len(each) != 1:
            raise AssertionError(f"{kind}: the series don't grow evenly: {found}")
        rows.append((kind, each.pop(), found[-1][1], found[-1][0]))
    return rows


def base(lab):
    """The series of a gateway whose sources are there and have nothing: charon with all it says of itself, and the rest."""
    gateway = Gateway(lab, "base")
    (stats,), (sums,) = captured("stats.vici"), captured("get-counters-sums.vici")
    charon = gateway.charon(stats=stats, get_counters_sums=sums, get_counters=inputs.packet(1, b""))
    return gateway.series(charon + gateway.ipsec(0) + "openvpn: []\nsockets: []\n")


def table(rows):
    return [f"| {kind} | {each:g} | {count}: {total} |" for kind, each, total, count in rows]


def main():
    with Lab() as lab:
        rows, nothing = measure(lab), base(lab)
    print("\n".join(table(rows)))
    print(f"a gateway with nothing on it: {nothing}")


if __name__ == "__main__":
    main()
