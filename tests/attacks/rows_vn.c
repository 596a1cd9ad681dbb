// SPDX-License-Identifier: Apache-2.0
/* docs/attacks.md group VN: virtio-net headers and the control queue. */
#include "atk.h"

#include <string.h>

#include "dpu_clock.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* TCP over IPv4, enough of it for a header to ask for segmentation. */
static void tcp_frame(uint8_t *f, uint32_t len)
{
	memset(f, 0, len);
	memcpy(f, atk_peer_mac, 6);
	memcpy(f + 6, atk_mac, 6);
	f[12] = 8;
	f[14] = 0x45;
	f[16] = (uint8_t)((len - 14) >> 8);
	f[17] = (uint8_t)(len - 14);
	f[22] = 64;
	f[23] = 6;
	f[26] = f[30] = 10;
	f[46] = 0x50;
}

static int gso(struct atk_env *e, struct virtio_net_hdr_v1 h, uint32_t len, bool must_drop)
{
	static uint8_t frame[65536];
	struct atk_pair p;
	unsigned others = 0;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_marker(e, &p, NULL); // both ports are up, the switch knows both
	tcp_frame(frame, len);
	for (unsigned i = 0; !ret && i < 4; i++)
		if (drv_net_send(&p.a, 0, &h, frame, len))
			ret = atk_fail(e, "transmit ring full");
	drv_net_flush(&p.a, 0);
	if (!ret)
		ret = atk_pair_marker(e, &p, &others);
	atk_pair_close(&p);
	if (ret)
		return ret;
	ATK_CHECK(e, !must_drop || others == 0, "%u frames passed", others);
	return 0;
}

static int vn03(struct atk_env *e)
{
	return gso(e,
		(struct virtio_net_hdr_v1){ .flags = 1,
			.gso_type = 1,
			.hdr_len = 54,
			.csum_start = 34,
			.csum_offset = 16 },
		2000, true);
}

/* A frame that would become a million packets becomes none; the marker follows after them. */
static int vn04(struct atk_env *e)
{
	static uint8_t frame[65536];
	const struct virtio_net_hdr_v1 h = { .flags = 1,
		.gso_type = 1,
		.hdr_len = 54,
		.gso_size = 1,
		.csum_start = 34,
		.csum_offset = 16 };
	unsigned emitted = 0;
	struct atk_pair p;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_marker(e, &p, NULL);
	tcp_frame(frame, 65000);
	for (unsigned i = 0; !ret && i < 16; i++) {
		if (drv_net_send(&p.a, 0, &h, frame, 65000))
			ret = atk_fail(e, "transmit ring full");
		drv_net_flush(&p.a, 0);
	}
	if (!ret)
		ret = atk_pair_marker(e, &p, &emitted);
	atk_pair_close(&p);
	ATK_CHECK(e, ret || emitted == 0, "%u segments", emitted);
	return ret;
}

/* The most that is cut: 64 KiB into segments of 88 bytes, 744 packets from one. */
static int vn04_bound(struct atk_env *e)
{
	static uint8_t frame[65536];
	const struct virtio_net_hdr_v1 h = { .flags = 1,
		.gso_type = 1,
		.hdr_len = 54,
		.gso_size = 88,
		.csum_start = 34,
		.csum_offset = 16 };
	const uint32_t len = 54 + 744 * 88;
	unsigned emitted = 0, sum = 0;
	struct atk_pair p;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_announce(e, &p);
	if (!ret)
		ret = atk_pair_marker(e, &p, NULL);
	tcp_frame(frame, len);
	for (unsigned i = 0; !ret && i < 8; i++) {
		if (drv_net_send(&p.a, 0, &h, frame, len))
			ret = atk_fail(e, "transmit ring full");
		drv_net_flush(&p.a, 0);
		// The peer's ring is shorter than such a burst and may lose the marker
		for (unsigned k = 0; k < 50 && !ret; k++) {
			int late = atk_pair_marker_in(e, &p, &emitted, 100);

			sum += emitted;
			if (!late)
				break;
		}
	}
	atk_pair_close(&p);
	if (ret)
		return ret;
	e->why[0] = '\0';
	ATK_CHECK(e, sum > 0 && sum <= 8 * 744, "%u segments of 8 frames", sum);
	return 0;
}

