#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vdrv conformance against a back-end that is not ours: qemu-storage-daemon's vhost-user-blk export. It must
# pass the whole matrix of what it offers; the one rule that its library does not follow is named here.
# Usage: 34-conformance-peer.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"
command -v qemu-storage-daemon >/dev/null || {
	echo "skip: no qemu-storage-daemon"
	exit 77
}

truncate -s 16M "$dir/image"
# It returns when the daemon listens.
qemu-storage-daemon --daemonize --pidfile "$dir/pid" \
	--blockdev driver=file,node-name=file,filename="$dir/image" \
	--export type=vhost-user-blk,id=export,node-name=file,addr.type=unix,addr.path="$dir/socket",writable=on \
	>"$dir/err" 2>&1 || fail "qemu-storage-daemon does not start"
helpers=$(cat "$dir/pid")

status=0
"$vdrv" conformance --brief --socket "$dir/socket" >"$dir/table" 2>>"$dir/err" || status=$?
cat "$dir/table"
# A descriptor that points to a table ends libvhost-user's list, but it only looks at the first one.
known='^direct descriptors, then an indirect one '
grep -v "$known" "$dir/table" | grep FAIL && fail "a row that other back-ends pass"
grep -q "$known *FAIL" "$dir/table" || [ $status -eq 0 ] || fail "ended with $status"
grep -q '^split  yes      yes         -  .* pass ' "$dir/table" || fail "no traffic"
grep -q '^packed .* n/o ' "$dir/table" || echo "this one has a packed ring"
