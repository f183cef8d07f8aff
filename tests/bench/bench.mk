.PHONY: bench figures instructions router-cost bench-build bench-static

bench: bench-build bench-static ## measure against the limits of the machine, and print one table
	python3 tests/bench/run.py

figures: bench-build ## size, lines, dependencies, and what a scrape costs, with budgets
	python3 tests/bench/run.py figures

instructions: bench-build ## instructions, allocations and system calls of a scrape against their budgets
	python3 tests/bench/instructions.py --check

router-cost: bench-build ## instructions of a scrape by the static binaries for mips, armv7 and aarch64
	contrib/cross.sh mips armv7 aarch64
	python3 tests/bench/routers.py --check

bench-build:
	cargo build --release --locked --bin gateway-exporter --example replay --example bench

bench-static:
	contrib/cross.sh x86_64-unknown-linux-musl
