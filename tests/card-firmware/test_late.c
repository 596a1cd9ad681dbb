// SPDX-License-Identifier: Apache-2.0
/* Disks whose volume answers late, or not in time for a queue to stop: with a real front-end. */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "card_env.h"
#include "device.h"
#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"
#include "drv_blk.h"
#include "vol_priv.h"

#define QUEUES 4
#define PER_QUEUE 32 // 128 in all: JR-15
#define BOUND_NS 20000000000ull // JR-15: whatever the volume does, on a busy machine
#define ALL (QUEUES * PER_QUEUE)
#define STEP_NS 250000000ull
#define SMALL_STEP_NS 5000000ull

static struct card card;
static struct card_error err;
static char root[64], socket_path[96];

/* ---- time: on the control thread each look at the clock is a step later ---- */

static _Thread_local bool hasty;
static uint64_t step_ns = STEP_NS;
static _Atomic uint64_t skew_ns;

static uint64_t clock_now(void)
{
	struct timespec ts;

	if (hasty)
		atomic_fetch_add(&skew_ns, step_ns);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec + atomic_load(&skew_ns);
}

/* ---- a volume that answers when it is told to ---- */

struct late_chan {
	struct vol_chan c; // first
	struct vol_io *held[64];
	unsigned n;
};

static _Atomic bool answering;
static _Atomic unsigned submitted;

static void late_close(struct vol *v)
{
	vol_fini(v);
	free(v);
}

static int late_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	struct late_chan *lc = dpu_calloc(1, sizeof(*lc));

	(void)v;
	(void)group;
	*out = lc ? &lc->c : NULL;
	return lc ? 0 : -ENOMEM;
}

static void late_chan_close(struct vol_chan *c)
{
	free(c);
}

static unsigned late_poll(struct vol_chan *c)
{
	struct late_chan *lc = (struct late_chan *)c;
	unsigned n = lc->n;

	if (!atomic_load(&answering))
		return 0;
	lc->n = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vol_io *io = lc->held[i];

		for (unsigned k = 0; io->op == VOL_READ && k < io->n_iov; k++)
			memset(io->iov[k].iov_base, 0x5a, io->iov[k].iov_len);
		vol_io_end(c, io, 0);
	}
	return n;
}

static void late_submit(struct vol_chan *c, struct vol_io *io)
{
	struct late_chan *lc = (struct late_chan *)c;

	lc->held[lc->n++] = io;
	atomic_fetch_add(&submitted, 1);
}

static const struct vol_ops late_ops = {
	.kind = "late",
	.close = late_close,
	.chan_open = late_chan_open,
	.chan_close = late_chan_close,
	.submit = late_submit,
	.kick = late_poll,
	.poll = late_poll,
};

/* ---- the card ---- */

static int setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/outboard-late-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/disk", root);
	dpu_log_level_set(DPU_LOG_ERR);
	dpu_clock_set(clock_now);
	card.opt = (struct card_options){
		.name = "late", .mem_mib = 64, .mbufs = 2047, .socket_dir = root
	};
	hasty = true;
	return card_env_open(&card);
}

static int teardown(void **state)
{
	char cmd[96];

	(void)state;
	card_env_close(&card);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd) == 0 ? 0 : -1;
}

static const struct card_blk_conf disk_conf = { "disk", "late", false, true, QUEUES, 0, false };

/* A silent volume and a disk on it. */
static void create_pair(const char *vol, const char *disk)
{
	const struct card_volume_conf vc = { vol, CARD_VOL_RAM, 512, 2048, NULL, false, false };
	struct card_blk_conf bc = disk_conf;
	struct vol *late = calloc(1, sizeof(*late));
	struct card_volume *v;

	assert_non_null(late);
	assert_int_equal(card_volume_create(&card, &vc, &err), 0);
	v = card_volume_find(&card, vol);
	vol_close(v->vol);
	assert_int_equal(vol_init(late, &late_ops, vol, 2048 * 512, 512), 0);
	v->vol = late;
	bc.name = disk;
	bc.volume = vol;
	assert_int_equal(card_blk_create(&card, &bc, &err), 0);
}

static void create(void)
{
	atomic_store(&answering, false);
	atomic_store(&submitted, 0);
	create_pair("late", "disk");
}

