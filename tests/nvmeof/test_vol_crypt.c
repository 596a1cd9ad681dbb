// SPDX-License-Identifier: Apache-2.0
/* Encrypted volumes: the standard's vectors, every shape of request, order and error below. */
#include "test.h"

#include <errno.h>

#include "cipher.h"
#include "fake_vol.h"
#include "group.h"
#include "vol_layer.h"
#include "vol_util.h"

#define SIZE (4u << 20)
#define N_REQ 64u

struct env {
	struct fake_vol *f;
	struct nof_group *g;
	struct nof_key *key;
	struct vol *v;
	struct vol_chan *c, *lower;
	uint32_t unit;
};

static struct nof_key *test_key(void)
{
	// IEEE 1619-2007, annex B, vector 10: digits of e and pi.
	static const uint8_t bytes[NOF_KEY_LEN] = { 0x27, 0x18, 0x28, 0x18, 0x28, 0x45, 0x90, 0x45,
		0x23, 0x53, 0x60, 0x28, 0x74, 0x71, 0x35, 0x26, 0x62, 0x49, 0x77, 0x57, 0x24, 0x70,
		0x93, 0x69, 0x99, 0x59, 0x57, 0x49, 0x66, 0x96, 0x76, 0x27, 0x31, 0x41, 0x59, 0x26,
		0x53, 0x58, 0x97, 0x93, 0x23, 0x84, 0x62, 0x64, 0x33, 0x83, 0x27, 0x95, 0x02, 0x88,
		0x41, 0x97, 0x16, 0x93, 0x99, 0x37, 0x51, 0x05, 0x82, 0x09, 0x74, 0x94, 0x45,
		0x92 };
	struct nof_key *key;

	assert_int_equal(nof_key_import(bytes, &key), 0);
	return key;
}

static void start(struct env *e, uint32_t block_size, uint32_t unit)
{
	struct vol_crypt_conf conf = { .name = "c", .unit = unit };

	memset(e, 0, sizeof(*e));
	e->unit = unit;
	e->f = fake_open(SIZE, block_size);
	e->key = test_key();
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e->g), 0);
	conf.lower = &e->f->v;
	conf.key = e->key;
	assert_int_equal(vol_crypt_open(&conf, &e->v), 0);
	assert_int_equal(vol_chan_open(e->v, e->g, &e->c), 0);
	e->lower = ((struct vol_layer_chan *)e->c)->lower;
}

static void stop(struct env *e)
{
	vol_chan_close(e->c);
	vol_close(e->v);
	vol_close(&e->f->v);
	nof_group_destroy(e->g);
	nof_key_put(e->key);
}

static void agrees_with_the_standard(void **state)
{
	static const uint8_t first[32] = { 0x1c, 0x3b, 0x3a, 0x10, 0x2f, 0x77, 0x03, 0x86, 0xe4,
		0x83, 0x6c, 0x99, 0xe3, 0x70, 0xcf, 0x9b, 0xea, 0x00, 0x80, 0x3f, 0x5e, 0x48, 0x23,
		0x57, 0xa4, 0xae, 0x12, 0xd4, 0x14, 0xa3, 0xe6, 0x3b };
	uint8_t plain[512], out[512];
	struct env e;

	(void)state;
	for (unsigned i = 0; i < 512; i++)
		plain[i] = (uint8_t)i;
	start(&e, 512, 512);
	e.f->at_once = true;
	assert_int_equal(rw(e.c, VOL_WRITE, 0xff * 512, plain, 512), 0);
	assert_memory_equal(e.f->mem + 0xff * 512, first, sizeof(first));
	assert_int_equal(rw(e.c, VOL_READ, 0xff * 512, out, 512), 0);
	assert_memory_equal(out, plain, 512);
	stop(&e);
}

/* ---- many requests against a model ---- */

struct req {
	struct answer a; // first
	uint8_t *buf; // owned, len bytes and a canary
	struct iovec iov[16];
	bool busy;
};

struct model {
	struct env e;
	uint8_t *want; // owned: what a reader should see
	struct req r[N_REQ];
	unsigned answered;
};

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Cut into pieces of any length, empty ones among them. */
static void cut(struct req *r, uint64_t len, uint64_t *seed)
{
	unsigned n = 1 + (unsigned)(rnd(seed) % 15);
	uint64_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		uint64_t left = len - at, part = i == n - 1 ? left : rnd(seed) % (left + 1);

		if (rnd(seed) % 2)
			part &= ~511ULL;
		if (i == n - 1)
			part = left;
		r->iov[i] = (struct iovec){ r->buf + at, part };
		at += part;
	}
	r->a.io.iov = r->iov;
	r->a.io.n_iov = n;
}

