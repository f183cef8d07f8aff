"""Makes the captures of fixtures/wireguard anew: the kernel's from the virtual machine, user space's from wireguard-go."""

import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from host import Lab
from wireguard_go import SOCKETS, Tunnel, key

import wireguard

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures" / "wireguard"
# The handshake is a minute before the moment at which the fixtures are looked at.
HANDSHAKE = "last_handshake_time_sec=1795180765"


def kernel():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run((sys.executable, ROOT / "tests" / "kernel" / "run.py", folder), check=True)
        for name, case, file in (("device-wg0", "two-interfaces", "wg0.netlink"), ("device-wg1", "two-interfaces", "wg1.netlink"),
                                 ("links", "two-interfaces", "links"), ("families", "two-interfaces", "families"),
                                 ("device-many", "several-messages", "many.netlink")):
            (FIXTURES / case / file).write_bytes((pathlib.Path(folder) / name).read_bytes())


def user_space():
    with Lab() as lab:
        tunnel = Tunnel(lab)
        tunnel.send()
        answer = ask(SOCKETS / f"{tunnel.names[0]}.sock")
    answer = re.sub(r"last_handshake_time_sec=[1-9]\d*", HANDSHAKE, answer)
    (FIXTURES / "user-space" / "wg0.uapi").write_text(answer)
    public = wireguard.public_key(key("right"))
    (FIXTURES / "user-space" / "names.conf").write_text(f"[Peer]\n# friendly_name = right \"side\"\nPublicKey = {public}\n")
    (FIXTURES / "user-space" / "expected").write_text(wireguard.public_key(key("absent")) + "\n")


def ask(path):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(10)
        stream.connect(str(path))
        stream.sendall(b"get=1\n\n")
        answer = b""
        while not answer.endswith(b"\n\n"):
            answer += stream.recv(65536)
    return answer.decode()


if __name__ == "__main__":
    user_space()
    if sys.argv[1:] != ["user-space"]:
        kernel()
