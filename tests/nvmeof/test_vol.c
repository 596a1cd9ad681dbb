// SPDX-License-Identifier: Apache-2.0
/* Every kind of volume keeps the same promises. */
#include "test.h"

#include <errno.h>

#include "dpu_alloc.h"
#include "vol_util.h"

#define SIZE (4ULL << 20)

struct kind {
	const char *name;
	enum { K_NULL, K_RAM, K_FILE } kind;
	enum place where;
	uint32_t block_size;
	bool direct; // RAM: taken beforehand
};

static const struct kind kinds[] = {
	{ "null", K_NULL, ON_DISK, 512, false },
	{ "ram 512", K_RAM, ON_DISK, 512, false },
	{ "ram 4096", K_RAM, ON_DISK, 4096, false },
	{ "ram 512, taken beforehand", K_RAM, ON_DISK, 512, true },
	{ "file on disk, direct, 512", K_FILE, ON_DISK, 512, true },
	{ "file on disk, direct, 4096", K_FILE, ON_DISK, 4096, true },
	{ "file on disk, cached, 512", K_FILE, ON_DISK, 512, false },
	{ "file on tmpfs, direct, 512", K_FILE, ON_TMPFS, 512, true },
	{ "file on tmpfs, cached, 4096", K_FILE, ON_TMPFS, 4096, false },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct env {
	char dir[64], path[96];
	struct vol *v;
	struct vol_chan *c;
};

static int open_kind(const struct kind *k, struct env *e, uint64_t size)
{
	struct vol_null_conf n = { "v", size, k->block_size };
	struct vol_ram_conf r = { "v", size, k->block_size, k->direct };
	struct vol_file_conf f = { .name = "v",
		.path = e->path,
		.block_size = k->block_size,
		.direct = k->direct,
		.create_size = size };

	switch (k->kind) {
	case K_NULL:
		return vol_null_open(&n, &e->v);
	case K_RAM:
		return vol_ram_open(&r, &e->v);
	default:
		return vol_file_open(&f, &e->v);
	}
}

static void start(const struct kind *k, struct env *e)
{
	memset(e, 0, sizeof(*e));
	make_dir(k->where, e->dir, sizeof(e->dir));
	snprintf(e->path, sizeof(e->path), "%s/disk", e->dir);
	assert_int_equal(open_kind(k, e, SIZE), 0);
	assert_int_equal(vol_chan_open(e->v, NULL, &e->c), 0);
}

static void stop(struct env *e)
{
	vol_chan_close(e->c);
	vol_close(e->v);
	unlink(e->path);
	rmdir(e->dir);
}

/* VB-01, VB-07 below the device: no range wraps, none is cut. */
static void refuses_bad_ranges(void **state)
{
	const struct kind *k = *state;
	uint32_t bs = k->block_size;
	struct env e;
	static uint8_t buf[8192] __attribute__((aligned(4096)));

	start(k, &e);
	assert_int_equal(rw(e.c, VOL_READ, SIZE, buf, bs), -EINVAL);
	assert_int_equal(rw(e.c, VOL_READ, SIZE - bs, buf, 2 * (size_t)bs), -EINVAL);
	assert_int_equal(rw(e.c, VOL_READ, UINT64_MAX - bs + 1, buf, bs), -EINVAL);
	assert_int_equal(rw(e.c, VOL_WRITE, 1, buf, bs), -EINVAL);
	assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, bs - 1), -EINVAL);
	assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, 0), -EINVAL);
	assert_int_equal(range(e.c, VOL_DISCARD, SIZE - bs, 2 * (uint64_t)bs, false), -EINVAL);
	assert_int_equal(range(e.c, VOL_WRITE_ZEROES, bs, UINT64_MAX - bs + 1, true), -EINVAL);
	assert_int_equal(rw(e.c, VOL_READ, SIZE - bs, buf, bs), 0);

	struct vol_stats s;
	vol_stats(e.v, &s);
	assert_int_equal(s.errors, 8);
	assert_int_equal(s.reads, 1);
	assert_int_equal(s.read_bytes, bs);
	stop(&e);
}

