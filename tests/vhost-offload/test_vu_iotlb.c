// SPDX-License-Identifier: Apache-2.0
/* A function behind its guest's IOMMU: IOTLB messages both ways, and what they do to its rings. */
#include "iommu.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_log.h"
#include "fake_rig.h"
#include "vu_session.h"

#define BIT(n) (1ull << (n))
#define PAGE 0x1000ull
#define IOVA 0xffff0000ull
#define DESC IOVA // a page each, as front_ring() has them
#define AVAIL (IOVA + PAGE)
#define USED (IOVA + 2 * PAGE)
#define BUF (IOVA + 8 * PAGE)
#define RING_UVA (FRONT_UVA + 0x4000)
#define BUF_UVA (FRONT_UVA + 0x80000)
#define SIZE 16u

static struct fake_rig rig;
static int backend, kick;
static unsigned fds_before;

static int open_kind(enum vho_dev_kind kind)
{
	int pair[2];

	fds_before = fake_open_fds();
	rig_open(&rig, kind);
	// Not in-band notifications: nothing but questions is to come on the channel
	assert_int_equal(front_call_u64(&rig.f, VU_SET_PROTOCOL_FEATURES,
				 front_get(&rig.f, VU_GET_PROTOCOL_FEATURES) &
					 ~BIT(VU_PF_INBAND_NOTIFICATIONS)),
		0);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_FEATURES,
				 BIT(VU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1) |
					 BIT(VIRTIO_F_ACCESS_PLATFORM)),
		0);
	assert_int_equal(front_mem_table(&rig.f), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1), 0);
	close(pair[1]);
	backend = pair[0];
	kick = rig_eventfd();
	return 0;
}

static int open_net(void **state)
{
	(void)state;
	return open_kind(VHO_DEV_NET);
}

static int open_blk(void **state)
{
	(void)state;
	return open_kind(VHO_DEV_BLK);
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	close(backend);
	close(kick);
	return fake_open_fds() != fds_before || fake_host_armed(&rig.h) != 0;
}

static int iotlb(uint8_t type, uint64_t iova, uint64_t size, uint64_t uva, uint8_t perm)
{
	struct vu_iotlb m = { .iova = iova, .size = size, .uva = uva, .perm = perm, .type = type };

	return front_call(&rig.f, VU_IOTLB_MSG, &m, sizeof(m), NULL, 0);
}

static int update(uint64_t iova, uint64_t size, uint64_t uva)
{
	return iotlb(VU_IOTLB_UPDATE, iova, size, uva, 3);
}

static int invalidate(uint64_t iova, uint64_t size)
{
	return iotlb(VU_IOTLB_INVALIDATE, iova, size, 0, 0);
}

/* The next question on the back-end's channel: its iova, or 0. */
static uint64_t question(uint8_t *perm)
{
	struct {
		struct vu_header h;
		struct vu_iotlb m;
	} __attribute__((packed)) q;
	ssize_t n = recv(backend, &q, sizeof(q), MSG_DONTWAIT);

	if (n < 0)
		return 0;
	assert_int_equal(n, sizeof(q));
	assert_int_equal(q.h.request, VU_BACKEND_IOTLB_MSG);
	assert_int_equal(q.h.flags, VU_FLAG_VERSION);
	assert_int_equal(q.h.size, sizeof(q.m));
	assert_int_equal(q.m.type, VU_IOTLB_MISS);
	if (perm)
		*perm = q.m.perm;
	return q.m.iova;
}

/* Ring 0 with IOVAs for addresses; nothing is known of them. */
static void set_ring(void)
{
	struct vu_vring_addr a = { .desc = DESC, .avail = AVAIL, .used = USED };

	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_NUM, 0, SIZE), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_BASE, 0, 0), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, kick), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
}

