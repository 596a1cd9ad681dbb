# SPDX-License-Identifier: Apache-2.0
"""CPU of an idle card with four guests' worth of functions attached (a NIC and a disk each)."""
import os
import subprocess
import time

import benchlib
from benchlib import BACKEND_CPU, BUILD, Run

VDRV = f"{BUILD}/tests/driver/vdrv"
GUESTS = 4
WINDOW_S = 10


def percent(pid):
    before = benchlib.cpu_seconds(pid)
    start = time.monotonic()
    time.sleep(WINDOW_S)
    return 100 * (benchlib.cpu_seconds(pid) - before) / (time.monotonic() - start)


def attach(run, nets, disks):
    """Hold a front-end with started rings on each socket."""
    for path, kind in [(p, "net") for p in nets] + [(p, "blk") for p in disks]:
        name = f"hold-{len(run.procs)}"
        benchlib.wait_for(lambda p=path: os.path.exists(p), f"socket {path}")
        child = run.start([VDRV, "attach", "--socket", path, "--type", kind], name)
        benchlib.wait_for(lambda n=name: "attached" in run.log(n), "vdrv attach", child)


def ours():
    with Run() as run:
        calls = []
        for i in range(GUESTS):
            calls += [
                {"method": "net_create", "params": {"name": f"n{i}", "mac": f"02:00:00:00:01:0{i}"}},
                {"method": "bdev_malloc_create",
                 "params": {"name": f"v{i}", "num_blocks": 32768, "block_size": 512}},
                {"method": "vhost_create_blk_controller",
                 "params": {"ctrlr": f"d{i}", "dev_name": f"v{i}"}},
            ]
        card = run.card(calls, False, str(BACKEND_CPU))
        attach(run, [run.path(f"n{i}") for i in range(GUESTS)],
               [run.path(f"d{i}") for i in range(GUESTS)])
        return percent(card.pid)


def peer():
    with Run() as run:
        args = ["stdbuf", "-oL", "dpdk-testpmd", f"--lcores=0@(0,1),1@{BACKEND_CPU}", "--main-lcore=0", "--no-pci",
                "--file-prefix=obi", "--no-huge", "--no-shconf", "-m", "256"]
        paths = [run.path(f"n{i}") for i in range(GUESTS)]
        for i, path in enumerate(paths):
            args += ["--vdev", f"net_vhost{i},iface={path},queues=1"]
        args += ["--", "-i", "--nb-cores=1", "--forward-mode=io", "--total-num-mbufs=16384"]
        child = run.start(args, "peer", stdin=subprocess.PIPE)
        child.stdin.write(b"start\n")
        child.stdin.flush()
        benchlib.wait_for(lambda: "io packet forwarding" in run.log("peer"), "testpmd peer", child)
        attach(run, paths, [])
        return percent(child.pid)


def idle(name):
    rounds = [{"ours": ours(), "peer": peer()} for _ in range(min(benchlib.ROUNDS, 3))]
    return benchlib.result(name, "% of a core", rounds, "testpmd io over DPDK vhost PMD ports",
                           higher_is_better=False, window_s=WINDOW_S, guests=GUESTS)


CASES = {"idle-cpu": idle}
