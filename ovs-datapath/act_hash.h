/* SPDX-License-Identifier: Apache-2.0 */
/* The hash that the action "hash" puts into dp_hash. */
#pragma once

#include "extract.h"
#include "odp_act.h"

/*
 * Over addresses, protocol and ports, keyed with the datapath's seed; with ODP_HASH_SYM_L4 the same
 * in both directions. Of a packet that has none of these, over its Ethernet addresses and type.
 */
static inline uint32_t odp_act_hash_key(
	const struct odp_seed *seed, const struct odp_key *key, uint32_t alg, uint32_t basis)
{
	uint16_t type = dpu_be16_get(key->eth_type);
	uint64_t w[6] = { basis, 0, 0, 0, 0, 0 };
	uint8_t a[20] = { 0 }, b[20] = { 0 };

	if (type == 0x86dd) {
		memcpy(a, key->ipv6.src, 16);
		memcpy(b, key->ipv6.dst, 16);
	} else if (type == 0x0800) {
		memcpy(a, &key->ipv4.src, 4);
		memcpy(b, &key->ipv4.dst, 4);
	} else {
		memcpy(a, key->eth_src, 6);
		memcpy(b, key->eth_dst, 6);
	}
	if (key->ip_proto == 6 || key->ip_proto == 17 || key->ip_proto == 132) {
		memcpy(a + 16, &key->tp_src, 2);
		memcpy(b + 16, &key->tp_dst, 2);
	}
	w[0] |= (uint64_t)type << 32 | (uint64_t)key->ip_proto << 48;
	bool swap = alg == ODP_HASH_SYM_L4 && memcmp(a, b, sizeof(a)) > 0;

	memcpy(&w[1], swap ? b : a, 16);
	memcpy(&w[3], swap ? a : b, 16);
	w[5] = swap ? (uint64_t)b[16] << 24 | (uint64_t)b[17] << 16 | (uint64_t)a[16] << 8 | a[17]
		    : (uint64_t)a[16] << 24 | (uint64_t)a[17] << 16 | (uint64_t)b[16] << 8 | b[17];
	return odp_words_hash(seed, w, 6);
}

static inline uint32_t odp_act_hash(
	const struct odp_seed *seed, const struct rte_mbuf *m, uint32_t alg, uint32_t basis)
{
	struct odp_key key = { 0 };

	if (odp_extract_mbuf(m, 0, 0, ODP_WANT_ALL, &key) < 0) {
		memset(&key, 0, sizeof(key));
		if (odp_extract_mbuf(m, 0, 0, ODP_WANT_L2, &key) < 0)
			return basis;
	}
	return odp_act_hash_key(seed, &key, alg, basis);
}
