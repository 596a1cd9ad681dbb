// SPDX-License-Identifier: Apache-2.0
/* Methods on volumes, under SPDK's names for block devices. */
#include "rpc.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "rpc_list.h"
#include "rpc_schema.h"
#include "store.h"

static const char *kind_name(enum card_volume_kind k)
{
	switch (k) {
	case CARD_VOL_NULL:
		return "null";
	case CARD_VOL_RAM:
		return "memory";
	case CARD_VOL_FILE:
		return "file";
	case CARD_VOL_CRYPT:
		return "crypt";
	case CARD_VOL_NVME:
		return "nvme";
	case CARD_VOL_INTEGRITY:
		return "integrity";
	case CARD_VOL_STRIPE:
		return "stripe";
	}
	return "?";
}

/* ---- create ---- */

static bool exists(const struct card *c, const char *name)
{
	struct card_volume_view v;
	struct card_error none;

	return !card_volume_get(c, name, &v, &none);
}

static bool is_degraded(struct card *c, const char *name)
{
	json_t *params = json_pack("{s:s}", "name", name);
	bool yes = card_store_is_degraded(c, card_method_at(CARD_M_volume_delete), params);

	json_decref(params);
	return yes;
}

#define CARD_NAME_SIZE 64
#define DELETE_MS 2000 // for what a volume still does by itself

/*
 * The name of a memory volume that was given none: the first free one. The same each time until a
 * volume comes or goes, so that what is stored is what is made.
 */
static void pick_name(struct card *c, char out[CARD_NAME_SIZE])
{
	for (unsigned i = 0;; i++) {
		snprintf(out, CARD_NAME_SIZE, "Malloc%u", i);
		if (!exists(c, out) && !is_degraded(c, out))
			return;
	}
}

/* ---- limits ---- */

#define MIB 20 // SPDK's megabytes are these

/* How struct vol_limits and the call's parameters go together. */
static const struct limit {
	const char *name;
	size_t at;
	unsigned shift;
} limits[] = {
	{ "rw_ios_per_sec", offsetof(struct vol_limits, rw_ios), 0 },
	{ "r_ios_per_sec", offsetof(struct vol_limits, r_ios), 0 },
	{ "w_ios_per_sec", offsetof(struct vol_limits, w_ios), 0 },
	{ "rw_mbytes_per_sec", offsetof(struct vol_limits, rw_bytes), MIB },
	{ "r_mbytes_per_sec", offsetof(struct vol_limits, r_bytes), MIB },
	{ "w_mbytes_per_sec", offsetof(struct vol_limits, w_bytes), MIB },
};
#define N_LIMITS (sizeof(limits) / sizeof(limits[0]))

static uint64_t *limit_of(struct vol_limits *l, const struct limit *row)
{
	return (uint64_t *)(void *)((char *)l + row->at);
}

static void limits_from(const json_t *params, struct vol_limits *l)
{
	for (size_t i = 0; i < N_LIMITS; i++) {
		uint64_t *at = limit_of(l, &limits[i]);

		*at = card_arg_uint(params, limits[i].name, *at >> limits[i].shift)
		      << limits[i].shift;
	}
	l->burst_ms = (uint32_t)card_arg_uint(params, "burst_ms", l->burst_ms);
}

/* Into a JSON object. 0 or -ENOMEM. */
static int limits_into(json_t *out, struct vol_limits l)
{
	int failed = 0;

	for (size_t i = 0; i < N_LIMITS; i++)
		failed |= json_object_set_new(out, limits[i].name,
			json_integer((json_int_t)(*limit_of(&l, &limits[i]) >> limits[i].shift)));
	failed |= json_object_set_new(out, "burst_ms", json_integer(l.burst_ms));
	return failed ? -ENOMEM : 0;
}

