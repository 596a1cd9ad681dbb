/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Postcopy from the destination's front-end's side: a real userfaultfd, and a thread that gives
 * pages when they are asked for, or does not.
 */
#pragma once

#include "test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "fake_rig.h"
#include "postcopy.h"

#define PAGE 4096u
#define PAGES (FRONT_MEM_SIZE / PAGE)
#define SIZE 8u // of a ring
#define DESC 0x4000u // where ring 0 lies: front_ring_addr()
#define AVAIL 0x5000u
#define USED 0x6000u
#define DATA 0x20000u
#define PATIENCE_MS 20000 // a bound that ends a test, not a figure that is judged

/* The memory of the guest as the source has it, and who hands out its pages. */
static struct {
	struct fake_rig rig;
	int uffd; // -1: none
	int kick;
	uint64_t base; // of the guest's memory, as the back-end told it
	uint8_t source[FRONT_MEM_SIZE];
	pthread_t giver;
	int stop_fd; // -1: no giver
	_Atomic uint8_t given[PAGES];
	_Atomic uint8_t held[PAGES]; // pages that nobody ever gives
	_Atomic unsigned asked;
} t;

static inline void give(uint64_t off)
{
	uint64_t at = off / PAGE * PAGE;
	struct uffdio_range woken = { .start = t.base + at, .len = PAGE };

	if (!atomic_exchange(&t.given[at / PAGE], 1))
		assert_int_equal(pwrite(t.rig.f.mem_fd, t.source + at, PAGE, (off_t)at), PAGE);
	(void)ioctl(t.uffd, UFFDIO_WAKE, &woken); // the pager may have been killed
}

static inline void *giver(void *arg)
{
	struct pollfd p[] = { { t.uffd, POLLIN, 0 }, { t.stop_fd, POLLIN, 0 } };

	(void)arg;
	while (poll(p, 2, -1) > 0 && !p[1].revents) {
		struct uffd_msg m;

		if (read(t.uffd, &m, sizeof(m)) != sizeof(m))
			continue;
		assert_int_equal(m.event, UFFD_EVENT_PAGEFAULT);

		uint64_t off = m.arg.pagefault.address - t.base;

		assert_true(off < FRONT_MEM_SIZE);
		atomic_fetch_add(&t.asked, 1);
		if (!atomic_load(&t.held[off / PAGE]))
			give(off);
	}
	return NULL;
}

static inline void giver_start(void)
{
	t.stop_fd = rig_eventfd();
	assert_int_equal(pthread_create(&t.giver, NULL, giver, NULL), 0);
}

