// SPDX-License-Identifier: Apache-2.0
/* vhost-user front-end over one Unix socket. */
#include "drv_vu.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dpu_clock.h"

int drv_connect(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint64_t end = dpu_now_ns() + timeout_ms * 1000000ULL;
	int ret;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	for (;;) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return -errno;
		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		ret = -errno;
		close(fd);
		if (dpu_now_ns() >= end || (ret != -ENOENT && ret != -ECONNREFUSED))
			return ret;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
}

int drv_accept(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct pollfd p = { .events = POLLIN };
	int ret;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	p.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p.fd < 0)
		return -errno;
	if (bind(p.fd, (struct sockaddr *)&a, sizeof(a)) || listen(p.fd, 1)) {
		ret = -errno;
		close(p.fd);
		return ret;
	}
	ret = poll(&p, 1, (int)timeout_ms);
	if (ret > 0)
		ret = accept4(p.fd, NULL, NULL, SOCK_CLOEXEC);
	else if (ret == 0)
		ret = -ETIMEDOUT;
	if (ret == -1)
		ret = -errno;
	close(p.fd);
	return ret;
}

/* ---- messages ---- */

int drv_vu_send_raw(struct drv_vu *vu, const void *bytes, size_t len, const int *fds, unsigned n)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * 64)];
		struct cmsghdr align;
	} ctl;
	struct iovec iov = { .iov_len = len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(&iov.iov_base, &bytes, sizeof(bytes)); // sendmsg() only reads
	if (n > 64)
		return -EINVAL;
	if (n) {
		memset(&ctl, 0, sizeof(ctl));
		h.msg_control = ctl.buf;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
	}
	ssize_t r = sendmsg(vu->fd, &h, MSG_NOSIGNAL);

	if (r < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return (size_t)r == len ? 0 : -EIO;
}

int drv_vu_send(struct drv_vu *vu, enum drv_req req, struct drv_msg *m, uint32_t size,
	uint32_t more_flags, const int *fds, unsigned n_fds)
{
	uint8_t wire[sizeof(m->hdr) + sizeof(m->p)]; // no gap between header and payload there

	m->hdr = (struct drv_hdr){ req, DRV_FLAG_VERSION | more_flags, size };
	m->n_fds = 0;
	memcpy(wire, &m->hdr, sizeof(m->hdr));
	memcpy(wire + sizeof(m->hdr), &m->p, size);
	return drv_vu_send_raw(vu, wire, sizeof(m->hdr) + size, fds, n_fds);
}

static void take_fds(struct drv_msg *m, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		m->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fds, CMSG_DATA(c), m->n_fds * sizeof(int));
	}
}

/* Exactly len bytes; descriptors come with the first of them. */
static int recv_all(struct drv_vu *vu, struct drv_msg *m, void *buf, size_t len, int timeout_ms)
{
	char *at = buf;

	while (len) {
		union {
			char buf[CMSG_SPACE(sizeof(int) * DRV_FDS_MAX)];
			struct cmsghdr align;
		} ctl;
		struct iovec iov = { at, len };
		struct msghdr h = { .msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = ctl.buf,
			.msg_controllen = sizeof(ctl.buf) };
		struct pollfd p = { .fd = vu->fd, .events = POLLIN };
		int ready = poll(&p, 1, timeout_ms);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return ready ? -errno : -ETIMEDOUT;
		ssize_t r = recvmsg(vu->fd, &h, MSG_CMSG_CLOEXEC);

		if (r <= 0)
			return r == 0 || errno == ECONNRESET ? -EPIPE : -errno;
		take_fds(m, &h);
		at += r;
		len -= (size_t)r;
	}
	return 0;
}

int drv_vu_recv(struct drv_vu *vu, struct drv_msg *m, int timeout_ms)
{
	int ret;

	m->n_fds = 0;
	ret = recv_all(vu, m, &m->hdr, sizeof(m->hdr), timeout_ms);
	if (ret)
		return ret;
	if (m->hdr.size > sizeof(m->p)) {
		drv_msg_close_fds(m);
		return -EPROTO;
	}
	ret = recv_all(vu, m, &m->p, m->hdr.size, timeout_ms);
	if (ret)
		drv_msg_close_fds(m);
	else if (drv_inspect)
		drv_inspect(&m->p, m->hdr.size);
	return ret;
}

void drv_msg_close_fds(struct drv_msg *m)
{
	for (unsigned i = 0; i < m->n_fds; i++)
		close(m->fds[i]);
	m->n_fds = 0;
}

