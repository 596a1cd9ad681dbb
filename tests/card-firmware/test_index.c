// SPDX-License-Identifier: Apache-2.0
/* Objects by name. */
#include "index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "test.h"

#define N 5000u

struct object {
	struct card_index_link link;
	char name[16];
};
static struct object objects[N];
static struct card_index x;

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N; i++) {
		objects[i] = (struct object){ 0 };
		snprintf(objects[i].name, sizeof(objects[i].name), "v%u", i);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	card_index_fini(&x);
	return 0;
}

static void finds_what_is_in_it(void **state)
{
	(void)state;
	assert_null(card_index_find(&x, "v0"));
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(card_index_add(&x, &objects[i].link, objects[i].name), 0);
	for (unsigned i = 0; i < N; i += 2)
		card_index_del(&x, &objects[i].link);
	card_index_del(&x, &objects[0].link); // is in none
	for (unsigned i = 0; i < N; i++)
		assert_ptr_equal(
			card_index_find(&x, objects[i].name), i % 2 ? &objects[i].link : NULL);
	assert_int_equal(x.n, N / 2);
	assert_null(card_index_find(&x, ""));
}

/* No bucket is long: finding one costs the same however many there are. */
static void buckets_stay_short(void **state)
{
	unsigned longest = 0;

	(void)state;
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(card_index_add(&x, &objects[i].link, objects[i].name), 0);
	assert_true(x.n_buckets >= N);
	for (size_t i = 0; i < x.n_buckets; i++) {
		unsigned n = 0;

		for (const struct card_index_link *l = x.bucket[i]; l; l = l->next)
			n++;
		longest = n > longest ? n : longest;
	}
	assert_true(longest <= 10);
}

static void gets_along_without_memory(void **state)
{
	(void)state;
	dpu_alloc_fail_after(0);
	assert_int_equal(card_index_add(&x, &objects[0].link, objects[0].name), -ENOMEM);
	card_index_del(&x, &objects[0].link);
	for (unsigned i = 0; i < N; i++) {
		dpu_alloc_fail_after(i ? 0 : -1);
		assert_int_equal(card_index_add(&x, &objects[i].link, objects[i].name), 0);
	}
	dpu_alloc_fail_after(-1);
	for (unsigned i = 0; i < N; i++)
		assert_ptr_equal(card_index_find(&x, objects[i].name), &objects[i].link);
}

int main(void)
{
	const struct CMUnitTest t[] = {
		cmocka_unit_test_setup_teardown(finds_what_is_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(buckets_stay_short, setup, teardown),
		cmocka_unit_test_setup_teardown(gets_along_without_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("objects by name", t, NULL, NULL);
}
