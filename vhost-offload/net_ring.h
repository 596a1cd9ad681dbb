/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bursts straight on the rings, for packet buffers in the layouts that drivers really use: header
 * and data in one descriptor, header and data in two, or an indirect table of one or two.
 *
 * Chains are staged (every descriptor loaded once, every address checked, buffers prefetched),
 * later used, then finished (used elements written together, one release). Staging takes nothing
 * off the ring: it can be forgotten at any moment, and vho_queue_pop() forgets it. It stops in
 * front of anything that it does not know, and vho_queue_pop() takes that one and gives the answer
 * it always gives.
 *
 * The lines of a ring bounce between the driver's core and ours, and waiting for them is most of
 * what a small packet costs. So what comes next is staged right after a burst was finished, when
 * its lines have a whole turn to arrive, and the descriptors behind that are fetched then, too.
 *
 * Staging goes by one chain, by VHO_BATCH chains of one descriptor each that are checked together,
 * or by VHO_VEC of them where the compiler may use wide vectors (net_ring_avx512.h). A batch that
 * is not plain throughout is left to the next smaller step, so all three give the same answers.
 */
#pragma once

#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_prefetch.h>

#include "net_hdr.h"
#include "queue_ring.h"

#define VHO_BURST 32u
#define VHO_AHEAD (2 * VHO_BURST) // descriptors fetched ahead
#define VHO_BATCH 4u

/* The chains that q->staged counts, from the one at q->next_avail on, as columns. */
struct vho_stage {
	_Alignas(VHO_LINE) uint8_t *hdr[VHO_BURST]; // guest memory
	uint8_t *data[VHO_BURST]; // guest memory
	uint32_t room[VHO_BURST]; // bytes at data
	uint16_t id[VHO_BURST];
	uint16_t n_slots[VHO_BURST]; // packed
};

/* What a step of staging needs to know; constant during one call. */
struct vho_step {
	const struct vho_mem_map_entry *e; // region of the buffer seen last; NULL: none yet
	uint32_t hdr_len;
	uint16_t way; // 0: buffers go to the device, VRING_DESC_F_WRITE: to the driver
};

static inline void vho_prefetch_read(const volatile void *p)
{
	rte_prefetch0((const void *)(uintptr_t)p);
}

/* A header mostly stays as it is (put_plain_header() in net_fast.c); data is written. */
static inline void vho_stage_prefetch(
	const struct vho_stage *st, unsigned n, unsigned k, uint16_t way)
{
	for (; k; k--, n++) {
		vho_prefetch_read(st->hdr[n]);
		if (way)
			vho_prefetch_write(st->data[n]);
		else
			vho_prefetch_read(st->data[n]);
	}
}

/*
 * len, id and flags of a packed descriptor in one access: flags decide, the rest comes with them.
 */
static inline uint64_t vho_pdesc_word(const volatile struct vring_packed_desc *d)
{
	return le64toh(__atomic_load_n(
		(const volatile vho_word *)(const volatile void *)&d->len, __ATOMIC_ACQUIRE));
}

/* The flags of a packed descriptor, as they stand in that word, that make it a plain buffer. */
static inline uint64_t vho_pdesc_want(uint16_t way, bool wrap)
{
	return (uint64_t)(way | 1u << (wrap ? VRING_PACKED_DESC_F_AVAIL : VRING_PACKED_DESC_F_USED))
	       << 48;
}
#define VHO_PDESC_MASK ((uint64_t)(VHO_SHAPE | VHO_PACKED_USED_BITS) << 48)

#ifdef __AVX512BW__
#include "net_ring_avx512.h"
#else
#define VHO_VEC 0u
#endif

/* ---- one chain ---- */

/* One buffer: header and data. */
static inline bool vho_stage_one(struct vho_queue *q, struct vho_step *t, uint64_t addr,
	uint32_t len, struct vho_stage *st, unsigned n)
{
	uint8_t *p;

	if (unlikely(len < t->hdr_len))
		return false;
	p = vho_mem_at_hint(q->mem, &t->e, addr, len);
	if (unlikely(!p))
		return false;
	st->hdr[n] = p;
	st->data[n] = p + t->hdr_len;
	st->room[n] = len - t->hdr_len;
	return true;
}

