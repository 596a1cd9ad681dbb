/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic time in nanoseconds; a test may replace it by a clock that it moves by hand. */
#pragma once

#include <stdint.h>

/* Nanoseconds since an arbitrary start; never goes back. Any thread. */
uint64_t dpu_now_ns(void);

/* Replace the clock (NULL restores CLOCK_MONOTONIC). Before threads start. */
void dpu_clock_set(uint64_t (*now_ns)(void));
