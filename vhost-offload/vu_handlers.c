// SPDX-License-Identifier: Apache-2.0
/* What each vhost-user request does: check everything, then change the device. */
#include "vu_session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dpu_log.h"
#include "iommu.h"
#include "postcopy.h"
#include "vu_fd.h"
#include "vu_inband.h"
#include "vu_notifier.h"
#include "vu_postcopy.h"
#include "vu_state.h"

#define BIT(n) (1ull << (n))
#define TRANSPORT_FEATURES (BIT(VU_F_LOG_ALL) | BIT(VU_F_PROTOCOL_FEATURES))
#define NOTIFIER_FEATURES (BIT(VU_PF_BACKEND_SEND_FD) | BIT(VU_PF_HOST_NOTIFIER))
#define VRING_F_LOG 1u // VHOST_VRING_F_LOG

/* Move a message's only fd out of it. */
static int take_fd(struct vu_msg *m)
{
	int fd = m->fds[0];

	m->fds[0] = -1;
	return fd;
}

static int answer_u64(struct vu_msg *m, uint64_t v)
{
	m->h.size = sizeof(m->p.u64);
	m->p.u64 = v;
	return 0;
}

static struct vho_dev_queue *queue_at(struct vu_session *s, uint32_t idx)
{
	return idx < s->dev->n_queues ? &s->dev->queues[idx] : NULL;
}

/* ---- features and ownership ---- */

static int get_features(struct vu_session *s, struct vu_msg *m)
{
	return answer_u64(m, s->dev->features_offered | TRANSPORT_FEATURES);
}

static int set_features(struct vu_session *s, struct vu_msg *m)
{
	struct vho_dev *dev = s->dev;
	uint64_t features = m->p.u64 & ~TRANSPORT_FEATURES;
	int ret;

	if (features & ~dev->features_offered)
		return -EINVAL;
	s->has_protocol = m->p.u64 & BIT(VU_F_PROTOCOL_FEATURES);
	if (!dev->features_set || features != dev->features) {
		// Rings that run were laid out for the old features: they come up again by the new
		if (vho_dev_any_started(dev))
			vho_dev_stop_all(dev);
		ret = vho_dev_set_features(dev, features);
		if (ret < 0)
			return ret;
	}
	// Migration switches logging in this way while the rings run
	vho_dev_set_log_on(dev, m->p.u64 & BIT(VU_F_LOG_ALL));
	for (unsigned i = 0; !s->has_protocol && i < dev->n_queues; i++)
		if (!dev->queues[i].enabled)
			(void)vho_dev_queue_enable(dev, i, true);
	vho_dev_start_all(dev);
	return 0;
}

static int set_owner(struct vu_session *s, struct vu_msg *m)
{
	(void)s;
	(void)m;
	return 0;
}

/* Deprecated; the specification lets it disable all rings. */
static int reset_owner(struct vu_session *s, struct vu_msg *m)
{
	(void)m;
	vho_dev_stop_all(s->dev);
	for (unsigned i = 0; i < s->dev->n_queues; i++)
		(void)vho_dev_queue_enable(s->dev, i, false);
	return 0;
}

/*
 * CONFIG for NICs too, though QEMU 7.2 warns at each connection that it has no use for it there:
 * other front-ends learn address, MTU and number of queue pairs from configuration space. The same
 * QEMU acks INBAND_NOTIFICATIONS and gives descriptors all the same, which are preferred.
 */
static uint64_t protocol_offered(const struct vho_dev *dev)
{
	uint64_t bits = BIT(VU_PF_MQ) | BIT(VU_PF_LOG_SHMFD) | BIT(VU_PF_REPLY_ACK) |
			BIT(VU_PF_BACKEND_REQ) | BIT(VU_PF_CONFIG) | BIT(VU_PF_INFLIGHT_SHMFD) |
			BIT(VU_PF_RESET_DEVICE) | BIT(VU_PF_INBAND_NOTIFICATIONS) |
			BIT(VU_PF_CONFIGURE_MEM_SLOTS) | BIT(VU_PF_STATUS) |
			BIT(VU_PF_DEVICE_STATE);

	if (dev->notifiers)
		bits |= NOTIFIER_FEATURES;
	if (dev->type->set_mtu)
		bits |= BIT(VU_PF_MTU);
	if (dev->type->send_rarp)
		bits |= BIT(VU_PF_RARP);
	if (vho_postcopy_supported())
		bits |= BIT(VU_PF_PAGEFAULT);
	return bits;
}