static bool has_reply(const struct drv_vu *vu, enum drv_req req)
{
	switch (req) {
	case DRV_GET_FEATURES:
	case DRV_GET_PROTOCOL_FEATURES:
	case DRV_GET_VRING_BASE:
	case DRV_GET_QUEUE_NUM:
	case DRV_GET_CONFIG:
	case DRV_GET_INFLIGHT_FD:
	case DRV_GET_MAX_MEM_SLOTS:
	case DRV_GET_STATUS:
		return true;
	case DRV_SET_LOG_BASE:
		return vu->pf & DRV_BIT(DRV_PF_LOG_SHMFD);
	default:
		return false;
	}
}

int drv_vu_call(struct drv_vu *vu, enum drv_req req, struct drv_msg *m, uint32_t size,
	const int *fds, unsigned n_fds)
{
	bool reply = has_reply(vu, req);
	bool ack = !reply && (vu->pf & DRV_BIT(DRV_PF_REPLY_ACK));
	int ret;

	ret = drv_vu_send(vu, req, m, size, ack ? DRV_FLAG_NEED_REPLY : 0, fds, n_fds);
	if (ret || (!reply && !ack))
		return ret;
	ret = drv_vu_recv(vu, m, DRV_TIMEOUT_MS);
	if (ret)
		return ret;
	if (m->hdr.request != req || !(m->hdr.flags & DRV_FLAG_REPLY)) {
		drv_msg_close_fds(m);
		return -EPROTO;
	}
	return ack && (m->hdr.size < 8 || m->p.u64) ? -EREMOTEIO : 0;
}

int drv_vu_set_u64(struct drv_vu *vu, enum drv_req req, uint64_t v)
{
	struct drv_msg m;

	m.p.u64 = v;
	return drv_vu_call(vu, req, &m, 8, NULL, 0);
}

static int get_u64(struct drv_vu *vu, enum drv_req req, uint64_t *v)
{
	struct drv_msg m;
	int ret = drv_vu_call(vu, req, &m, 0, NULL, 0);

	if (ret)
		return ret;
	drv_msg_close_fds(&m);
	*v = m.p.u64;
	return m.hdr.size == 8 ? 0 : -EPROTO;
}

int drv_vu_set_state(struct drv_vu *vu, enum drv_req req, uint32_t idx, uint32_t num)
{
	struct drv_msg m;

	m.p.state.index = idx;
	m.p.state.num = num;
	return drv_vu_call(vu, req, &m, 8, NULL, 0);
}

int drv_vu_set_fd(struct drv_vu *vu, enum drv_req req, uint32_t idx, int fd)
{
	struct drv_msg m;

	m.p.u64 = idx | (fd < 0 ? DRV_VRING_NOFD : 0);
	return drv_vu_call(vu, req, &m, 8, &fd, fd < 0 ? 0 : 1);
}

/* ---- session ---- */

static bool has_iommu(const struct drv_vu *vu)
{
	return vu->features & DRV_BIT(VIRTIO_F_ACCESS_PLATFORM);
}

static struct drv_wire_region wire_region(const struct drv_vu *vu, const struct drv_region *r)
{
	uint64_t gpa = r->gpa + (has_iommu(vu) ? DRV_IOMMU_OFF : 0);

	return (struct drv_wire_region){ gpa, r->size, (uintptr_t)r->host, 0 };
}

int drv_vu_set_mem(struct drv_vu *vu)
{
	struct drv_msg m;
	int fds[DRV_REGIONS_MAX], ret;

	if (vu->conf.mem_slots && (vu->pf & DRV_BIT(DRV_PF_MEM_SLOTS))) {
		for (unsigned i = 0; i < vu->mem->n; i++) {
			m.p.slot.pad = 0;
			m.p.slot.r = wire_region(vu, &vu->mem->r[i]);
			ret = drv_vu_call(
				vu, DRV_ADD_MEM_REG, &m, sizeof(m.p.slot), &vu->mem->r[i].fd, 1);
			if (ret)
				return ret;
		}
		return 0;
	}
	m.p.mem.n = vu->mem->n;
	m.p.mem.pad = 0;
	for (unsigned i = 0; i < vu->mem->n; i++) {
		m.p.mem.r[i] = wire_region(vu, &vu->mem->r[i]);
		fds[i] = vu->mem->r[i].fd;
	}
	return drv_vu_call(vu, DRV_SET_MEM_TABLE, &m,
		(uint32_t)(8 + vu->mem->n * sizeof(m.p.mem.r[0])), fds, vu->mem->n);
}

