// SPDX-License-Identifier: Apache-2.0
/* What a virtio disk offers, says of itself and keeps to: VIRTIO 1.3, sections 5.2.3 to 5.2.6. */
#include "test.h"

#include <stdio.h>

#include "blk_rows.h"
#include "blk_req.h"

#define SECTORS 4096ULL
#define MIB (1U << 20)
#define F(n) (1ULL << (n))
#define F_SECURE_ERASE 16
#define F_ZONED 17
#define F_LIFETIME 15
#define T_GET_LIFETIME 10
#define T_SECURE_ERASE 14
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP

struct range {
	uint64_t sector;
	uint32_t n, flags;
};

struct fixture {
	struct env e;
	struct held_store s;
	struct guest_req g;
};

static const struct vho_blk_limits all = { .size = SECTORS * 512,
	.block_size = 512,
	.max_discard_sectors = 1024,
	.max_zeroes_sectors = 1024,
	.max_erase_sectors = 256,
	.erase_align_sectors = 8,
	.flush = true };

static void start(struct fixture *f, const struct layout *l, const struct vho_blk_limits *limits,
	struct vho_blk_conf conf)
{
	conf.name = "b";
	conf.n_queues = 1;
	conf.seg_max = conf.seg_max ? conf.seg_max : 8;
	f->s.limits = *limits;
	f->e.ops = f->e.ops ? f->e.ops : &held_ops;
	f->e.store = &f->s;
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	f->g.out = drv_mem_alloc(&f->e.mem, 0, MIB, 4096);
	f->g.in = drv_mem_alloc(&f->e.mem, 0, MIB, 4096);
	assert_non_null(f->g.in);
}

static bool offers(const struct fixture *f, unsigned feature)
{
	return f->e.dev->features_offered & F(feature);
}

static struct blk_config config(const struct fixture *f)
{
	struct blk_config c;

	f->e.dev->type->config_read(f->e.dev, 0, &c, sizeof(c));
	return c;
}

/* Answer what the store holds; the driver must find one used element. Returns used.len. */
static uint32_t answered(struct fixture *f)
{
	struct drv_used u = { 0 };

	for (unsigned i = 0; i < f->s.n; i++)
		vho_blk_io_done(f->s.io[i], 0);
	f->s.n = 0;
	vho_blk_poll(f->e.blk, 0, NULL, 0);
	assert_int_equal(drv_ring_poll(&f->e.ring, &u), 1);
	return u.len;
}

/* Run the request in g, `data` readable and `room` writable bytes of it. Returns its status. */
static uint8_t run(struct fixture *f, uint32_t type, uint32_t data, uint32_t room, enum cut cut)
{
	put_header(f->g.out, type, 0);
	memset(f->g.in, 0xee, room + 1);
	f->g.out_len = 16 + data;
	f->g.in_len = room + 1;
	assert_true(submit(&f->e, &f->g, cut, NULL) >= 0);
	vho_blk_poll(f->e.blk, 0, NULL, 32);
	(void)answered(f);
	return f->g.in[room];
}

/* ---- 5.2.3, 5.2.5.2: what is offered ---- */

static void offers_what_it_has(void **state)
{
	static const struct vho_blk_limits none = { .size = SECTORS * 512, .block_size = 4096 };
	const uint64_t always = F(VIRTIO_BLK_F_SEG_MAX) | F(VIRTIO_BLK_F_GEOMETRY) |
				F(VIRTIO_BLK_F_BLK_SIZE) | F(VIRTIO_BLK_F_TOPOLOGY) |
				F(VIRTIO_BLK_F_MQ);
	const uint64_t changes = F(VIRTIO_BLK_F_CONFIG_WCE) | F(VIRTIO_BLK_F_DISCARD) |
				 F(VIRTIO_BLK_F_WRITE_ZEROES);
	const uint64_t own = 0xffffff; // bits 0 to 23 are the device's
	const struct {
		const struct vho_blk_limits *limits;
		struct vho_blk_conf conf;
		uint64_t offered;
	} rows[] = {
		{ &none, { 0 }, always },
		{ &none, { .size_max = 4096, .secure_erase = true },
			always | F(VIRTIO_BLK_F_SIZE_MAX) },
		{ &all, { 0 }, always | F(VIRTIO_BLK_F_FLUSH) | changes },
		{ &all, { .size_max = 4096, .secure_erase = true },
			always | F(VIRTIO_BLK_F_FLUSH) | changes | F(VIRTIO_BLK_F_SIZE_MAX) |
				F(F_SECURE_ERASE) },
		{ &all, { .read_only = true, .secure_erase = true },
			always | F(VIRTIO_BLK_F_FLUSH) | F(VIRTIO_BLK_F_RO) },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture f = { 0 };

		start(&f, &layouts[0], rows[i].limits, rows[i].conf);
		assert_int_equal(f.e.dev->features_offered & own, rows[i].offered);
		env_close(&f.e);
	}
}

