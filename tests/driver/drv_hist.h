/* SPDX-License-Identifier: Apache-2.0 */
/* Histogram of times: 32 buckets per power of two, so a percentile is right to about 3 %. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "dpu_clock.h"

#define DRV_HIST_SUB 32
#define DRV_HIST_N (40 * DRV_HIST_SUB)

struct drv_hist {
	uint64_t n;
	uint32_t at[DRV_HIST_N];
};

static inline void drv_hist_add(struct drv_hist *h, uint64_t v)
{
	unsigned i = (unsigned)v;

	if (v >= DRV_HIST_SUB) {
		unsigned shift = 63 - (unsigned)__builtin_clzll(v) - 5;

		i = (shift + 1) * DRV_HIST_SUB + (unsigned)((v >> shift) - DRV_HIST_SUB);
		if (i >= DRV_HIST_N)
			i = DRV_HIST_N - 1;
	}
	h->at[i]++;
	h->n++;
}

/* v, and what requests `gap` apart (0: none) would have waited that could not be made meanwhile. */
static inline void drv_hist_add_gap(struct drv_hist *h, uint64_t v, uint64_t gap)
{
	drv_hist_add(h, v);
	while (gap && v > gap) {
		v -= gap;
		drv_hist_add(h, v);
	}
}

/* The least value that bucket i counts. */
static inline uint64_t drv_hist_floor(unsigned i)
{
	unsigned shift = i / DRV_HIST_SUB;
	uint64_t sub = i % DRV_HIST_SUB;

	return shift == 0 ? sub : (sub + DRV_HIST_SUB) << (shift - 1);
}

/* The value below which `permille` of 1000 lie; 0 when empty. */
static inline uint64_t drv_hist_at(const struct drv_hist *h, unsigned permille)
{
	uint64_t left = h->n * permille / 1000;

	for (unsigned i = 0; i < DRV_HIST_N; i++) {
		if (h->at[i] > left || (left && h->at[i] == left))
			return drv_hist_floor(i);
		left -= h->at[i];
	}
	return 0;
}

/* A cheap clock; its unit is found by comparing with dpu_now_ns() over the run. */
static inline uint64_t drv_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#else
	return dpu_now_ns();
#endif
}

static inline void drv_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Fetch a line to write to it. */
static inline void drv_fetch_write(const volatile void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const volatile char *)p));
#else
	__builtin_prefetch((const void *)(uintptr_t)p, 1);
#endif
}

/* Pseudo-random numbers, the same on every machine for the same seed. */
static inline uint64_t drv_rand(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}
