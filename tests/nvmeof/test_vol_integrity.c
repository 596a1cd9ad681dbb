// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes with checksums: every shape of request in any order, what is damaged or misplaced below,
 * layers on layers, two workers.
 */
#include "integrity_rig.h"

#include <pthread.h>

#define N_REQ 48u

/* ---- the layout ---- */

/* Every block has its own place, beside the header and the sum blocks. */
static void lays_out_every_size(void **state)
{
	uint64_t seed = 77;

	(void)state;
	// Not the sum of another block, or of another volume.
	assert_int_not_equal(vol_sum_of(1, 1, "x", 1), vol_sum_of(1, 2, "x", 1));
	assert_int_not_equal(vol_sum_of(1, 1, "x", 1), vol_sum_of(2, 1, "x", 1));
	for (unsigned i = 0; i < 300; i++) {
		uint32_t bs = i % 2 ? 512 : 4096;
		uint64_t size = VOL_SUM_HEADER_LEN + rnd(&seed) % (i % 3 ? 1u << 18 : 40u << 20);
		struct vol_sum_geo g;
		uint8_t *used = calloc(1, size / bs + 1);

		if (vol_sum_geo_init(&g, size, bs)) {
			assert_true(size < VOL_SUM_HEADER_LEN + 2 * bs);
			free(used);
			continue;
		}
		for (uint64_t s = 0; s < g.n_sums; s++) {
			uint64_t at = vol_sum_at(&g, s);

			assert_true(at >= VOL_SUM_HEADER_LEN && at + bs <= size);
			assert_int_equal(used[at / bs]++, 0);
		}
		for (uint64_t b = 0; b < g.n_blocks; b++) {
			uint64_t at = vol_sum_block_at(&g, b);

			assert_true(at >= VOL_SUM_HEADER_LEN && at + bs <= size);
			assert_int_equal(used[at / bs]++, 0);
			if (b % g.per_sum)
				assert_int_equal(at, vol_sum_block_at(&g, b - 1) + bs);
		}
		assert_true((g.n_blocks + g.per_sum - 1) / g.per_sum == g.n_sums);
		assert_true((size - VOL_SUM_HEADER_LEN) / bs - g.n_blocks - g.n_sums <= 1);
		free(used);
	}
}

/* ---- many requests against a model ---- */

struct model {
	struct env e;
	uint8_t *want; // owned: what a reader should see
	struct req r[N_REQ];
	unsigned answered;
};

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
	static const enum vol_op ops[] = { VOL_READ, VOL_READ, VOL_WRITE, VOL_WRITE, VOL_WRITE,
		VOL_WRITE_ZEROES, VOL_DISCARD, VOL_FLUSH };
	enum vol_op op = ops[rnd(seed) % 8];
	uint64_t blocks = m->e.size / m->e.bs, n = 1 + rnd(seed) % (rnd(seed) % 8 ? 16 : 300);
	uint64_t off, len;

	n = n < blocks ? n : blocks - 1;
	off = rnd(seed) % (blocks - n) * m->e.bs;
	len = op == VOL_FLUSH ? 0 : n * m->e.bs;
	if (overlaps(m, off, len))
		return;
	fill(r, op, off, len, seed);
	r->a.io.unmap = rnd(seed) % 2;
	r->a.io.erase = op == VOL_WRITE_ZEROES && rnd(seed) % 2;
	if (op == VOL_WRITE)
		memcpy(m->want + off, r->buf, len);
	else if (op != VOL_READ)
		memset(m->want + off, 0, len);
	vol_submit(m->e.c[rnd(seed) % 2], &r->a.io);
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

static void every_shape_in_any_order(uint32_t block_size, bool at_once)
{
	struct model m = { 0 };
	uint64_t seed = 0x9e3779b97f4a7c15 ^ block_size ^ (uint64_t)at_once << 40;

	start(&m.e, block_size);
	m.want = calloc(1, SIZE);
	m.e.f->at_once = at_once;
	while (m.answered < 3000) {
		struct req *r = &m.r[rnd(&seed) % N_REQ];

		if (!r->busy)
			issue(&m, r, &seed);
		for (unsigned n = rnd(&seed) % 4; n && m.e.f->n_held; n--)
			release_one(&m.e, (unsigned)(rnd(&seed) % m.e.f->n_held));
		vol_chan_poll(m.e.c[rnd(&seed) % 2]);
		collect(&m);
	}
	while (vol_chan_inflight(m.e.c[0]) + vol_chan_inflight(m.e.c[1])) {
		if (m.e.f->n_held)
			release_one(&m.e, 0);
		vol_chan_poll(m.e.c[0]);
		vol_chan_poll(m.e.c[1]);
	}
	collect(&m);
	assert_int_equal(mismatches(&m.e), 0);
	// The same to somebody who opens it anew.
	struct fake_vol *f = m.e.f;
	uint8_t *all = malloc(m.e.size);

	f->at_once = true;
	close_layer(&m.e);
	assert_int_equal(open_on(&m.e, f, AS_IT_IS), 0);
	assert_int_equal(rw(m.e.c[0], VOL_READ, 0, all, m.e.size), 0);
	assert_memory_equal(all, m.want, m.e.size);
	free(all);
	free(m.want);
	stop(&m.e);
}

