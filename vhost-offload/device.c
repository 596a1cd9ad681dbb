// SPDX-License-Identifier: Apache-2.0
/* The part of a virtio function that every type and every transport shares. */
#include "device.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dpu_alloc.h"
#include "dpu_log.h"
#include "iommu.h"
#include "postcopy.h"

#define LOG_PAGE 4096u // bytes that one bit of the dirty log stands for
#define LOG_MAX (8ull << 30) // of a dirty log: a bit for each page of 256 TiB
#define CONTROL_POLL_MS 10 // of a control queue whose driver never kicks

/*
 * NOTIFICATION_DATA (VIRTIO 1.3, 2.9): a kick over an eventfd carries no number, and the engine
 * needs none, for it reads the ring; so whatever a driver puts there is honoured.
 */
#define RING_FEATURES                                                                   \
	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_RING_PACKED |                    \
		1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC | \
		1ULL << VIRTIO_F_IN_ORDER | 1ULL << VIRTIO_F_ANY_LAYOUT |               \
		1ULL << VIRTIO_F_RING_RESET | 1ULL << VHO_F_NOTIFICATION_DATA |         \
		1ULL << VIRTIO_F_ACCESS_PLATFORM)

void vho_dev_changed(struct vho_dev *dev)
{
	if (dev->host->changed)
		dev->host->changed(dev->host->arg, dev);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Where the ring is and whether it runs, forgotten. The ring is stopped. */
static void queue_reset(struct vho_dev_queue *dq)
{
	assert(!dq->started);
	close_fd(&dq->kick_fd);
	dq->size = 0;
	dq->base = 0;
	dq->parted = false;
	dq->parted_inflight = false;
	dq->desc_uva = 0;
	dq->driver_uva = 0;
	dq->device_uva = 0;
	dq->log_gpa = 0;
	dq->log_used = false;
	dq->has_addr = false;
	dq->has_kick = false;
	dq->enabled = false;
	dq->halted = false;
	dq->retired = false;
}

int vho_dev_init(struct vho_dev *dev, const struct vho_dev_type *type, void *owner,
	const char *name, unsigned n_queues, uint64_t features, uint64_t off,
	const struct vho_host *host)
{
	if (n_queues == 0 || n_queues > VHO_DEV_QUEUES_MAX)
		return -EINVAL;
	dev->queues = dpu_aligned_calloc(
		_Alignof(struct vho_dev_queue), n_queues, sizeof(*dev->queues));
	if (!dev->queues)
		return -ENOMEM;
	dev->type = type;
	dev->owner = owner;
	dev->host = host;
	dev->n_queues = n_queues;
	dev->features_offered = (features | RING_FEATURES) & ~off;
	snprintf(dev->name, sizeof(dev->name), "%s", name);
	for (unsigned i = 0; i < n_queues; i++) {
		struct vho_dev_queue *dq = &dev->queues[i];

		dq->dev = dev;
		dq->q.idx = (uint16_t)i;
		dq->kick_fd = -1;
		dq->call_fd = -1;
		dq->err_fd = -1;
	}
	return 0;
}

void vho_dev_fini(struct vho_dev *dev)
{
	if (!dev->queues)
		return;
	if (dev->connected)
		vho_dev_detach(dev);
	free(dev->queues);
	dev->queues = NULL;
}

void vho_dev_attach(struct vho_dev *dev)
{
	assert(!dev->connected);
	dev->connected = true;
	vho_dev_changed(dev);
}

/* Put a log in the place of the old one; map, its length and fd become ours. */
static void replace_log(
	struct vho_dev *dev, struct vho_dirty_log log, void *map, size_t map_len, int fd)
{
	vho_dev_stop_all(dev);
	if (dev->log_map) {
		vho_mem_guard_del(dev->log_map);
		munmap(dev->log_map, dev->log_map_len);
		close(dev->log_fd);
	}
	dev->log = log;
	dev->log_map = map;
	dev->log_map_len = map_len;
	dev->log_fd = fd;
	vho_dev_start_all(dev);
}

/* The log has one bit for each page up to the end of the highest region. */
static bool log_covers(const struct vho_mem *mem, uint64_t size)
{
	uint64_t last = 0;

	for (unsigned i = 0; mem && i < mem->n; i++)
		if (mem->r[i].gpa + (mem->r[i].size - 1) > last)
			last = mem->r[i].gpa + (mem->r[i].size - 1);
	return size > last / LOG_PAGE / 8;
}

int vho_dev_open_log(struct vho_dev *dev, int fd, uint64_t off, uint64_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), lead = off % page;
	void *map;
	int ret, own;

	if (size == 0 || size > LOG_MAX || off > INT64_MAX - page - size ||
		!log_covers(dev->mem, size))
		return -EINVAL;
	ret = vho_mem_file_check(fd, off + size);
	if (ret < 0)
		return ret;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	map = mmap(NULL, lead + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)(off - lead));
	if (map == MAP_FAILED) {
		ret = -errno;
		goto err_fd;
	}
	ret = vho_mem_guard_add(map, lead + size, page, &dev->log_faulted);
	if (ret < 0)
		goto err_map;
	replace_log(dev, (struct vho_dirty_log){ .base = (uint8_t *)map + lead, .size = size }, map,
		lead + size, own);
	dev->log_off = off;
	return 0;