static inline void giver_stop(void)
{
	uint64_t one = 1;

	if (t.stop_fd < 0)
		return;
	assert_int_equal(write(t.stop_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(pthread_join(t.giver, NULL), 0);
	close(t.stop_fd);
	t.stop_fd = -1;
}

/* Wait until one of the loop's descriptors has something, and let the loop run. */
static inline void loop_once(void)
{
	struct pollfd p[FAKE_WATCHES];
	nfds_t n = 0;

	for (unsigned i = 0; i < FAKE_WATCHES; i++)
		if (t.rig.h.watch[i].cb)
			p[n++] = (struct pollfd){ t.rig.h.watch[i].fd, POLLIN, 0 };
	assert_true(poll(p, n, PATIENCE_MS) > 0);
	fake_host_run(&t.rig.h);
}

static inline void wait_running(unsigned idx)
{
	while (!t.rig.h.running[idx])
		loop_once();
}

/* ---- the guest ---- */

static inline void *src(uint64_t off)
{
	return t.source + off;
}

static inline void desc(unsigned idx, uint64_t off, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc *d = src(DESC);

	d[idx] = (struct vring_desc){ FRONT_GPA + off, len, flags, next };
}

static inline void avail(uint16_t n, uint16_t head)
{
	struct vring_avail *a = src(AVAIL);

	a->ring[n % SIZE] = head;
	a->idx = (uint16_t)(n + 1);
}

static inline struct vho_queue *queue(void)
{
	return &t.rig.d.dev.queues[0].q;
}

/* Pop, waiting for the kick that the pager sends when it has moved the gate. */
static inline int pop_waiting(struct vho_chain *c)
{
	struct pollfd p = { t.kick, POLLIN, 0 };
	int ret;

	while ((ret = vho_queue_pop(queue(), c)) == 0) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		(void)rig_eventfd_take(t.kick);
	}
	return ret;
}

/* ---- the front-end ---- */

static inline int advise(void)
{
	struct vu_msg m;

	front_send(&t.rig.f, VU_POSTCOPY_ADVISE, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	return front_recv(&t.rig.f, &m, &t.uffd);
}

static inline int listen_mode(void)
{
	return front_call(&t.rig.f, VU_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
}

static inline int ack(uint32_t request)
{
	uint64_t ok = 0;

	return front_call(&t.rig.f, request, &ok, sizeof(ok), NULL, 0);
}

/* Memory in listen mode: where the back-end's faults will come from. */
static inline uint64_t mem_table(void)
{
	struct vu_table table = { .n = 1,
		.region = { { FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA, 0 } } };
	struct vu_msg m;

	front_send(&t.rig.f, VU_SET_MEM_TABLE, VU_FLAG_VERSION, &table, 8 + 32, &t.rig.f.mem_fd, 1);
	assert_int_equal(front_recv(&t.rig.f, &m, NULL), 8 + 32);
	assert_int_equal(m.h.request, VU_SET_MEM_TABLE);
	assert_int_equal(m.p.table.n, 1);
	assert_true(m.p.table.region[0].gpa == FRONT_GPA);
	assert_true(m.p.table.region[0].size == FRONT_MEM_SIZE);
	return m.p.table.region[0].uva;
}

/* Up to the ack: nothing of the guest's memory is here. */
static inline void enter(uint64_t features)
{
	assert_int_equal(vho_mem_guard_init(), 0); // cmocka's own handlers are in place now
	rig_negotiate(&t.rig, features);
	assert_int_equal(advise(), 0);
	assert_true(t.uffd >= 0);
	assert_int_equal(listen_mode(), 0);
	t.base = mem_table();
	assert_true(t.base != 0);
	assert_int_equal(ack(VU_SET_MEM_TABLE), 0);
}

static inline void set_ring(uint32_t size)
{
	assert_int_equal(front_ring(&t.rig.f, 0, size), 0);
	assert_int_equal(front_call_fd(&t.rig.f, VU_SET_VRING_KICK, 0, t.kick), 0);
	assert_int_equal(front_call_state(&t.rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
}

/* Is the process gone whose userfaultfd this is? */
static inline void wait_gone(void)
{
	struct uffdio_zeropage z = { .range = { t.base ? t.base : PAGE, PAGE } };
	unsigned ms = 0;

	while (ioctl(t.uffd, UFFDIO_ZEROPAGE, &z) == 0 || errno != ESRCH) {
		assert_true(ms++ < PATIENCE_MS);
		(void)poll(NULL, 0, 1);
	}
}

static inline int open_rig(void **state)
{
	(void)state;
	if (!vho_postcopy_supported()) {
		print_message("no userfaultfd here: skipped\n");
		return -1;
	}
	memset(&t, 0, sizeof(t));
	t.uffd = t.stop_fd = -1;
	for (unsigned i = 0; i < FRONT_MEM_SIZE; i++)
		t.source[i] = i < DATA ? 0 : (uint8_t)(i / PAGE + i);
	t.kick = rig_eventfd();
	rig_open(&t.rig, VHO_DEV_BLK);
	return 0;
}

static inline int close_rig(void **state)
{
	(void)state;
	giver_stop(); // it has the memory's descriptor, which goes with the rig
	rig_close(&t.rig);
	if (t.uffd >= 0)
		close(t.uffd);
	close(t.kick);
	return 0;
}
