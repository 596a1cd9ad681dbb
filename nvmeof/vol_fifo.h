/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests in a line, linked through a pointer at the begin of each one's priv: whoever has a
 * request puts a `struct vol_io *next` first into what it keeps there. Of one thread.
 */
#pragma once

#include <stddef.h>

#include "volume.h"

struct vol_fifo {
	struct vol_io *head, **tail;
};

static inline struct vol_io **vol_fifo_next(struct vol_io *io)
{
	return (struct vol_io **)(void *)io->priv;
}

static inline void vol_fifo_init(struct vol_fifo *f)
{
	f->head = NULL;
	f->tail = &f->head;
}

static inline void vol_fifo_put(struct vol_fifo *f, struct vol_io *io)
{
	*vol_fifo_next(io) = NULL;
	*f->tail = io;
	f->tail = vol_fifo_next(io);
}

/* The oldest, or NULL. */
static inline struct vol_io *vol_fifo_pop(struct vol_fifo *f)
{
	struct vol_io *io = f->head;

	if (!io)
		return NULL;
	f->head = *vol_fifo_next(io);
	if (!f->head)
		f->tail = &f->head;
	return io;
}

/* Everything, in order, in `to`; nothing is left. */
static inline void vol_fifo_move(struct vol_fifo *f, struct vol_fifo *to)
{
	vol_fifo_init(to);
	if (f->head)
		*to = *f;
	vol_fifo_init(f);
}
