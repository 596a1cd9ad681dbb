// SPDX-License-Identifier: Apache-2.0
/* Connections without windows: states, commit, time, zones, room, expectations. */
#include "test.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_common.h>

#include "ct_pkts.h"
#include "ct_priv.h"
#include "dpu_alloc.h"

#define NEW (ODP_CS_TRK | ODP_CS_NEW)
#define EST (ODP_CS_TRK | ODP_CS_EST)
#define RPL ODP_CS_RPL
#define INV (ODP_CS_TRK | ODP_CS_INV)
#define REL ODP_CS_REL

static const struct odp_ct_commit plain;

/* Everybody between two turns, often enough for what was removed to be used again. */
static void rest(struct odp_ct *ct)
{
	for (unsigned i = 0; i < 4; i++)
		odp_ct_quiescent(ct, 0);
}

static uint64_t conns(const struct odp_ct *ct)
{
	struct odp_ct_stats s;

	odp_ct_stats(ct, &s);
	return s.conns;
}

/* ---- ct_state: ovs-fields(7) ---- */

static void udp_states(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;

	(void)state;
	assert_int_equal(ct_see(ct, ct_udp(&a, 1, 10, 2, 20, 0), 1), NEW);
	assert_null(a.p.ref.conn);
	assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, 1, 10, 0), 1), NEW); // nothing was committed
	assert_int_equal(ct_make(ct, &a.p, 1), 0);
	assert_int_equal(a.p.state, NEW);
	assert_non_null(a.p.ref.conn);
	assert_int_equal(ct_see(ct, &a.p, 2), NEW); // still no reply
	assert_int_equal(ct_see(ct, &b.p, 3), EST | RPL);
	assert_int_equal(b.p.dir, ODP_CT_REPLY);
	assert_memory_equal(b.p.orig, &a.p.key, sizeof(a.p.key));
	assert_int_equal(ct_see(ct, &a.p, 4), EST);
	assert_int_equal(conns(ct), 1);
	odp_ct_clear(&a.p);
	assert_int_equal(a.p.state, 0);
	assert_null(a.p.ref.conn);
	odp_ct_destroy(ct);
}

static void other_protocols(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;

	(void)state;
	ct_ip(&a, 1, 2, 47, 0);
	ct_l4(&a, 20, 20);
	ct_ip(&b, 2, 1, 47, 0);
	ct_l4(&b, 20, 20);
	assert_int_equal(ct_make(ct, &a.p, 1), 0);
	assert_int_equal(ct_see(ct, &b.p, 2), EST | RPL);
	assert_int_equal(ct_see(ct, &a.p, 2), EST);
	odp_ct_destroy(ct);
}

static void icmp_states(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;

	(void)state;
	assert_int_equal(ct_see(ct, ct_icmp(&b, 2, 1, 0, 0, 7, 0), 1), INV); // an answer alone
	assert_int_equal(ct_make(ct, ct_icmp(&a, 1, 2, 8, 0, 7, 0), 1), 0);
	assert_int_equal(ct_see(ct, &b.p, 2), EST | RPL);
	assert_int_equal(ct_see(ct, &a.p, 2), EST);
	assert_int_equal(ct_see(ct, ct_icmp(&b, 2, 1, 0, 0, 8, 0), 2), INV); // another identifier
	assert_int_equal(ct_see(ct, ct_icmp(&b, 2, 1, 9, 0, 0, 0), 2), INV); // not a query
	odp_ct_destroy(ct);
}

static void icmp_errors(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b, e;

	(void)state;
	ct_udp(&a, 1, 10, 2, 20, 5);
	assert_int_equal(ct_see(ct, ct_icmp_error(&e, 9, 1, 3, 4, &a), 1), INV);
	assert_int_equal(ct_make(ct, &a.p, 1), 0);
	// From a router on the way, about the original direction: it goes the way of replies.
	assert_int_equal(ct_see(ct, ct_icmp_error(&e, 9, 1, 3, 4, &a), 1), ODP_CS_TRK | REL | RPL);
	assert_ptr_equal(e.p.ref.conn, a.p.ref.conn);
	ct_udp(&b, 2, 20, 1, 10, 5);
	assert_int_equal(ct_see(ct, ct_icmp_error(&e, 9, 2, 11, 0, &b), 1), ODP_CS_TRK | REL);
	// It does not count as a reply.
	assert_int_equal(ct_see(ct, &a.p, 1), NEW);
	for (unsigned len = 0; len < 36; len++) { // cut anywhere
		ct_icmp_error(&e, 9, 1, 3, 4, &a);
		e.p.l4_len = (uint16_t)len;
		assert_int_equal(ct_see(ct, &e.p, 1), INV);
	}
	ct_icmp_error(&e, 9, 1, 3, 4, &a);
	e.l4[8] = 0x4f; // an IP header of 60 bytes, which is not there
	assert_int_equal(ct_see(ct, &e.p, 1), INV);
	ct_icmp_error(&e, 9, 1, 3, 4, &a);
	e.l4[8 + 7] = 1; // a later fragment
	assert_int_equal(ct_see(ct, &e.p, 1), INV);
	ct_icmp(&b, 1, 2, 3, 0, 0, 5); // an error about an error
	assert_int_equal(ct_see(ct, ct_icmp_error(&e, 9, 1, 3, 4, &b), 1), INV);
	odp_ct_destroy(ct);
}

