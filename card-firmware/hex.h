/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as hexadecimal digits, and UUIDs (RFC 9562) as text. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CARD_UUID_TEXT 37 // with its NUL

/* The byte of two digits in either case, or -1; text may end before them. */
int card_hex_byte(const char *text);
/* 2 * len digits and nothing else: 0 or -EINVAL, with out in any state. */
int card_hex_parse(const char *text, uint8_t *out, size_t len);
/* Writes 2 * len digits in lower case, and a NUL. */
void card_hex_text(const uint8_t *in, size_t len, char *out);

/* 8-4-4-4-12 digits in either case: 0 or -EINVAL. */
int card_uuid_parse(const char *text, uint8_t out[16]);
void card_uuid_text(const uint8_t id[16], char out[CARD_UUID_TEXT]);
