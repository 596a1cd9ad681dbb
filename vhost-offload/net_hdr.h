/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-net header and what it asks for, to and from an mbuf's offload flags (the contract of
 * vho_net.h). Pure functions; any thread.
 *
 * A guest's request is believed only as far as the frame bears it out: a checksum request that is
 * not that of the frame's own TCP or UDP header is completed here and now, a segmentation request
 * that does not fit drops the frame.
 *
 * Spec: VIRTIO 1.3, section 5.1.6.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <rte_mbuf.h>

#ifndef VIRTIO_NET_F_HOST_USO // VIRTIO 1.3; not in the headers of Linux 6.1
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef VIRTIO_NET_F_VQ_NOTF_COAL
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#endif

#define VHO_NET_FRAME_MAX (65535u + 14 + 8) // largest IP packet, Ethernet header, two VLAN tags
#define VHO_NET_FRAME_MIN 14u

/*
 * Most segments that one GSO frame may become. A guest chooses gso_size; at 1 a frame of 64 KiB
 * would cost 65,000 packets of work. 88 bytes is the smallest segment size that common TCP stacks
 * fall back to, so a frame that needs more segments than this is no honest one.
 */
#define VHO_NET_GSO_SEGS_MAX (65536u / 88)

/* Header as version 1 and mergeable buffers have it; a legacy one lacks num_buffers. */
typedef struct virtio_net_hdr_v1 vho_net_hdr;

static inline bool vho_net_has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

#define VHO_NET_HDR_MAX sizeof(struct virtio_net_hdr_v1_hash)

/*
 * Bytes of the header on the wire: 12, or 20 with VIRTIO_NET_F_HASH_REPORT, or 10 for a legacy
 * driver without mergeable buffers.
 */
static inline uint32_t vho_net_hdr_len(uint64_t features)
{
	if (vho_net_has(features, VIRTIO_NET_F_HASH_REPORT))
		return sizeof(struct virtio_net_hdr_v1_hash);
	return vho_net_has(features, VIRTIO_F_VERSION_1) ||
			       vho_net_has(features, VIRTIO_NET_F_MRG_RXBUF)
		       ? sizeof(struct virtio_net_hdr_v1)
		       : sizeof(struct virtio_net_hdr);
}

/*
 * Does a guest's header ask for anything at all? Flags that we do not know are ignored (VN-10), and
 * so is DATA_VALID: a driver must not set it (5.1.6.2.1), some did (Linux 4.8 and 4.9 on forwarded
 * packets), and it asks for nothing.
 */
static inline bool vho_net_hdr_asks(const vho_net_hdr *h)
{
	return (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || h->gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/*
 * Apply a guest's header to its frame, whose headers lie in the first segment.
 * Returns 0, or -EINVAL: the frame must be dropped.
 */
int vho_net_hdr_apply(const vho_net_hdr *h, uint64_t features, struct rte_mbuf *m);

/* Does the packet need more than a header of zeros? */
static inline bool vho_net_hdr_plain(const struct rte_mbuf *m)
{
	return !(m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG |
				       RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_RX_L4_CKSUM_MASK));
}

/*
 * Fill *h for a packet on its way to the guest; `offloads` are the VIRTIO_NET_F_GUEST_* bits in
 * force. A checksum that the guest does not take is completed in the packet when that is ours
 * alone. num_buffers is set to 1. Returns 0, or -ENOTSUP: the guest cannot take this packet.
 */
int vho_net_hdr_make(struct rte_mbuf *m, uint64_t offloads, vho_net_hdr *h);

/*
 * RFC 1071 over [start, end of frame), stored at start + off; the field holds the start value.
 * Returns 0, or -EINVAL: outside the frame.
 */
int vho_net_csum_complete(struct rte_mbuf *m, uint32_t start, uint32_t off);