static void bad_packets(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a;

	(void)state;
	ct_udp(&a, 1, 10, 2, 20, 0);
	a.p.flags = ODP_CT_BAD_CSUM;
	assert_int_equal(ct_see(ct, &a.p, 1), INV);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &plain, 1), -EINVAL);
	a.p.flags = ODP_CT_LATER_FRAG;
	assert_int_equal(ct_see(ct, &a.p, 1), INV);
	a.p.flags = 0;
	a.p.l4_len = 7;
	assert_int_equal(ct_see(ct, &a.p, 1), INV);
	ct_udp(&a, 1, 10, 2, 20, 0);
	ct_put16(a.l4 + 4, 19); // longer than the packet
	assert_int_equal(ct_see(ct, &a.p, 1), INV);
	ct_put16(a.l4 + 4, 7);
	assert_int_equal(ct_see(ct, &a.p, 1), INV);
	odp_ct_destroy(ct);
}

/* ---- commit ---- */

static void mark_and_label(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;
	struct odp_ct_commit c = {
		.mark = 0xff, .mark_mask = 0x0f, .label = { 1, 2 }, .label_mask = { UINT64_MAX, 0 }
	};

	(void)state;
	ct_see(ct, ct_udp(&a, 1, 10, 2, 20, 0), 1);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &c, 1), 0);
	assert_int_equal(a.p.mark, 0x0f);
	assert_int_equal(a.p.label[0], 1);
	assert_int_equal(a.p.label[1], 0);
	ct_see(ct, ct_udp(&b, 2, 20, 1, 10, 0), 2);
	assert_int_equal(b.p.mark, 0x0f);
	struct odp_ct_ref ref = b.p.ref;

	assert_true(odp_ct_ref_valid(ref));
	c = (struct odp_ct_commit){ .mark = 0x0f, .mark_mask = 0x0f }; // as it is: no change
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &c, 2), 0);
	assert_true(odp_ct_ref_valid(ref));
	c = (struct odp_ct_commit){
		.mark = 0xf0, .mark_mask = 0xf0, .label = { 0, 8 }, .label_mask = { 0, 8 }
	};
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &c, 2), 0);
	assert_false(odp_ct_ref_valid(ref));
	ct_see(ct, &a.p, 3);
	assert_int_equal(a.p.mark, 0xff);
	assert_int_equal(a.p.label[0], 1);
	assert_int_equal(a.p.label[1], 8);
	odp_ct_destroy(ct);
}

static void force(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;
	struct odp_ct_commit c = { .force = true };

	(void)state;
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 10, 2, 20, 0), 1), 0);
	ct_see(ct, ct_udp(&b, 2, 20, 1, 10, 0), 2);
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &c, 2), 0);
	assert_int_equal(b.p.dir, ODP_CT_ORIG);
	assert_int_equal(b.p.state, NEW);
	assert_false(odp_ct_ref_valid(a.p.ref));
	assert_int_equal(ct_see(ct, &a.p, 3), EST | RPL);
	assert_int_equal(conns(ct), 1);
	odp_ct_destroy(ct);
}

