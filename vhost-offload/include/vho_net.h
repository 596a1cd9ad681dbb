/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: bursts between a guest's queues and mbufs.
 *
 * Queue 2i is receiveq i (card to guest), 2i+1 transmitq i (guest to card), 2 * max_pairs the
 * control queue. "rx" and "tx" below are the card's view: rx takes packets from the guest.
 *
 * What a packet's mbuf says, in both directions (the contract shared with odp_port.h):
 *   RTE_MBUF_F_TX_TCP_CKSUM / UDP_CKSUM  the L4 checksum field holds the pseudo-header sum (length
 *                   included, as virtio has it) and is to be completed; l2_len, l3_len, l4_len and
 *                   TX_IPV4 / TX_IPV6 are valid and were checked against the frame
 *   RTE_MBUF_F_TX_TCP_SEG / UDP_SEG  in addition: a GSO frame, tso_segsz > 0
 *   RTE_MBUF_F_RX_L4_CKSUM_GOOD  verified on the way here
 *   VHO_NET_F_LENT  the first segment is an ordinary one of at least 256 bytes, those behind it
 *                   point into the sending guest's memory: they are only read, their bytes may
 *                   change at any moment, and no reference to them lives longer than the turn
 *
 * Spec: VIRTIO 1.3, section 5.1.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "vho_device.h"

struct vho_net;

#define VHO_NET_F_LENT RTE_MBUF_F_LAST_FREE // whoever starts DPDK reserves the bit

/* With the control queue 255 queues: vhost-user names a queue by 8 bits. */
#define VHO_NET_PAIRS_MAX 127

/* Packets that a virtio-net function dropped. X(name, text for the operator) */
#define VHO_NET_DROPS(X)                                                                       \
	X(RX_RUNT, "guest frame shorter than an Ethernet header")                              \
	X(RX_OVERSIZE, "guest frame longer than 64 KiB or the MTU allows")                     \
	X(RX_BAD_OFFLOAD, "virtio-net header asks for an offload that does not fit the frame") \
	X(RX_NO_MBUF, "packet pool empty")                                                     \
	X(RX_DISABLED, "guest transmitted on a disabled queue")                                \
	X(TX_NO_BUFFER, "guest posted no receive buffer")                                      \
	X(TX_TOO_BIG, "frame larger than the buffers that the guest posted")                   \
	X(TX_NOT_RUNNING, "guest's receive queue is not running")                              \
	X(TX_FILTERED, "guest's MAC, VLAN or mode filter")                                     \
	X(TX_BAD_RING, "guest's receive queue broke the rules")

enum vho_net_drop {
#define X(name, text) VHO_NET_DROP_##name,
	VHO_NET_DROPS(X)
#undef X
		VHO_NET_DROP_COUNT
};

const char *vho_net_drop_name(enum vho_net_drop d);
const char *vho_net_drop_text(enum vho_net_drop d);

struct vho_net_conf {
	const char *name; // copied
	uint8_t mac[6]; // offered in configuration space
	uint16_t max_pairs; // queue pairs, 1..VHO_NET_PAIRS_MAX
	uint16_t mtu; // bytes, 68..65535; offered through VIRTIO_NET_F_MTU
	uint64_t features_off; // bits not to offer, whatever we support
	/* Shown in configuration space through VIRTIO_NET_F_SPEED_DUPLEX; unknown while down. */
	uint32_t speed_mbps; // 0: unknown, and the feature is not offered; at most 2^31 - 1
	bool half_duplex;
	bool standby; // offer VIRTIO_NET_F_STANDBY: a stand-in for another device of this MAC
	struct rte_mempool *pool; // borrowed: mbufs for guest packets; outlives the function
	/*
	 * Long packets may be lent (VHO_NET_F_LENT): whoever calls vho_net_rx() promises that they
	 * are gone, clones too, before it calls that for the queue again or lets the queue go.
	 */
	bool lends;
};

/* Written by the queue pair's workers, read by any thread. */
struct vho_net_stats {
	dpu_counter rx_packets, rx_bytes; // from the guest
	dpu_counter tx_packets, tx_bytes; // to the guest
	dpu_counter drops[VHO_NET_DROP_COUNT];
};

int vho_net_create(
	const struct vho_net_conf *conf, const struct vho_host *host, struct vho_net **out);
