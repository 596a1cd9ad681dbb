// SPDX-License-Identifier: Apache-2.0
/* How long requests of a volume took: which are timed, from when to when, and who remembers. */
#include "test.h"

#include "dpu_clock.h"
#include "fake_vol.h"
#include "vol_util.h"

#define US 1000ULL
#define BLOCK 512U

static uint64_t now;

static uint64_t by_hand(void)
{
	return now;
}

static int start(void **state)
{
	now = 1000 * US;
	dpu_clock_set(by_hand);
	*state = fake_open(1 << 20, BLOCK);
	return 0;
}

static int stop(void **state)
{
	vol_close(&((struct fake_vol *)*state)->v);
	dpu_clock_set(NULL);
	return 0;
}

static struct dpu_hist_sum *latency(const struct vol *v)
{
	static struct dpu_hist_sum sum[DPU_LAT_CLASSES];

	memset(sum, 0, sizeof(sum));
	vol_latency(v, sum);
	return sum;
}

static void submit(struct vol_chan *c, struct answer *a, enum vol_op op)
{
	static uint8_t buf[BLOCK];
	static struct iovec iov = { buf, BLOCK };

	*a = (struct answer){ .io = { .op = op, .len = BLOCK, .iov = &iov, .n_iov = 1 } };
	a->io.done = on_done;
	vol_submit(c, &a->io);
}

/* One request that lasts so long. */
static void one(struct fake_vol *f, struct vol_chan *c, enum vol_op op, uint64_t ns)
{
	struct answer a;

	submit(c, &a, op);
	now += ns;
	fake_release(c, f, 0);
}

static void each_class_by_itself(void **state)
{
	struct fake_vol *f = *state;
	struct vol_chan *c;

	assert_int_equal(vol_latency_every(&f->v), DPU_LAT_EVERY);
	vol_latency_set(&f->v, 1);
	assert_int_equal(vol_chan_open(&f->v, NULL, &c), 0);
	one(f, c, VOL_READ, 10 * US);
	one(f, c, VOL_READ, 20 * US);
	one(f, c, VOL_WRITE, 30 * US);
	one(f, c, VOL_FLUSH, 40 * US);
	one(f, c, VOL_DISCARD, 50 * US);
	one(f, c, VOL_WRITE_ZEROES, 60 * US);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].count, 2);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].sum_ns, 30 * US);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].max_ns, 20 * US);
	assert_int_equal(latency(&f->v)[DPU_LAT_WRITE].sum_ns, 30 * US);
	assert_int_equal(latency(&f->v)[DPU_LAT_OTHER].count, 3);
	assert_int_equal(latency(&f->v)[DPU_LAT_OTHER].sum_ns, 150 * US);
	vol_chan_close(c);
}

static void one_of_so_many_unless_asked(void **state)
{
	struct fake_vol *f = *state;
	struct vol_chan *c;

	assert_int_equal(vol_chan_open(&f->v, NULL, &c), 0);
	for (unsigned i = 0; i < 10 * DPU_LAT_EVERY; i++)
		one(f, c, VOL_READ, US);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].count, 10);
	vol_latency_set(&f->v, 0);
	for (unsigned i = 0; i < 10 * DPU_LAT_EVERY; i++)
		one(f, c, VOL_READ, US);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].count, 10);
	vol_chan_close(c);
}

static void errors_do_not_count(void **state)
{
	struct fake_vol *f = *state;
	struct vol_chan *c;

	vol_latency_set(&f->v, 1);
	assert_int_equal(vol_chan_open(&f->v, NULL, &c), 0);
	f->err = -EIO;
	one(f, c, VOL_READ, US);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].count, 0);
	vol_chan_close(c);
}

/* Whoever waits for the limits waits for the volume. */
static void limits_are_part_of_it(void **state)
{
	struct fake_vol *f = *state;
	struct answer a[2];
	struct vol_chan *c;

	vol_latency_set(&f->v, 1);
	vol_limits_set(&f->v, &(struct vol_limits){ .rw_ios = 1000 });
	assert_int_equal(vol_chan_open(&f->v, NULL, &c), 0);
	submit(c, &a[0], VOL_READ);
	submit(c, &a[1], VOL_READ);
	assert_int_equal(f->n_held, 1);
	fake_release(c, f, 0);
	now += 1000 * US; // of 1000 a second
	vol_chan_kick(c);
	assert_int_equal(f->n_held, 1);
	fake_release(c, f, 0);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].count, 2);
	assert_int_equal(latency(&f->v)[DPU_LAT_READ].max_ns, 1000 * US);
	vol_chan_close(c);
}

/* A channel goes on where one that is gone ended; two at once have their own. */
static void channels_come_and_go(void **state)
{
	struct fake_vol *f = *state;
	struct vol_chan *a, *b;

	vol_latency_set(&f->v, 1);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(vol_chan_open(&f->v, NULL, &a), 0);
		assert_int_equal(vol_chan_open(&f->v, NULL, &b), 0);
		one(f, a, VOL_WRITE, US);
		one(f, b, VOL_WRITE, 2 * US);
		assert_int_equal(latency(&f->v)[DPU_LAT_WRITE].count, 2 * i);
		vol_chan_close(a);
		vol_chan_close(b);
		assert_int_equal(latency(&f->v)[DPU_LAT_WRITE].sum_ns, 3 * US * i);
	}
	assert_null(f->v.lats->next->next);
}

/* What is done at once is timed as one, and counts for all that were. */
static void at_once(void **state)
{
	static uint8_t buf[BLOCK];
	const struct vol_null_conf conf = { "n", 1 << 20, BLOCK };
	struct iovec data[3] = { { buf, BLOCK }, { buf, BLOCK }, { buf, BLOCK } };
	uint64_t off[3] = { 0 };
	struct vol_chan *c;
	struct vol *v;

	(void)state;
	assert_int_equal(vol_null_open(&conf, &v), 0);
	vol_latency_set(v, 1);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_true(vol_at_once(c, 3, off, data, 2));
	assert_true(vol_at_once(c, 1, off, data, 1));
	assert_int_equal(latency(v)[DPU_LAT_READ].count, 2);
	assert_int_equal(latency(v)[DPU_LAT_WRITE].count, 2);
	vol_chan_close(c);
	vol_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_class_by_itself, start, stop),
		cmocka_unit_test_setup_teardown(one_of_so_many_unless_asked, start, stop),
		cmocka_unit_test_setup_teardown(errors_do_not_count, start, stop),
		cmocka_unit_test_setup_teardown(limits_are_part_of_it, start, stop),
		cmocka_unit_test_setup_teardown(channels_come_and_go, start, stop),
		cmocka_unit_test_setup_teardown(at_once, start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
