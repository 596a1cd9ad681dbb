/* SPDX-License-Identifier: Apache-2.0 */
/* Flow life cycle, as the other files of this folder need it. Control thread. */
#pragma once

#include "dp.h"

int odp_flows_init(struct odp *dp);
void odp_flows_fini(struct odp *dp);
/* Delete every flow that matches on a port exactly or sends to it. */
void odp_flows_port_deleted(struct odp *dp, uint32_t port);
/* Back to the free list: no worker can see it any more. */
void odp_flow_free(struct odp *dp, struct odp_flow *f);
/* Bring times of last use up to date. */
void odp_flows_sample(struct odp *dp, uint64_t now_ns);
