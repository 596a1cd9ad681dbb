// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <string.h>

#include "dpu_id.h"

/* Vectors of the authors' page: FNV-1a, 64 bits, of "", "a" and "foobar". */
static void hashes_as_published(void **state)
{
	(void)state;
	assert_true(dpu_hash(DPU_HASH_BASIS, "", 0) == UINT64_C(0xcbf29ce484222325));
	assert_true(dpu_hash(DPU_HASH_BASIS, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(dpu_hash(DPU_HASH_BASIS, "foobar", 6) == UINT64_C(0x85944171f73967e8));
	assert_true(dpu_hash(dpu_hash(DPU_HASH_BASIS, "foo", 3), "bar", 3) ==
		    UINT64_C(0x85944171f73967e8));
}

static void uuids_say_what_they_are(void **state)
{
	static const uint8_t want[16] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0x8d, 0xef, 0xbe,
		0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10 };
	uint8_t a[16], b[16];

	(void)state;
	dpu_uuid_of(UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210), a);
	assert_memory_equal(a, want, 16);
	assert_int_equal(dpu_uuid_new(a), 0);
	assert_int_equal(dpu_uuid_new(b), 0);
	assert_int_equal(a[6] >> 4, 4);
	assert_int_equal(a[8] >> 6, 2);
	assert_memory_not_equal(a, b, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(hashes_as_published),
		cmocka_unit_test(uuids_say_what_they_are) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
