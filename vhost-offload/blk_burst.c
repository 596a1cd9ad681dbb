// SPDX-License-Identifier: Apache-2.0
/* virtio-blk requests in bursts, straight on the rings: see blk_burst.h. */
#include "blk_burst.h"

#include <linux/virtio_blk.h>
#include <string.h>

#include "inflight_steps.h"
#include "queue_ring.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define TABLE_LEN (3 * sizeof(struct vring_desc))

/* What the stages have found out about the requests at the front of the ring, as columns. */
struct burst {
	uint16_t id[BLK_BURST];
	uint16_t n_slots[BLK_BURST]; // packed
	/* Packed, with an inflight region: descriptors as loaded, and where they are noted. */
	struct vring_packed_desc list[BLK_BURST][3];
	uint16_t entry[BLK_BURST];
	uint16_t next[BLK_BURST]; // in the ring: where the data's descriptor is
	bool in[BLK_BURST]; // the data is for the device to write
	const volatile void *table[BLK_BURST]; // guest memory; NULL: descriptors in the ring
	const void *hdr[BLK_BURST]; // guest memory
	volatile uint8_t *status[BLK_BURST]; // guest memory
	struct iovec data[BLK_BURST]; // guest memory
	uint64_t off[BLK_BURST];
	uint32_t used[BLK_BURST]; // bytes written, for the used element
	bool odd; // what comes behind these is for vho_queue_pop()
};

/* Of at most VHO_LINE bytes: both ends, which costs less than to ask whether it is one line. */
static inline void fetch(const volatile void *p, size_t len)
{
	uintptr_t at = (uintptr_t)p;

	__builtin_prefetch((const void *)at);
	__builtin_prefetch((const void *)(at + len - 1));
}

/* A descriptor of a ring, which is aligned. */
static inline void fetch_desc(const volatile struct vring_desc *d)
{
	__builtin_prefetch((const void *)(uintptr_t)d);
}

/*
 * A driver with one request at a time mostly uses the same memory again. Fetched as soon as a new
 * request shows, its lines come over together with those that lead to them instead of after them.
 * Where it is other memory this time nothing is lost.
 */
static inline void fetch_alike(const struct blk_lone *l)
{
	if (!l->is)
		return;
	vho_prefetch_write(l->status);
	fetch(l->hdr, BLK_HEADER_LEN);
	if (l->desc)
		fetch_desc(l->desc);
	if (l->table)
		fetch(l->table, TABLE_LEN);
}

static inline void note_lone(
	const struct vho_queue *q, const struct burst *b, unsigned n, struct blk_lone *l)
{
	l->is = n == 1;
	if (!l->is)
		return;
	l->hdr = b->hdr[0];
	l->status = b->status[0];
	l->table = b->table[0];
	l->desc = q->packed ? NULL : &q->desc[b->id[0]]; // packed: what told us of the request
}

/*
 * What stays as it is during one look at the ring, where stores into the columns cannot make the
 * compiler load it again.
 */
struct look {
	const struct vho_queue *q;
	const struct vho_mem *mem;
	struct vho_mem_near near;
	uint32_t size;
};

static inline struct look look_at(const struct vho_queue *q)
{
	return (struct look){ q, q->mem, vho_mem_near(q->last_region), q->size };
}

/* ---- one request's parts: false is odd ---- */

static inline bool add_header(
	struct look *l, struct burst *b, unsigned i, uint64_t addr, uint32_t len)
{
	const void *p = vho_mem_at_near(l->mem, &l->near, addr, BLK_HEADER_LEN);

	b->hdr[i] = p;
	return len == BLK_HEADER_LEN && p;
}

static inline bool add_data(
	struct look *l, struct burst *b, unsigned i, uint64_t addr, uint32_t len, uint16_t flags)
{
	void *p = vho_mem_at_near(l->mem, &l->near, addr, len);

	b->data[i] = (struct iovec){ .iov_base = p, .iov_len = len };
	b->in[i] = flags & VRING_DESC_F_WRITE;
	return p && len - 1 < BLK_BURST_BYTES;
}

static inline bool add_status(
	struct look *l, struct burst *b, unsigned i, uint64_t addr, uint32_t len)
{
	volatile uint8_t *p = vho_mem_at_near(l->mem, &l->near, addr, 1);

