#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest moves from one card to another in mid traffic: its disk, which both cards have from one file, loses
# no write; ping goes on; QEMU's figure for the downtime is printed.
# Usage: [MIGRATE=postcopy] 25-migrate.sh BUILD-DIR
set -eu
# shellcheck source=/dev/null
. "$(dirname "$0")/lab.sh"
[ "${1:-}" = --inside ] || BUILD=${1:-${BUILD:-}}
export BUILD="${BUILD:-}"
if [ "${1:-}" != --inside ]; then
	command -v python3 >/dev/null || skip "no python3"
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	cat >"$dir/t.json" <<-END
		{"name": "migrate",
		 "cards": [
		  {"name": "card-a", "volumes": [{"name": "disk0", "kind": "file", "size_mib": 64}],
		   "functions": [{"name": "net0", "kind": "net"},
		    {"name": "blk0", "kind": "blk", "volume": "disk0"}],
		   "uplinks": [{"name": "up0"}]},
		  {"name": "card-b", "functions": [{"name": "net0", "kind": "net"}, {"name": "net1", "kind": "net"}],
		   "uplinks": [{"name": "up0"}]}],
		 "links": [{"kind": "memif", "ends": ["card-a/up0", "card-b/up0"]}],
		 "guests": [{"name": "peer", "ip": "10.77.0.2/24", "nic": "card-b/net1"}]}
	END
	status=0
	(lab_run "$dir/t.json" "$0") || status=$?
	exit $status
fi

file=$(find "$OUTBOARD_DIR/card-a" -name 'disk0*' -size 65536k)
[ -f "$file" ] || fail "where is card-a's volume?"
b=$OUTBOARD_DIR/card-b/rpc.sock
cardctl --socket "$b" volume create-file disk0 filename="$file" block_size=512 shared=yes >/dev/null
cardctl --socket "$b" disk create blk0 dev_name=disk0 >/dev/null
# shellcheck disable=SC2086 # a word or none
exec python3 "$(dirname "$0")/migrate.py" "$BUILD/guest-image" ${MIGRATE:-}
