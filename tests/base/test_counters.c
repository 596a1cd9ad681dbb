// SPDX-License-Identifier: Apache-2.0
/*
 * Counters that a loop adds to, in a function of its own, as flows of a fused packet are counted.
 * GCC 12 took such a loop for one that reads a null pointer, since it had split the address of
 * at[i] so that no pointer was left in it. What comes behind such a read does not happen, so the
 * function had no effect, and calls of it were dropped. See meson.build.
 */
#include "test.h"

#include "dpu_stats.h"

#define N 6u
#define MORE 8u // in flags

struct counted {
	uint8_t n, flags;
	uint32_t at[N]; // indexes of counters
	uint64_t between[3];
	int8_t more[N];
};

static dpu_counter counters[64];

static __attribute__((noinline)) void count(
	const struct counted *c, unsigned first, unsigned end, uint64_t n)
{
	for (unsigned i = first; i < end; i++) {
		uint64_t more = 0;

		if (c->flags & MORE)
			more = (uint64_t)((int64_t)c->more[i] * (int64_t)n);
		dpu_counter_add(&counters[c->at[i]], n + more);
	}
}

static void count_from(const struct counted *c, unsigned first, uint64_t n)
{
	count(c, first, c->n, n);
}

/* Nothing is known of the arguments where it is called by this. */
static void (*volatile called)(const struct counted *c, unsigned first, uint64_t n) = count_from;

static void a_loop_counts(void **state)
{
	struct counted c = { .n = 3,
		.flags = MORE,
		.at = { 5, 60, 7 },
		.between = { 1, 2, 3 },
		.more = { 1, -1, 2 } };

	(void)state;
	called(&c, 0, 10);
	c.flags = 0;
	called(&c, 1, 4);
	assert_int_equal(dpu_counter_read(&counters[5]), 20);
	assert_int_equal(dpu_counter_read(&counters[60]), 4);
	assert_int_equal(dpu_counter_read(&counters[7]), 34);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_loop_counts) };

	return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
