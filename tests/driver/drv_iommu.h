/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's IOMMU, when ACCESS_PLATFORM was negotiated: what drv_mem calls a guest physical address
 * is an I/O virtual one then, and the back-end is told of physical ones that lie DRV_IOMMU_OFF
 * behind it, so an address that is taken for the other kind leads nowhere.
 *
 * Spec: QEMU docs/interop/vhost-user.rst, "IOMMU support".
 */
#pragma once

#include "drv_vu.h"

#define DRV_IOMMU_PAGE 4096u

/*
 * Answer the back-end's next question with the page that it asks for. 1, 0 when none came in time,
 * -EPROTO for something else than a question, -EFAULT for an address that is not the guest's, or as
 * drv_vu_call().
 */
int drv_iommu_serve(struct drv_vu *vu, int timeout_ms);

/* Take the pages of [p, p + len) back. As drv_vu_call(): the back-end is done with them then. */
int drv_iommu_forget(struct drv_vu *vu, const void *p, size_t len);
