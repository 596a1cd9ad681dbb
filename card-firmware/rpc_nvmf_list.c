// SPDX-License-Identifier: Apache-2.0
/* What the card's target has: subsystems as SPDK lists them, and its counters. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nvmf.h"
#include "rpc_schema.h"

struct list {
	struct card *card; // borrowed
	json_t *out; // borrowed
	json_t *sub; // borrowed: the last of out
	bool failed;
};

static void append(struct list *l, const char *member, json_t *item)
{
	if (!item || json_array_append_new(json_object_get(l->sub, member), item))
		l->failed = true;
}

static void on_subsys(void *arg, const struct nof_tgt_subsys_view *v)
{
	struct list *l = arg;
	json_t *sub = json_pack(
		"{s:s, s:s, s:[], s:b, s:[], s:s, s:s, s:I, s:i, s:i, s:b, s:[], s:[]}", "nqn",
		v->nqn, "subtype", v->discovery ? "Discovery" : "NVMe", "listen_addresses",
		"allow_any_host", (int)v->allow_any_host, "hosts", "serial_number", v->serial,
		"model_number", v->model, "max_namespaces", (json_int_t)v->max_namespaces,
		"min_cntlid", (int)v->min_cntlid, "max_cntlid", (int)v->max_cntlid, "ana_reporting",
		(int)v->ana, "namespaces", "controllers");

	l->sub = sub;
	if (!sub || json_array_append_new(l->out, sub))
		l->failed = true;
}

static void on_host(void *arg, const char *nqn)
{
	append(arg, "hosts", json_pack("{s:s}", "nqn", nqn));
}

static const char *ana_name(uint8_t state)
{
	switch ((enum nof_tgt_ana)state) {
	case NOF_TGT_ANA_OPTIMIZED:
		return "optimized";
	case NOF_TGT_ANA_NON_OPTIMIZED:
		return "non_optimized";
	case NOF_TGT_ANA_INACCESSIBLE:
		return "inaccessible";
	case NOF_TGT_ANA_LOSS:
		return "persistent_loss";
	case NOF_TGT_ANA_CHANGE:
		return "change";
	}
	return "?";
}

static void on_listener(void *arg, const struct nof_tgt_listener_view *v)
{
	append(arg, "listen_addresses",
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "trtype", "TCP", "adrfam",
			v->v6 ? "IPv6" : "IPv4", "traddr", v->addr, "trsvcid", v->port, "ana_state",
			ana_name(v->ana[1]), "accepted", (json_int_t)v->accepted));
}

static void on_ns(void *arg, const struct nof_tgt_ns_view *v)
{
	struct list *l = arg;
	char uuid[CARD_UUID_TEXT], nguid[33], eui[17];

	if (v->dying)
		return;
	card_uuid_text(v->conf.uuid, uuid);
	card_hex_text(v->conf.nguid, 16, nguid);
	card_hex_text(v->conf.eui64, 8, eui);
	append(l, "namespaces",
		json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:b}", "nsid", (json_int_t)v->conf.nsid,
			"bdev_name", card_nvmf_volume_name(l->card, v->conf.vol), "uuid", uuid,
			"nguid", nguid, "eui64", eui, "anagrpid", (json_int_t)v->conf.anagrpid,
			"no_auto_visible", (int)v->conf.masked));
}

static void on_ctrl(void *arg, const struct nof_tgt_ctrl_view *v)
{
	char id[CARD_UUID_TEXT];

	card_uuid_text(v->hostid, id);
	append(arg, "controllers",
		json_pack("{s:i, s:s, s:s, s:i, s:I}", "cntlid", (int)v->cntlid, "hostnqn",
			v->hostnqn, "hostid", id, "num_io_qpairs", (int)v->n_io_queues,
			"keep_alive_ms", (json_int_t)v->kato_ms));
}

int card_call_nvmf_get_subsystems(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct list l = { .card = c, .out = json_array() };
	const struct nof_tgt_visit v = { .subsys = on_subsys,
		.host = on_host,
		.ns = on_ns,
		.listener = on_listener,
		.ctrl = on_ctrl,
		.arg = &l };
	const char *nqn = card_arg_str(params, "nqn", NULL);
	int ret = 0;

	if (card_nvmf_get(c))
		ret = nof_tgt_visit(card_nvmf_get(c), nqn, &v);
	else if (nqn)
		ret = -ENOENT;
	if (l.failed || !l.out || ret) {
		json_decref(l.out);
		return ret ? card_fail(e, -ENODEV, "%s: no such subsystem", nqn) : -ENOMEM;
	}
	*result = l.out;
	return 0;
}

/* ---- counters and metrics ---- */

struct counted {
	const char *name; // borrowed; NULL: all
	json_t *out, *sub; // the second: borrowed, the last of the first; NULL: not wanted
};

