/* SPDX-License-Identifier: Apache-2.0 */
/* Action lists: validated once (act_check.c), executed many times (act_run.c). */
#pragma once

#include "odp_act.h"
#include "tnl.h"
#include "worker.h"

#define ODP_ACT_F_LAST 1u // in odp_act.flags: nothing behind wants the packet, this takes it

/*
 * Validate and copy an action list of `len` bytes.
 *
 * Returns 0 with *out the caller's to free(), or -EINVAL, -ENODEV, -ENOMEM as odp_flow_put() says.
 */
int odp_acts_create(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_act *list, size_t len, struct odp_acts **out);

/* Does a list send anything to this port? */
bool odp_acts_name_port(const struct odp_act *list, size_t len, uint32_t port);

/* The outer headers of an action "tnl_push" of a list that was created. */
static inline const struct odp_tnl_tmpl *odp_acts_tmpl(const struct odp_act_tnl_push *p)
{
	return (const struct odp_tnl_tmpl *)(const void *)((const uint8_t *)p + p->off);
}

/*
 * Execute on packets of one flow, which become ours; `sums` is of them. `from` lives until the call
 * returns.
 */
void odp_acts_run(struct odp_worker *w, const struct odp_acts *acts, const struct odp_from *from,
	struct rte_mbuf **pkts, const struct odp_sums *sums);

/* Go on with the datagram in pieces that waits first, of w->n_whole > 0. Worker; control. */
void odp_acts_run_whole(struct odp_worker *w);
