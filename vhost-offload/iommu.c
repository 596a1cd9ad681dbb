// SPDX-License-Identifier: Apache-2.0
/* IOTLB messages and misses of a device: who waits for what, and who goes on. */
#include "iommu.h"

#include <errno.h>
#include <unistd.h>

#include "dpu_log.h"

#define ASK_AGAIN_MS 1000
#define OUT_MAX 64u // questions ahead of time that a slow front-end may have before it

static void on_ask(void *arg);

/* ---- questions ---- */

static void ask(struct vho_dev *dev, uint64_t iova, uint8_t perm)
{
	dev->iommu_stats.asked++;
	dev->iotlb->out++;
	if (dev->iommu_ask)
		dev->iommu_ask(dev->iommu_arg, iova, perm); // what is lost is asked again
}

static void on_ask_again(void *arg);

static void ask_again_later(struct vho_dev *dev)
{
	const struct vho_loop *loop = dev->host->loop;

	if (!dev->iommu_timer)
		dev->iommu_timer = loop->timer(loop->arg, ASK_AGAIN_MS, on_ask_again, dev);
}

static void on_ask_again(void *arg)
{
	struct vho_dev *dev = arg;
	struct vho_iotlb *t = dev->iotlb;
	bool any = false;

	dev->iommu_timer = NULL;
	t->out = 0; // what has no answer by now gets none
	for (unsigned i = 0; i < dev->n_queues; i++) {
		struct vho_iotlb_queue *iq = &t->queues[i];

		if (dev->queues[i].started ? !iq->sent : !iq->ring_missing)
			continue;
		any = true;
		if (!iq->aged) {
			iq->aged = true;
			continue;
		}
		t->stats->unanswered++;
		dpu_warn_ratelimited("iommu: no answer to a miss", "dev=%s queue=%u", dev->name, i);
		if (dev->queues[i].started)
			ask(dev, iq->wait.iova, iq->wait.perm);
		else
			ask(dev, iq->ring_iova, iq->ring_perm);
	}
	if (any)
		ask_again_later(dev);
}

/* The queue may look again. */
static void go_on(struct vho_dev *dev, unsigned idx)
{
	struct vho_iotlb_queue *iq = &dev->iotlb->queues[idx];
	struct vho_dev_queue *dq = &dev->queues[idx];

	iq->sent = false;
	// Pairs with vho_iotlb_waits(): it finds the table that made us say so
	atomic_store_explicit(&iq->waiting, false, memory_order_release);
	if (dq->kick_watch || dq->poll_timer)
		dev->type->control_poll(dev);
	else
		vho_notify_fd(dq->kick_fd); // its worker may sleep, and no kick need come
}

/* What the worker of queue idx has asked for. */
static void take_questions(struct vho_dev *dev, unsigned idx)
{
	struct vho_iotlb_queue *iq = &dev->iotlb->queues[idx];
	// Pairs with the worker's release behind an entry
	uint32_t head = atomic_load_explicit(&iq->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&iq->tail, memory_order_relaxed);

	for (; tail != head; tail++) {
		const struct vho_iotlb_ask *a = &iq->ask[tail % VHO_IOTLB_ASKS];

		if (dev->iotlb->out < OUT_MAX && !vho_iotlb_has(dev->iotlb, a->iova, a->perm)) {
			ask(dev, a->iova, a->perm);
			ask_again_later(dev);
		}
	}
	atomic_store_explicit(&iq->tail, tail, memory_order_release);
	if (iq->sent || !vho_iotlb_waits(iq))
		return;
	if (vho_iotlb_has(dev->iotlb, iq->wait.iova, iq->wait.perm)) {
		go_on(dev, idx); // the answer to an earlier question came in between
		return;
	}
	iq->sent = true;
	iq->aged = false;
	ask(dev, iq->wait.iova, iq->wait.perm);
	ask_again_later(dev);
}

static void on_ask(void *arg)
{
	struct vho_dev *dev = arg;
	uint64_t n;

	(void)!read(dev->iotlb->ask_fd, &n, sizeof(n)); // ours: it never blocks
	for (unsigned i = 0; i < dev->n_queues; i++)
		if (dev->queues[i].started)
			take_questions(dev, i);
}

/* ---- life ---- */

void vho_iommu_end(struct vho_dev *dev)
{
	const struct vho_loop *loop = dev->host->loop;

	if (dev->iommu_watch)
		loop->unwatch(loop->arg, dev->iommu_watch);
	if (dev->iommu_timer)
		loop->timer_cancel(loop->arg, dev->iommu_timer);
	dev->iommu_watch = NULL;
	dev->iommu_timer = NULL;
	vho_iotlb_destroy(dev->iotlb);
	dev->iotlb = NULL;
}

int vho_iommu_settle(struct vho_dev *dev)
{
	const struct vho_loop *loop = dev->host->loop;
	int ret;

	vho_iommu_end(dev);
	if (!(dev->features >> VIRTIO_F_ACCESS_PLATFORM & 1))
		return 0;
	ret = vho_iotlb_create(dev->n_queues, dev->host, &dev->iommu_stats, &dev->iotlb);
	if (ret)
		return ret;
	dev->iommu_watch = loop->watch(loop->arg, dev->iotlb->ask_fd, on_ask, dev);
	if (dev->iommu_watch)
		return 0;
	vho_iommu_end(dev);
	return -ENOMEM;
}

/* ---- rings ---- */

