// SPDX-License-Identifier: Apache-2.0
/* Registers: extend and read. */
#include "pcr.h"

#include <errno.h>
#include <string.h>

#include "crypto.h"

int sec_pcr_extend(struct sec_pcr_bank *bank, uint32_t idx, const uint8_t digest[SEC_DIGEST_LEN])
{
	uint8_t joined[2 * SEC_DIGEST_LEN];

	if (idx >= SEC_PCRS)
		return -EINVAL;
	memcpy(joined, bank->value[idx], SEC_DIGEST_LEN);
	memcpy(joined + SEC_DIGEST_LEN, digest, SEC_DIGEST_LEN);
	return sec_sha384(joined, sizeof(joined), bank->value[idx]);
}

int sec_pcr_read(const struct sec_pcr_bank *bank, uint32_t idx, uint8_t out[SEC_DIGEST_LEN])
{
	if (idx >= SEC_PCRS)
		return -EINVAL;
	memcpy(out, bank->value[idx], SEC_DIGEST_LEN);
	return 0;
}
