// SPDX-License-Identifier: Apache-2.0
/* Datagrams in pieces: whole ones come out, twisted ones do not, and nobody takes it all. */
#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "extract.h"
#include "fake_port.h"
#include "frag.h"
#include "inet.h"
#include "sw_offload.h"

#define SEC 1000000000ull

static struct rte_mempool *pool;
static unsigned at_start;

static struct odp_frags *make(unsigned contexts, uint32_t bytes)
{
	const struct odp_frag_conf conf = {
		.pool = pool, .seed = { 1, 3 }, .contexts = contexts, .bytes = bytes
	};
	struct odp_frags *f;

	at_start = rte_mempool_in_use_count(pool);
	assert_int_equal(odp_frag_create(&conf, &f), 0);
	return f;
}

static void gone(struct odp_frags *f)
{
	odp_frag_destroy(f);
	assert_int_equal(rte_mempool_in_use_count(pool), at_start);
}

/* What a datagram's payload is made of: ports in front, then a pattern. */
static uint8_t byte_at(uint32_t off)
{
	static const uint8_t udp[8] = { 0x11, 0x11, 0x22, 0x22 };

	return off < 8 ? udp[off] : (uint8_t)(off * 7 + (off >> 8));
}

struct shape {
	bool v6, more;
	uint32_t id, off, len, host;
	uint8_t proto, xor; // xor: other bytes
	unsigned pad; // behind the packet
};

static struct rte_mbuf *piece(struct shape s)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	uint32_t l3 = s.v6 ? 48 : 20;
	uint8_t *p = m ? (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(14 + l3 + s.len + s.pad))
		       : NULL;

	if (!p)
		abort();
	memset(p, 0, 14 + l3 + s.len + s.pad);
	p[5] = 1;
	p[11] = 2;
	odp_put16(p + 12, s.v6 ? 0x86dd : 0x800);
	uint8_t *ip = p + 14;

	if (s.v6) {
		ip[0] = 0x60;
		odp_put16(ip + 4, 8 + s.len);
		ip[6] = IPPROTO_FRAGMENT;
		ip[7] = 64;
		odp_put32(ip + 20, s.host);
		ip[39] = 2;
		ip[40] = s.proto;
		odp_put16(ip + 42, s.off | s.more);
		odp_put32(ip + 44, s.id);
	} else {
		ip[0] = 0x45;
		odp_put16(ip + 2, 20 + s.len);
		odp_put16(ip + 4, s.id);
		odp_put16(ip + 6, s.off / 8 | (s.more ? 0x2000u : 0));
		ip[8] = 64;
		ip[9] = s.proto;
		odp_put32(ip + 12, s.host);
		ip[19] = 2;
		odp_put16(ip + 10, (uint16_t)~odp_fold(odp_sum(ip, 20, 0)));
	}
	for (uint32_t i = 0; i < s.len; i++)
		ip[l3 + i] = byte_at(s.off + i) ^ s.xor ;
	return m;
}

static void free_out(struct odp_frag_out *o)
{
	rte_pktmbuf_free_bulk(o->frags, o->n);
	o->n = 0;
}

