#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The life of one cardd: start, ready, stop, a second instance, kill -9 in mid I/O and restart over the
# stale sockets, restored state, two workers on one CPU, no hugepages, no root, misuse.
# Usage: 05-cardd-lifecycle.sh BUILD-DIR
set -eu

build=${1:-build}
cardd=$build/card-firmware/cardd
cardctl=$build/card-firmware/cardctl
vdrv=$build/tests/driver/vdrv
for program in "$cardd" "$cardctl" "$vdrv"; do
	[ -x "$program" ] || {
		echo "skip: $program is not built"
		exit 77
	}
done

dir=$(mktemp -d)
pid=
load=
cleanup()
{
	[ -z "$load" ] || kill -9 "$load" 2>/dev/null || :
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail()
{
	echo "FAIL: $*"
	for log in "$dir"/*.log; do
		echo "--- $log"
		tail -n 20 "$log"
	done
	exit 1
}

# start LOG [OPTION]...: cardd in the background, its pid in $pid; returns once it says "ready".
start()
{
	log=$1
	shift
	rm -f "$dir/out"
	mkfifo "$dir/out"
	"$@" "$cardd" --name life --socket-dir "$dir/s" --rpc-socket "$dir/rpc.sock" \
		--volume-dir "$dir" --mem-mib 96 --mbufs 4095 $options \
		>"$dir/out" 2>"$dir/$log.log" &
	pid=$!
	read -r line <"$dir/out" || fail "$log: no line on stdout"
	[ "$line" = ready ] || fail "$log: '$line' instead of ready"
}

# stop LOG: SIGTERM ends it with status 0 and leaves no socket.
stop()
{
	kill "$pid"
	status=0
	wait "$pid" || status=$?
	pid=
	[ "$status" -eq 0 ] || fail "$1: status $status after SIGTERM"
	[ ! -e "$dir/rpc.sock" ] || fail "$1: control socket left behind"
	[ -z "$(ls -A "$dir/s")" ] || fail "$1: sockets left behind: $(ls "$dir/s")"
}

ctl()
{
	"$cardctl" --socket "$dir/rpc.sock" "$@"
}

cat >"$dir/card.json" <<'JSON'
[
 {"method": "bdev_uring_create",
  "params": {"name": "vol0", "filename": "disk.img", "num_blocks": 65536, "block_size": 512}},
 {"method": "vhost_create_blk_controller",
  "params": {"ctrlr": "disk0", "dev_name": "vol0", "num_queues": 2}},
 {"method": "net_create", "params": {"name": "nic0", "queue_pairs": 2}}
]
JSON

echo "# start, objects, stop"
options="--config $dir/card.json"
start first env
[ -S "$dir/s/disk0" ] && [ -S "$dir/s/nic0" ] || fail "first: no vhost-user sockets"
ctl volume list | grep -q vol0 || fail "first: volume is not listed"
ctl disk list | grep -q disk0 || fail "first: disk is not listed"
ctl net list | grep -q nic0 || fail "first: NIC is not listed"
ctl volume delete vol0 2>"$dir/busy.log" && fail "first: a volume in use was deleted"

echo "# a second instance does not take the sockets of a living one"
"$cardd" --name life --socket-dir "$dir/s" --rpc-socket "$dir/other.sock" --volume-dir "$dir" \
	--mem-mib 96 --mbufs 4095 --config "$dir/card.json" >"$dir/second.out" 2>"$dir/second.log" &&
	fail "second: started"
[ ! -s "$dir/second.out" ] || fail "second: said ready"
ctl volume list | grep -q vol0 || fail "first: gone after the second instance"
"$vdrv" blk-verify --socket "$dir/s/disk0" --queues 2 --qd 4 --seconds 1 >"$dir/verify.log" 2>&1 ||
	fail "first: I/O after the second instance"
stop first

echo "# kill -9 while a guest writes; the next process goes on where the last one was"
start before env
"$vdrv" blk-verify --socket "$dir/s/disk0" --queues 2 --qd 8 --seconds 4 --reconnect-ms 10000 \
	--json >"$dir/load.json" 2>"$dir/load.log" &
load=$!
n=0
until ctl --json disk list | grep -q '"queues_running": *2'; do
	n=$((n + 1))
	[ "$n" -lt 1000 ] || fail "before: disk never runs"
done
kill -9 "$pid"
wait "$pid" 2>/dev/null || :
[ -S "$dir/rpc.sock" ] || fail "before: no stale socket to start over"
start after env
wait "$load" || fail "a write was lost over kill -9: $(cat "$dir/load.json")"
load=
grep -q '"restarts": *1' "$dir/load.json" || fail "load saw no restart: $(cat "$dir/load.json")"
stop after

echo "# state is kept"
mkdir -m 0700 "$dir/state"
options="--state-dir $dir/state"
start create env
ctl volume create-ram ram0 num_blocks=2048 block_size=512 >/dev/null || fail "create: volume"
ctl net create nic7 >/dev/null || fail "create: NIC"
kill -9 "$pid"
wait "$pid" 2>/dev/null || :
start restore env
ctl volume list | grep -q ram0 || fail "restore: volume is gone"
ctl net list | grep -q nic7 || fail "restore: NIC is gone"
[ -S "$dir/s/nic7" ] || fail "restore: no socket"
stop restore

echo "# two workers on one CPU"
cpu=$(taskset -cp $$ | sed 's/.*: *//; s/[-,].*//')
options="--config $dir/card.json --cores $cpu,$cpu"
start shared env
"$vdrv" blk-verify --socket "$dir/s/disk0" --queues 2 --qd 4 --seconds 1 >"$dir/verify.log" 2>&1 ||
	fail "shared: I/O"
stop shared

echo "# signals: SIGINT as SIGTERM"
start interrupt env --default-signal=INT
kill -INT "$pid"
wait "$pid" || fail "interrupt: status $?"
pid=

echo "# misuse is 2, failure is 1"
status=0
"$cardd" --no-such-option >/dev/null 2>&1 || status=$?
[ "$status" -eq 2 ] || fail "unknown option: status $status"
status=0
"$cardd" --name ../x >/dev/null 2>&1 || status=$?
[ "$status" -eq 2 ] || fail "bad name: status $status"
status=0
"$cardd" --name life --socket-dir "$dir/s" --rpc-socket "$dir/rpc.sock" --cores 1-0 \
	>/dev/null 2>"$dir/cores.log" || status=$?
[ "$status" -eq 1 ] || fail "bad cores: status $status"
echo '[{"method": "no_such_method"}]' >"$dir/bad.json"
status=0
"$cardd" --name life --socket-dir "$dir/s" --rpc-socket "$dir/rpc.sock" --mem-mib 96 --mbufs 4095 \
	--config "$dir/bad.json" >/dev/null 2>"$dir/bad.log" || status=$?
[ "$status" -eq 1 ] || fail "bad configuration: status $status"
[ -z "$(ls -A "$dir/s")" ] && [ ! -e "$dir/rpc.sock" ] || fail "bad configuration: sockets left"

echo "# without root"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	dir2=$(mktemp -d)
	cp "$cardd" "$cardctl" "$dir2"
	chown -R 65534:65534 "$dir2"
	rm -rf "$dir/out"
	mkfifo -m 0666 "$dir/out"
	(
		cd "$dir2"
		exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
			env HOME="$dir2" XDG_RUNTIME_DIR="$dir2" ./cardd --name user --mem-mib 96 \
			--mbufs 4095
	) >"$dir/out" 2>"$dir/user.log" &
	pid=$!
	read -r line <"$dir/out" || fail "user: no line on stdout"
	[ "$line" = ready ] || fail "user: '$line' instead of ready"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$dir2/cardctl" \
		--socket "$dir2/outboard/user.sock" volume create-null null0 num_blocks=2048 \
		block_size=512 >/dev/null || fail "user: cannot create a volume"
	kill "$pid"
	wait "$pid" || fail "user: status $?"
	pid=
	rm -rf "$dir2"
fi
echo "PASS"
