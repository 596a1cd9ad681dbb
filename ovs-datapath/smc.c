// SPDX-License-Identifier: Apache-2.0
/* Signature cache: guesses, and how flows confirm them. */
#include "smc.h"

#include <stdlib.h>

#include <rte_prefetch.h>

#include "classifier.h"
#include "dpu_alloc.h"

struct odp_smc *odp_smc_create(void)
{
	return dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(struct odp_smc));
}

void odp_smc_destroy(struct odp_smc *c)
{
	free(c);
}

/* The bits that choose the line are the low ones. */
static inline uint32_t line_of(uint32_t hash)
{
	return hash % SMC_LINES;
}

static inline uint32_t sig_of(uint32_t hash)
{
	return hash >> SMC_FLOW_BITS << SMC_FLOW_BITS;
}

/* The ways with this signature, as bits. */
static inline unsigned probe(const struct odp_smc_line *l, uint32_t sig)
{
	unsigned ways = 0;

	for (unsigned i = 0; i < SMC_WAYS; i++)
		ways |= (unsigned)((l->way[i] ^ sig) >> SMC_FLOW_BITS == 0) << i;
	return ways;
}

static bool allowed(const struct odp_view *v, const struct odp_kw *key)
{
	const struct odp_list *l = odp_view_list(v, odp_kw_port(key));

	return l->n > 0 && !l->st[0]->prior;
}

/* Acquire: who sees that a flow is live sees its key. */
static struct odp_flow *flow_live(const struct odp_view *v, uint32_t way)
{
	uint32_t idx = way & ((1u << SMC_FLOW_BITS) - 1);
	struct odp_flow *f = odp_flow_at(v->chunk, idx);

	return atomic_load_explicit(&f->gen, memory_order_acquire) & 1 ? f : NULL;
}

uint32_t odp_smc_lookup_burst(const struct odp_smc *c, const struct odp_view *v,
	const struct odp_kw *const *key, const uint32_t *hash, uint32_t todo,
	struct odp_flow **flow)
{
	uint16_t ways[ODP_BURST];

	for (uint32_t left = todo; left; left &= left - 1)
		rte_prefetch0(&c->line[line_of(hash[__builtin_ctz(left)])]);
	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct odp_smc_line *l = &c->line[line_of(hash[i])];

		ways[i] = allowed(v, key[i]) ? (uint16_t)probe(l, sig_of(hash[i])) : 0;
		if (ways[i])
			rte_prefetch0(odp_flow_at(v->chunk,
				l->way[__builtin_ctz(ways[i])] & ((1u << SMC_FLOW_BITS) - 1)));
	}
	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct odp_smc_line *l = &c->line[line_of(hash[i])];

		for (unsigned w = ways[i]; w; w &= w - 1) {
			struct odp_flow *f = flow_live(v, l->way[__builtin_ctz(w)]);

			if (f && odp_subtable_match(f->st, f, key[i], f->st->n_words)) {
				flow[i] = f;
				todo &= ~(1u << i);
				break;
			}
		}
	}
	return todo;
}

void odp_smc_put(struct odp_smc *c, const struct odp_view *v, const struct odp_kw *key,
	uint32_t hash, const struct odp_flow *flow)
{
	struct odp_smc_line *l = &c->line[line_of(hash)];
	// Chosen by bits of the flow, so that keys of one hash do not evict each other for ever.
	unsigned way = flow->idx % SMC_WAYS;

	if (!allowed(v, key))
		return;
	for (unsigned i = 0; i < SMC_WAYS; i++)
		if (l->way[i] == 0) {
			way = i;
			break;
		}
	l->way[way] = sig_of(hash) | flow->idx;
}
