# What is built for others: static binaries, archives, packages. Included by the Makefile.

PREFIX ?= /usr/local
DESTDIR ?=
TARGET ?=
ARCH ?=

cross: ## static musl binaries for routers, in target/cross/bin (TARGET=mipsel for one)
	contrib/cross.sh $(TARGET)

cross-test: ## runs them under qemu against the fixtures (TARGET=mips for one)
	tests/cross/run.sh $(TARGET)

routers: ## three of them built, run under qemu and weighed, and the packages installed
	tests/cross/short.sh
	tests/packages/run.sh

msrv: ## compiles with the oldest Rust that Cargo.toml promises
	contrib/msrv.sh

size: ## how big they are, which crates weigh most, idle memory; fails over budget
	contrib/size.sh $(TARGET)

dist: ## release archives with SHA256SUMS, in dist
	contrib/dist.sh $(TARGET)

ipk: ## OpenWrt packages for opkg, in dist (ARCH=mipsel_24kc for one)
	contrib/ipk.sh $(ARCH)

apk: ## OpenWrt packages for apk, in dist (ARCH=mipsel_24kc for one, APK_KEY=key.rsa to sign them)
	contrib/apk.sh $(ARCH)

release: ## all that is published, in dist, with SHA256SUMS: archives, lists of crates, packages
	contrib/dist.sh
	contrib/ipk.sh
	contrib/apk.sh
	contrib/deb.sh x86_64 aarch64 armv7 i686 riscv64

deb: ## Debian package for this machine, in dist (TARGET=aarch64 for another one, static)
	@tests/setup.sh build package
	contrib/deb.sh $(TARGET)

container: ## image gateway-exporter with the static binary, by podman (TARGET=aarch64 for another machine)
	contrib/container/build.sh $(TARGET)

packages-test: ## installs and runs the packages, the image and OpenWrt's init script in empty roots
	tests/packages/run.sh

install: ## this machine's build under PREFIX=/usr/local, with completions, systemd's unit, its user, and what `make man` made
	cargo build --release --locked
	install -D -m 755 target/release/gateway-exporter $(DESTDIR)$(PREFIX)/bin/gateway-exporter
	test -e $(DESTDIR)/etc/gateway-exporter.yaml || \
		install -D -m 644 contrib/gateway-exporter.yaml $(DESTDIR)/etc/gateway-exporter.yaml
	test ! -e dist/gateway-exporter.8 || \
		install -D -m 644 dist/gateway-exporter.8 $(DESTDIR)$(PREFIX)/share/man/man8/gateway-exporter.8
	install -D -m 644 contrib/completions/gateway-exporter.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/gateway-exporter
	install -D -m 644 contrib/completions/_gateway-exporter $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_gateway-exporter
	install -D -m 644 contrib/completions/gateway-exporter.fish \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/gateway-exporter.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/bin/gateway-exporter|$(PREFIX)/bin/gateway-exporter|' contrib/systemd/gateway-exporter.service \
		>$(DESTDIR)$(PREFIX)/lib/systemd/system/gateway-exporter.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/gateway-exporter.service
	install -D -m 644 contrib/systemd/gateway-exporter.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/gateway-exporter.conf

.PHONY: cross cross-test routers msrv size dist release ipk apk deb container packages-test install
