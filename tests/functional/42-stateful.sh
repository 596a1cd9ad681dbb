#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A stateful pipeline of operator flows between two kernels: what one side opens passes both ways and is
# seen by cardctl ct, what the other side opens does not.
# Usage: 42-stateful.sh BUILD-DIR (root: network namespaces and packet sockets)
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
nsenter -t "$far" -n python3 "$peers" serve 5001 &
pids="$pids $!"

card_start stateful --ct-conns 4096
ctl uplink create tap devargs=net_tap0,iface=obct0
ctl uplink create wire devargs=net_af_packet0,iface=near0
ip addr add 10.42.0.1/24 dev obct0

# Who is here may open connections; who is there may only answer.
ip4='eth_type(0x0800)'
for port in tap wire; do
	ctl flow add "recirc_id(0),in_port($port),$ip4" 'actions=ct(zone=5),recirc(0x1)' >/dev/null
done
ctl flow add "recirc_id(0x1),in_port(tap),ct_state(+new+trk),$ip4" \
	'actions=ct(commit,zone=5,mark=0x7/0xffffffff),wire' >/dev/null
ctl flow add "recirc_id(0x1),in_port(tap),ct_state(-new+est+trk),$ip4" actions=wire >/dev/null
ctl flow add "recirc_id(0x1),in_port(wire),ct_state(-new+est+trk),$ip4" actions=tap >/dev/null
ctl flow add "recirc_id(0x1),in_port(wire),ct_state(-est+trk),$ip4" actions=drop >/dev/null

timeout 60 python3 "$peers" transfer 10.42.0.2 5001 1048576 || fail "a connection that may be opened"
timeout 60 python3 - "$build/card-firmware/cardctl" "$rpc" <<'PY' || fail "it is not in the list as it should"
import json, re, socket, subprocess, sys, time
s = socket.create_connection(("10.42.0.2", 5001))
want = re.compile(r"tcp,orig=\(src=10\.42\.0\.1,dst=10\.42\.0\.2,sport=%d,dport=5001\),reply=\(src=10\.42\.0\.2,"
                  r"dst=10\.42\.0\.1,sport=5001,dport=%d\),zone=5,mark=7,protoinfo=\(state=ESTABLISHED\)"
                  % ((s.getsockname()[1],) * 2))
end = time.monotonic() + 30
while True:
    out = subprocess.run([sys.argv[1], "--socket", sys.argv[2], "--json", "ct", "list", "5"], check=True,
                         stdout=subprocess.PIPE).stdout
    mine = [c for c in json.loads(out)["connections"] if want.fullmatch(c["connection"])]
    if mine:
        break
    assert time.monotonic() < end, out
assert mine[0]["packets"] >= 2 and mine[0]["reply_packets"] >= 1, mine
assert mine[0]["reply_bytes"] >= 40, mine
PY
ctl --json ct list 4 | grep -q '"total": *0' || fail "connections in a zone that has none"
ctl ct list 5 | grep -q 'tcp,orig=.*dport=5001' || fail "the table of connections"

# The other way: dropped by the flow, and no connection comes of it.
counters
before=$wire_FLOW_DROP
nsenter -t "$far" -n python3 "$peers" datagram 10.42.0.1 9 100
dropped()
{
	counters
	[ "$wire_FLOW_DROP" -gt "$before" ]
}
wait_for "what the far end opens is not dropped" dropped
ctl --json ct list 5 tuple=ct_nw_src=10.42.0.2 | grep -q '"total": *0' || fail "the far end opened a connection"

ctl --json ct flush ct_nw_dst=10.42.0.2,ct_nw_proto=6,ct_tp_dst=5001 zone=5 |
	grep -q '"deleted": *[1-9]' || fail "nothing to flush"
timeout 60 python3 "$peers" transfer 10.42.0.2 5001 1000 || fail "a connection after the flush"
echo "PASS"
