// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes with checksums: the end of everything at any moment, errors at any write, headers that
 * lie.
 */
#include "integrity_rig.h"

/* ---- the end of everything ---- */

struct crash {
	struct env e;
	uint8_t *stable; // owned: what was acknowledged
	struct req r[8];
	uint64_t seed;
};

/* What was on its way may have come, in part, block by block. */
static void tear(struct crash *k)
{
	for (unsigned i = 0; i < k->e.f->n_held; i++) {
		const struct vol_io *io = k->e.f->held[i];
		const uint8_t *p = io->iov ? io->iov[0].iov_base : NULL;

		for (uint64_t at = 0; at < io->len; at += k->e.bs) {
			uint8_t *to = k->e.f->mem + io->off + at;

			if (rnd(&k->seed) % 2)
				continue;
			if (io->op == VOL_WRITE && p)
				memcpy(to, p + at, k->e.bs);
			else if (io->op == VOL_DISCARD || io->op == VOL_WRITE_ZEROES)
				memset(to, 0, k->e.bs);
		}
	}
}

/* Every block is what was acknowledged last, or what was being written. */
static void check_blocks(struct crash *k, struct vol_chan *c)
{
	uint8_t *out = malloc(k->e.size);

	assert_int_equal(rw(c, VOL_READ, 0, out, k->e.size), 0);
	for (uint64_t at = 0; at < k->e.size; at += k->e.bs) {
		static const uint8_t zero[4096];
		bool ok = !memcmp(out + at, k->stable + at, k->e.bs);

		for (unsigned i = 0; i < 8 && !ok; i++) {
			const struct vol_io *io = &k->r[i].a.io;

			if (!k->r[i].busy || at < io->off || at >= io->off + io->len)
				continue;
			ok = io->op == VOL_WRITE
				     ? !memcmp(out + at, k->r[i].buf + (at - io->off), k->e.bs)
				     : !memcmp(out + at, zero, k->e.bs);
		}
		assert_true(ok);
	}
	memcpy(k->stable, out, k->e.size);
	free(out);
}

/* A new process finds what this one left. */
static void reopen(struct crash *k)
{
	struct fake_vol *next = fake_open(SIZE, k->e.bs);
	struct env old = k->e;

	memcpy(next->mem, k->e.f->mem, SIZE);
	next->at_once = true;
	assert_int_equal(open_on(&k->e, next, AS_IT_IS), 0);
	check_blocks(k, k->e.c[0]);
	next->at_once = false;
	while (vol_chan_inflight(old.c[0]) + vol_chan_inflight(old.c[1])) { // to free it
		if (old.f->n_held)
			release_one(&old, 0);
		vol_chan_poll(old.c[0]);
		vol_chan_poll(old.c[1]);
	}
	close_layer(&old);
	vol_close(&old.f->v);
	for (unsigned i = 0; i < 8; i++) {
		if (k->r[i].busy)
			free(k->r[i].buf);
		k->r[i].busy = false;
	}
}

static void crash_step(struct crash *k)
{
	struct req *r = &k->r[rnd(&k->seed) % 8];
	uint64_t blocks = 150, n = 1 + rnd(&k->seed) % 20; // a few, again and again
	uint64_t off = rnd(&k->seed) % (blocks - n) * k->e.bs, len = n * k->e.bs;
	bool free_range = !r->busy;

	for (unsigned i = 0; i < 8; i++) {
		const struct vol_io *io = &k->r[i].a.io;

		if (k->r[i].busy && off < io->off + io->len && io->off < off + len)
			free_range = false;
	}
	if (free_range) {
		fill(r, rnd(&k->seed) % 6 ? VOL_WRITE : VOL_WRITE_ZEROES, off, len, &k->seed);
		vol_submit(k->e.c[rnd(&k->seed) % 2], &r->a.io);
	}
	if (k->e.f->n_held)
		release_one(&k->e, (unsigned)(rnd(&k->seed) % k->e.f->n_held));
	vol_chan_poll(k->e.c[rnd(&k->seed) % 2]);
	for (unsigned i = 0; i < 8; i++) {
		struct vol_io *io = &k->r[i].a.io;

		if (!k->r[i].busy || !k->r[i].a.n_done)
			continue;
		assert_int_equal(k->r[i].a.err, 0);
		if (io->op == VOL_WRITE)
			memcpy(k->stable + io->off, k->r[i].buf, io->len);
		else
			memset(k->stable + io->off, 0, io->len);
		free(k->r[i].buf);
		k->r[i].busy = false;
	}
}

