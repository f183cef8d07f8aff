"""A soak: scrapes of all sources by several clients while faults come and go; nothing may grow.

`SOAK=1000000 python3 tests/e2e/soak.py` sends so many scrapes. Resident memory and descriptors at the end must be
those after the first part, which is the first thousand scrapes and at least once every fault.
"""

import os
import socket
import sys
import threading
import time

from host import wait_for
from test_siege import Vital, newest_binary
from test_sick import CONFIRM, CONNECTIONS, OPEN_NEST, UNASKED, UNKNOWN_COMMAND, VERSION, WELL, Sick

SCRAPES = int(os.environ.get("SOAK", "100000"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "1e9"))
FIRST = 1000
CLIENTS = 6
FAULT = 0.5
SLACK = 64 * 1024
PATHS = ("/metrics", "/metrics", "/metrics", "/prom", "/sessions", "/static", "/")

# Each is undone by Sick.heal.
FAULTS = (
    lambda: None,
    lambda: setattr(Sick.charon, "words", b""),
    lambda: setattr(Sick.charon, "words", VERSION + CONNECTIONS[:200]),
    lambda: setattr(Sick.charon, "words", VERSION + CONFIRM + OPEN_NEST),
    lambda: setattr(Sick.charon, "words", UNKNOWN_COMMAND),
    lambda: setattr(Sick.charon, "words", UNASKED + WELL),
    lambda: setattr(Sick.charon, "hangs_up", True),
    lambda: os.chmod(Sick.charon.path, 0o700),
    lambda: Sick.script("exit 1"),
    lambda: Sick.script("sleep 60"),
    lambda: Sick.script("head -c 17000000 /dev/zero"),
    lambda: os.chmod(Sick.status, 0),
    Sick.remove_status,
    lambda: (Sick.remove_status(), os.mkfifo(Sick.status)),
)


class Clients:
    """Scrape until enough was scraped."""

    def __init__(self, port):
        self.port, self.done, self.wrong, self.over = port, 0, [], threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]

    def run(self, number):
        while not self.over.is_set():
            number += 1
            path = PATHS[number % len(PATHS)]
            request = f"GET {path} HTTP/1.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 0.3\r\n\r\n".encode()
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as wire:
                wire.sendall(request)
                said = wire.recv(65536)
                while wire.recv(65536):
                    pass
            with self.lock:
                self.done += 1
                if not said.startswith(b"HTTP/1.1 200 "):
                    self.wrong.append(said[:40])


def at_rest(vital):
    """(resident memory, descriptors) once nothing is under way."""
    Sick.heal()
    wait_for("the threads to end", lambda: vital.threads() <= 2, 30)
    time.sleep(1)
    return vital.resident(), vital.descriptors()


def scrape(clients, enough):
    """Lets the clients scrape while faults come and go, until `enough()` at the end of a round of faults."""
    for thread in clients.threads:
        thread.start()
    try:
        while True:
            for fault in FAULTS:
                Sick.heal()
                fault()
                time.sleep(FAULT)
            if enough():
                return
    finally:
        clients.over.set()
        for thread in clients.threads:
            thread.join()


def main():
    os.environ.setdefault("GATEWAY_EXPORTER", newest_binary())
    Sick.setUpClass()
    try:
        port, vital = Sick.exporter.port, Vital(Sick.exporter.process.pid)
        first = Clients(port)
        scrape(first, lambda: first.done >= FIRST)
        memory, descriptors = at_rest(vital)
        begin = time.monotonic()
        rest = Clients(port)
        scrape(rest, lambda: first.done + rest.done >= SCRAPES or time.monotonic() - begin > SECONDS)
        seconds = time.monotonic() - begin
        memory_then, descriptors_then = at_rest(vital)
    finally:
        Sick.doClassCleanups()
    count = first.done + rest.done
    wrong = len(first.wrong) + len(rest.wrong)
    print(f"{count} scrapes, {rest.done / seconds:.0f} a second, {wrong} not answered by 200")
    print(f"after {first.done} of them: {memory >> 10} KiB, {descriptors} descriptors")
    print(f"at the end: {memory_then >> 10} KiB, {descriptors_then} descriptors")
    return 1 if memory_then > memory + SLACK or descriptors_then != descriptors or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
