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

static void take(struct vol_waiter *w)
{
	struct customer *c = (struct customer *)w;

	c->n_ready++;
	while (c->n_got < c->want) {
		struct vol_sub *s = c->buf ? vol_pool_get_buf(c->p) : vol_pool_get(c->p);

		if (!s) {
			vol_pool_wait(c->p, &c->w);
			return;
		}
		c->got[c->n_got++] = s;
	}
}

static void shares_out_what_there_is(void **state)
{
	struct vol_sub *s[4];
	struct vol_pool *p;

	(void)state;
	assert_int_equal(vol_pool_create(4, 2, &p), 0);
	s[0] = vol_pool_get_buf(p);
	s[1] = vol_pool_get_buf(p);
	assert_non_null(s[1]);
	assert_ptr_not_equal(s[0]->buf, s[1]->buf);
	assert_int_equal((uintptr_t)s[0]->buf % 4096, 0);
	memset(s[0]->buf, 1, VOL_POOL_BUF_LEN);
	memset(s[1]->buf, 2, VOL_POOL_BUF_LEN);
	assert_int_equal(((uint8_t *)s[0]->buf)[VOL_POOL_BUF_LEN - 1], 1);
	assert_null(vol_pool_get_buf(p));
	s[2] = vol_pool_get(p);
	s[3] = vol_pool_get(p);
	assert_non_null(s[3]);
	assert_null(s[3]->buf);
	assert_null(vol_pool_get(p));
	vol_pool_put(p, s[0]);
	s[0] = vol_pool_get_buf(p);
	assert_non_null(s[0]);
	for (unsigned i = 0; i < 4; i++)
		vol_pool_put(p, s[i]);
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
	s[0] = vol_pool_get(p);
	s[1] = vol_pool_get(p);
	vol_pool_wait(p, &a.w);
	vol_pool_wait(p, &a.w); // once
	vol_pool_wait(p, &b.w);
	vol_pool_put(p, s[0]);
	assert_int_equal(a.n_got, 1);
	assert_int_equal(b.n_ready, 0); // nothing was left
	assert_null(vol_pool_get(p));
	vol_pool_put(p, s[1]);
	assert_int_equal(b.n_got, 1);
	assert_int_equal(a.n_ready, 1);
	vol_pool_put(p, a.got[0]);
	vol_pool_put(p, b.got[0]);
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
	s[0] = vol_pool_get_buf(p);
	s[1] = vol_pool_get(p);
	s[2] = vol_pool_get(p);
	vol_pool_wait(p, &a.w);
	vol_pool_wait(p, &b.w);
	vol_pool_put(p, s[1]);
	assert_int_equal(a.n_ready, 1);
	assert_int_equal(b.n_got, 1); // and wants one more, behind a
	vol_pool_put(p, s[0]);
	assert_int_equal(a.n_got, 1);
	vol_pool_put(p, s[2]);
	assert_int_equal(b.n_got, 2);
	vol_pool_put(p, a.got[0]);
	vol_pool_put(p, b.got[0]);
	vol_pool_put(p, b.got[1]);
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
		s = vol_pool_get(p);
		for (unsigned i = 0; i < 3; i++) {
			c[i] = (struct customer){ .w.ready = take, .want = 1, .p = p };
			vol_pool_wait(p, &c[i].w);
		}
		vol_pool_forget(p, &c[gone].w);
		vol_pool_forget(p, &c[gone].w);
		for (unsigned i = 0; i < 3; i++) {
			if (i == gone)
				continue;
			vol_pool_put(p, s);
			assert_int_equal(c[i].n_got, 1);
			s = c[i].got[0];
		}
		assert_int_equal(c[gone].n_ready, 0);
		vol_pool_put(p, s);
		vol_pool_destroy(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_out_what_there_is),
		cmocka_unit_test(asks_in_line),
		cmocka_unit_test(goes_on_behind_one_that_lacks_more),
		cmocka_unit_test(forgets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
