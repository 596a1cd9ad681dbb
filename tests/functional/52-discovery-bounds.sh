#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Discovery services whose logs always change and are full of subsystems that never answer: they hold up neither
# an operator's calls nor what other services tell of, and what is at the end of them is found all the same.
# Usage: 52-discovery-bounds.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

nqn=nqn.2026-11.test
here() { "$cardctl" --socket "$dir/rpc" "$@"; }
a() { "$cardctl" --socket "$dir/a.rpc" "$@"; }
until_ok()
{
	for _ in $(seq 600); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	fail "not so after a minute: $*: $(here discovery list) $(here discovery show bad0)"
}
volume() { here volume show "$1"; }
value() { here discovery show "$1" | sed -n "s/^ *$2: *//p"; }
beyond() { [ "$(value "$1" "$2")" -gt "$3" ]; }

mkfifo "$dir/a.out"
mkdir -p "$dir/a"
"$cardd" --name a --socket-dir "$dir/a" --rpc-socket "$dir/a.rpc" --mem-mib 64 --mbufs 2047 --log-level warn \
	>"$dir/a.out" 2>>"$dir/err" &
target=$!
helpers=$target
read -r line <"$dir/a.out" || :
[ "$line" = ready ] || fail "the target does not start"
p=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
for v in one two far; do
	a volume create-ram $v num_blocks=2048 block_size=512
	a subsystem create $nqn:$v allow_any_host=yes
	a subsystem add-ns $nqn:$v $v nsid=1 >/dev/null
	a subsystem listen $nqn:$v "127.0.0.1:$p"
done

# Of one service there are 40 that do not answer, more than may fail in one walk, and then one that does.
mkfifo "$dir/ports"
python3 "$(dirname "$0")/discovery_peer.py" 1 40 $nqn:one/"$p" >"$dir/ports" &
peer=$!
helpers="$helpers $peer"
exec 3<"$dir/ports"
read -r bad0 <&3
echo '[]' >"$dir/config"
card_start --state-dir "$dir/state"
here discovery start bad0 traddr=127.0.0.1 trsvcid="$bad0"
until_ok beyond bad0 paths 0
# What has not connected is not kept: it costs no write, and is not there after a kill.
is_kept() { grep -q "$1" "$dir/state/state.json"; }
if is_kept attach_controller; then fail "kept before it was connected: $(cat "$dir/state/state.json")"; fi
begun=$(date +%s%N)
for _ in 1 2 3; do
	here controller attach far traddr=127.0.0.1 trsvcid="$p" subnqn=$nqn:far >/dev/null
	here controller detach far
done
took=$((($(date +%s%N) - begun) / 1000000))
# A tenth of a second; behind each path that does not answer it would be five.
[ $took -lt 3000 ] || fail "three attaches of an operator's: $took ms"
here discovery start good traddr=127.0.0.1 trsvcid="$p"
until_ok volume good0n1
[ "$(value bad0 paths)" -le 8 ] || fail "more on their way than there may be: $(here discovery show bad0)"
until_ok beyond bad0 attach_failures 15
until_ok beyond bad0 passed_over 0
here discovery stop good
found() { here volume list | grep -q '^bad0.*n1 '; }
until_ok found
until_ok is_kept "$nqn:one"
[ "$(grep -c 'attach_controller' "$dir/state/state.json")" = 1 ] || fail "$(cat "$dir/state/state.json")"
card_kill
card_start --state-dir "$dir/state"
here volume list | grep -q '^bad0.*n1 ' || fail "what connected is not there after a kill: $(here volume list)"
here discovery stop bad0
no_controller() { [ "$(here --json controller list)" = '[]' ]; }
until_ok no_controller
card_stop
kill "$target"
wait "$target" || fail "the target ended with $?"
kill "$peer"
helpers=
