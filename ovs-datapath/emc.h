/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact-match cache: one worker's memory of which flow an exact key led to.
 *
 * Set-associative; keys of layer 2 and deeper keys have tables of their own, since the first are
 * three words and by far the most frequent. An entry is believed only while its flow has the
 * generation it was stored with, and all entries are dropped when the view's generation changes.
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
	struct odp_flow *flow;
	uint32_t gen; // the flow's; 0: empty
};

struct emc_deep {
	struct odp_kw k;
	struct odp_flow *flow;
	uint32_t gen;
};

struct odp_emc {
	uint32_t view_gen;
	enum odp_depth depth;
	struct emc_l2 l2[EMC_L2_BUCKETS][4]; // EMC_L2_WAYS used
	struct emc_deep deep[EMC_DEEP_BUCKETS][EMC_DEEP_WAYS];
};

struct odp_emc *odp_emc_create(void);
void odp_emc_destroy(struct odp_emc *e);
/* Forget everything unless the cache was filled under this view. */
void odp_emc_sync(struct odp_emc *e, const struct odp_view *v);
void odp_emc_put(struct odp_emc *e, const struct odp_kw *k, uint32_t hash, struct odp_flow *flow);

static inline void odp_emc_prefetch(const struct odp_emc *e, uint32_t hash)
{
	if (e->depth == ODP_DEPTH_L2)
		rte_prefetch0(e->l2[hash % EMC_L2_BUCKETS]);
	else
		rte_prefetch0(e->deep[hash % EMC_DEEP_BUCKETS]);
}

static inline bool odp_flow_is(const struct odp_flow *f, uint32_t gen)
{
	// Acquire: pairs with the release in flow_insert(), after the flow's other members.
	return gen != 0 && atomic_load_explicit(&f->gen, memory_order_acquire) == gen;
}

static inline struct odp_flow *odp_emc_get(
	const struct odp_emc *e, const struct odp_kw *k, uint32_t hash)
{
	if (e->depth == ODP_DEPTH_L2) {
		const struct emc_l2 *b = e->l2[hash % EMC_L2_BUCKETS];

		for (unsigned i = 0; i < EMC_L2_WAYS; i++) {
			uint64_t diff = (b[i].w[0] ^ k->w[0]) | (b[i].w[1] ^ k->w[1]) |
					(b[i].w[2] ^ k->w[2]);

			if (diff == 0 && b[i].flow)
				return odp_flow_is(b[i].flow, b[i].gen) ? b[i].flow : NULL;
		}
		return NULL;
	}
	const struct emc_deep *b = e->deep[hash % EMC_DEEP_BUCKETS];

	for (unsigned i = 0; i < EMC_DEEP_WAYS; i++)
		if (b[i].flow && odp_kw_eq(&b[i].k, k, ODP_KEY_WORDS))
			return odp_flow_is(b[i].flow, b[i].gen) ? b[i].flow : NULL;
	return NULL;
}
