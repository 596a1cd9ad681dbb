#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A guest without a kernel, on this machine's KVM, over functions of a real card: what it writes it reads
# back, blocks and frames, in split and in packed rings. No request leaves KVM; and while the card is killed
# and started again in the middle of them, the guest only waits.
# Usage: 61-host-hv-device.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"
hv=$1/tests/host-hv/hv_device
guest=$1/tests/host-hv/guest.bin
need_kvm "$hv" "$guest"

{
	echo '['
	file_disk disk 1
	cat <<-END
		,{"method": "net_create", "params": {"name": "n0", "mac": "02:00:00:00:00:01"}},
		{"method": "net_create", "params": {"name": "n1", "mac": "02:00:00:00:00:02"}}]
	END
} >"$dir/config"
card_start

# guest NAME ARGUMENT...: runs to its end; the card is killed and started when it asks for that
guest()
{
	name=$1
	shift
	rm -f "$dir/says"
	mkfifo "$dir/says"
	"$hv" "$guest" "$@" >"$dir/says" 2>>"$dir/err" &
	helpers=$!
	: >"$dir/said"
	while read -r line; do
		echo "$line" >>"$dir/said"
		[ "$line" = restart ] || continue
		card_kill
		card_start
	done <"$dir/says"
	wait "$helpers" || fail "$name: $(cat "$dir/said")"
	helpers=
	echo "$name: $(grep '^guest' "$dir/said"), $(grep '^exits' "$dir/said")"
}

for layout in "" "--packed"; do
	# shellcheck disable=SC2086 # options
	guest "disk, ${layout:-split}" --blk "$dir/disk" --requests 3000 $layout
	# shellcheck disable=SC2086 # options
	guest "NICs, ${layout:-split}" --net "$dir/n0" --net "$dir/n1" --requests 3000 $layout
	# shellcheck disable=SC2086 # options
	guest "restart, ${layout:-split}" --blk "$dir/disk" --net "$dir/n0" --net "$dir/n1" \
		--requests 100 --restart $layout
	grep -q '^function 0: connects=[2-9] drops=[1-9] timeouts=0 nonsense=0 refusals=0 unfit=0' \
		"$dir/said" || fail "restart: $(cat "$dir/said")"
done
card_stop
