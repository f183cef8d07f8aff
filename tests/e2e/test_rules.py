"""promtool's opinion of the rules in contrib/prometheus: they are valid, and each does what its tests say."""

import subprocess
import unittest

from exporter import ROOT

FOLDER = ROOT / "contrib" / "prometheus"


def promtool(command, *files):
    done = subprocess.run(("promtool", command, "rules", *files), cwd=FOLDER, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class Rules(unittest.TestCase):
    def test_the_rules_are_valid(self):
        self.assertEqual(promtool("check", "alerts.yaml", "recording.yaml")[0], 0)

    def test_each_rule_does_what_its_tests_say(self):
        status, said = promtool("test", "alerts.test.yaml", "recording.test.yaml")
        self.assertEqual((status, said.count("SUCCESS")), (0, 2), said)


if __name__ == "__main__":
    unittest.main()
