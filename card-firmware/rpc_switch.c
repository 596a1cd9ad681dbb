// SPDX-License-Identifier: Apache-2.0
/* Methods on the switch: uplinks, ports, flows, addresses. */
#include "rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_clock.h"
#include "odp_act.h"
#include "odp_tnl.h"
#include "rpc_schema.h"

#define FLOW_TEXT 4096
#define ACTIONS_TEXT 1024 // at first
#define ANY_VLAN UINT64_MAX

/* ---- uplinks ---- */

static int parse_switched(const json_t *params, enum odp_switched *out, struct card_error *e)
{
	static const char *const names[] = {
		[ODP_SWITCHED_AUTO] = "auto", [ODP_SWITCHED_YES] = "yes", [ODP_SWITCHED_NO] = "no"
	};
	const char *text = card_arg_str(params, "switched", "auto");

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(text, names[i])) {
			*out = (enum odp_switched)i;
			return 0;
		}
	return card_fail(e, -EINVAL, "switched: %s is none of yes, no and auto", text);
}

int card_call_uplink_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_uplink_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.devargs = card_arg_str(params, "devargs", ""),
		.n_queues = (uint16_t)card_arg_uint(params, "queues", 1),
		.mtu = (uint16_t)card_arg_uint(params, "mtu", 0),
	};
	int ret;

	(void)result;
	if (!card_name_ok(conf.name))
		return card_fail(e, -EINVAL, "name: " CARD_NAME_RULE);
	ret = parse_switched(params, &conf.switched, e);
	return ret ? ret : card_uplink_create(c, &conf, e);
}

int card_call_uplink_set(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	enum odp_switched how = ODP_SWITCHED_AUTO;
	int ret = parse_switched(params, &how, e);

	(void)result;
	return ret ? ret : card_uplink_set_switched(c, card_arg_str(params, "name", ""), how, e);
}

int card_call_uplink_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_uplink_delete(c, card_arg_str(params, "name", ""), e);
}

struct list {
	struct odp *dp;
	const char *only; // borrowed; NULL: all
	json_t *out; // borrowed
	const struct one_flow *flow; // borrowed; NULL: all
	const uint8_t *mac; // borrowed; NULL: all
	uint64_t vlan; // ANY_VLAN: all
	unsigned left; // flows: how many more
	unsigned total;
	bool failed;
};

static void append(struct list *l, json_t *item)
{
	if (!item || json_array_append_new(l->out, item))
		l->failed = true;
}

/* missing: the errno when the one asked for is not there. */
static int finish_list(
	struct list *l, int missing, const char *what, json_t **result, struct card_error *e)
{
	if (l->failed || !l->out) {
		json_decref(l->out);
		return -ENOMEM;
	}
	if (l->only && !json_array_size(l->out)) {
		json_decref(l->out);
		return card_fail(e, missing, "%s: no such %s", l->only, what);
	}
	*result = l->out;
	return 0;
}

static bool list_uplink(const struct card_uplink_view *v, void *arg)
{
	struct list *l = arg;
	char mac[CARD_MAC_TEXT];

	card_mac_format(v->mac, mac);
	if (!l->only || !strcmp(l->only, v->conf.name))
		append(l, json_pack("{s:s, s:s, s:i, s:i, s:b, s:b, s:I, s:s}", "name",
				  v->conf.name, "devargs", v->conf.devargs, "queues",
				  (int)v->conf.n_queues, "mtu", (int)v->caps.mtu, "up",
				  (int)v->caps.up, "switched", (int)odp_port_is_switched(v->port),
				  "port", (json_int_t)odp_port_no(v->port), "mac", mac));
	return !l->failed;
}

int card_call_uplink_list(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct list l = { .only = card_arg_str(params, "name", NULL), .out = json_array() };

	card_uplink_foreach(c, list_uplink, &l);
	return finish_list(&l, -ENODEV, "uplink", result, e);
}

/* ---- ports ---- */

static void list_port(struct odp_port *port, void *arg)
{
	struct list *l = arg;
	struct odp_port_stats s;
	struct odp_storm storm;
	uint64_t drops = 0;

	if (l->only && strcmp(l->only, odp_port_name(port)) != 0)
		return;
	odp_port_stats(port, &s);
	for (unsigned i = 0; i < ODP_DROP_COUNT; i++)
		drops += s.drops[i];
	odp_port_storm(port, &storm);
	append(l,
		json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name",
			odp_port_name(port), "number", (json_int_t)odp_port_no(port), "rx_packets",
			(json_int_t)s.rx_packets, "rx_bytes", (json_int_t)s.rx_bytes, "tx_packets",
			(json_int_t)s.tx_packets, "tx_bytes", (json_int_t)s.tx_bytes, "drops",
			(json_int_t)drops, "gro_frames", (json_int_t)s.gro_frames, "gro_segments",
			(json_int_t)s.gro_segments, "storm_pps", (json_int_t)storm.per_s,
			"storm_burst", (json_int_t)storm.burst));
}

