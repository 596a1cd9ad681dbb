// SPDX-License-Identifier: Apache-2.0
/* Connections as operators read them, and tuples as they write them. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ct_pkts.h"

/* ---- writing ---- */

static const struct conn_row {
	const char *name;
	struct odp_ct_info info;
	const char *text, *stats; // stats NULL: as text, with ",timeout=0" behind the reply
} conns[] = {
	{ "tcp",
		{ .key = { { { 10, 0, 0, 1 }, { 10, 0, 0, 2 }, { { 0, 1 } }, { { 1, 0 } }, 0, 4,
				   6 },
			  { { 10, 0, 0, 2 }, { 10, 0, 0, 1 }, { { 1, 0 } }, { { 0, 1 } }, 0, 4,
				  6 } },
			.state = ODP_CT_TCP_ESTABLISHED },
		"tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=256),reply=(src=10.0.0.2,"
		"dst=10.0.0.1,sport=256,dport=1),protoinfo=(state=ESTABLISHED)",
		"tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=256),reply=(src=10.0.0.2,"
		"dst=10.0.0.1,sport=256,dport=1),timeout=0,protoinfo=(state=ESTABLISHED)" },
	{ "tcp, everything",
		{ .key = { { { 1, 2, 3, 4 }, { 5, 6, 7, 8 }, { { 255, 255 } }, { { 0, 80 } }, 9, 4,
				   6 },
			  { { 10, 0, 0, 2 }, { 1, 2, 3, 4 }, { { 31, 144 } }, { { 255, 255 } }, 9,
				  4, 6 } },
			.state = ODP_CT_TCP_FIN_WAIT,
			.mark = 4294967295u,
			.label = { 0x0123456789abcdef, 0xf },
			.timeout_ms = 4294967295u,
			.packets = { 1, UINT64_MAX },
			.bytes = { 60, 3 } },
		"tcp,orig=(src=1.2.3.4,dst=5.6.7.8,sport=65535,dport=80),reply=(src=10.0.0.2,"
		"dst=1.2.3.4,sport=8080,dport=65535),zone=9,mark=4294967295,"
		"labels=0xf0123456789abcdef,protoinfo=(state=FIN_WAIT_1)",
		"tcp,orig=(src=1.2.3.4,dst=5.6.7.8,sport=65535,dport=80,packets=1,bytes=60),"
		"reply=(src=10.0.0.2,dst=1.2.3.4,sport=8080,dport=65535,"
		"packets=18446744073709551615,bytes=3),zone=9,timeout=4294967,mark=4294967295,"
		"labels=0xf0123456789abcdef,protoinfo=(state=FIN_WAIT_1)" },
	{ "udp6, short label",
		{ .key = { { { 0xfe, 0x80, [15] = 1 }, { 0xff, 2, [15] = 0xfb }, { { 20, 233 } },
				   { { 20, 233 } }, 65535, 6, 17 },
			  { { 0xff, 2, [15] = 0xfb }, { 0xfe, 0x80, [15] = 1 }, { { 20, 233 } },
				  { { 20, 233 } }, 65535, 6, 17 } },
			.state = ODP_CT_UDP_SINGLE,
			.label = { 0x10, 0 } },
		"udp,orig=(src=fe80::1,dst=ff02::fb,sport=5353,dport=5353),reply=(src=ff02::fb,"
		"dst=fe80::1,sport=5353,dport=5353),zone=65535,labels=0x10",
		NULL },
	{ "icmp",
		{ .key = { { { 10, 0, 0, 1 }, { 10, 0, 0, 2 }, { { 1, 2 } }, { { 8, 0 } }, 0, 4,
				   1 },
			  { { 10, 0, 0, 2 }, { 10, 0, 0, 1 }, { { 1, 2 } }, { { 0, 0 } }, 0, 4,
				  1 } },
			.state = ODP_CT_ICMP_REPLY },
		"icmp,orig=(src=10.0.0.1,dst=10.0.0.2,id=258,type=8,code=0),reply=(src=10.0.0.2,"
		"dst=10.0.0.1,id=258,type=0,code=0)",
		NULL },
	{ "icmpv6",
		{ .key = { { { [15] = 1 }, { [15] = 2 }, { { 0, 7 } }, { { 128, 3 } }, 0, 6, 58 },
			  { { [15] = 2 }, { [15] = 1 }, { { 0, 7 } }, { { 129, 3 } }, 0, 6, 58 } },
			.state = ODP_CT_ICMP_FIRST },
		"icmpv6,orig=(src=::1,dst=::2,id=7,type=128,code=3),reply=(src=::2,dst=::1,id=7,"
		"type=129,code=3)",
		NULL },
	{ "sctp",
		{ .key = { { { 10 }, { 11 }, { { 0, 1 } }, { { 0, 2 } }, 0, 4, 132 },
			  { { 11 }, { 10 }, { { 0, 2 } }, { { 0, 1 } }, 0, 4, 132 } },
			.state = ODP_CT_SCTP_COOKIE_WAIT },
		"sctp,orig=(src=10.0.0.0,dst=11.0.0.0,sport=1,dport=2),reply=(src=11.0.0.0,"
		"dst=10.0.0.0,sport=2,dport=1),protoinfo=(state=COOKIE_WAIT)",
		NULL },
	{ "gre",
		{ .key = { { { 10 }, { 11 }, { { 0 } }, { { 0 } }, 0, 4, 47 },
			  { { 11 }, { 10 }, { { 0 } }, { { 0 } }, 0, 4, 47 } },
			.state = ODP_CT_OTHER_FIRST },
		"47,orig=(src=10.0.0.0,dst=11.0.0.0,sport=0,dport=0),reply=(src=11.0.0.0,"
		"dst=10.0.0.0,sport=0,dport=0)",
		NULL },
};

