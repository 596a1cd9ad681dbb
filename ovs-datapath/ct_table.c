// SPDX-License-Identifier: Apache-2.0
/*
 * The table of connections: keys in buckets, memory of connections, and who may use it again when.
 *
 * A removed connection waits until every worker that is online has been between two turns twice
 * over (two epochs): by then nobody holds a pointer to it, so that its keys may be written. Free
 * ones are kept by workers, and handed between them in batches through a stack.
 */
#include "ct_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

#define KEEP (3 * CT_BATCH) // free connections that a worker keeps
#define PROBES 16u // places looked at for one to give up
#define ZONE_PROBES 32u // the same, where most places may be empty

/* ---- keys ---- */

static uint64_t slot_word(
	const struct odp_ct *ct, const struct odp_conn *c, unsigned dir, uint64_t h)
{
	return (h >> 32 << 32) | ((ct_idx(ct, c) << 1 | dir) + 1);
}

/* The connection of a word whose key is `key`, in any life but a finished one. */
static struct odp_conn *slot_match(const struct odp_ct *ct, uint64_t v,
	const struct odp_ct_key *key, uint64_t h, unsigned *dir)
{
	if (v >> 32 != h >> 32 || (uint32_t)v == 0)
		return NULL;
	struct odp_conn *c = &ct->conns[((uint32_t)v - 1) >> 1];

	*dir = ((uint32_t)v - 1) & 1;
	return ct_key_eq(ct_conn_key(c, *dir), key) ? c : NULL;
}

struct odp_conn *odp_ct_find(struct odp_ct *ct, struct ct_worker *w, const struct odp_ct_key *key,
	uint64_t h, uint64_t now_ms, unsigned *dir)
{
	for (struct ct_probe at = ct_probe(ct, h); at.left; at.left &= at.left - 1) {
		// Acquire: pairs with the compare-and-swap in claim(), after the keys.
		uint64_t v = atomic_load_explicit(ct_probe_slot(&at), memory_order_acquire);
		struct odp_conn *c = slot_match(ct, v, key, h, dir);

		if (!c || ct_life(c) != CT_LIVE)
			continue;
		if (!ct_due(c, now_ms))
			return c;
		if (odp_ct_kill(ct, w, c))
			dpu_counter_add(&w->n.expired, 1);
	}
	return NULL;
}

struct odp_conn *odp_ct_seek(
	const struct odp_ct *ct, const struct odp_ct_key *key, uint64_t now_ms, unsigned *dir)
{
	uint64_t h = ct_hash(ct, key);

	for (struct ct_probe at = ct_probe(ct, h); at.left; at.left &= at.left - 1) {
		uint64_t v = atomic_load_explicit(ct_probe_slot(&at), memory_order_acquire);
		struct odp_conn *c = slot_match(ct, v, key, h, dir);

		if (c && ct_life(c) == CT_LIVE && !ct_due(c, now_ms))
			return c;
	}
	return NULL;
}

/* A packet that was translated looks as one that its answer would be turned around. */
struct odp_conn *odp_ct_seek_was(
	const struct odp_ct *ct, const struct odp_ct_pkt *p, uint64_t now_ms, unsigned *dir)
{
	struct odp_ct_key back;
	struct odp_conn *c;
	size_t off;

	if (!odp_ct_icmp_is_error(&p->key))
		odp_ct_key_reverse(&p->key, &back);
	else if (!odp_ct_icmp_inner(p, &back, &off)) // which goes against the error
		return NULL;
	c = odp_ct_seek(ct, &back, now_ms, dir);
	*dir = !*dir;
	return c && !(CT_GET(c->flags) & (CT_F_EXPECT | CT_F_ANCHOR)) ? c : NULL;
}

/* Words with this key but `mine`, of connections that live or are about to. */
static bool others(const struct odp_ct *ct, const struct odp_ct_key *key, uint64_t h, uint64_t mine)
{
	// In one order with claim(): of two that claim, one at least sees the other. With vectors,
	// that is on x86, it is the claim that keeps the order: no load goes ahead of it.
	atomic_signal_fence(memory_order_seq_cst);
	for (struct ct_probe at = ct_probe(ct, h); at.left; at.left &= at.left - 1) {
		uint64_t v = atomic_load_explicit(ct_probe_slot(&at), memory_order_seq_cst);
		unsigned dir;
		const struct odp_conn *c = v == mine ? NULL : slot_match(ct, v, key, h, &dir);

		if (c && ct_life(c) != CT_DEAD)
			return true;
	}
	return false;
}

