/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wire integers: byte arrays with a fixed order and alignment 1. A forgotten conversion does not
 * compile, and no struct made of them needs a packed attribute.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} dpu_le16;
typedef struct {
	uint8_t b[4];
} dpu_le32;
typedef struct {
	uint8_t b[8];
} dpu_le64;
typedef struct {
	uint8_t b[2];
} dpu_be16;
typedef struct {
	uint8_t b[4];
} dpu_be32;
typedef struct {
	uint8_t b[8];
} dpu_be64;

static_assert(sizeof(dpu_le64) == 8 && _Alignof(dpu_le64) == 1, "wire integers are bytes");

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define DPU_LE(bits, v) (v)
#define DPU_BE(bits, v) __builtin_bswap##bits(v)
#else
#define DPU_LE(bits, v) __builtin_bswap##bits(v)
#define DPU_BE(bits, v) (v)
#endif

/*
 * dpu_le16_get(w) and dpu_le16_put(v), and so on: convert between a wire integer and a CPU one;
 * dpu_le16_load(p) and dpu_le16_store(p, v) do it where no struct says what bytes are.
 */
#define DPU_WIRE(order, ORDER, bits)                                              \
	static inline uint##bits##_t dpu_##order##bits##_get(dpu_##order##bits w) \
	{                                                                         \
		uint##bits##_t v;                                                 \
                                                                                  \
		memcpy(&v, w.b, sizeof(v));                                       \
		return DPU_##ORDER(bits, v);                                      \
	}                                                                         \
	static inline dpu_##order##bits dpu_##order##bits##_put(uint##bits##_t v) \
	{                                                                         \
		dpu_##order##bits w;                                              \
                                                                                  \
		v = DPU_##ORDER(bits, v);                                         \
		memcpy(w.b, &v, sizeof(v));                                       \
		return w;                                                         \
	}                                                                         \
                                                                                  \
	static inline uint##bits##_t dpu_##order##bits##_load(const void *p)      \
	{                                                                         \
		uint##bits##_t v;                                                 \
                                                                                  \
		memcpy(&v, p, sizeof(v));                                         \
		return DPU_##ORDER(bits, v);                                      \
	}                                                                         \
                                                                                  \
	static inline void dpu_##order##bits##_store(void *p, uint##bits##_t v)   \
	{                                                                         \
		v = DPU_##ORDER(bits, v);                                         \
		memcpy(p, &v, sizeof(v));                                         \
	}

DPU_WIRE(le, LE, 16)
DPU_WIRE(le, LE, 32)
DPU_WIRE(le, LE, 64)
DPU_WIRE(be, BE, 16)
DPU_WIRE(be, BE, 32)
DPU_WIRE(be, BE, 64)
#undef DPU_WIRE

/* All of n bytes are 0: an identifier that nobody gave. */
static inline bool dpu_is_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= b[i];
	return any == 0;
}
