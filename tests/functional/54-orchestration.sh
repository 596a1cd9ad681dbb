#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Existing orchestration of SPDK drives the card unchanged: OPI's storage bridge and the CSI driver of Kubernetes,
# call by call as they make them, against one card with local volumes, disks and exports and another that
# attaches to it. Logical volumes with their files, over a restart.
# Usage: 54-orchestration.sh BUILD-DIR
set -eu
here=$(dirname "$0")
# shellcheck source=tests/functional/card.sh
. "$here/card.sh"
card_env "${1:-build}"
command -v python3 >/dev/null || { echo "skip: no python3"; exit 77; }

far() { "$cardctl" --socket "$dir/far.rpc" "$@"; }
calls() { python3 "$here/orchestration.py" "$@" || fail "orchestration: $*"; }

free_ports()
{
	python3 -c 'import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))'
}
ports=$(free_ports)
a=${ports% *} b=${ports#* }

head -c 32 /dev/urandom >"$dir/kek"
chmod 600 "$dir/kek"
truncate -s 1M "$dir/image"
echo '[]' >"$dir/config"
mkdir "$dir/far" "$dir/lvols"
card_start --state-dir "$dir/state" --key-file "$dir/kek"
mkfifo "$dir/far.out"
"$cardd" --name far --state-dir "$dir/far/state" --socket-dir "$dir/far" --rpc-socket "$dir/far.rpc" \
	--mem-mib 64 --mbufs 2047 --log-level warn >"$dir/far.out" 2>>"$dir/err" &
helpers=$!
read -r line <"$dir/far.out" || :
[ "$line" = ready ] || fail "the other card does not start"

calls "$dir/rpc" volumes "$dir/image"
calls "$dir/rpc" disks
calls "$dir/rpc" export "$a"
"$cardctl" --socket "$dir/rpc" subsystem listen nqn.2022-09.io.spdk:opi3 "127.0.0.1:$b"
calls "$dir/far.rpc" attach "" "$a" "$b"
# Who the bridge says that it is, is who comes: the subsystem lets nobody else in.
name=nqn.2014-08.org.nvmexpress:uuid:feb98abe-d51f-40c8-b348-2753f3571d3c
"$cardctl" --socket "$dir/rpc" subsystem allow-any-host nqn.2022-09.io.spdk:opi3 no
"$cardctl" --socket "$dir/rpc" subsystem add-host nqn.2022-09.io.spdk:opi3 $name
if far controller attach other traddr=127.0.0.1 trsvcid="$a" subnqn=nqn.2022-09.io.spdk:opi3 2>/dev/null; then
	fail "a host of another name is let in"
fi
calls "$dir/far.rpc" attach $name "$a" "$b"
# What it said of all controllers is what each has, and is kept with it.
far controller attach kept traddr=127.0.0.1 trsvcid="$a" subnqn=nqn.2022-09.io.spdk:opi3 hostnqn=$name \
	reconnect_delay_sec=3 >/dev/null
python3 - "$dir/far/state/state.json" <<'END' || fail "options: $(cat "$dir/far/state/state.json")"
import json, sys
state = json.load(open(sys.argv[1]))
calls = state if isinstance(state, list) else state["calls"]
p = [c["params"] for c in calls if c["method"] == "bdev_nvme_attach_controller"]
assert len(p) == 1 and p[0]["keep_alive_timeout_ms"] == 7000 and p[0]["io_timeout_ms"] == 20000, p
assert p[0]["reconnect_delay_sec"] == 3 and p[0]["ctrlr_loss_timeout_sec"] == -1, p
END
far controller detach kept
calls "$dir/rpc" delete

# Logical volumes: files of a folder, with the data that they had, or not at all.
here() { "$cardctl" --socket "$dir/rpc" "$@"; }
here lvstore create lvs0 "$dir/lvols" >/dev/null
here lvstore create lvs0 "$dir/lvols" >/dev/null
calls "$dir/rpc" lvols lvs0 "$a"
[ -z "$(ls "$dir/lvols")" ] || fail "files are left: $(ls "$dir/lvols")"
one=$(here lvol create one lvs0 size_in_mib=4 thin_provision=yes)
two=$(here lvol create two lvs0 size_in_mib=4)
[ "$(stat -c '%s %b' "$dir/lvols/$one")" = "4194304 0" ] || fail "not thin"
[ "$(stat -c '%b' "$dir/lvols/$two")" -ge 8192 ] || fail "not thick"
if here lvol create one lvs0 size_in_mib=4 2>/dev/null; then fail "a name twice"; fi
if here lvol create three lvs0 2>/dev/null; then fail "without a size"; fi
if here lvstore delete lvs0 2>/dev/null; then fail "a store with volumes is forgotten"; fi
here lvol resize lvs0/one size_in_mib=8
here lvol resize lvs0/two size_in_mib=6
[ "$(stat -c '%b' "$dir/lvols/$two")" -ge 12288 ] || fail "not thick any more"
if here lvol resize lvs0/one size_in_mib=1000000000 2>"$dir/no"; then fail "larger than its store"; fi
grep -q 'No space left' "$dir/no" || fail "$(cat "$dir/no")"
printf data | dd of="$dir/lvols/$one" conv=notrunc status=none
rm "$dir/lvols/$two"
card_kill
card_start --state-dir "$dir/state" --key-file "$dir/kek"
here volume show "$one" | grep -q 'num_blocks: 16384' || fail "$(here volume show "$one")"
[ "$(head -c 4 "$dir/lvols/$one")" = data ] || fail "the data is gone"
if here volume show "$two" 2>/dev/null || [ -e "$dir/lvols/$two" ]; then fail "made anew, empty"; fi
here volume delete "$two" # known to the store only
here lvol delete lvs0/one
here lvstore delete lvs0
[ -z "$(ls "$dir/lvols")" ] || fail "files are left: $(ls "$dir/lvols")"

# With a folder that volumes have to lie in, a store elsewhere is none, and one that a link leads out of gets no file.
mkdir "$dir/volumes" "$dir/volumes/in"
card_kill
card_start --state-dir "$dir/state" --key-file "$dir/kek" --volume-dir "$dir/volumes"
if here lvstore create out "$dir/lvols" >/dev/null 2>&1; then fail "a store outside of --volume-dir"; fi
here lvstore create in "$dir/volumes/in" >/dev/null
rmdir "$dir/volumes/in"
ln -s "$dir/lvols" "$dir/volumes/in"
if here lvol create one in size_in_mib=1 2>/dev/null; then fail "a volume outside of --volume-dir"; fi
[ -z "$(ls "$dir/lvols")" ] || fail "files outside of --volume-dir: $(ls "$dir/lvols")"

# Those of a configuration file are the same ones at each start.
rm "$dir/volumes/in"
mkdir "$dir/volumes/in"
card_kill
cat >"$dir/config" <<END
[{ "method": "bdev_lvol_create_lvstore", "params": { "lvs_name": "in", "path": "$dir/volumes/in" } },
 { "method": "bdev_lvol_create", "params": { "lvol_name": "root", "lvs_name": "in", "size_in_mib": 1 } }]
END
rm -r "$dir/state"
for text in first second; do
	card_start --volume-dir "$dir/volumes"
	[ "$(ls "$dir/volumes/in" | wc -l)" -eq 1 ] || fail "$text start: $(ls "$dir/volumes/in")"
	printf %s "$text" | dd of="$dir/volumes/in/$(ls "$dir/volumes/in")" conv=notrunc status=none
	card_kill
done
echo "54-orchestration: ok"
