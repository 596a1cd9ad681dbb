// SPDX-License-Identifier: Apache-2.0
/*
 * Compare-and-write on one thread, over a volume that answers when the test says: what goes first,
 * what waits, what passes, and how it ends.
 */
#include "test.h"

#include "fake_vol.h"
#include "group.h"
#include "vol_util.h"

#define SIZE (8u << 20)
#define KIB 1024u

/* Two channels of one volume, as two workers have them. */
struct rig {
	struct nof_group *g;
	struct fake_vol *f;
	struct vol_chan *a, *b;
};

static struct rig *rig_open(void)
{
	const struct nof_group_conf conf = { 0 };
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(nof_group_create(&conf, &r->g), 0);
	r->f = fake_open(SIZE, 512);
	assert_int_equal(vol_chan_open(&r->f->v, r->g, &r->a), 0);
	assert_int_equal(vol_chan_open(&r->f->v, r->g, &r->b), 0);
	return r;
}

static void rig_close(struct rig *r)
{
	assert_int_equal(vol_chan_inflight(r->a), 0);
	assert_int_equal(vol_chan_inflight(r->b), 0);
	vol_chan_close(r->a);
	vol_chan_close(r->b);
	vol_close(&r->f->v);
	nof_group_destroy(r->g); // the pool has everything
	free(r);
}

/* A request with data of its own. */
struct one {
	struct answer a; // first
	struct iovec iov[2], cmp[3];
	uint8_t *buf; // owned: what is there, then what is to be written
};

static void begin(struct vol_chan *c, struct one *o, enum vol_op op, uint64_t off, uint32_t len)
{
	o->a.n_done = 0;
	o->a.io.op = op;
	o->a.io.off = off;
	o->a.io.len = len;
	o->a.io.done = on_done;
	vol_submit(c, &o->a.io);
}

/* The segments of either side are odd, and others than those of the other one. */
static void compare_write(
	struct vol_chan *c, struct one *o, uint64_t off, uint32_t len, uint8_t old, uint8_t new)
{
	free(o->buf);
	o->buf = malloc(2 * (size_t)len);
	assert_non_null(o->buf);
	memset(o->buf, old, len);
	memset(o->buf + len, new, len);
	o->cmp[0] = (struct iovec){ o->buf, 1 };
	o->cmp[1] = (struct iovec){ o->buf + 1, 0 };
	o->cmp[2] = (struct iovec){ o->buf + 1, len - 1 };
	o->iov[0] = (struct iovec){ o->buf + len, len - 3 };
	o->iov[1] = (struct iovec){ o->buf + 2 * (size_t)len - 3, 3 };
	o->a.io.cmp = o->cmp;
	o->a.io.n_cmp = 3;
	o->a.io.iov = o->iov;
	o->a.io.n_iov = 2;
	begin(c, o, VOL_COMPARE_WRITE, off, len);
}

static void plain(struct vol_chan *c, struct one *o, uint64_t off, uint32_t len, uint8_t byte)
{
	free(o->buf);
	o->buf = malloc(len);
	assert_non_null(o->buf);
	memset(o->buf, byte, len);
	o->iov[0] = (struct iovec){ o->buf, len };
	o->a.io.iov = o->iov;
	o->a.io.n_iov = 1;
	begin(c, o, VOL_WRITE, off, len);
}

static void one_free(struct one *o, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(o[i].buf);
}

/* Release what is below, oldest first, and let everybody look, until nothing is left. */
static void let_go(struct rig *r)
{
	while (vol_chan_inflight(r->a) + vol_chan_inflight(r->b) > 0) {
		if (r->f->n_held > 0)
			fake_release(r->f->by[0], r->f, 0);
		(void)vol_chan_poll(r->a);
		(void)vol_chan_poll(r->b);
	}
}

static void releases(struct rig *r, struct vol_chan *c)
{
	assert_true(r->f->n_held > 0 && r->f->by[0] == c);
	fake_release(c, r->f, 0);
}

