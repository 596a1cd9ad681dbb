/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the card and the security chip say to each other: one request and one response per datagram
 * of a SOCK_SEQPACKET Unix socket. All integers are little endian.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#include "dpu_wire.h"

#define SEC_PROTO_VERSION 1
#define SEC_PCRS 24
#define SEC_DIGEST_LEN 48 // SHA-384
#define SEC_MSG_MAX 4096 // bytes, header included

enum sec_op {
	SEC_OP_INFO = 1, // -> struct sec_info
	SEC_OP_PCR_READ = 2, // struct sec_pcr_read -> 48 bytes
	SEC_OP_PCR_EXTEND = 3, // struct sec_pcr_extend -> 48 bytes, the new value
};

enum sec_status {
	SEC_OK = 0,
	SEC_ERR_VERSION = 1, // protocol version not spoken
	SEC_ERR_OP = 2, // unknown operation
	SEC_ERR_LENGTH = 3, // payload length does not fit the operation
	SEC_ERR_INDEX = 4, // no such register
	SEC_ERR_INTERNAL = 5,
};

struct sec_hdr {
	dpu_le16 version;
	dpu_le16 op; // response: the request's
	dpu_le32 status; // request: 0
};
static_assert(sizeof(struct sec_hdr) == 8, "wire struct");

struct sec_info {
	dpu_le16 version;
	dpu_le16 n_pcrs;
	dpu_le16 digest_len;
	dpu_le16 reserved;
};
static_assert(sizeof(struct sec_info) == 8, "wire struct");

struct sec_pcr_read {
	dpu_le32 index;
};

struct sec_pcr_extend {
	dpu_le32 index;
	uint8_t digest[SEC_DIGEST_LEN];
};
static_assert(sizeof(struct sec_pcr_extend) == 52, "wire struct");