static void run_ring(void)
{
	assert_int_equal(update(DESC, 3 * PAGE, RING_UVA), 0);
	set_ring();
	assert_true(rig.h.running[0]);
	assert_int_equal(question(NULL), 0);
	(void)rig_eventfd_take(kick);
}

/* One buffer for the device to write. */
static void put(uint64_t addr, uint16_t id)
{
	struct vring_desc *d = (void *)(rig.f.mem + (RING_UVA - FRONT_UVA));
	struct vring_avail *a = (void *)(rig.f.mem + (RING_UVA - FRONT_UVA) + PAGE);

	d[id] = (struct vring_desc){ addr, 64, VRING_DESC_F_WRITE, 0 };
	a->ring[a->idx % SIZE] = id;
	__atomic_store_n(&a->idx, a->idx + 1, __ATOMIC_RELEASE);
}

/* What a worker does; n_in segments stay for the log. */
static int pop_segments(struct vho_elem *e, uint16_t n_in)
{
	static struct iovec iov[4];
	struct vho_chain c = { .iov = iov, .max = 4 };
	int ret = vho_queue_pop(&rig.d.dev.queues[0].q, &c);

	fake_host_run(&rig.h); // the control thread hears of it
	*e = c.elem;
	e->n_in = n_in;
	return ret;
}

static int pop(struct vho_elem *e)
{
	return pop_segments(e, 0);
}

static struct vho_iommu_stats stats(void)
{
	struct vho_iommu_stats s;

	vho_dev_iommu_stats(&rig.d.dev, &s);
	return s;
}

/* ---- rings ---- */

/* Part after part is asked for; with the last answer the ring runs. */
static void ring_starts_when_known(void **state)
{
	uint8_t perm = 0;

	(void)state;
	set_ring();
	assert_false(rig.h.running[0]);
	assert_int_equal(question(&perm), DESC);
	assert_int_equal(perm, 1);
	assert_int_equal(question(NULL), 0);
	assert_int_equal(update(USED, PAGE, RING_UVA + 2 * PAGE), 0); // unasked, as QEMU does
	assert_int_equal(question(NULL), 0);
	assert_int_equal(update(DESC, PAGE, RING_UVA), 0);
	assert_int_equal(question(&perm), AVAIL);
	assert_false(rig.h.running[0]);
	assert_int_equal(update(AVAIL, PAGE, RING_UVA + PAGE), 0);
	assert_int_equal(question(NULL), 0);
	assert_true(rig.h.running[0]);
}

/* Taken away: it stops before the answer, and comes up where it was when it is known again. */
static void ring_stops_with_its_pages(void **state)
{
	struct vho_elem e;

	(void)state;
	run_ring();
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 0);
	put(BUF, 0);
	assert_int_equal(pop(&e), 1);
	vho_queue_push(&rig.d.dev.queues[0].q, &e, 0);
	assert_int_equal(invalidate(USED, PAGE), 0);
	assert_false(rig.h.running[0]);
	assert_int_equal(question(NULL), USED);
	assert_int_equal(update(USED, PAGE, RING_UVA + 2 * PAGE), 0);
	assert_true(rig.h.running[0]);
	assert_int_equal(vho_queue_base(&rig.d.dev.queues[0].q), 1);
	assert_int_equal(invalidate(BUF, PAGE), 0); // a buffer's page leaves it running
	assert_true(rig.h.running[0]);
	assert_int_equal(invalidate(0, 0), 0); // all, as QEMU's sum comes out
	assert_false(rig.h.running[0]);
	assert_int_equal(stats().entries, 0);
}

/* A ring whose pages do not lie together cannot run: refused, and others are not hurt. */
static void ring_apart(void **state)
{
	struct vu_vring_addr a = { .desc = DESC, .avail = AVAIL, .used = USED };

	(void)state;
	assert_int_equal(update(DESC, PAGE, RING_UVA), 0);
	assert_int_equal(update(DESC + PAGE, PAGE, RING_UVA + 3 * PAGE), 0);
	assert_int_equal(update(USED, PAGE, RING_UVA + 2 * PAGE), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_NUM, 0, 512), 0);
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, kick), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
	assert_false(rig.h.running[0]);
}

