"""A soak: scrapes of all sources by several clients while faults come and go; nothing may grow.

`SOAK=1000000 python3 tests/e2e/soak.py` sends so many scrapes. Resident memory and descriptors at the end must be
those after the first part, which is the first thousand scrapes and at least once every fault.

Every scrape asks every source: a charon that replays a capture, an `ipsec` that is a small program and is started for
each scrape, a status file, the machine's sockets. A fault lasts for half a second, then all is well for two.
"""

import collections
import multiprocessing
import os
import socket
import struct
import subprocess
import sys
import time

from host import wait_for
from replay import Replay
from test_siege import Vital, newest_binary
from test_sick import CHARON, CONFIRM, CONNECTIONS, OPEN_NEST, UNASKED, UNKNOWN_COMMAND, VERSION, WELL, Sick

SCRAPES = int(os.environ.get("SOAK", "100000"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "1e9"))
FIRST = 1000
CLIENTS = 6
FAULT, BETWEEN = 0.5, 2.0
SLACK = 64 * 1024
PATHS = ("/metrics", "/metrics", "/metrics", "/prom", "/sessions", "/static", "/")
# A reset after the whole answer leaves no connection in TIME_WAIT, of which there would be more than there are ports.
RESET = struct.pack("ii", 1, 0)

# What `ipsec statusall` is here: it prints one file.
IPSEC = """#include <fcntl.h>
#include <unistd.h>
int main(void) {
    char buffer[65536];
    int file = open("%s", O_RDONLY);
    ssize_t read_, at = 0;
    while ((read_ = read(file, buffer, sizeof buffer)) > 0)
        for (at = 0; at < read_;) {
            ssize_t written = write(1, buffer + at, read_ - at);
            if (written <= 0) return 1;
            at += written;
        }
    return read_ < 0;
}
"""


class World:
    """The sick test's sources, with a quick charon and a quick `ipsec` while they are well."""

    @classmethod
    def begin(cls):
        Sick.setUpClass()
        cls.socket, cls.sick = Sick.charon.path, Sick.lab.path("sick.vici")
        os.rename(cls.socket, cls.sick)
        cls.well = Replay(Sick.lab, CHARON.name).socket
        os.chmod(cls.well, 0o777)
        os.chmod(os.path.dirname(cls.well), 0o755)
        cls.program = Sick.lab.path("ipsec.program")
        source = Sick.lab.write("ipsec.c", IPSEC % Sick.lab.path("statusall"))
        subprocess.run(("gcc", "-O2", "-static", "-o", cls.program, source), check=True)
        cls.answer_from(cls.well)

    @classmethod
    def answer_from(cls, charon):
        os.symlink(charon, cls.socket + ".new")
        os.rename(cls.socket + ".new", cls.socket)

    @classmethod
    def heal(cls):
        cls.answer_from(cls.well)
        Sick.heal()
        os.link(cls.program, Sick.ipsec + ".new")
        os.rename(Sick.ipsec + ".new", Sick.ipsec)

    @classmethod
    def say(cls, words, hangs_up=False):
        Sick.charon.words, Sick.charon.hangs_up = words, hangs_up
        cls.answer_from(cls.sick)


# Each is undone by World.heal.
FAULTS = {
    "charon is silent": lambda: World.say(b""),
    "charon stops half way": lambda: World.say(VERSION + CONNECTIONS[:200]),
    "charon nests for ever": lambda: World.say(VERSION + CONFIRM + OPEN_NEST),
    "charon knows no command": lambda: World.say(UNKNOWN_COMMAND),
    "charon says what nobody asked": lambda: World.say(UNASKED + WELL),
    "charon hangs up": lambda: World.say(WELL, hangs_up=True),
    "charon is not for everybody": lambda: os.chmod(World.well, 0o700),
    "ipsec fails": lambda: Sick.script("exit 1"),
    "ipsec hangs": lambda: Sick.script("sleep 60"),
    "ipsec prints too much": lambda: Sick.script("head -c 17000000 /dev/zero"),
    "the status file is denied": lambda: os.chmod(Sick.status, 0),
    "the status file is missing": Sick.remove_status,
    "the status file is a pipe": lambda: (Sick.remove_status(), os.mkfifo(Sick.status)),
}


