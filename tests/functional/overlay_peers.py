#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hosts of an overlay network.

    ping ADDR SIZE      until an echo request with SIZE bytes of data is answered, unchanged
    send ADDR N         N echo requests that nobody waits for
    pmtu ADDR SIZE      until an echo request of SIZE bytes that nobody may fragment is answered by
                        "too big"; prints the MTU that the answer names
    fetch URL           what is there, to stdout
    try URL             the same, for as long as three SYN segments take
    mirror PORT         TCP: send back what comes, until the other end closes
    lossy ONE OTHER LOSS REORDER SEED
                        a wire between two interfaces, until SIGTERM, that loses packets and lets others
                        overtake, so many percent; says then how many of each
    record IFACE FILE   until SIGTERM: every frame there into a capture file; FILE.started appears
"""
import os
import random
import select
import signal
import socket
import struct
import sys
import time
import urllib.request

from uplink_peers import capture, fold, packet_socket

PATIENCE_S = 20
IP_MTU_DISCOVER, DONT, PROBE = 10, 0, 3  # PROBE: forbid fragments, whatever is known of the path
ECHO_REPLY, UNREACHABLE, ECHO = 0, 3, 8
FRAGMENTATION_NEEDED = 4


def icmp_socket(discover):
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, discover)
    return sock


def echo(number, data):
    head = struct.pack("!BBHHH", ECHO, 0, 0, os.getpid() & 0xFFFF, number)
    total = 0xFFFF - fold(head + data)
    return head[:2] + struct.pack("!H", total) + head[4:] + data


def messages(sock, address, data):
    """Send an echo request a second; yield what ICMP comes meanwhile, without its IPv4 header."""
    end = time.monotonic() + PATIENCE_S
    number = 0
    while time.monotonic() < end:
        number += 1
        sock.sendto(echo(number, data), (address, 0))
        until = time.monotonic() + 1
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                packet = sock.recv(1 << 16)
            except (socket.timeout, TimeoutError):
                break
            yield packet[(packet[0] & 15) * 4 :]


def ping(address, size):
    data = os.urandom(int(size))
    for message in messages(icmp_socket(DONT), address, data):
        if message[0] == ECHO_REPLY and message[4:6] == echo(1, data)[4:6]:
            assert message[8:] == data, "the answer's data differ"
            return
    sys.exit(f"no answer from {address}")


def send(address, count):
    sock = icmp_socket(DONT)
    for number in range(int(count)):
        sock.sendto(echo(number, b"x" * 56), (address, 0))


def pmtu(address, size):
    for message in messages(icmp_socket(PROBE), address, os.urandom(int(size))):
        if message[:2] == bytes((UNREACHABLE, FRAGMENTATION_NEEDED)):
            assert fold(message) == 0xFFFF, "checksum of the ICMP message"
            print(struct.unpack_from("!H", message, 6)[0])
            return
    sys.exit(f"nobody says that {size} bytes are too many for {address}")


def fetch(url, patience_s=PATIENCE_S):
    with urllib.request.urlopen(url, timeout=patience_s) as answer:
        sys.stdout.buffer.write(answer.read())


def mirror(port):
    listener = socket.create_server(("0.0.0.0", int(port)))
    while True:
        sock, _ = listener.accept()
        with sock:
            while data := sock.recv(1 << 16):
                sock.sendall(data)


def lossy(one, other, loss, reorder, seed):
    """ARP always passes: it is not what is looked at."""
    rng = random.Random(int(seed))
    ends = [packet_socket(one), packet_socket(other)]
    held = []  # [when at the latest, how many may overtake yet, to where, frame]
    counts = {"passed": 0, "lost": 0, "overtaken": 0}
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    while not stopped:
        for end in select.select(ends, [], [], 0.005)[0]:
            frame, address = end.recvfrom(1 << 16)
            if address[2] == socket.PACKET_OUTGOING:
                continue
            to = ends[end is ends[0]]
            dice = 100 if frame[12:14] == b"\x08\x06" else rng.uniform(0, 100)
            if dice < float(loss):
                counts["lost"] += 1
            elif dice < float(loss) + float(reorder):
                counts["overtaken"] += 1
                held.append([time.monotonic() + 0.02, rng.randint(1, 4), to, frame])
            else:
                counts["passed"] += 1
                to.send(frame)
                for item in held:
                    item[1] -= item[2] is to
        now = time.monotonic()
        for item in [i for i in held if i[0] < now or i[1] <= 0]:
            item[2].send(item[3])
            held.remove(item)
    print(f"{one} - {other}: {counts}")
    sys.exit(0 in counts.values())  # a wire that was no test


def record(iface, path):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame, _ in capture(iface, path + ".started"):
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


if __name__ == "__main__":
    commands = {f.__name__: f for f in (ping, send, pmtu, fetch, mirror, lossy, record)}
    commands["try"] = lambda url: fetch(url, 4)
    commands[sys.argv[1]](*sys.argv[2:])
