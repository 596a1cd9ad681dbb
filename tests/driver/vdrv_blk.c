// SPDX-License-Identifier: Apache-2.0
/* vdrv blk-load and blk-verify. */
#include "vdrv.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_load.h"
#include "drv_verify.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NO_CPU UINT64_MAX

static int pin(uint64_t cpu)
{
	cpu_set_t set;

	if (cpu == NO_CPU)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static int parsed(int n)
{
	return n == -ECANCELED ? 0 : 2;
}

static bool ring_packed(const char *name, bool *packed)
{
	*packed = !strcmp(name, "packed");
	return *packed || !strcmp(name, "split");
}

static const char *const rw_names[] = { "read", "write", "randread", "randwrite", "randrw" };

static void load_print(const struct drv_load_result *r, const char *ring, const char *rw,
	uint64_t qd, uint64_t bs, bool json)
{
	double iops = r->seconds > 0 ? (double)r->requests / r->seconds : 0;

	if (json) {
		printf("{\"ring\": \"%s\", \"rw\": \"%s\", \"qd\": %lu, \"bs\": %lu, "
		       "\"iops\": %.0f, \"requests\": %lu, \"errors\": %lu, \"seconds\": %.3f, "
		       "\"p50_ns\": %lu, \"p99_ns\": %lu, \"p999_ns\": %lu, \"max_ns\": %lu, "
		       "\"kicks\": %lu, \"interrupts\": %lu, \"empty_polls\": %lu, "
		       "\"polls\": %lu}\n",
			ring, rw, qd, bs, iops, r->requests, r->errors, r->seconds, r->p50_ns,
			r->p99_ns, r->p999_ns, r->max_ns, r->kicks, r->calls, r->empty_polls,
			r->polls);
		return;
	}
	printf("%-7s %-9s %5s %7s %12s %10s %10s %10s %12s %8s\n", "ring", "rw", "qd", "bs", "IOPS",
		"p50 us", "p99 us", "p99.9 us", "kicks", "errors");
	printf("%-7s %-9s %5lu %7lu %12.0f %10.2f %10.2f %10.2f %12lu %8lu\n", ring, rw, qd, bs,
		iops, (double)r->p50_ns / 1e3, (double)r->p99_ns / 1e3, (double)r->p999_ns / 1e3,
		r->kicks, r->errors);
}

int vdrv_blk_load(int argc, char **argv)
{
	const char *socket = NULL, *ring = "split", *rw = "randread";
	uint64_t qd = 1, bs = 4096, seconds = 5, warmup_ms = 200, cpu = NO_CPU, size = 256;
	bool poll = false, intr = false, json = false, direct = false, no_event_idx = false;
	struct drv_blk_conf bc = { 0 };
	struct drv_load_conf lc = { 0 };
	struct drv_load_result res;
	struct drv_blk b;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "ring", DPU_OPT_STR, &ring, "LAYOUT", "split or packed", 0, 0 },
		{ "ring-size", DPU_OPT_UINT, &size, "N", "entries of the ring", 1, 32768 },
		{ "qd", DPU_OPT_UINT, &qd, "N", "requests in flight", 1, 1024 },
		{ "bs", DPU_OPT_UINT, &bs, "BYTES", "bytes of one request", 512, 1 << 20 },
		{ "rw", DPU_OPT_STR, &rw, "MODE", "read, write, randread, randwrite or randrw", 0,
			0 },
		{ "seconds", DPU_OPT_UINT, &seconds, "N", "length of the measurement", 1, 86400 },
		{ "warmup-ms", DPU_OPT_UINT, &warmup_ms, "MS", "load before it", 0, 60000 },
		{ "cpu", DPU_OPT_UINT, &cpu, "N", "CPU to run on", 0, CPU_SETSIZE - 1 },
		{ "poll", DPU_OPT_FLAG, &poll, NULL, "poll the used ring (default)", 0, 0 },
		{ "intr", DPU_OPT_FLAG, &intr, NULL, "sleep until the back-end calls", 0, 0 },
		{ "direct", DPU_OPT_FLAG, &direct, NULL, "no indirect tables", 0, 0 },
		{ "no-event-idx", DPU_OPT_FLAG, &no_event_idx, NULL,
			"leave VIRTIO_RING_F_EVENT_IDX alone", 0, 0 },
		{ "inflight", DPU_OPT_FLAG, &bc.inflight, NULL, "ask for an inflight region", 0,
			0 },
		{ "json", DPU_OPT_FLAG, &json, NULL, "machine-readable result", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv blk-load", "Load a disk and measure it",
		"--socket PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return parsed(ret);
	while (lc.rw < COUNT(rw_names) && strcmp(rw, rw_names[lc.rw]) != 0)
		lc.rw++;
	if (!socket || !ring_packed(ring, &bc.packed) || lc.rw == COUNT(rw_names) ||
		(poll && intr)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	while (size < qd * (direct ? 3 : 1))
		size *= 2;
	bc.path = socket;
	bc.ring_size = (uint32_t)size;
	bc.region_size = (qd * (bs + 8192) + size * 256 + (8 << 20)) & ~4095ULL;
	bc.features_off = (no_event_idx ? DRV_BIT(VIRTIO_RING_F_EVENT_IDX) : 0) |
			  (direct ? DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC) : 0);
	lc.qd = (unsigned)qd;
	lc.bs = (uint32_t)bs;
	lc.ns = seconds * 1000000000;
	lc.warmup_ns = warmup_ms * 1000000;
	lc.intr = intr;
	lc.direct = direct;
	ret = pin(cpu);
	if (!ret)
		ret = drv_blk_open(&b, &bc);
	if (ret) {
		fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
		return 1;
	}
	ret = drv_load_run(&b, &lc, &res);
	drv_blk_close(&b);
	if (ret)
		fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
	load_print(&res, ring, rw_names[lc.rw], qd, bs, json);
	return ret || res.errors ? 1 : 0;
}

/* ---- blk-verify ---- */

static void verify_print(const struct drv_verify_stats *s, bool json)
{
	const struct {
		const char *name;
		uint64_t v;
	} row[] = {
		{ "reads", s->reads },
		{ "writes", s->writes },
		{ "flushes", s->flushes },
		{ "discards", s->discards },
		{ "zeroes", s->zeroes },
		{ "bytes", s->bytes },
		{ "restarts", s->restarts },
		{ "lost", s->lost },
		{ "duplicated", s->duplicated },
		{ "errored", s->errored },
		{ "torn", s->torn },
		{ "stale", s->stale },
		{ "misplaced", s->misplaced },
		{ "worst_stall_ms", s->worst_stall_ns / 1000000 },
		{ "p50_us", s->p50_ns / 1000 },
		{ "p99_us", s->p99_ns / 1000 },
	};

	for (size_t i = 0; i < COUNT(row); i++)
		if (json)
			printf("%s\"%s\": %lu", i ? ", " : "{", row[i].name, row[i].v);
		else
			printf("%-16s %lu\n", row[i].name, row[i].v);
	if (json)
		puts("}");
	fflush(stdout);
}

static atomic_bool stop;

static void on_signal(int sig)
{
	(void)sig;
	atomic_store(&stop, true);
}

static int verify_run(
	struct drv_blk *b, const struct drv_verify_conf *vc, uint64_t seconds, bool json)
{
	struct drv_verify_stats st;
	struct drv_verify *v;
	int ret = drv_verify_create(b, vc, &v);

	if (ret) {
		fprintf(stderr, "vdrv: %s\n", strerror(-ret));
		return 1;
	}
	ret = drv_verify_run(v, &stop, seconds * 1000000000);
	if (!ret)
		ret = drv_verify_all(v);
	if (ret)
		fprintf(stderr, "vdrv: %s\n", strerror(-ret));
	drv_verify_stats(v, &st);
	verify_print(&st, json);
	drv_verify_destroy(v);
	return ret || drv_verify_errors(&st) ? 1 : 0;
}

/* The back-end may die in the middle of the first handshake as well. */
static int open_patiently(struct drv_blk *b, const struct drv_blk_conf *bc, uint64_t patience_ms)
{
	uint64_t end = dpu_now_ns() + patience_ms * 1000000;
	int ret;

	do
		ret = drv_blk_open(b, bc);
	while ((ret == -EPIPE || ret == -ENOTCONN || ret == -ECONNREFUSED) && dpu_now_ns() < end);
	return ret;
}

int vdrv_blk_verify(int argc, char **argv)
{
	const char *socket = NULL, *ring = "split";
	uint64_t qd = 16, max = 65536, seconds = 5, queues = 1, regions = 1, seed = 1, mib = 64;
	uint64_t reconnect_ms = 0, size = 256, first_mib = 0;
	bool poll = false, json = false, slots = false, in_order = false, keep = false;
	struct drv_blk b;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "ring", DPU_OPT_STR, &ring, "LAYOUT", "split or packed", 0, 0 },
		{ "ring-size", DPU_OPT_UINT, &size, "N", "entries of each ring", 1, 32768 },
		{ "queues", DPU_OPT_UINT, &queues, "N", "queues", 1, DRV_BLK_QUEUES_MAX },
		{ "qd", DPU_OPT_UINT, &qd, "N", "requests in flight", 1, 256 },
		{ "max-bytes", DPU_OPT_UINT, &max, "N", "largest request", 512, 1 << 20 },
		{ "range-mib", DPU_OPT_UINT, &mib, "N", "part of the disk that is used", 1, 1024 },
		{ "first-mib", DPU_OPT_UINT, &first_mib, "N", "where that begins", 0, 1 << 30 },
		{ "seconds", DPU_OPT_UINT, &seconds, "N", "length of the run", 1, 86400 },
		{ "seed", DPU_OPT_UINT, &seed, "N", "of the random sequence", 0, 0 },
		{ "regions", DPU_OPT_UINT, &regions, "N", "memory regions", 1, DRV_REGIONS_MAX },
		{ "reconnect-ms", DPU_OPT_UINT, &reconnect_ms, "MS",
			"wait that long for a new back-end when it dies; 0: give up", 0, 600000 },
		{ "mem-slots", DPU_OPT_FLAG, &slots, NULL, "add memory region by region", 0, 0 },
		{ "in-order", DPU_OPT_FLAG, &in_order, NULL, "ask for VIRTIO_F_IN_ORDER", 0, 0 },
		{ "poll", DPU_OPT_FLAG, &poll, NULL, "poll instead of sleeping", 0, 0 },
		{ "keep", DPU_OPT_FLAG, &keep, NULL,
			"discard nothing: for disks on which that does not read as zeros", 0, 0 },
		{ "json", DPU_OPT_FLAG, &json, NULL, "machine-readable result", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv blk-verify",
		"Write and read a disk at random and verify every byte",
		"--socket PATH [OPTION]...", NULL, opts, COUNT(opts) };
	struct drv_blk_conf bc = { 0 };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return parsed(ret);
	if (!socket || !ring_packed(ring, &bc.packed)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	bc.path = socket;
	bc.ring_size = (uint32_t)size;
	bc.n_queues = (unsigned)queues;
	bc.regions = (unsigned)regions;
	bc.region_size = (qd * (max + 8192) + queues * size * 256 + (8 << 20)) & ~4095ULL;
	bc.inflight = reconnect_ms != 0;
	bc.mem_slots = slots;
	bc.in_order = in_order;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	ret = open_patiently(&b, &bc, reconnect_ms);
	if (ret) {
		fprintf(stderr, "vdrv: %s: %s\n", socket, strerror(-ret));
		return 1;
	}
	const struct drv_verify_conf vc = { .seed = seed,
		.first = first_mib << 11,
		.sectors = mib << 11,
		.qd = (unsigned)qd,
		.max_len = (uint32_t)(max & ~511ULL),
		.poll = poll,
		.discard = !keep,
		.zeroes = true,
		.flush = true,
		.reconnect_ms = (unsigned)reconnect_ms };

	ret = verify_run(&b, &vc, seconds, json);
	drv_blk_close(&b);
	return ret;
}
