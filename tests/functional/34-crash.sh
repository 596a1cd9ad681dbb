#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cardd is killed over and over in mid I/O while a split and a packed disk are written, read and verified
# at queue depth 32; each time its spare takes over. Nothing may be lost, doubled, torn or failed, and no
# process may outlive its supervisor. How long it took is printed, not judged.
# Usage: 34-crash.sh BUILD-DIR [KILLS]
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"
kills=${2:-200}

{
	echo '['
	file_disk split 1
	echo ,
	file_disk packed 1
	echo ']'
} >"$dir/config"
card_start --supervise --log-level err

# pids of cardd's children, and of theirs
children()
{
	cat "/proc/$card/task/$card/children"
}

"$vdrv" blk-crash --split "$dir/split" --packed "$dir/packed" --kills "$kills" --rpc "$dir/rpc" \
	--qd 32 --max-bytes 65536 --range-mib 16 || fail "blk-crash"
[ "$(grep -c 'the card died' "$dir/err")" -eq "$kills" ] || fail "not $kills deaths"

# No process is left: keepers have the arguments of their cards, and end after them.
none_left()
{
	n=0
	while grep -qsF "$dir/rpc" /proc/[0-9]*/cmdline; do
		n=$((n + 1))
		[ $n -lt 3000 ] || fail "$1: processes left: $(grep -lsF "$dir/rpc" /proc/[0-9]*/cmdline)"
		sleep 0.01
	done
}

# Orderly end: status 0, no child, no socket.
left=$(children)
[ -n "$left" ] || fail "no children?"
card_stop
for p in $left; do
	if kill -0 "$p" 2>/dev/null; then fail "process $p outlived its supervisor"; fi
done
for s in split packed rpc; do
	[ ! -e "$dir/$s" ] || fail "$s: socket left behind"
done
none_left "orderly end"

# The supervisor dies: nobody goes on alone.
card_start --supervise
[ -n "$(children)" ] || fail "no children?"
card_kill
none_left "killed supervisor"

# What cannot start is not started again.
echo '[{"method": "no_such_method"}]' >"$dir/config"
status=0
"$cardd" --supervise --name test --config "$dir/config" --socket-dir "$dir" --rpc-socket "$dir/rpc" \
	--mem-mib 96 --mbufs 4095 >/dev/null 2>"$dir/bad" || status=$?
[ "$status" -eq 1 ] || fail "bad configuration: status $status"
[ "$(grep -c no_such_method "$dir/bad")" -eq 1 ] || fail "started again: $(cat "$dir/bad")"
echo PASS
