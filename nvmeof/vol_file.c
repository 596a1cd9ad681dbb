// SPDX-License-Identifier: Apache-2.0
/* Open, resize and close a volume on a plain file or a block device. */
#include "vol_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "vol_wear.h"

static int file_size(int fd, const struct stat *st, uint64_t *out)
{
	if (S_ISREG(st->st_mode)) {
		*out = (uint64_t)st->st_size;
		return 0;
	}
	return ioctl(fd, BLKGETSIZE64, out) < 0 ? -errno : 0;
}

/*
 * Open a plain file or block device and nothing else. O_NONBLOCK keeps a FIFO from holding us; it
 * goes afterwards because io_uring would take it as "never wait".
 */
static int open_checked(const char *path, int flags, struct stat *st)
{
	int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	int ret;

	if (fd < 0)
		return -errno;
	if (fstat(fd, st) < 0) {
		ret = -errno;
	} else if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode)) {
		ret = -EINVAL;
	} else {
		ret = fcntl(fd, F_GETFL);
		ret = ret < 0 ? -errno : ret;
		if (ret >= 0 && fcntl(fd, F_SETFL, ret & ~O_NONBLOCK) < 0)
			ret = -errno;
	}
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

static int create_file(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int ret = 0;

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0) {
		ret = size > INT64_MAX ? -EINVAL : -errno;
		unlink(path);
	}
	close(fd);
	return ret;
}

/* Of a device that says so, 4096; else 512, which every one of smaller blocks can do. */
static uint32_t own_block_size(int fd, const struct stat *st)
{
	unsigned sector = 0;

	if (S_ISBLK(st->st_mode) && ioctl(fd, BLKSSZGET, &sector) == 0 && sector == 4096)
		return 4096;
	return 512;
}

/* What O_DIRECT wants. False: the file cannot do it for our block size. */
static bool direct_aligns(struct vol_file *f, const struct stat *st, uint32_t block_size)
{
	unsigned sector = 0;

	f->mem_align = block_size;
	f->io_align = block_size;
	if (S_ISBLK(st->st_mode)) {
		if (ioctl(f->fd, BLKSSZGET, &sector) < 0 || sector == 0)
			return false;
		f->mem_align = f->io_align = sector;
	}
#ifdef STATX_DIOALIGN
	struct statx sx;

	if (statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
		(sx.stx_mask & STATX_DIOALIGN) != 0) {
		if (sx.stx_dio_offset_align == 0 || sx.stx_dio_mem_align == 0)
			return false;
		f->mem_align = sx.stx_dio_mem_align;
		f->io_align = sx.stx_dio_offset_align;
	}
#endif
	return f->io_align <= block_size && f->mem_align <= 4096;
}

/* Read the second block: the file system has the last word on alignment. */
static bool direct_reads(const struct vol_file *f, uint32_t block_size)
{
	_Alignas(4096) uint8_t buf[4096];

	return pread(f->fd, buf, block_size, (off_t)block_size) >= 0;
}

static void set_direct(struct vol_file *f, const struct stat *st, const struct vol_file_conf *conf)
{
	int flags = fcntl(f->fd, F_GETFL);

	if (!conf->direct)
		return;
	if (flags >= 0 && direct_aligns(f, st, conf->block_size) &&
		fcntl(f->fd, F_SETFL, flags | O_DIRECT) == 0) {
		if (direct_reads(f, conf->block_size)) {
			f->direct = true;
			return;
		}
		(void)fcntl(f->fd, F_SETFL, flags);
	}
	dpu_info("volume: no direct I/O here, using the page cache", "name=%s path=%s", conf->name,
		conf->path);
}

static void close_fds(struct vol_file *f)
{
	if (f->excl_fd >= 0)
		close(f->excl_fd);
	close(f->sync_fd);
	close(f->fd);
}

static void file_close(struct vol *v)
{
	struct vol_file *f = (struct vol_file *)v;

	munmap((void *)(uintptr_t)f->zeroes, FILE_ZEROES_LEN);
	close_fds(f);
	vol_fini(v);
	free(f);
}

static int file_resize(struct vol *v, uint64_t size)
{
	struct vol_file *f = (struct vol_file *)v;
	uint64_t have = 0;

	if (!f->block_dev)
		return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
	// A device has the size it has; we may use less of it.
	if (ioctl(f->fd, BLKGETSIZE64, &have) < 0)
		return -errno;
	return size <= have ? 0 : -ENOSPC;
}

static int file_wear(struct vol *v, struct vol_wear *out)
{
	struct vol_file *f = (struct vol_file *)v;
	char sys[64];

	if (!f->block_dev)
		return -ENODATA;
	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u", major(f->rdev), minor(f->rdev));
	return vol_wear_read(sys, out);
}

static const struct vol_ops file_ops = {
	.kind = "file",
	.close = file_close,
	.resize = file_resize,
	.chan_open = vol_file_chan_open,
	.chan_close = vol_file_chan_close,
	.submit = vol_file_submit,
	.kick = vol_file_kick,
	.poll = vol_file_poll,
	.fd = vol_file_fd,
	.wear = file_wear,
};

