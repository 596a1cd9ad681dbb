// SPDX-License-Identifier: Apache-2.0
/* FTP: what its lines announce, what nobody may announce, and where a line begins. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ct_ftp.h"
#include "ct_pkts.h"

#define ZONE 3
#define NEW_REL (ODP_CS_TRK | ODP_CS_NEW | ODP_CS_REL)
#define NEW (ODP_CS_TRK | ODP_CS_NEW)

/* ---- lines: examples are of RFC 959, section 5.4, and RFC 2428, sections 2 and 3 ---- */

static const struct line_row {
	const char *name;
	bool from_server;
	const char *line;
	unsigned l3; // 9: no announcement
	uint8_t addr[16];
	uint16_t port;
} line_rows[] = {
	{ "PORT", false, "PORT 132,235,1,2,24,131\r\n", 4, { 132, 235, 1, 2 }, 24 << 8 | 131 },
	{ "PORT, lower case, no CR", false, "port 1,2,3,4,5,6\n", 4, { 1, 2, 3, 4 }, 5 << 8 | 6 },
	{ "PORT of the server", true, "PORT 1,2,3,4,5,6\r\n", 9, { 0 }, 0 },
	{ "PORT, too large", false, "PORT 1,2,3,4,256,6\r\n", 9, { 0 }, 0 },
	{ "PORT, five numbers", false, "PORT 1,2,3,4,5\r\n", 9, { 0 }, 0 },
	{ "PORT, seven numbers", false, "PORT 1,2,3,4,5,6,7\r\n", 9, { 0 }, 0 },
	{ "PORT, an empty number", false, "PORT 1,2,,4,5,6\r\n", 9, { 0 }, 0 },
	{ "PORT, many digits", false, "PORT 000001,2,3,4,5,6\r\n", 9, { 0 }, 0 },
	{ "PORT, more behind it", false, "PORT 1,2,3,4,5,6 x\r\n", 9, { 0 }, 0 },
	{ "PORT, no end", false, "PORT 1,2,3,4,5,6", 9, { 0 }, 0 },
	{ "PORT in a word", false, "XPORT 1,2,3,4,5,6\r\n", 9, { 0 }, 0 },
	{ "PASV's answer", true, "227 Entering Passive Mode (10,0,0,2,4,1)\r\n", 4, { 10, 0, 0, 2 },
		1025 },
	{ "PASV's answer without brackets", true, "227 =10,0,0,2,4,1\r\n", 4, { 10, 0, 0, 2 },
		1025 },
	{ "PASV's answer, a line of several", true, "227-(10,0,0,2,4,1)\r\n", 9, { 0 }, 0 },
	{ "PASV's answer of the client", false, "227 (10,0,0,2,4,1)\r\n", 9, { 0 }, 0 },
	{ "PASV's answer, cut", true, "227 (10,0,0,2,4\r\n", 9, { 0 }, 0 },
	{ "PASV's answer, no number", true, "227 Entering Passive Mode\r\n", 9, { 0 }, 0 },
	{ "EPRT over IPv4", false, "EPRT |1|132.235.1.2|6275|\r\n", 4, { 132, 235, 1, 2 }, 6275 },
	{ "EPRT over IPv6", false, "EPRT |2|1080::8:800:200C:417A|5282|\r\n", 6,
		{ 0x10, 0x80, 0, 0, 0, 0, 0, 0, 0, 8, 8, 0, 0x20, 0x0c, 0x41, 0x7a }, 5282 },
	{ "EPRT, other delimiters", false, "eprt !1!1.2.3.4!5!\r\n", 4, { 1, 2, 3, 4 }, 5 },
	{ "EPRT, a digit for one", false, "EPRT 111.2.3.4151\r\n", 9, { 0 }, 0 },
	{ "EPRT, two delimiters", false, "EPRT |1|1.2.3.4!5|\r\n", 9, { 0 }, 0 },
	{ "EPRT, another family", false, "EPRT |3|1.2.3.4|5|\r\n", 9, { 0 }, 0 },
	{ "EPRT, address of the other family", false, "EPRT |2|1.2.3.4|5|\r\n", 9, { 0 }, 0 },
	{ "EPRT, port too large", false, "EPRT |1|1.2.3.4|65536|\r\n", 9, { 0 }, 0 },
	{ "EPRT, address too long", false,
		"EPRT |2|1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111|5|\r\n", 9, { 0 },
		0 },
	{ "EPRT, no end", false, "EPRT |1|1.2.3.4|5\r\n", 9, { 0 }, 0 },
	{ "EPSV's answer", true, "229 Entering Extended Passive Mode (|||6446|)\r\n", 0, { 0 },
		6446 },
	{ "EPSV's answer, other delimiters", true, "229 ok (!!!6446!)\r\n", 0, { 0 }, 6446 },
	{ "EPSV's answer with an address", true, "229 (|1|1.2.3.4|6446|)\r\n", 9, { 0 }, 0 },
	{ "EPSV's answer, not closed", true, "229 (|||6446|\r\n", 9, { 0 }, 0 },
	{ "EPSV's answer, no bracket", true, "229 |||6446|\r\n", 9, { 0 }, 0 },
	{ "nothing", true, "", 9, { 0 }, 0 },
	{ "an empty line", false, "\n", 9, { 0 }, 0 },
};

