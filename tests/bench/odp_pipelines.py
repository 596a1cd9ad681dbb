# SPDX-License-Identifier: Apache-2.0
"""What the switches are told to do with the load: once for both where datapath flows say it, else in
OpenFlow for Open vSwitch and in datapath flows of the same meaning for our card.
"""
import ipaddress

SUBTABLES, GROUPS = 20, 25  # as in odp_frames.c
MAC = {"a": "02:00:00:00:00:01", "b": "02:00:00:00:00:02"}


def add(flows):
    """cardctl's commands that install these flows."""
    return [("flow", "add", key, f"actions={actions}") for key, actions in flows]


class Pipeline:
    """Plain forwarding; every other pipeline says what it has more."""
    third = ()  # port: u, the uplink that sends everything back, or another guest
    tunnel = None  # or a kind of tunnel
    setup = 0  # connections to open first
    flush = False  # connections before each sample
    ct_conns = None  # of our card, when the default is too few; Open vSwitch allows 3 million
    options = {}  # of Open vSwitch

    def __init__(self, command):
        self.command = command  # of the load, without its time

    def plain(self, ports):
        """Flows that both take as they are: pairs of key and actions. ports: how to call them."""
        return []

    def calls(self):
        """Of our card's configuration."""
        return []

    def ours(self):
        """Commands of cardctl."""
        return []

    def check(self, frames):
        """What is wrong with frames as they arrived at each port. None: nothing."""

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


SERVICE = "tcp,tp_dst=80"
TCP = "eth_type(0x0800),ipv4(proto=6)"


class Conntrack(Pipeline):
    """Stateful rules at both ends, as for security groups: two connection tables, two recirculations.

    Whatever port a packet comes from, the zone of that port sees it first, then the other port's. a
    may open connections to port 80 of b, and nobody else any.
    """
    zones = {"a": 1, "b": 2}

    def __init__(self, command, setup=0, ct_conns=None):
        super().__init__(command)
        self.setup = setup
        self.ct_conns = ct_conns or self.ct_conns

    def openflow(self, ports):
        rules = ["table=1,priority=1,actions=drop", "table=2,priority=1,actions=drop"]
        for src, dst in (("a", "b"), ("b", "a")):
            p, first, second, out = ports[src], self.zones[src], self.zones[dst], ports[dst]
            rules += [f"table=0,in_port={p},tcp,actions=ct(table=1,zone={first})",
                      f"table=1,priority=9,in_port={p},ct_state=+trk+est-inv,tcp,"
                      f"actions=ct(table=2,zone={second})",
                      f"table=2,priority=9,in_port={p},ct_state=+trk+est-inv,tcp,"
                      f"actions=output:{out}"]
        p, first, second, out = ports["a"], self.zones["a"], self.zones["b"], ports["b"]
        return rules + [
            f"table=1,priority=8,in_port={p},ct_state=+trk+new,{SERVICE},"
            f"actions=ct(commit,zone={first}),ct(table=2,zone={second})",
            f"table=2,priority=8,in_port={p},ct_state=+trk+new,{SERVICE},"
            f"actions=ct(commit,zone={second}),output:{out}"]

    def ours(self):
        flows = []
        for src, dst in (("a", "b"), ("b", "a")):
            first, second = self.zones[src], self.zones[dst]
            here = f"in_port({src})"
            flows += [
                (f"recirc_id(0),{here},{TCP}", f"ct(zone={first}),recirc(0x1)"),
                (f"recirc_id(0x1),{here},ct_state(+est-inv+trk),{TCP}",
                 f"ct(zone={second}),recirc(0x2)"),
                (f"recirc_id(0x2),{here},ct_state(+est-inv+trk),{TCP}", dst)]
        return add(flows + [
            (f"recirc_id(0x1),in_port(a),ct_state(+new+trk),{TCP},tcp(dst=80)",
             "ct(commit,zone=1),ct(zone=2),recirc(0x2)"),
            (f"recirc_id(0x2),in_port(a),ct_state(+new+trk),{TCP},tcp(dst=80)",
             "ct(commit,zone=2),b")])


class NewConnections(Conntrack):
    """Six packets for each connection, from SYN to the last ACK."""
    flush = True  # between samples: what has ended lingers
    ct_conns = 1 << 21


UDP_PORT = {"vxlan": 4789, "geneve": 6081}
HEADER = {"vxlan": "0800000000006400", "geneve": "0000655800006400"}
HERE, THERE = "10.9.0.1", "10.9.0.2"
MAC_HERE, MAC_THERE = "02:00:00:00:09:01", "02:00:00:00:09:02"
VNI = 100


def octets(mac):
    return bytes.fromhex(mac.replace(":", ""))


