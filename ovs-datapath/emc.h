/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact-match cache: one worker's memory of which flow an exact key led to.
 *
 * Set-associative; keys of layer 2 and deeper keys have tables of their own, since the first are
 * three words and by far the most frequent. Of a deeper key the words are kept that the view looks
 * at; where those are too many nothing is cached. An entry is believed only while its flow has the
 * generation it was stored with, and under the view's generation that it was stored under: the
 * stored hash is made with that, so that forgetting all entries takes no time.
 * Hashes are compared before keys: a way that holds another key costs one comparison.
 */
#pragma once

#include <rte_prefetch.h>

#include "dp.h"

#define EMC_L2_BUCKETS 2048u
#define EMC_L2_WAYS 3u
#define EMC_DEEP_BYTES (512u * 1024)
#define EMC_DEEP_WAYS 2u
#define EMC_EVICT 8u
#define EMC_TRIAL 4096u // lookups, after which the cache is judged
#define EMC_BYPASS (16u * EMC_TRIAL) // lookups without it when it found less than a fourth
#define EMC_DEEP_WORDS 22u // of a key: an entry is at most three cache lines

struct emc_l2 {
	uint64_t w[ODP_KEY_L2_WORDS];
	struct odp_flow *flow; // NULL: empty
	uint32_t gen; // the flow's
	uint32_t hash; // salted
};

struct emc_l2_bucket {
	struct emc_l2 way[EMC_L2_WAYS];
} __rte_aligned(2 * RTE_CACHE_LINE_SIZE);

struct emc_deep {
	struct odp_flow *flow; // NULL: empty
	uint32_t gen; // the flow's
	uint32_t hash; // salted
	uint64_t w[]; // n_words
};

struct odp_emc {
	/* For the view that entries are taken under. */
	uint32_t view_gen, salt; // salt: another one for each clearing
	enum odp_depth depth;
	unsigned n_words; // of deep keys; 0: they are not cached
	unsigned laid_words; // n_words that entries in `deep` were made with
	uint32_t stride, n_buckets; // stride: bytes of an entry; a power of two of buckets
	uint8_t word[EMC_DEEP_WORDS];
	uint32_t evictions; // wanted

	/* Is it worth looking? Counted in lookups of deep keys. */
	uint32_t looked, found, bypass; // bypass: lookups to go without it

	struct emc_l2_bucket l2[EMC_L2_BUCKETS];
	uint8_t deep[EMC_DEEP_BYTES] __rte_cache_aligned;
};

struct odp_emc *odp_emc_create(void);
void odp_emc_destroy(struct odp_emc *e);
/* Forget everything, and take entries under this view from now on. */
void odp_emc_clear(struct odp_emc *e, const struct odp_view *v);
void odp_emc_put(struct odp_emc *e, const struct odp_kw *k, uint32_t hash, struct odp_flow *flow);

/* Was the cache filled under this view? */
static inline bool odp_emc_fits(const struct odp_emc *e, const struct odp_view *v)
{
	// Acquire: pairs with odp_classifier_decide_anew().
	return e->view_gen == atomic_load_explicit(&v->gen, memory_order_acquire);
}

static inline struct emc_deep *odp_emc_deep(const struct odp_emc *e, uint32_t hash, unsigned way)
{
	size_t at = ((hash & (e->n_buckets - 1)) * EMC_DEEP_WAYS + way) * e->stride;

	return (struct emc_deep *)(uintptr_t)&e->deep[at];
}

/* `depth` is the view's, a constant where the caller knows it; `hash` odp_emc_hash(). */
static inline void odp_emc_prefetch(const struct odp_emc *e, uint32_t hash, enum odp_depth depth)
{
	if (depth == ODP_DEPTH_L2)
		rte_prefetch0(&e->l2[hash % EMC_L2_BUCKETS]);
	else
		rte_prefetch0(odp_emc_deep(e, hash, 0));
}

/* Salted: of one key, no entry from before the last clearing has the same. */
static inline uint32_t odp_emc_hash(
	const struct odp_view *v, const struct odp_kw *k, enum odp_depth depth, uint32_t salt)
{
	if (depth == ODP_DEPTH_L2)
		return odp_kw_hash(&v->seed, k, ODP_KEY_L2_WORDS) ^ salt;
	return odp_view_hash(v, k) ^ salt;
}

/*
 * Go without the cache for this burst of deep keys? Where far more keys come in turns than it has
 * room for, looking there takes longer than what it finds is worth.
 */
static inline bool odp_emc_bypass(struct odp_emc *e, unsigned n)
{
	if (e->bypass == 0)
		return false;
	e->bypass -= RTE_MIN(e->bypass, n);
	return true;
}

static inline void odp_emc_judge(struct odp_emc *e, unsigned looked, unsigned found)
{
	e->looked += looked;
	e->found += found;
	if (e->looked < EMC_TRIAL)
		return;
	e->bypass = e->found < e->looked / 4 ? EMC_BYPASS : 0;
	e->looked = e->found = 0;
}

static inline bool odp_flow_is(const struct odp_flow *f, uint32_t gen)
{
	// Acquire: pairs with the release in odp_classifier_add(), after the flow's other members.
	return atomic_load_explicit(&f->gen, memory_order_acquire) == gen;
}

static inline bool odp_emc_deep_eq(
	const struct odp_emc *e, const struct emc_deep *way, const struct odp_kw *k)
{
	uint64_t diff = 0;

	for (unsigned i = 0; i < e->n_words; i++)
		diff |= way->w[i] ^ k->w[e->word[i]];
	return diff == 0;
}

static inline struct odp_flow *odp_emc_get(
	const struct odp_emc *e, const struct odp_kw *k, uint32_t hash, enum odp_depth depth)
{
	if (depth == ODP_DEPTH_L2) {
		const struct emc_l2 *way = e->l2[hash % EMC_L2_BUCKETS].way;

		for (unsigned i = 0; i < EMC_L2_WAYS; i++) {
			if (way[i].hash != hash ||
				((way[i].w[0] ^ k->w[0]) | (way[i].w[1] ^ k->w[1]) |
					(way[i].w[2] ^ k->w[2])) != 0)
				continue;
			if (way[i].flow && odp_flow_is(way[i].flow, way[i].gen))
				return way[i].flow;
		}
		return NULL;
	}
	for (unsigned i = 0; i < EMC_DEEP_WAYS && e->n_words; i++) {
		const struct emc_deep *way = odp_emc_deep(e, hash, i);

		if (way->hash == hash && odp_emc_deep_eq(e, way, k) && way->flow &&
			odp_flow_is(way->flow, way->gen))
			return way->flow;
	}
	return NULL;
}
