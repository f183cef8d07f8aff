"""strongSwan on hosts of our own: charon with swanctl, the old way with `ipsec`, and the lines of VICI.

The kernel here may have no ESP, so every daemon does ESP in user space over a TUN device (kernel-libipsec). The pid
file and the control sockets have compiled-in places under /run, so every daemon sees a private /run.
"""

import os
import signal
import socket
import struct
import subprocess
import time

from credentials import Authority, Credentials
from host import run, stop, wait_for

DAEMON = "/usr/lib/ipsec/charon"

PLUGINS = (
    "random nonce aes sha1 sha2 hmac gmp curve25519 openssl pem pkcs1 pkcs8 x509 constraints pubkey revocation kdf gcm "
    "kernel-libipsec kernel-netlink socket-default vici stroke updown eap-identity eap-md5 xauth-generic attr counters"
)

# Braces and settings need lines of their own.
STRONGSWAN_CONF = """\
charon {{
  load = {plugins}
{settings}
  plugins {{
    vici {{
      socket = {vici}
    }}
    kernel-libipsec {{
      allow_peer_ts = yes
    }}
  }}
}}
swanctl {{
  load = random openssl pem pkcs1 pkcs8 x509
}}
"""


def strongswan_conf(vici, settings, plugins=None):
    lines = "\n".join(f"  {name} = {value}" for name, value in settings.items())
    return STRONGSWAN_CONF.format(plugins=plugins or PLUGINS, vici=vici, settings=lines)


def runs(pid, name):
    """Whether that process still runs and still is that program; a zombie counts as gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, rest = file.read().rpartition(")")
    except FileNotFoundError:
        return False
    return head.endswith(f"({name}") and not rest.startswith(" Z")


class Charon:
    """A charon of its own on a host, configured over VICI.

    `settings` are lines of the `charon` section of strongswan.conf (`{"receive_delay": 500}`). `port` makes it listen
    on tcp://127.0.0.1:port of its host instead of a socket in the lab folder. `in_kernel` leaves policies to the kernel,
    which knows those that need no ESP; nothing can be brought up then.
    """

    def __init__(self, host, port=None, in_kernel=False, **settings):
        self.host, self.lab = host, host.lab
        self.socket = None if port else self.lab.path(host.name, "vici")
        self.uri = f"tcp://127.0.0.1:{port}" if port else f"unix://{self.socket}"
        self._log = f"{host.name}/charon.log"
        plugins = PLUGINS.replace("kernel-libipsec ", "") if in_kernel else PLUGINS
        conf = self.lab.write(f"{host.name}/strongswan.conf", strongswan_conf(self.uri, settings, plugins))
        self.environment = {**os.environ, "STRONGSWAN_CONF": conf, "TZ": "UTC"}
        self.process = host.start(
            "unshare", "-m", "sh", "-c", f"mount -t tmpfs none /run && exec {DAEMON}",
            log=self._log, env=self.environment,
        )
        wait_for(f"charon on {host.name}", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"charon ended early:\n{self.lab.log(self._log)}")
        command = self.host.command("swanctl", "--version", "--daemon", "--uri", self.uri)
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def swanctl(self, *arguments):
        return self.host.run("swanctl", *arguments, "--uri", self.uri, env=self.environment)

    def load(self, text, credentials=None):
        """Replaces all connections, pools and secrets by those of this swanctl.conf, and certificates and keys by those
        of this folder."""
        folder = credentials.name if credentials else self.host.name
        path = self.lab.write(f"{folder}/swanctl.conf", text, mode=0o600)
        self.swanctl("--load-all", "--clear", "--file", path)

    def initiate(self, child):
        self.swanctl("--initiate", "--child", child, "--timeout", "20")

    def vici(self):
        """A connection to the unix socket, for tests that look at the bytes themselves."""
        return Vici(self.socket)

    def freeze(self):
        """Stops the clock of this daemon, so that its peers wait for answers; `thaw` goes on."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        stop(self.process)


