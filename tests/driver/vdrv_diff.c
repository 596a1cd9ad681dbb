// SPDX-License-Identifier: Apache-2.0
/* vdrv blk-diff: the same requests, odd ones among them, to two disks; their answers must agree. */
#include "vdrv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "drv_blk.h"
#include "drv_hist.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CAP 65536u

struct req {
	uint32_t type, len;
	uint64_t sector;
	struct virtio_blk_discard_write_zeroes seg;
};

static bool is_data(const struct req *r)
{
	return r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_OUT;
}

static bool is_segs(const struct req *r)
{
	return r->type == VIRTIO_BLK_T_DISCARD || r->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

static bool no_data(const struct req *r, uint64_t capacity)
{
	(void)capacity;
	return r->len == 0 && (is_data(r) || is_segs(r));
}

static bool odd_segs(const struct req *r, uint64_t capacity)
{
	(void)capacity;
	return is_segs(r) && (r->len != sizeof(r->seg) || r->seg.num_sectors == 0);
}

/* Where VIRTIO 1.3, 5.2.6 leaves a device the choice, or the reference departs from it. */
static const struct exception {
	const char *why;
	bool (*is)(const struct req *r, uint64_t capacity);
} exceptions[] = {
	{ "a request without data may do nothing or be refused", no_data },
	{ "segments that are none: each refuses or ignores them in its way", odd_segs },
};

static void pick(struct req *r, uint64_t *rng, uint64_t capacity)
{
	static const uint32_t types[] = { 0, 1, 0, 1, 4, 8, 11, 13, 0, 1, 2, 99, 0xffffffff };
	static const uint32_t lens[] = { 512, 1024, 4096, 65536, 511, 513, 0, 1, 20 };
	uint64_t v = drv_rand(rng);

	r->type = types[v % COUNT(types)];
	r->len = lens[(v >> 8) % (v & 1 << 30 ? COUNT(lens) : 4)];
	r->sector = (v >> 16) % 64 ? drv_rand(rng) % capacity : UINT64_MAX - (v >> 60);
	r->seg = (struct virtio_blk_discard_write_zeroes){ drv_rand(rng) % capacity,
		(uint32_t)(drv_rand(rng) % 256), (v >> 40) % 16 ? 0 : 4 };
	if (r->type == VIRTIO_BLK_T_FLUSH)
		r->len = 0;
	if (r->type == VIRTIO_BLK_T_GET_ID && v >> 63)
		r->len = VIRTIO_BLK_ID_BYTES;
	if (is_segs(r))
		r->len = v >> 62 ? sizeof(r->seg) : r->len;
}

static int ask(struct drv_blk *b, struct drv_blk_io *io, const struct req *r, uint64_t seed)
{
	uint64_t rng = seed;

	for (uint32_t i = 0; i < r->len; i += 8) {
		uint64_t w = drv_rand(&rng);

		memcpy(io->data + i, &w, 8);
	}
	if (is_segs(r))
		memcpy(io->data, &r->seg, sizeof(r->seg));
	return drv_blk_sync(b, 0, io, r->type, r->sector, r->len, DRV_TIMEOUT_MS);
}

/* True when the answers agree as far as they must. */
static bool agree(const struct req *r, const int st[2], struct drv_blk_io io[2], uint64_t capacity,
	uint64_t *excused)
{
	bool same = st[0] == st[1];

	if (same && st[0] == VIRTIO_BLK_S_OK && r->type == VIRTIO_BLK_T_IN)
		same = !memcmp(io[0].data, io[1].data, r->len);
	if (same)
		return true;
	for (size_t i = 0; i < COUNT(exceptions); i++)
		if (exceptions[i].is(r, capacity)) {
			excused[i]++;
			return true;
		}
	return false;
}

static int compare(struct drv_blk b[2], uint64_t count, uint64_t seed)
{
	uint64_t excused[COUNT(exceptions)] = { 0 }, rng = seed, differ = 0;
	uint64_t capacity = b[0].cfg.capacity;
	struct drv_blk_io io[2];

	if (capacity != b[1].cfg.capacity || drv_blk_io_init(&b[0], &io[0], CAP, 0) ||
		drv_blk_io_init(&b[1], &io[1], CAP, 0)) {
		fputs("vdrv: disks of different size\n", stderr);
		return 1;
	}
	for (uint64_t i = 0; i < count && differ < 20; i++) {
		struct req r;
		int st[2];

		pick(&r, &rng, capacity);
		// A discarded range may read as anything until it is written: zeroes it is instead.
		if (r.type == VIRTIO_BLK_T_DISCARD && r.len == sizeof(r.seg) && !r.seg.flags)
			r.type = VIRTIO_BLK_T_WRITE_ZEROES;
		for (unsigned k = 0; k < 2; k++)
			st[k] = ask(&b[k], &io[k], &r, seed + i);
		if (st[0] < 0 || st[1] < 0 || !agree(&r, st, io, capacity, excused)) {
			printf("request %lu: type %u sector %lu bytes %u (segment %lu+%u flags "
			       "%u): "
			       "status %d and %d\n",
				i, r.type, r.sector, r.len, (uint64_t)r.seg.sector,
				r.seg.num_sectors, r.seg.flags, st[0], st[1]);
			differ++;
		}
		if (st[0] < 0 || st[1] < 0)
			break;
	}
	for (size_t i = 0; i < COUNT(exceptions); i++)
		printf("excused %8lu  %s\n", excused[i], exceptions[i].why);
	printf("%lu requests, %lu differ\n", count, differ);
	return differ != 0;
}

int vdrv_blk_diff(int argc, char **argv)
{
	const char *path[2] = { NULL, NULL };
	uint64_t count = 20000, seed = 1;
	static struct drv_blk b[2];
	const struct dpu_opt opts[] = {
		{ "a", DPU_OPT_STR, &path[0], "PATH", "first disk's vhost-user socket", 0, 0 },
		{ "b", DPU_OPT_STR, &path[1], "PATH", "second disk's vhost-user socket", 0, 0 },
		{ "count", DPU_OPT_UINT, &count, "N", "requests", 1, 0 },
		{ "seed", DPU_OPT_UINT, &seed, "N", "of the random sequence", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv blk-diff",
		"Send the same odd requests to two empty disks and compare their answers",
		"--a PATH --b PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!path[0] || !path[1]) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct drv_blk_conf c = { .path = path[i] };

		ret = drv_blk_open(&b[i], &c);
		if (ret) {
			fprintf(stderr, "vdrv: %s: %s\n", path[i], strerror(-ret));
			if (i)
				drv_blk_close(&b[0]);
			return 1;
		}
	}
	ret = compare(b, count, seed);
	drv_blk_close(&b[0]);
	drv_blk_close(&b[1]);
	return ret;
}
