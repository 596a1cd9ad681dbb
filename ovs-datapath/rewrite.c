// SPDX-License-Identifier: Apache-2.0
/* Edits merged into one rewrite: collected on a key, applied to packets. */
#include "rewrite.h"

#include "act_edit.h"
#include "inet.h"

#define TTL_STEP 0xfeffu // what the sum over an IPv4 header changes by for one hop

/* ---- collecting ---- */

void odp_rewrite_begin(struct odp_rewriter *r, struct odp_rewrite *rw, struct odp_key *key)
{
	memset(rw, 0, sizeof(*rw));
	*r = (struct odp_rewriter){ .rw = rw,
		.key = key,
		.v6 = dpu_be16_get(key->eth_type) == ODP_ETH_IPV6,
		.tagged = dpu_be16_get(key->vlan_tci) & ODP_VLAN_PRESENT };
}

/* More of a difference; 0 stays only what never changed. */
static void add(uint16_t *sum, uint32_t delta)
{
	*sum = odp_fold(*sum + (uint32_t)odp_fold(delta));
}

/*
 * Change n bytes (even) under a mask. Returns what a sum over them changes by. That of a word which
 * stays as it is counts for translations only: it is no zero in this arithmetic.
 */
static __rte_noinline uint32_t change(
	void *to, const void *value, const void *mask, size_t n, bool always)
{
	const uint8_t *v = value, *k = mask;
	uint8_t *t = to;
	uint32_t delta = 0;

	for (size_t i = 0; i < n; i += 2) {
		uint16_t old = odp_get16(t + i);

		t[i] = (uint8_t)((t[i] & ~k[i]) | (v[i] & k[i]));
		t[i + 1] = (uint8_t)((t[i + 1] & ~k[i + 1]) | (v[i + 1] & k[i + 1]));
		if (always || odp_get16(t + i) != old)
			delta += (uint16_t)~old + (uint32_t)odp_get16(t + i);
	}
	return delta;
}

static void addrs_changed(struct odp_rewriter *r, uint32_t delta)
{
	if (!r->v6)
		add(&r->rw->d_ip, delta);
	add(&r->rw->d_addrs, delta);
}

static bool sets_ttl(struct odp_rewriter *r, uint8_t ttl, uint8_t mask)
{
	if (mask == 0)
		return true;
	if (mask != 0xff || r->rw->sets_ttl)
		return false;
	r->rw->sets_ttl = true;
	r->rw->ttl_set = r->rw->ttl = r->key->ip_ttl = ttl;
	return true;
}

static bool set_ipv4(
	struct odp_rewriter *r, const struct odp_set_ipv4 *v, const struct odp_set_ipv4 *k)
{
	struct odp_rewrite *rw = r->rw;
	struct odp_key *key = r->key;

	// Twice there and back would be two differences that one set does not make
	if (k->tos && rw->tos_mask)
		return false;
	rw->tos_mask |= k->tos;
	rw->tos |= v->tos & k->tos;
	key->ip_tos = (uint8_t)((key->ip_tos & ~k->tos) | (v->tos & k->tos));
	addrs_changed(r, change(&key->ipv4.src, &v->src, &k->src, 4, false) +
				 change(&key->ipv4.dst, &v->dst, &k->dst, 4, false));
	return sets_ttl(r, v->ttl, k->ttl);
}

static bool set_ipv6(
	struct odp_rewriter *r, const struct odp_set_ipv6 *v, const struct odp_set_ipv6 *k)
{
	struct odp_rewrite *rw = r->rw;
	struct odp_key *key = r->key;
	uint32_t mask = (uint32_t)k->tclass << 20 | (dpu_be32_get(k->label) & 0xfffff);
	uint32_t word = ((uint32_t)v->tclass << 20 | dpu_be32_get(v->label)) & mask;

	rw->word = (rw->word & ~mask) | word;
	rw->word_mask |= mask;
	word |= ((uint32_t)key->ip_tos << 20 | dpu_be32_get(key->ipv6_label)) & ~mask;
	key->ip_tos = (uint8_t)(word >> 20);
	key->ipv6_label = dpu_be32_put(word & 0xfffff);
	addrs_changed(r, change(key->ipv6.src, v->src, k->src, 16, false) +
				 change(key->ipv6.dst, v->dst, k->dst, 16, false));
	return sets_ttl(r, v->hlimit, k->hlimit);
}

static void set_ports(
	struct odp_rewriter *r, const struct odp_set_ports *v, const struct odp_set_ports *k)
{
	add(&r->rw->d_ports, change(&r->key->tp_src, &v->src, &k->src, 2, false) +
				     change(&r->key->tp_dst, &v->dst, &k->dst, 2, false));
}

