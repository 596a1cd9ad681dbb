#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The front-end dies in mid traffic, several times, and a new one connects to the same functions; the
# guest beside it notices nothing.
# Usage: 24-kill-qemu.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
if [ "${1:-}" != --inside ]; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	root=$(cd "$(dirname "$0")/../.." && pwd)
	sed 's/"name": "guest1",/"name": "guest1", "restart": true,/' \
		"$root/card-firmware/emulator/topologies/one-card-two-guests.json" >"$dir/t.json"
	(lab_run "$dir/t.json" "$0") || exit $?
	exit 0
fi

start_writer guest2
for round in 1 2 3; do
	in_guest guest1 'ping -i 0.01 10.77.0.2 >/dev/null 2>&1 & dd if=/dev/zero of=/dev/vda bs=64k \
		>/dev/null 2>&1 &'
	sleep 1
	card-emulator --kill guest1
	card-emulator --wait --timeout-s 60
	got=$(in_guest guest1 'ping -c 5 -i 0.2 10.77.0.2 | grep -c "bytes from"') || true
	[ "$got" = 5 ] || fail "round $round: network of the new guest: $got of 5"
	in_guest guest1 'head -c 1048576 /dev/urandom >/tmp/x && dd if=/tmp/x of=/dev/vda bs=64k \
		conv=fsync 2>/dev/null && echo 3 >/proc/sys/vm/drop_caches &&
		head -c 1048576 /dev/vda | cmp - /tmp/x' || fail "round $round: disk of the new guest"
	echo "round $round: a new front-end works"
done
out=$(stop_writer guest2)
echo "guest2: files written, noted, good: $out"
# shellcheck disable=SC2086 # three numbers
set -- $out
[ $# -eq 3 ] && [ "$2" = "$3" ] || fail "the neighbour's writes"
card-emulator --list --json | grep -q '"starts": 1' || fail "the card itself was restarted"
