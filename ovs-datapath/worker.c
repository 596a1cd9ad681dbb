// SPDX-License-Identifier: Apache-2.0
/* A worker's turn: bursts in, keys, flows, actions, bursts out. */
#include "worker.h"

#include <stdlib.h>

#include <rte_cycles.h>

#include "act_ct.h"
#include "action.h"
#include "classifier.h"
#include "dpu_alloc.h"
#include "emc.h"
#include "extract.h"
#include "fused.h"
#include "hold.h"
#include "recirc.h"
#include "smc.h"
#include "track.h"
#include "tx.h"
#include "upcall.h"

#define NAP_MIN_US 50u
#define NAP_MAX_US 1000u
#define NAP_LONG_US 3000u // after NAPS_LONG naps in a row: about a second
#define NAPS_LONG 1000u
#define NAP_HOLD_US 500000u // while fragments wait, whose time may be over
#define STAGE_TURNS 1021u // of which one is timed; prime, for loads that go in rounds
#define LOOKS_FREE (16u * ODP_BURST) // subtables for a burst
#define LOOKS_TURN ODP_BURST
#define PARK_LOOKS 2048u // that found nothing, until a queue is parked

/* Packets with one key, one behind the other in a burst. */
struct run {
	uint16_t first;
	uint32_t hash;
	struct odp_sums sums;
	struct odp_flow *flow; // NULL: none, ask the control thread
	const struct odp_from *from; // borrowed: the burst's, or of what recirculates
	union {
		struct odp_key key; // words that no flow looks at are zero
		struct odp_kw kw;
	};
};

/* One burst on its way through the stages. A packet that was dropped is in no run. */
struct odp_burst {
	uint64_t map; // the first one's, for all: of the view by which keys were filled
	struct odp_from from; // of all that a port received
	unsigned n, n_runs;
	struct rte_mbuf *pkts[ODP_BURST];
	struct run run[ODP_BURST];
};

enum { BURST_RX, BURST_RECIRC, BURSTS };

struct odp_burst *odp_bursts_create(void)
{
	return dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, BURSTS, sizeof(struct odp_burst));
}

