/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers for data of commands: one pool for each thread, of two sizes, taken at start. Who holds
 * much gets less (dynamic thresholds), so that hosts that do not read their answers share what they
 * hold among themselves, and a part is kept for data that come with their command, which nobody can
 * hold for long. Private to the target.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum tgt_pool_class { TGT_SMALL, TGT_LARGE, TGT_CLASSES };

struct tgt_pool {
	uint8_t *mem[TGT_CLASSES]; // owned
	uint8_t **free[TGT_CLASSES]; // owned; the last one freed is the first one taken
	uint32_t n_free[TGT_CLASSES], n[TGT_CLASSES];
	uint32_t size[TGT_CLASSES]; // of one buffer
	uint32_t reserve; // small ones for in-capsule data only
};

/* What one connection holds. */
struct tgt_held {
	uint32_t n[TGT_CLASSES];
};

enum tgt_pool_for { TGT_FOR_CAPSULE, TGT_FOR_TRANSFER };

/* bytes: of both halves together. 0 or -ENOMEM. */
int tgt_pool_init(
	struct tgt_pool *p, uint32_t small, uint32_t large, uint32_t bytes, uint32_t reserve);
void tgt_pool_fini(struct tgt_pool *p);
/*
 * Buffers for len bytes; fills iov (max entries at most). Returns their number, 0: none now.
 */
unsigned tgt_pool_get(struct tgt_pool *p, struct tgt_held *held, enum tgt_pool_for why,
	uint32_t len, struct iovec *iov, unsigned max);
void tgt_pool_put(
	struct tgt_pool *p, struct tgt_held *held, const struct iovec *iov, unsigned n_iov);
