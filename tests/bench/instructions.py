"""Instructions of a steady scrape in user space, counted by callgrind: the figures that hold on a noisy machine.

`instructions.py [BINARY]` prints a row for each work, measured as the difference between the first scrape and the third,
and for one more session as the difference between two sizes. The binary is the release build where none is named.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import inputs

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRAPES = (1, 3)
SECONDS = 120


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(what, condition):
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.05)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def collected(binary, folder, config, scrapes):
    """The instructions of a daemon that answers so many scrapes."""
    path, out, port = folder / "config.yaml", folder / "callgrind.out", free_port()
    path.write_text(config)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(binary), f"--config.file={path}",
               f"--web.listen-address=127.0.0.1:{port}"]
    daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the daemon", lambda: answers(port))
        for _ in range(scrapes):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
                text = answer.read().decode()
            if "target_up" not in text or re.search(r"target_up\{[^}]*\} 0", text):
                raise RuntimeError("a target could not be read")
            # What a thread does behind its answer belongs to the scrape, too.
            time.sleep(0.3)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(SECONDS)
    return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE).group(1))


def steady(binary, folder, config):
    first, last = (collected(binary, folder, config, scrapes) for scrapes in SCRAPES)
    return (last - first) // (SCRAPES[1] - SCRAPES[0])


def charon(folder, count):
    """A configuration that asks a replayed charon with so many IKE_SAs; gives the replay, too."""
    inputs.capture(count, folder / f"charon-{count}")
    path = folder / f"vici-{count}"
    replay = subprocess.Popen([ROOT / "target/release/examples/replay", path, folder / f"charon-{count}"])
    wait_for("the replay", path.exists)
    return f"vici_socket: {path}\n", replay


def openvpn(folder, count):
    path = folder / f"status-{count}"
    inputs.status(count, path)
    # The file's own date is old.
    return f"openvpn: [{{status: {path}, stale_after: 4000000000}}]\n"


def wireguard(folder, count):
    """A configuration that asks a WireGuard in user space with so many peers."""
    sockets_in = folder / f"wireguard-{count}"
    sockets_in.mkdir()
    inputs.UserSpace(sockets_in / "wg0.sock", inputs.wireguard(count))
    return f"wireguard: {{interfaces: [wg0], socket_folder: {sockets_in}, name_files: []}}\nmax_series: 0\n"


def held(count):
    """Listening sockets, held as long as the list is."""
    return [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]


def rows(binary, folder):
    sizes = {}
    for count in (20, 1000):
        config, replay = charon(folder, count)
        try:
            sizes[count] = steady(binary, folder, config)
        finally:
            replay.terminate()
            replay.wait()
    yield "20 IKE_SAs, whole scrape", sizes[20]
    yield "one more IKE_SA", (sizes[1000] - sizes[20]) // 980
    few, many = (steady(binary, folder, openvpn(folder, count)) for count in (100, 10_000))
    yield "one more OpenVPN client", (many - few) // 9900
    few, many = (steady(binary, folder, wireguard(folder, count)) for count in (100, 2000))
    yield "one more WireGuard peer", (many - few) // 1900
    config = inputs.rules()
    few = steady(binary, folder, config)
    sockets = held(500)
    yield "one more socket, 20 rules", (steady(binary, folder, config) - few) // len(sockets)


def main():
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/gateway-exporter").resolve()
    with tempfile.TemporaryDirectory() as folder:
        print("| work | instructions |\n|---|---|", flush=True)
        for work, count in rows(binary, pathlib.Path(folder)):
            print(f"| {work} | {count:,} |", flush=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
