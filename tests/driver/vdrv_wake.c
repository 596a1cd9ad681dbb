// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv blk-wake: single reads with pauses between them, and how long each takes; or what the
 * machine itself takes to wake a thread on the back-end's CPU after the same pause. Pauses and
 * waits spin, so this side of the measurement never sleeps.
 */
#include "vdrv.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_blk.h"
#include "drv_hist.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES 4096
#define LOST_NS 5000000000ULL

static void pin(uint64_t cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		perror("vdrv: sched_setaffinity");
}

static void pause_for(uint64_t ns)
{
	uint64_t end = dpu_now_ns() + ns;

	while (dpu_now_ns() < end)
		;
}

/* ---- the machine: an eventfd wakes a thread that sleeps in epoll ---- */

struct sleeper {
	uint64_t cpu;
	int fd;
	_Atomic uint64_t woken;
	atomic_bool stop;
};

static void *sleep_and_wake(void *arg)
{
	struct sleeper *s = arg;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	pin(s->cpu);
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &ev) < 0)
		perror("vdrv: epoll");
	while (!s->stop)
		if (epoll_wait(ep, &ev, 1, -1) == 1)
			atomic_fetch_add_explicit(&s->woken, 1, memory_order_release);
	close(ep);
	return NULL;
}

static int wake_machine(uint64_t cpu, uint64_t gap_ns, uint64_t n, struct drv_hist *h)
{
	struct sleeper s = { .cpu = cpu, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	const uint64_t one = 1;
	pthread_t t = pthread_self();
	int ret = s.fd < 0 ? -errno : -pthread_create(&t, NULL, sleep_and_wake, &s);

	if (ret)
		return ret;
	pause_for(2000000); // until it sleeps, or the first sample says nothing
	for (uint64_t i = 0; i <= n && !ret; i++) {
		uint64_t start, woken = atomic_load_explicit(&s.woken, memory_order_acquire);

		pause_for(gap_ns);
		start = dpu_now_ns();
		if (write(s.fd, &one, sizeof(one)) < 0)
			ret = -errno;
		while (!ret && atomic_load_explicit(&s.woken, memory_order_acquire) == woken)
			if (dpu_now_ns() - start > LOST_NS)
				ret = -ETIMEDOUT;
		if (i)
			drv_hist_add(h, dpu_now_ns() - start);
	}
	s.stop = true;
	if (write(s.fd, &one, sizeof(one)) < 0)
		ret = -errno;
	pthread_join(t, NULL);
	close(s.fd);
	return ret;
}

/* ---- the card ---- */

static int wake_card(
	struct drv_blk *b, struct drv_blk_io *io, uint64_t gap_ns, uint64_t n, struct drv_hist *h)
{
	for (uint64_t i = 0; i <= n; i++) { // the first does not count
		uint64_t start;
		int ret;

		pause_for(gap_ns);
		start = dpu_now_ns();
		ret = drv_blk_submit(b, 0, io, VIRTIO_BLK_T_IN, 0, BYTES);
		if (ret)
			return ret;
		drv_ring_kick(&b->rings[0]);
		while (drv_blk_poll(b, 0) != io)
			if (dpu_now_ns() - start > LOST_NS)
				return -ETIMEDOUT;
		if (*io->status != VIRTIO_BLK_S_OK)
			return -EIO;
		if (i)
			drv_hist_add(h, dpu_now_ns() - start);
	}
	return 0;
}

static int run_card(const char *path, uint64_t gap_ns, uint64_t n, struct drv_hist *h)
{
	struct drv_blk_conf conf = { .path = path };
	struct drv_blk b = { 0 };
	struct drv_blk_io io;
	int ret = drv_blk_open(&b, &conf);

	if (ret)
		return ret;
	ret = drv_blk_io_init(&b, &io, BYTES, 0);
	if (!ret)
		ret = wake_card(&b, &io, gap_ns, n, h);
	drv_blk_close(&b);
	return ret;
}

int vdrv_blk_wake(int argc, char **argv)
{
	const char *socket = NULL;
	uint64_t gap_us = 1000, n = 200, cpu = 1, card_cpu = 0;
	static struct drv_hist h;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH",
			"back-end's vhost-user socket; none: the machine alone", 0, 0 },
		{ "gap-us", DPU_OPT_UINT, &gap_us, "US", "pause before each request", 0, 10000000 },
		{ "requests", DPU_OPT_UINT, &n, "N", "how many", 1, 1000000 },
		{ "cpu", DPU_OPT_UINT, &cpu, "N", "CPU to run on", 0, 1023 },
		{ "card-cpu", DPU_OPT_UINT, &card_cpu, "N", "CPU of the thread to wake", 0, 1023 },
	};
	const struct dpu_cli cli = { "vdrv blk-wake",
		"Measure single requests after pauses, as JSON, or how long a thread takes to wake",
		"[--socket PATH] [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	pin(cpu);
	ret = socket ? run_card(socket, gap_us * 1000, n, &h)
		     : wake_machine(card_cpu, gap_us * 1000, n, &h);
	if (ret) {
		fprintf(stderr, "vdrv: %s: %s\n", socket ? socket : "eventfd", strerror(-ret));
		return 1;
	}
	printf("{\"gap_us\": %llu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
		(unsigned long long)gap_us, (double)drv_hist_at(&h, 500) / 1e3,
		(double)drv_hist_at(&h, 990) / 1e3);
	return 0;
}
