# SPDX-License-Identifier: Apache-2.0
"""Network: packets circulate between two virtio-user ports of one testpmd through the back-end.

The figure is the sum of both ports' received packets per second. The peer is DPDK's own vhost
library: testpmd in io mode between two vhost PMD ports. It does no switching; ours does. Both
back-ends and both loads are there all the time, and one pair at a time is running.
"""
import json
import os
import re
import subprocess
import time

import benchlib
from benchlib import BACKEND_CPU, BUILD, LOAD_CPU, Run

VDRV = f"{BUILD}/tests/driver/vdrv"
PEER = "testpmd io between two DPDK vhost PMD ports"
FORWARDING = "io packet forwarding"
STARTS = 4  # of all processes, in alternating order
# The load's quickest driver. Its ordinary one takes as long for a packet of a packed ring as either
# back-end does, and both then wait for it. Falls back by itself on a CPU without AVX-512.
VECTOR = ",mrg_rxbuf=0,in_order=1,vectorized=1"
SIMD = "--force-max-simd-bitwidth=512"


class Testpmd:
    """One interactive testpmd: main lcore anywhere, the forwarding lcore pinned."""

    def __init__(self, run, name, cpu, huge, vdevs, options):
        memory = (["--single-file-segments", "--iova-mode=va", "--in-memory"] if huge else
                  ["--no-huge", "--no-shconf"])
        argv = ["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@({BACKEND_CPU},{LOAD_CPU}),1@{cpu}",
                "--main-lcore=0", "--no-pci", SIMD, f"--file-prefix={os.path.basename(run.dir)}-{name}",
                "-m", "256", *memory]
        for vdev in vdevs:
            argv += ["--vdev", vdev]
        argv += ["--", "-i", "--nb-cores=1", "--forward-mode=io", "--no-flush-rx",
                 "--total-num-mbufs=16384", *options]
        self.run, self.name = run, name
        self.child = run.start(argv, name, stdin=subprocess.PIPE)

    def command(self, line, answer, times=1):
        """Say a line and wait until its answer was printed so many times more."""
        seen = self.run.log(self.name).count(answer)
        self.child.stdin.write((line + "\n").encode())
        self.child.stdin.flush()
        benchlib.wait_for(lambda: self.run.log(self.name).count(answer) >= seen + times,
                          f"testpmd: {line}", self.child)

    def rates(self):
        """Received packets per second of both ports since this was asked last."""
        self.command("show port stats all", "Tx-pps", 2)
        return [int(v) for v in re.findall(r"Rx-pps:\s+(\d+)", self.run.log(self.name))[-2:]]


class Rig:
    """A back-end and the load that belongs to it; stopped when not measured."""
    vdev = VECTOR  # what else the load's ports are told

    def __init__(self, packed, size, huge):
        self.run = Run()
        self.sockets = [self.run.path("a"), self.run.path("b")]
        try:
            self.open(packed, size, huge)
        except Exception as e:
            self.run.__exit__(type(e), e, None)
            raise

    def open(self, packed, size, huge):
        self.start_backend(huge)
        vdevs = []
        for i, path in enumerate(self.sockets):
            self.wait_backend(path)
            ring = ",packed_vq=1" if packed else ""
            vdevs.append(f"net_virtio_user{i},path={path},queues=1,queue_size=256{ring}{self.vdev},"
                         f"mac=02:00:00:00:00:0{i + 1}")
        # Each port's frames are addressed to the other one, as between two guests.
        self.load = Testpmd(self.run, "load", LOAD_CPU, huge, vdevs,
                            [f"--txpkts={size}", "--eth-peer=0,02:00:00:00:00:02",
                             "--eth-peer=1,02:00:00:00:00:01"])
        self.load.rates()
        # A first burst lets a learning back-end learn, so that no measured packet is lost to it.
        self.go(1)
        time.sleep(0.3)
        self.halt()

    def wait_backend(self, path):
        benchlib.wait_for(lambda: os.path.exists(path), f"socket {path}")

    def go(self, bursts):
        self.load.command(f"start tx_first {bursts}", FORWARDING)

    def halt(self):
        self.load.command("stop", "Done.")

    def sample(self):
        """Million packets per second."""
        self.go(16)
        time.sleep(0.3)
        self.load.rates()
        time.sleep(benchlib.SECONDS)
        pps = sum(self.load.rates())
        self.halt()
        return pps / 1e6

    def close(self):
        self.run.close()