/* What is not given stays: the store has all of it. */
static int canon_limits(struct card *c, json_t *params, struct card_error *e)
{
	struct card_volume_view v;
	int ret = card_volume_get(c, card_arg_str(params, "name", ""), &v, e);

	if (ret)
		return ret;
	limits_from(params, &v.limits);
	return limits_into(params, v.limits);
}

int card_call_bdev_set_qos_limit(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct vol_limits l = { 0 };

	(void)result;
	limits_from(params, &l);
	return card_volume_limits_set(c, card_arg_str(params, "name", ""), &l, e);
}

int card_volume_canon(
	struct card *c, const struct card_method *m, json_t *params, struct card_error *e)
{
	char picked[CARD_NAME_SIZE];

	if (m == card_method_at(CARD_M_bdev_set_qos_limit))
		return canon_limits(c, params, e);
	if (m != card_method_at(CARD_M_bdev_malloc_create) || json_object_get(params, "name"))
		return 0;
	pick_name(c, picked);
	return json_object_set_new(params, "name", json_string(picked)) ? -ENOMEM : 0;
}

/* SPDK answers with the name of what it made. */
static int create(
	struct card *c, const struct card_volume_conf *conf, json_t **result, struct card_error *e)
{
	int ret = card_volume_create(c, conf, e);

	if (!ret)
		*result = json_string(conf->name);
	return ret;
}

/* Whoever asks for protection information must not believe that there is any. */
static int no_metadata(const json_t *params, struct card_error *e)
{
	static const char *const names[] = { "md_size", "dif_type" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (card_arg_uint(params, names[i], 0))
			return card_fail(e, -EINVAL, "%s: there is no metadata", names[i]);
	return 0;
}

static int create_sized(struct card *c, enum card_volume_kind kind, const json_t *params,
	json_t **result, struct card_error *e)
{
	char picked[CARD_NAME_SIZE];
	struct card_volume_conf conf = {
		.name = card_arg_str(params, "name", NULL),
		.kind = kind,
		.block_size = (uint32_t)card_arg_uint(params, "block_size", 0),
		.num_blocks = card_arg_uint(params, "num_blocks", 0),
		.prealloc = card_arg_bool(params, "prealloc", false),
		.uuid = card_arg_str(params, "uuid", NULL),
	};
	int ret = no_metadata(params, e);

	if (ret)
		return ret;
	if (!conf.name) {
		pick_name(c, picked);
		conf.name = picked;
	}
	return create(c, &conf, result, e);
}

int card_call_bdev_null_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return create_sized(c, CARD_VOL_NULL, params, result, e);
}

int card_call_bdev_malloc_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return create_sized(c, CARD_VOL_RAM, params, result, e);
}

int card_call_bdev_uring_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_volume_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.kind = CARD_VOL_FILE,
		.block_size = (uint32_t)card_arg_uint(params, "block_size", 0),
		.num_blocks = card_arg_uint(params, "num_blocks", 0),
		.path = card_arg_str(params, "filename", ""),
		.read_only = card_arg_bool(params, "readonly", false),
		.direct = card_arg_bool(params, "direct", true),
		.shared = card_arg_bool(params, "shared", false),
		.uuid = card_arg_str(params, "uuid", NULL),
	};

	return create(c, &conf, result, e);
}

int card_call_bdev_aio_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return card_call_bdev_uring_create(c, params, result, e);
}

/* ---- delete ---- */

#define NAP_MS 2

struct deleting {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	char name[CARD_NAME_SIZE];
	uint64_t until_ns;
};

static int deleting_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct deleting *x = (struct deleting *)t;
	int ret = card_volume_delete(x->card, x->name, e);

	(void)result;
	return ret == CARD_RPC_LATER && dpu_now_ns() >= x->until_ns ? card_volume_silent(x->name, e)
								    : ret;
}

static void deleting_destroy(struct card_task *t)
{
	free(t);
}

