/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table: megaflows (key, mask, actions) as Open vSwitch's datapath has them, put, deleted
 * and dumped by the control thread while workers look packets up.
 *
 * Everything that decides about packets installs flows here; the learning switch of bridge.c is the
 * first such user and has no other way in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "dpu_wire.h"
#include "odp_port.h"

#define ODP_TNL_OPTS 252 // bytes of Geneve options

/*
 * Flow key: every field that an Open vSwitch datapath flow matches on. Host order only where the
 * field is ours; wire order otherwise. No padding but what is named so and zero: keys compare and
 * hash as 64 words, and a table whose masks leave a word alone never looks at it.
 *
 * What is read from the packet comes first, in the order in which it is extracted; from `dp_hash`
 * on it is what the datapath knows of the packet, and that goes along when it recirculates.
 */
struct odp_key {
	/* layer 2: words 0 to 2 */
	uint32_t in_port;
	uint32_t recirc_id;
	uint8_t eth_dst[6];
	uint8_t eth_src[6];
	dpu_be16 vlan_tci; // outer tag. 0: none; else DEI bit (0x1000) set: present, as OVS has it
	dpu_be16 eth_type; // after VLAN tags
	/* layer 3: words 3 to 7 */
	uint8_t ip_proto; // of ARP the operation
	uint8_t ip_tos;
	uint8_t ip_ttl;
	uint8_t ip_frag; // enum odp_frag
	dpu_be32 ipv6_label; // 20 bits
	union {
		struct {
			dpu_be32 src, dst;
		} ipv4;
		struct {
			uint8_t src[16], dst[16];
		} ipv6;
		struct {
			dpu_be32 spa, tpa;
			uint8_t sha[6], tha[6];
		} arp;
		uint8_t l3_bytes[32];
	};
	/* layer 4: word 8 */
	dpu_be16 tp_src, tp_dst; // ports, or ICMP type and code
	dpu_be16 tcp_flags;
	uint8_t pad_l4[2];
	/* what few flows look at: words 9 to 15 */
	struct {
		uint8_t target[16];
		uint8_t sll[6], tll[6];
		uint8_t pad[4];
	} nd; // of neighbour solicitation and advertisement
	dpu_be16 vlan_tpid; // of the outer tag
	dpu_be16 cvlan_tci, cvlan_tpid; // of the inner tag, as above
	uint8_t pad_vlan[2];
	dpu_be32 mpls_lse[3]; // label stack entries, the top first
	dpu_be32 packet_type; // 0: Ethernet; else namespace and type. Not matched: Ethernet only

	/* layer-independent metadata: words 16 and 17 */
	uint32_t dp_hash;
	uint32_t skb_priority;
	uint32_t skb_mark;
	/* conntrack: from here to word 24 */
	uint32_t ct_mark;
	uint8_t ct_state; // ODP_CS_, see odp_ct.h
	uint8_t ct_orig_proto; // original tuple: valid with ODP_CS_TRK
	uint16_t ct_zone;
	dpu_be16 ct_orig_tp_src, ct_orig_tp_dst;
	uint8_t ct_label[16];
	union {
		struct {
			dpu_be32 src, dst;
		} ct_orig4;
		struct {
			uint8_t src[16], dst[16];
		} ct_orig6;
	};
	/* tunnel that the packet came through, or is to go through: words 25 to 63 */
	struct odp_key_tnl {
		dpu_be64 id;
		union {
			struct {
				dpu_be32 src, dst;
			} ipv4;
			struct {
				uint8_t src[16], dst[16];
			} ipv6;
		};
		uint8_t tos, ttl;
		uint16_t flags; // ODP_TNL_F_
		dpu_be16 tp_src, tp_dst;
		dpu_be16 gbp_id;
		uint8_t gbp_flags, gpe_np, gpe_flags;
		uint8_t family; // 0: no tunnel; 4, 6
		uint8_t opts_len; // bytes of opts, a multiple of 4
		uint8_t pad;
		uint8_t opts[ODP_TNL_OPTS]; // Geneve options as they are on the wire
		uint8_t pad_opts[4];
	} tnl;
};
static_assert(sizeof(struct odp_key) == 512, "keys hash and compare as 64 words");

/* tnl.flags: ovs-fields(7), "tun_flags", and what the text syntax names. */
#define ODP_TNL_F_OAM 0x01u
#define ODP_TNL_F_DF 0x02u
#define ODP_TNL_F_CSUM 0x04u
#define ODP_TNL_F_KEY 0x08u

enum odp_frag { ODP_FRAG_NONE, ODP_FRAG_FIRST, ODP_FRAG_LATER };

struct odp_act; // odp_act.h
struct odp_actbuf;

struct odp_flow_stats {
	uint64_t packets, bytes;
	uint64_t used_ns; // dpu_now_ns() when an odp_tick() saw that packets had come; 0: never
};

/* A name that a user gives to a flow, unique among the flows of a datapath. All zero: none. */
struct odp_ufid {
	uint64_t w[2];
};

