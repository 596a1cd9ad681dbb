// SPDX-License-Identifier: Apache-2.0
/* Traces: what they tell, that it is what happens, and that nothing changes by it. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "ct_pkts.h"
#include "dp.h"
#include "dpu_clock.h"
#include "extract.h"
#include "fake_port.h"
#include "odp_act.h"
#include "random_lists.h"

static struct rte_mempool *pool;

struct told {
	char text[8192];
};

static void tell(const struct odp_trace_line *l, void *arg)
{
	struct told *t = arg;
	size_t at = strlen(t->text);

	snprintf(t->text + at, sizeof(t->text) - at, "%u.%u %s: %s\n", l->depth, l->nesting,
		odp_trace_step_name(l->step), l->text);
}

static void flow(struct odp *dp, const char *text, const char *actions)
{
	struct odp_actbuf a = { 0 };
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_actions_parse(dp, actions, &a, &at), 0);
	assert_int_equal(odp_key_parse(dp, text, &k, &m, &at), 0);
	assert_int_equal(
		odp_flow_put(dp, &k, &m, odp_actbuf_list(&a), a.len, false, "operator", NULL), 0);
	odp_actbuf_fini(&a);
}

static void trace_how(struct odp *dp, const char *text, unsigned how, struct told *told)
{
	struct odp_key k, m;
	uint8_t frame[256];
	size_t at;
	int n;

	told->text[0] = '\0';
	assert_int_equal(odp_key_parse(dp, text, &k, &m, &at), 0);
	n = odp_compose(&k, frame);
	assert_true(n > 0);
	assert_int_equal(
		odp_trace(dp, &k, frame, (size_t)n, ODP_TRACE_COMPOSED | how, tell, told), 0);
}

static void trace(struct odp *dp, const char *text, struct told *told)
{
	trace_how(dp, text, 0, told);
}

#define UDP                                                                             \
	"in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800)," \
	"ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,ttl=64,frag=no),udp(src=1,dst=53)"
#define UDP_KEY                                                                          \
	"in_port(p1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800)," \
	"ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=53)"

static const struct row {
	const char *name, *flows[3][2], *packet;
	const char *told; // without the line that names the flow
} rows[] = {
	{ "output", { { "in_port(1)", "2" } }, UDP,
		"0.0 key: recirc_id(0)," UDP_KEY "\n"
		"0.0 flow: recirc_id(0),in_port(p1),eth()\n"
		"0.0 actions: p2\n"
		"0.0 output: p2 (port 2), 60 bytes\n" },
	{ "drop", { { "in_port(1)", "drop" } }, UDP,
		"0.0 key: recirc_id(0)," UDP_KEY "\n"
		"0.0 flow: recirc_id(0),in_port(p1),eth()\n"
		"0.0 actions: drop\n"
		"0.0 drop: FLOW_DROP: a flow says drop\n" },
	{ "tag and port that is down", { { "in_port(1)", "push_vlan(vid=5,pcp=0),2,3" } }, UDP,
		"0.0 key: recirc_id(0)," UDP_KEY "\n"
		"0.0 flow: recirc_id(0),in_port(p1),eth()\n"
		"0.0 actions: push_vlan(vid=5,pcp=0),p2,p3\n"
		"0.0 output: p2 (port 2), 64 bytes\n"
		"0.0 note: port 3 is not up: no copy goes there\n" },
	{ "no flow", { { "in_port(2)", "1" } }, UDP,
		"0.0 key: recirc_id(0)," UDP_KEY "\n"
		"0.0 note: no flow: the learning switch decides\n"
		"0.0 actions: storm(p1),p2,p3\n"
		"0.0 note: storm control: not charged\n"
		"0.0 output: p2 (port 2), 60 bytes\n"
		"0.0 note: port 3 is not up: no copy goes there\n" },
	{ "miss of what has recirculated", { { "in_port(1)", "2" } },
		"recirc_id(0x5),skb_mark(0x7)," UDP,
		"0.0 key: skb_mark(0x7),recirc_id(0x5)," UDP_KEY "\n"
		"0.0 drop: RECIRC_MISS: no flow for a packet that recirculates\n" },
	{ "recirculation with a mark",
		{ { "in_port(1)", "set(skb_mark(0x7)),push_vlan(vid=5,pcp=0),recirc(0x9)" },
			{ "recirc_id(0x9),skb_mark(0x7),in_port(1),eth(),vlan(vid=5)",
				"pop_vlan,recirc(0xa),2" } },
		UDP,
		"0.0 key: recirc_id(0)," UDP_KEY "\n"
		"0.0 flow: recirc_id(0),in_port(p1),eth()\n"
		"0.0 actions: set(skb_mark(0x7)),push_vlan(vid=5,pcp=0),recirc(0x9)\n"
		"0.0 note: looked up again as recirc_id(0x9)\n"
		"1.0 key: skb_mark(0x7),recirc_id(0x9),in_port(p1),eth(src=02:00:00:00:00:01,"
		"dst=02:00:00:00:00:02),eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),"
		"ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=53))\n"
		"1.0 flow: skb_mark(0x7),recirc_id(0x9),in_port(p1),eth(),vlan(vid=5)\n"
		"1.0 actions: pop_vlan,recirc(0xa),p2\n"
		"1.0 note: looked up again as recirc_id(0xa)\n"
		"1.0 output: p2 (port 2), 60 bytes\n"
		"2.0 key: skb_mark(0x7),recirc_id(0xa)," UDP_KEY "\n"
		"2.0 drop: RECIRC_MISS: no flow for a packet that recirculates\n" },
	{ "round without an end", { { "recirc_id(0/0),in_port(1)", "recirc(0x1)" } }, UDP, NULL },
};

/* The lines, but for those that name a flow by its id. */
static void told_is(const struct told *t, const char *want)
{
	char text[8192] = "";
	const char *at = t->text;

	while (*at) {
		const char *end = strchr(at, '\n') + 1;

		if (!strstr(at, " note: flow ") || strstr(at, " note: flow ") > end)
			strncat(text, at, (size_t)(end - at));
		at = end;
	}
	assert_string_equal(text, want);
}

