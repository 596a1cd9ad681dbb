// SPDX-License-Identifier: Apache-2.0
/*
 * Every shape of lists in rings of up to eight descriptors, every order and batching of their
 * completion (of up to four requests; of more, every batching of three orders), and death at every
 * step: the engine is compiled with a hook in vho_inflight_step(), and there, and between any two
 * calls, the shared memory is copied as a killed process leaves it and given to the next one.
 *
 * The next process must find what the driver has not seen used, each request once and in the order
 * in which it was offered; and while it completes them in any order, the driver must see exactly
 * what was completed, never a leftover of the process before. In the smallest rings it dies, too.
 *
 * Spec: vhost-user, "Inflight I/O tracking"; VIRTIO 1.3, 2.7.8 and 2.8.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "inflight_steps.h"
#include "vq.h"

#define RING_MAX 8
#define REQ_BYTES 64u
#define REGION_MAX 1024
#define POINTS_MAX 256 // of one way
#define LIVES_MAX 3

/*
 * Up to ALL_ORDERS requests, every order of pops, pushes and publications is tried. Sanitizers make
 * that ten times slower and fork(2) a hundred times: they see a part of the larger rings.
 */
#ifdef __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS(address_sanitizer) || \
	HAS(thread_sanitizer)
#define ALL_ORDERS 3
#define ONE_SHAPE_OF 16 // in rings of more than four
#else
#define ALL_ORDERS 4
#define ONE_SHAPE_OF 1
#endif
#define TWICE 3 // in rings of at most so many, the next process dies everywhere as well

/* A ring full of requests, as the driver lays it out. */
struct shape {
	bool packed, in_order;
	uint16_t size; // of the ring
	uint16_t start; // index or slot at which the ring stands
	uint8_t n; // requests
	uint8_t len[RING_MAX]; // descriptors of each
};

/* All that outlives a process. */
struct shared {
	uint8_t desc[RING_MAX * 16], device[8 + 8 * RING_MAX], region[REGION_MAX];
};

/* A device process on its memory. */
struct side {
	struct vq v;
	struct vho_inflight *inf;
	struct vho_inflight_queue *iq; // borrowed
};

/* What the process did, as the test knows it. */
struct model {
	unsigned popped; // requests, in the order they were offered
	unsigned used_before, used_after; // sets: the driver may see either
	unsigned batch; // set: pushed and not published
	unsigned pushed; // set: pushed and published
};

/* What a process that dies at one point leaves behind. */
struct death {
	struct shared memory;
	struct model m;
};

static struct {
	struct side side[LIVES_MAX]; // the first is the one that the test lets die
	unsigned life; // whose calls reach the hook
	unsigned lives; // so many die at most
	struct shape shape;
	struct model m; // of that life
	struct vho_chain chain[RING_MAX];
	struct iovec iov[RING_MAX][RING_MAX];
	unsigned long points, shapes;
	bool hooked;
	struct death *diary; // borrowed: note each point there instead of looking at it; or NULL
	unsigned long kill_at; // point at which this process kills itself; 0: never
} t;

/* ---- memory ---- */

static void save(const struct side *s, struct shared *to)
{
	memcpy(to->desc, vq_at(&s->v, VQ_DESC), sizeof(to->desc));
	memcpy(to->device, vq_at(&s->v, VQ_DEVICE), sizeof(to->device));
	memcpy(to->region, s->inf->base, s->inf->size);
}

static void load(struct side *s, const struct shared *from)
{
	memcpy(vq_at(&s->v, VQ_DESC), from->desc, sizeof(from->desc));
	memcpy(vq_at(&s->v, VQ_DEVICE), from->device, sizeof(from->device));
	memcpy(s->inf->base, from->region, s->inf->size);
}

static int start(struct side *s)
{
	const struct shape *sh = &t.shape;
	uint64_t features = (sh->packed ? VQ_PACKED : VQ_SPLIT) | (sh->in_order ? VQ_IN_ORDER : 0);
	struct vho_queue_conf c = vq_conf(&s->v, features, sh->size);

	c.base = sh->packed ? (uint32_t)(sh->start | 1u << 15) * 0x10001u : sh->start;
	c.inflight = s->iq;
	return vho_queue_setup(&s->v.q, &c);
}

