// SPDX-License-Identifier: Apache-2.0
/* virtio-blk: features, configuration space, and what happens to requests that take their time. */
#include "test.h"

#include <poll.h>
#include <sys/mman.h>

#include "blk_rows.h"
#include "blk_req.h"
#include "dpu_alloc.h"

#define SECTORS 2048ULL
#define BIT(n) (1ULL << (n))

struct fixture {
	struct env e;
	struct held_store s;
	uint8_t *buf; // guest memory: a request each 1024 bytes
};

static void start(struct fixture *f, const struct layout *l, uint16_t depth)
{
	struct vho_blk_conf conf = {
		.name = "blk0", .serial = "x", .n_queues = 2, .seg_max = 8, .depth = depth
	};

	f->e.ops = &held_ops;
	f->e.store = &f->s;
	if (f->s.limits.block_size == 0)
		f->s.limits = (struct vho_blk_limits){ .size = SECTORS * 512,
			.block_size = 512,
			.opt_io_size = 65536,
			.max_discard_sectors = 1024,
			.max_zeroes_sectors = 2048,
			.flush = true };
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	f->buf = drv_mem_alloc(&f->e.mem, 0, 64 * 1024, 4096);
	assert_non_null(f->buf);
}

/* Request number i: a read or write of one sector at sector i. */
static void add(struct fixture *f, unsigned i, uint32_t type)
{
	uint8_t *p = f->buf + i * 1024UL;
	struct guest_req g = { .out = p, .out_len = 16, .in = p + 32, .in_len = 513 };

	put_header(p, type, i);
	if (type != VIRTIO_BLK_T_IN) {
		g.out_len = type == VIRTIO_BLK_T_OUT ? 528 : 16;
		g.in = p + 600;
		g.in_len = 1;
	}
	memset(p + 16, 0xee, 1000);
	assert_true(submit(&f->e, &g, CUT_USUAL, p) >= 0);
}

static unsigned turn(struct fixture *f)
{
	return vho_blk_poll(f->e.blk, 0, NULL, 64);
}

static unsigned collect(struct fixture *f, uint8_t *status)
{
	struct drv_used u;
	unsigned n = 0;

	while (drv_ring_poll(&f->e.ring, &u) == 1) {
		const uint8_t *p = u.cookie;

		*status = p[32 + 512] == 0xee ? p[600] : p[32 + 512];
		n++;
	}
	return n;
}

static void config_reads_are_bounded(void **state)
{
	struct fixture f = { 0 };
	uint8_t all[256], part[8];
	struct blk_config c;

	(void)state;
	start(&f, &layouts[0], 8);
	const struct vho_dev_type *t = f.e.dev->type;

	memset(all, 0xff, sizeof(all));
	t->config_read(f.e.dev, 0, all, sizeof(all));
	memcpy(&c, all, sizeof(c));
	assert_int_equal(dpu_le64_get(c.capacity), SECTORS);
	assert_int_equal(dpu_le32_get(c.seg_max), 8);
	assert_int_equal(dpu_le32_get(c.blk_size), 512);
	assert_int_equal(dpu_le32_get(c.opt_io_size), 128);
	assert_int_equal(dpu_le16_get(c.num_queues), 2);
	assert_int_equal(dpu_le32_get(c.max_discard_sectors), 1024);
	assert_int_equal(dpu_le32_get(c.max_discard_seg), 1);
	assert_int_equal(dpu_le32_get(c.max_write_zeroes_sectors), 2048);
	assert_int_equal(c.writeback, 1);
	for (size_t i = sizeof(c); i < sizeof(all); i++)
		assert_int_equal(all[i], 0);
	t->config_read(f.e.dev, 56, part, 8);
	assert_memory_equal(part, all + 56, 8);
	t->config_read(f.e.dev, UINT32_MAX, part, 8);
	assert_memory_equal(part, all + 64, 8);
	env_close(&f.e);
}

static void only_writeback_is_writable(void **state)
{
	struct fixture f = { 0 };
	uint8_t v = 0;

	(void)state;
	start(&f, &layouts[0], 8);
	const struct vho_dev_type *t = f.e.dev->type;

	assert_int_equal(t->config_write(f.e.dev, 32, &v, 1), 0);
	assert_int_equal(t->config_write(f.e.dev, 0, &v, 1), -EINVAL);
	assert_int_equal(t->config_write(f.e.dev, 31, &v, 1), -EINVAL);
	assert_int_equal(t->config_write(f.e.dev, UINT32_MAX, &v, 1), -EINVAL);
	assert_int_equal(t->config_write(f.e.dev, 32, &v, 0), -EINVAL);
	v = 2;
	assert_int_equal(t->config_write(f.e.dev, 32, &v, 1), -EINVAL);
	v = 0xff;
	t->config_read(f.e.dev, 32, &v, 1);
	assert_int_equal(v, 0);
	env_close(&f.e);
}

