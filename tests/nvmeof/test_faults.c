// SPDX-License-Identifier: Apache-2.0
/* Volumes that fail behind a target, and what a guest of the host hears of it. */
#include "nvmf_rig.h"

#include "fake_vol.h"

#define SIZE (4u << 20)
#define MDTS (128u << 10) // of our target: a request of 1 MiB is eight commands

struct bench {
	struct nvmf_rig r;
	struct link l;
	struct fake_vol *f; // behind namespace 2
	struct vol *v;
	struct vol_chan *c;
};

static void bench_open(struct bench *b)
{
	struct nof_ctrl_conf conf;
	struct vol_nvmf_conf vc = { .name = "v", .subnqn = NQN, .nsid = 2 };

	rig_open(&b->r, NULL);
	b->f = fake_open(SIZE, 512);
	b->f->at_once = true;
	assert_int_equal(nof_tgt_ns_add(b->r.t, NQN,
				 &(struct nof_tgt_ns_conf){ .vol = &b->f->v, .nsid = 2 }, NULL),
		0);
	conf = link_conf(&b->r, 0);
	link_open(&b->r, &b->l, &conf);
	assert_int_equal(b->l.err, 0);
	vc.host = b->r.h;
	assert_int_equal(vol_nvmf_open(&vc, &b->v), 0);
	assert_int_equal(vol_chan_open(b->v, b->r.hw[0], &b->c), 0);
}

static void bench_close(struct bench *b)
{
	vol_chan_close(b->c);
	vol_close(b->v);
	link_close(&b->r, &b->l);
	while (nof_tgt_ns_del(b->r.t, NQN, 2) == -EBUSY)
		rig_poll(&b->r);
	rig_close(&b->r);
	fake_close(&b->f->v);
}

/* One error, at the k-th write: that request has it, no other has, and what is stored is right. */
static void the_kth_write(void **state)
{
	enum { WRITES = 12 };
	uint8_t in[4096], out[4096];
	struct bench b;

	(void)state;
	bench_open(&b);
	for (unsigned k = 1; k <= WRITES; k++) {
		b.f->fail_op = VOL_WRITE;
		b.f->fail_in = k;
		b.f->fail_err = -EIO;
		for (unsigned i = 1; i <= WRITES; i++) {
			memset(in, (int)(k * 16 + i), sizeof(in));
			assert_int_equal(req_do(&b.r, b.c, VOL_WRITE, i * 4096, in, sizeof(in)),
				i == k ? -EIO : 0);
		}
		for (unsigned i = 1; i <= WRITES; i++) {
			memset(in, (int)((i == k ? k - 1 : k) * 16 + i), sizeof(in));
			if (i == k && k == 1)
				memset(in, 0, sizeof(in));
			assert_int_equal(
				req_do(&b.r, b.c, VOL_READ, i * 4096, out, sizeof(out)), 0);
			assert_memory_equal(in, out, sizeof(in));
		}
	}
	bench_close(&b);
}

/* A request of many commands, one of which fails: the request does, once. */
static void one_command_of_many(void **state)
{
	uint8_t *in = calloc(1, 1 << 20);
	struct bench b;

	(void)state;
	assert_non_null(in);
	bench_open(&b);
	for (unsigned k = 1; k <= (1u << 20) / MDTS; k++) {
		b.f->fail_op = VOL_WRITE;
		b.f->fail_in = k;
		b.f->fail_err = -EIO;
		b.f->n_seen[VOL_WRITE] = 0;
		assert_int_equal(req_do(&b.r, b.c, VOL_WRITE, 0, in, 1 << 20), -EIO);
		assert_in_range(b.f->n_seen[VOL_WRITE], k, (1u << 20) / MDTS);
		assert_int_equal(req_do(&b.r, b.c, VOL_WRITE, 0, in, 1 << 20), 0);
	}
	bench_close(&b);
	free(in);
}

/*
 * A flush that fails is not tried again until it succeeds, and of a volume that keeps in mind what
 * was lost, as files do, none does any more. Reads and writes go on.
 */
static void sticky_flush(void **state)
{
	struct bench b;
	uint8_t buf[512] = { 1 };

	(void)state;
	bench_open(&b);
	assert_int_equal(req_do(&b.r, b.c, VOL_FLUSH, 0, NULL, 0), 0);
	b.f->fail_op = VOL_FLUSH;
	b.f->fail_in = 1;
	b.f->fail_err = -EIO;
	b.f->n_seen[VOL_FLUSH] = 0;
	assert_int_equal(req_do(&b.r, b.c, VOL_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(b.f->n_seen[VOL_FLUSH], 1);
	atomic_store(&b.f->v.failed, true);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(req_do(&b.r, b.c, VOL_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(req_do(&b.r, b.c, VOL_WRITE, 0, buf, sizeof(buf)), 0);
	assert_int_equal(req_do(&b.r, b.c, VOL_READ, 0, buf, sizeof(buf)), 0);
	bench_close(&b);
}

static const struct fault {
	const char *name;
	int behind, heard; // err of the volume behind the target, of the one before it
	unsigned seen; // how often the volume behind saw the command
} faults[] = {
	{ "a medium that cannot", -EIO, -EIO, 1 },
	{ "a full disk", -ENOSPC, -ENOSPC, 1 },
	{ "a quota that is used up", -EDQUOT, -ENOSPC, 1 },
	{ "write protected meanwhile", -EROFS, -EROFS, 1 },
	{ "NI-20: not now, for ever", -EAGAIN, -EIO, 6 },
};

static void every_write_fails(void **state)
{
	const struct fault *t = *state;
	uint8_t buf[4096] = { 7 };
	struct bench b;

	bench_open(&b);
	b.f->err = t->behind;
	assert_int_equal(req_do(&b.r, b.c, VOL_WRITE, 0, buf, sizeof(buf)), t->heard);
	assert_int_equal(b.f->n_seen[VOL_WRITE], t->seen);
	assert_int_equal(req_do(&b.r, b.c, VOL_WRITE_ZEROES, 0, NULL, 4096), t->heard);
	assert_int_equal(link_state(&b.l), NOF_CTRL_LIVE); // an error of a volume is none of a path
	b.f->err = 0;
	assert_int_equal(req_do(&b.r, b.c, VOL_WRITE, 0, buf, sizeof(buf)), 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kth_write),
		cmocka_unit_test(one_command_of_many),
		cmocka_unit_test(sticky_flush),
	};
	int failed = 0;

	RUN_ROWS(faults, every_write_fails, failed);
	failed |= cmocka_run_group_tests(tests, NULL, NULL);
	return failed;
}
