// SPDX-License-Identifier: Apache-2.0
/*
 * Action lists: execution.
 *
 * A list is run action by action, each over all packets at hand. act_check.c has marked the action
 * that takes the packets; what sends them anywhere before that sends copies.
 */
#include <stdlib.h>

#include "act_edit.h"
#include "action.h"
#include "sw_offload.h"
#include "tx.h"
#include "upcall.h"

#define COPY_MAX 256u // bytes up to which a copy is cheaper than a clone

/* What is the same for all lists within one run. */
struct run {
	struct odp_worker *w;
	const struct odp_from *from; // borrowed
	bool has_outputs; // anywhere in the list
};

/* Packets at one point of a list. */
struct batch {
	uint16_t n;
	bool sent; // some went somewhere: what is left over is no drop
	uint32_t cut; // bytes that the next output keeps; 0: all
	struct rte_mbuf *pkts[ODP_BURST];
};

static struct odp_sums sums_of(const struct batch *b)
{
	struct odp_sums s = { 0 };

	for (unsigned i = 0; i < b->n; i++)
		odp_sums_add(&s, b->pkts[i]);
	return s;
}

static struct rte_mbuf *duplicate(const struct run *r, struct rte_mbuf *m)
{
	struct rte_mempool *pool = r->w->dp->conf.pool;
	struct rte_mbuf *c = m->pkt_len <= COPY_MAX ? odp_copy(m, pool)
						    : rte_pktmbuf_clone(m, pool);

	if (!c)
		dpu_counter_add(&r->from->in->drops[ODP_DROP_NO_MBUF], 1);
	return c;
}

/*
 * What an action that sends packets gets: copies, or when it takes them, the packets themselves.
 * A cut is applied to what goes out and is over then.
 */
static void hand_on(const struct run *r, struct batch *b, bool takes, struct batch *out)
{
	out->n = 0;
	out->sent = b->sent;
	out->cut = 0;
	if (takes) {
		memcpy(out->pkts, b->pkts, b->n * sizeof(b->pkts[0]));
		out->n = b->n;
		b->n = 0;
	}
	for (unsigned i = 0; i < b->n; i++) {
		out->pkts[out->n] = duplicate(r, b->pkts[i]);
		out->n = (uint16_t)(out->n + (out->pkts[out->n] != NULL));
	}
}

/* ---- out of the list ---- */

static void output_one(const struct run *r, struct batch *b, struct odp_pw *to, bool takes)
{
	struct batch out;

	b->sent = true;
	hand_on(r, b, takes, &out);
	for (unsigned i = 0; b->cut && i < out.n; i++)
		odp_edit_trunc(out.pkts[i], b->cut);
	struct odp_sums s = sums_of(&out);

	if (out.n > 0)
		odp_out_all(r->w, to, r->from->rxq, out.pkts, &s);
}

/* To the ports of one record. Those that are down get no copy. */
static void run_output(const struct run *r, struct batch *b, const struct odp_act *a)
{
	const struct odp_act_output *o = (const struct odp_act_output *)a;
	unsigned n = odp_act_n_outputs(a);
	struct odp_pw *to = NULL; // one late: the last that is up takes the packets

	for (unsigned i = 0; i < n; i++) {
		struct odp_pw *next = odp_pw(r->w, o->port[i]);

		if (!next || !(odp_caps(next->port) & CAPS_UP))
			continue;
		if (to)
			output_one(r, b, to, false);
		to = next;
	}
	if (to)
		output_one(r, b, to, a->flags & ODP_ACT_F_LAST);
	b->cut = 0;
}

/* Copies for the control thread, marked as such that have been decided on. */
static void run_userspace(const struct run *r, struct batch *b, const struct odp_act *a)
{
	b->sent |= a->flags & ODP_ACT_F_LAST;
	if (odp_is_control(r->w))
		return;
	for (unsigned i = 0; i < b->n; i++) {
		struct rte_mbuf *c = odp_copy(b->pkts[i], r->w->dp->conf.pool);

		if (!c) {
			dpu_counter_add(&r->from->in->drops[ODP_DROP_NO_MBUF], 1);
			continue;
		}
		if (b->cut)
			odp_edit_trunc(c, b->cut);
		odp_upcall_put(r->w, r->from, ODP_UPCALL_COPY, &c, 1);
	}
	b->cut = 0;
}

/* ---- edits ---- */