/* Another memory table: what is known follows, and the ring goes on without a question. */
static void memory_moves(void **state)
{
	struct vu_table t = {
		.n = 1,
		.region = { { FRONT_GPA + (1 << 28), FRONT_MEM_SIZE, FRONT_UVA, 0 } },
	};

	(void)state;
	run_ring();
	assert_int_equal(front_call(&rig.f, VU_SET_MEM_TABLE, &t, 8 + 32, &rig.f.mem_fd, 1), 0);
	assert_true(rig.h.running[0]);
	assert_int_equal(question(NULL), 0);
	assert_int_equal(stats().entries, 1);
}

/* QEMU gives the IOVA of the used ring for its place in the dirty log: the log has no such page. */
static void used_ring_is_logged_where_it_lies(void **state)
{
	struct vu_vring_addr a = {
		.desc = DESC, .avail = AVAIL, .used = USED, .flags = 1, .log = USED
	};
	struct vu_log l = { .size = 64 };
	uint64_t used = FRONT_GPA + (RING_UVA - FRONT_UVA) + 2 * PAGE;
	uint64_t buf = FRONT_GPA + (BUF_UVA - FRONT_UVA);
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct vho_elem e;
	uint8_t log[64];

	(void)state;
	assert_int_equal(ftruncate(fd, sizeof(log)), 0);
	run_ring();
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
	assert_int_equal(front_call(&rig.f, VU_SET_LOG_BASE, &l, sizeof(l), &fd, 1), 0);
	assert_int_equal(front_call_u64(&rig.f, VU_SET_FEATURES,
				 BIT(VU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1) |
					 BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VU_F_LOG_ALL)),
		0);
	assert_true(rig.h.running[0]);
	assert_int_equal(question(NULL), 0); // what was known still is
	put(BUF, 0);
	assert_int_equal(pop_segments(&e, 1), 1);
	vho_queue_push(&rig.d.dev.queues[0].q, &e, 64);
	vho_queue_publish(&rig.d.dev.queues[0].q);
	assert_int_equal(pread(fd, log, sizeof(log), 0), sizeof(log));
	close(fd);
	for (uint64_t page = 0; page < 8 * sizeof(log); page++)
		assert_int_equal(
			log[page / 8] >> page % 8 & 1, page == used / PAGE || page == buf / PAGE);
}

/* ---- requests ---- */

static void miss_and_answer(void **state)
{
	struct vho_elem e;
	uint8_t perm = 0;

	(void)state;
	run_ring();
	put(BUF + 100, 0);
	assert_int_equal(pop(&e), 0);
	assert_int_equal(question(&perm), BUF + 100);
	assert_int_equal(perm, 2);
	for (unsigned i = 0; i < 100; i++) // a worker that polls meanwhile asks nothing
		assert_int_equal(pop(&e), 0);
	assert_int_equal(question(NULL), 0);
	assert_int_equal(update(BUF + PAGE, PAGE, BUF_UVA), 0); // not that one
	assert_int_equal(rig_eventfd_take(kick), 0);
	assert_int_equal(pop(&e), 0);
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 0);
	assert_int_equal(rig_eventfd_take(kick), 1); // who sleeps wakes
	assert_int_equal(pop(&e), 1);
	assert_int_equal(question(NULL), 0);
}

/* The answer to a question ahead of time overtakes the one that is about to be asked. */
static void answer_in_between(void **state)
{
	struct vho_elem e;

	(void)state;
	run_ring();
	put(BUF, 0);
	{
		struct iovec iov[4];
		struct vho_chain c = { .iov = iov, .max = 4 };

		assert_int_equal(vho_queue_pop(&rig.d.dev.queues[0].q, &c), 0);
		assert_int_equal(vho_iommu_update(&rig.d.dev, BUF, PAGE, BUF_UVA, 3), 0);
	}
	fake_host_run(&rig.h);
	assert_int_equal(question(NULL), 0);
	assert_int_equal(rig_eventfd_take(kick), 1);
	assert_int_equal(pop(&e), 1);
}

