// SPDX-License-Identifier: Apache-2.0
/*
 * Another key for an encrypted volume under requests: the end of everything at any moment, errors
 * at any write, journals that are not its own.
 */
#include "rekey_rig.h"

#include <pthread.h>

static void moves_to_another_key(void **state)
{
	struct vol_work w;
	struct env e;

	(void)state;
	start(&e, true);
	assert_int_equal(begin(&e, false), 0);
	assert_int_equal(begin(&e, false), -EBUSY);
	assert_int_equal(vol_resize(e.v, SIZE / 2), -EBUSY);
	vol_work(e.v, &w);
	assert_int_equal(w.kind, VOL_WORK_REKEY);
	assert_int_equal(w.total, SIZE);
	assert_int_equal(finish(&e), VOL_REKEY_OVER);
	vol_work(e.v, &w);
	assert_int_equal(w.kind, VOL_WORK_NONE);
	assert_null(((struct crypt_chan *)e.c[0])->cipher[0]); // the old key is gone
	check_all(&e);
	// And to a third one, on the same journal.
	nof_key_put(e.key[1]);
	e.key[1] = key_of(3);
	assert_int_equal(begin(&e, false), 0);
	assert_int_equal(finish(&e), VOL_REKEY_OVER);
	check_all(&e);
	check_new_key(&e);
	stop(&e);
}

/* ---- under requests, with ends at any moment ---- */

static bool taken(const struct env *e, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < N_REQ; i++) {
		const struct vol_io *io = &e->r[i].a.io;

		if (e->r[i].busy && off < io->off + io->len && io->off < off + len)
			return true;
	}
	return false;
}

static void issue(struct env *e)
{
	static const enum vol_op ops[] = { VOL_READ, VOL_WRITE, VOL_COMPARE_WRITE,
		VOL_WRITE_ZEROES };
	struct req *r = &e->r[rnd(&e->seed) % N_REQ];
	enum vol_op op = ops[rnd(&e->seed) % 4];
	// Often about where windows meet, and where the work is.
	uint64_t near = atomic_load(&((struct vol_crypt *)e->v)->done) / UNIT, blocks = SIZE / UNIT;
	uint64_t n = 1 + rnd(&e->seed) % (rnd(&e->seed) % 6 ? 40 : 400), first;

	first = rnd(&e->seed) % 3 ? near + rnd(&e->seed) % 2048 : rnd(&e->seed) % blocks;
	first = first > 200 ? first - rnd(&e->seed) % 200 : first;
	if (first + n > blocks)
		first = blocks - n;
	if (op == VOL_COMPARE_WRITE && n > VOL_COMPARE_MAX / UNIT)
		op = VOL_WRITE;
	if (r->busy || taken(e, first * UNIT, n * UNIT))
		return;
	r->a = (struct answer){
		.io = { .op = op, .off = first * UNIT, .len = n * UNIT, .done = on_done }
	};
	r->buf = malloc(n * UNIT);
	for (uint64_t i = 0; i < n * UNIT; i++)
		r->buf[i] = (uint8_t)rnd(&e->seed);
	r->iov = (struct iovec){ r->buf, n * UNIT };
	r->a.io.iov = &r->iov;
	r->a.io.n_iov = 1;
	r->cmp = (struct iovec){ e->stable + first * UNIT, n * UNIT }; // nobody else has it
	r->a.io.cmp = &r->cmp;
	r->a.io.n_cmp = 1;
	r->busy = true;
	vol_submit(e->c[rnd(&e->seed) % 2], &r->a.io);
}

static void collect(struct env *e)
{
	for (unsigned i = 0; i < N_REQ; i++) {
		struct req *r = &e->r[i];
		const struct vol_io *io = &r->a.io;

		if (!r->busy || !r->a.n_done)
			continue;
		assert_int_equal(r->a.err, 0);
		if (io->op == VOL_READ)
			assert_memory_equal(r->buf, e->stable + io->off, io->len);
		else if (io->op != VOL_WRITE_ZEROES)
			memcpy(e->stable + io->off, r->buf, io->len);
		else
			memset(e->stable + io->off, 0, io->len);
		free(r->buf);
		r->busy = false;
	}
}

