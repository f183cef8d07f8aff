.PHONY: soak

# In a network of its own with a small table of sockets: on a machine with much memory that table has so many places
# that the kernel's looking through them is nine tenths of a scrape.
# The binary is the static one, which is what routers get.
soak: export GATEWAY_EXPORTER ?= $(CURDIR)/target/cross/bin/x86_64-unknown-linux-musl/gateway-exporter
soak: ## scrape for long while faults come and go (as root); SOAK=1000000 for so many scrapes
	contrib/cross.sh x86_64-unknown-linux-musl
	cargo build --locked --example replay
	unshare --net sh -c 'sysctl -qw net.ipv4.tcp_child_ehash_entries=1024 || true; \
		exec unshare --net sh -c "ip link set lo up && exec python3 tests/e2e/soak.py"'
