# SPDX-License-Identifier: Apache-2.0
"""Instructions per packet and per request, beside the baseline in instructions.json.

callgrind counts what one function and all it calls execute in a micro benchmark. That depends on the
compiler and on the vector instructions that valgrind offers, and on nothing else: no noise. The
figures should fall. "BENCH_BASELINE=write make bench CASE=instructions" writes a new baseline.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import benchlib
from benchlib import BUILD

BASELINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")
BURST, NET_ROUNDS, ODP_PACKETS, BLK_ROUNDS = 32, 20000, 4000 * 16 * 2 * 32, 500
TNL_PACKETS = 1000 * 16 * 32


def net(layout):
    argv = ["vho_micro", "64", layout]
    return {f"net-{layout}-from-guest": (argv, "vho_net_rx", NET_ROUNDS * BURST),
            f"net-{layout}-to-guest": (argv, "vho_net_tx", NET_ROUNDS * BURST)}


def blk(layout, store):
    argv = ["blk_micro", str(BLK_ROUNDS), f"{layout:<14} {store:<4} read  qd {BURST:>3}"]
    return {f"blk-{layout}-{store}": (argv, "vho_blk_poll", 2 * BLK_ROUNDS * BURST)}


COUNTED = {
    **net("split"), **net("packed"),
    **blk("split", "null"), **blk("packed", "null"), **blk("split", "ram"),
    "switch-one-flow": (["odp_micro", "0"], "odp_worker_turn", ODP_PACKETS),
    "switch-32-flows": (["odp_micro", "1"], "odp_worker_turn", ODP_PACKETS),
    "switch-32-flows-l4": (["odp_micro", "2"], "odp_worker_turn", ODP_PACKETS),
    "vxlan-ct-out": (["tnl_micro", "0"], "odp_worker_turn", TNL_PACKETS),
    "vxlan-ct-in": (["tnl_micro", "1"], "odp_worker_turn", TNL_PACKETS),
    "ct-fused": (["tnl_micro", "4"], "odp_worker_turn", TNL_PACKETS),
}


def count(micro, function, units):
    """Instructions per unit."""
    with tempfile.TemporaryDirectory(prefix="ob-bench-") as tmp:
        argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={tmp}/out",
                "--collect-atstart=no", f"--toggle-collect={function}",
                f"{BUILD}/tests/bench/{micro[0]}", *micro[1:]]
        res = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", res.stderr)
    if res.returncode or not found:
        raise RuntimeError(f"{' '.join(micro)}: {res.stderr[-500:]}")
    return round(int(found.group(1)) / units, 1)


def instructions(name):
    if not shutil.which("valgrind"):
        raise RuntimeError("valgrind is not installed")
    now = {case: count(*how) for case, how in COUNTED.items()}
    if os.environ.get("BENCH_BASELINE") == "write":
        with open(BASELINE, "w", encoding="utf-8") as f:
            json.dump(now, f, indent=1)
            f.write("\n")
    with open(BASELINE, encoding="utf-8") as f:
        baseline = json.load(f)
    for case, n in now.items():
        was = baseline.get(case)
        print(f"  {case:<24} {n:>8.1f}  baseline {was if was is not None else 'none'}",
              file=sys.stderr)
    rounds = [{"ours": n, "peer": baseline[case]} for case, n in now.items() if case in baseline]
    return benchlib.result(name, "instr", rounds, "the committed baseline", higher_is_better=False,
                           instructions=now)


CASES = {"instructions": instructions}
