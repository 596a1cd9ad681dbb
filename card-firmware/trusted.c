// SPDX-License-Identifier: Apache-2.0
/* Reads files that only we or root could have written, while nobody writes to them; writes ours. */
#include "trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "rpc_schema.h"

static int check_trusted(const struct stat *st, uint64_t size_max, struct card_error *e)
{
	unsigned uid = (unsigned)st->st_uid, mode = st->st_mode & 07777;

	if (!S_ISREG(st->st_mode))
		return card_fail(e, -EINVAL, "not a plain file");
	if (st->st_nlink > 1) // 0: another one was renamed over it since it was opened
		return card_fail(e, -EMLINK, "has %u names, must have one", (unsigned)st->st_nlink);
	if (uid != geteuid() && uid != 0)
		return card_fail(e, -EACCES, "owner uid %u, mode %04o: must be owned by uid %u%s",
			uid, mode, (unsigned)geteuid(), geteuid() ? " or 0" : "");
	if (mode & (S_IWGRP | S_IWOTH))
		return card_fail(e, -EACCES,
			"owner uid %u, mode %04o: must not be writable by group or others", uid,
			mode);
	if ((uint64_t)st->st_size > size_max)
		return card_fail(
			e, -EFBIG, "larger than %llu MiB", (unsigned long long)(size_max >> 20));
	return 0;
}

/*
 * Nobody has the file open for writing, and who opens it for that waits until we have closed it.
 * Where there are no leases (some file systems; a file of root's, without its rights) the times of
 * the file must do.
 */
static int keep_writers_out(int fd, struct card_error *e)
{
	// A writer that waits is told by a signal: SIGIO would end us, this one is ignored.
	(void)fcntl(fd, F_SETSIG, SIGURG);
	if (fcntl(fd, F_SETLEASE, F_RDLCK) && errno == EAGAIN)
		return card_fail(e, -EBUSY, "is being written to");
	return 0;
}

static bool unchanged(int fd, const struct stat *was)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_size == was->st_size &&
	       st.st_mtim.tv_sec == was->st_mtim.tv_sec &&
	       st.st_mtim.tv_nsec == was->st_mtim.tv_nsec &&
	       st.st_ctim.tv_sec == was->st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

/* Read to the end, at most `max` bytes: the file may grow meanwhile. */
static long read_all(int fd, char *buf, size_t max)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, buf + len, max - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (long)len;
}

/* The whole of a file that passed the checks; its length. */
static long read_whole(int fd, const struct stat *st, char **out, struct card_error *e)
{
	char *buf = dpu_calloc(1, (size_t)st->st_size + 1);
	long len;

	if (!buf)
		return card_fail(e, -ENOMEM, "out of memory");
	len = read_all(fd, buf, (size_t)st->st_size);
	if (len < 0)
		card_fail(e, (int)len, "%s", strerror((int)-len));
	else if (!unchanged(fd, st))
		len = card_fail(e, -EBUSY, "is being written to");
	if (len < 0) {
		free(buf);
		return len;
	}
	buf[len] = '\0';
	*out = buf;
	return len;
}

int card_file_open_trusted(
	int dir_fd, const char *path, uint64_t size_max, struct stat *st, struct card_error *e)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int ret;

	if (fd < 0) {
		ret = -errno;
		return card_fail(
			e, ret, "%s", ret == -ELOOP ? "is a symbolic link" : strerror(-ret));
	}
	ret = keep_writers_out(fd, e);
	if (!ret && fstat(fd, st))
		ret = card_fail(e, -errno, "%s", strerror(errno));
	if (!ret)
		ret = check_trusted(st, size_max, e);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

long card_file_read_trusted(int dir_fd, const char *path, char **out, struct card_error *e)
{
	struct stat st = { 0 };
	int fd = card_file_open_trusted(dir_fd, path, CARD_STORE_BYTES_MAX, &st, e);
	long ret;

	if (fd < 0)
		return fd;
	ret = read_whole(fd, &st, out, e);
	close(fd);
	return ret;
}

int card_file_write_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}
