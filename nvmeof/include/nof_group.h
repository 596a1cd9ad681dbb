/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group: what one thread polls of NVMe over Fabrics. Each worker has one and the control thread
 * has one; channels of volumes are opened for the group of the worker that drives them.
 *
 * A group is one poller of its thread, however many connections it has. Nothing here allocates
 * after nof_group_create(), and nothing waits. All calls are the group's thread's, but where
 * something else is said.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nof_group;

struct nof_group_conf {
	size_t rx_size; // of the receive buffer that its connections share; 0: 128 KiB
	/*
	 * Somebody wants a poll that epoll does not know of, or one before the deadline: called on
	 * the group's thread outside of a poll. NULL: it is polled all the time.
	 */
	void (*wake)(void *user);
	void *user; // of wake()
};

/* 0, -ENOMEM, or the errno of epoll_create1(2), eventfd(2). */
int nof_group_create(const struct nof_group_conf *conf, struct nof_group **out);
/* No connection is in it any more and no message on its way. NULL is accepted. */
void nof_group_destroy(struct nof_group *g);

/*
 * One round: messages, connections that flush, busy ones, those that epoll names, timers. Returns
 * how much was done. Epoll is asked now and then only while there are busy connections.
 */
unsigned nof_group_poll(struct nof_group *g);

/*
 * Before the thread sleeps: true when nothing waits. Afterwards nof_group_fd() becomes readable
 * when something comes; edge-triggered watching is enough.
 */
bool nof_group_arm(struct nof_group *g);
int nof_group_fd(const struct nof_group *g);
/* When the next timer wants a poll, of dpu_now_ns(); UINT64_MAX: never. May be early. */
uint64_t nof_group_deadline(const struct nof_group *g);
/* No connection, no timer, no message: a poll would find nothing. */
bool nof_group_empty(const struct nof_group *g);
/* A connection has something in flight. */
bool nof_group_busy(const struct nof_group *g);
