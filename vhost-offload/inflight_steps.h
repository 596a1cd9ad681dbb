/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inflight region's layout, and the writes to it in the order that makes a crash between any
 * two of them recoverable. A process that dies leaves a prefix of its stores behind, so keeping the
 * compiler from moving them is all the ordering that is needed.
 *
 * Spec: vhost-user, "Inflight I/O tracking".
 */
#pragma once

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "inflight.h"

#define VHO_INFLIGHT_VERSION 1

struct vho_inflight_split_desc {
	uint8_t inflight;
	uint8_t padding[5];
	uint16_t next; // the last batch of used heads, as a list
	uint64_t counter; // pop order
};

struct vho_inflight_split {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct vho_inflight_split_desc desc[];
};

struct vho_inflight_packed_desc {
	uint8_t inflight;
	uint8_t padding;
	uint16_t next; // free list; the end is desc_num or above
	uint16_t last; // of the head entry: the list's last entry
	uint16_t num; // of the head entry: entries in the list
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

struct vho_inflight_packed {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head, old_free_head;
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter;
	uint8_t padding[7];
	struct vho_inflight_packed_desc desc[];
};

static_assert(sizeof(struct vho_inflight_split_desc) == 16, "DescStateSplit");
static_assert(offsetof(struct vho_inflight_split, desc) == 16, "QueueRegionSplit");
static_assert(sizeof(struct vho_inflight_packed_desc) == 32, "DescStatePacked");
static_assert(offsetof(struct vho_inflight_packed, desc) == 32, "QueueRegionPacked");

struct vho_inflight_queue {
	/* Shared with the front-end: load once, then check. One of the two is NULL. */
	volatile struct vho_inflight_split *split;
	volatile struct vho_inflight_packed *packed;
	const _Atomic bool *faulted; // borrowed: of the whole region

	/* Ours. Worker (control thread while the queue is at rest). */
	uint16_t size; // entries of the region; the ring may have fewer
	uint16_t n_resubmit; // requests that vho_inflight_recover_*() found
	uint16_t n_batch; // pushed and not yet published
	uint64_t counter; // of the next request
	uint16_t *resubmit; // owned; `size` entries: heads in pop order
	uint16_t *batch; // owned; `size` entries: heads
};

/* Between two stores whose order counts. */
#ifdef VHO_INFLIGHT_HOOK
void vho_inflight_hook(void); // a test's, which may end the process here

static inline void vho_inflight_step(void)
{
	vho_inflight_hook();
}
#else
static inline void vho_inflight_step(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}
#endif

/* ---- split: the entry of a request is that of its head descriptor ---- */

static inline void vho_inflight_split_pop(struct vho_inflight_queue *iq, uint16_t head)
{
	iq->split->desc[head].counter = iq->counter++;
	vho_inflight_step();
	iq->split->desc[head].inflight = 1;
	vho_inflight_step();
}

static inline void vho_inflight_split_push(struct vho_inflight_queue *iq, uint16_t head)
{
	if (iq->n_batch == iq->size)
		return; // a head pushed twice: what it does not need is a second entry
	iq->split->desc[head].next = iq->split->last_batch_head;
	vho_inflight_step();
	iq->split->last_batch_head = head;
	vho_inflight_step();
	iq->batch[iq->n_batch++] = head;
}

/* After the used index was stored. */
static inline void vho_inflight_split_published(struct vho_inflight_queue *iq, uint16_t used_idx)
{
	vho_inflight_step();
	for (uint16_t i = 0; i < iq->n_batch; i++)
		iq->split->desc[iq->batch[i]].inflight = 0;
	iq->n_batch = 0;
	vho_inflight_step();
	iq->split->used_idx = used_idx;
}

/* ---- packed: a request's descriptors are copied, for the ring's may be overwritten ---- */

/*
 * Note one descriptor of a list. *head is the entry where the list starts: set with `first`, to be
 * passed again with the others. Returns false when the region's free list leads outside it.
 */
static inline bool vho_inflight_packed_pop(struct vho_inflight_queue *iq,
	const struct vring_packed_desc *d, bool first, bool last, uint16_t *head)
{
	volatile struct vho_inflight_packed *r = iq->packed;
	uint16_t at = r->free_head;

	if (at >= iq->size)
		return false;
	if (first) {
		*head = r->old_free_head;
		if (*head != at)
			return false;
		r->desc[at].num = 0;
		r->desc[at].counter = iq->counter++;
		vho_inflight_step();
		r->desc[at].inflight = 1;
		vho_inflight_step();
	}
	if (last)
		r->desc[*head].last = at;
	r->desc[*head].num = (uint16_t)(r->desc[*head].num + 1);
	r->desc[at].addr = d->addr;
	r->desc[at].len = d->len;
	r->desc[at].flags = d->flags;
	r->desc[at].id = d->id;
	vho_inflight_step();

	uint16_t next = r->desc[at].next;

	r->free_head = next;
	vho_inflight_step();
	if (last)
		r->old_free_head = next; // commits the pop
	vho_inflight_step();
	return true;
}

/*
 * Undo the pops since the one whose list starts at `first`, which may not be complete: nothing has
 * been pushed since. The first store is what a later process goes by; heads: of the complete ones.
 */
static inline void vho_inflight_packed_unpop(
	struct vho_inflight_queue *iq, uint16_t first, const uint16_t *heads, unsigned n)
{
	volatile struct vho_inflight_packed *r = iq->packed;

