/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of a volume: operations and bytes per second, for reads, writes and both together. Each
 * limit is a bucket that is filled at its rate and holds `burst` of it; all workers draw from it.
 *
 * A bucket is one number, the time at which it is full again ("generic cell rate algorithm", ITU-T
 * I.371, annex A). A channel draws for its oldest waiting request only, so that channels take turns
 * whatever they have queued, and waits until what it drew is there.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vol_fifo.h"
#include "volume.h"

enum vol_bucket {
	VOL_BUCKET_RW_IOS,
	VOL_BUCKET_R_IOS,
	VOL_BUCKET_W_IOS,
	VOL_BUCKET_RW_BYTES,
	VOL_BUCKET_R_BYTES,
	VOL_BUCKET_W_BYTES,
	VOL_BUCKETS
};

/* Of a volume. Zero-filled: no limits. */
struct vol_qos {
	_Atomic bool limited; // some limit is set
	_Atomic unsigned gen; // changes with the limits
	_Atomic uint64_t cost[VOL_BUCKETS]; // 2^-20 ns for one operation or byte, 0: no limit
	_Atomic uint64_t burst_ns;
	_Atomic uint64_t full_ns[VOL_BUCKETS]; // when the bucket is full again
};

/* Of a channel: requests that wait. */
struct vol_qos_chan {
	struct vol_fifo waiting;
	uint64_t due_ns; // the oldest one's, when `drawn`
	unsigned n;
	unsigned gen; // of the limits it drew from
	bool drawn;
};

void vol_qos_set(struct vol_qos *q, const struct vol_limits *l);

static inline bool vol_qos_limited(const struct vol_qos *q)
{
	return atomic_load_explicit(&q->limited, memory_order_relaxed);
}

void vol_qos_put(struct vol_qos_chan *c, struct vol_io *io);
/* The oldest request whose time has come, or NULL. */
struct vol_io *vol_qos_take(struct vol_qos *q, struct vol_qos_chan *c);
/* The oldest request, now; it is charged all the same. NULL: none waits. */
struct vol_io *vol_qos_force(struct vol_qos *q, struct vol_qos_chan *c);
/* us until vol_qos_take() may find one, at least 1. Something waits. */
unsigned vol_qos_wait_us(const struct vol_qos *q, const struct vol_qos_chan *c);
