// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: the state of a NIC that another process hands over; one that a front-end brings
 * after a migration has fewer parts. What is taken must be what a driver could have set, and must
 * come out again as it went in.
 */
#include <stdlib.h>
#include <string.h>

#include "net_priv.h"
#include "net_state.h"
#include "state.h"

#define PAIRS 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct vho_dev_type type = {
	.kind = VHO_DEV_NET,
	.state_save = vho_net_state_save,
	.state_load = vho_net_state_load,
	.state_parts = vho_net_state_parts,
};

static void check(const struct vho_net *net)
{
	const struct vho_net_ctrl_saved *s = &net->kept;

	if (s->pairs > PAIRS || s->filter.n_uni > VHO_NET_FILTER_MACS ||
		s->filter.n_multi > VHO_NET_FILTER_MACS || (s->filter.mac[0] & 1))
		abort();
	if (!s->has_hash)
		return;
	if (s->hash.mask >= VHO_NET_RSS_TABLE || s->hash.unclassified >= PAIRS)
		abort();
	for (unsigned i = 0; s->hash.rss && i <= s->hash.mask; i++)
		if (s->hash.table[i] >= PAIRS)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vho_net net;
	uint8_t once[VHO_STATE_MAX], twice[VHO_STATE_MAX];
	uint8_t *exact = malloc(size);
	int n;

	if (size && !exact)
		abort();
	if (size)
		memcpy(exact, data, size);
	memset(&net, 0, sizeof(net));
	net.max_pairs = PAIRS;
	net.dev.type = &type;
	net.dev.owner = &net;
	net.dev.features_offered = UINT64_MAX;
	vho_net_mtu_set(&net, 1500);
	if (vho_state_load(&net.dev, VHO_STATE_HAND_OVER, exact, size) == 0) {
		if (net.has_kept)
			check(&net);
		n = vho_state_save(&net.dev, VHO_STATE_HAND_OVER, once, sizeof(once));
		if (n < 0 || vho_state_load(&net.dev, VHO_STATE_HAND_OVER, once, (size_t)n) ||
			vho_state_save(&net.dev, VHO_STATE_HAND_OVER, twice, sizeof(twice)) != n ||
			memcmp(once, twice, (size_t)n))
			abort();
	}
	free(exact);
	return 0;
}