static void written(void **state)
{
	const struct conn_row *t = *state;
	char text[512], small[512];
	int n = odp_ct_format(&t->info, 0, text, sizeof(text));

	assert_string_equal(text, t->text);
	assert_int_equal(n, strlen(t->text));
	for (int size = 0; size <= n; size++)
		assert_int_equal(odp_ct_format(&t->info, 0, small, (size_t)size), -ENOSPC);
	assert_int_equal(odp_ct_format(&t->info, 0, small, (size_t)n + 1), n);
	assert_true(odp_ct_format(&t->info, ODP_CT_TEXT_STATS, text, sizeof(text)) > n);
	if (t->stats)
		assert_string_equal(text, t->stats);
}

static void state_words(void **state)
{
	static const char *const words[] = { "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT_1",
		"CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSING", "SYN_SENT" };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
		struct odp_ct_info info = conns[0].info;
		char text[512], want[64];

		info.state = (enum odp_ct_state)(ODP_CT_TCP_SYN_SENT + i);
		assert_true(odp_ct_format(&info, 0, text, sizeof(text)) > 0);
		(void)snprintf(want, sizeof(want), "(state=%s)", words[i]);
		assert_non_null(strstr(text, want));
	}
}

/* ---- reading ---- */

/* The original tuple in the words of flush-conntrack. */
static void tuple_text(const struct odp_ct_key *k, char *out, size_t size)
{
	const char *family = k->l3 == 6 ? "ipv6" : "nw";
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	(void)inet_ntop(k->l3 == 6 ? AF_INET6 : AF_INET, k->src, src, sizeof(src));
	(void)inet_ntop(k->l3 == 6 ? AF_INET6 : AF_INET, k->dst, dst, sizeof(dst));
	int n = snprintf(out, size, "ct_%s_src=%s,ct_%s_dst=%s,ct_nw_proto=%u", family, src, family,
		dst, k->proto);

	if (k->proto == 1 || k->proto == 58)
		(void)snprintf(out + n, size - (size_t)n, ",icmp_id=%u,icmp_type=%u,icmp_code=%u",
			dpu_be16_get(k->sport), k->dport.b[0], k->dport.b[1]);
	else
		(void)snprintf(out + n, size - (size_t)n, ",ct_tp_src=%u,ct_tp_dst=%u",
			dpu_be16_get(k->sport), dpu_be16_get(k->dport));
}

