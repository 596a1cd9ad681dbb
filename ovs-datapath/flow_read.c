// SPDX-License-Identifier: Apache-2.0
/* Flows as users read them: counters, times of use, dumps. */
#include "flow.h"

#include <errno.h>
#include <limits.h>

#include "classifier.h"
#include "dpu_clock.h"

#define SAMPLE_FLOWS (128u * 1024) // in one tick

void odp_flow_stats_read(const struct odp *dp, const struct odp_flow *f, struct odp_flow_stats *out)
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

	odp_flow_stats_read(dp, f, &s);
	if (s.packets == f->seen_packets)
		return;
	f->seen_packets = s.packets;
	f->used_ns = now_ns;
}

const struct odp_flow *odp_flow_sample(struct odp *dp, uint64_t id, uint64_t now_ns)
{
	struct odp_flow *f = odp_flow_by_id(dp, id);

	if (f)
		flow_sample(dp, f, now_ns);
	return f;
}

/* A bounded number, in turns: of a million flows a tick takes no longer than of these. */
void odp_flows_sample(struct odp *dp, uint64_t now_ns)
{
	uint32_t size = dp->n_chunks * FLOW_CHUNK;

	for (uint32_t n = RTE_MIN(size, SAMPLE_FLOWS); n > 0; n--) {
		struct odp_flow *f = odp_flow_at(dp->chunk, dp->sample_cursor);

		if (odp_flow_live(f))
			flow_sample(dp, f, now_ns);
		dp->sample_cursor = dp->sample_cursor + 1 < size ? dp->sample_cursor + 1 : 0;
	}
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

void odp_flow_describe(const struct odp *dp, const struct odp_flow *f, struct odp_flow_info *info)
{
	const struct odp_acts *a = atomic_load_explicit(&f->acts, memory_order_relaxed);

	*info = (struct odp_flow_info){
		.id = f->id, .actions = a->list, .actions_len = a->len, .origin = f->origin
	};
	flow_expand(f, &info->key, &info->mask);
	odp_flow_stats_read(dp, f, &info->stats);
}

static void flow_info(
	struct odp *dp, struct odp_flow *f, uint64_t now_ns, struct odp_flow_info *info)
{
	const struct odp_acts *a = atomic_load_explicit(&f->acts, memory_order_relaxed);

	flow_sample(dp, f, now_ns);
	info->id = f->id;
	info->ufid = f->ufid;
	flow_expand(f, &info->key, &info->mask);
	info->actions = a->list;
	info->actions_len = a->len;
	info->origin = f->origin;
	odp_flow_stats_read(dp, f, &info->stats);
}

bool odp_flow_dump(struct odp *dp, uint64_t *cursor, unsigned max,
	void (*fn)(const struct odp_flow_info *f, void *arg), void *arg)
{
	uint64_t now_ns = dpu_now_ns(), end = (uint64_t)dp->n_chunks * FLOW_CHUNK;

	for (; max > 0 && *cursor < end; max--, ++*cursor) {
		struct odp_flow *f = odp_flow_at(dp->chunk, (uint32_t)*cursor);
		struct odp_flow_info info;

		if (!odp_flow_live(f))
			continue;
		flow_info(dp, f, now_ns, &info);
		fn(&info, arg);
	}
	return *cursor < end;
}

void odp_flow_foreach(
	struct odp *dp, void (*fn)(const struct odp_flow_info *f, void *arg), void *arg)
{
	uint64_t cursor = 0;

	while (odp_flow_dump(dp, &cursor, UINT_MAX, fn, arg))
		;
}

int odp_flow_get(struct odp *dp, const struct odp_ufid *ufid, struct odp_flow_info *out)
{
	struct odp_flow *f = odp_flow_by_ufid(dp, ufid);

	if (!f)
		return -ENOENT;
	flow_info(dp, f, dpu_now_ns(), out);
	return 0;
}

int odp_flow_get_id(struct odp *dp, uint64_t id, struct odp_flow_info *out)
{
	struct odp_flow *f = odp_flow_by_id(dp, id);

	if (!f)
		return -ENOENT;
	flow_info(dp, f, dpu_now_ns(), out);
	return 0;
}