/* Answer one of those below: a request's, or the job's. */
static void release_one(struct env *e, struct fake_vol *f)
{
	struct rekey_job *j = &((struct vol_crypt *)e->v)->job;
	unsigned i = (unsigned)(rnd(&e->seed) % f->n_held);
	struct vol_io *io = f->held[i];
	struct vol_chan *c = f == e->journal ? j->job.side : j->job.chan;

	if (io != &j->io)
		c = ((struct vol_layer_chan *)((struct vol_sub *)io)->chan)->lower;
	fake_release(c, f, i);
}

static void step(struct env *e)
{
	issue(e);
	for (unsigned n = (unsigned)(rnd(&e->seed) % 4); n && e->f->n_held; n--)
		release_one(e, e->f);
	if (e->journal->n_held && rnd(&e->seed) % 2)
		release_one(e, e->journal);
	now += NOF_TICK_NS;
	nof_group_poll(e->g);
	vol_chan_poll(e->c[rnd(&e->seed) % 2]);
	collect(e);
}

/* What was on its way may have come, in part, block by block. */
static void tear(struct env *e, struct fake_vol *f)
{
	for (unsigned i = 0; i < f->n_held; i++) {
		const struct vol_io *io = f->held[i];

		for (uint64_t at = 0; io->op != VOL_READ && at < io->len; at += UNIT)
			if (rnd(&e->seed) % 2)
				memcpy(f->mem + io->off + at, (uint8_t *)io->iov[0].iov_base + at,
					UNIT);
	}
}

static struct fake_vol *copy_of(struct fake_vol *f, uint64_t size)
{
	struct fake_vol *next = fake_open(size, UNIT);

	memcpy(next->mem, f->mem, size);
	next->native = f->native;
	return next;
}

/* The old process' objects, to free them: nothing of it is looked at any more. */
static void bury(struct env *old)
{
	struct vol_crypt *v = (struct vol_crypt *)old->v;

	old->f->at_once = old->journal->at_once = true;
	(void)vol_work_stop(old->v);
	for (unsigned left = 1; left;) {
		while (old->f->n_held)
			release_one(old, old->f);
		while (old->journal->n_held)
			release_one(old, old->journal);
		atomic_store(&v->closed, REKEY_NONE);
		atomic_store(&v->blocked, false);
		now += NOF_TICK_NS;
		nof_group_poll(old->g);
		left = 0;
		for (unsigned i = 0; i < 2; i++) {
			vol_chan_poll(old->c[i]);
			left += vol_chan_inflight(old->c[i]);
		}
	}
	close_crypt(old);
	vol_close(&old->f->v);
	vol_close(&old->journal->v);
}

/*
 * All of it, as soon as the journal was read, its window put right and opened again; the job gets
 * no further than it must.
 */
static int read_all(struct env *e, uint8_t *out)
{
	struct iovec v = { out, SIZE };
	struct answer a = {
		.io = { .op = VOL_READ, .len = SIZE, .iov = &v, .n_iov = 1, .done = on_done }
	};

	vol_submit(e->c[0], &a.io);
	while (!a.n_done) {
		now += NOF_TICK_NS;
		assert_true(vol_rekey_step(e->v) >= 0);
		nof_group_poll(e->g);
		vol_chan_poll(e->c[0]);
		while (e->f->n_held)
			release_one(e, e->f);
		if (e->journal->n_held)
			release_one(e, e->journal);
	}
	return a.err;
}

/* A block is what was acknowledged, or what was being written. */
static void check_after_end(struct env *e)
{
	uint8_t *out = malloc(SIZE);

	assert_int_equal(read_all(e, out), 0);
	for (uint64_t at = 0; at < SIZE; at += UNIT) {
		static const uint8_t zero[UNIT];
		bool ok = !memcmp(out + at, e->stable + at, UNIT);

		for (unsigned i = 0; i < N_REQ && !ok; i++) {
			const struct vol_io *io = &e->r[i].a.io;

			if (!e->r[i].busy || at < io->off || at >= io->off + io->len)
				continue;
			if (io->op == VOL_WRITE || io->op == VOL_COMPARE_WRITE)
				ok = !memcmp(out + at, e->r[i].buf + (at - io->off), UNIT);
			else if (io->op == VOL_WRITE_ZEROES)
				ok = !memcmp(out + at, zero, UNIT);
		}
		assert_true(ok);
	}
	memcpy(e->stable, out, SIZE);
	free(out);
}

