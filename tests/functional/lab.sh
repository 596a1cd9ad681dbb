# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests that need guests. Each script calls itself again inside the emulator: the part after
# lab_run sees $OUTBOARD_DIR, card-emulator and cardctl.

# shellcheck source=tests/functional/common.sh
. "$(dirname "$0")/common.sh"

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

# lab_run TOPOLOGY SCRIPT [ARG...]: run "SCRIPT --inside ARG..." in the emulator. Does not return. With
# LAB=yes guests have fio. These tests are of QEMU's guests, whatever else there is.
lab_run()
{
	topology=$1 script=$2
	shift 2
	root=$(cd "$(dirname "$script")/../.." && pwd)
	[ -n "${BUILD:-}" ] || fail "no build folder: give it as argument or in BUILD"
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
	image=$BUILD/guest-image lab=
	[ "${LAB:-no}" = no ] || image=$BUILD/lab-image lab=--lab
	# shellcheck disable=SC2086 # a word or none
	"$root/tests/lab/guest-image" $lab "$image" || skip "no guest image"
	case $topology in
	/*) ;;
	*) topology=$root/card-firmware/emulator/topologies/$topology ;;
	esac
	exec "$BUILD/card-firmware/emulator/card-emulator" --image "$image" --verbose --hypervisor qemu \
		--run "$script" "$topology" -- --inside "$@"
}

# in_guest GUEST COMMAND...
in_guest()
{
	guest=$1
	shift
	card-emulator --exec "$guest" --timeout-s 60 -- "$*"
}

# start_writer GUEST: files of 256 KiB, each synced, its sum noted only after that; until stop_writer
start_writer()
{
	in_guest "$1" 'mkdir -p /mnt; grep -q ' /mnt ' /proc/mounts || { mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt; }
	rm -f /tmp/stop /tmp/acked /tmp/writer-done; touch /tmp/acked
	cat >/tmp/writer <<-"END"
		i=0
		while [ ! -e /tmp/stop ]; do
			f=/mnt/w$((i % 150))
			sed -i "\| $f\$|d" /tmp/acked
			dd if=/dev/urandom of=$f bs=64k count=4 conv=fsync 2>/dev/null || break
			sha256sum $f >>/tmp/acked
			i=$((i + 1))
		done
		echo $i >/tmp/writer-done
	END
	sh /tmp/writer >/dev/null 2>&1 &'
}

# stop_writer GUEST: prints "WRITTEN NOTED GOOD" after reading back from the disk
stop_writer()
{
	in_guest "$1" 'touch /tmp/stop; n=0
		while [ ! -e /tmp/writer-done ] && [ $n -lt 300 ]; do usleep 100000; n=$((n + 1)); done
		umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount /dev/vda /mnt
		echo $(cat /tmp/writer-done) $(wc -l </tmp/acked) \
			$(sha256sum -c /tmp/acked 2>/dev/null | grep -c OK)'
}