def ip_sum(header):
    total = sum(int.from_bytes(header[i:i + 2], "big") for i in range(0, len(header), 2))
    return (total & 0xffff) + (total >> 16)


class Tunnel(Conntrack):
    """Packets leave through a tunnel and come back through it; each end has its connection table.

    The load sends back whatever comes to the uplink: all that a sends goes out and in to b. A packet
    is tracked and encapsulated on its way out, decapsulated and tracked on its way in.
    """

    third = ("u",)

    def __init__(self, kind, command, setup):
        super().__init__(command, setup)
        self.tunnel = kind

    def openflow(self, ports):
        tun, rules = ports["tun"], ["table=1,priority=1,actions=drop",
                                    "table=2,priority=1,actions=drop"]
        for port in ("a", "b"):
            rules += [f"table=0,in_port={ports[port]},tcp,actions=ct(table=1,zone=1)",
                      f"table=1,in_port={ports[port]},priority=9,ct_state=+trk+est-inv,tcp,"
                      f"actions=output:{tun}",
                      f"table=2,priority=9,ct_state=+trk+est-inv,tcp,dl_dst={MAC[port]},"
                      f"actions=output:{ports[port]}"]
        return rules + [
            f"table=0,in_port={tun},tcp,actions=ct(table=2,zone=2)",
            f"table=1,in_port={ports['a']},priority=8,ct_state=+trk+new,{SERVICE},"
            f"actions=ct(commit,zone=1),output:{tun}",
            f"table=2,priority=8,ct_state=+trk+new,{SERVICE},dl_dst={MAC['b']},"
            f"actions=ct(commit,zone=2),output:{ports['b']}"]

    def calls(self):
        """Of cardd's configuration: the underlay and the tunnel."""
        return [
            {"method": "underlay_address_add", "params": {"uplink": "u", "address": f"{HERE}/24",
                                                          "mac": MAC_HERE}},
            {"method": "underlay_neighbour_set", "params": {"uplink": "u", "address": THERE,
                                                            "mac": MAC_THERE}},
            {"method": "tunnel_create", "params": {"name": "tun", "type": self.tunnel}}]

    def ours(self):
        out = f"set(tunnel(tun_id={VNI:#x},src={HERE},dst={THERE},flags(df))),tun"
        back = f"in_port(tun),tunnel(tun_id={VNI:#x},src={THERE},dst={HERE})"
        flows = [
            (f"recirc_id(0),{back},{TCP}", "ct(zone=2),recirc(0x2)"),
            (f"recirc_id(0x1),in_port(a),ct_state(+new+trk),{TCP},tcp(dst=80)",
             f"ct(commit,zone=1),{out}"),
            (f"recirc_id(0x2),{back},ct_state(+new+trk),eth(dst={MAC['b']}),{TCP},tcp(dst=80)",
             "ct(commit,zone=2),b")]
        for port in ("a", "b"):
            flows += [
                (f"recirc_id(0),in_port({port}),{TCP}", "ct(zone=1),recirc(0x1)"),
                (f"recirc_id(0x1),in_port({port}),ct_state(+est-inv+trk),{TCP}", out),
                (f"recirc_id(0x2),{back},ct_state(+est-inv+trk),eth(dst={MAC[port]}),{TCP}", port)]
        return add(flows)

    def check(self, frames):
        """Outer headers have the right addresses, lengths, sums and network; inside is what was sent."""
        outer, inner = frames["u"][:50], frames["u"][50:]
        ip, udp = outer[14:34], outer[34:42]
        sport, dport, length = (int.from_bytes(udp[i:i + 2], "big") for i in (0, 2, 4))
        tests = {
            "outer MAC addresses": outer[:14] == octets(MAC_THERE) + octets(MAC_HERE) + b"\x08\0",
            "outer IP header": ip[0] == 0x45 and ip[9] == 17 and ip_sum(ip) == 0xffff and
            int.from_bytes(ip[2:4], "big") == len(frames["u"]) - 14,
            "outer IP addresses": ip[12:] == ipaddress.ip_address(HERE).packed +
            ipaddress.ip_address(THERE).packed,
            "UDP": sport and dport == UDP_PORT[self.tunnel] and length == len(frames["u"]) - 34,
            "network": outer[42:].hex() == HEADER[self.tunnel],
            "inside": len(inner) == 64 and inner[12:14] == b"\x08\0" and inner[23] == 6 and
            {inner[:6], inner[6:12]} == {octets(mac) for mac in MAC.values()},
            **{f"what comes to {port}": len(frames[port]) == 64 and
               frames[port][:6] == octets(MAC[port]) and frames[port][23] == 6 for port in MAC}}
        return ", ".join(what for what, right in tests.items() if not right)
