// SPDX-License-Identifier: Apache-2.0
/* Latencies: histograms as SPDK's tools read them, quantiles of volumes and paths for people. */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_base64.h"
#include "dpu_wire.h"
#include "nof_ctrl.h"
#include "rpc_list.h"
#include "rpc_schema.h"

static const char *const ops[DPU_LAT_CLASSES] = { "read", "write", "other" };

/* ---- for counters and metrics ---- */

/* Ends of the buckets of metrics: 4 us, 16 us .. 17 s. */
#define FIRST_NS UINT64_C(4096)
#define LAST_NS (UINT64_C(1) << 34)
#define STEP_BITS 2

static json_t *seconds(const struct dpu_hist_sum *sum)
{
	json_t *below = json_object();
	char end[24];

	for (uint64_t ns = FIRST_NS; ns <= LAST_NS; ns <<= STEP_BITS) {
		snprintf(end, sizeof(end), "%llu", (unsigned long long)ns);
		json_object_set_new(below, end, json_integer((json_int_t)dpu_hist_below(sum, ns)));
	}
	return json_pack("{s:o, s:I, s:I}", "below_ns", below, "count", (json_int_t)sum->count,
		"sum_ns", (json_int_t)(sum->sum_ns & INT64_MAX));
}

json_t *card_latency_json(const struct dpu_hist_sum sum[DPU_LAT_CLASSES])
{
	json_t *all = json_array();

	for (unsigned i = 0; i < DPU_LAT_CLASSES; i++)
		if (sum[i].count)
			json_array_append_new(all,
				json_pack("{s:s, s:o}", "op", ops[i], "seconds", seconds(&sum[i])));
	return all;
}

/* ---- for people ---- */

static json_t *us(uint64_t ns)
{
	uint64_t tenths = ns / 100;

	return json_real((double)tenths / 10);
}

/* A row for each class of which something was timed. */
static bool add_rows(struct card_list *l, const char *name, const char *path,
	const struct dpu_hist_sum sum[DPU_LAT_CLASSES])
{
	for (unsigned i = 0; i < DPU_LAT_CLASSES; i++) {
		const struct dpu_hist_sum *h = &sum[i];

		if (!h->count)
			continue;
		if (!card_list_add(l,
			    json_pack("{s:s, s:s*, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "name",
				    name, "path", path, "op", ops[i], "timed", (json_int_t)h->count,
				    "mean_us", us(h->sum_ns / h->count), "p50_us",
				    us(dpu_hist_quantile_ns(h, 50000)), "p99_us",
				    us(dpu_hist_quantile_ns(h, 99000)), "p999_us",
				    us(dpu_hist_quantile_ns(h, 99900)), "max_us", us(h->max_ns))))
			return false;
	}
	return true;
}

static bool volume_rows(const struct card_volume_view *v, void *arg)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct card_list *l = arg;

	l->found = true;
	vol_latency(v->vol, sum);
	return add_rows(l, v->conf.name, NULL, sum);
}

static int volumes_end(struct card_list *l, json_t **result, struct card_error *e)
{
	return card_list_end(l, "volume", result, e);
}

int card_call_volume_latency(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	static const struct card_list_volumes how = { volume_rows, volumes_end };

	return card_list_volumes(c, params, &how, result, e);
}

static bool path_rows(const struct card_ctrl_conf *conf, const struct nof_ctrl *ctrl, void *arg)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct card_list *l = arg;
	char path[64];

	if (!card_list_wants(l, conf->name))
		return true;
	l->found = true;
	snprintf(path, sizeof(path), "%s/%u", conf->traddr, conf->trsvcid);
	nof_ctrl_latency(ctrl, sum);
	return add_rows(l, conf->name, path, sum);
}

int card_call_controller_latency(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_list l;

	card_list_begin(&l, params, "name");
	card_ctrl_foreach(c, path_rows, &l);
	return card_list_end(&l, "controller", result, e);
}

/* ---- for SPDK's tools ---- */

int card_call_bdev_enable_histogram(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	bool enable = card_arg_bool(params, "enable", true);
	uint32_t every = (uint32_t)card_arg_uint(params, "every", 1);

	(void)result;
	return card_volume_latency_set(c, card_arg_str(params, "name", ""), enable ? every : 0, e);
}

/*
 * SPDK's histogram: 64-bit counts in base64, 2^shift buckets to a range; the first range is of one
 * tick each, as the second is, and from there on each is twice as wide as the one before. With a
 * tick of 1 ns and our shift its buckets are ours, but for the first of them, which it has finer.
 */
#define SPDK_RANGES (64 - DPU_HIST_SUB_BITS + 1)
#define SPDK_BUCKETS (SPDK_RANGES << DPU_HIST_SUB_BITS)
#define SPDK_BYTES (SPDK_BUCKETS * 8U)

static unsigned spdk_bucket(uint64_t ns)
{
	unsigned top;

	if (ns < 1u << DPU_HIST_SUB_BITS)
		return (unsigned)ns;
	top = 63 - (unsigned)__builtin_clzll(ns);
	return ((top - DPU_HIST_SUB_BITS + 1) << DPU_HIST_SUB_BITS) +
	       (unsigned)(ns >> (top - DPU_HIST_SUB_BITS) & ((1u << DPU_HIST_SUB_BITS) - 1));
}

static json_t *spdk_histogram(const struct dpu_hist_sum sum[DPU_LAT_CLASSES])
{
	uint64_t *n = dpu_calloc(SPDK_BUCKETS, sizeof(*n));
	uint8_t *bytes = dpu_calloc(1, SPDK_BYTES);
	char *text = dpu_calloc(1, DPU_BASE64_LEN(SPDK_BYTES) + 1);
	json_t *out = NULL;

	if (n && bytes && text) {
		for (unsigned i = 0; i < DPU_HIST_BUCKETS; i++)
			for (unsigned k = 0; k < DPU_LAT_CLASSES; k++)
				n[spdk_bucket(dpu_hist_end_ns(i) - 1)] += sum[k].n[i];
		for (unsigned i = 0; i < SPDK_BUCKETS; i++) {
			dpu_le64 le = dpu_le64_put(n[i]);

			memcpy(bytes + i * sizeof(le), &le, sizeof(le));
		}
		dpu_base64(bytes, SPDK_BYTES, text);
		out = json_string(text);
	}
	free(text);
	free(bytes);
	free(n);
	return out;
}

int card_call_bdev_get_histogram(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct card_volume_view v;
	int ret = card_volume_get(c, card_arg_str(params, "name", ""), &v, e);

	if (ret)
		return ret;
	vol_latency(v.vol, sum);
	*result = json_pack("{s:o, s:i, s:I, s:I}", "histogram", spdk_histogram(sum),
		"bucket_shift", (int)DPU_HIST_SUB_BITS, "tsc_rate", (json_int_t)1000000000,
		"timed_every", (json_int_t)vol_latency_every(v.vol));
	return *result ? 0 : -ENOMEM;
}
