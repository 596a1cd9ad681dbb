// SPDX-License-Identifier: Apache-2.0
/* PDUs: what a receiver takes and what it refuses, with the field that the TermReq names. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "pdu.h"

#define ALL 0xffff
#define HD NOF_DGST_HEADER
#define DD NOF_DGST_DATA

static const struct check_case {
	const char *name;
	enum nof_role role;
	uint16_t allowed;
	uint8_t dgst, pda;
	uint8_t type, flags, hlen, pdo;
	uint32_t plen;
	int ret;
	struct nof_pdu_err e;
	uint8_t head, pad;
	uint32_t data;
} cases[] = {
	/* what is right */
	{ "command without data", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 0, 72, 0, { 0 }, 72, 0, 0 },
	{ "command with data", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 72, 72 + 512, 0, { 0 }, 72, 0,
		512 },
	{ "command with both digests", NOF_TARGET, ALL, HD | DD, 0, 4, 3, 72, 76, 76 + 512 + 4, 0,
		{ 0 }, 76, 0, 512 },
	{ "command padded to 128", NOF_TARGET, ALL, HD, 31, 4, 1, 72, 128, 128 + 8192, 0, { 0 }, 76,
		52, 8192 },
	{ "data digest named without data", NOF_TARGET, ALL, DD, 0, 4, 2, 72, 0, 72, 0, { 0 }, 72,
		0, 0 },
	{ "ICReq", NOF_TARGET, 1 << 0, 3, 0, 0, 0, 128, 0, 128, 0, { 0 }, 128, 0, 0 },
	{ "C2HTermReq with all that offended", NOF_HOST, ALL, 3, 0, 3, 0, 24, 9, 152, 0, { 0 }, 24,
		0, 128 },
	{ "C2HData of 1 MiB", NOF_HOST, ALL, 0, 0, 7, 0xc, 24, 24, 24 + 1048576, 0, { 0 }, 24, 0,
		1048576 },
	{ "R2T with digest", NOF_HOST, ALL, HD, 0, 9, 1, 24, 0, 28, 0, { 0 }, 28, 0, 0 },

	/* NT-01, NT-07: the wrong type, or the wrong moment */
	{ "NT-01 command first", NOF_TARGET, 1 << 0, 0, 0, 4, 0, 72, 0, 72, -EPROTO,
		{ NOF_FES_SEQUENCE, 0 } },
	{ "NT-07 type 08", NOF_TARGET, ALL, 0, 0, 8, 0, 24, 0, 24, -EPROTO, { NOF_FES_HEADER, 0 } },
	{ "NT-07 type 0A", NOF_TARGET, ALL, 0, 0, 10, 0, 24, 0, 24, -EPROTO,
		{ NOF_FES_HEADER, 0 } },
	{ "NT-07 type FF", NOF_TARGET, ALL, 0, 0, 255, 0, 24, 0, 24, -EPROTO,
		{ NOF_FES_HEADER, 0 } },
	{ "NT-07 C2HData to a target", NOF_TARGET, ALL, 0, 0, 7, 0, 24, 24, 28, -EPROTO,
		{ NOF_FES_HEADER, 0 } },
	{ "command to a host", NOF_HOST, ALL, 0, 0, 4, 0, 72, 0, 72, -EPROTO,
		{ NOF_FES_HEADER, 0 } },

	/* NT-06: PDO */
	{ "NT-06 PDO 0 with data", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 0, 584, -EPROTO,
		{ NOF_FES_HEADER, 3 } },
	{ "NT-06 PDO in the digest", NOF_TARGET, ALL, HD, 0, 4, 1, 72, 72, 588, -EPROTO,
		{ NOF_FES_HEADER, 3 } },
	{ "NT-06 PDO 255", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 255, 584, -EPROTO,
		{ NOF_FES_HEADER, 3 } },
	{ "NT-06 PDO not as CPDA demands", NOF_TARGET, ALL, 0, 3, 4, 0, 72, 72, 584, -EPROTO,
		{ NOF_FES_HEADER, 3 } },

	/* lengths */
	{ "PLEN 0", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 0, 0, -EPROTO, { NOF_FES_HEADER, 3 } },
	{ "PLEN below HLEN", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 72, 71, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "PLEN 2^32-1", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 72, UINT32_MAX, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "a digest and no data", NOF_HOST, ALL, DD, 0, 7, 2, 24, 24, 28, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "C2HData of nothing", NOF_HOST, ALL, 0, 0, 7, 0, 24, 24, 24, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "NT-16 capsule of 8193", NOF_TARGET, ALL, 0, 0, 4, 0, 72, 72, 72 + 8193, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "NT-10 H2CData above the limit", NOF_TARGET, ALL, 0, 0, 6, 0, 24, 24, 24 + 131073,
		-EPROTO, { NOF_FES_LIMIT, 4 } },
	{ "HLEN 73", NOF_TARGET, ALL, 0, 0, 4, 0, 73, 0, 73, -EPROTO, { NOF_FES_HEADER, 2 } },
	{ "response longer than its header", NOF_HOST, ALL, 0, 0, 5, 0, 24, 0, 28, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "NI-12 TermReq of 153", NOF_HOST, ALL, 0, 0, 3, 0, 24, 0, 153, -EPROTO,
		{ NOF_FES_HEADER, 4 } },
	{ "TermReq of 23", NOF_HOST, ALL, 0, 0, 3, 0, 24, 0, 23, -EPROTO, { NOF_FES_HEADER, 4 } },
	{ "ICReq of 127", NOF_TARGET, 1, 0, 0, 0, 0, 128, 0, 127, -EPROTO, { NOF_FES_HEADER, 4 } },

	/* NT-12: flags */
	{ "NT-12 digest not negotiated", NOF_TARGET, ALL, 0, 0, 4, 1, 72, 0, 76, -EPROTO,
		{ NOF_FES_HEADER, 1 } },
	{ "digest missing", NOF_HOST, ALL, HD, 0, 5, 0, 24, 0, 24, -EPROTO, { NOF_FES_HEADER, 1 } },
	{ "data digest missing", NOF_HOST, ALL, DD, 0, 7, 0, 24, 24, 28, -EPROTO,
		{ NOF_FES_HEADER, 1 } },
	{ "data digest not negotiated", NOF_HOST, ALL, 0, 0, 7, 2, 24, 24, 32, -EPROTO,
		{ NOF_FES_HEADER, 1 } },
};