	r->old_free_head = first;
	vho_inflight_step();
	r->free_head = first;
	vho_inflight_step();
	for (unsigned i = 0; i < n; i++)
		r->desc[heads[i]].inflight = 0;
	vho_inflight_step();
}

static inline void vho_inflight_packed_push(struct vho_inflight_queue *iq, uint16_t head)
{
	if (iq->n_batch < iq->size)
		iq->batch[iq->n_batch++] = head;
}

/* Before the batch's first flags are stored: that store is what commits the batch. */
static inline void vho_inflight_packed_publish(
	struct vho_inflight_queue *iq, uint16_t used_idx, bool used_wrap)
{
	volatile struct vho_inflight_packed *r = iq->packed;

	for (uint16_t i = 0; i < iq->n_batch; i++) {
		uint16_t last = r->desc[iq->batch[i]].last;

		if (last >= iq->size)
			continue; // the front-end's doing: these entries are lost to it
		r->desc[last].next = r->free_head;
		vho_inflight_step();
		r->free_head = iq->batch[i];
		vho_inflight_step();
	}
	r->used_idx = used_idx;
	r->used_wrap_counter = used_wrap;
	vho_inflight_step();
}

/* After the batch's first flags were stored. */
static inline void vho_inflight_packed_published(
	struct vho_inflight_queue *iq, uint16_t used_idx, bool used_wrap)
{
	volatile struct vho_inflight_packed *r = iq->packed;

	vho_inflight_step();
	for (uint16_t i = 0; i < iq->n_batch; i++)
		r->desc[iq->batch[i]].inflight = 0;
	iq->n_batch = 0;
	vho_inflight_step();
	r->old_free_head = r->free_head;
	r->old_used_idx = used_idx;
	r->old_used_wrap_counter = used_wrap;
	vho_inflight_step();
}

/* ---- after a restart; control thread ---- */

/*
 * Split: bring the region in step with a ring of ring_size entries, whose used index is used_idx,
 * and list what is in flight. *avail is the index of the next request to pop; left alone when the
 * region is new. Returns 0, or
 *   -EINVAL  the region has not the size it was given with, or is smaller than the ring
 *   -EFAULT  the front-end cut its file short
 *   -ENOMEM
 */
int vho_inflight_recover_split(
	struct vho_inflight_queue *iq, uint32_t ring_size, uint16_t used_idx, uint16_t *avail);

/* Where a packed queue goes on. */
struct vho_inflight_pos {
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
};

/* Packed: the same; `ring` holds the queue's ring_size descriptors. */
int vho_inflight_recover_packed(struct vho_inflight_queue *iq, uint32_t ring_size,
	const volatile struct vring_packed_desc *ring, struct vho_inflight_pos *pos);
