// SPDX-License-Identifier: Apache-2.0
/* What comes out of tunnels. */
#include <errno.h>

#include "extract.h"
#include "fused.h"
#include "recirc.h"
#include "tnl_out.h"

enum odp_drop odp_tnl_pop_reason(int err)
{
	switch (err) {
	case -ENOENT:
		return ODP_DROP_TNL_OTHER;
	case -EAGAIN:
		return ODP_DROP_TNL_FRAGMENT;
	case -EILSEQ:
		return ODP_DROP_TNL_CSUM;
	case -EPROTO:
		return ODP_DROP_TNL_PROTO;
	case -EOPNOTSUPP:
		return ODP_DROP_TNL_UNKNOWN;
	case -ECOMM:
		return ODP_DROP_TNL_ECN;
	case -ENOMEM:
		return ODP_DROP_NO_MBUF;
	default:
		return ODP_DROP_TNL_HEADER;
	}
}

#define HEAD_WORDS ((offsetof(struct odp_tnl_key, opts) + 7) / 8)

/* Packets out of a tunnel, one behind the other, that have everything in common. */
struct group {
	struct odp_worker *w;
	struct odp_from from; // its meta is the one below
	struct odp_meta meta;
	struct odp_tnl_key key;
	uint16_t inner;
	unsigned n;
	struct rte_mbuf *pkts[ODP_BURST];
};

static void group_go(struct group *g)
{
	unsigned n = g->n;

	g->n = 0;
	if (n > 0 && g->w->fuses)
		n = odp_fused_inner(g->w, &g->from, g->pkts, n);
	if (n > 0)
		odp_recirc(g->w, &g->from, 0, NULL, g->pkts, n);
}

/* All that is not an option, as words, and then those. */
static inline bool same_key(const struct odp_tnl_key *a, const struct odp_tnl_key *b)
{
	uint64_t x[HEAD_WORDS], y[HEAD_WORDS], diff = 0;

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	for (unsigned i = 0; i < HEAD_WORDS; i++)
		diff |= x[i] ^ y[i];
	return diff == 0 && (a->opts_len == 0 || memcmp(a->opts, b->opts, a->opts_len) == 0);
}

static void group_add(
	struct group *g, const struct odp_tnl_key *key, uint16_t inner, struct rte_mbuf *m)
{
	if (g->n == 0 || inner != g->inner || !same_key(key, &g->key)) {
		struct odp_key_tnl tnl;

		group_go(g);
		g->key = *key;
		g->inner = inner;
		odp_tnl_to_flow(key, &tnl);
		odp_meta_tnl(&g->meta, &tnl);
		g->meta.packet_type = inner == ODP_INNER_ETH ? 0 : ODP_PACKET_TYPE(inner);
	}
	g->pkts[g->n++] = m;
}

void odp_tnl_input(struct odp_worker *w, const struct odp_from *from, uint32_t vport,
	struct rte_mbuf **pkts, unsigned n)
{
	struct odp_pw *pw = odp_pw(w, vport);
	struct group g = { .w = w, .from = { .in = pw, .rxq = from->rxq, .meta = &g.meta } };
	uint64_t packets = 0, bytes = 0;

	if (unlikely(!pw || !pw->port->tnl)) {
		odp_drop(from->in, ODP_DROP_PORT_GONE, pkts, n);
		return;
	}
	g.meta.depth = from->meta ? from->meta->depth : 0;
	g.meta.key.in_port = vport;
	for (unsigned i = 0; i < n; i++) {
		struct odp_tnl_key key;
		uint16_t inner;
		int ret = odp_tnl_pop(
			&pkts[i], &pw->port->tnl->end, w->dp->conf.pool, &key, &inner);

		if (unlikely(ret < 0)) {
			dpu_counter_add(&pw->drops[odp_tnl_pop_reason(ret)], 1);
			rte_pktmbuf_free(pkts[i]);
			continue;
		}
		packets++;
		bytes += pkts[i]->pkt_len;
		group_add(&g, &key, inner, pkts[i]);
	}
	if (packets > 0 && w->fuses)
		odp_fused_ends(w, from, &g.key);
	group_go(&g);
	dpu_counter_add(&pw->rx_packets, packets);
	dpu_counter_add(&pw->rx_bytes, bytes);
}
