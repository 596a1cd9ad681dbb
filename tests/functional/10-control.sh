#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The control plane of a running card: every command once, idempotent creation, what a restart keeps,
# metrics, and the hostile clients of control_clients.py (JR-02, 05, 06, 09, 10, 11, 14).
# Usage: 10-control.sh BUILD-DIR
set -eu

here=$(dirname "$0")
# shellcheck source=tests/functional/control.sh
. "$here/control.sh"
control_env "${1:-build}" tests/driver/vdrv
vdrv=${1:-build}/tests/driver/vdrv
options="--state-dir $dir/state"

loop=
load=
cleanup()
{
	[ -z "$load" ] || kill -9 "$load" 2>/dev/null || :
	[ -z "$loop" ] || losetup -d "$loop" 2>/dev/null || :
	control_leave
}
trap cleanup EXIT

clients()
{
	python3 "$here/control_clients.py" "$dir/rpc" "$@" || fail "control_clients.py $*"
}

# ping A B: verified frames both ways between two NICs, beginning at A
ping()
{
	timeout 60 "$vdrv" net-ping --a "$dir/s/$1" --b "$dir/s/$2" --count 200 >"$dir/ping" 2>&1
}

create_all()
{
	ctl volume create-null n0 num_blocks=2048 block_size=512
	ctl volume create-ram r0 num_blocks=2048 block_size=4096
	ctl volume create-file f0 "filename=$dir/f0.img" num_blocks=4096
	ctl disk create d0 dev_name=n0 num_queues=2
	ctl net create g0 queue_pairs=2
	ctl net create g1 mac=52:54:00:00:00:01
}

start || fail "cardd does not start"

# Every object's create, list, show, stats.
create_all
create_all # again with the same parameters: no error
has 'yes' card ready
has 'n0 .*null .*2048' volume list
has 'product_name: Malloc disk' volume show r0
has 'volume f0' volume stats f0
ctl volume histogram n0 no
ctl volume histogram r0 yes
ctl volume histogram f0 yes every=7
has 'VOLUME .*P99.9_US' volume latency
has 'VOLUME .*OP' volume latency f0
refused 1 'no such volume' volume latency gone
refused 1 'no such volume' volume histogram gone yes
refused 2 'required' volume histogram n0
has 'd0 .*n0 .*waiting' disk list
has 'readonly: no' disk show d0
has 'queue 1' disk stats d0
has '52:54:00:00:00:01' net list
has 'queue_pairs: 2' net show g0
has 'pair 1' net stats g0
has 'rejected_messages.not_negotiated 0  (request of a protocol' net stats g0 --all
has 'ctrl_refused 0' net stats g0 --all
has 'g1' port list
has 'number: ' port show g0
has 'drops.MALFORMED\|drops.malformed' port stats g0 --all
ctl uplink create u0 devargs=net_null0
has 'net_null0' uplink list
has 'devargs: net_null0' uplink show u0
has 'now.up' uplink stats u0 --all
has 'uplink u0' uplink stats
refused 1 'no such uplink' uplink stats g0
refused 1 'no such volume' volume stats g0
refused 1 'no such object' card stats name=nothing
ctl uplink delete u0
ctl flow add 'in_port(g0),eth_type(0x0800),ipv4(proto=17),udp(dst=53)' actions=g1 >/dev/null
ctl flow add 'in_port(g0),eth_type(0x0806)' actions=drop >/dev/null
has 'operator .*udp(dst=53)' flow list
has 'datapath' flow stats
has 'PACKETS/S .*ACTIONS' flow top interval_ms=20 n=3
refused 1 'packets or bytes' flow top by=colour
refused 1 'not kept' flow top sample=1000
has 'flow: .*in_port(.*),eth_type(0x0800),ipv4(proto=17),udp(dst=53)' flow show \
	'in_port(g0),eth_type(0x0800),ipv4(proto=17),udp(dst=53)'
has 'total: 1' flow show 'in_port(g0),eth_type(0x0806)'
has 'FLOW_DROP' trace 'in_port(g0),eth(),eth_type(0x0806)'
has 'FLOW_DROP' trace 'in_port(g0),eth(),eth_type(0x0806)' ct_new=true
has 'flow .*in_port(g0),.*udp(dst=53)' trace 'in_port(g0)' \
	frame=ffffffffffff02000000000108004500001c0000000040110000c0a80001c0a800020035003500080000