static uint32_t rnd(uint32_t *s)
{
	*s = *s * 1664525U + 1013904223U;
	return *s >> 8;
}

/* Cut buf into segments at odd places, some of them empty. */
static unsigned cut(uint32_t *seed, uint8_t *buf, size_t len, struct iovec *v, unsigned max)
{
	unsigned n = 0;

	while (len > 0) {
		size_t part = n == max - 1 ? len : rnd(seed) % (len + 1);

		v[n++] = (struct iovec){ buf, part };
		buf += part;
		len -= part;
	}
	return n;
}

/* Random requests, several in flight on blocks that do not overlap, against a copy in memory. */
static void agrees_with_a_shadow(void **state)
{
	enum { DEPTH = 8, LANE = SIZE / DEPTH, MAX = 480 * 1024, SEGS = 40 };
	const struct kind *k = *state;
	uint8_t *shadow = calloc(1, SIZE), *buf = aligned_alloc(4096, DEPTH * (MAX + 4096));
	struct answer a[DEPTH];
	struct iovec iov[DEPTH][SEGS], given[DEPTH][SEGS];
	uint32_t seed = 7, bs = k->block_size;
	struct env e;

	assert_non_null(shadow);
	assert_non_null(buf);
	start(k, &e);
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < DEPTH; i++) {
			uint8_t *b = buf + i * (MAX + 4096) +
				     (rnd(&seed) % 3 ? 0 : rnd(&seed) % 4096);
			uint64_t len = (rnd(&seed) % ((rnd(&seed) % 4 ? 16384 : MAX) / bs) + 1) *
				       bs;
			uint64_t off = i * (uint64_t)LANE +
				       rnd(&seed) % ((LANE - len) / bs + 1) * bs;
			enum vol_op op = (enum vol_op)(rnd(&seed) % 5);

			a[i] = (struct answer){ .io = { .op = op,
							.off = off,
							.len = len,
							.fua = rnd(&seed) % 8 == 0,
							.unmap = rnd(&seed) % 2,
							.iov = iov[i],
							.done = on_done } };
			if (op == VOL_FLUSH)
				a[i].io.off = a[i].io.len = 0;
			for (uint64_t j = 0; j < len; j++)
				b[j] = (uint8_t)(rnd(&seed) >> 4);
			if (rnd(&seed) % 2) {
				iov[i][0] = (struct iovec){ b, len };
				a[i].io.n_iov = 1;
			} else {
				a[i].io.n_iov = cut(&seed, b, len, iov[i], SEGS);
			}
			memcpy(given[i], iov[i], sizeof(given[i]));
			if (op == VOL_WRITE)
				memcpy(shadow + off, b, len);
			else if (op == VOL_DISCARD || op == VOL_WRITE_ZEROES)
				memset(shadow + off, 0, len);
			vol_submit(e.c, &a[i].io);
		}
		assert_true(drain(e.c, 0));
		for (unsigned i = 0; i < DEPTH; i++) {
			const uint8_t *at = shadow + a[i].io.off;

			assert_int_equal(a[i].n_done, 1);
			assert_int_equal(a[i].err, 0);
			assert_memory_equal(iov[i], given[i], a[i].io.n_iov * sizeof(struct iovec));
			for (unsigned j = 0; a[i].io.op == VOL_READ && j < a[i].io.n_iov; j++) {
				if (iov[i][j].iov_len)
					assert_memory_equal(
						iov[i][j].iov_base, at, iov[i][j].iov_len);
				at += iov[i][j].iov_len;
			}
		}
	}
	stop(&e);
	free(buf);
	free(shadow);
}

/*
 * A long request holds nobody: no call moves more than 1 MiB of it, and a short one that came later
 * is answered first.
 */
