/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Megaflow tuple-space search: one hash table per mask.
 *
 * Lookup order, first match wins:
 *   1. subtables of operator flows, the mask with most bits first, then the older one;
 *   2. all others, by hits since the last odp_classifier_rank(). Their users keep them disjoint.
 *
 * A subtable's slots are an open-addressed array that readers probe without locks. A slot goes from
 * empty to a flow to a tombstone and never back; a fuller array replaces it, and the old one is
 * freed after a grace period.
 */
#pragma once

#include "dp.h"

struct odp_slot {
	_Atomic(struct odp_flow *) flow; // NULL: empty; odp_tombstone: was deleted
	uint32_t hash; // written before flow is published
};

struct odp_slots {
	uint32_t mask; // size - 1
	uint32_t used; // control: flows and tombstones
	struct odp_slot s[];
};

struct odp_subtable {
	/* Fixed. */
	struct odp_kw mask;
	unsigned words; // of the mask up to its last non-zero one
	unsigned slot; // index in dp->st and the workers' st_hits
	unsigned bits;
	bool prior; // looked up first

	_Atomic(struct odp_slots *) slots; // owned; RCU

	/* Control thread. */
	unsigned n_flows;
	uint64_t serial; // order of creation
	uint64_t seen_hits, rank;
};

extern struct odp_flow odp_tombstone;

/* Find a flow of `st` whose key is `k` masked. Any thread inside a turn; control. */
static inline struct odp_flow *odp_subtable_find(
	const struct odp_subtable *st, const struct odp_kw *masked, uint32_t hash)
{
	const struct odp_slots *t = atomic_load_explicit(&st->slots, memory_order_acquire);

	for (uint32_t i = hash & t->mask, n = 0; n <= t->mask; i = (i + 1) & t->mask, n++) {
		struct odp_flow *f = atomic_load_explicit(&t->s[i].flow, memory_order_acquire);

		if (!f)
			return NULL;
		if (f != &odp_tombstone && t->s[i].hash == hash &&
			odp_kw_eq(&f->key, masked, st->words))
			return f;
	}
	return NULL;
}

/* The flow for an exact key, or NULL. *slot is set to the subtable that had it. */
struct odp_flow *odp_classifier_lookup(
	const struct odp_view *v, const struct odp_kw *k, unsigned *slot);

/* Control thread. */
int odp_classifier_init(struct odp *dp);
void odp_classifier_fini(struct odp *dp);
/* The subtable of a mask, created when `create`; NULL: none, or out of memory or of subtables. */
struct odp_subtable *odp_subtable_get(
	struct odp *dp, const struct odp_kw *mask, bool prior, bool create);
/* 0, or -ENOMEM: no worker has seen the flow. Its key is masked already. */
int odp_subtable_insert(struct odp *dp, struct odp_subtable *st, struct odp_flow *f);
/* Unlinks; drops the subtable with its last flow. */
void odp_subtable_remove(struct odp *dp, struct odp_flow *f);
/* Drop a subtable that has no flow (left). */
void odp_subtable_drop_if_empty(struct odp *dp, struct odp_subtable *st);
/* Order subtables by recent hits. */
void odp_classifier_rank(struct odp *dp);
