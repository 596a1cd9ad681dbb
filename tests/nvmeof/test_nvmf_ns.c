// SPDX-License-Identifier: Apache-2.0
/* Namespaces that come, go, come back as others, and cannot do what they say. */
#include "nvmf_rig.h"

#include "host.h"
#include "tgt.h"
#include "tgt_ctrl.h"

static const uint8_t theirs[16] = { 1, 2, 3 }, other[16] = { 4, 5, 6 }, third[16] = { 7 };

static void read_again(void *arg)
{
	++*(unsigned *)arg;
}

static void ns_add(struct nvmf_rig *r, uint32_t nsid, const uint8_t uuid[16])
{
	struct nof_tgt_ns_conf ns = { .nsid = nsid, .vol = r->disk };

	memcpy(ns.uuid, uuid, sizeof(ns.uuid));
	assert_int_equal(nof_tgt_ns_add(r->t, NQN, &ns, NULL), 0);
}

static void ns_del(struct nvmf_rig *r, uint32_t nsid)
{
	while (nof_tgt_ns_del(r->t, NQN, nsid) == -EBUSY)
		rig_poll(r);
}

static struct vol *open_vol(struct nvmf_rig *r)
{
	struct vol *v = NULL;
	const struct vol_nvmf_conf conf = {
		.name = "v", .host = r->h, .subnqn = NQN, .nsid = 1, .uuid = { 1, 2, 3 }
	};

	assert_int_equal(vol_nvmf_open(&conf, &v), 0);
	return v;
}

/* Whoever watches hears of each change, and finds the namespace whole. */
static void come_and_go(void **state)
{
	struct nof_ctrl_conf conf;
	struct nof_ns_info ns;
	struct nvmf_rig r;
	struct link l;
	unsigned told = 0;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	memset(&l, 0, sizeof(l));
	assert_int_equal(nof_ctrl_create(r.h, &conf, link_up, &l, &l.c), 0);
	nof_ctrl_ns_watch(l.c, read_again, &told);
	POLL_UNTIL(&r, l.told);
	assert_int_equal(told, 1); // connected
	assert_int_equal(nof_ctrl_ns_of(l.c, 7, &ns), -ENOENT);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *uuid = i ? other : third;

		ns_add(&r, 7, uuid);
		POLL_UNTIL(&r, nof_ctrl_ns_of(l.c, 7, &ns) == 0 && ns.usable);
		assert_memory_equal(ns.uuid, uuid, 16); // never that of the one before
		assert_true(told >= 2 + 2 * i);
		ns_del(&r, 7);
		POLL_UNTIL(&r, nof_ctrl_ns_of(l.c, 7, &ns) == -ENOENT);
		assert_true(told >= 3 + 2 * i);
	}
	nof_ctrl_reset(l.c);
	told = 0;
	POLL_UNTIL(&r, told == 1);
	nof_ctrl_ns_watch(l.c, NULL, NULL);
	ns_add(&r, 7, third);
	POLL_UNTIL(&r, nof_ctrl_ns_of(l.c, 7, &ns) == 0);
	assert_int_equal(told, 1);
	ns_del(&r, 7);
	link_close(&r, &l);
	rig_close(&r);
}

