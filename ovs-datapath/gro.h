/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments of TCP that follow one another become one GSO frame, for a port that takes those: a
 * guest's stack then does its work once for many of them.
 *
 * It is done where packets leave for a queue, among those that one turn sends there together, so
 * nothing waits for a segment that may not come, and it is behind whatever actions there were. What
 * is merged is what the frame's receiver, or who segments it again, cannot tell from the segments
 * one by one: headers that are equal in all but what segmentation counts on, with a checksum that
 * is known to be right. A checksum that is wrong is left to its receiver.
 */
#pragma once

#include "dp.h"

/*
 * Shorter segments are no part of bulk data, and neither worth a merge nor anybody's right to have
 * work done: what a path carries at least (RFC 9293, section 3.7.1: 536 bytes) less TCP's options.
 */
#define ODP_GRO_SIZE_MIN 496u
#define ODP_GRO_FRAME_MIN (14u + 20u + 20u + ODP_GRO_SIZE_MIN) // a burst without has nothing for us

/*
 * Merge among at most ODP_BURST packets that are about to be sent through a port of these
 * capabilities (CAPS_GRO among them), in place; `sums` is of what is left of them, in order. The
 * first segment of a frame stays where it was, and no packet of a connection overtakes another one.
 * The worker that pw is of.
 */
void odp_gro(struct odp_pw *pw, uint64_t caps, struct rte_mbuf **pkts, struct odp_sums *sums);
