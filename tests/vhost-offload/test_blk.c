// SPDX-License-Identifier: Apache-2.0
/* virtio-blk requests, hostile and honest, on every ring layout, over a volume in memory. */
#include "test.h"

#include <stdio.h>

#include "blk_rows.h"

const struct vho_blk_store_ops *card_blk_store_ops(void);

#define SECTORS 2048ULL
#define BYTES (SECTORS * 512)
#define DATA_MAX 8192
#define T_IN VIRTIO_BLK_T_IN
#define T_OUT VIRTIO_BLK_T_OUT
#define T_DISCARD VIRTIO_BLK_T_DISCARD
#define T_ZEROES VIRTIO_BLK_T_WRITE_ZEROES
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define NO_STATUS 0xff

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

static const struct row {
	const char *name;
	uint32_t type;
	uint64_t sector;
	uint32_t out, in; // data bytes; in without the status
	uint8_t status;
	uint32_t used;
	int cut_header; // bytes of the header that are missing
	bool read_only, no_status;
	struct range range[2]; // start of the readable data
} rows[] = {
	{ "VB-01 read at sector 2^64-1", T_IN, UINT64_MAX, 0, 512, IOERR, 0 },
	{ "VB-01 read over the end", T_IN, SECTORS - 1, 0, 1024, IOERR, 0 },
	{ "VB-01 read at the end", T_IN, SECTORS, 0, 512, IOERR, 0 },
	{ "VB-01 read, bytes wrap to 0", T_IN, 1ULL << 55, 0, 512, IOERR, 0 },
	{ "VB-01 write at sector 2^64-1", T_OUT, UINT64_MAX, 512, 0, IOERR, 1 },
	{ "VB-01 write over the end", T_OUT, SECTORS - 1, 1024, 0, IOERR, 1 },
	{ "VB-01 write, bytes wrap to 0", T_OUT, 1ULL << 55, 512, 0, IOERR, 1 },
	{ "last sector read", T_IN, SECTORS - 1, 0, 512, OK, 513 },
	{ "VB-02 read of 511 bytes", T_IN, 0, 0, 511, IOERR, 0 },
	{ "VB-02 read of 513 bytes", T_IN, 0, 0, 513, IOERR, 0 },
	{ "VB-02 read of nothing", T_IN, 0, 0, 0, IOERR, 1 },
	{ "VB-02 write of 511 bytes", T_OUT, 0, 511, 0, IOERR, 1 },
	{ "VB-02 write of 513 bytes", T_OUT, 0, 513, 0, IOERR, 1 },
	{ "VB-02 write of nothing", T_OUT, 0, 0, 0, IOERR, 1 },
	{ "VB-05 identity of 0 bytes", VIRTIO_BLK_T_GET_ID, 0, 0, 0, OK, 1 },
	{ "VB-05 identity of 19 bytes", VIRTIO_BLK_T_GET_ID, 0, 0, 19, OK, 20 },
	{ "VB-05 identity of 20 bytes", VIRTIO_BLK_T_GET_ID, 0, 0, 20, OK, 21 },
	{ "VB-05 identity of 21 bytes", VIRTIO_BLK_T_GET_ID, 0, 0, 21, OK, 20 },
	{ "VB-05 identity of 4096 bytes", VIRTIO_BLK_T_GET_ID, 0, 0, 4096, OK, 20 },
	{ "VB-07 discard of two ranges", T_DISCARD, 0, 32, 0, IOERR, 1, 0, false, false,
		{ { 0, 8, 0 }, { 8, 8, 0 } } },
	{ "VB-07 discard without a range", T_DISCARD, 0, 0, 0, IOERR, 1 },
	{ "VB-07 discard of 15 bytes", T_DISCARD, 0, 15, 0, IOERR, 1, 0, false, false,
		{ { 0, 8, 0 } } },
	{ "VB-07 zeroes of 17 bytes", T_ZEROES, 0, 17, 0, IOERR, 1, 0, false, false,
		{ { 0, 8, 0 } } },
	{ "VB-07 discard over the end", T_DISCARD, 0, 16, 0, IOERR, 1, 0, false, false,
		{ { SECTORS - 1, 2, 0 } } },
	{ "VB-07 zeroes over the end", T_ZEROES, 0, 16, 0, IOERR, 1, 0, false, false,
		{ { SECTORS - 1, 2, 0 } } },
	{ "VB-07 zeroes, 2^32-1 sectors", T_ZEROES, 0, 16, 0, IOERR, 1, 0, false, false,
		{ { 0, UINT32_MAX, 0 } } },
	{ "VB-07 discard, 2^32-1 sectors", T_DISCARD, 0, 16, 0, IOERR, 1, 0, false, false,
		{ { 0, UINT32_MAX, 0 } } },
	{ "VB-07 zeroes, bytes wrap to 0", T_ZEROES, 0, 16, 0, IOERR, 1, 0, false, false,
		{ { 1ULL << 55, 8, 0 } } },
	{ "VB-07 discard, end wraps", T_DISCARD, 0, 16, 0, IOERR, 1, 0, false, false,
		{ { UINT64_MAX, 1, 0 } } },
	{ "VB-07 discard with unmap", T_DISCARD, 0, 16, 0, UNSUPP, 1, 0, false, false,
		{ { 0, 8, 1 } } },
	{ "VB-07 zeroes with unknown flags", T_ZEROES, 0, 16, 0, UNSUPP, 1, 0, false, false,
		{ { 0, 8, 2 } } },
	{ "discard of no sectors", T_DISCARD, 0, 16, 0, OK, 1, 0, false, false, { { 5, 0, 0 } } },
	{ "VB-08 write to a read-only disk", T_OUT, 0, 512, 0, IOERR, 1, 0, true },
	{ "VB-08 discard on a read-only disk", T_DISCARD, 0, 16, 0, IOERR, 1, 0, true, false,
		{ { 0, 8, 0 } } },
	{ "VB-08 zeroes on a read-only disk", T_ZEROES, 0, 16, 0, IOERR, 1, 0, true, false,
		{ { 0, 8, 1 } } },
	{ "read from a read-only disk", T_IN, 3, 0, 1024, OK, 1025, 0, true },
	{ "VB-09 flush", VIRTIO_BLK_T_FLUSH, 0, 0, 0, OK, 1 },
	{ "VB-09 flush with data and a sector", VIRTIO_BLK_T_FLUSH, 77, 512, 0, OK, 1 },
	{ "VB-09 flush with room for data", VIRTIO_BLK_T_FLUSH, 0, 0, 512, OK, 0 },
	{ "VB-10 read into a readable buffer", T_IN, 0, 512, 0, IOERR, 1 },
	{ "VB-10 read, data both ways", T_IN, 0, 512, 512, IOERR, 0 },
	{ "VB-10 write from a writable buffer", T_OUT, 0, 0, 512, IOERR, 0 },
	{ "VB-10 write, data both ways", T_OUT, 0, 512, 512, IOERR, 0 },
	{ "unknown type", 0xff, 0, 0, 512, UNSUPP, 0 },
	{ "type 2^31", 1U << 31, 0, 512, 0, UNSUPP, 1 },
	{ "secure erase was not offered", 14, 0, 16, 0, UNSUPP, 1 },
	{ "header of 15 bytes", T_IN, 0, 0, 512, IOERR, 0, 1 },
	{ "no header", T_IN, 0, 0, 512, IOERR, 0, 16 },
	{ "no status byte", T_OUT, 0, 512, 0, NO_STATUS, 0, 0, false, true },
};