class Starter:
    """The old way: `ipsec start` with a private /etc/ipsec.conf, ipsec.d, ipsec.secrets, strongswan.conf and /run.

    `folder` holds ipsec.conf and, if it includes any, the files of ipsec.d.
    """

    BINDS = ("ipsec.conf", "ipsec.secrets", "strongswan.conf", "ipsec.d")

    def __init__(self, host, folder, secrets, **settings):
        self.host, self.lab = host, host.lab
        self.folder = self.lab.path(host.name, "etc", "")
        self._log = f"{host.name}/starter.log"
        self._files(folder, secrets, settings)
        binds = " && ".join(f"mount --bind {self.folder}{name} /etc/{name}" for name in self.BINDS)
        self.process = host.start(
            "unshare", "-m", "sh", "-c", f"mount -t tmpfs none /run && {binds} && exec ipsec start --nofork",
            log=self._log, env={**os.environ, "TZ": "UTC"},
        )
        self.charon = None
        self.lab.callback(self.stop)
        wait_for(f"starter on {host.name}", self.answers)

    def _files(self, folder, secrets, settings):
        run("cp", "-rT", folder, self.folder)
        os.makedirs(os.path.join(self.folder, "ipsec.d"), exist_ok=True)
        etc = f"{self.host.name}/etc"
        self.lab.write(f"{etc}/ipsec.secrets", secrets, mode=0o600)
        self.lab.write(f"{etc}/strongswan.conf", strongswan_conf("unix:///run/charon.vici", settings))

    @property
    def command(self):
        """The words that put a command into the namespaces of this daemon (`[*starter.command, "ipsec", "statusall"]`)."""
        return ("nsenter", "--target", str(self.process.pid), "--mount", "--net", "--")

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"starter ended early:\n{self.lab.log(self._log)}")
        pid = subprocess.run((*self.command, "cat", "/run/charon.pid"), capture_output=True, text=True, check=False)
        self.charon = int(pid.stdout) if pid.stdout.strip() else None
        status = subprocess.run((*self.command, "ipsec", "statusall"), capture_output=True, text=True, check=False)
        return status.returncode == 0 and "Security Associations" in status.stdout

    def ipsec(self, *arguments):
        return run(*self.command, "ipsec", *arguments, env={**os.environ, "TZ": "UTC"})

    def stop(self):
        """Ends starter and the charon it started, which is in a session of its own and would outlive it."""
        if self.process.poll() is None:
            self.process.terminate()
            stop(self.process, patience=10.0)
        if self.charon and runs(self.charon, "charon"):
            os.kill(self.charon, signal.SIGKILL)
            wait_for("the end of charon", lambda: not runs(self.charon, "charon"))


# --- traffic ---------------------------------------------------------------------------------------------------------


def traffic(client, server, address, size=1000, port=7007, source=None):
    """Sends `size` bytes over TCP from one host to an address of another: packets flow in both directions."""
    source_end = f"TCP-LISTEN:{port},bind={bracket(address)},pf={family(address)},reuseaddr"
    listener = server.start("socat", "-u", source_end, "OPEN:/dev/null")
    wait_for("a listener", lambda: f":{port} " in server.run("ss", "-Hltn"))
    origin = f",bind={bracket(source)}" if source else ""
    client.run("sh", "-c", f"head -c {size} /dev/zero | socat -u - TCP:{bracket(address)}:{port},connect-timeout=10{origin}")
    listener.wait(10)


def one_way(client, address, source, packets=3, size=100, port=7008):
    """Sends datagrams: packets flow in one direction only, if the address is one that nobody has (.99)."""
    target = f"UDP-SENDTO:{bracket(address)}:{port},bind={bracket(source)}"
    for _ in range(packets):
        client.run("sh", "-c", f"head -c {size} /dev/zero | socat -u - {target}")


def family(address):
    return "ip6" if ":" in address else "ip4"


def bracket(address):
    return f"[{address}]" if ":" in address else address


# --- VICI ------------------------------------------------------------------------------------------------------------

CMD_REQUEST, CMD_RESPONSE, CMD_UNKNOWN, EVENT_REGISTER, EVENT_UNREGISTER, EVENT_CONFIRM, EVENT_UNKNOWN, EVENT = range(8)
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)


