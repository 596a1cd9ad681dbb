/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature cache: one worker's memory of which flow the keys of a hash led to, for tables with
 * more flows in use than the exact-match cache has room for.
 *
 * An entry is a few bits of the hash and the number of a flow, and no key: a cache line has 16.
 * It is a guess that the flow itself confirms, whose masked words must be those of the key. Nothing
 * is ever outdated: a flow that went, or another one in its place, confirms only what it matches.
 * Where flows may overlap, which only operators' do, a flow that matches need not be the one that
 * wins, so a port whose list has such a subtable does without this cache.
 */
#pragma once

#include "subtable.h"

#define SMC_WAYS 16u
#define SMC_LINES 16384u // 1 MiB
#define SMC_FLOW_BITS 20u
static_assert(FLOW_CHUNK * FLOW_CHUNKS <= 1u << SMC_FLOW_BITS, "a flow's number fits");

struct odp_smc_line {
	uint32_t way[SMC_WAYS]; // bits of the hash, and below them the flow's number
} __rte_cache_aligned;

struct odp_smc {
	struct odp_smc_line line[SMC_LINES];
};

struct odp_smc *odp_smc_create(void);
void odp_smc_destroy(struct odp_smc *c);
/*
 * The flows of the keys whose bits are in `todo`, whose hashes are of odp_emc_hash(). Returns the
 * bits of those that it does not know.
 */
uint32_t odp_smc_lookup_burst(const struct odp_smc *c, const struct odp_view *v,
	const struct odp_kw *const *key, const uint32_t *hash, uint32_t todo,
	struct odp_flow **flow);
void odp_smc_put(struct odp_smc *c, const struct odp_view *v, const struct odp_kw *key,
	uint32_t hash, const struct odp_flow *flow);
