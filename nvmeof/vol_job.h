/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work of a volume that nobody's request asked for: a header that is read, an area that is made
 * ready. It runs on the thread of one group, with a channel of the volume below for itself.
 *
 * As long as there is something to be done, or something below wants to be polled, it has a turn
 * with each poll of the group, of 50 us and a step at most, and then none for as long as that took:
 * others on the thread have half of its time. When it waits for an answer below, or for a time, it
 * is woken by that and the thread may sleep; a timer looks after it besides.
 *
 * The control thread starts it, has it stop, and may forget it once it has ended.
 */
#pragma once

#include <stdatomic.h>

#include "group.h"
#include "volume.h"

enum vol_job_next {
	VOL_JOB_ENDS, // there is no more to do
	VOL_JOB_WAITS, // for an answer, or a time: within a tick after it has come
	VOL_JOB_LOOKS, // for something of other threads: with the next poll
	VOL_JOB_GOES_ON,
};

struct vol_job {
	/* Fixed at the start. */
	struct nof_group *group; // borrowed
	/*
	 * The next step, on the group's thread: some 50 us at most. Nothing more goes down once
	 * `stop` is set.
	 */
	enum vol_job_next (*step)(struct vol_job *j);
	bool has_epoll; // owned: conn.fd, of those channels that have a descriptor
	struct vol_chan *chan; // owned
	struct vol_chan *side; // owned; of another volume, opened before the start; or NULL

	/* The group's thread. */
	struct nof_msg msg;
	struct nof_timer timer;
	struct nof_conn conn; // busy while it is to have turns
	uint64_t end_ns, took_ns; // of the last turn
	bool more;
	bool answered; // since the last step began

	_Atomic bool stop; // the control thread wants it to end
	_Atomic bool running;
};

/*
 * `lower` has a channel opened in `group`, unless j->chan is one already, and step() is called from
 * there on. 0 or -errno; 0 when the channel was there.
 */
int vol_job_start(struct vol_job *j, struct vol *lower, struct nof_group *group,
	enum vol_job_next (*step)(struct vol_job *j));
/* Something of it was answered: it has a turn soon. The group's thread. */
static inline void vol_job_wake(struct vol_job *j)
{
	j->answered = true;
	nof_conn_busy(&j->conn, true);
}
static inline bool vol_job_stopped(struct vol_job *j)
{
	return atomic_load_explicit(&j->stop, memory_order_relaxed);
}
/* Have it end soon. True: it has, or never began. */
bool vol_job_stop(struct vol_job *j);
/* It has ended. */
void vol_job_fini(struct vol_job *j);
