/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection tracking: a table of connections that all workers share, the protocol machines that
 * give a packet its ct_state, zones, address translation, and what operators see of it.
 *
 * The caller takes packets apart and changes them; this module decides. A packet goes through
 * odp_ct_track(), which finds its connection and its state, then, where an action says commit,
 * through odp_ct_commit(). Time is an argument everywhere: milliseconds, never going back.
 *
 * Threads. Each worker has a number below odp_ct_conf.n_workers and uses only that. A worker says
 * odp_ct_quiescent() between turns, and odp_ct_offline() before it sleeps: connections that were
 * removed are used again once every worker that is online has done so. All pointers to connections
 * and keys that a call returns are good until then. Control calls come from one thread, which
 * counts as one more worker inside. Nothing here takes a lock or allocates after odp_ct_create(),
 * except where said so. Design: docs/adr/0011-conntrack-tables.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dpu_wire.h"

struct odp_ct;
struct odp_conn;

/* ct_state, the bits of OVS_CS_F_*: ovs-fields(7), "Connection Tracking Fields". */
enum {
	ODP_CS_NEW = 0x01, // no reply has been seen yet, or no connection is there
	ODP_CS_EST = 0x02,
	ODP_CS_REL = 0x04, // an ICMP error about a connection, or one that was expected
	ODP_CS_RPL = 0x08, // in the direction opposite to the packet that made the connection
	ODP_CS_INV = 0x10,
	ODP_CS_TRK = 0x20,
	ODP_CS_SNAT = 0x40,
	ODP_CS_DNAT = 0x80,
};

enum { ODP_CT_ORIG, ODP_CT_REPLY };

/*
 * One direction of a connection. Compared and hashed as bytes. An IPv4 address is in the first four
 * bytes, the others are zero. For ICMP and ICMPv6 sport is the identifier and dport is type and
 * code as on the wire; where there is no port, both are zero.
 */
struct odp_ct_key {
	uint8_t src[16], dst[16];
	dpu_be16 sport, dport;
	uint16_t zone;
	uint8_t l3; // 4 or 6
	uint8_t proto;
};
static_assert(sizeof(struct odp_ct_key) == 40, "keys hash and compare as whole words");

/* A connection and its generation when it was found. */
struct odp_ct_ref {
	struct odp_conn *conn; // NULL: none
	uint64_t gen;
};

enum {
	ODP_CT_BAD_CSUM = 1, // known to be wrong: invalid
	ODP_CT_LATER_FRAG = 2, // has no layer 4 header: invalid
};

/* What is to be written into a packet. */
struct odp_ct_nat {
	uint8_t what; // ODP_NAT_*; 0: nothing
	uint8_t src[16], dst[16];
	dpu_be16 sport, dport; // ICMP: sport is the identifier
};
enum { ODP_NAT_SRC = 1, ODP_NAT_DST = 2 };

/* What is known of a packet that was translated in this zone, and not changed since. */
struct odp_ct_was {
	uint8_t state; // ODP_CS_* of then
	struct odp_ct_key orig; // original tuple of then; of ICMP without an identifier
};

struct odp_ct_pkt {
	/* in */
	struct odp_ct_key key; // odp_ct_key_fill()
	/*
	 * Borrowed; NULL: not translated yet. Set to NULL when its connection is gone, or the
	 * packet is another one's by now. Else it stays with the connection that has seen and
	 * translated it: it is not counted again, and there is nothing to be written into it.
	 */
	const struct odp_ct_was *was;
	const uint8_t *l4; // borrowed: layer 4 header on, contiguous; only read
	uint16_t l4_len; // bytes there
	uint16_t flags; // ODP_CT_BAD_CSUM ...
	uint32_t l4_total; // layer 4 bytes by the IP length, header included, wherever they are
	uint32_t bytes; // what the connection's counters grow by
	/* out */
	uint8_t state; // ODP_CS_*
	uint8_t dir; // ODP_CT_ORIG or ODP_CT_REPLY; of an ICMP error: the error's own direction
	uint8_t helper; // of the connection: odp_ct_help() wants to see its payload; 0: none
	uint32_t mark;
	uint64_t label[2]; // low half first
	const struct odp_ct_key *orig; // original tuple, of the master if there is one
	struct odp_ct_ref ref;
	struct odp_ct_nat nat; // for a ct action that says nat; then state gets ODP_CS_?NAT
};

