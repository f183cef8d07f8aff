"""Captures fixtures/strongswan from real daemons: `python3 tests/e2e/capture_strongswan.py [case ...]`.

Only what charon said is written (version, list-sas and list-conns as bytes, swanctl.txt as text). What must come of
it (expected.prom, expected.json) is written by hand beside it and has to be looked at again after a new capture.
"""

import os
import sys

from charon import (
    EVENT, GATEWAY, ROAD_POOL, Charon, Site, Warrior, branches, certified, child, connection, decode, ikev1, ipv6, proves,
    road_connection, road_gateway, road_warriors, secret, segments, settle, site_to_site, swanctl_conf, traffic,
)
from host import Lab, wait_for

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures", "strongswan")

AGES = 3  # seconds that an SA gets older before the capture, so that its ages differ from 0


def two_children(lab):
    left, right = site_to_site(lab, children=("lan", "voice"))
    traffic(left.host, right.host, "10.2.1.1", 5000, source="10.1.1.1")
    settle(AGES)
    return left.charon


def same_identity_twice(lab):
    gateway, charon, warriors = road_warriors(lab, ["carol@example.org", "dave@example.org", "carol@example.org"])
    for number, warrior in enumerate(warriors):
        warrior.sends(gateway, 1000 * (number + 1))
    settle(AGES)
    return charon


def ipv6_peers(lab):
    left, right = ipv6(lab)
    traffic(left.host, right.host, "2001:db8:2::1", 3000, source="2001:db8:1::1")
    settle(AGES)
    return left.charon


def ikev1_peers(lab):
    near, far, user = ikev1(lab)
    traffic(far.host, near.host, "10.1.1.1", 2000, source="10.2.1.1")
    user.sends(near.host, 4000)
    settle(AGES)
    return near.charon


CREATE_CHILD_SA, INFORMATIONAL = 36, 37


def rekeying(lab):
    """Rekeys held in their middle: a CHILD_SA that waits for its successor (depot), one that waits for its end beside its
    successor (mill), one that is over and kept for late packets (plant), and an IKE_SA (yard)."""
    slow = {"receive_delay": 4000, "receive_delay_type": CREATE_CHILD_SA}
    slow_end = {"receive_delay": 4000, "receive_delay_type": INFORMATIONAL}
    hub, ends = branches(lab, ["depot", "mill", "plant", "yard"], depot=slow, mill=slow_end, yard=slow)
    for number, site in enumerate(ends.values()):
        traffic(site.host, hub.host, f"10.1.{number + 1}.1", 2000, source=f"10.2.{number}.1")
    settle(AGES)
    for name in ("mill", "plant", "depot"):
        hub.charon.swanctl("--rekey", "--child", f"{name}-lan")
    hub.charon.swanctl("--rekey", "--ike", "yard")
    traffic(ends["plant"].host, hub.host, "10.1.3.1", 700, source="10.2.2.1")
    wait_for("all four states", lambda: {"REKEYING", "INSTALLED", "DELETED"} <= child_states(hub.charon))
    return hub.charon


def child_states(charon):
    """The states of all CHILD_SAs at this moment."""
    with charon.vici() as vici:
        answer = b"".join(vici.stream("list-sas", "list-sa", noblock="yes"))
    sas = [sa for kind, _, body in segments(answer) if kind == EVENT for sa in decode(body).values()]
    return {child["state"] for sa in sas for child in sa["child-sas"].values()}


def nothing_up(lab):
    gateway = road_gateway(lab)
    charon = Charon(gateway)
    near = Site(gateway, GATEWAY, "gw.example.org", ["10.1.1.0/24", "10.1.2.0/24"])
    spoke = Warrior(lab, gateway, 0)
    far = Site(spoke.host, spoke.address, "branch.example.org", ["10.2.1.0/24", "10.2.2.0/24"])
    branch = near.connection(far, "branch", ["lan", "voice"])
    road = road_connection(proves("eap-md5", id="%any", eap_id="%any"))
    charon.load(swanctl_conf(branch + road, secret("any"), ROAD_POOL))
    return charon


