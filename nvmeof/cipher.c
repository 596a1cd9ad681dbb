// SPDX-License-Identifier: Apache-2.0
/* AES-256-XTS by OpenSSL. */
#include "cipher.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "dpu_alloc.h"
#include "dpu_wire.h"

struct nof_cipher {
	EVP_CIPHER_CTX *ctx[2]; // owned; by nof_cipher_dir
	uint32_t unit;
};

int nof_cipher_create(const struct nof_key *key, uint32_t unit, struct nof_cipher **out)
{
	struct nof_cipher *c = dpu_calloc(1, sizeof(*c));
	int ret = 0;

	assert(unit == 512 || unit == 4096);
	if (!c)
		return -ENOMEM;
	c->unit = unit;
	for (int dir = NOF_DECRYPT; dir <= NOF_ENCRYPT && !ret; dir++) {
		c->ctx[dir] = EVP_CIPHER_CTX_new();
		if (!c->ctx[dir])
			ret = -ENOMEM;
		else if (EVP_CipherInit_ex(c->ctx[dir], EVP_aes_256_xts(), NULL, nof_key_bytes(key),
				 NULL, dir) != 1)
			ret = -EIO;
	}
	if (ret) {
		nof_cipher_destroy(c);
		return ret;
	}
	*out = c;
	return 0;
}

void nof_cipher_destroy(struct nof_cipher *c)
{
	if (!c)
		return;
	EVP_CIPHER_CTX_free(c->ctx[NOF_DECRYPT]); // cleanses what it frees
	EVP_CIPHER_CTX_free(c->ctx[NOF_ENCRYPT]);
	free(c);
}

int nof_cipher_run(struct nof_cipher *c, enum nof_cipher_dir dir, uint64_t first, const uint8_t *in,
	uint8_t *out, size_t len)
{
	EVP_CIPHER_CTX *ctx = c->ctx[dir];
	int n;

	for (size_t at = 0; at < len; at += c->unit, first++) {
		struct {
			dpu_le64 unit;
			uint8_t zero[8];
		} tweak = { .unit = dpu_le64_put(first) };

		if (EVP_CipherInit_ex(ctx, NULL, NULL, NULL, (const uint8_t *)&tweak, -1) != 1 ||
			EVP_CipherUpdate(ctx, out + at, &n, in + at, (int)c->unit) != 1)
			return -EIO;
	}
	return 0;
}
