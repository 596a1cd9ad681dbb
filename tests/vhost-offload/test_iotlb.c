// SPDX-License-Identifier: Apache-2.0
/* The device's TLB by itself, and rings whose descriptors carry I/O virtual addresses. */
#include "iotlb.h"
#include "test.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "fake_host.h"
#include "inflight_steps.h"
#include "vq.h"

#define PAGE 0x1000u
#define RO VHO_IOTLB_READ
#define WO VHO_IOTLB_WRITE
#define RW (VHO_IOTLB_READ | VHO_IOTLB_WRITE)
#define IOVA 0xfff00000ull // nothing that a guest physical address could be taken for

struct env {
	struct vq v;
	struct fake_host h;
	struct vho_iommu_stats stats;
	struct vho_iotlb *t;
};

static int env_open(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	vq_open(&e->v);
	fake_host_init(&e->h);
	assert_int_equal(vho_iotlb_create(1, &e->h.host, &e->stats, &e->t), 0);
	*state = e;
	return 0;
}

static int env_close(void **state)
{
	struct env *e = *state;

	vq_close(&e->v);
	vho_iotlb_destroy(e->t);
	free(e);
	return 0;
}

static uint64_t uva_of(uint64_t gpa)
{
	return gpa < VQ_SEAM ? VQ_UVA + (gpa - VQ_GPA) : VQ_UVA + 8 * VQ_REGION + (gpa - VQ_SEAM);
}

static void map(struct env *e, uint64_t iova, uint64_t size, uint64_t gpa, uint8_t perm)
{
	assert_int_equal(vho_iotlb_update(e->t, e->v.mem, iova, size, uva_of(gpa), perm), 0);
}

/* Where iova is, or 0. */
static uint64_t gpa_at(const struct env *e, uint64_t iova)
{
	uint64_t gpa, miss;

	return vho_iotlb_ring(e->t, iova, 1, RO, &gpa, &miss) ? 0 : gpa;
}

/* ---- the table ---- */

static const struct refused_case {
	const char *name;
	uint64_t iova, size, uva;
	uint8_t perm;
	int ret;
} refused_cases[] = {
	{ "size 0", IOVA, 0, VQ_UVA, RW, -EINVAL },
	{ "iova wraps", UINT64_MAX - 1, 3, VQ_UVA, RW, -EINVAL },
	{ "user address wraps", IOVA, 3, UINT64_MAX - 1, RW, -EINVAL },
	{ "no permission", IOVA, PAGE, VQ_UVA, 0, -EINVAL },
	{ "unknown permission", IOVA, PAGE, VQ_UVA, 4, -EINVAL },
	{ "outside every region", IOVA, PAGE, VQ_UVA - PAGE, RW, -EFAULT },
	{ "one byte longer than its region", IOVA, VQ_REGION + 1, VQ_UVA, RW, -EFAULT },
	{ "everything", 0, UINT64_MAX, VQ_UVA, RW, -EINVAL },
};

static void refused(void **state)
{
	const struct refused_case *t = *state;
	void *at;
	struct env *e;

	env_open(&at);
	e = at;
	assert_int_equal(
		vho_iotlb_update(e->t, e->v.mem, t->iova, t->size, t->uva, t->perm), t->ret);
	assert_int_equal(e->stats.refused, 1);
	assert_int_equal(e->stats.entries, 0);
	assert_int_equal(vho_iotlb_update(e->t, NULL, IOVA, PAGE, VQ_UVA, RW), -EFAULT);
	env_close(&at);
}

/* Pages of a small space, changed at random, against one array entry for each. */
static void like_an_array(void **state)
{
	enum { PAGES = 64 };
	uint64_t want[PAGES] = { 0 };
	struct env *e = *state;

	srand(1);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned from = (unsigned)rand() % PAGES, n = 1 + (unsigned)rand() % 8;
		uint64_t gpa = VQ_BUF + (unsigned)rand() % 64 * PAGE;
		bool set = rand() % 3;

		n = n < PAGES - from ? n : PAGES - from;
		if (set)
			map(e, IOVA + from * PAGE, n * PAGE, gpa, RW);
		else
			vho_iotlb_remove(e->t, IOVA + from * PAGE, IOVA + (from + n) * PAGE - 1);
		for (unsigned i = 0; i < n; i++)
			want[from + i] = set ? gpa + i * PAGE : 0;
		for (unsigned i = 0; i < PAGES; i++) {
			assert_int_equal(gpa_at(e, IOVA + i * PAGE), want[i]);
			if (want[i])
				assert_int_equal(gpa_at(e, IOVA + i * PAGE + 77), want[i] + 77);
		}
		assert_in_range(e->stats.entries, 0, PAGES);
	}
}

