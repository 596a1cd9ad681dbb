// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "net_fast.h"
#include "net_rig.h"

#define W VRING_DESC_F_WRITE
#define ROUNDS 4000

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n ? (uint32_t)(seed >> 20) % n : 0;
}

#define OFFLOADS                                                      \
	(1ULL << VIRTIO_NET_F_CSUM | 1ULL << VIRTIO_NET_F_HOST_TSO4 | \
		1ULL << VIRTIO_NET_F_GUEST_CSUM | 1ULL << VIRTIO_NET_F_GUEST_TSO4)
#define MRG (1ULL << VIRTIO_NET_F_MRG_RXBUF)
#define HASH (1ULL << VIRTIO_NET_F_CTRL_VQ | 1ULL << VIRTIO_NET_F_HASH_REPORT)

static const struct layout {
	const char *name;
	uint64_t features;
} layouts[] = {
	{ "split", VQ_SPLIT | VQ_INDIRECT | OFFLOADS },
	{ "split, mergeable", VQ_SPLIT | VQ_INDIRECT | OFFLOADS | MRG },
	{ "split, in order", VQ_SPLIT | VQ_INDIRECT | OFFLOADS | MRG | VQ_IN_ORDER },
	{ "packed", VQ_PACKED | VQ_INDIRECT | OFFLOADS },
	{ "packed, mergeable", VQ_PACKED | VQ_INDIRECT | OFFLOADS | MRG },
	{ "packed, in order", VQ_PACKED | VQ_INDIRECT | OFFLOADS | MRG | VQ_IN_ORDER },
	{ "split, hash reports", VQ_SPLIT | VQ_INDIRECT | OFFLOADS | HASH },
	{ "packed, mergeable, hash reports", VQ_PACKED | VQ_INDIRECT | OFFLOADS | MRG | HASH },
};

/* The bursts under test: each that this CPU can run. */
static const struct vho_net_fast *fast;

/* Cut `total` bytes into parts: the shapes that drivers use, and any other unless `plain`. */
static unsigned cut(struct part *p, const uint8_t *from, uint32_t total, uint32_t hdr, bool plain)
{
	unsigned n = 0;
	uint32_t at = 0, shape = draw(8);

	if (plain || shape < 3 || total <= hdr) {
		p[n++] = (struct part){ total, from };
		return n;
	}
	if (shape < 6) {
		p[n++] = (struct part){ hdr, from };
		p[n++] = (struct part){ total - hdr, from ? from + hdr : NULL };
		return n;
	}
	while (at < total && n < 5) {
		uint32_t len = n == 4 ? total - at : draw(draw(2) ? 12 : total - at + 1);

		len = len < total - at ? len : total - at;
		p[n++] = (struct part){ len, from ? from + at : NULL };
		at += len;
	}
	if (at < total)
		p[n++] = (struct part){ total - at, from ? from + at : NULL };
	return n;
}

/* With IN_ORDER the used elements differ, and the driver finds the same all the same. */
enum compare { BY_BYTE, BY_DRIVER };

static void same_rings(const struct rig *a, const struct rig *b, enum compare compare)
{
	assert_int_equal(a->q->next_avail, b->q->next_avail);
	assert_int_equal(a->q->next_used, b->q->next_used);
	assert_int_equal(a->q->avail_wrap, b->q->avail_wrap);
	assert_int_equal(a->q->used_wrap, b->q->used_wrap);
	assert_int_equal(a->q->broken, b->q->broken);
	if (compare == BY_DRIVER)
		return;
	assert_memory_equal(vq_at(&a->v, VQ_DESC), vq_at(&b->v, VQ_DESC), RIG_SIZE * 16);
	if (!a->q->packed)
		assert_memory_equal(vq_used(&a->v), vq_used(&b->v), 4 + RIG_SIZE * 8);
}

static void same_drops(const struct rig *a, const struct rig *b)
{
	for (unsigned i = 0; i < VHO_NET_DROP_COUNT; i++)
		assert_int_equal(dpu_counter_read(&vho_net_stats(a->net, 0)->drops[i]),
			dpu_counter_read(&vho_net_stats(b->net, 0)->drops[i]));
}

