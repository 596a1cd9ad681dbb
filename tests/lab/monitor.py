#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks the monitor of a lab's QEMU one thing and prints its answer: monitor.py SOCKET COMMAND."""
import socket
import sys

PROMPT = b"(qemu) "


def until_prompt(sock):
    seen = b""
    while not seen.endswith(PROMPT):
        data = sock.recv(65536)
        if not data:
            break
        seen += data
    return seen


def main():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(sys.argv[1])
        until_prompt(sock)
        sock.sendall(sys.argv[2].encode() + b"\n")
        sys.stdout.buffer.write(until_prompt(sock).replace(b"\r", b""))


main()
