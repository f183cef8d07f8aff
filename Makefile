# `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export GATEWAY_EXPORTER_REVISION ?= $(shell contrib/revision.sh)

.PHONY: help run test check unit e2e capture man setup-build setup-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup-build ## build, and serve demo data and this machine's sockets on :9234
	cargo build --release --locked --bin gateway-exporter --example replay
	tests/replay/demo.sh

test: ## install what is missing (as root) and run every test
	@tests/steps.sh 'make setup-test' 'make check' 'make unit' 'make fuzz' 'make e2e'

check: ## format, lints, and the licences of all crates
	cargo fmt --check
	python3 contrib/crates.py licenses
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --features tls -- -D warnings

unit: ## unit and integration tests
	cargo test --locked
	python3 tests/bench/test_table.py

e2e: ## the binary between real daemons (as root); E2E=test_openvpn runs one file
	cargo build --locked --bin gateway-exporter --features tls
	mv -f target/debug/gateway-exporter target/debug/gateway-exporter-tls
	cargo build --locked --bin gateway-exporter --example replay
	python3 tests/e2e/run.py $(E2E)

capture: ## make the fixtures' captures anew from real daemons (as root)
	for source in strongswan ipsec openvpn sockets wireguard; do python3 tests/e2e/capture_$$source.py; done

man: setup-build ## the man page, in dist
	mkdir -p dist
	cargo run --locked --quiet --example man >dist/gateway-exporter.8

setup-build:
	@tests/setup.sh build

setup-test:
	@tests/setup.sh build test

-include contrib/release.mk tests/bench/bench.mk tests/fuzz/fuzz.mk tests/e2e/soak.mk tests/fleet/fleet.mk tests/kernel/kernel.mk
