// SPDX-License-Identifier: Apache-2.0
/*
 * Compare-and-writes from our host to our target, by fused pairs: with full queues, over a relay,
 * with errors, and with paths that are cut at any moment. What the volume behind the target has
 * seen is the ledger: a pair is carried out once at most, and no lost one later than it was told.
 */
#include "nvmf_rig.h"

#include "dpu_log.h"
#include "fake_vol.h"
#include "host.h"

#define SIZE (1u << 20)
#define KATO_MS 400U
#define ROUNDS 1500U

static uint64_t now_ns = 1000000000;

static uint64_t moving_clock(void)
{
	return now_ns += 400000;
}

static uint64_t seed = 88172645463325252ULL;

static unsigned next_random(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % below;
}

struct bench {
	struct nvmf_rig r;
	struct link l[2];
	unsigned n_links;
	struct fake_vol *f; // behind namespace 2
	struct vol *v;
	struct vol_chan *c[WORKERS];
};

/* queue_size: what the target grants, 0: its own. */
static void bench_open(struct bench *b, unsigned links, uint16_t queues, uint16_t queue_size)
{
	const struct nof_tgt_opts opts = { .max_io_queues = queues, .max_queue_depth = queue_size };
	struct vol_nvmf_conf vc = { .name = "v", .subnqn = NQN, .nsid = 2 };

	memset(b, 0, sizeof(*b));
	rig_open(&b->r, &opts);
	b->f = fake_open(SIZE, 512);
	b->f->at_once = true;
	assert_int_equal(nof_tgt_ns_add(b->r.t, NQN,
				 &(struct nof_tgt_ns_conf){ .vol = &b->f->v, .nsid = 2 }, NULL),
		0);
	b->n_links = links;
	for (unsigned i = 0; i < links; i++) {
		struct nof_ctrl_conf conf;

		if (i > 0)
			rig_listen(&b->r, i);
		conf = link_conf(&b->r, i);
		conf.kato_ms = KATO_MS;
		conf.reconnect_delay_ms = 5;
		link_open(&b->r, &b->l[i], &conf);
		assert_int_equal(b->l[i].err, 0);
	}
	vc.host = b->r.h;
	assert_int_equal(vol_nvmf_open(&vc, &b->v), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(vol_chan_open(b->v, b->r.hw[i], &b->c[i]), 0);
}

static void bench_close(struct bench *b)
{
	for (unsigned i = 0; i < WORKERS; i++)
		vol_chan_close(b->c[i]);
	vol_close(b->v);
	for (unsigned i = 0; i < b->n_links; i++)
		link_close(&b->r, &b->l[i]);
	while (nof_tgt_ns_del(b->r.t, NQN, 2) == -EBUSY)
		rig_poll(&b->r);
	rig_close(&b->r);
	fake_close(&b->f->v);
}

/* A request with its data: one block, or some of them. */
struct pair {
	struct req q; // first
	struct iovec cmp[2];
	uint8_t old[8192], new[8192];
};

static void pair_submit(struct vol_chan *c, struct pair *p, uint64_t off, uint32_t len)
{
	p->cmp[0] = (struct iovec){ p->old, 5 };
	p->cmp[1] = (struct iovec){ p->old + 5, len - 5 };
	p->q.io.cmp = p->cmp;
	p->q.io.n_cmp = 2;
	req_submit(c, &p->q, VOL_COMPARE_WRITE, off, p->new, len);
}

static int pair_do(struct bench *b, struct vol_chan *c, struct pair *p, uint64_t off, uint32_t len)
{
	pair_submit(c, p, off, len);
	POLL_UNTIL(&b->r, p->q.done);
	return p->q.err;
}

static uint64_t refused(const struct bench *b)
{
	struct nof_tgt_stats s;

	nof_tgt_stats(b->r.t, &s);
	return s.bad_command;
}

/* ---- as it should be ---- */

static const struct way {
	const char *name;
	uint16_t queues; // that the target grants
	unsigned worker;
} ways[] = {
	{ "a queue of its own", 127, 0 },
	{ "another worker's queue", 1, 1 },
};

static void does(void **state)
{
	const struct way *t = *state;
	static struct pair p;
	struct vol_stats s, behind;
	struct vol_info info;
	struct bench b;

	bench_open(&b, 1, t->queues, 0);
	vol_info(b.v, &info);
	assert_int_equal(info.compare_max, VOL_COMPARE_MAX);
	memset(p.new, 1, sizeof(p.new));
	assert_int_equal(pair_do(&b, b.c[t->worker], &p, 4096, 8192), 0);
	assert_memory_equal(b.f->mem + 4096, p.new, 8192);
	assert_int_equal(b.f->mem[4095] + b.f->mem[4096 + 8192], 0);
	memset(p.new, 2, sizeof(p.new));
	assert_int_equal(pair_do(&b, b.c[t->worker], &p, 4096, 512), -ECANCELED);
	assert_int_equal(b.f->mem[4096], 1);
	vol_stats(b.v, &s);
	assert_int_equal(s.compares, 1);
	assert_int_equal(s.miscompares, 1);
	assert_int_equal(s.errors + s.compares_lost, 0);
	vol_stats(&b.f->v, &behind);
	assert_int_equal(behind.compares, 1);
	assert_int_equal(behind.miscompares, 1);
	b.l[0].c->io[t->worker].compare_write = false; // as of a controller without FUSES
	assert_int_equal(pair_do(&b, b.c[t->worker], &p, 4096, 512), -EOPNOTSUPP);
	bench_close(&b);
}

/* A queue that holds one command holds no pair: that is said, and nothing waits for it. */
static void no_room(void **state)
{
	const struct way *t = *state;
	static struct pair p;
	struct bench b;

	bench_open(&b, 1, t->queues, 2);
	assert_int_equal(pair_do(&b, b.c[t->worker], &p, 0, 512), -EOPNOTSUPP);
	assert_int_equal(req_do(&b.r, b.c[t->worker], VOL_WRITE, 0, p.new, 512), 0);
	bench_close(&b);
}

/* Three slots, and requests of both kinds from all workers: halves stay together. */
static void full_queues(void **state)
{
	enum { PAIRS = 40, WRITES = 40 };
	const struct way *t = *state;
	static struct pair p[PAIRS];
	static struct req w[WRITES];
	static uint8_t buf[4096];
	struct bench b;

	bench_open(&b, 1, t->queues, 4);
	for (unsigned round = 1; round <= 20; round++) {
		for (unsigned i = 0; i < PAIRS; i++) {
			memset(p[i].old, (int)round - 1, sizeof(p[i].old));
			memset(p[i].new, (int)round, sizeof(p[i].new));
			pair_submit(b.c[i % 3 != 0], &p[i], 512ull * i, 512);
			req_submit(b.c[(i / 2) % 2], &w[i], VOL_WRITE, SIZE / 2 + 4096ull * i, buf,
				sizeof(buf));
		}
		for (unsigned i = 0; i < PAIRS; i++)
			POLL_UNTIL(&b.r, p[i].q.done && w[i].done);
		for (unsigned i = 0; i < PAIRS; i++) {
			assert_int_equal(p[i].q.err, 0);
			assert_int_equal(w[i].err, 0);
			assert_int_equal(b.f->mem[512 * i], round);
		}
	}
	assert_int_equal(refused(&b), 0);
	bench_close(&b);
}

/* ---- errors ---- */

static const struct fault {
	const char *name;
	bool native; // the volume behind answers for itself, as that of another card
	int behind, heard;
	unsigned seen, lost;
} faults[] = {
	{ "a medium that cannot", false, -EIO, -EIO, 1, 0 },
	{ "a full disk", true, -ENOSPC, -ENOSPC, 1, 0 },
	{ "not now: it may be half done", true, -EAGAIN, -EIO, 1, 0 },
	{ "the next card does not know", true, -ECONNABORTED, -ECONNABORTED, 1, 1 },
	{ "the next card cannot", true, -EOPNOTSUPP, -EOPNOTSUPP, 1, 0 },
};

static void fails(void **state)
{
	const struct fault *t = *state;
	static struct pair p;
	struct vol_stats s;
	struct bench b;

	bench_open(&b, 1, 127, 0);
	b.f->native = t->native;
	b.f->err = t->behind;
	assert_int_equal(pair_do(&b, b.c[0], &p, 0, 512), t->heard);
	assert_int_equal(b.f->n_seen[t->native ? VOL_COMPARE_WRITE : VOL_READ], t->seen);
	vol_stats(b.v, &s);
	assert_int_equal(s.errors, 1);
	assert_int_equal(s.compares_lost, t->lost);
	b.f->err = 0;
	assert_int_equal(pair_do(&b, b.c[0], &p, 0, 512), 0);
	bench_close(&b);
}

/* A path that says that it cannot has done nothing: the other one does. */
static void another_path(void **state)
{
	const struct nof_tgt_addr at = { "127.0.0.1", "0" };
	static struct pair p;
	struct bench b;

	(void)state;
	bench_open(&b, 2, 127, 0);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(nof_tgt_ana_set(b.r.t, NQN, &at, 1,
					 i % 2 ? NOF_TGT_ANA_OPTIMIZED : NOF_TGT_ANA_INACCESSIBLE),
			0);
		memset(p.old, (int)i, 512);
		memset(p.new, (int)i + 1, 512);
		assert_int_equal(pair_do(&b, b.c[0], &p, 0, 512), 0);
	}
	assert_int_equal(b.f->n_seen[VOL_WRITE], 6);
	assert_true(refused(&b) > 0); // it was asked
	bench_close(&b);
}

