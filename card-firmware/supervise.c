// SPDX-License-Identifier: Apache-2.0
/*
 * The parent of a card and of its warm spare. It has one thread, no DPDK, and nothing of a guest or
 * of the network ever reaches it.
 *
 * `front` is the child that was told to serve; `spare` waits. A front that died is replaced by the
 * spare, warm or not, and then a new spare is started: never more than two children. What dies
 * again and again is started again ever more slowly.
 *
 * A child counts as dead when the kernel reports it, not when its sockets close: only then is none
 * of its writes to a volume still on its way.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_clock.h"
#include "dpu_log.h"

#define MS 1000000ULL
#define SHORT_LIFE_MS 100 // of service; less is counted as a failure
#define FAILURES_FREE 3 // in a row, before a start is put off
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define SPARE_PATIENCE 12 // times as long for a spare: at most a minute
#define SETTLE_MS 30 // of service before a spare is started: front-ends reconnect first

struct child {
	pid_t pid; // 0: none
	int fd; // owned while there is one
	bool warm, serving;
	bool mute; // it closed its end
	uint64_t since_ns; // it serves
};

struct supervisor {
	const struct card_supervise_conf *conf; // borrowed
	int signals; // owned
	sigset_t before; // the signal mask children start with
	struct child front, spare;
	unsigned front_failures, spare_failures; // in a row
	uint64_t front_at_ns, spare_at_ns; // not to be started before
	bool served; // the card has served at least once
	bool told_spare; // what the front knows
	bool stopping;
	int status;
};

unsigned card_supervise_delay_ms(unsigned failures)
{
	unsigned ms = BACKOFF_MIN_MS;

	if (failures <= FAILURES_FREE)
		return 0;
	for (unsigned i = FAILURES_FREE + 1; i < failures && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	return ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS;
}

static uint64_t not_before(unsigned failures)
{
	return dpu_now_ns() + card_supervise_delay_ms(failures) * MS;
}

/* Guests do not wait for a spare, and one that finds no memory may never find any. */
static uint64_t spare_not_before(unsigned failures)
{
	return dpu_now_ns() + card_supervise_delay_ms(failures) * SPARE_PATIENCE * MS;
}

static void note(const struct child *ch, enum card_note n)
{
	const char byte = (char)n;

	// What is dead need not know: its end is reported to us.
	if (ch->pid && send(ch->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE)
		dpu_warn("supervise: note lost", "pid=%d err=%d", (int)ch->pid, errno);
}

/* ---- start ---- */

/* Between fork and exec. Does not return. */
static void become_card(const struct supervisor *s, int fd, pid_t parent)
{
	char option[48];
	size_t n = 0;

	while (s->conf->argv[n])
		n++;
	char **argv = dpu_calloc(n + 2, sizeof(*argv));

	// The parent may have ended before prctl() could see it.
	if (!argv || prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent ||
		fcntl(fd, F_SETFD, 0) || sigprocmask(SIG_SETMASK, &s->before, NULL))
		_exit(EXIT_FAILURE);
	memcpy(argv, s->conf->argv, n * sizeof(*argv));
	snprintf(option, sizeof(option), "--" CARD_STANDBY_OPTION "=%d", fd);
	argv[n] = option;
	execv(s->conf->program, argv);
	_exit(EXIT_FAILURE);
}

static int start(const struct supervisor *s, struct child *out)
{
	pid_t parent = getpid(), pid;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid == 0)
		become_card(s, pair[1], parent);
	close(pair[1]);
	if (pid < 0) {
		int ret = -errno;

		close(pair[0]);
		return ret;
	}
	*out = (struct child){ .pid = pid, .fd = pair[0] };
	return 0;
}

static void log_no_start(const char *what, int ret)
{
	dpu_err("supervise: cannot start a process", "what=%s err=%d (%s)", what, ret,
		strerror(-ret));
}

/* Bring about what should be, as far as its time has come. */
static void advance(struct supervisor *s)
{
	uint64_t now = dpu_now_ns();
	int ret;

	if (s->stopping)
		return;
	if (!s->front.pid && now >= s->front_at_ns) {
		s->front = s->spare;
		s->spare = (struct child){ 0 };
		s->told_spare = false;
		ret = s->front.pid ? 0 : start(s, &s->front);
		if (ret) {
			s->front_failures += FAILURES_FREE + 1;
			s->front_at_ns = not_before(s->front_failures);
			log_no_start("card", ret);
		} else {
			note(&s->front, CARD_NOTE_GO);
		}
	}
	if (s->front.serving && !s->spare.pid && now >= s->spare_at_ns) {
		ret = start(s, &s->spare);
		if (ret) {
			s->spare_failures += FAILURES_FREE + 1;
			s->spare_at_ns = spare_not_before(s->spare_failures);
			log_no_start("spare", ret);
		}
	}
	if (s->front.serving && s->told_spare != s->spare.warm) {
		s->told_spare = s->spare.warm;
		note(&s->front, s->told_spare ? CARD_NOTE_SPARE : CARD_NOTE_ALONE);
	}
}

/* ---- what children say ---- */

