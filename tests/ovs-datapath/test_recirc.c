// SPDX-License-Identifier: Apache-2.0
/* Packets that are looked up again: order, metadata, bounds, and misses on the way. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "action.h"
#include "fake_port.h"
#include "odp_meter.h"
#include "recirc.h"
#include "tx.h"

static struct rte_mempool *pool;

struct setup {
	struct odp *dp;
	struct odp_worker *w;
	struct fake_port p1, p2;
	struct odp_from from; // what p1 received
	unsigned before;
};

static void flow(struct setup *s, const char *text, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_key_parse(s->dp, text, &k, &m, &at), 0);
	assert_int_equal(fake_put(s->dp, &k, &m, actions, false, NULL), 0);
}

/* A flow whose key the text cannot say. */
static void flow_mark(struct setup *s, uint32_t recirc_id, uint32_t mark)
{
	struct odp_key k = { .recirc_id = recirc_id, .skb_mark = mark };
	struct odp_key m = { .recirc_id = UINT32_MAX, .skb_mark = UINT32_MAX };

	assert_int_equal(fake_put(s->dp, &k, &m, "2", false, NULL), 0);
}

static void setup(struct setup *s)
{
	struct odp_conf conf = { .n_workers = 1, .pool = pool };

	s->before = rte_mempool_in_use_count(pool);
	assert_int_equal(odp_create(&conf, &s->dp), 0);
	s->w = odp_worker(s->dp, 0);
	fake_port_add(&s->p1, s->dp, s->w, "p1");
	fake_port_add(&s->p2, s->dp, s->w, "p2");
	s->from = (struct odp_from){ .in = odp_pw(s->w, 1) };
}

static void teardown(struct setup *s)
{
	fake_port_del(&s->p1, s->w);
	fake_port_del(&s->p2, s->w);
	odp_destroy(s->dp);
	assert_int_equal(rte_mempool_in_use_count(pool), s->before);
}

static struct rte_mbuf *packet(uint8_t dst, uint8_t tag)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *p = m ? (uint8_t *)rte_pktmbuf_append(m, 60) : NULL;
	uint8_t f[64];

	if (!p)
		abort();
	fake_frame(f, dst, 1, 0);
	memcpy(p, f, 60);
	p[50] = tag;
	return m;
}

/* Same metadata or not, one call or many: they come out in the order in which they went in. */
static void in_order(void **state)
{
	static struct setup s;
	struct odp_meta meta = { 0 };
	struct rte_mbuf *m[ODP_BURST];

	(void)state;
	setup(&s);
	flow_mark(&s, 5, 0);
	flow_mark(&s, 5, 7);
	meta.key.in_port = 1;
	for (unsigned i = 0; i < 100; i++) {
		m[0] = packet((uint8_t)(i % 7), (uint8_t)i);
		meta.map = ODP_KEY_BITS(skb_mark);
		meta.key.skb_mark = i % 3 ? 7 : 0;
		odp_recirc(s.w, &s.from, 5, &meta, m, 1);
	}
	for (unsigned i = 0; i < ODP_BURST; i++)
		m[i] = packet(3, (uint8_t)(100 + i));
	odp_recirc(s.w, &s.from, 5, NULL, m, ODP_BURST);
	odp_recirc_run(s.w);
	odp_lanes_flush(s.w);
	assert_int_equal(s.p2.n_out, 100 + ODP_BURST);
	for (unsigned i = 0; i < s.p2.n_out; i++)
		assert_int_equal(*rte_pktmbuf_mtod_offset(s.p2.out[i], uint8_t *, 50), i);
	teardown(&s);
}

/* The flow of one recirculation or of one mark is not another's; headers are read as they are. */
static void own_flows(void **state)
{
	static struct setup s;
	struct odp_meta meta = { .map = ODP_KEY_BITS(skb_mark) };
	struct rte_mbuf *m;
	struct odp_stats st;

	(void)state;
	setup(&s);
	m = packet(2, 0);
	flow_mark(&s, 5, 9);
	flow(&s, "recirc_id(0x6),in_port(1),eth(dst=02:00:00:00:00:02)", "2");
	meta.key.in_port = 1;
	meta.key.skb_mark = 8;
	odp_recirc(s.w, &s.from, 5, &meta, &m, 1); // misses
	m = packet(2, 1);
	meta.key.skb_mark = 9;
	odp_recirc(s.w, &s.from, 5, &meta, &m, 1);
	m = packet(3, 2);
	rte_pktmbuf_mtod(m, uint8_t *)[5] = 2; // an action has written there
	odp_recirc(s.w, &s.from, 6, &meta, &m, 1);
	odp_recirc_run(s.w);
	odp_lanes_flush(s.w);
	assert_int_equal(s.p2.n_out, 2);
	odp_stats(s.dp, &st);
	assert_int_equal(st.misses, 1);
	teardown(&s);
}