/* The key's tags are those that were pushed and what is left of the packet's own. */
static void tags_to_key(struct odp_rewriter *r, dpu_be16 own_tci, dpu_be16 own_tpid)
{
	dpu_be16 tci[3] = { { { 0, 0 } } }, tpid[3] = { { { 0, 0 } } };
	unsigned n = RTE_MIN(r->rw->n_push, ODP_REWRITE_TAGS);

	for (unsigned i = 0; i < n; i++) {
		memcpy(&tpid[i], r->rw->tag[i], 2);
		tci[i] = dpu_be16_put(odp_get16(r->rw->tag[i] + 2) | ODP_VLAN_PRESENT);
	}
	if (r->tagged) {
		tci[n] = own_tci;
		tpid[n] = own_tpid;
	}
	r->key->vlan_tci = tci[0];
	r->key->vlan_tpid = tpid[0];
	r->key->cvlan_tci = tci[1];
	r->key->cvlan_tpid = tpid[1];
}

static bool push_vlan(struct odp_rewriter *r, const struct odp_act_vlan *v)
{
	struct odp_rewrite *rw = r->rw;
	dpu_be16 tci = rw->n_push ? r->key->cvlan_tci : r->key->vlan_tci;
	dpu_be16 tpid = rw->n_push ? r->key->cvlan_tpid : r->key->vlan_tpid;

	if (rw->n_push + (unsigned)r->tagged >= ODP_REWRITE_TAGS)
		return false; // a third one would be the frame's type
	memmove(rw->tag[1], rw->tag[0], 4);
	odp_put16(rw->tag[0], v->tpid);
	odp_put16(rw->tag[0] + 2, v->tci);
	rw->n_push++;
	tags_to_key(r, tci, tpid);
	return true;
}

static bool pop_vlan(struct odp_rewriter *r)
{
	struct odp_rewrite *rw = r->rw;
	dpu_be16 tci = rw->n_push ? r->key->cvlan_tci : r->key->vlan_tci;
	dpu_be16 tpid = rw->n_push ? r->key->cvlan_tpid : r->key->vlan_tpid;

	if (rw->n_push > 0) {
		memmove(rw->tag[0], rw->tag[1], 4);
		rw->n_push--;
	} else if (r->tagged) {
		rw->pops = true;
		r->tagged = false;
	} else {
		return false;
	}
	tags_to_key(r, tci, tpid);
	return true;
}

/* Of a tag that was pushed. In the key of the packet's own, the DEI bit is not what it has. */
static bool set_vlan(
	struct odp_rewriter *r, const struct odp_set_vlan *v, const struct odp_set_vlan *k)
{
	if (r->rw->n_push == 0)
		return false;
	(void)change(r->rw->tag[0] + 2, &v->tci, &k->tci, 2, false);
	r->key->vlan_tci = dpu_be16_put(odp_get16(r->rw->tag[0] + 2) | ODP_VLAN_PRESENT);
	return true;
}

static bool dec_ttl(struct odp_rewriter *r)
{
	struct odp_rewrite *rw = r->rw;

	if (rw->sets_ttl && rw->ttl <= 1)
		return false;
	if (rw->sets_ttl)
		rw->ttl--;
	else if (++rw->n_dec == 0)
		return false;
	r->key->ip_ttl--;
	if (!r->v6)
		add(&rw->d_ip, TTL_STEP);
	return true;
}

static bool set(struct odp_rewriter *r, const struct odp_act_set *s)
{
	struct odp_key *key = r->key;
	const void *v = s->value, *k = s->value + s->size;
	const struct odp_set_eth *eth = v, *eth_mask = k;

	switch (s->field) {
	case ODP_SET_ETH:
		(void)change(key->eth_src, eth->src, eth_mask->src, 6, false);
		(void)change(key->eth_dst, eth->dst, eth_mask->dst, 6, false);
		return true;
	case ODP_SET_VLAN:
		return set_vlan(r, v, k);
	case ODP_SET_IPV4:
		return set_ipv4(r, v, k);
	case ODP_SET_IPV6:
		return set_ipv6(r, v, k);
	case ODP_SET_TCP:
	case ODP_SET_UDP:
		set_ports(r, v, k);
		return true;
	default:
		return false;
	}
}

bool odp_rewrite_act(struct odp_rewriter *r, const struct odp_act *a)
{
	r->rw->changes = true;
	switch (a->type) {
	case ODP_ACT_SET:
		return set(r, (const struct odp_act_set *)a);
	case ODP_ACT_PUSH_VLAN:
		return push_vlan(r, (const struct odp_act_vlan *)a);
	case ODP_ACT_POP_VLAN:
		return pop_vlan(r);
	case ODP_ACT_DEC_TTL:
		return dec_ttl(r);
	default:
		return false;
	}
}

