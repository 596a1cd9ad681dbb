// SPDX-License-Identifier: Apache-2.0
/* The table as bytes: what goes out comes in, and nothing else does. */
#include "test.h"

#include <errno.h>
#include <stdlib.h>

#include "ct_pkts.h"
#include "ct_priv.h"

#define EST (ODP_CS_TRK | ODP_CS_EST)
#define RPL ODP_CS_RPL
#define FRAMES 8

struct stream {
	uint8_t *buf[FRAMES];
	size_t len[FRAMES];
	unsigned n;
};

static const struct odp_ct_stamp stamp = { .wall_ms = 1234567890123, .still = true };

static void out(struct odp_ct *ct, struct stream *s, uint64_t now_ms)
{
	uint64_t at = 0;

	*s = (struct stream){ .n = 0 };
	for (;;) {
		uint8_t *buf = malloc(ODP_CT_FRAME_MAX);

		assert_non_null(buf);
		assert_int_equal(
			odp_ct_export(ct, &at, &stamp, now_ms, buf, ODP_CT_FRAME_MAX - 1), -ENOSPC);
		int len = odp_ct_export(ct, &at, &stamp, now_ms, buf, ODP_CT_FRAME_MAX);

		assert_true(len >= 0);
		if (len == 0) {
			free(buf);
			return;
		}
		assert_true(s->n < FRAMES);
		// Of its own size, so that a read behind it is seen.
		s->buf[s->n] = malloc((size_t)len);
		assert_non_null(s->buf[s->n]);
		memcpy(s->buf[s->n], buf, (size_t)len);
		s->len[s->n++] = (size_t)len;
		free(buf);
	}
}

static void drop(struct stream *s)
{
	for (unsigned i = 0; i < s->n; i++)
		free(s->buf[i]);
}

static uint64_t in(struct odp_ct *ct, const struct stream *s, uint64_t now_ms)
{
	struct odp_ct_import im = { 0 };

	for (unsigned i = 0; i < s->n; i++) {
		assert_false(im.complete);
		assert_int_equal(odp_ct_frame_len(s->buf[i]), s->len[i]);
		assert_true(odp_ct_import(ct, &im, s->buf[i], s->len[i], now_ms) >= 0);
		assert_int_equal(im.stamp.wall_ms, stamp.wall_ms);
		assert_true(im.stamp.still);
	}
	assert_true(im.complete);
	assert_int_equal(
		odp_ct_import(ct, &im, s->buf[s->n - 1], s->len[s->n - 1], now_ms), -EBADMSG);
	return im.n;
}

static void tcp_open(struct odp_ct *ct, unsigned i)
{
	struct ct_seg c = { .src = i,
		.sport = 4000,
		.dst = 2,
		.dport = 80,
		.flags = FL_SYN,
		.seq = 1000,
		.win = 500,
		.scale = 7 };
	struct ct_seg s = { .src = 2,
		.sport = 80,
		.dst = i,
		.dport = 4000,
		.flags = FL_SYN | FL_ACK,
		.seq = 5000,
		.ack = 1001,
		.win = 500,
		.scale = 2 };
	struct ct_p b;

	assert_int_equal(ct_make(ct, ct_tcp(&b, &c, 3), 1), 0);
	assert_int_equal(ct_see(ct, ct_tcp(&b, &s, 3), 1), EST | RPL);
	c = (struct ct_seg){ .src = i,
		.sport = 4000,
		.dst = 2,
		.dport = 80,
		.flags = FL_ACK,
		.seq = 1001,
		.ack = 5001,
		.win = 500 };
	assert_int_equal(ct_see(ct, ct_tcp(&b, &c, 3), 1), EST);
}

struct rows {
	struct odp_ct_info at[16];
	unsigned n;
};

static void row(const struct odp_ct_info *i, void *arg)
{
	struct rows *r = arg;

	assert_true(r->n < ARRAY_LEN(r->at));
	r->at[r->n++] = *i;
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct odp_ct_key));
}

static void rows_of(struct odp_ct *ct, struct rows *r, uint64_t now_ms)
{
	uint32_t at = 0;

	memset(r, 0, sizeof(*r));
	while (odp_ct_dump(ct, &at, 7, now_ms, row, r))
		;
	qsort(r->at, r->n, sizeof(r->at[0]), by_key);
}

