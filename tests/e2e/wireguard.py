"""WireGuard for the tests: keys, what `wg show all dump` says as families, and where no key may be."""

import base64
import functools
import subprocess

from exporter import series

# The names that the dump has no words for.
NONE, OFF = "(none)", "off"


def private_key(seed):
    """A private key made of 32 bytes, as `wg genkey` would print it."""
    seed = bytes([seed[0] & 248, *seed[1:31], seed[31] & 127 | 64])
    return base64.b64encode(seed).decode()


@functools.lru_cache(maxsize=None)
def public_key(private):
    done = subprocess.run(("wg", "pubkey"), input=private, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def raw(key):
    return base64.b64decode(key)


def dump_lines(dump):
    """The interfaces and the peers of `wg show all dump`, as lists of fields."""
    lines = [line.split("\t") for line in dump.splitlines()]
    return [line for line in lines if len(line) == 5], [line for line in lines if len(line) == 9]


def totals(dump, interface):
    """The bytes received and sent of each peer of an interface, as they are kept when it is gone."""
    _, peers = dump_lines(dump)
    return {(interface, peer[1]): (int(peer[6]), int(peer[7])) for peer in peers if peer[0] == interface}


def words(**labels):
    return series({name: value for name, value in labels.items() if value not in (None, NONE, OFF, "")})


def wanted(dump, names, expected, before, in_user_space):
    """The families that a daemon should show where it reads what `wg show all dump` says. Handshakes are new."""
    interfaces, peers = dump_lines(dump)
    families = {f"wireguard_{name}": {} for name in (
        "interface_info", "peers", "peers_connected", "latest_handshake_seconds", "received_bytes_total",
        "sent_bytes_total", "peer_info", "peer_up")}
    for interface, _, public, port, mark in interfaces:
        # In user space an interface does not say its public key.
        families["wireguard_interface_info"][words(
            interface=interface, public_key=None if in_user_space else public, listen_port=port,
            fwmark=None if mark == OFF else str(int(mark, 16)))] = 1
        own = [peer for peer in peers if peer[0] == interface]
        families["wireguard_peers"][words(interface=interface)] = len(own)
        families["wireguard_peers_connected"][words(interface=interface)] = sum(peer[5] != "0" for peer in own)
    for interface, public, _, endpoint, networks, handshake, received, sent, keepalive in peers:
        name = names.get(public)
        labels = words(interface=interface, public_key=public, allowed_ips=networks, friendly_name=name)
        earlier = before.get((interface, public), (0, 0))
        families["wireguard_received_bytes_total"][labels] = earlier[0] + int(received)
        families["wireguard_sent_bytes_total"][labels] = earlier[1] + int(sent)
        if handshake != "0":
            families["wireguard_latest_handshake_seconds"][labels] = int(handshake)
        families["wireguard_peer_info"][words(
            interface=interface, public_key=public, description=name, endpoint=endpoint,
            persistent_keepalive_interval=keepalive)] = 1
        if keepalive != OFF or public in expected:
            families["wireguard_peer_up"][words(interface=interface, public_key=public, friendly_name=name)] = int(
                handshake != "0")
    return {name: samples for name, samples in families.items() if samples}


def short(labels):
    """Labels without the ends of very long values, where the daemon puts a hash."""
    return tuple((name, value[:900] if len(value) > 1000 else value) for name, value in labels)


def compare(dump, families, names=None, expected=(), totals=None, in_user_space=False):
    """Fails unless a scrape says of WireGuard what the dump says, no more and no less."""
    found = {name: {short(labels): value for labels, value in family.samples.items()}
             for name, family in families.items() if name.startswith("wireguard_")}
    want = wanted(dump, names or {}, expected, totals or {}, in_user_space)
    assert found.keys() == want.keys(), f"{sorted(found)} and {sorted(want)}"
    for name, samples in want.items():
        samples = {short(labels): value for labels, value in samples.items()}
        assert found[name] == samples, f"{name}: {set(found[name].items()) ^ set(samples.items())}"


def assert_absent(secret, content, where):
    """A key is nowhere in some bytes: neither as wg writes it, nor as hex digits, nor as it is."""
    for form in (secret.encode(), raw(secret).hex().encode(), raw(secret)):
        assert form not in content, f"a key is in {where}, {len(form)} bytes long"
