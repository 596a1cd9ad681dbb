// SPDX-License-Identifier: Apache-2.0
/*
 * The main thread's malloc(3) behind its filter, where brk(2) fails: a mapping that is in its way,
 * or a limit. Each libc then takes its memory by other calls.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

#define OBJECTS 600

/* From now on, beneath whatever other filter there is. */
static int no_brk(void)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_brk },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOMEM },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	const struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

/* Of every size up to what gets a mapping of its own. */
static size_t size_of(unsigned i)
{
	return 16 + i * 37 % 140000;
}

/* The call that musl's malloc(3) needs then makes no code of data. */
static bool code_is_refused(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (hv_sandbox_thread(HV_THREAD_MAIN) == 0)
			(void)mprotect(page, 4096, PROT_READ | PROT_EXEC);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

int main(void)
{
	static char *object[OBJECTS];

#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1); // as guest.c
#endif
	if (!code_is_refused())
		return 4;
	if (no_brk() || hv_sandbox_thread(HV_THREAD_MAIN))
		return 1;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < OBJECTS; i++) {
			object[i] = malloc(size_of(i));
			if (!object[i])
				return 2;
			memset(object[i], (int)i, size_of(i));
		}
		for (unsigned i = 0; i < OBJECTS; i++) {
			unsigned which = i * 7 % OBJECTS; // in another order

			if (object[which][size_of(which) - 1] != (char)which)
				return 3;
			free(object[which]);
		}
	}
	_exit(0);
}
