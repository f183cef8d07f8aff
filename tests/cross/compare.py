"""Compares cross-built binaries, run under qemu, with the native build: `compare.py NATIVE REPLAY`, and on the standard
input a line for each target: its name, its emulator, the processor to emulate.

Every case is one configuration over the captures in fixtures/ and the sockets of this machine. Both builds serve it,
and what they answer must be the same bytes but for what no two runs share: durations, times of day, the build, the
process.
"""

import collections
import contextlib
import json
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
PORT = 9234
# How often a run may be disturbed by the emulator.
TRIES = 5
# The runs that were disturbed and repeated, by command.
repeats = []
PAGES = ("/metrics", "/prom", "/sessions", "/sessions_local")
VARYING = re.compile(
    r"^(# (HELP|TYPE) )?(process_|promhttp_|gateway_exporter_build_info|gateway_exporter_collector_duration_seconds)"
)


def cases(name):
    return sorted(path for path in (FIXTURES / name).iterdir() if path.is_dir())


def configurations(vici):
    """One for each capture of charon and of ipsec, side by side; the first also has all of OpenVPN's."""
    charon, ipsec = cases("strongswan"), cases("ipsec")
    for index in range(max(len(charon), len(ipsec))):
        capture, tunnels = charon[index % len(charon)], ipsec[index % len(ipsec)]
        servers = [{"name": case.name, "status": str(case / "status")} for case in cases("openvpn")]
        yield capture, {
            "server_name": "gateway",
            "vici_socket": str(vici),
            "ipsec_config": str(tunnels / "ipsec.conf"),
            "ipsec_command": ["cat", str(tunnels / "statusall")],
            "openvpn": servers if index == 0 else servers[index % len(servers) :][:1],
            "sockets": [
                {"name": "listens", "port": 1194, "protocol": "tcp", "status": "listen"},
                {"name": "is connected", "port": 1194, "protocol": "tcp", "status": "established"},
                {"name": "datagrams", "port": 500, "protocol": "udp", "status": "listen"},
                {"name": "version 6", "port": 4500, "protocol": "udp6", "status": "listen"},
                {"name": "by name", "port": 1194, "process": "python3.*", "status": "listen"},
                {"name": "missing", "port": 1, "status": "listen"},
            ],
        }


@contextlib.contextmanager
def sockets():
    """What the rules look for."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 1194)))
        stack.enter_context(socket.create_connection(("127.0.0.1", 1194)))
        stack.enter_context(listener.accept()[0])
        for family, port in ((socket.AF_INET, 500), (socket.AF_INET6, 4500)):
            datagrams = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            datagrams.bind(("", port))
        yield


@contextlib.contextmanager
def charon(replay, path, capture):
    process = subprocess.Popen([replay, str(path), str(capture)])
    try:
        until(path.exists, "replay")
        yield
    finally:
        process.kill()
        process.wait()
        path.unlink(missing_ok=True)


def until(condition, what):
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not there after 30 s")
        time.sleep(0.02)


def answers():
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", PORT), 1).close()
        return True
    return False


def serve(command, config):
    """What a build answers on each page, and that it ends well.

    A fork under qemu-user may hang in the child, on a lock of the emulator's own that another thread held. Such a run says
    nothing of the build and is repeated; it is known by that child. The native build, which has no emulator, has one try.
    """
    is_emulated = len(command) > 1
    for _ in range(TRIES):
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{PORT}", f"--config.file={config}"],
                stderr=log, start_new_session=True,
            )
            try:
                said = ask(process, log)
                if not (is_emulated and stuck_children(process.pid)):
                    return said
            except (AssertionError, OSError, subprocess.TimeoutExpired):
                if not (is_emulated and stuck_children(process.pid)):
                    raise
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        repeats.append(" ".join(command))
        print("a child of the emulator hangs: once more", file=sys.stderr)
    raise AssertionError(f"{command}: a child hangs each time")


def ask(process, log):
    until(lambda: process.poll() is not None or answers(), "listening")
    said = {}
    for page in PAGES:
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{page}")
        # Emulators are slow: each source may take as long as it likes.
        request.add_header("X-Prometheus-Scrape-Timeout-Seconds", "30")
        with urllib.request.urlopen(request, timeout=60) as reply:
            said[page] = stable(page, reply.read().decode())
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    log.seek(0)
    assert process.returncode == 0, f"exit status {process.returncode} after SIGTERM: {log.read()}"
    return said


def stuck_children(group):
    """Forked children of a daemon that never became the command they were forked for."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            is_daemon = b"--web.listen-address" in (entry / "cmdline").read_bytes()
            if is_daemon and int(fields[2]) == group and int(entry.name) != group:
                found.append(int(entry.name))
    return found


def stable(page, text):
    if page.startswith("/sessions"):
        rows = json.loads(text)
        for row in rows:
            if row["protocol"].startswith("ike"):
                row["established"] = "a while ago"
        return json.dumps(rows, indent=1)
    return "\n".join(line for line in text.splitlines() if not VARYING.match(line))


def check_version(target, command):
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert re.fullmatch(rf"gateway-exporter [0-9.]+ \(revision \S+, {re.escape(target)}\)\n", said), said


def differences(native, crossed):
    for page in PAGES:
        mine, theirs = native[page].splitlines(), crossed[page].splitlines()
        for line in sorted(set(mine) ^ set(theirs)):
            yield f"{page}: only {'native' if line in mine else 'cross-built'}: {line}"
        if mine != theirs:
            yield f"{page}: differs"


def main(native, replay, targets):
    failures = 0
    with tempfile.TemporaryDirectory() as folder, sockets():
        folder = pathlib.Path(folder)
        vici, config = folder / "charon.vici", folder / "config.yaml"
        wanted = []
        for capture, configuration in configurations(vici):
            config.write_text(json.dumps(configuration))
            with charon(replay, vici, capture):
                wanted.append((capture, configuration, serve([native], config)))
        lines = sum(said["/metrics"].count("\n") for _, _, said in wanted)
        samples = "".join(said["/metrics"] for _, _, said in wanted)
        assert 'strongswan_sa_state' in samples and 'ovpn_bytes_in_total' in samples and 'ipsec_in_bytes' in samples
        assert 'name="listens"' in samples and " 1\n" in samples
        for target, emulator, processor in targets:
            binary = ROOT / "target/cross/bin" / target / "gateway-exporter"
            command = [emulator, "-cpu", processor, str(binary)]
            begun, found = time.monotonic(), []
            try:
                check_version(target, command)
                for capture, configuration, said in wanted:
                    config.write_text(json.dumps(configuration))
                    with charon(replay, vici, capture):
                        found += [f"{capture.name}: {line}" for line in differences(said, serve(command, config))]
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                found.append(repr(error))
            taken = time.monotonic() - begun
            failures += bool(found)
            print(f"{target}: {'FAILED' if found else 'the same'}, {len(wanted)} cases, {lines} lines, {taken:.1f} s")
            for line in found[:20]:
                print(f"  {line}")
    print(f"{len(repeats)} of the runs were disturbed by the emulator and repeated")
    for command, count in collections.Counter(repeats).items():
        print(f"  {count} of {command}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], [line.split() for line in sys.stdin if line.strip()]))
