// SPDX-License-Identifier: Apache-2.0
/* TCP through the tracker, segment by segment: RFC 9293, RFC 5961, RFC 7323. */
#include "test.h"

#include <errno.h>

#include "ct_pkts.h"

#define NEW (ODP_CS_TRK | ODP_CS_NEW)
#define EST (ODP_CS_TRK | ODP_CS_EST)
#define RPL ODP_CS_RPL
#define INV (ODP_CS_TRK | ODP_CS_INV)

#define C 0 // from the client
#define S 1 // from the server

#define FIN FL_FIN
#define SYN FL_SYN
#define RST FL_RST
#define PSH FL_PSH
#define ACK FL_ACK

#define STEPS 16

struct step {
	unsigned from, flags;
	uint32_t seq, ack; // the client's SYN is 1000, the server's 5000
	unsigned len;
	unsigned state; // expected
	enum odp_ct_state tcp; // expected behind it; ODP_CT_NONE: no connection
	unsigned win; // 0: 10000
	int scale; // 0: no option; else one more than it
};

#define OPEN                                                                     \
	{ C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },                        \
		{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV }, \
	{                                                                        \
		C, ACK, 1001, 5001, 0, EST, ODP_CT_TCP_ESTABLISHED               \
	}

#define UP ODP_CT_TCP_ESTABLISHED