void odp_bursts_destroy(struct odp_burst *b)
{
	free(b);
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static bool extract_one(struct odp_burst *b, struct rte_mbuf *m, uint64_t want, struct run *r)
{
	if (likely(odp_extract_mbuf(m, b->from.in->port->no, 0, want, &r->key) == 0))
		return true;
	odp_drop_one(b->from.in, ODP_DROP_MALFORMED, m);
	return false;
}

/* What no flow looks at must not tell packets apart. */
static inline void mask_packet_words(const struct odp_view *v, struct odp_kw *k)
{
	for (unsigned i = 0; i < ODP_KEY_META_WORD; i++)
		k->w[i] &= v->any.w[i];
}

/* The packet words of a key, as far as any flow looks at them. */
static inline bool extract_words(const struct odp_view *v, const struct rte_mbuf *m,
	uint32_t in_port, uint32_t packet_type, struct run *r)
{
	if (packet_type == 0 && likely(odp_extract_fast(m, in_port, v->map, &v->any, &r->kw)))
		return true;
	if (odp_extract_mbuf(m, in_port, packet_type, v->map, &r->key) < 0)
		return false;
	mask_packet_words(v, &r->kw);
	return true;
}

/* Do two keys of this view have the same words? Nearly always none lies behind layer 4. */
static inline bool same_key(
	const struct odp_view *v, const struct odp_kw *a, const struct odp_kw *b)
{
	uint64_t diff = 0;

	if (!odp_kw_eq(a, b, ODP_KEY_L4_WORD + 1))
		return false;
	for (uint64_t left = v->map >> ODP_KEY_ND_WORD << ODP_KEY_ND_WORD; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		diff |= a->w[i] ^ b->w[i];
	}
	return diff == 0;
}

/* All that any mask wants; a packet with the key of the one before joins its run. */
static void extract_deep(struct odp_burst *b, const struct odp_view *v)
{
	uint32_t in_port = b->from.in->port->no;

	for (unsigned i = 0; i < b->n; i++) {
		struct run *r = &b->run[b->n_runs], *last = b->n_runs ? r - 1 : NULL;

		if (unlikely(!extract_words(v, b->pkts[i], in_port, 0, r))) {
			odp_drop_one(b->from.in, ODP_DROP_MALFORMED, b->pkts[i]);
			continue;
		}
		if (last && last->first + last->sums.n == i && same_key(v, &last->kw, &r->kw)) {
			r = last;
		} else {
			r->first = (uint16_t)i;
			r->from = &b->from;
			r->sums = (struct odp_sums){ 0 };
			b->n_runs++;
		}
		odp_sums_add(&r->sums, b->pkts[i]);
	}
}

/*
 * The run of the packets from r->first on whose leading `len` bytes, 14 to 22, are the same: they
 * are compared as words that overlap. Returns the place behind its last one.
 */
static inline unsigned run_follow(const struct odp_burst *b, struct run *r, unsigned len)
{
	struct rte_mbuf *const *first = &b->pkts[r->first], *const *at = first;
	const struct rte_mbuf *m = *at;
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	const uint64_t head = load64(p), mid = load64(p + 6), tail = load64(p + len - 8);
	struct odp_sums sums = { 0 }; // in registers

	do {
		odp_sums_add(&sums, m);
		if (++at == &b->pkts[b->n])
			break;
		m = *at;
		p = rte_pktmbuf_mtod(m, const uint8_t *);
	} while (m->data_len >= len && load64(p) == head && load64(p + 6) == mid &&
		 (len == 14 || load64(p + len - 8) == tail));
	r->sums = sums;
	r->sums.n = (uint16_t)(at - first);
	return (unsigned)(at - b->pkts);
}

/* Layer 2 only, the common case: the Ethernet header decides, and a key is made per run. */
static void extract_l2(struct odp_burst *b)
{
	for (unsigned i = 0; i < b->n;) {
		struct rte_mbuf *m = b->pkts[i];
		struct run *r = &b->run[b->n_runs];
		unsigned len = odp_eth_hdr_len(m);

		r->first = (uint16_t)i;
		r->from = &b->from;
		if (likely(len == 14)) {
			odp_extract_untagged(m, b->from.in->port->no, &r->kw);
			i = run_follow(b, r, 14);
		} else if (!extract_one(b, m, ODP_WANT_L2, r)) {
			i++;
			continue;
		} else if (len > 0) {
			i = run_follow(b, r, len);
		} else {
			r->sums = (struct odp_sums){ 0 };
			odp_sums_add(&r->sums, m);
			i++;
		}
		b->n_runs++;
	}
}

/* The runs that the cache does not know, of which there are some. Returns their packets. */
static __rte_noinline unsigned lookup(struct odp_worker *w, const struct odp_view *v,
	struct odp_burst *b, uint32_t missed, bool bypass)
{
	const struct odp_kw *key[ODP_BURST];
	struct odp_flow *flow[ODP_BURST];
	uint32_t hash[ODP_BURST];
	unsigned hits = 0, misses = 0, looks = 0;

	for (unsigned i = 0; i < b->n_runs; i++) {
		key[i] = &b->run[i].kw;
		hash[i] = b->run[i].hash;
	}
	uint32_t guessed = missed & ~odp_smc_lookup_burst(w->smc, v, key, hash, missed, flow);

	if (missed & ~guessed)
		looks = odp_classifier_lookup_burst(v, key, missed & ~guessed, flow);
	dpu_counter_add(&w->st_looks, looks);
	w->looks += looks;
	for (; missed; missed &= missed - 1) {
		unsigned i = (unsigned)__builtin_ctz(missed);
		struct run *r = &b->run[i];

		r->flow = flow[i];
		if (!r->flow) {
			misses += r->sums.n;
			continue;
		}
		hits += r->sums.n;
		if (!bypass)
			odp_emc_put(w->emc, &r->kw, r->hash, r->flow);
		if (guessed & 1u << i)
			continue;
		dpu_counter_add(&w->st_hits[r->flow->st->slot], 1);
		odp_smc_put(w->smc, v, &r->kw, r->hash, r->flow);
	}
	dpu_counter_add(&w->mega_hits, hits);
	dpu_counter_add(&w->misses, misses);
	return hits + misses;
}

/* Every run's flow. */
static inline void find_flows(
	struct odp_worker *w, const struct odp_view *v, struct odp_burst *b, enum odp_depth depth)
{
	bool bypass = depth != ODP_DEPTH_L2 && odp_emc_bypass(w->emc, b->n_runs);
	unsigned n = 0, elsewhere = 0;
	uint32_t missed = 0, salt = w->emc->salt;

	for (struct run *r = b->run, *end = r + b->n_runs; r < end; r++) {
		r->hash = odp_emc_hash(v, &r->kw, depth, salt);
		if (!bypass)
			odp_emc_prefetch(w->emc, r->hash, depth);
	}
	for (struct run *r = b->run, *end = r + b->n_runs; r < end; r++) {
		n += r->sums.n;
		r->flow = bypass ? NULL : odp_emc_get(w->emc, &r->kw, r->hash, depth);
		if (unlikely(!r->flow))
			missed |= 1u << (r - b->run);
	}
	if (depth != ODP_DEPTH_L2 && !bypass)
		odp_emc_judge(w->emc, b->n_runs, b->n_runs - (unsigned)__builtin_popcount(missed));
	if (unlikely(missed))
		elsewhere = lookup(w, v, b, missed, bypass);
	dpu_counter_add(&w->emc_hits, n - elsewhere);
}

static void act(struct odp_worker *w, const struct odp_acts *acts, const struct odp_from *from,
	struct rte_mbuf **pkts, const struct odp_sums *sums)
{
	if (likely(acts))
		odp_acts_run(w, acts, from, pkts, sums);
	else
		odp_upcall_put(w, from, ODP_UPCALL_MISS, pkts, sums->n);
}

/* Packets that have less metadata than somebody may look at now: each with its own tuple. */
static __rte_noinline void act_each(struct odp_worker *w, const struct odp_acts *acts,
	const struct odp_from *from, struct rte_mbuf *const *pkts, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct odp_meta meta = { 0 };
		struct odp_from own = { .in = from->in, .rxq = from->rxq, .meta = &meta };
		struct odp_sums sums = { 0 };
		struct rte_mbuf *m = pkts[i];

		odp_meta_copy(&meta, from->meta);
		odp_act_ct_own(&meta.key, m);
		meta.map |= ODP_KEY_CT_ORIG_BITS;
		meta.own_tuple = 0;
		odp_sums_add(&sums, m);
		act(w, acts, &own, &m, &sums);
	}
}

