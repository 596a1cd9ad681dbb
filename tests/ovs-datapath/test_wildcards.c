// SPDX-License-Identifier: Apache-2.0
/*
 * No flow is wider than the decision it was made of (docs/attacks.md OV-17; CVE-2020-35498 and
 * CVE-2023-1668 were such flows in Open vSwitch).
 *
 * Hostile frames are decided on, one by one, under many sets of operator's flows. For each, bits of
 * the frame are turned over: wherever the flow that took the frame takes the changed one too, the
 * slow path, asked by itself, must say the same for that, and the caches of a whole turn must do
 * what it says.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

#include "bridge.h"
#include "classifier.h"
#include "extract.h"
#include "random_flows.h"
#include "upcall.h"

#ifdef TEST_SANITIZED
#define BASES 20000u
#else
#define BASES 1000000u
#endif
#define EPOCH 1000u // frames under one set of flows
#define FLIPS 12u // bits for each frame that is not tried whole
#define WHOLE 64u // of so many frames one is tried bit by bit
#define N_PORTS 4u
#define NOTHING 0u // ports: dropped
#define SKIP UINT32_MAX

static struct rte_mempool *pool;
static struct odp *dp;
static struct fake_port p[N_PORTS];
static struct rnd_flows flows;
static struct hostile rnd = { .state = 0x9e3779b97f4a7c15 };
static uint64_t n_base, n_flips, n_wild, n_operator, n_bridge, n_malformed;

/* ---- what the slow path says ---- */

static uint32_t ports_of(const struct odp_act *list, size_t len)
{
	uint32_t ports = 0;

	ODP_ACTS_FOREACH(a, list, len)
	{
		if (a->type == ODP_ACT_METER) // of a flood: how much, not where
			continue;
		assert_int_equal(a->type, ODP_ACT_OUTPUT);
		for (unsigned i = 0; i < odp_act_n_outputs(a); i++)
			ports |= 1u << ((const struct odp_act_output *)a)->port[i];
	}
	return ports;
}

/* The words that any flow looks at. False: headers that they are in are no good. */
static bool key_of(const uint8_t *f, size_t len, uint32_t port, struct odp_kw *k)
{
	const struct odp_view *v = atomic_load(&dp->view);
	struct odp_key key = { 0 };
	size_t n = len < ODP_EXTRACT_MAX ? len : ODP_EXTRACT_MAX;
	int ret = odp_extract(f, n, len, port, 0, v->map | ODP_WANT_L2, &key);

	*k = odp_kw(&key);
	return ret == 0;
}

/* The operator's word, else the learning switch's. */
static uint32_t decision(const struct odp_kw *k)
{
	const struct rnd_flow *f = rnd_find(&flows, k);
	const struct odp_act *list;
	struct odp_key key;
	size_t len;

	if (f)
		return f->ports;
	memcpy(&key, k, sizeof(key));
	assert_int_equal(odp_bridge_would(dp, &key, &list, &len), 0);
	return ports_of(list, len);
}

static const struct odp_flow *flow_of(const struct odp_kw *k)
{
	const struct odp_view *v = atomic_load(&dp->view);
	struct odp_kw masked;

	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		masked.w[i] = k->w[i] & v->any.w[i];
	return odp_classifier_lookup(v, &masked);
}

/* ---- what the datapath does ---- */

/* Frames that went out by each port. */
static void settle(unsigned got[N_PORTS])
{
	unsigned n;

	do {
		n = odp_worker_turn(odp_worker(dp, 0));
		n += odp_upcall_poll(dp);
	} while (n > 0);
	for (unsigned i = 0; i < N_PORTS; i++) {
		got[i] = p[i].n_out;
		fake_port_reset(&p[i]);
	}
}

static uint32_t send_one(unsigned in, const uint8_t *f, size_t len)
{
	unsigned got[N_PORTS];
	uint32_t ports = 0;

	fake_port_push(&p[in], pool, f, len);
	settle(got);
	for (unsigned i = 0; i < N_PORTS; i++) {
		assert_in_range(got[i], 0, 1);
		ports |= got[i] << odp_port_no(p[i].port);
	}
	return ports;
}

/* ---- one frame and its neighbours ---- */

static void show(const char *what, const uint8_t *f, size_t len)
{
	print_message("%s, frame of %zu bytes:", what, len);
	for (size_t i = 0; i < len; i++)
		print_message(" %02x", f[i]);
	print_message("\n");
}

/* What is in one turn: frames for which some flow is there. */
struct turn {
	unsigned n, want[N_PORTS];
};

static void turn_end(struct turn *t)
{
	unsigned got[N_PORTS];

	settle(got);
	for (unsigned i = 0; i < N_PORTS; i++)
		assert_int_equal(got[i], t->want[i]);
	memset(t, 0, sizeof(*t));
}

