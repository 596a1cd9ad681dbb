/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-net function from the inside: shared by its control part and its packet bursts. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "device.h"
#include "net_ctrl.h"
#include "net_hash.h"
#include "net_hdr.h"
#include "net_hold.h"
#include "net_lend.h"
#include "net_ring.h"
#include "vho_net.h"

struct vho_net_fast;

/*
 * A ring that is looked at too often gives packets by ones and twos, and its lines travel between
 * the cores for each: so between two looks there is time for a burst to gather, when the driver is
 * fast enough for that to be short.
 */
struct vho_rest {
	uint64_t taken_tsc; // when packets were taken last
	uint64_t until_tsc; // 0: none, and nothing lent is to be given back
};

/* A call to the driver that may be held back: only the queue's worker. */
struct vho_coal {
	uint64_t due_tsc; // 0: none is
	uint64_t seen; // requests of the queue when the last one was sent
};

struct vho_net_pair {
	_Alignas(64) struct vho_net_stats stats;
	struct vho_stage from_guest, to_guest; // only the workers of the two queues
	struct vho_rest rest; // only the transmitq's worker
	struct vho_coal coal[2]; // of the receiveq, of the transmitq
	struct vho_lent lent; // only the transmitq's worker
	struct vho_hold hold; // only the receiveq's worker
};

struct vho_net {
	/* Fixed after creation. */
	struct vho_dev dev;
	const struct vho_net_fast *fast; // static storage
	struct rte_mempool *pool; // borrowed: outlives the function
	uint32_t mbuf_room; // bytes of data that one mbuf holds
	uint64_t us_tsc; // cycles of a microsecond
	uint32_t rest_tsc; // longest rest of a transmitq, cycles; 0: none
	uint16_t max_pairs;
	bool half_duplex;
	bool lends; // vho_net_conf.lends
	uint32_t speed_mbps; // 0: unknown
	struct vho_net_pair *pairs; // owned; max_pairs entries

	/* Control thread. */
	bool ctrl_seen; // a control queue came up: the driver's filters reach us
	/* net_state.c: what takes effect when the control queue comes up. */
	bool has_kept, kept_if_past, keep_over_reset;
	struct vho_net_ctrl_saved kept;
	bool rx_up[VHO_NET_PAIRS_MAX]; // receiveq of a pair is set up

	/* Written by the control thread, read by any: relaxed. */
	_Atomic uint32_t frame_max; // bytes of a guest frame that is not to be segmented
	_Atomic uint16_t mtu;
	_Atomic uint16_t active_pairs;
	_Atomic bool link_up;
	_Atomic bool coalescing; // of some queue: vho_net_notify_later() decides
	_Atomic bool learning; // several pairs are in use, and not by the driver's table
	uint8_t rarp_mac[6]; // published by rarp_due
	/* Set by the control thread with release, taken by pair 0's worker with acquire. */
	_Atomic bool rarp_due;

	struct vho_net_flows flows; // only with several pairs
	struct vho_net_ctrl ctrl;
};

/* Drop what waits for the address of a receive buffer. The receiveq's worker. */
void vho_net_tx_forget(struct vho_net *net, uint16_t pair);

#define VHO_NET_MTU_MIN 68u // VIRTIO 1.3, 5.1.4.1

/* Another MTU, not below that, and what follows from it. Control thread. */
void vho_net_mtu_set(struct vho_net *net, uint16_t mtu);

/* Call the driver of queue idx now, or when more packets are there. The queue's worker. */
void vho_net_notify_later(struct vho_net *net, unsigned idx);

/*
 * Write the header h for m as the guest has it, hdr_len <= VHO_NET_HDR_MAX bytes: shorter for a
 * legacy driver, or longer with the packet's hash. `to` may be guest memory: it is only written.
 * Worker.
 */
void vho_net_hdr_put(const struct vho_net *net, uint8_t *to, uint32_t hdr_len, const vho_net_hdr *h,
	const struct rte_mbuf *m);

static inline void vho_net_drop_count(struct vho_net_stats *s, enum vho_net_drop why, uint64_t n)
{
	dpu_counter_add(&s->drops[why], n);
}
