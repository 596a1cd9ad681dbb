// SPDX-License-Identifier: Apache-2.0
/* Packed virtqueues. Spec: VIRTIO 1.3, section 2.8. */
#include "queue_ring.h"

#include <errno.h>
#include <stddef.h>

#include "inflight_steps.h"

/*
 * A process that died within a batch left used flags in all slots but the first. As that was never
 * published, its requests are done again, perhaps in another order and with other batches, and the
 * driver must not come across those flags: make the slots of what is in flight look as they did.
 */
static void take_back_used(struct vho_queue *q, const struct vho_inflight_pos *pos)
{
	uint16_t at = pos->used;
	bool wrap = pos->used_wrap;

	while (at != pos->avail || wrap != pos->avail_wrap) {
		volatile struct vring_packed_desc *d = &q->pdesc[at];
		uint16_t flags = vho_load16(&d->flags);

		if ((flags & VHO_PACKED_USED_BITS) == vho_packed_used_flags(wrap, false)) {
			flags &= (uint16_t)~VHO_PACKED_USED_BITS;
			flags |= (uint16_t)(1u << (wrap ? VRING_PACKED_DESC_F_AVAIL
							: VRING_PACKED_DESC_F_USED));
			vho_store16(&d->flags, flags);
			vho_inflight_step();
			if (q->log_used)
				vho_queue_log_write(q, q->desc_gpa + at * sizeof(*d), sizeof(*d));
		}
		vho_packed_advance(q->size, &at, &wrap, 1);
	}
}

int vho_packed_setup(struct vho_queue *q, const struct vho_queue_conf *conf)
{
	struct vho_inflight_pos pos = {
		.avail = conf->base & 0x7fff,
		.avail_wrap = conf->base >> 15 & 1,
		.used = conf->base >> 16 & 0x7fff,
		.used_wrap = conf->base >> 31,
	};

	if (pos.avail >= q->size || pos.used >= q->size)
		return -EINVAL;
	q->pdesc = vho_mem_at(q->mem, conf->desc_gpa, q->size * sizeof(struct vring_packed_desc));
	q->driver_event = vho_mem_at(q->mem, conf->driver_gpa, sizeof(*q->driver_event));
	q->device_event = vho_mem_at(q->mem, conf->device_gpa, sizeof(*q->device_event));
	if (!q->pdesc || !q->driver_event || !q->device_event)
		return -EFAULT;
	if (q->inflight) {
		int ret = vho_inflight_recover_packed(q->inflight, q->size, q->pdesc, &pos);

		if (ret)
			return ret;
		dpu_counter_add(&q->stats.resubmitted, q->inflight->n_resubmit);
		if (q->inflight->n_resubmit)
			take_back_used(q, &pos);
	}
	q->next_avail = pos.avail;
	q->avail_wrap = pos.avail_wrap;
	q->next_used = pos.used;
	q->used_wrap = pos.used_wrap;
	vho_packed_kicks(q, true);
	return 0;
}

static int walk_indirect(
	struct vho_queue *q, struct vho_chain *c, const struct vring_packed_desc *d)
{
	uint32_t size;
	volatile struct vring_packed_desc *table;
	void *at;
	int ret = vho_chain_table(q, d->addr, d->len, &size, &at);

	if (ret)
		return ret;
	table = at;
	for (uint32_t i = 0; i < size; i++) {
		struct vring_packed_desc e = vho_load_ptable(&table[i]);
		uint16_t flags = e.flags;

		// NEXT is reserved here: the table's length ends the list.
		if (flags & VRING_DESC_F_INDIRECT)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDIRECT, -EBADMSG);
		if (q->out_only)
			flags &= (uint16_t)~VRING_DESC_F_WRITE;
		ret = vho_chain_add(q, c, e.addr, e.len, flags);
		if (ret)
			return ret;
	}
	return 0;
}

/* One descriptor of a list. 0, or an error. */
static int add(struct vho_queue *q, struct vho_chain *c, const struct vring_packed_desc *d)
{
	if (!(d->flags & VRING_DESC_F_INDIRECT))
		return vho_chain_add(q, c, d->addr, d->len, d->flags);
	if (d->flags & VRING_DESC_F_NEXT)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDIRECT, -EBADMSG);
	return walk_indirect(q, c, d);
}

/* The list was copied into the inflight region by a process that died. */
static int pop_resubmit(struct vho_queue *q, struct vho_chain *c)
{
	volatile struct vho_inflight_packed *r = q->inflight->packed;
	uint16_t head = q->inflight->resubmit[q->resubmit_next];
	uint16_t at = head, id = 0, n = r->desc[head].num;
	int ret;

	if (n == 0 || n > q->size)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG);
	for (uint16_t i = 0; i < n; i++) {
		if (at >= q->size)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDEX, -EBADMSG);

		struct vring_packed_desc d = {
			.addr = r->desc[at].addr,
			.len = r->desc[at].len,
			.id = r->desc[at].id,
			.flags = r->desc[at].flags,
		};

		ret = add(q, c, &d);
		if (ret)
			return ret;
		id = d.id;
		at = r->desc[at].next;
	}
	if (id >= q->size)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDEX, -EBADMSG);
	q->resubmit_next++;
	c->elem = (struct vho_elem){ .id = id, .n_slots = n, .inflight_idx = head };
	return 1;
}

