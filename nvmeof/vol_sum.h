/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a volume with checksums lies on the one below it (ADR-0016). Pure, but for the random UUID.
 *
 *   header (64 KiB: two copies of one page) | zone | zone | ... | a shorter zone
 *
 * A zone is 64 KiB of sum blocks and then the data blocks whose sums they have. A sum block is one
 * block of the volume below, which writes that whole or not at all: a head, and an entry of two
 * sums for each of its data blocks. A data block is whole if it has one of the two.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dpu_wire.h"

#define VOL_SUM_HEADER_LEN (64u << 10)
#define VOL_SUM_COPY_AT (32u << 10) // where the header's second copy is
#define VOL_SUM_PAGE 4096u // bytes of a copy
#define VOL_SUM_AREA (64u << 10) // bytes of a zone's sum blocks

struct vol_sum_entry {
	dpu_le32 a, b; // both 0: never written, reads as zeros. Not the same: one of them
};

struct vol_sum_head {
	dpu_le32 sum; // of all that follows, begun with the salt
	dpu_le32 magic;
	dpu_le64 idx; // of this sum block
};

struct vol_sum_geo {
	uint64_t n_blocks; // of data
	uint64_t n_sums; // sum blocks
	uint32_t block_size;
	uint32_t per_sum; // entries of a sum block
	uint32_t per_zone; // sum blocks of a whole zone
	uint64_t last_zone; // the one that may be shorter
	uint32_t last_sums; // its sum blocks
};

/* Of `size` bytes in blocks of 512 or 4096. 0, or -EINVAL: no room for a data block. */
int vol_sum_geo_init(struct vol_sum_geo *g, uint64_t size, uint32_t block_size);

/* Where it lies below, in bytes. */
uint64_t vol_sum_block_at(const struct vol_sum_geo *g, uint64_t block);
uint64_t vol_sum_at(const struct vol_sum_geo *g, uint64_t sum);
/* Sum blocks that zone z has. */
uint32_t vol_sum_of_zone(const struct vol_sum_geo *g, uint64_t z);

/* ---- the header ---- */

struct vol_sum_header {
	uint8_t uuid[16];
	uint32_t block_size;
	uint64_t size; // bytes below that it was made for
};

void vol_sum_header_put(const struct vol_sum_header *in, uint8_t page[VOL_SUM_PAGE]);
/* 0, -EBADMSG: none, or damaged; -EPROTONOSUPPORT: of a later version. */
int vol_sum_header_get(const uint8_t page[VOL_SUM_PAGE], struct vol_sum_header *out);

/* ---- sums ---- */

/* What sums of a volume begin with, so that those of another one do not fit. */
uint32_t vol_sum_salt(const uint8_t uuid[16]);
/* Of one data block; never 0. It has the block's number in it. */
uint32_t vol_sum_of(uint32_t salt, uint64_t block, const void *p, uint32_t len);

static inline struct vol_sum_entry *vol_sum_entry_at(void *mem, uint32_t i)
{
	return (struct vol_sum_entry *)(void *)((uint8_t *)mem + sizeof(struct vol_sum_head)) + i;
}

/* A sum block of blocks that were never written; closed. */
void vol_sum_init(const struct vol_sum_geo *g, uint32_t salt, uint64_t sum, void *mem);
/* Before it is written: its own sum. */
void vol_sum_close(const struct vol_sum_geo *g, uint32_t salt, void *mem);
/* It is whole, and the one that was asked for. */
bool vol_sum_check(const struct vol_sum_geo *g, uint32_t salt, uint64_t sum, const void *mem);
