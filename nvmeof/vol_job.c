// SPDX-License-Identifier: Apache-2.0
/* Background work of volumes, driven by a timer of one group. */
#include "vol_job.h"

#include <assert.h>

#include "dpu_clock.h"

#define ROUNDS 16u // steps in one tick, as long as there is something to do

static unsigned inflight(const struct vol_job *j)
{
	return vol_chan_inflight(j->chan) + (j->side ? vol_chan_inflight(j->side) : 0);
}

static unsigned poll_below(struct vol_job *j)
{
	unsigned n = vol_chan_kick(j->chan) + vol_chan_poll(j->chan);

	return j->side ? n + vol_chan_kick(j->side) + vol_chan_poll(j->side) : n;
}

static void tick(struct vol_job *j)
{
	(void)poll_below(j);
	for (unsigned i = 0; i < ROUNDS && j->more; i++) {
		j->more = !vol_job_stopped(j) && j->step(j);
		if (poll_below(j) == 0 && inflight(j) > 0)
			break;
	}
	if (j->more || inflight(j) > 0)
		nof_timer_set(j->group, &j->timer, dpu_now_ns() + NOF_TICK_NS);
	else // whoever sees this has all that the job wrote
		atomic_store_explicit(&j->running, false, memory_order_release);
}

static void on_timer(struct nof_timer *t)
{
	tick((struct vol_job *)(void *)((char *)t - offsetof(struct vol_job, timer)));
}

static void on_start(struct nof_msg *m)
{
	tick((struct vol_job *)(void *)((char *)m - offsetof(struct vol_job, msg)));
}

int vol_job_start(struct vol_job *j, struct vol *lower, struct nof_group *group,
	bool (*step)(struct vol_job *j))
{
	int ret = j->chan ? 0 : vol_chan_open(lower, group, &j->chan);

	if (ret)
		return ret;
	j->group = group;
	j->step = step;
	j->more = true;
	j->timer.fire = on_timer;
	j->msg.run = on_start;
	atomic_store_explicit(&j->stop, false, memory_order_relaxed);
	atomic_store_explicit(&j->running, true, memory_order_relaxed);
	nof_group_post(group, &j->msg);
	return 0;
}

bool vol_job_stop(struct vol_job *j)
{
	atomic_store_explicit(&j->stop, true, memory_order_relaxed);
	return !atomic_load_explicit(&j->running, memory_order_acquire);
}

void vol_job_fini(struct vol_job *j)
{
	assert(!atomic_load_explicit(&j->running, memory_order_acquire));
	vol_chan_close(j->chan);
	vol_chan_close(j->side);
	j->chan = j->side = NULL;
}
