// SPDX-License-Identifier: Apache-2.0
/* Starts child processes that end with the emulator. */
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"

void emu_argv_add(struct emu_argv *a, const char *fmt, ...)
{
	va_list ap;
	char *s;

	if (a->n == EMU_ARGV_MAX)
		a->failed = true;
	if (a->failed)
		return;
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		a->failed = true;
	else
		a->v[a->n++] = s;
	va_end(ap);
}

void emu_argv_fini(struct emu_argv *a)
{
	for (unsigned i = 0; i < a->n; i++)
		free(a->v[i]);
	memset(a, 0, sizeof(*a));
}

static int set_streams(const char *log)
{
	int null, fd;

	if (!log) {
		// A program of the user's: the terminal is its own while it runs.
		if (isatty(STDIN_FILENO)) {
			signal(SIGTTOU, SIG_IGN);
			tcsetpgrp(STDIN_FILENO, getpgrp());
			signal(SIGTTOU, SIG_DFL);
		}
		return 0;
	}
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (null < 0 || fd < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
		dup2(fd, STDERR_FILENO) < 0)
		return -errno;
	return 0;
}

int emu_spawn(const struct emu_argv *a, const char *log, pid_t *out)
{
	pid_t parent = getpid(), pid;
	sigset_t none;

	if (a->failed)
		return -ENOMEM;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		setpgid(0, 0);
		// The parent may have ended before prctl() could see it.
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(127);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		if (set_streams(log) == 0)
			execvp(a->v[0], a->v);
		fprintf(stderr, "card-emulator: cannot run %s: %s\n", a->v[0], strerror(errno));
		_exit(127);
	}
	setpgid(pid, pid); // both sides, whichever comes first
	*out = pid;
	return 0;
}

void emu_program_path(const char *name, char *out, size_t size)
{
	static const char *const places[] = { "", "../", EMU_TO_LIBEXEC "/" };
	char self[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	for (unsigned i = 0; slash && i < sizeof(places) / sizeof(places[0]); i++) {
		slash[1] = '\0';
		if (snprintf(out, size, "%s%s%s", self, places[i], name) < (int)size &&
			access(out, X_OK) == 0)
			return;
	}
	emu_text(out, size, "%s", name);
}

void emu_status_text(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		emu_text(out, size, "killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		emu_text(out, size, "exited with status %d", WEXITSTATUS(status));
}
