// SPDX-License-Identifier: Apache-2.0
/*
 * Fragments through conntrack: a datagram in pieces is seen once, its pieces go on as they came,
 * with what is known of the whole.
 */
#include "dgram.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "fake_port.h"
#include "hold.h"
#include "odp_ct.h"
#include "track.h"

#define SEC 1000000000ull

static struct rte_mempool *pool;

struct rig {
	struct odp *dp;
	struct odp_worker *w[2];
	struct fake_port a, b; // numbers 1 and 2
	unsigned before;
};

static void flow(struct rig *r, const char *text, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	assert_int_equal(odp_key_parse(r->dp, text, &k, &m, &at), 0);
	assert_int_equal(fake_put(r->dp, &k, &m, actions, true, NULL), 0);
}

/* Who is behind a may open connections, and is translated as `nat` says; b may answer. */
static void policy(struct rig *r, bool v6, const char *nat)
{
	const char *type = v6 ? "eth_type(0x86dd)" : "eth_type(0x0800)";
	char text[160], acts[160];

	for (unsigned port = 1; port <= 2; port++) {
		snprintf(text, sizeof(text), "recirc_id(0),in_port(%u),%s", port, type);
		snprintf(acts, sizeof(acts), "ct(zone=5%s),recirc(0x1)", nat[0] ? ",nat" : "");
		flow(r, text, acts);
	}
	snprintf(text, sizeof(text), "recirc_id(0x1),in_port(1),ct_state(+new+trk-inv),%s", type);
	snprintf(acts, sizeof(acts), "ct(commit,zone=5,mark=0x7/0xff%s),2", nat);
	flow(r, text, acts);
	snprintf(text, sizeof(text), "recirc_id(0x1),in_port(1),ct_state(-new+est+trk),%s", type);
	flow(r, text, "2");
	snprintf(text, sizeof(text), "recirc_id(0x1),in_port(2),ct_state(-new+est+trk),%s", type);
	flow(r, text, "1");
}

static void rig_open(struct rig *r, unsigned n_workers)
{
	struct odp_conf conf = { .n_workers = n_workers, .pool = pool, .ct_conns = 4096 };

	memset(r, 0, sizeof(*r));
	fake_now_ns = SEC;
	dpu_clock_set(fake_clock);
	r->before = rte_mempool_in_use_count(pool);
	assert_int_equal(odp_create(&conf, &r->dp), 0);
	for (unsigned i = 0; i < 2; i++)
		r->w[i] = odp_worker(r->dp, i % n_workers);
	fake_port_add(&r->a, r->dp, r->w[0], "a");
	fake_port_add(&r->b, r->dp, r->w[1], "b");
}

static void rig_close(struct rig *r)
{
	fake_port_del(&r->a, r->w[0]);
	fake_port_del(&r->b, r->w[1]);
	odp_destroy(r->dp);
	assert_int_equal(rte_mempool_in_use_count(pool), r->before);
	dpu_clock_set(NULL);
}

static void run(struct rig *r)
{
	unsigned n;

	do {
		n = odp_worker_turn(r->w[0]);
		if (r->w[1] != r->w[0])
			n += odp_worker_turn(r->w[1]);
	} while (n > 0);
}

static void push(struct fake_port *p, const struct frames *f, unsigned i)
{
	fake_port_push(p, pool, f->f[i].b, f->f[i].len);
}

static void push_all(struct fake_port *p, const struct dgram *d)
{
	static struct frames f;

	dg_cut(&f, d);
	for (unsigned i = 0; i < f.n; i++)
		push(p, &f, i);
}

static void expect(struct fake_port *p, const struct dgram *want)
{
	dg_judge(p->out, p->n_out, want);
	fake_port_reset(p);
}

static struct odp_frag_stats frags(const struct rig *r)
{
	struct odp_frag_stats s;

	odp_fragment_stats(r->dp, &s);
	return s;
}

static struct odp_ct_info found;
static unsigned n_found;

