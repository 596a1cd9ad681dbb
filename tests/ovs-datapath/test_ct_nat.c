// SPDX-License-Identifier: Apache-2.0
/* Address translation: which address and port, both directions, clashes, packets rewritten. */
#include "test.h"

#include <errno.h>

#include "ct_pkts.h"

#define NEW (ODP_CS_TRK | ODP_CS_NEW)
#define EST (ODP_CS_TRK | ODP_CS_EST)
#define RPL ODP_CS_RPL
#define INV (ODP_CS_TRK | ODP_CS_INV)
#define SNAT ODP_CS_SNAT
#define DNAT ODP_CS_DNAT

#define POOL 0x6400 // 10.0.100.0

static struct odp_ct_nat_conf nat_conf(
	uint32_t flags, unsigned min, unsigned max, unsigned min_port, unsigned max_port)
{
	struct odp_ct_nat_conf n = { .flags = flags | (max_port ? ODP_NAT_PORTS : 0),
		.min_port = (uint16_t)min_port,
		.max_port = (uint16_t)max_port };

	if (min) {
		ct_addr(n.min_addr, min);
		ct_addr(n.max_addr, max);
	}
	return n;
}

static int make_nat(struct odp_ct *ct, struct odp_ct_pkt *p, const struct odp_ct_nat_conf *n)
{
	struct odp_ct_commit c = { .nat = n };

	(void)ct_see(ct, p, 1);
	int ret = odp_ct_commit(ct, 0, p, &c, 1);

	odp_ct_quiescent(ct, 0);
	return ret;
}

static unsigned low(const uint8_t a[16])
{
	return (unsigned)a[2] << 8 | a[3];
}

static unsigned port(dpu_be16 v)
{
	return dpu_be16_get(v);
}

static void source(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL, 0, 0);
	struct ct_p a, b, r;

	(void)state;
	assert_int_equal(make_nat(ct, ct_udp(&a, 1, 5000, 2, 53, 0), &n), 0);
	assert_int_equal(a.p.state, NEW | SNAT);
	assert_int_equal(a.p.nat.what, ODP_NAT_SRC);
	assert_int_equal(low(a.p.nat.src), POOL);
	assert_int_equal(port(a.p.nat.sport), 5000); // kept: RFC 4787, section 4.2.1
	assert_int_equal(ct_see(ct, ct_udp(&r, 2, 53, POOL, 5000, 0), 2), EST | RPL | DNAT);
	assert_int_equal(r.p.nat.what, ODP_NAT_DST);
	assert_int_equal(low(r.p.nat.dst), 1);
	assert_int_equal(port(r.p.nat.dport), 5000);
	// The untranslated reply is not the connection's.
	assert_int_equal(ct_see(ct, ct_udp(&r, 2, 53, 1, 5000, 0), 2), NEW);
	// Another host with the same port: the port changes, with its parity (REQ-4) and its kind.
	assert_int_equal(make_nat(ct, ct_udp(&b, 3, 5000, 2, 53, 0), &n), 0);
	assert_int_not_equal(port(b.p.nat.sport), 5000);
	assert_int_equal(port(b.p.nat.sport) % 2, 0);
	assert_true(port(b.p.nat.sport) >= 1024);
	unsigned got = port(b.p.nat.sport);

	assert_int_equal(ct_see(ct, ct_udp(&r, 2, 53, POOL, got, 0), 2), EST | RPL | DNAT);
	assert_int_equal(low(r.p.nat.dst), 3);
	assert_int_equal(port(r.p.nat.dport), 5000);
	// REQ-3: a well-known port stays one.
	assert_int_equal(make_nat(ct, ct_udp(&a, 1, 500, 2, 53, 0), &n), 0);
	assert_int_equal(make_nat(ct, ct_udp(&b, 3, 500, 2, 53, 0), &n), 0);
	assert_true(port(b.p.nat.sport) < 512 && port(b.p.nat.sport) != 500);
	odp_ct_destroy(ct);
}

