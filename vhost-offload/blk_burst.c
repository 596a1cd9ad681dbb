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
	uint64_t writes; // a bit for each
	uint64_t read_bytes, write_bytes;
	uint32_t n_slots_sum; // packed
	bool odd; // what comes behind these is for vho_queue_pop()
};

static inline void fetch(const volatile void *p, size_t len)
{
	uintptr_t at = (uintptr_t)p;

	__builtin_prefetch((const void *)at);
	if ((at ^ (at + len - 1)) & ~(uintptr_t)(VHO_LINE - 1))
		__builtin_prefetch((const void *)(at + len - 1));
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
		fetch(l->desc, sizeof(struct vring_desc));
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

/* ---- one request's parts: false is odd ---- */

static inline bool add_header(
	struct vho_queue *q, struct burst *b, unsigned i, uint64_t addr, uint32_t len)
{
	b->hdr[i] = vho_mem_at_hint(q->mem, &q->last_region, addr, BLK_HEADER_LEN);
	return len == BLK_HEADER_LEN && b->hdr[i];
}

static inline bool add_data(struct vho_queue *q, struct burst *b, unsigned i, uint64_t addr,
	uint32_t len, uint16_t flags)
{
	void *p = vho_mem_at_hint(q->mem, &q->last_region, addr, len);

	b->data[i] = (struct iovec){ .iov_base = p, .iov_len = len };
	b->in[i] = flags & VRING_DESC_F_WRITE;
	return p && len > 0 && len <= BLK_BURST_BYTES;
}

static inline bool add_status(
	struct vho_queue *q, struct burst *b, unsigned i, uint64_t addr, uint32_t len)
{
	b->status[i] = vho_mem_at_hint(q->mem, &q->last_region, addr, 1);
	return len == 1 && b->status[i];
}

/* An indirect table of three, which the next stage reads. */
static inline bool add_table(
	struct vho_queue *q, struct burst *b, unsigned i, uint64_t addr, uint32_t len)
{
	if (!q->indirect || len != TABLE_LEN)
		return false;
	b->table[i] = vho_mem_at_hint(q->mem, &q->last_region, addr, len);
	if (!b->table[i])
		return false;
	fetch(b->table[i], TABLE_LEN);
	return true;
}

/* ---- split ---- */

/* Requests that wait, at most max: their heads. */
static inline unsigned heads_split(
	struct vho_queue *q, struct burst *b, unsigned max, const struct blk_lone *lone)
{
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
		b->id[i] = vho_load16(&q->avail->ring[(uint16_t)(next + i) & mask]);
		if (unlikely(b->id[i] >= q->size)) {
			b->odd = true;
			break;
		}
		fetch(&q->desc[b->id[i]], sizeof(q->desc[0]));
	}
	for (unsigned k = 0; k < i; k += VHO_LINE / sizeof(struct vring_used_elem))
		vho_prefetch_write(&q->used->ring[(uint16_t)(q->next_used + k) & mask]);
	return i;
}

static inline bool first_split(struct vho_queue *q, struct burst *b, unsigned i)
{
	struct vring_desc d = vho_load_desc(&q->desc[b->id[i]]);

	if (vho_is_indirect(d.flags))
		return add_table(q, b, i, d.addr, d.len);
	b->table[i] = NULL;
	b->next[i] = d.next;
	return (d.flags & VHO_SHAPE) == VRING_DESC_F_NEXT && add_header(q, b, i, d.addr, d.len);
}

/* Data and status behind the header, whose descriptors are those of one table. */
static inline bool rest_split(struct vho_queue *q, struct burst *b, unsigned i)
{
	const volatile struct vring_desc *t = b->table[i] ? b->table[i] : q->desc;
	uint32_t size, at;
	struct vring_desc d;

	if (b->table[i]) {
		d = vho_load_desc(&t[0]);
		if ((d.flags & VHO_SHAPE) != VRING_DESC_F_NEXT ||
			!add_header(q, b, i, d.addr, d.len))
			return false;
		size = 3;
		at = d.next;
	} else {
		size = q->size;
		at = b->next[i];
	}
	if (at >= size)
		return false;
	d = vho_load_desc(&t[at]);
	if ((d.flags & (VHO_SHAPE & ~VRING_DESC_F_WRITE)) != VRING_DESC_F_NEXT || d.next >= size ||
		!add_data(q, b, i, d.addr, d.len, d.flags))
		return false;
	d = vho_load_desc(&t[d.next]);
	return (d.flags & VHO_SHAPE) == VRING_DESC_F_WRITE && add_status(q, b, i, d.addr, d.len);
}

