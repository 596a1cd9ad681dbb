// SPDX-License-Identifier: Apache-2.0
/* What the attack rows share. */
#include "atk.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "dpu_clock.h"

int atk_fail(struct atk_env *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->why, sizeof(e->why), fmt, ap);
	va_end(ap);
	return -EPROTO;
}

unsigned atk_times(const struct atk_env *e, unsigned n)
{
	uint64_t k = (uint64_t)n * e->percent / 100;

	return k ? (unsigned)k : 1;
}

const char *atk_path(const struct atk_env *e, const char *function)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", e->d->dir, function);
	return path;
}

int atk_blk_open(struct atk_env *e, const char *function, struct drv_blk_conf *c, struct drv_blk *b)
{
	int ret;

	c->path = atk_path(e, function);
	ret = drv_blk_open(b, c);
	return ret ? atk_fail(e, "%s: session refused: %s", function, strerror(-ret)) : 0;
}

int atk_vu_open(struct atk_env *e, const char *function, struct drv_vu *vu, struct drv_mem *mem)
{
	struct drv_vu_conf c = {
		.path = atk_path(e, function), .want = DRV_BLK_FEATURES, .inflight = true
	};
	int ret = drv_mem_init(mem, 2, 4 << 20);

	if (ret)
		return atk_fail(e, "no memory");
	c.want |= DRV_NET_FEATURES;
	ret = drv_vu_open(vu, &c, mem);
	if (ret) {
		drv_mem_fini(mem);
		return atk_fail(e, "%s: session refused: %s", function, strerror(-ret));
	}
	return 0;
}

bool atk_rejected(struct drv_vu *vu, enum drv_req req, struct drv_msg *m, uint32_t size,
	const int *fds, unsigned n_fds)
{
	int ret = drv_vu_send(vu, req, m, size, DRV_FLAG_NEED_REPLY, fds, n_fds);

	if (!ret)
		ret = drv_vu_recv(vu, m, ATK_REPLY_MS);
	if (ret)
		return ret == -EPIPE;
	drv_msg_close_fds(m);
	return m->hdr.size < 8 || m->p.u64 != 0;
}

bool atk_ring_broken(struct drv_ring *r, int timeout_ms)
{
	struct pollfd p = { .fd = r->err_fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

int atk_answered_or_broken(struct drv_blk *b, const struct drv_blk_io *io)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;

	while (dpu_now_ns() < end) {
		if (*io->status != DRV_BLK_STATUS_NONE)
			return 1;
		if (atk_ring_broken(&b->rings[0], 1))
			return 0;
	}
	return -ETIMEDOUT;
}

static int blk_works(struct atk_env *e, const char *function)
{
	struct drv_blk_conf c = { .features_off = DRV_BIT(VIRTIO_RING_F_EVENT_IDX) };
	struct drv_blk_io io;
	struct drv_blk b;
	int ret = atk_blk_open(e, function, &c, &b);

	if (ret)
		return ret;
	ret = drv_blk_io_init(&b, &io, 4096, 0);
	if (!ret) // each of the daemon's threads that signals has a descriptor for it
		ret = drv_vu_set_fd(&b.vu, DRV_SET_VRING_CALL, 0, b.rings[0].call_fd);
	if (!ret)
		ret = drv_blk_sync(&b, 0, &io, VIRTIO_BLK_T_IN, 0, 4096, ATK_REPLY_MS);
	drv_blk_close(&b);
	return ret ? atk_fail(e, "%s: an honest read fails afterwards: %d", function, ret) : 0;
}

static int net_works(struct atk_env *e, const char *function)
{
	struct drv_net_conf c = { .path = atk_path(e, function) };
	uint8_t frame[64] = { 2, 0, 0, 0xdd, 0, 2, 2, 0, 0, 0xdd, 0, 1, 0x88, 0xb5 };
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct drv_net n;
	int ret = drv_net_open(&n, &c);

	if (ret)
		return atk_fail(e, "%s: session refused: %s", function, strerror(-ret));
	ret = drv_net_send(&n, 0, NULL, frame, sizeof(frame));
	drv_net_flush(&n, 0);
	struct drv_used u;

	while (!ret && !drv_ring_poll(&n.tx[0].ring, &u))
		if (dpu_now_ns() > end)
			ret = -ETIMEDOUT;
	drv_net_close(&n);
	return ret ? atk_fail(e, "%s: an honest frame is not taken afterwards", function) : 0;
}

int atk_touch(struct atk_daemon *d, const char *function, uint64_t bytes, const char *fill)
{
	char path[128];
	struct drv_blk_conf c = { .path = path };
	struct drv_blk_io io;
	struct drv_blk b;
	int ret;

	snprintf(path, sizeof(path), "%s/%s", d->dir, function);
	ret = drv_blk_open(&b, &c);
	if (ret)
		return ret;
	ret = drv_blk_io_init(&b, &io, 65536, 0);
	for (uint32_t at = 0; !ret && fill && at < 65536; at += ATK_CANARY_LEN)
		memcpy(io.data + at, fill, ATK_CANARY_LEN);
	for (uint64_t at = 0; !ret && at < bytes; at += 65536)
		ret = drv_blk_sync(&b, 0, &io, VIRTIO_BLK_T_OUT, at / 512, 65536, ATK_REPLY_MS);
	drv_blk_close(&b);
	return ret > 0 ? -EIO : ret;
}

int atk_function_works(struct atk_env *e, const char *function)
{
	bool net = !strcmp(function, ATK_NET) || !strcmp(function, ATK_PEER);

	return net ? net_works(e, function) : blk_works(e, function);
}