/* ---- paths that are cut ---- */

/* What the volume behind holds is let go at a time of which the host is told (KATO). */
struct hold {
	bool on;
	uint64_t until;
};

static void hold_poll(struct bench *b, struct hold *h)
{
	if (b->f->n_held == 0 || now_ns < h->until)
		return;
	fake_release(b->f->by[0], b->f, 0);
	h->until = now_ns + next_random(KATO_MS * 4 / 10) * 1000000ull;
}

/* Not even sent: it goes over the next connection, and is carried out once. */
static void before_it_is_sent(void **state)
{
	const struct way *t = *state;
	static struct pair p;
	struct vol_stats s;
	struct bench b;

	bench_open(&b, 1, t->queues, 0);
	memset(p.new, 1, sizeof(p.new));
	pair_submit(b.c[t->worker], &p, 0, 512);
	nof_qpair_fail(b.l[0].c->io[t->queues == 1 ? 0 : t->worker].q, -ECONNRESET);
	POLL_UNTIL(&b.r, p.q.done);
	assert_int_equal(p.q.err, 0);
	assert_int_equal(b.f->n_seen[VOL_WRITE], 1);
	vol_stats(b.v, &s);
	assert_int_equal(s.compares_lost, 0);
	bench_close(&b);
}

/* Carried out, and the answer is lost: nobody knows, nobody repeats it. */
static void after_it_is_done(void **state)
{
	const struct way *t = *state;
	static struct pair p;
	struct vol_stats s;
	struct bench b;

	dpu_clock_set(moving_clock);
	bench_open(&b, 2, t->queues, 0);
	memset(p.new, 1, sizeof(p.new));
	pair_submit(b.c[t->worker], &p, 0, 512);
	for (unsigned i = 0; i < 1000 && b.f->n_seen[VOL_WRITE] == 0; i++) {
		(void)nof_group_poll(b.r.hw[1]);
		(void)nof_group_poll(b.r.hw[0]);
		for (unsigned w = 0; w < WORKERS; w++)
			(void)nof_group_poll(b.r.tw[w]);
	}
	assert_int_equal(b.f->n_seen[VOL_WRITE], 1);
	assert_false(p.q.done);
	for (unsigned i = 0; i < 2; i++)
		rig_deaf(&b.r, i);
	for (unsigned i = 0; i < 2; i++)
		rig_listen(&b.r, i);
	for (unsigned i = 0; i < 2; i++) // the answer is on its way in one of them
		nof_qpair_fail(b.l[i].c->io[t->queues == 1 ? 0 : t->worker].q, -ECONNRESET);
	POLL_UNTIL(&b.r, p.q.done);
	assert_int_equal(p.q.err, -ECONNABORTED);
	assert_int_equal(b.f->n_seen[VOL_WRITE], 1);
	assert_int_equal(b.f->n_seen[VOL_READ], 1);
	vol_stats(b.v, &s);
	assert_int_equal(s.compares_lost, 1);
	assert_int_equal(s.errors, 1);
	bench_close(&b);
	dpu_clock_set(NULL);
}

