/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What layers need for a request while it is below them: a request of their own, and for those that
 * must have a copy of the data a buffer. One pool for each group, shared by all volumes, so that an
 * idle volume costs nothing. Whoever gets nothing waits in a line, and is asked in its turn when
 * something came back; who still lacks something then stands at its end again.
 *
 * Who holds much gets less: as much as is left, at most (dynamic thresholds, as in tgt_pool.h). So
 * one volume whose lower one does not answer holds half, several of them their share, and there is
 * something for the others. Who is over its share waits for what it has itself to come back.
 *
 * A layer on a layer holds something while the lower one wants some, so each leaves something for
 * those below it, and stands in nobody's line but that of those at least as low: the lowest layer
 * always goes on.
 *
 * A pool is its group's thread's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "volume.h"

#define VOL_POOL_SUBS 1024u
#define VOL_POOL_BUFS 64u
#define VOL_POOL_BUF_LEN (64u << 10)
#define VOL_SUB_IOV 32u
#define VOL_SUB_OWN 96u
#define VOL_POOL_DEPTH 8u // layers on each other at most
#define VOL_POOL_RESERVE 2u // of requests and of buffers, for each layer below

struct vol_pool;

/* What a channel has of the pool. Zero-filled: nothing. */
struct vol_held {
	unsigned subs, bufs;
	unsigned depth; // layers below its own: so much less of the pool is for it
	bool over; // refused more, and has to be asked when some of its own came back
};

/* A request below another one. */
struct vol_sub {
	struct vol_io io; // goes down
	struct vol_io *up; // borrowed: the request that it is a part of
	struct vol_chan *chan; // borrowed: of the layer
	void *buf; // of the pool, or NULL; whoever puts the sub puts it as well
	struct vol_sub *next; // whoever holds it
	uint64_t off; // within `up`, bytes
	struct iovec iov[VOL_SUB_IOV];
	_Alignas(16) unsigned char own[VOL_SUB_OWN]; // the layer's
};

/*
 * Begin a request below `up`: everything of it is 0 but who is told. What the volume below keeps in
 * it is left as it is: clearing that too takes longer than the rest of sending it down.
 */
static inline void vol_sub_begin(struct vol_sub *s, struct vol_chan *chan, struct vol_io *up,
	void (*done)(struct vol_io *io, int err))
{
	s->up = up;
	s->chan = chan;
	memset(&s->io, 0, offsetof(struct vol_io, priv));
	s->io.done = done;
}

/* In line for something to come back. The waiter's memory until ready() is called. */
struct vol_waiter {
	/* Try again. Called once, from whoever gave something back. */
	void (*ready)(struct vol_waiter *w);
	unsigned depth; // as vol_held has it
	struct vol_waiter *next; // the pool's
	bool waiting; // the pool's
};

/* 0, -ENOMEM. `bufs` <= 64 buffers; zero-filled memory in no core file. Control thread. */
int vol_pool_create(unsigned subs, unsigned bufs, struct vol_pool **out);
void vol_pool_destroy(struct vol_pool *p); // everything came back; NULL is accepted

/*
 * NULL: there is none, or somebody is in line: wait; or, with h->over, it is too much for one.
 */
struct vol_sub *vol_pool_get(struct vol_pool *p, struct vol_held *h);
/* The same, with a buffer of VOL_POOL_BUF_LEN bytes, aligned to 4096. */
struct vol_sub *vol_pool_get_buf(struct vol_pool *p, struct vol_held *h);
/* True: its holder was over its share and may try again. */
bool vol_pool_put(struct vol_pool *p, struct vol_held *h, struct vol_sub *s);

void vol_pool_wait(struct vol_pool *p, struct vol_waiter *w); // no-op while it waits
/* The channel of `w` goes. */
void vol_pool_forget(struct vol_pool *p, struct vol_waiter *w);