static void long_requests_go_by_slices(void **state)
{
	const struct kind *k = *state;
	uint8_t *buf = aligned_alloc(4096, SIZE);
	static uint8_t small[4096] __attribute__((aligned(4096)));

	for (int op = VOL_READ; op <= VOL_WRITE; op++) {
		struct iovec long_iov = { buf, SIZE }, short_iov = { small, sizeof(small) };
		struct answer a = { .io = { .op = (enum vol_op)op,
					    .len = SIZE,
					    .iov = &long_iov,
					    .n_iov = 1,
					    .done = on_done } };
		struct answer b = { .io = { .op = VOL_READ,
					    .len = sizeof(small),
					    .iov = &short_iov,
					    .n_iov = 1,
					    .done = on_done } };
		unsigned calls = 1, short_at = 0;
		struct env e;

		memset(buf, 0x5c, SIZE);
		start(k, &e);
		vol_submit(e.c, &a.io);
		vol_submit(e.c, &b.io);
		assert_int_equal(a.n_done, 0);
		vol_chan_kick(e.c);
		for (; a.n_done == 0; calls++) {
			struct pollfd p = { .fd = vol_chan_fd(e.c), .events = POLLIN };

			if (b.n_done > 0 && short_at == 0)
				short_at = calls;
			if (vol_chan_poll(e.c) == 0)
				assert_true(poll(&p, 1, 10000) == 1 || errno == EINTR);
		}
		assert_int_equal(a.err, 0);
		assert_true(calls >= SIZE >> 20);
		assert_in_range(short_at, 1, calls - 1);
		assert_int_equal(b.err, 0);
		stop(&e);
	}
	free(buf);
}

/* VB-20: what was discarded or zeroed reads as zeros, and its neighbours do not. */
static void discarded_blocks_read_as_zeros(void **state)
{
	const struct kind *k = *state;
	static uint8_t buf[65536] __attribute__((aligned(4096)));
	struct env e;

	start(k, &e);
	for (int way = 0; way < 3; way++) {
		memset(buf, 0xa5, sizeof(buf));
		assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, sizeof(buf)), 0);
		assert_int_equal(range(e.c, way == 0 ? VOL_DISCARD : VOL_WRITE_ZEROES,
					 k->block_size, 40960, way == 2),
			0);
		memset(buf, 0x11, sizeof(buf));
		assert_int_equal(rw(e.c, VOL_READ, 0, buf, sizeof(buf)), 0);
		for (size_t i = 0; i < sizeof(buf); i++) {
			bool zero = i >= k->block_size && i < k->block_size + 40960U;

			assert_int_equal(buf[i], zero ? 0 : 0xa5);
		}
	}
	stop(&e);
}

static void resize_follows(void **state)
{
	const struct kind *k = *state;
	static uint8_t buf[4096] __attribute__((aligned(4096)));
	struct vol_info info;
	struct env e;

	start(k, &e);
	memset(buf, 0x77, sizeof(buf));
	assert_int_equal(rw(e.c, VOL_WRITE, SIZE - 4096, buf, 4096), 0);
	assert_int_equal(vol_resize(e.v, SIZE / 2), 0);
	assert_int_equal(rw(e.c, VOL_READ, SIZE / 2, buf, 4096), -EINVAL);
	assert_int_equal(vol_resize(e.v, SIZE * 2), 0);
	vol_info(e.v, &info);
	assert_int_equal(info.size, SIZE * 2);
	assert_int_equal(rw(e.c, VOL_WRITE, SIZE * 2 - 4096, buf, 4096), 0);
	assert_int_equal(rw(e.c, VOL_READ, SIZE - 4096, buf, 4096), 0);
	if (k->kind != K_NULL)
		assert_int_equal(buf[0], 0); // what a shrink cut off does not come back
	assert_int_equal(vol_resize(e.v, 1000), -EINVAL);
	assert_int_equal(vol_resize(e.v, 0), -EINVAL);
	stop(&e);
}

