#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# TCP through a card that tracks it, over wires on both sides that lose 30 % of the packets on the way and
# let others overtake: every byte arrives, the connection stays established as long as its ends say so, no
# packet of it is found invalid.
# Usage: 42-lossy.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # variables of the sourced files and of eval
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")
# Both sides together: 1 - 0.837 * 0.837 = 0.3.
loss=16.3 reorder=12

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool
shown='ct list,ct stats,flow list,port stats'

# side NAME ADDRESS SEED: a namespace with that address, a bad wire, an uplink of the card
side()
{
	namespace "$1"
	eval "ns=\$$1"
	wire "$1-far" "$ns" eth0
	wire "$1" $$ "$1-near"
	address "$ns" eth0 "$2"
	# Time-outs of milliseconds: it is losses that are to be many, not seconds.
	within "$ns" ip route replace 10.45.0.0/24 dev eth0 src "${2%/*}" rto_min 20ms
	python3 "$here/overlay_peers.py" lossy "$1-far" "$1-near" $loss $reorder "$3" >"$dir/$1.wire" &
	eval "wire_$1=$!"
	pids="$pids $!"
}

side client 10.45.0.1/24 1
side server 10.45.0.2/24 2
nsenter -t "$server" -n python3 "$here/overlay_peers.py" mirror 5001 &
pids="$pids $!"

card_start lossy --ct-conns 4096
ctl uplink create client devargs=net_af_packet0,iface=client
ctl uplink create server devargs=net_af_packet1,iface=server

ip4='eth_type(0x0800)'
for port in client server; do
	other=server
	[ $port = client ] || other=client
	ctl flow add "recirc_id(0),in_port($port),$ip4" 'actions=ct(zone=5),recirc(0x1)' >/dev/null
	ctl flow add "recirc_id(0x1),in_port($port),ct_state(-new+est-inv+trk),$ip4" actions=$other >/dev/null
	ctl flow add "recirc_id(0x1),in_port($port),ct_state(+inv+trk),$ip4" actions=drop >/dev/null
done
ctl flow add "recirc_id(0x1),in_port(client),ct_state(+new-inv+trk),$ip4" \
	'actions=ct(commit,zone=5),server' >/dev/null

nsenter -t "$client" -n python3 - "$here" "$build/card-firmware/cardctl" "$rpc" <<'PY' ||
import json, os, re, socket, struct, subprocess, sys, threading, time
sys.path.insert(0, sys.argv[1])
from uplink_peers import fold

SIZE = 256 << 10


def ctl(*words):
    return json.loads(subprocess.run([sys.argv[2], "--socket", sys.argv[3], "--json", *words], check=True,
                                     stdout=subprocess.PIPE).stdout)


def invalid():
    return sum(f["packets"] for f in ctl("flow", "list")["flows"] if "+inv" in f["flow"])


def state(port):
    mine = [c["connection"] for c in ctl("ct", "list", "5")["connections"]
            if f"sport={port},dport=5001" in c["connection"]]
    assert len(mine) == 1, mine
    return re.search(r"state=(\w+)", mine[0]).group(1)


def opened():
    """An answer came: the handshake is over for everybody. Nobody closes before the last byte is back."""
    sock = socket.create_connection(("10.45.0.2", 5001), 130)
    sock.settimeout(120)
    sock.sendall(b"x")
    assert sock.recv(1) == b"x"
    return sock


for turn in range(4):
    sock = opened()
    data = os.urandom(SIZE)
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    back, states = b"", set()
    while len(back) < SIZE:
        more = sock.recv(1 << 14)
        assert more, f"{len(back)} bytes, then the end"
        back += more
        states.add(state(sock.getsockname()[1]))
    sender.join()
    assert back == data, "bytes changed"
    assert states == {"ESTABLISHED"}, states
    print(f"connection {turn}: {SIZE} bytes there and back unchanged, established all the time")
    sock.close()
assert invalid() == 0, f"{invalid()} packets of good connections are invalid"

# That the number can rise: of two sequence numbers half the space apart one is in nobody's window.
sock = opened()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
end = time.monotonic() + 20
while not invalid():
    assert time.monotonic() < end, "a segment from nowhere is valid"
    for seq in (0, 1 << 31):
        tcp = struct.pack("!HHIIHHHH", sock.getsockname()[1], 5001, seq, seq, 0x5010, 1000, 0, 0)
        pseudo = socket.inet_aton("10.45.0.1") + socket.inet_aton("10.45.0.2") + struct.pack("!HH", 6, len(tcp))
        total = 0xFFFF - fold(pseudo + tcp)
        raw.sendto(tcp[:16] + struct.pack("!H", total) + tcp[18:], ("10.45.0.2", 0))
sock.sendall(b"y")
assert sock.recv(1) == b"y" and state(sock.getsockname()[1]) == "ESTABLISHED"
print(f"{invalid()} segments from nowhere were invalid, the connection goes on")
PY
	fail "a connection over bad wires"

for name in client server; do
	eval "p=\$wire_$name"
	kill "$p"
	wait "$p" || fail "the wire lost nothing, or nothing was overtaken: $(cat "$dir/$name.wire")"
	cat "$dir/$name.wire"
done
echo "42-lossy: ok"
