# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests that need a network namespace of their own. They have fail().

skip()
{
	echo "SKIP: $*"
	exit 77
}

# netns_enter SCRIPT BUILD MODE PROGRAM...: the script again in a new namespace, unless MODE is --inside;
# skips what cannot be had. Behind it: $dir, which goes at the end, and with it the processes in $pids.
netns_enter()
{
	script=$1 build_dir=$2 mode=$3
	shift 3
	if [ "$mode" != --inside ]; then
		[ -x "$build_dir/card-firmware/cardd" ] || skip "cardd is not built"
		for program in python3 ip nsenter "$@"; do
			command -v "$program" >/dev/null || skip "no $program"
		done
		[ "$(id -u)" = 0 ] || skip "not root: TAP and packet sockets are not to be had"
		unshare -n true 2>/dev/null || skip "no network namespaces here"
		[ -c /dev/net/tun ] || skip "no /dev/net/tun"
		exec unshare -n "$script" "$build_dir" --inside
	fi
	dir=$(mktemp -d)
	pids=
	trap netns_leave EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

netns_leave()
{
	for p in $pids; do
		kill -9 "$p" 2>/dev/null || :
	done
	rm -rf "$dir"
}

# wait_for WHAT COMMAND...: until the command succeeds, for 20 s; fails with what did not come true
wait_for()
{
	what=$1 tries=0
	shift
	until "$@"; do
		tries=$((tries + 1))
		[ $tries -lt 400 ] || fail "$what"
		sleep 0.05
	done
}
