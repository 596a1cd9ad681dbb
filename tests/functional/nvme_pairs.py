# SPDX-License-Identifier: Apache-2.0
"""A host of NVMe/TCP that is just enough for reads, writes and fused compare-and-writes.

nvme_pairs.py check PORT NQN HOSTNQN
    one pair that is equal, one that is not, halves alone
nvme_pairs.py race NQN HOSTNQN STEPS PORT...
    a host for each port counts in one block by compare-and-write, another one writes beside it
"""
import socket
import struct
import sys
import threading

BLOCK = 512
COMPARE_FAILURE = 0x285
FUSED_FAILED = 0x009
FUSED_MISSING = 0x00a
READ, WRITE, COMPARE = 2, 1, 5
FIRST, SECOND = 1, 2


class Queue:
    """One queue of a controller: commands with data in the capsule, answers in any order."""

    def __init__(self, port, nqn, host, qid=0, cntlid=0xffff):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cid = 0
        self.s.sendall(struct.pack("<BBBBIHBBI", 0, 0, 128, 0, 128, 0, 0, 0, 0).ljust(128, b"\0"))
        self.take(128)
        data = bytes([7]) * 16 + struct.pack("<H", cntlid)
        data = data.ljust(256, b"\0") + nqn.encode().ljust(256, b"\0")
        data = (data + host.encode().ljust(256, b"\0")).ljust(1024, b"\0")
        sqe = struct.pack("<BBHB19x", 0x7f, 0x40, self.next(), 1)
        sqe += self.in_capsule(len(data)) + struct.pack("<HHHBBI", 0, qid, 31, 4, 0, 0)
        self.send(sqe, data)
        status, result, _ = self.answer()
        if status:
            raise SystemExit(f"Connect: status {status:#x}")
        self.cntlid = result & 0xffff

    def take(self, n):
        """Exactly n bytes."""
        got = b""
        while len(got) < n:
            part = self.s.recv(n - len(got))
            if not part:
                raise SystemExit("the target has closed")
            got += part
        return got

    def next(self):
        """A command identifier."""
        self.cid = self.cid % 0x7fff + 1
        return self.cid

    @staticmethod
    def in_capsule(length):
        """A data pointer for what follows the command."""
        return struct.pack("<QI3xB", 0, length, 0x01)

    def send(self, sqe, data=b""):
        """A capsule."""
        sqe = sqe.ljust(64, b"\0")
        head = struct.pack("<BBBBI", 4, 0, 72, 72 if data else 0, 72 + len(data))
        self.s.sendall(head + sqe + data)

    def answer(self):
        """Status, result, and the data that came before it."""
        data = b""
        while True:
            kind, flags, hlen, pdo, plen = struct.unpack("<BBBBI", self.take(8))
            head = self.take(hlen - 8)
            body = self.take(plen - hlen)
            if kind == 5:
                return struct.unpack("<H", head[14:16])[0] >> 1 & 0x7ff, \
                    struct.unpack("<Q", head[:8])[0], data
            if kind != 7:
                raise SystemExit(f"a PDU of type {kind}")
            data += body[pdo - hlen:] if pdo else body
            if flags & 0x08:
                return 0, 0, data

    def enable(self):
        """CC.EN of an admin queue."""
        sqe = struct.pack("<BBHB35x", 0x7f, 0x40, self.next(), 0)
        self.send(sqe + struct.pack("<B3xIQ", 0, 0x14, 0x460001))
        if self.answer()[0]:
            raise SystemExit("not enabled")

    def io(self, opc, lba, data=b"", fuse=0, blocks=1):
        """Send a command to namespace 1."""
        sqe = struct.pack("<BBHI16x", opc, 0x40 | fuse, self.next(), 1)
        sqe += self.in_capsule(len(data)) if data else \
            struct.pack("<QI3xB", 0, blocks * BLOCK, 0x5a)
        self.send(sqe + struct.pack("<QI", lba, blocks - 1), data)

    def pair(self, lba, old, new):
        """Compare and write; both statuses."""
        self.io(COMPARE, lba, old, FIRST, len(old) // BLOCK)
        self.io(WRITE, lba, new, SECOND, len(new) // BLOCK)
        return self.answer()[0], self.answer()[0]

    def read(self, lba, blocks=1):
        """Data of some blocks."""
        self.io(READ, lba, blocks=blocks)
        status, _, data = self.answer()
        if status or len(data) != blocks * BLOCK:
            raise SystemExit(f"Read: status {status:#x}, {len(data)} bytes")
        return data

    def write(self, lba, data):
        """The status of a write."""
        self.io(WRITE, lba, data)
        return self.answer()[0]


def connect(port, nqn, host):
    """An admin queue, which has to stay, and an I/O queue."""
    admin = Queue(port, nqn, host)
    admin.enable()
    return admin, Queue(port, nqn, host, 1, admin.cntlid)


def want(what, got, expected):
    """They are equal, or it ends here."""
    if got != expected:
        raise SystemExit(f"{what}: {got}, not {expected}")


def check(port, nqn, host):
    """What one host sees."""
    _admin, q = connect(port, nqn, host)
    one, two = b"\1" * BLOCK, b"\2" * BLOCK
    want("write", q.write(8, one), 0)
    want("an equal pair", q.pair(8, one, two), (0, 0))
    want("what it wrote", q.read(8), two)
    want("another pair", q.pair(8, one, one), (COMPARE_FAILURE, FUSED_FAILED))
    want("what it left", q.read(8), two)
    q.io(WRITE, 8, one, SECOND)
    want("half a pair", q.answer()[0], FUSED_MISSING)
    want("a pair of two blocks", q.pair(8, two + q.read(9), one + one)[0], 0)
    want("what that wrote", q.read(8, 2), one + one)


def count(port, nqn, host, steps, errors):
    """So many steps of a counter in block 0."""
    _admin, q = connect(port, nqn, host)
    done = tries = 0
    while done < steps:
        old = q.read(0)
        n = struct.unpack("<Q", old[:8])[0]
        got = q.pair(0, old, struct.pack("<Q", n + 1) + old[8:])
        tries += 1
        if got == (0, 0):
            done += 1
        elif got != (COMPARE_FAILURE, FUSED_FAILED) or tries > 1000 * steps:
            errors.append(f"port {port}: {got}")
            return


def beside(port, nqn, host, lba, stop, errors):
    """Writes next to the counter."""
    _admin, q = connect(port, nqn, host)
    n = 0
    while not stop.is_set():
        n += 1
        data = struct.pack("<Q", n) * (BLOCK // 8)
        if q.write(lba, data) or q.read(lba) != data:
            errors.append(f"port {port}: block {lba} is not what was written")
            return


def race(nqn, host, steps, ports):
    """No step is lost, wherever it was made."""
    errors, stop = [], threading.Event()
    _admin, q = connect(ports[0], nqn, host)
    want("write", q.write(0, bytes(BLOCK)), 0)
    writers = [threading.Thread(target=beside, args=(p, nqn, host, 1 + i, stop, errors))
               for i, p in enumerate(ports)]
    counters = [threading.Thread(target=count, args=(p, nqn, host, steps, errors)) for p in ports]
    for t in writers + counters:
        t.start()
    for t in counters:
        t.join()
    stop.set()
    for t in writers:
        t.join()
    want("errors", errors, [])
    want("steps", struct.unpack("<Q", q.read(0)[:8])[0], steps * len(ports))


if sys.argv[1] == "check":
    check(int(sys.argv[2]), sys.argv[3], sys.argv[4])
else:
    race(sys.argv[2], sys.argv[3], int(sys.argv[4]), [int(p) for p in sys.argv[5:]])
