/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bursts straight on the rings, for packet buffers in the layouts that drivers really use: header
 * and data in one descriptor, header and data in two, or an indirect table of one or two. A burst
 * is gathered (every descriptor loaded once, every address checked, buffers prefetched), then
 * worked on, then finished (used elements written together, one release). Gathering stops in front
 * of anything else, and vho_queue_pop() takes that one and gives the same answer it always gives.
 *
 * The lines of a ring bounce between the driver's core and ours, so each is touched as rarely as
 * possible: the available index is loaded again only when what it said last time is used up, and
 * packed elements are written last slot first, so that the line which the driver watches is taken
 * once, at the end.
 */
#pragma once

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>

#include "net_hdr.h"
#include "queue_ring.h"

#define VHO_BURST 32
#define VHO_AHEAD (2 * VHO_BURST) // descriptors fetched ahead
#define VHO_LINE 64u // bytes that move between cores together

typedef uint64_t __attribute__((may_alias)) vho_word; // two or three ring fields in one access

struct vho_slot {
	uint8_t *hdr, *data; // guest memory
	uint32_t room; // bytes at data
	uint16_t id;
	uint16_t n_slots; // packed
};

struct vho_slots {
	unsigned n;
	bool odd; // gathering stopped in front of a chain that is for vho_queue_pop()
	uint32_t written[VHO_BURST]; // for finish: bytes written to the guest
	struct vho_slot s[VHO_BURST];
};

/* Fetch a line to write to it: one transfer between the cores instead of one to read, one to own. */
static inline void vho_prefetch_write(const volatile void *p)
{
#ifdef __x86_64__
	// The compiler emits this only when told that every CPU has it; where one has not, it is a nop.
	__asm__ volatile("prefetchw %0" : : "m"(*(const volatile char *)p));
#else
	__builtin_prefetch((const void *)(uintptr_t)p, 1);
#endif
}

/* k slots left the ring: what was fetched is that much nearer. */
static inline void vho_ahead_took(struct vho_queue *q, uint32_t k)
{
	q->ahead = (uint16_t)(q->ahead > k ? q->ahead - k : 0);
	q->ahead_desc = (uint16_t)(q->ahead_desc > k ? q->ahead_desc - k : 0);
}

/*
 * Fetch the next n descriptors of a packed ring to be read and then written, as far as that was not
 * done before: all lines at once, and each crosses between the cores once.
 */
static inline void vho_fetch_pdescs(struct vho_queue *q, uint32_t n)
{
	uint32_t i = q->ahead_desc, at = q->next_avail + i;

	if (n > q->size)
		n = q->size;
	for (; i < n; i += VHO_LINE / sizeof(struct vring_packed_desc)) {
		if (at >= q->size)
			at -= q->size;
		vho_prefetch_write(&q->pdesc[at]);
		at += VHO_LINE / sizeof(struct vring_packed_desc);
	}
	q->ahead_desc = (uint16_t)i;
}

/* One buffer: header and data. */
static inline bool vho_slot_one(struct vho_queue *q, const struct vho_mem_map_entry **hint,
	uint64_t addr, uint32_t len, uint32_t hdr_len, uint16_t way, struct vho_slot *s)
{
	uint8_t *p;

	if (unlikely(len < hdr_len))
		return false;
	p = vho_mem_at_hint(q->mem, hint, addr, len);
	if (unlikely(!p))
		return false;
	// A header mostly stays as it is (put_header() in net_burst.c); data is written.
	rte_prefetch0(p);
	if (way)
		vho_prefetch_write(p + hdr_len);
	else
		rte_prefetch0(p + hdr_len);
	s->hdr = p;
	s->data = p + hdr_len;
	s->room = len - hdr_len;
	return true;
}

/* Two buffers: the header alone, then the data. */
static inline bool vho_slot_two(struct vho_queue *q, const struct vho_mem_map_entry **hint,
	uint64_t hdr_addr, uint32_t hdr_size, uint64_t addr, uint32_t len, uint32_t hdr_len,
	struct vho_slot *s)
{
	if (unlikely(hdr_size != hdr_len))
		return false;
	s->hdr = vho_mem_at_hint(q->mem, hint, hdr_addr, hdr_size);
	s->data = vho_mem_at_hint(q->mem, hint, addr, len);
	s->room = len;
	if (unlikely(!s->hdr || !s->data))
		return false;
	rte_prefetch0(s->hdr);
	rte_prefetch0(s->data);
	return true;
}

#define VHO_SHAPE (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE)

