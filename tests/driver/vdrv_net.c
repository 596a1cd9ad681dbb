// SPDX-License-Identifier: Apache-2.0
/* vdrv net-ping: verified frames from one vhost-user socket to another, through the back-end. */
#include "vdrv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_net.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define WINDOW 64

struct ping {
	struct drv_net n[2];
	uint8_t mac[2][6];
	unsigned pairs;
	uint64_t sent, received, wrong, lost;
	uint64_t by_pair[DRV_NET_PAIRS_MAX]; // received there, either side
};

static void drain_pair(struct ping *p, unsigned to, unsigned pair)
{
	uint8_t frame[65536];
	uint64_t seq;
	int len;

	while ((len = drv_net_recv(&p->n[to], pair, NULL, frame, sizeof(frame)))) {
		if (len > 0 && memcmp(frame, p->mac[to], 6) != 0)
			continue; // flooded or foreign
		if (len < 0 || !drv_frame_ok(frame, (uint32_t)len, &seq)) {
			p->wrong++;
			continue;
		}
		p->received++;
		p->by_pair[pair]++;
	}
}

static void drain(struct ping *p, unsigned to)
{
	for (unsigned i = 0; i < p->pairs; i++)
		drain_pair(p, to, i);
}

/* Sleep until something may have come: with several pairs, on one after the other. */
static void wait_for_frames(struct ping *p, unsigned to, unsigned round)
{
	assert(p->pairs > 0);
	drv_net_wait(&p->n[to], round % p->pairs, p->pairs > 1 ? 1 : 20);
}

/* A window of frames one way, then wait for all of them. */
static void volley(struct ping *p, unsigned from, uint32_t len)
{
	uint8_t frame[65536];
	uint64_t want = p->received, end;
	unsigned round = 0;

	for (unsigned i = 0; i < WINDOW; i++) {
		drv_frame_make(frame, p->mac[!from], p->mac[from], p->sent, len);
		if (drv_net_send(&p->n[from], i % p->pairs, NULL, frame, len))
			break;
		p->sent++;
		want++;
	}
	for (unsigned i = 0; i < p->pairs; i++)
		drv_net_flush(&p->n[from], i);
	end = dpu_now_ns() + 10000000000; // what is slow is not lost
	while (p->received < want && dpu_now_ns() < end) {
		uint64_t before = p->received;

		drain(p, !from);
		if (p->received == before)
			wait_for_frames(p, !from, round++);
	}
	p->lost += want - p->received;
}

/* The back-end may need a moment to start its queues: single frames until one passes. */
static bool link_up(struct ping *p, unsigned from)
{
	uint8_t frame[60];

	for (unsigned i = 0; i < 250; i++) {
		uint64_t before = p->received;

		drv_frame_make(frame, p->mac[!from], p->mac[from], i, sizeof(frame));
		drv_net_send(&p->n[from], 0, NULL, frame, sizeof(frame));
		drv_net_flush(&p->n[from], 0);
		wait_for_frames(p, !from, i);
		drain(p, !from);
		if (p->received > before) {
			drv_net_wait(&p->n[!from], 0, 100); // stragglers
			drain(p, !from);
			p->received = 0;
			return true;
		}
	}
	return false;
}

static int run(struct ping *p, uint64_t count, uint64_t max_len)
{
	uint32_t len = 60;

	for (unsigned i = 0; i < 2; i++)
		if (p->n[i].vu.features & DRV_BIT(VIRTIO_NET_F_MAC))
			memcpy(p->mac[i], p->n[i].vu.config, 6); // others may be filtered
		else
			memcpy(p->mac[i], (uint8_t[6]){ 2, 0, 0, 0xd0, 0, (uint8_t)(i + 1) }, 6);
	for (unsigned from = 0; from < 2; from++)
		if (!link_up(p, from)) {
			fputs("vdrv: no frame passes\n", stderr);
			return 1;
		}
	while (p->sent < count && p->lost < 4 * WINDOW) {
		volley(p, 0, len);
		volley(p, 1, len);
		len = len + 97 > max_len ? 60 : len + 97;
	}
	printf("sent %lu, received %lu, wrong %lu, lost %lu\n", p->sent, p->received,
		p->wrong + p->n[0].bad_rx + p->n[1].bad_rx, p->lost);
	for (unsigned i = 0; p->pairs > 1 && i < p->pairs; i++)
		printf("pair %u: received %lu\n", i, p->by_pair[i]);
	return p->wrong || p->lost || p->n[0].bad_rx || p->n[1].bad_rx ? 1 : 0;
}

int vdrv_net_ping(int argc, char **argv)
{
	const char *a = NULL, *b = NULL;
	uint64_t count = 10000, size = 256, max_len = 1514, pairs = 1;
	bool packed = false, mrg = false, in_order = false;
	static struct ping p;
	const struct dpu_opt opts[] = {
		{ "a", DPU_OPT_STR, &a, "PATH", "first vhost-user socket", 0, 0 },
		{ "b", DPU_OPT_STR, &b, "PATH", "second vhost-user socket", 0, 0 },
		{ "count", DPU_OPT_UINT, &count, "N", "frames", 1, 0 },
		{ "max-bytes", DPU_OPT_UINT, &max_len, "N", "longest frame", 60, 9000 },
		{ "ring-size", DPU_OPT_UINT, &size, "N", "entries of each ring", 1, 32768 },
		{ "pairs", DPU_OPT_UINT, &pairs, "N", "queue pairs", 1, DRV_NET_PAIRS_MAX },
		{ "packed", DPU_OPT_FLAG, &packed, NULL, "packed rings", 0, 0 },
		{ "mrg", DPU_OPT_FLAG, &mrg, NULL, "mergeable receive buffers", 0, 0 },
		{ "in-order", DPU_OPT_FLAG, &in_order, NULL, "ask for VIRTIO_F_IN_ORDER", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv net-ping",
		"Send frames between two virtio-net functions and verify them",
		"--a PATH --b PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!a || !b) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	struct drv_net_conf c = { .path = a,
		.packed = packed,
		.mrg = mrg,
		.in_order = in_order,
		.ctrl = pairs > 1,
		.pairs = (unsigned)pairs,
		.ring_size = (uint32_t)size,
		.buf_len = mrg || max_len < 2000 ? 2048 : 9216 + 64 };

	p.pairs = (unsigned)pairs;
	ret = drv_net_open(&p.n[0], &c);
	c.path = b;
	if (!ret) {
		ret = drv_net_open(&p.n[1], &c);
		if (ret)
			drv_net_close(&p.n[0]);
	}
	if (ret) {
		fprintf(stderr, "vdrv: %s: %s\n", c.path, strerror(-ret));
		return 1;
	}
	ret = run(&p, count, max_len);
	drv_net_close(&p.n[0]);
	drv_net_close(&p.n[1]);
	return ret;
}