class Vici:
    """A VICI client that keeps the bytes: every answer is the list of segments that charon sent."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def ask(self, command, **arguments):
        """The segments of a plain command: one response."""
        self._send(CMD_REQUEST, command, message(arguments))
        return [self._segment()]

    def stream(self, command, event, **arguments):
        """The segments of a streaming command: confirm, events, response, confirm."""
        self._send(EVENT_REGISTER, event)
        segments = [self._segment()]
        self._send(CMD_REQUEST, command, message(arguments))
        while True:
            segments.append(self._segment())
            if segments[-1][4] != EVENT:
                break
        self._send(EVENT_UNREGISTER, event)
        segments.append(self._segment())
        return segments

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, kind, name, body=b""):
        packet = bytes([kind, len(name)]) + name.encode() + body
        self.socket.sendall(struct.pack(">I", len(packet)) + packet)

    def _segment(self):
        """One segment with its length in front."""
        head = self._exactly(4)
        return head + self._exactly(struct.unpack(">I", head)[0])

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise EOFError("charon closed the socket")
            data += more
        return data


def message(arguments):
    """Flat `key = value` arguments as a VICI message."""
    out = b""
    for key, value in arguments.items():
        out += bytes([KEY_VALUE, len(key)]) + key.encode() + struct.pack(">H", len(value)) + value.encode()
    return out


def segments(data):
    """Cuts captured bytes into `(type, name, body)`; the name is empty where the type has none."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        packet, at = data[at + 4 : at + 4 + length], at + 4 + length
        named = packet[0] in (CMD_REQUEST, EVENT_REGISTER, EVENT_UNREGISTER, EVENT)
        end = 2 + packet[1] if named else 1
        yield packet[0], packet[2:end].decode() if named else "", packet[end:]


def decode(body):
    """A message as nested dicts, lists and strings, in the order of the bytes."""
    tree, _ = _section(body, 0)
    return tree


def _section(body, at):
    tree = {}
    while at < len(body):
        kind, at = body[at], at + 1
        if kind == SECTION_END:
            break
        name, at = _sized(body, at, 1)
        if kind == SECTION_START:
            tree[name], at = _section(body, at)
        elif kind == KEY_VALUE:
            tree[name], at = _sized(body, at, 2)
        elif kind == LIST_START:
            tree[name], at = _list(body, at)
        else:
            raise ValueError(f"element {kind} at {at - 1}")
    return tree, at


def _list(body, at):
    items = []
    while body[at] == LIST_ITEM:
        item, at = _sized(body, at + 1, 2)
        items.append(item)
    if body[at] != LIST_END:
        raise ValueError(f"element {body[at]} in a list at {at}")
    return items, at + 1


def _sized(body, at, width):
    """A text with its length of `width` bytes in front, and where it ends."""
    start = at + width
    end = start + int.from_bytes(body[at:start], "big")
    return body[start:end].decode("utf-8", "replace"), end


# --- scenarios -------------------------------------------------------------------------------------------------------

IKE = "aes128-sha256-x25519"
IKE_V1 = "aes128-sha256-modp2048"
ESP = "aes128-sha256"
ESP_PFS = "aes128-sha256-x25519"  # a key exchange of its own for every rekeyed CHILD_SA


def secret(name, *ids, kind="ike"):
    """A secret of swanctl.conf; every peer here shares the same one."""
    lines = "\n".join(f'    id-{number} = "{owner}"' for number, owner in enumerate(ids))
    return f"  {kind}-{name} {{\n{lines}\n    secret = not-a-secret\n  }}\n"


def child(name, local, remote, esp=ESP, extra=""):
    return f"""\
      {name} {{
        local_ts = {local}
        remote_ts = {remote}
        esp_proposals = {esp}
        {extra}
      }}
"""


def proves(auth, **names):
    """One round of authentication: by what means, and under which names (`id`, `eap_id`, `xauth_id`)."""
    return "".join([f"      auth = {auth}\n", *(f'      {key} = "{value}"\n' for key, value in names.items())])


