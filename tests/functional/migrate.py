#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Second half of 25-migrate.sh and 27-postcopy.sh: the guest that moves, there and back, and what it must
not notice. Usage: migrate.py GUEST-IMAGE [postcopy]"""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time

DIR = os.environ["OUTBOARD_DIR"]
IMAGE = sys.argv[1]
POSTCOPY = sys.argv[2:] == ["postcopy"]
# QEMU before 9.0 without KVM loses pages that the guest's CPU has written when a block of memory is a multiple of
# 64 pages long: its dirty bits are then taken by words, and the CPU's TLB goes on without setting them again (mended
# by "physmem: Fix migration dirty bitmap coherency with TCG memory access"). Two pages more, and it takes them singly.
KIB = 192 * 1024 + 8
PATIENCE = 120  # seconds; a bound that ends the test, not a figure that is judged

WRITER = r"""
i=0
while [ ! -e /tmp/stop ]; do
	f=/mnt/w$((i % 100))
	sed -i "\| $f\$|d" /tmp/acked
	dd if=/dev/urandom of=$f bs=64k count=4 conv=fsync 2>/dev/null || break
	sha256sum $f >>/tmp/acked
	i=$((i + 1))
done
echo $i >/tmp/writer-done
"""


def fail(text):
    print("FAIL:", text, file=sys.stderr)
    sys.exit(1)


def dial(path):
    end = time.monotonic() + PATIENCE
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE)
        try:
            s.connect(path)
            return s
        except (FileNotFoundError, ConnectionRefusedError):
            s.close()
            if time.monotonic() > end:
                fail(f"nobody listens at {path}")
            time.sleep(0.02)


class Qemu:
    """One QEMU on one card, and the way to its monitor and to the agent in the guest."""

    def __init__(self, name, card, incoming=None):
        self.dir = f"{DIR}/{name}"
        os.mkdir(self.dir, 0o700)
        with open(f"{IMAGE}/accel", encoding="ascii") as f:
            kvm = f.read().split()[1] == "kvm"
        vectors = "" if kvm else ",vectors=0"  # see guest.c of the emulator
        sockets = f"{DIR}/{card}/vhost"
        args = [
            "qemu-system-x86_64", "-M", "q35", "-accel", "kvm" if kvm else "tcg,thread=single",
            "-cpu", "host" if kvm else "max", "-m", f"{KIB}K",
            "-object", f"memory-backend-memfd,id=mem,size={KIB}K,share=on", "-numa", "node,memdev=mem",
            "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", f"file:{self.dir}/console.log",
            "-chardev", f"socket,id=agent,path={self.dir}/agent,server=on,wait=off",
            "-serial", "chardev:agent",
            "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off",
            "-kernel", f"{IMAGE}/kernel", "-initrd", f"{IMAGE}/initramfs",
            "-append", "console=ttyS0 panic=-1 quiet ob.name=mover ob.ip=10.77.0.1/24",
            "-chardev", f"socket,id=net0,path={sockets}/net0,reconnect=1",
            "-netdev", "vhost-user,id=nd0,chardev=net0",
            "-device", f"virtio-net-pci,netdev=nd0,mac=02:00:00:00:77:01{vectors}",
            "-chardev", f"socket,id=blk0,path={sockets}/blk0,reconnect=1",
            "-device", f"vhost-user-blk-pci,chardev=blk0,num-queues=1{vectors}",
        ]
        if incoming:
            args += ["-incoming", f"unix:{incoming}"]
        with open(f"{self.dir}/qemu.log", "wb") as log:
            self.process = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.monitor = dial(f"{self.dir}/qmp")
        self.answers = self.monitor.makefile("r")
        self.answers.readline()
        self.command("qmp_capabilities")
        self.agent = dial(f"{self.dir}/agent")
        self.got = b""

    def command(self, name, **arguments):
        text = json.dumps({"execute": name, "arguments": arguments}) + "\n"
        while True:
            try:
                self.monitor.sendall(text.encode())
                line = self.answers.readline()
            except (BrokenPipeError, ConnectionResetError):
                line = ""
            text = ""
            if not line:
                with open(f"{self.dir}/qemu.log", encoding="utf-8") as f:
                    fail(f"QEMU ended with {self.process.wait()} at {name}: {f.read()}")
            answer = json.loads(line)
            if "error" in answer:
                fail(f"{name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def end(self):
        self.monitor.sendall(b'{"execute": "quit"}\n')
        self.process.wait(PATIENCE)

    def until(self, pattern):
        while True:
            m = re.search(pattern, self.got)
            if m:
                self.got = self.got[m.end():]
                return m
            if re.search(rb"\001READY \S+\n", self.got):
                with open(f"{self.dir}/console.log", encoding="utf-8", errors="replace") as f:
                    fail(f"the guest has started anew: {f.read()[:3000]}")
            data = self.agent.recv(65536)
            if not data:
                fail("the agent's port was closed")
            self.got += data

    def guest(self, seq, text):
        """Run a command in the guest; its output."""
        code = base64.b64encode(text.encode()).decode()
        line = f"{seq} {PATIENCE} {len(code)} {code}\n"
        self.agent.sendall(line.encode())
        m = self.until(rb"\001DONE %d (\d+) (\d+) [0-9a-f]+\n" % seq)
        n = int(m[2])
        while len(self.got) < n:
            self.got += self.agent.recv(65536)
        out, self.got = self.got[:n].decode(), self.got[n:]
        if m[1] != b"0":
            fail(f"in the guest: {text}: status {m[1].decode()}: {out}")
        return out


def until(what, end):
    while not what():
        if time.monotonic() > end:
            fail("this migration takes too long")
        time.sleep(0.02)


def runs(qemu):
    return qemu.command("query-status")["status"] == "running"


def status(source):
    info = source.command("query-migrate")
    if info.get("status") in ("failed", "cancelled"):
        fail(f"migration: {info}")
    return info.get("status")


def behind(source, target, path, goes_on):
    """Postcopy: the guest goes first and its memory comes behind, slowly until its I/O was seen to go on."""
    end = time.monotonic() + PATIENCE
    for qemu in (source, target):
        qemu.command("migrate-set-capabilities",
                     capabilities=[{"capability": "postcopy-ram", "state": True}])
    source.command("migrate-set-parameters",
                   **{"max-bandwidth": 2 << 20, "max-postcopy-bandwidth": 2 << 20})
    source.command("migrate", uri=f"unix:{path}")
    until(lambda: status(source) == "active", end)
    source.command("migrate-start-postcopy")
    until(lambda: runs(target), end)
    goes_on(target)
    info = source.command("query-migrate")
    print(f"ping and disk go on while {info['ram']['remaining'] >> 20} MiB are missing, "
          f"{info['ram']['postcopy-requests']} pages were asked for")
    source.command("migrate-set-parameters", **{"max-postcopy-bandwidth": 0})
    until(lambda: status(source) == "completed", end)
    return source.command("query-migrate")


def ahead(source, target, path):
    end = time.monotonic() + PATIENCE
    source.command("migrate-set-parameters", **{"downtime-limit": 500})
    source.command("migrate", uri=f"unix:{path}")
    until(lambda: status(source) == "completed", end)
    until(lambda: runs(target), end)
    return source.command("query-migrate")


def migrate(source, target, path, goes_on):
    info = behind(source, target, path, goes_on) if POSTCOPY else ahead(source, target, path)
    source.end()
    print(f"migrated {info['ram']['transferred'] >> 20} MiB in {info['total-time']} ms, "
          f"{info['ram'].get('dirty-sync-count')} rounds, downtime {info['downtime']} ms")


def answers(qemu, seq):
    return int(qemu.guest(seq, "grep -c 'bytes from' /tmp/ping || true"))


def were_behind(card):
    """Both functions of the card were told that memory comes late, and that it is all there."""
    with open(f"{DIR}/{card}/log", encoding="utf-8") as f:
        log = f.read()
    for name in ("net0", "blk0"):
        for text in ("memory comes while the guest runs", "all memory is here"):
            if f"postcopy: {text} dev={name}" not in log:
                fail(f"{name} of {card} was not in postcopy: {log}")


def main():
    here = Qemu("mover-1", "card-a")
    here.until(rb"\001READY \S+\n")
    here.guest(1, f"""