static void line(void **state)
{
	const struct line_row *r = *state;
	struct ct_ftp_ask ask;
	size_t len = strlen(r->line);
	uint8_t *copy = malloc(len + 1); // of its own size: a read behind it is seen

	assert_non_null(copy);
	memcpy(copy, r->line, len);
	uint8_t *exact = realloc(copy, len ? len : 1);

	assert_non_null(exact);
	assert_int_equal(odp_ct_ftp_line(r->from_server, exact, len, &ask), r->l3 != 9);
	if (r->l3 != 9) {
		assert_int_equal(ask.l3, r->l3);
		assert_memory_equal(ask.addr, r->addr, sizeof(ask.addr));
		assert_int_equal(ask.port, r->port);
	}
	free(exact);
}

/* ---- a control connection between 10.0.0.1 and 10.0.0.2 ---- */

struct ftp {
	struct odp_ct *ct;
	uint32_t seq[2];
	struct odp_ct_pkt last;
};

static void segment(struct ftp *f, unsigned from, unsigned flags, const char *text, bool commit)
{
	struct ct_seg s = { .src = 1 + from,
		.sport = from ? 21 : 4000,
		.dst = 2 - from,
		.dport = from ? 4000 : 21,
		.flags = flags,
		.seq = f->seq[from],
		.ack = f->seq[!from],
		.len = (unsigned)strlen(text),
		.win = 60000,
		.scale = -1 };
	struct odp_ct_commit k = { .helper = (uint8_t)odp_ct_helper_find("ftp") };
	uint8_t bytes[1500];
	struct ct_p b;

	(void)ct_tcp(&b, &s, ZONE);
	(void)ct_see(f->ct, &b.p, 1);
	if (commit)
		assert_int_equal(odp_ct_commit(f->ct, 0, &b.p, &k, 1), 0);
	assert_false(b.p.state & ODP_CS_INV);
	memcpy(bytes, b.l4, b.p.l4_len);
	memcpy(bytes + b.p.l4_len, text, s.len);
	struct odp_ct_payload l = { .l4 = bytes, .len = b.p.l4_len + s.len };

	if (l.len > ODP_CT_PAYLOAD_MAX)
		l.len = ODP_CT_PAYLOAD_MAX;
	l.last = bytes[b.p.l4_len + s.len - 1];
	odp_ct_help(f->ct, 0, &b.p, &l, 1);
	f->seq[from] += s.len + !!(flags & FL_SYN);
	f->last = b.p;
}

static void say(struct ftp *f, unsigned from, const char *text)
{
	segment(f, from, FL_ACK, text, false);
}

static struct ftp control(void)
{
	struct ftp f = { .ct = ct_table(256, 1), .seq = { 1000, 5000 } };

	segment(&f, 0, FL_SYN, "", true);
	segment(&f, 1, FL_SYN | FL_ACK, "", false);
	segment(&f, 0, FL_ACK, "", false);
	assert_int_not_equal(f.last.helper, 0);
	return f;
}

/* The state of a first segment from 10.0.0.(src) to port `dport` of 10.0.0.(dst). */
static unsigned opens(const struct ftp *f, unsigned src, unsigned dst, unsigned dport)
{
	struct ct_seg s = { .src = src,
		.sport = 20,
		.dst = dst,
		.dport = dport,
		.flags = FL_SYN,
		.seq = 1,
		.win = 100,
		.scale = -1 };
	struct ct_p b;

	return ct_see(f->ct, ct_tcp(&b, &s, ZONE), 1);
}

