# SPDX-License-Identifier: Apache-2.0
"""Block: 4 KiB requests from our own driver, one queue, against qemu-storage-daemon's null-co.

Neither side of the null cases touches data. In the RAM cases ours copies from and to memory, reads and
writes mixed at random, while the peer fills what is read with zeros and drops what is written: it has no
data to fetch. The volume has the size of SPDK's examples, 64 MiB, several times what a core has of the
caches: a disk that fits a cache is nobody's. Its memory is taken beforehand, in huge pages, as SPDK
has it; the peer's volume has no memory.

blk-inflight-qd32 asks for an inflight region, as QEMU does. The peer offers none and runs without.

At depth 1 the driver fetches the line of its one request, to write to it, as soon as it is answered,
without reading first which it was: what is measured is the device.
"""
import json
import os
import subprocess

import benchlib
from benchlib import BACKEND_CPU, BUILD, LOAD_CPU, Run

VDRV = f"{BUILD}/tests/driver/vdrv"
MIB = 1 << 20
NULL_BYTES = 1024 * MIB
RAM_BYTES = 64 * MIB


def load(path, depth, rw, *more):
    """One run of the driver: what it printed, as a dict."""
    argv = [VDRV, "blk-load", "--socket", path, "--ring", "split", "--qd", str(depth), "--bs", "4096",
            "--rw", rw, "--seconds", str(benchlib.SECONDS), *more, "--cpu", str(LOAD_CPU), "--json"]
    res = subprocess.run(argv, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"vdrv: {res.stderr[-500:]}")
    return json.loads(res.stdout)


def kiops(path, depth, rw, *more):
    return load(path, depth, rw, "--poll", *more)["iops"] / 1e3


def latency_us(path):
    """Median latency of a driver that sleeps until it is called."""
    return load(path, 1, "read", "--intr")["p50_ns"] / 1e3


def card(run, kind, size, **more):
    run.card([
        {"method": f"bdev_{kind}_create",
         "params": {"name": "n", "num_blocks": size // 512, "block_size": 512, **more}},
        {"method": "vhost_create_blk_controller", "params": {"ctrlr": "d", "dev_name": "n"}},
    ], False, str(BACKEND_CPU))
    return run.path("d")


def qsd(run, size, zeroes):
    sock = run.path("d")
    child = run.start(
        ["qemu-storage-daemon", "--blockdev", f"null-co,node-name=n,size={size},read-zeroes={zeroes}",
         "--export", f"type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={sock},"
         "num-queues=1,writable=on"], "peer", cpus={BACKEND_CPU})
    benchlib.wait_for(lambda: os.path.exists(sock), "qemu-storage-daemon", child)
    return sock


def null_case(depth, *more):
    def fn(name):
        with Run() as a, Run() as b:
            ours, peer = card(a, "null", NULL_BYTES), qsd(b, NULL_BYTES, "off")
            rounds = benchlib.paired(lambda: kiops(ours, depth, "read", *more),
                                     lambda: kiops(peer, depth, "read", *more))
        return benchlib.result(name, "kIOPS", rounds, "qemu-storage-daemon null-co", depth=depth)
    return fn


def ram_case(depth):
    def fn(name):
        with Run() as a, Run() as b:
            ours, peer = card(a, "malloc", RAM_BYTES, prealloc=True), qsd(b, RAM_BYTES, "on")
            rounds = benchlib.paired(lambda: kiops(ours, depth, "randrw"),
                                     lambda: kiops(peer, depth, "randrw"))
        return benchlib.result(name, "kIOPS", rounds, "qemu-storage-daemon null-co, read-zeroes",
                               depth=depth, volume_bytes=RAM_BYTES)
    return fn


def null_intr(name):
    with Run() as a, Run() as b:
        ours, peer = card(a, "null", NULL_BYTES), qsd(b, NULL_BYTES, "off")
        rounds = benchlib.paired(lambda: latency_us(ours), lambda: latency_us(peer))
    return benchlib.result(name, "us", rounds, "qemu-storage-daemon null-co",
                           higher_is_better=False, depth=1)


CASES = {
    "blk-null-qd1": null_case(1),
    "blk-null-qd32": null_case(32),
    "blk-null-qd128": null_case(128),
    "blk-inflight-qd32": null_case(32, "--inflight"),
    "blk-ram-qd32": ram_case(32),
    "blk-ram-qd128": ram_case(128),
    "blk-null-intr": null_intr,
}
