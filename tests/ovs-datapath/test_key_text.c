// SPDX-License-Identifier: Apache-2.0
/*
 * Flow keys as text: what is printed is read back as the same key; what cannot be read says where.
 * The rows of `ovs` are flows that ovs-vswitchd 3.1 took, and what its dpctl/dump-flows showed.
 */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "fake_port.h"
#include "key_check.h"

static struct odp *dp;

static const struct key_row {
	const char *name, *text, *printed; // printed NULL: as given
} keys[] = {
	{ "port", "in_port(2)", "recirc_id(0),in_port(2),eth()" },
	{ "port by name", "in_port(p1)", "recirc_id(0),in_port(1),eth()" },
	{ "any port", "in_port(0/0x0)", "recirc_id(0),eth()" },
	{ "any recirculation", "recirc_id(0/0),in_port(1)", "recirc_id(0/0),in_port(1),eth()" },
	{ "mac masks", "in_port(1),eth(dst=00:11:22:33:44:55/ff:ff:00:00:00:00)",
		"recirc_id(0),in_port(1),eth(dst=00:11:22:33:44:55/ff:ff:00:00:00:00)" },
	{ "tag of any protocol",
		"recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01),vlan(vid=5,pcp=3)", NULL },
	{ "two tags of any protocol",
		"recirc_id(0),in_port(1),eth(),vlan(vid=5),encap(vlan(pcp=3),eth_type(0x0800))",
		NULL },
	{ "tag, not a second one",
		"recirc_id(0),in_port(1),eth(),vlan(vid=5),encap(vlan(tci=0x0000/0x1000))", NULL },
	{ "no tag", "recirc_id(0),in_port(1),eth(),vlan(tci=0x0000/0xffff)", NULL },
	{ "three tags",
		"recirc_id(0),in_port(1),eth(),eth_type(0x88a8),vlan(vid=5),encap(eth_type(0x8100),"
		"vlan(vid=6),encap(eth_type(0x8100)))",
		NULL },
	{ "prefix, spaces",
		" in_port(1), eth_type(0x0800) , ipv4(src=10.0.0.0/8,proto=6),tcp(dst=80)",
		"recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,"
		"proto=6),tcp(dst=80)" },
	{ "any IPv4 tunnel", "tunnel(src=0.0.0.0/0.0.0.0),recirc_id(0),in_port(1),eth()", NULL },
	{ "any IPv6 tunnel", "tunnel(ipv6_src=::/::),recirc_id(0),in_port(1),eth()", NULL },
	{ "no tunnel", "tunnel(),recirc_id(0),in_port(1),eth()", NULL },
	{ "VXLAN-GPE",
		"tunnel(src=10.0.0.1,vxlan(gpe(np=3,flags=0x4))),recirc_id(0),in_port(1),eth()",
		NULL },
	{ "original tuple as OVS prints it",
		"ct_tuple6(src=fe80::1,proto=6,src_port=1,dst_port=0),in_port(1),eth_type(0x86dd)",
		"ct_tuple6(src=fe80::1,proto=6,tp_src=1,tp_dst=0),recirc_id(0),in_port(1),eth(),"
		"eth_type(0x86dd)" },
	{ "part of a fragment type",
		"recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no/0x1)", NULL },
};

#define PRE "recirc_id(0),in_port(1),"

