// SPDX-License-Identifier: Apache-2.0
/* Striped volumes: every shape of request in any order, members of other sizes, one that fails. */
#include "test.h"

#include <errno.h>

#include "fake_vol.h"
#include "group.h"
#include "vol_layer.h"
#include "vol_util.h"

#define SIZE (1u << 20)
#define STRIP 4096u
#define N_REQ 40u

struct env {
	struct fake_vol *f[VOL_STRIPE_MAX];
	unsigned n;
	struct nof_group *g;
	struct vol *v;
	struct vol_chan *c;
	uint64_t size;
};

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void start(struct env *e, unsigned n, bool at_once)
{
	struct vol *members[VOL_STRIPE_MAX];
	struct vol_stripe_conf conf = { .name = "s", .members = members, .n = n, .strip = STRIP };
	struct vol_info info;

	memset(e, 0, sizeof(*e));
	e->n = n;
	for (unsigned i = 0; i < n; i++) { // the first one is the smallest
		e->f[i] = fake_open(SIZE + i * (STRIP + 512), 512);
		e->f[i]->at_once = at_once;
		members[i] = &e->f[i]->v;
	}
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &e->g), 0);
	assert_int_equal(vol_stripe_open(&conf, &e->v), 0);
	assert_int_equal(vol_chan_open(e->v, e->g, &e->c), 0);
	vol_info(e->v, &info);
	e->size = info.size;
	assert_int_equal(e->size, (uint64_t)n * SIZE);
}

static void stop(struct env *e)
{
	vol_chan_close(e->c);
	vol_close(e->v);
	for (unsigned i = 0; i < e->n; i++)
		vol_close(&e->f[i]->v);
	nof_group_destroy(e->g);
}

/* Where a byte has to lie. */
static uint8_t *place(const struct env *e, uint64_t off)
{
	uint64_t strip = off / STRIP;

	return e->f[strip % e->n]->mem + strip / e->n * STRIP + off % STRIP;
}

struct lower_chans { // what the channel has first, behind the shared part
	struct vol_layer_chan l;
	struct vol_chan *lower[VOL_STRIPE_MAX];
};

static bool release_any(struct env *e, uint64_t *seed)
{
	unsigned i = (unsigned)(rnd(seed) % e->n);
	struct fake_vol *f = e->f[i];

	if (!f->n_held)
		return false;
	fake_release(((struct lower_chans *)e->c)->lower[i], f, (unsigned)(rnd(seed) % f->n_held));
	return true;
}

/* ---- a model ---- */

struct req {
	struct answer a; // first
	uint8_t *buf; // owned
	struct iovec iov[600];
	bool busy;
};

struct model {
	struct env e;
	uint8_t *want; // owned
	struct req r[N_REQ];
	unsigned answered;
};

