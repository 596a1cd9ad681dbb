// SPDX-License-Identifier: Apache-2.0
/* What operators do with the table: look at it, empty it, count. Control thread. */
#include "ct_priv.h"

#include <errno.h>

#include "text.h"

#define FLUSH_STEP 4096u // places looked at in one go

static bool is_conn(const struct odp_conn *c)
{
	uint32_t f = atomic_load_explicit(&c->flags, memory_order_acquire);

	return (f & CT_LIFE) == CT_LIVE && !(f & (CT_F_EXPECT | CT_F_ANCHOR));
}

void odp_ct_info_read(
	const struct odp_ct *ct, const struct odp_conn *c, uint64_t now_ms, struct odp_ct_info *out)
{
	uint32_t flags = CT_GET(c->flags), st = CT_GET(c->st);
	int32_t left = (int32_t)(CT_GET(c->expires) - (uint32_t)now_ms);

	memset(out, 0, sizeof(*out)); // padding too: callers compare and hash them as bytes
	out->key[0] = c->key0;
	out->key[1] = c->key1;
	out->state = (enum odp_ct_state)CT_ST(st);
	out->replied = st & CT_ST_REPLIED;
	out->assured = st & CT_ST_ASSURED;
	out->nat = (uint8_t)((flags & CT_F_SNAT ? ODP_NAT_SRC : 0) |
			     (flags & CT_F_DNAT ? ODP_NAT_DST : 0));
	out->policy = (uint8_t)(flags >> CT_F_POLICY_SHIFT);
	out->helper = (uint8_t)((flags & CT_F_HELPER) >> CT_F_HELPER_SHIFT);
	out->mark = CT_GET(c->mark);
	out->timeout_ms = left > 0 ? (uint32_t)left : 0;
	for (unsigned i = 0; i < 2; i++) {
		out->label[i] = CT_GET(c->label[i]);
		out->packets[i] = CT_GET(c->packets[i]);
		out->bytes[i] = CT_GET(c->bytes[i]);
	}
	const struct odp_conn *m = flags & CT_F_RELATED ? ct_linked(ct, c) : NULL;

	if (m)
		out->master = m->key0;
}

bool odp_ct_dump(struct odp_ct *ct, uint32_t *at, unsigned budget, uint64_t now_ms,
	void (*fn)(const struct odp_ct_info *i, void *arg), void *arg)
{
	(void)odp_ct_control_begin(ct);
	uint32_t n = CT_GET(ct->n_fresh), i = *at;

	for (; i < n && budget; i++, budget--) {
		const struct odp_conn *c = &ct->conns[i];
		struct odp_ct_info info;

		if (!is_conn(c) || ct_expired(c, now_ms))
			continue;
		odp_ct_info_read(ct, c, now_ms, &info);
		if (info.state != ODP_CT_NONE) // it may have been removed meanwhile
			fn(&info, arg);
	}
	*at = i;
	odp_ct_control_end(ct);
	return i < n;
}

bool odp_ct_match_whole(const struct odp_ct_match *m)
{
	return odp_is_all((const uint8_t *)&m->mask, sizeof(m->mask), 0xff);
}

/* Of a tuple, connections alone; of a zone, expectations and mappings too. */
static bool is_meant(
	const struct odp_conn *c, const struct odp_ct_match *m, bool tuple, uint64_t now_ms)
{
	return ct_life(c) == CT_LIVE && (!tuple || (is_conn(c) && !ct_expired(c, now_ms))) &&
	       odp_ct_match(m, &c->key0);
}

bool odp_ct_flush_step(struct odp_ct *ct, const struct odp_ct_match *m, uint32_t *at,
	unsigned budget, uint64_t now_ms, unsigned *removed)
{
	struct ct_worker *w = odp_ct_control_begin(ct);
	uint32_t n = CT_GET(ct->n_fresh), i = *at;
	struct odp_ct_key others = m->mask;
	unsigned gone = 0;

	others.zone = 0;
	bool tuple = !odp_is_all((const uint8_t *)&others, sizeof(others), 0);

	for (; i < n && budget; i++, budget--) {
		struct odp_conn *c = &ct->conns[i];

		if (!is_meant(c, m, tuple, now_ms))
			continue;
		bool counts = is_conn(c);

		if (odp_ct_kill(ct, w, c))
			gone += counts;
	}
	*at = i;
	*removed += gone;
	dpu_counter_add(&w->n.flushed, gone);
	odp_ct_control_end(ct);
	return i < n;
}

unsigned odp_ct_flush(struct odp_ct *ct, int zone)
{
	struct odp_ct_match m = { 0 };
	unsigned removed = 0;
	uint32_t at = 0;

	if (zone >= 0) {
		m.key.zone = (uint16_t)zone;
		m.mask.zone = UINT16_MAX;
	}
	// In steps, or the epoch would stand still for as long as this takes
	while (odp_ct_flush_step(ct, &m, &at, FLUSH_STEP, 0, &removed))
		continue;
	return removed;
}

int odp_ct_flush_key(struct odp_ct *ct, const struct odp_ct_key *key)
{
	struct ct_worker *w = odp_ct_control_begin(ct);
	struct odp_conn *c = odp_ct_lookup(ct, key);
	int ret = c && is_conn(c) && odp_ct_kill(ct, w, c) ? 0 : -ENOENT;

	if (ret == 0)
		dpu_counter_add(&w->n.flushed, 1);
	odp_ct_control_end(ct);
	return ret;
}

unsigned odp_ct_flush_match(struct odp_ct *ct, const struct odp_ct_match *m, uint64_t now_ms)
{
	unsigned removed = 0;
	uint32_t at = 0;

	if (odp_ct_match_whole(m))
		return odp_ct_flush_key(ct, &m->key) == 0;
	while (odp_ct_flush_step(ct, m, &at, FLUSH_STEP, now_ms, &removed))
		continue;
	return removed;
}

void odp_ct_stats(const struct odp_ct *ct, struct odp_ct_stats *out)
{
	*out = (struct odp_ct_stats){ 0 };
	for (unsigned i = 0; i < ct->n_workers; i++) {
		const struct ct_counters *n = &ct->workers[i].n;

#define X(name, text) out->name += dpu_counter_read(&n->name);
		ODP_CT_COUNTERS(X)
#undef X
		for (unsigned s = 0; s < ODP_CT_STATE_COUNT; s++)
			out->by_state[s] += dpu_counter_read(&n->by_state[s]);
	}
	// Differences that were read at different times: never below nothing.
	for (unsigned s = 1; s < ODP_CT_STATE_COUNT; s++) {
		if ((int64_t)out->by_state[s] < 0)
			out->by_state[s] = 0;
		if (s != ODP_CT_EXPECTED)
			out->conns += out->by_state[s];
	}
}