static int get_protocol_features(struct vu_session *s, struct vu_msg *m)
{
	return answer_u64(m, protocol_offered(s->dev));
}

static int set_protocol_features(struct vu_session *s, struct vu_msg *m)
{
	const uint64_t inband_needs = BIT(VU_PF_BACKEND_REQ) | BIT(VU_PF_REPLY_ACK);
	uint64_t bits = m->p.u64;

	if ((bits & BIT(VU_PF_INBAND_NOTIFICATIONS)) && (bits & inband_needs) != inband_needs)
		return VU_CLOSE; // "In-band notifications" names this answer
	if (bits & ~protocol_offered(s->dev))
		return -EINVAL;
	if (!(bits & BIT(VU_PF_INBAND_NOTIFICATIONS)))
		vu_inband_close(s);
	else if (vu_inband_open(s) < 0)
		return -ENOMEM;
	s->dev->protocol_features = bits;
	return vu_notifier_features(s);
}

/*
 * Virtqueues, as the specification words it. Front-ends that count queue pairs see twice their
 * number, those that count rings see the right one; a ring that is not there is refused by index.
 */
static int get_queue_num(struct vu_session *s, struct vu_msg *m)
{
	unsigned n = s->dev->n_queues;

	return answer_u64(m, s->dev->type->kind == VHO_DEV_NET && n > 1 ? n & ~1u : n);
}

/* VIRTIO 1.3, 2.1: writing 0 resets the device. */
static int set_status(struct vu_session *s, struct vu_msg *m)
{
	if (m->p.u64 > UINT8_MAX)
		return -EINVAL;
	if (m->p.u64 == 0)
		vho_dev_reset_status(s->dev);
	s->dev->status = (uint8_t)m->p.u64;
	return 0;
}

static int get_status(struct vu_session *s, struct vu_msg *m)
{
	struct vho_dev_info info;

	vho_dev_info(s->dev, &info);
	return answer_u64(
		m, s->dev->status | (info.needs_reset ? VIRTIO_CONFIG_S_NEEDS_RESET : 0u));
}

static int reset_device(struct vu_session *s, struct vu_msg *m)
{
	(void)m;
	vho_dev_reset(s->dev);
	return 0;
}

/* ---- memory ---- */

static struct vho_mem_region region_of(const struct vu_region *r)
{
	return (struct vho_mem_region){
		.gpa = r->gpa, .size = r->size, .uva = r->uva, .mmap_off = r->mmap_off
	};
}

static int set_mem_table(struct vu_session *s, struct vu_msg *m)
{
	struct vu_table *t = &m->p.table;
	struct vho_mem_region regions[VU_TABLE_MAX];
	struct vho_mem *mem;
	int ret;

	if (t->n == 0 || t->n > VU_TABLE_MAX || t->n != m->n_fds)
		return -EINVAL;
	if (m->h.size < 8 + t->n * sizeof(t->region[0]))
		return -EMSGSIZE;
	for (uint32_t i = 0; i < t->n; i++)
		regions[i] = region_of(&t->region[i]);
	ret = vho_mem_create(regions, m->fds, t->n, &mem);
	if (ret < 0)
		return ret; // the old table stays
	ret = vu_postcopy_set_mem(s, m, mem, t->region, t->n);
	if (ret < 0)
		vho_mem_put(mem);
	return ret;
}

static int get_max_mem_slots(struct vu_session *s, struct vu_msg *m)
{
	(void)s;
	return answer_u64(m, VHO_MEM_REGIONS_MAX);
}

static int add_mem_reg(struct vu_session *s, struct vu_msg *m)
{
	struct vho_mem_region r = region_of(&m->p.region.region);
	struct vho_mem *mem;
	int ret;

	if (vho_mem_again(s->dev->mem, &r, m->fds[0]))
		return vu_postcopy_set_mem(s, m, s->dev->mem, &m->p.region.region, 1);
	ret = vho_mem_with(s->dev->mem, &r, m->fds[0], &mem);
	if (ret < 0)
		return ret;
	ret = vu_postcopy_set_mem(s, m, mem, &m->p.region.region, 1);
	if (ret < 0)
		vho_mem_put(mem);
	return ret;
}

