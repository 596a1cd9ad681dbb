#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compare-and-write over two cards: hosts of the first one, whose namespace is at the second one, count in a block
# together with hosts of the second one; the same through an encrypted volume; what statistics say.
# Usage: 51-compare-write.sh BUILD-DIR
set -eu
here=$(dirname "$0")
# shellcheck source=tests/functional/card.sh
. "$here/card.sh"
card_env "${1:-build}"

nqn=nqn.2026-11.test:pairs
user=nqn.2026-11.test:user
here() { "$cardctl" --socket "$dir/rpc" "$@"; }
there() { "$cardctl" --socket "$dir/target.rpc" "$@"; }
pairs() { python3 "$here/nvme_pairs.py" "$@" 2>"$dir/log" || fail "$*: $(cat "$dir/log")"; }

# counted CARD VOLUME COUNTER: it is not zero
counted() { "$1" volume stats "$2" | grep -q "$3 [1-9]" || fail "no $3 of $2: $("$1" volume stats "$2")"; }

# Three ports that nobody listens on.
ports=$(python3 - <<'END'
import socket
s = [socket.socket() for _ in range(3)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))
END
)
far=${ports%% *} near=${ports##* } locked=${ports#* }
locked=${locked% *}

head -c 32 /dev/urandom >"$dir/kek"
chmod 600 "$dir/kek"
echo '[]' >"$dir/config"
mkfifo "$dir/target.out"
mkdir -p "$dir/target"
"$cardd" --name target --state-dir "$dir/target/state" --socket-dir "$dir/target" \
	--rpc-socket "$dir/target.rpc" --mem-mib 64 --mbufs 2047 --log-level warn >"$dir/target.out" 2>>"$dir/err" &
helpers=$!
read -r line <"$dir/target.out" || :
[ "$line" = ready ] || fail "the target does not start"

# share CARD NQN VOLUME PORT: to any host
share()
{
	"$1" subsystem create "$2"
	"$1" subsystem allow-any-host "$2" yes
	"$1" subsystem add-ns "$2" "$3" nsid=1 >/dev/null
	"$1" subsystem listen "$2" "127.0.0.1:$4"
}

there volume create-file v0 filename="$dir/blocks" block_size=512 num_blocks=8192 direct=no
share there $nqn v0 "$far"
card_start --state-dir "$dir/state" --key-file "$dir/kek"
here controller attach far traddr=127.0.0.1 trsvcid="$far" subnqn=$nqn >/dev/null
share here $nqn farn1 "$near"

pairs check "$far" $nqn $user
counted there v0 compares
counted there v0 miscompares
pairs check "$near" $nqn $user
counted here farn1 compares
counted here farn1 miscompares

# Hosts of both cards at once, two of each.
pairs race $nqn $user 150 "$near" "$far" "$near" "$far"
here volume stats farn1 | grep -q compares_lost && fail "lost: $(here volume stats farn1)"

# The same, encrypted at the first card: the second one compares what it cannot read.
here subsystem delete $nqn
here key create k0
here volume create-crypt c0 base_bdev_name=farn1 key_name=k0 block_size=512 >/dev/null
share here $nqn.crypt c0 "$locked"
pairs check "$locked" $nqn.crypt $user
pairs race $nqn.crypt $user 100 "$locked" "$locked"
counted here c0 compares
card_stop