/*
 * X(name, text, protocol, default timeout in ms): the states of all protocols. Text and protocol
 * are what operators read; timeouts are set by "tcp_syn_sent" and so on.
 */
#define ODP_CT_STATES(X)                                        \
	X(NONE, "none", "none", 0)                              \
	X(TCP_SYN_SENT, "SYN_SENT", "tcp", 30000)               \
	X(TCP_SYN_RECV, "SYN_RECV", "tcp", 30000)               \
	X(TCP_ESTABLISHED, "ESTABLISHED", "tcp", 86400000)      \
	X(TCP_FIN_WAIT, "FIN_WAIT", "tcp", 900000)              \
	X(TCP_CLOSE_WAIT, "CLOSE_WAIT", "tcp", 900000)          \
	X(TCP_LAST_ACK, "LAST_ACK", "tcp", 30000)               \
	X(TCP_TIME_WAIT, "TIME_WAIT", "tcp", 45000)             \
	X(TCP_CLOSE, "CLOSE", "tcp", 10000)                     \
	X(TCP_SYN_SENT2, "SYN_SENT2", "tcp", 30000)             \
	X(UDP_FIRST, "FIRST", "udp", 60000)                     \
	X(UDP_SINGLE, "SINGLE", "udp", 60000)                   \
	X(UDP_MULTIPLE, "MULTIPLE", "udp", 180000)              \
	X(ICMP_FIRST, "FIRST", "icmp", 30000)                   \
	X(ICMP_REPLY, "REPLY", "icmp", 30000)                   \
	X(SCTP_COOKIE_WAIT, "COOKIE_WAIT", "sctp", 10000)       \
	X(SCTP_COOKIE_ECHOED, "COOKIE_ECHOED", "sctp", 10000)   \
	X(SCTP_ESTABLISHED, "ESTABLISHED", "sctp", 86400000)    \
	X(SCTP_SHUTDOWN_SENT, "SHUTDOWN_SENT", "sctp", 30000)   \
	X(SCTP_SHUTDOWN_ACK, "SHUTDOWN_ACK_SENT", "sctp", 3000) \
	X(SCTP_CLOSED, "CLOSED", "sctp", 10000)                 \
	X(OTHER_FIRST, "FIRST", "other", 60000)                 \
	X(OTHER_SINGLE, "SINGLE", "other", 60000)               \
	X(OTHER_MULTIPLE, "MULTIPLE", "other", 600000)          \
	X(EXPECTED, "EXPECTED", "expect", 300000)

enum odp_ct_state {
#define X(name, text, proto, ms) ODP_CT_##name,
	ODP_CT_STATES(X)
#undef X
		ODP_CT_STATE_COUNT
};

const char *odp_ct_state_name(enum odp_ct_state s);
const char *odp_ct_state_proto(enum odp_ct_state s);

/* ---- life: control thread ---- */

struct odp_ct_conf {
	uint32_t max_conns; // up to 2^26; about 230 bytes each
	unsigned n_workers; // up to 255
	uint64_t seed[2]; // random and secret: keys of all hashes
	bool tcp_strict; // no connection is picked up in mid-stream
	bool tcp_liberal; // segments out of window are not invalid
	uint32_t max_expects; // 0: 1024
};

/*
 * 0, -EINVAL, -ENOMEM. A thread of its own has the kernel bring the pages of a large table, while
 * it is used already: nearly no packet waits for one.
 */
int odp_ct_create(const struct odp_ct_conf *conf, struct odp_ct **out);
void odp_ct_destroy(struct odp_ct *ct);

/* About once a second: memory of what control removed is given back. */
void odp_ct_tick(struct odp_ct *ct);

/* ---- workers ---- */

/* Between turns: this worker holds nothing that it had from here. */
void odp_ct_quiescent(struct odp_ct *ct, unsigned worker);
/* Before and after a sleep. A worker starts offline and calls nothing else here while it is. */
void odp_ct_offline(struct odp_ct *ct, unsigned worker);
void odp_ct_online(struct odp_ct *ct, unsigned worker);

/*
 * Fill the ports of a key from the layer 4 header; addresses, l3, proto and zone are there. False:
 * too short (the packet is invalid; track says so, too). Pure.
 */
bool odp_ct_key_fill(struct odp_ct_key *key, const uint8_t *l4, size_t len);

