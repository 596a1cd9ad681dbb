/* SPDX-License-Identifier: Apache-2.0 */
/* Flow life cycle, as the other files of this folder need it. Control thread. */
#pragma once

#include "dp.h"

int odp_flows_init(struct odp *dp);
void odp_flows_fini(struct odp *dp);
/* Delete every flow that matches on a port exactly or sends to it. */
void odp_flows_port_deleted(struct odp *dp, uint32_t port);
static inline bool odp_flow_live(const struct odp_flow *f)
{
	return atomic_load_explicit(&f->gen, memory_order_relaxed) & 1;
}

/* 0, -ENOSPC or -ENOMEM. */
int odp_flow_alloc(struct odp *dp, struct odp_flow **out);
/* Back to the free list: no worker can see it any more. */
void odp_flow_free(struct odp *dp, struct odp_flow *f);
/* Bring times of last use up to date. */
void odp_flows_sample(struct odp *dp, uint64_t now_ns);
void odp_flow_stats_read(
	const struct odp *dp, const struct odp_flow *f, struct odp_flow_stats *out);
/* A flow as users see it; its time of last use is left out. */
void odp_flow_describe(const struct odp *dp, const struct odp_flow *f, struct odp_flow_info *info);
/* The live flow of an id or of a name; NULL: none. */
struct odp_flow *odp_flow_by_id(const struct odp *dp, uint64_t id);
struct odp_flow *odp_flow_by_ufid(const struct odp *dp, const struct odp_ufid *ufid);
/* Memory, so that odp_flow_name() cannot fail. 0 or -ENOMEM. */
int odp_flow_ufid_reserve(struct odp *dp, const struct odp_ufid *ufid);
/* From now on a flow is found by this name and by no other; all zero: by none. */
void odp_flow_name(struct odp *dp, struct odp_flow *f, const struct odp_ufid *ufid);
