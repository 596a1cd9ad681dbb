/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue behind odp_recirc(): packets in groups of one origin and one set of metadata. First in,
 * first out, so that of two packets of a connection none overtakes the other, and that a chain of
 * recirculations takes its turn with the others instead of growing the stack.
 */
#pragma once

#include "worker.h"

struct odp_recirc_group {
	struct odp_from from; // its meta is the one below
	uint16_t n;
	struct odp_meta meta;
};

/* Two rings; the groups' packets stand one behind the other in the second. */
struct odp_recirc_queue {
	unsigned first, n; // packets
	unsigned first_group, n_groups;
	struct odp_recirc_group group[ODP_RECIRC_PKTS];
	struct rte_mbuf *pkts[ODP_RECIRC_PKTS];
};

/* The next `n` packets that are looked up together. */
struct odp_recirc_part {
	const struct odp_from *from; // borrowed: valid until odp_recirc_done()
	uint16_t n;
};

struct odp_recirc_queue *odp_recirc_queue_create(void);
void odp_recirc_queue_destroy(struct odp_recirc_queue *q);
/*
 * Look at the next packets, at most a burst, and at the parts of groups that they are: at most as
 * many as packets. They stay in the queue until odp_recirc_done(), so that what joins it meanwhile
 * does not overwrite their groups. Returns the packets.
 */
unsigned odp_recirc_peek(struct odp_recirc_queue *q, struct odp_recirc_part *parts,
	struct rte_mbuf **pkts, unsigned *n_parts);
/* The first n packets have been dealt with. */
void odp_recirc_done(struct odp_recirc_queue *q, unsigned n);
