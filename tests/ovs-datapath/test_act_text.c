// SPDX-License-Identifier: Apache-2.0
/* Action lists as text: what is printed is read back as the same list. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "dpu_alloc.h"
#include "fake_port.h"

static struct odp *dp;

#define PUSH(size, type, headers) \
	"tnl_push(tnl_port(6),header(size=" size ",type=" type "," headers "),out_port(1))"
#define MACS "dst=f8:bc:12:44:34:b6,src=f8:bc:12:46:58:e0"
#define OVER4(proto)                                                               \
	"eth(" MACS ",dl_type=0x0800),ipv4(src=1.1.2.88,dst=1.1.2.92,proto=" proto \
	",tos=0,ttl=64,frag=0x4000),"
#define OVER6(proto)                                                                     \
	"eth(" MACS                                                                      \
	",dl_type=0x86dd),ipv6(src=2001:cafe::88,dst=2001:cafe::92,label=0,proto=" proto \
	",tclass=0x0,hlimit=64),"
#define UDP(port, csum) "udp(src=0,dst=" port ",csum=" csum "),"
#define VXLAN4(flags_vni) OVER4("17") UDP("4789", "0x0") "vxlan(" flags_vni ")"
#define GENEVE4(in) OVER4("17") UDP("6081", "0x0") "geneve(" in ")"
#define OPTION "{class=0xffff,type=0x80,len=4,0xa}"

/* The same headers as bytes. */
#define ETH4 "f8bc124434b6f8bc124658e00800"
#define IP4_UDP "450000000000400040110000010102580101025c"

