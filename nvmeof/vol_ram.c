// SPDX-License-Identifier: Apache-2.0
/*
 * A volume in memory. Address space for growth is reserved when it is opened, so that a resize
 * never moves blocks under a worker; pages are allocated as they are written, or all beforehand.
 * Huge pages come only then: clearing one takes a worker as long as hundreds of requests, and
 * whoever writes one block and discards it could ask for that over and over.
 *
 * Blocks are copied on the worker, which has others to serve: a request longer than one slice
 * stands in its channel's list, and each kick or poll of the channel takes the first one a slice
 * further.
 *
 * What is written to a volume that no cache holds goes past the caches: its lines are not fetched
 * only to be overwritten, and push nothing out that is used sooner.
 */
#include "vol_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "dpu_alloc.h"

/* The headers of some systems do not know it. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define GROWTH 16 // reserve this many times the first size
#define RESERVE_MIN (64ULL << 30)
#define RESERVE_MAX (1ULL << 44)
#define PAGE 4096ULL
#define SLICE (256ULL << 10) // bytes copied or zeroed at once
/* A volume up to this size may stay in what a core has of the caches. */
#define CACHED_MAX (16ULL << 20)
#define LINE 64u
#define AHEAD 8u // lines of the next read to fetch; behind them the CPU does it by itself
#define DROP_SLICE (4ULL << 20) // bytes of pages given back at once: a thousand pages

struct vol_ram {
	struct vol v;
	uint8_t *base; // owned mapping
	uint64_t reserved; // bytes
	bool prealloc;
};

struct ram_chan {
	struct vol_chan c;
	struct vol_io *head, **tail; // longer than a slice, oldest first
};

/* In vol_io.priv while the request is ours. */
struct ram_io {
	struct vol_io *next;
	uint64_t pos; // bytes finished
	unsigned iov_at; // first segment that is not finished
	size_t iov_off; // bytes of it that are
};

static_assert(sizeof(struct ram_io) <= VOL_IO_PRIV, "fits the request");

static struct vol_ram *ram(struct vol *v)
{
	return (struct vol_ram *)v;
}

/* ---- copying ---- */

/* Past the caches, and to be ordered by settle(). Whole lines at `to`. */
static void stream(uint8_t *to, const uint8_t *from, size_t len)
{
#ifdef __SSE2__
	for (size_t at = 0; at < len; at += LINE) {
		const __m128i *s = (const __m128i *)(const void *)(from + at);
		__m128i *d = (__m128i *)(void *)(to + at);
		__m128i a = _mm_loadu_si128(s), b = _mm_loadu_si128(s + 1);
		__m128i e = _mm_loadu_si128(s + 2), f = _mm_loadu_si128(s + 3);

		_mm_stream_si128(d, a);
		_mm_stream_si128(d + 1, b);
		_mm_stream_si128(d + 2, e);
		_mm_stream_si128(d + 3, f);
	}
#else
	memcpy(to, from, len);
#endif
}

/* What was streamed is seen before any later store. */
static void settle(void)
{
#ifdef __SSE2__
	_mm_sfence();
#endif
}

static bool streams(const struct vol *v)
{
	return atomic_load_explicit(&v->size, memory_order_relaxed) > CACHED_MAX;
}

static void put(uint8_t *to, const uint8_t *from, size_t len, bool past_caches)
{
	if (past_caches && (((uintptr_t)to | len) & (LINE - 1)) == 0)
		stream(to, from, len);
	else
		memcpy(to, from, len);
}

static void fetch(const uint8_t *p)
{
	for (unsigned i = 0; i < AHEAD; i++)
		__builtin_prefetch(p + (size_t)i * LINE);
}

static void ram_close(struct vol *v)
{
	munmap(ram(v)->base, ram(v)->reserved);
	vol_fini(v);
	free(v);
}

