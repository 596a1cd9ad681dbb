// SPDX-License-Identifier: Apache-2.0
/*
 * The flow table while it changes: a reader finds what is there all the time, whatever comes and
 * goes; names, batches and dumps agree with it; what one port fills the others do not pay for.
 */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "classifier.h"
#include "fake_port.h"
#include "flow.h"
#include "smc.h"

#define STAY 512u
#define CHURN 16384u // in each of four subtables enough to grow, and to shrink again
#define ROUNDS 8u

static struct rte_mempool *pool;
static struct odp *dp;
static struct fake_port port[4];

static _Atomic bool reading; // a reader runs
static _Atomic uint64_t turns; // that it has ended

/* As a worker's grace period: until the reader has been between two turns. */
static void synchronize(void *arg)
{
	uint64_t seen = atomic_load(&turns);

	(void)arg;
	while (atomic_load(&reading) && atomic_load(&turns) < seen + 2)
		sched_yield();
}

/* Flow `i`: of three words or of five, in a subtable of its own for each `shape`. */
static void flow_of(
	uint32_t i, unsigned shape, uint32_t in_port, struct odp_key *k, struct odp_key *m)
{
	memset(k, 0, sizeof(*k));
	memset(m, 0, sizeof(*m));
	k->in_port = in_port;
	m->in_port = UINT32_MAX;
	k->eth_type = dpu_be16_put(0x0800);
	m->eth_type = dpu_be16_put(0xffff);
	k->ip_tos = (uint8_t)shape;
	m->ip_tos = 0xff;
	k->ipv4.dst = dpu_be32_put(i << 8);
	m->ipv4.dst = dpu_be32_put(UINT32_MAX << (shape % 8));
	if (shape & 1) {
		memcpy(k->eth_dst, &i, sizeof(i));
		memset(m->eth_dst, 0xff, sizeof(i));
	}
	if (shape & 8) // more than a flow keeps within itself
		memset(m->eth_src, 0xff, sizeof(m->eth_src));
}

static struct odp_kw packet_of(uint32_t i, unsigned shape, uint32_t in_port)
{
	struct odp_key k, m;

	flow_of(i, shape, in_port, &k, &m);
	return odp_kw(&k);
}

static int put(uint32_t i, unsigned shape, uint32_t in_port, enum odp_flow_how how)
{
	struct odp_key k, m;
	struct odp_flow_req r = { .key = &k, .mask = &m, .how = how };

	flow_of(i, shape, in_port, &k, &m);
	odp_flow_put_batch(dp, &r, 1, "test");
	return r.ret;
}

static int del(uint32_t i, unsigned shape, uint32_t in_port)
{
	struct odp_key k, m;

	flow_of(i, shape, in_port, &k, &m);
	return odp_flow_del(dp, &k, &m);
}

/* ---- a reader beside the writer ---- */

struct reader {
	_Atomic bool stop;
	uint64_t lookups, missed, wrong;
};

static void *read_flows(void *arg)
{
	struct reader *r = arg;
	uint32_t first = 0;

	while (!atomic_load_explicit(&r->stop, memory_order_relaxed)) {
		const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_acquire);
		const struct odp_kw *key[ODP_BURST];
		struct odp_flow *flow[ODP_BURST];
		struct odp_kw kw[ODP_BURST];

		for (unsigned i = 0; i < ODP_BURST; i++) {
			kw[i] = packet_of((first + i) % STAY, (first + i) % 4, 1);
			key[i] = &kw[i];
		}
		odp_classifier_lookup_burst(v, key, UINT32_MAX, flow);
		for (unsigned i = 0; i < ODP_BURST; i++) {
			r->missed += !flow[i];
			r->wrong += flow[i] && !atomic_load(&flow[i]->acts);
		}
		r->lookups += ODP_BURST;
		first += ODP_BURST;
		atomic_fetch_add(&turns, 1);
	}
	atomic_store(&reading, false);
	return NULL;
}

