/* SPDX-License-Identifier: Apache-2.0 */
/* Misses: from workers to the control thread, one bounded ring per input port. */
#pragma once

#include "worker.h"

enum odp_upcall { ODP_UPCALL_MISS, ODP_UPCALL_COPY };

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
/* Tell control, once per turn. Worker. */
void odp_upcall_signal(struct odp_worker *w);
