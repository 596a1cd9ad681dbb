// SPDX-License-Identifier: Apache-2.0
/* The Geneve header and its options. */
#include "tnl.h"

#include <errno.h>

#define GENEVE_LEN 8
#define OPT_LEN 4 // of an option's header

#define OPT_CRITICAL 0x80u // in an option's type

#define VNI_MAX 0xffffffu

/*
 * One option of what is left: its length with its header; -EBADMSG when there is no whole one.
 */
static int opt_len(const uint8_t *p, size_t left)
{
	size_t len;

	if (left < OPT_LEN)
		return -EBADMSG;
	len = OPT_LEN + (size_t)(p[3] & 0x1f) * 4;
	return len > left ? -EBADMSG : (int)len;
}

/* Options fill their length exactly; true in *critical when one of them says that it is. */
static int walk(const uint8_t *opts, size_t len, bool *critical)
{
	*critical = false;
	for (size_t off = 0; off < len;) {
		int n = opt_len(opts + off, len - off);

		if (n < 0)
			return n;
		*critical |= (opts[off + 2] & OPT_CRITICAL) != 0;
		off += (size_t)n;
	}
	return 0;
}

int odp_geneve_decode(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner)
{
	uint8_t first = dpu_cur_u8(in);
	uint8_t flags = dpu_cur_u8(in);
	uint16_t type = dpu_cur_be16(in);
	uint32_t vni = dpu_cur_be24(in);
	size_t len = (size_t)(first & 0x3f) * 4;
	const uint8_t *opts;
	bool critical;

	dpu_cur_skip(in, 1); // reserved
	if (in->bad)
		return -EBADMSG;
	if (first >> 6 != 0)
		return -EPROTO;
	opts = dpu_cur_take(in, len);
	if (!opts || walk(opts, len, &critical) < 0)
		return -EBADMSG;
	key->id = vni;
	key->flags |= ODP_TNL_F_KEY;
	if (flags & ODP_GENEVE_O)
		key->flags |= ODP_TNL_F_OAM;
	if (critical || (flags & ODP_GENEVE_C))
		key->flags |= ODP_TNL_F_CRIT;
	key->opts_len = (uint8_t)len;
	memcpy(key->opts, opts, len);
	*inner = type;
	return 0;
}

int odp_geneve_encode(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size)
{
	dpu_be16 type = dpu_be16_put(inner);
	dpu_be32 vni = dpu_be32_put((uint32_t)key->id << 8);
	size_t len = key->opts_len;
	bool critical;

	if (key->id > VNI_MAX || len > ODP_TNL_OPTS_MAX || len % 4 != 0 ||
		walk(key->opts, len, &critical) < 0)
		return -EINVAL;
	if (size < GENEVE_LEN + len)
		return -ENOSPC;
	out[0] = (uint8_t)(len / 4);
	out[1] = (uint8_t)((key->flags & ODP_TNL_F_OAM ? ODP_GENEVE_O : 0) |
			   (critical ? ODP_GENEVE_C : 0));
	memcpy(out + 2, &type, sizeof(type));
	memcpy(out + 4, &vni, sizeof(vni));
	memcpy(out + GENEVE_LEN, key->opts, len);
	return (int)(GENEVE_LEN + len);
}

static bool known_opt(const uint8_t *opt, const struct odp_geneve_opt *known, unsigned n_known)
{
	for (unsigned i = 0; i < n_known; i++)
		if (known[i].class == (opt[0] << 8 | opt[1]) && known[i].type == opt[2])
			return true;
	return false;
}

bool odp_geneve_opts_known(
	const struct odp_tnl_key *key, const struct odp_geneve_opt *known, unsigned n_known)
{
	size_t len = key->opts_len;

	for (size_t off = 0; off < len;) {
		const uint8_t *opt = key->opts + off;
		int n = opt_len(opt, len - off);

		if (n < 0)
			return false;
		if ((opt[2] & OPT_CRITICAL) && !known_opt(opt, known, n_known))
			return false;
		off += (size_t)n;
	}
	return true;
}