/* A request to a namespace that is away waits; another one in its place does not get it. */
static void another_in_its_place(void **state)
{
	static const uint8_t zero[4096];
	struct nof_ctrl_conf conf;
	uint8_t out[4096];
	struct nvmf_rig r;
	struct vol_chan *c;
	struct req q = { 0 };
	struct vol *v;
	struct link l;
	unsigned told = 0;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	nof_ctrl_ns_watch(l.c, read_again, &told);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	ns_del(&r, 1);
	memset(out, 0xaa, sizeof(out));
	req_submit(c, &q, VOL_WRITE, 0, out, sizeof(out)); // the host does not know yet
	POLL_UNTIL(&r, atomic_load(&l.c->ns_doubt));
	ns_add(&r, 1, other);
	told = 0;
	POLL_UNTIL(&r, told > 0);
	for (unsigned i = 0; i < 1000; i++)
		rig_poll(&r);
	assert_false(q.done);
	ns_del(&r, 1);
	told = 0;
	POLL_UNTIL(&r, told > 0);
	assert_false(q.done);
	ns_add(&r, 1, theirs);
	POLL_UNTIL(&r, q.done);
	assert_int_equal(q.err, 0);
	assert_int_equal(req_do(&r, c, VOL_READ, 0, out, sizeof(out)), 0);
	assert_memory_not_equal(out, zero, sizeof(out));
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

/* It stays away for longer than requests wait. */
static void away_for_too_long(void **state)
{
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct vol_chan *c;
	struct req q = { 0 };
	struct vol *v;
	struct link l;
	uint8_t buf[512];
	uint64_t begun;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.fast_io_fail_timeout_s = 1;
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	begun = dpu_now_ns();
	ns_del(&r, 1);
	req_submit(c, &q, VOL_READ, 0, buf, sizeof(buf));
	POLL_UNTIL(&r, q.done);
	assert_int_equal(q.err, -EIO);
	assert_true(dpu_now_ns() - begun >= 1000000000ull);
	nof_ctrl_reset(l.c); // another connection to where it is not
	POLL_UNTIL(&r, link_state(&l) != NOF_CTRL_LIVE);
	POLL_UNTIL(&r, link_state(&l) == NOF_CTRL_LIVE);
	assert_int_equal(req_do(&r, c, VOL_READ, 0, buf, sizeof(buf)), -EIO);
	ns_add(&r, 1, theirs);
	POLL_UNTIL(&r, req_do(&r, c, VOL_READ, 0, buf, sizeof(buf)) == 0);
	ns_del(&r, 1); // closed while it is away
	POLL_UNTIL(&r, nof_ctrl_ns_of(l.c, 1, &(struct nof_ns_info){ 0 }) == -ENOENT);
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
}

/* A target that has an event each time it is asked for one: ten scans in a second, no more. */
static void storm(void **state)
{
	struct nof_tgt_subsys *sub;
	struct nof_ctrl_stats before, after;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct link l;
	unsigned told = 0;
	uint64_t end;

	(void)state;
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	link_open(&r, &l, &conf);
	nof_ctrl_ns_watch(l.c, read_again, &told);
	sub = tgt_subsys_find(r.t, NQN);
	nof_ctrl_stats(l.c, &before);
	end = dpu_now_ns() + 1000000000ull;
	while (dpu_now_ns() < end) {
		TAILQ_FIRST(&sub->ctrls)->events_masked = 0;
		nof_tgt_vol_resized(r.t, r.disk);
		rig_poll(&r);
	}
	nof_ctrl_stats(l.c, &after);
	assert_in_range(told, 1, 11);
	assert_in_range(after.commands - before.commands, 5, 100);
	link_close(&r, &l);
	rig_close(&r);
}

/* Two controllers that do not say the same: what is safe on both, whichever was read last. */
static void both_paths_count(void **state)
{
	const unsigned last = (unsigned)(uintptr_t)*state;
	struct nof_ctrl_conf conf;
	struct vol_info info;
	struct nvmf_rig r;
	struct link l[2];
	struct vol *v;
	unsigned told = 0;

	rig_open(&r, NULL);
	rig_listen(&r, 1);
	for (unsigned i = 0; i < 2; i++) {
		conf = link_conf(&r, i);
		link_open(&r, &l[i], &conf);
	}
	v = open_vol(&r);
	vol_watch(v, read_again, &told);
	vol_info(v, &info);
	assert_true(info.can_discard && info.can_zero);
	l[1].c->id.oncs &= ~NOF_ONCS_DSM;
	l[1].c->id.volatile_cache = true;
	l[0].c->id.oncs &= ~NOF_ONCS_WRITE_ZEROES;
	nof_ctrl_rescan(l[!last].c);
	POLL_UNTIL(&r, told == 1);
	nof_ctrl_rescan(l[last].c);
	for (unsigned i = 0; i < 2; i++)
		POLL_UNTIL(&r, !l[i].c->scan_timer.group && !l[i].c->scanning);
	vol_info(v, &info);
	assert_false(info.can_discard);
	assert_false(info.can_zero);
	assert_true(info.volatile_cache);
	assert_int_equal(told, 1); // the second one had nothing new
	link_close(&r, &l[1]); // what only the other one could not
	vol_info(v, &info);
	assert_true(info.can_discard);
	assert_false(info.can_zero);
	assert_true(info.volatile_cache); // there may be something in it
	assert_int_equal(told, 2);
	vol_close(v);
	link_close(&r, &l[0]);
	rig_close(&r);
}

/* It says that it has Write Zeroes, and has not: zeros are written. */
static void says_more_than_it_does(void **state)
{
	enum { LEN = 1 << 20 };
	uint8_t *b = malloc(LEN);
	struct nof_tgt_subsys *sub;
	struct nof_ctrl_conf conf;
	struct nvmf_rig r;
	struct vol_chan *c;
	struct vol *v;
	struct link l;

	(void)state;
	assert_non_null(b);
	rig_open(&r, NULL);
	conf = link_conf(&r, 0);
	conf.ddgst = true;
	link_open(&r, &l, &conf);
	v = open_vol(&r);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	memset(b, 0xaa, LEN);
	assert_int_equal(req_do(&r, c, VOL_WRITE, 0, b, LEN), 0);
	sub = tgt_subsys_find(r.t, NQN);
	sub->ns[1]->info.can_zero = false;
	for (unsigned i = 0; i < 2; i++) { // found out; known
		assert_int_equal(req_do(&r, c, VOL_WRITE, 0, b, LEN), 0);
		assert_int_equal(req_do(&r, c, VOL_WRITE_ZEROES, 512, NULL, LEN - 1024), 0);
		assert_int_equal(req_do(&r, c, VOL_READ, 0, b, LEN), 0);
		assert_int_equal(b[511], 0xaa);
		for (unsigned k = 512; k < LEN - 512; k++)
			assert_int_equal(b[k], 0);
		assert_int_equal(b[LEN - 512], 0xaa);
		memset(b, 0xaa, LEN);
	}
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &l);
	rig_close(&r);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(come_and_go),
		cmocka_unit_test(another_in_its_place),
		cmocka_unit_test(away_for_too_long),
		cmocka_unit_test(storm),
		cmocka_unit_test(says_more_than_it_does),
		cmocka_unit_test_prestate(both_paths_count, (void *)0),
		cmocka_unit_test_prestate(both_paths_count, (void *)1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
