// SPDX-License-Identifier: Apache-2.0
/* ARP and ND through workers: what each message is, and what a flood of them cannot do. */
#include "tnl_net.h"

#include <netinet/in.h>

#include "underlay_gate.h"
#include "vport.h"

static const uint8_t a_mac[6] = { 2, 0xff, 0, 0, 0, 1 }, b_mac[6] = { 2, 0xff, 0, 0, 0, 2 };
static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* From v6(from) to v6(to) about v6(about); `opt` bytes of option at the end. */
static size_t nd(uint8_t *f, const uint8_t *dst, const uint8_t *src, uint8_t type, uint8_t flags,
	uint8_t from, uint8_t to, uint8_t about, unsigned opt)
{
	uint8_t *ip = f + 14, *m = ip + 40;
	uint32_t len = 24 + opt;

	memset(f, 0, 14 + 40 + len);
	memcpy(f, dst, 6);
	memcpy(f + 6, src, 6);
	odp_put16(f + 12, ODP_ETH_IPV6);
	ip[0] = 0x60;
	odp_put16(ip + 4, len);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, v6(from).a, 16);
	memcpy(ip + 24, v6(to).a, 16);
	m[0] = type;
	m[4] = flags;
	memcpy(m + 8, v6(about).a, 16);
	if (opt >= 8) {
		m[24] = type == 135 ? 1 : 2;
		m[25] = 1;
		memcpy(m + 26, src, 6);
		for (unsigned at = 32; at < len; at += 8)
			m[at + 1] = 1;
	}
	odp_put16(m + 2,
		(uint16_t)~odp_fold(odp_sum(ip + 8, 32, odp_sum(m, len, IPPROTO_ICMPV6 + len))));
	return 54 + len;
}

/* ---- what it is ---- */

/* Before the answer of b (host 2), after it, and when it is asked anew. */
enum when { OPEN, KNOWN, PROBED, WHENS };

static const struct row {
	const char *name;
	uint8_t v6, dst, src; // MACs: 1 ours, 2 the neighbour's, 3 somebody's, 0xff all
	uint8_t type, flags, from, to, about, opt;
	enum odp_ul_class is[WHENS];
} rows[] = {
#define ANSWER ODP_UL_ANSWER
#define KNOWN_ ODP_UL_KNOWN
#define QUESTION ODP_UL_QUESTION
#define OTHERS ODP_UL_OTHERS
	{ "arp answer", 0, 1, 2, 2, 0, 2, 1, 0, 0, { ANSWER, KNOWN_, ANSWER } },
	{ "arp answer to another MAC", 0, 3, 2, 2, 0, 2, 1, 0, 0, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "arp answer to all", 0, 0xff, 2, 2, 0, 2, 1, 0, 0, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "arp answer for others", 0, 1, 2, 2, 0, 2, 9, 0, 0, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "arp answer of a stranger", 0, 1, 3, 2, 0, 9, 1, 0, 0, { QUESTION, QUESTION, QUESTION } },
	{ "arp question", 0, 0xff, 3, 1, 0, 9, 1, 0, 0, { QUESTION, QUESTION, QUESTION } },
	{ "arp question of the neighbour", 0, 0xff, 2, 1, 0, 2, 1, 0, 0,
		{ KNOWN_, KNOWN_, KNOWN_ } },
	{ "arp among others", 0, 0xff, 3, 1, 0, 9, 8, 0, 0, { OTHERS, OTHERS, OTHERS } },
	{ "arp that claims our address", 0, 0xff, 3, 1, 0, 1, 8, 0, 0,
		{ QUESTION, QUESTION, QUESTION } },
	{ "na", 1, 1, 2, 136, 0x60, 2, 1, 2, 8, { ANSWER, KNOWN_, ANSWER } },
	{ "na that overrides nothing", 1, 1, 2, 136, 0x40, 2, 1, 2, 8, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "na without an address", 1, 1, 2, 136, 0x40, 2, 1, 2, 0, { KNOWN_, KNOWN_, ANSWER } },
	{ "na that nobody asked for", 1, 1, 2, 136, 0x20, 2, 1, 2, 8, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "na to another MAC", 1, 3, 2, 136, 0x60, 2, 1, 2, 8, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "na to others", 1, 1, 2, 136, 0x60, 2, 9, 2, 8, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "na with more options", 1, 1, 2, 136, 0x60, 2, 1, 2, 16, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "na of a stranger", 1, 1, 3, 136, 0x60, 9, 1, 9, 8,
		{ ODP_UL_NONE, ODP_UL_NONE, ODP_UL_NONE } },
	{ "na among others", 1, 3, 3, 136, 0x60, 9, 8, 9, 8, { OTHERS, OTHERS, OTHERS } },
	{ "na that claims our address", 1, 1, 3, 136, 0x60, 9, 1, 1, 8,
		{ QUESTION, QUESTION, QUESTION } },
	{ "ns", 1, 1, 3, 135, 0, 9, 1, 1, 8, { QUESTION, QUESTION, QUESTION } },
	{ "ns of the neighbour", 1, 1, 2, 135, 0, 2, 1, 1, 8, { KNOWN_, KNOWN_, KNOWN_ } },
	{ "ns among others", 1, 3, 3, 135, 0, 9, 8, 8, 8, { OTHERS, OTHERS, OTHERS } },
	{ "icmpv6 of another kind", 1, 1, 2, 128, 0, 2, 1, 2, 0,
		{ ODP_UL_NONE, ODP_UL_NONE, ODP_UL_NONE } },
	{ "icmpv6 of another kind to many", 1, 0xff, 2, 130, 0, 2, 1, 2, 0,
		{ OTHERS, OTHERS, OTHERS } },
};

