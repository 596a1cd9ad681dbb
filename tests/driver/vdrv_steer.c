// SPDX-License-Identifier: Apache-2.0
/*
 * vdrv net-steer: on which receive queue do packets arrive? VIRTIO 1.3, 5.1.6.5.5 (automatic
 * receive steering), 5.1.6.5.7 (RSS) and 5.1.6.4.3 (hash reports), seen from the driver.
 */
#include "vdrv.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "dpu_cli.h"
#include "dpu_clock.h"
#include "dpu_wire.h"
#include "drv_net.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FLOWS 64
#define EACH 4 // packets of a flow in one go
#define PAIRS 4
#define TABLE 16
#define LEN 60
#define PORT 5000
#define NOBODY UINT32_MAX

/* Of Microsoft's "Verifying the RSS Hash Calculation". */
static const uint8_t key[40] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25,
	0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb,
	0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

struct steer {
	struct drv_net a, b; // one pair, and PAIRS of them
	uint8_t mac_a[6], mac_b[6];
	uint32_t seq;
};

/* Where a frame came in, and what its header says. */
struct arrival {
	unsigned pair;
	uint32_t seq;
	uint32_t hash;
	uint16_t report;
};

static int bad(const char *what, unsigned flow, unsigned got, unsigned want)
{
	fprintf(stderr, "vdrv: %s: flow %u: got %u, want %u\n", what, flow, got, want);
	return 1;
}

/* Bit by bit, as the definition has it. */
static uint32_t toeplitz(const uint8_t *in, unsigned n)
{
	uint32_t hash = 0, window = (uint32_t)key[0] << 24 | key[1] << 16 | key[2] << 8 | key[3];

	for (unsigned bit = 0; bit < 8 * n; bit++) {
		unsigned next = bit + 32;

		if (in[bit / 8] & (0x80 >> bit % 8))
			hash ^= window;
		window = window << 1 | (key[next / 8] >> (7 - next % 8) & 1);
	}
	return hash;
}

/* UDP from 10.0.0.1, or with `back` to it; the port names the flow. FLOWS and more: no IP. */
static void make(const struct steer *s, uint8_t *f, unsigned flow, bool back, uint32_t seq)
{
	static const uint8_t ip[] = { 0x45, 0, 0, LEN - 14, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0 };
	unsigned port = PORT + flow;

	memset(f, 0, LEN);
	memcpy(f, back ? s->mac_a : s->mac_b, 6);
	memcpy(f + 6, back ? s->mac_b : s->mac_a, 6);
	if (flow < FLOWS) {
		f[12] = 8;
		memcpy(f + 14, ip, sizeof(ip));
		f[29] = back ? 2 : 1;
		f[30] = 10;
		f[33] = back ? 1 : 2;
	} else {
		f[12] = 0x88;
		f[13] = 0xb5;
	}
	f[back ? 36 : 34] = (uint8_t)(port >> 8);
	f[back ? 37 : 35] = (uint8_t)port;
	memcpy(f + 44, &seq, sizeof(seq));
}

/* The next frame that came in at `b` from a's address. False: none in 2 s. */
static bool arrive(struct steer *s, struct arrival *at)
{
	uint64_t end = dpu_now_ns() + 2000000000ULL;
	uint8_t f[2048];

	while (dpu_now_ns() < end) {
		for (unsigned p = 0; p < PAIRS; p++) {
			if (drv_net_recv(&s->b, p, NULL, f, sizeof(f)) < LEN ||
				memcmp(f + 6, s->mac_a, 6) != 0)
				continue;
			at->pair = p;
			memcpy(&at->seq, f + 44, sizeof(at->seq));
			at->hash = s->b.last.hash_value;
			at->report = s->b.last.hash_report;
			return true;
		}
		sched_yield();
	}
	return false;
}

/* EACH packets of a flow from a: all must come in on one pair and in order. The pair, or NOBODY. */
static uint32_t pair_of(struct steer *s, unsigned flow, struct arrival *at)
{
	uint32_t first = s->seq + 1, pair = NOBODY;
	uint8_t f[LEN];

	for (unsigned i = 0; i < EACH; i++) {
		make(s, f, flow, false, ++s->seq);
		if (drv_net_send(&s->a, 0, NULL, f, LEN))
			return NOBODY;
	}
	drv_net_flush(&s->a, 0);
	for (unsigned i = 0; i < EACH; i++) {
		if (!arrive(s, at) || at->seq != first + i || (i && at->pair != pair))
			return NOBODY;
		pair = at->pair;
	}
	return pair;
}

/* One packet of a flow from `b` on a pair; it has passed the card when a has it. */
static bool send_back(struct steer *s, unsigned flow, unsigned pair)
{
	uint64_t end = dpu_now_ns() + 2000000000ULL;
	uint8_t f[2048];

	make(s, f, flow, true, 0);
	if (drv_net_send(&s->b, pair, NULL, f, LEN))
		return false;
	drv_net_flush(&s->b, pair);
	while (dpu_now_ns() < end) {
		int len = drv_net_recv(&s->a, 0, NULL, f, sizeof(f));

		if (len >= LEN && memcmp(f, s->mac_a, 6) == 0 && memcmp(f + 6, s->mac_b, 6) == 0)
			return true;
		sched_yield();
	}
	return false;
}

