/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of a change of key: an encrypted volume, a journal, a clock moved by hand. */
#pragma once

#include "test.h"

#include <errno.h>

#include "dpu_clock.h"
#include "fake_vol.h"
#include "group.h"
#include "vol_crypt.h"
#include "vol_util.h"

#define UNIT 512u
#define SIZE (3u * REKEY_WINDOW + 96 * UNIT) // not whole windows
#define JOURNAL VOL_REKEY_JOURNAL
#define N_REQ 8u

struct req {
	struct answer a; // first
	struct iovec iov, cmp;
	uint8_t *buf; // owned
	bool busy;
};

struct env {
	struct fake_vol *f, *journal;
	struct nof_group *g;
	struct nof_key *key[2]; // old, new
	struct vol *v;
	struct vol_chan *c[2];
	uint8_t *stable; // owned: what was acknowledged
	struct req r[N_REQ];
	uint64_t seed;
};

static uint64_t now = 1000000000;

static inline uint64_t fake_now(void)
{
	return now;
}

static inline uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static inline struct nof_key *key_of(uint8_t no)
{
	uint8_t bytes[NOF_KEY_LEN];
	struct nof_key *key;

	for (unsigned i = 0; i < NOF_KEY_LEN; i++)
		bytes[i] = (uint8_t)(no + i * 3);
	assert_int_equal(nof_key_import(bytes, &key), 0);
	return key;
}

static inline void open_crypt(struct env *e, struct nof_key *key)
{
	struct vol_crypt_conf conf = { .name = "c", .lower = &e->f->v, .key = key, .unit = UNIT };

	assert_int_equal(vol_crypt_open(&conf, &e->v), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vol_chan_open(e->v, e->g, &e->c[i]), 0);
}

static inline int begin(struct env *e, bool resume)
{
	struct vol_rekey_conf conf = { .key = e->key[1],
		.journal = &e->journal->v,
		.group = e->g,
		.id = "the first change",
		.resume = resume };
	int ret = vol_crypt_rekey(e->v, &conf);

	if (!ret)
		vol_rekey_go(e->v);
	return ret;
}

static inline void start(struct env *e, bool at_once)
{
	memset(e, 0, sizeof(*e));
	dpu_clock_set(fake_now);
	e->seed = 0x2545f4914f6cdd1d;
	e->f = fake_open(SIZE, UNIT);
	e->f->native = true; // compare-and-writes are passed on
	e->journal = fake_open(JOURNAL, 512);
	e->f->at_once = e->journal->at_once = true;
	e->key[0] = key_of(1), e->key[1] = key_of(2);
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e->g), 0);
	open_crypt(e, e->key[0]);
	e->stable = malloc(SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		e->stable[i] = (uint8_t)rnd(&e->seed);
	for (uint64_t at = 0; at < SIZE; at += 4096 * 8)
		assert_int_equal(rw(e->c[0], VOL_WRITE, at, e->stable + at,
					 SIZE - at < 32768 ? SIZE - at : 32768),
			0);
	e->f->at_once = e->journal->at_once = at_once;
}

static inline void close_crypt(struct env *e)
{
	while (!vol_work_stop(e->v)) {
		now += NOF_TICK_NS;
		nof_group_poll(e->g);
	}
	for (unsigned i = 0; i < 2; i++)
		vol_chan_close(e->c[i]);
	vol_close(e->v);
}

static inline void stop(struct env *e)
{
	close_crypt(e);
	vol_close(&e->f->v);
	vol_close(&e->journal->v);
	nof_group_destroy(e->g);
	nof_key_put(e->key[0]);
	nof_key_put(e->key[1]);
	free(e->stable);
	dpu_clock_set(NULL);
}

/* To its end, with nothing held back. What vol_rekey_step() says then. */
static inline int finish(struct env *e)
{
	int ret = VOL_REKEY_BEGINS;

	for (unsigned i = 0; i < 5000 && ret > 0; i++) {
		now += NOF_TICK_NS;
		nof_group_poll(e->g);
		ret = vol_rekey_step(e->v);
		for (unsigned k = 0; k < 2; k++)
			vol_chan_poll(e->c[k]);
	}
	return ret;
}

static inline void check_all(struct env *e)
{
	uint8_t *out = malloc(SIZE);

	assert_int_equal(rw(e->c[0], VOL_READ, 0, out, SIZE), 0);
	assert_memory_equal(out, e->stable, SIZE);
	free(out);
}

/* Everything is there with the new key alone. */
static inline void check_new_key(struct env *e)
{
	close_crypt(e);
	open_crypt(e, e->key[1]);
	check_all(e);
}