static void reopen_after_end(struct env *e)
{
	struct env old = *e;

	tear(e, e->f);
	tear(e, e->journal);
	e->f = copy_of(old.f, SIZE);
	e->journal = copy_of(old.journal, JOURNAL);
	open_crypt(e, e->key[0]);
	assert_int_equal(begin(e, true), 0);
	check_after_end(e);
	bury(&old); // its requests are ours
	for (unsigned i = 0; i < N_REQ; i++) {
		if (e->r[i].busy)
			free(e->r[i].buf);
		e->r[i].busy = false;
	}
}

/* One whole change, with an end after `life` steps at most. */
static unsigned one_change(unsigned life, uint64_t seed)
{
	int ret = VOL_REKEY_BEGINS;
	unsigned ends = 0;
	struct env e;

	start(&e, true);
	e.seed ^= seed;
	assert_int_equal(begin(&e, false), 0);
	e.f->at_once = e.journal->at_once = false;
	while (ret == VOL_REKEY_BEGINS) { // before that there is nothing to resume
		step(&e);
		ret = vol_rekey_step(e.v);
	}
	while (ret > 0) {
		unsigned steps = 1 + (unsigned)(rnd(&e.seed) % life);

		for (; steps && ret > 0; steps--) {
			step(&e);
			ret = vol_rekey_step(e.v);
		}
		if (ret <= 0 || ++ends > 400)
			break;
		reopen_after_end(&e);
		ret = VOL_REKEY_MOVES;
	}
	assert_int_equal(ret, VOL_REKEY_OVER);
	while (vol_chan_inflight(e.c[0]) + vol_chan_inflight(e.c[1])) {
		if (e.f->n_held)
			release_one(&e, e.f);
		vol_chan_poll(e.c[0]);
		vol_chan_poll(e.c[1]);
	}
	collect(&e);
	e.f->at_once = e.journal->at_once = true;
	check_all(&e);
	check_new_key(&e);
	stop(&e);
	return ends;
}

static void survives_any_end(void **state)
{
	unsigned ends = 0;

	(void)state;
	for (unsigned i = 0; i < 24; i++)
		ends += one_change(i % 2 ? 12 : 4, i * 7919);
	assert_in_range(ends, 30, 2400);
}

/* A change that cannot go on is not begun: never with the old key where the new one is. */
static void begins_with_all_it_needs(void **state)
{
	struct vol_work w = { 0 };
	struct env e;

	(void)state;
	start(&e, true);
	assert_int_equal(begin(&e, false), 0);
	while (w.done == 0) {
		now += NOF_TICK_NS;
		nof_group_poll(e.g);
		assert_true(vol_rekey_step(e.v) > 0);
		vol_work(e.v, &w);
	}
	close_crypt(&e);
	open_crypt(&e, e.key[0]);
	e.f->fail_opens = 1;
	assert_int_equal(begin(&e, true), -ENOMEM);
	close_crypt(&e); // as the card does
	open_crypt(&e, e.key[0]);
	assert_int_equal(begin(&e, true), 0);
	assert_int_equal(finish(&e), VOL_REKEY_OVER);
	check_all(&e);
	check_new_key(&e);
	stop(&e);
}

/* A volume that grew after it began: nothing is written there before it goes, or is taken back. */
static void grows_before_it_goes(void **state)
{
	struct vol_rekey_conf conf = { .id = "one" };
	uint8_t data[UNIT], out[UNIT];
	struct iovec v = { data, UNIT };
	struct answer a = { .io = { .op = VOL_WRITE,
				    .off = SIZE,
				    .len = UNIT,
				    .iov = &v,
				    .n_iov = 1,
				    .done = on_done } };
	struct env e;
	int ret;

	(void)state;
	start(&e, true);
	memset(data, 7, sizeof(data));
	conf.key = e.key[1];
	conf.journal = &e.journal->v;
	conf.group = e.g;
	assert_int_equal(vol_crypt_rekey(e.v, &conf), 0);
	e.f->mem = realloc(e.f->mem, SIZE + UNIT);
	assert_non_null(e.f->mem);
	memset(e.f->mem + SIZE, 0, UNIT);
	atomic_store(&e.f->v.size, SIZE + UNIT);
	e.f->v.watch(e.f->v.watch_arg);
	vol_submit(e.c[0], &a.io);
	for (unsigned i = 0; i < 20; i++) {
		now += NOF_TICK_NS;
		nof_group_poll(e.g);
		(void)vol_rekey_step(e.v);
		vol_chan_poll(e.c[0]);
	}
	assert_int_equal(a.n_done, 0);
	while (!vol_work_stop(e.v)) {
		now += NOF_TICK_NS;
		nof_group_poll(e.g);
	}
	while ((ret = vol_rekey_step(e.v)) > 0)
		nof_group_poll(e.g);
	assert_int_equal(ret, -ECANCELED);
	while (!a.n_done)
		vol_chan_poll(e.c[0]);
	assert_int_equal(a.err, 0);
	close_crypt(&e);
	open_crypt(&e, e.key[0]);
	assert_int_equal(rw(e.c[0], VOL_READ, SIZE, out, UNIT), 0);
	assert_memory_equal(out, data, UNIT);
	check_all(&e);
	stop(&e);
}