mkdir -p /mnt && mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && touch /tmp/acked
cat >/tmp/writer <<"END"
{WRITER}
END
sh /tmp/writer >/dev/null 2>&1 &
dd if=/dev/urandom of=/tmp/big bs=64k count=64 2>/dev/null
sum=$(sha256sum /tmp/big)
while :; do [ "$(sha256sum /tmp/big)" = "$sum" ] && echo right || echo wrong; done >/tmp/sums &
ping -i 0.1 10.77.0.2 >/tmp/ping 2>&1 &
n=0
until [ $(grep -c 'bytes from' /tmp/ping) -ge 3 ] && [ $(wc -l </tmp/acked) -ge 3 ]; do
	n=$((n + 1))
	[ $n -lt 600 ] || exit 1
	usleep 100000
done
""")
    seq = 2

    def goes_on(qemu):
        """As many answers and files again as there had to be at the start."""
        nonlocal seq
        before = answers(qemu, seq)
        qemu.guest(seq + 1, f"""
n=0 files=$(grep -c . /tmp/acked) last=$(tail -n 1 /tmp/acked)
until [ $(grep -c 'bytes from' /tmp/ping) -ge {before + 5} ] && [ "$(tail -n 1 /tmp/acked)" != "$last" ]; do
	n=$((n + 1))
	[ $n -lt 150 ] || {{
		tail -n 3 /tmp/ping; wc -l /tmp/acked; cat /proc/interrupts; ps -o pid,stat,args | grep -v '\\[';
		dmesg | tail -n 5
		exit 1
	}}
	usleep 100000
