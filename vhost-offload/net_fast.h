/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet bursts that work on the rings directly, compiled once for each level of vector
 * instructions; the same source, the same answers.
 */
#pragma once

#include <stdbool.h>

#include <rte_mbuf.h>

#include "net_priv.h"

struct vho_net_fast {
	const char *name; // "generic", "avx2", "avx512"
	/*
	 * Take at most n <= VHO_BURST packets from the guest: *taken chains, each of them a packet
	 * or dropped and counted. Returns the number of packets. *odd: vho_queue_pop() must have a
	 * look at what comes next.
	 */
	unsigned (*rx)(struct vho_net *net, struct vho_queue *q, struct vho_net_pair *pair,
		struct rte_mbuf **pkts, unsigned n, unsigned *taken, bool *odd);
	/*
	 * Write packets to the guest, as many of the first n <= VHO_BURST as fit one buffer each,
	 * and add their bytes to *bytes. Returns how many. Packets stay the caller's.
	 */
	unsigned (*tx)(struct vho_net *net, struct vho_queue *q, struct vho_net_pair *pair,
		struct rte_mbuf **pkts, unsigned n, uint64_t *bytes);
};

/* The best that this CPU can run. Any thread. */
const struct vho_net_fast *vho_net_fast_best(void);
/* All that it can run, for tests: entry i, or NULL past the last. Any thread. */
const struct vho_net_fast *vho_net_fast_at(unsigned i);
