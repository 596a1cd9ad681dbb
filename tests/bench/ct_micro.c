// SPDX-License-Identifier: Apache-2.0
/*
 * Connection tracking alone: established TCP segments per second over so many connections, new
 * connections per second, bytes per connection. One core; under callgrind give
 * --toggle-collect=odp_ct_track and a number of connections.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "odp_ct.h"

#define BURST 32u
#define MAX (1u << 20)

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Segment of connection i; dir 1: of the server. */
static void fill(struct odp_ct_pkt *p, uint8_t *l4, uint32_t i, unsigned dir, uint8_t flags,
	uint32_t seq, uint32_t ack)
{
	uint8_t *client = dir ? p->key.dst : p->key.src, *server = dir ? p->key.src : p->key.dst;
	dpu_be32 v;

	memset(p, 0, sizeof(*p));
	memset(l4, 0, 20);
	p->key.l3 = 4;
	p->key.proto = 6;
	client[0] = 10;
	client[1] = (uint8_t)(i >> 16);
	client[2] = (uint8_t)(i >> 8);
	client[3] = (uint8_t)i;
	server[0] = 11;
	l4[dir ? 2 : 0] = 0x80;
	l4[dir ? 1 : 3] = 80;
	v = dpu_be32_put(seq);
	memcpy(l4 + 4, &v, 4);
	v = dpu_be32_put(ack);
	memcpy(l4 + 8, &v, 4);
	l4[12] = 0x50;
	l4[13] = flags;
	l4[14] = 0x40;
	p->l4 = l4;
	p->l4_len = p->l4_total = 20;
	p->bytes = 64;
	(void)odp_ct_key_fill(&p->key, l4, 20);
}

static int handshake(struct odp_ct *ct, uint32_t i, uint64_t now_ms)
{
	static const struct odp_ct_commit plain;
	struct odp_ct_pkt p;
	uint8_t l4[20];

	fill(&p, l4, i, 0, 0x02, 1000, 0);
	odp_ct_track(ct, 0, &p, 1, now_ms);
	int ret = odp_ct_commit(ct, 0, &p, &plain, now_ms);

	fill(&p, l4, i, 1, 0x12, 5000, 1001);
	odp_ct_track(ct, 0, &p, 1, now_ms);
	fill(&p, l4, i, 0, 0x10, 1001, 5001);
	odp_ct_track(ct, 0, &p, 1, now_ms);
	return ret;
}

static void established(struct odp_ct *ct, uint32_t conns, unsigned rounds)
{
	static struct odp_ct_pkt p[BURST * 64];
	static uint8_t l4[BURST * 64][20];
	uint64_t done = 0, bad = 0;
	double took = 0;
	uint32_t x = 1;

	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < BURST * 64; i++) {
			x = x * 1664525u + 1013904223u;
			fill(&p[i], l4[i], (uint32_t)(((uint64_t)x * conns) >> 32), x >> 7 & 1,
				0x10, x >> 7 & 1 ? 5001 : 1001, x >> 7 & 1 ? 1001 : 5001);
		}
		unsigned again = conns <= 1000 ? 16 : 1; // packets stay in the cache either way
		double from = now_s();

		for (unsigned k = 0; k < again; k++)
			for (unsigned i = 0; i < BURST * 64; i += BURST) {
				odp_ct_track(ct, 0, p + i, BURST, 100 + r);
				odp_ct_quiescent(ct, 0);
			}
		took += now_s() - from;
		done += (uint64_t)again * BURST * 64;
		for (unsigned i = 0; i < BURST * 64; i++)
			bad += !(p[i].state & ODP_CS_EST);
	}
	printf("established, %7u connections: %6.2f M/s, %.1f ns%s\n", conns,
		(double)done / took * 1e-6, took / (double)done * 1e9, bad ? " (WRONG)" : "");
}

int main(int argc, char **argv)
{
	static const uint32_t steps[] = { 1, 1000, 100000, 1000000 };
	struct odp_ct_conf conf = {
		.max_conns = MAX, .n_workers = 1, .seed = { 0x1234567890abcdef, 0xfedcba0987654321 }
	};
	uint32_t only = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0, made = 0;
	struct odp_ct *ct;

	if (odp_ct_create(&conf, &ct) < 0)
		return 1;
	odp_ct_online(ct, 0);
	printf("memory per connection: %.0f bytes\n", (double)odp_ct_memory(ct) / MAX);
	for (unsigned s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		double from = now_s();
		uint32_t before = made;

		for (; made < steps[s]; made++) {
			if (handshake(ct, made, 1) < 0)
				return 1;
			if (made % BURST == 0)
				odp_ct_quiescent(ct, 0);
		}
		if (made - before > 10000)
			printf("new, handshake of three segments: %6.2f M connections/s\n",
				(double)(made - before) / (now_s() - from) * 1e-6);
		if (!only || only == steps[s])
			established(ct, steps[s], only ? 20 : 400);
	}
	odp_ct_destroy(ct);
	return 0;
}
