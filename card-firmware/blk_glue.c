// SPDX-License-Identifier: Apache-2.0
/* Binds a virtio disk to a volume: one request of the first carries one of the second. */
#include "card.h"

#include <assert.h>
#include <errno.h>

/* One request touches at most this much, so that a huge discard cannot hold a worker for long. */
#define RANGE_MAX_SECTORS (1U << 21) // 1 GiB

struct glue_io {
	struct vol_io vio;
	struct vho_blk_io *io; // borrowed: this lives in its scratch space
};

static_assert(sizeof(struct glue_io) <= VHO_BLK_SCRATCH, "fits the scratch space of a request");
static_assert(_Alignof(struct glue_io) <= 16, "scratch space is aligned for it");
static_assert((int)VHO_BLK_READ == VOL_READ && (int)VHO_BLK_WRITE == VOL_WRITE &&
		      (int)VHO_BLK_FLUSH == VOL_FLUSH && (int)VHO_BLK_DISCARD == VOL_DISCARD &&
		      (int)VHO_BLK_WRITE_ZEROES == VOL_WRITE_ZEROES,
	"the two operations are the same list, but for SECURE_ERASE");

static void answered(struct vol_io *vio, int err)
{
	vho_blk_io_done(((struct glue_io *)vio)->io, err);
}

static void submit(void *store, void *chan, struct vho_blk_io *io)
{
	struct glue_io *g = (struct glue_io *)io->scratch;

	(void)store;
	g->io = io;
	g->vio.op = io->op == VHO_BLK_SECURE_ERASE ? VOL_WRITE_ZEROES : (enum vol_op)io->op;
	g->vio.erase = io->op == VHO_BLK_SECURE_ERASE;
	g->vio.fua = io->fua;
	g->vio.unmap = io->unmap;
	g->vio.off = io->off;
	g->vio.len = io->len;
	g->vio.iov = io->iov;
	g->vio.n_iov = io->n_iov;
	g->vio.done = answered;
	vol_submit(chan, &g->vio);
}

static bool at_once(void *store, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	(void)store;
	return vol_at_once(chan, n, off, data, writes);
}

static void kick(void *store, void *chan)
{
	(void)store;
	vol_chan_kick(chan);
}

static void limits(void *store, struct vho_blk_limits *out)
{
	struct vol_info info;

	vol_info(store, &info);
	*out = (struct vho_blk_limits){
		.size = info.size,
		.block_size = info.block_size,
		.opt_io_size = info.opt_io_size,
		.max_discard_sectors = info.can_discard ? RANGE_MAX_SECTORS : 0,
		.max_zeroes_sectors = info.can_zero ? RANGE_MAX_SECTORS : 0,
		.discard_align_sectors = info.block_size / 512,
		.max_erase_sectors = info.can_erase ? RANGE_MAX_SECTORS : 0,
		.erase_align_sectors = info.block_size / 512,
		.read_only = info.read_only,
		.flush = info.volatile_cache,
		.at_once = info.at_once,
	};
}

static bool lifetime(void *store, struct vho_blk_lifetime *out)
{
	struct vol_wear w;
	bool known = vol_wear(store, &w);

	*out = (struct vho_blk_lifetime){ w.pre_eol, w.life_a, w.life_b };
	return known;
}

static const struct vho_blk_store_ops store_ops = {
	.limits = limits,
	.submit = submit,
	.kick = kick,
	.at_once = at_once,
	.lifetime = lifetime,
};

const struct vho_blk_store_ops *card_blk_store_ops(void)
{
	return &store_ops;
}
