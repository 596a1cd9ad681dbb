#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest sends TSO frames and partial checksums to ports that take neither: an af_packet uplink, and a
# guest whose device was given no receive offloads. The payload arrives unchanged.
# Usage: 23-guest-offload.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
if [ "${1:-}" != --inside ]; then
	root=$(cd "$(dirname "$0")/../.." && pwd)
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	off=guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ufo=off
	sed "s/\"name\": \"guest2\",/\"name\": \"guest2\", \"nic_options\": \"$off\",/" \
		"$root/card-firmware/emulator/topologies/one-card-two-guests.json" >"$dir/t.json"
	(lab_run "$dir/t.json" "$0" guest1 guest2) || exit $?
	unshare -n true 2>/dev/null || unshare -rn true 2>/dev/null || {
		echo "no network namespaces here: the af_packet half was left out"
		exit 0
	}
	(lab_run two-cards-veth.json "$0" guest-a guest-b) || exit $?
	exit 0
fi

# transfer FROM TO ADDRESS-OF-FROM
transfer()
{
	want=$(in_guest "$1" 'mkdir -p /tmp/www && head -c 8388608 /dev/urandom >/tmp/www/data &&
		(httpd -p 8080 -h /tmp/www 2>/dev/null || true) && sha256sum </tmp/www/data')
	got=$(in_guest "$2" "wget -q -O - http://$3:8080/data | sha256sum")
	[ "$want" = "$got" ] || fail "payload $1 -> $2 changed or was cut"
	echo "$1 -> $2: 8 MiB unchanged"
}

transfer "$2" "$3" 10.77.0.1
transfer "$3" "$2" 10.77.0.2
errors=$(in_guest "$3" "awk '/^Tcp:/ && n++ { print \$15 }' /proc/net/snmp")
[ "$errors" = 0 ] || fail "$errors TCP segments with bad checksums at $3"
