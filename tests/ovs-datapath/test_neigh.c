// SPDX-License-Identifier: Apache-2.0
/* Neighbours: two underlays that ask each other, and strangers that nobody should believe. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "inet.h"
#include "underlay.h"

#define SEC 1000000000ull

static struct rte_mempool *pool;

/* One end of a wire, and what it has sent. */
struct end {
	struct odp_ul *ul;
	struct rte_mbuf *out[64];
	unsigned n_out, n_ready;
};

static void send_out(void *arg, uint32_t port, struct rte_mbuf *m)
{
	struct end *e = arg;

	assert_int_equal(port, 5);
	if (e->n_out == 64)
		abort();
	e->out[e->n_out++] = m;
}

static void ready(void *arg, struct odp_ul_path *path, struct rte_mbuf *m)
{
	struct end *e = arg;

	assert_int_equal(path->hop.state, ODP_UL_READY);
	e->n_ready++;
	rte_pktmbuf_free(m);
}

static const struct odp_ip any;
static const struct row {
	const char *name;
	uint8_t family;
	uint16_t vlan;
} rows[] = {
	{ "arp", 4, 0 },
	{ "arp in a VLAN", 4, 0x1064 },
	{ "nd", 6, 0 },
	{ "nd in a VLAN", 6, 0x1064 },
};

static struct odp_ip ip_of(uint8_t family, unsigned host)
{
	return family == 4 ? (struct odp_ip){ 4, { 10, 0, 0, (uint8_t)host } }
			   : (struct odp_ip){ 6, { 0xfd, [14] = 1, [15] = (uint8_t)host } };
}

static void end_init(struct end *e, const struct row *t, unsigned host)
{
	const struct odp_ul_conf conf = {
		.pool = pool, .arg = e, .send = send_out, .ready = ready, .wait_max = 12
	};
	struct odp_ip ip = ip_of(t->family, host);
	uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)host };

	memset(e, 0, sizeof(*e));
	assert_int_equal(odp_ul_create(&conf, SEC, &e->ul), 0);
	assert_int_equal(odp_ul_if_set(e->ul, 5, t->vlan, mac, 1500), 0);
	assert_int_equal(odp_ul_addr_add(e->ul, 5, t->vlan, &ip, t->family == 4 ? 24 : 64), 0);
}

static void end_fini(struct end *e)
{
	odp_ul_destroy(e->ul);
	rte_pktmbuf_free_bulk(e->out, e->n_out);
}

/* Everything that one has sent arrives at the other. */
static unsigned deliver(struct end *from, struct end *to)
{
	unsigned n = from->n_out;

	for (unsigned i = 0; i < n; i++) {
		if (to)
			assert_int_equal(odp_ul_rx(to->ul, 5, from->out[i]), 1);
		rte_pktmbuf_free(from->out[i]);
	}
	from->n_out = 0;
	return n;
}

static void count(const struct odp_ul_neigh_info *n, void *arg)
{
	*(const char **)arg = n->state;
}

static const char *state_of(struct end *e)
{
	const char *s = "none";

	odp_ul_neigh_foreach(e->ul, count, &s);
	return s;
}

static struct odp_ul_path *get(struct end *e, struct odp_ip dst)
{
	struct odp_ul_path *p = NULL;

	assert_int_equal(odp_ul_path_get(e->ul, &dst, &any, &p), 0);
	return p;
}

static struct rte_mbuf *packet(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	if (!m)
		abort();
	return m;
}

