/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory in a memfd and a ring in it, written by hand: for tests of the virtqueue engine. */
#pragma once

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "queue.h"

/* Guest physical: two regions that touch, then a hole. Ring parts and buffers have fixed places. */
#define VQ_GPA 0x100000ULL
#define VQ_REGION 0x200000ULL
#define VQ_DESC VQ_GPA
#define VQ_DRIVER (VQ_GPA + 0x80000)
#define VQ_DEVICE (VQ_GPA + 0xa0000)
#define VQ_BUF (VQ_GPA + 0x100000)
#define VQ_TABLE (VQ_GPA + 0x180000)
#define VQ_SEAM (VQ_GPA + VQ_REGION) // second region starts
#define VQ_END (VQ_GPA + 2 * VQ_REGION)
#define VQ_UVA 0x7f0000000000ULL

struct vq {
	struct vho_queue q;
	struct vho_mem *mem;
	uint8_t *base; // the driver's own view of all memory
	int fd, call_fd, err_fd;
	uint16_t avail; // split: next index; packed: next slot
	bool wrap;
};

#define VQ_SPLIT (1ULL << VIRTIO_F_VERSION_1)
#define VQ_PACKED (VQ_SPLIT | 1ULL << VIRTIO_F_RING_PACKED)
#define VQ_INDIRECT (1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define VQ_EVENT (1ULL << VIRTIO_RING_F_EVENT_IDX)
#define VQ_IN_ORDER (1ULL << VIRTIO_F_IN_ORDER)

static inline void *vq_at(const struct vq *v, uint64_t gpa)
{
	return v->base + (gpa - VQ_GPA);
}

static inline struct vho_queue_conf vq_conf(const struct vq *v, uint64_t features, uint32_t size)
{
	return (struct vho_queue_conf){
		.mem = v->mem,
		.features = features,
		.desc_gpa = VQ_DESC,
		.driver_gpa = VQ_DRIVER,
		.device_gpa = VQ_DEVICE,
		.size = size,
		.base = features & 1ULL << VIRTIO_F_RING_PACKED ? 0x80008000u : 0,
		.call_fd = v->call_fd,
		.err_fd = v->err_fd,
	};
}

static inline void vq_open(struct vq *v)
{
	struct vho_mem_region r[] = {
		{ .gpa = VQ_GPA, .size = VQ_REGION, .uva = VQ_UVA },
		{ .gpa = VQ_SEAM,
			.size = VQ_REGION,
			.uva = VQ_UVA + 8 * VQ_REGION,
			.mmap_off = VQ_REGION },
	};

	memset(v, 0, sizeof(*v));
	v->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_true(v->fd >= 0);
	assert_int_equal(ftruncate(v->fd, 2 * VQ_REGION), 0);
	v->base = mmap(NULL, 2 * VQ_REGION, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	assert_true(v->base != MAP_FAILED);
	assert_int_equal(vho_mem_create(r, (int[]){ v->fd, v->fd }, 2, &v->mem), 0);
	v->call_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	v->err_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	v->wrap = true;
}

static inline void vq_start(struct vq *v, uint64_t features, uint32_t size)
{
	struct vho_queue_conf c = vq_conf(v, features, size);

	assert_int_equal(vho_queue_setup(&v->q, &c), 0);
	v->q.running = true;
}

static inline void vq_close(struct vq *v)
{
	vho_queue_teardown(&v->q);
	vho_mem_put(v->mem);
	munmap(v->base, 2 * VQ_REGION);
	close(v->fd);
	close(v->call_fd);
	close(v->err_fd);
}

static inline uint64_t vq_signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static inline struct vring_desc *vq_desc(const struct vq *v)
{
	return vq_at(v, VQ_DESC);
}

static inline struct vring_packed_desc *vq_pdesc(const struct vq *v)
{
	return vq_at(v, VQ_DESC);
}

static inline struct vring_used *vq_used(const struct vq *v)
{
	return vq_at(v, VQ_DEVICE);
}

/* Split: put a head on the available ring. */
static inline void vq_avail(struct vq *v, uint16_t head)
{
	struct vring_avail *a = vq_at(v, VQ_DRIVER);

	a->ring[v->avail % v->q.size] = head;
	__atomic_store_n(&a->idx, ++v->avail, __ATOMIC_RELEASE);
}

/* Packed: write one slot, available; flags without the AVAIL and USED bits. */
static inline void vq_put(struct vq *v, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
	struct vring_packed_desc *d = &vq_pdesc(v)[v->avail];

	d->addr = addr;
	d->len = len;
	d->id = id;
	flags |= (uint16_t)(v->wrap ? 1u << VRING_PACKED_DESC_F_AVAIL
				    : 1u << VRING_PACKED_DESC_F_USED);
	__atomic_store_n(&d->flags, flags, __ATOMIC_RELEASE);
	if (++v->avail == v->q.size) {
		v->avail = 0;
		v->wrap = !v->wrap;
	}
}

/* Packed: has the device used this slot in the round of `wrap`? */
static inline bool vq_slot_used(const struct vq *v, uint16_t slot, bool wrap)
{
	uint16_t f = __atomic_load_n(&vq_pdesc(v)[slot].flags, __ATOMIC_ACQUIRE);

	return (f >> VRING_PACKED_DESC_F_AVAIL & 1) == wrap &&
	       (f >> VRING_PACKED_DESC_F_USED & 1) == wrap;
}
