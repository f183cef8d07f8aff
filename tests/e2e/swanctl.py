"""What `swanctl --list-sas` prints, read back: the judge of what the exporter says about the same charon.

The layout is the one of strongSwan 5.9's `src/swanctl/commands/list_sas.c`. The reader refuses a line that it does not know, so that
nothing goes unjudged.
"""

import dataclasses
import re

IKE = re.compile(r"(?P<name>\S+): #(?P<id>\d+), (?P<state>\w+), IKEv(?P<version>\d), (?P<spi>\w+_i\*?) \w+_r\*?")
END = re.compile(r"  (?P<side>local|remote) +'(?P<id>[^']*)' @ (?P<host>\S+)\[(?P<port>\d+)\].*")
AGE = re.compile(r"  established (?P<age>\d+)s ago(?:, rekeying in (?P<rekey>-?\d+)s)?(?:, reauth in (?P<reauth>-?\d+)s)?")
TASKS = re.compile(r"  (?:queued|active|passive): .*")
CHILD = re.compile(r"  (?P<name>\S+): #(?P<id>\d+), reqid \d+, (?P<state>\w+), (?P<mode>[\w-]+)(?:, ESP:(?P<proposal>\S+))?")
TIMES = re.compile(r"    installed (?P<age>\d+)s ago(?:, rekeying in (?P<rekey>-?\d+)s)?(?:, expires in (?P<life>-?\d+)s)?")
COUNTS = re.compile(
    r"    (?P<way>in|out) +\S+, +(?P<bytes>\d+) bytes, +(?P<packets>\d+) packets(?:, +(?P<used>\d+)s ago)?"
)
SELECTORS = re.compile(r"    (?P<side>local|remote) +(?P<list>\S.*)")


@dataclasses.dataclass
class Ike:
    """One IKE_SA; times are in seconds, None where swanctl prints none."""

    name: str
    id: str
    state: str
    version: int
    initiator: bool
    ends: dict = dataclasses.field(default_factory=dict)
    proposal: str = ""
    age: int | None = None
    rekey: int | None = None
    reauth: int | None = None
    children: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Child:
    """One CHILD_SA; `counts` and `selectors` are by direction and by side."""

    name: str
    id: str
    state: str
    encap: bool
    proposal: str
    age: int | None = None
    rekey: int | None = None
    life: int | None = None
    counts: dict = dataclasses.field(default_factory=dict)
    selectors: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Count:
    bytes: int
    packets: int
    used: int | None


def whole(text):
    return None if text is None else int(text)


def read_sas(text):
    """The IKE_SAs with their children, in the order of the print."""
    sas = []
    for line in text.splitlines():
        if not line:
            continue
        if match := IKE.fullmatch(line):
            initiator = match["spi"].endswith("*")
            sas.append(Ike(match["name"], match["id"], match["state"], int(match["version"]), initiator))
        elif not (read_child_line(sas[-1], line) if line.startswith("    ") else read_ike_line(sas[-1], line)):
            raise ValueError(f"swanctl said {line!r}")
    return sas


def read_ike_line(sa, line):
    """A line of an IKE_SA, among them the first one of a child; whether it was understood."""
    if match := END.fullmatch(line):
        sa.ends[match["side"]] = match
    elif match := AGE.fullmatch(line):
        sa.age, sa.rekey, sa.reauth = (whole(match[key]) for key in ("age", "rekey", "reauth"))
    elif match := CHILD.fullmatch(line):
        encap = match["mode"].endswith("-in-UDP")
        sa.children.append(Child(match["name"], match["id"], match["state"], encap, match["proposal"] or ""))
    elif re.fullmatch(r"  [A-Z0-9_]+(?:-\d+)?(?:/[A-Z0-9_]+)+", line):
        sa.proposal = line.strip()
    else:
        return bool(TASKS.fullmatch(line))
    return True


def read_child_line(sa, line):
    child = sa.children[-1]
    if match := TIMES.fullmatch(line):
        child.age, child.rekey, child.life = (whole(match[key]) for key in ("age", "rekey", "life"))
    elif match := COUNTS.fullmatch(line):
        child.counts[match["way"]] = Count(int(match["bytes"]), int(match["packets"]), whole(match["used"]))
    elif match := SELECTORS.fullmatch(line):
        child.selectors[match["side"]] = ";".join(match["list"].split())
    else:
        return False
    return True


def still(sas):
    """All that does not change with time alone: equal twice means that nothing happened between."""
    return [
        (sa.name, sa.id, sa.state, sa.proposal)
        + tuple(
            (child.name, child.id, child.state, child.proposal, *((count.bytes, count.packets) for count in child.counts.values()))
            for child in sa.children
        )
        for sa in sas
    ]
