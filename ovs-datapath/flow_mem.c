// SPDX-License-Identifier: Apache-2.0
/* Where flows live, and how they are found by number or by their users' names for them. */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>

#include "classifier.h"
#include "dpu_alloc.h"

int odp_flows_init(struct odp *dp)
{
	return odp_classifier_init(dp);
}

void odp_flows_fini(struct odp *dp)
{
	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		const struct odp_flow *f = odp_flow_at(dp->chunk, i);

		free((void *)(uintptr_t)atomic_load_explicit(&f->acts, memory_order_relaxed));
		if (f->key != f->inl)
			free((void *)(uintptr_t)f->key);
	}
	for (unsigned c = 0; c < dp->n_chunks; c++)
		free(dp->chunk[c]);
	free(dp->by_ufid);
	odp_classifier_fini(dp);
}

static int chunk_add(struct odp *dp)
{
	unsigned c = dp->n_chunks;

	if (c == FLOW_CHUNKS)
		return -ENOSPC;
	struct odp_flow *flows = dpu_aligned_calloc(
		RTE_CACHE_LINE_SIZE, FLOW_CHUNK, sizeof(*flows));

	if (!flows)
		return -ENOMEM;
	for (unsigned w = 0; w <= dp->conf.n_workers; w++) {
		struct odp_flow_slot *s = atomic_load_explicit(
			&dp->worker[w]->flow_slots[c], memory_order_relaxed);

		// After a failed attempt some workers have theirs already.
		if (!s)
			s = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, FLOW_CHUNK, sizeof(*s));
		atomic_store_explicit(&dp->worker[w]->flow_slots[c], s, memory_order_release);
		if (!s) {
			free(flows);
			return -ENOMEM;
		}
	}
	for (unsigned i = FLOW_CHUNK; i-- > 0;) {
		flows[i].idx = c * FLOW_CHUNK + i;
		flows[i].next = dp->free_flows;
		dp->free_flows = &flows[i];
	}
	dp->chunk[c] = flows;
	dp->n_chunks++;
	return 0;
}

int odp_flow_alloc(struct odp *dp, struct odp_flow **out)
{
	if (!dp->free_flows)
		odp_reclaim(dp);
	if (!dp->free_flows) {
		int ret = chunk_add(dp);

		if (ret < 0)
			return ret;
	}
	*out = dp->free_flows;
	dp->free_flows = (*out)->next;
	return 0;
}

void odp_flow_free(struct odp *dp, struct odp_flow *f)
{
	free((void *)(uintptr_t)atomic_load_explicit(&f->acts, memory_order_relaxed));
	atomic_store_explicit(&f->acts, NULL, memory_order_relaxed);
	for (unsigned w = 0; w <= dp->conf.n_workers; w++) {
		struct odp_flow_slot *s = atomic_load_explicit(
			&dp->worker[w]->flow_slots[f->idx / FLOW_CHUNK], memory_order_relaxed);

		s += f->idx % FLOW_CHUNK;
		atomic_store_explicit(&s->packets, 0, memory_order_relaxed);
		atomic_store_explicit(&s->bytes, 0, memory_order_relaxed);
	}
	if (f->key != f->inl)
		free((void *)(uintptr_t)f->key);
	f->key = NULL;
	f->seen_packets = 0;
	f->used_ns = 0;
	f->next = dp->free_flows;
	dp->free_flows = f;
}

/* ---- by name ---- */

struct odp_flow *odp_flow_by_id(const struct odp *dp, uint64_t id)
{
	uint32_t idx = (uint32_t)id;

	if (idx >= dp->n_chunks * FLOW_CHUNK)
		return NULL;
	struct odp_flow *f = odp_flow_at(dp->chunk, idx);

	return odp_flow_live(f) && f->id == id ? f : NULL;
}

static bool ufid_none(const struct odp_ufid *u)
{
	return (u->w[0] | u->w[1]) == 0;
}

static struct odp_flow **ufid_chain(const struct odp *dp, const struct odp_ufid *u)
{
	return &dp->by_ufid[odp_words_hash(&dp->seed, u->w, 2) % UFID_CHAINS];
}

struct odp_flow *odp_flow_by_ufid(const struct odp *dp, const struct odp_ufid *ufid)
{
	if (ufid_none(ufid) || !dp->by_ufid)
		return NULL;
	struct odp_flow *f = *ufid_chain(dp, ufid);

	while (f && (f->ufid.w[0] != ufid->w[0] || f->ufid.w[1] != ufid->w[1]))
		f = f->ufid_next;
	return f;
}

/* Most datapaths have no flow with such a name: memory comes with the first. */
int odp_flow_ufid_reserve(struct odp *dp, const struct odp_ufid *ufid)
{
	if (!dp->by_ufid && !ufid_none(ufid))
		dp->by_ufid = dpu_calloc(UFID_CHAINS, sizeof(dp->by_ufid[0]));
	return dp->by_ufid || ufid_none(ufid) ? 0 : -ENOMEM;
}

void odp_flow_name(struct odp *dp, struct odp_flow *f, const struct odp_ufid *ufid)
{
	if (!ufid_none(&f->ufid)) {
		struct odp_flow **at = ufid_chain(dp, &f->ufid);

		while (*at != f)
			at = &(*at)->ufid_next;
		*at = f->ufid_next;
	}
	f->ufid = *ufid;
	if (ufid_none(ufid))
		return;
	f->ufid_next = *ufid_chain(dp, ufid);
	*ufid_chain(dp, ufid) = f;
}
