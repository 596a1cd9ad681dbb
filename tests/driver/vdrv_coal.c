// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv net-coal: calls that the driver wants later come, and fewer of them. VIRTIO 1.3, 5.1.6.5.9,
 * seen from the driver.
 */
#include "vdrv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_net.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOTF_COAL 6 // class; not in older headers
#define VQ_SET 2
#define VQ_NOTF_COAL 52 // feature
#define LEN 60
#define FRAMES 20 // few enough for half of a ring

struct coal {
	struct drv_net a, b;
	uint8_t mac_a[6], mac_b[6];
	uint64_t seq;
};

/* Calls on b's receive ring since this was asked last. */
static unsigned calls(struct coal *c)
{
	uint64_t n = 0;

	return read(c->b.rx[0].ring.call_fd, &n, sizeof(n)) == sizeof(n) ? (unsigned)n : 0;
}

/* Receive until the last frame sent is there, without asking for anything. */
static int until_last(struct coal *c)
{
	uint64_t end = dpu_now_ns() + 2000000000ULL, seq = 0;
	uint8_t f[2048];

	while (seq != c->seq) {
		int len = drv_net_recv(&c->b, 0, NULL, f, sizeof(f));

		if (len > 0 && !drv_frame_ok(f, (uint32_t)len, &seq))
			seq = 0;
		if (dpu_now_ns() > end) {
			fputs("vdrv: frame lost\n", stderr);
			return 1;
		}
	}
	return 0;
}

static int send_one(struct coal *c)
{
	uint8_t f[LEN];

	drv_frame_make(f, c->mac_b, c->mac_a, ++c->seq, LEN);
	if (drv_net_send(&c->a, 0, NULL, f, LEN))
		return 1;
	drv_net_flush(&c->a, 0);
	return 0;
}

/* FRAMES frames, each seen in the ring before the next is sent. Calls, or -1. */
static int trickle(struct coal *c)
{
	calls(c);
	for (unsigned i = 0; i < FRAMES; i++)
		if (send_one(c) || until_last(c))
			return -1;
	return (int)calls(c);
}

static int configure(struct coal *c, uint32_t packets, uint32_t usecs)
{
	const uint32_t all[] = { packets, usecs }, one[] = { 0, packets, usecs }; // queue 0
	int ret = drv_net_ctrl(&c->b, NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, all, sizeof(all),
		DRV_TIMEOUT_MS);

	if (!ret)
		ret = drv_net_ctrl(&c->b, NOTF_COAL, VQ_SET, one, sizeof(one), DRV_TIMEOUT_MS);
	if (ret)
		fprintf(stderr, "vdrv: coalescing refused: %d\n", ret);
	return ret;
}

static int run(struct coal *c)
{
	int before, after;

	memcpy(c->mac_a, c->a.vu.config, 6);
	memcpy(c->mac_b, c->b.vu.config, 6);
	drv_ring_intr(&c->b.rx[0].ring, true); // without event index: every time
	for (unsigned i = 0; i < 100; i++) { // the back-end may need a moment to start its queues
		if (send_one(c))
			return 1;
		if (!drv_ring_wait(&c->b.rx[0].ring, 20))
			break;
	}
	if (until_last(c))
		return 1;
	before = trickle(c);
	if (before < 0 || configure(c, 1000, 1000000))
		return 1;
	// The longest that is held back is 20 ms: where frames take longer some calls come
	after = trickle(c);
	if (after < 0)
		return 1;
	// One alone: nothing follows that could send its call
	while (!drv_ring_wait(&c->b.rx[0].ring, 100))
		; // what was held back for the frames before
	if (send_one(c))
		return 1;
	if (drv_ring_wait(&c->b.rx[0].ring, 2000) || until_last(c)) {
		fputs("vdrv: a call that was held back never came\n", stderr);
		return 1;
	}
	printf("%d calls for %d frames, %d with coalescing; a single frame's call came\n", before,
		FRAMES, after);
	// A call that is held back when the driver changes its mind comes then
	if (send_one(c) || until_last(c) || configure(c, 0, 0))
		return 1;
	if (drv_ring_wait(&c->b.rx[0].ring, 2000)) {
		fputs("vdrv: the call that was held back is gone\n", stderr);
		return 1;
	}
	// The last call may still have been on its way; how many are saved is a matter of time
	return before < FRAMES - 1;
}

int vdrv_net_coal(int argc, char **argv)
{
	const char *a = NULL, *b = NULL;
	bool packed = false;
	static struct coal c;
	const struct dpu_opt opts[] = {
		{ "a", DPU_OPT_STR, &a, "PATH", "vhost-user socket that sends", 0, 0 },
		{ "b", DPU_OPT_STR, &b, "PATH", "vhost-user socket that is called", 0, 0 },
		{ "packed", DPU_OPT_FLAG, &packed, NULL, "packed rings", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv net-coal", "Have calls coalesced",
		"--a PATH --b PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!a || !b) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	struct drv_net_conf ca = { .path = a, .packed = packed };
	struct drv_net_conf cb = { .path = b,
		.packed = packed,
		.ctrl = true,
		.more = DRV_BIT(VIRTIO_NET_F_NOTF_COAL) | DRV_BIT(VQ_NOTF_COAL),
		.features_off = DRV_BIT(VIRTIO_RING_F_EVENT_IDX) };

	ret = drv_net_open(&c.a, &ca);
	if (!ret) {
		ret = drv_net_open(&c.b, &cb);
		if (ret)
			drv_net_close(&c.a);
	}
	if (ret) {
		fprintf(stderr, "vdrv: %s\n", strerror(-ret));
		return 1;
	}
	ret = run(&c);
	drv_net_close(&c.a);
	drv_net_close(&c.b);
	return ret;
}
