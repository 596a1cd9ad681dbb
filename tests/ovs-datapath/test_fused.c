// SPDX-License-Identifier: Apache-2.0
/*
 * The fused path against the step-by-step path: two datapaths with the same flows are given the
 * same packets, and must send the same frames, in the same order within each connection, and count
 * the same on flows and connections. What goes on between packets changes everything an entry is
 * made from.
 */
#include "fused_both.h"

#define N_FLOWS 12u

/* ---- pipelines ---- */

#define ONE_IP4 "recirc_id(1),in_port(1),eth_type(0x0800)"
#define TWO_IP4 "recirc_id(2),in_port(2),eth_type(0x0800)"
#define INTO_TUNNEL                                                                        \
	"tnl_push(tnl_port(3),header(size=50,type=4,eth(dst=02:00:00:00:00:02,"            \
	"src=02:00:00:00:00:01,dl_type=0x0800),ipv4(src=192.0.2.1,dst=192.0.2.2,proto=17," \
	"tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"                          \
	"vxlan(flags=0x8000000,vni=0x5)),out_port(2))"
#define ANOTHER "set(eth(src=02:00:00:00:00:1a)),ct(zone=1),recirc(1)"
#define COMMIT "ct(commit,zone=1)"
#define SNAT "ct(commit,zone=1,nat(src=10.9.9.9))"
#define VLAN(vid) "eth_type(0x8100),vlan(vid=" #vid "),encap(eth_type(0x0800))"

