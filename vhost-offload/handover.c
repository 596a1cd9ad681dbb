// SPDX-License-Identifier: Apache-2.0
/* A vhost-user session as bytes and file descriptors, and back. */
#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_cur.h"
#include "dpu_wire.h"
#include "state.h"
#include "vu_fd.h"
#include "vu_inband.h"
#include "vu_notifier.h"

#define MAGIC 0x4f48424fu // "OBHO"
#define VERSION 1

struct header {
	dpu_le32 magic;
	dpu_le16 version, kind;
	dpu_le32 len, n_fds, n_queues, reserved;
};
static_assert(sizeof(struct header) == 24, "hand-over header");

/* Bits that say what a session has. */
enum {
	S_LISTEN = 1,
	S_SESSION = 2,
	S_BACKEND = 4,
	S_PROTOCOL = 8,
	S_CONFIG_DUE = 16,
	S_STATE_FD = 32,
	S_STATE_GOOD = 64,
	S_FEATURES = 128,
	S_LOG = 256,
	S_LOG_ON = 512,
	S_INFLIGHT = 1024,
	S_INBAND =
		2048, // the rings' Q_INBAND_ bits count, and what is known of an answer comes last
	S_KNOWN = 4095,
};

/* The same for a ring. */
enum {
	Q_LOG_USED = 1,
	Q_ADDR = 2,
	Q_HAS_KICK = 4,
	Q_ENABLED = 8,
	Q_RETIRED = 16,
	Q_HALTED = 32,
	Q_PARTED = 64,
	Q_PARTED_INFLIGHT = 128,
	Q_KICK = 256,
	Q_CALL = 512,
	Q_ERR = 1024,
	Q_INBAND_OWN = 2048, // shifted by enum vu_inband_kind
	Q_INBAND_TOLD = 8192,
	Q_KNOWN = 32767,
};

/* ---- writing ---- */

static void put(struct handover *h, const void *bytes, size_t n)
{
	if (n <= sizeof(h->bytes) - h->len)
		memcpy(h->bytes + h->len, bytes, n);
	else
		h->len = sizeof(h->bytes); // full: what comes does not fit either
	h->len += n;
}

static void put32(struct handover *h, uint32_t v)
{
	dpu_le32 w = dpu_le32_put(v);

	put(h, &w, sizeof(w));
}

static void put64(struct handover *h, uint64_t v)
{
	dpu_le64 w = dpu_le64_put(v);

	put(h, &w, sizeof(w));
}

/* The bit, when there is such a descriptor. */
static uint32_t put_fd(struct handover *h, int fd, uint32_t bit)
{
	if (fd < 0)
		return 0;
	if (h->n_fds < HANDOVER_FDS_MAX)
		h->fds[h->n_fds] = fd;
	h->n_fds++;
	return bit;
}

static void save_session(struct handover *h, const struct vu_session *s, int listen_fd)
{
	const struct vho_dev *dev = s->dev;
	uint32_t bits = put_fd(h, listen_fd, S_LISTEN);

	bits |= put_fd(h, s->fd, S_SESSION);
	bits |= put_fd(h, s->backend_fd, S_BACKEND);
	bits |= put_fd(h, s->state_fd, S_STATE_FD);
	bits |= (s->has_protocol ? S_PROTOCOL : 0) | (s->config_due ? S_CONFIG_DUE : 0) |
		(s->state_good ? S_STATE_GOOD : 0) | (dev->features_set ? S_FEATURES : 0) |
		(dev->log_on ? S_LOG_ON : 0) | (s->inband ? S_INBAND : 0);
	if (dev->log_map)
		bits |= put_fd(h, dev->log_fd, S_LOG);
	if (dev->inflight)
		bits |= put_fd(h, dev->inflight->fd, S_INFLIGHT);
	put32(h, bits);
	put32(h, dev->status);
	put64(h, dev->features);
	put64(h, dev->protocol_features);
	put64(h, s->n_messages);
	put64(h, dev->log_map ? dev->log_off : 0);
	put64(h, dev->log_map ? dev->log.size : 0);
	put64(h, dev->inflight ? dev->inflight->off : 0);
	put64(h, dev->inflight ? dev->inflight->size : 0);
	put32(h, dev->inflight ? dev->inflight->n_queues : 0);
	put32(h, dev->inflight ? dev->inflight->queue_size : 0);
}

