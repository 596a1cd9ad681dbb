#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# host-hv's agent and the guest that it shuts in, on this machine's KVM, over disks of a real card: made,
# started, paused, with disks that come and go while it works with them; the process that commands it is
# killed and another takes over, and so is the card behind the disks.
# Usage: 62-host-hv-agent.sh BUILD-DIR; HOST_HV names another host-hv
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"
hv=${HOST_HV:-$1/host-hv/host-hv}
commander=$1/tests/host-hv/hv_card
guest=$1/tests/host-hv/guest.bin
need_kvm "$hv" "$commander" "$guest"

{
	echo '['
	file_disk one 1
	echo ,
	file_disk two 1
	echo ']'
} >"$dir/config"
card_start

# The agent is there before its card is.
"$hv" --agent --card "$dir/agent" 2>>"$dir/err" &
agent=$!
helpers=$agent
mkfifo "$dir/says"
"$commander" "$guest" "$dir/agent" "$dir/one" "$dir/two" >"$dir/says" 2>>"$dir/err" &
helpers="$agent $!"
commander=$!
while read -r line; do
	echo "$line"
	[ "$line" = restart ] || continue
	card_kill
	card_start
done <"$dir/says"
wait "$commander" || fail "the commands"
kill "$agent"
wait "$agent" || fail "the agent ended with $?"
helpers=
card_stop
