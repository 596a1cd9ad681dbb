/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel knows of the wear of a block device's cells. */
#pragma once

#include "volume.h"

/*
 * Read it from a block device's directory in sysfs, which may be that of a partition. eMMC devices
 * have it as attributes, UFS devices in the health descriptor of their host. Of an NVMe device the
 * kernel shows none there: it is in a log page that takes an administrator's command.
 *
 * 0, or -ENODATA: there is none, it does not read as numbers, or none of it means anything. Any
 * thread; may wait for the device.
 */
int vol_wear_read(const char *sys, struct vol_wear *out);
