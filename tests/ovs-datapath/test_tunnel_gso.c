// SPDX-License-Identifier: Apache-2.0
/*
 * GSO frames and lent payload into tunnels, from a guest's port to the other guest: segments fit
 * the underlay, their headers and sums are right, and the sender's memory is its own again in time.
 */
#include "tnl_net.h"

#define HEAD 256u // bytes that are never lent
#define DATA 5000u
#define MSS 1300u
#define SEQ 0xfffffc00u // passes 0
#define PSH_FIN 0x09u

static const struct row {
	const char *name;
	enum odp_tnl_type type;
	const char *set; // at a
	const char *seen; // at b
	bool v6; // inside
	bool lent;
	bool waits; // for the neighbour
} rows[] = {
	{ "TCP in VXLAN", ODP_TNL_VXLAN, "tun_id=5,dst=192.0.2.2", "tun_id=0x5,src=192.0.2.1",
		false, false, false },
	{ "TCP over IPv6 in VXLAN", ODP_TNL_VXLAN, "tun_id=5,dst=192.0.2.2",
		"tun_id=0x5,src=192.0.2.1", true, false, false },
	{ "TCP in VXLAN with a sum over IPv6", ODP_TNL_VXLAN,
		"tun_id=5,ipv6_dst=2001:db8::2,flags(csum)",
		"tun_id=0x5,ipv6_src=2001:db8::1,flags(csum|key)", false, false, false },
	{ "TCP over IPv6 in Geneve with a sum", ODP_TNL_GENEVE,
		"tun_id=5,dst=192.0.2.2,flags(csum)", "tun_id=0x5,src=192.0.2.1", true, false,
		false },
	{ "TCP in GRE with a sum", ODP_TNL_GRE, "tun_id=5,dst=192.0.2.2,flags(csum|key)",
		"tun_id=0x5,src=192.0.2.1", false, false, false },
	{ "TCP that waits", ODP_TNL_VXLAN, "tun_id=5,dst=192.0.2.2", "tun_id=0x5,src=192.0.2.1",
		false, false, true },
	{ "lent TCP in VXLAN", ODP_TNL_VXLAN, "tun_id=5,dst=192.0.2.2", "tun_id=0x5,src=192.0.2.1",
		false, true, false },
	{ "lent TCP in GRE with a sum", ODP_TNL_GRE, "tun_id=5,dst=192.0.2.2,flags(csum|key)",
		"tun_id=0x5,src=192.0.2.1", true, true, false },
	{ "lent TCP that waits", ODP_TNL_VXLAN, "tun_id=5,dst=192.0.2.2",
		"tun_id=0x5,src=192.0.2.1", false, true, true },
};

static uint8_t memory[DATA]; // the sender's
static struct rte_mbuf_ext_shared_info info; // counts 1 and the segments that point there

static void never(void *addr, void *arg)
{
	(void)addr;
	(void)arg;
	fail();
}

static uint8_t payload_at(uint32_t i)
{
	return (uint8_t)(i * 7 + i / 256);
}

/* The sum over the pseudo-header of `len` bytes of TCP. */
static uint32_t pseudo(const uint8_t *ip, uint32_t len)
{
	bool v6 = ip[0] >> 4 == 6;

	return odp_sum(ip + (v6 ? 8 : 12), v6 ? 32 : 8, 6 + len);
}

static unsigned l3_len(const struct row *t)
{
	return t->v6 ? 40 : 20;
}

/* Ethernet, IP, and TCP that asks for its sum and to be cut. Its length. */
static uint32_t tcp_frame(const struct row *t, uint8_t *f)
{
	unsigned l3 = l3_len(t);
	uint8_t *ip = f + 14, *tcp = ip + l3;

	memset(f, 0, 14 + l3 + 20);
	memcpy(f, (uint8_t[12]){ 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1 }, 12);
	odp_put16(f + 12, t->v6 ? 0x86dd : 0x800);
	if (t->v6) {
		ip[0] = 0x60;
		odp_put16(ip + 4, 20 + DATA);
		ip[6] = 6;
		ip[7] = 64;
		ip[8] = ip[24] = 0xfd;
		ip[23] = 1;
		ip[39] = 2;
	} else {
		ip[0] = 0x45;
		odp_put16(ip + 2, 40 + DATA);
		ip[8] = 64;
		ip[9] = 6;
		memcpy(ip + 12, (uint8_t[8]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	}
	odp_put16(tcp, 1000);
	odp_put16(tcp + 2, 80);
	odp_put32(tcp + 4, SEQ);
	tcp[12] = 0x50;
	tcp[13] = 0x10 | PSH_FIN;
	odp_put16(tcp + 16, odp_fold(pseudo(ip, 20 + DATA)));
	for (uint32_t i = 0; i < DATA; i++)
		tcp[20 + i] = payload_at(i);
	return 14 + l3 + 20 + DATA;
}

/* Bytes of a chain of mbufs, or what is behind HEAD in the sender's memory. */
static struct rte_mbuf *packet(const struct row *t)
{
	static uint8_t f[DATA + 100];
	uint32_t n = tcp_frame(t, f), at = HEAD;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *last = m, *next;

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, HEAD), f, HEAD);
	if (t->lent)
		memcpy(memory, f + HEAD, n - HEAD);
	for (uint32_t len; at < n; at += len, last = next) {
		len = RTE_MIN(n - at, 1500u);
		next = rte_pktmbuf_alloc(pool);
		assert_non_null(next);
		if (t->lent) {
			rte_mbuf_ext_refcnt_update(&info, 1);
			rte_pktmbuf_attach_extbuf(
				next, memory + at - HEAD, RTE_BAD_IOVA, (uint16_t)len, &info);
			next->data_len = (uint16_t)len;
		} else {
			memcpy(rte_pktmbuf_append(next, (uint16_t)len), f + at, len);
		}
		last->next = next;
		m->nb_segs++;
		m->pkt_len += len;
	}
	m->l2_len = 14;
	m->l3_len = l3_len(t) & 0x1ff;
	m->l4_len = 20;
	m->tso_segsz = MSS;
	m->ol_flags = (t->lent ? ODP_F_LENT : 0) |
		      (t->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) | RTE_MBUF_F_TX_TCP_CKSUM |
		      RTE_MBUF_F_TX_TCP_SEG;
	return m;
}

