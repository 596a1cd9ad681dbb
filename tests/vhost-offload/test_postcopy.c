// SPDX-License-Identifier: Apache-2.0
/*
 * Postcopy, from the destination's front-end's side: a real userfaultfd, and a thread that gives
 * pages when they are asked for, or does not. Spec: vhost-user, "Migration", POSTCOPY_*.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "fake_rig.h"
#include "postcopy.h"

#define PAGE 4096u
#define PAGES (FRONT_MEM_SIZE / PAGE)
#define SIZE 8u // of a ring
#define DESC 0x4000u // where ring 0 lies: front_ring_addr()
#define AVAIL 0x5000u
#define USED 0x6000u
#define DATA 0x20000u
#define PATIENCE_MS 20000 // a bound that ends a test, not a figure that is judged

/* The memory of the guest as the source has it, and who hands out its pages. */
static struct {
	struct fake_rig rig;
	int uffd; // -1: none
	int kick;
	uint64_t base; // of the guest's memory, as the back-end told it
	uint8_t source[FRONT_MEM_SIZE];
	pthread_t giver;
	int stop_fd; // -1: no giver
	_Atomic uint8_t given[PAGES];
	_Atomic uint8_t held[PAGES]; // pages that nobody ever gives
	_Atomic unsigned asked;
} t;

static void give(uint64_t off)
{
	uint64_t at = off / PAGE * PAGE;
	struct uffdio_range woken = { .start = t.base + at, .len = PAGE };

	if (!atomic_exchange(&t.given[at / PAGE], 1))
		assert_int_equal(pwrite(t.rig.f.mem_fd, t.source + at, PAGE, (off_t)at), PAGE);
	(void)ioctl(t.uffd, UFFDIO_WAKE, &woken); // the pager may have been killed
}

static void *giver(void *arg)
{
	struct pollfd p[] = { { t.uffd, POLLIN, 0 }, { t.stop_fd, POLLIN, 0 } };

	(void)arg;
	while (poll(p, 2, -1) > 0 && !p[1].revents) {
		struct uffd_msg m;

		if (read(t.uffd, &m, sizeof(m)) != sizeof(m))
			continue;
		assert_int_equal(m.event, UFFD_EVENT_PAGEFAULT);

		uint64_t off = m.arg.pagefault.address - t.base;

		assert_true(off < FRONT_MEM_SIZE);
		atomic_fetch_add(&t.asked, 1);
		if (!atomic_load(&t.held[off / PAGE]))
			give(off);
	}
	return NULL;
}

static void giver_start(void)
{
	t.stop_fd = rig_eventfd();
	assert_int_equal(pthread_create(&t.giver, NULL, giver, NULL), 0);
}