	b->status[i] = p;
	return len == 1 && p;
}

/* An indirect table of three, which the next stage reads. */
static inline bool add_table(
	struct look *l, struct burst *b, unsigned i, uint64_t addr, uint32_t len)
{
	const volatile void *p;

	if (!l->q->indirect || len != TABLE_LEN)
		return false;
	p = vho_mem_at_near(l->mem, &l->near, addr, TABLE_LEN);
	b->table[i] = p;
	if (!p)
		return false;
	fetch(p, TABLE_LEN);
	return true;
}

/* All parts are known: what header() and the answer need. */
static inline void fetch_parts(const struct burst *b, unsigned i)
{
	vho_prefetch_write(b->status[i]);
	fetch(b->hdr[i], BLK_HEADER_LEN);
}

/* ---- split ---- */

/* Requests that wait, at most max: their heads. */
static inline unsigned heads_split(
	struct vho_queue *q, struct burst *b, unsigned max, const struct blk_lone *lone)
{
	const volatile uint16_t *ring = q->avail->ring;
	const volatile struct vring_desc *desc = q->desc;
	uint16_t mask = (uint16_t)(q->size - 1), next = q->next_avail, waiting;
	unsigned i;

	if ((uint16_t)(q->avail_cached - next) < max) {
		uint16_t idx = vho_load_acquire16(q->avail_idx);

		if (unlikely((uint16_t)(idx - next) > q->size)) {
			b->odd = true; // vho_queue_pop() will say so
			return 0;
		}
		q->avail_cached = idx;
	}
	waiting = (uint16_t)(q->avail_cached - next);
	if (max > waiting)
		max = waiting;
	if (max > 0)
		fetch_alike(lone);
	for (i = 0; i < max; i++) {
		uint16_t id = vho_load16(&ring[(next + i) & mask]);

		if (unlikely(id > mask)) {
			b->odd = true;
			break;
		}
		b->id[i] = id;
		fetch_desc(&desc[id]);
	}
	for (unsigned k = 0; k < i; k += VHO_LINE / sizeof(struct vring_used_elem))
		vho_prefetch_write(&q->used->ring[(q->next_used + k) & mask]);
	return i;
}

static inline bool first_split(
	struct look *l, struct burst *b, unsigned i, const volatile struct vring_desc *desc)
{
	struct vring_desc d = vho_load_desc(&desc[b->id[i]]);

	if (vho_is_indirect(d.flags))
		return add_table(l, b, i, d.addr, d.len);
	b->table[i] = NULL;
	b->next[i] = d.next;
	return (d.flags & VHO_SHAPE) == VRING_DESC_F_NEXT && add_header(l, b, i, d.addr, d.len);
}

/* Data and status behind the header, whose descriptors are those of one table. */
static inline bool rest_split(
	struct look *l, struct burst *b, unsigned i, const volatile struct vring_desc *desc)
{
	const volatile struct vring_desc *t = b->table[i];
	uint32_t size = 3, at;
	struct vring_desc d;

	if (t) {
		d = vho_load_desc(&t[0]);
		if ((d.flags & VHO_SHAPE) != VRING_DESC_F_NEXT ||
			!add_header(l, b, i, d.addr, d.len))
			return false;
		at = d.next;
	} else {
		t = desc;
		size = l->size;
		at = b->next[i];
	}
	if (at >= size)
		return false;
	d = vho_load_desc(&t[at]);
	if ((d.flags & (VHO_SHAPE & ~VRING_DESC_F_WRITE)) != VRING_DESC_F_NEXT || d.next >= size ||
		!add_data(l, b, i, d.addr, d.len, d.flags))
		return false;
	d = vho_load_desc(&t[d.next]);
	return (d.flags & VHO_SHAPE) == VRING_DESC_F_WRITE && add_status(l, b, i, d.addr, d.len);
}

/* Requests with all their parts, at most max; the lines of header and status are on their way. */
static inline unsigned parts_split(
	struct vho_queue *q, struct burst *b, unsigned max, const struct blk_lone *lone)
{
	const volatile struct vring_desc *desc = q->desc;
	unsigned n = heads_split(q, b, max, lone), i;
	struct look l = look_at(q);

