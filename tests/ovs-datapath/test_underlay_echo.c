// SPDX-License-Identifier: Apache-2.0
/* Who is answered when they ask an address of the underlay for an echo, and with what. */
#include "test.h"

#include <netinet/in.h>
#include <string.h>

#include "fake_port.h"
#include "inet.h"
#include "underlay.h"

static struct rte_mempool *pool;
static struct rte_mbuf *sent;
static unsigned n_sent;

static void send_out(void *arg, uint32_t port, struct rte_mbuf *m)
{
	(void)arg;
	assert_int_equal(port, 5);
	rte_pktmbuf_free(sent);
	sent = m;
	n_sent++;
}

static void ready(void *arg, struct odp_ul_path *path, struct rte_mbuf *m)
{
	(void)arg;
	(void)path;
	rte_pktmbuf_free(m);
}

static const uint8_t ours_mac[6] = { 2, 0, 0, 0, 0, 1 }, theirs_mac[6] = { 2, 0, 0, 0, 0, 9 };

static struct odp_ul *make(void)
{
	const struct odp_ul_conf conf = { .pool = pool,
		.seed = { 0x0123456789abcdef, 0x9e3779b97f4a7c15 },
		.send = send_out,
		.ready = ready };
	const struct odp_ip a = { 4, { 192, 0, 2, 1 } }, b = { 6, { 0xfd, [15] = 1 } };
	struct odp_ul *ul;

	assert_int_equal(odp_ul_create(&conf, 0, &ul), 0);
	assert_int_equal(odp_ul_if_set(ul, 5, 0, ours_mac, 1500), 0);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &a, 24), 0);
	assert_int_equal(odp_ul_addr_add(ul, 5, 0, &b, 64), 0);
	n_sent = 0;
	return ul;
}

/* What is to be another byte than in a request that is right. Offsets are from the IP header. */
struct change {
	uint16_t at;
	uint8_t v;
};

static const struct row {
	const char *name;
	uint8_t family;
	uint16_t vlan;
	uint16_t payload;
	struct change c[2]; // at 0: none
	bool answered;
	enum { SUMS_RIGHT, ICMP_WRONG, IP_WRONG } sums;
} rows[] = {
	{ "v4", 4, 0, 56, { { 0 } }, true },
	{ "v4 with a type of service", 4, 0, 56, { { 1, 0xb8 } }, true },
	{ "v4 in a VLAN", 4, 7, 56, { { 0 } }, true },
	{ "v4 without payload", 4, 0, 0, { { 0 } }, true },
	{ "v4 of odd length", 4, 0, 333, { { 0 } }, true },
	{ "v4 as long as may be", 4, 0, 1472, { { 0 } }, true },
	{ "v4 several segments", 4, 0, 6001, { { 0 } }, true },
	{ "v4 of somebody else", 4, 0, 56, { { 19, 2 } }, false },
	{ "v4 from many", 4, 0, 56, { { 12, 224 } }, false },
	{ "v4 from all", 4, 0, 56, { { 12, 255 } }, false },
	{ "v4 from nobody", 4, 0, 56, { { 12, 0 } }, false },
	{ "v4 from ourselves", 4, 0, 56, { { 15, 1 } }, false },
	{ "v4 an answer", 4, 0, 56, { { 20, 0 } }, false },
	{ "v4 another code", 4, 0, 56, { { 21, 1 } }, false },
	{ "v4 a first fragment", 4, 0, 56, { { 6, 0x20 } }, false },
	{ "v4 a later fragment", 4, 0, 56, { { 7, 1 } }, false },
	{ "v4 options", 4, 0, 56, { { 0 }, { 0 } }, false },
	{ "v4 longer than it is", 4, 0, 56, { { 3, 200 } }, false },
	{ "v4 shorter than its headers", 4, 0, 56, { { 3, 27 } }, false },
	{ "v4 UDP", 4, 0, 56, { { 9, 17 } }, false },
	{ "v4 sum wrong", 4, 0, 56, { { 0 } }, false, ICMP_WRONG },
	{ "v4 sum of the header wrong", 4, 0, 56, { { 0 } }, false, IP_WRONG },
	{ "v6", 6, 0, 56, { { 0 } }, true },
	{ "v6 in a VLAN", 6, 7, 56, { { 0 } }, true },
	{ "v6 without payload", 6, 0, 0, { { 0 } }, true },
	{ "v6 of odd length", 6, 0, 1433, { { 0 } }, true },
	{ "v6 several segments", 6, 0, 6001, { { 0 } }, true },
	{ "v6 of somebody else", 6, 0, 56, { { 39, 2 } }, false },
	{ "v6 from many", 6, 0, 56, { { 8, 0xff } }, false },
	{ "v6 from nobody", 6, 0, 56, { { 8, 0 }, { 23, 0 } }, false },
	{ "v6 from ourselves", 6, 0, 56, { { 23, 1 } }, false },
	{ "v6 an answer", 6, 0, 56, { { 40, 129 } }, false },
	{ "v6 another code", 6, 0, 56, { { 41, 1 } }, false },
	{ "v6 longer than it is", 6, 0, 56, { { 5, 200 } }, false },
	{ "v6 shorter than its header", 6, 0, 56, { { 4, 0 }, { 5, 7 } }, false },
	{ "v6 an extension header", 6, 0, 56, { { 6, 60 } }, false },
	{ "v6 sum wrong", 6, 0, 56, { { 0 } }, false, ICMP_WRONG },
};

