#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Instance storage: encrypted on the device, there again after cardd was killed in the middle of verified I/O,
# gone when the instance ends, and not shown when the kernel that kept its key is gone.
# Usage: 53-instance.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

loop=
big=
cleanup()
{
	card_cleanup
	for l in $loop $big; do
		losetup -d "$l" 2>/dev/null || :
	done
}
trap cleanup EXIT

ctl() { "$cardctl" --socket "$dir/rpc" "$@"; }
start() { card_start --state-dir "$dir/state"; }

# refused TEXT COMMAND...
refused()
{
	text=$1
	shift
	if ctl "$@" >"$dir/reply" 2>&1; then fail "cardctl $*: not refused"; fi
	grep -q -- "$text" "$dir/reply" || fail "cardctl $*: no '$text' in: $(cat "$dir/reply")"
}

# What the kernel still keeps of the card; one that was let go may be listed for a while, marked "i".
kept()
{
	sed -n 's/^[0-9a-f]* *\([IRDQUNi-]*\) .*outboard:\([0-9a-f]\{32\}\):.*/\1 \2/p' /proc/keys |
		grep -v i | grep -c "$1" || :
}

# The name under which the key of NAME is kept.
name_of()
{
	ctl --json card config | python3 -c '
import json, sys
for call in json.load(sys.stdin):
    if call["params"].get("name") == sys.argv[1] + ".key":
        print(call["params"]["kept"])' "$1"
}

# verify SECONDS: in the background
verify()
{
	"$vdrv" blk-verify --socket "$dir/d0" --range-mib 16 --max-bytes 65536 --qd 16 --seconds "$1" --keep \
		--reconnect-ms 10000 --json >"$dir/verify" 2>>"$dir/err" &
	helpers=$!
}
verify_end()
{
	wait "$helpers" || fail "$1: $(cat "$dir/verify")"
	helpers=
}

echo '[]' >"$dir/config"
truncate -s 64M "$dir/media"
truncate -s 1M "$dir/big"
device=$dir/media
loop=$(losetup -f --show "$dir/media" 2>/dev/null) || loop=
if [ -n "$loop" ]; then
	device=$loop
else
	echo "53-instance: no loop device: on a plain file only"
fi
start

# As an operator makes it.
others=$(kept .)
if ! ctl volume create-instance i0 filename="$device" block_size=4096 >"$dir/reply" 2>&1; then
	grep -q 'the kernel keeps none' "$dir/reply" || fail "$(cat "$dir/reply")"
	echo "skip: $(cat "$dir/reply")"
	exit 77
fi
ctl volume create-instance i0 filename="$device" block_size=4096 >/dev/null # again
ctl disk create d0 dev_name=i0
ctl key list | grep -q '^i0.key .*yes' || fail "no ephemeral key: $(ctl key list)"
id=$(name_of i0)
[ "$(kept "$id")" = 1 ] || fail "the kernel does not keep $id: $(cat /proc/keys)"
refused 'in use' volume end-instance i0
refused 'in use' key delete i0.key
refused 'always a new key' key create other ephemeral=yes "wrapped=$(printf '%0186d' 0)"
refused 'hexadecimal' key create other "kept=$(printf '%032d' 0 | tr 0 x)"
refused 'is gone' key create other "kept=$(printf '%032d' 0)"
refused 'no such file\|No such file' volume create-instance i1 filename="$dir/nothing"
[ "$(ctl volume list | grep -c '^i1')" = 0 ] || fail "something of i1 was left"
[ "$(ctl key list | grep -c '^i1')" = 0 ] || fail "a key of i1 was left"
[ "$(kept .)" = $((others + 1)) ] || fail "a key of i1 is kept"
ctl volume create-null plain num_blocks=8 block_size=512 >/dev/null
refused "no instance's" volume end-instance plain
ctl volume delete plain