void vho_net_destroy(struct vho_net *net);
struct vho_dev *vho_net_dev(struct vho_net *net);

/*
 * Take at most n packets from transmitq of `pair`. Each mbuf is the caller's. Data was copied out
 * of guest memory once, but for what is lent. Returns the number taken; a broken ring returns 0 for
 * ever. The queue's worker.
 */
uint16_t vho_net_rx(struct vho_net *net, uint16_t pair, struct rte_mbuf **pkts, uint16_t n);

/*
 * Deliver n packets to receiveq of `pair`. Always consumes all of them: what the guest has no
 * buffer for is dropped and counted (a guest that does not receive must not slow down others).
 * Offload requests that the guest cannot take must have been completed before (see vho_net_caps).
 * Call vho_net_tx_notify() once per turn. Returns the number delivered. The queue's worker.
 */
uint16_t vho_net_tx(struct vho_net *net, uint16_t pair, struct rte_mbuf **pkts, uint16_t n);
/*
 * May packets wait inside for the address of a receive buffer (VIRTIO_F_ACCESS_PLATFORM)? Then
 * vho_net_tx_resume() is to be called when the queue's kick fd is readable; it delivers what waited
 * and calls the driver. Returns the number delivered. The queue's worker.
 */
bool vho_net_holds(const struct vho_net *net); // while the queue runs
unsigned vho_net_tx_resume(struct vho_net *net, uint16_t pair);
void vho_net_tx_notify(struct vho_net *net, uint16_t pair);

/*
 * Notification coalescing, queue idx of the device (not the control queue). While the driver has
 * asked for it, calls may be held back; somebody must poll that they are sent in time. Whether it
 * has changes with vho_host.changed. Spec: VIRTIO 1.3, 5.1.6.5.9.
 */
bool vho_net_coalesces(const struct vho_net *net, unsigned idx); // any thread
/* Send a call that is due: 1, or 0. The queue's worker. */
unsigned vho_net_coal_poll(struct vho_net *net, unsigned idx);
/* Microseconds until one is due; 0: none is held back. The queue's worker. */
unsigned vho_net_coal_left_us(struct vho_net *net, unsigned idx);
/* Send what is held back now. The queue's worker, before it lets the queue go. */
void vho_net_coal_flush(struct vho_net *net, unsigned idx);

#define VHO_NET_PAIR_ANY UINT16_MAX
#define VHO_NET_PAIR_ONLY 0x8000u // that pair or none; not part of VHO_NET_PAIR_ANY

/*
 * The pair on whose receiveq each of n <= 32 packets belongs: by the driver's table (RSS), or the
 * pair on which the guest transmitted their flow last. VHO_NET_PAIR_ANY: the packet is no IP, any
 * will do. False: any will do for all of them. Any worker.
 *
 * The driver's choice has VHO_NET_PAIR_ONLY added: while that receiveq is not served, because it is
 * being reset or was never started, the packet is to be dropped. One of ours is a preference.
 *
 * Spec: VIRTIO 1.3, 5.1.6.5.5 and 5.1.6.5.7.
 */
bool vho_net_steer(
	const struct vho_net *net, struct rte_mbuf *const *pkts, uint16_t n, uint16_t *pair);
/* Remember the flows of packets that vho_net_rx() took from `pair`. The queue's worker. */
void vho_net_learn(struct vho_net *net, uint16_t pair, struct rte_mbuf *const *pkts, uint16_t n);

/* What the guest accepts now: it changes with features and control commands. Any thread. */
struct vho_net_caps {
	bool running; // link up: a front-end has at least one receiveq running
	bool csum; // partial checksums (VIRTIO_NET_F_GUEST_CSUM)
	bool tso4, tso6, uso4, uso6; // GSO frames of TCP, of UDP
	uint16_t active_pairs;
	uint16_t mtu;
};
void vho_net_caps(const struct vho_net *net, struct vho_net_caps *out);

/* Counters of one queue pair. Any thread. */
const struct vho_net_stats *vho_net_stats(const struct vho_net *net, uint16_t pair);

/* Link state and announcement, for the control thread. */
int vho_net_link_set(struct vho_net *net, bool up);

/* Serve the control queue (control thread, when its kick fd is readable). */
void vho_net_ctrl_poll(struct vho_net *net);
