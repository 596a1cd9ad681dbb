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

#include <rte_mbuf.h>

#include "dpu_cur.h"
#include "odp_flow.h"
#include "odp_tnl.h"
#include "sw_offload.h"

/*
 * struct odp_tnl_key.flags: those of the flow key, which are DF (outer IPv4: do not fragment), CSUM
 * (outer UDP checksum, or GRE's own), KEY (`id` is on the wire; GRE may go without) and OAM
 * (Geneve's O bit), and
 */
#define ODP_TNL_F_CRIT 0x10u // Geneve: some option is critical
#define ODP_TNL_F_SEQ 0x20u // GRE: a sequence number was there

#define ODP_GBP_DONT_LEARN 0x40u // struct odp_tnl_key.gbp_flags
#define ODP_GBP_APPLIED 0x08u

#define ODP_TNL_OPTS_MAX 252u // Geneve: 6 bits of words
#define ODP_GENEVE_O 0x80u // second byte of Geneve's header: control packet
#define ODP_GENEVE_C 0x40u // ... critical options present

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
 * As the flow key has it, without what only tnl.h knows of flags, and back. Any thread.
 *
 * Why there are two. The flow key's is made for words that are masked, hashed and compared: every
 * byte in wire order, IPv4 addresses in one word of their own, so that a flow over IPv4 needs one
 * word of addresses and not two, and no bit that a flow cannot match. This one is made for
 * headers: numbers to count with, both families in one form, and CRIT and SEQ, which are of the
 * wire only. One struct would be either of them at the cost of the other; a conversion is made once
 * for packets in a row that came alike, and once for a destination.
 */
void odp_tnl_to_flow(const struct odp_tnl_key *key, struct odp_key_tnl *out);
void odp_tnl_from_flow(const struct odp_key_tnl *tnl, struct odp_tnl_key *out);

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
/* That of a type. */
int odp_tnl_decode(
	enum odp_tnl_type type, struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);

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

/*
 * All critical options in a decoded key are among `known`. An option is critical by its own bit,
 * whatever the header's says. Pure; any thread. Spec: RFC 8926, section 3.5.
 */
bool odp_geneve_opts_known(
	const struct odp_tnl_key *key, const struct odp_geneve_opt *known, unsigned n_known);

/* ---- whole outer headers off: tnl.c ---- */

#define ODP_TNL_VPORTS_MAX 256u

/* A tunnel's end here: which packets it takes, and how strict it is. */
struct odp_tnl_vport {
	enum odp_tnl_type type;
	uint8_t family; // of `local`, 4 or 6; 0: any address of either
	uint8_t local[16];
	uint16_t udp_port; // 0 with GRE
	uint32_t port_no; // the datapath's number for it
	bool zero_csum6; // UDP over IPv6 without a checksum is taken (RFC 6935, section 5)
	bool take_oam; // Geneve: control packets are taken
	uint8_t n_known; // critical Geneve options that somebody behind here knows
	struct odp_geneve_opt known[ODP_TNL_KNOWN_MAX];
};

/* Outer addresses and ports to tunnel ends. Never changes: a new one is made and published. */
struct odp_tnl_demux;

/*
 * Make one from n vports, which are copied. 0, -EINVAL (a family, type or port that cannot be),
 * -EEXIST (two that would take the same packets), -ENOSPC, -ENOMEM. Control thread.
 */
int odp_tnl_demux_create(
	const struct odp_tnl_vport *vports, unsigned n, struct odp_tnl_demux **out);
void odp_tnl_demux_destroy(struct odp_tnl_demux *d);
/* Some tunnel end takes packets for this UDP port; 0: GRE. Any thread. */
bool odp_tnl_demux_has(const struct odp_tnl_demux *d, uint16_t udp_port);

/*
 * The tunnel end that this packet is for, by its outer destination address and port; one with this
 * address wins over one with any. NULL: for none, or no headers to tell by. Any worker.
 */
const struct odp_tnl_vport *odp_tnl_classify(
	const struct odp_tnl_demux *d, const struct rte_mbuf *m);