struct fixture {
	struct env e;
	struct vol *vol;
	uint8_t *disk; // what the volume should hold
	struct guest_req g;
	uint8_t *before; // copy of the writable buffer
};

static void ignore(struct vol_io *vio, int err)
{
	(void)vio;
	assert_int_equal(err, 0);
}

/* The whole disk at once, past the device. */
static void whole_disk(struct fixture *f, enum vol_op op, uint8_t *buf)
{
	struct iovec v = { buf, BYTES };
	struct vol_io io = { .op = op, .len = BYTES, .iov = &v, .n_iov = 1, .done = ignore };

	vol_submit(f->e.chan, &io);
	while (vol_chan_inflight(f->e.chan) > 0)
		vol_chan_poll(f->e.chan);
}

static void start(struct fixture *f, const struct layout *l, bool read_only, uint32_t block_size)
{
	struct vol_ram_conf rc = { "disk", BYTES, block_size };
	struct vho_blk_conf conf = { .name = "blk0",
		.serial = "serial-0123456789abcdefgh",
		.n_queues = 1,
		.seg_max = 20,
		.depth = 64,
		.read_only = read_only };

	memset(f, 0, sizeof(*f));
	assert_int_equal(vol_ram_open(&rc, &f->vol), 0);
	assert_int_equal(vol_chan_open(f->vol, NULL, &f->e.chan), 0);
	f->disk = malloc(BYTES);
	f->before = malloc(DATA_MAX);
	assert_non_null(f->disk);
	for (size_t i = 0; i < BYTES; i++)
		f->disk[i] = (uint8_t)(i * 13 + i / 512 * 7 + 1) | 1;
	f->e.ops = card_blk_store_ops();
	f->e.store = f->vol;
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	f->g.out = drv_mem_alloc(&f->e.mem, 0, 16 + DATA_MAX, 8);
	f->g.in = drv_mem_alloc(&f->e.mem, 0, DATA_MAX + 1, 8);
	assert_non_null(f->g.in);
	whole_disk(f, VOL_WRITE, f->disk);
}

