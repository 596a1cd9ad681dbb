// SPDX-License-Identifier: Apache-2.0
/* Megaflow tuple-space search. */
#include "classifier.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

#define SLOTS_MIN 64u

struct odp_flow odp_tombstone;

struct odp_flow *odp_classifier_lookup(
	const struct odp_view *v, const struct odp_kw *k, unsigned *slot)
{
	for (unsigned i = 0; i < v->n; i++) {
		const struct odp_subtable *st = v->st[i];
		struct odp_kw masked;

		for (unsigned j = 0; j < st->words; j++)
			masked.w[j] = k->w[j] & st->mask.w[j];
		struct odp_flow *f = odp_subtable_find(
			st, &masked, odp_kw_hash(&v->seed, &masked, st->words));

		if (f) {
			*slot = st->slot;
			return f;
		}
	}
	return NULL;
}

static struct odp_slots *slots_create(uint32_t size)
{
	struct odp_slots *t = dpu_calloc(1, sizeof(*t) + (size_t)size * sizeof(struct odp_slot));

	if (t)
		t->mask = size - 1;
	return t;
}

static bool before(const struct odp_subtable *a, const struct odp_subtable *b)
{
	if (a->prior != b->prior)
		return a->prior;
	if (a->prior)
		return a->bits != b->bits ? a->bits > b->bits : a->serial < b->serial;
	return a->rank != b->rank ? a->rank > b->rank : a->serial < b->serial;
}

static enum odp_depth depth_of(uint64_t map)
{
	if (map >> ODP_KEY_L4_WORD)
		return ODP_DEPTH_L4;
	return map >> ODP_KEY_L2_WORDS ? ODP_DEPTH_L3 : ODP_DEPTH_L2;
}

enum view_change { VIEW_SAME_DECISIONS, VIEW_NEW_DECISIONS };

/* A view of the subtables that there are now; NULL: out of memory. */
static struct odp_view *view_create(const struct odp *dp, enum view_change change)
{
	const struct odp_view *old = atomic_load_explicit(&dp->view, memory_order_relaxed);
	struct odp_view *v = dpu_calloc(1, sizeof(*v) + dp->n_subtables * sizeof(v->st[0]));

	if (!v)
		return NULL;
	for (unsigned s = 0; s < SUBTABLES_MAX; s++) {
		struct odp_subtable *st = dp->st[s];
		unsigned at = v->n;

		if (!st)
			continue;
		while (at > 0 && before(st, v->st[at - 1])) {
			v->st[at] = v->st[at - 1];
			at--;
		}
		v->st[at] = st;
		v->n++;
		for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
			v->any.w[i] |= st->mask.w[i];
	}
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		v->map |= (uint64_t)(v->any.w[i] != 0) << i;
	v->depth = depth_of(v->map);
	v->seed = dp->seed;
	v->gen = old ? old->gen : 0;
	if (change == VIEW_NEW_DECISIONS || !old || !odp_kw_eq(&old->any, &v->any, ODP_KEY_WORDS))
		v->gen++;
	return v;
}

static void view_publish(struct odp *dp, struct odp_view *v)
{
	struct odp_view *old = atomic_load_explicit(&dp->view, memory_order_relaxed);

	atomic_store_explicit(&dp->view, v, memory_order_release);
	if (old)
		odp_defer(dp, old);
}

int odp_classifier_init(struct odp *dp)
{
	struct odp_view *v = view_create(dp, VIEW_NEW_DECISIONS);

	if (!v)
		return -ENOMEM;
	view_publish(dp, v);
	return 0;
}

static void subtable_destroy(struct odp_subtable *st)
{
	if (!st)
		return;
	free(atomic_load_explicit(&st->slots, memory_order_relaxed));
	free(st);
}

void odp_classifier_fini(struct odp *dp)
{
	for (unsigned s = 0; s < SUBTABLES_MAX; s++)
		subtable_destroy(dp->st[s]);
	free(atomic_load_explicit(&dp->view, memory_order_relaxed));
}

static struct odp_subtable *subtable_create(
	struct odp *dp, const struct odp_kw *mask, bool prior, unsigned slot)
{
	struct odp_subtable *st = dpu_calloc(1, sizeof(*st));
	struct odp_slots *t = slots_create(SLOTS_MIN);

	if (!st || !t) {
		free(st);
		free(t);
		return NULL;
	}
	st->mask = *mask;
	st->prior = prior;
	st->slot = slot;
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++) {
		if (mask->w[i])
			st->words = i + 1;
		st->bits += (unsigned)__builtin_popcountll(mask->w[i]);
	}
	atomic_store_explicit(&st->slots, t, memory_order_relaxed);
	for (unsigned i = 0; i < SUBTABLES_MAX; i++)
		if (dp->st[i] && dp->st[i]->serial >= st->serial)
			st->serial = dp->st[i]->serial + 1;
	return st;
}

struct odp_subtable *odp_subtable_get(
	struct odp *dp, const struct odp_kw *mask, bool prior, bool create)
{
	unsigned free_slot = SUBTABLES_MAX;

