/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destinations: what sending into a tunnel port with certain tunnel fields comes to. Workers find
 * them in a hash table; the control thread puts them there when a worker asks, from a path of the
 * underlay, and puts another one in the place of one whose path has changed. One that nobody uses
 * goes after a while, and there is a bound on how many there are.
 *
 * A destination never changes but for the atomics. It is unlinked first and freed when no worker
 * can see it any more; the path that it names is a place in the underlay that is never freed, and
 * whose generation says that it has become another path.
 *
 * Who sends the same way again and again keeps the slot and the serial of a destination instead of
 * its fields: odp_tnl_dest_at().
 */
#pragma once

#include "vport.h"
#include "worker.h"

#define ODP_TNL_DESTS_MAX 4096u
#define ODP_TNL_DEST_BUCKETS 4096u

enum odp_tnl_verdict {
	ODP_TNL_SEND, // with `tmpl`
	ODP_TNL_WAIT, // the control thread knows for what
	ODP_TNL_DROP, // as `why` says
};

struct odp_tnl_dest {
	/* Any worker. */
	_Atomic(struct odp_tnl_dest *) next; // in its bucket
	uint32_t hash;
	uint32_t vport; // the tunnel port's number
	uint32_t slot; // its place in odp_tnl_dests.slot
	uint64_t serial; // no others had it but those in whose place this one came
	struct odp_ul_path *path; // borrowed: the underlay's; with a reference. NULL: never changes
	uint32_t gen; // of the path, when this was made
	enum odp_tnl_verdict verdict;
	enum odp_drop why;
	uint32_t out; // the uplink
	uint32_t inner_mtu; // as odp_tnl_inner_mtu()
	struct odp_key_tnl key;
	struct odp_tnl_tmpl tmpl;
	_Atomic uint32_t used; // relaxed: 1 since the last tick

	/* Control thread. */
	uint64_t used_ns;
};

struct odp_tnl_dests {
	/* Any worker. */
	_Atomic(struct odp_tnl_dest *) bucket[ODP_TNL_DEST_BUCKETS];
	_Atomic(struct odp_tnl_dest *) slot[ODP_TNL_DESTS_MAX]; // the same ones

	/* Control thread. */
	unsigned n, next; // next: slot to try first
	uint64_t serial; // of the last one
};

/* What there is; NULL: nothing. It may be out of date: odp_tnl_dest_current(). Any worker. */
struct odp_tnl_dest *odp_tnl_dest_find(
	const struct odp *dp, uint32_t vport, const struct odp_key_tnl *key);

/*
 * The destination that has this serial: of the same tunnel port and fields for as long as there is
 * one, however often what they come to changes. NULL: it went. As above. Any worker.
 */
static inline struct odp_tnl_dest *odp_tnl_dest_at(
	const struct odp_tnl_dests *t, uint32_t slot, uint64_t serial)
{
	// Acquire: pairs with the release in link_in()
	struct odp_tnl_dest *d = atomic_load_explicit(&t->slot[slot], memory_order_acquire);

	return d && d->serial == serial ? d : NULL;
}

static inline bool odp_tnl_dest_current(const struct odp_tnl_dest *d)
{
	return !d->path || odp_ul_path_current(d->path, d->gen);
}

static inline void odp_tnl_dest_use(struct odp_tnl_dest *d)
{
	if (d->path)
		odp_ul_path_use(d->path);
	if (!atomic_load_explicit(&d->used, memory_order_relaxed))
		atomic_store_explicit(&d->used, 1, memory_order_relaxed);
}

/* ---- control thread ---- */

/* One that is current, made if need be. 0, -ENOSPC, -ENOMEM. */
int odp_tnl_dest_get(struct odp *dp, const struct odp_port *vport, const struct odp_key_tnl *key,
	struct odp_tnl_dest **out);
/* The same of one that is there; asks nothing of the underlay. -ENOENT, -ENOMEM. */
int odp_tnl_dest_renew(struct odp *dp, const struct odp_port *vport, const struct odp_key_tnl *key,
	struct odp_tnl_dest **out);
/* All of a tunnel port. */
void odp_tnl_dests_drop(struct odp *dp, uint32_t vport);
void odp_tnl_dests_age(struct odp *dp, uint64_t now_ns);
