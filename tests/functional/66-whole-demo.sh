#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All of `make demo`, as it is, in a machine whose KVM runs kernels: three cards, remote volumes over two paths each,
# two guests on host-hv that fio runs in, a path that is cut, a card that is killed. And what a topology can ask of a
# guest besides: several CPUs and queues, another MTU and block size, its end in each way, or a word why not.
# Usage: 66-whole-demo.sh BUILD-DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/functional/common.sh
. "$here/common.sh"
# shellcheck source=tests/functional/hv_lab.sh
. "$here/hv_lab.sh"
build=$(cd "${1:-build}" && pwd)
emulator=$here/../../card-firmware/emulator
begun=$(date +%s)

fail()
{
	echo "FAIL: $*" >&2
	tail -n 5 "$dir/console" >&2 || true
	in_lab 'cat /tmp/out; free -m; tail -n 8 /tmp/run/*/log /tmp/run/*/host-hv.log /tmp/run/*/console.log' \
		>&2 || true
	exit 1
}

lab_prepare
"$here/../lab/guest-image" --lab "$build/lab-image" || skip "no guest image with fio"
lab_plugins bus_pci bus_vdev mempool_ring net_memif
for program in card-firmware/cardd card-firmware/cardctl host-hv/host-hv card-firmware/emulator/card-emulator; do
	lab_add "$build/$program" "hv/build/$program"
	lab_libraries "$build/$program"
done
lab_add "$build/lab-image/kernel" hv/image/kernel
lab_add "$build/lab-image/initramfs" hv/image/initramfs
lab_add "$emulator/demo" hv/emulator/demo
options=$lab_options
sed "s/\"name\": \"guest-[ab]\",/& \"append\": \"$options\",/" "$emulator/topologies/remote-volumes.json" \
	>"$dir/tools/hv/demo.json"
cat >"$dir/tools/hv/shapes.json" <<END
{ "name": "shapes",
  "cards": [{ "name": "card", "mem_mib": 512, "args": ["--mbufs", "65535"],
    "volumes": [{ "name": "v", "kind": "ram", "size_mib": 16, "block_size": 4096 },
      { "name": "n", "kind": "null", "size_mib": 64 }],
    "functions": [{ "name": "n0", "kind": "net", "queues": 64, "mtu": 9000 },
      { "name": "n1", "kind": "net", "queues": 2, "mtu": 9000 },
      { "name": "b0", "kind": "blk", "volume": "v", "queues": 64 },
      { "name": "b1", "kind": "blk", "volume": "n", "queues": 2 }] }],
  "guests": [
    { "name": "a", "nic": "card/n0", "disk": "card/b0", "cpus": 2, "mem_mib": 192, "ip": "10.77.0.1/24",
      "append": "$options" },
    { "name": "b", "nic": "card/n1", "disk": "card/b1", "restart": true, "ip": "10.77.0.2/24",
      "append": "$options" }] }
