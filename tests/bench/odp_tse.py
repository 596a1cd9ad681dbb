# SPDX-License-Identifier: Apache-2.0
"""Tuple-space explosion: what two tracked guests keep of their rate while a third one attacks.

The attacker is allowed UDP to one port, from one port or from one address (three rules), and sends
packets that are denied, each for another combination of first bits in which it differs. Open vSwitch
makes a megaflow with a mask of its own for each of these, 8192 in all. Our card's control plane makes
none, so it is given those that Open vSwitch made, as a program that drives it would: as many as it
takes, and that all else is denied.
"""
import json
import re
import socket

import benchlib
import odp_pipelines as pipes
import odp_rigs
import ovs

PPS = 700_000 // (8 * 64)  # 0.7 Mbit/s of frames of 64 bytes
FAST_PPS = 20000  # until all masks are there
COMBINATIONS = 32 * 16 * 16


class Explosion(pipes.Conntrack):
    third = ("x",)
    options = {"max-idle": "3600000"}  # our rounds stand between: it would keep them alive

    def openflow(self, ports):
        allowed = ("tp_dst=80", "nw_src=10.99.0.1", "tp_src=12345")
        return super().openflow(ports) + [
            f"table=0,priority={9 - i},in_port={ports['x']},udp,{what},actions=output:{ports['b']}"
            for i, what in enumerate(allowed)] + [f"table=0,priority=1,in_port={ports['x']},actions=drop"]

    def ours(self):
        return super().ours() + pipes.add([("in_port(x),eth_type(0x0800)", "drop")])


class Victims(odp_rigs.Rig):
    """Rate with and without the attack; the masks are made in between."""
    masks = ()

    def kept(self):
        self.forget()
        quiet = self.sample()
        self.explode()
        attacked = self.sample(f"attack 2 {PPS} {self.pipeline.command}")
        self.seen.append({"quiet": quiet, "attacked": attacked, "masks": len(self.masks)})
        return attacked / quiet


class Peer(Victims, odp_rigs.Peer):
    def forget(self):
        self.resume()
        self.ovs.ctl("dpctl/del-flows", ovs.DATAPATH)
        self.pause()

    def explode(self):
        self.resume()
        port = self.ovs.datapath_ports()["x"]
        for _ in range(8):
            self.load(f"attack 2 {FAST_PPS} {self.pipeline.command} 1500")
            made = [line.split(", packets:")[0] for line in self.ovs.datapath_flows()
                    if f"in_port({port})" in line and line.endswith("actions:drop")]
            self.masks = {re.sub(r"=[^/,()]+/", "=/", flow): flow.replace(f"in_port({port})", "in_port(x)")
                          for flow in made}
            if len(self.masks) > 0.95 * COMBINATIONS:
                break
        self.load(f"{self.pipeline.command} 1500")  # what waits of so fast an attack is done with
        self.pause()


class Ours(Victims, odp_rigs.Ours):
    def call(self, method, flows, **more):
        """The method for each flow; those that it took."""
        done = []
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.run.path("rpc.sock"))
            with s.makefile("rb") as answers:
                for flow in flows:
                    s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                                          "params": {"flow": flow, **more}}).encode())
                    if "error" not in json.loads(answers.readline()):
                        done.append(flow)
        return done

    def forget(self):
        self.call("flow_del", self.masks)
        self.masks = ()

    def explode(self):
        self.masks = self.call("flow_add", self.offered, actions="drop")


def case(name):
    huge = benchlib.hugepages()
    pipeline = Explosion("conns 1000", 1000)
    peer = Peer(pipeline, huge)
    try:
        ours = Ours(pipeline, huge)
    except Exception:
        peer.close()
        raise
    ours.seen, peer.seen = [], []
    try:
        peer.explode()
        ours.offered = [re.sub(r"packet_type\([^)]*\),", "", flow) for flow in peer.masks.values()]
        rounds = benchlib.paired(ours.kept, peer.kept, max(2, benchlib.ROUNDS // 3), 25)
        return benchlib.result(name, "kept", rounds, ovs.PEER, hugepages=huge, attacker_pps=PPS,
                               offered=len(ours.offered), seen={"ours": ours.seen, "peer": peer.seen},
                               counted={"ours": ours.counted(), "peer": peer.counted()})
    finally:
        ours.close()
        peer.close()
