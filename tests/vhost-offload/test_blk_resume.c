// SPDX-License-Identifier: Apache-2.0
/* What a disk knows of its driver's wishes when another process, or another session, goes on. */
#include "test.h"

#include <stdio.h>

#include "blk_rows.h"
#include "blk_req.h"

#define BIT(n) (1ULL << (n))
#define WCE BIT(VIRTIO_BLK_F_CONFIG_WCE)
#define FLUSH BIT(VIRTIO_BLK_F_FLUSH)

enum mode { THROUGH, BACK };

struct fixture {
	struct env e;
	const struct layout *l;
	struct held_store s;
	uint8_t *buf; // guest memory of one request
};

static void process(struct fixture *f)
{
	struct vho_blk_conf conf = { .name = "blk0", .n_queues = 2, .seg_max = 8 };

	assert_int_equal(env_device(&f->e, f->l, &conf), 0);
}

static void start(struct fixture *f, const struct layout *l, bool region)
{
	struct vho_blk_conf conf = { .name = "blk0", .n_queues = 2, .seg_max = 8 };

	f->l = l;
	f->e.ops = &held_ops;
	f->e.store = &f->s;
	f->s.limits = (struct vho_blk_limits){ .size = 65536, .block_size = 512, .flush = true };
	if (region)
		assert_int_equal(vho_inflight_create(1, 64, l->packed, &f->e.region), 0);
	assert_int_equal(env_open(&f->e, l, &conf), 0);
	f->buf = drv_mem_alloc(&f->e.mem, 0, 1024, 64);
	assert_non_null(f->buf);
}

static void stop(struct fixture *f)
{
	env_close(&f->e);
	vho_inflight_destroy(f->e.region);
}

/* The process is gone and another one serves the front-end, which knows where the ring stands. */
static void restart(struct fixture *f)
{
	vho_dev_detach(f->e.dev);
	vho_blk_destroy(f->e.blk);
	vho_mem_put(f->e.map);
	f->e.base = drv_ring_crash_base(&f->e.ring);
	process(f);
}

/* The guest boots anew: fresh rings. */
static void new_ring(struct fixture *f)
{
	struct drv_ring_conf rc = { .packed = f->l->packed, .size = 64 };

	drv_ring_fini(&f->e.ring);
	assert_int_equal(drv_ring_init(&f->e.ring, &f->e.mem, &rc), 0);
	f->e.base = 0;
}

static int tell(struct fixture *f, enum mode m)
{
	uint8_t v = m == BACK;

	return f->e.dev->type->config_write(f->e.dev, 32, &v, 1);
}

static uint8_t field(struct fixture *f)
{
	uint8_t v;

	f->e.dev->type->config_read(f->e.dev, 32, &v, 1);
	return v;
}

/* One write: does it have to be stable when it is answered? */
static enum mode mode_of_a_write(struct fixture *f)
{
	struct guest_req g = { .out = f->buf, .out_len = 528, .in = f->buf + 600, .in_len = 1 };
	struct drv_used u;
	bool fua;

	put_header(f->buf, VIRTIO_BLK_T_OUT, 0);
	assert_true(submit(&f->e, &g, CUT_USUAL, f) >= 0);
	f->s.n = 0;
	vho_blk_poll(f->e.blk, 0, NULL, 8);
	assert_int_equal(f->s.n, 1);
	fua = f->s.io[0]->fua;
	vho_blk_io_done(f->s.io[0], 0);
	vho_blk_poll(f->e.blk, 0, NULL, 0);
	assert_int_equal(drv_ring_poll(&f->e.ring, &u), 1);
	assert_int_equal(f->e.ring.bad_used, 0);
	return fua ? THROUGH : BACK;
}

/* QEMU reconnects: it sends nothing about the mode and asks nothing. */
static void the_note_outlives_the_process(void **state)
{
	for (int blind = 0; blind < 2; blind++)
		for (int m = THROUGH; m <= BACK; m++) {
			struct fixture f = { 0 };

			start(&f, *state, true);
			assert_int_equal(mode_of_a_write(&f), BACK);
			assert_int_equal(tell(&f, (enum mode)m), 0);
			assert_int_equal(mode_of_a_write(&f), m);
			f.e.blind = blind;
			for (int i = 0; i < 2; i++) {
				restart(&f);
				assert_int_equal(mode_of_a_write(&f), m);
				assert_int_equal(field(&f), m);
			}
			stop(&f);
		}
}

/* A driver that never said anything has what it saw. */
static void the_default_is_noted_too(void **state)
{
	struct fixture f = { .e.blind = false };

	start(&f, *state, true);
	assert_int_equal(mode_of_a_write(&f), BACK);
	f.e.blind = true;
	restart(&f);
	assert_int_equal(mode_of_a_write(&f), BACK);
	stop(&f);
}