static void generations(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;

	(void)state;
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 10, 2, 20, 0), 1), 0);
	ct_see(ct, &a.p, 1); // from FIRST to SINGLE: no matter
	struct odp_ct_ref ref = a.p.ref;

	assert_true(odp_ct_again(ct, 0, &a.p, ref, ODP_CT_ORIG, 2));
	// The first reply is not "as before": it goes the whole way, and then the old is stale.
	ct_udp(&b, 2, 20, 1, 10, 0);
	assert_false(odp_ct_again(ct, 0, &b.p, ref, ODP_CT_REPLY, 2));
	assert_true(odp_ct_ref_valid(ref));
	ct_see(ct, &b.p, 2);
	assert_false(odp_ct_ref_valid(ref));
	assert_false(odp_ct_again(ct, 0, &a.p, ref, ODP_CT_ORIG, 2));
	ct_see(ct, &a.p, 3);
	ref = a.p.ref;
	for (unsigned i = 0; i < 5; i++) {
		assert_true(odp_ct_again(ct, 0, &a.p, ref, ODP_CT_ORIG, 3));
		assert_true(odp_ct_again(ct, 0, &b.p, ref, ODP_CT_REPLY, 3));
	}
	assert_int_equal(odp_ct_flush(ct, ODP_CT_ALL_ZONES), 1);
	assert_false(odp_ct_again(ct, 0, &a.p, ref, ODP_CT_ORIG, 3));
	odp_ct_destroy(ct);
}

/* ---- time ---- */

static void expiry(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;

	(void)state;
	assert_int_equal(odp_ct_timeout_set(ct, 3, ODP_CT_UDP_FIRST, 1000), 0);
	assert_int_equal(odp_ct_timeout_set(ct, 3, ODP_CT_UDP_SINGLE, 5000), 0);
	assert_int_equal(odp_ct_timeout_set(ct, 3, ODP_CT_UDP_MULTIPLE, 9000), 0);
	assert_int_equal(odp_ct_timeout_set(ct, 3, ODP_CT_UDP_MULTIPLE, 0), -EINVAL);
	assert_int_equal(odp_ct_timeout_set(ct, 256, ODP_CT_UDP_FIRST, 1), -EINVAL);
	assert_int_equal(odp_ct_zone_policy(ct, 7, 3), 0);
	ct_udp(&a, 1, 10, 2, 20, 7);
	ct_udp(&b, 2, 20, 1, 10, 7);
	assert_int_equal(ct_make(ct, &a.p, 100000), 0);
	assert_int_equal(ct_see(ct, &b.p, 100000 + 1000), NEW); // it is over, and b is another
	assert_int_equal(conns(ct), 0);
	assert_int_equal(ct_make(ct, &a.p, 200000), 0);
	ct_see(ct, &a.p, 200900); // SINGLE
	assert_int_equal(ct_see(ct, &b.p, 205800), EST | RPL); // MULTIPLE
	assert_int_equal(ct_see(ct, &a.p, 214700), EST);
	assert_int_equal(odp_ct_sweep(ct, 0, 1000, 223600), 0);
	assert_int_equal(odp_ct_sweep(ct, 0, 1000, 223700), 1);
	assert_int_equal(conns(ct), 0);
	// A policy that the action names wins over the zone's.
	assert_int_equal(odp_ct_timeout_set(ct, 4, ODP_CT_UDP_FIRST, 50), 0);
	struct odp_ct_commit c = { .policy = 4 };

	ct_see(ct, &a.p, 300000);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &c, 300000), 0);
	assert_int_equal(odp_ct_sweep(ct, 0, 1000, 300050), 1);
	odp_ct_destroy(ct);
}

static void clock_wraps(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a;
	uint64_t now = UINT32_MAX - 100;

	(void)state;
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 10, 2, 20, 0), now), 0);
	ct_see(ct, &a.p, now + 50);
	assert_int_equal(odp_ct_sweep(ct, 0, 100, now + 59000), 0);
	assert_int_equal(odp_ct_sweep(ct, 0, 100, now + 60100), 1);
	odp_ct_destroy(ct);
}

static void sweep_is_bounded(void **state)
{
	struct odp_ct *ct = ct_table(4096, 1);
	struct ct_p a;
	unsigned n = 0, calls = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 0), 1), 0);
	for (uint64_t now = 1000000; n < 3000; now++, calls++) {
		unsigned removed = odp_ct_sweep(ct, 0, 128, now);

		assert_true(removed <= 128);
		assert_true(calls < 10000);
		n += removed;
		odp_ct_quiescent(ct, 0);
	}
	assert_int_equal(conns(ct), 0);
	odp_ct_destroy(ct);
}

