// SPDX-License-Identifier: Apache-2.0
/* Guest memory in memfds, and the driver's side of split and packed rings. */
#include "drv_ring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_alloc.h"

#define REGION_GAP (64ULL << 20) // no two regions touch: a buffer cannot run over by accident
#define PFLAG_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define PFLAG_USED (1u << VRING_PACKED_DESC_F_USED)

void (*drv_inspect)(const void *p, size_t len);

void drv_inspect_file(int fd, const uint8_t *mapped, size_t len)
{
	off_t end, at = lseek(fd, 0, SEEK_DATA);

	for (; at >= 0 && (size_t)at < len; at = lseek(fd, end, SEEK_DATA)) {
		end = lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return;
		drv_inspect(mapped + at, ((size_t)end < len ? (size_t)end : len) - (size_t)at);
	}
}

/* ---- memory ---- */

int drv_mem_init(struct drv_mem *m, unsigned n, size_t size)
{
	uint64_t gpa = 1 << 20;

	*m = (struct drv_mem){ 0 };
	if (n == 0 || n > DRV_REGIONS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		struct drv_region *r = &m->r[i];

		r->fd = memfd_create("drv_mem", MFD_CLOEXEC);
		if (r->fd < 0)
			goto err;
		m->n = i + 1;
		if (ftruncate(r->fd, (off_t)size))
			goto err;
		r->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
		if (r->host == MAP_FAILED) {
			r->host = NULL;
			goto err;
		}
		r->size = size;
		r->gpa = gpa;
		gpa += size + REGION_GAP;
	}
	return 0;
err:;
	int ret = -errno;

	drv_mem_fini(m);
	return ret;
}

void drv_mem_fini(struct drv_mem *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		if (m->r[i].host) {
			if (drv_inspect)
				drv_inspect_file(m->r[i].fd, m->r[i].host, m->r[i].size);
			munmap(m->r[i].host, m->r[i].size);
		}
		close(m->r[i].fd);
	}
	m->n = 0;
}

void *drv_mem_alloc(struct drv_mem *m, unsigned region, size_t len, size_t align)
{
	struct drv_region *r = &m->r[region % m->n];
	size_t at = (r->used + align - 1) & ~(align - 1);

	if (at > r->size || len > r->size - at)
		return NULL;
	r->used = at + len;
	return r->host + at;
}

uint64_t drv_mem_gpa(const struct drv_mem *m, const void *p)
{
	for (unsigned i = 0; i < m->n; i++) {
		uintptr_t off = (uintptr_t)p - (uintptr_t)m->r[i].host;

		if (off < m->r[i].size)
			return m->r[i].gpa + off;
	}
	return UINT64_MAX;
}

/* ---- set-up ---- */

static int ring_memory(struct drv_ring *r, unsigned region)
{
	struct drv_mem *m = r->mem;
	uint32_t n = r->size;

	if (r->packed) {
		r->pdesc = drv_mem_alloc(m, region, n * sizeof(*r->pdesc), 4096);
		r->driver_event = drv_mem_alloc(m, region, sizeof(*r->driver_event), 64);
		r->device_event = drv_mem_alloc(m, region, sizeof(*r->device_event), 64);
		if (!r->pdesc || !r->driver_event || !r->device_event)
			return -ENOMEM;
	} else {
		r->desc = drv_mem_alloc(m, region, n * sizeof(*r->desc), 4096);
		r->avail = drv_mem_alloc(m, region, 6 + 2 * n, 64);
		r->used = drv_mem_alloc(m, region, 6 + 8 * n, 4096);
		if (!r->desc || !r->avail || !r->used)
			return -ENOMEM;
	}
	if (r->indirect_max) {
		r->tables = drv_mem_alloc(
			m, region, (size_t)n * r->indirect_max * sizeof(*r->tables), 64);
		if (!r->tables)
			return -ENOMEM;
	}
	return 0;
}

