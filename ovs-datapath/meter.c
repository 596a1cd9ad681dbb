// SPDX-License-Identifier: Apache-2.0
/*
 * Meters.
 *
 * A bucket is one number that all workers share: the time at which it would be full again if
 * nothing more came. A packet moves it on by what the packet costs in time at the band's rate, and
 * passes if that is no further ahead of now than the burst costs. So there are no tokens to be
 * refilled, and no lock: a burst of packets is one compare-and-swap.
 *
 * Spec: ITU-T I.371, generic cell rate algorithm, virtual scheduling.
 */
#include "meter.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"

#define TICKS 16u // in a nanosecond: the resolution of costs
#define SECOND (1000000000ull * TICKS)
#define RATE_MAX (1ull << 40)
#define UNITS_MAX (1ull << 20) // of one packet, which is shorter
#define TRIES 8u // to change a bucket that other workers change, too

struct band {
	uint64_t rate; // units a second
	uint64_t burst; // ticks
	_Atomic uint64_t full_at; // ticks
};

/* One worker's counters. */
struct slot {
	dpu_counter packets, bytes;
	dpu_counter dropped[ODP_METER_BANDS], dropped_bytes[ODP_METER_BANDS];
} __rte_cache_aligned;

struct odp_meter {
	/* Fixed. */
	struct odp_meter_conf conf;
	struct slot *slot; // owned: behind this struct

	/* Any worker. */
	struct band band[ODP_METER_BANDS];
};

int odp_meters_init(struct odp *dp)
{
	dp->meter = dpu_calloc(ODP_METERS_ALL, sizeof(*dp->meter));
	return dp->meter ? 0 : -ENOMEM;
}

void odp_meters_fini(struct odp *dp)
{
	for (uint32_t i = 0; dp->meter && i < ODP_METERS_ALL; i++)
		free(atomic_load_explicit(&dp->meter[i], memory_order_relaxed));
	free(dp->meter);
}

static bool band_init(struct band *b, const struct odp_meter_band *conf, bool packets)
{
	uint64_t unit = packets ? 1 : 1000 / 8, burst = conf->burst ? conf->burst : conf->rate;

	if (conf->rate == 0 || conf->rate > RATE_MAX / unit || burst > RATE_MAX / unit)
		return false;
	b->rate = conf->rate * unit;
	unsigned __int128 ticks = (unsigned __int128)burst * unit * SECOND / b->rate;

	// A year is as good as any longer time.
	b->burst = ticks > SECOND << 25 ? SECOND << 25 : (uint64_t)ticks;
	return true;
}

static int set(struct odp *dp, uint32_t id, const struct odp_meter_conf *conf)
{
	unsigned slots = dp->conf.n_workers + 1;
	struct odp_meter *m;

	size_t head = RTE_ALIGN(sizeof(*m), RTE_CACHE_LINE_SIZE);

	m = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, head + slots * sizeof(struct slot));
	if (!m)
		return -ENOMEM;
	m->conf = *conf;
	m->slot = (struct slot *)(void *)((uint8_t *)m + head);
	for (unsigned i = 0; i < conf->n_bands; i++)
		if (!band_init(&m->band[i], &conf->band[i], conf->packets)) {
			free(m);
			return -EINVAL;
		}
	struct odp_meter *old = atomic_exchange_explicit(&dp->meter[id], m, memory_order_acq_rel);

	if (old)
		odp_defer(dp, old);
	return 0;
}

int odp_meter_set(struct odp *dp, uint32_t id, const struct odp_meter_conf *conf)
{
	if (id >= ODP_METERS || conf->n_bands == 0 || conf->n_bands > ODP_METER_BANDS)
		return -EINVAL;
	return set(dp, id, conf);
}

static int del(struct odp *dp, uint32_t id)
{
	struct odp_meter *m = atomic_exchange_explicit(&dp->meter[id], NULL, memory_order_acq_rel);

	if (!m)
		return -ENOENT;
	odp_defer(dp, m);
	return 0;
}

