/* SPDX-License-Identifier: Apache-2.0 */
/* Disk tests that run with every ring layout. */
#pragma once

#include "blk_env.h"
#include "test.h"

/* A test that gets a layout: with each of them it is a test of its own. */
struct env_test {
	const char *name;
	CMUnitTestFunction fn;
	enum { ENV_EVERY, ENV_PLAIN, ENV_FIRST } with; // layouts; plain: without ring features
};

/* Put those tests to t, N_LAYOUTS for each at most; their names to `names`. How many they are. */
static inline size_t env_tests(
	const struct env_test *rows, size_t n_rows, struct CMUnitTest *t, char (*names)[96])
{
	size_t n = 0;

	for (size_t i = 0; i < n_rows; i++)
		for (size_t l = 0; l < (rows[i].with == ENV_FIRST ? 1 : N_LAYOUTS); l++) {
			if (rows[i].with == ENV_PLAIN && layouts[l].features)
				continue;
			snprintf(names[n], sizeof(names[n]), "%s%s%s", rows[i].name,
				rows[i].with == ENV_FIRST ? "" : ": ",
				rows[i].with == ENV_FIRST ? "" : layouts[l].name);
			t[n] = (struct CMUnitTest){ .name = names[n],
				.test_func = rows[i].fn,
				.initial_state = (void *)(uintptr_t)&layouts[l] };
			n++;
		}
	return n;
}
