#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Client mode: QEMU listens (-chardev socket,server=on) and the card connects. The card is killed under
# writes and pings, and has to come back to a living QEMU; then QEMU is killed, and the card has to come
# back to its successor. No acknowledged write is lost.
# Usage: 28-client-mode.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
if [ "${1:-}" != --inside ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	root=$(cd "$(dirname "$0")/../.." && pwd)
	sed 's/"name": "guest1",/"name": "guest1", "restart": true,/; s/"kind": "\(net\|blk\)"/&, "client": true/' \
		"$root/card-firmware/emulator/topologies/one-card-two-guests.json" >"$dir/t.json"
	(lab_run "$dir/t.json" "$0") || exit $?
	exit 0
fi

# ctl COMMAND...: its answer
ctl()
{
	cardctl --socket "$OUTBOARD_DIR/card/rpc.sock" --json "$@"
}

# pings GUEST ADDRESS WHEN
pings()
{
	got=$(in_guest "$1" "ping -c 5 -i 0.2 $2 | grep -c 'bytes from'") || true
	[ "$got" = 5 ] || fail "$3: $1 to $2: $got of 5"
}

# sessions KIND NAME: how many front-ends this card has had there
sessions()
{
	ctl "$1" stats "$2" | tr -d ' \n' | sed 's/.*"sessions":\([0-9]*\).*/\1/'
}

pings guest1 10.77.0.2 "at the start"
start_writer guest1
start_writer guest2
in_guest guest2 'ping -i 0.2 10.77.0.1 >/tmp/ping 2>&1 &'
for round in 1 2; do
	before=$(in_guest guest2 'wc -l </tmp/acked')
	card-emulator --kill card
	card-emulator --wait
	# A write that is noted now has gone through the new card
	n=0
	while [ "$(in_guest guest2 'wc -l </tmp/acked')" = "$before" ] && [ $n -lt 100 ]; do n=$((n + 1)); done
	[ $n -lt 100 ] || fail "round $round: no write after the card came back"
	echo "round $round: the card was killed and came back to both"
done
for guest in guest1 guest2; do
	out=$(stop_writer $guest)
	echo "$guest: files written, noted, good: $out"
	# shellcheck disable=SC2086 # three numbers
	set -- $out
	[ $# -eq 3 ] || fail "$guest: the writer got stuck"
	[ "$2" -gt 2 ] || fail "$guest: hardly anything was written"
	[ "$2" = "$3" ] || fail "$guest: acknowledged writes are lost"
done
pings guest1 10.77.0.2 "after the card was killed"
[ "$(sessions disk blk2)" = 1 ] || fail "the card lost a QEMU that lived: $(ctl disk stats blk2)"

# The front-end's turn
start_writer guest2
in_guest guest1 'ping -i 0.01 10.77.0.2 >/dev/null 2>&1 & dd if=/dev/zero of=/dev/vda bs=64k \
	>/dev/null 2>&1 &'
card-emulator --kill guest1
card-emulator --wait --timeout-s 60
pings guest1 10.77.0.2 "with a new front-end"
in_guest guest1 'head -c 1048576 /dev/urandom >/tmp/x && dd if=/tmp/x of=/dev/vda bs=64k \
	conv=fsync 2>/dev/null && echo 3 >/proc/sys/vm/drop_caches &&
	head -c 1048576 /dev/vda | cmp - /tmp/x' || fail "disk of the new guest"
echo "the card came back to a new front-end"
out=$(stop_writer guest2)
echo "guest2: files written, noted, good: $out"
# shellcheck disable=SC2086 # three numbers
set -- $out
[ $# -eq 3 ] && [ "$2" = "$3" ] || fail "the neighbour's writes"
[ "$(sessions disk blk1)" = 2 ] || fail "sessions of the killed one: $(ctl disk stats blk1)"
[ "$(sessions disk blk2)" = 1 ] || fail "sessions of its neighbour: $(ctl disk stats blk2)"