/* Make [off, off + len) read as zeros, giving whole pages back. */
static int drop(struct vol_ram *r, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	uint64_t first = (off + PAGE - 1) & ~(PAGE - 1);
	uint64_t last = end & ~(PAGE - 1);

	if (first >= last) {
		memset(r->base + off, 0, len);
		return 0;
	}
	memset(r->base + off, 0, first - off);
	memset(r->base + last, 0, end - last);
	if (madvise(r->base + first, last - first, MADV_DONTNEED) < 0)
		return -errno;
	return 0;
}

/* Take the memory of [from, to), which reads as zeros; pages that came before stay. */
static int populate(struct vol_ram *r, uint64_t from, uint64_t to)
{
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint8_t *p = r->base + (from & ~(PAGE - 1));
	uint64_t len = ((to + PAGE - 1) & ~(PAGE - 1)) - (from & ~(PAGE - 1));
	int ret = 0;

	if (to > machine)
		return -ENOMEM;
	(void)madvise(p, len, MADV_HUGEPAGE); // without them it is slower and no more
	if (madvise(p, len, MADV_POPULATE_WRITE) < 0)
		ret = errno == EINVAL ? 0 : -errno; // Linux before 5.14: as they are written
	(void)madvise(p, len, MADV_NOHUGEPAGE); // those that are there stay
	return ret;
}

static int ram_resize(struct vol *v, uint64_t size)
{
	uint64_t old = atomic_load_explicit(&v->size, memory_order_relaxed);
	uint64_t from = size < old ? size : old;
	int ret;

	if (size > ram(v)->reserved)
		return -ENOMEM;
	// A request that raced with an earlier shrink may have written beyond the end.
	ret = drop(ram(v), from, ram(v)->reserved - from);
	if (!ret && ram(v)->prealloc && size > old)
		ret = populate(ram(v), old, size);
	return ret;
}

static int ram_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct ram_chan *rc = dpu_calloc(1, sizeof(*rc));

	(void)v;
	(void)group;
	if (!rc)
		return -ENOMEM;
	rc->tail = &rc->head;
	*out = &rc->c;
	return 0;
}

static void ram_chan_close(struct vol_chan *c)
{
	free(c);
}

static struct ram_io *state(struct vol_io *io)
{
	return (struct ram_io *)io->priv;
}

/* Copy the next n bytes; -EINVAL: the segments are shorter than the request. */
static int copy(struct vol_ram *r, const struct vol_io *io, struct ram_io *s, uint64_t n)
{
	uint8_t *p = r->base + io->off + s->pos;
	bool past_caches = streams(&r->v);

	while (n > 0 && s->iov_at < io->n_iov) {
		const struct iovec *v = &io->iov[s->iov_at];
		size_t left = v->iov_len - s->iov_off, part = left < n ? left : n;
		uint8_t *at = (uint8_t *)v->iov_base + s->iov_off;

		if (io->op == VOL_READ)
			memcpy(at, p, part);
		else
			put(p, at, part, past_caches);
		p += part;
		n -= part;
		s->iov_off += part;
		if (part == left) {
			s->iov_at++;
			s->iov_off = 0;
		}
	}
	if (past_caches)
		settle();
	return n == 0 ? 0 : -EINVAL;
}

static bool drops(const struct vol_io *io)
{
	return io->op == VOL_DISCARD || (io->op == VOL_WRITE_ZEROES && io->unmap && !io->erase);
}

static uint64_t slice(const struct vol_io *io)
{
	return drops(io) ? DROP_SLICE : SLICE;
}

/* One slice of a request. Its end is a page's, so that no page lies in two of them. */
static int step(struct vol_ram *r, struct vol_io *io, struct ram_io *s)
{
	uint64_t at = io->off + s->pos, n = io->len - s->pos;
	int err = 0;

	if (n > slice(io))
		n = ((at + slice(io)) & ~(PAGE - 1)) - at;
	if (drops(io))
		err = drop(r, at, n);
	else if (io->op == VOL_WRITE_ZEROES)
		memset(r->base + at, 0, n);
	else
		err = copy(r, io, s, n);
	s->pos += n;
	return err;
}

