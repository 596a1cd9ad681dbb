// SPDX-License-Identifier: Apache-2.0
/* Packets whose payload is lent: the same frames arrive, and chains go back once and in order. */
#include <errno.h>

#include "net_fast.h"
#include "net_rig.h"

#define W VRING_DESC_F_WRITE
#define ROUNDS 150
#define FRAMES 5u // of a round
#define PARTS 100u
#define LONG 5000u // bytes of a frame that is lent

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

static uint64_t seed;

static uint32_t draw(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n ? (uint32_t)(seed >> 20) % n : 0;
}

/* ---- the same frames arrive ---- */

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* A virtio-net header and a frame behind it; returns their length. */
static uint32_t make_frame(uint8_t *b, uint32_t hdr)
{
	static const uint32_t most[] = { 200, 2400, 9014, 30000, 65549 };
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)b;
	uint32_t len = 60 + draw(most[draw(5)] - 59), kind = draw(5);
	uint8_t *f = b + hdr;

	memset(b, 0, hdr);
	for (uint32_t i = 0; i < len; i++)
		f[i] = (uint8_t)draw(256);
	if (kind == 0) { // neither IP nor a request
		put16(f + 12, 0x88b5);
		return hdr + len;
	}
	put16(f + 12, 0x0800);
	f[14] = 0x45;
	put16(f + 16, len - 14);
	put16(f + 20, 0);
	f[23] = 6;
	f[46] = 0x50;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = htole16(34);
	h->csum_offset = htole16(16);
	if (kind == 1) { // a request that is not the frame's own, somewhere
		h->csum_start = htole16((uint16_t)draw(draw(2) ? 260 : len));
		h->csum_offset = htole16((uint16_t)draw(draw(2) ? 70 : len));
	} else if (kind > 2 || len > 9014) {
		h->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		h->gso_size = htole16((uint16_t)(100 + draw(1400)));
	}
	return hdr + len;
}

/* Cut it the ways that drivers do, and others. */
static unsigned cut(struct part *p, const uint8_t *from, uint32_t total, uint32_t hdr)
{
	static const uint32_t sizes[] = { 32768, 4096, 1024, 3000, 40 };
	uint32_t shape = draw(8), size = shape > 2 ? sizes[shape - 3] : total;
	uint32_t at = shape == 0 ? total : hdr + (shape == 1 ? 0 : 54);
	unsigned n = 0;

	p[n++] = (struct part){ at, from };
	while (at < total) {
		uint32_t len = shape > 5 ? 1 + draw(size) : size;

		if (n == PARTS - 1 || len > total - at)
			len = total - at;
		p[n++] = (struct part){ len, from + at };
		at += len;
	}
	return n;
}

struct way { // from one guest to another
	struct rig from, to;
	struct rte_mbuf *m[64];
	unsigned n;
};

static void way_open(
	struct way *w, uint64_t features, bool general, bool lends, const struct vho_net_fast *fast)
{
	rig_open(&w->from, 1, features, general);
	rig_open(&w->to, 0, features, general);
	w->from.net->lends = lends;
	w->from.net->fast = w->to.net->fast = fast;
}

static void way_close(struct way *w)
{
	rig_close(&w->from);
	rig_close(&w->to);
}

static void offer_buffers(struct rig *r, uint32_t hdr)
{
	bool merge = r->q->features & MRG;
	unsigned waiting = r->q->packed ? (r->v.avail + RIG_SIZE - r->q->next_avail) % RIG_SIZE
					: (uint16_t)(r->v.avail - r->q->next_avail);

	for (; waiting < (merge ? 90 : 2 * FRAMES); waiting += 2 - merge) {
		struct part p[2] = { { merge ? 4096 : hdr, NULL }, { 66000, NULL } };

		rig_offer(r, p, 2 - merge, 2, W);
	}
}