/* Never answered: counted and asked again once a second, and nothing else happens. */
static void unanswered(void **state)
{
	struct vho_elem e;

	(void)state;
	run_ring();
	put(BUF, 0);
	assert_int_equal(pop(&e), 0);
	assert_int_equal(question(NULL), BUF);
	fake_host_advance(&rig.h, 1000); // may have been asked a moment ago
	assert_int_equal(stats().unanswered, 0);
	for (unsigned i = 1; i <= 5; i++) {
		fake_host_advance(&rig.h, 1000);
		assert_int_equal(question(NULL), BUF);
		assert_int_equal(question(NULL), 0);
		assert_int_equal(stats().unanswered, i);
		assert_int_equal(rig_eventfd_take(kick), 0);
	}
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 0);
	assert_int_equal(pop(&e), 1);
	fake_host_advance(&rig.h, 5000);
	assert_int_equal(stats().unanswered, 5);
}

/* A front-end that does not read its channel: what is lost is asked again, nobody waits for it. */
static void channel_full(void **state)
{
	struct vho_elem e;
	char fill[4096] = { 0 };
	int n = 0;

	(void)state;
	run_ring();
	// Through our end's twin: the session's own descriptor of the channel
	for (unsigned i = 0; i < 2000; i++)
		vu_session_ask(rig.d.dev.iommu_arg, IOVA, 1);
	put(BUF, 0);
	assert_int_equal(pop(&e), 0);
	while (recv(backend, fill, sizeof(fill), MSG_DONTWAIT) > 0)
		n++;
	assert_true(n > 0);
	fake_host_advance(&rig.h, 2000);
	assert_int_equal(question(NULL), BUF);
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 0);
	assert_int_equal(pop(&e), 1);
}

/* The front-end closes the channel: answers may still come by themselves. */
static void channel_gone(void **state)
{
	struct vho_elem e;

	(void)state;
	run_ring();
	close(backend);
	backend = dup(kick); // something to close
	put(BUF, 0);
	assert_int_equal(pop(&e), 0);
	fake_host_advance(&rig.h, 3000);
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 0);
	assert_int_equal(pop(&e), 1);
}

/* ---- invalidation under requests ---- */

static int answer(void)
{
	struct vu_msg m;
	int n = front_recv(&rig.f, &m, NULL);

	return n == 8 ? (int)m.p.u64 : n;
}

/* And a question behind it, in the same write, which is not read before the answer is there. */
static void start_invalidate(void)
{
	struct {
		struct vu_header h;
		struct vu_iotlb m;
		struct vu_header next;
	} __attribute__((packed)) out = {
		{ VU_IOTLB_MSG, VU_FLAG_VERSION | VU_FLAG_NEED_REPLY, sizeof(out.m) },
		{ .iova = BUF, .size = PAGE, .type = VU_IOTLB_INVALIDATE },
		{ VU_GET_QUEUE_NUM, VU_FLAG_VERSION, 0 },
	};

	assert_int_equal(send(rig.f.fd, &out, sizeof(out), 0), sizeof(out));
	fake_host_run(&rig.h);
}

static void two_in_flight(struct vho_elem e[2])
{
	run_ring();
	assert_int_equal(update(BUF, 2 * PAGE, BUF_UVA), 0);
	for (uint16_t i = 0; i < 2; i++) {
		put(BUF + i * PAGE, i);
		assert_int_equal(pop(&e[i]), 1);
	}
}