/* ---- the front-end, on a thread of its own: 0, or the line that failed ---- */

struct guest {
	bool packed;
	char path[96]; // of the socket; empty: the disk's
	int (*run)(struct guest *g);
	struct drv_blk b;
	struct drv_blk_io io[ALL];
	_Atomic bool started, may_return; // for the test, for the guest
	_Atomic bool done;
	int line;
};

#define EXPECT(x)                        \
	do {                             \
		if (!(x))                \
			return __LINE__; \
	} while (0)

static bool wait_submitted(unsigned n)
{
	for (unsigned i = 0; i < 10000 && atomic_load(&submitted) < n; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return atomic_load(&submitted) == n;
}

static int guest_open(struct guest *g)
{
	const struct drv_blk_conf c = { .path = g->path[0] ? g->path : socket_path,
		.packed = g->packed,
		.inflight = true,
		.n_queues = QUEUES };

	EXPECT(drv_blk_open(&g->b, &c) == 0);
	for (unsigned i = 0; i < ALL; i++) {
		EXPECT(drv_blk_io_init(&g->b, &g->io[i], 512, 0) == 0);
		EXPECT(drv_blk_submit(&g->b, i % QUEUES, &g->io[i], VIRTIO_BLK_T_IN, i, 512) == 0);
	}
	for (unsigned q = 0; q < QUEUES; q++)
		drv_ring_kick(&g->b.rings[q]);
	return 0;
}

static int guest_start(struct guest *g)
{
	int line = guest_open(g);

	if (!line)
		EXPECT(wait_submitted(ALL));
	return line;
}

/*
 * Stop all queues while the volume is silent: the card gives up once, not once per queue. Started
 * again, they wait for the old answers, then every request is sent again and answered once.
 */
static int restart_under_late_answers(struct guest *g)
{
	int line = guest_start(g);
	uint64_t before;

	if (line)
		return line;
	before = atomic_load(&skew_ns);
	for (unsigned q = 0; q < QUEUES; q++)
		EXPECT(drv_vu_ring_stop(&g->b.vu, q) >= 0);
	EXPECT(atomic_load(&skew_ns) - before >= CARD_DRAIN_MS * 1000000ull - STEP_NS);
	EXPECT(atomic_load(&skew_ns) - before < 2 * CARD_DRAIN_MS * 1000000ull);
	for (unsigned q = 0; q < QUEUES; q++)
		EXPECT(drv_vu_ring_start(&g->b.vu, q, &g->b.rings[q]) == 0);
	for (unsigned i = 0; i < 200; i++) {
		struct drv_msg m;

		EXPECT(drv_vu_call(&g->b.vu, DRV_GET_FEATURES, &m, 0, NULL, 0) == 0);
	}
	EXPECT(atomic_load(&submitted) == ALL); // nothing is sent twice while the first is out
	atomic_store(&answering, true);
	for (unsigned i = 0; i < ALL; i++) {
		EXPECT(drv_blk_wait(&g->b, i % QUEUES, &g->io[i], 10000) == VIRTIO_BLK_S_OK);
		EXPECT(g->io[i].data[0] == 0x5a);
	}
	EXPECT(atomic_load(&submitted) == 2 * ALL);
	for (unsigned q = 0; q < QUEUES; q++)
		EXPECT(!drv_blk_poll(&g->b, q) && g->b.rings[q].bad_used == 0);
	return 0;
}

/* The requests of a disk that is gone are out: those of its successor wait for them. */
static int follow_late_answers(struct guest *g)
{
	int line = guest_open(g);

	if (line)
		return line;
	for (unsigned i = 0; i < 200; i++) {
		struct drv_msg m;

		EXPECT(drv_vu_call(&g->b.vu, DRV_GET_FEATURES, &m, 0, NULL, 0) == 0);
	}
	EXPECT(atomic_load(&submitted) == ALL);
	atomic_store(&answering, true);
	for (unsigned i = 0; i < ALL; i++)
		EXPECT(drv_blk_wait(&g->b, i % QUEUES, &g->io[i], 10000) == VIRTIO_BLK_S_OK);
	EXPECT(atomic_load(&submitted) == 2 * ALL);
	return 0;
}

/*
 * The disk is deleted under the requests: the connection ends and none of them has been answered.
 * On a disk that takes its place they are in flight still, and are answered once, each.
 */
static int outlive_the_disk(struct guest *g)
{
	struct drv_msg m;
	int line = guest_start(g);

	if (line)
		return line;
	atomic_store(&g->started, true);
	EXPECT(drv_vu_recv(&g->b.vu, &m, 60000) == -EPIPE);
	for (unsigned q = 0; q < QUEUES; q++)
		EXPECT(!drv_blk_poll(&g->b, q));
	while (!atomic_load(&g->may_return))
		sched_yield();
	drv_vu_drop(&g->b.vu);
	EXPECT(drv_vu_reconnect(&g->b.vu, 60000) == 0);
	atomic_store(&answering, true);
	for (unsigned i = 0; i < ALL; i++)
		EXPECT(drv_blk_wait(&g->b, i % QUEUES, &g->io[i], 60000) == VIRTIO_BLK_S_OK);
	EXPECT(atomic_load(&submitted) == 2 * ALL);
	for (unsigned q = 0; q < QUEUES; q++)
		EXPECT(!drv_blk_poll(&g->b, q) && g->b.rings[q].bad_used == 0);
	return 0;
}

/* The front-end goes, and its requests are still out. */
static int leave(struct guest *g)
{
	return guest_start(g);
}

static void *guest_thread(void *arg)
{
	struct guest *g = arg;

	g->line = g->run(g);
	if (g->b.vu.path[0])
		drv_blk_close(&g->b);
	atomic_store(&g->done, true);
	return NULL;
}

static bool connected(void)
{
	struct vho_dev_info info;

	vho_dev_info(card_function_find(&card, "disk")->dev, &info);
	return info.connected;
}

/* Turn the loop until the guest says so, or ended. */
static void turn_until(const _Atomic bool *said, const struct guest *g)
{
	while (!atomic_load(said) && !atomic_load(&g->done))
		if (event_base_loop(card.loop, EVLOOP_NONBLOCK) < 0 || sched_yield())
			break;
}

static void run_guest(struct guest *g)
{
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, guest_thread, g), 0);
	while (!atomic_load(&g->done) || connected())
		if (event_base_loop(card.loop, EVLOOP_NONBLOCK) < 0 || sched_yield())
			break;
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(g->line, 0);
}