/* Flows that stay are found in every turn while others come and go, and tables grow and shrink. */
static void hitless(void **state)
{
	struct reader r = { 0 };
	pthread_t thread;
	unsigned largest = 0;

	(void)state;
	for (uint32_t i = 0; i < STAY; i++)
		assert_int_equal(put(i, i % 4, 1, ODP_FLOW_CREATE), 0);
	atomic_store(&reading, true);
	assert_int_equal(pthread_create(&thread, NULL, read_flows, &r), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < CHURN; i++)
			assert_int_equal(put(STAY + i, i % 4, 1, ODP_FLOW_CREATE), 0);
		// Those that stay get new actions; the same flow goes on.
		for (uint32_t i = 0; i < STAY; i++)
			assert_int_equal(put(i, i % 4, 1, ODP_FLOW_MODIFY), 0);
		largest = RTE_MAX(largest, dp->n_flows);
		for (uint32_t i = 0; i < CHURN; i++)
			assert_int_equal(del(STAY + i, i % 4, 1), 0);
		odp_tick(dp);
	}
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(largest, STAY + CHURN);
	assert_int_equal(dp->n_flows, STAY);
	assert_true(r.lookups > 0);
	assert_int_equal(r.missed, 0);
	assert_int_equal(r.wrong, 0);
	assert_int_equal(odp_flow_flush(dp, "test"), STAY);
	odp_tick(dp);
}

/* ---- names, batches, dumps ---- */

static void names(void **state)
{
	struct odp_key k[3], m[3];
	struct odp_flow_req r[3];
	struct odp_flow_info info;

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		flow_of(i, i, 2, &k[i], &m[i]);
		r[i] = (struct odp_flow_req){ .key = &k[i],
			.mask = &m[i],
			.how = ODP_FLOW_CREATE,
			.ufid = { { 7, i + 1 } } };
	}
	assert_int_equal(odp_flow_put_batch(dp, r, 3, "test"), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(odp_flow_get(dp, &r[i].ufid, &info), 0);
		assert_int_equal(info.id, r[i].id);
		assert_memory_equal(&info.mask, &m[i], sizeof(info.mask));
		assert_int_equal(info.ufid.w[1], i + 1);
	}
	// Again: each fails by itself. Under another flow's name: fails, too.
	r[0].how = ODP_FLOW_PUT;
	r[1].ufid.w[1] = 3;
	r[1].how = ODP_FLOW_PUT;
	assert_int_equal(odp_flow_put_batch(dp, r, 3, "test"), 1);
	assert_int_equal(r[0].ret, 0);
	assert_int_equal(r[1].ret, -EEXIST);
	assert_int_equal(r[2].ret, -EEXIST);
	// A flow gets another name and is found by the new one alone.
	r[1].ufid.w[1] = 9;
	assert_int_equal(odp_flow_put_batch(dp, &r[1], 1, "test"), 1);
	assert_int_equal(odp_flow_get(dp, &(struct odp_ufid){ { 7, 2 } }, &info), -ENOENT);
	assert_int_equal(odp_flow_get(dp, &r[1].ufid, &info), 0);
	assert_int_equal(info.id, r[1].id);
	// Nothing has no name.
	assert_int_equal(odp_flow_get(dp, &(struct odp_ufid){ { 0, 0 } }, &info), -ENOENT);
	// Deleted by name, by key, and not at all.
	r[0].key = NULL;
	assert_int_equal(odp_flow_del_batch(dp, r, 3), 3);
	assert_int_equal(odp_flow_del_batch(dp, r, 3), 0);
	assert_int_equal(r[0].ret, -ENOENT);
	assert_int_equal(r[2].ret, -ENOENT);
	// A name is free again with its flow; modify makes none.
	r[2].how = ODP_FLOW_MODIFY;
	assert_int_equal(odp_flow_put_batch(dp, &r[2], 1, "test"), 0);
	assert_int_equal(r[2].ret, -ENOENT);
	r[2].how = ODP_FLOW_CREATE;
	assert_int_equal(odp_flow_put_batch(dp, &r[2], 1, "test"), 1);
	assert_int_equal(odp_flow_flush(dp, "test"), 1);
	assert_int_equal(odp_flow_get(dp, &r[2].ufid, &info), -ENOENT);
	for (unsigned i = 0; i < UFID_CHAINS; i++)
		assert_null(dp->by_ufid[i]);
	odp_tick(dp);
}

static uint8_t told[STAY];

static void tell(const struct odp_flow_info *f, void *arg)
{
	uint32_t i = dpu_be32_get(f->key.ipv4.dst) >> 8;

	(void)arg;
	if (i < STAY)
		told[i]++;
}

/* In steps, while other flows come and go: each that stays is told once. */
static void dump_in_steps(void **state)
{
	uint64_t cursor = 0;
	uint32_t steps = 0;

	(void)state;
	for (uint32_t i = 0; i < STAY; i++) {
		assert_int_equal(put(i, 0, 1, ODP_FLOW_CREATE), 0);
		assert_int_equal(put(STAY + i, 0, 1, ODP_FLOW_CREATE), 0);
	}
	while (odp_flow_dump(dp, &cursor, 10, tell, NULL)) {
		if (steps < STAY)
			assert_int_equal(del(STAY + steps, 0, 1), 0);
		assert_int_equal(put(2 * STAY + steps, 0, 1, ODP_FLOW_CREATE), 0);
		steps++;
	}
	assert_true(steps > STAY / 10);
	for (uint32_t i = 0; i < STAY; i++)
		assert_int_equal(told[i], 1);
	odp_flow_flush(dp, "test");
	odp_tick(dp);
}