static void serves_every_shape_in_any_order(void **state)
{
	(void)state;
	every_shape_in_any_order(512, false);
	every_shape_in_any_order(4096, false);
	every_shape_in_any_order(512, true);
}

/* ---- damage ---- */

static void tells_of_what_is_damaged(void **state)
{
	uint8_t buf[4096 * 4], out[4096 * 4];
	struct vol_sum_geo g;
	struct env e;
	uint64_t a, b;

	(void)state;
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + i / 512);
	for (uint32_t bs = 512; bs <= 4096; bs *= 8) {
		start(&e, bs);
		g = geo_of(&e);
		assert_int_equal(rw(e.c[0], VOL_WRITE, 0, buf, 4 * bs), 0);
		a = vol_sum_block_at(&g, 1), b = vol_sum_block_at(&g, 2);

		e.f->mem[a + 100] ^= 4; // a bit
		assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 4 * bs), -EIO);
		assert_int_equal(mismatches(&e), 1);
		assert_int_equal(rw(e.c[1], VOL_READ, 0, out, bs), 0); // not its neighbour
		e.f->mem[a + 100] ^= 4;
		assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 4 * bs), 0);
		assert_memory_equal(out, buf, 4 * bs);

		memcpy(e.f->mem + a, e.f->mem + b, bs); // written to the wrong place
		assert_int_equal(rw(e.c[0], VOL_READ, bs, out, bs), -EIO);
		assert_int_equal(rw(e.c[0], VOL_READ, 2 * bs, out, bs), 0);
		assert_int_equal(rw(e.c[0], VOL_WRITE, bs, buf, bs), 0); // a new one mends it
		assert_int_equal(rw(e.c[0], VOL_READ, bs, out, bs), 0);
		assert_memory_equal(out, buf, bs);

		memset(e.f->mem + b, 0, bs); // lost
		assert_int_equal(rw(e.c[0], VOL_READ, 2 * bs, out, bs), -EIO);
		assert_int_equal(mismatches(&e), 3);
		stop(&e);
	}
}

static void tells_of_damaged_sums(void **state)
{
	uint8_t buf[512] = { 1, 2, 3 }, out[512];
	struct vol_sum_geo g;
	struct fake_vol *f;
	struct env e;

	(void)state;
	start(&e, 512);
	f = e.f;
	g = geo_of(&e);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, buf, 512), 0);
	assert_int_equal(rw(e.c[0], VOL_WRITE, g.per_sum * 512ull, buf, 512), 0);
	close_layer(&e);
	for (unsigned at = 0; at < 512; at++) { // any byte of it: also one that says "not written"
		f->mem[vol_sum_at(&g, 0) + at] ^= 0xff;
		assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
		assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), -EIO);
		assert_int_equal(rw(e.c[0], VOL_WRITE, 0, buf, 512), -EIO);
		assert_int_equal(mismatches(&e), 2);
		close_layer(&e);
		f->mem[vol_sum_at(&g, 0) + at] ^= 0xff;
	}
	// That of another place, whole as it is.
	memcpy(f->mem + vol_sum_at(&g, 0), f->mem + vol_sum_at(&g, 1), 512);
	assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), -EIO);
	stop(&e);
}