struct odp_conn *odp_ct_lookup(const struct odp_ct *ct, const struct odp_ct_key *key)
{
	uint64_t h = ct_hash(ct, key);

	for (struct ct_probe at = ct_probe(ct, h); at.left; at.left &= at.left - 1) {
		uint64_t v = atomic_load_explicit(ct_probe_slot(&at), memory_order_acquire);
		unsigned dir;
		struct odp_conn *c = slot_match(ct, v, key, h, &dir);

		if (c && ct_life(c) == CT_LIVE)
			return c;
	}
	return NULL;
}

static unsigned fill_of(const struct ct_bucket *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CT_SLOTS; i++)
		n += CT_GET(b->slot[i]) != 0;
	return n;
}

static bool claim(struct ct_bucket *b, uint64_t v)
{
	for (unsigned i = 0; i < CT_SLOTS; i++) {
		uint64_t none = 0;

		if (CT_GET(b->slot[i]) == 0 &&
			atomic_compare_exchange_strong_explicit(
				&b->slot[i], &none, v, memory_order_seq_cst, memory_order_relaxed))
			return true;
	}
	return false;
}

static void unclaim(struct ct_bucket *b, uint64_t v)
{
	for (unsigned i = 0; i < CT_SLOTS; i++)
		if (CT_GET(b->slot[i]) == v)
			atomic_store_explicit(&b->slot[i], 0, memory_order_release);
}

void odp_ct_withdraw(struct odp_ct *ct, struct odp_conn *c, unsigned dir)
{
	uint64_t h = ct_hash(ct, ct_conn_key(c, dir)), v = slot_word(ct, c, dir, h);

	unclaim(&ct->buckets[ct_bucket1(ct, h)], v);
	unclaim(&ct->buckets[ct_bucket2(ct, h)], v);
}

int odp_ct_insert(struct odp_ct *ct, struct odp_conn *c, unsigned dir)
{
	const struct odp_ct_key *key = ct_conn_key(c, dir);
	uint64_t h = ct_hash(ct, key);

	return others(ct, key, h, slot_word(ct, c, dir, h)) ? -EEXIST
							    : odp_ct_insert_new(ct, c, dir);
}

int odp_ct_insert_new(struct odp_ct *ct, struct odp_conn *c, unsigned dir)
{
	const struct odp_ct_key *key = ct_conn_key(c, dir);
	uint64_t h = ct_hash(ct, key), v = slot_word(ct, c, dir, h);
	struct ct_bucket *b1 = &ct->buckets[ct_bucket1(ct, h)];
	struct ct_bucket *b2 = &ct->buckets[ct_bucket2(ct, h)];

	// The emptier of the two: that keeps a table half full from ever having a full pair.
	if (fill_of(b2) < fill_of(b1)) {
		struct ct_bucket *t = b1;

		b1 = b2;
		b2 = t;
	}
	if (!claim(b1, v) && !claim(b2, v))
		return -ENOSPC;
	if (!others(ct, key, h, v))
		return 0;
	odp_ct_withdraw(ct, c, dir);
	return -EAGAIN;
}

/* ---- memory ---- */

/* Hand on a list of n. */
static void stack_push(struct odp_ct *ct, uint32_t head, uint32_t n)
{
	uint64_t old = atomic_load_explicit(&ct->stack, memory_order_relaxed), new;

	CT_SET(ct->conns[head].mark, n);
	do {
		CT_SET(ct->conns[head].link_life, (uint32_t)old);
		new = ((old >> 32) + 1) << 32 | (head + 1);
		// Release: the batch's links, for the acquire in stack_pop().
	} while (!atomic_compare_exchange_weak_explicit(
		&ct->stack, &old, new, memory_order_release, memory_order_relaxed));
	atomic_fetch_add_explicit(&ct->n_stacked, n, memory_order_relaxed);
}

static uint32_t stack_pop(struct odp_ct *ct)
{
	uint64_t old = atomic_load_explicit(&ct->stack, memory_order_acquire), new;

	do {
		if ((uint32_t)old == 0)
			return CT_NONE;
		// Another worker may have popped this one, and its link be anything: then the tag
		// has moved on.
		new = ((old >> 32) + 1) << 32 | CT_GET(ct->conns[(uint32_t)old - 1].link_life);
	} while (!atomic_compare_exchange_weak_explicit(
		&ct->stack, &old, new, memory_order_acquire, memory_order_acquire));
	return (uint32_t)old - 1;
}