static bool overlaps(const struct model *m, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < N_REQ; i++) {
		const struct vol_io *io = &m->r[i].a.io;

		if (m->r[i].busy && off < io->off + io->len && io->off < off + len)
			return true;
	}
	return false;
}

static void issue(struct model *m, struct req *r, uint64_t *seed)
{
	static const enum vol_op ops[] = { VOL_READ, VOL_READ, VOL_WRITE, VOL_WRITE,
		VOL_WRITE_ZEROES };
	enum vol_op op = ops[rnd(seed) % 5];
	uint64_t units = SIZE / m->e.unit, n = 1 + rnd(seed) % (rnd(seed) % 8 ? 32 : 400);
	uint64_t off = rnd(seed) % (units - n) * m->e.unit, len = n * m->e.unit;

	if (overlaps(m, off, len))
		return;
	r->a = (struct answer){ .io = { .op = op, .off = off, .len = len, .done = on_done } };
	r->buf = malloc(len + 1);
	r->buf[len] = 0x77;
	for (uint64_t i = 0; i < len; i++)
		r->buf[i] = (uint8_t)rnd(seed);
	if (op == VOL_WRITE)
		memcpy(m->want + off, r->buf, len);
	if (op == VOL_WRITE_ZEROES)
		memset(m->want + off, 0, len);
	else
		cut(r, len, seed);
	r->busy = true;
	vol_submit(m->e.c, &r->a.io);
}

static void collect(struct model *m)
{
	for (unsigned i = 0; i < N_REQ; i++) {
		struct req *r = &m->r[i];

		if (!r->busy || !r->a.n_done)
			continue;
		assert_int_equal(r->a.n_done, 1);
		assert_int_equal(r->a.err, 0);
		assert_int_equal(r->buf[r->a.io.len], 0x77);
		if (r->a.io.op == VOL_READ)
			assert_memory_equal(r->buf, m->want + r->a.io.off, r->a.io.len);
		free(r->buf);
		r->busy = false;
		m->answered++;
	}
}

static void every_shape_in_any_order(uint32_t block_size, uint32_t unit, bool at_once)
{
	static uint8_t zero[SIZE];
	struct model m = { 0 };
	uint64_t seed = 0x9e3779b97f4a7c15 ^ unit ^ (uint64_t)at_once << 40;

	start(&m.e, block_size, unit);
	m.want = calloc(1, SIZE);
	m.e.f->at_once = true;
	struct answer a = { .io = { .op = VOL_WRITE_ZEROES, .len = SIZE } };
	assert_int_equal(run(m.e.c, &a), 0);
	assert_memory_not_equal(m.e.f->mem, zero, SIZE);
	m.e.f->at_once = at_once;
	while (m.answered < 1500) {
		struct req *r = &m.r[rnd(&seed) % N_REQ];

		if (!r->busy)
			issue(&m, r, &seed);
		if (m.e.f->n_held && rnd(&seed) % 2)
			fake_release(m.e.lower, m.e.f, (unsigned)(rnd(&seed) % m.e.f->n_held));
		if (rnd(&seed) % 3 == 0)
			vol_chan_poll(m.e.c);
		collect(&m);
	}
	while (vol_chan_inflight(m.e.c)) {
		if (m.e.f->n_held)
			fake_release(m.e.lower, m.e.f, 0);
		vol_chan_poll(m.e.c);
	}
	collect(&m);
	// What lies below is nowhere what was written.
	for (uint64_t at = 0; at < SIZE; at += 512)
		assert_memory_not_equal(m.e.f->mem + at, m.want + at, 512);
	free(m.want);
	stop(&m.e);
}

static void serves_every_shape_in_any_order(void **state)
{
	(void)state;
	every_shape_in_any_order(512, 512, false);
	every_shape_in_any_order(512, 4096, false);
	every_shape_in_any_order(4096, 4096, false);
	every_shape_in_any_order(512, 512, true);
}

/* ---- limits ---- */