/* An indirect table of one or two descriptors, in either layout. */
static inline bool vho_slot_table(struct vho_queue *q, const struct vho_mem_map_entry **hint,
	const void *table, uint32_t len, uint16_t way, uint32_t hdr_len, struct vho_slot *s)
{
	if (q->packed) {
		const volatile struct vring_packed_desc *t = table;
		struct vring_packed_desc a = vho_load_pdesc(&t[0], vho_load16(&t[0].flags)), b;

		if ((a.flags & (VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE)) != way)
			return false;
		if (len == sizeof(a))
			return vho_slot_one(q, hint, a.addr, a.len, hdr_len, way, s);
		b = vho_load_pdesc(&t[1], vho_load16(&t[1].flags));
		return (b.flags & (VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE)) == way &&
		       vho_slot_two(q, hint, a.addr, a.len, b.addr, b.len, hdr_len, s);
	}

	const volatile struct vring_desc *t = table;
	struct vring_desc a = vho_load_desc(&t[0]), b;

	if ((a.flags & VHO_SHAPE) == way)
		return vho_slot_one(q, hint, a.addr, a.len, hdr_len, way, s);
	if ((a.flags & VHO_SHAPE) != (VRING_DESC_F_NEXT | way) || a.next != 1 || len == sizeof(a))
		return false;
	b = vho_load_desc(&t[1]);
	return (b.flags & VHO_SHAPE) == way &&
	       vho_slot_two(q, hint, a.addr, a.len, b.addr, b.len, hdr_len, s);
}

/* The table an indirect descriptor points at, if it is one for vho_slot_table(); prefetched. */
static inline const void *vho_slot_table_at(
	struct vho_queue *q, const struct vho_mem_map_entry **hint, uint64_t addr, uint32_t len)
{
	const void *t;

	if (!q->indirect || (len != 16 && len != 32))
		return NULL;
	t = vho_mem_at_hint(q->mem, hint, addr, len);
	if (likely(t != NULL))
		rte_prefetch0(t);
	return t;
}

/*
 * Gather at most n <= VHO_BURST chains of a split ring whose segments all go one way (0: to the
 * device, VRING_DESC_F_WRITE: to the driver). Takes nothing off the ring.
 */
static inline void vho_gather_split(
	struct vho_queue *q, struct vho_slots *b, unsigned n, uint16_t way, uint32_t hdr_len)
{
	const struct vho_mem_map_entry *hint = q->last_region;
	uint16_t mask = (uint16_t)(q->size - 1), next = q->next_avail, waiting;
	struct vring_desc d[VHO_BURST];
	const void *table[VHO_BURST];
	bool any_table = false;
	unsigned i;

	b->n = 0;
	b->odd = false;
	if ((uint16_t)(q->avail_cached - next) < VHO_AHEAD) {
		uint16_t idx = vho_load_acquire16(&q->avail->idx);

		if (unlikely((uint16_t)(idx - next) > q->size)) {
			b->odd = true; // vho_queue_pop() will say so
			return;
		}
		q->avail_cached = idx;
	}
	waiting = (uint16_t)(q->avail_cached - next);
	if (n > waiting)
		n = waiting;
	for (i = 0; i < n; i += VHO_LINE / sizeof(struct vring_used_elem))
		vho_prefetch_write(&q->used->ring[(q->next_used + i) & mask]);
	for (i = 0; i < n; i++) {
		uint16_t head = vho_load16(&q->avail->ring[(next + i) & mask]);

		if (unlikely(head >= q->size)) {
			n = i;
			b->odd = true;
			break;
		}
		b->s[i].id = head;
		b->s[i].n_slots = 1;
		rte_prefetch0((const void *)(uintptr_t)&q->desc[head]);
	}
	for (i = 0; i < n; i++) {
		d[i] = vho_load_desc(&q->desc[b->s[i].id]);
		table[i] = NULL;
		if (likely((d[i].flags & VHO_SHAPE) == way)) {
			if (unlikely(!vho_slot_one(
				    q, &hint, d[i].addr, d[i].len, hdr_len, way, &b->s[i])))
				break;
		} else if ((d[i].flags & VHO_SHAPE) == (VRING_DESC_F_NEXT | way)) {
			struct vring_desc e;

			if (unlikely(d[i].next >= q->size))
				break;
			e = vho_load_desc(&q->desc[d[i].next]);
			if ((e.flags & VHO_SHAPE) != way ||
				!vho_slot_two(q, &hint, d[i].addr, d[i].len, e.addr, e.len, hdr_len,
					&b->s[i]))
				break;
		} else if ((d[i].flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) ==
			   VRING_DESC_F_INDIRECT) {
			table[i] = vho_slot_table_at(q, &hint, d[i].addr, d[i].len);
			if (!table[i])
				break;
			any_table = true;
		} else {
			break;
		}
	}
	b->odd |= i < n;
	n = i;
	for (i = 0; any_table && i < n; i++)
		if (table[i] &&
			!vho_slot_table(q, &hint, table[i], d[i].len, way, hdr_len, &b->s[i])) {
			b->odd = true;
			n = i;
		}
	b->n = n;
	q->last_region = hint;
}

