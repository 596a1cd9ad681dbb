#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Linux guests whose IOMMU stands between them and the card, NIC and disk: every buffer is mapped and
# unmapped again (iommu.strict=1), and traffic and disk data are what they were.
# Usage: 29-guest-iommu.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
if [ "${1:-}" != --inside ]; then
	root=$(cd "$(dirname "$0")/../.." && pwd)
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	behind='"iommu": true, "append": "intel_iommu=on iommu.strict=1 iommu.passthrough=0"'
	options='iommu_platform=on,ats=on,disable-legacy=on'
	sed -e "s/\"name\": \"guest[12]\",/& $behind, \"nic_options\": \"$options\", \"disk_options\": \"$options\",/" \
		"$root/card-firmware/emulator/topologies/one-card-two-guests.json" >"$dir/t.json"
	(lab_run "$dir/t.json" "$0") || exit $?
	exit 0
fi

# A counter of the card's, of a function and its queues together.
counter()
{
	cardctl --socket "$OUTBOARD_DIR/card/rpc.sock" --all "$1" stats "$2" |
		awk -v k="$3" '$1 == k || $1 == k ":" { n += $2 } END { print n + 0 }'
}

features=$(in_guest guest1 'cat /sys/bus/virtio/devices/virtio*/features')
# Bit 33 is ACCESS_PLATFORM, the first one is on the left
for f in $features; do
	[ "$(echo "$f" | cut -c 34)" = 1 ] || fail "a device without ACCESS_PLATFORM: $f"
done
[ "$(echo "$features" | wc -l)" -eq 2 ] || fail "not two devices: $features"
in_guest guest1 'ls /sys/class/iommu/*/devices' | grep -q 0000: || fail "no device behind the IOMMU"

in_guest guest2 'ping -c 3 -W 5 10.77.0.1' >/dev/null || fail "no ping"
want=$(in_guest guest1 'mkdir -p /tmp/www && head -c 1048576 /dev/urandom >/tmp/www/data &&
	(httpd -p 8080 -h /tmp/www 2>/dev/null || true) && sha256sum </tmp/www/data')
for i in 1 2 3; do
	got=$(in_guest guest2 'wget -q -O - http://10.77.0.1:8080/data | sha256sum')
	[ "$want" = "$got" ] || fail "payload of download $i: $got, not $want"
done

start_writer guest1
n=0
until [ "$(in_guest guest1 'wc -l </tmp/acked')" -ge 10 ]; do
	in_guest guest2 'wget -q -O - http://10.77.0.1:8080/data' >/dev/null || fail "no download"
	n=$((n + 1))
	[ $n -lt 50 ] || fail "the writer does not get on"
done
# shellcheck disable=SC2046 # three numbers
set -- $(stop_writer guest1)
echo "disk: $1 files written, $2 noted, $3 good"
[ "$1" -ge 10 ] && [ "$2" -eq "$3" ] || fail "disk data lost"
# Each function had its addresses from the front-end, and lost them again, all the time
for f in 'net net1' 'net net2' 'disk blk1'; do
	# shellcheck disable=SC2086 # kind and name
	updates=$(counter $f iotlb_updates) gone=$(counter $f iotlb_invalidates)
	# shellcheck disable=SC2086
	echo "$f: $updates updates, $gone invalidations, $(counter $f iommu_waits) waits"
	[ "$updates" -gt 500 ] && [ "$gone" -gt 500 ] || fail "$f is not behind the IOMMU"
done