/* Hand on up to n of a worker's free ones. */
static void share(struct odp_ct *ct, struct ct_worker *w, uint32_t n)
{
	uint32_t head = w->free_head, last = head;

	for (uint32_t i = 1; i < n; i++)
		last = CT_GET(ct->conns[last].link);
	w->free_head = CT_GET(ct->conns[last].link);
	w->n_free -= n;
	CT_SET(ct->conns[last].link, CT_NONE);
	stack_push(ct, head, n);
}

static void give(struct odp_ct *ct, struct ct_worker *w, uint32_t idx)
{
	CT_SET(ct->conns[idx].link, w->free_head);
	w->free_head = idx;
	if (++w->n_free >= KEEP)
		share(ct, w, CT_BATCH);
}

static bool fetch(struct odp_ct *ct, struct ct_worker *w)
{
	uint32_t head = stack_pop(ct);

	if (head != CT_NONE) {
		w->free_head = head;
		w->n_free = CT_GET(ct->conns[head].mark);
		atomic_fetch_sub_explicit(&ct->n_stacked, w->n_free, memory_order_relaxed);
		return true;
	}
	uint32_t from = CT_GET(ct->n_fresh);

	do {
		if (from >= ct->max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&ct->n_fresh, &from,
		from + CT_BATCH < ct->max ? from + CT_BATCH : ct->max, memory_order_relaxed,
		memory_order_relaxed));
	for (uint32_t i = from; i < from + CT_BATCH && i < ct->max; i++) {
		CT_SET(ct->conns[i].link, w->free_head);
		w->free_head = i;
		w->n_free++;
	}
	return true;
}

/* Connections that this worker cannot have: those in use, and what others keep. */
static uint32_t in_use(const struct odp_ct *ct, const struct ct_worker *w)
{
	uint32_t fresh = CT_GET(ct->n_fresh), spare = CT_GET(ct->n_stacked) + w->n_free;

	return fresh > spare ? fresh - spare : 0;
}

struct odp_conn *odp_ct_alloc(struct odp_ct *ct, struct ct_worker *w)
{
	if (w->n_free == 0 && !fetch(ct, w))
		return NULL;
	struct odp_conn *c = &ct->conns[w->free_head];

	w->free_head = CT_GET(c->link);
	w->n_free--;
	CT_SET(c->link, CT_NONE);
	CT_SET(c->link_life, 0);
	CT_SET(c->flags, CT_TENTATIVE);
	return c;
}

/* ---- epochs ---- */

static void release(struct odp_ct *ct, struct ct_worker *w, unsigned list)
{
	uint32_t idx = w->limbo_head[list];

	w->limbo_head[list] = CT_NONE;
	while (idx != CT_NONE) {
		uint32_t next = CT_GET(ct->conns[idx].link);

		CT_SET(ct->conns[idx].flags, CT_FREE);
		give(ct, w, idx);
		idx = next;
	}
}

/* After the last word that leads to `c` was cleared. */
static void bury(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c)
{
	uint64_t e = atomic_load_explicit(&ct->epoch, memory_order_seq_cst);
	unsigned list = (unsigned)(e % 3);

	if (w->limbo_epoch[list] != e) {
		release(ct, w, list); // three epochs old
		w->limbo_epoch[list] = e;
	}
	CT_SET(c->link, w->limbo_head[list]);
	w->limbo_head[list] = ct_idx(ct, c);
}

void odp_ct_unalloc(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c)
{
	CT_SET(c->flags, CT_DEAD); // a reader may have seen it by a word that was taken back
	bury(ct, w, c);
}

static void advance(struct odp_ct *ct)
{
	uint64_t e = atomic_load_explicit(&ct->epoch, memory_order_seq_cst);

	for (unsigned i = 0; i < ct->n_workers; i++) {
		uint64_t seen = atomic_load_explicit(&ct->workers[i].seen, memory_order_seq_cst);

		if (seen != e && seen != CT_OFFLINE)
			return;
	}
	atomic_compare_exchange_strong_explicit(
		&ct->epoch, &e, e + 1, memory_order_seq_cst, memory_order_relaxed);
}

