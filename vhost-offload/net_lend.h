/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets whose payload stays where the guest has it.
 *
 * Of a long packet only the first bytes are copied, enough for every header that anybody looks at;
 * the rest becomes external mbuf segments that point into guest memory, so that it is copied once,
 * by whoever delivers it. The guest may change such bytes while they are read, and gets what it
 * asked for: nothing is decided by them.
 *
 * The chain of a lent packet is kept, and given back when the queue is looked at next or let go: by
 * then the packet is gone (the promise of vho_net_conf.lends). Chains that were taken off the ring
 * behind it wait with it, so that all are given back in the order in which they came.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "net_ring.h"
#include "net_seg.h"

struct vho_dev;
struct vho_net;

/* Bytes of a lent packet that are copied: as far as anybody looks for headers. */
#define VHO_LEND_HEAD 256u

/* Chains that wait for packets to be gone. Only the transmitq's worker. */
struct vho_lent {
	uint16_t n;
	struct vho_lent_chain {
		struct vho_elem elem;
		/* Counts 1, and the segments that point into the chain's buffers. */
		struct rte_mbuf_ext_shared_info info;
	} chain[VHO_BURST];
};

void vho_lent_init(struct vho_lent *l);

/* Would a packet of len bytes, whose header is h, in that chain be cheaper to lend than to copy? */
bool vho_lend_worth(const struct vho_net *net, const struct vho_chain *ch,
	const struct virtio_net_hdr_v1 *h, uint32_t len);

/*
 * The packet of len > VHO_LEND_HEAD bytes that starts at c; NULL: the pool is empty. It is not
 * marked yet. Its chain must be the next one that vho_lent_keep() gets, and there must be room.
 */
struct rte_mbuf *vho_lend(
	const struct vho_net *net, struct vho_lent *l, struct vho_seg_cur *c, uint32_t len);
void vho_lent_keep(struct vho_lent *l, const struct vho_elem *e);

/* Give all of them back. The packets are gone, or the process ends: it must not go on. */
void vho_lent_return(struct vho_lent *l, struct vho_queue *q);

/* The type's queue_let_go. */
void vho_net_let_go(struct vho_dev *dev, unsigned idx);
