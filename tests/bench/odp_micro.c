// SPDX-License-Identifier: Apache-2.0
/* Cycles per packet of the switch alone: two ports in memory, one flow each way, full bursts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "fake_port.h"

#define SAMPLES 4000
#define TURNS 16

static struct rte_mbuf *ring[2][ODP_BURST]; // packets that each port receives next

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

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

int main(void)
{
	static const struct odp_port_ops ops = { .rx = rx, .tx = tx, .caps = caps };
	static uint64_t sample[SAMPLES];
	struct rte_mempool *pool = fake_eal(1023);
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp *dp;

	if (odp_create(&conf, &dp) < 0)
		return 1;
	struct odp_worker *w = odp_worker(dp, 0);

	for (unsigned p = 0; p < 2; p++) {
		struct odp_port_conf pc = { .name = p ? "b" : "a",
			.kind = "fake",
			.n_rxq = 1,
			.n_txq = 1,
			.ops = &ops,
			.drv = ring[p] };
		struct odp_port *port;

		if (odp_port_add(dp, &pc, &port) < 0 || odp_rxq_attach(w, port, 0) < 0 ||
			odp_txq_attach(w, port, 0) < 0)
			return 1;
		for (unsigned i = 0; i < ODP_BURST; i++) {
			struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
			char *to = m ? rte_pktmbuf_append(m, 64) : NULL;

			if (!to)
				return 1;
			fake_frame((uint8_t *)to, p ? 1 : 2, p ? 2 : 1, 0);
			ring[p][i] = m;
		}
	}
	// The flows as the learning switch would have made them.
	for (unsigned p = 0; p < 2; p++) {
		const char
			*text = p ? "in_port(2),eth(src=02:00:00:00:00:02,dst=02:00:00:00:00:01)"
				  : "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)";
		struct odp_action a = { .type = ODP_ACT_OUTPUT, .port = p ? 1 : 2 };
		struct odp_key k, m;
		size_t at;

		if (odp_key_parse(dp, text, &k, &m, &at) < 0 ||
			odp_flow_put(dp, &k, &m, &a, 1, false, "operator", NULL) < 0)
			return 1;
	}
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t = rte_rdtsc();

		for (unsigned i = 0; i < TURNS; i++)
			odp_worker_turn(w);
		sample[s] = rte_rdtsc() - t;
	}
	size_t middle = SAMPLES / 2;

	qsort(sample, SAMPLES, sizeof(sample[0]), by_value);
	printf("cycles/packet: median %.1f, best %.1f\n",
		(double)sample[middle] / (TURNS * 2 * ODP_BURST),
		(double)sample[0] / (TURNS * 2 * ODP_BURST));
	return 0;
}
