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
		json_pack("{s:s, s:s, s:s, s:s, s:s}", "trtype", "TCP", "adrfam",
			v->v6 ? "IPv6" : "IPv4", "traddr", v->addr, "trsvcid", v->port, "ana_state",
			ana_name(v->ana[1])));
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

int card_call_nvmf_get_stats(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct nof_tgt_stats s = { 0 };
	json_t *o = json_object();
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