static void same_mbuf(struct rte_mbuf *a, struct rte_mbuf *b)
{
	uint8_t one[4096], two[4096];

	assert_int_equal(a->pkt_len, b->pkt_len);
	assert_int_equal(a->nb_segs, b->nb_segs);
	assert_int_equal(a->ol_flags, b->ol_flags);
	assert_memory_equal(rte_pktmbuf_read(a, 0, a->pkt_len, one),
		rte_pktmbuf_read(b, 0, b->pkt_len, two), a->pkt_len);
}

/* Take packets off both; returns how many. */
static unsigned take_both(struct rig *a, struct rig *b, unsigned n)
{
	struct rte_mbuf *pa[64], *pb[64];
	unsigned got = vho_net_rx(a->net, 0, pa, (uint16_t)n);

	assert_int_equal(vho_net_rx(b->net, 0, pb, (uint16_t)n), got);
	for (unsigned i = 0; i < got; i++) {
		same_mbuf(pa[i], pb[i]);
		rte_pktmbuf_free(pa[i]);
		rte_pktmbuf_free(pb[i]);
	}
	return got;
}

/* Random legal chains: the burst path and the general path must give the same. */
static void rx_differs_not(void **state)
{
	const struct layout *l = *state;
	enum compare compare = l->features & VQ_IN_ORDER ? BY_DRIVER : BY_BYTE;
	uint32_t hdr = vho_net_hdr_len(l->features);
	static uint8_t bytes[4096];
	struct rig a, b;

	seed = 88172645463325252ULL;
	rig_open(&a, 1, l->features, false);
	rig_open(&b, 1, l->features, true);
	a.net->fast = fast;
	for (unsigned round = 0; round < ROUNDS; round++) {
		bool plain = draw(2);
		unsigned n = 1 + draw(plain ? 60 : 10);
		uint32_t full = a.next_desc + RIG_SIZE - 8;

		for (unsigned i = 0; i < n && a.next_desc < full; i++) {
			uint32_t total = draw(10) ? hdr + draw(1600) : draw(3500);
			struct part p[8];
			unsigned k, direct;

			for (unsigned j = 0; j < 100; j++)
				bytes[j] = (uint8_t)draw(256);
			if (draw(4))
				memset(bytes, 0, hdr);
			if (draw(3) == 0)
				bytes[0] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
			k = cut(p, bytes, total, hdr, plain && draw(20));
			direct = draw(3) ? k : draw(k);
			rig_offer(&a, p, k, direct, 0);
			rig_offer(&b, p, k, direct, 0);
		}
		take_both(&a, &b, 1 + draw(60));
		same_rings(&a, &b, compare);
		while (a.q->next_avail != a.v.avail) // what was left by a small budget
			take_both(&a, &b, 64);
		same_rings(&a, &b, compare);
		if (compare == BY_DRIVER) {
			rig_take_in_order(&a);
			rig_take_in_order(&b);
		}
	}
	assert_false(a.q->broken);
	same_drops(&a, &b);
	assert_true(dpu_counter_read(&vho_net_stats(a.net, 0)->rx_packets) > ROUNDS);
	assert_int_equal(dpu_counter_read(&vho_net_stats(a.net, 0)->rx_bytes),
		dpu_counter_read(&vho_net_stats(b.net, 0)->rx_bytes));
	rig_close(&a);
	rig_close(&b);
}

static struct rte_mbuf *packet(uint32_t len, uint64_t what)
{
	struct rte_mbuf *head = NULL, **link = &head;

	for (uint32_t at = 0; at < len;) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(mbuf_pool);
		uint32_t part = len - at < 1500 ? len - at : 1500;
		uint8_t *p;

		assert_non_null(m);
		p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)part);
		for (uint32_t i = 0; i < part; i++)
			p[i] = (uint8_t)(what + at + i);
		*link = m;
		link = &m->next;
		if (m != head) {
			head->nb_segs++;
			head->pkt_len += part;
		}
		at += part;
	}
	return head;
}