static void reads_zeros_where_nothing_was_written(void **state)
{
	static uint8_t out[SIZE], zero[SIZE];
	uint8_t buf[4096];
	struct vol_info info;
	struct fake_vol *f;
	struct env e;

	(void)state;
	start(&e, 4096);
	f = e.f;
	close_layer(&e);
	memset(f->mem, 0xaa, SIZE);
	assert_int_equal(open_on(&e, f, OVERWRITE), 0);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, e.size), 0);
	assert_memory_equal(out, zero, e.size);
	memset(buf, 0x55, sizeof(buf));
	assert_int_equal(rw(e.c[0], VOL_WRITE, 8192, buf, 4096), 0);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 12288, buf, 4096), 0);
	f->v.can_discard = false;
	assert_int_equal(range(e.c[1], VOL_DISCARD, 8192, 4096, false), 0);
	struct answer a = {
		.io = { .op = VOL_WRITE_ZEROES, .erase = true, .off = 12288, .len = 4096 }
	};
	assert_int_equal(run(e.c[1], &a), 0);
	assert_int_equal(f->n_seen[VOL_WRITE_ZEROES], 1);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, e.size), 0);
	assert_memory_equal(out, zero, e.size);
	assert_int_equal(mismatches(&e), 0);
	vol_info(e.v, &info);
	assert_true(info.can_discard && info.can_zero && info.can_erase);
	stop(&e);
}

/* A block that was written once and then lost is no block that never was written. */
static void a_new_block_is_told_of_when_it_is_lost(void **state)
{
	uint8_t buf[512] = { 5 }, out[512];
	struct vol_sum_geo g;
	struct fake_vol *f;
	struct env e;

	(void)state;
	start(&e, 512);
	f = e.f;
	g = geo_of(&e);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, buf, 512), 0);
	close_layer(&e); // with whatever it only knew in memory
	memset(f->mem + vol_sum_block_at(&g, 0), 0, 512);
	assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), -EIO);
	stop(&e);
}

/* A flush has the sum blocks say what memory knows: a write that is lost later is found. */
static void a_lost_write_is_found_after_a_flush(void **state)
{
	uint8_t old[512] = { 5 }, new[512] = { 6 }, out[512];
	struct vol_sum_geo g;
	struct fake_vol *f;
	struct env e;

	(void)state;
	start(&e, 512);
	f = e.f;
	g = geo_of(&e);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, old, 512), 0);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, new, 512), 0);
	assert_int_equal(rw(e.c[1], VOL_FLUSH, 0, NULL, 0), 0);
	close_layer(&e);
	memcpy(f->mem + vol_sum_block_at(&g, 0), old, 512);
	assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), -EIO);
	stop(&e);
}

/*
 * The same while somebody has the slot of the sum block: one who writes a neighbour, whose new sum
 * block is on its way, or one who reads a block that does not fit once more.
 */
static void a_flush_waits_for(enum vol_op holder, unsigned who)
{
	uint8_t old[512] = { 5 }, new[512] = { 6 }, out[512], other[512] = { 7 };
	struct iovec v = { other, 512 };
	struct answer a = { .io = { .op = holder,
				    .off = 512,
				    .len = 512,
				    .iov = &v,
				    .n_iov = 1,
				    .done = on_done } };
	struct answer flush = { .io = { .op = VOL_FLUSH, .done = on_done } };
	struct vol_sum_geo g;
	struct fake_vol *f;
	struct env e;

	start(&e, 512);
	f = e.f;
	g = geo_of(&e);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 512, other, 512), 0);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, old, 512), 0);
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, new, 512), 0);
	f->mem[vol_sum_block_at(&g, 1)] ^= holder == VOL_READ; // damaged
	f->at_once = false;
	vol_submit(e.c[who], &a.io);
	if (holder == VOL_READ)
		release_one(&e, 0);
	assert_int_equal(f->n_held, 1); // the sum block, or the second look
	f->at_once = true;
	vol_submit(e.c[0], &flush.io);
	vol_chan_poll(e.c[0]);
	assert_int_equal(flush.n_done, 0);
	release_one(&e, 0);
	while (!flush.n_done || !a.n_done)
		vol_chan_poll(e.c[flush.n_done ? who : 0]);
	assert_int_equal(flush.err, 0);
	assert_int_equal(a.err, holder == VOL_READ ? -EIO : 0);
	close_layer(&e);
	memcpy(f->mem + vol_sum_block_at(&g, 0), old, 512);
	assert_int_equal(open_on(&e, f, AS_IT_IS), 0);
	assert_int_equal(rw(e.c[0], VOL_READ, 0, out, 512), -EIO);
	stop(&e);
}

static void a_flush_waits_for_whoever_has_a_slot(void **state)
{
	(void)state;
	for (unsigned who = 0; who < 2; who++) {
		a_flush_waits_for(VOL_READ, who);
		a_flush_waits_for(VOL_WRITE, who);
	}
}

