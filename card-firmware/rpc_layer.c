// SPDX-License-Identifier: Apache-2.0
/*
 * Methods on volumes that stand on others and work by themselves. Making one waits until its header
 * was read or written; what is kept of the call names that header, so that after a restart nothing
 * has to be waited for and no other one is taken for it.
 */
#include "rpc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_id.h"
#include "rpc_schema.h"

#define NAP_MS 2

struct making {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	json_t *params; // owned
	const char *name; // of `params`
	char header[CARD_UUID_TEXT];
	bool done;
};

const char *card_volume_why(int err)
{
	switch (err) {
	case -EBADMSG:
		return "no volume with checksums is below, or its header is damaged";
	case -EEXIST:
		return "something else is below";
	case -EPROTONOSUPPORT:
		return "the header is of a later version";
	case -ESTALE:
		return "another header is below than the one of this volume";
	case -ERANGE:
		return "the volume below is smaller than when it was made";
	case -ENODATA:
		return "the journal of its change of key is not there";
	default:
		return strerror(-err);
	}
}

static int why_not(const struct vol_work *w, struct card_error *e)
{
	return card_fail(e, w->err, "base_bdev_name: %s%s", card_volume_why(w->err),
		w->err == -EBADMSG  ? ": format=yes makes one"
		: w->err == -EEXIST ? ": overwrite=yes makes one all the same"
				    : "");
}

static int making_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct making *m = (struct making *)t;
	struct vol_work w;
	int ret = card_volume_work(m->card, m->name, &w, m->header, e);

	if (ret)
		return ret;
	if (w.kind != VOL_WORK_NONE)
		return CARD_RPC_LATER;
	if (w.err)
		return why_not(&w, e);
	m->done = true;
	*result = json_string(m->name);
	return *result ? 0 : -ENOMEM;
}

static void making_destroy(struct card_task *t)
{
	struct making *m = (struct making *)t;

	if (!m->done)
		card_volume_discard(m->card, m->name);
	json_decref(m->params);
	free(m);
}

static int making_keep(struct card_task *t, json_t *params)
{
	const struct making *m = (const struct making *)t;

	return json_object_set_new(params, "header", json_string(m->header)) ? -ENOMEM : 0;
}

static int making_begin(struct card *c, const json_t *params, struct card_error *e)
{
	struct making *m = dpu_calloc(1, sizeof(*m));

	if (!m)
		return card_fail(e, -ENOMEM, "out of memory");
	m->task = (struct card_task){ making_step, making_destroy, making_keep, NAP_MS };
	m->card = c;
	m->params = json_deep_copy(params);
	if (!m->params) {
		free(m);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	m->name = card_arg_str(m->params, "name", "");
	c->task = &m->task;
	return CARD_RPC_LATER;
}

int card_call_volume_integrity_create(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_volume_conf conf = {
		.name = card_arg_str(params, "name", ""),
		.kind = CARD_VOL_INTEGRITY,
		.base = card_arg_str(params, "base_bdev_name", ""),
		.format = card_arg_bool(params, "format", false),
		.overwrite = card_arg_bool(params, "overwrite", false),
		.header = card_arg_str(params, "header", NULL),
		.uuid = card_arg_str(params, "uuid", NULL),
	};
	char header[CARD_UUID_TEXT];
	struct card_error none;
	struct vol_work w;
	bool there = !card_volume_work(c, conf.name, &w, header, &none);
	int ret;

	if (conf.overwrite && !conf.format)
		return card_fail(e, -EINVAL, "overwrite: with format only");
	if (!there && c->task)
		return card_fail(e, CARD_RPC_BUSY, "another call is being made");
	ret = card_volume_create(c, &conf, e);
	if (ret)
		return ret;
	if (!there && !conf.header)
		return making_begin(c, params, e);
	*result = json_string(conf.name);
	return *result ? 0 : -ENOMEM;
}

/* ---- another key ---- */

struct rekeying {
	struct card_task task; // first: it is this
	struct card *card; // borrowed
	json_t *kept; // owned: what the call has to say to go on after a restart
	const char *name; // of `kept`
};

static int rekeying_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct rekeying *r = (struct rekeying *)t;

	(void)result;
	return card_volume_rekey_state(r->card, r->name, e);
}

static void rekeying_destroy(struct card_task *t)
{
	struct rekeying *r = (struct rekeying *)t;

	json_decref(r->kept);
	free(r);
}

static int rekeying_keep(struct card_task *t, json_t *params)
{
	return json_object_update(params, ((struct rekeying *)t)->kept) ? -ENOMEM : 0;
}

static int new_id(char out[CARD_UUID_TEXT])
{
	uint8_t id[16];

	if (dpu_uuid_new(id))
		return -EIO;
	card_uuid_text(id, out);
	return 0;
}

/* One that nobody knows of yet: it waits for the journal, and the store has it before it moves. */
static int rekeying_begin(struct card *c, struct card_rekey_conf *conf, struct card_error *e)
{
	struct card_rekey_conf named;
	char id[CARD_UUID_TEXT];
	struct rekeying *r;
	int ret = card_volume_rekey_conf(c, conf->volume.name, &conf->volume, e);

	if (!ret)
		ret = new_id(id);
	if (ret)
		return ret;
	r = dpu_calloc(1, sizeof(*r));
	if (!r)
		return card_fail(e, -ENOMEM, "out of memory");
	r->task = (struct card_task){ rekeying_step, rekeying_destroy, rekeying_keep, NAP_MS };
	r->card = c;
	r->kept = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "name", conf->volume.name, "id", id,
		"base_bdev_name", conf->volume.base, "old_key_name", conf->volume.key, "block_size",
		(int)conf->volume.block_size, "uuid", conf->volume.uuid);
	if (!r->kept) {
		free(r);
		return card_fail(e, -ENOMEM, "out of memory");
	}
	r->name = card_arg_str(r->kept, "name", "");
	named = *conf;
	named.id = id;
	ret = card_volume_rekey(c, &named, e);
	if (ret) {
		rekeying_destroy(&r->task);
		return ret;
	}
	c->task = &r->task;
	return CARD_RPC_LATER;
}

int card_call_volume_rekey(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	struct card_rekey_conf conf = {
		.volume = { .name = card_arg_str(params, "name", ""),
			.kind = CARD_VOL_CRYPT,
			.block_size = (uint32_t)card_arg_uint(params, "block_size", 0),
			.base = card_arg_str(params, "base_bdev_name", ""),
			.key = card_arg_str(params, "old_key_name", ""),
			.uuid = card_arg_str(params, "uuid", NULL) },
		.key = card_arg_str(params, "key_name", ""),
		.journal = card_arg_str(params, "journal_bdev_name", ""),
		.id = card_arg_str(params, "id", NULL),
		.mbytes_per_sec = card_arg_uint(params, "mbytes_per_sec", 0),
	};

	(void)result;
	if (conf.id) {
		conf.resume = true;
		return card_volume_rekey(c, &conf, e);
	}
	if (c->task)
		return card_fail(e, CARD_RPC_BUSY, "another call is being made");
	return rekeying_begin(c, &conf, e);
}

int card_call_volume_crypto_set(
	struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	return card_call_bdev_crypto_create(c, params, result, e);
}