int card_call_port_set(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct odp_storm s = { .per_s = (uint32_t)card_arg_uint(params, "storm_pps", 0),
		.burst = (uint32_t)card_arg_uint(params, "storm_burst", 0) };
	const char *name = card_arg_str(params, "port", "");
	struct odp_port *port = odp_port_by_name(c->dp, name);
	struct odp_tnl_conf tunnel;

	(void)result;
	if (!port)
		return card_fail(e, -ENODEV, "port: %s: no such port", name);
	if (odp_tnl_info(port, &tunnel))
		return card_fail(
			e, -EINVAL, "port: %s is a tunnel, which nothing is flooded for", name);
	return odp_port_set_storm(port, &s);
}

int card_call_port_list(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct list l = { .only = card_arg_str(params, "name", NULL), .out = json_array() };

	odp_port_foreach(c->dp, list_port, &l);
	return finish_list(&l, -ENODEV, "port", result, e);
}

/* ---- flows ---- */

int card_flow_unread(const char *text, size_t at, struct card_error *e)
{
	static const char port[] = "in_port(";
	const size_t n = sizeof(port) - 1, len = strlen(text);

	at = at < len ? at : len;
	if (at >= n && !strncmp(text + at - n, port, n))
		return card_fail(e, -EINVAL, "flow: in_port: no such port: \"%.*s\"",
			(int)strcspn(text + at, ",)/") % 64, text + at);
	return card_fail(e, -EINVAL, "flow: cannot read \"%.40s\" at byte %zu", text + at, at);
}

static int parse_flow(struct card *c, const json_t *params, struct odp_key *key,
	struct odp_key *mask, struct card_error *e)
{
	const char *text = card_arg_str(params, "flow", "");
	size_t at = 0;

	return odp_key_parse(c->dp, text, key, mask, &at) ? card_flow_unread(text, at, e) : 0;
}

static int parse_actions(
	struct card *c, const json_t *params, struct odp_actbuf *out, struct card_error *e)
{
	const char *text = card_arg_str(params, "actions", "");
	size_t at = 0;
	int ret = odp_actions_parse(c->dp, text, out, &at);

	if (ret == -EINVAL || ret == -E2BIG)
		return card_fail(e, ret, "actions: cannot read \"%.40s\" at byte %zu",
			text + (at < strlen(text) ? at : strlen(text)), at);
	return ret;
}

/* The caller's to free(); NULL: no memory. */
static char *actions_text(
	struct odp *dp, const struct odp_act *list, size_t len, enum odp_port_text ports)
{
	size_t size = ACTIONS_TEXT;
	int ret = -ENOSPC;
	char *text = NULL;

	for (; ret == -ENOSPC; size *= 4) {
		free(text);
		text = malloc(size);
		if (!text)
			return NULL;
		ret = odp_actions_format(dp, list, len, ports, text, size);
	}
	return text;
}

int card_call_flow_add(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_key key, mask;
	struct odp_actbuf actions = { 0 };
	uint64_t id = 0;
	int ret = parse_flow(c, params, &key, &mask, e);

	if (ret)
		return ret;
	ret = parse_actions(c, params, &actions, e);
	if (ret) {
		odp_actbuf_fini(&actions);
		return ret;
	}
	ret = odp_flow_put(
		c->dp, &key, &mask, odp_actbuf_list(&actions), actions.len, true, "operator", &id);
	odp_actbuf_fini(&actions);
	switch (ret) {
	case 0:
		*result = json_pack("{s:I}", "id", (json_int_t)id);
		return *result ? 0 : -ENOMEM;
	case -ENODEV:
		return card_fail(e, ret, "actions: output to a port that does not exist");
	case -EINVAL:
		return card_fail(e, ret, "flow: fields or actions that do not go together");
	case -ENOSPC:
		return card_fail(e, ret, "flow: the table is full");
	default:
		return ret;
	}
}