/* A sequence of pieces of one datagram and what becomes of each. */
static const struct sequence {
	const char *name;
	struct {
		uint32_t off, len;
		bool more;
		uint8_t xor ;
		int ret;
	} p[6];
	uint8_t proto; // 0: UDP
	int only; // 4 or 6; 0: both
} sequences[] = {
	{ "in order", { { 0, 16, true, 0, 1 }, { 16, 8, true, 0, 1 }, { 24, 5, false, 0, 2 } } },
	{ "backwards", { { 24, 5, false, 0, 1 }, { 16, 8, true, 0, 1 }, { 0, 16, true, 0, 2 } } },
	{ "first in the middle",
		{ { 16, 8, true, 0, 1 }, { 0, 16, true, 0, 1 }, { 24, 5, false, 0, 2 } } },
	{ "one byte behind", { { 0, 8, true, 0, 1 }, { 8, 1, false, 0, 2 } } },
	{ "the first twice",
		{ { 0, 16, true, 0, 1 }, { 0, 16, true, 0, -EEXIST }, { 16, 8, false, 0, 2 } } },
	{ "the last twice",
		{ { 16, 8, false, 0, 1 }, { 16, 8, false, 0, -EEXIST }, { 0, 16, true, 0, 2 } } },
	{ "the first twice, differing", { { 0, 16, true, 0, 1 }, { 0, 16, true, 1, -EPROTO },
						{ 16, 8, false, 0, -EPROTO } } },
	{ "a longer first", { { 0, 16, true, 0, 1 }, { 0, 24, true, 0, -EPROTO },
				    { 16, 8, false, 0, -EPROTO } } },
	{ "a shorter first", { { 0, 16, true, 0, 1 }, { 0, 8, true, 0, -EPROTO },
				     { 16, 8, false, 0, -EPROTO } } },
	{ "over the end of the one before", { { 0, 16, true, 0, 1 }, { 8, 16, true, 0, -EPROTO } },
		132 },
	{ "over the start of the one behind",
		{ { 24, 16, true, 0, 1 }, { 16, 16, true, 0, -EPROTO } } },
	{ "around", { { 24, 8, true, 0, 1 }, { 16, 24, true, 0, -EPROTO } } },
	{ "within", { { 16, 24, true, 0, 1 }, { 24, 8, true, 0, -EPROTO } } },
	{ "behind the last", { { 16, 8, false, 0, 1 }, { 24, 8, true, 0, -EPROTO } } },
	{ "a last before others", { { 24, 8, true, 0, 1 }, { 8, 8, false, 0, -EPROTO } } },
	{ "two ends", { { 16, 8, false, 0, 1 }, { 24, 8, false, 0, -EPROTO } } },
	{ "last that goes on", { { 16, 8, false, 0, 1 }, { 16, 8, true, 0, -EPROTO } } },
	{ "nothing in it", { { 8, 0, true, 0, -EBADMSG }, { 8, 0, false, 0, -EBADMSG } } },
	{ "not of eights", { { 0, 12, true, 0, -EBADMSG }, { 8, 7, true, 0, -EBADMSG } } },
	{ "up to the limit, v4", { { 65512, 3, false, 0, 1 } }, 0, 4 },
	{ "over the limit, v4",
		{ { 65512, 4, false, 0, -EBADMSG }, { 65528, 100, false, 0, -EBADMSG } }, 0, 4 },
	{ "up to the limit, v6", { { 65520, 7, false, 0, 1 } }, 0, 6 },
	{ "over the limit, v6",
		{ { 65520, 8, false, 0, -EBADMSG }, { 65528, 100, false, 0, -EBADMSG } }, 0, 6 },
	{ "TCP in 16 bytes", { { 0, 16, true, 0, -EBADMSG } }, 6 },
	{ "TCP from byte 8", { { 8, 16, true, 0, -EBADMSG } }, 6, 4 },
	{ "SCTP in 8 bytes", { { 0, 8, true, 0, -EBADMSG } }, 132 },
	{ "a fragment in a fragment", { { 0, 16, true, 0, -EBADMSG } }, 44, 6 },
};

