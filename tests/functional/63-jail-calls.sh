#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The lives of guests of 62 and 63 again, under strace, with host-hv of each libc: what the jail lets the
# threads of a guest call, each kind of them calls. A call or argument that nobody makes has no place in
# the list, but for those that the list itself has a reason for.
# Usage: 63-jail-calls.sh BUILD-DIR
set -eu
here=$(dirname "$0")
command -v strace >/dev/null || {
	echo "skip: no strace"
	exit 77
}
dir=$(mktemp -d /dev/shm/outboard-calls.XXXXXX)
trap 'rm -rf "$dir"' EXIT

# The tracer is the program's grandchild, so that signals and the status are the program's own.
cat >"$dir/traced" <<'END'
#!/bin/sh
exec strace -D -qq -ff -e raw=all -o "$TRACE" "$PROGRAM" "$@"
END
chmod +x "$dir/traced"

# unused PROGRAM TRACE...: what is allowed and no trace has, behind the step that shuts the thread in
unused()
{
	"$1" --system-calls >"$dir/allowed"
	shift
	python3 - "$dir/allowed" "$@" <<'END'
import re
import sys

seen = {"main": set(), "vcpu": set()}
threads = {"main": 0, "vcpu": 0}
for name in sys.argv[2:]:
    text = open(name, encoding="ascii", errors="replace").read()
    before, step, life = text.rpartition("\nseccomp(")
    if not step:
        continue
    kind = "main" if re.search(r"^execveat\(", before, re.M) else "vcpu"
    threads[kind] += 1
    for call, args in re.findall(r"^(\w+)\(([^)]*)", life, re.M):
        seen[kind].add(call)
        for i, arg in enumerate(args.split(", ")):
            seen[kind].add(f"{call} arg{i}={arg}")
bad = not all(threads.values())
n = {"main": 0, "vcpu": 0}
for line in open(sys.argv[1], encoding="ascii"):
    rule, _, rare = line.strip().partition(" # ")
    kind, call, _, *args = rule.split()
    n[kind] += 1
    for what in [call] + [f"{call} {arg}" for arg in args]:
        # 32 bits are looked at; a number of ioctl(2) may come with more.
        if what not in seen[kind] and not rare:
            print(f"{kind}: {what} is allowed, and never used")
            bad = True
print(f"main: {n['main']} calls, vCPU: {n['vcpu']} calls, of {threads} threads")
sys.exit(bad or n["vcpu"] > 12)
END
}

status=0
for program in host-hv host-hv-static; do
	PROGRAM=$1/host-hv/$program
	[ -x "$PROGRAM" ] || continue
	export PROGRAM
	for life in 62-host-hv-agent 63-vm; do
		export TRACE="$dir/$program.$life"
		code=0
		HOST_HV=$dir/traced "$here/$life.sh" "$1" >"$dir/out" 2>&1 || code=$?
		[ "$code" = 0 ] || {
			cat "$dir/out"
			exit "$code"
		}
	done
	echo "$program:"
	unused "$PROGRAM" "$dir/$program".6* || status=1
done
[ "$status" = 0 ] || echo "FAIL: the lists of host-hv/sandbox.c"
exit "$status"
