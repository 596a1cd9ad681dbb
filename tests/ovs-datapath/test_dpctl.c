// SPDX-License-Identifier: Apache-2.0
/* Flows as text: what is printed is read back as the same flow; what cannot be read says where. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "fake_port.h"

static struct odp *dp;

static const struct key_row {
	const char *name, *text, *printed; // printed NULL: as given
	int err_at; // -1: readable
} keys[] = {
	{ "port", "in_port(2)", NULL, -1 },
	{ "port by name", "in_port(p1)", "in_port(1)", -1 },
	{ "any", "in_port(0/0x0)", NULL, -1 },
	{ "mac masks", "in_port(1),eth(dst=00:11:22:33:44:55/ff:ff:00:00:00:00)",
		"in_port(1),eth(dst=00:11:22:33:44:55/ff:ff:00:00:00:00)", -1 },
	{ "tag", "in_port(1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),vlan(vid=5,pcp=3)",
		NULL, -1 },
	{ "no tag", "in_port(1),vlan(tci=0x0000/0xffff)", NULL, -1 },
	{ "prefix", "in_port(1), eth_type(0x0800), ipv4(src=10.0.0.0/8,proto=6),tcp(dst=80)",
		"in_port(1),eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,proto=6),tcp(dst=80)",
		-1 },
	{ "ipv6",
		"in_port(1),eth_type(0x86dd),ipv6(src=fe80::/"
		"ffc0::,dst=::1,proto=17,hlimit=64,frag=no),udp(src=53/0xff)",
		NULL, -1 },
	{ "arp",
		"in_port(1),eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=02:00:00:00:00:"
		"01)",
		NULL, -1 },
	{ "tcp flags", "in_port(1),eth_type(0x0800),ipv4(proto=6),tcp_flags(0x002/0x017)", NULL,
		-1 },
	{ "unknown group", "in_port(1),foo(1)", "", 11 },
	{ "unknown field", "eth(foo=1)", "", 4 },
	{ "bad address", "eth(src=02:00:00:00:00)", "", 8 },
	{ "number too large", "eth_type(0x10000)", "", 9 },
	{ "not closed", "in_port(1", "", 9 },
	{ "nothing", "", "", 0 },
	{ "prefix too long", "ipv4(src=1.2.3.4/33)", "", 16 },
};

static void key_text(void **state)
{
	const struct key_row *t = *state;
	struct odp_key k, m, k2, m2;
	char buf[512];
	size_t at = 999;
	int ret = odp_key_parse(dp, t->text, &k, &m, &at);

	if (t->err_at >= 0) {
		assert_int_equal(ret, -EINVAL);
		assert_int_equal(at, t->err_at);
		return;
	}
	assert_int_equal(ret, 0);
	const char *want = t->printed ? t->printed : t->text;

	assert_int_equal(odp_key_format(dp, &k, &m, buf, sizeof(buf)), (int)strlen(want));
	assert_string_equal(buf, want);
	assert_int_equal(odp_key_parse(dp, buf, &k2, &m2, &at), 0);
	assert_memory_equal(&k, &k2, sizeof(k));
	assert_memory_equal(&m, &m2, sizeof(m));
	for (size_t n = 0; n <= strlen(want); n++)
		assert_int_equal(odp_key_format(dp, &k, &m, buf, n), -ENOSPC);
}

int main(void)
{
	struct odp_conf conf = { .n_workers = 1, .pool = fake_eal(1023) };
	static struct fake_port p[2];
	int failed = 0;

	if (odp_create(&conf, &dp) < 0)
		return 1;
	fake_port_add(&p[0], dp, NULL, "p1");
	fake_port_add(&p[1], dp, NULL, "p2");
	RUN_ROWS(keys, key_text, failed);
	odp_destroy(dp);
	return failed;
}