/* ---- what it does ---- */

static const struct plain_case {
	const char *name;
	uint64_t off;
	uint32_t len;
	uint8_t old; // 0 is there
	int ret;
} plain_cases[] = {
	{ "equal", 0, 512, 0, 0 },
	{ "the longest, over two windows", 48 * KIB, VOL_COMPARE_MAX, 0, 0 },
	{ "over the last word and the first", 64ull * 64 * KIB - 512, 1024, 0, 0 },
	{ "another byte", 512, 512, 1, -ECANCELED },
	{ "too long", 0, VOL_COMPARE_MAX + 512, 0, -EINVAL },
	{ "no whole block", 0, 700, 0, -EINVAL },
	{ "beyond the end", SIZE, 512, 0, -EINVAL },
};

static void does(void **state)
{
	const struct plain_case *t = *state;
	struct rig *r = rig_open();
	struct one o = { 0 };
	struct vol_stats s;

	r->f->at_once = true;
	for (unsigned i = 0; i < 2; i++) { // the first one is special
		memset(r->f->mem, 0, SIZE);
		compare_write(r->a, &o, t->off, t->len, t->old, 7);
		(void)vol_chan_poll(r->a);
		assert_int_equal(o.a.n_done, 1);
		assert_int_equal(o.a.err, t->ret);
		for (uint64_t at = 0; at < SIZE; at++)
			if (r->f->mem[at] != (!t->ret && at - t->off < t->len ? 7 : 0))
				fail_msg("at %llu", (unsigned long long)at);
	}
	vol_stats(&r->f->v, &s);
	assert_int_equal(s.compares, t->ret ? 0 : 2);
	assert_int_equal(s.miscompares, t->ret == -ECANCELED ? 2 : 0);
	assert_int_equal(s.errors, t->ret == -EINVAL ? 2 : 0);
	assert_int_equal(s.reads + s.writes, 0);
	one_free(&o, 1);
	rig_close(r);
}

static void what_it_must_have(void **state)
{
	struct rig *r = rig_open();
	struct vol_chan *alone = NULL;
	struct vol_info info;
	struct one o = { 0 };

	(void)state;
	r->f->at_once = true;
	vol_info(&r->f->v, &info);
	assert_int_equal(info.compare_max, VOL_COMPARE_MAX);
	compare_write(r->a, &o, 0, 1024, 0, 1);
	assert_int_equal(o.a.err, 0);
	o.cmp[0].iov_len = 2; // neither longer
	begin(r->a, &o, VOL_COMPARE_WRITE, 0, 1024);
	assert_int_equal(o.a.err, -EINVAL);
	o.cmp[0].iov_len = 0; // nor shorter
	begin(r->a, &o, VOL_COMPARE_WRITE, 0, 1024);
	assert_int_equal(o.a.err, -EINVAL);
	assert_int_equal(vol_chan_open(&r->f->v, NULL, &alone), 0);
	compare_write(alone, &o, 0, 1024, 1, 2);
	assert_int_equal(o.a.err, -EOPNOTSUPP);
	vol_chan_close(alone);
	r->f->v.read_only = true;
	compare_write(r->a, &o, 0, 1024, 1, 2);
	assert_int_equal(o.a.err, -EROFS);
	one_free(&o, 1);
	rig_close(r);
}

/* ---- one after the other ---- */

/* Whatever began before the first one ends before it, wherever it writes. */
static void the_first_waits_for_all(void **state)
{
	struct rig *r = rig_open();
	struct one o[2] = { 0 };

	(void)state;
	plain(r->b, &o[0], 4 << 20, 512, 9);
	compare_write(r->a, &o[1], 0, 512, 0, 1);
	for (unsigned i = 0; i < 3; i++)
		(void)vol_chan_poll(r->a);
	assert_int_equal(r->f->n_held, 1);
	assert_int_equal(vol_chan_wait_us(r->a) > 0 ? 1 : 0, 1); // asleep between two looks
	releases(r, r->b);
	assert_int_equal(vol_chan_poll(r->a), 1);
	assert_int_equal(r->f->n_seen[VOL_READ], 1);
	releases(r, r->a);
	releases(r, r->a);
	assert_int_equal(o[1].a.n_done, 1);
	assert_int_equal(o[1].a.err, 0);
	one_free(o, 2);
	rig_close(r);
}

