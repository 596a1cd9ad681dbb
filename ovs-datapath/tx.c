// SPDX-License-Identifier: Apache-2.0
/* Sending: lanes, hand-over between workers, and what a port cannot do itself. */
#include "tx.h"

#include <rte_cycles.h>

#include "gro.h"
#include "ring.h"
#include "sw_offload.h"

#define ETH_LEN 14u
#define VLAN_LEN 4u

/* ---- packets that need work before a port can take them ---- */

/* One transmit queue being written by its owner. */
struct out {
	struct odp_worker *w;
	struct odp_pw *pw;
	uint16_t txq;
	uint64_t caps;
	uint16_t n;
	uint64_t bytes;
	struct rte_mbuf *pkts[ODP_BURST];
};

static void send_burst(
	struct odp_pw *pw, uint16_t txq, struct rte_mbuf **pkts, uint16_t n, uint64_t bytes)
{
	const struct odp_port_conf *conf = &pw->port->conf;
	uint16_t sent = conf->ops->tx(conf->drv, txq, pkts, n);

	if (unlikely(sent < n)) {
		// The driver does not say which ones it refused: bytes are shared out evenly.
		dpu_counter_add(&pw->drops[ODP_DROP_TX_FULL], n - sent);
		bytes = bytes * sent / n;
	}
	dpu_counter_add(&pw->tx_packets, sent);
	dpu_counter_add(&pw->tx_bytes, bytes);
}

static void out_flush(struct out *o)
{
	if (o->n > 0)
		send_burst(o->pw, o->txq, o->pkts, o->n, o->bytes);
	o->n = 0;
	o->bytes = 0;
}

static bool too_long(const struct rte_mbuf *m, uint64_t caps)
{
	uint32_t max = odp_caps_mtu(caps) + ETH_LEN;

	if (m->pkt_len <= max)
		return false;
	if (m->data_len < ETH_LEN)
		return true;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned type = (unsigned)p[12] << 8 | p[13];

	return m->pkt_len > max + (type == 0x8100 || type == 0x88a8 ? VLAN_LEN : 0);
}

/* A packet that is no GSO frame, or one that the port takes. */
static void out_plain(struct out *o, struct rte_mbuf *m)
{
	struct rte_mempool *pool = o->w->dp->conf.pool;

	if ((m->ol_flags & ODP_F_LENT) && !(o->caps & CAPS_LENT)) {
		m = odp_own(m, pool);
		if (!m) {
			dpu_counter_add(&o->pw->drops[ODP_DROP_NO_MBUF], 1);
			return;
		}
	}
	if (!(o->caps & CAPS_MULTI_SEG) && m->nb_segs > 1) {
		m = odp_linearize(m, pool);
		if (!m) {
			dpu_counter_add(&o->pw->drops[ODP_DROP_NO_MBUF], 1);
			return;
		}
	}
	if (!(o->caps & CAPS_CSUM) && (m->ol_flags & ODP_F_L4_CSUM)) {
		m = odp_unshare(m, pool);
		if (!m) {
			dpu_counter_add(&o->pw->drops[ODP_DROP_NO_MBUF], 1);
			return;
		}
		if (odp_csum_complete(m) < 0) {
			odp_drop_one(o->pw, ODP_DROP_CSUM, m);
			return;
		}
	}
	o->pkts[o->n++] = m;
	o->bytes += m->pkt_len;
	if (o->n == ODP_BURST)
		out_flush(o);
}

static void out_segments(struct out *o, struct rte_mbuf *m)
{
	struct rte_mbuf *seg[ODP_BURST];
	struct odp_seg s;
	int n;

	if (odp_seg_init(&s, m, o->w->dp->conf.pool) < 0) {
		odp_drop_one(o->pw, ODP_DROP_GSO, m);
		return;
	}
	if (s.hdr_len - m->l2_len + RTE_MIN(s.size, s.payload) > odp_caps_mtu(o->caps)) {
		odp_drop_one(o->pw, ODP_DROP_MTU, m);
		return;
	}
	while ((n = odp_seg_next(&s, seg, ODP_BURST)) > 0)
		for (int i = 0; i < n; i++)
			out_plain(o, seg[i]);
	if (n < 0)
		dpu_counter_add(&o->pw->drops[ODP_DROP_NO_MBUF], 1);
	odp_seg_fini(&s);
}

