// SPDX-License-Identifier: Apache-2.0
/* One mask's flows: filling, emptying and resizing its hash table. */
#include "subtable.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

#define TABLE_LOG2_MAX 22u
#define FILL 5u // flows for each bucket, on average, until a table grows

static uintptr_t table_create(unsigned log2)
{
	struct odp_bucket *b = dpu_aligned_calloc(
		RTE_CACHE_LINE_SIZE, (size_t)1 << log2, sizeof(*b));

	return b ? (uintptr_t)b | log2 : 0;
}

static uintptr_t table_of(const struct odp_subtable *st)
{
	return atomic_load_explicit(&st->table, memory_order_relaxed);
}

struct odp_subtable *odp_subtable_create(const struct odp_kw *mask)
{
	uint64_t map = odp_kw_map(mask);
	uint8_t word[ODP_KEY_WORDS];
	unsigned n = odp_map_words(map, word);
	struct odp_subtable *st = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1,
		RTE_ALIGN_CEIL(sizeof(*st) + n * sizeof(st->w[0]), RTE_CACHE_LINE_SIZE));
	uintptr_t table = table_create(0);

	if (!st || !table) {
		free(st);
		free(odp_table_buckets(table));
		return NULL;
	}
	st->map = map;
	st->n_words = (uint16_t)n;
	for (unsigned i = 0; i < n; i++) {
		st->w[i] = mask->w[word[i]];
		st->bits += (unsigned)__builtin_popcountll(st->w[i]);
	}
	memcpy(st->word, word, RTE_MIN(n, SUBTABLE_FAST_WORDS));
	st->search = odp_search_for(odp_isa_best(), n);
	atomic_store_explicit(&st->table, table, memory_order_relaxed);
	return st;
}

void odp_subtable_destroy(struct odp_subtable *st)
{
	if (!st)
		return;
	free(odp_table_buckets(table_of(st)));
	free(st);
}

static struct odp_flow *bucket_find(const struct odp_bucket *b, const struct odp_subtable *st,
	const struct odp *dp, const uint64_t *words, uint32_t hash)
{
	for (unsigned i = 0; i < BUCKET_WAYS; i++) {
		uint32_t at = atomic_load_explicit(&b->flow[i], memory_order_relaxed);

		if (!at || atomic_load_explicit(&b->hash[i], memory_order_relaxed) != hash)
			continue;
		struct odp_flow *f = odp_flow_at(dp->chunk, at - 1);

		if (!memcmp(f->key, words, st->n_words * sizeof(words[0])))
			return f;
	}
	return NULL;
}

struct odp_flow *odp_subtable_find(
	const struct odp_subtable *st, const struct odp *dp, const uint64_t *words)
{
	uint32_t hash = odp_words_hash(&dp->seed, words, st->n_words);
	const struct odp_bucket *b = odp_table_first(table_of(st), hash);
	struct odp_flow *f = bucket_find(b, st, dp, words, hash);

	if (!f && atomic_load_explicit(&b->spilled, memory_order_relaxed))
		f = bucket_find(odp_table_second(table_of(st), hash), st, dp, words, hash);
	return f;
}

static int free_way(const struct odp_bucket *b)
{
	for (unsigned i = 0; i < BUCKET_WAYS; i++)
		if (!atomic_load_explicit(&b->flow[i], memory_order_relaxed))
			return (int)i;
	return -ENOSPC;
}

static bool table_has_room(uintptr_t t, uint32_t hash)
{
	return free_way(odp_table_first(t, hash)) >= 0 || free_way(odp_table_second(t, hash)) >= 0;
}

/* False: both buckets are full. */
static bool table_put(uintptr_t t, uint32_t hash, uint32_t number)
{
	struct odp_bucket *b = odp_table_first(t, hash);
	int way = free_way(b);

	if (way < 0) {
		struct odp_bucket *first = b;

		b = odp_table_second(t, hash);
		way = free_way(b);
		if (way < 0)
			return false;
		atomic_fetch_add_explicit(&first->spilled, 1, memory_order_relaxed);
	}
	atomic_store_explicit(&b->hash[way], hash, memory_order_relaxed);
	// Release: the hash, the flow and its key are seen before the number.
	atomic_store_explicit(&b->flow[way], number, memory_order_release);
	return true;
}

static bool table_copy(uintptr_t to, uintptr_t from)
{
	for (uint32_t i = 0; i <= odp_table_mask(from); i++) {
		const struct odp_bucket *b = &odp_table_buckets(from)[i];

		for (unsigned way = 0; way < BUCKET_WAYS; way++) {
			uint32_t n = atomic_load_explicit(&b->flow[way], memory_order_relaxed);

			if (n && !table_put(to,
					 atomic_load_explicit(&b->hash[way], memory_order_relaxed),
					 n))
				return false;
		}
	}
	return true;
}

/* A table of the smallest size from `log2` on that takes all flows and one with `hash`. */
static int table_replace(struct odp_subtable *st, struct odp *dp, unsigned log2, uint32_t hash)
{
	uintptr_t old = table_of(st);

	for (; log2 <= TABLE_LOG2_MAX; log2++) {
		uintptr_t t = table_create(log2);

		if (!t)
			return -ENOMEM;
		if (table_copy(t, old) && table_has_room(t, hash)) {
			atomic_store_explicit(&st->table, t, memory_order_release);
			odp_defer(dp, odp_table_buckets(old));
			return 0;
		}
		free(odp_table_buckets(t));
	}
	return -ENOMEM; // not with hashes that nobody can foresee
}

int odp_subtable_reserve(struct odp_subtable *st, struct odp *dp, const uint64_t *words)
{
	uint32_t hash = odp_words_hash(&dp->seed, words, st->n_words);
	uintptr_t t = table_of(st);
	unsigned log2 = t & (RTE_CACHE_LINE_SIZE - 1);

	if (st->n_flows < FILL << log2 && table_has_room(t, hash))
		return 0;
	return table_replace(st, dp, log2 + 1, hash);
}

void odp_subtable_add(struct odp_subtable *st, const struct odp *dp, struct odp_flow *f)
{
	table_put(table_of(st), odp_words_hash(&dp->seed, f->key, st->n_words), f->idx + 1);
	st->n_flows++;
}

static bool bucket_del(struct odp_bucket *b, uint32_t number)
{
	for (unsigned i = 0; i < BUCKET_WAYS; i++)
		if (atomic_load_explicit(&b->flow[i], memory_order_relaxed) == number) {
			atomic_store_explicit(&b->flow[i], 0, memory_order_release);
			return true;
		}
	return false;
}

void odp_subtable_del(struct odp_subtable *st, const struct odp *dp, struct odp_flow *f)
{
	uint32_t hash = odp_words_hash(&dp->seed, f->key, st->n_words);
	struct odp_bucket *b = odp_table_first(table_of(st), hash);

	if (!bucket_del(b, f->idx + 1)) {
		bucket_del(odp_table_second(table_of(st), hash), f->idx + 1);
		atomic_fetch_sub_explicit(&b->spilled, 1, memory_order_relaxed);
	}
	st->n_flows--;
}

void odp_subtable_shrink(struct odp_subtable *st, struct odp *dp)
{
	unsigned log2 = table_of(st) & (RTE_CACHE_LINE_SIZE - 1), fit = 0;

	while (st->n_flows >= FILL << fit)
		fit++;
	// Twice what is needed, so that flows that come and go do not move it back and forth.
	if (log2 > fit + 3)
		(void)table_replace(st, dp, fit + 1, 0); // later, if there is no memory now
}
