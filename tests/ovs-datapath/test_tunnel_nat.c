// SPDX-License-Identifier: Apache-2.0
/*
 * Who is told that a packet was too long for a tunnel, when it was translated before: its sender,
 * of the packet that it sent, by whom it had sent it to.
 */
#include "tnl_net.h"

#include <netinet/in.h>

#include "dp.h"
#include "odp_ct.h"

#define TNL "set(tunnel(tun_id=5,dst=192.0.2.2)),3"

/* The guest of a is 10.0.0.1, or fd::1, and sends to 10.0.0.2 or fd::2 from port 1000 to 2000. */
static const struct row {
	const char *name;
	bool v6;
	const char *nat; // what a does to it
	const char *rest; // what it does then
	bool established; // small ones have gone both ways before
	uint8_t other[4]; // to whom, or from whom, b's guest sends and receives them
	bool their; // the other one, not the sender, is translated
} rows[] = {
	{ "SNAT, the first packet", false, "ct(commit,zone=3,nat(src=172.16.0.9))", TNL, false,
		{ 172, 16, 0, 9 } },
	{ "SNAT with a port", false, "ct(commit,zone=3,nat(src=172.16.0.9:7000-7009))", TNL, true,
		{ 172, 16, 0, 9 } },
	{ "SNAT, established", false, "ct(commit,zone=3,nat(src=172.16.0.9))", TNL, true,
		{ 172, 16, 0, 9 } },
	{ "DNAT, the first packet", false, "ct(commit,zone=3,nat(dst=172.16.0.7))", TNL, false,
		{ 172, 16, 0, 7 }, true },
	{ "DNAT, established", false, "ct(commit,zone=3,nat(dst=172.16.0.7))", TNL, true,
		{ 172, 16, 0, 7 }, true },
	{ "no translation", false, "ct(commit,zone=3)", TNL, true, { 10, 0, 0, 1 } },
	{ "SNAT of IPv6", true, "ct(commit,zone=3,nat(src=[fd::9]))", TNL, false },
	{ "DNAT of IPv6", true, "ct(commit,zone=3,nat(dst=[fd::7]))", TNL, false },
	{ "SNAT, headers pushed", false, "ct(commit,zone=3,nat(src=172.16.0.9))",
		"tnl_push(tnl_port(3),header(size=50,type=4,eth(dst=02:ff:00:00:00:02,"
		"src=02:ff:00:00:00:01,dl_type=0x0800),ipv4(src=192.0.2.1,dst=192.0.2.2,proto=17,"
		"tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"
		"vxlan(flags=0x8000000,vni=0x5)),out_port(1))",
		false, { 172, 16, 0, 9 } },
};

static void sums6(uint8_t *f, uint32_t l4_len)
{
	uint8_t *ip = f + 14, *udp = ip + 40;

	odp_put16(udp + 6, 0);
	odp_put16(udp + 6, (uint16_t)~odp_fold(odp_sum(
				   ip + 8, 32, odp_sum(udp, l4_len, IPPROTO_UDP + l4_len))));
}

static size_t frame(uint8_t *f, bool v6, uint32_t len)
{
	uint8_t v4[2048], *ip = f + 14;
	size_t size = udp_frame(v4, len);

	if (!v6) {
		memcpy(f, v4, size);
		return size;
	}
	memcpy(f, v4, 12);
	odp_put16(f + 12, 0x86dd);
	memset(ip, 0, 40);
	ip[0] = 0x60;
	odp_put16(ip + 4, 8 + len);
	ip[6] = IPPROTO_UDP;
	ip[7] = 64;
	ip[8] = ip[24] = 0xfd;
	ip[23] = 1;
	ip[39] = 2;
	memcpy(ip + 40, v4 + 34, 8 + len);
	sums6(f, 8 + len);
	return size + 20;
}