void odp_rewrite_nat(struct odp_rewriter *r, const struct odp_ct_nat *nat)
{
	static const uint8_t whole[16] = { [0 ... 15] = 0xff };
	struct odp_key *key = r->key;
	size_t n = r->v6 ? 16 : 4;
	uint32_t addrs = 0, ports = 0;

	if (nat->what & ODP_NAT_SRC) {
		addrs += change(r->v6 ? key->ipv6.src : (uint8_t *)&key->ipv4.src, nat->src, whole,
			n, true);
		ports += change(&key->tp_src, &nat->sport, whole, 2, true);
	}
	if (nat->what & ODP_NAT_DST) {
		addrs += change(r->v6 ? key->ipv6.dst : (uint8_t *)&key->ipv4.dst, nat->dst, whole,
			n, true);
		ports += change(&key->tp_dst, &nat->dport, whole, 2, true);
	}
	r->rw->changes = true;
	addrs_changed(r, addrs);
	add(&r->rw->d_ports, ports);
}

int odp_rewrite_grows(const struct odp_rewriter *r)
{
	return 4 * (r->rw->n_push - r->rw->pops);
}

void odp_rewrite_end(const struct odp_rewriter *r)
{
	struct odp_rewrite *rw = r->rw;
	const struct odp_key *key = r->key;

	memcpy(rw->eth, key->eth_dst, 6);
	memcpy(rw->eth + 6, key->eth_src, 6);
	memcpy(rw->ip, key->l3_bytes, sizeof(rw->ip));
	memcpy(rw->ports, &key->tp_src, 2);
	memcpy(rw->ports + 2, &key->tp_dst, 2);
}

/* ---- applying ---- */

static inline void sum_change(uint8_t *csum, uint32_t delta)
{
	if (delta)
		odp_put16(csum, (uint16_t)~odp_fold((uint16_t)~odp_get16(csum) + delta));
}

static inline void apply_ipv4(const struct odp_rewrite *rw, uint8_t *ip)
{
	uint32_t delta = rw->d_ip;
	uint8_t old = ip[1];

	ip[1] = (uint8_t)((old & ~rw->tos_mask) | rw->tos);
	if (ip[1] != old)
		delta += 0xffffu + ip[1] - old;
	old = (uint8_t)(ip[8] - rw->n_dec);
	ip[8] = rw->sets_ttl ? rw->ttl : old;
	// The steps behind that are in d_ip
	if (rw->sets_ttl && rw->ttl_set != old)
		delta += 0xffffu + ((uint32_t)rw->ttl_set << 8) - ((uint32_t)old << 8);
	memcpy(ip + 12, rw->ip, 8);
	sum_change(ip + 10, delta);
}

static inline void apply_ipv6(const struct odp_rewrite *rw, uint8_t *ip)
{
	odp_put32(ip, (odp_get32(ip) & ~rw->word_mask) | rw->word);
	ip[7] = rw->sets_ttl ? rw->ttl : (uint8_t)(ip[7] - rw->n_dec);
	memcpy(ip + 8, rw->ip, 32);
}

static inline void apply_l4(const struct odp_rewrite *rw, uint8_t *l4, bool udp, bool partial)
{
	uint8_t *csum = l4 + (udp ? 6 : 16);

	memcpy(l4, rw->ports, 4);
	if (partial) { // of the pseudo-header, and not inverted
		if (rw->d_addrs)
			odp_put16(csum, odp_fold(odp_get16(csum) + (uint32_t)rw->d_addrs));
		return;
	}
	if (udp && (csum[0] | csum[1]) == 0)
		return; // the sender made none
	sum_change(csum, (uint32_t)rw->d_addrs + rw->d_ports);
	if (udp && (csum[0] | csum[1]) == 0)
		odp_put16(csum, 0xffff);
}

/* Tags off and on; the addresses are written afterwards. Returns what offsets grow by. */
static int retag(const struct odp_rewrite *rw, struct rte_mbuf *m)
{
	int by = 4 * (rw->n_push - rw->pops);

	if (by > 0)
		(void)rte_pktmbuf_prepend(m, (uint16_t)by);
	else if (by < 0)
		(void)rte_pktmbuf_adj(m, (uint16_t)-by);
	memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, 12), rw->tag, 4u * rw->n_push);
	odp_edit_l2_grew(m, by);
	return by;
}

void odp_rewrite_apply(
	const struct odp_rewrite *rw, struct rte_mbuf *m, uint32_t l3, bool udp, bool v6)
{
	struct odp_at at = { .l4 = l3 + (v6 ? ODP_IPV6_LEN : ODP_IPV4_LEN) };
	bool partial = odp_edit_is_partial(m, &at);
	uint8_t *p;

	if (rw->n_push | rw->pops)
		l3 += (uint32_t)retag(rw, m);
	p = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(p, rw->eth, sizeof(rw->eth));
	if (v6)
		apply_ipv6(rw, p + l3);
	else
		apply_ipv4(rw, p + l3);
	apply_l4(rw, p + l3 + (v6 ? ODP_IPV6_LEN : ODP_IPV4_LEN), udp, partial);
}
