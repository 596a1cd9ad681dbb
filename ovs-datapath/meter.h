/* SPDX-License-Identifier: Apache-2.0 */
/* Meters, as the other files of this folder need them. */
#pragma once

#include "dp.h"
#include "odp_meter.h"

/* Behind the operators' meters: the storm control of each port. */
#define ODP_METER_STORM(port) (ODP_METERS + (port))
#define ODP_METERS_ALL (ODP_METERS + ODP_PORT_MAX)

/* Why what is too much for a meter is dropped. */
static inline enum odp_drop odp_meter_reason(uint32_t id)
{
	return id < ODP_METERS ? ODP_DROP_METER : ODP_DROP_STORM;
}

/* So many packets a second, or any number (per_s 0). 0, -ENOMEM. Control thread. */
int odp_meter_storm(struct odp *dp, uint32_t port, const struct odp_storm *s);

int odp_meters_init(struct odp *dp);
void odp_meters_fini(struct odp *dp);

/*
 * Charge n <= ODP_BURST packets to a meter. Returns a bitmap of those that are to be dropped.
 * Worker; control.
 */
uint32_t odp_meter_run(
	const struct odp_worker *w, uint32_t id, struct rte_mbuf *const *pkts, unsigned n);
