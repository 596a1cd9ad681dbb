// SPDX-License-Identifier: Apache-2.0
/*
 * CPU time of the switch alone for connections: two ports in memory, between which the frames of
 * odp_frames.c circulate through the stateful rules of odp-ct-1. "short [N]" takes N connections
 * that begin and end, of six packets; "conns N" packets of N that are up. Writing frames counts,
 * too: under callgrind, give --toggle-collect=odp_worker_turn, which is without.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_port.h"
#include "odp_ct.h"
#include "odp_frames.h"

#define WINDOW 224 // frames on their way from each port, as odp_load has them
#define RING 1024 // more than all frames
#define SLICES 64 // times that are compared

struct lane {
	struct rte_mbuf *pkt[RING];
	unsigned from, to; // free-running
};

struct bench {
	struct odp *dp;
	struct odp_worker *w;
	struct rte_mempool *pool;
	struct lane rx[2], tx[2];
	struct frame_gen gen;
	uint64_t packets;
};

static uint16_t rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct lane *l = drv;
	uint16_t i = 0;

	(void)rxq;
	for (; i < n && l->from != l->to; i++)
		pkts[i] = l->pkt[l->from++ % RING];
	return i;
}

static uint16_t tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct lane *l = (struct lane *)drv + 2; // of the same port

	(void)txq;
	for (uint16_t i = 0; i < n; i++)
		l->pkt[l->to++ % RING] = pkts[i];
	return n;
}

static void caps(void *drv, struct odp_port_caps *out)
{
	(void)drv;
	*out = (struct odp_port_caps){ .up = true, .mtu = 1500 };
}

static const struct odp_port_ops ops = { .rx = rx, .tx = tx, .caps = caps };

static int port_add(struct bench *b, unsigned p)
{
	struct odp_port_conf pc = { .name = p ? "b" : "a",
		.kind = "fake",
		.n_rxq = 1,
		.n_txq = 1,
		.ops = &ops,
		.drv = &b->rx[p] };
	struct odp_port *port;

	return odp_port_add(b->dp, &pc, &port) < 0 || odp_rxq_attach(b->w, port, 0) < 0 ||
			       odp_txq_attach(b->w, port, 0) < 0
		       ? -1
		       : 0;
}

/* As Conntrack in odp_pipelines.py. */
static int flows_add(struct bench *b)
{
#define TCP "eth_type(0x0800),ipv4(proto=6)"
	static const char *const flow[][2] = {
		{ "recirc_id(0),in_port(1)," TCP, "ct(zone=1),recirc(0x1)" },
		{ "recirc_id(0x1),in_port(1),ct_state(+est-inv+trk)," TCP,
			"ct(zone=2),recirc(0x2)" },
		{ "recirc_id(0x2),in_port(1),ct_state(+est-inv+trk)," TCP, "2" },
		{ "recirc_id(0),in_port(2)," TCP, "ct(zone=2),recirc(0x1)" },
		{ "recirc_id(0x1),in_port(2),ct_state(+est-inv+trk)," TCP,
			"ct(zone=1),recirc(0x2)" },
		{ "recirc_id(0x2),in_port(2),ct_state(+est-inv+trk)," TCP, "1" },
		{ "recirc_id(0x1),in_port(1),ct_state(+new+trk)," TCP ",tcp(dst=80)",
			"ct(commit,zone=1),ct(zone=2),recirc(0x2)" },
		{ "recirc_id(0x2),in_port(1),ct_state(+new+trk)," TCP ",tcp(dst=80)",
			"ct(commit,zone=2),2" },
	};

	for (unsigned i = 0; i < sizeof(flow) / sizeof(flow[0]); i++) {
		struct odp_key k, m;
		size_t at;

		if (odp_key_parse(b->dp, flow[i][0], &k, &m, &at) < 0 ||
			fake_put(b->dp, &k, &m, flow[i][1], false, NULL) < 0)
			return -1;
	}
	return 0;
}