int card_call_flow_del(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct odp_key key, mask;
	int ret = parse_flow(c, params, &key, &mask, e);

	(void)result;
	if (ret)
		return ret;
	ret = odp_flow_del(c->dp, &key, &mask);
	return ret == -ENOENT ? card_fail(e, ret, "flow: there is no such flow") : ret;
}

/* The key and mask asked for; flows keep their keys masked. */
struct one_flow {
	struct odp_key key, mask;
};

static bool is_flow(const struct one_flow *one, const struct odp_flow_info *f)
{
	const uint8_t *key = (const uint8_t *)&one->key, *mask = (const uint8_t *)&one->mask;
	const uint8_t *has = (const uint8_t *)&f->key;

	if (memcmp(mask, &f->mask, sizeof(f->mask)) != 0)
		return false;
	for (size_t i = 0; i < sizeof(f->key); i++)
		if ((key[i] & mask[i]) != has[i])
			return false;
	return true;
}

json_t *card_flow_json(struct odp *dp, const struct odp_flow_info *f)
{
	uint64_t now = dpu_now_ns();
	char *key = malloc(FLOW_TEXT);
	char *actions = actions_text(dp, f->actions, f->actions_len, ODP_PORTS_BY_NUMBER);
	json_t *o = NULL;

	if (key && actions &&
		odp_key_format(dp, &f->key, &f->mask, ODP_PORTS_BY_NUMBER, key, FLOW_TEXT) >= 0)
		o = json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:I}", "id", (json_int_t)f->id,
			"flow", key, "actions", actions, "origin", f->origin, "packets",
			(json_int_t)f->stats.packets, "bytes", (json_int_t)f->stats.bytes,
			"idle_ms",
			(json_int_t)(f->stats.used_ns && now > f->stats.used_ns
					     ? (now - f->stats.used_ns) / 1000000
					     : 0));
	free(key);
	free(actions);
	return o;
}

static void list_flow(const struct odp_flow_info *f, void *arg)
{
	struct list *l = arg;

	if (l->failed || (l->only && strcmp(l->only, f->origin) != 0) ||
		(l->flow && !is_flow(l->flow, f)))
		return;
	l->total++;
	if (!l->left)
		return;
	l->left--;
	append(l, card_flow_json(l->dp, f));
}

int card_call_flow_list(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct list l = {
		.dp = c->dp,
		.only = card_arg_str(params, "origin", NULL),
		.out = json_array(),
		.left = (unsigned)card_arg_uint(params, "max", 4096),
	};
	struct one_flow one;
	int ret = 0;

	if (card_arg_str(params, "flow", NULL)) {
		l.flow = &one;
		ret = parse_flow(c, params, &one.key, &one.mask, e);
	}
	if (!ret)
		odp_flow_foreach(c->dp, list_flow, &l);
	if (!ret && l.flow && !l.total)
		ret = card_fail(e, -ENOENT, "flow: there is no such flow");
	if (ret) {
		json_decref(l.out);
		return ret;
	}
	if (l.failed || !l.out) {
		json_decref(l.out);
		return -ENOMEM;
	}
	*result = json_pack("{s:i, s:o}", "total", (int)l.total, "flows", l.out);
	return *result ? 0 : -ENOMEM;
}

int card_call_flow_flush(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)params;
	(void)e;
	*result = json_pack("{s:i}", "deleted", (int)odp_flow_flush(c->dp, "operator"));
	return *result ? 0 : -ENOMEM;
}

/* ---- addresses ---- */

static void list_mac(const struct odp_mac_info *m, void *arg)
{
	struct list *l = arg;
	struct odp_port *port = odp_port_by_no(l->dp, m->port);
	char mac[CARD_MAC_TEXT];

	if ((l->mac && memcmp(l->mac, m->mac, 6) != 0) ||
		(l->vlan != ANY_VLAN && l->vlan != m->vlan))
		return;
	card_mac_format(m->mac, mac);
	append(l, json_pack("{s:s, s:i, s:s, s:I, s:b}", "mac", mac, "vlan", (int)m->vlan, "port",
			  port ? odp_port_name(port) : "", "age_s", (json_int_t)m->age_s, "static",
			  (int)m->is_static));
}

static int find_port(struct card *c, const json_t *params, uint32_t *no, struct card_error *e)
{
	const char *name = card_arg_str(params, "port", "");
	struct odp_port *port = odp_port_by_name(c->dp, name);

	if (!port)
		return card_fail(e, -ENODEV, "port: %s: no such port", name);
	*no = odp_port_no(port);
	return 0;
}