static void without_a_note_writes_are_stable(void **state)
{
	struct fixture f = { 0 };

	start(&f, *state, false);
	assert_int_equal(mode_of_a_write(&f), BACK);
	restart(&f);
	assert_int_equal(mode_of_a_write(&f), THROUGH);
	assert_int_equal(field(&f), 0);
	assert_int_equal(tell(&f, BACK), 0);
	assert_int_equal(mode_of_a_write(&f), BACK);
	stop(&f);
}

/* The guest was in its firmware when we died: rings begin anew, QEMU still has the old field. */
static void who_did_not_look_may_be_wrong(void **state)
{
	struct fixture f = { .e.blind = true };

	start(&f, *state, true);
	assert_int_equal(mode_of_a_write(&f), THROUGH);
	assert_int_equal(tell(&f, BACK), 0);
	assert_int_equal(mode_of_a_write(&f), BACK);
	stop(&f);
}

/* What QEMU shows to the guest does not change with a reset; nor with a session of new rings. */
static void the_field_stays_for_the_session(void **state)
{
	struct fixture f = { 0 };
	uint64_t features;

	start(&f, *state, true);
	features = f.e.dev->features;
	assert_int_equal(tell(&f, THROUGH), 0);
	for (int i = 0; i < 2; i++) {
		vho_dev_reset(f.e.dev);
		new_ring(&f);
		// A firmware that knows FLUSH only, then the guest again
		assert_int_equal(
			vho_dev_set_features(f.e.dev, i == 0 ? features & ~WCE : features), 0);
		assert_int_equal(env_ring_up(&f.e), 0);
		assert_int_equal(mode_of_a_write(&f), i == 0 ? BACK : THROUGH);
		assert_int_equal(field(&f), 0);
	}
	vho_dev_reset(f.e.dev);
	f.e.features = features & ~WCE;
	f.e.blind = true;
	new_ring(&f);
	restart(&f);
	assert_int_equal(mode_of_a_write(&f), BACK);
	vho_dev_reset(f.e.dev);
	new_ring(&f);
	assert_int_equal(vho_dev_set_features(f.e.dev, features), 0);
	assert_int_equal(env_ring_up(&f.e), 0);
	assert_int_equal(mode_of_a_write(&f), THROUGH);
	stop(&f);
}

/* 5.2.5.2: a driver that may switch but cannot flush finds the cache off. */
static void no_flush_no_cache(void **state)
{
	struct fixture f = { .e.features = WCE };

	start(&f, *state, false);
	assert_int_equal(field(&f), 0);
	assert_int_equal(mode_of_a_write(&f), THROUGH);
	assert_int_equal(tell(&f, BACK), 0);
	assert_int_equal(mode_of_a_write(&f), THROUGH);
	stop(&f);
}

/* The ring is reset while the region says that requests were answered, and that some are out. */
static void a_reset_empties_the_region(void **state)
{
	struct fixture f = { 0 };
	struct guest_req g = { 0 };
	uint64_t features;

	start(&f, *state, true);
	features = f.e.dev->features;
	for (int i = 0; i < 3; i++)
		mode_of_a_write(&f);
	put_header(f.buf, VIRTIO_BLK_T_OUT, 0);
	g = (struct guest_req){ f.buf, f.buf + 600, 528, 1 };
	assert_true(submit(&f.e, &g, CUT_USUAL, &f) >= 0);
	f.s.n = 0;
	vho_blk_poll(f.e.blk, 0, NULL, 8);
	assert_int_equal(f.s.n, 1);
	vho_dev_reset(f.e.dev); // abandons it: still marked
	vho_blk_io_done(f.s.io[0], 0);
	new_ring(&f);
	assert_int_equal(vho_dev_set_features(f.e.dev, features), 0);
	assert_int_equal(env_ring_up(&f.e), 0);
	assert_int_equal(dpu_counter_read(&f.e.dev->queues[0].q.stats.resubmitted), 0);
	mode_of_a_write(&f); // it alone is there
	stop(&f);
}

int main(void)
{
	static const struct env_test rows[] = {
		{ "VB-12 killed after a choice", the_note_outlives_the_process, ENV_PLAIN },
		{ "VB-12 killed, no choice", the_default_is_noted_too, ENV_PLAIN },
		{ "VB-12 killed, no region", without_a_note_writes_are_stable, ENV_PLAIN },
		{ "VB-12 new rings, old field", who_did_not_look_may_be_wrong, ENV_PLAIN },
		{ "VB-12 reset after a choice", the_field_stays_for_the_session, ENV_PLAIN },
		{ "VB-12 CONFIG_WCE without FLUSH", no_flush_no_cache, ENV_PLAIN },
		{ "reset with an inflight region", a_reset_empties_the_region, ENV_PLAIN },
	};
	struct CMUnitTest t[ARRAY_LEN(rows) * N_LAYOUTS];
	static char names[ARRAY_LEN(rows) * N_LAYOUTS][96];
	size_t n = env_tests(rows, ARRAY_LEN(rows), t, names);

	return _cmocka_run_group_tests("virtio-blk resumed", t, n, NULL, NULL);
}