static void check(void **state)
{
	const struct check_case *t = *state;
	struct nof_ch ch = { t->type, t->flags, t->hlen, t->pdo, dpu_le32_put(t->plen) };
	struct nof_pdu_rules r = { t->role, t->allowed, t->dgst, t->pda, 8192, 131072 };
	struct nof_pdu_shape s = { 0 };
	struct nof_pdu_err e = { 0 };

	assert_int_equal(nof_pdu_check(&ch, &r, &s, &e), t->ret);
	assert_int_equal(e.fes, t->e.fes);
	assert_int_equal(e.fei, t->e.fei);
	assert_int_equal(s.head_len, t->ret ? s.head_len : t->head);
	if (t->ret)
		return;
	assert_int_equal(s.pad_len, t->pad);
	assert_int_equal(s.data_len, t->data);
}

/* What this side sends, it would take: every type, digest and alignment. */
static void begin_and_check(void **state)
{
	static const uint8_t types[] = { 4, 5, 6, 7, 9 };

	(void)state;
	for (unsigned i = 0; i < sizeof(types); i++) {
		for (uint8_t dgst = 0; dgst < 4; dgst++) {
			for (uint8_t pda = 0; pda <= NOF_PDA_MAX; pda++) {
				bool data = types[i] == 4 || types[i] == 6 || types[i] == 7;
				uint32_t len = data ? 4096 : 0;
				uint8_t buf[NOF_PDU_HEAD_MAX];
				size_t off = nof_pdu_begin(buf, types[i], dgst, pda, len);
				struct nof_pdu_rules r = { types[i] & 1 ? NOF_HOST : NOF_TARGET,
					ALL, dgst, pda, 8192, 131072 };
				struct nof_pdu_shape s;
				struct nof_pdu_err e;

				nof_pdu_seal(buf);
				assert_int_equal(
					nof_pdu_check((struct nof_ch *)buf, &r, &s, &e), 0);
				assert_int_equal(s.head_len + s.pad_len, off);
				assert_int_equal(s.data_len, len);
				assert_int_equal(s.ddgst, len && (dgst & DD));
				if (!(dgst & HD))
					continue;
				assert_true(nof_pdu_hdgst_ok(buf, buf[2]));
				buf[9] ^= 4;
				assert_false(nof_pdu_hdgst_ok(buf, buf[2]));
			}
		}
	}
}

