// SPDX-License-Identifier: Apache-2.0
/*
 * Signal an eventfd that a hostile process shares with us.
 *
 * write(2) on it may block: the front-end can fill the counter and clear O_NONBLOCK, which belongs
 * to the shared open file, at any moment. The completion of a kernel AIO request signals an eventfd
 * from inside the kernel instead: that adds one, saturates, never waits, and refuses every file
 * that is no eventfd. The request itself reads zero bytes of /dev/null and is complete when
 * io_submit(2) returns. Where the kernel has no AIO, poll(2) comes before a write(2) made
 * non-blocking.
 */
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Head of the completion ring, which the kernel maps at the context's address (fs/aio.c). */
struct aio_ring {
	unsigned id, nr, head, tail;
	unsigned magic, compat_features, incompat_features, header_length;
};

#define AIO_RING_MAGIC 0xa10a10a1u
#define AIO_EVENTS 16

enum notify_state { NOTIFY_NEW, NOTIFY_AIO, NOTIFY_WRITE };

/* One context per thread: it is the kernel's handle for this thread's requests, not our state. */
static _Thread_local struct {
	enum notify_state state;
	aio_context_t ctx;
	int null_fd;
} mine;

static pthread_once_t exit_key_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;

static void thread_exit(void *arg)
{
	(void)arg;
	syscall(SYS_io_destroy, mine.ctx);
	close(mine.null_fd);
	mine.state = NOTIFY_NEW;
}

static void exit_key_create(void)
{
	(void)pthread_key_create(&exit_key, thread_exit);
}

static enum notify_state thread_start(void)
{
	mine.ctx = 0;
	mine.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (mine.null_fd < 0)
		return NOTIFY_WRITE;
	if (syscall(SYS_io_setup, AIO_EVENTS, &mine.ctx))
		goto err_fd;

	const volatile struct aio_ring *ring = (void *)mine.ctx;

	if (ring->magic != AIO_RING_MAGIC || ring->incompat_features)
		goto err_ctx;
	pthread_once(&exit_key_once, exit_key_create);
	if (pthread_setspecific(exit_key, &mine))
		goto err_ctx;
	return NOTIFY_AIO;

err_ctx:
	syscall(SYS_io_destroy, mine.ctx);
err_fd:
	close(mine.null_fd);
	return NOTIFY_WRITE;
}

static void notify_aio(int fd)
{
	volatile struct aio_ring *ring = (void *)mine.ctx;
	char nothing;
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)mine.null_fd,
		.aio_buf = (uintptr_t)&nothing,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *list[] = { &cb };

	(void)syscall(SYS_io_submit, mine.ctx, 1, list);
	ring->head = ring->tail; // the result is known; take it without another system call
}

static void notify_write(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint64_t one = 1;
	int fl = fcntl(fd, F_GETFL);

	if (fl < 0)
		return;
	if (!(fl & O_NONBLOCK) && fcntl(fd, F_SETFL, fl | O_NONBLOCK))
		return;
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) && write(fd, &one, sizeof(one)) < 0)
		return; // full: the driver has a signal pending anyway
}

void vho_notify_fd(int fd)
{
	if (fd < 0)
		return;
	if (mine.state == NOTIFY_NEW)
		mine.state = thread_start();
	if (mine.state == NOTIFY_AIO)
		notify_aio(fd);
	else
		notify_write(fd);
}
