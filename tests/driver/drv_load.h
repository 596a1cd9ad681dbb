/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load for a disk, as light per request as a driver can be: descriptors, tables and headers are
 * built once, a turn takes what was answered, changes the sector, makes the same chains available
 * again and kicks once, only if asked to. It measures the back-end, not itself: nothing is verified
 * but the status.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "drv_blk.h"

enum drv_load_rw {
	DRV_LOAD_READ,
	DRV_LOAD_WRITE,
	DRV_LOAD_RANDREAD,
	DRV_LOAD_RANDWRITE,
	DRV_LOAD_RANDRW
};

struct drv_load_conf {
	enum drv_load_rw rw;
	unsigned qd;
	uint32_t bs; // bytes, a multiple of 512
	uint64_t ns, warmup_ns;
	bool intr; // sleep on the call eventfd instead of polling
	bool direct; // three descriptors in the ring instead of an indirect table
};

struct drv_load_result {
	uint64_t requests, errors, kicks, calls, empty_polls, polls;
	double seconds;
	uint64_t p50_ns, p99_ns, p999_ns, max_ns;
};

/*
 * Run on queue 0 of b, whose ring must be fresh. 0, or -EINVAL: the ring is too small for qd, or
 * the disk for one request; -ENOMEM; -EPIPE: the back-end went away; -ETIMEDOUT: it stopped
 * answering.
 */
int drv_load_run(struct drv_blk *b, const struct drv_load_conf *conf, struct drv_load_result *out);