static void run_sequence(const struct sequence *t, bool v6)
{
	struct odp_frags *f = make(16, 0);
	struct odp_frag_out o = { .n = 0 };
	uint32_t len = 0;

	for (unsigned i = 0; i < 6 && t->p[i].ret != 0; i++) {
		uint8_t proto = t->proto ? t->proto : 17;

		assert_int_equal(odp_frag_in(f,
					 piece((struct shape){ v6, t->p[i].more, 7, t->p[i].off,
						 t->p[i].len, 1, proto, t->p[i].xor, 0 }),
					 1, 1, 0, &o),
			t->p[i].ret);
		len = RTE_MAX(len, t->p[i].off + t->p[i].len);
	}
	if (o.n) {
		uint32_t off = 0, hdr = v6 ? 62 : 34;
		struct odp_key k = { 0 };

		for (unsigned i = 0; i < o.n; i++) {
			const uint8_t *b = rte_pktmbuf_mtod(o.frags[i], uint8_t *);

			for (uint32_t n = hdr; n < o.frags[i]->pkt_len; n++)
				assert_int_equal(b[n], byte_at(off++));
		}
		assert_int_equal(off, len);
		assert_int_equal(o.len, hdr + len);
		assert_int_equal(odp_extract(o.hdr, o.hdr_len, o.len, 1, 0, ODP_WANT_ALL, &k), 0);
		assert_int_equal(k.ip_frag, ODP_FRAG_NONE);
		assert_int_equal(dpu_be16_get(k.tp_src), 0x1111);
		assert_int_equal(dpu_be16_get(k.tp_dst), 0x2222);
		if (!v6)
			assert_int_equal(odp_fold(odp_sum(o.hdr + 14, 20, 0)), 0xffff);
		free_out(&o);
	}
	gone(f);
}

static void sequence(void **state)
{
	const struct sequence *t = *state;

	if (t->only != 6)
		run_sequence(t, false);
	if (t->only != 4)
		run_sequence(t, true);
}

/* Random cuts in random order with duplicates; 63 KiB at most. */
static void shuffled(void **state)
{
	struct odp_frags *f = make(16, 0);
	struct odp_frag_out o;

	(void)state;
	srand(1);
	for (unsigned round = 0; round < 300; round++) {
		struct shape s[ODP_FRAG_PIECES];
		unsigned n = 0, max = 1 + (unsigned)rand() % ODP_FRAG_PIECES;
		bool v6 = round & 1, done = false;
		uint32_t off = 0;

		do {
			uint32_t len = 8 + 8 * ((uint32_t)rand() % 120);

			s[n] = (struct shape){ v6, true, round, off, len, 1, 17, 0,
				(unsigned)rand() % 9 };
			off += len;
			n++;
		} while (n < max);
		if (n == 1)
			continue;
		s[n - 1].more = false;
		s[n - 1].len -= (uint32_t)rand() % 8;
		for (unsigned i = n - 1; i > 0; i--) {
			unsigned k = (unsigned)rand() % (i + 1);
			struct shape x = s[i];

			s[i] = s[k];
			s[k] = x;
		}
		for (unsigned i = 0; i < n; i++) {
			int ret = odp_frag_in(f, piece(s[i]), 1, 1, 0, &o);

			assert_int_equal(ret, i == n - 1 ? ODP_FRAG_DONE : ODP_FRAG_HELD);
			done = ret == ODP_FRAG_DONE;
			if (!done && rand() % 4 == 0)
				assert_int_equal(
					odp_frag_in(f, piece(s[(unsigned)rand() % (i + 1)]), 1, 1,
						0, &o),
					-EEXIST);
		}
		assert_true(done);
		assert_int_equal(o.n, n);
		free_out(&o);
	}
	gone(f);
}

static void passes(void **state)
{
	struct odp_frags *f = make(16, 0);
	struct odp_frag_out o;

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct rte_mbuf *m = piece((struct shape){ v6, false, 7, 0, 16, 1, 17, 0, 0 });

		assert_int_equal(odp_frag_in(f, m, 1, 1, 0, &o), ODP_FRAG_PASS); // atomic, or whole
		for (uint16_t len = 0; len < 34; len++) {
			m->data_len = len;
			m->pkt_len = len;
			assert_int_equal(odp_frag_in(f, m, 1, 1, 0, &o), ODP_FRAG_PASS);
		}
		rte_pktmbuf_free(m);
	}
	// An offload request makes no sense for a part of a datagram.
	struct rte_mbuf *m = piece((struct shape){ false, true, 7, 0, 16, 1, 17, 0, 0 });

	m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
	assert_int_equal(odp_frag_in(f, m, 1, 1, 0, &o), -EBADMSG);
	gone(f);
}