/* IO-09: the k-th allocation fails, for every k. */
static void open_survives_no_memory(void **state)
{
	const struct kind *k = *state;
	struct env e = { 0 };
	int ret = -ENOMEM;

	make_dir(k->where, e.dir, sizeof(e.dir));
	snprintf(e.path, sizeof(e.path), "%s/disk", e.dir);
	for (long n = 0; n < 8; n++) {
		dpu_alloc_fail_after(n);
		ret = open_kind(k, &e, SIZE);
		if (ret == 0) {
			ret = vol_chan_open(e.v, NULL, &e.c);
			if (ret == 0)
				vol_chan_close(e.c);
			vol_close(e.v);
		}
		dpu_alloc_fail_after(-1);
		assert_true(ret == 0 || ret == -ENOMEM);
	}
	assert_int_equal(ret, 0);
	unlink(e.path);
	rmdir(e.dir);
}

/* In memory a block is read by submit itself: nothing else moves meanwhile. */
static uint8_t byte_at(struct vol_chan *c, uint64_t off)
{
	uint8_t block[512];
	struct iovec iov = { block, sizeof(block) };
	struct answer a = { .io = { .op = VOL_READ,
				    .off = off / 512 * 512,
				    .len = sizeof(block),
				    .iov = &iov,
				    .n_iov = 1,
				    .done = on_done } };

	vol_submit(c, &a.io);
	assert_int_equal(a.n_done, 1);
	assert_int_equal(a.err, 0);
	return block[off % 512];
}

/* How far each call comes. */
static void ram_slices(void **state)
{
	enum { MIB = 1 << 20, K256 = 256 << 10, BIG = 16 * MIB };
	struct vol_ram_conf conf = { "v", BIG, 512 };
	uint8_t *buf = malloc(BIG);
	struct iovec iov = { buf, BIG };
	struct answer a = {
		.io = { .op = VOL_WRITE, .len = BIG, .iov = &iov, .n_iov = 1, .done = on_done }
	};
	struct vol_chan *c;
	struct vol *v;

	(void)state;
	assert_non_null(buf);
	memset(buf, 0x61, BIG);
	assert_int_equal(vol_ram_open(&conf, &v), 0);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	vol_submit(c, &a.io);
	for (uint64_t at = 0; at < BIG; at += K256) {
		assert_int_equal(a.n_done, 0);
		assert_int_equal(byte_at(c, at), 0);
		assert_int_equal(vol_chan_poll(c), 1);
		assert_int_equal(byte_at(c, at + K256 - 1), 0x61);
	}
	assert_int_equal(a.n_done, 1);
	assert_int_equal(vol_chan_poll(c), 0);

	a = (struct answer){
		.io = { .op = VOL_WRITE_ZEROES, .off = 512, .len = MIB, .done = on_done }
	};
	vol_submit(c, &a.io);
	vol_chan_kick(c);
	assert_int_equal(byte_at(c, 512), 0);
	assert_int_equal(byte_at(c, 512 + K256), 0x61);
	assert_true(drain(c, 0));
	assert_int_equal(byte_at(c, 511 + MIB), 0);
	assert_int_equal(byte_at(c, 512 + MIB), 0x61);

	a = (struct answer){ .io = { .op = VOL_DISCARD, .off = 512, .len = BIG - 1024 } };
	a.io.done = on_done;
	vol_submit(c, &a.io);
	vol_chan_kick(c);
	assert_int_equal(byte_at(c, 4 * MIB - 1), 0);
	assert_int_equal(byte_at(c, 4 * MIB), 0x61);
	assert_true(drain(c, 0));
	assert_int_equal(a.n_done, 1);
	assert_int_equal(byte_at(c, 0), 0x61);
	assert_int_equal(byte_at(c, BIG - 513), 0);
	assert_int_equal(byte_at(c, BIG - 512), 0x61);
	vol_chan_close(c);
	vol_close(v);
	free(buf);
}