	for (i = 0; i < n; i++)
		if (unlikely(!first_split(&l, b, i, desc)))
			break;
	b->odd |= i < n;
	n = i;
	for (i = 0; i < n; i++) {
		if (unlikely(!rest_split(&l, b, i, desc)))
			break;
		fetch_parts(b, i);
	}
	b->odd |= i < n;
	q->last_region = l.near.e;
	return i;
}

static void finish_split(struct vho_queue *q, const struct burst *b, unsigned n)
{
	volatile struct vring_used_elem *used = q->used->ring;
	uint16_t at = q->next_used, mask = (uint16_t)(q->size - 1);

	for (unsigned i = 0; i < n; i++) {
		vho_used_at(&used[(at + i) & mask], b->id[i], b->used[i]);
	}
	if (q->inflight)
		for (unsigned i = 0; i < n; i++)
			vho_inflight_split_push(q->inflight, b->id[i]);
	q->next_avail = (uint16_t)(q->next_avail + n);
	q->next_used = (uint16_t)(at + n);
	vho_split_publish(q);
}

/* ---- packed ---- */

/* As heads_split() and first_split() together: the next request begins where this one ends. */
static inline unsigned firsts_packed(
	struct look *l, struct burst *b, unsigned max, const struct blk_lone *lone)
{
	const volatile struct vring_packed_desc *pdesc = l->q->pdesc;
	const bool noted = l->q->inflight;
	uint16_t at = l->q->next_avail;
	bool wrap = l->q->avail_wrap;
	uint32_t slots = 0;
	unsigned i;

	for (i = 0; i < max && slots < l->size; i++) {
		uint16_t flags = vho_load_acquire16(&pdesc[at].flags);
		struct vring_packed_desc d;

		if (!vho_packed_avail(flags, wrap))
			break;
		if (i == 0)
			fetch_alike(lone);
		d = vho_load_pdesc(&pdesc[at], flags);
		if (noted)
			b->list[i][0] = d;
		b->id[i] = d.id;
		if (vho_is_indirect(flags)) {
			b->n_slots[i] = 1;
			b->odd = d.id >= l->size || !add_table(l, b, i, d.addr, d.len);
		} else {
			b->n_slots[i] = 3;
			b->table[i] = NULL;
			b->next[i] = at;
			b->odd = (flags & VHO_SHAPE) != VRING_DESC_F_NEXT || slots + 3 > l->size ||
				 !add_header(l, b, i, d.addr, d.len);
		}
		if (unlikely(b->odd))
			break;
		slots += b->n_slots[i];
		vho_packed_advance(l->size, &at, &wrap, b->n_slots[i]);
	}
	return i;
}

static inline bool rest_table_packed(struct look *l, struct burst *b, unsigned i)
{
	const volatile struct vring_packed_desc *t = b->table[i];
	struct vring_packed_desc d[3];

	for (unsigned k = 0; k < 3; k++)
		d[k] = vho_load_ptable(&t[k]); // NEXT is reserved
	return !((d[0].flags | d[1].flags | d[2].flags) & VRING_DESC_F_INDIRECT) &&
	       !(d[0].flags & VRING_DESC_F_WRITE) && (d[2].flags & VRING_DESC_F_WRITE) &&
	       add_header(l, b, i, d[0].addr, d[0].len) &&
	       add_data(l, b, i, d[1].addr, d[1].len, d[1].flags) &&
	       add_status(l, b, i, d[2].addr, d[2].len);
}

static inline bool rest_packed(struct look *l, struct burst *b, unsigned i)
{
	const volatile struct vring_packed_desc *pdesc = l->q->pdesc;
	const bool noted = l->q->inflight;
	struct vring_packed_desc d;
	uint32_t at;

	if (b->table[i])
		return rest_table_packed(l, b, i);
	at = b->next[i];
	at = at + 1 == l->size ? 0 : at + 1;
	d = vho_load_pdesc(&pdesc[at], vho_load16(&pdesc[at].flags));
	if (noted)
		b->list[i][1] = d;
	if ((d.flags & (VHO_SHAPE & ~VRING_DESC_F_WRITE)) != VRING_DESC_F_NEXT ||
		!add_data(l, b, i, d.addr, d.len, d.flags))
		return false;
	at = at + 1 == l->size ? 0 : at + 1;
	d = vho_load_pdesc(&pdesc[at], vho_load16(&pdesc[at].flags));
	if (noted)
		b->list[i][2] = d;
	b->id[i] = d.id; // that of the last element counts (2.8.6)
	return (d.flags & VHO_SHAPE) == VRING_DESC_F_WRITE && d.id < l->size &&
	       add_status(l, b, i, d.addr, d.len);
}

