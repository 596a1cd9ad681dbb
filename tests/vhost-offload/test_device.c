// SPDX-License-Identifier: Apache-2.0
/* What every function shares: creation, control queue, what fails while a queue starts. */
#include "device.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "fake_rig.h"

#define CONTROL 2

static struct fake_rig rig;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	fds_before = fake_open_fds();
	rig_open(&rig, VHO_DEV_NET);
	rig.d.control_idx = CONTROL;
	rig_negotiate(&rig, 0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_int_equal(front_ring(&rig.f, CONTROL, 64), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, CONTROL, 1), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rig_close(&rig);
	return fake_open_fds() != fds_before || fake_host_armed(&rig.h) != 0;
}

static void creation(void **state)
{
	struct fake_dev d;

	(void)state;
	assert_int_equal(fake_dev_init(&d, &rig.h, VHO_DEV_BLK, 0), -EINVAL);
	assert_int_equal(fake_dev_init(&d, &rig.h, VHO_DEV_BLK, VHO_DEV_QUEUES_MAX + 1), -EINVAL);
	dpu_alloc_fail_after(0);
	assert_int_equal(fake_dev_init(&d, &rig.h, VHO_DEV_BLK, 1), -ENOMEM);
	dpu_alloc_fail_after(-1);
	assert_int_equal(fake_dev_init(&d, &rig.h, VHO_DEV_BLK, VHO_DEV_QUEUES_MAX), 0);
	assert_int_equal(vho_dev_set_features(&d.dev, 1ull << 41), -EINVAL);
	assert_int_equal(vho_dev_set_features(&d.dev, 1ull << VIRTIO_F_RING_PACKED), 0);
	fake_dev_fini(&d);
	fake_dev_fini(&d);
}

/* The control queue is never given to a worker: its kick calls control_poll on this thread. */
static void control_queue_is_served_here(void **state)
{
	int kick = rig_eventfd();
	uint64_t one = 1;
	unsigned polls;
	struct vho_dev_info info;

	(void)state;
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, CONTROL, kick), 0);
	assert_int_equal(rig.h.starts, 0);
	polls = rig.d.control_polls;
	assert_int_equal(polls, 1); // what came before the watch
	assert_int_equal(write(kick, &one, sizeof(one)), 8);
	fake_host_run(&rig.h);
	assert_int_equal(rig.d.control_polls, polls + 1);
	vho_dev_info(&rig.d.dev, &info);
	assert_int_equal(info.n_running, 1);
	assert_false(info.driver_ok); // no data queue runs
	vho_dev_queue_retire(&rig.d.dev, CONTROL);
	assert_int_equal(write(kick, &one, sizeof(one)), 8);
	fake_host_run(&rig.h);
	assert_int_equal(rig.d.control_polls, polls + 1);
	close(kick);
}

/* VU-16 class: the kick is a blocking eventfd that somebody else has emptied. */
static void control_kick_never_blocks(void **state)
{
	int kick = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, CONTROL, kick), 0);
	for (unsigned i = 0; i < FAKE_WATCHES; i++)
		if (rig.h.watch[i].cb && rig.h.watch[i].fd == rig.d.dev.queues[CONTROL].kick_fd)
			rig.h.watch[i].cb(rig.h.watch[i].arg);
	assert_int_equal(rig.d.control_polls, 2);
	close(kick);
}

static void control_queue_without_kick_is_polled(void **state)
{
	unsigned polls;

	(void)state;
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, CONTROL, -1), 0);
	polls = rig.d.control_polls;
	fake_host_advance(&rig.h, 100);
	assert_true(rig.d.control_polls > polls + 5);
}

/* A queue that cannot be watched or given away is taken down again, and may start later. */
static void start_fails(void **state)
{
	int kick = rig_eventfd();

	(void)state;
	rig.h.no_watch = true;
	assert_true(front_call_fd(&rig.f, VU_SET_VRING_KICK, CONTROL, kick) > 0);
	assert_false(rig.d.dev.queues[CONTROL].started);
	assert_int_equal(rig.d.setups, rig.d.teardowns);
	assert_null(rig.d.dev.queues[CONTROL].q.mem);
	assert_int_equal(vho_dev_queue_try_start(&rig.d.dev, CONTROL), 0);
	assert_true(rig.d.dev.queues[CONTROL].started);
	close(kick);
}

/* Detach leaves nothing behind that the next front-end could meet. */
static void detach_forgets(void **state)
{
	struct vho_queue_info q;

	(void)state;
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, CONTROL, -1), 0);
	vho_dev_queue_info(&rig.d.dev, CONTROL, &q);
	assert_true(q.running);
	assert_int_equal(q.size, 64);
	rig_reopen(&rig);
	vho_dev_queue_info(&rig.d.dev, CONTROL, &q);
	assert_false(q.running);
	assert_int_equal(q.size, 0);
	assert_null(rig.d.dev.mem);
	assert_true(rig.d.dev.features == 0);
	assert_true(rig.d.dev.protocol_features == 0);
	assert_false(rig.d.dev.features_set);
	assert_null(vho_dev_queue_stats(&rig.d.dev, RIG_QUEUES));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(creation),
		T(control_queue_is_served_here),
		T(control_kick_never_blocks),
		T(control_queue_without_kick_is_polled),
		T(start_fails),
		T(detach_forgets),
	};

	dpu_log_level_set(DPU_LOG_ERR);
	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
