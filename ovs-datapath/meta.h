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
	struct odp_key key;
};

/* Copy; costs what the maps of the two say. `to` was zeroed once, or is a copy from before. */
static inline void odp_meta_copy(struct odp_meta *to, const struct odp_meta *from)
{
	uint64_t *t = (uint64_t *)(void *)&to->key;
	const uint64_t *f = (const uint64_t *)(const void *)&from->key;

	t[0] = f[0];
	for (uint64_t left = to->map | from->map; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		t[i] = f[i];
	}
	to->map = from->map;
	to->depth = from->depth;
}

/* Into a key whose packet words are those of the packet, and whose others are zero. */
static inline void odp_meta_to_key(const struct odp_meta *m, struct odp_kw *k)
{
	const uint64_t *f = (const uint64_t *)(const void *)&m->key;

	k->w[0] = f[0];
	for (uint64_t left = m->map; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		k->w[i] = f[i];
	}
}

/* The same for every later lookup and action. */
static inline bool odp_meta_eq(const struct odp_meta *a, const struct odp_meta *b)
{
	const uint64_t *x = (const uint64_t *)(const void *)&a->key;
	const uint64_t *y = (const uint64_t *)(const void *)&b->key;
	uint64_t diff = (x[0] ^ y[0]) | (a->depth ^ b->depth);

	for (uint64_t left = a->map | b->map; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		diff |= x[i] ^ y[i];
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