/*
 * What O_EXCL says of a device, which was shared when it was opened: of this very node, whatever
 * its path leads to now.
 */
static int claim(struct vol_file *f)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	f->excl_fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	return f->excl_fd < 0 ? -errno : 0;
}

/*
 * Nobody else writes while we read, nobody else reads while we write. The lock is of the open file:
 * a second volume of this process does not get it either, and a process that died gives it up when
 * the last of its requests has left the file, not before.
 */
int vol_file_lock(struct vol_file *f)
{
	struct flock lock = { .l_type = f->read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(f->fd, F_OFD_SETLK, &lock))
		return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	if (f->shared && f->block_dev && !f->read_only && f->excl_fd < 0) {
		int ret = claim(f);

		if (ret) {
			lock.l_type = F_UNLCK; // as it was
			(void)fcntl(f->fd, F_OFD_SETLK, &lock);
			return ret;
		}
	}
	f->alone = true;
	return 0;
}

int vol_file_unshare(struct vol *v)
{
	struct vol_file *f = (struct vol_file *)v;
	int ret = 0;

	if (v->ops != &file_ops)
		return -ENOTSUP;
	if (!f->alone)
		ret = vol_file_lock(f);
	if (!ret)
		f->shared = false;
	return ret;
}

int vol_file_sharing(const struct vol *v, bool *alone)
{
	const struct vol_file *f = (const struct vol_file *)v;

	if (v->ops != &file_ops)
		return -ENOTSUP;
	*alone = f->alone;
	return f->shared;
}

static int open_pair(struct vol_file *f, const struct vol_file_conf *conf, struct stat *st)
{
	int flags = conf->read_only ? O_RDONLY : O_RDWR, ret;
	struct stat st2 = { 0 };

	// Of a device O_EXCL keeps others away by any of its names, and what has it mounted.
	f->read_only = conf->read_only;
	f->shared = conf->shared && !conf->read_only;
	f->excl_fd = -1;
	f->fd = open_checked(
		conf->path, conf->read_only || conf->shared ? flags : flags | O_EXCL, st);
	if (f->fd < 0)
		return f->fd;
	f->block_dev = S_ISBLK(st->st_mode);
	f->rdev = st->st_rdev;
	ret = vol_file_lock(f);
	if (ret < 0 && !(ret == -EBUSY && conf->shared)) {
		close(f->fd);
		return ret;
	}
	f->sync_fd = open_checked(conf->path, flags, &st2);
	if (f->sync_fd < 0) {
		ret = f->sync_fd;
		if (f->excl_fd >= 0)
			close(f->excl_fd);
		close(f->fd);
		return ret;
	}
	if (st->st_dev != st2.st_dev || st->st_ino != st2.st_ino) { // replaced between the two
		close_fds(f);
		return -ESTALE;
	}
	return 0;
}

/* So that a host without io_uring says so at once and not when a guest comes. */
static int ring_works(void)
{
	struct io_uring ring;
	int ret = io_uring_queue_init(2, &ring, 0);

	if (ret == 0)
		io_uring_queue_exit(&ring);
	return ret;
}

int vol_file_open(const struct vol_file_conf *want, struct vol **out)
{
	struct vol_file_conf with = *want, *conf = &with;
	struct vol_file *f;
	struct stat st = { 0 };
	uint64_t size = 0;
	int ret;

	if (!conf->path || !conf->path[0])
		return -EINVAL;
	ret = ring_works();
	if (ret == 0 && conf->create_size != 0 && !conf->read_only)
		ret = create_file(conf->path, conf->create_size);
	if (ret < 0)
		return ret;
	f = dpu_calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	ret = open_pair(f, conf, &st);
	if (ret < 0)
		goto err_free;
	if (!conf->block_size)
		conf->block_size = own_block_size(f->fd, &st);
	ret = file_size(f->fd, &st, &size);
	if (ret == 0)
		ret = vol_init(&f->v, &file_ops, conf->name, size, conf->block_size);
	if (ret < 0)
		goto err_fds;
	void *z = mmap(NULL, FILE_ZEROES_LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (z == MAP_FAILED) {
		ret = -errno;
		goto err_fini;
	}
	f->zeroes = z;
	set_direct(f, &st, conf);
	f->slice = f->direct ? FILE_SLICE_DIRECT : FILE_SLICE_CACHED;
	f->v.opt_io_size = st.st_blksize > (int64_t)conf->block_size ? (uint32_t)st.st_blksize : 0;
	f->v.read_only = conf->read_only;
	f->v.can_discard = !conf->read_only;
	f->v.can_zero = !conf->read_only;
	f->v.can_erase = !conf->read_only;
	f->v.volatile_cache = true;
	vol_wear_refresh(&f->v);
	*out = &f->v;
	return 0;

err_fini:
	vol_fini(&f->v);
err_fds:
	close_fds(f);
err_free:
	free(f);
	return ret;
}