/* Runs of one flow, one behind the other, are acted on together; `r` becomes all of them. */
static struct run *join(struct odp_worker *w, const struct odp_view *v, struct odp_burst *b,
	struct run *r, bool notes)
{
	struct run *next = r + 1;
	const struct run *end = b->run + b->n_runs;

	for (; next < end && next->flow == r->flow && next->from == r->from &&
		next->first == r->first + r->sums.n;
		next++) {
		if (notes)
			odp_fused_note(w, v, r->from, b->pkts[next->first]);
		odp_sums_join(&r->sums, &next->sums);
	}
	return next;
}

/* Returns the bytes that the packets had. */
static inline uint64_t act_runs(struct odp_worker *w, const struct odp_view *v, struct odp_burst *b)
{
	struct run *const end = b->run + b->n_runs;
	uint64_t bytes = 0;

	for (struct run *r = b->run, *next; r < end; r = next) {
		struct odp_flow *f = r->flow;
		const struct odp_acts *acts = NULL;
		const struct odp_meta *meta = r->from->meta;

		next = r + 1;
		if (likely(f)) {
			acts = atomic_load_explicit(&f->acts, memory_order_acquire);
			bool notes = acts->tracks && w->fuses && odp_fused_is_first(r->from);

			if (unlikely(notes))
				odp_fused_note(w, v, r->from, b->pkts[r->first]);
			if (next < end && next->flow == f)
				next = join(w, v, b, r, notes);
			odp_flow_count_packets(w, f, r->sums.n, r->sums.bytes);
		}
		bytes += r->sums.bytes;
		if (unlikely(meta && meta->own_tuple && !(acts && acts->plain)))
			act_each(w, acts, r->from, &b->pkts[r->first], r->sums.n);
		else
			act(w, acts, r->from, &b->pkts[r->first], &r->sums);
	}
	return bytes;
}

