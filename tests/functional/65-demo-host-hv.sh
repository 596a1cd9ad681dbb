#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The emulator runs Linux guests on host-hv, in a machine whose KVM runs kernels: one card, two guests that ping
# each other; the card is killed while a command runs in one of them, which gets its answer; a guest is reset; nothing
# is left of them afterwards.
# Usage: 65-demo-host-hv.sh BUILD-DIR
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
	in_lab 'cat /tmp/out; tail -n 8 /tmp/run/*/log /tmp/run/*/host-hv.log /tmp/run/*/console.log' >&2 || true
	lab_state >&2
	exit 1
}

lab_prepare
lab_card
lab_program "$build/card-firmware/emulator/card-emulator"
lab_add "$image/kernel" hv/image/kernel
lab_add "$image/initramfs" hv/image/initramfs
cat >"$dir/tools/hv/topology.json" <<END
{ "name": "small",
  "cards": [{ "name": "card", "mem_mib": 64, "args": ["--mbufs", "4095"],
    "volumes": [{ "name": "v", "kind": "ram", "size_mib": 16 }],
    "functions": [{ "name": "n0", "kind": "net" }, { "name": "n1", "kind": "net" },
      { "name": "b0", "kind": "blk", "volume": "v" }] }],
  "guests": [
    { "name": "a", "nic": "card/n0", "disk": "card/b0", "ip": "10.77.0.1/24", "append": "$lab_options" },
    { "name": "b", "nic": "card/n1", "ip": "10.77.0.2/24", "append": "$lab_options" }] }
END
cat >"$dir/tools/hv/inside" <<'END'
#!/bin/sh
set -e
on() { card-emulator --timeout-s 100 --exec "$@"; }
card-emulator --list
on a 'ping -c 3 -w 60 10.77.0.2' | tee /tmp/ping
grep -q "3 packets received" /tmp/ping
[ "$(on b 'head -c 3000 /dev/urandom | od | head -c 5000 | wc -c')" = 5000 ]
on a 'head -c 1048576 /dev/urandom >/tmp/x && dd if=/tmp/x of=/dev/vda bs=64k conv=fsync 2>/dev/null &&
	echo 3 >/proc/sys/vm/drop_caches && head -c 1048576 /dev/vda | cmp - /tmp/x && echo disk ok'
# It says on the console that it has begun, and ends once the disk takes another write: after the card is back.
on a 'echo >>/tmp/ran; echo begun >/dev/ttyS0; sleep 3
	dd if=/tmp/x of=/dev/vda bs=64k conv=fsync 2>/dev/null && echo ran $(wc -l </tmp/ran)' >/tmp/ran &
asked=$!
n=0
until grep -q begun /tmp/run/a/console.log; do
	usleep 100000
	[ $((n = n + 1)) -lt 600 ]
done
card-emulator --kill card
card-emulator --timeout-s 100 --wait
wait $asked
grep '^ran 1$' /tmp/ran
echo "the command ran once and was answered"
on a 'ping -c 3 -w 60 10.77.0.2' | tee /tmp/ping
grep -q " packets received" /tmp/ping
if grep -q " 0 packets received" /tmp/ping; then exit 1; fi
card-emulator --guest-reset b --timeout-s 400
[ "$(on b hostname)" = b ]
card-emulator --list
echo "the last step, after $(cut -d. -f1 /proc/uptime) s"
END
# The jail wants a root that is not the kernel's first one: the same files, mounted over it.
cat >"$dir/tools/hv/emulate" <<'END'
#!/bin/sh
mkdir -p /tmp/root
exec unshare -m sh -c 'mount --rbind / /tmp/root && cd /tmp/root && mount --move . / &&
	exec chroot . card-emulator --verbose --image /hv/image "$@"' emulate "$@"
END
chmod 755 "$dir/tools/hv/inside" "$dir/tools/hv/emulate"
lab_boot
echo "ok    the lab is up: $(($(date +%s) - begun)) s"
# What the probe of the image would find.
in_lab 'echo "$(cat /proc/sys/kernel/random/boot_id) kvm" >/hv/image/accel'

# In a second no guest is up; how long it may take is for the caller to say.
if in_lab '/hv/emulate --dir /tmp/short --start-timeout-s 1 /hv/topology.json' >"$dir/short" 2>&1; then
	fail "up in a second: $(cat "$dir/short")"
fi
grep -q ' is not .* after 1 s' "$dir/short" || fail "in a second: $(cat "$dir/short")"
echo "ok    a time limit: $(($(date +%s) - begun)) s, $(tail -n 1 "$dir/short")"

in_lab '(/hv/emulate --dir /tmp/run --keep --start-timeout-s 400 --run /hv/inside /hv/topology.json
	echo status=$?) >/tmp/out 2>&1 &'
n=0
until in_lab 'n=0; until grep -q ^status= /tmp/out; do usleep 100000; [ $((n = n + 1)) -lt 1000 ] || exit 1; done'; do
	[ $((n = n + 1)) -lt 5 ] || fail "the emulator does not end"
done
in_lab 'cat /tmp/out' >"$dir/out"
cat "$dir/out"
grep -q 'guests run on host-hv$' "$dir/out" || fail "not on host-hv"
grep -q '^status=0$' "$dir/out" || fail "a step"
left=$(in_lab 'n=0; while pidof host-hv >/dev/null && [ $((n = n + 1)) -lt 200 ]; do usleep 100000; done; pidof host-hv') || true
[ -z "$left" ] || fail "processes of host-hv are left: $left"
echo "65-demo-host-hv: ok, $(($(date +%s) - begun)) s"
