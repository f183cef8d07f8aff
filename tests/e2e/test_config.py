"""Whose configuration it is, what half of one does, and what can't be read."""

import contextlib
import os
import pathlib
import pwd
import signal
import subprocess
import unittest

from exporter import Exporter, binary
from host import Lab, wait_for
from replay import FIXTURES

STATUS = FIXTURES / "openvpn" / "version-3" / "status"
HASH = "$2a$04$TnjywYklQbbZjdjBgBoA4e9G7RJt9blgMgsCvUvus4Iv4TENB5nHy"
NOBODY = 65534
MEANT = "not read; --config.file={} if you mean it"


def run(*flags, folder=None, user=None):
    """(exit status, stdout, stderr) of the binary."""
    done = subprocess.run(
        (binary(), *flags), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, cwd=folder, user=user
    )
    return done.returncode, done.stdout, done.stderr


class Files(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        os.chmod(self.lab.folder, 0o755)

    def folder(self, name, owner=0, mode=0o755):
        path = self.lab.path(name)
        os.makedirs(os.path.join(path, "config"))
        for folder in (path, os.path.join(path, "config")):
            os.chown(folder, owner, owner)
            os.chmod(folder, mode)
        return path

    def put(self, folder, name, text, owner=0, mode=0o644):
        path = os.path.join(folder, name)
        pathlib.Path(path).write_text(text)
        os.chown(path, owner, owner)
        os.chmod(path, mode)
        return path


class CurrentFolder(Files):
    def test_root_runs_no_command_that_somebody_else_put_there(self):
        for name in ("exporter.yaml", "config/config.yml"):
            for owner, mode, why in (
                (NOBODY, 0o755, f"{name} lies in a folder that belongs to {pwd.getpwuid(NOBODY).pw_name}"),
                (0, 0o777, f"{name} lies in a folder that can be written by others"),
            ):
                folder = self.folder(f"theirs-{owner}-{len(name)}", owner, mode)
                trace = os.path.join(folder, "PWNED")
                self.put(folder, name, f"ipsec_config: /dev/null\nipsec_command: [touch, '{trace}']\n", owner)
                for flag in ("--once", "--doctor", "--dry-run", "--check-config"):
                    _, printed, said = run(flag, folder=folder)
                    self.assertFalse(os.path.exists(trace), f"{flag}: it was run")
                    self.assertIn(f"{why}: {MEANT.format(name)}", printed + said, flag)
                run("--once", f"--config.file={name}", folder=folder)
                self.assertTrue(os.path.exists(trace), "who names it means it")

    def test_a_file_of_somebody_else_in_a_good_folder_is_not_read(self):
        folder = self.folder("good")
        for owner, mode, why in (
            (NOBODY, 0o644, f"belongs to {pwd.getpwuid(NOBODY).pw_name}"),
            (0, 0o664, "can be written by others"),
            (0, 0o646, "can be written by others"),
        ):
            self.put(folder, "exporter.yaml", "nonsense\n", owner, mode)
            status, _, said = run("--check-config", folder=folder)
            self.assertEqual(status, 0, said)
            self.assertIn(f"exporter.yaml {why}: {MEANT.format('exporter.yaml')}", said)
        os.remove(os.path.join(folder, "exporter.yaml"))
        os.symlink("/etc/shadow", os.path.join(folder, "exporter.yaml"))
        status, _, said = run("--check-config", folder=folder)
        self.assertEqual(status, 0, said)
        self.assertIn(f"exporter.yaml is a symbolic link: {MEANT.format('exporter.yaml')}", said)
        self.assertNotIn("root:", said)

    def test_ones_own_and_roots_are_read(self):
        text = f"ovpnudpstatus: {STATUS}\n"
        for owner, user in ((0, 0), (0, NOBODY), (NOBODY, NOBODY)):
            folder = self.folder(f"own-{owner}-{user}", owner)
            self.put(folder, "exporter.yaml", text, owner)
            status, _, said = run("--check-config", folder=folder, user=user)
            self.assertEqual(status, 0, said)
            self.assertIn(f"watching openvpn: {STATUS} (exporter.yaml)", said)

    def test_another_is_looked_for_after_one_that_is_refused(self):
        folder = self.folder("second")
        self.put(folder, "exporter.yaml", "nonsense\n", NOBODY)
        self.put(folder, "config/config.yml", f"ovpnudpstatus: {STATUS}\n")
        status, _, said = run("--check-config", folder=folder)
        self.assertEqual(status, 0, said)
        self.assertIn("exporter.yaml belongs to ", said)
        self.assertIn(f"watching openvpn: {STATUS} (config/config.yml)", said)


class NamedFiles(Files):
    def test_who_may_write_it_is_a_warning_and_no_more(self):
        folder = self.folder("named")
        path = self.put(folder, "c.yaml", f"ovpnudpstatus: {STATUS}\n", NOBODY, 0o666)
        status, _, said = run("--check-config", f"--config.file={path}")
        self.assertEqual(status, 0, said)
        self.assertIn(f"{path}: can be written by others; chmod go-w {path}", said)
        os.chmod(path, 0o644)
        self.assertNotIn("written by others", run("--check-config", f"--config.file={path}")[2])
        web = self.put(folder, "web.yaml", f"basic_auth_users: {{ann: {HASH}}}\n", 0, 0o620)
        status, _, said = run("--check-config", f"--config.file={path}", f"--web.config.file={web}")
        self.assertEqual(status, 0, said)
        self.assertIn(f"{web}: can be written by others; chmod go-w {web}", said)

    def test_what_is_no_file_is_not_waited_for(self):
        folder = self.folder("odd")
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo, 0o644)
        config = self.put(folder, "c.yaml", f"ovpnudpstatus: {STATUS}\n")
        hashed = self.put(folder, "k.yaml", f"ovpnudpstatus: {STATUS}\nidentities: hashed\nidentities_key_file: {fifo}\n")
        for path in (fifo, folder, "/dev/zero"):
            for flags in ((f"--config.file={path}",), (f"--config.file={config}", f"--web.config.file={path}")):
                status, _, said = run("--check-config", *flags)
                self.assertEqual(status, 2, said)
                self.assertIn(f"{path}: not a regular file", said)
        status, _, said = run("--once", f"--config.file={hashed}")
        self.assertEqual(status, 2, said)
        self.assertIn(f"identities_key_file: {fifo}: not a regular file", said)

    def test_what_is_too_long_is_refused_at_once(self):
        folder = self.folder("long")
        path = self.put(folder, "c.yaml", "#" * (4 * 1024 * 1024 + 1))
        status, _, said = run("--check-config", f"--config.file={path}")
        self.assertEqual(status, 2, said)
        self.assertIn("more than 4194304 bytes", said)
        path = self.put(folder, "keys.yaml", "".join(f"key{number}: 1\n" for number in range(200_000)))
        status, _, said = run("--check-config", f"--config.file={path}")
        self.assertEqual(status, 2, said)
        self.assertIn(f"{path}: too long: more keys and values than any configuration needs at line 100001", said)
        path = self.put(folder, "most.yaml", "".join(f"key{number}: 1\n" for number in range(100_000)))
        self.assertIn("unknown field `key0`", run("--check-config", f"--config.file={path}")[2])

    def test_of_another_file_only_the_start_of_a_word_is_shown(self):
        path = self.put(self.folder("secret"), "shadow", "root:$6$salt$secret:20228:0:99999:7::: x\n")
        status, _, said = run("--check-config", f"--config.file={path}")
        self.assertEqual(status, 2, said)
        self.assertIn("unknown field `root…`", said)
        self.assertNotIn("salt", said)


