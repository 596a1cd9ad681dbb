/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Postcopy migration: a guest runs here while its memory is still coming.
 *
 * Pages that are not there yet come from the front-end, when it likes or never, and nothing of the
 * card may wait for it. Three things see to that (ADR-0007):
 *
 *  - A pager, a process of its own for each such session (pager.c), waits for pages. The
 *    userfaultfd that the front-end gets is the pager's, for it can write into the memory of whose
 *    it is.
 *  - A gate for each ring: the pager follows the available ring, gets the pages of one request
 *    after the other, and moves the gate. The queue's worker looks at the gate instead of the
 *    driver's index, so it sees a request when its pages are there. A ring runs when its own pages
 *    are.
 *  - Our mapping of the guest's memory has a userfaultfd with UFFD_FEATURE_SIGBUS: whoever touches
 *    a missing page all the same (a driver that changes a request behind the pager, a front-end
 *    that takes pages back) is not made to wait but gets a fault, which the guard of mem.h answers
 *    by the end of the session.
 *
 * Packed rings have no such index, and rings behind an IOMMU name addresses that the pager does not
 * know; they run when postcopy is over.
 *
 * Control thread only, and nothing here waits for a pager but vho_postcopy_create(), when nobody
 * else has had a hand in it yet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

struct vho_postcopy;

/*
 * Does userfaultfd(2) do here what this needs? Looks once for the process, and says why not in the
 * log.
 */
bool vho_postcopy_supported(void);

/*
 * Start a pager. *uffd is the caller's, for the front-end. ready(arg) is called from the loop when
 * a ring's own pages are there. Returns 0, or
 *   -ETIMEDOUT, -ECONNRESET  the pager did not start
 *   -ENOMEM, or the errno of socketpair(2), memfd_create(2), posix_spawn(3)
 */
int vho_postcopy_create(const struct vho_loop *loop, void (*ready)(void *arg), void *arg,
	struct vho_postcopy **out, int *uffd);
/* Kills the pager; our mappings are ordinary ones again. No queue may run. NULL is accepted. */
void vho_postcopy_destroy(struct vho_postcopy *pc);

/* POSTCOPY_LISTEN: memory that is mapped from now on has pages that come late. */
void vho_postcopy_listen(struct vho_postcopy *pc);
bool vho_postcopy_listening(const struct vho_postcopy *pc);

/*
 * A region that was just mapped, before anything touches it; fd stays the caller's. *base is where
 * the front-end will see its faults: the region's first byte in the pager. Returns 0, -EINVAL (not
 * shared memory), -ENOMEM, or the errno of send(2).
 */
int vho_postcopy_map(
	struct vho_postcopy *pc, const struct vho_mem_map_entry *e, int fd, uint64_t *base);
/* Where the region was put before; 0: not at all. */
uint64_t vho_postcopy_base(const struct vho_postcopy *pc, const struct vho_mem_map_entry *e);
/* Of the regions only those of `mem` (NULL: none) are left. 0, or the errno of send(2). */
int vho_postcopy_keep(struct vho_postcopy *pc, const struct vho_mem *mem);

/*
 * The front-end knows the bases of all regions: true after SET_MEM_TABLE and ADD_MEM_REG have been
 * answered, false when it has said so. Rings wait for that.
 */
void vho_postcopy_await_ack(struct vho_postcopy *pc, bool due);
bool vho_postcopy_ack_due(const struct vho_postcopy *pc);

/*
 * May the ring start? 1: its own pages are there. 0: not yet; they are being got, and ready() will
 * be called. Or the errno of send(2).
 */
int vho_postcopy_ring(
	struct vho_postcopy *pc, unsigned idx, const struct vho_queue_conf *conf, int kick_fd);
/* The queue was set up and is about to run: put the gate before it. */
void vho_postcopy_start(struct vho_postcopy *pc, unsigned idx, struct vho_queue *q);
/* The queue does not run any more. */
void vho_postcopy_stop(struct vho_postcopy *pc, unsigned idx);

/* The pager has died, or does not take what it is told: the session must end. */
bool vho_postcopy_dead(struct vho_postcopy *pc);
