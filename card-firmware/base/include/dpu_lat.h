/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Latencies: how long operations took, counted in buckets whose width grows with the time
 * (log-linear, as HdrHistogram and fio have them): eight to an octave, so that a quantile is an
 * eighth too high at most. From 8 ns to 34 s; what took longer is in the last bucket, and the
 * longest is kept.
 *
 * Reading a clock costs as much as a good part of a fast operation. So every so many-th operation
 * is timed, by default every DPU_LAT_EVERY-th: a prime, so that it is another one of each burst.
 *
 * A struct dpu_lat is written by one thread and read by any, as counters are: relaxed, no lock.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "dpu_stats.h"

#define DPU_LAT_EVERY 31u

#define DPU_HIST_SUB_BITS 3u // buckets of an octave: 8
#define DPU_HIST_UNIT_BITS 3u // ns of the narrowest: 8
#define DPU_HIST_BUCKETS 240u
#define DPU_HIST_LONGEST_BITS 32u // of the unit: what has more is in the last bucket

/* Zero-filled: empty. */
struct dpu_hist {
	dpu_counter n[DPU_HIST_BUCKETS];
	dpu_counter sum_ns, max_ns;
};

enum dpu_lat_class { DPU_LAT_READ, DPU_LAT_WRITE, DPU_LAT_OTHER, DPU_LAT_CLASSES };

/* Zero-filled: empty, nothing is timed before dpu_lat_set(). */
struct dpu_lat {
	uint32_t left; // until one is timed. The writer's
	_Atomic uint32_t every; // 0: none is timed. Any thread sets it
	struct dpu_hist op[DPU_LAT_CLASSES];
};

static_assert(sizeof(struct dpu_hist) <= 2048, "small enough to have one of each object");

/* Time every so many-th from soon on, 0: none. What was counted stays. Any thread. */
static inline void dpu_lat_set(struct dpu_lat *l, uint32_t every)
{
	atomic_store_explicit(&l->every, every, memory_order_relaxed);
}

/* The slow half of dpu_lat_begin(). */
uint64_t dpu_lat_time(struct dpu_lat *l);

/*
 * An operation begins: when, if it is one that is timed; else 0. Its end is dpu_lat_end()'s. The
 * writer.
 */
static inline uint64_t dpu_lat_begin(struct dpu_lat *l)
{
	if (__builtin_expect(l->left-- != 0, 1))
		return 0;
	return dpu_lat_time(l);
}

/* n operations ended, which began all together at since_ns (not 0). The writer. */
void dpu_lat_end(struct dpu_lat *l, enum dpu_lat_class c, uint64_t since_ns, uint64_t n);

/* The bucket of a time. */
static inline unsigned dpu_hist_bucket(uint64_t ns)
{
	uint64_t v = ns >> DPU_HIST_UNIT_BITS;
	unsigned top;

	if (v < 1u << DPU_HIST_SUB_BITS)
		return (unsigned)v;
	if (v >> DPU_HIST_LONGEST_BITS)
		return DPU_HIST_BUCKETS - 1;
	top = 63 - (unsigned)__builtin_clzll(v);
	return ((top - DPU_HIST_SUB_BITS + 1) << DPU_HIST_SUB_BITS) +
	       (unsigned)(v >> (top - DPU_HIST_SUB_BITS) & ((1u << DPU_HIST_SUB_BITS) - 1));
}

/* The first time that is beyond a bucket, ns. */
uint64_t dpu_hist_end_ns(unsigned bucket);

static inline void dpu_hist_add(struct dpu_hist *h, uint64_t ns, uint64_t n)
{
	dpu_counter_add(&h->n[dpu_hist_bucket(ns)], n);
	dpu_counter_add(&h->sum_ns, ns * n);
	if (ns > dpu_counter_read(&h->max_ns))
		atomic_store_explicit(&h->max_ns, ns, memory_order_relaxed);
}

/* What several histograms say together. Plain numbers of whoever reads. Zero-filled: nothing. */
struct dpu_hist_sum {
	uint64_t n[DPU_HIST_BUCKETS];
	uint64_t count, sum_ns, max_ns;
};

/* Any thread: what is counted meanwhile is in it or not. */
void dpu_hist_collect(struct dpu_hist_sum *sum, const struct dpu_hist *h);
/* All classes of it, each to its place. */
void dpu_lat_collect(struct dpu_hist_sum sum[DPU_LAT_CLASSES], const struct dpu_lat *l);
/*
 * The time that so many of 100,000 do not exceed: 50,000 is the median. An eighth too high at most,
 * never above the longest. 0: nothing was counted.
 */
uint64_t dpu_hist_quantile_ns(const struct dpu_hist_sum *sum, uint32_t per_100000);
/* How many took less than this, a multiple of a bucket's end. */
uint64_t dpu_hist_below(const struct dpu_hist_sum *sum, uint64_t ns);
