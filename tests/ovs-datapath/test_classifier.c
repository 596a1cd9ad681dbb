// SPDX-License-Identifier: Apache-2.0
/*
 * The flow table and its caches against a linear model: random flows come and go under random masks
 * while packets of random keys are looked up through whole turns.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "classifier.h"
#include "crc_keys.h"
#include "dpu_alloc.h"
#include "fake_port.h"

#define N_MASKS 12
#define N_FLOWS 200
#define ROUNDS 4000

struct model {
	bool live;
	unsigned mask;
	struct odp_key key; // masked
	uint64_t id;
	unsigned to; // port number 2..4, or 0: drop
};

static struct rte_mempool *pool;
static struct odp *dp;
static struct fake_port p[4];
static struct odp_key masks[N_MASKS];
static unsigned bits[N_MASKS], age[N_MASKS], n_ages;
static struct model flows[N_FLOWS];

static struct odp_key masked(const struct odp_key *k, const struct odp_key *m)
{
	struct odp_key out;

	for (size_t i = 0; i < sizeof(out); i++)
		((uint8_t *)&out)[i] = ((const uint8_t *)k)[i] & ((const uint8_t *)m)[i];
	return out;
}

/* A UDP packet over few addresses and ports, so that flows and packets meet. */
static void random_frame(uint8_t f[64], struct odp_key *k)
{
	memset(f, 0, 64);
	f[0] = f[6] = 2;
	f[5] = (uint8_t)(rand() & 3);
	f[11] = (uint8_t)(rand() & 3);
	f[12] = 8;
	f[14] = 0x45;
	f[17] = 28;
	f[22] = 64;
	f[23] = 17;
	f[26] = f[30] = 10;
	f[29] = (uint8_t)(rand() & 7);
	f[33] = (uint8_t)(rand() & 7);
	f[35] = (uint8_t)(rand() & 3);
	f[37] = (uint8_t)(rand() & 3);
	f[39] = 8;
	memset(k, 0, sizeof(*k));
	k->in_port = 1;
	memcpy(k->eth_dst, f, 6);
	memcpy(k->eth_src, f + 6, 6);
	k->eth_type = dpu_be16_put(0x800);
	k->ip_proto = 17;
	k->ip_ttl = 64;
	memcpy(&k->ipv4, f + 26, 8);
	memcpy(&k->tp_src, f + 34, 2);
	memcpy(&k->tp_dst, f + 36, 2);
}

static void make_masks(void)
{
	for (unsigned i = 0; i < N_MASKS; i++) {
		struct odp_key *m = &masks[i];

		memset(m, 0, sizeof(*m));
		m->in_port = UINT32_MAX;
		m->eth_type = dpu_be16_put(0xffff);
		m->eth_dst[5] = (uint8_t)(rand() & 3);
		m->eth_src[5] = (uint8_t)(i & 1 ? 3 : 0);
		if (i >= 3) {
			m->ipv4.src = dpu_be32_put((uint32_t)rand() & 7);
			m->ipv4.dst = dpu_be32_put((uint32_t)i & 7);
		}
		if (i >= 8) {
			m->ip_proto = 0xff;
			m->tp_dst = dpu_be16_put((uint16_t)(i & 3));
			m->tp_src = dpu_be16_put(3);
		}
		for (size_t b = 0; b < sizeof(*m); b++)
			bits[i] += (unsigned)__builtin_popcount(((uint8_t *)m)[b]);
	}
}

static unsigned in_mask(unsigned mask)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_FLOWS; i++)
		n += flows[i].live &&
		     !memcmp(&masks[flows[i].mask], &masks[mask], sizeof(masks[0]));
	return n;
}

static void change_one(void)
{
	struct model *f = &flows[rand() % N_FLOWS];

	if (f->live) {
		assert_int_equal(odp_flow_del_id(dp, f->id), 0);
		f->live = false;
		return;
	}
	uint8_t frame[64];
	struct odp_key k;
	unsigned mask = (unsigned)rand() % N_MASKS;
	char to[12] = "drop";

	random_frame(frame, &k);
	f->to = (unsigned)rand() % 4;
	f->to = f->to ? f->to + 1 : 0;
	if (f->to)
		snprintf(to, sizeof(to), "%u", f->to);
	f->mask = mask;
	f->key = masked(&k, &masks[mask]);
	if (in_mask(mask) == 0)
		for (unsigned i = 0; i < N_MASKS; i++)
			if (!memcmp(&masks[i], &masks[mask], sizeof(masks[0])))
				age[i] = ++n_ages;
	int ret = fake_put(dp, &k, &masks[mask], to, false, &f->id);

	if (ret != -EEXIST) {
		assert_int_equal(ret, 0);
		f->live = true;
	}
}

