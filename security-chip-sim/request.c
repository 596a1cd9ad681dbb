// SPDX-License-Identifier: Apache-2.0
/* Decodes requests, runs them, encodes responses. */
#include "request.h"

#include <string.h>

#include "dpu_cur.h"

static enum sec_status pcr_extend(struct sec_pcr_bank *bank, struct dpu_cur *in, uint8_t *out)
{
	uint32_t idx = dpu_cur_le32(in);
	const uint8_t *digest = dpu_cur_take(in, SEC_DIGEST_LEN);

	if (in->bad || in->left)
		return SEC_ERR_LENGTH;
	if (idx >= SEC_PCRS)
		return SEC_ERR_INDEX;
	if (sec_pcr_extend(bank, idx, digest) || sec_pcr_read(bank, idx, out))
		return SEC_ERR_INTERNAL;
	return SEC_OK;
}

static enum sec_status pcr_read(const struct sec_pcr_bank *bank, struct dpu_cur *in, uint8_t *out)
{
	uint32_t idx = dpu_cur_le32(in);

	if (in->bad || in->left)
		return SEC_ERR_LENGTH;
	return sec_pcr_read(bank, idx, out) ? SEC_ERR_INDEX : SEC_OK;
}

static enum sec_status info(struct dpu_cur *in, uint8_t *out)
{
	struct sec_info i = {
		.version = dpu_le16_put(SEC_PROTO_VERSION),
		.n_pcrs = dpu_le16_put(SEC_PCRS),
		.digest_len = dpu_le16_put(SEC_DIGEST_LEN),
	};

	if (in->left)
		return SEC_ERR_LENGTH;
	memcpy(out, &i, sizeof(i));
	return SEC_OK;
}

size_t sec_request(
	struct sec_pcr_bank *bank, const uint8_t *req, size_t len, uint8_t out[SEC_MSG_MAX])
{
	struct dpu_cur in = dpu_cur_init(req, len);
	uint16_t version = dpu_cur_le16(&in);
	uint16_t op = dpu_cur_le16(&in);
	uint8_t *body = out + sizeof(struct sec_hdr);
	enum sec_status status;
	size_t n = 0;

	dpu_cur_skip(&in, 4); // status: a response's field
	if (in.bad) {
		status = SEC_ERR_LENGTH;
	} else if (version != SEC_PROTO_VERSION) {
		status = SEC_ERR_VERSION;
	} else {
		switch (op) {
		case SEC_OP_INFO:
			status = info(&in, body);
			n = sizeof(struct sec_info);
			break;
		case SEC_OP_PCR_READ:
			status = pcr_read(bank, &in, body);
			n = SEC_DIGEST_LEN;
			break;
		case SEC_OP_PCR_EXTEND:
			status = pcr_extend(bank, &in, body);
			n = SEC_DIGEST_LEN;
			break;
		default:
			status = SEC_ERR_OP;
			break;
		}
	}
	struct sec_hdr hdr = {
		.version = dpu_le16_put(SEC_PROTO_VERSION),
		.op = dpu_le16_put(op),
		.status = dpu_le32_put(status),
	};
	memcpy(out, &hdr, sizeof(hdr));
	return sizeof(hdr) + (status == SEC_OK ? n : 0);
}
