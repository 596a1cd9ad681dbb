// SPDX-License-Identifier: Apache-2.0
/* Methods on discoveries, under SPDK's names. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nof_nqn.h"
#include "rpc_list.h"
#include "rpc_schema.h"

int card_call_bdev_nvme_start_discovery(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint64_t loss = card_arg_uint(params, "ctrlr_loss_timeout_sec", UINT64_MAX);
	const char *port = card_arg_str(params, "trsvcid", "8009");
	struct card_discovery_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.traddr = card_arg_str(params, "traddr", ""),
		.hdgst = card_arg_bool(params, "hdgst", false),
		.ddgst = card_arg_bool(params, "ddgst", false),
		.ctrl_loss_timeout_s = loss == UINT64_MAX ? -1 : (int32_t)loss,
		.fast_io_fail_timeout_s = (uint32_t)card_arg_uint(
			params, "fast_io_fail_timeout_sec", 0),
		.reconnect_delay_s = (uint32_t)card_arg_uint(params, "reconnect_delay_sec", 0),
	};
	char *end;
	unsigned long n = strtoul(port, &end, 10);

	(void)result;
	if (strcasecmp(card_arg_str(params, "trtype", "TCP"), "TCP") != 0)
		return card_fail(e, -EINVAL, "trtype: must be TCP");
	if (*end || port[0] < '0' || port[0] > '9' || n == 0 || n > UINT16_MAX)
		return card_fail(e, -EINVAL, "trsvcid: not a port");
	conf.trsvcid = (uint16_t)n;
	return card_discovery_start(c, &conf, e);
}

int card_call_bdev_nvme_stop_discovery(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_discovery_stop(c, card_arg_str(params, "name", ""), e);
}

static json_t *trid(const char *traddr, uint16_t trsvcid)
{
	char port[8];

	snprintf(port, sizeof(port), "%u", trsvcid);
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "trtype", "TCP", "adrfam",
		strchr(traddr, ':') ? "IPv6" : "IPv4", "traddr", traddr, "trsvcid", port, "subnqn",
		NOF_DISCOVERY_NQN);
}

static json_t *service(const struct card_discovery_view *v, unsigned i)
{
	json_t *o = trid(v->service[i].traddr, v->service[i].trsvcid);

	if (o && (json_object_set_new(o, "state", json_string(v->service[i].state)) ||
			 json_object_set_new(o, "entries",
				 json_integer((json_int_t)v->service[i].n_entries)))) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static bool list_one(const struct card_discovery_view *v, void *arg)
{
	struct card_list *l = arg;
	json_t *referrals = json_array(), *o;

	if (!card_list_wants(l, v->conf->name)) {
		json_decref(referrals);
		return true;
	}
	for (unsigned i = 1; i < v->n_services; i++)
		if (json_array_append_new(referrals, service(v, i)))
			l->failed = true;
	o = json_pack("{s:s, s:o, s:o, s:s, s:i, s:i, s:I, s:I, s:s*}", "name", v->conf->name,
		"trid", trid(v->conf->traddr, v->conf->trsvcid), "referrals", referrals, "state",
		v->stopping ? "stopping" : v->service[0].state, "entries",
		(int)v->service[0].n_entries, "paths", (int)v->n_paths, "attach_failures",
		(json_int_t)v->attach_failures, "passed_over", (json_int_t)v->passed_over,
		"last_error", v->last_error[0] ? v->last_error : NULL);
	return card_list_add(l, o) && !l->failed;
}

int card_call_bdev_nvme_get_discovery_info(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_list l;

	card_list_begin(&l, params, "name");
	card_discovery_foreach(c, list_one, &l);
	return card_list_end(&l, "discovery", result, e);
}