static void sums(uint8_t *ip, const struct row *t)
{
	bool v4 = t->family == 4;
	uint32_t hdr = v4 ? 20 : 40, len = 8u + t->payload;
	uint8_t *icmp = ip + hdr;

	if (v4) {
		odp_put16(ip + 10, 0);
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	}
	odp_put16(icmp + 2, 0);
	odp_put16(icmp + 2, (uint16_t)~odp_fold(odp_sum(icmp, len,
				    v4 ? 0 : odp_sum(ip + 8, 32, IPPROTO_ICMPV6 + len))));
}

static size_t request(uint8_t *f, const struct row *t)
{
	static const uint8_t from4[8] = { 192, 0, 2, 9, 192, 0, 2, 1 };
	size_t l3 = t->vlan ? 18 : 14, hdr = t->family == 4 ? 20 : 40;
	uint8_t *ip = f + l3, *icmp = ip + hdr;
	uint32_t len = 8u + t->payload;

	memset(f, 0, l3 + hdr + len);
	memcpy(f, ours_mac, 6);
	memcpy(f + 6, theirs_mac, 6);
	if (t->vlan) {
		odp_put16(f + 12, ODP_ETH_VLAN);
		odp_put16(f + 14, t->vlan);
	}
	odp_put16(f + l3 - 2, t->family == 4 ? ODP_ETH_IPV4 : ODP_ETH_IPV6);
	if (t->family == 4) {
		ip[0] = 0x45;
		odp_put16(ip + 2, 20 + len);
		odp_put16(ip + 4, 777);
		ip[8] = 3;
		ip[9] = IPPROTO_ICMP;
		memcpy(ip + 12, from4, 8);
	} else {
		ip[0] = 0x60;
		odp_put16(ip + 4, len);
		ip[6] = IPPROTO_ICMPV6;
		ip[7] = 3;
		ip[8] = ip[24] = 0xfd;
		ip[23] = 9;
		ip[39] = 1;
	}
	icmp[0] = t->family == 4 ? 8 : 128;
	odp_put16(icmp + 4, 0x1234);
	odp_put16(icmp + 6, 1);
	for (uint32_t i = 0; i < t->payload; i++)
		icmp[8 + i] = (uint8_t)(i * 31 + 7);
	for (unsigned i = 0; i < 2; i++)
		if (t->c[i].at)
			ip[t->c[i].at] = t->c[i].v;
	if (!strcmp(t->name, "v4 options"))
		ip[0] = 0x46;
	sums(ip, t);
	if (t->sums == ICMP_WRONG)
		icmp[2] ^= 1;
	if (t->sums == IP_WRONG)
		ip[10] ^= 1;
	return l3 + hdr + len;
}

/* In pieces of at most `piece` bytes. */
static struct rte_mbuf *packet(const uint8_t *f, size_t n, size_t piece)
{
	struct rte_mbuf *head = NULL;

	for (size_t at = 0; at < n; at += piece) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
		size_t len = RTE_MIN(piece, n - at);

		assert_non_null(m);
		memcpy(rte_pktmbuf_append(m, (uint16_t)len), f + at, len);
		if (head)
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		else
			head = m;
	}
	return head;
}

/* The answer to `f`, worked out in another way: what differs from the request, with sums anew. */
static void expect(uint8_t *f, const struct row *t)
{
	uint8_t *ip = f + (t->vlan ? 18 : 14);

	memcpy(f, theirs_mac, 6);
	memcpy(f + 6, ours_mac, 6);
	if (t->family == 4) {
		odp_put16(ip + 4, 0);
		odp_put16(ip + 6, 0x4000);
		ip[8] = 64;
		ip[15] = 1;
		ip[19] = 9;
		ip[20] = 0;
	} else {
		ip[7] = 64;
		ip[23] = 1;
		ip[39] = 9;
		ip[40] = 129;
	}
	sums(ip, t);
}