/* ---- vector instructions ---- */

enum { VEC_FLOWS = 300, VEC_BURSTS = 2048 };

/* Flows of `words` + 1 words in a subtable of port 3, of which the last one differs. */
struct vec {
	unsigned words, n;
	struct odp_kw mask, base;
	uint32_t value[VEC_FLOWS]; // of the last word
};

static uint64_t *vec_last(const struct vec *t, struct odp_kw *k)
{
	return &k->w[t->words * 3];
}

/* Beneath the checks of keys: any words will do. */
static void vec_fill(struct vec *t, unsigned words)
{
	*t = (struct vec){ .words = words, .n = words ? (words % 3 ? VEC_FLOWS : 7) : 1 };
	t->mask.w[0] = UINT32_MAX;
	t->base.w[0] = 3;
	for (unsigned i = 1; i <= words; i++)
		t->mask.w[i * 3] = (uint64_t)rand() << 33 | 0xffff;
	for (unsigned i = 0; i < t->n; i++) {
		struct odp_kw kw = t->base;
		struct odp_key k, m;
		struct odp_compact c;
		struct odp_flow *f;

		t->value[i] = words ? (uint32_t)rand() & 0xfff : 3;
		*vec_last(t, &kw) = t->value[i];
		memcpy(&k, &kw, sizeof(k));
		memcpy(&m, &t->mask, sizeof(m));
		odp_compact(&c, &k, &m, false);
		if (odp_classifier_find(dp, &c))
			continue;
		assert_int_equal(odp_flow_alloc(dp, &f), 0);
		f->origin = "test";
		atomic_store(&f->acts, calloc(1, sizeof(struct odp_acts)));
		assert_int_equal(odp_classifier_add(dp, f, &c), 0);
		dp->n_flows++;
	}
}

/* A packet of some flow, or of a value that may be one's, with bits that the mask leaves alone. */
static void vec_packet(const struct vec *t, struct odp_kw *k)
{
	*k = t->base;
	if (t->words)
		*vec_last(t, k) = rand() & 1 ? t->value[(unsigned)rand() % t->n]
					     : (uint32_t)rand() & 0xfff;
	for (unsigned j = 1; j < ODP_KEY_WORDS; j++)
		k->w[j] |= ~t->mask.w[j] & (uint64_t)rand() << 20;
}

/* Returns how many keys were found. */
static unsigned vec_compare(const struct odp_subtable *st, const struct odp_view *v,
	const struct odp_kw *const *key, uint32_t todo, unsigned *sets)
{
	struct odp_flow *want[ODP_BURST] = { 0 };
	uint32_t found = odp_search_for(ODP_ISA_PLAIN, st->n_words)(st, v, key, todo, want);

	for (enum odp_isa isa = ODP_ISA_PLAIN + 1; isa < ODP_ISAS; isa++) {
		odp_search_fn *fn = odp_search_for(isa, st->n_words);
		struct odp_flow *got[ODP_BURST] = { 0 };

		if (!fn)
			continue;
		assert_int_equal(fn(st, v, key, todo, got), found);
		assert_memory_equal(got, want, sizeof(want));
		*sets |= 1u << isa;
	}
	return (unsigned)__builtin_popcount(found);
}

/*
 * Every set of vector instructions finds what plain code finds: for each number of words up to past
 * those with functions of their own, in tables of one bucket and of many, of some packets of a
 * burst.
 */
static void searches_agree(void **state)
{
	unsigned sets = 0, hits = 0;
	static struct vec t;

	(void)state;
	srand(7);
	for (unsigned words = 0; words <= 20; words++) {
		vec_fill(&t, words);
		const struct odp_view *v = atomic_load(&dp->view);
		const struct odp_subtable *st = v->port[3]->st[0];

		assert_int_equal(st->n_words, words + 1);
		for (unsigned n = 0; n < VEC_BURSTS; n++) {
			const struct odp_kw *key[ODP_BURST];
			struct odp_kw kw[ODP_BURST];

			for (unsigned i = 0; i < ODP_BURST; i++) {
				vec_packet(&t, &kw[i]);
				key[i] = &kw[i];
			}
			hits += vec_compare(st, v, key, (uint32_t)rand() * 2654435761u, &sets);
		}
		odp_flow_flush(dp, "test");
		odp_tick(dp);
	}
	assert_true(hits > VEC_BURSTS);
	if (!sets)
		print_message("only plain code here: nothing to compare it with\n");
}

