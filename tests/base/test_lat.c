// SPDX-License-Identifier: Apache-2.0
/* Histograms of latencies: buckets, quantiles, and which operations are timed. */
#include "test.h"

#include "dpu_clock.h"
#include "dpu_lat.h"

static uint64_t now;

static uint64_t by_hand(void)
{
	return now;
}

/* ---- buckets ---- */

static const struct bucket_case {
	const char *name;
	uint64_t ns;
	unsigned bucket;
} buckets[] = {
	{ "nothing", 0, 0 },
	{ "last of the first", 7, 0 },
	{ "first of the second", 8, 1 },
	{ "last of the narrow ones", 63, 7 },
	{ "first octave", 64, 8 },
	{ "its last", 127, 15 },
	{ "second octave", 128, 16 },
	{ "within it", 143, 16 },
	{ "next within it", 144, 17 },
	{ "a power of two beyond a microsecond", 1024, 40 },
	{ "last that has a bucket", (1ULL << 35) - 1, 239 },
	{ "longer", 1ULL << 35, 239 },
	{ "much longer", UINT64_MAX, 239 },
};

static void bucket(void **state)
{
	const struct bucket_case *t = *state;

	assert_int_equal(dpu_hist_bucket(t->ns), t->bucket);
	if (t->ns >> 35)
		return;
	assert_true(t->ns < dpu_hist_end_ns(t->bucket));
	assert_true(t->bucket == 0 || t->ns >= dpu_hist_end_ns(t->bucket - 1));
}

/* Every time is in the bucket whose ends are around it, and no bucket is wider than an eighth. */
static void buckets_follow_each_other(void **state)
{
	uint64_t begin = 0;

	(void)state;
	for (unsigned i = 0; i < DPU_HIST_BUCKETS; i++) {
		uint64_t end = dpu_hist_end_ns(i);

		assert_int_equal(dpu_hist_bucket(begin), i);
		assert_int_equal(dpu_hist_bucket(end - 1), i);
		if (begin >= 64)
			assert_true((end - begin) * 8 <= begin);
		begin = end;
	}
	assert_true(begin == 1ULL << 35);
}

/* ---- quantiles ---- */

static void quantiles(void **state)
{
	struct dpu_hist_sum sum = { 0 };
	struct dpu_hist a = { 0 }, b = { 0 };

	(void)state;
	assert_int_equal(dpu_hist_quantile_ns(&sum, 50000), 0);
	dpu_hist_add(&a, 1000, 900); // [960, 1024)
	dpu_hist_add(&b, 5000, 99); // [4608, 5120)
	dpu_hist_add(&b, 70000, 1);
	dpu_hist_collect(&sum, &a);
	dpu_hist_collect(&sum, &b);
	assert_int_equal(sum.count, 1000);
	assert_int_equal(sum.sum_ns, 900 * 1000 + 99 * 5000 + 70000);
	assert_int_equal(sum.max_ns, 70000);
	assert_int_equal(dpu_hist_quantile_ns(&sum, 50000), 1024);
	assert_int_equal(dpu_hist_quantile_ns(&sum, 90000), 1024);
	assert_int_equal(dpu_hist_quantile_ns(&sum, 90001), 5120);
	assert_int_equal(dpu_hist_quantile_ns(&sum, 99900), 5120);
	assert_int_equal(dpu_hist_quantile_ns(&sum, 99901), 70000);
	assert_int_equal(dpu_hist_quantile_ns(&sum, 100000), 70000);
	assert_int_equal(dpu_hist_below(&sum, 1024), 900);
	assert_int_equal(dpu_hist_below(&sum, 4096), 900);
	assert_int_equal(dpu_hist_below(&sum, 1 << 20), 1000);
}

/* What took longer than any bucket is told as long as it was. */
static void longer_than_all(void **state)
{
	struct dpu_hist_sum sum = { 0 };
	struct dpu_hist h = { 0 };

	(void)state;
	dpu_hist_add(&h, 100ULL << 35, 3);
	dpu_hist_collect(&sum, &h);
	assert_true(dpu_hist_quantile_ns(&sum, 50000) == 100ULL << 35);
}

/* ---- timing ---- */

/* How many of `n` operations, each of 100 ns, are timed. */
static uint64_t timed(struct dpu_lat *l, unsigned n)
{
	struct dpu_hist_sum sum[DPU_LAT_CLASSES] = { 0 };

	for (unsigned i = 0; i < n; i++) {
		uint64_t since = dpu_lat_begin(l);

		now += 100;
		if (since)
			dpu_lat_end(l, DPU_LAT_WRITE, since, 1);
	}
	dpu_lat_collect(sum, l);
	assert_int_equal(sum[DPU_LAT_READ].count + sum[DPU_LAT_OTHER].count, 0);
	assert_int_equal(sum[DPU_LAT_WRITE].sum_ns, sum[DPU_LAT_WRITE].count * 100);
	return sum[DPU_LAT_WRITE].count;
}

static void some_are_timed(void **state)
{
	struct dpu_lat l = { 0 };

	(void)state;
	dpu_clock_set(by_hand);
	now = 1;
	assert_int_equal(timed(&l, 1000), 0); // nobody asked for it
	dpu_lat_set(&l, DPU_LAT_EVERY);
	(void)timed(&l, DPU_LAT_EVERY); // until it is looked at again
	uint64_t before = timed(&l, 0);

	assert_int_equal(timed(&l, 100 * DPU_LAT_EVERY) - before, 100);
	dpu_lat_set(&l, 1);
	(void)timed(&l, DPU_LAT_EVERY);
	before = timed(&l, 0);
	assert_int_equal(timed(&l, 100) - before, 100);
	dpu_lat_set(&l, 0);
	(void)timed(&l, 1);
	before = timed(&l, 0);
	assert_int_equal(timed(&l, 1000) - before, 0);
	dpu_clock_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets_follow_each_other),
		cmocka_unit_test(quantiles),
		cmocka_unit_test(longer_than_all),
		cmocka_unit_test(some_are_timed),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(buckets, bucket, failed);
	return failed;
}
