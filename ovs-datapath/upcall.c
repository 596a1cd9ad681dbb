// SPDX-License-Identifier: Apache-2.0
/*
 * Misses. Each port has its own bounded ring, served a few packets at a time in turn, so that a
 * port that floods the card with new flows fills its own ring and nobody else's. A port may also
 * cause only so many flow set-ups a second; beyond that its packets are dropped unseen.
 */
#include "upcall.h"

#include "bridge.h"
#include "classifier.h"
#include "dpu_clock.h"
#include "extract.h"
#include "ring.h"
#include "tnl_out.h"
#include "track.h"
#include "tx.h"
#include "underlay_gate.h"

#define POLL_MAX 512u // packets in one call
#define PORT_TURN 8u // packets of one port before the next one's
#define SETUP_RATE 20000u // flow set-ups of one port in a second
#define SETUP_BURST 4096

/* In mbuf hash.usr of what is in an upcall ring, with its kind: a head stands before it. */
#define KIND_META 0x100u

/*
 * Metadata go along in a segment of their own before the packet's, which stays as it is: so they
 * are freed with it, wherever that happens. NULL: no memory; the packet is the caller's still.
 */
static struct rte_mbuf *head_prepend(
	struct odp_worker *w, const struct odp_meta *meta, struct rte_mbuf *m)
{
	struct rte_mbuf *s = rte_pktmbuf_alloc(w->dp->conf.pool);
	struct odp_upcall_head *h = s ? (struct odp_upcall_head *)(void *)rte_pktmbuf_append(
						s, sizeof(*h))
				      : NULL;

	if (!h) {
		rte_pktmbuf_free(s);
		return NULL;
	}
	h->has_meta = meta != NULL;
	h->pid = 0;
	h->vport = 0;
	h->data_len = 0;
	if (meta)
		memcpy(&h->meta, meta, sizeof(*meta));
	s->next = m;
	s->nb_segs = (uint16_t)(m->nb_segs + 1);
	s->pkt_len += m->pkt_len;
	return s;
}

struct rte_mbuf *odp_upcall_head_take(struct rte_mbuf *s, struct odp_upcall_head *h)
{
	struct rte_mbuf *m = s->next;

	memcpy(h, rte_pktmbuf_mtod(s, const void *), sizeof(*h));
	rte_pktmbuf_free_seg(s);
	return m;
}

static unsigned meta_prepend_all(struct odp_worker *w, const struct odp_from *from,
	const struct odp_meta *meta, struct rte_mbuf **pkts, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = head_prepend(w, meta, pkts[i]);

		if (m)
			pkts[kept++] = m;
		else
			odp_drop_one(from->in, ODP_DROP_NO_MBUF, pkts[i]);
	}
	return kept;
}

/* Into the ring: packets that are ours, marked. */
static void enqueue(
	struct odp_worker *w, const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	struct odp_pw *in = from->in;
	unsigned put = odp_ring_put(in->port->upcalls, pkts, n);

	dpu_counter_add(&w->upcalls, put);
	if (put < n) {
		dpu_counter_add(&w->upcalls_dropped, n - put);
		odp_drop(in, ODP_DROP_NO_FLOW, pkts + put, n - put);
	}
	w->upcalled = true;
}

void odp_upcall_put(struct odp_worker *w, const struct odp_from *from, enum odp_upcall kind,
	struct rte_mbuf **pkts, unsigned n)
{
	if (kind == ODP_UPCALL_MISS && !from->meta)
		n = odp_ul_gate(w, from, pkts, n);
	n = odp_own_all(w, from->in, pkts, n);
	if (from->meta)
		n = meta_prepend_all(w, from, from->meta, pkts, n);
	for (unsigned i = 0; i < n; i++)
		pkts[i]->hash.usr = kind | (from->meta ? KIND_META : 0);
	enqueue(w, from, pkts, n);
}

void odp_upcall_put_data(struct odp_worker *w, const struct odp_from *from,
	const struct odp_act_userspace *u, struct rte_mbuf *m)
{
	struct rte_mbuf *s;

	if (u->pid == 0) {
		odp_upcall_put(w, from, ODP_UPCALL_COPY, &m, 1);
		return;
	}
	s = head_prepend(w, from->meta, m);
	if (!s) {
		odp_drop_one(from->in, ODP_DROP_NO_MBUF, m);
		return;
	}
	struct odp_upcall_head *h = rte_pktmbuf_mtod(s, struct odp_upcall_head *);

	h->pid = u->pid;
	h->data_len = u->data_len;
	memcpy(h->data, u->data, u->data_len);
	s->hash.usr = ODP_UPCALL_COPY | KIND_META;
	enqueue(w, from, &s, 1);
}

