/* SPDX-License-Identifier: Apache-2.0 */
/* What virtio-blk wants from whatever stores its blocks: the consumer's side of the volume seam. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum vho_blk_op {
	VHO_BLK_READ,
	VHO_BLK_WRITE,
	VHO_BLK_FLUSH,
	VHO_BLK_DISCARD,
	VHO_BLK_WRITE_ZEROES,
	VHO_BLK_SECURE_ERASE,
};

#define VHO_BLK_SCRATCH 192

/*
 * One request on its way to the store. The device owns it; the store fills nothing but its scratch
 * space and answers once through vho_blk_io_done(), on the worker that submitted, possibly before
 * submit returns.
 */
struct vho_blk_io {
	enum vho_blk_op op;
	bool unmap; // WRITE_ZEROES may deallocate
	bool fua; // must be stable when answered (write-through mode; every SECURE_ERASE)
	uint64_t off; // bytes from the start of the volume
	uint64_t len; // bytes; for READ and WRITE the sum of iov
	struct iovec *iov; // guest memory; stays mapped until answered
	unsigned n_iov;
	_Alignas(16) unsigned char scratch[VHO_BLK_SCRATCH]; // the store's
};

/* err: 0, or -EIO, -ENOSPC, -EINVAL, -ENOTSUP, -EROFS. Worker that submitted. */
void vho_blk_io_done(struct vho_blk_io *io, int err);

struct vho_blk_limits {
	uint64_t size; // bytes; a multiple of 512
	uint32_t block_size; // logical block, bytes: 512 or 4096
	uint32_t opt_io_size; // bytes, 0: none
	uint32_t max_discard_sectors, max_zeroes_sectors; // 512-byte sectors; 0: not supported
	uint32_t discard_align_sectors;
	/*
	 * SECURE_ERASE: of the ranges' old content nothing may be left where the store can reach;
	 * deallocating them is not enough.
	 */
	uint32_t max_erase_sectors, erase_align_sectors;
	bool read_only;
	bool flush; // volatile cache below: FLUSH means something
	bool at_once; // the store has at_once(), and mostly takes what it is asked
};

/* Wear of the cells below, as VIRTIO 1.3, 5.2.6 counts it. 0: not known. */
struct vho_blk_lifetime {
	uint16_t pre_eol_info; // spare blocks: 1 normal, 2 80 % used, 3 90 % used
	uint16_t est_typ_a, est_typ_b; // SLC, MLC cells: n is up to 10 * n % used, 11 beyond
};

struct vho_blk_store_ops {
	/* Any thread: what the store can do now (size changes on resize). */
	void (*limits)(void *store, struct vho_blk_limits *out);
	/*
	 * Worker: hand a request over; `chan` is the caller's of vho_blk_poll(). The worker has
	 * others to serve: of a long request (up to 1 GiB) the store does a slice here, and goes on
	 * as its channel is polled.
	 */
	void (*submit)(void *store, void *chan, struct vho_blk_io *io);
	/*
	 * Worker: push batched submissions to the kernel. Called at the end of a turn that popped
	 * something; answers that take longer are collected by whoever owns `chan`.
	 */
	void (*kick)(void *store, void *chan);
	/*
	 * Worker: n <= 64 transfers, in order and done when this returns. off[i] and data[i] are
	 * one segment each, of at most 128 KiB; bit i of `writes` is set for a write. False:
	 * nothing was done, and the requests come by submit, whose answers tell what is wrong.
	 * NULL, or limits' at_once false: never called. For stores without a volatile cache.
	 */
	bool (*at_once)(void *store, void *chan, unsigned n, const uint64_t *off,
		const struct iovec *data, uint64_t writes);
	/*
	 * Any thread, without waiting: what is known of the wear. False: nothing. Where that is so
	 * when the function is created VIRTIO_BLK_F_LIFETIME is not offered. NULL: always so.
	 */
	bool (*lifetime)(void *store, struct vho_blk_lifetime *out);
};
