// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv blk-shapes: requests cut into segments of any length at any address, up to the limits that
 * the disk advertises, against a copy of what it should hold. One at a time: the question is what
 * arrives where, not how fast.
 */
#include "vdrv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_cli.h"
#include "drv_blk.h"
#include "drv_hist.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SEGS_MAX 1022u
#define PARTS_MAX (SEGS_MAX + 17) // header in single bytes, status
#define GAP_MAX 600u
#define GUARD 0xa5
#define TIMEOUT_MS 30000

struct shapes {
	struct drv_blk b;
	struct drv_blk_io io;
	uint8_t *shadow; // owned; what the range should hold
	uint64_t sectors; // of the range, from the disk's start
	uint8_t *arena[DRV_REGIONS_MAX]; // guest memory
	size_t arena_len, used[DRV_REGIONS_MAX];
	unsigned regions, segs_max;
	uint32_t bytes_max, block;
	uint64_t rng;
	/* The request that is being made. */
	struct drv_seg seg[PARTS_MAX];
	uint8_t *at[PARTS_MAX];
	unsigned n, first_data, n_data;
	/* What was seen. */
	uint64_t reads, writes, segments, odd_lengths, odd_addresses, tails, refused, wrong;
};

static uint32_t rnd(struct shapes *s, uint32_t n)
{
	return (uint32_t)((drv_rand(&s->rng) >> 32) * n >> 32);
}

/* ---- guest memory: between any two parts lie bytes that nobody may touch ---- */

static void clear(struct shapes *s)
{
	for (unsigned r = 0; r < s->regions; r++) {
		memset(s->arena[r], GUARD, s->used[r] + GAP_MAX);
		s->used[r] = 0;
	}
	s->n = 0;
}

/* A part of len bytes somewhere; `aligned` to a block or anyhow. */
static uint8_t *part(struct shapes *s, uint32_t len, bool aligned)
{
	unsigned r = rnd(s, s->regions);
	size_t at = s->used[r] + 1 + rnd(s, GAP_MAX / 2);

	if (aligned)
		at = (at + 4095) & ~4095UL;
	if (at + len + GAP_MAX > s->arena_len)
		return NULL;
	s->used[r] = at + len;
	s->at[s->n] = s->arena[r] + at;
	s->seg[s->n] = (struct drv_seg){ drv_mem_gpa(&s->b.mem, s->at[s->n]), len };
	return s->at[s->n++];
}

static bool all_guard(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p == GUARD)
		p++;
	return p == end;
}

/* Parts of one region lie in the order in which they were made. */
static bool guards_hold(const struct shapes *s)
{
	for (unsigned r = 0; r < s->regions; r++) {
		const uint8_t *from = s->arena[r], *end = from + s->used[r] + GAP_MAX;

		for (unsigned i = 0; i < s->n; i++) {
			if (s->at[i] < s->arena[r] || s->at[i] >= end)
				continue;
			if (!all_guard(from, s->at[i]))
				return false;
			from = s->at[i] + s->seg[i].len;
		}
		if (!all_guard(from, end))
			return false;
	}
	return true;
}

/* ---- requests ---- */

static bool put_head(struct shapes *s, uint32_t type, uint64_t sector)
{
	static const unsigned cuts[] = { 16, 16, 16, 8, 5, 1 };
	const struct virtio_blk_outhdr h = { type, 0, sector };
	unsigned step = cuts[rnd(s, COUNT(cuts))];

	for (unsigned i = 0; i < sizeof(h); i += step) {
		uint32_t len = sizeof(h) - i < step ? (uint32_t)sizeof(h) - i : step;
		uint8_t *p = part(s, len, false);

		if (!p)
			return false;
		memcpy(p, (const uint8_t *)&h + i, len);
	}
	return true;
}

/* `len` bytes in n segments: of whole blocks at whole pages when `tidy`, else of any length. */
static bool put_data(struct shapes *s, uint32_t len, unsigned n, bool tidy, uint32_t more)
{
	uint32_t unit = tidy ? s->block : 1, left = len / unit;

	s->first_data = s->n;
	s->n_data = n;
	for (; n > 0; n--) {
		uint32_t most = left - (n - 1), fair = 2 * (left / n);
		uint32_t take = n == 1 ? left : 1 + rnd(s, fair < most ? fair : most);
		uint32_t bytes = take * unit;
		uint8_t *p = part(s, bytes + (n == 1 ? more : 0), tidy);

		if (!p)
			return false;
		s->odd_lengths += bytes % 512 != 0;
		s->odd_addresses += (uintptr_t)p % 512 != 0;
		s->segments++;
		left -= take;
	}
	return true;
}