void odp_ct_quiescent(struct odp_ct *ct, unsigned worker)
{
	struct ct_worker *w = &ct->workers[worker];
	uint64_t e = atomic_load_explicit(&ct->epoch, memory_order_seq_cst);

	if (CT_GET(w->seen) != e)
		atomic_store_explicit(&w->seen, e, memory_order_seq_cst);
	bool waiting = false;

	for (unsigned i = 0; i < 3; i++) {
		if (w->limbo_head[i] == CT_NONE)
			continue;
		if (w->limbo_epoch[i] + 2 <= e)
			release(ct, w, i);
		else
			waiting = true;
	}
	if (waiting || CT_GET(ct->hurry))
		advance(ct);
}

void odp_ct_offline(struct odp_ct *ct, unsigned worker)
{
	struct ct_worker *w = &ct->workers[worker];

	odp_ct_quiescent(ct, worker);
	while (w->n_free) // others may need them meanwhile
		share(ct, w, w->n_free < CT_BATCH ? w->n_free : CT_BATCH);
	atomic_store_explicit(&w->seen, CT_OFFLINE, memory_order_seq_cst);
}

void odp_ct_online(struct odp_ct *ct, unsigned worker)
{
	struct ct_worker *w = &ct->workers[worker];
	uint64_t e;

	do { // the epoch may move on before it is known that this worker is there
		e = atomic_load_explicit(&ct->epoch, memory_order_seq_cst);
		atomic_store_explicit(&w->seen, e, memory_order_seq_cst);
	} while (atomic_load_explicit(&ct->epoch, memory_order_seq_cst) != e);
}

struct ct_worker *odp_ct_control_begin(struct odp_ct *ct)
{
	odp_ct_online(ct, ct->n_workers - 1);
	return &ct->workers[ct->n_workers - 1];
}

void odp_ct_control_end(struct odp_ct *ct)
{
	const struct ct_worker *w = &ct->workers[ct->n_workers - 1];

	odp_ct_offline(ct, ct->n_workers - 1);
	CT_SET(ct->hurry, w->limbo_head[0] != CT_NONE || w->limbo_head[1] != CT_NONE ||
				  w->limbo_head[2] != CT_NONE);
}

void odp_ct_tick(struct odp_ct *ct)
{
	(void)odp_ct_control_begin(ct);
	odp_ct_control_end(ct);
}

/* ---- coming and going ---- */

void odp_ct_publish(struct ct_worker *w, struct odp_conn *c, uint32_t flags)
{
	dpu_counter_add(&w->n.by_state[CT_ST(CT_GET(c->st))], 1);
	// Release: pairs with the acquire in ct_life().
	atomic_store_explicit(&c->flags, flags | CT_LIVE, memory_order_release);
}

bool odp_ct_kill(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c)
{
	uint32_t f = atomic_load_explicit(&c->flags, memory_order_relaxed);

	do {
		if ((f & CT_LIFE) != CT_LIVE)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&c->flags, &f, (f & ~CT_LIFE) | CT_DEAD,
		memory_order_acq_rel, memory_order_relaxed));
	atomic_fetch_add_explicit(&c->gen, 1ull << 32, memory_order_release);
	// No state follows this one, so that what is counted down is what was counted up.
	uint32_t st = atomic_exchange_explicit(&c->st, 0, memory_order_relaxed);

	dpu_counter_add(&w->n.by_state[CT_ST(st)], UINT64_MAX);
	odp_ct_withdraw(ct, c, ODP_CT_ORIG);
	if (!(f & CT_F_EXPECT))
		odp_ct_withdraw(ct, c, ODP_CT_REPLY);
	if (f & CT_F_EXPECT)
		odp_ct_expect_uncount(ct, c);
	else if (f & CT_F_ANCHOR)
		atomic_fetch_sub_explicit(&ct->n_anchors, 1, memory_order_relaxed);
	else
		atomic_fetch_sub_explicit(&ct->zones[c->key0.zone].count, 1, memory_order_relaxed);
	if (f & CT_F_MAPPED) {
		struct odp_conn *a = &ct->conns[CT_GET(c->link)];

		if (ct_life_no(a) == CT_GET(c->link_life)) // or it was flushed
			atomic_fetch_sub_explicit(&a->refs, 1, memory_order_relaxed);
	}
	bury(ct, w, c);
	return true;
}

