# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests of the control socket that start one cardd again and again: control_env first. $options is
# theirs, what every start has.
# shellcheck disable=SC2154 # the caller's

# shellcheck source=tests/functional/common.sh
. "$(dirname "$0")/common.sh"

# control_env BUILD [PROGRAM]...: skips what cannot be had, of the build folder also these programs. Behind it:
# $cardd, $cardctl; $dir, which goes at the end; $pid, the running card, or nothing.
control_env()
{
	build_dir=$1
	cardd=$1/card-firmware/cardd
	cardctl=$1/card-firmware/cardctl
	shift
	for program in card-firmware/cardd card-firmware/cardctl "$@"; do
		[ -x "$build_dir/$program" ] || skip "$program is not built"
	done
	command -v python3 >/dev/null || skip "no python3"
	dir=$(mktemp -d)
	pid=
	trap control_leave EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

control_leave()
{
	[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || :
	rm -rf "$dir"
}

fail()
{
	echo "FAIL: $*"
	[ ! -f "$dir/err" ] || tail -n 20 "$dir/err"
	exit 1
}

# start [OPTION]...: cardd in the background; returns once it says "ready", or non-zero.
start()
{
	rm -f "$dir/out"
	mkfifo "$dir/out"
	# shellcheck disable=SC2086 # a list of words
	"$cardd" --name ctl --socket-dir "$dir/s" --rpc-socket "$dir/rpc" --mem-mib 64 --mbufs 2047 \
		$options "$@" >"$dir/out" 2>"$dir/err" &
	pid=$!
	line=
	read -r line <"$dir/out" || :
	[ "$line" = ready ]
}

stop()
{
	kill "$pid"
	wait "$pid" || fail "cardd ended with $?"
	pid=
}

ctl()
{
	"$cardctl" --socket "$dir/rpc" "$@"
}

# free_port: of TCP on the loopback interface
free_port()
{
	python3 -c 'import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'
}

# refused STATUS TEXT COMMAND...: the command fails like this.
refused()
{
	want=$1 text=$2
	shift 2
	got=0
	ctl "$@" >"$dir/reply" 2>&1 || got=$?
	[ "$got" -eq "$want" ] || fail "cardctl $*: exit $got instead of $want: $(cat "$dir/reply")"
	grep -q -- "$text" "$dir/reply" || fail "cardctl $*: no '$text' in: $(cat "$dir/reply")"
}

# has TEXT COMMAND...: the command succeeds and prints a line with TEXT.
has()
{
	text=$1
	shift
	ctl "$@" >"$dir/reply" 2>&1 || fail "cardctl $*: $(cat "$dir/reply")"
	grep -q -- "$text" "$dir/reply" || fail "cardctl $*: no '$text' in: $(cat "$dir/reply")"
}

# lacks TEXT COMMAND...: the command succeeds and prints no line with TEXT.
lacks()
{
	text=$1
	shift
	ctl "$@" >"$dir/reply" 2>&1 || fail "cardctl $*: $(cat "$dir/reply")"
	if grep -q -- "$text" "$dir/reply"; then fail "cardctl $*: '$text' in: $(cat "$dir/reply")"; fi
}
