// SPDX-License-Identifier: Apache-2.0
/* What only a volume on a file has to get right. */
#include "test.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/mount.h>

#include "vol_util.h"

#define SIZE (1ULL << 20)

struct env {
	char dir[64], path[96];
};

static int setup(void **state)
{
	static struct env e;

	make_dir(ON_DISK, e.dir, sizeof(e.dir));
	snprintf(e.path, sizeof(e.path), "%s/disk", e.dir);
	*state = &e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	unlink(e->path);
	return rmdir(e->dir);
}

static struct vol *open_file(const char *path, uint64_t create, bool direct, bool ro)
{
	struct vol_file_conf f = { .name = "v",
		.path = path,
		.block_size = 512,
		.direct = direct,
		.read_only = ro,
		.create_size = create };
	struct vol *v = NULL;

	assert_int_equal(vol_file_open(&f, &v), 0);
	return v;
}

/* The number of the volume's n-th descriptor on `path`: 0 for data, 1 for flushes. */
static int fd_of(const char *path, unsigned n)
{
	for (int fd = 3; fd < 256; fd++) {
		char link[64], to[PATH_MAX];

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t len = readlink(link, to, sizeof(to) - 1);
		if (len < 0)
			continue;
		to[len] = 0;
		if (strcmp(to, path) == 0 && n-- == 0)
			return fd;
	}
	return -1;
}

