#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The card's NVMe/TCP host against Linux' target (nvmet), in a guest with two ways to the card: whatever a disk
# on it wrote, discarded and zeroed is read back while paths are flipped, cut, closed and stopped.
# Usage: 56-nvme-linux-target.sh BUILD-DIR
set -eu
here=$(dirname "$0")
# shellcheck source=tests/functional/netns.sh
. "$here/netns.sh"
# shellcheck source=tests/functional/lab_guest.sh
. "$here/lab_guest.sh"
build=${1:-build}
lab_image "$build" "${2:-}"
netns_enter "$0" "$build" "${2:-}"
shown="controller show far,volume list"
vdrv=$build/tests/driver/vdrv
[ -x "$vdrv" ] || skip "vdrv is not built"

nqn=nqn.2026-11.test:nvmet
cfg=/sys/kernel/config/nvmet

# nvmet COMMAND: in the guest, where its configuration is
nvmet() { in_lab "cd $cfg && $1" || fail "nvmet: $1"; }

attach()
{
	at=$1
	shift
	ctl controller attach far traddr="$at" subnqn=$nqn keep_alive_timeout_ms=2000 "$@"
}

# live N: until so many paths are
paths() { ctl controller show far >"$dir/paths" && [ "$(grep -c 'state: live' "$dir/paths")" -eq "$1" ]; }
live() { wait_for "not $1 paths live" paths "$1"; }

# verify DISK: writes, reads, discards, zeros and flushes of any size in the background, all compared, until
# verify_end
verify()
{
	"$vdrv" blk-verify --socket "$dir/s-card/$1" --range-mib 16 --max-bytes 65536 --qd 8 --seconds 600 \
		--json >"$dir/$1.json" 2>"$dir/$1.out" &
	eval "verify_$1=$!"
	pids="$pids $!"
}
verify_end()
{
	eval "kill -TERM \$verify_$1"
	eval "wait \$verify_$1" || fail "blk-verify of $1: $(cat "$dir/$1.json")"
	for bad in lost duplicated errored torn stale misplaced; do
		grep -q "\"$bad\": 0[,}]" "$dir/$1.json" || fail "$1, $bad: $(cat "$dir/$1.json")"
	done
	for kind in reads writes flushes discards zeroes; do
		if grep -q "\"$kind\": 0[,}]" "$dir/$1.json"; then fail "$1: no $kind"; fi
	done
}

# moved VOLUME: bytes that were read and written
moved() { ctl --all volume stats "$1" | awk '/^ *(read|write)_bytes:? / { n += $2 } END { print n + 0 }'; }
# on_wire N: packets that tap N has carried
on_wire() { awk -v tap="tap$1:" '$1 == tap { print $3 + $11 }' /proc/net/dev; }
beyond() { [ "$("$1" "$2")" -gt "$3" ]; }

has_volume() { ctl volume show "$1" >/dev/null 2>&1; }
lacks_volume() { ! has_volume "$1"; }

# more WHAT: both disks go on
more()
{
	m1=$(moved farn1) m2=$(moved farn2)
	wait_for "disk 1 stands still: $1" beyond moved farn1 $((m1 + 2000000))
	wait_for "disk 2 stands still: $1" beyond moved farn2 $((m2 + 2000000))
}

# only_by N M: requests go by tap N and, beside what keeps the other path alive, none by tap M
only_by()
{
	more "before it is only by path $1"
	n=$(on_wire "$1") m=$(on_wire "$2")
	more "only by path $1"
	n=$(($(on_wire "$1") - n)) m=$(($(on_wire "$2") - m))
	[ $((m * 10)) -lt $n ] || fail "by path $1: $n packets, by path $2, which is worse: $m"
}

# ana PORT STATE: of both groups
ana() { nvmet "for g in 1 2; do echo $2 >ports/$1/ana_groups/\$g/ana_state; done"; }

card_start card --state-dir "$dir/state"
lab_guest
host=$(ctl card info | sed -n 's/^nvme_host: *//p')
in_lab 'modprobe nvmet-tcp && modprobe loop && mount -t configfs c /sys/kernel/config
	mkdir -p /blocks && mount -t tmpfs -o size=160m t /blocks && truncate -s 32M /blocks/1 /blocks/2 /blocks/3 &&
	losetup /dev/loop0 /blocks/1 && losetup /dev/loop1 /blocks/2' || fail "no block devices in the guest"
nvmet "mkdir subsystems/$nqn && cd subsystems/$nqn && echo 0 >attr_allow_any_host &&
	mkdir namespaces/1 namespaces/2 namespaces/3 && echo 2 >namespaces/2/ana_grpid && echo 1 >namespaces/3/buffered_io &&
	echo /dev/loop0 >namespaces/1/device_path && echo /dev/loop1 >namespaces/2/device_path &&
	echo /blocks/3 >namespaces/3/device_path && echo 1 >namespaces/1/enable && echo 1 >namespaces/2/enable"
nvmet "for p in 1 2; do
		mkdir ports/\$p && cd ports/\$p && echo tcp >addr_trtype && echo ipv4 >addr_adrfam && echo 4420 >addr_trsvcid &&
			mkdir ana_groups/2 && echo optimized >ana_groups/2/ana_state && cd ../.. || exit 1
	done
	echo 192.0.2.2 >ports/1/addr_traddr && echo 198.51.100.2 >ports/2/addr_traddr &&
	ln -s $cfg/subsystems/$nqn ports/1/subsystems/ && ln -s $cfg/subsystems/$nqn ports/2/subsystems/"
