#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Volumes on volumes, under verified requests on two workers, with cardd killed in the middle of them: one with
# checksums, which tells of every block that is damaged below; one of strips of two others;
# an encrypted one that gets another key.
# Usage: 52-volume-layers.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

here() { "$cardctl" --socket "$dir/rpc" "$@"; }
start() { card_start --state-dir "$dir/state" --key-file "$dir/kek" --cores 0-1; }
refused()
{
	if here "$@" 2>"$dir/refused"; then fail "$*: not refused"; fi
}
# field FILE NAME
field() { sed -n "s/.*\"$2\": \([0-9]*\).*/\1/p" "$1"; }

# verify DISK SECONDS: in the background; verified waits for it. $more: an option.
more=
verify()
{
	disk=$1
	# shellcheck disable=SC2086 # an option or none
	"$vdrv" blk-verify --socket "$dir/$1" --seconds "$2" --range-mib 16 --max-bytes 65536 --queues 4 \
		--qd 32 --ring packed $more --json >"$dir/$1.json" 2>>"$dir/err" &
	helpers=$!
}
verified()
{
	wait "$helpers" || fail "blk-verify: exit $?: $(cat "$dir/$disk.json")"
	helpers=
	for bad in lost duplicated errored torn stale misplaced; do
		[ "$(field "$dir/$disk.json" $bad)" = 0 ] || fail "$disk: $bad"
	done
}
# killed DISK KILLS: verified requests while cardd is killed so often.
killed()
{
	# shellcheck disable=SC2086
	"$vdrv" blk-verify --socket "$dir/$1" --seconds $(($2 * 2 + 2)) --range-mib 16 --max-bytes 16384 \
		--queues 4 --qd 32 --reconnect-ms 10000 $more --json >"$dir/$1.json" 2>>"$dir/err" &
	helpers=$!
	disk=$1
	for _ in $(seq "$2"); do
		sleep 1.5
		card_kill
		start
	done
	verified
	[ "$(field "$dir/$1.json" restarts)" -ge "$2" ] || fail "$1: not all kills were noticed"
}

echo '[]' >"$dir/config"
head -c 32 /dev/urandom >"$dir/kek"
chmod 600 "$dir/kek"
start
for f in f0 f1; do
	here volume create-file $f filename="$dir/$f.img" num_blocks=131072 direct=no >/dev/null
done

# ---- checksums ----
refused volume create-integrity i0 base_bdev_name=f0
grep -q 'format=yes' "$dir/refused" || fail "not told of format: $(cat "$dir/refused")"
here volume create-integrity i0 base_bdev_name=f0 format=yes >/dev/null
refused volume create-integrity i1 base_bdev_name=f0 # in use
refused volume create-integrity i1 base_bdev_name=i0 # nothing is on it
refused volume delete f0
here disk create d0 dev_name=i0 num_queues=4 >/dev/null
verify d0 3
verified
"$vdrv" blk-shapes --socket "$dir/d0" --requests 500 --regions 3 --max-bytes 262144 --seed 52 >/dev/null ||
	fail "shapes"
killed d0 3
here volume stats i0 >"$dir/stats"
if grep -q checksum_errors "$dir/stats"; then fail "mismatches: $(cat "$dir/stats")"; fi

