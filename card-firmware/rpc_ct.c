// SPDX-License-Identifier: Apache-2.0
/* Methods on connection tracking: connections, limits of zones, timeouts. */
#include "rpc.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ct_keep.h"
#include "dpu_clock.h"
#include "odp_ct.h"
#include "rpc_schema.h"

#define CONN_TEXT 512 // the longest has about 400 characters
#define TUPLE_TEXT 160
#define DUMP_STEP 4096u // places of the table looked at in one call
#define ANY_ZONE UINT64_MAX
/* Of a call that says from where: about a millisecond. */
#define PART_STEP 128u // places in one go, of which all may be listed
#define PART_LISTED 128u
#define PART_PLACES 8192u
#define PART_FLUSH 2048u

/* The table of the card, which is made for this if no flow needed it yet. */
static int get_table(struct card *c, struct odp_ct **out, struct card_error *e)
{
	int ret = odp_conntrack_get(c->dp, out);

	return ret ? card_fail(e, ret, "no memory for %llu connections",
			     (unsigned long long)c->opt.ct_conns)
		   : 0;
}

static uint64_t now_ms(void)
{
	return dpu_now_ns() / 1000000;
}

/* Of `tuple` and `zone`; *some: at least one of them is given. */
static int parse_match(
	const json_t *params, struct odp_ct_match *out, bool *some, struct card_error *e)
{
	const char *text = card_arg_str(params, "tuple", NULL);
	uint64_t zone = card_arg_uint(params, "zone", ANY_ZONE);
	size_t at = 0;
	int ret = 0;

	*out = (struct odp_ct_match){ 0 };
	*some = text || zone != ANY_ZONE;
	if (text)
		ret = odp_ct_match_parse(text, out, &at);
	if (ret == -EPROTOTYPE)
		return card_fail(e, -EINVAL, "tuple: fields that do not go together");
	if (ret)
		return card_fail(e, ret, "tuple: cannot read \"%.40s\" at byte %zu", text + at, at);
	if (zone != ANY_ZONE) {
		out->key.zone = (uint16_t)zone;
		out->mask.zone = UINT16_MAX;
	}
	return 0;
}

/* ---- connections ---- */

struct list {
	const struct odp_ct_match *match; // borrowed
	json_t *out; // borrowed
	uint64_t left, total;
	bool failed;
};

static void put(json_t *o, const char *name, uint64_t n)
{
	json_object_set_new(o, name, json_integer((json_int_t)(n & INT64_MAX)));
}

static json_t *conn_json(const struct odp_ct_info *i)
{
	char text[CONN_TEXT], master[TUPLE_TEXT];
	json_t *o;

	if (odp_ct_format(i, 0, text, sizeof(text)) < 0 ||
		odp_ct_tuple_format(&i->master, master, sizeof(master)) < 0)
		return NULL;
	o = json_pack("{s:s, s:s, s:s, s:i, s:b, s:b, s:b}", "connection", text, "protocol",
		odp_ct_state_proto(i->state), "state", odp_ct_state_name(i->state), "zone",
		(int)i->key[0].zone, "assured", (int)i->assured, "snat",
		(int)!!(i->nat & ODP_NAT_SRC), "dnat", (int)!!(i->nat & ODP_NAT_DST));
	if (!o)
		return NULL;
	put(o, "timeout_ms", i->timeout_ms);
	put(o, "policy", i->policy);
	put(o, "mark", i->mark);
	put(o, "packets", i->packets[ODP_CT_ORIG]);
	put(o, "bytes", i->bytes[ODP_CT_ORIG]);
	put(o, "reply_packets", i->packets[ODP_CT_REPLY]);
	put(o, "reply_bytes", i->bytes[ODP_CT_REPLY]);
	if (i->master.l3)
		json_object_set_new(o, "master", json_string(master));
	return o;
}