static void state_names(void **state)
{
	enum odp_ct_state s = ODP_CT_NONE;

	(void)state;
	assert_int_equal(odp_ct_state_parse("tcp_syn_sent", &s), 0);
	assert_int_equal(s, ODP_CT_TCP_SYN_SENT);
	assert_int_equal(odp_ct_state_parse("udp_multiple", &s), 0);
	assert_int_equal(s, ODP_CT_UDP_MULTIPLE);
	assert_int_equal(odp_ct_state_parse("tcp_", &s), -EINVAL);
	assert_string_equal(odp_ct_state_name(ODP_CT_STATE_COUNT), "?");
}

/* ---- zones and room ---- */

static void zones_are_apart(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, b;

	(void)state;
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 10, 2, 20, 1), 1), 0);
	assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, 1, 10, 2), 1), NEW);
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 10, 2, 20, 2), 1), 0);
	assert_int_equal(conns(ct), 2);
	assert_int_equal(odp_ct_flush(ct, 1), 1);
	assert_int_equal(ct_see(ct, &b.p, 1), EST | RPL);
	assert_int_equal(odp_ct_flush_key(ct, &b.p.key), 0);
	assert_int_equal(odp_ct_flush_key(ct, &b.p.key), -ENOENT);
	odp_ct_destroy(ct);
}

static void zone_limits(void **state)
{
	struct odp_ct *ct = ct_table(1024, 1);
	struct ct_p a, b;
	struct odp_ct_limit l;

	(void)state;
	assert_int_equal(odp_ct_limit_default(ct, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1), 0);
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	}
	assert_int_equal(ct_make(ct, ct_udp(&a, 9, 10, 2, 20, 1), 1), -EDQUOT);
	assert_int_equal(a.p.state, INV);
	assert_int_equal(odp_ct_limit_set(ct, 1, 5), 0);
	odp_ct_limit_get(ct, 1, &l);
	assert_true(l.own && l.limit == 5 && l.count == 3);
	// Five that were answered: no other one gets in.
	odp_ct_flush(ct, 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1), 0);
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	}
	assert_int_equal(ct_make(ct, ct_udp(&a, 9, 10, 2, 20, 1), 1), -EDQUOT);
	assert_int_equal(ct_make(ct, ct_udp(&a, 9, 10, 2, 20, 2), 1), 0);
	odp_ct_limit_del(ct, 1);
	odp_ct_limit_get(ct, 1, &l);
	assert_true(!l.own && l.limit == 3 && l.count == 5);
	odp_ct_destroy(ct);
}

/* One zone is flooded: half-open connections make room for each other, answered ones stay. */
static void zone_flood_of(struct odp_ct *ct)
{
	struct ct_p a, b;
	struct odp_ct_limit l;
	struct odp_ct_stats s;

	for (unsigned i = 0; i < 90; i++) // half open in another zone: they stay
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 3), 1), 0);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1), 0);
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	}
	unsigned refused = 0;

	for (unsigned i = 0; i < 10000; i++) {
		refused += ct_make(ct, ct_udp(&a, i, 11, 2, 20, 1), 1) < 0;
		odp_ct_quiescent(ct, 0);
	}
	assert_true(refused < 100);
	odp_ct_limit_get(ct, 1, &l);
	assert_true(l.count <= 100);
	odp_ct_stats(ct, &s);
	assert_true(s.evicted > 9000);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	odp_ct_limit_get(ct, 3, &l);
	assert_int_equal(l.count, 90);
	odp_ct_destroy(ct);
}

static void zone_flood(void **state)
{
	struct odp_ct *ct = ct_table(4096, 1);

	(void)state;
	assert_int_equal(odp_ct_limit_set(ct, 1, 100), 0);
	zone_flood_of(ct);
}

/* A limit that nobody gave the zone is no reason to refuse what would have made room. */
static void default_flood(void **state)
{
	struct odp_ct *ct = ct_table(512, 1); // both zones' places overlap

	(void)state;
	assert_int_equal(odp_ct_limit_default(ct, 100), 0);
	zone_flood_of(ct);
	// Of any size, as many as the table has and more.
	ct = ct_table(64, 1);
	assert_int_equal(odp_ct_limit_default(ct, UINT32_MAX), 0);
	assert_int_equal(odp_ct_limit_default(ct, 1), 0);
	assert_int_equal(odp_ct_limit_default(ct, 0), 0);
	odp_ct_destroy(ct);
}

