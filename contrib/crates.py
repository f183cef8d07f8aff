"""What Cargo.lock brings in, by `cargo metadata`.

    crates.py licenses      every crate that is built on Linux, tests and all features included, has a licence that is
                            allowed, and comes from crates.io; else exit status 1
    crates.py sbom TARGET   prints the crates of a binary for that target as CycloneDX 1.5

An SBOM does not list Rust's own std nor the C library, which are no crates.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"

# Each may be linked into a program under MIT and passed on; what they ask for is that their text goes along.
ALLOWED = {"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "0BSD", "Zlib", "BSL-1.0", "Unicode-3.0", "Unlicense"}


def metadata(*flags):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", *flags]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)


def expression(package):
    """Its licence as SPDX writes it; crates of old have a slash for OR."""
    return (package["license"] or "").replace("/", " OR ").strip()


def is_allowed(licence):
    """Whether an SPDX expression can be met by allowed licences alone: OR of ANDs, with brackets. An exception (WITH) is another licence."""
    words = re.findall(r"[()]|[^\s()]+", licence)

    def either():
        allowed = both()
        while words and words[0] == "OR":
            words.pop(0)
            allowed = both() or allowed
        return allowed

    def both():
        allowed = one()
        while words and words[0] == "AND":
            words.pop(0)
            allowed = one() and allowed
        return allowed

    def one():
        if not words:
            return False
        word = words.pop(0)
        if word != "(":
            if words and words[0] == "WITH":
                word = " ".join([word, words.pop(0), words.pop(0) if words else ""])
            return word in ALLOWED
        allowed = either()
        return bool(words) and words.pop(0) == ")" and allowed

    return either() and not words


def licenses():
    found = metadata("--all-features", "--filter-platform", "x86_64-unknown-linux-musl")
    packages = [package for package in found["packages"] if package["source"]]
    faults = [f"{package['name']} {package['version']}: licence {expression(package) or 'none'} is not allowed"
              for package in packages if not is_allowed(expression(package))]
    faults += [f"{package['name']} {package['version']}: comes from {package['source']}, not from crates.io"
               for package in packages if package["source"] != CRATES_IO]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"licences of {len(packages)} crates: {len(faults)} not allowed")
    return 1 if faults or not packages else 0


def component(package, checksums):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if checksum := checksums.get((name, version)):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    found["licenses"] = [{"expression": expression(package)}]
    return found


def linked(resolve):
    """What each crate is built from, by their ids, for what the root is built from: without the crates of the tests."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    found, open_ = {}, [resolve["root"]]
    while open_:
        node = nodes[open_.pop()]
        needed = [dep["pkg"] for dep in node["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
        found[node["id"]] = needed
        open_ += [needed_id for needed_id in needed if needed_id not in found]
    return found


def sbom(target):
    data = metadata("--filter-platform", target)
    crates = re.findall(r'name = "(.*)"\nversion = "(.*)"\nsource = .*\nchecksum = "(.*)"', (ROOT / "Cargo.lock").read_text())
    checksums = {(name, version): checksum for name, version, checksum in crates}
    packages = {package["id"]: package for package in data["packages"]}
    root, tree = data["resolve"]["root"], linked(data["resolve"])
    components = {crate: component(packages[crate], checksums) for crate in tree}
    main = components.pop(root) | {"type": "application"}
    refs = {crate: part["bom-ref"] for crate, part in components.items()} | {root: main["bom-ref"]}
    moment = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)
    parts = sorted(components.values(), key=lambda part: part["bom-ref"])
    content = json.dumps([target, main, parts], sort_keys=True)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, content).urn,
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": main,
            "properties": [{"name": "target", "value": target}],
        },
        "components": parts,
        "dependencies": [{"ref": refs[crate], "dependsOn": sorted(refs[needed] for needed in tree[crate])}
                         for crate in sorted(tree, key=refs.get)],
    }
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    task, *words = sys.argv[1:] or [""]
    tasks = {"licenses": licenses, "sbom": sbom}
    sys.exit(tasks[task](*words) if task in tasks else __doc__)