static int vn07(struct atk_env *e)
{
	static const unsigned pieces[] = { 12, 3, 2 };

	for (size_t k = 0; k < COUNT(pieces); k++) {
		struct drv_seg s[16];
		uint8_t frame[256];
		struct atk_pair p;
		unsigned n = 0, others = 0;
		int ret = atk_pair_open(e, &p, false);

		if (ret)
			return ret;
		struct drv_net_queue *q = &p.a.tx[0];
		struct drv_net_buf *b = &q->bufs[q->spare[q->n_spare - 1]];
		uint32_t at = 0;

		ret = atk_pair_marker(e, &p, NULL);
		memset(b->p, 0, 12);
		drv_frame_make(frame, atk_peer_mac, atk_mac, 5, 200);
		memcpy(b->p + 12, frame, 200);
		for (; n < pieces[k]; n++, at += 12 / pieces[k])
			s[n] = (struct drv_seg){ b->gpa + at, 12 / pieces[k] };
		s[n++] = (struct drv_seg){ b->gpa + 12, 100 };
		s[n++] = (struct drv_seg){ b->gpa + 112, 100 };
		q->n_spare--;
		if (!ret && drv_ring_add(&q->ring, s, n, 0, b) < 0)
			ret = atk_fail(e, "ring full");
		if (!ret)
			ret = atk_pair_marker(e, &p, &others);
		atk_pair_close(&p);
		if (ret)
			return ret;
		ATK_CHECK(e, others == 1, "header in %u pieces: frame lost", pieces[k]);
	}
	return 0;
}

static int vn08(struct atk_env *e)
{
	static const uint32_t len[] = { 1, 11, 12, 13, 14, 20, 25 };
	struct atk_pair p;
	unsigned others = 0;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_marker(e, &p, NULL);
	for (size_t i = 0; !ret && i < COUNT(len); i++) {
		struct drv_net_queue *q = &p.a.tx[0];
		struct drv_net_buf *b = &q->bufs[q->spare[--q->n_spare]];
		struct drv_seg s = { b->gpa, len[i] };

		memset(b->p, 0, 64);
		memcpy(b->p + 12, atk_peer_mac, 6);
		drv_ring_add(&q->ring, &s, 1, 0, b);
	}
	if (!ret)
		ret = atk_pair_marker(e, &p, &others);
	atk_pair_close(&p);
	if (ret)
		return ret;
	ATK_CHECK(e, others == 0, "%u runts passed", others);
	return 0;
}

static int vn10(struct atk_env *e)
{
	const struct virtio_net_hdr_v1 h = { .flags = 0xf8 };
	uint8_t frame[128];
	struct atk_pair p;
	unsigned others = 0;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_marker(e, &p, NULL);
	drv_frame_make(frame, atk_peer_mac, atk_mac, 6, sizeof(frame));
	if (!ret && drv_net_send(&p.a, 0, &h, frame, sizeof(frame)))
		ret = atk_fail(e, "ring full");
	if (!ret)
		ret = atk_pair_marker(e, &p, &others);
	atk_pair_close(&p);
	if (ret)
		return ret;
	ATK_CHECK(e, others == 1, "unknown flag bits: frame lost");
	return 0;
}

static int vn11(struct atk_env *e)
{
	const struct virtio_net_hdr_v1 both = { .flags = 1,
		.gso_type = 0x61,
		.hdr_len = 54,
		.gso_size = 1000,
		.csum_start = 34,
		.csum_offset = 16 };
	const struct virtio_net_hdr_v1 bare = { .gso_type = 0x21, .hdr_len = 54, .gso_size = 1000 };
	int ret = gso(e, both, 3000, true);

	return ret ? ret : gso(e, bare, 3000, true);
}

/* A flag that only a device may set asks for nothing: the frame passes as it is. */
static int vn11_data_valid(struct atk_env *e)
{
	const struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	unsigned others = 0;
	uint8_t frame[128];
	struct atk_pair p;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_marker(e, &p, NULL);
	drv_frame_make(frame, atk_peer_mac, atk_mac, 1, sizeof(frame));
	if (!ret && drv_net_send(&p.a, 0, &h, frame, sizeof(frame)))
		ret = atk_fail(e, "transmit ring full");
	if (!ret)
		ret = atk_pair_marker(e, &p, &others);
	atk_pair_close(&p);
	ATK_CHECK(e, ret || others == 1, "%u frames passed", others);
	return ret;
}

static int ctrl_err(struct atk_env *e, struct atk_pair *p, uint8_t cls, uint8_t cmd,
	const void *data, uint32_t len)
{
	int ack = drv_net_ctrl(&p->a, cls, cmd, data, len, ATK_REPLY_MS);

	ATK_CHECK(
		e, ack == VIRTIO_NET_ERR, "class %u command %u, %u bytes: %d", cls, cmd, len, ack);
	return 0;
}