def rounds(side, each):
    return "".join(f"    {side}-{number} {{\n{text}    }}\n" for number, text in enumerate(each, 1))


def connection(name, addresses, local, remote, children, version=2, ike=IKE, extra=""):
    """One connection of swanctl.conf; `local` and `remote` are the rounds in which each side proves who it is.

    Without MOBIKE, because ESP in user space can't move an SA to another address and rekeys it instead, unasked.
    """
    return f"""\
  {name} {{
    version = {version}
    local_addrs = {addresses[0]}
    remote_addrs = {addresses[1]}
    proposals = {ike}
    mobike = no
    {extra}
{rounds("local", local)}{rounds("remote", remote)}    children {{
{children}    }}
  }}
"""


def swanctl_conf(connections, secrets, pools=""):
    text = f"connections {{\n{connections}}}\nsecrets {{\n{secrets}}}\n"
    return text + (f"pools {{\n{pools}}}\n" if pools else "")


def wired_pair(lab, left=("192.0.2.1/24",), right=("192.0.2.2/24",)):
    """Two hosts with a cable between them."""
    a, b = lab.host("left"), lab.host("right")
    lab.wire(a, b, left, right)
    return a, b


class Site:
    """One end of a site-to-site tunnel: where it is, who it says it is, the networks behind it."""

    def __init__(self, host, address, identity, networks, daemon=None):
        self.host, self.address, self.identity, self.networks = host, address, identity, networks
        for network in networks:
            host.address(inside(network))
        self.charon = daemon

    def connection(self, peer, name, children, esp=ESP, child_extra="", **options):
        """This end's connection in swanctl.conf. `children` are names, one for each pair of networks."""
        pairs = zip(children, self.networks, peer.networks)
        inner = "".join(child(each, local, remote, esp, child_extra) for each, local, remote in pairs)
        names = [proves("psk", id=self.identity)], [proves("psk", id=peer.identity)]
        return connection(name, (self.address, peer.address), *names, inner, **options)

    def conf(self, peer, name, children, **options):
        """A swanctl.conf that knows this one tunnel."""
        return swanctl_conf(self.connection(peer, name, children, **options), secret("any"))


def inside(network):
    """The first address of a network: 10.1.1.0/24 gives 10.1.1.1, 2001:db8:1::/64 gives 2001:db8:1::1."""
    base = network.partition("/")[0]
    return base + "1" if ":" in base else base.rpartition(".")[0] + ".1"


def sites(lab, left_networks, right_networks, addresses=("192.0.2.1", "192.0.2.2")):
    """Two wired sites, each with a running charon that knows no connection yet."""
    width = "/64" if ":" in addresses[0] else "/24"
    a, b = wired_pair(lab, (addresses[0] + width,), (addresses[1] + width,))
    left = Site(a, addresses[0], "gw.example.org", left_networks, Charon(a))
    right = Site(b, addresses[1], "branch.example.org", right_networks, Charon(b))
    return left, right


def site_to_site(lab, name="branch", children=("lan",), **options):
    """A site-to-site pair with every child up, one pair of networks for each child."""
    count = range(1, len(children) + 1)
    left, right = sites(lab, [f"10.1.{n}.0/24" for n in count], [f"10.2.{n}.0/24" for n in count])
    connect(left, right, name, children, **options)
    return left, right


def connect(left, right, name, children, **options):
    """Loads both ends and brings every child up from the left."""
    left.charon.load(left.conf(right, name, children, **options))
    right.charon.load(right.conf(left, name, children, **options))
    for each in children:
        left.charon.initiate(each)


def ipv6(lab):
    """IPv6 peers with IPv6 networks behind them."""
    left, right = sites(lab, ["2001:db8:1::/64"], ["2001:db8:2::/64"], ("2001:db8::1", "2001:db8::2"))
    connect(left, right, "branch6", ("lan6",))
    return left, right


GATEWAY = "198.51.100.1"
INTRANET = "10.1.0.0/16"
ROAD_POOL = "  road {\n    addrs = 10.3.0.0/24\n  }\n"