/* More than the pool has: they wait, are told, and no request is longer below than a buffer. */
static void waits_for_the_pool(void **state)
{
	static uint8_t buf[VOL_POOL_BUF_LEN * 2];
	static struct answer a[200];
	struct iovec v = { buf, sizeof(buf) };
	unsigned done = 0;
	struct env e;

	(void)state;
	start(&e, 512, 512);
	for (unsigned i = 0; i < 200; i++) {
		a[i] = (struct answer){ .io = { .op = i % 4 ? VOL_WRITE : VOL_FLUSH,
						.len = i % 4 ? sizeof(buf) : 0,
						.iov = &v,
						.n_iov = 1,
						.done = on_done } };
		vol_submit(e.c, &a[i].io);
	}
	assert_true(e.f->n_held <= VOL_POOL_BUFS + 50);
	assert_int_equal(e.f->max_len, VOL_POOL_BUF_LEN);
	assert_int_equal(vol_chan_inflight(e.c), 200);
	assert_int_not_equal(vol_chan_wait_us(e.c), VOL_WAIT_FD); // the fake has no descriptor
	for (unsigned left = 200000; vol_chan_inflight(e.c) && left; left--) {
		if (e.f->n_held)
			fake_release(e.lower, e.f, 0);
		else
			vol_chan_poll(e.c);
	}
	for (unsigned i = 0; i < 200; i++)
		done += a[i].n_done == 1 && a[i].err == 0;
	assert_int_equal(done, 200);
	stop(&e);
}

/* One call does not take more through the cipher than its budget, however long the request. */
static void a_long_request_takes_several_polls(void **state)
{
	static uint8_t buf[SIZE];
	struct iovec v = { buf, sizeof(buf) };
	struct answer a = {
		.io = { .op = VOL_WRITE, .len = SIZE, .iov = &v, .n_iov = 1, .done = on_done }
	};
	unsigned polls = 0;
	struct env e;

	(void)state;
	start(&e, 512, 4096);
	e.f->at_once = true;
	vol_submit(e.c, &a.io);
	assert_int_equal(e.f->n_seen[VOL_WRITE], (256u << 10) / VOL_POOL_BUF_LEN);
	assert_int_equal(vol_chan_wait_us(e.c), 0);
	for (; !a.n_done; polls++)
		vol_chan_poll(e.c);
	assert_int_equal(polls, 4); // 256 KiB and 3.75 times 1 MiB
	a = (struct answer){
		.io = { .op = VOL_READ, .len = SIZE, .iov = &v, .n_iov = 1, .done = on_done }
	};
	vol_submit(e.c, &a.io);
	assert_int_equal(a.n_done, 0);
	for (polls = 0; !a.n_done; polls++)
		vol_chan_poll(e.c);
	assert_int_equal(polls, 4);
	stop(&e);
}

/* The one below is pushed once for what went down, and not for what only came up. */
static void kicks_once(void **state)
{
	static uint8_t buf[SIZE];
	struct iovec v = { buf, sizeof(buf) };
	struct answer a = {
		.io = { .op = VOL_READ, .len = sizeof(buf), .iov = &v, .n_iov = 1, .done = on_done }
	};
	struct env e;

	(void)state;
	start(&e, 512, 512);
	vol_submit(e.c, &a.io);
	assert_int_equal(vol_chan_kick(e.c), 0);
	assert_int_equal(e.f->n_kicks, 1);
	fake_release(e.lower, e.f, 0);
	while (!a.n_done) // deciphered in several polls
		vol_chan_poll(e.c);
	assert_int_equal(e.f->n_kicks, 1);
	vol_submit(e.c, &a.io);
	vol_chan_poll(e.c); // whoever does not kick
	assert_int_equal(e.f->n_kicks, 2);
	fake_release(e.lower, e.f, 0);
	while (vol_chan_inflight(e.c))
		vol_chan_kick(e.c);
	stop(&e);
}

static void tells_errors_once(void **state)
{
	static uint8_t buf[VOL_POOL_BUF_LEN * 8];
	struct iovec v = { buf, sizeof(buf) };
	struct answer a = { .io = { .op = VOL_WRITE,
				    .len = sizeof(buf),
				    .iov = &v,
				    .n_iov = 1,
				    .done = on_done } };
	struct vol_stats s;
	struct env e;

	(void)state;
	start(&e, 512, 512);
	vol_submit(e.c, &a.io);
	e.f->err = -ENOSPC; // of the first piece; the others come back well
	fake_release(e.lower, e.f, 0);
	e.f->err = 0;
	assert_int_equal(a.n_done, 0);
	while (!a.n_done) {
		if (e.f->n_held)
			fake_release(e.lower, e.f, 0);
		else
			vol_chan_poll(e.c);
	}
	assert_int_equal(a.n_done, 1);
	assert_int_equal(a.err, -ENOSPC);
	assert_int_equal(e.f->n_seen[VOL_WRITE], 4); // no more pieces after an error
	e.f->at_once = true;
	e.f->err = -EIO;
	assert_int_equal(rw(e.c, VOL_READ, 0, buf, 512), -EIO);
	assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, 512), -EIO);
	assert_int_equal(range(e.c, VOL_DISCARD, 0, 512, false), -EIO);
	e.f->err = 0;
	struct iovec shorter = { buf, 512 };
	struct answer bad = { .io = { .op = VOL_WRITE, .len = 1024, .iov = &shorter, .n_iov = 1 } };
	assert_int_equal(run(e.c, &bad), -EINVAL);
	vol_stats(e.v, &s);
	assert_int_equal(s.errors, 5);
	stop(&e);
}