/* VB-12: a write taken in write-through mode is stable when it is answered. */
static void writeback_decides_stability(void **state)
{
	struct fixture f = { 0 };
	uint8_t v = 0;

	(void)state;
	start(&f, &layouts[0], 8);
	const struct vho_dev_type *t = f.e.dev->type;

	for (unsigned i = 0; i < 6; i++) {
		v = i % 2;
		assert_int_equal(t->config_write(f.e.dev, 32, &v, 1), 0);
		add(&f, i, VIRTIO_BLK_T_OUT);
		turn(&f);
		assert_int_equal(f.s.n, i + 1);
		assert_int_equal(f.s.io[i]->fua, i % 2 == 0);
	}
	add(&f, 6, VIRTIO_BLK_T_IN);
	turn(&f);
	assert_false(f.s.io[6]->fua);
	env_close(&f.e);
	for (unsigned i = 0; i < f.s.n; i++)
		vho_blk_io_done(f.s.io[i], 0);
}

/* VB-12: a driver that can neither flush nor switch modes relies on every write. */
static void simple_driver_gets_stable_writes(void **state)
{
	struct fixture f = { 0 };
	uint8_t v = 1, status;

	(void)state;
	f.e.features = BIT(VIRTIO_BLK_F_SEG_MAX);
	start(&f, &layouts[0], 8);
	assert_int_equal(f.e.dev->type->config_write(f.e.dev, 32, &v, 1), -EINVAL);
	add(&f, 0, VIRTIO_BLK_T_OUT);
	turn(&f);
	assert_true(f.s.io[0]->fua);
	vho_blk_io_done(f.s.io[0], 0);
	turn(&f);
	assert_int_equal(collect(&f, &status), 1);
	env_close(&f.e);
}

static void features_follow_the_store(void **state)
{
	const uint64_t ro = BIT(VIRTIO_BLK_F_RO), flush = BIT(VIRTIO_BLK_F_FLUSH);
	const uint64_t change = BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	struct fixture f = { 0 };
	struct vho_blk_conf conf = { .name = "b", .n_queues = 1, .seg_max = 8 };
	struct vho_blk *blk;
	static const struct vho_host host = { 0 };
	uint64_t off;

	(void)state;
	start(&f, &layouts[0], 8);
	off = f.e.dev->features_offered;
	assert_int_equal(off & ro, 0);
	assert_int_equal(off & flush, flush);
	assert_int_equal(off & change, change);
	conf.ops = &held_ops;
	conf.store = &f.s;
	f.s.limits.read_only = true;
	f.s.limits.flush = false;
	conf.features_off = BIT(VIRTIO_BLK_F_MQ);
	assert_int_equal(vho_blk_create(&conf, &host, &blk), 0);
	off = vho_blk_dev(blk)->features_offered;
	assert_int_equal(off & ro, ro);
	assert_int_equal(off & (flush | change | BIT(VIRTIO_BLK_F_MQ)), 0);
	vho_blk_destroy(blk);
	conf.n_queues = 257;
	assert_int_equal(vho_blk_create(&conf, &host, &blk), -EINVAL);
	conf.n_queues = 1;
	conf.seg_max = 1023;
	assert_int_equal(vho_blk_create(&conf, &host, &blk), -EINVAL);
	conf.seg_max = 0;
	assert_int_equal(vho_blk_create(&conf, &host, &blk), -EINVAL);
	conf.seg_max = 8;
	f.s.limits.block_size = 1024;
	assert_int_equal(vho_blk_create(&conf, &host, &blk), -EINVAL);
	vho_blk_destroy(NULL);
	env_close(&f.e);
}