static void parts_that_go_on_are_one_entry(void **state)
{
	struct env *e = *state;

	map(e, IOVA, PAGE, VQ_BUF, RW);
	map(e, IOVA + 2 * PAGE, PAGE, VQ_BUF + 2 * PAGE, RW);
	assert_int_equal(e->stats.entries, 2);
	map(e, IOVA + PAGE, PAGE, VQ_BUF + PAGE, RW);
	assert_int_equal(e->stats.entries, 1);
	map(e, IOVA + 3 * PAGE, PAGE, VQ_BUF + 3 * PAGE, RO); // not with other permissions
	assert_int_equal(e->stats.entries, 2);
	assert_true(vho_iotlb_has(e->t, IOVA + 3 * PAGE, RO));
	assert_false(vho_iotlb_has(e->t, IOVA + 3 * PAGE, WO));
	vho_iotlb_remove(e->t, 0, UINT64_MAX);
	assert_int_equal(e->stats.entries, 0);
}

static void another_memory_map(void **state)
{
	struct vho_mem_region r = { .gpa = 0x40000000, .size = VQ_REGION, .uva = VQ_UVA };
	struct env *e = *state;
	struct vho_mem *other;

	map(e, IOVA, PAGE, VQ_BUF, RW);
	map(e, IOVA + PAGE, PAGE, VQ_SEAM, RW);
	assert_int_equal(vho_mem_create(&r, &e->v.fd, 1, &other), 0);
	vho_iotlb_remap(e->t, other);
	assert_int_equal(gpa_at(e, IOVA), 0x40000000 + (VQ_BUF - VQ_GPA));
	assert_int_equal(gpa_at(e, IOVA + PAGE), 0); // its region has gone
	vho_iotlb_remap(e->t, NULL);
	assert_int_equal(e->stats.entries, 0);
	vho_mem_put(other);
}

/* However many come, so many are kept, and the newest always is. */
static unsigned flood_of = 1000000;

static void flood(void **state)
{
	struct env *e = *state;
	size_t before = 0;

	for (unsigned i = 0; i < flood_of; i++) {
		uint64_t iova = IOVA + (uint64_t)i * 7 * PAGE;

		map(e, iova, PAGE, VQ_BUF, RW);
		if (i == 2 * VHO_IOTLB_ENTRIES)
			before = mallinfo2().uordblks;
	}
	assert_int_equal(gpa_at(e, IOVA + (uint64_t)(flood_of - 1) * 7 * PAGE), VQ_BUF);
	assert_int_equal(e->stats.entries, VHO_IOTLB_ENTRIES);
	assert_int_equal(e->stats.evicted, flood_of - VHO_IOTLB_ENTRIES);
	// A table more or fewer may wait for the workers
	assert_in_range(mallinfo2().uordblks, 0, before + (1u << 20));
	assert_true(e->h.syncs > 0);
}

static void without_memory(void **state)
{
	struct env *e = *state;

	map(e, IOVA, PAGE, VQ_BUF, RW);
	dpu_alloc_fail_after(0);
	assert_int_equal(vho_iotlb_update(e->t, e->v.mem, IOVA + PAGE, PAGE, VQ_UVA, RW), -ENOMEM);
	assert_int_equal(gpa_at(e, IOVA), VQ_BUF);
	// What has to go goes, and everything else with it
	dpu_alloc_fail_after(0);
	vho_iotlb_remove(e->t, IOVA + 8 * PAGE, IOVA + 9 * PAGE);
	dpu_alloc_fail_after(-1);
	assert_int_equal(e->stats.entries, 0);
	map(e, IOVA, PAGE, VQ_BUF, RW);
	assert_int_equal(gpa_at(e, IOVA), VQ_BUF);
}

static void created_step_by_step(void **state)
{
	struct fake_host h;
	struct vho_iommu_stats s;
	struct vho_iotlb *t;

	(void)state;
	fake_host_init(&h);
	for (long k = 0; k < 3; k++) {
		dpu_alloc_fail_after(k);
		assert_int_equal(vho_iotlb_create(2, &h.host, &s, &t), -ENOMEM);
	}
	dpu_alloc_fail_after(-1);
	assert_int_equal(vho_iotlb_create(2, &h.host, &s, &t), 0);
	vho_iotlb_destroy(t);
	vho_iotlb_destroy(NULL);
}

