# SPDX-License-Identifier: Apache-2.0
"""The first request after a pause, and what the card's CPU does meanwhile: the curve of polling.

A worker polls while there is work and a little longer, then it sleeps. Beside each pause stands what
the machine itself takes to wake a thread that slept as long on the same CPU; what the card adds to
that is the figure.
"""
import json
import subprocess
import time

import benchlib
from benchlib import BACKEND_CPU, BUILD, LOAD_CPU, Run

VDRV = f"{BUILD}/tests/driver/vdrv"
PAUSES_US = [0, 5, 20, 50, 100, 300, 1000, 10000, 100000]
SIZE = 1 << 30


def vdrv(pause_us, *more):
    n = max(20, min(20000, int(benchlib.SECONDS * 1e6 / max(pause_us, 20))))
    argv = [VDRV, "blk-wake", "--gap-us", str(pause_us), "--requests", str(n), "--cpu", str(LOAD_CPU),
            *more]
    res = subprocess.run(argv, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"vdrv: {res.stderr[-500:]}")
    return json.loads(res.stdout)


def point(path, pid, pause_us):
    cpu, start = benchlib.cpu_seconds(pid), time.monotonic()
    card = vdrv(pause_us, "--socket", path)
    busy = 100 * (benchlib.cpu_seconds(pid) - cpu) / (time.monotonic() - start)
    return {"gap_us": pause_us, "card": card, "card_cpu_percent": round(busy, 1),
            "machine": vdrv(pause_us, "--card-cpu", str(BACKEND_CPU))}


def wake(name):
    with Run() as run:
        child = run.card([
            {"method": "bdev_null_create",
             "params": {"name": "n", "num_blocks": SIZE // 512, "block_size": 512}},
            {"method": "vhost_create_blk_controller", "params": {"ctrlr": "d", "dev_name": "n"}},
        ], False, str(BACKEND_CPU))
        curve = [point(run.path("d"), child.pid, us) for us in PAUSES_US]
    print("  pause us   card p50   card p99   wake-up p50   wake-up p99  us   card's CPU")
    for p in curve:
        print(f"{p['gap_us']:>10} {p['card']['p50_us']:>10.1f} {p['card']['p99_us']:>10.1f}"
              f" {p['machine']['p50_us']:>13.1f} {p['machine']['p99_us']:>13.1f}"
              f" {p['card_cpu_percent']:>15.1f} %")
    slept = [p for p in curve if p["gap_us"] >= 100]
    rounds = [{"ours": p["card"]["p50_us"], "peer": p["machine"]["p50_us"]} for p in slept]
    return benchlib.result(name, "us", rounds, "a thread in epoll on the same CPU",
                           higher_is_better=False, curve=curve)


CASES = {"wake": wake}