static void tells(void **state)
{
	const struct row *t = *state;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	static struct fake_port p[3];
	static struct told told, again; // of a packet that goes round, 9 times four lines
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_stats s;
	struct odp *dp;

	assert_int_equal(odp_create(&conf, &dp), 0);
	fake_port_add(&p[0], dp, odp_worker(dp, 0), "p1");
	fake_port_add(&p[1], dp, odp_worker(dp, 0), "p2");
	fake_port_add(&p[2], dp, odp_worker(dp, 0), "p3");
	p[2].caps.up = false;
	for (unsigned i = 0; i < 3 && t->flows[i][0]; i++)
		flow(dp, t->flows[i][0], t->flows[i][1]);
	trace(dp, t->packet, &told);
	if (t->told)
		told_is(&told, t->told);
	else
		assert_non_null(strstr(told.text, "8.0 drop: RECIRC_DEPTH"));
	// Nothing changed: it says the same again, and nobody counted anything.
	trace(dp, t->packet, &again);
	assert_string_equal(told.text, again.text);
	odp_stats(dp, &s);
	for (unsigned i = 0; i < ODP_DROP_COUNT; i++)
		assert_int_equal(s.drops[i], 0);
	assert_int_equal(s.misses + s.mega_hits + s.emc_hits + s.upcalls + s.macs, 0);
	assert_int_equal(p[1].n_out, 0);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
	for (unsigned i = 0; i < 3; i++)
		fake_port_del(&p[i], odp_worker(dp, 0));
	odp_destroy(dp);
}

/* ---- connections ---- */

#define REPLY                                                                           \
	"in_port(2),eth(src=02:00:00:00:00:02,dst=02:00:00:00:00:01),eth_type(0x0800)," \
	"ipv4(src=10.0.0.2,dst=10.0.9.9,proto=17,ttl=64,frag=no),udp(src=53,dst=700)"