static void finish_split(struct vho_queue *q, const struct burst *b, unsigned n)
{
	uint16_t at = q->next_used;

	for (unsigned i = 0; i < n; i++) {
		vho_split_use(q, (uint16_t)(at + i), b->id[i], b->used[i]);
		if (q->inflight)
			vho_inflight_split_push(q->inflight, b->id[i]);
	}
	q->next_avail = (uint16_t)(q->next_avail + n);
	q->next_used = (uint16_t)(at + n);
	vho_split_publish(q);
}

/* ---- packed ---- */

/* As heads_split() and first_split() together: the next request begins where this one ends. */
static inline unsigned firsts_packed(
	struct vho_queue *q, struct burst *b, unsigned max, const struct blk_lone *lone)
{
	uint16_t at = q->next_avail;
	bool wrap = q->avail_wrap;
	uint32_t slots = 0;
	unsigned i;

	for (i = 0; i < max && slots < q->size; i++) {
		uint16_t flags = vho_load_acquire16(&q->pdesc[at].flags);
		struct vring_packed_desc d;

		if (!vho_packed_avail(flags, wrap))
			break;
		if (i == 0)
			fetch_alike(lone);
		d = vho_load_pdesc(&q->pdesc[at], flags);
		if (q->inflight)
			b->list[i][0] = d;
		b->id[i] = d.id;
		b->next[i] = at;
		b->n_slots[i] = vho_is_indirect(flags) ? 1 : 3;
		b->table[i] = NULL;
		b->odd = vho_is_indirect(flags)
				 ? d.id >= q->size || !add_table(q, b, i, d.addr, d.len)
				 : (flags & VHO_SHAPE) != VRING_DESC_F_NEXT ||
					   slots + 3 > q->size ||
					   !add_header(q, b, i, d.addr, d.len);
		if (unlikely(b->odd))
			break;
		slots += b->n_slots[i];
		vho_packed_advance(q->size, &at, &wrap, b->n_slots[i]);
	}
	return i;
}

static inline bool rest_table_packed(struct vho_queue *q, struct burst *b, unsigned i)
{
	const volatile struct vring_packed_desc *t = b->table[i];
	struct vring_packed_desc d[3];

	for (unsigned k = 0; k < 3; k++) {
		d[k] = vho_load_ptable(&t[k]); // NEXT is reserved
		if (d[k].flags & VRING_DESC_F_INDIRECT)
			return false;
	}
	return !(d[0].flags & VRING_DESC_F_WRITE) && (d[2].flags & VRING_DESC_F_WRITE) &&
	       add_header(q, b, i, d[0].addr, d[0].len) &&
	       add_data(q, b, i, d[1].addr, d[1].len, d[1].flags) &&
	       add_status(q, b, i, d[2].addr, d[2].len);
}

static inline bool rest_packed(struct vho_queue *q, struct burst *b, unsigned i)
{
	struct vring_packed_desc d;
	uint32_t at = b->next[i];

	if (b->table[i])
		return rest_table_packed(q, b, i);
	at = at + 1 == q->size ? 0 : at + 1;
	d = vho_load_pdesc(&q->pdesc[at], vho_load16(&q->pdesc[at].flags));
	if (q->inflight)
		b->list[i][1] = d;
	if ((d.flags & (VHO_SHAPE & ~VRING_DESC_F_WRITE)) != VRING_DESC_F_NEXT ||
		!add_data(q, b, i, d.addr, d.len, d.flags))
		return false;
	at = at + 1 == q->size ? 0 : at + 1;
	d = vho_load_pdesc(&q->pdesc[at], vho_load16(&q->pdesc[at].flags));
	if (q->inflight)
		b->list[i][2] = d;
	b->id[i] = d.id; // that of the last element counts (2.8.6)
	return (d.flags & VHO_SHAPE) == VRING_DESC_F_WRITE && d.id < q->size &&
	       add_status(q, b, i, d.addr, d.len);
}