class Warrior:
    """A host on the road with a cable of its own to the gateway."""

    def __init__(self, lab, gateway, number, **settings):
        self.host = lab.host(f"road{number}")
        self.address = f"192.0.2.{4 * number + 2}"
        uplink = f"192.0.2.{4 * number + 1}"
        lab.wire(gateway, self.host, (f"{uplink}/30",), (f"{self.address}/30",))
        self.host.run("ip", "route", "add", "default", "via", uplink)
        self.charon = Charon(self.host, **settings)

    def dial(self, identity, login, **options):
        """Connects to the gateway as `identity`, and proves it with the name `login`."""
        self.charon.load(warrior_conf(self.address, identity, login, **options))
        self.charon.initiate("home")

    def sends(self, gateway, size=1000):
        traffic(self.host, gateway, inside("10.1.0.0/24"), size)


def warrior_conf(address, identity, login, method="eap-md5", version=2):
    """swanctl.conf of a road warrior: EAP in IKEv2, PSK and then XAuth in IKEv1."""
    gateway, ike, kind = [proves("psk", id="gw.example.org")], IKE, "eap"
    user = [proves(method, id=identity, eap_id=login)]
    if version == 1:
        ike, kind = IKE_V1, "xauth"
        user = [proves("psk", id=identity), proves("xauth", xauth_id=login)]
    home = child("home", "dynamic", INTRANET)
    extra = "vips = 0.0.0.0\n    unique = never"
    text = connection("home", (address, GATEWAY), user, gateway, home, version, ike, extra)
    return swanctl_conf(text, secret("gw") + secret("login", login, kind=kind))


def road_gateway(lab):
    """The host that road warriors call, with its address and the network behind it."""
    host = lab.host("gateway")
    host.address(GATEWAY)
    host.address(inside("10.1.0.0/24"))
    return host


def road_connection(*users, **options):
    """The gateway's side: anybody from anywhere, addresses from a pool, as many sessions of one user as he likes."""
    extra = "unique = never\n    pools = road"
    gateway = [proves("psk", id="gw.example.org")]
    return connection("road", (GATEWAY, "%any"), gateway, users, child("users", INTRANET, "dynamic"), extra=extra, **options)


def road_gateway_conf(users):
    """swanctl.conf of the gateway for users who prove their names by EAP-MD5."""
    text = road_connection(proves("eap-md5", id="%any", eap_id="%any"))
    secrets = secret("gw", "gw.example.org") + "".join(secret(f"u{n}", user, kind="eap") for n, user in enumerate(users))
    return swanctl_conf(text, secrets, ROAD_POOL)


def road_warriors(lab, identities):
    """A gateway and one warrior for each identity, all connected; an identity may come more than once."""
    gateway = road_gateway(lab)
    charon = Charon(gateway)
    charon.load(road_gateway_conf(sorted(set(identities))))
    warriors = []
    for number, identity in enumerate(identities):
        warriors.append(Warrior(lab, gateway, number))
        warriors[-1].dial(identity, identity)
    return gateway, charon, warriors


def branches(lab, names, children=None, **each_settings):
    """A gateway with several branches, all up: connection NAME with the one child NAME-lan.

    `children` are more settings of the child of that name, at both ends, with `esp` for its proposal.
    `each_settings` are charon settings for the branch of that name. An artificial delay of what a branch receives
    (`receive_delay`, and `receive_delay_type` for one exchange type) holds a rekey in its middle for as long.
    """
    gateway = road_gateway(lab)
    charon = Charon(gateway)
    hub = Site(gateway, GATEWAY, "gw.example.org", [], charon)
    ends, text = {}, ""
    for number, name in enumerate(names):
        spoke = Warrior(lab, gateway, number, **each_settings.get(name, {}))
        ends[name] = Site(spoke.host, spoke.address, f"{name}.example.org", [f"10.2.{number}.0/24"], spoke.charon)
        near = Site(gateway, GATEWAY, hub.identity, [f"10.1.{number + 1}.0/24"])
        options = {"esp": ESP_PFS, **(children or {}).get(name, {})}
        ends[name].charon.load(ends[name].conf(near, name, [f"{name}-lan"], **options))
        text += near.connection(ends[name], name, [f"{name}-lan"], **options)
    charon.load(swanctl_conf(text, secret("any")))
    for name in names:
        charon.initiate(f"{name}-lan")
    return hub, ends