/* One that has nothing new to say holds no flush up. */
static void a_flush_passes_those_that_know_nothing_new(void **state)
{
	uint8_t buf[512] = { 5 };
	struct iovec v = { buf, 512 };
	struct answer a = {
		.io = { .op = VOL_WRITE, .len = 512, .iov = &v, .n_iov = 1, .done = on_done }
	};
	struct env e;

	(void)state;
	start(&e, 512);
	e.f->at_once = false;
	vol_submit(e.c[1], &a.io);
	assert_int_equal(e.f->n_held, 1);
	e.f->at_once = true;
	assert_int_equal(rw(e.c[0], VOL_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(a.n_done, 0);
	release_one(&e, 0);
	assert_int_equal(a.n_done, 1);
	stop(&e);
}

/* A write and a read of the same blocks: old or new, never an error. */
static void reads_while_it_writes(void **state)
{
	uint64_t seed = 4711;
	uint8_t w[16 * 512], out[16 * 512];
	struct env e;

	(void)state;
	start(&e, 512);
	memset(w, 1, sizeof(w));
	assert_int_equal(rw(e.c[0], VOL_WRITE, 0, w, sizeof(w)), 0);
	e.f->at_once = false;
	for (unsigned round = 2; round < 200; round++) {
		struct iovec vw = { w, sizeof(w) }, vr = { out, sizeof(out) };
		struct answer aw = { .io = { VOL_WRITE, .len = sizeof(w), .iov = &vw, .n_iov = 1,
					     .done = on_done } };
		struct answer ar = { .io = { VOL_READ, .len = sizeof(out), .iov = &vr, .n_iov = 1,
					     .done = on_done } };

		memset(w, (int)round, sizeof(w));
		vol_submit(e.c[round % 2], &ar.io);
		vol_submit(e.c[0], &aw.io);
		memset(w, 0xee, sizeof(w)); // it had its copy
		while (!aw.n_done || !ar.n_done) {
			if (e.f->n_held)
				release_one(&e, (unsigned)(rnd(&seed) % e.f->n_held));
			vol_chan_poll(e.c[0]);
			vol_chan_poll(e.c[1]);
		}
		assert_int_equal(aw.err, 0);
		assert_int_equal(ar.err, 0);
		for (unsigned i = 0; i < sizeof(out); i += 512)
			assert_true(out[i] == (uint8_t)round || out[i] == (uint8_t)(round - 1));
	}
	assert_int_equal(mismatches(&e), 0);
	stop(&e);
}

/* What the volume below keeps in the requests is not cleared again and again. */
static void leaves_what_is_kept_below(void **state)
{
	uint8_t buf[512] = { 0 };
	struct env e;
	unsigned was;

	(void)state;
	start(&e, 512);
	was = e.f->n_cleared;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(rw(e.c[0], VOL_WRITE, 0, buf, 512), 0);
	assert_in_range(e.f->n_cleared - was, 0, 1);
	stop(&e);
}

/* ---- layers on layers ---- */

#define STACKS 100u

struct stack {
	struct fake_vol *f;
	struct vol *lower, *upper;
	struct vol_chan *c;
	struct answer a[4];
};

static void open_stack(struct stack *s, struct nof_group *g)
{
	struct vol_integrity_conf conf = { .name = "i", .group = g, .format = true };

	s->f = fake_open(SIZE, 512);
	s->f->at_once = true;
	conf.lower = &s->f->v;
	assert_int_equal(vol_integrity_open(&conf, &s->lower), 0);
	assert_int_equal(wait_open(g, s->lower), 0);
	conf.lower = s->lower;
	assert_int_equal(vol_integrity_open(&conf, &s->upper), 0);
	assert_int_equal(wait_open(g, s->upper), 0);
	assert_int_equal(vol_chan_open(s->upper, g, &s->c), 0);
	s->f->at_once = false;
}

/* The upper ones would have the pool for themselves, and wait for the lower ones. */
static void layers_on_layers_go_on(void **state)
{
	static uint8_t buf[VOL_POOL_BUF_LEN];
	static struct stack s[STACKS];
	struct iovec v = { buf, sizeof(buf) };
	struct nof_group *g;
	unsigned left = 1;

	(void)state;
	assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &g), 0);
	for (unsigned i = 0; i < STACKS; i++)
		open_stack(&s[i], g);
	for (unsigned i = 0; i < STACKS * 4; i++) {
		struct answer *a = &s[i % STACKS].a[i / STACKS];

		*a = (struct answer){ .io = { .op = VOL_WRITE,
					      .len = sizeof(buf),
					      .iov = &v,
					      .n_iov = 1,
					      .done = on_done } };
		vol_submit(s[i % STACKS].c, &a->io);
	}
	for (unsigned rounds = 0; left && rounds < 20000; rounds++) {
		left = 0;
		for (unsigned i = 0; i < STACKS; i++) {
			struct vol_layer_chan *mid =
				(struct vol_layer_chan *)((struct vol_layer_chan *)s[i].c)->lower;

			if (s[i].f->n_held)
				fake_release(mid->lower, s[i].f, 0);
			vol_chan_poll(s[i].c);
			left += vol_chan_inflight(s[i].c);
		}
	}
	assert_int_equal(left, 0);
	for (unsigned i = 0; i < STACKS; i++) {
		vol_chan_close(s[i].c);
		vol_close(s[i].upper);
		vol_close(s[i].lower);
		vol_close(&s[i].f->v);
	}
	nof_group_destroy(g);
}