/* The volume has seen one: requests are counted. */
static struct rig *rig_ready(void)
{
	struct rig *r = rig_open();
	struct one o = { 0 };

	r->f->at_once = true;
	compare_write(r->a, &o, 0, 512, 0, 0);
	assert_int_equal(o.a.err, 0);
	one_free(&o, 1);
	r->f->at_once = false;
	memset(r->f->n_seen, 0, sizeof(r->f->n_seen));
	return r;
}

static const struct order_case {
	const char *name;
	uint64_t off; // of the plain one; the other one's is 128 KiB
	uint32_t len;
	enum vol_op op;
	bool waits;
} order_cases[] = {
	{ "the same block", 128 * KIB, 512, VOL_WRITE, true },
	{ "a block of it", 129 * KIB, 512, VOL_WRITE, true },
	{ "from below into it", 120 * KIB, 16 * KIB, VOL_WRITE, true },
	{ "over the whole volume", 0, SIZE, VOL_DISCARD, true },
	{ "zeros", 128 * KIB, 4096, VOL_WRITE_ZEROES, true },
	{ "elsewhere", 256 * KIB, 4096, VOL_WRITE, false },
	{ "a read", 128 * KIB, 4096, VOL_READ, false },
	{ "a flush", 0, 0, VOL_FLUSH, false },
};

static void plain_op(struct vol_chan *c, struct one *o, const struct order_case *t)
{
	if (t->op == VOL_WRITE) {
		plain(c, o, t->off, t->len, 9);
		return;
	}
	if (t->op == VOL_READ) {
		free(o->buf);
		o->buf = malloc(t->len);
		assert_non_null(o->buf);
		o->iov[0] = (struct iovec){ o->buf, t->len };
		o->a.io.iov = o->iov;
		o->a.io.n_iov = 1;
	}
	begin(c, o, t->op, t->off, t->len);
}

/* What began before it ends before it. */
static void earlier_ones_end_first(void **state)
{
	const struct order_case *t = *state;
	struct rig *r = rig_ready();
	struct one o[2] = { 0 };

	plain_op(r->b, &o[0], t);
	assert_int_equal(r->f->n_held, 1);
	compare_write(r->a, &o[1], 128 * KIB, 4096, 0, 1);
	for (unsigned i = 0; i < 3; i++)
		(void)vol_chan_poll(r->a);
	assert_int_equal(r->f->n_held, t->waits ? 1 : 2);
	releases(r, r->b);
	(void)vol_chan_poll(r->a);
	assert_int_equal(r->f->n_held, 1);
	releases(r, r->a);
	if (r->f->n_held) // it was equal
		releases(r, r->a);
	assert_int_equal(o[1].a.n_done, 1);
	assert_int_equal(o[1].a.err, t->op == VOL_WRITE && t->waits ? -ECANCELED : 0);
	one_free(o, 2);
	rig_close(r);
}