/* Copy between the data's segments and p. */
static void move_data(struct shapes *s, uint8_t *p, uint32_t len, bool out)
{
	for (unsigned i = s->first_data; len > 0; i++) {
		uint32_t n = s->seg[i].len < len ? s->seg[i].len : len;

		if (out)
			memcpy(s->at[i], p, n);
		else
			memcpy(p, s->at[i], n);
		p += n;
		len -= n;
	}
}

/* Submit what stands in s->seg, wait. The status byte, or an error. */
static int go(struct shapes *s, unsigned n_out)
{
	int ret = drv_blk_submit_segs(&s->b, 0, &s->io, s->seg, n_out, s->n - n_out);

	if (ret)
		return ret;
	drv_ring_kick(&s->b.rings[0]);
	return drv_blk_wait(&s->b, 0, &s->io, TIMEOUT_MS);
}

static void wrong(struct shapes *s, const char *what, int status, uint64_t sector, uint32_t len)
{
	s->wrong++;
	fprintf(stderr, "vdrv: %s: status %d, sector %lu, %u bytes in %u segments\n", what, status,
		sector, len, s->n_data);
}

/*
 * One request of `len` bytes in n data segments. `want` is the status that it must end with.
 * 0, or an error that ends the run.
 */
static int one(struct shapes *s, bool write, uint64_t sector, uint32_t len, unsigned n, int want)
{
	static uint8_t buf[4 << 20];
	bool tidy = len / s->block >= n && len % s->block == 0 && rnd(s, 4) == 0;
	bool tail = !write && rnd(s, 3) == 0;
	unsigned n_out;
	uint8_t *status;
	int ret;

	clear(s);
	if (!put_head(s, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, sector))
		return -ENOMEM;
	n_out = s->n;
	if (!put_data(s, len, n, tidy, tail))
		return -ENOMEM;
	if (write)
		n_out = s->n;
	status = tail ? s->at[s->n - 1] + s->seg[s->n - 1].len - 1 : part(s, 1, false);
	if (!status)
		return -ENOMEM;
	s->tails += tail;
	s->io.status = status;
	for (uint32_t i = 0; write && i < len; i++)
		buf[i] = (uint8_t)drv_rand(&s->rng);
	if (write)
		move_data(s, buf, len, true);
	ret = go(s, n_out);
	if (ret < 0)
		return ret;
	if (ret != want)
		wrong(s, "status", ret, sector, len);
	if (!guards_hold(s))
		wrong(s, "bytes beside the buffers", ret, sector, len);
	if (ret != VIRTIO_BLK_S_OK) {
		s->refused++;
		return 0;
	}
	if (write) {
		memcpy(s->shadow + sector * 512, buf, len);
		s->writes++;
		return 0;
	}
	s->reads++;
	move_data(s, buf, len, false);
	if (memcmp(buf, s->shadow + sector * 512, len) != 0)
		wrong(s, "data", ret, sector, len);
	if (s->io.used_len != len + 1)
		wrong(s, "used.len", ret, sector, len);
	return 0;
}

/* Any number of segments, but often the fewest and the most. */
static unsigned segments(struct shapes *s, uint32_t len)
{
	unsigned most = s->segs_max < len ? s->segs_max : len;

	switch (rnd(s, 4)) {
	case 0:
		return 1;
	case 1:
		return most;
	default:
		return 1 + rnd(s, most);
	}
}

static int run(struct shapes *s, uint64_t requests)
{
	uint32_t blocks = (uint32_t)(s->sectors * 512 / s->block), most = s->bytes_max / s->block;
	int ret = 0;

	// So that what is read was written.
	for (uint64_t at = 0; !ret && at < s->sectors; at += most * (uint64_t)s->block / 512) {
		uint64_t left = (s->sectors - at) * 512;
		uint64_t len = most * (uint64_t)s->block;

		ret = one(s, true, at, (uint32_t)(left < len ? left : len), 1, VIRTIO_BLK_S_OK);
	}
	for (uint64_t i = 0; !ret && i < requests; i++) {
		uint32_t n = 1 + rnd(s, rnd(s, 2) ? most : 4);
		uint64_t at = rnd(s, blocks - n + 1);
		uint32_t len = n * s->block;

		ret = one(
			s, rnd(s, 2), at * s->block / 512, len, segments(s, len), VIRTIO_BLK_S_OK);
	}
	// Beyond the limits: nothing is moved, and what follows is served.
	if (!ret && s->segs_max == s->b.cfg.seg_max)
		ret = one(s, false, 0, s->bytes_max, s->segs_max + 1, VIRTIO_BLK_S_IOERR);
	if (!ret && s->segs_max == s->b.cfg.seg_max)
		ret = one(s, true, 0, s->bytes_max, s->segs_max + 1, VIRTIO_BLK_S_IOERR);
	if (!ret)
		ret = one(s, true, 0, s->block + 1, 3, VIRTIO_BLK_S_IOERR);
	if (!ret)
		ret = one(s, false, 0, s->block - 1, 3, VIRTIO_BLK_S_IOERR);
	for (uint32_t at = 0; !ret && at < blocks; at += most) {
		uint32_t n = blocks - at < most ? blocks - at : most;

		ret = one(s, false, (uint64_t)at * s->block / 512, n * s->block,
			segments(s, n * s->block), VIRTIO_BLK_S_OK);
	}
	return ret;
}

