/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fused path: connections that went through the whole pipeline once are forwarded by one exact
 * lookup and one composed program.
 *
 * A pipeline with connection tracking looks a packet up two or three times, each time with other
 * metadata, and reads its headers anew in between. For an established connection all of that
 * comes out the same for every packet. So what it came to is kept, for each direction by itself:
 * the flows that were hit, the connections that saw the packet, the meters, all edits as one
 * rewrite, the output.
 *
 * It holds exactly as long as everything it was composed from: an entry names its flows with their
 * generations and the serials of their action lists, its connections with their generations, and
 * the generation of the view. When anything in the flow table has changed (odp.epoch), the parts
 * are compared before the entry is used again; connections are asked on every packet, since every
 * packet may change them. What does not fit goes the whole way, as if there were no entry.
 *
 * What goes into a tunnel names its destination, and follows it when the underlay changes; what
 * comes out of one is looked up behind the outer headers, with the tunnel's fields in the key.
 *
 * One table for each worker, which alone touches it; memory for more entries is made ready by the
 * control thread. Design: docs/adr/0014-fused-path.md.
 */
#pragma once

#include "worker.h"

struct odp_tnl_key;

/* A table for about so many connections. NULL: out of memory. */
struct odp_fused *odp_fused_create(uint32_t n_conns);
void odp_fused_destroy(struct odp_fused *t);
/*
 * About once a second: touch memory for more entries, so that no worker waits for a page. n_conns:
 * connections that there are, this worker's share. Control thread.
 */
void odp_fused_tick(struct odp_fused *t, uint64_t n_conns);

/*
 * Forward those of n <= ODP_BURST packets, just received, that there are entries for. Returns how
 * many are left, in their order, at the start of pkts; *bytes grows by those of the others. Worker.
 */
unsigned odp_fused_burst(struct odp_worker *w, const struct odp_view *v,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n, uint64_t *bytes);

/*
 * The same of packets that came out of a tunnel, with one set of its fields, which from->meta has:
 * none of them was looked up. The others are to be looked up again in this turn. Worker.
 */
unsigned odp_fused_inner(
	struct odp_worker *w, const struct odp_from *from, struct rte_mbuf **pkts, unsigned n);

/*
 * A packet that `from` received was for the end of a tunnel, as `key` says: others like it need no
 * look into the table before their outer headers are off. Worker.
 */
void odp_fused_ends(
	struct odp_worker *w, const struct odp_from *from, const struct odp_tnl_key *key);

/* Packets of this origin have not been looked up before but for what brought them here. */
static inline bool odp_fused_is_first(const struct odp_from *from)
{
	// Out of a tunnel it is the first recirculation that they are on
	return !from->meta || (from->in->port->tnl && from->meta->depth == 1);
}

/*
 * A packet, just received or out of a tunnel, and still whole, whose flow's actions recirculate it:
 * it may be worth an entry. Worker.
 */
void odp_fused_note(struct odp_worker *w, const struct odp_view *v, const struct odp_from *from,
	const struct rte_mbuf *m);

/* Make entries for what was noted in this turn, once its packets have gone. Worker. */
void odp_fused_make(struct odp_worker *w, const struct odp_view *v);
