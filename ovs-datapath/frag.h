/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments wait here until their datagram is whole, so that conntrack sees it once, with its
 * ports. What comes out are the fragments themselves, in order, to be sent on as they came, and the
 * headers that the datagram would have had in one piece, to be looked at.
 *
 * One worker's object: fragments of a datagram that different workers receive never meet.
 *
 * Bounded three ways: contexts, bytes of mbufs held, and both of these for each source (a port, or
 * a tenant behind one). What goes over a source's share costs the source its own oldest datagram;
 * when all is full the oldest one of whoever holds most gives way. Overlaps are never put together:
 * the whole datagram is dropped, with what is still to come of it (RFC 5722; the same for IPv4).
 */
#pragma once

#include <stdint.h>

#include <rte_mbuf.h>

#include "key.h"
#include "odp_ct.h"

#define ODP_FRAG_PIECES 64u // fragments of one datagram: 64 KiB in pieces of 1 KiB
#define ODP_FRAG_HDR 256u // bytes in which headers are looked for

struct odp_frags;

struct odp_frag_conf {
	struct rte_mempool *pool; // borrowed
	struct odp_seed seed; // of the datapath; mul is odd
	unsigned contexts; // 0: 1024
	uint32_t bytes; // of memory held, contexts included; 0: 8 MiB
	unsigned source_percent; // of both, for one source; 0: 25
	unsigned timeout4_ms, timeout6_ms; // 0: 15 s (RFC 791, 3.2), 60 s (RFC 8200, 4.5)
	/* n packets of a source, in a zone, were freed; may be NULL. */
	void (*dropped)(void *arg, uint64_t source, uint32_t zone, enum odp_drop why, unsigned n);
	void *arg;
};

/* A datagram that is whole. */
struct odp_frag_out {
	unsigned n;
	struct rte_mbuf *frags[ODP_FRAG_PIECES]; // by offset; the caller's
	uint16_t hdr_len; // bytes of `hdr`
	uint32_t len; // of the frame, were it one
	uint8_t hdr[ODP_FRAG_HDR]; // for odp_extract(hdr, hdr_len, len, ...)
};

enum odp_frag_verdict {
	ODP_FRAG_PASS, // no fragment, or all in one (RFC 6946): the packet is the caller's
	ODP_FRAG_HELD,
	ODP_FRAG_DONE, // *out is filled in
};

/* 0, -EINVAL, -ENOMEM. */
int odp_frag_create(const struct odp_frag_conf *conf, struct odp_frags **out);
void odp_frag_destroy(struct odp_frags *f);
/* Add what this one has counted, and what it holds now. Any thread. */
void odp_frag_stats_add(const struct odp_frags *f, struct odp_frag_stats *sum);

/*
 * A packet on its way to conntrack.
 *
 *   source  whose share it uses, and part of what datagrams are told apart by: the port, and the
 *           tunnel id behind it
 *   zone    conntrack's; fragments of different zones never meet
 *
 * Returns an enum odp_frag_verdict, or, the packet being freed and conf.dropped() told,
 *   -EBADMSG  lengths or offsets that cannot be; a first fragment too short for its headers (RFC
 *             1858, 3128, 7112); a fragment with an offload request
 *   -EPROTO   overlaps another, or contradicts it: its datagram is gone
 *   -EEXIST   there is this one already, byte for byte
 *   -ENOBUFS  more pieces or bytes than one datagram may have here
 *   -ENOMEM
 * Worker.
 */
int odp_frag_in(struct odp_frags *f, struct rte_mbuf *m, uint64_t source, uint32_t zone,
	uint64_t now_ns, struct odp_frag_out *out);

/* Drop what waits for too long, at most max datagrams. Once a turn. */
void odp_frag_expire(struct odp_frags *f, uint64_t now_ns, unsigned max);
/* Datagrams that wait, or are dropped as their pieces come. */
unsigned odp_frag_waiting(const struct odp_frags *f);
/* Drop what came from the sources whose high half is `port`. */
void odp_frag_forget(struct odp_frags *f, uint32_t port);
