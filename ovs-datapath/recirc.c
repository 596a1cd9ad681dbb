// SPDX-License-Identifier: Apache-2.0
/* Packets that wait to be looked up again: one worker's, in the order in which they came. */
#include "recirc.h"

#include <stdlib.h>

#include "dpu_alloc.h"

struct odp_recirc_queue *odp_recirc_queue_create(void)
{
	return dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(struct odp_recirc_queue));
}

void odp_recirc_queue_destroy(struct odp_recirc_queue *q)
{
	free(q);
}

static struct odp_recirc_group *group_at(struct odp_recirc_queue *q, unsigned i)
{
	return &q->group[(q->first_group + i) % ODP_RECIRC_PKTS];
}

/* A group that is being looked up is of a lower depth: it never grows. */
static bool same(const struct odp_recirc_group *a, const struct odp_recirc_group *b)
{
	return a->from.in == b->from.in && a->from.rxq == b->from.rxq &&
	       odp_meta_eq(&a->meta, &b->meta);
}

void odp_recirc(struct odp_worker *w, const struct odp_from *from, uint32_t recirc_id,
	const struct odp_meta *meta, struct rte_mbuf **pkts, unsigned n)
{
	struct odp_recirc_queue *q = w->recirc;
	uint32_t depth = from->meta ? from->meta->depth : 0;

	if (depth >= ODP_RECIRC_DEPTH) {
		odp_drop(from->in, ODP_DROP_RECIRC_DEPTH, pkts, n);
		return;
	}
	unsigned room = ODP_RECIRC_PKTS - q->n;

	if (n > room) {
		odp_drop(from->in, ODP_DROP_RECIRC_FULL, pkts + room, n - room);
		n = room;
	}
	if (n == 0)
		return;
	// As many groups as packets, so there is one more.
	struct odp_recirc_group *to = group_at(q, q->n_groups);

	if (!meta)
		meta = from->meta;
	if (meta)
		odp_meta_copy(&to->meta, meta);
	else
		odp_meta_reset(&to->meta, from->in->port->no);
	to->meta.key.recirc_id = recirc_id;
	to->meta.depth = depth + 1;
	to->from = (struct odp_from){ .in = from->in, .rxq = from->rxq, .meta = &to->meta };
	if (q->n_groups > 0 && same(group_at(q, q->n_groups - 1), to)) {
		to = group_at(q, q->n_groups - 1);
		to->n = (uint16_t)(to->n + n);
	} else {
		to->n = (uint16_t)n;
		q->n_groups++;
	}
	for (unsigned i = 0; i < n; i++)
		q->pkts[(q->first + q->n + i) % ODP_RECIRC_PKTS] = pkts[i];
	q->n += n;
}

unsigned odp_recirc_peek(struct odp_recirc_queue *q, struct odp_recirc_part *parts,
	struct rte_mbuf **pkts, unsigned *n_parts)
{
	unsigned n = 0;

	*n_parts = 0;
	for (unsigned g = 0; g < q->n_groups && n < ODP_BURST; g++) {
		const struct odp_recirc_group *from = group_at(q, g);
		unsigned take = RTE_MIN(from->n, ODP_BURST - n);

		parts[(*n_parts)++] = (struct odp_recirc_part){ &from->from, (uint16_t)take };
		for (unsigned i = 0; i < take; i++)
			pkts[n + i] = q->pkts[(q->first + n + i) % ODP_RECIRC_PKTS];
		n += take;
	}
	return n;
}

void odp_recirc_done(struct odp_recirc_queue *q, unsigned n)
{
	q->first = (q->first + n) % ODP_RECIRC_PKTS;
	q->n -= n;
	while (n > 0) {
		struct odp_recirc_group *g = group_at(q, 0);
		unsigned take = RTE_MIN(g->n, n);

		g->n = (uint16_t)(g->n - take);
		n -= take;
		if (g->n > 0)
			break;
		q->first_group = (q->first_group + 1) % ODP_RECIRC_PKTS;
		q->n_groups--;
	}
	if (q->n == 0) // the places that were used last are at hand, the whole ring is not
		q->first = q->first_group = 0;
}
