#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Peers of an uplink: TCP transfers, a capture that judges every frame, and capture files.

    serve PORT             accept one connection after another; answer with the sum of what came, and
                           send as many bytes back as the client asked for
    transfer ADDR PORT N   send N random bytes and fetch N back; fails unless both sums agree
    watch IFACE MTU FILE   until SIGTERM: judge frames that arrive on IFACE; the verdict goes to FILE
    datagram ADDR PORT N   one UDP datagram of N bytes
    echo PORT              answer every UDP datagram with what was in it
    ask ADDR PORT N TIMES  send N bytes to an echo, again and again; fails unless they come back
    ping ADDR N TIMES      the same with echo requests that carry N bytes
    overlap ADDR           two IPv4 fragments of which one begins within the other
    broadcast ADDR PORT    one of 1 byte to everybody
    make FILE N            a capture of N frames (0: none) between two addresses
    compare A B            two captures hold the same frames
    counters               "port stats --json" on stdin: rx, tx, drops and those of each reason,
                           as shell variables with the port's name in front
"""
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time


def fold(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def exactly(sock, count):
    """That many bytes, or an error: with a timeout, one recv() may return fewer whatever its flags."""
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError(f"{len(data)} of {count} bytes, then the end")
        data += more
    return data


def receive(sock, count):
    digest = hashlib.sha256()
    left = count
    while left:
        data = sock.recv(min(left, 1 << 16))
        if not data:
            break
        digest.update(data)
        left -= len(data)
    return digest.hexdigest(), count - left


def send_random(sock, count, seed):
    rng = random.Random(seed)
    digest = hashlib.sha256()
    while count:
        data = rng.randbytes(min(count, 1 << 16))
        digest.update(data)
        sock.sendall(data)
        count -= len(data)
    return digest.hexdigest()


def serve(port):
    listener = socket.create_server(("0.0.0.0", int(port)))
    while True:
        sock, _ = listener.accept()
        sock.settimeout(20)
        try:
            count = struct.unpack("!Q", exactly(sock, 8))[0]
            digest, _ = receive(sock, count)
            sock.sendall(digest.encode())
            sock.sendall(send_random(sock, count, count).encode())
        except (OSError, struct.error) as error:
            print(f"serve: {error}", file=sys.stderr)
        sock.close()


def transfer(address, port, count):
    count = int(count)
    deadline = time.monotonic() + 20
    while True:
        try:
            sock = socket.create_connection((address, int(port)), 3)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
    sock.settimeout(20)
    sock.sendall(struct.pack("!Q", count))
    sent = send_random(sock, count, count + 1)
    assert exactly(sock, 64).decode() == sent, "what went out changed"
    digest, got = receive(sock, count)
    assert got == count, f"{got} of {count} bytes came back"
    assert exactly(sock, 64).decode() == digest, "what came back changed"


def judge(frame, mtu):
    """None, or what is wrong with it."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    l3 = frame[14:]
    if kind == 0x8100:
        kind, l3 = struct.unpack_from("!H", frame, 16)[0], frame[18:]
    if len(l3) > mtu:
        return "too long"
    if kind == 0x0800:
        ihl = (l3[0] & 15) * 4
        total, fragment = struct.unpack_from("!H2xH", l3, 2)
        if fold(l3[:ihl]) != 0xFFFF:
            return "IPv4 header checksum"
        if fragment & 0x3FFF:
            return None
        proto, l4 = l3[9], l3[ihl:total]
        pseudo = l3[12:20] + struct.pack("!HH", proto, len(l4))
    elif kind == 0x86DD:
        proto, l4 = l3[6], l3[40 : 40 + struct.unpack_from("!H", l3, 4)[0]]
        pseudo = l3[8:40] + struct.pack("!II", len(l4), proto)
    else:
        return None
    if proto == 17 and l4[6:8] == b"\0\0":
        return None
    if proto in (6, 17, 58) and fold(pseudo + l4) != 0xFFFF:
        return "checksum"
    return None