/* In pieces of any length; now and then in crumbs. */
static void cut(struct req *r, uint64_t len, uint64_t *seed)
{
	bool crumbs = rnd(seed) % 4 == 0;
	unsigned n = 0;
	uint64_t at = 0;

	while (at < len) {
		uint64_t left = len - at;
		uint64_t part = n == 599 ? left : rnd(seed) % ((crumbs ? 24 : left) + 1);

		part = part < left ? part : left;
		r->iov[n++] = (struct iovec){ r->buf + at, part };
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
		VOL_WRITE_ZEROES, VOL_DISCARD, VOL_FLUSH };
	enum vol_op op = ops[rnd(seed) % 7];
	uint64_t blocks = m->e.size / 512, n = 1 + rnd(seed) % (rnd(seed) % 8 ? 24 : 600);
	uint64_t off = rnd(seed) % (blocks - n) * 512, len = op == VOL_FLUSH ? 0 : n * 512;

	if (overlaps(m, off, len))
		return;
	r->a = (struct answer){ .io = { .op = op, .off = off, .len = len, .done = on_done } };
	r->buf = malloc(len + 1);
	for (uint64_t i = 0; i <= len; i++)
		r->buf[i] = (uint8_t)rnd(seed);
	r->buf[len] = 0x77;
	cut(r, len, seed);
	if (op == VOL_WRITE)
		memcpy(m->want + off, r->buf, len);
	else if (op != VOL_READ)
		memset(m->want + off, 0, len);
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

static void every_shape_in_any_order(unsigned n, bool at_once)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t seed = 0x9e3779b97f4a7c15 ^ n;

	start(&m->e, n, at_once);
	m->want = calloc(1, m->e.size);
	while (m->answered < 2500) {
		struct req *r = &m->r[rnd(&seed) % N_REQ];

		if (!r->busy)
			issue(m, r, &seed);
		for (unsigned k = rnd(&seed) % 6; k; k--)
			(void)release_any(&m->e, &seed);
		if (rnd(&seed) % 3 == 0)
			vol_chan_poll(m->e.c);
		collect(m);
	}
	while (vol_chan_inflight(m->e.c)) {
		(void)release_any(&m->e, &seed);
		vol_chan_poll(m->e.c);
	}
	collect(m);
	for (uint64_t at = 0; at < m->e.size; at += 512)
		assert_memory_equal(place(&m->e, at), m->want + at, 512);
	free(m->want);
	stop(&m->e);
	free(m);
}

static void serves_every_shape_in_any_order(void **state)
{
	(void)state;
	every_shape_in_any_order(1, false);
	every_shape_in_any_order(2, false);
	every_shape_in_any_order(3, false);
	every_shape_in_any_order(16, true);
}

/* ---- rules ---- */

static void asks_each_member_once(void **state)
{
	struct env e;

	(void)state;
	start(&e, 3, true);
	assert_int_equal(rw(e.c, VOL_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(range(e.c, VOL_DISCARD, 512, e.size - 1024, false), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(e.f[i]->n_seen[VOL_FLUSH], 1);
		assert_int_equal(e.f[i]->n_seen[VOL_DISCARD], 1);
	}
	assert_int_equal(range(e.c, VOL_WRITE_ZEROES, STRIP, 512, false), 0);
	assert_int_equal(e.f[0]->n_seen[VOL_WRITE_ZEROES], 0);
	assert_int_equal(e.f[1]->n_seen[VOL_WRITE_ZEROES], 1);
	struct answer a = { .io = { .op = VOL_WRITE_ZEROES, .erase = true, .len = 512 } };
	assert_int_equal(run(e.c, &a), 0);
	struct iovec v = { place(&e, 0), 512 };
	a = (struct answer){
		.io = { .op = VOL_WRITE, .fua = true, .len = 512, .iov = &v, .n_iov = 1 }
	};
	assert_int_equal(run(e.c, &a), 0);
	assert_int_equal(e.f[0]->n_fua, 1);
	stop(&e);
}

/* What the members keep in the requests is not cleared again and again. */
static void leaves_what_members_keep(void **state)
{
	uint8_t buf[4 * STRIP] = { 0 };
	struct env e;

	(void)state;
	start(&e, 2, true);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, sizeof(buf)), 0);
	assert_in_range(e.f[0]->n_cleared + e.f[1]->n_cleared, 1, 4); // new ones
	stop(&e);
}

static void tells_the_error_of_one(void **state)
{
	static uint8_t buf[STRIP * 6];
	struct vol_stats s;
	struct env e;

	(void)state;
	start(&e, 3, true);
	e.f[1]->err = -ENOSPC;
	assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, STRIP), 0);
	assert_int_equal(rw(e.c, VOL_WRITE, 0, buf, sizeof(buf)), -ENOSPC);
	assert_int_equal(rw(e.c, VOL_READ, STRIP, buf, 512), -ENOSPC);
	assert_int_equal(rw(e.c, VOL_FLUSH, 0, NULL, 0), -ENOSPC);
	assert_int_equal(range(e.c, VOL_DISCARD, 0, e.size, false), -ENOSPC);
	assert_int_equal(range(e.c, VOL_DISCARD, 0, 512, false), 0);
	vol_stats(e.v, &s);
	assert_int_equal(s.errors, 4);
	e.f[1]->err = 0;
	struct iovec shorter = { buf, 512 };
	struct answer bad = { .io = { .op = VOL_WRITE, .len = 1024, .iov = &shorter, .n_iov = 1 } };
	assert_int_equal(run(e.c, &bad), -EINVAL);
	stop(&e);
}

