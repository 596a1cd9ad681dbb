// SPDX-License-Identifier: Apache-2.0
/*
 * Methods on controllers of remote subsystems, under SPDK's names. Attaching waits for the
 * connection, and keeps with the call which volumes came of it: after a restart they are there
 * before the target is.
 */
#include "rpc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "device.h"
#include "nof_ctrl.h"
#include "rpc_list.h"
#include "rpc_schema.h"
#include "storage.h"
#include "store.h"

#define NAP_MS 2
#define ADDR_TEXT 64
#define GOING_NS 10000000000ull // a controller says good-bye for a second

static int port_of(const json_t *params, uint16_t *out, struct card_error *e)
{
	const char *text = card_arg_str(params, "trsvcid", "4420");
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*end || text[0] < '0' || text[0] > '9' || port == 0 || port > UINT16_MAX)
		return card_fail(e, -EINVAL, "trsvcid: not a port");
	*out = (uint16_t)port;
	return 0;
}

/* What is not given, as bdev_nvme_set_options has it, if that has been called. */
static int fill_in(const struct card *c, const struct card_method *m, json_t *params)
{
	const char *key;
	json_t *v;

	json_object_foreach (c->inv ? c->inv->nvme_options : NULL, key, v)
		if (card_method_param(m, key) && !json_object_get(params, key) &&
			json_object_set(params, key, v))
			return -ENOMEM;
	return 0;
}

/* SPDK's microseconds are our milliseconds. */
static int name_timeout(json_t *params)
{
	uint64_t us = card_arg_uint(params, "timeout_us", 0);

	return !us || !json_object_set_new(
			      params, "io_timeout_ms", json_integer((json_int_t)(us / 1000)))
		       ? 0
		       : -ENOMEM;
}

int card_call_bdev_nvme_set_options(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	json_t *options = json_deep_copy(params);

	(void)result;
	if (!options || name_timeout(options)) {
		json_decref(options);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	json_decref(c->inv->nvme_options);
	c->inv->nvme_options = options;
	return 0;
}

int card_nvme_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	const char *traddr = card_arg_str(params, "traddr", NULL);
	char path[ADDR_TEXT];
	uint16_t port = 0;
	int ret;

	if (m == card_method_at(CARD_M_bdev_nvme_set_options) ||
		m == card_method_at(CARD_M_bdev_nvme_attach_controller) ||
		m == card_method_at(CARD_M_bdev_nvme_start_discovery)) {
		ret = fill_in(c, m, params);
		if (ret)
			return ret;
	}
	if (!m->kind || strcmp(m->kind, "controller") != 0 || !traddr)
		return 0;
	ret = port_of(params, &port, e);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/%u", traddr, port);
	return json_object_set_new(params, "path", json_string(path)) ? -ENOMEM : 0;
}

static int conf_of(const json_t *params, struct card_ctrl_conf *out, struct card_error *e)
{
	const char *selector = card_arg_str(params, "selector", "round_robin");
	uint64_t loss = card_arg_uint(params, "ctrlr_loss_timeout_sec", UINT64_MAX);
	int ret;

	*out = (struct card_ctrl_conf){
		.name = card_arg_str(params, "name", ""),
		.traddr = card_arg_str(params, "traddr", ""),
		.host_traddr = card_arg_str(params, "hostaddr", NULL),
		.subnqn = card_arg_str(params, "subnqn", ""),
		.hostnqn = card_arg_str(params, "hostnqn", NULL),
		.discovery = card_arg_str(params, "discovery", NULL),
		.hdgst = card_arg_bool(params, "hdgst", false),
		.ddgst = card_arg_bool(params, "ddgst", false),
		.ctrl_loss_timeout_s = loss == UINT64_MAX ? -1 : (int32_t)loss,
		.fast_io_fail_timeout_s = (uint32_t)card_arg_uint(
			params, "fast_io_fail_timeout_sec", 0),
		.reconnect_delay_s = (uint32_t)card_arg_uint(params, "reconnect_delay_sec", 0),
		.kato_ms = (uint32_t)card_arg_uint(params, "keep_alive_timeout_ms", 0),
		.io_timeout_ms = (uint32_t)card_arg_uint(params, "io_timeout_ms", 0),
		.queue_size = (uint32_t)card_arg_uint(params, "io_queue_size", 0),
	};
	if (strcasecmp(card_arg_str(params, "trtype", "TCP"), "TCP") != 0)
		return card_fail(e, -EINVAL, "trtype: must be TCP");
	ret = card_nvme_policy("active_active", selector, &out->policy, e);
	return ret ? ret : port_of(params, &out->trsvcid, e);
}

