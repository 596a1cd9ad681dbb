// SPDX-License-Identifier: Apache-2.0
/*
 * Compare-and-write through layers: passed on to a volume that others may write to, too, and of a
 * read and a write over one that is this card's.
 */
#include "test.h"

#include "cipher.h"
#include "fake_vol.h"
#include "group.h"
#include "vol_util.h"

#define SIZE (1u << 20)
#define STRIP 4096u

/* Two cards with the same key over the same blocks; or one card with stripes over two volumes. */
struct env {
	struct fake_vol *f[2];
	struct nof_group *g;
	struct nof_key *key;
	struct vol *v[2];
	struct vol_chan *c[2];
};

static void start(struct env *e)
{
	memset(e, 0, sizeof(*e));
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e->g), 0);
	for (unsigned i = 0; i < 2; i++) {
		e->f[i] = fake_open(SIZE, 512);
		e->f[i]->at_once = true;
	}
}

static void stop(struct env *e)
{
	for (unsigned i = 0; i < 2; i++) {
		vol_chan_close(e->c[i]);
		vol_close(e->v[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		vol_close(&e->f[i]->v);
	nof_key_put(e->key);
	nof_group_destroy(e->g);
}

static int compare_write(struct vol_chan *c, uint64_t off, uint32_t len, uint8_t old, uint8_t new)
{
	uint8_t *buf = malloc(2 * (size_t)len);
	struct iovec cmp[2] = { { buf, len / 3 }, { buf + len / 3, len - len / 3 } };
	struct iovec iov[2] = { { buf + len, 7 }, { buf + len + 7, len - 7 } };
	struct answer a = { .io = { .op = VOL_COMPARE_WRITE,
				    .off = off,
				    .len = len,
				    .iov = iov,
				    .n_iov = 2,
				    .cmp = cmp,
				    .n_cmp = 2 } };
	int ret;

	assert_non_null(buf);
	memset(buf, old, len);
	memset(buf + len, new, len);
	ret = run(c, &a);
	free(buf);
	return ret;
}

static void has(struct vol_chan *c, uint64_t off, uint32_t len, uint8_t byte)
{
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	assert_int_equal(rw(c, VOL_READ, off, buf, len), 0);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte);
	free(buf);
}

static uint32_t max_of(const struct vol *v)
{
	struct vol_info info;

	vol_info(v, &info);
	return info.compare_max;
}

static const struct crypt_case {
	const char *name;
	bool native;
	uint32_t unit, len;
} crypt_cases[] = {
	{ "one unit of 512", true, 512, 512 },
	{ "one unit of 4096", true, 4096, 4096 },
	{ "as long as may be", true, 512, VOL_COMPARE_MAX },
	{ "over a volume of this card", false, 4096, VOL_COMPARE_MAX },
};

static void encrypted(void **state)
{
	const struct crypt_case *t = *state;
	uint8_t bytes[NOF_KEY_LEN], *buf = malloc(t->len);
	struct vol_crypt_conf conf = { .name = "c", .unit = t->unit };
	struct env e;

	assert_non_null(buf);
	start(&e);
	for (unsigned i = 0; i < NOF_KEY_LEN; i++)
		bytes[i] = (uint8_t)(i * 7);
	assert_int_equal(nof_key_import(bytes, &e.key), 0);
	conf.key = e.key;
	conf.lower = &e.f[0]->v;
	e.f[0]->native = t->native;
	for (unsigned i = 0; i < 2; i++) { // the second is another card's
		assert_int_equal(vol_crypt_open(&conf, &e.v[i]), 0);
		assert_int_equal(vol_chan_open(e.v[i], e.g, &e.c[i]), 0);
	}
	assert_int_equal(max_of(e.v[0]), VOL_COMPARE_MAX);
	memset(buf, 1, t->len);
	assert_int_equal(rw(e.c[1], VOL_WRITE, 8192, buf, t->len), 0);
	assert_int_equal(compare_write(e.c[0], 8192, t->len, 1, 2), 0);
	assert_int_equal(compare_write(e.c[0], 8192, t->len, 1, 3), -ECANCELED);
	has(e.c[1], 8192, t->len, 2);
	assert_int_equal(e.f[0]->n_seen[VOL_COMPARE_WRITE], t->native ? 2 : 0);
	assert_true(e.f[0]->mem[8192] != 2 || e.f[0]->mem[8193] != 2);
	stop(&e);
	free(buf);
}

static const struct stripe_case {
	const char *name;
	bool native[2];
	uint32_t max;
} stripe_cases[] = {
	{ "over volumes of this card", { false, false }, VOL_COMPARE_MAX },
	{ "over those of others: a block", { true, true }, 512 },
	{ "one of each", { false, true }, 512 },
};

static void striped(void **state)
{
	const struct stripe_case *t = *state;
	struct vol_stripe_conf conf = { .name = "s", .n = 2, .strip = STRIP };
	struct vol *members[2];
	struct env e;

	start(&e);
	for (unsigned i = 0; i < 2; i++) {
		members[i] = &e.f[i]->v;
		e.f[i]->native = t->native[i];
	}
	conf.members = members;
	assert_int_equal(vol_stripe_open(&conf, &e.v[0]), 0);
	assert_int_equal(vol_chan_open(e.v[0], e.g, &e.c[0]), 0);
	assert_int_equal(max_of(e.v[0]), t->max);
	assert_int_equal(compare_write(e.c[0], 3 * 512, t->max + 512, 0, 1), -EINVAL);
	for (uint64_t at = 0; at < 4 * STRIP; at += STRIP - 512) {
		at -= at % 512;
		assert_int_equal(compare_write(e.c[0], at, t->max, 0, 1), 0);
		assert_int_equal(compare_write(e.c[0], at, t->max, 0, 2), -ECANCELED);
		has(e.c[0], at, t->max, 1);
		assert_int_equal(range(e.c[0], VOL_WRITE_ZEROES, at, t->max, false), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(e.f[i]->n_seen[VOL_COMPARE_WRITE] > 0, t->native[i]);
	stop(&e);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(crypt_cases, encrypted, failed);
	RUN_ROWS(stripe_cases, striped, failed);
	return failed;
}