/* All ids free, all positions at the start. */
static void ids_reset(struct drv_ring *r)
{
	r->free_head = r->order_head = r->order_n = 0;
	r->n_free = r->n_ids = r->size;
	for (uint32_t i = 0; i < r->size; i++)
		r->free[i] = (uint16_t)i;
	r->next_avail = r->kicked_avail = r->last_used = 0;
	r->avail_wrap = r->used_wrap = true;
	r->unkicked = r->outstanding = 0;
	r->batching = false;
}

void drv_ring_reset(struct drv_ring *r)
{
	ids_reset(r);
	memset(r->slots, 0, r->size * sizeof(*r->slots));
	for (uint32_t i = 0; r->packed && i < r->size; i++)
		r->pdesc[i].flags = 0;
	if (!r->packed)
		r->avail->idx = r->used->idx = 0;
	drv_ring_intr(r, false);
}

int drv_ring_init(struct drv_ring *r, struct drv_mem *mem, const struct drv_ring_conf *c)
{
	int ret;

	*r = (struct drv_ring){
		.mem = mem,
		.packed = c->packed,
		.size = c->size,
		.event_idx = c->features & (1ULL << VIRTIO_RING_F_EVENT_IDX),
		.indirect = c->features & (1ULL << VIRTIO_RING_F_INDIRECT_DESC),
		.in_order = c->features & (1ULL << VIRTIO_F_IN_ORDER),
		.kick_fd = -1,
		.call_fd = -1,
		.err_fd = -1,
	};
	if (c->size == 0 || c->size > 32768 || (!c->packed && (c->size & (c->size - 1))))
		return -EINVAL;
	r->indirect_max = r->indirect ? c->indirect_max : 0;
	ret = ring_memory(r, c->region);
	if (ret)
		return ret;
	r->slots = dpu_calloc(c->size, sizeof(*r->slots));
	r->free = dpu_calloc(c->size, sizeof(*r->free));
	r->order = dpu_calloc(c->size, sizeof(*r->order));
	if (!r->slots || !r->free || !r->order) {
		drv_ring_fini(r);
		return -ENOMEM;
	}
	ids_reset(r);
	r->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->kick_fd < 0 || r->call_fd < 0 || r->err_fd < 0) {
		ret = -errno;
		drv_ring_fini(r);
		return ret;
	}
	drv_ring_intr(r, false);
	return 0;
}

void drv_ring_fini(struct drv_ring *r)
{
	free(r->slots);
	free(r->free);
	free(r->order);
	r->slots = NULL;
	r->free = r->order = NULL;
	if (r->kick_fd >= 0)
		close(r->kick_fd);
	if (r->call_fd >= 0)
		close(r->call_fd);
	if (r->err_fd >= 0)
		close(r->err_fd);
	r->kick_fd = r->call_fd = r->err_fd = -1;
}

/* ---- ids ---- */

static uint16_t id_take(struct drv_ring *r)
{
	uint16_t id = r->free[r->free_head];

	r->free_head = r->free_head + 1 == r->size ? 0 : r->free_head + 1;
	r->n_ids--;
	return id;
}

static void id_give(struct drv_ring *r, uint16_t id)
{
	uint32_t tail = r->free_head + r->n_ids;

	r->free[tail >= r->size ? tail - r->size : tail] = id;
	r->n_ids++;
}

static void order_put(struct drv_ring *r, uint16_t id)
{
	uint32_t tail = r->order_head + r->order_n;

	if (!r->in_order)
		return;
	r->order_n++;
	r->order[tail >= r->size ? tail - r->size : tail] = id;
}

/* ---- add ---- */

static uint64_t table_fill(
	struct drv_ring *r, uint16_t id, const struct drv_seg *segs, unsigned n_out, unsigned n)
{
	struct vring_desc *t = &r->tables[(size_t)id * r->indirect_max];

	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = i >= n_out ? VRING_DESC_F_WRITE : 0;

