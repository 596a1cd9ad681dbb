// SPDX-License-Identifier: Apache-2.0
/* The target's controllers: properties, identify, events, fused commands, who may come. */
#include "test.h"

#include "dpu_log.h"
#include "tgt_check.h"

static uint8_t data[4096];

/* ---- admin commands ---- */

/* NT-20 */
static void properties(void **state)
{
	static struct host h;
	uint64_t v = 0, csts;
	struct rig g;

	(void)state;
	rig_create(&g);
	host_open(&h, &g);
	host_icreq(&h, 0, 0);
	assert_int_equal(host_connect(&h, 0, 31, RIG_NQN, RIG_HOST, &v), 0);
	h.cntlid = (uint16_t)v;
	for (unsigned size = 0; size < 8; size++) {
		v = 0;
		assert_int_equal(
			sc(host_property(&h, NOF_FC_PROPERTY_GET, 0xfffffffcU, (uint8_t)size, &v)),
			NOF_SC_INVALID_FIELD);
		v = 0;
		assert_int_equal(
			sc(host_property(&h, NOF_FC_PROPERTY_SET, 0xfffffffcU, (uint8_t)size, &v)),
			NOF_SC_INVALID_FIELD);
		v = 0;
		assert_int_equal(
			sc(host_property(&h, NOF_FC_PROPERTY_GET, NOF_PROP_CAP, (uint8_t)size, &v)),
			size == NOF_PROP_8 ? 0 : NOF_SC_INVALID_FIELD);
	}
	v = NOF_CC_ENTRY_SIZES | NOF_CC_EN | 1U << NOF_CC_MPS_SHIFT;
	assert_int_equal(sc(host_property(&h, NOF_FC_PROPERTY_SET, NOF_PROP_CC, 0, &v)),
		NOF_SC_INVALID_FIELD);
	v = NOF_CC_EN; // entry sizes are missing
	assert_int_equal(sc(host_property(&h, NOF_FC_PROPERTY_SET, NOF_PROP_CC, 0, &v)),
		NOF_SC_INVALID_FIELD);
	for (unsigned i = 0; i < 10000; i++) {
		v = NOF_CC_ENTRY_SIZES | (i & 1 ? 0 : NOF_CC_EN);
		assert_int_equal(host_property(&h, NOF_FC_PROPERTY_SET, NOF_PROP_CC, 0, &v), 0);
		csts = 0;
		assert_int_equal(
			host_property(&h, NOF_FC_PROPERTY_GET, NOF_PROP_CSTS, 0, &csts), 0);
		assert_int_equal(csts, i & 1 ? 0 : NOF_CSTS_RDY);
	}
	host_close(&h);
	settle(&g, 0);
	rig_destroy(&g);
}

/* NT-20: before CSTS.RDY no I/O queue, no command; a reset ends the I/O queues. */
static void not_ready(void **state)
{
	static struct host admin, h;
	uint64_t v = 0;
	struct nof_sqe c;
	struct rig g;

	(void)state;
	rig_create(&g);
	host_open(&admin, &g);
	host_icreq(&admin, 0, 0);
	assert_int_equal(host_connect(&admin, 0, 31, RIG_NQN, RIG_HOST, &v), 0);
	admin.cntlid = (uint16_t)v;
	c = host_sqe(&admin, NOF_ADM_IDENTIFY, 0);
	c.cdw10 = dpu_le32_put(NOF_CNS_CTRL);
	sgl_transport(&c, 4096);
	assert_true(host_capsule(&admin, &c, NULL, 0));
	assert_int_equal(sc(host_wait(&admin, NULL, NULL)), NOF_SC_SEQUENCE);
	host_open(&h, &g);
	host_icreq(&h, 0, 0);
	h.cntlid = admin.cntlid;
	assert_int_equal(sc(host_connect(&h, 1, 31, RIG_NQN, RIG_HOST, NULL)), NOF_SC_SEQUENCE);
	c = host_rw_sqe(&h, NOF_NVM_READ, 1, 0, 1); // before its Connect
	sgl_transport(&c, 512);
	assert_true(host_capsule(&h, &c, NULL, 0));
	assert_int_equal(sc(host_wait(&h, NULL, NULL)), NOF_SC_SEQUENCE);
	assert_int_equal(host_enable(&admin), 0);
	assert_int_equal(host_connect(&h, 1, 31, RIG_NQN, RIG_HOST, NULL), 0);
	assert_int_equal(host_read(&h, 1, 0, 1, 512), 0);
	v = NOF_CC_ENTRY_SIZES;
	assert_int_equal(host_property(&admin, NOF_FC_PROPERTY_SET, NOF_PROP_CC, 0, &v), 0);
	assert_false(host_pdu(&h));
	host_close(&h);
	settle(&g, 1);
	v = 1;
	assert_int_equal(host_property(&admin, NOF_FC_PROPERTY_GET, NOF_PROP_CSTS, 0, &v), 0);
	assert_int_equal(v, 0);
	host_close(&admin);
	settle(&g, 0);
	rig_destroy(&g);
}

