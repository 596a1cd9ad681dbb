// SPDX-License-Identifier: Apache-2.0
/* One record a packet: what came, what is wrong with it, what goes out. */
#include "record.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "dpu_fds.h"
#include "dpu_log.h"
#include "fds.h"

int hv_record_recv(int sock, struct hv_record *r)
{
	struct iovec iov = { r->bytes, sizeof(r->bytes) };
	union dpu_fds_room room;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room };
	ssize_t n;

	msg.msg_controllen = CMSG_SPACE(sizeof(r->fd));
	for (unsigned i = 0; i < HV_PROTO_FDS; i++)
		r->fd[i] = -1;
	do
		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	r->n_fds = dpu_fds_take(&msg, r->fd, 0, HV_PROTO_FDS);
	r->more_fds = msg.msg_flags & MSG_CTRUNC;
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
	for (unsigned i = 0; i < HV_PROTO_FDS; i++)
		hv_fd_close(&r->fd[i]);
}

/* Zeros when it is too short to have one. */
static struct hv_rec_hdr header(const struct hv_record *r)
{
	struct hv_rec_hdr h = { 0 };

	if (r->len >= sizeof(h))
		memcpy(&h, r->bytes, sizeof(h));
	return h;
}

uint16_t hv_record_type(const struct hv_record *r)
{
	return dpu_le16_get(header(r).type);
}

uint32_t hv_record_seq(const struct hv_record *r)
{
	return dpu_le32_get(header(r).seq);
}

enum hv_status hv_record_judge(
	const struct hv_record *r, const struct hv_record_rule *rule, struct hv_talk *talk)
{
	const struct hv_rec_hdr h = header(r);
	uint32_t seq = dpu_le32_get(h.seq);

	if (r->len < sizeof(h))
		return HV_E_LENGTH;
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
	if (dpu_le16_get(h.type) == HV_HELLO)
		talk->begun = true;
	else if (!talk->begun || seq != talk->next)
		return HV_E_SEQUENCE;
	talk->next = seq + 1;
	return HV_OK;
}

enum hv_status hv_record_hello(const struct hv_record *r, struct hv_rec_hello *answer)
{
	struct hv_rec_hello h;

	memcpy(&h, r->bytes, sizeof(h));
	if (dpu_le16_get(h.version) != HV_PROTO_VERSION)
		return HV_E_VERSION;
	if (!dpu_is_zero(&h.vcpus_max, sizeof(h) - offsetof(struct hv_rec_hello, vcpus_max)))
		return HV_E_FIELD;
	h.vcpus_max = dpu_le16_put(HV_PROTO_VCPUS);
	h.slots = dpu_le16_put(HV_PROTO_SLOTS);
	*answer = h;
	return HV_OK;
}

void hv_record_done(
	const struct hv_record *r, enum hv_status status, uint32_t detail, struct hv_rec_done *out)
{
	*out = (struct hv_rec_done){ .type = header(r).type,
		.status = dpu_le16_put((uint16_t)status),
		.detail = dpu_le32_put(detail) };
	if (status != HV_OK)
		dpu_warn_ratelimited("command: refused", "type=%u status=%u detail=%u",
			hv_record_type(r), (unsigned)status, detail);
}

int hv_record_send(
	int sock, enum hv_type type, uint32_t seq, struct hv_rec_hdr *rec, size_t len, int fd)
{
	struct iovec iov = { rec, len };
	union dpu_fds_room room;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	*rec = (struct hv_rec_hdr){ .magic = dpu_le32_put(HV_PROTO_MAGIC),
		.version = dpu_le16_put(HV_PROTO_VERSION),
		.type = dpu_le16_put((uint16_t)type),
		.len = dpu_le32_put((uint32_t)len),
		.seq = dpu_le32_put(seq) };
	dpu_fds_put(&msg, &room, &fd, fd >= 0);
	do
		n = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