static const struct key_row ovs[] = {
	{ "tcp",
		"in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),"
		"ipv4(src=10.0.0.0/255.0.0.0,dst=1.2.3.4,proto=6,tos=0x3/0x3,ttl=64,frag=no),"
		"tcp(src=1,dst=80/0xff),tcp_flags(0x002/0x017)",
		"recirc_id(0),in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),"
		"eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,dst=1.2.3.4,proto=6,tos=0x3/0x3,"
		"ttl=64,frag=no),tcp(src=1,dst=80/0xff),tcp_flags(-fin+syn-rst-ack)" },
	{ "flags, all of them",
		PRE
		"eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=1),tcp_flags(0x012/0xfff)",
		PRE "eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=1),tcp_flags(syn|ack)" },
	{ "no flag", PRE "eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=1),tcp_flags(0)",
		NULL },
	{ "flags without a name",
		PRE
		"eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=1),tcp_flags(0x812/0xf12)",
		PRE "eth(),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(src=1),tcp_flags(+syn+ack-ns-"
		    "[200]-[400]+[800])" },
	{ "first fragment", PRE "eth(),eth_type(0x0800),ipv4(frag=first)", NULL },
	{ "later fragment", PRE "eth(),eth_type(0x0800),ipv4(frag=later)", NULL },
	{ "metadata",
		"recirc_id(0x5),dp_hash(0x3/0xf),skb_priority(0x7),skb_mark(0x10/0xf0),"
		"ct_state(+est+trk-new),ct_zone(5),ct_mark(0x1/0x1),ct_label(0x123/0xfff),"
		"in_port(1),eth_type(0x0800),ipv4(frag=no)",
		"skb_priority(0x7),skb_mark(0x10/0xf0),ct_state(-new+est+trk),ct_zone(0x5),"
		"ct_mark(0x1/0x1),ct_label(0x123/0xfff),recirc_id(0x5),dp_hash(0x3/0xf),in_port(1),"
		"eth(),eth_type(0x0800),ipv4(frag=no)" },
	{ "metadata 0",
		"recirc_id(0),skb_priority(0),skb_mark(0),ct_zone(0),ct_mark(0),ct_label(0),"
		"ct_state(0),dp_hash(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=17,frag=no),"
		"udp(src=5/0xff00)",
		"skb_priority(0),skb_mark(0),ct_state(-new-est-rel-rpl-inv-trk-snat-dnat),"
		"ct_zone(0),ct_mark(0),ct_label(0),recirc_id(0),dp_hash(0),in_port(1),eth(),"
		"eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=5/0xff00)" },
	{ "metadata masks",
		"recirc_id(0),skb_mark(0x0/0x1),ct_label(0/0x1),ct_state(0/0x1),ct_zone(1/0xff),"
		"dp_hash(0/0x1),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
		"skb_mark(0/0x1),ct_state(-new),ct_zone(0x1/0xff),ct_label(0/0x1),recirc_id(0),"
		"dp_hash(0/0x1),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)" },
	{ "ct_state in hex",
		"recirc_id(0x5),ct_state(0x22/0x23),in_port(1),eth_type(0x0800),ipv4(frag=no)",
		"ct_state(-new+est+trk),recirc_id(0x5),in_port(1),eth(),eth_type(0x0800),"
		"ipv4(frag=no)" },
	{ "ct_state whole",
		"recirc_id(0),ct_state(est|trk),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no)",
		"ct_state(-new+est-rel-rpl-inv+trk-snat-dnat),recirc_id(0),in_port(1),eth(),"
		"eth_type(0x0800),ipv4(frag=no)" },
	{ "label",
		"ct_label(0x1234567890abcdef1234567890abcdef)," PRE "eth(),eth_type(0x0800),"
		"ipv4(frag=no)",
		NULL },
	{ "original tuple",
		"ct_tuple4(src=10.0.0.1,dst=10.0.0.0/255.0.0.0,proto=6,tp_src=1,tp_dst=2/0xff)," PRE
		"eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "tunnel",
		"tunnel(tun_id=0x5,src=10.0.0.1,dst=10.0.0.2,ttl=64,flags(-df-csum+key))," PRE
		"eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "tunnel ports",
		"tunnel(tun_id=0x0,src=10.0.0.1,dst=10.0.0.2,tos=0x4,ttl=0/"
		"0x1,tp_src=1,tp_dst=4789,"
		"flags(+df-csum))," PRE "eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "GBP over IPv6",
		"tunnel(tun_id=0x5/0xff,ipv6_src=fe80::1,ipv6_dst=fe80::/ffff::,ttl=64,"
		"vxlan(gbp(id=5,flags=0x8)),flags(-df+key))," PRE
		"eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "GBP masks",
		"tunnel(tun_id=0x5,src=10.0.0.1,dst=10.0.0.2,ttl=64,vxlan(gbp(id=5/"
		"0xff,flags=0x0)),"
		"flags(-oam+df-csum))," PRE "eth(),eth_type(0x0800),ipv4(frag=no)",
		"tunnel(tun_id=0x5,src=10.0.0.1,dst=10.0.0.2,ttl=64,vxlan(gbp(id=5/0xff,flags=0)),"
		"flags(-oam+df-csum))," PRE "eth(),eth_type(0x0800),ipv4(frag=no)" },
	{ "Geneve options",
		"tunnel(tun_id=0x5,src=10.0.0.1,dst=10.0.0.2,ttl=64,geneve({class=0xffff,type=0x80,"
		"len=4,0xa}{class=0x1,type=0x1,len=8,0x1122334455667788/0xff}),flags(+df+key))," PRE
		"eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "Geneve masks",
		"tunnel(src=10.0.0.1,dst=10.0.0.2,ttl=64,geneve({class=0xff00/0xff00,type=0x80/"
		"0xf0,"
		"len=4,0xa/0xf}),flags(+oam-df-csum))," PRE "eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "Geneve option without data",
		"tunnel(src=10.0.0.1,dst=10.0.0.2,ttl=64,geneve({class=0xff00,type=0x80,len=0}),"
		"flags(+oam-df-csum))," PRE "eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "Geneve without options",
		"tunnel(src=10.0.0.1,dst=10.0.0.2,ttl=64,geneve(),flags(+oam-df-csum))," PRE
		"eth(),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "no Ethernet header", PRE "packet_type(ns=1,id=0x800),eth_type(0x0800),ipv4(frag=no)",
		NULL },
	{ "tag",
		PRE
		"eth(),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800),ipv4(frag=no))",
		NULL },
	{ "part of a tag",
		PRE
		"eth(),eth_type(0x8100),vlan(vid=5/0xff,pcp=3/0x1,cfi=1),encap(eth_type(0x0800),"
		"ipv4(frag=no))",
		PRE "eth(),eth_type(0x8100),vlan(vid=5/0xff,pcp=3/0x1),encap(eth_type(0x0800),"
		    "ipv4(frag=no))" },
	{ "any tag", PRE "eth(),eth_type(0x8100),vlan(),encap(eth_type(0x0800),ipv4(frag=no))",
		NULL },
	{ "labels",
		PRE "eth(),eth_type(0x8847),mpls(label=100,tc=3,ttl=64,bos=0,label=101,tc=0,ttl=1,"
		    "bos=1)",
		NULL },
	{ "part of a label",
		PRE "eth(),eth_type(0x8847),mpls(label=100/0xff,tc=3/0x1,ttl=64/0xf,bos=1/1)",
		PRE "eth(),eth_type(0x8847),mpls(label=100/0xff,tc=3/1,ttl=64/0xf,bos=1/1)" },
	{ "neighbour solicitation",
		PRE "eth(),eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0x12345,proto=58,"
		    "tclass=0x3,hlimit=255,frag=no),icmpv6(type=135,code=0),nd(target=fe80::3,"
		    "sll=02:00:00:00:00:01,tll=00:00:00:00:00:00)",
		NULL },
	{ "nd masks",
		PRE "eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=136,code=0),"
		    "nd(tll=00:00:00:00:00:01/00:00:00:00:00:ff)",
		NULL },
	{ "flow label",
		PRE "eth(),eth_type(0x86dd),ipv6(src=fe80::/ffc0::,label=0x345/0xfff,proto=17,"
		    "frag=no),udp(src=1,dst=2)",
		NULL },
	{ "flow label 0", PRE "eth(),eth_type(0x86dd),ipv6(label=0,frag=no)", NULL },
	{ "icmp", PRE "eth(),eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=8,code=0)", NULL },
	{ "sctp", PRE "eth(),eth_type(0x0800),ipv4(proto=132,frag=no),sctp(src=8,dst=9)", NULL },
	{ "arp",
		PRE "eth(),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,"
		    "sha=02:00:00:00:00:01,tha=00:00:00:00:00:00)",
		NULL },
	{ "rarp", PRE "eth(),eth_type(0x8035),arp(op=3)", NULL },
	{ "no prefix", PRE "eth(),eth_type(0x0800),ipv4(src=1.0.0.0/255.0.255.0)", NULL },
};

