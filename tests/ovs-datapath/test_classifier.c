// SPDX-License-Identifier: Apache-2.0
/*
 * The flow table and its caches against a linear model (random_flows.h): flows over all fields that
 * a key has come, go and change under random masks, while keys are looked up by themselves, and
 * packets with metadata through whole turns.
 */
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "classifier.h"
#include "crc_keys.h"
#include "dpu_alloc.h"
#include "extract.h"
#include "meta.h"
#include "random_flows.h"
#include "recirc.h"
#include "tx.h"

#ifdef TEST_SANITIZED
#define ROUNDS 4000u
#else
#define ROUNDS 40000u
#endif
#define EPOCH 400u // rounds with one set of packets
#define PROTOS 48u // packets that others are made of
#define N_PORTS 4u

static struct rte_mempool *pool;
static struct odp *dp;
static struct fake_port p[N_PORTS];
static struct rnd_flows flows;
static struct hostile rnd = { .state = 0x2545f4914f6cdd1d };

/* ---- packets, and flows that they meet ---- */

static struct proto {
	size_t len;
	uint8_t f[HOSTILE_MAX];
	uint32_t port;
	struct odp_key key; // with metadata
} protos[PROTOS];

/* What of keys the flows of now may look at: the paths through extraction and caches differ. */
static struct odp_kw scope;
static bool whole; // nothing is left out
/*
 * Where an operator's flow may come first the signature cache is not asked. Flows of others do not
 * overlap.
 */
static const char *origin = "operator";

static void all_words(bool on)
{
	memset(&scope, on ? 0xff : 0, sizeof(scope));
}

/* Few words, so that the exact-match cache has room for them. */
static void some_words(void)
{
	all_words(false);
	for (unsigned i = 0; i < 16; i++)
		scope.w[hostile_below(&rnd, ODP_KEY_WORDS)] = ~0ull;
	for (unsigned i = 0; i <= ODP_KEY_L2_WORDS; i++) // what other fields depend on
		scope.w[i] = ~0ull;
}

static void new_scope(unsigned epoch)
{
	origin = epoch / 4 % 2 ? "test" : "operator";
	whole = epoch % 4 == 3;
	all_words(whole);
	if (epoch % 4 == 2)
		some_words();
	for (unsigned i = 0; epoch % 4 < 2 && i < ODP_KEY_META_WORD; i++)
		scope.w[i] = epoch % 4 == 1 || i < ODP_KEY_L2_WORDS ? ~0ull : 0;
}

static bool extract(const uint8_t *f, size_t len, uint32_t port, uint64_t want, struct odp_key *k)
{
	size_t n = len < ODP_EXTRACT_MAX ? len : ODP_EXTRACT_MAX;

	return odp_extract(f, n, len, port, 0, want, k) == 0;
}

static void new_proto(struct proto *pr)
{
	memset(pr, 0, sizeof(*pr));
	do {
		hostile_next(&rnd);
		pr->port = 1 + hostile_below(&rnd, N_PORTS);
	} while (!extract(rnd.f, rnd.len, pr->port, ODP_WANT_ALL, &pr->key));
	memcpy(pr->f, rnd.f, rnd.len);
	pr->len = rnd.len;
	rnd_meta(&rnd, &pr->key);
}

static uint64_t n_put, n_del, n_replaced;
static uint8_t masked[sizeof(struct odp_key)]; // bits of all masks that were put

/* For a flow of this key: a packet without an Ethernet header goes out by no port. */
static uint32_t any_ports(const struct odp_kw *k)
{
	return rnd_typed(k) ? 0 : hostile_below(&rnd, 1u << N_PORTS) << 1;
}

/* Some packet may meet both this and a flow that is there; or nearly all packets meet it. */
static bool overlaps(const struct odp_kw *k, const struct odp_kw *m)
{
	for (unsigned i = 0; i < flows.n; i++) {
		const struct rnd_flow *f = &flows.f[i];
		uint64_t diff = 0;

		for (unsigned w = 0; w < ODP_KEY_WORDS; w++)
			diff |= (f->key.w[w] ^ k->w[w]) & f->mask.w[w] & m->w[w];
		if (f->live && diff == 0)
			return true;
	}
	return rnd_count(m) < 24;
}

