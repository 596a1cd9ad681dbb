/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters: written by one thread, read by any. A relaxed load and store, not an atomic add: the
 * writer owns the counter.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t dpu_counter;

static inline void dpu_counter_add(dpu_counter *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t dpu_counter_read(const dpu_counter *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}