/* Request i is a list whose descriptors are REQ_BYTES apart from those of the others. */
static void offer(struct side *s)
{
	const struct shape *sh = &t.shape;
	struct vring_avail *avail = vq_at(&s->v, VQ_DRIVER);
	uint16_t d = 0;

	memset(vq_at(&s->v, VQ_DESC), 0, RING_MAX * 16);
	memset(vq_at(&s->v, VQ_DEVICE), 0, 8 + 8 * RING_MAX);
	s->v.q.size = sh->size;
	s->v.avail = sh->start;
	s->v.wrap = true;
	if (!sh->packed)
		avail->idx = vq_used(&s->v)->idx = sh->start;
	for (uint16_t i = 0; i < sh->n; i++) {
		uint16_t head = d;

		for (unsigned k = 0; k < sh->len[i]; k++, d++) {
			uint64_t at = VQ_BUF + i * REQ_BYTES + k;
			uint16_t flags = VRING_DESC_F_WRITE;

			if (k + 1 < sh->len[i])
				flags |= VRING_DESC_F_NEXT;
			if (sh->packed)
				vq_put(&s->v, at, 1, i, flags);
			else
				vq_desc(&s->v)[d] = (struct vring_desc){ at, 1, flags,
					(uint16_t)(d + 1) };
		}
		if (!sh->packed)
			vq_avail(&s->v, head);
	}
}

static unsigned request_of(const struct side *s, const struct vho_chain *c)
{
	const uint8_t *p = c->iov[0].iov_base;

	return (unsigned)(p - (const uint8_t *)vho_mem_at(s->v.mem, VQ_BUF, 1)) / REQ_BYTES;
}

static unsigned request_of_head(uint32_t head)
{
	unsigned d = 0, i = 0;

	for (; i < t.shape.n && d != head; i++)
		d += t.shape.len[i];
	return i;
}

/* What the driver sees used, in order; returns how many. */
static unsigned driver_sees(const struct side *s, uint8_t *req)
{
	const struct shape *sh = &t.shape;
	uint16_t slot = sh->start;
	bool wrap = true;
	unsigned n = 0;

	if (!sh->packed) {
		for (uint16_t i = sh->start; i != vq_used(&s->v)->idx && n < RING_MAX; i++)
			req[n++] = (uint8_t)request_of_head(vq_used(&s->v)->ring[i % sh->size].id);
		return n;
	}
	while (n < sh->n && vq_slot_used(&s->v, slot, wrap)) {
		req[n] = (uint8_t)vq_pdesc(&s->v)[slot].id;
		if (req[n] >= sh->n)
			return n + 1;
		slot = (uint16_t)(slot + sh->len[req[n++]]);
		if (slot >= sh->size) {
			slot = (uint16_t)(slot - sh->size);
			wrap = !wrap;
		}
	}
	return n;
}

static unsigned set_of(const uint8_t *req, unsigned n)
{
	unsigned set = 0;

	for (unsigned i = 0; i < n; i++) {
		assert_true(req[i] < t.shape.n);
		assert_false(set & 1u << req[i]); // used twice
		set |= 1u << req[i];
	}
	return set;
}

/* ---- the next process ---- */

/* Complete what it popped: in order, backwards, or inside out; one by one or all at once. */
enum finish { IN_ORDER, BACKWARDS, INSIDE_OUT, BATCH_BACKWARDS, FINISHES };

/* The k-th of n to be completed. */
static unsigned pick(enum finish how, unsigned n, unsigned k)
{
	if (how == IN_ORDER)
		return k;
	if (how == INSIDE_OUT) // 4: 2 1 3 0
		return k % 2 ? n / 2 - (k + 1) / 2 : n / 2 + k / 2;
	return n - 1 - k;
}

/* What the driver sees when the requests in `done` were pushed and published. */
static unsigned visible(unsigned done)
{
	unsigned n = 0;

	if (!t.shape.in_order)
		return done;
	while (done & 1u << n)
		n++;
	return (1u << n) - 1;
}

