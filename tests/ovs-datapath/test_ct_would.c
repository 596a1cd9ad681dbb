// SPDX-License-Identifier: Apache-2.0
/* What the table would say of a packet is what it says then, and asking changes nothing. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "ct_pkts.h"
#include "hostile.h"

#define PACKETS 60000u

static struct hostile rng = { .state = 88172645463325252ull };

static unsigned pick(unsigned n)
{
	return hostile_below(&rng, n);
}

/* Few hosts and ports, so that packets meet connections; numbers that mostly fit a window. */
static void any_packet(struct ct_p *b)
{
	static const unsigned flags[] = { FL_SYN, FL_SYN | FL_ACK, FL_ACK, FL_ACK, FL_ACK | FL_PSH,
		FL_FIN | FL_ACK, FL_RST, FL_RST | FL_ACK, 0 };
	unsigned src = 1 + pick(2), dst = pick(6) ? 3 - src : 0x6401;
	struct ct_seg s = { .src = src,
		.sport = 80 + pick(2),
		.dst = dst,
		.dport = 80 + pick(2),
		.flags = flags[pick(ARRAY_LEN(flags))],
		.seq = pick(40) ? 1000 + pick(3) : pick(UINT32_MAX),
		.ack = pick(40) ? 1000 + pick(3) : pick(UINT32_MAX),
		.win = pick(3000),
		.len = pick(3),
		.scale = (int)pick(9) - 1 };
	struct ct_p about;

	switch (pick(5)) {
	case 0:
		(void)ct_udp(b, src, s.sport, dst, s.dport, 1);
		break;
	case 1:
		(void)ct_icmp(b, src, dst, pick(2) ? 8 : 0, 0, pick(2), 1);
		break;
	case 2:
		(void)ct_tcp(&about, &s, 1);
		(void)ct_icmp_error(b, pick(9), src, 3, 1, &about);
		break;
	default:
		(void)ct_tcp(b, &s, 1);
	}
	b->p.flags = pick(50) ? 0 : ODP_CT_BAD_CSUM;
}

static void same(const struct odp_ct_pkt *a, const struct odp_ct_pkt *b)
{
	assert_int_equal(a->state, b->state);
	assert_int_equal(a->dir, b->dir);
	assert_int_equal(a->mark, b->mark);
	assert_memory_equal(a->label, b->label, sizeof(a->label));
	assert_memory_equal(a->orig, b->orig, sizeof(*a->orig));
	assert_ptr_equal(a->ref.conn, b->ref.conn);
	assert_int_equal(a->nat.what, b->nat.what);
	if (a->nat.what)
		assert_memory_equal(&a->nat, &b->nat, sizeof(a->nat));
}

struct sum {
	uint64_t of; // of every byte that operators see
};

static void add(const struct odp_ct_info *i, void *arg)
{
	const uint8_t *at = (const uint8_t *)i;
	struct sum *s = arg;

	for (size_t k = 0; k < sizeof(*i); k++)
		s->of = s->of * 31 + at[k];
}

static struct sum sum_of(struct odp_ct *ct, uint64_t now)
{
	struct odp_ct_stats st;
	struct sum s = { 1 };
	uint32_t at = 0;

	while (odp_ct_dump(ct, &at, 1000, now, add, &s))
		;
	odp_ct_stats(ct, &st);
	for (size_t k = 0; k < sizeof(st) / 8; k++)
		s.of = s.of * 31 + ((const uint64_t *)(const void *)&st)[k];
	return s;
}

