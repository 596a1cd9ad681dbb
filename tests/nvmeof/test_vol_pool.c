// SPDX-License-Identifier: Apache-2.0
/* The pool of layers: what is out, who waits, and who is asked first. */
#include "test.h"

#include <string.h>

#include "vol_pool.h"

struct customer {
	struct vol_waiter w; // first
	struct vol_pool *p;
	unsigned want, n_ready;
	struct vol_sub *got[4];
	unsigned n_got;
	bool buf;
};

/* Of many holders, each of one thing: nobody is over a share. */
static struct vol_held *hold(void)
{
	static struct vol_held h;

	h = (struct vol_held){ 0 };
	return &h;
}

static void take(struct vol_waiter *w)
{
	struct customer *c = (struct customer *)w;

	c->n_ready++;
	while (c->n_got < c->want) {
		struct vol_sub *s = c->buf ? vol_pool_get_buf(c->p, hold())
					   : vol_pool_get(c->p, hold());

		if (!s) {
			vol_pool_wait(c->p, &c->w);
			return;
		}
		c->got[c->n_got++] = s;
	}
}

static void give(struct vol_pool *p, struct vol_sub *s)
{
	struct vol_held h = { 1, s->buf != NULL, false };

	assert_false(vol_pool_put(p, &h, s));
}

static void shares_out_what_there_is(void **state)
{
	struct vol_sub *s[4];
	struct vol_pool *p;

	(void)state;
	assert_int_equal(vol_pool_create(4, 2, &p), 0);
	s[0] = vol_pool_get_buf(p, hold());
	s[1] = vol_pool_get_buf(p, hold());
	assert_non_null(s[1]);
	assert_ptr_not_equal(s[0]->buf, s[1]->buf);
	assert_int_equal((uintptr_t)s[0]->buf % 4096, 0);
	memset(s[0]->buf, 1, VOL_POOL_BUF_LEN);
	memset(s[1]->buf, 2, VOL_POOL_BUF_LEN);
	assert_int_equal(((uint8_t *)s[0]->buf)[VOL_POOL_BUF_LEN - 1], 1);
	assert_null(vol_pool_get_buf(p, hold()));
	s[2] = vol_pool_get(p, hold());
	s[3] = vol_pool_get(p, hold());
	assert_non_null(s[3]);
	assert_null(s[3]->buf);
	assert_null(vol_pool_get(p, hold()));
	give(p, s[0]);
	s[0] = vol_pool_get_buf(p, hold());
	assert_non_null(s[0]);
	for (unsigned i = 0; i < 4; i++)
		give(p, s[i]);
	vol_pool_destroy(p);
}

/* Nobody who comes later takes what was given back while somebody is in line. */
static void asks_in_line(void **state)
{
	struct customer a = { .w.ready = take, .want = 1 }, b = a;
	struct vol_sub *s[2];
	struct vol_pool *p;

	(void)state;
	assert_int_equal(vol_pool_create(2, 1, &p), 0);
	a.p = b.p = p;
	s[0] = vol_pool_get(p, hold());
	s[1] = vol_pool_get(p, hold());
	vol_pool_wait(p, &a.w);
	vol_pool_wait(p, &a.w); // once
	vol_pool_wait(p, &b.w);
	give(p, s[0]);
	assert_int_equal(a.n_got, 1);
	assert_int_equal(b.n_ready, 0); // nothing was left
	assert_null(vol_pool_get(p, hold()));
	give(p, s[1]);
	assert_int_equal(b.n_got, 1);
	assert_int_equal(a.n_ready, 1);
	give(p, a.got[0]);
	give(p, b.got[0]);
	vol_pool_destroy(p);
}

/* One that lacks a buffer does not stop those that do not want one. */
static void goes_on_behind_one_that_lacks_more(void **state)
{
	struct customer a = { .w.ready = take, .want = 1, .buf = true };
	struct customer b = { .w.ready = take, .want = 2 };
	struct vol_sub *s[3];
	struct vol_pool *p;

	(void)state;
	assert_int_equal(vol_pool_create(3, 1, &p), 0);
	a.p = b.p = p;
	s[0] = vol_pool_get_buf(p, hold());
	s[1] = vol_pool_get(p, hold());
	s[2] = vol_pool_get(p, hold());
	vol_pool_wait(p, &a.w);
	vol_pool_wait(p, &b.w);
	give(p, s[1]);
	assert_int_equal(a.n_ready, 1);
	assert_int_equal(b.n_got, 1); // and wants one more, behind a
	give(p, s[0]);
	assert_int_equal(a.n_got, 1);
	give(p, s[2]);
	assert_int_equal(b.n_got, 2);
	give(p, a.got[0]);
	give(p, b.got[0]);
	give(p, b.got[1]);
	vol_pool_destroy(p);
}

static void forgets(void **state)
{
	struct customer c[3];
	struct vol_sub *s;
	struct vol_pool *p;

	(void)state;
	for (unsigned gone = 0; gone < 3; gone++) {
		memset(c, 0, sizeof(c));
		assert_int_equal(vol_pool_create(1, 1, &p), 0);
		s = vol_pool_get(p, hold());
		for (unsigned i = 0; i < 3; i++) {
			c[i] = (struct customer){ .w.ready = take, .want = 1, .p = p };
			vol_pool_wait(p, &c[i].w);
		}
		vol_pool_forget(p, &c[gone].w);
		vol_pool_forget(p, &c[gone].w);
		for (unsigned i = 0; i < 3; i++) {
			if (i == gone)
				continue;
			give(p, s);
			assert_int_equal(c[i].n_got, 1);
			s = c[i].got[0];
		}
		assert_int_equal(c[gone].n_ready, 0);
		give(p, s);
		vol_pool_destroy(p);
	}
}

/* Whoever takes all it gets leaves something, and is told when it may go on. */
static void nobody_has_all(void **state)
{
	struct vol_held h[3] = { 0 };
	struct vol_sub *s[3][64] = { { NULL } };
	unsigned n[3] = { 0 };
	struct vol_pool *p;

	(void)state;
	assert_int_equal(vol_pool_create(64, 32, &p), 0);
	for (unsigned k = 0; k < 3; k++) {
		while ((s[k][n[k]] = vol_pool_get_buf(p, &h[k])) != NULL)
			n[k]++;
		assert_true(h[k].over);
	}
	assert_int_equal(n[0], 16); // half of what there is, each
	assert_int_equal(n[1], 8);
	assert_int_equal(n[2], 4);
	assert_true(vol_pool_put(p, &h[0], s[0][--n[0]]));
	assert_false(h[0].over);
	assert_null(vol_pool_get_buf(p, &h[0]));
	for (unsigned k = 0; k < 3; k++)
		while (n[k])
			(void)vol_pool_put(p, &h[k], s[k][--n[k]]);
	assert_int_equal(h[0].subs + h[0].bufs, 0);
	while ((s[0][n[0]] = vol_pool_get(p, &h[0])) != NULL)
		n[0]++;
	assert_int_equal(n[0], 32);
	while (n[0])
		(void)vol_pool_put(p, &h[0], s[0][--n[0]]);
	vol_pool_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_out_what_there_is),
		cmocka_unit_test(asks_in_line),
		cmocka_unit_test(goes_on_behind_one_that_lacks_more),
		cmocka_unit_test(forgets),
		cmocka_unit_test(nobody_has_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
