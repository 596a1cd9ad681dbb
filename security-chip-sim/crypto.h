/* SPDX-License-Identifier: Apache-2.0 */
/* The chip's cryptography: the one place that knows OpenSSL. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sec_proto.h"

/* SHA-384 of data. 0, or -EIO with `out` untouched. Source: FIPS 180-4. */
int sec_sha384(const void *data, size_t len, uint8_t out[SEC_DIGEST_LEN]);
