// SPDX-License-Identifier: Apache-2.0
/*
 * How much a disk may do in one turn, whatever its requests ask for. Their descriptors name the
 * same guest memory many times, so that a few megabytes of it make requests of any length.
 */
#include "test.h"

#include <stdio.h>

#include "blk_rows.h"
#include "blk_req.h"

const struct vho_blk_store_ops *card_blk_store_ops(void);

#define SEGS 8
#define KIB 1024U
#define MIB (1024U * KIB)
#define GIB (1024ULL * MIB)

struct fixture {
	struct env e;
	struct held_store s;
	uint8_t *headers; // guest memory: 64 bytes for each request
	unsigned n; // requests added
};

static void start(struct fixture *f, const struct layout *l)
{
	struct vho_blk_conf conf = { .name = "blk0", .n_queues = 1, .seg_max = SEGS };

	if (!f->e.ops) {
		f->e.ops = &held_ops;
		f->e.store = &f->s;
		f->s.limits.block_size = 512;
		f->s.limits.size = 4 * GIB;
	}
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	f->headers = drv_mem_alloc(&f->e.mem, 0, 64UL * 64, 64);
	assert_non_null(f->headers);
}

/* A read of SEGS times seg bytes, and `more` in the last segment; its status byte. */
static uint8_t *add(struct fixture *f, uint32_t seg, uint32_t more)
{
	uint8_t *p = f->headers + f->n++ % 64 * 64UL;
	uint64_t data = f->e.mem.r[0].gpa + MIB;
	struct drv_seg s[SEGS + 2];

	put_header(p, VIRTIO_BLK_T_IN, 0);
	p[32] = 0xee;
	s[0] = (struct drv_seg){ drv_mem_gpa(&f->e.mem, p), 16 };
	for (unsigned i = 1; i <= SEGS; i++)
		s[i] = (struct drv_seg){ data, seg + (i == SEGS ? more : 0) };
	s[SEGS + 1] = (struct drv_seg){ drv_mem_gpa(&f->e.mem, p + 32), 1 };
	assert_true(drv_ring_add(&f->e.ring, s, 1, SEGS + 1, p) >= 0);
	return p + 32;
}

/* Requests that the store got in this turn. */
static unsigned turn(struct fixture *f)
{
	unsigned was = f->s.n;

	vho_blk_poll(f->e.blk, 0, NULL, 32);
	return f->s.n - was;
}

/* Answer what the store has; the driver takes it. Returns how many it took. */
static unsigned answer_all(struct fixture *f)
{
	struct drv_used u;
	unsigned n = 0;

	for (unsigned i = 0; i < f->s.n; i++)
		vho_blk_io_done(f->s.io[i], 0);
	f->s.n = 0;
	vho_blk_poll(f->e.blk, 0, NULL, 0);
	while (drv_ring_poll(&f->e.ring, &u) == 1)
		n++;
	return n;
}

static void bytes_bound_a_turn(void **state)
{
	struct fixture f = { 0 };

	start(&f, *state);
	for (unsigned i = 0; i < 5; i++)
		add(&f, 12 * KIB, 0);
	assert_int_equal(turn(&f), 3); // 96 KiB each: the third makes it full
	assert_int_equal(turn(&f), 2);
	assert_int_equal(answer_all(&f), 5);
	add(&f, 512 * KIB, 0);
	add(&f, 512, 0);
	assert_int_equal(turn(&f), 1); // larger than a turn: alone
	assert_int_equal(turn(&f), 1);
	assert_int_equal(answer_all(&f), 2);
	assert_int_equal(vho_blk_inflight(f.e.blk, 0), 0);
	env_close(&f.e);
}

