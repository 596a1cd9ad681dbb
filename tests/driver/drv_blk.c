// SPDX-License-Identifier: Apache-2.0
/* virtio-blk requests on driver rings. */
#include "drv_blk.h"

#include <errno.h>
#include <string.h>

#include "dpu_clock.h"

// Up to WRITE_ZEROES: older back-ends refuse to be asked for more than they have.
#define CONFIG_LEN (offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4)

static int rings_start(struct drv_blk *b, const struct drv_blk_conf *c, uint32_t size)
{
	int ret = 0;

	if (c->inflight)
		ret = drv_vu_inflight(&b->vu, (uint16_t)b->n_queues, (uint16_t)size);
	for (unsigned i = 0; !ret && i < b->n_queues; i++) {
		struct drv_ring_conf rc = { .packed = c->packed,
			.size = size,
			.features = b->vu.features,
			.region = i,
			.indirect_max = c->indirect_max ? c->indirect_max : 8 };

		ret = drv_ring_init(&b->rings[i], &b->mem, &rc);
		if (!ret)
			ret = drv_vu_ring_start(&b->vu, i, &b->rings[i]);
	}
	return ret ? ret : drv_vu_driver_ok(&b->vu);
}

int drv_blk_open(struct drv_blk *b, const struct drv_blk_conf *c)
{
	uint64_t want = DRV_BLK_FEATURES | c->more |
			(c->packed ? DRV_BIT(VIRTIO_F_RING_PACKED) : 0) |
			(c->in_order ? DRV_BIT(VIRTIO_F_IN_ORDER) : 0);
	struct drv_vu_conf vc = { .path = c->path,
		.want = want & ~c->features_off,
		.pf_off = c->pf_off,
		.config_len = CONFIG_LEN,
		.mem_slots = c->mem_slots,
		.inflight = c->inflight,
		.backend_req = c->backend_req,
		.inband = c->inband };
	int ret;

	memset(b, 0, sizeof(*b));
	b->vu.fd = b->vu.inflight_fd = b->vu.backend_fd = -1;
	for (unsigned i = 0; i < DRV_BLK_QUEUES_MAX; i++)
		b->rings[i].kick_fd = b->rings[i].call_fd = b->rings[i].err_fd = -1;
	b->n_queues = c->n_queues ? c->n_queues : 1;
	if (b->n_queues > DRV_BLK_QUEUES_MAX)
		return -EINVAL;
	ret = drv_mem_init(
		&b->mem, c->regions ? c->regions : 1, c->region_size ? c->region_size : 32 << 20);
	if (ret)
		return ret;
	ret = drv_vu_open(&b->vu, &vc, &b->mem);
	if (!ret && c->packed && !drv_blk_has(b, VIRTIO_F_RING_PACKED))
		ret = -ENOTSUP;
	if (!ret) {
		memcpy(&b->cfg, b->vu.config, CONFIG_LEN);
		b->read_only = drv_blk_has(b, VIRTIO_BLK_F_RO);
		ret = rings_start(b, c, c->ring_size ? c->ring_size : 256);
	}
	if (ret)
		drv_blk_close(b);
	return ret;
}

void drv_blk_close(struct drv_blk *b)
{
	drv_vu_close(&b->vu);
	for (unsigned i = 0; i < b->n_queues; i++)
		drv_ring_fini(&b->rings[i]);
	drv_mem_fini(&b->mem);
}

bool drv_blk_has(const struct drv_blk *b, unsigned feature)
{
	return b->vu.features & DRV_BIT(feature);
}

int drv_blk_io_init(struct drv_blk *b, struct drv_blk_io *io, uint32_t cap, unsigned region)
{
	uint8_t *line = drv_mem_alloc(&b->mem, region, 64, 64);

	*io = (struct drv_blk_io){ .cap = cap };
	if (!line)
		return -ENOMEM;
	memcpy(&io->hdr, &line, sizeof(line)); // header and status share one cache line
	io->status = line + 32;
	io->data = drv_mem_alloc(&b->mem, region, cap ? cap : 1, 4096);
	return io->data ? 0 : -ENOMEM;
}

int drv_blk_submit_segs(struct drv_blk *b, unsigned q, struct drv_blk_io *io,
	const struct drv_seg *segs, unsigned n_out, unsigned n_in)
{
	int ret;

	io->done = false;
	*io->status = DRV_BLK_STATUS_NONE;
	ret = drv_ring_add(&b->rings[q], segs, n_out, n_in, io);
	return ret < 0 ? ret : 0;
}

int drv_blk_submit(struct drv_blk *b, unsigned q, struct drv_blk_io *io, uint32_t type,
	uint64_t sector, uint32_t len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct drv_seg s[3];
	unsigned n = 0, n_out;

	*io->hdr = (struct virtio_blk_outhdr){ type, 0, sector };
	s[n++] = (struct drv_seg){ drv_mem_gpa(&b->mem, io->hdr), sizeof(*io->hdr) };
	if (len)
		s[n++] = (struct drv_seg){ drv_mem_gpa(&b->mem, io->data), len };
	n_out = in ? 1 : n;
	uint8_t *status;

	memcpy(&status, &io->status, sizeof(status));
	s[n++] = (struct drv_seg){ drv_mem_gpa(&b->mem, status), 1 };
	return drv_blk_submit_segs(b, q, io, s, n_out, n - n_out);
}

struct drv_blk_io *drv_blk_poll(struct drv_blk *b, unsigned q)
{
	struct drv_used u;

	if (!drv_ring_poll(&b->rings[q], &u))
		return NULL;
	struct drv_blk_io *io = u.cookie;

	io->done = true;
	io->used_len = u.len;
	return io;
}

int drv_blk_wait(struct drv_blk *b, unsigned q, struct drv_blk_io *io, int timeout_ms)
{
	uint64_t end = dpu_now_ns() + (uint64_t)timeout_ms * 1000000;

	while (!io->done) {
		if (drv_blk_poll(b, q))
			continue;
		if (dpu_now_ns() > end)
			return -ETIMEDOUT;
		if (!drv_vu_alive(&b->vu))
			return -EPIPE;
		if (drv_ring_intr(&b->rings[q], true))
			drv_ring_wait(&b->rings[q], 20);
		drv_ring_intr(&b->rings[q], false);
	}
	return *io->status;
}

int drv_blk_sync(struct drv_blk *b, unsigned q, struct drv_blk_io *io, uint32_t type,
	uint64_t sector, uint32_t len, int timeout_ms)
{
	int ret = drv_blk_submit(b, q, io, type, sector, len);

	if (ret)
		return ret;
	drv_ring_kick(&b->rings[q]);
	return drv_blk_wait(b, q, io, timeout_ms);
}