static const struct ct_row {
	const char *name;
	bool there, replied; // the connection
	unsigned how;
	const char *packet;
	const char *says[7];
} ct_rows[] = {
	{ "no connection", false, false, 0, UDP,
		{ "0.0 note: connection tracking in zone 5: +new+trk\n",
			("1.0 key: "
			 "ct_state(+new-est-rel-rpl-inv+trk-snat-dnat),ct_zone(0x5),recirc_id"),
			("1.0 note: not translated here: address and port are chosen with the "
			 "commit\n"),
			"1.0 output: p2" } },
	{ "its first direction", true, false, 0, UDP,
		{ "0.0 note: connection tracking in zone 5: +new+trk+snat\n",
			("0.0 note: connection "
			 "udp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=53),"
			 "reply=(src=10.0.0.2,dst=10.0.9.9,sport=53,dport=700),zone=5,mark=7"),
			"0.0 note: translated to src=10.0.9.9,dst=10.0.0.2,sport=700,dport=53\n",
			"ct_mark(0x7)", "ipv4(src=10.0.9.9,dst=10.0.0.2,proto=17,",
			("1.0 note: connection tracking in zone 5: +new+trk+snat\n"
			 "1.0 note: connection udp,orig=(src=10.0.0.1,"),
			"mark=7\n1.0 output: p2" } },
	{ "it was answered", true, true, 0, UDP,
		{ "0.0 note: connection tracking in zone 5: +est+trk+snat\n", "udp(src=700,dst=53)",
			"1.0 output: p2" } },
	{ "the answer", true, false, 0, REPLY,
		{ "0.0 note: connection tracking in zone 5: +est+rpl+trk+dnat\n",
			"0.0 note: translated to src=10.0.0.2,dst=10.0.0.1,sport=53,dport=1\n",
			"ipv4(src=10.0.0.2,dst=10.0.0.1,proto=17,", "1.0 output: p1" } },
	{ "an answer to nobody", false, false, 0, REPLY,
		{ "0.0 note: connection tracking in zone 5: +new+trk\n", "1.0 drop: FLOW_DROP" } },
	{ "as if it were not there", true, true, ODP_TRACE_CT_NEW, UDP,
		{ "zone 5: +new+trk, no connection is looked for\n",
			"ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,", "1.0 note: not translated here",
			"1.0 output: p2" } },
};

static void one_row(const struct odp_ct_info *i, void *arg)
{
	*(struct odp_ct_info *)arg = *i;
}

static struct odp_ct_info only(struct odp_ct *ct, uint64_t now_ms)
{
	struct odp_ct_info info = { 0 };
	uint32_t at = 0;

	while (odp_ct_dump(ct, &at, 1000, now_ms, one_row, &info))
		;
	return info;
}

static void open_conn(struct odp_ct *ct, bool replied, uint64_t now_ms)
{
	struct odp_ct_nat_conf nat = {
		.flags = ODP_NAT_SRC | ODP_NAT_PORTS, .min_port = 700, .max_port = 700
	};
	struct odp_ct_commit k = { .mark = 7, .mark_mask = UINT32_MAX, .nat = &nat };
	struct ct_p p;

	odp_ct_online(ct, 0);
	ct_addr(nat.min_addr, 0x0909);
	ct_addr(nat.max_addr, 0x0909);
	ct_see(ct, ct_udp(&p, 1, 1, 2, 53, 5), now_ms);
	assert_int_equal(odp_ct_commit(ct, 0, &p.p, &k, now_ms), 0);
	if (replied)
		ct_see(ct, ct_udp(&p, 2, 53, 0x0909, 700, 5), now_ms);
	odp_ct_offline(ct, 0);
}

static void asks_the_table(void **state)
{
	const struct ct_row *t = *state;
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	unsigned before = rte_mempool_in_use_count(pool);
	uint64_t now_ms = dpu_now_ns() / 1000000;
	static struct fake_port p[2];
	static struct told told;
	struct odp_ct_stats was, is;
	struct odp *dp;

	assert_int_equal(odp_create(&conf, &dp), 0);
	fake_port_add(&p[0], dp, odp_worker(dp, 0), "p1");
	fake_port_add(&p[1], dp, odp_worker(dp, 0), "p2");
	flow(dp, "recirc_id(0),eth_type(0x0800)", "ct(zone=5,nat),recirc(0x1)");
	flow(dp, "recirc_id(0x1),in_port(1),ct_state(+new+trk),eth_type(0x0800)",
		"ct(commit,zone=5,nat(src=10.0.9.9:700)),2");
	flow(dp, "recirc_id(0x1),in_port(1),ct_state(+est+trk),eth_type(0x0800)", "2");
	flow(dp, "recirc_id(0x1),in_port(2),ct_state(+est+trk),eth_type(0x0800)", "1");
	flow(dp, "recirc_id(0x1),in_port(2),ct_state(-est+trk),eth_type(0x0800)", "drop");
	if (t->there)
		open_conn(odp_conntrack(dp), t->replied, now_ms);
	struct odp_ct_info seen = only(odp_conntrack(dp), now_ms), then;

	odp_ct_stats(odp_conntrack(dp), &was);
	trace_how(dp, t->packet, t->how, &told);
	for (unsigned i = 0; i < ARRAY_LEN(t->says) && t->says[i]; i++)
		if (!strstr(told.text, t->says[i]))
			fail_msg("no \"%s\" in:\n%s", t->says[i], told.text);
	odp_ct_stats(odp_conntrack(dp), &is);
	assert_memory_equal(&was, &is, sizeof(was));
	then = only(odp_conntrack(dp), now_ms);
	assert_memory_equal(&seen, &then, sizeof(seen));
	assert_int_equal(rte_mempool_in_use_count(pool), before);
	for (unsigned i = 0; i < 2; i++)
		fake_port_del(&p[i], odp_worker(dp, 0));
	odp_destroy(dp);
}

