"""Certificates for charons: an authority, what it issues, and the folder from which swanctl loads them."""

import os

from host import run

KEYS = {
    "rsa": ("-newkey", "rsa:2048"),
    "ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
}


class Credentials:
    """A folder as swanctl wants it (`x509`, `x509ca`, `private`), filled by an authority that stands beside it."""

    def __init__(self, lab, name):
        self.lab, self.name, self.folder = lab, name, lab.path(name, "")
        for part in ("x509", "x509ca", "private"):
            os.makedirs(os.path.join(self.folder, part))

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def trust(self, authority):
        """Takes over the certificate of an authority."""
        run("cp", authority.certificate, self.path("x509ca"))


class Authority:
    """A certificate authority; `subject` as `openssl req -subj` reads it, `+` between the values of one RDN."""

    def __init__(self, lab, subject, name="authority", key="ec", days=3650, serial="1"):
        self.certificate, self._key = lab.path(name, f"{name}.pem"), lab.path(name, f"{name}.key")
        # Nothing of the machine's own openssl.cnf, which would make everybody an authority.
        self._settings = lab.write(f"{name}/openssl.cnf", "[req]\ndistinguished_name = none\n[none]\n")
        self._certify(subject, self._key, self.certificate, key, days, serial, "basicConstraints=critical,CA:TRUE")

    def issue(self, credentials, name, subject, host, key="ec", days=365, serial="2"):
        """A certificate for `host` and its key, put into a folder of swanctl's."""
        certificate, private = credentials.path("x509", f"{name}.pem"), credentials.path("private", f"{name}.pem")
        signer = ("-CA", self.certificate, "-CAkey", self._key)
        self._certify(subject, private, certificate, key, days, serial, f"subjectAltName=DNS:{host}", *signer)

    def _certify(self, subject, private, certificate, key, days, serial, extension, *signer):
        """A certificate in one step, signed by its own key where no signer is named."""
        run(
            "openssl", "req", "-x509", "-config", self._settings, *KEYS[key], "-nodes", "-utf8", "-multivalue-rdn",
            "-subj", subject, "-days", str(days), "-set_serial", serial, "-addext", extension,
            "-keyout", private, "-out", certificate, *signer,
        )