static const uint8_t *mac_no(uint8_t no)
{
	static uint8_t mac[4][6];
	static unsigned i;
	uint8_t *m = mac[i++ % 4];

	memcpy(m, (const uint8_t[6]){ 2, 0xff, 0, 0, 0, no }, 6);
	return no == 0xff ? all : m;
}

static size_t frame(uint8_t *f, const struct row *t)
{
	return t->v6 ? nd(f, mac_no(t->dst), mac_no(t->src), t->type, t->flags, t->from, t->to,
			       t->about, t->opt)
		     : arp(f, mac_no(t->dst), mac_no(t->src), t->type, IP(t->from), IP(t->to));
}

static enum odp_ul_class what(struct side *s, const uint8_t *f, size_t n, uint32_t port)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	enum odp_ul_class c;
	uint32_t source;

	assert_non_null(m);
	memcpy(rte_pktmbuf_append(m, (uint16_t)n), f, n);
	c = odp_ul_classify(s->dp->tnls->ul, port, m, &source);
	rte_pktmbuf_free(m);
	return c;
}

static void hear(struct side *s, const uint8_t *f, size_t n)
{
	fake_port_push(&s->up, pool, f, n);
	while (odp_worker_turn(s->w) + odp_upcall_poll(s->dp) > 0)
		;
	fake_port_reset(&s->up);
}

static void classify(void **state)
{
	const struct row *t = *state;
	struct odp_ul *ul;
	struct odp_ul_path *p[2];
	const struct odp_ip any = { 0 }, b4 = v4(2), b6 = v6(2);
	static struct net n;
	uint8_t f[128], answer[128];
	size_t len = frame(f, t), answer_len;

	net_up(&n, ODP_TNL_VXLAN);
	ul = odp_underlay(n.a.dp);
	assert_int_equal(what(&n.a, f, len, UP) == ODP_UL_ANSWER, false); // nothing was asked
	assert_int_equal(odp_ul_path_get(ul, &b4, &any, &p[0]), 0);
	assert_int_equal(odp_ul_path_get(ul, &b6, &any, &p[1]), 0);
	assert_int_equal(what(&n.a, f, len, UP), t->is[OPEN]);
	// On another port and in a VLAN it means nothing.
	assert_true(what(&n.a, f, len, VM) >= ODP_UL_CLASSES);
	hear(&n.a, answer, arp(answer, a_mac, b_mac, 2, IP(2), IP(1)));
	answer_len = nd(answer, a_mac, b_mac, 136, 0x60, 2, 1, 2, 8);
	hear(&n.a, answer, answer_len);
	assert_int_equal(what(&n.a, f, len, UP), t->is[KNOWN]);
	for (unsigned i = 0; i < 310; i++) { // stale, and used
		fake_now_ns += 100 * MS;
		odp_ul_tick(ul, fake_now_ns);
	}
	odp_ul_path_use(p[0]);
	odp_ul_path_use(p[1]);
	odp_ul_tick(ul, fake_now_ns);
	assert_int_equal(what(&n.a, f, len, UP), t->is[PROBED]);
	// What it takes to be an answer is what ends the question.
	hear(&n.a, f, len);
	if (t->is[PROBED] == ODP_UL_ANSWER)
		assert_int_equal(what(&n.a, f, len, UP), ODP_UL_KNOWN);
	odp_ul_path_put(ul, p[0]);
	odp_ul_path_put(ul, p[1]);
	assert_true(what(&n.a, f, len, UP) != ODP_UL_ANSWER);
	assert_true(what(&n.a, f, len, UP) != ODP_UL_KNOWN);
	net_down(&n);
}

