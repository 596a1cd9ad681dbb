# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Sourced by whoever wants a machine whose KVM runs Linux: a guest of QEMU's whose emulated CPU has AMD's
# extensions, with programs of ours in its initial RAM disk. $here is tests/functional, $build the build folder;
# the caller has fail(), and adds what it needs between lab_prepare and lab_boot.
# shellcheck disable=SC2154 # the caller's

# What guests in the lab need in their kernel's command line. Emulated, XSETBV does not leave a guest, so KVM restores
# another XCR0 than the guest's: without XSAVE. In the lab, /hv/line has the whole line as $line.
lab_options="noxsave cryptomgr.notests"

# lab_prepare: $image, the kernel and first programs, and $dir, a new folder
lab_prepare()
{
	command -v qemu-system-x86_64 >/dev/null || skip "no qemu-system-x86_64"
	[ -x "$build/host-hv/host-hv" ] || skip "no host-hv"
	image=$build/kvm-image
	"$here/../lab/guest-image" --kvm "$image" || skip "no guest image"
	dir=$(mktemp -d)
	lab=
	trap lab_cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	mkdir -p "$dir/tools/hv" "$dir/inner/bin" "$dir/inner/dev" "$dir/inner/proc" "$dir/inner/sys"
	echo "line='console=ttyS0 panic=-1 quiet $lab_options'" >"$dir/tools/hv/line"
	lab_program "$build/tests/host-hv/hold_vm"
}

# What is left of it, on any exit.
lab_cleanup()
{
	[ -z "${lab:-}" ] || kill "$lab" 2>/dev/null || :
	[ -z "${lab:-}" ] || wait "$lab" 2>/dev/null || :
	[ -z "${dir:-}" ] || rm -rf "$dir"
}

# lab_add FILE PATH: to what the lab has besides the image
lab_add()
{
	mkdir -p "$dir/tools/${2%/*}"
	cp -L "$1" "$dir/tools/$2"
}

# lab_program FILE: into the lab's /bin, with the libraries that it needs
lab_program()
{
	lab_add "$1" "bin/${1##*/}"
	lab_libraries "$1"
}

lab_libraries()
{
	ldd "$1" | grep -o '/[^ ]*' | while read -r lib; do
		lab_add "$lib" "${lib#/}"
	done
}