static void round_trip(void **state)
{
	const struct conn_row *t = *state;
	struct odp_ct_key want = t->info.key[0], all, other;
	struct odp_ct_match m;
	char text[256];
	size_t at = 0;

	tuple_text(&want, text, sizeof(text));
	assert_int_equal(odp_ct_match_parse(text, &m, &at), 0);
	assert_int_equal(at, strlen(text));
	want.zone = 0; // not in the text
	assert_memory_equal(&m.key, &want, sizeof(want));
	memset(&all, 0xff, sizeof(all));
	all.zone = 0;
	assert_memory_equal(&m.mask, &all, sizeof(all));
	/* Whatever differs is another connection; the zone does not. */
	assert_true(odp_ct_match(&m, &t->info.key[0]));
	for (size_t i = 0; i < sizeof(other); i++) {
		bool zone = i >= offsetof(struct odp_ct_key, zone) &&
			    i < offsetof(struct odp_ct_key, zone) + sizeof(other.zone);

		other = t->info.key[0];
		((uint8_t *)&other)[i] ^= 0x40;
		assert_int_equal(odp_ct_match(&m, &other), zone);
	}
}

static const struct part_row {
	const char *name, *text;
	bool tcp, everything, udp6, icmp; // which of the first four rows match
} parts[] = {
	{ "one address", "ct_nw_src=10.0.0.1", true, false, false, true },
	{ "protocol", "ct_nw_proto=17", false, false, true, false },
	{ "protocol in hexadecimal", "ct_nw_proto=0x11", false, false, true, false },
	{ "port 0 is a port", "ct_tp_dst=0", false, false, false, false },
	{ "port", "ct_tp_dst=256", true, false, false, false },
	{ "spaces", " ct_nw_proto=6 , ct_tp_src=65535 ", false, true, false, false },
	{ "no comma", "ct_nw_proto=6\tct_tp_src=65535", false, true, false, false },
	{ "icmp", "ct_nw_proto=1,icmp_type=8", false, false, false, true },
	{ "icmp code", "icmp_code=1,ct_nw_proto=1", false, false, false, false },
	{ "destination of IPv6", "ct_ipv6_dst=ff02::fb", false, false, true, false },
};

static void part_of_tuple(void **state)
{
	const struct part_row *t = *state;
	struct odp_ct_match m;
	size_t at = 0;

	assert_int_equal(odp_ct_match_parse(t->text, &m, &at), 0);
	assert_int_equal(odp_ct_match(&m, &conns[0].info.key[0]), t->tcp);
	assert_int_equal(odp_ct_match(&m, &conns[1].info.key[0]), t->everything);
	assert_int_equal(odp_ct_match(&m, &conns[2].info.key[0]), t->udp6);
	assert_int_equal(odp_ct_match(&m, &conns[3].info.key[0]), t->icmp);
}

#define LONG "0000000000000000000000000000000000000000000000000000000000000000000000"

static const struct bad_row {
	const char *name, *text;
	int ret;
	size_t at;
} bad[] = {
	{ "nothing", "", -EINVAL, 0 },
	{ "space only", "  ", -EINVAL, 2 },
	{ "unknown field", "ct_nw_src=10.0.0.1,nw_dst=10.0.0.2", -EINVAL, 19 },
	{ "no value", "ct_nw_src=", -EINVAL, 10 },
	{ "no equals", "ct_nw_src", -EINVAL, 0 },
	{ "equals, no name", "=10.0.0.1", -EINVAL, 0 },
	{ "comma first", ",ct_nw_proto=6", -EINVAL, 0 },
	{ "two commas", "ct_nw_proto=6,,ct_tp_src=1", -EINVAL, 14 },
	{ "given twice", "ct_nw_proto=6,ct_nw_proto=6", -EINVAL, 14 },
	{ "port as type, too", "ct_nw_proto=1,icmp_id=1,ct_tp_src=1", -EINVAL, 24 },
	{ "both families", "ct_nw_src=10.0.0.1,ct_ipv6_dst=::1", -EINVAL, 19 },
	{ "IPv6 where IPv4 belongs", "ct_nw_src=::1", -EINVAL, 10 },
	{ "IPv4 where IPv6 belongs", "ct_ipv6_src=10.0.0.1", -EINVAL, 12 },
	{ "part of an address", "ct_nw_src=10.0.0", -EINVAL, 10 },
	{ "mask", "ct_nw_src=10.0.0.0/8", -EINVAL, 10 },
	{ "large protocol", "ct_nw_proto=256", -EINVAL, 12 },
	{ "large port", "ct_tp_src=65536", -EINVAL, 10 },
	{ "negative port", "ct_tp_src=-1", -EINVAL, 10 },
	{ "port by name", "ct_tp_dst=http", -EINVAL, 10 },
	{ "large type", "ct_nw_proto=1,icmp_type=256", -EINVAL, 24 },
	{ "long number", "ct_tp_src=" LONG "1", -EINVAL, 10 },
	{ "long name", LONG "=1", -EINVAL, 0 },
	{ "as it is dumped", "tcp,orig=(src=10.0.0.1)", -EINVAL, 0 },
	{ "port of icmp", "ct_nw_proto=1,ct_tp_src=1", -EPROTOTYPE, 25 },
	{ "type of tcp", "ct_nw_proto=6,icmp_type=8", -EPROTOTYPE, 25 },
	{ "type without protocol", "icmp_type=8", -EPROTOTYPE, 11 },
	{ "icmp over IPv6", "ct_ipv6_src=::1,ct_nw_proto=1", -EPROTOTYPE, 29 },
	{ "icmpv6 over IPv4", "ct_nw_src=1.2.3.4,ct_nw_proto=58", -EPROTOTYPE, 32 },
};

