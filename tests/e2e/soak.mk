.PHONY: soak

soak: ## scrape for long while faults come and go (as root); SOAK=1000000 for so many scrapes
	cargo build --release --locked --bin gateway-exporter
	cargo build --locked --example replay
	python3 tests/e2e/soak.py
