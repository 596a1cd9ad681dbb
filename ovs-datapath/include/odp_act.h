/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Action lists: what a flow does with its packets, as Open vSwitch's datapath has it.
 *
 * A list is records of variable length, one behind the other, each at a multiple of 8 bytes, as
 * netlink attributes are: a provider for ovs-vswitchd translates one into the other, record by
 * record. Some records hold lists of their own. A list is built with struct odp_actbuf, checked
 * once when a flow is installed, and never changes afterwards.
 *
 * Spec: ovs-actions(7); Documentation/networking/openvswitch.rst of Linux; enum ovs_action_attr.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "odp_flow.h"

#define ODP_ACT_LIST_MAX 65536u // bytes of a whole list
#define ODP_ACT_DEPTH_MAX 8u // lists within lists
#define ODP_ACT_OUTPUTS_MAX 1024u // outputs of a whole list: a flood to every port of a large card
#define ODP_USERDATA_MAX 64u
#define ODP_TNL_HDR_MAX 512u

enum odp_act_type {
	ODP_ACT_NONE,
	ODP_ACT_OUTPUT, // struct odp_act_output
	ODP_ACT_USERSPACE, // struct odp_act_userspace
	ODP_ACT_PUSH_VLAN, // struct odp_act_vlan
	ODP_ACT_POP_VLAN,
	ODP_ACT_SET, // struct odp_act_set
	ODP_ACT_PUSH_MPLS, // struct odp_act_mpls
	ODP_ACT_POP_MPLS, // struct odp_act_mpls
	ODP_ACT_PUSH_ETH, // struct odp_act_eth
	ODP_ACT_POP_ETH,
	ODP_ACT_HASH, // struct odp_act_hash
	ODP_ACT_RECIRC, // struct odp_act_u32: recirc_id
	ODP_ACT_CLONE, // a list: on a copy
	ODP_ACT_SAMPLE, // struct odp_act_u32: probability of UINT32_MAX; a list: on a copy
	ODP_ACT_METER, // struct odp_act_u32: meter
	ODP_ACT_CHECK_PKT_LEN, // struct odp_act_u32: up to 65535 bytes; ODP_ACT_LIST: longer, not
	ODP_ACT_LIST, // a list; in ODP_ACT_CHECK_PKT_LEN only
	ODP_ACT_TRUNC, // struct odp_act_u32: bytes that the next output keeps
	ODP_ACT_DEC_TTL, // a list: for packets whose time has come
	ODP_ACT_CT, // struct odp_act_ct
	ODP_ACT_CT_CLEAR,
	ODP_ACT_TNL_PUSH, // struct odp_act_tnl_push
	ODP_ACT_TNL_POP, // struct odp_act_u32: port
	ODP_ACT_DROP, // struct odp_act_u32: enum odp_drop
	ODP_ACT_TYPES
};

/* Header of a record. What belongs to it follows. */
struct odp_act {
	uint32_t len; // bytes, with this header and lists inside; the next one is 8-byte aligned
	uint16_t type; // enum odp_act_type
	uint16_t flags; // of the datapath; whatever comes in is ignored
};

struct odp_act_output {
	struct odp_act h;
	uint32_t port[]; // (h.len - 8) / 4 of them, in this order
};

struct odp_act_u32 {
	struct odp_act h;
	uint32_t v;
	uint32_t pad;
};

struct odp_act_userspace {
	struct odp_act h;
	uint32_t pid; // whom to tell; 0: the datapath's own switch
	uint16_t data_len; // bytes
	uint16_t pad;
	uint8_t data[]; // user data: handed over with the packet
};

struct odp_act_vlan {
	struct odp_act h;
	uint16_t tpid, tci; // host order; tci with the DEI bit as on the wire
	uint32_t pad;
};

struct odp_act_mpls {
	struct odp_act h;
	dpu_be32 lse; // label stack entry to push
	uint16_t eth_type; // host order: of the frame afterwards
	uint16_t pad;
};

struct odp_act_eth {
	struct odp_act h;
	uint8_t src[6], dst[6];
	uint32_t pad;
};

enum odp_hash_alg { ODP_HASH_L4, ODP_HASH_SYM_L4 };

struct odp_act_hash {
	struct odp_act h;
	uint32_t alg; // enum odp_hash_alg
	uint32_t basis;
};

/* ---- set ---- */

/* X(name, value): what can be set, and a value of it */
#define ODP_SETS(X)                    \
	X(PRIORITY, uint32_t)          \
	X(MARK, uint32_t)              \
	X(TUNNEL, struct odp_key_tnl)  \
	X(ETH, struct odp_set_eth)     \
	X(VLAN, struct odp_set_vlan)   \
	X(MPLS, dpu_be32)              \
	X(IPV4, struct odp_set_ipv4)   \
	X(IPV6, struct odp_set_ipv6)   \
	X(ARP, struct odp_set_arp)     \
	X(TCP, struct odp_set_ports)   \
	X(UDP, struct odp_set_ports)   \
	X(SCTP, struct odp_set_ports)  \
	X(ICMP, struct odp_set_icmp)   \
	X(ICMPV6, struct odp_set_icmp) \
	X(ND, struct odp_set_nd)

enum odp_set_field {
#define X(name, value) ODP_SET_##name,
	ODP_SETS(X)
#undef X
		ODP_SET_FIELDS
};

struct odp_set_eth {
	uint8_t src[6], dst[6];
};

struct odp_set_vlan {
	dpu_be16 tci; // of the outer tag
};

struct odp_set_ipv4 {
	dpu_be32 src, dst;
	uint8_t tos, ttl;
};

struct odp_set_ipv6 {
	uint8_t src[16], dst[16];
	dpu_be32 label; // 20 bits
	uint8_t tclass, hlimit;
};

