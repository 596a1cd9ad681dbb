#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# FTP through rules that let nobody open anything but a control connection: data connections of all four
# kinds are related to it, also when the card ended or was killed before they were announced, and what was
# not announced stays outside.
# Usage: 42-ct-ftp.sh BUILD-DIR (root: network namespaces and packet sockets)
# shellcheck disable=SC2154 # from netns.sh, and counters that become variables by name
set -eu

build=$(realpath "${1:-build}")
here=$(dirname "$(realpath "$0")")
peers=$here/uplink_peers.py

# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
netns_enter "$0" "$build" "${2:-}" ethtool
shown='ct list,ct stats,flow list'

host client 10.42.0.1/24 02:00:00:00:00:01
host server 10.42.0.2/24 02:00:00:00:00:02

# As much of a server as RFC 959 and RFC 2428 want for one file.
cat >"$dir/server.py" <<'PY'
import socket
listener = socket.create_server(("10.42.0.2", 21))
print("ready", flush=True)
while True:
    sock, _ = listener.accept()
    lines, data = sock.makefile("rwb", buffering=0), None
    def say(text):
        lines.write(text.encode() + b"\r\n")
    say("220 hello")
    for line in lines:
        word, _, rest = line.decode().strip().partition(" ")
        word = word.upper()
        if word in ("PASV", "EPSV"):
            passive = socket.create_server(("10.42.0.2", 0))
            port = passive.getsockname()[1]
            say(f"227 Entering Passive Mode (10,42,0,2,{port >> 8},{port & 255})." if word == "PASV"
                else f"229 Entering Extended Passive Mode (|||{port}|)")
            data = lambda: passive.accept()[0]
        elif word in ("PORT", "EPRT"):
            n = rest.split("," if word == "PORT" else rest[0])
            to = ((".".join(n[:4]), int(n[4]) << 8 | int(n[5])) if word == "PORT" else (n[2], int(n[3])))
            say("200 ok")
            data = lambda: socket.create_connection(to, timeout=60)
        elif word == "RETR":
            say("150 here it comes")
            with data() as conn:
                conn.sendall(rest.encode() * 10000)
            say("226 done")
        else:
            say({"USER": "230 welcome", "QUIT": "221 bye"}.get(word, "200 ok"))
PY
mkfifo "$dir/server"
nsenter -t "$server" -n python3 "$dir/server.py" >"$dir/server" &
pids="$pids $!"
line=
read -r line <"$dir/server" || :
[ "$line" = ready ] || fail "no server"
start()
{
	card_start ftp --ct-conns 4096 --state-dir "$dir/state"
}
start
ctl uplink create inside devargs=net_af_packet0,iface=client0
ctl uplink create outside devargs=net_af_packet1,iface=server0