/*
 * Without an Ethernet header a packet meets only flows that match on packet_type, whatever else
 * they look at, and though caches know its other fields from an Ethernet packet.
 */
static void without_ethernet(void **state)
{
	static struct setup s;
	struct odp_stats st;
	struct rte_mbuf *m;

	(void)state;
	setup(&s);
	flow(&s, "in_port(1),eth_type(0x88b5)", "pop_eth,recirc(0x5)");
	flow(&s, "in_port(2),eth_type(0x88b5)", "recirc(0x5)");
	flow(&s, "recirc_id(0x5),eth_type(0x88b5)", "2");
	for (unsigned i = 0; i < 4; i++) {
		m = packet(2, 0);
		fake_port_push(i % 2 ? &s.p1 : &s.p2, pool, rte_pktmbuf_mtod(m, void *), 60);
		rte_pktmbuf_free(m);
		odp_worker_turn(s.w);
	}
	odp_upcall_poll(s.dp);
	assert_int_equal(s.p2.n_out, 2); // from port 2
	assert_int_equal(fake_port_drops(s.p1.port, ODP_DROP_RECIRC_MISS), 2);
	odp_stats(s.dp, &st);
	assert_int_equal(st.misses, 2);

	flow(&s, "recirc_id(0x5),packet_type(ns=1,id=0x88b5)",
		"push_eth(src=2:0:0:0:0:1,"
		"dst=2:0:0:0:0:2),2");
	m = packet(2, 0);
	fake_port_push(&s.p1, pool, rte_pktmbuf_mtod(m, void *), 60);
	rte_pktmbuf_free(m);
	odp_worker_turn(s.w);
	assert_int_equal(s.p2.n_out, 3);
	assert_int_equal(s.p2.out[2]->pkt_len, 60);
	assert_int_equal(fake_port_drops(s.p1.port, ODP_DROP_RECIRC_MISS), 2);
	teardown(&s);
}

/* A miss takes its metadata to control, which finds the flow that has come meanwhile, or drops. */
static void miss_keeps_metadata(void **state)
{
	static struct setup s;
	struct odp_meta meta = { .map = ODP_KEY_BITS(skb_mark) | ODP_KEY_BITS(tnl.id) |
					ODP_KEY_BITS(tnl.family) };

	(void)state;
	setup(&s);
	meta.key.tnl.family = 4;
	meta.key.in_port = 1;
	meta.key.skb_mark = 9;
	for (unsigned i = 0; i < 2; i++) {
		struct rte_mbuf *m = packet(2, 0);

		meta.key.tnl.id = dpu_be64_put(i);
		odp_recirc(s.w, &s.from, 5, &meta, &m, 1);
	}
	odp_recirc_run(s.w);
	struct odp_key k = { .recirc_id = 5, .skb_mark = 9 },
		       mask = { .recirc_id = UINT32_MAX, .skb_mark = UINT32_MAX };

	k.tnl.id = dpu_be64_put(1);
	memset(&mask.tnl.id, 0xff, sizeof(mask.tnl.id));
	k.tnl.family = 4;
	mask.tnl.family = 0xff;
	assert_int_equal(fake_put(s.dp, &k, &mask, "2", false, NULL), 0);
	assert_int_equal(odp_upcall_poll(s.dp), 2);
	odp_worker_turn(s.w); // what control sent
	assert_int_equal(s.p2.n_out, 1);
	assert_int_equal(fake_port_drops(s.p1.port, ODP_DROP_RECIRC_MISS), 1);
	teardown(&s);
}

static void bounds(void **state)
{
	static struct setup s;
	struct odp_meta deep = { .depth = ODP_RECIRC_DEPTH };
	struct odp_from from;
	struct rte_mbuf *m[ODP_BURST];

	(void)state;
	setup(&s);
	flow_mark(&s, 5, 0);
	from = (struct odp_from){ .in = s.from.in, .meta = &deep };
	m[0] = packet(2, 0);
	odp_recirc(s.w, &from, 5, NULL, m, 1);
	assert_int_equal(fake_port_drops(s.p1.port, ODP_DROP_RECIRC_DEPTH), 1);
	assert_int_equal(s.w->recirc->n, 0);
	// All that fits, over the end of the ring, and then some.
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ODP_RECIRC_PKTS / 25 + 1; i++) {
			for (unsigned j = 0; j < 25; j++)
				m[j] = packet(2, (uint8_t)i);
			odp_recirc(s.w, &s.from, 5, NULL, m, 25);
		}
		odp_recirc_run(s.w);
		odp_lanes_flush(s.w);
		assert_int_equal(s.p2.n_out, (round + 1) * ODP_RECIRC_PKTS);
	}
	assert_int_equal(fake_port_drops(s.p1.port, ODP_DROP_RECIRC_FULL),
		3 * ((ODP_RECIRC_PKTS / 25 + 1) * 25 - ODP_RECIRC_PKTS));
	teardown(&s);
}

