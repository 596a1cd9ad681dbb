/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random masks that a flow table takes, and the operator's flows under them as a list: what a
 * lookup must find, found by comparing with each.
 *
 * What is drawn comes from the table of fields (fields.h), so that a new field is drawn by itself;
 * what that table leaves out stands here by name. A test that wants all of a key to be drawn looks
 * at the union of masks, rnd_pad() says which bytes are none.
 */
#pragma once

#include "fake_port.h"
#include "fields.h"
#include "hostile.h"
#include "key.h"

/* ---- values ---- */

/* Few of all values, so that packets and flows meet: no bit, or one or two. */
static inline void rnd_value(struct hostile *h, void *at, size_t len)
{
	uint8_t *b = at;

	memset(b, 0, len);
	for (unsigned n = hostile_below(h, 3); n; n--)
		b[hostile_below(h, (uint32_t)len)] ^= (uint8_t)(1u << hostile_below(h, 8));
}

#define RND_VALUE(h, field) rnd_value(h, &(field), sizeof(field))

/* An address of IPv4 and one of IPv6 lie in one place; 0 for what neither is. */
static inline int rnd_family(const struct odp_field *f)
{
	return f->type == FIELD_IPV4 ? 4 : f->type == FIELD_IPV6 ? 6 : 0;
}

/* A few options, or as many as there is room for. */
static inline void rnd_options(struct hostile *h, struct odp_key_tnl *t)
{
	unsigned left = hostile_below(h, 4) ? hostile_below(h, 4) : ODP_TNL_OPTS, len = 0;

	for (; left && len < ODP_TNL_OPTS; left--) {
		unsigned words = hostile_below(h, 2) ? hostile_below(h, 4) : hostile_below(h, 32);
		unsigned room = (ODP_TNL_OPTS - len) / 4 - 1;

		words = words < room ? words : room;
		rnd_value(h, t->opts + len, 4 + 4 * words);
		t->opts[len + 3] = (uint8_t)words;
		len += 4 + 4 * words;
	}
	t->opts_len = (uint8_t)len;
}

static inline void rnd_tunnel(struct hostile *h, struct odp_key *k)
{
	static const uint8_t families[] = { 0, 4, 6 };
	const struct odp_field *const tables[] = { odp_tnl_fields, odp_gbp_fields, odp_gpe_fields };
	struct odp_key_tnl *t = &k->tnl;

	memset(t, 0, sizeof(*t));
	t->family = families[hostile_below(h, 3)];
	if (t->family == 0)
		return;
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct odp_field *f = tables[i]; f->name; f++)
			if (rnd_family(f) == 0 || rnd_family(f) == t->family)
				rnd_value(h, (uint8_t *)k + f->off, f->size);
	RND_VALUE(h, t->id);
	t->flags = (uint16_t)hostile_below(h, 16);
	rnd_options(h, t);
}

/* What the datapath knows of a packet; for one of this Ethertype. */
static inline void rnd_meta(struct hostile *h, struct odp_key *k)
{
	memset((uint8_t *)k + ODP_KEY_META_WORD * 8, 0, sizeof(*k) - ODP_KEY_META_WORD * 8);
	k->recirc_id = hostile_below(h, 3);
	RND_VALUE(h, k->dp_hash);
	RND_VALUE(h, k->skb_priority);
	RND_VALUE(h, k->skb_mark);
	RND_VALUE(h, k->ct_mark);
	RND_VALUE(h, k->ct_state);
	RND_VALUE(h, k->ct_zone);
	RND_VALUE(h, k->ct_label);
	for (unsigned i = 0; i < ODP_GROUP_TUPLES; i++)
		if (odp_group_fits(&odp_groups[i], dpu_be16_get(k->eth_type), 0))
			for (const struct odp_field *f = odp_groups[i].f; f->name; f++)
				rnd_value(h, (uint8_t *)k + f->off, f->size);
	rnd_tunnel(h, k);
}

/* ---- masks ---- */