/* What the cache knows is wrong; and if the view is one of other words, the rest shall be zero. */
static void forget(struct odp_worker *w, const struct odp_view *v)
{
	odp_emc_clear(w->emc, v);
	if (w->burst->map == v->map)
		return;
	w->burst->map = v->map;
	for (unsigned i = 0; i < BURSTS; i++)
		for (unsigned r = 0; r < ODP_BURST; r++)
			memset(&w->burst[i].run[r].kw, 0, sizeof(struct odp_kw));
}

/* ---- stages ---- */

static void stage_begin(struct odp_worker *w)
{
	w->stages.tx = 0;
	w->stages.tsc = rte_rdtsc();
}

/* A stage has ended and the next one begins. What it sent itself is not its own time. */
static void stage_end(struct odp_worker *w, enum odp_stage stage)
{
	struct odp_stages *s = &w->stages;
	uint64_t now = rte_rdtsc();

	dpu_counter_add(&s->cycles[stage], now - s->tsc - s->tx);
	dpu_counter_add(&s->cycles[ODP_STAGE_TX], s->tx);
	s->tx = 0;
	s->tsc = now;
}

/* The end of a turn that was timed. */
static __rte_noinline void stage_last(struct odp_worker *w)
{
	stage_begin(w);
	odp_lanes_flush(w);
	stage_end(w, ODP_STAGE_TX);
	w->stages.on = false;
	w->stages.turns = 0;
}

void odp_worker_stages(const struct odp_worker *w, struct odp_stage_stats *out)
{
	for (unsigned i = 0; i < ODP_STAGE_COUNT; i++)
		out->cycles[i] = dpu_counter_read(&w->stages.cycles[i]);
	out->packets = dpu_counter_read(&w->stages.packets);
}

/* `timed` is a constant where this is inlined: turns that are not timed know nothing of it. */
static __rte_always_inline unsigned poll_rxq(
	struct odp_worker *w, const struct odp_view *v, const struct odp_rxq *q, bool timed)
{
	const struct odp_port_conf *conf = &q->port->conf;
	struct odp_burst *b = &w->burst[BURST_RX];
	struct odp_pw *in = &q->port->pw[w->idx];

	if (timed)
		stage_begin(w);
	unsigned n = conf->ops->rx(conf->drv, q->rxq, b->pkts, ODP_BURST);

	if (n == 0)
		return 0;
	if (timed) {
		stage_end(w, ODP_STAGE_RX);
		dpu_counter_add(&w->stages.packets, n);
	}
	uint64_t bytes = 0;

	b->n_runs = 0;
	b->from.in = in;
	b->from.rxq = q->rxq;
	b->n = likely(!w->fuses) ? n : odp_fused_burst(w, v, &b->from, b->pkts, n, &bytes);
	bool l2 = v->depth == ODP_DEPTH_L2;

	if (likely(l2))
		extract_l2(b);
	else
		extract_deep(b, v);
	if (timed)
		stage_end(w, ODP_STAGE_EXTRACT);
	if (likely(l2))
		find_flows(w, v, b, ODP_DEPTH_L2);
	else
		find_flows(w, v, b, v->depth);
	if (timed)
		stage_end(w, ODP_STAGE_LOOKUP);
	bytes += act_runs(w, v, b);

	if (timed)
		stage_end(w, ODP_STAGE_ACTIONS);
	dpu_counter_add(&in->rx_packets, n);
	dpu_counter_add(&in->rx_bytes, bytes);
	return n;
}

static __rte_noinline unsigned poll_timed(
	struct odp_worker *w, const struct odp_view *v, const struct odp_rxq *q)
{
	return poll_rxq(w, v, q, true);
}

/* ---- what recirculates ---- */

/* Does any flow match the original tuple? */
static bool looks_at_tuple(const struct odp_view *v)
{
	static const struct odp_key tuple = { .ct_orig_proto = 0xff,
		.ct_orig_tp_src = { { 0xff, 0xff } },
		.ct_orig_tp_dst = { { 0xff, 0xff } } };
	const size_t at = offsetof(struct odp_key, ct_orig_proto) / 8;
	uint64_t word; // the ports are in the same

	memcpy(&word, (const uint8_t *)&tuple + at * 8, sizeof(word));
	return v->map & ODP_KEY_BITS(ct_orig6) || v->any.w[at] & word;
}

