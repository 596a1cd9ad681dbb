#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hosts of an underlay network.

    ping ADDR SIZE      until the kernel has an answer to an echo request with SIZE bytes of data, of either
                        family: it takes none with a wrong checksum
    mac IFACE           its address
    shout IFACE         one frame of each kind that is for more than one host, and one for a host nobody knows
    count IFACE MAC FILE
                        such frames from that address until one from 02:00:00:00:00:99 comes, into the file; what
                        the kernel there says of itself does not count. FILE.started appears first
    mark IFACE          that frame
    flood IFACE MAC ADDR
                        until killed: ARP questions for the address from ever other hosts, answers that
                        nobody asked for, datagrams to the MAC address
"""
import itertools
import random
import socket
import struct
import sys
import time

PATIENCE_S = 20
MARK = bytes.fromhex("020000000099")
ALL = b"\xff" * 6


def packet_socket(iface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((iface, 0))
    return sock


def own_mac(iface):
    return packet_socket(iface).getsockname()[4]


def ping(address, size):
    v6 = ":" in address
    family, proto, request = ((socket.AF_INET6, socket.IPPROTO_ICMPV6, 128) if v6
                              else (socket.AF_INET, socket.IPPROTO_ICMP, 8))
    sock = socket.socket(family, socket.SOCK_DGRAM, proto)
    sock.settimeout(0.2)
    data = random.randbytes(size)
    end = time.monotonic() + PATIENCE_S
    for number in itertools.count(1):
        if time.monotonic() > end:
            sys.exit(f"no answer from {address} to {size} bytes")
        sock.sendto(struct.pack("!BBHHH", request, 0, 0, 0, number & 0xFFFF) + data, (address, 0))
        try:
            answer = sock.recv(1 << 16)
        except (socket.timeout, TimeoutError):
            continue
        if answer[8:] == data:
            return


def arp(src, dst, op, spa, tpa):
    return (dst + src + bytes.fromhex("0806000108000604") + struct.pack("!H", op) + src + spa
            + bytes(6) + tpa).ljust(60, b"\0")


def shouts(mac):
    body = b"\x45" + bytes(45)
    groups = (ALL, bytes.fromhex("01005e000005"), bytes.fromhex("333300000001"), bytes.fromhex("020000000077"))
    return [dst + mac + b"\x08\x00" + body for dst in groups] + [
        arp(mac, ALL, 1, bytes([192, 0, 2, 2]), bytes([192, 0, 2, 77]))]


def shout(iface):
    for frame in shouts(own_mac(iface)):
        packet_socket(iface).send(frame)


def mark(iface):
    packet_socket(iface).send(ALL + MARK + b"\x88\xb5" + bytes(46))


def count(iface, mac, path):
    sock, wanted, seen = packet_socket(iface), shouts(bytes.fromhex(mac.replace(":", ""))), 0
    sock.settimeout(PATIENCE_S)
    with open(path + ".started", "wb"):
        pass
    while (frame := sock.recv(1 << 16))[6:12] != MARK:
        seen += frame in wanted
    with open(path, "w", encoding="ascii") as f:
        f.write(f"{seen}\n")


def flood(iface, mac, address):
    sock, mac, ip = packet_socket(iface), bytes.fromhex(mac.replace(":", "")), socket.inet_aton(address)
    frames = []
    for i in range(3000):
        src = b"\x02\xee" + random.randbytes(4)
        host = bytes([192, 0, 2, 10 + i % 240])
        frames.append((arp(src, ALL, 1, host, ip), arp(src, mac, 2, host, ip),
                       mac + src + b"\x08\x00\x45" + bytes(45))[i % 3])
    while True:
        for frame in frames:
            try:
                sock.send(frame)
            except OSError:
                pass  # the queue is full


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[0] == "ping":
        ping(words[1], int(words[2]))
    elif words[0] == "mac":
        print(own_mac(words[1]).hex(":"))
    elif words[0] in ("shout", "mark", "count", "flood"):
        globals()[words[0]](*words[1:])
    else:
        sys.exit(__doc__)