static void list_conn(const struct odp_ct_info *i, void *arg)
{
	struct list *l = arg;
	json_t *o;

	if (l->failed || !odp_ct_match(l->match, &i->key[0]))
		return;
	l->total++;
	if (!l->left)
		return;
	l->left--;
	o = conn_json(i);
	if (!o || json_array_append_new(l->out, o))
		l->failed = true;
}

/* Of a tuple all are looked at, to know how many there are; otherwise it is known. */
static void walk(struct odp_ct *ct, struct list *l, bool to_the_end)
{
	uint64_t now = now_ms();
	uint32_t at = 0;

	while (odp_ct_dump(ct, &at, DUMP_STEP, now, list_conn, l))
		if (l->failed || (!l->left && !to_the_end))
			break;
}

/* The part from `from` on; as odp_ct_dump(). */
static bool walk_part(struct odp_ct *ct, struct list *l, uint32_t *from)
{
	uint64_t now = now_ms();
	bool more = true;

	for (unsigned places = 0; more && places < PART_PLACES && !l->failed; places += PART_STEP) {
		more = odp_ct_dump(ct, from, PART_STEP, now, list_conn, l);
		if (json_array_size(l->out) >= PART_LISTED)
			break;
	}
	return more;
}

/* "next", where there is more. Takes o. */
static int part_result(json_t *o, bool more, uint32_t next, json_t **result)
{
	*result = o;
	return o && (!more || !json_object_set_new(o, "next", json_integer(next))) ? 0 : -ENOMEM;
}

int card_call_ct_list(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ct *ct = odp_conntrack(c->dp);
	bool tuple = card_arg_str(params, "tuple", NULL), some, more = false;
	uint64_t part = card_arg_uint(params, "from", UINT64_MAX);
	uint32_t next = (uint32_t)part;
	struct odp_ct_match match;
	struct list l = { .match = &match, .left = card_arg_uint(params, "max", 4096) };
	int ret = parse_match(params, &match, &some, e);

	if (ret)
		return ret;
	l.out = json_array();
	if (!l.out)
		return -ENOMEM;
	if (ct && part != UINT64_MAX)
		more = walk_part(ct, &l, &next);
	else if (ct)
		walk(ct, &l, tuple);
	if (ct && !l.left && !tuple &&
		part == UINT64_MAX) { // it stopped there: what was counted tells the rest
		struct odp_ct_limit zone = { 0 };
		struct odp_ct_stats all;

		odp_ct_stats(ct, &all);
		odp_ct_limit_get(ct, match.key.zone, &zone);
		uint64_t n = some ? zone.count : all.conns;

		l.total = n > l.total ? n : l.total;
	}
	if (l.failed) {
		json_decref(l.out);
		return -ENOMEM;
	}
	return part_result(
		json_pack("{s:I, s:o}", "total", (json_int_t)l.total, "connections", l.out), more,
		next, result);
}

int card_call_ct_flush(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ct *ct = odp_conntrack(c->dp);
	uint64_t part = card_arg_uint(params, "from", UINT64_MAX);
	bool tuple = card_arg_str(params, "tuple", NULL), some, more = false;
	uint32_t next = (uint32_t)part;
	struct odp_ct_match match;
	unsigned n = 0;
	int ret = parse_match(params, &match, &some, e);

	if (ret)
		return ret;
	if (ct && part != UINT64_MAX && !odp_ct_match_whole(&match))
		more = odp_ct_flush_step(ct, &match, &next, PART_FLUSH, now_ms(), &n);
	else if (ct && tuple)
		n = odp_ct_flush_match(ct, &match, now_ms());
	else if (ct)
		n = odp_ct_flush(ct, some ? match.key.zone : ODP_CT_ALL_ZONES);
	return part_result(json_pack("{s:i}", "deleted", (int)n), more, next, result);
}

/* ---- zones ---- */