/* In steps when the volume has to stop first. */
static int delete_volume(struct card *c, const char *name, struct card_error *e)
{
	char header[CARD_UUID_TEXT];
	struct vol_work work;
	struct deleting *x;
	int ret = card_volume_work(c, name, &work, header, e);

	if (ret)
		return ret;
	if (c->task && work.kind != VOL_WORK_NONE) // before it is told to end its work
		return card_fail(e, CARD_RPC_BUSY, "another call is being made");
	ret = card_volume_delete(c, name, e);
	if (ret != CARD_RPC_LATER)
		return ret;
	if (c->task)
		return card_fail(e, CARD_RPC_BUSY, "another call is being made");
	x = dpu_calloc(1, sizeof(*x));
	if (!x)
		return card_fail(e, -ENOMEM, "out of memory");
	x->task = (struct card_task){
		.step = deleting_step, .destroy = deleting_destroy, .nap_ms = NAP_MS
	};
	x->card = c;
	(void)snprintf(x->name, sizeof(x->name), "%s", name);
	x->until_ns = dpu_now_ns() + DELETE_MS * 1000000ull;
	c->task = &x->task;
	return CARD_RPC_LATER;
}

static int delete_kind(
	struct card *c, enum card_volume_kind kind, const json_t *params, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	struct card_volume_view v;
	int ret = card_volume_get(c, name, &v, e);

	if (ret)
		return ret;
	if (v.conf.alias)
		return card_fail(e, -EINVAL, "name: %s is a logical volume", name);
	if (v.conf.kind != kind)
		return card_fail(
			e, -EINVAL, "name: %s is a %s volume", name, kind_name(v.conf.kind));
	return delete_volume(c, name, e);
}

int card_call_bdev_crypto_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_volume_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.kind = CARD_VOL_CRYPT,
		.block_size = (uint32_t)card_arg_uint(params, "block_size", 0),
		.base = card_arg_str(params, "base_bdev_name", ""),
		.key = card_arg_str(params, "key_name", ""),
		.uuid = card_arg_str(params, "uuid", NULL),
	};

	return create(c, &conf, result, e);
}

int card_call_bdev_crypto_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return delete_kind(c, CARD_VOL_CRYPT, params, e);
}

static int join_names(const json_t *list, char *out, size_t size)
{
	size_t i, at = 0;
	const json_t *name;

	json_array_foreach (list, i, name) {
		const char *text = json_string_value(name);

		if (!card_name_ok(text))
			return -EINVAL;
		at += (size_t)snprintf(out + at, size - at, "%s%s", at ? "," : "", text);
		if (at >= size)
			return -EINVAL;
	}
	return 0;
}

int card_call_bdev_raid_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *level = card_arg_str(params, "raid_level", "raid0");
	char names[VOL_STRIPE_MAX * (CARD_NAME_SIZE + 1)] = "";
	struct card_volume_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.kind = CARD_VOL_STRIPE,
		.strip_kib = (uint32_t)card_arg_uint(params, "strip_size_kb", 64),
		.base = names,
		.uuid = card_arg_str(params, "uuid", NULL),
	};

	if (strcmp(level, "raid0") != 0 && strcmp(level, "0") != 0)
		return card_fail(e, -EINVAL, "raid_level: must be raid0");
	if (card_arg_bool(params, "superblock", false))
		return card_fail(e, -EINVAL, "superblock: there is none");
	if (join_names(json_object_get(params, "base_bdevs"), names, sizeof(names)))
		return card_fail(e, -EINVAL, "base_bdevs: names of volumes");
	return create(c, &conf, result, e);
}

int card_call_bdev_raid_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return delete_kind(c, CARD_VOL_STRIPE, params, e);
}

/* ---- delete, resize ---- */

int card_call_bdev_null_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return delete_kind(c, CARD_VOL_NULL, params, e);
}

int card_call_bdev_malloc_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return delete_kind(c, CARD_VOL_RAM, params, e);
}

int card_call_bdev_uring_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return delete_kind(c, CARD_VOL_FILE, params, e);
}

