// SPDX-License-Identifier: Apache-2.0
/* virtio-net frames and control commands on driver rings. */
#include "drv_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "drv_hist.h"

#define CTRL_BYTES 65536
#define CTRL_SIZE 64
#define FRAME_TYPE 0x88b5 // IEEE 802 local experimental

static void fds_none(struct drv_ring *r)
{
	r->kick_fd = r->call_fd = r->err_fd = -1;
}

static int queue_init(struct drv_net *n, struct drv_net_queue *q, const struct drv_net_conf *c)
{
	struct drv_ring_conf rc = { .packed = c->packed,
		.size = c->ring_size ? c->ring_size : 256,
		.features = n->vu.features };
	int ret = drv_ring_init(&q->ring, &n->mem, &rc);

	if (ret)
		return ret;
	q->bufs = dpu_calloc(rc.size, sizeof(*q->bufs));
	q->spare = dpu_calloc(rc.size, sizeof(*q->spare));
	if (!q->bufs || !q->spare)
		return -ENOMEM;
	for (uint32_t i = 0; i < rc.size; i++) {
		struct drv_net_buf *b = &q->bufs[i];

		b->p = drv_mem_alloc(&n->mem, 0, n->buf_len, 64);
		if (!b->p)
			return -ENOMEM;
		b->gpa = drv_mem_gpa(&n->mem, b->p);
		b->idx = (uint16_t)i;
		q->spare[q->n_spare++] = (uint16_t)i;
	}
	return 0;
}

static int post(struct drv_net *n, struct drv_net_queue *q, struct drv_net_buf *b)
{
	struct drv_seg s = { b->gpa, n->buf_len };
	int ret = drv_ring_add(&q->ring, &s, 0, 1, b);

	return ret < 0 ? ret : 0;
}

static int pair_start(struct drv_net *n, unsigned i, const struct drv_net_conf *c)
{
	uint32_t size, want;
	int ret = queue_init(n, &n->rx[i], c);

	if (!ret)
		ret = queue_init(n, &n->tx[i], c);
	if (ret)
		return ret;
	size = n->rx[i].ring.size;
	want = c->rx_post && c->rx_post < size ? c->rx_post : size;
	for (uint32_t k = 0; !ret && k < want; k++)
		ret = post(n, &n->rx[i], &n->rx[i].bufs[k]);
	n->rx[i].ring.unkicked = 0;
	if (!ret)
		ret = drv_vu_ring_start(&n->vu, 2 * i, &n->rx[i].ring);
	if (!ret)
		ret = drv_vu_ring_start(&n->vu, 2 * i + 1, &n->tx[i].ring);
	drv_ring_kick_always(&n->rx[i].ring);
	return ret;
}

static int ctrl_start(struct drv_net *n, const struct drv_net_conf *c)
{
	struct drv_ring_conf rc = {
		.packed = c->packed, .size = CTRL_SIZE, .features = n->vu.features
	};
	int ret = drv_ring_init(&n->ctrl, &n->mem, &rc);

	n->ctrl_buf = drv_mem_alloc(&n->mem, 0, CTRL_BYTES, 64);
	if (!ret && !n->ctrl_buf)
		ret = -ENOMEM;
	if (!ret)
		ret = drv_vu_ring_start(&n->vu, n->ctrl_idx, &n->ctrl);
	n->has_ctrl = !ret;
	return ret;
}

static int start(struct drv_net *n, const struct drv_net_conf *c)
{
	struct virtio_net_config cfg;
	int ret = 0;

	memcpy(&cfg, n->vu.config, sizeof(cfg));
	n->hdr_len = n->vu.features & DRV_BIT(VIRTIO_NET_F_HASH_REPORT) ? sizeof(n->last)
									: DRV_NET_HDR;
	n->mrg = n->vu.features & DRV_BIT(VIRTIO_NET_F_MRG_RXBUF);
	n->max_pairs = n->vu.features & DRV_BIT(VIRTIO_NET_F_MQ) ? cfg.max_virtqueue_pairs : 1;
	n->ctrl_idx = 2 * n->max_pairs;
	if (c->packed && !(n->vu.features & DRV_BIT(VIRTIO_F_RING_PACKED)))
		return -ENOTSUP;
	for (unsigned i = 0; !ret && i < n->pairs; i++)
		ret = pair_start(n, i, c);
	if (!ret && c->ctrl && (n->vu.features & DRV_BIT(VIRTIO_NET_F_CTRL_VQ)))
		ret = ctrl_start(n, c);
	if (!ret)
		ret = drv_vu_driver_ok(&n->vu);
	if (!ret && n->has_ctrl && n->pairs > 1) {
		uint16_t pairs = (uint16_t)n->pairs;

		ret = drv_net_ctrl(n, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs,
			sizeof(pairs), DRV_TIMEOUT_MS);
		ret = ret > 0 ? -EREMOTEIO : ret;
	}
	return ret;
}

