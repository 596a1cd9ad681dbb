// SPDX-License-Identifier: Apache-2.0
/*
 * The chip's requests: registers change only as the specification says, nonsense changes nothing.
 */
#include <string.h>

#include "request.h"
#include "test.h"

struct msg {
	struct sec_hdr hdr;
	uint8_t body[SEC_MSG_MAX - sizeof(struct sec_hdr)];
};

static size_t ask(struct sec_pcr_bank *bank, uint16_t version, uint16_t op, const void *body,
	size_t len, struct msg *out)
{
	struct msg req = { .hdr = { dpu_le16_put(version), dpu_le16_put(op), dpu_le32_put(0) } };

	if (len)
		memcpy(req.body, body, len);
	return sec_request(bank, (const uint8_t *)&req, sizeof(req.hdr) + len, (uint8_t *)out);
}

/*
 * SHA-384 of 96 zero bytes: a register of zeros extended by zeros. Computed with coreutils
 * sha384sum.
 */
static const uint8_t zeros_extended[] = { 0xf5, 0x7b, 0xb7, 0xed, 0x82, 0xc6, 0xae, 0x4a, 0x29,
	0xe6, 0xc9, 0x87, 0x93, 0x38, 0xc5, 0x92, 0xc7, 0xd4, 0x2a, 0x39, 0x13, 0x55, 0x83, 0xe8,
	0xcc, 0xbe, 0x39, 0x40, 0xf2, 0x34, 0x4b, 0x0e, 0xb6, 0xeb, 0x85, 0x03, 0xdb, 0x0f, 0xfd,
	0x6a, 0x39, 0xdd, 0xd0, 0x0c, 0xd0, 0x7d, 0x83, 0x17 };

static void extend_hashes_old_and_new(void **state)
{
	struct sec_pcr_bank bank = { 0 };
	struct sec_pcr_extend e = { .index = dpu_le32_put(7) };
	struct sec_pcr_read r = { .index = dpu_le32_put(7) };
	struct msg res;

	(void)state;
	assert_int_equal(ask(&bank, 1, SEC_OP_PCR_EXTEND, &e, sizeof(e), &res), 8 + SEC_DIGEST_LEN);
	assert_int_equal(dpu_le32_get(res.hdr.status), SEC_OK);
	assert_memory_equal(res.body, zeros_extended, SEC_DIGEST_LEN);
	assert_int_equal(ask(&bank, 1, SEC_OP_PCR_READ, &r, sizeof(r), &res), 8 + SEC_DIGEST_LEN);
	assert_memory_equal(res.body, zeros_extended, SEC_DIGEST_LEN);
	r.index = dpu_le32_put(6);
	ask(&bank, 1, SEC_OP_PCR_READ, &r, sizeof(r), &res);
	for (int i = 0; i < SEC_DIGEST_LEN; i++)
		assert_int_equal(res.body[i], 0);
}

static const struct row {
	const char *name;
	uint16_t version, op;
	uint32_t index;
	size_t len;
	enum sec_status status;
} rows[] = {
	{ "version 0", 0, SEC_OP_INFO, 0, 0, SEC_ERR_VERSION },
	{ "version 2", 2, SEC_OP_INFO, 0, 0, SEC_ERR_VERSION },
	{ "operation 0", 1, 0, 0, 0, SEC_ERR_OP },
	{ "operation 0xffff", 1, 0xffff, 0, 0, SEC_ERR_OP },
	{ "info with a body", 1, SEC_OP_INFO, 0, 1, SEC_ERR_LENGTH },
	{ "read without an index", 1, SEC_OP_PCR_READ, 0, 0, SEC_ERR_LENGTH },
	{ "read with a tail", 1, SEC_OP_PCR_READ, 0, 5, SEC_ERR_LENGTH },
	{ "read of register 24", 1, SEC_OP_PCR_READ, 24, 4, SEC_ERR_INDEX },
	{ "read of register 2^32-1", 1, SEC_OP_PCR_READ, UINT32_MAX, 4, SEC_ERR_INDEX },
	{ "extend one byte short", 1, SEC_OP_PCR_EXTEND, 0, 51, SEC_ERR_LENGTH },
	{ "extend one byte long", 1, SEC_OP_PCR_EXTEND, 0, 53, SEC_ERR_LENGTH },
	{ "extend of register 24", 1, SEC_OP_PCR_EXTEND, 24, 52, SEC_ERR_INDEX },
};

static void refused(void **state)
{
	const struct row *r = *state;
	struct sec_pcr_bank bank = { 0 }, before = { 0 };
	struct {
		dpu_le32 index;
		uint8_t rest[60];
	} body = { .index = dpu_le32_put(r->index) };
	struct msg res;

	assert_int_equal(ask(&bank, r->version, r->op, &body, r->len, &res), sizeof(res.hdr));
	assert_int_equal(dpu_le32_get(res.hdr.status), r->status);
	assert_memory_equal(&bank, &before, sizeof(bank));
}

/* A request cut at every byte is answered, and never with success. */
static void cut_anywhere(void **state)
{
	struct {
		struct sec_hdr hdr;
		struct sec_pcr_extend e;
	} req = { .hdr = { dpu_le16_put(1), dpu_le16_put(SEC_OP_PCR_EXTEND), dpu_le32_put(0) } };

	(void)state;
	for (size_t n = 0; n < sizeof(req); n++) {
		struct sec_pcr_bank bank = { 0 };
		struct msg res;

		assert_int_equal(
			sec_request(&bank, (uint8_t *)&req, n, (uint8_t *)&res), sizeof(res.hdr));
		assert_int_not_equal(dpu_le32_get(res.hdr.status), SEC_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(extend_hashes_old_and_new),
		cmocka_unit_test(cut_anywhere),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	RUN_ROWS(rows, refused, failed);
	return failed;
}
