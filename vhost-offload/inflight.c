// SPDX-License-Identifier: Apache-2.0
/* The inflight region: making and mapping it, and finding out after a restart what it says. */
#include "inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "inflight_steps.h"
#include "mem.h"

#define QUEUES_MAX 1024
#define RING_MAX 32768
#define QUEUE_ALIGN 64 // between the queues' parts, as other back-ends have it
#define NOTE_BYTES QUEUE_ALIGN
#define NOTE_MAGIC 0x6f626e6f746500ULL // the low byte is the note: stored with it in one step

static size_t queue_bytes(uint16_t size, bool packed)
{
	size_t n = packed ? sizeof(struct vho_inflight_packed) +
				    size * sizeof(struct vho_inflight_packed_desc)
			  : sizeof(struct vho_inflight_split) +
				    size * sizeof(struct vho_inflight_split_desc);

	return (n + QUEUE_ALIGN - 1) / QUEUE_ALIGN * QUEUE_ALIGN;
}

/* Views of the queues' parts. inf is destroyed by the caller when this fails. */
static int make_views(struct vho_inflight *inf, uint8_t *first)
{
	inf->q = dpu_calloc(inf->n_queues, sizeof(*inf->q));
	if (!inf->q)
		return -ENOMEM;
	for (unsigned i = 0; i < inf->n_queues; i++) {
		struct vho_inflight_queue *iq = &inf->q[i];
		void *part = first + i * queue_bytes(inf->queue_size, inf->packed);

		iq->size = inf->queue_size;
		iq->faulted = &inf->faulted;
		if (inf->packed)
			iq->packed = part;
		else
			iq->split = part;
		iq->resubmit = dpu_calloc(iq->size, sizeof(*iq->resubmit));
		iq->batch = dpu_calloc(iq->size, sizeof(*iq->batch));
		if (!iq->resubmit || !iq->batch)
			return -ENOMEM;
	}
	return 0;
}

/* Map at most `size` bytes; what lies behind the shape and the note is not ours. */
static int map_region(int fd, uint64_t off, uint64_t size, uint16_t n_queues, uint16_t queue_size,
	bool packed, struct vho_inflight **out)
{
	size_t queues = n_queues * queue_bytes(queue_size, packed);
	struct vho_inflight *inf = dpu_calloc(1, sizeof(*inf));
	int ret;

	if (!inf)
		return -ENOMEM;
	inf->n_queues = n_queues;
	inf->queue_size = queue_size;
	inf->packed = packed;
	inf->off = off;
	inf->size = size - queues < NOTE_BYTES ? queues : queues + NOTE_BYTES;
	inf->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (inf->fd < 0) {
		ret = -errno;
		goto err;
	}
	inf->base = mmap(NULL, inf->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)off);
	if (inf->base == MAP_FAILED) {
		inf->base = NULL;
		ret = -errno;
		goto err;
	}
	if (inf->size > queues)
		inf->note = (uint64_t *)((uint8_t *)inf->base + queues);
	ret = vho_mem_guard_add(inf->base, inf->size, (size_t)sysconf(_SC_PAGESIZE), &inf->faulted);
	if (!ret)
		ret = make_views(inf, inf->base);
	if (ret)
		goto err;
	*out = inf;
	return 0;

err:
	vho_inflight_destroy(inf);
	return ret;
}

static bool shape_ok(uint16_t n_queues, uint16_t queue_size)
{
	return n_queues > 0 && n_queues <= QUEUES_MAX && queue_size > 0 && queue_size <= RING_MAX;
}

int vho_inflight_create(
	uint16_t n_queues, uint16_t queue_size, bool packed, struct vho_inflight **out)
{
	size_t size = n_queues * queue_bytes(queue_size, packed) + NOTE_BYTES;
	int fd, ret;

	if (!shape_ok(n_queues, queue_size))
		return -EINVAL;
	fd = memfd_create("vhost-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		ret = -errno;
		goto out_fd;
	}
	ret = map_region(fd, 0, size, n_queues, queue_size, packed, out);
out_fd:
	close(fd);
	return ret;
}

int vho_inflight_open(int fd, uint64_t off, uint64_t size, uint16_t n_queues, uint16_t queue_size,
	bool packed, struct vho_inflight **out)
{
	int ret;

	if (!shape_ok(n_queues, queue_size) || size < n_queues * queue_bytes(queue_size, packed) ||
		size > INT64_MAX || off > INT64_MAX - size || off % (uint64_t)sysconf(_SC_PAGESIZE))
		return -EINVAL;
	ret = vho_mem_file_check(fd, off + size);
	if (ret < 0)
		return ret;
	return map_region(fd, off, size, n_queues, queue_size, packed, out);
}