class HalfAConfiguration(Files):
    def test_what_is_empty_is_no_configuration(self):
        folder = self.folder("empty")
        config = self.put(folder, "c.yaml", f"ovpnudpstatus: {STATUS}\n")
        empty = "the file is empty, perhaps truncated; write {} into it if nothing is to be configured"
        for text, complaint in (("", empty), ("\n \n", empty), ("web:\n", "web: nothing is written in it; leave it out, or write web: {open: true} at line 1")):
            path = self.put(folder, "e.yaml", text)
            status, _, said = run("--check-config", f"--config.file={path}")
            self.assertEqual(status, 2, said)
            self.assertIn(f"{path}: {complaint}", said)
        for text in ("", "# nothing\n", "{}\n"):
            path = self.put(folder, "w.yaml", text)
            status, _, said = run("--check-config", f"--config.file={config}", f"--web.config.file={path}")
            self.assertEqual(status, 2, said)
            self.assertIn(f"{path}: empty: it names neither users nor certificates", said)
        for text in ("# nothing is meant\n", "{}\n"):
            path = self.put(folder, "n.yaml", text)
            self.assertEqual(run("--check-config", f"--config.file={path}")[0], 0, text)

    def refusal(self, exporter, path, text):
        """What the log says of a reload that is refused."""
        kept = "; what was watched before is still watched"
        before = exporter.log().count(kept)
        pathlib.Path(path).write_text(text)
        exporter.process.send_signal(signal.SIGHUP)
        wait_for(f"a complaint about {text!r}", lambda: exporter.log().count(kept) > before)
        return next(line for line in reversed(exporter.log().splitlines()) if line.endswith(kept))

    def status(self, exporter):
        with contextlib.suppress(OSError):
            return exporter.get("/metrics")[0]
        return None

    def test_a_file_that_was_cut_opens_no_door(self):
        whole = f"ovpnudpstatus: {STATUS}\nweb:\n  basic_auth_users: {{ann: {HASH}}}\n"
        exporter = Exporter(self.lab, whole)
        self.assertEqual(self.status(exporter), 401)
        for text, complaint in (
            (whole.split("web:")[0], "web.basic_auth_users: a password was asked for, and now none is"),
            (whole.split("  basic")[0], "web: nothing is written in it"),
            (whole.split(" {ann")[0], "web.basic_auth_users: names no user"),
            (whole[:-20], "no YAML: while parsing a flow mapping, did not find expected ',' or '}' at line 3"),
            ("", "the file is empty, perhaps truncated"),
            ("# nothing\n", "web.basic_auth_users: a password was asked for, and now none is"),
        ):
            self.assertIn(complaint, self.refusal(exporter, exporter.config, text))
            self.assertEqual(self.status(exporter), 401, text)
        pathlib.Path(exporter.config).write_text(f"ovpnudpstatus: {STATUS}\nweb: {{open: true}}\n")
        exporter.process.send_signal(signal.SIGHUP)
        wait_for("what is said in words", lambda: self.status(exporter) == 200)

    def test_nor_does_a_web_file_that_was_cut(self):
        web = self.lab.write("web.yaml", f"basic_auth_users:\n  ann: {HASH}\n")
        exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n", flags=(f"--web.config.file={web}",))
        for text, line in (
            ("", f"{web}: empty: it names neither users nor certificates"),
            ("basic_auth_users:\n", f"{web}: basic_auth_users: names no user at line 1"),
            ("http_server_config: {http2: true}\n", "web.basic_auth_users: a password was asked for, and now none is"),
        ):
            self.assertIn(line, self.refusal(exporter, web, text))
            self.assertEqual(self.status(exporter), 401, text)

    def test_an_open_address_is_said_at_start(self):
        line = "anyone who can reach this machine can connect; --web.listen-address"
        said = {}
        for name, address, text in (
            ("public", "0.0.0.0", ""),
            ("meant", "0.0.0.0", "web: {open: true}\n"),
            ("guarded", "0.0.0.0", "web: {allow: [127.0.0.1]}\n"),
            ("private", "127.0.0.1", ""),
        ):
            exporter = Exporter(self.lab, f"ovpnudpstatus: {STATUS}\n{text}", name=name, address=address)
            exporter.stop()
            said[name] = line in exporter.log()
        self.assertEqual(said, {"public": True, "meant": False, "guarded": False, "private": False})


if __name__ == "__main__":
    unittest.main()