struct odp_flow_info {
	uint64_t id; // unique for the life of the datapath
	struct odp_ufid ufid;
	struct odp_key key, mask;
	const struct odp_act *actions; // borrowed until the callback returns
	size_t actions_len; // bytes; 0: drop
	struct odp_flow_stats stats;
	const char *origin; // "operator", "bridge", "tunnel"
};

/*
 * Install or replace. The key is stored masked. Actions are validated once, here,
 * and copied.
 *
 * Where flows overlap, one of origin "operator" wins over any other; among those, the one whose
 * mask has more bits, then the older mask. Flows of other origins must not overlap one another.
 *
 * Returns 0, or
 *   -EINVAL  mask bits on fields that the key's protocol does not have; an action that is unknown
 *            or malformed, or that not every packet of the flow has the fields for; a list that is
 *            too long or too deep
 *   -ENODEV  output to a port that does not exist
 *   -EEXIST  another flow with the same key under the same mask, and `replace` is false
 *   -ENOSPC, -ENOMEM
 * Control thread.
 */
int odp_flow_put(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	const struct odp_act *actions, size_t actions_len, bool replace, const char *origin,
	uint64_t *id_out);
/* -ENOENT when there is none. */
int odp_flow_del(struct odp *dp, const struct odp_key *key, const struct odp_key *mask);
int odp_flow_del_id(struct odp *dp, uint64_t id);
/* All flows of one origin (NULL: all). Returns the number deleted. */
unsigned odp_flow_flush(struct odp *dp, const char *origin);
void odp_flow_foreach(
	struct odp *dp, void (*fn)(const struct odp_flow_info *f, void *arg), void *arg);
/*
 * The same in steps: looks at up to `max` places of the table from *cursor on, 0 at first. Returns
 * false when the table has been seen. A flow that is there all the time is told once; one that came
 * or went meanwhile once or not at all. Control thread.
 */
bool odp_flow_dump(struct odp *dp, uint64_t *cursor, unsigned max,
	void (*fn)(const struct odp_flow_info *f, void *arg), void *arg);
/* The flow of a name. out->actions is good until flows change. 0 or -ENOENT. Control thread. */
int odp_flow_get(struct odp *dp, const struct odp_ufid *ufid, struct odp_flow_info *out);

/* ---- the busiest (flow_top.c) ---- */

enum odp_top_by { ODP_TOP_PACKETS, ODP_TOP_BYTES, ODP_TOP_ORDERS };
#define ODP_TOP_MAX 256u // flows in each order

struct odp_top_flow {
	uint64_t id;
	uint64_t rate[ODP_TOP_ORDERS]; // a second, between the two walks
};

/*
 * A measurement of the flows with the highest rates. Flows may come and go meanwhile; one that came
 * after the first walk counts as one that had carried nothing. 0 or -ENOMEM. Control thread, as all
 * of these; destroy it before the datapath.
 */
struct odp_top;
int odp_top_create(struct odp *dp, struct odp_top **out);
void odp_top_destroy(struct odp_top *t);
/*
 * Go a bounded piece of the way: 1, there is more to do at once; 0, a walk has ended; -ENOMEM. The
 * step after the end of the first walk begins the second, so wait there for as long as the
 * measurement is to take. After the second nothing is left to do, and only the result is kept.
 */
int odp_top_step(struct odp_top *t);
/* Those with the highest rates, the highest first, good until destroy. None before the end. */
unsigned odp_top_flows(
	const struct odp_top *t, enum odp_top_by by, const struct odp_top_flow **out);
/* The live flow of an id; out->actions is good until flows change. 0 or -ENOENT. */
int odp_flow_get_id(struct odp *dp, uint64_t id, struct odp_flow_info *out);

/* ---- many at once ---- */

enum odp_flow_how {
	ODP_FLOW_PUT, // make or replace
	ODP_FLOW_CREATE, // -EEXIST: there is one with this key and mask
	ODP_FLOW_MODIFY, // -ENOENT: there is none
};

struct odp_flow_req {
	/* Borrowed for the call. To delete by name, key is NULL. */
	const struct odp_key *key, *mask;
	const struct odp_act *actions; // put
	size_t actions_len; // bytes
	enum odp_flow_how how; // put
	struct odp_ufid ufid;
	/* Results. */
	int ret; // put: as odp_flow_put(), or -EEXIST: another flow has the name; del: 0, -ENOENT
	uint64_t id;
	struct odp_flow_stats stats; // del: the last ones, but for packets under way
};

/*
 * Put or delete up to any number of flows, in order; each succeeds or fails by itself. Workers see
 * them one by one. Returns how many have ret 0. Control thread.
 */
unsigned odp_flow_put_batch(
	struct odp *dp, struct odp_flow_req *reqs, unsigned n, const char *origin);
unsigned odp_flow_del_batch(struct odp *dp, struct odp_flow_req *reqs, unsigned n);