/* Two buffers: the header alone, then the data. */
static inline bool vho_stage_two(struct vho_queue *q, struct vho_step *t, uint64_t hdr_addr,
	uint32_t hdr_size, uint64_t addr, uint32_t len, struct vho_stage *st, unsigned n)
{
	if (unlikely(hdr_size != t->hdr_len))
		return false;
	st->hdr[n] = vho_mem_at_hint(q->mem, &t->e, hdr_addr, hdr_size);
	st->data[n] = vho_mem_at_hint(q->mem, &t->e, addr, len);
	st->room[n] = len;
	return likely(st->hdr[n] && st->data[n]);
}

/* An indirect table of one or two descriptors, in either layout. */
static inline bool vho_stage_table(struct vho_queue *q, struct vho_step *t, uint64_t addr,
	uint32_t len, struct vho_stage *st, unsigned n)
{
	// In a transmitq's table WRITE says nothing: see vho_queue_conf.out_only.
	const uint16_t kind = VRING_DESC_F_INDIRECT | (t->way ? VRING_DESC_F_WRITE : 0);
	const void *table;

	if (!q->indirect || (len != 16 && len != 32))
		return false;
	table = vho_mem_at_hint(q->mem, &t->e, addr, len);
	if (unlikely(!table))
		return false;
	if (q->packed) { // NEXT is reserved there
		const volatile struct vring_packed_desc *d = table;
		struct vring_packed_desc a = vho_load_ptable(&d[0]), b;

		if ((a.flags & kind) != t->way)
			return false;
		if (len == sizeof(a))
			return vho_stage_one(q, t, a.addr, a.len, st, n);
		b = vho_load_ptable(&d[1]);
		return (b.flags & kind) == t->way &&
		       vho_stage_two(q, t, a.addr, a.len, b.addr, b.len, st, n);
	}

	const volatile struct vring_desc *d = table;
	struct vring_desc a = vho_load_desc(&d[0]), b;

	if ((a.flags & VHO_SHAPE) == t->way)
		return vho_stage_one(q, t, a.addr, a.len, st, n);
	if ((a.flags & VHO_SHAPE) != (VRING_DESC_F_NEXT | t->way) || a.next != 1 ||
		len == sizeof(a))
		return false;
	b = vho_load_desc(&d[1]);
	return (b.flags & VHO_SHAPE) == t->way &&
	       vho_stage_two(q, t, a.addr, a.len, b.addr, b.len, st, n);
}

/* ---- VHO_BATCH chains ---- */

/*
 * Where descriptors that were loaded together point: each all of a buffer, in one region. False:
 * look at them one by one. Ids are the caller's to check.
 *
 * A sum or a difference that should be positive and is not, or an address that lies before the
 * region, has its top bits set: so one look at the end tells. No region has 2^62 bytes, and with no
 * more than those neither of the two differences can come round.
 */
static inline bool vho_stage_batch(const struct vho_step *t, const uint64_t addr[VHO_BATCH],
	const uint32_t len[VHO_BATCH], const uint16_t id[VHO_BATCH], struct vho_stage *st,
	unsigned n)
{
	const uint64_t gpa = t->e->gpa, size = t->e->size, hdr_len = t->hdr_len;
	const uintptr_t host = (uintptr_t)t->e->host; // a pointer may not go where a sum may
	uint64_t wrong = 0;

	for (unsigned k = 0; k < VHO_BATCH; k++) {
		uint64_t off = addr[k] - gpa, room = len[k] - hdr_len;

		wrong |= off | (size - off - len[k]) | room;
		st->hdr[n + k] = (uint8_t *)(host + off);
		st->data[n + k] = (uint8_t *)(host + off + hdr_len);
		st->room[n + k] = (uint32_t)room;
		st->id[n + k] = id[k];
		st->n_slots[n + k] = 1;
	}
	return wrong >> 62 == 0;
}