/* The k-th write of all fails, having done nothing or everything. */
static void goes_on_after_an_error_at_any_write(void **state)
{
	(void)state;
	for (unsigned k = 1; k < 10; k++) {
		for (unsigned what = 0; what < 4; what++) {
			struct fake_vol *f;
			struct env e;
			int ret;

			start(&e, true);
			f = what / 2 ? e.journal : e.f;
			assert_int_equal(begin(&e, false), 0);
			f->fail_in = k;
			f->fail_after = what % 2;
			ret = finish(&e);
			if (f == e.journal && k == 1) { // it never began
				assert_int_equal(ret, -EIO);
				assert_int_equal(vol_rekey_step(e.v), VOL_REKEY_OVER);
				check_all(&e);
			} else {
				assert_int_equal(ret, VOL_REKEY_OVER);
				check_all(&e);
				check_new_key(&e);
			}
			stop(&e);
		}
	}
}

/* ---- journals ---- */

/* Without its journal nobody knows where which key is: nothing is served, nothing is touched. */
static void serves_nothing_without_its_journal(void **state)
{
	uint8_t buf[UNIT];
	struct vol_work w;
	struct env e;

	(void)state;
	for (unsigned at = 0; at < 68; at++) {
		start(&e, true);
		assert_int_equal(begin(&e, false), 0);
		(void)vol_rekey_step(e.v);
		nof_group_poll(e.g);
		assert_int_equal(vol_rekey_step(e.v), VOL_REKEY_MOVES);
		close_crypt(&e);
		for (unsigned slot = 0; slot < 2; slot++)
			e.journal->mem[slot * (JOURNAL / 2) + at] ^= 0x21;
		memcpy(e.stable, e.f->mem, SIZE);
		open_crypt(&e, e.key[0]);
		assert_int_equal(begin(&e, true), 0);
		assert_int_equal(finish(&e), -ENODATA);
		assert_int_equal(rw(e.c[0], VOL_READ, 0, buf, UNIT), -EIO);
		assert_int_equal(rw(e.c[0], VOL_WRITE, 0, buf, UNIT), -EIO);
		vol_work(e.v, &w);
		assert_int_equal(w.err, -ENODATA);
		assert_memory_equal(e.stable, e.f->mem, SIZE);
		stop(&e);
	}
}

/* Whoever keeps the call could not: nothing has happened. */
static void can_be_taken_back_before_it_goes(void **state)
{
	struct vol_rekey_conf conf = { .id = "x" };
	uint8_t *below = malloc(SIZE);
	struct env e;

	(void)state;
	start(&e, true);
	memcpy(below, e.f->mem, SIZE);
	conf.key = e.key[1];
	conf.group = e.g;
	conf.journal = &e.journal->v;
	assert_int_equal(vol_crypt_rekey(e.v, &conf), 0);
	for (unsigned i = 0; i < 20; i++) {
		now += NOF_TICK_NS;
		(void)vol_rekey_step(e.v);
		nof_group_poll(e.g);
	}
	assert_int_equal(vol_rekey_step(e.v), VOL_REKEY_MOVES);
	assert_memory_equal(below, e.f->mem, SIZE);
	while (!vol_work_stop(e.v)) {
		now += NOF_TICK_NS;
		nof_group_poll(e.g);
	}
	assert_int_equal(vol_rekey_step(e.v), -ECANCELED);
	assert_int_equal(vol_rekey_step(e.v), VOL_REKEY_OVER);
	check_all(&e);
	stop(&e);
	free(below);
}

