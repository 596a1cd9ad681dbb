// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net bursts: guest to mbufs and back, each byte copied once each way, or lent by the guest
 * (net_lend.h). What the fast bursts (net_fast.c) do not take goes through vho_queue_pop() here.
 */
#include "vho_net.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <rte_cycles.h>

#include "net_fast.h"

#define SEGMENTS_MAX 1024 // iovecs of one packet
#define MERGE_MAX 128 // receive buffers of one packet
#define REST_WORTH 8 // packets that must be expected in that time

/* Read `len` bytes into a chain of mbufs; NULL: the pool is empty. */
static struct rte_mbuf *read_mbufs(struct vho_net *net, struct vho_seg_cur *c, uint32_t len)
{
	struct rte_mbuf *head = NULL, **link = &head;
	uint32_t left = len;
	uint16_t n = 0;

	while (left) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(net->pool);
		uint32_t part = left < net->mbuf_room ? left : net->mbuf_room;

		if (!m) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		vho_seg_read(c, rte_pktmbuf_mtod(m, void *), part);
		m->data_len = (uint16_t)part;
		*link = m;
		link = &m->next;
		left -= part;
		n++;
	}
	head->pkt_len = len;
	head->nb_segs = n;
	return head;
}

/* The packet of a popped chain, or NULL with *why. */
static struct rte_mbuf *take_chain(struct vho_net *net, struct vho_lent *lent,
	const struct vho_queue *q, const struct vho_chain *ch, enum vho_net_drop *why)
{
	uint32_t hdr_len = vho_net_hdr_len(q->features);
	struct vho_seg_cur c = { .v = ch->iov };
	uint8_t hdr[VHO_NET_HDR_MAX];
	vho_net_hdr h = { 0 };
	struct rte_mbuf *m;
	uint64_t len;
	bool lend;

	*why = VHO_NET_DROP_RX_RUNT;
	if (ch->out_len < hdr_len + VHO_NET_FRAME_MIN)
		return NULL;
	len = ch->out_len - hdr_len;
	vho_seg_read(&c, hdr, hdr_len);
	memcpy(&h, hdr, sizeof(struct virtio_net_hdr)); // what comes behind it is ours to set
	*why = VHO_NET_DROP_RX_OVERSIZE;
	if (len > VHO_NET_FRAME_MAX)
		return NULL;
	if (h.gso_type == VIRTIO_NET_HDR_GSO_NONE &&
		len > atomic_load_explicit(&net->frame_max, memory_order_relaxed))
		return NULL;
	*why = VHO_NET_DROP_RX_NO_MBUF;
	lend = vho_lend_worth(net, ch, &h, (uint32_t)len);
	m = lend ? vho_lend(net, lent, &c, (uint32_t)len) : read_mbufs(net, &c, (uint32_t)len);
	if (!m)
		return NULL;
	if (vho_net_hdr_asks(&h) && vho_net_hdr_apply(&h, q->features, m)) {
		*why = VHO_NET_DROP_RX_BAD_OFFLOAD;
		rte_pktmbuf_free(m);
		return NULL;
	}
	if (lend)
		m->ol_flags |= VHO_NET_F_LENT;
	return m;
}

/* One chain the general way. 1 with *m (NULL: dropped), 0, or the error of vho_queue_pop(). */
static int rx_chain(struct vho_net *net, struct vho_queue *q, struct vho_net_pair *np, bool discard,
	struct rte_mbuf **m)
{
	struct iovec iov[SEGMENTS_MAX];
	struct vho_chain c = { .iov = iov, .max = SEGMENTS_MAX };
	enum vho_net_drop why = VHO_NET_DROP_RX_DISABLED;
	int ret = vho_queue_pop(q, &c);

	*m = NULL;
	if (ret <= 0)
		return ret;
	if (!discard)
		*m = take_chain(net, &np->lent, q, &c, &why);
	if (!*m)
		vho_net_drop_count(&np->stats, why, 1);
	if (np->lent.n || (*m && (*m)->ol_flags & VHO_NET_F_LENT)) {
		vho_lent_keep(&np->lent, &c.elem);
		np->rest.until_tsc = 1; // to be given back at the next call, rest or not
		return 1;
	}
	vho_queue_push(q, &c.elem, 0);
	vho_queue_publish(q);
	return 1;
}

