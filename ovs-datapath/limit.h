/* SPDX-License-Identifier: Apache-2.0 */
/*
 * So many a second to each source, and so many in all. Sources share buckets by their hash, which a
 * sender should not be able to foresee. Of one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_common.h>

#define ODP_LIMIT_SOURCES 1024u
#define ODP_LIMIT_FULL_NS 1000000000ull // what a bucket holds: a second's

/* Tokens come back with time. */
struct odp_tokens {
	uint64_t at_ns; // when it was last looked at
	uint64_t spent_ns; // one costs 1 s / rate
};

struct odp_limit {
	unsigned source_per_s, total_per_s; // 1 at least
	struct odp_tokens all;
	struct odp_tokens source[ODP_LIMIT_SOURCES];
};

enum odp_limit_verdict { ODP_LIMIT_OK, ODP_LIMIT_SOURCE, ODP_LIMIT_ALL };

static inline bool odp_tokens_any(struct odp_tokens *t, unsigned per_s, uint64_t now_ns)
{
	uint64_t gone = now_ns > t->at_ns ? now_ns - t->at_ns : 0;

	t->at_ns = now_ns;
	t->spent_ns -= RTE_MIN(gone, t->spent_ns);
	return ODP_LIMIT_FULL_NS - t->spent_ns >= ODP_LIMIT_FULL_NS / per_s;
}

/* One more to this source? A source that has had its share takes nothing from the others'. */
static inline enum odp_limit_verdict odp_limit_take(
	struct odp_limit *l, uint32_t source, uint64_t now_ns)
{
	struct odp_tokens *t = &l->source[source % ODP_LIMIT_SOURCES];

	if (!odp_tokens_any(t, l->source_per_s, now_ns))
		return ODP_LIMIT_SOURCE;
	if (!odp_tokens_any(&l->all, l->total_per_s, now_ns))
		return ODP_LIMIT_ALL;
	t->spent_ns += ODP_LIMIT_FULL_NS / l->source_per_s;
	l->all.spent_ns += ODP_LIMIT_FULL_NS / l->total_per_s;
	return ODP_LIMIT_OK;
}