err_map:
	munmap(map, lead + size);
err_fd:
	close(own);
	return ret;
}

void vho_dev_end_postcopy(struct vho_dev *dev)
{
	vho_dev_stop_all(dev);
	vho_postcopy_destroy(dev->postcopy);
	dev->postcopy = NULL;
}

void vho_dev_detach(struct vho_dev *dev)
{
	vho_dev_end_postcopy(dev);
	for (unsigned i = 0; i < dev->n_queues; i++) {
		queue_reset(&dev->queues[i]);
		close_fd(&dev->queues[i].call_fd);
		close_fd(&dev->queues[i].err_fd);
	}
	vho_mem_put(dev->mem);
	dev->mem = NULL;
	vho_inflight_destroy(dev->inflight);
	dev->inflight = NULL;
	replace_log(dev, (struct vho_dirty_log){ 0 }, NULL, 0, -1);
	dev->log_on = false;
	atomic_store_explicit(&dev->log_faulted, false, memory_order_relaxed);
	vho_iommu_end(dev);
	dev->features = 0;
	dev->features_set = false;
	dev->protocol_features = 0;
	dev->status = 0;
	dev->connected = false;
	if (dev->type->reset)
		dev->type->reset(dev);
	vho_dev_changed(dev);
}

int vho_dev_set_features(struct vho_dev *dev, uint64_t features)
{
	int ret;

	if (features & ~dev->features_offered)
		return -EINVAL;
	dev->features = features;
	ret = vho_iommu_settle(dev);
	if (ret < 0) {
		dev->features = 0;
		dev->features_set = false;
		return ret;
	}
	dev->features_set = true;
	if (dev->type->features_set)
		dev->type->features_set(dev);
	vho_dev_changed(dev);
	return 0;
}

void vho_dev_set_mem(struct vho_dev *dev, struct vho_mem *mem)
{
	vho_dev_stop_all(dev);
	vho_mem_put(dev->mem);
	dev->mem = mem;
	vho_iommu_remap(dev);
	vho_dev_start_all(dev);
}

void vho_dev_set_log_on(struct vho_dev *dev, bool on)
{
	if (dev->log_on == on)
		return;
	vho_dev_stop_all(dev);
	dev->log_on = on;
	vho_dev_start_all(dev);
}

void vho_dev_set_inflight(struct vho_dev *dev, struct vho_inflight *inf)
{
	vho_dev_stop_all(dev);
	vho_inflight_destroy(dev->inflight);
	dev->inflight = inf;
	vho_dev_start_all(dev);
}

bool vho_dev_faulted(const struct vho_dev *dev)
{
	if (dev->postcopy && vho_postcopy_dead(dev->postcopy))
		return true;
	if (atomic_load_explicit(&dev->log_faulted, memory_order_relaxed))
		return true;
	if (dev->inflight && atomic_load_explicit(&dev->inflight->faulted, memory_order_relaxed))
		return true;
	return dev->mem && atomic_load_explicit(&dev->mem->faulted, memory_order_relaxed);
}