/*
 * A chain the general way, and, if it was lent, those behind it, as many as can wait with it:
 * *taken chains of at most n. Returns the number of packets.
 */
static __attribute__((noinline)) unsigned rx_general(struct vho_net *net, struct vho_queue *q,
	struct vho_net_pair *np, bool discard, struct rte_mbuf **pkts, unsigned n, unsigned *taken)
{
	unsigned got = 0;

	*taken = 0;
	do {
		if (rx_chain(net, q, np, discard, &pkts[got]) <= 0)
			break;
		*taken += 1;
		if (!pkts[got])
			continue;
		dpu_counter_add(&np->stats.rx_bytes, pkts[got]->pkt_len);
		got++;
	} while (np->lent.n && np->lent.n < VHO_BURST && *taken < n);
	return got;
}

/* RARP request that announces the guest's address after a migration (VHOST_USER_SEND_RARP). */
__attribute__((cold, noinline)) static struct rte_mbuf *make_rarp(struct vho_net *net)
{
	static const uint8_t fixed[] = { 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };
	struct rte_mbuf *m = rte_pktmbuf_alloc(net->pool);
	uint8_t *p;

	if (!m)
		return NULL;
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memset(p, 0, 60);
	memset(p, 0xff, 6);
	memcpy(p + 6, net->rarp_mac, 6);
	memcpy(p + 12, fixed, sizeof(fixed));
	memcpy(p + 22, net->rarp_mac, 6); // sender
	memcpy(p + 32, net->rarp_mac, 6); // target
	m->data_len = 60;
	m->pkt_len = 60;
	return m;
}

static inline void notify(struct vho_net *net, struct vho_queue *q, unsigned idx)
{
	if (likely(!atomic_load_explicit(&net->coalescing, memory_order_relaxed)))
		vho_queue_notify(q);
	else
		vho_net_notify_later(net, idx);
}

static inline bool queue_serves(struct vho_queue *q)
{
	if (unlikely(!q->running || q->broken || !q->mem))
		return false;
	if (unlikely(vho_queue_faulted(q))) {
		(void)vho_queue_fail(q, VHO_QUEUE_ERR_MEM_FAULT, -EFAULT);
		return false;
	}
	return true;
}

/*
 * Packets were taken, fewer than there was room for: wait until a burst has gathered at the rate at
 * which they came, but not long, and not at all when only a few would come meanwhile.
 */
static inline void rest_set(struct vho_rest *r, uint64_t max, unsigned taken)
{
	uint64_t now = rte_rdtsc(), since = now - r->taken_tsc;

	r->taken_tsc = now;
	if (taken >= VHO_BURST || since * REST_WORTH > max * taken)
		return;
	since = since * VHO_BURST / taken;
	r->until_tsc = now + (since < max ? since : max);
}

/*
 * What until_tsc says is due before the ring is looked at: chains to give back, a rest. False: it
 * goes on.
 */
static __attribute__((noinline)) bool rx_resume(struct vho_net *net, uint16_t pair)
{
	struct vho_queue *q = &net->dev.queues[2u * pair + 1].q;
	struct vho_net_pair *np = &net->pairs[pair];

	if (np->lent.n) {
		vho_lent_return(&np->lent, q);
		notify(net, q, 2u * pair + 1);
	}
	if (rte_rdtsc() < np->rest.until_tsc)
		return false;
	np->rest.until_tsc = 0;
	return true;
}