class Ours(Rig):
    def start_backend(self, huge):
        calls = [{"method": "net_create", "params": {"name": os.path.basename(path),
                  "mac": f"02:00:00:00:00:0{i + 1}", "queue_pairs": 1}}
                 for i, path in enumerate(self.sockets)]
        self.run.card(calls, huge, str(BACKEND_CPU))


class Peer(Rig):
    def start_backend(self, huge):
        vdevs = [f"net_vhost{i},iface={path},queues=1" for i, path in enumerate(self.sockets)]
        self.peer = Testpmd(self.run, "peer", BACKEND_CPU, huge, vdevs, [])

    def go(self, bursts):
        self.peer.command("start", FORWARDING)
        super().go(bursts)

    def halt(self):
        super().halt()
        self.peer.command("stop", "Done.")


class TsoOurs(Ours):
    """64 KiB frames one way, from our own driver at both ends: testpmd makes none."""
    vdrv = ()  # what else the driver is told

    def open(self, packed, size, huge):
        self.packed = packed
        self.start_backend(huge)
        for path in self.sockets:
            self.wait_backend(path)

    def sample(self):
        """Gigabytes per second."""
        argv = [VDRV, "net-load", "--a", self.sockets[0], "--b", self.sockets[1], "--seconds",
                str(benchlib.SECONDS), "--cpu", str(LOAD_CPU), *self.vdrv]
        res = subprocess.run(argv + (["--packed"] if self.packed else []), capture_output=True,
                             text=True, check=False)
        if res.returncode:
            raise RuntimeError(f"vdrv: {res.stderr[-500:]}")
        return json.loads(res.stdout)["bytes_per_s"] / 1e9


class TsoPeer(TsoOurs):
    def start_backend(self, huge):
        # The old flags are the ones that carry a request to segment from one port to the other
        vdevs = [f"net_vhost{i},iface={path},queues=1,tso=1,legacy-ol-flags=1"
                 for i, path in enumerate(self.sockets)]
        self.peer = Testpmd(self.run, "peer", BACKEND_CPU, huge, vdevs, [])

    def sample(self):
        self.peer.command("start", FORWARDING)
        try:
            return super().sample()
        finally:
            self.peer.command("stop", "Done.")


def rounds_of(kinds, packed, size, huge, order, n):
    """n rounds with back-ends and loads of their own, started in that order."""
    rigs = {}
    try:
        for kind in order:
            rigs[kind] = kind(packed, size, huge)
        return benchlib.paired(rigs[kinds[0]].sample, rigs[kinds[1]].sample, n)
    finally:
        for rig in rigs.values():
            rig.close()


def case(packed, size, kinds=(Ours, Peer), unit="Mpps", peer=PEER, starts=STARTS):
    """Who starts first gets other memory, which was seen to matter by 7 %: each does at times."""
    def fn(name):
        huge = benchlib.hugepages()
        rounds = []
        for i in range(starts):
            order = kinds[::1 if i % 2 == 0 else -1]
            rounds += rounds_of(kinds, packed, size, huge, order, -(-benchlib.ROUNDS // starts))
        return benchlib.result(name, unit, rounds, peer, hugepages=huge)
    return fn


CASES = {
    "net-64-split": case(False, 64),
    "net-64-packed": case(True, 64),
    "net-1500": case(False, 1500),
    "net-tso-64k": case(False, 65214, (TsoOurs, TsoPeer), "GB/s"),
}
