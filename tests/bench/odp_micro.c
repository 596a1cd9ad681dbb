// SPDX-License-Identifier: Apache-2.0
/*
 * Cycles per packet of the switch alone: two ports in memory, full bursts of 64-byte frames. One
 * flow each way; then a flow for each packet of a burst; then the same with masks down to layer 4.
 * Under callgrind, give --toggle-collect=odp_worker_turn and the number of one case.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "fake_port.h"

#define SAMPLES 4000
#define TURNS 16

struct bench {
	struct odp *dp;
	struct odp_worker *w;
	struct rte_mempool *pool;
	struct rte_mbuf *ring[2][ODP_BURST]; // packets that each port receives next
};

static const struct row {
	const char *name;
	unsigned flows; // each way, in turns from packet to packet
	const char *deeper; // matched besides the addresses
} rows[] = {
	{ "one flow", 1, "" },
	{ "32 flows", 32, "" },
	{ "32 flows, layer 4", 32, ",eth_type(0x0800),ipv4(proto=17),udp(dst=53)" },
};

static uint16_t rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)rxq;
	memcpy(pkts, drv, n * sizeof(*pkts));
	return n;
}

static uint16_t tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv, (void)txq;
	__asm__ volatile("" ::"r"(pkts) : "memory");
	return n;
}

static void caps(void *drv, struct odp_port_caps *out)
{
	(void)drv;
	*out = (struct odp_port_caps){ .up = true, .mtu = 1500 };
}

static const struct odp_port_ops ops = { .rx = rx, .tx = tx, .caps = caps };

/* A UDP packet to port 53. */
static void fill(uint8_t *f, uint8_t dst, uint8_t src)
{
	static const uint8_t rest[] = { 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1,
		10, 0, 0, 2, 4, 210, 0, 53, 0, 30, 0, 0 };

	fake_frame(f, dst, src, 0);
	memcpy(f + 12, rest, sizeof(rest));
}

static int port_add(struct bench *b, unsigned p)
{
	struct odp_port_conf pc = { .name = p ? "b" : "a",
		.kind = "fake",
		.n_rxq = 1,
		.n_txq = 1,
		.ops = &ops,
		.drv = b->ring[p] };
	struct odp_port *port;

	if (odp_port_add(b->dp, &pc, &port) < 0 || odp_rxq_attach(b->w, port, 0) < 0 ||
		odp_txq_attach(b->w, port, 0) < 0)
		return -1;
	for (unsigned i = 0; i < ODP_BURST; i++) {
		b->ring[p][i] = rte_pktmbuf_alloc(b->pool);
		if (!b->ring[p][i] || !rte_pktmbuf_append(b->ring[p][i], 64))
			return -1;
	}
	return 0;
}

/* The flows as the learning switch would have made them, or deeper ones, and their packets. */
static int prepare(struct bench *b, const struct row *t)
{
	odp_flow_flush(b->dp, NULL);
	for (unsigned i = 0; i < 2 * ODP_BURST; i++) {
		unsigned p = i % 2, host = 1 + i / 2 % t->flows;
		uint8_t src = (uint8_t)(p ? 0x80 + host : host), dst = (uint8_t)(src ^ 0x80);
		struct odp_actbuf a = { 0 };
		struct odp_key k, m;
		char text[160];
		size_t at;

		odp_actbuf_output(&a, 2 - p);
		fill(rte_pktmbuf_mtod(b->ring[p][i / 2], uint8_t *), dst, src);
		snprintf(text, sizeof(text),
			"in_port(%u),eth(src=02:00:00:00:00:%02x,dst=02:00:00:00:00:%02x)%s", p + 1,
			src, dst, t->deeper);
		if (odp_key_parse(b->dp, text, &k, &m, &at) < 0 ||
			odp_flow_put(b->dp, &k, &m, odp_actbuf_list(&a), a.len, true, "operator",
				NULL) < 0)
			return -1;
		odp_actbuf_fini(&a);
	}
	return 0;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void measure(const struct bench *b, const char *name)
{
	static uint64_t sample[SAMPLES];
	const size_t middle = SAMPLES / 2;

	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t = rte_rdtsc();

		for (unsigned i = 0; i < TURNS; i++)
			odp_worker_turn(b->w);
		sample[s] = rte_rdtsc() - t;
	}
	qsort(sample, SAMPLES, sizeof(sample[0]), by_value);
	printf("%-18s cycles/packet: median %.1f, best %.1f\n", name,
		(double)sample[middle] / (TURNS * 2 * ODP_BURST),
		(double)sample[0] / (TURNS * 2 * ODP_BURST));
}

int main(int argc, char **argv)
{
	struct bench b = { .pool = fake_eal(1023) };
	struct odp_conf conf = { .n_workers = 1, .pool = b.pool };
	struct odp_stats s;

	if (odp_create(&conf, &b.dp) < 0)
		return 1;
	b.w = odp_worker(b.dp, 0);
	if (port_add(&b, 0) < 0 || port_add(&b, 1) < 0)
		return 1;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (argc > 1 && (unsigned)atoi(argv[1]) != i)
			continue;
		if (prepare(&b, &rows[i]) < 0)
			return 1;
		measure(&b, rows[i].name);
	}
	odp_stats(b.dp, &s);
	return s.misses > 0; // then it was no measurement
}
