/* SPDX-License-Identifier: Apache-2.0 */
/* Flow keys as words: depth, mask, hash and comparison. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "odp_flow.h"

/* How far into a packet a key goes. The words of a depth come first in the key. */
enum odp_depth { ODP_DEPTH_L2, ODP_DEPTH_L3, ODP_DEPTH_L4 };

#define ODP_KEY_WORDS (sizeof(struct odp_key) / 8)
#define ODP_KEY_L2_WORDS 3u
#define ODP_KEY_L4_WORD 8u
#define ODP_KEY_ND_WORD 9u
#define ODP_KEY_VLAN_WORD 13u
#define ODP_KEY_MPLS_WORD 14u
#define ODP_KEY_TYPE_WORD 15u // its second half is packet_type
#define ODP_KEY_META_WORD 16u // from here on nothing is read from the packet
#define ODP_KEY_TNL_WORD 25u

static_assert(offsetof(struct odp_key, ip_proto) == ODP_KEY_L2_WORDS * 8, "layer 2 is 3 words");
static_assert(offsetof(struct odp_key, tp_src) == ODP_KEY_L4_WORD * 8, "layer 4 is word 8");
static_assert(offsetof(struct odp_key, nd) == ODP_KEY_ND_WORD * 8, "then neighbour discovery");
static_assert(offsetof(struct odp_key, vlan_tpid) == ODP_KEY_VLAN_WORD * 8, "then tags");
static_assert(offsetof(struct odp_key, mpls_lse) == ODP_KEY_MPLS_WORD * 8, "and labels");
static_assert(offsetof(struct odp_key, packet_type) == ODP_KEY_TYPE_WORD * 8 + 4, "second half");
static_assert(offsetof(struct odp_key, dp_hash) == ODP_KEY_META_WORD * 8, "metadata follow");
static_assert(offsetof(struct odp_key, ct_label) == 19 * 8, "two words of label");
static_assert(offsetof(struct odp_key, tnl) == ODP_KEY_TNL_WORD * 8, "the tunnel comes last");
static_assert(offsetof(struct odp_key, eth_dst) == 8, "addresses follow port and recirculation");
static_assert(offsetof(struct odp_key, vlan_tci) == 20, "the tag follows the addresses");

#define ODP_VLAN_PRESENT 0x1000u
#define ODP_ETH_TYPE_MIN 0x0600 // below is a length
#define ODP_ETH_TYPE_NONE 0x05ffu // an 802.3 frame without SNAP, as OVS shows it

/* A key as words; memcpy keeps the aliasing rules, compilers make it vanish. */
struct odp_kw {
	uint64_t w[ODP_KEY_WORDS];
};
static_assert(sizeof(struct odp_kw) == sizeof(struct odp_key), "a key is whole words");

static inline struct odp_kw odp_kw(const struct odp_key *key)
{
	struct odp_kw k;

	memcpy(&k, key, sizeof(k));
	return k;
}

static inline bool odp_kw_eq(const struct odp_kw *a, const struct odp_kw *b, unsigned words)
{
	uint64_t diff = 0;

	for (unsigned i = 0; i < words; i++)
		diff |= a->w[i] ^ b->w[i];
	return diff == 0;
}

/*
 * What hashes are keyed with, drawn once for each datapath and told to nobody. Keys are what guests
 * and networks send. By a hash that they can compute, or by a linear one such as a CRC, whose
 * collisions are the same under every seed, they would fill one bucket with keys and have each
 * lookup walk through them.
 */
struct odp_seed {
	uint64_t start, mul; // mul is odd
};

/* Each half of the product makes up for what the other does not mix. */
static inline uint64_t odp_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static inline uint32_t odp_words_hash(const struct odp_seed *seed, const uint64_t *w, unsigned n)
{
	uint64_t h = seed->start;
	unsigned i = 0;

	for (; i + 1 < n; i += 2)
		h = odp_mix(h ^ w[i], seed->mul ^ w[i + 1]);
	if (i < n)
		h = odp_mix(h ^ w[i], seed->mul);
	// Once more, or the last words would show as multiples of themselves.
	return (uint32_t)odp_mix(h, seed->mul);
}

static inline uint32_t odp_kw_hash(
	const struct odp_seed *seed, const struct odp_kw *k, unsigned words)
{
	return odp_words_hash(seed, k->w, words);
}

static inline uint32_t odp_kw_port(const struct odp_kw *k)
{
	uint32_t port;

	memcpy(&port, k->w, sizeof(port));
	return port;
}

/* The places of the bits of `map`, which are the words that it names, lowest first. */
static inline unsigned odp_map_words(uint64_t map, uint8_t word[ODP_KEY_WORDS])
{
	unsigned n = 0;

	for (; map; map &= map - 1)
		word[n++] = (uint8_t)__builtin_ctzll(map);
	return n;
}

static inline uint64_t odp_kw_map(const struct odp_kw *k)
{
	uint64_t map = 0;

	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		map |= (uint64_t)(k->w[i] != 0) << i;
	return map;
}

/* A MAC address in a VLAN. */
struct odp_addr {
	uint8_t mac[6];
	uint16_t vlan;
};
static_assert(sizeof(struct odp_addr) == 8, "addresses hash and compare as one word");

static inline uint32_t odp_addr_hash(const struct odp_seed *seed, const struct odp_addr *a)
{
	uint64_t w;

	memcpy(&w, a, sizeof(w));
	return odp_words_hash(seed, &w, 1);
}