int card_call_ct_zone_set(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint16_t zone = (uint16_t)card_arg_uint(params, "zone", 0);
	const bool limit = json_object_get(params, "limit");
	const bool policy = json_object_get(params, "policy");
	struct odp_ct *ct;
	int ret = get_table(c, &ct, e);

	(void)result;
	if (ret)
		return ret;
	if (!limit && !policy)
		return card_fail(e, -EINVAL, "limit or policy must be given");
	if (limit)
		ret = odp_ct_limit_set(ct, zone, (uint32_t)card_arg_uint(params, "limit", 0));
	if (!ret && policy)
		ret = odp_ct_zone_policy(ct, zone, (unsigned)card_arg_uint(params, "policy", 0));
	return ret;
}

int card_call_ct_zone_reset(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ct *ct = odp_conntrack(c->dp);
	uint16_t zone = (uint16_t)card_arg_uint(params, "zone", 0);
	struct odp_ct_limit l = { 0 };

	(void)result;
	if (ct)
		odp_ct_limit_get(ct, zone, &l);
	if (!ct || (!l.own && !odp_ct_zone_policy_get(ct, zone)))
		return card_fail(e, -ENOENT, "zone: %u has no settings of its own", zone);
	odp_ct_limit_del(ct, zone);
	return odp_ct_zone_policy(ct, zone, 0);
}

static json_t *zone_json(uint16_t zone, const struct odp_ct_limit *l, unsigned policy)
{
	return json_pack("{s:i, s:I, s:I, s:b, s:i}", "zone", (int)zone, "connections",
		(json_int_t)l->count, "limit", (json_int_t)l->limit, "own_limit", (int)l->own,
		"policy", (int)policy);
}

int card_call_ct_zone_list(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ct *ct = odp_conntrack(c->dp);
	uint64_t only = card_arg_uint(params, "zone", ANY_ZONE);
	json_t *zones = json_array();
	bool failed = !zones;

	(void)e;
	for (uint32_t zone = 0; ct && zone <= UINT16_MAX && !failed; zone++) {
		unsigned policy = odp_ct_zone_policy_get(ct, (uint16_t)zone);
		struct odp_ct_limit l;

		odp_ct_limit_get(ct, (uint16_t)zone, &l);
		if (zone == only || (only == ANY_ZONE && (l.own || l.count || policy)))
			failed = json_array_append_new(
				zones, zone_json((uint16_t)zone, &l, policy));
	}
	if (failed) {
		json_decref(zones);
		return -ENOMEM;
	}
	*result = json_pack("{s:I, s:o}", "default_limit",
		(json_int_t)(ct ? odp_ct_limit_default_get(ct) : ODP_CT_NO_LIMIT), "zones", zones);
	return *result ? 0 : -ENOMEM;
}

int card_call_ct_default_limit(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ct *ct;
	int ret = get_table(c, &ct, e);

	(void)result;
	return ret ? ret : odp_ct_limit_default(ct, (uint32_t)card_arg_uint(params, "limit", 0));
}

/* ---- timeouts ---- */

#define STATE_TEXT 40

/* "tcp_syn_sent" */
static void state_text(enum odp_ct_state s, char out[STATE_TEXT])
{
	snprintf(out, STATE_TEXT, "%s_%s", odp_ct_state_proto(s), odp_ct_state_name(s));
	for (char *at = out; *at; at++)
		*at = (char)tolower((unsigned char)*at);
}

static int parse_state(const json_t *params, enum odp_ct_state *out, struct card_error *e)
{
	const char *text = card_arg_str(params, "state", "");

	return odp_ct_state_parse(text, out)
		       ? card_fail(e, -EINVAL,
				 "state: %.40s: no such state; timeout-list shows them", text)
		       : 0;
}

int card_call_ct_timeout_set(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	enum odp_ct_state s;
	struct odp_ct *ct;
	int ret = parse_state(params, &s, e);

	(void)result;
	if (!ret)
		ret = get_table(c, &ct, e);
	return ret ? ret
		   : odp_ct_timeout_set(ct, (unsigned)card_arg_uint(params, "policy", 0), s,
			     (uint32_t)card_arg_uint(params, "timeout_ms", 0));
}

