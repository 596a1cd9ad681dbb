/* SPDX-License-Identifier: Apache-2.0 */
/* Misses: from workers to the control thread, one bounded ring per input port. */
#pragma once

#include "worker.h"

enum odp_upcall { ODP_UPCALL_MISS, ODP_UPCALL_COPY, ODP_UPCALL_TNL };

/* What stands in a segment of its own before some of the packets on their way to control. */
struct odp_upcall_head {
	bool has_meta; // else they are of a packet that has just come in
	uint16_t data_len;
	uint32_t pid; // of an action "userspace"
	uint32_t vport; // ODP_UPCALL_TNL: the tunnel port that it is sent to
	uint8_t data[ODP_USERDATA_MAX];
	struct odp_meta meta;
};

/* The packet behind its head, which is copied. */
struct rte_mbuf *odp_upcall_head_take(struct rte_mbuf *s, struct odp_upcall_head *h);

/*
 * Hand n <= ODP_BURST packets of one run to control, with their metadata; what does not fit is
 * dropped with NO_FLOW. Worker; control for what it recirculates itself.
 */
void odp_upcall_put(struct odp_worker *w, const struct odp_from *from, enum odp_upcall kind,
	struct rte_mbuf **pkts, unsigned n);
/*
 * Hand one packet, a copy that is ours, to control as an action "userspace" says; it is told to
 * odp_conf.userspace when that has a pid. Worker.
 */
void odp_upcall_put_data(struct odp_worker *w, const struct odp_from *from,
	const struct odp_act_userspace *u, struct rte_mbuf *m);
/*
 * Hand packets of one run, with their metadata now, to control to send them into a tunnel. Worker;
 * control for its own.
 */
void odp_upcall_put_tnl(struct odp_worker *w, const struct odp_from *from,
	const struct odp_meta *meta, uint32_t vport, struct rte_mbuf **pkts, unsigned n);
/* Tell control, once per turn. Worker. */
void odp_upcall_signal(struct odp_worker *w);
