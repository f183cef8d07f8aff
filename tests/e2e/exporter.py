"""The exporter under test, on a host of a Lab or beside the test, and a strict reader of what it says.

The reader is written from the text format's own description and shares nothing with the exporter, so that a mistake
cannot be made on both sides. It refuses what Prometheus would forgive, and what this project promises not to do.
"""

import ctypes
import dataclasses
import http.client
import os
import pathlib
import re
import socket
import threading

from host import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLONE_NEWNET = 0x40000000

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\n]|\\.)*)\"")
NUMBER = re.compile(r"NaN|[+-]?Inf|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
TYPES = ("counter", "gauge", "untyped")


def inside(host, action):
    """Does `action` in a thread that has entered the host's namespace; a socket made there stays there."""
    result = []

    def enter_and_act():
        try:
            with open(f"/var/run/netns/{host.name}", "rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(action())
        except BaseException as error:  # handed to the caller's thread
            result.append(error)

    thread = threading.Thread(target=enter_and_act)
    thread.start()
    thread.join()
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


def connect(host, address, port, seconds=20.0):
    """A TCP connection from within `host`, or from this machine where host is None."""

    def dial():
        return socket.create_connection((address, port), timeout=seconds)

    return inside(host, dial) if host else dial()


def free_port(host=None):
    """A TCP port that nobody on that host uses now."""

    def ask():
        with socket.create_server(("127.0.0.1", 0)) as end:
            return end.getsockname()[1]

    return inside(host, ask) if host else ask()


def fetch(host, address, port, path, headers=None, method="GET", body=None, seconds=20.0):
    """One HTTP request: (status, headers, body). The headers' names may be asked for in any case."""
    connection = http.client.HTTPConnection(address, port, timeout=seconds)
    connection.sock = connect(host, address, port, seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def binary():
    return os.environ.get("GATEWAY_EXPORTER") or str(ROOT / "target" / "debug" / "gateway-exporter")


class Exporter:
    """One running exporter; it ends with the lab."""

    def __init__(self, lab, config, host=None, flags=(), name="exporter", address="127.0.0.1", environment=None):
        self.lab, self.host, self.address = lab, host, address
        self.log_name = f"{name}/log"
        self.port = free_port(host)
        self.config = lab.write(f"{name}/config.yaml", config)
        command = (binary(), f"--config.file={self.config}", f"--web.listen-address={address}:{self.port}", *flags)
        settings = {**os.environ, **(environment or {})}
        start = host.start if host else lambda *command, **options: lab.start(command, **options)
        self.process = start(*command, log=self.log_name, env=settings)
        wait_for("the exporter to listen", self._listens)

    def _listens(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the exporter ended with {self.process.returncode}:\n{self.log()}")
        try:
            connect(self.host, self.address, self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def log(self):
        return self.lab.log(self.log_name)

    def get(self, path, headers=None, method="GET"):
        return fetch(self.host, self.address, self.port, path, headers, method)

    def say(self, words, seconds=20.0):
        """Sends bytes as they are (a broken request, half a request) and returns all that comes back."""
        with connect(self.host, self.address, self.port, seconds) as wire:
            wire.sendall(words)
            answer = b""
            while piece := wire.recv(65536):
                answer += piece
            return answer

    def metrics(self, path="/metrics"):
        """What a scrape says, read strictly: {family name: Family}."""
        status, headers, body = self.get(path)
        if status != 200:
            raise Violation(f"{path} answered {status}")
        if headers["Content-Type"] != "text/plain; version=0.0.4; charset=utf-8":
            raise Violation(f"Content-Type is {headers['Content-Type']!r}")
        return read_exposition(body)

    def value(self, name, path="/metrics", **labels):
        """The value of one series, None where it is absent."""
        family = self.metrics(path).get(name)
        return family.samples.get(series(labels)) if family else None

    def stop(self, seconds=10.0):
        """Asks the exporter to end and returns its exit status."""
        self.process.terminate()
        return self.process.wait(seconds)


class Violation(Exception):
    """The text breaks the format or one of the project's promises about it."""


@dataclasses.dataclass
class Family:
    help: str = ""
    type: str = ""
    samples: dict = dataclasses.field(default_factory=dict)


def series(labels):
    """The identity of a series: an empty label is an absent one."""
    return tuple(sorted((name, value) for name, value in labels.items() if value != ""))


def read_exposition(body):
    """Reads a whole scrape, bytes or text, and raises Violation at the first thing that is wrong with it."""
    text = body.decode("utf-8") if isinstance(body, bytes) else body
    if text and not text.endswith("\n"):
        raise Violation("the last line has no end")
    families = {}
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            read_line(line, families)
        except Violation as fault:
            raise Violation(f"line {number}: {fault}: {line!r}") from None
    names = list(families)
    if names != sorted(names):
        raise Violation("families are not sorted by name")
    return families


def read_line(line, families):
    if "\r" in line or line != line.strip():
        raise Violation("stray white space")
    if not line:
        raise Violation("an empty line")
    if line.startswith("#"):
        return read_comment(line, families)
    return read_sample(line, families)


def read_comment(line, families):
    words = line.split(" ", 3)
    if len(words) != 4 or words[0] != "#" or not NAME.fullmatch(words[2]):
        raise Violation("neither HELP nor TYPE with a name and a text")
    _, kind, name, text = words
    if kind == "HELP":
        if name in families:
            raise Violation("HELP twice, or after TYPE or samples")
        families[name] = Family(help=unescaped(text, "\\n"))
    elif kind == "TYPE":
        family = families.get(name)
        if family is None or name != list(families)[-1]:
            raise Violation("TYPE without HELP right before it")
        if family.type or family.samples:
            raise Violation("TYPE twice, or after samples")
        if text not in TYPES:
            raise Violation(f"type {text}")
        family.type = text
    else:
        raise Violation("a comment of another kind")


def read_sample(line, families):
    match = NAME.match(line)
    name = match.group() if match else ""
    family = families.get(name)
    if family is None or not family.type:
        raise Violation("a sample before its HELP and TYPE")
    if name != list(families)[-1]:
        raise Violation("the samples of this family are not together")
    labels, rest = read_labels(line[len(name):])
    if not rest.startswith(" ") or not NUMBER.fullmatch(rest[1:]):
        raise Violation("no single number after the series")
    value = read_number(rest[1:])
    if family.type == "counter" and not value >= 0:
        raise Violation("a counter below 0")
    identity = series(labels)
    if identity in family.samples:
        raise Violation("this series was there already")
    family.samples[identity] = value


def read_labels(text):
    """Reads `{a="b",c="d"}` where it is, and returns the labels and what follows."""
    labels = {}
    if not text.startswith("{"):
        return labels, text
    position = 1
    while True:
        match = LABEL.match(text, position)
        if not match:
            raise Violation("a label was wanted")
        name, value = match.groups()
        if name in labels or name.startswith("__"):
            raise Violation(f"label {name} twice, or reserved")
        if labels and name < list(labels)[-1]:
            raise Violation("labels are not sorted by name")
        labels[name] = unescaped(value, "\\n\"")
        position = match.end()
        if text[position : position + 1] == "}":
            return labels, text[position + 1 :]
        if text[position : position + 1] != ",":
            raise Violation("labels end without `}`")
        position += 1


def unescaped(text, allowed):
    """Undoes `\\\\`, `\\n` and, where allowed, `\\"`; any other escape is wrong."""

    def plain(match):
        letter = match.group(1)
        if not letter or letter not in allowed:
            raise Violation(f"escape \\{letter}")
        return "\n" if letter == "n" else letter

    return re.sub(r"\\(.?)", plain, text)


def read_number(text):
    """Whole numbers stay exact: a 64-bit counter does not fit in a float."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return float(text)
