#!/bin/sh
# Three of the nine targets, one of them big-endian: built, run under qemu, weighed, and their instructions counted. `make routers` calls it;
# `make cross-test` runs all nine.
set -eu
cd "$(dirname "$0")/../.."

if [ "$(id -u)" -ne 0 ] && ! contrib/toolchain.sh --check; then
    echo 'SKIPPED: cross builds' >&2
    [ -z "${CI-}" ]
    exit
fi
tests/cross/run.sh x86_64 aarch64 mips
contrib/size.sh --brief x86_64 aarch64 mips
cargo build --quiet --release --locked --example replay
python3 tests/bench/routers.py --check mips aarch64