/* What comes meanwhile waits, of its own channel and of others. */
static void later_ones_wait(void **state)
{
	const struct order_case *t = *state;
	struct rig *r = rig_ready();
	struct one o[3] = { 0 };

	compare_write(r->a, &o[0], 128 * KIB, 4096, 0, 1);
	plain_op(r->b, &o[1], t);
	plain_op(r->a, &o[2], t);
	(void)vol_chan_poll(r->b);
	assert_int_equal(r->f->n_held, t->waits ? 1 : 3);
	releases(r, r->a); // it was read
	(void)vol_chan_poll(r->b);
	(void)vol_chan_poll(r->a);
	assert_int_equal(r->f->n_held, t->waits ? 1 : 3);
	fake_release(r->a, r->f, r->f->n_held - 1); // and written
	assert_int_equal(o[0].a.err, 0);
	assert_int_equal(vol_chan_poll(r->b), t->waits);
	assert_int_equal(vol_chan_poll(r->a), t->waits);
	assert_int_equal(r->f->n_held, 2);
	releases(r, r->b);
	releases(r, r->a);
	assert_int_equal(o[1].a.n_done + o[2].a.n_done, 2);
	if (t->op == VOL_WRITE && t->waits)
		assert_int_equal(r->f->mem[t->off], 9);
	one_free(o, 3);
	rig_close(r);
}

/* Two of them exclude each other, and take turns with a write that waits. */
static void nobody_starves(void **state)
{
	struct rig *r = rig_ready();
	struct one o[4] = { 0 };

	(void)state;
	compare_write(r->a, &o[0], 0, 512, 0, 1);
	compare_write(r->a, &o[1], 0, 512, 0, 2);
	plain(r->b, &o[2], 512, 512, 9);
	assert_int_equal(r->f->n_held, 1);
	releases(r, r->a);
	releases(r, r->a);
	assert_int_equal(o[0].a.err, 0);
	// The write was there before this one looked again.
	assert_int_equal(vol_chan_poll(r->a), 0);
	assert_int_equal(vol_chan_poll(r->b), 1);
	// It is below; from now on writes wait for the one that waits for it.
	assert_int_equal(vol_chan_poll(r->a), 0);
	plain(r->b, &o[3], 1024, 512, 9);
	assert_int_equal(vol_chan_poll(r->b), 0);
	assert_int_equal(r->f->n_held, 1);
	releases(r, r->b);
	assert_int_equal(vol_chan_poll(r->a), 1);
	releases(r, r->a);
	assert_int_equal(o[1].a.err, -ECANCELED); // 1 is there
	assert_int_equal(vol_chan_poll(r->b), 1);
	releases(r, r->b);
	assert_int_equal(o[3].a.n_done, 1);
	one_free(o, 4);
	rig_close(r);
}

/* ---- errors ---- */

static const struct error_case {
	const char *name;
	enum vol_op op;
	int err, ret;
} error_cases[] = {
	{ "it cannot be read", VOL_READ, -EBADMSG, -EBADMSG },
	{ "it cannot be read, by a word that means something else", VOL_READ, -ECANCELED, -EIO },
	{ "it cannot be written", VOL_WRITE, -ENOSPC, -ENOSPC },
};

static void ends_with_an_error(void **state)
{
	const struct error_case *t = *state;
	struct rig *r = rig_ready();
	struct one o = { 0 };

	r->f->at_once = true;
	r->f->fail_in = 1;
	r->f->fail_op = t->op;
	r->f->fail_err = t->err;
	compare_write(r->a, &o, 0, 512, 0, 1);
	assert_int_equal(o.a.n_done, 1);
	assert_int_equal(o.a.err, t->ret);
	r->f->fail_err = 0;
	compare_write(r->b, &o, 0, 512, 0, 1); // nothing is locked
	assert_int_equal(o.a.err, 0);
	one_free(&o, 1);
	rig_close(r);
}

/* The volume shrank while they waited. */
static void what_waits_is_judged_again(void **state)
{
	struct rig *r = rig_ready();
	struct one o[3] = { 0 };

	(void)state;
	plain(r->b, &o[0], SIZE - 512, 512, 9);
	compare_write(r->a, &o[1], SIZE - 1024, 1024, 0, 1);
	plain(r->b, &o[2], SIZE - 512, 512, 9);
	assert_int_equal(vol_resize(&r->f->v, SIZE / 2), 0);
	releases(r, r->b);
	(void)vol_chan_poll(r->a);
	assert_int_equal(o[1].a.err, -EIO);
	(void)vol_chan_poll(r->b);
	assert_int_equal(o[2].a.err, -EIO);
	assert_int_equal(r->f->n_held, 0);
	one_free(o, 3);
	rig_close(r);
}

