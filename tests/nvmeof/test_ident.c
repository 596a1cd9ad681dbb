// SPDX-License-Identifier: Apache-2.0
/* What controllers and namespaces say of themselves: what is taken, capped, refused. */
#include "test.h"

#include <errno.h>
#include <string.h>

#include "ident.h"

#define NQN "nqn.2026-11.test:ident"

/* ---- Identify Controller ---- */

static const struct ctrl_case {
	const char *name;
	uint8_t mdts;
	uint32_t ioccsz;
	uint16_t icdoff;
	uint8_t sqes, cqes;
	uint32_t sgls;
	const char *subnqn;
	int ret;
	uint32_t transfer_max, capsule_max;
} ctrl_cases[] = {
	{ "MDTS 5", 5, 260, 0, 0x66, 0x44, 1, NQN, 0, 131072, 4096 },
	{ "NI-14 MDTS 0", 0, 260, 0, 0x66, 0x44, 1, NQN, 0, NOF_TRANSFER_MAX, 4096 },
	{ "NI-14 MDTS 1", 1, 260, 0, 0x66, 0x44, 1, NQN, 0, 8192, 4096 },
	{ "NI-14 MDTS 255", 255, 260, 0, 0x66, 0x44, 1, NQN, 0, NOF_TRANSFER_MAX, 4096 },
	{ "NI-14 MDTS 20", 20, 260, 0, 0x66, 0x44, 1, NQN, 0, NOF_TRANSFER_MAX, 4096 },
	{ "no data in capsules", 5, 4, 0, 0x66, 0x44, 1, NQN, 0, 131072, 0 },
	{ "NI-14 IOCCSZ 0", 5, 0, 0, 0x66, 0x44, 1, NQN, -EPROTO, 0, 0 },
	{ "NI-14 IOCCSZ 3", 5, 3, 0, 0x66, 0x44, 1, NQN, -EPROTO, 0, 0 },
	{ "IOCCSZ 2^32-1", 5, UINT32_MAX, 0, 0x66, 0x44, 1, NQN, 0, 131072, NOF_TRANSFER_MAX },
	{ "16 KiB in capsules", 5, 1028, 0, 0x66, 0x44, 1, NQN, 0, 131072, 16384 },
	{ "NI-14 ICDOFF 1", 5, 260, 1, 0x66, 0x44, 1, NQN, -EPROTO, 0, 0 },
	{ "entries of another size", 5, 260, 0, 0x77, 0x44, 1, NQN, -EPROTO, 0, 0 },
	{ "completions of another size", 5, 260, 0, 0x66, 0x33, 1, NQN, -EPROTO, 0, 0 },
	{ "no SGLs", 5, 260, 0, 0x66, 0x44, 0, NQN, -EPROTO, 0, 0 },
	{ "NI-23 another subsystem", 5, 260, 0, 0x66, 0x44, 1, NQN "x", -EPROTO, 0, 0 },
	{ "NI-23 no name", 5, 260, 0, 0x66, 0x44, 1, "", -EPROTO, 0, 0 },
};

static void ctrl(void **state)
{
	const struct ctrl_case *t = *state;
	struct nof_id_ctrl id = { .mdts = t->mdts,
		.sqes = t->sqes,
		.cqes = t->cqes,
		.ioccsz = dpu_le32_put(t->ioccsz),
		.icdoff = dpu_le16_put(t->icdoff),
		.sgls = dpu_le32_put(t->sgls),
		.fuses = dpu_le16_put(NOF_FUSES_COMPARE_WRITE),
		.acwu = dpu_le16_put(7) };
	struct nof_ident out;

	memset(id.mn, 0xff, sizeof(id.mn)); // no text at all
	memcpy(id.sn, "a\x1b[2Jb\xc3\x28             ", 20);
	memcpy(id.subnqn, t->subnqn, strlen(t->subnqn));
	assert_int_equal(nof_ident_ctrl(&id, 12, NQN, &out), t->ret);
	assert_string_equal(out.mn, "");
	assert_string_equal(out.sn, "a?[2Jb?(");
	assert_int_equal(out.acwu_blocks, 8);
	assert_true(out.compare_write);
	if (t->ret)
		return;
	assert_int_equal(out.transfer_max, t->transfer_max);
	assert_int_equal(out.capsule_max, t->capsule_max);
}

static void a_name_without_an_end(void **state)
{
	struct nof_id_ctrl id = { 0 };
	struct nof_ident out;

	(void)state;
	memset(id.subnqn, 'a', sizeof(id.subnqn));
	assert_int_equal(nof_ident_ctrl(&id, 12, NOF_DISCOVERY_NQN, &out), -EPROTO);
}

/* ---- Identify Namespace ---- */

static const struct ns_case {
	const char *name;
	uint64_t nsze, ncap;
	uint8_t flbas, nlbaf, lbads;
	uint16_t ms;
	int ret;
} ns_cases[] = {
	{ "512 bytes", 1000, 1000, 0, 0, 9, 0, 0 },
	{ "4 KiB, thin", 1000, 10, 0, 0, 12, 0, 0 },
	{ "the 17th format", 1000, 1000, 0x20, 16, 9, 0, 0 },
	{ "not there", 0, 0, 0, 0, 9, 0, -ENOENT },
	{ "NI-15 LBADS 0", 1000, 1000, 0, 0, 0, 0, -EPROTO },
	{ "NI-15 LBADS 8", 1000, 1000, 0, 0, 8, 0, -EPROTO },
	{ "NI-15 LBADS 63", 1000, 1000, 0, 0, 63, 0, -ENOTSUP },
	{ "NI-15 LBADS 255", 1000, 1000, 0, 0, 255, 0, -EPROTO },
	{ "8 KiB", 1000, 1000, 0, 0, 13, 0, -ENOTSUP },
	{ "NI-15 FLBAS 15", 1000, 1000, 15, 0, 9, 0, -EPROTO },
	{ "NI-15 NSZE 2^64-1", UINT64_MAX, 1, 0, 0, 9, 0, -EPROTO },
	{ "NSZE 2^55", 1ull << 55, 1, 0, 0, 9, 0, -EPROTO },
	{ "NI-15 NCAP above NSZE", 1000, 1001, 0, 0, 9, 0, -EPROTO },
	{ "NI-15 metadata 65535", 1000, 1000, 0, 0, 9, 65535, -ENOTSUP },
};