static void tx_differs_not(void **state)
{
	const struct layout *l = *state;
	uint32_t hdr = vho_net_hdr_len(l->features);
	struct rte_mbuf *pa[40], *pb[40];
	struct rig a, b;

	seed = 1234567891011ULL;
	rig_open(&a, 0, l->features, false);
	rig_open(&b, 0, l->features, true);
	a.net->fast = fast;
	for (unsigned round = 0; round < ROUNDS; round++) {
		bool plain = draw(2);
		unsigned n = draw(plain ? 50 : 10);

		for (unsigned i = 0; i < n; i++) {
			bool shorter = l->features & MRG && draw(6) == 0;
			uint32_t room = shorter ? hdr + draw(100) : 1530 + draw(3000);
			struct part p[8];
			unsigned k, direct, waiting = (uint16_t)(a.v.avail - a.q->next_avail);

			if (l->features & 1ULL << VIRTIO_F_RING_PACKED)
				waiting = (a.v.avail + RIG_SIZE - a.q->next_avail) % RIG_SIZE;
			if (waiting > (plain ? RIG_SIZE * 2 / 3 : 20))
				break;
			k = cut(p, NULL, room, hdr, plain && draw(20));
			direct = draw(3) ? k : draw(k);
			rig_offer(&a, p, k, direct, W);
			rig_offer(&b, p, k, direct, W);
		}
		n = draw(plain ? 40 : 12);
		for (unsigned i = 0; i < n; i++) {
			uint32_t len = draw(5) ? 14 + draw(1500) : 14 + draw(4000);
			uint64_t what = draw(256);

			pa[i] = packet(len, what);
			pb[i] = packet(len, what);
		}
		assert_int_equal(vho_net_tx(a.net, 0, pa, (uint16_t)n),
			vho_net_tx(b.net, 0, pb, (uint16_t)n));
		same_rings(&a, &b, BY_BYTE);
		same_drops(&a, &b);
	}
	assert_memory_equal(a.v.base, b.v.base, 2 * VQ_REGION);
	assert_false(a.q->broken);
	assert_true(dpu_counter_read(&vho_net_stats(a.net, 0)->tx_packets) > ROUNDS);
	rig_close(&a);
	rig_close(&b);
}

static const struct length_case {
	const char *name;
	uint32_t total; // bytes of the chain, header included
	unsigned step; // bytes per descriptor, 0: one descriptor
	bool taken;
	enum vho_net_drop why;
} lengths[] = {
	{ "VN-07 header in 12 descriptors", 12 + 60, 1, true, 0 },
	{ "VN-07 three descriptors", 12 + 60, 30, true, 0 },
	{ "VN-08 chain of 0 bytes", 0, 0, false, VHO_NET_DROP_RX_RUNT },
	{ "VN-08 chain of 11 bytes", 11, 0, false, VHO_NET_DROP_RX_RUNT },
	{ "VN-08 chain of 12 bytes", 12, 0, false, VHO_NET_DROP_RX_RUNT },
	{ "VN-08 chain of 13 bytes", 13, 0, false, VHO_NET_DROP_RX_RUNT },
	{ "VN-08 chain of 25 bytes", 25, 0, false, VHO_NET_DROP_RX_RUNT },
	{ "VN-08 chain of 26 bytes", 26, 0, true, 0 },
	{ "64 KiB frame", 12 + 65535 + 22, 0, true, 0 },
	{ "frame over 64 KiB", 12 + 65535 + 23, 0, false, VHO_NET_DROP_RX_OVERSIZE },
};

