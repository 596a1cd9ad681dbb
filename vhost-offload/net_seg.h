/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between the segments of a chain and flat memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <rte_memcpy.h>

/* A position in a list of segments, none of which is empty. */
struct vho_seg_cur {
	const struct iovec *v;
	size_t off; // into *v
};

/* Bytes from the position to the end of its segment. */
static inline size_t vho_seg_left(const struct vho_seg_cur *c)
{
	// NOLINTNEXTLINE(clang-analyzer-*): the queue filled the segments
	return c->v->iov_len - c->off;
}

static inline void vho_seg_skip(struct vho_seg_cur *c, size_t n) // n <= vho_seg_left()
{
	c->off += n;
	if (c->off == c->v->iov_len)
		*c = (struct vho_seg_cur){ .v = c->v + 1 };
}

/* The caller knows that n bytes are there. */
static inline void vho_seg_read(struct vho_seg_cur *c, void *to, size_t n)
{
	uint8_t *p = to;

	while (n) {
		size_t part = vho_seg_left(c);

		part = part < n ? part : n;
		rte_memcpy(p, (const uint8_t *)c->v->iov_base + c->off, part);
		p += part;
		n -= part;
		vho_seg_skip(c, part);
	}
}

static inline void vho_seg_write(struct vho_seg_cur *c, const void *from, size_t n)
{
	const uint8_t *p = from;

	while (n) {
		size_t part = vho_seg_left(c);

		part = part < n ? part : n;
		rte_memcpy((uint8_t *)c->v->iov_base + c->off, p, part);
		p += part;
		n -= part;
		vho_seg_skip(c, part);
	}
}
