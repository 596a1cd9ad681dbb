// SPDX-License-Identifier: Apache-2.0
/* Front-end half of the vhost-user socket, one message at a time. */
#include "fake_front.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define RING_STRIDE 0x4000u
#define MAX_SENT_FDS 16

void front_init(struct fake_front *f, struct fake_host *h)
{
	f->h = h;
	f->fd = -1;
	f->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	assert(f->mem_fd >= 0 && ftruncate(f->mem_fd, FRONT_MEM_SIZE) == 0);
	f->mem = mmap(NULL, FRONT_MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->mem_fd, 0);
	assert(f->mem != MAP_FAILED);
}

void front_fini(struct fake_front *f)
{
	munmap(f->mem, FRONT_MEM_SIZE);
	close(f->mem_fd);
	if (f->fd >= 0)
		close(f->fd);
}

void front_send(struct fake_front *f, uint32_t request, uint32_t flags, const void *payload,
	uint32_t size, const int *fds, unsigned n_fds)
{
	struct vu_header h = { .request = request, .flags = flags, .size = size };
	union {
		char bytes[CMSG_SPACE(MAX_SENT_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec v[2] = {
		{ .iov_base = &h, .iov_len = sizeof(h) },
		{ .iov_base = (void *)(uintptr_t)payload, .iov_len = payload ? size : 0 },
	};
	struct msghdr mh = { .msg_iov = v, .msg_iovlen = 2 };

	assert(n_fds <= MAX_SENT_FDS);
	if (n_fds > 0) {
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	(void)sendmsg(f->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	fake_host_run(f->h);
}

int front_recv(struct fake_front *f, struct vu_msg *m, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = { .iov_base = &m->h, .iov_len = sizeof(m->h) };
	struct msghdr mh = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(f->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;
	int got = -1;

	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	c = CMSG_FIRSTHDR(&mh);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&got, CMSG_DATA(c), sizeof(got));
	if (fd)
		*fd = got;
	else if (got >= 0)
		close(got);
	assert((size_t)n == sizeof(m->h) && m->h.size <= sizeof(m->p));
	assert(m->h.flags == (VU_FLAG_VERSION | VU_FLAG_REPLY));
	n = m->h.size ? recv(f->fd, m->p.bytes, m->h.size, MSG_DONTWAIT) : 0;
	assert(n == (ssize_t)m->h.size);
	return (int)n;
}

int front_call(struct fake_front *f, uint32_t request, const void *payload, uint32_t size,
	const int *fds, unsigned n_fds)
{
	struct vu_msg m;
	int n;

	front_send(f, request, VU_FLAG_VERSION | VU_FLAG_NEED_REPLY, payload, size, fds, n_fds);
	n = front_recv(f, &m, NULL);
	if (n < 0)
		return n;
	assert(n == 8 && m.h.request == request);
	return (int)m.p.u64;
}

uint64_t front_get(struct fake_front *f, uint32_t request)
{
	struct vu_msg m = { .p.u64 = 0 };

	front_send(f, request, VU_FLAG_VERSION, NULL, 0, NULL, 0);
	return front_recv(f, &m, NULL) == 8 ? m.p.u64 : UINT64_MAX;
}

int front_call_u64(struct fake_front *f, uint32_t request, uint64_t v)
{
	return front_call(f, request, &v, sizeof(v), NULL, 0);
}

int front_call_state(struct fake_front *f, uint32_t request, uint32_t idx, uint32_t num)
{
	struct vu_vring_state s = { .index = idx, .num = num };

	return front_call(f, request, &s, sizeof(s), NULL, 0);
}

int front_call_fd(struct fake_front *f, uint32_t request, uint32_t idx, int fd)
{
	uint64_t v = idx | (fd < 0 ? VU_VRING_NOFD : 0);

	return front_call(f, request, &v, sizeof(v), &fd, fd < 0 ? 0 : 1);
}

int front_mem_table(struct fake_front *f)
{
	struct vu_table t = {
		.n = 1,
		.region = { { FRONT_GPA, FRONT_MEM_SIZE, FRONT_UVA, 0 } },
	};

	return front_call(f, VU_SET_MEM_TABLE, &t, 8 + 32, &f->mem_fd, 1);
}

int front_ring_addr(struct fake_front *f, uint32_t idx)
{
	uint64_t at = FRONT_UVA + (uint64_t)(idx + 1) * RING_STRIDE;
	struct vu_vring_addr a = {
		.index = idx,
		.desc = at,
		.avail = at + 0x1000,
		.used = at + 0x2000,
	};

	return front_call(f, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
}

int front_ring(struct fake_front *f, uint32_t idx, uint32_t size)
{
	int ret = front_call_state(f, VU_SET_VRING_NUM, idx, size);

	if (ret == 0)
		ret = front_call_state(f, VU_SET_VRING_BASE, idx, 0);
	if (ret == 0)
		ret = front_ring_addr(f, idx);
	return ret;
}

bool front_closed(struct fake_front *f)
{
	struct vu_msg m;
	int n;

	fake_host_run(f->h);
	while ((n = front_recv(f, &m, NULL)) >= 0)
		;
	return n != -EAGAIN;
}