/* Flows that b never transmitted use all of its pairs; then each comes in where it went out. */
static int automatic(struct steer *s)
{
	struct arrival at;
	unsigned got[PAIRS] = { 0 };
	uint32_t pair;

	for (unsigned flow = 0; flow < FLOWS; flow++) {
		pair = pair_of(s, flow, &at);
		if (pair == NOBODY)
			return bad("lost, torn apart or out of order", flow, 0, 0);
		got[pair]++;
	}
	for (unsigned p = 0; p < PAIRS; p++)
		if (got[p] < FLOWS / PAIRS / 4)
			return bad("flows of one pair", p, got[p], FLOWS / PAIRS);
	for (unsigned turn = 0; turn < 3; turn++) {
		for (unsigned flow = 0; flow < FLOWS; flow++)
			if (!send_back(s, flow, (flow + turn) % PAIRS))
				return bad(
					"no frame from the pair", flow, 0, (flow + turn) % PAIRS);
		for (unsigned flow = 0; flow < FLOWS; flow++) {
			pair = pair_of(s, flow, &at);
			if (pair != (flow + turn) % PAIRS)
				return bad(
					"not where it went out", flow, pair, (flow + turn) % PAIRS);
		}
	}
	printf("automatic: %u %u %u %u flows, then each where it went out\n", got[0], got[1],
		got[2], got[3]);
	return 0;
}

static int configure(struct steer *s, uint8_t cmd, const void *data, uint32_t len)
{
	int ret = drv_net_ctrl(&s->b, VIRTIO_NET_CTRL_MQ, cmd, data, len, DRV_TIMEOUT_MS);

	if (ret != VIRTIO_NET_OK)
		fprintf(stderr, "vdrv: command %u: answer %d\n", cmd, ret);
	return ret != VIRTIO_NET_OK;
}

static unsigned table_entry(unsigned i)
{
	return (i * 7 + 3) % PAIRS;
}

/* By the driver's table, each header with the hash that led there. */
static int rss(struct steer *s)
{
	struct {
		uint32_t types;
		uint16_t mask, unclassified, table[TABLE], max_tx;
		uint8_t key_len, key[40];
	} __attribute__((packed)) c = { .types = VIRTIO_NET_RSS_HASH_TYPE_UDPv4,
		.mask = TABLE - 1,
		.unclassified = 2,
		.max_tx = PAIRS,
		.key_len = 40 };
	struct arrival at;
	uint32_t pair;

	for (unsigned i = 0; i < TABLE; i++)
		c.table[i] = (uint16_t)table_entry(i);
	memcpy(c.key, key, sizeof(key));
	if (configure(s, VIRTIO_NET_CTRL_MQ_RSS_CONFIG, &c, sizeof(c)))
		return 1;
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		uint8_t f[LEN];
		uint32_t want;

		make(s, f, flow, false, 0);
		want = toeplitz(f + 26, 12);
		pair = pair_of(s, flow, &at);
		if (pair != table_entry(want % TABLE))
			return bad(
				"not where the table says", flow, pair, table_entry(want % TABLE));
		if (at.hash != want || at.report != VIRTIO_NET_HASH_REPORT_UDPv4)
			return bad("hash", flow, at.hash, want);
	}
	pair = pair_of(s, FLOWS, &at);
	if (pair != 2 || at.report != VIRTIO_NET_HASH_REPORT_NONE || at.hash)
		return bad("unclassified", FLOWS, pair, 2);
	puts("RSS: each where the table says, with its hash");
	return 0;
}

static int one_pair(struct steer *s)
{
	const uint16_t one = 1;
	struct arrival at;

	if (configure(s, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &one, sizeof(one)))
		return 1;
	for (unsigned flow = 0; flow <= FLOWS; flow++)
		if (pair_of(s, flow, &at) != 0)
			return bad("not the only pair", flow, at.pair, 0);
	puts("one pair: all there");
	return 0;
}

static int run(struct steer *s)
{
	int ret;

	memcpy(s->mac_a, s->a.vu.config, 6);
	memcpy(s->mac_b, s->b.vu.config, 6);
	// The switch learns who is where, and the back-end may need a moment to start its queues
	for (unsigned i = 0; i < 3 && !send_back(s, 0, 0); i++)
		;
	ret = automatic(s);
	if (!ret)
		ret = rss(s);
	return ret ? ret : one_pair(s);
}

int vdrv_net_steer(int argc, char **argv)
{
	const char *a = NULL, *b = NULL;
	bool packed = false;
	static struct steer s;
	const struct dpu_opt opts[] = {
		{ "a", DPU_OPT_STR, &a, "PATH", "vhost-user socket that sends", 0, 0 },
		{ "b", DPU_OPT_STR, &b, "PATH", "vhost-user socket of 4 queue pairs", 0, 0 },
		{ "packed", DPU_OPT_FLAG, &packed, NULL, "packed rings", 0, 0 },
	};
	const struct dpu_cli cli = { "vdrv net-steer",
		"See on which receive queue each flow arrives", "--a PATH --b PATH [OPTION]...",
		NULL, opts, COUNT(opts) };
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
		.pairs = PAIRS,
		.more = DRV_BIT(VIRTIO_NET_F_RSS) | DRV_BIT(VIRTIO_NET_F_HASH_REPORT) };

	ret = drv_net_open(&s.a, &ca);
	if (!ret) {
		ret = drv_net_open(&s.b, &cb);
		if (ret)
			drv_net_close(&s.a);
	}
	if (ret) {
		fprintf(stderr, "vdrv: %s\n", strerror(-ret));
		return 1;
	}
	ret = run(&s);
	drv_net_close(&s.a);
	drv_net_close(&s.b);
	return ret;
}
