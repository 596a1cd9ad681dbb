// SPDX-License-Identifier: Apache-2.0
/* vdrv conformance: ring layouts against features, each combination with verified traffic. */
#include "vdrv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_net.h"
#include "drv_verify.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define RUN_NS 150000000ULL
#define FRAMES 300

static const struct {
	const char *name;
	uint64_t off; // features left alone
	bool in_order, slots, mrg;
	unsigned queues, regions;
	uint32_t size;
} variants[] = {
	{ "all features", 0, false, false, true, 1, 1, 256 },
	{ "no event index", DRV_BIT(VIRTIO_RING_F_EVENT_IDX), false, false, true, 1, 1, 256 },
	{ "no indirect", DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC), false, false, true, 1, 1, 256 },
	{ "neither", DRV_BIT(VIRTIO_RING_F_EVENT_IDX) | DRV_BIT(VIRTIO_RING_F_INDIRECT_DESC), false,
		false, true, 1, 1, 256 },
	{ "in order", 0, true, false, true, 1, 1, 256 },
	{ "no mergeable buffers", 0, false, false, false, 1, 1, 256 },
	{ "ring of 8", 0, false, false, true, 1, 1, 8 },
	{ "ring of 1024", 0, false, false, true, 1, 1, 1024 },
	{ "memory slots, 4 regions", 0, false, true, true, 1, 4, 256 },
	{ "all queues", 0, false, false, true, 0, 2, 128 },
};

/* 0 pass, 1 not offered, negative: failed. */
static int blk_try(const char *path, bool packed, unsigned i)
{
	struct drv_blk_conf c = { .path = path,
		.packed = packed,
		.in_order = variants[i].in_order,
		.mem_slots = variants[i].slots,
		.features_off = variants[i].off,
		.ring_size = variants[i].size,
		.n_queues = variants[i].queues,
		.regions = variants[i].regions };
	const struct drv_verify_conf vc = { .seed = i + 1,
		.sectors = 16 << 11,
		.qd = variants[i].size < 16 ? 2 : 16,
		.max_len = 32768,
		.discard = true,
		.zeroes = true,
		.flush = true };
	struct drv_verify_stats st;
	struct drv_verify *v;
	struct drv_blk b;
	int ret = variants[i].mrg ? drv_blk_open(&b, &c) : -ENOTSUP;

	if (!ret && !variants[i].queues) {
		uint64_t n = b.cfg.num_queues;

		drv_blk_close(&b);
		c.n_queues = n > DRV_BLK_QUEUES_MAX ? DRV_BLK_QUEUES_MAX : (unsigned)n;
		ret = drv_blk_open(&b, &c);
	}
	if (ret)
		return ret == -ENOTSUP ? 1 : ret;
	if (variants[i].in_order && !drv_blk_has(&b, VIRTIO_F_IN_ORDER)) {
		drv_blk_close(&b);
		return 1;
	}
	ret = drv_verify_create(&b, &vc, &v);
	if (!ret) {
		ret = drv_verify_run(v, NULL, RUN_NS);
		if (!ret)
			ret = drv_verify_all(v);
		drv_verify_stats(v, &st);
		if (!ret && (drv_verify_errors(&st) || !st.writes))
			ret = -EIO;
		drv_verify_destroy(v);
	}
	drv_blk_close(&b);
	return ret;
}

static int net_frames(struct drv_net *a, struct drv_net *b)
{
	uint8_t frame[2048];
	uint64_t seq, end = dpu_now_ns() + 10000000000ULL;
	unsigned good = 0;

	for (uint64_t i = 0; good < FRAMES; i++) {
		uint32_t len = 60 + (uint32_t)(i * 97 % 1400);
		int got;

		if (dpu_now_ns() > end)
			return -ETIMEDOUT;
		drv_frame_make(frame, b->vu.config, a->vu.config, i, len);
		drv_net_send(a, 0, NULL, frame, len);
		drv_net_flush(a, 0);
		drv_net_wait(b, 0, 20); // one at a time, so none may be lost once the ports are up
		while ((got = drv_net_recv(b, 0, NULL, frame, sizeof(frame)))) {
			if (got < 0 || (!memcmp(frame, b->vu.config, 6) &&
					       !drv_frame_ok(frame, (uint32_t)got, &seq)))
				return -EIO;
			good++;
		}
	}
	return a->bad_rx || b->bad_rx ? -EIO : 0;
}

static int net_try(const char *path, const char *peer, bool packed, unsigned i)
{
	static struct drv_net a, b;
	struct drv_net_conf c = { .path = path,
		.packed = packed,
		.mrg = variants[i].mrg,
		.in_order = variants[i].in_order,
		.features_off = variants[i].off,
		.ring_size = variants[i].size };
	int ret;

	if (variants[i].slots || !variants[i].queues)
		return 1; // rings of a NIC live in one region here, and pairs need a peer each
	ret = drv_net_open(&a, &c);
	if (ret)
		return ret == -ENOTSUP ? 1 : ret;
	c.path = peer;
	ret = drv_net_open(&b, &c);
	if (!ret) {
		ret = net_frames(&a, &b);
		if (!ret)
			ret = net_frames(&b, &a);
		drv_net_close(&b);
	}
	drv_net_close(&a);
	return ret;
}

int vdrv_conformance(int argc, char **argv)
{
	const char *socket = NULL, *peer = NULL, *type = "blk";
	unsigned failed = 0, passed = 0;
	const struct dpu_opt opts[] = {
		{ "socket", DPU_OPT_STR, &socket, "PATH", "back-end's vhost-user socket", 0, 0 },
		{ "peer", DPU_OPT_STR, &peer, "PATH", "net: where its frames come out", 0, 0 },
		{ "type", DPU_OPT_STR, &type, "TYPE", "net or blk", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv conformance",
		"Try each ring layout with each feature and verify the traffic",
		"--socket PATH --type TYPE [--peer PATH]", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);
	bool net = !strcmp(type, "net");

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!socket || (net && !peer) || (!net && strcmp(type, "blk") != 0)) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	printf("%-8s %-26s %s\n", "ring", "features", "result");
	for (unsigned packed = 0; packed < 2; packed++)
		for (unsigned i = 0; i < COUNT(variants); i++) {
			ret = net ? net_try(socket, peer, packed, i) : blk_try(socket, packed, i);
			passed += ret == 0;
			failed += ret < 0;
			printf("%-8s %-26s %s%s\n", packed ? "packed" : "split", variants[i].name,
				ret < 0 ? "FAIL "
				: ret	? "not offered"
					: "pass",
				ret < 0 ? strerror(-ret) : "");
		}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