/* 5.2.6.2: LIFETIME must not be offered where the metrics mean nothing; zones are not had. */
static void never_offers_wear_or_zones(void **state)
{
	struct fixture f = { 0 };
	static const uint32_t zone_types[] = { 15, 16, 18, 20, 22, 24, 26 };

	start(&f, *state, &all, (struct vho_blk_conf){ .size_max = 4096, .secure_erase = true });
	assert_false(offers(&f, F_LIFETIME));
	assert_false(offers(&f, F_ZONED));
	assert_int_equal(run(&f, T_GET_LIFETIME, 0, 6, CUT_USUAL), UNSUPP);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(f.g.in[i], 0xee);
	for (size_t i = 0; i < ARRAY_LEN(zone_types); i++)
		assert_int_equal(run(&f, zone_types[i], 0, 512, CUT_USUAL), UNSUPP);
	assert_int_equal(f.s.kicks, 0);
	env_close(&f.e);
}

/* What the held store says of its cells. */
static struct vho_blk_lifetime worn;
static bool wear_known;

static bool held_lifetime(void *store, struct vho_blk_lifetime *out)
{
	(void)store;
	*out = worn;
	return wear_known;
}

static const struct vho_blk_store_ops worn_ops = {
	.limits = held_limits, .submit = held_submit, .kick = held_kick, .lifetime = held_lifetime
};

/* 5.2.6: struct virtio_blk_lifetime as it stands when it is asked for. */
static void wear_is_told(void **state)
{
	static const struct {
		uint32_t data, room;
	} bad[] = { { 0, 0 }, { 0, 5 }, { 0, 7 }, { 0, 512 }, { 1, 6 } };
	static const uint8_t said[][6] = { { 1, 0, 2, 0, 11, 0 }, { 3, 0, 10, 0, 11, 0 }, { 0 } };

	for (unsigned read_only = 0; read_only < 2; read_only++) {
		struct fixture f = { .e.ops = &worn_ops };

		wear_known = true;
		start(&f, *state, &all, (struct vho_blk_conf){ .read_only = read_only });
		assert_true(offers(&f, F_LIFETIME));
		for (unsigned i = 0; i < ARRAY_LEN(said); i++) {
			worn = (struct vho_blk_lifetime){ said[i][0], said[i][2], said[i][4] };
			wear_known = i != 2; // not any more
			assert_int_equal(run(&f, T_GET_LIFETIME, 0, 6, (enum cut)(i % 2)), OK);
			assert_memory_equal(f.g.in, said[i], 6);
		}
		for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
			assert_int_equal(
				run(&f, T_GET_LIFETIME, bad[i].data, bad[i].room, CUT_USUAL),
				IOERR);
			for (unsigned j = 0; j < bad[i].room; j++)
				assert_int_equal(f.g.in[j], 0xee);
		}
		assert_int_equal(dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->get_lifetimes), 3);
		env_close(&f.e);
		// A driver that did not take the feature asks for nothing that is there
		f = (struct fixture){
			.e = { .ops = &worn_ops,
				.features = F(VIRTIO_F_VERSION_1) |
					    ((const struct layout *)*state)->features }
		};
		wear_known = true;
		start(&f, *state, &all, (struct vho_blk_conf){ .read_only = read_only });
		assert_int_equal(run(&f, T_GET_LIFETIME, 0, 6, CUT_USUAL), UNSUPP);
		env_close(&f.e);
	}
}

/* Nothing known as the disk is made: not offered, whatever comes later. */
static void wear_not_known(void **state)
{
	struct fixture f = { .e.ops = &worn_ops };

	wear_known = false;
	start(&f, *state, &all, (struct vho_blk_conf){ 0 });
	assert_false(offers(&f, F_LIFETIME));
	wear_known = true;
	assert_int_equal(run(&f, T_GET_LIFETIME, 0, 6, CUT_USUAL), UNSUPP);
	env_close(&f.e);
}