static void on_serving(struct supervisor *s)
{
	s->front.serving = true;
	s->front.since_ns = dpu_now_ns();
	if (s->spare_at_ns < s->front.since_ns + SETTLE_MS * MS)
		s->spare_at_ns = s->front.since_ns + SETTLE_MS * MS;
	if (!s->served && s->conf->serving)
		s->conf->serving(s->conf->arg);
	else if (s->served)
		dpu_info("supervise: taken over", "pid=%d", (int)s->front.pid);
	s->served = true;
}

static void listen_to(struct supervisor *s, struct child *ch)
{
	char buf[16];
	ssize_t n;

	if (!ch->pid)
		return;
	while ((n = recv(ch->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == CARD_NOTE_WARM) {
				ch->warm = true;
				if (ch == &s->spare)
					s->spare_failures = 0;
			} else if (buf[i] == CARD_NOTE_SERVING && ch == &s->front) {
				on_serving(s);
			}
		}
	}
	ch->mute = n == 0;
}

/* ---- ends ---- */

static void describe(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(out, size, "signal %d", WTERMSIG(status));
	else
		snprintf(out, size, "status %d", WEXITSTATUS(status));
}

static void stop(struct supervisor *s)
{
	s->stopping = true;
	if (s->front.pid)
		kill(s->front.pid, SIGTERM);
	if (s->spare.pid)
		kill(s->spare.pid, SIGKILL); // it holds nothing that outlives it
}

static void front_ended(struct supervisor *s, const struct child *old, int status)
{
	// Our SIGTERM may reach it before it watches for that.
	bool orderly = WIFEXITED(status) ? WEXITSTATUS(status) == 0
					 : s->stopping && WTERMSIG(status) == SIGTERM;
	char how[32];

	s->status = orderly ? 0 : WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
	if (orderly || !s->served)
		stop(s); // nothing to take over, or what would not start is not started again
	if (!old->serving || dpu_now_ns() - old->since_ns < SHORT_LIFE_MS * MS)
		s->front_failures++;
	else
		s->front_failures = 0;
	s->front_at_ns = not_before(s->front_failures);
	advance(s); // first: the guests are waiting
	describe(status, how, sizeof(how));
	if (!orderly)
		dpu_err("supervise: the card died", "pid=%d by=\"%s\" failures=%u", (int)old->pid,
			how, s->front_failures);
}

static void spare_ended(struct supervisor *s, const struct child *old, int status)
{
	char how[32];

	if (s->stopping)
		return;
	s->spare_failures++;
	s->spare_at_ns = spare_not_before(s->spare_failures);
	describe(status, how, sizeof(how));
	dpu_warn("supervise: the spare died", "pid=%d by=\"%s\" failures=%u", (int)old->pid, how,
		s->spare_failures);
}

static void child_ended(struct supervisor *s, pid_t pid, int status)
{
	struct child *ch = pid == s->front.pid ? &s->front : pid == s->spare.pid ? &s->spare : NULL;
	struct child old;

	if (!ch)
		return;
	listen_to(s, ch); // its last words
	old = *ch;
	close(old.fd);
	*ch = (struct child){ 0 };
	if (ch == &s->front)
		front_ended(s, &old, status);
	else
		spare_ended(s, &old, status);
}

/*
 * Act on a death first and reap afterwards: the kernel empties the dead process's folder of /proc
 * then, which takes as long as others look into that, seconds on a machine full of them.
 */
static void reap(struct supervisor *s)
{
	for (;;) {
		siginfo_t info = { 0 };

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid)
			return;
		child_ended(s, info.si_pid,
			info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0)
						   : W_EXITCODE(0, info.si_status));
		(void)waitpid(info.si_pid, NULL, 0);
	}
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		dpu_info("supervise: stopping", "signal=%u", info.ssi_signo);
		stop(s);
	}
	reap(s);
}

/* ---- loop ---- */

/* Milliseconds until something is to be started; -1: nothing is. */
static int until_due(const struct supervisor *s)
{
	uint64_t now = dpu_now_ns(), at;

	if (s->stopping)
		return -1;
	if (!s->front.pid)
		at = s->front_at_ns;
	else if (s->front.serving && !s->spare.pid)
		at = s->spare_at_ns;
	else
		return -1;
	return at <= now ? 0 : (int)((at - now) / MS) + 1;
}

/* What to poll; of a child that closed its end only the death is still to come. */
static int ear(const struct child *ch)
{
	return ch->pid && !ch->mute ? ch->fd : -1;
}

static void run(struct supervisor *s)
{
	advance(s);
	while (!s->stopping || s->front.pid || s->spare.pid) {
		struct pollfd p[] = { { .fd = s->signals, .events = POLLIN },
			{ .fd = ear(&s->front), .events = POLLIN },
			{ .fd = ear(&s->spare), .events = POLLIN } };

		if (poll(p, 3, until_due(s)) < 0 && errno != EINTR)
			dpu_warn_ratelimited("supervise: poll", "err=%d", errno);
		listen_to(s, &s->front);
		listen_to(s, &s->spare);
		take_signals(s);
		advance(s);
	}
}

int card_supervise(const struct card_supervise_conf *conf)
{
	struct supervisor s = { .conf = conf, .status = EXIT_FAILURE };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, &s.before)) {
		dpu_err("supervise: cannot block signals", "err=%d", errno);
		return EXIT_FAILURE;
	}
	s.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s.signals < 0) {
		dpu_err("supervise: cannot watch signals", "err=%d", errno);
		return EXIT_FAILURE;
	}
	run(&s);
	close(s.signals);
	return s.status;
}
