// SPDX-License-Identifier: Apache-2.0
/* Geometry, header and sum blocks of volumes with checksums. */
#include "vol_sum.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"

#define SUM_MAGIC 0x4d555356u // "VSUM"
#define VERSION 1u

struct header {
	uint8_t magic[8];
	dpu_le32 version;
	dpu_le32 block_size;
	uint8_t uuid[16];
	dpu_le64 size;
	dpu_le32 sum; // of what stands before it
};
static_assert(sizeof(struct header) == 44, "on disks");
static_assert(sizeof(struct vol_sum_head) == 16, "on disks");
static_assert(sizeof(struct vol_sum_entry) == 8, "on disks");

static const uint8_t magic[8] = { 'O', 'B', 'S', 'U', 'M', 'S', '\r', '\n' };

/* ---- geometry ---- */

int vol_sum_geo_init(struct vol_sum_geo *g, uint64_t size, uint32_t block_size)
{
	uint64_t blocks, zone;

	if ((block_size != 512 && block_size != 4096) || size > INT64_MAX ||
		size < VOL_SUM_HEADER_LEN)
		return -EINVAL;
	*g = (struct vol_sum_geo){
		.block_size = block_size,
		.per_sum = (block_size - sizeof(struct vol_sum_head)) /
			   sizeof(struct vol_sum_entry),
		.per_zone = VOL_SUM_AREA / block_size,
	};
	blocks = (size - VOL_SUM_HEADER_LEN) / block_size;
	zone = (uint64_t)g->per_zone * (g->per_sum + 1);
	g->last_zone = blocks / zone;
	blocks %= zone;
	g->last_sums = (uint32_t)((blocks + g->per_sum) / (g->per_sum + 1));
	if (blocks % (g->per_sum + 1) == 1) // a sum block with no block behind it
		g->last_sums--, blocks--;
	g->n_sums = g->last_zone * g->per_zone + g->last_sums;
	g->n_blocks = g->last_zone * g->per_zone * g->per_sum + (blocks - g->last_sums);
	return g->n_blocks ? 0 : -EINVAL;
}

uint32_t vol_sum_of_zone(const struct vol_sum_geo *g, uint64_t z)
{
	return z == g->last_zone ? g->last_sums : g->per_zone;
}

static uint64_t zone_at(const struct vol_sum_geo *g, uint64_t z)
{
	return VOL_SUM_HEADER_LEN / g->block_size + z * g->per_zone * ((uint64_t)g->per_sum + 1);
}

uint64_t vol_sum_block_at(const struct vol_sum_geo *g, uint64_t block)
{
	uint64_t per_zone = (uint64_t)g->per_zone * g->per_sum, z = block / per_zone;

	return (zone_at(g, z) + vol_sum_of_zone(g, z) + block % per_zone) * g->block_size;
}

uint64_t vol_sum_at(const struct vol_sum_geo *g, uint64_t sum)
{
	return (zone_at(g, sum / g->per_zone) + sum % g->per_zone) * g->block_size;
}

/* ---- the header ---- */

void vol_sum_header_put(const struct vol_sum_header *in, uint8_t page[VOL_SUM_PAGE])
{
	struct header h = {
		.version = dpu_le32_put(VERSION),
		.block_size = dpu_le32_put(in->block_size),
		.size = dpu_le64_put(in->size),
	};

	memcpy(h.magic, magic, sizeof(magic));
	memcpy(h.uuid, in->uuid, sizeof(h.uuid));
	h.sum = dpu_le32_put(nof_crc32c(0, &h, offsetof(struct header, sum)));
	memset(page, 0, VOL_SUM_PAGE);
	memcpy(page, &h, sizeof(h));
}

int vol_sum_header_get(const uint8_t page[VOL_SUM_PAGE], struct vol_sum_header *out)
{
	struct header h;

	memcpy(&h, page, sizeof(h));
	if (memcmp(h.magic, magic, sizeof(magic)) != 0 ||
		dpu_le32_get(h.sum) != nof_crc32c(0, &h, offsetof(struct header, sum)))
		return -EBADMSG;
	if (dpu_le32_get(h.version) != VERSION)
		return -EPROTONOSUPPORT;
	out->block_size = dpu_le32_get(h.block_size);
	out->size = dpu_le64_get(h.size);
	memcpy(out->uuid, h.uuid, sizeof(h.uuid));
	return 0;
}

/* ---- sums ---- */

uint32_t vol_sum_salt(const uint8_t uuid[16])
{
	return nof_crc32c(0, uuid, 16);
}

uint32_t vol_sum_of(uint32_t salt, uint64_t block, const void *p, uint32_t len)
{
	dpu_le64 no = dpu_le64_put(block);
	uint32_t sum = nof_crc32c(nof_crc32c(salt, &no, sizeof(no)), p, len);

	return sum ? sum : 1;
}

static uint32_t own_sum(const struct vol_sum_geo *g, uint32_t salt, const void *mem)
{
	size_t from = offsetof(struct vol_sum_head, magic);

	return nof_crc32c(salt, (const uint8_t *)mem + from, g->block_size - from);
}

void vol_sum_close(const struct vol_sum_geo *g, uint32_t salt, void *mem)
{
	struct vol_sum_head *h = mem;

	h->sum = dpu_le32_put(own_sum(g, salt, mem));
}

void vol_sum_init(const struct vol_sum_geo *g, uint32_t salt, uint64_t sum, void *mem)
{
	struct vol_sum_head *h = mem;

	memset(mem, 0, g->block_size);
	h->magic = dpu_le32_put(SUM_MAGIC);
	h->idx = dpu_le64_put(sum);
	vol_sum_close(g, salt, mem);
}

bool vol_sum_check(const struct vol_sum_geo *g, uint32_t salt, uint64_t sum, const void *mem)
{
	const struct vol_sum_head *h = mem;

	return dpu_le32_get(h->magic) == SUM_MAGIC && dpu_le64_get(h->idx) == sum &&
	       dpu_le32_get(h->sum) == own_sum(g, salt, mem);
}