static void put_one(struct rnd_flow *f)
{
	struct odp_key k = protos[hostile_below(&rnd, PROTOS)].key, m;
	struct odp_kw kw, mw;

	if (hostile_below(&rnd, 8) == 0 && scope.w[ODP_KEY_TYPE_WORD]) // as if it had no header
		k.packet_type = dpu_be32_put(ODP_PACKET_TYPE(dpu_be16_get(k.eth_type)));
	rnd_mask_all(&rnd, &k, &m);
	kw = odp_kw(&k);
	mw = odp_kw(&m);
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		mw.w[i] &= scope.w[i];
	memcpy(&m, &mw, sizeof(m));
	if (strcmp(origin, "operator") != 0 && overlaps(&kw, &mw))
		return;
	int ret = rnd_put(dp, &flows, f, &k, &m, any_ports(&kw), origin);

	if (ret == -EINVAL)
		assert_false(whole); // what other fields depend on was taken out of the mask
	else if (ret != -EEXIST)
		assert_int_equal(ret, 0);
	n_put += ret == 0;
	for (size_t i = 0; ret == 0 && i < sizeof(masked); i++)
		masked[i] |= ((uint8_t *)&m)[i];
}

/* Other actions for a flow that is there; it stays the same flow. */
static void replace_one(struct rnd_flow *f)
{
	struct odp_actbuf acts = { 0 };
	struct odp_key k, m;
	uint64_t id;

	memcpy(&k, &f->key, sizeof(k));
	memcpy(&m, &f->mask, sizeof(m));
	f->ports = any_ports(&f->key);
	for (uint32_t no = 1; no <= N_PORTS; no++)
		if (f->ports & 1u << no)
			odp_actbuf_output(&acts, no);
	assert_int_equal(
		odp_flow_put(dp, &k, &m, odp_actbuf_list(&acts), acts.len, true, origin, &id), 0);
	assert_int_equal(id, f->id);
	odp_actbuf_fini(&acts);
	n_replaced++;
}

static void change_one(void)
{
	struct rnd_flow *f = &flows.f[hostile_below(&rnd, RND_FLOWS)];

	flows.n = RND_FLOWS;
	if (!f->live) {
		put_one(f);
	} else if (hostile_below(&rnd, 3) == 0) {
		replace_one(f);
	} else {
		assert_int_equal(odp_flow_del_id(dp, f->id), 0);
		f->live = false;
		n_del++;
	}
}

static void new_epoch(unsigned epoch)
{
	(void)odp_flow_flush(dp, origin);
	memset(&flows, 0, sizeof(flows));
	new_scope(epoch);
	for (unsigned i = 0; i < PROTOS; i++)
		new_proto(&protos[i]);
	for (unsigned i = 0; i < 2 * RND_FLOWS; i++)
		change_one();
	odp_tick(dp);
}

/* ---- keys, without packets: all of a key ---- */

static uint64_t n_found, n_nothing, n_decided[ODP_KEY_WORDS * 8];

static uint64_t id_of(const struct odp_flow *f)
{
	return f ? f->id : 0;
}

static uint64_t wanted(const struct odp_kw *k)
{
	const struct rnd_flow *f = rnd_find(&flows, k);

	return f ? f->id : 0;
}

/* In a burst and alone. */
static void look_up(const struct odp_kw *k, unsigned n)
{
	const struct odp_view *v = atomic_load(&dp->view);
	const struct odp_kw *key[ODP_BURST];
	struct odp_flow *got[ODP_BURST] = { NULL }, *bare;
	uint32_t todo = 0;

	for (unsigned i = 0; i < n; i++) {
		key[i] = &k[i];
		todo |= (uint32_t)!rnd_typed(&k[i]) << i;
	}
	(void)odp_classifier_lookup_burst(v, key, todo, got);
	for (unsigned i = 0; i < n; i++) {
		uint64_t want = wanted(&k[i]);

		(void)odp_classifier_lookup_bare(v, &k[i], &bare);
		if (rnd_typed(&k[i])) {
			assert_int_equal(id_of(bare), want);
		} else {
			assert_int_equal(id_of(got[i]), want);
			assert_int_equal(id_of(odp_classifier_lookup(v, &k[i])), want);
		}
		n_found += want != 0;
		n_nothing += want == 0;
	}
}

