// SPDX-License-Identifier: Apache-2.0
/* Receives vhost-user messages with their file descriptors, checks their shape, sends replies. */
#include "vu_session.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dpu_log.h"
#include "iommu.h"
#include "vu_fd.h"
#include "vu_inband.h"
#include "vu_notifier.h"
#include "vu_postcopy.h"

/* True: there was one of a kind that no front-end has a use for. */
static bool close_fds(struct vu_session *s, struct vu_msg *m)
{
	bool strange = false;

	for (unsigned i = 0; i < m->n_fds; i++)
		if (m->fds[i] >= 0)
			strange |= vu_fd_close(m->fds[i], s->dev);
	m->n_fds = 0;
	return strange;
}

void vu_session_open(struct vu_session *s, struct vho_dev *dev, int fd)
{
	s->dev = dev;
	s->fd = fd;
	s->backend_fd = -1;
	s->has_protocol = false;
	s->config_due = false;
	s->held = false;
	s->state_fd = -1;
	s->state_good = false;
	s->inband = NULL;
	s->notifiers = NULL;
	s->asks = (struct vu_asks){ .answer.reply_fd = -1 };
	s->have = 0;
	s->n_messages = 0;
	s->in.n_fds = 0;
	s->in.reply_fd = -1;
	s->in.answers = false;
	dev->iommu_ask = vu_session_ask;
	dev->iommu_arg = s;
	vho_dev_attach(dev);
}

enum session_end { SESSION_OVER, SESSION_ELSEWHERE };

static void end(struct vu_session *s, enum session_end why)
{
	if (s->fd < 0)
		return;
	(void)close_fds(s, &s->in);
	vu_session_set_channel(s, -1);
	vu_asks_close(s);
	vu_inband_close(s);
	vu_notifier_close(s);
	if (s->state_fd >= 0)
		close(s->state_fd);
	if (why == SESSION_OVER)
		vu_fd_close_socket(s->fd, s->dev);
	else
		close(s->fd);
	s->state_fd = -1;
	s->fd = -1;
	s->held = false;
	s->dev->iommu_ask = NULL;
	vho_dev_detach(s->dev);
}

void vu_session_close(struct vu_session *s)
{
	end(s, SESSION_OVER);
}

void vu_session_forget(struct vu_session *s)
{
	end(s, SESSION_ELSEWHERE);
}

/*
 * Take the fds of one recvmsg into m. All that arrived are owned afterwards, whatever the result:
 * 0, or -EPROTO when some were cut off or there are too many.
 */
static int take_fds(struct vu_msg *m, const void *owner, struct msghdr *mh)
{
	int ret = mh->msg_flags & (MSG_CTRUNC | MSG_TRUNC) ? -EPROTO : 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;

		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (m->n_fds < VU_FDS_MAX) {
				m->fds[m->n_fds++] = fd;
			} else {
				(void)vu_fd_close(fd, owner);
				ret = -EPROTO;
			}
		}
	}
	return ret;
}