int odp_meter_del(struct odp *dp, uint32_t id)
{
	return id < ODP_METERS ? del(dp, id) : -ENOENT;
}

int odp_meter_storm(struct odp *dp, uint32_t port, const struct odp_storm *s)
{
	const struct odp_meter_conf conf = {
		.packets = true, .n_bands = 1, .band = { { s->per_s, s->burst } }
	};

	if (s->per_s)
		return set(dp, ODP_METER_STORM(port), &conf);
	(void)del(dp, ODP_METER_STORM(port));
	return 0;
}

int odp_meter_get(const struct odp *dp, uint32_t id, struct odp_meter_info *out)
{
	const struct odp_meter *m = NULL;

	if (id < ODP_METERS)
		m = atomic_load_explicit(&dp->meter[id], memory_order_relaxed);
	if (!m)
		return -ENOENT;
	*out = (struct odp_meter_info){ .conf = m->conf };
	for (unsigned w = 0; w <= dp->conf.n_workers; w++) {
		const struct slot *s = &m->slot[w];

		out->packets += dpu_counter_read(&s->packets);
		out->bytes += dpu_counter_read(&s->bytes);
		for (unsigned i = 0; i < m->conf.n_bands; i++) {
			out->dropped[i] += dpu_counter_read(&s->dropped[i]);
			out->dropped_bytes[i] += dpu_counter_read(&s->dropped_bytes[i]);
		}
	}
	return 0;
}

/* Charge what is not in `out` yet. Returns those that find too little. */
static uint32_t charge(struct band *b, const uint64_t *cost, unsigned n, uint32_t out, uint64_t now)
{
	uint64_t was = atomic_load_explicit(&b->full_at, memory_order_relaxed);

	for (unsigned t = 0; t < TRIES; t++) {
		uint64_t at = RTE_MAX(was, now);
		uint32_t over = 0;

		for (unsigned i = 0; i < n; i++) {
			if (out & 1u << i)
				continue;
			if (at + cost[i] - now > b->burst)
				over |= 1u << i;
			else
				at += cost[i];
		}
		if (atomic_compare_exchange_weak_explicit(
			    &b->full_at, &was, at, memory_order_relaxed, memory_order_relaxed))
			return over;
	}
	return 0; // so busy that this burst goes for free
}

static void count(struct slot *s, unsigned band, uint32_t over, struct rte_mbuf *const *pkts)
{
	uint64_t n = 0, bytes = 0;

	for (; over; over &= over - 1) {
		bytes += pkts[__builtin_ctz(over)]->pkt_len;
		n++;
	}
	dpu_counter_add(&s->dropped[band], n);
	dpu_counter_add(&s->dropped_bytes[band], bytes);
}

uint32_t odp_meter_run(
	const struct odp_worker *w, uint32_t id, struct rte_mbuf *const *pkts, unsigned n)
{
	struct odp_meter *m = NULL;
	uint64_t cost[ODP_BURST], bytes = 0, now = dpu_now_ns() * TICKS;
	uint32_t out = 0;

	if (id < ODP_METERS_ALL)
		m = atomic_load_explicit(&w->dp->meter[id], memory_order_acquire);
	if (!m)
		return 0;
	for (unsigned i = 0; i < n; i++)
		bytes += pkts[i]->pkt_len;
	dpu_counter_add(&m->slot[w->idx].packets, n);
	dpu_counter_add(&m->slot[w->idx].bytes, bytes);
	for (unsigned k = 0; k < m->conf.n_bands; k++) {
		struct band *b = &m->band[k];

		for (unsigned i = 0; i < n; i++) {
			uint64_t units = m->conf.packets ? 1 : pkts[i]->pkt_len;

			cost[i] = RTE_MIN(units, UNITS_MAX) * SECOND / b->rate;
		}
		uint32_t over = charge(b, cost, n, out, now);

		count(&m->slot[w->idx], k, over, pkts);
		out |= over;
	}
	return out;
}