refused 1 'hexadecimal' trace 'in_port(g0)' frame=0g
refused 1 'in_port() is required' trace 'eth_type(0x0806)'
refused 1 'no such flow' flow show 'in_port(g0),eth_type(0x0807)'
refused 1 'no such port' flow show 'in_port(nobody)'
ctl flow delete 'in_port(g0),eth_type(0x0806)'
ctl mac set 52:54:00:00:00:AA port=g1
ctl mac set 52:54:00:00:00:ab vlan=5 port=g1
ctl mac delete 52:54:00:00:00:ab vlan=5
ctl mac flush >/dev/null
has '52:54:00:00:00:aa .*g1' mac list
has 'port: g1' mac show 52:54:00:00:00:AA
has 'static: yes' mac show 52:54:00:00:00:aa vlan=0
refused 1 'no such address' mac show 52:54:00:00:00:aa vlan=5
refused 1 'not an Ethernet address' mac show 52:54:00:00:00:xx
has 'mac g1' mac stats
has 'now.static 1' mac stats g1
has 'BUSY' worker list
has 'cpu: ' worker show 0
refused 1 'no such worker' worker show 9
has 'BUSY% .*LOOKUP .*EMC%' worker perf
has 'CYCLES/PACKET' worker perf 0
refused 1 'no such worker' worker perf 9
has 'worker 0' worker stats
has 'worker 0' worker stats 0
refused 1 'no such worker' worker stats 9
has 'name: ctl' card info
has 'worker 0' stats
has 'flow_add' card methods
has 'Outboard' card version
has '"method": "net_create"' card config
ctl card log-level debug
ctl card log-level info
ctl volume resize n0 num_blocks=4096
ctl volume resize f0 num_blocks=8192
create_all # still the same objects: their present size is no part of the call that made them
has 'n0 .*null .*4096' volume list
has 'f0 .*file .*8192' volume list

# The link of a NIC: down, nothing passes either way, and what its guest sends is counted.
ping g0 g1 || fail "no frames pass: $(cat "$dir/ping")"
ctl net set g0 link=down
has 'link: down' net show g0
ping g0 g1 && fail "a NIC without link transmits"
has 'drops.rx_link_down [1-9]' net stats g0
ping g1 g0 && fail "a NIC without link receives"
refused 1 'neither' net set g0 link=high
refused 1 'is a disk' net set d0 link=down
refused 1 'no such NIC' net set g7 link=down

# Refusals: 1 from the card, 2 for misuse.
refused 1 'f0' volume create-null f0 num_blocks=1 block_size=512
refused 1 'in use by g1' net create g2 mac=52:54:00:00:00:01
refused 1 'unicast' net create g2 mac=53:54:00:00:00:01
refused 1 'n0' volume delete n0
refused 1 'missing' disk create d1 dev_name=missing
refused 1 'not between' net create g2 queue_pairs=0
refused 1 'at byte' flow add 'in_port(g0),colour(red)' actions=drop
refused 2 'required' net create
refused 2 'unknown parameter' net create g2 colour=red
refused 2 'not a number' net create g2 mtu=big
refused 2 'no such command' net paint g0
OUTBOARD_SOCKET=$dir/nobody "$cardctl" card ready >/dev/null 2>&1 && fail "talked to nobody"

# JSON on request.
ctl --json volume list | python3 -c 'import json,sys; assert len(json.load(sys.stdin)) == 3' ||
	fail "volume list is not JSON"

# Hostile and hasty clients.
clients spdk
for row in jr02 jr05 jr06 jr10; do
	clients $row
done
clients jr11 "$pid"

# JR-09, with a guest that writes and verifies all the time.
ctl volume create-ram io num_blocks=65536 block_size=512
ctl disk create io dev_name=io
(
	until [ -e "$dir/enough" ]; do
		"$vdrv" blk-verify --socket "$dir/s/io" --qd 8 --seconds 2 >"$dir/io" 2>&1 || exit 1
	done
) &
load=$!
until ctl --json disk show io | grep -q '"queues_running": *1'; do
	kill -0 "$load" 2>/dev/null || fail "the guest does not start: $(cat "$dir/io")"
done
clients jr09 "$pid" "${ROUNDS:-10000}"
touch "$dir/enough"
wait "$load" || fail "the guest's data: $(cat "$dir/io")"
load=
has '^io  *read  *[1-9]' volume latency io
has '^io  *write  *[1-9]' volume latency io
has 'seconds.count [1-9]' volume stats io
ctl disk delete io
ctl volume delete io

# What a restart keeps: everything, in its present size, whether it is stopped or killed.
ctl --json card config >"$dir/before"
ctl net list >"$dir/net-before"
stop
start || fail "cardd does not start again"
ctl --json card config >"$dir/after"
cmp "$dir/before" "$dir/after" || fail "the restart changed the configuration"
ctl net list >"$dir/net-after"
cmp "$dir/net-before" "$dir/net-after" || fail "a NIC came back different"
has 'n0 .*null .*4096' volume list
has 'f0 .*file .*8192' volume list
create_all
has 'n0 .*null .*4096' volume list
has 'g0 .*down' net list
ctl net set g0 link=up
ping g0 g1 || fail "no frames pass over a link that is up again: $(cat "$dir/ping")"
ctl net set g0 link=down
ctl --json card config >"$dir/after"
cmp "$dir/before" "$dir/after" || fail "creating again changed the configuration"
has 'udp(dst=53)' flow list
has '52:54:00:00:00:aa .*g1' mac list
ctl net create g9
kill -9 "$pid"
wait "$pid" || :
start || fail "cardd does not start after kill -9"
has 'g9' net list