static void save_memory(struct handover *h, const struct vho_mem *mem)
{
	put32(h, mem ? mem->n : 0);
	for (unsigned i = 0; mem && i < mem->n; i++) {
		const struct vho_mem_map_entry *e = &mem->r[i];
		const struct vho_mem_mapping *m = e->mapping;

		put64(h, e->gpa);
		put64(h, e->size);
		put64(h, e->uva);
		put64(h, m->off + (uint64_t)(e->host - (uint8_t *)m->base));
		put32(h, m->repeats);
		(void)put_fd(h, m->file ? m->file->fd : -1, 1);
	}
}

static uint32_t inband_bits(const struct vu_session *s, const struct vho_dev_queue *dq)
{
	uint32_t bits = 0;

	for (unsigned kind = 0; s->inband && kind < VU_INBAND_KINDS; kind++) {
		const struct vu_inband_side
			*side = &s->inband->side[dq->q.idx * VU_INBAND_KINDS + kind];

		bits |= (side->own ? (uint32_t)Q_INBAND_OWN << kind : 0) |
			(side->told ? (uint32_t)Q_INBAND_TOLD << kind : 0);
		// What was read from the eventfd and not yet sent is there again for the taker
		if (side->due)
			vho_notify_fd(kind == VU_INBAND_CALL ? dq->call_fd : dq->err_fd);
	}
	return bits;
}

static void save_ring(
	struct handover *h, const struct vu_session *s, const struct vho_dev_queue *dq)
{
	uint32_t bits = put_fd(h, dq->kick_fd, Q_KICK);

	bits |= put_fd(h, dq->call_fd, Q_CALL);
	bits |= put_fd(h, dq->err_fd, Q_ERR);
	bits |= (dq->log_used ? Q_LOG_USED : 0) | (dq->has_addr ? Q_ADDR : 0) |
		(dq->has_kick ? Q_HAS_KICK : 0) | (dq->enabled ? Q_ENABLED : 0) |
		(dq->retired ? Q_RETIRED : 0) | (dq->halted ? Q_HALTED : 0) |
		(dq->parted ? Q_PARTED : 0) | (dq->parted_inflight ? Q_PARTED_INFLIGHT : 0) |
		inband_bits(s, dq);
	put32(h, bits);
	put32(h, dq->size);
	put32(h, dq->base);
	put32(h, dq->parted_base);
	put32(h, dq->retired_base);
	put64(h, dq->desc_uva);
	put64(h, dq->driver_uva);
	put64(h, dq->device_uva);
	put64(h, dq->log_gpa);
}

int handover_save(const struct vu_session *s, int listen_fd, struct handover *h)
{
	const struct vho_dev *dev = s->dev;
	uint8_t state[VHO_STATE_MAX];
	int len;

	for (unsigned i = 0; dev->mem && i < dev->mem->n; i++)
		if (!dev->mem->r[i].mapping->file)
			return -ENOTSUP;
	h->len = h->n_fds = 0;
	h->owned = false;
	h->kind = (uint16_t)dev->type->kind;
	h->n_queues = dev->n_queues;
	save_session(h, s, listen_fd);
	save_memory(h, dev->mem);
	for (unsigned i = 0; i < dev->n_queues; i++)
		save_ring(h, s, &dev->queues[i]);
	// A message may be half here, its descriptors with it
	put32(h, s->fd < 0 ? 0 : (uint32_t)s->have);
	put32(h, s->fd < 0 ? 0 : s->in.n_fds);
	if (s->fd >= 0) {
		size_t head = s->have < sizeof(s->in.h) ? s->have : sizeof(s->in.h);

		put(h, &s->in.h, head);
		put(h, s->in.p.bytes, s->have - head);
		for (unsigned i = 0; i < s->in.n_fds; i++)
			(void)put_fd(h, s->in.fds[i], 1);
	}
	if (s->inband) {
		put32(h, s->asks.asked);
		put32(h, (uint32_t)s->asks.have);
		put(h, &s->asks.answer.h, sizeof(s->asks.answer.h));
		put(h, &s->asks.answer.p.u64, sizeof(s->asks.answer.p.u64));
	}
	len = vho_state_save(dev, VHO_STATE_HAND_OVER, state, sizeof(state));
	if (len < 0)
		return len;
	put32(h, (uint32_t)len);
	put(h, state, (size_t)len);
	return h->len > sizeof(h->bytes) || h->n_fds > HANDOVER_FDS_MAX ? -ENOSPC : 0;
}