static uint64_t gso_cap(const struct rte_mbuf *m)
{
	bool v6 = m->ol_flags & RTE_MBUF_F_TX_IPV6;

	if (m->ol_flags & RTE_MBUF_F_TX_UDP_SEG)
		return CAPS_CSUM | (v6 ? CAPS_USO6 : CAPS_USO4);
	return CAPS_CSUM | (v6 ? CAPS_TSO6 : CAPS_TSO4);
}

/* Would the port's segments of this GSO frame be longer than its MTU? */
static bool segments_too_long(const struct rte_mbuf *m, uint64_t caps)
{
	uint32_t l3 = m->l2_len, max = (uint32_t)m->l3_len + m->l4_len + m->tso_segsz;

	return max > odp_caps_mtu(caps) && m->pkt_len > odp_caps_mtu(caps) + l3;
}

static void send_checked(struct odp_worker *w, struct odp_pw *pw, uint16_t txq, uint64_t caps,
	struct rte_mbuf **pkts, uint16_t n)
{
	struct out o = { .w = w, .pw = pw, .txq = txq, .caps = caps };

	for (uint16_t i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (m->ol_flags & ODP_F_GSO) {
			uint64_t need = gso_cap(m);

			if ((caps & need) != need)
				out_segments(&o, m);
			else if (segments_too_long(m, caps))
				odp_drop_one(pw, ODP_DROP_MTU, m);
			else
				out_plain(&o, m);
		} else if (too_long(m, caps)) {
			odp_drop_one(pw, ODP_DROP_MTU, m);
		} else {
			out_plain(&o, m);
		}
	}
	out_flush(&o);
}

/* ---- lanes ---- */

static void mark_sent(struct odp_worker *w, struct odp_lane *l)
{
	if (l->flush)
		return;
	l->flush = true;
	l->next_sent = w->sent;
	w->sent = l;
}

/* Send on a queue of ours. What is true of all packets decides whether any needs a closer look. */
static void lane_send(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf **pkts,
	const struct odp_sums *sums)
{
	struct odp_pw *pw = l->pw;
	uint64_t caps = odp_caps(pw->port);
	uint64_t work = ODP_F_GSO | ODP_F_LENT | (caps & CAPS_CSUM ? 0 : ODP_F_L4_CSUM);
	struct odp_sums merged;

	if (unlikely(!(caps & CAPS_UP))) {
		odp_drop(pw, ODP_DROP_PORT_GONE, pkts, sums->n);
		return;
	}
	if ((caps & CAPS_GRO) && sums->n > 1 && sums->max_len >= ODP_GRO_FRAME_MIN) {
		merged = *sums;
		odp_gro(pw, caps, pkts, &merged);
		sums = &merged;
	}
	if (unlikely((sums->or_flags & work) || sums->max_len > odp_caps_mtu(caps) + ETH_LEN ||
		     (sums->or_segs > 1 && !(caps & CAPS_MULTI_SEG))))
		send_checked(w, pw, l->txq, caps, pkts, sums->n);
	else
		send_burst(pw, l->txq, pkts, sums->n, sums->bytes);
	mark_sent(w, l);
}

unsigned odp_own_all(struct odp_worker *w, struct odp_pw *pw, struct rte_mbuf **pkts, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		pkts[kept] = odp_own(pkts[i], w->dp->conf.pool);
		kept += pkts[kept] != NULL;
	}
	if (kept < n)
		dpu_counter_add(&pw->drops[ODP_DROP_NO_MBUF], n - kept);
	return kept;
}