# lab_inner MODULE...: /hv/inner, an initial RAM disk for the guests in the lab: busybox, these modules of the
# image, what they need, and $dir/inner, whose init the caller writes.
lab_inner()
{
	modules="$*"
	mkdir -p "$dir/unpacked"
	(cd "$dir/unpacked" && zcat "$image/initramfs" | cpio --quiet -id)
	tree=$(cd "$dir/unpacked"/lib/modules/* && pwd)
	cp "$dir/unpacked/bin/busybox" "$dir/inner/bin/"
	ln -s busybox "$dir/inner/bin/sh"
	for module in $modules; do
		line=$(grep "/$module.ko:" "$tree/modules.dep") || continue # it is part of the kernel
		for file in ${line%%:*} ${line#*:}; do
			mkdir -p "$dir/inner${tree#"$dir/unpacked"}/${file%/*}"
			cp "$tree/$file" "$dir/inner${tree#"$dir/unpacked"}/$file"
		done
	done
	cp "$tree/modules.dep" "$dir/inner${tree#"$dir/unpacked"}/"
	rm -rf "$dir/unpacked"
	chmod 755 "$dir/inner/init"
	(cd "$dir/inner" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$dir/tools/hv/inner"
}

# lab_boot [OPTION...]: of QEMU's; returns once KVM is there. Its process is $lab. Shared memory is huge by advice:
# of the exits of a boot four in five would be a guest's first touch of a small page.
lab_boot()
{
	cp "$image/initramfs" "$dir/initrd"
	truncate -s %4 "$dir/initrd" # an archive begins at a multiple of four
	(cd "$dir/tools" && find . | cpio --quiet -o -H newc -R 0:0) >>"$dir/initrd"
	# With a tick that comes again by itself: the emulator can lose an interrupt of a CPU that is in a guest. With a
	# thread for each CPU: with one for all the emulator gives guests interrupts twice (docs/hypervisor.md).
	qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu EPYC,+svm,+npt -smp 2 -m 2048 -nodefaults \
		-no-user-config -no-reboot -display none -serial "file:$dir/console" \
		-chardev "socket,id=agent,path=$dir/agent,server=on,wait=off" -serial chardev:agent \
		-monitor "unix:$dir/monitor,server=on,wait=off" \
		-kernel "$image/kernel" -initrd "$dir/initrd" \
		-append "console=ttyS0 panic=-1 quiet nohz=off highres=off cryptomgr.notests ob.name=lab" "$@" \
		>"$dir/qemu.out" 2>&1 &
	lab=$!
	# With a VM that is always there: KVM rewrites code of the lab's kernel for the first one and after the last.
	in_lab 'echo advise >/sys/kernel/mm/transparent_hugepage/shmem_enabled
		modprobe kvm-amd && hold_vm' ||
		fail "no KVM in the lab: $(cat "$dir/qemu.out")"
}

# in_lab COMMAND [SECONDS]: in the lab, 200 s long at most, or so long
in_lab() { python3 "$here/../lab/agent.py" "$dir/agent" "$1" "${2:-200}"; }

# lab_state: what explains a guest that hangs: where the emulated CPUs are, whether in a guest or not, and whether
# with interrupts on (0x200 of RFL); and what KVM has counted, twice with a second between them.
lab_state()
{
	[ -S "$dir/monitor" ] || return 0
	for _ in 1 2 3; do
		python3 "$here/../lab/monitor.py" "$dir/monitor" "info registers -a" | grep -a -E '^CPU|^R[BIS]P|^RIP|^CR[0-4]'
	done || :
	in_lab 'mount -t debugfs none /sys/kernel/debug 2>/dev/null; uptime; ps -o pid,stat,args | grep -v "\]$"
		for _ in 1 2; do
			for f in /sys/kernel/debug/kvm/*-*/exits /sys/kernel/debug/kvm/*-*/*_exits /sys/kernel/debug/kvm/*-*/irq_inj*; do
				[ -f $f ] || continue
				value=$(cat $f)
				[ "$value" = 0 ] || echo "${f#/sys/kernel/debug/kvm/} $value"
			done
			sleep 1
		done 2>/dev/null' 30 || :
}

# lab_plugins NAME...: DPDK's buses, pools and drivers, which are libraries that it looks for itself
lab_plugins()
{
	for plugin in "$@"; do
		for file in /usr/lib/*/dpdk/pmds-*/librte_"$plugin".so.*; do
			[ -e "$file" ] || continue # DPDK is linked in
			lab_add "$file" "${file#/}"
			lab_libraries "$file"
		done
	done
}

# lab_card: programs of a card and of its host, for lab_card_start
lab_card()
{
	for program in card-firmware/cardd card-firmware/cardctl host-hv/host-hv; do
		lab_program "$build/$program"
	done
	lab_plugins bus_pci bus_vdev mempool_ring
	cat >"$dir/tools/hv/card" <<-'END'
		export PATH=/bin OUTBOARD_SOCKET=/tmp/card/rpc
		ctl() { cardctl "$@"; }
		# card_start: cardd with /tmp/card/config; returns once it is ready
		card_start()
		{
			mkdir -p /tmp/card/state /var/run
			rm -f /tmp/card/out
			mkfifo /tmp/card/out
			cardd --name lab --config /tmp/card/config --socket-dir /tmp/card --rpc-socket /tmp/card/rpc \
				--agent-socket /tmp/card/agents --state-dir /tmp/card/state --mem-mib 64 --mbufs 4095 \
				--log-level warn >/tmp/card/out 2>>/tmp/card/err 3>&- 4>&- &
			echo $! >/tmp/card/pid
			line=
			read -r line </tmp/card/out
			[ "$line" = ready ]
		}
		card_kill()
		{
			kill -9 "$(cat /tmp/card/pid)"
			while kill -0 "$(cat /tmp/card/pid)" 2>/dev/null; do usleep 10000; done
		}
		# agent_start: the host's. Its jail wants a root file system that is not the kernel's first one, which
		# can be no other's parent: the same files, mounted over it.
		agent_start()
		{
			mkdir -p /tmp/root
			unshare -m sh -c 'mount --rbind / /tmp/root && cd /tmp/root && mount --move . / &&
				exec chroot . host-hv --agent --card /tmp/card/agents' >>/tmp/card/err 2>&1 &
			echo $! >/tmp/card/agent
			agent_wait
		}
		# agent_wait: it has reached the card
		agent_wait()
		{
			n=0
			until ctl vm agent | grep -q 'connected.*yes'; do
				n=$((n + 1))
				if [ $n -ge 300 ]; then
					echo "the agent does not reach its card"
					return 1
				fi
				usleep 100000
			done
		}
	END
}