void odp_upcall_put_tnl(struct odp_worker *w, const struct odp_from *from,
	const struct odp_meta *meta, uint32_t vport, struct rte_mbuf **pkts, unsigned n)
{
	n = odp_own_all(w, from->in, pkts, n);
	n = meta_prepend_all(w, from, meta, pkts, n);
	for (unsigned i = 0; i < n; i++) {
		rte_pktmbuf_mtod(pkts[i], struct odp_upcall_head *)->vport = vport;
		pkts[i]->hash.usr = ODP_UPCALL_TNL | KIND_META;
	}
	enqueue(w, from, pkts, n);
}

static void signal_control(struct odp *dp)
{
	if (!atomic_exchange_explicit(&dp->upcall_flag, true, memory_order_seq_cst) &&
		dp->conf.upcall_pending)
		dp->conf.upcall_pending(dp->conf.host_arg);
}

void odp_upcall_signal(struct odp_worker *w)
{
	w->upcalled = false;
	signal_control(w->dp);
}

static bool setup_allowed(struct odp_port *port, uint64_t now_ns)
{
	uint64_t more = (now_ns - port->setup_ns) / (1000000000u / SETUP_RATE);

	if (more > 0) {
		more = RTE_MIN(more, 2 * SETUP_BURST);
		port->setup_tokens = RTE_MIN(port->setup_tokens + (int32_t)more, SETUP_BURST);
		port->setup_ns = now_ns;
	}
	return port->setup_tokens > 0;
}

/*
 * One set-up, and `n` flows decided on again because an address came or moved, which is a quarter
 * of the work. The port pays for them, in part on credit, or it could keep the control thread busy
 * by letting one address jump.
 */
static void setup_charge(struct odp_port *port, unsigned n)
{
	port->setup_tokens = RTE_MAX(port->setup_tokens - 1 - (int32_t)(n / 4), -SETUP_BURST);
}

/* By as much of the key as the tables look at. */
static struct odp_flow *find_flow(struct odp *dp, const struct odp_kw *k, uint32_t packet_type)
{
	const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);
	struct odp_flow *f;
	struct odp_kw masked;

	if (packet_type) {
		(void)odp_classifier_lookup_bare(v, k, &f);
		return f;
	}

	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		masked.w[i] = k->w[i] & v->any.w[i];
	return odp_classifier_lookup(v, &masked);
}

/*
 * The whole key; or as much of it as workers read, if need be: they go by no more, and what a flow
 * lets pass must not be dropped because it is the first.
 */
static bool extract(const struct odp *dp, const struct rte_mbuf *m, uint32_t in_port,
	uint32_t packet_type, struct odp_key *key)
{
	const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);

	return odp_extract_mbuf(m, in_port, packet_type, ODP_WANT_ALL, key) == 0 ||
	       odp_extract_mbuf(m, in_port, packet_type, v->map | ODP_WANT_L2, key) == 0;
}

static void run_actions(struct odp_worker *w, const struct odp_flow *f, const struct odp_from *from,
	struct rte_mbuf *m)
{
	struct odp_sums sums = { 0 };

	odp_sums_add(&sums, m);
	odp_flow_count_packets(w, f, 1, m->pkt_len);
	odp_acts_run(w, atomic_load_explicit(&f->acts, memory_order_relaxed), from, &m, &sums);
	odp_recirc_run(w);
}

static void tell(struct odp *dp, const struct odp_upcall_head *h, const struct odp_kw *k,
	const struct rte_mbuf *m)
{
	struct odp_key key;
	struct odp_packet_in p = {
		.pid = h->pid, .key = &key, .m = m, .data = h->data, .data_len = h->data_len
	};

	memcpy(&key, k, sizeof(key));
	if (h->pid != 0 && dp->conf.userspace)
		dp->conf.userspace(dp->conf.host_arg, &p);
}

