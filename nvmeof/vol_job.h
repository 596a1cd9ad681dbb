/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work of a volume that nobody's request asked for: a header that is read, an area that is made
 * ready. It runs on the thread of one group, a step with each tick of a timer, with a channel of
 * the volume below for itself.
 *
 * The control thread starts it, has it stop, and may forget it once it has ended.
 */
#pragma once

#include <stdatomic.h>

#include "group.h"
#include "volume.h"

struct vol_job {
	/* Fixed at the start. */
	struct nof_group *group; // borrowed
	/*
	 * The next step, on the group's thread, whenever something of it was answered and with each
	 * tick. False: there is no more to do. Nothing more goes down once `stop` is set.
	 */
	bool (*step)(struct vol_job *j);
	struct vol_chan *chan; // owned
	struct vol_chan *side; // owned; of another volume, opened before the start; or NULL

	/* The group's thread. */
	struct nof_msg msg;
	struct nof_timer timer;
	bool more;

	_Atomic bool stop; // the control thread wants it to end
	_Atomic bool running;
};

/*
 * `lower` has a channel opened in `group`, unless j->chan is one already, and step() is called from
 * there on. 0 or -errno; 0 when the channel was there.
 */
int vol_job_start(struct vol_job *j, struct vol *lower, struct nof_group *group,
	bool (*step)(struct vol_job *j));
static inline bool vol_job_stopped(struct vol_job *j)
{
	return atomic_load_explicit(&j->stop, memory_order_relaxed);
}
/* Have it end soon. True: it has, or never began. */
bool vol_job_stop(struct vol_job *j);
/* It has ended. */
void vol_job_fini(struct vol_job *j);
