// SPDX-License-Identifier: Apache-2.0
/*
 * A guest that writes its rings, tables and the inflight region while the engine works on them:
 * bits flip, descriptors that are right come and go, from another process as from another virtual
 * CPU. The engine must go on or stop the ring once; it never touches what is not the guest's. Where
 * it stopped it is set up again and goes on.
 *
 * Usage: test_queue_flip [SECONDS]: how long for each layout, 2 if not said.
 */
#include "vq.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "inflight.h"

#define PENDING 8
#define SEGS 64
#define TURNS 2000 // then another ring, for this one may be stuck
#define RING_PARTS 0xb0000 // of guest memory, from its start
#define LOG_BYTES 64

static unsigned seconds = 2;

struct rng {
	uint64_t s;
};

static uint32_t rnd(struct rng *r)
{
	r->s = r->s * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(r->s >> 33);
}

/* ---- the guest ---- */

struct guest {
	struct vq *v;
	struct vho_inflight *inf;
	_Atomic uint32_t *ring_size; // shared: the engine's side says it at each start
	bool packed;
	struct rng r;
	uint32_t size;
	uint32_t at; // packed: next slot
	bool wrap;
};

static bool one_in(struct guest *g, uint32_t n)
{
	return rnd(&g->r) % n == 0;
}

static uint64_t some_address(struct guest *g)
{
	if (!one_in(g, 32))
		return VQ_BUF + rnd(&g->r) % 0x8000;
	switch (rnd(&g->r) % 4) {
	case 0:
		return VQ_SEAM - rnd(&g->r) % 64;
	case 1:
		return VQ_END - rnd(&g->r) % 64;
	case 2:
		return VQ_DESC + rnd(&g->r) % RING_PARTS; // the ring itself
	default:
		return (uint64_t)rnd(&g->r) << (rnd(&g->r) % 40);
	}
}

static uint16_t some_flags(struct guest *g)
{
	uint32_t kind = rnd(&g->r) % 64;

	return kind < 56   ? (kind % 2 ? VRING_DESC_F_WRITE : 0)
	       : kind < 60 ? VRING_DESC_F_NEXT
	       : kind < 63 ? VRING_DESC_F_INDIRECT
			   : (uint16_t)rnd(&g->r);
}

/* A descriptor or an entry of a table, wherever it starts. */
static void write_desc(struct guest *g, uint8_t *to, uint16_t bits)
{
	uint16_t flags = some_flags(g), id = (uint16_t)(rnd(&g->r) % g->size);
	struct vring_desc d = { some_address(g), one_in(g, 64) ? rnd(&g->r) : rnd(&g->r) % 4096,
		flags, id };

	if (flags == VRING_DESC_F_INDIRECT) {
		d.addr = VQ_TABLE + (one_in(g, 8) ? rnd(&g->r) % 64 : 0);
		d.len = 16 * (1 + rnd(&g->r) % 4);
	}
	if (one_in(g, 256))
		d.next = (uint16_t)rnd(&g->r);
	if (g->packed) { // id and flags have each other's place
		id = d.next;
		d.next = flags | bits;
		d.flags = id;
	}
	for (unsigned i = 0; i < 7; i++) // flags of a packed one last
		__atomic_store_n((uint16_t *)(void *)to + i, ((uint16_t *)&d)[i], __ATOMIC_RELAXED);
	__atomic_store_n((uint16_t *)(void *)to + 7, ((uint16_t *)&d)[7], __ATOMIC_RELEASE);
}

static void flip_bit(struct guest *g)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
	} part[] = { { VQ_TABLE, 256 }, { VQ_DEVICE, 256 }, { VQ_DRIVER, 128 }, { VQ_DESC, 512 } };
	unsigned k = rnd(&g->r) % 5;
	uint8_t *in = k == 4 ? g->inf->base : vq_at(g->v, part[k].gpa);
	uint32_t len = k == 4 ? (uint32_t)g->inf->size : part[k].len;

	__atomic_fetch_xor(
		in + rnd(&g->r) % len, (uint8_t)(1u << rnd(&g->r) % 8), __ATOMIC_RELAXED);
}

