// SPDX-License-Identifier: Apache-2.0
/* A worker's turn: bursts in, keys, flows, actions, bursts out. */
#include "action.h"
#include "classifier.h"
#include "emc.h"
#include "extract.h"
#include "tx.h"
#include "upcall.h"

#define NAP_MIN_US 50u
#define NAP_MAX_US 1000u
#define NAP_LONG_US 3000u // after NAPS_LONG naps in a row: about a second
#define NAPS_LONG 1000u

/* One burst on its way through the stages. */
struct burst {
	struct odp_pw *in;
	uint16_t rxq;
	unsigned n, n_runs;
	struct rte_mbuf *pkts[ODP_BURST];
	struct odp_run run[ODP_BURST];
};

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void run_add(struct odp_run *r, const struct rte_mbuf *m)
{
	r->n++;
	r->bytes += m->pkt_len;
	r->or_flags |= m->ol_flags;
	r->max_len = RTE_MAX(r->max_len, m->pkt_len);
	r->max_segs = RTE_MAX(r->max_segs, m->nb_segs);
}

static inline struct odp_run *run_start(struct burst *b, unsigned first)
{
	struct odp_run *r = &b->run[b->n_runs++];

	r->first = (uint16_t)first;
	r->n = 0;
	r->bytes = 0;
	r->or_flags = 0;
	r->max_len = 0;
	r->max_segs = 0;
	return r;
}

/* Keep what can be kept: malformed packets leave the burst, the others close ranks. */
static bool extract_one(
	struct burst *b, unsigned at, struct rte_mbuf *m, enum odp_depth depth, struct odp_kw *k)
{
	struct odp_key key;

	if (odp_extract_mbuf(m, b->in->port->no, depth, &key) < 0) {
		odp_drop_one(b->in, ODP_DROP_MALFORMED, m);
		return false;
	}
	*k = odp_kw(&key);
	b->pkts[at] = m;
	return true;
}

/* All layers that any mask wants; packets with the same key as the one before join its run. */
static void extract_deep(struct burst *b, enum odp_depth depth)
{
	struct odp_run *r = NULL;
	unsigned kept = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct rte_mbuf *m = b->pkts[i];
		struct odp_kw k;

		if (!extract_one(b, kept, m, depth, &k))
			continue;
		if (!r || !odp_kw_eq(&r->key, &k, ODP_KEY_WORDS)) {
			r = run_start(b, kept);
			r->key = k;
		}
		run_add(r, m);
		kept++;
	}
	b->n = kept;
}

/*
 * Layer 2 only, the common case. The 14 bytes of the Ethernet header decide, as two overlapping
 * words, whether a packet belongs to the run of the one before; a key is made per run.
 */
static void extract_l2(struct burst *b)
{
	struct odp_run *r = NULL;
	uint64_t a = 0, c = 0;
	bool tagged = true; // the run's packets have a tag: compare whole keys
	unsigned kept = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct rte_mbuf *m = b->pkts[i];
		const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
		struct odp_kw k;

		if (likely(!tagged && m->data_len >= 14 && load64(p) == a && load64(p + 6) == c)) {
			b->pkts[kept++] = m;
			run_add(r, m);
			continue;
		}
		if (!extract_one(b, kept, m, ODP_DEPTH_L2, &k))
			continue;
		if (!r || !odp_kw_eq(&r->key, &k, ODP_KEY_L2_WORDS)) {
			r = run_start(b, kept);
			r->key = k;
		}
		tagged = true;
		if (m->data_len >= 14) {
			unsigned type = (unsigned)p[12] << 8 | p[13];

			// Below 0x600 is a length, and a SNAP header may follow.
			tagged = type == 0x8100 || type == 0x88a8 || type < 0x600;
			a = load64(p);
			c = load64(p + 6);
		}
		run_add(r, m);
		kept++;
	}
	b->n = kept;
}

/* Every run's flow; runs without one go to the control thread and lose their flow pointer. */
static void lookup_runs(struct odp_worker *w, const struct odp_view *v, struct burst *b)
{
	unsigned words = odp_depth_words(v->depth);
	unsigned hits = 0;

	for (unsigned i = 0; i < b->n_runs; i++) {
		b->run[i].hash = odp_kw_hash(&v->seed, &b->run[i].key, words);
		odp_emc_prefetch(w->emc, b->run[i].hash);
	}
	for (unsigned i = 0; i < b->n_runs; i++) {
		struct odp_run *r = &b->run[i];
		unsigned slot;

		r->flow = odp_emc_get(w->emc, &r->key, r->hash);
		if (likely(r->flow)) {
			hits += r->n;
			continue;
		}
		r->flow = odp_classifier_lookup(v, &r->key, &slot);
		if (r->flow) {
			dpu_counter_add(&w->mega_hits, r->n);
			dpu_counter_add(&w->st_hits[slot], 1);
			odp_emc_put(w->emc, &r->key, r->hash, r->flow);
		} else {
			dpu_counter_add(&w->misses, r->n);
		}
	}
	dpu_counter_add(&w->emc_hits, hits);
}

