// SPDX-License-Identifier: Apache-2.0
/* The calls of a state, and what another call makes of them. */
#include "store_calls.h"

#include <errno.h>
#include <string.h>

#include "odp_flow.h"
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

/* An address is the same object with any prefix. */
static bool same_key(const json_t *a, const json_t *b, char end)
{
	const char *s = json_string_value(a), *t = json_string_value(b);
	const char stop[] = { end, '\0' };
	size_t n;

	if (!end || !s || !t)
		return same_value(a, b);
	n = strcspn(s, stop);
	return n == strcspn(t, stop) && !strncmp(s, t, n);
}

static bool about(const json_t *call, const struct card_method *kept, const struct card_method *m,
	const json_t *params)
{
	const json_t *kept_params = json_object_get(call, "params");

	if (!kept || !kept->kind || strcmp(kept->kind, m->kind) != 0)
		return false;
	if (!m->key)
		return true; // all of the kind
	if (!same_key(json_object_get(kept_params, kept->key), json_object_get(params, m->key),
		    m->key_end))
		return false;
	if (m->key2_opt && !json_object_get(params, m->key2))
		return true;
	return !m->key2 || same_value(json_object_get(kept_params, kept->key2),
				   json_object_get(params, m->key2));
}

bool card_call_about(const json_t *call, const struct card_method *m, const json_t *params)
{
	return about(call, card_call_method(call), m, params);
}

/* Of long lists: methods that were seen last, of which a list has few. */
struct seen {
	const struct card_method *m[4];
	unsigned next;
};

static const struct card_method *method_of(const json_t *call, struct seen *seen)
{
	const char *name = json_string_value(json_object_get(call, "method"));
	const struct card_method *m;

	for (unsigned i = 0; i < 4; i++)
		if (name && seen->m[i] && !strcmp(seen->m[i]->name, name))
			return seen->m[i];
	m = card_call_method(call);
	if (m)
		seen->m[seen->next++ % 4] = m;
	return m;
}

enum which { ANY, MAKER, SAME_METHOD };

/* The first such call about the object; the size of the list when there is none. */
static size_t find_call(
	const json_t *calls, const struct card_method *m, const json_t *params, enum which which)
{
	size_t i, n = json_array_size(calls);
	struct seen seen = { 0 };

	for (i = 0; i < n; i++) {
		const json_t *call = json_array_get(calls, i);
		const struct card_method *kept = method_of(call, &seen);

		// a call that changes what another one made does not make it
		if (about(call, kept, m, params) &&
			(which != MAKER || kept->keep != CARD_KEEP_UPDATE) &&
			(which != SAME_METHOD || kept == m))
			break;
	}
	return i;
}

/* ---- the next state ---- */

static json_t *new_call(const struct card_method *m, const json_t *params)
{
	json_t *copy = params ? json_deep_copy(params) : json_object();

	return json_pack("{s:s, s:o}", "method", m->name, "params", copy);
}

static int insert_call(json_t *calls, size_t at, const struct card_method *m, const json_t *params)
{
	json_t *call = new_call(m, params);

	return call && !json_array_insert_new(calls, at, call) ? 0 : -ENOMEM;
}

/* Put the call where the one that made the object stood; changes to the old object go. */
static int replace_maker(
	json_t *calls, size_t at, const struct card_method *m, const json_t *params)
{
	json_t *call = new_call(m, params);

	if (!call || json_array_set_new(calls, at, call))
		return -ENOMEM;
	for (size_t i = json_array_size(calls); i-- > 0;) {
		const json_t *other = json_array_get(calls, i);

		if (i != at && card_call_about(other, m, params))
			json_array_remove(calls, i);
	}
	return 0;
}

static int apply_create(json_t *calls, const struct card_method *m, const json_t *params,
	enum card_calls_maker maker)
{
	size_t at = find_call(calls, m, params, MAKER);

	if (at < json_array_size(calls)) {
		if (m->keep == CARD_KEEP_CREATE && maker == CARD_MAKER_STANDS)
			return 0; // the object was there: the call changed nothing
		return replace_maker(calls, at, m, params);
	}
	/* Changes to an object of the configuration file may be there, and come after it. */
	return insert_call(calls, find_call(calls, m, params, ANY), m, params);
}

/* A change is a call of its own, behind the one that made the object: that can then be repeated. */
static int apply_update(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at = find_call(calls, m, params, SAME_METHOD);
	json_t *changed;

	if (at == json_array_size(calls)) {
		at = find_call(calls, m, params, MAKER);
		return insert_call(calls, at + (at < json_array_size(calls)), m, params);
	}
	changed = json_deep_copy(json_array_get(calls, at)); // the present state has the other one
	if (!changed || json_object_update(
				json_object_get(changed, "params"), (json_t *)(uintptr_t)params)) {
		json_decref(changed);
		return -ENOMEM;
	}
	return json_array_set_new(calls, at, changed) ? -ENOMEM : 0;
}

/* 1 for what goes with the port of this name: flows, addresses, routes; -ENOMEM. */
static int uses_port(const json_t *call, const char *port)
{
	const json_t *params = json_object_get(call, "params");
	const char *at = strstr(card_arg_str(params, "flow", ""), "in_port(");
	size_t n = strlen(port);

	if (!strcmp(card_arg_str(params, "uplink", ""), port) ||
		!strcmp(card_arg_str(params, "port", ""), port))
		return 1;
	if (card_call_method(call) != card_method_at(CARD_M_flow_add))
		return 0;
	if (at && !strncmp(at + 8, port, n) && at[8 + n] == ')')
		return 1;
	return odp_actions_name_port(card_arg_str(params, "actions", ""), port);
}