/* ---- volumes that are known beforehand ---- */

static int known_volume(struct card *c, const struct card_ctrl_conf *k, const char *text,
	json_t *names, struct card_error *e)
{
	char name[80], uuid[CARD_UUID_TEXT] = "", can[5] = "";
	uint64_t blocks;
	uint32_t nsid, block_size;
	struct card_volume_conf conf = {
		.name = name, .kind = CARD_VOL_NVME, .subnqn = k->subnqn, .policy = k->policy
	};
	int end = 0, n = 0, ret;

	// What was kept before there was a WHAT ends with the UUID.
	n = sscanf(text, "%" SCNu32 ":%" SCNu64 ":%" SCNu32 ":%36[^:]%n:%4[dzcr]%n", &nsid, &blocks,
		&block_size, uuid, &end, can, &end);
	if (n < 4 || (text[end] && strcmp(text + end, ":") != 0))
		return card_fail(
			e, -EINVAL, "namespaces: must be NSID:BLOCKS:BLOCK_SIZE:UUID:WHAT");
	snprintf(name, sizeof(name), "%sn%u", k->name, nsid);
	conf.nsid = nsid;
	conf.num_blocks = blocks;
	conf.block_size = block_size;
	conf.can_discard = strchr(can, 'd') != NULL;
	conf.can_zero = strchr(can, 'z') != NULL;
	conf.volatile_cache = strchr(can, 'c') || (n == 4 && !text[end]); // not told: it may have
	conf.read_only = strchr(can, 'r') != NULL;
	conf.uuid_is_theirs = uuid[0] && strcmp(uuid, "-") != 0;
	conf.uuid = conf.uuid_is_theirs ? uuid : NULL;
	ret = card_volume_create(c, &conf, e);
	return ret ? ret : json_array_append_new(names, json_string(name)) ? -ENOMEM : 0;
}

static int known_volumes(struct card *c, const struct card_ctrl_conf *k, const json_t *list,
	json_t **result, struct card_error *e)
{
	json_t *names = json_array();
	size_t i;
	json_t *v;
	int ret = names ? 0 : -ENOMEM;

	json_array_foreach ((json_t *)(uintptr_t)list, i, v) {
		if (!ret)
			ret = known_volume(c, k, json_string_value(v), names, e);
	}
	if (ret) {
		json_decref(names);
		return ret;
	}
	*result = names;
	return 0;
}

/* ---- attach ---- */

struct attach {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	struct card_ctrl_conf conf; // strings of `params`
	json_t *params; // owned
	json_t *names, *known; // owned: of the volumes; what is kept about them
	uint64_t until_ns; // how long one that goes is waited for, and one that came and went
	bool known_of; // card_ctrl_create() was content
	bool made; // the path was not there before
	bool reading; // its namespaces are being gone over
	bool done;
};

static void note_volume(const char *volume, const struct card_volume_conf *conf, void *arg)
{
	struct attach *a = arg;
	char text[CARD_NS_TEXT];

	card_ns_text(conf, text);
	json_array_append_new(a->names, json_string(volume));
	json_array_append_new(a->known, json_string(text));
}

