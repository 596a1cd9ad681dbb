// SPDX-License-Identifier: Apache-2.0
/* The flow table as users see it: put, delete, dump. */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>

#include "action.h"
#include "classifier.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "key_check.h"

static bool is_operator(const char *origin)
{
	return !strcmp(origin, "operator");
}

/* ---- memory ---- */

int odp_flows_init(struct odp *dp)
{
	return odp_classifier_init(dp);
}

static struct odp_flow *flow_at(const struct odp *dp, uint32_t idx)
{
	return odp_flow_at(dp->chunk, idx);
}

static bool flow_live(const struct odp_flow *f)
{
	return atomic_load_explicit(&f->gen, memory_order_relaxed) & 1;
}

void odp_flows_fini(struct odp *dp)
{
	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		const struct odp_flow *f = flow_at(dp, i);

		free((void *)(uintptr_t)atomic_load_explicit(&f->acts, memory_order_relaxed));
		if (f->key != f->inl)
			free((void *)(uintptr_t)f->key);
	}
	for (unsigned c = 0; c < dp->n_chunks; c++)
		free(dp->chunk[c]);
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

static int flow_alloc(struct odp *dp, struct odp_flow **out)
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

/* ---- table ---- */

static int flow_insert(struct odp *dp, const struct odp_compact *c, const struct odp_acts *acts,
	const char *origin, uint64_t *id_out)
{
	struct odp_flow *f;
	int ret = flow_alloc(dp, &f);

	if (ret < 0)
		return ret;
	uint32_t gen = atomic_load_explicit(&f->gen, memory_order_relaxed) + 1;

	f->origin = origin;
	f->id = (uint64_t)gen << 32 | f->idx;
	atomic_store_explicit(&f->acts, acts, memory_order_relaxed);
	atomic_store_explicit(&f->gen, gen, memory_order_release);
	ret = odp_classifier_add(dp, f, c);
	if (ret < 0) {
		// As if it had never been; the caller keeps the actions.
		atomic_store_explicit(&f->acts, NULL, memory_order_relaxed);
		atomic_store_explicit(&f->gen, gen - 1, memory_order_relaxed);
		odp_flow_free(dp, f);
		return ret;
	}
	dp->n_flows++;
	if (id_out)
		*id_out = f->id;
	return 0;
}

int odp_flow_put(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_action *actions, unsigned n_actions, bool replace, const char *origin,
	uint64_t *id_out)
{
	struct odp_kw k = odp_kw(key), m = odp_kw(mask);
	struct odp_compact c;
	struct odp_acts *acts;
	struct odp_flow *f;
	int ret;

	ret = odp_key_check(key, mask);
	if (ret < 0)
		return ret;
	odp_compact(&c, &k, &m, is_operator(origin));
	f = odp_classifier_find(dp, &c);
	if (f && !replace)
		return -EEXIST;
	ret = odp_acts_create(dp, key, mask, actions, n_actions, &acts);
	if (ret < 0)
		return ret;
	if (f) {
		const struct odp_acts *old = atomic_load_explicit(&f->acts, memory_order_relaxed);

		atomic_store_explicit(&f->acts, acts, memory_order_release);
		odp_defer(dp, (void *)(uintptr_t)old);
		f->origin = origin;
		if (id_out)
			*id_out = f->id;
		return 0;
	}
	ret = flow_insert(dp, &c, acts, origin, id_out);
	if (ret < 0)
		free(acts);
	return ret;
}

static void flow_remove(struct odp *dp, struct odp_flow *f)
{
	// First the generation: from now on no cache hands it out again.
	atomic_fetch_add_explicit(&f->gen, 1, memory_order_release);
	odp_classifier_del(dp, f);
	dp->n_flows--;
	odp_defer_flow(dp, f);
}

int odp_flow_del(struct odp *dp, const struct odp_key *key, const struct odp_key *mask)
{
	struct odp_kw k = odp_kw(key), m = odp_kw(mask);
	struct odp_compact c;
	struct odp_flow *f;

	odp_compact(&c, &k, &m, true);
	f = odp_classifier_find(dp, &c);
	if (!f) {
		c.prior = false;
		f = odp_classifier_find(dp, &c);
	}
	if (!f)
		return -ENOENT;
	flow_remove(dp, f);
	odp_reclaim_if_many(dp);
	return 0;
}

