// SPDX-License-Identifier: Apache-2.0
/* Which segments are merged on their way to a port: each rule by a row of its own. */
#include "gro_run.h"

static const struct spec base = { .seq = 0xfffffb00,
	.ack = 99,
	.len = 1000,
	.id = 0xffff,
	.win = 500,
	.conn = 1,
	.flags = ACK,
	.ttl = 64,
	.opts = 12,
	.ts = 3 };

/* Segment k of a connection's stream. */
static void next(const struct spec *t, unsigned k)
{
	struct spec s = *t;

	s.seq += k * t->len;
	s.id = (uint16_t)(t->id + k);
	seg_make(&s, &in[n_in++]);
}

/* ---- one rule each: three segments, of which the second is changed ---- */

enum base { ETH, IP, TCP };

static const struct rule {
	const char *name;
	unsigned frames; // that come out
	enum base base;
	uint8_t off, flip; // one byte of the second one is changed
	bool wrong; // the checksums are not
	bool all; // of them are changed
	bool v6, no_df;
	uint8_t tags;
	uint16_t len; // 0: 1000
	enum how how; // the second comes
	uint16_t piece; // all of them do
	struct odp_port_caps caps; // none: all_caps
} rules[] = {
	{ "three segments", 1 },
	{ "three of IPv6", 1, .v6 = true },
	{ "with a tag", 1, .tags = 1 },
	{ "with two tags", 3, .tags = 2 },
	{ "that may be fragmented", 1, .no_df = true },
	{ "with a verdict", 1, .how = GOOD },
	{ "in pieces", 1, .piece = 700 },
	{ "of the least size", 1, .len = SIZE_MIN },
	{ "smaller", 3, .len = SIZE_MIN - 1 },
	{ "another destination on the wire", 3, ETH, 5, 0x40 },
	{ "another source on the wire", 3, ETH, 11, 1 },
	{ "another tag", 3, ETH, 15, 1, .tags = 1 },
	{ "another priority", 3, ETH, 14, 0x20, .tags = 1 },
	{ "congestion seen", 3, IP, 1, 3 },
	{ "another type of service", 3, IP, 1, 0x10 },
	{ "another time to live", 3, IP, 8, 1 },
	{ "may be fragmented", 3, IP, 6, 0x40 },
	{ "may not be fragmented", 3, IP, 6, 0x40, .no_df = true },
	{ "a reserved flag", 3, IP, 6, 0x80 },
	{ "a first fragment", 3, IP, 6, 0x20 },
	{ "a later fragment", 3, IP, 7, 1 },
	{ "another id", 3, IP, 5, 4, .no_df = true },
	{ "another id of what cannot be a fragment", 3, IP, 5, 4 },
	{ "options of IPv4", 3, IP, 0, 0x45 ^ 0x46 },
	{ "another version", 3, IP, 0, 0x10 },
	{ "another protocol", 3, IP, 9, 6 ^ 17 },
	{ "another source", 3, IP, 15, 1 },
	{ "another destination", 3, IP, 19, 4 },
	{ "a wrong checksum of IPv4", 3, IP, 10, 1, .wrong = true },
	{ "longer than IPv4 says", 3, IP, 3, 1, .wrong = true },
	{ "padding", 3, .how = PADDED },
	{ "another traffic class", 3, IP, 1, 0x20, .v6 = true },
	{ "another flow label", 3, IP, 3, 1, .v6 = true },
	{ "another hop limit", 3, IP, 7, 1, .v6 = true },
	{ "another source of IPv6", 3, IP, 23, 2, .v6 = true },
	{ "another destination of IPv6", 3, IP, 39, 4, .v6 = true },
	{ "longer than IPv6 says", 3, IP, 5, 1, .wrong = true, .v6 = true },
	{ "an extension header", 3, IP, 6, 6 ^ 60, .v6 = true },
	{ "a fragment of IPv6", 3, IP, 6, 6 ^ 44, .v6 = true },
	{ "a wrong checksum over IPv6", 3, TCP, 40, 1, .wrong = true, .v6 = true },
	{ "another source port", 3, TCP, 1, 1 },
	{ "another destination port", 3, TCP, 3, 1 },
	{ "another sequence number", 3, TCP, 7, 4 },
	{ "another acknowledgement", 3, TCP, 11, 1 },
	{ "a longer header", 3, TCP, 12, 0x80 ^ 0x90 },
	{ "a header too short", 3, TCP, 12, 0x80 ^ 0x40 },
	{ "a reserved bit", 3, TCP, 12, 1 },
	{ "CWR", 3, TCP, 13, 0x80 },
	{ "ECE", 3, TCP, 13, 0x40 },
	{ "URG", 3, TCP, 13, 0x20 },
	{ "no ACK", 3, TCP, 13, ACK },
	{ "PSH", 2, TCP, 13, PSH },
	{ "RST", 3, TCP, 13, 4 },
	{ "SYN", 3, TCP, 13, 2 },
	{ "FIN", 3, TCP, 13, 1 },
	{ "CWR in all", 3, TCP, 13, 0x80, .all = true },
	{ "ECE in all", 3, TCP, 13, 0x40, .all = true },
	{ "FIN in all", 3, TCP, 13, 1, .all = true },
	{ "a reserved bit in all", 3, TCP, 12, 1, .all = true },
	{ "a header too short in all", 3, TCP, 12, 0x80 ^ 0x40, .all = true },
	{ "PSH in all", 3, TCP, 13, PSH, .all = true },
	{ "another window in all", 1, TCP, 15, 1, .all = true },
	{ "congestion seen by all", 1, IP, 1, 3, .all = true },
	{ "a reserved flag in all", 3, IP, 6, 0x80, .all = true },
	{ "another version in all", 3, IP, 0, 0x10, .all = true },
	{ "another version than 6", 3, IP, 0, 0x10, .v6 = true },
	{ "another version than 6 in all", 3, IP, 0, 0x10, .all = true, .v6 = true },
	{ "another window", 3, TCP, 15, 1 },
	{ "an urgent pointer", 3, TCP, 19, 1 },
	{ "another kind of option", 3, TCP, 20, 1 },
	{ "another timestamp", 3, TCP, 27, 1 },
	{ "a wrong checksum", 3, TCP, 16, 1, .wrong = true },
	{ "a wrong byte", 3, TCP, 32 + 999u % 200, 1, .wrong = true },
	{ "a wrong byte, and the receiver saw it", 3, TCP, 40, 1, .wrong = true, .how = BAD },
	{ "a checksum that somebody found wrong", 3, .how = BAD },
	{ "a checksum to be completed", 3, .how = REQUEST },
	{ "bytes that are others' too", 3, .how = SHARED },
	{ "bytes of another packet", 3, .how = ATTACHED },
	{ "bytes that are lent", 3, .how = LENT, .piece = 700 },
	{ "headers alone in their mbuf", 3, .piece = 14 + 20 + 32 },
	{ "headers in two mbufs", 3, .piece = 14 + 20 + 31 },
	{ "ports alone in their mbuf", 3, .piece = 14 + 20 + 4 },
	{ "addresses in two mbufs", 3, .piece = 14 + 18 },
	{ "a byte behind the headers in their mbuf", 1, .piece = 14 + 20 + 32 + 1 },
	{ "a port that does not ask", 3, .caps = { TAKES, .tso4 = true } },
	{ "a port without frames of IPv4", 3, .caps = { TAKES, .tso6 = true, .gro = true } },
	{ "a port without frames of IPv6", 3, .v6 = true,
		.caps = { TAKES, .tso4 = true, .gro = true } },
	{ "a port without checksums", 3,
		.caps = { .up = true, .mtu = 1500, .multi_seg = true, .tso4 = true, .gro = true } },
	{ "a port without chains", 3,
		.caps = { .up = true, .mtu = 1500, .csum = true, .tso4 = true, .gro = true } },
};

