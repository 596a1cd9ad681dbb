// SPDX-License-Identifier: Apache-2.0
/*
 * Cycles per request of the virtio-blk device alone, twice. First one thread plays the driver and
 * the device: no cache line moves between cores, and what is left is instructions. Then the driver
 * has another core and fills the ring before each timed turn, so that every line which it wrote has
 * to come over. Only the device's turns are timed. The lower quartile is shown: turns in which
 * something else ran are none of ours.
 *
 *   blk_micro [ROUNDS [FILTER]]     rounds of each case (20000); only cases whose line has FILTER
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blk_env.h"
#include "drv_hist.h"

#define DEPTH_MAX 128u
#define BLOCK 4096u
#define VOLUME (8ULL << 20) // with the buffers, within a cache
#define BUDGET 32u // requests in one turn, as the card's workers have it

const struct vho_blk_store_ops *card_blk_store_ops(void);

static const struct layout shapes[] = {
	{ "split", false, 1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_RING_F_EVENT_IDX,
		3 },
	{ "packed", true, 1ULL << VIRTIO_RING_F_INDIRECT_DESC | 1ULL << VIRTIO_RING_F_EVENT_IDX,
		3 },
	{ "split, direct", false, 0, 0 },
	{ "packed, direct", true, 0, 0 },
};

struct rig {
	struct env e;
	struct vol *vol;
	struct guest_req req[DEPTH_MAX];
	uint64_t next; // sector
	bool write;
	unsigned depth, rounds;
	/* Rounds that the driver's thread has offered, and that the device has answered. */
	_Alignas(64) _Atomic unsigned offered;
	_Alignas(64) _Atomic unsigned answered;
};

static void die(const char *what)
{
	fprintf(stderr, "blk_micro: %s\n", what);
	exit(1);
}

static void filled(struct vol_io *io, int err)
{
	(void)io;
	if (err)
		die("volume");
}

/* Every block of the volume has memory: a page's first touch is not what is measured. */
static void fill(struct rig *g)
{
	static uint8_t block[1 << 18];
	struct iovec v = { block, sizeof(block) };
	struct vol_io io = {
		.op = VOL_WRITE, .len = sizeof(block), .iov = &v, .n_iov = 1, .done = filled
	};

	for (io.off = 0; io.off < VOLUME; io.off += io.len)
		vol_submit(g->e.chan, &io);
}

static void rig_open(struct rig *g, const struct layout *l, bool ram, bool write)
{
	struct vol_null_conf nc = { "v", VOLUME, 512 };
	struct vol_ram_conf rc = { "v", VOLUME, 512 };
	struct vho_blk_conf conf = { .name = "b", .n_queues = 1, .seg_max = 126, .depth = 256 };

	*g = (struct rig){ .write = write };
	if ((ram ? vol_ram_open(&rc, &g->vol) : vol_null_open(&nc, &g->vol)) < 0 ||
		vol_chan_open(g->vol, NULL, &g->e.chan) < 0)
		die("volume");
	g->e.ops = card_blk_store_ops();
	g->e.store = g->vol;
	g->e.ring_size = 512;
	if (env_open(&g->e, l, &conf) < 0)
		die("disk");
	fill(g);
	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		uint8_t *line = drv_mem_alloc(&g->e.mem, 0, 64, 64);
		uint8_t *data = drv_mem_alloc(&g->e.mem, 0, BLOCK, BLOCK);

		if (!line || !data)
			die("memory");
		memset(line, 0, 64);
		memset(data, 1, BLOCK);
		g->req[i] = (struct guest_req){ .out = line, .in = data };
	}
}

static void rig_close(struct rig *g)
{
	env_close(&g->e);
	vol_chan_close(g->e.chan);
	vol_close(g->vol);
}

