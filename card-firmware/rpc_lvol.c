// SPDX-License-Identifier: Apache-2.0
/*
 * Methods on logical volumes, under SPDK's names and with its words of refusal: drivers of
 * Kubernetes make their volumes by them.
 */
#include "rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "device.h"
#include "dpu_id.h"
#include "hex.h"
#include "rpc_list.h"
#include "rpc_schema.h"

#define NAP_MS 2
#define MIB 20
#define CLUSTER (UINT64_C(1) << MIB)

int card_call_bdev_lvol_create_lvstore(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *name = card_arg_str(params, "lvs_name", "");
	char uuid[CARD_UUID_TEXT];
	int ret = card_lvstore_create(c, name, card_arg_str(params, "path", ""), e);

	if (ret)
		return ret;
	card_lvstore_uuid(c, name, uuid);
	*result = json_string(uuid);
	return 0;
}

int card_call_bdev_lvol_delete_lvstore(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_lvstore_delete(c, card_arg_str(params, "lvs_name", ""), e);
}

static bool list_store(const struct card_lvstore_view *v, void *arg)
{
	struct card_list *l = arg;

	if (!card_list_wants(l, v->name))
		return true;
	return card_list_add(
		l, json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I}", "name", v->name, "uuid",
			   v->uuid, "base_bdev", v->path, "total_data_clusters",
			   (json_int_t)(v->size / CLUSTER), "free_clusters",
			   (json_int_t)(v->free / CLUSTER), "block_size", 512, "cluster_size",
			   (json_int_t)CLUSTER, "free_mib", (json_int_t)(v->free >> MIB)));
}

int card_call_bdev_lvol_get_lvstores(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_list l;

	card_list_begin(&l, params, "lvs_name");
	card_lvstore_foreach(c, list_store, &l);
	return card_list_end(&l, "store of volumes", result, e);
}

/* ---- volumes ---- */

/* A new name. */
static int name_it(json_t *params)
{
	char text[CARD_UUID_TEXT];
	uint8_t id[16];

	if (dpu_uuid_new(id))
		return -EIO;
	card_uuid_text(id, text);
	return json_object_set_new(params, "name", json_string(text)) ? -ENOMEM : 0;
}

/* Whole clusters. */
static uint64_t size_of(const json_t *params)
{
	uint64_t size = card_arg_uint(params, "size", 0);

	if (!size)
		size = card_arg_uint(params, "size_in_mib", 0) << MIB;
	return (size + CLUSTER - 1) / CLUSTER * CLUSTER;
}

/* As each start of the card names it: it is made at the first one only. */
static int name_same(struct card *c, json_t *params)
{
	const char *store = card_arg_str(params, "lvs_name", card_arg_str(params, "uuid", ""));
	char text[CARD_UUID_TEXT];

	card_lvol_uuid(c, store, card_arg_str(params, "lvol_name", ""), text);
	if (card_lvol_has_file(c, store, text)) {
		json_object_del(params, "size");
		json_object_del(params, "size_in_mib");
	}
	return json_object_set_new(params, "name", json_string(text)) ? -ENOMEM : 0;
}

int card_lvol_canon(struct card *c, const struct card_method *m, enum card_run run, json_t *params,
	struct card_error *e)
{
	const char *name = card_arg_str(params, "name", NULL);

	if (m == card_method_at(CARD_M_bdev_lvol_create)) {
		if (!name && !size_of(params))
			return card_fail(e, -EINVAL, "size or size_in_mib: missing");
		if (!name && run == CARD_RUN_REPLAY)
			return name_same(c, params);
		if (!name)
			return name_it(params);
		// From the store: its file is there, or it is not this volume.
		json_object_del(params, "size");
		json_object_del(params, "size_in_mib");
		return 0;
	}
	if (m != card_method_at(CARD_M_bdev_lvol_delete) || !name || !card_lvol_find(c, name))
		return 0;
	return json_object_set_new(params, "name", json_string(card_lvol_find(c, name))) ? -ENOMEM
											 : 0;
}

