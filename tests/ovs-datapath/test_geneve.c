// SPDX-License-Identifier: Apache-2.0
/* Geneve headers, both ways; options that lie about their length. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "tnl.h"

static const struct geneve_case {
	const char *name;
	size_t n; // bytes of `wire` handed over
	uint8_t wire[24];
	int ret;
	uint16_t flags, inner;
	uint8_t opts_len;
	size_t left;
} cases[] = {
	// RFC 8926, section 3.4
	{ "no options", 8, { 0, 0, 0x65, 0x58, 0, 0, 7, 0 }, 0, ODP_TNL_F_KEY, 0x6558, 0, 0 },
	{ "reserved bits ignored", 9, { 0, 0x3f, 0x65, 0x58, 0, 0, 7, 0xff, 1 }, 0, ODP_TNL_F_KEY,
		0x6558, 0, 1 },
	{ "ipv6 inside", 8, { 0, 0, 0x86, 0xdd, 0, 0, 7, 0 }, 0, ODP_TNL_F_KEY, 0x86dd, 0, 0 },
	{ "version 1", 8, { 0x40, 0, 0x65, 0x58, 0, 0, 7, 0 }, -EPROTO },
	{ "version 3", 8, { 0xc0, 0, 0x65, 0x58, 0, 0, 7, 0 }, -EPROTO },
	{ "short", 7, { 0, 0, 0x65, 0x58, 0, 0, 7 }, -EBADMSG },
	{ "control packet", 8, { 0, 0x80, 0x65, 0x58, 0, 0, 7, 0 }, 0,
		ODP_TNL_F_KEY | ODP_TNL_F_OAM, 0x6558, 0, 0 },
	// section 3.5
	{ "an empty option", 12, { 1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 0 }, 0, ODP_TNL_F_KEY,
		0x6558, 4, 0 },
	{ "two options", 21,
		{ 3, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 0, 1, 2, 4, 1, 9, 9, 9, 9, 0xee }, 0,
		ODP_TNL_F_KEY, 0x6558, 12, 1 },
	{ "critical option", 12, { 1, 0x40, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 0x83, 0 }, 0,
		ODP_TNL_F_KEY | ODP_TNL_F_CRIT, 0x6558, 4, 0 },
	{ "critical by its own bit", 12, { 1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 0x83, 0 }, 0,
		ODP_TNL_F_KEY | ODP_TNL_F_CRIT, 0x6558, 4, 0 },
	{ "options beyond the packet", 11, { 1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3 }, -EBADMSG },
	{ "63 words of 4", 24, { 63, 0, 0x65, 0x58, 0, 0, 7, 0 }, -EBADMSG },
	{ "option beyond the options", 16, { 1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 1, 9, 9, 9, 9 },
		-EBADMSG },
	{ "second option beyond", 20,
		{ 2, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 0, 1, 2, 4, 1, 9, 9, 9, 9 }, -EBADMSG },
	{ "option of 31 words", 16, { 2, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 0x1f, 9, 9, 9, 9 },
		-EBADMSG },
};

static void decode(void **state)
{
	const struct geneve_case *t = *state;
	struct dpu_cur in = dpu_cur_init(t->wire, t->n);
	struct odp_tnl_key k = { 0 };
	uint16_t inner = 0;
	uint8_t again[24];

	assert_int_equal(odp_geneve_decode(&in, &k, &inner), t->ret);
	if (t->ret < 0) {
		assert_int_equal(k.opts_len, 0);
		return;
	}
	assert_int_equal(k.id, 7);
	assert_int_equal(k.flags, t->flags);
	assert_int_equal(inner, t->inner);
	assert_int_equal(k.opts_len, t->opts_len);
	assert_memory_equal(k.opts, t->wire + 8, t->opts_len);
	assert_int_equal(in.left, t->left);

	// What was decoded gives the same header again, with the C bit that it should have had.
	assert_int_equal(odp_geneve_encode(&k, inner, again, sizeof(again)), 8 + t->opts_len);
	assert_int_equal(again[0], t->wire[0]);
	assert_int_equal(again[1], (t->wire[1] & 0x80) | (t->flags & ODP_TNL_F_CRIT ? 0x40 : 0));
	assert_memory_equal(again + 2, t->wire + 2, 5);
	assert_int_equal(again[7], 0);
	assert_memory_equal(again + 8, t->wire + 8, t->opts_len);
}

static void longest(void **state)
{
	struct odp_tnl_key k = { .id = 0xffffff, .opts_len = 252 }, back = { 0 };
	uint8_t wire[260];
	struct dpu_cur in = dpu_cur_init(wire, sizeof(wire));
	uint16_t inner;

	(void)state;
	k.opts[3] = 31; // 128 bytes
	k.opts[128 + 3] = 30; // 124 bytes
	assert_int_equal(odp_geneve_encode(&k, ODP_INNER_ETH, wire, 259), -ENOSPC);
	assert_int_equal(odp_geneve_encode(&k, ODP_INNER_ETH, wire, sizeof(wire)), 260);
	assert_int_equal(odp_geneve_decode(&in, &back, &inner), 0);
	assert_int_equal(back.id, 0xffffff);
	assert_int_equal(back.opts_len, 252);
	assert_memory_equal(back.opts, k.opts, 252);
	k.opts[128 + 3] = 31;
	assert_int_equal(odp_geneve_encode(&k, ODP_INNER_ETH, wire, sizeof(wire)), -EINVAL);
	k.opts_len = 255;
	assert_int_equal(odp_geneve_encode(&k, ODP_INNER_ETH, wire, sizeof(wire)), -EINVAL);
	k.opts_len = 2;
	assert_int_equal(odp_geneve_encode(&k, ODP_INNER_ETH, wire, sizeof(wire)), -EINVAL);
	k.opts_len = 0;
	k.id = 0x1000000;
	assert_int_equal(odp_geneve_encode(&k, ODP_INNER_ETH, wire, sizeof(wire)), -EINVAL);
}

static void critical(void **state)
{
	static const struct odp_geneve_opt known[] = { { 0x0102, 0x83 }, { 0x0102, 0x84 } };
	struct odp_tnl_key k = { .opts_len = 8, .opts = { 1, 2, 3, 0, 1, 2, 0x84, 0 } };

	(void)state;
	assert_true(odp_geneve_opts_known(&k, known, 2));
	assert_false(odp_geneve_opts_known(&k, known, 1));
	assert_false(odp_geneve_opts_known(&k, NULL, 0));
	k.opts[5] = 3; // another class
	assert_false(odp_geneve_opts_known(&k, known, 2));
	k.opts[6] = 4; // not critical: nobody has to know it
	assert_true(odp_geneve_opts_known(&k, NULL, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest),
		cmocka_unit_test(critical),
	};
	int failed = 0;

	RUN_ROWS(cases, decode, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
