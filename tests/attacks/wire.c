// SPDX-License-Identifier: Apache-2.0
/* A memif server, version 2.0 of the protocol: the messages that connect it, and its two rings. */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dpu_clock.h"
#include "drv_vu.h"

#define MSG_SIZE 128
#define COOKIE 0x3e31f20u
#define VERSION 0x200
#define LOG2_RING 8 // at most

enum msg { ACK = 1, HELLO, INIT, ADD_REGION, ADD_RING, CONNECT, CONNECTED };

/* Shared with the card, which made it. */
struct desc {
	uint16_t flags, region;
	uint32_t len, off, metadata;
};

struct ring {
	uint32_t cookie;
	uint16_t flags;
	_Atomic uint16_t head; // the card's
	uint8_t pad[56];
	_Atomic uint16_t tail; // ours
	uint8_t pad2[62];
	struct desc desc[];
};
_Static_assert(offsetof(struct ring, tail) == 64, "a cache line each");
_Static_assert(offsetof(struct ring, desc) == 128, "descriptors follow");

static struct ring *ring(const struct wire *w, const struct wire_ring *r)
{
	return (struct ring *)(void *)(w->mem + r->off);
}

/* ---- messages: a type, a body that begins behind its two bytes, at most one descriptor ---- */

static uint32_t field(const uint8_t *m, unsigned at, unsigned n)
{
	uint32_t v = 0;

	memcpy(&v, m + at, n); // as the host has it
	return v;
}

static int say(struct wire *w, enum msg type)
{
	static const uint16_t version = VERSION;
	uint8_t m[MSG_SIZE] = { (uint8_t)type };

	if (type == HELLO) {
		memcpy(m + 34, &version, 2); // the least, and the greatest
		memcpy(m + 36, &version, 2);
		m[44] = LOG2_RING; // one region, one ring each way
	}
	return send(w->fd, m, sizeof(m), MSG_NOSIGNAL) == MSG_SIZE ? 0 : -EPROTO;
}

/* *fd: the caller's, or -1. */
static int hear(struct wire *w, uint8_t m[MSG_SIZE], int *fd, uint64_t end)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = { m, MSG_SIZE };
	struct msghdr h = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct pollfd p = { w->fd, POLLIN, 0 };
	uint64_t now = dpu_now_ns();

	*fd = -1;
	if (now >= end || poll(&p, 1, (int)((end - now) / 1000000) + 1) != 1)
		return -ETIMEDOUT;
	if (recvmsg(w->fd, &h, MSG_CMSG_CLOEXEC) != MSG_SIZE)
		return -EPROTO;
	if (CMSG_FIRSTHDR(&h) && control.h.cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(&control.h), sizeof(*fd));
	return 0;
}

static int take_region(struct wire *w, const uint8_t *m, int fd)
{
	w->size = field(m, 4, 4);
	if (w->mem || fd < 0)
		return -EPROTO;
	w->mem = mmap(NULL, w->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (w->mem == MAP_FAILED)
		w->mem = NULL;
	close(fd);
	return w->mem ? 0 : -ENOMEM;
}

static int take_ring(struct wire *w, const uint8_t *m, int fd)
{
	struct wire_ring *r = field(m, 2, 2) & 1 ? &w->in : &w->out;

	if (r->fd >= 0) {
		close(fd);
		return -EPROTO;
	}
	r->fd = fd;
	r->off = field(m, 8, 4);
	r->n = 1u << m[12];
	return 0;
}

/* One message and its answer. 1: that was the last one. */
static int answer(struct wire *w, uint64_t end)
{
	uint8_t m[MSG_SIZE];
	int fd, ret = hear(w, m, &fd, end);

	if (ret)
		return ret;
	switch (m[0]) {
	case ADD_REGION:
		ret = take_region(w, m, fd);
		break;
	case ADD_RING:
		ret = take_ring(w, m, fd);
		break;
	case INIT:
		break;
	case CONNECT:
		return w->mem && w->in.fd >= 0 && w->out.fd >= 0 && !say(w, CONNECTED) ? 1
										       : -EPROTO;
	default:
		return -EPROTO;
	}
	return ret ? ret : say(w, ACK);
}

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void let_go(struct wire *w)
{
	hang_up(&w->fd);
	hang_up(&w->in.fd);
	hang_up(&w->out.fd);
	if (w->mem) {
		if (drv_inspect)
			drv_inspect(w->mem, w->size);
		munmap(w->mem, w->size);
		w->mem = NULL;
	}
	w->in.done = w->out.done = 0;
}

int wire_listen(struct wire *w, const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	*w = (struct wire){ .fd = -1, .in = { .fd = -1 }, .out = { .fd = -1 } };
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	unlink(path);
	w->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (w->listen_fd < 0 || bind(w->listen_fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
		listen(w->listen_fd, 1) < 0)
		return -errno;
	return 0;
}

int wire_accept(struct wire *w, unsigned ms)
{
	uint64_t end = dpu_now_ns() + ms * 1000000ULL;
	int ret = -ETIMEDOUT;

	// A card that is busy lets go of a peer that it could not finish with in time.
	while (ret < 0 && dpu_now_ns() < end) {
		struct pollfd p = { w->listen_fd, POLLIN, 0 };

		if (poll(&p, 1, (int)ms) == 1)
			w->fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		ret = w->fd >= 0 ? say(w, HELLO) : -ETIMEDOUT;
		while (ret == 0)
			ret = answer(w, end);
		if (ret < 0)
			let_go(w);
	}
	if (ret < 0)
		return ret;
	return ring(w, &w->in)->cookie == COOKIE && ring(w, &w->out)->cookie == COOKIE ? 0
										       : -EPROTO;
}

void wire_close(struct wire *w)
{
	let_go(w);
	hang_up(&w->listen_fd);
}

/* ---- frames ---- */

int wire_send(struct wire *w, const void *frame, uint32_t len)
{
	struct ring *r = ring(w, &w->out);
	struct desc *d = &r->desc[w->out.done & (w->out.n - 1)];

	if (w->out.done == atomic_load_explicit(&r->head, memory_order_acquire))
		return -EAGAIN;
	memcpy(w->mem + d->off, frame, len);
	d->len = len;
	d->flags = 0;
	atomic_store_explicit(&r->tail, ++w->out.done, memory_order_release);
	return eventfd_write(w->out.fd, 1) == 0 || errno == EAGAIN ? 0 : -errno;
}

uint32_t wire_recv(struct wire *w, uint8_t frame[WIRE_FRAME])
{
	struct ring *r = ring(w, &w->in);
	const struct desc *d = &r->desc[w->in.done & (w->in.n - 1)];
	uint32_t len;

	if (w->in.done == atomic_load_explicit(&r->head, memory_order_acquire))
		return 0;
	len = d->len < WIRE_FRAME ? d->len : WIRE_FRAME;
	memcpy(frame, w->mem + d->off, len);
	atomic_store_explicit(&r->tail, ++w->in.done, memory_order_release);
	return len;
}
