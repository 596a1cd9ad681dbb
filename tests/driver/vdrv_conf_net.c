// SPDX-License-Identifier: Apache-2.0
/* vdrv conformance, NICs: frames from one function to its peer and back, each verified. */
#include "vdrv_conf.h"

#include <errno.h>
#include <string.h>

#include "dpu_clock.h"
#include "drv_net.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BRIEF_FRAMES 300
#define MANY_FRAMES 70000 // past the 65535 of a split ring's index
#define WINDOW 16
#define NO_FRAME_NS 10000000000ULL
#define F_NOTIFICATION_DATA 38

/* What has arrived at n: how many frames, or -EIO. */
static int take(struct drv_net *n)
{
	uint8_t frame[2048];
	uint64_t seq;
	int got, good = 0;

	while ((got = drv_net_recv(n, 0, NULL, frame, sizeof(frame)))) {
		// Others than ours may be about: a port's own announcements
		if (got < 0 || (!memcmp(frame, n->vu.config, 6) &&
				       !drv_frame_ok(frame, (uint32_t)got, &seq)))
			return -EIO;
		good++;
	}
	return good;
}

/*
 * n frames from a to b, never more under way than b has room for: none may be lost once the ports
 * are up, and until the first has arrived they go one by one.
 */
static int frames(struct drv_net *a, struct drv_net *b, unsigned n)
{
	unsigned window = b->rx[0].ring.size < WINDOW ? b->rx[0].ring.size : WINDOW;
	uint64_t end = dpu_now_ns() + NO_FRAME_NS, i = 0;
	uint8_t frame[2048];
	unsigned good = 0;

	while (good < n) {
		unsigned sent = 0, here = 0;
		int got = 0;

		for (; sent < (good ? window : 1); sent++) {
			uint32_t len = 60 + (uint32_t)(i * 97 % 1400);

			drv_frame_make(frame, b->vu.config, a->vu.config, i++, len);
			if (drv_net_send(a, 0, NULL, frame, len))
				break;
		}
		drv_net_flush(a, 0);
		for (unsigned tries = 0; here < sent && tries < 4 && got >= 0; tries += !got) {
			drv_net_wait(b, 0, 20);
			got = take(b);
			here += (unsigned)got;
		}
		if (got < 0)
			return got;
		good += here;
		if (here)
			end = dpu_now_ns() + NO_FRAME_NS;
		else if (dpu_now_ns() > end)
			return -ETIMEDOUT;
	}
	return a->bad_rx || b->bad_rx ? -EIO : 0;
}

/* rx_buf: bytes of one receive buffer, 0 as usual. */
static int pair_run(const struct conf_env *env, struct drv_net_conf *c, uint64_t need,
	uint32_t rx_buf, unsigned n)
{
	static struct drv_net a, b;
	int ret;

	c->path = env->socket;
	ret = drv_net_open(&a, c);
	if (ret)
		return ret == -ENOTSUP ? CONF_NOT_OFFERED : ret;
	if (need & ~a.vu.features) {
		drv_net_close(&a);
		return CONF_NOT_OFFERED;
	}
	c->path = env->peer;
	c->buf_len = rx_buf;
	ret = drv_net_open(&b, c);
	if (!ret) {
		ret = frames(&a, &b, n);
		if (!ret && !rx_buf)
			ret = frames(&b, &a, n);
		drv_net_close(&b);
	}
	drv_net_close(&a);
	return ret;
}

int conf_net_cell(const struct conf_env *env, const struct conf_cell *c)
{
	const uint64_t indirect = DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC),
		       event = DRV_BIT(VIRTIO_RING_F_EVENT_IDX),
		       in_order = DRV_BIT(VIRTIO_F_IN_ORDER);
	struct drv_net_conf nc = { .packed = c->packed,
		.mrg = true,
		.in_order = c->in_order,
		.ring_size = c->size,
		.features_off = (c->indirect ? 0 : indirect) | (c->event_idx ? 0 : event) };
	unsigned n = 2 * c->size + 16;

	if (n > BRIEF_FRAMES && (env->brief || c->size > 1024))
		n = BRIEF_FRAMES;
	return pair_run(env, &nc,
		(c->indirect ? indirect : 0) | (c->event_idx ? event : 0) |
			(c->in_order ? in_order : 0),
		0, n);
}

static int plain(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	struct drv_net_conf nc = { .packed = packed, .mrg = true, .more = row->more };

	return pair_run(env, &nc, row->more, 0, BRIEF_FRAMES);
}

static int whole_buffers(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	struct drv_net_conf nc = { .packed = packed };

	(void)row;
	return pair_run(env, &nc, 0, 0, BRIEF_FRAMES);
}

/* A frame goes over many receive buffers. */
static int small_buffers(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	struct drv_net_conf nc = { .packed = packed, .mrg = true };

	return pair_run(env, &nc, row->more, 128, BRIEF_FRAMES);
}

static int long_run(const struct conf_env *env, const struct conf_row *row, bool packed)
{
	struct drv_net_conf nc = { .packed = packed, .mrg = true, .ring_size = packed ? 7 : 8 };

	(void)row;
	return pair_run(env, &nc, 0, 0, env->brief ? 1000 : MANY_FRAMES);
}

const struct conf_row conf_net_rows[] = {
	{ "a frame over many receive buffers", "5.1.6.4", "5.1.6.4", false, small_buffers,
		DRV_BIT(VIRTIO_NET_F_MRG_RXBUF) },
	{ "whole receive buffers", "5.1.6.3", "5.1.6.3", false, whole_buffers, 0 },
	{ "indexes and wrap counters go round", "2.7.6", "2.8.1", false, long_run, 0 },
	{ "notification data: a driver that would send it", "2.9", "2.9", false, plain,
		DRV_BIT(F_NOTIFICATION_DATA) },
	{ "one queue reset: negotiated, traffic goes on", "2.6.1", "2.6.1", false, plain,
		DRV_BIT(VIRTIO_F_RING_RESET) },
	{ 0 },
};
