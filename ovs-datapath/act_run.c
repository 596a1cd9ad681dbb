// SPDX-License-Identifier: Apache-2.0
/*
 * Action lists: execution.
 *
 * A list is run action by action, each over all packets at hand. act_check.c has marked the action
 * that takes the packets; what sends them anywhere before that sends copies. Where an action gives
 * packets metadata that differ, they part: each group runs the rest of the list by itself.
 */
#include <stdlib.h>

#include <rte_random.h>

#include "act_ct.h"
#include "act_edit.h"
#include "act_hash.h"
#include "action.h"
#include "meter.h"
#include "sw_offload.h"
#include "tnl_out.h"
#include "tx.h"
#include "upcall.h"

#define COPY_MAX 256u // bytes up to which a copy is cheaper than a clone
#define ALL UINT32_MAX // packets, as a bitmap
static_assert(ODP_BURST <= 32, "packets of a batch fit a bitmap");

/* What is the same for all lists within one run. */
struct run {
	struct odp_worker *w;
	const struct odp_from *from; // borrowed
};

/* Packets at one point of a list. */
struct batch {
	uint16_t n;
	bool sent; // some went somewhere: what is left over is no drop
	bool gone; // an output found no port
	uint32_t cut; // bytes that the next output keeps; 0: all
	const struct odp_meta *meta; // of all packets, borrowed; NULL: they have just come in
	struct rte_mbuf *pkts[ODP_BURST];
	struct odp_meta own; // what `meta` points to once something was changed
};

static struct odp_sums sums_of(const struct batch *b)
{
	struct odp_sums s = { 0 };

	for (unsigned i = 0; i < b->n; i++)
		odp_sums_add(&s, b->pkts[i]);
	return s;
}

/* Metadata that may be changed. */
static struct odp_meta *meta_of(const struct run *r, struct batch *b)
{
	if (b->meta == &b->own)
		return &b->own;
	memset(&b->own, 0, sizeof(b->own));
	if (b->meta)
		odp_meta_copy(&b->own, b->meta);
	else
		odp_meta_reset(&b->own, r->from->in->port->no);
	b->meta = &b->own;
	return &b->own;
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
 * What an action that sends packets, or runs a list on them, gets: copies of those in `which`, or
 * when it takes them, the packets themselves.
 */
static void hand_on(
	const struct run *r, struct batch *b, uint32_t which, bool takes, struct batch *out)
{
	unsigned n = 0, kept = 0;

	for (unsigned i = 0; i < b->n; i++) {
		if (which & 1u << i) {
			out->pkts[n] = takes ? b->pkts[i] : duplicate(r, b->pkts[i]);
			n += out->pkts[n] != NULL;
		} else if (takes) {
			b->pkts[kept++] = b->pkts[i];
		}
	}
	out->n = (uint16_t)n;
	out->sent = b->sent;
	out->gone = b->gone;
	out->cut = b->cut;
	out->meta = b->meta;
	if (takes)
		b->n = (uint16_t)kept;
}

static void drop_all(const struct run *r, struct batch *b, enum odp_drop why)
{
	if (b->n > 0)
		odp_drop(r->from->in, why, b->pkts, b->n);
	b->n = 0;
}

/* ---- out of the list ---- */

static void output_one(
	const struct run *r, struct batch *b, struct odp_pw *to, uint32_t cut, bool takes)
{
	struct batch out;

	b->sent = true;
	hand_on(r, b, ALL, takes, &out);
	for (unsigned i = 0; cut && i < out.n; i++)
		odp_edit_trunc(out.pkts[i], cut);
	struct odp_sums s = sums_of(&out);

	if (unlikely(to->port->tnl) && out.n > 0)
		odp_tnl_output(r->w, r->from, out.meta, to, out.pkts, out.n);
	else if (out.n > 0)
		odp_out_all(r->w, to, r->from->rxq, out.pkts, &s);
}

/* To the ports of one record. Those that are down get no copy. A cut is for the first alone. */
static void run_output(const struct run *r, struct batch *b, const struct odp_act *a)
{
	const struct odp_act_output *o = (const struct odp_act_output *)a;
	unsigned n = odp_act_n_outputs(a);
	struct odp_pw *to = NULL; // one late: the last that is up takes the packets
	uint32_t cut = 0;

	for (unsigned i = 0; i < n; i++) {
		struct odp_pw *next = odp_pw(r->w, o->port[i]);

		if (!next || !(odp_caps(next->port) & CAPS_UP))
			continue;
		if (to)
			output_one(r, b, to, cut, false);
		to = next;
		cut = i == 0 ? b->cut : 0;
	}
	if (to)
		output_one(r, b, to, cut, a->flags & ODP_ACT_F_LAST);
	b->gone |= !to;
	b->cut = 0;
}

/* Copies for the control thread, marked as such that have been decided on. */
static void run_userspace(const struct run *r, struct batch *b, const struct odp_act *a)
{
	const struct odp_act_userspace *u = (const struct odp_act_userspace *)a;
	struct odp_from from = { .in = r->from->in, .rxq = r->from->rxq, .meta = b->meta };

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
		odp_upcall_put_data(r->w, &from, u, c);
	}
	b->cut = 0;
}