static void same_rings(const struct rig *a, const struct rig *b)
{
	assert_int_equal(a->q->next_avail, b->q->next_avail);
	assert_int_equal(a->q->next_used, b->q->next_used);
	assert_false(a->q->broken || b->q->broken);
	assert_memory_equal(vq_at(&a->v, VQ_BUF), vq_at(&b->v, VQ_BUF), RIG_DATA_LEN);
	if (a->q->features & VQ_IN_ORDER)
		return; // one element may stand for several
	assert_memory_equal(vq_at(&a->v, VQ_DESC), vq_at(&b->v, VQ_DESC), RIG_SIZE * 16);
	if (!a->q->packed)
		assert_memory_equal(vq_used(&a->v), vq_used(&b->v), 4 + RIG_SIZE * 8);
}

static void same_counters(const struct rig *a, const struct rig *b)
{
	const struct vho_net_stats *s = vho_net_stats(a->net, 0), *t = vho_net_stats(b->net, 0);

	assert_memory_equal(s, t, sizeof(*s));
}

static void carry(struct way *w)
{
	unsigned got;

	// Packets live until they are delivered, and are gone before the queue is asked again.
	while ((got = vho_net_rx(w->from.net, 0, w->m, 64)) > 0) {
		for (unsigned i = 0; i < got; i++)
			w->n += (w->m[i]->ol_flags & VHO_NET_F_LENT) != 0;
		vho_net_tx(w->to.net, 0, w->m, (uint16_t)got);
	}
}

/* Of two ways, one that lends and one that copies, nobody can tell which is which. */
static void same_frames(const struct layout *l, bool general, const struct vho_net_fast *fast)
{
	uint32_t hdr = vho_net_hdr_len(l->features);
	static uint8_t bytes[70000];
	static struct way a, b;

	seed = 88172645463325252ULL;
	a.n = b.n = 0;
	way_open(&a, l->features, general, true, fast);
	way_open(&b, l->features, general, false, fast);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = draw(FRAMES) + 1; i; i--) {
			struct part p[PARTS];
			uint32_t total = make_frame(bytes, hdr);
			unsigned n = cut(p, bytes, total, hdr);
			unsigned direct = n < 8 && draw(2) ? n : draw(n < 4 ? n : 4);

			rig_offer(&a.from, p, n, direct, 0);
			rig_offer(&b.from, p, n, direct, 0);
		}
		offer_buffers(&a.to, hdr);
		offer_buffers(&b.to, hdr);
		carry(&a);
		carry(&b);
		same_rings(&a.from, &b.from);
		same_rings(&a.to, &b.to);
		same_counters(&a.from, &b.from);
		same_counters(&a.to, &b.to);
		if (l->features & VQ_IN_ORDER) {
			rig_take_in_order(&a.from);
			rig_take_in_order(&b.from);
		}
	}
	assert_true(a.n > ROUNDS / 2 && b.n == 0);
	assert_true(dpu_counter_read(&vho_net_stats(a.to.net, 0)->tx_packets) > ROUNDS);
	way_close(&a);
	way_close(&b);
}

static void lent_as_copied(void **state)
{
	const struct vho_net_fast *fast;

	for (unsigned i = 0; (fast = vho_net_fast_at(i)); i++)
		same_frames(*state, false, fast);
	same_frames(*state, true, vho_net_fast_at(0));
}

/* ---- what is lent ---- */

static const struct choice {
	const char *name;
	uint32_t len; // of the frame
	unsigned parts; // behind the header's
	uint16_t csum_start, csum_offset; // 0: no request
	bool lent;
} choices[] = {
	{ "fits an mbuf", 2048, 1, 0, 0, false },
	{ "does not fit an mbuf", 2049, 1, 0, 0, true },
	{ "9000 bytes in 8 pieces with the header", 9000, 7, 0, 0, true },
	{ "9000 bytes in 9 pieces with the header", 9000, 8, 0, 0, false },
	{ "checksum where headers are", LONG, 1, 196, 58, true },
	{ "checksum that starts behind them", LONG, 1, 197, 16, false },
	{ "checksum field behind them", LONG, 1, 100, 59, false },
};

static uint8_t payload[70000];

static void offer_frame(struct rig *r, uint32_t len, unsigned parts,
	const struct virtio_net_hdr_v1 *hdr, unsigned direct)
{
	struct part p[16] = { { sizeof(*hdr), hdr } };
	uint32_t at = 0;

	for (unsigned i = 1; i <= parts; i++) {
		uint32_t part = i == parts ? len - at : len / parts;

		p[i] = (struct part){ part, payload + at };
		at += part;
	}
	rig_offer(r, p, parts + 1, direct, 0);
}