static void count_subsys(void *arg, const struct nof_tgt_subsys_view *v)
{
	struct counted *n = arg;

	n->sub = NULL;
	if (n->name && strcmp(n->name, v->nqn) != 0)
		return;
	n->sub = json_pack("{s:s, s:I, s:I, s:I, s:I, s:[], s:[]}", "name", v->nqn, "connects",
		(json_int_t)v->connects, "refused", (json_int_t)v->refused, "commands",
		(json_int_t)v->commands, "command_errors", (json_int_t)v->errors, "listeners",
		"hosts");
	if (json_array_append_new(n->out, n->sub))
		n->sub = NULL;
}

static void count_listener(void *arg, const struct nof_tgt_listener_view *v)
{
	const struct counted *n = arg;
	char at[80];

	snprintf(at, sizeof(at), v->v6 ? "[%s]:%s" : "%s:%s", v->addr, v->port);
	json_array_append_new(json_object_get(n->sub, "listeners"),
		json_pack("{s:s, s:I}", "address", at, "accepted", (json_int_t)v->accepted));
}

/* A host may have several controllers; their number tells them apart. */
static void count_host(void *arg, const struct nof_tgt_ctrl_view *v)
{
	const struct counted *n = arg;

	json_array_append_new(json_object_get(n->sub, "hosts"),
		json_pack("{s:s, s:i, s:I, s:I, s:{s:i}}", "host", v->hostnqn, "cntlid",
			(int)v->cntlid, "commands", (json_int_t)v->commands, "command_errors",
			(json_int_t)v->errors, "now", "queues", (int)v->n_io_queues));
}

json_t *card_subsys_stats_json(struct card *c, const char *name)
{
	struct counted n = { .name = name, .out = json_array() };
	const struct nof_tgt_visit v = {
		.subsys = count_subsys, .listener = count_listener, .ctrl = count_host, .arg = &n
	};

	if (card_nvmf_get(c))
		(void)nof_tgt_visit(card_nvmf_get(c), NULL, &v);
	return n.out;
}

json_t *card_target_stats_json(struct card *c)
{
	struct nof_tgt_stats s;
	json_t *refused = json_object();

	if (!card_nvmf_get(c)) {
		json_decref(refused);
		return json_array();
	}
	nof_tgt_stats(card_nvmf_get(c), &s);
#define X(name, help) json_object_set_new(refused, #name, json_integer((json_int_t)s.name));
	NOF_TGT_REASONS(X)
#undef X
	return json_pack("[{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:{s:I, s:I}}]", "connections",
		(json_int_t)s.conns_ever, "reads", (json_int_t)s.reads, "read_bytes",
		(json_int_t)s.read_bytes, "writes", (json_int_t)s.writes, "write_bytes",
		(json_int_t)s.write_bytes, "others", (json_int_t)s.others, "waits",
		(json_int_t)s.waits, "refused", refused, "now", "open", (json_int_t)s.conns,
		"controllers", (json_int_t)s.ctrls);
}

json_t *card_target_reasons_json(void)
{
	json_t *o = json_object();

#define X(name, help) json_object_set_new(o, #name, json_string(help));
	NOF_TGT_REASONS(X)
#undef X
	return o;
}

/* SPDK's: a group of connections for each thread. */
static json_t *poll_groups(struct card *c)
{
	json_t *all = json_array();
	struct nof_tgt_thread_view v;
	char name[32];

	for (unsigned i = 0; card_nvmf_get(c) && nof_tgt_thread(card_nvmf_get(c), i, &v); i++) {
		snprintf(name, sizeof(name), v.control ? "control" : "worker_%u", i);
		json_array_append_new(
			all, json_pack("{s:s, s:i, s:i, s:I, s:[{s:s}]}", "name", name,
				     "current_admin_qpairs", (int)v.admin_queues,
				     "current_io_qpairs", (int)v.io_queues, "completed_nvme_io",
				     (json_int_t)v.commands, "transports", "trtype", "TCP"));
	}
	return all;
}

int card_call_nvmf_get_stats(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct nof_tgt_stats s = { 0 };
	json_t *o = json_pack(
		"{s:I, s:o}", "tick_rate", (json_int_t)1000000000, "poll_groups", poll_groups(c));
	bool failed = !o;

	(void)params;
	(void)e;
	if (card_nvmf_get(c))
		nof_tgt_stats(card_nvmf_get(c), &s);
#define PUT(name) failed |= json_object_set_new(o, #name, json_integer((json_int_t)s.name)) != 0;
	PUT(conns)
	PUT(conns_ever)
	PUT(ctrls)
	PUT(reads)
	PUT(read_bytes)
	PUT(writes)
	PUT(write_bytes)
	PUT(others)
	PUT(waits)
#define X(name, help) PUT(name)
	NOF_TGT_REASONS(X)
#undef X
#undef PUT
	if (failed) {
		json_decref(o);
		return -ENOMEM;
	}
	*result = o;
	return 0;
}