uint16_t vho_net_rx(struct vho_net *net, uint16_t pair, struct rte_mbuf **pkts, uint16_t n)
{
	struct vho_dev_queue *dq = &net->dev.queues[2u * pair + 1];
	struct vho_net_pair *np = &net->pairs[pair];
	struct vho_net_stats *st = &np->stats;
	struct vho_queue *q = &dq->q;
	unsigned got = 0, left = n, first;

	if (unlikely(np->rest.until_tsc) && !rx_resume(net, pair))
		return 0;
	if (!queue_serves(q))
		return 0;
	if (unlikely(pair == 0 && n > 0 &&
		     atomic_load_explicit(&net->rarp_due, memory_order_acquire))) {
		pkts[0] = make_rarp(net);
		got = pkts[0] != NULL;
		left -= got;
		if (got)
			atomic_store_explicit(&net->rarp_due, false, memory_order_release);
	}
	first = left;
	while (left) {
		unsigned taken = 0, k;
		bool odd = true;

		if (likely(dq->enabled && vho_burst_ok(q))) {
			unsigned most = left < VHO_BURST ? left : VHO_BURST;

			k = net->fast->rx(net, q, np, pkts + got, most, &taken, &odd);
			got += k;
			left -= taken;
			if (!odd && taken < most)
				break; // nothing left that was there when we looked
			if (!odd)
				continue;
		}
		got += rx_general(net, q, np, !dq->enabled, pkts + got, left, &taken);
		left -= taken;
		if (taken == 0 || np->lent.n)
			break;
	}
	if (left == first)
		return (uint16_t)got;
	notify(net, q, 2u * pair + 1);
	rest_set(&np->rest, net->rest_tsc, n - left);
	dpu_counter_add(&st->rx_packets, got);
	return (uint16_t)got;
}

/* ---- card to guest ---- */

/* Where the queue stood, so that buffers popped for a packet that does not fit can be put back. */
struct tx_pos {
	uint16_t next_avail, pop_order;
	bool avail_wrap;
};

static void put_back(
	struct vho_queue *q, const struct tx_pos *pos, const struct vho_elem *e, unsigned n)
{
	if (!q->inflight) {
		q->next_avail = pos->next_avail;
		q->avail_wrap = pos->avail_wrap;
		q->pop_order = pos->pop_order;
		return;
	}
	// The inflight region already has them: the driver gets them back empty instead.
	for (unsigned i = 0; i < n; i++)
		vho_queue_push(q, &e[i], 0);
	vho_queue_publish(q);
}

void vho_net_hdr_put(const struct vho_net *net, uint8_t *to, uint32_t hdr_len, const vho_net_hdr *h,
	const struct rte_mbuf *m)
{
	struct virtio_net_hdr_v1_hash full = { .hdr = *h };
	const struct vho_net_hash *hash;
	uint16_t report;

	if (hdr_len == sizeof(full)) {
		hash = vho_net_ctrl_hash(&net->ctrl);
		if (hash) {
			full.hash_value = htole32(vho_net_hash_frame(
				hash, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &report));
			full.hash_report = htole16(report);
		}
	}
	memcpy(to, &full, hdr_len);
}

static void write_packet(
	struct vho_seg_cur *c, const uint8_t *hdr, uint32_t hdr_len, const struct rte_mbuf *m)
{
	vho_seg_write(c, hdr, hdr_len);
	for (; m; m = m->next)
		vho_seg_write(c, rte_pktmbuf_mtod(m, const void *), m->data_len);
}

/* One packet the general way. 0, or the reason why it is dropped: a VHO_NET_DROP_, plus 1. */
static unsigned tx_general(const struct vho_net *net, struct vho_queue *q, const vho_net_hdr *hdr,
	const struct rte_mbuf *m)
{
	uint32_t hdr_len = vho_net_hdr_len(q->features), left = hdr_len + m->pkt_len;
	bool merge = vho_net_has(q->features, VIRTIO_NET_F_MRG_RXBUF);
	struct tx_pos pos = { q->next_avail, q->pop_order, q->avail_wrap };
	struct iovec iov[SEGMENTS_MAX];
	struct vho_elem elem[MERGE_MAX];
	uint8_t wire[VHO_NET_HDR_MAX];
	uint32_t room[MERGE_MAX];
	uint16_t used = 0, looked = 0, n = 0;
	vho_net_hdr h = *hdr;

	for (uint64_t sum = 0; sum < left; n++) {
		struct vho_chain c = { .iov = iov + used,
			.max = (uint16_t)(SEGMENTS_MAX - looked) };
		int ret;

		if (n == (merge ? MERGE_MAX : 1)) {
			put_back(q, &pos, elem, n);
			return VHO_NET_DROP_TX_TOO_BIG + 1;
		}
		ret = vho_queue_pop(q, &c);
		if (ret < 0)
			return VHO_NET_DROP_TX_BAD_RING + 1;
		if (ret == 0) {
			put_back(q, &pos, elem, n);
			return VHO_NET_DROP_TX_NO_BUFFER + 1;
		}
		// 5.1.6.3.1: buffers here are for the device to write, the smallest has 1526 bytes.
		// What holds nothing would be looked at again for every packet.
		if (c.n_out || c.in_len == 0) {
			(void)vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG);
			return VHO_NET_DROP_TX_BAD_RING + 1;
		}
		elem[n] = c.elem;
		room[n] = (uint32_t)c.in_len;
		used = (uint16_t)(used + c.n_in);
		looked = (uint16_t)(looked + c.n_in + c.n_empty);
		sum += c.in_len;
	}
	h.num_buffers = htole16(n);
	vho_net_hdr_put(net, wire, hdr_len, &h, m);
	write_packet(&(struct vho_seg_cur){ .v = iov }, wire, hdr_len, m);
	for (unsigned i = 0; i < n; i++) {
		uint32_t part = left < room[i] ? left : room[i];

		vho_queue_push(q, &elem[i], part);
		left -= part;
	}
	vho_queue_publish(q);
	return 0;
}