def packet_socket(iface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    sock.bind((iface, 3))
    return sock


def capture(iface, started):
    """Every frame there, and its address, until SIGTERM came and nothing is left; the file appears first."""
    sock = packet_socket(iface)
    sock.settimeout(0.2)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    with open(started, "wb"):
        pass
    while True:
        try:
            yield sock.recvfrom(1 << 16)
        except (socket.timeout, TimeoutError):
            if stopped:
                return


def watch(iface, mtu, path):
    verdict = {"frames": 0}
    for frame, address in capture(iface, path + ".started"):
        if address[2] == socket.PACKET_OUTGOING:
            continue
        verdict["frames"] += 1
        wrong = judge(frame, int(mtu))
        if wrong:
            verdict[wrong] = verdict.get(wrong, 0) + 1
    with open(path, "w", encoding="ascii") as out:
        json.dump(verdict, out)
    print(f"{iface}: {verdict}")
    sys.exit(verdict["frames"] == 0 or len(verdict) > 1)


def datagram(address, port, count):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: fragment never, refuse never
    sock.sendto(os.urandom(int(count)), (address, int(port)))


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def echo(port):
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", int(port)))
    while True:
        data, peer = sock.recvfrom(65536)
        sock.sendto(data, peer)


def ask(address, port, count, times):
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.settimeout(20)
    sock.connect((address, int(port)))
    for turn in range(int(times)):
        data = random.Random(turn).randbytes(int(count))
        sock.send(data)
        if sock.recv(65536) != data:
            sys.exit(f"{count} bytes came back as others")


def ping(address, count, times):
    six = ":" in address
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    sock = socket.socket(family(address), socket.SOCK_RAW, protocol)
    sock.settimeout(20)
    for turn in range(int(times)):
        rest = struct.pack("!HH", os.getpid() & 0xFFFF, turn) + random.Random(turn).randbytes(int(count))
        kind = bytes([128 if six else 8, 0])
        sock.sendto(kind + struct.pack("!H", 0xFFFF ^ fold(kind + rest)) + rest, (address, 0))
        while True:
            packet = sock.recv(65536)
            answer = packet if six else packet[(packet[0] & 15) * 4:]
            if answer[0] == (129 if six else 0) and answer[4:] == rest:
                break


def overlap(address):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for offset, flags in ((0, 0x2000), (8, 0)):
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 77, flags | offset // 8, 64, 17, 0, bytes(4),
                           socket.inet_aton(address))
        sock.sendto(head + bytes(16), (address, 0))


def broadcast(address, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.sendto(b"x", (address, int(port)))


def make(path, count):
    rng = random.Random(1)
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for i in range(int(count)):
            frame = bytes.fromhex("020000000002020000000001") + b"\x88\xb5" + struct.pack("!I", i)
            frame += rng.randbytes(rng.randint(42, 1496))
            out.write(struct.pack("<IIII", i, 0, len(frame), len(frame)) + frame)


def frames(path):
    with open(path, "rb") as file:
        data = file.read()
    magic = struct.unpack_from("<I", data)[0]
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), hex(magic)
    at, result = 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        result.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return result


def compare(one, other):
    a, b = frames(one), frames(other)
    print(f"{len(a)} and {len(b)} frames")
    assert len(a) > 0 and sorted(a) == sorted(b), "the captures differ"


def counters():
    for port in json.load(sys.stdin)["port"]:
        name = port["name"]
        print(f"{name}_rx={port['rx_packets']} {name}_tx={port['tx_packets']}")
        print(f"{name}_frames={port['gro_frames']} {name}_segments={port['gro_segments']}")
        print(f"{name}_drops={sum(port['drops'].values())}")
        for reason, count in port["drops"].items():
            print(f"{name}_{reason}={count}")


if __name__ == "__main__":
    commands = {f.__name__: f for f in (
        serve, transfer, watch, datagram, echo, ask, ping, overlap, broadcast, make, compare, counters)}
    commands[sys.argv[1]](*sys.argv[2:])