/*
 * Find the connection of each packet and let it see the packet. No connection is made; one that is
 * over, and is opened again by this packet, is removed. Worker.
 */
void odp_ct_track(
	struct odp_ct *ct, unsigned worker, struct odp_ct_pkt *pkts, unsigned n, uint64_t now_ms);

/*
 * What odp_ct_track() would say of a packet of p->key that changes nothing about its connection.
 * The connection does not see it. False: there is none. Worker.
 */
bool odp_ct_peek(struct odp_ct *ct, unsigned worker, struct odp_ct_pkt *p, uint64_t now_ms);

enum {
	ODP_CT_BY_KEY = 1, // of the packet only the key is known: taken for one that fits
	ODP_CT_AS_NEW = 2, // as if there were no connections
};
/*
 * What odp_ct_track() would say of this packet; nothing changes by it, and connections that are
 * over stay until somebody else removes them. Worker.
 */
void odp_ct_would(const struct odp_ct *ct, struct odp_ct_pkt *p, unsigned how, uint64_t now_ms);

/*
 * For a cache of what was once decided about a connection: see a packet of `p->key` that goes the
 * way `dir` of `ref`, without looking it up. True: the connection is as it was when `ref` was
 * taken, and the packet changes nothing about what it gives (state, mark, label, translation): it
 * is counted, its output fields but `ref` are untouched, and what was decided holds. False: nothing
 * was done; take the whole way. The caller vouches that the key is the connection's. Worker.
 *
 * A generation changes whenever a connection is removed, sees its first reply, or has its mark or
 * label changed: everything that a later packet's output depends on. Windows of TCP are checked on
 * each packet here.
 */
bool odp_ct_again(struct odp_ct *ct, unsigned worker, const struct odp_ct_pkt *p,
	struct odp_ct_ref ref, unsigned dir, uint64_t now_ms);
/* Before that, for several packets: what it will look at is fetched. Worker. */
void odp_ct_prefetch(struct odp_ct_ref ref);
/* A packet for which odp_ct_again() said true will be tracked after all: it counts then. Worker. */
void odp_ct_uncount(struct odp_ct_ref ref, unsigned dir, uint32_t bytes);
/* Is `ref` what it was? Any thread; memory of connections stays while the table does. */
bool odp_ct_ref_valid(struct odp_ct_ref ref);

enum {
	ODP_NAT_RANDOM = 4, // ports in random order rather than the one it has
	ODP_NAT_PERSISTENT = 8, // an address gets the same address always, whatever it talks to
	ODP_NAT_HASH = 16, // the first port tried follows from a hash
	ODP_NAT_EIM = 32, // address and port of the source alone decide: RFC 4787, REQ-1
	ODP_NAT_PORTS = 64, // min_port and max_port are set
};

struct odp_ct_nat_conf {
	uint32_t flags; // ODP_NAT_SRC or ODP_NAT_DST, and the above
	uint8_t min_addr[16], max_addr[16]; // all zero: the address stays, only clashes are solved
	uint16_t min_port, max_port; // host order
};

struct odp_ct_commit {
	bool force; // a packet in reply direction starts the connection anew
	uint8_t policy; // timeout policy, 0: the zone's
	uint8_t helper; // odp_ct_helper_find(); of a new connection without translation
	uint32_t mark, mark_mask;
	uint64_t label[2], label_mask[2];
	const struct odp_ct_nat_conf *nat; // borrowed for the call; NULL: none
};

/*
 * Commit the connection of a packet that was tracked in the same turn, and no byte of which was
 * changed since. One that is there has its mark and label changed under the masks; a new one is
 * made, with a translation if asked for. The output fields of `p` are brought up to date. Worker.
 *
 * Returns 0, or with p->state ODP_CS_TRK | ODP_CS_INV
 *   -EINVAL   the packet is invalid, or an error about a connection that is not there
 *   -ENOSPC   the table is full, and nothing in it was worth less
 *   -EDQUOT   the zone's limit is reached
 *   -EADDRNOTAVAIL  no address and port left
 *   -EEXIST   answers to it would be taken for another connection's
 *   -EAGAIN   another worker made the same connection at this moment, and did not finish
 */
int odp_ct_commit(struct odp_ct *ct, unsigned worker, struct odp_ct_pkt *p,
	const struct odp_ct_commit *k, uint64_t now_ms);

/* ct_clear: the packet is not tracked. Pure. */
void odp_ct_clear(struct odp_ct_pkt *p);