static void length(void **state)
{
	const struct length_case *t = *state;
	static uint8_t bytes[70000];

	for (unsigned i = 0; i < 4; i++) {
		struct part p[80];
		struct rte_mbuf *m;
		struct rig r;
		unsigned n = 0;

		rig_open(&r, 1, (i & 1 ? VQ_PACKED : VQ_SPLIT) | VQ_INDIRECT, i & 2);
		for (uint32_t at = 0; n == 0 || at < t->total; n++) {
			uint32_t len = t->step && t->total - at > t->step ? t->step : t->total - at;

			p[n] = (struct part){ len, bytes + at };
			at += len;
		}
		rig_offer(&r, p, n, n, 0);
		assert_int_equal(vho_net_rx(r.net, 0, &m, 1), t->taken);
		if (t->taken) {
			assert_int_equal(m->pkt_len, t->total - 12);
			rte_pktmbuf_free(m);
		} else {
			assert_int_equal(
				dpu_counter_read(&vho_net_stats(r.net, 0)->drops[t->why]), 1);
		}
		assert_false(r.q->broken);
		assert_true(r.q->next_used == (r.q->packed ? n : 1));
		rig_close(&r);
	}
}

static void vn24_tail_untouched(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct part p = { 2048, NULL };
		struct rte_mbuf *m;
		struct rig r;
		uint8_t *at;

		rig_open(&r, 0, (i & 1 ? VQ_PACKED : VQ_SPLIT), i & 2);
		at = vq_at(&r.v, RIG_DATA);
		memset(at, 0xa5, 2048);
		rig_offer(&r, &p, 1, 1, W);
		m = packet(60, 1);
		assert_int_equal(vho_net_tx(r.net, 0, &m, 1), 1);
		assert_int_equal(
			r.q->packed ? vq_pdesc(&r.v)[0].len : vq_used(&r.v)->ring[0].len, 72);
		for (unsigned k = 72; k < 2048; k++)
			assert_int_equal(at[k], 0xa5);
		assert_int_equal(at[10], 1); // num_buffers
		assert_int_equal(at[12], 1);
		rig_close(&r);
	}
}

/* UDP from 66.9.149.187:2794 to 161.142.100.80:1766; with the Microsoft key its hash is known. */
static struct rte_mbuf *known_packet(bool csum)
{
	static const uint8_t tuple[] = { 66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06,
		0xe6 };
	struct rte_mbuf *m = packet(60, 0);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	p[12] = 8;
	p[13] = 0;
	p[14] = 0x45;
	p[20] = p[21] = 0;
	p[23] = 17;
	memcpy(p + 26, tuple, sizeof(tuple));
	if (csum) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4;
		m->l2_len = 14;
		m->l3_len = 20;
		m->l4_len = 8;
	}
	return m;
}

static void configure_hash(struct vho_net *net)
{
	static const uint8_t cmd[] = { 4, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0x6d, 0x5a,
		0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
		0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
		0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };
	uint8_t copy[sizeof(cmd)], ack = 0xee;
	struct iovec iov[2] = { { copy, sizeof(copy) }, { &ack, 1 } };
	struct vho_chain c = { .iov = iov, .n_out = 1, .n_in = 1, .out_len = sizeof(cmd) };

	memcpy(copy, cmd, sizeof(cmd));
	vho_net_ctrl_handle(&net->ctrl, net->dev.features, &c);
	assert_int_equal(ack, VIRTIO_NET_OK);
}