/* A bit that the flow of a key looks at, turned over: mostly it is another flow's key then. */
static void turn_over(struct odp_kw *k)
{
	const struct rnd_flow *f = rnd_find(&flows, k);
	uint64_t was = f ? f->id : 0;
	unsigned byte, bit = 0;

	if (!f || f->bits == 0)
		return;
	do {
		byte = hostile_below(&rnd, sizeof(*k));
	} while (!((const uint8_t *)&f->mask)[byte]);
	do {
		bit = hostile_below(&rnd, 8);
	} while (!(((const uint8_t *)&f->mask)[byte] & 1u << bit));
	((uint8_t *)k)[byte] ^= (uint8_t)(1u << bit);
	n_decided[byte] += wanted(k) != was;
}

static void any_key(struct odp_kw *k)
{
	struct odp_key key = protos[hostile_below(&rnd, PROTOS)].key;

	if (hostile_below(&rnd, 4) == 0)
		key.packet_type = dpu_be32_put(ODP_PACKET_TYPE(dpu_be16_get(key.eth_type)));
	*k = odp_kw(&key);
	for (unsigned n = hostile_below(&rnd, 4); n; n--)
		turn_over(k);
}

/* Bytes of fields that no mask had, or that never made a difference. */
static unsigned forgotten(bool tell)
{
	unsigned n = 0;

	for (size_t i = 0; i < sizeof(struct odp_key); i++) {
		if (rnd_pad(i) || (masked[i] && n_decided[i]))
			continue;
		if (tell)
			print_message("byte %zu of the key: %s\n", i,
				masked[i] ? "decides nothing" : "in no mask");
		n++;
	}
	return n;
}

/* Until all of a key was looked at, within reason. */
static bool more(unsigned round)
{
	return round < ROUNDS || (round < 20 * ROUNDS && (round % EPOCH || forgotten(false)));
}

static void every_field(void **state)
{
	(void)state;
	memset(masked, 0, sizeof(masked));
	for (unsigned round = 0; more(round); round++) {
		struct odp_kw k[ODP_BURST];
		unsigned n = 1 + hostile_below(&rnd, ODP_BURST);

		if (round % EPOCH == 0)
			new_epoch(round / EPOCH * 4 + 3); // all of it
		if (hostile_below(&rnd, 2))
			change_one();
		if (round % 100 == 0)
			odp_tick(dp);
		for (unsigned i = 0; i < n; i++)
			any_key(&k[i]);
		look_up(k, n);
	}
	print_message(
		"%lu flows put, %lu deleted, %lu replaced; %lu lookups with a flow, %lu without\n",
		(unsigned long)n_put, (unsigned long)n_del, (unsigned long)n_replaced,
		(unsigned long)n_found, (unsigned long)n_nothing);
	assert_int_equal(forgotten(true), 0);
	assert_true(n_found > ROUNDS && n_nothing > ROUNDS);
}

/* ---- packets, through whole turns: extraction and all caches ---- */

/* The words that any flow looks at. False: headers that they are in are no good. */
static bool key_of(
	const uint8_t *f, size_t len, uint32_t port, const struct odp_key *meta, struct odp_kw *k)
{
	const struct odp_view *v = atomic_load(&dp->view);
	struct odp_key key = { 0 };
	bool ok = extract(f, len, port, v->map | ODP_WANT_L2, &key);

	if (meta) {
		memcpy((uint8_t *)&key + ODP_KEY_META_WORD * 8,
			(const uint8_t *)meta + ODP_KEY_META_WORD * 8,
			sizeof(key) - ODP_KEY_META_WORD * 8);
		key.recirc_id = meta->recirc_id;
	}
	*k = odp_kw(&key);
	return ok;
}

/* As if it came round again with what is known of it. */
static void again(const uint8_t *f, size_t len, const struct proto *pr)
{
	struct odp_worker *w = odp_worker(dp, 0);
	struct odp_meta meta = { 0 };
	struct odp_from from = { .in = odp_pw(w, pr->port) };
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)len), f, len);
	memcpy((uint8_t *)&meta.key + ODP_KEY_META_WORD * 8,
		(const uint8_t *)&pr->key + ODP_KEY_META_WORD * 8,
		sizeof(meta.key) - ODP_KEY_META_WORD * 8);
	meta.key.in_port = pr->port;
	meta.map = odp_kw_map(&meta.kw) & ODP_KEY_META_BITS;
	odp_recirc(w, &from, pr->key.recirc_id, &meta, &m, 1);
}