static bool may_go(const struct odp_conn *c)
{
	uint32_t f = atomic_load_explicit(&c->flags, memory_order_acquire);

	return (f & CT_LIFE) == CT_LIVE && !(f & CT_F_ANCHOR) && !(CT_GET(c->st) & CT_ST_ASSURED);
}

/* Of some places chosen by chance, the half-open connection that would have gone first. */
static bool evict_any(struct odp_ct *ct, struct ct_worker *w)
{
	struct odp_conn *worst = NULL;
	uint32_t n = CT_GET(ct->n_fresh);

	for (unsigned i = 0; i < PROBES && n; i++) {
		uint64_t r = ct_random(w);
		struct odp_conn *c = &ct->conns[((r >> 32) * n) >> 32];

		if (may_go(c) &&
			(!worst || (int32_t)(CT_GET(c->expires) - CT_GET(worst->expires)) < 0))
			worst = c;
	}
	if (!worst || !odp_ct_kill(ct, w, worst))
		return false;
	dpu_counter_add(&w->n.evicted, 1);
	return true;
}

/* The places of a sample where a zone's half-open connections are. */
struct places {
	struct ct_sample *s; // NULL: nowhere
	uint32_t from, mask;
};

static struct places places_of(const struct odp_ct *ct, uint16_t zone)
{
	const struct ct_zone *z = &ct->zones[zone];
	bool own = CT_GET(z->limit) != CT_ZONE_DEFAULT;
	// Acquire: pairs with the release in sample_make().
	struct ct_sample *s = atomic_load_explicit(
		own ? &z->sample : &ct->shared, memory_order_acquire);

	return (struct places){ .s = s,
		.from = own ? 0 : zone * 0x9e3779b1u,
		.mask = !s    ? 0
			: own ? s->mask
			      : CT_GET(ct->default_mask) };
}

static uint32_t place(const struct places *p, uint32_t i)
{
	return (p->from + (i & p->mask)) & p->s->mask;
}

static bool evict_zone(
	struct odp_ct *ct, struct ct_worker *w, const struct places *p, uint16_t zone)
{
	const struct ct_sample *s = p->s;
	struct odp_conn *worst = NULL;

	for (unsigned i = 0; i < ZONE_PROBES; i++) {
		uint32_t at = place(p, (uint32_t)ct_random(w)), idx = CT_GET(s->at[at].idx);

		if (idx == 0)
			continue;
		struct odp_conn *c = &ct->conns[idx - 1];

		if (ct_life_no(c) == CT_GET(s->at[at].life) && may_go(c) && c->key0.zone == zone &&
			(!worst || (int32_t)(CT_GET(c->expires) - CT_GET(worst->expires)) < 0))
			worst = c;
	}
	if (!worst || !odp_ct_kill(ct, w, worst))
		return false;
	dpu_counter_add(&w->n.evicted, 1);
	return true;
}

int odp_ct_admit(struct odp_ct *ct, struct ct_worker *w, uint16_t zone)
{
	struct ct_zone *z = &ct->zones[zone];
	uint32_t limit = CT_GET(z->limit);

	if (limit == CT_ZONE_DEFAULT)
		limit = CT_GET(ct->default_limit);
	if (limit != ODP_CT_NO_LIMIT && CT_GET(z->count) >= limit) {
		struct places p = places_of(ct, zone);

		if (!p.s || !evict_zone(ct, w, &p, zone)) {
			dpu_counter_add(&w->n.limited, 1);
			return -EDQUOT;
		}
	}
	if (in_use(ct, w) >= ct->max - ct->reserve)
		(void)evict_any(ct, w);
	return 0;
}

void odp_ct_sample(struct odp_ct *ct, struct ct_worker *w, struct odp_conn *c)
{
	struct places p = places_of(ct, c->key0.zone);
	struct ct_sample *s = p.s;
	uint32_t at = 0;

	if (!s)
		return;
	uint32_t first = (uint32_t)ct_random(w);

	// Where one is that cannot go any more. What is forgotten here can never make room.
	for (unsigned i = 0; i < PROBES; i++) {
		at = place(&p, first + i);
		uint32_t idx = CT_GET(s->at[at].idx);

		if (idx == 0 || ct_life_no(&ct->conns[idx - 1]) != CT_GET(s->at[at].life) ||
			!may_go(&ct->conns[idx - 1]))
			break;
	}
	CT_SET(s->at[at].idx, ct_idx(ct, c) + 1);
	CT_SET(s->at[at].life, ct_life_no(c));
}

/* ---- life ---- */