static void restarts(bool packed)
{
	static struct guest g;

	memset(&g, 0, sizeof(g));
	g.packed = packed;
	g.run = restart_under_late_answers;
	create();
	run_guest(&g);
	assert_int_equal(card_volume_find(&card, "late")->orphans, 0);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_int_equal(card_volume_delete(&card, "late", &err), 0);
}

static void split_ring_restarts(void **state)
{
	(void)state;
	restarts(false);
}

static void packed_ring_restarts(void **state)
{
	(void)state;
	restarts(true);
}

/*
 * A volume with requests out is not deleted under them, and is free once they have been answered.
 */
static void volume_waits_for_its_answers(void **state)
{
	static struct guest g;

	(void)state;
	memset(&g, 0, sizeof(g));
	g.run = leave;
	create();
	run_guest(&g);
	assert_int_equal(card_volume_find(&card, "late")->orphans, QUEUES);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_int_equal(card_volume_delete(&card, "late", &err), -EBUSY);
	assert_int_equal(card_orphans_reap(&card, 0), QUEUES);
	atomic_store(&answering, true);
	assert_int_equal(card_orphans_reap(&card, 60000), 0);
	assert_int_equal(card_volume_delete(&card, "late", &err), 0);
}

/*
 * A disk deleted and made again over a silent volume: whatever its memory's address, nothing of the
 * new one reaches the volume before the old writes have.
 */
static void new_disk_waits_for_old_answers(void **state)
{
	struct card_blk_conf spacer = disk_conf;
	static struct guest g;
	const struct vho_blk *old;

	(void)state;
	memset(&g, 0, sizeof(g));
	g.run = leave;
	create();
	run_guest(&g);
	assert_int_equal(card_volume_find(&card, "late")->orphans, QUEUES);
	old = card_function_find(&card, "disk")->blk;
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	spacer.name = "spacer"; // takes the old disk's memory
	assert_int_equal(card_blk_create(&card, &spacer, &err), 0);
	assert_int_equal(card_blk_create(&card, &disk_conf, &err), 0);
	assert_ptr_not_equal(card_function_find(&card, "disk")->blk, old);

	memset(&g, 0, sizeof(g));
	g.run = follow_late_answers;
	run_guest(&g);
	assert_int_equal(card_volume_find(&card, "late")->orphans, 0);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_int_equal(card_function_delete(&card, "spacer", &err), 0);
	assert_int_equal(card_volume_delete(&card, "late", &err), 0);
}

