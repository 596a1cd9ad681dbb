#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Functions in client mode: the driver listens, the card comes to it, for one front-end after another,
# and frames of 64 KiB arrive whole.
# Usage: 36-net-listen.sh BUILD-DIR
set -eu

build=${1:-build}
cardd=$build/card-firmware/cardd
vdrv=$build/tests/driver/vdrv
for program in "$cardd" "$vdrv"; do
	[ -x "$program" ] || {
		echo "SKIP: $program is not built"
		exit 77
	}
done

dir=$(mktemp -d)
pid=''
cleanup()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail()
{
	echo "FAIL: $*"
	tail -n 20 "$dir/err"
	exit 1
}

ctl()
{
	"$build/card-firmware/cardctl" --socket "$dir/rpc" "$@"
}

mkfifo "$dir/ready"
"$cardd" --name listen --socket-dir "$dir/s" --rpc-socket "$dir/rpc" --mem-mib 96 --mbufs 8191 \
	>"$dir/ready" 2>"$dir/err" &
pid=$!
line=
read -r line <"$dir/ready" || :
[ "$line" = ready ] || fail "cardd does not start"
ctl net create g0 client=true
ctl net create g1 client=true

for round in 1 2 3; do
	timeout 60 "$vdrv" net-load --listen --a "$dir/s/g0" --b "$dir/s/g1" --seconds 1 >"$dir/load" 2>&1 ||
		fail "round $round: $(cat "$dir/load")"
	grep -q '"frames": [1-9]' "$dir/load" || fail "round $round: no frames: $(cat "$dir/load")"
done
sessions=$(ctl --json net stats g0 | tr -d ' \n' | sed 's/.*"sessions":\([0-9]*\).*/\1/')
[ "$sessions" = 3 ] || fail "$sessions sessions, not 3"
# Without anybody who connects, it says so instead of waiting for ever.
if timeout 60 "$vdrv" net-load --listen --a "$dir/nobody" --b "$dir/nobody2" 2>"$dir/load"; then
	fail "a back-end that nobody has"
fi
grep -q 'timed out' "$dir/load" || fail "said instead: $(cat "$dir/load")"
