// SPDX-License-Identifier: Apache-2.0
/* The GRE header: version 0 with key, checksum and sequence number. */
#include "tnl.h"

#include <errno.h>

#define GRE_C 0x8000u
#define GRE_K 0x2000u
#define GRE_S 0x1000u
/* Bits 1, 4 and 5 are to be refused, like other versions; 6 to 12 are ignored. */
#define GRE_REFUSED 0x4c07u

int odp_gre_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner)
{
	uint16_t flags = dpu_cur_be16(in);
	uint16_t type = dpu_cur_be16(in);
	uint32_t id = 0;

	if (in->bad)
		return -EBADMSG;
	if (flags & GRE_REFUSED)
		return -EPROTO;
	if (flags & GRE_C)
		dpu_cur_skip(in, 4); // checksum and offset
	if (flags & GRE_K)
		id = dpu_cur_be32(in);
	if (flags & GRE_S)
		dpu_cur_skip(in, 4);
	if (in->bad)
		return -EBADMSG;
	key->id = id;
	if (flags & GRE_C)
		key->flags |= ODP_TNL_F_CSUM;
	if (flags & GRE_K)
		key->flags |= ODP_TNL_F_KEY;
	if (flags & GRE_S)
		key->flags |= ODP_TNL_F_SEQ;
	*inner = type;
	return 0;
}

int odp_gre_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size)
{
	bool csum = key->flags & ODP_TNL_F_CSUM;
	bool keyed = key->flags & ODP_TNL_F_KEY;
	size_t len = 4 + (csum ? 4u : 0) + (keyed ? 4u : 0);
	dpu_be16 flags = dpu_be16_put((uint16_t)((csum ? GRE_C : 0) | (keyed ? GRE_K : 0)));
	dpu_be16 type = dpu_be16_put(inner);
	dpu_be32 id = dpu_be32_put((uint32_t)key->id);

	if (key->id > UINT32_MAX || (key->flags & ODP_TNL_F_SEQ))
		return -EINVAL;
	if (size < len)
		return -ENOSPC;
	memset(out, 0, len);
	memcpy(out, &flags, sizeof(flags));
	memcpy(out + 2, &type, sizeof(type));
	if (keyed)
		memcpy(out + len - 4, &id, sizeof(id));
	return (int)len;
}