/* The list at next_avail, whose first flags were loaded with acquire: its length, or an error. */
static int walk(struct vho_queue *q, struct vho_chain *c, uint16_t flags, uint16_t *id)
{
	uint32_t at = q->next_avail;
	int ret;

	for (uint32_t n = 1; n <= q->size; n++) {
		struct vring_packed_desc d = vho_load_pdesc(&q->pdesc[at], flags);

		ret = add(q, c, &d);
		if (ret == -EAGAIN && q->inflight && n > 1)
			vho_inflight_packed_unpop(
				q->inflight, c->elem.inflight_idx, &c->elem.inflight_idx, 1);
		if (ret)
			return ret;

		bool last = !(flags & VRING_DESC_F_NEXT);

		if (last && d.id >= q->size)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDEX, -EBADMSG);
		if (q->inflight && !vho_inflight_packed_pop(
					   q->inflight, &d, n == 1, last, &c->elem.inflight_idx))
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDEX, -EBADMSG);
		if (last) {
			*id = d.id; // that of the last element counts (2.8.6)
			return (int)n;
		}
		at = at + 1 == q->size ? 0 : at + 1;
		flags = vho_load16(&q->pdesc[at].flags);
	}
	return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG); // longer than the ring
}

int vho_packed_pop(struct vho_queue *q, struct vho_chain *c)
{
	uint16_t flags, id = 0;
	int n;

	if (q->inflight && q->resubmit_next < q->inflight->n_resubmit)
		return pop_resubmit(q, c);
	flags = vho_load_acquire16(&q->pdesc[q->next_avail].flags);
	if (!vho_packed_avail(flags, q->avail_wrap))
		return 0;
	n = walk(q, c, flags, &id);
	if (n < 0)
		return n;
	c->elem.id = id;
	c->elem.n_slots = (uint16_t)n;
	vho_packed_advance(q->size, &q->next_avail, &q->avail_wrap, (uint32_t)n);
	return 1;
}

void vho_packed_push(struct vho_queue *q, const struct vho_elem *e, uint32_t written)
{
	volatile struct vring_packed_desc *d = &q->pdesc[q->next_used];
	uint16_t flags = vho_packed_used_flags(q->used_wrap, written > 0);

	if (q->batch_len + e->n_slots > q->size)
		vho_packed_publish(q); // a batch never overtakes its own first slot
	d->id = htole16(e->id);
	d->len = htole32(written);
	if (q->batch_len == 0) {
		q->batch_slot = q->next_used;
		q->batch_flags = flags;
	} else {
		vho_store16(&d->flags, flags);
	}
	if (q->log_used)
		vho_queue_log_write(q, q->desc_gpa + q->next_used * sizeof(*d), sizeof(*d));
	q->batch_len = (uint16_t)(q->batch_len + e->n_slots);
	vho_packed_advance(q->size, &q->next_used, &q->used_wrap, e->n_slots);
	if (q->inflight)
		vho_inflight_packed_push(q->inflight, e->inflight_idx);
}

void vho_packed_publish(struct vho_queue *q)
{
	if (q->batch_len == 0)
		return;
	if (q->inflight)
		vho_inflight_packed_publish(q->inflight, q->next_used, q->used_wrap);
	vho_store_release16(&q->pdesc[q->batch_slot].flags, q->batch_flags);
	if (q->inflight)
		vho_inflight_packed_published(q->inflight, q->next_used, q->used_wrap);
	if (q->log_used)
		vho_queue_log_write(
			q, q->desc_gpa + q->batch_slot * sizeof(*q->pdesc), sizeof(*q->pdesc));

	uint32_t unsignalled = (uint32_t)q->unsignalled + q->batch_len;

	q->unsignalled = (uint16_t)(unsignalled < q->size ? unsignalled : q->size);
	q->batch_len = 0;
}

bool vho_packed_call_wanted(struct vho_queue *q)
{
	uint16_t now = q->next_used, was, off_wrap, flags;
	bool wanted = true;

	if (q->unsignalled == 0)
		return false;
	// As in vho_split_call_wanted().
	atomic_thread_fence(memory_order_seq_cst);
	flags = vho_load_acquire16(&q->driver_event->flags) & 3;
	if (flags == VRING_PACKED_EVENT_FLAG_DISABLE) {
		wanted = false;
	} else if (flags == VRING_PACKED_EVENT_FLAG_DESC && q->event_idx &&
		   q->unsignalled < q->size) {
		off_wrap = vho_load16(&q->driver_event->off_wrap);

		uint16_t off = off_wrap & 0x7fff;

		was = (uint16_t)(now - q->unsignalled);
		if ((off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR & 1) != q->used_wrap)
			off = (uint16_t)(off - q->size);
		wanted = vring_need_event(off, now, was);
	}
	q->unsignalled = 0;
	if (!wanted)
		dpu_counter_add(&q->stats.calls_suppressed, 1);
	return wanted;
}

bool vho_packed_ready(struct vho_queue *q)
{
	if (q->inflight && q->resubmit_next < q->inflight->n_resubmit)
		return true;
	return vho_packed_avail(vho_load_acquire16(&q->pdesc[q->next_avail].flags), q->avail_wrap);
}

void vho_packed_kicks(struct vho_queue *q, bool wanted)
{
	uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;

	if (wanted && q->event_idx) {
		vho_store16(&q->device_event->off_wrap,
			(uint16_t)(q->next_avail | (unsigned)q->avail_wrap
							   << VRING_PACKED_EVENT_F_WRAP_CTR));
		flags = VRING_PACKED_EVENT_FLAG_DESC;
	} else if (wanted) {
		flags = VRING_PACKED_EVENT_FLAG_ENABLE;
	}
	vho_store_release16(&q->device_event->flags, flags);
	if (q->log_used)
		vho_queue_log_write(q, q->used_gpa, sizeof(*q->device_event));
}