/* ---- split ---- */

/* The chain whose head is `id`. False: for vho_queue_pop(). */
static inline bool vho_stage_split_one(
	struct vho_queue *q, struct vho_step *t, uint16_t id, struct vho_stage *st, unsigned n)
{
	struct vring_desc d, e;

	if (unlikely(id >= q->size))
		return false;
	d = vho_load_desc(&q->desc[id]);
	st->id[n] = id;
	st->n_slots[n] = 1;
	if ((d.flags & VHO_SHAPE) == t->way)
		return vho_stage_one(q, t, d.addr, d.len, st, n);
	if (vho_is_indirect(d.flags))
		return vho_stage_table(q, t, d.addr, d.len, st, n);
	if ((d.flags & VHO_SHAPE) != (VRING_DESC_F_NEXT | t->way) || d.next >= q->size)
		return false;
	e = vho_load_desc(&q->desc[d.next]);
	return (e.flags & VHO_SHAPE) == t->way &&
	       vho_stage_two(q, t, d.addr, d.len, e.addr, e.len, st, n);
}

/* VHO_BATCH chains of one descriptor each, whose heads lie at `head`. */
static inline bool vho_stage_split_batch(const struct vho_queue *q, const struct vho_step *t,
	const volatile uint16_t *head, struct vho_stage *st, unsigned n)
{
	const volatile struct vring_desc *desc = q->desc;
	uint64_t addr[VHO_BATCH], rest, wrong = 0;
	uint32_t len[VHO_BATCH];
	uint16_t id[VHO_BATCH];
	unsigned all = 0;

	for (unsigned k = 0; k < VHO_BATCH; k++) {
		id[k] = vho_load16(&head[k]);
		all |= id[k];
	}
	if (unlikely(all >= q->size)) // a power of two
		return false;
	for (unsigned k = 0; k < VHO_BATCH; k++) {
		const volatile void *at = &desc[id[k]];
		const volatile vho_word *half = at;

		addr[k] = le64toh(half[0]);
		rest = le64toh(half[1]); // len, flags, next
		len[k] = (uint32_t)rest;
		wrong |= rest ^ (uint64_t)t->way << 32;
	}
	return likely((wrong & (uint64_t)VHO_SHAPE << 32) == 0) &&
	       vho_stage_batch(t, addr, len, id, st, n);
}

/* Stage until `max` <= VHO_BURST chains are, whose segments all go one way. */
static inline void vho_stage_split(
	struct vho_queue *q, struct vho_stage *st, unsigned max, uint16_t way, uint32_t hdr_len)
{
	struct vho_step t = { .e = q->last_region, .way = way, .hdr_len = hdr_len };
	uint16_t mask = (uint16_t)(q->size - 1), next = q->next_avail, waiting;
	unsigned n = q->staged, from = n;

	if ((uint16_t)(q->avail_cached - next) < VHO_AHEAD) {
		uint16_t idx = vho_load_acquire16(q->avail_idx);

		if (unlikely((uint16_t)(idx - next) > q->size)) {
			q->staged_odd = true; // vho_queue_pop() will say so
			return;
		}
		q->avail_cached = idx;
	}
	waiting = (uint16_t)(q->avail_cached - next);
	if (max > waiting)
		max = waiting;
	while (n < max) {
		uint16_t at = (uint16_t)(next + n) & mask;
		const volatile uint16_t *head = &q->avail->ring[at];

#if VHO_VEC
		if (likely(t.e && n + VHO_VEC <= max && at + VHO_VEC <= q->size &&
			    vho_stage_split_vec(q, &t, head, st, n))) {
			n += VHO_VEC;
			continue;
		}
#endif
		if (likely(t.e && n + VHO_BATCH <= max && at + VHO_BATCH <= q->size &&
			    vho_stage_split_batch(q, &t, head, st, n))) {
			n += VHO_BATCH;
		} else if (vho_stage_split_one(q, &t, vho_load16(head), st, n)) {
			n++;
		} else {
			q->staged_odd = true;
			break;
		}
	}
	vho_stage_prefetch(st, from, n - from, way);
	q->staged = q->staged_slots = (uint16_t)n;
	q->last_region = t.e;
}

