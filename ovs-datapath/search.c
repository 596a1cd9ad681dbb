// SPDX-License-Identifier: Apache-2.0
/*
 * Lookup in one subtable, of all packets of a burst at once: hash them all and fetch their buckets,
 * compare hashes and fetch the flows that remain, compare keys. One function for each small number
 * of words and each set of vector instructions that compares a bucket's hashes.
 */
#include "subtable.h"

#include <rte_prefetch.h>

/* Vector loads of what another thread writes are more than ThreadSanitizer can follow. */
#if defined(__SANITIZE_THREAD__)
#define VECTORS 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VECTORS 0
#endif
#endif
#ifndef VECTORS
#define VECTORS 1
#endif

#if VECTORS && defined(__x86_64__)
#include <immintrin.h>
#elif VECTORS && defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef unsigned probe_fn(const struct odp_bucket *b, uint32_t hash);

#define ALL_WAYS ((1u << BUCKET_WAYS) - 1)
static_assert(offsetof(struct odp_bucket, spilled) == 7 * 4, "eight words to compare at once");

/* The ways of a bucket that hold this hash, as bits. */
static inline unsigned probe_plain(const struct odp_bucket *b, uint32_t hash)
{
	unsigned ways = 0;

	for (unsigned i = 0; i < BUCKET_WAYS; i++)
		ways |= (unsigned)(atomic_load_explicit(&b->hash[i], memory_order_relaxed) == hash)
			<< i;
	return ways;
}

#if VECTORS && defined(__x86_64__)
#define TARGET_AVX2 __attribute__((target("avx2,bmi")))
#define TARGET_AVX512 __attribute__((target("avx2,bmi,avx512f,avx512vl,avx512bw")))

TARGET_AVX2 static inline unsigned probe_avx2(const struct odp_bucket *b, uint32_t hash)
{
	__m256i have = _mm256_load_si256((const __m256i *)(const void *)b);
	__m256i same = _mm256_cmpeq_epi32(have, _mm256_set1_epi32((int)hash));

	return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(same)) & ALL_WAYS;
}

TARGET_AVX512 static inline unsigned probe_avx512(const struct odp_bucket *b, uint32_t hash)
{
	__m256i have = _mm256_load_si256((const __m256i *)(const void *)b);

	return _mm256_cmpeq_epi32_mask(have, _mm256_set1_epi32((int)hash)) & ALL_WAYS;
}
#elif VECTORS && defined(__aarch64__)
static inline unsigned probe_neon(const struct odp_bucket *b, uint32_t hash)
{
	static const uint32_t bits[8] = { 1, 2, 4, 8, 16, 32, 64, 128 };
	const uint32_t *have = (const uint32_t *)(const void *)b;
	uint32x4_t h = vdupq_n_u32(hash);
	uint32x4_t low = vandq_u32(vceqq_u32(vld1q_u32(have), h), vld1q_u32(bits));
	uint32x4_t high = vandq_u32(vceqq_u32(vld1q_u32(have + 4), h), vld1q_u32(bits + 4));

	return vaddvq_u32(vorrq_u32(low, high)) & ALL_WAYS;
}
#endif

/* Words of a key under a mask, of which there are `n`: a constant where it is small. */
static __rte_always_inline uint32_t masked_hash(const struct odp_subtable *st,
	const struct odp_seed *seed, const struct odp_kw *k, unsigned n)
{
	uint64_t w[ODP_KEY_WORDS];

	if (n <= SUBTABLE_FAST_WORDS) {
		for (unsigned i = 0; i < n; i++)
			w[i] = k->w[st->word[i]] & st->w[i];
	} else {
		uint64_t map = st->map;

		for (unsigned i = 0; map; map &= map - 1, i++)
			w[i] = k->w[__builtin_ctzll(map)] & st->w[i];
	}
	return odp_words_hash(seed, w, n);
}

static __rte_always_inline struct odp_flow *pick(const struct odp_subtable *st,
	const struct odp_view *v, const struct odp_bucket *b, unsigned ways, const struct odp_kw *k,
	unsigned n)
{
	for (; ways; ways &= ways - 1) {
		// Acquire: pairs with the release in table_put().
		uint32_t at = atomic_load_explicit(
			&b->flow[__builtin_ctz(ways)], memory_order_acquire);

		if (!at)
			continue;
		struct odp_flow *f = odp_flow_at(v->chunk, at - 1);

		if (odp_subtable_match(st, f, k, n))
			return f;
	}
	return NULL;
}

