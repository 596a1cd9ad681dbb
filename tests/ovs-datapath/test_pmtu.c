// SPDX-License-Identifier: Apache-2.0
/* Who is told that a packet is too long, how often, and which such message is believed. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fake_port.h"
#include "inet.h"
#include "pmtu.h"
#include "sw_offload.h"

#define SEC 1000000000ull

static struct rte_mempool *pool;

/* A UDP frame of n bytes; two tags when tagged. */
static struct rte_mbuf *frame(bool v6, bool tagged, uint32_t n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint8_t *p = m ? (uint8_t *)rte_pktmbuf_append(m, (uint16_t)n) : NULL;
	uint32_t l3 = tagged ? 22 : 14;

	if (!p)
		abort();
	memset(p, 0, n);
	p[5] = 2;
	p[0] = p[6] = 2;
	p[11] = 1;
	if (tagged) {
		odp_put16(p + 12, 0x88a8);
		odp_put16(p + 16, 0x8100);
	}
	odp_put16(p + l3 - 2, v6 ? 0x86dd : 0x800);
	p += l3;
	if (v6) {
		p[0] = 0x60;
		odp_put16(p + 4, n - l3 - 40);
		p[6] = IPPROTO_UDP;
		p[8] = p[24] = 0xfd;
		p[23] = 1;
		p[39] = 2;
	} else {
		p[0] = 0x45;
		odp_put16(p + 2, n - l3);
		p[6] = 0x40;
		p[9] = IPPROTO_UDP;
		p[12] = p[16] = 10;
		p[15] = 1;
		p[19] = 2;
	}
	return m;
}

static const struct answer_case {
	const char *name;
	bool v6;
	uint16_t off; // of the byte that is changed; 0: none
	uint8_t value;
	int ret;
} answers[] = {
	{ "v4", false, 0, 0, 0 },
	{ "v6", true, 0, 0, 0 },
	{ "v4: may be fragmented", false, 20, 0, -EOPNOTSUPP },
	{ "v4: later fragment", false, 21, 1, -EPERM },
	{ "v4: to many", false, 30, 224, -EPERM },
	{ "v4: to all", false, 30, 255, -EPERM },
	{ "v4: from many", false, 26, 224, -EPERM },
	{ "v4: from nobody", false, 26, 0, -EPERM },
	{ "v4: from itself", false, 26, 127, -EPERM },
	{ "v4: to many on the wire", false, 0xffff, 3, -EPERM },
	{ "v4: IHL 4", false, 14, 0x44, -EBADMSG },
	{ "v4: that is v6", false, 14, 0x65, -EBADMSG },
	{ "v4: ICMP echo reply", false, 23, 1, 0 },
	{ "v4: ICMP error", false, 0xfffe, 3, -EPERM },
	{ "v4: ICMP time exceeded", false, 0xfffe, 11, -EPERM },
	{ "v4: ICMP echo", false, 0xfffe, 8, 0 },
	{ "v6: to many", true, 38, 0xff, -EPERM },
	{ "v6: from many", true, 22, 0xff, -EPERM },
	{ "v6: that is v4", true, 14, 0x45, -EBADMSG },
	{ "v6: ICMPv6 error", true, 0xfffe, 2, -EPERM },
	{ "v6: redirect", true, 0xfffe, 137, -EPERM },
	{ "v6: echo", true, 0xfffe, 128, 0 },
	{ "v6: first fragment", true, 20, 44, 0 },
	{ "v6: ICMPv6 error behind options", true, 0xfffd, 0, -EPERM },
	{ "ARP", false, 13, 6, -EOPNOTSUPP },
};

static void check_answer(
	const struct rte_mbuf *m, const struct rte_mbuf *a, bool v6, uint32_t l3, uint32_t mtu)
{
	const uint8_t *b = rte_pktmbuf_mtod(m, uint8_t *), *p = rte_pktmbuf_mtod(a, uint8_t *);
	uint32_t hdr = v6 ? 48 : 28, len = a->pkt_len - l3;
	const uint8_t *ip = p + l3, *icmp = ip + hdr - 8;

	assert_memory_equal(p, b + 6, 6);
	assert_memory_equal(p + 6, b, 6);
	assert_memory_equal(p + 12, b + 12, l3 - 12);
	assert_int_equal(len, RTE_MIN(m->pkt_len - l3 + hdr, v6 ? 1280u : 576u));
	assert_memory_equal(ip + hdr, b + l3, len - hdr);
	if (v6) {
		assert_int_equal(odp_get16(ip + 4), len - 40);
		assert_memory_equal(ip + 8, b + l3 + 24, 16);
		assert_memory_equal(ip + 24, b + l3 + 8, 16);
		assert_int_equal(odp_get32(icmp), (2u << 24) | odp_get16(icmp + 2));
		assert_int_equal(odp_get32(icmp + 4), mtu);
		assert_int_equal(odp_fold(odp_sum(ip + 8, len - 8, len - 40 + 58)), 0xffff);
	} else {
		assert_int_equal(odp_get16(ip + 2), len);
		assert_memory_equal(ip + 12, b + l3 + 16, 4);
		assert_memory_equal(ip + 16, b + l3 + 12, 4);
		assert_int_equal(odp_fold(odp_sum(ip, 20, 0)), 0xffff);
		assert_int_equal(odp_get16(icmp), 0x0304);
		assert_int_equal(odp_get32(icmp + 4), mtu);
		assert_int_equal(odp_fold(odp_sum(icmp, len - 20, 0)), 0xffff);
	}
}