void vho_inflight_destroy(struct vho_inflight *inf)
{
	if (!inf)
		return;
	for (unsigned i = 0; inf->q && i < inf->n_queues; i++) {
		free(inf->q[i].resubmit);
		free(inf->q[i].batch);
	}
	free(inf->q);
	if (inf->base) {
		vho_mem_guard_del(inf->base);
		munmap(inf->base, inf->size);
	}
	if (inf->fd >= 0)
		close(inf->fd);
	free(inf);
}

struct vho_inflight_queue *vho_inflight_queue(struct vho_inflight *inf, uint16_t idx)
{
	return inf && idx < inf->n_queues ? &inf->q[idx] : NULL;
}

void vho_inflight_queue_reset(struct vho_inflight_queue *iq)
{
	// The next start lays it out anew
	if (iq->packed)
		iq->packed->version = 0;
	else
		iq->split->version = 0;
	iq->n_resubmit = iq->n_batch = 0;
}

void vho_inflight_reset(struct vho_inflight *inf)
{
	for (unsigned i = 0; i < inf->n_queues; i++)
		vho_inflight_queue_reset(&inf->q[i]);
}

void vho_inflight_set_note(struct vho_inflight *inf, uint8_t note)
{
	if (inf->note)
		*(volatile uint64_t *)inf->note = NOTE_MAGIC | note;
}

int vho_inflight_note(const struct vho_inflight *inf)
{
	uint64_t v = inf->note ? *(const volatile uint64_t *)inf->note : 0;

	return (v & ~0xffULL) == NOTE_MAGIC ? (int)(v & 0xff) : -ENOENT;
}

/* A request found in flight: a copy, so that sorting does not depend on shared memory. */
struct found {
	uint64_t counter;
	uint16_t head;
};

static int by_counter(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->counter < y->counter ? -1 : x->counter > y->counter;
}

static void list_found(struct vho_inflight_queue *iq, struct found *f, uint16_t n)
{
	qsort(f, n, sizeof(*f), by_counter);
	for (uint16_t i = 0; i < n; i++)
		iq->resubmit[i] = f[i].head;
	iq->n_resubmit = n;
	iq->n_batch = 0;
	iq->counter = n ? f[n - 1].counter + 1 : 0;
}

static bool faulted(const struct vho_inflight_queue *iq)
{
	return atomic_load_explicit(iq->faulted, memory_order_relaxed);
}

/* An empty region: new, or of rings that were reset. */
static void format_split(struct vho_inflight_queue *iq, uint16_t used_idx)
{
	volatile struct vho_inflight_split *r = iq->split;

	for (uint16_t i = 0; i < iq->size; i++)
		r->desc[i].inflight = 0;
	r->desc_num = iq->size;
	r->used_idx = used_idx;
	vho_inflight_step();
	r->version = VHO_INFLIGHT_VERSION;
}

static int recover_split(struct vho_inflight_queue *iq, uint16_t used_idx, uint16_t *avail)
{
	volatile struct vho_inflight_split *r = iq->split;
	uint16_t n = 0;

	iq->n_resubmit = iq->n_batch = 0;
	iq->counter = 0;
	if (r->version == 0) {
		format_split(iq, used_idx);
		return 0;
	}
	if (r->version != VHO_INFLIGHT_VERSION || r->desc_num != iq->size)
		return -EINVAL;

	// Died between publishing a batch and clearing its marks: clear them now.
	uint16_t batch = (uint16_t)(used_idx - r->used_idx);
	uint16_t at = r->last_batch_head;

	if (batch > iq->size)
		return -EINVAL;
	for (uint16_t i = 0; i < batch; i++) {
		if (at >= iq->size)
			return -EINVAL;
		r->desc[at].inflight = 0;
		at = r->desc[at].next;
		vho_inflight_step();
	}
	r->used_idx = used_idx;
	vho_inflight_step();

	struct found *f = dpu_calloc(iq->size, sizeof(*f));

	if (!f)
		return -ENOMEM;
	for (uint16_t i = 0; i < iq->size; i++)
		if (r->desc[i].inflight == 1)
			f[n++] = (struct found){ r->desc[i].counter, i };
	list_found(iq, f, n);
	free(f);
	*avail = (uint16_t)(used_idx + n);
	return 0;
}

int vho_inflight_recover_split(
	struct vho_inflight_queue *iq, uint32_t ring_size, uint16_t used_idx, uint16_t *avail)
{
	int ret;

