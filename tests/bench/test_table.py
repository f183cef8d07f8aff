"""The arithmetic of the bench's table."""

import contextlib
import io
import os
import unittest
from unittest import mock

from table import Goal, Table, Time, busy, family, quartile


def printed(rows, in_use=0.0, environment=None):
    """What a table with these rows prints, and whether it is well."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), mock.patch.dict(os.environ, environment or {}):
        if environment is None:
            os.environ.pop("CI", None)
        table = Table(in_use)
        rows(table)
        is_well = table.end()
    return is_well, out.getvalue() + errors.getvalue()


class Arithmetic(unittest.TestCase):
    def test_a_quarter_of_the_rounds_is_shorter(self):
        self.assertEqual(quartile((9, 1, 5, 3, 7, 2, 8, 4, 6)), 3)
        self.assertEqual(quartile((5, 4, 3, 2)), 2)
        self.assertEqual(quartile((4,)), 4)

    def test_a_family_has_grandchildren_and_no_strangers(self):
        parents = {1: 0, 10: 1, 20: 10, 21: 10, 30: 20, 40: 1, 41: 40}
        self.assertEqual(sorted(family(10, parents)), [10, 20, 21, 30])
        self.assertEqual(family(41, parents), [41])

    def test_a_goal_is_reached_open_or_missed(self):
        for goal, ratio, expected in [
            (Goal(4), 4, ""),
            (Goal(4), 4.01, "MISSED"),
            (Goal(1.8, 4), 1.8, ""),
            (Goal(1.8, 4), 1.81, "not reached"),
            (Goal(1.8, 4), 4, "not reached"),
            (Goal(1.8, 4), 4.01, "MISSED"),
            (Goal(0), 1, "MISSED"),
        ]:
            self.assertEqual(goal.verdict(ratio), expected, (goal, ratio))

    def test_idle_time_is_not_in_use(self):
        before = "cpu  100 0 50 1000 10 0 5 0 0 0\n"
        self.assertEqual(busy(before, "cpu  130 0 60 1140 30 0 5 0 0 0\n"), 0.2)
        self.assertEqual(busy(before, "cpu  100 0 50 1200 10 0 5 0 0 0\n"), 0)
        # The clock stood still: nothing is known to be idle.
        self.assertEqual(busy(before, before), 1)


class Rows(unittest.TestCase):
    def test_a_row_has_both_ratios_beside_their_goals(self):
        is_well, text = printed(lambda table: table.times("work", Time(0.03, 0.02), Time(0.01, 0.01), Goal(1.8, 4), Goal(4)))
        row = next(line for line in text.splitlines() if line.startswith("work  ") and "ms" in line)
        self.assertEqual(row.split(), ["work", "30.0", "ms", "10.0", "ms", "3.00", "1.80", "20.0", "ms", "10.0", "ms", "2.00",
                                       "4.00", "clock", "not", "reached"])
        self.assertIn("goal not reached: work: clock 3.00, goal 1.80, allowed 4.00\n", text)
        self.assertTrue(is_well)

    def test_what_is_above_the_allowed_fails(self):
        is_well, text = printed(lambda table: table.times("work", Time(0.01, 0.05), Time(0.01, 0.01), Goal(1.8), Goal(4)))
        self.assertIn("MISSED: work: CPU 5.00, goal 4.00\n", text)
        self.assertFalse(is_well)
        is_well, text = printed(lambda table: table.row("memory", 3, 2, 1, str))
        self.assertIn("MISSED: memory: 1.50, goal 1.00\n", text)
        self.assertFalse(is_well)

    def test_the_clock_of_a_busy_machine_does_not_fail(self):
        slow = lambda table: table.times("work", Time(0.05, 0.01), Time(0.01, 0.01), Goal(1.8), Goal(4))
        self.assertFalse(printed(slow, in_use=0.1)[0])
        is_well, text = printed(slow, in_use=0.5)
        self.assertTrue(is_well)
        self.assertIn("slow, on a machine that is busy with other work: work: clock 5.00, goal 1.80\n", text)
        self.assertFalse(printed(lambda table: table.times("work", Time(1, 5), Time(1, 1), Goal(2), Goal(4)), in_use=0.5)[0])

    def test_what_is_not_measured_fails_in_ci_only(self):
        skip = lambda table: table.skip("work", "root")
        self.assertEqual(printed(skip)[0], True)
        is_well, text = printed(skip, environment={"CI": "1"})
        self.assertIn("NOT MEASURED: work: needs root\n", text)
        self.assertFalse(is_well)


if __name__ == "__main__":
    unittest.main()
