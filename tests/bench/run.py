"""Measures the exporter against the limits of the machine, side by side in one run, and prints one table.

`run.py` is the table of `make bench`; `run.py figures` the few numbers of `make figures`. Both want release builds of
`gateway-exporter` and of the examples `replay` and `bench`. A time is the best of several rounds, in which the
exporter and its limit take turns. On a machine that does much else the clock says more about that than about us, so
beside each ratio of times stands that of the times on a CPU, where the limit's other end (a charon, a pipe's reader)
does not count. The clock decides.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing

import inputs

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import host  # noqa: E402 (found by the line above)

RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
STATIC = ROOT / "target" / "cross" / "bin" / "x86_64-unknown-linux-musl" / "gateway-exporter"
ROUNDS = 15
SOCKETS = 40_000
MOST_SOCKETS = 100_000
SHARE = 10_000
SIZES = (100, 1000, 10_000, 100_000)
MIB = 1024 * 1024
BLOCK = bytearray(1 << 18)


class Time(typing.NamedTuple):
    """Seconds by the clock, and on a CPU."""

    wall: float
    cpu: float

    def __add__(self, other):
        return Time(self.wall + other.wall, self.cpu + other.cpu)


class Process:
    """A process of the bench, ended with it."""

    def __init__(self, *command, **options):
        self.process = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL, **options)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Exporter(Process):
    """A daemon and what it needs of the machine."""

    def __init__(self, *command):
        self.port = free_port()
        super().__init__(*(str(word).replace("PORT", str(self.port)) for word in command))
        until(lambda: socket.create_connection(("127.0.0.1", self.port)).close() or True)

    def scrape(self):
        """How long the whole scrape took, and how many bytes came."""
        started = time.perf_counter()
        total, head = 0, b""
        with socket.create_connection(("127.0.0.1", self.port)) as stream:
            stream.sendall(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
                           b"X-Prometheus-Scrape-Timeout-Seconds: 30\r\n\r\n")
            while count := stream.recv_into(BLOCK):
                head = head or bytes(BLOCK[:64])
                total += count
        taken = time.perf_counter() - started
        assert head.startswith(b"HTTP/1.1 200"), head
        return taken, total

    def text(self):
        with socket.create_connection(("127.0.0.1", self.port)) as stream:
            stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: bench\r\n\r\n")
            return b"".join(iter(lambda: stream.recv(65536), b"")).decode()

    def status(self, key):
        return status(f"/proc/{self.pid}/status", key)

    def cost(self):
        """The time of a scrape, by the clock and on a CPU."""
        # clock_getcpuclockid(3) for another process.
        clock = ~self.pid << 3 | 2
        before = time.clock_gettime(clock)
        taken, _ = self.scrape()
        return Time(taken, time.clock_gettime(clock) - before)

    def peak(self, work):
        """The most memory in RAM while `work` is done, in bytes; what it gives is dropped."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        work()
        return self.status("VmHWM:") * 1024

    def wakeups(self):
        """How often its threads went to sleep so far: each wake-up ends in that."""
        tasks = pathlib.Path(f"/proc/{self.pid}/task").iterdir()
        return sum(status(task / "status", "voluntary_ctxt_switches:") for task in tasks)


def status(path, key):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise KeyError(key)


def daemon(config, text, binary=None):
    config.write_text(text)
    binary = binary or RELEASE / "gateway-exporter"
    return Exporter(binary, "--web.listen-address=127.0.0.1:PORT", f"--config.file={config}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(ready, patience=10):
    end = time.monotonic() + patience
    while True:
        try:
            if ready():
                return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.01)


def limit(*words):
    """What the machine needs for a piece of the work, in seconds."""
    command = [str(RELEASE / "examples" / "bench"), *map(str, words)]
    return Time(*map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))


def best(*works, rounds=ROUNDS):
    """The best times of each, taking turns."""
    times = [[work() for work in works] for _ in range(rounds)]
    return [Time(min(one.wall for one in column), min(one.cpu for one in column)) for column in zip(*times)]


