// SPDX-License-Identifier: Apache-2.0
/* The flows with the highest rates: which they are, while flows come and go and time passes. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "fake_port.h"
#include "flow.h"

#define SECOND UINT64_C(1000000000)
#define FLOWS (FLOW_CHUNK + 1000u) // in two chunks

static struct rte_mempool *pool;
static struct odp *dp;
static uint64_t now;

static uint64_t clock_now(void)
{
	return now;
}

static uint64_t put(uint32_t i)
{
	struct odp_key k = { .in_port = i + 1 }, m = { .in_port = UINT32_MAX };
	uint64_t id = 0;

	assert_int_equal(odp_flow_put(dp, &k, &m, NULL, 0, true, "operator", &id), 0);
	return id;
}

static void carry(uint64_t id, uint64_t packets, uint64_t bytes)
{
	const struct odp_flow *f = odp_flow_by_id(dp, id);

	assert_non_null(f);
	odp_flow_count_packets(dp->worker[0], f, packets, bytes);
}

/* One walk; how many steps it took. */
static unsigned walk(struct odp_top *t)
{
	unsigned n = 0;

	while (odp_top_step(t) > 0)
		n++;
	return n;
}

static int setup(void **state)
{
	struct odp_conf conf = { .n_workers = 1, .pool = pool };

	(void)state;
	now = 5 * SECOND;
	dpu_clock_set(clock_now);
	return odp_create(&conf, &dp);
}

static int teardown(void **state)
{
	(void)state;
	odp_destroy(dp);
	dpu_clock_set(NULL);
	return 0;
}

/* Rates a second, of what passed between the walks only. */
static void rates(void **state)
{
	const struct odp_top_flow *f = NULL;
	struct odp_flow_info info;
	struct odp_top *t;
	uint64_t a = put(0), b = put(1), quiet = put(2);

	(void)state;
	carry(a, 1000000, 64000000);
	carry(quiet, 5000000, 5000000000);
	assert_int_equal(odp_top_create(dp, &t), 0);
	walk(t);
	assert_int_equal(odp_top_flows(t, ODP_TOP_PACKETS, &f), 0);
	carry(a, 3000, 192000);
	carry(b, 200, 300000);
	now += 2 * SECOND;
	walk(t);
	assert_int_equal(odp_top_flows(t, ODP_TOP_PACKETS, &f), 2);
	assert_int_equal(f[0].id, a);
	assert_int_equal(f[0].rate[ODP_TOP_PACKETS], 1500);
	assert_int_equal(f[0].rate[ODP_TOP_BYTES], 96000);
	assert_int_equal(f[1].id, b);
	assert_int_equal(f[1].rate[ODP_TOP_PACKETS], 100);
	assert_int_equal(odp_top_flows(t, ODP_TOP_BYTES, &f), 2);
	assert_int_equal(f[0].id, b);
	assert_int_equal(f[0].rate[ODP_TOP_BYTES], 150000);
	assert_int_equal(f[1].id, a);
	assert_int_equal(odp_flow_get_id(dp, b, &info), 0);
	assert_int_equal(info.key.in_port, 2);
	// Nothing is left to do: the result stays as it is.
	carry(quiet, 1, 64);
	assert_int_equal(odp_top_step(t), 0);
	assert_int_equal(odp_top_flows(t, ODP_TOP_PACKETS, &f), 2);
	assert_int_equal(odp_flow_del_id(dp, b), 0);
	assert_int_equal(odp_flow_get_id(dp, b, &info), -ENOENT);
	odp_top_destroy(t);
}

/* Of more flows than there are places the highest, each in its place, whatever the order. */
static void the_highest(void **state)
{
	const struct odp_top_flow *f = NULL;
	static uint64_t id[FLOWS];
	struct odp_top *t;

	(void)state;
	for (uint32_t i = 0; i < FLOWS; i++)
		id[i] = put(i);
	assert_int_equal(odp_top_create(dp, &t), 0);
	assert_int_equal(walk(t), 2 * FLOW_CHUNK / 1024);
	for (uint32_t i = 0; i < FLOWS; i++) { // a permutation of 1 .. FLOWS, and its reverse
		uint64_t n = (uint64_t)i * 2503 % FLOWS + 1;

		carry(id[i], n, FLOWS + 1 - n);
	}
	now += SECOND;
	assert_int_equal(walk(t), 2 * FLOW_CHUNK / 1024);
	for (unsigned by = 0; by < ODP_TOP_ORDERS; by++) {
		assert_int_equal(odp_top_flows(t, (enum odp_top_by)by, &f), ODP_TOP_MAX);
		for (unsigned i = 0; i < ODP_TOP_MAX; i++)
			assert_int_equal(f[i].rate[by], FLOWS - i);
	}
	odp_top_destroy(t);
}

