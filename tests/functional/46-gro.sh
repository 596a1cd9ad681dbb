#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a kernel sends to two guests in segments of 1500 bytes is merged for the one whose NIC has it so, over
# IPv4 and IPv6: downloads arrive unchanged, and counters say which of them came merged. What that guest
# forwards is cut into segments again on its way out, by a port that takes no frames: the third host has them
# unchanged too.
# Usage: 46-gro.sh BUILD-DIR (root: network namespaces and packet sockets)
# With GRO_ROUNDS=N in the environment (tests/bench/gro.py) it only measures: N times a download by each guest,
# and "rate GUEST BEGIN END", by the guest's clock in seconds.
# shellcheck disable=SC2154 # counters become variables by name
set -eu

here=$(dirname "$(realpath "$0")")
# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
# shellcheck source=/dev/null
. "$here/lab.sh"

# counters: sets NAME_frames and NAME_segments for every port
counters()
{
	eval "$(cardctl --socket "$OUTBOARD_DIR/card/rpc.sock" --json port stats | python3 "$here/uplink_peers.py" counters)"
}

# download GUEST URL
download()
{
	[ "$(in_guest "$1" "timeout 60 wget -q -O - $2 | sha256sum")" = "$want" ] || fail "8 MiB to $1 changed or were cut"
}

# no_errors GUEST: none of its segments had a wrong checksum
no_errors()
{
	errors=$(in_guest "$1" "awk '/^Tcp:/ && n++ { print \$15 }' /proc/net/snmp")
	[ "$errors" = 0 ] || fail "$errors TCP segments with wrong checksums at $1"
}

rates()
{
	for _ in $(seq "$GRO_ROUNDS"); do
		for g in guest1 guest2; do
			span=$(in_guest $g "a=\$(cut -d' ' -f1 /proc/uptime) &&
				wget -q -O /dev/null http://10.77.0.100:8080/data && echo \$a \$(cut -d' ' -f1 /proc/uptime)") ||
				fail "no download by $g"
			echo "rate $g $span"
		done
	done
}

if [ "${1:-}" = --inside ]; then
	[ -z "${GRO_ROUNDS:-}" ] || {
		rates
		exit 0
	}
	want=$(sha256sum <"$GRO_DIR/www/data")
	for n in 1 2; do
		in_guest guest$n "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad &&
			ip -6 addr add fd77::$n/64 dev eth0" || fail "no IPv6 in guest$n"
	done
	for url in http://10.77.0.100:8080/data 'http://[fd77::100]:8080/data'; do
		counters
		before1=$merged_segments before_frames=$merged_frames
		download guest1 "$url"
		download guest2 "$url"
		counters
		[ $((merged_segments - before1)) -gt 0 ] || fail "nothing was merged for guest1"
		[ "$apart_segments" = 0 ] || fail "$apart_segments segments were merged for guest2"
		[ "$up0_segments" = 0 ] || fail "$up0_segments segments were merged for the uplink"
		echo "$url: 8 MiB to each, $((merged_segments - before1)) segments in" \
			"$((merged_frames - before_frames)) frames for guest1"
	done
	in_guest guest1 'ip addr add 10.78.0.1/24 dev eth0 && echo 1 >/proc/sys/net/ipv4/ip_forward &&
		echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects &&
		echo 0 >/proc/sys/net/ipv4/conf/eth0/send_redirects' || fail "guest1 does not forward"
	before1=$merged_segments
	[ "$(within "$far" python3 "$here/overlay_peers.py" fetch http://10.77.0.100:8080/data | sha256sum)" = "$want" ] ||
		fail "8 MiB through guest1 changed or were cut"
	counters
	[ "$merged_segments" -gt "$before1" ] || fail "nothing was merged on the way through guest1"
	echo "through guest1: 8 MiB, $((merged_segments - before1)) segments were merged"
	for g in guest1 guest2; do
		no_errors $g
	done
	errors=$(within "$far" awk '/^Tcp:/ && n++ { print $15 }' /proc/net/snmp)
	[ "$errors" = 0 ] || fail "$errors TCP segments with wrong checksums behind guest1"
	exit 0
fi

build=$(realpath "${1:-build}")
netns_enter "$0" "$build" "${2:-}" ethtool bridge qemu-system-x86_64
ip link add sw type bridge
ip link set sw up
for name in peer far; do
	namespace $name
	eval "export $name; wire $name-sw \$$name eth0"
	ip link set $name-sw master sw
done
wire up0 $$ up0-sw
ip link set up0-sw master sw
address "$peer" eth0 10.77.0.100/24
address "$peer" eth0 fd77::100/64
address "$far" eth0 10.78.0.100/24
within "$peer" ip route add 10.78.0.0/24 via 10.77.0.1
within "$far" ip route add 10.77.0.0/24 via 10.78.0.1
mkdir "$dir/www"
head -c "${GRO_BYTES:-8388608}" /dev/urandom >"$dir/www/data"
nsenter -t "$peer" -n python3 -m http.server 8080 --bind :: --directory "$dir/www" >/dev/null 2>&1 &
pids="$pids $!"
cat >"$dir/topology.json" <<-END
	{ "name": "gro", "cards": [ { "name": "card",
	  "uplinks": [{ "name": "up0", "devargs": "net_af_packet0,iface=up0" }],
	  "functions": [ { "name": "merged", "kind": "net" }, { "name": "apart", "kind": "net", "gro": false } ] } ],
	  "guests": [ { "name": "guest1", "mem_mib": 192, "ip": "10.77.0.1/24", "nic": "card/merged" },
	    { "name": "guest2", "mem_mib": 192, "ip": "10.77.0.2/24", "nic": "card/apart" } ] }
END
export BUILD="$build" GRO_DIR="$dir"
(lab_run "$dir/topology.json" "$0") || exit $?
echo "46-gro: ok"