static struct odp_ct_nat_conf pool(uint32_t flags)
{
	struct odp_ct_nat_conf n = { .flags = ODP_NAT_SRC | flags };

	ct_addr(n.min_addr, 0x6400);
	ct_addr(n.max_addr, 0x6403);
	return n;
}

/* One of each kind. */
static struct odp_ct *table(void)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf n = pool(0), eim = pool(ODP_NAT_EIM);
	struct odp_ct_commit marked = { .mark = 9,
		.mark_mask = 0xff,
		.label = { 1, 1ull << 63 },
		.label_mask = { UINT64_MAX, UINT64_MAX } };
	struct odp_ct_commit nat = { .nat = &n }, mapped = { .nat = &eim };
	struct odp_ct_expect x = { 0 };
	struct ct_p a, b;

	tcp_open(ct, 1);
	ct_see(ct, ct_udp(&a, 5, 500, 6, 53, 1), 1);
	assert_int_equal(odp_ct_commit(ct, 0, &a.p, &marked, 1), 0);
	ct_udp(&b, 6, 3000, 5, 3001, 1);
	x.key = b.p.key;
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 1), 0);
	ct_see(ct, &b.p, 1);
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &nat, 1), 0);
	assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 1), 0);
	ct_see(ct, ct_udp(&b, 7, 500, 6, 53, 1), 1);
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &nat, 1), 0);
	ct_see(ct, ct_udp(&b, 8, 500, 9, 53, 1), 1);
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &mapped, 1), 0);
	assert_int_equal(ct_make(ct, ct_icmp(&b, 1, 2, 8, 0, 7, 0), 1), 0);
	return ct;
}

