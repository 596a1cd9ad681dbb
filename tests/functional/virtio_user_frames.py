# SPDX-License-Identifier: Apache-2.0
"""Frames and figures for 33-virtio-user.sh.

    make DIR COUNT LONGEST  captures DIR/PAIRS.PORT.QUEUE for 1, 2 and 4 queue pairs: COUNT frames from
                            each port to the other one, of every length from the shortest to LONGEST
    judge DIR CAPTURES      one run of testpmd against cardd: its files in DIR (see below), what it was
                            to send in CAPTURES; prints a line of figures, fails at the first mismatch

A run leaves in DIR "row" (its options, words of the form NAME=VALUE), "card.0" .. "card.2" (all
counters of cardd: before, between and after its two phases), "load.1" and "load.2" (testpmd's port
statistics of each phase, ports capture, n0, n1, capture) and "out.PORT.QUEUE", what arrived.
"""
import json
import random
import re
import struct
import sys

MACS = (bytes.fromhex("020000000001"), bytes.fromhex("020000000002"))
SHORTEST = 60
TYPE = b"\x88\xb5"  # local experimental
# Reasons that a port counts for a packet that came in by it; the others are counted where it was to go.
WAY_IN = ("MALFORMED", "NO_FLOW", "UPCALL_LIMIT", "FLOW_DROP")


def frames(path):
    with open(path, "rb") as file:
        data = file.read()
    at, result = 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        result.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return result


def write(path, all_frames):
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame in all_frames:
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def make(where, count, longest):
    rng = random.Random(33)
    count, longest = int(count), int(longest)
    for port in (0, 1):
        made = []
        for i in range(count):
            head = MACS[1 - port] + MACS[port] + TYPE + struct.pack("!I", i)
            length = SHORTEST + i * 7919 % (longest - SHORTEST + 1)
            made.append(head + rng.randbytes(length - len(head)))
        for pairs in (1, 2, 4):
            for queue in range(pairs):
                write(f"{where}/{pairs}.{port}.{queue}", made[queue::pairs])


def number(frame):
    return struct.unpack_from("!I", frame, 14)[0]


def expect(what, got, want):
    if got != want:
        sys.exit(f"{what}: {got}, expected {want}")


class Card:
    """What cardd counted between two snapshots."""

    def __init__(self, before, after):
        self.before, self.after = (json.load(open(p, encoding="utf-8")) for p in (before, after))

    def _object(self, of, kind, port):
        return next(o for o in of[kind] if o["name"] == f"n{port}")

    def _diff(self, kind, port, path):
        def walk(value):
            for key in path:
                value = value[key]
            return sum(value.values()) if isinstance(value, dict) else value
        return walk(self._object(self.after, kind, port)) - walk(self._object(self.before, kind, port))

    def port(self, port, *path):
        return self._diff("port", port, path)

    def pair(self, port, pair, *path):
        return self._diff("net", port, ("pairs", pair, *path))

    def pairs(self, port, *path):
        n = len(self._object(self.after, "net", port)["pairs"])
        return [self.pair(port, pair, *path) for pair in range(n)]

    def queues(self, port, first, *path):
        """Of the receiveqs (first = 0) or transmitqs (1)."""
        return [self._diff("net", port, ("queues", 2 * pair + first, *path))
                for pair in range(len(self.pairs(port, "rx_packets")))]

    def drops(self, kind, port, wanted):
        """Reasons for which `wanted` holds, with their counts."""
        if kind == "port":
            reasons = self._object(self.after, kind, port)["drops"]
            return {r: self.port(port, "drops", r) for r in reasons if wanted(r)}
        reasons = self._object(self.after, kind, port)["pairs"][0]["drops"]
        return {r: sum(self.pairs(port, "drops", r)) for r in reasons if wanted(r)}

    def healthy(self, port):
        net = self._object(self.after, "net", port)
        expect(f"n{port}: needs_reset", net["now"]["needs_reset"], 0)
        for counter in ("rejected_messages", "dropped_sessions"):
            expect(f"n{port}: {counter}", self._diff("net", port, (counter,)), 0)
        for queue in net["queues"]:
            expect(f"n{port}: queue {queue['queue']} broken", queue["now"]["broken"], 0)
            expect(f"n{port}: errors of queue {queue['queue']}", sum(queue["errors"].values()), 0)


def statistics(path):
    """testpmd's port statistics: a dictionary for each port."""
    ports = []
    for line in open(path, encoding="utf-8"):
        if "NIC statistics" in line:
            ports.append({})
        for key, value in re.findall(r"([RT]X-\w+): +(\d+)", line):
            ports[-1][key] = int(value)
    return ports


def in_use(packets, pairs):
    """Which queue pairs have packets, which should: each of the first `pairs`."""
    return [n > 0 for n in packets], [i < pairs for i in range(len(packets))]


