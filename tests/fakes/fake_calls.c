// SPDX-License-Identifier: Apache-2.0
#include "fake_calls.h"

#include <errno.h>
#include <string.h>

struct fake_calls fake_calls;

void fake_calls_reset(void)
{
	json_decref(fake_calls.last);
	memset(&fake_calls, 0, sizeof(fake_calls));
}

static int count(enum card_method_id id, const json_t *params)
{
	fake_calls.n[id]++;
	fake_calls.changes += fake_calls.last && params && !json_equal(fake_calls.last, params);
	json_decref(fake_calls.last);
	fake_calls.last = params ? json_deep_copy(params) : json_object();
	fake_calls.last_id = id;
	if (fake_calls.needs[id] && !fake_calls.done[fake_calls.needs[id] - card_method_at(0)])
		return -ENODEV;
	fake_calls.done[id] += fake_calls.ret[id] == 0;
	return fake_calls.ret[id];
}

#define X(name)                                                                              \
	static int fake_##name(                                                              \
		struct card *c, const json_t *params, json_t **result, struct card_error *e) \
	{                                                                                    \
		(void)c;                                                                     \
		(void)e;                                                                     \
		*result = json_string(#name);                                                \
		return count(CARD_M_##name, params);                                         \
	}
CARD_METHODS(X)
#undef X

const card_call_fn card_calls[CARD_METHOD_COUNT] = {
#define X(name) [CARD_M_##name] = fake_##name,
	CARD_METHODS(X)
#undef X
};

int card_volume_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	(void)c;
	(void)m;
	(void)params;
	(void)e;
	return 0;
}

int card_switch_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	(void)c;
	(void)m;
	(void)params;
	(void)e;
	return fake_calls.canon_ret;
}

void card_top_stop(struct card *c)
{
	(void)c;
}

bool card_volume_keeps_itself(
	const struct card *c, const struct card_method *m, const json_t *params)
{
	(void)c;
	(void)m;
	(void)params;
	return fake_calls.keeps_itself;
}
