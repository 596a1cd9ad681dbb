/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: one pinned poll thread per configured core (an EAL lcore). A worker runs its pollers
 * turn by turn while there is work; after a stretch without any it arms them all and sleeps in
 * epoll. What stays empty while others have work is parked: armed by itself and not polled, so that
 * it costs nothing; a busy worker looks every few microseconds whether such a one has signalled.
 *
 * The control thread changes what a worker polls only by sending it a message (msg.h) that runs
 * between two turns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dpu_stats.h"

struct card_worker;

/* Something a worker polls. The poller is the caller's memory while it is added. */
struct card_poller {
	/* One bounded turn; returns how much was done, 0 for nothing. */
	unsigned (*poll)(void *arg);
	/* Ask for wake-ups. True: nothing waits. NULL: never has to wake the worker by itself. */
	bool (*arm)(void *arg);
	/* Undo arm: the worker is awake again. May be NULL. */
	void (*disarm)(void *arg);
	/* Longest sleep in us this poller can stand, 0: any. May be NULL. */
	unsigned (*nap_us)(void *arg);
	void *arg;
	unsigned slot; // the worker's; UINT_MAX: taken away
	/*
	 * May it be parked now? After some thousand polls that found nothing it is armed and not
	 * polled any more until card_worker_poller_wake(). NULL: never.
	 */
	bool (*may_park)(void *arg);
	unsigned empty; // the worker's: polls that found nothing, in a row
};

/* Called on the worker when an fd has signalled. The caller's memory while the fd is watched. */
struct card_watch {
	void (*ready)(struct card_watch *watch);
};

struct card_worker_stats {
	dpu_counter turns, busy_turns; // poll rounds; those that found work
	dpu_counter busy_tsc, idle_tsc; // cycles
	dpu_counter sleeps, wakes;
	dpu_counter looks; // for events, while busy
	dpu_counter messages;
};

struct card_workers_conf {
	unsigned n; // workers; their lcores are EAL's worker lcores in order
	/*
	 * How long a worker polls without finding anything before it sleeps. Behind that it polls
	 * as long again as it worked since the last sleep, 5 ms at most. 0: neither.
	 */
	unsigned spin_us;
};

struct card_workers;

/* Control thread. start launches the threads; stop returns when all have ended. */
int card_workers_start(const struct card_workers_conf *conf, struct card_workers **out);
void card_workers_stop(struct card_workers *ws);
/* The CPU that a worker is pinned to. */
unsigned card_worker_cpu(const struct card_worker *w);
unsigned card_workers_count(const struct card_workers *ws);
struct card_worker *card_worker_at(struct card_workers *ws, unsigned idx);
const struct card_worker_stats *card_worker_stats(const struct card_worker *w);

/* Run fn(arg) on the worker between two turns and wait for its result. Control thread. */
int card_worker_call(struct card_worker *w, int (*fn)(struct card_worker *w, void *arg), void *arg);
/* Make a sleeping worker look again. Any thread. */
void card_worker_wake(struct card_worker *w);
/* Wait until every worker has been between two turns. Control thread. */
void card_workers_synchronize(struct card_workers *ws);

/* ---- on the worker (from a message) ---- */
unsigned card_worker_idx(const struct card_worker *w);
int card_worker_poller_add(struct card_worker *w, struct card_poller *p);
void card_worker_poller_del(struct card_worker *w, struct card_poller *p);
/* Something happened to a poller that may be parked. */
void card_worker_poller_wake(struct card_worker *w, struct card_poller *p);
/* So many more (or fewer) things are parked inside a poller and wait for a watch. */
void card_worker_parked(struct card_worker *w, int more);
/*
 * Wake on fd. Edge-triggered and never read, so no state of a hostile eventfd can block the worker.
 * 0, or the errno of epoll_ctl(2): -EPERM for a file that cannot be polled.
 */
int card_worker_fd_add(struct card_worker *w, int fd);
/* The same, and tell `watch` (borrowed until the fd is taken away). */
int card_worker_fd_watch(struct card_worker *w, int fd, struct card_watch *watch);
void card_worker_fd_del(struct card_worker *w, int fd);
