// SPDX-License-Identifier: Apache-2.0
/* One virtio-blk request: parse what the guest wrote, hand it to the store, answer. */
#include "blk_req.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "queue.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
/* 5.2.6; the headers of some systems do not know them. */
#define T_GET_LIFETIME 10
#define T_SECURE_ERASE 14

/* ---- slots ---- */

int blk_pool_create(struct blk_queue *bq, unsigned n, uint16_t iov_max, struct blk_pool **out)
{
	struct blk_pool *p = dpu_aligned_calloc(
		64, 1, sizeof(*p) + (size_t)n * sizeof(struct blk_req));

	if (!p)
		return -ENOMEM;
	p->iov = dpu_calloc((size_t)n * iov_max, sizeof(*p->iov));
	if (!p->iov) {
		free(p);
		return -ENOMEM;
	}
	p->bq = bq;
	p->n_slots = n;
	p->iov_max = iov_max;
	for (unsigned i = n; i-- > 0;) {
		struct blk_req *r = &p->req[i];

		r->pool = p;
		r->iov = p->iov + (size_t)i * iov_max;
		r->next_free = p->free;
		p->free = r;
	}
	*out = p;
	return 0;
}

void blk_pool_destroy(struct blk_pool *pool)
{
	if (!pool)
		return;
	vho_mem_put(pool->mem);
	free(pool->iov);
	free(pool);
}

void blk_pool_abandon(struct blk_queue *bq)
{
	struct blk_pool *p = bq->pool;

	if (!p || p->n_busy == 0)
		return;
	p->mem = vho_mem_get(bq->q->mem);
	p->bq = NULL;
	bq->pool = NULL;
}

/* ---- answers ---- */

/*
 * Write the status, push, free the slot. `data` is how many bytes from the start of the in segments
 * hold an answer; the status byte adds to used.len only when it follows them without a gap.
 */
static inline void answer(struct blk_queue *bq, struct blk_req *r, uint8_t status, uint64_t data)
{
	struct blk_pool *p = r->pool;
	uint64_t written = data;

	if (likely(r->status)) {
		*(volatile uint8_t *)r->status = status;
		if (data == r->in_len - 1)
			written++;
	}
	if (r->cut)
		r->cut->iov_len++; // the status byte is part of what the dirty log hears about
	vho_queue_push(bq->q, &r->elem, (uint32_t)written);
	bq->pushed++;
	p->n_busy--;
	p->bytes -= r->bytes;
	r->next_free = p->free;
	p->free = r;
	// The last one, and not in a turn of the queue: nothing comes that could go with it.
	if (p->n_busy == 0 && !bq->turning) {
		vho_queue_publish(bq->q);
		vho_queue_notify(bq->q);
		bq->pushed = 0;
	}
}

static void refuse(struct blk_queue *bq, struct blk_req *r, enum vho_blk_error why)
{
	dpu_counter_add(&bq->stats.errors[why], 1);
	answer(bq, r, why == VHO_BLK_ERR_UNSUPPORTED ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR, 0);
}

/* The store answered a request that nobody waits for any more. */
static void swallow(struct blk_pool *p)
{
	if (--p->n_busy == 0)
		blk_pool_destroy(p);
}

static void count(struct blk_queue *bq, const struct vho_blk_io *io)
{
	struct vho_blk_stats *s = &bq->stats;

	switch (io->op) {
	case VHO_BLK_READ:
		dpu_counter_add(&s->reads, 1);
		dpu_counter_add(&s->read_bytes, io->len);
		dpu_counter_add(&bq->q->stats.bytes, io->len);
		break;
	case VHO_BLK_WRITE:
		dpu_counter_add(&s->writes, 1);
		dpu_counter_add(&s->write_bytes, io->len);
		dpu_counter_add(&bq->q->stats.bytes, io->len);
		break;
	case VHO_BLK_FLUSH:
		dpu_counter_add(&s->flushes, 1);
		break;
	case VHO_BLK_DISCARD:
		dpu_counter_add(&s->discards, 1);
		break;
	case VHO_BLK_WRITE_ZEROES:
		dpu_counter_add(&s->zeroes, 1);
		break;
	case VHO_BLK_SECURE_ERASE:
		dpu_counter_add(&s->erases, 1);
		break;
	}
}

void vho_blk_io_done(struct vho_blk_io *io, int err)
{
	struct blk_req *r = (struct blk_req *)io;
	struct blk_queue *bq = r->pool->bq;

	if (unlikely(!bq)) {
		swallow(r->pool);
		return;
	}
	if (unlikely(err != 0)) {
		refuse(bq, r, err == -ENOTSUP ? VHO_BLK_ERR_UNSUPPORTED : VHO_BLK_ERR_STORE);
		return;
	}
	count(bq, io);
	answer(bq, r, VIRTIO_BLK_S_OK, io->op == VHO_BLK_READ ? io->len : 0);
}

