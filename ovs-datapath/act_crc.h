/* SPDX-License-Identifier: Apache-2.0 */
/* How a CRC-32C changes with the first bytes of a message, without a look at the others. */
#pragma once

#include <stdint.h>

#define ODP_CRC32C_POLY 0x82f63b78u // reflected; RFC 9260, appendix A

/* Product of two polynomials modulo CRC-32C's; bit 31 is the coefficient of x^0. */
static inline uint32_t odp_crc32c_mul(uint32_t a, uint32_t b)
{
	uint32_t p = 0;

	for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
		if (a & bit)
			p ^= b;
		b = b & 1 ? b >> 1 ^ ODP_CRC32C_POLY : b >> 1;
	}
	return p;
}

/*
 * What is to be xored to the CRC-32C of a message of `len` >= 4 bytes whose first four change by
 * `diff`. A CRC is linear: that of the difference, which is zero behind those four, is what counts,
 * and each zero byte multiplies by x^8.
 */
static inline uint32_t odp_crc32c_change(const uint8_t diff[4], uint32_t len)
{
	uint32_t crc = 0, power = 1u << 23; // x^8

	for (unsigned i = 0; i < 4; i++) {
		crc ^= diff[i];
		for (unsigned k = 0; k < 8; k++)
			crc = crc & 1 ? crc >> 1 ^ ODP_CRC32C_POLY : crc >> 1;
	}
	for (uint32_t n = len - 4; n; n >>= 1) {
		if (n & 1)
			crc = odp_crc32c_mul(crc, power);
		power = odp_crc32c_mul(power, power);
	}
	return crc;
}
