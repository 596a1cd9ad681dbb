// SPDX-License-Identifier: Apache-2.0
/* Discovery logs: entries that lie, logs that never stand still, and our own target's. */
#include "nvmf_rig.h"

#include "discovery.h"

static const struct entry_case {
	const char *name;
	uint8_t trtype, adrfam, subtype;
	const char *traddr, *trsvcid, *subnqn;
	int ret;
} entries[] = {
	{ "a subsystem", 3, 1, 2, "192.0.2.1", "4420", "nqn.a", 0 },
	{ "padded with spaces", 3, 1, 2, "192.0.2.1       ", "4420     ", "nqn.a   ", 0 },
	{ "IPv6", 3, 2, 2, "2001:db8::1", "65535", "nqn.a", 0 },
	{ "a referral", 3, 1, 1, "192.0.2.1", "8009", NOF_DISCOVERY_NQN, 0 },
	{ "RDMA", 1, 1, 2, "192.0.2.1", "4420", "nqn.a", -ENOTSUP },
	{ "subtype 4", 3, 1, 4, "192.0.2.1", "4420", "nqn.a", -ENOTSUP },
	{ "another family", 3, 3, 2, "192.0.2.1", "4420", "nqn.a", -ENOTSUP },
	{ "NI-17 path characters", 3, 1, 2, "../../etc/passwd", "4420", "nqn.a", -EPROTO },
	{ "a name", 3, 1, 2, "target.example", "4420", "nqn.a", -EPROTO },
	{ "IPv6 that says IPv4", 3, 1, 2, "2001:db8::1", "4420", "nqn.a", -EPROTO },
	{ "no address", 3, 1, 2, "", "4420", "nqn.a", -EPROTO },
	{ "port 0", 3, 1, 2, "192.0.2.1", "0", "nqn.a", -EPROTO },
	{ "port 65536", 3, 1, 2, "192.0.2.1", "65536", "nqn.a", -EPROTO },
	{ "port 4294971716", 3, 1, 2, "192.0.2.1", "4294971716", "nqn.a", -EPROTO },
	{ "port -1", 3, 1, 2, "192.0.2.1", "-1", "nqn.a", -EPROTO },
	{ "no port", 3, 1, 2, "192.0.2.1", "", "nqn.a", -EPROTO },
	{ "no NQN", 3, 1, 2, "192.0.2.1", "4420", "", -EPROTO },
	{ "a name that is no NQN", 3, 1, 2, "192.0.2.1", "4420", "eui.1", -EPROTO },
};

static void entry(void **state)
{
	const struct entry_case *t = *state;
	struct nof_disc_entry e = {
		.trtype = t->trtype, .adrfam = t->adrfam, .subtype = t->subtype
	};
	struct nof_disc_info out;

	memcpy(e.traddr, t->traddr, strlen(t->traddr));
	memcpy(e.trsvcid, t->trsvcid, strlen(t->trsvcid));
	memcpy(e.subnqn, t->subnqn, strlen(t->subnqn));
	assert_int_equal(nof_disc_entry(&e, &out), t->ret);
	if (!t->ret)
		assert_int_equal(out.referral, t->subtype != 2);
	memset(e.traddr, '1', sizeof(e.traddr)); // NI-17: without an end
	assert_true(nof_disc_entry(&e, &out) < 0);
	memset(e.subnqn, 'n', sizeof(e.subnqn));
	assert_true(nof_disc_entry(&e, &out) < 0);
}

/* How many reads a log takes whose counter and number are what a target says. */
static unsigned reads(uint64_t numrec, bool moves, unsigned *n)
{
	static uint8_t buf[65536];
	struct nof_disc d = { 0 };
	uint64_t off, genctr = 0;
	uint32_t len;
	unsigned count = 0;
	int ret;

	nof_disc_begin(&d);
	do {
		struct nof_disc_log *h = (struct nof_disc_log *)buf;

		nof_disc_next(&d, sizeof(buf), &off, &len);
		assert_true(len > 0 && len <= sizeof(buf) && len % 1024 == 0);
		assert_true(off <= 1024ull * NOF_DISC_MAX);
		memset(buf, 0, sizeof(buf));
		if (off == 0) {
			genctr += moves;
			h->genctr = dpu_le64_put(genctr);
			h->numrec = dpu_le64_put(numrec);
		}
		ret = nof_disc_take(&d, buf);
		assert_in_range(++count, 1, 1000);
	} while (ret == 1);
	assert_int_equal(ret, 0);
	*n = d.n;
	free(d.entries);
	return count;
}

static void logs_that_lie(void **state)
{
	unsigned n;

	(void)state;
	assert_int_equal(reads(0, false, &n), 1);
	assert_int_equal(reads(1, false, &n), 3);
	assert_int_equal(reads(64, false, &n), 3);
	assert_int_equal(reads(65, false, &n), 4);
	assert_int_equal(reads(1ull << 63, false, &n), 2 + NOF_DISC_MAX / 64); // NI-17
	assert_int_equal(reads(1, true, &n), 1 + 2 * NOF_DISC_TRIES); // NI-17
	assert_int_equal(n, 0);
}

static void changed(void *arg)
{
	++*(unsigned *)arg;
}

static void of_our_target(void **state)
{
	struct nof_ctrl_conf conf;
	struct nof_disc_info e;
	struct nvmf_rig r;
	struct link l;
	unsigned told = 0, n;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.subnqn = NOF_DISCOVERY_NQN;
	link_open(&r, &l, &conf);
	assert_int_equal(l.err, 0);
	nof_ctrl_disc_watch(l.c, changed, &told);
	for (n = 0; nof_ctrl_disc(l.c, n, &e) == 0 && strcmp(e.subnqn, NQN) != 0; n++)
		;
	assert_string_equal(e.subnqn, NQN);
	assert_string_equal(e.traddr, "127.0.0.1");
	assert_int_equal(e.trsvcid, r.port[0]);
	assert_false(e.referral);
	rig_listen(&r, 1); // the connection stays, and hears of it
	POLL_UNTIL(&r, told > 0);
	for (n = 0; nof_ctrl_disc(l.c, n, &e) == 0 && e.trsvcid != r.port[1]; n++)
		;
	assert_int_equal(e.trsvcid, r.port[1]);
	assert_string_equal(e.traddr, "127.0.0.2");
	link_close(&r, &l);
	rig_close(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logs_that_lie),
		cmocka_unit_test(of_our_target),
	};
	int failed = 0;

	RUN_ROWS(entries, entry, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