/* The words of the original tuple, which is not among the metadata. */
static __rte_noinline void own_words(
	const struct odp_view *v, struct rte_mbuf *m, struct odp_kw *kw)
{
	struct odp_key k;

	memcpy(&k, kw, sizeof(k));
	odp_act_ct_own(&k, m);
	memcpy(kw, &k, sizeof(k));
	for (unsigned i = ODP_KEY_META_WORD; i < ODP_KEY_TNL_WORD; i++)
		kw->w[i] &= v->map >> i & 1 ? UINT64_MAX : 0;
}

/* Headers are read anew, metadata goes along. Packets of one group with one key make a run. */
static void extract_part(struct odp_burst *b, const struct odp_view *v,
	const struct odp_recirc_part *part, unsigned first)
{
	const struct odp_meta *meta = part->from->meta;
	bool own = meta->own_tuple && looks_at_tuple(v);
	struct run *last = NULL;

	for (unsigned i = first; i < first + part->n; i++) {
		struct run *r = &b->run[b->n_runs];

		if (!extract_words(v, b->pkts[i], meta->key.in_port, meta->packet_type, r)) {
			odp_drop_one(part->from->in, ODP_DROP_MALFORMED, b->pkts[i]);
			last = NULL;
			continue;
		}
		odp_meta_to_key(meta, v->map, &r->kw);
		if (unlikely(own))
			own_words(v, b->pkts[i], &r->kw);
		r->kw.w[0] &= v->any.w[0];
		for (uint64_t left = v->map & ODP_KEY_META_BITS; left; left &= left - 1) {
			unsigned j = (unsigned)__builtin_ctzll(left);

			r->kw.w[j] &= v->any.w[j];
		}
		if (last && same_key(v, &last->kw, &r->kw)) {
			r = last;
		} else {
			r->first = (uint16_t)i;
			r->from = part->from;
			r->sums = (struct odp_sums){ 0 };
			b->n_runs++;
			last = r;
		}
		odp_sums_add(&r->sums, b->pkts[i]);
	}
}

/* Some of these packets have no Ethernet header: caches do not tell them from others. */
static __rte_noinline void find_bare(
	struct odp_worker *w, const struct odp_view *v, struct odp_burst *b)
{
	unsigned looks = 0;

	for (struct run *r = b->run, *end = r + b->n_runs; r < end; r++) {
		const struct odp_kw *key = &r->kw;

		looks += r->from->meta->packet_type
				 ? odp_classifier_lookup_bare(v, key, &r->flow)
				 : odp_classifier_lookup_burst(v, &key, 1, &r->flow);
		dpu_counter_add(r->flow ? &w->mega_hits : &w->misses, r->sums.n);
	}
	dpu_counter_add(&w->st_looks, looks);
	w->looks += looks;
}

static void recirc_burst(struct odp_worker *w, const struct odp_view *v)
{
	struct odp_burst *b = &w->burst[BURST_RECIRC];
	struct odp_recirc_part parts[ODP_BURST];
	unsigned n_parts, at = 0;
	uint32_t bare = 0;

	b->n = odp_recirc_peek(w->recirc, parts, b->pkts, &n_parts);
	b->n_runs = 0;
	if (w->stages.on)
		stage_begin(w);
	for (unsigned i = 0; i < n_parts; i++) {
		extract_part(b, v, &parts[i], at);
		bare |= parts[i].from->meta->packet_type;
		at += parts[i].n;
	}
	if (w->stages.on)
		stage_end(w, ODP_STAGE_EXTRACT);
	if (unlikely(bare))
		find_bare(w, v, b);
	else
		find_flows(w, v, b, v->depth);
	if (w->stages.on)
		stage_end(w, ODP_STAGE_LOOKUP);
	(void)act_runs(w, v, b);
	if (w->stages.on)
		stage_end(w, ODP_STAGE_ACTIONS);
	odp_recirc_done(w->recirc, b->n);
}

