// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv blk-crash: kill the back-end that serves one or more disks over and over while each is
 * written, read and verified, and tell how long the disks had to wait.
 *
 * One thread drives each disk. The main thread kills: once every disk has had an answer of one new
 * process, at a random moment. A time runs from kill(2) to the first answer of the next process.
 */
#include "vdrv.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_verify.h"
#include "drv_hist.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DISKS_MAX 8
#define WAIT_S 60 // for a back-end, an answer or a spare: then something hangs
#define FOREVER_NS (UINT64_MAX / 4)

struct disk {
	const char *path; // borrowed
	bool packed;
	struct drv_blk b;
	struct drv_verify *v; // owned
	pthread_t thread;
	int ret; // of the thread, once joined

	/* Written by the disk's thread. */
	_Atomic int server; // the process that answered last; 0: the thread has ended
	_Atomic uint64_t resumed_ns; // when a new one answered first
};

struct crash {
	struct dpu_opt_list split, packed;
	const char *rpc;
	uint64_t kills, qd, max, mib, seed, delay_us;
	struct disk disk[DISKS_MAX];
	unsigned n;
	struct drv_hist hist[2]; // us; split, packed
	uint64_t max_us[2];
	uint64_t rng;
};

static atomic_bool stop;

static void on_resumed(void *arg, uint64_t now_ns)
{
	struct disk *d = arg;

	atomic_store_explicit(&d->resumed_ns, now_ns, memory_order_relaxed);
	// Pairs with all_on(): who sees the new server sees the time.
	atomic_store_explicit(&d->server, drv_vu_peer(&d->b.vu), memory_order_release);
}

static void *drive(void *arg)
{
	struct disk *d = arg;

	d->ret = drv_verify_run(d->v, &stop, FOREVER_NS);
	if (!d->ret)
		d->ret = drv_verify_all(d->v);
	atomic_store_explicit(&d->server, 0, memory_order_release);
	return NULL;
}

/* ---- the killer ---- */

/* The process that serves every disk, and is not `old`; 0: not yet; -EPIPE: a disk gave up. */
static int all_on(struct crash *c, int old)
{
	int server = atomic_load_explicit(&c->disk[0].server, memory_order_acquire);

	for (unsigned i = 0; i < c->n; i++) {
		int s = atomic_load_explicit(&c->disk[i].server, memory_order_acquire);

		if (s <= 0)
			return -EPIPE;
		if (s != server || s == old)
			return 0;
	}
	return server;
}

static void pause_briefly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

/* Ask the card whether a spare is warm. 1, 0, or a negative errno. */
static int has_spare(const char *rpc)
{
	static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"card_info\"}\n";
	struct pollfd p = { .events = POLLIN };
	char buf[8192] = "";
	size_t len = 0;
	int ret = 0;

	p.fd = drv_connect(rpc, WAIT_S * 1000);
	if (p.fd < 0)
		return p.fd;
	if (send(p.fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) < 0)
		ret = -errno;
	while (!ret && !strstr(buf, "\"spare\":") && len < sizeof(buf) - 1) {
		ssize_t n = poll(&p, 1, WAIT_S * 1000) == 1
				    ? read(p.fd, buf + len, sizeof(buf) - 1 - len)
				    : 0;

		if (n <= 0)
			ret = -EPIPE;
		else
			len += (size_t)n;
	}
	close(p.fd);
	return ret ? ret : strstr(buf, "\"spare\":true") != NULL;
}

/* Until every disk is served by a new process and, if there is one to ask, a spare is warm. */
static int wait_for_service(struct crash *c, int old)
{
	uint64_t end = dpu_now_ns() + WAIT_S * 1000000000ULL;
	int pid, spare;

	while ((pid = all_on(c, old)) == 0) {
		if (dpu_now_ns() > end)
			return -ETIMEDOUT;
		pause_briefly();
	}
	if (pid < 0 || !c->rpc)
		return pid;
	while ((spare = has_spare(c->rpc)) == 0) {
		if (dpu_now_ns() > end)
			return -ETIMEDOUT;
		pause_briefly();
	}
	return spare < 0 ? spare : pid;
}

static void note_times(struct crash *c, uint64_t killed_ns)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct disk *d = &c->disk[i];
		uint64_t at = atomic_load_explicit(&d->resumed_ns, memory_order_relaxed);
		uint64_t us = (at - killed_ns) / 1000;

		drv_hist_add(&c->hist[d->packed], us);
		if (us > c->max_us[d->packed])
			c->max_us[d->packed] = us;
	}
}

/* 0, or why not all kills were made. */
static int kill_all(struct crash *c)
{
	int pid = wait_for_service(c, 0);

	for (uint64_t k = 0; pid > 0 && k < c->kills; k++) {
		uint64_t delay = drv_rand(&c->rng) % (c->delay_us * 1000 + 1), killed_ns;

		// Not the same phase of the traffic each time.
		for (uint64_t from = dpu_now_ns(); dpu_now_ns() - from < delay;)
			drv_relax();
		killed_ns = dpu_now_ns();
		if (kill(pid, SIGKILL))
			return -errno;
		pid = wait_for_service(c, pid);
		if (pid > 0)
			note_times(c, killed_ns);
	}
	return pid < 0 ? pid : 0;
}

/* ---- results ---- */

