/* SPDX-License-Identifier: Apache-2.0 */
/* The actions ct and ct_clear: between packets and the connection table (odp_ct.h). */
#pragma once

#include "action.h"
#include "hold.h"
#include "odp_ct.h"

/* 0, or -EINVAL: what is asked for contradicts itself, or nobody does it. Control thread. */
int odp_act_ct_check(const struct odp_act_ct *a, uint16_t eth_type);

/*
 * Track packets, commit their connections and translate them, as the action says.
 *
 *   place where they are; fragments are taken, and go on from there once their datagram is whole
 *   pkts  n <= ODP_BURST, replaced where their bytes are shared and have to be written; those that
 *         are no good are dropped, the others close up
 *   out   what is known of each; `orig` may point into it
 *
 * Returns how many are left. Worker; control.
 */
unsigned odp_act_ct(struct odp_worker *w, const struct odp_place *place, struct rte_mbuf **pkts,
	unsigned n, struct odp_ct_pkt *out);
/*
 * The same for a datagram in pieces: conntrack sees the whole once. Pieces that cannot be written
 * are dropped. False: so are all of them, and *out is not set.
 */
bool odp_act_ct_whole(struct odp_worker *w, struct odp_whole *d, struct odp_ct_pkt *out);

/*
 * An ICMP error that we have made about packets with this metadata, whole and in bytes that are
 * ours: if they were translated on their way here it is about them as their sender sent them
 * afterwards, and goes to that one, as RFC 5508, section 4.2 has it. Of translations in several
 * zones the last one is undone. False: they were translated, and nobody knows any more from what;
 * the error is gone. Worker; control.
 */
bool odp_act_ct_undo(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct rte_mbuf **error);

/*
 * What the action would do to a packet, on a copy of it that is ours: it is translated if its
 * connection is, and nothing else changes. What a commit of a new connection would be
 * refused for (limits, clashes), and which address and port it would get, is not foreseen.
 *
 *   meta of the packet; NULL: it has just come in
 *   how  ODP_CT_BY_KEY, ODP_CT_AS_NEW
 *   *m   replaced where its bytes are shared; NULL: no memory
 *   out  what would be known of it then
 *
 * 0, -ENOMEM, -EINVAL (no IP packet: it would be dropped) or -EAGAIN (a fragment: it would wait for
 * its datagram). Inside the table, in control.
 */
int odp_act_ct_would(struct odp *dp, const struct odp_act_ct *a, const struct odp_meta *meta,
	unsigned how, struct rte_mbuf **m, uint64_t now_ms, struct odp_ct_pkt *out);

/*
 * What metadata says of a packet that was translated in `zone`, for a further ct in it: *was, or
 * NULL when it was not. The packet has the IP version `l3`.
 */
const struct odp_ct_was *odp_act_ct_was(
	const struct odp_meta *meta, uint16_t zone, uint8_t l3, struct odp_ct_was *was);

/* Would the metadata of both be the same? */
bool odp_act_ct_same(const struct odp_ct_pkt *a, const struct odp_ct_pkt *b);

/* Write what is known of a packet into its metadata. */
void odp_act_ct_meta(struct odp_meta *meta, const struct odp_ct_pkt *p, uint16_t zone);

/*
 * Is the original tuple the packet's own, turned round when it is a reply? It nearly always is, and
 * it is all that nearly all packets differ in: without it they have the same metadata.
 */
bool odp_act_ct_is_own(const struct odp_ct_pkt *p);
/* Of two such packets: would the rest of the metadata be the same? */
bool odp_act_ct_alike(const struct odp_ct_pkt *a, const struct odp_ct_pkt *b);
/* The metadata of such packets without that tuple: `own_tuple` says where it is. */
void odp_act_ct_meta_own(struct odp_meta *meta, const struct odp_ct_pkt *p, uint16_t zone);
/*
 * The tuple of a packet whose metadata say `own_tuple`, into a key that has their ct_state. The
 * packet is as it was when it was tracked.
 */
void odp_act_ct_own(struct odp_key *k, struct rte_mbuf *m);
#define ODP_KEY_CT_ORIG_BITS                                          \
	(ODP_KEY_BITS(ct_orig_proto) | ODP_KEY_BITS(ct_orig_tp_src) | \
		ODP_KEY_BITS(ct_orig_tp_dst) | ODP_KEY_BITS(ct_orig6))
/* Forget it. */
void odp_act_ct_clear(struct odp_meta *meta);

/* What an action has to do with what conntrack has said of a packet before it. */
enum odp_act_ct_use {
	ODP_ACT_CT_LOOKS, // at that, or hands it on to who may
	ODP_ACT_CT_IGNORES,
	ODP_ACT_CT_EDITS, // and makes headers others than those that it was said of
	ODP_ACT_CT_SAYS, // it anew
};

static inline enum odp_act_ct_use odp_act_ct_use(uint16_t type)
{
	switch (type) {
	case ODP_ACT_CT:
	case ODP_ACT_CT_CLEAR:
		return ODP_ACT_CT_SAYS;
	case ODP_ACT_SET:
	case ODP_ACT_PUSH_VLAN:
	case ODP_ACT_POP_VLAN:
		return ODP_ACT_CT_EDITS;
	case ODP_ACT_OUTPUT:
	case ODP_ACT_METER:
	case ODP_ACT_TRUNC:
	case ODP_ACT_DROP:
		return ODP_ACT_CT_IGNORES;
	default:
		return ODP_ACT_CT_LOOKS;
	}
}
