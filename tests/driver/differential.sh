#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The same requests to a disk of cardd and to one of qemu-storage-daemon: differential.sh VDRV CARDD
set -u
vdrv=$1 cardd=$2
command -v qemu-storage-daemon >/dev/null || exit 77
dir=$(mktemp -d /tmp/diff.XXXXXX) || exit 1
pids=
finish() {
  for p in $pids; do kill "$p" 2>/dev/null; wait "$p" 2>/dev/null; done
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

truncate -s 32M "$dir/qsd.img"
cat >"$dir/config" <<END
[{"method": "bdev_uring_create", "params": {"name": "v", "filename": "$dir/cardd.img",
  "block_size": 512, "num_blocks": 65536, "direct": false}},
 {"method": "vhost_create_blk_controller", "params": {"ctrlr": "disk", "dev_name": "v"}}]
END
"$cardd" --name diff --config "$dir/config" --rpc-socket "$dir/rpc" --socket-dir "$dir" --cores 0 \
  --mem-mib 64 --mbufs 2047 --log-level err >"$dir/log" &
pids=$!
qemu-storage-daemon --blockdev "file,node-name=n,filename=$dir/qsd.img,discard=unmap" \
  --export "type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=$dir/qsd,writable=on" \
  2>"$dir/qsd.log" & # it comments on each request that it refuses
pids="$pids $!"
n=0
while ! grep -qs ready "$dir/log" || [ ! -S "$dir/qsd" ]; do
  n=$((n + 1))
  [ "$n" -lt 600 ] || exit 1
  sleep 0.1
done
"$vdrv" blk-diff --a "$dir/disk" --b "$dir/qsd"
