#!/bin/sh
# What `make routers` runs of the cross builds: three of the nine targets, one of them big-endian, and the packages.
# `make cross-test` runs all nine.
set -eu
cd "$(dirname "$0")/../.."

if [ "$(id -u)" -ne 0 ] && ! contrib/toolchain.sh --check; then
    echo 'SKIPPED: cross builds, and the tests of the packages, which need root' >&2
    [ -z "${CI-}" ]
    exit
fi
tests/cross/run.sh x86_64 aarch64 mips
contrib/size.sh --brief x86_64 aarch64 mips
tests/packages/run.sh
