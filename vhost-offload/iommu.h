/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device behind its guest's IOMMU: what the front-end's IOTLB messages do to its queues.
 *
 * Exists from the moment ACCESS_PLATFORM is acked until the next reset. Addresses of rings are
 * IOVAs then as well: a ring starts when all its parts are known, and stops when one is taken away.
 * A queue that comes upon an address that is not known waits; the front-end is asked, again after
 * each second, and the queue goes on with the answer.
 *
 * Control thread. Spec: vhost-user, "IOMMU support".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "device.h"
#include "iotlb.h"

/*
 * dev->features were settled: begin or end. No queue runs. 0, -ENOMEM, or the errno of eventfd(2).
 */
int vho_iommu_settle(struct vho_dev *dev);
void vho_iommu_end(struct vho_dev *dev);

/* UPDATE; errors of vho_iotlb_update(), -EINVAL also without ACCESS_PLATFORM. */
int vho_iommu_update(struct vho_dev *dev, uint64_t iova, uint64_t size, uint64_t uva, uint8_t perm);

/*
 * INVALIDATE; size 0 stands for everything (QEMU's sum wraps when a guest flushes all). On return
 * only requests of a disk that are in flight may still use what was known: vho_iommu_drained()
 * tells when they have ended. 0, or -EINVAL when the range wraps.
 */
int vho_iommu_invalidate(struct vho_dev *dev, uint64_t iova, uint64_t size);
bool vho_iommu_drained(const struct vho_dev *dev);

/*
 * Addresses of queue idx, whose size is known: 0 with the three of conf; -EAGAIN: one is not known
 * and was asked for; -EFAULT: a part's pages do not lie together in the guest's memory.
 */
int vho_iommu_ring(struct vho_dev *dev, unsigned idx, struct vho_queue_conf *conf);

/* There is another memory map; no queue runs. */
void vho_iommu_remap(struct vho_dev *dev);
