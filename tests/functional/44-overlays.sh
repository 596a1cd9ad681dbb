#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two cards, four guests, two networks with the same addresses, rules with connection tracking, translation
# to and from the outside: over VXLAN, where the third host of a network is behind the kernel's own device,
# then over Geneve with an option that names the network, where it is behind a stock Open vSwitch. What the
# rules allow arrives unchanged, the rest is dropped where the counters say, and a killed card is back, once over
# each.
# Usage: 44-overlays.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # counters become variables by name
set -eu

here=$(dirname "$(realpath "$0")")
# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
# shellcheck source=tests/functional/overlay.sh
. "$here/overlay.sh"
# shellcheck source=/dev/null
. "$here/lab.sh"
outside_ip=198.51.100.1
gateway_mac=02:00:00:00:00:fe

# at PID COMMAND...: a host in that namespace does something
at()
{
	where_at=$1
	shift
	within "$where_at" python3 "$here/overlay_peers.py" "$@"
}

ctl()
{
	card=$1
	shift
	cardctl --socket "$OUTBOARD_DIR/$card/rpc.sock" "$@"
}

# counters CARD: sets NAME_rx, NAME_tx, NAME_drops, NAME_REASON for every port
counters()
{
	for name in a1 b1 a2 b2 tun gen out; do
		eval "${name}_ACL=0 ${name}_MTU=0 ${name}_tx=0 ${name}_segments=0"
	done
	eval "$(ctl "$1" --json port stats | python3 "$here/uplink_peers.py" counters)"
}

# ---- the world around the cards, made before they start ----

# A switch between the cards and the third hosts' namespaces; another namespace is the outside.
make_underlay()
{
	ip link add underlay type bridge
	ip link set underlay up
	for name in outside vxlan geneve; do
		namespace $name
		eval "export $name"
	done
	for end in card1 card2; do
		wire $end $$ $end-sw
		ip link set $end-sw master underlay
	done
	for name in vxlan geneve; do
		eval "wire $name-sw \$$name far0"
		ip link set $name-sw master underlay
	done
	wire out1 "$outside" out0
	address "$outside" out0 $outside_ip/24
	within "$outside" ip link set out0 address 02:00:00:00:01:02
	# What leads into a tunnel behind the translation has less room. The outside is told by hand: "too big"
	# quotes addresses of the inside, which it does not know.
	for n in 1 2; do
		within "$outside" ip route add 203.0.113.$n dev out0 mtu 1442
		within "$outside" ip neigh add 203.0.113.$n lladdr 02:00:00:00:01:01 dev out0
	done
	mkdir "$dir/www"
	head -c 1048576 /dev/urandom >"$dir/www/data"
	serve_files "$outside"
}

# serve_files PID: the files by HTTP; who asked is noted
serve_files()
{
	nsenter -t "$1" -n python3 -m http.server 8080 --directory "$dir/www" >/dev/null 2>>"$dir/asked" &
	pids="$pids $!"
}

# The third host of network A, on the kernel's VXLAN: its first packets go to both cards.
third_vxlan()
{
	address "$vxlan" far0 192.0.2.3/24
	within "$vxlan" ip link add tun type vxlan id 10 dstport 4789 local 192.0.2.3 udpcsum
	for end in 192.0.2.1 192.0.2.2; do
		within "$vxlan" bridge fdb append 00:00:00:00:00:00 dev tun dst $end
	done
	within "$vxlan" ip link set tun mtu 1450 up
	within "$vxlan" ip addr add 10.0.0.3/24 dev tun
	serve_files "$vxlan"
	# Somebody who is no member of network B and speaks all the same.
	within "$vxlan" ip link add intruder type vxlan id 11 dstport 4789 local 192.0.2.3 remote 192.0.2.1
	within "$vxlan" ip link set intruder up
	within "$vxlan" ip addr add 10.9.0.1/24 dev intruder
	within "$vxlan" ip neigh add 10.9.0.2 lladdr 52:54:00:00:00:02 dev intruder
}

