#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Namespaces that a target adds and removes while a card is attached: volumes come and go by themselves, one
# that a disk uses waits for its own and takes no other, and a restart shows what there was.
# Usage: 52-namespaces.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

nqn=nqn.2026-11.test:ns
u1=11111111-1111-4111-8111-111111111111
u2=22222222-2222-4222-8222-222222222222
u3=33333333-3333-4333-8333-333333333333
target=
here() { "$cardctl" --socket "$dir/rpc" "$@"; }
there() { "$cardctl" --socket "$dir/target.rpc" "$@"; }

# Blocks in files: they outlive the target.
target_start()
{
	rm -f "$dir/target.out"
	mkfifo "$dir/target.out"
	mkdir -p "$dir/target"
	"$cardd" --name target --socket-dir "$dir/target" --rpc-socket "$dir/target.rpc" --mem-mib 64 \
		--mbufs 2047 --log-level warn >"$dir/target.out" 2>>"$dir/err" &
	target=$!
	helpers=$target
	read -r line <"$dir/target.out" || :
	[ "$line" = ready ] || fail "the target does not start"
	for v in 1 2 3; do
		there volume create-file v$v filename="$dir/blocks$v" block_size=512 num_blocks=131072 direct=no
	done
	there subsystem create $nqn allow_any_host=yes max_namespaces=1024
	there subsystem add-ns $nqn v1 nsid=1 uuid=$u1 >/dev/null
	there subsystem listen $nqn "127.0.0.1:$a"
	there subsystem listen $nqn "127.0.0.1:$b"
}

