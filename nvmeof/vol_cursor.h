/* SPDX-License-Identifier: Apache-2.0 */
/* A place in the segments of a request, and copying from and to it. */
#pragma once

#include <string.h>

#include "volume.h"

struct vol_cursor {
	unsigned at; // segment
	size_t off; // bytes of it that are passed
};

/* Who steps over segments has some. */
static inline const struct iovec *vol_cursor_iov(
	const struct vol_io *io, const struct vol_cursor *c)
{
	if (!io->iov)
		__builtin_unreachable();
	return &io->iov[c->at];
}

/* n bytes on, and over segments without any. n 0: to the first byte. */
static inline void vol_cursor_skip(const struct vol_io *io, struct vol_cursor *c, size_t n)
{
	while (c->at < io->n_iov && n >= vol_cursor_iov(io, c)->iov_len - c->off) {
		n -= vol_cursor_iov(io, c)->iov_len - c->off;
		c->at++;
		c->off = 0;
	}
	c->off += n;
}

static inline uint8_t *vol_cursor_ptr(const struct vol_io *io, const struct vol_cursor *c)
{
	return (uint8_t *)vol_cursor_iov(io, c)->iov_base + c->off;
}

/* What lies in one piece from here on. */
static inline size_t vol_cursor_run(const struct vol_io *io, const struct vol_cursor *c)
{
	return vol_cursor_iov(io, c)->iov_len - c->off;
}

enum vol_copy { VOL_GATHER, VOL_SCATTER };

/* Copy n bytes, which are there, between `b` and the segments, and step over them. */
static inline void vol_cursor_copy(
	const struct vol_io *io, struct vol_cursor *c, uint8_t *b, size_t n, enum vol_copy way)
{
	while (n > 0) {
		size_t run = vol_cursor_run(io, c), part = run < n ? run : n;

		if (way == VOL_GATHER)
			memcpy(b, vol_cursor_ptr(io, c), part);
		else
			memcpy(vol_cursor_ptr(io, c), b, part);
		b += part;
		n -= part;
		vol_cursor_skip(io, c, part);
	}
}
