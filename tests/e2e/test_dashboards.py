"""Every query of the dashboards, every record and the alerts, run by a real Prometheus over real daemons."""

import json
import shutil
import subprocess
import time
import unittest

from exporter import ROOT
from gateways import Gateways
from host import Lab, wait_for

FOLDER = ROOT / "contrib" / "grafana"
BOARDS = ("fleet.json", "gateway.json")
# What Grafana puts in the place of its variables.
VARIABLES = {"$__rate_interval": "15s", "$job": "gateway-.*", "$instance": ".*"}

# The troubles of the scenario; the others need more time or harm than a test has, and are in alerts.test.yaml.
EXPECTED = {
    "TunnelDown", "PoolNearlyFull", "CertificateExpiresSoon", "StatusFileStale", "SourceDown", "WatchedConnectionMissing",
    "ExporterDown",
}
# True of a healthy gateway, and of this scenario: nothing is left out.
EMPTY = {"Series left out", "WireGuard's peers down"}


def queries(name):
    """[(panel, expression)] of a dashboard, as Grafana would send them."""
    board = json.loads((FOLDER / name).read_text())
    found = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    return [(title, filled_in(expression)) for title, expression in found]


def filled_in(expression):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


class Dashboards(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateways = Gateways(cls.enterClassContext(Lab()))
        cls.prometheus = cls.gateways.prometheus
        # Two scrapes with traffic between them, and the rules after those.
        for _ in range(3):
            cls.gateways.traffic(20000)
            cls.gateways.rekey()
            time.sleep(1)
        cls.prometheus.await_rows("instance:xfrm_errors:rate5m > 0")

    def test_every_query_returns_data(self):
        missing = []
        for board in BOARDS:
            asked = queries(board)
            self.assertGreater(len(asked), 20, board)
            for title, expression in asked:
                rows = self.prometheus.query(expression)
                if bool(rows) == (title in EMPTY):
                    missing.append(f"{board}: {title}: {expression}")
        self.assertEqual(missing, [])

    def test_what_is_down_is_shown_and_nothing_else(self):
        down = self.rows("fleet.json", "Tunnels down", "lyon")
        self.assertEqual({labels.get("child") or labels["tunnel"] for labels, _ in down}, {"lyon"})
        self.assertEqual(len(down), 2, "once for VICI, once for ipsec.conf")
        missing = self.rows("fleet.json", "Connections that are missing", "syslog")
        self.assertEqual({labels["name"] for labels, _ in missing}, {"database", "syslog"})
        unread = self.rows("fleet.json", "Sources that can't be read", "charon")
        self.assertEqual([labels["collector"] for labels, _ in unread], ["strongswan"])

    def rows(self, board, title, words):
        """The rows of the table of that title, once those words are in it."""
        (expression,) = [expression for name, expression in queries(board) if name == title and "==" in expression]
        return wait_for(title, lambda: (rows := self.prometheus.query(expression)) and words in str(rows) and rows)

    def test_every_record_is_there(self):
        records = {
            rule["name"]: rule for rule in self.rules() if rule["type"] == "recording"
        }
        self.assertGreater(len(records), 10)
        for name, rule in records.items():
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), name)
            self.assertTrue(self.prometheus.query(name), name)

    def test_the_alerts_say_what_is_wrong(self):
        wait_for("the alerts", lambda: {labels["alertname"] for labels, _ in self.prometheus.alerts()} >= EXPECTED)
        found = self.prometheus.alerts()
        self.assertEqual({labels["alertname"] for labels, _ in found}, EXPECTED)
        for labels, annotations in found:
            said = annotations["summary"] + annotations["description"]
            for mistake in ("error expanding", "<no value>", "%!", "  "):
                self.assertNotIn(mistake, said, labels)
            self.assertIn(labels["instance"], annotations["summary"])
        for rule in self.rules():
            self.assertEqual((rule["health"], rule.get("lastError", "")), ("ok", ""), rule["name"])

    def rules(self):
        return [rule for group in self.prometheus.rules() for rule in group["rules"]]


class Schema(unittest.TestCase):
    """The dashboards as Grafana's published types have them; npm brings the types and the compiler that checks."""

    @classmethod
    def setUpClass(cls):
        if not shutil.which("npm"):
            raise unittest.SkipTest("npm is missing: tests/setup.sh build test installs it")
        cls.folder = ROOT / "target" / "grafana"
        cls.folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "boards.mjs"):
            shutil.copy(ROOT / "tests" / "grafana" / name, cls.folder / name)
        install = ("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
        subprocess.run(install, cwd=cls.folder, check=True, capture_output=True, timeout=300)

    def faults(self, name, text):
        """What the compiler says of a dashboard."""
        (self.folder / f"{name}.json").write_text(text)
        write = ("node", "boards.mjs", f"{name}.ts", f"{name}.json")
        subprocess.run(write, cwd=self.folder, check=True, timeout=60)
        check = ("node_modules/.bin/tsc", "--noEmit", "--strict", "--moduleResolution", "bundler", "--module", "esnext",
                 "--target", "esnext", "--skipLibCheck", f"{name}.ts")
        return subprocess.run(check, cwd=self.folder, check=False, capture_output=True, text=True, timeout=120).stdout

    def test_the_dashboards_are_of_grafanas_types(self):
        for board in BOARDS:
            text = (FOLDER / board).read_text()
            self.assertEqual(self.faults(board.removesuffix(".json"), text), "", board)
            for right, wrong in (('"colorMode": "value"', '"colorMode": "valeu"'), ('"showHeader"', '"showHeaders"'),
                                 ('"gridPos"', '"gridPosition"'), ('"mode": "multi"', '"mode": 5')):
                self.assertIn(right, text)
                self.assertIn("error TS", self.faults("wrong", text.replace(right, wrong, 1)), wrong)


if __name__ == "__main__":
    unittest.main()
