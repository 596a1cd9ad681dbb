// SPDX-License-Identifier: Apache-2.0
/* Tunnel ports: coming, going, and what they collide with. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "fake_port.h"
#include "odp_tnl.h"
#include "vport.h"

static struct rte_mempool *pool;

static struct odp *datapath(void)
{
	struct odp_conf conf = { .n_workers = 1, .pool = pool };
	struct odp *dp;

	assert_int_equal(odp_create(&conf, &dp), 0);
	return dp;
}

static const struct odp_ip any = { 0 };
static const struct odp_ip ours = { 4, { 192, 0, 2, 1 } };

static void info(void **state)
{
	struct odp *dp = datapath();
	struct odp_tnl_conf c = { .name = "gn0",
		.type = ODP_TNL_GENEVE,
		.local = ours,
		.n_known = 1,
		.known = { { 0x102, 0x80 } } };
	struct odp_tnl_conf got;
	struct odp_port *p;
	struct fake_port f;

	(void)state;
	fake_port_add(&f, dp, NULL, "p1");
	assert_int_equal(odp_tnl_add(dp, &c, &p), 0);
	assert_int_equal(odp_port_no(p), 2);
	assert_ptr_equal(odp_port_by_name(dp, "gn0"), p);
	assert_true(odp_tnl_info(p, &got));
	assert_string_equal(got.name, "gn0");
	assert_int_equal(got.type, ODP_TNL_GENEVE);
	assert_int_equal(got.udp_port, 6081);
	assert_memory_equal(&got.local, &ours, sizeof(ours));
	assert_int_equal(got.n_known, 1);
	assert_int_equal(got.known[0].class, 0x102);
	assert_false(odp_tnl_info(f.port, &got));
	fake_port_del(&f, NULL);
	odp_destroy(dp);
}

static void collisions(void **state)
{
	static const struct {
		const char *name;
		enum odp_tnl_type type;
		const struct odp_ip *local;
		uint16_t udp_port;
		int ret;
	} rows[] = {
		{ "vx0", ODP_TNL_VXLAN, &any, 0, 0 },
		{ "vx0", ODP_TNL_VXLAN, &any, 4790, -EEXIST }, // the name
		{ "vx1", ODP_TNL_VXLAN_GBP, &any, 0, -EEXIST }, // the packets
		{ "vx1", ODP_TNL_VXLAN_GBP, &ours, 0, 0 }, // narrower
		{ "vx2", ODP_TNL_VXLAN, &any, 8472, 0 },
		{ "gre0", ODP_TNL_GRE, &any, 7, -EINVAL },
		{ "gre0", ODP_TNL_GRE, &any, 0, 0 },
		{ "gre1", ODP_TNL_GRE, &any, 0, -EEXIST },
		{ "x", ODP_TNL_TYPES, &any, 0, -EINVAL },
	};
	struct odp *dp = datapath();
	struct odp_port *p;

	(void)state;
	for (unsigned i = 0; i < RTE_DIM(rows); i++) {
		struct odp_tnl_conf c = { .name = rows[i].name,
			.type = rows[i].type,
			.local = *rows[i].local,
			.udp_port = rows[i].udp_port };

		assert_int_equal(odp_tnl_add(dp, &c, &p), rows[i].ret);
	}
	// What one took is free when it has gone, and what failed left nothing behind.
	odp_port_del(odp_port_by_name(dp, "gre0"));
	assert_int_equal(
		odp_tnl_add(dp, &(struct odp_tnl_conf){ .name = "gre1", .type = ODP_TNL_GRE }, &p),
		0);
	assert_null(odp_port_by_name(dp, "x"));
	odp_destroy(dp);
}

/* The learning switch floods to ports, and to no tunnel. */
static void no_flood(void **state)
{
	struct odp *dp = datapath();
	struct odp_worker *w = odp_worker(dp, 0);
	struct odp_tnl_conf c = { .name = "vx0", .type = ODP_TNL_VXLAN };
	struct odp_port_stats st;
	struct odp_port *p;
	struct fake_port f[2];
	uint8_t frame[64];

	(void)state;
	fake_port_add(&f[0], dp, w, "p1");
	assert_int_equal(odp_tnl_add(dp, &c, &p), 0);
	fake_port_add(&f[1], dp, w, "p2");
	fake_port_push(&f[0], pool, frame, fake_frame(frame, 9, 1, 0));
	while (odp_worker_turn(w) + odp_upcall_poll(dp) > 0)
		;
	assert_int_equal(f[1].n_out, 1);
	odp_port_stats(p, &st);
	for (unsigned i = 0; i < ODP_DROP_COUNT; i++)
		assert_int_equal(st.drops[i], 0);
	fake_port_del(&f[0], w);
	fake_port_del(&f[1], w);
	odp_destroy(dp);
}

