#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A Linux guest's disk is an encrypted volume of another card, over two paths: fio verifies it while one path is
# cut, then the other, the other card is killed, and the guest's own card is.
# Usage: 57-remote-guests.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
# shellcheck source=tests/functional/fio.sh
. "$(dirname "$0")/fio.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
[ "${1:-}" = --inside ] || LAB=yes lab_run remote-volumes.json "$0"

nqn=nqn.2026-11.org.outboard.emulator:card0.export0
here() { cardctl --socket "$OUTBOARD_DIR/card-a/rpc.sock" "$@"; }
store() { cardctl --socket "$OUTBOARD_DIR/store/rpc.sock" "$@"; }

# live N: until so many paths are
paths() { [ "$(here controller show disk0 2>/dev/null | grep -c 'state: live')" -eq "$1" ]; }
live() { wait_for "not $1 paths live" paths "$1"; }
more() { in_guest guest-a "$(fio_more 1)" || fail "fio, $1"; }

live 2
in_guest guest-a "$(fio_start /dev/vda 4)"
more "at first"
here controller show disk0 | awk '/traddr:/ { a = $2 } /trsvcid:/ { print a ":" $2 }' >"$OUTBOARD_DIR/addresses"
[ "$(sort -u "$OUTBOARD_DIR/addresses" | wc -l)" = 2 ] || fail "not two addresses: $(cat "$OUTBOARD_DIR/addresses")"
while read -r address <&3; do
	store subsystem unlisten $nqn "$address"
	live 1
	more "without $address"
	store subsystem listen $nqn "$address"
	live 2
done 3<"$OUTBOARD_DIR/addresses"
echo "ok    each path was cut while fio verified"

for card in store card-a; do
	card-emulator --kill $card
	card-emulator --wait
	live 2
	more "after $card was killed"
done
passes=$(in_guest guest-a "$(fio_stop)") || fail "fio: $passes"
echo "ok    both cards were killed: $passes passes verified in all"

# What lies at the other card is not what the guest wrote.
word=plain-text-of-a-guest
in_guest guest-a "yes $word | head -c 65536 >/tmp/plain && dd if=/tmp/plain of=/dev/vda bs=64k conv=fsync 2>/dev/null &&
	echo 3 >/proc/sys/vm/drop_caches && dd if=/dev/vda bs=64k count=1 2>/dev/null | cmp - /tmp/plain" ||
	fail "what was written is not there"
if grep -q $word "$OUTBOARD_DIR/store/a.img"; then fail "the other card has a guest's text"; fi
echo "ok    encrypted at the other card"
