// SPDX-License-Identifier: Apache-2.0
/* Virtqueues: what does not depend on the ring layout, and the choice between the two. */
#include "queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "inflight_steps.h"
#include "queue_ring.h"

#define DIRTY_PAGE_SHIFT 12

/* No address is in it. */
static const struct vho_mem nowhere;

const char *vho_queue_error_name(enum vho_queue_error e)
{
	static const char *const names[] = {
		[VHO_QUEUE_ERR_BAD_INDEX] = "bad_index",
		[VHO_QUEUE_ERR_BAD_AVAIL] = "bad_avail",
		[VHO_QUEUE_ERR_BAD_ADDRESS] = "bad_address",
		[VHO_QUEUE_ERR_BAD_CHAIN] = "bad_chain",
		[VHO_QUEUE_ERR_BAD_INDIRECT] = "bad_indirect",
		[VHO_QUEUE_ERR_TOO_LONG] = "too_long",
		[VHO_QUEUE_ERR_MEM_FAULT] = "mem_fault",
		[VHO_QUEUE_ERR_NO_ACCESS] = "no_access",
	};

	static_assert(sizeof(names) / sizeof(names[0]) == VHO_QUEUE_ERR_COUNT, "a name for each");
	return (unsigned)e < VHO_QUEUE_ERR_COUNT ? names[e] : NULL;
}

const char *vho_queue_error_text(enum vho_queue_error e)
{
	static const char *const texts[] = {
#define X(name, text) text,
		VHO_QUEUE_ERRORS(X)
#undef X
	};

	return (unsigned)e < VHO_QUEUE_ERR_COUNT ? texts[e] : NULL;
}

static int check_conf(const struct vho_queue_conf *conf)
{
	bool packed = conf->features >> VIRTIO_F_RING_PACKED & 1;
	uint64_t side_align = packed ? 4 : 2;

	if (conf->size == 0 || conf->size > VHO_QUEUE_SIZE_MAX)
		return -EINVAL;
	if (!packed && (conf->size & (conf->size - 1)))
		return -EINVAL;
	if (conf->desc_gpa % 16 || conf->driver_gpa % side_align || conf->device_gpa % 4)
		return -EINVAL;
	if (conf->desc_gpa == 0 || conf->driver_gpa == 0 || conf->device_gpa == 0)
		return -EFAULT;
	return 0;
}

int vho_queue_setup(struct vho_queue *q, const struct vho_queue_conf *conf)
{
	int ret = check_conf(conf);

	if (ret)
		return ret;
	vho_queue_teardown(q);
	q->features = conf->features;
	q->size = conf->size;
	q->packed = conf->features >> VIRTIO_F_RING_PACKED & 1;
	q->event_idx = conf->features >> VIRTIO_RING_F_EVENT_IDX & 1;
	q->indirect = conf->features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	q->in_order = conf->features >> VIRTIO_F_IN_ORDER & 1;
	q->max_chain = (uint16_t)(conf->size < VHO_CHAIN_MIN_LIMIT ? VHO_CHAIN_MIN_LIMIT
								   : conf->size);
	q->out_only = conf->out_only;
	q->call_fd = conf->call_fd;
	q->err_fd = conf->err_fd;
	q->inflight = conf->inflight;
	q->log = conf->log;
	q->log_used = conf->log.base && conf->log_used;
	q->watched = conf->log.base || conf->iotlb;
	q->used_gpa = conf->used_log_gpa;
	q->desc_gpa = conf->desc_gpa;
	q->mem = vho_mem_get(conf->mem);
	q->direct = conf->iotlb ? &nowhere : q->mem;
	q->iotlb = conf->iotlb;
	if (q->iotlb) {
		ret = vho_iotlb_queue_setup(
			q->iotlb, q->size, q->max_chain, dpu_counter_read(&q->stats.requests));
		if (ret)
			goto err;
	}
	if (q->in_order) {
		uint32_t n = 1;

		while (n < q->size)
			n *= 2;
		q->held_mask = (uint16_t)(n - 1);
		q->held = dpu_calloc(n, sizeof(*q->held));
		if (!q->held) {
			ret = -ENOMEM;
			goto err;
		}
	}
	ret = q->packed ? vho_packed_setup(q, conf) : vho_split_setup(q, conf);
	if (ret)
		goto err;
	return 0;

err:
	vho_queue_teardown(q);
	return ret;
}

/* Forget what bursts looked at: it is still on the ring. */
static void unstage(struct vho_queue *q)
{
	q->staged = q->staged_slots = 0;
	q->staged_odd = false;
}

