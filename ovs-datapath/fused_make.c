// SPDX-License-Identifier: Apache-2.0
/*
 * The fused path: composing an entry.
 *
 * The pipeline is gone through with a key instead of a packet: flows are looked up in the same
 * table, edits are made to the key, and connections are asked what they would say, without a packet
 * being seen by them. What depends on more than the key (a sample, a length) or has effects of its
 * own (a copy, an upcall, a commit that changes something) is not composed: such packets go the
 * whole way, every one. A meter is asked for each packet, behind the connections: what these have
 * seen cannot be undone when a meter drops it, so none comes before them.
 */
#include "fused_priv.h"

#include <netinet/in.h>

#include "act_ct.h"
#include "act_hash.h"
#include "classifier.h"
#include "tnl_dest.h"
#include "track.h"

struct maker {
	struct odp_worker *w;
	const struct odp_view *v;
	struct fused_entry *e; // being made: not in the table yet
	struct odp_meta meta; // with the packet words: all that the next lookup sees
	struct odp_rewriter edits;
	bool done; // the packet is where it goes
	bool later; // it could not be made now, but soon
};

/* ---- connections ---- */

static bool changes_nothing(const struct odp_act_ct *a)
{
	static const uint8_t none[16];

	return !(a->flags & ODP_CT_A_COMMIT) || (!(a->flags & ODP_CT_A_FORCE) && !a->mark_mask &&
							!memcmp(a->label_mask, none, sizeof(none)));
}

/* What was translated stays with its connection, which is asked for every packet already. */
static bool stays(struct maker *k, const struct odp_ct_pkt *p, uint16_t zone)
{
	const struct fused_entry *e = k->e;

	for (unsigned i = 0; i < e->n_cts; i++)
		if (e->ct[i].conn == p->ref.conn && e->ct[i].gen == p->ref.gen) {
			odp_act_ct_meta(&k->meta, p, zone);
			return true;
		}
	return false;
}

static bool track(struct maker *k, const struct odp_act_ct *a)
{
	const struct odp_key *key = &k->meta.key;
	bool v6 = dpu_be16_get(key->eth_type) == 0x86dd;
	struct odp_ct_pkt p = { .key = { .zone = a->zone,
					.l3 = v6 ? 6 : 4,
					.proto = key->ip_proto,
					.sport = key->tp_src,
					.dport = key->tp_dst } };
	struct fused_entry *e = k->e;
	struct odp_ct_was was;

	if (e->n_cts == FUSED_CTS || e->n_meters > 0 || !changes_nothing(a))
		return false;
	memcpy(p.key.src, v6 ? key->ipv6.src : (const uint8_t *)&key->ipv4.src, v6 ? 16 : 4);
	memcpy(p.key.dst, v6 ? key->ipv6.dst : (const uint8_t *)&key->ipv4.dst, v6 ? 16 : 4);
	p.was = odp_act_ct_was(&k->meta, a->zone, p.key.l3, &was);
	if (!odp_ct_peek(k->w->dp->ct, k->w->idx, &p, odp_track_now_ms(k->w)))
		return false;
	if ((p.state & (ODP_CS_EST | ODP_CS_NEW | ODP_CS_INV)) != ODP_CS_EST)
		return false;
	if (p.helper)
		return false; // it wants to see every packet
	if (p.was)
		return stays(k, &p, a->zone);
	e->ct_grows[e->n_cts] = (int8_t)odp_rewrite_grows(&k->edits);
	e->dirs |= (uint8_t)(p.dir << e->n_cts);
	e->ct[e->n_cts++] = p.ref;
	if ((a->flags & ODP_CT_A_NAT) && p.nat.what)
		odp_rewrite_nat(&k->edits, &p.nat);
	if (!(a->flags & ODP_CT_A_NAT))
		p.state &= (uint8_t) ~(ODP_CS_SNAT | ODP_CS_DNAT);
	odp_act_ct_meta(&k->meta, &p, a->zone);
	return true;
}

/* ---- other actions ---- */

/* What stays with the packet and not in it: of use to later lookups only. */
static bool set_meta(struct maker *k, const struct odp_act_set *s)
{
	uint32_t *field, v, mask;
	struct odp_key_tnl tnl;

	if (s->field == ODP_SET_TUNNEL) {
		memcpy(&tnl, s->value, sizeof(tnl));
		odp_meta_tnl(&k->meta, &tnl);
		k->meta.tnl_set = 1;
		return true;
	}
	if (s->field == ODP_SET_PRIORITY)
		field = &k->meta.key.skb_priority;
	else
		field = &k->meta.key.skb_mark;
	memcpy(&v, s->value, sizeof(v));
	memcpy(&mask, s->value + s->size, sizeof(mask));
	*field = (*field & ~mask) | v;
	return true;
}