static int parse_mac(const json_t *params, uint8_t mac[6], struct card_error *e)
{
	const char *text = card_arg_str(params, "mac", "");

	if (card_mac_parse(text, mac))
		return card_fail(e, -EINVAL, "mac: %s is not an Ethernet address", text);
	return 0;
}

int card_call_mac_list(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct list l = {
		.dp = c->dp,
		.only = card_arg_str(params, "mac", NULL),
		.vlan = card_arg_uint(params, "vlan", ANY_VLAN),
	};
	uint8_t mac[6];
	int ret = l.only ? parse_mac(params, mac, e) : 0;

	if (ret)
		return ret;
	l.mac = l.only ? mac : NULL;
	l.out = json_array();
	odp_mac_foreach(c->dp, list_mac, &l);
	return finish_list(&l, -ENOENT, "address", result, e);
}

int card_call_mac_set(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint32_t port = ODP_PORT_NONE;
	uint8_t mac[6];
	int ret = parse_mac(params, mac, e);

	(void)result;
	if (!ret)
		ret = find_port(c, params, &port, e);
	if (ret)
		return ret;
	ret = odp_mac_set(c->dp, mac, (uint16_t)card_arg_uint(params, "vlan", 0), port);
	if (ret == -EINVAL)
		return card_fail(e, ret, "mac: must be a unicast address");
	return ret == -ENOSPC ? card_fail(e, ret, "mac: the table is full") : ret;
}

int card_call_mac_del(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint8_t mac[6];
	int ret = parse_mac(params, mac, e);

	(void)result;
	if (ret)
		return ret;
	ret = odp_mac_del(c->dp, mac, (uint16_t)card_arg_uint(params, "vlan", 0));
	return ret == -ENOENT ? card_fail(e, ret, "mac: not known") : ret;
}

int card_call_mac_flush(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint32_t port = ODP_PORT_NONE;
	int ret = 0;

	if (card_arg_str(params, "port", NULL))
		ret = find_port(c, params, &port, e);
	if (ret)
		return ret;
	*result = json_pack("{s:i}", "deleted", (int)odp_mac_flush(c->dp, port));
	return *result ? 0 : -ENOMEM;
}

/* ---- the store's spelling ---- */

static int canon_mac(json_t *params)
{
	char text[CARD_MAC_TEXT];
	uint8_t mac[6];

	if (card_mac_parse(card_arg_str(params, "mac", ""), mac))
		return 0; // the call itself will say so
	card_mac_format(mac, text);
	return json_object_set_new(params, "mac", json_string(text)) ? -ENOMEM : 0;
}

/* Ports by name in what is stored: their numbers may be other ones after a restart. */
static int canon_key(struct card *c, json_t *params, struct card_error *e)
{
	struct odp_key key, mask;
	char *text;
	int ret = parse_flow(c, params, &key, &mask, e);

	if (ret)
		return ret;
	text = malloc(FLOW_TEXT);
	if (!text)
		return -ENOMEM;
	ret = odp_key_format(c->dp, &key, &mask, ODP_PORTS_BY_NAME, text, FLOW_TEXT);
	if (ret >= 0)
		ret = json_object_set_new(params, "flow", json_string(text));
	free(text);
	return ret < 0 ? -ENOMEM : 0;
}

static int canon_actions(struct card *c, json_t *params, struct card_error *e)
{
	struct odp_actbuf actions = { 0 };
	int ret = parse_actions(c, params, &actions, e);

	if (!ret) {
		char *text = actions_text(
			c->dp, odp_actbuf_list(&actions), actions.len, ODP_PORTS_BY_NAME);

		if (!text || json_object_set_new(params, "actions", json_string(text)))
			ret = -ENOMEM;
		free(text);
	}
	odp_actbuf_fini(&actions);
	return ret;
}

static int canon_flow(struct card *c, json_t *params, struct card_error *e)
{
	int ret = canon_key(c, params, e);

	if (!ret && json_object_get(params, "actions"))
		ret = canon_actions(c, params, e);
	return ret;
}

int card_switch_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	if (!m->kind)
		return 0;
	if (!strcmp(m->kind, "mac"))
		return canon_mac(params);
	if (!strncmp(m->kind, "underlay_", 9)) {
		int ret = json_object_get(params, "mac") ? canon_mac(params) : 0;

		return ret ? ret : card_underlay_canon(c, m, params);
	}
	if (!strcmp(m->kind, "flow") && m->key)
		return canon_flow(c, params, e);
	if (!strcmp(m->kind, "ct_timeout"))
		return card_ct_canon(m, params, e);
	return 0;
}
