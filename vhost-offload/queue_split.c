// SPDX-License-Identifier: Apache-2.0
/* Split virtqueues. Spec: VIRTIO 1.3, section 2.7. */
#include "queue_ring.h"

#include <errno.h>
#include <stddef.h>

#include "inflight_steps.h"

static volatile uint16_t *avail_event(struct vho_queue *q)
{
	return (volatile uint16_t *)&q->used->ring[q->size];
}

static const volatile uint16_t *used_event(const struct vho_queue *q)
{
	return &q->avail->ring[q->size];
}

int vho_split_setup(struct vho_queue *q, const struct vho_queue_conf *conf)
{
	uint64_t event = q->event_idx ? sizeof(uint16_t) : 0;

	if (conf->base > UINT16_MAX)
		return -EINVAL;
	q->desc = vho_mem_at(q->mem, conf->desc_gpa, q->size * sizeof(struct vring_desc));
	q->avail = vho_mem_at(q->mem, conf->driver_gpa,
		sizeof(struct vring_avail) + q->size * sizeof(uint16_t) + event);
	q->used = vho_mem_at(q->mem, conf->device_gpa,
		sizeof(struct vring_used) + q->size * sizeof(struct vring_used_elem) + event);
	if (!q->desc || !q->avail || !q->used)
		return -EFAULT;
	q->avail_idx = &q->avail->idx;
	q->next_avail = (uint16_t)conf->base;
	q->next_used = vho_load16(&q->used->idx);
	// A front-end whose back-end died has nobody to ask for the base, and DPDK's says 0 then.
	// Without an inflight region the used ring is what is left: nothing beyond it was done.
	if (!q->inflight && q->next_avail == 0)
		q->next_avail = q->next_used;
	if (q->inflight) {
		int ret = vho_inflight_recover_split(
			q->inflight, q->size, q->next_used, &q->next_avail);

		if (ret)
			return ret;
		dpu_counter_add(&q->stats.resubmitted, q->inflight->n_resubmit);
	}
	q->avail_cached = q->next_avail;
	q->published = q->next_used;
	vho_split_kicks(q, true);
	return 0;
}

static int walk_indirect(struct vho_queue *q, struct vho_chain *c, const struct vring_desc *d)
{
	uint32_t size, idx = 0;
	volatile struct vring_desc *table;
	void *at;
	int ret = vho_chain_table(q, d->addr, d->len, &size, &at);

	if (ret)
		return ret;
	table = at;
	for (uint32_t n = 0; n < size; n++) {
		struct vring_desc e = vho_load_desc(&table[idx]);

		if (e.flags & VRING_DESC_F_INDIRECT)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDIRECT, -EBADMSG);
		ret = vho_chain_add(q, c, e.addr, e.len, e.flags);
		if (ret)
			return ret;
		if (!(e.flags & VRING_DESC_F_NEXT))
			return 0;
		idx = e.next;
		if (idx >= size)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDIRECT, -EBADMSG);
	}
	return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG); // a loop
}

static int walk(struct vho_queue *q, struct vho_chain *c, uint16_t head)
{
	uint16_t idx = head;
	int ret;

	for (uint32_t n = 0; n < q->size; n++) {
		if (idx >= q->size)
			return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDEX, -EBADMSG);

		struct vring_desc d = vho_load_desc(&q->desc[idx]);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (d.flags & VRING_DESC_F_NEXT)
				return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDIRECT, -EBADMSG);
			return walk_indirect(q, c, &d);
		}
		ret = vho_chain_add(q, c, d.addr, d.len, d.flags);
		if (ret)
			return ret;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		idx = d.next;
	}
	return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_CHAIN, -EBADMSG); // too long, or a loop
}

/* Requests popped by a process that died: they left the available ring then. */
static int pop_resubmit(struct vho_queue *q, struct vho_chain *c)
{
	uint16_t head = q->inflight->resubmit[q->resubmit_next];
	int ret = walk(q, c, head);

	if (ret == -EAGAIN)
		return ret;
	q->resubmit_next++;
	c->elem = (struct vho_elem){ .id = head, .n_slots = 1, .inflight_idx = head };
	return ret ? ret : 1;
}