/* More parts than the pool has: the rest waits. */
static void waits_for_the_pool(void **state)
{
	static uint8_t buf[16 * SIZE];
	struct iovec v = { buf, sizeof(buf) };
	struct answer a = {
		.io = { .op = VOL_READ, .len = sizeof(buf), .iov = &v, .n_iov = 1, .done = on_done }
	};
	uint64_t seed = 5;
	struct env e;

	(void)state;
	start(&e, 16, false);
	for (uint64_t at = 0; at < e.size; at += 512)
		memset(place(&e, at), (int)(at / 512 * 7), 512);
	vol_submit(e.c, &a.io);
	while (!a.n_done) {
		for (unsigned k = 0; k < 100; k++)
			(void)release_any(&e, &seed);
		vol_chan_poll(e.c);
	}
	assert_int_equal(a.err, 0);
	for (uint64_t at = 0; at < sizeof(buf); at++)
		assert_int_equal(buf[at], (uint8_t)(at / 512 * 7));
	stop(&e);
}

static void count_call(void *arg)
{
	++*(unsigned *)arg;
}

static void has_the_size_of_the_smallest(void **state)
{
	struct vol_info info;
	unsigned told = 0;
	uint8_t buf[512];
	struct env e;

	(void)state;
	start(&e, 3, true);
	vol_watch(e.v, count_call, &told);
	atomic_store(&e.f[2]->v.size, 3 * STRIP + 512); // the far end of a network shrank it
	e.f[2]->v.watch(e.f[2]->v.watch_arg);
	vol_info(e.v, &info);
	assert_int_equal(info.size, 9 * STRIP);
	assert_int_equal(told, 1);
	assert_int_equal(info.opt_io_size, 3 * STRIP);
	assert_int_equal(vol_resize(e.v, 3 * STRIP), -ENOTSUP);
	atomic_store(&e.f[1]->v.size, STRIP); // and nobody has heard of it yet
	assert_int_equal(rw(e.c, VOL_READ, 4 * STRIP, buf, 512), -EIO);
	assert_int_equal(vol_resize(e.v, 9 * STRIP + 512), -EINVAL);
	assert_int_equal(vol_resize(e.v, 12 * STRIP), 0);
	vol_info(&e.f[1]->v, &info);
	assert_int_equal(info.size, 4 * STRIP);
	vol_info(&e.f[0]->v, &info);
	assert_int_equal(info.size, SIZE); // larger as it is
	vol_info(e.v, &info);
	assert_int_equal(info.size, 12 * STRIP);
	stop(&e);
}

static void can_what_all_can(void **state)
{
	struct fake_vol *f[2] = { fake_open(SIZE, 512), fake_open(SIZE, 4096) };
	struct vol *members[2] = { &f[0]->v, &f[1]->v };
	struct vol_stripe_conf conf = { .name = "s", .members = members, .n = 2, .strip = STRIP };
	struct vol_info info;
	struct vol *v;

	(void)state;
	f[0]->v.can_zero = f[1]->v.can_discard = f[1]->v.can_erase = false;
	f[0]->v.volatile_cache = false;
	f[0]->v.read_only = true;
	assert_int_equal(vol_stripe_open(&conf, &v), 0);
	vol_info(v, &info);
	assert_int_equal(info.block_size, 4096);
	assert_true(info.read_only && info.volatile_cache);
	assert_false(info.can_zero || info.can_discard || info.can_erase);
	vol_close(v);
	conf.strip = 512;
	assert_int_equal(vol_stripe_open(&conf, &v), -EINVAL);
	conf.strip = 3 * 4096;
	assert_int_equal(vol_stripe_open(&conf, &v), -EINVAL);
	conf.strip = 2 * SIZE; // no member has one
	assert_int_equal(vol_stripe_open(&conf, &v), -EINVAL);
	conf.strip = 32u << 20;
	assert_int_equal(vol_stripe_open(&conf, &v), -EINVAL);
	conf.strip = STRIP;
	conf.n = 0;
	assert_int_equal(vol_stripe_open(&conf, &v), -EINVAL);
	conf.n = VOL_STRIPE_MAX + 1;
	assert_int_equal(vol_stripe_open(&conf, &v), -EINVAL);
	vol_close(&f[0]->v);
	vol_close(&f[1]->v);
}