/* ---- 5.2.4: configuration space ---- */

static void config_says_it(void **state)
{
	struct vho_blk_limits l = all;
	struct fixture f = { 0 };
	struct blk_config c;

	(void)state;
	l.block_size = 4096;
	l.opt_io_size = 65536;
	l.erase_align_sectors = 0;
	start(&f, &layouts[0], &l, (struct vho_blk_conf){ .size_max = 8192, .secure_erase = true });
	c = config(&f);
	assert_int_equal(
		dpu_le64_get(c.capacity), SECTORS); // in sectors of 512, whatever the block
	assert_int_equal(dpu_le32_get(c.size_max), 8192);
	assert_int_equal(dpu_le32_get(c.seg_max), 8);
	assert_int_equal(dpu_le32_get(c.blk_size), 4096);
	assert_int_equal(c.physical_block_exp, 0);
	assert_int_equal(c.alignment_offset, 0);
	assert_int_equal(dpu_le16_get(c.min_io_size), 1); // these two in logical blocks
	assert_int_equal(dpu_le32_get(c.opt_io_size), 16);
	assert_int_equal(c.unused0, 0);
	assert_int_equal(c.unused1[0] | c.unused1[1] | c.unused1[2], 0);
	assert_int_equal(dpu_le16_get(c.num_queues), 1);
	assert_int_equal(dpu_le32_get(c.discard_sector_alignment), 8);
	assert_int_equal(c.write_zeroes_may_unmap, 1);
	assert_int_equal(dpu_le32_get(c.max_secure_erase_sectors), 256);
	assert_int_equal(dpu_le32_get(c.max_secure_erase_seg), 1);
	assert_int_equal(dpu_le32_get(c.secure_erase_sector_alignment), 8); // a block
	env_close(&f.e);
	memset(&f, 0, sizeof(f));
	start(&f, &layouts[0], &all, (struct vho_blk_conf){ 0 });
	c = config(&f);
	assert_int_equal(dpu_le32_get(c.size_max), 0);
	assert_int_equal(dpu_le32_get(c.max_secure_erase_sectors), 0);
	assert_int_equal(dpu_le32_get(c.max_secure_erase_seg), 0);
	env_close(&f.e);
}

/* 5.2.6.2: write_zeroes_may_unmap is clear if and only if nothing can be deallocated. */
static void may_unmap_needs_discard(void **state)
{
	struct vho_blk_limits l = all;
	struct fixture f = { 0 };

	(void)state;
	l.max_discard_sectors = 0;
	start(&f, &layouts[0], &l, (struct vho_blk_conf){ 0 });
	assert_true(offers(&f, VIRTIO_BLK_F_WRITE_ZEROES));
	assert_int_equal(config(&f).write_zeroes_may_unmap, 0);
	env_close(&f.e);
}

/* 5.2.5.2: CONFIG_WCE without FLUSH starts with writeback 0; 5.2.5: writeback is read and set. */
static void writeback_without_flush_is_0(void **state)
{
	struct fixture f = { .e.features = F(VIRTIO_BLK_F_CONFIG_WCE) };

	(void)state;
	start(&f, &layouts[0], &all, (struct vho_blk_conf){ 0 });
	assert_int_equal(config(&f).writeback, 0);
	put_header(f.g.out, VIRTIO_BLK_T_OUT, 0);
	f.g.out_len = 16 + 512;
	f.g.in_len = 1;
	assert_true(submit(&f.e, &f.g, CUT_USUAL, NULL) >= 0);
	vho_blk_poll(f.e.blk, 0, NULL, 32);
	assert_true(f.s.io[0]->fua); // 5.2.6.2: stable when answered
	(void)answered(&f);
	env_close(&f.e);
}

static void bad_limits_are_refused(void **state)
{
	static const uint32_t sizes[] = { 1, 512, 4095, 4097, (1U << 30) + 4096 };
	struct held_store s = { .limits = all };
	struct vho_host host = { 0 };
	struct vho_blk *blk;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct vho_blk_conf c = { .name = "b",
			.n_queues = 1,
			.seg_max = 8,
			.size_max = sizes[i],
			.ops = &held_ops,
			.store = &s };

		assert_int_equal(vho_blk_create(&c, &host, &blk), -EINVAL);
	}
}