void vho_queue_teardown(struct vho_queue *q)
{
	vho_mem_put(q->mem);
	free(q->held);
	q->mem = NULL;
	q->direct = NULL;
	q->iotlb = NULL;
	q->watched = false;
	q->held = NULL;
	q->inflight = NULL;
	q->last_region = NULL;
	unstage(q);
	q->ahead = 0;
	q->desc = NULL;
	q->avail = NULL;
	q->avail_idx = NULL;
	q->used = NULL;
	q->pdesc = NULL;
	q->driver_event = NULL;
	q->device_event = NULL;
	q->log = (struct vho_dirty_log){ 0 };
	q->log_used = false;
	q->running = false;
	q->broken = false;
	q->notify_off = false;
	q->signalled_valid = false;
	q->next_avail = q->next_used = 0;
	q->avail_wrap = q->used_wrap = true;
	q->avail_cached = q->signalled = q->published = q->unsignalled = 0;
	q->resubmit_next = 0;
	q->batch_slot = q->batch_flags = q->batch_len = 0;
	q->pop_order = q->push_order = 0;
}

uint32_t vho_queue_base(const struct vho_queue *q)
{
	if (!q->packed)
		return q->next_avail;
	return (uint32_t)q->next_avail | (uint32_t)q->avail_wrap << 15 |
	       (uint32_t)q->next_used << 16 | (uint32_t)q->used_wrap << 31;
}

int vho_queue_fail(struct vho_queue *q, enum vho_queue_error why, int err)
{
	if (!q->broken) {
		q->broken = true;
		dpu_counter_add(&q->stats.errors[why], 1);
		vho_notify_fd(q->err_fd);
	}
	return err;
}

/* What an error of vho_iotlb_at() means for the ring. */
static int not_there(struct vho_queue *q, int err)
{
	if (err == -EAGAIN)
		return err; // not now
	return vho_queue_fail(
		q, err == -EACCES ? VHO_QUEUE_ERR_NO_ACCESS : VHO_QUEUE_ERR_BAD_ADDRESS, -EFAULT);
}

/* An address that is not as usual: in two regions, behind an IOMMU, or nowhere; NULL with *ret. */
__attribute__((cold, noinline)) static void *elsewhere(
	struct vho_queue *q, uint64_t addr, uint64_t *part, bool in, int *ret)
{
	void *p;

	if (q->iotlb && *part == 0)
		return q; // nothing is reached by it, and drivers need not map it
	if (q->iotlb)
		p = vho_iotlb_at(q, addr, part, in ? VHO_IOTLB_WRITE : VHO_IOTLB_READ, ret);
	else
		p = vho_mem_span(q->mem, addr, part);
	if (!p)
		*ret = not_there(q, q->iotlb ? *ret : -EFAULT);
	return p;
}

int vho_chain_add(
	struct vho_queue *q, struct vho_chain *c, uint64_t addr, uint32_t len, uint16_t flags)
{
	bool in = flags & VRING_DESC_F_WRITE;
	uint64_t left = len;

	if (!in && (c->n_in || c->empty_in))
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG);
	if (c->out_len + c->in_len + len > VHO_CHAIN_BYTES_MAX)
		return vho_queue_fail(q, VHO_QUEUE_ERR_TOO_LONG, -EBADMSG);
	// An empty buffer has an address to check and nothing else, but it takes time.
	if (len == 0 && c->n_out + c->n_in + c->n_empty++ >= c->max)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -E2BIG);
	if (len == 0 && in)
		c->empty_in = true;
	do {
		uint64_t part = left;
		uint8_t *p = vho_mem_at_hint(q->direct, &q->last_region, addr, part);
		int ret;

		if (!p)
			p = elsewhere(q, addr, &part, in, &ret);
		if (!p)
			return ret;
		if (part == 0)
			break;
		if (c->n_out + c->n_in + c->n_empty >= c->max)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -E2BIG);
		c->iov[c->n_out + c->n_in] = (struct iovec){ .iov_base = p, .iov_len = part };
		if (in)
			c->n_in++;
		else
			c->n_out++;
		addr += part;
		left -= part;
	} while (left);
	if (in)
		c->in_len += len;
	else
		c->out_len += len;
	return 0;
}

int vho_chain_table(struct vho_queue *q, uint64_t addr, uint32_t len, uint32_t *n, void **table)
{
	*n = len / sizeof(struct vring_desc);
	if (!q->indirect || len == 0 || len % sizeof(struct vring_desc) || *n > q->max_chain)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDIRECT, -EBADMSG);
	*table = vho_mem_at_hint(q->direct, &q->last_region, addr, len);
	if (!*table) {
		int ret = -EFAULT;

		if (q->iotlb)
			*table = vho_iotlb_table_at(q, addr, len, &ret);
		if (!*table)
			return not_there(q, ret);
	}
	return 0;
}