static void point(void);

static void finish(struct side *s, struct vho_chain *c, const unsigned *who, unsigned n,
	unsigned used, enum finish how)
{
	uint8_t seen[RING_MAX + 1];

	for (unsigned k = 0; k < n; k++) {
		unsigned i = pick(how, n, k);

		used |= 1u << who[i];
		vho_queue_push(&s->v.q, &c[i].elem, 1);
		point();
		if (how == BATCH_BACKWARDS && k + 1 < n)
			continue;
		t.m.used_after = visible(used);
		vho_queue_publish(&s->v.q);
		t.m.used_before = t.m.used_after;
		point();
		assert_int_equal(set_of(seen, driver_sees(s, seen)), t.m.used_after);
	}
	assert_int_equal(used, (1u << t.shape.n) - 1);
	assert_false(s->v.q.broken);
}

/* A killed process left `memory` behind; the next life goes on with it, and may die in turn. */
static void check(const struct shared *memory, unsigned life, enum finish how)
{
	struct side *s = &t.side[life];
	struct iovec iov[RING_MAX][RING_MAX];
	struct vho_chain c[RING_MAX];
	struct model before = t.m;
	unsigned who[RING_MAX], n = 0, want = 0, used;
	uint8_t seen[RING_MAX + 1];

	load(s, memory);
	used = set_of(seen, driver_sees(s, seen));
	assert_true(used == t.m.used_before || used == t.m.used_after);
	t.m.used_before = t.m.used_after = used;
	t.life = life;
	t.hooked = life < t.lives;
	assert_int_equal(start(s), 0);
	assert_int_equal(set_of(seen, driver_sees(s, seen)), used); // it may have looked before
	for (; n < RING_MAX; n++) {
		c[n] = (struct vho_chain){ .iov = iov[n], .max = RING_MAX };
		if (vho_queue_pop(&s->v.q, &c[n]) != 1)
			break;
		while (want < t.shape.n && used & 1u << want)
			want++;
		who[n] = request_of(s, &c[n]);
		assert_int_equal(who[n], want++);
		assert_int_equal(c[n].n_out + c[n].n_in, t.shape.len[who[n]]);
		point();
	}
	assert_int_equal(n + (unsigned)__builtin_popcount(used), t.shape.n);
	finish(s, c, who, n, used, how);
	vho_queue_teardown(&s->v.q);
	t.hooked = false;
	t.m = before;
}

/* The process may die here. */
static void point(void)
{
	unsigned life = t.life;
	struct shared memory;

	if (!t.hooked)
		return;
	if (++t.points == t.kill_at)
		raise(SIGKILL);
	if (t.kill_at)
		return;
	save(&t.side[life], &memory);
	if (t.diary) {
		assert_true(t.points <= POINTS_MAX);
		t.diary[t.points - 1] = (struct death){ memory, t.m };
		return;
	}
	for (enum finish how = 0; how < FINISHES; how++)
		check(&memory, life + 1, how);
	t.life = life;
	t.hooked = true;
}

void vho_inflight_hook(void)
{
	point();
}

/* ---- the process that dies ---- */

/* Its own memory, to come back to another branch. */
struct state {
	struct shared memory;
	struct model m;
	struct vho_queue q;
	uint16_t n_batch, batch[RING_MAX];
	uint64_t counter;
};

static void remember(struct state *st)
{
	save(&t.side[0], &st->memory);
	st->m = t.m;
	st->q = t.side[0].v.q;
	st->n_batch = t.side[0].iq->n_batch;
	memcpy(st->batch, t.side[0].iq->batch, t.shape.size * sizeof(st->batch[0]));
	st->counter = t.side[0].iq->counter;
}

static void return_to(const struct state *st)
{
	load(&t.side[0], &st->memory);
	t.m = st->m;
	t.side[0].v.q = st->q;
	t.side[0].iq->n_batch = st->n_batch;
	memcpy(t.side[0].iq->batch, st->batch, t.shape.size * sizeof(st->batch[0]));
	t.side[0].iq->counter = st->counter;
}