/* ---- parsing ---- */

/*
 * Take n bytes off the front of segments [*first, end), copying them; they are read exactly once.
 */
static bool take_front(struct iovec *iov, unsigned *first, unsigned end, void *to, size_t n)
{
	uint8_t *p = to;

	for (; n > 0 && *first < end; ++*first) {
		struct iovec *v = &iov[*first];
		size_t part = v->iov_len < n ? v->iov_len : n;

		memcpy(p, v->iov_base, part);
		p += part;
		n -= part;
		if (part < v->iov_len) {
			v->iov_base = (uint8_t *)v->iov_base + part;
			v->iov_len -= part;
			break;
		}
	}
	return n == 0;
}

/* Take the last byte of segments [first, *end): where the status goes. NULL: there is none. */
static uint8_t *take_status(struct blk_req *r, unsigned first, unsigned *end)
{
	struct iovec *v;

	r->cut = NULL;
	if (unlikely(*end == first)) // the engine hands out no empty segments
		return NULL;
	v = &r->iov[*end - 1];
	if (likely(v->iov_len == 1)) {
		--*end;
		return v->iov_base;
	}
	r->cut = v;
	v->iov_len--;
	return (uint8_t *)v->iov_base + v->iov_len;
}

static bool in_range(const struct vho_blk *blk, uint64_t sector, uint64_t n)
{
	uint64_t sectors = atomic_load_explicit(&blk->sectors, memory_order_relaxed);

	return sector <= sectors && n <= sectors - sector;
}

/* Hand the request over. The caller touches it no more: it may be answered by now. */
static void submit(struct blk_queue *bq, struct blk_req *r, void *chan)
{
	const struct vho_blk *blk = bq->blk;
	struct vho_blk_io *io = &r->io;

	// What is discarded is not written, at whatever size.
	r->bytes = io->op == VHO_BLK_DISCARD ? 0 : io->len;
	r->pool->bytes += r->bytes;
	bq->turn_bytes += r->bytes;
	blk->ops->submit(blk->store, chan, io);
}

/* A request between parsing and the store: data segments are iov[first, end), `len` bytes. */
struct span {
	unsigned first, end;
	uint64_t len;
};

/*
 * Data segments as the driver counts them: a buffer that crosses from one memory region into the
 * next is several entries here and one there.
 */
static unsigned segments(const struct blk_queue *bq, const struct blk_req *r, struct span d)
{
	const struct vho_mem *mem = bq->q->mem;
	unsigned n = d.end - d.first;
	uint64_t a, b;

	if (bq->q->iotlb)
		return 0; // pages of one buffer may lie anywhere: the driver's count is not known

	for (unsigned i = d.first + 1; i < d.end; i++) {
		const struct iovec *v = &r->iov[i - 1];
		const struct vho_mem_map_entry *e;

		if (vho_mem_host_to_gpa(mem, v->iov_base, &a) < 0 ||
			vho_mem_host_to_gpa(mem, r->iov[i].iov_base, &b) < 0)
			continue;
		e = vho_mem_find(mem, b);
		if (e && b == e->gpa && a + v->iov_len == b)
			n--;
	}
	return n;
}

/* Is a segment longer than size_max? */
static bool too_long(const struct blk_queue *bq, const struct blk_req *r, struct span d)
{
	for (unsigned i = d.first; i < d.end; i++)
		if (r->iov[i].iov_len > bq->size_max)
			return true;
	return false;
}

static void transfer(struct blk_queue *bq, struct blk_req *r, enum vho_blk_op op, uint64_t sector,
	struct span d, void *chan)
{
	struct vho_blk *blk = bq->blk;
	struct vho_blk_io *io = &r->io;