/* The end of the volume comes closer while a long request is under way. */
static void ram_shrinks_under_a_long_request(void **state)
{
	struct vol_ram_conf conf = { "v", SIZE, 512 };
	uint8_t *buf = calloc(1, SIZE);
	struct iovec iov = { buf, SIZE };
	struct answer a = {
		.io = { .op = VOL_WRITE, .len = SIZE, .iov = &iov, .n_iov = 1, .done = on_done }
	};
	struct vol_chan *c;
	struct vol *v;

	(void)state;
	memset(buf, 0x61, SIZE);
	assert_int_equal(vol_ram_open(&conf, &v), 0);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	vol_submit(c, &a.io);
	vol_chan_poll(c);
	assert_int_equal(vol_resize(v, SIZE / 2), 0);
	assert_true(drain(c, 0));
	assert_int_equal(a.err, -EIO);
	assert_int_equal(vol_resize(v, SIZE), 0);
	assert_int_equal(byte_at(c, SIZE / 2), 0);
	assert_int_equal(byte_at(c, 0), 0x61);
	vol_chan_close(c);
	vol_close(v);
	free(buf);
}

static void bad_shapes_are_refused(void **state)
{
	const struct vol_null_conf bad[] = {
		{ NULL, SIZE, 512 },
		{ "", SIZE, 512 },
		{ "v", 0, 512 },
		{ "v", 513, 512 },
		{ "v", SIZE, 0 },
		{ "v", SIZE, 1024 },
		{ "v", 1ULL << 63, 512 },
	};
	struct vol *v;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vol_ram_conf r = { bad[i].name, bad[i].size, bad[i].block_size };

		assert_int_equal(vol_null_open(&bad[i], &v), -EINVAL);
		assert_int_equal(vol_ram_open(&r, &v), -EINVAL);
	}
	vol_close(NULL);
}

