// SPDX-License-Identifier: Apache-2.0
/* Asks for the addresses of requests before it is their turn. */
#include "iotlb_ahead.h"

#include "queue_ring.h"

#define PAGE_SHIFT 12
#define DESCS_MAX 32 // of one request, or of its table, that are looked at
#define PAGES_MAX 16 // of one buffer
#define LOOKUPS_MAX 256 // in one go: a guest's longest chains cost a worker no more

/* Pages that lie side by side have places of their own. */
static uint64_t *recent(struct vho_iotlb_queue *iq, uint64_t page)
{
	return &iq->recent[(page ^ page >> 6) % VHO_IOTLB_ASKS];
}

void vho_iotlb_asked(struct vho_iotlb_queue *iq, uint64_t iova)
{
	*recent(iq, iova >> PAGE_SHIFT) = iova >> PAGE_SHIFT;
}

void vho_iotlb_found(struct vho_iotlb_queue *iq, uint64_t iova)
{
	uint64_t *r = recent(iq, iova >> PAGE_SHIFT);

	if (*r == iova >> PAGE_SHIFT)
		*r = 0;
}

/* True: it has gone onto the way to the control thread. */
static bool ask(struct vho_iotlb_queue *iq, uint64_t iova, uint8_t perm)
{
	uint64_t *r = recent(iq, iova >> PAGE_SHIFT);
	uint32_t head = atomic_load_explicit(&iq->head, memory_order_relaxed);

	// Pairs with the release of who has taken entries
	if (*r == iova >> PAGE_SHIFT ||
		head - atomic_load_explicit(&iq->tail, memory_order_acquire) == VHO_IOTLB_ASKS)
		return false;
	*r = iova >> PAGE_SHIFT;
	iq->ask[head % VHO_IOTLB_ASKS] = (struct vho_iotlb_ask){ iova, perm };
	atomic_store_explicit(&iq->head, head + 1, memory_order_release);
	return true;
}

/* One buffer. True: something is asked for. */
static bool look(struct vho_queue *q, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint8_t perm = flags & VRING_DESC_F_WRITE ? VHO_IOTLB_WRITE : VHO_IOTLB_READ;
	uint64_t page = addr >> PAGE_SHIFT, last = (addr + len - 1) >> PAGE_SHIFT;
	bool asked = false;

	if (len == 0)
		return false;
	for (unsigned n = 0; n < PAGES_MAX && page <= last && q->iotlb->ahead_left; n++, page++) {
		q->iotlb->ahead_left--;
		if (!vho_iotlb_has(q->iotlb->tlb, n ? page << PAGE_SHIFT : addr, perm))
			asked |= ask(q->iotlb, n ? page << PAGE_SHIFT : addr, perm);
	}
	return asked;
}

/* The entries of an indirect table, as far as they are known. */
static bool look_table(struct vho_queue *q, uint64_t addr, uint32_t len)
{
	uint64_t part = len;
	const uint8_t *at = vho_iotlb_peek(q, addr, &part);
	bool asked = false;

	if (!at)
		return look(q, addr, len, 0);
	for (unsigned n = 0; n < DESCS_MAX && (n + 1) * sizeof(struct vring_desc) <= part; n++) {
		struct vring_desc d = vho_load_desc(at + n * sizeof(struct vring_desc));
		struct vring_packed_desc p = vho_load_ptable(at + n * sizeof(p));

		asked |= q->packed ? look(q, p.addr, p.len, p.flags)
				   : look(q, d.addr, d.len, d.flags);
	}
	return asked;
}

static bool look_desc(struct vho_queue *q, uint64_t addr, uint32_t len, uint16_t flags)
{
	return flags & VRING_DESC_F_INDIRECT ? look_table(q, addr, len) : look(q, addr, len, flags);
}

static bool look_split(struct vho_queue *q, uint16_t pos)
{
	uint16_t idx = vho_load16(&q->avail->ring[pos & (q->size - 1)]);
	bool asked = false;

	for (unsigned n = 0; n < DESCS_MAX && idx < q->size; n++) {
		struct vring_desc d = vho_load_desc(&q->desc[idx]);

		asked |= look_desc(q, d.addr, d.len, d.flags);
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
		idx = d.next;
	}
	return asked;
}

void vho_iotlb_ahead(struct vho_queue *q, unsigned first, unsigned n)
{
	bool asked = false;

	q->iotlb->ahead_left = LOOKUPS_MAX;
	if (q->packed) {
		uint16_t at = q->next_avail;
		bool wrap = q->avail_wrap;

		if (first >= q->size)
			return;
		vho_packed_advance(q->size, &at, &wrap, first);
		for (; n; n--, vho_packed_advance(q->size, &at, &wrap, 1)) {
			uint16_t flags = vho_load_acquire16(&q->pdesc[at].flags);
			struct vring_packed_desc d = vho_load_pdesc(&q->pdesc[at], flags);

			if (!vho_packed_avail(flags, wrap))
				break;
			asked |= look_desc(q, d.addr, d.len, flags);
		}
	} else {
		uint16_t left = (uint16_t)(vho_load_acquire16(&q->avail->idx) - q->next_avail);

		if (left > q->size)
			return; // vho_queue_pop() has the answer to that
		for (unsigned i = first; i < left && n; i++, n--)
			asked |= look_split(q, (uint16_t)(q->next_avail + i));
	}
	if (asked)
		vho_notify_fd(q->iotlb->tlb->ask_fd);
}