static void run_recirc(const struct run *r, struct batch *b, const struct odp_act *a)
{
	struct batch out;

	b->sent = true;
	hand_on(r, b, ALL, a->flags & ODP_ACT_F_LAST, &out);
	if (out.n > 0)
		odp_recirc(r->w, r->from, ((const struct odp_act_u32 *)a)->v, out.meta, out.pkts,
			out.n);
}

static void run_tnl_pop(const struct run *r, struct batch *b, const struct odp_act *a)
{
	struct batch out;

	b->sent = true;
	hand_on(r, b, ALL, a->flags & ODP_ACT_F_LAST, &out);
	if (out.n > 0)
		odp_tnl_input(r->w, r->from, ((const struct odp_act_u32 *)a)->v, out.pkts, out.n);
}

/* ---- edits ---- */

/*
 * Change every packet's headers. One that cannot be changed must not go on as it is. Returns those
 * for which the edit said 1.
 */
static uint32_t run_edit(const struct run *r, struct batch *b, const struct odp_act *a)
{
	uint32_t type = b->meta ? b->meta->packet_type : 0, special = 0;
	unsigned kept = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct rte_mbuf *m = odp_edit_open(b->pkts[i], r->w->dp->conf.pool);
		int ret = m ? odp_edit_act(m, a, type) : 0;

		if (!m) {
			dpu_counter_add(&r->from->in->drops[ODP_DROP_NO_MBUF], 1);
		} else if (ret < 0) {
			odp_drop_one(r->from->in, ODP_DROP_MALFORMED, m);
		} else {
			special |= (uint32_t)ret << kept;
			b->pkts[kept++] = m;
		}
	}
	b->n = (uint16_t)kept;
	return special;
}

static void run_pop_eth(const struct run *r, struct batch *b, const struct odp_act *a)
{
	// By what the flow matches it is the same for all.
	uint16_t type = b->n > 0 ? odp_edit_eth_type(b->pkts[0]) : 0;

	(void)run_edit(r, b, a);
	meta_of(r, b)->packet_type = ODP_PACKET_TYPE(type);
}

static void run_push_eth(const struct run *r, struct batch *b, const struct odp_act *a)
{
	(void)run_edit(r, b, a);
	meta_of(r, b)->packet_type = 0;
}

static void run_set(const struct run *r, struct batch *b, const struct odp_act *a)
{
	const struct odp_act_set *s = (const struct odp_act_set *)a;
	uint32_t v, mask;

	if (s->field > ODP_SET_TUNNEL) {
		(void)run_edit(r, b, a);
		return;
	}
	struct odp_meta *meta = meta_of(r, b);
	struct odp_key_tnl tnl;

	memcpy(&v, s->value, sizeof(v));
	memcpy(&mask, s->value + s->size, sizeof(mask));
	switch ((enum odp_set_field)s->field) {
	case ODP_SET_PRIORITY:
		meta->key.skb_priority = (meta->key.skb_priority & ~mask) | v;
		meta->map |= ODP_KEY_BITS(skb_priority);
		break;
	case ODP_SET_MARK:
		meta->key.skb_mark = (meta->key.skb_mark & ~mask) | v;
		meta->map |= ODP_KEY_BITS(skb_mark);
		break;
	default:
		memcpy(&tnl, s->value, sizeof(tnl));
		odp_meta_tnl(meta, &tnl);
		meta->tnl_set = 1;
		break;
	}
}

/* ---- lists ---- */

static void run_list(const struct run *r, struct batch *b, const struct odp_act *list, size_t len);

/* What is left over at the end of a list. */
static void finish(const struct run *r, struct batch *b)
{
	if (b->sent && b->n > 0)
		rte_pktmbuf_free_bulk(b->pkts, b->n);
	else
		drop_all(r, b, b->gone ? ODP_DROP_PORT_GONE : ODP_DROP_FLOW_DROP);
	b->n = 0;
}

