/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests that drivers really send, many at a time: a header of 16 bytes, one segment of data
 * and a status byte, in a table or in the ring. Private to blk.c and blk_burst.c.
 *
 * What is at the front of the ring is looked at in stages, each over all of it: heads, descriptors
 * or tables, headers. A stage fetches the lines that the next one reads, so that those which the
 * driver's core has written come over together instead of one after the other. Nothing is taken off
 * the ring before a request has its answer: a stage stops in front of anything that it does not
 * know, and vho_queue_pop() takes that one and gives the answer it always gives.
 */
#pragma once

#include "blk_req.h"

#define BLK_BURST 32U // requests looked at together
#define BLK_BURST_BYTES (128U << 10) // of one such request

/*
 * May bursts work on this queue now? They do without a dirty log, and leave alone what is to be
 * done again after a restart and what waits for its turn in an IN_ORDER ring. The queue's worker.
 */
bool blk_burst_ok(const struct blk_queue *bq);

/*
 * Answer requests that the store can answer at once, at most `budget` of them and none after those
 * that fill the turn, and show them to the driver. Returns how many; *odd: the one behind them is
 * for vho_queue_pop(). The queue's worker.
 */
unsigned blk_burst(struct blk_queue *bq, void *chan, unsigned budget, bool *odd);
