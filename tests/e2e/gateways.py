"""Some gateways as an operator's dashboard would meet them: real daemons, most of them well, and each trouble once.

One has charon with a branch that is up (`paris`), one that never answers (`lyon`), users on a pool that is used up, and
a certificate that ends soon; the kernel drops what a policy forbids. The other has OpenVPN: a server with clients, one
that was killed, and a client's own statistics, and WireGuard with a peer that is up. Each watches sockets that are there and others that are not, and one of
the sources can't be read. A third gateway answers nothing. A real Prometheus with the rules of contrib scrapes all three.
"""

import subprocess

from charon import (
    GATEWAY, ROAD_POOL, Charon, Site, Warrior, connection, child, proves, road_connection, road_gateway, secret,
    swanctl_conf, traffic,
)
from credentials import Authority, Credentials
from exporter import ROOT, Exporter, free_port
from openvpn import Server, Site as OpenVpn
from prometheus import Prometheus
from wireguard_go import Tunnel

RULES = [ROOT / "contrib" / "prometheus" / name for name in ("alerts.yaml", "recording.yaml")]
USERS = ("ann@example.org", "ben@example.org")
IPSEC_CONF = "".join(f"conn {name}\n\tright=192.0.2.{end}\n\tauto=start\n\n" for name, end in (("paris", 2), ("lyon", 250)))

CHARON_CONFIG = """\
server_name: hub
vici_socket: '{vici}'
ipsec_config: {ipsec_conf}
ipsec_command: [nsenter, --target, '{pid}', --mount, --, /usr/lib/ipsec/stroke, statusall]  # as `ipsec` does
sockets:
  - {{name: ike, port: 500, protocol: udp, status: listen}}
  - {{name: database, dstHost: 10.2.1.1, dstPort: 5432, status: established}}
"""
OPENVPN_CONFIG = """\
server_name: road
vici_socket: '{nowhere}'
openvpn:
  - {{name: office, status: '{office}', protocol: udp}}
  - {{name: killed, status: '{killed}', protocol: tcp, stale_after: 2}}
  - {{name: uplink, status: '{uplink}', protocol: udp}}
wireguard: {{interfaces: [{wireguard}]}}
sockets:
  - {{name: syslog, port: 6514, status: listen}}
"""


class Gateways:
    """All of it, up and scraped; it ends with the lab."""

    def __init__(self, lab):
        self.lab = lab
        self._charons()
        self._openvpns()
        self.tunnel = Tunnel(lab)
        self.exporters = [self._watch_charon(), self._watch_openvpn()]
        ports = [*(exporter.port for exporter in self.exporters), free_port(self.hub)]
        jobs = {f"gateway-{name}": (f"127.0.0.1:{port}", "/prom") for name, port in zip(("hub", "road", "gone"), ports)}
        self.prometheus = Prometheus(lab, jobs, host=self.hub, rules=RULES)
        for job in list(jobs)[:2]:
            self.prometheus.await_up(job)

    def _charons(self):
        self.hub = road_gateway(self.lab)
        self.charon = Charon(self.hub)
        far = Warrior(self.lab, self.hub, 0)
        near = Site(self.hub, GATEWAY, "gw.example.org", ["10.1.1.0/24"], self.charon)
        self.branch = Site(far.host, far.address, "paris.example.org", ["10.2.1.0/24"], far.charon)
        authority = Authority(self.lab, "/O=Example Works/CN=Root")
        ours, theirs = Credentials(self.lab, "hub-swanctl"), Credentials(self.lab, "paris-swanctl")
        for folder, name, days in ((ours, "gw", 10), (theirs, "paris", 365)):
            folder.trust(authority)
            authority.issue(folder, name, f"/O=Example Works/CN={name}", f"{name}.example.org", days=days, serial=f"{days}")
        lyon = connection(
            "lyon", (GATEWAY, "192.0.2.250"), [proves("psk", id="gw.example.org")], [proves("psk", id="lyon.example.org")],
            child("lyon", "10.1.2.0/24", "10.2.2.0/24"),
        )
        road = road_connection(proves("eap-md5", id="%any", eap_id="%any"))
        secrets = secret("gw", "gw.example.org") + "".join(secret(f"u{n}", user, kind="eap") for n, user in enumerate(USERS))
        pool = ROAD_POOL.replace("10.3.0.0/24", "10.3.0.1-10.3.0.2")
        self.charon.load(swanctl_conf(paris(near, self.branch, "gw") + lyon + road, secrets, pool), ours)
        self.branch.charon.load(swanctl_conf(paris(self.branch, near, "paris"), ""), theirs)
        self.branch.charon.initiate("paris")
        self.warriors = [Warrior(self.lab, self.hub, number + 1) for number in range(len(USERS))]
        for warrior, user in zip(self.warriors, USERS):
            warrior.dial(user, user)
        self.hub.run("ip", "xfrm", "policy", "add", "dst", "10.9.9.0/24", "dir", "out", "action", "block")
        self.hub.run("ip", "route", "add", "10.9.9.0/24", "via", far.address)

    def _openvpns(self):
        self.road = OpenVpn(self.lab, "road")
        self.server = self.road.server()
        self.killed = Server(self.road.gateway, self.road.pki, "killed", proto="tcp-server", port=1195, device="tun9")
        self.clients = [self.road.begin(name) for name in ("Front Desk", "laptop")]
        for client in self.clients:
            client.await_connected()
        self.killed.kill()

    def _watch_charon(self):
        config = CHARON_CONFIG.format(
            vici=self.charon.uri, pid=self.charon.process.pid, ipsec_conf=self.lab.write("ipsec.conf", IPSEC_CONF)
        )
        return Exporter(self.lab, config, host=self.hub, name="hub")

    def _watch_openvpn(self):
        config = OPENVPN_CONFIG.format(
            nowhere=self.lab.path("no-charon"), office=self.server.status, killed=self.killed.status,
            uplink=self.clients[0].status, wireguard=self.tunnel.names[0],
        )
        return Exporter(self.lab, config, host=self.hub, name="road")

    def rekey(self):
        """Puts a new CHILD_SA in the place of the branch's."""
        self.charon.swanctl("--rekey", "--child", "paris")

    def traffic(self, size):
        """Some traffic through everything: `size` bytes through each tunnel, and packets that a policy forbids."""
        for number, warrior in enumerate(self.warriors):
            warrior.sends(self.hub, size * (number + 1))
        for number, client in enumerate(self.clients):
            client.send(max(1, size // 1000) * (number + 1))
        for near, far, source, address in (
            (self.hub, self.branch.host, "10.1.1.1", "10.2.1.1"), (self.branch.host, self.hub, "10.2.1.1", "10.1.1.1"),
        ):
            traffic(near, far, address, size, source=source)
        self.tunnel.send()
        forbidden = "for i in 1 2 3 4 5; do echo x | socat -u - UDP-SENDTO:10.9.9.1:9; done"
        subprocess.run(self.hub.command("sh", "-c", forbidden), stdin=subprocess.DEVNULL, capture_output=True, check=False)


def paris(near, far, certificate):
    """The tunnel to the branch as one of its ends knows it; the child is called as the connection, as ipsec.conf has it."""
    proofs = [proves("pubkey", id=near.identity, certs=f"{certificate}.pem")]
    inner = child("paris", near.networks[0], far.networks[0])
    return connection("paris", (near.address, far.address), proofs, [proves("pubkey", id=far.identity)], inner)

