/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one thread polls: connections, timers and messages from other threads.
 *
 * Each worker has a group and the control thread has one. A connection belongs to one group at a
 * time and only its thread touches it. To give it away, take it out, post a message to the other
 * thread's group, and put it in there: nothing of it may be used on the way.
 *
 * A group is one poller of its thread, however many connections it has: busy ones (something is in
 * flight) have their turn at every poll, the others when epoll names them. Nothing here allocates
 * after nof_group_create(), and nothing waits.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "nof_group.h"

struct vol_pool;

/* ---- one socket; the first member of whatever a role makes of it ---- */

enum nof_event { NOF_EV_IN = 1, NOF_EV_OUT = 2, NOF_EV_ERR = 4 };

struct nof_conn {
	/* The owner fills these in before nof_group_add(). */
	int fd; // non-blocking; the owner's
	/*
	 * One turn: read and write what goes. events: enum nof_event as far as epoll was asked, 0
	 * for a busy connection. Returns how much was done. May take any connection out of the
	 * group, itself too.
	 */
	unsigned (*turn)(struct nof_conn *c, unsigned events);
	bool awake; // while it is busy the thread must not sleep: its socket does not tell

	/* The group's. */
	struct nof_group *group; // borrowed; NULL: in none
	TAILQ_ENTRY(nof_conn) busy_link, flush_link;
	bool busy, flush, want_out;
};

/* Put a connection in: 0, or the errno of epoll_ctl(2). */
int nof_group_add(struct nof_group *g, struct nof_conn *c);
/* Take it out; does nothing when it is in none. The descriptor stays open. */
void nof_group_remove(struct nof_conn *c);
/* Give it a turn at every poll, or when its socket is readable only. */
void nof_conn_busy(struct nof_conn *c, bool busy);
/* Give it one turn in the next poll: it has something to send. */
void nof_conn_flush(struct nof_conn *c);
/* The socket took no more: give it a turn when it does. */
void nof_conn_want_out(struct nof_conn *c, bool wanted);

/* ---- timers, exact to NOF_TICK_NS; late ones, never early ones ---- */

#define NOF_TICK_NS 4000000ULL

struct nof_timer {
	void (*fire)(struct nof_timer *t); // on the group's thread; may set it again
	struct nof_group *group; // NULL: not set
	uint64_t at_ns;
	LIST_ENTRY(nof_timer) link;
};

/* At at_ns of dpu_now_ns(); set again it moves. */
void nof_timer_set(struct nof_group *g, struct nof_timer *t, uint64_t at_ns);
void nof_timer_clear(struct nof_timer *t);

/* ---- messages ---- */

struct nof_msg {
	void (*run)(struct nof_msg *m); // on the group's thread; the message is free for use again
	struct nof_msg *next;
};

/*
 * Have a message run in the next poll, after those that were posted before it. The message is the
 * caller's memory until it runs. Any thread. Not more than that: no message is lost, none waits.
 */
void nof_group_post(struct nof_group *g, struct nof_msg *m);

/* ---- for whoever runs in a group ---- */

/* The time at which this poll began. On the group's thread. */
uint64_t nof_group_now(const struct nof_group *g);
/* The shared receive buffer: valid until the turn ends. */
uint8_t *nof_group_rx(struct nof_group *g, size_t *size);
/* What the layers of its volumes share. */
struct vol_pool *nof_group_pool(struct nof_group *g);
