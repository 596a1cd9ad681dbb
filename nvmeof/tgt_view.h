/* SPDX-License-Identifier: Apache-2.0 */
/* What each worker has of a subsystem's namespaces: a channel to each volume. Private. */
#pragma once

#include "tgt.h"

/* Control thread. Open channels of all namespaces for a worker, if it has none. 0 or -errno. */
int tgt_view_open(struct nof_tgt_subsys *sub, struct tgt_worker *w);
/* A namespace comes to every worker that has a view. 0 or -errno, all or none. */
int tgt_view_ns_add(struct nof_tgt_subsys *sub, struct tgt_ns *ns);
/* It goes. What is still in flight is waited for in t->dying. */
void tgt_view_ns_del(struct nof_tgt_subsys *sub, struct tgt_ns *ns);
/* All of them go, and the views. */
void tgt_view_close(struct nof_tgt_subsys *sub);
/* Close what has nothing in flight any more. True: nothing of ns (NULL: any) is left. */
bool tgt_view_reap(struct nof_tgt *t, const struct tgt_ns *ns);

/* The worker. Something is in flight on this channel. */
static inline void tgt_view_busy(struct tgt_view_ns *vn)
{
	vn->kick = true;
	if (vn->busy)
		return;
	vn->busy = true;
	TAILQ_INSERT_TAIL(&vn->w->busy, vn, busy_link);
}