/* A disk answers when the last request that was in flight has ended, whatever came after. */
static void disk_waits_for_requests(void **state)
{
	struct vho_elem e[2], later;

	(void)state;
	two_in_flight(e);
	start_invalidate();
	assert_int_equal(answer(), -EAGAIN);
	// New ones are not waited for, and use what is known now
	put(BUF + PAGE, 2);
	assert_int_equal(pop(&later), 1);
	vho_queue_push(&rig.d.dev.queues[0].q, &e[1], 0);
	fake_host_advance(&rig.h, 10);
	assert_int_equal(answer(), -EAGAIN);
	vho_queue_push(&rig.d.dev.queues[0].q, &e[0], 0);
	fake_host_advance(&rig.h, 10);
	assert_int_equal(answer(), 0);
	assert_int_equal(answer(), RIG_QUEUES);
	assert_int_equal(stats().late, 0);
}

/* One that does not end: the front-end hears of it in bounded time. */
static void disk_gives_up(void **state)
{
	struct vho_elem e[2];

	(void)state;
	two_in_flight(e);
	start_invalidate();
	fake_host_advance(&rig.h, 4900);
	assert_int_equal(answer(), -EAGAIN);
	fake_host_advance(&rig.h, 200);
	assert_int_equal(answer(), 1);
	assert_int_equal(stats().late, 1);
	assert_int_equal(answer(), RIG_QUEUES);
}

static void front_end_dies_meanwhile(void **state)
{
	struct vho_elem e[2];

	(void)state;
	two_in_flight(e);
	start_invalidate();
	close(rig.f.fd);
	rig.f.fd = -1;
	fake_host_advance(&rig.h, 6000);
	assert_false(rig.d.dev.connected);
}

/* A NIC's worker is done with what it popped when its turn ends: one wait for all workers. */
static void nic_answers_at_once(void **state)
{
	struct vho_elem e[2];
	unsigned syncs;

	(void)state;
	two_in_flight(e);
	syncs = rig.h.syncs;
	assert_int_equal(invalidate(BUF, PAGE), 0);
	assert_int_equal(rig.h.syncs, syncs + 1);
	put(BUF, 2);
	assert_int_equal(pop(&e[0]), 0);
	assert_int_equal(question(NULL), BUF);
}

/* ---- messages that make no sense ---- */

static const struct bad_case {
	const char *name;
	uint64_t iova, size, uva;
	uint8_t perm, type;
	int code;
} bad_cases[] = {
	{ "a miss", BUF, PAGE, BUF_UVA, 3, VU_IOTLB_MISS, 1 },
	{ "access failure", BUF, PAGE, BUF_UVA, 3, 4, 1 },
	{ "type 0", BUF, PAGE, BUF_UVA, 3, 0, 1 },
	{ "type 255", BUF, PAGE, BUF_UVA, 3, 255, 1 },
	{ "update of nothing", BUF, 0, BUF_UVA, 3, VU_IOTLB_UPDATE, 1 },
	{ "update that wraps", UINT64_MAX, 2, BUF_UVA, 3, VU_IOTLB_UPDATE, 1 },
	{ "update outside the memory", BUF, PAGE, FRONT_UVA - PAGE, 3, VU_IOTLB_UPDATE, 1 },
	{ "update over the end", BUF, 2, FRONT_UVA + FRONT_MEM_SIZE - 1, 3, VU_IOTLB_UPDATE, 1 },
	{ "update without permission", BUF, PAGE, BUF_UVA, 0, VU_IOTLB_UPDATE, 1 },
	{ "invalidation that wraps", UINT64_MAX, 2, 0, 0, VU_IOTLB_INVALIDATE, 1 },
	{ "invalidation of what is not there", BUF, PAGE, 0, 0, VU_IOTLB_INVALIDATE, 0 },
	{ "invalidation up to the end", UINT64_MAX, 1, 0, 0, VU_IOTLB_INVALIDATE, 0 },
};

