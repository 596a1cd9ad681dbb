/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several edits of packets that have the same addresses and ports, merged into one.
 *
 * What the headers are afterwards is known then, but for type of service and time to live, and so
 * is what checksums change by: it is summed up once for all edits, in the arithmetic of RFC 1624,
 * equation 3, in which one sum of differences gives what one after the other would have given, to
 * the bit. Whatever would not come out the same is not merged.
 */
#pragma once

#include <rte_mbuf.h>

#include "key.h"
#include "odp_act.h"
#include "odp_ct.h"
#include "sw_offload.h"

#define ODP_REWRITE_TAGS 2u

struct odp_rewrite {
	uint8_t eth[12]; // both addresses afterwards
	uint8_t ports[4]; // as on the wire, like `ip`
	uint16_t d_ip, d_addrs, d_ports; // what one's complement sums change by; 0: they do not
	bool changes; // anything at all
	bool pops; // the tag that the packet came with
	uint8_t n_push; // tags in front of what is left
	uint8_t n_dec; // steps of the time to live, before it is set
	bool sets_ttl;
	uint8_t ttl_set, ttl; // to; and what it is after the steps behind that
	uint8_t tos, tos_mask; // IPv4
	uint8_t ip[32]; // source and destination: 8 bytes of IPv4, 32 of IPv6
	uint32_t word, word_mask; // IPv6: traffic class and flow label, host order
	uint8_t tag[ODP_REWRITE_TAGS][4]; // the outermost first
};

/* While it is being made: `key` is the packet's, and follows the edits. */
struct odp_rewriter {
	struct odp_rewrite *rw;
	struct odp_key *key;
	bool v6;
	bool tagged; // the tag that the packet came with is still there
};

/* No edit yet. `key`: untagged, or with one tag; TCP or UDP. */
void odp_rewrite_begin(struct odp_rewriter *r, struct odp_rewrite *rw, struct odp_key *key);
/* One more: a set of a field, a tag on or off, a step of the time to live. False: not merged. */
bool odp_rewrite_act(struct odp_rewriter *r, const struct odp_act *a);
void odp_rewrite_nat(struct odp_rewriter *r, const struct odp_ct_nat *nat);
/* Bytes that a frame is longer by. */
int odp_rewrite_grows(const struct odp_rewriter *r);
/* Afterwards: the key's addresses and ports become those to be written. */
void odp_rewrite_end(const struct odp_rewriter *r);

/*
 * Can this packet be rewritten as if edit by edit? Not where a UDP checksum of zero may not be one.
 * l4: its layer 4 header.
 */
static inline bool odp_rewrite_can(const struct odp_rewrite *rw, const struct rte_mbuf *m,
	const uint8_t *l4, bool udp, bool v6)
{
	if (likely(!udp || (l4[6] | l4[7]) != 0) || (rw->d_addrs | rw->d_ports) == 0)
		return true;
	return !v6 && !(m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO));
}

/*
 * Rewrite a packet that odp_edit_open() made ours. Its headers are what the key was made from; its
 * time to live is more than n_dec. l3: offset of its network header, before. Worker.
 */
void odp_rewrite_apply(
	const struct odp_rewrite *rw, struct rte_mbuf *m, uint32_t l3, bool udp, bool v6);
