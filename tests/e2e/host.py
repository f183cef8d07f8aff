"""Hosts of our own: network namespaces joined by veth pairs, and processes that end with them.

Nothing here touches a process, interface or namespace that it did not make.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time


def wait_for(what, condition, seconds=20.0):
    """Polls until `condition()` is true and returns its value; fails naming `what`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def run(*command, **options):
    """Runs to the end, returns stdout; a failure shows what the command said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Lab(contextlib.ExitStack):
    """A scratch folder, namespaces and processes; leaving it removes all of them, in reverse order."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="gwx-")
        self.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._named = 0

    def path(self, *parts):
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def host(self, name):
        """A new namespace; the process id keeps two runs apart."""
        return Host(self, f"gwx{os.getpid()}-{name}")

    def wire(self, left, right, left_addresses, right_addresses):
        """Joins two hosts by a veth pair and gives each end its addresses (`192.0.2.1/24`)."""
        self._named += 1
        a, b = f"v{os.getpid()}l{self._named}", f"v{os.getpid()}r{self._named}"
        run("ip", "link", "add", a, "netns", left.name, "type", "veth", "peer", "name", b, "netns", right.name)
        for host, device, addresses in ((left, a, left_addresses), (right, b, right_addresses)):
            for address in addresses:
                extra = ("nodad",) if ":" in address else ()
                host.run("ip", "address", "add", address, "dev", device, *extra)
            host.run("ip", "link", "set", device, "up")

    def start(self, command, log=None, **options):
        """Starts a process in its own group; its output goes to `log` in the scratch folder."""
        output = open(self.path(log), "ab") if log else subprocess.DEVNULL
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **options
        )
        self.callback(stop, process)
        return process

    def log(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()


def stop(process, patience=5.0):
    """Ends one process that we started, politely first, then its whole group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Host:
    """One network namespace with its loopback up."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        run("ip", "netns", "add", name)
        lab.callback(subprocess.run, ("ip", "netns", "delete", name), check=False)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *command):
        return ("ip", "netns", "exec", self.name, *command)

    def run(self, *command, **options):
        return run(*self.command(*command), **options)

    def start(self, *command, log=None, **options):
        return self.lab.start(self.command(*command), log=log, **options)

    def address(self, address):
        """Gives the loopback device one more address."""
        extra = ("nodad",) if ":" in address else ()
        self.run("ip", "address", "add", address, "dev", "lo", *extra)