/* In one of `n` cases bits of a field: all of them, a prefix, or any. */
static inline void rnd_bits(struct hostile *h, void *mask, size_t len, unsigned n)
{
	uint8_t *m = mask;
	unsigned prefix = hostile_below(h, (uint32_t)len * 8 + 1), how = hostile_below(h, 3);

	if (hostile_below(h, n))
		return;
	for (unsigned i = 0; i < len; i++) {
		unsigned bits = prefix > i * 8 ? prefix - i * 8 : 0;

		m[i] = how == 0	  ? 0xff
		       : how == 1 ? (uint8_t)(0xff00 >> (bits > 8 ? 8 : bits))
				  : (uint8_t)hostile_rand(h);
	}
}

/* The same of the whole field or nothing. */
static inline bool rnd_whole(struct hostile *h, void *mask, size_t len, unsigned n)
{
	if (hostile_below(h, n))
		return false;
	memset(mask, 0xff, len);
	return true;
}

#define RND_BITS(h, field, n) rnd_bits(h, &(field), sizeof(field), n)
#define RND_WHOLE(h, field, n) rnd_whole(h, &(field), sizeof(field), n)

static inline void rnd_tags(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	const uint16_t with_tag[] = { 0xffff, 0x1000, 0x1fff,
		(uint16_t)(0x1000 | hostile_rand(h)) };
	static const uint16_t without[] = { 0xffff, 0x1000 };
	bool outer = dpu_be16_get(k->vlan_tci), inner = dpu_be16_get(k->cvlan_tci);

	if (hostile_below(h, 3))
		return;
	m->vlan_tci = dpu_be16_put(
		outer ? with_tag[hostile_below(h, 4)] : without[hostile_below(h, 2)]);
	if (!outer)
		return;
	(void)RND_WHOLE(h, m->vlan_tpid, 4);
	if (hostile_below(h, 2))
		return;
	m->cvlan_tci = dpu_be16_put(
		inner ? with_tag[hostile_below(h, 4)] : without[hostile_below(h, 2)]);
	if (inner)
		(void)RND_WHOLE(h, m->cvlan_tpid, 4);
}

static inline bool rnd_is_nd(const struct odp_key *k)
{
	unsigned type = dpu_be16_get(k->tp_src);

	return type == 135 || type == 136;
}

/* Bits of these fields; those of one that is narrower than its bytes come back within it. */
static inline void rnd_fields(
	struct hostile *h, const struct odp_field *f, int family, struct odp_key *m, unsigned n)
{
	for (; f->name; f++)
		if (family == 0 || rnd_family(f) == 0 || rnd_family(f) == family)
			rnd_bits(h, (uint8_t *)m + f->off, f->size, n);
	m->ipv6_label = dpu_be32_put(dpu_be32_get(m->ipv6_label) & 0xfffff);
}

static inline void rnd_l4(
	struct hostile *h, const struct odp_group *g, const struct odp_key *k, struct odp_key *m)
{
	bool nd = g->f->off == offsetof(struct odp_key, nd.target);

	if (nd && (!rnd_is_nd(k) || hostile_below(h, 2)))
		return;
	m->ip_proto = 0xff;
	if (k->ip_frag == ODP_FRAG_LATER)
		m->ip_frag = 0; // or it would be known that there is no layer 4
	if (nd)
		memset(&m->tp_src, 0xff, 4);
	rnd_fields(h, g->f, 0, m, 3);
	if (g->proto == 6 && hostile_below(h, 3) == 0)
		m->tcp_flags = dpu_be16_put((uint16_t)hostile_rand(h) & 0xfff);
}

/* What stands in brackets in text, behind the tuples of connections. */
static inline void rnd_groups(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	uint16_t type = dpu_be16_get(k->eth_type);
	bool deep = (type == 0x0800 || type == 0x86dd) && hostile_below(h, 3);

	for (const struct odp_group *g = odp_groups + ODP_GROUP_TUPLES; g->name; g++) {
		if (!odp_group_fits(g, type, k->ip_proto))
			continue;
		if (g->proto == 0)
			rnd_fields(h, g->f, 0, m, 3);
		else if (deep) // of ARP it is the operation
			rnd_l4(h, g, k, m);
	}
}

