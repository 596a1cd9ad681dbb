#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The underlay beside tenants: a kernel pings the card's addresses; nothing that is for many hosts of the
# underlay reaches a tenant, nor the other way round, unless the operator wants it; while an uplink is flooded
# with questions, with answers that nobody asked for and with datagrams, neighbours are found on both sides
# and a tunnel goes on; "too big" finds its way back through a translation.
# Usage: 45-underlay.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # namespaces become variables by name
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool
shown='uplink list,underlay show,underlay stats --all,flow list,port stats'
# shellcheck source=tests/functional/overlay.sh
. "$here/overlay.sh"

namespace far
wire near0 "$far" far0
address "$far" far0 192.0.2.2/24
address "$far" far0 2001:db8::2/64
within "$far" sh -c 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range'

card_start underlay
ctl uplink create one devargs=net_tap0,iface=obt0
ctl uplink create two devargs=net_tap1,iface=obt1
ctl uplink create wire0 devargs=net_af_packet0,iface=near0
ip link set obt1 up
ctl underlay address add wire0 192.0.2.1/24 >/dev/null || fail "an address for the uplink"
ctl underlay address add wire0 2001:db8::1/64 >/dev/null || fail "an IPv6 address for the uplink"
card_mac=$(ctl --json underlay show | sed -n 's/.*"mac": "\(.*\)".*/\1/p' | head -n 1)

# A kernel takes our answers.
for size in 0 56 1452; do
	within "$far" python3 "$here/underlay_peers.py" ping 192.0.2.1 $size || fail "ping of $size bytes"
	within "$far" python3 "$here/underlay_peers.py" ping 2001:db8::1 $size || fail "IPv6 ping of $size bytes"
done
echo "echo requests are answered over IPv4 and IPv6"

# heard NAMESPACE SHOUTER IFACE BY IFACE: sets $frames, how many of those that IFACE's owner shouts BY hears
# before a mark that comes behind them
heard()
{
	mac=$(within "$2" python3 "$here/underlay_peers.py" mac "$3")
	rm -f "$dir/heard" "$dir/heard.started"
	nsenter -t "$4" -n python3 "$here/underlay_peers.py" count "$5" "$mac" "$dir/heard" &
	listener=$!
	pids="$pids $listener"
	wait_for "nobody listens on $5" test -e "$dir/heard.started"
	within "$2" python3 "$here/underlay_peers.py" shout "$3"
	wait_for "frames of $3 did not reach the card" came "$1"
	within "$6" python3 "$here/underlay_peers.py" mark "$7"
	wait "$listener" || fail "no mark came to $5"
	frames=$(cat "$dir/heard")
}

# came PORT: what was shouted has been received there
came()
{
	counters
	eval "[ \$((${1}_rx)) -ge $((wanted)) ]"
}

# more PORT N: so many more than now
more()
{
	counters
	eval "wanted=\$((${1}_rx + $2))"
}

more wire0 5
heard wire0 "$far" far0 $$ obt0 $$ obt1
[ "$frames" = 0 ] || fail "a tenant heard $frames frames of the underlay"
more one 5
heard one $$ obt0 "$far" far0 "$far" far0
[ "$frames" = 0 ] || fail "the underlay heard $frames frames of a tenant"
ctl uplink set wire0 switched=yes || fail "uplink set"
more wire0 5
heard wire0 "$far" far0 $$ obt0 $$ obt1
[ "$frames" = 5 ] || fail "$frames frames came out of an uplink in the switch, not 5"
ctl uplink set wire0 switched=auto || fail "uplink set"
echo "the underlay and tenants do not hear each other, unless the operator says so"

# Under a flood a tunnel begins, neighbours are found, those that grow old are confirmed.
if kernel_has vxlan; then
	nsenter -t "$far" -n python3 "$here/underlay_peers.py" flood far0 "$card_mac" 192.0.2.1 &
	flood=$!
	pids="$pids $flood"
	more wire0 20000
	wait_for "there is no flood" came wire0
	ctl tunnel create tun vxlan >/dev/null || fail "tunnel create"
	ctl flow add 'in_port(one)' 'actions=set(tunnel(tun_id=0x5,dst=192.0.2.2)),tun' >/dev/null || fail "flow"
	ctl flow add 'tunnel(tun_id=0x5,src=192.0.2.2),in_port(tun)' actions=one >/dev/null || fail "flow"
	ip addr add 10.45.0.1/24 dev obt0
	kernel_tunnel "$far" vxlan 192.0.2.2 192.0.2.1 5
	within "$far" ip link set tun mtu 1450 up
	within "$far" ip addr add 10.45.0.2/24 dev tun
	python3 "$here/overlay_peers.py" ping 10.45.0.2 56 || fail "no tunnel begins under a flood"
	has_neighbour()
	{
		ctl underlay show | grep -q '^192.0.2.2 .* reachable '
	}
	wait_for "the neighbour is not reachable" has_neighbour
	within "$far" ip neigh flush dev far0 # it has to ask us
	python3 "$here/overlay_peers.py" ping 10.45.0.2 56 || fail "the tunnel does not go on"
	within "$far" ip neigh show 192.0.2.1 dev far0 | grep -q "lladdr $card_mac" ||
		fail "the peer was not answered: $(within "$far" ip neigh show)"
	counters
	[ "$wire0_NEIGH_LIMIT" -gt 0 ] || fail "no message was over a limit"
	echo "a tunnel begins and goes on under a flood: $wire0_NEIGH_LIMIT messages over the limit"
	kill "$flood"

	# A host whose packets are translated before they do not fit is told so, of the packet that it sent.
	ctl flow flush >/dev/null
	for flow in 'in_port(one),eth_type(0x0806)|set(tunnel(tun_id=0x5,dst=192.0.2.2)),tun' \
		'in_port(one),eth_type(0x0800)|ct(commit,zone=5,nat(src=10.45.0.77)),recirc(0x1)' \
		'recirc_id(0x1),in_port(one)|set(tunnel(tun_id=0x5,dst=192.0.2.2)),tun' \
		'tunnel(tun_id=0x5,src=192.0.2.2),in_port(tun)|one'; do
		ctl flow add "${flow%%|*}" "actions=${flow#*|}" >/dev/null || fail "flow $flow"
	done
	told=$(python3 "$here/overlay_peers.py" pmtu 10.45.0.2 1472) || fail "nobody is told behind a translation"
	[ "$told" = 1450 ] || fail "told an MTU of $told, it is 1450"
	has_translated()
	{
		ctl ct list zone=5 | grep -q '10.45.0.77'
	}
	has_translated || fail "nothing was translated: $(ctl ct list)"
	echo "behind a translation the sender is told the right size"
else
	echo "flood left out: this kernel makes no vxlan devices"
fi
echo "45-underlay: ok"