static const struct virtio_net_hdr_v1 plain;

static void choice(void **state)
{
	const struct choice *t = *state;
	const struct virtio_net_hdr_v1 h = {
		.flags = t->csum_start ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
		.csum_start = htole16(t->csum_start),
		.csum_offset = htole16(t->csum_offset),
	};

	for (unsigned i = 0; i < 4; i++) {
		uint8_t before[RIG_DATA_LEN / 8];
		struct rte_mbuf *m;
		struct rig r;

		rig_open(&r, 1, (i & 1 ? VQ_PACKED : VQ_SPLIT) | VQ_INDIRECT | OFFLOADS, i & 2);
		r.net->lends = true;
		offer_frame(&r, t->len, t->parts, &h, 1);
		memcpy(before, vq_at(&r.v, RIG_DATA), sizeof(before));
		assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 1);
		assert_int_equal((m->ol_flags & VHO_NET_F_LENT) != 0, t->lent);
		assert_int_equal(m->pkt_len, t->len);
		rte_pktmbuf_free(m);
		assert_memory_equal(before, vq_at(&r.v, RIG_DATA), sizeof(before));
		assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 0);
		rig_close(&r);
	}
}

/* Headers are what they were when they were checked; the rest is the guest's to change. */
static void headers_are_ours(void **state)
{
	struct rte_mbuf *m;
	uint8_t copy[LONG];
	const uint8_t *p;
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT | OFFLOADS, false);
	r.net->lends = true;
	offer_frame(&r, LONG, 1, &plain, 2);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 1);
	memset(vq_at(&r.v, RIG_DATA), 0xa5, sizeof(plain) + LONG);
	p = rte_pktmbuf_read(m, 0, LONG, copy);
	assert_memory_equal(p, payload, VHO_LEND_HEAD);
	for (uint32_t i = VHO_LEND_HEAD; i < LONG; i++)
		assert_int_equal(p[i], 0xa5);
	rte_pktmbuf_free(m);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 0);
	rig_close(&r);
}

/* A piece that lies in two regions of the guest's memory, which are not neighbours here. */
static void over_a_seam(void **state)
{
	struct rte_mbuf *m;
	uint8_t copy[LONG];
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT | OFFLOADS, false);
	r.net->lends = true;
	offer_frame(&r, LONG, 1, &plain, 2);
	vq_desc(&r.v)[1].addr = VQ_SEAM - LONG / 2;
	memcpy(vq_at(&r.v, VQ_SEAM - LONG / 2), payload, LONG);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 1);
	assert_int_equal(m->nb_segs, 3);
	assert_memory_equal(rte_pktmbuf_read(m, 0, LONG, copy), payload, LONG);
	rte_pktmbuf_free(m);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 0);
	rig_close(&r);
}

/* ---- how chains go back ---- */

/* Take back what was used: each chain once, in the order in which they were offered. */
static unsigned take_used(struct rig *r)
{
	unsigned n = 0;
	uint16_t id;

	if (r->q->in_order) {
		n = r->n_returned;
		rig_take_in_order(r);
		return r->n_returned - n;
	}
	for (; rig_used(r, &id); n++) {
		uint16_t slots = r->offered[r->n_returned % RIG_SIZE].slots;

		assert_true(r->n_returned != r->n_offered);
		if (!r->q->packed)
			id = (uint16_t)vq_used(&r->v)->ring[r->used_at % r->size].id;
		assert_int_equal(id, r->offered[r->n_returned++ % RIG_SIZE].id);
		r->used_at = (uint16_t)(r->used_at + (r->q->packed ? slots : 1));
		if (r->q->packed && r->used_at >= r->size) {
			r->used_at = (uint16_t)(r->used_at - r->size);
			r->used_wrap = !r->used_wrap;
		}
	}
	return n;
}

struct trip {
	struct rig r;
	struct rte_mbuf *m[64];
	unsigned n;
};

