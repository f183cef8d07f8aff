"""The completions of contrib/completions in the shells themselves."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
import unittest

from exporter import ROOT
from host import Lab

FOLDER = os.path.join(ROOT, "contrib", "completions")
CASES = (
    # What is typed, and the word that it becomes.
    (("st",), "status"),
    (("check",), "check-config"),
    (("--log.l",), "--log.level"),
    (("status", "--j"), "--json"),
    (("--log.level", "wa"), "warn"),
    (("--log.format=lo",), "--log.format=logfmt"),
    (("--no-collector.so",), "--no-collector.sockets"),
    (("--once", "--output", "FOLDER/vp"), "FOLDER/vpn.prom"),
    (("-c", "FOLDER/ex"), "FOLDER/exporter.yaml"),
    (("--config.file=FOLDER/ex",), "--config.file=FOLDER/exporter.yaml"),
)


class Completions(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        for name in ("vpn.prom", "exporter.yaml"):
            self.lab.write(name, "")

    def shell(self, name):
        found = shutil.which(name)
        if not found:
            self.assertNotIn("CI", os.environ, f"{name} is not installed")
            self.skipTest(f"{name} is not installed")
        return found

    def cases(self):
        for words, expected in CASES:
            yield [word.replace("FOLDER", self.lab.folder) for word in words], expected.replace("FOLDER", self.lab.folder)

    def run_shell(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return done.stdout.split("\n")[:-1]

    def test_bash(self):
        shell, file = self.shell("bash"), os.path.join(FOLDER, "gateway-exporter.bash")

        def offered(words):
            # As bash cuts a line into words.
            cut = [part for word in words for part in re.split("(=)", word) if part]
            script = (
                'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                'eval "$(complete -p gateway-exporter | sed "s/.* -F \\([^ ]*\\) .*/\\1/")"; printf "%s\\n" "${COMPREPLY[@]}"'
            )
            return self.run_shell(shell, "--norc", "-c", script, "bash", file, "gateway-exporter", *cut)

        for words, expected in self.cases():
            self.assertEqual(offered(words), [expected.split("=")[-1]], words)
        self.assertEqual(offered(["--log.level="]), ["debug", "info", "warn", "error"])
        self.assertEqual(offered(["--web.listen-address", "x"]), [""])
        self.assertNotIn("status", offered(["--debug", " "]), "a command stands before all flags")

    def test_fish(self):
        shell, file = self.shell("fish"), os.path.join(FOLDER, "gateway-exporter.fish")

        def offered(words):
            line = " ".join(("gateway-exporter", *words))
            lines = self.run_shell(shell, "--no-config", "-c", "source $argv[1]; complete -C $argv[2]", file, line)
            return [line.split("\t")[0] for line in lines]

        for words, expected in self.cases():
            self.assertIn(expected, offered(words), words)
            self.assertEqual(len(offered(words)), 1, words)
        self.assertEqual(offered(["--log.level="]), [f"--log.level={word}" for word in ("debug", "error", "info", "warn")])
        self.assertEqual(offered(["--web.listen-address", "x"]), [])

    def test_zsh(self):
        shell = self.shell("zsh")
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(TERM="dumb", PS1="")
            os.execv(shell, ["zsh", "-f", "-i"])
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.close, terminal)

        def say(text, end):
            """Types something, and reads until what is printed matches."""
            os.write(terminal, text.encode())
            shown, until = "", time.monotonic() + 20
            while not (found := re.search(end, shown)):
                self.assertLess(time.monotonic(), until, shown)
                if select.select([terminal], [], [], 1)[0]:
                    shown += os.read(terminal, 65536).decode(errors="replace")
            return found

        say(f"fpath=({FOLDER} $fpath); autoload -Uz compinit; compinit -u -D; unsetopt zle_bracketed_paste 2>/dev/null\n", "")
        # What the shell shows of what was typed has no digits between the arrows.
        say("gateway-exporter() { print -r -- \"<$#>\" ${(j:|:)@} \"<end>\" }; print ready$((1 + 1))\n", "ready2")
        for words, expected in self.cases():
            line = " ".join(("gateway-exporter", *words))
            found = say(f"{line}\t\n", r"<\d+> (.*?) <end>")
            said = found.group(1).rstrip("=").split("|")
            self.assertEqual(said, [*words[:-1], expected], words)
        say("exit\n", "")


if __name__ == "__main__":
    unittest.main()
