#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's agent answers every command, whatever earlier ones left running there ends meanwhile. And the
# program that the emulator runs inherits none of its sockets.
# Usage: 22-guest-agent.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
[ "${1:-}" = --inside ] || lab_run one-card-two-guests.json "$0"

for fd in "/proc/$$/fd/"*; do
	case ${fd##*/}:$(readlink "$fd") in
	[012]:*) ;;
	*:socket:*) fail "a socket of the emulator came along as ${fd##*/}" ;;
	esac
done

COMMANDS=12
long=$(head -c 3000 /dev/zero | tr '\0' x) # takes a while on the serial line
in_guest guest1 'i=0; while [ $i -lt 400 ]; do
	(usleep $((i * 20000)) & ); i=$((i + 1)); done >/dev/null 2>&1'
for i in $(seq $COMMANDS); do
	got=$(in_guest guest1 "echo $i # $long") || fail "command $i of $COMMANDS got no answer"
	[ "$got" = "$i" ] || fail "command $i answered '$got'"
done
echo "$COMMANDS commands answered while 400 processes ended"
