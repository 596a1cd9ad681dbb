// SPDX-License-Identifier: Apache-2.0
/*
 * CRC32C in four ways: a table; the instruction of SSE4.2 on three streams, joined by carry-less
 * products; folding by carry-less products of 512 bits (AVX-512); the instruction of ARM.
 *
 * All constants are powers of x modulo the polynomial and are computed at the first use. In the
 * reflected order that CRC32C has, bit 31 of a word is x^0.
 */
#include "crc32c.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

#define POLY 0x82f63b78U // reflected, without its highest power

static uint32_t table[8][256];

enum way { SUM, COPY };

/* ---- plain ---- */

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t step8(uint32_t c, uint8_t b)
{
	return table[0][(c ^ b) & 0xff] ^ c >> 8;
}

static uint32_t plain(uint32_t crc, const uint8_t *p, size_t len)
{
	uint32_t c = ~crc;

	for (; len >= 8; p += 8, len -= 8) {
		uint32_t lo = c ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
					  (uint32_t)p[3] << 24);

		c = table[7][lo & 0xff] ^ table[6][lo >> 8 & 0xff] ^ table[5][lo >> 16 & 0xff] ^
		    table[4][lo >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
		    table[0][p[7]];
	}
	for (; len > 0; len--)
		c = step8(c, *p++);
	return ~c;
}

static uint32_t plain_sum(uint32_t crc, const void *p, size_t len)
{
	return plain(crc, p, len);
}

static uint32_t plain_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	return plain(crc, dst, len);
}

/* ---- x86-64 ---- */
#if defined(__x86_64__)

/* x^n modulo the polynomial, reflected. */
static uint32_t power(unsigned n)
{
	uint32_t v = 1U << 31; // x^0

	while (n-- > 0)
		v = v >> 1 ^ (v & 1 ? POLY : 0);
	return v;
}

/* Bytes of one of three streams. Long enough to hide the join, short enough for 512-byte blocks. */
#define LONG 1360U
#define SHORT 128U

/* Constants that move a sum over so many bytes: [0] over two streams, [1] over one. */
static uint64_t join_long[2], join_short[2];
/* What folds 128 bits over so many: [0] for the low half, [1] for the high one. */
static uint64_t fold2048[2], fold512[2];

static void x86_init(void)
{
	join_long[0] = power(2 * LONG * 8 - 33);
	join_long[1] = power(LONG * 8 - 33);
	join_short[0] = power(2 * SHORT * 8 - 33);
	join_short[1] = power(SHORT * 8 - 33);
	fold2048[0] = (uint64_t)power(2048 + 32) << 1;
	fold2048[1] = (uint64_t)power(2048 - 32) << 1;
	fold512[0] = (uint64_t)power(512 + 32) << 1;
	fold512[1] = (uint64_t)power(512 - 32) << 1;
}

#define SSE42 __attribute__((target("sse4.2,pclmul")))

SSE42 static inline uint64_t word(uint64_t c, uint8_t *d, const uint8_t *s, enum way way)
{
	uint64_t v = load64(s);

	if (way == COPY)
		memcpy(d, &v, sizeof(v));
	return _mm_crc32_u64(c, v);
}

/* The sum, inverted, of a few bytes after one that is c. */
SSE42 static inline uint32_t tail(
	uint32_t c, uint8_t *d, const uint8_t *s, size_t len, enum way way)
{
	uint64_t c64 = c;
	size_t i = 0;

	for (; len - i >= 8; i += 8)
		c64 = word(c64, way == COPY ? d + i : NULL, s + i, way);
	c = (uint32_t)c64;
	for (; i < len; i++) {
		uint8_t b = s[i];

		if (way == COPY)
			d[i] = b;
		c = _mm_crc32_u8(c, b);
	}
	return c;
}

SSE42 static inline uint64_t moved(uint64_t c, uint64_t k)
{
	__m128i p = _mm_clmulepi64_si128(
		_mm_cvtsi64_si128((long long)c), _mm_cvtsi64_si128((long long)k), 0);

	return (uint64_t)_mm_cvtsi128_si64(p);
}

/* Three streams of n bytes each: the instruction takes three cycles and starts every cycle. */
SSE42 static inline uint32_t three(
	uint32_t c, uint8_t *d, const uint8_t *s, size_t n, const uint64_t join[2], enum way way)
{
	uint64_t a = c, b = 0, e = 0;

	for (size_t i = 0; i < n; i += 8) {
		a = word(a, way == COPY ? d + i : NULL, s + i, way);
		b = word(b, way == COPY ? d + n + i : NULL, s + n + i, way);
		e = word(e, way == COPY ? d + 2 * n + i : NULL, s + 2 * n + i, way);
	}
	return (uint32_t)(_mm_crc32_u64(0, moved(a, join[0]) ^ moved(b, join[1])) ^ e);
}

SSE42 static inline uint32_t sse42(
	uint32_t crc, uint8_t *d, const uint8_t *s, size_t len, enum way way)
{
	uint32_t c = ~crc;

	while (len >= 3 * SHORT) {
		size_t n = len >= 3 * LONG ? LONG : SHORT;

		c = three(c, d, s, n, n == LONG ? join_long : join_short, way);
		s += 3 * n;
		d = way == COPY ? d + 3 * n : NULL;
		len -= 3 * n;
	}
	return ~tail(c, d, s, len, way);
}