ip4='eth_type(0x0800)'
for ports in inside,outside outside,inside; do
	in=${ports%,*} out=${ports#*,}
	ctl flow add "recirc_id(0),in_port($in),$ip4" 'actions=ct(zone=5),recirc(0x1)' >/dev/null
	ctl flow add "recirc_id(0x1),in_port($in),ct_state(-new+est+trk),$ip4" "actions=$out" >/dev/null
	ctl flow add "recirc_id(0x1),in_port($in),ct_state(+new+rel+trk),$ip4" \
		"actions=ct(commit,zone=5),$out" >/dev/null
done
ctl flow add "recirc_id(0x1),in_port(inside),ct_state(+new-rel+trk),$ip4,ipv4(proto=6),tcp(dst=21)" \
	'actions=ct(commit,zone=5,helper=ftp),outside' >/dev/null
ctl flow add "recirc_id(0x1),in_port(outside),ct_state(+new-rel+trk),$ip4" actions=drop >/dev/null
if ctl flow add "recirc_id(0x2),$ip4" 'actions=ct(commit,helper=irc)' >/dev/null 2>&1; then
	fail "a helper that there is none of"
fi
if ctl flow add "recirc_id(0x2),$ip4" 'actions=ct(commit,helper=ftp,nat(src=10.42.0.9))' >/dev/null 2>&1; then
	fail "a helper and translation"
fi

cat >"$dir/client.py" <<'PY'
import ftplib, socket
ftp = ftplib.FTP("10.42.0.2", timeout=60)
ftp.login("me", "me")
def fetch(name):
    got = []
    ftp.retrbinary("RETR " + name, got.append)
    assert b"".join(got) == name.encode() * 10000, name
def meanwhile(what):
    print(what, flush=True)
    input()
# Whoever takes over reads the first line that it sees: of the server, of the client.
ftp.sendcmd("TYPE I")
meanwhile("restart")
ftp.af = socket.AF_INET6 # has ftplib say EPSV
ftp.putcmd("EPSV")
_, port = ftplib.parse229(ftp.getresp(), ftp.sock.getpeername())
conn = socket.create_connection(("10.42.0.2", port), 60)
ftp.sendcmd("RETR restarted")
assert conn.makefile("rb").read() == b"restarted" * 10000
ftp.voidresp()
meanwhile("kill")
ftp.af = socket.AF_INET
ftp.set_pasv(False)
listener = socket.create_server(("10.42.0.1", 0))
ftp.sendport("10.42.0.1", listener.getsockname()[1])
ftp.sendcmd("RETR killed")
conn, _ = listener.accept()
assert conn.makefile("rb").read() == b"killed" * 10000
ftp.voidresp()

ftp.set_pasv(True)
fetch("passive")
ftp.af = socket.AF_INET6
fetch("extended-passive")
ftp.af = socket.AF_INET
ftp.set_pasv(False)
fetch("active")
listener = socket.create_server(("10.42.0.1", 0))
ftp.sendeprt("10.42.0.1", listener.getsockname()[1])
ftp.sendcmd("RETR extended")
conn, _ = listener.accept()
data = b""
while more := conn.recv(65536):
    data += more
assert data == b"extended" * 10000
ftp.voidresp()
ftp.quit()
PY
mkfifo "$dir/says" "$dir/hears"
nsenter -t "$client" -n timeout 240 python3 "$dir/client.py" <"$dir/hears" >"$dir/says" &
transfers=$!
pids="$pids $transfers"
exec 8>"$dir/hears" 7<"$dir/says"
# told WORD: what the client says next
told()
{
	line=
	read -r line <&7 || :
	[ "$line" = "$1" ] || fail "the client does not come to \"$1\": $line"
}
saves()
{
	ctl --json ct stats | python3 -c 'import json, sys; print(json.load(sys.stdin)["conntrack"][0]["saves"])'
}
saved()
{
	[ "$(saves)" -ge $((before + 2)) ] # the second one began after the last segment
}
told restart
kill "$card"
wait "$card" || fail "cardd ended with $?"
start
echo on >&8
told kill
before=$(saves)
wait_for "nothing is kept" saved
kill -9 "$card"
wait "$card" || :
start
echo on >&8
exec 8>&-
wait "$transfers" || fail "a transfer"
ctl --json ct list 5 >"$dir/list"
ctl --json ct stats >"$dir/stats"
python3 - "$dir/list" "$dir/stats" <<'PY' || fail "connections: $(cat "$dir/list")"
import json, sys
conns = json.load(open(sys.argv[1]))["connections"]
stats = json.load(open(sys.argv[2]))["conntrack"][0]
related = [c for c in conns if "dst=10.42.0.2" in c.get("master", "") and "dport=21" in c["master"]]
assert len(related) >= 5, related
assert sum(",helper=ftp" in c["connection"] for c in conns) == 1, conns
assert stats["announced"] == 5 and stats["expected"] == 5, stats
PY

# Nobody announced this.
counters
before=$outside_FLOW_DROP
nsenter -t "$server" -n python3 "$peers" datagram 10.42.0.1 2048 100
dropped()
{
	counters
	[ "$outside_FLOW_DROP" -gt "$before" ]
}
wait_for "what the server opens is not dropped" dropped
echo "PASS"