static int send_first(struct bench *b, enum frame_port p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);

	if (!m)
		return -1;
	m->data_len = (uint16_t)(m->pkt_len = FRAME_LEN);
	if (frame_first(&b->gen, p, rte_pktmbuf_mtod(m, uint8_t *)))
		b->rx[p].pkt[b->rx[p].to++ % RING] = m;
	else
		rte_pktmbuf_free(m);
	return 0;
}

/* What was sent arrives, and its port sends the next frame. */
static void circulate(struct bench *b)
{
	for (unsigned p = 0; p < 2; p++)
		for (struct lane *l = &b->tx[p]; l->from != l->to;) {
			struct rte_mbuf *m = l->pkt[l->from++ % RING];

			b->packets++;
			if (frame_next(&b->gen, p, rte_pktmbuf_mtod(m, uint8_t *)))
				b->rx[p].pkt[b->rx[p].to++ % RING] = m;
			else
				rte_pktmbuf_free(m);
		}
}

static void turn(struct bench *b)
{
	odp_worker_turn(b->w);
	circulate(b);
}

/* Another load; what was on its way is forgotten. */
static int begin(struct bench *b, enum frame_kind kind, uint32_t n)
{
	for (unsigned p = 0; p < 2; p++)
		while (b->rx[p].from != b->rx[p].to)
			rte_pktmbuf_free(b->rx[p].pkt[b->rx[p].from++ % RING]);
	frame_gen_start(&b->gen, kind, n);
	for (unsigned i = 0; i < WINDOW; i++)
		if (send_first(b, FRAME_A) < 0 || send_first(b, FRAME_B) < 0)
			return -1;
	return 0;
}

/* CPU time: what others do meanwhile does not count. */
static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static uint64_t units(const struct bench *b)
{
	return b->gen.kind == FRAME_SHORT ? b->gen.done : b->packets;
}

static void measure(struct bench *b, uint64_t n, const char *what)
{
	double slice[SLICES];

	for (unsigned s = 0; s < SLICES; s++) {
		uint64_t from = units(b);
		double began = cpu_ns();

		while (units(b) - from < n / SLICES)
			turn(b);
		slice[s] = (cpu_ns() - began) / (double)(units(b) - from);
	}
	qsort(slice, SLICES, sizeof(slice[0]), by_value);
	printf("%lu of %s: median %.1f ns, best %.1f ns\n", units(b), what, slice[SLICES / 2],
		slice[0]);
}

/* Memory of connections is there, and was used before. */
static int warm(struct bench *b, uint64_t n)
{
	while (b->gen.done < n)
		turn(b);
	(void)odp_ct_flush(odp_conntrack(b->dp), -1);
	for (unsigned i = 0; i < 4; i++) { // until nobody holds them any more
		turn(b);
		odp_ct_tick(odp_conntrack(b->dp));
	}
	return begin(b, FRAME_SHORT, 0);
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct odp_conf conf = { .n_workers = 1, .ct_conns = 1u << 21 };
	uint32_t conns = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1000;
	uint64_t n = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
	struct odp_stats s;

	b.pool = conf.pool = fake_eal(4095);
	if (odp_create(&conf, &b.dp) < 0)
		return 1;
	b.w = odp_worker(b.dp, 0);
	if (port_add(&b, 0) < 0 || port_add(&b, 1) < 0 || flows_add(&b) < 0)
		return 1;
	if (argc > 1 && !strcmp(argv[1], "conns")) {
		if (begin(&b, FRAME_SETUP, conns) < 0)
			return 1;
		while (b.gen.opened < conns)
			turn(&b);
		if (begin(&b, FRAME_CONNS, conns) < 0)
			return 1;
		measure(&b, n ? n : 4000000, "packet");
	} else {
		if (begin(&b, FRAME_SHORT, 0) < 0 || warm(&b, argc > 3 ? n : 700000) < 0)
			return 1;
		measure(&b, argc > 2 ? conns : 800000, "connection");
	}
	odp_stats(b.dp, &s);
	return s.misses > 0; // then it was no measurement
}