/* Fetch descriptors that come after what is staged, and used elements that will be written. */
static inline void vho_ahead_split(struct vho_queue *q)
{
	uint16_t mask = (uint16_t)(q->size - 1), next = q->next_avail;
	const volatile uint16_t *ring = q->avail->ring;
	const volatile struct vring_desc *desc = q->desc;
	unsigned waiting = (uint16_t)(q->avail_cached - next), i;

	vho_prefetch_read(&ring[(next + VHO_AHEAD) & mask]);
	for (i = 0; i < VHO_BURST; i += VHO_LINE / sizeof(struct vring_used_elem))
		vho_prefetch_write(&q->used->ring[(q->next_used + i) & mask]);
	if (waiting > VHO_AHEAD)
		waiting = VHO_AHEAD;
	// Owned, though only read: the driver takes such lines back sooner than shared ones. A line
	// that is not the head's is of no use to anybody, and does no harm.
	for (i = q->ahead; i < waiting; i++)
		vho_prefetch_write(&desc[vho_load16(&ring[(next + i) & mask]) & mask]);
	q->ahead = (uint16_t)i;
}

/* The first k staged chains are off the ring; what was fetched is that much nearer. */
static inline void vho_stage_took(
	struct vho_queue *q, struct vho_stage *st, unsigned k, uint32_t slots)
{
	unsigned n = q->staged - k;

	q->staged = (uint16_t)n;
	q->staged_slots = (uint16_t)(q->staged_slots - slots);
	q->ahead = (uint16_t)(q->ahead > slots ? q->ahead - slots : 0);
	if (likely(n == 0))
		return;
	memmove(st->hdr, st->hdr + k, n * sizeof(st->hdr[0]));
	memmove(st->data, st->data + k, n * sizeof(st->data[0]));
	memmove(st->room, st->room + k, n * sizeof(st->room[0]));
	memmove(st->id, st->id + k, n * sizeof(st->id[0]));
	memmove(st->n_slots, st->n_slots + k, n * sizeof(st->n_slots[0]));
}

/*
 * Give back the first k staged chains, written[i] bytes each (all 0 when `way` is 0), and publish.
 * With IN_ORDER one element stands for all that were only read: it has the place of the first and
 * the id of the last (VIRTIO 1.3, "In-order use of descriptors", 2.7 and 2.8).
 */
static inline void vho_finish_split(struct vho_queue *q, struct vho_stage *st, unsigned k,
	uint16_t way, const uint32_t *written)
{
	volatile struct vring_used_elem *used = q->used->ring;
	uint16_t at = q->next_used, mask = (uint16_t)(q->size - 1);
	unsigned i = 0;

	if (!way && q->in_order)
		i = k - 1;
#if VHO_VEC
	else if (likely((at & mask) + k <= q->size))
		i = vho_used_split_vec(&used[at & mask], st, k, written);
#endif
	for (uint32_t to = (uint32_t)(at + (!way && q->in_order ? 0 : i)); i < k; i++, to++)
		vho_used_at(&used[to & mask], st->id[i], written[i]);
	q->next_avail = (uint16_t)(q->next_avail + k);
	q->next_used = (uint16_t)(at + k);
	vho_store_release16(&q->used->idx, q->next_used);
	q->published = q->next_used;
	vho_stage_took(q, st, k, k);
}

/* ---- packed ---- */

enum vho_staged { VHO_STAGED_ONE, VHO_STAGED_EMPTY, VHO_STAGED_ODD };