static void bytes_bound_what_is_in_flight(void **state)
{
	struct fixture f = { 0 };

	start(&f, *state);
	for (unsigned i = 0; i < 6; i++)
		add(&f, 2 * MIB, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(turn(&f), 1);
	assert_int_equal(turn(&f), 0); // 64 MiB are out
	vho_blk_io_done(f.s.io[2], 0);
	f.s.io[2] = f.s.io[3];
	f.s.n = 3;
	assert_int_equal(turn(&f), 1);
	assert_int_equal(turn(&f), 0);
	answer_all(&f);
	assert_int_equal(turn(&f), 1);
	answer_all(&f);
	env_close(&f.e);
}

/* EDK2 asks for up to 1 GiB at once; nobody asks for more. */
static void one_gib_is_the_most(void **state)
{
	struct fixture f = { 0 };
	uint8_t *status;

	f.e.mem_size = 192 * MIB;
	start(&f, *state);
	add(&f, 128 * MIB, 0);
	assert_int_equal(turn(&f), 1);
	assert_true(f.s.io[0]->len == GIB);
	answer_all(&f);
	status = add(&f, 128 * MIB, 512);
	assert_int_equal(turn(&f), 0);
	assert_int_equal(*status, VIRTIO_BLK_S_IOERR);
	assert_int_equal(
		dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->errors[VHO_BLK_ERR_LIMIT]), 1);
	env_close(&f.e);
}

/* Over memory a long read takes many turns, and short ones are answered meanwhile. */
static void long_reads_let_others_by(void **state)
{
	enum { LONG = 40 * MIB };
	struct vol_ram_conf rc = { "disk", 2 * LONG, 512 };
	struct fixture f = { 0 };
	unsigned turns = 0, done = 0;
	struct drv_used u;
	struct vol *vol;

	assert_int_equal(vol_ram_open(&rc, &vol), 0);
	assert_int_equal(vol_chan_open(vol, NULL, &f.e.chan), 0);
	f.e.ops = card_blk_store_ops();
	f.e.store = vol;
	start(&f, *state);
	add(&f, LONG / SEGS, 0);
	for (unsigned i = 0; i < 4; i++)
		add(&f, 512, 0);
	for (; vho_blk_inflight(f.e.blk, 0) > 0 || turns == 0; turns++) {
		vol_chan_poll(f.e.chan);
		vho_blk_poll(f.e.blk, 0, f.e.chan, 32);
		if (turns == 2)
			assert_int_equal(vho_blk_inflight(f.e.blk, 0), 1);
	}
	assert_true(turns >= LONG / MIB);
	vho_blk_poll(f.e.blk, 0, f.e.chan, 0);
	while (drv_ring_poll(&f.e.ring, &u) == 1)
		done++;
	assert_int_equal(done, 5);
	env_close(&f.e);
	vol_chan_close(f.e.chan);
	vol_close(vol);
}

/* A store that would zero at any length is asked for 64 MiB at most. */
static void zeroes_are_bounded(void **state)
{
	struct fixture f = { .s.limits.max_zeroes_sectors = 1U << 21 };
	struct blk_config c;

	f.s.limits.max_discard_sectors = 1U << 21;
	start(&f, *state);
	f.e.dev->type->config_read(f.e.dev, 0, &c, sizeof(c));
	assert_int_equal(dpu_le32_get(c.max_write_zeroes_sectors), 64 * MIB / 512);
	assert_int_equal(dpu_le32_get(c.max_discard_sectors), 1U << 21);
	env_close(&f.e);
}

int main(void)
{
	static const struct env_test rows[] = {
		{ "bytes of a turn", bytes_bound_a_turn },
		{ "bytes in flight", bytes_bound_what_is_in_flight },
		{ "1 GiB", one_gib_is_the_most },
		{ "long reads", long_reads_let_others_by },
		{ "zeroes", zeroes_are_bounded },
	};
	struct CMUnitTest t[ARRAY_LEN(rows) * N_LAYOUTS];
	static char names[ARRAY_LEN(rows) * N_LAYOUTS][96];
	size_t n = env_tests(rows, ARRAY_LEN(rows), t, names);

	return _cmocka_run_group_tests("virtio-blk turns", t, n, NULL, NULL);
}