static void on_conn(const struct odp_ct_info *i, void *arg)
{
	(void)arg;
	found = *i;
	n_found++;
}

static const struct odp_ct_info *only_conn(struct rig *r)
{
	uint32_t at = 0;

	n_found = 0;
	while (odp_ct_dump(odp_conntrack(r->dp), &at, 4096, fake_now_ns / 1000000, on_conn, NULL))
		continue;
	assert_int_equal(n_found, 1);
	return &found;
}

static const struct dgram udp4 = { false, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 4000, 1480 };
static const struct dgram udp6 = { true, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 4000, 1432 };

static struct dgram back(const struct dgram *d)
{
	struct dgram r = *d;

	r.src = d->dst;
	r.dst = d->src;
	if (d->proto == IPPROTO_UDP) {
		r.sport = d->dport;
		r.dport = d->sport;
	} else {
		r.reply = true;
	}
	return r;
}

/* ---- both ways, in any order ---- */

static const struct way {
	const char *name;
	bool v6;
	uint8_t order[4]; // 4000 bytes are three pieces
} ways[] = {
	{ "v4 in order", false, { 0, 1, 2 } },
	{ "v4 backwards", false, { 2, 1, 0 } },
	{ "v4 the middle last", false, { 0, 2, 1 } },
	{ "v6 in order", true, { 0, 1, 2 } },
	{ "v6 backwards", true, { 2, 1, 0 } },
	{ "v6 the middle last", true, { 2, 0, 1 } },
};

static void both_ways(void **state)
{
	const struct way *t = *state;
	const struct dgram d = t->v6 ? udp6 : udp4, re = back(&d);
	static struct frames f;
	static struct rig r;

	rig_open(&r, 1);
	policy(&r, t->v6, "");
	for (unsigned round = 0; round < 3; round++) {
		dg_cut(&f, &d);
		assert_int_equal(f.n, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(r.b.n_out, 0);
			push(&r.a, &f, t->order[i]);
			run(&r); // each in a turn of its own
		}
		assert_int_equal(r.b.n_out, 3);
		expect(&r.b, &d);
		dg_cut(&f, &re);
		for (unsigned i = 0; i < 3; i++)
			push(&r.b, &f, t->order[i]);
		run(&r); // all in one burst
		expect(&r.a, &re);
	}
	const struct odp_ct_info *c = only_conn(&r);

	assert_int_equal(c->state, ODP_CT_UDP_MULTIPLE);
	assert_int_equal(c->mark, 7);
	assert_int_equal(c->packets[ODP_CT_ORIG], 3); // datagrams, the one that made it among them
	assert_int_equal(c->packets[ODP_CT_REPLY], 3);
	assert_int_equal(c->bytes[ODP_CT_REPLY], 3 * (14 + (t->v6 ? 48 : 20) + 8 + 4000));
	assert_int_equal(frags(&r).contexts, 0);
	assert_int_equal(frags(&r).bytes, 0);
	rig_close(&r);
}

/* ---- what becomes of pieces that do not fit ---- */

static const struct misfit {
	const char *name;
	struct {
		uint16_t off, len;
		bool more;
	} p[4];
	enum odp_drop why;
	unsigned drops; // of them for this reason
} misfits[] = {
	{ "overlap", { { 0, 80, true }, { 72, 80, true }, { 152, 8, false } },
		ODP_DROP_FRAG_OVERLAP, 3 },
	{ "a first one within", { { 0, 80, true }, { 80, 80, true }, { 0, 16, true } },
		ODP_DROP_FRAG_OVERLAP, 3 },
	{ "two ends", { { 0, 80, true }, { 88, 8, false }, { 96, 8, false } },
		ODP_DROP_FRAG_OVERLAP, 3 },
	{ "twice", { { 0, 80, true }, { 0, 80, true }, { 88, 8, false } }, ODP_DROP_FRAG_DUPLICATE,
		1 },
	{ "not of eights", { { 0, 81, true }, { 0, 83, true } }, ODP_DROP_FRAG_MALFORMED, 2 },
	{ "too long", { { 65528, 80, false } }, ODP_DROP_FRAG_MALFORMED, 1 },
	{ "no first one", { { 80, 80, true }, { 160, 8, false } }, ODP_DROP_FRAG_TIMEOUT, 2 },
	{ "a hole", { { 0, 80, true }, { 160, 8, false } }, ODP_DROP_FRAG_TIMEOUT, 2 },
};