/* Guest memory or the inflight region was cut short. */
static bool cut_short(const struct vho_queue *q)
{
	return vho_queue_faulted(q) ||
	       (q->inflight && atomic_load_explicit(q->inflight->faulted, memory_order_relaxed));
}

int vho_queue_pop(struct vho_queue *q, struct vho_chain *c)
{
	int ret;

	if (!q->mem || q->broken)
		return 0;
	if (cut_short(q))
		return vho_queue_fail(q, VHO_QUEUE_ERR_MEM_FAULT, -EFAULT);
	unstage(q);
	c->n_out = c->n_in = c->n_empty = 0;
	c->empty_in = false;
	c->out_len = c->in_len = 0;
	ret = q->packed ? vho_packed_pop(q, c) : vho_split_pop(q, c);
	if (ret <= 0)
		return ret == -EAGAIN ? 0 : ret;
	c->elem.in = c->iov + c->n_out;
	c->elem.n_in = c->n_in;
	c->elem.order = q->pop_order++;
	dpu_counter_add(&q->stats.requests, 1);
	return 1;
}

static void log_chain(const struct vho_queue *q, const struct vho_elem *e)
{
	uint64_t gpa;

	for (uint16_t i = 0; i < e->n_in; i++)
		if (vho_mem_host_to_gpa(q->mem, e->in[i].iov_base, &gpa) == 0)
			vho_queue_log_write(q, gpa, e->in[i].iov_len);
}

static void watched_push(struct vho_queue *q, const struct vho_elem *e)
{
	if (q->log.base)
		log_chain(q, e);
	if (q->iotlb)
		vho_iotlb_pushed(q, e->order);
}

static void push_now(struct vho_queue *q, const struct vho_elem *e, uint32_t written)
{
	if (q->packed)
		vho_packed_push(q, e, written);
	else
		vho_split_push(q, e, written);
}

void vho_queue_push(struct vho_queue *q, const struct vho_elem *e, uint32_t written)
{
	if (!q->mem)
		return;
	if (q->watched)
		watched_push(q, e);
	if (!q->in_order) {
		push_now(q, e, written);
		return;
	}

	struct vho_held *h = &q->held[e->order & q->held_mask];

	*h = (struct vho_held){ .elem = *e, .written = written, .waiting = true };
	for (h = &q->held[q->push_order & q->held_mask]; h->waiting;
		h = &q->held[q->push_order & q->held_mask]) {
		h->waiting = false;
		q->push_order++;
		push_now(q, &h->elem, h->written);
	}
}

void vho_queue_publish(struct vho_queue *q)
{
	if (!q->mem)
		return;
	if (q->packed)
		vho_packed_publish(q);
	else
		vho_split_publish(q);
}

void vho_queue_notify(struct vho_queue *q)
{
	if (!q->mem || q->call_fd < 0)
		return;
	if (q->packed ? vho_packed_call_wanted(q) : vho_split_call_wanted(q)) {
		vho_notify_fd(q->call_fd);
		dpu_counter_add(&q->stats.calls, 1);
	}
}

bool vho_queue_ready(struct vho_queue *q)
{
	if (!q->mem || q->broken || (q->iotlb && vho_iotlb_waits(q->iotlb)))
		return false;
	return q->packed ? vho_packed_ready(q) : vho_split_ready(q);
}

static void set_kicks(struct vho_queue *q, bool wanted)
{
	if (q->packed)
		vho_packed_kicks(q, wanted);
	else
		vho_split_kicks(q, wanted);
	q->notify_off = !wanted;
}

bool vho_queue_arm(struct vho_queue *q)
{
	if (!q->mem || q->broken)
		return true;
	set_kicks(q, true);
	// The request for kicks must be visible before the last look at the ring; pairs with the
	// driver's full barrier between publishing a buffer and looking at our request.
	atomic_thread_fence(memory_order_seq_cst);
	if (!vho_queue_ready(q))
		return true;
	set_kicks(q, false);
	return false;
}

void vho_queue_disarm(struct vho_queue *q)
{
	if (q->mem && !q->broken && !q->notify_off)
		set_kicks(q, false);
}

void vho_queue_log_write(const struct vho_queue *q, uint64_t gpa, uint64_t len)
{
	if (!q->log.base || len == 0)
		return;

	uint64_t end = len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + len - 1;

	for (uint64_t page = gpa >> DIRTY_PAGE_SHIFT; page <= end >> DIRTY_PAGE_SHIFT; page++) {
		if (page / 8 >= q->log.size)
			return;
		// The front-end clears bits meanwhile.
		__atomic_fetch_or(
			&q->log.base[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_RELAXED);
	}
}