static void destination(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_DST, 7, 7, 8080, 8080);
	struct ct_p a, r;

	(void)state;
	assert_int_equal(make_nat(ct, ct_udp(&a, 1, 5000, POOL, 80, 0), &n), 0);
	assert_int_equal(a.p.state, NEW | DNAT);
	assert_int_equal(low(a.p.nat.dst), 7);
	assert_int_equal(port(a.p.nat.dport), 8080);
	assert_int_equal(ct_see(ct, ct_udp(&r, 7, 8080, 1, 5000, 0), 2), EST | RPL | SNAT);
	assert_int_equal(low(r.p.nat.src), POOL);
	assert_int_equal(port(r.p.nat.sport), 80);
	assert_memory_equal(r.p.orig, &a.p.key, sizeof(a.p.key));
	// The same source by another address of that server: answers would be mixed up.
	assert_int_equal(make_nat(ct, ct_udp(&a, 1, 5000, POOL + 1, 80, 0), &n), 0);
	assert_int_equal(a.p.state, NEW | DNAT | SNAT);
	assert_int_not_equal(port(a.p.nat.sport), 5000);
	assert_int_equal(low(a.p.nat.src), 1);
	odp_ct_destroy(ct);
}

static struct odp_ct_was was_of(const struct odp_ct_pkt *p)
{
	struct odp_ct_was was = { p->state, *p->orig };

	if (p->orig->proto == 1)
		was.orig.sport = dpu_be16_put(0);
	return was;
}

/* Everybody who is asked about a packet that was translated says the same of it. */
static unsigned see_again(struct odp_ct *ct, struct odp_ct_pkt *p, const struct odp_ct_was *was)
{
	struct odp_ct_pkt asked = *p, peeked = *p;

	asked.was = peeked.was = p->was = was;
	odp_ct_would(ct, &asked, 0, 2);
	(void)ct_see(ct, p, 2);
	assert_ptr_equal(asked.was, p->was);
	assert_int_equal(asked.state, p->state);
	assert_ptr_equal(asked.ref.conn, p->ref.conn);
	if (p->was) {
		assert_ptr_equal(p->was, was);
		assert_int_equal(p->nat.what, 0);
		assert_int_equal(asked.nat.what, 0);
		assert_int_equal(p->dir, was->state & RPL ? ODP_CT_REPLY : ODP_CT_ORIG);
	}
	if (p->was && !(p->state & ODP_CS_REL)) {
		assert_true(odp_ct_peek(ct, 0, &peeked, 2));
		assert_int_equal(peeked.state, p->state);
		assert_int_equal(peeked.nat.what, 0);
	}
	return p->state;
}

/* A packet that its connection has translated is that connection's in the same zone. */
static void translated_before(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL, 0, 0);
	struct odp_ct_commit c = { .nat = &n, .mark = 7, .mark_mask = UINT32_MAX };
	struct odp_ct_info i;
	struct odp_ct_was was, other;
	struct ct_p a, b, e;

	(void)state;
	assert_int_equal(make_nat(ct, ct_udp(&a, 1, 5000, 2, 53, 3), &n), 0);
	was = was_of(&a.p);
	assert_int_equal(see_again(ct, ct_udp(&b, POOL, 5000, 2, 53, 3), &was), NEW | SNAT);
	assert_ptr_equal(b.p.was, &was);
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &c, 2), 0);
	assert_ptr_equal(b.p.ref.conn, a.p.ref.conn);
	assert_int_equal(b.p.state, NEW | SNAT);
	assert_int_equal(b.p.nat.what, 0);
	assert_int_equal(b.p.mark, 7);
	assert_true(odp_ct_ref_info(ct, a.p.ref, 2, &i));
	assert_int_equal(i.packets[0], 1); // it was counted when it was translated
	// Changed since, or another one's: looked up as it is
	assert_int_equal(see_again(ct, ct_udp(&b, POOL, 5000, 4, 53, 3), &was), NEW);
	assert_null(b.p.was);
	other = was;
	other.orig.src[3]++;
	assert_int_equal(see_again(ct, ct_udp(&b, POOL, 5000, 2, 53, 3), &other), NEW);
	assert_null(b.p.was);
	other = was;
	other.state |= RPL;
	assert_int_equal(see_again(ct, ct_udp(&b, POOL, 5000, 2, 53, 3), &other), NEW);
	// An error about it, translated back
	(void)ct_udp(&b, POOL, 5000, 2, 53, 3);
	assert_int_equal(ct_see(ct, ct_icmp_error(&e, 9, POOL, 3, 4, &b), 2),
		ODP_CS_TRK | ODP_CS_REL | RPL | DNAT);
	was = was_of(&e.p);
	assert_int_equal(see_again(ct, ct_icmp_error(&e, 9, 1, 3, 4, &a), &was), was.state);
	assert_ptr_equal(e.p.was, &was);
	assert_int_equal(odp_ct_commit(ct, 0, &e.p, &c, 2), 0);
	assert_int_equal(e.p.nat.what, 0);
	// An answer, and one with which a new connection begins
	assert_int_equal(ct_see(ct, ct_udp(&b, 2, 53, POOL, 5000, 3), 2), EST | RPL | DNAT);
	was = was_of(&b.p);
	assert_int_equal(see_again(ct, ct_udp(&b, 2, 53, 1, 5000, 3), &was), EST | RPL | DNAT);
	assert_ptr_equal(b.p.was, &was);
	c.force = true;
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &c, 2), 0);
	assert_null(b.p.was);
	assert_int_equal(b.p.state, NEW | SNAT);
	assert_int_equal(b.p.nat.what, ODP_NAT_SRC);
	assert_false(odp_ct_ref_info(ct, a.p.ref, 2, &i));
	// The first one is gone
	assert_int_equal(see_again(ct, ct_udp(&b, POOL, 5000, 2, 53, 3), &was), NEW);
	// An echo, whose identifier is another one outside
	assert_int_equal(make_nat(ct, ct_icmp(&a, 1, 2, 8, 0, 77, 3), &n), 0);
	assert_int_equal(make_nat(ct, ct_icmp(&a, 3, 2, 8, 0, 77, 3), &n), 0);
	was = was_of(&a.p);
	unsigned id = port(a.p.nat.sport);

	assert_int_equal(see_again(ct, ct_icmp(&b, POOL, 2, 8, 0, id, 3), &was), NEW | SNAT);
	assert_ptr_equal(b.p.ref.conn, a.p.ref.conn);
	assert_int_equal(see_again(ct, ct_icmp(&b, POOL, 2, 8, 0, 77, 3), &was), NEW);
	odp_ct_destroy(ct);
}

