#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every kind of tunnel against somebody else's: the kernel's own device in a namespace, or a stock Open
# vSwitch, over IPv4 and IPv6. TCP payload arrives unchanged although the sender begins with segments that do
# not fit, who sends too much is told the right size, tshark finds every checksum right, what belongs to
# another network goes nowhere.
# Usage: 43-tunnels.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # counters become variables by name
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool tshark
shown='tunnel list,underlay show,flow list,port stats'
# shellcheck source=tests/functional/overlay.sh
. "$here/overlay.sh"

# flows REMOTE [SENT [MATCHED]]: network 5 is the TAP's and that tunnel end's; SENT and MATCHED go with
# the tunnel's key
flows()
{
	case $1 in
	*:*) to=ipv6_dst=$1 from=ipv6_src=$1 ;;
	*) to=dst=$1 from=src=$1 ;;
	esac
	ctl flow flush >/dev/null
	ctl flow add 'in_port(tap)' "actions=set(tunnel(tun_id=0x5,$to,ttl=64,${2:-}flags(df|csum|key))),tun" \
		>/dev/null || fail "flow into the tunnel"
	ctl flow add "tunnel(tun_id=0x5,$from${3:-}),in_port(tun)" actions=tap >/dev/null ||
		fail "flow out of the tunnel"
}

