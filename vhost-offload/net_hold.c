// SPDX-License-Identifier: Apache-2.0
/* Packets that wait for the address of a receive buffer. */
#include "net_hold.h"

#include <string.h>

#include "iotlb.h"
#include "net_priv.h"

bool vho_hold_waits(const struct vho_queue *q)
{
	return q->iotlb && vho_iotlb_waits(q->iotlb);
}

/* Whoever sends packets into this may use up half of the pool, however many do it. */
static bool pool_has_room(const struct vho_net *net)
{
	return rte_mempool_avail_count(net->pool) > net->pool->size / 2;
}

static struct rte_mbuf *own(const struct vho_net *net, struct rte_mbuf *m)
{
	struct rte_mbuf *c;

	if (!(m->ol_flags & VHO_NET_F_LENT)) {
		rte_pktmbuf_refcnt_update(m, 1);
		return m;
	}
	c = rte_pktmbuf_copy(m, net->pool, 0, UINT32_MAX);
	if (c)
		c->ol_flags &= ~VHO_NET_F_LENT;
	return c;
}

unsigned vho_hold_keep(
	const struct vho_net *net, struct vho_hold *h, struct rte_mbuf *const *pkts, unsigned n)
{
	unsigned kept = 0;

	if (!pool_has_room(net))
		return 0;
	for (; kept < n && h->n < VHO_HOLD_PACKETS; kept++) {
		uint32_t mbufs = pkts[kept]->pkt_len / net->mbuf_room + pkts[kept]->nb_segs;
		struct rte_mbuf *m;

		if (h->mbufs + mbufs > VHO_HOLD_MBUFS)
			break;
		m = own(net, pkts[kept]);
		if (!m)
			break;
		h->pkt[h->n++] = m;
		h->mbufs = (uint16_t)(h->mbufs + mbufs);
	}
	return kept;
}

unsigned vho_hold_take(struct vho_hold *h, struct rte_mbuf **pkts)
{
	unsigned n = h->n;

	memcpy(pkts, h->pkt, n * sizeof(pkts[0]));
	h->n = 0;
	h->mbufs = 0;
	return n;
}