static void answer(void **state)
{
	const struct answer_case *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	struct odp_pmtu *p;
	struct rte_mbuf *m = frame(t->v6, false, 1500), *a = NULL;
	uint8_t *b = rte_pktmbuf_mtod(m, uint8_t *);

	assert_int_equal(odp_pmtu_create(&(struct odp_pmtu_conf){ .pool = pool }, &p), 0);
	if (t->off == 0xffff) {
		b[0] = t->value;
	} else if (t->off == 0xfffe) {
		b[t->v6 ? 20 : 23] = t->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
		b[t->v6 ? 54 : 34] = t->value;
	} else if (t->off == 0xfffd) {
		b[20] = 60;
		b[54] = IPPROTO_ICMPV6; // 8 bytes of options, then type 0
	} else if (t->off) {
		b[t->off] = t->value;
		if (t->value == IPPROTO_FRAGMENT)
			b[54] = IPPROTO_UDP;
	}
	assert_int_equal(odp_pmtu_answer(p, m, 1400, 1, 0, &a), t->ret);
	if (t->ret == 0)
		check_answer(m, a, t->v6, 14, 1400);
	rte_pktmbuf_free(a);
	// Every cut: nothing is read behind it.
	for (uint16_t n = 0; n < 64; n++) {
		m->data_len = n;
		m->pkt_len = n;
		a = NULL;
		(void)odp_pmtu_answer(p, m, 1400, n, n * SEC, &a);
		rte_pktmbuf_free(a);
	}
	rte_pktmbuf_free(m);
	odp_pmtu_destroy(p);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

static void told(void **state)
{
	static const struct {
		bool v6, tagged;
		uint32_t n, inner_mtu, want;
	} rows[] = {
		{ false, true, 1500, 1400, 1392 },
		{ true, true, 1500, 1400, 1392 },
		{ true, false, 1500, 1000, 1280 },
		{ false, false, 1500, 20, 68 },
		{ false, false, 300, 200, 200 },
	};
	struct odp_pmtu *p;
	struct rte_mbuf *a;

	(void)state;
	assert_int_equal(odp_pmtu_create(&(struct odp_pmtu_conf){ .pool = pool }, &p), 0);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		struct rte_mbuf *m = frame(rows[i].v6, rows[i].tagged, rows[i].n);

		assert_int_equal(odp_pmtu_answer(p, m, rows[i].inner_mtu, i, 0, &a), 0);
		check_answer(m, a, rows[i].v6, rows[i].tagged ? 22 : 14, rows[i].want);
		rte_pktmbuf_free(a);
		rte_pktmbuf_free(m);
	}
	odp_pmtu_destroy(p);
}

static unsigned told_of(
	struct odp_pmtu *p, const struct rte_mbuf *m, uint64_t source, uint64_t now, unsigned tries)
{
	struct rte_mbuf *a;
	unsigned n = 0;

	for (unsigned i = 0; i < tries; i++) {
		int ret = odp_pmtu_answer(p, m, 1400, source, now, &a);

		assert_true(ret == 0 || ret == -EBUSY);
		if (ret == 0) {
			n++;
			rte_pktmbuf_free(a);
		}
	}
	return n;
}

static void limits(void **state)
{
	const struct odp_pmtu_conf conf = { .pool = pool, .source_per_s = 10, .total_per_s = 25 };
	struct rte_mbuf *m = frame(false, false, 1500);
	struct odp_pmtu *p;

	(void)state;
	assert_int_equal(odp_pmtu_create(&conf, &p), 0);
	assert_int_equal(told_of(p, m, 1, 5, 100), 10);
	assert_int_equal(told_of(p, m, 2, 5, 100), 10); // whoever asks too often stops nobody else
	assert_int_equal(told_of(p, m, 3, 5, 100), 5); // in all
	assert_int_equal(told_of(p, m, 1, 5 + SEC / 2, 100), 5);
	assert_int_equal(told_of(p, m, 1, 5 + 100 * SEC, 100), 10);
	assert_int_equal(told_of(p, m, 1, 0, 100), 0); // a clock that goes back gives nothing
	odp_pmtu_destroy(p);
	rte_pktmbuf_free(m);
}

