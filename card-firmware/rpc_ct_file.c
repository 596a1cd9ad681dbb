// SPDX-License-Identifier: Apache-2.0
/* Methods that write connections to a file and take them from one, frame by frame. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ct_file.h"
#include "dpu_alloc.h"
#include "rpc.h"
#include "rpc_schema.h"

/* What both begin with. */
static int may_begin(const struct card *c, const char *path, struct card_error *e)
{
	if (path[0] != '/')
		return card_fail(e, -EINVAL, "path: must be absolute");
	if (c->task)
		return card_fail(e, -EBUSY,
			"another call that takes steps is running; try again when it is done");
	return 0;
}

/* ---- out ---- */

struct export
{
	struct card_task task; // first: it is this
	struct odp_ct *ct; // borrowed
	char *path; // owned
	bool whole; // the file stays
	struct card_ct_writer w; // w.fd: owned; -1: none
};

static int export_step(struct card_task *t, json_t **result, struct card_error *e)
{
	struct export *x = (struct export *)t;
	int ret = card_ct_write(&x->w, x->ct, false);

	if (ret > 0)
		return CARD_RPC_LATER;
	if (close(x->w.fd) && !ret)
		ret = -errno;
	x->w.fd = -1;
	if (ret)
		return card_fail(e, ret, "path: %s", strerror(-ret));
	x->whole = true;
	*result = json_pack("{s:I, s:I}", "connections", (json_int_t)x->w.connections, "bytes",
		(json_int_t)x->w.bytes);
	return *result ? 0 : -ENOMEM;
}

static void export_destroy(struct card_task *t)
{
	struct export *x = (struct export *)t;

	if (x->w.fd >= 0)
		close(x->w.fd);
	if (!x->whole)
		unlink(x->path);
	free(x->path);
	free(x);
}

int card_call_ct_export(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *path = card_arg_str(params, "path", "");
	struct odp_ct *ct = odp_conntrack(c->dp);
	struct export *x;
	int ret = may_begin(c, path, e);

	(void)result;
	if (ret)
		return ret;
	if (!ct)
		return card_fail(e, -ENOENT, "no connections are tracked yet");
	x = dpu_calloc(1, sizeof(*x));
	if (!x)
		return card_fail(e, -ENOMEM, "out of memory");
	x->path = strdup(path);
	x->w.fd = x->path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)
			  : -1;
	if (x->w.fd < 0) {
		ret = x->path ? card_fail(e, -errno, "path: %s", strerror(errno))
			      : card_fail(e, -ENOMEM, "out of memory");
		free(x->path);
		free(x);
		return ret;
	}
	x->task = (struct card_task){ export_step, export_destroy };
	x->ct = ct;
	x->w.stable = true;
	c->task = &x->task;
	return CARD_RPC_LATER;
}

/* ---- in ---- */

struct import {
	struct card_task task; // first: it is this
	struct card_ct_reader *r; // owned
};

static int import_step(struct card_task *t, json_t **result, struct card_error *e)
{
	const struct import *x = (const struct import *)t;
	struct card_ct_taken taken;
	struct card_error why;
	int ret = card_ct_read(x->r, &why);

	if (ret)
		return ret > 0 ? CARD_RPC_LATER : card_fail(e, ret, "path: %s", why.text);
	taken = card_ct_read_taken(x->r);
	*result = json_pack("{s:I, s:I}", "connections", (json_int_t)taken.connections, "left_out",
		(json_int_t)taken.left_out);
	return *result ? 0 : -ENOMEM;
}

static void import_destroy(struct card_task *t)
{
	struct import *x = (struct import *)t;

	card_ct_read_close(x->r);
	free(x);
}

int card_call_ct_import(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *path = card_arg_str(params, "path", "");
	struct card_error why;
	struct import *x;
	int ret = may_begin(c, path, e);

	(void)result;
	if (ret)
		return ret;
	x = dpu_calloc(1, sizeof(*x));
	if (!x)
		return card_fail(e, -ENOMEM, "out of memory");
	ret = card_ct_read_open(c, AT_FDCWD, path, &x->r, &why);
	if (ret) {
		free(x);
		return card_fail(e, ret, "path: %s", why.text);
	}
	x->task = (struct card_task){ import_step, import_destroy };
	c->task = &x->task;
	return CARD_RPC_LATER;
}
