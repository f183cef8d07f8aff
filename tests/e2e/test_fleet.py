"""A small fleet that Prometheus finds by file_sd, and how many series a gateway has, as docs/fleet.md says."""

import sys
import unittest

from exporter import ROOT
from host import Lab
from replay import PLAYER

sys.path.append(str(ROOT / "tests" / "fleet"))

import series  # noqa: E402
from fleet import Fleet  # noqa: E402

SIZE, SECONDS = 20, 6


class Fleets(unittest.TestCase):
    def test_no_scrape_of_a_fleet_is_missed(self):
        with Lab() as lab:
            cost = Fleet(lab, SIZE, 1, PLAYER).watch(SECONDS)
        self.assertTrue(cost["all there"])
        # A machine that stands still for a second makes a scrape late, which is no mistake.
        self.assertLessEqual(cost["failed"], SIZE // 10)
        self.assertGreaterEqual(cost["fewest"], SECONDS - 2)
        self.assertLess(max(cost["series"]) - min(cost["series"]), 10, cost["series"])

    def test_the_series_of_a_gateway_are_what_the_docs_say(self):
        with Lab() as lab:
            rows = series.measure(lab)
        page = (ROOT / "docs" / "fleet.md").read_text().splitlines()
        said = [line.rsplit("|", 2)[0] for line in page]
        for row in series.table(rows):
            self.assertIn(row.rsplit("|", 2)[0], said)


if __name__ == "__main__":
    unittest.main()