static void stop(struct fixture *f)
{
	env_close(&f->e);
	vol_chan_close(f->e.chan);
	vol_close(f->vol);
	free(f->disk);
	free(f->before);
}

static void assert_disk(struct fixture *f)
{
	uint8_t *now = malloc(BYTES);

	assert_non_null(now);
	whole_disk(f, VOL_READ, now);
	assert_memory_equal(now, f->disk, BYTES);
	free(now);
}

/* Run what stands in f->g. Returns used.len. */
static uint32_t run(struct fixture *f, enum cut cut)
{
	struct drv_used u;

	assert_true(submit(&f->e, &f->g, cut, f) >= 0);
	assert_int_equal(vho_blk_poll(f->e.blk, 0, f->e.chan, 32), 2); // popped and answered
	assert_int_equal(drv_ring_poll(&f->e.ring, &u), 1);
	assert_ptr_equal(u.cookie, f);
	assert_int_equal(vho_blk_inflight(f->e.blk, 0), 0);
	assert_int_equal(f->e.ring.bad_used, 0);
	return u.len;
}

static void check_row(const struct row *r, const struct layout *l, enum cut cut)
{
	uint32_t head = 16 - (uint32_t)r->cut_header;
	struct fixture f;

	start(&f, l, r->read_only, 512);
	put_header(f.g.out, r->type, r->sector);
	memset(f.g.out + 16, 0x5a, DATA_MAX);
	if (r->type == T_DISCARD || r->type == T_ZEROES)
		memcpy(f.g.out + 16, r->range, sizeof(r->range));
	memset(f.g.in, 0xee, DATA_MAX + 1);
	f.g.out_len = head + r->out;
	f.g.in_len = r->no_status ? 0 : r->in + 1;
	assert_int_equal(run(&f, cut), r->used);
	if (!r->no_status)
		assert_int_equal(f.g.in[r->in], r->status);
	uint32_t data = r->status == OK && r->type != VIRTIO_BLK_T_FLUSH ? r->in : 0;
	if (r->type == VIRTIO_BLK_T_GET_ID) {
		data = data < 20 ? data : 20;
		assert_memory_equal(f.g.in, "serial-0123456789abcdefgh", data);
	} else if (data > 0) {
		assert_memory_equal(f.g.in, f.disk + r->sector * 512, data);
	}
	for (uint32_t i = data; i < r->in; i++)
		assert_int_equal(f.g.in[i], 0xee); // nothing of ours leaks, nothing is half done
	assert_disk(&f);

	uint64_t errors = 0;
	for (unsigned i = 0; i < VHO_BLK_ERR_COUNT; i++)
		errors += dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->errors[i]);
	assert_int_equal(errors, r->status == OK ? 0 : 1);
	if (strncmp(r->name, "VB-01", 5) == 0) // refused by us, not left to the volume
		assert_int_equal(
			dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->errors[VHO_BLK_ERR_RANGE]), 1);
	stop(&f);
}

static void hostile_row(void **state)
{
	for (size_t l = 0; l < N_LAYOUTS; l++)
		for (int cut = 0; cut < CUTS; cut++)
			check_row(*state, &layouts[l], (enum cut)cut);
}

static uint32_t rnd(uint32_t *s)
{
	*s = *s * 1664525U + 1013904223U;
	return *s >> 8;
}

