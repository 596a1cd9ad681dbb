#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The card's NVMe/TCP target under Linux' host and nvme-cli, in a guest with two ways to the card: discovery,
# native multipath, what fio wrote while paths were flipped, cut, closed and reset, and the target was killed.
# Usage: 55-nvme-linux-host.sh BUILD-DIR
set -eu
here=$(dirname "$0")
# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
# shellcheck source=tests/functional/lab_guest.sh
. "$here/lab_guest.sh"
# shellcheck source=tests/functional/fio.sh
. "$here/fio.sh"
build=${1:-build}
lab_image "$build" "${2:-}"
netns_enter "$0" "$build" "${2:-}"
shown="target stats"

nqn=nqn.2026-11.test:linux
host=nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555
a=192.0.2.1:4420 b=198.51.100.1:4420

target() { card_start target --state-dir "$dir/state"; }

# connect ADDRESS:PORT [OPTION]...: prints what the kernel says when it refuses
connect()
{
	at=$1
	shift
	in_lab "nvme connect -t tcp -n $nqn -q $host -i 2 -k 2 -c 1 -a ${at%:*} -s ${at#*:} $* 2>&1"
}

discover() { in_lab "nvme discover -t tcp -a ${a%:*} -s ${a#*:} -q $host"; }

# has WHAT FILE PATTERN...: every pattern is in a line of the file
has()
{
	what=$1 file=$2
	shift 2
	for pattern in "$@"; do
		grep -q -e "$pattern" "$file" || fail "$what: no '$pattern' in: $(cat "$file")"
	done
}

# path N ATTRIBUTE: of the disk below controller N
path() { in_lab "cat /sys/class/nvme/nvme$1/nvme0c$1n1/$2"; }
path_is() { lab_is "path $1 is not $2" "[ \"\$(cat /sys/class/nvme/nvme$1/nvme0c$1n1/ana_state)\" = $2 ]"; }
ios() { path "$1" stat | awk '{ print $1 + $5 }'; }
state_is() { lab_is "controller $1 is not $2" "[ \"\$(cat /sys/class/nvme/nvme$1/state)\" = $2 ]"; }
more() { in_lab "$(fio_more 1)" || fail "$1: $(in_lab 'dmesg | tail -n 20')"; }

# only_by N M: requests go by controller N and none by M
only_by()
{
	more "before it is only by $1"
	n=$(ios "$1") m=$(ios "$2")
	more "only by $1"
	[ "$(ios "$1")" -gt "$n" ] || fail "nothing goes by controller $1"
	[ "$(ios "$2")" -eq "$m" ] || fail "requests by controller $2, whose path is worse"
}

target
ctl volume create-file v1 filename="$dir/v1" block_size=512 num_blocks=131072 direct=no
ctl volume create-ram v2 block_size=4096 num_blocks=4096
ctl subsystem create $nqn serial_number=CARD1 model_number=Interop ana_reporting=yes
ctl subsystem add-ns $nqn v1 nsid=1 >/dev/null
lab_guest
ctl subsystem listen $nqn $a
ctl subsystem listen $nqn $b
in_lab 'modprobe nvme-tcp && mkdir -p /etc/nvme &&
	echo 11111111-2222-3333-4444-555555555555 >/etc/nvme/hostid'
ok "guest is up, Linux $(cat "$dir/release")"

# A host that was not added sees the discovery service and nothing behind it.
discover >"$dir/log"
has "discovery" "$dir/log" "Number of Records 1," "subtype: current discovery subsystem"
if connect $a >"$dir/refused"; then fail "connected without being a host of the subsystem"; fi
[ "$(in_lab 'ls /sys/class/nvme | wc -l')" = 0 ] || fail "a refused controller stays"
ok "host that is not in the list: refused"