/* ---- rings ---- */

static const struct ring_case {
	const char *name;
	uint64_t features;
	bool inflight;
} ring_cases[] = {
	{ "split", VQ_SPLIT | VQ_INDIRECT, false },
	{ "split, inflight", VQ_SPLIT | VQ_INDIRECT, true },
	{ "packed", VQ_PACKED | VQ_INDIRECT, false },
	{ "packed, inflight", VQ_PACKED | VQ_INDIRECT, true },
	{ "packed, in order, inflight", VQ_PACKED | VQ_INDIRECT | VQ_IN_ORDER, true },
};

struct ring {
	struct env *e;
	const struct ring_case *t;
	struct vho_inflight *inf;
	struct iovec iov[64];
	struct vho_chain c;
};

static void ring_start(struct ring *r)
{
	struct vho_queue_conf c = vq_conf(&r->e->v, r->t->features, 16);

	if (r->inf)
		c.inflight = vho_inflight_queue(r->inf, 0);
	c.iotlb = &r->e->t->queues[0];
	assert_int_equal(vho_queue_setup(&r->e->v.q, &c), 0);
	r->e->v.q.running = true;
}

static void ring_open(struct ring *r, const struct ring_case *t)
{
	void *at;

	memset(r, 0, sizeof(*r));
	env_open(&at);
	r->e = at;
	r->t = t;
	if (t->inflight)
		assert_int_equal(
			vho_inflight_create(1, 16, t->features & VQ_PACKED & ~VQ_SPLIT, &r->inf),
			0);
	ring_start(r);
}

static void ring_close(struct ring *r)
{
	void *at = r->e;

	vho_queue_teardown(&r->e->v.q);
	vho_inflight_destroy(r->inf);
	env_close(&at);
}

/* One request of n buffers of len bytes: buffer i at at[i], the last one to be written. */
static void put(struct ring *r, const uint64_t *at, unsigned n, uint32_t len, uint16_t id)
{
	struct vq *v = &r->e->v;

	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = i + 1 < n ? VRING_DESC_F_NEXT : VRING_DESC_F_WRITE;

		if (v->q.packed)
			vq_put(v, at[i], len, id, flags);
		else
			vq_desc(v)[id + i] = (struct vring_desc){ at[i], len, flags,
				(uint16_t)(id + i + 1) };
	}
	if (!v->q.packed)
		vq_avail(v, id);
}

static int pop(struct ring *r)
{
	r->c = (struct vho_chain){ .iov = r->iov, .max = ARRAY_LEN(r->iov) };
	return vho_queue_pop(&r->e->v.q, &r->c);
}

/* The queue waits for this address, and has said so. */
static void assert_waits(struct ring *r, uint64_t iova, uint8_t perm)
{
	const struct vho_iotlb_queue *iq = &r->e->t->queues[0];

	assert_int_equal(pop(r), 0);
	assert_false(r->e->v.q.broken);
	assert_false(vho_queue_ready(&r->e->v.q));
	assert_true(vho_queue_arm(&r->e->v.q)); // the worker may sleep
	assert_true(vho_iotlb_waits(iq));
	assert_int_equal(iq->wait.iova, iova);
	assert_int_equal(iq->wait.perm, perm);
	assert_true(vq_signals(r->e->t->ask_fd) > 0);
	assert_int_equal(pop(r), 0); // and says it once
	assert_int_equal(vq_signals(r->e->t->ask_fd), 0);
}

/* As the control thread does when the answer is there. */
static void go_on(struct ring *r)
{
	atomic_store(&r->e->t->queues[0].waiting, false);
	assert_true(vho_queue_ready(&r->e->v.q));
}

static unsigned in_flight(const struct ring *r)
{
	unsigned n = 0;

	for (unsigned i = 0; r->inf && i < 16; i++)
		n += r->e->v.q.packed ? r->e->v.q.inflight->packed->desc[i].inflight
				      : r->e->v.q.inflight->split->desc[i].inflight;
	return n;
}