static void giver_stop(void)
{
	uint64_t one = 1;

	if (t.stop_fd < 0)
		return;
	assert_int_equal(write(t.stop_fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(pthread_join(t.giver, NULL), 0);
	close(t.stop_fd);
	t.stop_fd = -1;
}

/* Wait until one of the loop's descriptors has something, and let the loop run. */
static void loop_once(void)
{
	struct pollfd p[FAKE_WATCHES];
	nfds_t n = 0;

	for (unsigned i = 0; i < FAKE_WATCHES; i++)
		if (t.rig.h.watch[i].cb)
			p[n++] = (struct pollfd){ t.rig.h.watch[i].fd, POLLIN, 0 };
	assert_true(poll(p, n, PATIENCE_MS) > 0);
	fake_host_run(&t.rig.h);
}

static void wait_running(unsigned idx)
{
	while (!t.rig.h.running[idx])
		loop_once();
}

/* ---- the guest ---- */

static void *src(uint64_t off)
{
	return t.source + off;
}

static void desc(unsigned idx, uint64_t off, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc *d = src(DESC);

	d[idx] = (struct vring_desc){ FRONT_GPA + off, len, flags, next };
}

static void avail(uint16_t n, uint16_t head)
{
	struct vring_avail *a = src(AVAIL);

	a->ring[n % SIZE] = head;
	a->idx = (uint16_t)(n + 1);
}

static struct vho_queue *queue(void)
{
	return &t.rig.d.dev.queues[0].q;
}

/* Pop, waiting for the kick that the pager sends when it has moved the gate. */
static int pop_waiting(struct vho_chain *c)
{
	struct pollfd p = { t.kick, POLLIN, 0 };
	int ret;

	while ((ret = vho_queue_pop(queue(), c)) == 0) {
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		(void)rig_eventfd_take(t.kick);
	}
	return ret;
}

/* ---- the front-end ---- */

static int advise(void)
{
	struct vu_msg m;

	front_send(&t.rig.f, VU_POSTCOPY_ADVISE, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	return front_recv(&t.rig.f, &m, &t.uffd);
}

static int listen_mode(void)
{
	return front_call(&t.rig.f, VU_POSTCOPY_LISTEN, NULL, 0, NULL, 0);
}

static int ack(uint32_t request)
{
	uint64_t ok = 0;

	return front_call(&t.rig.f, request, &ok, sizeof(ok), NULL, 0);
}

/* Memory in listen mode: where the back-end's faults will come from. */
static uint64_t mem_table(void)
{
	struct vu_table table = { .n = 1,
		.region = { { FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA, 0 } } };
	struct vu_msg m;

	front_send(&t.rig.f, VU_SET_MEM_TABLE, VU_FLAG_VERSION, &table, 8 + 32, &t.rig.f.mem_fd, 1);
	assert_int_equal(front_recv(&t.rig.f, &m, NULL), 8 + 32);
	assert_int_equal(m.h.request, VU_SET_MEM_TABLE);
	assert_int_equal(m.p.table.n, 1);
	assert_true(m.p.table.region[0].gpa == FRONT_GPA);
	assert_true(m.p.table.region[0].size == FRONT_MEM_SIZE);
	return m.p.table.region[0].uva;
}

/* Up to the ack: nothing of the guest's memory is here. */
static void enter(uint64_t features)
{
	assert_int_equal(vho_mem_guard_init(), 0); // cmocka's own handlers are in place now
	rig_negotiate(&t.rig, features);
	assert_int_equal(advise(), 0);
	assert_true(t.uffd >= 0);
	assert_int_equal(listen_mode(), 0);
	t.base = mem_table();
	assert_true(t.base != 0);
	assert_int_equal(ack(VU_SET_MEM_TABLE), 0);
}

static void set_ring(uint32_t size)
{
	assert_int_equal(front_ring(&t.rig.f, 0, size), 0);
	assert_int_equal(front_call_fd(&t.rig.f, VU_SET_VRING_KICK, 0, t.kick), 0);
	assert_int_equal(front_call_state(&t.rig.f, VU_SET_VRING_ENABLE, 0, 1), 0);
}

/* Is the process gone whose userfaultfd this is? */
static void wait_gone(void)
{
	struct uffdio_zeropage z = { .range = { t.base ? t.base : PAGE, PAGE } };
	unsigned ms = 0;

	while (ioctl(t.uffd, UFFDIO_ZEROPAGE, &z) == 0 || errno != ESRCH) {
		assert_true(ms++ < PATIENCE_MS);
		(void)poll(NULL, 0, 1);
	}
}

static int open_rig(void **state)
{
	(void)state;
	if (!vho_postcopy_supported()) {
		print_message("no userfaultfd here: skipped\n");
		return -1;
	}
	memset(&t, 0, sizeof(t));
	t.uffd = t.stop_fd = -1;
	for (unsigned i = 0; i < FRONT_MEM_SIZE; i++)
		t.source[i] = i < DATA ? 0 : (uint8_t)(i / PAGE + i);
	t.kick = rig_eventfd();
	rig_open(&t.rig, VHO_DEV_BLK);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&t.rig);
	giver_stop();
	if (t.uffd >= 0)
		close(t.uffd);
	close(t.kick);
	return 0;
}

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

/* ---- what must not hurt ---- */

static void another_session_works(void)
{
	static struct fake_rig victim;

	rig_open(&victim, VHO_DEV_BLK);
	rig_run_ring(&victim);
	assert_true(victim.h.running[0]);
	rig_close(&victim);
}

/* Nobody gives a page: no thread of ours waits, and everything can be ended. */
static void pages_that_never_come(void **state)
{
	struct pollfd p;
	struct vu_vring_state s = { .index = 0 };
	struct vu_msg m;

	(void)state;
	enter(0);
	set_ring(SIZE);
	p = (struct pollfd){ t.uffd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1); // the pager waits now
	assert_false(t.rig.h.running[0]);
	another_session_works();
	front_send(&t.rig.f, VU_GET_VRING_BASE, VU_FLAG_VERSION, &s, sizeof(s), NULL, 0);
	assert_int_equal(front_recv(&t.rig.f, &m, NULL), sizeof(s));
	vho_vu_destroy(t.rig.vu);
	t.rig.vu = NULL;
	wait_gone();
	another_session_works();
}

/* The same in the middle of a ring, and then the front-end leaves without a word. */
static void a_request_whose_page_never_comes(void **state)
{
	struct iovec iov[8];
	struct vho_chain c = { .iov = iov, .max = 8 };
	struct pollfd p;

	(void)state;
	desc(0, DATA, 16, 0, 0);
	desc(1, DATA + 4 * PAGE, 16, 0, 0);
	desc(2, DATA, 16, 0, 0);
	avail(0, 0);
	avail(1, 1);
	avail(2, 2);
	atomic_store(&t.held[DATA / PAGE + 4], 1);
	enter(0);
	giver_start();
	set_ring(SIZE);
	wait_running(0);
	assert_int_equal(pop_waiting(&c), 1);
	assert_int_equal(c.elem.id, 0);
	p = (struct pollfd){ t.stop_fd, POLLIN, 0 };
	while (atomic_load(&t.asked) < 3 + 2)
		(void)poll(&p, 1, 1);
	// What comes behind it waits with it
	assert_int_equal(vho_queue_pop(queue(), &c), 0);
	assert_true(vho_queue_arm(queue()));
	close(t.rig.f.fd);
	t.rig.f.fd = -1;
	fake_host_run(&t.rig.h);
	assert_false(t.rig.h.running[0]);
	wait_gone();
	assert_null(t.rig.d.dev.postcopy);
}

/* A front-end that goes on and on meanwhile does not fill what the pager will read some day. */
static void a_pager_that_does_not_listen(void **state)
{
	struct pollfd p;

	(void)state;
	enter(0);
	set_ring(SIZE);
	p = (struct pollfd){ t.uffd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(front_call_fd(&t.rig.f, VU_SET_VRING_KICK, 0, t.kick), 0);
	assert_true(vho_vu_check(t.rig.vu));
	// It hears of the last one
	giver_start();
	wait_running(0);
}

/* Both ways to a missing page behind the pager's back end the session, and make nobody wait. */
static void must_fault(const volatile uint8_t *at)
{
	assert_int_equal(*at, 0);
	assert_true(vho_dev_faulted(&t.rig.d.dev));
	assert_false(vho_vu_check(t.rig.vu));
	wait_gone();
}

static void a_page_taken_back(void **state)
{
	struct iovec iov[8];
	struct vho_chain c = { .iov = iov, .max = 8 };

	(void)state;
	desc(0, DATA, 16, 0, 0);
	avail(0, 0);
	enter(0);
	giver_start();
	set_ring(SIZE);
	wait_running(0);
	assert_int_equal(pop_waiting(&c), 1);
	assert_int_equal(
		fallocate(t.rig.f.mem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, DATA, PAGE),
		0);
	must_fault(iov[0].iov_base);
}

static void a_request_changed_behind_the_pager(void **state)
{
	struct iovec iov[8];
	struct vho_chain c = { .iov = iov, .max = 8 };
	struct vring_desc *d = (void *)(t.rig.f.mem + DESC);
	struct pollfd p = { t.kick, POLLIN, 0 };

	(void)state;
	desc(0, DATA, 16, 0, 0);
	avail(0, 0);
	enter(0);
	giver_start();
	set_ring(SIZE);
	wait_running(0);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	d[0].addr = FRONT_GPA + DATA + 7 * PAGE;
	assert_int_equal(vho_queue_pop(queue(), &c), 1);
	must_fault(iov[0].iov_base);
}

/* A kernel that copies for us (io_uring, pread) gets an error, and waits as little. */
static void the_kernel_does_not_wait_either(void **state)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)state;
	enter(0);
	assert_true(read(fd, vho_mem_at(t.rig.d.dev.mem, FRONT_GPA, 16), 16) < 0);
	assert_int_equal(errno, EFAULT);
	close(fd);
}

/* What the front-end holds is no way into this process. */
static void the_descriptor_reaches_the_pager_only(void **state)
{
	uint8_t *ours = mmap(
		NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *evil = mmap(
		NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { .range = { (uintptr_t)ours, PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_copy copy = { .dst = (uintptr_t)ours, .src = (uintptr_t)evil, .len = PAGE };

	(void)state;
	enter(0);
	evil[0] = 1;
	assert_true(ioctl(t.uffd, UFFDIO_REGISTER, &reg) < 0);
	assert_true(ioctl(t.uffd, UFFDIO_COPY, &copy) < 0);
	assert_int_equal(ours[0], 0);
	munmap(ours, PAGE);
	munmap(evil, PAGE);
}

/* The youngest child that this process has: 0, or its id. */
static pid_t child(void)
{
	char path[64], text[1024] = "", *last;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = 0;
	fclose(f);
	for (last = text + strlen(text); last > text && (last[-1] == ' '); last--)
		last[-1] = 0;
	last = strrchr(text, ' ');
	return (pid_t)strtol(last ? last + 1 : text, NULL, 10);
}

static void the_pager_is_locked_in(void **state)
{
	char path[64], line[128];
	bool filtered = false;
	unsigned fds = 0;
	DIR *dir;
	FILE *f;

	(void)state;
	enter(0);
	if (!child()) {
		print_message("no /proc/PID/task/TID/children: not looked at\n");
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/status", (int)child());
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		filtered |= strcmp(line, "Seccomp:\t2\n") == 0;
	fclose(f);
	assert_true(filtered);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)child());
	dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *e; (e = readdir(dir));)
		fds += e->d_name[0] != '.';
	closedir(dir);
	// /dev/null three times, the socket, the eventfd, the userfaultfd
	assert_int_equal(fds, 6);
}

static void a_pager_that_dies_ends_the_session(void **state)
{
	(void)state;
	enter(0);
	if (!child()) {
		print_message("no /proc/PID/task/TID/children: not looked at\n");
		return;
	}
	assert_int_equal(kill(child(), SIGKILL), 0);
	wait_gone();
	for (unsigned ms = 0; vho_vu_check(t.rig.vu); ms++) {
		assert_true(ms < PATIENCE_MS);
		(void)poll(NULL, 0, 1); // its descriptors are closed after its memory
	}
	assert_true(front_closed(&t.rig.f));
}

/* Is it there, and more than a name that nobody has asked for yet? */
static bool lives(pid_t pid)
{
	char path[64], line[128];
	bool zombie = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		zombie |= strncmp(line, "State:\tZ", 8) == 0;
	fclose(f);
	return !zombie;
}

/* A card that is killed takes its pagers along, though they sleep and nobody tells them. */
static void a_card_that_is_killed(void **state)
{
	struct pollfd p = { .events = POLLIN };
	char path[64];
	int pair[2];
	pid_t card, pager = 0;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
	if (access(path, R_OK)) {
		print_message("no %s: not looked at\n", path);
		return;
	}
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	card = fork();
	assert_true(card >= 0);
	if (card == 0) {
		enter(0);
		set_ring(SIZE);
		p.fd = t.uffd;
		(void)poll(&p, 1, PATIENCE_MS);
		pager = child();
		(void)!write(pair[1], &pager, sizeof(pager));
		for (;;)
			pause();
	}
	assert_int_equal(read(pair[0], &pager, sizeof(pager)), sizeof(pager));
	assert_true(pager > 0 && lives(pager));
	assert_int_equal(kill(card, SIGKILL), 0);
	assert_int_equal(waitpid(card, NULL, 0), card);
	for (unsigned ms = 0; lives(pager); ms++) {
		assert_true(ms < PATIENCE_MS);
		(void)poll(NULL, 0, 1);
	}
	close(pair[0]);
	close(pair[1]);
}

static void nothing_is_left(void **state)
{
	unsigned fds = 0, maps = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		rig_reopen(&t.rig);
		enter(0);
		set_ring(SIZE);
		close(t.rig.f.fd);
		t.rig.f.fd = -1;
		fake_host_run(&t.rig.h);
		wait_gone();
		close(t.uffd);
		t.uffd = -1;
		if (i == 9) {
			fds = fake_open_fds();
			maps = rig_mappings();
		}
	}
	assert_int_equal(fake_open_fds(), fds);
	assert_true(rig_mappings() <= maps + 2);
}

static void a_hand_over_is_refused(void **state)
{
	int pair[2];

	(void)state;
	enter(0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vho_vu_give(t.rig.vu, pair[0]), -EBUSY);
	close(pair[0]);
	close(pair[1]);
	assert_false(front_closed(&t.rig.f));
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
		T(pages_that_never_come),
		T(a_request_whose_page_never_comes),
		T(a_pager_that_does_not_listen),
		T(a_page_taken_back),
		T(a_request_changed_behind_the_pager),
		T(the_kernel_does_not_wait_either),
		T(the_descriptor_reaches_the_pager_only),
		T(the_pager_is_locked_in),
		T(a_pager_that_dies_ends_the_session),
		T(a_card_that_is_killed),
		T(nothing_is_left),
		T(a_hand_over_is_refused),
		T(requests_out_of_order),
#undef T
	};

	if (!vho_postcopy_supported()) {
		puts("SKIP: no userfaultfd here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
