#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each card is killed twice under writes and pings: no acknowledged write is lost, the guests carry on.
# Usage: 21-restart.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
[ "${1:-}" = --inside ] || lab_run two-cards-memif.json "$0"

start_writer guest-a
start_writer guest-b
in_guest guest-a 'ping -i 0.2 10.77.0.2 >/tmp/ping 2>&1 &'
for round in 1 2; do
	for card in card-a card-b; do
		sleep 2
		card-emulator --kill $card
		card-emulator --wait
		echo "round $round: $card was killed and is back"
	done
done
sleep 4
for guest in guest-a guest-b; do
	out=$(stop_writer $guest)
	echo "$guest: files written, noted, good: $out"
	# shellcheck disable=SC2086 # three numbers
	set -- $out
	[ $# -eq 3 ] || fail "$guest: the writer got stuck"
	[ "$1" -gt 10 ] || fail "$guest: hardly anything was written"
	[ "$2" = "$3" ] || fail "$guest: acknowledged writes are lost"
done
got=$(in_guest guest-a 'killall -INT ping; sleep 1; ping -c 5 -i 0.2 10.77.0.2 |
	grep -c "bytes from"') || true
[ "$got" = 5 ] || fail "network does not work afterwards: $got of 5"
