// SPDX-License-Identifier: Apache-2.0
/* Bounded reads: order, the end, stickiness. */
#include "dpu_cur.h"
#include "test.h"

static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

static void reads_in_order(void **state)
{
	struct dpu_cur c = dpu_cur_init(bytes, sizeof(bytes));

	(void)state;
	assert_int_equal(dpu_cur_u8(&c), 1);
	assert_int_equal(dpu_cur_be16(&c), 0x0203);
	assert_int_equal(dpu_cur_le16(&c), 0x0504);
	assert_int_equal(dpu_cur_be24(&c), 0x060708);
	assert_false(c.bad);
	assert_int_equal(c.left, 1);
}

static void widths(void **state)
{
	struct dpu_cur c = dpu_cur_init(bytes, 8);

	(void)state;
	assert_true(dpu_cur_be64(&c) == 0x0102030405060708ull);
	c = dpu_cur_init(bytes, 8);
	assert_true(dpu_cur_le64(&c) == 0x0807060504030201ull);
	c = dpu_cur_init(bytes, 8);
	assert_int_equal(dpu_cur_be32(&c), 0x01020304);
	assert_int_equal(dpu_cur_le32(&c), 0x08070605);
}

/* At every length, a read that does not fit gives zero, takes nothing and stays bad. */
static void end_is_sticky(void **state)
{
	(void)state;
	for (size_t n = 0; n < 4; n++) {
		struct dpu_cur c = dpu_cur_init(bytes, n);

		assert_int_equal(dpu_cur_be32(&c), 0);
		assert_true(c.bad);
		assert_int_equal(dpu_cur_u8(&c), 0);
		assert_null(dpu_cur_take(&c, 0));
	}
}

static void take_near_size_max(void **state)
{
	struct dpu_cur c = dpu_cur_init(bytes, sizeof(bytes));

	(void)state;
	assert_null(dpu_cur_take(&c, SIZE_MAX));
	assert_true(c.bad);
}

static void put_is_the_inverse_of_get(void **state)
{
	(void)state;
	assert_int_equal(dpu_be16_put(0x1234).b[0], 0x12);
	assert_int_equal(dpu_le32_put(0x12345678).b[0], 0x78);
	assert_int_equal(dpu_be32_get(dpu_be32_put(0xdeadbeef)), 0xdeadbeef);
	assert_true(dpu_le64_get(dpu_le64_put(1ull << 63)) == 1ull << 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_in_order),
		cmocka_unit_test(widths),
		cmocka_unit_test(end_is_sticky),
		cmocka_unit_test(take_near_size_max),
		cmocka_unit_test(put_is_the_inverse_of_get),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