static const struct sequence {
	const char *name;
	struct step step[STEPS];
} sequences[] = {
	{ "RFC 9293 3.5: three-way handshake, data, orderly end (3.6)",
		{ OPEN, { C, ACK | PSH, 1001, 5001, 100, EST, UP },
			{ S, ACK, 5001, 1101, 500, EST | RPL, UP },
			{ C, FIN | ACK, 1101, 5501, 0, EST, ODP_CT_TCP_FIN_WAIT },
			{ S, ACK, 5501, 1102, 0, EST | RPL, ODP_CT_TCP_CLOSE_WAIT },
			{ S, ACK, 5501, 1102, 50, EST | RPL, ODP_CT_TCP_CLOSE_WAIT },
			{ S, FIN | ACK, 5551, 1102, 0, EST | RPL, ODP_CT_TCP_LAST_ACK },
			{ C, ACK, 1102, 5552, 0, EST, ODP_CT_TCP_TIME_WAIT },
			{ S, FIN | ACK, 5551, 1102, 0, EST | RPL, ODP_CT_TCP_TIME_WAIT } } },
	{ "RFC 9293 3.6: both close at once",
		{ OPEN, { C, FIN | ACK, 1001, 5001, 0, EST, ODP_CT_TCP_FIN_WAIT },
			{ S, FIN | ACK, 5001, 1001, 0, EST | RPL, ODP_CT_TCP_LAST_ACK },
			{ C, ACK, 1002, 5002, 0, EST, ODP_CT_TCP_LAST_ACK },
			{ S, ACK, 5002, 1002, 0, EST | RPL, ODP_CT_TCP_TIME_WAIT } } },
	{ "RFC 9293 3.5, figure 7: both open at once",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN, 5000, 0, 0, EST | RPL, ODP_CT_TCP_SYN_SENT2 },
			{ C, SYN | ACK, 1000, 5001, 0, EST, ODP_CT_TCP_SYN_RECV },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_ESTABLISHED } } },
	{ "RFC 9293 3.8.1: SYN, SYN+ACK and FIN sent again",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1001, 5001, 0, EST, UP },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, UP },
			{ C, FIN | ACK, 1001, 5001, 0, EST, ODP_CT_TCP_FIN_WAIT },
			{ C, FIN | ACK, 1001, 5001, 0, EST, ODP_CT_TCP_FIN_WAIT } } },
	{ "RFC 9293 3.10.7.3: RST in answer to a SYN acknowledges it",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, RST | ACK, 0, 1000, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, RST | ACK, 0, 1002, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, RST, 0, 0, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, RST | ACK, 0, 1001, 0, EST | RPL, ODP_CT_TCP_CLOSE } } },
	{ "RFC 9293 3.10.7.3: SYN+ACK that does not acknowledge the SYN",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1000, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1002, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, ACK, 5000, 1001, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1001, 5000, 0, INV, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1001, 5002, 0, INV, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1001, 5001, 0, EST, UP } } },
	{ "RFC 7413: data in a SYN",
		{ { C, SYN, 1000, 0, 50, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1051, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1051, 5001, 0, EST, UP } } },
	{ "RFC 7413: data in a SYN, not taken",
		{ { C, SYN, 1000, 0, 50, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1001, 5001, 50, EST, UP } } },
	{ "another SYN before an answer begins anew",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ C, SYN, 900000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1001, 0, INV, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 900001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV } } },
	{ "server speaks before the last ACK of the handshake",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ S, ACK, 5001, 1001, 500, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ S, ACK, 5501, 1001, 500, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 1001, 5501, 0, EST, UP } } },
	{ "RFC 9293 3.4: windows of both sides",
		{ OPEN, { C, ACK, 11002, 5001, 1, INV, UP }, // more than there is room for
			{ C, ACK, 11001, 5001, 1, EST, UP }, // its first byte lies within
			{ C, ACK, 1001, 5002, 0, INV, UP }, // acknowledges what was not sent
			{ C, ACK, 1001, 5001, 0, EST, UP }, // a keep-alive, duplicate
			{ S, ACK, 5001, 11003, 0, INV, UP },
			{ S, ACK, 5001, 11002, 100, EST | RPL, UP } } },
	{ "sequence numbers that wrap",
		{ { C, SYN, 0xffffff00, 0, 0, NEW, ODP_CT_TCP_SYN_SENT },
			{ S, SYN | ACK, 0xffffffff, 0xffffff01, 0, EST | RPL, ODP_CT_TCP_SYN_RECV },
			{ C, ACK, 0xffffff01, 0, 0, EST, UP },
			{ C, ACK, 0xffffff01, 0, 1000, EST, UP },
			{ S, ACK, 0, 0x2e9, 0, EST | RPL, UP },
			{ C, ACK, 0x2e9, 0, 1000, EST, UP } } },
	{ "RFC 7323 2.2: scaled windows, but not those of SYNs",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT, 100, 8 },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV, 100, 3 },
			{ C, ACK, 1001, 5001, 0, EST, UP, 100 }, // 12800
			{ S, ACK, 17802, 1001, 1, INV, UP, 100 },
			{ S, ACK, 17801, 1001, 1, EST | RPL, UP, 100 }, // 400
			{ C, ACK, 1402, 5001, 1, INV, UP, 100 },
			{ C, ACK, 1401, 5001, 1, EST, UP, 100 } } },
	{ "RFC 7323 2.2: one side without the option: none scales",
		{ { C, SYN, 1000, 0, 0, NEW, ODP_CT_TCP_SYN_SENT, 100, 8 },
			{ S, SYN | ACK, 5000, 1001, 0, EST | RPL, ODP_CT_TCP_SYN_RECV, 100 },
			{ C, ACK, 1001, 5001, 0, EST, UP, 100 },
			{ S, ACK, 5102, 1001, 1, INV, UP, 100 },
			{ S, ACK, 5101, 1001, 1, EST | RPL, UP, 100 } } },
	{ "RFC 2018: acknowledgements that stay behind a hole",
		{ OPEN, { C, ACK, 2001, 5001, 1000, EST, UP },
			{ S, ACK, 5001, 1001, 0, EST | RPL, UP },
			{ C, ACK, 3001, 5001, 1000, EST, UP },
			{ S, ACK, 5001, 1001, 0, EST | RPL, UP },
			{ C, ACK, 1001, 5001, 1000, EST, UP },
			{ S, ACK, 5001, 4001, 0, EST | RPL, UP } } },
	{ "RFC 5961 3.2: RST within the window changes nothing, beside it is invalid",
		{ OPEN, { S, RST, 5002, 0, 0, EST | RPL, UP },
			{ S, RST, 15001, 0, 0, EST | RPL, UP }, { S, RST, 15002, 0, 0, INV, UP },
			{ S, RST, 900000000, 0, 0, INV, UP }, { C, RST, 1002, 0, 0, EST, UP },
			{ C, RST, 0x80000000, 0, 0, INV, UP }, { C, ACK, 1001, 5001, 10, EST, UP },
			{ S, RST, 5001, 0, 0, EST | RPL, ODP_CT_TCP_CLOSE } } },
	{ "RFC 5961 3.2: RST where the peer's acknowledgement stands",
		{ OPEN, { C, ACK, 1001, 5001, 100, EST, UP },
			{ C, RST, 1001, 0, 0, EST, ODP_CT_TCP_CLOSE } } },
	{ "RFC 5961 3.2: RST behind all that was sent",
		{ OPEN, { C, ACK, 1001, 5001, 100, EST, UP }, { C, RST, 1050, 0, 0, EST, UP },
			{ C, RST, 1101, 0, 0, EST, ODP_CT_TCP_CLOSE } } },
	{ "RFC 5961 4.2: SYN in a connection: the peer challenges, and its RST closes",
		{ OPEN, { C, SYN, 777777, 0, 0, EST, UP }, { S, SYN, 777777, 0, 0, EST | RPL, UP },
			{ S, SYN | ACK, 777777, 1001, 0, EST | RPL, UP },
			{ S, ACK, 5001, 1001, 0, EST | RPL, UP },
			{ C, RST, 1001, 0, 0, EST, ODP_CT_TCP_CLOSE } } },
	{ "a closed connection is opened again by either side",
		{ OPEN, { C, RST, 1001, 0, 0, EST, ODP_CT_TCP_CLOSE },
			{ C, SYN, 50000, 0, 0, NEW, ODP_CT_NONE } } },
	{ "SYN with FIN, with RST; FIN alone; nothing; everything",
		{ OPEN, { C, SYN | FIN, 1001, 5001, 0, INV, UP },
			{ C, SYN | RST, 1001, 5001, 0, INV, UP },
			{ C, FIN, 1001, 5001, 0, INV, UP }, { C, 0, 1001, 5001, 0, INV, UP },
			{ C, 0x3f, 1001, 5001, 0, INV, UP },
			{ C, FIN | RST | ACK, 1001, 5001, 0, INV, UP },
			{ C, PSH, 1001, 5001, 0, INV, UP } } },
	{ "what begins no connection", { { C, SYN | ACK, 1000, 1, 0, INV, ODP_CT_NONE },
					       { C, RST, 1000, 1, 0, INV, ODP_CT_NONE },
					       { C, FIN | ACK, 1000, 1, 0, INV, ODP_CT_NONE } } },
	{ "picked up in mid-stream: scales are not known",
		{ { C, ACK, 1001, 5001, 100, NEW, UP, 100 },
			{ S, ACK, 5001 + 1600000, 1101, 100, EST | RPL, UP, 100 },
			{ C, ACK, 1101, 5001, 100, EST, UP, 100 },
			{ S, ACK, 5001, 900000000, 100, INV, UP, 100 } } },
};