def policies(lab):
    """A tunnel that is down, and beside it policies that let traffic pass or drop it: those never have a CHILD_SA."""
    gateway = road_gateway(lab)
    charon = Charon(gateway)
    children = child("lan", "10.1.0.0/16", "10.2.0.0/16")
    children += child("neighbours", "10.1.0.0/16", "10.1.0.0/16", extra="mode = pass\n        start_action = trap")
    children += child("nobody", "10.1.0.0/16", "10.3.0.0/16", extra="mode = drop")
    ends = [proves("psk", id="gw.example.org")], [proves("psk", id="branch.example.org")]
    charon.load(swanctl_conf(connection("branch", (GATEWAY, "192.0.2.2"), *ends, children), secret("any")))
    return charon


def nothing_loaded(lab):
    return Charon(lab.host("gateway"))


def aead(lab):
    """Reauthentication instead of rekeying, too, and a CHILD_SA that lives for ever."""
    left, right = site_to_site(
        lab, ike="aes256gcm16-prfsha384-ecp384", esp="aes128gcm16-ecp256",
        extra="reauth_time = 3h\n    rekey_time = 0", child_extra="rekey_time = 0\n        life_time = 0",
    )
    traffic(left.host, right.host, "10.2.1.1", 1500, source="10.1.1.1")
    settle(AGES)
    return left.charon


def inside(lab):
    """All that charon says of itself beside its SAs; the case alone has those answers."""
    near, far, warriors = certified(lab)
    traffic(far.host, near.host, "10.1.1.1", 2500, source="10.2.1.1")
    warriors[0].sends(near.host, 1200)
    settle(AGES)
    return near.charon


CASES = {
    "two-children": two_children,
    "same-identity-twice": same_identity_twice,
    "ipv6": ipv6_peers,
    "ikev1": ikev1_peers,
    "rekeying": rekeying,
    "nothing-up": nothing_up,
    "policies": policies,
    "nothing-loaded": nothing_loaded,
    "aead": aead,
    "inside": inside,
}

# The cases that keep these answers too; in the others charon is one that does not know the question.
FULL = ("inside",)


def said(charon, full):
    """What charon says now, by the name of the file that keeps it."""
    with charon.vici() as vici:
        files = {
            "version.vici": vici.ask("version"),
            "list-sas.vici": vici.stream("list-sas", "list-sa", noblock="yes"),
            "list-conns.vici": vici.stream("list-conns", "list-conn"),
        }
        if full:
            files["get-pools.vici"] = vici.ask("get-pools")
            files["get-counters-sums.vici"] = vici.ask("get-counters")
            files["get-counters.vici"] = vici.ask("get-counters", all="yes")
            files["list-certs.vici"] = vici.stream("list-certs", "list-cert", type="X509", flag="ANY")
    return {name: b"".join(answer) for name, answer in files.items()}


def capture(charon, full):
    """The bytes and the text of one moment: taken again until the bytes before and after the text are equal."""
    for _ in range(50):
        before = said(charon, full)
        text = charon.swanctl("--list-sas") + charon.swanctl("--list-conns")
        if full:
            # Memory and run time are in it, so no two of these are equal.
            with charon.vici() as vici:
                stats = b"".join(vici.ask("stats"))
            text += charon.swanctl("--stats") + charon.swanctl("--list-pools", "--leases")
            text += charon.swanctl("--counters") + charon.swanctl("--counters", "--all") + charon.swanctl("--list-certs", "--utc")
        if said(charon, full) == before:
            return {**before, **({"stats.vici": stats} if full else {}), "swanctl.txt": text.encode()}
    raise TimeoutError("charon never said the same thing twice")


def main(names):
    for name in names or CASES:
        with Lab() as lab:
            files = capture(CASES[name](lab), name in FULL)
        folder = os.path.join(FIXTURES, name)
        os.makedirs(folder, exist_ok=True)
        for file, data in files.items():
            with open(os.path.join(folder, file), "wb") as out:
                out.write(data)
        print(f"{name}: {sum(map(len, files.values()))} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