/* VB-11: an error below is an error above, never good data. */
static void store_errors_reach_the_guest(void **state)
{
	static const struct {
		int err;
		uint8_t status;
	} t[] = { { -EIO, VIRTIO_BLK_S_IOERR }, { -ENOSPC, VIRTIO_BLK_S_IOERR },
		{ -ENOTSUP, VIRTIO_BLK_S_UNSUPP }, { -EROFS, VIRTIO_BLK_S_IOERR } };
	struct fixture f = { 0 };
	struct drv_used u;

	start(&f, *state, 8);
	for (unsigned i = 0; i < ARRAY_LEN(t); i++) {
		add(&f, i, VIRTIO_BLK_T_IN);
		turn(&f);
		assert_int_equal(f.s.n, i + 1);
		vho_blk_io_done(f.s.io[i], t[i].err);
		turn(&f);
		assert_int_equal(drv_ring_poll(&f.e.ring, &u), 1);
		assert_int_equal(u.len, 0);
		assert_int_equal(f.buf[i * 1024 + 32 + 512], t[i].status);
	}
	env_close(&f.e);
}

/* VB-14: the volume is gone: capacity 0, and requests fail. */
static void vanished_volume(void **state)
{
	struct fixture f = { 0 };
	struct blk_config c;
	uint8_t status = 0;

	start(&f, *state, 64);
	for (unsigned i = 0; i < 8; i++)
		add(&f, i, VIRTIO_BLK_T_IN);
	turn(&f);
	f.s.limits.size = 0;
	vho_blk_resized(f.e.blk);
	for (unsigned i = 0; i < 8; i++)
		vho_blk_io_done(f.s.io[i], -EIO);
	turn(&f);
	assert_int_equal(collect(&f, &status), 8);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
	f.e.dev->type->config_read(f.e.dev, 0, &c, sizeof(c));
	assert_int_equal(dpu_le64_get(c.capacity), 0);
	add(&f, 0, VIRTIO_BLK_T_IN);
	turn(&f);
	assert_int_equal(f.s.n, 8);
	assert_int_equal(collect(&f, &status), 1);
	assert_int_equal(status, VIRTIO_BLK_S_IOERR);
	env_close(&f.e);
}

/* VB-15: the device is reset and its memory taken away; then the store answers. */
static void late_answers_touch_nothing(void **state)
{
	struct fixture f = { 0 };
	uint8_t *copy = malloc(MEM_SIZE);

	assert_non_null(copy);
	start(&f, *state, 64);
	for (unsigned i = 0; i < 8; i++)
		add(&f, i, i % 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT);
	turn(&f);
	assert_int_equal(f.s.n, 8);
	assert_int_equal(vho_blk_inflight(f.e.blk, 0), 8);
	vho_blk_io_done(f.s.io[3], 0); // answered, not shown yet: still counts
	vho_dev_reset(f.e.dev);
	assert_int_equal(f.e.stopped, 1);
	assert_int_equal(vho_blk_inflight(f.e.blk, 0), 0);
	vho_dev_detach(f.e.dev);
	assert_int_equal(atomic_load(&f.e.map->refs), 2); // ours and the requests'
	memcpy(copy, f.e.mem.r[0].host, MEM_SIZE);
	for (unsigned i = 0; i < 8; i++) {
		if (i == 3)
			continue;
		assert_int_equal(atomic_load(&f.e.map->refs), 2);
		// What the store may still do: fill the buffer it was given.
		if (f.s.io[i]->op == VHO_BLK_READ)
			*(uint8_t *)f.s.io[i]->iov[0].iov_base = 0xee;
		vho_blk_io_done(f.s.io[i], i % 2 ? -EIO : 0);
		turn(&f);
	}
	assert_int_equal(atomic_load(&f.e.map->refs), 1);
	assert_memory_equal(copy, f.e.mem.r[0].host, MEM_SIZE);
	env_close(&f.e);
	free(copy);
}

/* VB-15: the device itself goes first. */
static void answers_outlive_the_device(void **state)
{
	struct fixture f = { 0 };

	start(&f, *state, 64);
	for (unsigned i = 0; i < 8; i++)
		add(&f, i, VIRTIO_BLK_T_IN);
	turn(&f);
	vho_dev_detach(f.e.dev);
	vho_blk_destroy(f.e.blk);
	f.e.blk = NULL;
	f.e.dev = NULL;
	for (unsigned i = 0; i < 8; i++)
		vho_blk_io_done(f.s.io[i], 0);
	assert_int_equal(atomic_load(&f.e.map->refs), 1);
	env_close(&f.e);
}