/* A packet like one of those that flows were made for, or off by a bit; adds where it has to go. */
static void one_packet(unsigned want[N_PORTS])
{
	const struct proto *pr = &protos[hostile_below(&rnd, PROTOS)];
	const struct rnd_flow *flow = NULL;
	uint8_t f[HOSTILE_MAX];
	bool fresh = hostile_below(&rnd, 2);
	struct odp_kw k;

	memcpy(f, pr->f, pr->len);
	if (hostile_below(&rnd, 4) == 0) {
		unsigned bit = hostile_below(&rnd, (uint32_t)pr->len * 8);

		f[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	if (key_of(f, pr->len, pr->port, fresh ? NULL : &pr->key, &k))
		flow = rnd_find(&flows, &k);
	for (unsigned i = 0; flow && i < N_PORTS; i++)
		want[i] += flow->ports >> (i + 1) & 1;
	if (fresh)
		fake_port_push(&p[pr->port - 1], pool, f, pr->len);
	else
		again(f, pr->len, pr);
}

/* Queues whose packets are much work rest; what comes round again may be all that there is. */
static void settle(void)
{
	struct odp_worker *w = odp_worker(dp, 0);
	unsigned left;

	do {
		(void)odp_worker_turn(w);
		left = 0;
		for (unsigned i = 0; i < N_PORTS; i++)
			left += p[i].n_in - p[i].in_at;
	} while (left > 0);
	odp_recirc_run(w);
	odp_lanes_flush(w);
}

static void through_turns(void **state)
{
	unsigned sent = 0;
	struct odp_stats was, s;

	(void)state;
	odp_stats(dp, &was);
	for (unsigned round = 0; round < ROUNDS / 4; round++) {
		unsigned want[N_PORTS] = { 0 };

		if (round % (EPOCH / 4) == 0)
			new_epoch(round / (EPOCH / 4));
		if (hostile_below(&rnd, 3) == 0)
			change_one();
		if (round % 100 == 0)
			odp_tick(dp);
		for (unsigned n = 1 + hostile_below(&rnd, 2 * ODP_BURST); n; n--)
			one_packet(want);
		settle();
		for (unsigned i = 0; i < N_PORTS; i++) {
			assert_int_equal(p[i].n_out, want[i]);
			sent += want[i];
			fake_port_reset(&p[i]);
		}
	}
	odp_stats(dp, &s);
	print_message("%u packets sent; cache %lu, table %lu, no flow %lu\n", sent,
		(unsigned long)(s.emc_hits - was.emc_hits),
		(unsigned long)(s.mega_hits - was.mega_hits),
		(unsigned long)(s.misses - was.misses));
	assert_true(sent > ROUNDS);
	assert_true(s.emc_hits - was.emc_hits > ROUNDS / 8 && s.misses > was.misses);
	assert_true(s.mega_hits - was.mega_hits > ROUNDS / 8);
	(void)odp_flow_flush(dp, origin);
	memset(&flows, 0, sizeof(flows));
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

static bool has_mask(const struct odp_subtable *st, const struct odp_compact *c)
{
	unsigned n = 0;

	if (st->port != c->port || st->map != c->map || st->leaving)
		return false;
	for (uint64_t map = c->map; map; map &= map - 1)
		if (st->w[n++] != c->mask.w[__builtin_ctzll(map)])
			return false;
	return true;
}

static struct odp_subtable *subtable_of(const struct odp_key *k, const struct odp_key *m)
{
	struct odp_compact c;

	odp_compact(&c, k, m, false);
	for (unsigned i = 0; i < dp->subtables->top; i++) {
		struct odp_subtable *st = dp->subtables->st[i];

		if (st && has_mask(st, &c))
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
	// Nor did the table grow without end to make room for them. By chance one in 70 seeds leads
	// to 8192 buckets rather than 4096; more than 65536 less than one in 10^9.
	assert_in_range(odp_table_mask(atomic_load(&st->table)), 0, 8 * KEYS - 1);
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_field),
		cmocka_unit_test(through_turns), cmocka_unit_test(validation),
		cmocka_unit_test(out_of_memory), cmocka_unit_test(failed_put_was_never_seen),
		cmocka_unit_test(chosen_keys_spread), cmocka_unit_test(chosen_addresses_spread),
		cmocka_unit_test(seeds_differ) };
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
