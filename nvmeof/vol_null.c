// SPDX-License-Identifier: Apache-2.0
/* A volume without blocks: every request succeeds at once and moves nothing. For measuring. */
#include "vol_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"

static void null_close(struct vol *v)
{
	vol_fini(v);
	free(v);
}

static int null_resize(struct vol *v, uint64_t size)
{
	(void)v;
	(void)size;
	return 0;
}

static int null_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	(void)v;
	(void)group;
	*out = dpu_calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void null_chan_close(struct vol_chan *c)
{
	free(c);
}

static void null_submit(struct vol_chan *c, struct vol_io *io)
{
	vol_io_end(c, io, 0);
}

static void null_at_once(struct vol_chan *c, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	(void)c;
	(void)n;
	(void)off;
	(void)data;
	(void)writes;
}

static const struct vol_ops null_ops = {
	.kind = "null",
	.close = null_close,
	.resize = null_resize,
	.chan_open = null_chan_open,
	.chan_close = null_chan_close,
	.submit = null_submit,
	.at_once = null_at_once,
};

int vol_null_open(const struct vol_null_conf *conf, struct vol **out)
{
	struct vol *v = dpu_calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return -ENOMEM;
	ret = vol_init(v, &null_ops, conf->name, conf->size, conf->block_size);
	if (ret < 0) {
		free(v);
		return ret;
	}
	v->can_discard = true;
	v->can_zero = true;
	v->can_erase = true; // what is not kept cannot be found
	*out = v;
	return 0;
}
