// SPDX-License-Identifier: Apache-2.0
/* As much of the FUSE protocol as one file needs; what else is asked does not exist. */
#include "fake_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fuse.h>

#define FILE_NODE 2
#define VALID_S 3600
#define REQUEST_MAX 65536

static void answer(int dev, const struct fuse_in_header *in, int err, const void *p, size_t len)
{
	struct fuse_out_header h = {
		.len = (uint32_t)(sizeof(h) + len), .error = -err, .unique = in->unique
	};
	struct iovec v[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)p, len } };

	(void)!writev(dev, v, 2);
}

static struct fuse_attr attr_of(uint64_t node)
{
	return (struct fuse_attr){
		.ino = node,
		.mode = node == FILE_NODE ? S_IFREG | 0600 : S_IFDIR | 0700,
		.size = node == FILE_NODE ? FAKE_FUSE_SIZE : 0,
		.nlink = 1,
	};
}

/*
 * Of the server process. Its own copy of the file is closed before it stops to answer: a process
 * that waits for itself could not even be killed.
 */
static _Atomic enum fake_fuse_close how;

static void serve(int dev, const struct fuse_in_header *in)
{
	struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096
	};
	struct fuse_entry_out entry = {
		.nodeid = FILE_NODE, .entry_valid = VALID_S, .attr_valid = VALID_S
	};
	struct fuse_attr_out attr = { .attr_valid = VALID_S };
	struct fuse_open_out open = { 0 };
	struct fuse_statfs_out fs = { .st = { .bsize = 4096 } };

	switch (in->opcode) {
	case FUSE_INIT:
		answer(dev, in, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		entry.attr = attr_of(FILE_NODE);
		answer(dev, in, 0, &entry, sizeof(entry));
		break;
	case FUSE_GETATTR:
		attr.attr = attr_of(in->nodeid);
		answer(dev, in, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		answer(dev, in, 0, &open, sizeof(open));
		break;
	case FUSE_STATFS:
		answer(dev, in, 0, &fs, sizeof(fs));
		break;
	case FUSE_FLUSH:
		if (how == FUSE_CLOSES)
			answer(dev, in, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	default:
		answer(dev, in, ENOSYS, NULL, 0);
	}
}

static void *server_loop(void *arg)
{
	static char buf[REQUEST_MAX];
	int dev = *(int *)arg;

	while (read(dev, buf, sizeof(buf)) > 0)
		serve(dev, (struct fuse_in_header *)(void *)buf);
	return NULL;
}

/* In a mount namespace of our own: the file's descriptor, or a negative errno. */
static int mount_and_open(int *dev)
{
	char dir[] = "/tmp/fake_fuse.XXXXXX", path[64], options[96];
	pthread_t thread;
	int fd;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	*dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (*dev < 0 || !mkdtemp(dir))
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", *dev);
	if (mount("fake", dir, "fuse", MS_NODEV | MS_NOSUID, options)) {
		fd = -errno;
		rmdir(dir);
		return fd;
	}
	if (pthread_create(&thread, NULL, server_loop, dev))
		return -EAGAIN;
	snprintf(path, sizeof(path), "%s/file", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	fd = fd < 0 ? -errno : fd;
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return fd;
}

/* Hand `fd` or its error over, and serve until the end. */
__attribute__((noreturn)) static void run_server(int to, enum fake_fuse_close closes)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	int dev, fd = mount_and_open(&dev), err = fd < 0 ? fd : 0;
	struct iovec v = { &err, sizeof(err) };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1 };

	if (fd >= 0) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	if (sendmsg(to, &mh, MSG_NOSIGNAL) < 0 || fd < 0)
		_exit(1);
	close(fd);
	how = closes;
	if (write(to, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

int fake_fuse_open(enum fake_fuse_close closes, pid_t *server)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	int pair[2], err = -EIO, fd = -1;
	struct iovec v = { &err, sizeof(err) };
	struct msghdr mh = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	*server = fork();
	if (*server == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_server(pair[1], closes);
	}
	close(pair[1]);
	if (*server > 0 && recvmsg(pair[0], &mh, MSG_CMSG_CLOEXEC) == sizeof(err) && err == 0) {
		c = CMSG_FIRSTHDR(&mh);
		if (c && c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	}
	if (fd >= 0 && read(pair[0], &control, 1) != 1)
		err = -EIO; // it does not answer
	close(pair[0]);
	if (fd < 0 && *server > 0) {
		kill(*server, SIGKILL);
		waitpid(*server, NULL, 0);
	}
	return fd < 0 ? err : fd;
}
