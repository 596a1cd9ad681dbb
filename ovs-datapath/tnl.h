/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tunnels: outer headers off and on.
 *
 * A format is a pair of pure functions between the bytes of its header and struct odp_tnl_key
 * (vxlan.c, geneve.c, gre.c). tnl.c takes whole outer headers off packets, tnl_push.c puts composed
 * ones on. What lies below a tunnel, routes and neighbours, is underlay.h.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dpu_cur.h"

/* VXLAN by the group policy draft and by the GPE draft are formats of their own. */
enum odp_tnl_type {
	ODP_TNL_VXLAN,
	ODP_TNL_VXLAN_GBP,
	ODP_TNL_VXLAN_GPE,
	ODP_TNL_GENEVE,
	ODP_TNL_GRE,
	ODP_TNL_TYPES
};

/* struct odp_tnl_key.flags */
#define ODP_TNL_F_DF 0x01u // outer IPv4: do not fragment
#define ODP_TNL_F_CSUM 0x02u // outer UDP checksum, or GRE's own
#define ODP_TNL_F_KEY 0x04u // `id` is on the wire; GRE may go without
#define ODP_TNL_F_OAM 0x08u // Geneve's O bit
#define ODP_TNL_F_CRIT 0x10u // Geneve: some option is critical
#define ODP_TNL_F_SEQ 0x20u // GRE: a sequence number was there

#define ODP_GBP_DONT_LEARN 0x40u // struct odp_tnl_key.gbp_flags
#define ODP_GBP_APPLIED 0x08u

#define ODP_TNL_OPTS_MAX 252u // Geneve: 6 bits of words

/* What lies inside, as Ethertypes. */
#define ODP_INNER_ETH 0x6558u
#define ODP_INNER_IPV4 0x0800u
#define ODP_INNER_IPV6 0x86ddu

/*
 * What a tunnel tells about a packet, and what a packet is sent with. Host order but for addresses
 * and options. No padding, unused bytes are zero: it may be hashed and compared as bytes.
 */
struct odp_tnl_key {
	uint64_t id; // VNI, or GRE's key
	uint8_t src[16], dst[16]; // IPv4 in the first 4
	uint8_t family; // 4 or 6; 0: no tunnel
	uint8_t tos, ttl;
	uint8_t gbp_flags;
	uint16_t flags;
	uint16_t tp_src, tp_dst; // UDP ports; 0 with GRE
	uint16_t gbp_id;
	uint8_t gpe_flags, gpe_next;
	uint8_t opts_len; // bytes
	uint8_t opts[ODP_TNL_OPTS_MAX]; // Geneve options as on the wire
	uint8_t pad[5];
};
static_assert(sizeof(struct odp_tnl_key) == 312, "whole words");
static_assert(offsetof(struct odp_tnl_key, pad) == 307, "no padding but the last");

/*
 * Decode one tunnel header.
 *
 *   in     positioned at the header; advanced to the inner packet on success
 *   key    id, flags and what the format has besides are set on success; all of it was zero before
 *   inner  Ethertype of what follows; ODP_INNER_ETH for an Ethernet frame
 *
 * Returns 0, or
 *   -EBADMSG     cut short, or lengths that contradict each other
 *   -EPROTO      a version, or flags, that a receiver must not accept
 *   -EOPNOTSUPP  an inner protocol without an Ethertype that we know
 *
 * Pure; any thread.
 *
 *   vxlan      RFC 7348, section 5: the I flag must be set, reserved bits are ignored.
 *   vxlan_gbp  draft-smith-vxlan-group-policy-05: the same, with the policy fields when G is set.
 *   vxlan_gpe  draft-ietf-nvo3-vxlan-gpe-13, section 3.1: version 0; without P an Ethernet frame
 *              follows. O means that this is no tenant's packet: -EPROTO.
 *   geneve     RFC 8926, section 3.4 and 3.5: version 0, options fill their length exactly. O and
 *              critical options are reported in flags, to be judged by whoever knows the options.
 *   gre        RFC 2784 and 2890: version 0, no routing. The checksum is not verified here.
 */
int odp_vxlan_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);
int odp_vxlan_gbp_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);
int odp_vxlan_gpe_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);
int odp_geneve_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);
int odp_gre_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);

/*
 * Encode one tunnel header in front of a packet of Ethertype `inner`.
 *
 * Returns its length in bytes, or
 *   -EINVAL      the key does not fit the format: an id, options or an inner protocol that it
 *                cannot carry
 *   -ENOSPC      longer than `size`
 *
 * GRE's checksum is left zero and has to be filled in over header and payload. Pure; any thread.
 */
int odp_vxlan_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);
int odp_vxlan_gbp_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);
int odp_vxlan_gpe_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);
int odp_geneve_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);
int odp_gre_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);

/* A Geneve option's name. */
struct odp_geneve_opt {
	uint16_t class;
	uint8_t type; // with the critical bit, 0x80
};

/*
 * All critical options in a decoded key are among `known`. An option is critical by its own bit,
 * whatever the header's says. Pure; any thread. Spec: RFC 8926, section 3.5.
 */
bool odp_geneve_opts_known(
	const struct odp_tnl_key *key, const struct odp_geneve_opt *known, unsigned n_known);