static void answer(void **state)
{
	const struct row *t = *state;
	unsigned before = rte_mempool_in_use_count(pool);
	static uint8_t f[8192], copy[8192];
	size_t n = request(f, t), padded = RTE_MAX(n, (size_t)60);
	struct odp_ul *ul = make();
	struct odp_ul_stats st;
	struct rte_mbuf *m;
	const uint8_t *got;

	memset(f + n, 0xee, padded - n);
	m = packet(f, padded, 1900);
	assert_int_equal(odp_ul_echo(ul, 5, m), t->answered);
	assert_int_equal(n_sent, t->answered);
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, t->answered);
	got = rte_pktmbuf_read(m, 0, (uint32_t)padded, copy);
	assert_memory_equal(got, f, padded); // what came is not written
	rte_pktmbuf_free(m);
	if (t->answered) {
		expect(f, t);
		assert_int_equal(sent->pkt_len, n);
		got = rte_pktmbuf_read(sent, 0, (uint32_t)n, copy);
		assert_memory_equal(got, f, n);
	}
	rte_pktmbuf_free(sent);
	sent = NULL;
	odp_ul_destroy(ul);
	assert_int_equal(rte_mempool_in_use_count(pool), before);
}

/* However short it is cut. */
static void cut(void **state)
{
	static const struct row both[] = { { "v4", 4, 7, 8 }, { "v6", 6, 7, 8 } };
	struct odp_ul *ul = make();
	uint8_t f[256];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		size_t n = request(f, &both[i]);

		for (size_t len = 1; len < n; len++) {
			struct rte_mbuf *m = packet(f, len, len);

			assert_false(odp_ul_echo(ul, 5, m));
			rte_pktmbuf_free(m);
		}
	}
	odp_ul_destroy(ul);
}

static void ask(struct odp_ul *ul, uint8_t host, unsigned n)
{
	struct row t = { .name = "", .family = 4, .payload = 8, .c = { { 15, host } } };
	uint8_t f[128];
	struct rte_mbuf *m = packet(f, request(f, &t), 128);

	for (unsigned i = 0; i < n; i++)
		assert_true(odp_ul_echo(ul, 5, m));
	rte_pktmbuf_free(m);
}

/* One host is answered a hundred times a second, all of them a thousand times. */
static void limits(void **state)
{
	struct odp_ul *ul = make();
	struct odp_ul_stats st;

	(void)state;
	odp_ul_tick(ul, 10ull * 1000000000);
	ask(ul, 9, 250);
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 100);
	assert_int_equal(st.echo_limited, 150);
	ask(ul, 10, 50); // another one still is
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 150);
	for (unsigned host = 11; host < 100; host++)
		ask(ul, (uint8_t)host, 50);
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 1000);
	assert_int_equal(st.echoes + st.echo_limited, 250 + 50 + 89 * 50);
	odp_ul_tick(ul, 11ull * 1000000000);
	ask(ul, 9, 1);
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 1001);
	rte_pktmbuf_free(sent);
	sent = NULL;
	odp_ul_destroy(ul);
}

/* What is wrong is summed up no more often than what is right would be answered. */
static void wrong_sums_are_limited(void **state)
{
	struct row t = { .name = "", .family = 4, .payload = 8, .sums = ICMP_WRONG };
	struct odp_ul *ul = make();
	struct odp_ul_stats st;
	struct rte_mbuf *m;
	unsigned looked = 0;
	uint8_t f[128];

	(void)state;
	odp_ul_tick(ul, 10ull * 1000000000);
	m = packet(f, request(f, &t), 128);
	for (unsigned i = 0; i < 250; i++)
		looked += !odp_ul_echo(ul, 5, m);
	rte_pktmbuf_free(m);
	assert_int_equal(looked, 100);
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 0);
	assert_int_equal(st.echo_limited, 150);
	odp_ul_destroy(ul);
}

/* Without a buffer there is no answer, and it is seen that there was none. */
static void no_buffer_is_counted(void **state)
{
	static struct rte_mbuf *taken[1023];
	struct row t = { .name = "", .family = 4, .payload = 8 };
	struct odp_ul *ul = make();
	struct odp_ul_stats st;
	struct rte_mbuf *m;
	unsigned n = 0;
	uint8_t f[128];

	(void)state;
	m = packet(f, request(f, &t), 128);
	while (n < ARRAY_LEN(taken) && (taken[n] = rte_pktmbuf_alloc(pool)))
		n++;
	assert_true(odp_ul_echo(ul, 5, m));
	rte_pktmbuf_free_bulk(taken, n);
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 0);
	assert_int_equal(st.no_mbuf, 1);
	assert_true(odp_ul_echo(ul, 5, m));
	odp_ul_stats(ul, &st);
	assert_int_equal(st.echoes, 1);
	assert_int_equal(st.no_mbuf, 1);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free(sent);
	sent = NULL;
	odp_ul_destroy(ul);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(cut), cmocka_unit_test(limits),
		cmocka_unit_test(wrong_sums_are_limited), cmocka_unit_test(no_buffer_is_counted) };
	int failed = 0;

	pool = fake_eal(1023);
	RUN_ROWS(rows, answer, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
