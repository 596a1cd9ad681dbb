// SPDX-License-Identifier: Apache-2.0
/* An attacker's function and its peer's, with honest frames that follow the attack. */
#include "atk.h"

#include <string.h>

#include "dpu_clock.h"

#define BIG 66000 // header and 64 KiB

const uint8_t atk_mac[6] = { 2, 0, 0, 0xdd, 0, 1 }, atk_peer_mac[6] = { 2, 0, 0, 0xdd, 0, 2 };

void atk_pair_close(struct atk_pair *p)
{
	drv_net_close(&p->a);
	drv_net_close(&p->b);
}

/* The ports need a moment to start: single frames until one passes. */
static int link_up(struct atk_env *e, struct atk_pair *p)
{
	int ret = -ETIMEDOUT;

	for (unsigned i = 0; ret && i < ATK_REPLY_MS / 20; i++)
		ret = atk_pair_marker_in(e, p, NULL, 20);
	if (!ret)
		e->why[0] = '\0';
	return ret;
}

int atk_pair_open(struct atk_env *e, struct atk_pair *p, bool ctrl)
{
	struct drv_net_conf ca = { .path = atk_path(e, ATK_NET),
		.ctrl = ctrl,
		.mrg = true,
		.ring_size = 128,
		.buf_len = BIG,
		.more = DRV_NET_CSUM | DRV_BIT(VIRTIO_NET_F_HOST_TSO4) |
			DRV_BIT(VIRTIO_NET_F_HOST_TSO6) | (ctrl ? DRV_BIT(VIRTIO_NET_F_MQ) : 0) };
	struct drv_net_conf cb = { .mrg = true };
	int ret;

	memset(p, 0, sizeof(*p));
	ret = drv_net_open(&p->a, &ca);
	p->seq = 1000;
	ATK_CHECK(e, !ret, "session refused: %s", strerror(-ret));
	cb.path = atk_path(e, ATK_PEER);
	ret = drv_net_open(&p->b, &cb);
	if (ret) {
		drv_net_close(&p->a);
		return atk_fail(e, "peer's session refused: %s", strerror(-ret));
	}
	ret = link_up(e, p);
	if (ret)
		atk_pair_close(p);
	return ret;
}

int atk_pair_announce(struct atk_env *e, struct atk_pair *p)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	uint8_t frame[2048];
	int len = 0;

	drv_frame_make(frame, atk_mac, atk_peer_mac, 1, 60);
	ATK_CHECK(e, !drv_net_send(&p->b, 0, NULL, frame, 60), "transmit ring full");
	drv_net_flush(&p->b, 0);
	while (len == 0 && dpu_now_ns() < end) {
		drv_net_wait(&p->a, 0, 20);
		len = drv_net_recv(&p->a, 0, NULL, frame, sizeof(frame));
	}
	ATK_CHECK(e, len > 0, "nothing comes from the peer");
	return 0;
}

int atk_pair_marker_in(struct atk_env *e, struct atk_pair *p, unsigned *others, unsigned ms)
{
	uint64_t end = dpu_now_ns() + ms * 1000000ULL, got, seq = ++p->seq;
	uint8_t frame[65536];
	unsigned n = 0;

	drv_frame_make(frame, atk_peer_mac, atk_mac, seq, 128);
	while (drv_net_send(&p->a, 0, NULL, frame, 128)) { // behind whatever was sent
		drv_net_flush(&p->a, 0);
		ATK_CHECK(e, dpu_now_ns() < end, "transmit ring full");
	}
	drv_net_flush(&p->a, 0);
	while (dpu_now_ns() < end) {
		int len = drv_net_recv(&p->b, 0, NULL, frame, sizeof(frame));

		if (len == 0) {
			drv_net_wait(&p->b, 0, 20);
		} else if (len > 0 && !memcmp(frame, atk_peer_mac, 6)) {
			if (drv_frame_ok(frame, (uint32_t)len, &got) && got == seq) {
				if (others)
					*others = n;
				return 0;
			}
			n++;
			if (p->seen)
				p->seen(p, frame, (uint32_t)len);
		}
	}
	if (others)
		*others = n;
	return atk_fail(e, "an honest frame behind it does not arrive");
}

int atk_pair_marker(struct atk_env *e, struct atk_pair *p, unsigned *others)
{
	return atk_pair_marker_in(e, p, others, ATK_REPLY_MS);
}