/* VIRTIO 1.3, 5.1.6.4.3 and 5.1.6: 20 bytes, the hash and its kind behind num_buffers. */
static void hash_report_header(void **state)
{
	static const uint8_t hash[] = { 0x78, 0xc1, 0xcc, 0x51, 3, 0, 0, 0 };
	static const uint8_t none[8] = { 0 };
	static const struct part shapes[][2] = { { { 2048, NULL }, { 0, NULL } },
		{ { 20, NULL }, { 2028, NULL } }, { { 15, NULL }, { 2033, NULL } } };

	(void)state;
	for (unsigned i = 0; i < 8 * ARRAY_LEN(shapes); i++) {
		const struct part *p = shapes[i / 8];
		struct rte_mbuf *m[3];
		uint8_t *at, *frame;
		struct rig r;

		rig_open(&r, 0, (i & 1 ? VQ_PACKED : VQ_SPLIT) | OFFLOADS | HASH, i & 2);
		memset(vq_at(&r.v, RIG_DATA), 0xa5, 3 * 2048);
		for (unsigned k = 0; k < 3; k++)
			rig_offer(&r, p, p[1].len ? 2 : 1, 2, W);
		m[0] = known_packet(i & 4);
		assert_int_equal(vho_net_tx(r.net, 0, m, 1), 1); // before the driver said anything
		configure_hash(r.net);
		m[0] = known_packet(i & 4);
		m[1] = packet(100, 1);
		assert_int_equal(vho_net_tx(r.net, 0, m, 2), 2);
		at = vq_at(&r.v, RIG_DATA);
		frame = at + 20;
		assert_memory_equal(at + 12, none, 8);
		assert_memory_equal(at + 2048 + 12, hash, 8);
		assert_int_equal(at[2048], i & 4 ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0);
		assert_int_equal(at[2048 + 10], 1);
		assert_int_equal(frame[2048 + 26], 66);
		assert_memory_equal(at + 2 * 2048 + 12, none, 8); // no type that is enabled
		assert_int_equal(frame[2 * 2048], 1);
		assert_int_equal(
			r.q->packed ? vq_pdesc(&r.v)[0].len : vq_used(&r.v)->ring[0].len, 80);
		rig_close(&r);
	}
}

static void disabled_queue_discards(void **state)
{
	uint8_t bytes[100] = { 0 };
	struct part p = { 100, bytes };
	struct rte_mbuf *m[4];
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT, false);
	vho_net_dev(r.net)->queues[1].enabled = false;
	for (unsigned i = 0; i < 3; i++)
		rig_offer(&r, &p, 1, 1, 0);
	assert_int_equal(vho_net_rx(r.net, 0, m, 4), 0);
	assert_int_equal(
		dpu_counter_read(&vho_net_stats(r.net, 0)->drops[VHO_NET_DROP_RX_DISABLED]), 3);
	assert_int_equal(vq_used(&r.v)->idx, 3);
	rig_close(&r);
}

static const struct size_case {
	const char *name;
	uint64_t features;
	uint32_t size;
} sizes[] = {
	{ "split, 1", VQ_SPLIT, 1 },
	{ "split, 2", VQ_SPLIT, 2 },
	{ "split, 4", VQ_SPLIT, 4 },
	{ "split, 16", VQ_SPLIT, 16 },
	{ "split, 64", VQ_SPLIT, 64 },
	{ "split, 32768", VQ_SPLIT, 32768 },
	{ "VP-01 packed, 1", VQ_PACKED, 1 },
	{ "VP-01 packed, 2", VQ_PACKED, 2 },
	{ "VP-01 packed, 3", VQ_PACKED, 3 },
	{ "VP-01 packed, 5", VQ_PACKED, 5 },
	{ "VP-01 packed, 8", VQ_PACKED, 8 },
	{ "VP-01 packed, 9", VQ_PACKED, 9 },
	{ "VP-01 packed, 33", VQ_PACKED, 33 },
	{ "VP-01 packed, 100", VQ_PACKED, 100 },
	{ "VP-01 packed, 1000", VQ_PACKED, 1000 },
	{ "VP-01 packed, 32768", VQ_PACKED, 32768 },
};

