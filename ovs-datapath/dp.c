// SPDX-License-Identifier: Apache-2.0
/* The datapath object: creation, grace periods, periodic work, totals. */
#include "dp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "bridge.h"
#include "classifier.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "emc.h"
#include "flow.h"
#include "fused.h"
#include "hold.h"
#include "meter.h"
#include "recirc.h"
#include "smc.h"
#include "track.h"
#include "vport.h"

#define DEFERRED_MANY 4096u
#define WORKERS_MAX 256u

/* ---- workers ---- */

static void worker_destroy(struct odp_worker *w)
{
	if (!w)
		return;
	for (unsigned c = 0; w->flow_slots && c < FLOW_CHUNKS; c++)
		free(atomic_load_explicit(&w->flow_slots[c], memory_order_relaxed));
	free(w->flow_slots);
	free(w->pw);
	free(w->rxq);
	free(w->txq);
	odp_recirc_queue_destroy(w->recirc);
	odp_bursts_destroy(w->burst);
	odp_emc_destroy(w->emc);
	odp_fused_destroy(w->fused);
	odp_hold_destroy(w->hold);
	odp_smc_destroy(w->smc);
	free(w);
}

static int worker_create(struct odp *dp, unsigned idx, struct odp_worker **out)
{
	struct odp_worker *w = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->dp = dp;
	w->idx = idx;
	w->emc = odp_emc_create();
	w->smc = odp_smc_create();
	w->burst = odp_bursts_create();
	w->recirc = odp_recirc_queue_create();
	w->pw = dpu_calloc(ODP_PORT_MAX, sizeof(*w->pw));
	w->flow_slots = dpu_calloc(FLOW_CHUNKS, sizeof(*w->flow_slots));
	if (!w->emc || !w->smc || !w->burst || !w->recirc || !w->pw || !w->flow_slots) {
		worker_destroy(w);
		return -ENOMEM;
	}
	*out = w;
	return 0;
}

struct odp_worker *odp_worker(struct odp *dp, unsigned idx)
{
	return idx < dp->conf.n_workers ? dp->worker[idx] : NULL;
}

/* ---- grace periods ---- */

static void deferred_run(struct odp *dp)
{
	for (unsigned i = 0; i < dp->n_deferred; i++) {
		if (dp->deferred[i].flow)
			odp_flow_free(dp, dp->deferred[i].flow);
		free(dp->deferred[i].mem);
	}
	dp->n_deferred = 0;
}

static void defer(struct odp *dp, struct odp_deferred d)
{
	if (dp->n_deferred == dp->deferred_size) {
		unsigned size = dp->deferred_size * 2;
		struct odp_deferred *more = realloc(dp->deferred, size * sizeof(*more));

		if (more) {
			dp->deferred = more;
			dp->deferred_size = size;
		} else {
			odp_reclaim(dp);
		}
	}
	dp->deferred[dp->n_deferred++] = d;
}

void odp_defer(struct odp *dp, void *mem)
{
	defer(dp, (struct odp_deferred){ .mem = mem });
}

void odp_defer_flow(struct odp *dp, struct odp_flow *f)
{
	defer(dp, (struct odp_deferred){ .flow = f });
}

void odp_reclaim(struct odp *dp)
{
	if (dp->n_deferred == 0)
		return;
	if (dp->conf.synchronize)
		dp->conf.synchronize(dp->conf.host_arg);
	deferred_run(dp);
}

void odp_reclaim_if_many(struct odp *dp)
{
	if (dp->n_deferred >= DEFERRED_MANY)
		odp_reclaim(dp);
}

/* ---- the object ---- */

static int seed_draw(struct odp_seed *seed)
{
	ssize_t n = getrandom(seed, sizeof(*seed), 0);

	if (n != (ssize_t)sizeof(*seed))
		return n < 0 ? -errno : -EIO;
	seed->mul |= 1;
	return 0;
}

