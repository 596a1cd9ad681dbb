#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Requests cut into segments of any length at any address, up to the advertised limits, against disks on
# files with O_DIRECT, which takes none of that: blocks of 512 and 4096 bytes, split and packed rings, tables
# and chains in the ring, memory in several regions.
# Usage: 34-blk-shapes.sh BUILD-DIR
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"

# Not in memory: a file system there only pretends to do direct I/O.
images=$(mktemp -d "${1:-build}/shapes.XXXXXX")
images=$(cd "$images" && pwd)
trap 'card_cleanup; rm -rf "$images"' EXIT

# direct_disk NAME BLOCK-SIZE SEG-MAX
direct_disk()
{
	cat <<-END
		{"method": "bdev_uring_create", "params": {"name": "v-$1", "filename": "$images/$1",
		  "block_size": $2, "num_blocks": $((33554432 / $2)), "direct": true}},
		{"method": "vhost_create_blk_controller", "params": {"ctrlr": "$1", "dev_name": "v-$1",
		  "seg_max": $3}}
	END
}
{
	echo '['
	direct_disk small 512 126
	echo ,
	direct_disk large 4096 1000
	echo ']'
} >"$dir/config"
card_start

case $(uname -m) in
aarch64) o_direct=0200000 ;;
*) o_direct=040000 ;;
esac
direct=
for fd in /proc/"$card"/fd/*; do
	[ "$(readlink "$fd")" = "$images/small" ] || continue
	flags=$(sed -n 's/^flags:[^0-9]*//p' "/proc/$card/fdinfo/${fd##*/}")
	[ $((flags & o_direct)) -eq 0 ] || direct=yes
done
[ -n "$direct" ] || {
	echo "skip: no direct I/O in $images"
	exit 77
}

seed=1
for disk in small large; do
	for ring in split packed; do
		for tables in "" --direct; do
			size=256
			[ $disk = small ] || size=2048
			# shellcheck disable=SC2086
			"$vdrv" blk-shapes --socket "$dir/$disk" --ring $ring --ring-size $size --regions 3 \
				--requests 300 --max-bytes 262144 --seed $seed --json $tables \
				>"$dir/shapes" 2>>"$dir/err" || fail "$disk $ring $tables: $(cat "$dir/shapes")"
			echo "$disk $ring $tables: $(cat "$dir/shapes")"
			grep -q '"refused": 4,' "$dir/shapes" || fail "$disk: the limits were not tried"
			seed=$((seed + 1))
		done
	done
done
# The service goes on.
card_stop
