/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text (RFC 4648, section 4). Pure; any thread. */
#pragma once

#include <stddef.h>

/* Characters for n bytes, without a NUL. */
#define DPU_BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Writes DPU_BASE64_LEN(len) characters and a NUL. */
void dpu_base64(const void *bytes, size_t len, char *out);
