// SPDX-License-Identifier: Apache-2.0
/* One record a packet: what came, what is wrong with it, what goes out. */
#include "record.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union cmsg_room {
	char bytes[CMSG_SPACE(HV_PROTO_FDS * sizeof(int))];
	struct cmsghdr align;
};

static void take_fds(struct hv_record *r, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		// The kernel installs no more than there was room for.
		for (size_t i = 0; i < n && r->n_fds < HV_PROTO_FDS; i++, r->n_fds++)
			memcpy(&r->fd[r->n_fds], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	r->more_fds = msg->msg_flags & MSG_CTRUNC;
}

int hv_record_recv(int sock, struct hv_record *r)
{
	struct iovec iov = { r->bytes, sizeof(r->bytes) };
	union cmsg_room room;
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room.bytes,
		.msg_controllen = sizeof(room.bytes) };
	ssize_t n;

	r->n_fds = 0;
	for (unsigned i = 0; i < HV_PROTO_FDS; i++)
		r->fd[i] = -1;
	do
		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	take_fds(r, &msg);
	r->len = (size_t)n;
	if (n == 0 && r->n_fds == 0) {
		struct pollfd p = { .fd = sock, .events = POLLRDHUP };

		// A packet of no bytes is not the end.
		if (poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP)))
			return 0;
	}
	return 1;
}

void hv_record_close(struct hv_record *r)
{
	for (unsigned i = 0; i < HV_PROTO_FDS; i++) {
		if (r->fd[i] >= 0)
			close(r->fd[i]);
		r->fd[i] = -1;
	}
}

uint16_t hv_record_type(const struct hv_record *r)
{
	struct hv_rec_hdr h;

	if (r->len < sizeof(h))
		return 0;
	memcpy(&h, r->bytes, sizeof(h));
	return dpu_le16_get(h.type);
}

uint32_t hv_record_seq(const struct hv_record *r)
{
	struct hv_rec_hdr h;

	if (r->len < sizeof(h))
		return 0;
	memcpy(&h, r->bytes, sizeof(h));
	return dpu_le32_get(h.seq);
}

enum hv_status hv_record_judge(
	const struct hv_record *r, const struct hv_record_rule *rule, struct hv_talk *talk)
{
	struct hv_rec_hdr h;
	uint32_t seq;

	if (r->len < sizeof(h))
		return HV_E_LENGTH;
	memcpy(&h, r->bytes, sizeof(h));
	if (dpu_le32_get(h.magic) != HV_PROTO_MAGIC)
		return HV_E_MAGIC;
	if (dpu_le16_get(h.version) != HV_PROTO_VERSION)
		return HV_E_VERSION;
	if (!rule->len)
		return HV_E_TYPE;
	if (r->len != rule->len || dpu_le32_get(h.len) != rule->len)
		return HV_E_LENGTH;
	if (r->more_fds || r->n_fds < rule->fds_min || r->n_fds > rule->fds_max)
		return HV_E_FD_COUNT;
	seq = dpu_le32_get(h.seq);
	if (dpu_le16_get(h.type) == HV_HELLO)
		talk->begun = true;
	else if (!talk->begun || seq != talk->next)
		return HV_E_SEQUENCE;
	talk->next = seq + 1;
	return HV_OK;
}

int hv_record_send(
	int sock, enum hv_type type, uint32_t seq, struct hv_rec_hdr *rec, size_t len, int fd)
{
	struct iovec iov = { rec, len };
	union cmsg_room room = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	*rec = (struct hv_rec_hdr){ .magic = dpu_le32_put(HV_PROTO_MAGIC),
		.version = dpu_le16_put(HV_PROTO_VERSION),
		.type = dpu_le16_put((uint16_t)type),
		.len = dpu_le32_put((uint32_t)len),
		.seq = dpu_le32_put(seq) };
	if (fd >= 0) {
		struct cmsghdr *c = &room.align;

		msg.msg_control = room.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