/* A list on copies of some packets, or when nothing wants them afterwards on the packets. */
static void run_nested(const struct run *r, struct batch *b, const struct odp_act *a,
	uint32_t which, const struct odp_act *list, size_t len)
{
	bool takes = a->flags & ODP_ACT_F_LAST;
	struct batch in;

	if ((len == 0 && !takes) || which == 0)
		return;
	hand_on(r, b, which, takes, &in);
	in.sent |= !takes; // of a copy nothing is missed
	run_list(r, &in, list, len);
	finish(r, &in);
}

static void run_sample(const struct run *r, struct batch *b, const struct odp_act *a,
	const struct odp_act *list, size_t len)
{
	uint32_t probability = ((const struct odp_act_u32 *)a)->v, which = 0;

	for (unsigned i = 0; i < b->n; i++)
		which |= (uint32_t)((uint32_t)rte_rand() < probability || probability == UINT32_MAX)
			 << i;
	run_nested(r, b, a, which, list, len);
}

/* Bytes of a frame; of a GSO frame, those of its segments. */
static uint32_t frame_len(const struct rte_mbuf *m)
{
	return m->ol_flags & ODP_F_GSO ? (uint32_t)m->l2_len + m->l3_len + m->l4_len + m->tso_segsz
				       : m->pkt_len;
}

static void run_check_pkt_len(
	const struct run *r, struct batch *b, const struct odp_act *a, const struct odp_act *gt)
{
	const struct odp_act *le = odp_act_next(gt), *list;
	uint32_t max = ((const struct odp_act_u32 *)a)->v, longer = 0;
	unsigned n = b->n;
	size_t len;

	for (unsigned i = 0; i < n; i++)
		longer |= (uint32_t)(frame_len(b->pkts[i]) > max) << i;
	list = odp_act_list(gt, &len);
	run_nested(r, b, a, longer, list, len);
	// What was taken is gone, all others have the second list.
	list = odp_act_list(le, &len);
	run_nested(r, b, a, b->n < n ? ALL : ~longer, list, len);
}

static void run_dec_ttl(const struct run *r, struct batch *b, const struct odp_act *a,
	const struct odp_act *list, size_t len)
{
	uint32_t over = run_edit(r, b, a);
	struct batch in;

	if (over == 0)
		return;
	hand_on(r, b, over, true, &in);
	in.sent = true; // counted as what it is
	if (len == 0)
		drop_all(r, &in, ODP_DROP_TTL);
	run_list(r, &in, list, len);
	finish(r, &in);
}

static void run_meter(const struct run *r, struct batch *b, const struct odp_act *a)
{
	uint32_t id = ((const struct odp_act_u32 *)a)->v;
	uint32_t over = odp_meter_run(r->w, id, b->pkts, b->n);
	struct batch out;

	if (over == 0)
		return;
	hand_on(r, b, over, true, &out);
	drop_all(r, &out, odp_meter_reason(id));
}

/* Packets with one hash run the rest of the list together. */
static void run_hash(const struct run *r, struct batch *b, const struct odp_act *a,
	const struct odp_act *rest, size_t len)
{
	const struct odp_act_hash *h = (const struct odp_act_hash *)a;
	uint32_t hash[ODP_BURST];
	struct batch part;

	for (unsigned i = 0; i < b->n; i++)
		hash[i] = odp_act_hash(&r->w->dp->seed, b->pkts[i], h->alg, h->basis);
	while (b->n > 0) {
		uint32_t first = hash[0], which = 0;
		unsigned n = 0;

		for (unsigned i = 0; i < b->n; i++) {
			if (hash[i] == first)
				which |= 1u << i;
			else
				hash[n++] = hash[i];
		}
		hand_on(r, b, which, true, &part);
		struct odp_meta *meta = meta_of(r, &part);

		meta->key.dp_hash = first;
		meta->map |= ODP_KEY_BITS(dp_hash);
		run_list(r, &part, rest, len);
		finish(r, &part);
	}
}

/*
 * Does anything in a list look at what the connection table said of `zone`, before it says it anew?
 * The same zone does: what was translated stays with its connection.
 */
static bool looks_at_ct(uint16_t zone, const struct odp_act *list, size_t len)
{
	ODP_ACTS_FOREACH(a, list, len)
	{
		enum odp_act_ct_use use = odp_act_ct_use(a->type);

		if (use == ODP_ACT_CT_SAYS)
			return a->type == ODP_ACT_CT &&
			       ((const struct odp_act_ct *)a)->zone == zone;
		if (use == ODP_ACT_CT_LOOKS)
			return true;
	}
	return false;
}

