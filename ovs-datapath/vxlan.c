// SPDX-License-Identifier: Apache-2.0
/* The VXLAN header: as the RFC has it, with a group policy, and with a next protocol (GPE). */
#include "tnl.h"

#include <errno.h>

#define VXLAN_LEN 8

#define VXLAN_G 0x80u // first byte: a group policy id is there
#define VXLAN_I 0x08u // ... the VNI is valid
#define GPE_VER 0x30u
#define GPE_P 0x04u // ... the next protocol is there
#define GPE_O 0x01u // ... operations and maintenance

#define VNI_MAX 0xffffffu

static const struct gpe_next {
	uint8_t next;
	uint16_t inner;
} gpe_next[] = {
	{ 1, ODP_INNER_IPV4 },
	{ 2, ODP_INNER_IPV6 },
	{ 3, ODP_INNER_ETH },
};
#define N_GPE_NEXT (sizeof(gpe_next) / sizeof(gpe_next[0]))

/* What all three share: 32 bits of flags, whose meaning differs, and the VNI. */
static int decode(struct dpu_cur *in, struct odp_tnl_key *key, uint32_t *flags)
{
	uint32_t f = dpu_cur_be32(in);
	uint32_t vni = dpu_cur_be24(in);

	dpu_cur_skip(in, 1); // reserved
	if (in->bad)
		return -EBADMSG;
	if (!(f >> 24 & VXLAN_I))
		return -EPROTO;
	key->id = vni;
	key->flags |= ODP_TNL_F_KEY;
	*flags = f;
	return 0;
}

int odp_vxlan_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner)
{
	uint32_t flags;

	*inner = ODP_INNER_ETH;
	return decode(in, key, &flags);
}

int odp_vxlan_gbp_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner)
{
	uint32_t flags;
	int ret = decode(in, key, &flags);

	*inner = ODP_INNER_ETH;
	if (ret == 0 && (flags >> 24 & VXLAN_G)) {
		key->gbp_id = flags & 0xffff;
		key->gbp_flags = flags >> 16 & (ODP_GBP_DONT_LEARN | ODP_GBP_APPLIED);
	}
	return ret;
}

int odp_vxlan_gpe_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner)
{
	uint32_t flags;
	int ret = decode(in, key, &flags);
	uint8_t first;

	if (ret < 0)
		return ret;
	first = (uint8_t)(flags >> 24);
	if (first & (GPE_VER | GPE_O))
		return -EPROTO;
	key->gpe_flags = first;
	*inner = ODP_INNER_ETH;
	if (!(first & GPE_P))
		return 0;
	key->gpe_next = flags & 0xff;
	for (unsigned i = 0; i < N_GPE_NEXT; i++) {
		if (gpe_next[i].next == key->gpe_next) {
			*inner = gpe_next[i].inner;
			return 0;
		}
	}
	return -EOPNOTSUPP;
}

static int encode(const struct odp_tnl_key *key, uint32_t flags, uint8_t *out, size_t size)
{
	dpu_be32 word = dpu_be32_put(flags | VXLAN_I << 24);
	dpu_be32 vni = dpu_be32_put((uint32_t)key->id << 8);

	if (key->id > VNI_MAX)
		return -EINVAL;
	if (size < VXLAN_LEN)
		return -ENOSPC;
	memcpy(out, &word, sizeof(word));
	memcpy(out + 4, &vni, sizeof(vni));
	return VXLAN_LEN;
}

int odp_vxlan_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size)
{
	return inner == ODP_INNER_ETH ? encode(key, 0, out, size) : -EINVAL;
}

int odp_vxlan_gbp_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size)
{
	uint32_t policy = key->gbp_flags & (ODP_GBP_DONT_LEARN | ODP_GBP_APPLIED);

	if (inner != ODP_INNER_ETH)
		return -EINVAL;
	// Without a policy the packet is one that a receiver without the draft understands, too.
	if (policy == 0 && key->gbp_id == 0)
		return encode(key, 0, out, size);
	return encode(key, VXLAN_G << 24 | policy << 16 | key->gbp_id, out, size);
}

int odp_vxlan_gpe_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size)
{
	for (unsigned i = 0; i < N_GPE_NEXT; i++)
		if (gpe_next[i].inner == inner)
			return encode(key, GPE_P << 24 | gpe_next[i].next, out, size);
	return -EINVAL;
}