		if (!r->packed && i + 1 < n)
			flags |= VRING_DESC_F_NEXT;
		if (r->packed) {
			struct vring_packed_desc d = { segs[i].gpa, segs[i].len, 0, flags };

			memcpy(&t[i], &d, sizeof(d));
		} else {
			t[i] = (struct vring_desc){ segs[i].gpa, segs[i].len, flags,
				(uint16_t)(i + 1) };
		}
	}
	return drv_mem_gpa(r->mem, t);
}

static void desc_put(
	volatile struct vring_desc *d, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	d->addr = gpa;
	d->len = len;
	d->flags = flags;
	d->next = next;
}

void drv_ring_avail_put(struct drv_ring *r, uint16_t head)
{
	r->avail->ring[r->next_avail & (r->size - 1)] = head;
	r->next_avail++;
	atomic_thread_fence(memory_order_release);
	r->avail->idx = r->next_avail;
	r->unkicked++;
}

static int add_split(
	struct drv_ring *r, const struct drv_seg *segs, unsigned n_out, unsigned n_in, void *cookie)
{
	unsigned n = n_out + n_in;
	bool indirect = n <= r->indirect_max && n > 1;
	uint16_t head, at;

	if (n == 0 || r->n_ids < (indirect ? 1 : n))
		return -ENOSPC;
	head = at = id_take(r);
	if (indirect) {
		desc_put(&r->desc[head], table_fill(r, head, segs, n_out, n), n * 16,
			VRING_DESC_F_INDIRECT, 0);
	} else {
		for (unsigned i = 0; i < n; i++) {
			uint16_t flags = i >= n_out ? VRING_DESC_F_WRITE : 0;
			uint16_t next = i + 1 < n ? id_take(r) : 0;

			if (i + 1 < n)
				flags |= VRING_DESC_F_NEXT;
			desc_put(&r->desc[at], segs[i].gpa, segs[i].len, flags, next);
			r->slots[at]
				.last = next; // our copy of the chain: the device cannot bend it
			at = next;
		}
	}
	r->slots[head].cookie = cookie;
	r->slots[head].n = (uint16_t)(indirect ? 1 : n);
	order_put(r, head);
	r->outstanding++;
	if (r->bend)
		r->bend(r, head, head, NULL);
	drv_ring_avail_put(r, head);
	return head;
}

uint16_t drv_ring_packed_flags(const struct drv_ring *r, uint16_t flags)
{
	return (uint16_t)(flags | (r->avail_wrap ? PFLAG_AVAIL : PFLAG_USED));
}

static void packed_step(struct drv_ring *r)
{
	if (++r->next_avail == r->size) {
		r->next_avail = 0;
		r->avail_wrap = !r->avail_wrap;
	}
}

static int add_packed(
	struct drv_ring *r, const struct drv_seg *segs, unsigned n_out, unsigned n_in, void *cookie)
{
	unsigned n = n_out + n_in;
	bool indirect = n <= r->indirect_max && n > 1;
	unsigned slots = indirect ? 1 : n;
	uint16_t head = r->next_avail, head_flags = 0, id;

	if (n == 0 || r->n_free < slots || r->n_ids == 0)
		return -ENOSPC;
	id = id_take(r);
	for (unsigned i = 0; i < slots; i++) {
		volatile struct vring_packed_desc *d = &r->pdesc[r->next_avail];
		uint16_t flags = i >= n_out ? VRING_DESC_F_WRITE : 0;

		if (indirect) {
			d->addr = table_fill(r, id, segs, n_out, n);
			d->len = n * 16;
			flags = VRING_DESC_F_INDIRECT;
		} else {
			d->addr = segs[i].gpa;
			d->len = segs[i].len;
			if (i + 1 < n)
				flags |= VRING_DESC_F_NEXT;
		}
		d->id = id;
		flags = drv_ring_packed_flags(r, flags);
		if (i)
			d->flags = flags;
		else
			head_flags = flags;
		packed_step(r);
	}
	r->slots[id].cookie = cookie;
	r->slots[id].n = (uint16_t)slots;
	order_put(r, id);
	r->outstanding++;
	r->n_free -= slots;
	r->unkicked += slots;
	if (r->bend)
		r->bend(r, head, id, &head_flags);
	atomic_thread_fence(memory_order_release);
	r->pdesc[head].flags = head_flags; // last: the whole chain appears at once
	return id;
}