static uint16_t identify(struct host *h, uint32_t cns, uint32_t nsid)
{
	struct nof_sqe c = host_sqe(h, NOF_ADM_IDENTIFY, nsid);

	c.cdw10 = dpu_le32_put(cns);
	sgl_transport(&c, 4096);
	memset(h->data, 0xff, 4096);
	assert_true(host_capsule(h, &c, NULL, 0));
	return sc(host_wait(h, NULL, NULL));
}

static bool zeros(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

/* NT-22: every CNS for namespaces that are there, could be there, and cannot. */
static void identify_all(void **state)
{
	static const uint32_t nsids[] = { 0, 1, 2, 3, 32, 33, 0xfffffffeU, 0xffffffffU };
	static struct host h;
	struct rig g;

	(void)state;
	rig_create(&g);
	host_admin(&h, &g, 0);
	for (uint32_t cns = 0; cns < 256; cns++) {
		for (size_t i = 0; i < ARRAY_LEN(nsids); i++) {
			uint32_t nsid = nsids[i];
			uint16_t want = NOF_SC_INVALID_FIELD, got = identify(&h, cns, nsid);
			bool in = nsid >= 1 && nsid <= 32, there = nsid == 1 || nsid == 2;

			if (cns == 0 || cns == 5 || cns == 8)
				want = in ? 0 : NOF_SC_INVALID_NS;
			else if (cns == 1 || cns == 6)
				want = 0;
			else if (cns == 2 || cns == 7)
				want = nsid < 0xfffffffeU ? 0 : NOF_SC_INVALID_NS;
			else if (cns == 3)
				want = there ? 0 : NOF_SC_INVALID_NS;
			assert_int_equal(got, want);
			if (!got)
				assert_int_equal(h.data_len, 4096);
			if (!got && cns == 0 && !there)
				assert_true(zeros(h.data, 4096));
		}
	}
	assert_int_equal(identify(&h, NOF_CNS_NS_LIST, 0), 0);
	assert_int_equal(h.data[0], 1);
	assert_int_equal(h.data[4], 2);
	assert_true(zeros(h.data + 8, 4088));
	// Of 32 KiB at once, in blocks of each.
	for (uint32_t nsid = 1; nsid <= 2; nsid++) {
		const struct nof_id_ns *id = (const struct nof_id_ns *)(const void *)h.data;

		assert_int_equal(identify(&h, NOF_CNS_NS, nsid), 0);
		assert_true(id->nsfeat & NOF_NSFEAT_ATOMIC);
		assert_int_equal(dpu_le16_get(id->nacwu), nsid == 1 ? 63 : 7);
	}
	assert_int_equal(identify(&h, NOF_CNS_NS_DESC, 1), 0);
	assert_int_equal(h.data[0], NOF_NIDT_UUID);
	assert_true(zeros(h.data + 4 + 16 + 4 + 1, 4000));
	host_close(&h);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* NT-28: events over their limit, aborts without end. */
static void events_and_aborts(void **state)
{
	static struct host h;
	uint64_t result;
	struct nof_sqe c;
	struct rig g;

	(void)state;
	rig_create(&g);
	host_admin(&h, &g, 0);
	for (unsigned i = 0; i <= TGT_AERL + 1; i++) {
		c = host_sqe(&h, NOF_ADM_AER, 0);
		assert_true(host_capsule(&h, &c, NULL, 0));
	}
	assert_int_equal(sc(host_wait(&h, NULL, NULL)), NOF_SC_AER_LIMIT);
	for (unsigned i = 0; i < 10000; i++) {
		c = host_sqe(&h, NOF_ADM_ABORT, 0);
		c.cdw10 = dpu_le32_put(i << 16);
		assert_true(host_capsule(&h, &c, NULL, 0));
		assert_int_equal(host_wait(&h, NULL, &result), 0);
		assert_int_equal(result, 1);
	}
	host_close(&h);
	settle(&g, 0);
	rig_destroy(&g);
}

/* ---- fused commands ---- */

static void send_half(struct host *h, uint8_t opc, uint8_t fuse, uint64_t slba, uint8_t seed)
{
	struct nof_sqe c = host_rw_sqe(h, opc, 1, slba, 8);
	static uint8_t block[4096];

	memset(block, seed, sizeof(block));
	c.flags |= fuse;
	sgl_capsule(&c, 4096);
	assert_true(host_capsule(h, &c, block, 4096));
}

static uint16_t next_status(struct host *h)
{
	assert_true(host_pdu(h));
	assert_int_equal(h->pdu.ch.type, NOF_PDU_RESP);
	return (uint16_t)(dpu_le16_get(h->pdu.resp.cqe.status) >> 1 & NOF_SC_MASK);
}

/* NT-28 */
static void fused(void **state)
{
	static struct host admin, h;
	struct vol_stats s;
	struct nof_sqe c;
	struct rig g;

	(void)state;
	rig_create(&g);
	host_admin(&admin, &g, 0);
	host_io(&h, &admin, 1, 0);
	memset(data, 1, 4096);
	assert_int_equal(host_write(&h, IN_CAPSULE, 1, 0, 8, 512, data), 0);
	// As it should be: equal, then written.
	send_half(&h, NOF_NVM_COMPARE, NOF_FUSE_FIRST, 0, 1);
	send_half(&h, NOF_NVM_WRITE, NOF_FUSE_SECOND, 0, 2);
	assert_int_equal(next_status(&h), 0);
	assert_int_equal(next_status(&h), 0);
	assert_int_equal(host_read(&h, 1, 0, 8, 512), 0);
	assert_int_equal(h.data[4095], 2);
	// Not equal: both fail, nothing is written. Answers come in the order of the halves.
	send_half(&h, NOF_NVM_COMPARE, NOF_FUSE_FIRST, 0, 1);
	send_half(&h, NOF_NVM_WRITE, NOF_FUSE_SECOND, 0, 3);
	assert_int_equal(next_status(&h), NOF_SC_COMPARE);
	assert_int_equal(next_status(&h), NOF_SC_FUSED_FAILED);
	assert_int_equal(host_read(&h, 1, 0, 8, 512), 0);
	assert_int_equal(h.data[0], 2);
	// The first alone; the second alone; other blocks; a first half that is refused.
	send_half(&h, NOF_NVM_COMPARE, NOF_FUSE_FIRST, 0, 2);
	send_half(&h, NOF_NVM_COMPARE, 0, 0, 2);
	assert_int_equal(next_status(&h), NOF_SC_FUSED_MISSING);
	assert_int_equal(next_status(&h), 0);
	send_half(&h, NOF_NVM_WRITE, NOF_FUSE_SECOND, 0, 4);
	assert_int_equal(next_status(&h), NOF_SC_FUSED_MISSING);
	send_half(&h, NOF_NVM_COMPARE, NOF_FUSE_FIRST, 0, 2);
	send_half(&h, NOF_NVM_WRITE, NOF_FUSE_SECOND, 8, 4);
	assert_int_equal(next_status(&h), NOF_SC_FUSED_FAILED);
	assert_int_equal(next_status(&h), NOF_SC_INVALID_FIELD);
	send_half(&h, NOF_NVM_COMPARE, NOF_FUSE_FIRST, 1ULL << 40, 2);
	assert_int_equal(next_status(&h), NOF_SC_LBA_RANGE);
	send_half(&h, NOF_NVM_WRITE, NOF_FUSE_SECOND, 0, 4);
	assert_int_equal(next_status(&h), NOF_SC_FUSED_FAILED);
	// Longer than what is atomic.
	c = host_rw_sqe(&h, NOF_NVM_COMPARE, 1, 0, 65);
	c.flags |= NOF_FUSE_FIRST;
	sgl_transport(&c, 65 * 512);
	assert_true(host_capsule(&h, &c, NULL, 0));
	assert_int_equal(next_status(&h), NOF_SC_ATOMIC_EXCEEDED);
	send_half(&h, NOF_NVM_WRITE, NOF_FUSE_SECOND, 0, 4);
	assert_int_equal(next_status(&h), NOF_SC_FUSED_FAILED);
	assert_int_equal(host_read(&h, 1, 0, 16, 512), 0);
	assert_int_equal(h.data[0], 2);
	assert_int_equal(h.data[4096], 0);
	vol_stats(g.ram, &s);
	assert_int_equal(s.compares, 1);
	assert_int_equal(s.miscompares, 1);
	// It ends between the halves.
	send_half(&h, NOF_NVM_COMPARE, NOF_FUSE_FIRST, 0, 2);
	host_close(&h);
	host_close(&admin);
	settle(&g, 0);
	check_pools(&g);
	rig_destroy(&g);
}

/* ---- who may come: NT-31 ---- */

struct nqn_row {
	const char *name, *host;
	enum nof_sc sc;
};
static const struct nqn_row nqn_rows[] = {
	{ "NT-31 the host itself", "nqn.2026-11.test:a", NOF_SC_SUCCESS },
	{ "NT-31 other case", "nqn.2026-11.test:A", NOF_SC_CONNECT_HOST },
	{ "NT-31 trailing byte", "nqn.2026-11.test:a ", NOF_SC_CONNECT_HOST },
	{ "NT-31 prefix", "nqn.2026-11.test:", NOF_SC_CONNECT_HOST },
	{ "NT-31 longer", "nqn.2026-11.test:ab", NOF_SC_CONNECT_HOST },
	{ "NT-31 empty", "", NOF_SC_CONNECT_PARAM },
};

/* Where any host may come its name is one all the same: operators are shown it. */
static void any_host_has_a_name(void **state)
{
	static const char *const bad[] = { "nqn.\xff", "x", "nqn.a b", "nqn.a\n" };
	uint64_t result;
	struct rig g;

	(void)state;
	rig_create(&g);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		static struct host h;

		host_open(&h, &g);
		host_icreq(&h, 0, 0);
		assert_int_equal(sc(host_connect(&h, 0, 31, NOF_DISCOVERY_NQN, bad[i], &result)),
			NOF_SC_CONNECT_PARAM);
		host_close(&h);
	}
	settle(&g, 0);
	rig_destroy(&g);
}

static void host_names(void **state)
{
	const struct nqn_row *row = *state;
	static struct host admin, h;
	uint64_t result;
	struct rig g;

	rig_create(&g);
	rig_must(nof_tgt_allow_any_host(g.t, RIG_NQN, false));
	rig_must(nof_tgt_host_add(g.t, RIG_NQN, "nqn.2026-11.test:a"));
	rig_must(nof_tgt_host_add(g.t, RIG_NQN, "nqn.2026-11.test:b"));
	rig_must(nof_tgt_ns_add(g.t, RIG_NQN,
		&(struct nof_tgt_ns_conf){ .vol = g.null, .nsid = 5, .masked = true }, NULL));
	rig_must(nof_tgt_ns_host_add(g.t, RIG_NQN, 5, "nqn.2026-11.test:b"));
	host_open(&admin, &g);
	host_icreq(&admin, 0, 0);
	assert_int_equal(sc(host_connect(&admin, 0, 31, RIG_NQN, row->host, &result)), row->sc);
	if (!row->sc) {
		admin.cntlid = (uint16_t)result;
		assert_int_equal(host_enable(&admin), 0);
		// Another host may not join its association, nor it see what is another's.
		host_open(&h, &g);
		host_icreq(&h, 0, 0);
		h.cntlid = admin.cntlid;
		assert_int_equal(sc(host_connect(&h, 1, 31, RIG_NQN, "nqn.2026-11.test:b", NULL)),
			NOF_SC_CONNECT_PARAM);
		assert_int_equal(host_connect(&h, 1, 31, RIG_NQN, row->host, NULL), 0);
		assert_int_equal(sc(host_read(&h, 5, 0, 1, 4096)), NOF_SC_INVALID_NS);
		assert_int_equal(identify(&admin, NOF_CNS_NS, 5), 0);
		assert_true(zeros(admin.data, 4096));
		rig_must(nof_tgt_ns_host_add(g.t, RIG_NQN, 5, row->host));
		assert_int_equal(host_read(&h, 5, 0, 1, 4096), 0);
		rig_must(nof_tgt_host_del(g.t, RIG_NQN, row->host)); // and its associations end
		assert_false(host_pdu(&h));
		host_close(&h);
	}
	host_close(&admin);
	settle(&g, 0);
	rig_destroy(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(properties),
		cmocka_unit_test(any_host_has_a_name),
		cmocka_unit_test(not_ready),
		cmocka_unit_test(identify_all),
		cmocka_unit_test(events_and_aborts),
		cmocka_unit_test(fused),
	};
	int failed = 0;

	dpu_log_level_set(DPU_LOG_ERR);
	RUN_ROWS(nqn_rows, host_names, failed);
	failed |= cmocka_run_group_tests_name("rules", tests, NULL, NULL);
	return failed;
}
