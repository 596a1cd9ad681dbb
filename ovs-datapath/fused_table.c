// SPDX-License-Identifier: Apache-2.0
/*
 * The fused path's table: buckets of one cache line that name entries, and entries one behind the
 * other, so that few connections have few pages. Memory is touched before a worker comes to it.
 */
#include "fused_priv.h"

#include <stdlib.h>

#include "dpu_alloc.h"

#define SIZE_MIN 16384u
#define SIZE_MAX_ENTRIES (1u << 21)
#define READY_STEP 262144u // entries, at a time: 80 MiB
#define PAGE 4096u

/* Touch memory of entries up to `to`. */
static void make_ready(struct odp_fused *t, uint32_t to)
{
	uint32_t from = atomic_load_explicit(&t->n_ready, memory_order_relaxed);
	volatile uint8_t *at = (volatile uint8_t *)&t->entry[from];

	for (size_t left = (to - from) * sizeof(*t->entry), off = 0; off < left; off += PAGE)
		at[off] = 0;
	// Release: pairs with the acquire in take()
	atomic_store_explicit(&t->n_ready, to, memory_order_release);
}

struct odp_fused *odp_fused_create(uint32_t n_conns)
{
	struct odp_fused *t = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(*t));

	if (!t)
		return NULL;
	// A connection of each direction has one entry, and is often two connections of two zones
	t->size = rte_align32pow2(RTE_MAX(RTE_MIN(n_conns, SIZE_MAX_ENTRIES), SIZE_MIN));
	t->n_buckets = t->size / (FUSED_WAYS / 2);
	t->free = FUSED_NONE;
	t->bucket = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, t->n_buckets, sizeof(*t->bucket));
	t->outer = dpu_calloc(FUSED_OUTERS, sizeof(*t->outer));
	t->entry = dpu_huge_calloc(t->size, sizeof(*t->entry), &t->mem);
	if (!t->bucket || !t->outer || !t->entry) {
		odp_fused_destroy(t);
		return NULL;
	}
	make_ready(t, SIZE_MIN);
	return t;
}

void odp_fused_destroy(struct odp_fused *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t->outer);
	free(t->mem);
	free(t);
}

void odp_fused_tick(struct odp_fused *t, uint64_t n_conns)
{
	uint32_t used = atomic_load_explicit(&t->n_used, memory_order_relaxed);
	uint32_t ready = atomic_load_explicit(&t->n_ready, memory_order_relaxed);
	uint64_t want = RTE_MIN(RTE_MAX((uint64_t)used * 4, n_conns * 2) + SIZE_MIN, t->size);

	if (want > ready)
		make_ready(t, (uint32_t)RTE_MIN(want, (uint64_t)ready + READY_STEP));
}

/* ---- lookup ---- */

struct fused_entry *odp_fused_find(struct odp_fused *t, const uint64_t *w, uint32_t hash)
{
	const struct fused_bucket *b = &t->bucket[hash & (t->n_buckets - 1)];

	for (unsigned i = 0; i < FUSED_WAYS; i++)
		if (b->hash[i] == hash && fused_same(&t->entry[b->idx[i]], w))
			return &t->entry[b->idx[i]];
	return NULL;
}

/* ---- change ---- */

/* An entry that nobody has. FUSED_NONE: there is none yet. */
static uint32_t take(struct odp_fused *t)
{
	uint32_t idx = t->free, used = atomic_load_explicit(&t->n_used, memory_order_relaxed);

	if (idx != FUSED_NONE) {
		t->free = t->entry[idx].out;
		return idx;
	}
	// Acquire: pairs with make_ready(), which wrote there
	if (used == atomic_load_explicit(&t->n_ready, memory_order_acquire))
		return FUSED_NONE;
	atomic_store_explicit(&t->n_used, used + 1, memory_order_relaxed);
	return used;
}

