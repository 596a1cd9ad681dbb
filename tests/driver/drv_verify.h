/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verified random I/O on a disk. Every 512-byte sector that was written carries a stamp (sector,
 * generation, checksum), and a shadow tells which generation an acknowledged request left there; a
 * read compares. Requests in flight never overlap, so each answer decides. The back-end may be
 * killed in the middle: the session is resumed and every request must still be answered once.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "drv_blk.h"

#define DRV_CANARY 16 // bytes

struct drv_verify_conf {
	uint64_t seed;
	uint64_t first, sectors; // range used; sectors 0: the whole disk, at most 1 GiB
	unsigned qd;
	uint32_t max_len; // bytes of one request
	bool poll; // spin instead of sleeping on the call eventfds
	bool discard, zeroes, flush; // besides reads and writes, when the device has them
	unsigned reconnect_ms; // wait that long for a new back-end; 0: its end is an error
	unsigned lost_ms; // a request unanswered for so long is lost; 0: 10 s
	/*
	 * A client that waits for its answers asks nothing while it waits, so a long stall would be
	 * a single sample. When set, a request that took longer also counts as those that would
	 * have come at this distance meanwhile.
	 */
	uint64_t expect_ns;
	const uint8_t *canary; // borrowed; DRV_CANARY bytes that stand in every sector; or NULL
	/* Called at the first answer of a back-end that took over, come at now_ns. Or NULL. */
	void (*resumed)(void *arg, uint64_t now_ns);
	void *resumed_arg;
};

struct drv_verify_stats {
	uint64_t reads, writes, flushes, discards, zeroes, bytes;
	uint64_t lost; // never answered
	uint64_t duplicated; // answered twice, or an id that was never out
	uint64_t errored; // answered with an error status, or with none at all
	uint64_t torn; // sector whose parts do not belong together
	uint64_t stale; // an older or a lost generation
	uint64_t misplaced; // another sector's data
	uint64_t restarts;
	uint64_t worst_stall_ns; // longest time without any answer while some were out
	uint64_t p50_ns, p99_ns;
	uint64_t n_lat; // requests that those were made from
};

struct drv_verify;

int drv_verify_create(
	struct drv_blk *b, const struct drv_verify_conf *conf, struct drv_verify **out);
void drv_verify_destroy(struct drv_verify *v);

/* Until *stop or the time is over, then wait for what is out. 0, or -EPIPE, -ETIMEDOUT. */
int drv_verify_run(struct drv_verify *v, const atomic_bool *stop, uint64_t ns);
/* Read back every sector whose content is known. 0 or as above. */
int drv_verify_all(struct drv_verify *v);
void drv_verify_stats(struct drv_verify *v, struct drv_verify_stats *out);
/* Wrong, lost, duplicated or failed requests altogether. */
uint64_t drv_verify_errors(const struct drv_verify_stats *s);
/* Start latency percentiles anew. */
void drv_verify_lat_reset(struct drv_verify *v);
