// SPDX-License-Identifier: Apache-2.0
/*
 * Each tunnel header decoder on the same bytes: what is taken gives the same key again when it is
 * encoded and decoded once more.
 */
#include <stdlib.h>
#include <string.h>

#include "tnl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct format {
	int (*decode)(struct dpu_cur *in, struct odp_tnl_key *key, uint16_t *inner);
	int (*encode)(const struct odp_tnl_key *key, uint16_t inner, uint8_t *out, size_t size);
} formats[] = {
	{ odp_vxlan_decode, odp_vxlan_encode },
	{ odp_vxlan_gbp_decode, odp_vxlan_gbp_encode },
	{ odp_vxlan_gpe_decode, odp_vxlan_gpe_encode },
	{ odp_geneve_decode, odp_geneve_encode },
	{ odp_gre_decode, odp_gre_encode },
};

static void one(const struct format *f, const uint8_t *data, size_t size)
{
	struct dpu_cur in = dpu_cur_init(data, size);
	struct odp_tnl_key k = { 0 }, back = { 0 };
	uint16_t inner, inner2;
	uint8_t hdr[300];

	if (f->decode(&in, &k, &inner) < 0)
		return;
	if (in.at < data || in.left != size - (size_t)(in.at - data))
		abort();
	k.flags &= (uint16_t)~ODP_TNL_F_SEQ;
	k.gpe_flags = 0;
	k.gpe_next = 0;
	int n = f->encode(&k, inner, hdr, sizeof(hdr));

	if (n < 4)
		abort();
	in = dpu_cur_init(hdr, (size_t)n);
	if (f->decode(&in, &back, &inner2) < 0 || in.left != 0 || inner2 != inner)
		abort();
	back.gpe_flags = 0;
	back.gpe_next = 0;
	// A C bit that no option stands behind is not sent on.
	k.flags &= (uint16_t)~ODP_TNL_F_CRIT;
	back.flags &= (uint16_t)~ODP_TNL_F_CRIT;
	if (memcmp(&k, &back, sizeof(k)) != 0)
		abort();
	(void)odp_geneve_opts_known(&k, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		one(&formats[i], data, size);
	return 0;
}
