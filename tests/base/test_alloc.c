// SPDX-License-Identifier: Apache-2.0
/* The countdown fails one allocation, the right one. */
#include <stdlib.h>

#include "dpu_alloc.h"
#include "test.h"

static void fails_the_kth(void **state)
{
	void *a, *b, *c;

	(void)state;
	dpu_alloc_fail_after(1);
	a = dpu_calloc(1, 8);
	b = dpu_aligned_calloc(64, 1, 64);
	c = dpu_calloc(1, 8);
	assert_non_null(a);
	assert_null(b);
	assert_non_null(c);
	free(a);
	free(c);
}

static void product_overflow_is_refused(void **state)
{
	(void)state;
	assert_null(dpu_aligned_calloc(64, SIZE_MAX / 2, 4));
}

static void memory_is_zeroed_and_aligned(void **state)
{
	unsigned char *p = dpu_aligned_calloc(64, 3, 100);

	(void)state;
	assert_int_equal((uintptr_t)p % 64, 0);
	for (int i = 0; i < 300; i++)
		assert_int_equal(p[i], 0);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fails_the_kth),
		cmocka_unit_test(product_overflow_is_refused),
		cmocka_unit_test(memory_is_zeroed_and_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
