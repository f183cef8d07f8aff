"""Runs the end-to-end tests: `python3 tests/e2e/run.py [test_openvpn ...]`. Needs root, for network namespaces.

The binary is the one that GATEWAY_EXPORTER names, else the debug build. A test that can't run says so loudly; where
CI is set it fails. Without names every file is run, several of them at once, since tests wait more than they work; what a file
says is printed when it has ended. A file whose answers must come in time beside an attack has the machine for itself.
"""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
AT_ONCE = 4
ALONE = ["test_siege"]
# What takes longest begins first, so that it is not left over at the end.
FIRST = ["test_totals", "test_management", "test_strongswan", "test_openvpn"]


def here(names):
    """Runs these tests in this process; the exit status."""
    sys.path.insert(0, str(HERE))
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromNames(names))
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    for test, reason in result.skipped:
        print(f"SKIPPED: {test}: {reason}", file=sys.stderr)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not result.testsRun or (skipped and os.environ.get("CI")) else 0


def file(name):
    """Runs a file in a process of its own; its exit status."""
    begun = time.monotonic()
    done = subprocess.run((sys.executable, __file__, name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    sys.stdout.write(f"# {name}: {time.monotonic() - begun:.0f} s\n{done.stdout.decode(errors='replace')}\n")
    sys.stdout.flush()
    return done.returncode


def main(names):
    if os.geteuid() != 0:
        print("SKIPPED: the end-to-end tests need root for their network namespaces", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    if names:
        return here(names)
    others = sorted({path.stem for path in HERE.glob("test_*.py")} - {*FIRST, *ALONE})
    files = FIRST + others
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = dict(zip(files, pool.map(file, files)))
    statuses |= {name: file(name) for name in ALONE}
    failed = [name for name, status in statuses.items() if status]
    print(f"{len(statuses) - len(failed)} files passed, {len(failed)} failed: {', '.join(failed)}".rstrip(": "))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
