// SPDX-License-Identifier: Apache-2.0
/* Postcopy as it should be, and its requests out of order. Spec: vhost-user, POSTCOPY_*. */
#include "postcopy_env.h"

/* ---- what works ---- */

static void requests_come_with_their_pages(void **state)
{
	struct iovec iov[8];
	struct vho_chain c = { .iov = iov, .max = 8 };
	struct vring_desc *table = src(DATA + 8 * PAGE);

	(void)state;
	// One over a page's end, one with a table, whose buffers lie elsewhere again
	desc(0, DATA + PAGE - 8, 16, 0, 0);
	desc(1, DATA + 8 * PAGE, 2 * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
	table[0] = (struct vring_desc){ FRONT_GPA + DATA + 10 * PAGE, 4, VRING_DESC_F_NEXT, 1 };
	table[1] = (struct vring_desc){ FRONT_GPA + DATA + 12 * PAGE, PAGE, VRING_DESC_F_WRITE, 0 };
	avail(0, 0);
	avail(1, 1);
	enter(1ull << VIRTIO_RING_F_INDIRECT_DESC);
	giver_start();
	set_ring(SIZE);
	wait_running(0);
	assert_int_equal(pop_waiting(&c), 1);
	assert_int_equal(c.out_len, 16);
	assert_memory_equal(iov[0].iov_base, src(DATA + PAGE - 8), 16);
	assert_int_equal(pop_waiting(&c), 1);
	assert_int_equal(c.n_out, 1);
	assert_int_equal(c.n_in, 1);
	assert_memory_equal(iov[0].iov_base, src(DATA + 10 * PAGE), 4);
	assert_memory_equal(iov[1].iov_base, src(DATA + 12 * PAGE), PAGE);
	// Ring, two pages of the first, table, and two buffers; nothing else was asked for
	assert_int_equal(atomic_load(&t.asked), 3 + 2 + 1 + 2);
	assert_false(front_closed(&t.rig.f));
}

static void a_ring_goes_on_where_the_source_stopped(void **state)
{
	struct iovec iov[8];
	struct vho_chain c = { .iov = iov, .max = 8 };
	struct vring_used *used = src(USED);

	(void)state;
	for (uint16_t i = 0; i < 21; i++)
		avail(i, i % 2);
	used->idx = 20;
	desc(0, DATA, 16, 0, 0);
	enter(0);
	giver_start();
	assert_int_equal(front_ring(&t.rig.f, 0, SIZE), 0);
	assert_int_equal(front_call_state(&t.rig.f, VU_SET_VRING_BASE, 0, 20), 0);
	assert_int_equal(front_call_fd(&t.rig.f, VU_SET_VRING_KICK, 0, t.kick), 0);
	assert_int_equal(front_call_state(&t.rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
	wait_running(0);
	assert_int_equal(pop_waiting(&c), 1);
	assert_int_equal(c.elem.id, 0);
	assert_int_equal(vho_queue_pop(queue(), &c), 0);
	assert_int_equal(atomic_load(&t.asked), 4);
}

static void the_end_makes_it_an_ordinary_session(void **state)
{
	struct iovec iov[8];
	struct vho_chain c = { .iov = iov, .max = 8 };
	struct vring_avail *a = (void *)(t.rig.f.mem + AVAIL);
	struct vu_msg m;

	(void)state;
	desc(0, DATA, 16, 0, 0);
	avail(0, 0);
	enter(0);
	giver_start();
	set_ring(SIZE);
	wait_running(0);
	assert_int_equal(pop_waiting(&c), 1);
	vho_queue_push(queue(), &c.elem, 0);
	for (unsigned i = 0; i < PAGES; i++)
		give((uint64_t)i * PAGE);
	front_send(&t.rig.f, VU_POSTCOPY_END, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&t.rig.f, &m, NULL), 8);
	assert_int_equal(m.p.u64, 0);
	assert_true(t.rig.h.running[0]);
	wait_gone();
	// No gate any more: seen as soon as the driver has said so
	a->ring[1] = 0;
	__atomic_store_n(&a->idx, 2, __ATOMIC_RELEASE);
	assert_int_equal(vho_queue_pop(queue(), &c), 1);
}

static void packed_rings_wait_for_the_end(void **state)
{
	struct vu_msg m;

	(void)state;
	enter(1ull << VIRTIO_F_RING_PACKED);
	giver_start();
	set_ring(SIZE);
	assert_false(t.rig.h.running[0]);
	front_send(&t.rig.f, VU_POSTCOPY_END, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&t.rig.f, &m, NULL), 8);
	assert_true(t.rig.h.running[0]);
}

/* Advised only: memory had all come before the guest moved. */
static void a_precopy_needs_no_end(void **state)
{
	(void)state;
	rig_negotiate(&t.rig, 0);
	assert_int_equal(advise(), 0);
	assert_int_equal(front_mem_table(&t.rig.f), 0);
	set_ring(SIZE);
	assert_true(t.rig.h.running[0]);
}

static int add_region(uint64_t off, uint64_t *base)
{
	struct vu_single_region r = { .region = { FRONT_GPA + off, FRONT_MEM_SIZE / 2,
					      FRONT_UVA + off, off } };
	struct vu_msg m;
	int n;

	front_send(&t.rig.f, VU_ADD_MEM_REG, VU_FLAG_VERSION, &r, sizeof(r), &t.rig.f.mem_fd, 1);
	n = front_recv(&t.rig.f, &m, NULL);
	if (n == sizeof(r))
		*base = m.p.region.region.uva;
	return n;
}

/* As QEMU does it: each region is answered, one ack for all. */
static void single_regions(void **state)
{
	struct vu_single_region gone = { .region = { FRONT_GPA, FRONT_MEM_SIZE / 2, FRONT_UVA } };
	uint64_t a = 0, b = 0, again = 0, anew = 0;

	(void)state;
	rig_negotiate(&t.rig, 0);
	assert_int_equal(advise(), 0);
	assert_int_equal(listen_mode(), 0);
	assert_int_equal(add_region(0, &a), sizeof(struct vu_single_region));
	assert_int_equal(add_region(FRONT_MEM_SIZE / 2, &b), sizeof(struct vu_single_region));
	assert_true(a && b && a != b);
	// Told of once more, for another queue pair: it is where it was
	assert_int_equal(add_region(FRONT_MEM_SIZE / 2, &again), sizeof(struct vu_single_region));
	assert_true(again == b);
	assert_int_equal(ack(VU_ADD_MEM_REG), 0);
	assert_int_equal(front_call(&t.rig.f, VU_REM_MEM_REG, &gone, sizeof(gone), NULL, 0), 0);
	assert_int_equal(add_region(0, &anew), sizeof(struct vu_single_region));
	assert_true(anew && anew != a && anew != b);
	assert_int_equal(ack(VU_ADD_MEM_REG), 0);
	assert_false(front_closed(&t.rig.f));
	// And its faults come from there
	t.base = anew;
	giver_start();
	set_ring(SIZE);
	wait_running(0);
	assert_int_equal(atomic_load(&t.asked), 3);
}

static void rings_wait_for_the_ack(void **state)
{
	(void)state;
	rig_negotiate(&t.rig, 0);
	assert_int_equal(advise(), 0);
	assert_int_equal(listen_mode(), 0);
	t.base = mem_table();
	set_ring(SIZE);
	// Not a page is asked for: time enough to see one that should not be
	assert_int_equal(poll(&(struct pollfd){ t.uffd, POLLIN, 0 }, 1, 50), 0);
	assert_false(t.rig.h.running[0]);
	giver_start();
	assert_int_equal(ack(VU_SET_MEM_TABLE), 0);
	wait_running(0);
}

/* ---- refusals ---- */

static void requests_out_of_order(void **state)
{
	struct vu_msg m;
	uint64_t bad = 1;

	(void)state;
	rig_negotiate(&t.rig, 0);
	assert_int_equal(listen_mode(), 1);
	front_send(&t.rig.f, VU_POSTCOPY_END, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_int_equal(front_recv(&t.rig.f, &m, NULL), 8);
	assert_int_equal(m.p.u64, 1);
	assert_int_equal(ack(VU_SET_MEM_TABLE), 1); // a table without descriptors
	assert_int_equal(advise(), 0);
	assert_int_equal(front_mem_table(&t.rig.f), 0);
	assert_int_equal(listen_mode(), 1); // memory that may have been touched
	rig_reopen(&t.rig);
	close(t.uffd);
	rig_negotiate(&t.rig, 0);
	assert_int_equal(advise(), 0);
	assert_int_equal(listen_mode(), 0);
	assert_int_equal(listen_mode(), 1);
	t.base = mem_table();
	assert_int_equal(front_call(&t.rig.f, VU_SET_MEM_TABLE, &bad, sizeof(bad), NULL, 0), 1);
	assert_int_equal(ack(VU_SET_MEM_TABLE), 0);
	assert_int_equal(ack(VU_SET_MEM_TABLE), 1); // once is enough
	front_send(&t.rig.f, VU_POSTCOPY_ADVISE, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	assert_true(front_closed(&t.rig.f)); // no room for a code in its answer
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
		T(requests_come_with_their_pages),
		T(a_ring_goes_on_where_the_source_stopped),
		T(the_end_makes_it_an_ordinary_session),
		T(packed_rings_wait_for_the_end),
		T(a_precopy_needs_no_end),
		T(single_regions),
		T(rings_wait_for_the_ack),
		T(requests_out_of_order),
#undef T
	};

	if (!vho_postcopy_supported()) {
		puts("SKIP: no userfaultfd here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