/* Few turns are timed, and of those every stage; what others do counts nowhere. */
static void stages(void **state)
{
	static struct setup s;
	struct odp_stage_stats st, later;
	uint8_t f[64];

	(void)state;
	setup(&s);
	flow(&s, "in_port(1)", "2");
	for (unsigned i = 0; i < 1500; i++) {
		fake_port_push(&s.p1, pool, f, fake_frame(f, 1, 2, 0));
		assert_int_equal(odp_worker_turn(s.w), 1);
		fake_port_reset(&s.p1);
		fake_port_reset(&s.p2);
	}
	odp_worker_stages(s.w, &st);
	assert_int_equal(st.packets, 1);
	for (unsigned i = 0; i < ODP_STAGE_COUNT; i++)
		assert_true(st.cycles[i] > 0);
	assert_string_equal(odp_stage_counter(ODP_STAGE_LOOKUP), "lookup_tsc");
	fake_port_push(&s.p1, pool, f, fake_frame(f, 1, 2, 0));
	odp_worker_turn(s.w);
	odp_worker_stages(s.w, &later);
	assert_memory_equal(&st, &later, sizeof(st));
	teardown(&s);
}

#define UDP "eth_type(0x0800),ipv4(proto=17,frag=no)"
#define TUPLE(host) "ct_tuple4(src=10.0.0." #host ",dst=10.0.9.9,proto=17,tp_src=7,tp_dst=8),"

/* Three hosts' packets for a fourth in one burst; each is a new connection. */
static void push_hosts(struct setup *s, bool answers)
{
	static const uint8_t head[] = { 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0 };

	for (uint8_t host = 1; host <= 3; host++) {
		const uint8_t one[] = { 10, 0, 0, host }, all[] = { 10, 0, 9, 9 };
		uint8_t f[64];
		size_t n = fake_frame(f, 2, 1, 0);

		memcpy(f + 12, head, sizeof(head));
		memcpy(f + 26, answers ? all : one, 4);
		memcpy(f + 30, answers ? one : all, 4);
		memset(f + 34, 0, 8);
		f[35] = answers ? 8 : 7;
		f[37] = answers ? 7 : 8;
		f[39] = 26;
		fake_port_push(answers ? &s->p2 : &s->p1, pool, f, n);
	}
	odp_worker_turn(s->w);
}

static uint8_t source_of(const struct rte_mbuf *m)
{
	return *rte_pktmbuf_mtod_offset(m, const uint8_t *, 29);
}

/* Packets of one burst have each their own original tuple, and those of answers too. */
static void tuple_is_matched(void **state)
{
	static struct setup s;

	(void)state;
	setup(&s);
	flow(&s, "recirc_id(0),in_port(1)," UDP, "ct(commit,zone=5),recirc(0x1)");
	flow(&s, "recirc_id(0),in_port(2)," UDP, "ct(zone=5),recirc(0x1)");
	flow(&s, "recirc_id(0x1),in_port(1)," TUPLE(2) UDP, "2");
	flow(&s, "recirc_id(0x1),in_port(2)," TUPLE(3) UDP, "1");
	push_hosts(&s, false);
	assert_int_equal(s.p2.n_out, 1);
	assert_int_equal(source_of(s.p2.out[0]), 2);
	push_hosts(&s, true);
	assert_int_equal(s.p1.n_out, 1);
	assert_int_equal(*rte_pktmbuf_mtod_offset(s.p1.out[0], uint8_t *, 33), 3);
	teardown(&s);
}

/* It is that of the packet as it was tracked, whatever is written into its headers later. */
static void tuple_outlives_edits(void **state)
{
	static struct setup s;

	(void)state;
	setup(&s);
	flow(&s, "recirc_id(0),in_port(1)," UDP, "ct(commit,zone=5),recirc(0x1)");
	flow(&s, "recirc_id(0x1),in_port(1)," UDP, "set(ipv4(src=10.0.0.77)),recirc(0x2)");
	flow(&s, "recirc_id(0x2),in_port(1)," TUPLE(3) UDP, "2");
	push_hosts(&s, false);
	assert_int_equal(s.p2.n_out, 1);
	assert_int_equal(source_of(s.p2.out[0]), 77);
	teardown(&s);
}