done
""")
        seq += 2

    for trip, card in enumerate(["card-b", "card-a"]):
        path = f"{DIR}/incoming-{trip}"
        there = Qemu(f"mover-{trip + 2}", card, path)
        migrate(here, there, path, goes_on)
        here = there
        goes_on(here)
        print(f"on {card}: ping goes on, and so does the disk")
        if POSTCOPY:
            were_behind(card)
    out = here.guest(seq, """
touch /tmp/stop; killall -INT ping
n=0
while [ ! -e /tmp/writer-done ] && [ $n -lt 600 ]; do usleep 100000; n=$((n + 1)); done
umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount /dev/vda /mnt || exit 1
echo $(cat /tmp/writer-done) $(wc -l </tmp/acked) $(sha256sum -c /tmp/acked 2>/dev/null | grep -c OK)
grep transmitted /tmp/ping
sed -n 's/.*seq=\\([0-9]*\\).*/\\1/p' /tmp/ping | awk '$1 != n { printf "%d-%d ", n, $1 - 1 } { n = $1 + 1 } END { print "" }'
grep -c right /tmp/sums; grep -c wrong /tmp/sums
dmesg | grep -iE 'i/o error|ext4.*error' || true
""")
    lines = out.splitlines()
    written, noted, good = (int(x) for x in lines[0].split())
    print(f"files written, noted, good: {written} {noted} {good}")
    print(f"ping: {lines[1]}; not answered: {lines[2].strip() or 'none'}")
    if noted != good or noted == 0:
        fail("writes are lost")
    print(f"sums of the guest's memory: {lines[3]} right, {lines[4]} wrong")
    if lines[3] == "0" or lines[4] != "0":
        fail("the guest's memory is not what it was")
    if len(lines) > 5:
        fail(f"the guest saw errors: {lines[5:]}")
    here.end()


if __name__ == "__main__":
    main()