/* Equal in everything but one part of what tells datagrams apart: never put together. */
static void apart(void **state)
{
	struct odp_frags *f = make(64, 0);
	const struct shape first = { false, true, 7, 0, 16, 1, 17, 0, 0 };
	struct shape last = { false, false, 7, 16, 8, 1, 17, 0, 0 };
	struct odp_frag_out o;

	(void)state;
	assert_int_equal(odp_frag_in(f, piece(first), 1, 1, 0, &o), ODP_FRAG_HELD);
	assert_int_equal(odp_frag_in(f, piece(last), 2, 1, 0, &o), ODP_FRAG_HELD);
	assert_int_equal(odp_frag_in(f, piece(last), 1, 2, 0, &o), ODP_FRAG_HELD);
	last.id = 8;
	assert_int_equal(odp_frag_in(f, piece(last), 1, 1, 0, &o), ODP_FRAG_HELD);
	last.id = 7;
	last.host = 2;
	assert_int_equal(odp_frag_in(f, piece(last), 1, 1, 0, &o), ODP_FRAG_HELD);
	last.host = 1;
	last.proto = 6;
	assert_int_equal(odp_frag_in(f, piece(last), 1, 1, 0, &o), ODP_FRAG_HELD);
	last.v6 = true;
	assert_int_equal(odp_frag_in(f, piece(last), 1, 1, 0, &o), ODP_FRAG_HELD);
	last = (struct shape){ false, false, 7, 16, 8, 1, 17, 0, 0 };
	assert_int_equal(odp_frag_in(f, piece(last), 1, 1, 0, &o), ODP_FRAG_DONE);
	free_out(&o);
	gone(f);
}

static void timeouts(void **state)
{
	struct odp_frags *f = make(16, 0);
	struct odp_frag_out o;
	struct odp_frag_stats s;

	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		uint64_t age = v6 ? 60 * SEC : 15 * SEC;
		const struct shape first = { v6, true, 7, 0, 16, 1, 17, 0, 0 };
		const struct shape last = { v6, false, 7, 16, 8, 1, 17, 0, 0 };

		assert_int_equal(odp_frag_in(f, piece(first), 1, 1, 0, &o), ODP_FRAG_HELD);
		odp_frag_expire(f, age - 1, 9);
		assert_int_equal(odp_frag_in(f, piece(last), 1, 1, age - 1, &o), ODP_FRAG_DONE);
		free_out(&o);
		assert_int_equal(odp_frag_in(f, piece(first), 1, 1, 0, &o), ODP_FRAG_HELD);
		// Without a call to expire, too.
		assert_int_equal(odp_frag_in(f, piece(last), 1, 1, age, &o), ODP_FRAG_HELD);
		odp_frag_expire(f, 3 * age, 9);
		s = (struct odp_frag_stats){ 0 };
		odp_frag_stats_add(f, &s);
		assert_int_equal(s.contexts, 0);
		assert_int_equal(s.bytes, 0);
	}
	assert_int_equal(s.timeouts, 4);
	// What is dead stays so until its time is over, then the id is free.
	const struct shape a = { false, true, 7, 0, 16, 1, 17, 0, 0 };
	const struct shape b = { false, true, 7, 8, 16, 1, 17, 0, 0 };

	assert_int_equal(odp_frag_in(f, piece(a), 1, 1, 0, &o), ODP_FRAG_HELD);
	assert_int_equal(odp_frag_in(f, piece(b), 1, 1, 0, &o), -EPROTO);
	assert_int_equal(odp_frag_in(f, piece(a), 1, 1, 14 * SEC, &o), -EPROTO);
	assert_int_equal(odp_frag_in(f, piece(a), 1, 1, 15 * SEC, &o), ODP_FRAG_HELD);
	s = (struct odp_frag_stats){ 0 };
	odp_frag_stats_add(f, &s);
	assert_int_equal(s.overlaps, 1);
	gone(f);
}