/* ---- signature cache ---- */

/*
 * What the cache finds is what the table has, whatever went and came since, and though all keys
 * share a few hashes here. Once an operator's flow could win nothing is guessed.
 */
static void guesses_are_confirmed(void **state)
{
	enum { FLOWS = 64, TRIES = 20000 };
	struct odp_smc *c = odp_smc_create();
	unsigned guessed = 0, known = 0;
	struct odp_key k, m;

	(void)state;
	assert_non_null(c);
	srand(3);
	for (unsigned n = 0; n < TRIES; n++) {
		uint32_t i = (uint32_t)rand() % FLOWS, hash = (uint32_t)rand() % 3 << 20;
		const struct odp_kw kw = packet_of(i, i % 4, 1), *key = &kw;
		const struct odp_view *v = atomic_load(&dp->view);
		struct odp_flow *want = odp_classifier_lookup(v, &kw), *got = NULL;

		if (odp_smc_lookup_burst(c, v, &key, &hash, 1, &got) == 0) {
			assert_ptr_equal(got, want);
			guessed++;
		} else if (want) {
			odp_smc_put(c, v, key, hash, want);
			known++;
		}
		if (rand() % 4 == 0)
			assert_int_equal(
				want ? del(i, i % 4, 1) : put(i, i % 4, 1, ODP_FLOW_PUT), 0);
		if (n % 50 == 0)
			odp_reclaim(dp); // flows' places are taken by others
	}
	assert_true(guessed > TRIES / 50);
	assert_true(known > 0);
	put(1, 1, 1, ODP_FLOW_PUT);
	flow_of(9, 5, 1, &k, &m);
	assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", NULL), 0);
	const struct odp_view *v = atomic_load(&dp->view);
	const struct odp_kw kw = packet_of(1, 1, 1), *key = &kw;
	struct odp_flow *f = odp_classifier_lookup(v, &kw);
	uint32_t hash = 5;

	assert_non_null(f);
	odp_smc_put(c, v, key, hash, f);
	assert_int_equal(odp_smc_lookup_burst(c, v, &key, &hash, 1, &f), 1);
	odp_flow_flush(dp, NULL);
	odp_tick(dp);
	v = atomic_load(&dp->view);
	assert_int_equal(odp_smc_lookup_burst(c, v, &key, &hash, 1, &f), 1);
	odp_smc_destroy(c);
}

/* ---- masks without end (OV-16) ---- */

/* Mask `i` of some ten thousands, as one who sends packets of all kinds has them made. */
static int put_mask(unsigned i, uint32_t in_port)
{
	struct odp_key k, m;

	flow_of(i, 0, in_port, &k, &m);
	m.eth_src[4] = (uint8_t)(i >> 8);
	m.eth_src[5] = (uint8_t)i;
	m.eth_dst[0] = 0xff;
	k.eth_dst[0] = (uint8_t)(i + 1);
	return odp_flow_put(dp, &k, &m, NULL, 0, false, "test", NULL);
}

static unsigned looks(uint32_t i, uint32_t in_port, bool *found)
{
	const struct odp_kw kw = packet_of(i, 0, in_port), *key = &kw;
	struct odp_flow *f;
	unsigned n = odp_classifier_lookup_burst(atomic_load(&dp->view), &key, 1, &f);

	*found = f != NULL;
	return n;
}

/* One port's masks: so many it gets, and no packet of another port meets any of them. */
static void masks_of_one_port(void **state)
{
	unsigned made = 0;
	bool found;

	(void)state;
	assert_int_equal(put(1, 0, 2, ODP_FLOW_CREATE), 0);
	while (put_mask(made, 1) == 0)
		made++;
	assert_int_equal(made, SUBTABLES_PORT_MAX);
	assert_int_equal(put_mask(made, 1), -ENOSPC);
	// Its own packets pay for it.
	assert_int_equal(looks(1, 1, &found), SUBTABLES_PORT_MAX);
	assert_false(found);
	// The victim's flow and its misses cost what they did.
	assert_int_equal(looks(1, 2, &found), 1);
	assert_true(found);
	assert_int_equal(looks(2, 2, &found), 1);
	assert_false(found);
	// Known masks still take flows.
	struct odp_key k, m;

	flow_of(7, 0, 1, &k, &m);
	m.eth_dst[0] = 0xff;
	k.eth_dst[0] = 77;
	assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, false, "test", NULL), 0);
	// All goes with its flows.
	assert_int_equal(odp_flow_flush(dp, "test"), made + 2);
	odp_tick(dp);
	assert_int_equal(dp->subtables->n, 0);
	assert_int_equal(atomic_load(&dp->view)->map, 0);
}

