// SPDX-License-Identifier: Apache-2.0
/* Offload requests in front of a tunnel: done before, or left to a port that can. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ip.h>

#include "fake_port.h"
#include "inet.h"
#include "tnl.h"

static struct rte_mempool *pool;

static const struct row {
	const char *name;
	enum odp_tnl_type type;
	uint16_t port;
	bool outer6, v6, tcp, csum;
	uint32_t payload;
	uint16_t mss; // 0: no GSO frame
	bool shared;
} rows[] = {
	{ "tcp4 in vxlan", ODP_TNL_VXLAN, 4789, false, false, true, false, 5000, 1400, false },
	{ "tcp6 in geneve over ipv6", ODP_TNL_GENEVE, 6081, true, true, true, true, 5000, 1400,
		false },
	{ "udp4 in gre, shared", ODP_TNL_GRE, 0, false, false, false, true, 3000, 1000, true },
	{ "udp6 in vxlan, shared", ODP_TNL_VXLAN, 4789, false, true, false, true, 3001, 1000,
		true },
	{ "64 KiB", ODP_TNL_VXLAN, 4789, true, false, true, true, 65000, 1400, false },
	{ "tcp4, checksum only", ODP_TNL_VXLAN, 4789, false, false, true, true, 900, 0, false },
	{ "udp6, checksum only, shared", ODP_TNL_GENEVE, 6081, true, true, false, true, 900, 0,
		true },
};

/* A frame as guests give it: lengths right, the checksum to be completed. */
static struct rte_mbuf *request(const struct row *t, uint8_t *f, uint32_t *n)
{
	uint32_t l3 = t->v6 ? 40 : 20, l4 = t->tcp ? 20 : 8, len = l4 + t->payload;
	uint8_t *ip = f + 14, *h = ip + l3;
	struct rte_mbuf *head = NULL;

