#!/bin/sh
# Compiles with the oldest Rust that Cargo.toml promises (rust-version), which rustup installs where it is missing.
set -eu
cd "$(dirname "$0")/.."

version="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)"

skip() {
    echo "SKIPPED: Rust $version: $1" >&2
    [ -z "${CI-}" ]
    exit
}

command -v rustup >/dev/null || skip 'rustup is not installed'
rustup toolchain list | grep -q "^$version" ||
    rustup --quiet toolchain install --profile minimal --no-self-update "$version" >/dev/null || skip "rustup can't install it"
for features in '' tls; do
    cargo "+$version" check --quiet --locked --target-dir target/msrv --features "$features"
done
echo "Rust $version compiles it"