/* With an interface in a VLAN: what has its tag is for it, and what has none or another is not. */
static void in_a_vlan(void **state)
{
	static const uint8_t tag[4] = { 0x81, 0, 0x60, 7 };
	static struct net n;
	const struct odp_ip ip = v4(1);
	struct odp_ul *ul;
	uint8_t f[64], t[68];

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	ul = odp_underlay(n.a.dp);
	assert_int_equal(odp_ul_addr_del(ul, &ip), 0);
	assert_int_equal(odp_ul_if_set(ul, UP, 0x1007, a_mac, 1500), 0);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0x1007, &ip, 24), 0);
	size_t len = arp(f, all, b_mac, 1, IP(9), IP(1));

	memcpy(t, f, 12);
	memcpy(t + 12, tag, 4);
	memcpy(t + 16, f + 12, len - 12);
	assert_int_equal(what(&n.a, t, len + 4, UP), ODP_UL_QUESTION);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_OTHERS);
	t[15] = 8;
	assert_int_equal(what(&n.a, t, len + 4, UP), ODP_UL_OTHERS);
	t[15] = 0; // priority alone
	assert_int_equal(what(&n.a, t, len + 4, UP), ODP_UL_OTHERS);
	assert_int_equal(odp_ul_addr_del(ul, &ip), 0);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0, &ip, 24), 0);
	assert_int_equal(what(&n.a, t, len + 4, UP), ODP_UL_QUESTION);
	// The whole way: it is answered in its VLAN.
	assert_int_equal(odp_ul_addr_del(ul, &ip), 0);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0x1007, &ip, 24), 0);
	t[15] = 7;
	fake_port_push(&n.a.up, pool, t, len + 4);
	while (odp_worker_turn(n.a.w) + odp_upcall_poll(n.a.dp) > 0)
		;
	assert_int_equal(n.a.up.n_out, 1);
	const uint8_t *out = rte_pktmbuf_mtod(n.a.up.out[0], const uint8_t *);

	assert_memory_equal(out, b_mac, 6);
	assert_int_equal(odp_get16(out + 12), 0x8100);
	assert_int_equal(odp_get16(out + 14) & 0xfff, 7);
	assert_int_equal(odp_get16(out + 24), 2);
	net_down(&n);
}

/* Of strangers few are taken for one of a thousand neighbours. */
static void few_strangers_pass_for_neighbours(void **state)
{
	enum { NEIGHBOURS = 1000, STRANGERS = 20000 };
	static struct net n;
	struct odp_ip ip = { .family = 4, .a = { 198, 18 } };
	unsigned known = 0;
	struct odp_ul *ul;
	uint8_t f[64];

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	ul = odp_underlay(n.a.dp);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0,
				 &(struct odp_ip){ .family = 4, .a = { 198, 18, 255, 254 } }, 16),
		0);
	for (unsigned i = 1; i <= NEIGHBOURS; i++) {
		odp_put16(ip.a + 2, i);
		assert_int_equal(odp_ul_neigh_set(ul, UP, 0, &ip, b_mac), 0);
	}
	for (unsigned i = 0; i < NEIGHBOURS + STRANGERS; i++) {
		size_t len = arp(f, a_mac, b_mac, 2, 0xc6120001u + i, IP(1));
		bool is = what(&n.a, f, len, UP) == ODP_UL_KNOWN;

		known += is && i >= NEIGHBOURS;
		assert_true(is || i >= NEIGHBOURS);
	}
	assert_in_range(known, 1, STRANGERS / 100);
	net_down(&n);
}