static void round_trip(void **state)
{
	const struct key_row *t = *state;
	const char *want = t->printed ? t->printed : t->text;
	struct odp_key k, m, k2, m2;
	char buf[1024];
	size_t at = 999;

	assert_int_equal(odp_key_parse(dp, t->text, &k, &m, &at), 0);
	assert_int_equal(odp_key_check(&k, &m), 0);
	assert_true(odp_key_format(dp, &k, &m, ODP_PORTS_BY_NUMBER, buf, sizeof(buf)) > 0);
	assert_string_equal(buf, want);
	assert_int_equal(odp_key_parse(dp, buf, &k2, &m2, &at), 0);
	assert_memory_equal(&k, &k2, sizeof(k));
	assert_memory_equal(&m, &m2, sizeof(m));
	for (size_t n = 0; n <= strlen(want); n++)
		assert_int_equal(odp_key_format(dp, &k, &m, ODP_PORTS_BY_NUMBER, buf, n), -ENOSPC);
}

static const struct bad_row {
	const char *name, *text;
	size_t at;
} bad[] = {
	{ "unknown group", "in_port(1),foo(1)", 11 },
	{ "unknown field", "eth(foo=1)", 4 },
	{ "bad address", "eth(src=02:00:00:00:00)", 8 },
	{ "addresses of another type", "eth_type(0x86dd),ipv4(src=1.2.3.4)", 17 },
	{ "ports of another protocol", "eth_type(0x0800),ipv4(proto=6),udp(src=1)", 31 },
	{ "number too large", "eth_type(0x10000)", 9 },
	{ "not closed", "in_port(1", 9 },
	{ "nothing", "", 0 },
	{ "prefix too long", "ipv4(src=1.2.3.4/33)", 16 },
	{ "zone too large", "ct_zone(65536)", 8 },
	{ "label too long", "ct_label(0x123456789012345678901234567890123)", 9 },
	{ "unknown state", "ct_state(+foo)", 10 },
	{ "unknown state in hex", "ct_state(0x100)", 9 },
	{ "three encaps", "encap(encap(encap()))", 18 },
	{ "a third tag", "encap(encap(vlan(vid=1)))", 17 },
	{ "encap not closed", "encap(eth_type(0x800)", 21 },
	{ "four labels", "mpls(label=1,label=2,label=3,label=4)", 36 },
	{ "tunnel of no family", "tunnel(tun_id=0x1)", 7 },
	{ "tunnel of both families", "tunnel(src=1.2.3.4,ipv6_dst=::1)", 19 },
	{ "option not closed", "tunnel(src=1.2.3.4,geneve({class=1,type=2,len=4)", 47 },
	{ "option of odd length", "tunnel(src=1.2.3.4,geneve({class=1,type=2,len=3}))", 42 },
	{ "option data too long", "tunnel(src=1.2.3.4,geneve({class=1,type=2,len=4,0x123456789}))",
		48 },
};

