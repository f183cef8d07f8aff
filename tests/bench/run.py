"""Measures the exporter against the limits of the machine, side by side in one run, and prints one table.

`run.py` is the table of `make bench`; `run.py figures` the few numbers of `make figures`. Both want release builds of
`gateway-exporter` and of the examples `replay` and `bench`.

The limit of a scrape is a second daemon (`bench copy`): it reads the same bytes from the same charon, file or table, looks at
none of them, and sends as many bytes over TCP to the same client as the exporter does. Both are scraped in turn, many times;
each time is the lower quartile.

The time on a CPU is that of the whole process, user and system. It is measured in rounds of its own, in which all processes
share one CPU. On two, to send 25 MiB takes from 2 to 8 ms of CPU: to wake the client costs much while its CPU sleeps, and
nothing while that has other work. On one CPU it takes 2.2 ms, whatever else the machine does.
"""

import contextlib
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
from table import MIB, Goal, Table, Time, family, mib, ms, others, quartile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

import host  # noqa: E402 (found by the line above)

RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
STATIC = ROOT / "target" / "cross" / "bin" / "x86_64-unknown-linux-musl" / "gateway-exporter"
BENCH = RELEASE / "examples" / "bench"
ROUNDS = 15
SOCKETS = 40_000
MOST_SOCKETS = 100_000
SHARE = 10_000
SIZES = (100, 1000, 10_000, 100_000)
BLOCK = bytearray(1 << 18)


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


class Server(Process):
    """A daemon that is scraped, the exporter or its limit, and what it needs of the machine."""

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

    def clock(self):
        """How long a scrape takes by the clock."""
        taken, _ = self.scrape()
        # What it holds is freed after its end, and of 100,000 SAs that is more than all answers together may hold.
        time.sleep(0.02 + taken)
        return taken

    def cpu(self):
        """How long a scrape takes on a CPU, with what is freed after its end."""
        # clock_getcpuclockid(3) for another process.
        clock = ~self.pid << 3 | 2
        before = time.clock_gettime(clock)
        self.clock()
        return time.clock_gettime(clock) - before

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
    return Server(binary, "--web.listen-address=127.0.0.1:PORT", f"--config.file={config}")


def copier(count, *source):
    """The limit: reads a source and sends so many bytes for each scrape."""
    return Server(BENCH, "copy", "127.0.0.1:PORT", count, *source)


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


def inside(*words):
    """What a piece of the work takes inside a process of the bench."""
    command = [str(BENCH), *map(str, words)]
    return Time(*map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()))


def in_turns(*works):
    """The typical result of each, measured in turns."""
    rounds = [[work() for work in works] for _ in range(ROUNDS)]
    return list(map(quartile, zip(*rounds)))


def in_turns_scraped(*servers):
    """The typical time of a scrape of each."""
    walls = in_turns(*(server.clock for server in servers))
    with one_cpu():
        cpus = in_turns(*(server.cpu for server in servers))
    return list(map(Time, walls, cpus))


@contextlib.contextmanager
def one_cpu():
    """Keeps this process and all that it has started on one CPU."""
    cpus = os.sched_getaffinity(0)
    allow({max(cpus)})
    try:
        yield
    finally:
        allow(cpus)


def allow(cpus):
    for process in family(os.getpid(), parents()):
        # A process or thread may have ended since.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in os.listdir(f"/proc/{process}/task"):
                os.sched_setaffinity(int(task), cpus)