/* Erased blocks are written over: a range that is only marked as zeros is a hole here. */
static void erased_blocks_are_written(void **state)
{
	const struct kind *k = *state;
	enum { LEN = 2 << 20 };
	struct answer a = {
		.io = { .op = VOL_WRITE_ZEROES, .erase = true, .off = 65536, .len = LEN }
	};
	uint8_t *buf = malloc(LEN);
	struct vol_info info;
	struct env e;

	start(k, &e);
	assert_non_null(buf);
	vol_info(e.v, &info);
	assert_true(info.can_erase);
	memset(buf, 0x5a, LEN);
	assert_int_equal(rw(e.c, VOL_WRITE, 65536, buf, LEN), 0);
	a.io.unmap = true; // erasing is stronger
	assert_int_equal(run(e.c, &a), 0);
	assert_int_equal(rw(e.c, VOL_READ, 65536, buf, LEN), 0);
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(buf[i], 0);
	if (k->kind == K_FILE) {
		int fd = open(e.path, O_RDONLY | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(lseek(fd, 65536, SEEK_DATA), 65536);
		assert_true(lseek(fd, 65536, SEEK_HOLE) >= 65536 + LEN);
		close(fd);
	}
	free(buf);
	stop(&e);
}

/* All of it is done, in order, or nothing is; what has to wait is never done at once. */
static void at_once_or_not_at_all(void **state)
{
	const struct kind *k = *state;
	static uint8_t a[4096], b[4096], out[4096];
	struct iovec io[] = { { a, 4096 }, { b, 4096 }, { out, 4096 } };
	const struct {
		uint64_t off;
		size_t len;
	} bad[] = { { SIZE, 4096 }, { SIZE - 4096, 8192 }, { UINT64_MAX - 4095, 4096 },
		{ 100, 4096 }, { 0, 100 }, { 0, 0 }, { 0, (128 << 10) + 4096 } };
	uint64_t off[] = { 4096, 4096, 4096 };
	struct vol_stats st, after;
	struct vol_info info;
	struct env e;

	start(k, &e);
	vol_info(e.v, &info);
	assert_true(info.at_once == (k->kind != K_FILE));
	memset(a, 1, sizeof(a));
	memset(b, 2, sizeof(b));
	memset(out, 7, sizeof(out));
	assert_true(vol_at_once(e.c, 3, off, io, 1 | 2) == info.at_once);
	assert_int_equal(out[4095], k->kind == K_RAM ? 2 : 7); // the second write is the later one
	vol_stats(e.v, &st);
	assert_int_equal(st.writes, info.at_once ? 2 : 0);
	assert_int_equal(st.write_bytes, info.at_once ? 8192 : 0);
	assert_int_equal(st.reads, info.at_once ? 1 : 0);
	assert_int_equal(st.read_bytes, info.at_once ? 4096 : 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		off[2] = bad[i].off;
		io[2].iov_len = bad[i].len;
		memset(b, 3, sizeof(b));
		assert_false(vol_at_once(e.c, 3, off, io, 1 | 2));
	}
	off[2] = 4096;
	io[2].iov_len = 4096;
	memset(out, 7, sizeof(out));
	assert_true(vol_at_once(e.c, 1, off + 2, io + 2, 0) == info.at_once);
	assert_int_equal(out[0], k->kind == K_RAM ? 2 : 7); // nothing of those was done
	vol_stats(e.v, &after);
	assert_int_equal(after.writes, st.writes);
	stop(&e);
}

/*
 * A volume that no cache holds is written past the caches: whatever the way, the cut and the place
 * of the data in memory, it reads as one that is written through them.
 */
static void ram_past_the_caches(void **state)
{
	enum { AREA = 1 << 20, N = 3, MAX = 16384 };
	static uint8_t image[2][AREA], buf[N][MAX + 64], got[N][MAX + 64];
	const uint64_t sizes[2] = { SIZE, 1ULL << 30 };

	(void)state;
	for (unsigned which = 0; which < 2; which++) {
		struct vol_ram_conf conf = { "v", sizes[which], 512 };
		uint32_t seed = 3;
		struct vol_chan *c;
		struct vol *v;

		assert_int_equal(vol_ram_open(&conf, &v), 0);
		assert_int_equal(vol_chan_open(v, NULL, &c), 0);
		for (unsigned round = 0; round < 400; round++) {
			struct iovec io[N], parts[8];
			const uint8_t *data[N];
			uint64_t off[N], len = 0;

			for (unsigned i = 0; i < N; i++) {
				unsigned shift = rnd(&seed) % 4 ? 0 : rnd(&seed) % 64;

				len = (rnd(&seed) % (MAX / 512) + 1) * 512;
				off[i] = rnd(&seed) % ((AREA - len) / 512 + 1) * 512;
				data[i] = buf[i] + shift;
				io[i] = (struct iovec){ buf[i] + shift, len };
				for (uint64_t k = 0; k < len; k++)
					buf[i][shift + k] = (uint8_t)(rnd(&seed) >> 4);
			}
			assert_true(vol_at_once(c, N, off, io, 1 | 2 | 4));
			for (unsigned i = 0; i < N; i++)
				io[i].iov_base = got[i];
			assert_true(vol_at_once(c, N, off, io, 0));
			assert_memory_equal(got[N - 1], data[N - 1], len); // the latest write
			struct answer a = {
				.io = { .op = VOL_WRITE, .off = off[0], .len = len, .iov = parts }
			};

			if (off[0] > AREA - len)
				a.io.off = AREA - len;
			a.io.n_iov = cut(&seed, buf[0], len, parts, 8);
			assert_int_equal(run(c, &a), 0);
		}
		assert_int_equal(rw(c, VOL_READ, 0, image[which], AREA), 0);
		vol_chan_close(c);
		vol_close(v);
	}
	assert_memory_equal(image[0], image[1], AREA);
}

/* Memory of this process, in MiB. */
static long resident_mib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long all, resident;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &all, &resident), 2);
	fclose(f);
	return resident * (sysconf(_SC_PAGESIZE) / 1024) / 1024;
}