/*
 * A place that another flow took meanwhile does not go on from the old one's count; new flows and
 * whole new chunks count from nothing, over the time since the measurement began.
 */
static void flows_come_and_go(void **state)
{
	const struct odp_top_flow *f = NULL;
	uint64_t old = put(0), kept = put(1), heir, late = 0;
	struct odp_top *t;

	(void)state;
	carry(old, 900, 900);
	carry(kept, 10, 10);
	assert_int_equal(odp_top_create(dp, &t), 0);
	walk(t);
	assert_int_equal(odp_flow_del_id(dp, old), 0);
	odp_reclaim(dp);
	heir = put(2);
	assert_int_equal((uint32_t)heir, (uint32_t)old);
	carry(heir, 300, 300);
	carry(kept, 100, 100);
	for (uint32_t i = 3; i < FLOWS; i++)
		late = put(i);
	assert_true((uint32_t)late >= FLOW_CHUNK);
	carry(late, 200, 200);
	now += SECOND;
	walk(t);
	assert_int_equal(odp_top_flows(t, ODP_TOP_PACKETS, &f), 3);
	assert_int_equal(f[0].id, heir);
	assert_int_equal(f[0].rate[ODP_TOP_PACKETS], 300);
	assert_int_equal(f[1].id, late);
	assert_int_equal(f[1].rate[ODP_TOP_PACKETS], 200);
	assert_int_equal(f[2].id, kept);
	assert_int_equal(f[2].rate[ODP_TOP_PACKETS], 100);
	odp_top_destroy(t);
}

/* Time that passes within the walks is not the flows'. */
static void walks_take_time(void **state)
{
	const struct odp_top_flow *f = NULL;
	uint64_t first = put(0), last = 0;
	struct odp_top *t;

	(void)state;
	for (uint32_t i = 1; i < FLOWS; i++)
		last = put(i);
	assert_int_equal(odp_top_create(dp, &t), 0);
	while (odp_top_step(t) > 0)
		now += SECOND;
	carry(first, 800, 0);
	carry(last, 800, 0);
	while (odp_top_step(t) > 0)
		now += SECOND;
	assert_int_equal(odp_top_flows(t, ODP_TOP_PACKETS, &f), 2);
	assert_int_equal(f[0].rate[ODP_TOP_PACKETS], f[1].rate[ODP_TOP_PACKETS]);
	odp_top_destroy(t);
}

/* The table with all places taken: no step behind the last. */
static void full_table(void **state)
{
	const struct odp_top_flow *f = NULL;
	unsigned chunks = dp->n_chunks;
	struct odp_top *t;

	(void)state;
	assert_int_equal(chunks, 0);
	put(0);
	for (unsigned c = 1; c < FLOW_CHUNKS; c++) { // places without flows will do
		dp->chunk[c] = dp->chunk[0];
		dp->n_chunks++;
	}
	assert_int_equal(odp_top_create(dp, &t), 0);
	assert_int_equal(walk(t), FLOW_CHUNKS * FLOW_CHUNK / 1024);
	now += SECOND;
	assert_int_equal(walk(t), FLOW_CHUNKS * FLOW_CHUNK / 1024);
	assert_int_equal(odp_top_flows(t, ODP_TOP_PACKETS, &f), 0);
	odp_top_destroy(t);
	dp->n_chunks = 1;
}

static void no_memory(void **state)
{
	struct odp_top *t = NULL;

	(void)state;
	put(0);
	dpu_alloc_fail_after(0);
	assert_int_equal(odp_top_create(dp, &t), -ENOMEM);
	dpu_alloc_fail_after(1);
	assert_int_equal(odp_top_create(dp, &t), 0);
	assert_int_equal(odp_top_step(t), -ENOMEM);
	dpu_alloc_fail_after(-1);
	walk(t);
	odp_top_destroy(t);
	odp_top_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rates, setup, teardown),
		cmocka_unit_test_setup_teardown(the_highest, setup, teardown),
		cmocka_unit_test_setup_teardown(flows_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(walks_take_time, setup, teardown),
		cmocka_unit_test_setup_teardown(full_table, setup, teardown),
		cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
	};

	pool = fake_eal(1023);
	return cmocka_run_group_tests_name("flow_top", tests, NULL, NULL);
}