/* The connection's state as operators see it. */
static void note(const struct odp_ct_info *i, void *arg)
{
	*(enum odp_ct_state *)arg = i->state;
}

static enum odp_ct_state seen(struct odp_ct *ct)
{
	enum odp_ct_state s = ODP_CT_NONE;
	uint32_t at = 0;

	while (odp_ct_dump(ct, &at, 1000, 1, note, &s))
		;
	return s;
}

static struct odp_ct_pkt *packet(struct ct_p *b, const struct step *t)
{
	struct ct_seg s = { .src = t->from == C ? 1 : 2,
		.sport = t->from == C ? 40000 : 80,
		.dst = t->from == C ? 2 : 1,
		.dport = t->from == C ? 80 : 40000,
		.flags = t->flags,
		.seq = t->seq,
		.ack = t->ack,
		.len = t->len,
		.win = t->win ? t->win : 10000,
		.scale = t->scale - 1 };

	return ct_tcp(b, &s, 0);
}

static const struct odp_ct_commit plain;

static void sequence(void **state)
{
	const struct sequence *q = *state;
	struct odp_ct *ct = ct_table(64, 1);

	for (unsigned i = 0; i < STEPS && q->step[i].state; i++) {
		const struct step *t = &q->step[i];
		struct ct_p b;

		unsigned got = ct_see(ct, packet(&b, t), 1);

		if (got != t->state)
			print_message("step %u: state %#x\n", i, got);
		assert_int_equal(got, t->state);
		if (i == 0 && got == NEW)
			assert_int_equal(odp_ct_commit(ct, 0, &b.p, &plain, 1), 0);
		if (seen(ct) != t->tcp)
			print_message("step %u: %s\n", i, odp_ct_state_name(seen(ct)));
		assert_int_equal(seen(ct), t->tcp);
	}
	odp_ct_destroy(ct);
}

static void open_it(struct odp_ct *ct)
{
	static const struct step open[] = { OPEN };
	struct ct_p b;

	for (unsigned i = 0; i < ARRAY_LEN(open); i++)
		assert_int_equal(i ? ct_see(ct, packet(&b, &open[i]), 1) != open[i].state
				   : ct_make(ct, packet(&b, &open[i]), 1),
			0);
}

/* docs/attacks.md OV-21: RST at every offset of the window and around it, in both directions. */
static void rst_everywhere(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);

	(void)state;
	open_it(ct);
	for (unsigned from = C; from <= S; from++)
		for (uint32_t off = 1; off < 70000; off += off < 10020 ? 1 : 997) {
			uint32_t next = from == C ? 1001 : 5001;
			struct step t = { from, RST, next + off, 0, 0, 0, 0 };
			struct ct_p b;

			ct_see(ct, packet(&b, &t), 1);
			assert_int_equal(seen(ct), ODP_CT_TCP_ESTABLISHED);
			t.seq = next - off;
			ct_see(ct, packet(&b, &t), 1);
			assert_int_equal(seen(ct), ODP_CT_TCP_ESTABLISHED);
		}
	odp_ct_destroy(ct);
}