static void passes_promises_on(void **state)
{
	uint8_t buf[4096] = { 1 };
	struct iovec v = { buf, sizeof(buf) };
	struct answer a = {
		.io = { .op = VOL_WRITE, .fua = true, .len = 4096, .iov = &v, .n_iov = 1 }
	};
	struct vol_info info;
	struct env e;

	(void)state;
	start(&e, 512, 4096);
	e.f->at_once = true;
	assert_int_equal(run(e.c, &a), 0);
	assert_int_equal(e.f->n_fua, 1);
	a = (struct answer){ .io = { .op = VOL_WRITE_ZEROES, .erase = true, .len = 4096 } };
	assert_int_equal(run(e.c, &a), 0);
	assert_int_equal(e.f->n_fua, 2);
	assert_int_equal(rw(e.c, VOL_READ, 0, buf, 4096), 0);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(buf[i], 0);
	assert_int_equal(rw(e.c, VOL_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(e.f->n_seen[VOL_FLUSH], 1);
	assert_int_equal(range(e.c, VOL_DISCARD, 0, 4096, false), 0);
	assert_int_equal(e.f->n_seen[VOL_DISCARD], 1);
	vol_info(e.v, &info);
	assert_int_equal(info.block_size, 4096);
	assert_int_equal(info.size, SIZE);
	assert_int_equal(rw(e.c, VOL_READ, 512, buf, 512), -EINVAL);
	assert_int_equal(vol_resize(e.v, SIZE / 2), 0);
	vol_info(&e.f->v, &info);
	assert_int_equal(info.size, SIZE / 2);
	stop(&e);
}

static void count_call(void *arg)
{
	++*(unsigned *)arg;
}

/* The far end of a network gave the one below another size. */
static void follows_the_size_below(void **state)
{
	struct vol_info info;
	unsigned told = 0;
	struct env e;

	(void)state;
	start(&e, 512, 4096);
	vol_watch(e.v, count_call, &told);
	atomic_store(&e.f->v.size, SIZE / 2 + 512);
	e.f->v.watch(e.f->v.watch_arg);
	vol_info(e.v, &info);
	assert_int_equal(info.size, SIZE / 2);
	assert_int_equal(told, 1);
	stop(&e);
}

/* So did what it can: a cache that is heard of late is flushed. */
static void follows_what_the_one_below_can(void **state)
{
	struct vol_info info;
	unsigned told = 0;
	struct env e;

	(void)state;
	start(&e, 512, 4096);
	vol_watch(e.v, count_call, &told);
	for (unsigned i = 0; i < 2; i++) {
		e.f->v.volatile_cache = e.f->v.can_discard = i;
		e.f->v.can_zero = false;
		e.f->v.read_only = !i;
		e.f->v.opt_io_size = 4096 << i;
		e.f->v.watch(e.f->v.watch_arg);
		vol_info(e.v, &info);
		assert_int_equal(info.volatile_cache, i);
		assert_int_equal(info.can_discard, i);
		assert_int_equal(info.can_zero, i); // of its own
		assert_int_equal(info.read_only, !i);
		assert_int_equal(info.opt_io_size, 4096 << i);
		assert_int_equal(told, i + 1);
	}
	stop(&e);
}

static void refuses_units_that_do_not_fit(void **state)
{
	struct fake_vol *f = fake_open(SIZE, 4096);
	struct nof_key *key = test_key();
	struct vol_crypt_conf conf = { "c", &f->v, key, 512 };
	struct vol *v;

	(void)state;
	assert_int_equal(vol_crypt_open(&conf, &v), -EINVAL);
	conf.unit = 1024;
	assert_int_equal(vol_crypt_open(&conf, &v), -EINVAL);
	conf.unit = 4096;
	assert_int_equal(vol_crypt_open(&conf, &v), 0);
	vol_close(v);
	vol_close(&f->v);
	nof_key_put(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_standard),
		cmocka_unit_test(serves_every_shape_in_any_order),
		cmocka_unit_test(waits_for_the_pool),
		cmocka_unit_test(a_long_request_takes_several_polls),
		cmocka_unit_test(kicks_once),
		cmocka_unit_test(tells_errors_once),
		cmocka_unit_test(passes_promises_on),
		cmocka_unit_test(follows_the_size_below),
		cmocka_unit_test(follows_what_the_one_below_can),
		cmocka_unit_test(refuses_units_that_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