static void unreadable(void **state)
{
	const struct bad_row *t = *state;
	struct odp_key k, m;
	size_t at = 999;

	assert_int_equal(odp_key_parse(dp, t->text, &k, &m, &at), -EINVAL);
	assert_int_equal(at, t->at);
}

/* By name, where that is not read as a number. */
static void by_name(void **state)
{
	struct odp_key k, m;
	char out[256];
	size_t at;

	(void)state;
	assert_int_equal(odp_key_parse(dp, "in_port(1)", &k, &m, &at), 0);
	assert_true(odp_key_format(dp, &k, &m, ODP_PORTS_BY_NAME, out, sizeof(out)) > 0);
	assert_string_equal(out, "recirc_id(0),in_port(p1),eth()");
	assert_int_equal(odp_key_parse(dp, "in_port(3)", &k, &m, &at), 0);
	assert_true(odp_key_format(dp, &k, &m, ODP_PORTS_BY_NAME, out, sizeof(out)) > 0);
	assert_string_equal(out, "recirc_id(0),in_port(3),eth()");
	assert_int_equal(odp_key_parse(dp, "in_port(99)", &k, &m, &at), 0);
	assert_true(odp_key_format(dp, &k, &m, ODP_PORTS_BY_NAME, out, sizeof(out)) > 0);
	assert_string_equal(out, "recirc_id(0),in_port(99),eth()");
}

/* 252 bytes of options fit, no byte more. */
static void options_end(void **state)
{
	struct odp_key k, m;
	char text[4096], out[4096];
	size_t at, end = (size_t)snprintf(text, sizeof(text), "tunnel(src=1.2.3.4,geneve(");

	(void)state;
	for (unsigned i = 0; i < ODP_TNL_OPTS / 4; i++)
		end += (size_t)snprintf(
			text + end, sizeof(text) - end, "{class=0x1,type=0x2,len=0}");
	snprintf(text + end, sizeof(text) - end, ")),recirc_id(0),eth()");
	assert_int_equal(odp_key_parse(dp, text, &k, &m, &at), 0);
	assert_int_equal(odp_key_check(&k, &m), 0);
	assert_true(odp_key_format(dp, &k, &m, ODP_PORTS_BY_NUMBER, out, sizeof(out)) > 0);
	assert_string_equal(out, text);
	snprintf(text + end, sizeof(text) - end, "{class=0x1,type=0x2,len=0})),recirc_id(0),eth()");
	assert_int_equal(odp_key_parse(dp, text, &k, &m, &at), -EINVAL);
}