	if (unlikely(d.len == 0 || (d.len & (BLK_SECTOR - 1)) != 0)) {
		refuse(bq, r, VHO_BLK_ERR_MALFORMED);
		return;
	}
	if (unlikely(!in_range(blk, sector, d.len / BLK_SECTOR))) {
		refuse(bq, r, VHO_BLK_ERR_RANGE);
		return;
	}
	if (unlikely(((sector * BLK_SECTOR | d.len) & blk->block_mask) != 0)) {
		refuse(bq, r, VHO_BLK_ERR_MALFORMED);
		return;
	}
	if (unlikely((d.end - d.first > blk->seg_max && segments(bq, r, d) > blk->seg_max) ||
		     d.len > BLK_REQUEST_BYTES ||
		     (bq->size_max != UINT32_MAX && too_long(bq, r, d)))) {
		refuse(bq, r, VHO_BLK_ERR_LIMIT);
		return;
	}
	io->op = op;
	io->unmap = false;
	io->fua = op == VHO_BLK_WRITE && blk->limits.flush &&
		  !atomic_load_explicit(&blk->writeback, memory_order_relaxed);
	io->off = sector * BLK_SECTOR;
	io->len = d.len;
	io->iov = r->iov + d.first;
	io->n_iov = d.end - d.first;
	submit(bq, r, chan);
}

static void flush(struct blk_queue *bq, struct blk_req *r, void *chan)
{
	struct vho_blk *blk = bq->blk;

	r->io.op = VHO_BLK_FLUSH;
	r->io.unmap = r->io.fua = false;
	r->io.off = r->io.len = 0;
	r->io.iov = NULL;
	r->io.n_iov = 0;
	if (blk->limits.flush)
		submit(bq, r, chan);
	else
		vho_blk_io_done(&r->io, 0);
}

/* Write up to n bytes to the data segments; how many there was room for. */
static uint64_t put_data(const struct blk_req *r, struct span d, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;
	uint64_t left = d.len < n ? d.len : n;

	n = left;
	for (unsigned i = d.first; i < d.end && left > 0; i++) {
		size_t part = r->iov[i].iov_len < left ? r->iov[i].iov_len : left;

		memcpy(r->iov[i].iov_base, at, part);
		at += part;
		left -= part;
	}
	return n;
}

static void get_id(struct blk_queue *bq, struct blk_req *r, struct span d)
{
	uint64_t n = put_data(r, d, bq->blk->serial, BLK_ID_LEN);

	dpu_counter_add(&bq->stats.get_ids, 1);
	answer(bq, r, VIRTIO_BLK_S_OK, n);
}

/* 5.2.6.2. What was known once and is not any more is 0: not defined. */
static void get_lifetime(struct blk_queue *bq, struct blk_req *r, struct span out, struct span d)
{
	const struct vho_blk *blk = bq->blk;
	struct vho_blk_lifetime l;
	struct blk_lifetime w = { 0 };

	if (!bq->lifetime) {
		refuse(bq, r, VHO_BLK_ERR_UNSUPPORTED);
		return;
	}
	if (out.len != 0 || d.len != sizeof(w)) {
		refuse(bq, r, VHO_BLK_ERR_MALFORMED);
		return;
	}
	if (blk->ops->lifetime(blk->store, &l))
		w = (struct blk_lifetime){
			.pre_eol_info = dpu_le16_put(l.pre_eol_info),
			.est_typ_a = dpu_le16_put(l.est_typ_a),
			.est_typ_b = dpu_le16_put(l.est_typ_b),
		};
	dpu_counter_add(&bq->stats.get_lifetimes, 1);
	answer(bq, r, VIRTIO_BLK_S_OK, put_data(r, d, &w, sizeof(w)));
}

/* How many sectors a range may have; 0: the operation is not there. */
static uint32_t range_max(const struct blk_queue *bq, enum vho_blk_op op)
{
	const struct vho_blk_limits *l = &bq->blk->limits;

	return op == VHO_BLK_DISCARD	    ? l->max_discard_sectors
	       : op == VHO_BLK_WRITE_ZEROES ? l->max_zeroes_sectors
					    : bq->max_erase;
}

/* What is wrong with a range; VHO_BLK_ERR_COUNT: nothing. */
static enum vho_blk_error check_range(
	const struct blk_queue *bq, enum vho_blk_op op, uint64_t sector, uint64_t n, uint32_t flags)
{
	uint32_t known = op == VHO_BLK_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	const struct vho_blk *blk = bq->blk;

	// 5.2.6.2: unknown flags, and unmap on a discard, are UNSUPP. Unmapping erases nothing,
	// and the flag is only used with zeroes, so it is unknown to an erasure, too.
	if ((flags & ~known) != 0)
		return VHO_BLK_ERR_UNSUPPORTED;
	if (n > range_max(bq, op))
		return VHO_BLK_ERR_LIMIT;
	if (!in_range(blk, sector, n))
		return VHO_BLK_ERR_RANGE;
	if (((sector * BLK_SECTOR | n * BLK_SECTOR) & blk->block_mask) != 0)
		return VHO_BLK_ERR_MALFORMED;
	return VHO_BLK_ERR_COUNT;
}

