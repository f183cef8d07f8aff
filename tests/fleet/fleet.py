"""A fleet on one machine: many exporters on loopback addresses, scraped by one real Prometheus that finds them by file_sd.

Each has a charon (one replayed capture for all), an OpenVPN status file, and a rule with its own name for its own port.
`FLEET=500 FLEET_SECONDS=300 python3 tests/fleet/fleet.py` prints what it costs; tests/e2e/test_fleet.py runs a small one.
"""

import json
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from exporter import ROOT, binary  # noqa: E402
from host import Lab, wait_for  # noqa: E402
from prometheus import Prometheus  # noqa: E402
from replay import FIXTURES  # noqa: E402

PORT = 9234
TICKS = os.sysconf("SC_CLK_TCK")
CONFIG = """\
vici_socket: '{vici}'
ovpnudpstatus: '{status}'
sockets:
  - {{name: {name}, host: {address}, port: {port}, status: listen}}
"""
# As docs/fleet.md has it.
PROMETHEUS = """\
global:
  scrape_interval: {interval}s
  scrape_timeout: {timeout}s
  evaluation_interval: {interval}s
rule_files: ['{rules}']
scrape_configs:
  - job_name: gateway
    file_sd_configs:
      - files: ['{targets}']
"""


def address(number):
    """127.1.0.1 to 127.1.0.250, then 127.1.1.1 and so on."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


class Fleet:
    """`size` exporters in a namespace of their own, and their Prometheus; it ends with the lab."""

    def __init__(self, lab, size, interval, player):
        self.lab, self.size, self.interval = lab, size, interval
        self.host = lab.host("fleet")
        self.names = {f"{address(number)}:{PORT}": f"gateway {number}" for number in range(size)}
        vici = pathlib.Path(lab.path("replay", "vici"))
        capture = FIXTURES / "strongswan" / "inside"
        self.charon = self.host.start(str(player), str(vici), str(capture), log="replay.log")
        wait_for("the replayed charon", vici.exists)
        self.exporters = [self._exporter(number, vici) for number in range(size)]
        targets = lab.write("targets.json", json.dumps([{"targets": list(self.names)}]))
        rules = ROOT / "contrib" / "prometheus" / "recording.yaml"
        config = PROMETHEUS.format(interval=interval, timeout=min(10, interval), targets=targets, rules=rules)
        self.prometheus = Prometheus(lab, {}, host=self.host, config=config)
        patience = 60 + 3 * interval
        self.prometheus.await_rows(f"count(up == 1) == {size}", patience)

    def _exporter(self, number, vici):
        settings = {"vici": vici, "status": FIXTURES / "openvpn" / "version-3" / "status", "name": f"gateway {number}"}
        config = CONFIG.format(address=address(number), port=PORT, **settings)
        path = self.lab.write(f"gateway{number}.yaml", config)
        return self.host.start(binary(), f"--config.file={path}", f"--web.listen-address={address(number)}:{PORT}")

    def watch(self, seconds):
        """Lets it run, and gives what it cost: {what: value}."""
        groups = {"exporters": self.exporters, "prometheus": [self.prometheus.process], "charon": [self.charon]}
        before = {name: cpu(group) for name, group in groups.items()}
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        spent = {f"cpu {name}": cpu(group) - before[name] for name, group in groups.items()}
        pss, rss = zip(*(memory(process) for process in self.exporters))
        return {"seconds": end - begin, **spent, "pss": sorted(pss), "rss": sorted(rss), **self.scrapes(begin, end)}

    def scrapes(self, begin, end):
        """What Prometheus holds of the time between: how long the scrapes took, and what it missed."""
        window = f"[{round(end - begin)}s]"
        up = self._raw("up" + window, end)
        times = {instance: [moment for moment, _ in samples] for instance, samples in up.items()}
        gaps = [later - sooner for moments in times.values() for sooner, later in zip(moments, moments[1:])]
        named = {labels["instance"]: labels["name"] for labels, value in self.prometheus.query("connection_status_up == 1")}
        samples = self._raw("scrape_samples_post_metric_relabeling" + window, end)
        return {
            "scrapes": sum(map(len, up.values())),
            "failed": sum(value != "1" for found in up.values() for _, value in found),
            "fewest": min(map(len, up.values())),
            "longest gap": max(gaps),
            "durations": sorted(float(value) for found in self._raw("scrape_duration_seconds" + window, end).values() for _, value in found),
            "series": sorted({int(value) for found in samples.values() for _, value in found}),
            "all there": set(up) == set(self.names) and named == self.names,
            "records": int(self.prometheus.query('count({__name__=~"instance.*:.*"})')[0][1]) / self.size,
        }

    def _raw(self, expression, moment):
        """{instance: [(time, value)]} of a range."""
        return {labels["instance"]: values for labels, values in self.prometheus.raw(expression, moment)}


def cpu(processes):
    """Seconds that they have spent on a CPU."""
    fields = [pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split() for process in processes]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICKS


def memory(process):
    """The proportional and the resident set of a process in KiB."""
    lines = pathlib.Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return sizes["Pss"], sizes["Rss"]


def share(values, part):
    return values[min(len(values) - 1, int(len(values) * part))]


def show(fleet, cost):
    scrapes, durations = cost["scrapes"], cost["durations"]
    rate = scrapes / cost["seconds"]
    print(f"{fleet.size} exporters, scraped every {fleet.interval} s for {cost['seconds']:.0f} s on {os.cpu_count()} cores")
    print(f"scrapes: {scrapes}, {rate:.1f} a second, failed {cost['failed']}, fewest of one exporter {cost['fewest']}, "
          f"longest gap {cost['longest gap']:.2f} s, every exporter there with its own name: {cost['all there']}")
    print("a scrape: " + ", ".join(f"{name} {1000 * share(durations, part):.1f} ms" for name, part in
                                   (("median", 0.5), ("99 of 100", 0.99), ("999 of 1000", 0.999), ("slowest", 1))))
    for kind in ("pss", "rss"):
        print(f"an exporter: {kind.upper()} median {share(cost[kind], 0.5)} KiB, most {cost[kind][-1]} KiB; all {sum(cost[kind]) / 1024:.0f} MiB")
    for name in ("exporters", "prometheus", "charon"):
        spent = cost[f"cpu {name}"]
        print(f"CPU of {name}: {spent:.1f} s, {1000 * spent / scrapes:.2f} ms a scrape, {100 * spent / cost['seconds']:.1f} % of a core")
    print(f"series of an exporter: {cost['series']}, records of recording.yaml for each: {cost['records']:.1f}")


def main():
    size, seconds = int(os.environ.get("FLEET", "500")), int(os.environ.get("FLEET_SECONDS", "300"))
    release = ROOT / "target" / "release"
    os.environ.setdefault("GATEWAY_EXPORTER", str(release / "gateway-exporter"))
    with Lab() as lab:
        fleet = Fleet(lab, size, 15, release / "examples" / "replay")
        # The first scrapes of a fresh Prometheus are not what the rest of its life is like.
        time.sleep(30)
        cost = fleet.watch(seconds)
        show(fleet, cost)
    return 1 if cost["failed"] or not cost["all there"] or cost["fewest"] < seconds // fleet.interval else 0


if __name__ == "__main__":
    sys.exit(main())
