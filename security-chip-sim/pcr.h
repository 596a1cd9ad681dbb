/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Platform configuration registers: measurements that can be added to and never set.
 * Source: TCG TPM 2.0 Library, Part 1, "Platform Configuration Registers".
 */
#pragma once

#include <stdint.h>

#include "sec_proto.h"

struct sec_pcr_bank {
	uint8_t value[SEC_PCRS][SEC_DIGEST_LEN]; // zeros after a chip reset
};

/* register := SHA-384(register || digest). 0, -EINVAL (index), -EIO (crypto). */
int sec_pcr_extend(struct sec_pcr_bank *bank, uint32_t idx, const uint8_t digest[SEC_DIGEST_LEN]);

/* 0, or -EINVAL (index) with `out` untouched. */
int sec_pcr_read(const struct sec_pcr_bank *bank, uint32_t idx, uint8_t out[SEC_DIGEST_LEN]);
