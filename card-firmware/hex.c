// SPDX-License-Identifier: Apache-2.0
/* Hexadecimal digits and UUIDs. */
#include "hex.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int card_hex_byte(const char *text)
{
	int hi = digit(text[0]), lo = hi < 0 ? -1 : digit(text[1]);

	return lo < 0 ? -1 : hi << 4 | lo;
}

int card_hex_parse(const char *text, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++, text += 2) {
		int b = card_hex_byte(text);

		if (b < 0)
			return -EINVAL;
		out[i] = (uint8_t)b;
	}
	return *text ? -EINVAL : 0;
}

static char *put_byte(char *out, uint8_t b)
{
	static const char digits[] = "0123456789abcdef";

	out[0] = digits[b >> 4];
	out[1] = digits[b & 15];
	return out + 2;
}

void card_hex_text(const uint8_t *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++)
		out = put_byte(out, in[i]);
	*out = '\0';
}

static bool dash_before(unsigned byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

int card_uuid_parse(const char *text, uint8_t out[16])
{
	for (unsigned i = 0; i < 16; i++, text += 2) {
		int b;

		if (dash_before(i) && *text++ != '-')
			return -EINVAL;
		b = card_hex_byte(text);
		if (b < 0)
			return -EINVAL;
		out[i] = (uint8_t)b;
	}
	return *text ? -EINVAL : 0;
}

void card_uuid_text(const uint8_t id[16], char out[CARD_UUID_TEXT])
{
	for (unsigned i = 0; i < 16; i++) {
		if (dash_before(i))
			*out++ = '-';
		out = put_byte(out, id[i]);
	}
	*out = '\0';
}