/* Rings of every size, filled to the brim: each packet arrives, in order, both ways. */
static void any_size(void **state)
{
	const struct size_case *t = *state;
	uint32_t total = t->size < 1000 ? 3 * t->size + 200 : 2 * t->size + 7, in = 0, out = 0;
	uint8_t bytes[12 + 60] = { 0 };
	struct part from = { sizeof(bytes), bytes }, to = { 100, NULL };
	struct rig a, b;

	seed = 42;
	rig_open_size(&a, 1, t->features | MRG, false, t->size);
	rig_open_size(&b, 0, t->features | MRG, false, t->size);
	a.net->fast = b.net->fast = fast;
	while (out < total) {
		struct rte_mbuf *m[32];
		uint32_t most = t->size < 4000 ? t->size : 4000; // as many as have a buffer
		uint32_t n = draw(2) ? most : 1 + draw(most), before, got;

		for (; in < out + n; in++) {
			memcpy(bytes + 12, &in, sizeof(in));
			rig_offer(&a, &from, 1, 1, 0);
			rig_offer(&b, &to, 1, 1, W);
		}
		while ((got = vho_net_rx(a.net, 0, m, (uint16_t)(1 + draw(32)))) > 0) {
			for (uint32_t i = 0; i < got; i++)
				assert_memory_equal(rte_pktmbuf_mtod(m[i], uint8_t *),
					&(uint32_t){ out + i }, sizeof(out));
			before = b.q->next_used;
			assert_int_equal(vho_net_tx(b.net, 0, m, (uint16_t)got), got);
			if (t->size > got)
				assert_int_not_equal(b.q->next_used, before);
			out += got;
		}
		assert_int_equal(out, in);
	}
	assert_int_equal(dpu_counter_read(&vho_net_stats(b.net, 0)->tx_packets), out);
	assert_false(a.q->broken || b.q->broken);
	rig_close(&a);
	rig_close(&b);
}

#define BAD_BURST 20u

/* What is wrong with the descriptor at `at` of a burst. */
static const struct bad_case {
	const char *name;
	uint64_t addr; // 0: as it was
	uint32_t len; // 0: as it was
	uint16_t flags; // added
	uint16_t id; // packed only; 0: as it was
	enum vho_queue_error why;
} bads[] = {
	{ "VP-08 address outside", VQ_END - 50, 0, 0, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "address below", VQ_GPA - 1, 0, 0, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "address wraps", UINT64_MAX - 8, 0, 0, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "length outside", 0, UINT32_MAX, 0, 0, VHO_QUEUE_ERR_BAD_ADDRESS },
	{ "VS-09 indirect with next", 0, 0, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 0,
		VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VS-09 indirect not negotiated", 0, 16, VRING_DESC_F_INDIRECT, 0,
		VHO_QUEUE_ERR_BAD_INDIRECT },
	{ "VP-04 id outside", 0, 0, 0, RIG_SIZE, VHO_QUEUE_ERR_BAD_INDEX },
};

/*
 * One bad descriptor at every place of a burst, whatever step of staging it falls to: those before
 * it arrive, it stops the ring under the same reason as in the general path.
 */
static void bad_in_burst(void **state)
{
	const struct bad_case *t = *state;
	static uint8_t bytes[100];

	for (unsigned i = 0; i < 4 * BAD_BURST; i++) {
		unsigned at = i / 4;
		bool packed = i & 1;
		struct part p = { 100, bytes };
		struct rte_mbuf *m[BAD_BURST];
		struct rig r;
		unsigned got;

		if (t->id && !packed)
			continue;
		rig_open(&r, 1, packed ? VQ_PACKED : VQ_SPLIT, i & 2);
		r.net->fast = fast;
		for (unsigned k = 0; k < 3; k++) // the region is known
			rig_offer(&r, &p, 1, 1, 0);
		got = vho_net_rx(r.net, 0, m, BAD_BURST);
		assert_int_equal(got, 3);
		rte_pktmbuf_free_bulk(m, got);
		for (unsigned k = 0; k < BAD_BURST; k++)
			rig_offer(&r, &p, 1, 1, 0);
		if (packed) {
			struct vring_packed_desc *d = &vq_pdesc(&r.v)[3 + at];

			d->addr = t->addr ? t->addr : d->addr;
			d->len = t->len ? t->len : d->len;
			d->id = t->id ? t->id : d->id;
			d->flags |= t->flags;
		} else {
			struct vring_desc *d = &vq_desc(&r.v)[3 + at];

			d->addr = t->addr ? t->addr : d->addr;
			d->len = t->len ? t->len : d->len;
			d->flags |= t->flags;
		}
		got = vho_net_rx(r.net, 0, m, BAD_BURST);
		assert_int_equal(got, at);
		rte_pktmbuf_free_bulk(m, got);
		assert_true(r.q->broken);
		assert_int_equal(dpu_counter_read(&r.q->stats.errors[t->why]), 1);
		assert_int_equal(vho_net_rx(r.net, 0, m, BAD_BURST), 0);
		rig_close(&r);
	}
}