/*
 * Expire what is due, looking at up to `budget` connections; 0: none is due to be looked at, for
 * the table is gone through about once in four seconds. Returns how many were removed. Worker.
 */
unsigned odp_ct_sweep(struct odp_ct *ct, unsigned worker, unsigned budget, uint64_t now_ms);

/* ---- translation of packets: pure, any thread ---- */

/*
 * Write p->nat into a packet: the IP header at l3 (l3_len bytes up to the layer 4 header) and
 * l4_len bytes there that are contiguous and writable, with checksums brought up to date (RFC
 * 1624); for ICMP errors the embedded packet, too. A UDP checksum of zero over IPv4 stays.
 * `partial`: the layer 4 checksum field holds the sum of the pseudo header only.
 *
 * Returns 0, or -EINVAL with nothing changed when the headers are not there.
 */
int odp_ct_nat_apply(const struct odp_ct_pkt *p, uint8_t *l3, size_t l3_len, uint8_t *l4,
	size_t l4_len, bool partial);

/*
 * The same for a fragment that is not the first, at l3, of which `len` bytes can be written: only
 * its addresses change. 0, -EINVAL.
 */
int odp_ct_nat_apply_later(const struct odp_ct_pkt *p, uint8_t *l3, size_t len);

/* ---- helpers: worker ---- */

/* The number of a helper; 0: there is none of that name. Pure; any thread. */
unsigned odp_ct_helper_find(const char *name);
const char *odp_ct_helper_name(unsigned helper); // NULL: none

#define ODP_CT_PAYLOAD_MAX 1024u
struct odp_ct_payload {
	const uint8_t *l4; // layer 4 header and what follows, contiguous; only read
	size_t len; // bytes there: all, or the first ODP_CT_PAYLOAD_MAX
	uint8_t last; // the packet's last byte
};
/*
 * A packet that was tracked, and committed if it is, for the helper of its connection: p->helper.
 * What the helper expects is there when this returns.
 */
void odp_ct_help(struct odp_ct *ct, unsigned worker, const struct odp_ct_pkt *p,
	const struct odp_ct_payload *l, uint64_t now_ms);

struct odp_ct_expect {
	struct odp_ct_key key; // source port is ignored; an all-zero source: anybody
	uint32_t timeout_ms; // 0: the policy's
};
/*
 * The next connection with this tuple is related to that of `master` and starts with its mark and
 * label; announced again, it is waited for anew. 0, -ENOENT (the master is gone), -EEXIST (another
 * connection that lives expects it), -ENOSPC (the table, expectations in all or of this master).
 */
int odp_ct_expect(struct odp_ct *ct, unsigned worker, struct odp_ct_ref master,
	const struct odp_ct_expect *e, uint64_t now_ms);

/* ---- zones and timeouts: control thread ---- */

#define ODP_CT_NO_LIMIT 0u
/*
 * At most `limit` connections in a zone, or in each that has no limit of its own; existing ones
 * stay. Half-open ones that come from now on make room. Allocates. 0, -ENOMEM.
 */
int odp_ct_limit_set(struct odp_ct *ct, uint16_t zone, uint32_t limit);
void odp_ct_limit_del(struct odp_ct *ct, uint16_t zone); // the default holds again
int odp_ct_limit_default(struct odp_ct *ct, uint32_t limit);
uint32_t odp_ct_limit_default_get(const struct odp_ct *ct);
struct odp_ct_limit {
	uint32_t limit, count;
	bool own; // false: the default
};
void odp_ct_limit_get(const struct odp_ct *ct, uint16_t zone, struct odp_ct_limit *out);

#define ODP_CT_POLICIES 256u
#define ODP_CT_TIMEOUT_MAX_MS 2000000000u
/* Timeout of a state in a policy; policy 0 is everybody's who has none. 0, -EINVAL. */
int odp_ct_timeout_set(
	struct odp_ct *ct, unsigned policy, enum odp_ct_state s, uint32_t timeout_ms);
uint32_t odp_ct_timeout(const struct odp_ct *ct, unsigned policy, enum odp_ct_state s);
/* Forget a policy: all its timeouts are the defaults again. */
void odp_ct_policy_reset(struct odp_ct *ct, unsigned policy);
/* Connections made in `zone` from now on have this policy. 0, -EINVAL. */
int odp_ct_zone_policy(struct odp_ct *ct, uint16_t zone, unsigned policy);
unsigned odp_ct_zone_policy_get(const struct odp_ct *ct, uint16_t zone);
/* "tcp_syn_sent" and so on, or "first" behind "udp_". -EINVAL. */
int odp_ct_state_parse(const char *name, enum odp_ct_state *out);

