# SPDX-License-Identifier: Apache-2.0
"""Curves over the number of flows and connections, and latencies, of both switches."""
import statistics

import benchlib
import ovs
from odp_rigs import NotYet, Ours, Peer

POINTS = [1, 10, 100, 1000, 10000, 100000, 1000000]


def _open_both(pipeline, huge):
    """Both rigs, and why ours is missing."""
    error = None
    rigs = {"peer": Peer(pipeline, huge)}
    try:
        rigs["ours"] = Ours(pipeline, huge)
    except NotYet as e:
        error = str(e)
    except Exception:
        rigs["peer"].close()
        raise
    return rigs, error


def _point(rigs, kind, n):
    if kind == "conns":
        for rig in rigs.values():
            rig.open_connections(n)
    sample = {name: (lambda r=rig: r.sample(f"{kind} {n}")) for name, rig in rigs.items()}
    if "ours" not in rigs:
        return {"n": n, "peer": sample["peer"]()}
    rounds = benchlib.paired(sample["ours"], sample["peer"], 1)
    res = {who: statistics.median(r[who] for r in rounds) for who in ("ours", "peer")}
    return {"n": n, **res, "ratio": res["ours"] / res["peer"],
            "latency_ns": rounds[0]["latency_ns"]}


def curve(pipeline, kind):
    """Millions of packets per second at each number of flows (of each port) or connections."""
    def fn(name):
        huge = benchlib.hugepages()
        rigs, error = _open_both(pipeline, huge)
        try:
            points = [_point(rigs, kind, n) for n in POINTS]
        finally:
            for rig in rigs.values():
                rig.close()
        more = {"not_yet": error} if error else {}
        return benchlib.write({"case": name, "unit": "Mpps", "peer_name": ovs.PEER,
                               "points": points, "hugepages": huge, **more})
    return fn


def latency(pipeline):
    """Percentiles through both at half of what the peer can at most. The figure is the 99th."""
    def fn(name):
        huge = benchlib.hugepages()
        rigs, error = _open_both(pipeline, huge)
        seen = {who: [] for who in rigs}

        def measure(who):
            seen[who].append(rigs[who].latency(pps))
            return seen[who][-1]["p99"]
        try:
            pps = statistics.median(rigs["peer"].sample() for _ in range(3)) * 1e6 / 2
            if error:
                samples = [measure("peer") for _ in range(benchlib.ROUNDS)]
                return benchlib.not_yet(name, "us p99", samples, ovs.PEER, error, pps=pps,
                                        percentiles=seen)
            rounds = benchlib.paired(lambda: measure("ours"), lambda: measure("peer"))
            medians = {who: {p: statistics.median(x[p] for x in all_of)
                             for p in ("p50", "p99", "p99.9", "lost", "unsent")}
                       for who, all_of in seen.items()}
            return benchlib.result(name, "us p99", rounds, ovs.PEER, False, hugepages=huge,
                                   pps=pps, percentiles=medians)
        finally:
            for rig in rigs.values():
                rig.close()
    return fn
