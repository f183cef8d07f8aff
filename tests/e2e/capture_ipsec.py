"""Captures fixtures/ipsec from real daemons: `python3 tests/e2e/capture_ipsec.py [case ...]`.

Every case has an ipsec.conf that is written by hand; the gateway runs on that very file, and `statusall` is what
`ipsec statusall` said. expected.prom is written by hand too and has to be looked at again after a new capture.
"""

import os
import sys

from charon import GATEWAY, Site, Starter, Warrior, one_way, road_gateway, settle, traffic
from host import Lab

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures", "ipsec")

AGES = 2  # seconds that an SA gets older before the capture
CREATE_CHILD_SA, INFORMATIONAL = 36, 37
LIAR = "mallory]...203.0.113.9[carol@example.org"  # reads like the end of the line that it stands in
QUOTED = 'the"boss"@example.org'  # can't stand between quotes in ipsec.secrets
SECRETS = f"""\
: PSK "not-a-secret"
carol : EAP "not-a-secret"
dave@example.org : EAP "not-a-secret"
"C=DE, O=Acme, CN=bob" : EAP "not-a-secret"
"bob [mobile]@example.org" : EAP "not-a-secret"
"{LIAR}" : EAP "not-a-secret"
{QUOTED} : EAP "not-a-secret"
carol : XAUTH "not-a-secret"
dave@example.org : XAUTH "not-a-secret"
"""


class Gateway:
    """The machine whose `ipsec statusall` is captured, and the peers that come to it."""

    def __init__(self, lab, case):
        self.lab, self.folder, self.peers = lab, os.path.join(FIXTURES, case), 0
        self.host = road_gateway(lab)
        self.starter = None

    def start(self, **settings):
        """Starts the daemon; the peers' addresses have to exist before."""
        self.starter = Starter(self.host, self.folder, SECRETS, **settings)

    def warrior(self, **settings):
        self.peers += 1
        return Warrior(self.lab, self.host, self.peers - 1, **settings)

    def branch(self, identity, *numbers, **settings):
        """A site with networks 10.2.N.0/24 that waits for the gateway to call; ours are 10.1.N.0/24."""
        spoke = self.warrior(**settings)
        near = Site(self.host, GATEWAY, "gw.example.org", [f"10.1.{n}.0/24" for n in numbers])
        far = Site(spoke.host, spoke.address, identity, [f"10.2.{n}.0/24" for n in numbers], spoke.charon)
        far.charon.load(far.conf(near, "gateway", [f"net{n}" for n in numbers]))
        return far

    def ask(self, far, number, size=1000):
        """Traffic from our network N to theirs."""
        traffic(self.host, far.host, f"10.2.{number}.1", size, source=f"10.1.{number}.1")


def site_to_site(gateway):
    first, second = gateway.branch("branch-a.example.org", 1), gateway.branch("branch-b.example.org", 2)
    gateway.warrior().charon.stop()
    gateway.start(retransmit_tries=1, retransmit_timeout=0.5)
    for name in ("branch-a", "branch-b", "branch-c"):
        gateway.starter.ipsec("up", name)
    gateway.ask(first, 1, 5000)
    one_way(gateway.host, "10.2.2.99", "10.1.2.1")


def half_up(gateway):
    """The peer of `agreed` knows other networks; the peer of `calling` is gone."""
    gateway.branch("agreed.example.org", 7)
    gateway.warrior().charon.stop()
    gateway.start()
    gateway.starter.ipsec("up", "agreed")


def eap_users(gateway):
    carol, dave = gateway.warrior(), gateway.warrior()
    branch = gateway.branch("branch-a.example.org", 1)
    gateway.start()
    carol.dial("carol@laptop.example.org", "carol")
    dave.dial("dave@example.org", "dave@example.org")
    gateway.starter.ipsec("up", "branch-a")
    carol.sends(gateway.host, 3000)
    one_way(dave.host, "10.1.0.99", "10.3.0.2", packets=1)
    gateway.ask(branch, 1)


