// SPDX-License-Identifier: Apache-2.0
/*
 * The flow table alone: cycles per lookup from 1 flow to a million, through the caches and without
 * them; flows put and deleted in a second; what masks that somebody else made cost.
 *
 * odp_lookup [flows subtables]: that case only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "classifier.h"
#include "emc.h"
#include "fake_port.h"
#include "smc.h"

#define KEYS_MAX (1024u * 1024)
#define BATCH 64u
#define STRIDE 7919u // flows lie in another order than packets come

enum cache { NO_LOOKUP, NO_CACHE, SIGNATURES, CACHES };

static const struct row {
	unsigned flows, subtables;
} rows[] = { { 1, 1 }, { 1000, 20 }, { 10000, 20 }, { 100000, 20 }, { 1000000, 20 } };

/* What a packet of a flow has in its headers; packets follow one another as they lie here. */
struct packet {
	uint32_t port, src, dst;
	uint16_t tp_dst;
	uint8_t tos;
};

static struct packet *packets;

static uint64_t rng = 88172645463325252;

static uint64_t rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static void key_of(const struct packet *p, struct odp_key *k)
{
	k->in_port = p->port;
	k->eth_type = dpu_be16_put(0x0800);
	k->ip_proto = 17;
	k->ip_tos = p->tos;
	k->ipv4.src = dpu_be32_put(p->src);
	k->ipv4.dst = dpu_be32_put(p->dst);
	k->tp_dst = dpu_be16_put(p->tp_dst);
}

/* Flows of different subtables differ in ip_tos, so that none overlap. */
static void mask_of(unsigned subtable, struct odp_key *m)
{
	memset(m, 0, sizeof(*m));
	m->in_port = UINT32_MAX;
	m->eth_type = dpu_be16_put(0xffff);
	m->ip_proto = m->ip_tos = 0xff;
	m->ipv4.src = dpu_be32_put(subtable ? UINT32_MAX << (subtable % 8) : UINT32_MAX);
	m->ipv4.dst = dpu_be32_put(UINT32_MAX << (subtable / 8 % 8));
	m->tp_dst = dpu_be16_put(0xffff);
}

static double seconds(uint64_t cycles)
{
	return (double)cycles / (double)rte_get_tsc_hz();
}

/* Flow i of the row: put, or deleted. Returns flows in a second. */
static double change(struct odp *dp, const struct row *t, bool put)
{
	static struct odp_key key[BATCH], mask[BATCH];
	struct odp_actbuf out = { 0 };
	struct odp_flow_req req[BATCH];
	uint64_t spent = 0;

	odp_actbuf_output(&out, 1);
	for (unsigned at = 0; at < t->flows; at += BATCH) {
		unsigned n = RTE_MIN(BATCH, t->flows - at);

		memset(key, 0, sizeof(key));
		for (unsigned i = 0; i < n; i++) {
			const struct packet *p = &packets[(uint64_t)(at + i) * STRIDE % t->flows];

			key_of(p, &key[i]);
			mask_of(p->tos, &mask[i]);
			req[i] = (struct odp_flow_req){ .key = &key[i],
				.mask = &mask[i],
				.actions = odp_actbuf_list(&out),
				.actions_len = out.len };
		}
		uint64_t start = rte_rdtsc();
		unsigned done = put ? odp_flow_put_batch(dp, req, n, "bench")
				    : odp_flow_del_batch(dp, req, n);

		spent += rte_rdtsc() - start;
		if (done != n)
			exit(1);
	}
	odp_actbuf_fini(&out);
	return t->flows / seconds(spent);
}

/* As a worker looks up: see find_flows() in worker.c. */
static void burst(const struct odp_view *v, struct odp_emc *emc, struct odp_smc *smc,
	const struct odp_kw *const *key, enum cache how)
{
	struct odp_flow *flow[ODP_BURST];
	uint32_t hash[ODP_BURST], missed = UINT32_MAX, unknown;

	if (how == CACHES && odp_emc_bypass(emc, ODP_BURST))
		how = SIGNATURES;
	for (unsigned i = 0; i < ODP_BURST; i++) {
		hash[i] = odp_emc_hash(v, key[i], ODP_DEPTH_L4, emc->salt);
		if (how == CACHES)
			odp_emc_prefetch(emc, hash[i], ODP_DEPTH_L4);
	}
	for (unsigned i = 0; i < ODP_BURST && how == CACHES; i++) {
		flow[i] = odp_emc_get(emc, key[i], hash[i], ODP_DEPTH_L4);
		if (flow[i])
			missed &= ~(1u << i);
	}
	if (how == CACHES)
		odp_emc_judge(emc, ODP_BURST, ODP_BURST - (unsigned)__builtin_popcount(missed));
	unknown = missed ? odp_smc_lookup_burst(smc, v, key, hash, missed, flow) : 0;
	if (unknown)
		odp_classifier_lookup_burst(v, key, unknown, flow);
	for (; missed; missed &= missed - 1) {
		unsigned i = (unsigned)__builtin_ctz(missed);

		if (how == CACHES)
			odp_emc_put(emc, key[i], hash[i], flow[i]);
		if (unknown & 1u << i)
			odp_smc_put(smc, v, key[i], hash[i], flow[i]);
	}
}