class Table:
    """The rows, and which of them were missed or not measured."""

    def __init__(self):
        self.missed, self.skipped = [], []
        load, cores = os.getloadavg()[0], os.cpu_count()
        print(f"{cores} cores, load {load:.1f}" + ("; too busy for the clock to say much" if load > cores / 2 else ""))
        print(f"{'work':<56}{'this build':>12}{'limit':>12}{'ratio':>8}{'on CPU':>8}{'allowed':>9}")

    def times(self, work, mine, machine, allowed):
        clock, cpu = mine.wall / machine.wall, mine.cpu / machine.cpu
        self.print(work, ms(mine.wall), ms(machine.wall), clock, f"{cpu:.2f}", allowed)

    def row(self, work, mine, machine, allowed, form):
        ratio = mine / machine
        self.print(work, form(mine), form(machine), ratio, "", allowed)

    def print(self, work, mine, machine, ratio, cpu, allowed):
        missed = "" if ratio <= allowed else "  missed"
        print(f"{work:<56}{mine:>12}{machine:>12}{ratio:>8.2f}{cpu:>8}{allowed:>9.2f}{missed}", flush=True)
        if missed:
            self.missed.append(f"missed: {work}: {mine}, {ratio:.2f} times the limit where {allowed:.2f} is allowed")

    def skip(self, work, needs):
        print(f"{work:<56}  NOT MEASURED: needs {needs}", flush=True)
        self.skipped.append(f"NOT MEASURED: {work}: needs {needs}")

    def end(self):
        """Whether all was measured that must be: in CI, every row."""
        print("\n".join(self.missed) or ("every measured row is met" if self.skipped else "every row is met"))
        print("".join(f"{line}\n" for line in self.skipped), end="", file=sys.stderr)
        return not (self.skipped and os.environ.get("CI"))


def ms(seconds):
    return f"{seconds * 1e3:.1f} ms"


def mib(count):
    return f"{count / MIB:.2f} MiB"


def replay(folder, count):
    size = inputs.capture(count, folder / "capture")
    vici = folder / "vici"
    vici.unlink(missing_ok=True)
    charon = Process(RELEASE / "examples" / "replay", vici, folder / "capture")
    until(vici.is_socket)
    return charon, vici, size


def strongswan(folder, count):
    """Bytes in and out, and the times: scrape, drain, pipe; the peak memory.

    What the limit is depends on how the stand-in for charon sends: as charon does, each packet's length and its body by
    a call of their own. From one buffer 10,000 IKE_SAs would be drained in 2 ms instead of 26.
    """
    charon, vici, size = replay(folder, count)
    with charon, daemon(folder / "vici.yaml", f"vici_socket: {vici}\nmax_series: 0\n") as exporter:
        peak = exporter.peak(lambda: warm(exporter))
        out = exporter.scrape()[1]
        assert f"strongswan_number_of_ikes_connected {count}\n" in exporter.text()
        times = best(exporter.cost, lambda: limit("drain", vici), lambda: limit("pipe", out))
    return size, out, times, peak


def warm(exporter):
    for _ in range(3):
        exporter.scrape()
        # An answer of 100,000 SAs is more than all answers together may hold; its memory is given back after its end.
        time.sleep(0.2)


def openvpn(folder, count):
    path = folder / "server.status"
    size = inputs.status(count, path)
    time.sleep(0.05)
    with daemon(folder / "openvpn.yaml", f"openvpn:\n  - status: {path}\nmax_series: 0\n") as exporter:
        peak = exporter.peak(lambda: warm(exporter))
        out = exporter.scrape()[1]
        assert f"ovpn_sessions_total {count}\n" in exporter.text()
        times = best(exporter.cost, lambda: limit("load", path), lambda: limit("pipe", out))
    return path, size, times, peak


def ipsec(folder, count):
    inputs.tunnels(count, folder / "ipsec")
    config, command = folder / "ipsec" / "ipsec.conf", f"[cat, {folder / 'ipsec' / 'statusall'}]"
    with daemon(folder / "ipsec.yaml", f"ipsec_config: {config}\nipsec_command: {command}\n") as exporter:
        peak = exporter.peak(lambda: warm(exporter))
        assert exporter.text().count("\nipsec_up{") == count
        [taken] = best(exporter.cost)
    return taken, peak


