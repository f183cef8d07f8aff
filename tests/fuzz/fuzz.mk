# Eleven targets in libFuzzer's way; stable Rust does, and g++ for libFuzzer itself.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= vici ipsec_conf statusall openvpn_status openvpn_management proc_net http_head config exposition wireguard_netlink wireguard_uapi

.PHONY: fuzz

fuzz: ## fuzz every parser, 60 s in all; FUZZ_SECONDS=4000 or FUZZ_TARGETS=vici for more or fewer
	@tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)