int drv_vu_get_config(struct drv_vu *vu)
{
	struct drv_msg m;
	uint32_t len = vu->conf.config_len;
	int ret;

	if (!len || !(vu->pf & DRV_BIT(DRV_PF_CONFIG)))
		return 0;
	memset(&m.p.config, 0, sizeof(m.p.config));
	m.p.config.size = len;
	ret = drv_vu_call(vu, DRV_GET_CONFIG, &m, 12 + len, NULL, 0);
	if (ret)
		return ret;
	if (m.hdr.size < 12 + len)
		return -EPROTO;
	memcpy(vu->config, m.p.config.data, len);
	return 0;
}

static void close_channel(struct drv_vu *vu)
{
	if (vu->backend_fd >= 0)
		close(vu->backend_fd);
	vu->backend_fd = -1;
}

static int give_channel(struct drv_vu *vu)
{
	struct drv_msg m;
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	ret = drv_vu_call(vu, DRV_SET_BACKEND_REQ_FD, &m, 0, &pair[1], 1);
	close(pair[1]);
	close_channel(vu); // of the session before
	vu->backend_fd = pair[0];
	return ret;
}

int drv_vu_backend_wait(struct drv_vu *vu, int timeout_ms)
{
	struct drv_vu channel = { .fd = vu->backend_fd };
	struct drv_msg m;
	int ret;

	if (vu->backend_fd < 0)
		return -ENOTCONN;
	ret = drv_vu_recv(&channel, &m, timeout_ms);
	if (ret)
		return ret;
	drv_msg_close_fds(&m);
	return m.hdr.flags & DRV_FLAG_REPLY ? -EPROTO : (int)m.hdr.request;
}

bool drv_vu_is_inband(const struct drv_vu *vu)
{
	return vu->pf & DRV_BIT(DRV_PF_INBAND);
}

int drv_vu_inband_wait(struct drv_vu *vu, unsigned *idx, int timeout_ms)
{
	struct drv_vu channel = { .fd = vu->backend_fd };
	struct drv_msg m;
	uint32_t request;
	int ret;

	if (vu->backend_fd < 0)
		return -ENOTCONN;
	ret = drv_vu_recv(&channel, &m, timeout_ms);
	if (ret)
		return ret;
	request = m.hdr.request;
	drv_msg_close_fds(&m);
	if (request != DRV_BACKEND_VRING_CALL && request != DRV_BACKEND_VRING_ERR)
		return m.hdr.flags & DRV_FLAG_REPLY ? -EPROTO : (int)request;
	if (m.hdr.flags != (DRV_FLAG_VERSION | DRV_FLAG_NEED_REPLY) || m.hdr.size != 8 ||
		m.p.state.num != 0)
		return -EPROTO;
	*idx = m.p.state.index;
	m.p.u64 = 0;
	ret = drv_vu_send(&channel, request, &m, 8, DRV_FLAG_REPLY, NULL, 0);
	return ret ? ret : (int)request;
}

static int negotiate_protocol(struct drv_vu *vu)
{
	uint64_t off = vu->conf.pf_off;
	const uint64_t know = DRV_BIT(DRV_PF_MQ) | DRV_BIT(DRV_PF_LOG_SHMFD) |
			      DRV_BIT(DRV_PF_REPLY_ACK) | DRV_BIT(DRV_PF_MTU) |
			      DRV_BIT(DRV_PF_CONFIG) | DRV_BIT(DRV_PF_INFLIGHT_SHMFD) |
			      DRV_BIT(DRV_PF_RESET_DEVICE) | DRV_BIT(DRV_PF_MEM_SLOTS) |
			      DRV_BIT(DRV_PF_STATUS) | DRV_BIT(DRV_PF_RARP) |
			      DRV_BIT(DRV_PF_BACKEND_REQ) | DRV_BIT(DRV_PF_INBAND);
	int ret;

	vu->n_queues = 1;
	if (!(vu->offered & DRV_F_PROTOCOL))
		return 0;
	ret = get_u64(vu, DRV_GET_PROTOCOL_FEATURES, &vu->pf_offered);
	if (ret)
		return ret;
	if (!vu->conf.inflight)
		off |= DRV_BIT(DRV_PF_INFLIGHT_SHMFD);
	if (!vu->conf.backend_req && !vu->conf.inband)
		off |= DRV_BIT(DRV_PF_BACKEND_REQ);
	if (!vu->conf.inband)
		off |= DRV_BIT(DRV_PF_INBAND);
	ret = drv_vu_set_u64(vu, DRV_SET_PROTOCOL_FEATURES, vu->pf_offered & know & ~off);
	if (ret)
		return ret;
	vu->pf = vu->pf_offered & know & ~off;
	if (vu->pf & DRV_BIT(DRV_PF_MQ))
		ret = get_u64(vu, DRV_GET_QUEUE_NUM, &vu->n_queues);
	return ret || !(vu->pf & DRV_BIT(DRV_PF_BACKEND_REQ)) ? ret : give_channel(vu);
}