static int rem_mem_reg(struct vu_session *s, struct vu_msg *m)
{
	struct vho_mem_region r = region_of(&m->p.region.region);
	struct vho_mem *mem;
	int ret;

	if (vho_mem_forget(s->dev->mem, &r))
		return 0;
	ret = s->dev->mem ? vho_mem_without(s->dev->mem, &r, &mem) : -ENOENT;
	if (ret < 0)
		return ret;
	ret = vu_postcopy_set_mem(s, m, mem, NULL, 0);
	if (ret < 0)
		vho_mem_put(mem);
	return ret;
}

/* ---- dirty log ---- */

static int set_log_base(struct vu_session *s, struct vu_msg *m)
{
	int ret = vho_dev_open_log(s->dev, m->fds[0], m->p.log.off, m->p.log.size);

	return ret < 0 ? ret : answer_u64(m, 0);
}

/* An eventfd that nobody needs to be told by: front-ends poll the log. */
static int set_log_fd(struct vu_session *s, struct vu_msg *m)
{
	(void)s;
	(void)m;
	return 0;
}

/* ---- rings ---- */

static int set_vring_num(struct vu_session *s, struct vu_msg *m)
{
	struct vho_dev_queue *dq = queue_at(s, m->p.state.index);

	if (!dq || m->p.state.num == 0 || m->p.state.num > VHO_QUEUE_SIZE_MAX)
		return -EINVAL;
	if (dq->started)
		return -EBUSY;
	dq->size = m->p.state.num;
	return vho_dev_queue_try_start(s->dev, m->p.state.index);
}

/* Comes for running rings too: migration switches the log of the used ring by its flag. */
static int set_vring_addr(struct vu_session *s, struct vu_msg *m)
{
	const struct vu_vring_addr *a = &m->p.addr;
	struct vho_dev_queue *dq = queue_at(s, a->index);

	if (!dq || a->desc == 0 || a->avail == 0 || a->used == 0)
		return -EINVAL;
	vho_dev_queue_stop(s->dev, a->index);
	dq->desc_uva = a->desc;
	dq->driver_uva = a->avail;
	dq->device_uva = a->used;
	dq->log_used = a->flags & VRING_F_LOG;
	dq->log_gpa = a->log;
	dq->has_addr = true;
	return vho_dev_queue_try_start(s->dev, a->index);
}

static int set_vring_base(struct vu_session *s, struct vu_msg *m)
{
	if (!queue_at(s, m->p.state.index))
		return -EINVAL;
	return vho_dev_queue_set_base(s->dev, m->p.state.index, m->p.state.num);
}

static int get_vring_base(struct vu_session *s, struct vu_msg *m)
{
	if (!queue_at(s, m->p.state.index))
		return -EINVAL;
	vu_notifier_stop(s, m->p.state.index);
	m->p.state.num = vho_dev_queue_retire(s->dev, m->p.state.index);
	vu_inband_stopped(s, m->p.state.index);
	m->h.size = sizeof(m->p.state);
	return 0;
}

static int set_vring_enable(struct vu_session *s, struct vu_msg *m)
{
	if (!queue_at(s, m->p.state.index) || m->p.state.num > 1)
		return -EINVAL;
	return vho_dev_queue_enable(s->dev, m->p.state.index, m->p.state.num == 1);
}

/*
 * The ring and the fd of a KICK, CALL or ERR message. On success *fd is -1 or the caller's, and
 * the result the ring's index.
 */
static int vring_fd(struct vu_session *s, struct vu_msg *m, int *fd)
{
	uint64_t v = m->p.u64;
	uint32_t idx = v & VU_VRING_IDX_MASK;

	if (v & ~(uint64_t)(VU_VRING_IDX_MASK | VU_VRING_NOFD))
		return -EINVAL;
	if (idx >= s->dev->n_queues || m->n_fds != (v & VU_VRING_NOFD ? 0 : 1))
		return -EINVAL;
	if (m->n_fds == 1 && !vu_fd_is_eventfd(m->fds[0]))
		return -EINVAL;
	*fd = m->n_fds == 1 ? take_fd(m) : -1;
	return (int)idx;
}

