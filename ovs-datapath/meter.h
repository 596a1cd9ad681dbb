/* SPDX-License-Identifier: Apache-2.0 */
/* Meters, as the other files of this folder need them. */
#pragma once

#include "dp.h"
#include "odp_meter.h"

int odp_meters_init(struct odp *dp);
void odp_meters_fini(struct odp *dp);

/*
 * Charge n <= ODP_BURST packets to a meter. Returns a bitmap of those that are to be dropped.
 * Worker; control.
 */
uint32_t odp_meter_run(
	const struct odp_worker *w, uint32_t id, struct rte_mbuf *const *pkts, unsigned n);
