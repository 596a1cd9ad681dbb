/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments that meet the action ct: they are held until their datagram is whole (frag.h), then all
 * of them go on from there, in the same turn.
 *
 * What comes behind the action is that of the list in which the last one to come met it. Datagrams
 * that are whole wait in a short queue rather than run at once, since one packet may bring 64: what
 * recirculates has its turn in between.
 */
#pragma once

#include "frag.h"
#include "recirc.h"

#define ODP_WHOLES 64u // datagrams that wait

/* Where in which list packets are. */
struct odp_place {
	const struct odp_act_ct *ct; // borrowed, as `rest`: the list lives until the turn is over
	const struct odp_act *rest;
	size_t len; // bytes of `rest`
	bool sent, gone; // as struct batch has it
	uint32_t cut;
	struct odp_from from;
	const struct odp_meta *meta; // borrowed; NULL: they have just come in
};

/* A datagram that has become whole. */
struct odp_whole {
	struct odp_frag_out d;
	struct odp_place at; // its meta is ours, or NULL
	struct odp_meta meta;
};

struct odp_hold;

/* One worker's, the control thread's among them. 0, -ENOMEM, -EINVAL. */
int odp_hold_create(struct odp_worker *w, struct odp_hold **out);
void odp_hold_destroy(struct odp_hold *h);

/*
 * Take a fragment that is at `at`; it is held, or dropped and counted. False: it is no fragment
 * that could be put together, and the caller's still. Worker; control.
 */
bool odp_hold_in(struct odp_worker *w, struct rte_mbuf *m, const struct odp_place *at);

/* The oldest whole datagram of w->n_whole > 0, until odp_hold_next(). */
struct odp_whole *odp_hold_first(struct odp_worker *w);
void odp_hold_next(struct odp_worker *w);
/* More may not fit: some should run before other packets do. */
static inline bool odp_hold_crowded(const struct odp_worker *w)
{
	return w->n_whole > ODP_WHOLES - ODP_BURST;
}

/* Drop what has waited for too long. Between turns, while w->holds. */
void odp_hold_turn(struct odp_worker *w);
/* A port's queue leaves this worker: nothing of it stays. */
void odp_hold_forget(struct odp_worker *w, uint32_t port);
void odp_hold_stats_add(const struct odp_hold *h, struct odp_frag_stats *sum);
