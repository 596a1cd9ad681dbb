/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtqueues, device side: pop, push, publish, notify. One engine under every transport.
 *
 * A queue is set up by the control thread while no worker polls it, then belongs to one worker
 * until the control thread has taken it back. Both ring layouts sit behind the same calls; the
 * bursts of net.c look inside on purpose.
 *
 * A hostile ring ends in one way: vho_queue_fail() marks the queue broken, counts why, signals the
 * error eventfd; nothing is popped from it until it is set up again.
 *
 * Spec: VIRTIO 1.3, sections 2.6 to 2.9.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "dpu_stats.h"
#include "inflight.h"
#include "iotlb.h"
#include "mem.h"
#include "vho_device.h"

#define VHO_QUEUE_SIZE_MAX 32768
#define VHO_F_NOTIFICATION_DATA 38 // younger than the kernel headers that we build with

/* Where dirty pages are reported during live migration: one bit per 4 KiB page. */
struct vho_dirty_log {
	uint8_t *base; // NULL: not logging
	uint64_t size; // bytes
};

/* What setting up a queue needs; addresses are guest physical. */
struct vho_queue_conf {
	struct vho_mem *mem; // borrowed: the queue takes a reference of its own
	uint64_t features; // as negotiated
	uint64_t desc_gpa; // descriptor table; packed: descriptor ring
	uint64_t driver_gpa; // available ring; packed: driver event suppression
	uint64_t device_gpa; // used ring; packed: device event suppression
	uint32_t size; // entries; split: a power of two
	uint32_t
		base; // VHOST_USER_SET_VRING_BASE: split u16; packed avail:15|wrap:1|used:15|wrap:1
	struct vho_inflight_queue *inflight; // borrowed; NULL when not negotiated
	struct vho_iotlb_queue *iotlb; // borrowed; NULL: descriptors carry physical addresses
	struct vho_dirty_log log;
	bool log_used; // report writes to the used ring too (VHOST_VRING_F_LOG)
	/*
	 * No buffer here is for the device to write: a transmitq. DPDK's driver leaves WRITE set in
	 * packed indirect tables of its transmitqs, which then means nothing.
	 */
	bool out_only;
	uint64_t used_log_gpa; // as what they are reported: the address that came with the flag
	int call_fd; // borrowed; -1: the driver polls
	int err_fd; // borrowed; -1: none
};

/* One request as it came off a ring; remembered until it is pushed back. */
struct vho_elem {
	uint16_t id; // split: head index; packed: buffer id
	uint16_t n_slots; // ring slots that it takes (packed; 1 for split)
	uint16_t inflight_idx; // where the inflight region holds it
	uint16_t order; // position in pop order, free-running
	uint16_t n_in; // entries of `in`
	/* Borrowed from the chain: its in segments, unchanged until the push (dirty log). */
	const struct iovec *in;
};

/* A popped chain: out segments (driver wrote) first, then in segments (device writes). */
struct vho_chain {
	struct vho_elem elem;
	uint16_t n_out, n_in; // segments of iov
	uint16_t n_empty; // buffers of length 0, which have no segment
	bool empty_in; // one of them was for the device to write: nothing to read may follow
	uint16_t max; // capacity of iov: set by the caller
	uint64_t out_len, in_len; // bytes
	struct iovec *iov; // caller's memory, `max` entries
};

struct vho_queue {
	/* Fixed while the queue runs. */
	struct vho_mem *mem; // one reference
	const struct vho_mem *direct; // has what descriptors name: mem, or nothing with iotlb
	struct vho_iotlb_queue *iotlb; // borrowed or NULL
	uint64_t features;
	uint32_t size;
	bool packed, event_idx, in_order, indirect;
	bool out_only;
	uint16_t idx; // position in the device
	uint16_t max_chain; // descriptors in one chain, direct or indirect, that we accept
	int call_fd, err_fd; // borrowed
	struct vho_inflight_queue *inflight; // borrowed or NULL
	struct vho_dirty_log log;
	bool watched; // there is a log or an iotlb: not for bursts, and pushes are seen
	bool log_used; // the dirty log wants to hear of the device's part of the ring, too
	uint64_t used_gpa; // where it says that lies; packed: event suppression
	uint64_t desc_gpa; // packed: of the descriptor ring

	/* Guest memory: may change between two reads. Load once, then check the copy. */
	volatile struct vring_desc *desc; // split
	volatile struct vring_avail *avail; // split
	/*
	 * Split: how far the driver has got: avail->idx, or what stands for it while memory is
	 * still coming (postcopy.h).
	 */
	const volatile uint16_t *avail_idx;
	volatile struct vring_used *used; // split
	volatile struct vring_packed_desc *pdesc; // packed
	volatile struct vring_packed_desc_event *driver_event; // packed
	volatile struct vring_packed_desc_event *device_event; // packed

