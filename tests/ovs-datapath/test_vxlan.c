// SPDX-License-Identifier: Apache-2.0
/* VXLAN, VXLAN-GBP and VXLAN-GPE headers, both ways. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "tnl.h"

static const struct decode_case {
	const char *name;
	int (*fn)(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);
	size_t n; // bytes of `wire` handed over
	uint8_t wire[8];
	int ret;
	uint32_t vni;
	uint16_t inner;
	uint16_t gbp_id;
	uint8_t gbp_flags, gpe_next;
} cases[] = {
	// RFC 7348, section 5
	{ "plain", odp_vxlan_decode, 8, { 8, 0, 0, 0, 0x12, 0x34, 0x56, 0 }, 0, 0x123456, 0x6558 },
	{ "reserved bits ignored", odp_vxlan_decode, 8, { 0xff, 9, 9, 9, 0, 0, 7, 9 }, 0, 7,
		0x6558 },
	{ "no policy without the draft", odp_vxlan_decode, 8, { 0x88, 0x48, 1, 2, 0, 0, 7, 0 }, 0,
		7, 0x6558 },
	{ "I flag clear", odp_vxlan_decode, 8, { 0xf7, 0, 0, 0, 0, 0, 7, 0 }, -EPROTO },
	{ "one byte short", odp_vxlan_decode, 7, { 0x08 }, -EBADMSG },
	{ "nothing", odp_vxlan_decode, 0, { 0 }, -EBADMSG },
	// draft-smith-vxlan-group-policy, section 2
	{ "gbp", odp_vxlan_gbp_decode, 8, { 0x88, 0x48, 0x12, 0x34, 0, 0, 7, 0 }, 0, 7, 0x6558,
		0x1234, 0x48 },
	{ "gbp reserved bits", odp_vxlan_gbp_decode, 8, { 0xff, 0xff, 0, 1, 0, 0, 7, 1 }, 0, 7,
		0x6558, 1, 0x48 },
	{ "gbp without G", odp_vxlan_gbp_decode, 8, { 0x08, 0x48, 0x12, 0x34, 0, 0, 7, 0 }, 0, 7,
		0x6558 },
	{ "gbp I flag clear", odp_vxlan_gbp_decode, 8, { 0x80, 0, 0, 1, 0, 0, 7, 0 }, -EPROTO },
	// draft-ietf-nvo3-vxlan-gpe, section 3.1
	{ "gpe ethernet", odp_vxlan_gpe_decode, 8, { 0x0c, 0, 0, 3, 0, 0, 7, 0 }, 0, 7, 0x6558, 0,
		0, 3 },
	{ "gpe ipv4", odp_vxlan_gpe_decode, 8, { 0x0c, 0, 0, 1, 0, 0, 7, 0 }, 0, 7, 0x0800, 0, 0,
		1 },
	{ "gpe ipv6", odp_vxlan_gpe_decode, 8, { 0x0c, 0, 0, 2, 0, 0, 7, 0 }, 0, 7, 0x86dd, 0, 0,
		2 },
	{ "gpe without P", odp_vxlan_gpe_decode, 8, { 0x08, 0, 0, 2, 0, 0, 7, 0 }, 0, 7, 0x6558 },
	{ "gpe NSH", odp_vxlan_gpe_decode, 8, { 0x0c, 0, 0, 4, 0, 0, 7, 0 }, -EOPNOTSUPP },
	{ "gpe version 1", odp_vxlan_gpe_decode, 8, { 0x1c, 0, 0, 3, 0, 0, 7, 0 }, -EPROTO },
	{ "gpe OAM", odp_vxlan_gpe_decode, 8, { 0x0d, 0, 0, 3, 0, 0, 7, 0 }, -EPROTO },
	{ "gpe I flag clear", odp_vxlan_gpe_decode, 8, { 0x04, 0, 0, 3, 0, 0, 7, 0 }, -EPROTO },
	{ "gpe short", odp_vxlan_gpe_decode, 7, { 0x0c, 0, 0, 3, 0, 0, 7 }, -EBADMSG },
};

static void decode(void **state)
{
	const struct decode_case *t = *state;
	struct dpu_cur in = dpu_cur_init(t->wire, t->n);
	struct odp_tnl_key k = { 0 };
	uint16_t inner = 0;

	assert_int_equal(t->fn(&in, &k, &inner), t->ret);
	if (t->ret < 0)
		return;
	assert_int_equal(in.left, 0);
	assert_int_equal(k.id, t->vni);
	assert_int_equal(k.flags, ODP_TNL_F_KEY);
	assert_int_equal(inner, t->inner);
	assert_int_equal(k.gbp_id, t->gbp_id);
	assert_int_equal(k.gbp_flags, t->gbp_flags);
	assert_int_equal(k.gpe_next, t->gpe_next);
}

static const struct encode_case {
	const char *name;
	int (*fn)(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);
	uint64_t id;
	uint16_t gbp_id;
	uint8_t gbp_flags;
	uint16_t inner;
	size_t size;
	int ret;
	uint8_t wire[8];
} encodes[] = {
	{ "to plain", odp_vxlan_encode, 0x123456, 9, 0x48, 0x6558, 8, 8,
		{ 8, 0, 0, 0, 0x12, 0x34, 0x56, 0 } },
	{ "VNI of 25 bits", odp_vxlan_encode, 0x1000000, 0, 0, 0x6558, 8, -EINVAL },
	{ "VNI of 57 bits", odp_vxlan_encode, 0x100000000000007, 0, 0, 0x6558, 8, -EINVAL },
	{ "no room", odp_vxlan_encode, 7, 0, 0, 0x6558, 7, -ENOSPC },
	{ "IP in VXLAN", odp_vxlan_encode, 7, 0, 0, 0x0800, 8, -EINVAL },
	{ "to gbp", odp_vxlan_gbp_encode, 7, 0x1234, 0xff, 0x6558, 8, 8,
		{ 0x88, 0x48, 0x12, 0x34, 0, 0, 7, 0 } },
	{ "to gbp without policy", odp_vxlan_gbp_encode, 7, 0, 0, 0x6558, 8, 8,
		{ 0x08, 0, 0, 0, 0, 0, 7, 0 } },
	{ "IP in gbp", odp_vxlan_gbp_encode, 7, 0, 0, 0x86dd, 8, -EINVAL },
	{ "to gpe", odp_vxlan_gpe_encode, 7, 0, 0, 0x86dd, 8, 8, { 0x0c, 0, 0, 2, 0, 0, 7, 0 } },
	{ "to gpe, no such next", odp_vxlan_gpe_encode, 7, 0, 0, 0x8847, 8, -EINVAL },
};

static void encode(void **state)
{
	const struct encode_case *t = *state;
	struct odp_tnl_key k = { .id = t->id, .gbp_id = t->gbp_id, .gbp_flags = t->gbp_flags };
	uint8_t out[9];

	memset(out, 0xa5, sizeof(out));
	assert_int_equal(t->fn(&k, t->inner, out, t->size), t->ret);
	if (t->ret > 0)
		assert_memory_equal(out, t->wire, sizeof(t->wire));
	assert_int_equal(out[t->ret > 0 ? t->ret : 0], 0xa5);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(cases, decode, failed);
	RUN_ROWS(encodes, encode, failed);
	return failed;
}