/* One more request, as a driver would that keeps the ring full. */
static void offer_split(struct guest *g)
{
	struct vring_avail *avail = vq_at(g->v, VQ_DRIVER);
	uint16_t done = __atomic_load_n(&vq_used(g->v)->idx, __ATOMIC_RELAXED);
	uint16_t idx = __atomic_load_n(&avail->idx, __ATOMIC_RELAXED);

	if ((uint16_t)(idx - done) > g->size)
		idx = done;
	else if ((uint16_t)(idx - done) == g->size)
		return;
	__atomic_store_n(
		&avail->ring[idx % g->size], (uint16_t)(rnd(&g->r) % g->size), __ATOMIC_RELAXED);
	__atomic_store_n(&avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

static void offer_packed(struct guest *g)
{
	uint16_t avail = (uint16_t)(1u << (g->wrap ? VRING_PACKED_DESC_F_AVAIL
						   : VRING_PACKED_DESC_F_USED));
	struct vring_packed_desc *d = &vq_pdesc(g->v)[g->at];
	uint16_t flags = __atomic_load_n(&d->flags, __ATOMIC_RELAXED);

	if ((flags & 0x8080) == avail)
		return; // the device has not used it yet
	write_desc(g, (uint8_t *)d, avail);
	if (++g->at == g->size) {
		g->at = 0;
		g->wrap = !g->wrap;
	}
}

/* Another descriptor where one stood, perhaps one that the device is looking at. */
static void spoil(struct guest *g)
{
	uint8_t *d = (uint8_t *)(vq_desc(g->v) + rnd(&g->r) % g->size);
	uint16_t was = __atomic_load_n((uint16_t *)(void *)d + 7, __ATOMIC_RELAXED);

	write_desc(g, d, one_in(g, 64) ? (uint16_t)rnd(&g->r) : was & 0x8080);
}

/* Until killed. */
static _Noreturn void guest_run(struct guest *g)
{
	for (;;) {
		uint32_t kind = rnd(&g->r) % 64;

		g->size = atomic_load(g->ring_size);
		if (kind == 0)
			flip_bit(g);
		else if (kind < 32)
			write_desc(g, (uint8_t *)vq_at(g->v, VQ_TABLE) + 16 * (rnd(&g->r) % 4), 0);
		else
			spoil(g);
	}
}

/* ---- the engine's user ---- */

struct user {
	struct vq v;
	struct vho_inflight *inf;
	uint8_t log[LOG_BYTES];
	struct guest driver; // the well-behaved half of the guest runs in this process
	struct rng r;
	bool packed;
	uint64_t popped, failed, refused;
	struct {
		struct vho_elem e;
		struct iovec iov[SEGS];
		uint64_t in_len;
		bool busy;
	} p[PENDING];
};

static uint64_t errors(const struct vho_queue *q)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		n += dpu_counter_read(&q->stats.errors[i]);
	return n;
}

/* Nothing available, as a driver leaves a ring that it hands over. */
static void empty_ring(struct user *u, const struct vho_queue_conf *c)
{
	struct vring_avail *avail = vq_at(&u->v, VQ_DRIVER);
	uint32_t at = c->base & 0x7fff;
	bool wrap = c->base >> 15 & 1;

	if (!u->packed)
		__atomic_store_n(&avail->idx, (uint16_t)c->base, __ATOMIC_RELAXED);
	for (uint32_t i = 0; u->packed && i < c->size; i++)
		__atomic_store_n(
			&vq_pdesc(&u->v)[i].flags, (i < at) == wrap ? 0x8080 : 0, __ATOMIC_RELAXED);
}

static bool set_up(struct user *u)
{
	static const uint16_t sizes[] = { 1, 2, 4, 8, 16, 32, 3, 7, 31 };
	uint64_t features = (u->packed ? VQ_PACKED : VQ_SPLIT) | VQ_INDIRECT |
			    (rnd(&u->r) % 2 ? VQ_EVENT : 0) | (rnd(&u->r) % 4 ? 0 : VQ_IN_ORDER);
	struct vho_queue_conf c = vq_conf(&u->v, features, sizes[rnd(&u->r) % (u->packed ? 9 : 6)]);
	bool wrap = rnd(&u->r) % 2;

	c.base = u->packed ? (rnd(&u->r) % c.size | (uint32_t)wrap << 15) * 0x10001u
			   : vq_used(&u->v)->idx;
	c.out_only = rnd(&u->r) % 8 == 0;
	if (rnd(&u->r) % 2) {
		c.inflight = vho_inflight_queue(u->inf, 0);
		if (rnd(&u->r) % 2)
			vho_inflight_queue_reset(c.inflight);
	}
	if (rnd(&u->r) % 4 == 0) {
		c.log = (struct vho_dirty_log){ u->log, sizeof(u->log) };
		c.log_used = true;
		c.used_log_gpa = VQ_DEVICE;
	}
	memset(u->p, 0, sizeof(u->p));
	if (rnd(&u->r) % 8)
		empty_ring(u, &c);
	if (vho_queue_setup(&u->v.q, &c) < 0) {
		vho_inflight_queue_reset(vho_inflight_queue(u->inf, 0));
		return false;
	}
	u->v.q.running = true;
	atomic_store(u->driver.ring_size, c.size);
	u->driver.size = c.size;
	u->driver.at = u->v.q.next_avail;
	u->driver.wrap = u->v.q.avail_wrap;
	return true;
}

/* All of it is the guest's memory as we have it mapped; read or write each byte. */
static void use_chain(struct user *u, const struct vho_chain *c)
{
	const struct vho_mem_map_entry *r = u->v.mem->r;
	uint64_t sum = 0;

	for (unsigned i = 0; i < (unsigned)c->n_out + c->n_in; i++) {
		const struct iovec *s = &c->iov[i];
		uint8_t *at = s->iov_base;
		unsigned k = at >= r[0].host && at < r[0].host + r[0].size ? 0 : 1;
		size_t off = (size_t)(at - r[k].host);
		volatile uint8_t x;

		assert_true(off < r[k].size && s->iov_len > 0 && s->iov_len <= r[k].size - off);
		x = at[0];
		x = at[s->iov_len - 1];
		(void)x;
		// Not into the ring: that would be our doing
		if (i >= c->n_out && k == 0 && off >= VQ_BUF - VQ_GPA && off < VQ_TABLE - VQ_GPA)
			memset(at, 0x5a, s->iov_len < 64 ? s->iov_len : 64);
		sum += s->iov_len;
	}
	assert_true(sum == c->out_len + c->in_len);
	assert_true(c->elem.n_slots > 0 && c->elem.n_slots <= u->v.q.size);
	assert_true(c->elem.id < u->v.q.size);
}

/* One turn: a few pops, a few pushes in any order. False: the ring has ended. */
static bool turn(struct user *u)
{
	struct vho_queue *q = &u->v.q;

	for (unsigned i = rnd(&u->r) % PENDING; i; i--)
		u->packed ? offer_packed(&u->driver) : offer_split(&u->driver);
	for (unsigned i = rnd(&u->r) % PENDING; i < PENDING; i++) {
		struct vho_chain c = { .iov = u->p[i].iov, .max = SEGS };
		int ret;

		if (u->p[i].busy)
			continue;
		ret = vho_queue_pop(q, &c);
		if (ret < 0)
			return false;
		if (ret == 0)
			break;
		use_chain(u, &c);
		u->popped++;
		u->p[i].e = c.elem;
		u->p[i].in_len = c.in_len;
		u->p[i].busy = true;
	}
	for (unsigned i = 0; i < PENDING; i++) {
		if (!u->p[i].busy || rnd(&u->r) % 3 == 0)
			continue;
		vho_queue_push(q, &u->p[i].e, (uint32_t)u->p[i].in_len);
		u->p[i].busy = false;
	}
	vho_queue_publish(q);
	vho_queue_notify(q);
	if (rnd(&u->r) % 4 == 0 && !vho_queue_arm(q))
		(void)vho_queue_ready(q);
	if (rnd(&u->r) % 4 == 0)
		vho_queue_disarm(q);
	return true;
}

/* A ring that has ended says so once, whatever is asked of it. */
static void after_end(struct user *u, uint64_t before)
{
	struct vho_queue *q = &u->v.q;
	struct iovec iov[SEGS];

	assert_true(q->broken);
	assert_int_equal(errors(q), before + 1);
	for (unsigned i = 0; i < 3; i++) {
		struct vho_chain c = { .iov = iov, .max = SEGS };

		assert_int_equal(vho_queue_pop(q, &c), 0);
		assert_false(vho_queue_ready(q));
	}
	for (unsigned i = 0; i < PENDING; i++)
		if (u->p[i].busy)
			vho_queue_push(q, &u->p[i].e, 0);
	vho_queue_publish(q);
	vho_queue_notify(q);
	assert_int_equal(errors(q), before + 1);
	assert_int_equal(vq_signals(u->v.err_fd), 1);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void serve(struct user *u)
{
	uint64_t end = now_ms() + seconds * 1000ULL;

	while (now_ms() < end) {
		uint64_t before = errors(&u->v.q);
		unsigned turns = 0;

		if (!set_up(u)) {
			u->refused++;
			continue;
		}
		while (turns < TURNS && turn(u))
			turns++;
		if (turns < TURNS) {
			after_end(u, before);
			u->failed++;
		} else {
			assert_int_equal(errors(&u->v.q), before);
		}
		assert_true(vho_queue_base(&u->v.q) <= UINT16_MAX || u->packed);
	}
}

static void flip(void **state)
{
	static struct user u;
	pid_t child;
	int status;

	memset(&u, 0, sizeof(u));
	u.packed = *(const bool *)*state;
	u.r.s = 1;
	vq_open(&u.v);
	assert_int_equal(vho_inflight_create(1, 32, u.packed, &u.inf), 0);
	u.driver = (struct guest){ .v = &u.v, .inf = u.inf, .packed = u.packed, .r = { 2 } };
	u.driver.ring_size = mmap(
		NULL, sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(u.driver.ring_size != MAP_FAILED);
	atomic_store(u.driver.ring_size, 1);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		guest_run(&u.driver);
	}
	serve(&u);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	vq_close(&u.v);
	vho_inflight_destroy(u.inf);
	munmap(u.driver.ring_size, sizeof(uint32_t));
	print_message("%lu chains, %lu rings ended, %lu not started\n", (unsigned long)u.popped,
		(unsigned long)u.failed, (unsigned long)u.refused);
	assert_true(u.popped > 0 && u.failed > 0);
}

int main(int argc, char **argv)
{
	static bool split = false, packed = true;
	const struct CMUnitTest tests[] = {
		{ "split", flip, NULL, NULL, &split },
		{ "packed", flip, NULL, NULL, &packed },
	};

	if (argc > 1)
		seconds = (unsigned)strtoul(argv[1], NULL, 10);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
