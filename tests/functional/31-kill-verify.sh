#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cardd is killed in the middle of verified I/O and comes back: nothing lost, doubled, torn or failed. Then
# the driver is killed in mid traffic, and the next one starts on a healthy disk.
# Usage: 31-kill-verify.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

kills=3
disks="split packed inorder multi"
{
	echo '['
	sep=
	for d in $disks; do
		[ -z "$sep" ] || echo ,
		sep=,
		file_disk "$d" 4
	done
	echo ']'
} >"$dir/config"
card_start

verify()
{
	name=$1
	shift
	"$vdrv" blk-verify --socket "$dir/$name" --range-mib 16 --max-bytes 16384 --json "$@" \
		>"$dir/$name.json" 2>>"$dir/err" &
	helpers="$helpers $!"
}

# field FILE NAME
field()
{
	sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p" "$1"
}

verify split --seconds 12 --reconnect-ms 10000 --qd 16
verify packed --seconds 12 --reconnect-ms 10000 --qd 16 --ring packed
verify inorder --seconds 12 --reconnect-ms 10000 --qd 8 --ring packed --in-order
verify multi --seconds 12 --reconnect-ms 10000 --qd 32 --queues 4 --regions 2
i=0
while [ $i -lt $kills ]; do
	sleep 2
	card_kill
	card_start
	i=$((i + 1))
done
for p in $helpers; do
	wait "$p" || fail "blk-verify: exit $?: $(cat "$dir"/*.json)"
done
helpers=
for d in $disks; do
	echo "$d: $(field "$dir/$d.json" writes) writes, $(field "$dir/$d.json" restarts) restarts," \
		"worst stall $(field "$dir/$d.json" worst_stall_ms) ms"
	[ "$(field "$dir/$d.json" restarts)" -ge $kills ] || fail "$d: not all kills were noticed"
	[ "$(field "$dir/$d.json" writes)" -gt 100 ] || fail "$d: hardly any traffic"
	for bad in lost duplicated errored torn stale misplaced; do
		[ "$(field "$dir/$d.json" $bad)" = 0 ] || fail "$d: $bad"
	done
done

# The driver dies instead: its session is cleaned up while requests are on their way.
i=0
while [ $i -lt 5 ]; do
	verify multi --seconds 60 --qd 64 --queues 4
	sleep 0.5
	# shellcheck disable=SC2086 # one process
	kill -9 $helpers
	# shellcheck disable=SC2086
	wait $helpers 2>/dev/null || :
	helpers=
	"$vdrv" blk-verify --socket "$dir/multi" --seconds 1 --range-mib 16 --queues 4 \
		>"$dir/after" 2>&1 || fail "after a killed driver: $(cat "$dir/after")"
	i=$((i + 1))
done
echo "5 killed drivers, a new one went on each time"
card_stop
