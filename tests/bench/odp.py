# SPDX-License-Identifier: Apache-2.0
"""The switch against Open vSwitch with DPDK: the same load, the same flows, the same CPUs in turn.

Both sides' ports are vhost-user; Open vSwitch connects to the load's sockets, the load connects to
ours.
"""
import os

import benchlib
import net
import odp_curves
import odp_pipelines as pipes
import odp_rigs
import odp_tse
import ovs

PEER = ovs.PEER
STARTS = 2  # of all processes, in alternating order


def both_ways(a, b):
    return [(a, b), (b, a)]


class Ours(net.Ours):
    def start_backend(self, huge):
        super().start_backend(huge)
        names = [os.path.basename(path) for path in self.sockets]
        for src, dst in both_ways(*names):
            self.run.ctl("flow", "add", f"in_port({src})", f"actions={dst}")


class Peer(net.Rig):
    vdev = net.Rig.vdev + ",server=1"
    options = {}  # of Open vSwitch
    interface = ()  # of its ports

    def start_backend(self, huge):
        self.ovs = ovs.Ovs(self.run, huge, **self.options)
        self.ovs.bridge(ovs.BRIDGE)
        ports = [self.ovs.vhost(ovs.BRIDGE, f"p{i}", path, *self.interface)
                 for i, path in enumerate(self.sockets)]
        self.ovs.flows(ovs.BRIDGE, [f"in_port={src},actions=output:{dst}"
                                    for src, dst in both_ways(*ports)])

    def wait_backend(self, path):
        """It comes to the load, not the other way round."""

    def go(self, bursts):
        self.ovs.resume()
        super().go(bursts)

    def halt(self):
        super().halt()
        self.ovs.pause()

    def close(self):
        self.ovs.resume()
        super().close()


class TsoOurs(Ours, net.TsoOurs):
    pass


class TsoPeer(Peer, net.TsoOurs):
    vdrv = ("--listen",)
    options = {"userspace-tso-enable": "true"}
    # Open vSwitch 3.1 forgets the sender's segment size and takes what fits the port's MTU: 1448
    interface = ("mtu_request=1488",)

    def open(self, packed, size, huge):
        super().open(packed, size, huge)
        self.ovs.pause()

    def sample(self):
        self.ovs.resume()
        try:
            return super().sample()
        finally:
            self.ovs.pause()


def case(pipeline, unit="Mpps", starts=STARTS):
    return lambda name: odp_rigs.measure(name, pipeline, unit, starts)


CASES = {
    "odp-64-1flow": net.case(False, 64, (Ours, Peer), peer=PEER, starts=STARTS),
    "odp-64-10kflows": case(pipes.Megaflows("flows 5000")),
    "odp-ct-1": case(pipes.Conntrack("conns 1", 1)),
    "odp-ct-100k": case(pipes.Conntrack("conns 100000", 100000)),
    "odp-ct-new": case(pipes.NewConnections("short"), "Mconn/s"),
    "odp-vxlan-ct": case(pipes.Tunnel("vxlan", "conns 1000", 1000)),
    "odp-geneve-ct": case(pipes.Tunnel("geneve", "conns 1000", 1000)),
    "odp-tse": odp_tse.case,
    "odp-flows-curve": odp_curves.curve(pipes.Megaflows("flows"), "flows"),
    "odp-ct-curve": odp_curves.curve(pipes.Conntrack("conns", 0, 1 << 21), "conns"),
    "odp-latency": odp_curves.latency(pipes.Pipeline("flows 1")),
    "odp-latency-10k": odp_curves.latency(pipes.Megaflows("flows 5000")),
    "odp-latency-ct": odp_curves.latency(pipes.Conntrack("conns 1000", 1000)),
    "odp-1500": net.case(False, 1500, (Ours, Peer), peer=PEER, starts=STARTS),
    "odp-tso-64k": net.case(False, 65214, (TsoOurs, TsoPeer), "GB/s", PEER, STARTS),
}