static __rte_always_inline uint32_t search(const struct odp_subtable *st, const struct odp_view *v,
	const struct odp_kw *const *key, uint32_t todo, struct odp_flow **out, unsigned n,
	probe_fn *probe)
{
	const uintptr_t t = atomic_load_explicit(&st->table, memory_order_acquire);
	uint32_t hash[ODP_BURST], found = 0;
	uint8_t ways[ODP_BURST];

	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);

		hash[i] = masked_hash(st, &v->seed, key[i], n);
		rte_prefetch0(odp_table_first(t, hash[i]));
	}
	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct odp_bucket *b = odp_table_first(t, hash[i]);

		ways[i] = (uint8_t)probe(b, hash[i]);
		if (!ways[i])
			continue;
		uint32_t at = atomic_load_explicit(
			&b->flow[__builtin_ctz(ways[i])], memory_order_acquire);

		if (at)
			rte_prefetch0(odp_flow_at(v->chunk, at - 1));
	}
	for (uint32_t left = todo; left; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctz(left);
		const struct odp_bucket *b = odp_table_first(t, hash[i]);
		struct odp_flow *f = pick(st, v, b, ways[i], key[i], n);

		if (!f && unlikely(atomic_load_explicit(&b->spilled, memory_order_relaxed))) {
			b = odp_table_second(t, hash[i]);
			f = pick(st, v, b, probe(b, hash[i]), key[i], n);
		}
		if (f) {
			out[i] = f;
			found |= 1u << i;
		}
	}
	return found;
}

/* The searches of one instruction set. */
#define SEARCH(isa, n, target)                                                                    \
	target static uint32_t isa##_##n(const struct odp_subtable *st, const struct odp_view *v, \
		const struct odp_kw *const *key, uint32_t todo, struct odp_flow **out)            \
	{                                                                                         \
		return search(st, v, key, todo, out, (n) ? (n) : st->n_words, probe_##isa);       \
	}
#define SEARCHES(isa, target)  \
	SEARCH(isa, 0, target) \
	SEARCH(isa, 1, target) \
	SEARCH(isa, 2, target) \
	SEARCH(isa, 3, target) \
	SEARCH(isa, 4, target) \
	SEARCH(isa, 5, target) \
	SEARCH(isa, 6, target) \
	SEARCH(isa, 7, target) \
	SEARCH(isa, 8, target)
#define TABLE(isa)                                                                              \
	{                                                                                       \
		isa##_0, isa##_1, isa##_2, isa##_3, isa##_4, isa##_5, isa##_6, isa##_7, isa##_8 \
	}

#define NO_TARGET
SEARCHES(plain, NO_TARGET)
#if VECTORS && defined(__x86_64__)
SEARCHES(avx2, TARGET_AVX2)
SEARCHES(avx512, TARGET_AVX512)
#elif VECTORS && defined(__aarch64__)
SEARCHES(neon, NO_TARGET)
#endif

static odp_search_fn *const table[ODP_ISAS][SUBTABLE_FAST_WORDS + 1] = {
	[ODP_ISA_PLAIN] = TABLE(plain),
#if VECTORS && defined(__x86_64__)
	[ODP_ISA_AVX2] = TABLE(avx2),
	[ODP_ISA_AVX512] = TABLE(avx512),
#elif VECTORS && defined(__aarch64__)
	[ODP_ISA_NEON] = TABLE(neon),
#endif
};

static bool isa_here(enum odp_isa isa)
{
	if (!table[isa][0])
		return false;
#if VECTORS && defined(__x86_64__)
	if (isa == ODP_ISA_AVX2)
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
	if (isa == ODP_ISA_AVX512)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
		       __builtin_cpu_supports("avx512bw");
#endif
	return true;
}

enum odp_isa odp_isa_best(void)
{
	static const enum odp_isa by_speed[] = { ODP_ISA_AVX512, ODP_ISA_AVX2, ODP_ISA_NEON };

	for (unsigned i = 0; i < RTE_DIM(by_speed); i++)
		if (isa_here(by_speed[i]))
			return by_speed[i];
	return ODP_ISA_PLAIN;
}

odp_search_fn *odp_search_for(enum odp_isa isa, unsigned n_words)
{
	if (!isa_here(isa))
		return NULL;
	return table[isa][n_words <= SUBTABLE_FAST_WORDS ? n_words : 0];
}