/* Port that the model sends to; 0: drop, 1: no flow. */
static unsigned expect(const struct odp_key *k)
{
	const struct model *best = NULL;

	for (unsigned i = 0; i < N_FLOWS; i++) {
		const struct model *f = &flows[i];
		struct odp_key mk;

		if (!f->live)
			continue;
		mk = masked(k, &masks[f->mask]);
		if (memcmp(&mk, &f->key, sizeof(mk)) != 0)
			continue;
		if (!best || bits[f->mask] > bits[best->mask] ||
			(bits[f->mask] == bits[best->mask] && age[f->mask] < age[best->mask]))
			best = f;
	}
	return best ? best->to : 1;
}

static void against_model(void **state)
{
	struct odp_worker *w = odp_worker(dp, 0);
	unsigned hits = 0;

	(void)state;
	srand(42);
	make_masks();
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned want[5] = { 0 }, n = 1 + (unsigned)rand() % ODP_BURST;

		if (rand() % 3 == 0)
			change_one();
		if (round % 100 == 0)
			odp_tick(dp);
		for (unsigned i = 0; i < n; i++) {
			uint8_t f[64];
			struct odp_key k;

			random_frame(f, &k);
			fake_port_push(&p[0], pool, f, 60);
			want[expect(&k)]++;
		}
		odp_worker_turn(w);
		for (unsigned i = 1; i < 4; i++) {
			assert_int_equal(p[i].n_out, want[i + 1]);
			hits += p[i].n_out;
			fake_port_reset(&p[i]);
		}
	}
	assert_true(hits > ROUNDS);
	struct odp_stats s;

	odp_stats(dp, &s);
	assert_true(s.emc_hits > 0 && s.mega_hits > 0 && s.misses > 0);
}

static void validation(void **state)
{
	struct odp_key k, m;
	size_t at;

	(void)state;
	assert_int_equal(
		odp_key_parse(dp, "in_port(1),eth_type(0x0800),ipv4(src=10.0.0.0/8)", &k, &m, &at),
		0);
	assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", NULL), 0);
	assert_int_equal(odp_flow_del(dp, &k, &m), 0);
	assert_int_equal(odp_flow_del(dp, &k, &m), -ENOENT);
	m.tp_dst = dpu_be16_put(0xffff); // ports without a protocol
	assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", NULL), -EINVAL);
	m.tp_dst = dpu_be16_put(0);
	m.eth_type = dpu_be16_put(0xff00); // addresses without a protocol
	assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", NULL), -EINVAL);
	memset(&m, 0, sizeof(m));
	assert_int_equal(fake_put(dp, &k, &m, "77", true, NULL), -ENODEV);
}

/* Every allocation of a put fails in turn; the table stays as it was. */
static void out_of_memory(void **state)
{
	struct odp_key k, m;
	size_t at;
	unsigned n = dp->n_flows;
	int ret = -ENOMEM;

	(void)state;
	assert_int_equal(
		odp_key_parse(
			dp, "in_port(3),eth(dst=02:00:00:00:00:99/ff:ff:ff:00:00:ff)", &k, &m, &at),
		0);
	for (long i = 0; ret == -ENOMEM; i++) {
		dpu_alloc_fail_after(i);
		ret = odp_flow_put(dp, &k, &m, NULL, 0, false, "operator", NULL);
		assert_true(i < 100);
		assert_int_equal(dp->n_flows, ret ? n : n + 1);
	}
	dpu_alloc_fail_after(-1);
	assert_int_equal(ret, 0);
	assert_int_equal(odp_flow_del(dp, &k, &m), 0);
}

static struct odp_subtable *subtable_of(const struct odp_key *k, const struct odp_key *m)
{
	struct odp_compact c;

	odp_compact(&c, k, m, false);
	for (unsigned i = 0; i < dp->subtables->top; i++) {
		struct odp_subtable *st = dp->subtables->st[i];

		if (st && st->port == c.port && st->map == c.map)
			return st;
	}
	return NULL;
}

/* Flows in a table, and of those the ones that are not in the first bucket of their hash. */
static unsigned in_table(const struct odp_subtable *st, unsigned *second)
{
	uintptr_t t = atomic_load(&st->table);
	unsigned n = 0;

	*second = 0;
	for (uint32_t i = 0; i <= odp_table_mask(t); i++) {
		struct odp_bucket *b = &odp_table_buckets(t)[i];

		for (unsigned way = 0; way < BUCKET_WAYS; way++)
			if (atomic_load(&b->flow[way])) {
				n++;
				*second += odp_table_first(t, atomic_load(&b->hash[way])) != b;
			}
	}
	return n;
}

