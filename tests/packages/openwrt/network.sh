# Stands in for OpenWrt's /lib/functions/network.sh: the addresses stand in /tmp/addresses, `lan 4 192.0.2.1`.

network_get_address() {
    local __found
    __found="$(sed -n "s/^$2 $3 //p" /tmp/addresses)"
    [ -n "$__found" ] || return 1
    eval "$1=\$__found"
}

network_get_ipaddr() { network_get_address "$1" "$2" 4; }
network_get_ipaddr6() { network_get_address "$1" "$2" 6; }
