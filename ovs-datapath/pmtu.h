/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path MTU, both ways: telling a sender that its packet is too long for the tunnel, and hearing
 * that of the underlay.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "tnl.h"
#include "underlay.h"

/* Least MTUs that are believed or told: what every host takes (RFC 791, RFC 8200 section 5). */
#define ODP_PMTU_MIN4 576u
#define ODP_PMTU_MIN6 1280u

/*
 * The packet, or a segment of a GSO frame, is longer than inner_mtu L3 bytes behind an Ethernet
 * header without tags (odp_tnl_inner_mtu()); 0: nothing is. Any worker.
 */
bool odp_pmtu_exceeds(const struct rte_mbuf *m, uint32_t inner_mtu);

/* Limits what senders are told. One worker's. */
struct odp_pmtu;

struct odp_pmtu_conf {
	struct rte_mempool *pool; // borrowed
	unsigned source_per_s; // answers to one source; 0: 20
	unsigned total_per_s; // to all; 0: 1000
};

/* 0, -ENOMEM. */
int odp_pmtu_create(const struct odp_pmtu_conf *conf, struct odp_pmtu **out);
void odp_pmtu_destroy(struct odp_pmtu *p);

/*
 * Make the answer to a packet that is too long: ICMP "fragmentation needed", or ICMPv6 "packet too
 * big", from whom the packet was for. It goes out of the port on which the packet came in, and
 * nowhere else: its addresses are what the sender wrote.
 *
 *   inner_mtu  as above; told is what is left of it behind the packet's tags, and for IPv6 not less
 *              than 1280
 *   source     whose share it uses: the port
 *   out        an Ethernet frame with all checksums; the caller's
 *
 * Returns 0, or
 *   -EOPNOTSUPP  IPv4 without DF, to be fragmented or dropped; or no IP
 *   -EPERM       nobody may be told: it is to or from many or nobody, a later fragment, or an error
 *                itself
 *   -EBADMSG     headers cut short
 *   -EBUSY       told often enough
 *   -ENOMEM
 * The packet stays the caller's. Worker.
 * Spec: RFC 792, 1122 section 3.2.2, 1191 section 4, 1812 section 4.3.2; RFC 4443 sections 2.4 and
 * 3.2.
 */
int odp_pmtu_answer(struct odp_pmtu *p, const struct rte_mbuf *m, uint32_t inner_mtu,
	uint64_t source, uint64_t now_ns, struct rte_mbuf **out);

/*
 * A packet from an uplink that may say that one of our tunnel packets was too long.
 *
 * Believed is what quotes a packet that we could have sent: from an address of ours to the end of a
 * path in use, to a port of a tunnel here from one that we send from, longer than the MTU that is
 * told, and that MTU less than now but no less than the minimum. Ten minutes later it is forgotten.
 *
 * Returns 1: learned; 0: no such message, or none for us; -EBADMSG: cut short or its checksum is
 * wrong; -EPROTO: not believed. The packet stays the caller's. Control thread.
 * Spec: RFC 1191 section 5, RFC 8201 section 4.
 */
int odp_pmtu_learn(struct odp_ul *ul, const struct odp_tnl_demux *d, const struct rte_mbuf *m);