static uint64_t bursts(struct odp *dp, unsigned flows, unsigned n, enum cache how)
{
	static union {
		struct odp_key key;
		struct odp_kw kw;
	} keys[ODP_BURST];
	const struct odp_view *v = atomic_load(&dp->view);
	const struct odp_kw *all[ODP_BURST];
	struct odp_flow *flow[ODP_BURST];
	uint64_t start = rte_rdtsc();

	for (unsigned b = 0, at = 0; b < n; b++) {
		for (unsigned i = 0; i < ODP_BURST; i++) {
			key_of(&packets[at], &keys[i].key);
			all[i] = &keys[i].kw;
			at = at + 1 < flows ? at + 1 : 0;
		}
		__asm__ volatile("" ::: "memory");
		if (how == NO_CACHE)
			odp_classifier_lookup_burst(v, all, UINT32_MAX, flow);
		if (how > NO_CACHE)
			burst(v, dp->worker[0]->emc, dp->worker[0]->smc, all, how);
	}
	return rte_rdtsc() - start;
}

/* Cycles for each key, less what making the keys takes. */
static double lookups(struct odp *dp, unsigned flows, enum cache how)
{
	unsigned n = flows > 10000 ? 32000 : 10000;
	uint64_t best = UINT64_MAX, dry = UINT64_MAX;

	odp_emc_clear(dp->worker[0]->emc, atomic_load(&dp->view));
	bursts(dp, flows, n, how);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t t = bursts(dp, flows, n, how);

		best = RTE_MIN(best, t);
		t = bursts(dp, flows, n, NO_LOOKUP);
		dry = RTE_MIN(dry, t);
	}
	return (double)(best - dry) / (n * ODP_BURST);
}

static const char *const isa_name[ODP_ISAS] = { "plain", "AVX2", "AVX-512", "NEON" };

static void run(struct odp *dp, const struct row *t)
{
	for (unsigned i = 0; i < t->flows; i++)
		packets[i] = (struct packet){ .port = 1,
			.src = (uint32_t)(i * 256),
			.dst = (uint32_t)(rnd() << 8),
			.tp_dst = (uint16_t)rnd(),
			.tos = (uint8_t)(i % t->subtables) };
	double put = change(dp, t, true);

	printf("%7u flows, %2u subtables: cycles/lookup:", t->flows, t->subtables);
	for (enum odp_isa isa = 0; isa < ODP_ISAS; isa++) {
		if (!odp_search_for(isa, 1))
			continue;
		for (unsigned i = 0; i < dp->subtables->top; i++) {
			struct odp_subtable *st = dp->subtables->st[i];

			st->search = odp_search_for(isa, st->n_words);
		}
		printf(" %s %.0f,", isa_name[isa], lookups(dp, t->flows, NO_CACHE));
	}
	printf(" signatures %.0f, caches %.0f; put %.0f k/s", lookups(dp, t->flows, SIGNATURES),
		lookups(dp, t->flows, CACHES), put / 1000);
	printf(", delete %.0f k/s\n", change(dp, t, false) / 1000);
	odp_tick(dp);
}

int main(int argc, char **argv)
{
	struct odp_conf conf = { .n_workers = 1, .pool = fake_eal(1023) };
	struct fake_port port;
	struct odp *dp;

	packets = calloc(KEYS_MAX, sizeof(*packets));
	if (!packets || odp_create(&conf, &dp) < 0)
		return 1;
	fake_port_add(&port, dp, NULL, "a");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (argc < 3)
			run(dp, &rows[i]);
	if (argc >= 3) {
		struct row t = { .flows = (unsigned)strtoul(argv[1], NULL, 0),
			.subtables = (unsigned)strtoul(argv[2], NULL, 0) };

		if (t.flows == 0 || t.flows > KEYS_MAX || t.subtables == 0 || t.subtables > 64)
			return 2;
		run(dp, &t);
	}
	fake_port_del(&port, NULL);
	odp_destroy(dp);
	free(packets);
	return 0;
}