static const struct talk {
	const char *name;
	struct {
		unsigned from;
		const char *text;
	} say[5];
	unsigned src, dst, port; // who may open a connection then
	unsigned state;
} talks[] = {
	{ "passive", { { 1, "227 ok (10,0,0,2,4,1)\r\n" } }, 1, 2, 1025, NEW_REL },
	{ "passive: nobody else", { { 1, "227 ok (10,0,0,2,4,1)\r\n" } }, 3, 2, 1025, NEW },
	{ "passive: no other port", { { 1, "227 ok (10,0,0,2,4,1)\r\n" } }, 1, 2, 1026, NEW },
	{ "passive: not the other way", { { 1, "227 ok (10,0,0,2,4,1)\r\n" } }, 2, 1, 1025, NEW },
	{ "passive: another host", { { 1, "227 ok (10,0,0,3,4,1)\r\n" } }, 1, 3, 1025, NEW },
	{ "passive: for another host", { { 1, "227 ok (10,0,0,3,4,1)\r\n" } }, 1, 2, 1025, NEW },
	{ "passive: a service", { { 1, "227 ok (10,0,0,2,3,255)\r\n" } }, 1, 2, 1023, NEW },
	{ "extended passive", { { 1, "229 ok (|||2000|)\r\n" } }, 1, 2, 2000, NEW_REL },
	{ "active", { { 0, "PORT 10,0,0,1,8,0\r\n" } }, 2, 1, 2048, NEW_REL },
	{ "active: another host", { { 0, "PORT 10,0,0,9,8,0\r\n" } }, 2, 9, 2048, NEW },
	{ "active: for another host", { { 0, "PORT 10,0,0,9,8,0\r\n" } }, 2, 1, 2048, NEW },
	{ "extended active", { { 0, "EPRT |1|10.0.0.1|2048|\r\n" } }, 2, 1, 2048, NEW_REL },
	{ "extended active: another family", { { 0, "EPRT |2|a00:1::|2048|\r\n" } }, 2, 1, 2048,
		NEW },
	{ "behind another line", { { 1, "200 ok\r\n227 ok (10,0,0,2,4,1)\r\n" } }, 1, 2, 1025,
		NEW_REL },
	{ "after a talk",
		{ { 1, "220 hello\r\n" }, { 0, "USER me\r\n" }, { 1, "230 you\r\n" },
			{ 0, "PASV\r\n" }, { 1, "227 ok (10,0,0,2,4,1)\r\n" } },
		1, 2, 1025, NEW_REL },
	{ "a segment that begins within a line",
		{ { 1, "200 you said: " }, { 1, "227 ok (10,0,0,2,4,1)\r\n" } }, 1, 2, 1025, NEW },
	{ "a line in two segments", { { 1, "227 ok (10,0," }, { 1, "0,2,4,1)\r\n" } }, 1, 2, 1025,
		NEW },
	{ "in order again after that",
		{ { 1, "200 you said: " }, { 1, "nothing\r\n" },
			{ 1, "227 ok (10,0,0,2,4,1)\r\n" } },
		1, 2, 1025, NEW_REL },
};

static void talk(void **state)
{
	const struct talk *t = *state;
	struct ftp f = control();

	for (unsigned i = 0; i < ARRAY_LEN(t->say) && t->say[i].text; i++)
		say(&f, t->say[i].from, t->say[i].text);
	assert_int_equal(opens(&f, t->src, t->dst, t->port), t->state);
	odp_ct_destroy(f.ct);
}

/* One side says as much as it likes: it has so many places and no more. */
static void greedy(void **state)
{
	struct ftp f = control();
	struct odp_ct_stats s;
	char text[64];

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(text, sizeof(text), "PORT 10,0,0,1,8,%u\r\n", i);
		say(&f, 0, text);
	}
	odp_ct_stats(f.ct, &s);
	assert_int_equal(s.announced, 8);
	assert_int_equal(s.by_state[ODP_CT_EXPECTED], 8);
	assert_int_equal(opens(&f, 2, 1, 2048 + 7), NEW_REL);
	assert_int_equal(opens(&f, 2, 1, 2048 + 8), NEW);
	// One that came makes room for another.
	struct ct_seg d = { .src = 2,
		.sport = 20,
		.dst = 1,
		.dport = 2048,
		.flags = FL_SYN,
		.seq = 1,
		.win = 100,
		.scale = -1 };
	struct ct_p b;

	assert_int_equal(ct_make(f.ct, ct_tcp(&b, &d, ZONE), 1), 0);
	assert_int_equal(b.p.state, NEW_REL);
	say(&f, 0, "PORT 10,0,0,1,9,0\r\n");
	assert_int_equal(opens(&f, 2, 1, 2304), NEW_REL);
	odp_ct_destroy(f.ct);
}