/* docs/attacks.md OV-20: the table is flooded. */
static void table_flood(void **state)
{
	struct odp_ct *ct = ct_table(2048, 1);
	struct ct_p a, b;
	struct odp_ct_stats s;
	unsigned refused = 0;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1), 0);
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	}
	for (unsigned i = 0; i < 50000; i++) {
		refused += ct_make(ct, ct_udp(&a, i, i >> 16, 3, 20, 1), 1) < 0;
		odp_ct_quiescent(ct, 0);
	}
	odp_ct_stats(ct, &s);
	assert_true(s.conns <= 2048);
	assert_true(s.evicted > 40000);
	assert_int_equal(refused, 0);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	odp_ct_destroy(ct);
}

static void table_full_of_answered(void **state)
{
	struct odp_ct *ct = ct_table(128, 1);
	struct ct_p a, b;
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 128; i++) {
		n += ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1) == 0;
		ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1);
	}
	assert_int_equal(n, 128);
	assert_int_equal(ct_make(ct, ct_udp(&a, 500, 10, 2, 20, 1), 1), -ENOSPC);
	assert_int_equal(ct_see(ct, &b.p, 1), EST | RPL);
	// Memory comes back only when the worker has been between two turns.
	assert_int_equal(odp_ct_flush_key(ct, &b.p.key), 0);
	assert_int_equal(ct_make(ct, ct_udp(&a, 500, 10, 2, 20, 1), 1), -ENOSPC);
	assert_int_equal(odp_ct_flush(ct, ODP_CT_ALL_ZONES), 127);
	rest(ct);
	odp_ct_tick(ct);
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1), 0);
	odp_ct_destroy(ct);
}

/* ---- expectations ---- */

static void expectations(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct ct_p a, d, e;
	struct odp_ct_commit c = { .mark = 5, .mark_mask = UINT32_MAX };
	struct odp_ct_expect x = { 0 };

	(void)state;
	ct_see(ct, ct_udp(&a, 1, 10, 2, 21, 0), 1);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &c, 1), 0);
	ct_udp(&d, 2, 20, 1, 3000, 0);
	x.key = d.p.key;
	memset(x.key.src, 0, 16); // from anybody
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 1), 0);
	assert_int_equal(conns(ct), 1);
	assert_int_equal(ct_see(ct, &d.p, 2), NEW | REL);
	assert_int_equal(odp_ct_commit(ct, 0, &d.p, &plain, 2), 0);
	assert_int_equal(d.p.state, NEW | REL);
	assert_int_equal(d.p.mark, 5);
	assert_memory_equal(d.p.orig, &a.p.key, sizeof(a.p.key)); // the master's
	assert_int_equal(ct_see(ct, ct_udp(&e, 1, 3000, 2, 20, 0), 3), EST | RPL | REL);
	// It was for one connection.
	assert_int_equal(ct_see(ct, ct_udp(&e, 3, 20, 1, 3000, 0), 3), NEW);
	// Without its master it is worth nothing.
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 3), 0);
	assert_int_equal(odp_ct_flush_key(ct, &a.p.key), 0);
	assert_int_equal(ct_see(ct, &e.p, 3), NEW);
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 3), -ENOENT);
	assert_int_equal(ct_see(ct, &d.p, 3), EST | REL);
	assert_memory_equal(d.p.orig, &d.p.key, sizeof(d.p.key));
	odp_ct_destroy(ct);
}

/* What is announced is there already, from the master 10.0.0.(first). */
static const struct announced {
	const char *name;
	unsigned first, second; // masters
	uint32_t timeout_ms; // of what is there
	bool gone; // the first master
	int ret;
} announced_rows[] = {
	{ "announced again", 1, 1, 1000, false, 0 },
	{ "its time is over, and nobody swept", 1, 2, 50, false, 0 },
	{ "its master is gone", 1, 2, 1000, true, 0 },
	{ "another one's", 1, 2, 1000, false, -EEXIST },
};

static void announced(void **state)
{
	const struct announced *r = *state;
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_expect x = { .timeout_ms = r->timeout_ms };
	struct odp_ct_stats s;
	struct ct_p a, b, d;

	assert_int_equal(ct_make(ct, ct_udp(&a, r->first, 10, 9, 21, 0), 1), 0);
	ct_udp(&d, 8, 20, 9, 3000, 0);
	x.key = d.p.key;
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 1), 0);
	if (r->gone)
		assert_int_equal(odp_ct_flush_key(ct, &a.p.key), 0);
	ct_udp(&b, r->second, 10, 9, 21, 0);
	ct_see(ct, &b.p, 100);
	if (r->second != r->first)
		assert_int_equal(odp_ct_commit(ct, 0, &b.p, &plain, 100), 0);
	x.timeout_ms = 1000;
	assert_int_equal(odp_ct_expect(ct, 0, b.p.ref, &x, 100), r->ret);
	odp_ct_stats(ct, &s);
	assert_int_equal(s.by_state[ODP_CT_EXPECTED], 1);
	assert_int_equal(CT_GET(ct->n_expects), 1);
	// It lasts from now on, and there is one.
	assert_int_equal(ct_see(ct, &d.p, r->ret ? 1000 : 1099), NEW | REL);
	assert_int_equal(odp_ct_commit(ct, 0, &d.p, &plain, 1000), 0);
	assert_memory_equal(d.p.orig, r->ret ? &a.p.key : &b.p.key, sizeof(a.p.key));
	assert_int_equal(CT_GET(ct->n_expects), 0);
	odp_ct_destroy(ct);
}

