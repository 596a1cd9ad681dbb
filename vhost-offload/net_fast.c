// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-net bursts on the rings. Compiled several times: VHO_ISA names the level of vector
 * instructions, the compiler's options allow them.
 */
#include "net_fast.h"

#include <errno.h>

#ifdef __AVX512BW__
#include <immintrin.h>
#endif

#define JOIN(a, b) a##b
#define JOIN2(a, b) JOIN(a, b)
#define COPY_ALIGN_MIN 256u
#define COPY_INLINE_MAX 2048u // longer copies go to the C library

/*
 * Copy a frame of at least VHO_NET_FRAME_MIN bytes, never touching a byte outside [0, len) on
 * either side. The last block overlaps the one before. Guest memory may change meanwhile: then the
 * guest gets what it asked for.
 */
static inline void copy_frame(uint8_t *to, const uint8_t *from, uint32_t len)
{
#ifdef __AVX512BW__
	if (likely(len <= 64)) {
		__mmask64 k = ~0ULL >> (64 - len);

		_mm512_mask_storeu_epi8(to, k, _mm512_maskz_loadu_epi8(k, from));
		return;
	}
#endif
	if (unlikely(len > COPY_INLINE_MAX)) {
		memcpy(to, from, len);
		return;
	}
	if (likely(len >= 64)) {
		uint32_t i = 0;

		if (len > COPY_ALIGN_MIN) { // stores that cross no line
			memcpy(to, from, 64);
			i = 64 - ((uintptr_t)to & 63);
		}
		for (; i + 64 < len; i += 64)
			memcpy(to + i, from + i, 64);
		memcpy(to + len - 64, from + len - 64, 64);
	} else if (len >= 32) {
		memcpy(to, from, 32);
		memcpy(to + len - 32, from + len - 32, 32);
	} else if (len >= 16) {
		memcpy(to, from, 16);
		memcpy(to + len - 16, from + len - 16, 16);
	} else {
		memcpy(to, from, 8);
		memcpy(to + len - 8, from + len - 8, 8);
	}
}

/* ---- from the guest ---- */

/*
 * A packet of one segment in an mbuf fresh from its pool, as rte_pktmbuf_reset() makes it, but for
 * what only offload requests use (set with them) and what a pool keeps as it is: `next` and the
 * rest of the mbuf's second cache line.
 */
static inline void start_mbuf(struct rte_mbuf *m, uint32_t len)
{
	// data_off, refcnt, nb_segs, port: a pool keeps the two in the middle at 1
	static const uint16_t rearm[4] = { RTE_PKTMBUF_HEADROOM, 1, 1, RTE_MBUF_PORT_INVALID };

	memcpy(&m->rearm_data, rearm, sizeof(rearm));
	m->ol_flags = 0;
	m->packet_type = 0;
	m->vlan_tci = 0;
	m->data_len = (uint16_t)len;
	m->pkt_len = len;
}

/* The guest's header as it was in one moment, and whether it asks for anything. */
static inline bool load_header(const uint8_t *at, vho_net_hdr *h)
{
	memset(h, 0, sizeof(*h));
	memcpy(h, at, sizeof(struct virtio_net_hdr));
	return vho_net_hdr_asks(h);
}

/* How many of k frames, from the first on, have VHO_NET_FRAME_MIN to max bytes. */
static inline unsigned lengths_ok(const uint32_t *len, unsigned k, uint32_t max)
{
	uint32_t span = max - VHO_NET_FRAME_MIN, wrong = 0;
	unsigned i;

	for (i = 0; i < k; i++)
		wrong |= len[i] - VHO_NET_FRAME_MIN > span;
	if (likely(!wrong))
		return k;
	for (i = 0; len[i] - VHO_NET_FRAME_MIN <= span; i++)
		;
	return i;
}

static unsigned rx(struct vho_net *net, struct vho_queue *q, struct vho_net_pair *pair,
	struct rte_mbuf **pkts, unsigned n, unsigned *taken, bool *odd)
{
	static const uint32_t none[VHO_BURST];
	uint32_t hdr_len = vho_net_hdr_len(q->features), max;
	struct vho_stage *st = &pair->from_guest;
	unsigned got = 0, i, k;
	uint64_t bytes = 0;