static void do_pop(void)
{
	unsigned i = t.m.popped++;

	t.chain[i] = (struct vho_chain){ .iov = t.iov[i], .max = RING_MAX };
	assert_int_equal(vho_queue_pop(&t.side[0].v.q, &t.chain[i]), 1);
	assert_int_equal(request_of(&t.side[0], &t.chain[i]), i);
	point();
}

static void do_push(unsigned i)
{
	t.m.batch |= 1u << i;
	vho_queue_push(&t.side[0].v.q, &t.chain[i].elem, 1);
	point();
}

static void do_publish(void)
{
	t.m.pushed |= t.m.batch;
	t.m.used_after = visible(t.m.pushed);
	vho_queue_publish(&t.side[0].v.q);
	t.m.used_before = t.m.used_after;
	t.m.batch = 0;
	point();
}

/* Every way on from here. */
static void every_way(void)
{
	unsigned out = ((1u << t.m.popped) - 1) & ~(t.m.pushed | t.m.batch);
	struct state st;

	remember(&st);
	if (t.m.popped < t.shape.n) {
		do_pop();
		every_way();
		return_to(&st);
	}
	for (unsigned i = 0; i < t.m.popped; i++)
		if (out & 1u << i) {
			do_push(i);
			every_way();
			return_to(&st);
		}
	if (t.m.batch) {
		do_publish();
		every_way();
		return_to(&st);
	}
}

/* Batches as the bits of `cuts` say, after everything was popped. */
static void one_way(unsigned cuts, enum finish how)
{
	while (t.m.popped < t.shape.n)
		do_pop();
	for (unsigned k = 0; k < t.shape.n; k++) {
		do_push(pick(how, t.shape.n, k));
		if (cuts & 1u << k || k + 1 == t.shape.n)
			do_publish();
	}
}

/* The driver offers a ring full of requests; nobody has served it yet. */
static void lay_out(void)
{
	t.hooked = false;
	t.life = 0;
	memset(t.side[0].inf->base, 0, t.side[0].inf->size);
	t.side[0].iq->n_resubmit = t.side[0].iq->n_batch = 0;
	memset(&t.m, 0, sizeof(t.m));
	offer(&t.side[0]);
	// The driver's part does not change any more: the next processes have it too.
	for (unsigned i = 1; i < LIVES_MAX; i++)
		memcpy(vq_at(&t.side[i].v, VQ_DRIVER), vq_at(&t.side[0].v, VQ_DRIVER), 64);
}

static void run_from_start(void)
{
	t.hooked = true;
	assert_int_equal(start(&t.side[0]), 0);
	point();
}

static void begin(void)
{
	lay_out();
	run_from_start();
}

/* ---- shapes ---- */

static const struct ring_case {
	const char *name;
	bool packed, in_order;
	uint16_t size, start;
} rings[] = {
	{ "split 1", false, false, 1, 0 },
	{ "split 2, index wraps", false, false, 2, 0xffff },
	{ "split 4", false, false, 4, 3 },
	{ "split 8, index wraps", false, false, 8, 0xfffd },
	{ "packed 1", true, false, 1, 0 },
	{ "packed 2, wraps", true, false, 2, 1 },
	{ "packed 3", true, false, 3, 0 },
	{ "packed 4, wraps", true, false, 4, 2 },
	{ "packed 5, wraps", true, false, 5, 4 },
	{ "packed 6", true, false, 6, 0 },
	{ "packed 7, wraps", true, false, 7, 3 },
	{ "packed 8, wraps", true, false, 8, 5 },
	{ "split 8, in order", false, true, 8, 0 },
	{ "packed 4, in order", true, true, 4, 2 },
	{ "packed 8, in order", true, true, 8, 5 },
};

static void open_sides(const struct ring_case *r)
{
	memset(&t, 0, sizeof(t));
	for (struct side *s = t.side; s < t.side + LIVES_MAX; s++) {
		vq_open(&s->v);
		assert_int_equal(vho_inflight_create(1, r->size, r->packed, &s->inf), 0);
		assert_true(s->inf->size <= REGION_MAX);
		s->iq = vho_inflight_queue(s->inf, 0);
	}
	t.shape = (struct shape){
		.packed = r->packed, .in_order = r->in_order, .size = r->size, .start = r->start
	};
	t.lives = r->size <= TWICE ? 2 : 1;
}

