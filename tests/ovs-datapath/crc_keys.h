/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that collide under CRC32C, whatever it starts with: the CRC is linear, so every sum of
 * vectors that it maps to 0 may be added to a key.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include <rte_hash_crc.h>

#define CRC_BITS 80u // that are varied: all but the first byte of two MAC addresses

/* Bit i of a destination and a source address, one behind the other. */
static inline void crc_flip(uint8_t mac[12], unsigned i)
{
	unsigned byte = 1 + i / 8;

	mac[byte < 6 ? byte : byte + 1] ^= (uint8_t)(1u << i % 8);
}

/* What flipping bit i does to the CRC of the words of a layer 2 key, or of one address alone. */
static inline uint32_t crc_of_bit(unsigned i, unsigned n_macs)
{
	uint8_t mac[12] = { 0 };
	uint64_t w[2] = { 0 };

	crc_flip(mac, i);
	memcpy(w, mac, 6 * n_macs);
	return n_macs == 1 ? rte_hash_crc_8byte(w[0], 0)
			   : rte_hash_crc_8byte(w[1], rte_hash_crc_8byte(w[0], 0));
}

/*
 * Fill `out` with n keys (n a power of two) of one or two addresses whose CRCs agree in the bits of
 * `mask`. Returns 0, or -1: there are not so many.
 */
static inline int crc_collide(uint8_t (*out)[12], unsigned n, unsigned n_macs, uint32_t mask)
{
	struct {
		uint32_t crc;
		uint8_t mac[12];
	} basis[32];
	unsigned n_basis = 0, made = 1;

	memset(out[0], 0, sizeof(out[0]));
	out[0][0] = out[0][6] = 2;
	for (unsigned i = 0; i < CRC_BITS / 2 * n_macs && made < n; i++) {
		uint32_t crc = crc_of_bit(i, n_macs) & mask;
		uint8_t mac[12] = { 0 };

		crc_flip(mac, i);
		for (unsigned k = 0; k < n_basis; k++) {
			if (!((crc ^ basis[k].crc) < crc))
				continue;
			crc ^= basis[k].crc;
			for (unsigned j = 0; j < 12; j++)
				mac[j] ^= basis[k].mac[j];
		}
		if (crc) {
			basis[n_basis].crc = crc;
			memcpy(basis[n_basis++].mac, mac, sizeof(mac));
			continue;
		}
		for (unsigned k = 0; k < made; k++)
			for (unsigned j = 0; j < 12; j++)
				out[made + k][j] = out[k][j] ^ mac[j];
		made *= 2;
	}
	return made == n ? 0 : -1;
}