static void free_first(struct trip *t)
{
	rte_pktmbuf_free_bulk(t->m, t->n);
	assert_int_equal(take_used(&t->r), 0);
	assert_int_equal(vho_net_rx(t->r.net, 0, t->m, 64), 0);
}

static void free_last_first(struct trip *t)
{
	for (unsigned i = t->n; i; i--)
		rte_pktmbuf_free(t->m[i - 1]);
	assert_int_equal(take_used(&t->r), 0);
	assert_int_equal(vho_net_rx(t->r.net, 0, t->m, 64), 0);
}

static void free_clones(struct trip *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct rte_mbuf *c = rte_pktmbuf_clone(t->m[i], mbuf_pool);

		assert_non_null(c);
		assert_true(c->ol_flags & VHO_NET_F_LENT);
		rte_pktmbuf_free(t->m[i]);
		t->m[i] = c;
	}
	free_first(t);
}

static void let_go(struct trip *t)
{
	rte_pktmbuf_free_bulk(t->m, t->n);
	vq_signals(t->r.v.call_fd);
	vho_dev_queue_run(vho_net_dev(t->r.net), 1, false);
	assert_int_equal(vq_signals(t->r.v.call_fd), 1);
}

static void go_on_resting(struct trip *t)
{
	rte_pktmbuf_free_bulk(t->m, t->n);
	t->r.net->pairs[0].rest.until_tsc = UINT64_MAX;
	assert_int_equal(vho_net_rx(t->r.net, 0, t->m, 64), 0);
	assert_true(t->r.net->pairs[0].rest.until_tsc == UINT64_MAX);
}

static void more_follow(struct trip *t)
{
	rte_pktmbuf_free_bulk(t->m, t->n);
	offer_frame(&t->r, 60, 1, &plain, 2);
	offer_frame(&t->r, LONG, 1, &plain, 2);
	assert_int_equal(vho_net_rx(t->r.net, 0, t->m, 64), 2);
	rte_pktmbuf_free_bulk(t->m, 2);
	assert_int_equal(vho_net_rx(t->r.net, 0, t->m, 64), 0);
}

static void broken_meanwhile(struct trip *t)
{
	rte_pktmbuf_free_bulk(t->m, t->n);
	(void)vho_queue_fail(t->r.q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG);
	assert_int_equal(vho_net_rx(t->r.net, 0, t->m, 64), 0);
}

static const struct ending {
	const char *name;
	void (*end)(struct trip *t);
	unsigned more; // chains that it offers
} endings[] = {
	{ "packets freed", free_first, 0 },
	{ "packets freed, the last one first", free_last_first, 0 },
	{ "clones freed last", free_clones, 0 },
	{ "queue let go", let_go, 0 },
	{ "queue rests", go_on_resting, 0 },
	{ "more packets follow", more_follow, 2 },
	{ "queue broken meanwhile", broken_meanwhile, 0 },
};

static void ending(void **state)
{
	const struct ending *e = *state;
	unsigned before = rte_mempool_in_use_count(mbuf_pool);

	for (unsigned i = 0; i < 2 * ARRAY_LEN(layouts); i++) {
		uint64_t features = layouts[i / 2].features & ~HASH;
		static struct trip t;

		rig_open(&t.r, 1, features, i & 1);
		t.r.net->lends = true;
		for (unsigned k = 0; k < 5; k++)
			offer_frame(&t.r, LONG, 1, &plain, draw(3));
		t.n = vho_net_rx(t.r.net, 0, t.m, 64);
		assert_int_equal(t.n, 5);
		assert_int_equal(take_used(&t.r), 0);
		e->end(&t);
		assert_int_equal(take_used(&t.r), 5 + e->more);
		rig_close(&t.r);
		assert_int_equal(rte_mempool_in_use_count(mbuf_pool), before);
	}
}