static int set_vring_kick(struct vu_session *s, struct vu_msg *m)
{
	int fd, idx = vring_fd(s, m, &fd), ret;

	if (idx < 0)
		return idx;
	vho_dev_queue_set_kick(s->dev, (unsigned)idx, fd);
	ret = vu_inband_ring(s, (unsigned)idx);
	return ret ? ret : vho_dev_queue_try_start(s->dev, (unsigned)idx);
}

static int set_vring_call(struct vu_session *s, struct vu_msg *m)
{
	int fd, idx = vring_fd(s, m, &fd);

	if (idx < 0)
		return idx;
	vu_inband_told(s, (unsigned)idx, VU_INBAND_CALL);
	vho_dev_queue_set_call(s->dev, (unsigned)idx, fd);
	return 0;
}

static int set_vring_err(struct vu_session *s, struct vu_msg *m)
{
	int fd, idx = vring_fd(s, m, &fd);

	if (idx < 0)
		return idx;
	vu_inband_told(s, (unsigned)idx, VU_INBAND_ERR);
	vho_dev_queue_set_err(s->dev, (unsigned)idx, fd);
	return 0;
}

/* ---- network ---- */

static int send_rarp(struct vu_session *s, struct vu_msg *m)
{
	return s->dev->type->send_rarp ? s->dev->type->send_rarp(s->dev, m->p.bytes) : -EOPNOTSUPP;
}

/* VIRTIO 1.3, 5.1.4.1: 68 to 65535. */
static int net_set_mtu(struct vu_session *s, struct vu_msg *m)
{
	if (!s->dev->type->set_mtu)
		return -EOPNOTSUPP;
	if (m->p.u64 < 68 || m->p.u64 > UINT16_MAX)
		return -EINVAL;
	return s->dev->type->set_mtu(s->dev, (uint16_t)m->p.u64);
}

/* ---- configuration space ---- */

static bool config_fits(const struct vu_msg *m)
{
	const struct vu_config *c = &m->p.config;

	return c->off <= VU_CONFIG_MAX && c->size <= VU_CONFIG_MAX - c->off &&
	       m->h.size == offsetof(struct vu_config, bytes) + c->size;
}

/* An answer without payload is the error. */
static int get_config(struct vu_session *s, struct vu_msg *m)
{
	struct vu_config *c = &m->p.config;

	if (config_fits(m) && c->size > 0)
		s->dev->type->config_read(s->dev, c->off, c->bytes, c->size);
	else
		m->h.size = 0;
	return 0;
}

static int set_config(struct vu_session *s, struct vu_msg *m)
{
	const struct vu_config *c = &m->p.config;

	if (!config_fits(m) || c->size == 0 || c->flags > 1)
		return -EINVAL;
	if (!s->dev->type->config_write)
		return -EINVAL;
	return s->dev->type->config_write(s->dev, c->off, c->bytes, c->size);
}

/* ---- requests in flight, requests of ours ---- */

static bool packed(const struct vho_dev *dev)
{
	return dev->features & BIT(VIRTIO_F_RING_PACKED);
}

static bool inflight_fits(const struct vu_session *s, const struct vu_inflight *i)
{
	return i->n_queues > 0 && i->n_queues <= s->dev->n_queues && i->queue_size > 0 &&
	       i->queue_size <= VHO_QUEUE_SIZE_MAX;
}

/*
 * Makes a region and gives it away: it comes back with SET_INFLIGHT_FD, so nothing is kept here
 * however often this is asked (VU-03).
 */
static int get_inflight_fd(struct vu_session *s, struct vu_msg *m)
{
	struct vu_inflight *i = &m->p.inflight;
	struct vho_inflight *inf;
	int ret;

	if (!inflight_fits(s, i))
		return -EINVAL;
	ret = vho_inflight_create(i->n_queues, i->queue_size, packed(s->dev), &inf);
	if (ret < 0)
		return ret;
	m->reply_fd = fcntl(inf->fd, F_DUPFD_CLOEXEC, 0);
	ret = m->reply_fd < 0 ? -errno : 0;
	i->mmap_size = inf->size;
	i->mmap_off = 0;
	vho_inflight_destroy(inf);
	return ret; // the answer is as long as the question
}