static void survives_any_end(void **state)
{
	(void)state;
	for (uint32_t bs = 512; bs <= 4096; bs *= 8) {
		struct crash k = { .seed = 0x2545f4914f6cdd1d ^ bs };

		start(&k.e, bs);
		k.stable = calloc(1, SIZE);
		k.e.f->at_once = false;
		for (unsigned round = 0; round < 250; round++) {
			for (unsigned n = (unsigned)(rnd(&k.seed) % 60); n; n--)
				crash_step(&k);
			tear(&k);
			reopen(&k);
			assert_int_equal(mismatches(&k.e), 0);
		}
		free(k.stable);
		stop(&k.e);
	}
}

/*
 * The k-th write fails, having done nothing or everything: the request may fail, no block is
 * lost.
 */
static void survives_an_error_at_any_write(void **state)
{
	uint8_t old[512 * 8], new[512 * 8], out[512 * 8];
	struct env e;

	(void)state;
	for (unsigned k = 1; k < 12; k++) {
		for (unsigned after = 0; after < 2; after++) {
			start(&e, 512);
			memset(old, 0x11, sizeof(old));
			assert_int_equal(rw(e.c[0], VOL_WRITE, 512 * 58, old, sizeof(old)), 0);
			e.f->fail_in = k; // across two sum blocks
			e.f->fail_after = after;
			for (unsigned i = 0; i < 3; i++) {
				int ret;

				memset(new, (int)(0x20 + i), sizeof(new));
				ret = rw(e.c[i % 2], VOL_WRITE, 512 * 58, new, sizeof(new));
				assert_true(ret == 0 || ret == -EIO);
				assert_int_equal(
					rw(e.c[0], VOL_READ, 512 * 58, out, sizeof(out)), 0);
				for (unsigned at = 0; at < sizeof(out); at += 512)
					assert_true(!memcmp(out + at, new + at, 512) ||
						    (ret && !memcmp(out + at, old + at, 512)));
				memcpy(old, out, sizeof(old));
			}
			assert_int_equal(mismatches(&e), 0);
			e.f->fail_in = 0;
			stop(&e);
		}
	}
}

static void answer_all(struct env *e)
{
	while (e->f->n_held)
		release_one(e, 0);
}

/*
 * Which of two sums a block has cannot be told because it cannot be read: its write fails as the
 * read did, nothing of it is changed, and what is written beside it goes on.
 */
static void tells_a_read_error_of_a_block_with_two_sums(void **state)
{
	uint8_t old[512] = { 1 }, new[512] = { 2 }, third[512] = { 3 }, out[512];
	struct iovec v = { third, 512 };
	struct answer a[3];
	struct fake_vol *f;
	struct env e;

	(void)state;
	start(&e, 512);
	f = e.f;
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, old, 512), 0);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, new, 512), 0);
	close_layer(&e); // only memory knew which
	assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
	f->at_once = false;
	for (unsigned i = 0; i < 3; i++) { // the first has the slot, the others go together
		a[i] = (struct answer){ .io = { .op = VOL_WRITE,
						.off = (2 - i) * 512,
						.len = 512,
						.iov = &v,
						.n_iov = 1,
						.done = on_done } };
		vol_submit(e.c[0], &a[i].io);
	}
	while (!a[0].n_done)
		release_one(&e, 0);
	assert_int_equal(f->n_held, 1);
	assert_int_equal(f->held[0]->op, VOL_READ);
	f->fail_op = VOL_READ, f->fail_err = -ENODEV, f->fail_in = 1;
	answer_all(&e);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(a[i].n_done, 1);
		assert_int_equal(a[i].err, i == 2 ? -ENODEV : 0);
	}
	f->fail_err = 0;
	f->at_once = true;
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), 0);
	assert_memory_equal(out, new, 512);
	assert_int_equal(rw(e.c[0], VOL_READ, 512, out, 512), 0);
	assert_memory_equal(out, third, 512);
	// Alone, too: there is nothing to be written then.
	f->fail_err = -ENODEV, f->fail_in = 1;
	assert_int_equal(rw(e.c[1], VOL_WRITE, 0, third, 512), -ENODEV);
	f->fail_err = 0;
	assert_int_equal(rw(e.c[1], VOL_WRITE, 0, third, 512), 0);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), 0);
	assert_memory_equal(out, third, 512);
	assert_int_equal(mismatches(&e), 0);
	stop(&e);
}

