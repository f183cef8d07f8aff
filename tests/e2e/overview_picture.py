"""Draws the overview page during the demo, for docs/overview.png: `make pictures`.

It looks for 85 seconds, so that the traffic has a line and the tunnel branch-b has gone down. Needs pillow.
"""

import os
import subprocess
import sys
import time

from PIL import Image

from browser import Browser
from exporter import ROOT, fetch, free_port
from host import Lab, wait_for

SECONDS = int(os.environ.get("PICTURES_SECONDS", "85"))
SIZE = (1000, 757)
# Enough for the few colours of the page and the edges of its letters; a third of the size.
COLOURS = 128


def answers(port):
    try:
        return fetch(None, "127.0.0.1", port, "/-/ready")[0] == 200
    except OSError:
        return False


def main(path):
    port = free_port()
    environment = {**os.environ, "LISTEN": f"127.0.0.1:{port}"}
    demo = subprocess.Popen([ROOT / "tests" / "replay" / "demo.sh"], env=environment, stdout=subprocess.DEVNULL)
    try:
        with Lab() as lab:
            wait_for("the demo", lambda: answers(port))
            browser = Browser(lab)
            browser.size(*SIZE)
            browser.open(f"http://127.0.0.1:{port}/")
            time.sleep(SECONDS)
            browser.screenshot(path)
    finally:
        demo.terminate()
        demo.wait(20)
    Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