/* ---- with the rest of the volume's interface ---- */

/* What waits for limits neither holds a window nor keeps the first one from ever beginning. */
static void limits(void **state)
{
	const struct vol_limits slow = { .rw_ios = 1, .burst_ms = 1 }, none = { 0 };
	struct rig *r = rig_open();
	struct one o[4] = { 0 };

	(void)state;
	r->f->at_once = true;
	compare_write(r->a, &o[3], 0, 512, 0, 0);
	vol_limits_set(&r->f->v, &slow);
	plain(r->b, &o[0], 4096, 512, 9); // draws, and waits
	plain(r->b, &o[1], 4096, 512, 9);
	assert_int_equal(o[1].a.n_done, 0);
	compare_write(r->a, &o[2], 4096, 512, 0, 1);
	assert_int_equal(o[2].a.n_done, 0);
	vol_limits_set(&r->f->v, &none);
	vol_chan_drain(r->a);
	assert_int_equal(o[2].a.n_done, 1);
	vol_chan_drain(r->b);
	assert_int_equal(o[1].a.n_done, 1);
	one_free(o, 4);
	rig_close(r);
}

/* Bursts of writes do not go round it. */
static void bursts(void **state)
{
	const struct nof_group_conf conf = { 0 };
	const uint64_t off = 0;
	uint8_t block[512] = { 0 };
	const struct iovec data = { block, sizeof(block) };
	struct vol_chan *c = NULL;
	struct vol *v = NULL;
	struct nof_group *g;
	struct one o = { 0 };

	(void)state;
	assert_int_equal(nof_group_create(&conf, &g), 0);
	assert_int_equal(vol_ram_open(&(struct vol_ram_conf){ "v", SIZE, 512, false }, &v), 0);
	assert_int_equal(vol_chan_open(v, g, &c), 0);
	assert_true(vol_at_once(c, 1, &off, &data, 1));
	assert_int_equal(vol_chan_inflight(c), 0);
	compare_write(c, &o, 0, 512, 0, 1);
	assert_int_equal(o.a.err, 0);
	assert_false(vol_at_once(c, 1, &off, &data, 1));
	assert_true(vol_at_once(c, 1, &off, &data, 0));
	assert_int_equal(vol_chan_inflight(c), 0);
	one_free(&o, 1);
	vol_chan_close(c);
	vol_close(v);
	nof_group_destroy(g);
}

/* More than the pool has buffers: they take turns, and all end. */
static void more_than_there_are_buffers(void **state)
{
	static struct one o[200];
	struct rig *r = rig_ready();

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(o); i++)
		compare_write(i % 2 ? r->b : r->a, &o[i], (uint64_t)(i % 3) * 65536, 4096, 0, 0);
	let_go(r);
	for (unsigned i = 0; i < ARRAY_LEN(o); i++) {
		assert_int_equal(o[i].a.n_done, 1);
		assert_int_equal(o[i].a.err, 0);
	}
	one_free(o, ARRAY_LEN(o));
	rig_close(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_must_have),
		cmocka_unit_test(the_first_waits_for_all),
		cmocka_unit_test(nobody_starves),
		cmocka_unit_test(what_waits_is_judged_again),
		cmocka_unit_test(limits),
		cmocka_unit_test(bursts),
		cmocka_unit_test(more_than_there_are_buffers),
	};
	int failed = 0;

	RUN_ROWS(plain_cases, does, failed);
	RUN_ROWS(order_cases, earlier_ones_end_first, failed);
	RUN_ROWS(order_cases, later_ones_wait, failed);
	RUN_ROWS(error_cases, ends_with_an_error, failed);
	failed |= cmocka_run_group_tests_name("compare", tests, NULL, NULL);
	return failed;
}