# try WHAT NAMESPACE MTU FILTER: the far host answers; the capture shows network 5 as FILTER says
try()
{
	case=$1 pid=$2 mtu=$3 filter=$4
	within "$pid" ip link set tun mtu "$mtu" up
	within "$pid" ip addr replace 10.43.0.2/24 dev tun
	# What comes to it need not fit: the sender has to be told.
	within "$pid" ip route replace 10.43.0.0/24 dev tun src 10.43.0.2 advmss 1460
	ip neigh flush dev obt0
	ip route flush cache
	record_start seen "$pid" far0
	python3 "$here/overlay_peers.py" ping 10.43.0.2 56 || fail "$case: ping"
	python3 "$here/uplink_peers.py" transfer 10.43.0.2 5001 524288 || fail "$case: TCP"
	told=$(python3 "$here/overlay_peers.py" pmtu 10.43.0.2 1472) || fail "$case: too big"
	[ "$told" = "$mtu" ] || fail "$case: told an MTU of $told, it is $mtu"
	record_stop seen
	bad=$(frames seen 'ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0 ||
		icmp.checksum.status == 0 || gre.checksum.status == 0 || _ws.malformed')
	[ "$bad" = 0 ] || fail "$case: $(cat "$dir/tshark.out")"
	good=$(frames seen "$filter && tcp.checksum.status == 1")
	[ "$good" -gt 700 ] || fail "$case: $good frames, where 1 MiB makes more"
	echo "$case: $good frames, all checksums right, MTU $mtu"
}

# kernel TYPE LOCAL REMOTE MTU FILTER
kernel()
{
	kernel_has "$1" || {
		echo "$1 over $3: left out, this kernel has no such device"
		return
	}
	tried=$((tried + 1))
	ctl tunnel create tun "$1" >/dev/null || fail "tunnel create"
	kernel_tunnel "$far" "$1" "$3" "$2" 5
	if [ "$1" = vxlan-gbp ]; then
		flows "$3" 'vxlan(gbp(id=7)),' ',vxlan(gbp(id=7))'
		only_marked
	else
		flows "$3"
	fi
	try "$1 over $3, the kernel's" "$far" "$4" "$5"
	[ "$1 $3" != "vxlan 192.0.2.2" ] || other_network
	within "$far" ip link del tun
	ctl tunnel delete tun >/dev/null || fail "tunnel delete"
}

# The far kernel takes nothing but group 7, which it knows as a mark, and answers with the same mark.
only_marked()
{
	within "$far" sh -c 'echo 1 >/proc/sys/net/ipv4/fwmark_reflect
		echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept
		ip rule add pref 100 lookup local && ip rule del pref 0 &&
		ip rule add pref 40 fwmark 7 dev tun lookup local &&
		ip rule add pref 50 dev tun blackhole' || fail "rules about marks"
	# ARP has no mark there.
	ctl flow add "tunnel(tun_id=0x5,src=192.0.2.2),in_port(tun),eth_type(0x0806)" actions=tap >/dev/null
}

# What comes with another number than the flows name is dropped, and counted at the tunnel.
other_network()
{
	within "$far" ip link add other type vxlan id 6 dstport 4789 udp6zerocsumrx local 192.0.2.2 remote 192.0.2.1
	within "$far" ip link set other up
	within "$far" ip addr add 10.44.0.2/24 dev other
	within "$far" ip neigh add 10.44.0.1 lladdr 02:00:00:00:00:01 dev other
	counters
	drops_before=$tun_drops
	within "$far" python3 "$here/overlay_peers.py" send 10.44.0.1 5
	wait_for "packets of another network were not dropped" dropped 5 # which is all of them
	within "$far" ip link del other
	echo "another network's packets are dropped and counted"
}

dropped()
{
	counters
	[ $((tun_drops - drops_before)) -ge "$1" ]
}

# ovs TYPE LOCAL REMOTE MTU FILTER
ovs()
{
	ctl tunnel create tun "$1" >/dev/null || fail "tunnel create"
	ovs_tunnel "$1" "$2" 5 options:csum=true
	ovs_hosts "" ""
	flows "$3"
	try "$1 over $3, Open vSwitch's" "$switch" "$4" "$5"
	ctl tunnel delete tun >/dev/null || fail "tunnel delete"
}

# geneve_option: each side takes only what has the other's option, which is one that must be understood
geneve_option()
{
	ctl tunnel create tun geneve known_options=0x0102:0x80 >/dev/null || fail "tunnel create"
	ovs_tunnel geneve 198.51.100.1 5 options:csum=true
	ovs-ofctl add-tlv-map tun '{class=0x102,type=0x80,len=4}->tun_metadata0'
	ovs_hosts 'tun_metadata0=0x1234abcd,' 'set_field:0x55aa->tun_metadata0,'
	flows 198.51.100.2 'geneve({class=0x102,type=0x80,len=4,0x1234abcd}),' \
		',geneve({class=0x102,type=0x80,len=4,0x000055aa})'
	try "geneve with an option, Open vSwitch's" "$switch" 1442 \
		'geneve.vni == 5 && geneve.option.length == 8 && udp.checksum.status == 1'
	ctl tunnel delete tun >/dev/null || fail "tunnel delete"
}

# ovs_hosts MATCH ACTION: between the bridge's own interface and the tunnel
ovs_hosts()
{
	ovs-ofctl del-flows tun
	ovs-ofctl add-flow tun "in_port=end,${1}actions=local"
	ovs-ofctl add-flow tun "in_port=local,actions=${2}output:end"
}

namespace far
wire near0 "$far" far0
address "$far" far0 192.0.2.2/24
address "$far" far0 2001:db8::2/64
nsenter -t "$far" -n python3 "$here/uplink_peers.py" serve 5001 &
pids="$pids $!"

card_start tunnels
ctl uplink create tap devargs=net_tap0,iface=obt0
ctl uplink create wire0 devargs=net_af_packet0,iface=near0
ip addr add 10.43.0.1/24 dev obt0
ctl underlay address add wire0 192.0.2.1/24 >/dev/null || fail "an address for the uplink"
ctl underlay address add wire0 2001:db8::1/64 >/dev/null || fail "an IPv6 address for the uplink"

tried=0
kernel vxlan 192.0.2.1 192.0.2.2 1450 'vxlan.vni == 5 && udp.checksum.status == 1'
kernel vxlan 2001:db8::1 2001:db8::2 1430 'vxlan.vni == 5 && ipv6 && udp.checksum.status == 1'
kernel geneve 192.0.2.1 192.0.2.2 1450 'geneve.vni == 5 && udp.checksum.status == 1'
kernel geneve 2001:db8::1 2001:db8::2 1430 'geneve.vni == 5 && ipv6 && udp.checksum.status == 1'
kernel gre 192.0.2.1 192.0.2.2 1454 'gre.key == 5'
kernel gre 2001:db8::1 2001:db8::2 1434 'gre.key == 5 && ipv6'
kernel vxlan-gbp 192.0.2.1 192.0.2.2 1450 'vxlan.gbp == 7 && udp.checksum.status == 1'

if ovs_has; then
	namespace switch
	wire near1 "$switch" far0
	ovs_start "$switch" far0
	address "$switch" phy 198.51.100.2/24
	address "$switch" phy 2001:db8:1::2/64
	nsenter -t "$switch" -n python3 "$here/uplink_peers.py" serve 5001 &
	pids="$pids $!"
	ctl uplink create wire1 devargs=net_af_packet1,iface=near1
	ctl underlay address add wire1 198.51.100.1/24 >/dev/null || fail "an address for the uplink"
	ctl underlay address add wire1 2001:db8:1::1/64 >/dev/null || fail "an IPv6 address for the uplink"
	ovs geneve 198.51.100.1 198.51.100.2 1450 'geneve.vni == 5 && udp.checksum.status == 1'
	ovs geneve 2001:db8:1::1 2001:db8:1::2 1430 'geneve.vni == 5 && ipv6 && udp.checksum.status == 1'
	ovs gre 198.51.100.1 198.51.100.2 1454 'gre.key == 5'
	ovs gre 2001:db8:1::1 2001:db8:1::2 1434 'gre.key == 5 && ipv6'
	geneve_option
elif [ $tried = 0 ]; then
	skip "this kernel makes no tunnel devices, and Open vSwitch is not installed"
else
	echo "Geneve and GRE of Open vSwitch were left out: it is not installed"
fi
echo "43-tunnels: ok"
