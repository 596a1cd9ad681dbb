#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two overlay networks with the same addresses, as flows of two cards.

    flows CARD TYPE [THIRD]   the flows of card 1 or 2, one a line: flow, a blank, actions
    topology THIRD            two cards with the VXLAN calls, two guests on each

Guest 1 of each network is on card 1, guest 2 on card 2. Network A has a third host behind a tunnel end that is
nobody's card and has the address THIRD; without that address there is none. Ping and TCP port 8080 may be opened
by everybody within a network, card 1 translates for those who go outside, and from outside port 8443 leads to
guest 1 of network A. Everything else is dropped.
"""
import json
import sys

CARDS = {1: "192.0.2.1", 2: "192.0.2.2"}
GATEWAY = "02:00:00:00:00:fe"  # the guests' next hop, whoever they are
OUTER_SELF, OUTER_PEER = "02:00:00:00:01:01", "02:00:00:00:01:02"  # on the wire to the outside
NETWORKS = {
    "a": {"id": 10, "outside": "203.0.113.1", "recirc": 0x10},
    "b": {"id": 11, "outside": "203.0.113.2", "recirc": 0x20},
}
OPTION = {"vxlan": "", "geneve": "geneve({class=0x102,type=0x80,len=4,0x%08x}),"}
END = {"vxlan": "tun", "geneve": "gen"}  # the tunnel's port
IP4 = "eth_type(0x0800)"
NEW, KNOWN = "ct_state(+new+trk-inv)", ("ct_state(+est+trk-inv)", "ct_state(-new-est+rel+trk-inv)")
DENY = "drop(acl)"


def mac(name, number):
    """Both networks have the same two; no card has the same one twice."""
    return f"52:54:00:00:00:{number if name == 'a' else 3 - number:02x}"


class Card:
    def __init__(self, number, kind, third):
        self.number, self.kind, self.third, self.flows = number, kind, third, []
        self.peer, self.end = 3 - number, END[kind]

    def add(self, recirc, port, match, actions, tunnel=""):
        key = f"recirc_id({recirc:#x}),in_port({port})" + (f",{match}" if match else "")
        self.flows.append((f"{tunnel},{key}" if tunnel else key, actions))

    def into(self, net, where):
        option = OPTION[self.kind] % net["id"] if OPTION[self.kind] else ""
        return f"set(tunnel(tun_id={net['id']:#x},dst={where},ttl=64,{option}flags(df|csum|key))),{self.end}"

    def has_third(self, net):
        return net is NETWORKS["a"] and self.third is not None

    def ends(self, net):
        """Who else has hosts of the network."""
        return [CARDS[self.peer]] + ([self.third] if self.has_third(net) else [])

    def out_of(self, net, end):
        option = OPTION[self.kind] % net["id"] if OPTION[self.kind] else ""
        return f"tunnel(tun_id={net['id']:#x},src={end},{option.rstrip(',') or 'dst=' + CARDS[self.number]})"

    def network(self, name):
        net = NETWORKS[name]
        zone, policy, forward = net["id"], net["recirc"], net["recirc"] + 1
        guest = name + str(self.number)
        track = f"ct(zone={zone}),recirc({policy:#x})"
        self.add(0, guest, "", DENY)
        self.add(0, guest, "eth_type(0x0806)", ",".join(self.into(net, e) for e in self.ends(net)))
        self.add(0, guest, IP4, track)
        for end in self.ends(net):
            self.add(0, self.end, "eth_type(0x0806)", guest, self.out_of(net, end))
            self.add(0, self.end, IP4, track, self.out_of(net, end))
        for port in (guest, self.end):
            commit = f"ct(commit,zone={zone},mark={net['id']:#x}/0xffffffff),recirc({forward:#x})"
            self.add(policy, port, IP4, DENY)
            for state in KNOWN:
                self.add(policy, port, f"{state},{IP4}", f"recirc({forward:#x})")
            self.add(policy, port, f"{NEW},{IP4},ipv4(proto=1),icmp(type=8)", commit)
            self.add(policy, port, f"{NEW},{IP4},ipv4(proto=6),tcp(dst=8080)", commit)
            self.add(forward, port, IP4, DENY)
        self.add(forward, self.end, f"{IP4},ipv4(dst=10.0.0.{self.number})", guest)
        self.add(forward, guest, f"{IP4},ipv4(dst=10.0.0.{self.peer})", self.into(net, CARDS[self.peer]))
        if self.has_third(net):
            self.add(forward, guest, f"{IP4},ipv4(dst=10.0.0.3)", self.into(net, self.third))
        if self.number == 1:
            self.gateway(name)
        else:
            self.add(0, guest, f"eth(dst={GATEWAY}),{IP4}", self.into(net, CARDS[1]))
            self.add(0, self.end, f"eth(src={GATEWAY}),{IP4}", guest, self.out_of(net, CARDS[1]))

    def gateway(self, name):
        """Card 1 translates in a zone of its own: known connections first, then who may open one."""
        net = NETWORKS[name]
        zone, base = net["id"] + 10, net["recirc"]
        leave, left, enter, entered = base + 2, base + 3, base + 4, base + 5
        known = f"ct(zone={zone},nat),recirc"
        self.add(0, name + "1", f"eth(dst={GATEWAY}),{IP4}", f"{known}({leave:#x})")
        self.add(0, self.end, f"eth(dst={GATEWAY}),{IP4}", f"{known}({leave:#x})",
                 self.out_of(net, CARDS[2]))
        for port in (name + "1", self.end):
            self.add(leave, port, IP4, DENY)
            self.add(leave, port, f"{NEW},{IP4}",
                     f"ct(commit,zone={zone},nat(src={net['outside']})),recirc({left:#x})")
            for state in KNOWN:
                self.add(leave, port, f"{state},{IP4}", f"recirc({left:#x})")
            self.add(left, port, IP4, f"set(eth(src={OUTER_SELF},dst={OUTER_PEER})),out")
        self.add(0, "out", f"{IP4},ipv4(dst={net['outside']})", f"{known}({enter:#x})")
        self.add(enter, "out", IP4, DENY)
        for state in KNOWN:
            self.add(enter, "out", f"{state},{IP4}", f"recirc({entered:#x})")
        if name == "a":
            self.add(enter, "out", f"{NEW},{IP4},ipv4(proto=6),tcp(dst=8443)",
                     f"ct(commit,zone={zone},nat(dst=10.0.0.1:8080)),recirc({entered:#x})")
        for guest in (1, 2):
            to = name + "1" if guest == 1 else self.into(net, CARDS[2])
            self.add(entered, "out", f"{IP4},ipv4(dst=10.0.0.{guest})",
                     f"set(eth(src={GATEWAY},dst={mac(name, guest)})),{to}")

    def rules(self):
        self.add(0, self.end, "", DENY)
        if self.number == 1:
            self.add(0, "out", "", DENY)
        for name in NETWORKS:
            self.network(name)
        return self.flows


def make_calls(number, third):
    calls = [("underlay_address_add", {"uplink": "up0", "address": CARDS[number] + "/24"}),
             ("tunnel_create", {"name": END["vxlan"], "type": "vxlan"})]
    calls += [("flow_add", {"flow": f, "actions": a}) for f, a in Card(number, "vxlan", third).rules()]
    return [{"method": m, "params": p} for m, p in calls]


def flows(number, kind, third=None):
    for flow, actions in Card(int(number), kind, third).rules():
        print(flow, actions)


def topology(third):
    cards, guests = [], []
    for number in CARDS:
        uplinks = [{"name": "up0", "devargs": f"net_af_packet0,iface=card{number}"}]
        if number == 1:
            uplinks.append({"name": "out", "devargs": "net_af_packet1,iface=out1"})
        nets = [f"{n}{number}" for n in NETWORKS]
        cards.append({"name": f"card{number}", "uplinks": uplinks,
                      "functions": [{"name": n, "kind": "net", "mac": mac(n[0], number)} for n in nets],
                      "calls": make_calls(number, third)})
        guests += [{"name": n, "mem_mib": 192, "ip": f"10.0.0.{number}/24", "nic": f"card{number}/{n}"}
                   for n in nets]
    print(json.dumps({"name": "two-networks", "cards": cards, "guests": guests}, indent=1))


if __name__ == "__main__":
    commands = {f.__name__: f for f in (flows, topology)}
    commands[sys.argv[1]](*sys.argv[2:])
