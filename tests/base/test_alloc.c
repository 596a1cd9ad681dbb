// SPDX-License-Identifier: Apache-2.0
/* The countdown fails one allocation, the right one. */
#include <stdlib.h>
#include <string.h>

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

/* A huge page's worth and more, whatever is right behind it; and little. */
static void huge_is_aligned_and_whole(void **state)
{
	static const size_t sizes[] = { 1, 100, (2u << 20) - 1, 2u << 20, (5u << 20) + 3 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		void *mem;
		unsigned char *p = dpu_huge_calloc(1, sizes[i], &mem);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % (sizes[i] >= 2u << 20 ? 2u << 20 : 64), 0);
		assert_int_equal(p[0] | p[sizes[i] - 1], 0);
		memset(p, 0xff, sizes[i]); // ASan looks
		free(mem);
	}
}

static void huge_fails_as_others(void **state)
{
	void *mem = &mem;

	(void)state;
	assert_null(dpu_huge_calloc(SIZE_MAX / 2, 4, &mem));
	assert_null(mem);
	assert_null(dpu_huge_calloc(SIZE_MAX - 7, 1, &mem));
	assert_null(mem);
	dpu_alloc_fail_after(0);
	assert_null(dpu_huge_calloc(1, 64, &mem));
	assert_null(mem);
	dpu_alloc_fail_after(-1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fails_the_kth),
		cmocka_unit_test(product_overflow_is_refused),
		cmocka_unit_test(memory_is_zeroed_and_aligned),
		cmocka_unit_test(huge_is_aligned_and_whole),
		cmocka_unit_test(huge_fails_as_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