/* What has recirculated was decided on once: whoever made it do so knows what comes next. */
static void handle_recirc(struct odp *dp, struct odp_port *port, struct rte_mbuf *m)
{
	struct odp_worker *w = dp->control;
	bool copy = (m->hash.usr & ~KIND_META) == ODP_UPCALL_COPY;
	struct odp_upcall_head h;
	struct odp_from from = { .in = &port->pw[w->idx], .meta = &h.meta };
	struct odp_key key = { 0 };
	struct odp_kw k;

	m = odp_upcall_head_take(m, &h);
	if (!h.has_meta) {
		memset(&h.meta, 0, sizeof(h.meta));
		odp_meta_reset(&h.meta, port->no);
	}
	bool whole = extract(dp, m, h.meta.key.in_port, h.meta.packet_type, &key);

	k = odp_kw(&key);
	odp_meta_to_key(&h.meta, ~0ull, &k);
	if (copy) {
		// Told even if its headers are no good: the key has what could be read.
		tell(dp, &h, &k, m);
		rte_pktmbuf_free(m);
		return;
	}
	if (!whole) {
		odp_drop_one(from.in, ODP_DROP_MALFORMED, m);
		return;
	}
	const struct odp_flow *f = find_flow(dp, &k, h.meta.packet_type);

	if (f)
		run_actions(w, f, &from, m);
	else
		odp_drop_one(from.in,
			h.meta.key.recirc_id ? ODP_DROP_RECIRC_MISS : ODP_DROP_TNL_MISS, m);
}

static void handle(struct odp *dp, struct odp_port *port, struct rte_mbuf *m, uint64_t now_ns)
{
	struct odp_worker *w = dp->control;
	struct odp_from from = { .in = &port->pw[w->idx] };
	struct odp_pw *in = from.in;
	struct odp_key key = { 0 };
	struct odp_kw k;

	if (m->hash.usr == (ODP_UPCALL_TNL | KIND_META)) {
		odp_tnl_upcall(dp, m);
		return;
	}
	if (m->hash.usr & KIND_META) {
		handle_recirc(dp, port, m);
		return;
	}
	if (!extract(dp, m, port->no, 0, &key)) {
		odp_drop_one(in, ODP_DROP_MALFORMED, m);
		return;
	}
	if (m->hash.usr == ODP_UPCALL_COPY) {
		unsigned n = setup_allowed(port, now_ns) ? odp_bridge_learn(dp, &key, now_ns) : 0;

		if (n)
			setup_charge(port, n);
		rte_pktmbuf_free(m);
		return;
	}
	k = odp_kw(&key);
	struct odp_flow *f = find_flow(dp, &k, 0);

	if (!f) {
		enum odp_ul_miss ul = odp_ul_miss(dp, port, &key, m);

		if (ul == ODP_UL_DONE)
			return;
		if (ul == ODP_UL_FLOW)
			f = find_flow(dp, &k, 0);
	}
	if (!f) {
		// Not decided on yet by an earlier packet.
		if (!setup_allowed(port, now_ns)) {
			dpu_counter_add(&w->upcalls_dropped, 1);
			odp_drop_one(in, ODP_DROP_UPCALL_LIMIT, m);
			return;
		}
		setup_charge(port, odp_bridge_decide(dp, &key, now_ns));
		f = find_flow(dp, &k, 0);
	}
	if (!f) {
		// No flow could be installed: the decision holds for this packet alone.
		struct odp_sums sums = { 0 };

		odp_sums_add(&sums, m);
		odp_bridge_forward(dp, &key, in, m, &sums);
		return;
	}
	run_actions(w, f, &from, m);
}

/* Its neighbours' messages are not behind the rest. */
static unsigned port_turn(struct odp *dp, struct odp_port *port, uint64_t now_ns)
{
	struct rte_mbuf *pkts[2 * PORT_TURN];
	unsigned n = odp_ul_rings_take(port, pkts, PORT_TURN);

	n += odp_ring_take(port->upcalls, pkts + n, PORT_TURN, NULL);
	for (unsigned i = 0; i < n; i++)
		handle(dp, port, pkts[i], now_ns);
	return n;
}

unsigned odp_upcall_poll(struct odp *dp)
{
	uint64_t now_ns = dpu_now_ns();
	uint32_t idle = 0, no = dp->upcall_cursor;
	unsigned total = 0;

	dp->control->now_ms = 0;
	// The flag before the rings: what is put in after we looked comes with a new signal.
	(void)atomic_exchange_explicit(&dp->upcall_flag, false, memory_order_acq_rel);
	while (total < POLL_MAX && idle < dp->port_top) {
		no = no + 1 < dp->port_top ? no + 1 : 0;
		struct odp_port *port = odp_port_by_no(dp, no);
		unsigned n = port ? port_turn(dp, port, now_ns) : 0;

		idle = n ? 0 : idle + 1;
		total += n;
	}
	dp->upcall_cursor = no;
	odp_lanes_flush(dp->control);
	odp_track_leave(dp->control);
	odp_reclaim_if_many(dp);
	if (idle < dp->port_top)
		signal_control(dp);
	return total;
}