/*
 * Take the outer headers off a packet.
 *
 *   m      outer and inner headers lie in its first segment; replaced when its bytes are shared
 *          or lent and have to be written
 *   v      odp_tnl_classify() of it
 *   key    written completely on success
 *   inner  Ethertype of what is left: ODP_INNER_ETH, or IP without an Ethernet header
 *
 * Returns 0, or, the packet being as it was,
 *   -ENOENT      not for v
 *   -EBADMSG     headers cut short or at odds with each other; an offload request that is not for
 *                the outer headers
 *   -EAGAIN      a fragment
 *   -EILSEQ      a checksum is wrong, or missing where there must be one
 *   -EPROTO      refused by the format's rules: version, flags, a control packet
 *   -EOPNOTSUPP  an inner protocol, or a critical option, that nobody knows
 *   -ECOMM       congestion was experienced by a sender that did not ask for the mark
 *   -ENOMEM      *m was freed and is NULL
 *
 * The checksum of the outer UDP header is verified unless the port that received it did so. Worker.
 * Spec: RFC 7348, 8926, 2784; RFC 6040, section 4.2, for the inner ECN field; RFC 6935.
 */
int odp_tnl_pop(struct rte_mbuf **m, const struct odp_tnl_vport *v, struct rte_mempool *pool,
	struct odp_tnl_key *key, uint16_t *inner);

/* ---- and on: tnl_push.c ---- */

/* Ethernet, a tag, IPv6, UDP, Geneve with all options. */
#define ODP_TNL_OUTER_MAX (14u + 4u + 40u + 8u + 8u + ODP_TNL_OPTS_MAX)

#define ODP_TNL_INHERIT_TOS 0x01u // DSCP of the inner packet
#define ODP_TNL_INHERIT_TTL 0x02u

/* The underlay's part of the outer headers. */
struct odp_tnl_link {
	uint8_t eth_dst[6], eth_src[6];
	uint16_t vlan; // TCI with 0x1000 set; 0: no tag
	uint16_t mtu; // L3 bytes on the way to the other end; 0: not checked
};

/* Outer headers ready to be put on. Immutable once composed; any number of workers may read it. */
struct odp_tnl_tmpl {
	uint16_t len; // bytes of `hdr`
	uint16_t l2_len, l3_len;
	uint16_t mtu;
	uint8_t family;
	uint8_t inherit; // ODP_TNL_INHERIT_*
	bool udp; // else GRE
	bool csum;
	uint16_t inner; // Ethertype of the packets that it goes on
	uint16_t tp_src; // 0: from the packet's hash
	enum odp_tnl_type type;
	uint32_t ip_sum; // over the IPv4 header without tos, length, id and ttl
	uint32_t pseudo_sum; // without the length
	uint8_t hdr[ODP_TNL_OUTER_MAX];
};

/*
 * Compose outer headers.
 *
 *   key      src, dst, family, tp_dst; tp_src 0 for one that follows the inner flow; ttl 0 for 64
 *   inner    Ethertype of the packets: ODP_INNER_ETH, or IP
 *   inherit  ODP_TNL_INHERIT_*. The ECN field is inherited always (RFC 6040, section 4.1)
 *
 * Returns 0, or -EINVAL: the key does not fit the format. Any thread.
 */
int odp_tnl_compose(enum odp_tnl_type type, const struct odp_tnl_key *key, uint16_t inner,
	const struct odp_tnl_link *link, unsigned inherit, struct odp_tnl_tmpl *out);

/*
 * The same from headers that somebody else composed, for Ethernet frames: Ethernet, perhaps a tag,
 * IP without options, UDP or GRE, the tunnel's own. Lengths, the IPv4 id, sums and the UDP source
 * port are filled in for each packet; a UDP checksum other than 0 asks for one.
 *
 * Returns 0, or -EINVAL: not such headers. Any thread.
 */
int odp_tnl_tmpl_of(
	enum odp_tnl_type type, const uint8_t *hdr, size_t len, struct odp_tnl_tmpl *out);
