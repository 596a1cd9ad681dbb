// SPDX-License-Identifier: Apache-2.0
/* Exact-match cache: filling and forgetting. */
#include "emc.h"

#include <stdlib.h>

#include "dpu_alloc.h"

struct odp_emc *odp_emc_create(void)
{
	return dpu_aligned_calloc(_Alignof(struct odp_emc), 1, sizeof(struct odp_emc));
}

void odp_emc_destroy(struct odp_emc *e)
{
	free(e);
}

void odp_emc_clear(struct odp_emc *e, const struct odp_view *v)
{
	memset(e->l2, 0, sizeof(e->l2));
	memset(e->deep, 0, sizeof(e->deep));
	e->view_gen = v->gen;
	e->depth = v->depth;
}

/*
 * The way to store into: the one that holds this key, else a free or outdated one, else one chosen
 * by hash bits that did not choose the bucket, so that two hot keys do not evict each other for
 * ever.
 */
void odp_emc_put(struct odp_emc *e, const struct odp_kw *k, uint32_t hash, struct odp_flow *flow)
{
	uint32_t gen = atomic_load_explicit(&flow->gen, memory_order_acquire);
	unsigned way;

	if (!(gen & 1))
		return; // deleted since it was found
	if (e->depth == ODP_DEPTH_L2) {
		struct emc_l2 *b = e->l2[hash % EMC_L2_BUCKETS].way;

		way = (hash >> 16) % EMC_L2_WAYS;
		for (unsigned i = 0; i < EMC_L2_WAYS; i++) {
			if (!memcmp(b[i].w, k->w, sizeof(b[i].w))) {
				way = i;
				break;
			}
			if (!b[i].flow || !odp_flow_is(b[i].flow, b[i].gen))
				way = i;
		}
		memcpy(b[way].w, k->w, sizeof(b[way].w));
		b[way].flow = flow;
		b[way].gen = gen;
		b[way].hash = hash;
		return;
	}
	struct emc_deep *b = e->deep[hash % EMC_DEEP_BUCKETS].way;

	way = (hash >> 16) % EMC_DEEP_WAYS;
	for (unsigned i = 0; i < EMC_DEEP_WAYS; i++) {
		if (odp_kw_eq(&b[i].k, k, ODP_KEY_WORDS)) {
			way = i;
			break;
		}
		if (!b[i].flow || !odp_flow_is(b[i].flow, b[i].gen))
			way = i;
	}
	b[way].k = *k;
	b[way].flow = flow;
	b[way].gen = gen;
	b[way].hash = hash;
}
