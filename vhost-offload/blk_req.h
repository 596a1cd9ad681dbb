/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk requests: slots, parsing, answers. Private to blk.c and blk_req.c.
 *
 * A queue's slots live in one pool, made when the queue is set up. When what is in flight has to be
 * given up, the pool is cut loose from the queue: it keeps the guest's memory mapped, swallows the
 * store's late answers, and frees itself with the last of them. Nothing else is reachable from it.
 */
#pragma once

#include <stdatomic.h>

#include "device.h"
#include "dpu_wire.h"
#include "vho_blk.h"

#define BLK_SECTOR 512U
#define BLK_HEADER_LEN 16U
#define BLK_ID_LEN 20U
#define BLK_DEPTH_DEFAULT 256U
/*
 * Bytes, because requests have no size: descriptors may name the same memory over and over. A turn
 * pops no more once it has asked the store for BLK_TURN_BYTES, and none while BLK_INFLIGHT_BYTES
 * are unanswered: that is also what stopping the queue has to wait for.
 */
#define BLK_TURN_BYTES (256ULL << 10)
#define BLK_INFLIGHT_BYTES (64ULL << 20)
/*
 * The largest transfer. Linux asks for a few MiB at most unless its administrator says otherwise,
 * Windows for seg_max pages; EDK2 knows no limit but its own, 1 GiB in one segment.
 */
#define BLK_REQUEST_BYTES (1ULL << 30)
#define BLK_SIZE_PAGE 4096U // size_max is made of these: Linux and Windows count in them
#define BLK_ZEROES_SECTORS ((64U << 20) / BLK_SECTOR) // some stores write them
/*
 * Entries of a slot's iov beyond seg_max: a header cut into single bytes, the status byte, and
 * buffers that cross from one memory region into the next, which take one more for each crossing.
 */
#define BLK_IOV_EXTRA (BLK_HEADER_LEN + 1 + 15)

/* First part of every request. Spec: 5.2.6. */
struct blk_header {
	dpu_le32 type;
	dpu_le32 ioprio;
	dpu_le64 sector;
};
static_assert(sizeof(struct blk_header) == BLK_HEADER_LEN, "VIRTIO 1.3, 5.2.6");

/* Payload of DISCARD, WRITE_ZEROES and SECURE_ERASE. */
struct blk_range {
	dpu_le64 sector;
	dpu_le32 n_sectors;
	dpu_le32 flags;
};
static_assert(sizeof(struct blk_range) == 16, "VIRTIO 1.3, 5.2.6");

/* Answer to GET_LIFETIME. */
struct blk_lifetime {
	dpu_le16 pre_eol_info, est_typ_a, est_typ_b;
};
static_assert(sizeof(struct blk_lifetime) == 6, "VIRTIO 1.3, 5.2.6");

/* Configuration space. Spec: 5.2.4. */
struct blk_config {
	dpu_le64 capacity; // sectors
	dpu_le32 size_max, seg_max;
	dpu_le16 cylinders;
	uint8_t heads, sectors;
	dpu_le32 blk_size;
	uint8_t physical_block_exp, alignment_offset;
	dpu_le16 min_io_size;
	dpu_le32 opt_io_size;
	uint8_t writeback;
	uint8_t unused0;
	dpu_le16 num_queues;
	dpu_le32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	dpu_le32 max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap;
	uint8_t unused1[3];
	dpu_le32 max_secure_erase_sectors, max_secure_erase_seg, secure_erase_sector_alignment;
};
static_assert(sizeof(struct blk_config) == 72, "VIRTIO 1.3, 5.2.4"); // no zones
static_assert(offsetof(struct blk_config, max_secure_erase_sectors) == 60, "VIRTIO 1.3, 5.2.4");
static_assert(offsetof(struct blk_config, writeback) == 32, "VIRTIO 1.3, 5.2.4");

struct blk_pool;

/* One request from pop to push. */
struct blk_req {
	struct vho_blk_io io; // first: the store hands it back
	struct blk_pool *pool; // fixed
	struct iovec *iov; // fixed: pool->iov_max entries
	struct blk_req *next_free;
	struct vho_elem elem;
	uint8_t *status; // guest memory: the last byte of the in segments
	uint64_t in_len; // bytes of the in segments, status included
	struct iovec *cut; // segment that lost its last byte to `status`, or NULL
	uint64_t bytes; // that it counts for while the store has it
};

struct blk_pool {
	struct blk_queue *bq; // borrowed; NULL once abandoned
	struct vho_mem *mem; // one reference, once abandoned
	struct blk_req *free;
	unsigned n_busy; // requests popped and not answered
	uint64_t bytes; // that those count for
	unsigned n_slots;
	uint16_t iov_max;
	struct iovec *iov; // owned: n_slots * iov_max
	struct blk_req req[];
};

/* Guest memory of a request that came alone: only ever fetched, never read from here. */
struct blk_lone {
	bool is; // the last burst was one request
	const volatile void *desc, *table, *hdr;
	volatile uint8_t *status;
};

struct blk_queue {
	/* Fixed while the queue runs. */
	struct vho_blk *blk; // borrowed
	struct vho_queue *q; // borrowed: the device's
	bool at_once; // the store may be asked by bursts
	uint32_t size_max; // of a data segment, as negotiated
	bool lifetime; // GET_LIFETIME was negotiated
	uint32_t max_erase; // sectors of one SECURE_ERASE, 0 when it was not negotiated
	/* The queue's worker. */
	struct blk_pool *pool; // owned until abandoned
	unsigned pushed; // answered since the last publish
	bool turning; // vho_blk_poll() runs, and publishes
	uint64_t turn_bytes; // asked of the store in this turn
	struct blk_lone lone;
	struct vho_blk_stats stats;
};

struct vho_blk {
	/* Fixed after creation. */
	struct vho_dev dev; // dev.owner is this
	const struct vho_blk_store_ops *ops; // borrowed
	void *store; // borrowed
	uint16_t seg_max, depth;
	uint32_t size_max; // 0: not offered
	bool read_only;
	uint8_t serial[BLK_ID_LEN]; // NUL padded
	uint32_t block_mask; // block size - 1
	struct vho_blk_limits limits; // as at creation; only the size changes later
	struct blk_queue *queues; // owned; dev.n_queues entries

	/* Control thread: see blk.c, "cache mode". */
	bool wce; // configuration space's `writeback`
	bool wce_seen; // the front-end has read it in this session
	bool wce_known; // it and we agree about it

	/* Written by the control thread, read by workers: relaxed. */
	_Atomic uint64_t sectors;
	_Atomic bool writeback; // what wce means to this driver. False: writes are stable
};

/* Slots for n requests of at most iov_max segments: 0 or -ENOMEM. Control thread. */
int blk_pool_create(struct blk_queue *bq, unsigned n, uint16_t iov_max, struct blk_pool **out);
void blk_pool_destroy(struct blk_pool *pool); // nothing in flight

/* Cut the queue's pool loose: see above. The queue's worker. */
void blk_pool_abandon(struct blk_queue *bq);

/* Start a popped request: parse it and answer or submit it. The queue's worker. */
void blk_req_start(struct blk_queue *bq, struct blk_req *r, const struct vho_chain *c, void *chan);