static void exceeds(void **state)
{
	struct rte_mbuf *m = frame(false, false, 1514);
	uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);

	(void)state;
	assert_false(odp_pmtu_exceeds(m, 1500));
	assert_true(odp_pmtu_exceeds(m, 1499));
	assert_false(odp_pmtu_exceeds(m, 0));
	m->l2_len = 14;
	m->l3_len = 20;
	m->tso_segsz = 1000;
	m->ol_flags = RTE_MBUF_F_TX_UDP_SEG | RTE_MBUF_F_TX_UDP_CKSUM | RTE_MBUF_F_TX_IPV4;
	assert_false(odp_pmtu_exceeds(m, 1028));
	assert_true(odp_pmtu_exceeds(m, 1027));
	m->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
	p[34 + 12] = 0x80;
	assert_false(odp_pmtu_exceeds(m, 1052));
	assert_true(odp_pmtu_exceeds(m, 1051));
	rte_pktmbuf_free(m);
}

/* ---- hearing ---- */

static void send_out(void *arg, uint32_t port, struct rte_mbuf *m)
{
	(void)arg;
	(void)port;
	rte_pktmbuf_free(m);
}

static void ready(void *arg, struct odp_ul_path *path, struct rte_mbuf *m)
{
	(void)arg;
	(void)path;
	rte_pktmbuf_free(m);
}

static const struct learn_case {
	const char *name;
	bool v6, gre;
	uint32_t mtu;
	int at; // 0: of the frame, 1: of the ICMP message, 2: of what it quotes
	uint16_t off; // of the byte that is changed; 0: none
	uint8_t value;
	bool fix; // the ICMP checksum is made right again
	uint16_t cut; // bytes less
	int ret;
} learns[] = {
	{ "v4", false, false, 1400, 0, 0, 0, false, 0, 1 },
	{ "v6", true, false, 1400, 0, 0, 0, false, 0, 1 },
	{ "v4 gre", false, true, 1400, 0, 0, 0, false, 0, 1 },
	{ "v6 gre", true, true, 1400, 0, 0, 0, false, 0, 1 },
	{ "v4: the least", false, false, 576, 0, 0, 0, false, 0, 1 },
	{ "v4: less than that", false, false, 575, 0, 0, 0, false, 0, -EPROTO },
	{ "v4: none", false, false, 0, 0, 0, 0, false, 0, -EPROTO },
	{ "v6: the least", true, false, 1280, 0, 0, 0, false, 0, 1 },
	{ "v6: less than that", true, false, 1279, 0, 0, 0, false, 0, -EPROTO },
	{ "v4: what it is already", false, false, 1500, 0, 0, 0, false, 0, -EPROTO },
	{ "v4: more than the packet had", false, false, 1490, 0, 0, 0, false, 0, -EPROTO },
	{ "v6: 2^16 and more", true, false, 0x10500, 0, 0, 0, false, 0, -EPROTO },
	{ "v4: to somebody else", false, false, 1400, 0, 33, 77, false, 0, 0 },
	{ "v6: to somebody else", true, false, 1400, 0, 53, 77, true, 0, 0 },
	{ "v4: a fragment", false, false, 1400, 0, 20, 0x20, false, 0, 0 },
	{ "v4: code 3", false, false, 1400, 1, 1, 3, true, 0, 0 },
	{ "v6: code 1", true, false, 1400, 1, 1, 1, true, 0, 0 },
	{ "v4: checksum", false, false, 1400, 1, 3, 0x5a, false, 0, -EBADMSG },
	{ "v6: checksum", true, false, 1400, 1, 3, 0x5a, false, 0, -EBADMSG },
	{ "v4: cut", false, false, 1400, 0, 0, 0, false, 1, 0 },
	{ "v4: quotes another sender", false, false, 1400, 2, 15, 77, true, 0, -EPROTO },
	{ "v6: quotes another sender", true, false, 1400, 2, 23, 77, true, 0, -EPROTO },
	{ "v4: quotes another end", false, false, 1400, 2, 19, 77, true, 0, -EPROTO },
	{ "v4: quotes no DF", false, false, 1400, 2, 6, 0, true, 0, -EPROTO },
	{ "v4: quotes TCP", false, false, 1400, 2, 9, 6, true, 0, -EPROTO },
	{ "v4: quotes a source port that we do not use", false, false, 1400, 2, 20, 9, true, 0,
		-EPROTO },
	{ "v4: quotes a port without tunnel", false, false, 1400, 2, 23, 9, true, 0, -EPROTO },
};