# The third host of network A on Open vSwitch, which takes and sends only what has network A's option.
third_geneve()
{
	ovs_start "$geneve" far0
	address "$geneve" phy 192.0.2.4/24
	for n in 1 2; do
		ovs_vsctl --timeout=30 add-port tun end$n -- set interface end$n type=geneve ofport_request=$n \
			options:remote_ip=192.0.2.$n options:key=10 options:csum=true
	done
	ovs-ofctl add-tlv-map tun '{class=0x102,type=0x80,len=4}->tun_metadata0'
	ovs-ofctl del-flows tun
	ovs-ofctl add-flow tun 'in_port=local,arp,actions=set_field:10->tun_metadata0,output:end1,output:end2'
	for n in 1 2; do
		ovs-ofctl add-flow tun "in_port=end$n,tun_metadata0=10,actions=local"
		ovs-ofctl add-flow tun "in_port=local,ip,nw_dst=10.0.0.$n,actions=set_field:10->tun_metadata0,output:end$n"
	done
	within "$geneve" ip link set tun mtu 1442
	within "$geneve" ip addr add 10.0.0.3/24 dev tun
	serve_files "$geneve"
}

# ---- checks ----

# Without IPv6: what a guest asks its link for nobody allows, and it would count among the drops.
prepare_guest()
{
	in_guest "$1" "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 &&
		arp -s 10.0.0.254 $gateway_mac && ip route add default via 10.0.0.254 &&
		mkdir -p /tmp/www && cd /tmp/www && echo $1 >name && head -c 1048576 /dev/urandom >data &&
		httpd -p 8080 -h /tmp/www && httpd -p 9090 -h /tmp/www" || fail "guest $1"
}

# get GUEST URL: prints what is there
get()
{
	in_guest "$1" "timeout 20 wget -q -O - $2"
}

sum_of()
{
	in_guest "$1" 'sha256sum </tmp/www/data'
}

