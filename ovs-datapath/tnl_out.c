// SPDX-License-Identifier: Apache-2.0
/* Sending into tunnels. */
#include "tnl_out.h"

#include <errno.h>
#include <stdlib.h>

#include "act_ct.h"
#include "dpu_alloc.h"
#include "extract.h"
#include "pmtu.h"
#include "tnl_dest.h"
#include "track.h"
#include "tx.h"
#include "underlay_gate.h"
#include "upcall.h"

struct odp_tnl_worker *odp_tnl_worker_create(struct odp *dp, unsigned idx)
{
	const struct odp_pmtu_conf conf = { .pool = dp->conf.pool };
	struct odp_tnl_worker *t = dpu_aligned_calloc(RTE_CACHE_LINE_SIZE, 1, sizeof(*t));

	if (!t)
		return NULL;
	t->tx.pool = dp->conf.pool;
	// Ids of one worker's packets are not those of another's at about the same time.
	t->tx.ip_id = (uint16_t)(dp->seed.start + idx * 0x9e37u);
	t->gate = odp_ul_gate_create();
	if (!t->gate || odp_pmtu_create(&conf, &t->pmtu) < 0) {
		odp_tnl_worker_destroy(t);
		return NULL;
	}
	return t;
}

void odp_tnl_worker_destroy(struct odp_tnl_worker *t)
{
	if (!t)
		return;
	odp_pmtu_destroy(t->pmtu);
	odp_ul_gate_destroy(t->gate);
	free(t);
}

/* ---- headers on ---- */

/* Of the inner flow. Headers that are no good hash as they are. */
static uint32_t inner_hash(const struct rte_mbuf *m)
{
	static const uint64_t want = ODP_WANT_L2 | ODP_WANT_L3L4;
	static const struct odp_kw all = { .w = { ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull,
						   ~0ull, ~0ull } };
	union {
		struct odp_key key;
		struct odp_kw kw;
	} k;

	if (odp_extract_fast(m, 0, want, &all, &k.kw))
		return odp_tnl_inner_hash(&k.key);
	memset(&k, 0, sizeof(k));
	if (odp_extract_mbuf(m, 0, 0, want, &k.key) < 0) {
		memset(&k, 0, sizeof(k));
		(void)odp_extract_mbuf(m, 0, 0, ODP_WANT_L2, &k.key);
	}
	return odp_tnl_inner_hash(&k.key);
}

/* Its sender is told, if it is behind a port of this card. */
static void too_long(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	uint32_t inner_mtu, struct rte_mbuf *m)
{
	const struct odp_port *in = from->in->port;
	struct rte_mbuf *answer;

	if (!in->tnl &&
		odp_pmtu_answer(w->tnl->pmtu, m, inner_mtu, in->no, odp_track_now_ms(w) * 1000000,
			&answer) == 0 &&
		odp_act_ct_undo(w, from, meta, &answer))
		odp_out(w, from->in, from->rxq, answer);
	odp_drop_one(from->in, ODP_DROP_MTU, m);
}

/* Packets on their way to the sink. */
struct gather {
	odp_tnl_sink_fn *sink;
	void *arg;
	const struct odp_tnl_inner *in; // what they all are; NULL: each is what it is
	uint32_t plain; // with `in`: bytes of a packet that is not too long for sure
	unsigned n;
	struct rte_mbuf *pkts[ODP_BURST];
};

static void gather_flush(struct gather *g)
{
	unsigned n = g->n;

	g->n = 0;
	if (n > 0)
		g->sink(g->arg, g->pkts, n);
}