/* Only looked up again, in the order in which they came. */
static void recirc_tracked(const struct run *r, struct batch *b, const struct odp_act *a,
	uint16_t zone, const struct odp_ct_pkt *p)
{
	struct odp_meta *meta = meta_of(r, b);
	unsigned n;

	for (unsigned i = 0; i < b->n; i += n) {
		n = 1;
		if (likely(odp_act_ct_is_own(&p[i]))) {
			while (i + n < b->n && odp_act_ct_alike(&p[i], &p[i + n]) &&
				odp_act_ct_is_own(&p[i + n]))
				n++;
			odp_act_ct_meta_own(meta, &p[i], zone);
		} else {
			while (i + n < b->n && odp_act_ct_same(&p[i], &p[i + n]))
				n++;
			odp_act_ct_meta(meta, &p[i], zone);
		}
		odp_recirc(r->w, r->from, ((const struct odp_act_u32 *)a)->v, meta, &b->pkts[i], n);
	}
	b->sent = true;
	b->n = 0;
}

/* Packets of which the connection table says the same go on together, where that makes odds. */
static void run_ct(const struct run *r, struct batch *b, const struct odp_act *a,
	const struct odp_act *rest, size_t len)
{
	const struct odp_act_ct *ct = (const struct odp_act_ct *)a;
	struct odp_ct_pkt p[ODP_BURST];
	uint8_t at[ODP_BURST]; // packet i of what is left is p[at[i]]
	struct batch part;

	b->n = (uint16_t)odp_act_ct(r->w,
		&(struct odp_place){ .ct = ct,
			.rest = rest,
			.len = len,
			.sent = b->sent,
			.gone = b->gone,
			.cut = b->cut,
			.from = *r->from,
			.meta = b->meta },
		b->pkts, b->n, p);
	if (b->n > 0 && !looks_at_ct(ct->zone, rest, len)) {
		odp_act_ct_meta(meta_of(r, b), &p[0], ct->zone);
		run_list(r, b, rest, len);
		return;
	}
	if (b->n > 0 && rest->type == ODP_ACT_RECIRC && rest->flags & ODP_ACT_F_LAST) {
		recirc_tracked(r, b, rest, ct->zone, p);
		return;
	}
	for (unsigned i = 0; i < b->n; i++)
		at[i] = (uint8_t)i;
	while (b->n > 0) {
		const struct odp_ct_pkt *first = &p[at[0]];
		uint32_t which = 0;
		unsigned n = 0;

		for (unsigned i = 0; i < b->n; i++) {
			if (odp_act_ct_same(&p[at[i]], first))
				which |= 1u << i;
			else
				at[n++] = at[i];
		}
		hand_on(r, b, which, true, &part);
		odp_act_ct_meta(meta_of(r, &part), first, ct->zone);
		run_list(r, &part, rest, len);
		finish(r, &part);
	}
}

/* What goes on with outer headers: out of a port, or down the rest of the list. */
struct pushed {
	const struct run *r;
	const struct batch *b;
	struct odp_pw *out; // NULL: the rest
	const struct odp_act *rest;
	size_t len;
};

static void pushed(void *arg, struct rte_mbuf **pkts, unsigned n)
{
	const struct pushed *p = arg;
	struct batch part;

	part.n = (uint16_t)n;
	part.sent = part.gone = false;
	part.cut = p->b->cut;
	part.meta = p->b->meta;
	memcpy(part.pkts, pkts, n * sizeof(pkts[0]));
	if (p->out) {
		output_one(p->r, &part, p->out, part.cut, true);
		return;
	}
	run_list(p->r, &part, p->rest, p->len);
	finish(p->r, &part);
}

/* A GSO frame becomes many packets: they go down the rest of the list as many at a time as fit. */
static void run_tnl_push(const struct run *r, struct batch *b, const struct odp_act *a,
	const struct odp_act *rest, size_t len)
{
	const struct odp_act_tnl_push *push = (const struct odp_act_tnl_push *)a;
	const struct odp_tnl_tmpl *t = odp_acts_tmpl(push);
	struct odp_pw *out = odp_pw(r->w, push->out_port), *vport = odp_pw(r->w, push->tnl_port);
	bool last = a->flags & ODP_ACT_F_LAST;
	struct pushed p = { r, b, last ? out : NULL, rest, len };

	if (!out || !vport || (last && !(odp_caps(out->port) & CAPS_UP))) {
		drop_all(r, b, ODP_DROP_PORT_GONE);
		return;
	}
	odp_tnl_put_on(r->w, r->from, b->meta, vport, t,
		odp_tnl_inner_mtu_over(t, odp_caps_mtu(odp_caps(out->port))), b->pkts, b->n, pushed,
		&p);
	b->n = 0;
}

