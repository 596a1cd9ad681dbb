// SPDX-License-Identifier: Apache-2.0
/* The keeper: a process that shares its parent's memory and nothing else. */
#include "keeper.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES 65536

/*
 * Runs beside the parent on its memory, errno included: nothing here may fail or touch a global.
 * Every signal is blocked; SIGKILL ends it.
 */
static int keep(void *arg)
{
	struct pollfd parent = { .fd = *(const int *)arg, .events = POLLIN };

	// Copies of the parent's files: the names they hold must be free once it is dead.
	if (parent.fd > 0)
		close_range(0, (unsigned)parent.fd - 1, 0);
	close_range((unsigned)parent.fd + 1, UINT_MAX, 0);
	while (poll(&parent, 1, -1) == 0)
		;
	return 0; // clone(3) makes an exit of it
}

/* The stack is the keeper's for the life of the memory itself, so nobody unmaps it. */
static int start(int pidfd)
{
	sigset_t all, before;
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int ret;

	if (stack == MAP_FAILED)
		return -errno;
	// The keeper's argument outlives this call at the low end of its stack.
	*(int *)(void *)stack = pidfd;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	// No signal at its end, and no SIGCHLD here: it is nobody's child to wait for.
	ret = clone(keep, stack + STACK_BYTES, CLONE_VM, stack) < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (ret)
		munmap(stack, STACK_BYTES);
	return ret;
}

int card_keeper_start(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), ret;

	if (pidfd < 0)
		return -errno;
	ret = start(pidfd);
	close(pidfd);
	return ret;
}