	*n = 14 + l3 + len;
	for (uint32_t i = 0; i < *n; i++)
		f[i] = (uint8_t)(i * 11 + (i >> 8));
	odp_put16(f + 12, t->v6 ? 0x86dd : 0x800);
	if (t->v6) {
		odp_put32(ip, 0x60000000);
		odp_put16(ip + 4, len);
		ip[6] = t->tcp ? 6 : 17;
	} else {
		odp_put16(ip, 0x4500);
		odp_put16(ip + 2, l3 + len);
		odp_put16(ip + 6, 0x4000);
		ip[9] = t->tcp ? 6 : 17;
		odp_put16(ip + 10, 0);
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	}
	if (t->tcp)
		h[12] = 0x50;
	else
		odp_put16(h + 4, len);
	odp_put16(h + (t->tcp ? 16 : 6),
		odp_fold(odp_sum(h - (t->v6 ? 32 : 8), t->v6 ? 32 : 8, (t->tcp ? 6 : 17) + len)));
	for (uint32_t at = 0; at < *n; at += 1900) {
		uint32_t bytes = RTE_MIN(*n - at, 1900u);
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		if (!m)
			abort();
		memcpy(rte_pktmbuf_append(m, (uint16_t)bytes), f + at, bytes);
		if (head)
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		else
			head = m;
	}
	if (!head)
		abort();
	head->l2_len = 14;
	head->l3_len = l3 & 0x1ff;
	head->l4_len = l4 & 0xff;
	head->ol_flags = (t->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
			 (t->tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM);
	if (t->mss) {
		head->ol_flags |= t->tcp ? RTE_MBUF_F_TX_TCP_SEG : RTE_MBUF_F_TX_UDP_SEG;
		head->tso_segsz = t->mss;
	}
	return head;
}

static void compose(const struct row *t, uint16_t mtu, struct odp_tnl_tmpl *tmpl)
{
	const struct odp_tnl_link link = { .eth_src = { 2 }, .eth_dst = { 2 }, .mtu = mtu };
	struct odp_tnl_key key = { .id = 7,
		.flags = ODP_TNL_F_KEY | (t->csum ? ODP_TNL_F_CSUM : 0),
		.family = t->outer6 ? 6 : 4,
		.tp_dst = t->port,
		.src = { 10, 1 },
		.dst = { 10, 2 } };

	assert_int_equal(odp_tnl_compose(t->type, &key, ODP_INNER_ETH, &link, 0, tmpl), 0);
}

/* One segment with its outer headers: they come off, and all sums inside are right. */
static void check(const struct row *t, struct rte_mbuf *m, const uint8_t *f, uint32_t *off)
{
	const struct odp_tnl_vport v = { .type = t->type, .udp_port = t->port };
	uint32_t l3 = t->v6 ? 40 : 20, hdr = 14 + l3 + (t->tcp ? 20 : 8);
	struct odp_tnl_key key;
	uint8_t b[2000];
	uint16_t inner;

	if (m->ol_flags & ODP_F_L4_CSUM)
		assert_int_equal(odp_csum_complete(m), 0);
	assert_int_equal(odp_tnl_pop(&m, &v, pool, &key, &inner), 0);
	assert_int_equal(m->ol_flags & (ODP_F_L4_CSUM | ODP_F_GSO), 0);
	assert_true(m->pkt_len <= sizeof(b));

	const uint8_t *p = rte_pktmbuf_read(m, 0, m->pkt_len, b);

	if (p != b)
		memcpy(b, p, m->pkt_len);
	if (t->v6)
		assert_int_equal(rte_ipv6_udptcp_cksum_verify((void *)(b + 14), b + 14 + l3), 0);
	else
		assert_int_equal(rte_ipv4_udptcp_cksum_verify((void *)(b + 14), b + 14 + l3), 0);
	assert_memory_equal(b + hdr, f + hdr + *off, m->pkt_len - hdr);
	*off += m->pkt_len - hdr;
	rte_pktmbuf_free(m);
}

static void segments(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_tnl_tx tx = { .pool = pool };
	static uint8_t f[70000], was[70000];
	struct odp_tnl_tmpl tmpl;
	struct odp_tnl_out o;
	struct rte_mbuf *out[7], *m, *held = NULL;
	uint32_t n, off = 0, got_all = 0;
	int got;

	compose(t, 1600, &tmpl);
	m = request(t, f, &n);
	if (t->shared)
		held = rte_pktmbuf_clone(m, pool);
	assert_int_equal(odp_tnl_out_init(&o, m, &tmpl, &tx, 99), 0);
	while ((got = odp_tnl_out_next(&o, out, 7)) > 0) {
		got_all += (uint32_t)got;
		for (int i = 0; i < got; i++)
			check(t, out[i], f, &off);
	}
	assert_int_equal(got, 0);
	odp_tnl_out_fini(&o);
	assert_int_equal(off, t->payload);
	assert_int_equal(got_all, t->mss ? (t->payload + t->mss - 1) / t->mss : 1);
	if (held) {
		// Neither the inner checksum nor outer headers were written into what others hold.
		const uint8_t *p = rte_pktmbuf_read(held, 0, n, was);

		assert_memory_equal(p, f, n);
		rte_pktmbuf_free(held);
	}
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* A frame that its taker drops half way, and one too long for the MTU. */
static void given_up(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_tnl_tx tx = { .pool = pool };
	static uint8_t f[70000];
	struct odp_tnl_tmpl tmpl;
	struct odp_tnl_out o;
	struct rte_mbuf *out[2], *m;
	uint32_t n;
	int got;

	compose(t, 1600, &tmpl);
	m = request(t, f, &n);
	assert_int_equal(odp_tnl_out_init(&o, m, &tmpl, &tx, 99), 0);
	got = odp_tnl_out_next(&o, out, 2);
	assert_true(got > 0);
	rte_pktmbuf_free_bulk(out, (unsigned)got);
	odp_tnl_out_fini(&o);
	assert_int_equal(rte_mempool_in_use_count(pool), before);

	compose(t, 900, &tmpl);
	m = request(t, f, &n);
	assert_int_equal(odp_tnl_out_init(&o, m, &tmpl, &tx, 99), -EMSGSIZE);
	rte_pktmbuf_free(m);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* A port that cuts inside tunnels gets the frame whole, in DPDK's terms. */
static void left_to_port(void **state)
{
	const struct row *t = *state;
	struct odp_tnl_tx tx = { .pool = pool, .hw = true };
	static uint8_t f[70000];
	struct odp_tnl_tmpl tmpl;
	struct odp_tnl_out o;
	struct rte_mbuf *out[2];
	uint32_t n;

	compose(t, 1600, &tmpl);
	assert_int_equal(odp_tnl_out_init(&o, request(t, f, &n), &tmpl, &tx, 99), 0);
	assert_int_equal(odp_tnl_out_next(&o, out, 2), 1);
	odp_tnl_out_fini(&o);
	const struct rte_mbuf *m = out[0];
	uint64_t outer = t->outer6 ? RTE_MBUF_F_TX_OUTER_IPV6 : RTE_MBUF_F_TX_OUTER_IPV4;

	assert_int_equal(rte_validate_tx_offload(m), 0);
	assert_int_equal(m->pkt_len, n + tmpl.len);
	assert_int_equal(m->outer_l2_len, 14);
	assert_int_equal(m->outer_l3_len, t->outer6 ? 40 : 20);
	assert_int_equal(m->outer_l2_len + m->outer_l3_len + m->l2_len, tmpl.len + 14);
	assert_int_equal(m->l3_len, t->v6 ? 40 : 20);
	assert_true(m->ol_flags & outer);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TUNNEL_MASK);
	assert_int_equal((m->ol_flags & ODP_F_GSO) != 0, t->mss != 0);
	assert_int_equal(
		(m->ol_flags & RTE_MBUF_F_TX_OUTER_UDP_CKSUM) != 0, t->csum && t->port != 0);
	rte_pktmbuf_free(out[0]);
}

/* Equal for a connection's packets, different for others, spread over the ports. */
static void entropy(void **state)
{
	struct odp_key k = { .ip_proto = 6, .ip_frag = ODP_FRAG_NONE };
	unsigned seen[16] = { 0 };
	uint32_t h;

	(void)state;
	for (unsigned i = 0; i < 4096; i++) {
		uint16_t port;

		k.tp_src = dpu_be16_put((uint16_t)i);
		h = odp_tnl_inner_hash(&k);
		k.ip_tos = (uint8_t)i;
		k.ip_ttl = (uint8_t)i;
		assert_int_equal(odp_tnl_inner_hash(&k), h);
		port = odp_tnl_src_port(h);
		assert_true(port >= 49152);
		seen[port >> 10 & 15]++;
	}
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(seen[i], 150, 370);
	// Fragments, which have no ports, go one way.
	k.ip_frag = ODP_FRAG_FIRST;
	h = odp_tnl_inner_hash(&k);
	k.ip_frag = ODP_FRAG_LATER;
	k.tp_src = dpu_be16_put(0);
	assert_int_equal(odp_tnl_inner_hash(&k), h);
	// Without IP, the addresses of the frame.
	memset(&k, 0, sizeof(k));
	h = odp_tnl_inner_hash(&k);
	k.eth_src[5] = 1;
	assert_int_not_equal(odp_tnl_inner_hash(&k), h);
}

/* GRE has no ports: over IPv6 the flow label tells connections apart. */
static void flow_label(void **state)
{
	static const struct row t = { NULL, ODP_TNL_GRE, 0, true, false, false, true, 100, 0,
		false };
	struct odp_tnl_tx tx = { .pool = pool };
	struct odp_tnl_tmpl tmpl;
	uint8_t f[300];
	uint32_t n;

	(void)state;
	compose(&t, 1600, &tmpl);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t hash = 0xfedcba98 - i;
		struct rte_mbuf *m = request(&t, f, &n);

		assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, hash), 0);
		assert_int_equal(odp_get32(rte_pktmbuf_mtod(m, uint8_t *) + 14),
			0x60000000 | (hash & 0xfffff));
		rte_pktmbuf_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entropy),
		cmocka_unit_test(flow_label),
	};
	int failed = 0;

	pool = fake_eal(2047);
	RUN_ROWS(rows, segments, failed);
	RUN_ROWS(rows, given_up, failed);
	const struct row hw[] = { rows[0], rows[1], rows[5] };

	RUN_ROWS(hw, left_to_port, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
