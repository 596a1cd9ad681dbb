/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory and driver rings: split and packed virtqueues as a driver writes them.
 *
 * The well-behaved path is drv_ring_add(), drv_ring_kick(), drv_ring_poll(). Every field of a ring
 * is also reachable through the pointers below, so that a test can write what no driver would.
 * One thread per ring.
 *
 * Spec: VIRTIO 1.3, sections 2.7 and 2.8.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define DRV_REGIONS_MAX 8

struct drv_region {
	uint64_t gpa, size;
	uint8_t *host; // owned mapping; also what we tell as user address
	int fd; // owned
	size_t used; // bytes handed out
};

struct drv_mem {
	struct drv_region r[DRV_REGIONS_MAX];
	unsigned n;
};

/* n memfd regions of `size` bytes with a hole of guest addresses between each two. 0 or -errno. */
int drv_mem_init(struct drv_mem *m, unsigned n, size_t size);
void drv_mem_fini(struct drv_mem *m);
/* Zeroed bytes from a region (modulo their number), never given back. NULL when it is full. */
void *drv_mem_alloc(struct drv_mem *m, unsigned region, size_t len, size_t align);
/* Guest physical address of a pointer into the memory; ~0 outside. */
uint64_t drv_mem_gpa(const struct drv_mem *m, const void *p);

/*
 * Set once, before any session, by tests that look for bytes which are not theirs: called with
 * everything that a back-end may have written, before it goes away. Guest memory and inflight
 * regions when they are closed, replies as they arrive. NULL: nobody looks.
 */
extern void (*drv_inspect)(const void *p, size_t len);
/* Call it for what a file has between its holes. */
void drv_inspect_file(int fd, const uint8_t *mapped, size_t len);

struct drv_seg {
	uint64_t gpa;
	uint32_t len;
};

struct drv_ring_conf {
	bool packed;
	uint32_t size;
	uint64_t features; // negotiated: EVENT_IDX, INDIRECT_DESC, IN_ORDER count here
	unsigned region; // of the memory
	unsigned indirect_max; // entries of each indirect table, 0: no tables
};

struct drv_used {
	void *cookie;
	uint32_t len;
	uint16_t id;
};

struct drv_slot {
	void *cookie;
	uint16_t n; // ring slots; 0: not outstanding
	uint16_t last; // split: last descriptor of the chain
};

struct drv_ring {
	struct drv_mem *mem; // borrowed
	bool packed, event_idx, indirect, in_order;
	uint32_t size;
	int kick_fd, call_fd, err_fd; // owned; made blocking or not by the back-end, so poll first

	/* Shared memory; the driver's half is ours to write, rightly or not. */
	volatile struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	volatile struct vring_packed_desc *pdesc;
	volatile struct vring_packed_desc_event *driver_event, *device_event;
	struct vring_desc *tables; // indirect tables, indirect_max entries per id
	unsigned indirect_max;

	/* Ours. */
	struct drv_slot *slots; // owned; by head descriptor or buffer id
	uint16_t *free; // owned; ids in the order they came back
	uint32_t free_head, n_free; // n_free: split descriptors, packed: ring slots
	uint32_t n_ids; // packed: free ids
	uint16_t *order; // owned; outstanding ids, oldest first (IN_ORDER)
	uint32_t order_head, order_n;
	uint16_t next_avail, kicked_avail; // split: free-running; packed: slot
	uint16_t last_used;
	bool avail_wrap, used_wrap; // packed
	uint32_t unkicked; // slots made available since the last kick decision
	uint16_t batch_id; // IN_ORDER: buffers up to this id are done
	uint32_t batch_len;
	bool batching;
	uint32_t outstanding;
	/*
	 * A test's hand: called when a chain stands in the ring and is not yet visible. Packed: its
	 * first flags are in *flags. NULL: nobody bends anything.
	 */
	void (*bend)(struct drv_ring *r, uint16_t head, uint16_t id, uint16_t *flags);
	uint64_t bad_used; // entries that named nothing outstanding: duplicates or garbage
};

/* 0, -EINVAL for a size the layout cannot have, -ENOMEM, or the errno of eventfd(2). */
int drv_ring_init(struct drv_ring *r, struct drv_mem *mem, const struct drv_ring_conf *conf);
void drv_ring_fini(struct drv_ring *r);

/*
 * Make a chain of n_out readable, then n_in writable segments available. Through an indirect table
 * when the ring has tables and the chain fits one. Returns its id (head), or -ENOSPC when the ring
 * is full. The device may see it at once.
 */
int drv_ring_add(struct drv_ring *r, const struct drv_seg *segs, unsigned n_out, unsigned n_in,
	void *cookie);
/* Notify the device about what was added, if it asks for that. True when a kick was sent. */
bool drv_ring_kick(struct drv_ring *r);
void drv_ring_kick_always(struct drv_ring *r);
/* Take one finished chain: 1 or 0. Garbage from the device is counted in bad_used and skipped. */
int drv_ring_poll(struct drv_ring *r, struct drv_used *out);
/* Ask for an interrupt (or for none). On: true when nothing had arrived meanwhile, so sleep. */
bool drv_ring_intr(struct drv_ring *r, bool on);
/* Wait for the call eventfd and drain it. 0, or -ETIMEDOUT. */
int drv_ring_wait(struct drv_ring *r, int timeout_ms);

/* What SET_VRING_BASE should carry after a crash of the back-end. Poll the ring dry first. */
uint32_t drv_ring_crash_base(const struct drv_ring *r);

/* True when the device waits for a kick with the very next chain: it has nothing left to do. */
bool drv_ring_device_waits(const struct drv_ring *r);
/* True when drv_ring_poll() would find something. */
bool drv_ring_used_ready(const struct drv_ring *r);
/* As drv_ring_init() left it: what was outstanding is forgotten, eventfds stay. Device stopped. */
void drv_ring_reset(struct drv_ring *r);

/* True when the device would want a kick for what was added since the last decision. */
bool drv_ring_kick_wanted(const struct drv_ring *r);
/* Publish split avail index or packed flags by hand: for prebuilt descriptors and attacks. */
void drv_ring_avail_put(struct drv_ring *r, uint16_t head);
uint16_t drv_ring_packed_flags(const struct drv_ring *r, uint16_t flags);