# One bit of every block that lies behind the first megabytes.
card_stop
python3 - "$dir/f0.img" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(4 << 20)
    data = bytearray(f.read(8 << 20))
    for at in range(0, len(data), 512):
        data[at + at // 512 % 512] ^= 1
    f.seek(4 << 20)
    f.write(data)
END
start
if "$vdrv" blk-verify --socket "$dir/d0" --seconds 1 --range-mib 16 --json >"$dir/d0.json" 2>>"$dir/err"; then
	fail "damage is not told of"
fi
for bad in lost duplicated torn stale misplaced; do
	[ "$(field "$dir/d0.json" $bad)" = 0 ] || fail "damaged: $bad: $(cat "$dir/d0.json")"
done
here volume stats i0 | grep -q checksum_errors || fail "no mismatch is counted"

# Another volume below is not taken for it; what is there is not overwritten unasked.
here disk delete d0
here volume delete i0
here volume create-integrity i0 base_bdev_name=f0 header=00000000-0000-4000-8000-000000000001 >/dev/null
for _ in $(seq 100); do
	here volume show i0 >"$dir/shown"
	grep -q 'state: checking' "$dir/shown" || break
done
grep -q 'state: failed: another header' "$dir/shown" || fail "another header is taken: $(cat "$dir/shown")"
here volume delete i0
head -c 4096 /dev/urandom | dd of="$dir/f1.img" conv=notrunc status=none
refused volume create-integrity i1 base_bdev_name=f1 format=yes
grep -q 'overwrite=yes' "$dir/refused" || fail "not told of overwrite: $(cat "$dir/refused")"
here volume create-integrity i1 base_bdev_name=f1 format=yes overwrite=yes >/dev/null
here volume delete i1

# ---- strips of both, with checksums above ----
refused volume create-stripe s0 base_bdevs=f0,f0
refused volume create-stripe s0 base_bdevs=f0,f1 strip_size_kb=12
here volume create-stripe s0 base_bdevs=f0,f1 strip_size_kb=16 >/dev/null
refused volume resize f0 num_blocks=262144
refused volume delete f1
here volume create-integrity i0 base_bdev_name=s0 format=yes overwrite=yes >/dev/null
here disk create d0 dev_name=i0 num_queues=4 >/dev/null
"$vdrv" blk-shapes --socket "$dir/d0" --ring packed --requests 500 --regions 3 --max-bytes 1048576 --seed 53 \
	>/dev/null || fail "shapes over strips"
killed d0 2
here volume stats i0 >"$dir/stats"
if grep -q checksum_errors "$dir/stats"; then fail "mismatches over strips: $(cat "$dir/stats")"; fi
for f in f0 f1; do
	here volume stats $f | grep -q ' writes [1-9]' || fail "$f has no part in it"
done
here disk delete d0
here volume delete i0
here volume resize s0 num_blocks=524288
here volume show s0 | grep -q 'num_blocks: 524288' || fail "does not grow"
here volume delete s0

# ---- another key, with cardd killed in the middle of the change ----
more=--keep # noise
for k in k0 k1; do here key create $k >/dev/null; done
here volume create-file j0 filename="$dir/j0.img" num_blocks=8192 direct=no >/dev/null
here volume create-crypt c0 base_bdev_name=f0 key_name=k0 >/dev/null
here volume limit c0 rw_ios_per_sec=1000000
here disk create d0 dev_name=c0 num_queues=4 >/dev/null
cp "$dir/state/state.json" "$dir/before.json"
old=$(python3 -c 'import json,sys
print(next(c["params"]["wrapped"] for c in json.load(open(sys.argv[1]))["calls"]
	if c["method"] == "accel_crypto_key_create" and c["params"]["name"] == "k0"))' "$dir/before.json")
refused volume rekey c0 key_name=k0 journal_bdev_name=j0
refused volume rekey c0 key_name=k1 journal_bdev_name=f0
refused volume rekey f1 key_name=k1 journal_bdev_name=j0
verify d0 2
verified
here volume rekey c0 key_name=k1 journal_bdev_name=j0 mbytes_per_sec=12
here volume show c0 | grep -q 'state: re-keying' || fail "no change of key: $(here volume show c0)"
refused volume rekey c0 key_name=k1 journal_bdev_name=j0
refused key delete k0
refused volume delete j0
killed d0 2
here volume show c0 | grep -q 'state: re-keying' || fail "over before the kills were"
verify d0 2
verified
mkdir "$dir/state/state.json.new" # the store cannot be written
for _ in $(seq 300); do
	here volume show c0 >"$dir/shown"
	grep -q 'state: ready' "$dir/shown" && grep -q 'key_name: k1' "$dir/shown" && break
	sleep 0.1
done
grep -q 'key_name: k1' "$dir/shown" || fail "the change of key does not end: $(cat "$dir/shown")"
verify d0 1
verified
# A restart would resume: old key and journal are held until the store knows of the new one.
here key list >"$dir/keys"
grep -q '^k0' "$dir/keys" || fail "the old key is forgotten before the new one is kept"
refused volume delete j0
rmdir "$dir/state/state.json.new"
for _ in $(seq 300); do
	here key list >"$dir/keys"
	grep -q '^k0' "$dir/keys" || break
	sleep 0.1
done
if grep -q '^k0' "$dir/keys"; then fail "the old key is still there"; fi
if grep -q "$old" "$dir/state/state.json"; then fail "the old key is still in the store"; fi
card_kill
start
here volume show c0 >"$dir/shown"
grep -q 'rw_ios_per_sec: 1000000' "$dir/shown" || fail "limits are lost with the change of key"
verify d0 1
verified
here disk delete d0
here key create k2 >/dev/null
here volume create-stripe j1 base_bdevs=c0 strip_size_kb=64 >/dev/null
refused volume rekey c0 key_name=k2 journal_bdev_name=j1
grep -q 'stands on c0' "$dir/refused" || fail "not told why: $(cat "$dir/refused")"
here volume delete j1
here volume delete c0
for k in k1 k2; do here key delete $k; done
for f in f0 f1 j0; do here volume delete $f; done
card_stop
if grep -q '"method"' "$dir/state/state.json"; then
	fail "kept after everything was deleted: $(cat "$dir/state/state.json")"
fi