/* VB-18, JR-07: a path is a path, and only to a plain file or a block device. */
static void odd_paths_are_refused(void **state)
{
	struct env *e = *state;
	char link[128], fifo[128];
	struct vol_file_conf f = { .name = "v", .block_size = 512 };
	struct vol *v;

	vol_close(open_file(e->path, SIZE, false, false));
	snprintf(link, sizeof(link), "%s/link", e->dir);
	snprintf(fifo, sizeof(fifo), "%s/fifo", e->dir);
	assert_int_equal(symlink(e->path, link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	static const char *const names[] = { "json:{\"driver\":\"file\"}", "nbd://localhost/x",
		"/nonexistent/disk", "file:/etc/passwd" };
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		f.path = names[i];
		assert_int_equal(vol_file_open(&f, &v), -ENOENT);
	}
	f.path = link;
	assert_int_equal(vol_file_open(&f, &v), -ELOOP);
	f.create_size = SIZE;
	assert_int_equal(vol_file_open(&f, &v), -ELOOP);
	f.create_size = 0;
	f.path = fifo;
	assert_int_equal(vol_file_open(&f, &v), -EINVAL);
	f.read_only = true;
	assert_int_equal(vol_file_open(&f, &v), -EINVAL);
	f.path = "/dev/null";
	assert_int_equal(vol_file_open(&f, &v), -EINVAL);
	f.path = e->dir;
	assert_int_equal(vol_file_open(&f, &v), -EINVAL);
	f.path = "";
	assert_int_equal(vol_file_open(&f, &v), -EINVAL);
	unlink(link);
	unlink(fifo);
}

static void torn_size_is_refused(void **state)
{
	struct env *e = *state;
	struct vol_file_conf f = { .name = "v", .path = e->path, .block_size = 512 };
	struct vol *v;
	int fd = open(e->path, O_CREAT | O_RDWR, 0600);

	assert_int_equal(ftruncate(fd, 1000), 0);
	close(fd);
	assert_int_equal(vol_file_open(&f, &v), -EINVAL);
}

/* VB-08 below the device. */
static int try_open(const char *path, bool ro, struct vol **out)
{
	const struct vol_file_conf f = {
		.name = "other", .path = path, .block_size = 512, .read_only = ro
	};

	return vol_file_open(&f, out);
}

/* A file has one volume, by whatever name; those that only read it may be several. */
static void one_file_is_one_volume(void **state)
{
	struct env *e = *state;
	struct vol *v = open_file(e->path, SIZE, false, false), *r1, *r2;
	char link_path[128];

	snprintf(link_path, sizeof(link_path), "%s/other-name", e->dir);
	assert_int_equal(link(e->path, link_path), 0);
	assert_int_equal(try_open(e->path, false, &r1), -EBUSY);
	assert_int_equal(try_open(link_path, false, &r1), -EBUSY);
	assert_int_equal(try_open(e->path, true, &r1), -EBUSY);
	assert_int_equal(fd_of(link_path, 0), -1); // nothing of it stays open
	vol_close(v);
	assert_int_equal(try_open(e->path, true, &r1), 0);
	assert_int_equal(try_open(link_path, true, &r2), 0);
	assert_int_equal(try_open(e->path, false, &v), -EBUSY);
	vol_close(r1);
	assert_int_equal(try_open(e->path, false, &v), -EBUSY);
	vol_close(r2);
	assert_int_equal(try_open(e->path, false, &v), 0);
	vol_close(v);
	unlink(link_path);
}

/* Two processes may have it while a guest migrates; then it is the second one's. */
static void shared_until_it_is_let_go(void **state)
{
	struct env *e = *state;
	struct vol *first = open_file(e->path, SIZE, false, false), *second, *third;
	const struct vol_file_conf f = {
		.name = "second", .path = e->path, .block_size = 512, .shared = true
	};
	struct vol_chan *c;

	assert_int_equal(vol_file_open(&f, &second), 0);
	assert_int_equal(try_open(e->path, false, &third), -EBUSY);
	assert_int_equal(vol_chan_open(second, NULL, &c), 0); // the first one still has it
	vol_chan_close(c);
	vol_close(first);
	assert_int_equal(try_open(e->path, false, &third), 0);
	vol_close(third);
	assert_int_equal(vol_chan_open(second, NULL, &c), 0);
	assert_int_equal(try_open(e->path, false, &third), -EBUSY);
	vol_chan_close(c);
	assert_int_equal(try_open(e->path, false, &third), -EBUSY);
	vol_close(second);
}

/* Whoever shared a file says that it has it for itself from now on. */
static void unshared(void **state)
{
	struct env *e = *state;
	struct vol *first = open_file(e->path, SIZE, false, false), *second, *third;
	const struct vol_file_conf f = {
		.name = "second", .path = e->path, .block_size = 512, .shared = true
	};
	bool alone = true;

	assert_int_equal(vol_file_open(&f, &second), 0);
	assert_int_equal(vol_file_sharing(second, &alone), 1);
	assert_false(alone);
	assert_int_equal(vol_file_unshare(second), -EBUSY);
	assert_int_equal(vol_file_sharing(second, &alone), 1);
	assert_int_equal(vol_file_unshare(first), 0); // it never was
	vol_close(first);
	assert_int_equal(vol_file_unshare(second), 0);
	assert_int_equal(vol_file_sharing(second, &alone), 0);
	assert_true(alone);
	assert_int_equal(try_open(e->path, false, &third), -EBUSY);
	vol_close(second);
}

static void read_only_writes_nothing(void **state)
{
	struct env *e = *state;
	static uint8_t buf[512] __attribute__((aligned(512)));
	struct vol_chan *c;
	struct vol *v;

	vol_close(open_file(e->path, SIZE, true, false));
	v = open_file(e->path, 0, true, true);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(rw(c, VOL_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(range(c, VOL_DISCARD, 0, 512, false), -EROFS);
	assert_int_equal(range(c, VOL_WRITE_ZEROES, 0, 512, true), -EROFS);
	assert_int_equal(rw(c, VOL_READ, 0, buf, 512), 0);
	assert_int_equal(range(c, VOL_FLUSH, 0, 0, false), 0);
	assert_int_equal(vol_resize(v, SIZE * 2), -EROFS);
	vol_chan_close(c);
	vol_close(v);
}

/* VB-11, IO-04, IO-07: the file ends inside the volume; a short read is never a good one. */
static void cut_file_fails_reads(void **state)
{
	struct env *e = *state;
	static uint8_t buf[65536] __attribute__((aligned(4096)));

	for (int direct = 0; direct < 2; direct++) {
		struct vol *v = open_file(e->path, SIZE, direct, false);
		struct vol_chan *c;

		assert_int_equal(vol_chan_open(v, NULL, &c), 0);
		assert_int_equal(truncate(e->path, 8192 + 100), 0);
		assert_int_equal(rw(c, VOL_READ, 0, buf, sizeof(buf)), -EIO);

		struct iovec seg = { buf, sizeof(buf) };
		struct answer a = {
			.io = { .op = VOL_READ, .len = sizeof(buf), .iov = &seg, .n_iov = 1 }
		};
		assert_int_equal(run(c, &a), -EIO);
		assert_ptr_equal(seg.iov_base, buf); // the caller's segments are as they were
		assert_int_equal(seg.iov_len, sizeof(buf));
		assert_int_equal(rw(c, VOL_READ, 8192, buf, 512), -EIO);
		assert_int_equal(rw(c, VOL_READ, 8192, buf + 1, 512), -EIO);
		assert_int_equal(rw(c, VOL_READ, 0, buf, 8192), 0);
		assert_int_equal(truncate(e->path, SIZE), 0);
		assert_int_equal(rw(c, VOL_READ, 0, buf, sizeof(buf)), 0);
		vol_chan_close(c);
		vol_close(v);
	}
}

/* More segments than one system call takes, aligned or not. */
static void many_segments(void **state)
{
	enum { SEGS = 2 * IOV_MAX + 100 };
	struct env *e = *state;
	static struct iovec iov[SEGS];
	size_t len = SEGS * 512UL;
	uint8_t *w = aligned_alloc(4096, 2 * SIZE + 4096), *r = calloc(1, 2 * SIZE);

	for (int odd = 0; odd < 2; odd++) {
		struct vol *v = open_file(e->path, 2 * SIZE, true, false);
		struct answer a = {
			.io = { .op = VOL_WRITE, .len = len, .iov = iov, .n_iov = SEGS }
		};
		struct vol_chan *c;

		for (size_t i = 0; i < len; i++)
			w[i + (size_t)odd] = (uint8_t)(i * 7 + i / 512);
		for (size_t i = 0; i < SEGS; i++)
			iov[i] = (struct iovec){ w + odd + i * 512, 512 };
		assert_int_equal(vol_chan_open(v, NULL, &c), 0);
		assert_int_equal(run(c, &a), 0);
		assert_int_equal(rw(c, VOL_READ, 0, r, len), 0);
		assert_memory_equal(w + odd, r, len);
		vol_chan_close(c);
		vol_close(v);
	}
	free(w);
	free(r);
}

static void segments_must_sum_up(void **state)
{
	struct env *e = *state;
	static uint8_t buf[1024] __attribute__((aligned(512)));
	struct vol *v = open_file(e->path, SIZE, true, false);
	struct iovec iov = { buf, 1024 };
	struct answer a = { .io = { .op = VOL_READ, .len = 512, .iov = &iov, .n_iov = 1 } };
	struct vol_chan *c;

	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(run(c, &a), -EINVAL);
	a.io.len = 2048;
	assert_int_equal(run(c, &a), -EINVAL);
	a.io.n_iov = 0;
	assert_int_equal(run(c, &a), -EINVAL);
	vol_chan_close(c);
	vol_close(v);
}

/* IO-03: the flush descriptor turns into one that cannot sync, then back. */
static void failed_flush_stays_failed(void **state)
{
	struct env *e = *state;
	struct vol *v = open_file(e->path, SIZE, true, false);
	struct vol_info info;
	struct vol_chan *c;
	int fd = fd_of(e->path, 1), keep = dup(fd), pipes[2];

	assert_true(fd >= 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(range(c, VOL_FLUSH, 0, 0, false), 0);
	assert_int_equal(dup2(pipes[0], fd), fd);
	assert_int_equal(range(c, VOL_FLUSH, 0, 0, false), -EIO);
	assert_int_equal(dup2(keep, fd), fd);
	assert_int_equal(range(c, VOL_FLUSH, 0, 0, false), -EIO); // fdatasync would say 0 by now
	vol_info(v, &info);
	assert_true(info.failed);
	vol_chan_close(c);
	vol_close(v);
	v = open_file(e->path, 0, true, false);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(range(c, VOL_FLUSH, 0, 0, false), 0);
	vol_chan_close(c);
	vol_close(v);
	close(keep);
	close(pipes[0]);
	close(pipes[1]);
}

/* IO-02, without a full file system: the kernel's own device that is always full. */
static void full_device_says_so(void **state)
{
	struct env *e = *state;
	static uint8_t buf[4096] __attribute__((aligned(4096)));
	struct vol *v = open_file(e->path, SIZE, false, false);
	int fd = fd_of(e->path, 0), keep = dup(fd), full = open("/dev/full", O_RDWR);
	struct vol_chan *c;

	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(dup2(full, fd), fd);
	assert_int_equal(rw(c, VOL_WRITE, 0, buf, 4096), -ENOSPC);
	assert_int_equal(dup2(keep, fd), fd);
	assert_int_equal(rw(c, VOL_WRITE, 0, buf, 4096), 0);
	vol_chan_close(c);
	vol_close(v);
	close(keep);
	close(full);
}

/* IO-02: a small tmpfs fills up; the volume serves again once there is room. */
static void full_file_system_recovers(void **state)
{
	struct env *e = *state;
	static uint8_t buf[65536] __attribute__((aligned(4096)));
	char mnt[96], path[128];
	struct vol_chan *c;
	struct vol *v;
	int err = 0;

	snprintf(mnt, sizeof(mnt), "%s/mnt", e->dir);
	snprintf(path, sizeof(path), "%s/disk", mnt);
	assert_int_equal(mkdir(mnt, 0700), 0);
	if (mount("none", mnt, "tmpfs", MS_NOSUID, "size=262144") < 0) {
		print_message("skipped: mounting a tmpfs takes privileges (%s)\n", strerror(errno));
		rmdir(mnt);
		skip();
	}
	memset(buf, 0x3c, sizeof(buf));
	v = open_file(path, SIZE, true, false);
	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	for (uint64_t off = 0; off < SIZE && err == 0; off += sizeof(buf))
		err = rw(c, VOL_WRITE, off, buf, sizeof(buf));
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(rw(c, VOL_READ, 0, buf, sizeof(buf)), 0);
	assert_int_equal(buf[100], 0x3c);
	assert_int_equal(range(c, VOL_DISCARD, 0, 131072, false), 0);
	assert_int_equal(rw(c, VOL_WRITE, SIZE - 65536, buf, 65536), 0);
	assert_int_equal(range(c, VOL_FLUSH, 0, 0, false), 0);
	vol_chan_close(c);
	vol_close(v);
	assert_int_equal(umount(mnt), 0);
	rmdir(mnt);
}

/* Far more requests than the ring and the bounce buffers hold: all answered, once each. */
static void deeper_than_the_ring(void **state)
{
	enum { N = 1500 };
	struct env *e = *state;
	static uint8_t buf[N * 512 + 1];
	static struct answer a[N];
	static struct iovec iov[N];
	struct vol *v = open_file(e->path, SIZE, true, false);
	struct vol_chan *c;

	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < N; i++) {
			if (pass == 0)
				memset(buf + 1 + i * 512, (int)(i % 251), 512);
			iov[i] = (struct iovec){ buf + 1 + i * 512, 512 };
			a[i] = (struct answer){ .io = { .op = pass ? VOL_READ : VOL_WRITE,
							.off = i * 512,
							.len = 512,
							.iov = &iov[i],
							.n_iov = 1,
							.done = on_done } };
			vol_submit(c, &a[i].io);
		}
		assert_true(drain(c, 0));
		for (size_t i = 0; i < N; i++) {
			assert_int_equal(a[i].n_done, 1);
			assert_int_equal(a[i].err, 0);
			assert_int_equal(buf[1 + i * 512 + 300], i % 251);
		}
		if (pass == 0)
			memset(buf, 0xff, sizeof(buf));
	}
	vol_chan_close(c);
	vol_close(v);
}

/* A sleeping worker waits for the ring edge-triggered; every batch must wake it. */
static void ring_wakes_an_edge_triggered_epoll(void **state)
{
	struct env *e = *state;
	static uint8_t buf[512] __attribute__((aligned(512)));
	struct vol *v = open_file(e->path, SIZE, true, false);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct vol_chan *c;

	assert_int_equal(vol_chan_open(v, NULL, &c), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, vol_chan_fd(c), &ev), 0);
	for (int i = 0; i < 100; i++) {
		struct iovec iov = { buf, 512 };
		struct answer a = { .io = { .op = i % 2 ? VOL_FLUSH : VOL_READ,
					    .len = i % 2 ? 0 : 512,
					    .iov = &iov,
					    .n_iov = 1,
					    .done = on_done } };

		vol_submit(c, &a.io);
		vol_chan_kick(c);
		while (a.n_done == 0) {
			if (vol_chan_poll(c) > 0)
				continue;
			// io_uring may finish its work by interrupting the wait: a wake-up too
			int n = epoll_wait(ep, &ev, 1, 10000);
			assert_true(n == 1 || (n < 0 && errno == EINTR));
		}
		assert_int_equal(a.err, 0);
	}
	close(ep);
	vol_chan_close(c);
	vol_close(v);
}

int main(void)
{
#define ROW(id, f)                           \
	{                                    \
		id, f, setup, teardown, NULL \
	}
	const struct CMUnitTest t[] = {
		ROW("VB-18 JR-07 odd paths", odd_paths_are_refused),
		ROW("size no multiple of the block", torn_size_is_refused),
		ROW("VB-08 read-only", read_only_writes_nothing),
		ROW("one file, one volume", one_file_is_one_volume),
		ROW("shared until it is let go", shared_until_it_is_let_go),
		ROW("unshared", unshared),
		ROW("VB-11 IO-04 IO-07 cut file", cut_file_fails_reads),
		ROW("more segments than IOV_MAX", many_segments),
		ROW("segments do not sum to the length", segments_must_sum_up),
		ROW("IO-03 failed flush", failed_flush_stays_failed),
		ROW("IO-02 full device", full_device_says_so),
		ROW("IO-02 full file system", full_file_system_recovers),
		ROW("deeper than the ring", deeper_than_the_ring),
		ROW("epoll on the ring", ring_wakes_an_edge_triggered_epoll),
	};

	return cmocka_run_group_tests_name("volumes on files", t, NULL, NULL);
}
