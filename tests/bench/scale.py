# SPDX-License-Identifier: Apache-2.0
"""What functions without work cost one that has some: 512 on one worker against one alone.

Both sides are our card: a disk on a null volume under full load, once by itself and once with 511
neighbours, half of them NICs, whose drivers are attached and quiet.
"""
import json
import resource
import subprocess

import benchlib
from benchlib import BACKEND_CPU, BUILD, LOAD_CPU, Run

VDRV = f"{BUILD}/tests/driver/vdrv"
FUNCTIONS = 512
SIZE = 1 << 30
DEPTH = 32


def load(path):
    argv = [VDRV, "blk-load", "--socket", path, "--ring", "split", "--qd", str(DEPTH), "--bs", "4096",
            "--rw", "read", "--seconds", str(benchlib.SECONDS), "--poll", "--cpu", str(LOAD_CPU),
            "--json"]
    res = subprocess.run(argv, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"vdrv: {res.stderr[-500:]}")
    return json.loads(res.stdout)["iops"] / 1e3


def disk(name):
    return [{"method": "bdev_null_create",
             "params": {"name": f"v-{name}", "num_blocks": SIZE // 512, "block_size": 512}},
            {"method": "vhost_create_blk_controller", "params": {"ctrlr": name, "dev_name": f"v-{name}"}}]


def card(run, quiet):
    """Returns the busy disk's socket, with so many neighbours attached."""
    disks, nets = quiet - quiet // 2, quiet // 2
    calls = disk("busy")
    for i in range(disks):
        calls += disk(f"d{i}")
    for i in range(nets):
        calls.append({"method": "net_create",
                      "params": {"name": f"n{i}", "mac": f"02:00:00:00:{i >> 8:02x}:{i & 255:02x}"}})
    run.card(calls, False, str(BACKEND_CPU))
    for name, kind, n in (("d", "blk", disks), ("n", "net", nets)):
        if n == 0:
            continue
        child = run.start([VDRV, "attach", "--socket", run.path(name), "--type", kind, "--count", str(n)],
                          f"hold-{kind}", cpus={LOAD_CPU})
        benchlib.wait_for(lambda k=kind: "attached" in run.log(f"hold-{k}"), f"vdrv attach {kind}", child,
                          120)
    return run.path("busy")


def scale(name):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    try:
        with Run() as a, Run() as b:
            many, one = card(a, FUNCTIONS - 1), card(b, 0)
            rounds = benchlib.paired(lambda: load(many), lambda: load(one))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return benchlib.result(name, "kIOPS", rounds, "our card with that function alone",
                           functions=FUNCTIONS)


CASES = {"scale-512": scale}