/* One segment, with the payload from byte `at` on; its length. */
static uint32_t check(const struct row *t, const struct rte_mbuf *m, uint32_t at)
{
	const uint8_t *ip = rte_pktmbuf_mtod(m, const uint8_t *) + 14, *tcp = ip + l3_len(t);
	uint32_t l4 = m->pkt_len - 14 - l3_len(t), len = l4 - 20;

	assert_int_equal(m->nb_segs, 1);
	assert_in_range(len, 1, MSS);
	if (t->v6) {
		assert_int_equal(odp_get16(ip + 4), l4);
	} else {
		assert_int_equal(odp_get16(ip + 2), 20 + l4);
		assert_int_equal(odp_fold(odp_sum(ip, 20, 0)), 0xffff);
	}
	assert_int_equal(odp_get32(tcp + 4), SEQ + at);
	assert_int_equal(tcp[13], 0x10 | (at + len == DATA ? PSH_FIN : 0));
	assert_int_equal(odp_fold(odp_sum(tcp, l4, pseudo(ip, l4))), 0xffff);
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(tcp[20 + i], payload_at(at + i));
	return len;
}

static void gso(void **state)
{
	const struct row *t = *state;
	static struct net n;
	char text[256];
	uint32_t at = 0;

	info.free_cb = never;
	rte_mbuf_ext_refcnt_set(&info, 1);
	net_up(&n, t->type);
	snprintf(text, sizeof(text), "set(tunnel(%s)),3", t->set);
	flow(&n.a, "in_port(2)", text);
	snprintf(text, sizeof(text), "in_port(3),tunnel(%s)", t->seen);
	flow(&n.b, text, "2");
	if (!t->waits) {
		say(&n.a, 100);
		settle(&n);
		heard(&n.b, 1, 100);
	}
	n.a.vm.in[n.a.vm.n_in++] = packet(t);
	assert_int_equal(odp_worker_turn(n.a.w), 1);
	if (t->waits)
		assert_int_equal(n.a.up.n_out, 0);
	// A wire takes no lent memory: the sender may do with its own what it likes
	assert_int_equal(rte_mbuf_ext_refcnt_read(&info), 1);
	memset(memory, 0, sizeof(memory));
	settle(&n);
	for (unsigned i = 0; i < n.b.vm.n_out; i++)
		at += check(t, n.b.vm.out[i], at);
	assert_int_equal(at, DATA);
	assert_int_equal(n.b.vm.n_out, (DATA + MSS - 1) / MSS);
	assert_int_equal(all_drops(&n.a) + all_drops(&n.b), 0);
	net_down(&n);
}

/* An inner GSO frame leaves in segments that fit. */
static void udp_gso(void **state)
{
	static struct net n;
	uint8_t f[2048];
	struct rte_mbuf *m;
	uint32_t at = 0;

	(void)state;
	vxlan_up(&n);
	fake_port_push(&n.a.vm, pool, f, udp_frame(f, 1900));
	m = n.a.vm.in[0];
	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_UDP_SEG;
	m->l2_len = 14;
	m->l3_len = 20;
	m->l4_len = 8;
	m->tso_segsz = 600;
	odp_put16(rte_pktmbuf_mtod(m, uint8_t *) + 40, odp_fold(odp_sum(f + 26, 8, 17 + 1908)));
	settle(&n);
	assert_int_equal(n.b.vm.n_out, 4);
	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *p = rte_pktmbuf_mtod(n.b.vm.out[i], uint8_t *);
		uint32_t len = n.b.vm.out[i]->pkt_len - 42;

		assert_int_equal(
			odp_fold(odp_sum(p + 34, 8 + len, odp_sum(p + 26, 8, 17 + 8 + len))),
			0xffff);
		assert_memory_equal(p + 42, f + 42 + at, len);
		at += len;
	}
	assert_int_equal(at, 1900);
	net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(udp_gso) };
	int failed = 0;

	pool = fake_eal(4095);
	RUN_ROWS(rows, gso, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