/* The frame of a key has that key. */
static void composed(void **state)
{
	static const char *const texts[] = {
		UDP,
		"eth(src=02:00:00:00:00:01),eth_type(0x88a8),vlan(vid=5,pcp=3),encap(eth_type("
		"0x8100),"
		"vlan(vid=6,pcp=1),encap(eth_type(0x0800),ipv4(src=10.0.0.1,proto=6,tos=0x4,ttl=3),"
		"tcp(src=5,dst=6),tcp_flags(syn|ack)))",
		"eth(),eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0x12345,proto=58,"
		"tclass=0x12,hlimit=255),icmpv6(type=135,code=0),nd(target=fe80::3,"
		"sll=02:00:00:00:00:01)",
		"eth(),eth_type(0x86dd),ipv6(proto=44,frag=later)",
		"eth(),eth_type(0x86dd),ipv6(proto=17,frag=first),udp(src=1,dst=2)",
		"eth(),eth_type(0x0800),ipv4(proto=17,frag=later)",
		"eth(),eth_type(0x0800),ipv4(proto=132),sctp(src=1,dst=2)",
		"eth(),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=2,sha=02:00:00:00:00:01)",
		"eth(),eth_type(0x8847),mpls(label=1,tc=2,ttl=3,bos=0,label=4,tc=5,ttl=6,bos=1)",
		"packet_type(ns=1,id=0x800),eth_type(0x0800),ipv4(proto=17),udp(src=1,dst=2)",
		"eth(),eth_type(0x05ff)",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct odp_key k, m, back = { 0 };
		uint8_t frame[256];
		size_t at;

		assert_int_equal(odp_key_parse(NULL, texts[i], &k, &m, &at), 0);
		int n = odp_compose(&k, frame);

		assert_true(n > 0);
		assert_int_equal(odp_extract(frame, (size_t)n, (size_t)n, 0,
					 dpu_be32_get(k.packet_type), ODP_WANT_ALL, &back),
			0);
		back.in_port = k.in_port;
		assert_memory_equal(&back, &k, 8 * ODP_KEY_META_WORD);
	}
}

/* ---- against what happens ---- */

static const char *const plain_words[] = { "1", "2", "3", "2,3", "push_vlan(vid=5,pcp=1)",
	"pop_vlan", "set(eth(dst=02:00:00:00:00:77))", "set(ipv4(src=9.9.9.9,ttl=3))",
	"set(udp(dst=99))", "set(skb_mark(0x1))", "userspace(pid=3,userdata(01))", "hash(l4(1))",
	"recirc(0x1)", "recirc(0x2)", "trunc(40)", "trunc(58)", "meter(1)", "ct_clear",
	"ct(zone=3)", "push_mpls(label=1,tc=0,ttl=1,bos=1,eth_type=0x8847)",
	"pop_mpls(eth_type=0x800)", "pop_eth",
	"push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)" };
static const char *const open_words[][2] = { { "clone(", ")" }, { "dec_ttl(le_1(", "))" },
	{ "check_pkt_len(size=60,gt(", "),le(2))" }, { "check_pkt_len(size=62,gt(3),le(", "))" } };
static const struct list_words words = { plain_words, open_words, ARRAY_LEN(plain_words),
	ARRAY_LEN(open_words) };

/* Where frames of which length went, and why some went nowhere; sorted. */
struct fate {
	unsigned n;
	char what[64][40];
};

