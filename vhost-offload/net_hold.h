/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for a guest behind an IOMMU whose next receive buffer is known by its I/O virtual address
 * only: they wait, in order, until the front-end has said where it is.
 *
 * Such a guest maps every buffer anew, so this happens all the time, and a packet that is dropped
 * for it costs a TCP sender 200 ms and more. What waits is bounded, for each queue and together: a
 * front-end that never answers may not keep the card's mbufs.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

struct vho_net;
struct vho_queue;

#define VHO_HOLD_PACKETS 64u
#define VHO_HOLD_MBUFS 256u

/* Of one receiveq; only its worker. */
struct vho_hold {
	uint16_t n, mbufs;
	struct rte_mbuf *pkt[VHO_HOLD_PACKETS]; // owned
};

/* Is a buffer's address being asked for? Then the ring only seems to be empty. */
bool vho_hold_waits(const struct vho_queue *q);

/*
 * Keep a reference to each of n packets, as many as there is room for, or a copy where their bytes
 * are lent. Returns how many: the first ones. The packets stay the caller's.
 */
unsigned vho_hold_keep(
	const struct vho_net *net, struct vho_hold *h, struct rte_mbuf *const *pkts, unsigned n);
/* Take them all out, into pkts of VHO_HOLD_PACKETS. Returns their number. */
unsigned vho_hold_take(struct vho_hold *h, struct rte_mbuf **pkts);