/* VB-15: the queue comes back and works while answers of its former life still arrive. */
static void queue_restarts_under_late_answers(void **state)
{
	struct fixture f = { 0 };
	const struct layout *l = *state;
	uint8_t status = 0xff;

	if (l->features & BIT(VIRTIO_F_IN_ORDER))
		skip(); // there an answer to a later request would stand for the lost ones too
	start(&f, l, 64);
	for (unsigned i = 0; i < 4; i++)
		add(&f, i, VIRTIO_BLK_T_IN);
	turn(&f);
	vho_dev_queue_stop(f.e.dev, 0);
	assert_int_equal(vho_dev_queue_try_start(f.e.dev, 0), 0);
	for (unsigned i = 4; i < 8; i++)
		add(&f, i, VIRTIO_BLK_T_IN);
	turn(&f);
	assert_int_equal(f.s.n, 8);
	vho_blk_io_done(f.s.io[0], 0);
	vho_blk_io_done(f.s.io[5], 0);
	vho_blk_io_done(f.s.io[1], -EIO);
	turn(&f);
	assert_int_equal(vho_blk_inflight(f.e.blk, 0), 3);
	vho_blk_io_done(f.s.io[2], 0);
	vho_blk_io_done(f.s.io[3], 0);
	for (unsigned i = 4; i < 8; i++)
		if (i != 5)
			vho_blk_io_done(f.s.io[i], 0);
	turn(&f);
	assert_int_equal(collect(&f, &status), 4);
	assert_int_equal(status, VIRTIO_BLK_S_OK);
	assert_int_equal(f.e.ring.bad_used, 0);
	env_close(&f.e);
}

/* A ring larger than our depth waits; the store's answers, in any order, make room. */
static void depth_bounds_what_is_popped(void **state)
{
	struct fixture f = { 0 };
	uint8_t status = 0xff;
	unsigned n = 0;

	start(&f, *state, 4);
	for (unsigned i = 0; i < 10; i++)
		add(&f, i, VIRTIO_BLK_T_IN);
	assert_int_equal(turn(&f), 4);
	assert_int_equal(turn(&f), 0);
	assert_int_equal(f.s.n, 4);
	assert_int_equal(f.s.kicks, 1);
	vho_blk_io_done(f.s.io[2], 0);
	vho_blk_io_done(f.s.io[0], 0);
	turn(&f);
	assert_int_equal(f.s.n, 6);
	for (unsigned i = 1; i < 6; i++)
		if (i != 2)
			vho_blk_io_done(f.s.io[i], 0);
	turn(&f);
	assert_int_equal(f.s.n, 10);
	for (unsigned i = 10; i-- > 6;)
		vho_blk_io_done(f.s.io[i], 0);
	turn(&f);
	n = collect(&f, &status);
	assert_int_equal(n, 10);
	assert_int_equal(vho_blk_inflight(f.e.blk, 0), 0);
	assert_int_equal(dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->reads), 10);
	assert_int_equal(dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->read_bytes), 5120);
	env_close(&f.e);
}