	for (unsigned s = 0; s < SUBTABLES_MAX; s++) {
		struct odp_subtable *st = dp->st[s];

		if (!st)
			free_slot = s < free_slot ? s : free_slot;
		else if (st->prior == prior && odp_kw_eq(&st->mask, mask, ODP_KEY_WORDS))
			return st;
	}
	if (!create || free_slot == SUBTABLES_MAX)
		return NULL;
	// Published with its first flow.
	dp->st[free_slot] = subtable_create(dp, mask, prior, free_slot);
	if (dp->st[free_slot])
		dp->n_subtables++;
	return dp->st[free_slot];
}

static void slots_put(struct odp_slots *t, struct odp_flow *f, uint32_t hash)
{
	uint32_t i = hash & t->mask;

	while (atomic_load_explicit(&t->s[i].flow, memory_order_relaxed))
		i = (i + 1) & t->mask;
	t->s[i].hash = hash;
	t->used++;
	// Release: the hash and the flow's key are seen before the pointer.
	atomic_store_explicit(&t->s[i].flow, f, memory_order_release);
}

static int slots_grow(struct odp *dp, struct odp_subtable *st, struct odp_slots *t)
{
	uint32_t size = SLOTS_MIN;

	while (size < (st->n_flows + 1) * 4)
		size *= 2;
	struct odp_slots *bigger = slots_create(size);

	if (!bigger)
		return -ENOMEM;
	for (uint32_t i = 0; i <= t->mask; i++) {
		struct odp_flow *f = atomic_load_explicit(&t->s[i].flow, memory_order_relaxed);

		if (f && f != &odp_tombstone)
			slots_put(bigger, f, t->s[i].hash);
	}
	atomic_store_explicit(&st->slots, bigger, memory_order_release);
	odp_defer(dp, t);
	return 0;
}

void odp_subtable_drop_if_empty(struct odp *dp, struct odp_subtable *st)
{
	struct odp_view *v;

	if (st->n_flows > 0)
		return;
	dp->st[st->slot] = NULL;
	dp->n_subtables--;
	v = view_create(dp, VIEW_SAME_DECISIONS);
	if (!v) {
		// Out of memory: keep it, empty, until the next flow or view.
		dp->st[st->slot] = st;
		dp->n_subtables++;
		return;
	}
	view_publish(dp, v);
	odp_defer(dp, atomic_load_explicit(&st->slots, memory_order_relaxed));
	odp_defer(dp, st);
}

/* Allocate first: a flow that a worker may have seen cannot be taken back. */
int odp_subtable_insert(struct odp *dp, struct odp_subtable *st, struct odp_flow *f)
{
	struct odp_slots *t = atomic_load_explicit(&st->slots, memory_order_relaxed);
	struct odp_view *v = NULL;
	int ret = 0;

	if ((t->used + 1) * 2 > t->mask + 1)
		ret = slots_grow(dp, st, t);
	// An operator's flow takes packets away from flows that caches know.
	if (ret == 0 && (st->n_flows == 0 || st->prior)) {
		v = view_create(dp, st->prior ? VIEW_NEW_DECISIONS : VIEW_SAME_DECISIONS);
		if (!v)
			ret = -ENOMEM;
	}
	if (ret < 0) {
		odp_subtable_drop_if_empty(dp, st);
		return ret;
	}
	f->st = st;
	slots_put(atomic_load_explicit(&st->slots, memory_order_relaxed), f,
		odp_kw_hash(&dp->seed, &f->key, st->words));
	st->n_flows++;
	if (v)
		view_publish(dp, v);
	return 0;
}

void odp_subtable_remove(struct odp *dp, struct odp_flow *f)
{
	struct odp_subtable *st = f->st;
	struct odp_slots *t = atomic_load_explicit(&st->slots, memory_order_relaxed);
	uint32_t i = odp_kw_hash(&dp->seed, &f->key, st->words) & t->mask;

	while (atomic_load_explicit(&t->s[i].flow, memory_order_relaxed) != f)
		i = (i + 1) & t->mask;
	atomic_store_explicit(&t->s[i].flow, &odp_tombstone, memory_order_release);
	st->n_flows--;
	odp_subtable_drop_if_empty(dp, st);
}

void odp_classifier_rank(struct odp *dp)
{
	bool moved = false;
	const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);

	for (unsigned s = 0; s < SUBTABLES_MAX; s++) {
		struct odp_subtable *st = dp->st[s];
		uint64_t hits = 0;

		if (!st)
			continue;
		for (unsigned w = 0; w <= dp->conf.n_workers; w++)
			hits += dpu_counter_read(&dp->worker[w]->st_hits[s]);
		st->rank = hits - st->seen_hits;
		st->seen_hits = hits;
	}
	for (unsigned i = 1; i < v->n; i++)
		moved |= before(v->st[i], v->st[i - 1]);
	struct odp_view *better = moved ? view_create(dp, VIEW_SAME_DECISIONS) : NULL;

	if (better) // otherwise the old order stays right
		view_publish(dp, better);
}