/* The header that a packet goes with: 0, or -ENOTSUP. */
static int tx_header(const struct vho_net *net, struct rte_mbuf *m, vho_net_hdr *h)
{
	if (vho_net_hdr_plain(m)) {
		memset(h, 0, sizeof(*h));
		h->num_buffers = htole16(1);
		return 0;
	}
	return vho_net_hdr_make(
		m, atomic_load_explicit(&net->ctrl.guest_offloads, memory_order_relaxed), h);
}

/* At most VHO_BURST packets that passed the filter. Returns how many were delivered. */
static unsigned tx_burst(struct vho_net *net, struct vho_queue *q, struct vho_net_pair *np,
	struct rte_mbuf **pkts, unsigned n)
{
	struct vho_net_stats *st = &np->stats;
	unsigned sent = 0, i = 0;
	uint64_t bytes = 0;

	if (unlikely(np->hold.n)) {
		i = vho_hold_keep(net, &np->hold, pkts, n);
		vho_net_drop_count(st, VHO_NET_DROP_TX_NO_BUFFER, n - i);
		return 0;
	}
	while (i < n) {
		enum vho_net_drop why = VHO_NET_DROP_TX_TOO_BIG;
		unsigned k = 0, drop;
		vho_net_hdr h;

		if (likely(vho_burst_ok(q)))
			k = net->fast->tx(net, q, np, pkts + i, n - i, &bytes);
		sent += k;
		i += k;
		if (i == n)
			break;
		drop = tx_header(net, pkts[i], &h) ? why + 1u : tx_general(net, q, &h, pkts[i]);
		if (drop == 0) {
			bytes += pkts[i++]->pkt_len;
			sent++;
			continue;
		}
		why = drop - 1;
		if (why == VHO_NET_DROP_TX_NO_BUFFER && vho_hold_waits(q)) {
			i += vho_hold_keep(net, &np->hold, pkts + i, n - i);
			vho_net_drop_count(st, why, n - i);
			break;
		}
		// What is too long for this ring now does not keep a shorter packet from it; an
		// empty or broken ring stays so for the rest of the burst.
		k = why != VHO_NET_DROP_TX_TOO_BIG && !vho_queue_ready(q) ? n - i : 1;
		vho_net_drop_count(st, why, k);
		i += k;
	}
	dpu_counter_add(&st->tx_bytes, bytes);
	dpu_counter_add(&st->tx_packets, sent);
	return sent;
}

/* refcnt and nb_segs, as they stand in the word that starts with data_off; both 1 in that word. */
#define WHOLE_MASK (0xffffffffULL << 16)
#define WHOLE_WANT (0x00010001ULL << 16)
static_assert(offsetof(struct rte_mbuf, refcnt) == offsetof(struct rte_mbuf, data_off) + 2 &&
		      offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, data_off) + 4,
	"one word has all three");

/*
 * Free packets: whole, unshared ones of one pool in one go. Looks at nothing but the first cache
 * line of each.
 */