static bool is_control(struct vho_dev *dev, unsigned idx)
{
	return dev->type->queue_is_control && dev->type->queue_is_control(dev, idx);
}

static uint64_t error_sum(const struct vho_queue *q)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VHO_QUEUE_ERR_COUNT; i++)
		sum += dpu_counter_read(&q->stats.errors[i]);
	return sum;
}

/* Everything a ring needs before it can run. */
static bool queue_ready(struct vho_dev *dev, unsigned idx)
{
	const struct vho_dev_queue *dq = &dev->queues[idx];

	if (!dev->mem || !dev->features_set || dq->size == 0 || !dq->has_addr || !dq->has_kick ||
		dq->halted)
		return false;
	if (dev->type->queue_wanted && !dev->type->queue_wanted(dev, idx))
		return false;
	if (dq->enabled)
		return true;
	// vhost-user, "Ring states": a disabled transmitq takes packets and discards them
	return dev->type->kind == VHO_DEV_NET && idx % 2 == 1 && !is_control(dev, idx);
}

/* Guest physical addresses of a ring's parts, which the front-end gave as its own. */
static int ring_at(
	const struct vho_dev *dev, const struct vho_dev_queue *dq, struct vho_queue_conf *conf)
{
	uint64_t n = dq->size;
	bool packed = dev->features >> VIRTIO_F_RING_PACKED & 1;
	uint64_t driver_len = packed ? 4 : 6 + 2 * n;
	uint64_t device_len = packed ? 4 : 6 + 8 * n;
	int ret = vho_mem_uva_to_gpa(dev->mem, dq->desc_uva, 16 * n, &conf->desc_gpa);

	if (ret == 0)
		ret = vho_mem_uva_to_gpa(dev->mem, dq->driver_uva, driver_len, &conf->driver_gpa);
	if (ret == 0)
		ret = vho_mem_uva_to_gpa(dev->mem, dq->device_uva, device_len, &conf->device_gpa);
	return ret;
}

static int queue_conf(struct vho_dev *dev, unsigned idx, struct vho_queue_conf *conf)
{
	const struct vho_dev_queue *dq = &dev->queues[idx];
	bool packed = dev->features >> VIRTIO_F_RING_PACKED & 1;
	int ret;

	*conf = (struct vho_queue_conf){
		.mem = dev->mem,
		.features = dev->features,
		.size = dq->size,
		.base = dq->base,
		.call_fd = dq->call_fd,
		.err_fd = dq->err_fd,
		.out_only = dev->type->kind == VHO_DEV_NET && idx % 2 == 1 && !is_control(dev, idx),
	};
	if (dq->size > VHO_QUEUE_SIZE_MAX)
		return -EINVAL;
	// DPDK's virtio-user gives only the available half for a fresh packed ring
	if (packed && dq->base == 0x8000)
		conf->base = 0x80008000;
	if (dev->iotlb)
		ret = vho_iommu_ring(dev, idx, conf);
	else
		ret = ring_at(dev, dq, conf);
	if (ret < 0)
		return ret;
	if (dev->inflight)
		conf->inflight = vho_inflight_queue(dev->inflight, (uint16_t)idx);
	// After status 0: a driver that begins anew has nothing in flight
	if (conf->inflight && dq->parted_inflight && vho_dev_base_fresh(conf->base, packed))
		vho_inflight_queue_reset(conf->inflight);
	if (dev->log_on) {
		conf->log = dev->log;
		conf->log_used = dq->log_used;
		// QEMU gives the IOVA here when there is an IOMMU
		conf->used_log_gpa = dev->iotlb ? conf->device_gpa : dq->log_gpa;
	}
	return 0;
}

/*
 * Empty the kick eventfd of a control queue without ever sleeping on it: RWF_NOWAIT holds whatever
 * the front-end does to the file flags that it shares with us.
 */
