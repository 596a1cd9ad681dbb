// SPDX-License-Identifier: Apache-2.0
/*
 * The supervisor of a card. Its children are this program again: each tells what happens to it
 * through a pipe that all of them share, so that every step of a test waits for a report.
 */
#include "supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "dpu_log.h"
#include "keeper.h"
#include "test.h"

struct report {
	pid_t pid;
	char what; // an enum card_note
};

/* ---- a child ---- */

static void child_ends_well(int sig)
{
	(void)sig;
	_exit(0);
}

static void child_report(int pipe_fd, char what)
{
	struct report r = { .pid = getpid(), .what = what };

	if (write(pipe_fd, &r, sizeof(r)) != (ssize_t)sizeof(r))
		_exit(9);
}

static void child_tell(int fd, int pipe_fd, char what)
{
	child_report(pipe_fd, what);
	if (send(fd, &what, 1, MSG_NOSIGNAL) != 1)
		_exit(9);
}

static int alarm_fd;

static void child_lives_on(int sig)
{
	(void)sig;
	child_report(alarm_fd, 'X');
	_exit(9);
}

/* --child MODE PIPE-FD --standby-fd=N */
static int child(char **argv)
{
	static const char option[] = "--" CARD_STANDBY_OPTION "=";
	int pipe_fd = atoi(argv[3]), fd = atoi(argv[4] + strlen(option));
	char n;

	if (strncmp(argv[4], option, strlen(option)) != 0)
		return 9;
	if (!strcmp(argv[2], "fails"))
		return 3;
	signal(SIGUSR1, child_ends_well);
	if (!strcmp(argv[2], "crashes"))
		signal(SIGTERM, SIG_IGN); // its end is its own
	signal(SIGALRM, child_lives_on);
	alarm_fd = pipe_fd;
	alarm(30);
	child_tell(fd, pipe_fd, CARD_NOTE_WARM);
	while (recv(fd, &n, 1, 0) == 1) {
		if (n != CARD_NOTE_GO) {
			child_report(pipe_fd, n);
			continue;
		}
		child_tell(fd, pipe_fd, CARD_NOTE_SERVING);
		if (!strcmp(argv[2], "crashes"))
			raise(SIGKILL);
	}
	for (;;)
		pause(); // the supervisor's end alone does not end it
}

/* ---- the supervisor, in a process of its own ---- */

struct rig {
	pid_t pid;
	int reports;
	_Atomic uint64_t *clock; // shared; 0: real time
};

static _Atomic uint64_t *shared_clock;

static uint64_t slow_clock(void)
{
	return atomic_load(shared_clock);
}

static void served(void *arg)
{
	child_report(*(int *)arg, '!');
}

static void open_rig(struct rig *r, const char *mode, uint64_t clock)
{
	char fd_text[16], program[] = "test", flag[] = "--child", word[16];
	char *argv[] = { program, flag, word, fd_text, NULL };
	int ends[2];

	r->clock = mmap(
		NULL, sizeof(*r->clock), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(r->clock, MAP_FAILED);
	atomic_store(r->clock, clock);
	shared_clock = r->clock;
	assert_int_equal(pipe(ends), 0);
	r->reports = ends[0];
	fcntl(ends[0], F_SETFD, FD_CLOEXEC);
	r->pid = fork();
	if (r->pid == 0) {
		const struct card_supervise_conf conf = { .program = "/proc/self/exe",
			.argv = argv,
			.serving = served,
			.arg = &ends[1] };

		snprintf(fd_text, sizeof(fd_text), "%d", ends[1]);
		snprintf(word, sizeof(word), "%s", mode);
		dpu_log_level_set(DPU_LOG_ERR);
		alarm(60);
		if (clock)
			dpu_clock_set(slow_clock);
		_exit(card_supervise(&conf));
	}
	close(ends[1]);
}

static struct report next(const struct rig *r)
{
	struct report got = { 0 };

	assert_int_equal(read(r->reports, &got, sizeof(got)), sizeof(got));
	return got;
}

static void expect(const struct rig *r, pid_t pid, char what)
{
	struct report got = next(r);

	assert_int_equal(got.what, what);
	assert_int_equal(got.pid, pid);
}

/* The pid of a child that nobody has heard of. */
static pid_t expect_new(const struct rig *r, char what)
{
	struct report got = next(r);

	assert_int_equal(got.what, what);
	return got.pid;
}

/* A front and a spare, both warm. */
static void expect_pair(const struct rig *r, pid_t *front, pid_t *spare)
{
	*front = expect_new(r, CARD_NOTE_WARM);
	expect(r, *front, CARD_NOTE_SERVING);
	expect(r, r->pid, '!');
	*spare = expect_new(r, CARD_NOTE_WARM);
	expect(r, *front, CARD_NOTE_SPARE);
}

/* Reads what is left, until no child holds the pipe; returns how many say `what`. */
static unsigned close_rig(struct rig *r, int status, char what)
{
	struct report got;
	unsigned n = 0;
	int st;

	while (read(r->reports, &got, sizeof(got)) == (ssize_t)sizeof(got))
		n += got.what == what;
	assert_int_equal(waitpid(r->pid, &st, 0), r->pid);
	assert_true(WIFEXITED(st) ? WEXITSTATUS(st) == status : WTERMSIG(st) == -status);
	close(r->reports);
	munmap(r->clock, sizeof(*r->clock));
	return n;
}

/* ---- tests ---- */

static void the_spare_takes_over(void **state)
{
	pid_t a, b, c;
	struct rig r;

	(void)state;
	open_rig(&r, "serves", 0);
	expect_pair(&r, &a, &b);
	assert_int_not_equal(a, b);
	for (unsigned i = 0; i < 5; i++) {
		kill(a, SIGKILL);
		expect(&r, b, CARD_NOTE_SERVING);
		c = expect_new(&r, CARD_NOTE_WARM);
		expect(&r, b, CARD_NOTE_SPARE);
		a = b;
		b = c;
	}
	kill(r.pid, SIGTERM);
	close_rig(&r, 0, 0);
}

static void a_spare_that_died_is_replaced(void **state)
{
	struct report got[2];
	pid_t a, b, c = 0;
	bool alone = false;
	struct rig r;

	(void)state;
	open_rig(&r, "serves", 0);
	expect_pair(&r, &a, &b);
	kill(b, SIGKILL);
	for (unsigned i = 0; i < 2; i++) { // in any order
		got[i] = next(&r);
		if (got[i].pid == a && got[i].what == CARD_NOTE_ALONE)
			alone = true;
		else if (got[i].what == CARD_NOTE_WARM)
			c = got[i].pid;
	}
	assert_true(alone && c);
	expect(&r, a, CARD_NOTE_SPARE);
	kill(a, SIGKILL);
	expect(&r, c, CARD_NOTE_SERVING);
	kill(r.pid, SIGINT);
	close_rig(&r, 0, 0);
}

static void what_cannot_start_ends_it(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r, "fails", 0);
	close_rig(&r, 3, 0);
}