/* VS-21: a guest that posts nothing costs packets of its own and nothing else. */
static void vs21_no_buffers(void **state)
{
	struct rte_mbuf *m[3];
	unsigned before = rte_mempool_avail_count(mbuf_pool);
	struct rig r;

	(void)state;
	rig_open(&r, 0, VQ_SPLIT | MRG, false);
	for (unsigned i = 0; i < 3; i++)
		m[i] = packet(60, 1);
	assert_int_equal(vho_net_tx(r.net, 0, m, 3), 0);
	assert_int_equal(
		dpu_counter_read(&vho_net_stats(r.net, 0)->drops[VHO_NET_DROP_TX_NO_BUFFER]), 3);
	assert_int_equal(rte_mempool_avail_count(mbuf_pool), before);
	rig_close(&r);
}

static const struct useless_case {
	const char *name;
	struct part p[2];
	unsigned n;
	uint16_t way;
} useless[] = {
	{ "empty receive buffer", { { 0, NULL } }, 1, W },
	{ "receive buffer that is only readable", { { 2048, NULL } }, 1, 0 },
	{ "receive buffer that is readable first", { { 12, NULL }, { 2048, NULL } }, 2, 0 },
};

/* A receive chain that can hold nothing ends the ring instead of being looked at for ever. */
static void useless_buffer(void **state)
{
	const struct useless_case *t = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct rte_mbuf *m = packet(60, 1);
		struct rig r;

		rig_open(&r, 0, (i & 1 ? VQ_PACKED : VQ_SPLIT) | MRG, i & 2);
		rig_offer(&r, t->p, t->n, t->n, t->way);
		assert_int_equal(vho_net_tx(r.net, 0, &m, 1), 0);
		assert_true(r.q->broken);
		assert_int_equal(dpu_counter_read(&r.q->stats.errors[VHO_QUEUE_ERR_BAD_CHAIN]), 1);
		assert_int_equal(
			dpu_counter_read(&vho_net_stats(r.net, 0)->drops[VHO_NET_DROP_TX_BAD_RING]),
			1);
		rig_close(&r);
	}
}

static void pool_empty(void **state)
{
	static struct rte_mbuf *all[2048]; // one more than the pool has
	uint8_t bytes[100] = { 0 };
	struct part p = { 100, bytes };
	struct rte_mbuf *m[4];
	unsigned n = 0;
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT, false);
	while ((all[n] = rte_pktmbuf_alloc(mbuf_pool)))
		n++;
	rte_pktmbuf_free(all[--n]); // one is left
	for (unsigned i = 0; i < 3; i++)
		rig_offer(&r, &p, 1, 1, 0);
	assert_int_equal(vho_net_rx(r.net, 0, m, 4), 1);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(
		dpu_counter_read(&vho_net_stats(r.net, 0)->drops[VHO_NET_DROP_RX_NO_MBUF]), 2);
	rte_pktmbuf_free_bulk(all, n);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(vn24_tail_untouched),
		cmocka_unit_test(hash_report_header),
		cmocka_unit_test(disabled_queue_discards),
		cmocka_unit_test(vs21_no_buffers),
		cmocka_unit_test(pool_empty),
	};
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	for (unsigned i = 0; (fast = vho_net_fast_at(i)); i++) {
		print_message("bursts: %s\n", fast->name);
		RUN_ROWS(layouts, rx_differs_not, failed);
		RUN_ROWS(layouts, tx_differs_not, failed);
		RUN_ROWS(bads, bad_in_burst, failed);
		RUN_ROWS(sizes, any_size, failed);
	}
	RUN_ROWS(lengths, length, failed);
	RUN_ROWS(useless, useless_buffer, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
