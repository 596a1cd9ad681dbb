// SPDX-License-Identifier: Apache-2.0
/*
 * A device process is killed after each instruction that changed shared memory. Whoever comes next
 * must find every request exactly once: used, or in flight, or still available.
 */
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "inflight_steps.h"
#include "vq.h"

#define RINGS_LEN 0x100000 // of guest memory: all ring parts
#define REQ_BYTES 64u

static const struct crash_case {
	const char *name;
	bool packed;
	uint16_t size;
	uint16_t start; // index at which the ring stands
	bool pairs; // packed: lists of two descriptors
} crashes[] = {
	{ "split 1", false, 1, 0, false },
	{ "split 2, index wraps", false, 2, 0xffff, false },
	{ "split 4", false, 4, 3, false },
	{ "split 8, index wraps", false, 8, 0xfffb, false },
	{ "packed 1", true, 1, 0, false },
	{ "packed 2", true, 2, 1, false },
	{ "packed 3", true, 3, 2, false },
	{ "packed 5, lists", true, 5, 4, true },
	{ "packed 8", true, 8, 5, false },
	{ "packed 8, lists", true, 8, 7, true },
};

struct crash_rig {
	struct vq v;
	struct vho_inflight *inf;
	unsigned n; // requests offered
};

static uint32_t start_base(const struct crash_case *t)
{
	if (!t->packed)
		return t->start;
	return (uint32_t)(t->start | 1u << 15) * 0x10001u;
}

static int start_queue(struct crash_rig *r, const struct crash_case *t)
{
	struct vho_queue_conf c = vq_conf(&r->v, t->packed ? VQ_PACKED : VQ_SPLIT, t->size);

	c.base = start_base(t);
	c.inflight = vho_inflight_queue(r->inf, 0);
	return vho_queue_setup(&r->v.q, &c);
}

/* Request i is a buffer at VQ_BUF + i * REQ_BYTES. */
static void offer_all(struct crash_rig *r, const struct crash_case *t)
{
	unsigned slots = t->pairs ? 2 : 1;

	r->v.q.size = t->size;
	r->v.avail = t->start;
	r->n = t->size / slots;
	if (!t->packed) {
		((struct vring_avail *)vq_at(&r->v, VQ_DRIVER))->idx = t->start;
		vq_used(&r->v)->idx = t->start;
	}
	for (unsigned i = 0; i < r->n; i++) {
		uint64_t at = VQ_BUF + i * REQ_BYTES;

		if (t->packed) {
			if (t->pairs)
				vq_put(&r->v, at, 16, 0, VRING_DESC_F_NEXT);
			vq_put(&r->v, at + 16, 16, (uint16_t)i, VRING_DESC_F_WRITE);
		} else {
			vq_desc(&r->v)[i] = (struct vring_desc){ at + 16, 16, VRING_DESC_F_WRITE,
				0 };
			vq_avail(&r->v, (uint16_t)i);
		}
	}
}

/* Which requests the driver sees used: one count each. */
static void count_used(const struct crash_rig *r, const struct crash_case *t, unsigned *seen)
{
	uint16_t slot = t->start;
	bool wrap = true;

	if (!t->packed) {
		for (uint16_t i = t->start; i != vq_used(&r->v)->idx; i++)
			seen[vq_used(&r->v)->ring[i % t->size].id]++;
		return;
	}
	for (unsigned k = 0; k < r->n && vq_slot_used(&r->v, slot, wrap); k++) {
		seen[vq_pdesc(&r->v)[slot].id]++;
		slot = (uint16_t)(slot + (t->pairs ? 2 : 1));
		if (slot >= t->size) {
			slot = (uint16_t)(slot - t->size);
			wrap = !wrap;
		}
	}
}

static unsigned request_of(const struct crash_rig *r, const struct vho_chain *c)
{
	const uint8_t *p = c->iov[0].iov_base;
	const uint8_t *base = vho_mem_at(r->v.mem, VQ_BUF, 1);

	return (unsigned)(p - base) / REQ_BYTES;
}