static const struct pipeline {
	const char *name;
	bool snat; // b sees a as 10.9.9.9
	bool v6;
	bool tagged;
	struct {
		const char *flow, *actions, *other; // other: what the actions change to, and back
	} f[N_FLOWS];
} pipelines[] = {
	{ "one zone", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "1", "drop" } } },
	{ "one zone, both families", false, true, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "1", "drop" },
			{ "in_port(1)," IP6, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP6, "ct(zone=1),recirc(2)", "drop" },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," NEW, COMMIT ",2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," EST, "2", "drop" },
			{ "recirc_id(2),in_port(2),eth_type(0x86dd)," EST, "1", "drop" } } },
	{ "edits", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL },
			{ ONE_IP4 "," EST,
				"set(eth(src=02:00:00:00:00:0a,dst=02:00:00:00:00:0b)),"
				"set(ipv4(tos=0x20/0xfc)),2",
				"set(eth(dst=02:00:00:00:00:0c)),2" },
			{ TWO_IP4 "," EST, "set(eth(src=02:00:00:00:00:0d)),1", "1" } } },
	{ "two zones and a mark", false, false, false,
		{ { "in_port(1),eth_type(0x0800)", "ct(zone=1),recirc(1)", NULL },
			{ ONE_IP4 "," NEW, "ct(commit,zone=1,mark=0x5/0xf),ct(zone=2),recirc(3)",
				NULL },
			{ ONE_IP4 "," EST ",ct_mark(0x5/0xf)", "ct(zone=2),recirc(3)",
				"ct(zone=2),recirc(3)" },
			{ "recirc_id(3),in_port(1),eth_type(0x0800)," NEW, "ct(commit,zone=2),2",
				NULL },
			{ "recirc_id(3),in_port(1),eth_type(0x0800)," EST, "2", "drop" },
			{ "in_port(2),eth_type(0x0800)", "ct(zone=2),recirc(4)", NULL },
			{ "recirc_id(4),in_port(2),eth_type(0x0800)," EST, "ct(zone=1),recirc(5)",
				NULL },
			{ "recirc_id(5),in_port(2),eth_type(0x0800)," EST, "1", "drop" } } },
	{ "source translation", true, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1,nat),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL }, { ONE_IP4 "," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "1", "drop" } } },
	{ "source translation, tracked twice", true, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1,nat),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL },
			{ ONE_IP4 "," EST, SNAT ",recirc(3)", "2" },
			{ "recirc_id(3),in_port(1),eth_type(0x0800)," EST, "2", "drop" },
			{ TWO_IP4 "," EST, "ct(zone=1,nat),recirc(4)", "ct(zone=1),recirc(4)" },
			{ "recirc_id(4),in_port(2),eth_type(0x0800)," EST, "1", "drop" } } },
	{ "rewrites merged", true, false, false,
		{ { "in_port(1)," IP4,
			  "set(ipv4(tos=0x4/0xfc)),dec_ttl(le_1(drop)),ct(zone=1,nat),recirc(1)",
			  "ct(zone=1,nat),recirc(1)" },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x0800),ipv4(proto=6)," EST,
				"set(tcp(dst=8080)),set(eth(dst=02:00:00:00:00:0c)),dec_ttl(le_1("
				"drop)),"
				"set(ipv4(dst=10.1.2.3,ttl=7)),dec_ttl(le_1(drop)),set(tcp(dst=81))"
				","
				"set(ipv4(dst=10.0.0.2)),2",
				"set(ipv4(src=10.1.2.3)),2" },
			{ "recirc_id(1),in_port(1),eth_type(0x0800),ipv4(proto=17)," EST,
				"set(udp(src=0x4000/"
				"0xf000,dst=5353)),dec_ttl(le_1(drop)),dec_ttl(le_1(drop)),2",
				"2" },
			{ TWO_IP4 "," EST,
				"dec_ttl(le_1(drop)),set(ipv4(tos=0x20/0xfc)),set(ipv4(tos=0x1/"
				"0x3)),1",
				"set(ipv4(ttl=64)),1" } } },
	{ "rewrites merged, IPv6", false, true, false,
		{ { "in_port(1)," IP6, "dec_ttl(le_1(drop)),ct(zone=1),recirc(1)",
			  "ct(zone=1),recirc(1)" },
			{ "in_port(2)," IP6, "ct(zone=1),recirc(2)", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," NEW, COMMIT ",2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x86dd)," EST,
				"set(ipv6(src=fd00::7,label=0x12/0xff)),dec_ttl(le_1(drop)),"
				"set(ipv6(tclass=0x10/0xf0)),"
				"set(ipv6(dst=fd00::1:0/::ffff:0,tclass=0x5/0x1f)),2",
				"2" },
			{ "recirc_id(2),in_port(2),eth_type(0x86dd)," EST,
				"set(ipv6(hlimit=9)),dec_ttl(le_1(drop)),1",
				"set(ipv6(label=0x1)),1" },
			{ "in_port(1)," IP4, "ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", NULL },
			{ TWO_IP4 "," EST, "1", NULL } } },
	{ "tags on and off", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," IP4, "push_vlan(vid=3,pcp=2),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL },
			{ ONE_IP4 "," EST,
				"push_vlan(vid=9,pcp=1),dec_ttl(le_1(drop)),push_vlan(tpid=0x88a8,"
				"vid=8,pcp=0),"
				"set(vlan(tci=0x604d/0xefff)),2",
				"push_vlan(vid=9,pcp=0),pop_vlan,2" },
			{ "recirc_id(2),in_port(2)," VLAN(3), "ct(zone=1),recirc(3)", NULL },
			{ "recirc_id(3),in_port(2)," VLAN(3) "," EST, "pop_vlan,1", "1" } } },
	{ "tagged hosts", false, false, true,
		{ { "in_port(1)," VLAN(5), "pop_vlan,ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," VLAN(7), "ct(zone=1),recirc(2)", "drop" },
			{ ONE_IP4 "," NEW, "ct(commit,zone=1),push_vlan(vid=7,pcp=0),2", NULL },
			{ ONE_IP4 "," EST,
				"push_vlan(vid=7,pcp=0),set(eth(src=02:00:00:00:00:0a)),2", "2" },
			{ "recirc_id(2),in_port(2)," VLAN(7) "," EST, "push_vlan(vid=6,pcp=1),1",
				"dec_ttl(le_1(drop)),pop_vlan,push_vlan(vid=5,pcp=0),1" } } },
	{ "hash", true, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1,nat),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1,nat),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, SNAT ",2", NULL },
			{ ONE_IP4 "," EST, "set(ipv4(dst=10.0.0.3)),hash(l4(5)),recirc(3)",
				"hash(sym_l4(1)),recirc(3)" },
			{ "recirc_id(3),in_port(1),dp_hash(0/0x1)", "2", "drop" },
			{ "recirc_id(3),in_port(1),dp_hash(0x1/0x1)",
				"set(eth(src=02:00:00:00:00:0e)),2", NULL },
			{ TWO_IP4 "," EST, "hash(l4(0)),recirc(3)", "1" },
			{ "recirc_id(3),in_port(2),dp_hash(0/0x2)", "1", NULL },
			{ "recirc_id(3),in_port(2),dp_hash(0x2/0x2)",
				"set(eth(src=02:00:00:00:00:0f)),1", NULL } } },
	// Into tunnels and out of them packets go the whole way
	{ "tunnels", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", ANOTHER },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", "tnl_pop(3)" },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL },
			{ ONE_IP4 "," EST, "2", INTO_TUNNEL },
			{ ONE_IP4 ",ipv4(proto=17)," EST, INTO_TUNNEL, "2" },
			{ TWO_IP4 "," EST, "1", "set(tunnel(tun_id=0x5,dst=192.0.2.2)),3" },
			{ TWO_IP4 ",ipv4(proto=17)," EST, "3", "1" } } },
	// Of one connection each: others come in another order when some go the whole way
	{ "meters", false, false, false,
		{ { "in_port(1)," IP4, "ct(zone=1),recirc(1)", NULL },
			{ "in_port(2)," IP4, "ct(zone=1),recirc(2)", NULL },
			{ ONE_IP4 "," NEW, COMMIT ",2", NULL }, { ONE_IP4 "," EST, "2", NULL },
			{ "recirc_id(1),in_port(1),eth_type(0x0800),ipv4(proto=6),"
			  "tcp(src=0x28/0x3f)," EST,
				"meter(1),push_vlan(vid=3,pcp=0),recirc(3)",
				"push_vlan(vid=3,pcp=0),meter(2),2" },
			{ "recirc_id(3),in_port(1)", "set(eth(src=02:00:00:00:00:0a)),2", "drop" },
			{ TWO_IP4 "," EST, "1", NULL },
			{ "recirc_id(2),in_port(2),eth_type(0x0800),ipv4(proto=6),"
			  "tcp(dst=0x29/0x3f)," EST,
				"meter(2),dec_ttl(le_1(drop)),recirc(4)", "1" },
			{ "recirc_id(4),in_port(2)", "1", NULL },
			{ "in_port(1),eth_type(0x0800),ipv4(proto=17),udp(src=1002)",
				"meter(3),ct(zone=1),recirc(1)", NULL } } },
};