/* A mask over packet fields for flows that a packet of this key meets. */
static inline void rnd_mask(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	uint16_t type = dpu_be16_get(k->eth_type);

	memset(m, 0, sizeof(*m));
	m->recirc_id = UINT32_MAX;
	(void)RND_WHOLE(h, m->in_port, 2);
	rnd_fields(h, odp_eth_fields, 0, m, 4);
	rnd_tags(h, k, m);
	if (hostile_below(h, 4) == 0)
		return;
	m->eth_type = dpu_be16_put(0xffff);
	if (type == 0x8847 || type == 0x8848)
		for (unsigned i = 0; i < 3; i++)
			RND_BITS(h, m->mpls_lse[i], 2);
	else
		rnd_groups(h, k, m);
}

static inline void rnd_tunnel_mask(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	const struct odp_field *const tables[] = { odp_tnl_fields, odp_gbp_fields, odp_gpe_fields };
	const struct odp_key_tnl *t = &k->tnl;

	m->tnl.family = 0xff;
	if (t->family == 0)
		return;
	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		rnd_fields(h, tables[i], t->family, m, 4);
	RND_BITS(h, m->tnl.id, 3);
	m->tnl.flags = hostile_below(h, 2) ? (uint16_t)hostile_below(h, 16) : 0;
	if (hostile_below(h, 2))
		return;
	m->tnl.opts_len = 0xff;
	if (t->opts_len)
		rnd_bits(h, m->tnl.opts, t->opts_len, 2);
	for (unsigned at = 0; at < t->opts_len; at += 4 + 4u * t->opts[at + 3])
		m->tnl.opts[at + 3] = 0xff;
}

/* The same over all that a flow may match on. */
static inline void rnd_mask_all(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	rnd_mask(h, k, m);
	m->recirc_id = 0;
	if (dpu_be32_get(k->packet_type)) { // it has no Ethernet header
		memset(m->eth_dst, 0, 12);
		m->vlan_tci = m->vlan_tpid = m->cvlan_tci = m->cvlan_tpid = dpu_be16_put(0);
	}
	(void)RND_WHOLE(h, m->packet_type, dpu_be32_get(k->packet_type) ? 1 : 4);
	RND_BITS(h, m->recirc_id, 2);
	RND_BITS(h, m->dp_hash, 4);
	RND_BITS(h, m->skb_priority, 4);
	RND_BITS(h, m->skb_mark, 4);
	RND_BITS(h, m->ct_mark, 4);
	RND_BITS(h, m->ct_state, 3);
	RND_BITS(h, m->ct_zone, 4);
	RND_BITS(h, m->ct_label, 4);
	for (unsigned i = 0; dpu_be16_get(m->eth_type) && i < ODP_GROUP_TUPLES; i++)
		if (odp_group_fits(&odp_groups[i], dpu_be16_get(k->eth_type), 0))
			rnd_fields(h, odp_groups[i].f, 0, m, 4);
	if (hostile_below(h, 2))
		rnd_tunnel_mask(h, k, m);
}

/* Bytes of a key that are no field's: padding, and what is above the bits of a narrow one. */
static inline bool rnd_pad(size_t at)
{
	static const struct {
		size_t off, len;
	} pads[] = {
#define PAD(member) { offsetof(struct odp_key, member), sizeof(((struct odp_key *)0)->member) }
		PAD(pad_l4),
		PAD(nd.pad),
		PAD(pad_vlan),
		PAD(tnl.pad),
		PAD(tnl.pad_opts),
		{ offsetof(struct odp_key, ipv6_label), 1 }, // 20 bits
#undef PAD
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		{ offsetof(struct odp_key, tnl.flags) + 1, 1 }, // 4 bits
#else
		{ offsetof(struct odp_key, tnl.flags), 1 },
#endif
	};

	for (unsigned i = 0; i < sizeof(pads) / sizeof(pads[0]); i++)
		if (at - pads[i].off < pads[i].len)
			return true;
	return false;
}

/* ---- flows ---- */

#define RND_FLOWS 256