/* ---- two workers ---- */

struct worker {
	pthread_t thread;
	struct vol *v;
	struct nof_group *g;
	unsigned no;
	int err;
};

/*
 * Memory stands for a device here. That one reads a block while another writes it is what devices
 * do, and the sums find what comes of it; ThreadSanitizer sees memory that two threads touch.
 */
#ifdef __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || HAS(thread_sanitizer)
enum { READS_OTHERS = 0 };
#else
enum { READS_OTHERS = 1 };
#endif

/* One whose slot another worker has is asked again and again. */
static int spin(struct vol_chan *c, enum vol_op op, uint64_t off, void *buf)
{
	struct iovec v = { buf, 4096 };
	struct answer a = {
		.io = { .op = op, .off = off, .len = 4096, .iov = &v, .n_iov = 1, .done = on_done }
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
	uint8_t buf[4096], out[4096];
	struct vol_chan *c;

	if (vol_chan_open(w->v, w->g, &c))
		abort();
	for (unsigned i = 0; i < 4000 && !w->err; i++) {
		uint64_t off = (rnd(&seed) % 200 * 2 + w->no) * 4096;

		memset(buf, (int)rnd(&seed), sizeof(buf));
		w->err = spin(c, VOL_WRITE, off, buf);
		if (!w->err)
			w->err = spin(c, VOL_READ, off, out);
		if (!w->err && memcmp(buf, out, 4096) != 0)
			w->err = -EILSEQ;
		if (!w->err && READS_OTHERS) // their blocks: whatever they are
			w->err = spin(c, VOL_READ, off ^ 4096, out);
	}
	vol_chan_close(c);
	return NULL;
}

static void serves_two_workers(void **state)
{
	struct vol_ram_conf ram = { .name = "r", .size = 4u << 20, .block_size = 512 };
	struct vol_integrity_conf conf = { .name = "i", .format = true };
	struct worker w[2] = { { .no = 0 }, { .no = 1 } };
	struct vol_stats s;
	struct vol *lower, *v;

	(void)state;
	assert_int_equal(vol_ram_open(&ram, &lower), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(nof_group_create(&(struct nof_group_conf){ 0 }, &w[i].g), 0);
	conf.lower = lower;
	conf.group = w[0].g;
	assert_int_equal(vol_integrity_open(&conf, &v), 0);
	assert_int_equal(wait_open(w[0].g, v), 0);
	for (unsigned i = 0; i < 2; i++) {
		w[i].v = v;
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].err, 0);
	}
	vol_stats(v, &s);
	assert_int_equal(s.mismatches, 0);
	vol_close(v);
	vol_close(lower);
	for (unsigned i = 0; i < 2; i++)
		nof_group_destroy(w[i].g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lays_out_every_size),
		cmocka_unit_test(serves_every_shape_in_any_order),
		cmocka_unit_test(tells_of_what_is_damaged),
		cmocka_unit_test(tells_of_damaged_sums),
		cmocka_unit_test(reads_zeros_where_nothing_was_written),
		cmocka_unit_test(a_new_block_is_told_of_when_it_is_lost),
		cmocka_unit_test(a_lost_write_is_found_after_a_flush),
		cmocka_unit_test(a_flush_waits_for_whoever_has_a_slot),
		cmocka_unit_test(a_flush_passes_those_that_know_nothing_new),
		cmocka_unit_test(reads_while_it_writes),
		cmocka_unit_test(leaves_what_is_kept_below),
		cmocka_unit_test(layers_on_layers_go_on),
		cmocka_unit_test(serves_two_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