/* False: it was dropped. */
static bool put_on_one(struct odp_worker *w, const struct odp_from *from,
	const struct odp_tnl_tmpl *t, struct gather *g, struct rte_mbuf *m)
{
	bool gso = m->ol_flags & ODP_F_GSO;
	uint32_t hash = g->in ? g->in->hash : inner_hash(m);
	struct odp_tnl_out o;
	int ret = odp_tnl_out_init(&o, m, t, &w->tnl->tx, hash);

	if (ret < 0) {
		odp_drop_one(from->in,
			ret == -EMSGSIZE ? ODP_DROP_MTU
			: gso		 ? ODP_DROP_GSO
					 : ODP_DROP_CSUM,
			m);
		return false;
	}
	while ((ret = odp_tnl_out_next(&o, g->pkts + g->n, ODP_BURST - g->n)) > 0) {
		g->n += (unsigned)ret;
		if (g->n == ODP_BURST)
			gather_flush(g);
	}
	odp_tnl_out_fini(&o);
	if (ret < 0)
		dpu_counter_add(
			&from->in->drops[ret == -ENOMEM ? ODP_DROP_NO_MBUF : ODP_DROP_CSUM], 1);
	return ret == 0;
}

/* The same of one that may be lent, or too long. */
static bool put_on_other(struct odp_worker *w, const struct odp_from *from,
	const struct odp_meta *meta, const struct odp_tnl_tmpl *t, uint32_t inner_mtu,
	struct gather *g, struct rte_mbuf *m)
{
	if (odp_own_all(w, from->in, &m, 1) == 0)
		return false;
	if (odp_pmtu_exceeds(m, inner_mtu)) {
		too_long(w, from, meta, inner_mtu, m);
		return false;
	}
	return put_on_one(w, from, t, g, m);
}

static void put_on(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct odp_pw *vport, const struct odp_tnl_tmpl *t, uint32_t inner_mtu,
	struct rte_mbuf **pkts, unsigned n, struct gather *g)
{
	uint64_t packets = 0, bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];
		uint32_t len = m->pkt_len;

		if (g->in && len <= g->plain && odp_tnl_push_plain(m, t, &w->tnl->tx, g->in)) {
			g->pkts[g->n++] = m;
			if (unlikely(g->n == ODP_BURST))
				gather_flush(g);
		} else if (!put_on_other(w, from, meta, t, inner_mtu, g, m)) {
			continue;
		}
		packets++;
		bytes += len;
	}
	gather_flush(g);
	dpu_counter_add(&vport->tx_packets, packets);
	dpu_counter_add(&vport->tx_bytes, bytes);
}

void odp_tnl_put_on(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct odp_pw *vport, const struct odp_tnl_tmpl *t, uint32_t inner_mtu,
	struct rte_mbuf **pkts, unsigned n, odp_tnl_sink_fn *sink, void *arg)
{
	struct gather g = { .sink = sink, .arg = arg };

	put_on(w, from, meta, vport, t, inner_mtu, pkts, n, &g);
}

/* ---- to a destination ---- */

struct uplink {
	struct odp_worker *w;
	struct odp_pw *pw;
	uint16_t rxq;
};

static void to_uplink(void *arg, struct rte_mbuf **pkts, unsigned n)
{
	const struct uplink *u = arg;
	struct odp_sums s = { 0 };

	for (unsigned i = 0; i < n; i++)
		odp_sums_add(&s, pkts[i]);
	odp_out_all(u->w, u->pw, u->rxq, pkts, &s);
}

void odp_tnl_forward(struct odp_worker *w, const struct odp_from *from, struct odp_pw *vport,
	struct odp_tnl_dest *d, struct odp_pw *uplink, const struct odp_tnl_inner *in,
	struct rte_mbuf **pkts, unsigned n)
{
	struct uplink u = { w, uplink, from->rxq };
	struct gather g;

	g.sink = to_uplink;
	g.arg = &u;
	g.in = in;
	g.plain = d->inner_mtu ? d->inner_mtu + ODP_ETH_LEN : UINT32_MAX;
	g.n = 0;

	odp_tnl_dest_use(d);
	put_on(w, from, NULL, vport, &d->tmpl, d->inner_mtu, pkts, n, &g);
}

void odp_tnl_output(struct odp_worker *w, const struct odp_from *from, const struct odp_meta *meta,
	struct odp_pw *vport, struct rte_mbuf **pkts, unsigned n)
{
	struct odp_tnl_dest *d;

