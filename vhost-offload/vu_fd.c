// SPDX-License-Identifier: Apache-2.0
/* Tells kinds of descriptors apart without asking their file system, and closes them. */
#include "vu_fd.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_log.h"

/*
 * A function takes no front-end while one of its descriptors waits here (vhost_user.c), and a
 * message brings VU_FD_MESSAGE_MAX at most: this is room for those of 512 functions, and for what
 * else a session has.
 */
#define WAITING_MAX (512u * 256)

static struct {
	pthread_mutex_t lock; // held for a few instructions, never over close(2)
	pthread_cond_t more;
	bool started;
	unsigned first; // of a ring; it is being closed
	unsigned n;
	struct {
		int fd;
		const void *owner;
	} waiting[WAITING_MAX];
} closer = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static void *closer_loop(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&closer.lock);
	for (;;) {
		int fd;

		while (closer.n == 0)
			pthread_cond_wait(&closer.more, &closer.lock);
		fd = closer.waiting[closer.first].fd;
		pthread_mutex_unlock(&closer.lock);
		close(fd);
		pthread_mutex_lock(&closer.lock);
		closer.n--;
		closer.first = (closer.first + 1) % WAITING_MAX;
	}
	return NULL;
}

/* With the lock held. False: no thread can be made now. */
static bool start(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (closer.started)
		return true;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	closer.started = pthread_create(&thread, &attr, closer_loop, NULL) == 0;
	pthread_attr_destroy(&attr);
	return closer.started;
}

void vu_fd_start(void)
{
	pthread_mutex_lock(&closer.lock);
	(void)start();
	pthread_mutex_unlock(&closer.lock);
}

bool vu_fd_is_eventfd(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], link[sizeof(want)];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	return n == sizeof(want) - 1 && memcmp(link, want, sizeof(want) - 1) == 0;
}

enum kind {
	KIND_USUAL, // close(2) asks nobody
	KIND_SOCKET, // a Unix socket: that depends on what is queued in it
	KIND_STRANGE, // nothing that a front-end has a use for
};

static enum kind kind_of(int fd)
{
	socklen_t len = sizeof(int);
	struct statx sx;
	int domain;

	if (fcntl(fd, F_GET_SEALS) >= 0 || vu_fd_is_eventfd(fd))
		return KIND_USUAL;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &sx))
		return KIND_STRANGE;
	if (S_ISFIFO(sx.stx_mode))
		return KIND_USUAL;
	if (S_ISSOCK(sx.stx_mode))
		return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
				       domain == AF_UNIX
			       ? KIND_SOCKET
			       : KIND_STRANGE;
	return (S_ISREG(sx.stx_mode) || S_ISDIR(sx.stx_mode)) && sx.stx_dev_major != 0
		       ? KIND_USUAL
		       : KIND_STRANGE;
}

bool vu_fd_close(int fd, const void *owner)
{
	enum kind kind = kind_of(fd);
	bool kept;

	if (kind == KIND_USUAL) {
		close(fd);
		return false;
	}
	pthread_mutex_lock(&closer.lock);
	kept = closer.n < WAITING_MAX && start();
	if (kept) {
		unsigned at = (closer.first + closer.n++) % WAITING_MAX;

		closer.waiting[at].fd = fd;
		closer.waiting[at].owner = owner;
		pthread_cond_signal(&closer.more);
	}
	pthread_mutex_unlock(&closer.lock);
	if (!kept) // one lost descriptor, rather than every tenant's control thread
		dpu_err("vhost-user: a descriptor stays open", "fd=%d", fd);
	return kind == KIND_STRANGE;
}

void vu_fd_close_socket(int fd, const void *owner)
{
	int left = 0;

	shutdown(fd, SHUT_RDWR); // nothing comes after what is there
	if (ioctl(fd, FIONREAD, &left) == 0 && left == 0)
		close(fd);
	else
		(void)vu_fd_close(fd, owner);
}

void vu_fd_close_listener(int fd, const void *owner)
{
	int conn;

	shutdown(fd, SHUT_RDWR);
	while ((conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		vu_fd_close_socket(conn, owner);
	close(fd);
}

unsigned vu_fd_pending(const void *owner)
{
	unsigned n = 0;

	pthread_mutex_lock(&closer.lock);
	for (unsigned i = 0; i < closer.n; i++)
		n += !owner || closer.waiting[(closer.first + i) % WAITING_MAX].owner == owner;
	pthread_mutex_unlock(&closer.lock);
	return n;
}
