# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced, after netns.sh, by tests with a Linux guest whose NICs are TAP devices of the test's network
# namespace: a host or a target of another make for our card, which runs outside of it.
# shellcheck disable=SC2154 # the caller's

# lab_image BUILD MODE: kernel and programs of the guest; before the namespace, which has no network
lab_image()
{
	[ "$2" != --inside ] || return 0
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
	"$here/../lab/guest-image" --lab "$1/lab-image" || skip "no guest image"
}

# lab_guest: boots it with eth0 on tap0 and eth1 on tap1; 192.0.2.1 and 198.51.100.1 are this side's, .2 the
# guest's. Its process is $guest.
lab_guest()
{
	image=$build/lab-image
	accel="-accel tcg,thread=multi -cpu max"
	! grep -q ' kvm$' "$image/accel" || accel="-accel kvm -cpu host"
	nics=
	for n in 0 1; do
		ip tuntap add "tap$n" mode tap
		ip link set "tap$n" up
		nics="$nics -netdev tap,id=n$n,ifname=tap$n,script=no,downscript=no"
		nics="$nics -device virtio-net-pci,netdev=n$n,mac=02:00:00:00:00:0$n"
	done
	address $$ tap0 192.0.2.1/24
	address $$ tap1 198.51.100.1/24
	# shellcheck disable=SC2086 # lists of words
	qemu-system-x86_64 -M q35 $accel -smp 2 -m 384 -nodefaults -no-user-config -no-reboot -display none \
		-serial "file:$dir/console.out" -chardev "socket,id=agent,path=$dir/agent,server=on,wait=off" \
		-serial chardev:agent $nics -kernel "$image/kernel" -initrd "$image/initramfs" \
		-append "console=ttyS0 panic=-1 quiet ob.name=guest ob.ip=192.0.2.2/24" >"$dir/qemu.out" 2>&1 &
	guest=$!
	pids="$pids $guest"
	in_lab 'ip addr add 198.51.100.2/24 dev eth1 && ip link set eth1 up && uname -r' >"$dir/release" ||
		fail "the guest does not come up"
}

# in_lab COMMAND: in the guest, 60 s long at most
in_lab()
{
	python3 "$here/../lab/agent.py" "$dir/agent" "$1"
}

# lab_is WHAT COMMAND: until the command succeeds in the guest, which tries it 200 times
lab_is()
{
	in_lab "n=0; until $2; do n=\$((n + 1)); [ \$n -lt 200 ] || exit 1; usleep 100000; done" ||
		fail "$1: $(in_lab 'dmesg | tail -n 25')"
}

# ok WHAT: a line for whoever reads the log
ok()
{
	echo "ok    $*"
}
