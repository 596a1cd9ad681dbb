# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by whoever has fio verify a disk of a guest while something happens to it. Each function prints
# commands for the guest's shell.

# fio_start DEVICE MIB: passes of writes of any size, flushes, and reads that compare, one after the other in
# the background. A pass that fails is the last one.
fio_start()
{
	cat <<-END
		rm -rf /tmp/fio; mkdir -p /tmp/fio; echo 0 >/tmp/fio/passes
		cat >/tmp/fio/loop <<"EOT"
		n=0
		while [ ! -e /tmp/fio/stop ]; do
			fio --name=verify --filename=$1 --size=$2m --rw=randwrite --bsrange=4k-64k --direct=1 \\
				--ioengine=libaio --iodepth=8 --fsync=64 --randseed=\$((n + 1)) --verify=crc32c \\
				--verify_backlog=16 --verify_fatal=1 --verify_dump=0 >/tmp/fio/log 2>&1 ||
				{ echo bad >/tmp/fio/end; exit 1; }
			n=\$((n + 1))
			echo \$n >/tmp/fio/new && mv /tmp/fio/new /tmp/fio/passes
		done
		echo good >/tmp/fio/end
		EOT
		sh /tmp/fio/loop >/dev/null 2>&1 &
	END
}

# fio_more N: until N more passes have begun and ended; fails when one failed, or they do not come
fio_more()
{
	cat <<-END
		want=\$((\$(cat /tmp/fio/passes) + $1 + 1)) n=0
		until [ \$(cat /tmp/fio/passes) -ge \$want ]; do
			n=\$((n + 1))
			[ ! -e /tmp/fio/end ] && [ \$n -lt 500 ] || { tail -n 5 /tmp/fio/log; exit 1; }
			usleep 100000
		done
	END
}

# fio_stop: ends it after the pass that runs; prints how many there were. Fails when one failed.
fio_stop()
{
	cat <<-END
		touch /tmp/fio/stop
		n=0
		until [ -e /tmp/fio/end ]; do
			n=\$((n + 1))
			[ \$n -lt 500 ] || exit 1
			usleep 100000
		done
		cat /tmp/fio/passes
		[ "\$(cat /tmp/fio/end)" = good ] || { tail -n 5 /tmp/fio/log; exit 1; }
	END
}
