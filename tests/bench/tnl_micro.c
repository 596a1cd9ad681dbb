// SPDX-License-Identifier: Apache-2.0
/*
 * Cycles per packet into a tunnel and out of one, with conntrack in between: a guest's port and an
 * uplink in memory, full bursts of 64-byte frames of one connection. Each case once on the fused
 * path and once step by step. Under callgrind, give --toggle-collect=odp_worker_turn and the number
 * of one case.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "fake_port.h"
#include "inet.h"
#include "odp_tnl.h"
#include "sw_offload.h"

#define SAMPLES 1000
#define TURNS 16
#define FRAME_LEN 64u
#define VXLAN_LEN 50u

static const struct row {
	const char *name;
	bool in, step_by_step;
	bool plain; // from one port to the other, for comparison
} rows[] = {
	{ "vxlan out, fused", false, false, false },
	{ "vxlan in, fused", true, false, false },
	{ "vxlan out", false, true, false },
	{ "vxlan in", true, true, false },
	{ "no tunnel, fused", false, false, true },
};

struct end {
	struct bench *b;
	struct odp_port *port;
	unsigned n; // frames that it receives in the next turn
	bool again; // what was sent is what is received next
	unsigned outer; // bytes of headers around what is sent here
	struct rte_mbuf *pkts[ODP_BURST];
};

struct bench {
	struct odp *dp;
	struct odp_worker *w;
	struct rte_mempool *pool;
	struct end guest, up;
	uint64_t sent;
};

static uint16_t rx(void *drv, uint16_t rxq, struct rte_mbuf **pkts, uint16_t n)
{
	struct end *e = drv;

	(void)rxq;
	n = RTE_MIN(n, (uint16_t)e->n);
	memcpy(pkts, e->pkts, n * sizeof(*pkts));
	e->n = 0;
	return n;
}

/* As it was received: headers that came off are still in front of it. */
static void restore(struct end *from, struct end *to, struct rte_mbuf *m)
{
	if (to->outer)
		(void)rte_pktmbuf_prepend(m, (uint16_t)to->outer);
	else
		(void)rte_pktmbuf_adj(m, (uint16_t)from->outer);
	to->pkts[to->n++] = m;
}

static uint16_t tx(void *drv, uint16_t txq, struct rte_mbuf **pkts, uint16_t n)
{
	struct end *e = drv, *other = e == &e->b->up ? &e->b->guest : &e->b->up;

	(void)txq;
	e->b->sent += n;
	for (uint16_t i = 0; i < n; i++) {
		if (other->again)
			restore(e, other, pkts[i]);
		else
			rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

static void caps(void *drv, struct odp_port_caps *out)
{
	(void)drv;
	*out = (struct odp_port_caps){ .up = true, .mtu = 9000 };
}

static const struct odp_port_ops ops = { .rx = rx, .tx = tx, .caps = caps };

/* UDP between 10.0.0.1, behind the guest's port, and 10.0.0.2, with outer headers from there. */
static size_t frame(uint8_t *f, bool in, unsigned outer)
{
	uint8_t *p = f + outer, *ip = p + 14;
	size_t len = FRAME_LEN - 4; // without the FCS

	memset(f, 0, VXLAN_LEN + len);
	fake_frame(p, in ? 1 : 2, in ? 2 : 1, 0);
	odp_put16(p + 12, ODP_ETH_IPV4);
	memcpy(ip, (uint8_t[]){ 0x45, 0, 0, (uint8_t)(len - 14), 0, 0, 0x40, 0, 64, 17 }, 10);
	memcpy(ip + 12, (uint8_t[]){ 10, 0, 0, in ? 2 : 1, 10, 0, 0, in ? 1 : 2 }, 8);
	odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	odp_put16(ip + 20, in ? 53 : 1234);
	odp_put16(ip + 22, in ? 1234 : 53);
	odp_put16(ip + 24, (uint32_t)len - 34);
	if (!outer)
		return len;
	memcpy(f, (uint8_t[]){ 2, 0xff, 0, 0, 0, 1, 2, 0xff, 0, 0, 0, 2, 8, 0 }, 14);
	ip = f + 14;
	memcpy(ip, (uint8_t[]){ 0x45, 0, 0, (uint8_t)(len + 36), 0, 0, 0x40, 0, 64, 17 }, 10);
	memcpy(ip + 12, (uint8_t[]){ 192, 0, 2, 2, 192, 0, 2, 1 }, 8);
	odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	odp_put16(ip + 20, 50000);
	odp_put16(ip + 22, 4789);
	odp_put16(ip + 24, (uint32_t)len + 16);
	ip[28] = 8;
	ip[34] = 5;
	return VXLAN_LEN + len;
}

static void receive(struct bench *b, bool in, unsigned n)
{
	struct end *e = in ? &b->up : &b->guest;
	uint8_t f[256];
	size_t len = frame(f, in, e->outer);

	for (e->n = 0; e->n < n; e->n++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(b->pool);

		if (!m)
			exit(1);
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), f, len);
		e->pkts[e->n] = m;
	}
}

static int flow(struct bench *b, const char *key, const char *actions)
{
	struct odp_key k, m;
	size_t at;

	return odp_key_parse(b->dp, key, &k, &m, &at) < 0
		       ? -1
		       : fake_put(b->dp, &k, &m, actions, true, NULL);
}