static void print_hist(const struct crash *c, const char *ring, unsigned h)
{
	static const unsigned ms[] = { 5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 250, 500, 1000,
		10000, WAIT_S * 1000 };
	uint64_t below = 0;
	unsigned at = 0;

	printf("%s: %lu resumed, p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", ring, c->hist[h].n,
		(double)drv_hist_at(&c->hist[h], 500) / 1e3,
		(double)drv_hist_at(&c->hist[h], 990) / 1e3, (double)c->max_us[h] / 1e3);
	for (unsigned i = 0; i < COUNT(ms); i++) {
		uint64_t n = 0;

		for (; at < DRV_HIST_N && drv_hist_floor(at) < ms[i] * 1000ULL; at++)
			n += c->hist[h].at[at];
		below += n;
		if (n)
			printf("  < %5u ms %6lu\n", ms[i], n);
		if (below == c->hist[h].n)
			break;
	}
}

static void print_disk(const struct disk *d, const struct drv_verify_stats *s)
{
	printf("%s: %lu reads, %lu writes, %lu restarts; %lu lost, %lu duplicated, %lu errored, "
	       "%lu torn, %lu stale, %lu misplaced\n",
		d->path, s->reads, s->writes, s->restarts, s->lost, s->duplicated, s->errored,
		s->torn, s->stale, s->misplaced);
}

/* Returns the exit status. */
static int report(struct crash *c, int ret)
{
	bool bad = ret != 0;

	if (ret)
		fprintf(stderr, "vdrv: %s\n", strerror(-ret));
	for (unsigned i = 0; i < c->n; i++) {
		struct disk *d = &c->disk[i];
		struct drv_verify_stats s;

		drv_verify_stats(d->v, &s);
		print_disk(d, &s);
		if (d->ret)
			fprintf(stderr, "vdrv: %s: %s\n", d->path, strerror(-d->ret));
		bad = bad || d->ret || drv_verify_errors(&s) || s.restarts < c->kills || !s.writes;
	}
	for (unsigned h = 0; h < 2; h++)
		if (c->hist[h].n)
			print_hist(c, h ? "packed" : "split", h);
	return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- life ---- */

static int disk_open(struct crash *c, struct disk *d)
{
	const struct drv_blk_conf bc = { .path = d->path,
		.packed = d->packed,
		.inflight = true,
		.region_size = (c->qd * (c->max + 8192) + (8 << 20)) & ~4095ULL };
	const struct drv_verify_conf vc = { .seed = c->seed + (uint64_t)(d - c->disk),
		.sectors = c->mib << 11,
		.qd = (unsigned)c->qd,
		.max_len = (uint32_t)(c->max & ~511ULL),
		.discard = true,
		.zeroes = true,
		.flush = true,
		.reconnect_ms = WAIT_S * 1000,
		.lost_ms = WAIT_S * 1000,
		.resumed = on_resumed,
		.resumed_arg = d };
	int ret = drv_blk_open(&d->b, &bc);

	if (ret)
		return ret;
	ret = drv_verify_create(&d->b, &vc, &d->v);
	if (!ret) {
		atomic_store_explicit(&d->server, drv_vu_peer(&d->b.vu), memory_order_relaxed);
		ret = -pthread_create(&d->thread, NULL, drive, d);
	}
	if (ret) {
		drv_verify_destroy(d->v);
		drv_blk_close(&d->b);
	}
	return ret;
}

static int run(struct crash *c)
{
	unsigned opened = 0;
	int ret = 0;

	for (; opened < c->n && !ret; opened++) {
		ret = disk_open(c, &c->disk[opened]);
		if (ret) {
			fprintf(stderr, "vdrv: %s: %s\n", c->disk[opened].path, strerror(-ret));
			break;
		}
	}
	c->n = opened;
	if (!ret)
		ret = kill_all(c);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(c->disk[i].thread, NULL);
	ret = report(c, ret);
	for (unsigned i = 0; i < c->n; i++) {
		drv_verify_destroy(c->disk[i].v);
		drv_blk_close(&c->disk[i].b);
	}
	return ret;
}

int vdrv_blk_crash(int argc, char **argv)
{
	static struct crash c = {
		.kills = 10, .qd = 32, .max = 65536, .mib = 16, .seed = 1, .delay_us = 3000
	};
	const struct dpu_opt opts[] = {
		{ "split", DPU_OPT_LIST, &c.split, "PATH", "a disk, driven with a split ring", 0,
			0 },
		{ "packed", DPU_OPT_LIST, &c.packed, "PATH", "a disk, driven with a packed ring", 0,
			0 },
		{ "kills", DPU_OPT_UINT, &c.kills, "N", "how often", 1, 1000000 },
		{ "rpc", DPU_OPT_STR, &c.rpc, "PATH",
			"control socket of cardd: before each kill, wait until it has a spare", 0,
			0 },
		{ "delay-us", DPU_OPT_UINT, &c.delay_us, "N",
			"at most so long from when all is well to the kill", 0, 10000000 },
		{ "qd", DPU_OPT_UINT, &c.qd, "N", "requests in flight on each disk", 1, 256 },
		{ "max-bytes", DPU_OPT_UINT, &c.max, "N", "largest request", 512, 1 << 20 },
		{ "range-mib", DPU_OPT_UINT, &c.mib, "N", "part of each disk that is used", 1,
			1024 },
		{ "seed", DPU_OPT_UINT, &c.seed, "N", "of the random sequence", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv blk-crash",
		"Kill the process behind some disks over and over, and verify every byte",
		"[--split PATH]... [--packed PATH]... [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? EXIT_SUCCESS : 2;
	if (!(c.split.n + c.packed.n) || c.split.n + c.packed.n > DISKS_MAX) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	for (unsigned i = 0; i < c.split.n; i++)
		c.disk[c.n++].path = c.split.v[i];
	for (unsigned i = 0; i < c.packed.n; i++)
		c.disk[c.n++] = (struct disk){ .path = c.packed.v[i], .packed = true };
	c.rng = c.seed;
	return run(&c);
}
