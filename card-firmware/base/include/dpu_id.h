/* SPDX-License-Identifier: Apache-2.0 */
/* Identifiers: made at random, or from names and then the same each time. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DPU_HASH_BASIS UINT64_C(0xcbf29ce484222325)

/* FNV-1a; no defence against chosen input. basis: DPU_HASH_BASIS, another, or of what is before. */
static inline uint64_t dpu_hash(uint64_t basis, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (len--)
		basis = (basis ^ *p++) * UINT64_C(0x100000001b3);
	return basis;
}

/* A UUID of random bits (RFC 9562, 5.4). 0 or -EIO. */
int dpu_uuid_new(uint8_t out[16]);
/* A UUID of bits of our own choice (RFC 9562, 5.8). */
void dpu_uuid_of(uint64_t high, uint64_t low, uint8_t out[16]);