static void misfit_of(const struct misfit *t, bool v6)
{
	static const uint8_t l4[65536 + 80];
	const struct dgram d = v6 ? udp6 : udp4;
	static struct frames f;
	static struct rig r;
	unsigned waiting;

	rig_open(&r, 1);
	policy(&r, v6, "");
	f.n = 0;
	for (unsigned i = 0; i < 4 && t->p[i].len; i++) {
		dg_frame(&f, &d, l4, t->p[i].off, t->p[i].len, t->p[i].more);
		push(&r.a, &f, i);
	}
	run(&r);
	assert_int_equal(r.b.n_out, 0);
	waiting = frags(&r).contexts;
	if (t->why == ODP_DROP_FRAG_TIMEOUT)
		assert_int_equal(fake_port_drops(r.a.port, t->why), 0);
	fake_now_ns += (v6 ? 60 : 15) * SEC - 1000000;
	run(&r);
	assert_int_equal(frags(&r).contexts, waiting);
	fake_now_ns += 2000000;
	run(&r);
	assert_int_equal(frags(&r).contexts, 0);
	assert_int_equal(frags(&r).bytes, 0);
	assert_int_equal(fake_port_drops(r.a.port, t->why), t->drops);
	assert_int_equal(r.b.n_out, 0);
	assert_int_equal(rte_mempool_in_use_count(pool), r.before);
	rig_close(&r);
}

static void misfit(void **state)
{
	misfit_of(*state, false);
	misfit_of(*state, true);
}

/* ---- translation ---- */

static const struct nat {
	const char *name, *nat;
	struct dgram d;
	uint8_t src, dst; // as the other side sees them
	uint16_t sport, dport;
} nats[] = {
	{ "UDP, source", ",nat(src=10.0.0.9:5000)",
		{ false, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 8192, 1480 }, 9, 2, 5000, 53 },
	{ "UDP, destination", ",nat(dst=10.0.0.8:9999)",
		{ false, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 8191, 1480 }, 1, 8, 4000, 9999 },
	{ "UDP, small pieces", ",nat(src=10.0.0.9:5000)",
		{ false, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 160, 8 }, 9, 2, 5000, 53 },
	{ "UDP over IPv6, source", ",nat(src=[fd00::9]:5000)",
		{ true, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 8192, 1432 }, 9, 2, 5000, 53 },
	{ "UDP over IPv6, destination", ",nat(dst=[fd00::8]:9999)",
		{ true, IPPROTO_UDP, 1, 2, 4000, 53, 0, 7, 8191, 1432 }, 1, 8, 4000, 9999 },
	{ "echo, source", ",nat(src=10.0.0.9)",
		{ false, IPPROTO_ICMP, 1, 2, 77, 0, 0, 7, 4000, 1480 }, 9, 2, 77, 0 },
	{ "echo over IPv6, source", ",nat(src=[fd00::9])",
		{ true, IPPROTO_ICMPV6, 1, 2, 77, 0, 0, 7, 4000, 1432 }, 9, 2, 77, 0 },
};

static void translated(void **state)
{
	const struct nat *t = *state;
	struct dgram there = t->d, home = back(&t->d);
	static struct rig r;

	there.src = t->src;
	there.dst = t->dst;
	there.sport = t->sport;
	there.dport = t->dport;
	struct dgram re = back(&there);

	rig_open(&r, 1);
	policy(&r, t->d.v6, t->nat);
	for (unsigned round = 0; round < 3; round++) {
		// Of the first round, more before the answer: new still, and committed again
		for (unsigned i = 0; i < (round ? 1 : 3); i++) {
			push_all(&r.a, &t->d);
			run(&r);
			expect(&r.b, &there);
		}
		push_all(&r.b, &re);
		run(&r);
		expect(&r.a, &home);
	}
	assert_int_equal(only_conn(&r)->packets[0], 5);
	rig_close(&r);
}

