// SPDX-License-Identifier: Apache-2.0
/* Routes, and generations of the paths over them. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dpu_alloc.h"
#include "fake_port.h"
#include "underlay.h"

static struct rte_mempool *pool;
static unsigned n_sent;

static void send_out(void *arg, uint32_t port, struct rte_mbuf *m)
{
	(void)arg;
	(void)port;
	n_sent++;
	rte_pktmbuf_free(m);
}

static void ready(void *arg, struct odp_ul_path *path, struct rte_mbuf *m)
{
	(void)path;
	(*(unsigned *)arg)++;
	rte_pktmbuf_free(m);
}

static const uint8_t mac1[6] = { 2, 0, 0, 0, 0, 1 }, mac2[6] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t peer[6] = { 2, 0, 0, 0, 9, 9 }, peer2[6] = { 2, 0, 0, 0, 9, 8 };
static unsigned n_ready;

static struct odp_ip v4(unsigned a, unsigned b, unsigned c, unsigned d)
{
	return (struct odp_ip){ 4, { (uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d } };
}

static struct odp_ip v6(unsigned net, unsigned host)
{
	return (struct odp_ip){ 6, { 0xfd, (uint8_t)net, [15] = (uint8_t)host } };
}

static const struct odp_ip any;

static struct odp_ul *make(void)
{
	const struct odp_ul_conf conf = {
		.pool = pool, .arg = &n_ready, .send = send_out, .ready = ready, .paths_max = 64
	};
	struct odp_ul *ul;
	struct odp_ip a = v4(10, 0, 0, 1), b = v4(10, 1, 0, 1), c = v6(1, 1);

	assert_int_equal(odp_ul_create(&conf, 0, &ul), 0);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, mac1, 1600), 0);
	assert_int_equal(odp_ul_if_set(ul, 6, 0x1064, mac2, 9000), 0);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &a, 24), 0);
	assert_int_equal(odp_ul_addr_add(ul, 6, 0x1064, &b, 24), 0);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &c, 64), 0);
	n_ready = n_sent = 0;
	return ul;
}

static void add(struct odp_ul *ul, struct odp_ip net, unsigned len, struct odp_ip gw, uint32_t port,
	int want)
{
	const struct odp_ul_route r = { net, len, gw, port, port == 6 ? 0x1064 : 0, false };

	assert_int_equal(odp_ul_route_add(ul, &r), want);
}

static struct odp_ul_path *get(struct odp_ul *ul, struct odp_ip dst)
{
	struct odp_ul_path *p = NULL;

	assert_int_equal(odp_ul_path_get(ul, &dst, &any, &p), 0);
	return p;
}

static void longest_prefix(void **state)
{
	static const struct {
		struct odp_ip dst;
		uint32_t port;
		unsigned gw; // last byte of the neighbour that is asked for
	} rows[] = {
		{ { 4, { 10, 0, 0, 77 } }, 5, 77 },
		{ { 4, { 10, 1, 0, 77 } }, 6, 77 },
		{ { 4, { 10, 9, 1, 1 } }, 6, 9 },
		{ { 4, { 10, 9, 2, 1 } }, 5, 8 },
		{ { 4, { 10, 9, 2, 128 } }, 6, 7 },
		{ { 4, { 11, 0, 0, 1 } }, 5, 254 },
		{ { 6, { 0xfd, 1, [15] = 9 } }, 5, 9 },
		{ { 6, { 0xfd, 2, [15] = 9 } }, 5, 33 },
	};
	struct odp_ul *ul = make();

	(void)state;
	add(ul, v4(0, 0, 0, 0), 0, v4(10, 0, 0, 254), 5, 0);
	add(ul, v4(10, 9, 0, 0), 16, v4(10, 1, 0, 9), 6, 0);
	add(ul, v4(10, 9, 2, 0), 24, v4(10, 0, 0, 8), 5, 0);
	add(ul, v4(10, 9, 2, 128), 25, v4(10, 1, 0, 7), 6, 0);
	add(ul, v6(2, 0), 16, v6(1, 33), 5, 0);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		bool six = rows[i].dst.family == 6;
		struct odp_ip gw = six ? v6(1, rows[i].gw)
				       : v4(10, rows[i].port == 6, 0, rows[i].gw);
		struct odp_ul_path *p = get(ul, rows[i].dst);

		assert_int_equal(p->hop.state, ODP_UL_RESOLVING);
		assert_int_equal(odp_ul_neigh_set(ul, rows[i].port, rows[i].port == 6 ? 0x1064 : 0,
					 &gw, peer),
			0);
		assert_int_equal(p->hop.state, ODP_UL_READY);
		assert_int_equal(p->hop.port, rows[i].port);
		assert_memory_equal(p->hop.link.eth_dst, peer, 6);
		assert_memory_equal(p->hop.link.eth_src, rows[i].port == 6 ? mac2 : mac1, 6);
		assert_int_equal(p->hop.link.vlan, rows[i].port == 6 ? 0x1064 : 0);
		assert_int_equal(p->hop.link.mtu, rows[i].port == 6 ? 9000 : 1600);
		assert_int_equal(p->hop.src.a[1], six ? 1 : rows[i].port == 6);
	}
	assert_int_equal(get(ul, v6(7, 1))->hop.state, ODP_UL_NO_ROUTE);
	assert_int_equal(get(ul, v4(10, 0, 0, 1))->hop.state, ODP_UL_NO_ROUTE); // ourselves
	odp_ul_destroy(ul);
}

static void refusals(void **state)
{
	struct odp_ul *ul = make();
	struct odp_ip a = v4(10, 0, 0, 1), multi = v4(224, 0, 0, 1), net = v4(10, 0, 0, 0);
	struct odp_ip zero = v4(0, 0, 0, 0), six = v6(1, 1), free_one = v4(10, 0, 5, 1);
	struct odp_ul_path *p;

	(void)state;
	add(ul, v4(10, 9, 0, 1), 16, any, 5, -EINVAL); // bits behind the prefix
	add(ul, v4(10, 9, 0, 0), 33, any, 5, -EINVAL);
	add(ul, any, 0, any, 5, -EINVAL);
	add(ul, v4(10, 9, 0, 0), 16, v6(1, 1), 5, -EINVAL);
	add(ul, v4(10, 9, 0, 0), 16, v4(224, 0, 0, 1), 5, -EINVAL);
	add(ul, v4(10, 9, 0, 0), 16, any, 7, -ENODEV);
	add(ul, v4(10, 0, 0, 0), 24, any, 5, -EEXIST); // connected
	assert_int_equal(odp_ul_route_del(ul, &net, 24), -EBUSY);
	assert_int_equal(odp_ul_route_del(ul, &net, 25), -ENOENT);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &a, 24), -EEXIST);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &multi, 24), -EINVAL);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &zero, 24), -EINVAL);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &free_one, 33), -EINVAL);
	assert_int_equal(odp_ul_addr_add(ul, 9, 0, &free_one, 24), -ENODEV);
	assert_int_equal(odp_ul_addr_del(ul, &free_one), -ENOENT);
	assert_int_equal(odp_ul_path_get(ul, &multi, &any, &p), -EINVAL);
	assert_int_equal(odp_ul_path_get(ul, &any, &any, &p), -EINVAL);
	assert_int_equal(odp_ul_path_get(ul, &a, &six, &p), -EINVAL);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, (uint8_t[6]){ 1 }, 1500), -EINVAL);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, mac1, 1279), -EINVAL);
	assert_int_equal(odp_ul_if_del(ul, 5, 0x1001), -ENOENT);
	for (unsigned i = 0; i < 64; i++)
		(void)get(ul, v4(10, 0, 1, i));
	free_one = v4(10, 0, 0, 2);
	assert_int_equal(odp_ul_path_get(ul, &free_one, &any, &p), -ENOSPC);
	odp_ul_destroy(ul);
}

/* Each change alters the generation of the paths that it concerns, and of no other. */
static void generations(void **state)
{
	struct odp_ul *ul = make();
	struct odp_ip gw = v4(10, 0, 0, 254), gw2 = v4(10, 0, 0, 253), far = v4(20, 0, 0, 1);
	struct odp_ip net = v4(20, 0, 0, 0), spare = v4(10, 0, 0, 3), near2 = v4(10, 1, 0, 2);
	struct odp_ul_path *a, *b;
	uint32_t ga, gb;

	(void)state;
	add(ul, v4(0, 0, 0, 0), 0, gw, 5, 0);
	assert_int_equal(odp_ul_neigh_set(ul, 5, 0, &gw, peer), 0);
	assert_int_equal(odp_ul_neigh_set(ul, 5, 0, &gw2, peer2), 0);
	assert_int_equal(odp_ul_neigh_set(ul, 6, 0x1064, &near2, peer), 0);
	a = get(ul, far);
	b = get(ul, near2);
	assert_int_equal(a->hop.state, ODP_UL_READY);
	assert_int_equal(b->hop.state, ODP_UL_READY);
	assert_ptr_equal(get(ul, far), a); // the same, twice
	odp_ul_path_put(ul, a);
	ga = a->gen;
	gb = b->gen;

#define CHANGED(path, g)                                    \
	do {                                                \
		assert_false(odp_ul_path_current(path, g)); \
		(g) = (path)->gen;                          \
	} while (0)
#define SAME(path, g) assert_true(odp_ul_path_current(path, g))

	// Nothing that concerns them.
	assert_int_equal(odp_ul_neigh_set(ul, 5, 0, &gw, peer), 0);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, mac1, 1600), 0);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &spare, 24), 0);
	add(ul, v4(30, 0, 0, 0), 8, gw2, 5, 0);
	odp_ul_tick(ul, 1000);
	SAME(a, ga);
	SAME(b, gb);

	// The neighbour's address.
	assert_int_equal(odp_ul_neigh_set(ul, 5, 0, &gw, peer2), 0);
	CHANGED(a, ga);
	SAME(b, gb);

	// A longer prefix over a neighbour with the same address comes to the same: no change.
	add(ul, net, 8, gw2, 5, 0);
	SAME(a, ga);
	assert_int_equal(odp_ul_neigh_set(ul, 5, 0, &gw2, peer), 0);
	CHANGED(a, ga);
	assert_int_equal(odp_ul_route_del(ul, &net, 8), 0);
	CHANGED(a, ga);
	SAME(b, gb);

	// Our own address and MTU.
	assert_int_equal(odp_ul_if_set(ul, 5, 0, mac2, 1600), 0);
	CHANGED(a, ga);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, mac2, 1500), 0);
	CHANGED(a, ga);
	SAME(b, gb);
	assert_int_equal(a->hop.link.mtu, 1500);

	// A path MTU that is learned, one that makes no difference, and forgetting.
	odp_ul_pmtu_set(ul, &far, 1400);
	CHANGED(a, ga);
	assert_int_equal(a->hop.link.mtu, 1400);
	odp_ul_tick(ul, 599ull * 1000000000);
	SAME(a, ga);
	odp_ul_tick(ul, 601ull * 1000000000);
	CHANGED(a, ga);
	assert_int_equal(a->hop.link.mtu, 1500);
	SAME(b, gb);

	// The source address.
	struct odp_ip ours = v4(10, 0, 0, 1);

	assert_int_equal(odp_ul_addr_del(ul, &ours), 0);
	CHANGED(a, ga);
	assert_int_equal(a->hop.src.a[3], 3);
	assert_int_equal(odp_ul_addr_del(ul, &spare), 0);
	CHANGED(a, ga);
	assert_int_equal(a->hop.state, ODP_UL_NO_ROUTE);

	assert_int_equal(odp_ul_if_del(ul, 6, 0x1064), 0);
	CHANGED(b, gb);
	SAME(a, ga);
	assert_int_equal(b->hop.state, ODP_UL_NO_ROUTE);

	// A place that another path takes is outdated for those who knew the former.
	odp_ul_path_put(ul, b);
	CHANGED(b, gb);
	assert_ptr_equal(get(ul, v4(99, 0, 0, 1)), b);
	odp_ul_destroy(ul);
}

static void memory(void **state)
{
	const struct odp_ul_conf conf = { .pool = pool, .send = send_out, .ready = ready };
	struct odp_ul *ul = NULL;

	(void)state;
	for (long k = 0; k < 4; k++) {
		dpu_alloc_fail_after(k);
		assert_int_equal(odp_ul_create(&conf, 0, &ul), -ENOMEM);
	}
	dpu_alloc_fail_after(-1);
	odp_ul_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_prefix),
		cmocka_unit_test(refusals),
		cmocka_unit_test(generations),
		cmocka_unit_test(memory),
	};

	pool = fake_eal(1023);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