/* docs/attacks.md OV-24: two hosts, one identifier. */
static void icmp_ids(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL, 0, 0);
	struct ct_p a, b, r;

	(void)state;
	assert_int_equal(make_nat(ct, ct_icmp(&a, 1, 2, 8, 0, 77, 0), &n), 0);
	assert_int_equal(make_nat(ct, ct_icmp(&b, 3, 2, 8, 0, 77, 0), &n), 0);
	assert_int_equal(port(a.p.nat.sport), 77);
	unsigned id = port(b.p.nat.sport);

	assert_int_not_equal(id, 77);
	assert_int_equal(ct_see(ct, ct_icmp(&r, 2, POOL, 0, 0, 77, 0), 2), EST | RPL | DNAT);
	assert_int_equal(low(r.p.nat.dst), 1);
	assert_int_equal(ct_see(ct, ct_icmp(&r, 2, POOL, 0, 0, id, 0), 2), EST | RPL | DNAT);
	assert_int_equal(low(r.p.nat.dst), 3);
	assert_int_equal(port(r.p.nat.sport), 77);
	odp_ct_destroy(ct);
}

/* docs/attacks.md OV-26: all ports taken; what is there goes on. */
static void exhausted(void **state)
{
	struct odp_ct *ct = ct_table(1024, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL + 1, 2000, 2049);
	struct odp_ct_stats s;
	uint8_t taken[2][50] = { 0 };
	struct ct_p a, r;

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(make_nat(ct, ct_udp(&a, 1000 + i, 5000, 2, 53, 0), &n), 0);
		unsigned addr = low(a.p.nat.src) - POOL, at = port(a.p.nat.sport) - 2000;

		assert_true(addr < 2 && at < 50);
		assert_int_equal(taken[addr][at]++, 0);
	}
	assert_int_equal(make_nat(ct, ct_udp(&a, 3000, 5000, 2, 53, 0), &n), -EADDRNOTAVAIL);
	assert_int_equal(a.p.state, INV);
	odp_ct_stats(ct, &s);
	assert_int_equal(s.nat_exhausted, 1);
	assert_int_equal(s.conns, 100);
	assert_int_equal(ct_see(ct, ct_udp(&r, 2, 53, POOL, 2000, 0), 2), EST | RPL | DNAT);
	// To another destination each port is there once more.
	assert_int_equal(make_nat(ct, ct_udp(&a, 3000, 5000, 4, 53, 0), &n), 0);
	// A zero address translates only what clashes, and here nothing does.
	n = nat_conf(ODP_NAT_SRC, 0, 0, 0, 0);
	assert_int_equal(make_nat(ct, ct_udp(&a, 4000, 5000, 4, 53, 0), &n), 0);
	assert_int_equal(a.p.state, NEW);
	odp_ct_destroy(ct);
}