static void jr15_delete_with_requests_out(bool packed)
{
	static struct guest g;
	uint64_t before;
	pthread_t t;

	memset(&g, 0, sizeof(g));
	g.run = outlive_the_disk;
	g.packed = packed;
	create();
	assert_int_equal(pthread_create(&t, NULL, guest_thread, &g), 0);
	turn_until(&g.started, &g);
	step_ns = SMALL_STEP_NS;
	before = clock_now();
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_true(clock_now() - before <= BOUND_NS);
	step_ns = STEP_NS;
	assert_int_equal(card_blk_create(&card, &disk_conf, &err), 0);
	atomic_store(&g.may_return, true);
	turn_until(&g.done, &g);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(g.line, 0);
	assert_int_equal(card_function_delete(&card, "disk", &err), 0);
	assert_int_equal(card_orphans_reap(&card, 60000), 0);
	assert_int_equal(card_volume_delete(&card, "late", &err), 0);
}

static void jr15_delete_split(void **state)
{
	(void)state;
	jr15_delete_with_requests_out(false);
}

static void jr15_delete_packed(void **state)
{
	(void)state;
	jr15_delete_with_requests_out(true);
}

#define SILENT 4 // volumes

/* Of several guests: only the last looks whether all requests are there. */
static int outlive_the_card(struct guest *g)
{
	struct drv_msg m;
	int line = guest_open(g);

	if (line)
		return line;
	EXPECT(wait_submitted(SILENT * ALL));
	atomic_store(&g->started, true);
	EXPECT(drv_vu_recv(&g->b.vu, &m, 60000) == -EPIPE);
	for (unsigned q = 0; q < QUEUES; q++)
		EXPECT(!drv_blk_poll(&g->b, q));
	return 0;
}

/*
 * What the end of the daemon does, however many volumes are silent; here with a second attempt once
 * they have answered.
 */
static void jr15_quit_with_requests_out(void **state)
{
	static struct guest g[SILENT];
	pthread_t t[SILENT];
	uint64_t before;
	char vol[16], disk[16];

	(void)state;
	memset(g, 0, sizeof(g));
	atomic_store(&answering, false);
	atomic_store(&submitted, 0);
	for (unsigned i = 0; i < SILENT; i++) {
		snprintf(vol, sizeof(vol), "late%u", i);
		snprintf(disk, sizeof(disk), "disk%u", i);
		create_pair(vol, disk);
		g[i].run = outlive_the_card;
		snprintf(g[i].path, sizeof(g[i].path), "%s/%s", root, disk);
		assert_int_equal(pthread_create(&t[i], NULL, guest_thread, &g[i]), 0);
	}
	for (unsigned i = 0; i < SILENT; i++)
		turn_until(&g[i].started, &g[i]);
	step_ns = SMALL_STEP_NS;
	before = clock_now();
	card.stopping = true;
	card_inventory_fini(&card);
	assert_true(clock_now() - before <= BOUND_NS);
	step_ns = STEP_NS;
	assert_non_null(card.inv); // the kernel may still write to what it holds
	for (unsigned i = 0; i < SILENT; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_int_equal(g[i].line, 0);
	}
	card.stopping = false;
	atomic_store(&answering, true);
	card_inventory_fini(&card);
	assert_null(card.inv);
	assert_int_equal(card_inventory_init(&card), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_ring_restarts),
		cmocka_unit_test(packed_ring_restarts),
		cmocka_unit_test(volume_waits_for_its_answers),
		cmocka_unit_test(new_disk_waits_for_old_answers),
		{ "JR-15 delete, split", jr15_delete_split, NULL, NULL, NULL },
		{ "JR-15 delete, packed", jr15_delete_packed, NULL, NULL, NULL },
		{ "JR-15 quit", jr15_quit_with_requests_out, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests_name("late answers", tests, setup, teardown);
}
