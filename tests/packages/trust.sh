#!/bin/sh
# The licences and the list of what a binary is made of (contrib/crates.py), against rules written here and `cargo tree`.
set -eu
export LC_ALL=C
. tests/packages/check.sh

python3 - <<'PYTHON' || fail 'licences'
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "contrib")
from crates import is_allowed
for licence, wanted in [
    ("MIT", True), ("GPL-3.0-only", False), ("", False),
    ("MIT OR GPL-3.0-only", True), ("GPL-3.0-only OR MIT", True), ("MIT AND GPL-3.0-only", False),
    ("(MIT OR Apache-2.0) AND Unicode-3.0", True), ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
    ("MIT OR Apache-2.0 AND GPL-3.0-only", True), ("(MIT OR Apache-2.0 AND GPL-3.0-only", False),
    ("GPL-3.0-only AND MIT OR Apache-2.0", True), ("(GPL-3.0-only)", False), ("MIT Apache-2.0", False),
    ("GPL-2.0-only WITH Classpath-exception-2.0", False), ("Apache-2.0 WITH LLVM-exception OR MIT", True),
]:
    assert is_allowed(licence) == wanted, licence
PYTHON
python3 contrib/crates.py licenses >/dev/null || fail 'a licence is not allowed'
ok 'every crate comes from crates.io and has an allowed licence'

# crates TARGET: what cargo itself says that the binary is built from.
crates() {
    cargo tree --locked --edges normal,build --prefix none --target "$1" | awk '{ print $1, substr($2, 2) }' | sort -u
}

for target in x86_64-unknown-linux-musl mips-unknown-linux-musl; do
    python3 contrib/crates.py sbom "$target" >"$WORK/sbom.json"
    same "the crates of $target" "$(crates "$target")" "$(python3 - "$WORK/sbom.json" <<'PYTHON'
import json, sys
document = json.load(open(sys.argv[1]))
parts = [document["metadata"]["component"], *document["components"]]
lock = open("Cargo.lock").read()
for part in document["components"]:
    checksum = part["hashes"][0]["content"]
    assert f'name = "{part["name"]}"\nversion = "{part["version"]}"' in lock and f'checksum = "{checksum}"' in lock, part
assert {part["bom-ref"] for part in parts} == {row["ref"] for row in document["dependencies"]}
print("\n".join(sorted(f"{part['name']} {part['version']}" for part in parts)))
PYTHON
    )"
done
ok 'the list of crates is what cargo builds, with the checksums of Cargo.lock'
