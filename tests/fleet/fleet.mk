.PHONY: fleet pictures

fleet: ## 500 exporters and a real Prometheus (as root): what they cost; FLEET=100 for fewer
	cargo build --release --locked --bin gateway-exporter --example replay
	python3 tests/fleet/fleet.py

pictures: setup-test ## draw the dashboards over real daemons and the overview into target/ (as root; matplotlib from PyPI)
	cargo build --locked --bin gateway-exporter
	cargo build --release --locked --bin gateway-exporter --example replay
	[ -x target/pictures/bin/python ] || python3 -m venv target/pictures
	target/pictures/bin/pip install --quiet matplotlib
	target/pictures/bin/python tests/e2e/pictures.py target
	target/pictures/bin/python tests/e2e/overview_picture.py target/overview.png
