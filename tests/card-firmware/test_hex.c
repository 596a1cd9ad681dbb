// SPDX-License-Identifier: Apache-2.0
/* Hexadecimal digits and UUIDs. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "hex.h"

static void digits(void **state)
{
	static const char *const bad[] = { "", "0", "012", "01234", "0g", "0x12", " 012", "01-2" };
	uint8_t out[2];
	char text[5];

	(void)state;
	for (int c = 0; c < 256; c++) {
		const char *all = "0123456789abcdef", *at = c ? strchr(all, c) : NULL;
		const char *upper = "0123456789ABCDEF", *up = c ? strchr(upper, c) : NULL;
		int digit = at ? (int)(at - all) : up ? (int)(up - upper) : -1;

		assert_int_equal(
			card_hex_byte((char[]){ '5', (char)c, 0 }), digit < 0 ? -1 : 0x50 | digit);
		assert_int_equal(card_hex_byte((char[]){ (char)c, '5', 0 }),
			digit < 0 ? -1 : digit << 4 | 5);
	}
	assert_int_equal(card_hex_parse("fF0a", out, 2), 0);
	assert_int_equal(out[0], 0xff);
	assert_int_equal(out[1], 0x0a);
	card_hex_text(out, 2, text);
	assert_string_equal(text, "ff0a");
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(card_hex_parse(bad[i], out, 2), -EINVAL);
}

static void uuids(void **state)
{
	static const char good[] = "00112233-4455-6677-8899-AAbbccddeeff";
	uint8_t id[16];
	char text[CARD_UUID_TEXT];

	(void)state;
	assert_int_equal(card_uuid_parse(good, id), 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(id[i], i * 0x11);
	card_uuid_text(id, text);
	assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
	assert_int_equal(card_uuid_parse("00112233445566778899aabbccddeeff", id), -EINVAL);
	assert_int_equal(card_uuid_parse("00112233-4455-6677-8899-aabbccddeeff0", id), -EINVAL);
	for (size_t i = 0; i < sizeof(good) - 1; i++) { // cut, and with a wrong character
		memcpy(text, good, sizeof(good));
		text[i] = 'x';
		assert_int_equal(card_uuid_parse(text, id), -EINVAL);
		text[i] = '\0';
		assert_int_equal(card_uuid_parse(text, id), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits),
		cmocka_unit_test(uuids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
