#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""discovery_peer.py SERVICES HOLES GOOD: discovery services that lie.

Prints the ports of SERVICES services on 127.0.0.1, each with a log of HOLES subsystems at a port that takes
connections and never answers, and behind them one of GOOD, an NQN/PORT that is there. Each read of a log finds
another generation number, and an event says so. Runs until it is killed.
"""
import socket
import struct
import sys
import threading

DISCOVERY = b"nqn.2014-08.org.nvmexpress.discovery"


def entry(nqn, port):
    e = bytearray(1024)
    e[0:3] = bytes([3, 1, 2])  # TCP, IPv4, an NVM subsystem
    struct.pack_into("<HH", e, 4, 1, 0xFFFF)
    for at, text in ((32, str(port)), (256, nqn), (512, "127.0.0.1")):
        e[at : at + len(text)] = text.encode()
    return bytes(e)


def identify():
    d = bytearray(4096)
    struct.pack_into("<HI", d, 78, 1, 0x20000)  # CNTLID, VER
    struct.pack_into("<I", d, 92, 1 << 31)  # OAES: the log changes
    d[111] = 2  # a discovery controller
    struct.pack_into("<H", d, 320, 10)
    d[512:514] = bytes([0x66, 0x44])
    struct.pack_into("<H", d, 514, 32)
    struct.pack_into("<I", d, 536, 0x100005)
    d[768 : 768 + len(DISCOVERY)] = DISCOVERY
    struct.pack_into("<II", d, 1792, 68, 1)
    return bytes(d)


class Service:
    def __init__(self, entries):
        self.entries = entries
        self.genctr = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s = self.listener.accept()[0]
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def log(self, off, n):
        if off == 0:
            self.genctr += 1
        return (struct.pack("<QQ", self.genctr // 2, len(self.entries)).ljust(1024, b"\0") + b"".join(
            self.entries))[off : off + n]

    def serve(self, s):
        try:
            self.talk(s)
        except (OSError, EOFError):
            s.close()

    def talk(self, s):
        aer = None
        while True:
            head = read(s, 8)
            body = read(s, struct.unpack_from("<I", head, 4)[0] - 8)
            if head[0] == 0:  # ICReq
                s.sendall(struct.pack("<BBBBIHBBI", 1, 0, 128, 0, 128, 0, 0, 0, 65536).ljust(128, b"\0"))
                continue
            sqe = body[:64]
            cid = struct.unpack_from("<H", sqe, 2)[0]
            dw10, dw11, dw12 = struct.unpack_from("<III", sqe, 40)
            data, result = b"", 0
            if sqe[0] == 0x7F:
                result = self.fabrics(sqe)
            elif sqe[0] == 0x06:
                data = identify()
            elif sqe[0] == 0x02:
                data = self.log(dw12, ((dw10 >> 16 | dw11 << 16) + 1) * 4)
            elif sqe[0] == 0x0C:
                aer = cid
                continue
            if data:
                s.sendall(struct.pack("<BBBBIHHIII", 7, 4, 24, 24, 24 + len(data), cid, 0, 0, len(data), 0) + data)
            s.sendall(struct.pack("<BBBBIQHHHH", 5, 0, 24, 0, 24, result, 0, 0, cid, 0))
            if aer is not None and data and sqe[0] == 0x02:
                s.sendall(struct.pack("<BBBBIQHHHH", 5, 0, 24, 0, 24, 0x70F002, 0, 0, aer, 0))
                aer = None

    @staticmethod
    def fabrics(sqe):
        if sqe[4] == 1:  # Connect
            return 1
        if sqe[4] == 4:  # Property Get: CAP, else CSTS or VS
            return {0: 31 | 1 << 16 | 10 << 24 | 1 << 37, 0x1C: 1}.get(struct.unpack_from("<I", sqe, 44)[0], 0x20000)
        return 0


def read(s, n):
    got = b""
    while len(got) < n:
        part = s.recv(n - len(got))
        if not part:
            raise EOFError
        got += part
    return got


def main():
    services, holes = int(sys.argv[1]), int(sys.argv[2])
    nqn, port = sys.argv[3].split("/")
    hole = socket.create_server(("127.0.0.1", 0), backlog=4096)
    kept = []
    for n in range(services):
        log = [entry(f"nqn.2026-11.test:hole.{n}.{i}", hole.getsockname()[1]) for i in range(holes)]
        print(Service(log + [entry(nqn, port)]).port, end=" ")
    print(flush=True)
    while True:
        kept.append(hole.accept())


main()