	*taken = 0;
	if (q->staged < n && !q->staged_odd)
		vho_stage_more(q, st, n, 0, hdr_len);
	k = q->staged < n ? q->staged : n;
	max = atomic_load_explicit(&net->frame_max, memory_order_relaxed);
	max = max < net->mbuf_room ? max : net->mbuf_room;
	i = lengths_ok(st->room, k, max);
	*odd = i < k || (k < n && q->staged_odd);
	k = i;
	if (k == 0)
		return 0;
	if (unlikely(rte_mempool_get_bulk(net->pool, (void **)pkts, k))) {
		*odd = true; // one by one, until the pool is really empty
		return 0;
	}
	for (i = 0; i < k; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t len = st->room[i];
		vho_net_hdr h;

		copy_frame((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM, st->data[i], len);
		start_mbuf(m, len);
		if (unlikely(load_header(st->hdr[i], &h)) &&
			vho_net_hdr_apply(&h, q->features, m)) {
			vho_net_drop_count(&pair->stats, VHO_NET_DROP_RX_BAD_OFFLOAD, 1);
			rte_pktmbuf_free(m);
			continue;
		}
		bytes += len;
		if (unlikely(got != i))
			pkts[got] = m;
		got++;
	}
	vho_finish(q, st, k, 0, none);
	if (k == n) { // more is likely there; else the driver writes there now
		if (!q->packed)
			vho_ahead_split(q);
		if (!q->staged_odd)
			vho_stage_more(q, st, VHO_BURST, 0, hdr_len);
	}
	dpu_counter_add(&q->stats.requests, k);
	dpu_counter_add(&pair->stats.rx_bytes, bytes);
	*taken = k;
	return got;
}

/* ---- to the guest ---- */

/* The same for drivers that have another header than most. */
static __attribute__((noinline, cold)) void put_other_header(
	const struct vho_net *net, const struct rte_mbuf *m, uint8_t *to, uint32_t hdr_len)
{
	const vho_net_hdr plain = { .num_buffers = htole16(1) };

	vho_net_hdr_put(net, to, hdr_len, &plain, m);
}

/*
 * Write the header of a packet without offloads, unless the buffer already holds it: buffers come
 * round again, and a line that is only read can stay in both cores' caches. The bytes are constants
 * on purpose: a header built in memory and read back in other widths has to wait there until every
 * store before it, into the guest's buffers, is done.
 */
static inline void put_plain_header(
	const struct vho_net *net, const struct rte_mbuf *m, uint8_t *to, uint32_t hdr_len)
{
	const uint64_t head = 0; // flags to csum_start
	const uint32_t tail = htole32(1u << 16); // csum_offset, num_buffers
	uint64_t had;
	uint32_t had_tail;

	if (unlikely(hdr_len != sizeof(vho_net_hdr))) {
		put_other_header(net, m, to, hdr_len);
		return;
	}
	memcpy(&had, to, sizeof(had));
	memcpy(&had_tail, to + sizeof(head), sizeof(tail));
	if (had == head && had_tail == tail)
		return;
	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), &tail, sizeof(tail));
}

/* Anything but a short packet of one segment that asks for nothing. False: it does not fit. */
static __attribute__((noinline)) bool put_odd(const struct vho_net *net, struct rte_mbuf *m,
	const struct vho_stage *st, unsigned i, uint32_t hdr_len)
{
	uint8_t *to = st->data[i];
	vho_net_hdr h;

	if (m->pkt_len > st->room[i])
		return false;
	if (vho_net_hdr_plain(m)) {
		put_plain_header(net, m, st->hdr[i], hdr_len);
	} else {
		if (vho_net_hdr_make(m,
			    atomic_load_explicit(&net->ctrl.guest_offloads, memory_order_relaxed),
			    &h))
			return false;
		vho_net_hdr_put(net, st->hdr[i], hdr_len, &h, m);
	}
	for (const struct rte_mbuf *seg = m; seg; seg = seg->next) {
		memcpy(to, rte_pktmbuf_mtod(seg, const void *), seg->data_len);
		to += seg->data_len;
	}
	return true;
}

static unsigned tx(struct vho_net *net, struct vho_queue *q, struct vho_net_pair *pair,
	struct rte_mbuf **pkts, unsigned n, uint64_t *bytes)
{
	uint32_t hdr_len = vho_net_hdr_len(q->features), written[VHO_BURST];
	struct vho_stage *st = &pair->to_guest;
	uint64_t sum = 0;
	unsigned i, k;

	if (q->staged < n && !q->staged_odd)
		vho_stage_more(q, st, n, VRING_DESC_F_WRITE, hdr_len);
	k = q->staged < n ? q->staged : n;
	for (i = 0; i < k; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t len = m->pkt_len;

		if (likely(m->nb_segs == 1 && len <= st->room[i] && len >= VHO_NET_FRAME_MIN &&
			    vho_net_hdr_plain(m))) {
			put_plain_header(net, m, st->hdr[i], hdr_len);
			copy_frame(st->data[i], rte_pktmbuf_mtod(m, const uint8_t *), len);
		} else if (!put_odd(net, m, st, i, hdr_len)) {
			break;
		}
		written[i] = hdr_len + len;
		sum += len;
	}
	if (i == 0)
		return 0;
	*bytes += sum;
	vho_finish(q, st, i, VRING_DESC_F_WRITE, written);
	if (!q->packed)
		vho_ahead_split(q);
	if (!q->staged_odd)
		vho_stage_more(q, st, VHO_BURST, VRING_DESC_F_WRITE, hdr_len);
	dpu_counter_add(&q->stats.requests, i);
	return i;
}

#define STRING(x) #x
#define STRING2(x) STRING(x)

const struct vho_net_fast JOIN2(vho_net_fast_, VHO_ISA);
const struct vho_net_fast JOIN2(vho_net_fast_, VHO_ISA) = {
	.name = STRING2(VHO_ISA),
	.rx = rx,
	.tx = tx,
};