int drv_ring_add(
	struct drv_ring *r, const struct drv_seg *segs, unsigned n_out, unsigned n_in, void *cookie)
{
	return r->packed ? add_packed(r, segs, n_out, n_in, cookie)
			 : add_split(r, segs, n_out, n_in, cookie);
}

/* ---- kick ---- */

static bool wanted_packed(const struct drv_ring *r)
{
	uint16_t off_wrap = r->device_event->off_wrap, flags = r->device_event->flags, off;
	int event;

	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !r->event_idx)
		return true;
	off = off_wrap & 0x7fff;
	event = off;
	if ((bool)(off_wrap >> 15) != r->avail_wrap)
		event -= (int)r->size;
	return (uint16_t)(r->next_avail - event - 1) < (uint16_t)r->unkicked;
}

bool drv_ring_kick_wanted(const struct drv_ring *r)
{
	atomic_thread_fence(memory_order_seq_cst); // pairs with the device's: avail before event
	if (r->packed)
		return wanted_packed(r);
	if (r->event_idx) {
		// avail_event stands behind the used ring's last element.
		const volatile void *behind = &r->used->ring[r->size];
		uint16_t event = *(const volatile uint16_t *)behind;

		return (uint16_t)(r->next_avail - event - 1) < (uint16_t)r->unkicked;
	}
	return !(r->used->flags & VRING_USED_F_NO_NOTIFY);
}

bool drv_ring_device_waits(const struct drv_ring *r)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (r->packed) {
		uint16_t off_wrap = r->device_event->off_wrap, flags = r->device_event->flags;

		if (flags != VRING_PACKED_EVENT_FLAG_DESC || !r->event_idx)
			return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
		return off_wrap == (r->next_avail | (r->avail_wrap ? 1u << 15 : 0));
	}
	if (r->event_idx) {
		const volatile void *behind = &r->used->ring[r->size];

		return *(const volatile uint16_t *)behind == r->next_avail;
	}
	return !(r->used->flags & VRING_USED_F_NO_NOTIFY);
}

void drv_ring_kick_always(struct drv_ring *r)
{
	r->unkicked = 0;
	if (eventfd_write(r->kick_fd, 1) && errno != EAGAIN)
		r->bad_used++;
}

bool drv_ring_kick(struct drv_ring *r)
{
	bool want = r->unkicked && drv_ring_kick_wanted(r);

	if (want)
		drv_ring_kick_always(r);
	r->unkicked = 0;
	return want;
}

/* ---- used ---- */

static void release(struct drv_ring *r, uint16_t id, struct drv_used *out, uint32_t len)
{
	struct drv_slot *s = &r->slots[id];
	uint16_t at = id;

	*out = (struct drv_used){ s->cookie, len, id };
	if (r->packed) {
		r->n_free += s->n;
		id_give(r, id);
	} else {
		for (unsigned i = s->n; i; i--) {
			uint16_t next = r->slots[at].last;

			id_give(r, at);
			at = next;
		}
	}
	s->n = 0;
	r->outstanding--;
}

static void packed_used_step(struct drv_ring *r, uint16_t n)
{
	uint32_t at = r->last_used + n;

	if (at >= r->size) {
		at -= r->size;
		r->used_wrap = !r->used_wrap;
	}
	r->last_used = (uint16_t)at;
}

/* In order: the device named the last of a batch; give its members one by one. */
static int batch_next(struct drv_ring *r, struct drv_used *out)
{
	uint16_t id = r->order[r->order_head];
	bool last = id == r->batch_id;

	r->order_head = r->order_head + 1 == r->size ? 0 : r->order_head + 1;
	r->order_n--;
	if (r->packed)
		packed_used_step(r, r->slots[id].n);
	else
		r->last_used++; // the others' used elements were skipped, not left out (2.7.9)
	// Only the last one's length is told; the others were filled.
	release(r, id, out, last ? r->batch_len : UINT32_MAX);
	r->batching = !last;
	return 1;
}

