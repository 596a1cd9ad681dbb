/* SPDX-License-Identifier: Apache-2.0 */
/* What a port cannot do is done here: checksums, segmentation, linearising. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "odp_port.h"

#define ODP_F_L4_CSUM RTE_MBUF_F_TX_L4_MASK
#define ODP_F_GSO (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG)
#define ODP_SEGS_MAX 1400u // 64 KiB in the smallest segments that TCP uses

/*
 * Make a packet's bytes ours alone to write: a copy replaces it when it shares them with a clone.
 * NULL: no memory, the packet was freed.
 */
struct rte_mbuf *odp_unshare(struct rte_mbuf *m, struct rte_mempool *pool);

/* A copy whose bytes are all its own; NULL: no memory. The packet stays the caller's. */
struct rte_mbuf *odp_copy(const struct rte_mbuf *m, struct rte_mempool *pool);

/*
 * For whoever keeps a packet beyond the turn: a copy replaces one that is lent (ODP_F_LENT). NULL:
 * no memory, the packet was freed.
 */
struct rte_mbuf *odp_own(struct rte_mbuf *m, struct rte_mempool *pool);

/*
 * One's complement sum of bytes off..off+len, in the order in which words lie in memory, folded.
 * rte_raw_cksum_mbuf() loses carries of a segment that begins at an odd byte. 0, or -EBADMSG: the
 * packet is shorter.
 */
int odp_raw_sum(const struct rte_mbuf *m, uint32_t off, uint32_t len, uint16_t *sum);

/* One contiguous segment; as odp_unshare. */
struct rte_mbuf *odp_linearize(struct rte_mbuf *m, struct rte_mempool *pool);

/*
 * Complete the checksum that the packet asks for and clear the request.
 *
 *   m  as the mbuf contract of odp_port.h says; its headers are not shared (odp_unshare)
 *
 * Returns 0, or -EBADMSG when the request does not fit the headers; the packet is untouched then.
 */
int odp_csum_complete(struct rte_mbuf *m);

/*
 * From our contract (odp_port.h) to DPDK's: for TCP segmentation the pseudo-header sum must not
 * contain the length, and the IPv4 header checksum is asked for. Other packets pass, unshared when
 * they ask for anything. NULL: no memory, or headers that do not fit the request; freed.
 */
struct rte_mbuf *odp_to_ethdev(struct rte_mbuf *m, struct rte_mempool *pool);

/* Cuts one GSO frame into segments, a few at a time. */
struct odp_seg {
	struct rte_mbuf *m; // owned until odp_seg_fini()
	struct rte_mempool *pool; // borrowed
	uint32_t hdr_len, off, payload; // bytes: headers; next payload byte; all payload
	uint32_t size; // payload bytes in a segment
	uint32_t n; // segments made
	uint32_t tcp_seq;
	uint16_t ip_id;
	bool v4, tcp;
	uint8_t hdr[256];
};

/*
 * Takes the frame on success only. Returns 0, or -EBADMSG: offload request and headers contradict
 * each other, the frame is a fragment, or there are more than ODP_SEGS_MAX segments.
 */
int odp_seg_init(struct odp_seg *s, struct rte_mbuf *m, struct rte_mempool *pool);
/*
 * The next segments, at most max; 0: no more. They ask for checksum completion like any other
 * packet. -ENOMEM: the pool is empty; the rest of the frame is lost.
 */
int odp_seg_next(struct odp_seg *s, struct rte_mbuf **out, unsigned max);
void odp_seg_fini(struct odp_seg *s);
