// SPDX-License-Identifier: Apache-2.0
/*
 * Workers that count by compare-and-write, and others that write to blocks beside and within what
 * is compared: no step is lost, and no write is undone by one that did not see it. Each round has
 * a new volume, so that the first compare-and-write meets writes that know nothing of it.
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "group.h"
#include "vol_util.h"

#define BLOCK 512u
#define COUNTERS 2u // workers that count, all in block 0
#define WRITERS 2u // each writes one of the blocks behind it
#define RANGE ((1 + WRITERS) * BLOCK)
#define AT (64u * 1024 - BLOCK) // block 0 is the last of its window

/*
 * What is there, as far as it is known: nobody reads the blocks meanwhile, so that ThreadSanitizer
 * sees whether all that touch them are one after the other.
 */
struct race {
	unsigned steps; // of each that counts
	_Atomic uint64_t count, stamp[WRITERS];
	_Atomic unsigned counting; // those that are not ready
	_Atomic unsigned undone, missed, bad;
	pthread_barrier_t go;
};

struct racer {
	struct race *r;
	unsigned idx;
	struct nof_group *g;
	struct vol_chan *c;
	pthread_t id;
};

/* Submit, wait; with no more than polls. */
static int do_one(struct vol_chan *c, struct answer *a)
{
	a->n_done = 0;
	a->io.done = on_done;
	vol_submit(c, &a->io);
	(void)vol_chan_kick(c);
	while (a->n_done == 0) {
		if (vol_chan_poll(c) == 0)
			sched_yield();
	}
	return a->err;
}

static int move(struct vol_chan *c, enum vol_op op, uint64_t off, void *p, size_t len)
{
	struct iovec v = { p, len };
	struct answer a = { .io = { .op = op, .off = off, .len = len, .iov = &v, .n_iov = 1 } };

	return do_one(c, &a);
}

static void fill(uint8_t block[BLOCK], uint64_t n)
{
	memset(block, 0, BLOCK);
	memcpy(block, &n, sizeof(n));
}

static int compare_write(struct vol_chan *c, uint64_t off, void *old, void *new, size_t len)
{
	struct iovec vo = { old, len }, vn = { new, len };
	struct answer a = { .io = { .op = VOL_COMPARE_WRITE,
				    .off = off,
				    .len = len,
				    .iov = &vn,
				    .n_iov = 1,
				    .cmp = &vo,
				    .n_cmp = 1 } };

	return do_one(c, &a);
}

/* One step, however often what was thought to be there is not. */
static void step(struct racer *w)
{
	_Alignas(4096) uint8_t old[RANGE], new[RANGE];
	struct race *r = w->r;
	uint64_t n, known;
	int err;

	do {
		n = atomic_load(&r->count);
		fill(old, n);
		for (unsigned i = 0; i < WRITERS; i++)
			fill(old + (1 + i) * BLOCK, atomic_load(&r->stamp[i]));
		memcpy(new, old, RANGE);
		fill(new, n + 1);
		err = compare_write(w->c, AT, old, new, RANGE);
		if (err == -ECANCELED)
			atomic_fetch_add(&r->missed, 1);
	} while (err == -ECANCELED);
	if (err)
		atomic_fetch_add(&r->bad, 1);
	known = atomic_load(&r->count);
	while (known <= n && !atomic_compare_exchange_weak(&r->count, &known, n + 1))
		;
}

static void *counts(void *arg)
{
	struct racer *w = arg;

	pthread_barrier_wait(&w->r->go);
	for (unsigned i = 0; i < w->r->steps; i++)
		step(w);
	atomic_fetch_sub(&w->r->counting, 1);
	return NULL;
}

/* Its block is its own: what it wrote is there until it writes anew. */
static void *writes(void *arg)
{
	struct racer *w = arg;
	_Alignas(4096) uint8_t block[BLOCK], same[BLOCK];
	const uint64_t off = AT + (1 + w->idx) * BLOCK;
	const struct iovec data = { block, BLOCK };
	uint64_t n = 0;

	pthread_barrier_wait(&w->r->go);
	while (atomic_load(&w->r->counting) > 0) {
		fill(block, ++n);
		if (!vol_at_once(w->c, 1, &off, &data, 1) &&
			move(w->c, VOL_WRITE, off, block, BLOCK) != 0)
			atomic_fetch_add(&w->r->bad, 1);
		atomic_store(&w->r->stamp[w->idx], n);
		if (n % 4 == 0) {
			memcpy(same, block, BLOCK);
			if (compare_write(w->c, off, same, block, BLOCK) != 0)
				atomic_fetch_add(&w->r->undone, 1);
		}
		// A neighbour in the window before, which nobody compares.
		if (n % 8 == 0 &&
			move(w->c, VOL_WRITE, AT - (1 + w->idx) * BLOCK, block, BLOCK) != 0)
			atomic_fetch_add(&w->r->bad, 1);
	}
	return NULL;
}

static void one_round(struct vol *v, unsigned steps, unsigned *missed)
{
	const struct nof_group_conf conf = { 0 };
	struct race r = { .steps = steps, .counting = COUNTERS };
	struct racer w[COUNTERS + WRITERS] = { 0 };
	uint8_t block[BLOCK];
	uint64_t n;

	pthread_barrier_init(&r.go, NULL, COUNTERS + WRITERS);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		w[i].r = &r;
		w[i].idx = i < COUNTERS ? i : i - COUNTERS;
		assert_int_equal(nof_group_create(&conf, &w[i].g), 0);
		assert_int_equal(vol_chan_open(v, w[i].g, &w[i].c), 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		assert_int_equal(
			pthread_create(&w[i].id, NULL, i < COUNTERS ? counts : writes, &w[i]), 0);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++)
		assert_int_equal(pthread_join(w[i].id, NULL), 0);
	assert_int_equal(move(w[0].c, VOL_READ, AT, block, BLOCK), 0);
	memcpy(&n, block, sizeof(n));
	assert_int_equal(n, COUNTERS * steps);
	assert_int_equal(atomic_load(&r.bad), 0);
	assert_int_equal(atomic_load(&r.undone), 0);
	*missed += atomic_load(&r.missed);
	for (unsigned i = 0; i < ARRAY_LEN(w); i++) {
		vol_chan_close(w[i].c);
		nof_group_destroy(w[i].g);
	}
	pthread_barrier_destroy(&r.go);
}

static void in_memory(void **state)
{
	unsigned missed = 0;

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct vol *v = NULL;

		assert_int_equal(
			vol_ram_open(&(struct vol_ram_conf){ "v", 1 << 20, BLOCK, false }, &v), 0);
		one_round(v, 100, &missed);
		vol_close(v);
	}
	print_message("compared in vain: %u\n", missed);
}

static void in_a_file(void **state)
{
	unsigned missed = 0;
	char dir[64], path[80];

	(void)state;
	make_dir(ON_TMPFS, dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	for (unsigned i = 0; i < 5; i++) {
		const struct vol_file_conf conf = {
			.name = "v", .path = path, .block_size = BLOCK, .create_size = 1 << 20
		};
		struct vol *v = NULL;

		assert_int_equal(vol_file_open(&conf, &v), 0);
		one_round(v, 100, &missed);
		vol_close(v);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(dir), 0);
	print_message("compared in vain: %u\n", missed);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_memory),
		cmocka_unit_test(in_a_file),
	};

	return cmocka_run_group_tests_name("race", tests, NULL, NULL);
}