/* As parts_split(). */
static inline unsigned parts_packed(
	struct vho_queue *q, struct burst *b, unsigned max, const struct blk_lone *lone)
{
	struct look l = look_at(q);
	unsigned n = firsts_packed(&l, b, max, lone), i;

	for (i = 0; i < n; i++) {
		if (unlikely(!rest_packed(&l, b, i)))
			break;
		fetch_parts(b, i);
	}
	b->odd |= i < n;
	q->last_region = l.near.e;
	return i;
}

/* Note n requests in the inflight region. Fewer: the region is not as we left it. */
static unsigned pop_packed(struct vho_inflight_queue *iq, struct burst *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned last = b->n_slots[i] - 1u;

		for (unsigned k = 0; k <= last; k++) {
			if (likely(vho_inflight_packed_pop(
				    iq, &b->list[i][k], k == 0, k == last, &b->entry[i])))
				continue;
			if (k > 0)
				vho_inflight_packed_unpop(iq, b->entry[i], &b->entry[i], 1);
			return i;
		}
	}
	return n;
}

/* Where the next request is, and where the next used one goes, when `slots` more are used. */
static inline void advance_packed(struct vho_queue *q, uint32_t slots)
{
	vho_packed_advance(q->size, &q->next_avail, &q->avail_wrap, slots);
	vho_packed_advance(q->size, &q->next_used, &q->used_wrap, slots);
}

/* The first element is written last: the driver sees the others with it. */
static void finish_packed(struct vho_queue *q, const struct burst *b, unsigned n)
{
	struct vho_inflight_queue *iq = q->inflight;
	uint16_t first = q->next_used, at = first;
	bool first_wrap = q->used_wrap, wrap = first_wrap;
	uint32_t slots = b->n_slots[0];

	for (unsigned i = 1; i < n; i++) {
		vho_packed_advance(q->size, &at, &wrap, b->n_slots[i - 1]);
		vho_pdesc_use(q, at, wrap, b->id[i], b->used[i], __ATOMIC_RELAXED);
		slots += b->n_slots[i];
	}
	advance_packed(q, slots);
	if (iq) {
		for (unsigned i = 0; i < n; i++)
			vho_inflight_packed_push(iq, b->entry[i]);
		vho_inflight_packed_publish(iq, q->next_used, q->used_wrap);
	}
	vho_pdesc_use(q, first, first_wrap, b->id[0], b->used[0], __ATOMIC_RELEASE);
	if (iq)
		vho_inflight_packed_published(iq, q->next_used, q->used_wrap);
	slots += q->unsignalled;
	q->unsignalled = (uint16_t)(slots < q->size ? slots : q->size);
}

/* ---- stages ---- */

/* What a request must keep to, and what requests before it came to: in registers for one burst. */
struct turn {
	uint64_t sectors; // of the disk
	uint64_t unaligned; // bits that neither offset nor length may have
	uint32_t size_max;
	bool read_only;
	uint64_t writes; // a bit for each
	uint64_t bytes, write_bytes;
};

/* Read the header; is the request one that is simply done? */
static inline bool header(struct turn *t, struct burst *b, unsigned i)
{
	uint64_t sector, off, len = b->data[i].iov_len;
	bool write = !b->in[i];
	struct blk_header h;

	memcpy(&h, b->hdr[i], sizeof(h)); // the only look at it
	sector = dpu_le64_get(h.sector);
	if (unlikely(dpu_le32_get(h.type) != (write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN)))
		return false;
	off = sector * BLK_SECTOR;
	if (unlikely(((off | len) & t->unaligned) != 0 || len > t->size_max))
		return false;
	if (unlikely(sector > t->sectors || len > t->sectors * BLK_SECTOR - off))
		return false;
	if (unlikely(write && t->read_only))
		return false;
	b->off[i] = off;
	b->used[i] = write ? 1 : (uint32_t)len + 1;
	t->bytes += len;
	if (write) {
		t->writes |= 1ULL << i;
		t->write_bytes += len;
	}
	return true;
}