/* One turn, many answers: one notification. The last of all needs no turn. */
static void one_call_per_turn(void **state)
{
	struct fixture f = { 0 };
	uint64_t count = 0;
	struct drv_used u;

	start(&f, *state, 64);
	for (unsigned i = 0; i < 8; i++)
		add(&f, i, VIRTIO_BLK_T_IN);
	turn(&f);
	drv_ring_intr(&f.e.ring, true);
	struct pollfd p = { .fd = f.e.ring.call_fd, .events = POLLIN };
	if (poll(&p, 1, 0) == 1) // the signal that goes with a start
		assert_int_equal(read(f.e.ring.call_fd, &count, 8), 8);
	for (unsigned i = 0; i < 7; i++)
		vho_blk_io_done(f.s.io[i], 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(turn(&f), 7);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(read(f.e.ring.call_fd, &count, 8), 8);
	assert_int_equal(count, 1);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(drv_ring_poll(&f.e.ring, &u), 1);
	drv_ring_intr(&f.e.ring, true);
	vho_blk_io_done(f.s.io[7], 0);
	assert_int_equal(drv_ring_poll(&f.e.ring, &u), 1);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(turn(&f), 0);
	env_close(&f.e);
}

/*
 * During a migration every page that a request may have written is marked, the status byte's too.
 */
static void dirty_log_hears_of_writes(void **state)
{
	struct fixture f = { 0 };
	static uint8_t log[MEM_SIZE / 4096 / 8 + 4096];
	uint8_t *p, status;

	start(&f, *state, 64);
	p = f.buf;
	struct guest_req g = { .out = p, .out_len = 16, .in = p + 16384 - 512, .in_len = 513 };
	uint64_t page = drv_mem_gpa(&f.e.mem, p) / 4096;

	if (page / 8 + 2 >= sizeof(log))
		skip();
	memset(log, 0, sizeof(log));
	f.e.dev->queues[0].q.log = (struct vho_dirty_log){ log, sizeof(log) };
	f.e.dev->queues[0].q.watched = true; // as set-up does with a log
	put_header(p, VIRTIO_BLK_T_IN, 0);
	assert_true(
		submit(&f.e, &g, CUT_TIGHT, p) >= 0); // the status byte alone is on the next page
	turn(&f);
	vho_blk_io_done(f.s.io[0], 0);
	turn(&f);
	assert_int_equal(collect(&f, &status), 1);
	for (uint64_t i = page; i < page + 6; i++)
		assert_int_equal(log[i / 8] >> i % 8 & 1, i == page + 3 || i == page + 4);
	env_close(&f.e);
}

/* IO-09: the k-th allocation of creation and of a queue's start fails, for every k. */
static void creation_survives_no_memory(void **state)
{
	struct vho_blk_conf conf = { .name = "b", .n_queues = 4, .seg_max = 8, .ops = &held_ops };
	static const struct vho_host host = { 0 };
	struct held_store s = { .limits = { .size = 512, .block_size = 512 } };
	struct blk_queue bq = { 0 };
	struct blk_pool *pool;
	struct vho_blk *blk;
	int ret = -ENOMEM;

	(void)state;
	conf.store = &s;
	for (long k = 0; k < 8; k++) {
		dpu_alloc_fail_after(k);
		ret = vho_blk_create(&conf, &host, &blk);
		dpu_alloc_fail_after(-1);
		if (ret == 0)
			vho_blk_destroy(blk);
		else
			assert_int_equal(ret, -ENOMEM);
	}
	assert_int_equal(ret, 0);
	for (long k = 0; k < 3; k++) {
		dpu_alloc_fail_after(k);
		ret = blk_pool_create(&bq, 4, 4, &pool);
		dpu_alloc_fail_after(-1);
		assert_int_equal(ret, k < 2 ? -ENOMEM : 0);
	}
	blk_pool_destroy(pool);
	blk_pool_destroy(NULL);
}

static void error_list_is_complete(void **state)
{
	(void)state;
	for (unsigned i = 0; i < VHO_BLK_ERR_COUNT; i++) {
		assert_non_null(vho_blk_error_name((enum vho_blk_error)i));
		assert_non_null(vho_blk_error_text((enum vho_blk_error)i));
	}
	assert_null(vho_blk_error_name(VHO_BLK_ERR_COUNT));
	assert_null(vho_blk_error_text(VHO_BLK_ERR_COUNT));
}

int main(void)
{
	static const struct env_test rows[] = {
		{ "VB-11 store errors", store_errors_reach_the_guest },
		{ "VB-14 vanished volume", vanished_volume },
		{ "VB-15 reset, then answers", late_answers_touch_nothing },
		{ "VB-15 answers after the device", answers_outlive_the_device },
		{ "VB-15 restart under late answers", queue_restarts_under_late_answers },
		{ "depth", depth_bounds_what_is_popped },
		{ "one call per turn", one_call_per_turn },
		{ "dirty log", dirty_log_hears_of_writes },
	};
	static const struct CMUnitTest once[] = {
		cmocka_unit_test(config_reads_are_bounded),
		cmocka_unit_test(only_writeback_is_writable),
		{ "VB-12 writeback toggled", writeback_decides_stability, NULL, NULL, NULL },
		{ "VB-12 neither FLUSH nor CONFIG_WCE", simple_driver_gets_stable_writes, NULL,
			NULL, NULL },
		cmocka_unit_test(features_follow_the_store),
		{ "IO-09 no memory", creation_survives_no_memory, NULL, NULL, NULL },
		cmocka_unit_test(error_list_is_complete),
	};
	struct CMUnitTest t[ARRAY_LEN(rows) * N_LAYOUTS + ARRAY_LEN(once)];
	static char names[ARRAY_LEN(rows) * N_LAYOUTS][96];
	size_t n = env_tests(rows, ARRAY_LEN(rows), t, names);

	for (size_t i = 0; i < ARRAY_LEN(once); i++)
		t[n++] = once[i];
	return _cmocka_run_group_tests("virtio-blk life", t, n, NULL, NULL);
}