/* Under the turn's view, or the cache would be filled for another one than it is looked up for. */
static void recirc_run(struct odp_worker *w, const struct odp_view *v)
{
	while (w->recirc->n > 0 || w->n_whole > 0)
		if (w->recirc->n > 0 && likely(!odp_hold_crowded(w)))
			recirc_burst(w, v);
		else
			odp_acts_run_whole(w);
}

void odp_recirc_run(struct odp_worker *w)
{
	const struct odp_view *v = atomic_load_explicit(&w->dp->view, memory_order_acquire);

	if (unlikely(!odp_emc_fits(w->emc, v)))
		forget(w, v);
	recirc_run(w, v);
}

/* ---- turns ---- */

/*
 * Turns that a queue rests after a burst that was looked up in so many subtables. An honest one is
 * looked up in a few for each packet. Where a port's packets miss hundreds of masks, which it had
 * made itself or not, they wait behind the others' work; while nobody else has any that takes no
 * time.
 */
static uint32_t rest(unsigned looks)
{
	return looks <= LOOKS_FREE ? 0 : looks / LOOKS_TURN;
}

unsigned odp_worker_turn(struct odp_worker *w)
{
	const struct odp_view *v = atomic_load_explicit(&w->dp->view, memory_order_acquire);
	unsigned n = 0;

	w->now_ms = 0;
	if (unlikely(!odp_emc_fits(w->emc, v)))
		forget(w, v);
	if (unlikely(w->tracks))
		odp_track_turn(w);
	if (unlikely(w->holds))
		odp_hold_turn(w);
	if (unlikely(++w->stages.turns == STAGE_TURNS))
		w->stages.on = true; // until a turn finds work
	for (unsigned i = 0; i < w->n_live; i++) {
		if (unlikely(w->rxq[i].rest > 0)) {
			w->rxq[i].rest--;
			continue;
		}
		w->looks = 0;
		unsigned got = unlikely(w->stages.on) ? poll_timed(w, v, &w->rxq[i])
						      : poll_rxq(w, v, &w->rxq[i], false);

		n += got;
		// Before the queue could be too full for the next burst.
		if (unlikely(w->recirc->n >= ODP_BURST || w->n_whole > 0))
			recirc_run(w, v);
		if (unlikely(w->looks > 0))
			w->rxq[i].rest = rest(w->looks);
		w->rxq[i].empty = got ? 0 : (uint16_t)(w->rxq[i].empty + 1);
		if (unlikely(w->rxq[i].empty == PARK_LOOKS) && odp_rxq_park(w, i))
			i--; // another stands here now
	}
	if (unlikely(atomic_load_explicit(&w->handed, memory_order_relaxed)))
		n += odp_handed_poll(w);
	if (n == 0)
		return 0;
	w->idle_arms = 0;
	if (unlikely(w->recirc->n > 0 || w->n_whole > 0))
		recirc_run(w, v);
	if (unlikely(w->fuses))
		odp_fused_make(w, v);
	if (unlikely(w->stages.on))
		stage_last(w);
	else
		odp_lanes_flush(w);
	if (unlikely(w->upcalled))
		odp_upcall_signal(w);
	return n;
}

bool odp_worker_arm(struct odp_worker *w)
{
	bool idle = true;

	w->n_armed = 0;
	while (idle && w->n_armed < w->n_live) {
		const struct odp_rxq *q = &w->rxq[w->n_armed++];
		const struct odp_port_conf *conf = &q->port->conf;

		if (conf->ops->rx_arm)
			idle = conf->ops->rx_arm(conf->drv, q->rxq);
	}
	// In one order with lane_handover().
	atomic_store_explicit(&w->asleep, true, memory_order_seq_cst);
	if (idle && !atomic_load_explicit(&w->handed, memory_order_seq_cst)) {
		w->idle_arms++;
		odp_track_leave(w);
		return true;
	}
	odp_worker_disarm(w);
	return false;
}

void odp_worker_disarm(struct odp_worker *w)
{
	atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
	for (unsigned i = 0; i < w->n_armed && i < w->n_live; i++) {
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
		return w->holds ? NAP_HOLD_US : 0;
	return w->idle_arms > NAPS_LONG ? NAP_LONG_US : us;
}