/* GRE over IPv6 is a type of its own in Open vSwitch's text. */
static void push_types(void **state)
{
#define HEADERS(size, type, ip)                                        \
	"tnl_push(tnl_port(2),header(size=" size ",type=" type         \
	",eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,dl_type=" ip \
	",gre((flags=0x0,proto=0x6558))),out_port(1))"
#define IPV4 "0x0800),ipv4(src=1.0.0.1,dst=1.0.0.2,proto=47,tos=0,ttl=64,frag=0x4000)"
#define IPV6 "0x86dd),ipv6(src=fd::1,dst=fd::2,label=0,proto=47,tclass=0x0,hlimit=64)"
	static const struct {
		const char *list;
		int ret;
	} rows[] = {
		{ HEADERS("38", "3", IPV4), 0 },
		{ HEADERS("38", "109", IPV4), -EINVAL },
		{ HEADERS("58", "109", IPV6), 0 },
		{ HEADERS("58", "3", IPV6), 0 },
	};
	struct odp *dp = datapath();
	struct odp_tnl_conf c = { .name = "gre0", .type = ODP_TNL_GRE };
	struct odp_key k, m;
	struct odp_port *p;
	struct fake_port f;
	size_t at;

	(void)state;
	fake_port_add(&f, dp, NULL, "p1");
	assert_int_equal(odp_tnl_add(dp, &c, &p), 0);
	assert_int_equal(odp_port_no(p), 2);
	assert_int_equal(odp_key_parse(dp, "in_port(1)", &k, &m, &at), 0);
	for (unsigned i = 0; i < RTE_DIM(rows); i++)
		assert_int_equal(fake_put(dp, &k, &m, rows[i].list, true, NULL), rows[i].ret);
	fake_port_del(&f, NULL);
	odp_destroy(dp);
}

static void count_if(const struct odp_ul_if_info *i, void *arg)
{
	assert_int_equal(i->mac[5], 1);
	assert_int_equal(i->mtu, 1500);
	*(unsigned *)arg += 1 + (i->vlan != 0);
}

static void count_addr(const struct odp_ul_addr_info *a, void *arg)
{
	assert_int_equal(a->prefix_len, 24);
	assert_int_equal(a->vlan, 0x1005);
	*(unsigned *)arg += 1;
}

/* Interfaces and addresses are listed, and go with their port. */
static void interfaces(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	struct odp *dp = datapath();
	struct odp_ul *ul = odp_underlay(dp);
	unsigned n = 0;
	struct fake_port f;

	(void)state;
	fake_port_add(&f, dp, NULL, "p1");
	assert_int_equal(odp_ul_if_set(ul, 1, 0, mac, 1500), 0);
	assert_int_equal(odp_ul_if_set(ul, 1, 0x1005, mac, 1500), 0);
	assert_int_equal(odp_ul_addr_add(ul, 1, 0x1005, &ours, 24), 0);
	odp_ul_if_foreach(ul, count_if, &n);
	assert_int_equal(n, 3);
	odp_ul_addr_foreach(ul, count_addr, &n);
	assert_int_equal(n, 4);
	fake_port_del(&f, NULL);
	n = 0;
	odp_ul_if_foreach(ul, count_if, &n);
	odp_ul_addr_foreach(ul, count_addr, &n);
	assert_int_equal(n, 0);
	odp_destroy(dp);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(info), cmocka_unit_test(collisions),
		cmocka_unit_test(no_flood), cmocka_unit_test(push_types),
		cmocka_unit_test(interfaces) };

	pool = fake_eal(2047);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