/* Datapath-wide counters, summed over workers. */
struct odp_stats {
	uint64_t fused_hits, emc_hits, mega_hits, misses, upcalls, upcalls_dropped;
	uint64_t flows, subtables, macs;
	uint64_t drops[ODP_DROP_COUNT];
};
void odp_stats(const struct odp *dp, struct odp_stats *out);

/*
 * The connection table (odp_ct.h); NULL while no flow has tracked connections. Control thread: only
 * what odp_ct.h says is for that.
 */
struct odp_ct;
struct odp_ct *odp_conntrack(struct odp *dp);
/* The same for who sets limits before there is a flow: it is made now. 0, -ENOMEM, -EINVAL. */
int odp_conntrack_get(struct odp *dp, struct odp_ct **out);
/* Of all workers: fragments on their way there (odp_ct.h). Control thread. */
struct odp_frag_stats;
void odp_fragment_stats(const struct odp *dp, struct odp_frag_stats *out);

/* ---- text, in the syntax of "ovs-appctl dpctl" (key_text.c, act_text.c) ---- */

enum odp_port_text { ODP_PORTS_BY_NUMBER, ODP_PORTS_BY_NAME };
/*
 * "recirc_id(0),in_port(2),eth(src=..,dst=..),eth_type(0x0800),ipv4(..)" and "2,3" / "drop". Of a
 * key and mask that odp_flow_put() takes. Length or -ENOSPC.
 */
int odp_key_format(struct odp *dp, const struct odp_key *key, const struct odp_key *mask,
	enum odp_port_text ports, char *buf, size_t size);
int odp_actions_format(struct odp *dp, const struct odp_act *list, size_t len,
	enum odp_port_text ports, char *buf, size_t size);
/*
 * 0, or -EINVAL with *err_at the offset of what could not be read. A key that does not say
 * otherwise is of packets that have not recirculated.
 */
int odp_key_parse(struct odp *dp, const char *text, struct odp_key *key, struct odp_key *mask,
	size_t *err_at);
/* The same; *out is emptied first. -ENOMEM, -E2BIG as out->err says. */
int odp_actions_parse(struct odp *dp, const char *text, struct odp_actbuf *out, size_t *err_at);
/*
 * Does a text that odp_actions_parse() took, here or elsewhere, name this port anywhere? 1, 0 or
 * -ENOMEM. Any thread.
 */
int odp_actions_name_port(const char *text, const char *name);

/* ---- traces (trace.c) ---- */

enum odp_trace_step {
	ODP_TRACE_KEY, // what was read from the packet
	ODP_TRACE_FLOW, // the flow that it meets, as key and mask
	ODP_TRACE_ACTIONS, // of that flow, or of the learning switch
	ODP_TRACE_NOTE,
	ODP_TRACE_OUTPUT, // a port that it goes to
	ODP_TRACE_DROP, // why it goes no further
};

struct odp_trace_line {
	enum odp_trace_step step;
	unsigned depth; // recirculations that lie behind the packet
	unsigned nesting; // lists within lists
	const char *text; // borrowed until the callback returns
};
enum {
	// Sequence numbers and chunks are not those of a real packet: it fits its connection.
	ODP_TRACE_COMPOSED = 1,
	ODP_TRACE_CT_NEW = 2, // as if there were no connections
};
typedef void (*odp_trace_fn)(const struct odp_trace_line *l, void *arg);

/*
 * Tell what the datapath would do with a packet; nothing changes by it. The connection table is
 * asked what it would say; which address and port a new connection would get is not foreseen.
 *
 *   key         in_port, recirc_id, packet_type and metadata are used
 *   frame, len  the packet; as long as fits one mbuf
 *   how         ODP_TRACE_COMPOSED, ODP_TRACE_CT_NEW
 *
 * Returns 0 or -ENOMEM. Control thread.
 */
int odp_trace(struct odp *dp, const struct odp_key *key, const uint8_t *frame, size_t len,
	unsigned how, odp_trace_fn fn, void *arg);
const char *odp_trace_step_name(enum odp_trace_step s); // "key"
/* The shortest frame for a key, at most 256 bytes. Its length, or -EINVAL: there is none. */
int odp_compose(const struct odp_key *key, uint8_t out[256]);

/* ---- learned addresses (bridge.c) ---- */

struct odp_mac_info {
	uint8_t mac[6];
	uint16_t vlan; // 0..4095
	uint32_t port;
	unsigned age_s;
	bool is_static;
};
void odp_mac_foreach(
	struct odp *dp, void (*fn)(const struct odp_mac_info *m, void *arg), void *arg);
/* A static entry wins over learning. 0, -EINVAL (multicast), -ENODEV, -ENOSPC. */
int odp_mac_set(struct odp *dp, const uint8_t mac[6], uint16_t vlan, uint32_t port);
int odp_mac_del(struct odp *dp, const uint8_t mac[6], uint16_t vlan);
unsigned odp_mac_flush(struct odp *dp, uint32_t port); // ODP_PORT_NONE: all; static ones stay
