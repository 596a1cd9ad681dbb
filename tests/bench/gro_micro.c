// SPDX-License-Identifier: Apache-2.0
/*
 * Cycles per segment of TCP that goes from one port to another, which has segments merged or not:
 * streams that can be merged, and such as a sender could choose to make work. Under callgrind, give
 * --toggle-collect=odp_worker_turn and the number of one case.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "fake_port.h"
#include "inet.h"

#define SAMPLES 8000u
#define SIZE 1448u

static const struct row {
	const char *name;
	uint16_t len; // payload
	uint16_t conns; // take turns
	bool good; // the checksum was verified by the device
	bool udp, gap, wrong;
} rows[] = {
	{ .name = "UDP", .len = SIZE, .conns = 1, .udp = true },
	{ .name = "a stream, verified", .len = SIZE, .conns = 1, .good = true },
	{ .name = "a stream", .len = SIZE, .conns = 1 },
	{ .name = "4 streams", .len = SIZE, .conns = 4 },
	{ .name = "32 streams", .len = SIZE, .conns = ODP_BURST },
	{ .name = "segments of 1 byte", .len = 1, .conns = 1 },
	{ .name = "every other one lost", .len = SIZE, .conns = 1, .gap = true },
	{ .name = "wrong checksums", .len = SIZE, .conns = 1, .wrong = true },
};

static struct rte_mempool *pool;
static struct rte_mbuf *in[ODP_BURST];
static unsigned n_in, n_out;

static uint16_t rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv;
	(void)rxq;
	n = RTE_MIN(n, (uint16_t)n_in);
	memcpy(pkts, in, n * sizeof(*pkts));
	n_in -= n;
	return n;
}

static uint16_t tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	(void)drv;
	(void)txq;
	n_out += n;
	rte_pktmbuf_free_bulk(pkts, n);
	return n;
}

static void caps(void *drv, struct odp_port_caps *out)
{
	*out = (struct odp_port_caps){ .up = true,
		.mtu = 1500,
		.csum = true,
		.multi_seg = true,
		.tso4 = true,
		.gro = drv != NULL };
}

static const struct odp_port_ops ops = { .rx = rx, .tx = tx, .caps = caps };

static uint32_t make(uint8_t *f, const struct row *t, unsigned i)
{
	uint8_t *ip = f + 14, *tcp = ip + 20;
	uint32_t l4 = 32u + t->len, k = i / t->conns;

	memset(f, 0, 66u + t->len);
	f[0] = f[6] = 2;
	odp_put16(f + 12, ODP_ETH_IPV4);
	memcpy(ip, (uint8_t[]){ 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, t->udp ? 17 : 6 }, 10);
	odp_put16(ip + 2, 20 + l4);
	odp_put16(ip + 4, k);
	memcpy(ip + 12, (uint8_t[]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
	odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	odp_put16(tcp, 80);
	odp_put16(tcp + 2, 5000 + i % t->conns);
	odp_put32(tcp + 4, k * t->len * (t->gap ? 2u : 1u));
	tcp[12] = 0x80;
	tcp[13] = 0x10;
	for (uint32_t b = 0; b < t->len; b++)
		tcp[32 + b] = (uint8_t)(b + k);
	odp_put16(tcp + 16, (uint16_t)~odp_fold(odp_sum(tcp, l4, odp_sum(ip + 12, 8, 6 + l4))));
	tcp[16] ^= t->wrong;
	return 34 + l4;
}

static void receive(const struct row *t)
{
	static uint8_t frame[ODP_BURST][1600];
	static const struct row *made;
	static uint32_t len;

	for (unsigned i = 0; t != made && i < ODP_BURST; i++)
		len = make(frame[i], t, i);
	made = t;
	for (n_in = 0; n_in < ODP_BURST; n_in++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		if (!m)
			exit(1);
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), frame[n_in], len);
		m->ol_flags = t->good ? RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
		in[n_in] = m;
	}
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void measure(struct odp_worker *w, const struct row *t, bool merge)
{
	static uint64_t sample[SAMPLES];
	const size_t middle = SAMPLES / 2;

	n_out = 0;
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t tsc;

		receive(t);
		tsc = rte_rdtsc();
		odp_worker_turn(w);
		sample[s] = rte_rdtsc() - tsc;
	}
	qsort(sample, SAMPLES, sizeof(sample[0]), by_value);
	printf("%-22s %-6s %5.1f frames of %u, cycles/segment: median %.1f, best %.1f\n", t->name,
		merge ? "merged" : "apart", (double)n_out / SAMPLES, ODP_BURST,
		(double)sample[middle] / ODP_BURST, (double)sample[0] / ODP_BURST);
}

/* From port 1 to port 2. 0 or an error. */
static int run(const struct row *t, bool merge)
{
	const struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp_port_conf from = { .name = "from",
		.kind = "fake",
		.n_rxq = 1,
		.n_txq = 1,
		.ops = &ops },
			     to = from;
	struct odp_key key = { .in_port = 1 }, mask = { .in_port = UINT32_MAX };
	struct odp_port *port[2];
	struct odp_worker *w;
	struct odp *dp;
	int ret = odp_create(&conf, &dp);

	if (ret < 0)
		return ret;
	w = odp_worker(dp, 0);
	to.name = "to";
	to.drv = merge ? &to : NULL;
	ret = odp_port_add(dp, &from, &port[0]);
	if (ret == 0)
		ret = odp_port_add(dp, &to, &port[1]);
	if (ret == 0)
		ret = odp_rxq_attach(w, port[0], 0);
	if (ret == 0)
		ret = odp_txq_attach(w, port[1], 0);
	if (ret == 0)
		ret = fake_put(dp, &key, &mask, "2", false, NULL);
	if (ret == 0)
		measure(w, t, merge);
	return ret; // the datapath goes with the process
}

int main(int argc, char **argv)
{
	pool = fake_eal(1023);
	for (unsigned i = 0; i < 2 * RTE_DIM(rows); i++)
		if ((argc < 2 || (unsigned)atoi(argv[1]) == i) && run(&rows[i / 2], i % 2) < 0)
			return 1;
	return 0;
}
