// SPDX-License-Identifier: Apache-2.0
/* Action lists as text: what is printed is read back as the same list. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "fake_port.h"

static struct odp *dp;

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
	{ "into a tunnel", "set(tunnel(tun_id=5,dst=10.0.0.2)),1",
		"set(tunnel(tun_id=0x5,dst=10.0.0.2)),1", -1 },
	{ "into a tunnel, with everything",
		"set(tunnel(tun_id=0x5,src=10.0.0.1,dst=10.0.0.2,tos=0x4,ttl=9,tp_src=1,tp_dst=2,"
		"vxlan(gbp(id=1,flags=0x8)),geneve({class=0x102,type=0x80,len=4,0xa}),"
		"flags(df|csum|key))),1",
		NULL, -1 },
	{ "into a tunnel over IPv6", "set(tunnel(tun_id=0x5,ipv6_src=fd00::1,ipv6_dst=fd00::2))",
		NULL, -1 },
	{ "into no tunnel", "set(tunnel())", "", 12 },
	{ "unknown port", "1,nobody", "", 2 },
	{ "drop and more", "drop,1", "", 4 },
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

int main(void)
{
	struct odp_conf conf = { .n_workers = 1, .pool = fake_eal(1023) };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_by_name),
		cmocka_unit_test(too_much),
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