/* ---- the socket ---- */

static int send_all(int sock, const void *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = send(sock, (const uint8_t *)bytes + at, len - at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return 0;
}

static int recv_all(int sock, void *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = recv(sock, (uint8_t *)bytes + at, len - at, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ECONNRESET;
		at += (size_t)n;
	}
	return 0;
}

union control {
	char bytes[CMSG_SPACE(HANDOVER_FDS_AT_ONCE * sizeof(int))];
	struct cmsghdr align;
};

static int send_fds(int sock, const int *fds, unsigned n)
{
	union control control = { .bytes = { 0 } };
	uint8_t count = (uint8_t)n;
	struct iovec v = { .iov_base = &count, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	ssize_t ret;

	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.align), fds, n * sizeof(int));
	do
		ret = sendmsg(sock, &mh, MSG_NOSIGNAL);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

/* Take one group: its n descriptors are in h->fds afterwards, or -EPROTO. */
static int recv_fds(int sock, struct handover *h, unsigned n)
{
	union control control;
	uint8_t count;
	struct iovec v = { .iov_base = &count, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	unsigned want = h->n_fds + n;
	ssize_t ret;

	do
		ret = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	while (ret < 0 && errno == EINTR);
	if (ret <= 0)
		return ret ? -errno : -ECONNRESET;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
		size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < got; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (h->n_fds < HANDOVER_FDS_MAX)
				h->fds[h->n_fds++] = fd;
			else
				(void)vu_fd_close(fd, h);
		}
	}
	return (mh.msg_flags & MSG_CTRUNC) || h->n_fds != want ? -EPROTO : 0;
}

int handover_send(int sock, const struct handover *h)
{
	const struct header head = {
		.magic = dpu_le32_put(MAGIC),
		.version = dpu_le16_put(VERSION),
		.kind = dpu_le16_put(h->kind),
		.len = dpu_le32_put((uint32_t)h->len),
		.n_fds = dpu_le32_put(h->n_fds),
		.n_queues = dpu_le32_put(h->n_queues),
	};
	int ret = send_all(sock, &head, sizeof(head));
	dpu_le32 answer;

	if (!ret)
		ret = send_all(sock, h->bytes, h->len);
	for (unsigned i = 0; !ret && i < h->n_fds; i += HANDOVER_FDS_AT_ONCE) {
		unsigned left = h->n_fds - i;

		ret = send_fds(sock, h->fds + i,
			left < HANDOVER_FDS_AT_ONCE ? left : HANDOVER_FDS_AT_ONCE);
	}
	if (!ret)
		ret = recv_all(sock, &answer, sizeof(answer));
	if (ret)
		return ret;
	return dpu_le32_get(answer) ? -ECONNREFUSED : 0;
}

int handover_recv(int sock, struct handover *h)
{
	struct header head;
	uint32_t len, n_fds;
	int ret;

	h->len = h->n_fds = 0;
	h->owned = true;
	ret = recv_all(sock, &head, sizeof(head));
	if (ret)
		return ret;
	len = dpu_le32_get(head.len);
	n_fds = dpu_le32_get(head.n_fds);
	if (dpu_le32_get(head.magic) != MAGIC || dpu_le16_get(head.version) != VERSION ||
		len > sizeof(h->bytes) || n_fds > HANDOVER_FDS_MAX ||
		dpu_le32_get(head.reserved) != 0)
		return -EPROTO;
	h->kind = dpu_le16_get(head.kind);
	h->n_queues = dpu_le32_get(head.n_queues);
	ret = recv_all(sock, h->bytes, len);
	h->len = len;
	while (!ret && h->n_fds < n_fds) {
		unsigned left = n_fds - h->n_fds;

		ret = recv_fds(sock, h, left < HANDOVER_FDS_AT_ONCE ? left : HANDOVER_FDS_AT_ONCE);
	}
	return ret;
}

void handover_answer(int sock, int ret)
{
	dpu_le32 w = dpu_le32_put(ret < 0);

	(void)send_all(sock, &w, sizeof(w)); // who is not there any more needs no answer
}

