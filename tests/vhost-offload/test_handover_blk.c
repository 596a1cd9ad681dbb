// SPDX-License-Identifier: Apache-2.0
/*
 * A real disk with several rings under verified load goes back and forth between two processes that
 * share its store: nothing is lost, repeated or stale, whatever was at the store when the hand-over
 * began.
 */
#include "handover_disk.h"

#include "blk_req.h"
#include "state.h"

static unsigned rounds = 50;

static const struct blk_row rows[] = {
	{ .name = "split, file", .store = STORE_FILE, .log = true },
	{ .name = "split, file, inflight region", .store = STORE_FILE, .inflight = true },
	{ .name = "split, memory, write-through", .store = STORE_RAM, .write_through = true },
	{ .name = "split, memory, in order", .store = STORE_RAM, .in_order = true },
	{ .name = "packed, file, log and inflight region",
		.store = STORE_FILE,
		.packed = true,
		.inflight = true,
		.log = true,
		.mem_slots = true },
	{ .name = "packed, file, write-through",
		.store = STORE_FILE,
		.packed = true,
		.write_through = true },
	{ .name = "packed, memory, in order",
		.store = STORE_RAM,
		.packed = true,
		.in_order = true },
	{ .name = "packed, memory, in order, inflight region",
		.store = STORE_RAM,
		.packed = true,
		.in_order = true,
		.inflight = true },
};

static void back_main(struct ho_shared *sh, int sock, const char *path, bool owner, const void *arg)
{
	static struct back b;

	back_open(&b, arg, sh);
	ho_serve(&b.b, sock, path, owner);
	back_close(&b);
}

/* What came along with the rings still does its work: log, call and err descriptors. */
static void descriptors_work(struct driver *d)
{
	struct drv_seg nowhere[2] = { { 1ull << 50, 16 }, { 1ull << 50, 1 } };
	struct drv_ring *r = &d->b.rings[1];
	struct pollfd err = { .fd = r->err_fd, .events = POLLIN };
	struct drv_blk_io io;

	while (drv_ring_wait(r, 0) == 0)
		; // what was told while nobody slept
	assert_int_equal(drv_blk_io_init(&d->b, &io, 4096, 1), 0);
	if (d->log)
		memset(d->log, 0, d->log_len);
	assert_true(drv_ring_intr(r, true));
	assert_int_equal(drv_blk_submit(&d->b, 1, &io, VIRTIO_BLK_T_IN, 0, 4096), 0);
	drv_ring_kick(r);
	while (!drv_blk_poll(&d->b, 1)) // an old signal is one round more
		assert_int_equal(drv_ring_wait(r, 20000), 0);
	assert_int_equal(*io.status, VIRTIO_BLK_S_OK);
	if (d->log)
		assert_true(log_has(d, io.data));
	assert_int_equal(poll(&err, 1, 0), 0);
	assert_true(drv_ring_add(r, nowhere, 1, 1, NULL) >= 0);
	drv_ring_kick(r);
	assert_int_equal(poll(&err, 1, 20000), 1);
}

static void back_and_forth(void **state)
{
	struct run run = { .row = *state };
	static struct driver d;
	struct ho_pair p;

	ho_place(&p);
	store_place(&run, &p);
	ho_pair_open(&p, back_main, &run, rounds);
	driver_open(&d, run.row, p.path);
	atomic_store(&p.sh->settled, true);
	assert_int_equal(drv_verify_run(d.v, &p.sh->enough, UINT64_MAX / 2), 0);
	assert_true(atomic_load(&p.sh->rounds) >= rounds);
	assert_int_equal(drv_verify_all(d.v), 0);
	nothing_wrong(&d);
	assert_int_equal(atomic_load(&p.sh->mismatches), 0);
	if (run.row->store == STORE_FILE)
		assert_true(atomic_load(&p.sh->at_store) > 0);
	if (drv_blk_has(&d.b, VIRTIO_BLK_F_CONFIG_WCE))
		assert_int_equal(config_wce(&d), !run.row->write_through);
	descriptors_work(&d);
	print_message("%u hand-overs, %u rings with requests at the store\n",
		atomic_load(&p.sh->rounds), atomic_load(&p.sh->at_store));
	ho_pair_close(&p);
	driver_close(&d);
	store_remove(&run);
}

/*
 * A front-end that has read the cache mode before any ring ran goes on showing it to the guest: the
 * next process must not take that session for one that it knows nothing of.
 */
static void what_was_seen_goes_along(void **state)
{
	const struct blk_row row = { .store = STORE_RAM, .write_through = true };
	const struct run run = { .row = &row };
	static struct back from, to;
	uint8_t buf[VHO_STATE_MAX], config[64];
	int len;

	(void)state;
	back_open(&from, &run, NULL);
	back_open(&to, &run, NULL);
	from.b.dev->type->config_read(from.b.dev, 0, config, sizeof(config));
	len = vho_state_save(from.b.dev, VHO_STATE_MIGRATE, buf, sizeof(buf));
	assert_int_equal(vho_state_load(to.b.dev, VHO_STATE_MIGRATE, buf, (size_t)len), 0);
	assert_false(to.blk->wce_seen); // another front-end, which has not
	len = vho_state_save(from.b.dev, VHO_STATE_HAND_OVER, buf, sizeof(buf));
	assert_int_equal(vho_state_load(to.b.dev, VHO_STATE_MIGRATE, buf, (size_t)len), -EPROTO);
	assert_int_equal(vho_state_load(to.b.dev, VHO_STATE_HAND_OVER, buf, (size_t)len), 0);
	assert_true(to.blk->wce_seen && !to.blk->wce_known);
	back_close(&from);
	back_close(&to);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(what_was_seen_goes_along) };
	int failed = 0;

	rounds = ho_rounds(argc, argv, rounds);
	dpu_log_level_set(DPU_LOG_ERR);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(rows, back_and_forth, failed);
	return failed;
}