/* The chain that starts at slot `at`. */
static inline enum vho_staged vho_stage_packed_one(struct vho_queue *q, struct vho_step *t,
	uint16_t at, bool wrap, struct vho_stage *st, unsigned n)
{
	const volatile struct vring_packed_desc *d = &q->pdesc[at];
	uint64_t word = vho_pdesc_word(d), addr;
	uint16_t flags = (uint16_t)(word >> 48);
	bool ok = false;

	if (!vho_packed_avail(flags, wrap))
		return VHO_STAGED_EMPTY;
	addr = le64toh(d->addr);
	st->n_slots[n] = 1;
	if ((flags & VHO_SHAPE) == t->way) {
		ok = vho_stage_one(q, t, addr, (uint32_t)word, st, n);
	} else if (vho_is_indirect(flags)) {
		ok = vho_stage_table(q, t, addr, (uint32_t)word, st, n);
	} else if ((flags & VHO_SHAPE) == (VRING_DESC_F_NEXT | t->way)) {
		const volatile struct vring_packed_desc
			*e = &q->pdesc[at + 1u == q->size ? 0 : at + 1u];
		uint32_t hdr_size = (uint32_t)word;

		word = vho_pdesc_word(e);
		st->n_slots[n] = 2;
		ok = ((word >> 48) & VHO_SHAPE) == t->way &&
		     vho_stage_two(q, t, addr, hdr_size, le64toh(e->addr), (uint32_t)word, st, n);
	}
	st->id[n] = (uint16_t)(word >> 32);
	return ok && st->id[n] < q->size ? VHO_STAGED_ONE : VHO_STAGED_ODD;
}

/* VHO_BATCH chains of one descriptor each, from slot d on. */
static inline bool vho_stage_packed_batch(const struct vho_queue *q, const struct vho_step *t,
	const volatile struct vring_packed_desc *d, bool wrap, struct vho_stage *st, unsigned n)
{
	const uint64_t want = vho_pdesc_want(t->way, wrap);
	uint64_t word[VHO_BATCH], addr[VHO_BATCH], bad = 0;
	const uint32_t size = q->size;
	uint32_t len[VHO_BATCH];
	uint16_t id[VHO_BATCH];

	for (unsigned k = 0; k < VHO_BATCH; k++) {
		word[k] = vho_pdesc_word(&d[k]);
		bad |= word[k] ^ want;
	}
	if (bad & VHO_PDESC_MASK)
		return false;
	bad = 0;
	for (unsigned k = 0; k < VHO_BATCH; k++) {
		addr[k] = le64toh(d[k].addr);
		len[k] = (uint32_t)word[k];
		id[k] = (uint16_t)(word[k] >> 32);
		bad |= size - 1u - (uint64_t)id[k];
	}
	return likely(bad >> 62 == 0) && vho_stage_batch(t, addr, len, id, st, n);
}

/*
 * As vho_stage_split(). One slot stays unstaged, so that the position behind the staged ones tells
 * more from nothing; vho_queue_pop() takes that one.
 */
static inline void vho_stage_packed(
	struct vho_queue *q, struct vho_stage *st, unsigned max, uint16_t way, uint32_t hdr_len)
{
	struct vho_step t = { .e = q->last_region, .way = way, .hdr_len = hdr_len };
	uint32_t slots = q->staged_slots;
	uint16_t at = q->next_avail;
	bool wrap = q->avail_wrap;
	unsigned n = q->staged, from = n;

	vho_packed_advance(q->size, &at, &wrap, slots);
	while (n < max) {
		uint32_t left = q->size - (at > slots ? at : slots);
		enum vho_staged got;

		if (unlikely(slots + 1 >= q->size)) {
			q->staged_odd = true;
			break;
		}
#if VHO_VEC
		if (likely(t.e && n + VHO_VEC <= max && left > VHO_VEC &&
			    vho_stage_packed_vec(q, &t, &q->pdesc[at], wrap, st, n))) {
			n += VHO_VEC;
			slots += VHO_VEC;
			at = (uint16_t)(at + VHO_VEC);
			continue;
		}
#endif
		if (likely(t.e && n + VHO_BATCH <= max && left > VHO_BATCH &&
			    vho_stage_packed_batch(q, &t, &q->pdesc[at], wrap, st, n))) {
			n += VHO_BATCH;
			slots += VHO_BATCH;
			at = (uint16_t)(at + VHO_BATCH);
			continue;
		}
		got = vho_stage_packed_one(q, &t, at, wrap, st, n);
		if (got != VHO_STAGED_ONE) {
			q->staged_odd = got == VHO_STAGED_ODD;
			break;
		}
		slots += st->n_slots[n];
		vho_packed_advance(q->size, &at, &wrap, st->n_slots[n]);
		n++;
	}
	vho_stage_prefetch(st, from, n - from, way);
	q->staged = (uint16_t)n;
	q->staged_slots = (uint16_t)slots;
	q->last_region = t.e;
}