static void close_sides(void)
{
	t.hooked = false;
	for (struct side *s = t.side; s < t.side + LIVES_MAX; s++) {
		vho_queue_teardown(&s->v.q);
		vho_inflight_destroy(s->inf);
		vq_close(&s->v);
	}
}

/* Call fn for every list of lengths that fits what is left of the ring. */
static void shapes_from(unsigned left, void (*fn)(void))
{
	struct shape *sh = &t.shape;

	for (unsigned len = 1; len <= left; len++) {
		sh->len[sh->n++] = (uint8_t)len;
		fn();
		shapes_from(left - len, fn);
		sh->n--;
	}
}

static void every_schedule(void)
{
	if (t.shape.size > 4 && t.shapes++ % ONE_SHAPE_OF)
		return;
	// What waits for its turn (IN_ORDER) lies where remember() does not look.
	if (t.shape.n <= ALL_ORDERS && !t.shape.in_order) {
		begin();
		every_way();
		vho_queue_teardown(&t.side[0].v.q);
		return;
	}
	for (unsigned cuts = 0; cuts < (1u << t.shape.n) / 2; cuts++)
		for (enum finish how = 0; how < BATCH_BACKWARDS; how++) {
			begin();
			one_way(cuts, how);
			vho_queue_teardown(&t.side[0].v.q);
		}
}

static void every_step(void **state)
{
	const struct ring_case *r = *state;

	open_sides(r);
	shapes_from(r->size, every_schedule);
	printf("             %s: died at %lu points\n", r->name, t.points);
	close_sides();
}

/* ---- real deaths ---- */

/* One way from the start, killed at point k: the memory is what the diary says. */
static void die_at(unsigned long k, unsigned cuts, enum finish how, const struct death *d)
{
	struct shared memory;
	int status;
	pid_t pid;

	lay_out();
	pid = fork();
	if (pid == 0) {
		t.points = 0;
		t.kill_at = k;
		t.diary = NULL;
		run_from_start();
		one_way(cuts, how);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	save(&t.side[0], &memory);
	assert_memory_equal(memory.desc, d->memory.desc, sizeof(memory.desc));
	assert_memory_equal(memory.device, d->memory.device, sizeof(memory.device));
	assert_memory_equal(memory.region, d->memory.region, t.side[0].inf->size);
	t.m = d->m;
	for (enum finish next = 0; next < FINISHES; next++)
		check(&memory, 1, next);
}

static void die_everywhere(unsigned cuts, enum finish how)
{
	static struct death diary[POINTS_MAX];
	unsigned long n;

	t.points = 0;
	t.diary = diary;
	begin();
	one_way(cuts, how);
	vho_queue_teardown(&t.side[0].v.q);
	t.hooked = false;
	n = t.points;
	for (unsigned long k = 1; k <= n; k++)
		die_at(k, cuts, how, &diary[k - 1]);
}

/* SIGKILL itself, for lists of one descriptor each and for lists as different as there is room. */
static void killed_at_every_step(void **state)
{
	const struct ring_case *r = *state;
	struct shape *sh = &t.shape;

	if (ONE_SHAPE_OF > 1 && r->size > 3) {
		print_message("a sanitizer makes fork(2) too slow for more than 3 descriptors\n");
		skip();
	}
	open_sides(r);
	t.lives = 1;
	for (unsigned lists = 0; lists < 2; lists++) {
		unsigned room = r->size;

		sh->n = 0;
		for (unsigned len = 1; len <= room; len += lists) {
			sh->len[sh->n++] = (uint8_t)len;
			room -= len;
		}
		die_everywhere(0x55, BACKWARDS);
		die_everywhere(0, INSIDE_OUT);
	}
	close_sides();
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(rings, every_step, failed);
	RUN_ROWS(rings, killed_at_every_step, failed);
	return failed;
}
