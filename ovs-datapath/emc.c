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
	e->view_gen = atomic_load_explicit(&v->gen, memory_order_acquire);
	e->depth = v->depth;
	// All salts were used: or an entry of four thousand million clearings ago came back.
	if (++e->salt == 0) {
		memset(e->l2, 0, sizeof(e->l2));
		memset(e->deep, 0, sizeof(e->deep));
	}
	e->n_words = v->n_words <= EMC_DEEP_WORDS ? v->n_words : 0;
	memcpy(e->word, v->word, e->n_words);
	if (e->n_words != e->laid_words) {
		// What is an entry was part of one, or of two.
		memset(e->deep, 0, sizeof(e->deep));
		e->laid_words = e->n_words;
	}
	e->stride = RTE_ALIGN_CEIL(
		sizeof(struct emc_deep) + e->n_words * sizeof(uint64_t), RTE_CACHE_LINE_SIZE);
	e->n_buckets = rte_align32prevpow2(EMC_DEEP_BYTES / (e->stride * EMC_DEEP_WAYS));
}

/*
 * May a key take the place of another one that is in use? Every eighth: where there are more keys
 * than room, storing each costs more than finding some of them is worth.
 */
static bool evict(struct odp_emc *e)
{
	return e->evictions++ % EMC_EVICT == 0;
}

/*
 * The way to store into: the one that holds this key, else the first that is free or outdated,
 * since lookup starts there, else one chosen by hash bits that did not choose the bucket, so that
 * two hot keys do not evict each other for ever.
 */
static void put_l2(struct odp_emc *e, const struct odp_kw *k, uint32_t hash, struct odp_flow *flow,
	uint32_t gen)
{
	struct emc_l2 *b = e->l2[hash % EMC_L2_BUCKETS].way;
	unsigned way = EMC_L2_WAYS;

	for (unsigned i = EMC_L2_WAYS; i-- > 0;) {
		if (!memcmp(b[i].w, k->w, sizeof(b[i].w))) {
			way = i;
			break;
		}
		if (!b[i].flow || !odp_flow_is(b[i].flow, b[i].gen))
			way = i;
	}
	if (way == EMC_L2_WAYS) {
		if (!evict(e))
			return;
		way = (hash >> 16) % EMC_L2_WAYS;
	}
	memcpy(b[way].w, k->w, sizeof(b[way].w));
	b[way].flow = flow;
	b[way].gen = gen;
	b[way].hash = hash;
}

static void put_deep(struct odp_emc *e, const struct odp_kw *k, uint32_t hash,
	struct odp_flow *flow, uint32_t gen)
{
	struct emc_deep *to = NULL;

	for (unsigned i = EMC_DEEP_WAYS; i-- > 0;) {
		struct emc_deep *way = odp_emc_deep(e, hash, i);

		if (odp_emc_deep_eq(e, way, k)) {
			to = way;
			break;
		}
		if (!way->flow || !odp_flow_is(way->flow, way->gen))
			to = way;
	}
	if (!to) {
		if (!evict(e))
			return;
		to = odp_emc_deep(e, hash, (hash >> 16) % EMC_DEEP_WAYS);
	}
	for (unsigned i = 0; i < e->n_words; i++)
		to->w[i] = k->w[e->word[i]];
	to->flow = flow;
	to->gen = gen;
	to->hash = hash;
}

void odp_emc_put(struct odp_emc *e, const struct odp_kw *k, uint32_t hash, struct odp_flow *flow)
{
	uint32_t gen = atomic_load_explicit(&flow->gen, memory_order_acquire);

	if (!(gen & 1))
		return; // deleted since it was found
	if (e->depth == ODP_DEPTH_L2)
		put_l2(e, k, hash, flow, gen);
	else if (e->n_words)
		put_deep(e, k, hash, flow, gen);
}