int drv_net_open(struct drv_net *n, const struct drv_net_conf *c)
{
	uint64_t want = DRV_NET_FEATURES | c->more |
			(c->packed ? DRV_BIT(VIRTIO_F_RING_PACKED) : 0) |
			(c->in_order ? DRV_BIT(VIRTIO_F_IN_ORDER) : 0) |
			(c->mrg ? DRV_BIT(VIRTIO_NET_F_MRG_RXBUF) : 0) |
			(c->pairs > 1 ? DRV_BIT(VIRTIO_NET_F_MQ) : 0);
	struct drv_vu_conf vc = { .path = c->path,
		.listen = c->listen,
		.pf_off = c->pf_off,
		.config_len = sizeof(struct virtio_net_config) };
	uint32_t size = c->ring_size ? c->ring_size : 256;
	int ret;

	if (c->ctrl)
		want |= DRV_BIT(VIRTIO_NET_F_CTRL_VQ) | DRV_BIT(VIRTIO_NET_F_CTRL_RX) |
			DRV_BIT(VIRTIO_NET_F_CTRL_VLAN) | DRV_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			DRV_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	memset(n, 0, sizeof(*n));
	vc.want = want & ~c->features_off;
	n->vu.fd = n->vu.inflight_fd = n->vu.backend_fd = -1;
	n->pairs = c->pairs ? c->pairs : 1;
	n->buf_len = c->buf_len ? c->buf_len : 2048;
	for (unsigned i = 0; i < DRV_NET_PAIRS_MAX; i++) {
		fds_none(&n->rx[i].ring);
		fds_none(&n->tx[i].ring);
	}
	fds_none(&n->ctrl);
	if (n->pairs > DRV_NET_PAIRS_MAX)
		return -EINVAL;
	ret = drv_mem_init(&n->mem, 1,
		(n->pairs * 2ULL * size * (n->buf_len + 128) + (4ULL << 20)) & ~4095ULL);
	if (ret)
		return ret;
	ret = drv_vu_open(&n->vu, &vc, &n->mem);
	if (!ret)
		ret = start(n, c);
	if (ret)
		drv_net_close(n);
	return ret;
}

static void queue_fini(struct drv_net_queue *q)
{
	drv_ring_fini(&q->ring);
	free(q->bufs);
	free(q->spare);
	q->bufs = NULL;
	q->spare = NULL;
}

void drv_net_close(struct drv_net *n)
{
	drv_vu_close(&n->vu);
	for (unsigned i = 0; i < n->pairs; i++) {
		queue_fini(&n->rx[i]);
		queue_fini(&n->tx[i]);
	}
	drv_ring_fini(&n->ctrl);
	drv_mem_fini(&n->mem);
}

/* ---- frames ---- */

static void reclaim(struct drv_net_queue *q)
{
	struct drv_used u;

	while (drv_ring_poll(&q->ring, &u)) {
		const struct drv_net_buf *b = u.cookie;

		q->spare[q->n_spare++] = b->idx;
	}
}

int drv_net_send(struct drv_net *n, unsigned pair, const struct virtio_net_hdr_v1 *hdr,
	const void *frame, uint32_t len)
{
	struct drv_net_queue *q = &n->tx[pair];
	int ret;

	if (len > n->buf_len - n->hdr_len)
		return -EMSGSIZE;
	reclaim(q);
	if (!q->n_spare)
		return -ENOSPC;
	struct drv_net_buf *b = &q->bufs[q->spare[q->n_spare - 1]];
	struct drv_seg s = { b->gpa, n->hdr_len + len };

	memset(b->p, 0, n->hdr_len);
	if (hdr)
		memcpy(b->p, hdr, DRV_NET_HDR);
	memcpy(b->p + n->hdr_len, frame, len);
	ret = drv_ring_add(&q->ring, &s, 1, 0, b);
	if (ret < 0)
		return ret;
	q->n_spare--;
	return 0;
}

void drv_net_flush(struct drv_net *n, unsigned pair)
{
	drv_ring_kick(&n->tx[pair].ring);
}