/* Give back the first k gathered chains, b->written[] bytes each, and publish. */
static inline void vho_finish_split(struct vho_queue *q, const struct vho_slots *b, unsigned k)
{
	uint16_t mask = (uint16_t)(q->size - 1), at = q->next_used;

	for (unsigned i = 0; i < k; i++) {
		volatile struct vring_used_elem *u = &q->used->ring[(at + i) & mask];

		u->id = htole32(b->s[i].id);
		u->len = htole32(b->written[i]);
	}
	q->next_avail = (uint16_t)(q->next_avail + k);
	q->next_used = (uint16_t)(at + k);
	vho_store_release16(&q->used->idx, q->next_used);
	q->published = q->next_used;
	vho_ahead_took(q, k);
}

/*
 * len, id and flags of a packed descriptor in one access: flags decide, the rest comes with them.
 */
static inline uint64_t vho_pdesc_word(const volatile struct vring_packed_desc *d)
{
	return le64toh(__atomic_load_n(
		(const volatile vho_word *)(const volatile void *)&d->len, __ATOMIC_ACQUIRE));
}

/* As vho_gather_split(), for a packed ring. */
static inline void vho_gather_packed(
	struct vho_queue *q, struct vho_slots *b, unsigned n, uint16_t way, uint32_t hdr_len)
{
	const struct vho_mem_map_entry *hint = q->last_region;
	uint16_t at = q->next_avail;
	bool wrap = q->avail_wrap, any_table = false;
	const void *table[VHO_BURST];
	uint32_t table_len[VHO_BURST], slots = 0;
	unsigned i;

	b->odd = false;
	if (vho_packed_avail(vho_load16(&q->pdesc[at].flags), wrap))
		vho_fetch_pdescs(q, q->burst_was);
	for (i = 0; i < n && slots + 1 < q->size; i++) {
		const volatile struct vring_packed_desc *d = &q->pdesc[at];
		uint64_t word = vho_pdesc_word(d), addr;
		uint32_t len = (uint32_t)word;
		uint16_t flags = (uint16_t)(word >> 48), id = (uint16_t)(word >> 32);
		struct vho_slot *s = &b->s[i];

		if (!vho_packed_avail(flags, wrap))
			goto gathered;
		addr = le64toh(d->addr);
		table[i] = NULL;
		s->n_slots = 1;
		if (likely((flags & VHO_SHAPE) == way)) {
			if (unlikely(!vho_slot_one(q, &hint, addr, len, hdr_len, way, s)))
				break;
		} else if ((flags & VHO_SHAPE) == (VRING_DESC_F_NEXT | way)) {
			const volatile struct vring_packed_desc
				*e = &q->pdesc[at + 1u == q->size ? 0 : at + 1u];
			uint64_t last = vho_pdesc_word(e);

			if (((last >> 48) & VHO_SHAPE) != way ||
				!vho_slot_two(q, &hint, addr, len, le64toh(e->addr), (uint32_t)last,
					hdr_len, s))
				break;
			id = (uint16_t)(last >> 32);
			s->n_slots = 2;
		} else if ((flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) ==
			   VRING_DESC_F_INDIRECT) {
			table[i] = vho_slot_table_at(q, &hint, addr, len);
			if (!table[i])
				break;
			table_len[i] = len;
			any_table = true;
		} else {
			break;
		}
		if (unlikely(id >= q->size))
			break;
		s->id = id;
		slots += s->n_slots;
		vho_packed_advance(q->size, &at, &wrap, s->n_slots);
	}
	b->odd = i < n;
gathered:
	n = i;
	for (i = 0; any_table && i < n; i++)
		if (table[i] &&
			!vho_slot_table(q, &hint, table[i], table_len[i], way, hdr_len, &b->s[i])) {
			b->odd = true;
			n = i;
		}
	b->n = n;
	q->burst_was = (uint16_t)n;
	q->last_region = hint;
}