static void bad(void **state)
{
	const struct bad_case *t = *state;

	open_kind(VHO_DEV_NET);
	run_ring();
	assert_int_equal(iotlb(t->type, t->iova, t->size, t->uva, t->perm), t->code);
	assert_true(rig.h.running[0]);
	assert_int_equal(stats().entries, 1);
	close_rig(NULL);
}

static void wrong_sizes(void **state)
{
	struct vu_iotlb m = { .iova = BUF, .size = PAGE, .uva = BUF_UVA, .perm = 3, .type = 2 };

	(void)state;
	assert_int_equal(front_call(&rig.f, VU_IOTLB_MSG, &m, 25, NULL, 0), 1);
	assert_int_equal(front_call(&rig.f, VU_IOTLB_MSG, &m, 26, NULL, 0), 0); // without padding
	assert_int_equal(front_call(&rig.f, VU_IOTLB_MSG, &m, 32, &kick, 1), 1);
}

static void not_negotiated(void **state)
{
	(void)state;
	assert_int_equal(front_call_u64(&rig.f, VU_SET_FEATURES,
				 BIT(VU_F_PROTOCOL_FEATURES) | BIT(VIRTIO_F_VERSION_1)),
		0);
	assert_int_equal(update(BUF, PAGE, BUF_UVA), 1);
	assert_int_equal(invalidate(BUF, PAGE), 0); // nothing is known
	assert_int_equal(front_ring(&rig.f, 0, SIZE), 0); // user addresses again
	assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, kick), 0);
	assert_int_equal(front_call_state(&rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	assert_true(rig.h.running[0]);
}

/* Any messages in any order, with the ring polled between them. */
static void any_order(void **state)
{
	struct vho_elem e;

	(void)state;
	srand(7);
	run_ring();
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t iova = IOVA + (unsigned)rand() % 16 * PAGE;
		uint64_t size = (unsigned)rand() % 3 * PAGE;

		if (rand() % 4 == 0)
			put(IOVA + (unsigned)rand() % 16 * PAGE, (uint16_t)(rand() % (int)SIZE));
		if (rand() % 3)
			(void)update(iova, size, RING_UVA + (iova - IOVA));
		else
			assert_int_equal(invalidate(iova, size + 1), 0);
		if (rig.h.running[0] && pop(&e) == 1)
			vho_queue_push(&rig.d.dev.queues[0].q, &e, 0);
		if (rig.d.dev.queues[0].q.broken)
			assert_int_equal(front_call_fd(&rig.f, VU_SET_VRING_KICK, 0, kick), 0);
		while (question(NULL))
			;
	}
	assert_in_range(stats().entries, 0, 16);
}

int main(void)
{
#define WITH(fn, open) cmocka_unit_test_setup_teardown(fn, open, close_rig)
	const struct CMUnitTest tests[] = {
		WITH(ring_starts_when_known, open_net),
		WITH(ring_stops_with_its_pages, open_blk),
		WITH(ring_apart, open_net),
		WITH(memory_moves, open_net),
		WITH(used_ring_is_logged_where_it_lies, open_net),
		WITH(miss_and_answer, open_net),
		WITH(answer_in_between, open_net),
		WITH(unanswered, open_net),
		WITH(channel_full, open_net),
		WITH(channel_gone, open_net),
		WITH(disk_waits_for_requests, open_blk),
		WITH(disk_gives_up, open_blk),
		WITH(front_end_dies_meanwhile, open_blk),
		WITH(nic_answers_at_once, open_net),
		WITH(wrong_sizes, open_net),
		WITH(not_negotiated, open_net),
		WITH(any_order, open_net),
	};
	int failed;

	dpu_log_level_set(DPU_LOG_ERR);
	kick = rig_eventfd();
	vho_notify_fd(kick); // what it opens the first time is no test's
	close(kick);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	RUN_ROWS(bad_cases, bad, failed);
	return failed;
}
