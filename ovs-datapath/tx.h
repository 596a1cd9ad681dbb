/* SPDX-License-Identifier: Apache-2.0 */
/* Sending: packets gather in lanes, and leave through a queue of ours or another worker's ring. */
#pragma once

#include "action.h"

/*
 * Own packets that shall be kept (odp_own()), in place. Returns how many there still are; a packet
 * that finds no memory is dropped and counted at pw.
 */
unsigned odp_own_all(struct odp_worker *w, struct odp_pw *pw, struct rte_mbuf **pkts, unsigned n);

/* Gather at most a burst of packets; sends when the lane is full. They become the lane's. */
void odp_lane_put_all(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf **pkts,
	const struct odp_sums *sums);
void odp_lane_put(struct odp_worker *w, struct odp_lane *l, struct rte_mbuf *m);

/* The same when there is not just one lane: each packet as its port wants it, then by `rxq`. */
void odp_spread(struct odp_worker *w, struct odp_pw *out, uint16_t rxq, struct rte_mbuf **pkts,
	const struct odp_sums *sums);
void odp_spread_one(struct odp_worker *w, struct odp_pw *out, uint16_t rxq, struct rte_mbuf *m);

/* Give packets from receive queue `rxq` of some port to an output port. */
static inline void odp_out_all(struct odp_worker *w, struct odp_pw *out, uint16_t rxq,
	struct rte_mbuf **pkts, const struct odp_sums *sums)
{
	if (likely(out->only))
		odp_lane_put_all(w, out->only, pkts, sums);
	else
		odp_spread(w, out, rxq, pkts, sums);
}

static inline void odp_out(
	struct odp_worker *w, struct odp_pw *out, uint16_t rxq, struct rte_mbuf *m)
{
	if (likely(out->only))
		odp_lane_put(w, out->only, m);
	else
		odp_spread_one(w, out, rxq, m);
}

/* Send everything gathered and notify. The end of a turn. */
void odp_lanes_flush(struct odp_worker *w);

/* Send what other workers handed over, at most a burst per queue; w->handed says when. Packets. */
unsigned odp_handed_poll(struct odp_worker *w);

/* ---- packed port capabilities ---- */

#define CAPS_UP (1ull << 16)
#define CAPS_CSUM (1ull << 17)
#define CAPS_TSO4 (1ull << 18)
#define CAPS_TSO6 (1ull << 19)
#define CAPS_USO4 (1ull << 20)
#define CAPS_USO6 (1ull << 21)
#define CAPS_MULTI_SEG (1ull << 22)
#define CAPS_LENT (1ull << 23)
#define CAPS_GRO (1ull << 24) // with CAPS_CSUM, CAPS_MULTI_SEG, and CAPS_TSO4 or CAPS_TSO6

static inline uint64_t odp_caps(const struct odp_port *port)
{
	return atomic_load_explicit(&port->caps, memory_order_relaxed);
}

static inline uint16_t odp_caps_mtu(uint64_t caps)
{
	return (uint16_t)caps;
}