static void resolve(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_ul_stats s;
	struct end a, b;
	uint32_t gen;

	end_init(&a, t, 1);
	end_init(&b, t, 2);
	struct odp_ul_path *p = get(&a, ip_of(t->family, 2));

	assert_string_equal(state_of(&a), "incomplete");
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(odp_ul_wait(a.ul, p, packet()), 0);
	odp_ul_stats(a.ul, &s);
	assert_int_equal(s.waiting, 8); // the oldest two gave way
	assert_int_equal(s.wait_dropped, 2);
	assert_int_equal(deliver(&a, &b), 1); // one question, however many packets
	assert_string_equal(state_of(&b), "none"); // whoever asks is not learned
	assert_int_equal(deliver(&b, &a), 1);
	assert_string_equal(state_of(&a), "reachable");
	assert_int_equal(a.n_ready, 8);
	assert_int_equal(p->hop.state, ODP_UL_READY);
	assert_int_equal(p->hop.link.eth_dst[5], 2);
	assert_int_equal(p->hop.link.eth_src[5], 1);
	gen = p->gen;

	// Nobody uses it: it grows stale, and nobody asks.
	odp_ul_tick(a.ul, 40 * SEC);
	assert_string_equal(state_of(&a), "stale");
	odp_ul_tick(a.ul, 400 * SEC);
	assert_int_equal(a.n_out, 0);
	// Used again it is asked, itself, and none of this is a change to anybody.
	odp_ul_path_use(p);
	odp_ul_tick(a.ul, 401 * SEC);
	assert_string_equal(state_of(&a), "probe");
	assert_int_equal(a.n_out, 1);
	assert_int_equal(*rte_pktmbuf_mtod_offset(a.out[0], uint8_t *, 5), 2);
	(void)deliver(&a, &b);
	(void)deliver(&b, &a);
	assert_string_equal(state_of(&a), "reachable");
	assert_true(odp_ul_path_current(p, gen));
	end_fini(&a);
	end_fini(&b);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static void silence(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct end a;
	uint32_t gen;

	end_init(&a, t, 1);
	struct odp_ul_path *p = get(&a, ip_of(t->family, 2));

	assert_int_equal(odp_ul_wait(a.ul, p, packet()), 0);
	for (unsigned i = 0; i < 100; i++) // ten ticks a second ask once a second
		odp_ul_tick(a.ul, SEC + SEC / 10 * i);
	assert_int_equal(deliver(&a, NULL), 3);
	assert_string_equal(state_of(&a), "failed");
	assert_int_equal(p->hop.state, ODP_UL_FAILED);
	gen = p->gen;

	// It was given up a few seconds ago; now it is asked for again.
	assert_int_equal(odp_ul_wait(a.ul, p, packet()), 0);
	assert_string_equal(state_of(&a), "incomplete");
	assert_false(odp_ul_path_current(p, gen));
	odp_ul_tick(a.ul, 12 * SEC);
	odp_ul_tick(a.ul, 13 * SEC);
	odp_ul_tick(a.ul, 14 * SEC);
	odp_ul_tick(a.ul, 15 * SEC);
	assert_string_equal(state_of(&a), "failed");
	assert_int_equal(odp_ul_wait(a.ul, p, packet()), -EHOSTUNREACH);
	assert_int_equal(deliver(&a, NULL), 3);
	odp_ul_path_put(a.ul, p);
	assert_string_equal(state_of(&a), "none");
	end_fini(&a);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* Many wait: the limit for all of them holds. */
static void wait_limit(void **state)
{
	const struct row *t = *state;
	struct odp_ul_path *p[3];
	unsigned refused = 0;
	struct end a;

	end_init(&a, t, 1);
	for (unsigned i = 0; i < 3; i++) {
		p[i] = get(&a, ip_of(t->family, 10 + i));
		for (unsigned k = 0; k < 5; k++)
			refused += odp_ul_wait(a.ul, p[i], packet()) == -ENOBUFS;
	}
	assert_int_equal(refused, 3);
	end_fini(&a);
}

/* An announcement or answer of host 2 with MAC ..:mac, as a says it or asked. */
static struct rte_mbuf *say(const struct row *t, unsigned host, unsigned mac, bool answer)
{
	struct row mine = *t;
	struct end b, c;
	struct rte_mbuf *m;

	end_init(&b, t, host);
	(void)odp_ul_if_set(b.ul, 5, t->vlan, (uint8_t[]){ 2, 0, 0, 0, 0, (uint8_t)mac }, 1500);
	end_init(&c, &mine, answer ? 1 : 99);
	(void)get(answer ? &c : &b, ip_of(t->family, answer ? host : host == 1 ? 3 : 1));
	if (answer)
		(void)deliver(&c, &b);
	m = b.out[0];
	b.n_out = 0;
	end_fini(&b);
	end_fini(&c);
	return m;
}

static int hear(struct end *a, struct rte_mbuf *m)
{
	int ret = odp_ul_rx(a->ul, 5, m);

	rte_pktmbuf_free(m);
	return ret;
}

static void strangers(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_ul_stats s;
	struct rte_mbuf *m;
	struct end a;

	end_init(&a, t, 1);
	// Nobody needs it: nothing is kept, whoever speaks.
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(hear(&a, say(t, 2 + i % 90, 2, i & 1)), 1);
		assert_int_equal(deliver(&a, NULL), !(i & 1));
	}
	odp_ul_stats(a.ul, &s);
	assert_int_equal(s.neighbours, 0);
	assert_int_equal(s.unknown, 200);

	struct odp_ul_path *p = get(&a, ip_of(t->family, 2));

	(void)deliver(&a, NULL);
	// From a port that is no uplink of ours: not looked at.
	m = say(t, 2, 2, true);
	assert_int_equal(odp_ul_rx(a.ul, 6, m), 0);
	assert_string_equal(state_of(&a), "incomplete");
	// The answer that was asked for.
	assert_int_equal(odp_ul_rx(a.ul, 5, m), 1);
	rte_pktmbuf_free(m);
	assert_string_equal(state_of(&a), "reachable");
	// Another address within the second: not believed; later it is, but has to be confirmed.
	uint32_t gen = p->gen;

	assert_int_equal(hear(&a, say(t, 2, 3, true)), 1);
	assert_true(odp_ul_path_current(p, gen));
	odp_ul_tick(a.ul, 3 * SEC);
	assert_int_equal(hear(&a, say(t, 2, 3, true)), 1);
	assert_false(odp_ul_path_current(p, gen));
	assert_string_equal(state_of(&a), "stale");
	assert_int_equal(p->hop.link.eth_dst[5], 3);
	odp_ul_stats(a.ul, &s);
	assert_int_equal(s.too_fast, 1);
	// One that takes our own address for its own.
	assert_int_equal(hear(&a, say(t, 1, 7, false)), 1);
	odp_ul_stats(a.ul, &s);
	assert_int_equal(s.conflicts, 1);
	// A static one is not changed.
	struct odp_ip ip = ip_of(t->family, 2);

	assert_int_equal(
		odp_ul_neigh_set(a.ul, 5, t->vlan, &ip, (uint8_t[]){ 2, 9, 9, 9, 9, 9 }), 0);
	odp_ul_tick(a.ul, 9 * SEC);
	assert_int_equal(hear(&a, say(t, 2, 3, true)), 1);
	assert_int_equal(p->hop.link.eth_dst[5], 9);
	(void)deliver(&a, NULL);
	end_fini(&a);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static const struct lie {
	const char *name;
	uint8_t family;
	bool answer; // an answer, else a question
	uint16_t off; // of the byte that is changed
	uint8_t value;
	bool fix; // the ICMPv6 checksum is made right again
	int ret;
} lies[] = {
	{ "arp", 4, true, 60, 0, false, 1 },
	{ "arp question", 4, false, 60, 0, false, 1 },
	{ "arp: hardware type", 4, true, 15, 6, false, -EBADMSG },
	{ "arp: protocol", 4, true, 16, 0x86, false, -EBADMSG },
	{ "arp: hardware length", 4, true, 18, 8, false, -EBADMSG },
	{ "arp: protocol length", 4, true, 19, 16, false, -EBADMSG },
	{ "arp: operation 3", 4, true, 21, 3, false, -EBADMSG },
	{ "arp: multicast sender", 4, true, 22, 3, false, -EBADMSG },
	{ "arp: another sender than the frame's", 4, true, 27, 77, false, -EBADMSG },
	{ "arp: cut", 4, true, 0xffff, 41, false, -EBADMSG },
	{ "nd answer", 6, true, 200, 0, false, 1 },
	{ "nd question", 6, false, 200, 0, false, 1 },
	{ "nd: hop limit 254", 6, true, 21, 254, false, -EBADMSG },
	{ "nd question: hop limit 254", 6, false, 21, 254, false, -EBADMSG },
	{ "nd: checksum", 6, true, 56, 0x55, false, -EBADMSG },
	{ "nd: code", 6, true, 55, 1, true, -EBADMSG },
	{ "nd: multicast target", 6, true, 62, 0xff, true, -EBADMSG },
	{ "nd: option of length 0", 6, true, 79, 0, true, -EBADMSG },
	{ "nd: option beyond the packet", 6, true, 79, 2, true, -EBADMSG },
	{ "nd: multicast MAC", 6, true, 80, 3, true, -EBADMSG },
	{ "nd: longer than the frame", 6, true, 19, 33, true, -EBADMSG },
	{ "nd: 23 bytes", 6, true, 19, 23, true, -EBADMSG },
	{ "nd: solicited to many", 6, true, 38, 0xff, true, -EBADMSG },
	{ "nd: probe with an address", 6, false, 0xfffe, 0, true, -EBADMSG },
	{ "nd: redirect", 6, true, 54, 137, true, 0 },
	{ "nd: TCP", 6, true, 20, 6, true, 0 },
};

static void lie(void **state)
{
	const struct lie *t = *state;
	const struct row r = { NULL, t->family, 0 };
	struct end a;

	end_init(&a, &r, 1);
	struct odp_ul_path *p = get(&a, ip_of(t->family, 2));
	struct rte_mbuf *m = say(&r, 2, 2, t->answer);
	uint8_t *b = rte_pktmbuf_mtod(m, uint8_t *);

	(void)deliver(&a, NULL);
	if (t->off == 0xffff)
		rte_pktmbuf_trim(m, (uint16_t)(m->pkt_len - t->value));
	else if (t->off == 0xfffe)
		memset(b + 22, 0, 16);
	else if (t->off < m->pkt_len)
		b[t->off] = t->value;
	if (t->fix) {
		odp_put16(b + 56, 0);
		odp_put16(b + 56, (uint16_t)~odp_fold(odp_sum(b + 22, 32,
					  odp_sum(b + 54, odp_get16(b + 18),
						  IPPROTO_ICMPV6 + odp_get16(b + 18)))));
	}
	assert_int_equal(hear(&a, m), t->ret);
	assert_int_equal(p->hop.state, t->ret == 1 ? ODP_UL_READY : ODP_UL_RESOLVING);
	if (t->ret != 1)
		assert_int_equal(a.n_out, 0);
	end_fini(&a);
}

/* RFC 5227 and RFC 4862: somebody asks, without an address yet, whether ours is free. */
static void probes(void **state)
{
	const struct row *t = *state;
	struct end a;

	end_init(&a, t, 1);
	struct rte_mbuf *m = say(t, 2, 2, false);
	uint8_t *b = rte_pktmbuf_mtod(m, uint8_t *) + (t->vlan ? 4 : 0);

	if (t->family == 4) {
		memset(b + 28, 0, 4);
	} else {
		memset(b + 22, 0, 16);
		odp_put16(b + 18, 24); // no option
		odp_put16(b + 56, 0);
		odp_put16(b + 56,
			(uint16_t)~odp_fold(odp_sum(b + 22, 32, odp_sum(b + 54, 24, 58 + 24))));
	}
	assert_int_equal(hear(&a, m), 1);
	assert_int_equal(a.n_out, 1);
	b = rte_pktmbuf_mtod(a.out[0], uint8_t *);
	assert_int_equal(b[0], t->family == 4 ? 2 : 0x33); // nobody has no address to send to
	if (t->family == 6)
		assert_int_equal(b[(t->vlan ? 4 : 0) + 58], 0x20);
	end_fini(&a);
}

int main(void)
{
	int failed = 0;

	pool = fake_eal(2047);
	RUN_ROWS(rows, resolve, failed);
	RUN_ROWS(rows, silence, failed);
	RUN_ROWS(rows, wait_limit, failed);
	RUN_ROWS(rows, strangers, failed);
	RUN_ROWS(rows, probes, failed);
	RUN_ROWS(lies, lie, failed);
	return failed;
}
