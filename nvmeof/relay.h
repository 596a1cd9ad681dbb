/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue pair for a worker that has none of its own, where a controller grants fewer queues than
 * there are workers: its transport is another worker's queue, reached by messages. A command goes
 * to the thread of that queue, takes a slot there in turn with the others, and comes back with the
 * answer; its data are moved by that thread, and not touched any more once it is back.
 *
 * A relay is never aborted, since what it has out is another thread's: it ends when everything is
 * back, which the end of the other queue sees to.
 */
#pragma once

#include "qpair.h"

struct nof_io;

/*
 * A relay of so many commands for the worker of `arg` (the owner's, as with every pair) in group
 * `home`, through the queue that `over` has whenever a command arrives there; both outlive it.
 * Control thread. 0 or -ENOMEM.
 */
int nof_relay_create(struct nof_io *over, struct nof_group *home, void *arg, uint16_t depth,
	struct nof_qpair **out);
/* Is this pair one? */
bool nof_is_relay(const struct nof_qpair *q);
/*
 * On its worker: take no more commands; post `idle` to `to` once the last one is back, at once if
 * there is none.
 */
void nof_relay_end(struct nof_qpair *q, struct nof_group *to, struct nof_msg *idle);