/* Run fn with a control queue; honest frames pass before and after. */
static int with_ctrl(struct atk_env *e, int (*fn)(struct atk_env *e, struct atk_pair *p))
{
	struct atk_pair p;
	int ret = atk_pair_open(e, &p, true);

	if (ret)
		return ret;
	ret = p.a.has_ctrl ? atk_pair_marker(e, &p, NULL) : atk_fail(e, "no control queue");
	if (!ret)
		ret = fn(e, &p);
	if (!ret)
		ret = atk_pair_marker(e, &p, NULL);
	atk_pair_close(&p);
	return ret;
}

static int unknown_commands(struct atk_env *e, struct atk_pair *p)
{
	int ret = ctrl_err(e, p, 0xff, 0xff, "x", 1);

	if (!ret)
		ret = ctrl_err(e, p, 0xff, 0, NULL, 0);
	return ret ? ret : ctrl_err(e, p, VIRTIO_NET_CTRL_RX, 0xff, "x", 1);
}

static int mac_tables(struct atk_env *e, struct atk_pair *p)
{
	uint8_t t[32] = { 0xff, 0xff, 0xff, 0xff };
	int ret = 0;

	for (unsigned i = 0; !ret && i < atk_times(e, 10000); i++)
		ret = ctrl_err(e, p, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, 32);
	memcpy(t, (uint8_t[]){ 0xab, 0xaa, 0xaa, 0x2a }, 4); // times 6 wraps to 2
	for (uint32_t len = 0; !ret && len < 8; len++)
		ret = ctrl_err(e, p, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, t, len);
	return ret;
}

static int pair_counts(struct atk_env *e, struct atk_pair *p)
{
	const uint16_t n[] = { 0, (uint16_t)(p->a.max_pairs + 1), 0x8001, 0xffff };
	int ret = 0;

	for (size_t i = 0; !ret && i < COUNT(n); i++)
		ret = ctrl_err(e, p, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n[i], 2);
	return ret;
}

static int offloads(struct atk_env *e, struct atk_pair *p)
{
	const uint64_t v[] = { UINT64_MAX, DRV_BIT(VIRTIO_NET_F_GUEST_TSO4),
		DRV_BIT(VIRTIO_NET_F_GUEST_UFO), DRV_BIT(40) };
	int ret = 0;

	for (size_t i = 0; !ret && i < COUNT(v); i++)
		ret = ctrl_err(e, p, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
			VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &v[i], 8);
	return ret;
}

/* Frames that arrive for the attacker on queue pair `pair` until `honest` of them are there. */
static int count_rx(struct atk_env *e, struct drv_net *n, unsigned got[2], unsigned honest)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL, seq;
	uint8_t frame[2048];

	got[0] = got[1] = 0;
	while (got[0] + got[1] < honest) {
		bool any = false;

		for (unsigned q = 0; q < 2; q++) {
			int len = drv_net_recv(n, q, NULL, frame, sizeof(frame));

			if (len <= 0)
				continue;
			any = true;
			if (drv_frame_ok(frame, (uint32_t)len, &seq))
				got[q]++;
		}
		if (!any)
			drv_net_wait(n, 0, 5);
		if (dpu_now_ns() > end)
			return atk_fail(e, "%u + %u frames of %u", got[0], got[1], honest);
	}
	return 0;
}

/* `each` frames from each of the peer's queue pairs: they go to different pairs of the other. */
static int from_both(struct atk_env *e, struct drv_net *peer, unsigned each)
{
	uint8_t frame[128];

	for (unsigned i = 0; i < 2 * each; i++) {
		drv_frame_make(frame, atk_mac, atk_peer_mac, 7000 + i, sizeof(frame));
		ATK_CHECK(e, !drv_net_send(peer, i & 1, NULL, frame, sizeof(frame)), "ring full");
	}
	drv_net_flush(peer, 1);
	drv_net_flush(peer, 0);
	return 0;
}

/*
 * 5.1.6.5.5: what is beyond the number of pairs that the driver set gets no more packets, though
 * its ring runs on. The frames may be lost or go elsewhere; only pair 0's must arrive.
 */
