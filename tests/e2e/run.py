"""Runs the end-to-end tests: `python3 tests/e2e/run.py [test_openvpn ...]`. Needs root, for network namespaces.

The binary is the one that GATEWAY_EXPORTER names, else the debug build. A test that can't run says so loudly; where
CI is set it fails.
"""

import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def main(names):
    if os.geteuid() != 0:
        print("SKIPPED: the end-to-end tests need root for their network namespaces", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    sys.path.insert(0, str(HERE))
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames(names) if names else loader.discover(str(HERE), top_level_dir=str(HERE))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for test, reason in result.skipped:
        print(f"SKIPPED: {test}: {reason}", file=sys.stderr)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not result.testsRun or (skipped and os.environ.get("CI")) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
