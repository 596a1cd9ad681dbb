# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests that run cards between network namespaces: $build and $here are theirs.
# shellcheck disable=SC2154 # the caller's

# shellcheck source=tests/functional/common.sh
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
	rpc=
	trap netns_leave EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	netns_quiet $$
}

netns_leave()
{
	for p in $pids; do
		kill -9 "$p" 2>/dev/null || :
	done
	rm -rf "$dir"
}

# netns_quiet PID: nobody asks for neighbours and routers there before address() gives an IPv6 address
netns_quiet()
{
	within "$1" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
		echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
	within "$1" ip link set lo up
}

# namespace NAME: a new network namespace; $NAME is the process to enter it by
namespace()
{
	unshare -n sleep infinity &
	eval "$1=$!"
	pids="$pids $!"
	wait_for "no namespace $1" is_other $!
	netns_quiet $!
}

is_other()
{
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

# within PID COMMAND...: in that process's network namespace
within()
{
	inside_of=$1
	shift
	nsenter -t "$inside_of" -n "$@"
}

# wire HERE PID THERE: a veth pair, its other end in that namespace. What an end leaves to its network
# card it has to do itself: a wire carries finished packets. Far apart indexes keep the packet sockets of
# cards with neighbouring process ids from meeting in one fanout group, which DPDK names by both.
wire()
{
	wires=$((${wires:-0} + 1))
	ip link add "$1" index $((wires * 512)) type veth peer name "$3"
	ip link set "$3" netns "$2"
	within "$2" ethtool -K "$3" tx off tso off gso off gro off >/dev/null 2>&1 || :
	ethtool -K "$1" tx off tso off gso off gro off >/dev/null 2>&1 || :
	ip link set "$1" up
	within "$2" ip link set "$3" up
}

# address PID IFACE ADDRESS/N: of either family, usable at once
address()
{
	case $3 in
	*:*)
		within "$1" sh -c "echo 0 >/proc/sys/net/ipv6/conf/$2/disable_ipv6"
		within "$1" ip addr add "$3" dev "$2" nodad
		;;
	*) within "$1" ip addr add "$3" dev "$2" ;;
	esac
}

# host NAME ADDRESS/N MAC: a namespace with that address at its eth0, whose other end is NAME0 here
host()
{
	namespace "$1"
	eval "wire ${1}0 \$$1 eth0; within \$$1 ip link set eth0 address $3; address \$$1 eth0 $2"
}

# card_start NAME [OPTION]...: a card in the background, its process id in $card, its socket $rpc. What it
# says is appended to $dir/NAME.err.
card_start()
{
	name=$1 rpc=$dir/$1.rpc
	shift
	rm -f "$dir/ready"
	mkfifo "$dir/ready"
	# What a killed card leaves behind goes with the rest.
	TMPDIR=$dir "$build/card-firmware/cardd" --name "$name" --socket-dir "$dir/s-$name" --rpc-socket "$rpc" \
		--mem-mib 96 --mbufs 8191 "$@" >"$dir/ready" 2>>"$dir/$name.err" &
	card=$!
	pids="$pids $card"
	line=
	read -r line <"$dir/ready" || :
	[ "$line" = ready ] || fail "card $name does not start"
}

ctl()
{
	"$build/card-firmware/cardctl" --socket "$rpc" "$@"
}

# fail WHAT...: ends the test with what the card answers to the commands in $shown, separated by commas
fail()
{
	echo "FAIL: $*"
	[ -z "$rpc" ] || echo "${shown:-port stats}" | tr , '\n' | while read -r words; do
		# shellcheck disable=SC2086 # words
		ctl $words || :
	done
	tail -n 20 "$dir"/*.err "$dir"/*.out 2>/dev/null
	exit 1
}

# counters [CARD]: sets NAME_rx, NAME_tx, NAME_drops, NAME_REASON for every port
counters()
{
	eval "$(ctl "$@" --json port stats | python3 "$here/uplink_peers.py" counters)"
}
