# SPDX-License-Identifier: Apache-2.0
"""What every benchmark case needs: processes that end with us, pinned peers, samples, JSON."""
import atexit
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "12"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "1"))
BACKEND_CPU, LOAD_CPU = 0, 1
HUGEPAGES = 1024  # of 2 MiB: two back-ends and two loads
_children = []


def _end_all():
    for child in _children:
        end(child)


atexit.register(_end_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def start(argv, log, cpus=None, stdin=None):
    """Start a process that cannot outlive us; stdout and stderr go to the file `log`."""
    def before_exec():
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
    out = open(log, "ab")
    child = subprocess.Popen(["setpriv", "--pdeathsig", "KILL"] + argv, stdin=stdin, stdout=out,
                             stderr=subprocess.STDOUT, preexec_fn=before_exec)
    _children.append(child)
    return child


def end(child):
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child in _children:
        _children.remove(child)


def wait_for(test, what, child=None, seconds=30):
    limit = time.monotonic() + seconds
    while not test():
        if child is not None and child.poll() is not None:
            raise RuntimeError(f"{what}: process ended with {child.returncode}")
        if time.monotonic() > limit:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def _set_hugepages(n):
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as f:
        f.write(str(n))


def hugepages():
    """Are hugepages to be had? Reserves what a run needs, and gives it back at the end."""
    try:
        with open("/proc/sys/vm/nr_hugepages", encoding="ascii") as f:
            had = int(f.read())
        if had < HUGEPAGES:
            _set_hugepages(HUGEPAGES)
            atexit.register(_set_hugepages, had)
        with open("/proc/meminfo", encoding="ascii") as f:
            free = int(re.search(r"HugePages_Free:\s+(\d+)", f.read()).group(1))
        if free < HUGEPAGES * 9 // 10:
            return False
        if "hugetlbfs" in open("/proc/mounts", encoding="ascii").read():
            return True
        os.makedirs("/dev/hugepages", exist_ok=True)
        return subprocess.run(["mount", "-t", "hugetlbfs", "none", "/dev/hugepages"],
                              check=False).returncode == 0
    except (OSError, AttributeError):
        return False


def core_latency():
    """Nanoseconds that a cache line takes from one of the two CPUs to the other, now.

    On a virtual machine this is not constant: the host moves virtual CPUs, and where they share no
    cache a line takes several times as long, which every figure here depends on.
    """
    res = subprocess.run([f"{BUILD}/tests/bench/core_ping", str(BACKEND_CPU), str(LOAD_CPU)],
                         capture_output=True, text=True, check=True)
    return float(res.stdout)


class Run:
    """A scratch directory for one set of processes."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="ob-bench-")
        self.procs = []

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, argv, name, cpus=None, stdin=None):
        child = start(argv, self.path(name + ".log"), cpus, stdin)
        self.procs.append(child)
        return child

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def card(self, calls, hugepages_on=False, workers="0", extra=(), seconds=30):
        """Start cardd with the calls as its configuration file; returns the process."""
        config = self.path("config.json")
        with open(config, "w", encoding="utf-8") as f:
            json.dump(calls, f)
        os.chmod(config, 0o600)
        argv = [f"{BUILD}/card-firmware/cardd", "--name", os.path.basename(self.dir), "--config", config,
                "--rpc-socket", self.path("rpc.sock"), "--socket-dir", self.dir,
                "--cores", workers, *extra]
        if hugepages_on:
            argv.append("--hugepages")
        child = self.start(argv, "cardd")
        wait_for(lambda: "ready" in self.log("cardd").split("\n"), "cardd", child, seconds)
        return child

    def ctl(self, *args):
        """What cardctl says to our card."""
        res = subprocess.run([f"{BUILD}/card-firmware/cardctl", "--socket", self.path("rpc.sock"),
                              *args], capture_output=True, text=True, check=False)
        if res.returncode:
            raise RuntimeError(f"cardctl {args[0]}: {res.stderr.strip()[-500:]}")
        return res.stdout

    def close(self):
        for child in reversed(self.procs):
            end(child)
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for name in sorted(os.listdir(self.dir)):
                if name.endswith(".log"):
                    print(f"--- {name}", self.log(name[:-4])[-2000:], sep="\n", file=sys.stderr)
        self.close()


STEADY = 1.5  # a round counts when no latency in it is more than that times another


def paired(ours, peer, rounds=None, seconds=None):
    """Run both in turn, so that slow drifts of the machine meet both.

    Before, between and after the two the latency between the CPUs is taken; a round in which it
    changed compared two different machines, and another is run instead, up to three times as many
    as asked for, or until so many would have taken too long (`seconds` for one). Returns the rounds
    that count: dicts with ours, peer and latency_ns.
    """
    want = rounds or ROUNDS
    kept = []
    limit = time.monotonic() + want * (seconds or 2 * SECONDS + 2.5)
    for i in range(3 * want):
        if kept and time.monotonic() > limit:
            break
        latency = [core_latency()]
        sample = {}
        for name, fn in (("ours", ours), ("peer", peer))[::1 if i % 2 == 0 else -1]:
            sample[name] = fn()
            latency.append(core_latency())
        if max(latency) <= STEADY * min(latency):
            kept.append({**sample, "latency_ns": round(statistics.median(latency), 1)})
        if len(kept) == want:
            break
    if not kept:
        raise RuntimeError("the machine did not stay the same over any round")
    return kept


def spread(samples):
    return {"min": min(samples), "max": max(samples),
            "rel": (max(samples) - min(samples)) / statistics.median(samples) if any(samples) else 0}


def result(case, unit, rounds, peer_name, higher_is_better=True, **more):
    """ratio is ours/peer where higher is better; for costs it is peer/ours.

    It is the median of the rounds' ratios: the two runs of a round are neighbours in time, so what
    the machine does to one it mostly does to the other.
    """
    ours, peer = [r["ours"] for r in rounds], [r["peer"] for r in rounds]
    for r in rounds:
        r["ratio"] = r["ours"] / r["peer"] if higher_is_better else r["peer"] / r["ours"]
    res = {"case": case, "unit": unit, "ours": statistics.median(ours),
           "peer": statistics.median(peer), "peer_name": peer_name,
           "ratio": statistics.median(r["ratio"] for r in rounds),
           "samples": {"ours": ours, "peer": peer}, "rounds": rounds,
           "spread": {"ours": spread(ours), "peer": spread(peer),
                      "ratio": spread([r["ratio"] for r in rounds])}, **more}
    return write(res)


def not_yet(case, unit, samples, peer_name, error, **more):
    """Only the peer can do this so far; error is what our side says to it."""
    return write({"case": case, "unit": unit, "peer": statistics.median(samples),
                  "peer_name": peer_name, "not_yet": error, "samples": {"peer": samples},
                  "spread": {"peer": spread(samples)}, **more})


def goal(what, got, want, at_least=False):
    """What a figure is held to; for a case's `goal`."""
    return {"what": what, "got": got, "want": want, "at_least": at_least,
            "met": got >= want if at_least else got <= want}


def figure(case, unit, value, held_to, **more):
    """A figure that has no peer, only a goal."""
    return write({"case": case, "unit": unit, "ours": value, "goal": held_to, **more})


def write(res):
    os.makedirs(f"{BUILD}/bench", exist_ok=True)
    with open(f"{BUILD}/bench/{res['case']}.json", "w", encoding="utf-8") as f:
        json.dump(res, f, indent=1)
        f.write("\n")
    return res


def cpu_seconds(pid):
    """CPU time of a process in seconds, from the scheduler's nanosecond counts."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9
