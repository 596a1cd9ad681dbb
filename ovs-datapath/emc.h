/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact-match cache: one worker's memory of which flow an exact key led to.
 *
 * Set-associative; keys of layer 2 and deeper keys have tables of their own, since the first are
 * three words and by far the most frequent. An entry is believed only while its flow has the
 * generation it was stored with, and all entries are dropped when the view's generation changes.
 * Hashes are compared before keys: a way that holds another key costs one comparison.
 */
#pragma once

#include <rte_prefetch.h>

#include "dp.h"

#define EMC_L2_BUCKETS 2048u
#define EMC_DEEP_BUCKETS 1024u
#define EMC_L2_WAYS 3u
#define EMC_DEEP_WAYS 2u

struct emc_l2 {
	uint64_t w[ODP_KEY_L2_WORDS];
	struct odp_flow *flow; // NULL: empty
	uint32_t gen; // the flow's
	uint32_t hash;
};

struct emc_deep {
	struct odp_kw k;
	struct odp_flow *flow;
	uint32_t gen;
	uint32_t hash;
};

struct emc_l2_bucket {
	struct emc_l2 way[EMC_L2_WAYS];
} __rte_aligned(2 * RTE_CACHE_LINE_SIZE);

struct emc_deep_bucket {
	struct emc_deep way[EMC_DEEP_WAYS];
};

struct odp_emc {
	struct emc_l2_bucket l2[EMC_L2_BUCKETS];
	struct emc_deep_bucket deep[EMC_DEEP_BUCKETS];
	uint32_t view_gen;
	enum odp_depth depth;
};

struct odp_emc *odp_emc_create(void);
void odp_emc_destroy(struct odp_emc *e);
/* Forget everything, and take entries under this view from now on. */
void odp_emc_clear(struct odp_emc *e, const struct odp_view *v);
void odp_emc_put(struct odp_emc *e, const struct odp_kw *k, uint32_t hash, struct odp_flow *flow);

/* Was the cache filled under this view? */
static inline bool odp_emc_fits(const struct odp_emc *e, const struct odp_view *v)
{
	return e->view_gen == v->gen && e->depth == v->depth;
}

/* `depth` is the view's, a constant where the caller knows it. */
static inline void odp_emc_prefetch(const struct odp_emc *e, uint32_t hash, enum odp_depth depth)
{
	if (depth == ODP_DEPTH_L2)
		rte_prefetch0(&e->l2[hash % EMC_L2_BUCKETS]);
	else
		rte_prefetch0(&e->deep[hash % EMC_DEEP_BUCKETS]);
}

static inline bool odp_flow_is(const struct odp_flow *f, uint32_t gen)
{
	// Acquire: pairs with the release in flow_insert(), after the flow's other members.
	return atomic_load_explicit(&f->gen, memory_order_acquire) == gen;
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
	const struct emc_deep *way = e->deep[hash % EMC_DEEP_BUCKETS].way;

	for (unsigned i = 0; i < EMC_DEEP_WAYS; i++)
		if (way[i].hash == hash && odp_kw_eq(&way[i].k, k, ODP_KEY_WORDS) && way[i].flow &&
			odp_flow_is(way[i].flow, way[i].gen))
			return way[i].flow;
	return NULL;
}
