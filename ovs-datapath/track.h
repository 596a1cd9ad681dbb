/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The datapath's connection table: when it is made, and how workers go in and out of it.
 *
 * It is made with the first flow that tracks connections; until then nobody pays for it. A worker
 * goes in with the first packet that it tracks, says between turns that it holds nothing, sweeps a
 * little, and goes out before it sleeps. The control thread goes in for packets that were missed.
 */
#pragma once

#include "dp.h"
#include "odp_ct.h"

#define ODP_CT_CONNS 262144u // unless odp_conf says otherwise

/* There is a table from now on. 0, -ENOMEM, -EINVAL. Control thread. */
int odp_track_init(struct odp *dp);

/* Between two turns, for a worker that is inside. */
void odp_track_turn(struct odp_worker *w);
/* Before a sleep. */
void odp_track_leave(struct odp_worker *w);
/* Once a second on the control thread: workers may all be asleep. */
void odp_track_tick(struct odp *dp);
void odp_track_read_clock(struct odp_worker *w);

/* The table, for a worker that is going to use it in this turn; there is a flow that tracks. */
static inline struct odp_ct *odp_track_enter(struct odp_worker *w)
{
	if (unlikely(!w->tracks)) {
		w->tracks = true;
		w->fuses = w->fused != NULL;
		odp_ct_online(w->dp->ct, w->idx);
	}
	return w->dp->ct;
}

/* Milliseconds of this turn. */
static inline uint64_t odp_track_now_ms(struct odp_worker *w)
{
	if (unlikely(!w->now_ms))
		odp_track_read_clock(w);
	return w->now_ms;
}