def parents():
    """The parent of each process."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The name stands in parentheses, and may have some itself.
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return found


class Measured(typing.NamedTuple):
    """The bytes of an answer, its time and those of its limits, and the most memory in RAM."""

    out: int
    scrape: Time
    limits: list[Time]
    peak: int


def measure(exporter, *sources, expected=""):
    """Scrapes an exporter, whose answer must have the line `expected`, beside a limit for each source."""
    peak = exporter.peak(lambda: [exporter.clock() for _ in range(3)])
    text = exporter.text()
    assert expected in text, f"no line {expected!r} in {len(text)} bytes: {text[-500:]}"
    time.sleep(0.5)
    _, out = exporter.scrape()
    with contextlib.ExitStack() as stack:
        limits = [stack.enter_context(copier(out, *source)) for source in sources]
        assert all(limit.scrape()[1] == out for limit in limits), f"a limit does not answer {out} bytes"
        scrape, *limits = in_turns_scraped(exporter, *limits)
    return Measured(out, scrape, limits, peak)


def strongswan(folder, count, *options):
    """The bytes of the list of SAs, and what a scrape takes beside its limit.

    What the clock says depends on how the stand-in for charon sends. Without options it does as charon does, each packet's
    length and its body by a call of their own; that takes longer than either scrape, and hides what the exporter does
    meanwhile. With `--one-buffer` it costs as little as it can.
    """
    size = inputs.capture(count, folder / "capture")
    inputs.statistics(count, folder / "capture")
    vici = folder / "vici"
    vici.unlink(missing_ok=True)
    with Process(RELEASE / "examples" / "replay", *options, vici, folder / "capture"):
        until(vici.is_socket)
        with daemon(folder / "vici.yaml", f"vici_socket: {vici}\nmax_series: 0\n") as exporter:
            expected = f"strongswan_number_of_ikes_connected {count}\n"
            return size, measure(exporter, ["drain", vici], expected=expected)


def openvpn(folder, count):
    """The status file, its bytes, and what a scrape takes beside its limits: the file kept as a whole, and read in blocks."""
    path = folder / "server.status"
    size = inputs.status(count, path)
    time.sleep(0.05)
    with daemon(folder / "openvpn.yaml", f"openvpn:\n  - status: {path}\nmax_series: 0\n") as exporter:
        return path, size, measure(exporter, ["load", path], ["read", path], expected=f"ovpn_sessions_total {count}\n")


def ipsec(folder, count):
    inputs.tunnels(count, folder / "ipsec")
    config, command = folder / "ipsec" / "ipsec.conf", f"[cat, {folder / 'ipsec' / 'statusall'}]"
    with daemon(folder / "ipsec.yaml", f"ipsec_config: {config}\nipsec_command: {command}\n") as exporter:
        assert exporter.text().count("\nipsec_up{") == count
        return measure(exporter)


def wireguard(folder, count):
    """What a scrape takes beside its limit, where WireGuard answers at once."""
    sockets_in = folder / f"wireguard-{count}"
    sockets_in.mkdir(exist_ok=True)
    path = sockets_in / "wg0.sock"
    path.unlink(missing_ok=True)
    inputs.UserSpace(path, inputs.wireguard(count))
    config = f"wireguard: {{interfaces: [wg0], socket_folder: {sockets_in}, name_files: []}}\nmax_series: 0\n"
    with daemon(folder / "wireguard.yaml", config) as exporter:
        return measure(exporter, ["uapi", path], expected=f'wireguard_peers{{interface="wg0"}} {count}\n')


def real_wireguard(folder, count):
    """What a scrape takes beside its limit with a real wireguard-go, which takes most of the time by the clock."""
    name = f"gwxb{os.getpid() % 100000}"
    with host.Lab() as lab:
        machine = lab.host("bench")
        machine.start("wireguard-go", "-f", name)
        path = pathlib.Path("/var/run/wireguard", f"{name}.sock")
        until(path.stat)
        machine.run("wg", "setconf", name, lab.write("peers", inputs.wireguard_peers(count)))
        config = f"wireguard: {{interfaces: [{name}], name_files: []}}\nmax_series: 0\n"
        with daemon(folder / "wireguard.yaml", config) as exporter:
            return measure(exporter, ["uapi", path], expected=f'wireguard_peers{{interface="{name}"}} {count}\n')


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
    """What a scrape takes beside its limit: to read the tables under /proc that the rules are about."""
    held.hold(count)
    config = folder / "sockets.yaml"
    text = inputs.rules(status_word)
    if through_proc:
        # Under another name it is somebody's copy: the kernel is not asked instead.
        link = folder / "proc"
        if not link.is_symlink():
            link.symlink_to("/proc")
        config.write_text(text)
        exporter = Server(BENCH, "serve", "127.0.0.1:PORT", config, link)
    else:
        exporter = daemon(config, text)
    with exporter:
        return measure(exporter, ["read", "/proc/net/tcp", "/proc/net/tcp6"])


def growth(table, name, sizes, measure, goal=Goal(11)):
    points = [measure(count) for count in sizes]
    for (few, many), (before, after) in zip(zip(sizes, sizes[1:]), zip(points, points[1:])):
        table.times(f"{name}, {few} to {many}: time", after.scrape, before.scrape, goal, goal)
        table.row(f"{name}, {few} to {many}: memory", after.peak, before.peak, 11, mib)


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
    """Prints the table; gives whether all is well."""
    table = Table(others())
    size, ours = strongswan(folder, 10_000, "--one-buffer")
    table.times(f"10000 IKE_SAs ({mib(size)} in, {mib(ours.out)} out)", ours.scrape, *ours.limits, Goal(1.8, 4), Goal(4, 10))
    table.row("10000 IKE_SAs: memory against bytes in and out", ours.peak, size + ours.out, 1.6, mib)
    _, ours = strongswan(folder, 10_000)
    table.times("10000 IKE_SAs, slow stand-in: two writes a packet", ours.scrape, *ours.limits, Goal(1.8), Goal(4))
    _, ours = strongswan(folder, 1000)
    table.row("1000 IKE_SAs: memory", ours.peak, 6 * MIB, 1, mib)

    path, size, ours = openvpn(folder, 100_000)
    whole, blocks = ours.limits
    parse, memchr = inside("parse", path), inside("memchr", path)
    slowest = Time(*(max(size / 1e9, 2 * one) for one in memchr))
    table.times(f"100000 OpenVPN clients ({mib(size)}): parsing", parse, slowest, Goal(1), Goal(1))
    clock, cpu = Goal(1.8, 3.5), Goal(2.5)
    table.times(f"100000 OpenVPN clients ({mib(ours.out)} out), file as a whole", ours.scrape, whole, clock, cpu)
    clock, cpu = Goal(1.8, 8), Goal(2.5, 9)
    table.times("100000 OpenVPN clients, file in blocks of 64 KiB", ours.scrape, blocks, clock, cpu)

    ours = wireguard(folder, 10_000)
    table.times(f"10000 WireGuard peers ({mib(ours.out)} out)", ours.scrape, *ours.limits, Goal(1.8, 6), Goal(4, 14))
    if os.geteuid() == 0 and shutil.which("wireguard-go") and shutil.which("wg"):
        ours = real_wireguard(folder, 10_000)
        table.times("10000 peers of wireguard-go", ours.scrape, *ours.limits, Goal(2.5), Goal(4, 15))
    else:
        table.skip("10000 peers of wireguard-go", "root, wireguard-go and wireguard-tools")

    with Held(SOCKETS) as held:
        ours = sockets(folder, held, SOCKETS, through_proc=True)
        table.times(f"{SOCKETS} sockets, 20 rules, through /proc", ours.scrape, *ours.limits, Goal(1.2), Goal(1.2))
        ours = sockets(folder, held, SOCKETS)
        table.times(f"{SOCKETS} sockets, 20 rules, over netlink: against /proc", ours.scrape, *ours.limits,
                    Goal(0.3, 0.55), Goal(0.3, 0.55))
        ours = sockets(folder, held, SOCKETS, status_word="listen")
        table.times(f"{SOCKETS} sockets, 20 rules for listeners", ours.scrape, Time(0.010, 0.010), Goal(1), Goal(1))
    idle(table, folder)

    growth(table, "IKE_SAs", SIZES, lambda count: strongswan(folder, count, "--one-buffer")[1], Goal(11, 16))
    growth(table, "OpenVPN clients", SIZES, lambda count: openvpn(folder, count)[2])
    growth(table, "WireGuard peers", SIZES[:-1], lambda count: wireguard(folder, count))
    # Of 100,000 `ipsec statusall` prints more than the exporter reads of a command.
    growth(table, "ipsec tunnels", SIZES[:-1], lambda count: ipsec(folder, count))
    with Held(MOST_SOCKETS) as held:
        growth(table, "sockets in /proc", SIZES, lambda count: sockets(folder, held, count, through_proc=True))
    with Held(MOST_SOCKETS) as held:
        growth(table, "sockets over netlink", SIZES, lambda count: sockets(folder, held, count))
    return table.end()


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
    with Held(10_000) as held:
        for work, ours in (("1000 IKE_SAs", strongswan(folder, 1000)[1]), ("10000 OpenVPN clients", openvpn(folder, 10_000)[2]),
                           ("10000 sockets", sockets(folder, held, 10_000))):
            print(f"{work:<27}{ms(ours.scrape.wall)}, on CPU {ms(ours.scrape.cpu)}, {mib(ours.peak)}")
    print()
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
        is_well = True
        if sys.argv[1:] == ["figures"]:
            figures(folder)
        else:
            is_well = bench(folder)
    finally:
        shutil.rmtree(folder)
    return 0 if is_well else 1


sys.exit(main())
