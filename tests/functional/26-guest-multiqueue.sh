#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A Linux guest with four queue pairs takes downloads from one with a single pair, started on each of its
# CPUs: they come in by several queues, because its CPUs transmit on several (VIRTIO 1.3, 5.1.6.5.5).
# Usage: 26-guest-multiqueue.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
PAIRS=4
if [ "${1:-}" != --inside ]; then
	root=$(cd "$(dirname "$0")/../.." && pwd)
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	sed -e "s/\"name\": \"net2\", \"kind\": \"net\"/&, \"queues\": $PAIRS/" \
		-e "s/\"name\": \"guest2\",/& \"cpus\": $PAIRS,/" \
		"$root/card-firmware/emulator/topologies/one-card-two-guests.json" >"$dir/t.json"
	(lab_run "$dir/t.json" "$0") || exit $?
	exit 0
fi

# Packets that each pair of net2 took to the guest, in one line.
delivered()
{
	cardctl --socket "$OUTBOARD_DIR/card/rpc.sock" --all net stats net2 |
		awk '/^  pair/ { n++ } /^ *tx_packets/ { print $2 }' | tr '\n' ' '
}

queues=$(in_guest guest2 'ls -d /sys/class/net/eth0/queues/rx-* | wc -l')
[ "$queues" -eq $PAIRS ] || fail "the guest has $queues receive queues"
want=$(in_guest guest1 'mkdir -p /tmp/www && head -c 1048576 /dev/urandom >/tmp/www/data &&
	(httpd -p 8080 -h /tmp/www 2>/dev/null || true) && sha256sum </tmp/www/data')
before=$(delivered)
for cpu in 0 1 2 3; do
	got=$(in_guest guest2 "for i in 1 2 3; do
		taskset -c $cpu wget -q -O - http://10.77.0.1:8080/data | sha256sum; done | sort -u")
	[ "$want" = "$got" ] || fail "payload to CPU $cpu: $got, not $want"
done
after=$(delivered)
# shellcheck disable=SC2086 # one number for each pair, twice
used=$(printf '%s\n' $before $after |
	awk -v n=$PAIRS '{ v[NR] = $1 } END { for (i = 1; i <= n; i++) u += v[n + i] - v[i] > 20; print u + 0 }')
echo "packets by pair: before $before, after $after: $used pairs used"
[ "$used" -gt 1 ] || fail "one queue of $PAIRS got everything"