/* Short packets before a lent one go back at once, those behind it with it. */
static void short_ones_between(void **state)
{
	static const uint32_t len[] = { 60, 70, LONG, 80, LONG, 90, 2048 };
	const struct layout *l = *state;

	for (unsigned i = 0; i < 2; i++) {
		static struct trip t;

		rig_open(&t.r, 1, l->features & ~HASH, i);
		t.r.net->lends = true;
		for (unsigned k = 0; k < ARRAY_LEN(len); k++)
			offer_frame(&t.r, len[k], 1, &plain, 2);
		t.n = vho_net_rx(t.r.net, 0, t.m, 64);
		assert_int_equal(t.n, ARRAY_LEN(len));
		for (unsigned k = 0; k < t.n; k++)
			assert_int_equal(t.m[k]->pkt_len, len[k]);
		assert_int_equal(take_used(&t.r), 2);
		rte_pktmbuf_free_bulk(t.m, t.n);
		assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), 0);
		assert_int_equal(take_used(&t.r), ARRAY_LEN(len) - 2);
		rig_close(&t.r);
	}
}

/* No more chains wait than there is room for; the rest comes with the next call. */
static void more_than_wait(void **state)
{
	const struct layout *l = *state;
	static struct trip t;

	rig_open(&t.r, 1, l->features & ~HASH, false);
	t.r.net->lends = true;
	for (unsigned k = 0; k < VHO_BURST + 8; k++)
		offer_frame(&t.r, LONG, 1, &plain, 2);
	assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), VHO_BURST);
	rte_pktmbuf_free_bulk(t.m, VHO_BURST);
	assert_int_equal(take_used(&t.r), 0);
	assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), 8);
	assert_int_equal(take_used(&t.r), VHO_BURST);
	rte_pktmbuf_free_bulk(t.m, 8);
	assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), 0);
	assert_int_equal(take_used(&t.r), 8);
	rig_close(&t.r);
}

/* ---- what goes wrong ---- */

static void bad_chain_behind(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		static struct trip t;

		rig_open(&t.r, 1, (i & 1 ? VQ_PACKED : VQ_SPLIT) | OFFLOADS, i & 2);
		t.r.net->lends = true;
		for (unsigned k = 0; k < 4; k++)
			offer_frame(&t.r, LONG, 1, &plain, 2);
		if (i & 1)
			vq_pdesc(&t.r.v)[5].addr = VQ_END; // of the third
		else
			vq_desc(&t.r.v)[5].addr = VQ_END;
		assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), 2);
		assert_true(t.r.q->broken);
		rte_pktmbuf_free_bulk(t.m, 2);
		assert_int_equal(take_used(&t.r), 0);
		assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), 0);
		assert_int_equal(take_used(&t.r), 2);
		assert_int_equal(vho_net_rx(t.r.net, 0, t.m, 64), 0);
		assert_int_equal(take_used(&t.r), 0);
		rig_close(&t.r);
	}
}

/* Dropped after it was lent: nothing waits for it. */
static void bad_offload(void **state)
{
	const struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = htole16(1000),
		.csum_start = htole16(34),
		.csum_offset = htole16(16) }; // the frame is no TCP
	unsigned before = rte_mempool_in_use_count(mbuf_pool);
	struct rte_mbuf *m[4];
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT | OFFLOADS, false);
	r.net->lends = true;
	offer_frame(&r, LONG, 1, &h, 2);
	assert_int_equal(vho_net_rx(r.net, 0, m, 4), 0);
	assert_int_equal(take_used(&r), 1);
	assert_int_equal(
		dpu_counter_read(&vho_net_stats(r.net, 0)->drops[VHO_NET_DROP_RX_BAD_OFFLOAD]), 1);
	assert_int_equal(rte_mempool_in_use_count(mbuf_pool), before);
	offer_frame(&r, LONG, 1, &plain, 2); // the same place counts on
	assert_int_equal(vho_net_rx(r.net, 0, m, 4), 1);
	rte_pktmbuf_free(m[0]);
	assert_int_equal(vho_net_rx(r.net, 0, m, 4), 0);
	assert_int_equal(take_used(&r), 1);
	rig_close(&r);
}