int card_call_bdev_aio_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return card_call_bdev_uring_delete(c, params, result, e);
}

int card_call_volume_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	struct card_volume_view v;
	int ret = card_volume_get(c, name, &v, e);

	(void)result;
	if (ret)
		return ret;
	if (v.conf.kind == CARD_VOL_NVME)
		return card_fail(e, -EINVAL, "%s: goes with its controller", name);
	if (v.conf.alias)
		return card_lvol_delete_begin(c, name, e);
	return delete_volume(c, name, e);
}

int card_call_volume_resize(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	uint64_t num_blocks = card_arg_uint(params, "num_blocks", 0);
	struct card_volume_view v;
	int ret = card_volume_get(c, name, &v, e);

	(void)result;
	if (ret)
		return ret;
	if (v.conf.alias)
		return card_lvol_resize_begin(c, name, num_blocks * v.info.block_size, e);
	return card_volume_resize(c, name, num_blocks, e);
}

int card_call_volume_set_wear(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const struct vol_wear w = {
		.pre_eol = (uint16_t)card_arg_uint(params, "pre_eol_info", 0),
		.life_a = (uint16_t)card_arg_uint(params, "life_time_a", 0),
		.life_b = (uint16_t)card_arg_uint(params, "life_time_b", 0),
	};

	(void)result;
	return card_volume_wear_set(c, card_arg_str(params, "name", ""), &w, e);
}

int card_call_volume_unshare(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_volume_unshare(c, card_arg_str(params, "name", ""), e);
}

/* Kept as what it means: a volume_resize in blocks. */
int card_call_bdev_null_resize(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "name", "");
	struct card_volume_view v;
	int ret = card_volume_get(c, name, &v, e);
	json_t *resize;

	if (ret)
		return ret;
	if (v.conf.kind != CARD_VOL_NULL)
		return card_fail(
			e, -EINVAL, "name: %s is a %s volume", name, kind_name(v.conf.kind));
	resize = json_pack("{s:s, s:I}", "name", name, "num_blocks",
		(json_int_t)((card_arg_uint(params, "new_size", 0) << 20) / v.conf.block_size));
	if (!resize)
		return -ENOMEM;
	ret = card_rpc_dispatch(c, "volume_resize", resize, result, e);
	json_decref(resize);
	return ret;
}

bool card_volume_keeps_itself(
	const struct card *c, const struct card_method *m, const json_t *params)
{
	struct card_volume_view v;
	struct card_error none;

	return m == card_method_at(CARD_M_volume_resize) &&
	       !card_volume_get(c, card_arg_str(params, "name", ""), &v, &none) &&
	       v.conf.kind == CARD_VOL_FILE && !v.block_dev;
}

bool card_volume_queues(const struct card *c, const struct card_method *m, const json_t *params)
{
	bool resizes = m == card_method_at(CARD_M_volume_resize);
	struct card_volume_view v;
	struct card_error none;

	if (!resizes && m != card_method_at(CARD_M_volume_delete))
		return false;
	if (card_volume_get(c, card_arg_str(params, "name", ""), &v, &none))
		return false;
	return v.conf.alias ||
	       (!resizes && (v.work.kind != VOL_WORK_NONE || v.conf.kind == CARD_VOL_INTEGRITY));
}

/* ---- lists ---- */

static json_t *io_types(const struct vol_info *i)
{
	return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b}", "read", true, "write", !i->read_only,
		"unmap", i->can_discard && !i->read_only, "write_zeroes",
		i->can_zero && !i->read_only, "flush", true, "reset", false);
}

static json_t *wear(const struct vol_wear *w)
{
	if (!w->pre_eol && !w->life_a && !w->life_b)
		return json_null();
	return json_pack("{s:i, s:i, s:i}", "pre_eol_info", (int)w->pre_eol, "life_time_a",
		(int)w->life_a, "life_time_b", (int)w->life_b);
}