static int fewer_pairs(struct atk_env *e, struct drv_net *a, struct drv_net *peer)
{
	const uint16_t one = 1;
	unsigned got[2];
	uint8_t frame[128];
	int ret;

	drv_frame_make(
		frame, atk_peer_mac, atk_mac, 1, sizeof(frame)); // tells the switch who is where
	ATK_CHECK(e, !drv_net_send(a, 0, NULL, frame, sizeof(frame)), "ring full");
	drv_net_flush(a, 0);
	drv_net_wait(peer, 0, ATK_REPLY_MS);
	ret = from_both(e, peer, 20);
	if (!ret)
		ret = count_rx(e, a, got, 40);
	if (ret)
		return ret;
	ATK_CHECK(e, got[1] > 0, "no frame came by the second pair while there were two");
	ret = drv_net_ctrl(
		a, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &one, 2, ATK_REPLY_MS);
	ATK_CHECK(e, ret == VIRTIO_NET_OK, "VQ_PAIRS_SET 1: %d", ret);
	ret = from_both(e, peer, 20);
	if (!ret)
		ret = count_rx(e, a, got, 20);
	if (ret)
		return ret;
	ATK_CHECK(e, got[1] == 0, "%u frames in a receive queue that is not in use", got[1]);
	return 0;
}

static int vn15_fewer(struct atk_env *e)
{
	struct drv_net_conf ca = { .path = atk_path(e, ATK_NET), .pairs = 2, .ctrl = true };
	struct drv_net_conf cp = { .pairs = 2, .ctrl = true };
	struct drv_net a, peer;
	int ret = drv_net_open(&a, &ca);

	ATK_CHECK(e, !ret, "session refused: %s", strerror(-ret));
	cp.path = atk_path(e, ATK_PEER);
	ret = drv_net_open(&peer, &cp);
	if (ret) {
		drv_net_close(&a);
		return atk_fail(e, "peer's session refused: %s", strerror(-ret));
	}
	ret = fewer_pairs(e, &a, &peer);
	drv_net_close(&a);
	drv_net_close(&peer);
	return ret;
}

static int vn13(struct atk_env *e)
{
	return with_ctrl(e, unknown_commands);
}

static int vn14(struct atk_env *e)
{
	return with_ctrl(e, mac_tables);
}

static int vn15(struct atk_env *e)
{
	return with_ctrl(e, pair_counts);
}

static int vn19(struct atk_env *e)
{
	return with_ctrl(e, offloads);
}

static int tail(struct atk_env *e, struct atk_pair *p)
{
	uint64_t end = dpu_now_ns() + ATK_REPLY_MS * 1000000ULL;
	struct drv_net_queue *q = &p->b.rx[0];
	struct drv_used u = { NULL, 0, 0 };
	uint8_t frame[60];

	for (uint32_t i = 0; i < q->ring.size; i++)
		memset(q->bufs[i].p, 0x5a, p->b.buf_len);
	drv_frame_make(frame, atk_peer_mac, atk_mac, 9, sizeof(frame));
	ATK_CHECK(e, !drv_net_send(&p->a, 0, NULL, frame, sizeof(frame)), "ring full");
	drv_net_flush(&p->a, 0);
	while (!drv_ring_poll(&q->ring, &u))
		ATK_CHECK(e, dpu_now_ns() < end, "no frame");
	const struct drv_net_buf *b = u.cookie;

	ATK_CHECK(e, u.len == 72, "used.len %u for a frame of 60 bytes", u.len);
	for (uint32_t i = u.len; i < p->b.buf_len; i++)
		ATK_CHECK(e, b->p[i] == 0x5a, "byte %u behind the frame was written", i);
	return 0;
}

static int vn24(struct atk_env *e)
{
	struct atk_pair p;
	int ret = atk_pair_open(e, &p, false);

	if (ret)
		return ret;
	ret = atk_pair_marker(e, &p, NULL);
	if (!ret)
		ret = tail(e, &p);
	atk_pair_close(&p);
	return ret;
}

static const struct atk_row rows[] = {
	{ "VN-03", "GSO with segment size 0", vn03 },
	{ "VN-04", "GSO with segment size 1", vn04 },
	{ "VN-04", "most segments of one frame", vn04_bound },
	{ "VN-07", "header in single bytes", vn07 },
	{ "VN-08", "runts and bare headers", vn08 },
	{ "VN-10", "unknown header flags", vn10 },
	{ "VN-11", "UDP tunnel GSO that was not negotiated", vn11 },
	{ "VN-11", "DATA_VALID from the driver", vn11_data_valid },
	{ "VN-13", "unknown control commands", vn13 },
	{ "VN-14", "MAC table with counts that wrap or lie", vn14 },
	{ "VN-15", "queue pair counts out of range", vn15 },
	{ "VN-15", "receive queue that is no longer in use", vn15_fewer },
	{ "VN-19", "offloads that were not negotiated", vn19 },
	{ "VN-24", "bytes behind a received frame", vn24 },
};
const struct atk_group atk_vn_rows = { rows, COUNT(rows) };
