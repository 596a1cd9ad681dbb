#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Virtual machines by cardctl, on this machine's KVM: the agent of host-hv starts a guest without a kernel in
# its jail, with a disk and a NIC of the card; the guest goes on while the card is killed and started again, and
# has new connections to its functions then.
# Usage: 63-vm.sh BUILD-DIR; HOST_HV names another host-hv
set -eu
# shellcheck source=tests/functional/card.sh
. "$(dirname "$0")/card.sh"
card_env "${1:-build}"
hv=${HOST_HV:-$1/host-hv/host-hv}
need_kvm "$hv"
mkdir "$dir/state"
{
	echo '['
	file_disk disk 1
	echo ',{"method": "net_create", "params": {"name": "n0", "mac": "02:00:00:00:00:01"}}]'
} >"$dir/config"

start()
{
	card_start --agent-socket "$dir/agents" --state-dir "$dir/state"
}

ctl()
{
	"$cardctl" --socket "$dir/rpc" "$@"
}

# field NAME: of the VM
field()
{
	ctl vm show g --json | sed -n "s/^ *\"$1\": \"\\{0,1\\}\\([^\",]*\\).*/\\1/p" | head -n 1
}

# await FIELD VALUE: within 30 s; what is asked for is asked again and again
await()
{
	end=$(($(date +%s) + 30))
	until [ "$(field "$1")" = "$2" ]; do
		[ "$(date +%s)" -lt "$end" ] || fail "$1 is $(field "$1"), not $2: $(ctl vm show g)"
	done
}

# await_output TEXT: as above, at the console
await_output()
{
	end=$(($(date +%s) + 30))
	until ctl vm console g </dev/null | grep -q "$1"; do
		[ "$(date +%s)" -lt "$end" ] || fail "console: $(ctl vm console g </dev/null)"
	done
}

# A flat program, entered at 1 MiB: writes "up" and a line feed, then back what is typed; r resets it, c has it
# crash, q ends it.
#   mov dx,3f8; mov al,'u'; out; mov al,'p'; out; mov al,'\n'; out; mov dx,3f9; mov al,2; out (it may interrupt)
#   l: mov dx,3fd; in; test al,1; jz l; mov dx,3f8; in; out; cmp al,'q'; je q; cmp al,'c'; je c; cmp al,'r'; jne l
#   mov dx,cf9; mov al,6; out; jmp $; q: mov dx,f4; mov al,1; out; jmp $; c: ud2
printf '\146\272\370\003\260\165\356\260\160\356\260\012\356\146\272\371\003\260\002\356' >"$dir/program"
printf '\146\272\375\003\354\250\001\164\367\146\272\370\003\354\356\074\161\164\021\074\143\164\026\074\162\165\345' \
	>>"$dir/program"
printf '\146\272\371\014\260\006\356\353\376\146\272\364\000\260\001\356\353\376\017\013' >>"$dir/program"

start
"$hv" --agent --card "$dir/agents" 2>>"$dir/err" &
helpers=$!
end=$(($(date +%s) + 30))
until ctl vm agent | grep -q 'connected.*\(true\|yes\)'; do
	[ "$(date +%s)" -lt "$end" ] || fail "no agent: $(ctl vm agent)"
done
if ctl vm create g mem_mib=16 kernel="$dir/program" cpu_template=v9 2>"$dir/refused"; then fail "template v9"; fi
grep -q 'no template v9' "$dir/refused" || fail "$(cat "$dir/refused")"
ctl vm create g mem_mib=16 mem_max_mib=1024 vcpus=2 kernel="$dir/program" flat=true functions=disk,n0 cpu_template=host
if ctl net delete n0 2>/dev/null; then fail "a function of a VM was deleted"; fi
ctl vm start g
[ "$(field state)" = running ] || fail "$(ctl vm show g)"
await_output up
pid=$(field pid)
echo "started, pid $pid"
# Its address space has room for all that it may be given, and what OURS_MIB and THREAD_MIB of sandbox.c say.
grep -q "^Max address space  *$(((1024 + 256 + 2 * 96) << 20)) " "/proc/$pid/limits" ||
	fail "$(cat "/proc/$pid/limits")"
ctl vm pause g
await state paused
ctl vm resume g
await state running

# Memory that it is given it has, and what cannot be is refused.
ctl vm resize g mem_mib=144
memory()
{
	end=$(($(date +%s) + 30))
	until [ "$(ctl vm show g --json | grep -c '"mem_mib": 144')" = 2 ]; do
		[ "$(date +%s)" -lt "$end" ] || fail "memory: $(ctl vm show g --json)"
	done
}
memory
for mib in 143 145 1025; do
	if ctl vm resize g mem_mib=$mib 2>"$dir/refused"; then fail "memory of $mib MiB"; fi
	grep -q 'mem_mib: ' "$dir/refused" || fail "$(cat "$dir/refused")"
done

for how in leave term; do
	python3 "${0%/*}/vm_console.py" "$how" "$cardctl" "$dir/rpc" g
done
python3 "${0%/*}/vm_console.py" lost "$cardctl" "$dir/rpc" g "$card"
wait "$card" 2>/dev/null || :
start
await state running

for i in 1 2 3; do
	card_kill
	start
	await state running
	[ "$(field cpu_template)" = host ] || fail "$(ctl vm show g)"
	[ "$(field pid)" = "$pid" ] || fail "another process: $(field pid), not $pid"
	printf 'again%s' "$i" | ctl vm console g >/dev/null
	await_output "again$i"
	end=$(($(date +%s) + 30))
	until [ "$(ctl vm show g --json | grep -c '"waits": false')" = 2 ] &&
		[ "$(field reconnects)" -ge 2 ]; do
		[ "$(date +%s)" -lt "$end" ] || fail "functions wait: $(ctl vm show g --json)"
	done
done
echo "the guest outlived its card 3 times"

# A guest that resets itself has another process, with what it had; one that crashes stays down.
printf r | ctl vm console g >/dev/null
await reboots 1
await state running
[ "$(field pid)" != "$pid" ] || fail "the process of before: $(ctl vm show g)"
end=$(($(date +%s) + 30))
until [ "$(ctl vm show g --json | grep -c '"present": true')" = 2 ]; do
	[ "$(date +%s)" -lt "$end" ] || fail "functions are missing: $(ctl vm show g --json)"
done
memory
printf anew | ctl vm console g >/dev/null
await_output anew
printf c | ctl vm console g >/dev/null
await end shutdown
await state stopped
[ "$(field crashes)" = 1 ] || fail "$(ctl vm show g --json)"
ctl vm start g
echo "the guest began anew"
ctl vm stop g
[ "$(field state)" = stopped ] && [ "$(field end)" = stopped ] || fail "$(ctl vm show g)"
ctl vm start g
printf q | ctl vm console g >/dev/null
await state stopped
ctl vm delete g
card_stop
