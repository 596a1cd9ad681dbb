# SPDX-License-Identifier: Apache-2.0
"""Volumes: encryption beside OpenSSL alone, and what ten thousand of them cost that one does not.

crypt-*: an encrypted volume on a null volume, 4 KiB requests, reads and writes in turn, on one CPU. The
peer calls OpenSSL for the same units with the same buffers. The JSON has 128 KiB requests as well.

volumes-scale: a card with one disk on a remote volume that is its own target's, once with nothing else,
once with 10,000 remote volumes, each a namespace of a volume of its own.
"""
import subprocess

import benchlib
import blk
import nvmf
from benchlib import BACKEND_CPU, BUILD, Run

CRYPT = f"{BUILD}/tests/bench/crypt_load"
DEPTH = 32
VOLUMES, PER_SUBSYSTEM = 10000, 1000


def gb_per_s(mode, unit, request):
    argv = [CRYPT, mode, str(unit), str(request), str(benchlib.SECONDS * 1000), str(BACKEND_CPU)]
    res = subprocess.run(argv, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"crypt_load: {res.stderr[-500:]}")
    return float(res.stdout.split("per_s=")[1]) / 1e9


def crypt(unit):
    def rounds(request, n=None):
        return benchlib.paired(lambda: gb_per_s("volume", unit, request),
                               lambda: gb_per_s("openssl", unit, request), n)

    def fn(name):
        long = rounds(131072, max(1, benchlib.ROUNDS // 4))
        return benchlib.result(name, "GB/s", rounds(4096), "OpenSSL, the same units", cipher_unit=unit,
                               request=4096, rounds_128k=long)
    return fn


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def card(run, volumes):
    """A card with so many remote volumes and a disk on the last one; its memory in KiB."""
    port = nvmf.free_port()
    calls = [{"method": "nvmf_create_transport",
              "params": {"trtype": "TCP", "max_queue_depth": nvmf.QUEUE}}]
    controllers = []
    for first in range(0, volumes, PER_SUBSYSTEM):
        n, nqn = min(PER_SUBSYSTEM, volumes - first), f"{nvmf.NQN}-{first}"
        here = [f"v{first + i}" for i in range(n)]
        calls += [nvmf.volume("null", v) for v in here] + nvmf.subsystem(nqn, port, here)
        controllers.append((f"c{first}", nqn, f"c{first}n{n}"))
    child = run.card(calls, False, str(BACKEND_CPU), ("--log-level", "warn"), 120)
    for name, nqn, last in controllers:
        run.ctl("controller", "attach", name, "traddr=127.0.0.1", f"trsvcid={port}", f"subnqn={nqn}",
                f"io_queue_size={nvmf.QUEUE}")
    run.ctl("disk", "create", "d", f"dev_name={last}")
    return run.path("d"), rss_kib(child.pid)


def scale(name):
    with Run() as a, Run() as b:
        (many, kib), (one, kib_one) = card(a, VOLUMES), card(b, 1)
        rounds = benchlib.paired(lambda: blk.kiops(many, DEPTH, "randread"),
                                 lambda: blk.kiops(one, DEPTH, "randread"))
    return benchlib.result(name, "kIOPS", rounds, "our card with that volume alone", volumes=VOLUMES,
                           depth=DEPTH, kib_per_volume=round((kib - kib_one) / (VOLUMES - 1), 2))


CASES = {"crypt-4k": crypt(4096), "crypt-512": crypt(512), "volumes-scale": scale}
