# SPDX-License-Identifier: Apache-2.0
"""Network: packets circulate between two virtio-user ports of one testpmd through the back-end.

The figure is the sum of both ports' received packets per second. The peer is DPDK's own vhost
library: testpmd in io mode between two vhost PMD ports. It does no switching; ours does.
"""
import os
import re
import statistics
import subprocess
import time

import benchlib
from benchlib import BACKEND_CPU, LOAD_CPU, Run

MAIN_CPUS = f"{BACKEND_CPU},{LOAD_CPU}"


def eal(prefix, cpu, huge):
    """Main lcore floats, the forwarding lcore is pinned."""
    memory = (["--single-file-segments", "--iova-mode=va", "--in-memory"] if huge else
              ["--no-huge", "--no-shconf"])
    return ["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@({MAIN_CPUS}),1@{cpu}", "--main-lcore=0", "--no-pci",
            f"--file-prefix={prefix}", "-m", "256", *memory]


def load(run, sockets, packed, size, huge):
    """Packets per second: median over the seconds of the run."""
    args = eal("obl", LOAD_CPU, huge)
    for i, path in enumerate(sockets):
        benchlib.wait_for(lambda p=path: os.path.exists(p), f"socket {path}")
        ring = ",packed_vq=1" if packed else ""
        args += ["--vdev", f"net_virtio_user{i},path={path},queues=1,queue_size=256{ring},"
                 f"mac=02:00:00:00:00:0{i + 1}"]
    # Each port's frames are addressed to the other one, as between two guests.
    args += ["--", "-i", "--nb-cores=1", "--forward-mode=io", f"--txpkts={size}",
             "--eth-peer=0,02:00:00:00:00:02", "--eth-peer=1,02:00:00:00:00:01",
             "--total-num-mbufs=16384"]
    child = run.start(args, "load", stdin=subprocess.PIPE)
    say(child, "show port stats all")
    benchlib.wait_for(lambda: run.log("load").count("Rx-pps") >= 2, "testpmd load", child)
    # A first burst lets a learning back-end learn, so that none of the measured packets is lost to it.
    say(child, "start tx_first 1")
    time.sleep(0.5)
    say(child, "stop")
    say(child, "start tx_first 16")
    time.sleep(1)
    say(child, "show port stats all")
    sums = []
    for _ in range(benchlib.SECONDS):
        seen = run.log("load").count("Rx-pps")
        time.sleep(1)
        say(child, "show port stats all")
        benchlib.wait_for(lambda s=seen: run.log("load").count("Tx-pps") >= s + 2, "statistics", child)
        pps = [int(v) for v in re.findall(r"Rx-pps:\s+(\d+)", run.log("load"))]
        sums.append(pps[-1] + pps[-2])
    say(child, "quit")
    benchlib.end(child)
    return statistics.median(sums)


def say(child, line):
    child.stdin.write((line + "\n").encode())
    child.stdin.flush()


def ours(packed, size, huge):
    with Run() as run:
        names = ["a", "b"]
        calls = [{"method": "net_create",
                  "params": {"name": n, "mac": f"02:00:00:00:00:0{i + 1}", "queue_pairs": 1}}
                 for i, n in enumerate(names)]
        run.card(calls, huge, str(BACKEND_CPU))
        return load(run, [run.path(n) for n in names], packed, size, huge)


def peer(packed, size, huge):
    with Run() as run:
        sockets = [run.path("a"), run.path("b")]
        args = eal("obp", BACKEND_CPU, huge)
        for i, path in enumerate(sockets):
            args += ["--vdev", f"net_vhost{i},iface={path},queues=1"]
        args += ["--", "-i", "--nb-cores=1", "--forward-mode=io", "--total-num-mbufs=16384"]
        child = run.start(args, "peer", stdin=subprocess.PIPE)
        say(child, "start")
        benchlib.wait_for(lambda: "io packet forwarding" in run.log("peer"), "testpmd peer", child)
        return load(run, sockets, packed, size, huge)


def case(packed, size):
    def fn(name):
        huge = benchlib.hugepages()
        a, b = benchlib.paired(lambda: ours(packed, size, huge) / 1e6,
                               lambda: peer(packed, size, huge) / 1e6)
        return benchlib.result(name, "Mpps", a, b, "testpmd io between two DPDK vhost PMD ports",
                               hugepages=huge)
    return fn


CASES = {
    "net-64-split": case(False, 64),
    "net-64-packed": case(True, 64),
    "net-1500": case(False, 1500),
}
