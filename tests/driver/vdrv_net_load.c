// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv net-load: TSO frames of 64 KiB from one function to another for some seconds, and how many
 * bytes of them arrived. Both ends poll on one CPU and look at no byte of the data: the figure is
 * the back-end's.
 */
#include "vdrv.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "drv_net.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MSS 1448
#define HEADERS 54 // Ethernet, IPv4 and TCP without options
#define FRAME (HEADERS + 45 * MSS) // the most whole segments below 64 KiB
#define PIECE 32768 // what Linux has frames in: headers, then pieces of at most this size
#define FRAMES 32 // buffers of frames, used in turn
#define RING 1024

struct load {
	struct drv_net a, b;
	uint64_t at[FRAMES]; // guest addresses, virtio-net header first
	uint32_t next, in_flight;
	uint64_t bytes, frames, bad;
};

static void make_frame(uint8_t *f, const uint8_t dst[6], const uint8_t src[6])
{
	const uint16_t len = htobe16(FRAME - 14);
	uint32_t sum = 10 * 256 + 1 + 10 * 256 + 2 + 6 + FRAME - 34; // pseudo-header

	memset(f, 0, FRAME);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	f[12] = 8;
	f[14] = 0x45;
	memcpy(f + 16, &len, 2);
	f[22] = 64;
	f[23] = 6;
	f[26] = f[30] = 10;
	f[29] = 1;
	f[33] = 2;
	f[35] = f[37] = 80;
	f[46] = 0x50;
	sum = (sum & 0xffff) + (sum >> 16);
	f[50] = (uint8_t)(sum >> 8);
	f[51] = (uint8_t)sum;
}

static int prepare(struct load *l)
{
	static const struct virtio_net_hdr_v1 hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = HEADERS,
		.gso_size = MSS,
		.csum_start = 34,
		.csum_offset = 16 };
	static const uint8_t none[6];
	uint8_t mac_a[6] = { 2, 0, 0, 0, 0, 1 }, mac_b[6] = { 2, 0, 0, 0, 0, 2 }, f[60];

	if (memcmp(l->a.vu.config, none, 6) != 0)
		memcpy(mac_a, l->a.vu.config, 6);
	if (memcmp(l->b.vu.config, none, 6) != 0)
		memcpy(mac_b, l->b.vu.config, 6);
	for (unsigned i = 0; i < FRAMES; i++) {
		uint8_t *p = drv_mem_alloc(&l->a.mem, 0, DRV_NET_HDR + FRAME, 64);

		if (!p)
			return -ENOMEM;
		memcpy(p, &hdr, sizeof(hdr));
		make_frame(p + DRV_NET_HDR, mac_b, mac_a);
		l->at[i] = drv_mem_gpa(&l->a.mem, p);
	}
	// A back-end that learns shall know where b is
	drv_frame_make(f, mac_a, mac_b, 0, sizeof(f));
	return drv_net_send(&l->b, 0, NULL, f, sizeof(f));
}

static void send(struct load *l)
{
	struct drv_ring *r = &l->a.tx[0].ring;
	struct drv_used u;

	while (drv_ring_poll(r, &u))
		l->in_flight--;
	while (l->in_flight < FRAMES) {
		uint64_t at = l->at[l->next % FRAMES] + DRV_NET_HDR + HEADERS;
		const struct drv_seg s[3] = { { l->at[l->next % FRAMES], DRV_NET_HDR + HEADERS },
			{ at, PIECE }, { at + PIECE, FRAME - HEADERS - PIECE } };

		if (drv_ring_add(r, s, 3, 0, NULL) < 0)
			break;
		l->next++;
		l->in_flight++;
	}
	drv_ring_kick(r);
}

/* Take what arrived and post the buffers again. */
static void receive(struct load *l)
{
	struct drv_net_queue *q = &l->b.rx[0];
	struct drv_used u;
	unsigned n = 0;

	while (n++ < RING / 4 && drv_ring_poll(&q->ring, &u)) {
		const struct drv_net_buf *b = u.cookie;
		const struct drv_seg s = { b->gpa, l->b.buf_len };
		const struct virtio_net_hdr_v1 *h = (const void *)b->p;

		// Only a frame's first buffer has a header: frames are told by their length in it
		if (h->gso_size == MSS && h->hdr_len == HEADERS && h->num_buffers)
			l->frames++;
		memset(b->p, 0, DRV_NET_HDR);
		l->bytes += u.len;
		if (drv_ring_add(&q->ring, &s, 0, 1, u.cookie) < 0)
			l->bad++;
	}
	drv_ring_kick(&q->ring);
}