static bool set(struct maker *k, const struct odp_act *a)
{
	const struct odp_act_set *s = (const struct odp_act_set *)a;

	return s->field <= ODP_SET_TUNNEL ? set_meta(k, s) : odp_rewrite_act(&k->edits, a);
}

/* By the key it is the same for every packet. */
static bool hash(struct maker *k, const struct odp_act_hash *h)
{
	k->meta.key.dp_hash = odp_act_hash_key(&k->w->dp->seed, &k->meta.key, h->alg, h->basis);
	return true;
}

static bool meter(struct maker *k, uint32_t id)
{
	struct fused_entry *e = k->e;

	// It counts bytes of the packet as it is there
	if (e->n_meters == FUSED_METERS || odp_rewrite_grows(&k->edits) != 0)
		return false;
	e->meter[e->n_meters] = id;
	e->meter_step[e->n_meters++] = (uint8_t)(e->n_steps - 1);
	return true;
}

static bool is_tunnel(const struct maker *k, uint32_t port)
{
	const struct odp_pw *pw = odp_pw(k->w, port);

	return pw && pw->port->tnl;
}

/* As odp_tnl_output() does, which asks the control thread for what is not there. */
static bool into_tunnel(struct maker *k)
{
	struct odp *dp = k->w->dp;
	const struct odp_tnl_dest *d;

	if (!k->meta.tnl_set || k->meta.key.tnl.family == 0)
		return false;
	d = odp_tnl_dest_find(dp, k->e->out, &k->meta.key.tnl);
	k->later = !d || d->verdict == ODP_TNL_WAIT || !odp_tnl_dest_current(d);
	if (k->later || d->verdict != ODP_TNL_SEND)
		return false;
	k->e->flags |= FUSED_F_TNL;
	k->e->tnl = (struct fused_tnl){ .serial = d->serial,
		.slot = (uint16_t)d->slot,
		.hash = odp_tnl_inner_hash(&k->meta.key),
		.l3 = (uint16_t)(k->e->l3 + odp_rewrite_grows(&k->edits)) };
	return true;
}

static bool output(struct maker *k, const struct odp_act *a)
{
	if (odp_act_n_outputs(a) != 1 || !(a->flags & ODP_ACT_F_LAST))
		return false;
	k->e->out = ((const struct odp_act_output *)a)->port[0];
	k->done = true;
	return !is_tunnel(k, k->e->out) || into_tunnel(k);
}

/* ---- the way ---- */

/* True: the action is part of the program; *recirc when it is the end of this step. */
static bool act(struct maker *k, const struct odp_act *a, bool *recirc)
{
	switch (a->type) {
	case ODP_ACT_OUTPUT:
		return output(k, a);
	case ODP_ACT_SET:
		return set(k, a);
	case ODP_ACT_PUSH_VLAN:
	case ODP_ACT_POP_VLAN:
	case ODP_ACT_DEC_TTL:
		return odp_rewrite_act(&k->edits, a);
	case ODP_ACT_HASH:
		return hash(k, (const struct odp_act_hash *)a);
	case ODP_ACT_METER:
		return meter(k, ((const struct odp_act_u32 *)a)->v);
	case ODP_ACT_CT:
		return track(k, (const struct odp_act_ct *)a);
	case ODP_ACT_CT_CLEAR:
		odp_act_ct_clear(&k->meta);
		return true;
	case ODP_ACT_RECIRC:
		if (!(a->flags & ODP_ACT_F_LAST))
			return false;
		k->meta.key.recirc_id = ((const struct odp_act_u32 *)a)->v;
		*recirc = true;
		return true;
	default:
		return false;
	}
}

static bool step(struct maker *k)
{
	struct odp_flow *f = odp_classifier_lookup(k->v, &k->meta.kw);
	struct fused_entry *e = k->e;
	const struct odp_acts *acts;
	bool recirc = false;
	uint32_t gen;

	if (!f || e->n_steps == FUSED_STEPS)
		return false;
	gen = atomic_load_explicit(&f->gen, memory_order_acquire);
	acts = atomic_load_explicit(&f->acts, memory_order_acquire);
	if (!(gen & 1) || !acts)
		return false; // it goes at this moment
	e->step_grows[e->n_steps] = (int8_t)odp_rewrite_grows(&k->edits);
	e->serial[e->n_steps] = acts->serial;
	e->gen[e->n_steps] = gen;
	e->flow[e->n_steps++] = f->idx;
	ODP_ACTS_FOREACH(a, acts->list, acts->len)
	if (k->done || recirc || !act(k, a, &recirc))
		return false;
	return k->done || recirc;
}