static void a_card_that_ends_well_ends_it(void **state)
{
	pid_t a, b;
	struct rig r;

	(void)state;
	open_rig(&r, "serves", 0);
	expect_pair(&r, &a, &b);
	kill(a, SIGUSR1);
	assert_int_equal(close_rig(&r, 0, CARD_NOTE_SERVING), 0);
}

static void nobody_outlives_it(void **state)
{
	pid_t a, b;
	struct rig r;

	(void)state;
	open_rig(&r, "serves", 0);
	expect_pair(&r, &a, &b);
	kill(r.pid, SIGKILL);
	assert_int_equal(close_rig(&r, -SIGKILL, 'X'), 0);
}

/* The clock stands still: after the free failures nothing starts until it is moved. */
static void a_crash_loop_slows_down(void **state)
{
	unsigned served_n = 0, moved = 0;
	struct rig r;

	(void)state;
	open_rig(&r, "crashes", 1000000000);
	while (served_n < 4)
		served_n += next(&r).what == CARD_NOTE_SERVING;
	while (served_n < 5) {
		struct pollfd p = { .fd = r.reports, .events = POLLIN };

		if (poll(&p, 1, 50) == 1) {
			served_n += next(&r).what == CARD_NOTE_SERVING;
		} else {
			atomic_fetch_add(r.clock, 100000000);
			moved++;
		}
	}
	assert_true(moved > 0);
	kill(r.pid, SIGTERM);
	close_rig(&r, EXIT_FAILURE, 0);
}

/* A keeper has no file of the process that it outlives: the alarm would end that. */
static void a_keeper_holds_no_file(void **state)
{
	int ends[2], st;
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		alarm(60);
		if (card_keeper_start() || write(ends[1], "k", 1) != 1)
			_exit(9);
		close(ends[1]); // the last one, unless the keeper has another
		for (;;)
			pause();
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 1);
	assert_int_equal(read(ends[0], &c, 1), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
	close(ends[0]);
}

static const struct delay_case {
	const char *name;
	unsigned failures, ms;
} delays[] = {
	{ "none", 0, 0 },
	{ "the last that is free", 3, 0 },
	{ "the first that costs", 4, 100 },
	{ "doubled", 5, 200 },
	{ "just under the limit", 9, 3200 },
	{ "the limit", 10, 5000 },
	{ "for ever", UINT32_MAX, 5000 },
};

static void delay(void **state)
{
	const struct delay_case *t = *state;

	assert_int_equal(card_supervise_delay_ms(t->failures), t->ms);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest rest[] = {
		cmocka_unit_test(the_spare_takes_over),
		cmocka_unit_test(a_spare_that_died_is_replaced),
		cmocka_unit_test(what_cannot_start_ends_it),
		cmocka_unit_test(a_card_that_ends_well_ends_it),
		cmocka_unit_test(nobody_outlives_it),
		cmocka_unit_test(a_crash_loop_slows_down),
		cmocka_unit_test(a_keeper_holds_no_file),
	};
	int failed = 0;

	if (argc == 5 && !strcmp(argv[1], "--child"))
		return child(argv);
	RUN_ROWS(delays, delay, failed);
	failed += cmocka_run_group_tests(rest, NULL, NULL);
	return failed != 0;
}
