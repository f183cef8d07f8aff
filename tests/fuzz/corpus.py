"""Makes the corpus from the fixtures: `corpus.py FOLDER` writes a folder of inputs for each target."""

import pathlib
import struct
import sys

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
DOCS = FIXTURES.parent / "docs"
HEADS = (
    b"GET /metrics?collect[]=openvpn&collect%5b%5D=a+b HTTP/1.1\r\nHost: gateway:9234\r\n"
    b"X-Prometheus-Scrape-Timeout-Seconds: 2.5\r\nAccept-Encoding: gzip\r\n\r\n",
    b"HEAD http://gateway/sessions HTTP/1.0\n\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)
MANAGEMENT = [
    b">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n"
    b"OpenVPN Version: OpenVPN 2.6.14 x86_64\r\nEND\r\n1795180820,CONNECTED,SUCCESS,10.8.0.1,,,,\r\nEND\r\n"
    b"TITLE\tOpenVPN 2.6.14 x\r\n>BYTECOUNT_CLI:0,1,2\r\nTIME\tx\t1795180825\r\nEND\r\n",
    b">INFO:x\r\n>HOLD:Waiting for hold release:0\r\nEND\r\nEND\r\nERROR: no\r\n",
    b"ENTER PASSWORD:SUCCESS: password is correct\r\n>INFO:x\r\n",
]
UCI = (
    b"config wireguard_wg0 'a'\n\toption description \"x \\\"y\"\n"
    b"\toption public_key 'AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE='\n"
)


def segments(capture):
    while len(capture) >= 4:
        end = 4 + struct.unpack(">I", capture[:4])[0]
        yield capture[4:end]
        capture = capture[end:]


def files(*patterns):
    return [path.read_bytes() for pattern in patterns for path in sorted(FIXTURES.glob(pattern))]


def recordings(source):
    """What a daemon said in each case, in its order."""
    return [[path.read_bytes() for path in sorted(case.glob("said-*"))] for case in sorted((FIXTURES / source).iterdir())]


def yaml_of_docs():
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md")))
    return [block.split("```")[0].encode() for block in pages.split("```yaml\n")[1:]]


CORPUS = {
    "vici": [segment for capture in files("strongswan/*/*.vici") for segment in segments(capture)],
    "ipsec_conf": files("ipsec/*/ipsec.conf", "ipsec/*/ipsec.d/*"),
    "statusall": files("ipsec/*/status*", "libreswan/*/*status"),
    "openvpn_status": files("openvpn/*/status"),
    "openvpn_management": MANAGEMENT + [b"".join(said) for said in recordings("openvpn-management")],
    "proc_net": files("sockets/*/tcp*", "sockets/*/udp*", "sockets/*/*/tcp*", "sockets/*/*/udp*", "kernel/*/xfrm_stat"),
    "wireguard_netlink": files("wireguard/*/*.netlink*", "wireguard/*/links", "wireguard/*/families"),
    "wireguard_uapi": files("wireguard/*/*.uapi", "wireguard/*/names.conf") + [UCI],
    "http_head": HEADS,
    "config": yaml_of_docs() + files("sockets/*/*.y*ml"),
    "exposition": files("openvpn/awkward-names/status") + [b'"\\\n\xff', bytes(range(256))],
}

for target, inputs in CORPUS.items():
    folder = pathlib.Path(sys.argv[1], target)
    folder.mkdir(parents=True, exist_ok=True)
    if not inputs:
        sys.exit(f"no fixture for {target}")
    for number, content in enumerate(inputs):
        # Long captures say nothing that their beginning does not, and slow every step down.
        (folder / f"fixture-{number}").write_bytes(content[:512])