# Its blocks are the device's, unless somebody says otherwise.
if big=$(losetup -b 4096 -f --show "$dir/big" 2>/dev/null); then
	ctl volume create-instance i2 filename="$big" >/dev/null || fail "no volume of 4096-byte sectors"
	ctl volume create-instance i2 filename="$big" >/dev/null || fail "not the same again"
	ctl volume show i2 | grep -q 'block_size: 4096' || fail "i2: $(ctl volume show i2)"
	ctl volume show i2.media | grep -q 'block_size: 4096' || fail "media: $(ctl volume show i2.media)"
	ctl volume end-instance i2
	losetup -d "$big"
	big=
else
	echo "53-instance: no loop device of 4096-byte sectors"
fi
ctl volume create-instance i2 filename="$dir/small" num_blocks=2048 >/dev/null
ctl volume show i2 | grep -q 'num_blocks: 2048' || fail "i2: $(ctl volume show i2)"
ctl volume end-instance i2

# cardd dies twice under verified requests: the key is there again, and with it every acknowledged write.
verify 6
for _ in 1 2; do
	sleep 1.5
	card_kill
	start
done
verify_end "killed"
grep -q '"restarts": 2' "$dir/verify" || fail "not two restarts: $(cat "$dir/verify")"
[ "$(name_of i0)" = "$id" ] || fail "another key after a restart"
# What is verified carries its sector's number in front. On the device no sector does.
sync
python3 - "$dir/media" <<'END' || fail "sectors on the device are not encrypted"
import sys
data = open(sys.argv[1], "rb").read(16 << 20)
plain = sum(int.from_bytes(data[i:i + 8], "little") == i // 512 for i in range(512, len(data), 512))
full = sum(any(data[i:i + 512]) for i in range(0, len(data), 512))
print(f"{full} sectors written, {plain} of them readable")
sys.exit(full < 1000 or plain > 0)
END
if grep -q '"key"\|wrapped' "$dir/state/state.json"; then fail "a key in the store"; fi

# The instance ends: the kernel forgets the key, and the next one on the device is another's.
ctl disk delete d0
ctl volume end-instance i0
[ "$(kept "$id")" = 0 ] || fail "the kernel still keeps $id"
[ "$(ctl --json volume list)" = '[]' ] || fail "left: $(ctl volume list)"
[ "$(ctl --json key list)" = '[]' ] || fail "left: $(ctl key list)"
refused 'no such' volume end-instance i0
ctl volume create-instance i0 filename="$device" block_size=4096 >/dev/null
ctl disk create d0 dev_name=i0
[ "$(name_of i0)" != "$id" ] || fail "the same key for two instances"
id=$(name_of i0)
verify 1
verify_end "the next instance"

# The card is started anew, and its kernel with it: rather no disk than one full of noise.
card_stop
python3 - "$id" <<'END' || fail "cannot let the key go"
import ctypes, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
keyctl = {"x86_64": 250, "aarch64": 219}[platform.machine()]
serial = libc.syscall(keyctl, 10, -4, b"user", b"outboard:" + sys.argv[1].encode(), 0)  # SEARCH
sys.exit(serial < 0 or libc.syscall(keyctl, 21, serial) != 0)  # INVALIDATE
END
start
ctl card info >"$dir/reply"
grep -q 'is gone' "$dir/reply" || fail "a lost key is not told of: $(cat "$dir/reply")"
[ "$(ctl --json disk list)" = '[]' ] || fail "a disk without its key"
ctl disk delete d0
ctl volume end-instance i0
ctl card info | grep -q 'degraded: none' || fail "left: $(ctl card info)"
ctl volume create-instance i0 filename="$device" block_size=4096 >/dev/null
ctl volume end-instance i0
card_stop
if grep -q '"method"' "$dir/state/state.json"; then
	fail "kept after everything was deleted: $(cat "$dir/state/state.json")"
fi

# Without a store a restart would not find the key.
card_start
refused 'state-dir' volume create-instance i0 filename="$device" block_size=4096
[ "$(ctl --json volume list)" = '[]' ] || fail "left: $(ctl volume list)"
card_stop
echo "53-instance: encrypted, kept over kills, gone with its instance: ok"