/* VB-20 and the honest path: random requests against a shadow copy. */
static void agrees_with_a_shadow(void **state)
{
	const struct layout *l = *state;
	struct fixture f;
	uint32_t seed = 3;

	start(&f, l, false, 512);
	for (int i = 0; i < 2000; i++) {
		static const uint32_t types[] = { T_IN, T_IN, T_OUT, T_OUT, T_DISCARD, T_ZEROES };
		uint32_t type = types[rnd(&seed) % 6], n = rnd(&seed) % (DATA_MAX / 512) + 1;
		struct range r = { rnd(&seed) % (SECTORS - n), n, 0 };

		put_header(f.g.out, type, r.sector);
		f.g.out_len = 16;
		f.g.in_len = 1;
		if (type == T_IN) {
			f.g.in_len += n * 512;
			memset(f.g.in, 0xee, f.g.in_len);
		} else if (type == T_OUT) {
			f.g.out_len += n * 512;
			for (uint32_t j = 0; j < n * 512; j++)
				f.disk[r.sector * 512 + j] = f.g.out[16 + j] = (uint8_t)rnd(&seed);
		} else {
			r.flags = type == T_ZEROES ? rnd(&seed) % 2 : 0;
			f.g.out_len += sizeof(r);
			memcpy(f.g.out + 16, &r, sizeof(r));
			memset(f.disk + r.sector * 512, 0, n * 512UL);
		}
		f.g.in[f.g.in_len - 1] = 0xee;
		assert_int_equal(run(&f, (enum cut)(rnd(&seed) % CUTS)), f.g.in_len);
		assert_int_equal(f.g.in[f.g.in_len - 1], OK);
		if (type == T_IN)
			assert_memory_equal(f.g.in, f.disk + r.sector * 512, n * 512UL);
	}
	assert_disk(&f);
	stop(&f);
}

/* A block of 4096: what is aligned to a sector only is refused. */
static void large_blocks_refuse_sectors(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, &layouts[0], false, 4096);
	put_header(f.g.out, T_IN, 8);
	f.g.out_len = 16;
	f.g.in_len = 4097;
	assert_int_equal(run(&f, CUT_USUAL), 4097);
	assert_int_equal(f.g.in[4096], OK);
	put_header(f.g.out, T_IN, 1);
	assert_int_equal(run(&f, CUT_USUAL), 0);
	assert_int_equal(f.g.in[4096], IOERR);
	put_header(f.g.out, T_IN, 8);
	f.g.in_len = 513;
	assert_int_equal(run(&f, CUT_USUAL), 0);
	assert_int_equal(f.g.in[512], IOERR);
	stop(&f);
}

static void too_many_segments(void **state)
{
	struct drv_seg s[25];
	struct drv_used u;
	struct fixture f;

	(void)state;
	start(&f, &layouts[0], false, 512); // seg_max 20
	put_header(f.g.out, T_IN, 0);
	s[0] = (struct drv_seg){ drv_mem_gpa(&f.e.mem, f.g.out), 16 };
	for (unsigned n = 20; n <= 21; n++) {
		for (unsigned i = 0; i < n; i++)
			s[1 + i] = (struct drv_seg){ drv_mem_gpa(&f.e.mem, f.g.in), 512 };
		s[1 + n] = (struct drv_seg){ drv_mem_gpa(&f.e.mem, f.g.in + 512), 1 };
		assert_true(drv_ring_add(&f.e.ring, s, 1, n + 1, NULL) >= 0);
		vho_blk_poll(f.e.blk, 0, f.e.chan, 32);
		assert_int_equal(drv_ring_poll(&f.e.ring, &u), 1);
		assert_int_equal(f.g.in[512], n == 20 ? OK : IOERR);
		assert_int_equal(u.len, n == 20 ? 20 * 512 + 1 : 0);
	}
	assert_int_equal(
		dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->errors[VHO_BLK_ERR_LIMIT]), 1);
	stop(&f);
}

int main(void)
{
	static const struct env_test shadow[] = { { "VB-20 shadow copy", agrees_with_a_shadow } };
	struct CMUnitTest t[ARRAY_LEN(rows) + N_LAYOUTS + 2];
	static char names[N_LAYOUTS][96];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		t[n++] = (struct CMUnitTest){ .name = rows[i].name,
			.test_func = hostile_row,
			.initial_state = (void *)(uintptr_t)&rows[i] };
	n += env_tests(shadow, ARRAY_LEN(shadow), t + n, names);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(large_blocks_refuse_sectors);
	t[n++] = (struct CMUnitTest)cmocka_unit_test(too_many_segments);
	return _cmocka_run_group_tests("virtio-blk requests", t, n, NULL, NULL);
}
