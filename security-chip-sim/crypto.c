// SPDX-License-Identifier: Apache-2.0
/* OpenSSL behind the chip's own names. */
#include "crypto.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

int sec_sha384(const void *data, size_t len, uint8_t out[SEC_DIGEST_LEN])
{
	uint8_t md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (EVP_Digest(data, len, md, &n, EVP_sha384(), NULL) != 1 || n != SEC_DIGEST_LEN)
		return -EIO;
	memcpy(out, md, SEC_DIGEST_LEN);
	return 0;
}
