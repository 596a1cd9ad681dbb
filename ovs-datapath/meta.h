/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the datapath knows of packets besides their bytes: the metadata words of the key, which go
 * along from one lookup to the next.
 */
#pragma once

#include "key.h"

/* The words of a key that `member` lies in, as a bitmap: bit i is word i. */
#define ODP_KEY_BITS(member)                                \
	odp_words_between(offsetof(struct odp_key, member), \
		offsetof(struct odp_key, member) + sizeof(((struct odp_key *)0)->member))

static inline uint64_t odp_words_between(size_t from, size_t to)
{
	return ~0ull >> (63 - (to - 1) / 8) & ~0ull << from / 8;
}

#define ODP_KEY_META_BITS (~0ull << ODP_KEY_META_WORD)
#define ODP_KEY_TNL_BITS (~0ull << ODP_KEY_TNL_WORD)

/*
 * Of `key` only word 0 (in_port, recirc_id) and the metadata words count. A metadata word outside
 * the map is zero: members can be read without a look at the map, and whoever writes one adds its
 * ODP_KEY_BITS(). The packet words are zero and stay so.
 */
struct odp_meta {
	uint64_t map; // metadata words that may be other than zero
	uint32_t depth; // recirculations that lie behind these packets
	uint32_t packet_type; // 0: an Ethernet header comes first; else ODP_PACKET_TYPE()
	uint32_t tnl_set; // 1: an action said where to; else key.tnl is what it came through
	uint32_t own_tuple; // 1: ct_orig is each packet's own: odp_act_ct_own(); it is zero here
	union {
		struct odp_key key;
		struct odp_kw kw;
	};
};

/* Of the tunnel's words those that are not zero at any rate: options are there to their length. */
static inline void odp_meta_tnl(struct odp_meta *m, const struct odp_key_tnl *tnl)
{
	m->key.tnl = *tnl;
	m->map = (m->map & ~ODP_KEY_TNL_BITS) |
		 odp_words_between(offsetof(struct odp_key, tnl),
			 offsetof(struct odp_key, tnl.opts) + tnl->opts_len);
}

/* Copy; costs what the maps of the two say. `to` was zeroed once, or is a copy from before. */
static inline void odp_meta_copy(struct odp_meta *to, const struct odp_meta *from)
{
	to->kw.w[0] = from->kw.w[0];
	for (uint64_t left = to->map | from->map; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		to->kw.w[i] = from->kw.w[i];
	}
	to->map = from->map;
	to->depth = from->depth;
	to->packet_type = from->packet_type;
	to->tnl_set = from->tnl_set;
	to->own_tuple = from->own_tuple;
}

/* Write word 0 and those metadata words of a key that are in `want`. */
static inline void odp_meta_to_key(const struct odp_meta *m, uint64_t want, struct odp_kw *k)
{
	k->w[0] = m->kw.w[0];
	for (uint64_t left = want & ODP_KEY_META_BITS; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		k->w[i] = m->kw.w[i];
	}
}

/* The same for every later lookup and action. */
static inline bool odp_meta_eq(const struct odp_meta *a, const struct odp_meta *b)
{
	uint64_t diff = (a->kw.w[0] ^ b->kw.w[0]) | (a->depth ^ b->depth) |
			(a->packet_type ^ b->packet_type) | (a->tnl_set ^ b->tnl_set) |
			(a->own_tuple ^ b->own_tuple);

	for (uint64_t left = a->map | b->map; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		diff |= a->kw.w[i] ^ b->kw.w[i];
	}
	return diff == 0;
}

/* As it is for a packet that has just come in. `m` was zeroed once. */
static inline void odp_meta_reset(struct odp_meta *m, uint32_t in_port)
{
	static const struct odp_meta none;

	odp_meta_copy(m, &none);
	m->key.in_port = in_port;
}
