# SPDX-License-Identifier: Apache-2.0
"""Block: 4 KiB reads from a null volume by our polling driver, against qemu-storage-daemon."""
import json
import os
import subprocess

import benchlib
from benchlib import BACKEND_CPU, BUILD, LOAD_CPU, Run

VDRV = f"{BUILD}/tests/driver/vdrv"
SIZE = 1 << 30


def load(path, depth):
    argv = [VDRV, "blk-load", "--socket", path, "--ring", "split", "--qd", str(depth), "--bs", "4096",
            "--rw", "read", "--seconds", str(benchlib.SECONDS), "--poll", "--cpu", str(LOAD_CPU),
            "--json"]
    res = subprocess.run(argv, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"vdrv: {res.stderr[-500:]}")
    return json.loads(res.stdout)["iops"]


def card(run):
    run.card([
        {"method": "bdev_null_create",
         "params": {"name": "n", "num_blocks": SIZE // 512, "block_size": 512}},
        {"method": "vhost_create_blk_controller", "params": {"ctrlr": "d", "dev_name": "n"}},
    ], False, str(BACKEND_CPU))
    return run.path("d")


def qsd(run):
    sock = run.path("d")
    child = run.start(
        ["qemu-storage-daemon", "--blockdev", f"null-co,node-name=n,size={SIZE},read-zeroes=off",
         "--export", f"type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={sock},"
         "num-queues=1,writable=on"], "peer", cpus={BACKEND_CPU})
    benchlib.wait_for(lambda: os.path.exists(sock), "qemu-storage-daemon", child)
    return sock


def case(depth):
    def fn(name):
        with Run() as a, Run() as b:
            ours, peer = card(a), qsd(b)
            rounds = benchlib.paired(lambda: load(ours, depth) / 1e3,
                                     lambda: load(peer, depth) / 1e3)
        return benchlib.result(name, "kIOPS", rounds, "qemu-storage-daemon null-co")
    return fn


CASES = {"blk-null-qd1": case(1), "blk-null-qd32": case(32)}
