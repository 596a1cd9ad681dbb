// SPDX-License-Identifier: Apache-2.0
/* Methods on the card itself: what it is, what it counts, how to end it. */
#include "rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "rpc_schema.h"
#include "standby.h"
#include "storage.h"
#include "store.h"

static json_t *param_json(const struct card_param *p)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:s}", "name", p->name, "type",
		card_param_type_name(p->type), "required", (int)p->required, "help", p->help);

	if (o && p->def)
		json_object_set_new(o, "default", json_string(p->def));
	if (o && p->min)
		json_object_set_new(o, "min", json_integer((json_int_t)p->min));
	if (o && p->max && p->max <= INT64_MAX)
		json_object_set_new(o, "max", json_integer((json_int_t)p->max));
	return o;
}

static json_t *method_json(const struct card_method *m)
{
	json_t *params = json_array();

	for (unsigned i = 0; i < m->n_params; i++)
		json_array_append_new(params, param_json(&m->params[i]));
	return json_pack("{s:s, s:s, s:b, s:o}", "name", m->name, "help", m->help, "durable",
		(int)(m->keep != CARD_KEEP_NONE), "params", params);
}

int card_call_rpc_get_methods(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	bool schema = card_arg_bool(params, "schema", false);
	const struct card_method *m;
	json_t *all = json_array();

	(void)c;
	(void)e;
	for (unsigned i = 0; (m = card_method_at(i)); i++)
		json_array_append_new(all, schema ? method_json(m) : json_string(m->name));
	*result = all;
	return all ? 0 : -ENOMEM;
}

int card_call_spdk_get_version(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	int major = 0, minor = 0, patch = 0;

	(void)c;
	(void)params;
	(void)e;
	if (sscanf(OUTBOARD_VERSION, "%d.%d.%d", &major, &minor, &patch) < 2)
		return -EINVAL;
	*result = json_pack("{s:s, s:{s:i, s:i, s:i, s:s}}", "version",
		"Outboard v" OUTBOARD_VERSION, "fields", "major", major, "minor", minor, "patch",
		patch, "suffix", "");
	return *result ? 0 : -ENOMEM;
}

struct counting {
	struct card_task task; // first: it is this
	const char *object, *name; // of `params`
	json_t *params; // owned
	struct card_stats_work *work; // owned
};

static int counting_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct counting *x = (struct counting *)t;
	int ret = card_stats_step(x->work, dpu_now_ns() + CARD_SLICE_NS, result);

	if (ret == -EINVAL)
		return card_fail(e, ret, "object: %s is none of those that count", x->object);
	if (ret == -ENODEV)
		return card_fail(
			e, ret, "%s: no such %s", x->name, x->object ? x->object : "object");
	return ret;
}

static void counting_destroy(struct card_task *t)
{
	struct counting *x = (struct counting *)t;

	card_stats_end(x->work);
	json_decref(x->params);
	free(x);
}