static void lane_handover(struct odp_worker *w, struct odp_lane *l, int owner,
	struct rte_mbuf **pkts, const struct odp_sums *sums)
{
	struct odp_worker *to = w->dp->worker[owner];
	struct rte_ring *r = l->pw->port->txq[l->txq].ring;
	unsigned n = sums->n;

	if (unlikely(sums->or_flags & ODP_F_LENT))
		n = odp_own_all(w, l->pw, pkts, n);

	unsigned put = odp_ring_put(r, pkts, n);

	if (put < n)
		odp_drop(l->pw, ODP_DROP_HANDOVER_FULL, pkts + put, n - put);
	if (put == 0)
		return;
	// In one order with odp_worker_arm(): either it sees the mark or we see it asleep.
	atomic_store_explicit(&to->handed, true, memory_order_seq_cst);
	if (atomic_load_explicit(&to->asleep, memory_order_seq_cst) && w->dp->conf.wake)
		w->dp->conf.wake(w->dp->conf.host_arg, to->idx);
}

/* Packets leave a lane, its own or such as did not have to wait in it. */
static void lane_give_now(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf **pkts,
	const struct odp_sums *sums)
{
	const struct odp_txq *q = &l->pw->port->txq[l->txq];
	int owner = atomic_load_explicit(&q->owner, memory_order_relaxed);

	if (likely(owner == (int)w->idx))
		lane_send(w, l, pkts, sums);
	else if (owner >= 0)
		lane_handover(w, l, owner, pkts, sums);
	else
		odp_drop(l->pw, ODP_DROP_PORT_GONE, pkts, sums->n);
}

/* The same, in a turn that is timed. */
static __rte_noinline void lane_give_timed(struct odp_worker *w, struct odp_lane *l,
	struct rte_mbuf **pkts, const struct odp_sums *sums)
{
	uint64_t tsc = rte_rdtsc();

	lane_give_now(w, l, pkts, sums);
	w->stages.tx += rte_rdtsc() - tsc;
}

static inline void lane_give(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf **pkts,
	const struct odp_sums *sums)
{
	if (unlikely(w->stages.on))
		lane_give_timed(w, l, pkts, sums);
	else
		lane_give_now(w, l, pkts, sums);
}

static void lane_flush(struct odp_worker *w, struct odp_lane *l)
{
	if (l->sums.n == 0)
		return;
	lane_give(w, l, l->pkts, &l->sums);
	l->sums = (struct odp_sums){ 0 };
}

/* The lane for packets that may go on any queue. */
static struct odp_lane *choose(struct odp_worker *w, struct odp_pw *out, uint16_t rxq)
{
	const struct odp_port *p = out->port;
	uint16_t n = p->conf.n_txq;

	if (rxq < n &&
		atomic_load_explicit(&p->txq[rxq].owner, memory_order_relaxed) == (int)w->idx)
		return &out->lane[rxq];
	if (out->n_own > 0)
		return &out->lane[out->own[rxq % out->n_own]];
	for (uint16_t i = 0; i < n; i++) {
		uint16_t q = (uint16_t)((w->idx + rxq + i) % n);

		if (atomic_load_explicit(&p->txq[q].owner, memory_order_relaxed) >= 0)
			return &out->lane[q];
	}
	return &out->lane[0];
}

static void lane_list(struct odp_worker *w, struct odp_lane *l)
{
	if (l->listed)
		return;
	l->listed = true;
	l->next_dirty = w->dirty;
	w->dirty = l;
}

void odp_lane_put_all(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf **pkts,
	const struct odp_sums *sums)
{
	if (l->sums.n + sums->n > ODP_BURST)
		lane_flush(w, l);
	if (sums->n == ODP_BURST) {
		lane_give(w, l, pkts, sums);
		return;
	}
	if (sums->n == 1)
		l->pkts[l->sums.n] = pkts[0];
	else
		memcpy(&l->pkts[l->sums.n], pkts, sums->n * sizeof(pkts[0]));
	odp_sums_join(&l->sums, sums);
	lane_list(w, l);
	if (l->sums.n == ODP_BURST)
		lane_flush(w, l);
}

