// SPDX-License-Identifier: Apache-2.0
/* Messages of vhost-user over a Unix socket that never makes us wait. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost_priv.h"

void hv_vu_clear(struct hv_vhost_rx *rx)
{
	for (unsigned i = 0; i < rx->n_fds; i++)
		close(rx->fds[i]);
	rx->n_fds = 0;
	rx->have = 0;
}

static void take_fds(struct hv_vhost_rx *rx, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (rx->n_fds < VU_FDS_MAX)
				rx->fds[rx->n_fds++] = fd;
			else
				close(fd);
		}
	}
}

int hv_vu_receive(int fd, struct hv_vhost_rx *rx)
{
	for (;;) {
		bool head = rx->have < sizeof(rx->h);
		unsigned end = sizeof(rx->h) + (head ? 0 : rx->h.size);
		union {
			char buf[CMSG_SPACE(sizeof(int) * VU_FDS_MAX)];
			struct cmsghdr align;
		} ctl;
		struct iovec iov;
		struct msghdr h = { .msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = ctl.buf,
			.msg_controllen = sizeof(ctl.buf) };
		ssize_t n;

		if (!head && rx->h.size > sizeof(rx->payload))
			return -EPROTO;
		if (!head && rx->have == end)
			return 1;
		iov.iov_base = head ? (uint8_t *)&rx->h + rx->have
				    : rx->payload + (rx->have - sizeof(rx->h));
		iov.iov_len = end - rx->have;
		n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		take_fds(rx, &h);
		if (n == 0)
			return -ECONNRESET;
		if (h.msg_flags & MSG_CTRUNC)
			return -EPROTO;
		rx->have += (unsigned)n;
	}
}

int hv_vu_send(int fd, const struct msg *m)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * VU_FDS_MAX)];
		struct cmsghdr align;
	} ctl = { { 0 } };
	struct iovec iov[2] = { { .iov_len = sizeof(m->h) }, { .iov_len = m->h.size } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	const void *head = &m->h, *body = m->p.bytes;
	ssize_t n;

	memcpy(&iov[0].iov_base, &head, sizeof(head)); // sendmsg() only reads
	memcpy(&iov[1].iov_base, &body, sizeof(body));
	if (m->n_fds) {
		struct cmsghdr *c = (struct cmsghdr *)ctl.buf;

		h.msg_control = ctl.buf;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * m->n_fds);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int) * m->n_fds) };
		memcpy(CMSG_DATA(c), m->fds, sizeof(int) * m->n_fds);
	}
	n = sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	// One message is out at a time: a socket without room for it is one that nobody reads
	return (size_t)n == sizeof(m->h) + m->h.size ? 0 : -EPROTO;
}