int odp_create(const struct odp_conf *conf, struct odp **out)
{
	if (conf->n_workers == 0 || conf->n_workers > WORKERS_MAX || !conf->pool)
		return -EINVAL;
	struct odp *dp = dpu_calloc(1, sizeof(*dp));
	int ret;

	if (!dp)
		return -ENOMEM;
	dp->conf = *conf;
	ret = seed_draw(&dp->seed);
	if (ret < 0)
		goto err;
	ret = -ENOMEM;
	dp->deferred_size = DEFERRED_MANY;
	dp->deferred = dpu_calloc(dp->deferred_size, sizeof(*dp->deferred));
	dp->port = dpu_calloc(ODP_PORT_MAX, sizeof(*dp->port));
	dp->worker = dpu_calloc(conf->n_workers + 1, sizeof(*dp->worker));
	if (!dp->deferred || !dp->port || !dp->worker)
		goto err;
	for (unsigned i = 0; i <= conf->n_workers; i++) {
		ret = worker_create(dp, i, &dp->worker[i]);
		if (ret < 0)
			goto err;
	}
	dp->control = dp->worker[conf->n_workers];
	dp->port_top = 1;
	ret = odp_meters_init(dp);
	if (ret < 0)
		goto err;
	ret = odp_flows_init(dp);
	if (ret < 0)
		goto err;
	ret = odp_bridge_create(dp, &dp->bridge);
	if (ret < 0)
		goto err;
	ret = odp_tnls_create(dp, &dp->tnls);
	if (ret < 0)
		goto err;
	*out = dp;
	return 0;

err:
	odp_destroy(dp);
	return ret;
}

void odp_destroy(struct odp *dp)
{
	if (!dp)
		return;
	for (uint32_t no = 0; dp->port && no < dp->port_top; no++)
		odp_port_del(odp_port_by_no(dp, no));
	odp_tnls_destroy(dp->tnls);
	odp_bridge_destroy(dp->bridge);
	odp_ct_destroy(dp->ct);
	if (dp->control)
		odp_flow_flush(dp, NULL);
	if (dp->deferred)
		deferred_run(dp);
	odp_flows_fini(dp);
	odp_meters_fini(dp);
	for (unsigned i = 0; dp->worker && i <= dp->conf.n_workers; i++)
		worker_destroy(dp->worker[i]);
	free(dp->worker);
	free(dp->port);
	free(dp->deferred);
	free(dp);
}

void odp_tick(struct odp *dp)
{
	uint64_t now_ns = dpu_now_ns();

	// Links of ethdevs change without telling.
	for (uint32_t no = 0; no < dp->port_top; no++)
		if (odp_port_by_no(dp, no))
			odp_port_caps_changed(odp_port_by_no(dp, no));
	odp_flows_sample(dp, now_ns);
	odp_bridge_tick(dp, now_ns);
	odp_tnls_tick(dp, now_ns);
	odp_track_tick(dp);
	odp_classifier_tick(dp);
	odp_reclaim(dp);
}

void odp_worker_hits(const struct odp_worker *w, struct odp_hit_stats *out)
{
	out->fused = dpu_counter_read(&w->fused_hits);
	out->emc = dpu_counter_read(&w->emc_hits);
	out->mega = dpu_counter_read(&w->mega_hits);
	out->misses = dpu_counter_read(&w->misses);
}

void odp_stats(const struct odp *dp, struct odp_stats *out)
{
	*out = (struct odp_stats){ .flows = dp->n_flows,
		.subtables = odp_classifier_subtables(dp),
		.macs = odp_bridge_n_macs(dp) };
	for (unsigned i = 0; i <= dp->conf.n_workers; i++) {
		const struct odp_worker *w = dp->worker[i];
		struct odp_hit_stats hits;

		odp_worker_hits(w, &hits);
		out->fused_hits += hits.fused;
		out->emc_hits += hits.emc;
		out->mega_hits += hits.mega;
		out->misses += hits.misses;
		out->upcalls += dpu_counter_read(&w->upcalls);
		out->upcalls_dropped += dpu_counter_read(&w->upcalls_dropped);
	}
	memcpy(out->drops, dp->gone_drops, sizeof(out->drops));
	for (uint32_t no = 0; no < dp->port_top; no++) {
		const struct odp_port *p = atomic_load_explicit(
			&dp->port[no], memory_order_relaxed);
		struct odp_port_stats s;

		if (!p)
			continue;
		odp_port_stats(p, &s);
		for (unsigned d = 0; d < ODP_DROP_COUNT; d++)
			out->drops[d] += s.drops[d];
	}
}
