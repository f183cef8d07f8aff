"""Writes a package for apk in its second format, which apk-tools 2 and 3 install: apk.py FOLDER FILE [KEY].

FOLDER has `control` (.PKGINFO without sizes and hash, and scripts) and `data` (what is installed). The package is two or
three gzip streams after each other, each one a tar archive: with a KEY the signature of the next, then control, then data.
https://wiki.alpinelinux.org/wiki/Apk_spec describes it.
"""

import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

TIME = int(os.environ["SOURCE_DATE_EPOCH"])


def entry(name, mode, size=0, kind=tarfile.REGTYPE):
    """The head of a file or folder, owned by root and of the one time that all have."""
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type, info.mtime = mode, size, kind, TIME
    info.uname = info.gname = "root"
    return info


def add(archive, name, mode, content, with_hash):
    """Appends a file; apk wants the SHA-1 of what is installed beside it."""
    info = entry(name, mode, len(content))
    if with_hash:
        info.pax_headers = {"APK-TOOLS.checksum.SHA1": hashlib.sha1(content).hexdigest()}
    archive.addfile(info, io.BytesIO(content))


def compressed(tar):
    """As one gzip stream, as small as it gets: a router's flash holds it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(tar)
        file.flush()
        return subprocess.run(["zopfli", "--gzip", "-c", file.name], stdout=subprocess.PIPE, check=True).stdout


def archive_of(files):
    """A tar archive of (name, mode, content); without its end another one can follow."""
    out = io.BytesIO()
    archive = tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT)
    for name, mode, content in files:
        add(archive, name, mode, content, False)
    return out.getvalue()


def data_archive(folder):
    """What is installed, each folder before its files, and how many bytes that is."""
    out, size = io.BytesIO(), 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            name, mode = str(path.relative_to(folder)), path.stat().st_mode & 0o777
            if path.is_dir():
                archive.addfile(entry(name, 0o755, kind=tarfile.DIRTYPE))
            else:
                content = path.read_bytes()
                size += len(content)
                add(archive, name, mode, content, True)
    return out.getvalue(), size


def signature(key, control):
    """The stream that vouches for `control`, made with a private RSA key."""
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=control, stdout=subprocess.PIPE, check=True)
    return compressed(archive_of([(f".SIGN.RSA256.{os.path.basename(key)}.pub", 0o644, signed.stdout)]))


def main(folder, target, key=None):
    tar, size = data_archive(pathlib.Path(folder, "data"))
    data = compressed(tar)
    files = []
    for path in sorted(pathlib.Path(folder, "control").iterdir()):
        content = path.read_bytes()
        if path.name == ".PKGINFO":
            content += f"size = {size}\ndatahash = {hashlib.sha256(data).hexdigest()}\n".encode()
        files.append((path.name, 0o644 if path.name == ".PKGINFO" else 0o755, content))
    control = compressed(archive_of(files))
    vouched = signature(key, control) if key else b""
    pathlib.Path(target).write_bytes(vouched + control + data)


main(*sys.argv[1:])