/* Fields without the protocol that has them. */
static const struct check_row {
	const char *name, *text;
} refused[] = {
	{ "addresses without a type", "ipv4(src=1.2.3.4)" },
	{ "part of a type", "eth_type(0x0800/0xff00)" },
	{ "addresses of another type", "eth_type(0x86dd),ipv4(src=1.2.3.4,ttl=1)" },
	{ "ttl of ARP", "eth_type(0x0806),ipv4(ttl=1)" },
	{ "label of IPv4", "eth_type(0x0800),ipv6(label=1)" },
	{ "label of 21 bits", "eth_type(0x86dd),ipv6(label=0x100000)" },
	{ "fragment type 3", "eth_type(0x0800),ipv4(frag=3/0xff)" },
	{ "ports without a protocol", "eth_type(0x0800),udp(src=1)" },
	{ "ports of part of a protocol", "eth_type(0x0800),ipv4(proto=17/0x1f),udp(src=1)" },
	{ "ports of a protocol without", "eth_type(0x0800),ipv4(proto=47),udp(src=1)" },
	{ "ports of a later fragment", "eth_type(0x0800),ipv4(proto=17,frag=later),udp(src=1)" },
	{ "icmp over IPv6", "eth_type(0x86dd),ipv6(proto=1),icmp(type=8)" },
	{ "flags of UDP", "eth_type(0x0800),ipv4(proto=17),tcp_flags(syn)" },
	{ "nd without a type", "eth_type(0x86dd),ipv6(proto=58),nd(target=::1)" },
	{ "nd of an echo", "eth_type(0x86dd),ipv6(proto=58),icmpv6(type=128),nd(target=::1)" },
	{ "label stack of IPv4", "eth_type(0x0800),mpls(label=1)" },
	{ "tag that is not said to be there", "vlan(tci=0x0005/0x0fff)" },
	{ "vid of no tag", "vlan(tci=0x0005/0x1fff)" },
	{ "second tag without a first", "encap(vlan(vid=1))" },
	{ "second tag where there is no first", "vlan(tci=0/0x1000),encap(vlan(vid=1))" },
	{ "address without an Ethernet header",
		"packet_type(ns=1,id=0x800),eth(src=02:00:00:00:00:01)" },
	{ "packet type of another namespace", "packet_type(ns=2,id=0x800)" },
	{ "original tuple without a type", "ct_tuple4(src=1.2.3.4)" },
	{ "original tuple of another type", "eth_type(0x0800),ct_tuple6(dst=::1)" },
};

static void not_together(void **state)
{
	const struct check_row *t = *state;
	struct odp_key k, m;
	size_t at;

	// Some are no text already.
	if (odp_key_parse(dp, t->text, &k, &m, &at) == 0)
		assert_int_equal(odp_key_check(&k, &m), -EINVAL);
}

/* What text has no form for. */
static void odd_masks(void **state)
{
	struct odp_key k = { 0 }, m = { 0 };

	(void)state;
	assert_int_equal(odp_key_check(&k, &m), 0);
	for (size_t i = 0; i < sizeof(m); i++) {
		bool pad = (i >= offsetof(struct odp_key, pad_l4) &&
				   i < offsetof(struct odp_key, pad_l4) + sizeof(m.pad_l4)) ||
			   i >= offsetof(struct odp_key, tnl.pad_opts);

		memset(&m, 0, sizeof(m));
		((uint8_t *)&m)[i] = 0x40;
		if (pad || i >= offsetof(struct odp_key, tnl))
			assert_int_equal(odp_key_check(&k, &m), -EINVAL);
	}
	assert_int_equal(odp_key_parse(dp, "tunnel(src=1.2.3.4,geneve({class=1,type=2,len=4}))", &k,
				 &m, &(size_t){ 0 }),
		0);
	k.tnl.opts[3] = 2; // beyond the end
	assert_int_equal(odp_key_check(&k, &m), -EINVAL);
	k.tnl.opts[3] = 1;
	assert_int_equal(odp_key_check(&k, &m), 0);
	m.tnl.opts[8] = 1; // where there is no option
	assert_int_equal(odp_key_check(&k, &m), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(options_end),
		cmocka_unit_test(by_name), cmocka_unit_test(odd_masks) };
	struct odp_conf conf = { .n_workers = 1, .pool = fake_eal(1023) };
	static struct fake_port p[3];
	int failed;

	if (odp_create(&conf, &dp) < 0)
		return 1;
	fake_port_add(&p[0], dp, NULL, "p1");
	fake_port_add(&p[1], dp, NULL, "p2");
	fake_port_add(&p[2], dp, NULL, "7");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(keys, round_trip, failed);
	RUN_ROWS(ovs, round_trip, failed);
	RUN_ROWS(bad, unreadable, failed);
	RUN_ROWS(refused, not_together, failed);
	odp_destroy(dp);
	return failed;
}