/* Marks come and go with what they stand for, whatever the order. */
static void marks_are_taken_back(void **state)
{
	static struct net n;
	struct odp_ul *ul;
	uint8_t f[64];
	const struct odp_ip ip = v4(1), b4 = v4(2);
	size_t len = arp(f, all, b_mac, 1, IP(9), IP(1));

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	ul = odp_underlay(n.a.dp);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_QUESTION);
	assert_int_equal(odp_ul_addr_del(ul, &ip), 0);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_OTHERS);
	assert_int_equal(odp_ul_addr_add(ul, UP, 0, &ip, 24), 0);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_QUESTION);
	len = arp(f, all, b_mac, 1, IP(2), IP(1));
	assert_int_equal(odp_ul_neigh_set(ul, UP, 0, &b4, b_mac), 0);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_KNOWN);
	assert_int_equal(odp_ul_neigh_del(ul, &b4), 0);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_QUESTION);
	assert_int_equal(odp_ul_neigh_set(ul, UP, 0, &b4, b_mac), 0);
	assert_int_equal(odp_ul_if_del(ul, UP, 0), 0);
	assert_int_equal(what(&n.a, f, len, UP), ODP_UL_OTHERS);
	net_down(&n);
}

/* Cut anywhere, it is something, and nothing is read behind its end (ASan looks). */
static void cut(void **state)
{
	static struct net n;
	uint8_t f[128];

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = frame(f, &rows[i]);

		for (size_t k = 0; k < len; k++)
			assert_true(what(&n.a, f, k, UP) <= ODP_UL_OTHERS);
	}
	net_down(&n);
}

/* ---- floods ---- */

static const struct flood {
	const char *name;
	enum { ARP_ONE, ARP_MANY, ARP_FOREIGN, ANSWERS, SOLICIT, JUNK } what;
} floods[] = {
	{ "questions of one host", ARP_ONE },
	{ "questions of many", ARP_MANY },
	{ "questions for others", ARP_FOREIGN },
	{ "answers to questions that nobody asked", ANSWERS },
	{ "solicitations", SOLICIT },
	{ "frames for our MAC address", JUNK },
};

static size_t flood_frame(uint8_t *f, const struct flood *t, unsigned i)
{
	const uint8_t mac[6] = { 2, 0xee, 0, 0, (uint8_t)(i >> 8), (uint8_t)i };
	uint8_t host = (uint8_t)(10 + i % 200);

	switch (t->what) {
	case ARP_ONE:
		return arp(f, all, mac, 1, IP(9), IP(1));
	case ARP_MANY:
		return arp(f, all, mac, 1, IP(host), IP(1));
	case ARP_FOREIGN:
		return arp(f, all, mac, 1, IP(host), IP(host + 1));
	case ANSWERS:
		return arp(f, a_mac, mac, 2, IP(host), IP(1));
	case SOLICIT:
		return nd(f, a_mac, mac, 135, 0, host, 1, 1, 8);
	default:
		(void)udp_frame(f, 18);
		memcpy(f, a_mac, 6);
		memcpy(f + 6, mac, 6);
		return 60;
	}
}

/* As much as fits into a port's queue, before and behind what matters. */
static void flood_now(struct net *n, const struct flood *t, unsigned frames)
{
	static unsigned i;
	uint8_t f[128];

	for (unsigned end = i + frames; i < end; i++)
		fake_port_push(&n->a.up, pool, f, flood_frame(f, t, i));
}

static void worker_only(struct side *s)
{
	while (odp_worker_turn(s->w) > 0)
		;
}

/*
 * The control thread is slow: it looks only after a thousand frames have come. Even so a neighbour
 * is resolved, confirmed when it has grown old, and itself gets its answers; what is established
 * goes on without losing a packet.
 */
