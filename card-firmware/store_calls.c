// SPDX-License-Identifier: Apache-2.0
/* The calls of a state, and what another call makes of them. */
#include "store_calls.h"

#include <errno.h>
#include <string.h>

#include "rpc_schema.h"

const struct card_method *card_call_method(const json_t *call)
{
	const char *name = json_string_value(json_object_get(call, "method"));

	return name ? card_method_find(name) : NULL;
}

/* A key that is not given means its default: compare as if it were 0 or absent. */
static bool same_value(const json_t *a, const json_t *b)
{
	if (a && b)
		return json_equal(a, b);
	return json_integer_value(a ? a : b) == 0 && !json_is_string(a ? a : b);
}

bool card_call_about(const json_t *call, const struct card_method *m, const json_t *params)
{
	const struct card_method *kept = card_call_method(call);
	const json_t *kept_params = json_object_get(call, "params");

	if (!kept || !kept->kind || strcmp(kept->kind, m->kind) != 0)
		return false;
	if (!m->key)
		return true; // all of the kind
	if (!same_value(json_object_get(kept_params, kept->key), json_object_get(params, m->key)))
		return false;
	return !m->key2 || same_value(json_object_get(kept_params, kept->key2),
				   json_object_get(params, m->key2));
}

static size_t find_call(const json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t i, n = json_array_size(calls);

	for (i = 0; i < n; i++)
		if (card_call_about(json_array_get(calls, i), m, params))
			break;
	return i;
}

/* ---- the next state ---- */

static json_t *new_call(const struct card_method *m, const json_t *params)
{
	json_t *copy = params ? json_deep_copy(params) : json_object();

	return json_pack("{s:s, s:o}", "method", m->name, "params", copy);
}

static int apply_create(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at = find_call(calls, m, params);
	json_t *call = new_call(m, params);

	if (!call)
		return -ENOMEM;
	if (at < json_array_size(calls))
		return json_array_set_new(calls, at, call) ? -ENOMEM : 0;
	return json_array_append_new(calls, call) ? -ENOMEM : 0;
}

/* An object that the configuration file made has no call here: then the update itself is kept. */
static int apply_update(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at = find_call(calls, m, params);
	json_t *kept;
	const char *key;
	json_t *v;

	if (at == json_array_size(calls))
		return apply_create(calls, m, params);
	kept = json_object_get(json_array_get(calls, at), "params");
	json_object_foreach ((json_t *)(uintptr_t)params, key, v) {
		const struct card_param *p = card_method_param(
			card_call_method(json_array_get(calls, at)), key);

		if (p && !p->once && json_object_set(kept, key, v))
			return -ENOMEM;
	}
	return 0;
}

/* True when a flow or address is tied to the port of this name: it goes with the port. */
static bool uses_port(const json_t *call, const char *port)
{
	const json_t *params = json_object_get(call, "params");
	const char *flow = card_arg_str(params, "flow", ""), *at;
	size_t n = strlen(port);

	if (card_call_method(call) == card_method_at(CARD_M_mac_set))
		return !strcmp(card_arg_str(params, "port", ""), port);
	if (card_call_method(call) != card_method_at(CARD_M_flow_add))
		return false;
	if (!strncmp(flow, "in_port(", 8) && !strncmp(flow + 8, port, n) && flow[8 + n] == ')')
		return true;
	for (at = card_arg_str(params, "actions", ""); *at; at += strcspn(at, ",")) {
		at += *at == ',';
		if (strcspn(at, ",") == n && !strncmp(at, port, n))
			return true;
	}
	return false;
}

static void forget_users(json_t *calls, const json_t *made_port)
{
	const struct card_method *m = card_call_method(made_port);
	const char *name = card_arg_str(json_object_get(made_port, "params"), "name", "");

	if (m != card_method_at(CARD_M_net_create) && m != card_method_at(CARD_M_uplink_create))
		return;
	for (size_t i = json_array_size(calls); i-- > 0;)
		if (uses_port(json_array_get(calls, i), name))
			json_array_remove(calls, i);
}

static int apply_delete(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at;

	while ((at = find_call(calls, m, params)) < json_array_size(calls)) {
		json_t *gone = json_incref(json_array_get(calls, at));

		json_array_remove(calls, at);
		forget_users(calls, gone);
		json_decref(gone);
	}
	return 0;
}

int card_calls_apply(json_t *calls, const struct card_method *m, const json_t *params)
{
	switch (m->keep) {
	case CARD_KEEP_CREATE:
		return apply_create(calls, m, params);
	case CARD_KEEP_UPDATE:
		return apply_update(calls, m, params);
	case CARD_KEEP_DELETE:
		return apply_delete(calls, m, params);
	case CARD_KEEP_NONE:
		break;
	}
	return 0;
}
