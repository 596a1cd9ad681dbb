// SPDX-License-Identifier: Apache-2.0
/* What all layers share. */
#include "vol_layer.h"

#include <errno.h>

#include "group.h"

/* What the one below has and can, but for what is the layer's own. */
static void follow(struct vol_layer *l)
{
	struct vol_info info;

	vol_info(l->lower, &info);
	l->v.opt_io_size = info.opt_io_size;
	l->v.read_only = info.read_only;
	l->v.can_discard = l->own & VOL_OWN_DISCARD ? !info.read_only : info.can_discard;
	l->v.can_zero = l->own & VOL_OWN_ZERO ? !info.read_only : info.can_zero;
	l->v.volatile_cache = info.volatile_cache;
	if (!(l->own & VOL_OWN_SIZE))
		atomic_store_explicit(
			&l->v.size, info.size - info.size % l->v.block_size, memory_order_release);
}

/* The one below changed: so does ours, and whoever watches us hears of it. */
static void changed(void *arg)
{
	struct vol_layer *l = arg;

	follow(l);
	vol_tell(&l->v);
}

int vol_layer_init(struct vol_layer *l, const struct vol_ops *ops, const char *name,
	struct vol *lower, uint32_t block_size, unsigned own)
{
	struct vol_info info;
	int ret;

	vol_info(lower, &info);
	if (block_size < info.block_size || lower->depth == VOL_POOL_DEPTH)
		return -EINVAL;
	ret = vol_init(&l->v, ops, name, info.size - info.size % block_size, block_size);
	if (ret)
		return ret;
	l->lower = lower;
	l->own = own;
	l->v.depth = lower->depth + 1;
	l->v.can_erase = info.can_erase;
	follow(l);
	vol_watch(lower, changed, l);
	return 0;
}

void vol_layer_fini(struct vol_layer *l)
{
	vol_watch(l->lower, NULL, NULL);
	vol_fini(&l->v);
}

void vol_layer_go_on(struct vol_layer_chan *c)
{
	if (!c->running) // else it sees that
		vol_layer_run(c, c->turns, VOL_SUBMIT_BUDGET);
}

static void ready(struct vol_waiter *w)
{
	vol_layer_go_on((struct vol_layer_chan *)(void *)((char *)w -
							  offsetof(struct vol_layer_chan, waiter)));
}

void vol_layer_chan_begin(struct vol_layer_chan *c, const struct vol_turns *turns, unsigned depth,
	struct nof_group *group)
{
	c->turns = turns;
	c->pool = nof_group_pool(group);
	c->held.depth = c->waiter.depth = depth - 1;
	c->waiter.ready = ready;
}

int vol_layer_chan_init(struct vol_layer_chan *c, struct vol_layer *l,
	const struct vol_turns *turns, struct nof_group *group)
{
	vol_layer_chan_begin(c, turns, l->v.depth, group);
	return vol_chan_open(l->lower, group, &c->lower);
}

void vol_layer_chan_fini(struct vol_layer_chan *c)
{
	vol_pool_forget(c->pool, &c->waiter);
	vol_chan_close(c->lower);
}

int vol_layer_resize(struct vol *v, uint64_t size)
{
	return vol_resize(((struct vol_layer *)v)->lower, size);
}

int vol_layer_fd(const struct vol_chan *c)
{
	return vol_chan_fd(((const struct vol_layer_chan *)c)->lower);
}

unsigned vol_layer_wait_us(const struct vol_chan *c)
{
	return vol_chan_wait_us(((const struct vol_layer_chan *)c)->lower);
}

int vol_layer_wear(struct vol *v, struct vol_wear *out)
{
	return vol_wear(((struct vol_layer *)v)->lower, out) ? 0 : -ENODATA;
}
