#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Uplinks of every kind that a kernel offers without hardware: TAP, af_packet and AF_XDP on veth, capture
# files, memif between two cards that are killed in turn. TCP payload arrives unchanged, every frame that
# leaves has good checksums and fits the MTU, counters account for every packet.
# Usage: 40-uplinks.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # counters become variables by name
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")
peers=$here/uplink_peers.py

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool ss
shown='one port stats,two port stats'

# start NAME: a card that remembers what it is told; its process id in $NAME
start()
{
	card_start "$1" --state-dir "$dir/$1"
	eval "$1=$card"
}

ctl()
{
	card=$1
	shift
	"$build/card-firmware/cardctl" --socket "$dir/$card.rpc" "$@"
}

# murder NAME: kill -9 a card
murder()
{
	eval "p=\$$1"
	# shellcheck disable=SC2154 # set by eval
	kill -9 "$p"
	wait "$p" 2>/dev/null || :
}

link_is()
{
	ctl "$1" uplink list | grep -q "^$2 .* $3 "
}

# until_link CARD UPLINK yes|no
until_link()
{
	wait_for "card $1: link of $2 is not: up=$3" link_is "$@"
}

# Every transfer is over to its last acknowledgement: no packet of one is on its way.
transfers_over()
{
	for where in "" far; do
		[ -z "$($where ss -Htn state connected exclude time-wait \
			'( sport = :5001 or dport = :5001 )')" ] || return 1
	done
}

far()
{
	nsenter -t "$far" -n "$@"
}

# watch_start NAME COMMAND-PREFIX... IFACE: judge what arrives there
watch_start()
{
	name=$1
	shift
	"$@" 1500 "$dir/$name" >"$dir/$name.out" 2>&1 &
	eval "$name=$!"
	pids="$pids $!"
	wait_for "no capture" test -e "$dir/$name.started"
}

watch_stop()
{
	eval "p=\$$1"
	kill "$p"
	wait "$p" || fail "frames that left the card: $(cat "$dir/$1.out")"
	cat "$dir/$1.out"
	rm "$dir/$1.started"
}

# packets IFACE FIELD: the kernel's count
packets()
{
	ip -j -s link show "$1" | python3 -c "import json, sys
print(json.load(sys.stdin)[0]['stats64']['$2']['packets'])"
}

# No request of the far end may be answered by a short cut.
namespace far
echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore
far sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
wire near0 "$far" far0
address "$far" far0 10.40.0.2/24
# Not through far(): what is to be killed is the server, not a shell that waits for it.
nsenter -t "$far" -n python3 "$peers" serve 5001 &
pids="$pids $!"