static int attach_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct attach *a = (struct attach *)t;
	int ret;

	card_storage_poll(a->card); // at the start no event loop does
	ret = a->known_of ? 0 : card_ctrl_create(a->card, &a->conf, &a->made, e);
	if (ret == -EAGAIN && dpu_now_ns() < a->until_ns)
		return CARD_RPC_LATER;
	a->known_of = !ret;
	if (!ret && !a->reading)
		ret = card_ctrl_state(a->card, &a->conf, e);
	if (ret == CARD_RPC_LATER && dpu_now_ns() >= a->until_ns) // it was live, and is no more
		return card_fail(e, -ENOTCONN, "%s: not connected any more", a->conf.name);
	if (!ret && !a->reading)
		ret = card_ctrl_read(a->card, &a->conf, e);
	if (ret)
		return ret;
	a->reading = true;
	ret = card_ctrl_read_step(a->card, &a->conf, e);
	if (ret == CARD_RPC_LATER)
		return ret;
	card_ctrl_volumes(a->card, a->conf.name, note_volume, a);
	// One namespace that can have no volume does not take the others away.
	if (ret && (ret == -ENODEV || !json_array_size(a->names)))
		return ret;
	a->done = true;
	*result = json_incref(a->names);
	return 0;
}

static void attach_destroy(struct card_task *t)
{
	struct attach *a = (struct attach *)t;
	struct card_error e;

	if (a->made && !a->done)
		(void)card_ctrl_delete(a->card, a->conf.name, a->conf.traddr, a->conf.trsvcid, &e);
	json_decref(a->names);
	json_decref(a->known);
	json_decref(a->params);
	free(a);
}

static int attach_keep(struct card_task *t, json_t *params)
{
	return json_object_set(params, "namespaces", ((struct attach *)t)->known) ? -ENOMEM : 0;
}

/* What it waits for is mostly an answer to the control thread's group. */
static void attach_wait(struct card_task *t, unsigned ms)
{
	card_storage_wait(((struct attach *)t)->card, ms);
}

static int attach_begin(struct card *c, const json_t *params, struct card_error *e)
{
	struct attach *a = dpu_calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return card_fail(e, -ENOMEM, "out of memory");
	a->task = (struct card_task){ .step = attach_step,
		.destroy = attach_destroy,
		.keep = attach_keep,
		.nap_ms = NAP_MS,
		.wait = attach_wait };
	a->card = c;
	a->until_ns = dpu_now_ns() + GOING_NS;
	a->names = json_array();
	a->known = json_array();
	a->params = json_deep_copy(params);
	ret = a->names && a->known && a->params ? conf_of(a->params, &a->conf, e) : -ENOMEM;
	if (ret) {
		attach_destroy(&a->task);
		return ret;
	}
	c->task = &a->task;
	return CARD_RPC_LATER;
}

int card_call_bdev_nvme_attach_controller(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const json_t *list = json_object_get(params, "namespaces");
	struct card_ctrl_conf conf;
	bool made;
	int ret;

	if (!list)
		return attach_begin(c, params, e);
	ret = conf_of(params, &conf, e);
	if (!ret)
		ret = card_ctrl_create(c, &conf, &made, e);
	if (ret)
		return ret;
	ret = known_volumes(c, &conf, list, result, e);
	if (ret && made) {
		struct card_error ignored;

		(void)card_ctrl_delete(c, conf.name, conf.traddr, conf.trsvcid, &ignored);
	}
	return ret;
}

/* ---- detach, reset ---- */

int card_call_bdev_nvme_detach_controller(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint16_t port = 0;
	int ret = port_of(params, &port, e);

	(void)result;
	return ret ? ret
		   : card_ctrl_delete(c, card_arg_str(params, "name", ""),
			     card_arg_str(params, "traddr", NULL), port, e);
}

int card_call_bdev_nvme_reset_controller(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_ctrl_reset(c, card_arg_str(params, "name", ""), e);
}

/* ---- counters ---- */

static void path_text(const struct card_ctrl_conf *conf, char out[ADDR_TEXT])
{
	snprintf(out, ADDR_TEXT, "%s/%u", conf->traddr, conf->trsvcid);
}