/* The process that is killed: some requests one by one, the others as a batch, out of order. */
static void device(struct crash_rig *r)
{
	struct iovec iov[8][2];
	struct vho_chain c[8];
	unsigned half = (r->n + 1) / 2;

	for (unsigned i = 0; i < half; i++) {
		c[i] = (struct vho_chain){ .iov = iov[i], .max = 2 };
		if (vho_queue_pop(&r->v.q, &c[i]) != 1)
			_exit(1);
	}
	vho_queue_push(&r->v.q, &c[half - 1].elem, 1);
	vho_queue_publish(&r->v.q);
	for (unsigned i = half; i < r->n; i++) {
		c[i] = (struct vho_chain){ .iov = iov[i], .max = 2 };
		if (vho_queue_pop(&r->v.q, &c[i]) != 1)
			_exit(1);
	}
	for (unsigned i = r->n; i-- > 0;)
		if (i != half - 1)
			vho_queue_push(&r->v.q, &c[i].elem, 1);
	vho_queue_publish(&r->v.q);
	_exit(0);
}

/* What the next process makes of the memory as it is now. */
static void check(const struct crash_rig *r, const struct crash_case *t, struct crash_rig *next)
{
	unsigned seen[8] = { 0 }, after[8] = { 0 }, n;
	struct iovec iov[8][2];
	struct vho_chain c[8];

	memcpy(next->v.base, r->v.base, RINGS_LEN);
	memcpy(next->inf->base, r->inf->base, r->inf->size);
	next->n = r->n;
	assert_int_equal(start_queue(next, t), 0);
	count_used(next, t, seen);
	for (n = 0; n < 8; n++) {
		c[n] = (struct vho_chain){ .iov = iov[n], .max = 2 };
		if (vho_queue_pop(&next->v.q, &c[n]) != 1)
			break;
		seen[request_of(next, &c[n])]++;
	}
	for (unsigned i = 0; i < r->n; i++)
		assert_int_equal(seen[i], 1);
	for (unsigned i = 0; i < n; i++)
		vho_queue_push(&next->v.q, &c[i].elem, 1);
	vho_queue_publish(&next->v.q);
	count_used(next, t, after);
	for (unsigned i = 0; i < r->n; i++)
		assert_int_equal(after[i], 1);
	assert_false(next->v.q.broken);
}

static void crash(void **state)
{
	static uint8_t rings[RINGS_LEN], region[4096];
	const struct crash_case *t = *state;
	struct crash_rig r = { 0 }, next = { 0 };
	unsigned points = 0;
	int status;
	pid_t pid;

	vq_open(&r.v);
	vq_open(&next.v);
	offer_all(&r, t);
	assert_int_equal(vho_inflight_create(1, t->size, t->packed, &r.inf), 0);
	assert_int_equal(vho_inflight_create(1, t->size, t->packed, &next.inf), 0);
	assert_int_equal(start_queue(&r, t), 0);
	pid = fork();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		device(&r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); // tracing is not allowed here
	while (WIFSTOPPED(status)) {
		// Only the pages of the rings that are in use need a look.
		if (memcmp(region, r.inf->base, r.inf->size) != 0 ||
			memcmp(rings, vq_at(&r.v, VQ_DESC), 256) != 0 ||
			memcmp(rings + (VQ_DEVICE - VQ_GPA), vq_at(&r.v, VQ_DEVICE), 256) != 0) {
			memcpy(region, r.inf->base, r.inf->size);
			memcpy(rings, vq_at(&r.v, VQ_DESC), 256);
			memcpy(rings + (VQ_DEVICE - VQ_GPA), vq_at(&r.v, VQ_DEVICE), 256);
			check(&r, t, &next);
			points++;
		}
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check(&r, t, &next);
	assert_true(points > 4u * r.n);
	vho_queue_teardown(&r.v.q);
	vho_queue_teardown(&next.v.q);
	vho_inflight_destroy(r.inf);
	vho_inflight_destroy(next.inf);
	vq_close(&r.v);
	vq_close(&next.v);
}

static const struct open_case {
	const char *name;
	uint64_t off, size;
	uint16_t n_queues, queue_size;
	int ret;
} opens[] = {
	{ "fits", 0, 4096, 2, 64, 0 },
	{ "second page", 4096, 4096, 1, 64, 0 },
	{ "VU-08 size 8", 0, 8, 1, 64, -EINVAL },
	{ "VU-08 offset and size wrap", 4096, UINT64_MAX - 4095, 1, 64, -EINVAL },
	{ "VU-08 offset not page aligned", 100, 4096, 1, 64, -EINVAL },
	{ "VU-08 file shorter", 4096, 8192, 1, 64, -EINVAL },
	{ "no queue", 0, 4096, 0, 64, -EINVAL },
	{ "ring size 0", 0, 4096, 1, 0, -EINVAL },
	{ "ring size over the limit", 0, 8192, 1, 32769, -EINVAL },
};

static void open_region(void **state)
{
	const struct open_case *t = *state;
	int fd = memfd_create("i", MFD_CLOEXEC);
	struct vho_inflight *inf = NULL;

	assert_int_equal(ftruncate(fd, 8192), 0);
	assert_int_equal(
		vho_inflight_open(fd, t->off, t->size, t->n_queues, t->queue_size, false, &inf),
		t->ret);
	assert_int_equal(inf != NULL, !t->ret);
	if (inf) {
		assert_non_null(vho_inflight_queue(inf, (uint16_t)(t->n_queues - 1)));
		assert_null(vho_inflight_queue(inf, t->n_queues));
	}
	vho_inflight_destroy(inf);
	close(fd);
}

/* A region full of noise: any answer is good but a crash or an index outside. */
static void hostile_region(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15ULL;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct crash_case t = { "", round & 1, 8, 0, false };
		static struct crash_rig r;
		struct iovec iov[8];
		uint8_t *p;

		if (!r.inf || r.inf->packed != t.packed) {
			vho_queue_teardown(&r.v.q);
			vho_inflight_destroy(r.inf);
			if (r.v.base)
				vq_close(&r.v);
			memset(&r, 0, sizeof(r));
			vq_open(&r.v);
			assert_int_equal(vho_inflight_create(1, 8, t.packed, &r.inf), 0);
		}
		offer_all(&r, &t);
		p = r.inf->base;
		for (size_t i = 0; i < r.inf->size; i++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			p[i] = (uint8_t)((seed >> 60) < 12 ? (seed >> 40) % 9 : seed >> 32);
		}
		memcpy(p + 8, (uint8_t[]){ 1, 0, 8, 0 }, 4);
		if (start_queue(&r, &t) == 0)
			for (unsigned i = 0; i < 20; i++) {
				struct vho_chain c = { .iov = iov, .max = 8 };

				if (vho_queue_pop(&r.v.q, &c) <= 0)
					break;
				vho_queue_push(&r.v.q, &c.elem, 0);
				vho_queue_publish(&r.v.q);
			}
		if (round == 19999) {
			vho_queue_teardown(&r.v.q);
			vho_inflight_destroy(r.inf);
			vq_close(&r.v);
		}
	}
}