static void tried_in_vain(struct odp_fused *t, uint32_t hash)
{
	struct fused_vain *vain = &t->vain[hash % FUSED_VAIN];

	if (vain->hash != hash)
		*vain = (struct fused_vain){ .hash = hash };
	vain->left = (uint16_t)((1u << vain->times) - 1);
	if (vain->times < FUSED_VAIN_MAX)
		vain->times++;
}

static void begin(struct maker *k, const struct fused_note *n)
{
	struct odp_key *key = &k->meta.key;
	struct fused_entry *e = k->e;
	bool v6, udp, tagged;

	memcpy(k->meta.kw.w, n->w, sizeof(n->w));
	if (n->vlan_tpid)
		key->vlan_tpid = dpu_be16_put(n->vlan_tpid);
	if (n->tnl.family)
		odp_meta_tnl(&k->meta, &n->tnl);
	v6 = dpu_be16_get(key->eth_type) == 0x86dd;
	udp = key->ip_proto == IPPROTO_UDP;
	tagged = dpu_be16_get(key->vlan_tci) & ODP_VLAN_PRESENT;
	e->flags = (uint8_t)((v6 ? FUSED_F_V6 : 0) | (udp ? FUSED_F_UDP : 0));
	e->l3 = tagged ? 18 : 14;
	e->l3_len = v6 ? 40 : 20;
	odp_rewrite_begin(&k->edits, &e->rw, key);
}

static void end(struct maker *k)
{
	struct fused_entry *e = k->e;

	odp_rewrite_end(&k->edits);
	e->n_dec = e->rw.n_dec;
	if (e->rw.changes)
		e->flags |= FUSED_F_EDITS;
	for (unsigned i = 0; i < e->n_steps; i++)
		e->flags |= e->step_grows[i] ? FUSED_F_GROWS : 0;
	for (unsigned i = 0; i < e->n_cts; i++)
		e->flags |= e->ct_grows[i] ? FUSED_F_GROWS : 0;
}

/* What packets like this one are found by, and its hash; 0: nothing yet, and not even if `make`. */
static uint32_t key_of(struct odp_worker *w, const struct odp_view *v, const struct fused_note *n,
	bool make, uint64_t key[FUSED_WORDS])
{
	struct odp_fused *t = w->fused;

	for (unsigned i = 0; i < FUSED_WORDS; i++)
		key[i] = n->w[i] & t->any.w[i];
	if (n->tnl.family) {
		struct odp_kw port = { .w = { n->w[0] } };

		key[0] = odp_fused_outer(t, v, odp_kw_port(&port), &n->tnl, make);
		if (!key[0])
			return 0;
	}
	return fused_hash(&v->seed, key);
}

static void make(
	struct odp_worker *w, const struct odp_view *v, const struct fused_note *n, uint64_t epoch)
{
	struct fused_entry e = { .epoch = epoch, .view_gen = v->gen };
	struct maker k = { .w = w, .v = v, .e = &e };
	struct odp_fused *t = w->fused;
	uint64_t key[FUSED_WORDS];
	uint32_t hash = key_of(w, v, n, false, key);

	if (hash && odp_fused_find(t, key, hash))
		return;
	begin(&k, n);
	while (!k.done) {
		if (step(&k))
			continue;
		if (!k.later)
			tried_in_vain(t, n->hash);
		return;
	}
	end(&k);
	hash = key_of(w, v, n, true, key);
	memcpy(e.key, key, 5 * sizeof(key[0]));
	e.key[5] = key[ODP_KEY_L4_WORD];
	memcpy(e.more, key + 5, sizeof(e.more));
	odp_fused_put(t, &e, hash);
}

void odp_fused_make(struct odp_worker *w, const struct odp_view *v)
{
	// Before anything is looked at: what changes from now on is noticed
	uint64_t epoch = atomic_load_explicit(&w->dp->epoch, memory_order_acquire);
	struct odp_fused *t = w->fused;

	odp_fused_view(t, v); // or a worker that has just begun to fuse would not have seen it
	for (unsigned i = 0; i < t->n_notes; i++)
		make(w, v, &t->note[i], epoch);
	t->n_notes = 0;
	t->v = NULL; // the turn is over
}
