/* SPDX-License-Identifier: Apache-2.0 */
/* Rings of packets from any thread to one. */
#pragma once

#include <rte_mbuf.h>

/* On the heap, for `size` - 1 packets, a power of two; NULL: no memory. */
struct rte_ring *odp_ring_create(unsigned size);
void odp_ring_destroy(struct rte_ring *r); // frees the packets in it
/* Frees the packets in it. Returns how many. The thread that takes them out otherwise. */
unsigned odp_ring_drain(struct rte_ring *r);

/* Returns how many went in; the rest stays the caller's. Any thread. */
unsigned odp_ring_put(struct rte_ring *r, struct rte_mbuf **pkts, unsigned n);
/* Returns how many came out, and in *left, unless NULL, how many there still are. One thread. */
unsigned odp_ring_take(struct rte_ring *r, struct rte_mbuf **pkts, unsigned max, unsigned *left);
