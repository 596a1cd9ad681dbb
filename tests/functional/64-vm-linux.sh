#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian's kernel in jailed guests of host-hv that a real card commands, in a machine whose KVM runs kernels: two
# guests with a disk and a NIC each boot, write, get more memory, talk to each other, outlive their card, get one more
# disk and lose it again, see their disk grow, reboot, and are switched off by their power button.
# Usage: 64-vm-linux.sh BUILD-DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/functional/common.sh
. "$here/common.sh"
# shellcheck source=tests/functional/hv_lab.sh
. "$here/hv_lab.sh"
build=$(cd "${1:-build}" && pwd)
begun=$(date +%s)

fail()
{
	echo "FAIL: $*" >&2
	tail -n 5 "$dir/console" >&2 || true
	in_lab 'tail -n 10 /tmp/card/err; for g in a b; do OUTBOARD_SOCKET=/tmp/card/rpc; export OUTBOARD_SOCKET
		cardctl vm show $g; cardctl vm console $g </dev/null | tail -n 25; done' >&2 || true
	lab_state >&2
	exit 1
}

lab_prepare
lab_card
lab_add "$image/kernel" hv/vmlinux

# The first process of the guests: does the lines that it reads.
cat >"$dir/inner/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /mnt /tmp /etc
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
stty -echo
for module in virtio_pci virtio_blk virtio_net ext4 button evdev; do
	modprobe -q $module
done
# within SECONDS COMMAND: it succeeds
within()
{
	end=$(($(cut -d . -f 1 /proc/uptime) + $1))
	until eval "$2"; do
		if [ "$(cut -d . -f 1 /proc/uptime)" -ge $end ]; then
			echo "not within $1 s: $2"
			return 1
		fi
		usleep 100000
	done
}
echo "init: up"
while read -r line; do
	eval "$line"
done
INIT
# Files, each with its sum noted once it is on the disk.
cat >"$dir/inner/writer" <<'WRITER'
i=0
while [ ! -e /tmp/stop ] && [ $i -lt 600 ]; do
	dd if=/dev/urandom of=/mnt/w$i bs=64k count=1 conv=fsync 2>/dev/null || break
	sha256sum /mnt/w$i >>/tmp/acked
	i=$((i + 1))
done
WRITER
mkdir -p "$dir/image"
(cd "$dir/image" && zcat "$image/initramfs" | cpio --quiet -id)
for file in bin/mkfs.ext4 etc/mke2fs.conf; do
	mkdir -p "$dir/inner/${file%/*}"
	cp "$dir/image/$file" "$dir/inner/$file"
done
for folder in lib usr lib64; do
	[ ! -d "$dir/image/$folder" ] || cp -a "$dir/image/$folder" "$dir/inner/"
done
rm -rf "$dir/inner/lib/modules" "$dir/image"
lab_inner virtio_pci virtio_blk virtio_net ext4 button evdev

