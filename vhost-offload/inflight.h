/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests in flight, kept in memory that the front-end holds for us, so that after a crash the
 * next process knows which requests were popped and never pushed.
 *
 * The region's layout and the order of its writes are fixed by the vhost-user specification,
 * section "Inflight I/O tracking": struct DescStateSplit / DescStatePacked. The region is shared
 * with a hostile front-end: every index read from it is checked like a ring index.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vho_inflight_queue; // view of one queue's part of the region

/* The region of a whole device. */
struct vho_inflight {
	void *base; // owned mapping
	size_t size; // bytes of it
	uint64_t off; // where it lies in fd
	uint64_t *note; // inside it, behind the queues' parts; NULL: the region has no room
	int fd; // owned
	uint16_t n_queues;
	uint16_t queue_size; // descriptors per queue
	bool packed;
	struct vho_inflight_queue *q; // owned; n_queues entries
	_Atomic bool faulted; // the front-end cut its file short
};

/*
 * VHOST_USER_GET_INFLIGHT_FD: make a sealed memfd for n_queues rings of queue_size and map it.
 * Returns 0, -EINVAL (0 or too many), or the errno of memfd_create(2), mmap(2). Control thread.
 */
int vho_inflight_create(
	uint16_t n_queues, uint16_t queue_size, bool packed, struct vho_inflight **out);

/*
 * VHOST_USER_SET_INFLIGHT_FD: map what the shape needs of [off, off + size) of fd, which stays the
 * caller's.
 * Returns 0, or -EINVAL: size too small for the shape, sum wraps, off not page aligned, fd shorter.
 */
int vho_inflight_open(int fd, uint64_t off, uint64_t size, uint16_t n_queues, uint16_t queue_size,
	bool packed, struct vho_inflight **out);

void vho_inflight_destroy(struct vho_inflight *inf);

/*
 * The rings begin anew: nothing is in flight, whatever the region says. The note stays. Control
 * thread, queues at rest.
 */
void vho_inflight_reset(struct vho_inflight *inf);
/* The same for one of them. */
void vho_inflight_queue_reset(struct vho_inflight_queue *iq);

/*
 * A byte that lives as long as the region: what a device of our kind wants to know when a later
 * process serves the same front-end. Behind what the specification lays out, in room that we ask
 * for. vho_inflight_note() is -ENOENT when none was left (0 to 255 otherwise). Control thread.
 */
void vho_inflight_set_note(struct vho_inflight *inf, uint8_t note);
int vho_inflight_note(const struct vho_inflight *inf);

/* The part of queue idx, or NULL when the region has none. */
struct vho_inflight_queue *vho_inflight_queue(struct vho_inflight *inf, uint16_t idx);
