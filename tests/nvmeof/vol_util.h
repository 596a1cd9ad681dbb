/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the volume tests: one request at a time, and where the files go. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volume.h"

struct answer {
	struct vol_io io; // first
	unsigned n_done;
	int err;
};

static inline void on_done(struct vol_io *io, int err)
{
	struct answer *a = (struct answer *)io;

	a->n_done++;
	a->err = err;
}

/* Wait for `n` requests in flight at most. False: nothing happened for ten seconds. */
static inline bool drain(struct vol_chan *c, unsigned n)
{
	vol_chan_kick(c);
	while (vol_chan_inflight(c) > n) {
		errno = 0;
		struct pollfd p = { .fd = vol_chan_fd(c), .events = POLLIN };

		if (vol_chan_poll(c) == 0 && poll(&p, 1, 10000) != 1 && errno != EINTR)
			return false;
	}
	return true;
}

/* Submit, wait, return the error; -ETIME when it was not answered exactly once. */
static inline int run(struct vol_chan *c, struct answer *a)
{
	a->io.done = on_done;
	a->n_done = 0;
	vol_submit(c, &a->io);
	if (!drain(c, 0) || a->n_done != 1)
		return -ETIME;
	return a->err;
}

static inline int rw(struct vol_chan *c, enum vol_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec v = { buf, len };
	struct answer a = { .io = { .op = op, .off = off, .len = len, .iov = &v, .n_iov = 1 } };

	return run(c, &a);
}

static inline int range(struct vol_chan *c, enum vol_op op, uint64_t off, uint64_t len, bool unmap)
{
	struct answer a = { .io = { .op = op, .off = off, .len = len, .unmap = unmap } };

	return run(c, &a);
}

/* A fresh directory on the disk (where) or on tmpfs; the caller removes it. */
enum place { ON_DISK, ON_TMPFS };
static inline void make_dir(enum place where, char *out, size_t size)
{
	snprintf(out, size, "%s/vol-test-XXXXXX", where == ON_DISK ? "/var/tmp" : "/dev/shm");
	if (!mkdtemp(out))
		abort();
}
