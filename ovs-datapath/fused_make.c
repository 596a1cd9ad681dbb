// SPDX-License-Identifier: Apache-2.0
/*
 * The fused path: composing an entry.
 *
 * The pipeline is gone through with a key instead of a packet: flows are looked up in the same
 * table, edits are made to the key, and connections are asked what they would say, without a packet
 * being seen by them. What depends on more than the key (a sample, a meter, a length) or has
 * effects of its own (a copy, an upcall, a commit that changes something) is not composed: such
 * packets go the whole way, every one.
 */
#include "fused_priv.h"

#include <netinet/in.h>

#include "act_ct.h"
#include "classifier.h"
#include "track.h"

struct maker {
	struct odp_worker *w;
	const struct odp_view *v;
	struct fused_entry *e; // being made: not in the table yet
	struct odp_meta meta; // with the packet words: all that the next lookup sees
	bool done; // the packet is where it goes
};

static bool add_op(struct maker *k, const struct odp_act *a, unsigned nat)
{
	if (k->e->n_ops == FUSED_OPS)
		return false;
	k->e->op[k->e->n_ops++] = (struct fused_op){ a, nat };
	return true;
}

/* ---- edits, to the key ---- */

static __rte_noinline void mask_in(void *to, const uint8_t *value, const uint8_t *mask, size_t n)
{
	uint8_t *t = to;

	for (size_t i = 0; i < n; i++)
		t[i] = (uint8_t)((t[i] & ~mask[i]) | (value[i] & mask[i]));
}

/* The parts of a value and of its mask that stand at `member`. */
#define SET(to, type, member)                                       \
	mask_in(&(to), s->value + offsetof(struct type, member),    \
		s->value + s->size + offsetof(struct type, member), \
		sizeof(((struct type *)0)->member))

/* Is byte `off` of the value set? */
#define TOUCHES(type, member) (s->value[s->size + offsetof(struct type, member)] != 0)

static bool set(struct maker *k, const struct odp_act_set *s)
{
	struct odp_key *key = &k->meta.key;

	switch (s->field) {
	case ODP_SET_PRIORITY:
		mask_in(&key->skb_priority, s->value, s->value + s->size, s->size);
		return true; // of no use to any port yet: nothing to do to the packet
	case ODP_SET_MARK:
		mask_in(&key->skb_mark, s->value, s->value + s->size, s->size);
		return true;
	case ODP_SET_ETH:
		SET(key->eth_src, odp_set_eth, src);
		SET(key->eth_dst, odp_set_eth, dst);
		break;
	case ODP_SET_IPV4:
		if (TOUCHES(odp_set_ipv4, ttl))
			return false; // the packet's own is what dec_ttl is judged by
		SET(key->ipv4.src, odp_set_ipv4, src);
		SET(key->ipv4.dst, odp_set_ipv4, dst);
		SET(key->ip_tos, odp_set_ipv4, tos);
		break;
	case ODP_SET_IPV6:
		if (TOUCHES(odp_set_ipv6, hlimit))
			return false;
		SET(key->ipv6.src, odp_set_ipv6, src);
		SET(key->ipv6.dst, odp_set_ipv6, dst);
		SET(key->ipv6_label, odp_set_ipv6, label);
		SET(key->ip_tos, odp_set_ipv6, tclass);
		break;
	case ODP_SET_TCP:
	case ODP_SET_UDP:
		SET(key->tp_src, odp_set_ports, src);
		SET(key->tp_dst, odp_set_ports, dst);
		break;
	default:
		return false;
	}
	return add_op(k, &s->h, 0);
}

static bool dec_ttl(struct maker *k, const struct odp_act *a)
{
	// Packets of this entry differ in their time to live, unless a flow looks at it
	k->meta.key.ip_ttl--;
	k->e->n_dec_ttl++;
	return add_op(k, a, 0);
}

/* ---- connections ---- */

static void translate(struct odp_key *key, const struct odp_ct_nat *nat, bool v6)
{
	size_t n = v6 ? 16 : 4;

	if (nat->what & ODP_NAT_SRC) {
		memcpy(v6 ? key->ipv6.src : (uint8_t *)&key->ipv4.src, nat->src, n);
		key->tp_src = nat->sport;
	}
	if (nat->what & ODP_NAT_DST) {
		memcpy(v6 ? key->ipv6.dst : (uint8_t *)&key->ipv4.dst, nat->dst, n);
		key->tp_dst = nat->dport;
	}
}

