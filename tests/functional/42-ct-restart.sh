#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A translated TCP connection in mid-transfer outlives its card: ended in order, killed, with a file that
# is spoilt, and moved by export and import. By then the rules pass what is established and nothing else.
# Usage: 42-ct-restart.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # from netns.sh
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool
shown='ct list,ct stats,flow list'

# number EXPRESSION COMMAND...: a Python expression of the command's result r
number()
{
	expression=$1
	shift
	ctl --json "$@" | python3 -c 'import json, sys
r = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$expression"
}

host client 10.42.0.1/24 02:00:00:00:00:01
host server 10.42.0.2/24 02:00:00:00:00:02
nsenter -t "$server" -n ip neigh add 10.42.0.9 lladdr 02:00:00:00:00:01 dev eth0

# The server sends everything back. A client writes how many bytes came back as they were into a file,
# until there is a file of that name with ".stop" behind it.
cat >"$dir/peer.py" <<'PY'
import os, random, socket, sys, threading

def serve():
    def one(sock):
        while data := sock.recv(1 << 16):
            sock.sendall(data)
        sock.close()
    listener = socket.create_server(("0.0.0.0", 5001))
    while True:
        sock, peer = listener.accept()
        print(peer[1], flush=True)
        threading.Thread(target=one, args=(sock,), daemon=True).start()

def client(progress):
    sock = socket.create_connection(("10.42.0.2", 5001), timeout=60)
    room = threading.Semaphore(64)
    def send():
        rng = random.Random(1)
        while not os.path.exists(progress + ".stop"):
            room.acquire()
            sock.sendall(rng.randbytes(4096))
        sock.shutdown(socket.SHUT_WR)
    threading.Thread(target=send, daemon=True).start()
    rng, good, have = random.Random(1), 0, b""
    while data := sock.recv(1 << 16):
        have += data
        while len(have) >= 4096:
            if have[:4096] != rng.randbytes(4096):
                sys.exit(f"byte {good} and on: not what was sent")
            have, good = have[4096:], good + 4096
            room.release()
        with open(progress + ".new", "w") as f:
            f.write(str(good))
        os.rename(progress + ".new", progress)
    print("ended after", good, "bytes, the rest:", len(have))
    sys.exit(len(have) != 0)

serve() if sys.argv[1] == "serve" else client(sys.argv[2])
PY
mkfifo "$dir/ports"
nsenter -t "$server" -n python3 "$dir/peer.py" serve >"$dir/ports" &
pids="$pids $!"
exec 7<"$dir/ports"
second_port=0

# start [OPTION]...
start()
{
	card_start stateful --ct-conns 4096 --state-dir "$dir/state" "$@"
}
stop()
{
	kill "$card"
	wait "$card" || fail "cardd ended with $?"
}

# goes_on WHAT: the first connection gets bytes back that it has not seen yet
goes_on()
{
	seen=$(cat "$dir/first")
	wait_for "the connection does not go on: $1" more
	kill -0 "$first" || fail "the client is gone: $1"
}
more()
{
	[ "$(cat "$dir/first" 2>/dev/null || echo 0)" -gt "$((seen + 1000000))" ]
}
saved()
{
	[ "$(number 'r["conntrack"][0]["now"]["saved_connections"]' ct stats)" -ge 1 ]
}

# Two ports for all connections to the outside, and only who is inside opens any.
start
ctl uplink create inside devargs=net_af_packet0,iface=client0
ctl uplink create outside devargs=net_af_packet1,iface=server0
ip4='eth_type(0x0800)'
new="recirc_id(0x1),in_port(inside),ct_state(+new+trk),$ip4"
for port in inside outside; do
	ctl flow add "recirc_id(0),in_port($port),$ip4" 'actions=ct(zone=5,nat),recirc(0x1)' >/dev/null
	ctl flow add "recirc_id(0x1),in_port($port),ct_state(-est+trk),$ip4" actions=drop >/dev/null
done
ctl flow add "recirc_id(0x1),in_port(inside),ct_state(+est+trk),$ip4" actions=outside >/dev/null
ctl flow add "recirc_id(0x1),in_port(outside),ct_state(+est+trk),$ip4" actions=inside >/dev/null

# shut: nothing new any more; open: two ports of one address
shut()
{
	ctl flow add "$new" actions=drop >/dev/null
}
open()
{
	ctl flow add "$new" 'actions=ct(commit,zone=5,nat(src=10.42.0.9:6000-6001)),outside' >/dev/null
}
ctl flow delete "recirc_id(0x1),in_port(inside),ct_state(-est+trk),$ip4" >/dev/null
open
nsenter -t "$client" -n python3 "$dir/peer.py" client "$dir/first" >"$dir/client.out" 2>&1 &
first=$!
pids="$pids $first"
read -r first_port <&7 || fail "nobody connects"
case $first_port in
6000 | 6001) ;;
*) fail "not translated: port $first_port" ;;
esac
seen=0
wait_for "the connection does not begin" more
shut

stop
start
goes_on "restarted in order"
[ "$(number 'r["conntrack"][0]["imported"]' ct stats)" -ge 1 ] || fail "nothing was taken over"
grep -q 'conntrack: connections taken over' "$dir/stateful.err" || fail "the log does not say so"
[ "$(stat -c %a "$dir/state/conntrack")" = 600 ] || fail "the file is not private"

# What is new gets the other port, and then there is none.
open
for i in second third; do
	nsenter -t "$client" -n python3 "$dir/peer.py" client "$dir/$i" >"$dir/$i.out" 2>&1 &
	pids="$pids $!"
	[ $i = third ] || read -r second_port <&7 || fail "no second connection"
done
[ "$((first_port + second_port))" -eq 12001 ] || fail "ports $first_port and $second_port"
exhausted()
{
	[ "$(number 'r["conntrack"][0]["nat_exhausted"]' ct stats)" -ge 1 ]
}
wait_for "a third connection finds a port" exhausted
shut

# Killed: the spare takes over what the last file holds.
stop
start --supervise
for i in 1 2 3; do
	goes_on "before kill $i"
	wait_for "no file is written" saved
	kill -9 "$(number 'r["pid"]' card info)"
	goes_on "after kill $i"
done

# A file that is spoilt is none; what was exported before is taken instead.
ctl ct export "$dir/moved" | grep -q connections || fail "no export"
if ctl ct export "$dir/moved" >/dev/null 2>&1; then fail "a file was overwritten"; fi
stop
python3 - "$dir/state/conntrack" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(100)
    byte = f.read(1)
    f.seek(100)
    f.write(bytes([byte[0] ^ 4]))
PY
start
[ "$(number 'r["conntrack"][0]["load_refused"]' ct stats)" -eq 1 ] || fail "a spoilt file was taken"
[ "$(number 'r["total"]' ct list 5)" -eq 0 ] || fail "connections of a spoilt file"
grep -q 'conntrack: file refused.*corrupt' "$dir/stateful.err" || fail "the log does not say why"
chmod 666 "$dir/moved"
if ctl ct import "$dir/moved" >"$dir/reply" 2>&1; then fail "a file that anybody can write to"; fi
grep -q 'must not be writable' "$dir/reply" || fail "refused with: $(cat "$dir/reply")"
chmod 600 "$dir/moved"
ctl ct import "$dir/moved" >/dev/null || fail "import"
goes_on "imported"

touch "$dir/first.stop"
wait "$first" || fail "the client: $(cat "$dir/client.out")"
stop
echo "PASS"