/* Rings smaller than the region has entries are fine, larger ones would leave it. */
static const struct fit_case {
	const char *name;
	bool packed;
	uint16_t ring, region;
	int ret;
} fits[] = {
	{ "split ring smaller than the region", false, 8, 64, 0 },
	{ "split ring larger than the region", false, 16, 8, -EINVAL },
	{ "packed ring smaller than the region", true, 8, 64, 0 },
	{ "packed ring larger than the region", true, 16, 8, -EINVAL },
};

static void fit(void **state)
{
	const struct fit_case *t = *state;
	struct crash_case ring = { "", t->packed, t->ring, 0, false };
	struct crash_rig r = { 0 }, next = { 0 };
	struct iovec iov;

	vq_open(&r.v);
	vq_open(&next.v);
	offer_all(&r, &ring);
	assert_int_equal(vho_inflight_create(1, t->region, t->packed, &r.inf), 0);
	assert_int_equal(vho_inflight_create(1, t->region, t->packed, &next.inf), 0);
	assert_int_equal(start_queue(&r, &ring), t->ret);
	for (unsigned i = 0; t->ret == 0 && i < r.n; i++) {
		struct vho_chain c = { .iov = &iov, .max = 1 };

		assert_int_equal(vho_queue_pop(&r.v.q, &c), 1);
		if (i % 2 == 0)
			vho_queue_push(&r.v.q, &c.elem, 1);
		vho_queue_publish(&r.v.q);
	}
	if (t->ret == 0)
		check(&r, &ring, &next);
	vho_queue_teardown(&r.v.q);
	vho_queue_teardown(&next.v.q);
	vho_inflight_destroy(r.inf);
	vho_inflight_destroy(next.inf);
	vq_close(&r.v);
	vq_close(&next.v);
}