static void refuses_what_it_cannot_use(void **state)
{
	struct vol_rekey_conf conf = { 0 };
	struct fake_vol *small = fake_open(JOURNAL - 512, 512);
	struct env e;

	(void)state;
	start(&e, true);
	conf.key = e.key[1];
	conf.group = e.g;
	conf.journal = &small->v;
	assert_int_equal(vol_crypt_rekey(e.v, &conf), -EINVAL);
	conf.journal = &e.journal->v;
	assert_int_equal(vol_crypt_rekey(&small->v, &conf), -EINVAL);
	assert_int_equal(vol_rekey_step(e.v), VOL_REKEY_OVER);
	vol_close(&small->v);
	stop(&e);
}

/* ---- two workers ---- */

struct worker {
	pthread_t thread;
	struct vol_chan *c;
	unsigned no;
	int err;
	_Atomic bool *quit;
};

static int spin(struct vol_chan *c, enum vol_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec v = { buf, len };
	struct answer a = {
		.io = { .op = op, .off = off, .len = len, .iov = &v, .n_iov = 1, .done = on_done }
	};

	vol_submit(c, &a.io);
	while (!a.n_done)
		vol_chan_poll(c);
	return a.err;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = 99 + w->no;
	uint8_t buf[8192], out[8192];

	while (!atomic_load(w->quit) && !w->err) {
		uint64_t off = (rnd(&seed) % 500 * 2 + w->no) * 8192;

		memset(buf, (int)rnd(&seed), sizeof(buf));
		w->err = spin(w->c, VOL_WRITE, off, buf, sizeof(buf));
		if (!w->err)
			w->err = spin(w->c, VOL_READ, off, out, sizeof(out));
		if (!w->err && memcmp(buf, out, sizeof(buf)) != 0)
			w->err = -EILSEQ;
	}
	return NULL;
}

static void moves_under_two_workers(void **state)
{
	struct vol_ram_conf ram = { .name = "r", .size = 8u << 20, .block_size = 512 };
	struct vol_ram_conf side = { .name = "j", .size = 4u << 20, .block_size = 4096 };
	struct vol_crypt_conf conf = { .name = "c", .key = key_of(0), .unit = 512 };
	struct vol_rekey_conf rekey = { .id = "x" };
	struct worker w[2] = { { .no = 0 }, { .no = 1 } };
	_Atomic bool quit = false;
	struct nof_group *g[3];
	struct vol *lower, *v;
	int ret;

	(void)state;
	assert_int_equal(vol_ram_open(&ram, &lower), 0);
	assert_int_equal(vol_ram_open(&side, &rekey.journal), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &g[i]), 0);
	conf.lower = lower;
	assert_int_equal(vol_crypt_open(&conf, &v), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vol_chan_open(v, g[i], &w[i].c), 0);
		w[i].quit = &quit;
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	rekey.group = g[2];
	for (uint8_t i = 1; i < 4; i++) {
		rekey.key = key_of(i);
		assert_int_equal(vol_crypt_rekey(v, &rekey), 0);
		vol_rekey_go(v);
		do {
			nof_group_poll(g[2]);
			ret = vol_rekey_step(v);
		} while (ret > 0);
		assert_int_equal(ret, VOL_REKEY_OVER);
		nof_key_put(rekey.key);
	}
	atomic_store(&quit, true);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].err, 0);
		vol_chan_close(w[i].c);
	}
	vol_close(v);
	vol_close(lower);
	vol_close(rekey.journal);
	for (unsigned i = 0; i < 3; i++)
		nof_group_destroy(g[i]);
	nof_key_put(conf.key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_to_another_key),
		cmocka_unit_test(survives_any_end),
		cmocka_unit_test(begins_with_all_it_needs),
		cmocka_unit_test(grows_before_it_goes),
		cmocka_unit_test(goes_on_after_an_error_at_any_write),
		cmocka_unit_test(serves_nothing_without_its_journal),
		cmocka_unit_test(can_be_taken_back_before_it_goes),
		cmocka_unit_test(refuses_what_it_cannot_use),
		cmocka_unit_test(moves_under_two_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
