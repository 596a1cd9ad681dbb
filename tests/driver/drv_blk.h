/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk driver: single requests, well-formed or not, over any number of queues.
 * One thread per drv_blk. Spec: VIRTIO 1.3, section 5.2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_blk.h>

#include "drv_vu.h"

#define DRV_BLK_QUEUES_MAX 8
#define DRV_BLK_STATUS_NONE 0xee // what the status byte holds before the device writes it

/* Everything a well-behaved driver acknowledges. */
#define DRV_BLK_FEATURES                                                               \
	(DRV_BIT(VIRTIO_F_VERSION_1) | DRV_BIT(VIRTIO_RING_F_EVENT_IDX) |              \
		DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC) | DRV_BIT(VIRTIO_BLK_F_SEG_MAX) | \
		DRV_BIT(VIRTIO_BLK_F_BLK_SIZE) | DRV_BIT(VIRTIO_BLK_F_FLUSH) |         \
		DRV_BIT(VIRTIO_BLK_F_TOPOLOGY) | DRV_BIT(VIRTIO_BLK_F_MQ) |            \
		DRV_BIT(VIRTIO_BLK_F_RO) | DRV_BIT(VIRTIO_BLK_F_CONFIG_WCE) |          \
		DRV_BIT(VIRTIO_BLK_F_DISCARD) | DRV_BIT(VIRTIO_BLK_F_WRITE_ZEROES))

struct drv_blk_conf {
	const char *path;
	bool packed; // -ENOTSUP when the back-end has no packed ring
	bool inflight, mem_slots, in_order, backend_req, inband;
	uint64_t more; // further features, as DRV_BIT(VIRTIO_F_RING_RESET)
	uint64_t features_off; // not to acknowledge
	uint64_t pf_off;
	uint32_t ring_size; // 0: 256
	unsigned n_queues; // 0: 1
	unsigned regions; // 0: 1
	size_t region_size; // 0: 32 MiB
	unsigned indirect_max; // entries of an indirect table, 0: 8
};

/* One request's guest memory. */
struct drv_blk_io {
	struct virtio_blk_outhdr *hdr;
	volatile uint8_t *status;
	uint8_t *data;
	uint32_t cap; // bytes of data
	bool done;
	uint32_t used_len;
	void *user; // the caller's
};

struct drv_blk {
	struct drv_mem mem;
	struct drv_vu vu;
	struct drv_ring rings[DRV_BLK_QUEUES_MAX];
	unsigned n_queues;
	struct virtio_blk_config cfg;
	bool read_only;
};

int drv_blk_open(struct drv_blk *b, const struct drv_blk_conf *conf);
void drv_blk_close(struct drv_blk *b);
bool drv_blk_has(const struct drv_blk *b, unsigned feature);

/* Guest memory for one request with up to `cap` data bytes. 0 or -ENOMEM. */
int drv_blk_io_init(struct drv_blk *b, struct drv_blk_io *io, uint32_t cap, unsigned region);

/*
 * Put a request with len data bytes (direction by type) on queue q; not kicked. 0 or -ENOSPC. It is
 * finished when drv_blk_poll() returns it; *io->status tells how.
 */
int drv_blk_submit(struct drv_blk *b, unsigned q, struct drv_blk_io *io, uint32_t type,
	uint64_t sector, uint32_t len);
/* A chain of any shape; `io` is what poll returns. Its status byte is set to STATUS_NONE. */
int drv_blk_submit_segs(struct drv_blk *b, unsigned q, struct drv_blk_io *io,
	const struct drv_seg *segs, unsigned n_out, unsigned n_in);
struct drv_blk_io *drv_blk_poll(struct drv_blk *b, unsigned q);

/* Submit, kick, wait. The status byte (0..255), or -ETIMEDOUT, -EPIPE, -ENOSPC. */
int drv_blk_sync(struct drv_blk *b, unsigned q, struct drv_blk_io *io, uint32_t type,
	uint64_t sector, uint32_t len, int timeout_ms);
/* Wait for one that was submitted. As above. */
int drv_blk_wait(struct drv_blk *b, unsigned q, struct drv_blk_io *io, int timeout_ms);