void handover_free(struct handover *h)
{
	for (unsigned i = 0; h->owned && i < h->n_fds; i++)
		if (h->fds[i] >= 0)
			(void)vu_fd_close(h->fds[i], h); // of any kind, if they were not wanted
	h->n_fds = 0;
}

/* ---- reading ---- */

/* What is being read: the body, and how far its descriptors have been given out. */
struct reader {
	struct dpu_cur c;
	struct handover *h;
	unsigned next_fd;
};

/* The next descriptor, still h's; -1 and a bad cursor when there is none. */
static int *next_fd(struct reader *r)
{
	static int none = -1;

	if (r->next_fd < r->h->n_fds)
		return &r->h->fds[r->next_fd++];
	r->c.bad = true;
	return &none;
}

typedef bool kind_fn(int fd);

/*
 * The same, the caller's from now on; -1 when the bit is clear. One of another kind makes the
 * cursor bad and stays h's, which closes it without waiting.
 */
static int take_fd(struct reader *r, uint32_t bits, uint32_t bit, kind_fn *is)
{
	int *at, fd;

	if (!(bits & bit))
		return -1;
	at = next_fd(r);
	fd = *at;
	if (fd < 0 || !is(fd)) {
		r->c.bad = true;
		return -1;
	}
	*at = -1;
	return fd;
}

/* None of these asks the file system of a descriptor, which may be somebody's process. */
static bool is_any(int fd)
{
	return fd >= 0;
}

