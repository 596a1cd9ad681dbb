// SPDX-License-Identifier: Apache-2.0
/*
 * Rings of packets from any thread to one: DPDK's, by C11 atomics rather than compiler barriers,
 * which are the same instructions on x86, but ones that ThreadSanitizer understands.
 *
 * A producer publishes the ring's tail behind what it has put in, once those before it have done
 * so. DPDK waits for that with a relaxed load: who then reads the tail sees, in C's terms, what its
 * writer has put in and not what those before it have. Processors do better than that; compilers
 * need not, and ThreadSanitizer does not. So here that load acquires, and no other file fills
 * rings.
 */
#ifndef RTE_USE_C11_MEM_MODEL
#define RTE_USE_C11_MEM_MODEL
#endif
#include <rte_pause.h>
#define rte_wait_until_equal_32(addr, value, order) \
	rte_wait_until_equal_32(addr, value, __ATOMIC_ACQUIRE)
#include <rte_ring.h>
#undef rte_wait_until_equal_32

#include "ring.h"

#include <stdlib.h>

#include "dpu_alloc.h"
#include "odp_port.h"

struct rte_ring *odp_ring_create(unsigned size)
{
	ssize_t bytes = rte_ring_get_memsize(size);
	struct rte_ring *r = bytes > 0 ? dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, (size_t)bytes)
				       : NULL;

	if (r && rte_ring_init(r, "odp", size, RING_F_SC_DEQ) < 0) {
		free(r);
		return NULL;
	}
	return r;
}

void odp_ring_destroy(struct rte_ring *r)
{
	if (r)
		odp_ring_drain(r);
	free(r);
}

unsigned odp_ring_drain(struct rte_ring *r)
{
	struct rte_mbuf *pkts[ODP_BURST];
	unsigned n, total = 0;

	while ((n = odp_ring_take(r, pkts, ODP_BURST, NULL)) > 0) {
		rte_pktmbuf_free_bulk(pkts, n);
		total += n;
	}
	return total;
}

unsigned odp_ring_put(struct rte_ring *r, struct rte_mbuf **pkts, unsigned n)
{
	return rte_ring_mp_enqueue_burst(r, (void **)pkts, n, NULL);
}

unsigned odp_ring_take(struct rte_ring *r, struct rte_mbuf **pkts, unsigned max, unsigned *left)
{
	return rte_ring_sc_dequeue_burst(r, (void **)pkts, max, left);
}