static int edit(struct rte_mbuf *m, const struct odp_act *a)
{
	const struct odp_act_vlan *v = (const struct odp_act_vlan *)a;
	const struct odp_act_mpls *l = (const struct odp_act_mpls *)a;

	switch (a->type) {
	case ODP_ACT_PUSH_VLAN:
		return odp_edit_push_vlan(m, v->tpid, v->tci);
	case ODP_ACT_POP_VLAN:
		return odp_edit_pop_vlan(m);
	case ODP_ACT_PUSH_MPLS:
		return odp_edit_push_mpls(m, l->lse, l->eth_type);
	case ODP_ACT_POP_MPLS:
		return odp_edit_pop_mpls(m, l->eth_type);
	default:
		return odp_edit_set(m, (const struct odp_act_set *)a);
	}
}

/* Change every packet's headers. One that cannot be changed must not go on as it is. */
static void run_edit(const struct run *r, struct batch *b, const struct odp_act *a)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct rte_mbuf *m = odp_edit_open(b->pkts[i], r->w->dp->conf.pool);

		if (!m)
			dpu_counter_add(&r->from->in->drops[ODP_DROP_NO_MBUF], 1);
		else if (edit(m, a) < 0)
			odp_drop_one(r->from->in, ODP_DROP_MALFORMED, m);
		else
			b->pkts[kept++] = m;
	}
	b->n = (uint16_t)kept;
}

/* ---- lists ---- */

static void run_list(const struct run *r, struct batch *b, const struct odp_act *list, size_t len);

/* What is left over at the end of a list. */
static void finish(const struct run *r, struct batch *b)
{
	if (b->n == 0)
		return;
	if (b->sent)
		rte_pktmbuf_free_bulk(b->pkts, b->n);
	else
		odp_drop(r->from->in, r->has_outputs ? ODP_DROP_PORT_GONE : ODP_DROP_FLOW_DROP,
			b->pkts, b->n);
	b->n = 0;
}

/* A list on copies, or when nothing wants the packets afterwards on them. */
static void run_nested(const struct run *r, struct batch *b, const struct odp_act *a,
	const struct odp_act *list, size_t len)
{
	bool takes = a->flags & ODP_ACT_F_LAST;
	struct batch in;

	if (len == 0 && !takes)
		return;
	hand_on(r, b, takes, &in);
	in.cut = b->cut;
	in.sent |= !takes; // of a copy nothing is missed
	run_list(r, &in, list, len);
	finish(r, &in);
}

static void run_drop(const struct run *r, struct batch *b, const struct odp_act *a)
{
	odp_drop(r->from->in, ((const struct odp_act_u32 *)a)->v, b->pkts, b->n);
	b->n = 0;
}

static void run_list(const struct run *r, struct batch *b, const struct odp_act *list, size_t len)
{
	ODP_ACTS_FOREACH(a, list, len)
	{
		size_t inner_len;
		const struct odp_act *inner = odp_act_list(a, &inner_len);

		if (b->n == 0)
			return;
		switch ((enum odp_act_type)a->type) {
		case ODP_ACT_OUTPUT:
			run_output(r, b, a);
			break;
		case ODP_ACT_USERSPACE:
			run_userspace(r, b, a);
			break;
		case ODP_ACT_SET:
		case ODP_ACT_PUSH_VLAN:
		case ODP_ACT_POP_VLAN:
		case ODP_ACT_PUSH_MPLS:
		case ODP_ACT_POP_MPLS:
			run_edit(r, b, a);
			break;
		case ODP_ACT_CLONE:
			run_nested(r, b, a, inner, inner_len);
			break;
		case ODP_ACT_TRUNC:
			b->cut = ((const struct odp_act_u32 *)a)->v;
			break;
		case ODP_ACT_DROP:
			run_drop(r, b, a);
			break;
		default:
			break; // act_check.c lets none through
		}
	}
}

/* Not inlined: it would cost the common way below its registers. */
static __rte_noinline void run_lists(struct odp_worker *w, const struct odp_acts *acts,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	struct run r = { .w = w, .from = from, .has_outputs = acts->n_outputs > 0 };
	struct batch b;

	b.n = (uint16_t)n;
	b.sent = false;
	b.cut = 0;
	memcpy(b.pkts, pkts, n * sizeof(pkts[0]));
	run_list(&r, &b, acts->list, acts->len);
	finish(&r, &b);
}

void odp_acts_run(struct odp_worker *w, const struct odp_acts *acts, const struct odp_from *from,
	struct rte_mbuf **pkts, const struct odp_sums *sums)
{
	if (unlikely(acts->kind == ODP_ACTS_LIST)) {
		run_lists(w, acts, from, pkts, sums->n);
		return;
	}
	bool drop = acts->kind == ODP_ACTS_DROP;
	struct odp_pw *out = drop ? NULL : odp_pw(w, acts->port);

	if (likely(out))
		odp_out_all(w, out, from->rxq, pkts, sums);
	else
		odp_drop(from->in, drop ? ODP_DROP_FLOW_DROP : ODP_DROP_PORT_GONE, pkts, sums->n);
}
