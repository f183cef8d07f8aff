.PHONY: kernel-test

kernel-test: setup-test ## the static binary beside the kernel's WireGuard, in a virtual machine
	contrib/cross.sh x86_64-unknown-linux-musl
	python3 tests/kernel/run.py
