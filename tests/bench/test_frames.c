// SPDX-License-Identifier: Apache-2.0
/* The load's frames: every checksum is right, flows differ, connections take their steps. */
#include "test.h"

#include <string.h>

#include "odp_frames.h"

static uint16_t sum_of(const uint8_t *p, unsigned len, uint32_t sum)
{
	for (unsigned i = 0; i < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

/* A whole packet with right checksums, as RFC 1071 has a receiver verify them. */
static void verify(const uint8_t *f)
{
	unsigned len = (unsigned)(f[16] << 8 | f[17]);

	assert_int_equal(f[12] << 8 | f[13], 0x0800);
	assert_true(len >= 28 && len <= FRAME_LEN - 14);
	assert_int_equal(sum_of(f + 14, 20, 0), 0xffff);
	if (f[23] == 6) {
		assert_true(14 + len <= FRAME_STAMP);
		assert_int_equal(sum_of(f + 34, len - 20, sum_of(f + 26, 8, 6 + len - 20)), 0xffff);
	} else {
		assert_int_equal(f[23], 17);
		assert_int_equal(f[38] << 8 | f[39], len - 20);
		assert_int_equal(f[40] | f[41], 0);
	}
}

static void flows_differ(void **state)
{
	enum { N = 1200 };
	static uint8_t seen[N][12]; // addresses and ports
	struct frame_gen g = { 0 };
	uint8_t f[FRAME_LEN];

	(void)state;
	frame_gen_start(&g, FRAME_FLOWS, 1000000);
	for (unsigned i = 0; i < N / 2; i++) {
		g.next[0] = i * 1000;
		assert_true(frame_first(&g, FRAME_A, f));
		memcpy(seen[i], f + 26, 12);
		for (unsigned k = 0; k < i; k++)
			assert_memory_not_equal(seen[k], seen[i], 12);
	}
	frame_gen_start(&g, FRAME_FLOWS, N);
	for (unsigned i = 0; i < N; i++) {
		assert_true(i ? frame_next(&g, FRAME_A, f) : frame_first(&g, FRAME_A, f));
		verify(f);
		memcpy(seen[i], f + 26, 12);
		for (unsigned k = 0; k < i; k++)
			assert_memory_not_equal(seen[k], seen[i], 12);
	}
	assert_true(frame_next(&g, FRAME_A, f)); // round and round
	assert_memory_equal(f + 26, seen[0], 12);
}

static void both_ends_name_a_connection_alike(void **state)
{
	struct frame_gen g = { 0 };
	uint8_t a[FRAME_LEN], b[FRAME_LEN];

	(void)state;
	frame_gen_start(&g, FRAME_CONNS, 3000000);
	for (unsigned i = 0; i < 2000; i++) {
		g.next[0] = g.next[1] = i * 1049;
		assert_true(frame_first(&g, FRAME_A, a));
		assert_true(frame_first(&g, FRAME_B, b));
		verify(a);
		verify(b);
		assert_memory_equal(a + 26, b + 30, 4);
		assert_memory_equal(a + 30, b + 26, 4);
		assert_memory_equal(a + 34, b + 36, 2);
		assert_memory_equal(
			a + 38, b + 42, 4); // what one sends next is what the other awaits
	}
}

/* A frame goes from a to b and back until its connection is through. */
static void steps(enum frame_kind kind, const uint8_t *flags, unsigned n)
{
	struct frame_gen g = { 0 };
	uint8_t f[FRAME_LEN], other[FRAME_LEN], first[12];

	frame_gen_start(&g, kind, 2);
	assert_true(frame_first(&g, FRAME_A, f));
	assert_false(frame_first(&g, FRAME_B, other));
	memcpy(first, f + 26, sizeof(first));
	for (unsigned i = 0; i < n; i++) {
		verify(f);
		assert_int_equal(f[47], flags[i]);
		assert_int_equal(f[i % 2 ? 5 : 11], 1); // from a, then to a
		assert_int_equal(g.done, 0);
		assert_true(frame_next(&g, i % 2 ? FRAME_A : FRAME_B, f));
	}
	assert_int_equal(g.done, 1);
	verify(f);
	assert_int_equal(f[47], flags[0]); // the next one's first step
	assert_memory_not_equal(first, f + 26, sizeof(first));
}

static void connections_open(void **state)
{
	const uint8_t flags[] = { 0x02, 0x12, 0x10, 0x10 };
	struct frame_gen g = { 0 };
	uint8_t f[FRAME_LEN], other[FRAME_LEN];

	(void)state;
	steps(FRAME_SETUP, flags, 4);
	frame_gen_start(&g, FRAME_SETUP, 1);
	assert_true(frame_first(&g, FRAME_A, f));
	assert_false(frame_first(&g, FRAME_A, other)); // no more than asked for
	for (unsigned i = 0; i < 4; i++)
		frame_next(&g, i % 2 ? FRAME_A : FRAME_B, f);
	assert_int_equal(g.opened, 1);
	frame_gen_start(&g, FRAME_SETUP, 1);
	assert_false(frame_first(&g, FRAME_A, f)); // it is open
}

static void connections_end(void **state)
{
	const uint8_t flags[] = { 0x02, 0x12, 0x10, 0x11, 0x11, 0x10 };

	(void)state;
	steps(FRAME_SHORT, flags, 6);
}

/* What arrives at the uplink goes back to who sent it, and counts when it came through a tunnel. */
static void the_uplink_sends_back(void **state)
{
	static const uint8_t outer[] = { 2, 0, 0, 0, 9, 2, 2, 0, 0, 0, 9, 1, 8, 0, 0x45, 0, 0, 100,
		0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2, 0xa7, 0xc1, 0x12, 0xb5 };
	static const uint8_t back[] = { 2, 0, 0, 0, 9, 1, 2, 0, 0, 0, 9, 2, 8, 0, 0x45, 0, 0, 100,
		0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1, 0xa7, 0xc1, 0x12, 0xb5 };
	struct frame_gen g = { 0 };
	uint8_t f[FRAME_LEN];

	(void)state;
	frame_gen_start(&g, FRAME_CONNS, 1);
	assert_false(frame_first(&g, FRAME_UPLINK, f));
	memcpy(f, outer, sizeof(outer));
	assert_true(frame_next(&g, FRAME_UPLINK, f));
	assert_memory_equal(f, back, sizeof(back));
	assert_int_equal(g.encapsulated, 1);
	assert_true(frame_first(&g, FRAME_A, f)); // not from a tunnel
	assert_true(frame_next(&g, FRAME_UPLINK, f));
	assert_int_equal(g.encapsulated, 1);
}

/* First bit in which a differs from b. */
static unsigned first_bit(uint32_t a, uint32_t b)
{
	assert_int_not_equal(a, b);
	return (unsigned)__builtin_clz(a ^ b);
}

static void an_attack_has_all_combinations(void **state)
{
	static bool seen[32][16][16];
	uint8_t f[FRAME_LEN];

	(void)state;
	for (uint32_t i = 0; i < FRAME_MASKS; i++) {
		frame_attack(i, f);
		verify(f);
		bool *s = &seen[first_bit(
			(uint32_t)(f[26] << 24 | f[27] << 16 | f[28] << 8 | f[29]), 0x0a630001)]
			       [first_bit((uint32_t)(f[34] << 8 | f[35]), 12345) - 16]
			       [first_bit((uint32_t)(f[36] << 8 | f[37]), 80) - 16];

		assert_false(*s);
		*s = true;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_differ),
		cmocka_unit_test(both_ends_name_a_connection_alike),
		cmocka_unit_test(connections_open),
		cmocka_unit_test(connections_end),
		cmocka_unit_test(the_uplink_sends_back),
		cmocka_unit_test(an_attack_has_all_combinations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