/* The memory is there before anybody writes, after a resize as well; given back, it is gone. */
static void ram_taken_beforehand(void **state)
{
	enum { MIB = 1 << 20, SLACK = 4 }; // the kernel's count is a little behind
	struct vol_ram_conf conf = { "v", 64 * MIB, 512, true };
	struct vol_ram_conf huge = { "v", 1ULL << 50, 512, true };
	static uint8_t block[512];
	struct vol_chan *c;
	struct vol *v;
	long had = resident_mib();

	(void)state;
	assert_int_equal(vol_ram_open(&huge, &v), -ENOMEM);
	assert_int_equal(vol_ram_open(&conf, &v), 0);
	assert_in_range(resident_mib(), had + 64 - SLACK, had + 64 + SLACK);
	assert_int_equal(vol_resize(v, 128 * MIB), 0);
	assert_in_range(resident_mib(), had + 128 - SLACK, had + 128 + SLACK);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(range(c, VOL_DISCARD, 0, 128 * MIB, true), 0);
	assert_in_range(resident_mib(), 0, had + SLACK);
	// It comes again in small pages: a block makes no worker clear a huge one.
	for (uint64_t off = 0; off < 128 * MIB; off += 2 * MIB)
		assert_int_equal(rw(c, VOL_WRITE, off, block, sizeof(block)), 0);
	assert_in_range(resident_mib(), 0, had + SLACK);
	vol_chan_close(c);
	vol_close(v);
}

static void stats_outlive_channels(void **state)
{
	struct vol_null_conf conf = { "v", SIZE, 512 };
	struct vol_chan *a, *b;
	struct vol_stats s;
	struct vol *v;
	uint8_t buf[512];

	(void)state;
	assert_int_equal(vol_null_open(&conf, &v), 0);
	assert_int_equal(vol_chan_open(v, NULL, &a), 0);
	assert_int_equal(vol_chan_open(v, NULL, &b), 0);
	assert_int_equal(rw(a, VOL_WRITE, 0, buf, 512), 0);
	assert_int_equal(rw(b, VOL_WRITE, 0, buf, 512), 0);
	vol_chan_close(a);
	vol_stats(v, &s);
	assert_int_equal(s.writes, 2);
	assert_int_equal(s.write_bytes, 1024);
	vol_chan_close(b);
	vol_close(v);
}

int main(void)
{
	static const struct {
		const char *name;
		CMUnitTestFunction fn;
		bool not_null; // the null volume keeps nothing to compare
	} rows[] = {
		{ "VB-01 bad ranges", refuses_bad_ranges, false },
		{ "random requests against a shadow copy", agrees_with_a_shadow, true },
		{ "long requests", long_requests_go_by_slices, true },
		{ "VB-20 discarded blocks", discarded_blocks_read_as_zeros, true },
		{ "resize", resize_follows, false },
		{ "IO-09 no memory", open_survives_no_memory, false },
		{ "at once", at_once_or_not_at_all, false },
		{ "erased blocks", erased_blocks_are_written, true },
	};
	struct CMUnitTest t[8 * N_KINDS + 6];
	static char names[8 * N_KINDS][80];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < N_KINDS; k++) {
			if (rows[i].not_null && kinds[k].kind == K_NULL)
				continue;
			snprintf(names[n], sizeof(names[n]), "%s: %s", rows[i].name, kinds[k].name);
			t[n] = (struct CMUnitTest){ .name = names[n],
				.test_func = rows[i].fn,
				.initial_state = (void *)(uintptr_t)&kinds[k] };
			n++;
		}
	}
	t[n++] = (struct CMUnitTest)cmocka_unit_test(ram_slices);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(ram_shrinks_under_a_long_request);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(ram_past_the_caches);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(ram_taken_beforehand);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(bad_shapes_are_refused);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(stats_outlive_channels);
	return _cmocka_run_group_tests("volumes", t, n, NULL, NULL);
}
