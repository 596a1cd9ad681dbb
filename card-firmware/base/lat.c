// SPDX-License-Identifier: Apache-2.0
/* Latencies: timing some of many operations, and reading histograms. */
#include "dpu_lat.h"

#include "dpu_clock.h"

/* How soon to look again whether something is timed by now. */
#define OFF_EVERY DPU_LAT_EVERY

uint64_t dpu_lat_time(struct dpu_lat *l)
{
	uint32_t every = atomic_load_explicit(&l->every, memory_order_relaxed);

	l->left = (every ? every : OFF_EVERY) - 1;
	return every ? dpu_now_ns() : 0;
}

void dpu_lat_end(struct dpu_lat *l, enum dpu_lat_class c, uint64_t since_ns, uint64_t n)
{
	if (n > 0)
		dpu_hist_add(&l->op[c], dpu_now_ns() - since_ns, n);
}

uint64_t dpu_hist_end_ns(unsigned bucket)
{
	unsigned octave = bucket >> DPU_HIST_SUB_BITS;
	uint64_t in = (bucket & ((1u << DPU_HIST_SUB_BITS) - 1)) + 1;

	if (octave == 0)
		return in << DPU_HIST_UNIT_BITS;
	return ((1u << DPU_HIST_SUB_BITS) + in) << (octave - 1 + DPU_HIST_UNIT_BITS);
}

void dpu_hist_collect(struct dpu_hist_sum *sum, const struct dpu_hist *h)
{
	uint64_t max = dpu_counter_read(&h->max_ns);

	for (unsigned i = 0; i < DPU_HIST_BUCKETS; i++) {
		uint64_t n = dpu_counter_read(&h->n[i]);

		sum->n[i] += n;
		sum->count += n;
	}
	sum->sum_ns += dpu_counter_read(&h->sum_ns);
	if (max > sum->max_ns)
		sum->max_ns = max;
}

void dpu_lat_collect(struct dpu_hist_sum sum[DPU_LAT_CLASSES], const struct dpu_lat *l)
{
	for (unsigned i = 0; i < DPU_LAT_CLASSES; i++)
		dpu_hist_collect(&sum[i], &l->op[i]);
}

uint64_t dpu_hist_quantile_ns(const struct dpu_hist_sum *sum, uint32_t per_100000)
{
	// The first that is not among the rest: of ten, the median is the fifth.
	uint64_t rank = (uint64_t)(((unsigned __int128)sum->count * per_100000 + 99999) / 100000);
	uint64_t seen = 0;

	for (unsigned i = 0; i < DPU_HIST_BUCKETS && rank > 0; i++) {
		seen += sum->n[i];
		if (seen < rank)
			continue;
		// The last bucket has no end of its own.
		if (i == DPU_HIST_BUCKETS - 1 || dpu_hist_end_ns(i) > sum->max_ns)
			return sum->max_ns;
		return dpu_hist_end_ns(i);
	}
	return 0;
}

uint64_t dpu_hist_below(const struct dpu_hist_sum *sum, uint64_t ns)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < DPU_HIST_BUCKETS && dpu_hist_end_ns(i) <= ns; i++)
		n += sum->n[i];
	return n;
}
