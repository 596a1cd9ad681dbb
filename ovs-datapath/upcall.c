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
#include "tx.h"

#define POLL_MAX 512u // packets in one call
#define PORT_TURN 8u // packets of one port before the next one's
#define SETUP_RATE 20000u // flow set-ups of one port in a second
#define SETUP_BURST 4096

void odp_upcall_put(struct odp_worker *w, struct odp_pw *in, struct rte_mbuf **pkts, unsigned n)
{
	n = odp_own_all(w, in, pkts, n);

	unsigned put = rte_ring_mp_enqueue_burst(in->port->upcalls, (void **)pkts, n, NULL);

	dpu_counter_add(&w->upcalls, put);
	if (put < n) {
		dpu_counter_add(&w->upcalls_dropped, n - put);
		odp_drop(in, ODP_DROP_NO_FLOW, pkts + put, n - put);
	}
	w->upcalled = true;
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

static struct odp_flow *find_flow(struct odp *dp, const struct odp_kw *k)
{
	const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);
	unsigned slot;

	return odp_classifier_lookup(v, k, &slot);
}

static void handle(struct odp *dp, struct odp_port *port, struct rte_mbuf *m, uint64_t now_ns)
{
	struct odp_worker *w = dp->control;
	struct odp_pw *in = &port->pw[w->idx];
	struct odp_key key;
	struct odp_kw k;

	if (odp_extract_mbuf(m, port->no, ODP_DEPTH_L4, &key) < 0) {
		// Layer 2 is enough for a table that looks no deeper.
		const struct odp_view *v = atomic_load_explicit(&dp->view, memory_order_relaxed);

		if (v->depth != ODP_DEPTH_L2 ||
			odp_extract_mbuf(m, port->no, ODP_DEPTH_L2, &key) < 0) {
			odp_drop_one(in, ODP_DROP_MALFORMED, m);
			return;
		}
	}
	if (m->hash.usr == ODP_UPCALL_COPY) {
		unsigned n = setup_allowed(port, now_ns) ? odp_bridge_learn(dp, &key, now_ns) : 0;

		if (n)
			setup_charge(port, n);
		rte_pktmbuf_free(m);
		return;
	}
	k = odp_kw(&key);
	struct odp_flow *f = find_flow(dp, &k);

	if (!f) {
		// Not decided on yet by an earlier packet.
		if (!setup_allowed(port, now_ns)) {
			dpu_counter_add(&w->upcalls_dropped, 1);
			odp_drop_one(in, ODP_DROP_UPCALL_LIMIT, m);
			return;
		}
		setup_charge(port, odp_bridge_decide(dp, &key, now_ns));
		f = find_flow(dp, &k);
	}
	struct odp_sums sums = { 0 };

	odp_sums_add(&sums, m);
	if (!f) {
		// No flow could be installed: the decision holds for this packet alone.
		odp_bridge_forward(dp, &key, in, m, &sums);
		return;
	}
	odp_flow_count_packets(w, f, 1, m->pkt_len);
	odp_acts_run(w, atomic_load_explicit(&f->acts, memory_order_relaxed), in, 0, &m, &sums);
}

unsigned odp_upcall_poll(struct odp *dp)
{
	uint64_t now_ns = dpu_now_ns();
	uint32_t idle = 0, no = dp->upcall_cursor;
	unsigned total = 0;

	// The flag before the rings: what is put in after we looked comes with a new signal.
	(void)atomic_exchange_explicit(&dp->upcall_flag, false, memory_order_acq_rel);
	while (total < POLL_MAX && idle < dp->port_top) {
		no = no + 1 < dp->port_top ? no + 1 : 0;
		struct odp_port *port = odp_port_by_no(dp, no);
		struct rte_mbuf *pkts[PORT_TURN];
		unsigned n = port ? rte_ring_sc_dequeue_burst(
					    port->upcalls, (void **)pkts, PORT_TURN, NULL)
				  : 0;

		idle = n ? 0 : idle + 1;
		for (unsigned i = 0; i < n; i++)
			handle(dp, port, pkts[i], now_ns);
		total += n;
	}
	dp->upcall_cursor = no;
	odp_lanes_flush(dp->control);
	odp_reclaim_if_many(dp);
	if (idle < dp->port_top)
		signal_control(dp);
	return total;
}
