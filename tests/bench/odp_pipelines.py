# SPDX-License-Identifier: Apache-2.0
"""What the switches are told to do with the load: once for both where datapath flows say it, else in
OpenFlow for Open vSwitch and in datapath flows of the same meaning for our card.
"""
import ipaddress

SUBTABLES, GROUPS = 20, 25  # as in odp_frames.c
MAC = {"a": "02:00:00:00:00:01", "b": "02:00:00:00:00:02"}


class Pipeline:
    """Plain forwarding; every other pipeline says what it has more."""
    tunnel = None  # or a kind of tunnel
    setup = 0  # connections to open first
    options = {}  # of Open vSwitch

    def __init__(self, command):
        self.command = command  # of the load, without its time

    def plain(self, ports):
        """Flows that both take as they are: pairs of key and actions. ports: how to call them."""
        return []

    def ours(self):
        """Commands of cardctl."""
        return []

    def openflow(self, ports):
        return [f"in_port={ports['a']},actions=output:{ports['b']}",
                f"in_port={ports['b']},actions=output:{ports['a']}"]


def _mask(bits):
    return str(ipaddress.ip_network(f"0.0.0.0/{bits}").netmask)


class Megaflows(Pipeline):
    """A thousand megaflows in 20 subtables: 25 for each subtable and port.

    A subtable is the destination's /24 and so many bits of the source. Open vSwitch's revalidators
    leave these flows alone: they say the same as the OpenFlow rules, only for fewer packets.
    """
    options = {"max-idle": "3600000"}

    def plain(self, ports):
        flows = []
        for src, dst in (("a", "b"), ("b", "a")):
            for k in range(SUBTABLES):
                net = ipaddress.ip_network(f"172.16.0.1/{8 + k}", strict=False)
                for m in range(GROUPS):
                    flows.append((
                        f"in_port({ports[src]}),eth_type(0x0800),ipv4(src={net.network_address}/"
                        f"{_mask(8 + k)},dst=10.{k}.{m}.0/255.255.255.0,frag=no)",
                        str(ports[dst])))
        return flows
