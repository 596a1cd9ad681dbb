// SPDX-License-Identifier: Apache-2.0
/* Removes the run directory when the emulator is gone, whatever ended it. */
#include "sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static void sweep(int fd, const char *dir, bool keep)
{
	pid_t group, last = 0;
	ssize_t n;

	do {
		n = read(fd, &group, sizeof(group));
		if (n == (ssize_t)sizeof(group))
			last = group;
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (last > 1)
		kill(-last, SIGKILL);
	// A process that is being killed may still make a file: once more, then give up.
	for (unsigned i = 0; i < 20 && !keep && access(dir, F_OK) == 0; i++) {
		if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0)
			usleep(50000);
	}
}

int emu_sweep_start(struct emu_sweep *s, const char *dir, bool keep)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int err = errno;

		close(fds[0]);
		close(fds[1]);
		return -err;
	}
	if (pid == 0) {
		sigset_t all;

		close(fds[1]);
		setsid();
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		// A reader of our output must not wait for us.
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
		sweep(fds[0], dir, keep);
		_exit(0);
	}
	close(fds[0]);
	s->fd = fds[1];
	s->pid = pid;
	return 0;
}

void emu_sweep_group(struct emu_sweep *s, pid_t pgid)
{
	if (s->pid && write(s->fd, &pgid, sizeof(pgid)) < 0)
		perror("card-emulator: sweeper");
}

void emu_sweep_finish(struct emu_sweep *s)
{
	if (!s->pid)
		return;
	close(s->fd);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
}
