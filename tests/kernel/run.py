"""The static binary beside the kernel's own WireGuard, in a virtual machine that Debian's kernel boots: `make kernel-test`.

This machine's kernel need not have WireGuard, and nothing of it is touched: qemu emulates the processor. The daemon must
say what `wg show all dump` says, also of interfaces that are made anew, and no key may be in what it says, logs or has in
memory. `run.py FOLDER` also writes what the kernel answered into that folder, for the fixtures.
"""

import base64
import glob
import gzip
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "target" / "kernel"
STATIC = ROOT / "target" / "cross" / "bin" / "x86_64-unknown-linux-musl" / "gateway-exporter"
BINARY = pathlib.Path(os.environ.get("GATEWAY_EXPORTER", STATIC))
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import wireguard  # noqa: E402 (found by the line above)
from exporter import read_exposition  # noqa: E402

# So long may the machine take on one that does much else.
PATIENCE = 600
# The fixtures are looked at some seconds after this.
START = "2026-11-20T13:19:30"
# Peers of an interface that comes in several messages, and networks of a peer that does.
PEERS = 150
NETWORKS = 300


def kernel():
    """Debian's newest kernel, unpacked: its image and its folder of modules."""
    depends = subprocess.run(("apt-cache", "depends", "linux-image-amd64"), check=True, capture_output=True, text=True)
    package = re.search(r"Depends: (linux-image-\S+)", depends.stdout).group(1)
    folder = WORK / package
    if not folder.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=WORK) as scratch:
            subprocess.run(("apt-get", "download", "-qq", package), check=True, cwd=scratch, stderr=subprocess.DEVNULL)
            subprocess.run(("dpkg-deb", "-x", *glob.glob(f"{scratch}/*.deb"), f"{scratch}/root"), check=True)
            os.rename(f"{scratch}/root", folder)
    [image] = folder.glob("boot/vmlinuz-*")
    [modules] = folder.glob("lib/modules/*")
    return image, modules


def with_dependencies(modules, wanted):
    """The files of a module and of all that it needs, in the order in which they are loaded."""
    paths = {path.stem.replace("-", "_"): path for path in modules.rglob("*.ko")}
    order = []

    def add(name):
        depends = re.search(rb"\0depends=([^\0]*)\0", paths[name].read_bytes()).group(1).decode()
        for other in filter(None, depends.split(",")):
            add(other.replace("-", "_"))
        if paths[name] not in order:
            order.append(paths[name])

    add(wanted)
    return order


def key(name):
    """A private key that everybody may know."""
    return wireguard.private_key(hashlib.sha256(f"gateway-exporter {name}".encode()).digest())


def interface(private, port, mark=""):
    return f"[Interface]\nPrivateKey = {private}\nListenPort = {port}\n{mark}"


def peer(public, networks, more=""):
    return f"[Peer]\nPublicKey = {public}\nAllowedIPs = {networks}\n{more}"