ports=$(python3 - <<'END'
import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))
END
)
a=${ports% *} b=${ports#* }

# until COMMAND..: for half a minute at most.
until_ok()
{
	for _ in $(seq 300); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	fail "not so after half a minute: $*: $(here volume list) $(here controller list)"
}
is() { here volume show "$1" | grep -q "$2"; }
no_volume() { ! here volume show "$1"; }
kept() { grep -q "\"$1" "$dir/state/state.json"; }
not_kept() { ! kept "$1"; }
volumes() { [ "$(here volume list | grep -c '^farn')" -eq "$1" ]; }
live() { [ "$(here controller show far | grep -c 'state: live')" -eq "$1" ]; }
counted() { here controller stats far | grep -q "$1"; }

echo '[]' >"$dir/config"
target_start
card_start --state-dir "$dir/state"
here controller attach far traddr=127.0.0.1 trsvcid="$a" subnqn=$nqn keep_alive_timeout_ms=1000 >/dev/null
here controller attach far traddr=127.0.0.1 trsvcid="$b" subnqn=$nqn keep_alive_timeout_ms=1000 >/dev/null
is farn1 $u1 || fail "no volume"

# One comes, with limits of its own, is there after a restart without its target, and goes with them.
there subsystem add-ns $nqn v2 nsid=2 uuid=$u2 >/dev/null
until_ok is farn2 $u2
until_ok kept 2:131072:512:$u2
[ "$(grep -c "2:131072:512:$u2" "$dir/state/state.json")" -eq 2 ] || fail "not kept with each path"
here volume limit farn2 burst_ms=5
kill -9 "$target"
wait "$target" 2>/dev/null || :
card_kill
card_start --state-dir "$dir/state"
is farn1 $u1 || fail "a volume is not there after a restart"
is farn2 $u2 || fail "a volume that came by itself is not there after a restart"
target_start # without the second one
until_ok live 2
until_ok no_volume farn2
until_ok not_kept 2:131072
if grep -q burst_ms "$dir/state/state.json"; then fail "limits of a volume that went"; fi
is farn1 $u1 || fail "the wrong one went"
counted 'volumes_removed [1-9]' || fail "not counted: $(here controller stats far)"

# What is in use waits when it is away, and goes on when it is back.
here disk create disk dev_name=farn1
"$vdrv" blk-shapes --socket "$dir/disk" --ring packed --ring-size 256 --regions 3 --requests 3000 \
	--max-bytes 262144 --seed 1 --json >"$dir/shapes" 2>>"$dir/err" &
shapes=$!
there subsystem remove-ns $nqn 1
there subsystem add-ns $nqn v2 nsid=2 uuid=$u2 >/dev/null # one pass has been here
until_ok is farn2 $u2
is farn1 $u1 || fail "dropped while a disk uses it"
kept 1:131072:512:$u1 || fail "in use, and not kept"

# Another one in its place is not taken for it: not a byte of it changes.
there subsystem add-ns $nqn v3 nsid=1 uuid=$u3 >/dev/null
cksum <"$dir/blocks3" >"$dir/sum"
there subsystem remove-ns $nqn 2
until_ok no_volume farn2
is farn1 $u1 || fail "another one was taken for it"
counted 'volumes_refused [1-9]' || fail "not counted: $(here controller stats far)"
kill -0 "$shapes" || fail "the disk's requests ended: $(cat "$dir/shapes")"
there subsystem remove-ns $nqn 1
there subsystem add-ns $nqn v1 nsid=1 uuid=$u1 >/dev/null
wait "$shapes" || fail "away for a while: $(cat "$dir/shapes")"
cksum <"$dir/blocks3" | cmp -s - "$dir/sum" || fail "another one's blocks were written"

# Nobody uses it any more: the other one has its name now.
there subsystem remove-ns $nqn 1
there subsystem add-ns $nqn v3 nsid=1 uuid=$u3 >/dev/null
until_ok counted 'volumes_refused [2-9]'
is farn1 $u1 || fail "another one was taken for it"
here disk delete disk
until_ok is farn1 $u3
until_ok kept 1:131072:512:$u3
card_kill
card_start --state-dir "$dir/state"
is farn1 $u3 || fail "after a restart it is another one again"
until_ok live 2

# An identifier that a volume of ours has: that one is refused, those beside it are not.
here volume create-ram own num_blocks=2048 block_size=512 uuid=$u1
there subsystem add-ns $nqn v1 nsid=5 uuid=$u1 >/dev/null
there subsystem add-ns $nqn v2 nsid=6 uuid=$u2 >/dev/null
until_ok is farn6 $u2
no_volume farn5 2>/dev/null || fail "two volumes of one identifier"
counted 'volumes_refused [1-9]' || fail "not counted: $(here controller stats far)"
here volume delete own
there subsystem remove-ns $nqn 6
until_ok is farn5 $u1
until_ok no_volume farn6

# Many at once, while the operator makes calls; all of them go with the subsystem's last namespace.
python3 - "$dir/target.rpc" "$dir/rpc" $nqn <<'END'
import json, socket, sys, time
def call(path, reqs):
    s = socket.socket(socket.AF_UNIX); s.connect(path)
    s.sendall(json.dumps(reqs).encode())
    text = b""
    while True:
        text += s.recv(1 << 20)
        try: return json.loads(text)
        except ValueError: pass
def many(method, more):
    for at in range(100, 612, 64):
        for r in call(sys.argv[1], [{"jsonrpc": "2.0", "id": n, "method": method,
                "params": dict(more(n), nqn=sys.argv[3])} for n in range(at, at + 64)]):
            assert "result" in r, r
def wait(n):
    longest, end = 0, time.time() + 60
    while True:
        t = time.time()
        r = call(sys.argv[2], {"jsonrpc": "2.0", "id": 1, "method": "bdev_get_bdevs"})
        longest = max(longest, time.time() - t)
        if sum(v["name"].startswith("farn") for v in r["result"]) == n: break
        assert time.time() < end, [v["name"] for v in r["result"]]
    print("longest call: %d ms" % (longest * 1000)) # told, not judged: the machine may be busy
many("nvmf_subsystem_add_ns", lambda n: {"namespace": {"bdev_name": "v3", "nsid": n,
    "uuid": "00000000-0000-4000-8000-%012x" % n}})
wait(514)
many("nvmf_subsystem_remove_ns", lambda n: {"nsid": n})
wait(2)
END

here controller detach far
until_ok volumes 0
card_stop
if grep -q '"method"' "$dir/state/state.json"; then
	fail "kept after everything was deleted: $(cat "$dir/state/state.json")"
fi
kill "$target"
wait "$target" || fail "the target ended with $?"
helpers=