static void ram_submit(struct vol_chan *c, struct vol_io *io)
{
	struct ram_chan *rc = (struct ram_chan *)c;
	struct ram_io *s = state(io);

	*s = (struct ram_io){ 0 };
	if (io->op == VOL_FLUSH) {
		vol_io_end(c, io, 0);
	} else if (io->len <= slice(io)) {
		vol_io_end(c, io, step(ram(c->v), io, s));
	} else {
		*rc->tail = io;
		rc->tail = &s->next;
	}
}

static void ram_at_once(struct vol_chan *c, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	uint8_t *base = ram(c->v)->base;
	bool past_caches = streams(c->v);

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = base + off[i];

		if (i + 1 < n && !(writes >> (i + 1) & 1))
			fetch(base + off[i + 1]);
		if (writes >> i & 1)
			put(p, data[i].iov_base, data[i].iov_len, past_caches);
		else
			memcpy(data[i].iov_base, p, data[i].iov_len);
	}
	if (past_caches && writes)
		settle();
}

/* A slice of the oldest long request: 1, or 0 when there is none. */
static unsigned ram_poll(struct vol_chan *c)
{
	struct ram_chan *rc = (struct ram_chan *)c;
	uint64_t size = atomic_load_explicit(&c->v->size, memory_order_acquire);
	struct vol_io *io = rc->head;
	int err;

	if (!io)
		return 0;
	// The volume shrank meanwhile: what lies beyond its end may have been given back by now.
	if (io->off > size || io->len > size - io->off)
		err = -EIO;
	else
		err = step(ram(c->v), io, state(io));
	if (err < 0 || state(io)->pos == io->len) {
		rc->head = state(io)->next;
		if (!rc->head)
			rc->tail = &rc->head;
		vol_io_end(c, io, err);
	}
	return 1;
}

static const struct vol_ops ram_ops = {
	.kind = "ram",
	.close = ram_close,
	.resize = ram_resize,
	.chan_open = ram_chan_open,
	.chan_close = ram_chan_close,
	.submit = ram_submit,
	.at_once = ram_at_once,
	.kick = ram_poll,
	.poll = ram_poll,
};

static uint8_t *reserve(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int vol_ram_open(const struct vol_ram_conf *conf, struct vol **out)
{
	struct vol_ram *r = dpu_calloc(1, sizeof(*r));
	uint64_t exact;
	int ret;

	if (!r)
		return -ENOMEM;
	ret = vol_init(&r->v, &ram_ops, conf->name, conf->size, conf->block_size);
	if (ret < 0)
		goto err_free;
	exact = (conf->size + PAGE - 1) & ~(PAGE - 1);
	r->reserved = exact > RESERVE_MAX / GROWTH ? exact : exact * GROWTH;
	if (r->reserved < RESERVE_MIN)
		r->reserved = RESERVE_MIN;
	r->base = reserve(r->reserved);
	if (!r->base) { // an address space limit: no room to grow, then
		r->reserved = exact;
		r->base = reserve(r->reserved);
	}
	if (!r->base) {
		ret = -ENOMEM;
		goto err_fini;
	}
	// One guest's disk has no business in a core file.
	(void)madvise(r->base, r->reserved, MADV_DONTDUMP);
	r->prealloc = conf->prealloc;
	ret = r->prealloc ? populate(r, 0, conf->size) : 0;
	if (ret)
		goto err_map;
	r->v.can_discard = true;
	r->v.can_zero = true;
	r->v.can_erase = true;
	*out = &r->v;
	return 0;

err_map:
	munmap(r->base, r->reserved);
err_fini:
	vol_fini(&r->v);
err_free:
	free(r);
	return ret;
}