static void fate_add(struct fate *f, const char *what, size_t len)
{
	assert_true(len < sizeof(f->what[0]));
	if (f->n < ARRAY_LEN(f->what))
		memcpy(f->what[f->n++], what, len);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void fate_is(const struct fate *told, const struct fate *real, const char *lists)
{
	for (unsigned i = 0; i < told->n || i < real->n; i++) {
		const char *a = i < told->n ? told->what[i] : "nothing";
		const char *b = i < real->n ? real->what[i] : "nothing";

		if (strcmp(a, b) != 0)
			fail_msg("told %s, was %s: %s", a, b, lists);
	}
}

static void told_fate(const struct odp_trace_line *l, void *arg)
{
	if (l->step == ODP_TRACE_OUTPUT)
		fate_add(arg, l->text, strlen(l->text));
	if (l->step == ODP_TRACE_DROP)
		fate_add(arg, l->text, strcspn(l->text, ":"));
}

static void real_fate(struct odp *dp, struct fake_port *p, struct fate *f)
{
	struct odp_stats was, is;
	char text[40];

	odp_stats(dp, &was);
	while (odp_worker_turn(odp_worker(dp, 0)) + odp_upcall_poll(dp) > 0)
		;
	odp_stats(dp, &is);
	for (unsigned d = 0; d < ODP_DROP_COUNT; d++)
		for (; was.drops[d] < is.drops[d]; was.drops[d]++)
			fate_add(f, odp_drop_name(d), strlen(odp_drop_name(d)));
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned k = 0; k < p[i].n_out; k++) {
			snprintf(text, sizeof(text), "p%u (port %u), %u bytes", i + 1, i + 1,
				p[i].out[k]->pkt_len);
			fate_add(f, text, strlen(text));
		}
		fake_port_reset(&p[i]);
	}
}

static bool flow_if_valid(struct odp *dp, const char *key, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_key_parse(dp, key, &k, &m, &at), 0);
	return fake_put(dp, &k, &m, actions, false, NULL) == 0;
}

/* Whatever lists do, a trace tells it, but for what depends on chance or time. */
static void is_what_happens(void **state)
{
	static const char *const keys[] = {
		"in_port(1),recirc_id(0),eth_type(0x0800),ipv4(proto=17)",
		"in_port(1),recirc_id(0x1)", "in_port(1),recirc_id(0x1),eth_type(0x0800)",
		"in_port(1),recirc_id(0x2)"
	};
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	static const char *const names[3] = { "p1", "p2", "p3" };
	const struct odp_key in = { .in_port = 1 };
	static struct fake_port p[3];
	unsigned compared = 0;
	struct odp *dp;

	(void)state;
	srand(6);
	assert_int_equal(odp_create(&conf, &dp), 0);
	for (unsigned i = 0; i < 3; i++)
		fake_port_add(&p[i], dp, odp_worker(dp, 0), names[i]);
	for (unsigned round = 0; round < 6000; round++) {
		static char t[ARRAY_LEN(keys)][4096], lists[ARRAY_LEN(keys) * 4096];
		struct fate told = { 0 }, real = { 0 };
		struct odp_key k, m;
		uint8_t frame[256];
		size_t at, n = 0;

		odp_flow_flush(dp, NULL);
		p[2].caps.up = round % 4 != 0;
		odp_port_caps_changed(p[2].port);
		for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
			random_list(&words, t[i], sizeof(t[i]), 0);
			if (!flow_if_valid(dp, keys[i], t[i]))
				n += i == 0;
			else
				snprintf(lists + strlen(lists) * (i > 0),
					sizeof(lists) - strlen(lists) * (i > 0), "%s%s: %s",
					i ? "; " : "", keys[i], t[i]);
		}
		if (n == 0) {
			assert_int_equal(odp_key_parse(dp, UDP, &k, &m, &at), 0);
			k.ip_ttl = (uint8_t)(rand() % 4);
			n = (size_t)odp_compose(&k, frame);
			assert_int_equal(odp_trace(dp, &in, frame, n, 0, told_fate, &told), 0);
			fake_port_push(&p[0], pool, frame, n);
			real_fate(dp, p, &real);
			if (told.n == ARRAY_LEN(told.what))
				continue; // copies of copies: further than either goes
			qsort(told.what, told.n, sizeof(told.what[0]), by_text);
			qsort(real.what, real.n, sizeof(real.what[0]), by_text);
			fate_is(&told, &real, lists);
			compared++;
		}
	}
	assert_true(compared > 1500);
	for (unsigned i = 0; i < 3; i++)
		fake_port_del(&p[i], odp_worker(dp, 0));
	odp_destroy(dp);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(composed),
		cmocka_unit_test(is_what_happens) };
	int failed;

	pool = fake_eal(1023);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(rows, tells, failed);
	RUN_ROWS(ct_rows, asks_the_table, failed);
	return failed;
}