# A part of a block device stays that part; a plain file that grew without us stays grown.
truncate -s 1M "$dir/dev.img"
loop=$(losetup -f --show "$dir/dev.img" 2>/dev/null) || loop=
if [ -n "$loop" ]; then
	ctl volume create-file b0 "filename=$loop"
	ctl volume resize b0 num_blocks=1024
else
	echo "10-control: no loop device: a volume on a block device is not tried"
fi
stop
truncate -s 8M "$dir/f0.img"
start || fail "cardd does not start with a file that grew"
has 'f0 .*file .*16384' volume list
if [ -n "$loop" ]; then
	has 'b0 .*file .*1024' volume list
	ctl volume delete b0
	losetup -d "$loop"
	loop=
fi

# A volume whose file is gone is remembered, not made anew; it can be deleted.
ctl volume create-file f1 "filename=$dir/f1.img" num_blocks=64
stop
rm "$dir/f1.img"
start || fail "cardd does not start with a file missing"
has 'f1' card info
[ ! -e "$dir/f1.img" ] || fail "a lost file was made anew"
ctl volume delete f1
has 'degraded: none' card info

# A flow whose port does not come back is remembered, and can be deleted by the text shown.
printf '[{"method": "net_create", "params": {"name": "c0"}}]' >"$dir/extra.json"
stop
start --config "$dir/extra.json" || fail "cardd does not start with one more NIC"
ctl flow add 'in_port(c0),eth_type(0x0806)' actions=drop >/dev/null
stop
start || fail "cardd does not start with a flow of a missing port"
has 'flow: .*in_port(c0),eth(),eth_type(0x0806)' card info
refused 1 'no such port' flow delete 'in_port(c0),eth_type(0x0807)'
ctl flow delete 'recirc_id(0),in_port(c0),eth(),eth_type(0x0806)'
has 'degraded: none' card info

# Deleted things stay deleted.
ctl net delete g0
ctl disk delete d0
ctl volume delete n0
stop
port=$(free_port)
start --metrics-port "$port" || fail "cardd does not start with metrics"
ctl volume create-ram m0 num_blocks=2048 block_size=512
ctl volume histogram m0 yes
ctl disk create m0 dev_name=m0
"$vdrv" blk-verify --socket "$dir/s/m0" --qd 8 --seconds 1 >"$dir/io" 2>&1 || fail "m0: $(cat "$dir/io")"
if ctl card config | grep -q '"g0"\|"d0"\|"n0"'; then fail "a deleted object came back"; fi
python3 - "$port" <<'PY' || fail "metrics"
import http.client, sys
h = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
h.request("GET", "/metrics")
r = h.getresponse()
text = r.read().decode()
assert r.status == 200 and text.endswith("# EOF\n"), text[-80:]
assert 'outboard_mac_static{card="ctl",port="g1"} 1' in text
assert 'outboard_port_rx_packets_total{card="ctl",port="g1"}' in text
assert 'outboard_volume_latency_seconds_bucket{card="ctl",volume="m0",op="read",le="+Inf"} ' in text
names = [l.split()[2] for l in text.splitlines() if l.startswith("# TYPE")]
assert len(names) == len(set(names))
h.request("POST", "/metrics", "x")
assert h.getresponse().status >= 400
PY

# JR-14 and the end.
clients jr14 "$pid"
wait "$pid" || fail "cardd ended with $? after shutdown"
pid=
[ ! -e "$dir/rpc" ] || fail "the control socket was left behind"

# State and configuration that are not trusted: the card does not start.
chmod 666 "$dir/state/state.json"
if start; then fail "started from a writable state file"; fi
wait "$pid" || :
chmod 600 "$dir/state/state.json"
cat >"$dir/card.json" <<'JSON'
[
 {"method": "net_create", "params": {"name": "a", "mac": "52:54:00:00:00:09"}},
 {"method": "net_create", "params": {"name": "b",
   "queue_pairs": 0}}
]
JSON
chmod 600 "$dir/card.json"
if start --config "$dir/card.json"; then fail "started with a bad configuration"; fi
wait "$pid" || :
pid=
grep -q "card.json:4: queue_pairs: 0" "$dir/err" || fail "the error has no line"

echo "10-control: every command, restart, degraded volume, hostile clients, metrics: ok"