static uint64_t spread(uint64_t x)
{
	for (unsigned i = 0; i < 3; i++)
		x = odp_mix(x ^ 0x9e3779b97f4a7c15ull, 0xd1b54a32d192ed03ull) + 1;
	return x;
}

static void workers_init(struct odp_ct *ct, const struct odp_ct_conf *conf)
{
	for (unsigned i = 0; i < ct->n_workers; i++) {
		struct ct_worker *w = &ct->workers[i];

		w->free_head = CT_NONE;
		for (unsigned k = 0; k < 3; k++)
			w->limbo_head[k] = CT_NONE;
		w->rng = odp_mix(conf->seed[0] ^ i, conf->seed[1] | 1);
		CT_SET(w->seen, CT_OFFLINE);
	}
}

int odp_ct_create(const struct odp_ct_conf *conf, struct odp_ct **out)
{
	if (conf->max_conns == 0 || conf->max_conns > 1u << 26 || conf->n_workers == 0 ||
		conf->n_workers > 255)
		return -EINVAL;
	struct odp_ct *ct = dpu_aligned_calloc(CT_LINE, 1, sizeof(*ct));

	if (!ct)
		return -ENOMEM;
	// Four words for each connection, which needs two: a pair of buckets is never full.
	uint64_t n = 16;

	while (n * CT_SLOTS < 4ull * conf->max_conns)
		n <<= 1;
	ct->mask = n - 1;
	ct->max = conf->max_conns;
	ct->reserve = ct->max / 32;
	ct->n_workers = conf->n_workers + 1;
	// Whatever the seed, its bits are all over both words: small numbers multiply badly.
	ct->seed = (struct odp_seed){ spread(conf->seed[0]), spread(~conf->seed[1]) | 1 };
	ct->tcp_strict = conf->tcp_strict;
	ct->tcp_liberal = conf->tcp_liberal;
	ct->max_expects = conf->max_expects ? conf->max_expects : 1024;
	CT_SET(ct->epoch, 3);
	void *buckets = NULL, *conns = NULL;

	(void)odp_ct_mem_get(&ct->bucket_mem, n, sizeof(*ct->buckets), &buckets);
	(void)odp_ct_mem_get(&ct->conn_mem, ct->max, sizeof(*ct->conns), &conns);
	ct->buckets = buckets;
	ct->conns = conns;
	ct->workers = dpu_aligned_calloc(CT_LINE, ct->n_workers, sizeof(*ct->workers));
	ct->zones = dpu_calloc(CT_ZONES, sizeof(*ct->zones));
	ct->line = dpu_calloc(ct->max, sizeof(*ct->line)); // pages come with helped connections
	ct->timeout_ms = dpu_calloc(ODP_CT_POLICIES, sizeof(*ct->timeout_ms));
	if (!ct->buckets || !ct->conns || !ct->workers || !ct->zones || !ct->timeout_ms ||
		!ct->line) {
		odp_ct_destroy(ct);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < CT_ZONES; i++)
		CT_SET(ct->zones[i].limit, CT_ZONE_DEFAULT);
	for (unsigned i = 0; i < ODP_CT_POLICIES; i++)
		odp_ct_policy_reset(ct, i);
	workers_init(ct, conf);
	odp_ct_mem_fill(ct);
	*out = ct;
	return 0;
}

void odp_ct_destroy(struct odp_ct *ct)
{
	if (!ct)
		return;
	odp_ct_mem_fill_end(ct);
	for (unsigned i = 0; ct->zones && i < CT_ZONES; i++)
		odp_ct_samples_free(
			atomic_load_explicit(&ct->zones[i].sample, memory_order_relaxed));
	odp_ct_samples_free(atomic_load_explicit(&ct->shared, memory_order_relaxed));
	free(ct->timeout_ms);
	free(ct->zones);
	free(ct->workers);
	free(ct->line);
	odp_ct_mem_put(&ct->conn_mem);
	odp_ct_mem_put(&ct->bucket_mem);
	free(ct);
}

size_t odp_ct_memory(const struct odp_ct *ct)
{
	return (ct->mask + 1) * sizeof(*ct->buckets) + (size_t)ct->max * sizeof(*ct->conns) +
	       ct->n_workers * sizeof(*ct->workers) + CT_ZONES * sizeof(*ct->zones) +
	       ODP_CT_POLICIES * sizeof(*ct->timeout_ms);
}
