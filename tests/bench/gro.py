# SPDX-License-Identifier: Apache-2.0
"""A kernel sends to a Linux guest by an uplink: segments merged for it, against one by one.

The guest, whose CPU QEMU emulates, is what limits the rate, as it would be without emulation.
"""
import os
import re
import subprocess

import benchlib

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../functional/46-gro.sh")
SIZE = 32 << 20


def gro(name):
    env = {**os.environ, "GRO_ROUNDS": str(benchlib.ROUNDS), "GRO_BYTES": str(SIZE)}
    res = subprocess.run([SCRIPT, benchlib.BUILD], env=env, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"46-gro.sh: {(res.stdout + res.stderr)[-500:]}")
    rates = {"guest1": [], "guest2": []}
    for guest, begin, end in re.findall(r"^rate (\S+) (\S+) (\S+)$", res.stdout, re.M):
        rates[guest].append(SIZE / (float(end) - float(begin)) / 1e6)
    rounds = [{"ours": a, "peer": b} for a, b in zip(rates["guest1"], rates["guest2"])]
    return benchlib.result(name, "MB/s", rounds, "the same with gro=false", bytes=SIZE)


CASES = {"odp-gro": gro}
