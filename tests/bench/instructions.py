"""What a steady scrape costs, in figures that hold on a busy machine: instructions in user space and calls of the allocator,
counted by callgrind, and system calls, counted by strace.

`instructions.py [--check] [BINARY]` prints a row for each work, measured as the difference between the first scrape and the
third (of system calls between the second and the tenth), and for one more session as the difference between two sizes. The
binary is the release build where none is named.
With --check a row above its budget is an error. Budgets are 5 % above what was reached; those of system calls and of
sockets, which vary, are 17 % and 9 %.
"""

import os
import pathlib
import re
import shutil
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
# How many threads start for the first scrape, and are kept, is chance, and how they end: 20 system calls.
SCRAPES_OF_CALLS = (2, 10)
SECONDS = 120
ALLOCATOR = ("malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc")

# What was reached on x86_64 with glibc, and 5 %. How often threads wait for each other is chance.
BUDGETS = {
    "20 IKE_SAs, whole scrape": 482_600,
    "20 IKE_SAs, calls of the allocator": 211,
    "20 IKE_SAs, system calls": 55,
    "one more IKE_SA": 13_350,
    "one more OpenVPN client": 3_200,
    "one more WireGuard peer": 6_250,
    "one more socket, 20 rules": 300,
}


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


def run(tool, binary, folder, config, scrapes):
    """Runs a daemon under a tool for so many scrapes."""
    path, port = folder / "config.yaml", free_port()
    path.write_text(config)
    daemon = subprocess.Popen([*tool, str(binary), f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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


def collected(binary, folder, config, scrapes):
    """The instructions of a daemon that answers so many scrapes, and its calls of the allocator."""
    out = folder / "callgrind.out"
    run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"], binary, folder, config, scrapes)
    text = out.read_text()
    # A function's name stands where its number is first used.
    names = dict(re.findall(r"^c?fn=\((\d+)\) (.+)$", text, re.MULTILINE))
    calls = re.findall(r"^cfn=\((\d+)\).*\ncalls=(\d+)", text, re.MULTILINE)
    allocations = sum(int(count) for number, count in calls if names[number] in ALLOCATOR)
    return int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE).group(1)), allocations


def system_calls(binary, folder, config, scrapes):
    out = folder / "strace.out"
    # strace hands on no signal to what it runs, but ends with it. Short numbers of processes are padded with spaces.
    run(["strace", "-D", "-f", "-o", str(out)], binary, folder, config, scrapes)
    # The first line is the daemon's own.
    wait_for("the end of strace", lambda: re.search(r"\A(\d+) (?:.*\n)*\1 +\+\+\+ ", out.read_text()))
    return sum(not re.search(r" resumed>|^\d+ +(?:\+\+\+|---)", line) for line in out.read_text().splitlines())


def difference(measured, numbers=SCRAPES):
    """What one steady scrape adds."""
    first, last = map(measured, numbers)
    return (last - first) // (numbers[1] - numbers[0])


def steady(binary, folder, config):
    return difference(lambda scrapes: collected(binary, folder, config, scrapes)[0])


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
    """Each work and what it costs."""
    sizes = {}
    for count in (20, 500):
        config, replay = charon(folder, count)
        try:
            (first, few), (last, many) = (collected(binary, folder, config, scrapes) for scrapes in SCRAPES)
            sizes[count] = (last - first) // (SCRAPES[1] - SCRAPES[0])
            if count == 20:
                yield "20 IKE_SAs, whole scrape", sizes[count]
                yield "20 IKE_SAs, calls of the allocator", (many - few) // (SCRAPES[1] - SCRAPES[0])
                calls = lambda scrapes: system_calls(binary, folder, config, scrapes)
                yield "20 IKE_SAs, system calls", difference(calls, SCRAPES_OF_CALLS)
        finally:
            replay.terminate()
            replay.wait()
    yield "one more IKE_SA", (sizes[500] - sizes[20]) // 480
    few, many = (steady(binary, folder, openvpn(folder, count)) for count in (100, 3000))
    yield "one more OpenVPN client", (many - few) // 2900
    few, many = (steady(binary, folder, wireguard(folder, count)) for count in (100, 2000))
    yield "one more WireGuard peer", (many - few) // 1900
    config = inputs.rules()
    few = steady(binary, folder, config)
    sockets = held(500)
    yield "one more socket, 20 rules", (steady(binary, folder, config) - few) // len(sockets)


def table(binary):
    """Prints the rows; gives those above their budgets."""
    above = []
    with tempfile.TemporaryDirectory() as folder:
        print("| work | figure | budget |\n|---|---|---|", flush=True)
        for work, count in rows(binary.resolve(), pathlib.Path(folder)):
            print(f"| {work} | {count:,} | {BUDGETS[work]:,} |", flush=True)
            if count <= 0:
                raise RuntimeError(f"{work} was not measured")
            if count > BUDGETS[work]:
                above.append(work)
    return above


def leave_network():
    """Goes on in a network of its own, where no sockets of others come and go; that needs root."""
    if os.geteuid() == 0 and "IN_NETWORK" not in os.environ:
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"', sys.executable, *sys.argv]
        os.execvpe("unshare", command, {**os.environ, "IN_NETWORK": "1"})


def main():
    leave_network()
    missing = [tool for tool in ("strace", "valgrind") if not shutil.which(tool)]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; tests/setup.sh installs what the tests need")
    words = sys.argv[1:]
    is_check = "--check" in words
    binary = next((word for word in words if word != "--check"), ROOT / "target/release/gateway-exporter")
    above = table(pathlib.Path(binary))
    if is_check and above:
        sys.exit(f"above the budget: {', '.join(above)}")


if __name__ == "__main__":
    main()