void odp_lane_put(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf *m)
{
	// Never full between two calls.
	l->pkts[l->sums.n] = m;
	odp_sums_add(&l->sums, m);
	lane_list(w, l);
	if (l->sums.n == ODP_BURST)
		lane_flush(w, l);
}

/* The lane of a queue that the port asked for; of another where nobody serves it and it may be. */
static struct odp_lane *lane_for(
	struct odp_worker *w, struct odp_pw *out, uint16_t rxq, uint16_t txq)
{
	const struct odp_port *p = out->port;

	if (txq != ODP_TXQ_ANY && (txq & ODP_TXQ_ONLY) && (txq & ~ODP_TXQ_ONLY) < p->conf.n_txq)
		return &out->lane[txq & ~ODP_TXQ_ONLY];
	if (txq < p->conf.n_txq &&
		atomic_load_explicit(&p->txq[txq].owner, memory_order_relaxed) >= 0)
		return &out->lane[txq];
	return choose(w, out, rxq);
}

static bool steers(const struct odp_pw *out, struct rte_mbuf **pkts, uint16_t n, uint16_t *txq)
{
	const struct odp_port_conf *conf = &out->port->conf;

	return conf->n_txq > 1 && conf->ops->steer && conf->ops->steer(conf->drv, pkts, n, txq);
}

void odp_spread(struct odp_worker *w, struct odp_pw *out, uint16_t rxq, struct rte_mbuf **pkts,
	const struct odp_sums *sums)
{
	uint16_t txq[ODP_BURST];

	if (!steers(out, pkts, sums->n, txq)) {
		odp_lane_put_all(w, choose(w, out, rxq), pkts, sums);
		return;
	}
	for (unsigned i = 0; i < sums->n; i++)
		odp_lane_put(w, lane_for(w, out, rxq, txq[i]), pkts[i]);
}

void odp_spread_one(struct odp_worker *w, struct odp_pw *out, uint16_t rxq, struct rte_mbuf *m)
{
	uint16_t txq = ODP_TXQ_ANY;

	odp_lane_put(
		w, steers(out, &m, 1, &txq) ? lane_for(w, out, rxq, txq) : choose(w, out, rxq), m);
}

void odp_lanes_flush(struct odp_worker *w)
{
	while (w->dirty) {
		struct odp_lane *l = w->dirty;

		w->dirty = l->next_dirty;
		l->listed = false;
		lane_flush(w, l);
	}
	while (w->sent) {
		struct odp_lane *l = w->sent;
		const struct odp_port_conf *conf = &l->pw->port->conf;

		w->sent = l->next_sent;
		l->flush = false;
		if (conf->ops->tx_flush)
			conf->ops->tx_flush(conf->drv, l->txq);
	}
}

unsigned odp_handed_poll(struct odp_worker *w)
{
	unsigned total = 0;
	bool more = false;

	// The mark before the rings: what is put in after we looked comes with a new mark.
	(void)atomic_exchange_explicit(&w->handed, false, memory_order_acq_rel);
	for (unsigned i = 0; i < w->n_txq; i++) {
		struct odp_lane *l = w->txq[i];
		struct rte_ring *r = l->pw->port->txq[l->txq].ring;
		struct rte_mbuf *pkts[ODP_BURST];
		unsigned left;
		unsigned n = odp_ring_take(r, pkts, ODP_BURST, &left);

		for (unsigned j = 0; j < n; j++)
			odp_lane_put(w, l, pkts[j]);
		total += n;
		more |= left > 0;
	}
	if (more)
		atomic_store_explicit(&w->handed, true, memory_order_relaxed);
	return total;
}