static void tuples_that_overlap(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, 9, 9, 0, 0);
	struct odp_ct_nat_conf any = nat_conf(ODP_NAT_SRC, 0, 0, 0, 0);
	struct ct_p a, b, r;

	(void)state;
	// 9 itself speaks to 2; a host that is translated to 9 must not take its answers.
	assert_int_equal(ct_make(ct, ct_udp(&a, 9, 5000, 2, 53, 0), 1), 0);
	assert_int_equal(make_nat(ct, ct_udp(&b, 1, 5000, 2, 53, 0), &n), 0);
	assert_int_not_equal(port(b.p.nat.sport), 5000);
	assert_int_equal(ct_see(ct, ct_udp(&r, 2, 53, 9, 5000, 0), 2), EST | RPL);
	// The other way about: the plain one is the later one.
	assert_int_equal(make_nat(ct, ct_udp(&b, 1, 6000, 2, 53, 0), &n), 0);
	assert_int_equal(port(b.p.nat.sport), 6000);
	assert_int_equal(ct_make(ct, ct_udp(&a, 9, 6000, 2, 53, 0), 1), -EEXIST);
	assert_int_equal(make_nat(ct, ct_udp(&a, 9, 6000, 2, 53, 0), &any), 0);
	assert_int_equal(a.p.state, NEW | SNAT);
	odp_ct_destroy(ct);
}

static void choices(void **state)
{
	struct odp_ct *ct = ct_table(1024, 1);
	struct odp_ct_nat_conf n = nat_conf(
		ODP_NAT_SRC | ODP_NAT_PERSISTENT, POOL, POOL + 63, 0, 0);
	struct ct_p a;
	uint64_t used = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) { // one address, whomever it talks to
		assert_int_equal(make_nat(ct, ct_udp(&a, 1, 5000 + i, 100 + i, 53, 0), &n), 0);
		used |= 1ull << (low(a.p.nat.src) - POOL);
	}
	assert_int_equal(__builtin_popcountll(used), 1);
	used = 0;
	for (unsigned i = 0; i < 200; i++) { // and hosts are spread
		assert_int_equal(make_nat(ct, ct_udp(&a, 1000 + i, 5000, 2, 53, 0), &n), 0);
		used |= 1ull << (low(a.p.nat.src) - POOL);
	}
	assert_true(__builtin_popcountll(used) > 32);
	n.flags = ODP_NAT_SRC | ODP_NAT_RANDOM;
	unsigned same = 0;

	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(make_nat(ct, ct_udp(&a, 2000 + i, 5000, 2, 53, 0), &n), 0);
		same += port(a.p.nat.sport) == 5000;
	}
	assert_true(same < 3);
	odp_ct_destroy(ct);
}

/* RFC 4787, REQ-1: a source has one outside, whomever it talks to, and nobody else has it. */
static void endpoint_independent(void **state)
{
	struct odp_ct *ct = ct_table(2048, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC | ODP_NAT_EIM, POOL, POOL, 3000, 3299);
	struct odp_ct_stats s;
	unsigned of[200];
	uint8_t taken[300] = { 0 };
	struct ct_p a;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(make_nat(ct, ct_udp(&a, 1000 + i, 5000, 2, 53, 0), &n), 0);
		of[i] = port(a.p.nat.sport);
		assert_int_equal(taken[of[i] - 3000]++, 0);
	}
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(make_nat(ct, ct_udp(&a, 1000 + i, 5000, 4, 53, 0), &n), 0);
		assert_int_equal(port(a.p.nat.sport), of[i]);
	}
	odp_ct_stats(ct, &s);
	assert_int_equal(s.conns, 400);
	// While a connection lives, the mapping does; after that, for its own time.
	odp_ct_timeout_set(ct, 0, ODP_CT_EXPECTED, 1000);
	odp_ct_timeout_set(ct, 0, ODP_CT_UDP_FIRST, 100000);
	struct odp_ct_commit c = { .nat = &n };

	ct_see(ct, ct_udp(&a, 5000, 5000, 2, 53, 0), 10000);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &c, 10000), 0);
	unsigned first = port(a.p.nat.sport);

	for (uint64_t now = 10000; now < 90000; now += 1000)
		odp_ct_sweep(ct, 0, 4096, now);
	ct_see(ct, ct_udp(&a, 5000, 5000, 6, 53, 0), 90000);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &c, 90000), 0);
	assert_int_equal(port(a.p.nat.sport), first);
	for (uint64_t now = 90000; now < 900000; now += 1000) {
		odp_ct_sweep(ct, 0, 4096, now);
		odp_ct_quiescent(ct, 0);
	}
	odp_ct_stats(ct, &s);
	assert_int_equal(s.conns, 0);
	assert_int_equal(s.by_state[ODP_CT_EXPECTED], 0);
	odp_ct_destroy(ct);
}