# 1. TAP to af_packet.
start one
ctl one uplink create tap devargs=net_tap0,iface=obtap0
ctl one uplink create wire devargs=net_af_packet0,iface=near0
ip addr add 10.40.0.1/24 dev obtap0
near_before=$(packets near0 rx) far_before=$(far ip -j -s link show far0 | python3 -c "import json, sys
print(json.load(sys.stdin)[0]['stats64']['rx']['packets'])")
counters one
wire_rx_before=$wire_rx wire_tx_before=$wire_tx
watch_start seen_far nsenter -t "$far" -n python3 "$peers" watch far0
watch_start seen_tap python3 "$peers" watch obtap0
python3 "$peers" transfer 10.40.0.2 5001 8388608 || fail "TAP to af_packet"
balanced()
{
	transfers_over && counters one &&
		[ $((tap_rx + wire_rx)) -eq $((tap_tx + wire_tx + tap_drops + wire_drops)) ]
}
wait_for "packets in and out differ" balanced
watch_stop seen_far
watch_stop seen_tap
[ $((tap_rx + wire_rx)) -gt 10000 ] || fail "the transfer did not go through the card"
far_after=$(far ip -j -s link show far0 | python3 -c "import json, sys
print(json.load(sys.stdin)[0]['stats64']['rx']['packets'])")
[ $((far_after - far_before)) -eq $((wire_tx - wire_tx_before)) ] ||
	fail "the far end got $((far_after - far_before)) packets, the card sent $((wire_tx - wire_tx_before))"
# What overruns the socket's ring is lost before the card; TCP sends it again.
came=$(($(packets near0 rx) - near_before)) took=$((wire_rx - wire_rx_before))
[ "$took" -le "$came" ] && [ "$took" -gt $((came / 2)) ] ||
	fail "the wire brought $came packets, the card took $took"
echo "TAP - af_packet: 16 MiB unchanged, $((tap_rx + wire_rx)) packets accounted for"

# 2. A port with a smaller MTU: longer packets are counted and do not leave.
ctl one uplink delete wire
ctl one uplink create wire devargs=net_af_packet0,iface=near0 mtu=1000
python3 "$peers" transfer 10.40.0.2 5001 100 || fail "after the port came back"
wait_for "the transfer does not end" transfers_over
counters one
before=$wire_MTU tx_before=$wire_tx
python3 "$peers" datagram 10.40.0.2 9 1200
python3 "$peers" datagram 10.40.0.2 9 900
shorter_left()
{
	counters one
	[ "$wire_tx" -gt "$tx_before" ]
}
wait_for "a packet of the MTU's size did not leave" shorter_left
[ $((wire_MTU - before)) -eq 1 ] || fail "$((wire_MTU - before)) packets over the MTU instead of 1"
ctl one uplink delete wire
ip link set near0 mtu 1500
ctl one uplink create wire devargs=net_af_packet0,iface=near0

# 3. What cannot be: clear words, and nothing left behind.
for args in net_nosuch0 net_null0,colour=red net_af_packet9,iface=nosuch net_tap0,iface=obtap7 \
	0000:7f:1f.7; do
	if ctl one uplink create bad "devargs=$args" 2>"$dir/reply"; then fail "made: $args"; fi
	grep -q "bad: $args: " "$dir/reply" || fail "$args: $(cat "$dir/reply")"
done
grep -q 'File exists' "$dir/reply" || ctl one uplink create bad devargs=net_tap0 2>&1 |
	grep -q 'File exists' || fail "a device in use was not refused as such"
python3 "$peers" transfer 10.40.0.2 5001 100000 || fail "after refused uplinks"

# 4. AF_XDP, where it is to be had.
wire xnear "$far" xfar
address "$far" xfar 10.41.0.2/24
ctl one uplink delete wire
if ctl one uplink create xdp devargs=net_af_xdp0,iface=xnear 2>"$dir/reply"; then
	ip addr add 10.41.0.1/24 dev obtap0
	watch_start seen_xdp nsenter -t "$far" -n python3 "$peers" watch xfar
	python3 "$peers" transfer 10.41.0.2 5001 1048576 || fail "TAP to AF_XDP"
	watch_stop seen_xdp
	ctl one uplink delete xdp
	echo "TAP - AF_XDP: 2 MiB unchanged"
else
	echo "AF_XDP left out: $(cat "$dir/reply")"
fi
ctl one uplink delete tap

# 5. Capture files: what is read is written, and counted.
python3 "$peers" make "$dir/in.pcap" 200
python3 "$peers" make "$dir/none.pcap" 0
ctl one uplink create out "devargs=net_pcap0,rx_pcap=$dir/none.pcap,tx_pcap=$dir/out.pcap"
ctl one uplink create in "devargs=net_pcap1,rx_pcap=$dir/in.pcap,tx_pcap=$dir/back.pcap"
captured()
{
	counters one
	[ "$in_rx $out_tx $in_drops $out_drops" = "200 200 0 0" ]
}
wait_for "frames of the capture file are missing" captured
ctl one uplink delete in
ctl one uplink delete out
python3 "$peers" compare "$dir/in.pcap" "$dir/out.pcap" || fail "capture files"
echo "capture files: 200 frames"

# 6. Two cards: TAP - one - memif - two - af_packet. The client first; then each is killed.
memif=id=0,socket=$dir/memif,socket-abstract=no
start two
ctl two uplink create up "devargs=net_memif0,role=client,$memif" || fail "a client without a server"
ctl two uplink create wire devargs=net_af_packet0,iface=near0
ctl two uplink list | grep -q '^up .* no ' || fail "a link without a peer"
gone_is_counted()
{
	counters two
	[ "$up_PORT_GONE" -gt 0 ] || {
		far python3 "$peers" broadcast 10.40.0.255 9
		false
	}
}
wait_for "packets to a link that is down are not counted as such" gone_is_counted
ctl one uplink create up "devargs=net_memif0,role=server,$memif"
ctl one uplink create tap devargs=net_tap0,iface=obtap0
ip addr add 10.40.0.1/24 dev obtap0
until_link two up yes
watch_start seen_far nsenter -t "$far" -n python3 "$peers" watch far0
watch_start seen_tap python3 "$peers" watch obtap0
python3 "$peers" transfer 10.40.0.2 5001 4194304 || fail "through memif"
cards_agree()
{
	transfers_over || return 1
	counters one
	one_up_tx=$up_tx one_up_rx=$up_rx
	counters two
	[ "$one_up_tx $one_up_rx" = "$up_rx $up_tx" ]
}
wait_for "what one card sent over the memif the other did not receive" cards_agree
watch_stop seen_far
watch_stop seen_tap
echo "TAP - memif - af_packet: 8 MiB unchanged"

murder two
until_link one up no
start two
until_link two up yes
python3 "$peers" transfer 10.40.0.2 5001 1048576 || fail "after the client was killed"
murder one
until_link two up no
start one
ip addr add 10.40.0.1/24 dev obtap0
until_link two up yes
until_link one up yes
python3 "$peers" transfer 10.40.0.2 5001 1048576 || fail "after the server was killed"
echo "memif: both ends killed and back"

for card in one two; do
	eval "p=\$$card"
	kill "$p"
	wait "$p" || fail "card $card ended with $?"
done
if grep -E 'err .*(Rx Intr|not ready port|lcore)' "$dir"/*.err; then fail "noise in the log"; fi
echo "40-uplinks: ok"
