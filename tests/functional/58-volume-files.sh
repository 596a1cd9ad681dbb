#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A file or device is one volume's: of this card, of another one, and still the same volume's after a kill.
# Usage: 58-volume-files.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
# shellcheck source=tests/functional/common.sh
. "$(dirname "$0")/common.sh"
card_env "${1:-build}"

loop=
cleanup()
{
	card_cleanup
	[ -z "$loop" ] || losetup -d "$loop" 2>/dev/null || :
}
trap cleanup EXIT

ctl() { "$cardctl" --socket "$dir/rpc" "$@"; }
far() { "$cardctl" --socket "$dir/far.rpc" "$@"; }

# refused TEXT COMMAND...
refused()
{
	text=$1
	shift
	if "$@" >"$dir/reply" 2>&1; then fail "$*: not refused"; fi
	grep -q -- "$text" "$dir/reply" || fail "$*: no '$text' in: $(cat "$dir/reply")"
}

start() { card_start --state-dir "$dir/state"; }

# start_far: a second card, with a store of its own
start_far()
{
	rm -f "$dir/far.out"
	mkfifo "$dir/far.out"
	"$cardd" --name far --state-dir "$dir/far/state" --socket-dir "$dir/far" --rpc-socket "$dir/far.rpc" \
		--mem-mib 64 --mbufs 2047 --log-level warn >"$dir/far.out" 2>>"$dir/err" &
	helpers=$!
	read -r line <"$dir/far.out" || :
	[ "$line" = ready ] || fail "the other card does not start"
}

