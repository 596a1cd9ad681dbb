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
	struct card_error e;

	if (!m->done)
		(void)card_volume_delete(m->card, m->name, &e);
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
