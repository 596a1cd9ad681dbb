/* SPDX-License-Identifier: Apache-2.0 */
/* Into tunnels and out of them, as actions say. */
#pragma once

#include "vport.h"
#include "worker.h"

struct odp_tnl_dest;

/* What a worker has for it. */
struct odp_tnl_worker {
	struct odp_tnl_tx tx;
	struct odp_pmtu *pmtu; // owned
	struct odp_ul_gate *gate; // owned
};

/* NULL: no memory. */
struct odp_tnl_worker *odp_tnl_worker_create(struct odp *dp, unsigned idx);
void odp_tnl_worker_destroy(struct odp_tnl_worker *t);

/* Packets with outer headers, at most a burst at a time. They become the callee's. */
typedef void odp_tnl_sink_fn(void *arg, struct rte_mbuf **pkts, unsigned n);

/*
 * Put a template on packets, which become ours, and give them to `sink`: GSO frames in segments,
 * with all inner sums made.
 *
 *   meta       as it is now: what was translated is told of as its sender sent it; may be NULL
 *   vport      counts what goes through
 *   inner_mtu  longer ones are answered out of the port that they came from and dropped; 0: none
 *
 * Worker; control for its own.
 */
void odp_tnl_put_on(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct odp_pw *vport, const struct odp_tnl_tmpl *t, uint32_t inner_mtu,
	struct rte_mbuf **pkts, unsigned n, odp_tnl_sink_fn *sink, void *arg);

/*
 * What odp_tnl_output() comes to for packets of one inner connection: nothing is looked up.
 *
 *   d       current, and one that sends
 *   uplink  its `out`
 *   in      what they all are
 *
 * Worker.
 */
void odp_tnl_forward(struct odp_worker *w, const struct odp_from *from, struct odp_pw *vport,
	struct odp_tnl_dest *d, struct odp_pw *uplink, const struct odp_tnl_inner *in,
	struct rte_mbuf **pkts, unsigned n);

/*
 * Send n <= ODP_BURST packets, which become ours, where their metadata say through a tunnel port.
 * What it needs and a worker does not find, the control thread finds: packets go there.
 */
void odp_tnl_output(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct odp_pw *vport, struct rte_mbuf **pkts, unsigned n);

/*
 * Take the outer headers off n <= ODP_BURST packets, which become ours, and look them up again as
 * those of the tunnel port `vport`, within this turn.
 */
void odp_tnl_input(struct odp_worker *w, const struct odp_from *from, uint32_t vport,
	struct rte_mbuf **pkts, unsigned n);

/* Why odp_tnl_pop() failed, for whoever counts it. Pure. */
enum odp_drop odp_tnl_pop_reason(int err);

/* A packet that odp_tnl_output() gave to the control thread, with its head. Control thread. */
void odp_tnl_upcall(struct odp *dp, struct rte_mbuf *m);
/* One that waited for a path that is ready now, or in vain; as struct odp_ul_conf says. */
void odp_tnl_lost(struct odp *dp, struct rte_mbuf *m);
void odp_tnl_ready(struct odp *dp, const struct odp_ul_path *path, struct rte_mbuf *m);
