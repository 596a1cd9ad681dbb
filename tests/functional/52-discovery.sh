#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Subsystems that discovery services tell of: attached, with second paths and by referrals that lead in a
# circle; detached when no log has them any more, unless a disk uses them; there after a restart before any
# target is.
# Usage: 52-discovery.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

nqn=nqn.2026-11.test
here() { "$cardctl" --socket "$dir/rpc" "$@"; }
a() { "$cardctl" --socket "$dir/a.rpc" "$@"; }
b() { "$cardctl" --socket "$dir/b.rpc" "$@"; }

# target NAME: its process is added to the helpers.
target()
{
	rm -f "$dir/$1.out"
	mkfifo "$dir/$1.out"
	mkdir -p "$dir/$1"
	"$cardd" --name "$1" --state-dir "$dir/$1/state" --socket-dir "$dir/$1" --rpc-socket "$dir/$1.rpc" \
		--mem-mib 64 --mbufs 2047 --log-level warn >"$dir/$1.out" 2>>"$dir/err" &
	helpers="$helpers $!"
	read -r line <"$dir/$1.out" || :
	[ "$line" = ready ] || fail "target $1 does not start"
}

targets_kill()
{
	for p in $helpers; do
		kill -9 "$p"
		wait "$p" 2>/dev/null || :
	done
	helpers=
}

# Three ports that nobody listens on.
ports=$(python3 - <<'END'
import socket
s = [socket.socket() for _ in range(3)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))
END
)
# shellcheck disable=SC2086
set -- $ports
p1=$1 p2=$2 p3=$3

# until COMMAND..: for half a minute at most.
until_ok()
{
	for _ in $(seq 300); do
		if "$@" >/dev/null 2>&1; then return; fi
		sleep 0.1
	done
	fail "not so after half a minute: $*: $(here controller list) $(here discovery show auto)"
}
volume() { here volume show "$1" | grep -q 'driver_specific\|block_size'; }
no_volume() { ! here volume show "$1"; }
paths() { [ "$(here controller show "$1" | grep -c 'state: live')" -eq "$2" ]; }
no_controller() { [ "$(here --json controller list)" = '[]' ]; }

echo '[]' >"$dir/config"
target a
target b
a volume create-ram v num_blocks=2048 block_size=512
a subsystem create $nqn:one allow_any_host=yes
a subsystem add-ns $nqn:one v nsid=1 >/dev/null
a subsystem listen $nqn:one "127.0.0.1:$p1"
a target add-referral "127.0.0.1:$p2"
b volume create-ram w num_blocks=4096 block_size=512
b subsystem create $nqn:two allow_any_host=yes
b subsystem add-ns $nqn:two w nsid=3 >/dev/null
b subsystem listen $nqn:two "127.0.0.1:$p2"
b target add-referral "127.0.0.1:$p1" # back again
b target add-referral "127.0.0.1:$p2" # to itself

card_start --state-dir "$dir/state"
if here discovery start auto traddr=nowhere 2>/dev/null; then fail "an address that is none"; fi
here discovery start auto traddr=127.0.0.1 trsvcid="$p1"
if here discovery start auto traddr=127.0.0.1 trsvcid="$p2" 2>/dev/null; then fail "two of a name"; fi
until_ok volume auto0n1
until_ok volume auto1n3
[ "$(here discovery show auto | grep -c 'trsvcid')" -eq 2 ] || fail "services: $(here discovery show auto)"

# A second path comes and goes, a subsystem comes and goes.
a subsystem listen $nqn:one "127.0.0.1:$p3"
until_ok paths auto0 2
a subsystem create $nqn:three allow_any_host=yes
a subsystem listen $nqn:three "127.0.0.1:$p3"
until_ok paths auto2 1
a subsystem delete $nqn:three
until_ok paths auto0 2
until_ok no_volume auto2n1
here disk create disk dev_name=auto0n1
a subsystem unlisten $nqn:one "127.0.0.1:$p3"
until_ok paths auto0 1

# What a disk uses stays, whatever a log says. The walk that takes the other away has been there.
a subsystem create $nqn:three allow_any_host=yes
a volume create-ram u num_blocks=2048 block_size=512
a subsystem add-ns $nqn:three u nsid=1 >/dev/null
a subsystem listen $nqn:three "127.0.0.1:$p1"
until_ok volume auto2n1
a subsystem unlisten $nqn:one "127.0.0.1:$p1"
a subsystem create $nqn:four allow_any_host=yes
a subsystem listen $nqn:four "127.0.0.1:$p1"
until_ok paths auto3 1
a subsystem delete $nqn:three
until_ok no_volume auto2n1
volume auto0n1 || fail "a log took away what a disk uses"
a subsystem listen $nqn:one "127.0.0.1:$p1"
until_ok paths auto0 1
a subsystem delete $nqn:four
until_ok no_volume auto3n1

# A service that nobody refers to any more takes with it what only it told of.
a target remove-referral "127.0.0.1:$p2"
until_ok no_volume auto1n3
a target add-referral "127.0.0.1:$p2"
until_ok volume auto1n3

# The card is back before any target: its disk is there, and so is the discovery.
targets_kill
card_kill
card_start --state-dir "$dir/state"
volume auto0n1 || fail "a volume that was discovered is not there after a restart"
here disk show disk >/dev/null || fail "its disk is not there"
target a
target b
until_ok paths auto0 1
until_ok paths auto1 1
a subsystem listen $nqn:one "127.0.0.1:$p3"
until_ok paths auto0 2

# Stopped: all goes but for what is in use.
here discovery stop auto
until_ok no_volume auto1n3
[ "$(here --json discovery list)" = '[]' ] || until_ok test "$(here --json discovery list)" = '[]'
volume auto0n1 || fail "a volume in use is gone"
here disk delete disk
here controller detach auto0
until_ok no_controller
card_stop
if grep -q '"method"' "$dir/state/state.json"; then
	fail "kept after everything was deleted: $(cat "$dir/state/state.json")"
fi
for p in $helpers; do
	kill "$p"
	wait "$p" || fail "a target ended with $?"
done
helpers=