/* docs/attacks.md OV-22: headers that lie. */
static void headers(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct step syn = { C, SYN, 1000, 0, 0, 0, 0, 100, 8 };
	struct ct_p b;

	(void)state;
	for (unsigned off = 0; off < 16; off++) {
		packet(&b, &syn);
		b.l4[12] = (uint8_t)(off << 4);
		assert_int_equal(ct_see(ct, &b.p, 1), off == 5 || off == 6 ? NEW : INV);
	}
	static const struct {
		uint8_t opt[4];
		unsigned state;
	} opts[] = {
		{ { 3, 3, 15, 0 }, NEW }, // RFC 7323, section 2.3: taken for 14
		{ { 3, 0, 1, 0 }, INV },
		{ { 3, 1, 1, 0 }, INV },
		{ { 3, 2, 1, 0 }, INV },
		{ { 2, 255, 1, 0 }, INV },
		{ { 1, 1, 1, 2 }, INV }, // no room for its length
		{ { 0, 2, 255, 255 }, NEW },
		{ { 1, 1, 1, 1 }, NEW },
		{ { 99, 4, 1, 1 }, NEW },
		{ { 99, 5, 1, 1 }, INV },
	};

	for (unsigned i = 0; i < ARRAY_LEN(opts); i++) {
		packet(&b, &syn);
		memcpy(b.l4 + 20, opts[i].opt, 4);
		assert_int_equal(ct_see(ct, &b.p, 1), opts[i].state);
	}
	packet(&b, &syn);
	b.p.l4_len = 20; // the options are not where they can be read
	assert_int_equal(ct_see(ct, &b.p, 1), INV);
	b.p.l4_len = 19;
	assert_int_equal(ct_see(ct, &b.p, 1), INV);
	odp_ct_destroy(ct);
}

static void strict_and_liberal(void **state)
{
	struct odp_ct_conf conf = { .max_conns = 64,
		.n_workers = 1,
		.seed = { 1, 2 },
		.tcp_strict = true,
		.tcp_liberal = true };
	struct step mid = { C, ACK, 1001, 5001, 100, 0, 0 },
		    far = { C, ACK, 999999, 5001, 1, 0, 0 };
	struct odp_ct *ct;
	struct ct_p b;

	(void)state;
	assert_int_equal(odp_ct_create(&conf, &ct), 0);
	odp_ct_online(ct, 0);
	assert_int_equal(ct_see(ct, packet(&b, &mid), 1), INV);
	open_it(ct);
	assert_int_equal(ct_see(ct, packet(&b, &far), 1), EST);
	odp_ct_destroy(ct);
}

/* What a cache may decide on its own, and what it may not. */
static void again(void **state)
{
	struct odp_ct *ct = ct_table(64, 1);
	struct step data = { C, ACK, 1001, 5001, 100, 0, 0 };
	struct ct_p b;

	(void)state;
	open_it(ct);
	ct_see(ct, packet(&b, &data), 1);
	struct odp_ct_ref ref = b.p.ref;

	data.seq = 1101;
	assert_true(odp_ct_again(ct, 0, packet(&b, &data), ref, ODP_CT_ORIG, 2));
	data.seq = 900000; // out of window
	assert_false(odp_ct_again(ct, 0, packet(&b, &data), ref, ODP_CT_ORIG, 2));
	data.seq = 1201;
	static const unsigned flags[] = { SYN, RST, FIN | ACK, SYN | ACK, 0 };

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		data.flags = flags[i];
		assert_false(odp_ct_again(ct, 0, packet(&b, &data), ref, ODP_CT_ORIG, 2));
		assert_int_equal(seen(ct), ODP_CT_TCP_ESTABLISHED); // and nothing was done
	}
	data.flags = ACK;
	assert_true(odp_ct_again(ct, 0, packet(&b, &data), ref, ODP_CT_ORIG, 2));
	odp_ct_destroy(ct);
}

/* Half open, then established: what the flood of OV-20 removes and what not. */
static void syn_flood(void **state)
{
	struct odp_ct *ct = ct_table(1024, 1);
	struct step data = { C, ACK, 1001, 5001, 1, 0, 0 };
	struct ct_p b;

	(void)state;
	open_it(ct);
	for (unsigned i = 0; i < 20000; i++) {
		struct ct_seg s = { .src = i,
			.sport = 1,
			.dst = 2,
			.dport = 80,
			.flags = SYN,
			.seq = i,
			.win = 1000,
			.scale = -1 };

		assert_int_equal(ct_make(ct, ct_tcp(&b, &s, 0), 1), 0);
		odp_ct_quiescent(ct, 0);
	}
	assert_int_equal(ct_see(ct, packet(&b, &data), 1), EST);
	odp_ct_destroy(ct);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rst_everywhere),
		cmocka_unit_test(headers),
		cmocka_unit_test(strict_and_liberal),
		cmocka_unit_test(again),
		cmocka_unit_test(syn_flood),
	};
	int failed = 0;

	RUN_ROWS(sequences, sequence, failed);
	return failed | cmocka_run_group_tests(tests, NULL, NULL);
}
