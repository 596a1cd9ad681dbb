// SPDX-License-Identifier: Apache-2.0
/* Reads files that only we or root could have written, whole and while nobody writes to them. */
#include "trusted.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "rpc_schema.h"

static int check_trusted(const struct stat *st, const char *path, struct card_error *e)
{
	if (!S_ISREG(st->st_mode))
		return card_fail(e, -EINVAL, "%s: not a plain file", path);
	if (st->st_nlink != 1)
		return card_fail(e, -EMLINK, "%s: has another name as well", path);
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return card_fail(e, -EACCES, "%s: owned by uid %u", path, (unsigned)st->st_uid);
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return card_fail(e, -EACCES, "%s: writable by group or others", path);
	if (st->st_size > CARD_STORE_BYTES_MAX)
		return card_fail(e, -EFBIG, "%s: larger than 16 MiB", path);
	return 0;
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

long card_file_read_trusted(int dir_fd, const char *path, char **out, struct card_error *e)
{
	struct stat st;
	char *buf;
	long ret;
	int fd = openat(dir_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0) {
		ret = -errno;
		return card_fail(e, (int)ret, "%s: %s", path,
			ret == -ELOOP ? "is a symbolic link" : strerror((int)-ret));
	}
	if (fstat(fd, &st)) {
		ret = card_fail(e, -errno, "%s: %s", path, strerror(errno));
		goto out_fd;
	}
	ret = check_trusted(&st, path, e);
	if (ret)
		goto out_fd;
	buf = dpu_calloc(1, (size_t)st.st_size + 1);
	if (!buf) {
		ret = card_fail(e, -ENOMEM, "%s: out of memory", path);
		goto out_fd;
	}
	ret = read_all(fd, buf, (size_t)st.st_size);
	if (ret < 0) {
		card_fail(e, (int)ret, "%s: %s", path, strerror((int)-ret));
		free(buf);
		goto out_fd;
	}
	buf[ret] = '\0';
	*out = buf;
out_fd:
	close(fd);
	return ret;
}