static bool changes_nothing(const struct odp_act_ct *a)
{
	static const uint8_t none[16];

	return !(a->flags & ODP_CT_A_COMMIT) || (!(a->flags & ODP_CT_A_FORCE) && !a->mark_mask &&
							!memcmp(a->label_mask, none, sizeof(none)));
}

static bool track(struct maker *k, const struct odp_act_ct *a)
{
	bool v6 = dpu_be16_get(k->meta.key.eth_type) == 0x86dd;
	struct odp_ct_pkt p = { .key = { .zone = a->zone,
					.l3 = v6 ? 6 : 4,
					.proto = k->meta.key.ip_proto,
					.sport = k->meta.key.tp_src,
					.dport = k->meta.key.tp_dst } };
	struct fused_entry *e = k->e;

	if (e->n_cts == FUSED_CTS || !changes_nothing(a))
		return false;
	memcpy(p.key.src, v6 ? k->meta.key.ipv6.src : (uint8_t *)&k->meta.key.ipv4.src,
		v6 ? 16 : 4);
	memcpy(p.key.dst, v6 ? k->meta.key.ipv6.dst : (uint8_t *)&k->meta.key.ipv4.dst,
		v6 ? 16 : 4);
	if (!odp_ct_peek(k->w->dp->ct, k->w->idx, &p, odp_track_now_ms(k->w)))
		return false;
	if ((p.state & (ODP_CS_EST | ODP_CS_NEW | ODP_CS_INV)) != ODP_CS_EST)
		return false;
	e->ct[e->n_cts++] = (struct fused_ct){ p.ref, p.dir };
	if ((a->flags & ODP_CT_A_NAT) && p.nat.what) {
		struct odp_ct_nat *nat = &e->nat[e->n_nats];

		if (e->n_nats == FUSED_NATS)
			return false;
		*nat = p.nat;
		if (!add_op(k, NULL, e->n_nats++))
			return false;
		translate(&k->meta.key, nat, v6);
	}
	if (!(a->flags & ODP_CT_A_NAT))
		p.state &= (uint8_t) ~(ODP_CS_SNAT | ODP_CS_DNAT);
	odp_act_ct_meta(&k->meta, &p, a->zone);
	return true;
}

/* ---- the way ---- */

/* True: the action is part of the program; *recirc when it is the end of this step. */
static bool act(struct maker *k, const struct odp_act *a, bool *recirc)
{
	switch (a->type) {
	case ODP_ACT_OUTPUT:
		if (odp_act_n_outputs(a) != 1 || !(a->flags & ODP_ACT_F_LAST))
			return false;
		k->e->out = ((const struct odp_act_output *)a)->port[0];
		k->done = true;
		return true;
	case ODP_ACT_SET:
		return set(k, (const struct odp_act_set *)a);
	case ODP_ACT_DEC_TTL:
		return dec_ttl(k, a);
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
	e->step[e->n_steps++] = (struct fused_step){ f, acts->serial, gen };
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

static void make(
	struct odp_worker *w, const struct odp_view *v, const struct fused_note *n, uint64_t epoch)
{
	struct fused_entry e = { .epoch = epoch, .view_gen = v->gen };
	struct maker k = { .w = w, .v = v, .e = &e };
	struct odp_fused *t = w->fused;

	for (unsigned i = 0; i < FUSED_WORDS; i++)
		e.key[i] = n->w[i] & t->any.w[i];
	if (odp_fused_find(t, e.key, n->hash))
		return;
	memcpy(k.meta.kw.w, n->w, sizeof(n->w));
	e.proto = k.meta.key.ip_proto;
	e.v6 = dpu_be16_get(k.meta.key.eth_type) == 0x86dd;
	while (!k.done) {
		if (step(&k))
			continue;
		tried_in_vain(t, n->hash);
		return;
	}
	odp_fused_put(t, &e, n->hash);
}

void odp_fused_make(struct odp_worker *w, const struct odp_view *v)
{
	// Before anything is looked at: what changes from now on is noticed
	uint64_t epoch = atomic_load_explicit(&w->dp->epoch, memory_order_acquire);
	struct odp_fused *t = w->fused;

	for (unsigned i = 0; i < t->n_notes; i++)
		make(w, v, &t->note[i], epoch);
	t->n_notes = 0;
}