/* ---- errors about pieces ---- */

#define QUOTED 200u // bytes of the packet that an error is about

/* A router's answer to a frame: it is too big. Returns the bytes. */
static unsigned too_big(uint8_t *f, const uint8_t *about, bool v6, uint8_t to)
{
	static const uint8_t ports[4] = { 5000 >> 8, 5000 & 0xff, 0, 53 }; // even where none are
	const struct dgram d = { v6, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, 7, to };
	unsigned hdr;
	uint8_t *l4;
	uint16_t sum;

	memset(f, 0, 14);
	dg_put16(f + 12, v6 ? 0x86dd : 0x0800);
	hdr = dg_ip(f + 14, &d, 8 + QUOTED);
	if (!v6) {
		sum = rte_ipv4_cksum((const struct rte_ipv4_hdr *)(f + 14));
		memcpy(f + 24, &sum, 2);
	}
	l4 = f + 14 + hdr;
	memset(l4, 0, 8);
	l4[0] = v6 ? 2 : 3;
	l4[1] = v6 ? 0 : 4;
	dg_put16(l4 + 6, 1400);
	memcpy(l4 + 8, about + 14, QUOTED);
	memcpy(l4 + 8 + (v6 ? 48 : 20), ports, 4);
	sum = (uint16_t)~dg_sum(f + 14, v6, d.proto, l4, 8 + QUOTED);
	memcpy(l4 + 2, &sum, 2);
	return 14 + hdr + 8 + QUOTED;
}

/* About the first piece: it belongs to the connection and goes home. About a later one: invalid. */
static void errors_of(bool v6)
{
	const struct dgram d = v6 ? udp6 : udp4;
	unsigned l3 = v6 ? 54 : 34, len[3];
	static struct frames sent;
	uint8_t err[3][400];
	static struct rig r;

	rig_open(&r, 1);
	policy(&r, v6, v6 ? ",nat(src=[fd00::9]:5000)" : ",nat(src=10.0.0.9:5000)");
	flow(&r,
		v6 ? "recirc_id(0x1),in_port(2),ct_state(+rel+trk-inv),eth_type(0x86dd)"
		   : "recirc_id(0x1),in_port(2),ct_state(+rel+trk-inv),eth_type(0x0800)",
		"1");
	flow(&r,
		v6 ? "recirc_id(0x1),in_port(2),ct_state(+inv+trk),eth_type(0x86dd)"
		   : "recirc_id(0x1),in_port(2),ct_state(+inv+trk),eth_type(0x0800)",
		"drop");
	dg_cut(&sent, &d);
	push_all(&r.a, &d);
	run(&r);
	assert_int_equal(r.b.n_out, 3);
	for (unsigned i = 0; i < 3; i++)
		len[i] = too_big(err[i], rte_pktmbuf_mtod(r.b.out[i], uint8_t *), v6, 9);
	fake_port_reset(&r.b);
	for (unsigned i = 0; i < 3; i++)
		fake_port_push(&r.b, pool, err[i], len[i]);
	run(&r);
	assert_int_equal(fake_port_drops(r.b.port, ODP_DROP_FLOW_DROP), 2);
	assert_int_equal(r.a.n_out, 1);
	const uint8_t *got = rte_pktmbuf_mtod(r.a.out[0], const uint8_t *);
	uint8_t home[16];

	dg_addr(home, v6, 1);
	assert_memory_equal(got + (v6 ? 38 : 30), home, v6 ? 16 : 4);
	assert_int_equal(dg_sum(got + 14, v6, got[v6 ? 20 : 23], got + l3, 8 + QUOTED), 0xffff);
	// What it quotes is what had been sent, to the last bit.
	assert_memory_equal(got + l3 + 8, sent.f[0].b + 14, QUOTED);
	rig_close(&r);
}