static void rule(void **state)
{
	const struct rule *t = *state;
	struct spec s = base;

	begin(t->caps.up ? &t->caps : &all_caps);
	s.v6 = t->v6;
	s.no_df = t->no_df;
	s.tags = t->tags;
	s.len = t->len ? t->len : s.len;
	for (unsigned k = 0; k < 3; k++) {
		next(&s, k);
		piece[k] = t->piece;
	}
	for (unsigned k = t->all ? 0 : 1; k < (t->all ? 3u : 2u); k++) {
		uint8_t *at = in[k].b + (t->base == TCP ? in[k].l4 : t->base == IP ? in[k].l3 : 0);

		at[t->off] ^= t->flip;
		if (t->flip && !t->wrong)
			seg_fix(&in[k]);
	}
	how[1] = t->how;
	if (t->how == PADDED)
		in[1].n += 4; // zeros
	run();
	check_out();
	assert_int_equal(n_frames, t->frames);
}

/* ---- several connections, sizes and ids: a letter or digit for each packet ---- */

static const struct story {
	const char *name;
	const char *packets;
	unsigned frames;
	bool v6;
} stories[] = {
	// a: the next one; A: the last one again; .: one is lost; s: a short one; l: a long one;
	// p: with PSH; k: no payload; u: UDP; f: a fragment, or with another header; x: with a
	// wrong checksum; c, d: no payload, and the mbuf ends in the ports, in the IP header
	{ "one", "a", 1 },
	{ "as many as there can be", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1 },
	{ "a short one ends it", "aasaa", 2 },
	{ "a long one begins another", "aalaa", 3 },
	{ "PSH ends it", "aapaa", 2 },
	{ "PSH begins nothing", "paa", 2 },
	{ "a short one begins nothing", "saa", 2 },
	{ "no payload between", "aakaa", 3 },
	{ "no payload, and more of it", "kkkk", 4 },
	{ "UDP between", "aauaa", 2 },
	{ "a fragment between", "aafaa", 3 },
	{ "a fragment of IPv6 between", "aafaa", 3, true },
	{ "ports in two mbufs between", "aacaa", 3 },
	{ "headers of IPv4 in two mbufs between", "aadaa", 3 },
	{ "headers of IPv6 in two mbufs between", "aadaa", 3, true },
	{ "one is lost", "aa.aa", 2 },
	{ "one comes again", "aaAaa", 2 },
	{ "a wrong checksum first", "xaaa", 2 },
	{ "a wrong checksum between", "aaxaa", 3 },
	{ "a wrong checksum at the end", "aax", 2 },
};

