# SPDX-License-Identifier: Apache-2.0
"""NVMe/TCP over loopback, 4 KiB random reads, beside plain programs that exchange as many bytes.

nvmf-*: our initiator on one CPU, our target on the other. The peer asks in 72 bytes and answers in
4120, with as many questions in flight: no protocol, no volume, one recv() and one send() for whatever
is there.

chain-*: a disk of a card whose volume is a namespace of the same card: virtio-blk, initiator, loopback
and target are one worker's, the driver has the other CPU. The peer is one thread that plays both plain
programs.
"""
import json
import socket
import statistics
import subprocess
import uuid

import benchlib
import blk
from benchlib import BACKEND_CPU, BUILD, LOAD_CPU, Run

LOAD = f"{BUILD}/tests/bench/nvmf_load"
NQN = "nqn.2026-11.bench:chain"
BYTES = 64 << 20
QUEUE = 256


def kiops(mode, depth):
    argv = [LOAD, mode, str(depth), str(benchlib.SECONDS * 1000), str(LOAD_CPU), str(BACKEND_CPU)]
    return rate(argv)


def rate(argv):
    res = subprocess.run(argv, capture_output=True, text=True, check=False)
    if res.returncode:
        raise RuntimeError(f"nvmf_load: {res.stderr[-500:]}")
    return float(res.stdout.split("per_s=")[1]) / 1e3


def on_loopback(mode, depth):
    def fn(name):
        rounds = benchlib.paired(lambda: kiops(mode, depth), lambda: kiops("plain", depth))
        return benchlib.result(name, "kIOPS", rounds, "two plain programs", depth=depth, target=mode)
    return fn


def digest(depth):
    def fn(name):
        rounds = benchlib.paired(lambda: kiops("null-digest", depth), lambda: kiops("null", depth))
        return benchlib.result(name, "kIOPS", rounds, "without digests", depth=depth)
    return fn


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def volume(kind, name):
    more = {"prealloc": True} if kind == "malloc" else {}
    return {"method": f"bdev_{kind}_create",
            "params": {"name": name, "num_blocks": BYTES // 4096, "block_size": 4096, **more}}


def subsystem(nqn, port, volumes):
    """Calls that show volumes as namespaces 1 and following, with identifiers of their own.

    A card does not take a volume in that it has already, and that is what it would be.
    """
    return [
        {"method": "nvmf_create_subsystem",
         "params": {"nqn": nqn, "allow_any_host": True, "max_namespaces": max(32, len(volumes))}},
        *({"method": "nvmf_subsystem_add_ns",
           "params": {"nqn": nqn, "bdev_name": v, "nsid": i + 1, "uuid": str(uuid.uuid4())}}
          for i, v in enumerate(volumes)),
        {"method": "nvmf_subsystem_add_listener",
         "params": {"nqn": nqn, "listener": f"127.0.0.1:{port}"}},
    ]


def attach(name, nqn, port):
    return {"method": "bdev_nvme_attach_controller",
            "params": {"name": name, "trtype": "TCP", "traddr": "127.0.0.1", "trsvcid": str(port),
                       "subnqn": nqn, "io_queue_size": QUEUE}}


def disk(name, vol):
    return {"method": "vhost_create_blk_controller", "params": {"ctrlr": name, "dev_name": vol}}


def chain(run, kind):
    """A card with a disk on itself; `direct` is a disk on a volume of that kind without NVMe/TCP."""
    port = free_port()
    run.card([
        {"method": "nvmf_create_transport", "params": {"trtype": "TCP", "max_queue_depth": QUEUE}},
        volume(kind, "far"), volume(kind, "near"), *subsystem(NQN, port, ["far"]),
        attach("c", NQN, port), disk("d", "cn1"), disk("direct", "near"),
    ], False, str(BACKEND_CPU))
    return run.path("d")


def chain_case(kind, depth):
    def fn(name):
        plain = [LOAD, "plain-one", str(depth), str(benchlib.SECONDS * 1000), str(BACKEND_CPU),
                 str(LOAD_CPU)]
        with Run() as run:
            path = chain(run, kind)
            rounds = benchlib.paired(lambda: blk.kiops(path, depth, "randread"), lambda: rate(plain))
        return benchlib.result(name, "kIOPS", rounds, "one plain program, both ends", depth=depth)
    return fn


def p50_us(path):
    return blk.load(path, 1, "randread", "--poll")["p50_ns"] / 1e3


def latency(name):
    """What NVMe/TCP adds to a disk on RAM; the peer is the same disk without it.

    `exchange_us` is the part of it that one plain program takes to send and receive the same bytes.
    """
    plain = [LOAD, "plain-one", "1", str(benchlib.SECONDS * 1000), str(BACKEND_CPU), str(LOAD_CPU)]
    exchange = []

    def direct():
        exchange.append(1e3 / rate(plain))
        return p50_us(run.path("direct"))

    with Run() as run:
        path = chain(run, "malloc")
        rounds = benchlib.paired(lambda: p50_us(path), direct, seconds=3 * benchlib.SECONDS + 3)
    added = [r["ours"] - r["peer"] for r in rounds]
    print(f"  added: {statistics.median(added):.2f} us, of which one plain exchange takes "
          f"{statistics.median(exchange):.2f}", flush=True)
    return benchlib.result(name, "us p50", rounds, "the RAM volume without NVMe/TCP",
                           higher_is_better=False, depth=1, added_us=statistics.median(added),
                           exchange_us=statistics.median(exchange))


CASES = {
    "nvmf-qd1": on_loopback("null", 1),
    "nvmf-qd32": on_loopback("null", 32),
    "nvmf-qd128": on_loopback("null", 128),
    "nvmf-ram-qd1": on_loopback("ram", 1),
    "nvmf-ram-qd32": on_loopback("ram", 32),
    "nvmf-ram-qd128": on_loopback("ram", 128),
    "nvmf-digest": digest(32),
    "chain-qd1": chain_case("null", 1),
    "chain-qd32": chain_case("null", 32),
    "chain-qd128": chain_case("null", 128),
    "chain-latency": latency,
}