	if (!iq->split || ring_size > iq->size)
		return -EINVAL;
	ret = recover_split(iq, used_idx, avail);
	return ret == 0 && faulted(iq) ? -EFAULT : ret;
}

/* As format_split(). */
static void format_packed(struct vho_inflight_queue *iq, const struct vho_inflight_pos *pos)
{
	volatile struct vho_inflight_packed *r = iq->packed;

	for (uint16_t i = 0; i < iq->size; i++) {
		r->desc[i].inflight = 0;
		r->desc[i].next = (uint16_t)(i + 1);
	}
	r->desc_num = iq->size;
	r->free_head = r->old_free_head = 0;
	r->used_idx = r->old_used_idx = pos->used;
	r->used_wrap_counter = r->old_used_wrap_counter = pos->used_wrap;
	vho_inflight_step();
	r->version = VHO_INFLIGHT_VERSION;
}

/* Commit or roll back the batch or the pop that was under way. */
static int settle_packed(struct vho_inflight_queue *iq, uint32_t ring_size,
	const volatile struct vring_packed_desc *ring)
{
	volatile struct vho_inflight_packed *r = iq->packed;
	uint16_t used = r->used_idx, old = r->old_used_idx;
	bool wrap = r->used_wrap_counter & 1, old_wrap = r->old_used_wrap_counter & 1;

	if (used >= ring_size || old >= ring_size)
		return -EINVAL;
	// Index and wrap counter are compared together: a batch as long as the ring moves only one.
	if (used != old || wrap != old_wrap) {
		uint16_t flags = ring[old].flags;
		bool is_avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
		bool is_used = flags >> VRING_PACKED_DESC_F_USED & 1;

		if (is_avail != old_wrap || is_used == old_wrap) { // the driver has seen it
			r->old_free_head = r->free_head;
			vho_inflight_step();
			r->old_used_idx = used;
			vho_inflight_step();
			r->old_used_wrap_counter = wrap;
			vho_inflight_step();
		}
	}
	r->free_head = r->old_free_head;
	vho_inflight_step();
	r->used_idx = r->old_used_idx;
	vho_inflight_step();
	r->used_wrap_counter = r->old_used_wrap_counter;
	vho_inflight_step();

	uint16_t at = r->free_head;

	for (uint16_t i = 0; i < iq->size && at < iq->size; i++) {
		r->desc[at].inflight = 0;
		at = r->desc[at].next;
		vho_inflight_step();
	}
	return 0;
}

static int recover_packed(struct vho_inflight_queue *iq, uint32_t ring_size,
	const volatile struct vring_packed_desc *ring, struct vho_inflight_pos *pos)
{
	volatile struct vho_inflight_packed *r = iq->packed;
	uint32_t slots = 0;
	uint16_t n = 0;
	int ret;

	iq->n_resubmit = iq->n_batch = 0;
	iq->counter = 0;
	if (r->version == 0) {
		format_packed(iq, pos);
		return 0;
	}
	if (r->version != VHO_INFLIGHT_VERSION || r->desc_num != iq->size)
		return -EINVAL;
	ret = settle_packed(iq, ring_size, ring);
	if (ret)
		return ret;

	struct found *f = dpu_calloc(iq->size, sizeof(*f));

	if (!f)
		return -ENOMEM;
	for (uint16_t i = 0; i < iq->size; i++) {
		if (r->desc[i].inflight != 1)
			continue;
		f[n++] = (struct found){ r->desc[i].counter, i };
		slots += r->desc[i].num;
	}
	list_found(iq, f, n);
	free(f);
	if (slots > ring_size) {
		iq->n_resubmit = 0;
		return -EINVAL;
	}
	pos->used = r->used_idx;
	pos->used_wrap = r->used_wrap_counter & 1;
	if (pos->used >= ring_size)
		return -EINVAL;
	// What is in flight lies between the used and the available position.
	pos->avail = (uint16_t)((pos->used + slots) % ring_size);
	pos->avail_wrap = pos->used_wrap ^ (pos->used + slots >= ring_size);
	return 0;
}

int vho_inflight_recover_packed(struct vho_inflight_queue *iq, uint32_t ring_size,
	const volatile struct vring_packed_desc *ring, struct vho_inflight_pos *pos)
{
	int ret;

	if (!iq->packed || ring_size > iq->size)
		return -EINVAL;
	ret = recover_packed(iq, ring_size, ring, pos);
	return ret == 0 && faulted(iq) ? -EFAULT : ret;
}