/* A put that fails puts nothing where workers look: what they have found cannot be taken back. */
static void failed_put_was_never_seen(void **state)
{
	static const char *const texts[2] = { "in_port(3),eth(src=02:00:00:00:01:01)",
		"in_port(3),eth(src=02:00:00:00:01:02)" };
	struct odp_key k[2], m;
	unsigned fails = 0, second;
	int ret = -ENOMEM;
	size_t at;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(odp_key_parse(dp, texts[i], &k[i], &m, &at), 0);
	assert_int_equal(odp_flow_put(dp, &k[0], &m, NULL, 0, false, "operator", NULL), 0);
	const struct odp_subtable *st = subtable_of(&k[0], &m);

	assert_non_null(st);
	for (; ret == -ENOMEM; fails++) {
		unsigned used = in_table(st, &second);
		const struct odp_view *v = atomic_load(&dp->view);
		uint32_t gen = atomic_load(&v->gen);

		odp_reclaim(dp);
		dpu_alloc_fail_after(fails);
		ret = odp_flow_put(dp, &k[1], &m, NULL, 0, false, "operator", NULL);
		dpu_alloc_fail_after(-1);
		assert_int_equal(in_table(st, &second), ret ? used : used + 1);
		v = atomic_load(&dp->view);
		assert_int_equal(atomic_load(&v->gen) != gen, ret == 0);
		// Nor does a flow wait for workers to let go of it.
		for (unsigned i = 0; i < dp->n_deferred; i++)
			assert_null(dp->deferred[i].flow);
	}
	assert_int_equal(ret, 0);
	assert_true(fails > 1); // the action list at least
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(odp_flow_del(dp, &k[i], &m), 0);
}

/* Of keys made to collide under a CRC no more meet in one place than of any others. */
static void chosen_keys_spread(void **state)
{
	enum { KEYS = 8192 };
	static uint8_t mac[KEYS][12];
	struct odp_key m, k;
	unsigned second;

	(void)state;
	assert_int_equal(crc_collide(mac, KEYS, 2, UINT32_MAX), 0);
	memset(&m, 0, sizeof(m));
	memset(&k, 0, sizeof(k));
	m.in_port = UINT32_MAX;
	memset(m.eth_dst, 0xff, sizeof(m.eth_dst) + sizeof(m.eth_src));
	k.in_port = 4;
	for (unsigned i = 0; i < KEYS; i++) {
		memcpy(k.eth_dst, mac[i], 12);
		assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, false, "test", NULL), 0);
	}
	const struct odp_subtable *st = subtable_of(&k, &m);

	assert_non_null(st);
	assert_int_equal(in_table(st, &second), KEYS);
	assert_in_range(second, 0, KEYS / 16);
	// Nor did the table grow to make room for them.
	assert_in_range(odp_table_mask(atomic_load(&st->table)), 0, KEYS / 2);
	assert_int_equal(odp_flow_flush(dp, "test"), KEYS);
}

/* The same for the learning switch's addresses: no bucket gets more than chance gives it. */
static void chosen_addresses_spread(void **state)
{
	enum { ADDRS = 4096, BUCKETS = 16384, CHAIN = 16 };
	static uint8_t mac[ADDRS][12], n[BUCKETS];
	unsigned longest = 0;

	(void)state;
	assert_int_equal(crc_collide(mac, ADDRS, 1, BUCKETS - 1), 0);
	for (unsigned i = 0; i < ADDRS; i++) {
		struct odp_addr a = { .vlan = 0 };

		memcpy(a.mac, mac[i], sizeof(a.mac));
		uint8_t *b = &n[odp_addr_hash(&dp->seed, &a) % BUCKETS];

		longest = ++*b > longest ? *b : longest;
	}
	assert_in_range(longest, 1, CHAIN);
}

/* No two datapaths hash alike. */
static void seeds_differ(void **state)
{
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp *other;

	(void)state;
	assert_int_equal(odp_create(&conf, &other), 0);
	assert_memory_not_equal(&other->seed, &dp->seed, sizeof(other->seed));
	assert_true(other->seed.mul & 1);
	odp_destroy(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(against_model),
		cmocka_unit_test(validation), cmocka_unit_test(out_of_memory),
		cmocka_unit_test(failed_put_was_never_seen), cmocka_unit_test(chosen_keys_spread),
		cmocka_unit_test(chosen_addresses_spread), cmocka_unit_test(seeds_differ) };
	static const char *const names[4] = { "p1", "p2", "p3", "p4" };

	pool = fake_eal(8191);
	struct odp_conf conf = { .n_workers = 1, .pool = pool };

	if (odp_create(&conf, &dp) < 0)
		return 1;
	for (unsigned i = 0; i < 4; i++)
		fake_port_add(&p[i], dp, odp_worker(dp, 0), names[i]);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	for (unsigned i = 0; i < 4; i++)
		fake_port_del(&p[i], odp_worker(dp, 0));
	odp_destroy(dp);
	return failed;
}