static void tell(char c, struct spec *t)
{
	bool other = strchr("ufcd", c) != NULL;
	struct spec now = *t;
	struct seg *s = &in[n_in];

	now.len = c == 's' ? 400 : c == 'l' ? 1400 : strchr("kcd", c) ? 0 : 1000;
	now.flags = c == 'p' ? ACK | PSH : ACK;
	now.seq -= c == 'A' ? 1000 : 0;
	t->seq = now.seq + (other ? 0 : now.len);
	t->id = (uint16_t)(t->id + !other);
	if (c == '.')
		return;
	seg_make(&now, s);
	if (c == 'u')
		s->b[s->l3 + (s->v6 ? 6 : 9)] = 17;
	if (c == 'f')
		s->b[s->l3 + 6] = s->v6 ? 44 : 0x20;
	seg_fix(s);
	if (c == 'x')
		s->b[100] ^= 1;
	piece[n_in++] = c == 'c' ? (uint16_t)(s->l4 + 2) : c == 'd' ? 19 : 0;
}

static void story(void **state)
{
	const struct story *t = *state;
	struct spec s = base;

	begin(&all_caps);
	s.v6 = t->v6;
	for (const char *c = t->packets; *c; c++)
		tell(*c, &s);
	run();
	check_out();
	assert_int_equal(n_frames, t->frames);
}

/* Ids that stay, and such as do both. */
static void ids(void **state)
{
	static const struct {
		uint16_t id[3];
		bool no_df;
		unsigned frames;
	} rows[] = {
		{ { 0, 0, 0 }, false, 1 },
		{ { 9, 9, 9 }, false, 1 },
		{ { 9, 9, 9 }, true, 3 },
		{ { 65535, 0, 1 }, true, 1 },
		{ { 9, 9, 10 }, false, 2 },
		{ { 9, 9, 11 }, false, 2 },
		{ { 9, 10, 10 }, false, 2 },
		{ { 9, 10, 9 }, false, 2 },
		{ { 9, 8, 7 }, false, 3 },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		begin(&all_caps);
		for (unsigned k = 0; k < 3; k++) {
			struct spec s = base;

			s.seq += k * s.len;
			s.id = rows[i].id[k];
			s.no_df = rows[i].no_df;
			seg_make(&s, &in[n_in++]);
		}
		run();
		check_out();
		assert_int_equal(n_frames, rows[i].frames);
	}
}