def ikev1(lab):
    """A gateway of the older protocol: a branch with PSK, and a user who proves his name by XAuth."""
    gateway = road_gateway(lab)
    charon = Charon(gateway)
    branch, user = Warrior(lab, gateway, 0), Warrior(lab, gateway, 1)
    near = Site(gateway, GATEWAY, "gw.example.org", ["10.1.1.0/24"], charon)
    far = Site(branch.host, branch.address, "branch.example.org", ["10.2.1.0/24"], branch.charon)
    old = {"version": 1, "ike": IKE_V1}
    charon.load(ikev1_gateway_conf(near.connection(far, "branch", ["lan"], **old)))
    far.charon.load(far.conf(near, "branch", ["lan"], **old))
    far.charon.initiate("lan")
    user.dial("laptop.example.org", "carol", version=1)
    return near, far, user


def ikev1_gateway_conf(branch):
    road = road_connection(proves("psk", id="%any"), proves("xauth"), version=1, ike=IKE_V1)
    return swanctl_conf(branch + road, secret("any") + secret("login", "carol", kind="xauth"), ROAD_POOL)


def certified(lab):
    """A gateway with a branch, both with certificates, and three users on addresses of a pool, of whom one has left.

    The gateway knows two authorities and a certificate of its own that nobody asks for.
    """
    gateway = road_gateway(lab)
    charon, spoke = Charon(gateway), Warrior(lab, gateway, 0)
    authority = Authority(lab, "/C=DE/O=Example Works/CN=Root", key="rsa", serial="0x9f8e7d6c5b4a39281706f5e4d3c2b1a0")
    older = Authority(lab, "/O=Example Works/CN=Root of 2050", "older", days=30 * 365, serial="7")
    ours, theirs = Credentials(lab, "gateway-swanctl"), Credentials(lab, "branch-swanctl")
    for folder in (ours, theirs):
        folder.trust(authority)
    ours.trust(older)
    authority.issue(ours, "gw", "/C=DE/O=Example Works/OU=Net+OU=Ops/CN=gw.example.org", "gw.example.org", serial="0x80")
    authority.issue(ours, "spare", "/O=Café, Söhne/CN=spare", "spare.example.org", key="rsa", serial="0x1001")
    authority.issue(theirs, "branch", "/O=Example Works/CN=branch.example.org", "branch.example.org", serial="0xabcdef")
    near = Site(gateway, GATEWAY, "gw.example.org", ["10.1.1.0/24"], charon)
    far = Site(spoke.host, spoke.address, "branch.example.org", ["10.2.1.0/24"], spoke.charon)
    users = ["carol@example.org", "dave@example.org", "erin@example.org"]
    road = road_connection(proves("eap-md5", id="%any", eap_id="%any"))
    secrets = secret("gw", "gw.example.org") + "".join(secret(f"u{n}", user, kind="eap") for n, user in enumerate(users))
    charon.load(swanctl_conf(certified_connection(near, far, "gw") + road, secrets, ROAD_POOL), ours)
    near.credentials, near.authority = ours, authority
    far.charon.load(swanctl_conf(certified_connection(far, near, "branch"), ""), theirs)
    far.charon.initiate("lan")
    warriors = [Warrior(lab, gateway, number + 1) for number in range(len(users))]
    for warrior, user in zip(warriors, users):
        warrior.dial(user, user)
    warriors[-1].charon.swanctl("--terminate", "--ike", "home")
    return near, far, warriors


def certified_connection(near, far, certificate):
    """The tunnel of two sites that prove their names by certificates."""
    ends = [proves("pubkey", id=near.identity, certs=f"{certificate}.pem")], [proves("pubkey", id=far.identity)]
    lan = child("lan", near.networks[0], far.networks[0])
    return connection("branch", (near.address, far.address), *ends, lan)


def settle(seconds=1.0):
    """Lets acknowledgements arrive, so that the counters stand still."""
    time.sleep(seconds)