def wireguard(folder, count):
    """The time of a scrape and the peak memory, where WireGuard answers at once."""
    sockets_in = folder / f"wireguard-{count}"
    sockets_in.mkdir()
    inputs.UserSpace(sockets_in / "wg0.sock", inputs.wireguard(count))
    config = f"wireguard: {{interfaces: [wg0], socket_folder: {sockets_in}, name_files: []}}\nmax_series: 0\n"
    with daemon(folder / "wireguard.yaml", config) as exporter:
        peak = exporter.peak(lambda: warm(exporter))
        assert f'wireguard_peers{{interface="wg0"}} {count}\n' in exporter.text()
        [taken] = best(exporter.cost)
    return taken, peak


def real_wireguard(folder, count):
    """The bytes of the answer and the times (scrape, drain, pipe) beside a real wireguard-go, which takes most of them."""
    name = f"gwxb{os.getpid() % 100000}"
    with host.Lab() as lab:
        machine = lab.host("bench")
        machine.start("wireguard-go", "-f", name)
        path = pathlib.Path("/var/run/wireguard", f"{name}.sock")
        until(path.stat)
        machine.run("wg", "setconf", name, lab.write("peers", inputs.wireguard_peers(count)))
        config = f"wireguard: {{interfaces: [{name}], name_files: []}}\nmax_series: 0\n"
        with daemon(folder / "wireguard.yaml", config) as exporter:
            out = exporter.scrape()[1]
            assert f'wireguard_peers{{interface="{name}"}} {count}\n' in exporter.text()
            return out, best(exporter.cost, lambda: limit("uapi", path), lambda: limit("pipe", out))