/* ---- 5.2.3: SIZE_MAX and SEG_MAX ---- */

static unsigned bursts;

static bool at_once(void *store, void *chan, unsigned n, const uint64_t *off,
	const struct iovec *data, uint64_t writes)
{
	(void)store;
	(void)chan;
	(void)off;
	(void)data;
	(void)writes;
	bursts += n;
	return true;
}

/* A driver that accepted it is held to it, one that did not is free; so with bursts, so without. */
static void size_max_holds_when_negotiated(void **state)
{
	const struct layout *l = *state;
	struct vho_blk_store_ops ops = held_ops;
	struct vho_blk_limits quick = { .size = SECTORS * 512, .block_size = 512, .at_once = true };

	ops.at_once = at_once;
	for (unsigned way = 0; way < 4; way++) {
		bool negotiated = way & 1, burst = way & 2;
		struct fixture f = { .e.ops = &ops };

		f.e.features = F(VIRTIO_BLK_F_SEG_MAX);
		if (negotiated)
			f.e.features |= F(VIRTIO_BLK_F_SIZE_MAX);
		start(&f, l, burst ? &quick : &all, (struct vho_blk_conf){ .size_max = 8192 });
		bursts = 0;
		assert_int_equal(run(&f, VIRTIO_BLK_T_IN, 0, 8192, CUT_USUAL), OK);
		assert_int_equal(run(&f, VIRTIO_BLK_T_OUT, 8192, 0, CUT_USUAL), OK);
		assert_int_equal(bursts, burst ? 2 : 0);
		assert_int_equal(
			run(&f, VIRTIO_BLK_T_IN, 0, 8704, CUT_USUAL), negotiated ? IOERR : OK);
		assert_int_equal(
			run(&f, VIRTIO_BLK_T_OUT, 8704, 0, CUT_USUAL), negotiated ? IOERR : OK);
		// In two segments, 100 bytes and 8092: each is short enough.
		assert_int_equal(run(&f, VIRTIO_BLK_T_OUT, 8192, 0, CUT_FINE), OK);
		assert_int_equal(
			dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->errors[VHO_BLK_ERR_LIMIT]),
			negotiated ? 2 : 0);
		env_close(&f.e);
	}
}

/* A request of exactly seg_max segments, every one of which crosses into the next region. */
static void segments_are_the_drivers(void **state)
{
	enum { SEGS = 8, PART = 1024 };
	struct fixture f = { .e.n_regions = 1 + SEGS };
	struct drv_seg s[SEGS + 3];

	start(&f, *state, &all, (struct vho_blk_conf){ .seg_max = SEGS });
	put_header(f.g.out, VIRTIO_BLK_T_IN, 0);
	s[0] = (struct drv_seg){ drv_mem_gpa(&f.e.mem, f.g.out), 16 };
	for (unsigned more = 0; more < 2; more++) {
		unsigned n = SEGS + more;

		for (unsigned i = 0; i < n; i++)
			s[1 + i] = (struct drv_seg){ env_region_end(&f.e, i % SEGS) - PART / 2,
				PART };
		s[1 + n] = (struct drv_seg){ drv_mem_gpa(&f.e.mem, f.g.in), 1 };
		f.g.in[0] = 0xee;
		assert_true(drv_ring_add(&f.e.ring, s, 1, n + 1, NULL) >= 0);
		vho_blk_poll(f.e.blk, 0, NULL, 32);
		assert_int_equal(f.s.n, 1 - more);
		if (!more)
			assert_int_equal(f.s.io[0]->n_iov, 2 * SEGS);
		(void)answered(&f);
		assert_int_equal(f.g.in[0], more ? IOERR : OK);
	}
	env_close(&f.e);
}

/* ---- 5.2.6: secure erase ---- */