static int kick_drain(int fd)
{
	uint64_t n;
	struct iovec v = { .iov_base = &n, .iov_len = sizeof(n) };

	if (preadv2(fd, &v, 1, -1, RWF_NOWAIT) < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	return 0;
}

static void on_control_kick(void *arg)
{
	struct vho_dev_queue *dq = arg;
	struct vho_dev *dev = dq->dev;

	dpu_counter_add(&dq->q.stats.kicks, 1);
	if (kick_drain(dq->kick_fd) < 0) {
		dpu_warn_ratelimited("device: kick of the control queue cannot be read",
			"dev=%s queue=%u", dev->name, dq->q.idx);
		vho_dev_queue_stop(dev, dq->q.idx);
		dq->halted = true;
		return;
	}
	dev->type->control_poll(dev);
}

static void on_control_timer(void *arg)
{
	struct vho_dev_queue *dq = arg;
	const struct vho_loop *loop = dq->dev->host->loop;

	dq->poll_timer = loop->timer(loop->arg, CONTROL_POLL_MS, on_control_timer, dq);
	dq->dev->type->control_poll(dq->dev);
}

static int control_start(struct vho_dev *dev, struct vho_dev_queue *dq)
{
	const struct vho_loop *loop = dev->host->loop;

	if (dq->kick_fd >= 0)
		dq->kick_watch = loop->watch(loop->arg, dq->kick_fd, on_control_kick, dq);
	else
		dq->poll_timer = loop->timer(loop->arg, CONTROL_POLL_MS, on_control_timer, dq);
	if (!dq->kick_watch && !dq->poll_timer)
		return -ENOMEM;
	vho_dev_queue_run(dev, dq->q.idx, true);
	return 0;
}

static void control_stop(struct vho_dev *dev, struct vho_dev_queue *dq)
{
	const struct vho_loop *loop = dev->host->loop;

	if (dq->kick_watch)
		loop->unwatch(loop->arg, dq->kick_watch);
	if (dq->poll_timer)
		loop->timer_cancel(loop->arg, dq->poll_timer);
	dq->kick_watch = NULL;
	dq->poll_timer = NULL;
	vho_dev_queue_run(dev, dq->q.idx, false);
}

static bool memory_is_late(const struct vho_dev *dev)
{
	return dev->postcopy && vho_postcopy_listening(dev->postcopy);
}

int vho_dev_queue_try_start(struct vho_dev *dev, unsigned idx)
{
	struct vho_dev_queue *dq = &dev->queues[idx];
	struct vho_queue_conf conf;
	bool control;
	int ret;

	assert(idx < dev->n_queues);
	if (dq->started || !queue_ready(dev, idx))
		return 0;
	control = is_control(dev, idx);
	ret = queue_conf(dev, idx, &conf);
	if (ret == -EAGAIN)
		return 0; // comes up when the front-end has said where it lies
	if (ret == 0 && memory_is_late(dev)) {
		ret = vho_postcopy_ring(dev->postcopy, idx, &conf, dq->kick_fd);
		if (ret == 0)
			return 0; // it will be tried again when the ring's pages are there
		ret = ret < 0 ? ret : 0;
	}
	if (ret == 0)
		ret = vho_queue_setup(&dq->q, &conf);
	if (ret < 0)
		goto err;
	dq->errors_before = error_sum(&dq->q);
	if (dev->type->queue_setup)
		ret = dev->type->queue_setup(dev, idx);
	if (ret < 0)
		goto err_queue;
	if (memory_is_late(dev))
		vho_postcopy_start(dev->postcopy, idx, &dq->q);
	dq->started = true;
	dq->parted = false;
	dq->parted_inflight = false;
	if (control)
		ret = control_start(dev, dq);
	else
		ret = dev->host->queue_start(dev->host->arg, dev, idx, dq->kick_fd);
	if (ret < 0)
		goto err_setup;
	if (control)
		dev->type->control_poll(dev); // what came before the watch
	vho_dev_changed(dev);
	return 0;

err_setup:
	dq->started = false;
	if (dev->type->queue_teardown)
		dev->type->queue_teardown(dev, idx);
err_queue:
	vho_queue_teardown(&dq->q);
err:
	dpu_warn_ratelimited(
		"device: queue does not start", "dev=%s queue=%u err=%d", dev->name, idx, ret);
	return ret;
}

void vho_dev_queue_stop(struct vho_dev *dev, unsigned idx)
{
	struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	if (dev->postcopy)
		vho_postcopy_stop(dev->postcopy, idx);
	if (!dq->started)
		return;
	if (dq->kick_watch || dq->poll_timer)
		control_stop(dev, dq);
	else
		dev->host->queue_stop(dev->host->arg, dev, idx);
	dq->base = vho_queue_base(&dq->q);
	dq->halted = dq->q.broken;
	if (dev->type->queue_teardown)
		dev->type->queue_teardown(dev, idx);
	vho_queue_teardown(&dq->q);
	dq->started = false;
	vho_dev_changed(dev);
}

void vho_dev_stop_all(struct vho_dev *dev)
{
	for (unsigned i = 0; i < dev->n_queues; i++)
		vho_dev_queue_stop(dev, i);
}

void vho_dev_start_all(struct vho_dev *dev)
{
	// The control queue first: what was set there holds before another ring is used
	for (unsigned i = 0; i < dev->n_queues; i++)
		if (is_control(dev, i))
			(void)vho_dev_queue_try_start(dev, i);
	for (unsigned i = 0; i < dev->n_queues; i++)
		(void)vho_dev_queue_try_start(dev, i); // logged there; needs_reset shows it
}

bool vho_dev_any_started(const struct vho_dev *dev)
{
	for (unsigned i = 0; i < dev->n_queues; i++)
		if (dev->queues[i].started)
			return true;
	return false;
}

/* What both kinds of reset do; the rings have been reset. */
static void reset_rest(struct vho_dev *dev)
{
	vho_iommu_end(dev);
	dev->features = 0;
	dev->features_set = false;
	dev->status = 0;
	dev->log_on = false;
	if (dev->type->reset)
		dev->type->reset(dev);
	vho_dev_changed(dev);
}

void vho_dev_reset(struct vho_dev *dev)
{
	vho_dev_stop_all(dev);
	for (unsigned i = 0; i < dev->n_queues; i++)
		queue_reset(&dev->queues[i]);
	if (dev->inflight)
		vho_inflight_reset(dev->inflight);
	reset_rest(dev);
}

void vho_dev_reset_status(struct vho_dev *dev)
{
	if (dev->type->state_keep)
		dev->type->state_keep(dev);
	vho_dev_stop_all(dev);
	for (unsigned i = 0; i < dev->n_queues; i++) {
		struct vho_dev_queue *dq = &dev->queues[i];
		uint32_t base = dq->parted ? dq->parted_base : dq->base;

		queue_reset(dq);
		dq->parted = true;
		dq->parted_base = base;
		dq->parted_inflight = true;
	}
	reset_rest(dev);
}

/*
 * Put fd behind the number that a running queue's worker writes to. dup3 replaces the file in one
 * step, so the worker needs no stop. False when the queue has to be stopped instead.
 */
static bool replace_fd(int old, int fd)
{
	if (old < 0 || fd < 0 || dup3(fd, old, O_CLOEXEC) < 0)
		return false;
	close(fd);
	return true;
}

void vho_dev_queue_set_call(struct vho_dev *dev, unsigned idx, int fd)
{
	struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	if (!dq->started) {
		close_fd(&dq->call_fd);
		dq->call_fd = fd;
		return;
	}
	if (!replace_fd(dq->call_fd, fd)) {
		vho_dev_queue_stop(dev, idx);
		close_fd(&dq->call_fd);
		dq->call_fd = fd;
		(void)vho_dev_queue_try_start(dev, idx);
	}
	if (dq->call_fd >= 0)
		vho_notify_fd(dq->call_fd);
}

void vho_dev_queue_set_err(struct vho_dev *dev, unsigned idx, int fd)
{
	struct vho_dev_queue *dq = &dev->queues[idx];
	bool was = dq->started;

	assert(idx < dev->n_queues);
	if (was && replace_fd(dq->err_fd, fd))
		return;
	vho_dev_queue_stop(dev, idx);
	close_fd(&dq->err_fd);
	dq->err_fd = fd;
	if (was)
		(void)vho_dev_queue_try_start(dev, idx);
}

void vho_dev_queue_set_kick(struct vho_dev *dev, unsigned idx, int fd)
{
	struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	vho_dev_queue_stop(dev, idx);
	close_fd(&dq->kick_fd);
	dq->kick_fd = fd;
	dq->has_kick = true;
	dq->halted = false;
}

int vho_dev_queue_enable(struct vho_dev *dev, unsigned idx, bool enabled)
{
	struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	if (dq->enabled == enabled)
		return vho_dev_queue_try_start(dev, idx);
	vho_dev_queue_stop(dev, idx);
	dq->enabled = enabled;
	return vho_dev_queue_try_start(dev, idx);
}

uint32_t vho_dev_queue_retire(struct vho_dev *dev, unsigned idx)
{
	struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	vho_dev_queue_stop(dev, idx);
	close_fd(&dq->kick_fd);
	dq->has_kick = false;
	dq->retired = true;
	dq->retired_base = dq->parted ? dq->parted_base : dq->base;
	return dq->retired_base;
}

int vho_dev_queue_set_base(struct vho_dev *dev, unsigned idx, uint32_t base)
{
	struct vho_dev_queue *dq = &dev->queues[idx];
	struct vho_inflight_queue *iq = vho_inflight_queue(dev->inflight, (uint16_t)idx);

	assert(idx < dev->n_queues);
	if (dq->started)
		return -EBUSY;
	// It does not go on where we left it: another ring, and of the old one nothing counts
	if (dq->retired && base != dq->retired_base && iq)
		vho_inflight_queue_reset(iq);
	dq->retired = false;
	dq->base = base;
	dq->parted = false;
	return 0;
}

void vho_dev_info(const struct vho_dev *dev, struct vho_dev_info *out)
{
	*out = (struct vho_dev_info){
		.kind = dev->type->kind,
		.name = dev->name,
		.connected = dev->connected,
		.features_offered = dev->features_offered,
		.features_acked = dev->features,
		.protocol_features = dev->protocol_features,
		.n_queues = dev->n_queues,
	};
	for (unsigned i = 0; i < dev->n_queues; i++) {
		const struct vho_dev_queue *dq = &dev->queues[i];

		if (dq->started)
			out->n_running++;
		// A control queue has its watch; what has none is a data queue
		if (dq->started && !dq->kick_watch && !dq->poll_timer)
			out->driver_ok = true;
		if (dq->halted || (dq->started && error_sum(&dq->q) != dq->errors_before))
			out->needs_reset = true;
	}
}

const struct vho_queue_stats *vho_dev_queue_stats(const struct vho_dev *dev, unsigned idx)
{
	return idx < dev->n_queues ? &dev->queues[idx].q.stats : NULL;
}

void vho_dev_queue_info(const struct vho_dev *dev, unsigned idx, struct vho_queue_info *out)
{
	const struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	*out = (struct vho_queue_info){
		.running = dq->started,
		.broken = dq->halted || (dq->started && error_sum(&dq->q) != dq->errors_before),
		.packed = dev->features >> VIRTIO_F_RING_PACKED & 1,
		.size = dq->size,
	};
}

void vho_dev_queue_run(struct vho_dev *dev, unsigned idx, bool run)
{
	assert(idx < dev->n_queues);
	if (!run && dev->type->queue_let_go)
		dev->type->queue_let_go(dev, idx);
	dev->queues[idx].q.running = run;
}

void vho_dev_offer_notifiers(struct vho_dev *dev)
{
	dev->notifiers = true;
}

bool vho_dev_queue_arm(struct vho_dev *dev, unsigned idx)
{
	struct vho_dev_queue *dq = &dev->queues[idx];

	assert(idx < dev->n_queues);
	// Pairs with the release of who has woken us to look here again
	if (atomic_load_explicit(&dq->polled, memory_order_acquire) && !dq->q.broken) {
		vho_queue_disarm(&dq->q);
		return false;
	}
	return vho_queue_arm(&dq->q);
}

void vho_dev_queue_disarm(struct vho_dev *dev, unsigned idx)
{
	assert(idx < dev->n_queues);
	vho_queue_disarm(&dev->queues[idx].q);
}