static int set_status(struct drv_vu *vu, uint8_t status)
{
	return vu->pf & DRV_BIT(DRV_PF_STATUS) ? drv_vu_set_u64(vu, DRV_SET_STATUS, status) : 0;
}

static int negotiate(struct drv_vu *vu)
{
	struct drv_msg m;
	int ret;

	vu->pf = 0;
	ret = drv_vu_call(vu, DRV_SET_OWNER, &m, 0, NULL, 0);
	if (!ret)
		ret = get_u64(vu, DRV_GET_FEATURES, &vu->offered);
	if (!ret)
		ret = negotiate_protocol(vu);
	if (!ret)
		ret = set_status(vu, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	if (ret)
		return ret;
	vu->features = vu->offered & (vu->conf.want | DRV_F_PROTOCOL);
	ret = drv_vu_set_u64(vu, DRV_SET_FEATURES, vu->features);
	if (!ret)
		ret = set_status(vu, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
					     VIRTIO_CONFIG_S_FEATURES_OK);
	if (!ret)
		ret = drv_vu_get_config(vu);
	return ret ? ret : drv_vu_set_mem(vu);
}

int drv_vu_open(struct drv_vu *vu, const struct drv_vu_conf *conf, struct drv_mem *mem)
{
	int ret;

	*vu = (struct drv_vu){
		.conf = *conf, .fd = -1, .mem = mem, .backend_fd = -1, .inflight_fd = -1
	};
	if (strlen(conf->path) >= sizeof(vu->path))
		return -ENAMETOOLONG;
	memcpy(vu->path, conf->path, strlen(conf->path) + 1);
	vu->fd = conf->listen ? drv_accept(vu->path, DRV_TIMEOUT_MS)
			      : drv_connect(vu->path, DRV_TIMEOUT_MS);
	if (vu->fd < 0)
		return vu->fd;
	ret = negotiate(vu);
	if (ret)
		drv_vu_close(vu);
	return ret;
}

int drv_vu_driver_ok(struct drv_vu *vu)
{
	return set_status(vu, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				      VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

static int send_inflight(struct drv_vu *vu)
{
	struct drv_msg m;

	memset(&m.p.inflight, 0, sizeof(m.p.inflight));
	m.p.inflight.size = vu->inflight_size;
	m.p.inflight.off = vu->inflight_off;
	m.p.inflight.n_queues = vu->inflight_queues;
	m.p.inflight.queue_size = vu->inflight_queue_size;
	return drv_vu_call(vu, DRV_SET_INFLIGHT_FD, &m, sizeof(m.p.inflight), &vu->inflight_fd, 1);
}

int drv_vu_inflight(struct drv_vu *vu, uint16_t n, uint16_t size)
{
	struct drv_msg m;
	int ret;

	if (!(vu->pf & DRV_BIT(DRV_PF_INFLIGHT_SHMFD)))
		return 0;
	memset(&m.p.inflight, 0, sizeof(m.p.inflight));
	m.p.inflight.n_queues = n;
	m.p.inflight.queue_size = size;
	ret = drv_vu_call(vu, DRV_GET_INFLIGHT_FD, &m, sizeof(m.p.inflight), NULL, 0);
	if (ret)
		return ret;
	if (m.n_fds != 1 || m.p.inflight.size == 0) {
		drv_msg_close_fds(&m);
		return -EPROTO;
	}
	vu->inflight_fd = m.fds[0];
	vu->inflight_size = m.p.inflight.size;
	vu->inflight_off = m.p.inflight.off;
	vu->inflight_queues = n;
	vu->inflight_queue_size = size;
	return send_inflight(vu);
}

/* A part of a ring as the back-end is told of it. */
static uint64_t part_addr(const struct drv_vu *vu, const volatile void *p)
{
	return has_iommu(vu) ? drv_mem_gpa(vu->mem, (const void *)(uintptr_t)p) : (uintptr_t)p;
}

static int ring_addr(struct drv_vu *vu, unsigned idx, const struct drv_ring *r)
{
	struct drv_msg m;

	memset(&m.p.addr, 0, sizeof(m.p.addr));
	m.p.addr.index = idx;
	m.p.addr.desc = part_addr(vu, r->packed ? (const volatile void *)r->pdesc : r->desc);
	m.p.addr.avail = part_addr(
		vu, r->packed ? (const volatile void *)r->driver_event : r->avail);
	m.p.addr.used = part_addr(vu, r->packed ? (const volatile void *)r->device_event : r->used);
	return drv_vu_call(vu, DRV_SET_VRING_ADDR, &m, sizeof(m.p.addr), NULL, 0);
}

static int ring_start(struct drv_vu *vu, unsigned idx, struct drv_ring *r, uint32_t base)
{
	int ret = drv_vu_set_state(vu, DRV_SET_VRING_NUM, idx, r->size);
	bool inband = drv_vu_is_inband(vu);

	if (!ret)
		ret = drv_vu_set_state(vu, DRV_SET_VRING_BASE, idx, base);
	if (!ret)
		ret = ring_addr(vu, idx, r);
	if (!ret && !inband)
		ret = drv_vu_set_fd(vu, DRV_SET_VRING_ERR, idx, r->err_fd);
	if (!ret && !inband)
		ret = drv_vu_set_fd(vu, DRV_SET_VRING_CALL, idx, r->call_fd);
	if (!ret && !inband)
		ret = drv_vu_set_fd(vu, DRV_SET_VRING_KICK, idx, r->kick_fd);
	if (!ret && (vu->features & DRV_F_PROTOCOL))
		ret = drv_vu_set_state(vu, DRV_SET_VRING_ENABLE, idx, 1);
	return ret;
}

int drv_vu_ring_start_at(struct drv_vu *vu, unsigned idx, struct drv_ring *r, uint32_t base)
{
	int ret;

	if (idx >= DRV_QUEUES_MAX)
		return -EINVAL;
	ret = ring_start(vu, idx, r, base);
	if (!ret)
		vu->rings[idx] = r;
	return ret;
}

int drv_vu_ring_start(struct drv_vu *vu, unsigned idx, struct drv_ring *r)
{
	// What was used so far is what the device has seen: all that is outstanding is new to it.
	return drv_vu_ring_start_at(vu, idx, r, drv_ring_crash_base(r));
}

int64_t drv_vu_ring_stop(struct drv_vu *vu, unsigned idx)
{
	struct drv_msg m;
	int ret;

	m.p.state.index = idx;
	m.p.state.num = 0;
	ret = drv_vu_call(vu, DRV_GET_VRING_BASE, &m, 8, NULL, 0);
	if (idx < DRV_QUEUES_MAX)
		vu->rings[idx] = NULL;
	return ret ? ret : (int64_t)m.p.state.num;
}

void drv_vu_drop(struct drv_vu *vu)
{
	if (vu->fd >= 0)
		close(vu->fd);
	vu->fd = -1;
}

static int resume(struct drv_vu *vu)
{
	int ret = negotiate(vu);

	if (!ret && vu->inflight_fd >= 0)
		ret = send_inflight(vu);
	for (unsigned i = 0; !ret && i < DRV_QUEUES_MAX; i++)
		if (vu->rings[i]) {
			struct drv_ring *r = vu->rings[i];

			ret = ring_start(vu, i, r, drv_ring_crash_base(r));
			drv_ring_kick_always(r);
		}
	return ret ? ret : drv_vu_driver_ok(vu);
}

int drv_vu_reconnect(struct drv_vu *vu, unsigned timeout_ms)
{
	uint64_t end = dpu_now_ns() + timeout_ms * 1000000ULL;
	int ret;

	do {
		drv_vu_drop(vu);
		ret = drv_connect(vu->path, timeout_ms);
		if (ret < 0)
			return ret;
		vu->fd = ret;
		ret = resume(vu);
		// It may die again, or still hold the socket of a process on its way out.
	} while ((ret == -EPIPE || ret == -ENOTCONN) && dpu_now_ns() < end);
	return ret;
}

bool drv_vu_alive(const struct drv_vu *vu)
{
	struct pollfd p = { .fd = vu->fd, .events = POLLIN | POLLRDHUP };

	return vu->fd >= 0 &&
	       !(poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR)));
}

int drv_vu_peer(const struct drv_vu *vu)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(vu->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) ? -errno : (int)peer.pid;
}

static void inspect_inflight(const struct drv_vu *vu)
{
	size_t len = vu->inflight_off + vu->inflight_size;
	void *p = mmap(NULL, len, PROT_READ, MAP_SHARED, vu->inflight_fd, 0);

	if (p == MAP_FAILED)
		return;
	drv_inspect_file(vu->inflight_fd, p, len);
	munmap(p, len);
}

void drv_vu_close(struct drv_vu *vu)
{
	drv_vu_drop(vu);
	close_channel(vu);
	if (vu->inflight_fd >= 0) {
		if (drv_inspect)
			inspect_inflight(vu);
		close(vu->inflight_fd);
	}
	vu->inflight_fd = -1;
}
