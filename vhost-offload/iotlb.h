/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's TLB: what the guest's IOMMU lets a function reach (VIRTIO_F_ACCESS_PLATFORM).
 *
 * Descriptors then carry I/O virtual addresses. The front-end says which lies where (UPDATE), takes
 * that back (INVALIDATE), and is asked for what is not known (MISS). An entry says which guest
 * physical address an IOVA stands for; bytes are reached through vho_mem as ever, so a wrong or
 * late entry can lead to the guest's own memory and nowhere else.
 *
 *   control thread   changes a copy of the table and publishes it; frees the old one when every
 *                    worker has been between two turns
 *   worker           looks up; what it does not find it asks for, through a ring of its own and an
 *                    eventfd, and leaves the request where it is
 *
 * The number of entries is bounded: a new one pushes another out, which is asked for again when it
 * is needed. docs/adr/0008-iotlb.md has what happens to requests in flight.
 *
 * Spec: vhost-user, "IOMMU support".
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

struct vho_host;
struct vho_iommu_stats;

#define VHO_IOTLB_ENTRIES 2048
#define VHO_IOTLB_ASKS 64 // misses of one queue on their way to the control thread
#define VHO_IOTLB_AHEAD 32 // requests that are looked at before their time

/* Permissions as UPDATE and MISS carry them: what the device may do. */
#define VHO_IOTLB_READ 1u
#define VHO_IOTLB_WRITE 2u

struct vho_iotlb_entry {
	uint64_t iova, size; // bytes
	uint64_t uva; // as the front-end said it
	uint64_t gpa; // where that lies in the memory map
	uint8_t perm;
};

/* Never changes once it is published. */
struct vho_iotlb_table {
	struct vho_iotlb_table *next; // retired ones
	unsigned n;
	struct vho_iotlb_entry e[]; // sorted by iova, no two overlap
};

struct vho_iotlb_ask {
	uint64_t iova;
	uint8_t perm;
};

/* What one queue needs of it. */
struct vho_iotlb_queue {
	/* Fixed while the queue runs. */
	struct vho_iotlb *tlb; // borrowed: outlives the queue
	uint8_t *table; // owned: an indirect table whose pages do not lie together; table_len bytes
	uint32_t table_len;
	bool *pushed; // owned: by pop order, those that overtook older ones
	uint32_t pushed_mask; // entries of it, a power of two, less 1

	/* Only the queue's worker. */
	uint64_t recent[VHO_IOTLB_ASKS]; // pages asked for ahead of time, by hash; 0: none
	unsigned ahead_left; // pages that may still be looked up in this go
	uint64_t last_iova; // the miss that the queue waited for last
	uint8_t last_perm;
	uint16_t last_order; // its request's place in pop order
	unsigned run; // misses of that request

	/* Worker to control thread: entries up to `head`, taken up to `tail`. */
	struct vho_iotlb_ask ask[VHO_IOTLB_ASKS];
	_Atomic uint32_t head, tail;

	/* The miss that keeps the queue from going on; the worker sets it, the other clears it. */
	struct vho_iotlb_ask wait; // published by `waiting`
	_Atomic bool waiting;

	/* Written by the worker, read by the control thread. */
	_Atomic uint64_t done; // requests pushed before which none is in flight

	/* Control thread. */
	bool sent; // the front-end was asked for `wait`
	bool aged; // and that, or the ring's question, has been out when the timer last fired
	bool ring_missing; // the ring does not start before ring_iova is known
	uint64_t ring_iova;
	uint8_t ring_perm;
	uint64_t born; // requests counted when the queue was set up
	uint64_t life, mark_life; // how often it was set up; when `mark` was taken
	uint64_t mark; // requests that an invalidation waits for
};

struct vho_iotlb {
	/* Fixed after creation. */
	const struct vho_host *host; // borrowed
	struct vho_iommu_stats *stats; // borrowed: outlives it
	unsigned n_queues;
	struct vho_iotlb_queue *queues; // owned
	int ask_fd; // owned: a worker has asked

	struct vho_iotlb_table *_Atomic now; // owned; published for workers

	/* Control thread. */
	unsigned out; // questions without an answer, about
	struct vho_iotlb_table *retired; // owned: workers may still look at them
	unsigned n_retired;
	uint32_t dice; // which entry makes room
};

/* 0, -ENOMEM, or the errno of eventfd(2). Control thread, as all that follow down to destroy. */
int vho_iotlb_create(unsigned n_queues, const struct vho_host *host, struct vho_iommu_stats *stats,
	struct vho_iotlb **out);
/* No queue uses it any more. */
void vho_iotlb_destroy(struct vho_iotlb *t);

/*
 * UPDATE: [iova, iova + size) is [uva, uva + size) from now on, whatever parts of it were before.
 *
 * Returns 0, or
 *   -EINVAL  size 0, a sum that wraps, no permission or an unknown one
 *   -EFAULT  not wholly inside one region of mem
 *   -ENOMEM
 */
int vho_iotlb_update(struct vho_iotlb *t, const struct vho_mem *mem, uint64_t iova, uint64_t size,
	uint64_t uva, uint8_t perm);

/*
 * INVALIDATE: nothing is known of [iova, last] any more; parts of entries beside it stay. On return
 * no worker uses what was known but for requests that it has popped. Without the memory for another
 * table nothing is known of anything.
 */
void vho_iotlb_remove(struct vho_iotlb *t, uint64_t iova, uint64_t last);

/* Another memory map (NULL: none): entries follow their uva; those that lie nowhere go. */
void vho_iotlb_remap(struct vho_iotlb *t, const struct vho_mem *mem);

/* Is iova known with these permissions? Any thread between two calls of vho_host.synchronize. */
bool vho_iotlb_has(const struct vho_iotlb *t, uint64_t iova, uint8_t perm);

/*
 * A part of a ring: [iova, iova + len) must be known and lie together. 0 with *gpa; -EAGAIN with
 * the address that is missing in *miss; -EFAULT: its pages do not lie together.
 */
int vho_iotlb_ring(const struct vho_iotlb *t, uint64_t iova, uint64_t len, uint8_t perm,
	uint64_t *gpa, uint64_t *miss);

/* A queue of `size` entries and chains up to max_chain comes up with nothing in flight. */
int vho_iotlb_queue_setup(
	struct vho_iotlb_queue *iq, uint32_t size, uint32_t max_chain, uint64_t requests);

/* ---- the queue's worker (control thread while nobody polls it) ---- */

struct vho_queue;

/*
 * Where [iova, iova + *len) is; *len is cut down to what lies together. NULL with *ret:
 *   -EAGAIN  not known: asked for, and the queue waits until it is
 *   -EACCES  the answer came and does not let the device do this, or a request needs more entries
 *            at once than there are
 *   -EFAULT  known, but not in the memory map
 */
void *vho_iotlb_at(struct vho_queue *q, uint64_t iova, uint64_t *len, uint8_t perm, int *ret);

/* What may be read there, without asking for it; NULL: not known. */
const void *vho_iotlb_peek(const struct vho_queue *q, uint64_t iova, uint64_t *len);

/* An indirect table of len bytes: where it lies, or where a copy of it does. As above. */
void *vho_iotlb_table_at(struct vho_queue *q, uint64_t iova, uint32_t len, int *ret);

/* A request goes back; `order` is its place in pop order. */
void vho_iotlb_pushed(struct vho_queue *q, uint16_t order);

static inline bool vho_iotlb_waits(const struct vho_iotlb_queue *iq)
{
	// Pairs with the release of who clears it, after the table was published
	return atomic_load_explicit(&iq->waiting, memory_order_acquire);
}