/* A request waits for each of its buffers in turn, and is as it was until all are known. */
static void waits_for_each(void **state)
{
	const uint64_t at[] = { IOVA, IOVA + 16 * PAGE, IOVA + 32 * PAGE };
	struct ring r;

	ring_open(&r, *state);
	put(&r, at, 3, 64, 5);
	assert_waits(&r, at[0], RO);
	map(r.e, at[0], PAGE, VQ_BUF, RO);
	go_on(&r);
	assert_waits(&r, at[1], RO);
	assert_int_equal(in_flight(&r), 0);
	map(r.e, at[1], PAGE, VQ_BUF + PAGE, RO);
	go_on(&r);
	assert_waits(&r, at[2], WO);
	assert_int_equal(in_flight(&r), 0);
	map(r.e, at[2], PAGE, VQ_BUF + 2 * PAGE, WO);
	go_on(&r);
	assert_int_equal(pop(&r), 1);
	assert_int_equal(in_flight(&r), r.inf ? 1 : 0);
	assert_int_equal(r.c.elem.id, 5);
	assert_int_equal(r.c.n_out, 2);
	assert_int_equal(r.c.n_in, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_ptr_equal(r.iov[i].iov_base, vho_mem_at(r.e->v.mem, VQ_BUF + i * PAGE, 64));
	assert_int_equal(dpu_counter_read(&r.e->v.q.stats.iommu_waits), 3);
	vho_queue_push(&r.e->v.q, &r.c.elem, 64);
	vho_queue_publish(&r.e->v.q);
	assert_int_equal(in_flight(&r), 0);
	assert_int_equal(atomic_load(&r.e->t->queues[0].done), 1);
	ring_close(&r);
}

/* A ring that was killed with requests in flight waits with those, too. */
static void resubmits_wait(void **state)
{
	const struct ring_case *t = *state;
	const uint64_t at[] = { IOVA, IOVA + PAGE };
	struct ring r;

	if (!t->inflight)
		return;
	ring_open(&r, t);
	put(&r, at, 2, 64, 3);
	map(r.e, IOVA, 2 * PAGE, VQ_BUF, RW);
	assert_int_equal(pop(&r), 1);
	vho_queue_teardown(&r.e->v.q);
	vho_iotlb_remove(r.e->t, 0, UINT64_MAX);
	ring_start(&r);
	assert_waits(&r, at[0], RO);
	map(r.e, IOVA, PAGE, VQ_BUF, RW);
	go_on(&r);
	assert_waits(&r, at[1], WO);
	map(r.e, IOVA + PAGE, PAGE, VQ_BUF + PAGE, RW);
	go_on(&r);
	assert_int_equal(pop(&r), 1);
	assert_int_equal(r.c.elem.id, 3);
	assert_int_equal(pop(&r), 0); // once
	ring_close(&r);
}

/* One buffer over pages that lie apart, together, and in two regions. */
static void pages_apart(void **state)
{
	const uint64_t at[] = { IOVA + 100 };
	struct ring r;

	ring_open(&r, *state);
	map(r.e, IOVA, PAGE, VQ_BUF + 8 * PAGE, RW);
	map(r.e, IOVA + PAGE, PAGE, VQ_BUF, RO | WO);
	map(r.e, IOVA + 2 * PAGE, PAGE, VQ_BUF + PAGE, WO); // goes on, with another permission
	map(r.e, IOVA + 3 * PAGE, 2 * PAGE, VQ_SEAM, RW);
	put(&r, at, 1, 4 * PAGE, 0);
	assert_int_equal(pop(&r), 1);
	assert_int_equal(r.c.n_in, 3);
	assert_ptr_equal(r.iov[0].iov_base, vho_mem_at(r.e->v.mem, VQ_BUF + 8 * PAGE + 100, 1));
	assert_int_equal(r.iov[0].iov_len, PAGE - 100);
	assert_ptr_equal(r.iov[1].iov_base, vho_mem_at(r.e->v.mem, VQ_BUF, 1));
	assert_int_equal(r.iov[1].iov_len, 2 * PAGE);
	assert_ptr_equal(r.iov[2].iov_base, vho_mem_at(r.e->v.mem, VQ_SEAM, 1));
	assert_int_equal(r.iov[2].iov_len, PAGE + 100);
	ring_close(&r);
}

/* An indirect table whose two halves lie in pages that do not follow each other. */
static void table_apart(void **state)
{
	uint64_t table = IOVA + PAGE - 16;
	struct ring r;
	struct vq *v;

	ring_open(&r, *state);
	v = &r.e->v;
	for (unsigned i = 0; i < 2; i++) {
		void *at = vq_at(v, i ? VQ_TABLE : VQ_TABLE + 5 * PAGE + PAGE - 16);
		uint16_t flags = i ? VRING_DESC_F_WRITE : VRING_DESC_F_NEXT;

		if (v->q.packed)
			*(struct vring_packed_desc *)at = (struct vring_packed_desc){
				IOVA + 8 * PAGE + i * 64, 64, 0, i ? flags : 0
			};
		else
			*(struct vring_desc *)at = (struct vring_desc){ IOVA + 8 * PAGE + i * 64,
				64, flags, 1 };
	}
	if (v->q.packed) {
		vq_put(v, table, 32, 0, VRING_DESC_F_INDIRECT);
	} else {
		vq_desc(v)[0] = (struct vring_desc){ table, 32, VRING_DESC_F_INDIRECT, 0 };
		vq_avail(v, 0);
	}
	assert_waits(&r, table, RO);
	map(r.e, IOVA, PAGE, VQ_TABLE + 5 * PAGE, RO);
	go_on(&r);
	assert_waits(&r, IOVA + PAGE, RO);
	map(r.e, IOVA + PAGE, PAGE, VQ_TABLE, RO);
	go_on(&r);
	assert_waits(&r, IOVA + 8 * PAGE, RO);
	map(r.e, IOVA + 8 * PAGE, PAGE, VQ_BUF, RW);
	go_on(&r);
	assert_int_equal(pop(&r), 1);
	assert_int_equal(r.c.n_out, 1);
	assert_int_equal(r.c.n_in, 1);
	assert_ptr_equal(r.iov[1].iov_base, vho_mem_at(v->mem, VQ_BUF + 64, 64));
	ring_close(&r);
}

/* Known, but not for this: asked for once, and the answer that leaves it so stops the ring. */
static void denied(void **state)
{
	const uint64_t at[] = { IOVA };
	struct ring r;

	ring_open(&r, *state);
	map(r.e, IOVA, PAGE, VQ_BUF, RO);
	put(&r, at, 1, 64, 0);
	assert_waits(&r, IOVA, WO);
	map(r.e, IOVA, PAGE, VQ_BUF, RO);
	go_on(&r);
	assert_int_equal(pop(&r), -EFAULT);
	assert_true(r.e->v.q.broken);
	assert_int_equal(dpu_counter_read(&r.e->v.q.stats.errors[VHO_QUEUE_ERR_NO_ACCESS]), 1);
	ring_close(&r);
}

/* More is needed at once than is kept: given up after a bounded number of questions. */
static void never_enough(void **state)
{
	const uint64_t at[] = { IOVA };
	unsigned asked = 0;
	struct ring r;
	int ret;

	ring_open(&r, *state);
	put(&r, at, 1, 64, 0);
	while ((ret = pop(&r)) == 0) {
		asked++;
		assert_in_range(asked, 1, 4 * VHO_IOTLB_ENTRIES);
		atomic_store(&r.e->t->queues[0].waiting, false); // came, and was pushed out
	}
	assert_int_equal(ret, -EFAULT);
	assert_true(r.e->v.q.broken);
	ring_close(&r);
}

/* An address that is a guest physical one is nothing here. */
static void no_physical_addresses(void **state)
{
	const uint64_t at[] = { VQ_BUF };
	struct ring r;

	ring_open(&r, *state);
	put(&r, at, 1, 64, 0);
	assert_waits(&r, VQ_BUF, WO);
	ring_close(&r);
}

/* Requests behind the one that waits are asked for in the same go, each page once. */
static void asks_ahead(void **state)
{
	struct vho_iotlb_queue *iq;
	struct ring r;

	ring_open(&r, *state);
	iq = &r.e->t->queues[0];
	for (uint16_t i = 0; i < 8; i++)
		put(&r, (uint64_t[]){ IOVA + i / 2 * PAGE + i % 2 * 64 }, 1, 64, i);
	assert_waits(&r, IOVA, WO);
	assert_int_equal(atomic_load(&iq->head) - atomic_load(&iq->tail), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(iq->ask[i].iova, IOVA + (i + 1) * PAGE);
		assert_int_equal(iq->ask[i].perm, WO);
	}
	ring_close(&r);
}

/* However much the driver offers, so much is looked at and asked for in one go. */
static void ahead_is_bounded(void **state)
{
	struct vho_iotlb_queue *iq;
	struct ring r;

	ring_open(&r, *state);
	iq = &r.e->t->queues[0];
	for (uint16_t i = 0; i < 16; i++)
		put(&r, (uint64_t[]){ IOVA + i * 64ull * PAGE }, 1, 64 * PAGE, i);
	assert_waits(&r, IOVA, WO);
	assert_int_equal(atomic_load(&iq->head) - atomic_load(&iq->tail), VHO_IOTLB_ASKS);
	atomic_store(&iq->tail, atomic_load(&iq->head));
	go_on(&r);
	assert_waits(&r, IOVA, WO); // those pages are asked for, and there are no more looks
	assert_in_range(atomic_load(&iq->head) - atomic_load(&iq->tail), 0, VHO_IOTLB_ASKS);
	assert_in_range(iq->ahead_left, 0, 64);
	ring_close(&r);
}

/* `done` counts what was pushed without a gap, whatever the order. */
static void done_has_no_gaps(void **state)
{
	struct vho_elem elem[4];
	struct ring r;

	ring_open(&r, *state);
	map(r.e, IOVA, PAGE, VQ_BUF, RW);
	for (uint16_t i = 0; i < 4; i++) {
		put(&r, (uint64_t[]){ IOVA }, 1, 64, i);
		assert_int_equal(pop(&r), 1);
		elem[i] = r.c.elem;
		elem[i].n_in = 0;
	}
	static const struct {
		unsigned push, done;
	} order[] = { { 2, 0 }, { 0, 1 }, { 3, 1 }, { 1, 4 } };

	for (unsigned i = 0; i < 4; i++) {
		vho_queue_push(&r.e->v.q, &elem[order[i].push], 0);
		assert_int_equal(atomic_load(&r.e->t->queues[0].done), order[i].done);
	}
	ring_close(&r);
}

/* The log hears of the guest physical page, not of the address that the driver used. */
static void logs_physical_pages(void **state)
{
	struct vho_queue_conf c;
	uint8_t log[256] = { 0 };
	struct ring r;

	ring_open(&r, *state);
	c = vq_conf(&r.e->v, r.t->features, 16);
	if (r.inf)
		c.inflight = vho_inflight_queue(r.inf, 0);
	c.iotlb = &r.e->t->queues[0];
	c.log = (struct vho_dirty_log){ log, sizeof(log) };
	assert_int_equal(vho_queue_setup(&r.e->v.q, &c), 0);
	map(r.e, IOVA, PAGE, VQ_BUF, RW);
	put(&r, (uint64_t[]){ IOVA }, 1, 64, 0);
	assert_int_equal(pop(&r), 1);
	vho_queue_push(&r.e->v.q, &r.c.elem, 64);
	for (uint64_t page = 0; page < 8 * sizeof(log); page++)
		assert_int_equal(log[page / 8] >> page % 8 & 1, page == VQ_BUF / PAGE);
	ring_close(&r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(like_an_array, env_open, env_close),
		cmocka_unit_test_setup_teardown(
			parts_that_go_on_are_one_entry, env_open, env_close),
		cmocka_unit_test_setup_teardown(another_memory_map, env_open, env_close),
		cmocka_unit_test_setup_teardown(flood, env_open, env_close),
		cmocka_unit_test_setup_teardown(without_memory, env_open, env_close),
		cmocka_unit_test(created_step_by_step),
	};
	int failed;

	if (argc > 1)
		flood_of = (unsigned)strtoul(argv[1], NULL, 10);
	dpu_log_level_set(DPU_LOG_ERR);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(refused_cases, refused, failed);
	RUN_ROWS(ring_cases, waits_for_each, failed);
	RUN_ROWS(ring_cases, resubmits_wait, failed);
	RUN_ROWS(ring_cases, pages_apart, failed);
	RUN_ROWS(ring_cases, table_apart, failed);
	RUN_ROWS(ring_cases, denied, failed);
	RUN_ROWS(ring_cases, never_enough, failed);
	RUN_ROWS(ring_cases, no_physical_addresses, failed);
	RUN_ROWS(ring_cases, asks_ahead, failed);
	RUN_ROWS(ring_cases, ahead_is_bounded, failed);
	RUN_ROWS(ring_cases, done_has_no_gaps, failed);
	RUN_ROWS(ring_cases, logs_physical_pages, failed);
	return failed;
}
