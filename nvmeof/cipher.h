/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-XTS over units of a volume (IEEE 1619-2007): the tweak of a unit is its number, little
 * endian. Behind this interface so that a faster cipher than OpenSSL's can come.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "nof_key.h"

enum nof_cipher_dir { NOF_DECRYPT, NOF_ENCRYPT };

/* Both directions of one key, for one thread. */
struct nof_cipher;

/* Control thread. `unit`: 512 or 4096. Copies what it needs of the key. 0, -ENOMEM, -EIO. */
int nof_cipher_create(const struct nof_key *key, uint32_t unit, struct nof_cipher **out);
void nof_cipher_destroy(struct nof_cipher *c); // wipes; NULL is accepted

/*
 * `len` bytes, a multiple of the unit, that begin at unit `first`; `out` may be `in`, else they do
 * not overlap. 0, or -EIO.
 */
int nof_cipher_run(struct nof_cipher *c, enum nof_cipher_dir dir, uint64_t first, const uint8_t *in,
	uint8_t *out, size_t len);