static const struct row {
	const char *name, *text, *printed; // printed NULL: as given
	int err_at; // -1: readable
} rows[] = {
	{ "drop", "drop", NULL, -1 },
	{ "drop with a reason", "1,drop(mtu)", NULL, -1 },
	{ "ports", "1,p2, 7", "1,2,7", -1 },
	{ "tags", "push_vlan(vid=5,pcp=0),1,pop_vlan,userspace",
		"push_vlan(vid=5,pcp=0),1,pop_vlan,userspace(pid=0)", -1 },
	{ "provider tag", "push_vlan(tpid=0x88a8,vid=5,pcp=7,cfi=1)", NULL, -1 },
	{ "user data", "userspace(pid=17,userdata(00ff10))", NULL, -1 },
	{ "set addresses", "set(eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)),1", NULL, -1 },
	{ "set one address", "set(eth(dst=02:00:00:00:00:02)),1", NULL, -1 },
	{ "set under a mask",
		"set(eth(src=02:00:00:00:00:00/ff:ff:ff:00:00:00)),set(skb_mark(0x1/0x3))", NULL,
		-1 },
	{ "set IPv4", "set(ipv4(src=10.0.0.1,dst=10.0.0.2/255.255.0.255,tos=0x8/0xfc,ttl=64))",
		NULL, -1 },
	{ "set a byte to 0", "set(ipv4(tos=0x0)),set(ipv6(tclass=0/0x3))",
		"set(ipv4(tos=0)),set(ipv6(tclass=0/0x3))", -1 },
	{ "set IPv6",
		"set(ipv6(src=fe80::1,dst=fe80::2/ffff::,label=0x12345,tclass=0x10,hlimit=3))",
		NULL, -1 },
	{ "set ports", "set(tcp(src=80)),set(udp(dst=53)),set(sctp(src=1,dst=2))", NULL, -1 },
	{ "set ICMP", "set(icmp(type=8,code=0)),set(icmpv6(type=128))", NULL, -1 },
	{ "set ARP",
		"set(arp(sip=10.0.0.1,tip=10.0.0.2,op=2,sha=02:00:00:00:00:01,tha=02:00:00:00:00:"
		"02))",
		NULL, -1 },
	{ "set ND", "set(nd(target=fe80::1,sll=02:00:00:00:00:01,tll=02:00:00:00:00:02))", NULL,
		-1 },
	{ "set a tag", "set(vlan(tci=0x5/0xfff))", NULL, -1 },
	{ "set a label", "set(mpls(label=16,tc=1,ttl=64,bos=1))", NULL, -1 },
	{ "set part of a label", "set(mpls(lse=0x40/0xff))", NULL, -1 },
	{ "set metadata", "set(skb_priority(0x7)),set(skb_mark(0x10))", NULL, -1 },
	{ "labels",
		"push_mpls(label=3,tc=0,ttl=255,bos=0,eth_type=0x8847),pop_mpls(eth_type=0x800)",
		NULL, -1 },
	{ "frames", "pop_eth,push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)", NULL, -1 },
	{ "recirculation", "hash(l4(7)),recirc(0x1)", NULL, -1 },
	{ "symmetric hash", "hash(sym_l4(0)),recirc(0xffffffff)", NULL, -1 },
	{ "clones", "clone(1,clone(push_vlan(vid=1,pcp=0),2)),3,clone(drop)", NULL, -1 },
	{ "sample", "sample(sample=50.0%,actions(1)),2", NULL, -1 },
	{ "sample of few", "sample(sample=0.0001%,actions(userspace(pid=1)))", NULL, -1 },
	{ "meter", "meter(3),1", NULL, -1 },
	{ "long packets", "check_pkt_len(size=1500,gt(1),le(2,3))", NULL, -1 },
	{ "long packets dropped", "check_pkt_len(size=65535,gt(drop),le(1))", NULL, -1 },
	{ "cut", "trunc(100),1", NULL, -1 },
	{ "time to live", "dec_ttl(le_1(userspace(pid=2))),1", NULL, -1 },
	{ "conntrack", "ct,recirc(0x1)", NULL, -1 },
	{ "conntrack of a zone", "ct(zone=5),ct_clear,1", NULL, -1 },
	{ "conntrack with everything",
		"ct(force_commit,zone=65535,mark=0x1/0xff,label=0x10/"
		"0xffffffffffffffffffffffffffffffff,helper=ftp,timeout=t1,nat(src=10.0.0.1-10.0.0."
		"9:1024-65535,persistent,hash))",
		NULL, -1 },
	{ "conntrack, mark without a mask", "ct(commit,mark=0x1)", "ct(commit,mark=0x1/0xffffffff)",
		-1 },
	{ "translation as agreed", "ct(nat)", NULL, -1 },
	{ "translation to one's own", "ct(commit,nat(src))", NULL, -1 },
	{ "translation of IPv6", "ct(commit,nat(dst=[fe80::1]-[fe80::9]:80,random))", NULL, -1 },
	{ "tunnels",
		"tnl_pop(2),tnl_push(tnl_port(1),header(size=4,type=4,data(00010aff)),out_port(2))",
		NULL, -1 },
	// From tests/odp.at of Open vSwitch. What ovs-vswitchd 3.1 took and showed again, as all of
	// the rows of pushes that are no digits.
	{ "push of GRE",
		PUSH("42", "3", OVER4("47") "gre((flags=0x2000,proto=0x6558),key=0x1e241)"), NULL,
		-1 },
	{ "push of GRE with a sum",
		PUSH("46", "3",
			OVER4("47") "gre((flags=0xa000,proto=0x6558),csum=0x0,key=0x1e241)"),
		NULL, -1 },
	{ "push of VXLAN", PUSH("50", "4", VXLAN4("flags=0x8000000,vni=0x1c7")), NULL, -1 },
	{ "push of Geneve", PUSH("50", "5", GENEVE4("oam,vni=0x1c7")), NULL, -1 },
	{ "push of Geneve with an option",
		PUSH("58", "5", GENEVE4("crit,vni=0x1c7,options(" OPTION ")")), NULL, -1 },
	{ "push of Geneve with a sum",
		PUSH("50", "5", OVER4("17") UDP("6081", "0xffff") "geneve(vni=0x1c7)"), NULL, -1 },
	{ "push of GRE over IPv6",
		PUSH("62", "109", OVER6("47") "gre((flags=0x2000,proto=0x6558),key=0x1e241)"), NULL,
		-1 },
	{ "push of GRE with a sum over IPv6",
		PUSH("66", "109",
			OVER6("47") "gre((flags=0xa000,proto=0x6558),csum=0x0,key=0x1e241)"),
		NULL, -1 },
	{ "push of VXLAN over IPv6",
		PUSH("70", "4", OVER6("17") UDP("4789", "0x0") "vxlan(flags=0x8000000,vni=0x1c7)"),
		NULL, -1 },
	{ "push of Geneve over IPv6",
		PUSH("70", "5", OVER6("17") UDP("6081", "0x0") "geneve(oam,vni=0x1c7)"), NULL, -1 },
	{ "push of Geneve with an option over IPv6",
		PUSH("78", "5",
			OVER6("17") UDP("6081", "0x0") "geneve(crit,vni=0x1c7,options(" OPTION
						       "))"),
		NULL, -1 },
	{ "push of Geneve with a sum over IPv6",
		PUSH("70", "5", OVER6("17") UDP("6081", "0xffff") "geneve(vni=0x1c7)"), NULL, -1 },
	// And others.
	{ "push of everything in IPv4",
		PUSH("50", "4",
			"eth(" MACS ",dl_type=0x0800),ipv4(src=1.1.2.88,dst=1.1.2.92,proto=255,"
			"tos=0xff,ttl=0,frag=0x0),udp(src=65535,dst=1,csum=0x1234),"
			"vxlan(flags=0xffffffff,vni=0xffffff)"),
		NULL, -1 },
	{ "push of everything in IPv6",
		PUSH("70", "5",
			"eth(" MACS ",dl_type=0x86dd),ipv6(src=::,dst=ff02::1,label=1048575,"
			"proto=17,tclass=0xab,hlimit=255),udp(src=1,dst=2,csum=0x3),"
			"geneve(oam,crit,vni=0x0)"),
		NULL, -1 },
	{ "push of several options",
		PUSH("74", "5",
			GENEVE4("vni=0x1,options({class=0,type=0,len=0}"
				"{class=0x102,type=0x3,len=8,0xa0000000b}{class=0x1,type=0x2,"
				"len=4,0})")),
		NULL, -1 },
	{ "push of bare GRE", PUSH("38", "3", OVER4("47") "gre((flags=0x0,proto=0x6558))"), NULL,
		-1 },
	{ "push of all of GRE",
		PUSH("50", "3",
			OVER4("47") "gre((flags=0xb000,proto=0x800),csum=0x1,key=0x2,seq=0x3)"),
		NULL, -1 },
	{ "push of numbers in decimal", PUSH("0x32", "0x4", VXLAN4("flags=134217728,vni=455")),
		PUSH("50", "4", VXLAN4("flags=0x8000000,vni=0x1c7")), -1 },
	{ "push of digits",
		PUSH("50", "4", "data(" ETH4 IP4_UDP "000012b500000000080000000001c700)"),
		PUSH("50", "4", VXLAN4("flags=0x8000000,vni=0x1c7")), -1 },
	{ "push of digits with what is filled in",
		PUSH("50", "4",
			"data(" ETH4 "451201341234400040119abc010102580101025c"
			"000012b500780000080000000001c700)"),
		PUSH("50", "4",
			"eth(" MACS ",dl_type=0x0800),ipv4(src=1.1.2.88,dst=1.1.2.92,proto=17,"
			"tos=0x12,ttl=64,frag=0x4000)," UDP(
				"4789", "0x0") "vxlan(flags=0x8000000,vni=0x1c7)"),
		-1 },
	{ "push of a tag",
		PUSH("54", "4",
			"data(f8bc124434b6f8bc124658e0810000050800" IP4_UDP
			"000012b500000000080000000001c700)"),
		NULL, -1 },
	{ "push of IPv4 options",
		PUSH("50", "4",
			"data(" ETH4 "460000000000400040110000010102580101025c"
			"000012b500000000080000000001c700)"),
		NULL, -1 },
	{ "push of a reserved byte",
		PUSH("50", "4", "data(" ETH4 IP4_UDP "000012b500000000080000000001c701)"), NULL,
		-1 },
	{ "push of a byte too many",
		PUSH("51", "4", "data(" ETH4 IP4_UDP "000012b500000000080000000001c70000)"), NULL,
		-1 },
	{ "push of a byte too few",
		PUSH("49", "4", "data(" ETH4 IP4_UDP "000012b500000000080000000001c7)"), NULL, -1 },
	{ "push of Geneve around IP",
		PUSH("50", "5",
			"data(" ETH4 IP4_UDP "000017c10000000000000800"
			"0001c700)"),
		NULL, -1 },
	{ "push of half an option",
		PUSH("54", "5",
			"data(" ETH4 IP4_UDP "000017c10000000001006558"
			"0001c700ffff8001)"),
		NULL, -1 },
	{ "push of a reserved bit of an option",
		PUSH("54", "5",
			"data(" ETH4 IP4_UDP "000017c10000000001006558"
			"0001c700ffff8020)"),
		NULL, -1 },
	{ "push of another type",
		PUSH("50", "7", "data(" ETH4 IP4_UDP "000012b500000000080000000001c700)"), NULL,
		-1 },
	{ "push of nothing", PUSH("0", "4", "data()"), NULL, -1 },
	{ "into a tunnel", "set(tunnel(tun_id=5,dst=10.0.0.2)),1",
		"set(tunnel(tun_id=0x5,dst=10.0.0.2)),1", -1 },
	{ "into a tunnel, with everything",
		"set(tunnel(tun_id=0x5,src=10.0.0.1,dst=10.0.0.2,tos=0x4,ttl=9,tp_src=1,tp_dst=2,"
		"vxlan(gbp(id=1,flags=0x8)),geneve({class=0x102,type=0x80,len=4,0xa}),"
		"flags(df|csum|key))),1",
		NULL, -1 },
	{ "into a tunnel over IPv6", "set(tunnel(tun_id=0x5,ipv6_src=fd00::1,ipv6_dst=fd00::2))",
		NULL, -1 },
	{ "push, other size", PUSH("51", "4", VXLAN4("flags=0x8000000,vni=0x1c7")), "", 33 },
	{ "push, no size", PUSH("513", "4", VXLAN4("flags=0x8000000,vni=0x1c7")), "", 33 },
	{ "push, other type", PUSH("50", "5", VXLAN4("flags=0x8000000,vni=0x1c7")), "", 202 },
	{ "push, digits missing", PUSH("2", "4", "data(00)"), "", 49 },
	{ "push, digits too many", PUSH("1", "4", "data(0000)"), "", 51 },
	{ "push, no IP", PUSH("50", "4", "eth(" MACS ",dl_type=0x0806),"), "", 107 },
	{ "push, other IP", PUSH("50", "4", "eth(" MACS ",dl_type=0x0800),ipv6(src=::"), "", 107 },
	{ "push, long VNI", PUSH("50", "4", VXLAN4("flags=0,vni=0x1000000")), "", 220 },
	{ "push, long label",
		PUSH("70", "4", "eth(" MACS ",dl_type=0x86dd),ipv6(src=::1,dst=::2,label=1048576,"),
		"", 134 },
	{ "push, long word",
		PUSH("50", "4",
			"eth(dst=0000000000000000000000000000000000000000000000000"
			"0000000000000000000,"),
		"", 51 },
	{ "push, masked option",
		PUSH("58", "5", GENEVE4("vni=1,options({class=0,type=0,len=4,0x1/0x1})")), "",
		214 },
	{ "push, option without data",
		PUSH("58", "5", GENEVE4("vni=1,options({class=0,type=0,len=4})")), "", 214 },
	{ "push, GRE without its key",
		PUSH("42", "3", OVER4("47") "gre((flags=0x2000,proto=0x6558))"), "", 204 },
	{ "push, GRE with a key too many",
		PUSH("42", "3", OVER4("47") "gre((flags=0x0,proto=0x6558),key=0x1)"), "", 201 },
	{ "push, cut short", "tnl_push(tnl_port(6),header(size=50,type=4,eth(dst=", "", 51 },
	{ "into no tunnel", "set(tunnel())", "", 12 },
	{ "unknown port", "1,nobody", "", 2 },
	{ "drop and more", "drop,1", "", 4 },
	{ "a meter of the switch itself", "meter(4096),1", "", 6 },
	{ "nothing", "", "", 0 },
	{ "nothing in a list", "clone()", "", 6 },
	{ "list not closed", "clone(1", "", 7 },
	{ "bracket too many", "1)", "", 1 },
	{ "unknown field", "set(eth(foo=1))", "", 8 },
	{ "unknown group", "set(foo(a=1))", "", 4 },
	{ "odd user data", "userspace(pid=1,userdata(0))", "", 25 },
	{ "too much of a percentage", "sample(sample=100.5%,actions(1))", "", 14 },
	{ "label too long", "ct(commit,label=0x1ffffffffffffffffffffffffffffffff)", "", 50 },
	{ "unknown reason", "drop(foo)", "", 5 },
	{ "port of a translation is 0", "ct(commit,nat(src=1.1.1.1:0))", "", 27 },
	{ "mixed families", "ct(commit,nat(src=1.1.1.1-[::1]))", "", 30 },
};