/* Note request i in the inflight region. False: the region is not as we left it. */
static bool pop_packed(struct vho_inflight_queue *iq, struct burst *b, unsigned i)
{
	unsigned n = b->n_slots[i];

	for (unsigned k = 0; k < n; k++)
		if (unlikely(!vho_inflight_packed_pop(
			    iq, &b->list[i][k], k == 0, k + 1 == n, &b->entry[i]))) {
			if (k > 0)
				vho_inflight_packed_unpop(iq, b->entry[i], &b->entry[i], 1);
			return false;
		}
	return true;
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

/* Requests with all their parts, at most max; the lines of header and status are on their way. */
static inline unsigned parts(
	struct vho_queue *q, struct burst *b, unsigned max, const struct blk_lone *lone)
{
	unsigned n = q->packed ? firsts_packed(q, b, max, lone) : heads_split(q, b, max, lone);

	for (unsigned i = 0; !q->packed && i < n; i++) {
		if (unlikely(!first_split(q, b, i))) {
			b->odd = true;
			n = i;
		}
	}
	for (unsigned i = 0; i < n; i++) {
		if (unlikely(!(q->packed ? rest_packed(q, b, i) : rest_split(q, b, i)))) {
			b->odd = true;
			return i;
		}
		vho_prefetch_write(b->status[i]);
		fetch(b->hdr[i], BLK_HEADER_LEN);
	}
	return n;
}

/* Read the header; is the request one that is simply done? */
static inline bool header(struct blk_queue *bq, struct burst *b, unsigned i, uint64_t sectors)
{
	const struct vho_blk *blk = bq->blk;
	uint64_t sector, len = b->data[i].iov_len;
	struct blk_header h;
	bool write = !b->in[i];

	memcpy(&h, b->hdr[i], sizeof(h)); // the only look at it
	sector = dpu_le64_get(h.sector);

	if (unlikely(dpu_le32_get(h.type) != (write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN)))
		return false;
	if (unlikely((len & (BLK_SECTOR - 1)) != 0 || sector > sectors ||
		     len / BLK_SECTOR > sectors - sector))
		return false;
	if (unlikely(((sector * BLK_SECTOR | len) & blk->block_mask) != 0))
		return false;
	if (unlikely(len > bq->size_max || (write && blk->read_only)))
		return false;
	b->off[i] = sector * BLK_SECTOR;
	b->used[i] = write ? 1 : (uint32_t)len + 1;
	b->writes |= (uint64_t)write << i;
	b->write_bytes += write ? len : 0;
	b->read_bytes += write ? 0 : len;
	bq->turn_bytes += len;
	return true;
}

/* From here on the request is in flight. False: it is for vho_queue_pop() to say what is wrong. */
static inline bool pop(struct vho_queue *q, struct burst *b, unsigned i)
{
	if (q->packed)
		return pop_packed(q->inflight, b, i);
	vho_inflight_split_pop(q->inflight, b->id[i]);
	return true;
}

static inline void count(struct blk_queue *bq, const struct burst *b, unsigned n)
{
	struct vho_blk_stats *s = &bq->stats;
	unsigned writes = (unsigned)__builtin_popcountll(b->writes);

	dpu_counter_add(&bq->q->stats.requests, n);
	dpu_counter_add(&bq->q->stats.bytes, b->read_bytes + b->write_bytes);
	if (n > writes) {
		dpu_counter_add(&s->reads, n - writes);
		dpu_counter_add(&s->read_bytes, b->read_bytes);
	}
	if (writes > 0) {
		dpu_counter_add(&s->writes, writes);
		dpu_counter_add(&s->write_bytes, b->write_bytes);
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
	const struct vho_blk *blk = bq->blk;
	uint64_t sectors = atomic_load_explicit(&blk->sectors, memory_order_relaxed);
	uint64_t turn_bytes = bq->turn_bytes;
	struct vho_queue *q = bq->q;
	struct burst b;
	unsigned n, k;

	b.writes = b.read_bytes = b.write_bytes = 0;
	b.odd = false;
	n = parts(q, &b, budget < BLK_BURST ? budget : BLK_BURST, &bq->lone);
	for (k = 0; k < n && bq->turn_bytes < BLK_TURN_BYTES; k++) {
		if (unlikely(!header(bq, &b, k, sectors))) {
			b.odd = true;
			break;
		}
		if (q->inflight && !pop(q, &b, k)) {
			b.odd = true;
			break;
		}
	}
	*odd = b.odd;
	if (k == 0)
		return 0;
	if (unlikely(!blk->ops->at_once(blk->store, chan, k, b.off, b.data, b.writes))) {
		bq->turn_bytes = turn_bytes;
		if (q->inflight && q->packed) // split: the next pop marks the same again
			vho_inflight_packed_unpop(q->inflight, b.entry[0], b.entry, k);
		*odd = true;
		return 0;
	}
	count(bq, &b, k);
	for (unsigned i = 0; i < k; i++)
		*b.status[i] = VIRTIO_BLK_S_OK;
	if (q->packed)
		finish_packed(q, &b, k);
	else
		finish_split(q, &b, k);
	note_lone(q, &b, k, &bq->lone);
	return k;
}