def configurations():
    """The files of /etc in the machine; two interfaces that meet over the loopback device, one with many peers."""
    zero, one, shared = key("wg0"), key("wg1"), key("preshared")
    shared = f"PresharedKey = {shared}\n"
    sleeping = peer(wireguard.public_key(key("sleeping")), "10.9.0.2/32, 2001:db8:9::/48")
    long = ", ".join(f"10.20.{number // 256}.{number % 256}/32" for number in range(NETWORKS))
    peers = "".join(peer(wireguard.public_key(key(f"peer {number}")), f"10.10.{number // 256}.{number % 256}/32")
                    for number in range(PEERS))
    return {
        "wg0.conf": interface(zero, 51820, "FwMark = 0x1234\n") + sleeping + peer(
            wireguard.public_key(one), "10.7.1.0/24, 10.8.0.0/16",
            f"Endpoint = 127.0.0.1:51821\nPersistentKeepalive = 25\n{shared}"),
        "wg1.conf": interface(one, 51821) + peer(wireguard.public_key(zero), "10.7.0.0/24", shared),
        "many.conf": interface(key("many"), 51822) + peers + peer(
            wireguard.public_key(key("long")), long, "Endpoint = [2001:db8::7]:7\n"),
        "named.yaml": "wireguard: {interfaces: [wg0]}\n",
        "all.yaml": f"wireguard:\n  peers:\n    - public_key: {wireguard.public_key(key('sleeping'))}\n"
                    f"      name: asleep\n      expected: true\n",
        "passwd": "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    }


def image_of(modules, folder):
    """An initramfs with everything that init.sh asks for."""
    root = folder / "root"
    for name in ("bin", "dev", "etc", "lib", "lib64", "modules", "proc", "run", "sys", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox" if os.path.exists("/bin/busybox") else "/usr/bin/busybox", root / "bin" / "busybox")
    for name in subprocess.run((root / "bin" / "busybox", "--list"), check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    subprocess.run(("gcc", "-O1", "-static", "-o", root / "bin" / "record", HERE / "record.c"), check=True)
    for program in (BINARY, shutil.which("wg")):
        shutil.copy(program, root / "bin")
        # Of a static one there are none.
        needed = subprocess.run(("ldd", program), check=False, capture_output=True, text=True).stdout
        for library in re.findall(r"(/lib\S+)", needed):
            (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, root / library[1:])
    files = with_dependencies(modules, "wireguard")
    for file in files:
        shutil.copy(file, root / "modules")
    (root / "modules" / "order").write_text("\n".join(file.stem for file in files))
    for name, text in configurations().items():
        (root / "etc" / name).write_text(text)
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = subprocess.run(("busybox", "cpio", "-o", "-H", "newc"), input=names.encode(), check=True, cwd=root,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    (folder / "initrd").write_bytes(gzip.compress(packed, 1))
    return folder / "initrd"


def boot(image, initrd):
    """Runs the machine to its end; gives everything that it put, by name."""
    command = ("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "384", "-nographic", "-no-reboot", "-net", "none",
               "-rtc", f"base={START}", "-kernel", image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 rdinit=/init")
    log = WORK / "console"
    with log.open("wb") as console:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=PATIENCE, check=False)
    text = log.read_text(errors="replace").replace("\r", "")
    if "\nDONE\n" not in text:
        sys.exit(f"kernel-test: the machine ended early:\n{text[-4000:]}")
    found = re.findall(r"BEGIN (\S+)\n(.*?)END \1\n", text, re.DOTALL)
    return {name: gzip.decompress(base64.b64decode(packed)) for name, packed in found}


def check(said):
    """Compares what the daemon said with what wg said, and looks for keys."""
    for name, words in (("no-module", "the kernel has no WireGuard"), ("no-interface", "there is no such WireGuard interface"),
                        ("no-capability", "permission denied: CAP_NET_ADMIN is needed")):
        assert words in said[name].decode(), said[name].decode()
    public = wireguard.public_key(key("sleeping"))
    before = None
    for name in ("first", "anew"):
        dump = said[f"{name}-dump"].decode()
        wireguard.compare(dump, read_exposition(said[f"{name}-metrics"]), names={public: "asleep"}, expected={public},
                          totals=before)
        before = before or wireguard.totals(dump, "wg0")
    gone = read_exposition(said["gone"])
    assert not any(("interface", "wg0") in labels for labels in gone["wireguard_peers"].samples), "wg0 is gone"
    secrets = [key(name) for name in ("wg0", "wg1", "many", "preshared")]
    for name, content in said.items():
        if name.endswith("-dump") or name.startswith("device-"):
            continue
        for secret in secrets:
            wireguard.assert_absent(secret, content, name)
    assert said["memory"].count(wireguard.raw(public)) > 0, "the memory was read: public keys are in it"


def main():
    missing = [tool for tool in ("qemu-system-x86_64", "busybox", "wg", "gcc", "ldd") if not shutil.which(tool)]
    if not BINARY.exists():
        missing.append("contrib/cross.sh x86_64")
    if missing:
        print(f"SKIPPED: kernel-test needs {', '.join(missing)}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    if sys.argv[1:2] == ["--again"]:
        said = {path.name: path.read_bytes() for path in pathlib.Path(sys.argv[2]).iterdir()}
        return check(said)
    image, modules = kernel()
    with tempfile.TemporaryDirectory() as folder:
        said = boot(image, image_of(modules, pathlib.Path(folder)))
    if len(sys.argv) > 1:
        for name, content in said.items():
            pathlib.Path(sys.argv[1], name).write_bytes(content)
    check(said)
    print("kernel-test: the kernel's WireGuard and the daemon say the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