struct part {
	uint64_t iova, len;
	uint8_t perm;
};

/* VIRTIO 1.3, 2.7 and 2.8: the parts of a ring, and what the device does with each. */
static void ring_parts(const struct vho_dev *dev, unsigned idx, struct part part[3])
{
	const struct vho_dev_queue *dq = &dev->queues[idx];
	bool packed = dev->features >> VIRTIO_F_RING_PACKED & 1;
	uint64_t n = dq->size;
	uint8_t ring = packed ? VHO_IOTLB_READ | VHO_IOTLB_WRITE : VHO_IOTLB_READ;

	part[0] = (struct part){ dq->desc_uva, 16 * n, ring };
	part[1] = (struct part){ dq->driver_uva, packed ? 4 : 6 + 2 * n, VHO_IOTLB_READ };
	part[2] = (struct part){ dq->device_uva, packed ? 4 : 6 + 8 * n, VHO_IOTLB_WRITE };
}

int vho_iommu_ring(struct vho_dev *dev, unsigned idx, struct vho_queue_conf *conf)
{
	uint64_t *const gpa[3] = { &conf->desc_gpa, &conf->driver_gpa, &conf->device_gpa };
	struct vho_iotlb_queue *iq = &dev->iotlb->queues[idx];
	struct part part[3];

	ring_parts(dev, idx, part);
	for (unsigned i = 0; i < 3; i++) {
		int ret;

		if (part[i].len - 1 > UINT64_MAX - part[i].iova)
			return -EFAULT;
		ret = vho_iotlb_ring(dev->iotlb, part[i].iova, part[i].len, part[i].perm, gpa[i],
			&iq->ring_iova);
		if (ret == -EAGAIN) {
			iq->ring_perm = part[i].perm;
			iq->ring_missing = true;
			iq->aged = false;
			ask(dev, iq->ring_iova, iq->ring_perm);
			ask_again_later(dev);
		}
		if (ret)
			return ret;
	}
	iq->ring_missing = false;
	conf->iotlb = iq;
	return 0;
}

/* ---- answers ---- */

static bool covers(uint64_t iova, uint64_t size, uint64_t at)
{
	return at >= iova && at - iova < size;
}

int vho_iommu_update(struct vho_dev *dev, uint64_t iova, uint64_t size, uint64_t uva, uint8_t perm)
{
	int ret = dev->iotlb ? vho_iotlb_update(dev->iotlb, dev->mem, iova, size, uva, perm)
			     : -EINVAL;

	if (ret)
		return ret;
	dev->iotlb->out -= dev->iotlb->out > 0;
	for (unsigned i = 0; i < dev->n_queues; i++) {
		struct vho_iotlb_queue *iq = &dev->iotlb->queues[i];

		if (!dev->queues[i].started) {
			if (iq->ring_missing && covers(iova, size, iq->ring_iova)) {
				iq->ring_missing = false;
				(void)vho_dev_queue_try_start(dev, i); // logged there
			}
		} else if (iq->sent && covers(iova, size, iq->wait.iova)) {
			go_on(dev, i);
		}
	}
	return 0;
}

static bool ring_meets(const struct vho_dev *dev, unsigned idx, uint64_t iova, uint64_t last)
{
	struct part part[3];

	ring_parts(dev, idx, part);
	for (unsigned i = 0; i < 3; i++)
		if (part[i].iova <= last && part[i].iova + (part[i].len - 1) >= iova)
			return true;
	return false;
}

int vho_iommu_invalidate(struct vho_dev *dev, uint64_t iova, uint64_t size)
{
	uint64_t last = iova + (size - 1);

	if (!dev->iotlb)
		return 0; // nothing is known
	if (size == 0) {
		iova = 0;
		last = UINT64_MAX;
	} else if (last < iova) {
		dev->iommu_stats.refused++;
		return -EINVAL;
	}
	vho_iotlb_remove(dev->iotlb, iova, last);
	for (unsigned i = 0; i < dev->n_queues; i++) {
		struct vho_iotlb_queue *iq = &dev->iotlb->queues[i];
		struct vho_dev_queue *dq = &dev->queues[i];

		if (!dq->started)
			continue;
		if (ring_meets(dev, i, iova, last)) {
			vho_dev_queue_stop(dev, i);
			(void)vho_dev_queue_try_start(dev, i); // asks for it
			continue;
		}
		iq->mark = dpu_counter_read(&dq->q.stats.requests) - iq->born;
		iq->mark_life = iq->life;
	}
	return 0;
}

bool vho_iommu_drained(const struct vho_dev *dev)
{
	// A NIC's worker has copied what it popped before its turn ends
	if (!dev->iotlb || dev->type->kind != VHO_DEV_BLK)
		return true;
	for (unsigned i = 0; i < dev->n_queues; i++) {
		const struct vho_iotlb_queue *iq = &dev->iotlb->queues[i];

		// Pairs with the release in vho_iotlb_pushed()
		if (dev->queues[i].started && iq->life == iq->mark_life &&
			atomic_load_explicit(&iq->done, memory_order_acquire) < iq->mark)
			return false;
	}
	return true;
}

void vho_iommu_remap(struct vho_dev *dev)
{
	if (dev->iotlb)
		vho_iotlb_remap(dev->iotlb, dev->mem);
}

void vho_dev_iommu_stats(const struct vho_dev *dev, struct vho_iommu_stats *out)
{
	*out = dev->iommu_stats;
}
