# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by tests that drive one cardd with vdrv. Give the build folder to card_env; the files of the
# test are in $dir, which lies in memory so that disk images outlive a killed cardd and cost no disk.

card_env()
{
	cardd=$1/card-firmware/cardd
	cardctl=$1/card-firmware/cardctl
	vdrv=$1/tests/driver/vdrv
	need_built "$cardd" "$cardctl" "$vdrv"
	[ -w /dev/shm ] || {
		echo "skip: no /dev/shm"
		exit 77
	}
	dir=$(mktemp -d /dev/shm/outboard-test.XXXXXX)
	card=
	helpers=
	trap card_cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# need_built FILE...: skips unless these are there
need_built()
{
	for file in "$@"; do
		[ -e "$file" ] || {
			echo "skip: $file is not built"
			exit 77
		}
	done
}

# need_kvm FILE...: skips unless these are built and KVM is there
need_kvm()
{
	need_built "$@"
	[ -w /dev/kvm ] || {
		echo "skip: no KVM"
		exit 77
	}
}

card_cleanup()
{
	for p in $helpers $card; do
		kill -9 "$p" 2>/dev/null || :
	done
	rm -rf "$dir"
}

fail()
{
	echo "FAIL: $*"
	[ ! -f "$dir/err" ] || tail -n 20 "$dir/err"
	exit 1
}

# card_start [OPTION]...: cardd with $dir/config in the background; returns once it is ready.
card_start()
{
	rm -f "$dir/out"
	mkfifo "$dir/out"
	"$cardd" --name test --config "$dir/config" --socket-dir "$dir" --rpc-socket "$dir/rpc" \
		--mem-mib 128 --mbufs 8191 --log-level warn "$@" >"$dir/out" 2>>"$dir/err" &
	card=$!
	line=
	read -r line <"$dir/out" || :
	[ "$line" = ready ] || fail "cardd does not start"
}

card_kill()
{
	kill -9 "$card"
	wait "$card" 2>/dev/null || :
	card=
}

card_stop()
{
	kill "$card"
	wait "$card" || fail "cardd ended with $?"
	card=
}

# file_disk NAME QUEUES: calls that make a disk of 64 MiB on a file in $dir
file_disk()
{
	cat <<-END
		{"method": "bdev_uring_create", "params": {"name": "v-$1", "filename": "$dir/$1.img",
		  "block_size": 512, "num_blocks": 131072, "direct": false}},
		{"method": "vhost_create_blk_controller", "params": {"ctrlr": "$1", "dev_name": "v-$1",
		  "num_queues": $2, "packed_ring": true}}
	END
}