# Its persistent discovery controller hears of the change.
in_lab "nvme connect -t tcp -n nqn.2014-08.org.nvmexpress.discovery -q $host -k 5 -a ${a%:*} -s ${a#*:}
	(uevent sh -c \"env >>/tmp/uevents\" >/dev/null 2>&1 &)"
state_is 0 live
ctl subsystem add-host $nqn $host
lab_is "no notice of a changed discovery log" "grep -q NVME_AEN=0x70f002 /tmp/uevents"
discover >"$dir/log"
has "discovery" "$dir/log" "Number of Records 3," "traddr:  ${a%:*}" "traddr:  ${b%:*}" "subnqn:  $nqn"
in_lab 'killall uevent; nvme disconnect -d nvme0' >/dev/null
ok "discovery: a notice of the changed log, both listeners in it"

connect $a || fail "not connected: $(in_lab 'dmesg | tail -n 5')"
connect $b --hdr-digest --data-digest || fail "not connected with digests: $(in_lab 'dmesg | tail -n 5')"
path_is 0 optimized
path_is 1 optimized
lab_is "no disk" '[ -b /dev/nvme0n1 ]'
in_lab 'nvme id-ctrl /dev/nvme0' >"$dir/id" || fail "id-ctrl: $(cat "$dir/id")"
has "id-ctrl" "$dir/id" "^sn .*: CARD1 " "^mn .*: Interop " "^subnqn .*: $nqn$" "^cntrltype .*: 1$"
in_lab 'nvme list; nvme list-subsys; nvme list-ns /dev/nvme1; nvme ana-log /dev/nvme0' >"$dir/list" ||
	fail "list: $(cat "$dir/list")"
has "list" "$dir/list" "^/dev/nvme0n1 .*CARD1 .*Interop .*67.11" "nvme0 tcp .*${a%:*}.* live" \
	"nvme1 tcp .*${b%:*}.* live" "0\]:0x1"
ok "two controllers, one disk; digests on the second path"

in_lab "$(fio_start /dev/nvme0n1 4)"
more "fio"
ctl subsystem set-ana $nqn non_optimized $b
path_is 1 non-optimized
only_by 0 1
ctl subsystem set-ana $nqn inaccessible $a
path_is 0 inaccessible
only_by 1 0
ctl subsystem set-ana $nqn inaccessible $b
path_is 1 inaccessible
ctl subsystem set-ana $nqn optimized $a
path_is 0 optimized
only_by 0 1
ctl subsystem set-ana $nqn optimized $b
path_is 1 optimized
ok "ANA: optimized, non-optimized, inaccessible, none, and back"

ip link set tap0 down
state_is 0 connecting
more "a path cut"
ip link set tap0 up
state_is 0 live
ctl subsystem unlisten $nqn $b
state_is 1 connecting
more "a listener closed"
ctl subsystem listen $nqn $b
state_is 1 live
in_lab 'nvme reset /dev/nvme1' || fail "reset"
state_is 1 live
more "a reset"
ctl subsystem remove-host $nqn $host
state_is 0 connecting
state_is 1 connecting
ctl subsystem add-host $nqn $host
state_is 0 live
state_is 1 live
more "a host taken away and back"
kill -9 "$card"
wait "$card" 2>/dev/null || :
state_is 0 connecting
target
state_is 0 live
state_is 1 live
more "the target killed"
passes=$(in_lab "$(fio_stop)") || fail "fio: $passes"
ok "cut, closed, reset, removed and killed under fio: $passes passes verified"

ctl volume resize v1 num_blocks=262144
lab_is "the kernel sees no new size" '[ "$(blockdev --getsize64 /dev/nvme0n1)" = 134217728 ]'
in_lab 'head -c 65536 /dev/urandom >/tmp/r; dd if=/tmp/r of=/dev/nvme0n1 bs=64k seek=2047 oflag=direct 2>/dev/null &&
	dd if=/dev/nvme0n1 bs=64k skip=2047 iflag=direct 2>/dev/null | cmp - /tmp/r' || fail "what was added"
ctl subsystem add-ns $nqn v2 nsid=2 >/dev/null
lab_is "the kernel sees no new namespace" '[ -b /dev/nvme0n2 ]'
in_lab '[ "$(blockdev --getss /dev/nvme0n2)" = 4096 ] && dd if=/tmp/r of=/dev/nvme0n2 bs=64k oflag=direct 2>/dev/null &&
	dd if=/dev/nvme0n2 bs=64k count=1 iflag=direct 2>/dev/null | cmp - /tmp/r' || fail "what was added"
ctl subsystem remove-ns $nqn 2
lab_is "a namespace stays" '[ ! -e /dev/nvme0n2 ]'
ok "namespaces grow, come and go"

# What was discarded may read as anything, what was zeroed must not. Blocks 262016 and on hold /tmp/r.
compare() { in_lab "nvme compare /dev/nvme0n1 -n 1 -s 262016 -c 127 -z 65536 -d $1 2>&1"; }
in_lab 'head -c 65536 /dev/zero >/tmp/z; nvme dsm /dev/nvme0n1 -n 1 -d -s 2048 -b 2048' >/dev/null || fail "discard"
compare /tmp/r >"$dir/log" || fail "compare: $(cat "$dir/log")"
if compare /tmp/z >"$dir/log"; then fail "compare says that all is equal"; fi
in_lab 'nvme write-zeroes /dev/nvme0n1 -n 1 -s 262016 -c 127 && nvme flush /dev/nvme0n1 -n 1' >"$dir/log" ||
	fail "zeros: $(cat "$dir/log")"
in_lab 'dd if=/dev/nvme0n1 bs=64k skip=2047 iflag=direct 2>/dev/null | cmp - /tmp/z' || fail "zeros are not zeros"
compare /tmp/z >"$dir/log" || fail "compare with zeros: $(cat "$dir/log")"
ctl target stats >"$dir/stats"
for reason in bad_hdgst bad_ddgst bad_header bad_sequence bad_data vol_error; do
	if ! grep -q "$reason: 0$" "$dir/stats"; then fail "$reason: $(cat "$dir/stats")"; fi
done
if in_lab 'dmesg | grep -E "I/O error|digest|mismatch"' >"$dir/log"; then
	fail "the kernel says: $(cat "$dir/log")"
fi
in_lab "nvme disconnect -n $nqn" | grep -q 'disconnected 2' || fail "not disconnected"
gone() { ctl target stats | grep -q 'conns: 0$'; }
wait_for "connections stay" gone
ok "discard, zeros, compare, flush, disconnect: nothing wrong counted, nothing said by the kernel"