static inline void vho_finish_packed(struct vho_queue *q, const struct vho_slots *b, unsigned k)
{
	uint16_t at[VHO_BURST], pos = q->next_used;
	bool wrap[VHO_BURST], w = q->used_wrap;
	uint32_t slots = 0;

	for (unsigned i = 0; i < k; i++) {
		at[i] = pos;
		wrap[i] = w;
		slots += b->s[i].n_slots;
		vho_packed_advance(q->size, &pos, &w, b->s[i].n_slots);
	}
	for (unsigned i = k; i-- > 0;) {
		uint64_t word = b->written[i] | (uint64_t)b->s[i].id << 32 |
				(uint64_t)vho_packed_used_flags(wrap[i], b->written[i] > 0) << 48;
		volatile vho_word *to = (volatile void *)&q->pdesc[at[i]].len;

		if (i == 0)
			__atomic_store_n(
				to, htole64(word), __ATOMIC_RELEASE); // the driver waits here
		else
			__atomic_store_n(to, htole64(word), __ATOMIC_RELAXED);
	}
	vho_packed_advance(q->size, &q->next_avail, &q->avail_wrap, slots);
	q->next_used = pos;
	q->used_wrap = w;
	vho_ahead_took(q, slots);
	slots += q->unsignalled;
	q->unsignalled = (uint16_t)(slots < q->size ? slots : q->size);
}

/*
 * What comes next on a ring is often there long before its turn: receive buffers always, packets when
 * the card is the slower side. So lines are fetched ahead, in two steps, while the worker does other
 * things: descriptors two bursts ahead, the buffers that they name one burst ahead. Nothing read here
 * is kept; gathering loads and checks every descriptor itself.
 */
static inline void vho_ahead_buffer(struct vho_queue *q, const struct vho_mem_map_entry **hint,
	uint64_t addr, uint32_t len, uint16_t way, uint32_t hdr_len)
{
	const uint8_t *p = vho_mem_at_hint(q->mem, hint, addr, len);

	if (unlikely(!p || len <= hdr_len))
		return;
	rte_prefetch0(p);
	if (way)
		vho_prefetch_write(p + hdr_len);
	else
		rte_prefetch0(p + hdr_len);
}

static inline void vho_ahead_split(struct vho_queue *q, uint16_t way, uint32_t hdr_len)
{
	const struct vho_mem_map_entry *hint = q->last_region;
	uint16_t mask = (uint16_t)(q->size - 1), next = q->next_avail;
	unsigned waiting = (uint16_t)(q->avail_cached - next), i;

	rte_prefetch0((const void *)(uintptr_t)&q->avail->ring[(next + VHO_AHEAD) & mask]);
	for (i = q->ahead_desc; i < VHO_AHEAD && i < waiting; i++) {
		uint16_t head = vho_load16(&q->avail->ring[(next + i) & mask]);

		if (likely(head < q->size))
			rte_prefetch0((const void *)(uintptr_t)&q->desc[head]);
	}
	q->ahead_desc = (uint16_t)i;
	for (i = q->ahead; i < VHO_BURST && i < waiting; i++) {
		uint16_t head = vho_load16(&q->avail->ring[(next + i) & mask]);
		struct vring_desc d;

		if (unlikely(head >= q->size))
			break;
		d = vho_load_desc(&q->desc[head]);
		vho_ahead_buffer(q, &hint, d.addr, d.len, way, hdr_len);
	}
	q->ahead = (uint16_t)i;
}

static inline void vho_ahead_packed(struct vho_queue *q, uint16_t way, uint32_t hdr_len)
{
	const struct vho_mem_map_entry *hint = q->last_region;
	uint16_t at = q->next_avail;
	bool wrap = q->avail_wrap;
	unsigned i;

	vho_fetch_pdescs(q, VHO_AHEAD);
	if (unlikely(q->ahead >= q->size))
		return;
	vho_packed_advance(q->size, &at, &wrap, q->ahead);
	for (i = q->ahead; i < VHO_BURST && i < q->size; i++) {
		const volatile struct vring_packed_desc *d = &q->pdesc[at];
		uint64_t word = vho_pdesc_word(d);

		if (!vho_packed_avail((uint16_t)(word >> 48), wrap))
			break;
		vho_ahead_buffer(q, &hint, le64toh(d->addr), (uint32_t)word, way, hdr_len);
		vho_packed_advance(q->size, &at, &wrap, 1);
	}
	q->ahead = (uint16_t)i;
}

/*
 * May bursts work on this ring's memory directly? What they do not do is left to vho_queue_pop().
 */
static inline bool vho_burst_ok(const struct vho_queue *q)
{
	return !q->inflight && !q->log.base && q->batch_len == 0 && q->pop_order == q->push_order;
}
