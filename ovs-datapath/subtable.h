/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flows of one mask (and of one input port, where the mask has it whole): a hash table that the
 * control thread changes while workers read it without locks.
 *
 * A bucket is a cache line: the hashes and the numbers of up to seven flows. A flow stands in the
 * first of two buckets that its hash names, or, when that is full, in the second; the first counts
 * those, so that a reader looks at the second only when there are any. A flow never moves within
 * its table. A table that gets too full is copied into a larger one, which then replaces it; the
 * old one is freed after a grace period. So a flow that is there all the time is always found.
 */
#pragma once

#include "dp.h"

#define BUCKET_WAYS 7u

struct odp_bucket {
	_Atomic uint32_t hash[BUCKET_WAYS]; // written before the flow's number
	_Atomic uint32_t spilled; // flows that stand in their second bucket since this was full
	_Atomic uint32_t flow[BUCKET_WAYS]; // idx + 1; 0: free
	uint32_t pad;
} __rte_cache_aligned;
static_assert(sizeof(struct odp_bucket) == RTE_CACHE_LINE_SIZE, "a bucket is a cache line");

/*
 * Look up the keys of the bits in `todo` and put what is found into `out`. Returns the bits of
 * those that were. Any thread inside a turn; control.
 */
typedef uint32_t odp_search_fn(const struct odp_subtable *st, const struct odp_view *v,
	const struct odp_kw *const *key, uint32_t todo, struct odp_flow **out);

#define SUBTABLE_FAST_WORDS 8u // up to here by a function made for the number of words

struct odp_subtable {
	/* Control thread. */
	struct odp_subtable *next; // with the same hash of the mask
	uint32_t mask_hash;
	unsigned n_flows;
	unsigned bits;
	uint32_t port; // that all flows match on exactly; ODP_PORT_NONE: they need not
	bool listed; // shown to workers
	bool leaving; // empty, and on its way out
	uint64_t serial; // order of first flows
	uint64_t seen_hits, rank;

	/* Fixed, but for `table`. */
	_Atomic uintptr_t table
		__rte_cache_aligned; // owned; RCU; buckets, and log2 of their number
	odp_search_fn *search;
	uint64_t map; // words with mask bits
	uint16_t n_words;
	uint16_t slot; // index in the workers' st_hits
	bool prior; // looked up first
	uint8_t word[SUBTABLE_FAST_WORDS]; // `map` as a list, as far as it fits
	uint64_t w[]; // the mask: n_words
};

static inline struct odp_bucket *odp_table_buckets(uintptr_t table)
{
	return (struct odp_bucket *)(table & ~(uintptr_t)(RTE_CACHE_LINE_SIZE - 1));
}

static inline uint32_t odp_table_mask(uintptr_t table)
{
	return (1u << (table & (RTE_CACHE_LINE_SIZE - 1))) - 1;
}

static inline struct odp_bucket *odp_table_first(uintptr_t table, uint32_t hash)
{
	return &odp_table_buckets(table)[hash & odp_table_mask(table)];
}

static inline struct odp_bucket *odp_table_second(uintptr_t table, uint32_t hash)
{
	// The upper bits of a product depend on all bits of the hash.
	return &odp_table_buckets(table)[hash * 0x9e3779b1u >> 8 & odp_table_mask(table)];
}

static inline struct odp_flow *odp_flow_at(struct odp_flow *const *chunk, uint32_t idx)
{
	return &chunk[idx / FLOW_CHUNK][idx % FLOW_CHUNK];
}

/* Does a flow of `st` match this key? `n` is st->n_words, a constant where it is small. */
static __rte_always_inline bool odp_subtable_match(
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

/* NULL: out of memory. Control thread, as all below. */
struct odp_subtable *odp_subtable_create(const struct odp_kw *mask);
void odp_subtable_destroy(struct odp_subtable *st);
/* The flow with these words of the mask, or NULL. */
struct odp_flow *odp_subtable_find(
	const struct odp_subtable *st, const struct odp *dp, const uint64_t *words);
/* Make room for a flow, so that odp_subtable_add() cannot fail. 0 or -ENOMEM. */
int odp_subtable_reserve(struct odp_subtable *st, struct odp *dp, const uint64_t *words);
void odp_subtable_add(struct odp_subtable *st, const struct odp *dp, struct odp_flow *f);
void odp_subtable_del(struct odp_subtable *st, const struct odp *dp, struct odp_flow *f);
/* The buckets of a table far larger than its flows need are given back. */
void odp_subtable_shrink(struct odp_subtable *st, struct odp *dp);

/* ---- search.c ---- */

enum odp_isa { ODP_ISA_PLAIN, ODP_ISA_AVX2, ODP_ISA_AVX512, ODP_ISA_NEON, ODP_ISAS };

/* The vector instructions to use here: the best that this machine has. */
enum odp_isa odp_isa_best(void);
/* The search for masks of so many words; NULL: not with this machine's instructions. */
odp_search_fn *odp_search_for(enum odp_isa isa, unsigned n_words);
