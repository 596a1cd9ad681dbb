// SPDX-License-Identifier: Apache-2.0
/* CRC32C: the vectors of RFC 3720, and every way against the plain one. */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "crc32c.h"

#define ROOM 20000U
#define GUARD 0xa5

static uint64_t seed = 88172645463325252ULL;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11);
}

/* RFC 3720, appendix B.4; the last one is the usual check value. */
static const struct vector {
	const char *name;
	size_t len;
	int first, step; // bytes are first, first + step ...
	const char *text;
	uint32_t crc;
} vectors[] = {
	{ "32 bytes of zeroes", 32, 0, 0, NULL, 0x8a9136aa },
	{ "32 bytes of ones", 32, 0xff, 0, NULL, 0x62a8ab43 },
	{ "32 incrementing bytes", 32, 0, 1, NULL, 0x46dd794e },
	{ "32 decrementing bytes", 32, 31, -1, NULL, 0x113fdb5c },
	{ "an iSCSI READ (10) command", 48, 0, 0,
		"\x01\xc0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x14\0\0\0\0\0\x04\0\0\0\0\x14\0\0\0\x18"
		"\x28\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0",
		0xd9963a56 },
	{ "123456789", 9, '1', 1, NULL, 0xe3069283 },
	{ "nothing", 0, 0, 0, NULL, 0 },
};

static void vector(void **state)
{
	const struct vector *v = *state;
	const struct nof_crc32c_way *ways[8];
	unsigned n = nof_crc32c_ways(ways, 8);
	uint8_t in[64], out[64];

	for (size_t i = 0; i < v->len; i++)
		in[i] = v->text ? (uint8_t)v->text[i] : (uint8_t)(v->first + v->step * (int)i);
	assert_int_equal(nof_crc32c(0, in, v->len), v->crc);
	for (unsigned w = 0; w < n; w++) {
		assert_int_equal(ways[w]->sum(0, in, v->len), v->crc);
		assert_int_equal(ways[w]->copy(0, out, in, v->len), v->crc);
		assert_memory_equal(in, out, v->len);
	}
}

static void plain_is_last(void **state)
{
	const struct nof_crc32c_way *ways[8];
	unsigned n = nof_crc32c_ways(ways, 8);

	(void)state;
	assert_in_range(n, 1, 8);
	assert_string_equal(ways[n - 1]->name, "plain");
	for (unsigned w = 0; w < n; w++)
		print_message("[          ] this CPU has: %s\n", ways[w]->name);
}

/* One sum and one copy at these places, against the plain way; nothing else is written. */
static void compare(const struct nof_crc32c_way *way, const struct nof_crc32c_way *plain,
	uint8_t *in, uint8_t *out, size_t off, size_t len)
{
	uint32_t crc = next_random();
	uint32_t want = plain->sum(crc, in + off, len);
	size_t to = 64 + next_random() % 64;

	assert_int_equal(way->sum(crc, in + off, len), want);
	memset(out, GUARD, to + len + 64);
	assert_int_equal(way->copy(crc, out + to, in + off, len), want);
	assert_memory_equal(out + to, in + off, len);
	for (size_t i = 0; i < 64; i++) {
		assert_int_equal(out[to - 1 - i], GUARD);
		assert_int_equal(out[to + len + i], GUARD);
	}
}

static void every_way(void **state)
{
	const struct nof_crc32c_way *ways[8];
	unsigned n = nof_crc32c_ways(ways, 8);
	uint8_t *in = malloc(ROOM), *out = malloc(ROOM);

	(void)state;
	assert_non_null(in);
	assert_non_null(out);
	for (unsigned i = 0; i < ROOM; i++)
		in[i] = (uint8_t)next_random();
	for (unsigned w = 0; w < n; w++) {
		for (size_t len = 0; len < 1100; len++)
			compare(ways[w], ways[n - 1], in, out, next_random() % 64, len);
		for (unsigned i = 0; i < 2000; i++)
			compare(ways[w], ways[n - 1], in, out, next_random() % 64,
				next_random() % (ROOM - 256));
	}
	free(in);
	free(out);
}

/* In pieces it is the same as at once. */
static void pieces(void **state)
{
	uint8_t in[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)next_random();
	for (unsigned i = 0; i < 500; i++) {
		size_t a = next_random() % sizeof(in), b = a + next_random() % (sizeof(in) - a);
		uint32_t crc = nof_crc32c(0, in, a);

		crc = nof_crc32c(crc, in + a, b - a);
		crc = nof_crc32c(crc, in + b, sizeof(in) - b);
		assert_int_equal(crc, nof_crc32c(0, in, sizeof(in)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_is_last),
		cmocka_unit_test(every_way),
		cmocka_unit_test(pieces),
	};
	int failed = 0;

	RUN_ROWS(vectors, vector, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