def xauth_users(gateway):
    carol, dave, old = gateway.warrior(), gateway.warrior(), gateway.warrior()
    gateway.start()
    carol.dial("laptop.example.org", "carol", version=1)
    dave.dial("dave@example.org", "dave@example.org", version=1)
    old.dial("phone.example.org", "carol", version=1)
    carol.sends(gateway.host, 3000)
    old.sends(gateway.host, 1000)


def rekeying(gateway):
    """`depot` waits for a new CHILD_SA, `mill` for the end of the old one, `plant` keeps it for late packets."""
    depot = gateway.branch("depot.example.org", 1, receive_delay=4000, receive_delay_type=CREATE_CHILD_SA)
    mill = gateway.branch("mill.example.org", 2, receive_delay=4000, receive_delay_type=INFORMATIONAL)
    plant = gateway.branch("plant.example.org", 3)
    gateway.start()
    for number, (name, far) in enumerate((("depot", depot), ("mill", mill), ("plant", plant)), 1):
        gateway.starter.ipsec("up", name)
        gateway.ask(far, number, 1000 * number)
    settle(AGES)
    for name in ("mill", "plant", "depot"):
        gateway.starter.ipsec("stroke", "rekey", f"{name}{{}}")
    gateway.ask(plant, 3, 700)


def ignored(gateway):
    first, mill = gateway.branch("branch-a.example.org", 1), gateway.branch("mill.example.org", 5)
    gateway.warrior()
    gateway.start()
    for name in ("branch-a", "mill"):
        gateway.starter.ipsec("up", name)
    gateway.ask(first, 1, 2000)
    gateway.ask(mill, 5, 3000)


def nothing_up(gateway):
    gateway.start()


def two_children(gateway):
    branch = gateway.branch("branch.example.org", 1, 2, 3)
    gateway.start()
    gateway.starter.ipsec("up", "lan")
    gateway.starter.ipsec("up", "voice")
    gateway.ask(branch, 1, 5000)
    gateway.ask(branch, 2, 1000)


def awkward_names(gateway):
    names = ("C=DE, O=Acme, CN=bob", "office [2nd floor]@example.org", 'C=DE, O=Acme \\"West\\", CN=eve', "@#00c0ffee")
    branches = [gateway.branch(name, number) for number, name in enumerate(names, 1)]
    bob, mobile, boss, liar = (gateway.warrior() for _ in range(4))
    gateway.start()
    for name in ("a-rather-long-connection-name", "head office", "quoted", "dots.and-dashes_x{1}"):
        gateway.starter.ipsec("up", name)
    for number, branch in enumerate(branches, 1):
        gateway.ask(branch, number, 1000 * number)
    bob.dial("C=DE, O=Acme, CN=bob", "C=DE, O=Acme, CN=bob")
    mobile.dial("bob [mobile]@example.org", "bob [mobile]@example.org")
    boss.dial("boss@example.org", QUOTED.replace('"', '\\"'))
    liar.dial(LIAR, LIAR)
    for warrior in (bob, mobile, boss, liar):
        warrior.sends(gateway.host, 1000)


CASES = {
    "site-to-site": site_to_site,
    "half-up": half_up,
    "eap-users": eap_users,
    "xauth-users": xauth_users,
    "rekeying": rekeying,
    "ignored": ignored,
    "nothing-up": nothing_up,
    "two-children": two_children,
    "awkward-names": awkward_names,
}


def capture(lab, case):
    gateway = Gateway(lab, case)
    CASES[case](gateway)
    if case != "rekeying":
        settle(AGES)
    return gateway.starter.ipsec("statusall")


def main(cases):
    for case in cases or CASES:
        with Lab() as lab:
            text = capture(lab, case)
        with open(os.path.join(FIXTURES, case, "statusall"), "w", encoding="utf-8") as out:
            out.write(text)
        print(f"{case}: {len(text)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