static const struct erase_row {
	const char *name;
	uint32_t data; // bytes of ranges
	uint8_t status;
	struct range r[2];
} erase_rows[] = {
	{ "a range", 16, OK, { { 8, 256, 0 } } },
	{ "no sectors", 16, OK, { { 8, 0, 0 } } },
	{ "more than max_secure_erase_sectors", 16, IOERR, { { 8, 257, 0 } } },
	{ "over the end", 16, IOERR, { { SECTORS - 1, 2, 0 } } },
	{ "end wraps", 16, IOERR, { { UINT64_MAX, 2, 0 } } },
	{ "more than max_secure_erase_seg", 32, IOERR, { { 0, 8, 0 }, { 8, 8, 0 } } },
	{ "no range", 0, IOERR, { { 0 } } },
	{ "half a range", 8, IOERR, { { 0, 8, 0 } } },
	{ "unknown flag", 16, UNSUPP, { { 0, 8, 2 } } },
	{ "unmap", 16, UNSUPP, { { 0, 8, 1 } } },
};

static void secure_erase(void **state)
{
	const struct erase_row *r = *state;

	for (size_t l = 0; l < N_LAYOUTS; l++) {
		for (unsigned way = 0; way < 3; way++) {
			bool negotiated = way != 1, read_only = way == 2;
			struct fixture f = { 0 };
			unsigned n;

			f.e.features = negotiated && !read_only ? F(F_SECURE_ERASE) : F(5);
			f.e.features &= read_only ? ~0ULL : ~F(5);
			if (!f.e.features)
				f.e.features = F(VIRTIO_BLK_F_SEG_MAX);
			start(&f, &layouts[l], &all,
				(struct vho_blk_conf){
					.secure_erase = true, .read_only = read_only });
			put_header(f.g.out, T_SECURE_ERASE, 0);
			memcpy(f.g.out + 16, r->r, sizeof(r->r));
			f.g.out_len = 16 + r->data;
			f.g.in_len = 1;
			assert_true(submit(&f.e, &f.g, CUT_USUAL, NULL) >= 0);
			vho_blk_poll(f.e.blk, 0, NULL, 32);
			n = f.s.n;
			if (n > 0) {
				assert_int_equal(f.s.io[0]->op, VHO_BLK_SECURE_ERASE);
				assert_int_equal(f.s.io[0]->off, 8 * 512);
				assert_int_equal(f.s.io[0]->len, 256 * 512);
				assert_true(f.s.io[0]->fua); // in whatever cache mode
				assert_false(f.s.io[0]->unmap);
			}
			assert_int_equal(answered(&f), 1);
			assert_int_equal(f.g.in[0], read_only	  ? IOERR
						    : !negotiated ? UNSUPP
								  : r->status);
			assert_int_equal(n, way == 0 && r->status == OK && r->r[0].n ? 1 : 0);
			assert_int_equal(dpu_counter_read(&vho_blk_stats(f.e.blk, 0)->erases),
				way == 0 && r->status == OK);
			env_close(&f.e);
		}
	}
}

int main(void)
{
	static const struct env_test rows[] = {
		{ "5.2.3 offers what it has", offers_what_it_has, ENV_FIRST },
		{ "5.2.6.2 no wear, no zones", never_offers_wear_or_zones, ENV_EVERY },
		{ "5.2.6 lifetime", wear_is_told, ENV_EVERY },
		{ "5.2.6.2 wear that is not known", wear_not_known, ENV_FIRST },
		{ "5.2.4 configuration space", config_says_it, ENV_FIRST },
		{ "5.2.6.2 may unmap", may_unmap_needs_discard, ENV_FIRST },
		{ "5.2.5.2 writeback without flush", writeback_without_flush_is_0, ENV_FIRST },
		{ "size_max is made of pages", bad_limits_are_refused, ENV_FIRST },
		{ "5.2.3 SIZE_MAX", size_max_holds_when_negotiated, ENV_EVERY },
		{ "5.2.3 SEG_MAX over regions", segments_are_the_drivers, ENV_EVERY },
	};
	struct CMUnitTest t[ARRAY_LEN(rows) * N_LAYOUTS + ARRAY_LEN(erase_rows)];
	static char names[ARRAY_LEN(t)][96];
	size_t n = env_tests(rows, ARRAY_LEN(rows), t, names);

	for (size_t i = 0; i < ARRAY_LEN(erase_rows); i++, n++) {
		snprintf(names[n], sizeof(names[n]), "5.2.6 secure erase: %s", erase_rows[i].name);
		t[n] = (struct CMUnitTest){ .name = names[n],
			.test_func = secure_erase,
			.initial_state = (void *)(uintptr_t)&erase_rows[i] };
	}
	return _cmocka_run_group_tests("virtio-blk features", t, n, NULL, NULL);
}
