// SPDX-License-Identifier: Apache-2.0
/* The flow table as users see it: put, delete, dump. */
#include "flow.h"

#include <errno.h>
#include <stdlib.h>

#include "action.h"
#include "classifier.h"
#include "key_check.h"

static bool is_operator(const char *origin)
{
	return !strcmp(origin, "operator");
}

/* ---- table ---- */

static int flow_insert(struct odp *dp, const struct odp_compact *c, const struct odp_acts *acts,
	const char *origin, struct odp_flow **out)
{
	struct odp_flow *f;
	int ret = odp_flow_alloc(dp, &f);

	if (ret < 0)
		return ret;
	uint32_t gen = atomic_load_explicit(&f->gen, memory_order_relaxed) + 1;

	f->origin = origin;
	f->id = (uint64_t)gen << 32 | f->idx;
	atomic_store_explicit(&f->acts, acts, memory_order_relaxed);
	ret = odp_classifier_add(dp, f, c);
	if (ret < 0) {
		// As if it had never been; the caller keeps the actions.
		atomic_store_explicit(&f->acts, NULL, memory_order_relaxed);
		odp_flow_free(dp, f);
		return ret;
	}
	dp->n_flows++;
	*out = f;
	return 0;
}

/* Workers go on with the old actions or with the new ones, at any time with one of them. */
static void flow_replace(
	struct odp *dp, struct odp_flow *f, const struct odp_acts *acts, const char *origin)
{
	const struct odp_acts *old = atomic_load_explicit(&f->acts, memory_order_relaxed);

	atomic_store_explicit(&f->acts, acts, memory_order_release);
	odp_defer(dp, (void *)(uintptr_t)old);
	f->origin = origin;
	odp_flows_changed(dp);
}

static int flow_put(struct odp *dp, struct odp_flow_req *r, const char *origin)
{
	const struct odp_key *key = r->key, *mask = r->mask;
	struct odp_compact c;
	struct odp_acts *acts = NULL;
	int ret;

	ret = odp_key_check(key, mask);
	if (ret < 0)
		return ret;
	odp_compact(&c, key, mask, is_operator(origin));
	struct odp_flow *f = odp_classifier_find(dp, &c);
	const struct odp_flow *named = odp_flow_by_ufid(dp, &r->ufid);

	if (f ? r->how == ODP_FLOW_CREATE : r->how == ODP_FLOW_MODIFY)
		return f ? -EEXIST : -ENOENT;
	if (named && named != f)
		return -EEXIST;
	ret = odp_flow_ufid_reserve(dp, &r->ufid);
	if (ret == 0)
		ret = odp_acts_create(dp, key, mask, r->actions, r->actions_len, &acts);
	if (ret < 0)
		return ret;
	if (f) {
		flow_replace(dp, f, acts, origin);
	} else {
		ret = flow_insert(dp, &c, acts, origin, &f);
		if (ret < 0) {
			free(acts);
			return ret;
		}
	}
	if (named != f)
		odp_flow_name(dp, f, &r->ufid);
	r->id = f->id;
	return 0;
}

int odp_flow_put(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_act *actions, size_t len, bool replace, const char *origin,
	uint64_t *id_out)
{
	struct odp_flow_req r = { .key = key,
		.mask = mask,
		.actions = actions,
		.actions_len = len,
		.how = replace ? ODP_FLOW_PUT : ODP_FLOW_CREATE };
	int ret = flow_put(dp, &r, origin);

	if (ret == 0 && id_out)
		*id_out = r.id;
	return ret;
}

unsigned odp_flow_put_batch(
	struct odp *dp, struct odp_flow_req *reqs, unsigned n, const char *origin)
{
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		reqs[i].ret = flow_put(dp, &reqs[i], origin);
		done += reqs[i].ret == 0;
	}
	odp_reclaim_if_many(dp);
	return done;
}

static void flow_remove(struct odp *dp, struct odp_flow *f)
{
	// First the generation: from now on no cache hands it out again.
	atomic_fetch_add_explicit(&f->gen, 1, memory_order_release);
	odp_classifier_del(dp, f);
	odp_flow_name(dp, f, &(struct odp_ufid){ 0 });
	dp->n_flows--;
	odp_defer_flow(dp, f);
	odp_flows_changed(dp);
}

static struct odp_flow *flow_of(
	const struct odp *dp, const struct odp_key *key, const struct odp_key *mask)
{
	struct odp_compact c;

	odp_compact(&c, key, mask, true);
	struct odp_flow *f = odp_classifier_find(dp, &c);

	c.prior = false;
	return f ? f : odp_classifier_find(dp, &c);
}

/* NULL: there was none. */
static int flow_del(struct odp *dp, struct odp_flow *f)
{
	if (!f)
		return -ENOENT;
	flow_remove(dp, f);
	odp_reclaim_if_many(dp);
	return 0;
}

int odp_flow_del(struct odp *dp, const struct odp_key *key, const struct odp_key *mask)
{
	return flow_del(dp, flow_of(dp, key, mask));
}

int odp_flow_del_id(struct odp *dp, uint64_t id)
{
	return flow_del(dp, odp_flow_by_id(dp, id));
}

unsigned odp_flow_del_batch(struct odp *dp, struct odp_flow_req *reqs, unsigned n)
{
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++) {
		struct odp_flow_req *r = &reqs[i];
		struct odp_flow *f = r->key ? flow_of(dp, r->key, r->mask)
					    : odp_flow_by_ufid(dp, &r->ufid);

		r->ret = f ? 0 : -ENOENT;
		if (!f)
			continue;
		r->id = f->id;
		odp_flow_stats_read(dp, f, &r->stats);
		done += flow_del(dp, f) == 0;
	}
	return done;
}

unsigned odp_flow_flush(struct odp *dp, const char *origin)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		struct odp_flow *f = odp_flow_at(dp->chunk, i);

		if (!odp_flow_live(f) || (origin && strcmp(f->origin, origin) != 0))
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
	return odp_acts_name_port(a->list, a->len, port);
}

void odp_flows_port_deleted(struct odp *dp, uint32_t port)
{
	for (uint32_t i = 0; i < dp->n_chunks * FLOW_CHUNK; i++) {
		struct odp_flow *f = odp_flow_at(dp->chunk, i);

		if (odp_flow_live(f) && refers_to(f, port))
			flow_remove(dp, f);
	}
}
