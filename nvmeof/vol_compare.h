/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compare-and-write for volumes that only this process writes to: of a read and a write, with every
 * other write to the range kept out meanwhile, whatever the worker (ADR-0019).
 *
 * A volume has 64 words, each for a window of 64 KiB in turn. A compare-and-write locks those that
 * it touches, in ascending order, and begins once the writes that are counted in them have ended. A
 * write that finds one locked is parked in its channel, marks the word as wanted, and is tried
 * again with the next poll; no compare-and-write locks a word that is wanted, so neither side
 * starves the other. Nobody waits while it holds something that a write needs.
 *
 * Writes are counted from the first compare-and-write of a volume on: until then a write costs one
 * look at `mode`. The first one sets it, has every CPU pass a barrier (membarrier(2)), and waits
 * until no channel has anything left that began before. So a write stores that it is there, then
 * looks, and needs no barrier of its own.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vol_fifo.h"
#include "vol_pool.h"
#include "volume.h"

#define VOL_COMPARE_WORDS 64u
#define VOL_COMPARE_WINDOW (64u << 10) // bytes
#define VOL_COMPARE_US 100u // until those that are parked are tried again

struct vol_counters;

/* What vol_io.gate says. */
enum vol_gate {
	VOL_GATE_NONE, // in vol_chan.inflight
	VOL_GATE_SEEN, // in vol_compare_chan.gated: it began with compare-and-writes on
	VOL_GATE_COUNTED, // and is counted in its windows
	VOL_GATE_INNER, // a part of a compare-and-write
};

/* Of a volume. */
struct vol_compare {
	bool able; // fixed: there is membarrier(2)
	_Atomic unsigned mode; // enum in vol_compare.c; 0: there was none ever
	_Atomic unsigned walkers; // workers that look at the channels
	_Atomic uint32_t word[VOL_COMPARE_WORDS];
};

/* Of a channel. */
struct vol_compare_chan {
	unsigned gated; // requests in flight that are not in vol_chan.inflight
	unsigned n; // of these, in `parked`
	struct vol_fifo parked;
	struct vol_pool *pool; // borrowed: the group's; NULL: it has none
	struct vol_held held; // of the pool
};

void vol_compare_init(struct vol_compare *k);
/*
 * Every thread of this process passes a full barrier before it returns: what it had stored is seen,
 * and what it loads then is what the caller had stored. 0, or -errno: never if `able`. Any thread.
 */
int vol_compare_barrier(void);
void vol_compare_chan_init(struct vol_chan *c, struct vol_pool *pool);
/* Bytes of one, 0: it cannot. Any thread. */
uint32_t vol_compare_max(const struct vol *v);
/* They go to its submit(). Any thread. */
bool vol_compare_native(const struct vol *v);
/* 0, -EOPNOTSUPP, -EINVAL: beyond what every request must be. Any thread. */
int vol_compare_check(const struct vol *v, const struct vol_io *io);

/* ---- the channel's worker ---- */

/* A request of a volume that has seen one, or is one: it is counted among those. */
void vol_compare_note(struct vol_chan *c, struct vol_io *io);
/* Send it down as soon as it may. It was noted. */
void vol_compare_go(struct vol_chan *c, struct vol_io *io);
/* Try those that are parked. Returns how many went on. */
unsigned vol_compare_poll(struct vol_chan *c);
/* One that was noted ends. True: it was a part of another one, and is answered. */
bool vol_compare_leave(struct vol_chan *c, struct vol_io *io, int err);
/* One ends with an error, or a miscompare. */
void vol_compare_count(struct vol_counters *n, const struct vol_io *io, int err);