/* DISCARD, WRITE_ZEROES, SECURE_ERASE: one range per request, as configuration space says. */
static void change_range(
	struct blk_queue *bq, struct blk_req *r, enum vho_blk_op op, struct span d, void *chan)
{
	const struct vho_blk *blk = bq->blk;
	struct blk_range w;
	enum vho_blk_error why;

	if (range_max(bq, op) == 0) {
		refuse(bq, r, VHO_BLK_ERR_UNSUPPORTED);
		return;
	}
	if (d.len != sizeof(w) || !take_front(r->iov, &d.first, d.end, &w, sizeof(w))) {
		why = d.len > sizeof(w) && d.len % sizeof(w) == 0 ? VHO_BLK_ERR_LIMIT
								  : VHO_BLK_ERR_MALFORMED;
		refuse(bq, r, why);
		return;
	}
	uint64_t sector = dpu_le64_get(w.sector);
	uint64_t n = dpu_le32_get(w.n_sectors);
	uint32_t flags = dpu_le32_get(w.flags);

	why = check_range(bq, op, sector, n, flags);
	if (why != VHO_BLK_ERR_COUNT) {
		refuse(bq, r, why);
		return;
	}
	r->io.op = op;
	r->io.unmap = (flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
	r->io.fua = op == VHO_BLK_SECURE_ERASE ||
		    (op == VHO_BLK_WRITE_ZEROES && blk->limits.flush &&
			    !atomic_load_explicit(&blk->writeback, memory_order_relaxed));
	r->io.off = sector * BLK_SECTOR;
	r->io.len = n * BLK_SECTOR;
	r->io.iov = NULL;
	r->io.n_iov = 0;
	if (n == 0)
		vho_blk_io_done(&r->io, 0);
	else
		submit(bq, r, chan);
}

static void start_change(struct blk_queue *bq, struct blk_req *r, uint32_t type, uint64_t sector,
	struct span out, void *chan)
{
	if (bq->blk->read_only) {
		refuse(bq, r, VHO_BLK_ERR_READ_ONLY);
		return;
	}
	if (r->in_len != 1) { // a buffer to be written where nothing is to be said
		refuse(bq, r, VHO_BLK_ERR_MALFORMED);
		return;
	}
	if (type == VIRTIO_BLK_T_OUT)
		transfer(bq, r, VHO_BLK_WRITE, sector, out, chan);
	else if (type == VIRTIO_BLK_T_DISCARD)
		change_range(bq, r, VHO_BLK_DISCARD, out, chan);
	else if (type == VIRTIO_BLK_T_WRITE_ZEROES)
		change_range(bq, r, VHO_BLK_WRITE_ZEROES, out, chan);
	else
		change_range(bq, r, VHO_BLK_SECURE_ERASE, out, chan);
}

void blk_req_start(struct blk_queue *bq, struct blk_req *r, const struct vho_chain *c, void *chan)
{
	struct span out = { .first = 0, .end = c->n_out };
	struct span in = { .first = c->n_out, .end = (unsigned)c->n_out + c->n_in };
	struct blk_header h;

	r->elem = c->elem;
	r->in_len = c->in_len;
	r->bytes = 0;
	r->pool->n_busy++;
	r->status = take_status(r, in.first, &in.end);
	if (unlikely(!r->status || !take_front(r->iov, &out.first, out.end, &h, sizeof(h)))) {
		refuse(bq, r, VHO_BLK_ERR_MALFORMED);
		return;
	}
	out.len = c->out_len - BLK_HEADER_LEN;
	in.len = c->in_len - 1;

	uint32_t type = dpu_le32_get(h.type);
	uint64_t sector = dpu_le64_get(h.sector);

	switch (type) {
	case VIRTIO_BLK_T_IN:
		// Data the guest only lets us read is not written, and not skipped over either.
		if (unlikely(out.len != 0))
			refuse(bq, r, VHO_BLK_ERR_MALFORMED);
		else
			transfer(bq, r, VHO_BLK_READ, sector, in, chan);
		return;
	case VIRTIO_BLK_T_OUT:
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
	case T_SECURE_ERASE:
		start_change(bq, r, type, sector, out, chan);
		return;
	case VIRTIO_BLK_T_FLUSH:
		flush(bq, r, chan);
		return;
	case VIRTIO_BLK_T_GET_ID:
		get_id(bq, r, in);
		return;
	case T_GET_LIFETIME:
		get_lifetime(bq, r, out, in);
		return;
	default:
		refuse(bq, r, VHO_BLK_ERR_UNSUPPORTED);
		return;
	}
}