static void flooded(void **state)
{
	const struct flood *t = *state;
	static struct net n;
	uint8_t f[64];

	net_up(&n, ODP_TNL_VXLAN);
	flow(&n.a, "in_port(2)", "set(tunnel(tun_id=5,dst=192.0.2.2)),3");
	flow(&n.b, "in_port(3),tunnel(tun_id=0x5,src=192.0.2.1)", "2");
	say(&n.a, 100);
	while (odp_worker_turn(n.a.w) + odp_upcall_poll(n.a.dp) > 0)
		;
	assert_int_equal(n.a.up.n_out, 1); // who has 192.0.2.2?
	fake_port_reset(&n.a.up);
	flood_now(&n, t, 500);
	fake_port_push(&n.a.up, pool, f, arp(f, a_mac, b_mac, 2, IP(2), IP(1)));
	flood_now(&n, t, 500);
	worker_only(&n.a);
	settle(&n);
	heard(&n.b, 1, 100);

	for (unsigned round = 0; round < 40; round++) { // the neighbour grows stale on the way
		unsigned told;

		flood_now(&n, t, 300);
		say(&n.a, 100);
		worker_only(&n.a);
		fake_now_ns += SEC;
		odp_underlay_tick(n.a.dp);
		settle(&n); // its question and b's answer, among others
		heard(&n.b, 1, 100);
		flood_now(&n, t, 300);
		fake_port_push(&n.a.up, pool, f, arp(f, all, b_mac, 1, IP(2), IP(1)));
		flood_now(&n, t, 300);
		worker_only(&n.a);
		fake_port_reset(&n.a.up);
		while (odp_upcall_poll(n.a.dp) + odp_worker_turn(n.a.w) > 0)
			;
		told = 0;
		for (unsigned i = 0; i < n.a.up.n_out; i++)
			told += !memcmp(rte_pktmbuf_mtod(n.a.up.out[i], uint8_t *), b_mac, 6);
		assert_int_equal(told, 1);
		fake_port_reset(&n.a.up);
	}
	if (t->what != JUNK)
		assert_true(fake_port_drops(n.a.up.port, ODP_DROP_NEIGH_LIMIT) +
				    fake_port_drops(n.a.up.port, ODP_DROP_UNSWITCHED) >
			    10000);
	net_down(&n);
}

/* What one host asks is bounded, and so is what all do; both are counted. */
static void limits(void **state)
{
	static const struct flood one = { .what = ARP_ONE }, many = { .what = ARP_MANY };
	static struct net n;
	struct odp_ul_stats st;

	(void)state;
	net_up(&n, ODP_TNL_VXLAN);
	fake_now_ns += 10 * SEC;
	odp_underlay_tick(n.a.dp);
	for (unsigned i = 0; i < 60; i++) {
		flood_now(&n, &one, 20);
		while (odp_worker_turn(n.a.w) + odp_upcall_poll(n.a.dp) > 0)
			;
		fake_port_reset(&n.a.up);
	}
	odp_ul_stats(odp_underlay(n.a.dp), &st);
	assert_int_equal(st.answered, 100);
	assert_int_equal(fake_port_drops(n.a.up.port, ODP_DROP_NEIGH_LIMIT), 1100);
	for (unsigned i = 0; i < 200; i++) {
		flood_now(&n, &many, 20);
		while (odp_worker_turn(n.a.w) + odp_upcall_poll(n.a.dp) > 0)
			;
		fake_port_reset(&n.a.up);
	}
	odp_ul_stats(odp_underlay(n.a.dp), &st);
	// A few of them share the bucket of the one host.
	assert_in_range(st.answered, 960, 1000);
	assert_in_range(fake_port_drops(n.a.up.port, ODP_DROP_NEIGH_LIMIT), 1100 + 4000 - 900,
		1100 + 4000 - 860);
	net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(marks_are_taken_back),
		cmocka_unit_test(in_a_vlan), cmocka_unit_test(few_strangers_pass_for_neighbours),
		cmocka_unit_test(cut), cmocka_unit_test(limits) };
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(rows, classify, failed);
	RUN_ROWS(floods, flooded, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
