#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Operator flows end to end: they win over the learning switch, stop, redirect and tag traffic, count
# what they see, and go away; ports that come and go under traffic lose nothing of their neighbours'.
# Usage: 41-flows.sh BUILD-DIR
set -eu

build=${1:-build}
peers=$(dirname "$0")/uplink_peers.py
cardd=$build/card-firmware/cardd
vdrv=$build/tests/driver/vdrv
for program in "$cardd" "$vdrv"; do
	[ -x "$program" ] || {
		echo "SKIP: $program is not built"
		exit 77
	}
done
command -v python3 >/dev/null || {
	echo "SKIP: no python3"
	exit 77
}

dir=$(mktemp -d)
pid='' traffic=''
cleanup()
{
	for p in $pid $traffic; do
		kill -9 "$p" 2>/dev/null || :
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail()
{
	echo "FAIL: $*"
	ctl flow list || :
	ctl port stats || :
	tail -n 20 "$dir/err"
	exit 1
}

ctl()
{
	"$build/card-firmware/cardctl" --socket "$dir/rpc" "$@"
}

# pings COUNT: verified frames both ways between g0 and g1, beginning at g0
pings()
{
	timeout 60 "$vdrv" net-ping --a "$dir/s/g0" --b "$dir/s/g1" --count "$1" >"$dir/ping" 2>&1
}

# flow KEY FIELD: of the operator's flow
flow()
{
	ctl --json flow list | python3 -c 'import json, sys
text, field = sys.argv[1:]
flows = [f for f in json.load(sys.stdin)["flows"] if f["origin"] == "operator" and f["flow"] == text]
assert len(flows) == 1, flows
print(flows[0][field])' "$@"
}

counters()
{
	eval "$(ctl --json port stats | python3 "$peers" counters)"
}

mkfifo "$dir/ready"
"$cardd" --name flows --socket-dir "$dir/s" --rpc-socket "$dir/rpc" --mem-mib 96 --mbufs 8191 \
	>"$dir/ready" 2>"$dir/err" &
pid=$!
line=
read -r line <"$dir/ready" || :
[ "$line" = ready ] || fail "cardd does not start"
ctl net create g0
ctl net create g1
ctl uplink create g2 devargs=net_null0,no-rx=1 # takes everything

pings 640 || fail "the learning switch: $(cat "$dir/ping")"
ctl --json flow list | grep -q '"bridge"' || fail "no flows of the switch"

# Drop: nothing passes, everything is counted as dropped by a flow; afterwards all is as before.
counters
# shellcheck disable=SC2154 # set by counters
before=$g0_FLOW_DROP
ctl flow add 'in_port(g0)' actions=drop >/dev/null
if pings 64; then fail "traffic past a flow that drops it"; fi
counters
n=$(flow 'recirc_id(0),in_port(1),eth()' packets)
[ "$n" -gt 0 ] && [ "$n" -eq $((g0_FLOW_DROP - before)) ] ||
	fail "the flow saw $n packets, the port dropped $((g0_FLOW_DROP - before))"
[ "$(flow 'recirc_id(0),in_port(1),eth()' bytes)" -ge $((n * 60)) ] || fail "bytes of the flow"
# A flow that asks for more wins over it, whichever was first.
ctl flow add 'in_port(g0),eth_type(0x88b5)' actions=g1 >/dev/null
pings 640 || fail "past a more exact flow: $(cat "$dir/ping")"
[ "$(flow 'recirc_id(0),in_port(1),eth(),eth_type(0x88b5)' packets)" -ge 320 ] || fail "the more exact flow counts too little"
[ "$(flow 'recirc_id(0),in_port(1),eth()' packets)" -ge "$n" ] || fail "a flow's counter went back"
ctl flow delete 'in_port(g0)'

# Another output than the switch would choose.
counters
# shellcheck disable=SC2154 # set by counters
before=$g2_tx
ctl flow add 'in_port(g0),eth_type(0x88b5)' actions=g2 >/dev/null
if pings 64; then fail "traffic arrives where a flow does not send it"; fi
counters
[ "$g2_tx" -gt "$before" ] || fail "nothing came to the port that the flow names"
before=$g2_tx
# To both: the copy does not disturb.
ctl flow add 'in_port(g0),eth_type(0x88b5)' actions=g1,g2 >/dev/null
pings 640 || fail "a copied stream: $(cat "$dir/ping")"
counters
[ $((g2_tx - before)) -ge 320 ] || fail "the copy is not complete"
# A tag that is pushed and popped again; one that is only pushed is seen at the other end.
ctl flow add 'in_port(g0),eth_type(0x88b5)' 'actions=push_vlan(vid=7,pcp=0),pop_vlan,g1' >/dev/null ||
	fail "tags"
pings 640 || fail "pushed and popped: $(cat "$dir/ping")"
ctl flow add 'in_port(g0),eth_type(0x88b5)' 'actions=push_vlan(vid=7,pcp=0),g1' >/dev/null
if pings 64; then fail "a tag that nobody sees"; fi

# Flush: the switch alone again. Refusals name the place.
ctl flow flush >/dev/null
pings 640 || fail "after the flush: $(cat "$dir/ping")"
if ctl --json flow list | grep -q '"operator"'; then fail "a flow outlived the flush"; fi
if ctl flow add 'in_port(g0),tcp(dst=80)' actions=drop 2>"$dir/reply"; then
	fail "a port number without a protocol"
fi
if ctl flow add 'in_port(g0)' actions=nosuch 2>"$dir/reply"; then fail "output to nowhere"; fi

# Ports come and go while others talk, with the flows that name them.
pings 400000 &
traffic=$!
until ctl --json flow top n=1 by=bytes interval_ms=50 | grep -q bytes_per_s; do
	kill -0 "$traffic" || fail "traffic that the busiest flows do not show"
done
n=0
while [ $n -lt 25 ]; do
	n=$((n + 1))
	ctl net create g3
	ctl uplink create u0 devargs=net_null1,no-rx=1
	ctl flow add 'in_port(g3)' actions=u0 >/dev/null
	ctl flow add 'in_port(u0),eth_type(0x0806)' actions=g3,g0 >/dev/null
	ctl net delete g3
	ctl uplink delete u0
done
wait $traffic || fail "traffic between ports that stayed: $(cat "$dir/ping")"
traffic=
if ctl --json flow list | grep -q '"operator"'; then fail "a flow outlived its port"; fi
cat "$dir/ping"

kill "$pid"
wait "$pid" || fail "cardd ended with $?"
pid=
echo "41-flows: ok"