static void text(void **state)
{
	const struct row *t = *state;
	struct odp_actbuf a = { 0 }, b = { 0 };
	const char *want = t->printed ? t->printed : t->text;
	char buf[1024];
	size_t at = 999;
	int ret = odp_actions_parse(dp, t->text, &a, &at);

	if (t->err_at >= 0) {
		assert_int_equal(ret, -EINVAL);
		assert_int_equal(at, t->err_at);
		odp_actbuf_fini(&a);
		return;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(odp_actions_format(dp, odp_actbuf_list(&a), a.len, ODP_PORTS_BY_NUMBER,
				 buf, sizeof(buf)),
		(int)strlen(want));
	assert_string_equal(buf, want);
	assert_int_equal(odp_actions_parse(dp, buf, &b, &at), 0);
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.mem, b.mem, a.len);
	for (size_t n = 0; n <= strlen(want); n++)
		assert_int_equal(odp_actions_format(dp, odp_actbuf_list(&a), a.len,
					 ODP_PORTS_BY_NUMBER, buf, n),
			-ENOSPC);
	odp_actbuf_fini(&a);
	odp_actbuf_fini(&b);
}

static void ports_by_name(void **state)
{
	const struct odp_actbuf *a = fake_acts(dp, "1,clone(2,9)");
	char buf[64];

	(void)state;
	assert_true(odp_actions_format(dp, odp_actbuf_list(a), a->len, ODP_PORTS_BY_NAME, buf,
			    sizeof(buf)) > 0);
	assert_string_equal(buf, "p1,clone(p2,9)"); // there is no port 9
}