# not_exclusively DEVICE: whoever opens it for itself, as a mount does, is refused
not_exclusively() { python3 -c 'import os, sys
try: os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
except OSError as e: sys.exit(e.errno != 16)
sys.exit(1)' "$1"; }

echo '[]' >"$dir/config"
mkdir "$dir/far" "$dir/lvols"
truncate -s 16M "$dir/a" "$dir/b"
ln "$dir/a" "$dir/a-too"
start
start_far

# One file, by any name, is one volume; those that only read share it.
ctl volume create-file a filename="$dir/a" block_size=512 >/dev/null
ctl volume create-file a filename="$dir/a" block_size=512 >/dev/null # the same call again
refused 'is a already' ctl volume create-file a2 filename="$dir/a" block_size=512
refused 'is a already' ctl volume create-file a2 filename="$dir/a-too" block_size=512
refused 'is a already' ctl volume create-file a2 filename="$dir/a" block_size=512 readonly=yes
refused 'is a already' ctl volume create-file a2 filename="$dir/a" block_size=512 shared=yes
refused 'another process' far volume create-file a2 filename="$dir/a-too" block_size=512
refused 'another process' far volume create-instance a2 filename="$dir/a"
far volume create-file a2 filename="$dir/a" block_size=512 shared=yes >/dev/null # where a guest migrates to
far volume show a2 | grep -q 'shared: yes' || fail "not shared: $(far volume show a2)"
refused 'another process' far volume unshare a2
far volume delete a2
ctl volume create-file b1 filename="$dir/b" block_size=512 readonly=yes >/dev/null
ctl volume create-file b2 filename="$dir/b" block_size=512 readonly=yes >/dev/null
far volume create-file b3 filename="$dir/b" block_size=512 readonly=yes >/dev/null
refused 'is b1 already' ctl volume create-file b4 filename="$dir/b" block_size=512
ctl lvstore create lvs0 "$dir/lvols" >/dev/null
one=$(ctl lvol create one lvs0 size_in_mib=1)
refused "is $one already" ctl volume create-file c filename="$dir/lvols/$one" block_size=512
refused 'another process' far volume create-file c filename="$dir/lvols/$one" block_size=512
[ "$(ctl --json volume list | grep -c '"name"')" = 4 ] || fail "$(ctl volume list)"

# A device, by any of its nodes.
if [ "$(id -u)" = 0 ] && loop=$(losetup -f --show "$dir/dev" 2>/dev/null || {
	truncate -s 16M "$dir/dev" && losetup -f --show "$dir/dev" 2>/dev/null
}); then
	mknod "$dir/node" b "$((0x$(stat -c %t "$loop")))" "$((0x$(stat -c %T "$loop")))"
	ctl volume create-file d filename="$loop" block_size=512 >/dev/null
	refused 'is d already' ctl volume create-file d2 filename="$loop" block_size=512
	refused 'is d already' ctl volume create-file d2 filename="$dir/node" block_size=512
	refused 'another process' far volume create-file d2 filename="$dir/node" block_size=512
	ctl volume delete d
	far volume create-file d2 filename="$dir/node" block_size=512 >/dev/null
	refused 'another process' ctl volume create-file d filename="$loop" block_size=512
	# Shared as in a migration: whoever is left has the device for itself, by any of its nodes.
	ctl volume create-file d filename="$loop" block_size=512 shared=yes >/dev/null
	ctl volume delete d
	far volume delete d2
	ctl volume create-file d filename="$loop" block_size=512 shared=yes >/dev/null
	refused 'another process' far volume create-file d2 filename="$dir/node" block_size=512
	not_exclusively "$dir/node" || fail "a shared device is not claimed"
	ctl volume unshare d
	ctl volume show d | grep -q 'shared: no' || fail "still shared: $(ctl volume show d)"
	card_kill
	start
	ctl volume show d | grep -q 'shared: no' || fail "shared again: $(ctl volume show d)"
	ctl volume delete d
else
	loop=
	echo "58-volume-files: no loop device"
fi

# Whoever dies gives it up, with requests under way; the next one has it at once.
ctl disk create d0 dev_name=a
"$vdrv" blk-verify --socket "$dir/d0" --range-mib 8 --max-bytes 65536 --qd 32 --seconds 4 --keep \
	--reconnect-ms 10000 --json >"$dir/verify" 2>>"$dir/err" &
verify=$!
helpers="$helpers $verify"
for _ in 1 2 3; do
	sleep 1
	card_kill
	start
	ctl card info | grep -q 'degraded: none' || fail "not restored: $(ctl card info)"
done
wait "$verify" || fail "killed: $(cat "$dir/verify")"

# What another card has taken meanwhile is not taken back.
ctl disk delete d0
card_kill
far volume create-file a2 filename="$dir/a" block_size=512 >/dev/null
start
ctl card info | grep -q 'another process' || fail "two cards on one file: $(ctl card info)"
refused 'tried again by itself' ctl volume show a
far volume delete a2
all_restored() { ctl card info | grep -q 'degraded: none'; }
wait_for "not taken when it was free: $(ctl card info)" all_restored
ctl volume show a >/dev/null || fail "restored, and not there"

# ---- whatever ends the card while it makes or deletes a logical volume, no file is nobody's ----

volumes() { ctl --json volume list | sed -n 's/.*"name": "\([0-9a-f-]\{36\}\)".*/\1/p' | sort; }

# nothing_is_left WHEN: each file is a volume's, and each volume has its file
nothing_is_left()
{
	ctl card info | grep -q 'degraded: none' || fail "$1: $(ctl card info)"
	wait_for "$1: marks are left: $(ls "$dir/lvols")" no_marks
	volumes >"$dir/known"
	ls "$dir/lvols" >"$dir/files"
	cmp -s "$dir/known" "$dir/files" || fail "$1: volumes $(cat "$dir/known"), files $(cat "$dir/files")"
}
no_marks()
{
	for mark in "$dir/lvols/"*.new; do
		if [ -L "$mark" ]; then return 1; fi
	done
}
# As a death between two steps leaves them.
orphan=11111111-2222-4333-8444-555555555555
foreign=11111111-2222-4333-8444-666666666666
stranger=11111111-2222-4333-8444-777777777777
card_kill
for f in $orphan $foreign $stranger; do truncate -s 1M "$dir/lvols/$f"; done
ln -s test "$dir/lvols/$orphan.new"
ln -s another "$dir/lvols/$foreign.new"
ln -s test "$dir/lvols/$one.new" # its deletion had not been kept yet
start
wait_for "a file that nobody knows of stays" [ ! -e "$dir/lvols/$orphan" ]
[ ! -L "$dir/lvols/$orphan.new" ] || wait_for "its mark stays" [ ! -L "$dir/lvols/$orphan.new" ]
[ -e "$dir/lvols/$foreign" ] || fail "another card's file is removed"
[ -e "$dir/lvols/$stranger" ] || fail "a file without a mark is removed"
[ -e "$dir/lvols/$one" ] || fail "a volume's file is removed"
rm "$dir/lvols/$foreign" "$dir/lvols/$foreign.new" "$dir/lvols/$stranger"
nothing_is_left "started"

# killed_at SYSCALL PATH COMMAND...: the card dies as it enters such a system call, which is about that path or any
killed_at()
{
	call=$1 path=$2
	shift 2
	# shellcheck disable=SC2086 # of any path: no option
	strace -f -qq -o "$dir/strace" ${path:+-P $path} -e trace="/^$call" \
		-e inject="/^$call:error=EIO:signal=KILL" -p "$card" 2>"$dir/strace.err" &
	tracer=$!
	helpers="$helpers $tracer"
	wait_for "strace does not attach: $(cat "$dir/strace.err")" is_traced
	if "$@" >/dev/null 2>&1; then fail "$*: the card did not die at $call"; fi
	wait "$card" 2>/dev/null || :
	wait "$tracer" 2>/dev/null || :
	card=
	start
	nothing_is_left "$* killed at $call"
}
is_traced() { [ "$(sed -n 's/^TracerPid:[[:space:]]*//p' "/proc/$card/task/$card/status")" != 0 ]; }

if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
	n=$(ls "$dir/lvols" | wc -l)
	killed_at symlink "" ctl lvol create two lvs0 size_in_mib=2
	killed_at fallocate "" ctl lvol create two lvs0 size_in_mib=2
	killed_at renameat "$dir/state" ctl lvol create two lvs0 size_in_mib=2
	[ "$(ls "$dir/lvols" | wc -l)" = "$n" ] || fail "made: $(ls "$dir/lvols")"
	# A volume that cannot be kept is none, and has no file.
	strace -f -qq -o "$dir/strace" -P "$dir/state" -e trace="/^renameat" \
		-e inject="/^renameat:error=ENOSPC" -p "$card" 2>"$dir/strace.err" &
	tracer=$!
	helpers="$helpers $tracer"
	wait_for "strace does not attach: $(cat "$dir/strace.err")" is_traced
	refused 'could not be kept' ctl lvol create two lvs0 size_in_mib=2
	kill "$tracer"
	wait "$tracer" 2>/dev/null || :
	nothing_is_left "not kept"
	[ "$(ls "$dir/lvols" | wc -l)" = "$n" ] || fail "not kept: $(ls "$dir/lvols")"
	two=$(ctl lvol create two lvs0 size_in_mib=2)
	killed_at renameat "$dir/state" ctl lvol delete lvs0/two
	volumes | grep -q "$two" || fail "gone, and nobody was told"
	killed_at unlink "$dir/lvols/$two" ctl lvol delete lvs0/two
	if volumes | grep -q "$two"; then fail "is there again"; fi
else
	echo "58-volume-files: no strace: nobody is killed at a certain place"
fi

# At any other time, too.
for i in 1 2 3 4 5 6; do
	ctl lvol create "x$i" lvs0 size_in_mib=1 >/dev/null 2>&1 &
	maker=$!
	ctl lvol delete "lvs0/x$((i - 1))" >/dev/null 2>&1 &
	card_kill
	wait "$maker" || :
	start
	nothing_is_left "killed $i"
done
echo "58-volume-files: ok"