int drv_net_recv(
	struct drv_net *n, unsigned pair, struct virtio_net_hdr_v1 *hdr, void *frame, uint32_t cap)
{
	struct drv_net_queue *q = &n->rx[pair];
	struct virtio_net_hdr_v1 h;
	struct drv_used u;
	uint32_t len = 0;
	unsigned left = 1;
	bool first = true, bad = false;

	while (left) {
		uint32_t skip = first ? n->hdr_len : 0;

		if (!drv_ring_poll(&q->ring, &u)) {
			if (first)
				return 0;
			n->bad_rx++; // a frame's buffers must appear together
			return -EPROTO;
		}
		struct drv_net_buf *b = u.cookie;

		if (u.len > n->buf_len || u.len < skip) {
			bad = true;
		} else if (u.len - skip <= cap - len) {
			memcpy((uint8_t *)frame + len, b->p + skip, u.len - skip);
			len += u.len - skip;
		} else {
			cap = 0;
			len = 0;
		}
		if (first) {
			memcpy(&h, b->p, sizeof(h));
			memcpy(&n->last, b->p, n->hdr_len);
			left = n->mrg ? h.num_buffers : 1;
			bad = bad || left == 0 || left > q->ring.size;
		}
		first = false;
		post(n, q, b);
		if (bad) {
			n->bad_rx++;
			return -EPROTO;
		}
		left--;
	}
	drv_ring_kick(&q->ring);
	if (hdr)
		*hdr = h;
	return cap ? (int)len : -EMSGSIZE;
}

void drv_net_wait(struct drv_net *n, unsigned pair, int timeout_ms)
{
	struct drv_ring *r = &n->rx[pair].ring;

	if (drv_ring_intr(r, true))
		drv_ring_wait(r, timeout_ms);
	drv_ring_intr(r, false);
}

int drv_net_ctrl(
	struct drv_net *n, uint8_t cls, uint8_t cmd, const void *data, uint32_t len, int timeout_ms)
{
	uint64_t gpa = drv_mem_gpa(&n->mem, n->ctrl_buf);
	struct drv_seg s[3] = { { gpa, 2 }, { gpa + 64, len }, { gpa + 32, 1 } };
	uint64_t end = dpu_now_ns() + (uint64_t)timeout_ms * 1000000;
	volatile uint8_t *ack = n->ctrl_buf + 32;
	struct drv_used u;
	int ret;

	if (!n->has_ctrl)
		return -ENOTSUP;
	if (len > CTRL_BYTES - 64)
		return -EMSGSIZE;
	n->ctrl_buf[0] = cls;
	n->ctrl_buf[1] = cmd;
	if (len)
		memcpy(n->ctrl_buf + 64, data, len);
	*ack = 0xee;
	if (!len)
		s[1] = s[2];
	ret = drv_ring_add(&n->ctrl, s, len ? 2 : 1, 1, NULL);
	if (ret < 0)
		return ret;
	drv_ring_kick(&n->ctrl);
	while (!drv_ring_poll(&n->ctrl, &u)) {
		if (dpu_now_ns() > end)
			return -ETIMEDOUT;
		if (drv_ring_intr(&n->ctrl, true))
			drv_ring_wait(&n->ctrl, 20);
		drv_ring_intr(&n->ctrl, false);
	}
	return *ack;
}

/* ---- test frames ---- */

void drv_frame_make(
	uint8_t *to, const uint8_t dst[6], const uint8_t src[6], uint64_t seq, uint32_t len)
{
	uint64_t rng = seq;

	memcpy(to, dst, 6);
	memcpy(to + 6, src, 6);
	to[12] = FRAME_TYPE >> 8;
	to[13] = FRAME_TYPE & 0xff;
	memcpy(to + 14, &seq, 8);
	memcpy(to + 22, &len, 4);
	for (uint32_t i = 26; i < len; i += 8) {
		uint64_t w = drv_rand(&rng);

		memcpy(to + i, &w, len - i < 8 ? len - i : 8);
	}
}

bool drv_frame_ok(const uint8_t *at, uint32_t len, uint64_t *seq)
{
	uint8_t want[65536];
	uint32_t told;

	if (len < 26 || len > sizeof(want) || at[12] != FRAME_TYPE >> 8 ||
		at[13] != (FRAME_TYPE & 0xff))
		return false;
	memcpy(seq, at + 14, 8);
	memcpy(&told, at + 22, 4);
	if (told > len || told < 26)
		return false;
	drv_frame_make(want, at, at + 6, *seq, told); // padding may follow
	return memcmp(at, want, told) == 0;
}