static void errors_about_pieces(void **state)
{
	(void)state;
	errors_of(false);
	errors_of(true);
}

/* ---- all at once ---- */

/* More pieces are let go in one burst than can recirculate at once. */
static void many_at_once(void **state)
{
	static struct frames f[12];
	static struct rig r;
	struct dgram d[12];

	(void)state;
	rig_open(&r, 1);
	policy(&r, false, "");
	for (unsigned i = 0; i < 12; i++) {
		d[i] = udp4;
		d[i].id = d[i].sport = (uint16_t)(1000 + i);
		d[i].data = 8000;
		d[i].step = 208;
		dg_cut(&f[i], &d[i]);
		assert_int_equal(f[i].n, 39);
	}
	for (unsigned k = 0; k < 39; k++) {
		for (unsigned i = 0; i < 12; i++)
			push(&r.a, &f[i], k);
		run(&r);
		fake_port_reset(&r.a);
		assert_int_equal(r.b.n_out, k == 38 ? 12 * 39 : 0);
	}
	for (unsigned i = 0; i < 12; i++)
		dg_judge(&r.b.out[i * 39], 39, &d[i]);
	fake_port_reset(&r.b);
	assert_int_equal(fake_port_drops(r.a.port, ODP_DROP_RECIRC_FULL), 0);
	assert_int_equal(frags(&r).datagrams, 24); // each twice: for commit, too
	rig_close(&r);
}

/* Pieces keep their kind: flows tell first and later ones apart. */
static void own_kind(void **state)
{
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	flow(&r, "recirc_id(0),in_port(1),eth_type(0x0800)", "ct(commit,zone=5),recirc(0x1)");
	flow(&r,
		"recirc_id(0x1),ct_state(+trk-inv),ct_zone(5),eth_type(0x0800),"
		"ipv4(proto=17,frag=first),udp(dst=53)",
		"2");
	flow(&r, "recirc_id(0x1),ct_state(+new+trk),eth_type(0x0800),ipv4(frag=later)", "drop");
	push_all(&r.a, &udp4);
	run(&r);
	assert_int_equal(r.b.n_out, 1);
	assert_int_equal(fake_port_drops(r.a.port, ODP_DROP_FLOW_DROP), 2);
	rig_close(&r);
}

/* Pieces on their way to different zones are of different datagrams. */
static void zones_apart(void **state)
{
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	flow(&r, "recirc_id(0),in_port(1),eth_type(0x0800),ipv4(frag=first)", "ct(zone=5),2");
	flow(&r, "recirc_id(0),in_port(1),eth_type(0x0800),ipv4(frag=later)", "ct(zone=6),2");
	push_all(&r.a, &udp4);
	run(&r);
	assert_int_equal(r.b.n_out, 0);
	assert_int_equal(frags(&r).contexts, 2);
	rig_close(&r);
}

/* Each has a worker of its own; what one of them holds is nothing to the other. */
static void two_workers(void **state)
{
	const struct dgram re = back(&udp4);
	static struct frames f;
	static struct rig r;

	(void)state;
	rig_open(&r, 2);
	policy(&r, false, "");
	for (unsigned round = 0; round < 3; round++) {
		push_all(&r.a, &udp4);
		run(&r);
		expect(&r.b, &udp4);
		push_all(&r.b, &re);
		run(&r);
		expect(&r.a, &re);
	}
	// Pieces that different workers receive never meet.
	dg_cut(&f, &udp4);
	push(&r.a, &f, 0);
	push(&r.a, &f, 1);
	push(&r.b, &f, 2);
	run(&r);
	assert_int_equal(frags(&r).contexts, 2);
	assert_int_equal(r.a.n_out + r.b.n_out, 0);
	fake_now_ns += 16 * SEC;
	run(&r);
	assert_int_equal(fake_port_drops(r.a.port, ODP_DROP_FRAG_TIMEOUT), 2);
	assert_int_equal(fake_port_drops(r.b.port, ODP_DROP_FRAG_TIMEOUT), 1);
	assert_int_equal(rte_mempool_in_use_count(pool), r.before);
	rig_close(&r);
}

