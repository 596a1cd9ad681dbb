# SPDX-License-Identifier: Apache-2.0
"""Both switches under the load of odp_load: ports a and b, and for tunnels the uplink u.

Open vSwitch connects to the load's sockets, the load connects to ours. The load rewrites every frame
where it arrives, so that thousands of flows or connections pass with few frames on the way.
"""
import json
import os
import subprocess

import benchlib
import net
import ovs
from benchlib import BUILD, LOAD_CPU, Run

LOAD = f"{BUILD}/tests/bench/odp_load"


class NotYet(RuntimeError):
    """Our card refuses what the case needs, in these words."""


class Load:
    def __init__(self, run, sockets, huge, more):
        argv = [LOAD, "--cpu", str(LOAD_CPU), "--prefix", os.path.basename(run.dir) + "-load", *more]
        for path in sockets:
            argv += ["--port", path]
        self.run = run
        self.child = run.start(argv + (["--hugepages"] if huge else []), "load",
                               stdin=subprocess.PIPE)
        self.answers = 0
        self.answer()

    def answer(self):
        """The next line of JSON that it says."""
        def lines():
            return [x for x in self.run.log("load").split("\n")[:-1] if x.startswith('{"')]
        benchlib.wait_for(lambda: len(lines()) > self.answers, "odp_load", self.child, 60)
        self.answers += 1
        res = json.loads(lines()[self.answers - 1])
        if "error" in res:
            raise RuntimeError(f"odp_load: {res['error']}")
        return res

    def __call__(self, line):
        self.child.stdin.write((line + "\n").encode())
        self.child.stdin.flush()
        return self.answer()


class Rig:
    """A back-end with its ports and flows, and the load that belongs to it."""
    listen = ()

    def __init__(self, pipeline, huge):
        self.run = Run()
        self.pipeline = pipeline
        self.preempted = []  # how often others took the load's CPU, in each sample
        self.names = ["a", "b", *pipeline.third]
        self.sockets = [self.run.path(name) for name in self.names]
        try:
            self.start_backend(huge)
            self.load = Load(self.run, self.sockets, huge, self.listen)
            self.flows()
            if pipeline.setup:
                self.open_connections(pipeline.setup)
            self.frames = self.look() if pipeline.tunnel else {}
        except NotYet:
            self.close()
            raise
        except Exception as e:
            self.run.__exit__(type(e), e, None)
            raise

    def resume(self):
        pass

    def pause(self):
        """Take no CPU time until resume()."""

    def look(self):
        """A frame as it arrives at each port; RuntimeError where it is not what it should be."""
        self.resume()
        frames = {name: bytes.fromhex(text) for name, text in
                  self.load(f"look {self.pipeline.setup}").items()}
        self.pause()
        wrong = self.pipeline.check(frames)
        if wrong:
            raise RuntimeError(f"{wrong}: { {k: v.hex() for k, v in frames.items()} }")
        return {name: frame.hex() for name, frame in frames.items()}

    def open_connections(self, n):
        self.resume()
        done = self.load(f"setup {n}")["done"]
        # Both learn what to do with them: each has to have passed
        self.load(f"conns {n} {max(1000 * benchlib.SECONDS, n // 200)}")
        self.pause()
        if done < n * 0.999:
            raise RuntimeError(f"{done} of {n} connections open")

    def sample(self, command=None):
        """Millions per second."""
        self.resume()
        if self.pipeline.flush:
            self.flush()
        res = self.load(f"{command or self.pipeline.command} {1000 * benchlib.SECONDS}")
        self.pause()
        self.lost = res["lost"]
        self.preempted.append(res["preempted"])
        if not res["per_s"]:
            raise RuntimeError("nothing passes")
        if res["odd"] or self.pipeline.tunnel and res["outer_per_s"] < 0.99 * res["per_s"] - 1000:
            raise RuntimeError(f"not all frames went through the tunnel: {res}")
        return res["per_s"] / 1e6

    def stages(self):
        """Where packets were decided and what they cost, as the back-end counts it."""

    def tunnelled(self):
        """What the back-end counted of its tunnel."""

    def counted(self):
        res = {"lost": self.lost, "preempted": self.preempted, "stages": self.stages()}
        if self.pipeline.tunnel:
            res.update(tunnel=self.tunnelled(), frames=self.frames)
        return res

    def latency(self, pps):
        """Percentiles in microseconds at this rate."""
        self.resume()
        res = self.load(f"latency {self.pipeline.command} {1000 * benchlib.SECONDS} {pps:.0f}")
        self.pause()
        return {"p50": res["p50_ns"] / 1e3, "p99": res["p99_ns"] / 1e3,
                "p99.9": res["p999_ns"] / 1e3, "sent": res["sent"], "lost": res["lost"],
                "unsent": res["unsent"]}

    def close(self):
        self.run.close()