static void unreadable(void **state)
{
	const struct bad_row *t = *state;
	struct odp_ct_match m;
	size_t at = 99;

	assert_int_equal(odp_ct_match_parse(t->text, &m, &at), t->ret);
	assert_int_equal(at, t->at);
}

/* ---- removing ---- */

static unsigned flush(struct odp_ct *ct, const char *text, int zone)
{
	struct odp_ct_match m;
	size_t at;

	assert_int_equal(odp_ct_match_parse(text, &m, &at), 0);
	if (zone >= 0) {
		m.key.zone = (uint16_t)zone;
		m.mask.zone = UINT16_MAX;
	}
	return odp_ct_flush_match(ct, &m, 1000);
}

static uint64_t count(struct odp_ct *ct)
{
	struct odp_ct_stats s;

	odp_ct_stats(ct, &s);
	return s.conns;
}

static void flush_by_tuple(void **state)
{
	struct odp_ct *ct = ct_table(8192, 1);
	struct ct_p p;

	(void)state;
	assert_non_null(ct);
	for (unsigned i = 0; i < 3000; i++) // more than one step of the table
		assert_int_equal(ct_make(ct, ct_udp(&p, 1, 1000 + i, 2, i % 3, i % 2), 1000), 0);
	assert_int_equal(flush(ct, "ct_tp_dst=2", 1), 500);
	assert_int_equal(flush(ct, "ct_tp_dst=2", -1), 500);
	assert_int_equal(flush(ct, "ct_tp_dst=2", -1), 0);
	assert_int_equal(count(ct), 2000);
	/* A whole tuple, in either direction; of another zone it is another connection. */
	const char *one = "ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=17,ct_tp_src=1000,"
			  "ct_tp_dst=0";
	const char *back = "ct_nw_src=10.0.0.2,ct_nw_dst=10.0.0.1,ct_nw_proto=17,ct_tp_src=1,"
			   "ct_tp_dst=1001";

	assert_int_equal(flush(ct, one, 1), 0);
	assert_int_equal(flush(ct, one, 0), 1);
	assert_int_equal(flush(ct, one, 0), 0);
	assert_int_equal(flush(ct, back, 1), 1);
	assert_int_equal(flush(ct, "ct_nw_src=10.0.0.2", -1), 0);
	assert_int_equal(count(ct), 1998);
	assert_int_equal(flush(ct, "ct_nw_src=10.0.0.1", -1), 1998);
	assert_int_equal(count(ct), 0);
	odp_ct_destroy(ct);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(state_words),
		cmocka_unit_test(flush_by_tuple) };
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(conns, written, failed);
	RUN_ROWS(conns, round_trip, failed);
	RUN_ROWS(parts, part_of_tuple, failed);
	RUN_ROWS(bad, unreadable, failed);
	return failed;
}