static struct odp_flow *flow_by_id(const struct odp *dp, uint64_t id)
{
	uint32_t idx = (uint32_t)id;

	if (idx >= dp->n_chunks * FLOW_CHUNK)
		return NULL;
	struct odp_flow *f = flow_at(dp, idx);

	return flow_live(f) && f->id == id ? f : NULL;
}

int odp_flow_del_id(struct odp *dp, uint64_t id)
{
	struct odp_flow *f = flow_by_id(dp, id);

	if (!f)
		return -ENOENT;
	flow_remove(dp, f);
	odp_reclaim_if_many(dp);
	return 0;
}

unsigned odp_flow_flush(struct odp *dp, const char *origin)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		struct odp_flow *f = flow_at(dp, i);

		if (!flow_live(f) || (origin && strcmp(f->origin, origin) != 0))
			continue;
		flow_remove(dp, f);
		n++;
	}
	odp_reclaim(dp);
	return n;
}

static bool refers_to(const struct odp_flow *f, uint32_t port)
{
	const struct odp_acts *a = atomic_load_explicit(&f->acts, memory_order_relaxed);

	if (f->st->port == port)
		return true;
	for (unsigned i = 0; i < a->n; i++)
		if (a->a[i].type == ODP_ACT_OUTPUT && a->a[i].port == port)
			return true;
	return false;
}

void odp_flows_port_deleted(struct odp *dp, uint32_t port)
{
	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		struct odp_flow *f = flow_at(dp, i);

		if (flow_live(f) && refers_to(f, port))
			flow_remove(dp, f);
	}
}

/* ---- reading ---- */

static void flow_stats(const struct odp *dp, const struct odp_flow *f, struct odp_flow_stats *out)
{
	*out = (struct odp_flow_stats){ .used_ns = f->used_ns };
	for (unsigned w = 0; w <= dp->conf.n_workers; w++) {
		const struct odp_flow_slot *s = atomic_load_explicit(
			&dp->worker[w]->flow_slots[f->idx / FLOW_CHUNK], memory_order_relaxed);

		s += f->idx % FLOW_CHUNK;
		out->packets += dpu_counter_read(&s->packets);
		out->bytes += dpu_counter_read(&s->bytes);
	}
}

/* Workers keep no time stamps: a flow was used if its counter moved since the last look. */
static void flow_sample(const struct odp *dp, struct odp_flow *f, uint64_t now_ns)
{
	struct odp_flow_stats s;

	flow_stats(dp, f, &s);
	if (s.packets == f->seen_packets)
		return;
	f->seen_packets = s.packets;
	f->used_ns = now_ns;
}

const struct odp_flow *odp_flow_sample(struct odp *dp, uint64_t id, uint64_t now_ns)
{
	struct odp_flow *f = flow_by_id(dp, id);

	if (f)
		flow_sample(dp, f, now_ns);
	return f;
}

void odp_flows_sample(struct odp *dp, uint64_t now_ns)
{
	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++)
		if (flow_live(flow_at(dp, i)))
			flow_sample(dp, flow_at(dp, i), now_ns);
}

static void flow_expand(const struct odp_flow *f, struct odp_key *key, struct odp_key *mask)
{
	struct odp_kw k = { 0 }, m = { 0 };
	unsigned n = 0;

	for (uint64_t map = f->st->map; map; map &= map - 1, n++) {
		k.w[__builtin_ctzll(map)] = f->key[n];
		m.w[__builtin_ctzll(map)] = f->st->w[n];
	}
	memcpy(key, &k, sizeof(*key));
	memcpy(mask, &m, sizeof(*mask));
}

void odp_flow_foreach(
	struct odp *dp, void (*fn)(const struct odp_flow_info *f, void *arg), void *arg)
{
	uint64_t now_ns = dpu_now_ns();

	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		struct odp_flow *f = flow_at(dp, i);
		struct odp_flow_info info;

		if (!flow_live(f))
			continue;
		flow_sample(dp, f, now_ns);
		const struct odp_acts *a = atomic_load_explicit(&f->acts, memory_order_relaxed);

		info.id = f->id;
		flow_expand(f, &info.key, &info.mask);
		info.actions = a->a;
		info.n_actions = a->n;
		info.origin = f->origin;
		flow_stats(dp, f, &info.stats);
		fn(&info, arg);
	}
}