static void ns(void **state)
{
	const struct ns_case *t = *state;
	struct nof_id_ns id = { .nsze = dpu_le64_put(t->nsze),
		.ncap = dpu_le64_put(t->ncap),
		.flbas = t->flbas,
		.nlbaf = t->nlbaf };
	struct nof_ns_ident out;
	unsigned format = (t->flbas & 15u) | (t->flbas >> 5 & 3u) << 4;

	id.lbaf[format] = (struct nof_lbaf){ dpu_le16_put(t->ms), t->lbads, 0 };
	assert_int_equal(nof_ident_ns(&id, &out), t->ret);
	if (t->ret)
		return;
	assert_true(out.blocks == t->nsze);
	assert_int_equal(out.lba_shift, t->lbads);
}

static void descriptors(void **state)
{
	static const uint8_t nonsense[][8] = { { 0, 0, 0, 0 }, { 3, 255, 0, 0 }, { 3, 15, 0, 0, 9 },
		{ 9, 200, 0, 0 } };
	uint8_t list[NOF_IDENTIFY_LEN] = { NOF_NIDT_CSI, 1, 0, 0, 0, NOF_NIDT_UUID, 16 };
	struct nof_ns_ident id = { 0 };

	(void)state;
	memset(list + 9, 7, 16);
	nof_ident_desc(list, &id);
	assert_int_equal(id.uuid[0], 7);
	assert_int_equal(id.uuid[15], 7);
	for (unsigned i = 0; i < ARRAY_LEN(nonsense); i++) {
		struct nof_ns_ident none = { 0 };

		memset(list, 0xff, sizeof(list));
		memcpy(list, nonsense[i], sizeof(nonsense[i]));
		nof_ident_desc(list, &none);
		assert_int_equal(none.uuid[0], 0);
	}
}

/* ---- the ANA log ---- */

struct told {
	unsigned n;
	uint32_t grpid[8];
	enum nof_ana state[8];
};

static void tell(void *arg, uint32_t grpid, enum nof_ana state)
{
	struct told *t = arg;

	if (t->n < 8) {
		t->grpid[t->n] = grpid;
		t->state[t->n] = state;
	}
	t->n++;
}

static const struct ana_case {
	const char *name;
	uint16_t ngrps; // as the log says
	size_t groups; // that are there
	uint32_t grpid, nnsids;
	uint8_t state;
	int ret;
	unsigned told;
	enum nof_ana as;
} ana_cases[] = {
	{ "two groups", 2, 2, 1, 0, 2, 0, 2, NOF_ANA_NON_OPTIMIZED },
	{ "none", 0, 0, 1, 0, 1, 0, 0, 0 },
	{ "NI-16 state 7", 1, 1, 1, 0, 7, 0, 1, NOF_ANA_INACCESSIBLE },
	{ "NI-16 state 0", 1, 1, 1, 0, 0, 0, 1, NOF_ANA_INACCESSIBLE },
	{ "NI-16 groups 65535", 65535, 2, 1, 0, 1, -EPROTO, 2, NOF_ANA_OPTIMIZED },
	{ "NI-16 nnsids 2^32-1", 1, 1, 1, UINT32_MAX, 1, -EPROTO, 0, 0 },
	{ "NI-16 group above ANAGRPMAX", 1, 1, 33, 0, 1, -EPROTO, 0, 0 },
	{ "group 0", 1, 1, 0, 0, 1, -EPROTO, 0, 0 },
	{ "NI-16 shorter than its header", 1, 0, 1, 0, 1, -EPROTO, 0, 0 },
};

static void ana(void **state)
{
	const struct ana_case *t = *state;
	uint8_t log[16 + 2 * 32] = { 0 };
	struct nof_ana_log *h = (struct nof_ana_log *)log;
	struct told told = { 0 };

	h->ngrps = dpu_le16_put(t->ngrps);
	for (size_t i = 0; i < t->groups; i++) {
		struct nof_ana_group *g = (struct nof_ana_group *)(log + 16 + 32 * i);

		g->grpid = dpu_le32_put(t->grpid);
		g->nnsids = dpu_le32_put(t->nnsids);
		g->state = t->state;
	}
	assert_int_equal(nof_ident_ana(log, 16 + 32 * t->groups, 32, tell, &told), t->ret);
	assert_int_equal(told.n, t->told);
	if (t->told)
		assert_int_equal(told.state[0], t->as);
	for (size_t n = 0; n < 16; n++) {
		told.n = 0;
		(void)nof_ident_ana(log, n, 32, tell, &told);
		assert_int_equal(told.n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_without_an_end),
		cmocka_unit_test(descriptors),
	};
	int failed = 0;

	RUN_ROWS(ctrl_cases, ctrl, failed);
	RUN_ROWS(ns_cases, ns, failed);
	RUN_ROWS(ana_cases, ana, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