int card_call_stats_get(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct counting *x = dpu_calloc(1, sizeof(*x));

	(void)result;
	if (!x)
		return card_fail(e, -ENOMEM, "out of memory");
	x->task = (struct card_task){ .step = counting_step, .destroy = counting_destroy };
	x->params = json_incref((json_t *)(uintptr_t)params);
	x->object = card_arg_str(params, "object", NULL);
	x->name = card_arg_str(params, "name", NULL);
	if (card_stats_begin(c, x->object, x->name, &x->work)) {
		counting_destroy(&x->task);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	c->reading = &x->task;
	return CARD_RPC_LATER;
}

int card_call_worker_list(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint64_t only = card_arg_uint(params, "worker", UINT64_MAX);
	json_t *all;

	if (only != UINT64_MAX && only >= card_workers_count(c->workers))
		return card_fail(e, -ENODEV, "%u: no such worker", (unsigned)only);
	all = json_array();
	for (unsigned i = 0; i < card_workers_count(c->workers); i++) {
		const struct card_worker *w = card_worker_at(c->workers, i);
		const struct card_worker_stats *s = card_worker_stats(w);

		if (only != UINT64_MAX && only != i)
			continue;
		uint64_t busy = dpu_counter_read(&s->busy_tsc);
		uint64_t idle = dpu_counter_read(&s->idle_tsc);
		uint64_t all_tsc = busy + idle;

		json_array_append_new(
			all, json_pack("{s:i, s:i, s:I, s:I, s:I, s:I}", "worker", (int)i, "cpu",
				     (int)card_worker_cpu(w), "busy_percent",
				     (json_int_t)(all_tsc >= 100 ? busy / (all_tsc / 100) : 0),
				     "turns", (json_int_t)dpu_counter_read(&s->turns), "sleeps",
				     (json_int_t)dpu_counter_read(&s->sleeps), "wakes",
				     (json_int_t)dpu_counter_read(&s->wakes)));
	}
	*result = all;
	return all ? 0 : -ENOMEM;
}

/* A number as operators read it: one place behind the point. */
static json_t *ratio(uint64_t part, uint64_t of, double times)
{
	double v = of ? (double)part * times / (double)of : 0;

	return json_real((double)(uint64_t)(v * 10 + 0.5) / 10);
}

/* "lookup" of "lookup_tsc". */
static int set_stage(json_t *o, enum odp_stage stage, json_t *v)
{
	const char *counter = odp_stage_counter(stage), *end = strchr(counter, '_');
	char name[32];

	snprintf(name, sizeof(name), "%.*s", (int)(end ? end - counter : 16), counter);
	return json_object_set_new(o, name, v);
}

static json_t *perf_json(struct card *c, unsigned idx)
{
	const struct card_worker *cw = card_worker_at(c->workers, idx);
	const struct card_worker_stats *s = card_worker_stats(cw);
	const struct odp_worker *w = odp_worker(c->dp, idx);
	uint64_t busy = dpu_counter_read(&s->busy_tsc), idle = dpu_counter_read(&s->idle_tsc);
	uint64_t looked_up, cycles = 0;
	struct odp_hit_stats hits;
	struct odp_stage_stats stages;
	json_t *o, *per_stage = json_object();

	odp_worker_hits(w, &hits);
	odp_worker_stages(w, &stages);
	looked_up = hits.fused + hits.emc + hits.mega + hits.misses;
	for (unsigned i = 0; i < ODP_STAGE_COUNT; i++) {
		cycles += stages.cycles[i];
		set_stage(per_stage, (enum odp_stage)i, ratio(stages.cycles[i], stages.packets, 1));
	}
	o = json_pack("{s:i, s:i, s:o, s:I, s:I, s:I, s:o, s:o}", "worker", (int)idx, "cpu",
		(int)card_worker_cpu(cw), "busy_percent", ratio(busy, busy + idle, 100),
		"busy_cycles", (json_int_t)busy, "idle_cycles", (json_int_t)idle, "lookups",
		(json_int_t)looked_up, "cycles_per_packet", ratio(cycles, stages.packets, 1),
		"cycles", per_stage);
	json_object_set_new(o, "hits_percent",
		json_pack("{s:o, s:o, s:o, s:o}", "fused", ratio(hits.fused, looked_up, 100), "emc",
			ratio(hits.emc, looked_up, 100), "mega", ratio(hits.mega, looked_up, 100),
			"none", ratio(hits.misses, looked_up, 100)));
	return o;
}

int card_call_worker_perf(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	unsigned n = card_workers_count(c->workers);
	uint64_t only = card_arg_uint(params, "worker", UINT64_MAX);

	if (only != UINT64_MAX && only >= n)
		return card_fail(e, -ENODEV, "%u: no such worker", (unsigned)only);
	*result = json_array();
	for (unsigned i = 0; i < n; i++)
		if (only == UINT64_MAX || only == i)
			json_array_append_new(*result, perf_json(c, i));
	return *result ? 0 : -ENOMEM;
}

int card_call_card_info(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const json_t *degraded = card_store_degraded(c);

	(void)params;
	(void)e;
	*result = json_pack("{s:s*, s:s, s:i, s:b, s:i, s:s*, s:s*, s:s*, s:I, s:s*, s:O*}", "name",
		c->opt.name, "version", OUTBOARD_VERSION, "pid", (int)getpid(), "spare",
		(int)card_standby_spare(c), "workers",
		c->workers ? (int)card_workers_count(c->workers) : 0, "rpc_socket",
		c->opt.rpc_socket, "socket_dir", c->opt.socket_dir, "state_dir", c->opt.state_dir,
		"metrics_port", (json_int_t)c->opt.metrics_port, "nvme_host",
		card_storage_hostnqn(c), "degraded", degraded);
	return *result ? 0 : -ENOMEM;
}

/* The control thread answers only when start-up is over, so the answer is the information. */
int card_call_card_ready(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const json_t *degraded = card_store_degraded(c);

	(void)params;
	(void)e;
	*result = json_pack("{s:b, s:i}", "ready", 1, "degraded", (int)json_array_size(degraded));
	return *result ? 0 : -ENOMEM;
}

int card_call_log_level_set(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *text = card_arg_str(params, "level", "");
	enum dpu_log_level level;

	(void)c;
	(void)result;
	if (dpu_log_level_parse(text, &level))
		return card_fail(e, -EINVAL, "level: %s is none of err, warn, info, debug", text);
	dpu_log_level_set(level);
	return 0;
}

int card_call_config_get(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const json_t *calls = card_store_calls(c);

	(void)params;
	if (!calls)
		return card_fail(e, -ENOENT, "no state directory: nothing is kept");
	// What is in it does not change: a new state is a new list of new calls.
	*result = json_copy((json_t *)(uintptr_t)calls);
	return *result ? 0 : -ENOMEM;
}

/*
 * The loop ends as soon as the answer is out (rpc_conn.c), or after a second when the client does
 * not read it.
 */
int card_call_shutdown(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	static const struct timeval grace = { .tv_sec = 1 };

	(void)params;
	(void)result;
	(void)e;
	dpu_info("card: shutdown asked for", "name=%s", c->opt.name ? c->opt.name : "");
	c->stopping = true;
	event_base_loopexit(c->loop, &grace);
	return 0;
}