#define RECORD_V2 216u

/* As version 2 had it: no line. Its new length. */
static size_t as_version_2(uint8_t *frame, size_t len)
{
	size_t n = (len - ODP_CT_FRAME_HDR) / ODP_CT_RECORD_BYTES;
	uint8_t *at = frame + ODP_CT_FRAME_HDR;

	for (size_t i = 0; i < n; i++)
		memmove(at + i * RECORD_V2, at + i * ODP_CT_RECORD_BYTES, RECORD_V2);
	frame[4] = 2;
	len = ODP_CT_FRAME_HDR + n * RECORD_V2;
	odp_ct_frame_seal(frame, len);
	assert_int_equal(odp_ct_frame_len(frame), len);
	return len;
}

/* Another process goes on. Returns the connections that it took. */
static uint64_t hand_over_as(struct ftp *f, bool loose, unsigned version)
{
	const struct odp_ct_stamp stamp = { .still = !loose };
	uint8_t *buf = malloc(ODP_CT_FRAME_MAX);
	struct odp_ct_import im = { .loose = loose };
	struct odp_ct *to = ct_table(256, 1);
	uint64_t at = 0;
	int len;

	assert_non_null(buf);
	while ((len = odp_ct_export(f->ct, &at, &stamp, 1, buf, ODP_CT_FRAME_MAX)) > 0) {
		if (version == 2)
			len = (int)as_version_2(buf, (size_t)len);
		assert_true(odp_ct_import(to, &im, buf, (size_t)len, 1) >= 0);
	}
	odp_ct_destroy(f->ct);
	f->ct = to;
	free(buf);
	return im.n;
}

static uint64_t hand_over(struct ftp *f, bool loose)
{
	return hand_over_as(f, loose, 3);
}

/* The first line of each side that the next process sees is read, also by one that must guess. */
static void reads_on(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		unsigned side = i & 1, version = i & 2 ? 3 : 2;
		const char *ask = side ? "227 ok (10,0,0,2,8,0)\r\n" : "PORT 10,0,0,1,8,0\r\n";
		struct ftp f = control();

		say(&f, 1, "220 hello\r\n");
		say(&f, 0, "USER me\r\n");
		say(&f, 1, "230 you\r\n");
		assert_int_equal(hand_over_as(&f, i & 4, version), 1);
		say(&f, side, ask);
		assert_int_equal(opens(&f, 2 - side, 1 + side, 2048), version == 2 ? NEW : NEW_REL);
		say(&f, !side, "200 ok\r\n");
		say(&f, side, "200 ok\r\n");
		say(&f, side, ask);
		assert_int_equal(opens(&f, 2 - side, 1 + side, 2048), NEW_REL);
		odp_ct_destroy(f.ct);
	}
}

/* Handed over: the next process reads on, and the places are counted. */
static void handed_over(void **state)
{
	struct ftp f = control();
	struct odp_ct_stats s;
	char text[64];

	(void)state;
	say(&f, 0, "PORT 10,0,0,1,8,0\r\n");
	assert_int_equal(hand_over(&f, false), 2);
	assert_int_equal(opens(&f, 2, 1, 2048), NEW_REL);
	for (unsigned i = 0; i < 20; i++) {
		(void)snprintf(text, sizeof(text), "PORT 10,0,0,1,9,%u\r\n", i);
		say(&f, 0, text);
	}
	assert_int_equal(opens(&f, 2, 1, 2304), NEW_REL);
	odp_ct_stats(f.ct, &s);
	assert_int_equal(s.by_state[ODP_CT_EXPECTED], 8);
	odp_ct_destroy(f.ct);
}

/* Nobody knows where a line begins in what goes on: not before one has ended. */
static void within_a_line(void **state)
{
	(void)state;
	for (unsigned side = 0; side < 2; side++) {
		const char *ask = side ? "227 ok (10,0,0,2,8,0)\r\n" : "PORT 10,0,0,1,8,0\r\n";
		struct ftp f = control();

		say(&f, side, "the first half of ");
		assert_int_equal(hand_over(&f, false), 1);
		say(&f, side, ask);
		assert_int_equal(opens(&f, 2 - side, 1 + side, 2048), NEW);
		say(&f, side, ask);
		assert_int_equal(opens(&f, 2 - side, 1 + side, 2048), NEW_REL);
		odp_ct_destroy(f.ct);
	}
}

