"""The table of `make bench`: times of the exporter and of its limit side by side, their ratios, and what they should be."""

import os
import sys
import time
import typing

MIB = 1024 * 1024
WORK = 54
# Above this share of its CPUs in use by others before the bench begins, a machine's clock says little about the exporter.
QUIET = 0.1


class Time(typing.NamedTuple):
    """Seconds by the clock, and on a CPU."""

    wall: float
    cpu: float


class Goal(typing.NamedTuple):
    """The ratio that is wanted, and where that is not reached yet the one that is allowed meanwhile."""

    wanted: float
    allowed: typing.Optional[float] = None

    def verdict(self, ratio):
        if ratio <= self.wanted:
            return ""
        return "not reached" if self.allowed and ratio <= self.allowed else "MISSED"


def quartile(numbers):
    """The lower quartile of several measurements of one thing.

    The shortest time is luck, and the median of a busy machine says what others did.
    """
    return sorted(numbers)[(len(numbers) - 1) // 4]


def family(process, parents):
    """A process and all that it has started, directly or not, from the parent of each."""
    children = [child for child, parent in parents.items() if parent == process]
    return [process] + [one for child in children for one in family(child, parents)]


def busy(before, after):
    """The share of the CPUs that was in use between two first lines of /proc/stat."""
    def split(line):
        numbers = [int(word) for word in line.split()[1:9]]
        # The fourth and fifth are idle, without and with a disk to wait for.
        return sum(numbers), sum(numbers[3:5])

    (all_before, idle_before), (all_after, idle_after) = split(before), split(after)
    total = all_after - all_before
    return (total - idle_after + idle_before) / total if total else 1.0


def others():
    """The share of the CPUs that others use now, over two seconds."""
    def read():
        with open("/proc/stat") as stat:
            return stat.readline()

    before = read()
    time.sleep(2)
    return busy(before, read())


class Table:
    """The rows, and which of them are above what is allowed, above their goal, or not measured."""

    def __init__(self, in_use):
        self.is_quiet = in_use <= QUIET
        self.missed, self.open, self.slow, self.skipped = [], [], [], []
        print(f"{os.cpu_count()} CPUs, {in_use:.0%} of them in use by others before this"
              + ("" if self.is_quiet else ": ratios by the clock are printed, but do not fail"))
        one = f"{'exporter':>11}{'limit':>11}{'ratio':>7}{'goal':>7}"
        print(f"{'':<{WORK}}{'by the clock':>36}{'on CPU':>36}\n{'work':<{WORK}}{one}{one}")

    def times(self, work, mine, limit, clock, cpu):
        """A row of times, with a goal for each ratio."""
        ratios = mine.wall / limit.wall, mine.cpu / limit.cpu
        cells = [cell(ms(mine.wall), ms(limit.wall), ratios[0], clock), cell(ms(mine.cpu), ms(limit.cpu), ratios[1], cpu)]
        self.print(work, cells, [("clock", ratios[0], clock), ("CPU", ratios[1], cpu)])

    def row(self, work, mine, limit, wanted, form):
        """A row of something else than time."""
        ratio, goal = mine / limit, Goal(wanted)
        self.print(work, [cell(form(mine), form(limit), ratio, goal)], [("", ratio, goal)])

    def print(self, work, cells, ratios):
        notes = []
        for name, ratio, goal in ratios:
            verdict = goal.verdict(ratio)
            if verdict == "MISSED" and name == "clock" and not self.is_quiet:
                verdict = "slow"
            if verdict:
                notes.append(f"{name} {verdict}".strip())
                kind = {"MISSED": self.missed, "not reached": self.open, "slow": self.slow}[verdict]
                kind.append(f"{work}: {f'{name} ' if name else ''}{ratio:.2f}, goal {goal.wanted:.2f}"
                            + (f", allowed {goal.allowed:.2f}" if goal.allowed else ""))
        print(f"{work:<{WORK}}{''.join(cells)}{'  ' if notes else ''}{', '.join(notes)}", flush=True)

    def skip(self, work, needs):
        print(f"{work:<{WORK}}  NOT MEASURED: needs {needs}", flush=True)
        self.skipped.append(f"{work}: needs {needs}")

    def end(self):
        """Whether no row is above what is allowed, and in CI whether every row was measured."""
        print()
        for what, rows in (("MISSED", self.missed), ("goal not reached", self.open),
                           ("slow, on a machine that is busy with other work", self.slow), ("NOT MEASURED", self.skipped)):
            print("".join(f"{what}: {row}\n" for row in rows), end="", file=sys.stderr if rows is self.skipped else None)
        if not self.missed:
            print("no row is above what is allowed")
        return not self.missed and not (self.skipped and os.environ.get("CI"))


def cell(mine, limit, ratio, goal):
    return f"{mine:>11}{limit:>11}{ratio:>7.2f}{goal.wanted:>7.2f}"


def ms(seconds):
    return f"{seconds * 1e3:.1f} ms"


def mib(count):
    return f"{count / MIB:.2f} MiB"