struct rnd_flow {
	bool live;
	bool operator_; // else of an origin that loses
	struct odp_kw key, mask; // key masked
	uint64_t map; // words of the mask that are not zero
	unsigned bits; // of the mask
	uint64_t age; // of the mask among those flows that can meet the same packets
	uint64_t id;
	uint32_t ports; // bit of each port that it sends to
};

struct rnd_flows {
	unsigned n;
	uint64_t ages;
	struct rnd_flow f[RND_FLOWS];
};

static inline unsigned rnd_count(const struct odp_kw *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		n += (unsigned)__builtin_popcountll(m->w[i]);
	return n;
}

static inline bool rnd_meets(const struct rnd_flow *f, const struct odp_kw *k)
{
	for (uint64_t map = f->map; map; map &= map - 1) {
		unsigned i = (unsigned)__builtin_ctzll(map);

		if ((k->w[i] & f->mask.w[i]) != f->key.w[i])
			return false;
	}
	return true;
}

/* Which of two that a packet meets has it: the operator's, the one of more bits, the older mask. */
static inline bool rnd_wins(const struct rnd_flow *a, const struct rnd_flow *b)
{
	if (a->operator_ != b->operator_)
		return a->operator_;
	if (a->bits != b->bits)
		return a->bits > b->bits;
	return a->age < b->age;
}

/* A packet without an Ethernet header meets flows only that say of which type it is. */
static inline bool rnd_typed(const struct odp_kw *k)
{
	struct odp_key key;

	memcpy(&key, k, sizeof(key));
	return dpu_be32_get(key.packet_type) != 0;
}

static inline const struct rnd_flow *rnd_find(const struct rnd_flows *all, const struct odp_kw *k)
{
	const struct rnd_flow *best = NULL;
	bool bare = rnd_typed(k);

	for (unsigned i = 0; i < all->n; i++) {
		const struct rnd_flow *f = &all->f[i];

		if (f->live && rnd_meets(f, k) && (!bare || rnd_typed(&f->mask)) &&
			(!best || rnd_wins(f, best)))
			best = f;
	}
	return best;
}

/*
 * How old the mask of a flow is that is about to be put: as its oldest flow, among those of the
 * same rank and, where the mask has the input port whole, of the same port.
 */
static inline uint64_t rnd_age(struct rnd_flows *all, const struct rnd_flow *f)
{
	bool port = (f->mask.w[0] & UINT32_MAX) == UINT32_MAX;

	for (unsigned i = 0; i < all->n; i++) {
		const struct rnd_flow *o = &all->f[i];

		if (o->live && o->operator_ == f->operator_ &&
			odp_kw_eq(&o->mask, &f->mask, ODP_KEY_WORDS) &&
			(!port || odp_kw_port(&o->key) == odp_kw_port(&f->key)))
			return o->age;
	}
	return ++all->ages;
}

/*
 * Put an operator's flow for what `k` and `m` say and note it in `f`. 0, or what odp_flow_put()
 * said; the flow is not there then.
 */
static inline int rnd_put(struct odp *dp, struct rnd_flows *all, struct rnd_flow *f,
	const struct odp_key *k, const struct odp_key *m, uint32_t ports, const char *origin)
{
	struct odp_actbuf acts = { 0 };
	int ret;

	memset(f, 0, sizeof(*f));
	for (uint32_t no = 0; no < 32; no++)
		if (ports & 1u << no)
			odp_actbuf_output(&acts, no);
	ret = odp_flow_put(dp, k, m, odp_actbuf_list(&acts), acts.len, false, origin, &f->id);
	odp_actbuf_fini(&acts);
	if (ret < 0)
		return ret;
	f->operator_ = !strcmp(origin, "operator");
	f->mask = odp_kw(m);
	f->key = odp_kw(k);
	for (unsigned i = 0; i < ODP_KEY_WORDS; i++)
		f->key.w[i] &= f->mask.w[i];
	f->map = odp_kw_map(&f->mask);
	f->bits = rnd_count(&f->mask);
	f->ports = ports;
	f->age = rnd_age(all, f);
	f->live = true;
	return 0;
}