# In the lab. What a guest is told is one line, and ends with a line of its own number, which is waited for; a
# guest's console is all that it said since its card began.
cat >"$dir/tools/hv/guests" <<'END'
. /hv/card
said() { ctl vm console "$1" </dev/null; }
# until_ SECONDS COMMAND...: it succeeds
until_()
{
	limit=$1 end=$(($(date +%s) + $1))
	shift
	until "$@"; do
		if [ "$(date +%s)" -ge $end ]; then
			echo "not within $limit s: $*"
			return 1
		fi
		usleep 100000
	done
}
ups() { [ "$(said "$1" | grep -c '^init: up')" -ge "$2" ]; }
state() { ctl vm show "$1" | grep -q "^state: $2"; }
done_() { said "$1" | grep -q "^done-$2="; }
# on GUEST COMMAND: prints what it prints; its status
on()
{
	n=$(($(cat /tmp/seq 2>/dev/null || echo 0) + 1))
	echo $n >/tmp/seq
	echo "echo begin-$n; { $2; }; status=\$?; echo; echo done-$n=\$status" | ctl vm console "$1" >/dev/null
	until_ 90 done_ "$1" $n || { echo "no answer from $1 to: $2"; return 124; }
	said "$1" | tr -d '\r' | sed -n "/^begin-$n\$/,/^done-$n=/p" | sed '1d;$d' | sed '$d'
	[ "$(said "$1" | tr -d '\r' | sed -n "s/^done-$n=//p")" = 0 ]
}
END

lab_boot
echo "ok    the lab is up: $(($(date +%s) - begun)) s"

# step WHAT COMMANDS: in the lab, each has to succeed
step()
{
	in_lab ". /hv/guests; set -e; $2" 300 >"$dir/row" 2>&1 || fail "$1: $(cat "$dir/row")"
	echo "ok    $1: $(($(date +%s) - begun)) s${3:+, $(tail -n 1 "$dir/row")}"
}

step "card and agent" '
	mkdir -p /tmp/card
	for d in d0 d1 d2; do
		truncate -s 64M /tmp/card/$d.img
		cat <<-ROW
			{"method": "bdev_uring_create", "params": {"name": "v-$d", "filename": "/tmp/card/$d.img",
			  "block_size": 512, "num_blocks": 65536, "direct": false}},
			{"method": "vhost_create_blk_controller", "params": {"ctrlr": "$d", "dev_name": "v-$d"}},
		ROW
	done >/tmp/card/calls
	{
		echo "["
		cat /tmp/card/calls
		echo "{\"method\": \"net_create\", \"params\": {\"name\": \"n0\", \"mac\": \"02:00:00:00:00:01\"}},"
		echo "{\"method\": \"net_create\", \"params\": {\"name\": \"n1\", \"mac\": \"02:00:00:00:00:02\"}}]"
	} >/tmp/card/config
	card_start
	agent_start
	. /hv/line
	set -- mem_mib=256 mem_max_mib=512 kernel=/hv/vmlinux initrd=/hv/inner
	ctl vm create a "$@" cmdline="$line memhp_default_state=online" functions=d0,n0
	ctl vm create b "$@" cmdline="$line memhp_default_state=online" functions=d1,n1'
step "two guests boot" '
	ctl vm start a
	ctl vm start b
	until_ 270 ups a 1
	until_ 270 ups b 1'
step "jailed while Linux runs" '
	pid=$(ctl vm show a | sed -n "s/^pid: //p")
	n=0
	for s in /proc/$pid/task/*/status; do
		grep -q "^Seccomp:.2" $s && grep -q "^NoNewPrivs:.1" $s && grep -q "^CapEff:.0*$" $s &&
			grep -q "^CapPrm:.0*$" $s && grep -q "^CapInh:.0*$" $s && grep -q "^CapAmb:.0*$" $s
		n=$((n + 1))
	done
	[ $n -ge 2 ]
	[ "$(ls /proc/$pid/root | wc -l)" = 0 ]'
step "drivers by PCI, with MSI-X" '
	on a "grep -c PCI-MSI.*virtio /proc/interrupts; ls /dev/vda /sys/class/net/eth0" | grep -q "^[5-9]$"'
step "a file system, written and read back" '
	on a "mkfs.ext4 -qF /dev/vda && mount /dev/vda /mnt && dd if=/dev/urandom of=/mnt/f bs=64k count=64 2>/dev/null"
	on a "sha256sum /mnt/f >/tmp/sum; umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda /mnt"
	on a "sha256sum -c /tmp/sum"'

# What is added is the one memory of zone Normal, which Linux gives first: the file fills most of it, and the disk is
# written from there and read into it.
step "memory is added, and guest and card use it" '
	on a "total() { grep MemTotal /proc/meminfo | tr -dc 0-9; }; was=\$(total)"
	ctl vm resize a mem_mib=384
	on a "within 60 \"[ \\\$((\\\$(total) - was)) -ge 126000 ]\""
	on a "mkdir /big; mount -t tmpfs -o size=110m big /big; for i in \$(seq 25); do cat /mnt/f; done >/big/f"
	on a "[ \$(grep -A 1 \"zone *Normal\" /proc/zoneinfo | tail -n 1 | tr -dc 0-9) -lt 16384 ]"
	on a "for i in \$(seq 25); do cat /mnt/f; done | cmp - /big/f"
	on a "head -c 32m /big/f >/mnt/big; umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda /mnt"
	on a "head -c 32m /big/f | cmp - /mnt/big && rm /mnt/big && umount /big"
	ctl vm resize b mem_mib=384
	ctl vm resize b mem_mib=512'
step "ping and TCP between two guests" '
	on a "ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up; ip link set lo up"
	on b "ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up; tail -f /dev/null | nc -l -p 7 >/tmp/got & :"
	on a "ping -c 3 -W 10 10.0.0.2 >/tmp/ping; grep -q ttl= /tmp/ping"
	on b "within 60 \"grep -qs :0007 /proc/net/tcp /proc/net/tcp6\""
	on a "nc 10.0.0.2 7 </mnt/f"
	on a "sha256sum </mnt/f" >/tmp/a.sum
	on b "killall tail; wait; sha256sum </tmp/got" >/tmp/b.sum
	grep -q "[0-9a-f]\{64\}" /tmp/a.sum
	cmp /tmp/a.sum /tmp/b.sum'

# The card is killed while the guest writes, each file's sum noted once it is on the disk, and pings.
step "outlives its card twice" '
	on a "touch /tmp/acked; ping 10.0.0.2 >/tmp/ping 2>&1 & sh /writer & :"
	for k in 1 2; do
		on a "was=\$(wc -l </tmp/acked); within 60 \"[ \\\$(wc -l </tmp/acked) -ge \$((was + 2)) ]\""
		card_kill
		card_start
		agent_wait
		until_ 60 state a running
		until_ 60 state b running
		on a "was=\$(wc -l </tmp/acked); within 60 \"[ \\\$(wc -l </tmp/acked) -ge \$((was + 2)) ]\""
		on a "was=\$(grep -c ttl= /tmp/ping); within 60 \"[ \\\$(grep -c ttl= /tmp/ping) -ge \$((was + 2)) ]\""
	done
	on a "killall ping; touch /tmp/stop; wait"
	on a "umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda /mnt"
	on a "sha256sum -c /tmp/acked >/tmp/checked 2>&1"
	on a "grep -c OK /tmp/checked; wc -l </tmp/acked" >/tmp/n
	[ "$(sed -n 1p /tmp/n)" = "$(sed -n 2p /tmp/n)" ]
	on a "! dmesg | grep -i \"i/o error\\| reset\\|timed out\\|EXT4-fs error\""
	sed -n "1s/\$/ files on the disk/p" /tmp/n' figures

step "a second disk comes and goes" '
	ctl vm add-function a d2
	on a "within 60 \"[ -b /dev/vdb ]\""
	on a "dd if=/mnt/f of=/dev/vdb bs=64k conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches"
	on a "dd if=/dev/vdb bs=64k count=64 2>/dev/null | cmp - /mnt/f"
	ctl vm remove-function a d2
	on a "within 60 \"[ ! -e /dev/vdb ]\""
	gone() { ! ctl vm show a | grep -q "name: d2"; }
	until_ 60 gone
	on a "[ \"\$(ls /sys/bus/pci/devices | wc -l)\" = 3 ]"'
step "its disk grows" '
	truncate -s 96M /tmp/card/d0.img
	ctl volume resize v-d0 num_blocks=98304
	on a "within 60 \"[ \\\$(cat /sys/block/vda/size) = 98304 ]\""'
step "reboots, and is there again by itself" '
	was=$(said b | grep -c "^init: up") || :
	echo "reboot -f" | ctl vm console b >/dev/null
	until_ 270 ups b $((was + 1))
	on b "[ -b /dev/vda ] && [ -e /sys/class/net/eth0 ]"'
step "with the memory that was added before" '
	on b "[ \$(grep MemTotal /proc/meminfo | tr -dc 0-9) -ge 448000 ]"'
step "powers off by itself, and by the power button" '
	echo "poweroff -f" | ctl vm console b >/dev/null
	on a "umount /mnt; exec 9</dev/input/event0; { dd bs=24 count=1 <&9 >/dev/null 2>&1; poweroff -f; } & :"
	ctl vm power-button a
	for g in a b; do
		until_ 120 state $g stopped
		ctl vm show $g | grep -q "^end: off"
	done'
