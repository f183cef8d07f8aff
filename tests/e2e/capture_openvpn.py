#!/usr/bin/env python3
"""Captures `fixtures/openvpn/<case>/status` from real OpenVPN daemons (as root).

    python3 tests/e2e/capture_openvpn.py [CASE...]

Only the raw files are written: the expected ones beside them are written by hand, and a new capture needs them
looked at again. `torn`, `columns-2.4` and `version-1-old-dates` are not captured; their NOTE says how they came to be.
"""

import pathlib
import sys

from host import Lab, wait_for
from openvpn import GATEWAY, GATEWAY_V6, HOME, OFFICE, OFFICE_V6, TRAIN, Site, await_rewrite, half_handshake

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures" / "openvpn"

def save(case, text):
    folder = FIXTURES / case
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_bytes(text)
    print(f"{case}: {len(text)} bytes")


def settle(servers):
    """Two rewrites after the last traffic, so that no counter is still moving."""
    for server in servers:
        server.await_rewrite(2)


def three_versions(lab):
    """One scene played three times at once: three clients and their traffic, for each status version."""
    sites = [Site(lab, f"v{version}") for version in (1, 2, 3)]
    servers = [site.server(status_version=version) for version, site in enumerate(sites, 1)]
    scene = (("alice@example.com", HOME, 41194, 40), ("bob@example.com", TRAIN, 50222, 25), ("branch-office", OFFICE, 1194, 300))
    for common_name, local, local_port, datagrams in scene:
        clients = [site.client(common_name, local=local, local_port=local_port) for site in sites]
        for client in clients:
            client.send(datagrams)
    for server in servers:
        server.await_words("alice@example.com", "bob@example.com", "branch-office")
    settle(servers)
    for version, server in enumerate(servers, 1):
        save(f"version-{version}", server.whole())


def duplicate_cn(lab):
    site = Site(lab, "dup")
    server = site.server(duplicate_cn=True)
    scene = (("till", HOME, 40001, 10), ("alice@example.com", OFFICE, 40002, 5), ("till", TRAIN, 40003, 20))
    for common_name, local, port, datagrams in scene:
        site.client(common_name, local=local, local_port=port).send(datagrams)
    settle([server])
    save("duplicate-cn", server.whole())


def named(lab, case, status_version, names):
    site = Site(lab, case[:3] + str(status_version))
    server = site.server(status_version=status_version)
    for number, common_name in enumerate(names, 1):
        site.client(common_name, local=HOME, local_port=42000 + number).send(3 * number)
    settle([server])
    save(case, server.whole())


def awkward_names(lab):
    named(lab, "awkward-names", 3, ("Front Desk", 'the "spare" one', "DOMAIN\\laptop", "Smith, Ann", "Žofie Müller", "tail\\"))


def commas(lab):
    names = ("Smith, Ann", "a,b,,c", "plain")
    named(lab, "comma-in-cn-v1", 1, names)
    named(lab, "comma-in-cn-v2", 2, names)


def no_clients(lab):
    server = Site(lab, "none").server()
    settle([server])
    save("no-clients", server.whole())


def undef(lab):
    site = Site(lab, "undef")
    server = site.server()
    site.client("alice@example.com", local=HOME, local_port=41194).send(4)
    half_handshake(site.far, TRAIN, 50222, GATEWAY)
    server.await_words("UNDEF\t" + TRAIN)
    settle([server])
    save("undef", server.whole())


def by_user_name(lab, case, status_version, users):
    """Clients that have a user name and no certificate: the common name stays UNDEF for ever."""
    site = Site(lab, "user")
    server = site.server(
        status_version=status_version,
        extra=("--verify-client-cert", "none", "--script-security", "3", "--auth-user-pass-verify", "/bin/true", "via-env"),
    )
    for number, (user, common_name, local) in enumerate(users, 1):
        login = lab.write(f"user/{number}.login", f"{user}\nsecret\n", 0o600)
        client = site.client(common_name, local=local, local_port=43000 + number, extra=("--auth-user-pass", login))
        client.send(6 * number)
    settle([server])
    save(case, server.whole())


def undef_username(lab):
    """The last one offers a certificate, which this server does not ask for."""
    by_user_name(lab, "undef-username", 3, (("alice", None, HOME), ("bob", None, HOME), ("carol", "till", TRAIN)))


def comma_in_username(lab):
    """In version 2 the surplus field of a row stands in the user name, far behind the common name."""
    by_user_name(lab, "comma-in-username-v2", 2, (("Smith, Ann", None, HOME), ("plain", None, HOME)))


def torn_rewrite(lab):
    """What a reader meets in the middle of a rewrite: the first lines of the new file, then the rest of the old one.

    Both files are real. One client leaves between them, so the lines move up; the new file is cut after the row that
    took the leaver's place, which is shorter, so the old file's rest begins with a piece of the leaver's row.
    """
    site = Site(lab, "torn")
    server = site.server()
    clients = {}
    for number, length in enumerate((3, 12, 21, 30, 39)):
        name = "branch-office-".ljust(length, "x")[:length]
        clients[name] = site.client(name, local=HOME, local_port=44000 + number, extra=("--explicit-exit-notify", "1"))
        clients[name].send(8)
    settle([server])
    old = server.whole()
    names = [row.split("\t")[1] for row in old.decode().splitlines() if row.startswith("CLIENT_LIST")]
    place = next(place for place in range(4) if len(names[place]) > len(names[place + 1]))
    clients[names[place]].stop()
    wait_for("the leaver to be gone", lambda: f"\t{names[place]}\t".encode() not in server.whole())
    clients[names[place + 1]].send(20)
    settle([server])
    new = server.whole()
    written = b"".join(new.splitlines(keepends=True)[: 3 + place + 1])
    save("torn-rewrite", written + old[len(written):])


def ipv6_peer(lab):
    """A dual-stack server with a client over IPv6 and one over IPv4."""
    site = Site(lab, "six")
    server = site.server(proto="udp6")
    site.client("alice@example.com", remote=GATEWAY_V6, proto="udp6", local=OFFICE_V6, local_port=41194).send(7)
    site.client("bob@example.com", local=HOME, local_port=50222).send(5)
    settle([server])
    save("ipv6-peer", server.whole())


def client_statistics(lab):
    site = Site(lab, "stat")
    site.server()
    client = site.client("alice@example.com", local=HOME, local_port=41194)
    client.send(12)
    await_rewrite(client.status, 2)
    save("client-statistics", pathlib.Path(client.status).read_bytes())


def tcp_server(lab):
    site = Site(lab, "tcp")
    server = site.server(proto="tcp-server")
    for common_name, local, port, datagrams in (("alice@example.com", HOME, 41194, 9), ("branch-office", OFFICE, 50222, 30)):
        site.client(common_name, proto="tcp-client", local=local, local_port=port).send(datagrams)
    settle([server])
    save("tcp-server", server.whole())


SCENES = {
    "versions": three_versions,
    "duplicate-cn": duplicate_cn,
    "awkward-names": awkward_names,
    "commas": commas,
    "no-clients": no_clients,
    "undef": undef,
    "undef-username": undef_username,
    "comma-in-username-v2": comma_in_username,
    "torn-rewrite": torn_rewrite,
    "ipv6-peer": ipv6_peer,
    "client-statistics": client_statistics,
    "tcp-server": tcp_server,
}


def main(wanted):
    for name in wanted or SCENES:
        with Lab() as lab:
            SCENES[name](lab)


if __name__ == "__main__":
    main(sys.argv[1:])
