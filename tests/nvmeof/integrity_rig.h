/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the tests of volumes with checksums: one on a volume of the test's, and its requests.
 */
#pragma once

#include "test.h"

#include <errno.h>

#include "fake_vol.h"
#include "group.h"
#include "vol_integrity.h"
#include "vol_layer.h"
#include "vol_util.h"

#define SIZE (1u << 20)

struct env {
	struct fake_vol *f;
	struct nof_group *g;
	struct vol *v;
	struct vol_chan *c[2];
	struct vol_chan *lower[2];
	uint32_t bs;
	uint64_t size;
};

static inline uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Until the header is read or written. Its error. */
static inline int wait_open(struct nof_group *g, struct vol *v)
{
	struct vol_work w;

	do {
		nof_group_poll(g);
		vol_work(v, &w);
	} while (w.kind != VOL_WORK_NONE);
	while (!vol_work_stop(v))
		nof_group_poll(g);
	return w.err;
}

enum how { AS_IT_IS, FORMAT, OVERWRITE };

static inline int open_on(struct env *e, struct fake_vol *f, enum how how)
{
	struct vol_integrity_conf conf = { .name = "i",
		.lower = &f->v,
		.group = e->g,
		.format = how != AS_IT_IS,
		.overwrite = how == OVERWRITE };
	struct vol_info info;
	bool at_once = f->at_once;
	int ret;

	e->f = f;
	f->at_once = true;
	assert_int_equal(vol_integrity_open(&conf, &e->v), 0);
	ret = wait_open(e->g, e->v);
	f->at_once = at_once;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vol_chan_open(e->v, e->g, &e->c[i]), 0);
		e->lower[i] = ((struct vol_layer_chan *)e->c[i])->lower;
	}
	vol_info(e->v, &info);
	e->bs = info.block_size;
	e->size = info.size;
	return ret;
}

static inline void start(struct env *e, uint32_t block_size)
{
	struct fake_vol *f = fake_open(SIZE, block_size);

	memset(e, 0, sizeof(*e));
	f->at_once = true;
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e->g), 0);
	assert_int_equal(open_on(e, f, FORMAT), 0);
}

static inline void close_layer(struct env *e)
{
	for (unsigned i = 0; i < 2; i++)
		vol_chan_close(e->c[i]);
	vol_close(e->v);
}

static inline void stop(struct env *e)
{
	close_layer(e);
	vol_close(&e->f->v);
	nof_group_destroy(e->g);
}

static inline uint64_t mismatches(const struct env *e)
{
	struct vol_stats s;

	vol_stats(e->v, &s);
	return s.mismatches;
}

static inline struct vol_sum_geo geo_of(const struct env *e)
{
	return ((struct vol_integrity *)e->v)->geo;
}

/* ---- requests ---- */

struct req {
	struct answer a; // first
	uint8_t *buf; // owned, len bytes and a canary
	struct iovec iov[16];
	bool busy;
};

/* Cut into pieces of any length, empty ones among them. */
static inline void cut(struct req *r, uint64_t len, uint64_t *seed)
{
	unsigned n = 1 + (unsigned)(rnd(seed) % 15);
	uint64_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t left = len - at, part = i == n - 1 ? left : rnd(seed) % (left + 1);

		r->iov[i] = (struct iovec){ r->buf + at, part };
		at += part;
	}
	r->a.io.iov = r->iov;
	r->a.io.n_iov = n;
}

static inline void fill(struct req *r, enum vol_op op, uint64_t off, uint64_t len, uint64_t *seed)
{
	r->a = (struct answer){ .io = { .op = op, .off = off, .len = len, .done = on_done } };
	r->buf = malloc(len + 1);
	r->buf[len] = 0x77;
	for (uint64_t i = 0; i < len; i++)
		r->buf[i] = (uint8_t)rnd(seed);
	cut(r, len, seed);
	r->busy = true;
}

/* Answer one of those held below, of whichever channel. */
static inline void release_one(struct env *e, unsigned i)
{
	struct vol_io *io = e->f->held[i];
	struct vol_chan *up = ((struct vol_sub *)io)->chan;

	fake_release(((struct vol_layer_chan *)up)->lower, e->f, i);
}
