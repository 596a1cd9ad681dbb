// SPDX-License-Identifier: Apache-2.0
/*
 * How long a program takes from before fork(2) to the first byte on its standard output: of a
 * hypervisor whose guest begins with one for its console, that is the guest's first instruction,
 * and an exit and a wake-up more. Usage: hv_start TIMES PROGRAM ARGUMENT...; prints nanoseconds,
 * one a line.
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 30000

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 0: it ended, or was silent for too long. */
static uint64_t start_once(char **argv)
{
	struct pollfd p = { .events = POLLIN };
	uint64_t begun = now_ns(), ended = 0;
	int fd[2];
	char byte;

	if (pipe(fd) < 0)
		return 0;
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fd[1]);
	p.fd = fd[0];
	if (pid > 0 && poll(&p, 1, WAIT_MS) > 0 && read(fd[0], &byte, 1) == 1)
		ended = now_ns();
	close(fd[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return ended ? ended - begun : 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: hv_start TIMES PROGRAM ARGUMENT...\n");
		return 2;
	}
	for (long n = strtol(argv[1], NULL, 10); n > 0; n--) {
		uint64_t ns = start_once(argv + 2);

		if (!ns) {
			fprintf(stderr, "hv_start: %s: no first byte\n", argv[2]);
			return 1;
		}
		printf("%llu\n", (unsigned long long)ns);
	}
	return 0;
}
