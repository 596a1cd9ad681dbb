// SPDX-License-Identifier: Apache-2.0
/* Answers a back-end's IOTLB misses page by page, and takes pages back. */
#include "drv_iommu.h"

#include <errno.h>
#include <string.h>

#define MISS 1
#define UPDATE 2
#define INVALIDATE 3
#define READ_WRITE 3

int drv_iommu_serve(struct drv_vu *vu, int timeout_ms)
{
	struct drv_vu channel = { .fd = vu->backend_fd };
	const struct drv_mem *mem = vu->mem;
	struct drv_msg m;
	int ret = drv_vu_recv(&channel, &m, timeout_ms);

	if (ret)
		return ret == -ETIMEDOUT ? 0 : ret;
	drv_msg_close_fds(&m);
	if (m.hdr.request != DRV_BACKEND_IOTLB_MSG || m.hdr.size < sizeof(m.p.iotlb) ||
		m.p.iotlb.type != MISS || m.p.iotlb.perm == 0 || m.p.iotlb.perm > READ_WRITE)
		return -EPROTO;
	m.p.iotlb.iova &= ~(uint64_t)(DRV_IOMMU_PAGE - 1);
	for (unsigned i = 0; i < mem->n; i++) {
		const struct drv_region *r = &mem->r[i];

		if (m.p.iotlb.iova - r->gpa >= r->size)
			continue;
		m.p.iotlb.size = DRV_IOMMU_PAGE;
		m.p.iotlb.uva = (uintptr_t)(r->host + (m.p.iotlb.iova - r->gpa));
		m.p.iotlb.perm = READ_WRITE;
		m.p.iotlb.type = UPDATE;
		ret = drv_vu_call(vu, DRV_IOTLB_MSG, &m, sizeof(m.p.iotlb), NULL, 0);
		return ret ? ret : 1;
	}
	return -EFAULT;
}

int drv_iommu_forget(struct drv_vu *vu, const void *p, size_t len)
{
	uint64_t first = drv_mem_gpa(vu->mem, p) & ~(uint64_t)(DRV_IOMMU_PAGE - 1);
	uint64_t end = drv_mem_gpa(vu->mem, p) + len + DRV_IOMMU_PAGE - 1;
	struct drv_msg m;

	memset(&m.p.iotlb, 0, sizeof(m.p.iotlb));
	m.p.iotlb.iova = first;
	m.p.iotlb.size = (end & ~(uint64_t)(DRV_IOMMU_PAGE - 1)) - first;
	m.p.iotlb.type = INVALIDATE;
	return drv_vu_call(vu, DRV_IOTLB_MSG, &m, sizeof(m.p.iotlb), NULL, 0);
}
