/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to packets' headers. Each takes a packet that odp_edit_open() made ours to write. */
#pragma once

#include <rte_mbuf.h>

#include "odp_act.h"
#include "sw_offload.h"

#define ODP_EDIT_ROOM 16u // bytes of headroom that an open packet has at least

/*
 * A packet whose headers can be rewritten in place: the first segment is ours alone and holds all
 * headers that the datapath reads. Those behind it may be shared, or lent. NULL: no memory, the
 * packet was freed. Worker; control.
 */
struct rte_mbuf *odp_edit_open(struct rte_mbuf *m, struct rte_mempool *pool);

/* Where headers are: offsets in the first segment. */
struct odp_at {
	uint8_t *p; // the packet
	uint32_t n; // bytes of it that can be read there
	uint32_t l3; // behind tags
	uint32_t l4; // 0: none, as in a later fragment
	uint32_t end; // of layer 4
	uint16_t eth_type;
	uint16_t tags;
	uint8_t proto;
	bool frag;
	bool routed; // the destination address is not the last one yet
};

/* False: cut short, or not what it says it is. The packet is open, or only looked at. */
bool odp_edit_find(struct rte_mbuf *m, struct odp_at *at);
/* Does the packet ask somebody later on to sum up this layer 4? */
bool odp_edit_is_partial(const struct rte_mbuf *m, const struct odp_at *at);

/* Offsets that an offload request counts from the start of the frame. */
static inline void odp_edit_l2_grew(struct rte_mbuf *m, int by)
{
	if (m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO))
		m->l2_len = (uint64_t)(m->l2_len + by) & 0x7f;
}

/*
 * The edits return 0, or -EBADMSG when the packet is too short for it or not what the action takes
 * it for; it is unchanged then. Offload requests are kept true: header lengths, partial checksums.
 */
int odp_edit_push_vlan(struct rte_mbuf *m, uint16_t tpid, uint16_t tci);
int odp_edit_pop_vlan(struct rte_mbuf *m);
int odp_edit_push_mpls(struct rte_mbuf *m, dpu_be32 lse, uint16_t eth_type);
int odp_edit_pop_mpls(struct rte_mbuf *m, uint16_t eth_type);
/* An Ethernet header on a packet without one, and off: tags have to be popped before. */
int odp_edit_push_eth(
	struct rte_mbuf *m, const uint8_t dst[6], const uint8_t src[6], uint16_t eth_type);
int odp_edit_pop_eth(struct rte_mbuf *m);
/* Of the first Ethernet header; 0: too short. */
uint16_t odp_edit_eth_type(const struct rte_mbuf *m);
/* Any field that is the packet's; of a later fragment there is no layer 4 to set. */
int odp_edit_set(struct rte_mbuf *m, const struct odp_act_set *s);
/* 1: the time to live is over, the packet unchanged. */
int odp_edit_dec_ttl(struct rte_mbuf *m);

/* Keep the first `len` bytes. A packet that gets shorter asks for no offload afterwards. */
void odp_edit_trunc(struct rte_mbuf *m, uint32_t len);

/*
 * The edit that a record says: one of the above, but trunc. `packet_type` is that of the packet
 * before: a header that is pushed takes its Ethertype from there. Returns as that edit does.
 */
int odp_edit_act(struct rte_mbuf *m, const struct odp_act *a, uint32_t packet_type);
