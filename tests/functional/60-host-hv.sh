#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# host-hv boots Debian's kernel: in a Linux guest of QEMU's whose emulated CPU has AMD's extensions, since KVM of
# this machine may not run kernels. Each row is one guest of host-hv; the last ones are the same guest under QEMU's
# microvm and under host-hv, timed: once, or with ROUNDS only these, so many times, and host-hv's once more with the
# words that the card gives its guests, as a benchmark.
# Usage: 60-host-hv.sh BUILD-DIR [ROUNDS]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/functional/common.sh
. "$here/common.sh"
# shellcheck source=tests/functional/hv_lab.sh
. "$here/hv_lab.sh"
build=$(cd "${1:-build}" && pwd)
rounds=${2:-}
count=${rounds:-1}

fail()
{
	echo "FAIL: $*" >&2
	tail -n 20 "$dir/console" >&2 || true
	in_lab 'tail -n 25 /tmp/out' >&2 || true
	lab_state >&2
	exit 1
}

# The figure is that of a kernel with its self-tests.
[ -z "$rounds" ] || lab_options=${lab_options% cryptomgr.notests}
lab_prepare
qemu=$(command -v qemu-system-x86_64)
lab_program "$build/host-hv/host-hv"
lab_program "$qemu"
for rom in qemu/pvh.bin qemu/linuxboot_dma.bin qemu/bios-microvm.bin seabios/bios-microvm.bin qemu/qboot.rom; do
	[ ! -e "/usr/share/$rom" ] || lab_add "/usr/share/$rom" "usr/share/$rom"
done
lab_add "$image/bzimage" hv/bzimage
lab_add "$image/kernel" hv/vmlinux

# The first process of the guests in the lab: does what the command line says.
cat >"$dir/inner/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
echo "init: up cpus=$(grep -c ^processor /proc/cpuinfo) $(cut -d ' ' -f 1 /proc/uptime)"
for word in $(cat /proc/cmdline); do
	case $word in
	ob.do=*) do=${word#*=} ;;
	esac
done
case $do in
reboot) reboot -f ;;
panic) echo c >/proc/sysrq-trigger ;;
echo)
	echo "init: listens" # whatever was typed before, the kernel threw away when it opened the console
	read -r line
	echo "init: heard $line"
	;;
memory) grep MemTotal /proc/meminfo ;;
button)
	modprobe button
	modprobe evdev
	exec 3</dev/input/event0
	echo "init: waits"
	dd bs=24 count=1 of=/dev/null <&3 2>/dev/null
	echo "init: pressed"
	;;
esac
poweroff -f
INIT

# What the lab does: a row's console goes to /tmp/out line by line.
cat >"$dir/tools/hv/lab" <<'LAB'
cd /hv
now() { cut -d ' ' -f 1 /proc/uptime; }
# watch COMMAND...: run it; exec to the guest's /init, in seconds, goes to /tmp/up, and to /tmp/own what of that was
# not the guest's own code (field 43 of proc(5)'s stat, in ticks of 10 ms)
watch()
{
	rm -f /tmp/console /tmp/typed /tmp/up /tmp/own
	mkfifo /tmp/console /tmp/typed
	exec 4<>/tmp/typed
	begun=$(now)
	"$@" <&4 >/tmp/console 2>&1 & # without a redirection it would have nothing to read
	child=$!
	: >/tmp/out
	while read -r line; do
		echo "$line" >>/tmp/out
		case $line in
		"init: up"*)
			echo "$(now) $begun $(cut -d ' ' -f 43 /proc/$child/stat)" >/tmp/times
			awk '{ print $1 - $2 }' /tmp/times >/tmp/up
			awk '{ print $1 - $2 - $3 / 100 }' /tmp/times >/tmp/own
			;;
		"init: listens"*) echo hello >&4 ;;
		"init: waits"*) kill -TERM $child ;;
		esac
	done </tmp/console
	exec 4>&-
	wait $child
}
. /hv/line
hv() { watch host-hv --initrd inner --cmdline "$line $do" "$@"; }
LAB
lab_inner button evdev
lab_boot
words=$(sed -n 's/^#define CARD_VM_CMDLINE "\(.*\)"/\1/p' "$here/../../card-firmware/vm.h")
[ -n "$words" ] || fail "vm.h: no words of the card's"

