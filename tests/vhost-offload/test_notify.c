// SPDX-License-Identifier: Apache-2.0
/* Signals to shared eventfds where the kernel has no AIO: a child that is not allowed to use it. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue.h"

#define UNABLE 77

/* io_setup(2) fails from now on, as it does in a kernel without CONFIG_AIO and in containers. */
static int no_aio(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) ? -errno : 0;
}

/* Each returns 0, or the line that failed. alarm(2) ends a child that sleeps where it must not. */
#define EXPECT(x)                        \
	do {                             \
		if (!(x))                \
			return __LINE__; \
	} while (0)

static int counts(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t n = 0;

	for (unsigned i = 0; i < 1000; i++)
		vho_notify_fd(fd);
	EXPECT(read(fd, &n, sizeof(n)) == sizeof(n));
	EXPECT(n == 1000);
	vho_notify_fd(-1);
	return 0;
}

/* VU-16: a blocking eventfd with a full counter. */
static int full_and_blocking(void)
{
	uint64_t full = UINT64_MAX - 1, n = 0;
	int fd = eventfd(0, EFD_CLOEXEC);

	EXPECT(write(fd, &full, sizeof(full)) == sizeof(full));
	for (unsigned i = 0; i < 10; i++) {
		vho_notify_fd(fd);
		EXPECT(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0);
	}
	EXPECT(read(fd, &n, sizeof(n)) == sizeof(n));
	EXPECT(n == full);
	vho_notify_fd(fd);
	EXPECT(read(fd, &n, sizeof(n)) == sizeof(n));
	EXPECT(n == 1);
	return 0;
}

static int closed(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	close(fd);
	vho_notify_fd(fd);
	return 0;
}

static const struct fallback_case {
	const char *name;
	int (*run)(void);
} fallbacks[] = {
	{ "without AIO: every signal counts", counts },
	{ "VU-16 without AIO: full and blocking", full_and_blocking },
	{ "without AIO: a closed descriptor", closed },
};

static void fallback(void **state)
{
	const struct fallback_case *t = *state;
	int status, ret;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(20);
		if (no_aio())
			_exit(UNABLE);
		ret = syscall(SYS_io_setup, 1, &(unsigned long){ 0 }) < 0 ? t->run() : 1;
		_exit(ret > 255 ? 255 : ret);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == UNABLE)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	int failed = 0;

	RUN_ROWS(fallbacks, fallback, failed);
	return failed != 0;
}
