// SPDX-License-Identifier: Apache-2.0
/* Messages of vhost-user over a Unix socket that never makes us wait. */
#include <errno.h>
#include <unistd.h>

#include "dpu_fds.h"
#include "vhost_priv.h"

static_assert(VU_FDS_MAX <= DPU_FDS_MAX, "what a message has room for");

void hv_vu_clear(struct hv_vhost_rx *rx)
{
	for (unsigned i = 0; i < rx->n_fds; i++)
		close(rx->fds[i]);
	rx->n_fds = 0;
	rx->have = 0;
}

int hv_vu_receive(int fd, struct hv_vhost_rx *rx)
{
	for (;;) {
		bool head = rx->have < sizeof(rx->h);
		unsigned end = sizeof(rx->h) + (head ? 0 : rx->h.size);
		union dpu_fds_room room;
		struct iovec iov;
		struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room };
		ssize_t n;

		if (!head && rx->h.size > sizeof(rx->payload))
			return -EPROTO;
		if (!head && rx->have == end)
			return 1;
		iov.iov_base = head ? (uint8_t *)&rx->h + rx->have
				    : rx->payload + (rx->have - sizeof(rx->h));
		iov.iov_len = end - rx->have;
		h.msg_controllen = CMSG_SPACE(sizeof(rx->fds));
		n = recvmsg(fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		rx->n_fds = dpu_fds_take(&h, rx->fds, rx->n_fds, VU_FDS_MAX);
		if (n == 0)
			return -ECONNRESET;
		if (h.msg_flags & MSG_CTRUNC)
			return -EPROTO;
		rx->have += (unsigned)n;
	}
}

int hv_vu_send(int fd, const struct msg *m)
{
	union dpu_fds_room room;
	// sendmsg() only reads
	struct iovec iov[2] = { { (void *)(uintptr_t)&m->h, sizeof(m->h) },
		{ (void *)(uintptr_t)m->p.bytes, m->h.size } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	dpu_fds_put(&h, &room, m->fds, m->n_fds);
	n = sendmsg(fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	// One message is out at a time: a socket without room for it is one that nobody reads
	return (size_t)n == sizeof(m->h) + m->h.size ? 0 : -EPROTO;
}