/* Sources that send nothing but first fragments; one that sends whole datagrams in pieces. */
static void flood(void **state)
{
	static const struct {
		unsigned attackers, contexts;
		uint32_t bytes;
	} rows[] = { { 1, 64, 0 }, { 20, 64, 0 }, { 1, 4096, 200000 }, { 20, 4096, 200000 } };
	struct odp_frag_out o;
	struct odp_frag_stats s;

	(void)state;
	for (unsigned r = 0; r < ARRAY_LEN(rows); r++) {
		struct odp_frags *f = make(rows[r].contexts, rows[r].bytes);
		uint32_t id = 0;

		for (unsigned round = 0; round < 200; round++) {
			const struct shape first = { true, true, round, 0, 1000, 1, 17, 0, 0 };
			const struct shape last = { true, false, round, 1000, 8, 1, 17, 0, 0 };

			assert_int_equal(odp_frag_in(f, piece(first), 99, 1, 0, &o), ODP_FRAG_HELD);
			for (unsigned i = 0; i < 200; i++) {
				const struct shape bad = { true, true, id++, 0, 1000, 3, 17, 0, 0 };

				(void)odp_frag_in(f, piece(bad), i % rows[r].attackers, 1, 0, &o);
				s = (struct odp_frag_stats){ 0 };
				odp_frag_stats_add(f, &s);
				assert_true(s.contexts <= rows[r].contexts);
				assert_true(s.bytes <= (rows[r].bytes ? rows[r].bytes : 8u << 20));
			}
			assert_int_equal(odp_frag_in(f, piece(last), 99, 1, 0, &o), ODP_FRAG_DONE);
			free_out(&o);
		}
		assert_true(s.evicted > 1000);
		gone(f);
	}
}

static void many_pieces(void **state)
{
	struct odp_frags *f = make(16, 0);
	struct odp_frag_out o;

	(void)state;
	for (unsigned i = 0; i <= ODP_FRAG_PIECES; i++)
		assert_int_equal(
			odp_frag_in(f,
				piece((struct shape){ false, true, 7, 16 * i, 8, 1, 17, 0, 0 }), 1,
				1, 0, &o),
			i < ODP_FRAG_PIECES ? ODP_FRAG_HELD : -ENOBUFS);
	assert_int_equal(odp_frag_in(f, piece((struct shape){ false, true, 7, 8, 8, 1, 17, 0, 0 }),
				 1, 1, 0, &o),
		-EPROTO);
	gone(f);
	// More bytes than a source's share: the datagram goes, not the limit.
	f = make(16, 40000);
	int ret = 0;

	for (unsigned i = 0; i < 9 && ret >= 0; i++)
		ret = odp_frag_in(f,
			piece((struct shape){ false, true, 7, 16 * i, 8, 1, 17, 0, 0 }), 1, 1, 0,
			&o);
	assert_int_equal(ret, -ENOBUFS);
	gone(f);
}

static void memory(void **state)
{
	const struct odp_frag_conf conf = { .pool = pool };
	struct odp_frags *f;

	(void)state;
	for (long k = 0; k < 5; k++) {
		dpu_alloc_fail_after(k);
		assert_int_equal(odp_frag_create(&conf, &f), -ENOMEM);
	}
	dpu_alloc_fail_after(-1);
	odp_frag_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shuffled),
		cmocka_unit_test(passes),
		cmocka_unit_test(apart),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(flood),
		cmocka_unit_test(many_pieces),
		cmocka_unit_test(memory),
	};
	int failed = 0;

	pool = fake_eal(8191);
	RUN_ROWS(sequences, sequence, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
