/* SPDX-License-Identifier: Apache-2.0 */
/* Action lists: validated once, executed many times. */
#pragma once

#include "worker.h"

/*
 * Validate and copy an action list.
 *
 * Returns 0 with *out the caller's to free(), or -EINVAL, -ENODEV, -ENOMEM as odp_flow_put() says.
 */
int odp_acts_create(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_action *a, unsigned n, struct odp_acts **out);

/*
 * Execute on packets of one flow, which become ours; `sums` is of them. `from` lives until the call
 * returns.
 */
void odp_acts_run(struct odp_worker *w, const struct odp_acts *acts, const struct odp_from *from,
	struct rte_mbuf **pkts, const struct odp_sums *sums);