/* Look at the driver's index again: 1 when there is work, 0, or an error. */
static int refresh(struct vho_queue *q)
{
	uint16_t idx = vho_load_acquire16(q->avail_idx);

	if ((uint16_t)(idx - q->next_avail) > q->size)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_AVAIL, -EBADMSG);
	q->avail_cached = idx;
	return idx != q->next_avail;
}

int vho_split_pop(struct vho_queue *q, struct vho_chain *c)
{
	uint16_t head;
	int ret;

	if (q->inflight && q->resubmit_next < q->inflight->n_resubmit)
		return pop_resubmit(q, c);
	if (q->avail_cached == q->next_avail) {
		ret = refresh(q);
		if (ret <= 0)
			return ret;
	}
	head = vho_load16(&q->avail->ring[q->next_avail & (q->size - 1)]);
	if (head >= q->size)
		return vho_queue_fail(q, VHO_QUEUE_ERR_BAD_INDEX, -EBADMSG);
	ret = walk(q, c, head);
	if (ret)
		return ret;
	if (q->inflight)
		vho_inflight_split_pop(q->inflight, head);
	q->next_avail++;
	c->elem = (struct vho_elem){ .id = head, .n_slots = 1, .inflight_idx = head };
	return 1;
}

void vho_split_push(struct vho_queue *q, const struct vho_elem *e, uint32_t written)
{
	uint32_t at = q->next_used & (q->size - 1);
	volatile struct vring_used_elem *u = &q->used->ring[at];

	u->id = htole32(e->id);
	u->len = htole32(written);
	q->next_used++;
	if (q->inflight)
		vho_inflight_split_push(q->inflight, e->id);
	if (q->log_used)
		vho_queue_log_write(q,
			q->used_gpa + offsetof(struct vring_used, ring) + at * sizeof(*u),
			sizeof(*u));
}

void vho_split_publish(struct vho_queue *q)
{
	if (q->published == q->next_used)
		return;
	vho_store_release16(&q->used->idx, q->next_used);
	q->published = q->next_used;
	if (q->inflight)
		vho_inflight_split_published(q->inflight, q->next_used);
	if (q->log_used)
		vho_queue_log_write(q, q->used_gpa + offsetof(struct vring_used, idx), 2);
}

bool vho_split_call_wanted(struct vho_queue *q)
{
	uint16_t was = q->signalled, now = q->published;
	bool wanted;

	if (q->signalled_valid && was == now)
		return false;
	// The used index must be visible before the driver's wish is read; pairs with the driver's
	// barrier between asking for an interrupt and its last look at the used index.
	atomic_thread_fence(memory_order_seq_cst);
	if (q->event_idx)
		wanted = !q->signalled_valid ||
			 vring_need_event(vho_load16(used_event(q)), now, was);
	else
		wanted = !(vho_load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	q->signalled = now;
	q->signalled_valid = true;
	if (!wanted)
		dpu_counter_add(&q->stats.calls_suppressed, 1);
	return wanted;
}

bool vho_split_ready(struct vho_queue *q)
{
	if (q->inflight && q->resubmit_next < q->inflight->n_resubmit)
		return true;
	return q->avail_cached != q->next_avail ||
	       vho_load_acquire16(q->avail_idx) != q->next_avail;
}

void vho_split_kicks(struct vho_queue *q, bool wanted)
{
	if (q->event_idx) {
		if (wanted)
			vho_store16(avail_event(q), q->next_avail);
	} else {
		vho_store16(&q->used->flags, wanted ? 0 : VRING_USED_F_NO_NOTIFY);
	}
	if (q->log_used)
		vho_queue_log_write(q, q->used_gpa,
			sizeof(struct vring_used) + q->size * sizeof(struct vring_used_elem) + 2);
}