/* Bytes per second, 0: the first frame did not arrive. */
static double measure(struct load *l, uint64_t seconds)
{
	uint64_t start, end = dpu_now_ns() + 5000000000ULL, bytes, frames;

	drv_net_flush(&l->b, 0);
	while (!l->frames) { // the back-end may need a moment to start its queues
		if (dpu_now_ns() > end)
			return 0;
		send(l);
		receive(l);
	}
	start = dpu_now_ns();
	bytes = l->bytes;
	frames = l->frames;
	while (dpu_now_ns() - start < seconds * 1000000000) {
		send(l);
		receive(l);
	}
	l->bytes -= bytes;
	l->frames -= frames;
	return (double)l->bytes * 1e9 / (double)(dpu_now_ns() - start);
}

static int run(struct load *l, uint64_t seconds)
{
	double rate;
	int ret = prepare(l);

	if (ret) {
		fprintf(stderr, "vdrv: %s\n", strerror(-ret));
		return 1;
	}
	rate = measure(l, seconds);
	if (rate == 0 || !l->frames || l->bad || l->b.rx[0].ring.bad_used) {
		fputs("vdrv: no frame of 64 KiB arrives whole\n", stderr);
		return 1;
	}
	printf("{\"bytes_per_s\": %.0f, \"frames\": %lu, \"frame_bytes\": %d}\n", rate, l->frames,
		FRAME);
	return 0;
}

int vdrv_net_load(int argc, char **argv)
{
	const char *a = NULL, *b = NULL;
	uint64_t seconds = 1, buf = 4096, cpu = UINT64_MAX;
	bool packed = false, listening = false;
	static struct load l;
	const struct dpu_opt opts[] = {
		{ "a", DPU_OPT_STR, &a, "PATH", "vhost-user socket that sends", 0, 0 },
		{ "b", DPU_OPT_STR, &b, "PATH", "vhost-user socket that receives", 0, 0 },
		{ "seconds", DPU_OPT_UINT, &seconds, "N", "how long", 1, 3600 },
		{ "buffer", DPU_OPT_UINT, &buf, "BYTES", "receive buffers, merged", 1536, 65536 },
		{ "cpu", DPU_OPT_UINT, &cpu, "N", "run on this CPU", 0, 1023 },
		{ "listen", DPU_OPT_FLAG, &listening, NULL, "the back-end connects to us", 0, 0 },
		{ "packed", DPU_OPT_FLAG, &packed, NULL, "packed rings", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv net-load", "Send TSO frames and measure what arrives",
		"--a PATH --b PATH [OPTION]...", NULL, opts, COUNT(opts) };
	int ret = dpu_cli_parse(&cli, argc, argv);
	cpu_set_t set;

	if (ret)
		return ret == -ECANCELED ? 0 : 2;
	if (!a || !b) {
		dpu_cli_help(&cli, stderr);
		return 2;
	}
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (cpu != UINT64_MAX && sched_setaffinity(0, sizeof(set), &set)) {
		fprintf(stderr, "vdrv: CPU %lu: %s\n", cpu, strerror(errno));
		return 1;
	}
	struct drv_net_conf c = { .path = a,
		.listen = listening,
		.packed = packed,
		.mrg = true,
		.more = DRV_NET_CSUM | DRV_BIT(VIRTIO_NET_F_HOST_TSO4) |
			DRV_BIT(VIRTIO_NET_F_GUEST_TSO4),
		.ring_size = RING,
		.buf_len = (uint32_t)buf };

	ret = drv_net_open(&l.a, &c);
	c.path = b;
	if (!ret) {
		ret = drv_net_open(&l.b, &c);
		if (ret)
			drv_net_close(&l.a);
	}
	if (ret) {
		fprintf(stderr, "vdrv: %s: %s\n", c.path, strerror(-ret));
		return 1;
	}
	ret = run(&l, seconds);
	drv_net_close(&l.a);
	drv_net_close(&l.b);
	return ret;
}
