#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one command in a lab guest: agent.py SOCKET COMMAND [LIMIT-S]. The socket is that of the guest's second
serial port; what is said there stands in guest-init. Waits for a guest that is not up yet. Ends with the
command's status, or with 124 when there was no answer."""
import base64
import random
import re
import socket
import sys
import time

PATIENCE_S = 120  # for a guest that boots


def connect(path, until):
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class Agent:
    def __init__(self, path, until):
        self.sock = connect(path, until)
        self.seen = b""

    def answer(self, seq, until):
        """(status, output) of command seq; None when it does not come until then."""
        head = re.compile(rb"\x01DONE %d (\d+) (\d+) [0-9a-f]+\n" % seq)
        while True:
            m = head.search(self.seen)
            if m and len(self.seen) >= m.end() + int(m[2]):
                return int(m[1]), self.seen[m.end() : m.end() + int(m[2])]
            left = until - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return None
            if not data:
                return None
            self.seen += data

    def ask(self, command, limit):
        seq = random.randrange(1, 1 << 30)
        text = base64.b64encode(command.encode())
        self.sock.sendall(b"%d %d %d %s\n" % (seq, limit, len(text), text))
        return seq


def main():
    path, command = sys.argv[1:3]
    limit = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    until = time.monotonic() + PATIENCE_S
    agent = Agent(path, until)
    # What is said to a guest that does not listen yet is lost.
    while not agent.answer(agent.ask(":", 5), min(until, time.monotonic() + 2)):
        if time.monotonic() > until:
            print("the guest does not answer", file=sys.stderr)
            return 124
    got = agent.answer(agent.ask(command, limit), time.monotonic() + limit + 30)
    if not got:
        print("no answer from the guest", file=sys.stderr)
        return 124
    sys.stdout.buffer.write(got[1])
    return got[0]


sys.exit(main())
