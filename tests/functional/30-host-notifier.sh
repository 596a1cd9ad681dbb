#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Pages of the card's where a guest kicks (vhost-user, HOST_NOTIFIER): QEMU maps them over the doorbells of
# a NIC and of a disk; traffic and disk data are what they were, and no kick takes the way of an eventfd.
# Another disk's doorbells are not pages of their own: QEMU refuses, and its kicks come as ever.
# Usage: 30-host-notifier.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
if [ "${1:-}" != --inside ]; then
	root=$(cd "$(dirname "$0")/../.." && pwd)
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	pages='page-per-vq=on,disable-legacy=on'
	sed -e 's/"kind": "\(net\|blk\)"/&, "host_notifier": true/' \
		-e "s/\"name\": \"guest[12]\",/& \"append\": \"iomem=relaxed\", \"nic_options\": \"$pages\",/" \
		-e "s/\"name\": \"guest1\",/& \"disk_options\": \"$pages\",/" \
		-e 's/"name": "guest2",/& "disk_options": "disable-legacy=on",/' \
		"$root/card-firmware/emulator/topologies/one-card-two-guests.json" >"$dir/t.json"
	(lab_run "$dir/t.json" "$0") || exit $?
	exit 0
fi

# The process that serves: it has made the pages.
card=
for p in /proc/[0-9]*; do
	find "$p/fd" -lname '*outboard-doorbells*' 2>/dev/null | grep -q . || continue
	tr '\0' '\n' <"$p/cmdline" | grep -qF "$OUTBOARD_DIR/" && card=$p
done
[ -n "$card" ] || fail "no process of the card has pages for kicks"

# Kicks so far: workers never read what they wait for, so its counter is their number. (A worker's own
# eventfd, which wakes it, is among them: it is not written while the worker polls.)
kicks()
{
	for epoll in "$card/fd/"*; do
		[ "$(readlink "$epoll")" = 'anon_inode:[eventpoll]' ] || continue
		awk '$1 == "tfd:" { print $2 }' "$card/fdinfo/${epoll##*/}"
	done | sort -u | while read -r fd; do
		awk '$1 == "eventfd-count:" { print $2 }' "$card/fdinfo/$fd"
	done | while read -r hex; do echo $((0x$hex)); done | awk '{ n += $1 } END { print n + 0 }'
}

# Pages of ring $1 in which $2 (four hexadecimal digits) stands.
pages_with()
{
	find "$card/fd" -lname '*outboard-doorbells*' | while read -r fd; do
		dd if="$fd" bs=4096 skip="$1" count=1 2>/dev/null | od -An -tx2 -N2
	done | grep -c "$2" || :
}

# mapped GUEST: pages of the card's that QEMU has mapped for it, by the numbers of their rings
mapped()
{
	python3 - "$OUTBOARD_DIR/$1/monitor" <<-'END'
		import re, socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(30)
		s.connect(sys.argv[1])
		def prompt():
		    text = ""
		    while not text.endswith("(qemu) "):
		        text += s.recv(65536).decode()
		    return text
		prompt()
		s.sendall(b"info mtree\n")
		found = set(re.findall(r"(vhost-user/host-notifier@\w+) mmaps\[(\d+)\]", prompt()))
		print(*sorted(int(n) for _, n in found))
	END
}

# doorbell GUEST TYPE OFFSET VALUE: store it there, in the notification structure of the device
doorbell()
{
	in_guest "$1" "for d in /sys/bus/pci/devices/*; do
		[ \$(cat \$d/device) = $2 ] || continue
		set -- \$(sed -n 5p \$d/resource)
		devmem \$((\$1 + 0x3000 + $3)) 16 $4
	done"
}

for g in guest1 guest2; do
	echo "$g: $(mapped $g)"
done
[ "$(mapped guest1)" = '0 0 1' ] || fail "guest1: a NIC's two rings and a disk's one are not mapped"
[ "$(mapped guest2)" = '0 1' ] || fail "guest2: a NIC's two rings and nothing else are not mapped"

in_guest guest2 'ping -c 3 -W 5 10.77.0.1' >/dev/null || fail "no ping"
before=$(kicks)
want=$(in_guest guest1 'mkdir -p /tmp/www && head -c 4194304 /dev/urandom >/tmp/www/data &&
	(httpd -p 8080 -h /tmp/www 2>/dev/null || true) && sha256sum </tmp/www/data')
for i in 1 2 3; do
	got=$(in_guest guest2 'wget -q -O - http://10.77.0.1:8080/data | sha256sum')
	[ "$want" = "$got" ] || fail "payload of download $i: $got, not $want"
done
# A driver that kicks though nobody asked for it
doorbell guest1 0x1041 0x1000 0x5a5a
[ "$(pages_with 1 5a5a)" -eq 1 ] || fail "the kick did not reach the card's page"
after=$(kicks)
echo "eventfds: $before kicks before the traffic, $after after it"
[ "$before" -eq "$after" ] || fail "kicks took the way of an eventfd"
doorbell guest2 0x1042 0 0
[ "$(kicks)" -eq $((after + 1)) ] || fail "a kick where QEMU refused the page is lost"

for g in guest1 guest2; do
	start_writer $g
	n=0
	until [ "$(in_guest $g 'wc -l </tmp/acked')" -ge 10 ]; do
		n=$((n + 1))
		[ $n -lt 100 ] || fail "the writer does not get on"
	done
	# shellcheck disable=SC2046 # three numbers
	set -- $(stop_writer $g)
	echo "$g, disk: $1 files written, $2 noted, $3 good"
	[ "$1" -ge 10 ] || fail "the writer has written little"
	[ "$2" -eq "$3" ] || fail "disk data lost"
done

# A driver lets go of the NIC and takes it again: the page goes and comes back
# shellcheck disable=SC2016 # the guest's shell expands it
nic=$(in_guest guest1 'for d in /sys/bus/virtio/drivers/virtio_net/virtio*; do basename $d; done')
in_guest guest1 "echo $nic >/sys/bus/virtio/drivers/virtio_net/unbind"
[ "$(mapped guest1)" = 0 ] || fail "pages of a NIC without a driver are still mapped"
in_guest guest1 "echo $nic >/sys/bus/virtio/drivers/virtio_net/bind"
n=0
until [ "$(mapped guest1)" = '0 0 1' ]; do
	n=$((n + 1))
	[ $n -lt 50 ] || fail "the NIC's pages did not come back"
done
