/* SPDX-License-Identifier: Apache-2.0 */
/* Misses: from workers to the control thread, one bounded ring per input port. */
#pragma once

#include "dp.h"

/* In mbuf hash.usr of a packet in an upcall ring. */
enum odp_upcall { ODP_UPCALL_MISS, ODP_UPCALL_COPY };

/* Hand n packets of one port to control; what does not fit is dropped with NO_FLOW. Worker. */
void odp_upcall_put(struct odp_worker *w, struct odp_pw *in, struct rte_mbuf **pkts, unsigned n);
/* Tell control, once per turn. Worker. */
void odp_upcall_signal(struct odp_worker *w);
