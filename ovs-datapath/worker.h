/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a worker's stages and the actions: where packets come from, and how they go back to be
 * looked up again.
 */
#pragma once

#include "dp.h"
#include "meta.h"

#define ODP_RECIRC_DEPTH 8u // recirculations of one packet
#define ODP_RECIRC_PKTS 256u // packets that wait for one in one worker

/* Where packets of one run come from. */
struct odp_from {
	struct odp_pw *in; // the port that they came in by; counts their drops
	uint16_t rxq; // its queue: it spreads over a port's transmit queues
	const struct odp_meta *meta; // NULL: as it is for packets that have just come in
};

/*
 * Look packets up again, as `recirc_id` and with the metadata `meta`, once the burst that they are
 * in has been dealt with, but within this turn: lent payload stays valid. Their headers are read
 * anew then.
 *
 *   from   of the actions that recirculate
 *   meta   of the packets now, copied; NULL: as `from` says. Its recirc_id and depth do not count:
 *          the depth is that of `from` and one more
 *   pkts   n <= ODP_BURST packets, which become ours; they are all of one run
 *
 * Drops RECIRC_DEPTH beyond ODP_RECIRC_DEPTH, RECIRC_FULL beyond ODP_RECIRC_PKTS. Worker; control
 * for its own.
 */
void odp_recirc(struct odp_worker *w, const struct odp_from *from, uint32_t recirc_id,
	const struct odp_meta *meta, struct rte_mbuf **pkts, unsigned n);

/* What a worker's stages keep of the packets they work on. NULL: out of memory. */
struct odp_burst *odp_bursts_create(void);
void odp_bursts_destroy(struct odp_burst *b);

/* Look up and act on all that recirculates, until nothing does. Worker; control for its own. */
void odp_recirc_run(struct odp_worker *w);
