// SPDX-License-Identifier: Apache-2.0
/* Front-ends and guests that abuse postcopy, and what must not come of it: ADR-0007. */
#include "postcopy_env.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, open_rig, close_rig)
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
#undef T
	};

	if (!vho_postcopy_supported()) {
		puts("SKIP: no userfaultfd here");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