/* ---- packets ---- */

static uint32_t sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		s += (uint32_t)p[i] << 8 | p[i + 1];
	if (n & 1)
		s += (uint32_t)p[n - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

struct frame {
	uint8_t ip[40];
	size_t ip_len, l4_len;
	struct ct_p b;
};

static uint32_t pseudo(const struct frame *f)
{
	uint32_t s = f->ip_len == 20 ? sum(f->ip + 12, 8, 0) : sum(f->ip + 8, 32, 0);

	return s + (uint32_t)f->l4_len + f->b.p.key.proto;
}

static size_t csum_off(uint8_t proto)
{
	return proto == 6 ? 16 : proto == 17 ? 6 : 2;
}

/* Headers around b.l4, with good checksums. */
static void seal(struct frame *f, size_t l4_len)
{
	const struct odp_ct_key *k = &f->b.p.key;
	uint8_t *c = f->b.l4 + csum_off(k->proto);

	f->ip_len = k->l3 == 4 ? 20 : 40;
	f->l4_len = l4_len;
	memset(f->ip, 0, sizeof(f->ip));
	if (k->l3 == 4) {
		f->ip[0] = 0x45;
		ct_put16(f->ip + 2, 20 + (unsigned)l4_len);
		f->ip[8] = 64;
		f->ip[9] = k->proto;
		memcpy(f->ip + 12, k->src, 4);
		memcpy(f->ip + 16, k->dst, 4);
		ct_put16(f->ip + 10, ~sum(f->ip, 20, 0) & 0xffff);
	} else {
		f->ip[0] = 0x60;
		ct_put16(f->ip + 4, (unsigned)l4_len);
		f->ip[6] = k->proto;
		memcpy(f->ip + 8, k->src, 16);
		memcpy(f->ip + 24, k->dst, 16);
	}
	ct_put16(c, 0);
	ct_put16(c, ~sum(f->b.l4, l4_len, k->proto == 1 ? 0 : pseudo(f)) & 0xffff);
}

static void assert_sealed(const struct frame *f)
{
	if (f->ip_len == 20)
		assert_int_equal(sum(f->ip, 20, 0), 0xffff);
	assert_int_equal(sum(f->b.l4, f->l4_len, f->b.p.key.proto == 1 ? 0 : pseudo(f)), 0xffff);
}

static int apply(struct frame *f)
{
	return odp_ct_nat_apply(&f->b.p, f->ip, f->ip_len, f->b.l4, f->l4_len, false);
}

static void rewrite_udp_tcp(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL, 2000, 2003);
	struct ct_seg syn = { .src = 1,
		.sport = 5000,
		.dst = 2,
		.dport = 80,
		.flags = FL_SYN,
		.seq = 99,
		.win = 1000,
		.scale = 3 };
	struct frame f = { 0 };

	(void)state;
	ct_tcp(&f.b, &syn, 0);
	seal(&f, 24);
	assert_int_equal(make_nat(ct, &f.b.p, &n), 0);
	assert_int_equal(apply(&f), 0);
	assert_sealed(&f);
	assert_int_equal(f.ip[14] << 8 | f.ip[15], POOL);
	assert_int_equal(f.b.l4[0] << 8 | f.b.l4[1], port(f.b.p.nat.sport));
	ct_udp(&f.b, 1, 5000, 2, 53, 0);
	seal(&f, 18);
	assert_int_equal(make_nat(ct, &f.b.p, &n), 0);
	assert_int_equal(apply(&f), 0);
	assert_sealed(&f);
	// Without a checksum it stays without one.
	ct_udp(&f.b, 1, 5001, 2, 53, 0);
	seal(&f, 18);
	ct_put16(f.b.l4 + 6, 0);
	assert_int_equal(make_nat(ct, &f.b.p, &n), 0);
	assert_int_equal(apply(&f), 0);
	assert_int_equal(f.b.l4[6] | f.b.l4[7], 0);
	// Headers that are not there: nothing is written.
	uint8_t before[20];

	memcpy(before, f.ip, 20);
	assert_int_equal(odp_ct_nat_apply(&f.b.p, f.ip, 19, f.b.l4, 18, false), -EINVAL);
	assert_int_equal(odp_ct_nat_apply(&f.b.p, f.ip, 20, f.b.l4, 7, false), -EINVAL);
	assert_memory_equal(before, f.ip, 20);
	odp_ct_destroy(ct);
}

