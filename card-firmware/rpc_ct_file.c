// SPDX-License-Identifier: Apache-2.0
/* Methods that write connections to a file and take them from one. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ct_file.h"
#include "dpu_alloc.h"
#include "rpc.h"
#include "rpc_schema.h"

static int absolute(const char *path, struct card_error *e)
{
	return path[0] == '/' ? 0 : card_fail(e, -EINVAL, "path: must be absolute");
}

int card_call_ct_export(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *path = card_arg_str(params, "path", "");
	struct odp_ct *ct = odp_conntrack(c->dp);
	struct card_ct_writer *w;
	int ret = absolute(path, e);

	if (ret)
		return ret;
	if (!ct)
		return card_fail(e, -ENOENT, "no connections are tracked yet");
	w = dpu_calloc(1, sizeof(*w));
	if (!w)
		return card_fail(e, -ENOMEM, "out of memory");
	w->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w->fd < 0) {
		ret = card_fail(e, -errno, "path: %s", strerror(errno));
		goto out;
	}
	ret = card_ct_write_all(w, ct, false);
	if (close(w->fd) && !ret)
		ret = -errno;
	if (ret) {
		unlink(path);
		ret = card_fail(e, ret, "path: %s", strerror(-ret));
		goto out;
	}
	*result = json_pack("{s:I, s:I}", "connections", (json_int_t)w->connections, "bytes",
		(json_int_t)w->bytes);
	ret = *result ? 0 : -ENOMEM;
out:
	free(w);
	return ret;
}

int card_call_ct_import(struct card *c, const json_t *params, json_t **result, struct card_error *e)
{
	const char *path = card_arg_str(params, "path", "");
	struct card_ct_taken taken;
	struct card_error why;
	int ret = absolute(path, e);

	if (ret)
		return ret;
	ret = card_ct_take(c, AT_FDCWD, path, &taken, &why);
	if (ret)
		return card_fail(e, ret, "path: %s", why.text);
	*result = json_pack("{s:I, s:I}", "connections", (json_int_t)taken.connections, "left_out",
		(json_int_t)taken.left_out);
	return *result ? 0 : -ENOMEM;
}
