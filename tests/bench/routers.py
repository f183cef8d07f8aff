"""What a steady scrape of 20 IKE_SAs costs the static binaries for routers: instructions in user space, counted by qemu.

`routers.py [--check] [TARGET...]` prints a row for each target, by default mips, armv7 and aarch64, whose binaries
`contrib/cross.sh` has built before. With --check a row above its budget, 5 % above what was reached, is an error.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import inputs
import instructions

ROOT = instructions.ROOT
WARM_UP, COUNTED = 2, 2
BUDGETS = {"mips": 1_387_000, "armv7": 967_000, "aarch64": 944_000}


class Counter(threading.Thread):
    """Counts the lines that qemu writes into a pipe, one for each instruction."""

    def __init__(self, path):
        super().__init__(daemon=True)
        os.mkfifo(path)
        self.path, self.lines = path, 0

    def run(self):
        with open(self.path, "rb", buffering=0) as pipe:
            while chunk := pipe.read(1 << 20):
                self.lines += chunk.count(b"\n")

    def settled(self):
        """How many there are once the daemon rests."""
        while True:
            before = self.lines
            time.sleep(0.5)
            if self.lines == before:
                return before


def field(target, column):
    command = '. contrib/targets.sh; target_field "$0" "$1"'
    return subprocess.run(["sh", "-c", command, target, str(column)], cwd=ROOT, text=True, capture_output=True,
                          check=True).stdout.strip()


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=instructions.SECONDS) as answer:
        text = answer.read().decode()
    if text.count("\nstrongswan_sa_state{") == 0 or "target_up{" not in text:
        raise RuntimeError("the IKE_SAs could not be read")


def counted(target, folder, config):
    """The instructions of one scrape, after some that are not counted."""
    name, port = field(target, 1), instructions.free_port()
    binary = ROOT / "target/cross/bin" / name / "gateway-exporter"
    path = folder / f"{target}.yaml"
    path.write_text(config)
    counter = Counter(folder / f"{target}.pipe")
    counter.start()
    # Each instruction is a block of its own, and each run of a block is a line.
    tool = [f"{field(target, 4)}-static", "-cpu", field(target, 5),
            "-singlestep", "-d", "exec,nochain", "-D", counter.path]
    daemon = subprocess.Popen([*tool, binary, f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        instructions.wait_for("the daemon", lambda: instructions.answers(port))
        for _ in range(WARM_UP):
            scrape(port)
        before = counter.settled()
        for _ in range(COUNTED):
            scrape(port)
        return (counter.settled() - before) // COUNTED
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()


def main():
    instructions.leave_network()
    words = sys.argv[1:]
    targets = [word for word in words if word != "--check"] or list(BUDGETS)
    above = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config, replay = instructions.charon(folder, 20)
        try:
            print("| 20 IKE_SAs, whole scrape | instructions | budget |\n|---|---|---|", flush=True)
            for target in targets:
                count = counted(target, folder, config)
                print(f"| {target} | {count:,} | {BUDGETS[target]:,} |", flush=True)
                if count <= 0:
                    raise RuntimeError(f"{target} was not measured")
                if count > BUDGETS[target]:
                    above.append(target)
        finally:
            replay.terminate()
            replay.wait()
    if "--check" in words and above:
        sys.exit(f"above the budget: {', '.join(above)}")


if __name__ == "__main__":
    main()