class Held:
    """Real sockets, held open by processes that each hold fewer than one may."""

    def __init__(self, most):
        self.processes = [Process(sys.executable, pathlib.Path(__file__).parent / "hold.py", 20_000 + 4 * number,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                          for number in range(-(-most // SHARE))]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.__exit__()

    def hold(self, count):
        for process in self.processes:
            process.process.stdin.write(f"{count // len(self.processes)}\n")
            process.process.stdin.flush()
        for process in self.processes:
            assert process.process.stdout.readline() == "ready\n", "the sockets are held"


def sockets(folder, held, count, through_proc=False, status_word=None):
    """The time and the peak memory of a scrape, and the time to read the tables that the rules are about."""
    held.hold(count)
    config = folder / "sockets.yaml"
    text = inputs.rules(status_word)
    if through_proc:
        # Under another name it is somebody's copy: the kernel is not asked instead.
        link = folder / "proc"
        if not link.is_symlink():
            link.symlink_to("/proc")
        config.write_text(text)
        exporter = Exporter(RELEASE / "examples" / "bench", "serve", "127.0.0.1:PORT", config, link)
    else:
        exporter = daemon(config, text)
    with exporter:
        peak = exporter.peak(lambda: warm(exporter))
        reading = lambda: limit("read", "/proc/net/tcp") + limit("read", "/proc/net/tcp6")
        taken, reading = best(exporter.cost, reading)
    return taken, reading, peak


def growth(table, name, sizes, measure):
    points = [measure(count) for count in sizes]
    for (few, many), (before, after) in zip(zip(sizes, sizes[1:]), zip(points, points[1:])):
        table.times(f"{name}, {few} to {many}: time", after[0], before[0], 11)
        table.row(f"{name}, {few} to {many}: memory", after[1], before[1], 11, mib)


def idle(table, folder):
    config = folder / "idle.yaml"
    # The limit is for the static binary, which is what routers get.
    with daemon(config, "vici_socket: /run/charon.vici\n", STATIC) as exporter:
        time.sleep(1)
        before = exporter.wakeups()
        time.sleep(3)
        table.row("idle, static binary: memory", exporter.status("VmRSS:") * 1024, 1.2 * MIB, 1, mib)
        table.row("idle, static binary: wake-ups in 3 s", exporter.wakeups() - before, 1, 0, str)


def bench(folder):
    """Prints the table; gives whether all was measured that must be."""
    table = Table()
    size, out, (scrape, drain, pipe), peak = strongswan(folder, 10_000)
    table.times(f"10000 IKE_SAs ({mib(size)} in, {mib(out)} out): scrape", scrape, drain + pipe, 2.5)
    table.row("10000 IKE_SAs: memory against bytes in and out", peak, size + out, 1.6, mib)
    *_, peak = strongswan(folder, 1000)
    table.row("1000 IKE_SAs: memory", peak, 6 * MIB, 1, mib)

    path, size, (scrape, read, write), _ = openvpn(folder, 100_000)
    parse, memchr = best(lambda: limit("parse", path), lambda: limit("memchr", path))
    slowest = Time(*(max(size / 1e9, 2 * one) for one in memchr))
    table.times(f"100000 OpenVPN clients ({mib(size)}): parsing", parse, slowest, 1)
    table.times("100000 OpenVPN clients: scrape", scrape, read + write, 3)

    if os.geteuid() == 0 and shutil.which("wireguard-go") and shutil.which("wg"):
        out, (scrape, drain, pipe) = real_wireguard(folder, 10_000)
        table.times(f"10000 peers of wireguard-go ({mib(out)} out): scrape", scrape, drain + pipe, 2.5)
    else:
        table.skip("10000 peers of wireguard-go: scrape", "root, wireguard-go and wireguard-tools")

    with Held(SOCKETS) as held:
        taken, reading, _ = sockets(folder, held, SOCKETS, through_proc=True)
        table.times(f"{SOCKETS} sockets, 20 rules, /proc: scrape", taken, reading, 1.2)
        taken, reading, _ = sockets(folder, held, SOCKETS)
        table.times(f"{SOCKETS} sockets, 20 rules, netlink: against /proc", taken, reading, 1.2)
        taken, *_ = sockets(folder, held, SOCKETS, status_word="listen")
        table.times(f"{SOCKETS} sockets, 20 rules for listeners: scrape", taken, Time(0.010, 0.010), 1)
    idle(table, folder)

    growth(table, "IKE_SAs", SIZES, lambda count: pick(strongswan(folder, count)))
    growth(table, "OpenVPN clients", SIZES, lambda count: pick(openvpn(folder, count)))
    growth(table, "WireGuard peers", SIZES[:-1], lambda count: wireguard(folder, count))
    # Of 100,000 `ipsec statusall` prints more than the exporter reads of a command.
    growth(table, "ipsec tunnels", SIZES[:-1], lambda count: ipsec(folder, count))
    with Held(MOST_SOCKETS) as held:
        growth(table, "sockets in /proc", SIZES,
               lambda count: sockets(folder, held, count, through_proc=True)[::2])
    with Held(MOST_SOCKETS) as held:
        growth(table, "sockets over netlink", SIZES, lambda count: sockets(folder, held, count)[::2])
    return table.end()


def pick(measured):
    """The time and the memory of a scrape."""
    _, _, (scrape, *_), peak = measured
    return scrape, peak


def figures(folder):
    def lines(*patterns):
        return sum(len(path.read_text().splitlines()) for pattern in patterns for path in ROOT.glob(pattern))

    tree = subprocess.run(["cargo", "tree", "--edges=normal", "--prefix=none", "--no-dedupe"], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout
    print(f"stripped release binary    {(RELEASE / 'gateway-exporter').stat().st_size} bytes")
    in_code, in_tests = split(ROOT.glob("src/**/*.rs"))
    print(f"lines of code              {in_code}")
    print(f"lines of tests             {in_tests + lines('tests/**/*.rs', 'tests/**/*.py')}")
    print(f"dependencies               {len({line.split()[0] for line in tree.splitlines()}) - 1}")
    *_, (scrape, *_), peak = strongswan(folder, 1000)
    print(f"1000 IKE_SAs               {ms(scrape.wall)}, {mib(peak)}")
    *_, (scrape, *_), peak = openvpn(folder, 10_000)
    print(f"10000 OpenVPN clients      {ms(scrape.wall)}, {mib(peak)}")
    with Held(10_000) as held:
        scrape, _, peak = sockets(folder, held, 10_000)
    print(f"10000 sockets              {ms(scrape.wall)}, {mib(peak)}\n")
    subprocess.run([sys.executable, ROOT / "tests/bench/instructions.py", RELEASE / "gateway-exporter"], check=True)


def split(paths):
    """How many lines stand before the unit tests of the files, and how many are tests."""
    code = tests = 0
    for path in paths:
        before, _, after = path.read_text().partition("#[cfg(test)]\nmod tests")
        code, tests = code + before.count("\n"), tests + after.count("\n")
    return code, tests


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gateway-exporter-bench-"))
    try:
        is_complete = True
        if sys.argv[1:] == ["figures"]:
            figures(folder)
        else:
            is_complete = bench(folder)
    finally:
        shutil.rmtree(folder)
    return 0 if is_complete else 1


sys.exit(main())
