// SPDX-License-Identifier: Apache-2.0
/* Names of states, timeout policies and limits of zones: what operators set. */
#include "ct_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "dpu_alloc.h"

#define SAMPLE_MAX 131072u // half-open connections of a zone that are known as such

static const struct {
	const char *name, *proto;
	uint32_t timeout_ms;
} states[] = {
#define X(name, text, proto, ms) { text, proto, ms },
	ODP_CT_STATES(X)
#undef X
};

const char *odp_ct_state_name(enum odp_ct_state s)
{
	return s < ODP_CT_STATE_COUNT ? states[s].name : "?";
}

const char *odp_ct_state_proto(enum odp_ct_state s)
{
	return s < ODP_CT_STATE_COUNT ? states[s].proto : "?";
}

int odp_ct_state_parse(const char *name, enum odp_ct_state *out)
{
	for (unsigned i = 1; i < ODP_CT_STATE_COUNT; i++) {
		char full[40];

		(void)snprintf(full, sizeof(full), "%s_%s", states[i].proto, states[i].name);
		if (strcasecmp(full, name) == 0) {
			*out = (enum odp_ct_state)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- timeouts ---- */

int odp_ct_timeout_set(struct odp_ct *ct, unsigned policy, enum odp_ct_state s, uint32_t timeout_ms)
{
	if (policy >= ODP_CT_POLICIES || s == ODP_CT_NONE || s >= ODP_CT_STATE_COUNT ||
		timeout_ms == 0 || timeout_ms > ODP_CT_TIMEOUT_MAX_MS)
		return -EINVAL;
	CT_SET(ct->timeout_ms[policy][s], timeout_ms);
	return 0;
}

uint32_t odp_ct_timeout(const struct odp_ct *ct, unsigned policy, enum odp_ct_state s)
{
	return policy < ODP_CT_POLICIES && s < ODP_CT_STATE_COUNT
		       ? CT_GET(ct->timeout_ms[policy][s])
		       : 0;
}

void odp_ct_policy_reset(struct odp_ct *ct, unsigned policy)
{
	for (unsigned i = 0; policy < ODP_CT_POLICIES && i < ODP_CT_STATE_COUNT; i++)
		CT_SET(ct->timeout_ms[policy][i], states[i].timeout_ms);
}

int odp_ct_zone_policy(struct odp_ct *ct, uint16_t zone, unsigned policy)
{
	if (policy >= ODP_CT_POLICIES)
		return -EINVAL;
	CT_SET(ct->zones[zone].policy, (uint8_t)policy);
	return 0;
}

unsigned odp_ct_zone_policy_get(const struct odp_ct *ct, uint16_t zone)
{
	return CT_GET(ct->zones[zone].policy);
}

/* ---- limits ---- */

/*
 * Twice as many places as connections: half of them are empty, so that each finds one. A sample
 * that was made stays, for workers may be looking at it; a larger one comes before it.
 */
static uint32_t sample_size(uint32_t limit, uint32_t max)
{
	uint32_t n = 32;

	while (n / 2 < limit && n < max)
		n <<= 1;
	return n;
}

static int sample_make(_Atomic(struct ct_sample *) *to, uint32_t n)
{
	struct ct_sample *old = atomic_load_explicit(to, memory_order_relaxed), *s;

	if (old && old->mask >= n - 1)
		return 0;
	s = dpu_calloc(1, sizeof(*s) + n * sizeof(s->at[0]));
	if (!s)
		return -ENOMEM;
	s->older = old;
	s->mask = n - 1;
	for (uint32_t i = 0; old && i <= old->mask; i++) {
		CT_SET(s->at[i].idx, CT_GET(old->at[i].idx));
		CT_SET(s->at[i].life, CT_GET(old->at[i].life));
	}
	// Release: pairs with the acquire in odp_ct_admit() and odp_ct_sample().
	atomic_store_explicit(to, s, memory_order_release);
	return 0;
}

void odp_ct_samples_free(struct ct_sample *s)
{
	struct ct_sample *older;

	for (; s; s = older) {
		older = s->older;
		free(s);
	}
}

int odp_ct_limit_set(struct odp_ct *ct, uint16_t zone, uint32_t limit)
{
	struct ct_zone *z = &ct->zones[zone];

	if (limit == CT_ZONE_DEFAULT)
		limit--;
	if (limit != ODP_CT_NO_LIMIT && sample_make(&z->sample, sample_size(limit, SAMPLE_MAX)) < 0)
		return -ENOMEM;
	CT_SET(z->limit, limit);
	return 0;
}

void odp_ct_limit_del(struct odp_ct *ct, uint16_t zone)
{
	CT_SET(ct->zones[zone].limit, CT_ZONE_DEFAULT);
}

/* One sample for all: a zone's connections are in as many places of it as one of its own had. */
int odp_ct_limit_default(struct odp_ct *ct, uint32_t limit)
{
	uint32_t max = sample_size(ct->max / 2, UINT32_MAX / 2);

	if (limit != ODP_CT_NO_LIMIT && sample_make(&ct->shared, max) < 0)
		return -ENOMEM;
	CT_SET(ct->default_mask, sample_size(limit, max < SAMPLE_MAX ? max : SAMPLE_MAX) - 1);
	CT_SET(ct->default_limit, limit);
	return 0;
}

uint32_t odp_ct_limit_default_get(const struct odp_ct *ct)
{
	return CT_GET(ct->default_limit);
}

void odp_ct_limit_get(const struct odp_ct *ct, uint16_t zone, struct odp_ct_limit *out)
{
	uint32_t limit = CT_GET(ct->zones[zone].limit);

	out->own = limit != CT_ZONE_DEFAULT;
	out->limit = out->own ? limit : CT_GET(ct->default_limit);
	out->count = CT_GET(ct->zones[zone].count);
}