/* Everything that an error to the guest of a has to be. */
static void judge(const struct rte_mbuf *m, bool v6, const uint8_t *f)
{
	const uint8_t *e = rte_pktmbuf_mtod(m, const uint8_t *), *ip = e + 14;
	uint32_t hdr = v6 ? 40 : 20, len = m->pkt_len - 14 - hdr;
	const uint8_t *icmp = ip + hdr;

	assert_memory_equal(e, f + 6, 6);
	assert_memory_equal(e + 6, f, 6);
	assert_int_equal(odp_get16(e + 12), v6 ? 0x86dd : 0x800);
	if (v6) {
		assert_memory_equal(ip + 8, f + 14 + 24, 16);
		assert_memory_equal(ip + 24, f + 14 + 8, 16);
		assert_int_equal(icmp[0], 2);
		assert_int_equal(
			odp_fold(odp_sum(ip + 8, 32, odp_sum(icmp, len, IPPROTO_ICMPV6 + len))),
			0xffff);
	} else {
		assert_memory_equal(ip + 12, f + 14 + 16, 4);
		assert_memory_equal(ip + 16, f + 14 + 12, 4);
		assert_int_equal(odp_fold(odp_sum(ip, 20, 0)), 0xffff);
		assert_int_equal(odp_get16(icmp), 3 << 8 | 4);
		assert_int_equal(odp_fold(odp_sum(icmp, len, 0)), 0xffff);
	}
	// What it quotes is what was sent, checksums too.
	assert_memory_equal(icmp + 8, f + 14, len - 8);
}

/* b's guest answers what it got: all that came is sent back. */
static void answer(struct net *n, uint32_t len)
{
	uint8_t f[2048], a[8];
	struct rte_mbuf *m = n->b.vm.out[0];

	assert_int_equal(n->b.vm.n_out, 1);
	assert_int_equal(m->pkt_len, 42 + len);
	memcpy(f, rte_pktmbuf_mtod(m, void *), m->pkt_len);
	memcpy(a, f + 6, 6);
	memcpy(f + 6, f, 6);
	memcpy(f, a, 6);
	memcpy(a, f + 26, 8);
	memcpy(f + 26, a + 4, 4);
	memcpy(f + 30, a, 4);
	memcpy(a, f + 34, 4);
	memcpy(f + 34, a + 2, 2);
	memcpy(f + 36, a, 2);
	fake_port_reset(&n->b.vm);
	fake_port_push(&n->b.vm, pool, f, 42 + len);
	settle(n);
}

static void up(struct net *n, const struct row *t)
{
	char text[512];

	net_up(n, ODP_TNL_VXLAN);
	n->a.up.caps.mtu = 1550; // headers that are pushed have no MTU but the port's
	odp_port_caps_changed(n->a.up.port);
	snprintf(text, sizeof(text), "%s,recirc(0x1)", t->nat);
	flow(&n->a, t->v6 ? "in_port(2),eth_type(0x86dd)" : "in_port(2),eth_type(0x0800)", text);
	flow(&n->a, "recirc_id(0x1),in_port(2)", t->rest);
	flow(&n->a, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.2),eth_type(0x0800)",
		"ct(zone=3,nat),recirc(0x2)");
	flow(&n->a, "recirc_id(0x2),in_port(3)", "2");
	flow(&n->b, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.1)", "2");
	flow(&n->b, "in_port(2)", "set(tunnel(tun_id=5,dst=192.0.2.1)),3");
}

static void told(void **state)
{
	const struct row *t = *state;
	static struct net n;
	uint8_t f[2048];
	size_t size;

	up(&n, t);
	for (unsigned i = 0; t->established && i < 8; i++) {
		const uint8_t *got;

		say(&n.a, 100);
		settle(&n);
		assert_int_equal(n.b.vm.n_out, 1);
		got = rte_pktmbuf_mtod(n.b.vm.out[0], const uint8_t *);
		assert_memory_equal(got + (t->their ? 30 : 26), t->other, 4);
		answer(&n, 100);
		assert_int_equal(n.a.vm.n_out, 1);
		fake_port_reset(&n.a.vm);
	}
	size = frame(f, t->v6, 1500);
	for (unsigned i = 0; i < 3; i++) {
		fake_port_push(&n.a.vm, pool, f, size);
		settle(&n);
		assert_int_equal(n.b.vm.n_out, 0);
		assert_int_equal(n.a.vm.n_out, 1);
		judge(n.a.vm.out[0], t->v6, f);
		fake_port_reset(&n.a.vm);
	}
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_MTU), 3);
	net_down(&n);
}