/* By name, whether there is such a port or not; a number is not its name. */
static void a_text_names_a_port(void **state)
{
	(void)state;
	assert_int_equal(
		odp_actions_name_port("1,clone(set(eth(dst=02:00:00:00:00:01)),x),y", "x"), 1);
	assert_int_equal(odp_actions_name_port("1,clone(x),y", "p1"), 0);
	assert_int_equal(
		odp_actions_name_port("ct(commit,helper=x,zone=3),recirc(7),drop(flow)", "x"), 0);
	assert_int_equal(odp_actions_name_port("drop", "drop"), 0);
	dpu_alloc_fail_after(0);
	assert_int_equal(odp_actions_name_port("pop_vlan,x", "x"), -ENOMEM);
	dpu_alloc_fail_after(-1);
}

/* Deeper, or longer, than any list may be. */
static void too_much(void **state)
{
	static char t[200000];
	struct odp_actbuf a = { 0 };
	size_t at, n = 0;

	(void)state;
	for (unsigned i = 0; i <= ODP_ACT_DEPTH_MAX; i++)
		n += (size_t)snprintf(t + n, sizeof(t) - n, "clone(");
	assert_int_equal(odp_actions_parse(dp, t, &a, &at), -E2BIG);
	n = 0;
	while (n < 100000)
		n += (size_t)snprintf(t + n, sizeof(t) - n, "pop_vlan,");
	snprintf(t + n, sizeof(t) - n, "1");
	assert_int_equal(odp_actions_parse(dp, t, &a, &at), -E2BIG);
	assert_true(a.len <= ODP_ACT_LIST_MAX);
	odp_actbuf_fini(&a);
}