/* Header and status lie in one line, as in a Linux guest; the data elsewhere. */
static void offer(struct rig *g, unsigned i)
{
	struct guest_req *r = &g->req[i];
	struct drv_seg s[] = {
		{ drv_mem_gpa(&g->e.mem, r->out), 16 },
		{ drv_mem_gpa(&g->e.mem, r->in), BLOCK },
		{ drv_mem_gpa(&g->e.mem, r->out + 32), 1 },
	};
	unsigned n_out = g->write ? 2 : 1;

	put_header(r->out, g->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, g->next);
	g->next = (g->next + BLOCK / 512) % (VOLUME / 512);
	r->out[32] = 0xff;
	if (drv_ring_add(&g->e.ring, s, n_out, 3 - n_out, r) < 0)
		die("ring");
}

static void offer_all(struct rig *g)
{
	for (unsigned i = 0; i < g->depth; i++)
		offer(g, i);
}

static void take_all(struct rig *g)
{
	struct drv_used u;

	for (unsigned i = 0; i < g->depth; i++)
		if (drv_ring_poll(&g->e.ring, &u) != 1 || g->req[i].out[32] != VIRTIO_BLK_S_OK)
			die("not answered");
}

/* Ticks of the device for what was offered. */
static uint64_t turns(struct rig *g)
{
	uint64_t t = drv_ticks();

	for (unsigned done = 0; done < g->depth; done += BUDGET)
		vho_blk_poll(g->e.blk, 0, g->e.chan, BUDGET);
	return drv_ticks() - t;
}

/* ---- on one core, on two ---- */

static void alone(struct rig *g, uint64_t *t)
{
	for (unsigned k = 0; k < g->rounds; k++) {
		offer_all(g);
		t[k] = turns(g);
		take_all(g);
	}
}

static void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set))
		die("two CPUs are needed");
}

static void wait_for(_Atomic unsigned *p, unsigned v)
{
	while (atomic_load_explicit(p, memory_order_acquire) != v)
		drv_relax();
}

static void *driver(void *arg)
{
	struct rig *g = arg;

	pin(1);
	for (unsigned k = 1; k <= g->rounds; k++) {
		offer_all(g);
		atomic_store_explicit(&g->offered, k, memory_order_release);
		wait_for(&g->answered, k);
		take_all(g);
	}
	return NULL;
}

static void across(struct rig *g, uint64_t *t)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, driver, g))
		die("thread");
	for (unsigned k = 1; k <= g->rounds; k++) {
		wait_for(&g->offered, k);
		t[k - 1] = turns(g);
		atomic_store_explicit(&g->answered, k, memory_order_release);
	}
	pthread_join(thread, NULL);
}

/* ---- cases ---- */

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double per_request(struct rig *g, uint64_t *t)
{
	const unsigned quartile = g->rounds / 4;

	qsort(t, g->rounds, sizeof(t[0]), by_value);
	return (double)t[quartile] / g->depth;
}

static void run(const struct layout *l, bool ram, bool write, unsigned depth, unsigned rounds,
	const char *filter)
{
	static struct rig g;
	char line[64];
	uint64_t *t;
	double one;

	snprintf(line, sizeof(line), "%-14s %-4s %-5s qd %3u", l->name, ram ? "ram" : "null",
		write ? "write" : "read", depth);
	if (!strstr(line, filter))
		return;
	t = malloc(rounds * sizeof(*t));
	if (!t)
		die("memory");
	rig_open(&g, l, ram, write);
	g.depth = depth;
	g.rounds = rounds;
	alone(&g, t);
	one = per_request(&g, t);
	across(&g, t);
	printf("%s: %6.1f on one core, %6.1f on two, cycles/request\n", line, one,
		per_request(&g, t));
	rig_close(&g);
	free(t);
}

int main(int argc, char **argv)
{
	static const unsigned depths[] = { 1, 32, 128 };
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20000;
	const char *filter = argc > 2 ? argv[2] : "";

	if (rounds == 0)
		die("at least one round");
	pin(0);
	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
		for (unsigned kind = 0; kind < 4; kind++)
			for (size_t d = 0; d < sizeof(depths) / sizeof(depths[0]); d++)
				run(&shapes[s], kind & 1, kind & 2, depths[d], rounds, filter);
	return 0;
}
