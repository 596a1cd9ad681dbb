# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests that need a network namespace of their own. They have fail().

# shellcheck source=/dev/null
. "$(dirname "$0")/common.sh"

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

# netns_far NAME ADDRESS MAC: a namespace behind a veth pair, whose near end is NAME0; no IPv6 on either.
# $far_pid is a process in it.
netns_far()
{
	unshare -n sleep infinity &
	far_pid=$!
	pids="$pids $far_pid"
	wait_for "no namespace for $1" netns_is_far
	echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
	ip link add "${1}0" type veth peer name eth0 netns "$far_pid"
	ip link set "${1}0" up
	nsenter -t "$far_pid" -n sh -c "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
		ip link set lo up
		ethtool -K eth0 tx off tso off gso off gro off >/dev/null 2>&1 || :
		ip link set eth0 address $3 up
		ip addr add $2/24 dev eth0"
}

netns_is_far()
{
	[ "$(readlink "/proc/$far_pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}