# talk FROM TO ADDRESS: ping, who is there, and 1 MiB of it
talk()
{
	in_guest "$1" "ping -c 3 -i 0.1 -w 20 $3 >/dev/null" || fail "ping $1 -> $2"
	[ "$(get "$1" "http://$3:8080/name")" = "$2" ] || fail "$1 finds somebody else than $2 at $3"
	[ "$(in_guest "$1" "timeout 20 wget -q -O - http://$3:8080/data | sha256sum")" = "$(sum_of "$2")" ] ||
		fail "1 MiB from $2 to $1 changed or was cut"
	echo "$1 <- $2: 1 MiB unchanged"
}

# third NETWORK PID: the third host and the guests find each other
third()
{
	for n in 1 2; do
		at "$2" ping 10.0.0.$n 56 || fail "third host to $1$n"
		[ "$(at "$2" fetch http://10.0.0.$n:8080/data | sha256sum)" = \
			"$(sum_of "$1$n")" ] || fail "1 MiB from $1$n to the third host"
		[ "$(in_guest "$1$n" "timeout 20 wget -q -O - http://10.0.0.3:8080/data | sha256sum")" = \
			"$(sha256sum <"$dir/www/data")" ] || fail "1 MiB from the third host to $1$n"
	done
	echo "third host of network $1: 1 MiB from and to both guests"
}

received()
{
	# IP alone: neighbours ask for each other at times.
	in_guest "$1" "awk '/^Ip:/ && n++ { print \$4 }' /proc/net/snmp"
}

# What one network does the other does not see, though every address is the same.
apart()
{
	for g in "$2"1 "$2"2; do
		eval "before_$g=\$(received $g)"
	done
	in_guest "$1"1 'ping -c 20 -i 0.05 -w 20 10.0.0.2 >/dev/null &&
		timeout 20 wget -q -O /dev/null http://10.0.0.2:8080/data' ||
		fail "$1: traffic of one network"
	for g in "$2"1 "$2"2; do
		eval "before=\$before_$g"
		[ "$(received $g)" = "$before" ] || fail "$g received what network $1 sent"
	done
	echo "network $2 saw nothing of network $1"
}

# silent FROM CARD PORT WHAT COMMAND...: it fails, and the drops of that reason at the port are the proof
silent()
{
	who=$1 where=$2 port=$3
	shift 3
	counters "$where"
	eval "before=\$${port}_ACL"
	if "$@" >/dev/null 2>&1; then fail "$who: allowed although no rule says so: $*"; fi
	counters "$where"
	eval "after=\$${port}_ACL"
	[ "$after" -gt "$before" ] || fail "$who: $where/$port did not drop it: $*"
	echo "$who: silent, $((after - before)) packets dropped at $where/$port"
}

# tracked CARD ZONE PATTERN: a connection is in the table
tracked()
{
	ctl "$1" ct list "$2" max=4096 >"$dir/ct" || fail "ct list"
	grep -Eq "$3" "$dir/ct" || {
		cat "$dir/ct"
		fail "$1 has no connection $3 in zone $2"
	}
}

# Guests of both networks leave under different addresses; one port leads in.
translation()
{
	want=$(sha256sum <"$dir/www/data")
	for g in a1 b1 a2; do
		: >"$dir/asked"
		[ "$(in_guest $g "timeout 20 wget -q -O - http://$outside_ip:8080/data | sha256sum")" = "$want" ] ||
			fail "1 MiB from outside to $g"
		case $g in
		a*) as=203.0.113.1 ;;
		b*) as=203.0.113.2 ;;
		esac
		grep -q "^$as " "$dir/asked" || fail "$g was seen outside as $(cat "$dir/asked")"
	done
	tracked card1 20 "orig=\(src=10.0.0.1,dst=$outside_ip,.*dport=8080.*reply=\(src=$outside_ip,dst=203.0.113.1,"
	tracked card1 21 "orig=\(src=10.0.0.1,dst=$outside_ip,.*dport=8080.*reply=\(src=$outside_ip,dst=203.0.113.2,"
	[ "$(at "$outside" fetch http://203.0.113.1:8443/data | sha256sum)" = \
		"$(sum_of a1)" ] || fail "the port that leads to a1"
	to_a1="reply=\(src=10.0.0.1,dst=$outside_ip,sport=8080"
	tracked card1 20 "orig=\(src=$outside_ip,dst=203.0.113.1,.*dport=8443.*$to_a1"
	silent outside card1 out at "$outside" try \
		http://203.0.113.1:8080/name
	echo "translation: three guests out, one port in, 1 MiB each"
}

# What a guest of 1500 sends into a tunnel over 1500: it is told once, and cuts its segments later itself.
big_packets()
{
	all=0
	for card in card1 card2; do
		n=${card#card}
		counters $card
		eval "all=\$((all + a${n}_MTU))"
	done
	# One of them is enough: who has learned it tells the other by its MSS.
	[ "$all" -gt 0 ] || fail "no packet of network A was too long: this tests nothing"
	echo "too long for the tunnel: $all packets, whose sender was told"
}

# What came for the guests out of the tunnel, or from outside behind the translation, came merged at times.
merged()
{
	all=0
	for card in card1 card2; do
		n=${card#card}
		counters $card
		eval "all=\$((all + a${n}_segments + b${n}_segments))"
		[ "$((tun_segments + gen_segments + out_segments))" = 0 ] || fail "segments were merged for no guest"
	done
	[ "$all" -gt 0 ] || fail "no segment was merged for a guest"
	echo "merged for guests: $all segments"
}

# one_pass TUNNEL [THIRD-NETWORK PID]
one_pass()
{
	tunnel=$1
	talk a1 a2 10.0.0.2
	talk a2 a1 10.0.0.1
	talk b1 b2 10.0.0.2
	talk b2 b1 10.0.0.1
	[ -z "${2:-}" ] || third "$2" "$3"
	apart a b
	apart b a
	for zone in 10 11; do
		for card in card1 card2; do
			tracked $card $zone "tcp,orig=\(src=10.0.0.1,dst=10.0.0.2,.*dport=8080.*zone=$zone,mark=$zone"
			tracked $card $zone "tcp,orig=\(src=10.0.0.2,dst=10.0.0.1,.*dport=8080.*zone=$zone,mark=$zone"
		done
	done
	silent a1 card1 a1 in_guest a1 'timeout 4 wget -q -O - http://10.0.0.2:9090/name'
	silent b2 card2 b2 in_guest b2 'timeout 4 wget -q -O - http://10.0.0.1:9090/name'
	[ -z "${2:-}" ] || silent "third host" card2 "$tunnel" at "$3" try http://10.0.0.2:9090/name
	translation
}

intruder_dropped()
{
	counters card1
	[ $((tun_ACL - before)) -ge "$1" ]
}

# restart_card TUNNEL: that is what the killed card goes on with
restart_card()
{
	in_guest a1 'ping -i 0.2 -c 300 10.0.0.2 >/tmp/ping 2>&1 &'
	in_guest a1 'n=0; until grep -q seq=2 /tmp/ping; do
			n=$((n + 1)); [ $n -lt 200 ] || exit 1; usleep 100000; done' ||
		fail "no ping before the restart"
	card-emulator --kill card2
	card-emulator --wait
	in_guest a1 'l=$(wc -l </tmp/ping); n=0
		until [ "$(wc -l </tmp/ping)" -gt $((l + 5)) ]; do n=$((n + 1)); [ $n -lt 200 ] || exit 1; usleep 100000; done
		kill $(pidof ping)' || fail "ping does not go on after card2 was killed"
	talk a1 a2 10.0.0.2
	talk b2 b1 10.0.0.1
	counters card2
	eval "[ \$${1}_tx -gt 0 ]" || fail "card2 sends nothing into $1"
	echo "card2 was killed and is back"
}

# By cardctl, where VXLAN is in the cards' configuration files, which come first when a card starts: what
# there is then of the same name would stand in the way. Flows of the same key are replaced.
to_geneve()
{
	for n in 1 2; do
		ctl card$n flow flush >/dev/null
		ctl card$n tunnel delete tun >/dev/null || fail "tunnel delete"
		ctl card$n tunnel create gen geneve known_options=0x0102:0x80 >/dev/null || fail "tunnel create"
		ctl card$n ct flush >/dev/null
		# shellcheck disable=SC2086 # none or one
		"$here/overlay_rules.py" flows $n geneve $geneve_ip | while read -r flow actions; do
			ctl card$n flow add "$flow" "actions=$actions" >/dev/null || fail "flow add $flow"
		done
	done
}

if [ "${1:-}" = --inside ]; then
	dir=$OVERLAY_DIR
	for g in a1 b1 a2 b2; do
		prepare_guest $g
	done
	one_pass tun a "$vxlan"
	big_packets
	merged
	counters card1
	before=$tun_ACL
	at "$vxlan" send 10.9.0.2 5
	wait_for "who is no member of network B spoke in it" intruder_dropped 5 # which is all that was sent
	restart_card tun
	echo "VXLAN: ok"
	to_geneve
	if [ -n "$geneve_ip" ]; then one_pass gen a "$geneve"; else one_pass gen; fi
	restart_card gen
	echo "Geneve: ok"
	exit 0
fi

build=$(realpath "${1:-build}")
netns_enter "$0" "$build" "${2:-}" ethtool bridge qemu-system-x86_64
make_underlay
third_vxlan
geneve_ip=
if ovs_has; then
	third_geneve
	geneve_ip=192.0.2.4
else
	echo "the third host over Geneve is left out: Open vSwitch is not installed"
fi
"$here/overlay_rules.py" topology 192.0.2.3 >"$dir/topology.json"
export BUILD="$build" OVERLAY_DIR="$dir" geneve_ip
(lab_run "$dir/topology.json" "$0") || exit $?
echo "44-overlays: ok"