/* ---- headers ---- */

static int reopened(struct env *e, struct fake_vol *f, enum how how)
{
	int ret;

	close_layer(e);
	ret = open_on(e, f, how);
	if (ret)
		assert_int_equal(rw(e->c[0], VOL_READ, 0, (uint8_t[512]){ 0 }, 512), -EIO);
	return ret;
}

static void put_header(struct fake_vol *f, const struct vol_sum_header *h)
{
	vol_sum_header_put(h, f->mem);
	vol_sum_header_put(h, f->mem + VOL_SUM_COPY_AT);
}

static void takes_no_other_header(void **state)
{
	uint8_t saved[VOL_SUM_PAGE];
	struct vol_sum_header h, bad;
	struct fake_vol *f;
	struct env e;

	(void)state;
	start(&e, 512);
	f = e.f;
	memcpy(saved, f->mem, sizeof(saved));
	assert_int_equal(vol_sum_header_get(saved, &h), 0);
	for (unsigned at = 0; at < 44; at++) { // one copy is enough, whichever
		f->mem[at] ^= 0x40;
		assert_int_equal(reopened(&e, f, AS_IT_IS), 0);
		f->mem[VOL_SUM_COPY_AT + at] ^= 0x40;
		assert_int_equal(reopened(&e, f, AS_IT_IS), -EBADMSG);
		assert_int_equal(reopened(&e, f, FORMAT), -EEXIST);
		put_header(f, &h);
	}
	bad = h;
	bad.size = SIZE + 512;
	put_header(f, &bad);
	assert_int_equal(reopened(&e, f, AS_IT_IS), -ERANGE);
	bad.size = UINT64_MAX - 511;
	put_header(f, &bad);
	assert_int_equal(reopened(&e, f, AS_IT_IS), -ERANGE);
	bad.size = 1000;
	put_header(f, &bad);
	assert_int_equal(reopened(&e, f, AS_IT_IS), -EBADMSG);
	bad = h;
	bad.block_size = 0;
	put_header(f, &bad);
	assert_int_equal(reopened(&e, f, AS_IT_IS), -EBADMSG);
	bad.block_size = 4096;
	put_header(f, &bad);
	assert_int_equal(reopened(&e, f, AS_IT_IS), -EBADMSG);
	put_header(f, &h);
	assert_int_equal(reopened(&e, f, FORMAT), 0); // it is one already
	assert_memory_equal(((struct vol_integrity *)e.v)->uuid, h.uuid, 16);
	memset(f->mem, 0, VOL_SUM_HEADER_LEN);
	assert_int_equal(reopened(&e, f, AS_IT_IS), -EBADMSG);
	f->err = -ENODEV;
	assert_int_equal(reopened(&e, f, AS_IT_IS), -ENODEV);
	f->err = 0;
	stop(&e);
}

static void takes_its_own_uuid_only(void **state)
{
	struct vol_integrity_conf conf = { .name = "i" };
	struct env e;
	struct vol *v;

	(void)state;
	start(&e, 512);
	close_layer(&e);
	conf.lower = &e.f->v;
	conf.group = e.g;
	conf.uuid[3] = 9;
	assert_int_equal(vol_integrity_open(&conf, &v), 0);
	assert_int_equal(wait_open(e.g, v), -ESTALE);
	vol_close(v);
	vol_close(&e.f->v);
	nof_group_destroy(e.g);
}

/* Making one fails at any write: the next attempt finds no header, or all of it. */
static void is_made_whole_or_not_at_all(void **state)
{
	struct env e;

	(void)state;
	for (unsigned k = 1; k < 4; k++) {
		struct fake_vol *f = fake_open(20u << 20, 512);
		int ret;

		memset(&e, 0, sizeof(e));
		f->at_once = true;
		assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e.g), 0);
		f->fail_in = k;
		ret = open_on(&e, f, FORMAT);
		assert_int_equal(ret, -EIO);
		assert_int_equal(reopened(&e, f, AS_IT_IS), -EBADMSG);
		f->fail_in = 0;
		assert_int_equal(reopened(&e, f, FORMAT), 0);
		stop(&e);
	}
}