# boot WHAT STATUS WHAT-IS-SAID COMMAND
boot()
{
	in_lab ". /hv/lab; $4; echo status=\$? own=\$(cat /tmp/own) up=\$(cat /tmp/up); cat /tmp/out" >"$dir/row" ||
		fail "$1: lab"
	grep -q "^status=$2 " "$dir/row" || fail "$1: not status $2: $(cat "$dir/row")"
	grep -q "$3" "$dir/row" || fail "$1: no '$3': $(cat "$dir/row")"
	if grep -E 'unchecked MSR|WARNING: CPU' "$dir/row"; then fail "$1: the kernel complains"; fi
	echo "ok    $1: $(sed -n 's,^status=.* own=\(.*\) up=\(.*\),\2 s to /init; not the guest: \1 s,p' "$dir/row")"
}

row() { [ -n "$rounds" ] || boot "$@"; }

row "bzImage, powers off" 0 'init: up cpus=1' 'do=off hv --kernel bzimage'
row "two CPUs" 0 'init: up cpus=2' 'do=off hv --kernel bzimage --vcpus 2'
row "ELF by its PVH note" 0 'init: up cpus=1' 'do=off hv --kernel vmlinux'
row "memory above 4 GiB" 0 'MemTotal: *3[0-9]\{6\} kB' 'do=ob.do=memory hv --kernel bzimage --mem-mib 3584'
row "CPU template baseline" 0 'init: up cpus=1' 'do=off hv --kernel bzimage --cpu baseline'
row "CPU template v3" 0 'init: up cpus=1' 'do=off hv --kernel bzimage --cpu v3'
row "console input" 0 'init: heard hello' 'do=ob.do=echo hv --kernel bzimage'
row "the card's words" 0 'init: heard hello' "do=\"$words ob.do=echo\" hv --kernel bzimage"
row "power button" 0 'init: pressed' 'do=ob.do=button hv --kernel bzimage'
row "split irqchip, two CPUs" 0 'init: up cpus=2' 'do=off hv --kernel bzimage --vcpus 2 --split-irqchip'
row "split irqchip, console input" 0 'init: heard hello' 'do=ob.do=echo hv --kernel bzimage --split-irqchip'
row "split irqchip, power button" 0 'init: pressed' 'do=ob.do=button hv --kernel bzimage --split-irqchip'
row "reboots" 3 'why=reboot' 'do=ob.do=reboot hv --kernel bzimage --vcpus 2'
row "reboots by ACPI" 3 'why=reboot' 'do="ob.do=reboot reboot=a" hv --kernel bzimage'
row "reboots by port 0x64" 3 'why=reboot' 'do="ob.do=reboot reboot=k" hv --kernel bzimage'
row "reboots by port 0xcf9" 3 'why=reboot' 'do="ob.do=reboot reboot=p" hv --kernel bzimage'
row "triple fault" 4 'why=shutdown' 'do="ob.do=reboot reboot=t" hv --kernel bzimage'
row "panics" 3 'Kernel panic' 'do=ob.do=panic hv --kernel bzimage'

# The same kernel and guest under both, in turns.
peer='-M microvm,pit=off,pic=off,rtc=on,isa-serial=on -accel kvm -cpu host -m 256 -nodefaults -no-user-config'
peer="qemu-system-x86_64 -L /usr/share/qemu $peer -no-reboot -display none -serial stdio"
for n in $(seq "$count"); do
	boot "microvm $n" 0 'init: up' "watch $peer -kernel vmlinux -initrd inner -append \"\$line\""
	sed -n 's/^status=.* up=//p' "$dir/row" >>"$dir/peer"
	boot "host-hv $n" 0 'init: up' 'do=off hv --kernel vmlinux --mem-mib 256'
	sed -n 's/^status=.* up=//p' "$dir/row" >>"$dir/ours"
	[ -z "$rounds" ] || boot "host-hv-defaults $n" 0 'init: up' "do=\"$words\" hv --kernel vmlinux --mem-mib 256"
done
median() { sort -n "$1" | sed -n "$(((count + 1) / 2))p"; }
echo "exec to /init, median of $count: QEMU microvm $(median "$dir/peer") s, host-hv $(median "$dir/ours") s"