/* A TCP header that claims less than it needs, of a stream that would go on behind it. */
static void short_header(void **state)
{
	struct spec s = base;

	(void)state;
	begin(&all_caps);
	for (unsigned k = 0; k < 3; k++) {
		seg_make(&s, &in[k]);
		in[k].b[in[k].l4 + 12] = 0x40;
		seg_fix(&in[k]);
		s.seq += 16u + s.len;
		s.id++;
	}
	n_in = 3;
	run();
	check_out();
	assert_int_equal(n_frames, 3);
}

/* What may hide TCP is not overtaken, what does not is. */
static void next_headers(void **state)
{
	static const uint8_t hide[] = { 0, 43, 44, 51, 60, 135 }, others[] = { 17, 58, 59, 132 };
	struct spec s = base;

	(void)state;
	s.v6 = true;
	for (unsigned i = 0; i < ARRAY_LEN(hide) + ARRAY_LEN(others); i++) {
		bool hides = i < ARRAY_LEN(hide);

		begin(&all_caps);
		for (unsigned k = 0; k < 3; k++)
			next(&s, k == 2 ? 1 : k);
		in[1].b[in[1].l3 + 6] = hides ? hide[i] : others[i - ARRAY_LEN(hide)];
		seg_fix(&in[1]);
		run();
		check_out();
		assert_int_equal(n_frames, hides ? 3 : 2);
	}
}

/* Connections that take turns are merged all the same; more of them where there are places left. */
static void interleaved(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 16; n *= 2) {
		begin(&all_caps);
		for (unsigned k = 0; k < N_MAX; k++) {
			struct spec s = base;

			s.conn = (uint8_t)(k % n);
			next(&s, k / n);
		}
		run();
		check_out();
		if (n <= 4)
			assert_int_equal(n_frames, n);
		else
			assert_in_range(n_frames, n, N_MAX);
	}
}

/* A frame stays below 64 KiB, and below so many mbufs. */
static void bounds(void **state)
{
	struct odp_port_caps jumbo = all_caps;
	struct spec s = base;

	(void)state;
	jumbo.mtu = 9000;
	begin(&jumbo);
	s.len = 8900;
	for (unsigned k = 0; k < 8; k++)
		next(&s, k);
	run();
	check_out();
	assert_int_equal(n_frames, 2); // 7 of them and 1

	begin(&jumbo);
	s.len = 8186; // 8 of them would be 65540 bytes
	for (unsigned k = 0; k < 8; k++)
		next(&s, k);
	run();
	assert_int_equal(n_frames, 2);
	begin(&jumbo);
	for (unsigned k = 0; k < 8; k++)
		next(&s, k);
	s.seq += 7u * s.len;
	s.id = (uint16_t)(s.id + 7);
	s.len = 65535 - 52 - 7 * 8186;
	seg_make(&s, &in[7]);
	run();
	check_out();
	assert_int_equal(n_frames, 1);

	begin(&all_caps);
	for (unsigned k = 0; k < N_MAX; k++) {
		next(&base, k);
		piece[k] = 400;
	}
	run();
	check_out();
	assert_int_equal(n_frames, 2); // 21 of three mbufs, and 11

	begin(&all_caps);
	p2.caps.mtu = 1051;
	odp_port_caps_changed(p2.port);
	for (unsigned k = 0; k < 3; k++)
		next(&base, k);
	run();
	assert_int_equal(n_frames, 0);
	assert_int_equal(fake_port_drops(p2.port, ODP_DROP_MTU), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids),
		cmocka_unit_test(short_header),
		cmocka_unit_test(next_headers),
		cmocka_unit_test(interleaved),
		cmocka_unit_test(bounds),
	};
	int failed = 0;

	pool = fake_eal(8191);
	if (setup(NULL))
		return 1;
	RUN_ROWS(rules, rule, failed);
	RUN_ROWS(stories, story, failed);
	failed |= cmocka_run_group_tests_name("streams", tests, NULL, teardown);
	return failed;
}