/* ---- nobody takes it all, nothing stays ---- */

static void shares(void **state)
{
	static struct frames f, flood;
	static struct rig r;
	struct dgram d = udp4;

	(void)state;
	rig_open(&r, 1);
	policy(&r, false, "");
	dg_cut(&f, &udp4);
	push(&r.a, &f, 0);
	push(&r.a, &f, 1);
	run(&r);
	for (unsigned i = 0; i < 3000; i++) {
		d.id = i;
		dg_cut(&flood, &d);
		push(&r.b, &flood, i % 2);
		run(&r);
		fake_port_reset(&r.b);
	}
	assert_true(fake_port_drops(r.b.port, ODP_DROP_FRAG_LIMIT) > 2000);
	assert_true(rte_mempool_in_use_count(pool) < 2048);
	push(&r.a, &f, 2);
	run(&r);
	expect(&r.b, &udp4);
	assert_int_equal(fake_port_drops(r.a.port, ODP_DROP_FRAG_LIMIT), 0);
	rig_close(&r);
}

static void port_goes(void **state)
{
	static struct frames f;
	static struct rig r;
	struct odp_stats st;

	(void)state;
	rig_open(&r, 1);
	policy(&r, false, "");
	dg_cut(&f, &udp4);
	push(&r.a, &f, 0);
	push(&r.a, &f, 1);
	push(&r.b, &f, 1);
	run(&r);
	assert_int_equal(frags(&r).contexts, 2);
	fake_port_del(&r.a, r.w[0]);
	assert_int_equal(frags(&r).contexts, 1);
	odp_stats(r.dp, &st);
	assert_int_equal(st.drops[ODP_DROP_FRAG_TIMEOUT], 2);
	fake_port_add(&r.a, r.dp, r.w[0], "another");
	assert_int_equal(odp_port_no(r.a.port), 1);
	policy(&r, false, "");
	push(&r.a, &f, 2);
	run(&r);
	assert_int_equal(r.b.n_out, 0);
	rig_close(&r);
}

/* Even what a worker that never let go of them still has is not finished by another port. */
static void number_again(void **state)
{
	static struct frames f;
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	policy(&r, false, "");
	dg_cut(&f, &udp4);
	push(&r.a, &f, 0);
	push(&r.a, &f, 1);
	run(&r);
	r.a.port->serial++;
	push(&r.a, &f, 2);
	run(&r);
	assert_int_equal(frags(&r).contexts, 2);
	assert_int_equal(r.b.n_out, 0);
	// Nor are they its drops: it began one datagram of the two.
	fake_now_ns += 16 * SEC;
	run(&r);
	assert_int_equal(frags(&r).timeouts, 2);
	assert_int_equal(fake_port_drops(r.a.port, ODP_DROP_FRAG_TIMEOUT), 1);
	rig_close(&r);
}

/* What is lent is copied before it waits: the bytes are somebody else's after the turn. */
static void lent(void **state)
{
	static struct frames f;
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	policy(&r, false, "");
	dg_cut(&f, &udp4);
	for (unsigned i = 0; i < 3; i++) {
		push(&r.a, &f, i);
		struct rte_mbuf *m = r.a.in[r.a.n_in - 1];

		m->ol_flags |= ODP_F_LENT;
		run(&r);
		if (i < 2)
			memset(rte_pktmbuf_mtod(m, void *), 0xee, m->data_len);
	}
	expect(&r.b, &udp4);
	rig_close(&r);
}