static bool in_flight(const struct drv_ring *r, uint32_t id)
{
	return id < r->size && r->slots[id].n;
}

/* One used element was read. In order rings start a batch with it. */
static int used_one(struct drv_ring *r, uint32_t id, uint32_t len, struct drv_used *out)
{
	if (!in_flight(r, id)) {
		r->bad_used++;
		if (r->packed)
			packed_used_step(r, 1);
		else
			r->last_used++;
		return 0;
	}
	if (r->in_order) {
		r->batching = true;
		r->batch_id = (uint16_t)id;
		r->batch_len = len;
		return batch_next(r, out);
	}
	if (r->packed)
		packed_used_step(r, r->slots[id].n);
	else
		r->last_used++;
	release(r, (uint16_t)id, out, len);
	return 1;
}

int drv_ring_poll(struct drv_ring *r, struct drv_used *out)
{
	if (r->batching)
		return batch_next(r, out);
	for (unsigned tries = 0; tries <= r->size; tries++) {
		uint32_t id, len;

		if (r->packed) {
			volatile struct vring_packed_desc *d = &r->pdesc[r->last_used];
			uint16_t flags = d->flags;
			bool avail = flags & PFLAG_AVAIL, used = flags & PFLAG_USED;

			if (avail != used || used != r->used_wrap)
				return 0;
			atomic_thread_fence(memory_order_acquire);
			id = d->id;
			len = d->len;
		} else {
			if (r->used->idx == r->last_used)
				return 0;
			atomic_thread_fence(memory_order_acquire);
			volatile struct vring_used_elem
				*e = &r->used->ring[r->last_used & (r->size - 1)];

			id = e->id;
			len = e->len;
		}
		if (used_one(r, id, len, out))
			return 1;
	}
	return 0;
}

/* ---- interrupts ---- */

bool drv_ring_used_ready(const struct drv_ring *r)
{
	if (r->batching)
		return true;
	if (r->packed) {
		uint16_t flags = r->pdesc[r->last_used].flags;
		bool avail = flags & PFLAG_AVAIL, used = flags & PFLAG_USED;

		return avail == used && used == r->used_wrap;
	}
	return r->used->idx != r->last_used;
}

bool drv_ring_intr(struct drv_ring *r, bool on)
{
	if (r->packed) {
		r->driver_event->off_wrap = (uint16_t)(r->last_used |
						       (r->used_wrap ? 1u << 15 : 0));
		r->driver_event->flags = !on		? VRING_PACKED_EVENT_FLAG_DISABLE
					 : r->event_idx ? VRING_PACKED_EVENT_FLAG_DESC
							: VRING_PACKED_EVENT_FLAG_ENABLE;
	} else {
		volatile uint16_t *event = &r->avail->ring[r->size];

		// With the event index "off" is an index that lies half a circle behind.
		if (r->event_idx)
			*event = on ? r->last_used : (uint16_t)(r->last_used + 0x8000);
		r->avail->flags = on || r->event_idx ? 0 : VRING_AVAIL_F_NO_INTERRUPT;
	}
	atomic_thread_fence(memory_order_seq_cst); // pairs with the device's: event before used
	return on && !drv_ring_used_ready(r);
}

int drv_ring_wait(struct drv_ring *r, int timeout_ms)
{
	struct pollfd p = { .fd = r->call_fd, .events = POLLIN };
	eventfd_t v;

	if (poll(&p, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	return eventfd_read(r->call_fd, &v) && errno != EAGAIN ? -errno : 0;
}

uint32_t drv_ring_crash_base(const struct drv_ring *r)
{
	uint32_t half;

	if (!r->packed)
		return r->used->idx;
	half = r->last_used | (r->used_wrap ? 1u << 15 : 0);
	return half | half << 16;
}
