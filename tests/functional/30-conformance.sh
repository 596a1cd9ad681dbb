#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vdrv conformance against a living cardd: disk and NIC, split and packed rings with each feature; an idle
# front-end; what a driver sees of "cardctl volume resize".
# Usage: 30-conformance.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

{
	echo '['
	file_disk disk 4
	cat <<-END
		,{"method": "bdev_malloc_create", "params": {"name": "ram", "num_blocks": 65536,
		  "block_size": 4096}},
		{"method": "volume_set_wear", "params": {"name": "ram", "pre_eol_info": 2,
		  "life_time_a": 9, "life_time_b": 11}},
		{"method": "vhost_create_blk_controller", "params": {"ctrlr": "d4k", "dev_name": "ram",
		  "num_queues": 2, "packed_ring": true}},
		{"method": "net_create", "params": {"name": "n0", "mac": "02:00:00:00:00:01",
		  "queue_pairs": 2}},
		{"method": "net_create", "params": {"name": "n1", "mac": "02:00:00:00:00:02"}}]
	END
} >"$dir/config"
card_start

# conforms NAME ARGUMENT...: passes, and offers a packed ring and IN_ORDER among the rest
conforms()
{
	name=$1
	shift
	"$vdrv" conformance --brief "$@" >"$dir/table" 2>&1 || fail "$name: $(cat "$dir/table")"
	# Nothing of the matrix may be missing
	! grep -q 'n/o.*|' "$dir/table" || fail "$name: $(cat "$dir/table")"
	grep -q '^packed yes *yes *yes .* pass ' "$dir/table" || fail "$name: $(cat "$dir/table")"
	echo "$name: $(tail -n 1 "$dir/table")"
}
conforms disk --type blk --socket "$dir/disk"
conforms "disk of 4 KiB blocks" --type blk --socket "$dir/d4k"
grep -q '^wear of the media .* pass .* pass' "$dir/table" || fail "wear: $(cat "$dir/table")"
conforms NIC --type net --socket "$dir/n0" --peer "$dir/n1"

# An attached front-end keeps all its rings running and leaves on SIGTERM.
for kind in blk net; do
	socket=disk rings=4
	[ $kind = blk ] || socket=n0 rings=5
	rm -f "$dir/held"
	mkfifo "$dir/held"
	"$vdrv" attach --type $kind --socket "$dir/$socket" >"$dir/held" 2>>"$dir/err" &
	helpers=$!
	line=
	read -r line <"$dir/held" || :
	[ "$line" = attached ] || fail "attach to $socket: '$line'"
	verb=disk
	[ $kind = blk ] || verb=net
	"$cardctl" --socket "$dir/rpc" --json $verb show $socket >"$dir/shown"
	grep -q "\"queues_running\": ${rings}[,}]" "$dir/shown" ||
		fail "$socket: not $rings rings run: $(cat "$dir/shown")"
	kill "$helpers"
	wait "$helpers" || fail "attach to $socket: ended with $?"
	helpers=
done

# The driver hears of a resize, reads the new size and can use it.
rm -f "$dir/sizes"
mkfifo "$dir/sizes"
"$vdrv" blk-config --socket "$dir/disk" >"$dir/sizes" 2>>"$dir/err" &
helpers=$!
exec 3<"$dir/sizes"
read -r line <&3
[ "$line" = "capacity 131072" ] || fail "blk-config: '$line'"
"$cardctl" --socket "$dir/rpc" volume resize v-disk num_blocks=196608 || fail "volume resize"
read -r line <&3
[ "$line" = "changed 196608" ] || fail "blk-config: '$line'"
exec 3<&-
wait "$helpers" || fail "blk-config: ended with $?"
helpers=
card_stop