/* A worker that sleeps while fragments wait does so for half a second at most. */
static void sleeps(void **state)
{
	static struct frames f;
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	policy(&r, false, "");
	dg_cut(&f, &udp4);
	assert_int_equal(odp_worker_nap_us(r.w[0]), 0);
	push(&r.a, &f, 0);
	run(&r);
	fake_port_reset(&r.a);
	assert_true(odp_worker_arm(r.w[0]));
	assert_int_equal(odp_worker_nap_us(r.w[0]), 500000);
	fake_now_ns += 14 * SEC;
	odp_worker_disarm(r.w[0]);
	assert_int_equal(odp_worker_turn(r.w[0]), 0);
	assert_int_equal(frags(&r).contexts, 1);
	assert_true(odp_worker_arm(r.w[0]));
	fake_now_ns += SEC;
	odp_worker_disarm(r.w[0]);
	assert_int_equal(odp_worker_turn(r.w[0]), 0);
	assert_int_equal(frags(&r).contexts, 0);
	assert_int_equal(odp_worker_nap_us(r.w[0]), 0);
	// The clock is read anew in the next turn that tracks.
	fake_now_ns += 100 * SEC;
	push_all(&r.a, &udp4);
	run(&r);
	expect(&r.b, &udp4);
	assert_in_range(only_conn(&r)->timeout_ms, 60000, 60001);
	rig_close(&r);
}

/* Packets that missed are the control thread's, and so are their fragments. */
static void missed(void **state)
{
	static struct frames f;
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	flow(&r, "recirc_id(0x9),in_port(1),eth_type(0x0800)", "ct(zone=9)"); // a table is made
	push_all(&r.a, &udp4);
	run(&r);
	policy(&r, false, "");
	(void)odp_upcall_poll(r.dp);
	run(&r);
	expect(&r.b, &udp4);
	// What does not become whole goes with the tick, or with its port.
	for (unsigned i = 0; i < 2; i++) {
		dg_cut(&f, &udp4);
		odp_flow_flush(r.dp, NULL);
		push(&r.a, &f, 0);
		run(&r);
		policy(&r, false, "");
		(void)odp_upcall_poll(r.dp);
		assert_int_equal(frags(&r).contexts, 1);
		if (i == 1)
			break;
		fake_now_ns += 15 * SEC;
		odp_tick(r.dp);
		assert_int_equal(frags(&r).contexts, 0);
	}
	fake_port_del(&r.a, r.w[0]);
	assert_int_equal(frags(&r).contexts, 0);
	fake_port_add(&r.a, r.dp, r.w[0], "another");
	rig_close(&r);
}

/* Without the memory to hold them they are invalid, all of them. */
static void no_memory(void **state)
{
	const struct dgram echo = { false, IPPROTO_ICMP, 1, 2, 77, 0, false, 7, 4000, 1480 };
	static struct rig r;

	(void)state;
	rig_open(&r, 1);
	flow(&r, "recirc_id(0),in_port(1),eth_type(0x0800)", "ct(zone=5),recirc(0x1)");
	flow(&r, "recirc_id(0x1),ct_state(+inv+trk),eth_type(0x0800)", "drop");
	odp_hold_destroy(r.w[0]->hold);
	r.w[0]->hold = NULL;
	push_all(&r.a, &echo); // whose first piece could be a whole
	run(&r);
	assert_int_equal(fake_port_drops(r.a.port, ODP_DROP_FLOW_DROP), 3);
	for (long k = 0; k < 6; k++) {
		dpu_alloc_fail_after(k);
		assert_int_equal(odp_hold_create(r.w[0], &r.w[0]->hold), -ENOMEM);
	}
	dpu_alloc_fail_after(-1);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_about_pieces),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(own_kind),
		cmocka_unit_test(zones_apart),
		cmocka_unit_test(two_workers),
		cmocka_unit_test(shares),
		cmocka_unit_test(port_goes),
		cmocka_unit_test(number_again),
		cmocka_unit_test(lent),
		cmocka_unit_test(sleeps),
		cmocka_unit_test(missed),
		cmocka_unit_test(no_memory),
	};
	int failed = 0;

	pool = fake_eal(16383);
	RUN_ROWS(ways, both_ways, failed);
	RUN_ROWS(misfits, misfit, failed);
	RUN_ROWS(nats, translated, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