static json_t *driver_specific(const struct card_volume_view *v)
{
	bool alone = false;

	if (v->conf.kind == CARD_VOL_CRYPT)
		return json_pack("{s:{s:s, s:s}}", "crypto", "base_bdev_name", v->conf.base,
			"key_name", v->conf.key);
	if (v->conf.kind == CARD_VOL_STRIPE)
		return json_pack("{s:{s:s, s:I, s:s}}", "raid", "raid_level", "raid0",
			"strip_size_kb", (json_int_t)v->conf.strip_kib, "base_bdevs", v->conf.base);
	if (v->conf.kind == CARD_VOL_INTEGRITY)
		return json_pack("{s:{s:s}}", "integrity", "base_bdev_name", v->conf.base);
	if (v->conf.kind == CARD_VOL_NVME)
		return json_pack("{s:{s:s, s:I}}", "nvme", "subnqn", v->conf.subnqn, "nsid",
			(json_int_t)v->conf.nsid);
	if (v->conf.kind != CARD_VOL_FILE)
		return json_object();
	(void)vol_file_sharing(v->vol, &alone);
	return json_pack("{s:{s:s, s:b, s:b, s:b}}", "uring", "filename", v->conf.path, "direct",
		(int)v->conf.direct, "shared", (int)v->conf.shared, "locked", (int)alone);
}

static json_t *rate_limits(const struct card_volume_view *v)
{
	json_t *out = json_object();

	if (out && limits_into(out, v->limits)) {
		json_decref(out);
		return NULL;
	}
	return out;
}

static json_t *aliases(const struct card_volume_view *v)
{
	return v->conf.alias ? json_pack("[s]", v->conf.alias) : json_array();
}

/* What it does by itself, or that it cannot do anything. */
static json_t *work(const struct vol_work *w)
{
	static const char *const names[] = {
		[VOL_WORK_NONE] = "ready",
		[VOL_WORK_CHECK] = "checking",
		[VOL_WORK_FORMAT] = "formatting",
		[VOL_WORK_REKEY] = "re-keying",
	};
	unsigned percent = w->total ? (unsigned)(w->done * 100.0 / (double)w->total) : 0;

	if (w->kind == VOL_WORK_NONE)
		return w->err ? json_sprintf("failed: %s", card_volume_why(w->err))
			      : json_string("ready");
	return json_sprintf("%s, %u %%", names[w->kind], percent);
}

static bool list_volume(const struct card_volume_view *v, void *arg)
{
	static const char *const product[] = {
		[CARD_VOL_NULL] = "Null disk",
		[CARD_VOL_RAM] = "Malloc disk",
		[CARD_VOL_FILE] = "URING bdev",
		[CARD_VOL_CRYPT] = "crypto",
		[CARD_VOL_NVME] = "NVMe disk",
		[CARD_VOL_INTEGRITY] = "integrity",
		[CARD_VOL_STRIPE] = "Raid Volume",
	};
	struct card_list *l = arg;

	return card_list_add(
		l, json_pack("{s:s, s:o, s:s, s:s, s:s, s:b, s:o, s:I, s:I, "
			     "s:I, s:b, s:i, s:b, s:b, s:o, s:o, s:o, s:o}",
			   "name", v->conf.name, "aliases", aliases(v), "product_name",
			   product[v->conf.kind], "kind", kind_name(v->conf.kind), "uuid", v->uuid,
			   "zoned", 0, "assigned_rate_limits", rate_limits(v), "block_size",
			   (json_int_t)v->info.block_size, "num_blocks",
			   (json_int_t)(v->info.size / v->info.block_size), "size_mib",
			   (json_int_t)(v->info.size >> 20), "claimed", (int)(v->users > 0),
			   "users", (int)v->users, "read_only", (int)v->info.read_only, "failed",
			   (int)v->info.failed, "state", work(&v->work), "supported_io_types",
			   io_types(&v->info), "wear", wear(&v->info.wear), "driver_specific",
			   driver_specific(v)));
}

