// SPDX-License-Identifier: Apache-2.0
/* Background work of volumes, on the thread of one group. */
#include "vol_job.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "vol_priv.h"

#define ROUNDS 16u // steps in one turn, as long as there is something to do
#define SLICE_NS 50000u // of a turn: then no other step begins

static unsigned inflight(const struct vol_job *j)
{
	return vol_chan_inflight(j->chan) + (j->side ? vol_chan_inflight(j->side) : 0);
}

static unsigned poll_below(struct vol_job *j)
{
	unsigned n = vol_chan_kick(j->chan) + vol_chan_poll(j->chan);

	return j->side ? n + vol_chan_kick(j->side) + vol_chan_poll(j->side) : n;
}

/* A channel's answers have to be asked for more often than a timer can. */
static bool wants_polls(const struct vol_chan *c)
{
	return c && vol_chan_inflight(c) > 0 && vol_chan_wait_us(c) < NOF_TICK_NS / 1000;
}

static void end(struct vol_job *j)
{
	nof_group_remove(&j->conn);
	nof_timer_clear(&j->timer);
	// Whoever sees this has all that the job wrote, and may free it.
	atomic_store_explicit(&j->running, false, memory_order_release);
}

static unsigned turn(struct vol_job *j)
{
	uint64_t start = dpu_now_ns();
	enum vol_job_next next = VOL_JOB_GOES_ON;
	unsigned n;

	if (start - j->end_ns < j->took_ns)
		return 0;
	n = poll_below(j);
	for (unsigned i = 0; i < ROUNDS && j->more && next == VOL_JOB_GOES_ON; i++) {
		j->answered = false;
		next = vol_job_stopped(j) ? VOL_JOB_ENDS : j->step(j);
		j->more = next != VOL_JOB_ENDS;
		n += poll_below(j) + (next == VOL_JOB_GOES_ON);
		if (next == VOL_JOB_WAITS && j->answered)
			next = VOL_JOB_GOES_ON;
		if (dpu_now_ns() - start >= SLICE_NS)
			break;
	}
	if (!j->more && inflight(j) == 0) {
		end(j);
		return n;
	}
	nof_conn_busy(&j->conn,
		(j->more && next >= VOL_JOB_LOOKS) || wants_polls(j->chan) || wants_polls(j->side));
	j->end_ns = dpu_now_ns();
	j->took_ns = j->end_ns - start;
	nof_timer_set(j->group, &j->timer, j->end_ns + NOF_TICK_NS);
	return n;
}

static unsigned on_turn(struct nof_conn *c, unsigned events)
{
	(void)events;
	return turn((struct vol_job *)(void *)((char *)c - offsetof(struct vol_job, conn)));
}

static void on_timer(struct nof_timer *t)
{
	struct vol_job *j = (struct vol_job *)(void *)((char *)t - offsetof(struct vol_job, timer));

	j->took_ns = 0; // it paused long enough
	(void)turn(j);
}

static void on_start(struct nof_msg *m)
{
	struct vol_job *j = (struct vol_job *)(void *)((char *)m - offsetof(struct vol_job, msg));

	if (j->has_epoll) // else, and if that fails, there is the timer
		(void)nof_group_add(j->group, &j->conn);
	(void)turn(j);
}

static int watch(struct vol_job *j, const struct vol_chan *c)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fd = c ? vol_chan_fd(c) : -1;

	return fd < 0 || epoll_ctl(j->conn.fd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : -errno;
}

/* Without it there is the timer alone: slower, and no reason to fail. */
static void watch_below(struct vol_job *j)
{
	j->conn = (struct nof_conn){
		.fd = epoll_create1(EPOLL_CLOEXEC), .turn = on_turn, .awake = true
	};
	j->has_epoll = j->conn.fd >= 0;
	if (j->has_epoll && (watch(j, j->chan) || watch(j, j->side))) {
		close(j->conn.fd);
		j->has_epoll = false;
	}
	if (!j->has_epoll)
		dpu_warn("volume: its work goes on by the tick", "name=%s", j->chan->v->name);
}

int vol_job_start(struct vol_job *j, struct vol *lower, struct nof_group *group,
	enum vol_job_next (*step)(struct vol_job *j))
{
	int ret = j->chan ? 0 : vol_chan_open(lower, group, &j->chan);

	if (ret)
		return ret;
	j->group = group;
	j->step = step;
	j->more = true;
	j->timer.fire = on_timer;
	j->msg.run = on_start;
	watch_below(j);
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
	if (j->has_epoll)
		close(j->conn.fd);
	j->has_epoll = false;
	vol_chan_close(j->chan);
	vol_chan_close(j->side);
	j->chan = j->side = NULL;
}
