// SPDX-License-Identifier: Apache-2.0
/*
 * A volume in memory. Address space for growth is reserved when it is opened, so that a resize
 * never moves blocks under a worker; pages are allocated as they are written.
 */
#include "vol_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "dpu_alloc.h"

#define GROWTH 16 // reserve this many times the first size
#define RESERVE_MIN (64ULL << 30)
#define RESERVE_MAX (1ULL << 44)
#define PAGE 4096ULL

struct vol_ram {
	struct vol v;
	uint8_t *base; // owned mapping
	uint64_t reserved; // bytes
};

static struct vol_ram *ram(struct vol *v)
{
	return (struct vol_ram *)v;
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

static int ram_resize(struct vol *v, uint64_t size)
{
	uint64_t old = atomic_load_explicit(&v->size, memory_order_relaxed);
	uint64_t from = size < old ? size : old;

	if (size > ram(v)->reserved)
		return -ENOMEM;
	// A request that raced with an earlier shrink may have written beyond the end.
	return drop(ram(v), from, ram(v)->reserved - from);
}

static int ram_chan_open(struct vol *v, struct vol_chan **out)
{
	(void)v;
	*out = dpu_calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

static void ram_chan_close(struct vol_chan *c)
{
	free(c);
}

static int copy(struct vol_ram *r, const struct vol_io *io)
{
	uint8_t *p = r->base + io->off;
	uint64_t left = io->len;

	for (unsigned i = 0; i < io->n_iov && left > 0; i++) {
		size_t n = io->iov[i].iov_len < left ? io->iov[i].iov_len : left;

		if (io->op == VOL_READ)
			memcpy(io->iov[i].iov_base, p, n);
		else
			memcpy(p, io->iov[i].iov_base, n);
		p += n;
		left -= n;
	}
	return left == 0 ? 0 : -EINVAL;
}

static void ram_submit(struct vol_chan *c, struct vol_io *io)
{
	struct vol_ram *r = ram(c->v);
	int err = 0;

	switch (io->op) {
	case VOL_READ:
	case VOL_WRITE:
		err = copy(r, io);
		break;
	case VOL_FLUSH:
		break;
	case VOL_DISCARD:
		err = drop(r, io->off, io->len);
		break;
	case VOL_WRITE_ZEROES:
		if (io->unmap)
			err = drop(r, io->off, io->len);
		else
			memset(r->base + io->off, 0, io->len);
		break;
	}
	vol_io_end(c, io, err);
}

static const struct vol_ops ram_ops = {
	.kind = "ram",
	.close = ram_close,
	.resize = ram_resize,
	.chan_open = ram_chan_open,
	.chan_close = ram_chan_close,
	.submit = ram_submit,
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
	r->v.can_discard = true;
	r->v.can_zero = true;
	*out = &r->v;
	return 0;

err_fini:
	vol_fini(&r->v);
err_free:
	free(r);
	return ret;
}