static void run_one(const struct run *r, struct batch *b, const struct odp_act *a)
{
	size_t len;
	const struct odp_act *list = odp_act_list(a, &len);

	switch ((enum odp_act_type)a->type) {
	case ODP_ACT_OUTPUT:
		run_output(r, b, a);
		break;
	case ODP_ACT_USERSPACE:
		run_userspace(r, b, a);
		break;
	case ODP_ACT_RECIRC:
		run_recirc(r, b, a);
		break;
	case ODP_ACT_TNL_POP:
		run_tnl_pop(r, b, a);
		break;
	case ODP_ACT_SET:
		run_set(r, b, a);
		break;
	case ODP_ACT_PUSH_VLAN:
	case ODP_ACT_POP_VLAN:
	case ODP_ACT_PUSH_MPLS:
	case ODP_ACT_POP_MPLS:
		(void)run_edit(r, b, a);
		break;
	case ODP_ACT_PUSH_ETH:
		run_push_eth(r, b, a);
		break;
	case ODP_ACT_POP_ETH:
		run_pop_eth(r, b, a);
		break;
	case ODP_ACT_CLONE:
		run_nested(r, b, a, ALL, list, len);
		break;
	case ODP_ACT_SAMPLE:
		run_sample(r, b, a, list, len);
		break;
	case ODP_ACT_CHECK_PKT_LEN:
		run_check_pkt_len(r, b, a, list);
		break;
	case ODP_ACT_DEC_TTL:
		run_dec_ttl(r, b, a, list, len);
		break;
	case ODP_ACT_METER:
		run_meter(r, b, a);
		break;
	case ODP_ACT_TRUNC:
		b->cut = ((const struct odp_act_u32 *)a)->v;
		break;
	case ODP_ACT_CT_CLEAR:
		odp_act_ct_clear(meta_of(r, b));
		break;
	case ODP_ACT_DROP:
		drop_all(r, b, ((const struct odp_act_u32 *)a)->v);
		break;
	default:
		break; // act_check.c lets none through
	}
}

static void run_list(const struct run *r, struct batch *b, const struct odp_act *list, size_t len)
{
	const struct odp_act *end = odp_act_end(list, len);

	ODP_ACTS_FOREACH(a, list, len)
	{
		const struct odp_act *rest = odp_act_next(a);
		size_t left = (size_t)((const uint8_t *)end - (const uint8_t *)rest);

		if (b->n == 0)
			return;
		if (a->type == ODP_ACT_HASH) {
			run_hash(r, b, a, rest, left);
			return;
		}
		if (a->type == ODP_ACT_CT) {
			run_ct(r, b, a, rest, left);
			return;
		}
		if (a->type == ODP_ACT_TNL_PUSH) {
			run_tnl_push(r, b, a, rest, left);
			return;
		}
		run_one(r, b, a);
	}
}

/* Not inlined: it would cost the common way below its registers. */
static __rte_noinline void run_lists(struct odp_worker *w, const struct odp_acts *acts,
	const struct odp_from *from, struct rte_mbuf **pkts, unsigned n)
{
	struct run r = { .w = w, .from = from };
	struct batch b;

	b.n = (uint16_t)n;
	b.sent = b.gone = false;
	b.cut = 0;
	b.meta = from->meta;
	memcpy(b.pkts, pkts, n * sizeof(pkts[0]));
	// Its edits were found good for packets of the other kind.
	if (unlikely(acts->eth != !(from->meta && from->meta->packet_type)))
		drop_all(&r, &b, ODP_DROP_MALFORMED);
	run_list(&r, &b, acts->list, acts->len);
	finish(&r, &b);
}

/* The pieces part nowhere: what is known of the datagram is known of each. */
void odp_acts_run_whole(struct odp_worker *w)
{
	struct odp_whole *d = odp_hold_first(w);
	const struct odp_place *at = &d->at;
	struct run r = { .w = w, .from = &at->from };
	struct odp_ct_pkt p;
	struct batch b;
	unsigned n = odp_act_ct_whole(w, d, &p) ? d->d.n : 0;

	for (unsigned done = 0; done < n;) {
		unsigned more = RTE_MIN(n - done, (unsigned)ODP_BURST);

		b.n = (uint16_t)more;
		b.sent = at->sent;
		b.gone = at->gone;
		b.cut = at->cut;
		b.meta = at->meta;
		memcpy(b.pkts, &d->d.frags[done], more * sizeof(b.pkts[0]));
		done += more;
		odp_act_ct_meta(meta_of(&r, &b), &p, at->ct->zone);
		run_list(&r, &b, at->rest, at->len);
		finish(&r, &b);
	}
	odp_hold_next(w);
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