static bool is_socket(int fd)
{
	socklen_t len = sizeof(int);
	int domain;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* accept(2) has no flag that keeps it from waiting. */
static bool is_listener(int fd)
{
	socklen_t len = sizeof(int);
	int listens;

	return is_socket(fd) && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 &&
	       listens && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

/* As vu_state.c makes them: memory of a size that stays. */
static bool is_state(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS), fixed = F_SEAL_GROW | F_SEAL_SHRINK;

	return seals >= 0 && (seals & fixed) == fixed;
}

/* Log and inflight region as the session's part of the body says them. */
struct areas {
	int *log_fd, *inflight_fd; // NULL: none
	uint64_t log_off, log_size, inflight_off, inflight_size;
	uint32_t n_queues, queue_size;
	bool log_on;
};

static int load_session(struct reader *r, struct vu_session *s, struct vho_dev *dev,
	struct areas *a, int *listen_fd)
{
	uint32_t bits = dpu_cur_le32(&r->c), status = dpu_cur_le32(&r->c);
	uint64_t features = dpu_cur_le64(&r->c), protocol = dpu_cur_le64(&r->c);
	uint64_t n_messages = dpu_cur_le64(&r->c);
	int fd, ret;

	a->log_off = dpu_cur_le64(&r->c);
	a->log_size = dpu_cur_le64(&r->c);
	a->inflight_off = dpu_cur_le64(&r->c);
	a->inflight_size = dpu_cur_le64(&r->c);
	a->n_queues = dpu_cur_le32(&r->c);
	a->queue_size = dpu_cur_le32(&r->c);
	a->log_on = bits & S_LOG_ON;
	if (r->c.bad || bits & ~(uint32_t)S_KNOWN || status > UINT8_MAX)
		return -EBADMSG;
	*listen_fd = take_fd(r, bits, S_LISTEN, is_listener);
	fd = take_fd(r, bits, S_SESSION, is_socket);
	if (fd < 0)
		return r->c.bad ? -EBADMSG : 0;
	vu_session_open(s, dev, fd);
	s->backend_fd = take_fd(r, bits, S_BACKEND, is_socket);
	s->state_fd = take_fd(r, bits, S_STATE_FD, is_state);
	s->has_protocol = bits & S_PROTOCOL;
	s->config_due = bits & S_CONFIG_DUE;
	s->state_good = bits & S_STATE_GOOD;
	s->n_messages = n_messages;
	a->log_fd = bits & S_LOG ? next_fd(r) : NULL;
	a->inflight_fd = bits & S_INFLIGHT ? next_fd(r) : NULL;
	if (r->c.bad)
		return -EBADMSG;
	if (!(bits & S_INBAND) != !(protocol >> VU_PF_INBAND_NOTIFICATIONS & 1))
		return -EBADMSG;
	if ((bits & S_INBAND) && vu_inband_open(s))
		return -ENOMEM;
	dev->status = (uint8_t)status;
	dev->protocol_features = protocol;
	ret = vu_notifier_features(s); // with pages of our own, which take the place of theirs
	if (ret)
		return ret;
	return bits & S_FEATURES ? vho_dev_set_features(dev, features) : 0;
}

static int load_memory(struct reader *r, struct vho_dev *dev)
{
	uint32_t n = dpu_cur_le32(&r->c);
	struct vho_mem_region region[VHO_MEM_REGIONS_MAX];
	uint32_t repeats[VHO_MEM_REGIONS_MAX];
	int fds[VHO_MEM_REGIONS_MAX];
	struct vho_mem *mem;
	int ret;

	if (n > VHO_MEM_REGIONS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < n; i++) {
		region[i].gpa = dpu_cur_le64(&r->c);
		region[i].size = dpu_cur_le64(&r->c);
		region[i].uva = dpu_cur_le64(&r->c);
		region[i].mmap_off = dpu_cur_le64(&r->c);
		repeats[i] = dpu_cur_le32(&r->c);
		fds[i] = *next_fd(r);
	}
	if (r->c.bad)
		return -EBADMSG;
	if (n == 0)
		return 0;
	ret = vho_mem_create(region, fds, n, &mem);
	if (ret)
		return ret;
	vho_dev_set_mem(dev, mem);
	for (uint32_t i = 0; i < n; i++)
		for (; repeats[i]; repeats[i]--)
			if (!vho_mem_again(mem, &region[i], fds[i]))
				return -EBADMSG; // also when that were too often
	return 0;
}

static int load_areas(struct vho_dev *dev, const struct areas *a)
{
	struct vho_inflight *inf;
	int ret;

	if (a->inflight_fd) {
		if (a->n_queues > dev->n_queues || a->queue_size > VHO_QUEUE_SIZE_MAX)
			return -EBADMSG;
		ret = vho_inflight_open(*a->inflight_fd, a->inflight_off, a->inflight_size,
			(uint16_t)a->n_queues, (uint16_t)a->queue_size,
			dev->features >> VIRTIO_F_RING_PACKED & 1, &inf);
		if (ret)
			return ret;
		vho_dev_set_inflight(dev, inf);
	}
	if (a->log_fd) {
		ret = vho_dev_open_log(dev, *a->log_fd, a->log_off, a->log_size);
		if (ret)
			return ret;
	}
	vho_dev_set_log_on(dev, a->log_on);
	return 0;
}

/* Before the ring has its descriptors: who says that they are ours must have sent them. */
static int load_inband(struct vu_session *s, const struct vho_dev_queue *dq, uint32_t bits)
{
	static const uint32_t fd_bit[VU_INBAND_KINDS] = { Q_CALL, Q_ERR };

	for (unsigned kind = 0; kind < VU_INBAND_KINDS; kind++) {
		bool own = bits & (uint32_t)Q_INBAND_OWN << kind;
		bool told = bits & (uint32_t)Q_INBAND_TOLD << kind;

		if ((own || told) && !s->inband)
			return -EBADMSG;
		if (own && (told || !(bits & fd_bit[kind])))
			return -EBADMSG;
		if (!s->inband)
			continue;
		s->inband->side[dq->q.idx * VU_INBAND_KINDS + kind].own = own;
		s->inband->side[dq->q.idx * VU_INBAND_KINDS + kind].told = told;
	}
	return 0;
}

static int load_ring(struct reader *r, struct vu_session *s, struct vho_dev_queue *dq)
{
	uint32_t bits = dpu_cur_le32(&r->c);

	dq->size = dpu_cur_le32(&r->c);
	dq->base = dpu_cur_le32(&r->c);
	dq->parted_base = dpu_cur_le32(&r->c);
	dq->retired_base = dpu_cur_le32(&r->c);
	dq->desc_uva = dpu_cur_le64(&r->c);
	dq->driver_uva = dpu_cur_le64(&r->c);
	dq->device_uva = dpu_cur_le64(&r->c);
	dq->log_gpa = dpu_cur_le64(&r->c);
	if (r->c.bad || bits & ~(uint32_t)Q_KNOWN || dq->size > VHO_QUEUE_SIZE_MAX)
		return -EBADMSG;
	if (load_inband(s, dq, bits))
		return -EBADMSG;
	dq->log_used = bits & Q_LOG_USED;
	dq->has_addr = bits & Q_ADDR;
	dq->has_kick = bits & Q_HAS_KICK;
	dq->enabled = bits & Q_ENABLED;
	dq->retired = bits & Q_RETIRED;
	dq->halted = bits & Q_HALTED;
	dq->parted = bits & Q_PARTED;
	dq->parted_inflight = bits & Q_PARTED_INFLIGHT;
	dq->kick_fd = take_fd(r, bits, Q_KICK, vu_fd_is_eventfd);
	dq->call_fd = take_fd(r, bits, Q_CALL, vu_fd_is_eventfd);
	dq->err_fd = take_fd(r, bits, Q_ERR, vu_fd_is_eventfd);
	return r->c.bad ? -EBADMSG : 0;
}

/* What had come of the front-end's next message. */
static int load_partial(struct reader *r, struct vu_session *s)
{
	uint32_t have = dpu_cur_le32(&r->c), n_fds = dpu_cur_le32(&r->c);
	size_t head = have < sizeof(s->in.h) ? have : sizeof(s->in.h);

	if (r->c.bad || have > sizeof(s->in.h) + VU_PAYLOAD_MAX || n_fds > VU_FDS_MAX)
		return -EBADMSG;
	dpu_cur_copy(&r->c, &s->in.h, head);
	dpu_cur_copy(&r->c, s->in.p.bytes, have - head);
	for (uint32_t i = 0; i < n_fds; i++) {
		int fd = take_fd(r, 1, 1, is_any);

		if (fd >= 0)
			s->in.fds[s->in.n_fds++] = fd;
	}
	if (r->c.bad || (have > sizeof(s->in.h) && have - sizeof(s->in.h) > s->in.h.size))
		return -EBADMSG;
	s->have = have;
	return 0;
}

/* The answer that an in-band notification waits for. */
static int load_answer(struct reader *r, struct vu_session *s)
{
	struct vu_asks *a = &s->asks;
	uint32_t asked, have;

	if (!s->inband)
		return 0;
	asked = dpu_cur_le32(&r->c);
	have = dpu_cur_le32(&r->c);
	dpu_cur_copy(&r->c, &a->answer.h, sizeof(a->answer.h));
	dpu_cur_copy(&r->c, &a->answer.p.u64, sizeof(a->answer.p.u64));
	if (r->c.bad || have >= sizeof(a->answer.h) + sizeof(a->answer.p.u64) ||
		(asked && asked != VU_BACKEND_VRING_CALL && asked != VU_BACKEND_VRING_ERR))
		return -EBADMSG;
	a->asked = asked;
	a->have = have;
	return 0;
}

static int load_state(struct reader *r, struct vho_dev *dev)
{
	uint32_t len = dpu_cur_le32(&r->c);
	const uint8_t *at = dpu_cur_take(&r->c, len);

	if (!at || r->c.left || r->next_fd != r->h->n_fds)
		return -EBADMSG;
	return vho_state_load(dev, VHO_STATE_HAND_OVER, at, len);
}

int handover_load(struct vu_session *s, struct vho_dev *dev, struct handover *h, int *listen_fd)
{
	struct reader r = { dpu_cur_init(h->bytes, h->len), h, 0 };
	struct areas a = { 0 };
	int ret;

	*listen_fd = -1;
	s->fd = -1;
	if (h->kind != (uint16_t)dev->type->kind || h->n_queues != dev->n_queues)
		return -EPROTO;
	ret = load_session(&r, s, dev, &a, listen_fd);
	if (ret || s->fd < 0)
		goto out; // nobody was connected: the rest says nothing
	ret = load_memory(&r, dev);
	if (!ret)
		ret = load_areas(dev, &a);
	// The queues are not to start one by one: has_kick and its kin come with load_ring() only
	for (unsigned i = 0; !ret && i < dev->n_queues; i++)
		ret = load_ring(&r, s, &dev->queues[i]);
	if (!ret)
		ret = load_partial(&r, s);
	if (!ret)
		ret = load_answer(&r, s);
	if (!ret)
		ret = load_state(&r, dev);
out:
	if (ret) {
		vu_session_forget(s);
		if (*listen_fd >= 0)
			close(*listen_fd);
		*listen_fd = -1;
	}
	return ret;
}