int card_call_ct_timeout_reset(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_ct *ct = odp_conntrack(c->dp);

	(void)result;
	(void)e;
	if (ct)
		odp_ct_policy_reset(ct, (unsigned)card_arg_uint(params, "policy", 0));
	return 0;
}

int card_call_ct_timeout_list(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	static const uint32_t defaults[] = {
#define X(name, text, proto, ms) ms,
		ODP_CT_STATES(X)
#undef X
	};
	struct odp_ct *ct = odp_conntrack(c->dp);
	unsigned policy = (unsigned)card_arg_uint(params, "policy", 0);
	json_t *out = json_array();
	bool failed = !out;

	(void)e;
	for (unsigned s = 1; s < ODP_CT_STATE_COUNT && !failed; s++) {
		char text[STATE_TEXT];

		state_text((enum odp_ct_state)s, text);
		failed = json_array_append_new(out,
			json_pack("{s:s, s:I, s:I}", "state", text, "timeout_ms",
				(json_int_t)(ct ? odp_ct_timeout(ct, policy, (enum odp_ct_state)s)
						: defaults[s]),
				"default_ms", (json_int_t)defaults[s]));
	}
	if (failed) {
		json_decref(out);
		return -ENOMEM;
	}
	*result = out;
	return 0;
}

/* ---- counters ---- */

static json_t *states_json(const struct odp_ct_stats *s)
{
	json_t *all = json_array();

	for (unsigned i = 1; i < ODP_CT_STATE_COUNT; i++) {
		char text[STATE_TEXT];

		state_text((enum odp_ct_state)i, text);
		json_array_append_new(all, json_pack("{s:s, s:{s:I}}", "state", text, "now",
						   "connections", (json_int_t)s->by_state[i]));
	}
	return all;
}

static void put_fragments(struct card *c, json_t *o, json_t *now)
{
	struct odp_frag_stats s;

	odp_fragment_stats(c->dp, &s);
#define X(name, text) put(o, "fragments_" #name, s.name);
	ODP_FRAG_COUNTERS(X)
#undef X
	put(now, "fragments_waiting", s.contexts);
	put(now, "fragments_bytes", s.bytes);
}

json_t *card_ct_stats_json(struct card *c)
{
	struct odp_ct *ct = odp_conntrack(c->dp);
	struct card_ct_keep_stats k;
	struct odp_ct_stats s = { 0 };
	json_t *o = json_object(), *now = json_object();

	if (ct)
		odp_ct_stats(ct, &s);
	card_ct_keep_stats(c, &k);
#define X(name, text) put(o, #name, s.name);
	ODP_CT_COUNTERS(X)
#undef X
	put(o, "saves", k.saves);
	put(o, "saves_skipped", k.saves_skipped);
	put(o, "save_failures", k.save_failures);
	put(o, "load_refused", k.load_refused);
	put(now, "connections", s.conns);
	put(now, "capacity", c->opt.ct_conns);
	put(now, "memory_bytes", ct ? odp_ct_memory(ct) : 0);
	put(now, "saved_connections", k.saved_connections);
	put(now, "saved_bytes", k.saved_bytes);
	put(now, "save_step_max_us", k.step_max_us);
	put_fragments(c, o, now);
	json_object_set_new(o, "now", now);
	json_object_set_new(o, "states", states_json(&s));
	return o;
}

/* ---- the store's spelling ---- */

int card_ct_canon(const struct card_method *m, json_t *params, struct card_error *e)
{
	char text[STATE_TEXT];
	enum odp_ct_state s;
	int ret;

	if (!m->key2)
		return 0; // all of a policy
	ret = parse_state(params, &s, e);
	if (ret)
		return ret;
	state_text(s, text);
	return json_object_set_new(params, "state", json_string(text)) ? -ENOMEM : 0;
}