/* Whoever decides on a packet that missed knows it. */
static void tuple_goes_up(void **state)
{
	static struct setup s;

	(void)state;
	setup(&s);
	flow(&s, "recirc_id(0),in_port(1)," UDP, "ct(commit,zone=5),recirc(0x1)");
	push_hosts(&s, false);
	flow(&s, "recirc_id(0x1),in_port(1)," TUPLE(1) UDP, "set(ipv4(src=10.0.0.77)),2");
	assert_int_equal(odp_upcall_poll(s.dp), 3);
	odp_worker_turn(s.w); // what control sent
	assert_int_equal(s.p2.n_out, 1);
	assert_int_equal(fake_port_drops(s.p1.port, ODP_DROP_RECIRC_MISS), 2);
	teardown(&s);
}

/* Which lists run once for packets that differ in their tuple, which stands in their headers. */
static void lists_for_bursts(void **state)
{
	static const struct {
		const char *list;
		bool plain;
	} rows[] = {
		{ "2", true },
		{ "set(eth(dst=02:00:00:00:00:09)),2", true },
		{ "pop_vlan,push_vlan(vid=3,pcp=0),set(ipv4(src=10.0.0.77)),meter(1),2,1", true },
		{ "trunc(100),2", true },
		{ "recirc(0x2)", true },
		{ "trunc(100),1,recirc(0x2)", true },
		{ "ct(zone=5),recirc(0x2)", true },
		{ "set(ipv4(src=10.0.0.77)),ct(zone=5),recirc(0x2)", true },
		{ "set(ipv4(src=10.0.0.77)),ct_clear,recirc(0x2)", true },
		{ "ct(zone=6),userspace(pid=3)", true },
		{ "set(ipv4(src=10.0.0.77)),recirc(0x2)", false },
		{ "recirc(0x2),set(eth(dst=02:00:00:00:00:09)),recirc(0x3)", false },
		{ "userspace(pid=3)", false },
		{ "set(eth(dst=02:00:00:00:00:09)),clone(recirc(0x2)),2", false },
	};
	struct odp_meter_conf meter = { .n_bands = 1, .band = { { .rate = 1, .burst = 1 } } };
	static struct setup s;
	struct odp_key key, mask;
	struct odp_acts *acts;
	size_t at;

	(void)state;
	setup(&s);
	(void)odp_meter_set(s.dp, 1, &meter);
	assert_int_equal(odp_key_parse(s.dp,
				 "in_port(1),eth_type(0x8100),vlan(vid=4,pcp=0),encap("
				 "eth_type(0x0800),ipv4(proto=17,frag=no))",
				 &key, &mask, &at),
		0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct odp_actbuf *b = fake_acts(s.dp, rows[i].list);

		assert_int_equal(odp_acts_create(s.dp, &key, &mask, b->mem, b->len, &acts), 0);
		if (acts->plain != rows[i].plain)
			fail_msg("%s", rows[i].list);
		free(acts);
	}
	teardown(&s);
}

/* What goes out is edited in a burst; what is looked at before or behind is each packet's own. */
static void edited_in_a_burst(void **state)
{
	static struct setup s;

	(void)state;
	setup(&s);
	flow(&s, "recirc_id(0),in_port(1)," UDP, "ct(commit,zone=5),recirc(0x1)");
	flow(&s, "recirc_id(0x1),in_port(1)," UDP,
		"set(ipv4(dst=10.0.8.8)),2,ct(commit,zone=6),recirc(0x2)");
	flow(&s, "recirc_id(0x2),in_port(1),ct_tuple4(src=10.0.0.2,dst=10.0.8.8,proto=17)," UDP,
		"set(ipv4(src=10.0.0.88)),2");
	push_hosts(&s, false);
	assert_int_equal(s.p2.n_out, 4);
	for (uint8_t i = 0; i < 4; i++) {
		assert_int_equal(source_of(s.p2.out[i]), i < 3 ? i + 1 : 88);
		assert_int_equal(*rte_pktmbuf_mtod_offset(s.p2.out[i], uint8_t *, 33), 8);
	}
	teardown(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_order), cmocka_unit_test(own_flows),
		cmocka_unit_test(without_ethernet), cmocka_unit_test(miss_keeps_metadata),
		cmocka_unit_test(bounds), cmocka_unit_test(stages),
		cmocka_unit_test(tuple_is_matched), cmocka_unit_test(tuple_outlives_edits),
		cmocka_unit_test(tuple_goes_up), cmocka_unit_test(lists_for_bursts),
		cmocka_unit_test(edited_in_a_burst) };

	pool = fake_eal(2047);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
