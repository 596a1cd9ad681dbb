// SPDX-License-Identifier: Apache-2.0
/*
 * Writes and lost paths: a command that its path's target still holds must not land after its
 * repetition was answered over another path (Base 2.1, 9.6).
 *
 * The target's disk is a ledger. Each write has a number; whenever one lands, the ledger looks
 * whether a later one was acknowledged before. A clock that moves with every look at it stands for
 * time, so a run is as long as its steps are many and waits for nothing.
 */
#include "nvmf_rig.h"
#include "dpu_log.h"
#include "vol_priv.h"

#define FAILOVERS 10000U
#define KATO_MS 400U

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

/* ---- the ledger ---- */

struct ledger {
	struct vol v; // first
	struct vol_io *held;
	struct vol_chan *held_chan;
	uint64_t held_until;
	bool hold; // the next write
	uint32_t landed, acked, n_writes, n_held, stale;
};

struct ledger_chan {
	struct vol_chan c;
};

static void land(struct ledger *l, struct vol_chan *c, struct vol_io *io)
{
	uint32_t seq;

	memcpy(&seq, io->iov[0].iov_base, sizeof(seq));
	if (seq < l->acked)
		l->stale++;
	l->landed = seq;
	vol_io_end(c, io, 0);
}

static void ledger_submit(struct vol_chan *c, struct vol_io *io)
{
	struct ledger *l = (struct ledger *)c->v;

	if (io->op != VOL_WRITE) {
		vol_io_end(c, io, 0);
		return;
	}
	l->n_writes++;
	if (!l->hold || l->held) {
		land(l, c, io);
		return;
	}
	l->hold = false;
	l->n_held++;
	l->held = io;
	l->held_chan = c;
	// A target that keeps to the rules is done when the keep-alive timeout is over.
	l->held_until = now_ns + next_random(KATO_MS * 9 / 10) * 1000000ull;
}

static void ledger_release(struct ledger *l)
{
	struct vol_io *io = l->held;

	if (!io || now_ns < l->held_until)
		return;
	l->held = NULL;
	land(l, l->held_chan, io);
}

static int ledger_chan_open(struct vol *v, struct nof_group *group, struct vol_chan **out)
{
	(void)v;
	(void)group;
	struct ledger_chan *lc = calloc(1, sizeof(*lc));

	*out = lc ? &lc->c : NULL;
	return lc ? 0 : -ENOMEM;
}

static void ledger_chan_close(struct vol_chan *c)
{
	free(c);
}

static void ledger_close(struct vol *v)
{
	vol_fini(v);
}

static unsigned ledger_poll(struct vol_chan *c)
{
	ledger_release((struct ledger *)c->v);
	return 0;
}

static const struct vol_ops ledger_ops = {
	.kind = "ledger",
	.close = ledger_close,
	.chan_open = ledger_chan_open,
	.chan_close = ledger_chan_close,
	.submit = ledger_submit,
	.kick = ledger_poll,
	.poll = ledger_poll,
};

/* ---- failovers ---- */

static void no_stale_write_lands(void **state)
{
	struct nof_ctrl_conf conf;
	struct ledger l;
	struct nvmf_rig r;
	struct link link[2];
	struct vol *v = NULL;
	struct vol_chan *c;
	struct req q = { 0 };
	uint32_t buf[128] = { 0 };
	const struct vol_nvmf_conf vc = { .name = "v", .subnqn = NQN, .nsid = 2 };
	struct vol_nvmf_conf conf_v = vc;

	(void)state;
	dpu_clock_set(moving_clock);
	dpu_log_level_set(DPU_LOG_ERR); // two lines for each
	memset(&l, 0, sizeof(l));
	rig_open(&r, NULL);
	rig_listen(&r, 1);
	assert_int_equal(vol_init(&l.v, &ledger_ops, "ledger", 1 << 20, 512), 0);
	assert_int_equal(
		nof_tgt_ns_add(r.t, NQN, &(struct nof_tgt_ns_conf){ .vol = &l.v, .nsid = 2 }, NULL),
		0);
	for (unsigned i = 0; i < 2; i++) {
		conf = link_conf(&r, i);
		conf.kato_ms = KATO_MS;
		conf.reconnect_delay_ms = 5;
		link_open(&r, &link[i], &conf);
		assert_int_equal(link[i].err, 0);
	}
	conf_v.host = r.h;
	assert_int_equal(vol_nvmf_open(&conf_v, &v), 0);
	assert_int_equal(vol_chan_open(v, r.hw[0], &c), 0);
	for (unsigned i = 1; i <= FAILOVERS; i++) {
		unsigned cut = next_random(2), turns = next_random(6);

		buf[0] = i;
		l.hold = next_random(4) != 0;
		req_submit(c, &q, VOL_WRITE, 0, buf, sizeof(buf));
		for (unsigned k = 0; k < turns; k++)
			rig_poll(&r);
		if (next_random(3) == 0) { // asked to stop, which it may only when all is over
			nof_ctrl_reset(link[cut].c);
		} else {
			rig_deaf(&r, cut);
			rig_listen(&r, cut);
		}
		while (!q.done) {
			rig_poll(&r);
			ledger_release(&l);
		}
		assert_int_equal(q.err, 0);
		l.acked = i;
		POLL_UNTIL(&r, link_state(&link[0]) == NOF_CTRL_LIVE &&
				       link_state(&link[1]) == NOF_CTRL_LIVE);
		ledger_release(&l);
	}
	assert_int_equal(l.stale, 0);
	while (l.held) {
		ledger_release(&l);
		rig_poll(&r);
	}
	assert_int_equal(l.stale, 0);
	assert_int_equal(l.landed, FAILOVERS);
	assert_true(l.n_held > FAILOVERS / 4); // it was a test
	assert_true(l.n_writes > FAILOVERS + FAILOVERS / 10); // and things were repeated
	vol_chan_close(c);
	vol_close(v);
	link_close(&r, &link[0]);
	link_close(&r, &link[1]);
	while (nof_tgt_ns_del(r.t, NQN, 2) == -EBUSY)
		rig_poll(&r);
	rig_close(&r);
	vol_fini(&l.v);
	dpu_clock_set(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_stale_write_lands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
