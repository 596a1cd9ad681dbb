// SPDX-License-Identifier: Apache-2.0
/* Monotonic clock with a seam for tests. */
#include "dpu_clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t (*replaced)(void);

uint64_t dpu_now_ns(void)
{
	struct timespec ts;

	if (replaced)
		return replaced();
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void dpu_clock_set(uint64_t (*now_ns)(void))
{
	replaced = now_ns;
}