/*
 * The used elements of staged chains 1 to k - 1, last first; plain: they have one slot each.
 * Something is written to all or to none.
 */
static inline void vho_use_packed(const struct vho_queue *q, const struct vho_stage *st, unsigned k,
	uint16_t way, const uint32_t *written, bool plain)
{
	uint16_t at[VHO_BURST], pos = q->next_used;
	bool wrap[VHO_BURST], w = q->used_wrap;

	if (likely(plain && pos + k <= q->size)) {
		volatile struct vring_packed_desc *d = &q->pdesc[pos];
		uint16_t flags = vho_packed_used_flags(w, way);

		for (unsigned i = k - 1; i > 0; i--)
			vho_pdesc_write(&d[i], flags, st->id[i], written[i], __ATOMIC_RELAXED);
		return;
	}
	for (unsigned i = 0; i < k; i++) {
		at[i] = pos;
		wrap[i] = w;
		vho_packed_advance(q->size, &pos, &w, st->n_slots[i]);
	}
	for (unsigned i = k - 1; i > 0; i--)
		vho_pdesc_use(q, at[i], wrap[i], st->id[i], written[i], __ATOMIC_RELAXED);
}

/*
 * As vho_finish_split(). Elements are written last slot first, so that the line which the driver
 * watches is taken once, at the end.
 */
static inline void vho_finish_packed(struct vho_queue *q, struct vho_stage *st, unsigned k,
	uint16_t way, const uint32_t *written)
{
	uint32_t slots = k;
	unsigned first = 0;

	if (unlikely(q->staged_slots != q->staged))
		for (unsigned i = slots = 0; i < k; i++)
			slots += st->n_slots[i];
	if (!way && q->in_order) {
		first = k - 1;
#if VHO_VEC
	} else if (likely(slots == k && q->next_used + k <= q->size)) {
		vho_use_packed_vec(q, st, k, written);
#endif
	} else {
		vho_use_packed(q, st, k, way, written, slots == k);
	}
	// The driver waits for this one.
	vho_pdesc_use(
		q, q->next_used, q->used_wrap, st->id[first], written[first], __ATOMIC_RELEASE);
	vho_packed_advance(q->size, &q->next_avail, &q->avail_wrap, slots);
	vho_packed_advance(q->size, &q->next_used, &q->used_wrap, slots);
	vho_stage_took(q, st, k, slots);
	slots += q->unsignalled;
	q->unsignalled = (uint16_t)(slots < q->size ? slots : q->size);
}

/* ---- either ---- */

static inline void vho_stage_more(
	struct vho_queue *q, struct vho_stage *st, unsigned max, uint16_t way, uint32_t hdr_len)
{
	if (q->packed)
		vho_stage_packed(q, st, max, way, hdr_len);
	else
		vho_stage_split(q, st, max, way, hdr_len);
}

static inline void vho_finish(struct vho_queue *q, struct vho_stage *st, unsigned k, uint16_t way,
	const uint32_t *written)
{
	if (q->packed)
		vho_finish_packed(q, st, k, way, written);
	else
		vho_finish_split(q, st, k, way, written);
}

/*
 * May bursts work on this ring's memory directly? What they do not do is left to vho_queue_pop().
 */
static inline bool vho_burst_ok(const struct vho_queue *q)
{
	return !q->inflight && !q->watched && q->batch_len == 0 &&
	       (!q->in_order || q->pop_order == q->push_order);
}