static void round_trip(void **state)
{
	struct odp_ct *ct = table(), *to = ct_table(64, 1);
	struct stream s;
	struct rows r, q;
	struct ct_p a;

	(void)state;
	rows_of(ct, &r, 1000);
	assert_int_equal(r.n, 6);
	out(ct, &s, 1000);
	assert_int_equal(in(to, &s, 900000), 8); // with a mapping and an expectation
	rows_of(to, &q, 900000); // by another clock
	assert_int_equal(q.n, r.n);
	for (unsigned i = 0; i < r.n; i++)
		assert_memory_equal(&r.at[i], &q.at[i], sizeof(r.at[i]));
	// They go on: windows with their scale, translation, expectation, mapping.
	struct ct_seg srv = { .src = 2,
		.sport = 80,
		.dst = 1,
		.dport = 4000,
		.flags = FL_ACK,
		.seq = 5001,
		.ack = 1001,
		.win = 500 }; // 2000 bytes
	struct ct_seg c = { .src = 1,
		.sport = 4000,
		.dst = 2,
		.dport = 80,
		.flags = FL_ACK,
		.seq = 1001 + 1999,
		.ack = 5001,
		.win = 500,
		.len = 1 };

	assert_int_equal(ct_see(to, ct_tcp(&a, &srv, 3), 900000), EST | RPL);
	assert_int_equal(ct_see(to, ct_tcp(&a, &c, 3), 900000), EST);
	c.seq = 1001 + 2002;
	assert_int_equal(ct_see(to, ct_tcp(&a, &c, 3), 900000), ODP_CS_TRK | ODP_CS_INV);
	for (unsigned i = 0; i < 2; i++) { // the same outside as before
		struct odp_ct_nat_conf eim = pool(ODP_NAT_EIM);
		struct odp_ct_commit mapped = { .nat = &eim };
		struct odp_ct *t = i ? to : ct;

		ct_see(t, ct_udp(&a, 8, 500, 99, 53, 1), 900000);
		assert_int_equal(odp_ct_commit(t, 0, &a.p, &mapped, 900000), 0);
	}
	ct_see(to, ct_udp(&a, 6, 3000, 5, 3001, 1), 900000);
	assert_true(a.p.state & ODP_CS_REL);
	// Again: all of it is there already.
	assert_int_equal(in(to, &s, 900000), 0);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

static void nothing_to_take(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct stream s;

	(void)state;
	out(ct, &s, 1);
	assert_int_equal(s.n, 1);
	assert_int_equal(in(ct, &s, 1), 0);
	drop(&s);
	odp_ct_destroy(ct);
}

static void many_frames(void **state)
{
	struct odp_ct *ct = ct_table(2048, 1), *to = ct_table(2048, 1), *small = ct_table(256, 1);
	struct odp_ct_import im = { 0 };
	struct stream s;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		tcp_open(ct, 100 + i);
	out(ct, &s, 1);
	assert_int_equal(s.n, 4);
	assert_int_equal(in(to, &s, 1), 1000);
	assert_int_equal(in(small, &s, 1), 256);
	// A frame that is missing, or comes twice.
	assert_int_equal(odp_ct_import(to, &im, s.buf[1], s.len[1], 1), -EBADMSG);
	assert_int_equal(odp_ct_import(to, &im, s.buf[0], s.len[0], 1), 0);
	assert_int_equal(odp_ct_import(to, &im, s.buf[0], s.len[0], 1), -EBADMSG);
	assert_false(im.complete);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
	odp_ct_destroy(small);
}

/* No more expectations than there may be here: the rest is left out. */
static void expectations_fit(void **state)
{
	struct odp_ct_conf conf = {
		.max_conns = 64, .n_workers = 1, .seed = { 1, 3 }, .max_expects = 2
	};
	struct odp_ct *ct = ct_table(64, 1), *to;
	struct odp_ct_expect x = { 0 };
	struct odp_ct_stats st;
	struct stream s;
	struct ct_p a, b;

	(void)state;
	assert_int_equal(odp_ct_create(&conf, &to), 0);
	odp_ct_online(to, 0);
	assert_int_equal(ct_make(ct, ct_udp(&a, 1, 500, 6, 53, 1), 1), 0);
	for (unsigned i = 0; i < 5; i++) {
		x.key = ct_udp(&b, 6, 20, 1, 3000 + i, 1)->key;
		assert_int_equal(odp_ct_expect(ct, 0, a.p.ref, &x, 1), 0);
	}
	out(ct, &s, 1);
	assert_int_equal(in(to, &s, 1), 1 + 2);
	odp_ct_stats(to, &st);
	assert_int_equal(st.by_state[ODP_CT_EXPECTED], 2);
	odp_ct_flush(to, ODP_CT_ALL_ZONES);
	assert_int_equal(in(to, &s, 1), 1 + 2);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

/* A call looks at so many places and no more: frames without connections come of it. */
static void small_steps(void **state)
{
	struct odp_ct *ct = ct_table(40000, 1), *to = ct_table(64, 1);
	struct odp_ct_import im = { 0 };
	struct stream s;
	struct ct_p a;

	(void)state;
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(ct_make(ct, ct_udp(&a, i >> 8, 1000 + (i & 255), 6, 53, 1), 1), 0);
	odp_ct_flush(ct, 1);
	tcp_open(ct, 1);
	out(ct, &s, 1);
	assert_int_equal(s.n, 3); // two passes through more than 16384 places
	for (unsigned i = 0; i < s.n; i++)
		assert_true(odp_ct_import_check(&im, s.buf[i], s.len[i]) >= 0);
	assert_true(im.complete);
	assert_int_equal(im.n, 1);
	assert_int_equal(in(to, &s, 1), 1);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

/* What would have been over by now is left out, of the others less time is left. */
static void older(void **state)
{
	struct odp_ct *ct = table(), *to = ct_table(64, 1);
	struct odp_ct_import im = { .age_ms = 40000 };
	struct stream s;
	struct rows r, q;

	(void)state;
	out(ct, &s, 1000);
	rows_of(ct, &r, 1000);
	assert_true(odp_ct_import(to, &im, s.buf[0], s.len[0], 500) > 0);
	rows_of(to, &q, 500);
	assert_int_equal(q.n, r.n - 1); // all but the query
	for (unsigned i = 0, j = 0; i < r.n; i++) {
		if (r.at[i].state == ODP_CT_ICMP_FIRST)
			continue;
		assert_int_equal(r.at[i].timeout_ms - 40000, q.at[j++].timeout_ms);
	}
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

/*
 * Taken over while it went on: the first segment of each side says where it stands, wherever that
 * is, and in whatever order they come; then windows hold again. The sides' numbers went far on.
 */
static const struct loose {
	const char *name;
	unsigned n;
	struct {
		bool from_server;
		uint32_t seq, ack;
		unsigned len;
	} seg[4];
} loose_rows[] = {
	{ "data, then its acknowledgement", 2, { { false, 0, 100, 100 }, { true, 100, 100, 0 } } },
	{ "the server first", 2, { { true, 0, 0, 100 }, { false, 0, 100, 100 } } },
	{ "repeated data that has arrived", 3,
		{ { false, -2000, 100, 100 }, { true, 100, 100, 0 }, { true, 100, 100, 0 } } },
	{ "much is repeated", 4,
		{ { false, 0, 100, 100 }, { false, -70000, 100, 100 }, { false, -69900, 100, 100 },
			{ true, 100, 100, 0 } } },
	{ "a keepalive", 2, { { true, 100, 100, 0 }, { false, 99, 100, 0 } } },
};

static unsigned step(
	struct odp_ct *ct, bool from_server, uint32_t seq, uint32_t ack, unsigned len, unsigned fl)
{
	const uint32_t far_c = 3000000000u, far_s = 2222222222u;
	struct ct_seg s = { .src = from_server ? 2 : 1,
		.sport = from_server ? 80 : 4000,
		.dst = from_server ? 1 : 2,
		.dport = from_server ? 4000 : 80,
		.flags = fl,
		.seq = seq + (from_server ? far_s : far_c),
		.ack = ack + (from_server ? far_c : far_s),
		.win = 500,
		.len = len };
	struct ct_p b;

	return ct_see(ct, ct_tcp(&b, &s, 3), 2);
}

static void taken_over(void **state)
{
	const struct loose *l = *state;
	struct odp_ct *ct = ct_table(64, 1), *to = ct_table(64, 1), *strict = ct_table(64, 1);
	struct odp_ct_import im = { .loose = true };
	struct stream s;

	tcp_open(ct, 1);
	out(ct, &s, 1);
	assert_int_equal(odp_ct_import(to, &im, s.buf[0], s.len[0], 1), 1);
	assert_int_equal(in(strict, &s, 1), 1);
	// A guess at the end of it is not taken for the end, and a SYN changes nothing.
	assert_int_equal(step(to, true, 5, 5, 0, FL_RST | FL_ACK) & ~ODP_CS_RPL, EST);
	assert_int_equal(step(to, false, 9, 0, 0, FL_SYN), EST);
	for (unsigned i = 0; i < l->n; i++) {
		bool srv = l->seg[i].from_server;

		assert_int_equal(step(to, srv, l->seg[i].seq, l->seg[i].ack, l->seg[i].len, FL_ACK),
			EST | (srv ? RPL : 0));
		if (i == 0)
			assert_int_equal(step(strict, srv, l->seg[i].seq, l->seg[i].ack,
						 l->seg[i].len, FL_ACK),
				ODP_CS_TRK | ODP_CS_INV);
	}
	// Now both are known: the client may send 500 << 2 bytes ahead, nobody anything else.
	assert_int_equal(step(to, false, 100, 100, 1000, FL_ACK), EST);
	assert_int_equal(step(to, false, 1100, 100, 1000, FL_ACK), EST);
	assert_int_equal(step(to, true, 100, 2100, 10, FL_ACK), EST | RPL);
	assert_int_equal(step(to, true, 110, 2200, 10, FL_ACK), ODP_CS_TRK | ODP_CS_INV);
	assert_int_equal(step(to, false, 9000000, 100, 10, FL_ACK), ODP_CS_TRK | ODP_CS_INV);
	assert_int_equal(step(to, true, 110, 2100, 10, FL_FIN | FL_ACK), EST | RPL);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
	odp_ct_destroy(strict);
}

/* A handshake is not taken for more than it was: its numbers count. */
static void half_open_stays(void **state)
{
	struct odp_ct_import im = { .loose = true };
	struct odp_ct *ct = ct_table(64, 1), *to = ct_table(64, 1);
	struct ct_seg c = { .src = 1,
		.sport = 4000,
		.dst = 2,
		.dport = 80,
		.flags = FL_SYN,
		.seq = 1000,
		.win = 500,
		.scale = -1 };
	struct ct_seg s = { .src = 2,
		.sport = 80,
		.dst = 1,
		.dport = 4000,
		.flags = FL_SYN | FL_ACK,
		.seq = 5000,
		.ack = 1001,
		.win = 500,
		.scale = -1 };
	struct stream bytes;
	struct ct_p b;

	(void)state;
	assert_int_equal(ct_make(ct, ct_tcp(&b, &c, 3), 1), 0);
	assert_int_equal(ct_see(ct, ct_tcp(&b, &s, 3), 1), EST | RPL);
	out(ct, &bytes, 1);
	assert_int_equal(odp_ct_import(to, &im, bytes.buf[0], bytes.len[0], 1), 1);
	c.flags = FL_ACK;
	c.ack = 5001;
	c.seq = 1001 + 9000000;
	assert_int_equal(ct_see(to, ct_tcp(&b, &c, 3), 1), ODP_CS_TRK | ODP_CS_INV);
	c.seq = 1001;
	assert_int_equal(ct_see(to, ct_tcp(&b, &c, 3), 1), EST);
	drop(&bytes);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

/* Every cut, and every bit: refused, with the table as it was. */
static void spoiled(void **state)
{
	struct odp_ct *ct = table(), *to = ct_table(64, 1);
	struct odp_ct_stats st;
	struct stream s;

	(void)state;
	out(ct, &s, 1);
	assert_int_equal(s.n, 1);
	for (size_t len = 0; len < s.len[0]; len++) {
		struct odp_ct_import im = { 0 };
		uint8_t *cut = malloc(len ? len : 1);

		assert_non_null(cut);
		memcpy(cut, s.buf[0], len);
		assert_int_equal(odp_ct_import(to, &im, cut, len, 1), -EBADMSG);
		free(cut);
	}
	for (size_t bit = 0; bit < s.len[0] * 8; bit++) {
		struct odp_ct_import im = { 0 };

		s.buf[0][bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(odp_ct_import(to, &im, s.buf[0], s.len[0], 1) < 0);
		s.buf[0][bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	s.buf[0][4]++;
	struct odp_ct_import im = { 0 };

	assert_int_equal(odp_ct_import(to, &im, s.buf[0], s.len[0], 1), -EPROTONOSUPPORT);
	odp_ct_stats(to, &st);
	assert_int_equal(st.conns, 0);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

/* The sum is right, the connection is none: offsets from the first record (a TCP connection). */
static const struct lie {
	const char *name;
	size_t off;
	uint8_t v;
} lies[] = {
	{ "a state that does not exist", 120, 255 },
	{ "a state of another protocol", 120, ODP_CT_UDP_FIRST },
	{ "halves that do not give the state", 121, 0x44 },
	{ "flags that do not exist", 125, 0x80 },
	{ "an expectation under the key of a connection", 124, 0x80 },
	{ "reserved byte", 127, 1 },
	{ "more time than there is", 135, 0xff },
	{ "an address family that does not exist", 38, 5 },
	{ "an IPv4 address of 16 bytes", 10, 1 },
	{ "directions of two protocols", 39, 17 },
	{ "directions of two zones", 36, 77 },
	{ "an answer from elsewhere without translation", 43, 99 },
	{ "a line without a helper", 220, 1 },
};

static void sealed_lies(void **state)
{
	const struct lie *l = *state;
	struct odp_ct *ct = ct_table(64, 1), *to = ct_table(64, 1);
	struct odp_ct_import im = { 0 };
	struct stream s;

	tcp_open(ct, 1);
	out(ct, &s, 1);
	assert_int_equal(s.len[0], 32 + 224);
	if (!s.buf[0])
		abort();
	assert_int_not_equal(s.buf[0][32 + l->off], l->v);
	s.buf[0][32 + l->off] = l->v;
	odp_ct_frame_seal(s.buf[0], s.len[0]);
	assert_int_equal(odp_ct_import(to, &im, s.buf[0], s.len[0], 1), -EBADMSG);
	drop(&s);
	odp_ct_destroy(ct);
	odp_ct_destroy(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(nothing_to_take),
		cmocka_unit_test(many_frames),
		cmocka_unit_test(expectations_fit),
		cmocka_unit_test(small_steps),
		cmocka_unit_test(older),
		cmocka_unit_test(half_open_stays),
		cmocka_unit_test(spoiled),
	};
	int failed = 0;

	RUN_ROWS(loose_rows, taken_over, failed);
	RUN_ROWS(lies, sealed_lies, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
