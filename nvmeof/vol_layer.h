/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume on top of another one. Its channels have a channel of the lower volume each; a request
 * goes down as one or more requests out of the group's pool (vol_pool.h).
 */
#pragma once

#include "vol_fifo.h"
#include "vol_pool.h"
#include "vol_priv.h"

/* What a layer has or does by itself, whatever is below it. */
enum vol_layer_own { VOL_OWN_SIZE = 1, VOL_OWN_ZERO = 2, VOL_OWN_DISCARD = 4 };

/* First member of every layer's volume. */
struct vol_layer {
	struct vol v;
	struct vol *lower; // borrowed: outlives this one, and nobody else opens channels of it
	unsigned own; // enum vol_layer_own
};

/* First member of every layer's channel. */
struct vol_layer_chan {
	struct vol_chan c;
	struct vol_chan *lower; // owned
	struct vol_pool *pool; // borrowed: the group's
	struct vol_held held; // of the pool
	struct vol_waiter waiter; // ready() is the layer's
};

/* The segments of a read or write are as long as it is. */
static inline bool vol_iov_sums(const struct vol_io *io)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < io->n_iov; i++) {
		if (io->iov[i].iov_len > io->len - sum)
			return false;
		sum += io->iov[i].iov_len;
	}
	return sum == io->len;
}

/*
 * Fill a layer's shared part: name, the lower one's size and features, which it follows from then
 * on but for its `own`. `block_size` is the layer's: not below the lower one's; a size that is no
 * multiple of it is cut. 0, or -EINVAL (also: more than VOL_POOL_DEPTH layers on each other).
 */
int vol_layer_init(struct vol_layer *l, const struct vol_ops *ops, const char *name,
	struct vol *lower, uint32_t block_size, unsigned own);

void vol_layer_fini(struct vol_layer *l);

/* Open and close what is below a channel. 0 or -errno. */
int vol_layer_chan_init(struct vol_layer_chan *c, struct vol_layer *l, struct nof_group *group);
void vol_layer_chan_fini(struct vol_layer_chan *c);

/* For struct vol_ops, where a layer has nothing of its own to do. */
int vol_layer_resize(struct vol *v, uint64_t size);
int vol_layer_fd(const struct vol_chan *c);
unsigned vol_layer_wait_us(const struct vol_chan *c);
int vol_layer_wear(struct vol *v, struct vol_wear *out);