static void act_runs(struct odp_worker *w, struct burst *b)
{
	for (unsigned i = 0; i < b->n_runs; i++) {
		const struct odp_run *r = &b->run[i];
		struct rte_mbuf **pkts = &b->pkts[r->first];

		if (unlikely(!r->flow)) {
			for (unsigned j = 0; j < r->n; j++)
				pkts[j]->hash.usr = ODP_UPCALL_MISS;
			odp_upcall_put(w, b->in, pkts, r->n);
			continue;
		}
		odp_flow_count_packets(w, r->flow, r->n, r->bytes);
		odp_acts_run(w, atomic_load_explicit(&r->flow->acts, memory_order_acquire), b->in,
			b->rxq, pkts, r);
	}
}

static unsigned poll_rxq(struct odp_worker *w, const struct odp_view *v, const struct odp_rxq *q)
{
	const struct odp_port_conf *conf = &q->port->conf;
	struct burst b;
	uint64_t bytes = 0;
	unsigned n;

	b.n = conf->ops->rx(conf->drv, q->rxq, b.pkts, ODP_BURST);
	if (b.n == 0)
		return 0;
	n = b.n;
	b.n_runs = 0;
	b.in = &q->port->pw[w->idx];
	b.rxq = q->rxq;
	if (likely(v->depth == ODP_DEPTH_L2))
		extract_l2(&b);
	else
		extract_deep(&b, v->depth);
	for (unsigned i = 0; i < b.n_runs; i++)
		bytes += b.run[i].bytes;
	dpu_counter_add(&b.in->rx_packets, n);
	dpu_counter_add(&b.in->rx_bytes, bytes);
	lookup_runs(w, v, &b);
	act_runs(w, &b);
	return n;
}

unsigned odp_worker_turn(struct odp_worker *w)
{
	const struct odp_view *v = atomic_load_explicit(&w->dp->view, memory_order_acquire);
	unsigned n = 0;

	odp_emc_sync(w->emc, v);
	for (unsigned i = 0; i < w->n_rxq; i++)
		n += poll_rxq(w, v, &w->rxq[i]);
	n += odp_handed_poll(w);
	if (n == 0)
		return 0;
	w->idle_arms = 0;
	odp_lanes_flush(w);
	if (unlikely(w->upcalled))
		odp_upcall_signal(w);
	return n;
}

bool odp_worker_arm(struct odp_worker *w)
{
	bool idle = true;

	w->n_armed = 0;
	while (idle && w->n_armed < w->n_rxq) {
		const struct odp_rxq *q = &w->rxq[w->n_armed++];
		const struct odp_port_conf *conf = &q->port->conf;

		if (conf->ops->rx_arm)
			idle = conf->ops->rx_arm(conf->drv, q->rxq);
	}
	// In one order with lane_handover().
	atomic_store_explicit(&w->asleep, true, memory_order_seq_cst);
	if (idle && !atomic_load_explicit(&w->handed, memory_order_seq_cst)) {
		w->idle_arms++;
		return true;
	}
	odp_worker_disarm(w);
	return false;
}

void odp_worker_disarm(struct odp_worker *w)
{
	atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
	for (unsigned i = 0; i < w->n_armed && i < w->n_rxq; i++) {
		const struct odp_port_conf *conf = &w->rxq[i].port->conf;

		if (conf->ops->rx_arm && conf->ops->rx_disarm)
			conf->ops->rx_disarm(conf->drv, w->rxq[i].rxq);
	}
	w->n_armed = 0;
}

/*
 * Naps grow while nothing comes: an idle card costs little, a busy one never sleeps. A wake-up
 * costs 5 to 30 us by itself, in a virtual machine most, so the longest nap is what an idle card
 * costs.
 */
unsigned odp_worker_nap_us(const struct odp_worker *w)
{
	unsigned us = RTE_MIN(NAP_MIN_US << RTE_MIN(w->idle_arms, 5u), NAP_MAX_US);

	if (!w->n_blind)
		return 0;
	return w->idle_arms > NAPS_LONG ? NAP_LONG_US : us;
}