ssize_t vu_receive(struct vu_msg *m, const void *owner, int fd, void *to, size_t want)
{
	union {
		char bytes[CMSG_SPACE(VU_FD_MESSAGE_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = { .iov_base = to, .iov_len = want };
	struct msghdr mh = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int ret;

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	ret = take_fds(m, owner, &mh);
	if (ret < 0)
		return ret;
	return n == 0 ? -ECONNRESET : n;
}

/* The same for the current message. */
static ssize_t receive(struct vu_session *s, void *to, size_t want)
{
	return vu_receive(&s->in, s->dev, s->fd, to, want);
}

/* 1: s->in is complete. 0 never; -EAGAIN: wait for more bytes. */
static int receive_message(struct vu_session *s)
{
	struct vu_header *h = &s->in.h;
	ssize_t n;

	while (s->have < sizeof(*h)) {
		n = receive(s, (uint8_t *)h + s->have, sizeof(*h) - s->have);
		if (n < 0)
			return (int)n;
		s->have += (size_t)n;
	}
	if ((h->flags & VU_FLAG_VERSION_MASK) != VU_FLAG_VERSION || (h->flags & VU_FLAG_REPLY) ||
		h->size > VU_PAYLOAD_MAX)
		return -EPROTO;
	while (s->have < sizeof(*h) + h->size) {
		size_t off = s->have - sizeof(*h);

		n = receive(s, s->in.p.bytes + off, h->size - off);
		if (n < 0)
			return (int)n;
		s->have += (size_t)n;
	}
	return 1;
}

/* One sendmsg or none: a front-end that does not take its reply loses the session. */
static int send_message(int to, const struct vu_header *h, const void *payload, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec v[2] = {
		{ .iov_base = (void *)(uintptr_t)h, .iov_len = sizeof(*h) },
		{ .iov_base = (void *)(uintptr_t)payload, .iov_len = h->size },
	};
	struct msghdr mh = { .msg_iov = v, .msg_iovlen = 2 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		mh.msg_control = control.bytes;
		mh.msg_controllen = sizeof(control.bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	n = sendmsg(to, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == sizeof(*h) + h->size ? 0 : -EPIPE;
}

static int reply(struct vu_session *s, struct vu_msg *m)
{
	int ret;

	m->answers = false;
	m->h.flags = VU_FLAG_VERSION | VU_FLAG_REPLY;
	ret = send_message(s->fd, &m->h, m->p.bytes, m->reply_fd);
	if (m->reply_fd >= 0)
		close(m->reply_fd);
	m->reply_fd = -1;
	return ret;
}

/* ---- refusals ---- */

const char *vho_vu_reject_name(enum vho_vu_reject r)
{
	static const char *const names[] = {
		[VHO_VU_REJECT_HEADER] = "header",
		[VHO_VU_REJECT_UNKNOWN] = "unknown",
		[VHO_VU_REJECT_SIZE] = "size",
		[VHO_VU_REJECT_FDS] = "fds",
		[VHO_VU_REJECT_NOT_NEGOTIATED] = "not_negotiated",
		[VHO_VU_REJECT_STATE] = "state",
		[VHO_VU_REJECT_VALUE] = "value",
		[VHO_VU_REJECT_MEMORY] = "memory",
		[VHO_VU_REJECT_RING] = "ring",
		[VHO_VU_REJECT_RESOURCES] = "resources",
	};

	static_assert(sizeof(names) / sizeof(names[0]) == VHO_VU_REJECT_COUNT, "a name for each");
	return (unsigned)r < VHO_VU_REJECT_COUNT ? names[r] : NULL;
}

const char *vho_vu_reject_text(enum vho_vu_reject r)
{
	static const char *const texts[] = {
#define X(name, text) text,
		VHO_VU_REJECTS(X)
#undef X
	};

	return (unsigned)r < VHO_VU_REJECT_COUNT ? texts[r] : NULL;
}

/* Shape of a message against its row in the table: 0, or an error and its reason. */
static int check(const struct vu_session *s, const struct vu_handler *h, const struct vu_msg *m,
	enum vho_vu_reject *why)
{
	if (!h) {
		*why = VHO_VU_REJECT_UNKNOWN;
		return -EOPNOTSUPP;
	}
	if (m->h.size < h->size_min || m->h.size > h->size_max) {
		*why = VHO_VU_REJECT_SIZE;
		return -EMSGSIZE;
	}
	if (m->n_fds < h->fds_min || m->n_fds > h->fds_max) {
		*why = VHO_VU_REJECT_FDS;
		return -EBADF;
	}
	if (h->needs & ~s->dev->protocol_features) {
		*why = VHO_VU_REJECT_NOT_NEGOTIATED;
		return -EPROTO;
	}
	return 0;
}

/* The reason behind a handler's error. */
static enum vho_vu_reject reason_of(uint32_t request, int err)
{
	switch (err) {
	case -ENOMEM:
	case -EMFILE:
	case -ENFILE:
		return VHO_VU_REJECT_RESOURCES;
	case -EBUSY:
		return VHO_VU_REJECT_STATE;
	case -EMSGSIZE:
		return VHO_VU_REJECT_SIZE;
	case -EOPNOTSUPP:
		return VHO_VU_REJECT_UNKNOWN;
	default:
		break;
	}
	switch (request) {
	case VU_SET_MEM_TABLE:
	case VU_ADD_MEM_REG:
	case VU_REM_MEM_REG:
	case VU_SET_LOG_BASE:
	case VU_GET_INFLIGHT_FD:
	case VU_SET_INFLIGHT_FD:
		return VHO_VU_REJECT_MEMORY;
	case VU_IOTLB_MSG:
		return err == -EFAULT ? VHO_VU_REJECT_MEMORY : VHO_VU_REJECT_VALUE;
	default:
		return err == -EINVAL || err == VU_CLOSE ? VHO_VU_REJECT_VALUE : VHO_VU_REJECT_RING;
	}
}

/* Returns 0, or an error that ends the session. */
static int handle(struct vu_session *s)
{
	struct vu_msg *m = &s->in;
	const struct vu_handler *ack = vu_postcopy_ack(s, m);
	const struct vu_handler *h = ack ? ack : vu_handler(m->h.request);
	uint32_t request = m->h.request;
	bool wanted = m->h.flags & VU_FLAG_NEED_REPLY;
	enum vho_vu_reject why;
	bool strange;
	int ret = check(s, h, m, &why);

	s->messages++;
	s->n_messages++;
	if (ret == 0) {
		ret = h->fn(s, m);
		why = reason_of(request, ret);
	}
	strange = close_fds(s, m);
	if (ret < 0) {
		s->rejects[why]++;
		dpu_warn_ratelimited("vhost-user: message rejected",
			"dev=%s request=%u reason=%s err=%d", s->dev->name, request,
			vho_vu_reject_name(why), ret);
	}
	if (strange || ret == VU_CLOSE)
		return VU_CLOSE;
	if (s->held)
		return 0; // vu_session_held() answers
	if (ret == 0 && (h->replies || m->answers))
		return reply(s, m);
	if (ret < 0 && h && h->refusal && why != VHO_VU_REJECT_NOT_NEGOTIATED) {
		m->h.size = sizeof(m->p.u64);
		m->p.u64 = h->refusal;
		return reply(s, m);
	}
	// With REPLY_ACK only; a request with an answer of its own has no room for a code
	if (!wanted || !(s->dev->protocol_features >> VU_PF_REPLY_ACK & 1) || (h && h->replies))
		return ret;
	m->h.size = sizeof(m->p.u64);
	m->p.u64 = ret < 0;
	return reply(s, m);
}

int vu_session_input(struct vu_session *s)
{
	for (unsigned i = 0; i < VU_BUDGET && !s->held; i++) {
		int ret = receive_message(s);

		if (ret == -EAGAIN)
			return 0;
		if (ret == -EPROTO)
			s->rejects[VHO_VU_REJECT_HEADER]++;
		if (ret < 0)
			return ret;
		ret = handle(s);
		if (ret < 0)
			return ret;
		s->have = 0;
		if (s->config_due && vho_dev_any_started(s->dev))
			(void)vu_session_config_changed(s);
		vu_inband_run(s);
		vu_notifier_run(s);
	}
	return 0;
}

bool vu_session_held(struct vu_session *s, bool late, int *ret)
{
	*ret = 0;
	if (s->held && !late && !vho_iommu_drained(s->dev))
		return true;
	if (s->held && s->dev->protocol_features >> VU_PF_REPLY_ACK & 1) {
		s->in.h.size = sizeof(s->in.p.u64);
		s->in.p.u64 = late && !vho_iommu_drained(s->dev);
		s->dev->iommu_stats.late += s->in.p.u64;
		*ret = reply(s, &s->in);
	}
	s->held = false;
	return false;
}

/* ---- requests of ours ---- */

void vu_session_ask(void *arg, uint64_t iova, uint8_t perm)
{
	struct vu_session *s = arg;
	struct vu_header h = { VU_BACKEND_IOTLB_MSG, VU_FLAG_VERSION, sizeof(struct vu_iotlb) };
	struct vu_iotlb m = { .iova = iova, .perm = perm, .type = VU_IOTLB_MISS };
	int ret = s->backend_fd >= 0 ? send_message(s->backend_fd, &h, &m, -1) : 0;

	if (ret == 0 || ret == -EAGAIN)
		return; // lost at worst: it is asked again
	vu_session_set_channel(s, -1);
}

void vu_session_set_channel(struct vu_session *s, int fd)
{
	if (s->backend_fd < 0 && fd < 0)
		return;
	vu_asks_unwatch(s);
	if (s->backend_fd >= 0)
		(void)vu_fd_close(s->backend_fd, s->dev);
	s->backend_fd = fd;
	vu_asks_watch(s);
}

int vu_session_request(struct vu_session *s, uint32_t request, uint32_t more_flags,
	const void *payload, uint32_t size)
{
	return vu_session_request_fd(s, request, more_flags, payload, size, -1);
}

int vu_session_request_fd(struct vu_session *s, uint32_t request, uint32_t more_flags,
	const void *payload, uint32_t size, int fd)
{
	struct vu_header h = { request, VU_FLAG_VERSION | more_flags, size };
	int ret;

	if (s->backend_fd < 0)
		return -ENOTCONN;
	ret = send_message(s->backend_fd, &h, payload, fd);
	// One that does not read has lost the channel; half a message would break it
	if (ret < 0)
		vu_session_set_channel(s, -1);
	return ret;
}

int vu_session_config_changed(struct vu_session *s)
{
	if (s->fd < 0 || s->backend_fd < 0 || !(s->dev->protocol_features >> VU_PF_CONFIG & 1))
		return -ENOTCONN;
	s->config_due = !vho_dev_any_started(s->dev);
	return s->config_due ? 0 : vu_session_request(s, VU_BACKEND_CONFIG_CHANGE, 0, NULL, 0);
}
