#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Attaches "cardctl vm console" to a terminal, whose guest writes back what is typed.

Usage: vm_console.py leave|term|lost CARDCTL SOCKET VM [CARD-PID]
leave: Ctrl-] ends it; term: SIGTERM does; lost: the card with this pid is killed under it.
"""
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

PATIENCE = 30


class Attached:
    def __init__(self, cardctl, socket, vm):
        self.ours, self.tty = pty.openpty()
        self.before = termios.tcgetattr(self.tty)
        self.out = b""
        self.process = subprocess.Popen(
            [cardctl, "--socket", socket, "vm", "console", vm],
            stdin=self.tty, stdout=self.tty, stderr=self.tty, start_new_session=True)
        self.end = time.monotonic() + PATIENCE

    def step(self, what):
        if time.monotonic() > self.end:
            self.process.kill()
            sys.exit(f"FAIL: {what} did not happen; it wrote {self.out!r}")
        if select.select([self.ours], [], [], 0.05)[0]:
            self.out += os.read(self.ours, 4096)

    def await_text(self, text):
        while text not in self.out:
            self.step(f"{text!r}")

    def await_raw(self):
        while termios.tcgetattr(self.tty)[3] & (termios.ICANON | termios.ECHO | termios.ISIG):
            self.step("raw mode")

    def type(self, text):
        os.write(self.ours, text)

    def await_end(self, status):
        while self.process.poll() is None:
            self.step("its end")
        if self.process.returncode != status:
            sys.exit(f"FAIL: status {self.process.returncode}, not {status}: {self.out!r}")
        if termios.tcgetattr(self.tty) != self.before:
            sys.exit("FAIL: the terminal is not as it was")


def main():
    how, cardctl, socket, vm = sys.argv[1:5]
    a = Attached(cardctl, socket, vm)
    a.await_raw()
    a.await_text(b"Ctrl-] leaves")
    # Keys that a terminal has for itself are the guest's, too.
    mark = f"typed-{os.getpid()}".encode()
    a.type(mark + b"\x03\x1a\x04!")
    a.await_text(mark + b"\x03\x1a\x04!")
    if how == "leave":
        a.type(b"\x1d")
        a.await_end(0)
    elif how == "term":
        a.process.send_signal(signal.SIGTERM)
        a.await_end(-signal.SIGTERM)
    else:
        os.kill(int(sys.argv[5]), signal.SIGKILL)
        a.await_end(1)
        a.await_text(b"cardctl: " + socket.encode() + b": ")
    print(f"console: {how}")


main()