/* One of them learns late what it can. */
static void follows_what_all_can(void **state)
{
	struct vol_info info;
	unsigned told = 0;
	struct env e;

	(void)state;
	start(&e, 2, true);
	vol_watch(e.v, count_call, &told);
	for (unsigned i = 0; i < 2; i++) {
		atomic_store(&e.f[0]->v.volatile_cache, false);
		atomic_store(&e.f[1]->v.volatile_cache, i);
		atomic_store(&e.f[1]->v.can_discard, i);
		atomic_store(&e.f[0]->v.can_zero, i);
		atomic_store(&e.f[1]->v.read_only, !i);
		e.f[1]->v.watch(e.f[1]->v.watch_arg);
		vol_info(e.v, &info);
		assert_int_equal(info.volatile_cache, i);
		assert_int_equal(info.can_discard, i);
		assert_int_equal(info.can_zero, i);
		assert_int_equal(info.read_only, !i);
		assert_int_equal(info.opt_io_size, 2 * STRIP);
		assert_int_equal(told, i + 1);
	}
	stop(&e);
}

/* Files have descriptors: one for all of them, which is readable when one of them is. */
static void sleeps_on_all_of_them(void **state)
{
	static uint8_t buf[STRIP * 8], out[STRIP * 8];
	struct vol_stripe_conf conf = { .name = "s", .n = 2, .strip = STRIP };
	struct vol *members[2], *v;
	struct nof_group *g;
	struct vol_chan *c;
	char dir[64], path[96];

	(void)state;
	make_dir(ON_TMPFS, dir, sizeof(dir));
	for (unsigned i = 0; i < 2; i++) {
		struct vol_file_conf file = {
			.name = "f", .path = path, .block_size = 512, .create_size = SIZE
		};

		snprintf(path, sizeof(path), "%s/%u", dir, i);
		assert_int_equal(vol_file_open(&file, &members[i]), 0);
		unlink(path);
	}
	rmdir(dir);
	conf.members = members;
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &g), 0);
	assert_int_equal(vol_stripe_open(&conf, &v), 0);
	assert_int_equal(vol_chan_open(v, g, &c), 0);
	assert_true(vol_chan_fd(c) >= 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i / 512 + i);
	assert_int_equal(rw(c, VOL_WRITE, 512, buf, sizeof(buf)), 0);
	assert_int_equal(rw(c, VOL_READ, 512, out, sizeof(out)), 0);
	assert_memory_equal(buf, out, sizeof(buf));
	vol_chan_close(c);
	vol_close(v);
	vol_close(members[0]);
	vol_close(members[1]);
	nof_group_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_every_shape_in_any_order),
		cmocka_unit_test(asks_each_member_once),
		cmocka_unit_test(leaves_what_members_keep),
		cmocka_unit_test(tells_the_error_of_one),
		cmocka_unit_test(waits_for_the_pool),
		cmocka_unit_test(has_the_size_of_the_smallest),
		cmocka_unit_test(can_what_all_can),
		cmocka_unit_test(follows_what_all_can),
		cmocka_unit_test(sleeps_on_all_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