/* A way's entry goes. */
static uint32_t vacate(struct odp_fused *t, struct fused_bucket *b, unsigned way)
{
	b->hash[way] = 0;
	t->n_entries--;
	return b->idx[way];
}

/* The entry of some other bucket: all are in use. */
static uint32_t rob(struct odp_fused *t)
{
	for (unsigned tries = 0; tries < 4 * FUSED_WAYS; tries++) {
		uint32_t at = t->victim++;
		struct fused_bucket *b = &t->bucket[at / FUSED_WAYS & (t->n_buckets - 1)];

		if (b->hash[at % FUSED_WAYS])
			return vacate(t, b, at % FUSED_WAYS);
	}
	return FUSED_NONE;
}

void odp_fused_put(struct odp_fused *t, const struct fused_entry *e, uint32_t hash)
{
	struct fused_bucket *b = &t->bucket[hash & (t->n_buckets - 1)];
	unsigned way = FUSED_WAYS;
	uint32_t idx;

	for (unsigned i = 0; i < FUSED_WAYS; i++)
		if (!b->hash[i])
			way = i;
	if (way == FUSED_WAYS) {
		way = t->victim++ % FUSED_WAYS;
		idx = vacate(t, b, way);
	} else {
		idx = take(t);
		if (idx == FUSED_NONE &&
			atomic_load_explicit(&t->n_ready, memory_order_relaxed) == t->size)
			idx = rob(t);
		if (idx == FUSED_NONE)
			return;
	}
	t->entry[idx] = *e;
	b->hash[way] = hash;
	b->idx[way] = idx;
	t->n_entries++;
}

void odp_fused_kill(struct odp_fused *t, const struct fused_entry *e, uint32_t hash)
{
	struct fused_bucket *b = &t->bucket[hash & (t->n_buckets - 1)];
	uint32_t idx = (uint32_t)(e - t->entry);

	for (unsigned i = 0; i < FUSED_WAYS; i++)
		if (b->hash[i] && b->idx[i] == idx) {
			(void)vacate(t, b, i);
			t->entry[idx].out = t->free;
			t->free = idx;
			return;
		}
}

/* ---- what packets came through ---- */

/* As far as the view looks. Returns how many words. */
static unsigned outer_words(const struct odp_view *v, uint32_t in_port,
	const struct odp_key_tnl *tnl, uint64_t w[FUSED_OUTER_WORDS])
{
	const uint8_t *from = (const uint8_t *)tnl;
	unsigned n = 0;

	w[n++] = in_port;
	for (uint64_t left = v->map & ODP_KEY_TNL_BITS; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		memcpy(&w[n], from + 8 * (i - ODP_KEY_TNL_WORD), 8);
		w[n++] &= v->any.w[i];
	}
	return n;
}

uint64_t odp_fused_outer(struct odp_fused *t, const struct odp_view *v, uint32_t in_port,
	const struct odp_key_tnl *tnl, bool make)
{
	uint64_t w[FUSED_OUTER_WORDS];
	unsigned n = outer_words(v, in_port, tnl, w);
	uint32_t hash = odp_words_hash(&v->seed, w, n);
	struct fused_outer
		*set = &t->outer[hash % (FUSED_OUTERS / FUSED_OUTER_WAYS) * FUSED_OUTER_WAYS];
	struct fused_outer *to;

	to = set + ++t->outer_id % FUSED_OUTER_WAYS;
	for (struct fused_outer *o = set; o < set + FUSED_OUTER_WAYS; o++) {
		if (!o->id || o->view_gen != t->view_gen)
			to = o; // it serves nobody
		else if (o->hash == hash && memcmp(o->w, w, n * sizeof(w[0])) == 0)
			return o->id;
	}
	if (!make)
		return 0;
	to->id = FUSED_OUTER_ID | t->outer_id;
	to->view_gen = t->view_gen;
	to->hash = hash;
	memcpy(to->w, w, n * sizeof(w[0]));
	return to->id;
}