/* The sums of a template whose lengths and headers are there. */
void odp_tnl_tmpl_sums(struct odp_tnl_tmpl *t);

/* The longest inner packet: L3 bytes behind an Ethernet header without tags. 0: not limited. */
uint32_t odp_tnl_inner_mtu(const struct odp_tnl_tmpl *t);
/* The same over an underlay with this MTU. */
uint32_t odp_tnl_inner_mtu_over(const struct odp_tnl_tmpl *t, uint32_t mtu);

/* What a push needs besides the packet and the template. One for each worker. */
struct odp_tnl_tx {
	struct rte_mempool *pool; // borrowed
	uint16_t ip_id; // of the next outer IPv4 header that may be fragmented
	/*
	 * The port behind knows tunnels: GSO frames and checksum requests of inner packets are
	 * handed to it in DPDK's terms (RTE_MBUF_F_TX_TUNNEL_*). No port says so today.
	 */
	bool hw;
};

/* 49152..65535 from a hash of the inner flow. Spec: RFC 7348, section 5; RFC 6335, section 6. */
static inline uint16_t odp_tnl_src_port(uint32_t hash)
{
	return (uint16_t)(0xc000 | ((hash ^ hash >> 14 ^ hash >> 28) & 0x3fff));
}

/* Such a hash: equal for all packets of an inner connection, fragments apart from the others. */
uint32_t odp_tnl_inner_hash(const struct odp_key *key);

/*
 * Put a template on one packet that is no GSO frame.
 *
 *   m     replaced when the room in front of its bytes is shared or too small; payload is not
 *         copied for that
 *   hash  of the inner flow: source port, and flow label over IPv6 (RFC 6438)
 *
 * An inner checksum request is completed before. The outer UDP checksum, if the template has one,
 * is left as a request by the contract of odp_port.h, GRE's is computed.
 *
 * Returns 0, or
 *   -EMSGSIZE  longer than the underlay's MTU; the packet is as it was
 *   -EBADMSG   the checksum request does not fit the headers, or a GSO frame; it is as it was
 *   -ENOMEM    *m was freed and is NULL
 * Worker.
 */
int odp_tnl_push(
	struct rte_mbuf **m, const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx, uint32_t hash);

/* What packets of one inner connection have in common: TCP or UDP behind an Ethernet header. */
struct odp_tnl_inner {
	uint32_t hash; // odp_tnl_inner_hash()
	uint16_t l3; // offset of the IP header, whose first 9 bytes are in the first segment
	bool v6;
};

/*
 * odp_tnl_push() for what most packets are: no request, and a first segment that is theirs alone,
 * with room in front. False: it is another one, or too long, and as it was. Worker.
 */
bool odp_tnl_push_plain(struct rte_mbuf *m, const struct odp_tnl_tmpl *t, struct odp_tnl_tx *tx,
	const struct odp_tnl_inner *in);

/* One packet or GSO frame on its way into a tunnel: its segments, each with outer headers. */
struct odp_tnl_out {
	struct odp_seg seg;
	const struct odp_tnl_tmpl *t; // borrowed
	struct odp_tnl_tx *tx; // borrowed
	struct rte_mbuf *one; // owned: no GSO frame, or one that the port cuts
	uint32_t hash;
	bool gso;
};

/*
 * Takes the packet on success only. 0, -EMSGSIZE (a segment would be longer than the MTU),
 * -EBADMSG (as odp_seg_init). Worker.
 */
int odp_tnl_out_init(struct odp_tnl_out *o, struct rte_mbuf *m, const struct odp_tnl_tmpl *t,
	struct odp_tnl_tx *tx, uint32_t hash);
/* The next packets, at most max; 0: no more. -ENOMEM, -EBADMSG: the rest is lost. */
int odp_tnl_out_next(struct odp_tnl_out *o, struct rte_mbuf **out, unsigned max);
void odp_tnl_out_fini(struct odp_tnl_out *o);