def agree(phase, load, card, pairs, workers):
    """Both sides' counts of the way from each port to the other. Returns what was lost, by reason."""
    lost = {}
    for here in (0, 1):
        there = 1 - here
        way = f"phase {phase}, n{here} to n{there}: "
        sent, got = load[1 + here], load[1 + there]
        for bad in ("RX-missed", "RX-errors", "TX-errors"):
            expect(f"{way}testpmd's {bad}", sent[bad] + got[bad], 0)

        # Into the card: by queue pair, by ring, by port
        refused = card.drops("net", here, lambda r: r.startswith("rx_"))
        taken = sum(card.pairs(here, "rx_packets"))
        expect(f"{way}testpmd sent, card took", sent["TX-packets"], taken + sum(refused.values()))
        expect(f"{way}testpmd sent, transmitqs", sent["TX-packets"], sum(card.queues(here, 1, "requests")))
        expect(f"{way}queue pair, port", taken, card.port(here, "rx_packets"))
        if not any(refused.values()):
            expect(f"{way}bytes testpmd sent, card took", sent["TX-bytes"], sum(card.pairs(here, "rx_bytes")))
        expect(f"{way}bytes queue pair, port", sum(card.pairs(here, "rx_bytes")), card.port(here, "rx_bytes"))
        expect(f"{way}queue pairs that sent", *in_use(card.pairs(here, "rx_packets"), pairs))

        # Through it
        switch = card.drops("port", here, lambda r: r in WAY_IN)
        switch.update(card.drops("port", there, lambda r: r not in WAY_IN))
        expect(f"{way}ports, in and out", taken, card.port(there, "tx_packets") + sum(switch.values()))

        # Out of it
        full = card.drops("net", there, lambda r: r.startswith("tx_"))
        given = sum(card.pairs(there, "tx_packets"))
        expect(f"{way}port, queue pair", card.port(there, "tx_packets"), given)
        expect(f"{way}TX_FULL and its reasons", switch.pop("TX_FULL"), sum(full.values()))
        expect(f"{way}card gave, testpmd got", given, got["RX-packets"])
        expect(f"{way}bytes card gave, testpmd got", sum(card.pairs(there, "tx_bytes")), got["RX-bytes"])
        buffers = sum(card.queues(there, 0, "requests"))
        if buffers < given:
            sys.exit(f"{way}{given} packets in {buffers} buffers")
        if phase == 2:  # before there are flows, one queue pair may get everything
            used, want = in_use(card.pairs(there, "tx_packets"), pairs)
            if workers == 1:
                expect(f"{way}queue pairs that got", used, want)
            elif pairs > 1 and sum(used) == 1:
                sys.exit(f"{way}one queue pair of {pairs} got everything")
        for reason, n in (*refused.items(), *switch.items(), *full.items()):
            lost[reason] = lost.get(reason, 0) + n
    for port in (0, 1):
        card.healthy(port)
    return {r: n for r, n in lost.items() if n}


def where_differs(got, want):
    at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
    return f"at byte {at}, {len(got)} bytes long instead of {len(want)}: {got[at:at + 16].hex(' ')}"


def arrived(where, captures, pairs, load, lost):
    """What was captured: unchanged, once, in order. Returns how many of how many frames."""
    offered = came = 0
    for port in (0, 1):
        sent = [frames(f"{captures}/{pairs}.{port}.{queue}") for queue in range(pairs)]
        got = [frames(f"{where}/out.{1 - port}.{queue}") for queue in range(pairs)]
        want = {number(f): f for queue in sent for f in queue}
        expect(f"frames read for port {port}", load[3 * port]["RX-packets"], len(want))
        seen = set()
        for queue in got:
            last = [-1] * pairs
            for frame in queue:
                n = number(frame)
                if want.get(n) != frame:
                    sys.exit(f"frame {n} from port {port} was changed {where_differs(frame, want.get(n, b''))}")
                if n in seen:
                    sys.exit(f"frame {n} from port {port} arrived twice")
                if n < last[n % pairs]:
                    sys.exit(f"frame {n} from port {port} after frame {last[n % pairs]} of its queue")
                seen.add(n)
                last[n % pairs] = n
        expect(f"frames got from port {port}, captured", load[2 - port]["RX-packets"], len(seen))
        offered += len(want)
        came += len(seen)
    unsent = offered - load[1]["TX-packets"] - load[2]["TX-packets"]
    expect("frames that are missing and no counter knows of", offered - came - unsent - sum(lost.values()), 0)
    if came * 2 < offered:
        sys.exit(f"only {came} of {offered} frames arrived: {unsent} not sent, {lost}")
    return came, offered


def reasons(lost):
    return "".join(f", {n} {reason}" for reason, n in sorted(lost.items())) or ", none lost"


def judge(where, captures):
    row = dict(word.split("=") for word in open(f"{where}/row", encoding="utf-8").read().split())
    pairs, workers = int(row["pairs"]), int(row.get("workers", 1))
    loads = [statistics(f"{where}/load.{phase}") for phase in (1, 2)]
    cards = [Card(f"{where}/card.{phase - 1}", f"{where}/card.{phase}") for phase in (1, 2)]
    lost = [agree(phase, loads[phase - 1], cards[phase - 1], pairs, workers) for phase in (1, 2)]
    came, offered = arrived(where, captures, pairs, loads[1], lost[1])
    circulated = loads[0][1]["RX-packets"] + loads[0][2]["RX-packets"]
    merged = sum(sum(cards[1].queues(port, 0, "requests")) for port in (0, 1)) - came
    if "long" in row:
        expect("frames longer than a buffer, some merged", merged > 0, True)
    print(f"{circulated} circulated{reasons(lost[0])}; {came} of {offered} unchanged{reasons(lost[1])}"
          + (f", {merged} buffers merged" if merged else ""))


if __name__ == "__main__":
    commands = {f.__name__: f for f in (make, judge)}
    commands[sys.argv[1]](*sys.argv[2:])
