/* SPDX-License-Identifier: Apache-2.0 */
/* The card's side of a virtio function over vhost-user, honest or not: for test_virtio.c. */
#pragma once

#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"
#include "vhost_priv.h"

#define QUEUES 3

struct rig;

/* How an answer is spoiled. */
enum how { RIGHT, SHORT, LONG, OTHER, NOT_A_REPLY, HUGE, REFUSED, TWICE, CLOSED, SILENT };

struct card {
	int fd, channel;
	uint64_t features, pf, queues;
	uint8_t config[VU_CONFIG_MAX];
	uint32_t base[QUEUES]; // as it was told
	unsigned seen[VU_REQUESTS];
	struct vu_table table; // of memory, the last one
	uint64_t features_set, status;
	int kick[QUEUES]; // owned; -1: none yet
	struct rig *resets; // whose guest resets while DRIVER_OK is on its way
	uint32_t spoiled; // request
	enum how how;
	bool mute; // takes nothing at all
};

static void set_status(struct rig *r, uint8_t v);

static void reply(struct card *c, struct msg *w, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} ctl = { { 0 } };
	struct iovec iov[2] = { { &w->h, sizeof(w->h) }, { w->p.bytes, 0 } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	enum how how = c->spoiled == w->h.request ? c->how : RIGHT;

	w->h.flags = VU_FLAG_VERSION | VU_FLAG_REPLY;
	if (how == SILENT)
		return;
	if (how == CLOSED) {
		shutdown(c->fd, SHUT_RDWR);
		return;
	}
	if (how == SHORT)
		w->h.size -= 8;
	if (how == LONG)
		w->h.size += 4;
	if (how == HUGE)
		w->h.size = VU_PAYLOAD_MAX + 1;
	if (how == OTHER)
		w->h.request++;
	if (how == NOT_A_REPLY)
		w->h.flags = VU_FLAG_VERSION;
	if (how == REFUSED)
		w->p.u64 = 1;
	iov[1].iov_len = how == HUGE ? sizeof(w->p) : w->h.size;
	if (fd >= 0) {
		struct cmsghdr *m = (struct cmsghdr *)ctl.buf;

		*m = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(m), &fd, sizeof(fd));
		h.msg_control = ctl.buf;
		h.msg_controllen = sizeof(ctl.buf);
	}
	for (unsigned i = 0; i < (how == TWICE ? 2 : 1); i++)
		if (sendmsg(c->fd, &h, MSG_NOSIGNAL) < 0)
			return;
}

static void answer(struct card *c, struct msg *w)
{
	int fd = -1;

	switch (w->h.request) {
	case VU_GET_FEATURES:
		w->p.u64 = c->features;
		break;
	case VU_GET_PROTOCOL_FEATURES:
		w->p.u64 = c->pf;
		break;
	case VU_GET_QUEUE_NUM:
		w->p.u64 = c->queues;
		break;
	case VU_GET_CONFIG:
		memcpy(w->p.config.bytes, c->config, w->p.config.size);
		reply(c, w, -1);
		return;
	case VU_GET_VRING_BASE:
		w->p.state.num = 5;
		reply(c, w, -1);
		return;
	case VU_GET_INFLIGHT_FD:
		fd = memfd_create("inflight", MFD_CLOEXEC);
		w->p.inflight.mmap_size = 4096;
		reply(c, w, fd);
		close(fd);
		return;
	case VU_SET_VRING_BASE:
		c->base[w->p.state.index] = w->p.state.num;
		break;
	case VU_SET_FEATURES:
		c->features_set = w->p.u64;
		break;
	case VU_SET_MEM_TABLE:
		c->table = w->p.table;
		break;
	case VU_SET_STATUS:
		c->status = w->p.u64;
		if (c->resets && (c->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
			set_status(c->resets, 0);
			c->resets = NULL;
		}
		break;
	default:
		break;
	}
	if (w->h.flags & VU_FLAG_NEED_REPLY)
		w->p.u64 = 0;
	else if (w->h.request == VU_SET_OWNER || w->h.request == VU_SET_PROTOCOL_FEATURES)
		return;
	w->h.size = sizeof(w->p.u64);
	reply(c, w, -1);
}

static bool card_turn(struct card *c)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * 8)];
		struct cmsghdr align;
	} ctl;
	struct msg w = { .h.size = 0 };
	struct iovec iov = { &w.h, sizeof(w.h) };
	struct msghdr h = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctl.buf,
		.msg_controllen = sizeof(ctl.buf) };
	int kick = -1;

	if (c->mute || recvmsg(c->fd, &h, MSG_DONTWAIT) != sizeof(w.h))
		return false;
	for (struct cmsghdr *m = CMSG_FIRSTHDR(&h); m; m = CMSG_NXTHDR(&h, m))
		for (size_t i = 0; i < (m->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(m) + i * sizeof(int), sizeof(fd));
			if (w.h.request == VU_SET_BACKEND_REQ_FD && c->channel < 0)
				c->channel = fd;
			else if (w.h.request != VU_SET_VRING_KICK)
				close(fd);
			else
				kick = fd;
		}
	assert_true(w.h.request < VU_REQUESTS && w.h.size <= VU_PAYLOAD_MAX);
	if (w.h.size)
		assert_int_equal(recv(c->fd, w.p.bytes, w.h.size, 0), w.h.size);
	c->seen[w.h.request]++;
	if (kick >= 0) {
		unsigned i = (uint8_t)w.p.u64;

		assert_true(i < QUEUES);
		close(c->kick[i]);
		c->kick[i] = kick;
	}
	answer(c, &w);
	return true;
}