/*
 * At any moment. Nobody else writes, so a miscompare would be that of a repetition with itself, and
 * what is there when the outcome is told stays.
 */
static void at_any_moment(void **state)
{
	const struct way *t = *state;
	static struct pair p;
	unsigned lost = 0, written = 0;
	struct hold h = { 0 };
	uint32_t there = 0;
	struct vol_stats s;
	struct bench b;

	dpu_clock_set(moving_clock);
	dpu_log_level_set(DPU_LOG_ERR); // two lines for each
	bench_open(&b, 2, t->queues, 0);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		unsigned cut = next_random(2), turns = next_random(8), seen;
		uint32_t now;

		b.f->at_once = next_random(2) == 0;
		memcpy(p.old, &there, sizeof(there));
		memcpy(p.new, &i, sizeof(i));
		seen = b.f->n_seen[VOL_WRITE];
		pair_submit(b.c[t->worker], &p, 0, 512);
		for (unsigned k = 0; k < turns; k++) {
			rig_poll(&b.r);
			hold_poll(&b, &h);
		}
		if (next_random(3) == 0) {
			nof_ctrl_reset(b.l[cut].c);
		} else {
			rig_deaf(&b.r, cut);
			rig_listen(&b.r, cut);
		}
		while (!p.q.done) {
			rig_poll(&b.r);
			hold_poll(&b, &h);
		}
		memcpy(&now, b.f->mem, sizeof(now));
		if (p.q.err == 0) {
			assert_int_equal(now, i);
			written++;
		} else {
			assert_int_equal(p.q.err, -ECONNABORTED);
			assert_true(now == i || now == there);
			lost++;
		}
		assert_in_range(b.f->n_seen[VOL_WRITE] - seen, now == i, 1);
		there = now;
		while (link_state(&b.l[0]) != NOF_CTRL_LIVE ||
			link_state(&b.l[1]) != NOF_CTRL_LIVE || b.f->n_held > 0) {
			rig_poll(&b.r);
			hold_poll(&b, &h);
		}
	}
	vol_stats(b.v, &s);
	assert_int_equal(s.compares, written);
	assert_int_equal(s.compares_lost, lost);
	assert_int_equal(s.miscompares, 0);
	print_message("%u lost of %u\n", lost, ROUNDS);
	assert_true(lost > ROUNDS / 50 && written > ROUNDS / 4); // it was a test
	bench_close(&b);
	dpu_clock_set(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_path),
	};
	int failed = 0;

	RUN_ROWS(ways, does, failed);
	RUN_ROWS(ways, no_room, failed);
	RUN_ROWS(ways, full_queues, failed);
	RUN_ROWS(faults, fails, failed);
	RUN_ROWS(ways, before_it_is_sent, failed);
	RUN_ROWS(ways, after_it_is_done, failed);
	RUN_ROWS(ways, at_any_moment, failed);
	failed |= cmocka_run_group_tests_name("pairs", tests, NULL, NULL);
	return failed;
}
