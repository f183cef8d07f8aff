#!/bin/sh
# The only process of the virtual machine: run.py packs it with the daemon, wg and the kernel's modules. Everything that
# is to be looked at goes to the serial line, packed.

put() {
	echo "BEGIN $1"
	gzip -c | base64
	echo "END $1"
}

# doctor USER
doctor() {
	su -s /bin/sh "$1" -c 'gateway-exporter --config.file=/etc/named.yaml --web.listen-address=127.0.0.1:0 --doctor 2>&1'
}

# make NAME NUMBER: an interface of the configuration NAME.conf.
make() {
	ip link add "$1" type wireguard
	wg setconf "$1" "/etc/$1.conf"
	ip address add "10.7.$2.1/32" dev "$1"
	ip link set "$1" up
}

# A handshake between wg0 and wg1, and something sent to where wg1 ends.
meet() {
	until [ "$(wg show wg0 latest-handshakes | grep -c '	0$')" = 1 ]; do sleep 0.1; done
	ip route replace 10.8.0.0/16 dev wg0
	until wg show wg0 transfer | awk '{ sum += $3 } END { exit sum < 1000 }'; do
		ping -q -c 1 -W 1 -s 800 10.8.0.1 >/dev/null
	done
}

# scrape NAME: what the daemon says while wg says the same before and after it.
scrape() {
	while :; do
		wg show all dump >/tmp/dump
		wget -q -O /tmp/metrics http://127.0.0.1:9234/metrics
		wget -q -O /tmp/sessions http://127.0.0.1:9234/sessions
		wg show all dump | cmp -s - /tmp/dump && break
	done
	for file in dump metrics sessions; do
		put "$1-$file" <"/tmp/$file"
	done
}

# Everything that a process has in memory and may have written.
memory() {
	grep -E '^[0-9a-f]+-[0-9a-f]+ rw' "/proc/$1/maps" | while read -r range rest; do
		start=$((0x${range%-*} / 4096))
		dd if="/proc/$1/mem" bs=4096 skip="$start" count=$((0x${range#*-} / 4096 - start)) 2>/dev/null
	done
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
doctor root | put no-module
for module in $(cat /modules/order); do
	insmod "/modules/$module.ko"
done
doctor root | put no-interface
make wg0 0
make wg1 1
make many 2
meet
doctor nobody | put no-capability
gateway-exporter --config.file=/etc/all.yaml --web.listen-address=127.0.0.1:9234 2>/tmp/log &
daemon=$!
until wget -q -O /dev/null http://127.0.0.1:9234/-/healthy; do sleep 0.1; done
scrape first
# Made anew, wg0 counts from 0, and its peer on wg1 goes on.
ip link delete wg0
wget -q -O - http://127.0.0.1:9234/metrics | put gone
make wg0 0
meet
scrape anew
for path in / /static /prom /sessions; do
	wget -q -O - "http://127.0.0.1:9234$path"
done | put pages
memory "$daemon" | put memory
record links | put links
record families | put families
for name in wg0 wg1 many; do
	record "$name" | put "device-$name"
done
put log </tmp/log
echo DONE
poweroff -f
