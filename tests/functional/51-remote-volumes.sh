#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An encrypted disk whose blocks are at another card, over two paths: requests of any shape, a path cut and
# back under them, the other one, the target killed and back, this card killed and back before its target.
# Usage: 51-remote-volumes.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

nqn=nqn.2026-11.test:volumes
target=
here() { "$cardctl" --socket "$dir/rpc" "$@"; }
there() { "$cardctl" --socket "$dir/target.rpc" "$@"; }

target_start()
{
	rm -f "$dir/target.out"
	mkfifo "$dir/target.out"
	mkdir -p "$dir/target"
	"$cardd" --name target --state-dir "$dir/target/state" --socket-dir "$dir/target" \
		--rpc-socket "$dir/target.rpc" --mem-mib 64 --mbufs 2047 --log-level warn \
		>"$dir/target.out" 2>>"$dir/err" &
	target=$!
	helpers=$target
	read -r line <"$dir/target.out" || :
	[ "$line" = ready ] || fail "the target does not start"
}

target_kill()
{
	kill -9 "$target"
	wait "$target" 2>/dev/null || :
	helpers=
}

# Two ports that nobody listens on.
ports=$(python3 - <<'END'
import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))
END
)
a=${ports% *} b=${ports#* }

# live N: until N paths are.
live()
{
	for _ in $(seq 300); do
		[ "$(here controller show far | grep -c 'state: live')" -eq "$1" ] && return
		sleep 0.1
	done
	fail "not $1 paths: $(here controller show far)"
}

# shapes RING SEED REQUESTS: verified requests, in the background; shapes_end waits for them.
shapes()
{
	"$vdrv" blk-shapes --socket "$dir/disk" --ring "$1" --ring-size 256 --regions 3 --requests "$3" \
		--max-bytes 262144 --seed "$2" --json >"$dir/shapes" 2>>"$dir/err" &
	shapes=$!
}
shapes_end() { wait "$shapes" || fail "$1: $(cat "$dir/shapes")"; }

head -c 32 /dev/urandom >"$dir/kek"
chmod 600 "$dir/kek"
echo '[]' >"$dir/config"

target_start
there volume create-file v0 filename="$dir/blocks" block_size=512 num_blocks=131072 direct=no
there subsystem create $nqn
there subsystem add-ns $nqn v0 nsid=1 >/dev/null
there subsystem listen $nqn "127.0.0.1:$a"
there subsystem listen $nqn "127.0.0.1:$b"

card_start --state-dir "$dir/state" --key-file "$dir/kek"
if here controller attach far traddr=127.0.0.1 trsvcid="$a" subnqn=$nqn 2>/dev/null; then
	fail "served without being a host of the subsystem"
fi
host=$(here card info | sed -n 's/^nvme_host: *//p')
there subsystem add-host $nqn "$host"
here controller attach far traddr=127.0.0.1 trsvcid="$a" subnqn=$nqn \
	keep_alive_timeout_ms=1000 >"$dir/names"
grep -q farn1 "$dir/names" || fail "no volume: $(cat "$dir/names")"
here controller attach far traddr=127.0.0.1 trsvcid="$b" subnqn=$nqn hdgst=yes ddgst=yes \
	keep_alive_timeout_ms=1000 >/dev/null
live 2
here controller detach far # at once again: it is waited for
here volume list >"$dir/volumes"
if grep -q farn1 "$dir/volumes"; then fail "a volume stays"; fi
here controller attach far traddr=127.0.0.1 trsvcid="$a" subnqn=$nqn keep_alive_timeout_ms=1000 >/dev/null
here controller attach far traddr=127.0.0.1 trsvcid="$b" subnqn=$nqn hdgst=yes ddgst=yes \
	keep_alive_timeout_ms=1000 >/dev/null
live 2
here key create k0
here volume create-crypt c0 base_bdev_name=farn1 key_name=k0 block_size=4096 >/dev/null
here disk create disk dev_name=c0
# Which paths it uses: changed while it runs, kept, and refused where there are none.
here volume set-paths farn1 policy=active_passive
here volume prefer-path farn1 cntlid="$(here controller show far | sed -n 's/.*cntlid: *//p' | tail -n 1)"
here volume paths farn1 | grep -q 'preferred: true\|preferred: yes' || fail "paths: $(here volume paths farn1)"
here volume set-paths farn1 policy=active_active selector=numa
if here volume set-paths c0 policy=active_passive 2>/dev/null; then fail "paths of a volume without any"; fi
if here volume set-paths farn1 policy=both 2>/dev/null; then fail "a policy that is none"; fi
if here volume prefer-path farn1 cntlid=65000 2>/dev/null; then fail "a path that is none"; fi
here volume limit farn1 burst_ms=5 # goes with its controller
here volume limit c0 rw_ios_per_sec=1000000
here volume limit c0 w_mbytes_per_sec=4000 burst_ms=10
for call in "key delete k0" "volume delete farn1" "volume resize farn1 num_blocks=8" "controller detach far" \
	"disk create other dev_name=farn1" \
	"controller attach far2 traddr=127.0.0.1 trsvcid=$a subnqn=$nqn" \
	"controller attach far2 traddr=127.0.0.1 trsvcid=1 subnqn=$nqn" \
	"controller attach far traddr=127.0.0.1 trsvcid=$a subnqn=$nqn selector=queue_depth"; do
	# shellcheck disable=SC2086
	if here $call 2>/dev/null; then fail "$call: not refused"; fi
done

for ring in split packed; do
	shapes $ring 1 300
	shapes_end "$ring"
done

here controller latency far >"$dir/latency"
for path in "$a" "$b"; do
	grep -q "^far  *127.0.0.1/$path  *write  *[1-9]" "$dir/latency" ||
		fail "no latency of path $path: $(cat "$dir/latency")"
done
here volume latency c0 | grep -q '^c0  *read  *[1-9]' || fail "no latency of c0"
here controller stats far | grep -q 'commands [1-9]' || fail "no counters of paths"
there subsystem stats $nqn >"$dir/stats"
for line in "refused [1-9]" "commands [1-9]" "listener 127.0.0.1:$a" "host $host" "queues [1-9]"; do
	grep -q "$line" "$dir/stats" || fail "subsystem stats, no $line: $(cat "$dir/stats")"
done
there card stats object=target | grep -q 'refused.bad_connect [1-9]' || fail "no refused connect"
here controller show far | grep -q 'digest_errors: 0' || fail "no counters of far"

# A path cut under requests, back, then the other one.
shapes packed 2 3000
there subsystem unlisten $nqn "127.0.0.1:$a"
live 1
there subsystem listen $nqn "127.0.0.1:$a"
live 2
there subsystem unlisten $nqn "127.0.0.1:$b"
live 1
shapes_end "paths cut"
there subsystem listen $nqn "127.0.0.1:$b"
live 2

# The target dies and comes back: requests wait, none fails.
shapes split 3 3000
target_kill
live 0
target_start
shapes_end "target killed"
live 2

# This card dies, and is back before its target. A guest that ran would go on: the disk offers what it did.
features() { here disk show disk | grep features_offered; }
features >"$dir/offered"
target_kill
card_kill
card_start --state-dir "$dir/state" --key-file "$dir/kek"
here volume list | grep -q '^c0 .*crypt' || fail "no encrypted volume after a restart"
here volume show c0 >"$dir/shown"
for limit in 'rw_ios_per_sec: 1000000' 'w_mbytes_per_sec: 4000' 'burst_ms: 10'; do
	grep -q "$limit" "$dir/shown" || fail "not kept: $limit"
done
[ "$(here volume paths farn1 | grep -c 'policy: numa')" -eq 2 ] || fail "not kept: $(here volume paths farn1)"
features | cmp -s - "$dir/offered" || fail "offers $(features), before $(cat "$dir/offered")"
shapes packed 4 300
target_start
shapes_end "target after the card"
live 2

# With another key file nothing of it opens, and nothing of it is lost.
card_stop
cp "$dir/kek" "$dir/kek.right"
head -c 32 /dev/urandom >"$dir/kek"
card_start --state-dir "$dir/state" --key-file "$dir/kek"
here card info | grep -q 'another key file' || fail "a wrong key file is not told of"
card_stop
cp "$dir/kek.right" "$dir/kek"
card_start --state-dir "$dir/state" --key-file "$dir/kek"
live 2
shapes split 5 100
shapes_end "the right key file again"
# A target that says nothing holds up neither this card's end nor its start.
kill -STOP "$target"
card_stop
card_start --state-dir "$dir/state" --key-file "$dir/kek"
kill -CONT "$target"
live 2
here disk delete disk
here volume delete c0
here key delete k0
here controller detach far
[ "$(here --json controller list)" = '[]' ] || fail "a controller stays"
card_stop
if grep -q '"method"' "$dir/state/state.json"; then
	fail "kept after everything was deleted: $(cat "$dir/state/state.json")"
fi
kill "$target"
wait "$target" || fail "the target ended with $?"
helpers=