/* Requests that are simply done, at most n and none after those that fill the turn. */
static inline unsigned headers(struct blk_queue *bq, struct burst *b, unsigned n, struct turn *out)
{
	const struct vho_blk *blk = bq->blk;
	uint64_t room = bq->turn_bytes < BLK_TURN_BYTES ? BLK_TURN_BYTES - bq->turn_bytes : 0;
	struct turn t = {
		.sectors = atomic_load_explicit(&blk->sectors, memory_order_relaxed),
		.unaligned = blk->block_mask | (BLK_SECTOR - 1),
		.size_max = bq->size_max,
		.read_only = blk->read_only,
	};
	unsigned k;

	for (k = 0; k < n && t.bytes < room; k++) {
		if (unlikely(!header(&t, b, k))) {
			b->odd = true;
			break;
		}
	}
	*out = t;
	return k;
}

/*
 * n requests are in flight from here on. False: one of them is for vho_queue_pop() to say what is
 * wrong, and none is.
 */
static bool pop(struct vho_queue *q, struct burst *b, unsigned n)
{
	unsigned done;

	if (!q->packed) {
		for (unsigned i = 0; i < n; i++)
			vho_inflight_split_pop(q->inflight, b->id[i]);
		return true;
	}
	done = pop_packed(q->inflight, b, n);
	if (unlikely(done < n && done > 0))
		vho_inflight_packed_unpop(q->inflight, b->entry[0], b->entry, done);
	return done == n;
}

static inline void count(struct blk_queue *bq, const struct turn *t, unsigned n)
{
	unsigned writes = t->writes ? (unsigned)__builtin_popcountll(t->writes) : 0;
	struct vho_blk_stats *s = &bq->stats;

	dpu_counter_add(&bq->q->stats.requests, n);
	dpu_counter_add(&bq->q->stats.bytes, t->bytes);
	if (n > writes) {
		dpu_counter_add(&s->reads, n - writes);
		dpu_counter_add(&s->read_bytes, t->bytes - t->write_bytes);
	}
	if (writes > 0) {
		dpu_counter_add(&s->writes, writes);
		dpu_counter_add(&s->write_bytes, t->write_bytes);
	}
}

bool blk_burst_ok(const struct blk_queue *bq)
{
	const struct vho_queue *q = bq->q;

	return q->mem && !q->broken && !vho_queue_faulted(q) && !q->watched && q->batch_len == 0 &&
	       (!q->in_order || q->pop_order == q->push_order) &&
	       (!q->inflight ||
		       (q->resubmit_next == q->inflight->n_resubmit &&
			       !atomic_load_explicit(q->inflight->faulted, memory_order_relaxed)));
}

unsigned blk_burst(struct blk_queue *bq, void *chan, unsigned budget, bool *odd)
{
	unsigned max = budget < BLK_BURST ? budget : BLK_BURST, n;
	const struct vho_blk *blk = bq->blk;
	struct vho_queue *q = bq->q;
	struct burst b;
	struct turn t;

	b.odd = false;
	n = q->packed ? parts_packed(q, &b, max, &bq->lone) : parts_split(q, &b, max, &bq->lone);
	n = headers(bq, &b, n, &t);
	*odd = b.odd;
	if (n == 0)
		return 0;
	if (q->inflight && !pop(q, &b, n)) {
		*odd = true;
		return 0;
	}
	if (unlikely(!blk->ops->at_once(blk->store, chan, n, b.off, b.data, t.writes))) {
		if (q->inflight && q->packed) // split: the next pop marks the same again
			vho_inflight_packed_unpop(q->inflight, b.entry[0], b.entry, n);
		*odd = true;
		return 0;
	}
	bq->turn_bytes += t.bytes;
	count(bq, &t, n);
	// All of these before the ring's lines: stores leave in order, and the other way each of
	// them would wait for one of those.
	for (unsigned i = 0; i < n; i++)
		*b.status[i] = VIRTIO_BLK_S_OK;
	if (q->packed)
		finish_packed(q, &b, n);
	else
		finish_split(q, &b, n);
	note_lone(q, &b, n, &bq->lone);
	return n;
}
