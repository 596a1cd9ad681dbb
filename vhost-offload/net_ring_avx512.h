/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of net_ring.h eight chains at a time, with AVX-512.
 *
 * x86 does not reorder loads with loads or stores with stores, vector ones included, and each
 * aligned 8-byte lane is read or written whole. So flags are loaded and checked first, then
 * everything is loaded again and used; and of a used element only the lane with len, id and flags
 * is written.
 */
#pragma once

#include <immintrin.h>

#define VHO_VEC 8u

/* Guest memory is volatile elsewhere; the compiler must not merge or repeat these loads. */
static inline __m512i vho_vec_load(const volatile void *p)
{
	__m512i v = _mm512_loadu_si512((const void *)(uintptr_t)p);

	__asm__ volatile("" : "+v"(v) : : "memory");
	return v;
}

/* Lanes 1, 3, 5, 7 (or 0, 2, 4, 6) of two vectors of four descriptors each. */
static inline __m512i vho_vec_odd(__m512i a, __m512i b)
{
	return _mm512_permutex2var_epi64(a, _mm512_set_epi64(15, 13, 11, 9, 7, 5, 3, 1), b);
}

static inline __m512i vho_vec_even(__m512i a, __m512i b)
{
	return _mm512_permutex2var_epi64(a, _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0), b);
}

/* As vho_stage_batch(): eight addresses, lengths and ids as 64-bit lanes. */
static inline bool vho_stage_vec(const struct vho_step *t, __m512i addr, __m512i len, __m512i id,
	uint32_t size, struct vho_stage *st, unsigned n)
{
	__m512i hdr_len = _mm512_set1_epi64(t->hdr_len);
	__m512i off = _mm512_sub_epi64(addr, _mm512_set1_epi64((int64_t)t->e->gpa));
	__m512i region = _mm512_set1_epi64((int64_t)t->e->size);
	__m512i host = _mm512_add_epi64(off, _mm512_set1_epi64((int64_t)(uintptr_t)t->e->host));
	__mmask8 bad = _mm512_cmpge_epu64_mask(off, region) |
		       _mm512_cmpgt_epu64_mask(len, _mm512_sub_epi64(region, off)) |
		       _mm512_cmplt_epu64_mask(len, hdr_len) |
		       _mm512_cmpge_epu64_mask(id, _mm512_set1_epi64(size));

	if (unlikely(bad))
		return false;
	_mm512_storeu_si512(&st->hdr[n], host);
	_mm512_storeu_si512(&st->data[n], _mm512_add_epi64(host, hdr_len));
	_mm256_storeu_si256((__m256i *)(void *)&st->room[n],
		_mm512_cvtepi64_epi32(_mm512_sub_epi64(len, hdr_len)));
	_mm_storeu_si128((__m128i *)(void *)&st->id[n], _mm512_cvtepi64_epi16(id));
	_mm_storeu_si128((__m128i *)(void *)&st->n_slots[n], _mm_set1_epi16(1));
	return true;
}

/* As vho_stage_packed_batch(), eight slots. */
static inline bool vho_stage_packed_vec(const struct vho_queue *q, const struct vho_step *t,
	const volatile struct vring_packed_desc *d, bool wrap, struct vho_stage *st, unsigned n)
{
	__m512i want = _mm512_set1_epi64((int64_t)vho_pdesc_want(t->way, wrap));
	__m512i mask = _mm512_set1_epi64((int64_t)VHO_PDESC_MASK);
	__m512i a = vho_vec_load(&d[0]), b = vho_vec_load(&d[4]), word;

	word = vho_vec_odd(a, b);
	if (_mm512_cmpneq_epu64_mask(_mm512_and_si512(word, mask), want))
		return false;
	a = vho_vec_load(&d[0]); // after the flags
	b = vho_vec_load(&d[4]);
	word = vho_vec_odd(a, b);
	return vho_stage_vec(t, vho_vec_even(a, b),
		_mm512_and_si512(word, _mm512_set1_epi64(UINT32_MAX)),
		_mm512_and_si512(_mm512_srli_epi64(word, 32), _mm512_set1_epi64(UINT16_MAX)),
		q->size, st, n);
}