static void as_it_will_be(void **state)
{
	struct odp_ct *ct = ct_table(256, 1);
	struct odp_ct_nat_conf nat = { .flags = ODP_NAT_SRC };
	unsigned seen[256] = { 0 };
	uint64_t now = 1;

	(void)state;
	ct_addr(nat.min_addr, 0x6401);
	ct_addr(nat.max_addr, 0x6401);
	for (unsigned i = 0; i < PACKETS; i++) {
		struct odp_ct_commit k = { .mark = pick(4), .mark_mask = pick(2) ? 0xf : 0 };
		struct ct_p would, does;

		any_packet(&does);
		would = does;
		would.p.l4 = would.l4;
		does.p.l4 = does.l4;
		struct sum before = i % 16 ? (struct sum){ 0 } : sum_of(ct, now);

		odp_ct_would(ct, &would.p, 0, now);
		if (i % 16 == 0)
			assert_true(before.of == sum_of(ct, now).of);
		// A connection that is closed goes when it is opened again: this one is not it.
		odp_ct_track(ct, 0, &does.p, 1, now);
		if (does.p.orig == &does.p.key) {
			assert_ptr_equal(would.p.orig, &would.p.key);
			would.p.orig = &does.p.key;
		}
		same(&would.p, &does.p);
		seen[does.p.state]++;
		if (pick(3) == 0) {
			k.nat = pick(2) ? &nat : NULL;
			(void)odp_ct_commit(ct, 0, &does.p, &k, now);
		}
		odp_ct_quiescent(ct, 0);
		now += pick(100) ? pick(20) : pick(400000);
	}
	// It came to all of these.
	assert_true(seen[ODP_CS_TRK | ODP_CS_INV] > 0);
	assert_true(seen[ODP_CS_TRK | ODP_CS_NEW] > 0);
	assert_true(seen[ODP_CS_TRK | ODP_CS_EST] > 0);
	assert_true(seen[ODP_CS_TRK | ODP_CS_EST | ODP_CS_RPL] > 0);
	assert_true(seen[ODP_CS_TRK | ODP_CS_EST | ODP_CS_SNAT] > 0);
	assert_true(seen[ODP_CS_TRK | ODP_CS_EST | ODP_CS_RPL | ODP_CS_DNAT] > 0);
	assert_true(seen[ODP_CS_TRK | ODP_CS_REL] > 0);
	odp_ct_destroy(ct);
}

static void asked_otherwise(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_seg s = { .src = 1,
		.sport = 4000,
		.dst = 2,
		.dport = 80,
		.flags = FL_SYN,
		.seq = 1000,
		.win = 500,
		.scale = -1 };
	struct odp_ct_info info;
	struct ct_p b;

	(void)state;
	assert_int_equal(ct_make(ct, ct_tcp(&b, &s, 3), 1), 0);
	s = (struct ct_seg){ .src = 2, .sport = 80, .dst = 1, .dport = 4000 };
	odp_ct_would(ct, ct_tcp(&b, &s, 3), 0, 2);
	assert_int_equal(b.p.state, ODP_CS_TRK | ODP_CS_INV); // a segment without flags
	assert_false(odp_ct_ref_info(ct, b.p.ref, 2, &info));
	odp_ct_would(ct, ct_tcp(&b, &s, 3), ODP_CT_BY_KEY, 2);
	assert_int_equal(b.p.state, ODP_CS_TRK | ODP_CS_EST | ODP_CS_RPL);
	assert_true(odp_ct_ref_info(ct, b.p.ref, 2, &info));
	assert_int_equal(info.state, ODP_CT_TCP_SYN_SENT);
	odp_ct_would(ct, ct_tcp(&b, &s, 3), ODP_CT_BY_KEY | ODP_CT_AS_NEW, 2);
	assert_int_equal(b.p.state, ODP_CS_TRK | ODP_CS_NEW);
	assert_null(b.p.ref.conn);
	// What is over is not there, and stays for who may remove it.
	odp_ct_would(ct, ct_tcp(&b, &s, 3), ODP_CT_BY_KEY, 40000);
	assert_int_equal(b.p.state, ODP_CS_TRK | ODP_CS_NEW);
	struct odp_ct_stats st;

	odp_ct_stats(ct, &st);
	assert_int_equal(st.conns, 1);
	assert_int_equal(st.expired, 0);
	odp_ct_destroy(ct);
}

static void expected(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_expect x = { 0 };
	struct ct_p a, b;

	(void)state;
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 10, 2, 20, 3), 1), 0);
	ct_udp(&b, 2, 30, 1, 40, 3);
	x.key = b.p.key;
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 1), 0);
	for (unsigned i = 0; i < 2; i++) {
		odp_ct_would(ct, ct_udp(&b, 2, 31, 1, 40, 3), 0, 2);
		assert_int_equal(b.p.state, ODP_CS_TRK | ODP_CS_NEW | ODP_CS_REL);
	}
	odp_ct_would(ct, ct_udp(&b, 2, 31, 1, 40, 3), ODP_CT_AS_NEW, 2);
	assert_int_equal(b.p.state, ODP_CS_TRK | ODP_CS_NEW);
	odp_ct_destroy(ct);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_it_will_be),
		cmocka_unit_test(asked_otherwise),
		cmocka_unit_test(expected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