/* A packed region whose positions lie inside itself and outside the smaller ring. */
static void positions_outside_the_ring(void **state)
{
	struct crash_case ring = { "", true, 8, 0, false };
	struct vho_inflight_packed *p;
	struct crash_rig r = { 0 };

	(void)state;
	vq_open(&r.v);
	offer_all(&r, &ring);
	assert_int_equal(vho_inflight_create(1, 64, true, &r.inf), 0);
	assert_int_equal(start_queue(&r, &ring), 0);
	p = r.inf->base;
	p->used_idx = p->old_used_idx = 8;
	assert_int_equal(start_queue(&r, &ring), -EINVAL);
	p->used_idx = p->old_used_idx = 7;
	assert_int_equal(start_queue(&r, &ring), 0);
	for (unsigned i = 0; i < 9; i++) { // nine entries in flight do not fit eight slots
		p->desc[i].inflight = 1;
		p->desc[i].num = 1;
	}
	p->free_head = p->old_free_head = 9;
	assert_int_equal(start_queue(&r, &ring), -EINVAL);
	vho_queue_teardown(&r.v.q);
	vho_inflight_destroy(r.inf);
	vq_close(&r.v);
}

/* The front-end cuts the region short: a queue neither starts on it nor goes on with it. */
static void truncated_region(void **state)
{
	struct vho_queue_conf c;
	struct vho_inflight *inf;
	struct iovec iov;
	struct vho_chain ch = { .iov = &iov, .max = 1 };
	struct crash_case ring = { "", false, 8, 0, false };
	struct crash_rig r = { 0 };
	int fd = memfd_create("i", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(vho_mem_guard_init(), 0);
	vq_open(&r.v);
	offer_all(&r, &ring);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(vho_inflight_open(fd, 0, 4096, 1, 8, false, &inf), 0);
	c = vq_conf(&r.v, VQ_SPLIT, 8);
	c.inflight = vho_inflight_queue(inf, 0);
	assert_int_equal(vho_queue_setup(&r.v.q, &c), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(vho_queue_pop(&r.v.q, &ch), 1); // this one finds out
	assert_true(inf->faulted);
	assert_int_equal(vho_queue_pop(&r.v.q, &ch), -EFAULT);
	assert_true(r.v.q.broken);
	assert_int_equal(vho_queue_setup(&r.v.q, &c), -EFAULT);
	vho_queue_teardown(&r.v.q);
	vho_inflight_destroy(inf);
	close(fd);
	vq_close(&r.v);
}

/* The note needs room behind the queues' parts; of more than that nothing is mapped. */
static void note_needs_room(void **state)
{
	int fd = memfd_create("i", MFD_CLOEXEC);
	struct vho_inflight *ours, *inf;
	size_t queues;

	(void)state;
	assert_int_equal(ftruncate(fd, 1LL << 40), 0);
	assert_int_equal(vho_inflight_create(2, 64, false, &ours), 0);
	assert_int_equal(vho_inflight_note(ours), -ENOENT);
	for (int v = 0; v < 256; v++) {
		vho_inflight_set_note(ours, (uint8_t)v);
		assert_int_equal(vho_inflight_note(ours), v);
	}
	vho_inflight_reset(ours);
	assert_int_equal(vho_inflight_note(ours), 255);
	assert_int_equal(vho_inflight_open(ours->fd, 0, ours->size, 2, 64, false, &inf), 0);
	assert_int_equal(vho_inflight_note(inf), 255);
	vho_inflight_destroy(inf);
	queues = ours->size - 64;
	vho_inflight_destroy(ours);

	assert_int_equal(vho_inflight_open(fd, 0, 1ULL << 40, 2, 64, false, &inf), 0);
	assert_int_equal(inf->size, queues + 64);
	vho_inflight_destroy(inf);
	assert_int_equal(vho_inflight_open(fd, 0, queues + 63, 2, 64, false, &inf), 0);
	assert_int_equal(inf->size, queues);
	vho_inflight_set_note(inf, 1);
	assert_int_equal(vho_inflight_note(inf), -ENOENT);
	vho_inflight_destroy(inf);
	close(fd);
}

/* Pages that the fault handler could not replace one by one. */
static void region_of_huge_pages(void **state)
{
	int fd = memfd_create("i", MFD_CLOEXEC | MFD_HUGETLB);
	struct vho_inflight *inf = NULL;

	(void)state;
	if (fd < 0 || ftruncate(fd, 2 << 20)) {
		if (fd >= 0)
			close(fd);
		skip();
	}
	assert_int_equal(vho_inflight_open(fd, 0, 4096, 1, 8, false, &inf), -EINVAL);
	assert_null(inf);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(hostile_region),
		cmocka_unit_test(positions_outside_the_ring),
		cmocka_unit_test(truncated_region),
		cmocka_unit_test(note_needs_room),
		cmocka_unit_test(region_of_huge_pages),
	};
	int failed = 0;

	RUN_ROWS(crashes, crash, failed);
	RUN_ROWS(opens, open_region, failed);
	RUN_ROWS(fits, fit, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