static void free_packets(struct rte_mbuf **pkts, unsigned n)
{
	struct rte_mempool *pool = n ? pkts[0]->pool : NULL;
	uint64_t other = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct rte_mbuf *m = pkts[i];
		const void *at = &m->data_off;
		uint64_t word = le64toh(__atomic_load_n((const vho_word *)at, __ATOMIC_RELAXED));

		other |= ((word ^ WHOLE_WANT) & WHOLE_MASK) |
			 ((uintptr_t)m->pool ^ (uintptr_t)pool) |
			 (m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL));
	}
	if (unlikely(other))
		rte_pktmbuf_free_bulk(pkts, n);
	else if (n)
		rte_mempool_put_bulk(pool, (void **)pkts, n);
}

/* What waited goes first; what still has no buffer waits on. */
static __attribute__((noinline)) unsigned tx_held(
	struct vho_net *net, struct vho_queue *q, struct vho_net_pair *np)
{
	struct rte_mbuf *pkts[VHO_HOLD_PACKETS];
	unsigned n = vho_hold_take(&np->hold, pkts), sent = 0;

	for (unsigned i = 0; i < n; i += VHO_BURST)
		sent += tx_burst(net, q, np, pkts + i, n - i < VHO_BURST ? n - i : VHO_BURST);
	rte_pktmbuf_free_bulk(pkts, n);
	return sent;
}

bool vho_net_holds(const struct vho_net *net)
{
	return vho_net_has(net->dev.features, VIRTIO_F_ACCESS_PLATFORM);
}

unsigned vho_net_tx_resume(struct vho_net *net, uint16_t pair)
{
	struct vho_queue *q = &net->dev.queues[2u * pair].q;
	struct vho_net_pair *np = &net->pairs[pair];
	unsigned sent;

	if (np->hold.n == 0 || !queue_serves(q) || vho_hold_waits(q))
		return 0;
	sent = tx_held(net, q, np);
	notify(net, q, 2u * pair);
	return sent;
}

void vho_net_tx_forget(struct vho_net *net, uint16_t pair)
{
	struct rte_mbuf *pkts[VHO_HOLD_PACKETS];
	unsigned n = vho_hold_take(&net->pairs[pair].hold, pkts);

	vho_net_drop_count(&net->pairs[pair].stats, VHO_NET_DROP_TX_NOT_RUNNING, n);
	rte_pktmbuf_free_bulk(pkts, n);
}

uint16_t vho_net_tx(struct vho_net *net, uint16_t pair, struct rte_mbuf **pkts, uint16_t n)
{
	struct vho_queue *q = &net->dev.queues[2u * pair].q;
	struct vho_net_pair *np = &net->pairs[pair];
	struct vho_net_stats *st = &np->stats;
	const struct vho_net_filter *filter;
	unsigned sent = 0;

	if (unlikely(!queue_serves(q))) {
		vho_net_drop_count(
			st, q->broken ? VHO_NET_DROP_TX_BAD_RING : VHO_NET_DROP_TX_NOT_RUNNING, n);
		rte_pktmbuf_free_bulk(pkts, n);
		return 0;
	}
	if (unlikely(np->hold.n) && !vho_hold_waits(q))
		sent = tx_held(net, q, np);
	filter = vho_net_ctrl_filter(&net->ctrl);
	for (unsigned i = 0; i < n; i += VHO_BURST) {
		unsigned m = n - i < VHO_BURST ? n - i : VHO_BURST, kept = 0;
		struct rte_mbuf *pass[VHO_BURST];

		if (likely(!filter)) {
			sent += tx_burst(net, q, np, pkts + i, m);
			continue;
		}
		for (unsigned k = i; k < i + m; k++)
			if (vho_net_filter_pass(filter, rte_pktmbuf_mtod(pkts[k], const uint8_t *),
				    pkts[k]->data_len))
				pass[kept++] = pkts[k];
		if (kept < m)
			vho_net_drop_count(st, VHO_NET_DROP_TX_FILTERED, m - kept);
		sent += tx_burst(net, q, np, pass, kept);
	}
	free_packets(pkts, n);
	return (uint16_t)sent;
}

void vho_net_tx_notify(struct vho_net *net, uint16_t pair)
{
	struct vho_queue *q = &net->dev.queues[2u * pair].q;

	if (likely(q->running && !q->broken))
		notify(net, q, 2u * pair);
}