/* ---- operators: control thread ---- */

struct odp_ct_info {
	struct odp_ct_key key[2]; // original, reply
	struct odp_ct_key master; // all zero: none
	enum odp_ct_state state;
	bool replied, assured;
	uint8_t nat; // ODP_NAT_SRC, ODP_NAT_DST
	uint8_t policy;
	uint8_t helper;
	uint32_t mark;
	uint64_t label[2];
	uint32_t timeout_ms; // left
	uint64_t packets[2], bytes[2];
};

/* The connection of a packet, for the turn in which it was found. False: it is gone. Worker. */
bool odp_ct_ref_info(
	const struct odp_ct *ct, struct odp_ct_ref ref, uint64_t now_ms, struct odp_ct_info *out);

/*
 * Look at up to `budget` places of the table from *at on (0: the start) and call fn for each
 * connection there. False: that was the last. Connections that come or go meanwhile may be missed.
 */
bool odp_ct_dump(struct odp_ct *ct, uint32_t *at, unsigned budget, uint64_t now_ms,
	void (*fn)(const struct odp_ct_info *i, void *arg), void *arg);

#define ODP_CT_ALL_ZONES (-1)
/* Remove all, or those of one zone. Returns the number. */
unsigned odp_ct_flush(struct odp_ct *ct, int zone);
/* Remove the connection that has this tuple in either direction. 0, -ENOENT. */
int odp_ct_flush_key(struct odp_ct *ct, const struct odp_ct_key *key);

/* X(name, text): what happened, since the start. */
#define ODP_CT_COUNTERS(X)                                                           \
	X(created, "connections made")                                               \
	X(expired, "removed when their time was over")                               \
	X(evicted, "removed half open to make room")                                 \
	X(flushed, "removed by an operator")                                         \
	X(reopened, "removed, closed, by a packet that opens them again")            \
	X(invalid, "packets found invalid")                                          \
	X(full, "connections refused: table full")                                   \
	X(limited, "connections refused: zone limit")                                \
	X(nat_exhausted, "connections refused: no address and port left")            \
	X(nat_clash, "address and port taken, another one tried")                    \
	X(races, "connections that two workers made at once")                        \
	X(challenged, "RST and SYN let pass without effect, for the peer to answer") \
	X(expected, "connections that had been expected")                            \
	X(imported, "connections taken over")                                        \
	X(announced, "connections that a helper expects")

struct odp_ct_stats {
	uint64_t conns;
	uint64_t by_state[ODP_CT_STATE_COUNT];
#define X(name, text) uint64_t name;
	ODP_CT_COUNTERS(X)
#undef X
};
void odp_ct_stats(const struct odp_ct *ct, struct odp_ct_stats *out);
/* Bytes taken by the table. */
size_t odp_ct_memory(const struct odp_ct *ct);

/* X(name, text): what happened to fragments on their way here, since the start. */
#define ODP_FRAG_COUNTERS(X)                                               \
	X(datagrams, "datagrams that became whole")                        \
	X(malformed, "fragments whose lengths or headers cannot be")       \
	X(overlaps, "datagrams dropped because pieces of them overlap")    \
	X(duplicates, "fragments that were there already")                 \
	X(timeouts, "datagrams dropped that did not become whole in time") \
	X(evicted, "datagrams dropped because others needed the room")     \
	X(too_many, "datagrams dropped for their number of pieces or bytes")

struct odp_frag_stats {
#define X(name, text) uint64_t name;
	ODP_FRAG_COUNTERS(X)
#undef X
	uint64_t contexts; // datagrams that wait now
	uint64_t bytes; // of memory that they hold
};

/* ---- text, in the syntax of "ovs-appctl dpctl" (ct_text.c) ---- */

enum { ODP_CT_TEXT_STATS = 1 }; // with timeout and counters, as dump-conntrack -s

/*
 * "tcp,orig=(src=..,dst=..,sport=1,dport=2),reply=(..),zone=1,protoinfo=(state=ESTABLISHED)"; of
 * ICMP "id=..,type=..,code=.." are the ports. Length or -ENOSPC. Any thread.
 */
