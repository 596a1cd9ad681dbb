/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume in memory that answers when the test says, in any order, and fails when it says: what
 * layers stand on in their tests.
 */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vol_priv.h"

#define FAKE_QUEUE 4096u

struct fake_vol {
	struct vol v;
	uint8_t *mem; // owned
	struct vol_io *held[FAKE_QUEUE]; // not answered, in the order in which they came
	struct vol_chan *by[FAKE_QUEUE]; // whose they are
	unsigned n_held;
	unsigned n_seen[VOL_COMPARE_WRITE + 1], n_fua;
	uint64_t max_len; // longest transfer seen
	unsigned n_kicks;
	unsigned n_cleared; // requests whose priv somebody cleared after it had been here
	bool at_once; // answer from submit
	int err; // for the next ones
	/*
	 * The fail_in-th request that changes something fails with -EIO, or, with fail_err, the
	 * fail_in-th of fail_op with that. 0: none.
	 */
	unsigned fail_in;
	enum vol_op fail_op;
	int fail_err;
	bool native; // compare-and-writes come here
	unsigned fail_opens; // so many channels are not opened
	bool fail_after; // it changes all of it nevertheless
};

struct fake_chan {
	struct vol_chan c;
	struct fake_vol *f;
};

/* What a volume keeps in a request is its own to clear. */
static inline void fake_look_at_priv(struct fake_vol *f, struct vol_io *io)
{
	static const unsigned char mark[] = "was here";
	unsigned char *at = io->priv + VOL_IO_PRIV - sizeof(mark);

	f->n_cleared += at[0] == 0 && at[sizeof(mark) - 2] == 0;
	memcpy(at, mark, sizeof(mark));
}

static inline void fake_answer(struct vol_chan *c, struct vol_io *io)
{
	struct fake_vol *f = ((struct fake_chan *)c)->f;
	uint8_t *p = f->mem + io->off;
	int err = f->err;
	bool counts = f->fail_err ? io->op == f->fail_op
				  : io->op != VOL_READ && io->op != VOL_FLUSH;

	if (counts && f->fail_in && --f->fail_in == 0)
		err = f->fail_err ? f->fail_err : -EIO;
	if (err && !f->fail_after) {
		vol_io_end(c, io, err);
		return;
	}
	if (io->op == VOL_COMPARE_WRITE) {
		const uint8_t *with = p;

		for (unsigned i = 0; i < io->n_cmp && !err; i++) {
			if (memcmp(io->cmp[i].iov_base, with, io->cmp[i].iov_len) != 0)
				err = -ECANCELED;
			with += io->cmp[i].iov_len;
		}
	}
	if (err == -ECANCELED) {
		vol_io_end(c, io, err);
		return;
	}
	if (io->op == VOL_READ || io->op == VOL_WRITE || io->op == VOL_COMPARE_WRITE) {
		for (unsigned i = 0; i < io->n_iov; i++) {
			if (io->op == VOL_READ)
				memcpy(io->iov[i].iov_base, p, io->iov[i].iov_len);
			else
				memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
			p += io->iov[i].iov_len;
		}
	} else if (io->op != VOL_FLUSH) {
		memset(p, 0, io->len);
	}
	vol_io_end(c, io, err);
}

static inline void fake_submit(struct vol_chan *c, struct vol_io *io)
{
	struct fake_vol *f = ((struct fake_chan *)c)->f;

	fake_look_at_priv(f, io);
	f->n_seen[io->op]++;
	f->n_fua += io->fua;
	if (io->op != VOL_FLUSH && io->len > f->max_len)
		f->max_len = io->len;
	if (f->at_once) {
		fake_answer(c, io);
		return;
	}
	if (f->n_held == FAKE_QUEUE)
		abort();
	f->by[f->n_held] = c;
	f->held[f->n_held++] = io;
}

/* Answer the one at `i` of those held. */
static inline void fake_release(struct vol_chan *lower, struct fake_vol *f, unsigned i)
{
	struct vol_io *io = f->held[i];

	memmove(f->held + i, f->held + i + 1, (--f->n_held - i) * sizeof(f->held[0]));
	memmove(f->by + i, f->by + i + 1, (f->n_held - i) * sizeof(f->by[0]));
	fake_answer(lower, io);
}

static inline unsigned fake_kick(struct vol_chan *c)
{
	((struct fake_chan *)c)->f->n_kicks++;
	return 0;
}

static inline int fake_chan_open(struct vol *v, struct nof_group *g, struct vol_chan **out)
{
	struct fake_chan *c;

	(void)g;
	if (((struct fake_vol *)v)->fail_opens) {
		((struct fake_vol *)v)->fail_opens--;
		return -ENOMEM;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->f = (struct fake_vol *)v;
	*out = &c->c;
	return 0;
}

static inline void fake_chan_close(struct vol_chan *c)
{
	free(c);
}

static inline int fake_resize(struct vol *v, uint64_t size)
{
	(void)v;
	(void)size;
	return 0;
}

static inline uint32_t fake_compare_max(const struct vol *v)
{
	return ((const struct fake_vol *)v)->native ? VOL_COMPARE_MAX : VOL_COMPARE_OURS;
}

static inline void fake_close(struct vol *v)
{
	vol_fini(v);
	free(((struct fake_vol *)v)->mem);
	free(v);
}

static inline struct fake_vol *fake_open(uint64_t size, uint32_t block_size)
{
	static const struct vol_ops ops = {
		.kind = "fake",
		.close = fake_close,
		.resize = fake_resize,
		.chan_open = fake_chan_open,
		.chan_close = fake_chan_close,
		.submit = fake_submit,
		.kick = fake_kick,
		.compare_max = fake_compare_max,
	};
	struct fake_vol *f = calloc(1, sizeof(*f));

	if (!f || vol_init(&f->v, &ops, "fake", size, block_size))
		abort();
	f->mem = calloc(1, size);
	if (!f->mem)
		abort();
	f->v.can_discard = f->v.can_zero = f->v.volatile_cache = true;
	f->v.can_erase = true;
	return f;
}