static int forget_users(json_t *calls, const char *port)
{
	for (size_t i = json_array_size(calls); i-- > 0;) {
		int uses = uses_port(json_array_get(calls, i), port);

		if (uses < 0)
			return uses;
		if (uses)
			json_array_remove(calls, i);
	}
	return 0;
}

/* True for what may be a port of its own name. */
static bool may_be_port(const char *kind)
{
	return !strcmp(kind, "function") || !strcmp(kind, "uplink") || !strcmp(kind, "tunnel");
}

/* NAMEnNSID: a volume that came with the controller of that name. */
static bool is_volume_of(const char *volume, const char *ctrl)
{
	size_t n = strlen(ctrl);

	return !strncmp(volume, ctrl, n) && volume[n] == 'n' && volume[n + 1] &&
	       strspn(volume + n + 1, "0123456789") == strlen(volume + n + 1);
}

/* The controller's last path went, and its volumes with it: what changed them goes, too. */
static void forget_volumes(json_t *calls, const char *ctrl)
{
	const json_t *call;
	size_t i;

	json_array_foreach (calls, i, call)
		if (!strcmp(card_call_method(call)->kind, "controller") &&
			!strcmp(card_arg_str(json_object_get(call, "params"), "name", ""), ctrl))
			return;
	for (i = json_array_size(calls); i-- > 0;) {
		const struct card_method *m = card_call_method(json_array_get(calls, i));
		const json_t *params = json_object_get(json_array_get(calls, i), "params");

		if (!strcmp(m->kind, "volume") && m->keep == CARD_KEEP_UPDATE &&
			is_volume_of(card_arg_str(params, m->key, ""), ctrl) &&
			find_call(calls, m, params, MAKER) == json_array_size(calls))
			json_array_remove(calls, i);
	}
}

/* Another call in its place: the present state has the one that is there. */
static int change(json_t *calls, size_t at, const char *key, const json_t *value)
{
	json_t *changed = json_deep_copy(json_array_get(calls, at));

	if (!changed || json_object_set(json_object_get(changed, "params"), key,
				(json_t *)(uintptr_t)value)) {
		json_decref(changed);
		return -ENOMEM;
	}
	return json_array_set_new(calls, at, changed) ? -ENOMEM : 0;
}

/* Out of the list of the call that made the VM; its slot stays empty. 0 or -ENOMEM. */
static int forget_function(json_t *calls, const json_t *params)
{
	const char *function = card_arg_str(params, "function", "");

	for (size_t i = 0; i < json_array_size(calls); i++) {
		const json_t *call = json_array_get(calls, i);
		const json_t *p = json_object_get(call, "params");
		json_t *list;
		int ret = 0;

		if (card_call_method(call) != card_method_at(CARD_M_vm_create) ||
			strcmp(card_arg_str(p, "name", ""), card_arg_str(params, "name", "")) != 0)
			continue;
		if (!json_object_get(p, "functions"))
			return 0;
		list = json_deep_copy(json_object_get(p, "functions"));
		for (size_t j = 0; j < json_array_size(list); j++)
			if (!strcmp(json_string_value(json_array_get(list, j)), function))
				ret |= json_array_set_new(list, j, json_string(""));
		ret |= list ? change(calls, i, "functions", list) : -1;
		json_decref(list);
		return ret ? -ENOMEM : 0;
	}
	return 0;
}

static int apply_delete(json_t *calls, const struct card_method *m, const json_t *params)
{
	size_t at;
	int ret = 0;

	while ((at = find_call(calls, m, params, ANY)) < json_array_size(calls))
		json_array_remove(calls, at);
	if (m == card_method_at(CARD_M_vm_remove_function))
		return forget_function(calls, params);
	if (may_be_port(m->kind)) // one of the configuration file, too
		ret = forget_users(calls, card_arg_str(params, m->key, ""));
	if (!strcmp(m->kind, "controller"))
		forget_volumes(calls, card_arg_str(params, m->key, ""));
	return ret;
}

int card_calls_apply(json_t *calls, const struct card_method *m, const json_t *params,
	enum card_calls_maker maker)
{
	switch (m->keep) {
	case CARD_KEEP_CREATE:
	case CARD_KEEP_SET:
		return apply_create(calls, m, params, maker);
	case CARD_KEEP_UPDATE:
		return apply_update(calls, m, params);
	case CARD_KEEP_DELETE:
		return apply_delete(calls, m, params);
	case CARD_KEEP_NONE:
		break;
	}
	return 0;
}

/* NSID:.. is in the list. */
static bool has_nsid(const json_t *namespaces, const char *nsid)
{
	const json_t *v;
	size_t i, n = strlen(nsid);

	json_array_foreach (namespaces, i, v) {
		const char *text = json_string_value(v);

		if (text && !strncmp(text, nsid, n) && text[n] == ':')
			return true;
	}
	return false;
}

int card_calls_namespaces(json_t *calls, const char *ctrl, const json_t *namespaces)
{
	for (size_t i = json_array_size(calls); i-- > 0;) {
		const struct card_method *m = card_call_method(json_array_get(calls, i));
		const json_t *params = json_object_get(json_array_get(calls, i), "params");
		const char *name = m->key ? card_arg_str(params, m->key, "") : "";

		if (m == card_method_at(CARD_M_bdev_nvme_attach_controller)) {
			if (!strcmp(name, ctrl) && change(calls, i, "namespaces", namespaces))
				return -ENOMEM;
			continue;
		}
		if (!strcmp(m->kind, "volume") && m->keep == CARD_KEEP_UPDATE &&
			is_volume_of(name, ctrl) &&
			!has_nsid(namespaces, name + strlen(ctrl) + 1) &&
			find_call(calls, m, params, MAKER) == json_array_size(calls))
			json_array_remove(calls, i);
	}
	return 0;
}