SSE42 static uint32_t sse42_sum(uint32_t crc, const void *p, size_t len)
{
	return sse42(crc, NULL, p, len, SUM);
}

SSE42 static uint32_t sse42_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	return sse42(crc, dst, src, len, COPY);
}

static bool sse42_there(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#define AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,vpclmulqdq,sse4.2,pclmul")))

AVX512 static inline __m512i take(uint8_t *d, const uint8_t *s, enum way way)
{
	__m512i v = _mm512_loadu_si512(s);

	if (way == COPY)
		_mm512_storeu_si512(d, v);
	return v;
}

AVX512 static inline __m512i folded(__m512i x, __m512i k, __m512i next)
{
	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(x, k, 0x00),
		_mm512_clmulepi64_epi128(x, k, 0x11), next, 0x96); // exclusive or of three
}

/* 256 bytes a round; what is left in the end has the same sum and is 64 bytes long. */
AVX512 static inline uint32_t avx512(
	uint32_t crc, uint8_t *d, const uint8_t *s, size_t len, enum way way)
{
	uint32_t c = ~crc;

	if (len >= 256) {
		__m512i k = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)fold2048));
		__m512i first = _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)c));
		__m512i x[4];
		uint8_t rest[64];

		for (unsigned i = 0; i < 4; i++)
			x[i] = take(way == COPY ? d + 64ul * i : NULL, s + 64ul * i, way);
		x[0] = _mm512_xor_si512(x[0], first);
		for (;;) {
			s += 256;
			d = way == COPY ? d + 256 : NULL;
			len -= 256;
			if (len < 256)
				break;
			for (unsigned i = 0; i < 4; i++)
				x[i] = folded(x[i], k,
					take(way == COPY ? d + 64ul * i : NULL, s + 64ul * i, way));
		}
		k = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)fold512));
		for (unsigned i = 0; i < 3; i++)
			x[i + 1] = folded(x[i], k, x[i + 1]);
		_mm512_storeu_si512(rest, x[3]);
		c = tail(0, NULL, rest, sizeof(rest), SUM);
	}
	return ~tail(c, d, s, len, way);
}

AVX512 static uint32_t avx512_sum(uint32_t crc, const void *p, size_t len)
{
	return avx512(crc, NULL, p, len, SUM);
}

AVX512 static uint32_t avx512_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	return avx512(crc, dst, src, len, COPY);
}

static bool avx512_there(void)
{
	return sse42_there() && __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("vpclmulqdq");
}
#endif

/* ---- ARM ---- */
#if defined(__aarch64__)
#define HWCAP_CRC (1UL << 7) // HWCAP_CRC32 of <asm/hwcap.h>

__attribute__((target("+crc"))) static uint32_t arm_sum(uint32_t crc, const void *p, size_t len)
{
	const uint8_t *s = p;
	uint32_t c = ~crc;

	for (; len >= 8; s += 8, len -= 8)
		c = __crc32cd(c, load64(s));
	for (; len > 0; len--)
		c = __crc32cb(c, *s++);
	return ~c;
}

static uint32_t arm_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	return arm_sum(crc, dst, len);
}

static bool arm_there(void)
{
	return getauxval(AT_HWCAP) & HWCAP_CRC;
}
#endif

/* ---- the choice ---- */

#define WAYS_MAX 3U

static const struct nof_crc32c_way *ways[WAYS_MAX];
static unsigned n_ways;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
	static const struct nof_crc32c_way way_plain = { "plain", plain_sum, plain_copy };

	for (unsigned b = 0; b < 256; b++) {
		uint32_t v = b;

		for (unsigned i = 0; i < 8; i++)
			v = v >> 1 ^ (v & 1 ? POLY : 0);
		table[0][b] = v;
	}
	for (unsigned b = 0; b < 256; b++)
		for (unsigned t = 1; t < 8; t++)
			table[t][b] = step8(table[t - 1][b], 0);
#if defined(__x86_64__)
	static const struct nof_crc32c_way way_avx512 = { "avx512", avx512_sum, avx512_copy };
	static const struct nof_crc32c_way way_sse42 = { "sse4.2", sse42_sum, sse42_copy };

	x86_init();
	if (avx512_there())
		ways[n_ways++] = &way_avx512;
	if (sse42_there())
		ways[n_ways++] = &way_sse42;
#elif defined(__aarch64__)
	static const struct nof_crc32c_way way_arm = { "arm", arm_sum, arm_copy };

	if (arm_there())
		ways[n_ways++] = &way_arm;
#endif
	ways[n_ways++] = &way_plain;
	assert(n_ways <= WAYS_MAX);
}

uint32_t nof_crc32c(uint32_t crc, const void *p, size_t len)
{
	pthread_once(&once, choose);
	return ways[0]->sum(crc, p, len);
}

uint32_t nof_crc32c_copy(uint32_t crc, void *dst, const void *src, size_t len)
{
	pthread_once(&once, choose);
	return ways[0]->copy(crc, dst, src, len);
}

unsigned nof_crc32c_ways(const struct nof_crc32c_way **out, unsigned max)
{
	pthread_once(&once, choose);
	for (unsigned i = 0; i < n_ways && i < max; i++)
		out[i] = ways[i];
	return n_ways;
}