/* Requests that come before the header is read wait for it. */
static void waits_for_its_header(void **state)
{
	struct vol_integrity_conf conf = { .name = "i" };
	uint8_t buf[512] = { 1 };
	struct iovec v = { buf, 512 };
	struct answer a = {
		.io = { .op = VOL_WRITE, .len = 512, .iov = &v, .n_iov = 1, .done = on_done }
	};
	struct vol_chan *c;
	struct vol *vol;
	struct env e;

	(void)state;
	start(&e, 512);
	close_layer(&e);
	conf.lower = &e.f->v;
	conf.group = e.g;
	assert_int_equal(vol_integrity_open(&conf, &vol), 0);
	assert_int_equal(vol_chan_open(vol, e.g, &c), 0);
	vol_submit(c, &a.io);
	assert_int_equal(vol_chan_poll(c), 0);
	assert_int_equal(a.n_done, 0);
	assert_in_range(vol_chan_wait_us(c), 0, 1000);
	assert_int_equal(wait_open(e.g, vol), 0);
	vol_chan_poll(c);
	assert_int_equal(a.n_done, 1);
	assert_int_equal(a.err, 0);
	vol_chan_close(c);
	vol_close(vol);
	vol_close(&e.f->v);
	nof_group_destroy(e.g);
}

/* It grows between being opened and being made: the header says what there are sums for. */
static void is_made_for_the_size_it_was_opened_with(void **state)
{
	struct vol_integrity_conf conf = { .name = "i", .format = true };
	struct fake_vol *f = fake_open(2 * SIZE, 512);
	static uint8_t out[SIZE], zero[SIZE];
	struct env e = { 0 };
	struct vol *vol;

	(void)state;
	f->at_once = true;
	atomic_store(&f->v.size, SIZE);
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e.g), 0);
	conf.lower = &f->v;
	conf.group = e.g;
	assert_int_equal(vol_integrity_open(&conf, &vol), 0);
	atomic_store(&f->v.size, 2 * SIZE);
	assert_int_equal(wait_open(e.g, vol), 0);
	vol_close(vol);
	assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
	assert_true(e.size < SIZE);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, e.size), 0);
	assert_memory_equal(out, zero, e.size);
	stop(&e);
}

static void count_call(void *arg)
{
	++*(unsigned *)arg;
}

/* The header has another size than the one below: who watches hears it on the control thread. */
static void tells_its_size_when_it_knows_it(void **state)
{
	struct vol_integrity_conf conf = { .name = "i" };
	struct fake_vol *f = fake_open(2 * SIZE, 512);
	struct nof_group *control;
	unsigned told = 0;
	struct vol_info info;
	struct env e;

	(void)state;
	start(&e, 512);
	close_layer(&e);
	memcpy(f->mem, e.f->mem, SIZE);
	f->at_once = true;
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &control), 0);
	conf.lower = &f->v;
	conf.group = e.g;
	conf.control = control;
	for (unsigned closed = 0; closed < 2; closed++) {
		struct vol *vol;

		assert_int_equal(vol_integrity_open(&conf, &vol), 0);
		vol_watch(vol, count_call, &told);
		assert_int_equal(wait_open(e.g, vol), 0);
		vol_info(vol, &info);
		assert_int_equal(info.size, e.size);
		assert_int_equal(told, closed); // not on this thread
		if (closed) // before it could be told
			vol_close(vol);
		nof_group_poll(control);
		assert_int_equal(told, 1);
		if (closed)
			continue;
		f->v.volatile_cache = false; // what is below may change, its size does not
		f->v.can_discard = f->v.can_zero = false;
		f->v.watch(f->v.watch_arg);
		vol_info(vol, &info);
		assert_int_equal(info.size, e.size);
		assert_true(info.can_discard && info.can_zero);
		assert_false(info.volatile_cache);
		assert_int_equal(told, 2);
		told = 1;
		vol_close(vol);
	}
	vol_close(&f->v);
	nof_group_destroy(control);
	vol_close(&e.f->v);
	nof_group_destroy(e.g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_any_end),
		cmocka_unit_test(survives_an_error_at_any_write),
		cmocka_unit_test(tells_a_read_error_of_a_block_with_two_sums),
		cmocka_unit_test(takes_no_other_header),
		cmocka_unit_test(takes_its_own_uuid_only),
		cmocka_unit_test(is_made_whole_or_not_at_all),
		cmocka_unit_test(waits_for_its_header),
		cmocka_unit_test(is_made_for_the_size_it_was_opened_with),
		cmocka_unit_test(tells_its_size_when_it_knows_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