/* ---- what takes steps ---- */

struct errand {
	struct card_task task; // first: it is this
	struct card_lvol_work *work; // owned
	char name[CARD_NAME_MAX + 1]; // of the volume among the card's
	bool makes; // it: the answer is its name
};

static int errand_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct errand *x = (struct errand *)t;
	int ret = card_lvol_step(x->work, e);

	if (!ret && x->makes)
		*result = json_string(x->name);
	return ret;
}

static void errand_destroy(struct card_task *t)
{
	struct errand *x = (struct errand *)t;

	if (x->work)
		card_lvol_end(x->work, t->unkept);
	free(x);
}

/* The name that it was made by, and not another one; when it is gone nobody else knows it. */
static int errand_keep(struct card_task *t, json_t *params)
{
	return json_object_set_new(params, "name", json_string(((struct errand *)t)->name))
		       ? -ENOMEM
		       : 0;
}

/* Before anything is begun: it can become the card's task. NULL and *err, with e->text. */
static struct errand *errand_new(struct card *c, int *err, struct card_error *e)
{
	struct errand *x = c->task ? NULL : dpu_calloc(1, sizeof(*x));

	if (c->task)
		*err = card_fail(e, CARD_RPC_BUSY, "another call is being made");
	else if (!x)
		*err = card_fail(e, -ENOMEM, "out of memory");
	if (x)
		x->task = (struct card_task){
			.step = errand_step, .destroy = errand_destroy, .nap_ms = NAP_MS
		};
	return x;
}

/* What the beginning came to. */
static int errand_begun(struct card *c, struct errand *x, int ret)
{
	if (ret == CARD_RPC_LATER)
		c->task = &x->task;
	else
		errand_destroy(&x->task);
	return ret;
}

int card_call_bdev_lvol_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_lvol_conf conf = {
		.store = card_arg_str(params, "lvs_name", card_arg_str(params, "uuid", "")),
		.name = card_arg_str(params, "lvol_name", ""),
		.uuid = card_arg_str(params, "name", ""),
		.size = size_of(params),
		.thin = card_arg_bool(params, "thin_provision", false),
	};
	int ret = 0;
	struct errand *x = errand_new(c, &ret, e);

	if (!x)
		return ret;
	x->makes = x->task.undoes = true;
	x->task.keep = errand_keep;
	(void)snprintf(x->name, sizeof(x->name), "%s", conf.uuid);
	ret = errand_begun(c, x, card_lvol_create(c, &conf, &x->work, e));
	if (!ret)
		*result = json_string(conf.uuid);
	return ret;
}

int card_lvol_delete_begin(struct card *c, const char *name, struct card_error *e)
{
	const char *known = card_lvol_find(c, name);
	int ret = 0;
	struct errand *x = errand_new(c, &ret, e);

	if (!x)
		return ret;
	x->task.settles = true;
	x->task.keep = errand_keep;
	(void)snprintf(x->name, sizeof(x->name), "%s", known ? known : name);
	return errand_begun(c, x, card_lvol_delete(c, name, &x->work, e));
}

int card_lvol_resize_begin(struct card *c, const char *name, uint64_t size, struct card_error *e)
{
	int ret = 0;
	struct errand *x = errand_new(c, &ret, e);

	return x ? errand_begun(c, x, card_lvol_resize(c, name, size, &x->work, e)) : ret;
}

int card_call_bdev_lvol_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_lvol_delete_begin(c, card_arg_str(params, "name", ""), e);
}

int card_call_bdev_lvol_resize(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint64_t size = size_of(params);

	(void)result;
	return size ? card_lvol_resize_begin(c, card_arg_str(params, "name", ""), size, e)
		    : card_fail(e, -EINVAL, "size or size_in_mib: missing");
}