int odp_ct_format(const struct odp_ct_info *i, unsigned what, char *buf, size_t size);
/* "src=..,dst=..,sport=..,dport=..". Length or -ENOSPC. Any thread. */
int odp_ct_tuple_format(const struct odp_ct_key *key, char *buf, size_t size);

/* Those connections whose original tuple is `key` where `mask` has ones. */
struct odp_ct_match {
	struct odp_ct_key key, mask;
};
/*
 * "ct_nw_src=10.0.0.1,ct_nw_dst=..,ct_nw_proto=6,ct_tp_src=1,ct_tp_dst=2", or ct_ipv6_src and _dst,
 * or icmp_id, icmp_type and icmp_code; any of them. A zone is not among them. 0, -EINVAL with *at
 * where it cannot be read, or -EPROTOTYPE: fields that do not go together. Any thread.
 */
int odp_ct_match_parse(const char *text, struct odp_ct_match *out, size_t *at);
bool odp_ct_match(const struct odp_ct_match *m, const struct odp_ct_key *key);
/* Does it name one connection, with its zone? */
bool odp_ct_match_whole(const struct odp_ct_match *m);
/*
 * Remove the connections that match; one whose whole tuple and zone are given is found in either
 * direction, and without going through the table. Returns the number. Control thread.
 */
unsigned odp_ct_flush_match(struct odp_ct *ct, const struct odp_ct_match *m, uint64_t now_ms);
/*
 * The same in steps: look at up to `budget` places of the table from *at on (0: the start). Where
 * nothing but a zone is named, or nothing at all, what had been expected and mappings go as well.
 * *removed grows by the number of connections. False: that was the last. Control thread.
 */
bool odp_ct_flush_step(struct odp_ct *ct, const struct odp_ct_match *m, uint32_t *at,
	unsigned budget, uint64_t now_ms, unsigned *removed);

/* ---- hand-over: control thread ---- */

#define ODP_CT_FRAME_MAX 65536u
#define ODP_CT_FRAME_HDR 32u
#define ODP_CT_RECORD_BYTES 224u // of a connection, expectation or mapping, behind that
/* What a frame says of itself, for who takes it over. */
struct odp_ct_stamp {
	uint64_t wall_ms; // when it was written, by a clock that both have
	bool still; // no packet came after it
};

/*
 * The table as frames of up to ODP_CT_FRAME_MAX bytes. Start with *at = 0; each call looks at some
 * thousand places of the table, writes one frame, perhaps one without connections, and gives its
 * length; the last one has been written when it returns 0. -ENOSPC: `size` is less than
 * ODP_CT_FRAME_MAX.
 */
int odp_ct_export(struct odp_ct *ct, uint64_t *at, const struct odp_ct_stamp *stamp,
	uint64_t now_ms, uint8_t *buf, size_t size);
/* Bytes of the frame that begins with these; -EBADMSG, -EPROTONOSUPPORT. Pure; any thread. */
int odp_ct_frame_len(const uint8_t hdr[ODP_CT_FRAME_HDR]);
/* Write the sum of a frame that was changed. Pure; any thread. */
void odp_ct_frame_seal(uint8_t *buf, size_t len);

struct odp_ct_import {
	/* Set by the caller, for each frame. */
	uint32_t age_ms; // time that passed since the frame was written: what is over is left out
	bool loose; // connections went on since: TCP's windows are learned from what comes
	/* Out. */
	uint64_t n; // connections so far
	uint32_t seq; // frames so far
	bool complete; // the last frame was seen
	struct odp_ct_stamp stamp; // of the last one seen
};
/*
 * Take one frame; the output fields of `im` are zero before the first. A frame is taken as a whole
 * or not at all, but connections that are in the table already stay as they are, and those that no
 * longer fit are left out.
 *
 * Returns the number taken, or
 *   -EBADMSG  cut, corrupt, out of order, or a connection that cannot be
 *   -EPROTONOSUPPORT  another version
 */
int odp_ct_import(struct odp_ct *ct, struct odp_ct_import *im, const uint8_t *buf, size_t len,
	uint64_t now_ms);
/*
 * Would odp_ct_import() take this frame, the next one of `im`? The number of its connections, or as
 * above. Pure; any thread.
 */
int odp_ct_import_check(struct odp_ct_import *im, const uint8_t *buf, size_t len);