ok "target is up, Linux $(cat "$dir/release")"

if attach 192.0.2.2 2>"$dir/log"; then fail "attached without being a host of the subsystem"; fi
nvmet "mkdir hosts/$host && ln -s $cfg/hosts/$host subsystems/$nqn/allowed_hosts/"
attach 192.0.2.2 >"$dir/log"
grep -q farn1 "$dir/log" && grep -q farn2 "$dir/log" || fail "attach says: $(cat "$dir/log")"
attach 198.51.100.2 hdgst=yes ddgst=yes >"$dir/log" 2>&1 || fail "not attached with digests: $(cat "$dir/log")"
live 2
has_digests() { ctl controller show far | grep -q "$1: yes"; }
has_digests hdgst && has_digests ddgst || fail "no digests on the second path"
ok "attached over two paths, with and without digests; before it was in the list of hosts: refused"

for n in 1 2; do
	ctl disk create d$n dev_name=farn$n
	for ring in split packed; do
		"$vdrv" blk-shapes --socket "$dir/s-card/d$n" --ring $ring --requests 100 --max-bytes 262144 --json \
			>"$dir/log" 2>&1 || fail "blk-shapes, disk $n: $(cat "$dir/log")"
	done
done
ok "requests of any shape, to 256 KiB"

verify d1
verify d2
more "at first"
ana 1 inaccessible
only_by 1 0
ana 1 optimized
ana 2 non-optimized
only_by 0 1
ana 1 inaccessible
ana 2 inaccessible
ana 1 change
ana 2 optimized
only_by 1 0
ana 1 optimized
more "all paths optimized"
ok "ANA: optimized, non-optimized, inaccessible, change, and back"

ip link set tap0 down
live 1
more "a path cut"
ip link set tap0 up
live 2
nvmet "rm ports/2/subsystems/$nqn"
live 1
more "a port closed"
nvmet "ln -s $cfg/subsystems/$nqn ports/2/subsystems/"
live 2
kill -STOP "$guest"
live 0
kill -CONT "$guest"
live 2
more "the target silent"
verify_end d1
verify_end d2
ok "cut, closed and silent under load: $(sed 's/.*"bytes": \([0-9]*\).*/\1/' "$dir/d1.json") bytes verified on one disk"

nvmet "echo 1 >subsystems/$nqn/namespaces/3/enable"
has_three() { [ "$(ctl controller show far | grep -c 'namespaces: 3$')" = 2 ]; }
size_is() { ctl volume show farn3 2>/dev/null | grep -q "num_blocks: $1$"; }
wait_for "the new namespace is not seen" has_three
wait_for "no volume of the new namespace" size_is 8192
ctl disk create d3 dev_name=farn3
in_lab 'truncate -s 64M /blocks/3' && nvmet "echo 1 >subsystems/$nqn/namespaces/3/revalidate_size"
wait_for "the new size is not seen" size_is 16384
"$vdrv" blk-shapes --socket "$dir/s-card/d3" --requests 100 --json >"$dir/log" 2>&1 || fail "disk 3: $(cat "$dir/log")"
# A file in a tmpfs: nvmet says that it can write zeros, and cannot (status 0x183).
zeroes() { ctl --all volume stats "$1" | awk '/^ *zeroes:? / { print $2 }'; }
verify d3
wait_for "no zeros" beyond zeroes farn3 20
verify_end d3
ok "a namespace comes and grows; zeros that the target cannot do are written"
for n in 1 2 3; do
	ctl disk delete d$n
done
nvmet "echo 0 >subsystems/$nqn/namespaces/3/enable"
wait_for "the volume of a namespace that went" lacks_volume farn3
nvmet "echo 1 >subsystems/$nqn/namespaces/3/enable"
wait_for "the namespace is not back" size_is 16384
ok "a namespace goes and is back"
ctl controller detach far

# The discovery service of a port, which is there as long as the port has any subsystem.
nvmet "mkdir subsystems/$nqn:none && echo 1 >subsystems/$nqn:none/attr_allow_any_host &&
	ln -s $cfg/subsystems/$nqn:none ports/1/subsystems/"
ctl discovery start auto traddr=192.0.2.2 trsvcid=4420
found() { ctl volume list | grep -q '^auto[01]n1 '; }
lost() { ! found; }
wait_for "the subsystem is not discovered" found
nvmet "rm ports/1/subsystems/$nqn"
wait_for "the volume of a subsystem that no log has" lost
nvmet "ln -s $cfg/subsystems/$nqn ports/1/subsystems/"
wait_for "the subsystem is not back" found
ctl discovery stop auto
wait_for "what was discovered stays" lost
ok "its discovery service: a subsystem comes, goes and comes"
# complaints: of the target in its kernel's log. That a controller's host was silent for too long is none: on a cut
# path, the target's keep-alive timer ends it before the path is back when this machine is slow.
complaints()
{
	awk '/nvmet: ctrl [0-9]+ keep-alive timer .* expired/ { silent[$(NF - 5)] = 1 }
		/nvmet: ctrl [0-9]+ fatal error/ && silent[$(NF - 3)] { silent[$(NF - 3)] = 0; next }
		tolower($0) ~ /nvmet.*(digest|fatal|out of|error)/'
}
in_lab dmesg >"$dir/dmesg" || fail "the guest says nothing"
complaints <"$dir/dmesg" >"$dir/log"
[ ! -s "$dir/log" ] || fail "the target says: $(cat "$dir/log")"
ok "detached; the target has nothing to complain of"