	// What a packet came through says nothing of where it is to go.
	if (!meta || !meta->tnl_set || meta->key.tnl.family == 0) {
		odp_drop(from->in, ODP_DROP_TNL_DST, pkts, n);
		return;
	}
	d = odp_tnl_dest_find(w->dp, vport->port->no, &meta->key.tnl);
	if (unlikely(!d || !odp_tnl_dest_current(d) || d->verdict == ODP_TNL_WAIT)) {
		odp_upcall_put_tnl(w, from, meta, vport->port->no, pkts, n);
		return;
	}
	odp_tnl_dest_use(d);
	if (unlikely(d->verdict == ODP_TNL_DROP)) {
		odp_drop(from->in, d->why, pkts, n);
		return;
	}
	struct uplink u = { w, odp_pw(w, d->out), from->rxq };

	if (unlikely(!u.pw))
		odp_drop(from->in, ODP_DROP_PORT_GONE, pkts, n);
	else
		odp_tnl_put_on(
			w, from, meta, vport, &d->tmpl, d->inner_mtu, pkts, n, to_uplink, &u);
}

/* ---- control thread ---- */

/* The ports that a packet came from and goes to. False: they are gone, and so is the packet. */
static bool ports_of(
	struct odp *dp, struct rte_mbuf *m, struct odp_port **in, struct odp_port **vport)
{
	const struct odp_upcall_head *h = rte_pktmbuf_mtod(m, const struct odp_upcall_head *);

	*in = odp_port_by_no(dp, h->meta.key.in_port);
	*vport = odp_port_by_no(dp, h->vport);
	if (*in && *vport && (*vport)->tnl)
		return true;
	dp->gone_drops[ODP_DROP_PORT_GONE]++;
	rte_pktmbuf_free(m);
	return false;
}

/* Its destination is current and not one to wait for. */
static void send_on(
	struct odp *dp, struct odp_port *in, const struct odp_port *vport, struct rte_mbuf *m)
{
	struct odp_worker *w = dp->control;
	struct odp_upcall_head h;
	struct odp_from from = { .in = &in->pw[w->idx], .meta = &h.meta };

	m = odp_upcall_head_take(m, &h);
	odp_tnl_output(w, &from, &h.meta, &vport->pw[w->idx], &m, 1);
}

void odp_tnl_upcall(struct odp *dp, struct rte_mbuf *m)
{
	const struct odp_upcall_head *h = rte_pktmbuf_mtod(m, const struct odp_upcall_head *);
	struct odp_port *in, *vport;
	struct odp_tnl_dest *d;
	struct odp_pw *pw;
	int ret;

	if (!ports_of(dp, m, &in, &vport))
		return;
	pw = &in->pw[dp->control->idx];
	ret = odp_tnl_dest_get(dp, vport, &h->meta.key.tnl, &d);
	if (ret < 0)
		odp_drop_one(pw, ret == -ENOSPC ? ODP_DROP_TNL_FULL : ODP_DROP_NO_MBUF, m);
	else if (d->verdict != ODP_TNL_WAIT)
		send_on(dp, in, vport, m);
	else if (odp_ul_wait(dp->tnls->ul, d->path, m) < 0)
		dpu_counter_add(&pw->drops[ODP_DROP_TNL_NEIGH], 1);
}

void odp_tnl_ready(struct odp *dp, const struct odp_ul_path *path, struct rte_mbuf *m)
{
	const struct odp_upcall_head *h = rte_pktmbuf_mtod(m, const struct odp_upcall_head *);
	struct odp_port *in, *vport;
	struct odp_tnl_dest *d;
	int ret;

	if (!ports_of(dp, m, &in, &vport))
		return;
	ret = odp_tnl_dest_renew(dp, vport, &h->meta.key.tnl, &d);
	// The destination may have gone while the packet waited, with another one over its path.
	if (ret < 0 || d->path != path || d->verdict == ODP_TNL_WAIT)
		odp_drop_one(&in->pw[dp->control->idx], ODP_DROP_TNL_NEIGH, m);
	else
		send_on(dp, in, vport, m);
	odp_lanes_flush(dp->control);
	odp_track_leave(dp->control);
}

void odp_tnl_lost(struct odp *dp, struct rte_mbuf *m)
{
	struct odp_port *in, *vport;

	if (ports_of(dp, m, &in, &vport))
		odp_drop_one(&in->pw[dp->control->idx], ODP_DROP_TNL_NEIGH, m);
}
