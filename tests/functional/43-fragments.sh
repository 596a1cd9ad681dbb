#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Datagrams in pieces through a stateful pipeline that translates addresses, between two kernels: echoes
# of 4000 bytes and UDP of 8 KiB pass both ways, over IPv4 and IPv6; pieces that overlap do not.
# Usage: 43-fragments.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # counters become variables by name
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")
peers=$here/uplink_peers.py

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool
shown='ct list,flow list,port stats'

namespace far
wire near0 "$far" far0
address "$far" far0 10.42.0.2/24
address "$far" far0 fd42::2/64
nsenter -t "$far" -n python3 "$peers" echo 5002 &
pids="$pids $!"

card_start fragments --ct-conns 4096
ctl uplink create tap devargs=net_tap0,iface=obfr0
# Not the packet socket's driver: it has the kernel put fragments together, and takes no whole.
ctl uplink create wire devargs=net_tap1,iface=obfr1
ip link add bridge0 type bridge || skip "no bridges here"
ip link set near0 master bridge0
ip link set obfr1 mtu 1500 master bridge0
ip link set bridge0 up
ip link set obfr0 mtu 1500 addr 02:00:00:00:42:01
address $$ obfr0 10.42.0.1/24
address $$ obfr0 fd42::1/64
# Who is known over there by these addresses is here.
nsenter -t "$far" -n ip neigh add 10.42.0.77 lladdr 02:00:00:00:42:01 dev far0
nsenter -t "$far" -n ip neigh add fd42::77 lladdr 02:00:00:00:42:01 dev far0

# Who is here may open connections, under another address; who is there may only answer.
translate()
{
	type="eth_type($1)" match=$2 zone=$3 to=$4
	for port in tap wire; do
		ctl flow add "recirc_id(0),in_port($port),$type,$match" "actions=ct(zone=$zone,nat),recirc(0x1)" >/dev/null
	done
	ctl flow add "recirc_id(0x1),in_port(tap),ct_state(+new+trk-inv),$type,$match" \
		"actions=ct(commit,zone=$zone,nat(src=$to)),wire" >/dev/null
	ctl flow add "recirc_id(0x1),in_port(tap),ct_state(-new+est+trk),$type,$match" actions=wire >/dev/null
	ctl flow add "recirc_id(0x1),in_port(wire),ct_state(-new+est+trk),$type,$match" actions=tap >/dev/null
}
translate 0x0800 'ipv4(proto=17)' 4 10.42.0.77
translate 0x0800 'ipv4(proto=1)' 4 10.42.0.77
translate 0x86dd 'ipv6(proto=17)' 6 '[fd42::77]'
# Neighbours are found without being tracked: they ask in one piece. A later piece shows no protocol.
translate 0x86dd 'ipv6(proto=58,frag=first)' 6 '[fd42::77]'
translate 0x86dd 'ipv6(proto=44,frag=later)' 6 '[fd42::77]'

for host in 10.42.0.2 fd42::2; do
	timeout 60 python3 "$peers" ping $host 4000 20 || fail "echoes of 4000 bytes to $host"
	timeout 60 python3 "$peers" ask $host 5002 8192 50 || fail "datagrams of 8 KiB to $host"
	timeout 60 python3 "$peers" ask $host 5002 60000 5 || fail "datagrams of 60000 bytes to $host"
done
timeout 60 python3 "$peers" ask 10.42.0.2 5002 100 5 || fail "datagrams in one piece"
ctl --json ct list | grep -q 'udp,orig=(src=10.42.0.1,dst=10.42.0.2.*,dst=10.42.0.77' ||
	fail "a connection that is translated"
ctl --json ct list | grep -q 'icmpv6,orig=(src=fd42::1,dst=fd42::2.*,dst=fd42::77' ||
	fail "a connection of echoes"

ctl --json ct stats | python3 -c 'import json, sys
s = json.load(sys.stdin)["conntrack"][0]
# 75 datagrams each way and family, of which each is put together once at least
assert s["fragments_datagrams"] >= 300, s
assert s["fragments_overlaps"] == 0 and s["fragments_malformed"] == 0, s
assert s["now"]["fragments_waiting"] == 0 and s["now"]["fragments_bytes"] == 0, s' || fail "what was counted"

# The other way, in pieces that overlap: neither of them passes.
nsenter -t "$far" -n python3 "$peers" overlap 10.42.0.77
dropped()
{
	counters
	[ "$wire_FRAG_OVERLAP" -eq 2 ]
}
wait_for "pieces that overlap are not dropped" dropped
ctl uplink delete wire
ctl --json ct stats | grep -q '"fragments_waiting": *0' || fail "fragments stay when their port goes"
echo "PASS"