END
cat >"$dir/tools/hv/shapes" <<'END'
#!/bin/sh
set -e
on() { card-emulator --timeout-s 100 --exec "$@"; }
all() { card-emulator --timeout-s 400 --wait; }
# of GUEST COLUMN
of() { card-emulator --list | awk -v name="$1" -v column="$2" '$1 == name { print $column }'; }
# changed GUEST COLUMN OLD: waits for it
changed()
{
	n=0
	while [ "$(of "$1" "$2")" = "$3" ]; do
		usleep 100000
		[ $((n = n + 1)) -lt 600 ]
	done
}
[ "$(of a 6) $(of b 6)" = "host-hv host-hv" ]
got=$(on a 'nproc; cat /sys/class/net/eth0/mtu /sys/block/vda/queue/logical_block_size
	ls /sys/class/net/eth0/queues | wc -l; ls /sys/block/vda/mq | wc -l; grep -c virtio /proc/interrupts')
[ "$(echo $got)" = "2 9000 4096 4 2 132" ] || { echo "a has $got"; exit 1; }
on a 'ping -c 3 -s 8900 -w 60 10.77.0.2' | tail -n 2
on a 'head -c 1048576 /dev/urandom >/tmp/x && dd if=/tmp/x of=/dev/vda bs=64k conv=fsync 2>/dev/null &&
	echo 3 >/proc/sys/vm/drop_caches && head -c 1048576 /dev/vda | cmp - /tmp/x'
echo "ok    2 CPUs, 64 queues, MTU of 9000, blocks of 4096"
was=$(of b 4)
card-emulator --kill b
all
[ "$(of b 4)" = $((was + 1)) ]
echo "ok    killed by name, started again"
for word in 'echo c >/proc/sysrq-trigger' 'reboot -f'; do
	was=$(of b 5)
	on b "$word" || :
	all
	[ "$(of b 5)" = $((was + 1)) ]
	[ "$(on b hostname)" = b ]
	echo "ok    begins anew after '$word'"
done
was=$(of b 4)
on b 'poweroff -f' || :
changed b 4 "$was"
all
echo "ok    powered off, started again"
was=$(of b 4)
kill -9 "$(of b 2)"
changed b 4 "$was"
all
[ "$(on b hostname)" = b ]
echo "ok    its process killed, started again"
card-emulator --kill a
for ask in "--timeout-s 2 --wait" "--exec a hostname" "--guest-reset a"; do
	if card-emulator $ask; then exit 1; fi
done
[ "$(of a 3)" = no ]
echo "ok    killed, and not started again"
END
# refused WHAT WORDS CARD GUEST: a topology with that in its card's function, and in its guest
cat >"$dir/tools/hv/refused" <<'END'
#!/bin/sh
refused()
{
	cat >/tmp/refused.json <<-ROW
		{ "name": "refused", "cards": [{ "name": "c", "functions": [{ "name": "n", "kind": "net"$3 }] },
		  { "name": "d", "volumes": [{ "name": "v", "kind": "null", "size_mib": 1 }],
		    "functions": [{ "name": "b", "kind": "blk", "volume": "v" }] }],
		  "guests": [{ "name": "g"$4 }] }
	ROW
	got=$(card-emulator --hypervisor host-hv --image /hv/image --run true /tmp/refused.json 2>&1) &&
		{ echo "not refused: $1"; exit 1; }
	[ "$got" = "card-emulator: guest g cannot run on host-hv: it $2" ] || { echo "refused $1 by: $got"; exit 1; }
	echo "ok    refused: it $2"
}
export PATH=/hv/build/card-firmware/emulator:$PATH
nic=', "nic": "c/n"'
refused "an IOMMU" "has an IOMMU" '' "$nic, \"iommu\": true"
refused "QEMU's NIC" "has options of a QEMU device (nic_options)" '' "$nic, \"nic_options\": \"packed=on\""
refused "QEMU's disk" "has options of a QEMU device (disk_options)" '' ', "disk": "d/b", "disk_options": "x=y"'
refused "client mode" "listens for its card (client)" ', "client": true' "$nic"
refused "a notifier" "has a function with host_notifier" ', "host_notifier": true' "$nic"
refused "two cards" "has functions of two cards" '' "$nic, \"disk\": \"d/b\""
refused "nothing" "has no function of a card" '' ''
END
# The jail wants a root that is not the kernel's first one: the same files, mounted over it.
cat >"$dir/tools/hv/rooted" <<'END'
#!/bin/sh
mkdir -p /tmp/root
export BUILD=/hv/build OUTBOARD_GUEST_IMAGE=/hv/image PATIENCE_S=300
exec unshare -m sh -c 'mount --rbind / /tmp/root && cd /tmp/root && mount --move . / && exec chroot . "$@"' rooted "$@"
END
chmod 755 "$dir/tools/hv/shapes" "$dir/tools/hv/refused" "$dir/tools/hv/rooted"
lab_boot -m 4096
echo "ok    the lab is up: $(($(date +%s) - begun)) s"
# What the probe of the image would find.
in_lab 'echo "$(cat /proc/sys/kernel/random/boot_id) kvm" >/hv/image/accel'

# run NAME COMMAND: with the root that a jail can leave; shows what it prints, fails as it does
run()
{
	in_lab "rm -rf /tmp/run; (/hv/rooted $2; echo status=\$?) >/tmp/out 2>&1 &"
	n=0
	until in_lab 'n=0
		until grep -q ^status= /tmp/out; do
			usleep 100000
			[ $((n = n + 1)) -lt 900 ] || exit 1
		done'; do
		[ $((n = n + 1)) -lt 8 ] || fail "$1 does not end"
	done
	in_lab 'cat /tmp/out' >"$dir/out"
	cat "$dir/out"
	grep -q '^status=0$' "$dir/out" || fail "$1"
	echo "ok    $1: $(($(date +%s) - begun)) s"
}

# Here the root is the initial RAM disk: said in a line, and QEMU is chosen, which the lab does not have.
in_lab '/hv/build/card-firmware/emulator/card-emulator --dir /tmp/no --image /hv/image --run true /hv/demo.json' \
	>"$dir/jail" 2>&1 && fail "QEMU runs there"
grep -q "^card-emulator: guests run under QEMU with KVM: host-hv's jail cannot have a root" "$dir/jail" ||
	fail "without a jail: $(cat "$dir/jail")"
echo "ok    without a jail: $(head -n 1 "$dir/jail")"
run "refused by name" /hv/refused
run "shapes and ends of guests" "/hv/build/card-firmware/emulator/card-emulator --verbose --keep --dir /tmp/run \
	--image /hv/image --start-timeout-s 600 --run /hv/shapes /hv/shapes.json"
grep -q 'guests run on host-hv$' "$dir/out" || fail "shapes: not on host-hv"
run "the demo" "env TOPOLOGY=/hv/demo.json /hv/emulator/demo"
grep -q 'guests run on host-hv$' "$dir/out" || fail "the demo: not on host-hv"
left=$(in_lab 'n=0
	while pidof host-hv >/dev/null && [ $((n = n + 1)) -lt 200 ]; do usleep 100000; done
	pidof host-hv') || true
[ -z "$left" ] || fail "processes of host-hv are left: $left"
echo "66-whole-demo: ok, $(($(date +%s) - begun)) s"