static json_t *ctrl_counters(
	const struct card *c, const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct card_ctrl_volume_counts n;
	struct nof_ctrl_stats s;
	struct nof_ctrl_info i;
	char path[ADDR_TEXT];

	path_text(conf, path);
	nof_ctrl_info(ctrl, &i);
	nof_ctrl_stats(ctrl, &s);
	nof_ctrl_latency(ctrl, sum);
	card_ctrl_volume_counts(c, conf, &n);
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:{s:i, s:i, s:i}, s:o}",
		"name", conf->name, "path", path, "commands", (json_int_t)s.commands,
		"stale_answers", (json_int_t)s.stale, "timeouts", (json_int_t)s.timeouts,
		"digest_errors", (json_int_t)s.digest_errors, "short_data",
		(json_int_t)s.short_data, "connects", (json_int_t)i.connects, "failures",
		(json_int_t)i.failures, "volumes_added", (json_int_t)n.added, "volumes_removed",
		(json_int_t)n.removed, "volumes_refused", (json_int_t)n.refused, "now", "live",
		(int)(i.state == NOF_CTRL_LIVE), "queues", (int)i.n_queues, "namespaces",
		(int)i.n_namespaces, "latency", card_latency_json(sum));
}

struct counted {
	const struct card *card;
	const char *name; // NULL: all
	json_t *out;
};

static bool count_ctrl(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl, void *arg)
{
	struct counted *n = arg;

	if (!n->name || !strcmp(n->name, conf->name))
		json_array_append_new(n->out, ctrl_counters(n->card, conf, ctrl));
	return true;
}

json_t *card_ctrl_stats_json(struct card *c, const char *name)
{
	struct counted n = { c, name, json_array() };

	card_ctrl_foreach(c, count_ctrl, &n);
	return n.out;
}

/* ---- list ---- */

static json_t *path_object(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl)
{
	struct nof_ctrl_stats s;
	struct nof_ctrl_info i;
	char port[8];

	nof_ctrl_info(ctrl, &i);
	nof_ctrl_stats(ctrl, &s);
	snprintf(port, sizeof(port), "%u", conf->trsvcid);
	return json_pack(
		"{s:s, s:i, s:{s:s, s:s, s:s, s:s, s:s}, s:s*, s:s*, s:I, s:I, s:i, s:i, s:b, "
		"s:b, s:I, s:{s:I, s:I, s:I, s:I, s:I}}",
		"state", nof_ctrl_state_name(i.state), "cntlid", (int)i.cntlid, "trid", "trtype",
		"TCP", "traddr", i.traddr, "trsvcid", port, "subnqn", i.subnqn, "adrfam",
		strchr(conf->traddr, ':') ? "IPv6" : "IPv4", "last_error",
		i.last_err ? strerrorname_np(-i.last_err) : NULL, "last_step",
		i.last_err ? i.last_step : NULL, "connects", (json_int_t)i.connects, "failures",
		(json_int_t)i.failures, "queues", (int)i.n_queues, "namespaces",
		(int)i.n_namespaces, "hdgst", (int)i.hdgst, "ddgst", (int)i.ddgst, "max_transfer",
		(json_int_t)i.max_transfer, "counters", "commands", (json_int_t)s.commands,
		"stale_answers", (json_int_t)s.stale, "timeouts", (json_int_t)s.timeouts,
		"digest_errors", (json_int_t)s.digest_errors, "short_data",
		(json_int_t)s.short_data);
}

/* The object of this name in the list, or a new one. */
static json_t *entry(struct card_list *l, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach (l->out, i, o)
		if (!strcmp(json_string_value(json_object_get(o, "name")), name))
			return o;
	o = json_pack("{s:s, s:[]}", "name", name, "ctrlrs");
	return card_list_add(l, o) ? o : NULL;
}

static bool list_ctrl(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl, void *arg)
{
	struct card_list *l = arg;
	json_t *o;

	if (!card_list_wants(l, conf->name))
		return true;
	o = entry(l, conf->name);
	if (!o || json_array_append_new(json_object_get(o, "ctrlrs"), path_object(conf, ctrl)))
		l->failed = true;
	return !l->failed;
}

int card_call_bdev_nvme_get_controllers(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_list l;

	card_list_begin(&l, params, "name");
	card_ctrl_foreach(c, list_ctrl, &l);
	return card_list_end(&l, "controller", result, e);
}