static void install(struct both *b, const struct pipeline *p, bool other[N_FLOWS])
{
	for (unsigned i = 0; i < N_FLOWS && p->f[i].flow; i++) {
		other[i] = false;
		put(b, p->f[i].flow, p->f[i].actions);
	}
}

/* Something that entries are made from changes. */
static void disturb(struct both *b, const struct pipeline *p, bool other[N_FLOWS])
{
	unsigned i = draw(N_FLOWS);

	switch (draw(5)) {
	case 0:
		if (!p->f[i].flow || !p->f[i].other)
			break;
		other[i] = !other[i];
		put(b, p->f[i].flow, other[i] ? p->f[i].other : p->f[i].actions);
		break;
	case 1:
		if (!p->f[i].flow)
			break;
		del(b, p->f[i].flow);
		put(b, p->f[i].flow, p->f[i].actions);
		other[i] = false;
		break;
	case 2: // before others
		put(b, "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(tos=0x8/0xfc)",
			"drop");
		break;
	case 3:
		del(b, "in_port(1),eth(src=02:00:00:00:00:01),eth_type(0x0800),ipv4(tos=0x8/0xfc)");
		break;
	case 4:
		if (draw(4))
			break;
		for (unsigned k = 0; k < 2; k++)
			if (odp_conntrack(b->s[k].dp))
				(void)odp_ct_flush(odp_conntrack(b->s[k].dp), ODP_CT_ALL_ZONES);
		break;
	}
}

static void same_as_step_by_step(void **state)
{
	const struct pipeline *p = *state;
	struct conn conns[CONNS] = { 0 };
	bool other[N_FLOWS];
	struct both b;

	seed = 0x9e3779b97f4a7c15;
	dpu_clock_set(fake_clock);
	fake_now_ns = 1000000 * MS;
	both_open(&b, ODP_TNL_VXLAN);
	b.tagged = p->tagged;
	install(&b, p, other);
	conns_init(conns, p->v6);
	for (unsigned r = 0; r < ROUNDS; r++) {
		speak_some(&b, conns, p->snat);
		compare_all(&b);
		fake_now_ns += draw(20) * MS;
		if (draw(16) == 0)
			disturb(&b, p, other);
	}
	both_end(&b, p->name);
}

/* A connection with a helper: what it announces once it is established is seen on both. */
static void helper_sees_all(void **state)
{
	static const char text[] = "PORT 10,0,0,1,8,0\r\n";
	struct peer to[2] = { { 0x0a000002, 80 }, { 0x0a000001, 1000 } };
	struct conn c = { .tcp = true, .port = 1000, .seq = { 1000, 5000 } };
	struct both b;
	uint8_t f[256];

	(void)state;
	both_open(&b, ODP_TNL_VXLAN);
	put(&b, "recirc_id(0)," IP4, "ct(zone=1),recirc(1)");
	put(&b, ONE_IP4 "," NEW, "ct(commit,zone=1,helper=ftp),2");
	put(&b, ONE_IP4 "," EST, "2");
	put(&b, "recirc_id(1),in_port(2),eth_type(0x0800)," EST, "1");
	for (unsigned n = 0; n < 20; n++) {
		unsigned from = n == 1 || (n > 2 && n % 2 == 0);
		unsigned flags = n == 0 ? SYN : n == 1 ? SYN | ACK : ACK;
		unsigned data = n == 19 ? sizeof(text) - 1 : 0;
		size_t len = frame(f, &c, from, &to[from], flags, data, 0);

		memcpy(f + len - data, text, data);
		for (unsigned i = 0; i < 2; i++)
			fake_port_push(&b.s[i].port[from], pool, f, len);
		c.seq[from] += data + (n < 2);
		c.ack[!from] = c.seq[from];
		turns(&b);
		compare_out(&b);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct odp_ct_stats s;

		odp_ct_stats(odp_conntrack(b.s[i].dp), &s);
		assert_int_equal(s.announced, 1);
	}
	both_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(helper_sees_all) };
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	pool = fake_eal(8191);
	RUN_ROWS(pipelines, same_as_step_by_step, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