/* Are all pages of a table's memory there? */
static bool is_there(const struct ct_mem *m)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = m->size / page - 1, in = 0;
	uint8_t *from = RTE_PTR_ALIGN_CEIL((void *)m->at, page);
	unsigned char *vec = calloc(1, n);

	assert_non_null(vec);
	assert_int_equal(mincore(from, n * page, vec), 0);
	for (size_t i = 0; i < n; i++)
		in += vec[i] & 1;
	free(vec);
	return in == n;
}

static bool can_populate(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool can = p != MAP_FAILED && madvise(p, 4096, MADV_POPULATE_WRITE) == 0;

	(void)munmap(p, 4096);
	return can;
}

/* A large table is used before its pages are there, and may go before they are. */
static void pages(void **state)
{
	struct ct_p a, b;

	(void)state;
	if (!can_populate()) {
		print_message("this kernel has no MADV_POPULATE_WRITE\n");
		skip();
	}
	struct odp_ct *ct = ct_table(4096, 1); // too small for a thread

	assert_false(ct->fills);
	assert_true(is_there(&ct->conn_mem));
	odp_ct_destroy(ct);
	ct = ct_table(65536, 1);
	assert_true(ct->fills);
	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(ct_make(ct, ct_udp(&a, i, 10, 2, 20, 1), 1), 0);
	while (!is_there(&ct->conn_mem) || !is_there(&ct->bucket_mem))
		sched_yield();
	for (unsigned i = 0; i < 60000; i++)
		assert_int_equal(ct_see(ct, ct_udp(&b, 2, 20, i, 10, 1), 1), EST | RPL);
	odp_ct_destroy(ct);
	for (unsigned i = 0; i < 20; i++)
		odp_ct_destroy(ct_table(65536, 1));
}

static void allocation_fails(void **state)
{
	struct odp_ct_conf conf = { .max_conns = 64, .n_workers = 1, .seed = { 1, 2 } };
	struct odp_ct *ct = NULL;
	long k = 0;

	(void)state;
	for (;; k++) {
		dpu_alloc_fail_after(k);
		int ret = odp_ct_create(&conf, &ct);

		dpu_alloc_fail_after(-1);
		if (ret == 0)
			break;
		assert_int_equal(ret, -ENOMEM);
	}
	assert_int_equal(k, 7);
	dpu_alloc_fail_after(0);
	assert_int_equal(odp_ct_limit_set(ct, 1, 10), -ENOMEM);
	dpu_alloc_fail_after(0);
	assert_int_equal(odp_ct_limit_default(ct, 10), -ENOMEM);
	odp_ct_destroy(ct);
	odp_ct_destroy(NULL);
	conf.max_conns = 0;
	assert_int_equal(odp_ct_create(&conf, &ct), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(udp_states),
		cmocka_unit_test(other_protocols),
		cmocka_unit_test(icmp_states),
		cmocka_unit_test(icmp_errors),
		cmocka_unit_test(bad_packets),
		cmocka_unit_test(mark_and_label),
		cmocka_unit_test(force),
		cmocka_unit_test(generations),
		cmocka_unit_test(expiry),
		cmocka_unit_test(clock_wraps),
		cmocka_unit_test(sweep_is_bounded),
		cmocka_unit_test(state_names),
		cmocka_unit_test(zones_are_apart),
		cmocka_unit_test(zone_limits),
		cmocka_unit_test(zone_flood),
		cmocka_unit_test(default_flood),
		cmocka_unit_test(table_flood),
		cmocka_unit_test(table_full_of_answered),
		cmocka_unit_test(expectations),
		cmocka_unit_test(pages),
		cmocka_unit_test(allocation_fails),
	};
	int failed = 0;

	RUN_ROWS(announced_rows, announced, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
