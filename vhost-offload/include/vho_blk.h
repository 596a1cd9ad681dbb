/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk: requests between a guest's queues and a store.
 * Spec: VIRTIO 1.3, section 5.2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vho_backend.h"
#include "vho_device.h"

struct vho_blk;

/* Requests that did not end well. X(name, text for the operator) */
#define VHO_BLK_ERRORS(X)                                                                     \
	X(MALFORMED, "header or status missing, or a data length that is no multiple of 512") \
	X(RANGE, "beyond the end of the volume")                                              \
	X(LIMIT, "larger than an advertised limit")                                           \
	X(READ_ONLY, "write to a read-only volume")                                           \
	X(UNSUPPORTED, "unknown request type or flag")                                        \
	X(STORE, "the volume answered with an error")

enum vho_blk_error {
#define X(name, text) VHO_BLK_ERR_##name,
	VHO_BLK_ERRORS(X)
#undef X
		VHO_BLK_ERR_COUNT
};

const char *vho_blk_error_name(enum vho_blk_error e);
const char *vho_blk_error_text(enum vho_blk_error e);

struct vho_blk_conf {
	const char *name; // copied
	const char *serial; // GET_ID, cut to 20 bytes; copied
	uint16_t n_queues; // 1..256
	uint16_t seg_max; // data segments per request, 1..1022
	/*
	 * Bytes of one data segment: whole pages of 4096, at most 1 GiB. 0: VIRTIO_BLK_F_SIZE_MAX
	 * is not offered, and only a whole request has a limit. A driver that accepts it is held
	 * to it.
	 */
	uint32_t size_max;
	/*
	 * Offer VIRTIO_BLK_F_SECURE_ERASE, where the store can. Linux takes the smaller of its
	 * limit and that of DISCARD for both, and an erasure is limited to what can be written in a
	 * while: discarding a large disk takes more requests then.
	 */
	bool secure_erase;
	uint16_t depth; // requests in flight per queue that we hold memory for
	bool read_only;
	uint64_t features_off; // bits not to offer
	const struct vho_blk_store_ops *ops; // borrowed
	void *store; // borrowed: outlives the function
};

/* Written by the queue's worker, read by any thread. */
struct vho_blk_stats {
	dpu_counter reads, read_bytes, writes, write_bytes;
	dpu_counter flushes, discards, zeroes, erases, get_ids, get_lifetimes;
	dpu_counter errors[VHO_BLK_ERR_COUNT];
};

int vho_blk_create(
	const struct vho_blk_conf *conf, const struct vho_host *host, struct vho_blk **out);
void vho_blk_destroy(struct vho_blk *blk);
struct vho_dev *vho_blk_dev(struct vho_blk *blk);

/*
 * One turn of one queue: pop at most `budget` requests, and none after those that together move
 * 256 KiB, submit them, push what has been answered, publish and notify once. `chan` goes to the
 * store's submit. Returns requests popped plus answered. The queue's worker. Late answers are
 * pushed as they come and shown to the driver by the next call: after collecting any from the
 * channel, poll its queues once more before sleeping.
 *
 * A transfer of more than 1 GiB is refused (LIMIT). While 64 MiB are unanswered, only what the
 * store answers at once is popped.
 */
unsigned vho_blk_poll(struct vho_blk *blk, unsigned queue, void *chan, unsigned budget);

/* Requests popped and not yet pushed. The queue's worker. */
unsigned vho_blk_inflight(const struct vho_blk *blk, unsigned queue);

/*
 * Give up on what is in flight: their answers will be ignored, they stay marked in the inflight
 * region, and the guest's memory stays mapped until the store has answered. The queue's worker.
 */
void vho_blk_abandon(struct vho_blk *blk, unsigned queue);

const struct vho_blk_stats *vho_blk_stats(const struct vho_blk *blk, unsigned queue);

/* The store's size changed: configuration space follows; tell the front-end after that. */
void vho_blk_resized(struct vho_blk *blk);
