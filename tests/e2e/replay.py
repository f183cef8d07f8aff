"""A charon that answers from a capture, where a test needs no real one."""

import os
import unittest

from exporter import ROOT
from host import wait_for

PLAYER = ROOT / "target" / "debug" / "examples" / "replay"
FIXTURES = ROOT / "fixtures"


class Replay:
    """Plays `fixtures/strongswan/<case>` on a Unix socket; it ends with the lab."""

    def __init__(self, lab, case, socket=None):
        if not PLAYER.exists():
            raise unittest.SkipTest("no charon to replay: cargo build --example replay")
        self.socket = socket or lab.path("replay", case)
        lab.start((str(PLAYER), self.socket, str(FIXTURES / "strongswan" / case)), log=f"replay-{case}.log")
        wait_for("the replayed charon", lambda: os.path.exists(self.socket))