/* Picked up in mid-stream: the same for both sides. */
static void picked_up(void **state)
{
	struct ftp f = { .ct = ct_table(256, 1), .seq = { 1000, 5000 } };

	(void)state;
	segment(&f, 0, FL_ACK, "the first half of ", true);
	assert_int_not_equal(f.last.helper, 0);
	say(&f, 0, "PORT 10,0,0,1,8,0\r\n");
	assert_int_equal(opens(&f, 2, 1, 2048), NEW);
	say(&f, 1, "227 ok (10,0,0,2,8,0)\r\n");
	assert_int_equal(opens(&f, 1, 2, 2048), NEW);
	say(&f, 0, "PORT 10,0,0,1,8,0\r\n");
	assert_int_equal(opens(&f, 2, 1, 2048), NEW_REL);
	say(&f, 1, "227 ok (10,0,0,2,8,0)\r\n");
	assert_int_equal(opens(&f, 1, 2, 2048), NEW_REL);
	odp_ct_destroy(f.ct);
}

/*
 * Until both sides were heard anybody's segment is taken: what it says opens nothing. It went on by
 * `far` bytes meanwhile.
 */
static void loose_after(uint32_t far)
{
	struct ftp f = control();

	assert_int_equal(hand_over(&f, true), 1);
	f.seq[0] += far;
	f.seq[1] += far;
	say(&f, 0, "NOOP\r\n");
	say(&f, 0, "PORT 10,0,0,1,8,0\r\n");
	assert_int_equal(opens(&f, 2, 1, 2048), NEW);
	say(&f, 1, "200 ok\r\n");
	say(&f, 0, "NOOP\r\n");
	say(&f, 0, "PORT 10,0,0,1,8,0\r\n");
	assert_int_equal(opens(&f, 2, 1, 2048), NEW_REL);
	odp_ct_destroy(f.ct);
}

static void loose(void **state)
{
	(void)state;
	loose_after(1000);
	loose_after(3000000000u);
}

/* A SYN in mid-stream, which passes for the peer to answer, begins no line. */
static void syn_within(void **state)
{
	struct ftp f = control();

	(void)state;
	say(&f, 1, "200 you said: ");
	f.seq[1]--;
	segment(&f, 1, FL_SYN, "", false);
	say(&f, 1, "227 ok (10,0,0,2,4,1)\r\n");
	assert_int_equal(opens(&f, 1, 2, 1025), NEW);
	odp_ct_destroy(f.ct);
}

/* Who gets none: what is translated, what is no TCP, what was expected itself. */
static void no_helper(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct odp_ct_nat_conf nat = { .flags = ODP_NAT_SRC };
	struct odp_ct_commit k = { .helper = (uint8_t)odp_ct_helper_find("ftp") };
	struct ct_seg s = {
		.src = 1, .sport = 5, .dst = 2, .dport = 21, .flags = FL_SYN, .scale = -1
	};
	struct odp_ct_expect x = { 0 };
	struct ct_p b, u;

	(void)state;
	assert_int_equal(odp_ct_helper_find("tftp"), 0);
	assert_string_equal(odp_ct_helper_name(odp_ct_helper_find("ftp")), "ftp");
	assert_null(odp_ct_helper_name(0));
	assert_null(odp_ct_helper_name(200));
	ct_see(ct, ct_udp(&u, 1, 10, 2, 21, ZONE), 1);
	assert_int_equal(odp_ct_commit(ct, 0, &u.p, &k, 1), 0);
	assert_int_equal(u.p.helper, 0);
	ct_see(ct, ct_tcp(&b, &s, ZONE), 1);
	x.key = b.p.key;
	assert_int_equal(odp_ct_expect(ct, 0, u.p.ref, &x, 1), 0);
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &k, 1), 0);
	assert_true(b.p.state & ODP_CS_REL);
	assert_int_equal(b.p.helper, 0);
	s.sport = 6;
	ct_see(ct, ct_tcp(&b, &s, ZONE), 1);
	k.nat = &nat;
	assert_int_equal(odp_ct_commit(ct, 0, &b.p, &k, 1), 0);
	assert_int_equal(b.p.helper, 0);
	odp_ct_destroy(ct);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greedy),
		cmocka_unit_test(reads_on),
		cmocka_unit_test(handed_over),
		cmocka_unit_test(within_a_line),
		cmocka_unit_test(picked_up),
		cmocka_unit_test(loose),
		cmocka_unit_test(syn_within),
		cmocka_unit_test(no_helper),
	};
	int failed = 0;

	RUN_ROWS(line_rows, line, failed);
	RUN_ROWS(talks, talk, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