static int set_inflight_fd(struct vu_session *s, struct vu_msg *m)
{
	const struct vu_inflight *i = &m->p.inflight;
	struct vho_inflight *inf;
	int ret;

	if (!inflight_fits(s, i))
		return -EINVAL;
	ret = vho_inflight_open(m->fds[0], i->mmap_off, i->mmap_size, i->n_queues, i->queue_size,
		packed(s->dev), &inf);
	if (ret < 0)
		return ret;
	vho_dev_set_inflight(s->dev, inf);
	return 0;
}

static int set_backend_req_fd(struct vu_session *s, struct vu_msg *m)
{
	socklen_t len = sizeof(int);
	int domain;

	// Not fstat(2), for which some file systems ask a process of the front-end's
	if (getsockopt(m->fds[0], SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain != AF_UNIX)
		return -EINVAL;
	vu_session_set_channel(s, take_fd(m));
	return 0;
}

/* ---- the guest's IOMMU ---- */

static int iotlb_msg(struct vu_session *s, struct vu_msg *m)
{
	const struct vu_iotlb *i = &m->p.iotlb;
	int ret;

	if (i->type == VU_IOTLB_UPDATE)
		return vho_iommu_update(s->dev, i->iova, i->size, i->uva, i->perm);
	if (i->type != VU_IOTLB_INVALIDATE)
		return -EINVAL;
	ret = vho_iommu_invalidate(s->dev, i->iova, i->size);
	s->held = ret == 0 && (m->h.flags & VU_FLAG_NEED_REPLY) && !vho_iommu_drained(s->dev);
	return ret;
}

/* ---- the table ---- */

#define NONE 0, 0
#define U64 sizeof(uint64_t), sizeof(uint64_t)
#define STATE sizeof(struct vu_vring_state), sizeof(struct vu_vring_state)
#define ADDR sizeof(struct vu_vring_addr), sizeof(struct vu_vring_addr)
#define TABLE 8, sizeof(struct vu_table)
#define REGION sizeof(struct vu_single_region), sizeof(struct vu_single_region)
#define LOG sizeof(struct vu_log), sizeof(struct vu_log)
#define CONFIG offsetof(struct vu_config, bytes), sizeof(struct vu_config)
#define INFLIGHT offsetof(struct vu_inflight, padding), sizeof(struct vu_inflight)
#define IOTLB offsetof(struct vu_iotlb, padding), sizeof(struct vu_iotlb)
#define TRANSFER sizeof(struct vu_transfer), sizeof(struct vu_transfer)

/* function, payload min and max, fds min and max, has an answer, needs protocol features */
static const struct vu_handler table[VU_REQUESTS] = {
	[VU_GET_FEATURES] = { get_features, NONE, 0, 0, true, 0 },
	[VU_SET_FEATURES] = { set_features, U64, 0, 0, false, 0 },
	[VU_SET_OWNER] = { set_owner, NONE, 0, 0, false, 0 },
	[VU_RESET_OWNER] = { reset_owner, NONE, 0, 0, false, 0 },
	[VU_SET_MEM_TABLE] = { set_mem_table, TABLE, 1, 8, false, 0 },
	[VU_SET_LOG_BASE] = { set_log_base, LOG, 1, 1, true, BIT(VU_PF_LOG_SHMFD) },
	[VU_SET_LOG_FD] = { set_log_fd, NONE, 0, 1, false, 0 },
	[VU_SET_VRING_NUM] = { set_vring_num, STATE, 0, 0, false, 0 },
	[VU_SET_VRING_ADDR] = { set_vring_addr, ADDR, 0, 0, false, 0 },
	[VU_SET_VRING_BASE] = { set_vring_base, STATE, 0, 0, false, 0 },
	[VU_GET_VRING_BASE] = { get_vring_base, STATE, 0, 0, true, 0 },
	[VU_SET_VRING_KICK] = { set_vring_kick, U64, 0, 1, false, 0 },
	[VU_SET_VRING_CALL] = { set_vring_call, U64, 0, 1, false, 0 },
	[VU_SET_VRING_ERR] = { set_vring_err, U64, 0, 1, false, 0 },
	[VU_GET_PROTOCOL_FEATURES] = { get_protocol_features, NONE, 0, 0, true, 0 },
	[VU_SET_PROTOCOL_FEATURES] = { set_protocol_features, U64, 0, 0, false, 0 },
	[VU_GET_QUEUE_NUM] = { get_queue_num, NONE, 0, 0, true, BIT(VU_PF_MQ) },
	[VU_SET_VRING_ENABLE] = { set_vring_enable, STATE, 0, 0, false, 0 },
	[VU_SEND_RARP] = { send_rarp, U64, 0, 0, false, BIT(VU_PF_RARP) },
	[VU_NET_SET_MTU] = { net_set_mtu, U64, 0, 0, false, BIT(VU_PF_MTU) },
	[VU_SET_BACKEND_REQ_FD] = { set_backend_req_fd, NONE, 1, 1, false, BIT(VU_PF_BACKEND_REQ) },
	[VU_IOTLB_MSG] = { iotlb_msg, IOTLB, 0, 0, false, 0 },
	[VU_GET_CONFIG] = { get_config, CONFIG, 0, 0, true, BIT(VU_PF_CONFIG) },
	[VU_SET_CONFIG] = { set_config, CONFIG, 0, 0, false, BIT(VU_PF_CONFIG) },
	[VU_GET_INFLIGHT_FD] = { get_inflight_fd, INFLIGHT, 0, 0, true, BIT(VU_PF_INFLIGHT_SHMFD) },
	[VU_SET_INFLIGHT_FD] = { set_inflight_fd, INFLIGHT, 1, 1, false,
		BIT(VU_PF_INFLIGHT_SHMFD) },
	[VU_RESET_DEVICE] = { reset_device, NONE, 0, 0, false, BIT(VU_PF_RESET_DEVICE) },
	[VU_VRING_KICK] = { vu_inband_kick, STATE, 0, 0, false, BIT(VU_PF_INBAND_NOTIFICATIONS) },
	[VU_GET_MAX_MEM_SLOTS] = { get_max_mem_slots, NONE, 0, 0, true,
		BIT(VU_PF_CONFIGURE_MEM_SLOTS) },
	[VU_ADD_MEM_REG] = { add_mem_reg, REGION, 1, 1, false, BIT(VU_PF_CONFIGURE_MEM_SLOTS) },
	// One fd is tolerated and closed: some front-ends send it
	[VU_REM_MEM_REG] = { rem_mem_reg, REGION, 0, 1, false, BIT(VU_PF_CONFIGURE_MEM_SLOTS) },
	[VU_SET_STATUS] = { set_status, U64, 0, 0, false, BIT(VU_PF_STATUS) },
	[VU_GET_STATUS] = { get_status, NONE, 0, 0, true, BIT(VU_PF_STATUS) },
	[VU_POSTCOPY_ADVISE] = { vu_postcopy_advise, NONE, 0, 0, true, BIT(VU_PF_PAGEFAULT) },
	[VU_POSTCOPY_LISTEN] = { vu_postcopy_listen, NONE, 0, 0, false, BIT(VU_PF_PAGEFAULT) },
	[VU_POSTCOPY_END] = { vu_postcopy_end, NONE, 0, 0, true, BIT(VU_PF_PAGEFAULT),
		.refusal = 1 },
	[VU_SET_DEVICE_STATE_FD] = { vu_set_device_state_fd, TRANSFER, 1, 1, true,
		BIT(VU_PF_DEVICE_STATE), .refusal = VU_STATE_ERROR | VU_STATE_NOFD },
	[VU_CHECK_DEVICE_STATE] = { vu_check_device_state, NONE, 0, 0, true,
		BIT(VU_PF_DEVICE_STATE), .refusal = VU_STATE_ERROR },
};

const struct vu_handler *vu_handler(uint32_t request)
{
	return request < VU_REQUESTS && table[request].fn ? &table[request] : NULL;
}
