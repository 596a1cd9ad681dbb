// SPDX-License-Identifier: Apache-2.0
/*
 * Methods on logical volumes, under SPDK's names and with its words of refusal: drivers of
 * Kubernetes make their volumes by them.
 */
#include "rpc.h"

#include <errno.h>
#include <string.h>

#include "dpu_id.h"
#include "hex.h"
#include "rpc_list.h"
#include "rpc_schema.h"

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
	int ret = card_lvol_create(c, &conf, e);

	if (!ret)
		*result = json_string(conf.uuid);
	return ret;
}

int card_call_bdev_lvol_delete(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	(void)result;
	return card_lvol_delete(c, card_arg_str(params, "name", ""), e);
}

int card_call_bdev_lvol_resize(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	uint64_t size = size_of(params);

	(void)result;
	return size ? card_lvol_resize(c, card_arg_str(params, "name", ""), size, e)
		    : card_fail(e, -EINVAL, "size or size_in_mib: missing");
}