struct odp_set_arp {
	dpu_be32 spa, tpa;
	dpu_be16 op;
	uint8_t sha[6], tha[6];
};

struct odp_set_ports {
	dpu_be16 src, dst;
};

struct odp_set_icmp {
	uint8_t type, code;
};

struct odp_set_nd {
	uint8_t target[16], sll[6], tll[6];
};

/* A value and, behind it, a mask of the same size: bits that are 0 stay as they are. */
struct odp_act_set {
	struct odp_act h;
	uint16_t field; // enum odp_set_field
	uint16_t size; // bytes of the value
	uint32_t pad;
	uint8_t value[];
};

/* Bytes of a value; 0: no such field. */
size_t odp_set_size(unsigned field);

/* ---- connection tracking and tunnels ---- */

#define ODP_CT_A_COMMIT 0x01u
#define ODP_CT_A_FORCE 0x02u // with COMMIT
#define ODP_CT_A_NAT 0x04u // translate as the connection says
#define ODP_CT_A_SNAT 0x08u // and when committed, set up translation of source
#define ODP_CT_A_DNAT 0x10u // or destination
#define ODP_CT_A_PERSISTENT 0x20u
#define ODP_CT_A_NAT_HASH 0x40u
#define ODP_CT_A_NAT_RANDOM 0x80u

struct odp_act_ct {
	struct odp_act h;
	uint16_t flags; // ODP_CT_A_
	uint16_t zone;
	uint32_t mark, mark_mask;
	uint8_t label[16], label_mask[16]; // most significant byte first
	char helper[16], timeout[32]; // "": none
	uint16_t nat_family; // of the addresses: 0, 4, 6
	uint16_t nat_port_min, nat_port_max; // 0: any
	uint16_t pad;
	uint8_t nat_min[16], nat_max[16]; // wire order; IPv4 in the first 4
};

/* enum ovs_vport_type. GRE over IPv6 may have either of its two. */
enum { ODP_PUSH_GRE = 3, ODP_PUSH_VXLAN = 4, ODP_PUSH_GENEVE = 5, ODP_PUSH_IP6GRE = 109 };

/*
 * Outer headers on: then the rest of the list has the packet, or, when nothing there sends it
 * anywhere, it goes out of `out_port`.
 */
struct odp_act_tnl_push {
	struct odp_act h;
	uint32_t tnl_port; // the tunnel's
	uint32_t out_port; // whose MTU counts
	uint16_t tnl_type; // ODP_PUSH_
	uint16_t hdr_len; // bytes
	uint32_t off; // of the datapath; whatever comes in is ignored
	uint8_t hdr[]; // outer headers; lengths, checksums and the UDP source port are filled in
};

/* ---- reading ---- */

static inline const struct odp_act *odp_act_next(const struct odp_act *a)
{
	return (const struct odp_act *)(const void *)((const uint8_t *)a + ((a->len + 7u) & ~7u));
}

static inline const struct odp_act *odp_act_end(const struct odp_act *list, size_t len)
{
	return (const struct odp_act *)(const void *)((const uint8_t *)list + len);
}

/* Over a list that was built by odp_actbuf, or checked. `len` is a multiple of 8. */
// NOLINTBEGIN(bugprone-macro-parentheses): `a` is declared
#define ODP_ACTS_FOREACH(a, list, len)                                           \
	for (const struct odp_act *a = (list); (a) < odp_act_end((list), (len)); \
		(a) = odp_act_next(a))
// NOLINTEND(bugprone-macro-parentheses)

/* The list inside a record; *len is 0 when it has none. */
const struct odp_act *odp_act_list(const struct odp_act *a, size_t *len);

static inline unsigned odp_act_n_outputs(const struct odp_act *a)
{
	return (unsigned)((a->len - sizeof(*a)) / sizeof(uint32_t));
}

/* ---- building ---- */

/*
 * A list that grows. Errors stick: whoever builds looks once, at the end.
 *
 * 0 in all members is an empty list; odp_actbuf_fini() frees what it grew to.
 */
struct odp_actbuf {
	void *mem; // owned
	size_t len, size; // bytes
	size_t last; // the record that was added last to the innermost open list, plus 1; 0: none
	uint32_t open[ODP_ACT_DEPTH_MAX + 1]; // records whose list is being added to
	unsigned depth;
	int err; // -ENOMEM, or -E2BIG: longer or deeper than any list may be
};

void odp_actbuf_fini(struct odp_actbuf *b);
/* Empty again; the memory stays. */
void odp_actbuf_reset(struct odp_actbuf *b);
/*
 * Append a record of `size` bytes, header included, zeroed but for the header. NULL: b->err says
 * why. Valid until the next record is added.
 */
void *odp_actbuf_add(struct odp_actbuf *b, enum odp_act_type type, size_t size);
/* The same, and what is added from now on belongs to its list, until odp_actbuf_close(). */
void *odp_actbuf_open(struct odp_actbuf *b, enum odp_act_type type, size_t size);
void odp_actbuf_close(struct odp_actbuf *b);
/* Output to a port: joins the output right before it, so that a flood is one record. */
void odp_actbuf_output(struct odp_actbuf *b, uint32_t port);
/* A record with one number. */
void odp_actbuf_u32(struct odp_actbuf *b, enum odp_act_type type, uint32_t v);
/* A set of `value` under `mask`; NULL: of the whole field. */
void odp_actbuf_set(
	struct odp_actbuf *b, enum odp_set_field field, const void *value, const void *mask);

/* The list; NULL when it is empty. */
static inline const struct odp_act *odp_actbuf_list(const struct odp_actbuf *b)
{
	return b->mem;
}
