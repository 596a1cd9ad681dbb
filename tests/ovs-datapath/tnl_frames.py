#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""scapy and tshark as judges of tunnel headers: every frame that we encapsulate is dissected by both
and has to be what scapy builds again from its fields; every frame that scapy encapsulates has to come
out of ours. Debian's packages, hence its interpreter.
  tnl_frames.py PROGRAM"""
import shutil
import subprocess
import sys
import tempfile

try:
    from scapy.all import (ARP, Dot1Q, Ether, GRE, ICMP, ICMPv6PacketTooBig, IP, IPv6, Raw,
                           RawPcapReader, TCP, UDP, VXLAN, bind_layers, raw, wrpcap)
    from scapy.contrib.geneve import GENEVE, GeneveOptions
except ImportError:
    print("SKIP: no scapy for /usr/bin/python3 (Debian: python3-scapy)")
    sys.exit(77)
if not shutil.which("tshark"):
    print("SKIP: no tshark (Debian: tshark)")
    sys.exit(77)

bind_layers(UDP, VXLAN, dport=4790)
KINDS = 8  # of tunnels that PROGRAM puts each frame into
SEGMENT = 1000  # payload bytes that it cuts GSO frames to


def inner_frames():
    eth = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:01:02")
    v4 = IP(src="10.0.0.1", dst="10.0.0.2", ttl=9, tos=0xb9, id=5)
    v6 = IPv6(src="fd00::1", dst="fd00::2", hlim=9, tc=0xb9, fl=0x12345)
    long = bytes(i * 7 % 251 for i in range(5300))
    return [
        eth / ARP(psrc="10.0.0.1", pdst="10.0.0.2"),
        eth / v4 / UDP(sport=33334, dport=33333) / Raw(b"abc"),
        eth / v6 / UDP(sport=33334, dport=33333) / Raw(b"abcd" * 30),
        eth / v4 / TCP(sport=33334, dport=33333, flags="A", seq=77) / Raw(b"abcde" * 200),
        eth / v4 / TCP(sport=33334, dport=33333, flags="PA", seq=77) / Raw(long),
        eth / v6 / TCP(sport=33334, dport=33333, flags="PA", seq=77) / Raw(long),
        eth / v4 / UDP(sport=33334, dport=33333) / Raw(long),
    ]


def rebuilt(frame):
    """The frame with every length and checksum computed by scapy."""
    p = Ether(frame)
    layer = p
    # What an ICMP error quotes is cut short and not its own.
    while layer and "error" not in type(layer).__name__:
        for name in ("chksum", "len", "plen", "ihl", "dataofs"):
            # UDP may go without a checksum.
            if name == "chksum" and isinstance(layer, UDP) and layer.chksum == 0:
                continue
            if name in layer.fields and not isinstance(layer, ARP):
                del layer.fields[name]
        layer.raw_packet_cache = None
        layer = layer.payload if layer.payload else None
    return raw(p)


def tshark(path, *fields):
    cmd = ["tshark", "-r", path, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
           "-o", "tcp.check_checksum:TRUE", "-T", "fields"]
    for f in fields:
        cmd += ["-e", f]
    out = subprocess.run(cmd, check=True, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True).stdout
    return [line.split("\t") for line in out.split("\n")[:-1]]


def check(cond, *what):
    if not cond:
        print("FAIL:", *what)
        sys.exit(1)


def judge_pushed(program, tmp):
    frames = inner_frames()
    wrpcap(f"{tmp}/in.pcap", frames)
    subprocess.run([program, "push", f"{tmp}/in.pcap", f"{tmp}/out.pcap"], check=True)
    out = [p for p, _ in RawPcapReader(f"{tmp}/out.pcap")]
    want = sum(KINDS * (-(-len(f[Raw].load) // SEGMENT) if len(f) > 1600 else 1) for f in frames)
    check(len(out) == want, f"{len(out)} frames, not {want}")
    for i, f in enumerate(out):
        check(rebuilt(f) == f, f"frame {i}: scapy builds\n{rebuilt(f).hex()}\nours is\n{f.hex()}")
    rows = tshark(f"{tmp}/out.pcap", "frame.protocols", "ip.checksum.status", "udp.checksum.status",
                  "tcp.checksum.status", "gre.checksum.status", "_ws.malformed",
                  "vxlan.vni", "geneve.vni", "gre.key", "udp.srcport", "ip.dsfield", "ipv6.tclass")
    check(len(rows) == len(out), "tshark sees", len(rows))
    seen = {}
    for i, r in enumerate(rows):
        for status in r[1:5]:
            check("0" not in status.split(",") and "4" not in status.split(","),
                  f"frame {i}: tshark finds a bad checksum:", r)
        check(r[5] == "", f"frame {i}: malformed:", r)
        check(r[6] == "1193046" or r[7] == "0x123456" or r[8] == "0x00123456" or "gre" in r[0],
              f"frame {i}: id:", r)
        if "udp" in r[0].split(":")[3:5]:
            check(int(r[9].split(",")[0]) >= 49152, f"frame {i}: source port:", r)
        for name in ("vxlan", "geneve", "gre"):
            seen[name] = seen.get(name, 0) + (name in r[0])
    # GPE is dissected, as its VNI shows, but not named.
    check(seen["vxlan"] == want * 3 // 8 and seen["geneve"] == seen["gre"] == want // 4, seen)


def judge_popped(program, tmp):
    eth = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    v4 = IP(src="11.11.11.11", dst="12.12.12.12", tos=0x28, ttl=63)
    v6 = IPv6(src="fd01::1", dst="fd01::2", tc=0x28, hlim=63)
    udp = UDP(sport=50000, dport=4789)
    option = GeneveOptions(classid=0x102, type=3, data=b"abcdefgh")
    cases = []
    for inner in inner_frames()[:4]:
        if IP in inner:
            inner[IP].tos = 0
        elif IPv6 in inner:
            inner[IPv6].tc = 0
        cases += [
            (eth / v4 / udp / VXLAN(vni=0x123456) / inner, "123456 6558 0 0 50000 40 63"),
            (eth / Dot1Q(vlan=7) / v6 / udp / VXLAN(vni=7, flags=0x88, gpid=0x99) / inner,
             "7 6558 99 0 50000 40 63"),
            (eth / v4 / UDP(sport=50000, dport=6081) / GENEVE(vni=7, options=[option]) / inner,
             "7 6558 0 12 50000 40 63"),
            (eth / v6 / UDP(sport=50000, dport=6081) / GENEVE(vni=7) / inner,
             "7 6558 0 0 50000 40 63"),
            (eth / v4 / GRE(proto=0x6558, key_present=1, key=7, chksum_present=1) / inner,
             "7 6558 0 0 0 40 63"),
            (eth / v6 / GRE(proto=0x6558, seqnum_present=1, seqence_number=3) / inner,
             "0 6558 0 0 0 40 63"),
        ]
        bad = eth / v4 / UDP(sport=50000, dport=4789, chksum=0x1234) / VXLAN(vni=7) / inner
        cases.append((bad, "refused"))
    wrpcap(f"{tmp}/enc.pcap", [c[0] for c in cases])
    r = subprocess.run([program, "pop", f"{tmp}/enc.pcap", f"{tmp}/dec.pcap"], check=True,
                       capture_output=True, text=True)
    said = r.stdout.strip().split("\n")
    got = [p for p, _ in RawPcapReader(f"{tmp}/dec.pcap")]
    check(len(said) == len(cases) == len(got), len(said), len(cases), len(got))
    for i, (frame, want) in enumerate(cases):
        check(said[i] == want, f"case {i}: {said[i]!r}, not {want!r}: {frame.summary()}")
        inner = b"" if want == "refused" else raw(frame.getlayer(Ether, 2))
        check(got[i] == inner, f"case {i}: inner frame differs: {frame.summary()}")


def judge_too_big(program, tmp):
    eth = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:01:02")
    frames = [eth / IP(src="10.0.0.1", dst="10.0.0.2", flags="DF") / UDP() / Raw(b"x" * 1373),
              eth / Dot1Q(vlan=5) / IPv6(src="fd00::1", dst="fd00::2") / TCP() / Raw(b"x" * 1373),
              eth / ARP()]
    wrpcap(f"{tmp}/long.pcap", frames)
    subprocess.run([program, "toobig", f"{tmp}/long.pcap", f"{tmp}/told.pcap"], check=True)
    got = [p for p, _ in RawPcapReader(f"{tmp}/told.pcap")]
    check(len(got) == 3 and got[2] == b"", [len(g) for g in got])
    for i, f in enumerate(got[:2]):
        p, asked = Ether(f), frames[i]
        icmp = p.getlayer(ICMP if i == 0 else ICMPv6PacketTooBig)
        check(icmp and (icmp.nexthopmtu == 1300 if i == 0 else icmp.mtu == 1296), p.show(dump=True))
        quoted = raw(icmp.payload)
        check(rebuilt(f) == f, f"answer {i}: scapy builds another:", p.show(dump=True))
        l3 = raw(asked.getlayer(IP if i == 0 else IPv6))
        check(l3.startswith(quoted) and len(quoted) > 500, "quotes something else")
        check((p.src, p.dst) == (asked.dst, asked.src), p.summary())
    for r in tshark(f"{tmp}/told.pcap", "frame.protocols", "icmp.checksum.status",
                    "icmpv6.checksum.status", "ip.checksum.status")[:2]:
        check("1" in r[1] + r[2] and "0" not in r[3].split(",")[0], "tshark:", r)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        judge_pushed(sys.argv[1], tmp)
        judge_popped(sys.argv[1], tmp)
        judge_too_big(sys.argv[1], tmp)
    print("PASS")


main()