class Ours(Rig):
    def start_backend(self, huge):
        calls = [{"method": "net_create", "params": {"name": name, "queue_pairs": 1,
                  "mac": f"02:00:00:00:00:0{i + 1}"}} for i, name in enumerate(self.names) if name != "u"]
        if self.pipeline.tunnel:  # both sides' uplinks are vhost ports of DPDK
            calls.append({"method": "uplink_create", "params": {
                "name": "u", "devargs": f"net_vhost0,iface={self.sockets[2]}"}})
        calls += self.pipeline.calls()
        # Flows without anything new come with the configuration: one process for a thousand of them
        calls += [{"method": "flow_add", "params": {"flow": key, "actions": actions}}
                  for key, actions in self.pipeline.plain({name: name for name in self.names})]
        more = ["--ct-conns", str(self.pipeline.ct_conns)] if self.pipeline.ct_conns else []
        self.run.card(calls, huge, str(benchlib.BACKEND_CPU), more)
        for path in self.sockets:
            benchlib.wait_for(lambda p=path: os.path.exists(p), f"socket {path}")

    def flows(self):
        for args in self.pipeline.ours():
            try:
                self.run.ctl(*args)
            except RuntimeError as e:
                raise NotYet(f"{' '.join(args)}: {e}") from e
        if self.pipeline.tunnel:  # the card looks at its link some times a second
            benchlib.wait_for(lambda: "link changed name=u up=1" in self.run.log("cardd"), "uplink")

    def flush(self):
        self.run.ctl("ct", "flush")

    def stages(self):
        return json.loads(self.run.ctl("--json", "worker", "list"))

    def tunnelled(self):
        stats, = json.loads(self.run.ctl("--json", "tunnel", "stats", "tun"))["tunnel"]
        return {what: stats[what] for what in ("tx_packets", "rx_packets")}


class Peer(Rig):
    listen = ("--listen",)
    options = {}

    def start_backend(self, huge):
        self.ovs = ovs.Ovs(self.run, huge, **{**self.options, **self.pipeline.options})
        self.ovs.bridge(ovs.BRIDGE)
        if self.pipeline.tunnel:
            self.ovs.underlay()
        ports = {name: self.ovs.vhost(ovs.UNDERLAY if name == "u" else ovs.BRIDGE, name, path)
                 for name, path in zip(self.names, self.sockets)}
        if self.pipeline.tunnel:
            ports["tun"] = self.ovs.tunnel(ovs.BRIDGE, "tun", self.pipeline.tunnel)
        self.ovs.flows(ovs.BRIDGE, self.pipeline.openflow(ports))
        if self.pipeline.tunnel:
            self.ovs.flows(ovs.UNDERLAY, [f"in_port=LOCAL,actions=output:{ports['u']}",
                                          f"in_port={ports['u']},actions=LOCAL"])

    def flows(self):
        for key, actions in self.pipeline.plain(self.ovs.datapath_ports()):
            self.ovs.datapath_flow(key, actions)

        self.pause()

    def resume(self):
        self.ovs.resume()

    def pause(self):
        self.ovs.pause()

    def flush(self):
        self.ovs.ctl("dpctl/flush-conntrack")

    def stages(self):
        self.resume()
        res = self.ovs.stages()
        self.pause()
        return res

    def tunnelled(self):
        self.resume()
        res = self.ovs.tunnelled()
        self.pause()
        return res

    def close(self):
        self.resume()
        super().close()


def rounds_of(pipeline, huge, order, n):
    """n rounds between both, started in that order, and what both counted meanwhile."""
    rigs = {}
    try:
        for kind in order:
            rigs[kind] = kind(pipeline, huge)
        rounds = benchlib.paired(rigs[Ours].sample, rigs[Peer].sample, n)
        return rounds, {kind.__name__.lower(): rig.counted() for kind, rig in rigs.items()}
    finally:
        for rig in rigs.values():
            rig.close()


def measure(name, pipeline, unit, starts):
    """Rounds of both; of the peer alone when our card refuses the pipeline."""
    huge, rounds, counted = benchlib.hugepages(), [], []
    for i in range(starts):
        order = (Ours, Peer)[::1 if i % 2 == 0 else -1]
        try:
            more, counts = rounds_of(pipeline, huge, order, -(-benchlib.ROUNDS // starts))
        except NotYet as e:
            return peer_alone(name, pipeline, unit, huge, str(e))
        rounds += more
        counted.append(counts)
    return benchlib.result(name, unit, rounds, ovs.PEER, hugepages=huge, counted=counted)


def peer_alone(name, pipeline, unit, huge, error):
    rig = Peer(pipeline, huge)
    try:
        samples = [rig.sample() for _ in range(benchlib.ROUNDS)]
        return benchlib.not_yet(name, unit, samples, ovs.PEER, error, hugepages=huge,
                                counted={"peer": rig.counted()})
    finally:
        rig.close()
