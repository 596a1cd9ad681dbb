/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded reader over bytes we did not write. Reads past the end return zero and set `bad`, so a
 * decoder reads a whole header and checks once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dpu_wire.h"

struct dpu_cur {
	const uint8_t *at; // borrowed: the bytes outlive the cursor
	size_t left;
	bool bad; // a read went past the end; sticky
};

static inline struct dpu_cur dpu_cur_init(const void *bytes, size_t len)
{
	return (struct dpu_cur){ .at = bytes, .left = len };
}

/* Take n bytes: a pointer to them, or NULL with `bad` set when fewer are left. */
static inline const uint8_t *dpu_cur_take(struct dpu_cur *c, size_t n)
{
	const uint8_t *p = c->at;

	if (c->bad || n > c->left) {
		c->bad = true;
		c->left = 0;
		return NULL;
	}
	c->at += n;
	c->left -= n;
	return p;
}

static inline void dpu_cur_skip(struct dpu_cur *c, size_t n)
{
	(void)dpu_cur_take(c, n);
}

/* Copy n bytes to `out`, or fill it with zeros when fewer are left. */
static inline void dpu_cur_copy(struct dpu_cur *c, void *out, size_t n)
{
	const uint8_t *p = dpu_cur_take(c, n);

	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

static inline uint8_t dpu_cur_u8(struct dpu_cur *c)
{
	const uint8_t *p = dpu_cur_take(c, 1);

	return p ? *p : 0;
}

/*
 * dpu_cur_le16(c) .. dpu_cur_be64(c): the next integer, 0 past the end. Every width that headers
 * have is here, whether a decoder uses it today or not, so that none shifts bytes for itself.
 */
#define DPU_CUR(order, bits)                                                  \
	static inline uint##bits##_t dpu_cur_##order##bits(struct dpu_cur *c) \
	{                                                                     \
		dpu_##order##bits w;                                          \
                                                                              \
		dpu_cur_copy(c, &w, sizeof(w));                               \
		return dpu_##order##bits##_get(w);                            \
	}

DPU_CUR(le, 16)
DPU_CUR(le, 32)
DPU_CUR(le, 64)
DPU_CUR(be, 16)
DPU_CUR(be, 32)
DPU_CUR(be, 64)
#undef DPU_CUR

/* 24 bits: VXLAN, Geneve and NVMe have such fields. */
static inline uint32_t dpu_cur_be24(struct dpu_cur *c)
{
	uint32_t hi = dpu_cur_u8(c);

	return hi << 16 | dpu_cur_be16(c);
}
