// SPDX-License-Identifier: Apache-2.0
/*
 * Lookup in one subtable, of all packets of a burst at once: hash them all and fetch their buckets,
 * compare hashes and fetch the flows that remain, compare keys. One function for each small number
 * of words and each set of vector instructions that compares a bucket's hashes.
 */
#include "subtable.h"

#include <rte_prefetch.h>

typedef unsigned probe_fn(const struct odp_bucket *b, uint32_t hash);

/* The ways of a bucket that hold this hash, as bits. */
static inline unsigned probe_plain(const struct odp_bucket *b, uint32_t hash)
{
	unsigned ways = 0;

	for (unsigned i = 0; i < BUCKET_WAYS; i++)
		ways |= (unsigned)(atomic_load_explicit(&b->hash[i], memory_order_relaxed) == hash)
			<< i;
	return ways;
}

/* Words of a key under a mask, of which there are `n`: a constant where it is small. */
static __rte_always_inline uint32_t masked_hash(const struct odp_subtable *st,
	const struct odp_seed *seed, const struct odp_kw *k, unsigned n)
{
	uint64_t w[ODP_KEY_WORDS];

	if (n <= SUBTABLE_FAST_WORDS) {
		for (unsigned i = 0; i < n; i++)
			w[i] = k->w[st->word[i]] & st->w[i];
	} else {
		uint64_t map = st->map;

		for (unsigned i = 0; map; map &= map - 1, i++)
			w[i] = k->w[__builtin_ctzll(map)] & st->w[i];
	}
	return odp_words_hash(seed, w, n);
}

static __rte_always_inline bool matches(
	const struct odp_subtable *st, const struct odp_flow *f, const struct odp_kw *k, unsigned n)
{
	const uint64_t *key = f->key;
	uint64_t diff = 0;

	if (n <= SUBTABLE_FAST_WORDS) {
		for (unsigned i = 0; i < n; i++)
			diff |= (k->w[st->word[i]] & st->w[i]) ^ key[i];
	} else {
		uint64_t map = st->map;

		for (unsigned i = 0; map; map &= map - 1, i++)
			diff |= (k->w[__builtin_ctzll(map)] & st->w[i]) ^ key[i];
	}
	return diff == 0;
}

static __rte_always_inline struct odp_flow *pick(const struct odp_subtable *st,
	const struct odp_view *v, const struct odp_bucket *b, unsigned ways, const struct odp_kw *k,
	unsigned n)
{
	for (; ways; ways &= ways - 1) {
		// Acquire: pairs with the release in table_put().
		uint32_t at = atomic_load_explicit(
			&b->flow[__builtin_ctz(ways)], memory_order_acquire);

		if (!at)
			continue;
		struct odp_flow *f = odp_flow_at(v->chunk, at - 1);

		if (matches(st, f, k, n))
			return f;
	}
	return NULL;
}

static __rte_always_inline uint32_t search(const struct odp_subtable *st, const struct odp_view *v,
	const struct odp_kw *const *key, uint32_t todo, struct odp_flow **out, unsigned n,
	probe_fn *probe)
{
	const uintptr_t t = atomic_load_explicit(&st->table, memory_order_acquire);
	uint32_t hash[ODP_BURST], found = 0;
	uint8_t ways[ODP_BURST];

	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		hash[i] = masked_hash(st, &v->seed, key[i], n);
		rte_prefetch0(odp_table_first(t, hash[i]));
	}
	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct odp_bucket *b = odp_table_first(t, hash[i]);

		ways[i] = (uint8_t)probe(b, hash[i]);
		if (!ways[i])
			continue;
		uint32_t at = atomic_load_explicit(
			&b->flow[__builtin_ctz(ways[i])], memory_order_acquire);

		if (at)
			rte_prefetch0(odp_flow_at(v->chunk, at - 1));
	}
	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct odp_bucket *b = odp_table_first(t, hash[i]);
		struct odp_flow *f = pick(st, v, b, ways[i], key[i], n);

		if (!f && unlikely(atomic_load_explicit(&b->spilled, memory_order_relaxed))) {
			b = odp_table_second(t, hash[i]);
			f = pick(st, v, b, probe(b, hash[i]), key[i], n);
		}
		if (f) {
			out[i] = f;
			found |= 1u << i;
		}
	}
	return found;
}

/* The searches of one instruction set. */
#define SEARCH(isa, n, target)                                                                    \
	target static uint32_t isa##_##n(const struct odp_subtable *st, const struct odp_view *v, \
		const struct odp_kw *const *key, uint32_t todo, struct odp_flow **out)            \
	{                                                                                         \
		return search(st, v, key, todo, out, n ? n : st->n_words, probe_##isa);           \
	}
#define SEARCHES(isa, target)  \
	SEARCH(isa, 0, target) \
	SEARCH(isa, 1, target) \
	SEARCH(isa, 2, target) \
	SEARCH(isa, 3, target) \
	SEARCH(isa, 4, target) \
	SEARCH(isa, 5, target) \
	SEARCH(isa, 6, target) \
	SEARCH(isa, 7, target) \
	SEARCH(isa, 8, target)
#define TABLE(isa)                                                                              \
	{                                                                                       \
		isa##_0, isa##_1, isa##_2, isa##_3, isa##_4, isa##_5, isa##_6, isa##_7, isa##_8 \
	}

#define NO_TARGET
SEARCHES(plain, NO_TARGET)

static odp_search_fn *const table[ODP_ISAS][SUBTABLE_FAST_WORDS + 1] = {
	[ODP_ISA_PLAIN] = TABLE(plain),
};

enum odp_isa odp_isa_best(void)
{
	return ODP_ISA_PLAIN;
}

odp_search_fn *odp_search_for(enum odp_isa isa, unsigned n_words)
{
	return table[isa][n_words <= SUBTABLE_FAST_WORDS ? n_words : 0];
}