class Clients:
    """Processes that scrape until they are told to stop; `done` counts their answers, `wrong` those without 200."""

    def __init__(self, port):
        self.counts = [multiprocessing.Array("q", 2, lock=False) for _ in range(CLIENTS)]
        self.over = multiprocessing.Event()
        self.processes = [
            multiprocessing.Process(target=self.run, args=(port, count, number), daemon=True)
            for number, count in enumerate(self.counts)
        ]
        for process in self.processes:
            process.start()

    def run(self, port, count, number):
        while not self.over.is_set():
            number += 1
            path = PATHS[number % len(PATHS)]
            request = f"GET {path} HTTP/1.1\r\nConnection: close\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.3\r\n\r\n".encode()
            try:
                said = scrape(port, request, resets=number % 100 != 0)
            except OSError as error:
                said = repr(error).encode()
            count[0] += 1
            if not said.startswith(b"HTTP/1.1 200 "):
                count[1] += 1
                print(f"{path}: {said[:80]}", file=sys.stderr)

    @property
    def done(self):
        return sum(count[0] for count in self.counts)

    @property
    def wrong(self):
        return sum(count[1] for count in self.counts)

    def end(self):
        self.over.set()
        for process in self.processes:
            process.join()


def scrape(port, request, resets):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.sendall(request)
        said = wire.recv(65536)
        while wire.recv(65536):
            pass
        if resets:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return said


def at_rest(vital):
    """(resident memory, descriptors) once nothing is under way."""
    World.heal()
    # Four are kept for the next scrape.
    wait_for("the threads to end", lambda: vital.threads() <= 3 + 4, 30)
    time.sleep(2)
    return vital.resident(), vital.descriptors()


def rounds(clients, phases, between, enough):
    """Switches the faults on and off until `enough()` at the end of a round; `between` them all is well."""

    def last(name, seconds):
        begin, before = time.monotonic(), clients.done
        time.sleep(seconds)
        phases[name] += (clients.done - before, time.monotonic() - begin)

    while True:
        for name, fault in FAULTS.items():
            fault()
            last(name, FAULT)
            World.heal()
            last("all is well", between)
        print(f"{clients.done} scrapes, {Vital(Sick.exporter.process.pid).resident() >> 10} KiB under load", file=sys.stderr, flush=True)
        if enough():
            return


class Phase(tuple):
    """(scrapes, seconds), to be summed up."""

    def __new__(cls, values=(0, 0.0)):
        return super().__new__(cls, values)

    def __add__(self, other):
        return Phase(mine + more for mine, more in zip(self, other))


def main():
    os.environ.setdefault("GATEWAY_EXPORTER", newest_binary())
    World.begin()
    try:
        World.heal()
        port, vital = Sick.exporter.port, Vital(Sick.exporter.process.pid)
        phases = collections.defaultdict(Phase)
        first = Clients(port)
        rounds(first, phases, BETWEEN / 2, lambda: first.done >= FIRST)
        first.end()
        memory, descriptors = at_rest(vital)
        begin = time.monotonic()
        rest = Clients(port)
        rounds(
            rest, phases, BETWEEN, lambda: first.done + rest.done >= SCRAPES or time.monotonic() - begin > SECONDS
        )
        rest.end()
        seconds = time.monotonic() - begin
        memory_then, descriptors_then = at_rest(vital)
    finally:
        Sick.doClassCleanups()
    count, wrong = first.done + rest.done, first.wrong + rest.wrong
    for name, (scrapes, lasted) in phases.items():
        print(f"  {name}: {scrapes} in {lasted:.0f} s")
    print(f"{count} scrapes, {rest.done / seconds:.0f} a second, {wrong} not answered by 200")
    print(f"after {first.done} of them: {memory >> 10} KiB, {descriptors} descriptors")
    print(f"at the end: {memory_then >> 10} KiB, {descriptors_then} descriptors")
    return 1 if memory_then > memory + SLACK or descriptors_then != descriptors or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