/* Turn one bit over. */
static void flip(struct turn *t, unsigned in, const struct odp_flow *base, uint32_t base_ports,
	uint8_t *f, size_t len, unsigned bit)
{
	struct odp_kw k;
	uint32_t ports = NOTHING;

	f[bit / 8] ^= (uint8_t)(1u << bit % 8);
	if (key_of(f, len, odp_port_no(p[in].port), &k)) {
		const struct odp_flow *hit = flow_of(&k);

		ports = hit ? decision(&k) : SKIP; // that is another question
		if (hit == base) {
			n_wild++;
			if (ports != base_ports)
				show("the flow is too wide", f, len);
			assert_int_equal(ports, base_ports);
		}
	}
	n_flips++;
	if (ports != SKIP) {
		fake_port_push(&p[in], pool, f, len);
		for (unsigned i = 0; i < N_PORTS; i++)
			t->want[i] += ports >> odp_port_no(p[i].port) & 1;
		if (++t->n == ODP_BURST)
			turn_end(t);
	}
	f[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

static void one_frame(void)
{
	unsigned in = hostile_below(&rnd, N_PORTS), bits;
	const struct odp_flow *flow;
	struct turn t = { 0 };
	uint32_t ports, want = NOTHING;
	struct odp_kw k;

	hostile_next(&rnd);
	bits = (unsigned)rnd.len * 8;
	ports = send_one(in, rnd.f, rnd.len);
	n_base++;
	if (!key_of(rnd.f, rnd.len, odp_port_no(p[in].port), &k)) {
		n_malformed++;
		assert_int_equal(ports, NOTHING);
		return;
	}
	want = decision(&k);
	if (want != ports)
		show("not the slow path's decision", rnd.f, rnd.len);
	assert_int_equal(ports, want);
	flow = flow_of(&k);
	if (!flow)
		return; // no room for one: decided on by itself each time
	if (strcmp(flow->origin, "operator") != 0)
		n_bridge++;
	else
		n_operator++;
	if (hostile_below(&rnd, WHOLE) == 0)
		for (unsigned bit = 0; bit < bits; bit++)
			flip(&t, in, flow, want, rnd.f, rnd.len, bit);
	else
		for (unsigned i = 0; i < FLIPS; i++)
			flip(&t, in, flow, want, rnd.f, rnd.len, hostile_below(&rnd, bits));
	turn_end(&t);
}

/* ---- sets of flows ---- */

/* A flow that some hostile frame meets; the first sets have none, or none behind layer 2. */
static void operators_flow(bool deep)
{
	struct odp_key k, m;

	hostile_next(&rnd);
	if (odp_extract(rnd.f, rnd.len < ODP_EXTRACT_MAX ? rnd.len : ODP_EXTRACT_MAX, rnd.len,
		    odp_port_no(p[hostile_below(&rnd, N_PORTS)].port), 0, ODP_WANT_ALL, &k) < 0)
		return;
	memset((uint8_t *)&k + ODP_KEY_META_WORD * 8, 0, sizeof(k) - ODP_KEY_META_WORD * 8);
	rnd_mask(&rnd, &k, &m);
	if (!deep) {
		memset((uint8_t *)&m + ODP_KEY_L2_WORDS * 8, 0, sizeof(m) - ODP_KEY_L2_WORDS * 8);
		m.eth_type = dpu_be16_put(0);
	}
	uint32_t ports = 0;

	for (unsigned i = 0; i < N_PORTS; i++)
		ports |= hostile_below(&rnd, 3) ? 0 : 1u << odp_port_no(p[i].port);
	int ret = rnd_put(dp, &flows, &flows.f[flows.n], &k, &m, ports, "operator");

	assert_true(ret == 0 || ret == -EEXIST);
	flows.n += ret == 0;
}

static void new_flows(unsigned epoch)
{
	unsigned n = epoch % 4 == 0 ? 0 : 1 + hostile_below(&rnd, 8);

	odp_flow_flush(dp, NULL);
	odp_mac_flush(dp, ODP_PORT_NONE);
	odp_tick(dp);
	memset(&flows, 0, sizeof(flows));
	for (unsigned i = 0; i < n; i++)
		operators_flow(epoch % 4 != 1);
	for (unsigned i = 0; i < N_PORTS; i++)
		p[i].port->setup_tokens = INT32_MAX / 2; // what a port may ask for is not this
}

static void no_flow_is_too_wide(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BASES; i++) {
		if (i % EPOCH == 0)
			new_flows(i / EPOCH);
		one_frame();
	}
	print_message("%lu frames, %lu malformed, %lu by an operator's flow, %lu by the switch's; "
		      "%lu bits turned over, %lu wild\n",
		(unsigned long)n_base, (unsigned long)n_malformed, (unsigned long)n_operator,
		(unsigned long)n_bridge, (unsigned long)n_flips, (unsigned long)n_wild);
	// Each of these is what the test is about; with none of them it would say nothing.
	assert_true(n_malformed > BASES / 50 && n_operator > BASES / 10 && n_bridge > BASES / 10);
	assert_true(n_wild > n_flips / 4);
}

int main(void)
{
	static const char *const names[N_PORTS] = { "p1", "p2", "p3", "p4" };
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_flow_is_too_wide) };

	pool = fake_eal(8191);
	struct odp_conf conf = { .n_workers = 1, .pool = pool };

	if (odp_create(&conf, &dp) < 0)
		return 1;
	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_add(&p[i], dp, odp_worker(dp, 0), names[i]);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	for (unsigned i = 0; i < N_PORTS; i++)
		fake_port_del(&p[i], odp_worker(dp, 0));
	odp_destroy(dp);
	return failed;
}