/* As vho_stage_split_batch(), eight heads that follow each other. */
static inline bool vho_stage_split_vec(const struct vho_queue *q, const struct vho_step *t,
	const volatile uint16_t *head, struct vho_stage *st, unsigned n)
{
	__m512i mask = _mm512_set1_epi64((int64_t)((uint64_t)VHO_SHAPE << 32));
	__m512i want = _mm512_set1_epi64((int64_t)((uint64_t)t->way << 32)), a, b, word;
	__m128i ids = _mm_loadu_si128((const void *)(uintptr_t)head);
	uint16_t first;

	__asm__ volatile("" : "+v"(ids) : : "memory");
	first = (uint16_t)_mm_extract_epi16(ids, 0);
	if (first + VHO_VEC > q->size ||
		_mm_cmpneq_epu16_mask(_mm_sub_epi16(ids, _mm_set1_epi16((int16_t)first)),
			_mm_set_epi16(7, 6, 5, 4, 3, 2, 1, 0)))
		return false;
	a = vho_vec_load(&q->desc[first]);
	b = vho_vec_load(&q->desc[first + 4u]);
	word = vho_vec_odd(a, b); // len, flags, next
	if (_mm512_cmpneq_epu64_mask(_mm512_and_si512(word, mask), want))
		return false;
	return vho_stage_vec(t, vho_vec_even(a, b),
		_mm512_and_si512(word, _mm512_set1_epi64(UINT32_MAX)), _mm512_cvtepu16_epi64(ids),
		q->size, st, n);
}

/* Eight ids, eight lengths, as 64-bit lanes. */
static inline __m512i vho_vec_ids(const struct vho_stage *st, unsigned i)
{
	return _mm512_cvtepu16_epi64(_mm_loadu_si128((const void *)&st->id[i]));
}

static inline __m512i vho_vec_lens(const uint32_t *written, unsigned i)
{
	return _mm512_cvtepu32_epi64(_mm256_loadu_si256((const void *)&written[i]));
}

/* Used elements of the first chains, eight at a time. Returns how many were written. */
static inline unsigned vho_used_split_vec(volatile struct vring_used_elem *to,
	const struct vho_stage *st, unsigned k, const uint32_t *written)
{
	unsigned i = 0;

	for (; i + VHO_VEC <= k; i += VHO_VEC)
		_mm512_storeu_si512((void *)(uintptr_t)&to[i],
			_mm512_or_si512(vho_vec_ids(st, i),
				_mm512_slli_epi64(vho_vec_lens(written, i), 32)));
	return i;
}

/*
 * As vho_use_packed(), for chains of one slot each, none beyond the ring's end. Whole vectors from
 * the end; what is left, chain 0 not among it, comes one by one.
 */
static inline void vho_use_packed_vec(
	const struct vho_queue *q, const struct vho_stage *st, unsigned k, const uint32_t *written)
{
	const __m512i low = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
	const __m512i high = _mm512_set_epi64(7, 7, 6, 6, 5, 5, 4, 4);
	__m512i flags = _mm512_set1_epi64(
		(int64_t)((uint64_t)vho_packed_used_flags(q->used_wrap, false) << 48));
	__m512i did_write = _mm512_set1_epi64((int64_t)((uint64_t)VRING_DESC_F_WRITE << 48));
	unsigned i = k;

	for (; i > VHO_VEC; i -= VHO_VEC) {
		unsigned from = i - VHO_VEC;
		volatile struct vring_packed_desc *to = &q->pdesc[q->next_used + from];
		__m512i len = vho_vec_lens(written, from);
		__m512i word = _mm512_or_si512(
			_mm512_slli_epi64(vho_vec_ids(st, from), 32), _mm512_or_si512(len, flags));

		word = _mm512_mask_or_epi64(
			word, _mm512_test_epi64_mask(len, len), word, did_write);
		_mm512_mask_storeu_epi64(
			(void *)(uintptr_t)&to[4], 0xaa, _mm512_permutexvar_epi64(high, word));
		_mm512_mask_storeu_epi64(
			(void *)(uintptr_t)&to[0], 0xaa, _mm512_permutexvar_epi64(low, word));
	}
	for (i--; i > 0; i--) {
		uint64_t word = written[i] | (uint64_t)st->id[i] << 32 |
				(uint64_t)vho_packed_used_flags(q->used_wrap, written[i] > 0) << 48;

		__atomic_store_n(
			(volatile vho_word *)(volatile void *)&q->pdesc[q->next_used + i].len, word,
			__ATOMIC_RELAXED);
	}
}
