// SPDX-License-Identifier: Apache-2.0
/* GRE headers, both ways. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "tnl.h"

static const struct gre_case {
	const char *name;
	size_t n; // bytes of `wire` handed over
	uint8_t wire[16];
	int ret;
	uint32_t id;
	uint16_t flags, inner;
	size_t len; // of the header
} cases[] = {
	// RFC 2784, section 2; RFC 2890, section 2
	{ "plain", 5, { 0, 0, 0x65, 0x58, 1 }, 0, 0, 0, 0x6558, 4 },
	{ "ipv4 inside", 4, { 0, 0, 0x08, 0 }, 0, 0, 0, 0x0800, 4 },
	{ "checksum", 8, { 0x80, 0, 0x65, 0x58, 0, 0, 0, 0 }, 0, 0, ODP_TNL_F_CSUM, 0x6558, 8 },
	{ "key", 8, { 0x20, 0, 0x65, 0x58, 1, 2, 3, 4 }, 0, 0x01020304, ODP_TNL_F_KEY, 0x6558, 8 },
	{ "checksum and key", 12, { 0xa0, 0, 0x86, 0xdd, 0, 0, 0, 0, 1, 2, 3, 4 }, 0, 0x01020304,
		ODP_TNL_F_KEY | ODP_TNL_F_CSUM, 0x86dd, 12 },
	{ "all of them", 16, { 0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 9 }, 0,
		0x01020304, ODP_TNL_F_KEY | ODP_TNL_F_CSUM | ODP_TNL_F_SEQ, 0x6558, 16 },
	{ "bits 6 to 12 ignored", 4, { 0x03, 0xf8, 0x65, 0x58 }, 0, 0, 0, 0x6558, 4 },
	{ "routing", 12, { 0x40, 0, 0x65, 0x58 }, -EPROTO },
	{ "bit 4", 12, { 0x08, 0, 0x65, 0x58 }, -EPROTO },
	{ "bit 5", 12, { 0x04, 0, 0x65, 0x58 }, -EPROTO },
	{ "version 1", 12, { 0x20, 1, 0x88, 0x0b }, -EPROTO },
	{ "short", 3, { 0, 0, 0x65 }, -EBADMSG },
	{ "checksum cut", 7, { 0x80, 0, 0x65, 0x58 }, -EBADMSG },
	{ "key cut", 11, { 0xa0, 0, 0x65, 0x58 }, -EBADMSG },
	{ "sequence cut", 15, { 0xb0, 0, 0x65, 0x58 }, -EBADMSG },
};

static void decode(void **state)
{
	const struct gre_case *t = *state;
	struct dpu_cur in = dpu_cur_init(t->wire, t->n);
	struct odp_tnl_key k = { 0 };
	uint16_t inner = 0;
	uint8_t again[16];

	assert_int_equal(odp_gre_decode(&in, &k, &inner), t->ret);
	if (t->ret < 0)
		return;
	assert_int_equal(k.id, t->id);
	assert_int_equal(k.flags, t->flags);
	assert_int_equal(inner, t->inner);
	assert_int_equal(t->n - in.left, t->len);
	if (k.flags & ODP_TNL_F_SEQ) {
		assert_int_equal(odp_gre_encode(&k, inner, again, sizeof(again)), -EINVAL);
		return;
	}
	assert_int_equal(odp_gre_encode(&k, inner, again, t->len - 1), -ENOSPC);
	assert_int_equal(odp_gre_encode(&k, inner, again, sizeof(again)), t->len);
	assert_int_equal(again[0], t->wire[0] & 0xf0);
	assert_memory_equal(again + 2, t->wire + 2, t->len - 2);
}

static void no_key_of_33_bits(void **state)
{
	struct odp_tnl_key k = { .id = 0x100000000, .flags = ODP_TNL_F_KEY };
	uint8_t out[16];

	(void)state;
	assert_int_equal(odp_gre_encode(&k, ODP_INNER_ETH, out, sizeof(out)), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_key_of_33_bits) };
	int failed = 0;

	RUN_ROWS(cases, decode, failed);
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
