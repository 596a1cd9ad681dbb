/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random masks that a flow table takes, and the operator's flows under them as a list: what a
 * lookup must find, found by comparing with each.
 */
#pragma once

#include "fake_port.h"
#include "hostile.h"
#include "key.h"

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
	static const uint16_t with_tag[] = { 0xffff, 0x1000, 0x1fff, 0x1003 };
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

static inline void rnd_l4(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	bool ports = k->ip_proto == 6 || k->ip_proto == 17 || k->ip_proto == 132;
	bool icmp = k->ip_proto == (dpu_be16_get(k->eth_type) == 0x0800 ? 1 : 58);
	bool nd = icmp && k->ip_proto == 58 && k->tp_dst.b[1] == 0 &&
		  (k->tp_src.b[1] == 135 || k->tp_src.b[1] == 136);

	if (k->ip_frag == ODP_FRAG_LATER)
		memset(&m->ip_frag, 0, 1); // or it would be known that there is no layer 4
	if (!ports && !icmp)
		return;
	RND_BITS(h, m->tp_src, 3);
	RND_BITS(h, m->tp_dst, 3);
	if (k->ip_proto == 6 && hostile_below(h, 3) == 0)
		m->tcp_flags = dpu_be16_put((uint16_t)hostile_rand(h) & 0xfff);
	if (!nd || hostile_below(h, 2))
		return;
	memset(&m->tp_src, 0xff, 4);
	RND_BITS(h, m->nd.target, 2);
	RND_BITS(h, m->nd.sll, 2);
	RND_BITS(h, m->nd.tll, 2);
}

static inline void rnd_l3(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	bool ip6 = dpu_be16_get(k->eth_type) == 0x86dd;

	RND_BITS(h, m->ip_tos, 6);
	RND_BITS(h, m->ip_ttl, 6);
	RND_BITS(h, m->ip_frag, 3);
	if (ip6) {
		if (hostile_below(h, 4) == 0)
			m->ipv6_label = dpu_be32_put(hostile_rand(h) & 0xfffff);
		RND_BITS(h, m->ipv6.src, 3);
		RND_BITS(h, m->ipv6.dst, 3);
	} else {
		RND_BITS(h, m->ipv4.src, 3);
		RND_BITS(h, m->ipv4.dst, 3);
	}
	if (RND_WHOLE(h, m->ip_proto, 2))
		rnd_l4(h, k, m);
}

/* A mask over packet fields for flows that a packet of this key meets. */
static inline void rnd_mask(struct hostile *h, const struct odp_key *k, struct odp_key *m)
{
	memset(m, 0, sizeof(*m));
	m->recirc_id = UINT32_MAX;
	(void)RND_WHOLE(h, m->in_port, 2);
	RND_BITS(h, m->eth_dst, 4);
	RND_BITS(h, m->eth_src, 4);
	rnd_tags(h, k, m);
	if (hostile_below(h, 4) == 0)
		return;
	m->eth_type = dpu_be16_put(0xffff);
	switch (dpu_be16_get(k->eth_type)) {
	case 0x0800:
	case 0x86dd:
		rnd_l3(h, k, m);
		break;
	case 0x0806:
	case 0x8035:
		RND_BITS(h, m->ip_proto, 2);
		RND_BITS(h, m->arp.spa, 3);
		RND_BITS(h, m->arp.tpa, 3);
		RND_BITS(h, m->arp.sha, 4);
		RND_BITS(h, m->arp.tha, 4);
		break;
	case 0x8847:
	case 0x8848:
		for (unsigned i = 0; i < 3; i++)
			RND_BITS(h, m->mpls_lse[i], 2);
		break;
	default:
		break;
	}
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

static inline const struct rnd_flow *rnd_find(const struct rnd_flows *all, const struct odp_kw *k)
{
	const struct rnd_flow *best = NULL;

	for (unsigned i = 0; i < all->n; i++) {
		const struct rnd_flow *f = &all->f[i];

		if (f->live && rnd_meets(f, k) && (!best || rnd_wins(f, best)))
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
