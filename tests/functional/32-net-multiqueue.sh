#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Verified frames over several queue pairs, their queues on two workers: split, packed, mergeable, in order.
# Then which queue gets what: by itself, by the driver's table, from a sender that has only one queue.
# Long frames, which the guests lend to the card, among them. And calls that a driver wants later.
# Usage: 32-net-multiqueue.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

cat >"$dir/config" <<END
[{"method": "net_create", "params": {"name": "n0", "mac": "02:00:00:00:00:01", "queue_pairs": 4,
   "mtu": 9000}},
 {"method": "net_create", "params": {"name": "n1", "mac": "02:00:00:00:00:02", "queue_pairs": 4,
   "mtu": 9000}},
 {"method": "net_create", "params": {"name": "n2", "mac": "02:00:00:00:00:03"}}]
END
cpus=0-1
[ "$(getconf _NPROCESSORS_ONLN)" -gt 1 ] || cpus=0
card_start --cores $cpus
for layout in "" "--packed" "--mrg" "--packed --mrg --in-order"; do
	for pairs in 1 2 4; do
		# shellcheck disable=SC2086 # options
		"$vdrv" net-ping --a "$dir/n0" --b "$dir/n1" --pairs $pairs --count 5000 $layout \
			>"$dir/ping" 2>&1 || fail "$pairs pairs, ${layout:-split}: $(cat "$dir/ping")"
		echo "$pairs pairs, ${layout:-split}: $(head -n 1 "$dir/ping")"
		used=$(grep -c 'pair .*received [1-9]' "$dir/ping" || :)
		[ $pairs -eq 1 ] || [ "$used" -gt 1 ] || fail "one pair of $pairs got everything"
		# shellcheck disable=SC2086 # options
		"$vdrv" net-ping --a "$dir/n0" --b "$dir/n1" --pairs $pairs --count 2000 $layout \
			--max-bytes 9000 >"$dir/ping" 2>&1 ||
			fail "$pairs pairs, ${layout:-split}, long frames: $(cat "$dir/ping")"
		echo "$pairs pairs, ${layout:-split}, long frames: $(head -n 1 "$dir/ping")"
	done
done
for layout in "" "--packed"; do
	# shellcheck disable=SC2086 # options
	"$vdrv" net-steer --a "$dir/n2" --b "$dir/n1" $layout >"$dir/steer" 2>&1 ||
		fail "steering, ${layout:-split}: $(cat "$dir/steer")"
	cat "$dir/steer"
	# shellcheck disable=SC2086 # options
	"$vdrv" net-coal --a "$dir/n2" --b "$dir/n1" $layout >"$dir/coal" 2>&1 ||
		fail "coalescing, ${layout:-split}: $(cat "$dir/coal")"
	cat "$dir/coal"
done
card_stop