/* The pool has one mbuf for a packet that needs two. */
static void pool_empty(void **state)
{
	static struct rte_mbuf *all[2048];
	struct rte_mbuf *m[4];
	unsigned n = 0;
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT | OFFLOADS, false);
	r.net->lends = true;
	while ((all[n] = rte_pktmbuf_alloc(mbuf_pool)))
		n++;
	rte_pktmbuf_free(all[--n]);
	offer_frame(&r, LONG, 1, &plain, 2);
	assert_int_equal(vho_net_rx(r.net, 0, m, 4), 0);
	assert_int_equal(
		dpu_counter_read(&vho_net_stats(r.net, 0)->drops[VHO_NET_DROP_RX_NO_MBUF]), 1);
	assert_int_equal(take_used(&r), 1);
	all[n] = rte_pktmbuf_alloc(mbuf_pool); // it was given back
	assert_non_null(all[n]);
	rte_pktmbuf_free_bulk(all, n + 1);
	rig_close(&r);
}

/* During a migration: what the guest offered for writing in such a chain was not written. */
static void nothing_is_logged(void **state)
{
	static const uint8_t none[4096];
	const struct part p[] = { { sizeof(plain), &plain }, { LONG, payload }, { 512, NULL } };
	struct rte_mbuf *m;
	struct rig r;

	(void)state;
	rig_open(&r, 1, VQ_SPLIT | OFFLOADS, true);
	r.net->lends = true;
	rig_offer(&r, p, 3, 3, 0);
	vq_desc(&r.v)[2].flags = W;
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 1);
	assert_true(m->ol_flags & VHO_NET_F_LENT);
	rte_pktmbuf_free(m);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 0);
	assert_int_equal(take_used(&r), 1);
	assert_memory_equal(r.log, none, sizeof(none));
	rig_close(&r);
}

/*
 * The front-end cuts the memory short while its packet is on the way: another guest gets zeros, the
 * ring that it came from ends.
 */
static void memory_vanishes(void **state)
{
	struct part buffer = { 8192, NULL };
	struct rte_mbuf *m;
	struct rig r, to;
	uint8_t *at;

	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0); // cmocka has a handler of its own
	rig_open(&r, 1, VQ_SPLIT | OFFLOADS, false);
	rig_open(&to, 0, VQ_SPLIT | OFFLOADS, false);
	r.net->lends = true;
	offer_frame(&r, LONG, 1, &plain, 2);
	vq_desc(&r.v)[1].addr = VQ_SEAM;
	memcpy(vq_at(&r.v, VQ_SEAM), payload, LONG);
	at = vq_at(&to.v, RIG_DATA);
	memset(at, 0xa5, 8192);
	rig_offer(&to, &buffer, 1, 1, W);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 1);
	assert_int_equal(ftruncate(r.v.fd, VQ_REGION), 0);
	assert_int_equal(vho_net_tx(to.net, 0, &m, 1), 1);
	assert_memory_equal(at + sizeof(plain), payload, VHO_LEND_HEAD);
	for (uint32_t i = VHO_LEND_HEAD; i < LONG; i++)
		assert_int_equal(at[sizeof(plain) + i], 0);
	assert_int_equal(at[sizeof(plain) + LONG], 0xa5);
	assert_int_equal(vho_net_rx(r.net, 0, &m, 1), 0);
	assert_int_equal(take_used(&r), 1);
	assert_int_equal(dpu_counter_read(&r.q->stats.errors[VHO_QUEUE_ERR_MEM_FAULT]), 1);
	assert_false(to.q->broken);
	rig_close(&r);
	rig_close(&to);
}

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(headers_are_ours),
		cmocka_unit_test(over_a_seam),
		cmocka_unit_test(bad_chain_behind),
		cmocka_unit_test(bad_offload),
		cmocka_unit_test(pool_empty),
		cmocka_unit_test(nothing_is_logged),
		cmocka_unit_test(memory_vanishes),
	};
	int failed = 0;

	if (mbuf_env_start(NULL))
		return 1;
	for (uint32_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)(i * 7 + i / 256);
	payload[12] = 0x88; // no IP
	payload[13] = 0xb5;
	RUN_ROWS(layouts, lent_as_copied, failed);
	RUN_ROWS(choices, choice, failed);
	RUN_ROWS(endings, ending, failed);
	RUN_ROWS(layouts, short_ones_between, failed);
	RUN_ROWS(layouts, more_than_wait, failed);
	failed |= cmocka_run_group_tests(rest, NULL, NULL);
	return failed;
}