static const struct icresp_case {
	const char *name;
	uint16_t pfv;
	uint8_t cpda, dgst, asked, demanded;
	uint32_t maxh2c;
	int ret;
	uint32_t fei;
} icresps[] = {
	{ "as asked", 0, 0, 3, 3, 3, 4096, 0, 0 },
	{ "a digest less, and none demanded", 0, 31, 1, 3, 0, 131072, 0, 0 },
	{ "NI-02 a digest that was not asked", 0, 0, 3, 1, 0, 4096, -EPROTO, 11 },
	{ "NI-02 without one that is demanded", 0, 0, 1, 3, 3, 4096, -EPROTO, 11 },
	{ "another format", 1, 0, 0, 0, 0, 4096, -EPROTO, 8 },
	{ "CPDA 32", 0, 32, 0, 0, 0, 4096, -EPROTO, 10 },
	{ "MAXH2CDATA 4092", 0, 0, 0, 0, 0, 4092, -EPROTO, 12 },
	{ "MAXH2CDATA 0", 0, 0, 0, 0, 0, 0, -EPROTO, 12 },
	{ "MAXH2CDATA 4097", 0, 0, 0, 0, 0, 4097, -EPROTO, 12 },
};

static void icresp(void **state)
{
	const struct icresp_case *t = *state;
	struct nof_icresp p = { .pfv = dpu_le16_put(t->pfv),
		.cpda = t->cpda,
		.dgst = t->dgst,
		.maxh2cdata = dpu_le32_put(t->maxh2c) };
	struct nof_pdu_err e = { 0 };

	assert_int_equal(nof_icresp_check(&p, t->asked, t->demanded, &e), t->ret);
	assert_int_equal(e.fei, t->fei);
}

static void icreq_and_term(void **state)
{
	struct nof_icreq p = { .hpda = 31 };
	struct nof_pdu_err e = { NOF_FES_RANGE, 0x01020304 };
	uint8_t bad[200], out[NOF_TERM_MAX];

	(void)state;
	memset(bad, 7, sizeof(bad));
	assert_int_equal(nof_term_build(out, NOF_TARGET, &e, bad, sizeof(bad)), 152);
	assert_int_equal(out[0], NOF_PDU_C2H_TERM);
	assert_int_equal(out[8], NOF_FES_RANGE);
	assert_int_equal(out[10], 4);
	assert_int_equal(out[151], 7);
	assert_int_equal(nof_term_build(out, NOF_HOST, &e, NULL, 0), 24);
	assert_int_equal(out[0], NOF_PDU_H2C_TERM);
	assert_int_equal(nof_icreq_check(&p, &e), 0);
	p.hpda = 32;
	assert_int_equal(nof_icreq_check(&p, &e), -EPROTO);
	p = (struct nof_icreq){ .pfv = { { 0, 1 } } };
	assert_int_equal(nof_icreq_check(&p, &e), -EPROTO);
	assert_string_equal(nof_fes_name(0xffff), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begin_and_check),
		cmocka_unit_test(icreq_and_term),
	};
	int failed = 0;

	RUN_ROWS(cases, check, failed);
	RUN_ROWS(icresps, icresp, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
