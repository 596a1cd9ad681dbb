// SPDX-License-Identifier: Apache-2.0
/* Life of the connection table, and of workers inside it. */
#include "track.h"

#include "dpu_clock.h"
#include "dpu_log.h"
#include "fused.h"
#include "hold.h"
#include "odp_flow.h"

#define SWEEP_TURN 32u // connections that a worker looks at between two turns
#define SWEEP_TICK 65536u

int odp_track_init(struct odp *dp)
{
	struct odp_ct_conf conf = {
		.max_conns = dp->conf.ct_conns ? dp->conf.ct_conns : ODP_CT_CONNS,
		.n_workers = dp->conf.n_workers + 1, // the control thread handles packets, too
		.seed = { dp->seed.mul, dp->seed.start },
	};

	int ret;

	if (dp->ct)
		return 0;
	ret = odp_ct_create(&conf, &dp->ct);
	// Workers look at `fused` once they have tracked: the flow that makes them has come then
	for (unsigned i = 0; !ret && !dp->conf.step_by_step && i < dp->conf.n_workers; i++) {
		dp->worker[i]->fused = odp_fused_create(conf.max_conns);
		if (!dp->worker[i]->fused)
			dpu_warn("datapath: no memory for the fused path", "worker=%u", i);
	}
	for (unsigned i = 0; !ret && i <= dp->conf.n_workers; i++)
		if (odp_hold_create(dp->worker[i], &dp->worker[i]->hold) < 0)
			dpu_warn("datapath: no memory for fragments", "worker=%u", i);
	return ret;
}

void odp_fragment_stats(const struct odp *dp, struct odp_frag_stats *out)
{
	*out = (struct odp_frag_stats){ 0 };
	for (unsigned i = 0; dp->ct && i <= dp->conf.n_workers; i++)
		odp_hold_stats_add(dp->worker[i]->hold, out);
}

struct odp_ct *odp_conntrack(struct odp *dp)
{
	return dp->ct;
}

int odp_conntrack_get(struct odp *dp, struct odp_ct **out)
{
	int ret = odp_track_init(dp);

	*out = dp->ct;
	return ret;
}

void odp_track_read_clock(struct odp_worker *w)
{
	w->now_ms = dpu_now_ns() / 1000000 + 1; // 0 means: not read yet
}

void odp_track_turn(struct odp_worker *w)
{
	odp_ct_quiescent(w->dp->ct, w->idx);
	(void)odp_ct_sweep(w->dp->ct, w->idx, SWEEP_TURN, odp_track_now_ms(w));
}

void odp_track_leave(struct odp_worker *w)
{
	if (!w->tracks)
		return;
	w->tracks = false;
	w->now_ms = 0;
	odp_ct_offline(w->dp->ct, w->idx);
}

void odp_track_tick(struct odp *dp)
{
	struct odp_worker *w = dp->control;
	struct odp_ct_stats stats;

	if (!dp->ct)
		return;
	(void)odp_track_enter(w);
	(void)odp_ct_sweep(dp->ct, w->idx, SWEEP_TICK, odp_track_now_ms(w));
	if (w->holds)
		odp_hold_turn(w);
	odp_ct_stats(dp->ct, &stats);
	for (unsigned i = 0; i < dp->conf.n_workers; i++)
		if (dp->worker[i]->fused)
			odp_fused_tick(dp->worker[i]->fused, stats.conns / dp->conf.n_workers);
	odp_track_leave(w);
}
