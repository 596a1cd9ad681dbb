// SPDX-License-Identifier: Apache-2.0
/* Addresses and networks as text. */
#include "addr.h"

#include <errno.h>
#include <string.h>

#include "test.h"

static const struct ip_case {
	const char *name, *text;
	const char *out; // as it is written; NULL: refused
} ip_cases[] = {
	{ "IPv4", "192.0.2.1", "192.0.2.1" },
	{ "IPv6 in its shortest form", "2001:DB8:0:0::0:1", "2001:db8::1" },
	{ "IPv6 with IPv4 at its end", "64:ff9b::192.0.2.1", "64:ff9b::c000:201" },
	{ "nothing", "", NULL },
	{ "too large", "192.0.2.256", NULL },
	{ "too few", "192.0.2", NULL },
	{ "a length", "192.0.2.1/24", NULL },
	{ "a space", " 192.0.2.1", NULL },
	{ "a zone", "fe80::1%eth0", NULL },
	{ "a name", "localhost", NULL },
};

static void ip(void **state)
{
	const struct ip_case *t = *state;
	struct odp_ip a = { .family = 9 };
	char text[CARD_IP_TEXT];

	assert_int_equal(card_ip_parse(t->text, &a), t->out ? 0 : -EINVAL);
	if (!t->out) {
		assert_int_equal(a.family, 9);
		return;
	}
	card_ip_format(&a, text);
	assert_string_equal(text, t->out);
}

static const struct net_case {
	const char *name, *text, *out;
} net_cases[] = {
	{ "IPv4 network", "192.0.2.1/24", "192.0.2.1/24" },
	{ "everything", "0.0.0.0/0", "0.0.0.0/0" },
	{ "one host", "::1/128", "::1/128" },
	{ "IPv6 network", "2001:DB8::/032", "2001:db8::/32" },
	{ "no length", "192.0.2.1", NULL },
	{ "an empty length", "192.0.2.1/", NULL },
	{ "too long for IPv4", "192.0.2.1/33", NULL },
	{ "too long for IPv6", "::/129", NULL },
	{ "a negative length", "192.0.2.1/-1", NULL },
	{ "a length of many digits", "192.0.2.1/4294967297", NULL },
	{ "two lengths", "192.0.2.1/24/24", NULL },
	{ "a mask", "192.0.2.1/255.255.255.0", NULL },
	{ "no address", "/24", NULL },
	{ "an address that is too long", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/1",
		NULL },
};

static void net(void **state)
{
	const struct net_case *t = *state;
	char text[CARD_NET_TEXT];
	struct odp_ip a;
	unsigned len = 999;

	assert_int_equal(card_net_parse(t->text, &a, &len), t->out ? 0 : -EINVAL);
	if (!t->out) {
		assert_int_equal(len, 999);
		return;
	}
	card_net_format(&a, len, text);
	assert_string_equal(text, t->out);
}

static void no_family(void **state)
{
	struct odp_ip none = { 0 }, four = { .family = 4 }, six = { .family = 6 };
	char text[CARD_IP_TEXT] = "x";

	(void)state;
	card_ip_format(&none, text);
	assert_string_equal(text, "");
	assert_true(odp_ip_eq(&four, &four));
	assert_false(odp_ip_eq(&four, &six));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_family) };
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(ip_cases, ip, failed);
	RUN_ROWS(net_cases, net, failed);
	return failed;
}