	/* Only the worker that polls this queue (control thread while nobody does). */
	bool running; // set up, enabled and handed to a worker
	bool broken;
	bool notify_off; // the driver has been told not to kick
	uint16_t next_avail; // split: free-running; packed: index below size
	uint16_t next_used; // the same
	bool avail_wrap, used_wrap; // packed
	uint16_t avail_cached; // split: avail->idx as last loaded
	uint16_t signalled; // split: used index at the last notification
	bool signalled_valid;
	uint16_t unsignalled; // packed: slots published since the last notification
	uint16_t published; // split: used index that the driver sees
	uint16_t batch_slot, batch_flags, batch_len; // packed: pushed and not yet published
	uint16_t pop_order, push_order; // free-running
	struct vho_held *held; // owned; IN_ORDER only: pushes that wait for an earlier one
	uint16_t held_mask; // entries of it, a power of two, less 1: orders wrap at 2^16
	uint16_t resubmit_next; // next entry of inflight's resubmit list
	/* Chains after next_avail that a burst has looked at (net_ring.h), and their slots. */
	uint16_t staged, staged_slots;
	bool staged_odd; // and what comes behind them is for vho_queue_pop()
	uint16_t ahead; // split: chains after next_avail whose descriptors were fetched
	const struct vho_mem_map_entry *last_region; // hint: where the last address was found

	/* Written by that worker, read by any thread. */
	struct vho_queue_stats stats;
};

/*
 * Control thread, queue at rest. Check sizes and addresses, load the start state, prepare the
 * resubmission of requests that the inflight region says were popped and never pushed.
 *
 * Returns 0, or
 *   -EINVAL  size 0, above VHO_QUEUE_SIZE_MAX, split and not a power of two, misaligned address,
 *            base out of range for the ring
 *   -EFAULT  a ring part is not wholly inside the guest's memory, or its address is 0
 *
 * Spec: VIRTIO 1.3, 2.7 and 2.8; vhost-user, "Inflight I/O tracking".
 */
int vho_queue_setup(struct vho_queue *q, const struct vho_queue_conf *conf);

/* Let go of memory; keeps counters. Safe on a queue that was never set up. */
void vho_queue_teardown(struct vho_queue *q);

/* The value VHOST_USER_GET_VRING_BASE answers: next request to pop, as in vho_queue_conf.base. */
uint32_t vho_queue_base(const struct vho_queue *q);

/*
 * Take the next request (first those to resubmit). Every descriptor is loaded once and every
 * address checked; segments that cross memory regions become several entries of iov.
 *
 * Returns 1, 0 when the ring is empty or its next request waits for an address, or
 *   -EBADMSG  a broken chain: index or id out of range, loop, bad indirect table, readable after
 *             writable, length sum past 2^32, avail index jumped
 *   -EFAULT   an address outside the map
 *   -E2BIG    more segments and empty buffers than c->max
 * after which the queue is broken (stopped, counted, err eventfd signalled). Worker.
 */
int vho_queue_pop(struct vho_queue *q, struct vho_chain *c);

/*
 * Give a request back; the driver sees it after vho_queue_publish(). `written` is the number of
 * bytes written to the in segments, from the first on. Packed rings keep the first slot of the
 * batch back and write its flags last. Worker.
 */
void vho_queue_push(struct vho_queue *q, const struct vho_elem *e, uint32_t written);
void vho_queue_publish(struct vho_queue *q);

/* Signal the driver if it asked to be. Never blocks, whatever the eventfd's state. Worker. */
void vho_queue_notify(struct vho_queue *q);

/*
 * Ask for kicks. True: the ring was still empty afterwards, so the worker may sleep. False: there
 * is work (kicks are off again). vho_queue_disarm() turns kicks off. Worker.
 */
bool vho_queue_arm(struct vho_queue *q);
void vho_queue_disarm(struct vho_queue *q);

/* True when a pop would find something. Cheap. Worker. */
bool vho_queue_ready(struct vho_queue *q);

/*
 * Stop a ring that broke the rules. Returns err, so that callers can `return vho_queue_fail(..)`.
 */
int vho_queue_fail(struct vho_queue *q, enum vho_queue_error why, int err);

/*
 * Signal an eventfd without ever blocking, whatever its counter, its flags or its other holders:
 * they are the front-end's. Anything else than an eventfd is left alone. Any thread.
 */
void vho_notify_fd(int fd);

/* Mark [gpa, gpa + len) written in the dirty log; never outside the log's area. */
void vho_queue_log_write(const struct vho_queue *q, uint64_t gpa, uint64_t len);