static void learn(void **state)
{
	const struct learn_case *t = *state;
	const struct odp_ul_conf conf = { .pool = pool, .send = send_out, .ready = ready };
	struct odp_ip ours = { 4, { 10, 0, 0, 1 } }, far = { 4, { 10, 0, 0, 2 } };
	struct odp_tnl_vport v = { .type = t->gre ? ODP_TNL_GRE : ODP_TNL_VXLAN,
		.udp_port = t->gre ? 0 : 4789 };
	struct odp_tnl_key key = { .id = 7,
		.flags = ODP_TNL_F_KEY | ODP_TNL_F_DF,
		.family = t->v6 ? 6 : 4,
		.tp_dst = v.udp_port };
	struct odp_tnl_tx tx = { .pool = pool };
	struct odp_pmtu *said;
	struct odp_tnl_demux *d;
	struct odp_tnl_tmpl tmpl;
	struct odp_ul_path *path;
	struct rte_mbuf *m, *msg;
	struct odp_ul *ul;

	if (t->v6) {
		ours = (struct odp_ip){ 6, { 0xfd, [15] = 1 } };
		far = (struct odp_ip){ 6, { 0xfd, [15] = 2 } };
	}
	assert_int_equal(odp_ul_create(&conf, 0, &ul), 0);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, (uint8_t[6]){ 2, 1 }, 1500), 0);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &ours, 24), 0);
	assert_int_equal(odp_ul_neigh_set(ul, 5, 0, &far, (uint8_t[6]){ 2, 2 }), 0);
	assert_int_equal(odp_ul_path_get(ul, &far, &(struct odp_ip){ 0 }, &path), 0);
	assert_int_equal(odp_tnl_demux_create(&v, 1, &d), 0);
	memcpy(key.src, ours.a, 16);
	memcpy(key.dst, far.a, 16);
	assert_int_equal(
		odp_tnl_compose(v.type, &key, ODP_INNER_ETH, &path->hop.link, 0, &tmpl), 0);

	// A tunnel packet of ours, of 1470 bytes, and what a router says to it.
	m = frame(false, false, 1470 - (tmpl.len - tmpl.l2_len));
	assert_int_equal(odp_tnl_push(&m, &tmpl, &tx, 0x1234567), 0);
	assert_int_equal(odp_pmtu_create(&(struct odp_pmtu_conf){ .pool = pool }, &said), 0);
	assert_int_equal(odp_pmtu_answer(said, m, 1300, 1, 0, &msg), 0);

	uint8_t *b = rte_pktmbuf_mtod(msg, uint8_t *);
	uint8_t *icmp = b + (t->v6 ? 54 : 34);
	uint32_t len = msg->pkt_len - (t->v6 ? 54u : 34u);

	odp_put32(icmp + 4, t->mtu);
	if (t->off && t->at == 0)
		b[t->off] = t->value;
	if (t->off && t->at == 1 && t->fix)
		icmp[t->off] = t->value;
	if (t->off && t->at == 2)
		icmp[8 + t->off] = t->value;
	odp_put16(icmp + 2, 0);
	odp_put16(icmp + 2,
		(uint16_t)~odp_fold(odp_sum(icmp, len, t->v6 ? odp_sum(b + 22, 32, 58 + len) : 0)));
	if (t->off && t->at == 1 && !t->fix)
		icmp[t->off] ^= t->value;
	rte_pktmbuf_trim(msg, t->cut);

	uint32_t gen = path->gen;

	assert_int_equal(odp_pmtu_learn(ul, d, msg), t->ret);
	assert_int_equal(path->hop.link.mtu, t->ret == 1 ? t->mtu : 1500);
	assert_int_equal(odp_ul_path_current(path, gen), t->ret != 1);
	if (t->ret == 1) {
		// The same again says nothing new; after ten minutes it is over.
		assert_int_equal(odp_pmtu_learn(ul, d, msg), -EPROTO);
		odp_ul_tick(ul, 601 * SEC);
		assert_int_equal(path->hop.link.mtu, 1500);
	}
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(msg);
	odp_pmtu_destroy(said);
	odp_tnl_demux_destroy(d);
	odp_ul_destroy(ul);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told),
		cmocka_unit_test(limits),
		cmocka_unit_test(exceeds),
	};
	int failed = 0;

	pool = fake_eal(1023);
	RUN_ROWS(answers, answer, failed);
	RUN_ROWS(learns, learn, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