static int open_memory(struct shapes *s)
{
	for (unsigned r = 0; r < s->regions; r++) {
		s->arena[r] = drv_mem_alloc(&s->b.mem, r, s->arena_len, 4096);
		if (!s->arena[r])
			return -ENOMEM;
		s->used[r] = s->arena_len - GAP_MAX;
	}
	clear(s);
	s->shadow = dpu_calloc(s->sectors, 512);
	return s->shadow ? 0 : -ENOMEM;
}

static void print(const struct shapes *s, bool json)
{
	const struct {
		const char *name;
		uint64_t v;
	} row[] = { { "reads", s->reads }, { "writes", s->writes }, { "segments", s->segments },
		{ "odd_lengths", s->odd_lengths }, { "odd_addresses", s->odd_addresses },
		{ "status_at_tail", s->tails }, { "refused", s->refused }, { "wrong", s->wrong } };

	for (size_t i = 0; i < COUNT(row); i++)
		if (json)
			printf("%s\"%s\": %lu", i ? ", " : "{", row[i].name, row[i].v);
		else
			printf("%-16s %lu\n", row[i].name, row[i].v);
	if (json)
		puts("}");
}

int vdrv_blk_shapes(int argc, char **argv)
{
	static struct shapes s;
	const char *socket = NULL, *ring = "split";
	uint64_t requests = 1000, max = 128 << 10, mib = 4, regions = 2, seed = 1, size = 256;
	bool json = false, direct = false;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "ring", DPU_OPT_STR, &ring, "LAYOUT", "split or packed", 0, 0 },
		{ "ring-size", DPU_OPT_UINT, &size, "N", "entries of the ring", 32, 32768 },
		{ "direct", DPU_OPT_FLAG, &direct, NULL, "no indirect tables", 0, 0 },
		{ "regions", DPU_OPT_UINT, &regions, "N", "memory regions", 1, DRV_REGIONS_MAX },
		{ "requests", DPU_OPT_UINT, &requests, "N", "requests of random shape", 1,
			1 << 30 },
		{ "max-bytes", DPU_OPT_UINT, &max, "N", "largest request", 8192, 4 << 20 },
		{ "range-mib", DPU_OPT_UINT, &mib, "N", "part of the disk that is used", 1, 64 },
		{ "seed", DPU_OPT_UINT, &seed, "N", "of the random sequence", 0, 0 },
		{ "json", DPU_OPT_FLAG, &json, NULL, "machine-readable result", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv blk-shapes",
		"Cut requests into segments of any kind and verify every byte",
		"--socket PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!socket || (strcmp(ring, "split") != 0 && strcmp(ring, "packed") != 0)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	// Tidy segments take a page each, whatever their length.
	s.arena_len = max + (SEGS_MAX + 2) * (GAP_MAX + 4096);

	const struct drv_blk_conf bc = { .path = socket,
		.packed = !strcmp(ring, "packed"),
		.ring_size = (uint32_t)size,
		.indirect_max = direct ? 1 : PARTS_MAX,
		.features_off = direct ? DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0,
		.regions = (unsigned)regions,
		.region_size = (s.arena_len + size * (PARTS_MAX * 16 + 64) + (1 << 20)) & ~4095UL };

	ret = drv_blk_open(&s.b, &bc);
	if (!ret) {
		s.rng = seed;
		s.regions = (unsigned)regions;
		s.block = s.b.cfg.blk_size;
		s.bytes_max = (uint32_t)max / s.block * s.block;
		s.sectors = mib << 11 < s.b.cfg.capacity ? mib << 11 : s.b.cfg.capacity;
		s.segs_max = s.b.cfg.seg_max < SEGS_MAX ? s.b.cfg.seg_max : SEGS_MAX;
		// A chain is no longer than the ring, in a table or not.
		if (s.segs_max + 1 + 17 > size)
			s.segs_max = (unsigned)size - 18;
		ret = open_memory(&s);
		if (!ret)
			ret = run(&s, requests);
		drv_blk_close(&s.b);
	}
	free(s.shadow);
	if (ret)
		fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
	print(&s, json);
	return ret || s.wrong ? 1 : 0;
}
