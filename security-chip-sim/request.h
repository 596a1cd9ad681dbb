/* SPDX-License-Identifier: Apache-2.0 */
/* One request in, one response out; no I/O. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pcr.h"

/*
 * Answer one request of len bytes. Returns the length of the response in `out`, always at least a
 * header: a malformed request is answered with its status. Pure.
 */
size_t sec_request(
	struct sec_pcr_bank *bank, const uint8_t *req, size_t len, uint8_t out[SEC_MSG_MAX]);