/* The field holds the pseudo header's sum, for whoever sends it to complete. */
static void rewrite_partial(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL, 2000, 2003);
	struct frame f = { 0 };

	(void)state;
	ct_udp(&f.b, 1, 5000, 2, 53, 0);
	seal(&f, 18);
	ct_put16(f.b.l4 + 6, sum(NULL, 0, pseudo(&f)));
	assert_int_equal(make_nat(ct, &f.b.p, &n), 0);
	assert_int_equal(odp_ct_nat_apply(&f.b.p, f.ip, f.ip_len, f.b.l4, f.l4_len, true), 0);
	assert_int_equal(f.b.l4[6] << 8 | f.b.l4[7], sum(NULL, 0, pseudo(&f)));
	odp_ct_destroy(ct);
}

static void rewrite_ipv6(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = { .flags = ODP_NAT_SRC };
	struct frame f = { 0 };

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		n.min_addr[i] = n.max_addr[i] = (uint8_t)(0x20 + i);
	n.max_addr[15] += 5;
	static const uint8_t protos[] = { 6, 17, 58 };

	for (unsigned i = 0; i < sizeof(protos); i++) {
		struct ct_seg syn = { .src = 1,
			.sport = 5000,
			.dst = 2,
			.dport = 80,
			.flags = FL_SYN,
			.win = 1000,
			.scale = -1 };

		if (protos[i] == 6)
			ct_tcp(&f.b, &syn, 0);
		else if (protos[i] == 17)
			ct_udp(&f.b, 1, 5000, 2, 53, 0);
		else
			ct_icmp(&f.b, 1, 2, 128, 0, 77, 0);
		f.b.p.key.l3 = 6;
		f.b.p.key.proto = protos[i];
		(void)odp_ct_key_fill(&f.b.p.key, f.b.l4, f.b.p.l4_len);
		seal(&f, f.b.p.l4_total);
		assert_int_equal(make_nat(ct, &f.b.p, &n), 0);
		assert_int_equal(f.b.p.state, NEW | SNAT);
		assert_int_equal(apply(&f), 0);
		assert_sealed(&f);
		assert_memory_equal(f.ip + 8, n.min_addr, 15);
		assert_true(f.ip[23] - n.min_addr[15] < 6);
	}
	odp_ct_destroy(ct);
}

/* RFC 5508, section 4.2: an error from outside about a translated packet. */
static void rewrite_error(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = nat_conf(ODP_NAT_SRC, POOL, POOL, 2000, 2003);
	struct ct_p a, out;
	struct frame f = { 0 };

	(void)state;
	assert_int_equal(make_nat(ct, ct_udp(&a, 1, 5000, 2, 53, 0), &n), 0);
	unsigned got = port(a.p.nat.sport);

	ct_udp(&out, POOL, got, 2, 53, 0); // as it went out
	ct_put16(out.l4 + 6, 0x1234);
	ct_icmp_error(&f.b, 9, POOL, 3, 4, &out);
	ct_put16(f.b.l4 + 8 + 10, ~sum(f.b.l4 + 8, 20, 0) & 0xffff);
	seal(&f, 36);
	assert_int_equal(ct_see(ct, &f.b.p, 2), ODP_CS_TRK | ODP_CS_REL | ODP_CS_RPL | DNAT);
	assert_int_equal(apply(&f), 0);
	assert_sealed(&f);
	assert_int_equal(low(f.ip + 16), 1); // goes to the host
	assert_int_equal(low(f.b.l4 + 8 + 12), 1); // and speaks of what the host sent
	assert_int_equal(f.b.l4[28] << 8 | f.b.l4[29], 5000);
	assert_int_equal(low(f.b.l4 + 8 + 16), 2);
	assert_int_equal(sum(f.b.l4 + 8, 20, 0), 0xffff);
	odp_ct_destroy(ct);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source),
		cmocka_unit_test(destination),
		cmocka_unit_test(translated_before),
		cmocka_unit_test(icmp_ids),
		cmocka_unit_test(exhausted),
		cmocka_unit_test(tuples_that_overlap),
		cmocka_unit_test(choices),
		cmocka_unit_test(endpoint_independent),
		cmocka_unit_test(rewrite_udp_tcp),
		cmocka_unit_test(rewrite_partial),
		cmocka_unit_test(rewrite_ipv6),
		cmocka_unit_test(rewrite_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