/* What a provider made and text has no number for is refused. */
static void no_such_length(void **state)
{
	struct odp_actbuf a = { 0 };
	struct odp_key k, m;
	size_t at;

	(void)state;
	assert_int_equal(odp_key_parse(dp, "in_port(1)", &k, &m, &at), 0);
	assert_int_equal(
		odp_actions_parse(dp, "check_pkt_len(size=65535,gt(1),le(2))", &a, &at), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(odp_flow_put(dp, &k, &m, odp_actbuf_list(&a), a.len, true,
					 "operator", NULL),
			i == 0 ? 0 : -EINVAL);
		((struct odp_act_u32 *)a.mem)->v++;
	}
	odp_flow_flush(dp, NULL);
	odp_actbuf_fini(&a);
}

int main(void)
{
	struct odp_conf conf = { .n_workers = 1, .pool = fake_eal(1023) };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_by_name),
		cmocka_unit_test(a_text_names_a_port),
		cmocka_unit_test(too_much),
		cmocka_unit_test(no_such_length),
	};
	static struct fake_port p[2];
	int failed = 0;

	if (odp_create(&conf, &dp) < 0)
		return 1;
	fake_port_add(&p[0], dp, NULL, "p1");
	fake_port_add(&p[1], dp, NULL, "p2");
	RUN_ROWS(rows, text, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	odp_destroy(dp);
	return failed;
}