static int port_add(struct bench *b, struct end *e, const char *name)
{
	struct odp_port_conf pc = {
		.name = name, .kind = "fake", .n_rxq = 1, .n_txq = 1, .ops = &ops, .drv = e
	};

	e->b = b;
	return odp_port_add(b->dp, &pc, &e->port) < 0 || odp_rxq_attach(b->w, e->port, 0) < 0 ||
			       odp_txq_attach(b->w, e->port, 0) < 0
		       ? -1
		       : 0;
}

static int underlay(struct bench *b)
{
	const uint8_t ours[6] = { 2, 0xff, 0, 0, 0, 1 }, theirs[6] = { 2, 0xff, 0, 0, 0, 2 };
	const struct odp_ip us = { .family = 4, .a = { 192, 0, 2, 1 } };
	const struct odp_ip them = { .family = 4, .a = { 192, 0, 2, 2 } };
	const struct odp_tnl_conf tun = { .name = "tun", .type = ODP_TNL_VXLAN };
	struct odp_ul *ul = odp_underlay(b->dp);
	struct odp_port *port;

	return odp_tnl_add(b->dp, &tun, &port) < 0 || odp_ul_if_set(ul, 2, 0, ours, 1600) < 0 ||
			       odp_ul_addr_add(ul, 2, 0, &us, 24) < 0 ||
			       odp_ul_neigh_set(ul, 2, 0, &them, theirs) < 0
		       ? -1
		       : 0;
}

#define EST "eth_type(0x0800),ct_state(+est+trk-inv)"
#define NEW "eth_type(0x0800),ct_state(+new+trk-inv)"

/* The rules that stateful policy comes to, and a connection that they let pass. */
static int prepare(struct bench *b, const struct row *t)
{
	static const char *const plain[][2] = {
		{ "in_port(1),eth_type(0x0800)", "ct(zone=1),recirc(1)" },
		{ "recirc_id(1),in_port(1)," NEW, "ct(commit,zone=1),2" },
		{ "recirc_id(1),in_port(1)," EST, "2" },
		{ "in_port(2),eth_type(0x0800)", "ct(zone=1),recirc(2)" },
		{ "recirc_id(2),in_port(2)," EST, "1" },
	};
	static const char *const flows[][2] = {
		{ "in_port(1),eth_type(0x0800)", "ct(zone=1),recirc(1)" },
		{ "recirc_id(1),in_port(1)," NEW,
			"ct(commit,zone=1),set(tunnel(tun_id=5,dst=192.0.2.2,flags(df))),3" },
		{ "recirc_id(1),in_port(1)," EST,
			"set(tunnel(tun_id=5,dst=192.0.2.2,flags(df))),3" },
		{ "in_port(3),tunnel(tun_id=0x5,src=192.0.2.2,dst=192.0.2.1),eth_type(0x0800)",
			"ct(zone=1),recirc(2)" },
		{ "recirc_id(2),in_port(3)," EST, "1" },
	};
	struct odp_conf conf = {
		.n_workers = 1, .pool = b->pool, .ct_conns = 1024, .step_by_step = t->step_by_step
	};

	if (odp_create(&conf, &b->dp) < 0)
		return -1;
	b->up.outer = t->plain ? 0 : VXLAN_LEN;
	b->w = odp_worker(b->dp, 0);
	if (port_add(b, &b->guest, "guest") < 0 || port_add(b, &b->up, "up") < 0 || underlay(b) < 0)
		return -1;
	for (unsigned i = 0; i < sizeof(flows) / sizeof(flows[0]); i++)
		if (flow(b, (t->plain ? plain : flows)[i][0], (t->plain ? plain : flows)[i][1]) < 0)
			return -1;
	for (unsigned i = 0; i < 8; i++) {
		receive(b, i % 2, 4);
		while (odp_worker_turn(b->w) || odp_upcall_poll(b->dp))
			continue;
	}
	receive(b, t->in, ODP_BURST);
	(t->in ? &b->up : &b->guest)->again = true;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* 0 when every packet came through. */
static int measure(struct bench *b, const char *name)
{
	static uint64_t sample[SAMPLES];
	const size_t middle = SAMPLES / 2;

	b->sent = 0;
	for (unsigned s = 0; s < SAMPLES; s++) {
		uint64_t t = rte_rdtsc();

		for (unsigned i = 0; i < TURNS; i++)
			odp_worker_turn(b->w);
		sample[s] = rte_rdtsc() - t;
	}
	qsort(sample, SAMPLES, sizeof(sample[0]), by_value);
	printf("%-18s cycles/packet: median %.1f, best %.1f\n", name,
		(double)sample[middle] / (TURNS * ODP_BURST),
		(double)sample[0] / (TURNS * ODP_BURST));
	return b->sent == (uint64_t)SAMPLES * TURNS * ODP_BURST ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct rte_mempool *pool = fake_eal(1023);

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bench b = { .pool = pool };

		if (argc > 1 && (unsigned)atoi(argv[1]) != i)
			continue;
		if (prepare(&b, &rows[i]) < 0 || measure(&b, rows[i].name) < 0)
			return 1;
		struct odp_stats s;

		odp_stats(b.dp, &s);
		if ((s.fused_hits == 0) != rows[i].step_by_step)
			return 1;
	}
	return 0;
}