/* An IPv4 frame to `dst`. */
static void frame_of(uint8_t f[64], uint32_t dst)
{
	static const uint8_t ip[] = { 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1 };

	fake_frame(f, (uint8_t)dst, 1, 0);
	memcpy(f + 12, ip, sizeof(ip));
	f[30] = (uint8_t)(dst >> 24);
	f[31] = (uint8_t)(dst >> 16);
	f[32] = (uint8_t)(dst >> 8);
	f[33] = (uint8_t)dst;
}

static uint64_t worker_looks(void)
{
	return dpu_counter_read(&dp->worker[0]->st_looks);
}

/*
 * One port sends all it can of what misses all of its thousand masks. The other's burst is served
 * in each turn, and the first one's take a share of the work, in the long run.
 */
static void masks_and_their_misses(void **state)
{
	enum { TURNS = 3000, SHARE = 2 * ODP_BURST };
	struct odp_actbuf out = { 0 };
	unsigned sent = 0, bursts = 0;
	struct odp_key k, m;
	uint64_t before;
	uint8_t f[64];

	(void)state;
	for (unsigned i = 0; put_mask(i, 1) == 0; i++)
		;
	flow_of(5, 0, 2, &k, &m);
	odp_actbuf_output(&out, 3);
	assert_int_equal(
		odp_flow_put(dp, &k, &m, odp_actbuf_list(&out), out.len, false, "test", NULL), 0);
	odp_actbuf_fini(&out);
	before = worker_looks();
	for (unsigned turn = 0; turn < TURNS; turn++) {
		for (unsigned i = 0; port[0].n_in == 0 || port[0].n_in % ODP_BURST; i++) {
			frame_of(f, 0x0b000000 + turn * 256 + i);
			fake_port_push(&port[0], pool, f, 60);
			bursts += i == 0;
		}
		for (unsigned i = 0; i < ODP_BURST; i++) {
			frame_of(f, 5 << 8);
			fake_port_push(&port[1], pool, f, 60);
		}
		odp_worker_turn(dp->worker[0]);
		sent += port[2].n_out;
		fake_port_reset(&port[2]);
	}
	assert_int_equal(sent, TURNS * ODP_BURST);
	assert_true(bursts > 2); // it is served, too
	assert_in_range(worker_looks() - before, SUBTABLES_PORT_MAX * ODP_BURST,
		(uint64_t)TURNS * SHARE + SUBTABLES_PORT_MAX * ODP_BURST);
	fake_port_reset(&port[0]);
	odp_upcall_poll(dp);
	odp_flow_flush(dp, NULL);
	odp_tick(dp);
}

/* Many ports that take all they can get leave room for one that comes later. */
static void masks_of_many_ports(void **state)
{
	enum { GREEDY = 100 };
	unsigned n = 0;
	bool found;

	(void)state;
	for (uint32_t p = 10; p < 10 + GREEDY; p++)
		for (unsigned i = 0; i < SUBTABLES_PORT_MAX && put_mask(i, p) == 0; i++)
			;
	assert_true(dp->subtables->n < SUBTABLES_MAX);
	while (n < SUBTABLES_PORT_MAX && put_mask(n, 2) == 0)
		n++;
	assert_int_equal(n, SUBTABLES_EACH);
	assert_int_equal(looks(1, 2, &found), n);
	odp_flow_flush(dp, "test");
	odp_tick(dp);
	assert_int_equal(dp->subtables->n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hitless), cmocka_unit_test(names),
		cmocka_unit_test(dump_in_steps), cmocka_unit_test(searches_agree),
		cmocka_unit_test(guesses_are_confirmed), cmocka_unit_test(masks_of_one_port),
		cmocka_unit_test(masks_of_many_ports), cmocka_unit_test(masks_and_their_misses) };
	static const char *const names_of[4] = { "p1", "p2", "p3", "p4" };

	pool = fake_eal(1023);
	struct odp_conf conf = { .n_workers = 1, .pool = pool, .synchronize = synchronize };

	if (odp_create(&conf, &dp) < 0)
		return 1;
	for (unsigned i = 0; i < 4; i++)
		fake_port_add(&port[i], dp, odp_worker(dp, 0), names_of[i]);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	for (unsigned i = 0; i < 4; i++)
		fake_port_del(&port[i], odp_worker(dp, 0));
	odp_destroy(dp);
	return failed;
}