static int list_end(struct card_list *l, json_t **result, struct card_error *e)
{
	return card_list_end(l, "volume", result, e);
}

/* Of one that is in the store only: why. */
static void say_why(const struct card *c, const char *name, struct card_error *e)
{
	const json_t *f;
	size_t i;

	json_array_foreach (card_store_degraded(c), i, f) {
		const json_t *call = json_object_get(f, "call");
		const struct card_method *m = card_method_find(
			json_string_value(json_object_get(call, "method")));

		if (!m || !m->kind || strcmp(m->kind, "volume") != 0 || !m->key ||
			strcmp(card_arg_str(json_object_get(call, "params"), m->key, ""), name) !=
				0)
			continue;
		(void)card_fail(e, -ENODEV, "%s: not there%s: %s", name,
			json_is_true(json_object_get(f, "busy")) ? ", and tried again by itself"
								 : "",
			json_string_value(json_object_get(f, "reason")));
		return;
	}
}

int card_call_bdev_get_bdevs(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	static const struct card_list_volumes how = { list_volume, list_end };
	int ret = card_list_volumes(c, params, &how, result, e);

	if (ret == -ENODEV)
		say_why(c, card_arg_str(params, "name", ""), e);
	return ret;
}

/* What all of them took together, as those tell that were timed. */
static json_int_t ticks(const struct dpu_hist_sum *timed, uint64_t n)
{
	if (!timed->count)
		return 0;
	return (json_int_t)((unsigned __int128)timed->sum_ns * n / timed->count & INT64_MAX);
}

static bool list_iostat(const struct card_volume_view *v, void *arg)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };
	struct card_list *l = arg;
	const struct vol_stats *s = &v->stats;

	vol_latency(v->vol, sum);
	return card_list_add(
		l, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			     "s:I, s:I, s:I, s:I, s:I}",
			   "name", v->conf.name, "bytes_read", (json_int_t)s->read_bytes,
			   "num_read_ops", (json_int_t)s->reads, "bytes_written",
			   (json_int_t)s->write_bytes, "num_write_ops", (json_int_t)s->writes,
			   "num_unmap_ops", (json_int_t)s->discards, "num_flush_ops",
			   (json_int_t)s->flushes, "num_write_zeroes_ops", (json_int_t)s->zeroes,
			   "num_compare_and_write_ops", (json_int_t)s->compares, "num_miscompares",
			   (json_int_t)s->miscompares, "num_lost_compare_and_writes",
			   (json_int_t)s->compares_lost, "num_errors", (json_int_t)s->errors,
			   "num_delayed_ops", (json_int_t)s->delayed, "num_checksum_errors",
			   (json_int_t)s->mismatches, "read_latency_ticks",
			   ticks(&sum[DPU_LAT_READ], s->reads), "write_latency_ticks",
			   ticks(&sum[DPU_LAT_WRITE], s->writes), "max_read_latency_ticks",
			   (json_int_t)sum[DPU_LAT_READ].max_ns, "max_write_latency_ticks",
			   (json_int_t)sum[DPU_LAT_WRITE].max_ns));
}

static int iostat_end(struct card_list *l, json_t **result, struct card_error *e)
{
	json_t *bdevs = NULL;
	int ret = card_list_end(l, "volume", &bdevs, e);

	if (ret)
		return ret;
	*result = json_pack("{s:I, s:I, s:o}", "tick_rate", (json_int_t)1000000000, "ticks",
		(json_int_t)dpu_now_ns(), "bdevs", bdevs);
	return *result ? 0 : -ENOMEM;
}

int card_call_bdev_get_iostat(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	static const struct card_list_volumes how = { list_iostat, iostat_end };

	if (strcmp(card_arg_str(params, "reset_mode", "none"), "none") != 0)
		return card_fail(e, -EINVAL, "reset_mode: counters never go back");
	return card_list_volumes(c, params, &how, result, e);
}
