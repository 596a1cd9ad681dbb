/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net's control queue: what the driver asked for, and the receive filter that follows from
 * it.
 *
 * The commands come in on the control thread. Workers see two things: the filter, an immutable
 * object behind an atomic pointer that is replaced whole (the old one is freed after
 * vho_host.synchronize), and a few words read with relaxed order.
 *
 * Spec: VIRTIO 1.3, section 5.1.6.5.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "net_hash.h"
#include "queue.h"
#include "vho_device.h"

#define VHO_NET_FILTER_MACS 64 // of each kind; a longer table accepts all of that kind
#define VHO_NET_FILTER_VLANS 4096

/* Which frames the driver wants. Never written after it was published. */
struct vho_net_filter {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	bool vlan_filter; // VIRTIO_NET_F_CTRL_VLAN: only tags in `vlans` pass
	uint8_t mac[6]; // the function's own
	bool uni_full, multi_full; // the driver's table was longer than ours: accept that kind
	uint16_t n_uni, n_multi;
	uint8_t uni[VHO_NET_FILTER_MACS][6], multi[VHO_NET_FILTER_MACS][6];
	uint64_t vlans[VHO_NET_FILTER_VLANS / 64];
};

/* What the driver set, to be carried to another process or over a stop. */
struct vho_net_ctrl_saved {
	struct vho_net_filter filter; // but for vlan_filter, which follows from the features
	struct vho_net_hash hash; // when there is one
	uint64_t guest_offloads;
	uint16_t pairs;
	bool announce, has_hash;
	uint64_t coal[2 * VHO_NET_PAIRS_MAX]; // VHO_COAL(), by queue
};

/* What a driver wants of a queue's notifications, in one word. */
#define VHO_COAL(packets, usecs) ((uint64_t)(usecs) << 32 | (packets))
#define VHO_COAL_PACKETS(c) ((uint32_t)(c)) // 0: only time counts
#define VHO_COAL_USECS(c) ((uint32_t)((c) >> 32)) // 0: nothing is held back

struct vho_dev_queue;

struct vho_net_ctrl {
	/* Fixed after init. */
	const struct vho_host *host; // borrowed: outlives the function
	const struct vho_dev_queue *queues; // borrowed: the device's; NULL: all are enabled
	uint16_t max_pairs;
	uint8_t mac_initial[6];

	/* Control thread. */
	struct vho_net_filter want; // edited by commands, copied when published

	/* Written by the control thread, read by workers. */
	_Atomic(struct vho_net_filter *) filter; // owned; NULL accepts everything
	_Atomic(struct vho_net_hash *) hash; // owned; NULL: neither RSS nor hash reports
	_Atomic uint16_t pairs; // receiveqs that the driver uses; 0: it has not said
	_Atomic uint64_t guest_offloads; // VIRTIO_NET_F_GUEST_* bits; all negotiated ones at first
	_Atomic uint64_t coal[2 * VHO_NET_PAIRS_MAX]; // VHO_COAL(), by queue
	_Atomic bool announce; // VIRTIO_NET_S_ANNOUNCE is pending in the status field
	_Atomic uint64_t commands, refused; // counters
};

/*
 * mac is what configuration space shows; max_pairs bounds VQ_PAIRS_SET. Nothing can fail. The state
 * accepts everything until the driver asks for less.
 */
void vho_net_ctrl_init(struct vho_net_ctrl *c, const struct vho_host *host, const uint8_t mac[6],
	uint16_t max_pairs);
/* Free the filter; no worker may use it any more. */
void vho_net_ctrl_fini(struct vho_net_ctrl *c);

/* Back to the state after init, and the negotiated `features` from now on. Control thread. */
void vho_net_ctrl_reset(struct vho_net_ctrl *c, uint64_t features);

/*
 * The state as commands left it, and back. What `features` do not allow is left out; without memory
 * for the filter everything is accepted until the next command, and without memory for a table of
 * receive queues the card steers by itself. Control thread.
 */
void vho_net_ctrl_save(const struct vho_net_ctrl *c, struct vho_net_ctrl_saved *out);
void vho_net_ctrl_restore(
	struct vho_net_ctrl *c, uint64_t features, const struct vho_net_ctrl_saved *saved);

/*
 * Execute one control command and write its answer: one byte, and what it was asked for. Returns
 * the number of bytes written to the in segments (for vho_queue_push): 0 when the driver left no
 * room for the answer; one that has no room for all of a result gets an error.
 * Control thread.
 */
uint32_t vho_net_ctrl_handle(
	struct vho_net_ctrl *c, uint64_t features, const struct vho_chain *chain);

/* Our own MAC as the driver last set it. Control thread. */
static inline const uint8_t *vho_net_ctrl_mac(const struct vho_net_ctrl *c)
{
	return c->want.mac;
}

/* The filter of this turn. Worker; valid until the turn ends. Pairs with publish() in net_ctrl.c */
static inline const struct vho_net_filter *vho_net_ctrl_filter(const struct vho_net_ctrl *c)
{
	return atomic_load_explicit(&c->filter, memory_order_acquire);
}

/* As vho_net_ctrl_filter(). Pairs with set_hash() in net_ctrl.c */
static inline const struct vho_net_hash *vho_net_ctrl_hash(const struct vho_net_ctrl *c)
{
	return atomic_load_explicit(&c->hash, memory_order_acquire);
}

static inline uint64_t vho_net_ctrl_coal(const struct vho_net_ctrl *c, unsigned idx)
{
	return atomic_load_explicit(&c->coal[idx], memory_order_relaxed);
}

static inline bool vho_net_filter_listed(const uint8_t (*table)[6], uint16_t n, const uint8_t *addr)
{
	for (uint16_t i = 0; i < n; i++)
		if (memcmp(table[i], addr, 6) == 0)
			return true;
	return false;
}

static inline bool vho_net_filter_vlan_pass(
	const struct vho_net_filter *f, const uint8_t *frame, uint32_t len)
{
	if (!f->vlan_filter || len < 16 || frame[12] != 0x81 || frame[13] != 0x00)
		return true;

	unsigned vid = (frame[14] & 0x0fu) << 8 | frame[15];

	// VID 0 is a priority tag: such a frame belongs to no VLAN (IEEE 802.1Q, 9.6)
	return vid == 0 || (f->vlans[vid / 64] >> (vid % 64) & 1);
}

/*
 * Does the driver want this frame? `frame` points at `len` bytes from the Ethernet header on: 14 at
 * least, 16 to see a VLAN tag. A NULL filter accepts everything. Pure; any thread.
 */
static inline bool vho_net_filter_pass(
	const struct vho_net_filter *f, const uint8_t *frame, uint32_t len)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (!f)
		return true;
	if (len < 14)
		return false;
	if (f->promisc)
		return true; // whatever its VLAN, as QEMU has it
	if (!vho_net_filter_vlan_pass(f, frame, len))
		return false;
	if (frame[0] & 1) {
		if (memcmp(frame, broadcast, 6) == 0)
			return !f->nobcast;
		if (f->nomulti)
			return false;
		return f->allmulti || f->multi_full ||
		       vho_net_filter_listed(f->multi, f->n_multi, frame);
	}
	if (f->nouni)
		return false;
	return f->alluni || f->uni_full || memcmp(frame, f->mac, 6) == 0 ||
	       vho_net_filter_listed(f->uni, f->n_uni, frame);
}
