/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka in the order it wants, and rows as tests. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/*
 * A group of tests failed (1) or it did not (0): cmocka's count could be 77, which meson takes for
 * "skipped", or 256, which no process can return.
 */
static inline int test_group(const char *name, const struct CMUnitTest *tests, size_t n,
	CMFixtureFunction setup, CMFixtureFunction teardown)
{
	return _cmocka_run_group_tests(name, tests, n, setup, teardown) != 0;
}
#define _cmocka_run_group_tests test_group // what cmocka's macros call from here on

/*
 * Run fn once for each row of a table as a cmocka test named after the row, and make `failed` 1
 * when one fails. Rows have a member `name`; fn gets its row in *state.
 */
#define RUN_ROWS(rows, fn, failed)                                                      \
	do {                                                                            \
		for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++) {                       \
			struct CMUnitTest one_[] = { { (rows)[i_].name, fn, NULL, NULL, \
				(void *)(uintptr_t) & (rows)[i_] } };                   \
			(failed) |= cmocka_run_group_tests_name(                        \
				(rows)[i_].name, one_, NULL, NULL);                     \
		}                                                                       \
	} while (0)