/* The other way round: what came out of the tunnel was translated, its answer is too long. */
static void told_of_an_answer(void **state)
{
	static struct net n;
	uint8_t f[2048];
	size_t size = frame(f, false, 1500);

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	flow(&n.a, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.2),eth_type(0x0800)",
		"ct(commit,zone=3,nat(src=10.0.0.2)),recirc(0x2)");
	flow(&n.a, "recirc_id(0x2),in_port(3)", "2");
	flow(&n.a, "in_port(2),eth_type(0x0800)", "ct(zone=3,nat),recirc(0x1)");
	flow(&n.a, "recirc_id(0x1),in_port(2)", TNL);
	flow(&n.b, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.1)", "2");
	flow(&n.b, "in_port(2)", "set(tunnel(tun_id=5,dst=192.0.2.1)),3");
	// 10.7.0.2:2000 behind b asks 10.0.0.1:1000, who sees 10.0.0.2.
	for (unsigned i = 0; i < 8; i++) {
		uint8_t q[2048];
		size_t len = udp_frame(q, 100);

		memcpy(q + 26, (const uint8_t[8]){ 10, 7, 0, 2, 10, 0, 0, 1 }, 8);
		odp_put16(q + 34, 2000);
		odp_put16(q + 36, 1000);
		odp_put16(q + 24, 0);
		odp_put16(q + 24, (uint16_t)~odp_fold(odp_sum(q + 14, 20, 0)));
		odp_put16(q + 40, 0); // no checksum
		fake_port_push(&n.b.vm, pool, q, len);
		settle(&n);
		assert_int_equal(n.a.vm.n_out, 1);
		assert_int_equal(rte_pktmbuf_mtod(n.a.vm.out[0], const uint8_t *)[27], 0);
		fake_port_reset(&n.a.vm);
		say(&n.a, 100);
		settle(&n);
		assert_int_equal(n.b.vm.n_out, 1);
		assert_int_equal(rte_pktmbuf_mtod(n.b.vm.out[0], const uint8_t *)[31], 7);
		fake_port_reset(&n.b.vm);
	}
	fake_port_push(&n.a.vm, pool, f, size);
	settle(&n);
	assert_int_equal(n.a.vm.n_out, 1);
	judge(n.a.vm.out[0], false, f);
	net_down(&n);
}

/* Nobody knows any more what it was: nobody is told, rather than the wrong one. */
static void forgotten(void **state)
{
	static const struct row t = { .nat = "ct(commit,zone=3,nat(src=172.16.0.9))",
		.rest = "set(tunnel(tun_id=5,dst=192.0.2.2)),3" };
	static struct net n;
	uint8_t f[2048];
	size_t size = frame(f, false, 1500);

	(void)state;
	up(&n, &t);
	fake_port_push(&n.a.vm, pool, f, size);
	// It waits for the neighbour while its connection is forgotten.
	while (odp_worker_turn(n.a.w) + odp_upcall_poll(n.a.dp) > 0)
		;
	assert_int_equal(n.a.vm.n_out, 0);
	assert_int_equal(odp_ct_flush(n.a.dp->ct, -1), 1);
	settle(&n);
	assert_int_equal(fake_port_drops(n.a.vm.port, ODP_DROP_MTU), 1);
	assert_int_equal(n.a.vm.n_out, 0);
	net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(told_of_an_answer),
		cmocka_unit_test(forgotten) };
	int failed = 0;

	pool = fake_eal(4095);
	RUN_ROWS(rows, told, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
